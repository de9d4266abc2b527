//! The JSON documents, field by field.

use std::{fs, path::Path};

use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::world::{Ran, TOKEN, World, run};

/// What a field must be.
#[derive(Clone, Copy)]
enum Is {
    Text,
    Word(&'static [&'static str]),
    Hex(usize),
    Base64,
    Time,
    Absolute,
    Number,
    Flag,
    List,
    Object,
    Null,
    Or(&'static Is),
}

fn fits(value: &Value, is: Is) -> bool {
    let text = value.as_str();
    let hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    match is {
        Is::Text => text.is_some(),
        Is::Word(words) => text.is_some_and(|text| words.contains(&text)),
        Is::Hex(length) => text.is_some_and(|text| text.len() == length && hex(text)),
        Is::Base64 => text.is_some_and(|text| text.len() == 44 && text.ends_with('=')),
        Is::Time => {
            text.and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok().filter(|_| text.ends_with('Z'))).is_some()
        }
        Is::Absolute => text.is_some_and(|text| Path::new(text).is_absolute()),
        Is::Number => value.is_number(),
        Is::Flag => value.is_boolean(),
        Is::List => value.is_array(),
        Is::Object => value.is_object(),
        Is::Null => value.is_null(),
        Is::Or(other) => value.is_null() || fits(value, *other),
    }
}

/// Panics unless `value` has exactly these fields.
#[track_caller]
fn check(value: &Value, fields: &[(&str, Is)]) {
    let object = value.as_object().unwrap_or_else(|| panic!("{value} is no object"));
    for (name, is) in fields {
        let field = object.get(*name).unwrap_or_else(|| panic!("{name} is missing in {value}"));
        assert!(fits(field, *is), "{name} is {field}");
    }
    let unknown: Vec<_> = object.keys().filter(|key| fields.iter().all(|(name, _)| name != key)).collect();
    assert!(unknown.is_empty(), "{unknown:?} in {value}");
}

/// The one document on standard output, one line of it.
#[track_caller]
fn document(ran: Ran, code: i32) -> Value {
    let ran = ran.expect(code);
    assert_eq!(ran.stdout.matches('\n').count(), 1, "{ran:#?}");
    let document = ran.json();
    assert_eq!(document["schema"], 1, "{document}");
    document
}

const SCHEMA: (&str, Is) = ("schema", Is::Number);
const ERROR: &[(&str, Is)] =
    &[("code", Is::Text), ("message", Is::Text), ("hint", Is::Or(&Is::Text)), ("exit_code", Is::Number)];
const RESULT: &[(&str, Is)] = &[
    ("robot", Is::Text),
    (
        "action",
        Is::Word(&["provisioned", "rotated", "resumed", "unchanged", "imported", "rolled-back", "retired", "failed"]),
    ),
    ("generation", Is::Or(&Is::Number)),
    ("registered_name", Is::Or(&Is::Text)),
    ("fingerprint_sha256", Is::Or(&Is::Hex(64))),
    ("not_after", Is::Or(&Is::Time)),
    ("exports", Is::List),
    ("error", Is::Or(&Is::Object)),
];
const RUN: &[(&str, Is)] = &[
    ("robot", Is::Text),
    ("stream", Is::Text),
    ("api", Is::Or(&Is::Word(&["graphql", "rest"]))),
    ("records", Is::Number),
    ("total_reported", Is::Or(&Is::Number)),
    ("complete", Is::Flag),
    ("pages", Is::Number),
    ("bytes", Is::Number),
    ("seconds", Is::Number),
    ("path", Is::Or(&Is::Absolute)),
    ("manifest", Is::Or(&Is::Absolute)),
    ("sha256", Is::Or(&Is::Hex(64))),
    ("fingerprint_sha256", Is::Or(&Is::Hex(64))),
    ("error", Is::Or(&Is::Object)),
];
const CHECK: &[(&str, Is)] = &[
    ("name", Is::Text),
    ("result", Is::Word(&["pass", "warn", "fail", "skip", "unknown"])),
    ("millis", Is::Or(&Is::Number)),
    ("detail", Is::Or(&Is::Text)),
    ("hint", Is::Or(&Is::Text)),
];

fn status_of(world: &World) -> Value {
    let status = document(world.run(&["--json", "list"]), 0);
    let fields =
        [SCHEMA, ("config", Is::Absolute), ("state_dir", Is::Absolute), ("warnings", Is::List), ("robots", Is::List)];
    check(&status, &fields);
    status
}

/// The fields of a robot; those of its credential are null where there is none.
fn robot(robot: &Value, credential: fn(&'static Is) -> Is) {
    const STATES: &[&str] = &["expired", "needs-person", "pending", "active", "absent"];
    let fields = [
        ("robot", Is::Text),
        ("site", Is::Text),
        ("name", Is::Text),
        ("role", Is::Word(&["reader", "admin"])),
        ("state", Is::Word(STATES)),
        ("generation", credential(&Is::Number)),
        ("registered_name", credential(&Is::Text)),
        ("remote_id", Is::Or(&Is::Text)),
        ("fingerprint_sha256", credential(&Is::Hex(64))),
        ("spki_sha256", credential(&Is::Base64)),
        ("serial", credential(&Is::Hex(40))),
        ("key_type", credential(&Is::Text)),
        ("not_before", credential(&Is::Time)),
        ("not_after", credential(&Is::Time)),
        ("days_left", credential(&Is::Number)),
        ("due_at", credential(&Is::Time)),
        ("due", Is::Flag),
        ("attention", Is::List),
        ("store", credential(&Is::Word(&["sealed", "keyring"]))),
        ("previous", Is::List),
        ("leftovers", Is::List),
    ];
    check(robot, &fields);
    for attention in robot["attention"].as_array().unwrap() {
        let fields = [("code", Is::Text), ("message", Is::Text), ("hint", Is::Or(&Is::Text)), ("since", Is::Time)];
        check(attention, &fields);
    }
}

#[test]
fn every_document_has_the_fields_of_the_contract() {
    let world = World::new();
    assert_eq!(status_of(&world)["robots"], serde_json::json!([]));

    let provisioned = document(world.provision(&["--export", "out", "--ingest"]), 0);
    check(&provisioned, &[SCHEMA, ("results", Is::List)]);
    check(&provisioned["results"][0], RESULT);
    check(&provisioned["results"][0]["exports"][0], &[("dir", Is::Absolute), ("files", Is::List)]);
    for file in provisioned["results"][0]["exports"][0]["files"].as_array().unwrap() {
        assert!(fits(file, Is::Absolute), "{file}");
    }
    let mut config = fs::read_to_string(world.config()).unwrap();
    config.push_str("\n[sites.plant.robots.second]\nrole = \"admin\"\n");
    fs::write(world.config(), config).unwrap();
    let status = status_of(&world);
    robot(&status["robots"][0], |is| *is);
    robot(&status["robots"][1], |_| Is::Null);
    assert_eq!(status["robots"][1]["state"], "absent");

    let exported = document(world.run(&["--json", "export", "plant/reader", "--dir", "out"]), 0);
    check(&exported, &[SCHEMA, ("results", Is::List), ("form", Is::Object)]);
    check(&exported["results"][0], RESULT);
    check(
        &exported["form"],
        &[
            ("url", Is::Text),
            ("robot_name", Is::Text),
            ("private_key_file", Is::Absolute),
            ("certificate_file", Is::Absolute),
            ("verify_ssl", Is::Flag),
        ],
    );

    let verified = document(world.run(&["--json", "verify"]), 1);
    check(&verified, &[SCHEMA, ("robots", Is::List)]);
    for robot in verified["robots"].as_array().unwrap() {
        check(robot, &[("robot", Is::Text), ("ok", Is::Flag), ("checks", Is::List)]);
        robot["checks"].as_array().unwrap().iter().for_each(|look| check(look, CHECK));
    }
    let doctor = document(world.run(&["--json", "doctor"]), 0);
    check(&doctor, &[SCHEMA, ("ok", Is::Flag), ("checks", Is::List)]);
    doctor["checks"].as_array().unwrap().iter().for_each(|look| check(look, CHECK));

    let ingested = document(world.run(&["--json", "ingest"]), 1);
    check(&ingested, &[SCHEMA, ("runs", Is::List)]);
    ingested["runs"].as_array().unwrap().iter().for_each(|run| check(run, RUN));
    check(&ingested["runs"][1]["error"], ERROR);

    let trust = document(world.run(&["--json", "trust", "plant", "--show"]), 0);
    let fields = [SCHEMA, ("site", Is::Text), ("trust", Is::Text), ("pins", Is::List), ("presented", Is::Object)];
    check(&trust, &fields);
    assert!(fits(&trust["pins"][0], Is::Base64));
    let fields = [("spki_sha256", Is::Base64), ("subject", Is::Text), ("not_after", Is::Time)];
    check(&trust["presented"], &fields);

    let token = |arguments: &[&str]| {
        let arguments = [&["--json", "token"], arguments].concat();
        let token = document(run(world.command(&arguments), TOKEN.as_bytes()), 0);
        let fields =
            [SCHEMA, ("site", Is::Text), ("present", Is::Flag), ("since", Is::Or(&Is::Time)), ("expires", Is::Null)];
        check(&token, &fields);
        token["present"] == true
    };
    assert!(!token(&["status", "plant"]));
    assert!(token(&["set", "plant", "--token-stdin"]) && token(&["status", "plant"]));
    assert!(!token(&["clear", "plant"]));
    document(world.run(&["--json", "config", "check"]), 0);
    document(world.run(&["--json", "config", "show"]), 0);
    world.assert_nowhere(TOKEN.as_bytes());
}

/// The results of a command, each with the fields of the contract.
fn results(ran: Ran, code: i32) -> Vec<Value> {
    let document = document(ran, code);
    check(&document, &[SCHEMA, ("results", Is::List)]);
    let results = document["results"].as_array().unwrap().clone();
    for result in &results {
        check(result, RESULT);
        if result["error"].is_object() {
            check(&result["error"], ERROR);
        }
    }
    results
}

#[test]
fn a_life_has_the_fields_of_the_contract() {
    let world = World::new();
    world.provision(&["--export", "out"]).expect(0);
    let with_token = |arguments: &[&str]| run(world.command(&[&["--json"], arguments].concat()), TOKEN.as_bytes());
    let acted = |results: Vec<Value>, action: &str, generation: u32| {
        assert_eq!((&results[0]["action"], &results[0]["generation"]), (&action.into(), &generation.into()));
        for field in ["registered_name", "fingerprint_sha256", "not_after"] {
            assert!(results[0][field].is_string(), "{field} in {results:?}");
        }
    };
    let plan = |arguments: &[&str]| {
        let plan = document(world.run(&[&["--json"], arguments, &["--dry-run"]].concat()), 0);
        check(&plan, &[SCHEMA, ("plan", Is::List)]);
        check(&plan["plan"][0], &[("robot", Is::Text), ("steps", Is::List)]);
        assert!(plan["plan"][0]["steps"].as_array().unwrap().iter().all(Value::is_string));
    };
    plan(&["rotate", "plant/reader", "--force"]);
    acted(results(with_token(&["rotate", "plant/reader", "--force", "--token-stdin"]), 0), "rotated", 2);
    plan(&["rollback", "plant/reader"]);
    plan(&["retire", "plant/reader"]);
    let status = status_of(&world);
    robot(&status["robots"][0], |is| *is);
    let previous = [
        ("generation", Is::Number),
        ("state", Is::Text),
        ("registered_name", Is::Text),
        ("fingerprint_sha256", Is::Hex(64)),
        ("not_after", Is::Time),
        ("retire_after", Is::Null),
    ];
    check(&status["robots"][0]["previous"][0], &previous);
    acted(results(world.run(&["--json", "rollback", "plant/reader"]), 0), "rolled-back", 1);
    acted(results(world.run(&["--json", "rollback", "plant/reader"]), 0), "unchanged", 1);
    acted(results(world.run(&["--json", "rotate", "--due"]), 0), "unchanged", 1);
    acted(results(world.run(&["--json", "rotate", "plant/reader", "--force"]), 12), "failed", 1);
    acted(results(with_token(&["rotate", "plant/reader", "--token-stdin"]), 0), "rotated", 3);
    acted(results(world.run(&["--json", "retire", "plant/reader", "--generation", "1"]), 12), "retired", 1);
    let leftover = &status_of(&world)["robots"][0]["leftovers"][0];
    let fields = [
        ("registered_name", Is::Text),
        ("generation", Is::Number),
        ("fingerprint_sha256", Is::Hex(64)),
        ("reason", Is::Text),
    ];
    check(leftover, &fields);
    let removed = ["--json", "retire", "plant/reader", "--generation", "1", "--removed"];
    acted(results(world.run(&removed), 0), "retired", 1);
    acted(results(with_token(&["retire", "plant/reader", "--token-stdin"]), 0), "retired", 2);
    acted(results(world.run(&["--json", "retire", "plant/reader"]), 0), "unchanged", 3);
    acted(results(world.run(&["--json", "retire", "plant/reader", "--generation", "3"]), 12), "failed", 3);
    acted(results(world.run(&["--json", "rollback", "plant/reader"]), 1), "failed", 3);
    // For people: on standard output what was done, on standard error what was not.
    let told = world.run(&["rotate", "plant/reader"]).expect(0);
    assert!(told.stdout.starts_with("plant/reader: unchanged\n"), "{told:?}");
    world.assert_nowhere(TOKEN.as_bytes());
}

#[test]
fn failed_robots_stand_in_the_document_of_their_command() {
    let world = World::new();
    world.provision(&[]).expect(0);
    world.simulator.forget_robots();
    let export = document(world.run(&["--json", "export", "plant/reader", "--dir", "out"]), 4);
    check(&export["results"][0], RESULT);
    check(&export["results"][0]["error"], ERROR);
    assert_eq!((&export["results"][0]["action"], &export["results"][0]["generation"]), (&"failed".into(), &1.into()));
    assert!(!world.path("out/key.pem").exists());
    let ingest = document(world.run(&["--json", "ingest"]), 4);
    check(&ingest["runs"][0], RUN);
    assert_eq!(ingest["runs"][0]["error"]["code"], "refused");
    // Nothing could be looked at.
    for (arguments, code) in [(["verify", "nowhere"], 3), (["ingest", "nowhere/x"], 3), (["verify", "a/b/c"], 2)] {
        let document = document(world.run(&[&["--json"], arguments.as_slice()].concat()), code);
        check(&document, &[SCHEMA, ("error", Is::Object)]);
        check(&document["error"], ERROR);
    }
}

#[test]
fn a_json_log_holds_nothing_but_objects() {
    let world = World::new();
    world.provision(&["--export", "out"]).expect(0);
    let lines = |arguments: &[&str], code: i32| -> Vec<Value> {
        let ran = world.run(&[&["--log-format", "json"], arguments].concat()).expect(code);
        ran.stderr.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
    };
    assert!(lines(&["-v", "verify"], 0).iter().any(|line| line["step"] == "read" && line["level"] == "INFO"));
    assert_eq!(lines(&["verify"], 0), Vec::<Value>::new());
    for (arguments, code, named) in
        [(["ingest", "plant/x"], 3, "config"), (["provision", "zz/x"], 2, "usage"), (["frob", "x"], 2, "usage")]
    {
        let told = lines(&arguments, code);
        assert_eq!((&told[0]["level"], &told[0]["code"]), (&"ERROR".into(), &named.into()));
    }
    // The text form, and silence.
    assert!(world.run(&["-v", "verify"]).expect(0).stderr.contains(" INFO "));
    assert_eq!(world.run(&["-q", "export", "plant/reader", "--confirm"]).expect(0).stderr, "");
}
