//! `rotate`, with the tool as a process: what is left alone, what is replaced,
//! and what is said about it.

pub mod due;
mod tokens;

use std::fs;

use robocred::simulator::{self, Options, Robot, Simulator};
use serde_json::{Value, json};

use crate::world::{Ran, TOKEN, World, run};

/// Runs with the support token on standard input.
pub fn with_token(world: &World, arguments: &[&str]) -> Ran {
    run(world.command(arguments), TOKEN.as_bytes())
}

/// The rotation that replaces the one robot whether it is due or not.
pub const FORCED: [&str; 5] = ["--json", "rotate", "plant/reader", "--force", "--token-stdin"];

/// Runs [`FORCED`]; the one result.
pub fn forced(world: &World) -> Value {
    let document = with_token(world, &FORCED).expect(0).json();
    assert_eq!(document["results"][0]["action"], "rotated", "{document}");
    document["results"][0].clone()
}

/// Adds a line to a table of the configuration.
pub fn configure(world: &World, table: &str, line: &str) {
    let config = fs::read_to_string(world.config()).unwrap();
    let header = format!("[{table}]\n");
    assert!(config.contains(&header), "no {table} in {config}");
    fs::write(world.config(), config.replace(&header, &format!("{header}{line}\n"))).unwrap();
}

/// Adds another robot with P-256 keys to the configuration of `plant`.
pub fn add_robot(world: &World, name: &str, role: &str) {
    let config = fs::read_to_string(world.config()).unwrap();
    let robot = format!("\n[sites.plant.robots.{name}]\nrole = \"{role}\"\nkey_type = \"ecdsa-p256\"\n");
    fs::write(world.config(), config + &robot).unwrap();
}

/// As [`add_robot`], and provisions it.
pub fn another_robot(world: &World, name: &str, role: &str) {
    add_robot(world, name, role);
    with_token(world, &["provision", &format!("plant/{name}"), "--token-stdin"]).expect(0);
}

/// A second appliance with its robot `other/reader`.
pub fn another_site(world: &World) -> Simulator {
    let options = Options { token: TOKEN.to_owned(), devices: 5, ..Options::default() };
    let other = world.runtime.block_on(simulator::start(options)).unwrap();
    let (url, pin) = (other.url(), other.pin().to_string());
    let provision = ["provision", "other/reader", "--key-type", "ecdsa-p256", "--token-stdin"];
    with_token(world, &[&provision[..], &["--url", &url, "--pin", &pin]].concat()).expect(0);
    other
}

/// The names of the robots that the appliance knows, oldest first.
pub fn names(simulator: &Simulator) -> Vec<String> {
    simulator.robots().into_iter().map(|robot: Robot| robot.name).collect()
}

/// The codes of a robot's attention.
pub fn codes(robot: &Value) -> Vec<&str> {
    robot["attention"].as_array().unwrap().iter().map(|raised| raised["code"].as_str().unwrap()).collect()
}

/// Of each result: the robot, what was done, and the word of its error.
pub fn ends(document: &Value) -> Vec<(&str, &str, Option<&str>)> {
    let results = document["results"].as_array().unwrap_or_else(|| panic!("no results in {document}"));
    let text = |value: &'_ Value| -> &'static str { Box::leak(value.as_str().unwrap().to_owned().into_boxed_str()) };
    let end = |result: &Value| {
        let error = &result["error"];
        (text(&result["robot"]), text(&result["action"]), error.is_object().then(|| text(&error["code"])))
    };
    results.iter().map(end).collect()
}

#[test]
fn what_is_not_due_is_left_alone() {
    let world = World::new();
    let first = world.provision(&[]).expect(0).json()["results"][0].clone();
    add_robot(&world, "second", "reader");
    let connections = world.simulator.connections();
    let check = |arguments: &[&str], expected: &[&str]| {
        let document = world.run(&[&["--json"], arguments].concat()).expect(0).json();
        let expected: Vec<_> = expected.iter().map(|robot| (*robot, "unchanged", None)).collect();
        assert_eq!(ends(&document), expected, "{arguments:?}");
        assert_eq!(document["results"][0]["generation"], 1);
        assert_eq!(document["results"][0]["fingerprint_sha256"], first["fingerprint_sha256"]);
        assert_eq!(document["results"][0]["exports"], json!([]));
    };
    check(&["rotate", "plant/reader"], &["plant/reader"]);
    check(&["renew", "plant/reader"], &["plant/reader"]);
    check(&["rotate", "plant/reader", "plant/reader"], &["plant/reader"]);
    check(&["rotate", "plant/reader", "--due"], &["plant/reader"]);
    // A robot that was never provisioned is nobody's fault unless it is named.
    for all in [["rotate", "--due"], ["rotate", "--all"], ["rotate", "plant"]] {
        check(&all, &["plant/reader", "plant/second"]);
    }
    assert_eq!(world.simulator.connections(), connections);
    let never = world.run(&["--json", "rotate", "plant/second", "plant/reader"]).expect(1).json();
    assert_eq!(ends(&never), [("plant/second", "failed", Some("failed")), ("plant/reader", "unchanged", None)]);
    assert!(never["results"][0]["error"]["hint"].as_str().unwrap().contains("robocred provision plant/second"));
    assert_eq!(never["results"][0]["generation"], Value::Null);
    assert_eq!(world.simulator.connections(), connections);
}

#[test]
fn without_an_inventory_nothing_is_made() {
    let world = World::new();
    fs::create_dir_all(world.config().parent().unwrap()).unwrap();
    fs::write(world.config(), "version = 1\n[sites.plant]\nurl = \"https://127.0.0.1:9\"\ntrust = \"system\"\n")
        .unwrap();
    add_robot(&world, "reader", "reader");
    let document = world.run(&["--json", "rotate", "--all"]).expect(0).json();
    assert_eq!(ends(&document), [("plant/reader", "unchanged", None)]);
    let document = world.run(&["--json", "rotate", "plant/reader"]).expect(1).json();
    assert_eq!(ends(&document), [("plant/reader", "failed", Some("failed"))]);
    assert!(!world.state().exists());
}

#[test]
fn what_cannot_be_meant_is_refused_and_nothing_is_sent() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let (connections, config) = (world.simulator.connections(), fs::read(world.config()).unwrap());
    let check = |arguments: &[&str], code: i32, word: &str| {
        let document = with_token(&world, &[&["--json", "rotate"], arguments].concat()).expect(code).json();
        let error = &document["error"];
        assert_eq!((&error["code"], &error["exit_code"]), (&json!(word), &json!(code)), "{arguments:?}: {document}");
        assert!(error["hint"].is_string() || arguments.contains(&"--due"), "{document}");
    };
    check(&["plant/nobody"], 3, "config");
    check(&["nowhere"], 3, "config");
    check(&[], 2, "usage");
    check(&["--force"], 2, "usage");
    check(&["plant/reader", "--all"], 2, "usage");
    check(&["--force", "--due", "plant/reader"], 2, "usage");
    check(&["--force", "--all", "-n", "--token-stdin"], 2, "usage");
    check(&["--force", "plant", "-n", "--token-stdin"], 2, "usage");
    for flags in [["--days", "30"].as_slice(), &["--ingest"], &["--export", "out"]] {
        check(&[&["plant"], flags].concat(), 2, "usage");
        check(&[&["--all"], flags].concat(), 2, "usage");
    }
    check(&["plant/reader", "--registered-name", "other", "--force"], 2, "usage");
    check(&["plant/reader", "--days", "366"], 2, "usage");
    assert_eq!((world.simulator.connections(), fs::read(world.config()).unwrap()), (connections, config));
}

#[test]
fn a_forced_rotation_makes_before_it_breaks() {
    let world = World::new();
    let first = world.provision(&["--export", "out"]).expect(0).json()["results"][0].clone();
    let old_end = first["not_after"].clone();
    let second = forced(&world);
    assert_eq!((&second["generation"], &second["registered_name"]), (&json!(2), &json!("reader-g2")));
    assert_ne!(second["fingerprint_sha256"], first["fingerprint_sha256"]);
    let dir = world.path("out");
    let files: Vec<_> = ["key.pem", "cert.pem", "combined.pem"].map(|name| dir.join(name)).into();
    assert_eq!(second["exports"], json!([{ "dir": dir, "files": files }]));
    assert_eq!(dir.join("current").read_link().unwrap().to_str(), Some(".g2"));

    // Both work, and both keys are there.
    assert_eq!(names(&world.simulator), ["reader", "reader-g2"]);
    let status = world.status();
    assert_eq!((&status["state"], &status["generation"]), (&json!("active"), &json!(2)));
    assert_eq!(codes(&status), ["deliver-by-hand"]);
    let previous = &status["previous"][0];
    assert_eq!((&previous["generation"], &previous["state"]), (&json!(1), &json!("previous")));
    assert_eq!(previous["fingerprint_sha256"], first["fingerprint_sha256"]);
    // Nobody has given the new pair to the connector yet.
    assert_eq!(previous["retire_after"], Value::Null);
    assert!(dir.join(".g1/key.pem").exists());
    world.run(&["--json", "rotate", "--due"]).expect(0);
    assert_eq!(names(&world.simulator), ["reader", "reader-g2"]);
    assert_eq!(world.status()["previous"][0]["retire_after"], Value::Null);

    world.run(&["export", "plant/reader", "--confirm"]).expect(0);
    let status = world.status();
    assert_eq!(codes(&status), Vec::<&str>::new());
    let after = time(&status["previous"][0]["retire_after"]);
    let days = (after - now()).whole_hours();
    assert!((14 * 24 - 1..=14 * 24).contains(&days), "{days} hours");
    assert!(after < time(&old_end));
    assert_eq!(ends(&world.run(&["--json", "rotate", "--due"]).expect(0).json())[0].1, "unchanged");
    world.run(&["verify"]).expect(0);

    // The next one: two are in overlap, and the older keeps its date.
    let third = forced(&world);
    assert_eq!((&third["generation"], &third["registered_name"]), (&json!(3), &json!("reader-g3")));
    let status = world.status();
    let previous: Vec<_> = status["previous"].as_array().unwrap().iter().map(|of| &of["generation"]).collect();
    assert_eq!(previous.len(), 2);
    assert_eq!(names(&world.simulator).len(), 3);
    world.assert_nowhere(TOKEN.as_bytes());
}

#[test]
fn the_overlap_never_outlives_the_old_certificate() {
    let world = World::new();
    let first = world.provision(&["--days", "3"]).expect(0).json()["results"][0].clone();
    // Delivered at once, as there is nothing to deliver to.
    forced(&world);
    let status = world.status();
    assert_eq!(status["previous"][0]["retire_after"], first["not_after"]);
    assert!(!codes(&status).contains(&"deliver-by-hand"), "{status}");
}

#[test]
fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let world = World::new();
    world.provision(&["--export", "out"]).expect(0);
    let connections = world.simulator.connections();
    let check = |arguments: &[&str], steps: &[&str]| {
        let ran = world.run(&[&["--json", "rotate", "--dry-run"], arguments].concat()).expect(0);
        assert_eq!(ran.stdout.matches('\n').count(), 1);
        assert_eq!(ran.json(), json!({ "schema": 1, "plan": [{ "robot": "plant/reader", "steps": steps }] }));
    };
    check(&["plant/reader"], &[]);
    check(&["--all"], &[]);
    check(&["plant/reader", "--force"], &["make", "register", "prove", "deliver"]);
    check(&["--all", "--force", "-n"], &["make", "register", "prove", "deliver"]);
    assert_eq!(world.simulator.connections(), connections);
    assert_eq!(world.status()["previous"], json!([]));
    world.run(&["--json", "rotate", "plant/reader", "--role", "admin", "--dry-run"]).expect(3);
}

#[test]
fn what_is_wanted_of_the_next_credential_is_written_down_and_used() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let more = ["--key-type", "ecdsa-p384", "--days", "30", "--export", "out", "--ingest", "--role", "reader"];
    let done = with_token(&world, &[&FORCED[..], &more].concat()).expect(0).json();
    assert_eq!(ends(&done), [("plant/reader", "rotated", None)]);
    assert!(world.path("out/combined.pem").exists());
    assert!(world.state().join("ingest/plant/reader").exists(), "nothing was read");
    let status = world.status();
    assert_eq!((&status["key_type"], &status["generation"]), (&json!("ecdsa-p384"), &json!(2)));
    assert!(matches!(status["days_left"].as_i64(), Some(26..=30)), "{status}");
    let config = fs::read_to_string(world.config()).unwrap();
    for part in ["ecdsa-p384", "days = 30", "out", "ingest"] {
        assert!(config.contains(part), "no {part} in {config}");
    }
    // And so is the one after it.
    forced(&world);
    assert_eq!(world.status()["key_type"], "ecdsa-p384");
}

#[test]
fn a_flag_that_contradicts_holds_up_nobody_else() {
    let world = World::new();
    world.provision(&[]).expect(0);
    another_robot(&world, "keeper", "admin");
    let config = fs::read(world.config()).unwrap();
    let pin = format!("sha256//{}=", "A".repeat(43));
    for flags in [["--role", "admin"], ["--pin", &pin]] {
        let document = with_token(&world, &[&FORCED[..], &flags].concat()).expect(3).json();
        assert_eq!(ends(&document), [("plant/reader", "failed", Some("config"))]);
        assert!(document["results"][0]["error"]["message"].as_str().unwrap().contains(flags[1]), "{document}");
    }
    assert_eq!(fs::read(world.config()).unwrap(), config);
    let both = with_token(&world, &[&FORCED[..], &["plant/keeper", "--role", "admin"]].concat()).expect(3).json();
    assert_eq!(ends(&both), [("plant/reader", "failed", Some("config")), ("plant/keeper", "rotated", None)]);
    assert_eq!(names(&world.simulator), ["reader", "keeper", "keeper-g2"]);
}

#[test]
fn one_bad_robot_never_stops_the_others() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let other = another_site(&world);
    world.runtime.block_on(other.shutdown());
    let both = ["--json", "rotate", "other/reader", "plant/reader", "--force", "--token-stdin"];
    let document = with_token(&world, &both).expect(5).json();
    assert_eq!(ends(&document), [("other/reader", "failed", Some("unreachable")), ("plant/reader", "rotated", None)]);
    assert_eq!(document["results"][0]["generation"], 1, "what still works is named");
    assert_eq!(names(&world.simulator), ["reader", "reader-g2"]);

    // Unreachable there, and a person is needed here: the worse decides.
    let document = world.run(&["--json", "rotate", "other/reader", "plant/reader", "--force"]).expect(12).json();
    assert_eq!(
        ends(&document),
        [("other/reader", "failed", Some("person")), ("plant/reader", "failed", Some("person"))]
    );
}

#[test]
fn provision_leaves_a_robot_in_the_middle_of_a_rotation_alone() {
    let world = World::new();
    world.provision(&[]).expect(0);
    world.run(&["rotate", "plant/reader", "--force"]).expect(12);
    assert_eq!(world.status()["previous"][0]["state"], "keyed");
    let connections = world.simulator.connections();
    let document = world.run(&["--json", "provision", "plant/reader"]).expect(0).json();
    assert_eq!(ends(&document), [("plant/reader", "unchanged", None)]);
    assert_eq!(document["results"][0]["generation"], 1);
    assert_eq!(world.simulator.connections(), connections);
}

/// A time of a document.
pub fn time(value: &Value) -> ::time::OffsetDateTime {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is no time"));
    ::time::OffsetDateTime::parse(text, &::time::format_description::well_known::Rfc3339).unwrap()
}

/// The time by which the tool judges.
pub fn now() -> ::time::OffsetDateTime {
    robocred::clock::Clock::now(&robocred::clock::SystemClock)
}
