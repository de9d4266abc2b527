//! A person at a terminal: what is typed at the hidden prompt stays hidden, and
//! the server is the one that was confirmed.

use serde_json::{Value, json};

use crate::{
    judges,
    world::{Ran, TOKEN, World},
};

/// Runs a program on a terminal of its own and answers its questions; says what
/// the terminal showed, how the program ended, and whether typing is shown again.
const PERSON: &str = r#"
import json, os, pty, select, sys, termios, time
program, answers, environment = json.load(sys.stdin)
pid, terminal = pty.fork()
if pid == 0:
    os.execve(program[0], program, environment)
shown, seen, end = b"", 0, time.time() + 90
while time.time() < end:
    if answers and (at := shown.find(answers[0][0].encode(), seen)) >= 0:
        seen = at + len(answers[0][0])
        os.write(terminal, answers.pop(0)[1].encode() + b"\r")
    if not select.select([terminal], [], [], 0.1)[0]:
        continue
    try:
        more = os.read(terminal, 65536)
    except OSError:
        break
    if not more:
        break
    shown += more
else:
    os.kill(pid, 9)
echo = bool(termios.tcgetattr(terminal)[3] & termios.ECHO)
_, status = os.waitpid(pid, 0)
print(json.dumps({"shown": shown.decode(), "code": os.waitstatus_to_exitcode(status), "unasked": answers, "echo": echo}))
"#;

/// What happened at the terminal; `None`, said loudly, without Python.
pub fn person(world: &World, arguments: &[&str], answers: &[(&str, &str)]) -> Option<Value> {
    if !judges::need("python3", "python3") {
        return None;
    }
    let program: Vec<&str> = std::iter::once(env!("CARGO_BIN_EXE_robocred")).chain(arguments.iter().copied()).collect();
    let home = world.path("");
    let environment = json!({ "HOME": home, "ROBOCRED_STORE": "sealed", "TERM": "xterm" });
    let input = json!([program, answers, environment]).to_string();
    let mut command = std::process::Command::new("python3");
    command.args(["-c", PERSON]).current_dir(&home);
    let ran: Ran = crate::world::run(command, input.as_bytes()).expect(0);
    let happened = ran.json();
    assert_eq!(happened["unasked"], json!([]), "a question never came: {happened:#}");
    Some(happened)
}

const SERVER: &str = "Is it the right one?";
const HIDDEN: &str = "(not shown): ";

fn first_provision(world: &World, answers: &[(&str, &str)]) -> Option<Value> {
    let url = world.simulator.url();
    person(world, &["provision", "plant/reader", "--key-type", "ecdsa-p256", "--url", &url], answers)
}

#[test]
fn a_confirmed_server_gets_the_token_that_nobody_sees() {
    let world = World::new();
    let Some(happened) = first_provision(&world, &[(SERVER, "yes"), (HIDDEN, TOKEN)]) else { return };
    assert_eq!(happened["code"], 0, "{happened:#}");
    let shown = happened["shown"].as_str().unwrap();
    assert!(shown.contains(&world.simulator.pin().to_string()), "{shown}");
    assert!(!shown.contains(TOKEN), "the token was shown: {shown}");
    assert_eq!(happened["echo"], true, "typing is not shown any more");
    let config = std::fs::read_to_string(world.config()).unwrap();
    assert!(config.contains(&world.simulator.pin().to_string()), "{config}");
    assert_eq!(world.simulator.robots().len(), 1);
    world.assert_nowhere(TOKEN.as_bytes());
}

#[test]
fn a_typed_pin_confirms_the_server() {
    let world = World::new();
    let pin = world.simulator.pin().to_string();
    let Some(happened) = first_provision(&world, &[(SERVER, &pin), (HIDDEN, TOKEN)]) else { return };
    assert_eq!(happened["code"], 0, "{happened:#}");
    assert_eq!(world.simulator.robots().len(), 1);
}

#[test]
fn a_server_that_is_not_confirmed_gets_nothing() {
    let other = format!("sha256//{}=", "A".repeat(43));
    for answer in ["no", &other] {
        let world = World::new();
        let Some(happened) = first_provision(&world, &[(SERVER, answer)]) else { return };
        assert_eq!(happened["code"], 6, "{happened:#}");
        assert_eq!(world.simulator.requests(), []);
        assert!(!world.config().exists() && !world.state().exists(), "{happened:#}");
    }
}

#[test]
fn a_token_that_is_no_token_is_not_shown_either() {
    let world = World::new();
    let Some(happened) = first_provision(&world, &[(SERVER, "yes"), (HIDDEN, "canary with spaces")]) else { return };
    assert_eq!(happened["code"], 3, "{happened:#}");
    assert!(!happened["shown"].as_str().unwrap().contains("canary"), "{happened:#}");
    assert_eq!(world.simulator.requests(), []);
}

#[test]
fn a_token_for_the_store_is_not_shown() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let Some(happened) = person(&world, &["token", "set", "plant"], &[(HIDDEN, TOKEN)]) else { return };
    assert_eq!(happened["code"], 0, "{happened:#}");
    assert!(!happened["shown"].as_str().unwrap().contains(TOKEN), "{happened:#}");
    world.assert_nowhere(TOKEN.as_bytes());
}

#[test]
fn leaving_at_the_hidden_prompt_shows_typing_again() {
    let world = World::new();
    let Some(happened) = first_provision(&world, &[(SERVER, "yes"), (HIDDEN, "canary\u{3}")]) else { return };
    assert_eq!(happened["code"], 1, "{happened:#}");
    assert_eq!(happened["echo"], true, "{happened:#}");
    assert!(!happened["shown"].as_str().unwrap().contains("canary"), "{happened:#}");
    assert_eq!(world.simulator.requests(), []);
}
