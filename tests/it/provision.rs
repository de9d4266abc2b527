//! From a support token to a working robot, as a person does it.

use crate::world::{TOKEN, World};

#[test]
fn one_command_from_a_token_to_a_proven_robot_with_files() {
    let world = World::new();
    let ran = world.provision(&["--export", "out"]).expect(0);
    let document = ran.json();
    let result = &document["results"][0];
    assert_eq!(result["action"], "provisioned");
    assert_eq!(result["generation"], 1);
    assert_eq!(result["registered_name"], "reader");
    assert_eq!(result["error"], serde_json::Value::Null);

    let robots = world.simulator.robots();
    assert_eq!(robots.len(), 1);
    assert_eq!(robots[0].name, "reader");
    assert_eq!(result["fingerprint_sha256"], robots[0].fingerprint.to_string());
    assert_eq!(world.simulator.tokens_seen(), 2, "{:#?}", world.simulator.requests());

    let status = world.status();
    assert_eq!(status["state"], "active");
    assert_eq!(status["store"], "sealed");
    assert_eq!(status["attention"][0]["code"], "deliver-by-hand");
    world.assert_nowhere(TOKEN.as_bytes());
}
