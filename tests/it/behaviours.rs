//! What `provision` makes of every behaviour that an appliance may have: its
//! exit code, what stands afterwards, how often the token was sent, the advice.

mod rotation;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use robocred::{
    lifecycle::PATIENCE,
    simulator::{Activation, Behaviours, DuplicateName, Fault, FaultKind, Listing, Registration},
};
use serde_json::Value;

use crate::{
    invariants::{Do, Watched},
    world::{Ran, TOKEN, World, run},
};

/// What a run ends with.
struct Expected {
    code: i32,
    state: &'static str,
    posts: usize,
    hint: &'static str,
}

/// Every named behaviour that is not met with a proven robot after one POST.
const UNUSUAL: [(&str, Expected); 26] = [
    // Not done: certainly nothing happened, and whoever runs the tool hears why.
    ("bad-request-400", expected(4, "pending", 1, "--key-type")),
    ("unprocessable-422", expected(4, "pending", 1, "--key-type")),
    ("rsa-only", expected(4, "pending", 1, "--key-type")),
    ("unauthorized-401", expected(4, "needs-person", 1, "new token")),
    ("forbidden-403", expected(4, "needs-person", 1, "new token")),
    ("quota", expected(4, "needs-person", 1, "new token")),
    ("not-found-404", expected(4, "pending", 1, "check the address")),
    ("method-not-allowed-405", expected(4, "pending", 1, "check the address")),
    ("gone-410", expected(4, "pending", 1, "check the address")),
    ("redirect-302", expected(4, "pending", 1, "one that redirects")),
    ("redirect-307", expected(4, "pending", 1, "one that redirects")),
    ("too-many-429", expected(5, "pending", 1, "again later")),
    ("too-many-429-once", expected(5, "pending", 1, "again later")),
    // Unknown: the same is sent again, at most three times.
    ("error-500-once", expected(0, "active", 2, "")),
    ("bad-gateway-502-once", expected(0, "active", 2, "")),
    ("reboot-once", expected(0, "active", 2, "")),
    ("done-then-restored-once", expected(0, "active", 2, "")),
    ("error-500", expected(5, "pending", 3, "nothing is lost")),
    ("bad-gateway-502", expected(5, "pending", 3, "nothing is lost")),
    ("html-200", expected(5, "pending", 3, "nothing is lost")),
    ("done-then-restored", expected(5, "pending", 3, "nothing is lost")),
    // It cannot be proven, or it is not the server it was.
    ("accepts-any-certificate", expected(8, "needs-person", 0, "who changed")),
    ("accepts-everyone", expected(8, "needs-person", 0, "who changed")),
    ("echoes-other-certificate", expected(12, "needs-person", 1, "list of robots")),
    ("done-then-server-key-changed", expected(6, "pending", 1, "pin")),
    // By its clock the certificate has ended before it is registered.
    ("clock-two-years-ahead", expected(12, "pending", 0, "clocks")),
];

/// As the usual appliance, and whatever else is only known to differ elsewhere.
const USUAL: Expected = expected(0, "active", 1, "");

const fn expected(code: i32, state: &'static str, posts: usize, hint: &'static str) -> Expected {
    Expected { code, state, posts, hint }
}

#[test]
fn every_behaviour_ends_as_its_class_does() {
    let all = Behaviours::all_named();
    assert!(UNUSUAL.iter().all(|(name, _)| all.iter().any(|(known, _)| known == name)));
    each(&all, |name, behaviours| {
        let unusual = UNUSUAL.iter().find(|(unusual, _)| *unusual == name);
        check(name, behaviours, unusual.map_or(&USUAL, |(_, expected)| expected));
    });
}

/// Checks each behaviour, several at a time since most of it is waiting; names those that failed.
fn each(all: &[(&'static str, Behaviours)], check: impl Fn(&'static str, &Behaviours) + Sync) {
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let Some((name, behaviours)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if catch_unwind(AssertUnwindSafe(|| check(name, behaviours))).is_err() {
                        wrong.lock().unwrap().push(*name);
                    }
                }
            });
        }
    });
    assert_eq!(wrong.into_inner().unwrap(), Vec::<&str>::new());
}

fn check(name: &str, behaviours: &Behaviours, expected: &Expected) {
    let began = Instant::now();
    let mut watched = Watched::of(behaviours);
    let ran = watched.run(Do::Provision, None);
    assert_eq!(ran.code(), Some(expected.code), "{name}: {ran:#?}");
    let world = &watched.world;
    assert!(began.elapsed() < PATIENCE + SLACK, "{name}: {:?}", began.elapsed());
    assert_eq!(world.status()["state"], expected.state, "{name}");
    assert_eq!(world.posts(), expected.posts, "{name}");
    // The list before the name is sent for the first time, and the POSTs.
    assert_eq!(world.simulator.tokens_seen(), 1 + expected.posts, "{name}");
    assert!(hint(&ran).contains(expected.hint), "{name}: {ran:#?}");
    if expected.code == 0 {
        watched.check_done(Do::Provision);
    } else {
        assert!(!world.path("out").exists(), "{name}: exported");
    }
}

/// A process, a list and a control before the procedure begins, on a machine that is busy.
const SLACK: Duration = Duration::from_secs(5);

fn hint(ran: &Ran) -> String {
    let error = &ran.json()["results"][0]["error"];
    error["hint"].as_str().unwrap_or_default().to_owned()
}

/// A world where somebody else already uses the name `reader`.
fn taken(behaviours: Behaviours) -> World {
    let world = World::new();
    let mut arguments = world.provision_arguments();
    let robot = arguments.iter().position(|argument| argument == "plant/reader").unwrap();
    "plant/somebody".clone_into(&mut arguments[robot]);
    arguments.extend(["--registered-name".to_owned(), "reader".to_owned()]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run(world.command(&arguments), TOKEN.as_bytes()).expect(0);
    // Somebody who is not us: nothing of it is known here.
    std::fs::remove_dir_all(world.state()).unwrap();
    std::fs::remove_file(world.config()).unwrap();
    world.simulator.set_behaviours(behaviours);
    world
}

fn robot<'a>(status: &'a Value, name: &str) -> &'a Value {
    status["robots"].as_array().unwrap().iter().find(|robot| robot["robot"] == name).unwrap()
}

#[test]
fn a_name_somebody_else_uses_is_seen_in_the_list_and_nothing_is_sent() {
    let world = taken(Behaviours::default());
    let (posts, tokens) = (world.posts(), world.simulator.tokens_seen());
    let ran = world.provision(&[]).expect(4);
    assert!(hint(&ran).contains("--registered-name"), "{ran:#?}");
    assert_eq!((world.posts(), world.simulator.tokens_seen()), (posts, tokens + 1));
    assert_eq!(world.simulator.robots().len(), 1);
}

#[test]
fn a_name_somebody_else_uses_is_refused_by_the_appliance_that_cannot_list() {
    let world = taken(Behaviours { listing: Listing::NotFound404, ..Behaviours::default() });
    let (posts, tokens) = (world.posts(), world.simulator.tokens_seen());
    let ran = world.provision(&[]).expect(4);
    assert!(hint(&ran).contains("--registered-name"), "{ran:#?}");
    assert_eq!((world.posts(), world.simulator.tokens_seen()), (posts + 1, tokens + 2));
    let status = world.run(&["--json", "status"]).expect(0).json();
    assert_eq!(robot(&status, "plant/reader")["state"], "pending");
    assert_eq!(robot(&status, "plant/reader")["leftovers"], serde_json::json!([]));
}

#[test]
fn where_a_known_name_replaces_ours_is_the_one_that_stays() {
    let behaviours =
        Behaviours { listing: Listing::NotFound404, duplicate_name: DuplicateName::Replace, ..Behaviours::default() };
    let world = taken(behaviours);
    let ran = world.provision(&[]).expect(0);
    let robots = world.simulator.robots();
    assert_eq!(robots.len(), 1);
    assert_eq!(ran.json()["results"][0]["fingerprint_sha256"], robots[0].fingerprint.to_string());
}

#[test]
fn a_wrong_token_is_sent_once() {
    let world = World::new();
    let ran = world.provision_with(&[], "another-token", |_| {}).expect(4);
    assert!(hint(&ran).contains("new token"), "{ran:#?}");
    assert_eq!((world.posts(), world.simulator.tokens_seen()), (0, 1));
    assert!(world.simulator.robots().is_empty());
    world.provision(&[]).expect(0);
}

#[test]
fn a_server_key_that_changes_midway_stops_until_a_person_pins_the_new_one() {
    let registration = Registration::DoneThenServerKeyChanged;
    let mut world = World::of(&Behaviours { registration, ..Behaviours::default() });
    world.provision(&[]).expect(6);
    let requests = world.simulator.requests().len();
    world.provision(&[]).expect(6);
    assert_eq!(world.simulator.requests().len(), requests, "a request to a server that is not trusted");
    world.pin_anew();
    world.provision(&[]).expect(0);
    assert_eq!(world.posts(), 1, "what was registered is not registered again");
}

#[test]
fn a_redirect_is_never_followed() {
    for registration in [Registration::Redirect302, Registration::Redirect307] {
        let world = World::of(&Behaviours { registration, ..Behaviours::default() });
        let connections = |world: &World| world.simulator.connections();
        world.provision(&[]).expect(4);
        // The list, the control and the POST; the redirect's own host is not resolved either.
        assert_eq!(connections(&world), 3);
        assert!(world.simulator.requests().iter().all(|request| request.path != "/login"));
    }
}

#[test]
fn a_registration_that_always_hangs_ends_within_the_patience() {
    let behaviours = Behaviours {
        registration: Registration::DoneThenHang,
        duplicate_name: DuplicateName::SecondRobot,
        activation: Activation::After(Duration::from_hours(1)),
        ..Behaviours::default()
    };
    let began = Instant::now();
    let world = World::of(&behaviours);
    world.provision(&[]).expect(5);
    assert!(began.elapsed() < PATIENCE + SLACK, "{:?}", began.elapsed());
    assert_eq!(world.posts(), 2, "a third might have ended after the patience");
    assert_eq!(world.status()["state"], "pending");
}

#[test]
fn an_appliance_that_falls_silent_is_left_within_the_patience_and_resumed() {
    let world = World::of(&Behaviours { registration: Registration::DoneThenReset, ..Behaviours::default() });
    // The first is the control, before the registration; the second the first probe.
    world.simulator.inject(Fault { path: Some("/graphql".to_owned()), nth: 2, kind: FaultKind::Hang });
    let began = Instant::now();
    world.provision(&[]).expect(5);
    assert!(began.elapsed() < PATIENCE + SLACK, "{:?}", began.elapsed());
    assert_eq!(world.status()["state"], "pending");
    world.provision(&[]).expect(0);
    assert_eq!(world.posts(), 1, "what was registered is not registered again");
}

#[test]
fn a_name_that_is_given_up_is_followed_by_few_others_in_one_run() {
    let behaviours = Behaviours {
        registration: Registration::DoneThen500,
        activation: Activation::After(Duration::from_hours(1)),
        ..Behaviours::default()
    };
    let began = Instant::now();
    let mut watched = Watched::of(&behaviours);
    watched.run(Do::Provision, None).expect(5);
    assert!(began.elapsed() < PATIENCE + SLACK, "{:?}", began.elapsed());
    let status = watched.world.status();
    let leftovers = status["leftovers"].as_array().unwrap();
    assert!((1..=2).contains(&leftovers.len()), "{status:#}");
    assert_eq!(status["attention"][0]["code"], "retire-manual");
}
