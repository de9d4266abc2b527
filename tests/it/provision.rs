//! From a support token to a working robot, as a person does it.

use crate::world::{TOKEN, World, run};

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

fn codes(status: &serde_json::Value) -> Vec<&str> {
    status["attention"].as_array().unwrap().iter().map(|attention| attention["code"].as_str().unwrap()).collect()
}

#[test]
fn a_refused_credential_shows_in_status_until_it_works_again() {
    let world = World::new();
    world.provision(&[]).expect(0);
    world.simulator.forget_robots();
    world.run(&["verify"]).expect(4);
    assert_eq!(codes(&world.status()), ["frozen"]);
}

#[test]
fn a_changed_server_key_shows_in_status_until_it_is_pinned() {
    let world = World::new();
    world.provision(&[]).expect(0);
    world.simulator.replace_server_key().unwrap();
    world.run(&["verify"]).expect(6);
    assert_eq!(codes(&world.status()), ["trust-changed"]);
    world.run(&["trust", "plant", "--pin", &world.simulator.pin().to_string()]).expect(0);
    world.run(&["verify"]).expect(0);
    assert!(codes(&world.status()).is_empty());
}

#[test]
fn a_name_that_is_our_own_is_not_called_somebody_elses() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let mut arguments = world.provision_arguments();
    let robot = arguments.iter().position(|argument| argument == "plant/reader").unwrap();
    arguments[robot] = "plant/second".to_owned();
    arguments.extend(["--registered-name".to_owned(), "reader".to_owned()]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ran = run(world.command(&arguments), TOKEN.as_bytes()).expect(4);
    let message = ran.json()["results"][0]["error"]["message"].to_string();
    assert!(message.contains("our own plant/reader"), "{message}");
    assert_eq!(world.simulator.robots().len(), 1);
}

#[test]
fn what_was_never_handed_out_cannot_be_confirmed() {
    let world = World::new();
    world.provision(&[]).expect(0);
    world.run(&["export", "plant/reader", "--confirm"]).expect(1);
    world.run(&["export", "plant/reader", "--dir", "out"]).expect(0);
    world.run(&["export", "plant/reader", "--confirm"]).expect(0);
    assert!(codes(&world.status()).is_empty());
}
