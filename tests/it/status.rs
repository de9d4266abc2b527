//! What `status` says of a robot in the middle of its life.

use std::fs;

use robocred::{
    clock::{Clock as _, SystemClock},
    credential::{Control, Delivery},
    inventory::{AttentionCode, Change, Inventory, NewGeneration},
    site::{RobotId, Role},
    x509::{Certificate, KeyAlgorithm, PrivateKey, Profile, Validity},
};
use serde_json::{Value, json};
use time::Duration;

use crate::{
    bad_input::terminal::person,
    judges,
    world::{TOKEN, World, run},
};

fn codes(robot: &Value) -> Vec<&str> {
    robot["attention"].as_array().unwrap().iter().map(|raised| raised["code"].as_str().unwrap()).collect()
}

#[test]
fn a_token_is_asked_for_ahead_of_the_window_until_one_is_stored() {
    let world = World::new();
    // Its window opens after 20 days, and a token is asked for 30 days ahead.
    world.provision(&["--days", "30"]).expect(0);
    let robot = world.status();
    assert_eq!(
        (codes(&robot), &robot["state"], &robot["due"]),
        (vec!["token-needed"], &"active".into(), &false.into())
    );
    let asked = &robot["attention"][0];
    let due_at = robot["due_at"].as_str().unwrap();
    assert!(asked["message"].as_str().unwrap().contains(&due_at[..10]), "{asked}");
    assert!(asked["hint"].as_str().unwrap().contains("`robocred token set plant`"), "{asked}");

    run(world.command(&["token", "set", "plant", "--token-stdin"]), TOKEN.as_bytes()).expect(0);
    assert!(codes(&world.status()).is_empty());
    world.run(&["token", "clear", "plant"]).expect(0);
    assert_eq!(codes(&world.status()), ["token-needed"]);
    assert_eq!(world.simulator.robots().len(), 1);
}

#[test]
fn every_state_of_a_rotation_is_told_in_words() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let now = SystemClock.now();
    let inventory = world.runtime.block_on(Inventory::open(&world.state(), "tester", now)).unwrap();
    let id: RobotId = "plant/reader".parse().unwrap();
    let lock = world.runtime.block_on(inventory.lock_site(&id.site, None, now)).unwrap();
    let first = world.runtime.block_on(inventory.records(&id)).unwrap().remove(0).id;
    let new = NewGeneration {
        robot: id.clone(),
        role: Role::Reader,
        key_algorithm: KeyAlgorithm::EcdsaP256,
        profile: Profile::Client,
        forced: false,
    };
    let second = world.runtime.block_on(inventory.plan_generation(&lock, &new, now)).unwrap().id;
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let validity = Validity::of_days(now, 365).unwrap();
    let certificate = Certificate::self_signed(&key, "reader-g2", validity, Profile::Client).unwrap();

    let told = |state: &str, generation: u32, previous: &[(u32, &str)], words: &str| {
        let robot = world.status();
        assert_eq!((&robot["state"], &robot["generation"]), (&state.into(), &generation.into()), "{robot:#}");
        let beside = robot["previous"].as_array().unwrap().iter();
        let beside: Vec<_> = beside.map(|other| (&other["generation"], &other["state"])).collect();
        let expected: Vec<_> = previous.iter().map(|(number, state)| (json!(number), json!(state))).collect();
        assert_eq!(beside, expected.iter().map(|(number, state)| (number, state)).collect::<Vec<_>>());
        let text = world.run(&["status"]).expect(0).stdout;
        assert!(text.lines().any(|line| line.trim_start().starts_with(words)), "{words:?} is not told:\n{text}");
    };
    let advance = |of, change| {
        world.runtime.block_on(inventory.advance(&lock, of, change, now)).unwrap();
    };
    told("active", 1, &[(2, "planned")], "generation 2 (reader-g2) is on its way (planned): its key is not made yet");
    advance(&second, Change::KeyStored { certificate });
    told("active", 1, &[(2, "keyed")], "generation 2 (reader-g2) is on its way (keyed): its key is stored");
    advance(&second, Change::SendBegun { control: Control::Refused });
    told("active", 1, &[(2, "sending")], "generation 2 (reader-g2) is on its way (sending): whether the appliance");
    advance(&second, Change::Accepted { remote_id: None });
    told("active", 1, &[(2, "registered")], "generation 2 (reader-g2) is on its way (registered): the appliance");
    advance(&second, Change::Promoted { passed: Vec::new() });
    told(
        "active",
        2,
        &[(1, "previous")],
        "generation 1 (reader) is still accepted; kept until generation 2 is delivered",
    );

    let by_hand = inventory.raise(&lock, &id, AttentionCode::DeliverByHand, "give it to the connector", None, now);
    world.runtime.block_on(by_hand).unwrap();
    told(
        "active",
        2,
        &[(1, "previous")],
        "generation 1 (reader) is still accepted; kept until the delivery of generation 2 is confirmed (deliver-by-hand)",
    );
    let overlap = Duration::days(14);
    let delivered = inventory.set_delivery(&lock, &second, Delivery::Delivered, overlap, now);
    world.runtime.block_on(delivered).unwrap();
    let after = format!("generation 1 (reader) is still accepted; to be retired after {}", (now + overlap).date());
    told("active", 2, &[(1, "previous")], &after);
    advance(&first, Change::RetireBegun);
    told("active", 2, &[(1, "retiring")], "generation 1 (reader) is being removed; `robocred rotate plant/reader`");
    advance(&first, Change::RetireImpossible { reason: "the appliance offers no removal".to_owned() });
    told(
        "active",
        2,
        &[],
        "left on the appliance, for a person to remove: reader (generation 1): the appliance offers no removal",
    );
}

/// What a Python program makes of the metrics: every sample as `[name, labels, value]`.
const READER: &str = "
import json, sys
from prometheus_client.parser import text_string_to_metric_families
text = sys.stdin.read()
families = list(text_string_to_metric_families(text))
assert all(family.documentation and family.type in ('gauge', 'counter') for family in families)
print(json.dumps([[sample.name, sample.labels, sample.value] for family in families for sample in family.samples]))
";

#[test]
fn the_metrics_are_what_others_read_and_say_what_status_says() {
    let Some(python) = judges::python(&["prometheus_client"], "prometheus_client") else { return };
    let world = World::new();
    world.provision(&["--days", "30"]).expect(0);
    let text = world.run(&["status", "--prometheus", "-"]).expect(0).stdout;
    let mut command = std::process::Command::new(python);
    command.args(["-c", READER]);
    let samples = run(command, text.as_bytes()).expect(0).json();
    let value = |name: &str, label: Option<(&str, &str)>| {
        let found: Vec<_> = samples.as_array().unwrap().iter().filter(|sample| sample[0] == name).collect();
        let fits = |sample: &&&Value| label.is_none_or(|(label, value)| sample[1][label] == value);
        let found: Vec<_> = found.iter().filter(fits).collect();
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        found[0][2].as_f64().unwrap()
    };
    let robot = world.status();
    for (name, field) in [("expiration", "not_after"), ("not_before", "not_before"), ("renewal", "due_at")] {
        let told = value(&format!("robocred_certificate_{name}_timestamp_seconds"), Some(("robot", "reader")));
        let rfc3339 = &time::format_description::well_known::Rfc3339;
        let expected = time::OffsetDateTime::parse(robot[field].as_str().unwrap(), rfc3339).unwrap().unix_timestamp();
        assert_eq!(format!("{told}"), expected.to_string(), "{name}");
    }
    assert_eq!(codes(&robot), ["token-needed"]);
    for (name, label) in [
        ("robocred_attention", Some(("code", "token-needed"))),
        ("robocred_token_needed", None),
        ("robocred_robot_state", Some(("state", "active"))),
        ("robocred_certificate_ready_status", Some(("condition", "True"))),
        ("robocred_report_complete", None),
        ("robocred_build_info", Some(("version", env!("CARGO_PKG_VERSION")))),
    ] {
        assert_eq!(format!("{}", value(name, label)), "1", "{name}");
    }
    let families = text.lines().filter(|line| line.starts_with("# TYPE ")).count();
    assert_eq!(families, text.lines().filter(|line| line.starts_with("# HELP ")).count());
    assert!(families >= 18 && !text.contains("robocred_watch_"), "{text}");
}

/// The files in a directory.
fn names(world: &World, dir: &str) -> Vec<String> {
    let entries = fs::read_dir(world.path(dir)).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn page_and_metrics_are_files_that_others_can_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new();
    world.provision(&[]).expect(0);
    fs::create_dir(world.path("out")).unwrap();
    for _ in 0..2 {
        let ran = world.run(&["status", "--html", "out/page.html", "--prometheus", "out/robocred.prom"]).expect(0);
        assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
        assert_eq!(names(&world, "out"), ["page.html", "robocred.prom"]);
        for name in ["out/page.html", "out/robocred.prom"] {
            assert_eq!(fs::metadata(world.path(name)).unwrap().permissions().mode() & 0o7777, 0o644, "{name}");
        }
    }
    // But for the moment of the report they are what standard output gets.
    let told = |text: &str| {
        let lines = text.lines().filter(|line| !line.starts_with("robocred_report_timestamp_seconds "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let file = fs::read_to_string(world.path("out/robocred.prom")).unwrap();
    assert_eq!(told(&file), told(&world.run(&["status", "--prometheus", "-"]).expect(0).stdout));
    assert_eq!(told(&file).len(), file.lines().count() - 1);
    // With --json the document is there as well.
    let ran = world.run(&["--json", "status", "--prometheus", "out/robocred.prom"]).expect(0);
    assert_eq!(ran.json()["robots"][0]["robot"], "plant/reader");
}

#[test]
fn a_file_that_cannot_be_replaced_is_left_alone() {
    let world = World::new();
    fs::create_dir(world.path("out")).unwrap();
    fs::write(world.path("precious"), "precious").unwrap();
    std::os::unix::fs::symlink(world.path("precious"), world.path("out/link")).unwrap();
    fs::create_dir(world.path("out/dir")).unwrap();
    let check = |file: &str, words: &str| {
        for flag in ["--html", "--prometheus"] {
            let told = world.run(&["status", flag, file]).expect(3).stderr;
            assert!(told.contains(words) && told.contains("robocred: hint: "), "{told}");
        }
        assert_eq!(names(&world, "out"), ["dir", "link"]);
    };
    check("out/link", "could not replace out/link");
    check("out/dir", "could not replace out/dir");
    check("none/file", "could not create none/.file.");
    assert_eq!(fs::read_to_string(world.path("precious")).unwrap(), "precious");
    for arguments in [&["status", "--html", "-", "--prometheus", "-"][..], &["--json", "status", "--html", "-"]] {
        world.run(arguments).expect(2);
    }
}

#[test]
fn what_lies_ahead_is_told_in_a_sentence_and_in_the_document_where_it_was_asked_for() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let text = |arguments: &[&str]| world.run(arguments).expect(0).stdout;
    assert!(!text(&["status"]).contains("within"));
    assert!(text(&["status", "--forecast", "7d"]).contains("\nwithin 7 days no robot is due\n"));
    let sentence = "\nwithin 300 days 1 robot is due, and needs a support token: plant/reader\n";
    assert!(text(&["status", "--forecast", "300d"]).contains(sentence));
    let document = world.run(&["--json", "status", "--forecast", "300d"]).expect(0).json();
    let due = ["plant/reader"];
    assert_eq!(document["forecast"], json!({ "days": 300, "due": due, "tokens": due, "api_keys": [] }));
    assert_eq!(world.run(&["--json", "status"]).expect(0).json().get("forecast"), None);
    world.run(&["status", "--forecast", "12h"]).expect(2);
}

#[test]
fn a_watched_status_ends_with_ctrl_c_and_gives_the_screen_back() {
    let world = World::new();
    world.provision(&[]).expect(0);
    for arguments in [&["status", "--watch", "1"][..], &["status", "--watch", "--color", "never"]] {
        let Some(happened) = person(&world, arguments, &[("plant/reader", ""), ("Ctrl-C ends", "\u{3}")]) else {
            return;
        };
        assert_eq!(happened["code"], 0, "{happened:#}");
        let shown = happened["shown"].as_str().unwrap();
        assert!(shown.starts_with("\u{1b}[?1049h") && shown.trim_end().ends_with("\u{1b}[?1049l"), "{shown:?}");
        assert!(shown.contains("LIFETIME") && shown.contains("┃"), "{shown}");
        assert_eq!(shown.contains("\u{1b}[3"), !arguments.contains(&"never"), "{shown:?}");
        assert_eq!(happened["echo"], true);
    }
    let told = world.run(&["status", "--watch"]).expect(2).stderr;
    assert!(told.contains("needs a terminal") && told.contains("robocred: hint: "), "{told}");
    world.run(&["--json", "status", "--watch"]).expect(2);
    world.run(&["status", "--watch", "0"]).expect(2);
}
