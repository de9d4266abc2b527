//! The support token in a rotation: needed, stored, refused, shared by many.

use serde_json::{Value, json};

use super::{World, add_robot, another_robot, another_site, codes, due::imported, ends, forced, names, with_token};
use crate::world::{TOKEN, run};

fn tokens_after(world: &World, before: usize) -> usize {
    world.simulator.tokens_seen() - before
}

#[test]
fn without_a_token_the_key_waits_and_is_used_once_one_comes() {
    let world = World::new();
    imported(&world, "reader");
    let seen = world.simulator.tokens_seen();
    for arguments in [["rotate", "--due"], ["rotate", "plant/reader"], ["rotate", "--all"]] {
        let document = world.run(&[&["--json"], &arguments[..]].concat()).expect(12).json();
        assert_eq!(ends(&document), [("plant/reader", "failed", Some("person"))]);
        assert!(document["results"][0]["error"]["hint"].as_str().unwrap().contains("--token-file"), "{document}");
        assert_eq!(document["results"][0]["generation"], 1);
    }
    let waiting = world.status();
    assert_eq!((codes(&waiting), &waiting["generation"]), (vec!["token-needed"], &json!(1)));
    let kept = &waiting["previous"][0];
    assert_eq!((&kept["generation"], &kept["state"]), (&json!(2), &json!("keyed")));
    assert_eq!((tokens_after(&world, seen), names(&world.simulator)), (0, vec!["reader".to_owned()]));

    with_token(&world, &["token", "set", "plant", "--token-stdin"]).expect(0);
    let done = world.run(&["--json", "rotate", "--due"]).expect(0).json();
    assert_eq!(ends(&done), [("plant/reader", "rotated", None)]);
    assert_eq!(done["results"][0]["fingerprint_sha256"], kept["fingerprint_sha256"]);
    assert_eq!(codes(&world.status()), Vec::<&str>::new());
    // What works is kept.
    assert_eq!(world.run(&["--json", "token", "status", "plant"]).expect(0).json()["present"], true);
}

#[test]
fn a_refused_stored_token_is_removed_and_never_sent_again() {
    let world = World::new();
    world.provision(&[]).expect(0);
    run(world.command(&["token", "set", "plant", "--token-stdin"]), b"revoked-canary").expect(0);
    let seen = world.simulator.tokens_seen();
    let document = world.run(&["--json", "rotate", "plant/reader", "--force"]).expect(4).json();
    assert_eq!(ends(&document), [("plant/reader", "failed", Some("refused"))]);
    assert_eq!(tokens_after(&world, seen), 1);
    let status = world.status();
    assert_eq!((codes(&status), &status["previous"][0]["state"]), (vec!["token-needed"], &json!("keyed")));
    assert_eq!(world.run(&["--json", "token", "status", "plant"]).expect(0).json()["present"], false);
    world.run(&["--json", "rotate", "plant/reader"]).expect(12);
    assert_eq!(tokens_after(&world, seen), 1);
    // The other work goes on with another token.
    let pending = status["previous"][0]["fingerprint_sha256"].clone();
    let done = with_token(&world, &["--json", "rotate", "plant/reader", "--token-stdin"]).expect(0).json();
    assert_eq!(done["results"][0]["fingerprint_sha256"], pending);
    world.assert_nowhere(b"revoked-canary");
}

/// Several robots of one site with one token that the appliance refuses at some
/// point: it hears of it once.
#[test]
fn a_revoked_token_stops_the_batch_at_the_first_refusal() {
    let check = |behaviour: &str, token: &[u8], expected: &[&str]| {
        let world = World::new();
        world.provision(&[]).expect(0);
        another_robot(&world, "second", "reader");
        another_robot(&world, "third", "reader");
        world.simulator.set_behaviours(behaviour.parse().unwrap());
        let before = world.simulator.requests().len();
        let batch = ["--json", "rotate", "plant/reader", "plant/second", "plant/third", "--force", "--token-stdin"];
        let document = run(world.command(&batch), token).expect(4).json();
        let words: Vec<_> = ends(&document).iter().map(|(_, action, error)| error.unwrap_or(action)).collect();
        assert_eq!(words, expected, "{behaviour}: {document}");
        // The token was refused in the last request that carried it.
        let requests = world.simulator.requests();
        let bearing = requests[before..].iter().filter(|request| request.bearer);
        let refused = bearing.filter(|request| request.authenticated_as.is_none()).count();
        assert!(refused <= 1, "{behaviour}: {refused} refusals");
        // All other work was done: each has its key, and waits.
        let status = world.run(&["--json", "status"]).expect(0).json();
        for (robot, word) in status["robots"].as_array().unwrap().iter().zip(["reader", "second", "third"]) {
            assert_eq!(robot["name"], word);
            let state = &robot["previous"][0]["state"];
            assert!(state == "keyed" || state == "previous", "{behaviour}: {robot}");
        }
        (requests.len(), world)
    };
    check("default", b"revoked", &["refused", "person", "person"]);
    let (_, world) = check("unauthorized-401", TOKEN.as_bytes(), &["refused", "person", "person"]);
    assert_eq!(names(&world.simulator), ["reader", "second", "third"]);
    assert_eq!(world.posts(), 3 + 1);
}

#[test]
fn a_token_for_one_registration_serves_one_robot() {
    let world = World::new();
    world.provision(&[]).expect(0);
    another_robot(&world, "second", "reader");
    another_robot(&world, "third", "reader");
    world.simulator.set_behaviours("token-once".parse().unwrap());
    let before = (world.simulator.tokens_seen(), world.posts());
    let batch = ["--json", "rotate", "plant/reader", "plant/second", "plant/third", "--force", "--token-stdin"];
    let ran = with_token(&world, &batch);
    let document = ran.json();
    let words: Vec<_> = ends(&document).iter().map(|(_, action, error)| error.unwrap_or(action)).collect();
    assert_eq!(words, ["rotated", "refused", "person"], "{document}");
    assert_eq!(ran.code(), Some(4));
    assert_eq!(world.posts() - before.1, 1);
    // Listed and registered with it; refused at the next list, and never seen again.
    assert_eq!(world.simulator.tokens_seen() - before.0, 3);
    assert_eq!(names(&world.simulator).last().unwrap(), "reader-g2");
}

#[test]
fn a_wrong_token_is_shown_to_one_of_two_sites() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let other = another_site(&world);
    let seen = || world.simulator.tokens_seen() + other.tokens_seen();
    let before = seen();
    let batch = ["--json", "rotate", "plant/reader", "other/reader", "--force", "--token-stdin"];
    let document = run(world.command(&batch), b"revoked").expect(4).json();
    let mut words: Vec<_> = ends(&document).iter().map(|(_, _, error)| error.unwrap()).collect();
    words.sort_unstable();
    assert_eq!(words, ["person", "refused"]);
    assert_eq!(seen() - before, 1);
}

#[test]
fn a_token_that_cannot_be_one_changes_nothing() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let before = (world.status(), world.simulator.connections());
    let document = run(world.command(&super::FORCED), b"two words").expect(3).json();
    assert_eq!(document["error"]["code"], "config");
    assert_eq!((world.status(), world.simulator.connections()), before);
}

#[test]
fn all_says_ahead_that_a_token_will_be_needed() {
    let world = World::new();
    // Its window opens in about 20 days, and a token is asked for 30 days ahead.
    world.provision(&["--days", "30"]).expect(0);
    add_robot(&world, "second", "reader");
    let connections = world.simulator.connections();
    for quiet in [["rotate", "--due"], ["rotate", "plant/reader"], ["rotate", "plant"]] {
        let document = world.run(&[&["--json"], &quiet[..]].concat()).expect(0).json();
        assert_eq!(document["results"][0]["error"], Value::Null);
    }
    let document = world.run(&["--json", "rotate", "--all"]).expect(12).json();
    assert_eq!(ends(&document), [("plant/reader", "unchanged", Some("person")), ("plant/second", "unchanged", None)]);
    assert!(document["results"][0]["error"]["hint"].as_str().unwrap().contains("robocred token set plant"));
    assert_eq!(world.simulator.connections(), connections);
    with_token(&world, &["token", "set", "plant", "--token-stdin"]).expect(0);
    world.run(&["rotate", "--all"]).expect(0);
    forced(&world);
}
