//! Everything a person types wrong: one clear error, a hint, its exit code, and
//! nothing changed by it.

mod again;
mod appliance;
mod disk;
mod import;
mod server;
mod surroundings;
pub mod terminal;
mod typed;

use std::{collections::BTreeMap, path::PathBuf, process::Command};

use robocred::inventory::Inventory;

use crate::world::{Ran, World, run};

/// What every refusal is: its exit code, one error with a hint, no crash, and
/// the same said in JSON. Returns what was told.
#[track_caller]
fn refused(ran: &Ran, code: i32) -> String {
    assert_eq!(ran.code(), Some(code), "{ran:#?}");
    assert!(!ran.stderr.contains("internal error"), "{ran:#?}");
    if !ran.stdout.starts_with('{') {
        assert_eq!(ran.stderr.matches("robocred: error: ").count(), 1, "{ran:#?}");
        assert!(ran.stderr.contains("robocred: hint: "), "{ran:#?}");
        return ran.stderr.clone();
    }
    let document = ran.json();
    let error = ["results", "robots", "runs"]
        .iter()
        .map(|list| &document[list][0]["error"])
        .find(|error| error.is_object())
        .unwrap_or(&document["error"]);
    assert_eq!(error["exit_code"], code, "{ran:#?}");
    let text = |key: &str| error[key].as_str().unwrap_or_else(|| panic!("no {key} in {ran:#?}")).to_owned();
    format!("{}\n{}", text("message"), text("hint"))
}

/// Refused for people and for programs alike, in words that hold `words`, and
/// with everything below the home and on the appliance as it was.
#[track_caller]
fn refuses(world: &World, command: impl Fn() -> Command, input: &[u8], code: i32, words: &[&str]) {
    let before = everything(world);
    for json in [false, true] {
        let mut command = command();
        if json {
            command.arg("--json");
        }
        let ran = run(command, input);
        let told = refused(&ran, code);
        for word in words {
            assert!(told.contains(word), "{word:?} is not told: {ran:#?}");
        }
        let after = everything(world);
        let facts = |of: &Everything| (of.audit, of.robots, of.tokens);
        assert_eq!(facts(&after), facts(&before), "inventory or appliance noticed {ran:#?}");
        let differs = |path: &&PathBuf| before.files.get(*path) != after.files.get(*path);
        let changed: Vec<_> = before.files.keys().chain(after.files.keys()).filter(differs).collect();
        assert!(changed.is_empty(), "{changed:?} changed by {ran:#?}");
    }
}

/// What a refusal must leave as it was.
struct Everything {
    /// Every file below the home with its bytes; the inventory's are told by its audit.
    files: BTreeMap<PathBuf, Option<Vec<u8>>>,
    /// The number of entries in the audit, if there is an inventory.
    audit: Option<usize>,
    /// How many robots the appliance has.
    robots: usize,
    /// How many tokens were shown to it.
    tokens: usize,
}

fn everything(world: &World) -> Everything {
    let of_the_engine = |path: &PathBuf| path.to_string_lossy().contains("/inventory.db");
    let files = world.files().into_iter().filter(|path| !of_the_engine(path));
    let audit = world.runtime.block_on(async {
        match Inventory::open_read_only(&world.state()).await.unwrap() {
            Some(inventory) => Some(inventory.audit().await.unwrap().len()),
            None => None,
        }
    });
    Everything {
        files: files.map(|path| (path.clone(), std::fs::read(&path).ok())).collect(),
        audit,
        robots: world.simulator.robots().len(),
        tokens: world.simulator.tokens_seen(),
    }
}

/// The words of a command line as `World::command` takes them.
fn words(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}
