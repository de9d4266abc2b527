//! What a hook finds around it: exactly what docs/HOOKS.md says.

use std::{collections::BTreeMap, process::Command};

use robocred::{
    clock::rfc3339,
    hook::{self, Event, Facts},
    inventory::Inventory,
};
use serde_json::{Value, json};
use time::macros::datetime;

use super::{AMPLE, SECRET_SLOT, bare, full, run, shell};

const DOCUMENT: &str = include_str!("../../../docs/HOOKS.md");

async fn environment(facts: &Facts) -> BTreeMap<String, String> {
    let said = hook::run(&["/usr/bin/env".to_owned()], facts, AMPLE).await.unwrap();
    said.lines().map(|line| line.split_once('=').unwrap()).map(|(name, value)| (name.into(), value.into())).collect()
}

fn named(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|&(name, value)| (name.into(), value.into())).collect()
}

#[tokio::test]
async fn the_environment_is_the_facts_and_nothing_more() {
    let (facts, certificate) = full();
    let (validity, fingerprint) = (certificate.validity(), certificate.fingerprint().to_string());
    let due = super::config().sites[0].robots[0].renewal.window(validity, certificate.fingerprint()).due_at;
    assert_eq!(
        environment(&facts).await,
        named(&[
            ("LANG", "C.UTF-8"),
            ("PATH", "/usr/local/bin:/usr/bin:/bin"),
            ("ROBOCRED_CERTIFICATE_FILE", "/srv/it's $(here)/cert.pem"),
            ("ROBOCRED_CODE", "token needed"),
            ("ROBOCRED_COMBINED_FILE", "/srv/it's $(here)/combined.pem"),
            ("ROBOCRED_DUE_AT", &rfc3339(due)),
            ("ROBOCRED_EVENT", "deploy"),
            ("ROBOCRED_EXPORT_DIR", "/srv/it's $(here)"),
            ("ROBOCRED_FINGERPRINT_SHA256", &fingerprint),
            ("ROBOCRED_GENERATION", "2"),
            ("ROBOCRED_KEY_FILE", "/srv/it's $(here)/key.pem"),
            ("ROBOCRED_HINT", "get one"),
            ("ROBOCRED_MESSAGE", "plant/lucidum: get one: a support token is \u{fffd}[31mneeded\u{fffd}"),
            ("ROBOCRED_NAME", "lucidum"),
            ("ROBOCRED_NOT_AFTER", &rfc3339(validity.not_after)),
            ("ROBOCRED_NOT_BEFORE", &rfc3339(validity.not_before)),
            ("ROBOCRED_PREVIOUS_GENERATION", "1"),
            ("ROBOCRED_REGISTERED_NAME", "lucidum-g2"),
            ("ROBOCRED_ROBOT", "plant/lucidum"),
            ("ROBOCRED_ROLE", "reader"),
            ("ROBOCRED_SITE", "plant"),
            ("ROBOCRED_TEST", "1"),
            ("ROBOCRED_URL", "https://10.20.0.5:8443"),
        ])
    );
    assert_eq!(
        environment(&bare(Event::Expiring)).await,
        named(&[
            ("LANG", "C.UTF-8"),
            ("PATH", "/usr/local/bin:/usr/bin:/bin"),
            ("ROBOCRED_EVENT", "expiring"),
            ("ROBOCRED_NAME", "lucidum"),
            ("ROBOCRED_ROBOT", "plant/lucidum"),
            ("ROBOCRED_SITE", "plant"),
            ("ROBOCRED_URL", "https://10.20.0.5:8443"),
        ])
    );
}

#[tokio::test]
async fn standard_input_holds_the_same_facts_as_one_document() {
    let (facts, certificate) = full();
    let said = hook::run(&shell("cat"), &facts, AMPLE).await.unwrap();
    assert_eq!(said.lines().count(), 1);
    let document: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&document["schema"], &document["test"], &document["generation"]), (&json!(1), &json!(true), &json!(2)));
    assert_eq!(document["fingerprint_sha256"], certificate.fingerprint().to_string());
    let environment = environment(&facts).await;
    for (name, value) in document.as_object().unwrap() {
        let told = match value {
            Value::Bool(true) => "1".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        if name != "schema" {
            assert_eq!(environment[&format!("ROBOCRED_{}", name.to_uppercase())], told, "{name}");
        }
    }

    let said = hook::run(&shell("cat"), &bare(Event::Failure), AMPLE).await.unwrap();
    let bare: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&bare["event"], &bare["test"]), (&json!("failure"), &json!(false)));
    let known: Vec<&String> =
        bare.as_object().unwrap().iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name).collect();
    assert_eq!(known, ["event", "name", "robot", "schema", "site", "test", "url"]);
}

#[test]
fn no_secret_and_no_word_of_the_appliance_is_told() {
    let (facts, _) = full();
    let told = format!("{:?} {} {facts:?}", facts.environment(), facts.document());
    for unfit in [SECRET_SLOT, "what the appliance calls it", "PRIVATE", "\u{1b}"] {
        assert!(!told.contains(unfit), "{unfit:?} in {told}");
    }
}

#[test]
fn a_message_is_cut() {
    let facts = bare(Event::Failure).because("failed", &"ä".repeat(3000), "");
    let document: Value = serde_json::from_str(&facts.document()).unwrap();
    assert_eq!(document["hint"], "ä".repeat(1024));
    assert_eq!(document["message"], format!("plant/lucidum: {}", "ä".repeat(1024 - 15)));
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn the_surroundings_are_clean() {
    let state = tempfile::tempdir().unwrap();
    let now = datetime!(2026-11-22 12:00 UTC);
    let inventory = Inventory::open(state.path(), "tester", now).await.unwrap();
    let _lock = inventory.lock_site(&"plant".parse().unwrap(), None, now).await.unwrap();
    // What this process was itself started with may be there, but nothing that it has opened.
    let open = run("ls -l /proc/self/fd").await.unwrap();
    assert!(open.contains("pipe:") && !open.contains(state.path().to_str().unwrap()), "{open}");
    assert_eq!(run("pwd").await.unwrap(), "/");
    let said = run("echo $$; cut -d' ' -f5 /proc/$$/stat").await.unwrap();
    let (pid, group) = said.split_once('\n').unwrap();
    assert_eq!(pid, group, "not in a group of its own");
}

#[test]
fn the_table_in_the_document_is_the_one_in_the_code() {
    let rows = DOCUMENT.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | `ROBOCRED_"));
    let written: BTreeMap<String, String> =
        rows.map(|(name, rest)| (name.to_owned(), format!("ROBOCRED_{}", rest.split_once('`').unwrap().0))).collect();
    let (facts, _) = full();
    let Value::Object(mut document) = serde_json::from_str(&facts.document()).unwrap() else { panic!() };
    document.remove("schema");
    let named: Vec<&String> = document.keys().collect();
    assert_eq!(written.keys().collect::<Vec<_>>(), named);
    let (ours, fixed): (Vec<_>, Vec<_>) =
        facts.environment().into_iter().partition(|(name, _)| name.starts_with("ROBOCRED_"));
    let mut variables: Vec<&String> = written.values().collect();
    variables.sort();
    assert_eq!(variables, ours.iter().map(|(name, _)| name).collect::<Vec<_>>());
    for (name, value) in fixed {
        assert!(DOCUMENT.contains(&format!("`{name}={value}`")), "{name}={value}");
    }
}

/// A hook may run robocred, which must not take a fact for a flag.
#[test]
fn no_fact_has_the_name_of_a_variable_that_is_read() {
    let read = include_str!("../../../src/config/environment.rs");
    assert!(read.contains("\"ROBOCRED_STORE\""), "the list has moved");
    for (name, _) in full().0.environment() {
        assert!(!read.contains(&format!("\"{name}\"")), "{name}");
    }
}

#[test]
fn the_script_in_the_document_is_a_script() {
    let (_, script) = DOCUMENT.split_once("```sh\n").unwrap();
    let (script, _) = script.split_once("```").unwrap();
    let read = Command::new("/bin/sh").args(["-n", "-c", script]).output().unwrap();
    assert!(read.status.success(), "{read:?}");
    let names: Vec<String> = full().0.environment().into_iter().map(|(name, _)| name).collect();
    for at in script.match_indices("ROBOCRED_").map(|(at, _)| at) {
        let name: String =
            script[at..].chars().take_while(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || *c == '_').collect();
        assert!(names.contains(&name), "{name}");
    }
}
