//! The command line from outside. The cases stand in `tests/cli/`, one subject
//! a file; `TRYCMD=overwrite cargo test --test cli` writes down what is said now.
//! What cannot be said in a case file is tested here. Every run has an empty
//! environment and a home of its own.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

use std::{fs, io, path::Path, process};

use assert_cmd::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_robocred");

/// The program in an empty environment, at home in `home`.
fn robocred(home: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.env_clear().env("HOME", home).current_dir(home);
    command
}

fn home() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

// The cases show the help of all commands, among them those of the simulator.
#[cfg(feature = "simulator")]
/// The cases inherit the environment of the process that runs them, so that is
/// a second run of this very test with nothing in its environment.
#[test]
fn cases() {
    const SECOND: &str = "ROBOCRED_TEST_CASES";
    if std::env::var_os(SECOND).is_some() {
        let cases = trycmd::TestCases::new();
        cases.register_bin("robocred", Path::new(PROGRAM)).case("tests/cli/*.trycmd");
        return;
    }
    let home = home();
    let mut second = process::Command::new(std::env::current_exe().unwrap());
    second.args(["--exact", "cases", "--nocapture"]).env_clear().env("HOME", home.path()).env(SECOND, "1");
    if let Some(mode) = std::env::var_os("TRYCMD") {
        second.env("TRYCMD", mode);
    }
    assert!(second.status().unwrap().success(), "the lines above say which case differs");
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0, "a refused command left something behind");
}

#[test]
fn every_shell_has_completions() {
    let home = home();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output =
            robocred(home.path()).args(["completions", shell]).assert().success().stderr("").get_output().clone();
        let script = String::from_utf8(output.stdout).unwrap();
        for word in ["provision", "token-file", "non-interactive"] {
            assert!(script.contains(word), "{shell} does not complete {word}");
        }
        // Of the shells that there may be, the one that is everywhere says whether it can read it.
        if shell == "bash" {
            Command::new("bash").args(["-n", "-s"]).write_stdin(script).assert().success().stderr("");
        }
    }
}

#[test]
fn there_is_a_manual_page_for_every_command() {
    let home = home();
    robocred(home.path()).args(["-q", "man", "--dir", "pages"]).assert().success().stdout("").stderr("");
    let page = |name: &str| fs::read_to_string(home.path().join("pages").join(name)).unwrap();
    for name in ["robocred-provision.1", "robocred-token-set.1", "robocred-config-check.1", "robocred-man.1"] {
        assert!(page(name).contains(".SH SYNOPSIS"), "{name}");
    }
    let main = page("robocred.1");
    assert!(main.contains("\n  12  needs a person"), "the exit codes are missing");
    let check = page("robocred-check.1");
    assert!(check.contains("\n   2  critical: ") && !check.contains("needs a person"), "{check}");
    robocred(home.path()).arg("man").assert().success().stdout(main);
}

#[test]
fn colour_is_for_those_who_want_it() {
    let home = home();
    let check = |arguments: &[&str], variable: Option<(&str, &str)>, coloured: bool| {
        let mut command = robocred(home.path());
        command.args(arguments).envs(variable);
        let output = command.assert().get_output().clone();
        let told = [output.stdout, output.stderr].concat();
        assert_eq!(told.contains(&0x1b), coloured, "{arguments:?} {variable:?}");
    };
    for line in [["--help"].as_slice(), &["frob"]] {
        check(line, None, false);
        check(line, Some(("NO_COLOR", "1")), false);
        check(line, Some(("CLICOLOR_FORCE", "1")), true);
        check(&[line, &["--color", "never"]].concat(), Some(("CLICOLOR_FORCE", "1")), false);
        check(line, Some(("ROBOCRED_COLOR", "always")), true);
    }
    check(&["frob", "--color=always"], Some(("NO_COLOR", "1")), true);
    // JSON is for programs, whatever was asked for.
    let json = robocred(home.path()).args(["--json", "--color=always", "frob"]).assert().code(2).get_output().clone();
    assert!(!json.stdout.contains(&0x1b));
}

#[test]
fn a_usage_error_is_one_json_document() {
    let home = home();
    let check = |arguments: &[&str], variable: Option<(&str, &str)>| {
        let output = robocred(home.path()).args(arguments).envs(variable).assert().code(2).get_output().clone();
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(document["schema"], 1, "{arguments:?}");
        assert_eq!((&document["error"]["code"], &document["error"]["exit_code"]), (&"usage".into(), &2.into()));
        assert!(document["error"]["message"].is_string() && document["error"]["hint"].is_string(), "{document}");
        assert!(output.stderr.starts_with(b"robocred: error: "), "people are told too");
    };
    check(&["--json"], None);
    check(&["frob", "--json"], None);
    check(&["--json", "provision", "a/b", "--days", "0"], None);
    check(&["provision", "a/b", "--url", "http://h", "--json"], None);
    check(&["ingest", "a/b", "-o", "-", "--json"], None);
    check(&["frob"], Some(("ROBOCRED_JSON", "1")));
}

#[test]
fn a_variable_that_is_empty_counts_as_not_set() {
    let home = home();
    for variable in ["JSON", "QUIET", "VERBOSE", "NON_INTERACTIVE", "STORE", "COLOR", "LOG_FORMAT"] {
        let name = format!("ROBOCRED_{variable}");
        robocred(home.path()).arg("man").env(&name, "").assert().success();
        // Those that take a word refuse what is none; so the variable is read at all.
        if ["STORE", "COLOR", "LOG_FORMAT", "VERBOSE"].contains(&variable) {
            robocred(home.path()).arg("man").env(&name, "vault").assert().code(2);
        }
    }
}

#[test]
fn a_reader_that_stops_reading_is_no_failure() {
    let home = home();
    for arguments in [["man"].as_slice(), &["--help"], &["completions", "zsh"]] {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let output = process::Command::new(PROGRAM)
            .args(arguments)
            .env_clear()
            .env("HOME", home.path())
            .stdout(writer)
            .stderr(process::Stdio::piped())
            .spawn()
            .and_then(process::Child::wait_with_output)
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", output.status);
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_a_failure() {
    let home = home();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = process::Command::new(PROGRAM)
        .arg("man")
        .env_clear()
        .env("HOME", home.path())
        .stdout(full)
        .stderr(process::Stdio::piped())
        .spawn()
        .and_then(process::Child::wait_with_output)
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.starts_with("robocred: error: cannot write to standard output\n  caused by: "), "{told}");
}

#[cfg(unix)]
#[test]
fn what_is_written_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = home();
    robocred(home.path()).args(["man", "--dir", "pages"]).assert().success();
    let mode = |path: &str| fs::metadata(home.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("pages"), mode("pages/robocred.1")), (0o700, 0o600));
}

#[test]
fn every_mistake_of_a_configuration_is_reported() {
    const FIVE: &str = "
        version = 1
        colour = \"blue\"
        [sites.plant-a]
        url = \"http://10.20.0.5\"
        trust = \"blindly\"
        [sites.plant-a.robots.lucidum]
        role = \"owner\"
        days = 366
    ";
    let home = home();
    fs::write(home.path().join("five.toml"), FIVE).unwrap();
    for choice in [["--config", "five.toml"].as_slice(), &[]] {
        let mut command = robocred(home.path());
        command.args(choice).args(["config", "check", "--json"]).env("ROBOCRED_CONFIG", "five.toml");
        let output = command.assert().code(3).get_output().clone();
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(document["error"]["code"], "config");
        let told = String::from_utf8(output.stderr).unwrap();
        for mistake in ["colour", "sites.plant-a.url", "sites.plant-a.trust", "lucidum.role", "lucidum.days"] {
            assert!(told.contains(mistake), "{mistake} is not reported: {told}");
            assert!(document["error"]["message"].as_str().unwrap().contains(mistake), "{mistake}: {document}");
        }
    }
}

#[test]
fn the_configuration_is_shown_and_where_it_came_from() {
    let home = home();
    let file = home.path().join(".config/robocred/robocred.toml");
    robocred(home.path())
        .args(["config", "check"])
        .assert()
        .success()
        .stdout(format!("{} does not exist: nothing is configured\n", file.display()));
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0, "looking made something");

    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "version = 1\n[sites.plant-a]\nurl = \"https://10.20.0.5\"\ntrust = \"system\"\n").unwrap();
    let output = robocred(home.path()).args(["--json", "config", "show"]).assert().success().get_output().clone();
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&document["schema"], &document["config"]), (&1.into(), &file.to_str().unwrap().into()));
    assert_eq!(document["resolved"]["sites"]["plant-a"]["url"], "https://10.20.0.5");
}

#[cfg(all(feature = "simulator", unix))]
#[test]
fn the_simulator_says_how_to_connect_and_ends_when_asked() {
    use std::{
        io::{BufRead as _, BufReader},
        net::{SocketAddr, TcpStream},
    };
    let home = home();
    let mut simulator = process::Command::new(PROGRAM)
        .args(["simulator", "--listen", "127.0.0.1:0", "--devices", "1", "--json"])
        .env_clear()
        .env("HOME", home.path())
        .stdout(process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(simulator.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let document: serde_json::Value = serde_json::from_str(&line).unwrap();
    let address: SocketAddr = document["url"].as_str().unwrap().strip_prefix("https://").unwrap().parse().unwrap();
    TcpStream::connect(address).unwrap();
    assert!(document["pin"].as_str().unwrap().starts_with("sha256//"));

    let taken = robocred(home.path()).args(["simulator", "--listen", &address.to_string()]).assert().code(1);
    let told = String::from_utf8_lossy(&taken.get_output().stderr).into_owned();
    assert!(told.contains("cannot listen at") && told.contains("robocred: hint: "), "{told}");

    let pid = rustix::process::Pid::from_child(&simulator);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(simulator.wait().unwrap().success());
    TcpStream::connect(address).unwrap_err();
}

/// A home whose configuration knows the site `plant-a`.
fn home_with_a_site() -> tempfile::TempDir {
    let home = home();
    let dir = home.path().join(".config/robocred");
    fs::create_dir_all(&dir).unwrap();
    let text = "version = 1\n[sites.plant-a]\nurl = \"https://127.0.0.1:1\"\ntrust = \"system\"\n";
    fs::write(dir.join("robocred.toml"), text).unwrap();
    home
}

/// Every file below `dir` that holds `bytes`.
fn files_holding(dir: &Path, bytes: &[u8]) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            found.extend(files_holding(&entry, bytes));
        } else if fs::read(&entry).unwrap().windows(bytes.len()).any(|window| window == bytes) {
            found.push(entry);
        }
    }
    found
}

#[test]
fn a_support_token_is_kept_and_forgotten_and_never_shown() {
    const TOKEN: &str = "s3cret-support-token";
    let home = home_with_a_site();
    let token = |arguments: &[&str]| {
        let mut command = robocred(home.path());
        command
            .args(["--json", "--store", "sealed", "-vvv", "token"])
            .args(arguments)
            .write_stdin(format!("{TOKEN}\n"));
        let output = command.assert().success().get_output().clone();
        let told = [output.stdout.clone(), output.stderr].concat();
        assert!(!String::from_utf8(told).unwrap().contains(TOKEN), "{arguments:?} shows the token");
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    assert_eq!(token(&["status", "plant-a"])["present"], false);
    assert_eq!(token(&["clear", "plant-a"])["present"], false);
    token(&["set", "plant-a", "--token-stdin", "--dry-run"]);
    assert!(!home.path().join(".local").exists(), "looking and planning made a state directory");

    let kept = token(&["set", "plant-a", "--token-stdin"]);
    assert_eq!((&kept["site"], &kept["present"]), (&"plant-a".into(), &true.into()));
    assert_eq!(token(&["status", "plant-a"])["since"], kept["since"]);
    assert_eq!(files_holding(home.path(), TOKEN.as_bytes()), Vec::<std::path::PathBuf>::new());

    assert_eq!(token(&["clear", "plant-a"])["present"], false);
    assert_eq!(token(&["status", "plant-a"])["present"], false);
}

#[cfg(unix)]
#[test]
fn a_token_that_is_refused_changes_nothing() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = home_with_a_site();
    let file = home.path().join("token");
    let check = |bytes: &[u8], mode: u32, reason: &str| {
        fs::write(&file, bytes).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        for arguments in
            [["token", "set", "plant-a"].as_slice(), &["provision", "plant-a/lucidum", "--url", "https://127.0.0.1:1"]]
        {
            let mut command = robocred(home.path());
            let output = command.args(arguments).arg("--token-file").arg(&file).assert().code(3).get_output().clone();
            let told = String::from_utf8(output.stderr).unwrap();
            assert!(told.contains(reason) && told.contains("robocred: hint: "), "{arguments:?}: {told}");
            assert!(!told.contains("s3cret"), "{told}");
            assert!(!home.path().join(".local").exists(), "{arguments:?} made a state directory");
            let config = fs::read_to_string(home.path().join(".config/robocred/robocred.toml")).unwrap();
            assert!(!config.contains("lucidum"), "{config}");
        }
        fs::remove_file(&file).unwrap();
    };
    check(b"s3cret", 0o644, "read or changed by others");
    check(b"", 0o600, "is empty");
    check(b"s3cret\ns3cret\n", 0o600, "holds a newline");
    check(&[b'x'; 9000], 0o600, "longer than 8192 bytes");
    // Without a token and a person to ask: a person is needed.
    robocred(home.path()).args(["-n", "token", "set", "plant-a"]).assert().code(12);
    robocred(home.path()).args(["-n", "token", "set", "plant-b"]).assert().code(3);
    assert!(!home.path().join(".local").exists());
}
