//! The documents say what the code says.

use std::{collections::BTreeSet, fmt::Write as _, path::Path};

use robocred::{
    credential::{State, state::TRANSITIONS},
    inventory::AttentionCode,
};

const OPERATIONS: &str = include_str!("../../docs/OPERATIONS.md");
const MONITORING: &str = include_str!("../../docs/MONITORING.md");

/// A section of docs/OPERATIONS.md.
fn section(title: &str) -> &'static str {
    let mut sections = OPERATIONS.split("\n## ");
    sections.find(|section| section.starts_with(title)).unwrap_or_else(|| panic!("no section {title}"))
}

/// The cells of the one row of a section that begins with `cell`.
#[track_caller]
fn row(section: &'static str, cell: &str) -> Vec<&'static str> {
    let begins = format!("| {cell} |");
    let found: Vec<_> = section.lines().filter(|line| line.starts_with(&begins)).collect();
    assert_eq!(found.len(), 1, "docs/OPERATIONS.md should have one row {cell}");
    found[0].trim_matches('|').split(" | ").map(str::trim).collect()
}

#[test]
fn the_state_table_in_the_architecture_document_is_the_one_in_the_code() {
    let mut table = String::from("| in state | on | to state |\n|---|---|---|\n");
    for (from, event, to) in TRANSITIONS {
        writeln!(table, "| {from} | {event} | {to} |").unwrap();
    }
    let document = include_str!("../../docs/ARCHITECTURE.md");
    assert!(document.contains(&table), "docs/ARCHITECTURE.md should hold:\n{table}");
}

#[test]
fn whoever_is_called_at_night_finds_every_code_and_every_state() {
    let asked = section("What `attention` asks for");
    for code in AttentionCode::ALL {
        let cells = row(asked, &format!("`{code}`"));
        assert!(cells.len() == 3 && cells.iter().all(|cell| !cell.is_empty()), "{code}: {cells:?}");
    }
    for code in 0..=12 {
        assert_eq!(row(section("Exit codes"), &code.to_string()).len(), 3, "exit code {code}");
    }
    let states = section("The life of a rotation");
    for state in State::ALL {
        assert!(states.contains(&format!("`{state}`")), "docs/OPERATIONS.md does not say what {state} means");
    }
    for state in ["active", "pending", "needs-person", "expired", "absent"] {
        assert!(states.contains(&format!("\n| `{state}` | ")), "docs/OPERATIONS.md does not say what {state} means");
    }
}

#[test]
fn every_metric_is_described_and_no_other() {
    let source = include_str!("../../src/status/metrics.rs");
    let quoted = |text: &'static str, quote: char| {
        let names =
            text.split(quote).filter(|word| word.strip_prefix("robocred_").is_some_and(|rest| !rest.is_empty()));
        let is_name = |word: &&str| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        names.filter(is_name).collect::<BTreeSet<_>>()
    };
    let described: Vec<_> = MONITORING.lines().filter(|line| line.starts_with("| `robocred_")).collect();
    assert!(described.len() > 20, "{described:?}");
    let described = described.iter().flat_map(|line| quoted(line, '`')).collect();
    assert_eq!(quoted(source, '"'), described);
}

#[test]
fn every_key_of_the_manifest_is_described_and_no_other() {
    let source = include_str!("../../src/ingest/manifest.rs");
    let body = source.split("struct Manifest<'a> {").nth(1).and_then(|rest| rest.split('}').next()).unwrap();
    let written: BTreeSet<_> = body.lines().filter_map(|line| Some(line.trim().split_once(':')?.0)).collect();
    assert!(written.len() > 30, "{written:?}");
    let document = include_str!("../../docs/INGEST.md");
    let section = document.split("### The manifest").nth(1).and_then(|rest| rest.split("\n#").next()).unwrap();
    let keys = section.lines().filter(|line| line.starts_with("| `")).filter_map(|line| line.split(" | ").next());
    let described: BTreeSet<_> = keys.flat_map(|keys| keys.split('`').skip(1).step_by(2)).collect();
    assert_eq!(written, described);
}

#[test]
fn every_special_situation_names_tests_that_there_are_or_its_reason() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    for number in 1..=27 {
        let cells = row(section("What was tried"), &format!("S{number}"));
        let [_, _, happens, evidence] = cells[..] else { panic!("S{number}: {cells:?}") };
        let named: Vec<_> = evidence.split('`').filter_map(|word| word.split_once("::")).collect();
        assert!(!happens.is_empty() && (!named.is_empty() || evidence == "reason" || evidence == "see that section"));
        for (file, name) in named {
            let source = std::fs::read_to_string(tests.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
            assert!(source.contains(&format!("fn {name}()")), "S{number}: no {name} in {file}");
        }
    }
}
