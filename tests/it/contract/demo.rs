//! `demo` and `simulator`, and what they leave behind: nothing.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The tool with nothing of our environment and its temporary files in `folder`.
fn tool(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_robocred"));
    command.args(arguments).env_clear().env("HOME", folder).env("TMPDIR", folder).env("PATH", "/usr/bin:/bin");
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn interrupt(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).unwrap();
}

#[test]
fn the_whole_job_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let output = tool(folder.path(), &["demo"]).output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{told}");
    assert_eq!(told.matches(". instead of ").count(), 7, "{told}");
    for said in [
        "openssl req",
        "curl -k",
        "$ robocred provision ",
        "1000 assets of 1000",
        "plant-a/lucidum: rotated",
        "is still accepted",
        "$ robocred status",
    ] {
        assert!(told.contains(said), "{said} is missing in {told}");
    }
    // What becomes of the old credential, and that the delivery is recorded; nothing else.
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("the old credential keeps working") && said.lines().count() == 2, "{said}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);

    let output = tool(folder.path(), &["--json", "demo"]).output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&document["schema"], &document["ok"]), (&1.into(), &true.into()));
    for step in document["steps"].as_array().unwrap() {
        assert!(step["command"].is_string() && step["replaces"].is_string() && step["exit_code"] == 0, "{step}");
    }
}

#[test]
fn an_interrupted_demonstration_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = tool(folder.path(), &["demo"]).spawn().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("$ robocred ingest")), "it ended early");
    interrupt(&demo);
    assert!(!demo.wait().unwrap().success());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn the_simulator_runs_until_it_is_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let mut simulator = tool(folder.path(), &["--json", "simulator", "--listen", "127.0.0.1:0"]).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(simulator.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let document: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(document["schema"], 1);
    interrupt(&simulator);
    assert!(simulator.wait().unwrap().success());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn the_help_names_every_behaviour() {
    let folder = tempfile::tempdir().unwrap();
    let output = tool(folder.path(), &["simulator", "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    for (name, _) in robocred::simulator::Behaviours::all_named() {
        assert!(help.split([' ', ',', '\n']).any(|word| word == name), "{name} is not named");
    }
}
