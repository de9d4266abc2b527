//! The documents say what the code says.

use std::fmt::Write as _;

use robocred::credential::state::TRANSITIONS;

#[test]
fn the_state_table_in_the_architecture_document_is_the_one_in_the_code() {
    let mut table = String::from("| in state | on | to state |\n|---|---|---|\n");
    for (from, event, to) in TRANSITIONS {
        writeln!(table, "| {from} | {event} | {to} |").unwrap();
    }
    let document = include_str!("../../docs/ARCHITECTURE.md");
    assert!(document.contains(&table), "docs/ARCHITECTURE.md should hold:\n{table}");
}
