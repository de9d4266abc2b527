//! Twice, at the same time, otherwise, or cut in the middle.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use robocred::{
    clock::{Clock as _, SystemClock},
    inventory::Inventory,
    simulator::{Fault, FaultKind},
};

use super::{everything, refused, refuses, words};
use crate::world::{TOKEN, World, run};

#[test]
fn flags_that_contradict_what_exists() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let other = format!("sha256//{}=", "A".repeat(43));
    let check = |more: &[&str], said: &[&str]| {
        let arguments = [["provision", "plant/reader", "--token-stdin"].as_slice(), more].concat();
        refuses(&world, || world.command(&arguments), TOKEN.as_bytes(), 3, said);
    };
    let url = world.simulator.url();
    let pin = world.simulator.pin().to_string();
    check(&["--url", "https://10.20.0.5"], &["https://10.20.0.5", &url]);
    check(&["--role", "admin"], &["admin", "reader"]);
    check(&["--pin", &other], &[&other, &pin]);
    check(&["--ca-file", "ca.pem"], &["ca.pem", &pin]);
    check(&["--key-type", "rsa-2048"], &["rsa-2048", "ecdsa-p256", "rotate plant/reader --force"]);
    check(&["--days", "30"], &["30 days", "365 days", "rotate plant/reader --force"]);
    check(&["--registered-name", "other"], &["other", "reader"]);
    check(&["--store", "keyring"], &["keyring", "sealed"]);

    // What agrees is no contradiction, and then there is nothing to do.
    let before = (everything(&world).files.len(), world.simulator.connections());
    let agreeing = ["--url", &url, "--pin", &pin, "--role", "reader", "--days", "365"];
    let arguments = [["--json", "provision", "plant/reader"].as_slice(), &agreeing].concat();
    let ran = world.run(&arguments).expect(0);
    assert_eq!(ran.json()["results"][0]["action"], "unchanged");
    assert_eq!((everything(&world).files.len(), world.simulator.connections()), before);
}

/// A run of its own process, with the token on its standard input.
fn begin(world: &World, arguments: &[&str]) -> Child {
    let mut command = world.command(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(TOKEN.as_bytes()).unwrap();
    child
}

/// Waits for what another process brings about.
#[track_caller]
fn until(what: &str, happened: impl Fn() -> bool) {
    let begun = Instant::now();
    while !happened() {
        assert!(begun.elapsed() < Duration::from_mins(1), "{what} never happened");
        std::thread::yield_now();
    }
}

#[test]
fn the_same_command_in_two_terminals() {
    let world = World::new();
    // The first one waits for an answer to its list of robots while the second begins.
    world.simulator.inject(Fault::next("/v1/robots", FaultKind::Hang));
    let arguments = world.provision_arguments();
    let mut first = begin(&world, &words(&arguments));
    until("the first request", || !world.simulator.requests().is_empty());

    let told = refused(&world.provision(&[]), 10);
    assert!(told.contains(&first.id().to_string()), "{told}");
    let told = refused(&world.run(&["-n", "provision", "plant/other"]), 10);
    assert!(told.contains(&first.id().to_string()), "another robot of the same site: {told}");

    first.kill().unwrap();
    first.wait().unwrap();
    world.provision(&[]).expect(0);
    assert_eq!(world.simulator.robots().len(), 1);
}

#[test]
fn who_holds_a_site_is_told_with_its_age_and_waited_for() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let runtime = &world.runtime;
    let inventory = runtime.block_on(Inventory::open(&world.state(), "tester", SystemClock.now())).unwrap();
    let since = SystemClock.now() - time::Duration::minutes(3);
    let held = runtime.block_on(inventory.lock_site(&"plant".parse().unwrap(), None, since)).unwrap();
    let holder = format!("process {} for 3 min (since ", std::process::id());

    let export = ["export", "plant/reader", "--dir", "out"];
    refuses(&world, || world.command(&export), b"", 10, &[&holder]);
    let patient = [&export[..], &["--lock-wait", "1s"]].concat();
    let ran = world.run(&patient);
    assert!(refused(&ran, 10).contains(&holder), "{ran:#?}");
    assert_eq!(ran.stderr.matches("waiting").count(), 1, "{ran:#?}");
    assert!(!world.path("out").exists());

    // Another site goes on meanwhile.
    let (url, pin) = (world.simulator.url(), world.simulator.pin().to_string());
    let other = ["provision", "mill/other", "--key-type", "ecdsa-p256", "--token-stdin", "--url", &url, "--pin", &pin];
    run(world.command(&other), TOKEN.as_bytes()).expect(0);

    let mut waiting = begin(&world, &[&export[..], &["--lock-wait", "5m"]].concat());
    let mut said = BufReader::new(waiting.stderr.take().unwrap());
    let mut note = String::new();
    said.read_line(&mut note).unwrap();
    assert!(note.contains(&holder) && note.contains("waiting"), "{note}");
    assert_eq!(waiting.try_wait().unwrap(), None);
    drop(held);
    said.read_to_string(&mut note).unwrap();
    assert!(waiting.wait().unwrap().success(), "{note}");
    assert!(world.path("out/key.pem").exists());
}

#[test]
fn four_first_runs_at_once_share_one_configuration_and_one_sealing_key() {
    let world = World::new();
    let (url, pin) = (world.simulator.url(), world.simulator.pin().to_string());
    let robots = ["p1/a", "p2/b", "p3/c", "p4/d"];
    let runs = robots.map(|robot| {
        let fixed = ["--json", "provision", robot, "--key-type", "ecdsa-p256", "--token-stdin"];
        begin(&world, &[fixed.as_slice(), &["--url", &url, "--pin", &pin]].concat())
    });
    for run in runs {
        let output = run.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:#?}");
    }
    assert_eq!(world.simulator.robots().len(), 4);
    let verified = world.run(&["--json", "verify"]).expect(0).json();
    let names: Vec<_> = verified["robots"].as_array().unwrap().iter().map(|robot| &robot["robot"]).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    for robot in robots {
        assert!(names.iter().any(|name| *name == robot), "{robot} is not among {names:?}");
    }
}

#[test]
fn killed_while_the_answer_was_on_its_way() {
    let world = World::new();
    // The second request on this path is the registration: it takes effect and is never answered.
    world.simulator.inject(Fault { path: Some("/v1/robots".to_owned()), nth: 2, kind: FaultKind::Hang });
    let arguments = world.provision_arguments();
    let mut child = begin(&world, &words(&arguments));
    until("the registration", || !world.simulator.robots().is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_ne!(world.status()["state"], "active");

    let ran = world.provision(&[]).expect(0);
    let result = &ran.json()["results"][0];
    assert_eq!((&result["action"], &result["generation"]), (&"provisioned".into(), &1.into()));
    let robots = world.simulator.robots();
    assert_eq!(robots.len(), 1, "{robots:#?}");
    assert_eq!(result["fingerprint_sha256"], robots[0].fingerprint.to_string(), "another key was made");
}
