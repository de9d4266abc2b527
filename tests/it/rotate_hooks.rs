//! The hooks of a rotation: run when they should, with the right facts, and
//! what their failure holds back.

use std::fs;

use serde_json::{Value, json};

use crate::{
    rotate::{
        FORCED, add_robot, codes, configure,
        due::{imported, until},
        ends, forced, names, now, with_token,
    },
    world::{TOKEN, World},
};

/// Where a robot's hooks write down what they are told.
const TOLD: &str = "told";

/// Hooks that write down what they are told, and fail as long as there is a
/// file of their event's name.
fn hooks(world: &World, robot: &str, events: &[&str]) {
    let hook = |event: &&str| {
        let script = format!("cat >> {}; test ! -e {}", world.path(TOLD).display(), world.path(event).display());
        format!("{event} = ['/bin/sh', '-c', '{script}']")
    };
    let events: Vec<_> = events.iter().map(hook).collect();
    configure(world, &format!("sites.plant.robots.{robot}"), &format!("hooks = {{ {} }}", events.join(", ")));
}

/// What the hooks were told so far, and forgets it.
fn told(world: &World) -> Vec<Value> {
    let text = fs::read_to_string(world.path(TOLD)).unwrap_or_default();
    let _ = fs::remove_file(world.path(TOLD));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn events(told: &[Value]) -> Vec<(&str, &str, &str)> {
    let text =
        |value: &'_ Value| -> &'static str { Box::leak(value.as_str().unwrap_or("").to_owned().into_boxed_str()) };
    told.iter().map(|told| (text(&told["event"]), text(&told["robot"]), text(&told["code"]))).collect()
}

#[test]
fn a_deploy_hook_that_works_is_the_delivery() {
    let world = World::new();
    world.provision(&["--export", "out"]).expect(0);
    world.run(&["export", "plant/reader", "--confirm"]).expect(0);
    hooks(&world, "reader", &["deploy", "failure"]);
    let rotated = forced(&world);
    let told = told(&world);
    let [facts] = &told[..] else { panic!("{told:?}") };
    let dir = world.path("out");
    let expected = json!({
        "schema": 1, "event": "deploy", "test": false, "robot": "plant/reader", "site": "plant", "name": "reader",
        "url": world.simulator.url(), "generation": 2, "registered_name": "reader-g2", "role": "reader",
        "fingerprint_sha256": rotated["fingerprint_sha256"], "not_after": rotated["not_after"],
        "previous_generation": 1, "export_dir": dir, "key_file": dir.join("key.pem"),
        "certificate_file": dir.join("cert.pem"), "combined_file": dir.join("combined.pem"),
        "code": null, "message": null,
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&facts[name], value, "{name}");
    }
    let status = world.status();
    assert_eq!(codes(&status), Vec::<&str>::new(), "nobody has to carry it");
    assert!(status["previous"][0]["retire_after"].is_string(), "{status}");
    // Once for each generation.
    world.run(&["rotate", "plant/reader"]).expect(0);
    world.run(&["rotate", "--due"]).expect(0);
    assert!(!world.path(TOLD).exists());
    assert!(!format!("{told:?}").contains(TOKEN));
}

#[test]
fn a_failing_deploy_hook_holds_the_predecessor_back() {
    let world = World::new();
    world.provision(&["--export", "out"]).expect(0);
    configure(&world, "sites.plant.robots.reader", "overlap = \"1s\"");
    hooks(&world, "reader", &["deploy"]);
    with_token(&world, &["token", "set", "plant", "--token-stdin"]).expect(0);
    fs::write(world.path("deploy"), "").unwrap();
    let ran = with_token(&world, &FORCED).expect(9);
    assert_eq!(ends(&ran.json()), [("plant/reader", "rotated", Some("hook"))]);
    assert_eq!(ran.json()["results"][0]["generation"], 2);
    let status = world.status();
    assert_eq!((codes(&status), &status["generation"]), (vec!["hook-failed"], &json!(2)));
    assert_eq!(status["previous"][0]["retire_after"], Value::Null);
    assert_eq!(told(&world).len(), 1);

    // By schedule it is left alone for a while; a person may try at once.
    assert_eq!(ends(&world.run(&["--json", "rotate", "--due"]).expect(0).json())[0].1, "unchanged");
    assert_eq!(ends(&world.run(&["--json", "rotate", "--all"]).expect(0).json())[0].1, "unchanged");
    assert_eq!(told(&world).len(), 0);
    let again = world.run(&["--json", "rotate", "plant/reader"]).expect(9).json();
    assert_eq!(again["results"][0]["error"]["code"], "hook");
    assert_eq!(told(&world).len(), 1);
    until(now() + time::Duration::seconds(2));
    world.run(&["rotate", "plant/reader"]).expect(9);
    assert_eq!(names(&world.simulator), ["reader", "reader-g2"]);
    assert!(world.path("out/.g1/key.pem").exists());

    fs::remove_file(world.path("deploy")).unwrap();
    let done = world.run(&["--json", "rotate", "plant/reader"]).expect(0).json();
    assert_eq!(ends(&done), [("plant/reader", "resumed", None)]);
    let status = world.status();
    assert_eq!(codes(&status), Vec::<&str>::new());
    assert!(status["previous"][0]["retire_after"].is_string());
    until(now() + time::Duration::seconds(2));
    assert_eq!(ends(&world.run(&["--json", "rotate", "--due"]).expect(0).json())[0].1, "resumed");
    assert_eq!(names(&world.simulator), ["reader-g2"]);
}

#[test]
fn a_deploy_hook_needs_no_export() {
    let world = World::new();
    world.provision(&[]).expect(0);
    hooks(&world, "reader", &["deploy"]);
    forced(&world);
    let told = told(&world);
    assert_eq!(events(&told), [("deploy", "plant/reader", "")]);
    assert_eq!((&told[0]["generation"], &told[0]["key_file"]), (&json!(2), &Value::Null));
    assert!(world.status()["previous"][0]["retire_after"].is_string());
}

#[test]
fn the_failure_hook_is_told_what_failed() {
    let world = World::new();
    world.provision(&["--export", "out"]).expect(0);
    add_robot(&world, "never", "reader");
    hooks(&world, "reader", &["deploy", "failure"]);
    hooks(&world, "never", &["failure"]);
    // What works, what was mistyped, and what is not due is no failure.
    world.run(&["rotate", "--due"]).expect(0);
    world.run(&["rotate", "--force", "--all"]).expect(2);
    world.run(&["rotate", "plant/reader", "--role", "admin", "--force"]).expect(3);
    world.run(&["rotate", "plant/reader", "--force", "--dry-run"]).expect(0);
    assert_eq!(told(&world), Vec::<Value>::new());

    world.run(&["rotate", "plant/reader", "plant/never", "--force"]).expect(12);
    let first = told(&world);
    let mut kinds = events(&first);
    kinds.sort_unstable();
    assert_eq!(kinds, [("failure", "plant/never", "failed"), ("failure", "plant/reader", "person")]);
    let reader = first.iter().find(|facts| facts["robot"] == "plant/reader").unwrap();
    assert_eq!((&reader["generation"], &reader["test"]), (&json!(1), &json!(false)));
    assert_eq!(reader["key_file"], world.path("out/key.pem").to_str().unwrap());
    assert!(reader["message"].as_str().unwrap().contains("a person is needed"), "{reader}");

    let check = |behaviour: &str, code: i32, word: &str| {
        world.simulator.set_behaviours(behaviour.parse().unwrap());
        let ran = with_token(&world, &["rotate", "plant/reader", "--token-stdin"]).expect(code);
        let told = told(&world);
        assert_eq!(events(&told), [("failure", "plant/reader", word)], "{behaviour}: {ran:#?}");
        // Our own words only: the appliance's do not reach a program.
        let message = told[0]["message"].as_str().unwrap();
        assert!(!message.contains("status") && !message.contains("invalid"), "{message}");
    };
    check("forbidden-403", 4, "refused");
    check("unprocessable-422", 4, "refused");
    world.simulator.replace_server_key().unwrap();
    check("default", 6, "untrusted");
}

#[test]
fn a_deploy_hook_that_fails_is_a_failure_too_and_one_that_cannot_tell_changes_nothing() {
    let world = World::new();
    world.provision(&[]).expect(0);
    hooks(&world, "reader", &["deploy", "failure"]);
    fs::write(world.path("deploy"), "").unwrap();
    with_token(&world, &FORCED).expect(9);
    assert_eq!(events(&told(&world)), [("deploy", "plant/reader", ""), ("failure", "plant/reader", "hook")]);
    fs::write(world.path("failure"), "").unwrap();
    let ran = with_token(&world, &FORCED).expect(9);
    assert_eq!(ends(&ran.json()), [("plant/reader", "rotated", Some("hook"))]);
    assert!(ran.stderr.contains("the failure hook"), "{ran:#?}");
    assert_eq!(codes(&world.status()), ["hook-failed"]);
}

#[test]
fn the_expiring_hook_tells_once_a_day_that_a_token_will_be_needed() {
    let world = World::new();
    world.provision(&["--days", "30"]).expect(0);
    hooks(&world, "reader", &["expiring", "failure"]);
    world.run(&["rotate", "--due", "--dry-run"]).expect(0);
    assert_eq!(told(&world), Vec::<Value>::new());
    // One that fails has told nobody.
    fs::write(world.path("expiring"), "").unwrap();
    let ran = world.run(&["rotate", "--due"]).expect(0);
    assert!(ran.stderr.contains("the expiring hook"), "{ran:#?}");
    fs::remove_file(world.path("expiring")).unwrap();
    let connections = world.simulator.connections();
    world.run(&["rotate", "--due"]).expect(0);
    world.run(&["rotate", "--due"]).expect(0);
    let first = told(&world);
    assert_eq!(events(&first), [("expiring", "plant/reader", "token-needed"); 2], "the one that failed, and one more");
    assert!(first[1]["message"].as_str().unwrap().contains("no support token is stored"), "{first:?}");
    assert_eq!(first[1]["generation"], 1);
    // The exit code says it every time.
    world.run(&["rotate", "--all"]).expect(12);
    assert_eq!((told(&world), world.simulator.connections()), (Vec::new(), connections));
}

#[test]
fn nobody_is_told_while_a_registrar_is_at_hand() {
    let world = World::new();
    world.provision(&["--days", "30"]).expect(0);
    hooks(&world, "reader", &["expiring", "failure"]);
    with_token(&world, &["token", "set", "plant", "--token-stdin"]).expect(0);
    world.run(&["rotate", "--due"]).expect(0);
    world.run(&["rotate", "--all"]).expect(0);
    assert_eq!(told(&world), Vec::<Value>::new());
}

#[test]
fn a_robot_that_is_due_without_a_token_is_told_of() {
    let world = World::new();
    imported(&world, "reader");
    hooks(&world, "reader", &["expiring", "failure"]);
    world.run(&["rotate", "--due"]).expect(12);
    assert_eq!(
        events(&told(&world)),
        [("failure", "plant/reader", "person"), ("expiring", "plant/reader", "token-needed")]
    );
}
