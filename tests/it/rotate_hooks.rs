//! The hooks of a rotation: run when they should, with the right facts, and
//! what their failure holds back.

use std::fs;

use robocred::{
    config::Config,
    inventory::Inventory,
    simulator::Behaviours,
    status::{self, Holdings},
    telling::{Telling, Told},
};
use serde_json::{Value, json};

use crate::{
    rotate::{
        FORCED, add_robot, another_robot, codes, configure,
        due::{imported, until},
        ends, forced, names, now, time, with_token,
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
    let hint = "get a support token from the vendor, which takes days, and run `robocred token set plant`";
    assert_eq!(reader["hint"], hint);
    assert_eq!(reader["message"], format!("plant/reader: {hint}: its rotation failed: a person is needed"));

    // Another code is news, the same is not; the exit code says it every time.
    let check = |behaviour: &str, code: i32, word: Option<&str>| {
        world.simulator.set_behaviours(behaviour.parse().unwrap());
        let ran = with_token(&world, &["rotate", "plant/reader", "--token-stdin"]).expect(code);
        let told = told(&world);
        let expected: Vec<_> = word.iter().map(|word| ("failure", "plant/reader", *word)).collect();
        assert_eq!(events(&told), expected, "{behaviour}: {ran:#?}");
        // Our own words only: the appliance's do not reach a program.
        let message = format!("{told:?}");
        assert!(!message.contains("status") && !message.contains("invalid"), "{message}");
    };
    check("forbidden-403", 4, Some("refused"));
    check("unprocessable-422", 4, None);
    world.simulator.replace_server_key().unwrap();
    check("default", 6, Some("untrusted"));
    check("default", 6, None);
}

#[test]
fn a_deploy_hook_that_fails_is_a_failure_too_and_one_that_cannot_tell_changes_nothing() {
    let world = World::new();
    world.provision(&[]).expect(0);
    hooks(&world, "reader", &["deploy", "failure"]);
    fs::write(world.path("deploy"), "").unwrap();
    with_token(&world, &FORCED).expect(9);
    assert_eq!(events(&told(&world)), [("deploy", "plant/reader", ""), ("failure", "plant/reader", "hook")]);
}

#[test]
fn a_failure_hook_that_fails_changes_nothing_and_is_tried_again() {
    let world = World::new();
    world.provision(&[]).expect(0);
    hooks(&world, "reader", &["failure"]);
    fs::write(world.path("failure"), "").unwrap();
    let failing = || world.run(&["--json", "rotate", "plant/reader", "--force"]).expect(12);
    let ran = failing();
    assert_eq!(ends(&ran.json()), [("plant/reader", "failed", Some("person"))]);
    assert!(ran.stderr.contains("plant/reader: told nobody by the failure hook"), "{ran:#?}");
    fs::remove_file(world.path("failure")).unwrap();
    failing();
    failing();
    assert_eq!(events(&told(&world)), [("failure", "plant/reader", "person"); 2], "in vain, and for good");
}

#[test]
fn a_failure_is_told_once_until_a_run_has_ended_well() {
    let world = World::new();
    imported(&world, "reader");
    hooks(&world, "reader", &["failure"]);
    with_token(&world, &["token", "set", "plant", "--token-stdin"]).expect(0);
    let failing = |arguments: &[&str]| {
        world.simulator.set_behaviours("unprocessable-422".parse().unwrap());
        with_token(&world, arguments).expect(4);
        world.simulator.set_behaviours(Behaviours::default());
        told(&world)
    };
    let due = ["rotate", "--due"];
    let first = failing(&due);
    assert_eq!(events(&first), [("failure", "plant/reader", "refused")]);
    let message = first[0]["message"].as_str().unwrap();
    assert!(message.starts_with("plant/reader: run `robocred verify plant/reader`, "), "{message}");
    assert_eq!((failing(&due), failing(&due)), (Vec::new(), Vec::new()));
    assert_eq!(ends(&world.run(&["--json", "rotate", "--due"]).expect(0).json())[0].1, "rotated");
    assert_eq!(events(&failing(&FORCED)), [("failure", "plant/reader", "refused")]);
    assert_eq!(failing(&FORCED), Vec::<Value>::new());
}

#[test]
fn what_only_rests_has_not_ended_well() {
    let world = World::new();
    world.provision(&["--export", "out"]).expect(0);
    hooks(&world, "reader", &["deploy", "failure"]);
    fs::write(world.path("deploy"), "").unwrap();
    with_token(&world, &FORCED).expect(9);
    assert_eq!(events(&told(&world)), [("deploy", "plant/reader", ""), ("failure", "plant/reader", "hook")]);
    world.run(&["rotate", "--due"]).expect(0);
    world.run(&["rotate", "plant/reader"]).expect(9);
    assert_eq!(events(&told(&world)), [("deploy", "plant/reader", "")], "tried again, and known already");
}

#[test]
fn what_keeps_every_robot_from_being_looked_at_is_told_of_every_robot() {
    let world = World::new();
    world.provision(&[]).expect(0);
    another_robot(&world, "second", "reader");
    hooks(&world, "reader", &["failure"]);
    hooks(&world, "second", &["failure"]);
    let key = world.path(".config/robocred/seal.key");
    fs::rename(&key, world.path("elsewhere")).unwrap();
    let failing = || {
        world.run(&["rotate", "--due"]).expect(7);
        told(&world)
    };
    let first = failing();
    let mut robots = events(&first);
    robots.sort_unstable();
    assert_eq!(robots, [("failure", "plant/reader", "store"), ("failure", "plant/second", "store")]);
    assert!(first[0]["message"].as_str().unwrap().contains("run `robocred doctor`"), "{first:?}");
    assert_eq!(failing(), Vec::<Value>::new());
    fs::rename(world.path("elsewhere"), &key).unwrap();
    world.run(&["rotate", "--due"]).expect(0);
    fs::rename(&key, world.path("elsewhere")).unwrap();
    assert_eq!(failing().len(), 2, "it had ended well");

    // Where nothing can be written down, everybody is told every time.
    fs::write(world.state().join("inventory.db"), "no database").unwrap();
    for _ in 0..2 {
        let ran = world.run(&["rotate", "--due"]);
        assert_ne!(ran.code(), Some(0), "{ran:#?}");
        let told = told(&world);
        let mut robots: Vec<_> = told.iter().map(|told| told["robot"].as_str().unwrap()).collect();
        robots.sort_unstable();
        assert_eq!(robots, ["plant/reader", "plant/second"], "{ran:#?}");
    }
}

#[test]
fn an_ingest_that_fails_is_told_once_until_one_has_ended_well() {
    let world = World::new();
    world.provision(&[]).expect(0);
    add_robot(&world, "never", "reader");
    hooks(&world, "reader", &["failure"]);
    hooks(&world, "never", &["failure"]);
    // A file where the directory should be.
    fs::write(world.path("file"), "").unwrap();
    let failing = || {
        world.run(&["ingest", "plant", "-o", "file"]).expect(3);
        told(&world)
    };
    let first = failing();
    assert_eq!(events(&first), [("failure", "plant/reader", "ingest-failed")], "not of what was never provisioned");
    let message = first[0]["message"].as_str().unwrap();
    assert!(message.starts_with("plant/reader: run `robocred ingest plant/reader`"), "{message}");
    assert_eq!(failing(), Vec::<Value>::new());
    // A rotation that ended well is not an ingest that did.
    world.run(&["rotate", "--due"]).expect(0);
    assert_eq!(failing(), Vec::<Value>::new());
    world.run(&["ingest", "plant/reader"]).expect(0);
    assert_eq!(events(&failing()), [("failure", "plant/reader", "ingest-failed")]);
}

#[test]
fn a_first_ingest_that_fails_is_an_ingest_that_fails() {
    let world = World::new();
    world.provision(&[]).expect(0);
    hooks(&world, "reader", &["failure"]);
    fs::write(world.path("file"), "").unwrap();
    let file = world.path("file");
    configure(
        &world,
        "sites.plant.robots.reader",
        &format!("ingest = {{ streams = ['assets'], dir = '{}' }}", file.display()),
    );
    // A directory that cannot be used is a mistake in the configuration: whoever is there is told by the exit code.
    with_token(&world, &FORCED).expect(3);
    assert_eq!(told(&world), Vec::<Value>::new());
    world.run(&["rotate", "--due"]).expect(3);
    assert_eq!(events(&told(&world)), [("failure", "plant/reader", "ingest-failed")]);
    world.run(&["rotate", "--due"]).expect(3);
    world.run(&["ingest", "plant/reader"]).expect(3);
    assert_eq!(told(&world), Vec::<Value>::new());
    fs::remove_file(&file).unwrap();
    world.run(&["rotate", "--due"]).expect(0);
    fs::remove_dir_all(&file).unwrap();
    fs::write(&file, "").unwrap();
    world.run(&["ingest", "plant/reader"]).expect(3);
    assert_eq!(events(&told(&world)), [("failure", "plant/reader", "ingest-failed")]);
}

#[test]
fn the_expiring_hook_tells_once_that_a_token_will_be_needed() {
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
    let message = first[1]["message"].as_str().unwrap();
    let begins = "plant/reader: get a support token from the vendor, which takes days, and run `robocred token set plant`: its rotation opens on ";
    assert!(message.starts_with(begins) && message.ends_with("no support token is stored"), "{message}");
    assert_eq!(first[1]["generation"], 1);
    // The exit code says it every time.
    world.run(&["rotate", "--all"]).expect(12);
    assert_eq!((told(&world), world.simulator.connections()), (Vec::new(), connections));
}

/// A year, by the library that the tool and a watch share.
#[test]
fn an_end_that_comes_nearer_is_told_at_each_stage() {
    let world = World::new();
    world.provision(&[]).expect(0);
    hooks(&world, "reader", &["expiring"]);
    let end = time(&world.status()["not_after"]);
    let config = Config::load_file(&world.config()).unwrap();
    let told_at = |left: time::Duration| {
        let now = end - left;
        let outcome = world.runtime.block_on(async {
            let inventory = Inventory::open(&world.state(), "tester", now).await.unwrap();
            let holdings = Holdings::read(&inventory).await.unwrap();
            let report = status::report(Ok(&config), &holdings, now);
            let telling = Telling { config: &config, inventory: Some(&inventory), now };
            telling.expiring(&report.lines[0]).await.unwrap()
        });
        let told = told(&world);
        assert_eq!(matches!(outcome, Told::Now), told.len() == 1, "{outcome:?}: {told:?}");
        told.into_iter().map(|told| (told["code"].clone(), told["message"].clone())).collect::<Vec<_>>()
    };
    let days = time::Duration::days;
    assert_eq!(told_at(days(300)), []);
    let mut heard = Vec::new();
    for left in (-3..=170).rev().flat_map(|left| [days(left), days(left) - time::Duration::hours(9)]) {
        heard.extend(told_at(left).into_iter().map(|(code, message)| (left, code, message)));
    }
    let lefts: Vec<_> = heard.iter().map(|(left, ..)| left.whole_days()).collect();
    // The window opens a third and up to a twentieth of the life before the end; a token is asked for 30 days ahead.
    assert!((151..=170).contains(&lefts[0]), "{lefts:?}");
    assert_eq!(lefts[1..], [30, 14, 7, 1, 0], "{heard:?}");
    let codes: Vec<_> = heard.iter().map(|(_, code, _)| code.as_str().unwrap()).collect();
    assert_eq!(codes, ["token-needed", "token-needed", "token-needed", "token-needed", "token-needed", "expired"]);
    for (_, _, message) in &heard {
        assert!(message.as_str().unwrap().starts_with("plant/reader: get a support token"), "{message}");
    }
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

#[test]
fn by_schedule_without_an_inventory_the_place_that_was_looked_in_is_told() {
    let world = World::new();
    world.provision(&[]).expect(0);
    fs::rename(world.state(), world.path("away")).unwrap();
    let ran = world.run(&["--json", "rotate", "--due"]).expect(0);
    let place = world.state().display().to_string();
    assert!(ran.stderr.contains(&place) && ran.stderr.contains("holds no inventory"), "{}", ran.stderr);
    assert!(ran.json()["warnings"][0].as_str().unwrap().contains(&place), "{}", ran.json());
    assert_eq!(ends(&ran.json()), [("plant/reader", "unchanged", None)]);
    assert!(!world.state().exists());
    // Whoever names a robot is told of that one.
    assert!(!world.run(&["rotate", "--due", "plant/reader"]).expect(1).stderr.contains("holds no inventory"));
}

#[test]
fn an_old_credential_does_not_outlast_its_certificate() {
    let world = World::new();
    crate::rotate::due::made_by_hand(&world, "reader", 10, time::Duration::days(8));
    world.run(&["import", "plant/reader", "--key", "reader.key", "--cert", "reader.crt"]).expect(0);
    let ran = with_token(&world, &["rotate", "plant/reader", "--token-stdin"]).expect(0);
    assert!(ran.stderr.contains(", but no longer than its certificate, which ends on 20"), "{}", ran.stderr);
    // The new one outlasts the overlap.
    let ran = with_token(&world, &["rotate", "plant/reader", "--force", "--token-stdin"]).expect(0);
    assert!(ran.stderr.contains("the old credential keeps working"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("no longer than"), "{}", ran.stderr);
}
