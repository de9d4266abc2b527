//! `rollback`, with the tool as a process.

use robocred::simulator::Behaviours;
use serde_json::{Value, json};

use crate::{
    rotate::{codes, configure, ends, forced, names, with_token},
    world::World,
};

const ROLLBACK: [&str; 3] = ["--json", "rollback", "plant/reader"];

#[test]
fn the_previous_generation_is_in_use_again() {
    let world = World::new();
    let first = world.provision(&["--export", "out"]).expect(0).json()["results"][0].clone();
    let second = forced(&world);
    world.run(&["export", "plant/reader", "--confirm"]).expect(0);
    let dry = world.run(&[&ROLLBACK[..], &["--dry-run"]].concat()).expect(0).json();
    assert_eq!(dry["plan"], json!([{ "robot": "plant/reader", "steps": ["prove", "rollback", "deliver"] }]));
    assert_eq!(world.status()["generation"], 2);

    let tokens = world.simulator.tokens_seen();
    let back = world.run(&ROLLBACK).expect(0).json();
    assert_eq!(ends(&back), [("plant/reader", "rolled-back", None)]);
    let result = &back["results"][0];
    assert_eq!((&result["generation"], &result["registered_name"]), (&json!(1), &json!("reader")));
    assert_eq!(result["fingerprint_sha256"], first["fingerprint_sha256"]);
    assert_eq!(result["exports"][0]["dir"], world.path("out").to_str().unwrap());
    assert_eq!(world.path("out/current").read_link().unwrap().to_str(), Some(".g1"));
    let status = world.status();
    assert_eq!((&status["state"], &status["generation"]), (&json!("active"), &json!(1)));
    // The connector holds the other pair: a person has to give it this one.
    assert_eq!(codes(&status), ["deliver-by-hand"]);
    let previous = &status["previous"][0];
    assert_eq!((&previous["generation"], &previous["state"]), (&json!(2), &json!("previous")));
    assert_eq!(previous["fingerprint_sha256"], second["fingerprint_sha256"]);
    assert_eq!(previous["retire_after"], Value::Null);
    assert_eq!(names(&world.simulator), ["reader", "reader-g2"]);
    world.run(&["verify"]).expect(0);
    assert_eq!(world.simulator.tokens_seen(), tokens, "no token is needed to go back");

    assert_eq!(ends(&world.run(&ROLLBACK).expect(0).json()), [("plant/reader", "unchanged", None)]);
    let dry = world.run(&[&ROLLBACK[..], &["--dry-run"]].concat()).expect(0).json();
    assert_eq!(dry["plan"][0]["steps"], json!([]));
    assert_eq!(world.status()["generation"], 1);
    // A number is never used again.
    assert_eq!(forced(&world)["generation"], 3);
    assert_eq!(names(&world.simulator), ["reader", "reader-g2", "reader-g3"]);
    // What was in use last is returned to, and not what was left before; once, and no further.
    for action in ["rolled-back", "unchanged"] {
        let back = world.run(&ROLLBACK).expect(0).json();
        assert_eq!((ends(&back)[0].1, &back["results"][0]["generation"]), (action, &json!(1)));
    }
}

#[test]
fn there_must_be_something_to_return_to() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let before = (world.status(), world.simulator.connections());
    let document = world.run(&ROLLBACK).expect(1).json();
    assert_eq!(ends(&document), [("plant/reader", "failed", Some("failed"))]);
    assert!(document["results"][0]["error"]["message"].as_str().unwrap().contains("no previous generation"));
    assert!(document["results"][0]["error"]["hint"].is_string());
    assert_eq!(document["results"][0]["generation"], 1);
    world.run(&[&ROLLBACK[..], &["--dry-run"]].concat()).expect(1);
    assert_eq!((world.status(), world.simulator.connections()), before);
    assert_eq!(world.run(&["--json", "rollback", "plant/nobody"]).expect(3).json()["error"]["code"], "config");
    world.run(&["--json", "rollback", "plant"]).expect(2);

    // Once it is retired there is nothing again.
    forced(&world);
    with_token(&world, &["retire", "plant/reader", "--token-stdin"]).expect(0);
    world.run(&ROLLBACK).expect(1);
    assert_eq!(world.status()["generation"], 2);
}

#[test]
fn what_the_appliance_does_not_accept_any_more_is_not_returned_to() {
    let world = World::new();
    world.provision(&["--export", "out"]).expect(0);
    forced(&world);
    world.simulator.forget_robot("reader");
    let before = world.status();
    let document = world.run(&ROLLBACK).expect(4).json();
    assert_eq!(ends(&document), [("plant/reader", "failed", Some("refused"))]);
    assert!(document["results"][0]["error"]["hint"].is_string(), "{document}");
    assert_eq!(document["results"][0]["generation"], 2);
    let after = world.status();
    assert_eq!((&after["generation"], &after["previous"]), (&before["generation"], &before["previous"]));
    assert_eq!(codes(&after), codes(&before));
    assert_eq!(world.path("out/current").read_link().unwrap().to_str(), Some(".g2"));
    world.run(&["verify"]).expect(0);
}

#[test]
fn an_appliance_that_is_away_changes_nothing() {
    let mut world = World::new();
    world.provision(&[]).expect(0);
    forced(&world);
    // Another key: nothing is sent to it.
    world.simulator.replace_server_key().unwrap();
    let requests = world.simulator.requests().len();
    let document = world.run(&ROLLBACK).expect(6).json();
    assert_eq!(ends(&document), [("plant/reader", "failed", Some("untrusted"))]);
    assert_eq!((world.simulator.requests().len(), &world.status()["generation"]), (requests, &json!(2)));
    world.pin_anew();
    world.run(&ROLLBACK).expect(0);
}

#[test]
fn the_hook_hands_it_on_again() {
    let world = World::new();
    world.provision(&["--export", "out"]).expect(0);
    let told = world.path("told");
    let hook = format!("hooks = {{ deploy = ['/bin/sh', '-c', 'cat >> {}'] }}", told.display());
    configure(&world, "sites.plant.robots.reader", &hook);
    forced(&world);
    world.run(&ROLLBACK).expect(0);
    let told = std::fs::read_to_string(told).unwrap();
    let facts: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let generations: Vec<_> = facts.iter().map(|facts| &facts["generation"]).collect();
    assert_eq!(generations, [&json!(2), &json!(1)]);
    let status = world.status();
    assert_eq!(codes(&status), Vec::<&str>::new());
    assert!(status["previous"][0]["retire_after"].is_string(), "{status}");
    world.simulator.set_behaviours(Behaviours::default());
}
