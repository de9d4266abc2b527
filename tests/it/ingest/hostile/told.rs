//! What a person is told: the exit code, what was being read, what came, and what to do next.

use crate::world::{TOKEN, World, run};

use super::*;

fn html() -> FaultKind {
    FaultKind::Answer { status: 200, content_type: "text/html", body: b"<!doctype html><title>log in</title>".to_vec() }
}

fn answer(status: u16, body: &str) -> FaultKind {
    FaultKind::Answer { status, content_type: "application/json", body: body.as_bytes().to_vec() }
}

fn raw(lines: &str) -> FaultKind {
    FaultKind::Raw(format!("HTTP/1.1 {lines}\r\nContent-Length: 0\r\n\r\n").into_bytes())
}

#[test]
fn each_failure_has_its_code_and_says_what_to_do() {
    let world = World::with(|options| options.devices = 600);
    let arguments = world.provision_arguments();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run(world.command(&arguments), TOKEN.as_bytes()).expect(0);
    let dir = world.state().join("ingest/plant/reader");

    // The reply, the exit code, the class in words, and the next step.
    let cases: [(FaultKind, i32, &str, &str); 9] = [
        (html(), 4, "HTML", "robocred verify"),
        (raw("302 Found\r\nLocation: https://127.0.0.1:1/"), 4, "redirect", "robocred verify"),
        (answer(401, "{}"), 4, "401", "robocred verify"),
        (raw("429 X\r\nRetry-After: 315360000"), 5, "busy", "try again later"),
        (FaultKind::Garbage, 5, "not acceptable HTTP", "answers in its place"),
        (FaultKind::Endless, 5, "larger than 67108864 bytes", "--page-size"),
        (answer(200, "[1]"), 1, "another shape", "--api"),
        (answer(200, r#"{"errors":[{"message":"\u001b[2Jno"}]}"#), 1, "errors", "log"),
        (answer(410, "{}"), 1, "does not offer", "log"),
    ];
    for (kind, code, class, next) in cases {
        let what = format!("{class}, wanted {code}");
        world.simulator.inject(Fault { path: Some("/graphql".to_owned()), nth: 50, kind });
        let arguments = ["ingest", "plant/reader", "--api", "graphql", "--page-size", "10"];
        let ran = world.run(&arguments);
        world.simulator.clear_faults();
        assert_eq!(ran.code(), Some(code), "{what}: {ran:#?}");
        let told = &ran.stderr;
        for part in ["plant/reader", "GraphQL gave no page 50 (after 490 records)", class, next] {
            assert!(told.contains(part), "{what}: {part:?} is not in {told}");
        }
        assert!(told.chars().all(|c| c == '\n' || !c.is_control()), "{what}: {told:?}");
        assert!(!told.contains(TOKEN), "{what}");
        assert_eq!(names(&dir), [""; 0], "{what}");
    }
}
