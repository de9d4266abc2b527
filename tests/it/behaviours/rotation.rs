//! What `rotate --force` and `retire` make of every behaviour that an
//! appliance may have, once a robot works there.

use robocred::{
    credential::{Record, State},
    lifecycle::PATIENCE,
    simulator::{Activation, Behaviours, DuplicateName, Listing, Registration, Removal},
};
use std::time::{Duration, Instant};

use super::{SLACK, each, hint};
use crate::invariants::{Do, EXPORT, Watched};

/// What a rotation ends with where generation 1 stays in use.
struct Failed {
    code: i32,
    posts: usize,
    /// Where generation 2 stands.
    state: State,
    hint: &'static str,
}

const fn failed(code: i32, posts: usize, state: State, hint: &'static str) -> Failed {
    Failed { code, posts, state, hint }
}

/// Every named behaviour under which generation 2 does not take the place of generation 1.
const FAILS: [(&str, Failed); 22] = [
    // Not done: certainly nothing happened, and whoever runs the tool hears why.
    ("bad-request-400", failed(4, 1, State::Keyed, "--key-type")),
    ("unprocessable-422", failed(4, 1, State::Keyed, "--key-type")),
    ("rsa-only", failed(4, 1, State::Keyed, "--key-type")),
    ("unauthorized-401", failed(4, 1, State::Keyed, "new token")),
    ("forbidden-403", failed(4, 1, State::Keyed, "new token")),
    ("quota", failed(4, 1, State::Keyed, "new token")),
    ("not-found-404", failed(4, 1, State::Keyed, "check the address")),
    ("method-not-allowed-405", failed(4, 1, State::Keyed, "check the address")),
    ("gone-410", failed(4, 1, State::Keyed, "check the address")),
    ("redirect-302", failed(4, 1, State::Keyed, "one that redirects")),
    ("redirect-307", failed(4, 1, State::Keyed, "one that redirects")),
    ("too-many-429", failed(5, 1, State::Keyed, "again later")),
    ("too-many-429-once", failed(5, 1, State::Keyed, "again later")),
    // Unknown: the same was sent three times.
    ("error-500", failed(5, 3, State::Sending, "nothing is lost")),
    ("bad-gateway-502", failed(5, 3, State::Sending, "nothing is lost")),
    ("html-200", failed(5, 3, State::Sending, "nothing is lost")),
    ("done-then-restored", failed(5, 3, State::Sending, "nothing is lost")),
    // It cannot be proven, or it is not the server it was.
    ("accepts-any-certificate", failed(8, 0, State::Keyed, "who changed")),
    ("accepts-everyone", failed(8, 0, State::Keyed, "who changed")),
    ("echoes-other-certificate", failed(12, 1, State::RetireManual, "list of robots")),
    ("done-then-server-key-changed", failed(6, 1, State::Sending, "pin")),
    // By its clock the certificate has ended before it is registered.
    ("clock-two-years-ahead", failed(12, 0, State::Keyed, "clocks")),
];

/// Sent twice before the appliance took it.
const AGAIN: [&str; 4] = ["error-500-once", "bad-gateway-502-once", "reboot-once", "done-then-restored-once"];

fn in_use(watched: &Watched) -> Record {
    watched.in_use().expect("something is in use")
}

fn fingerprint(record: &Record) -> robocred::x509::Fingerprint {
    record.certificate.as_ref().expect("it has a certificate").fingerprint()
}

/// A robot on the usual appliance.
fn provisioned() -> Watched {
    let mut watched = Watched::of(&Behaviours::default());
    watched.run(Do::Provision, None).expect(0);
    watched
}

#[test]
fn every_behaviour_rotates_or_leaves_the_old_one_in_use() {
    let all = Behaviours::all_named();
    let known = |name: &str| all.iter().any(|(known, _)| *known == name);
    assert!(FAILS.iter().map(|(name, _)| name).chain(&AGAIN).all(|name| known(name)));
    each(&all, |name, behaviours| {
        let mut watched = provisioned();
        let old = in_use(&watched);
        let (posts, tokens) = (watched.world.posts(), watched.world.simulator.tokens_seen());
        watched.appliance_becomes(behaviours);
        let began = Instant::now();
        let ran = watched.run(Do::RotateNow, None);
        assert!(began.elapsed() < PATIENCE + SLACK, "{name}: {:?}", began.elapsed());
        let posts = watched.world.posts() - posts;
        // The list before the name is sent for the first time, and the POSTs.
        assert_eq!(watched.world.simulator.tokens_seen(), tokens + 1 + posts, "{name}");
        assert!(watched.has_robot(&old), "{name}: the old one is gone");
        let expected = FAILS.iter().find(|(fails, _)| *fails == name).map(|(_, expected)| expected);
        assert_eq!(ran.code(), Some(expected.map_or(0, |expected| expected.code)), "{name}: {ran:#?}");
        if let Some(expected) = expected {
            assert_eq!(posts, expected.posts, "{name}");
            assert!(hint(&ran).contains(expected.hint), "{name}: {ran:#?}");
            the_old_one_is_in_use(name, &mut watched, &old, expected.state);
        } else {
            assert_eq!(posts, 1 + usize::from(AGAIN.contains(&name)), "{name}");
            the_new_one_is_in_use(name, &mut watched, &old);
        }
    });
}

fn the_old_one_is_in_use(name: &str, watched: &mut Watched, old: &Record, state: State) {
    assert_eq!(in_use(watched).id, old.id, "{name}");
    assert_eq!(watched.exported(), Some(fingerprint(old)), "{name}: exported");
    assert!(!watched.world.path(EXPORT).join(".g2").exists(), "{name}: exported before it was proven");
    let records = watched.records();
    assert_eq!((records.len(), records[1].state), (2, state), "{name}: {records:#?}");
    let status = watched.world.status();
    assert_eq!((&status["state"], &status["generation"]), (&"active".into(), &1.into()), "{name}: {status:#}");
    let words = watched.world.run(&["status"]).expect(0).stdout;
    let told = match state {
        State::RetireManual => "for a person to remove: reader-g2 (generation 2): the appliance says".to_owned(),
        _ => format!("generation 2 (reader-g2) is on its way ({state}): "),
    };
    assert!(words.contains(&told), "{name}: {told:?} is not told in {words}");
    watched.is_repaired();
    watched.run(Do::Verify, None).expect(0);
}

fn the_new_one_is_in_use(name: &str, watched: &mut Watched, old: &Record) {
    let new = in_use(watched);
    assert_eq!(new.id.generation.number(), 2, "{name}");
    let previous = watched.records().into_iter().find(|record| record.id == old.id).unwrap();
    assert_eq!(previous.state, State::Previous, "{name}");
    let status = watched.world.status();
    assert_eq!(status["previous"][0]["fingerprint_sha256"], fingerprint(old).to_string(), "{name}: {status:#}");
    let words = watched.world.run(&["status"]).expect(0).stdout;
    let told = "generation 1 (reader) is still accepted; kept until the delivery of generation 2 is confirmed";
    assert!(words.contains(told), "{name}: {words}");
    watched.check_done(Do::Rotate);
}

#[test]
fn a_name_that_is_given_up_does_not_end_as_if_nothing_was_wanted() {
    let mut watched = provisioned();
    let old = in_use(&watched);
    watched.appliance_becomes(&Behaviours {
        registration: Registration::DoneThen500,
        activation: Activation::After(Duration::from_hours(1)),
        ..Behaviours::default()
    });
    let began = Instant::now();
    watched.run(Do::RotateNow, None).expect(5);
    assert!(began.elapsed() < PATIENCE + SLACK, "{:?}", began.elapsed());
    assert_eq!(in_use(&watched).id, old.id);
    let status = watched.world.status();
    assert!((1..=2).contains(&status["leftovers"].as_array().unwrap().len()), "{status:#}");
    assert_eq!(watched.exported(), Some(fingerprint(&old)));
}

/// How the retirement of generation 1 ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Retired {
    /// Gone from the appliance.
    Gone,
    /// Its name is left to a person; exit code 12.
    Left,
    /// Nothing was changed; this exit code.
    Untouched(i32),
}

/// Every named behaviour under which it is not gone from the appliance afterwards.
const STAYS: [(&str, Retired); 7] = [
    ("delete-405", Retired::Left),
    ("delete-404", Retired::Left),
    ("delete-html", Retired::Left),
    // The successor is gone instead.
    ("delete-hits-newest", Retired::Untouched(12)),
    // The successor cannot be proven.
    ("accepts-any-certificate", Retired::Untouched(8)),
    ("accepts-everyone", Retired::Untouched(8)),
    ("clock-two-years-ahead", Retired::Untouched(12)),
];

#[test]
fn every_behaviour_retires_or_names_what_is_left() {
    let all = Behaviours::all_named();
    assert!(STAYS.iter().all(|(name, _)| all.iter().any(|(known, _)| known == name)));
    each(&all, |name, behaviours| {
        let (mut watched, old) = rotated(&Behaviours::default());
        watched.appliance_becomes(behaviours);
        let expected = STAYS.iter().find(|(stays, _)| *stays == name).map_or(Retired::Gone, |(_, expected)| *expected);
        retires(name, &mut watched, &old, expected);
    });
}

/// Generation 2 in use and confirmed, generation 1 previous.
fn rotated(behaviours: &Behaviours) -> (Watched, Record) {
    let mut watched = Watched::of(behaviours);
    watched.run(Do::Provision, None).expect(0);
    let old = in_use(&watched);
    watched.run(Do::RotateNow, None).expect(0);
    watched.run(Do::Confirm, None).expect(0);
    (watched, old)
}

fn retires(name: &str, watched: &mut Watched, old: &Record, expected: Retired) {
    let new = in_use(watched);
    let code = match expected {
        Retired::Gone => 0,
        Retired::Left => 12,
        Retired::Untouched(code) => code,
    };
    let ran = watched.run(Do::Retire, None);
    assert_eq!(ran.code(), Some(code), "{name}: {ran:#?} {:#}", watched.world.status()["leftovers"]);
    let state = watched.records().into_iter().find(|record| record.id == old.id).unwrap().state;
    let files = watched.world.path(EXPORT).join(".g1").exists();
    match expected {
        Retired::Gone => {
            assert_eq!((state, watched.has_robot(old), files), (State::Retired, false, false), "{name}");
        }
        Retired::Left => {
            assert_eq!((state, watched.has_robot(old), files), (State::RetireManual, true, false), "{name}");
            assert!(hint(&ran).contains("remove reader on the appliance"), "{name}: {ran:#?}");
            assert_eq!(watched.world.status()["leftovers"][0]["registered_name"], "reader", "{name}");
        }
        Retired::Untouched(_) => {
            assert_eq!((state, watched.has_robot(old), files), (State::Previous, true, true), "{name}");
            return;
        }
    }
    assert!(watched.has_robot(&new), "{name}: the new one is gone");
    watched.check_done(Do::Rotate);
    watched.run(Do::Verify, None).expect(0);
}

#[test]
fn where_a_known_name_replaces_the_old_pair_stays_accepted_and_removal_leaves_the_new_one() {
    for listing in [Listing::Supported, Listing::WithoutCertificates, Listing::NotFound404] {
        let behaviours = Behaviours { duplicate_name: DuplicateName::Replace, listing, ..Behaviours::default() };
        let (mut watched, old) = rotated(&behaviours);
        assert!(watched.has_robot(&old), "{listing:?}: the old one was replaced");
        retires("replaces", &mut watched, &old, Retired::Gone);
    }
}

#[test]
fn an_appliance_that_removes_the_new_one_is_told_of_and_the_old_one_returned_to() {
    for listing in [Listing::Supported, Listing::NotFound404] {
        let behaviours = Behaviours { removal: Removal::HitsNewest, listing, ..Behaviours::default() };
        let (mut watched, old) = rotated(&behaviours);
        let new = in_use(&watched);
        retires("hits the newest", &mut watched, &old, Retired::Untouched(12));
        assert!(!watched.has_robot(&new));
        let status = watched.world.status();
        let codes: Vec<_> = status["attention"].as_array().unwrap().iter().map(|raised| &raised["code"]).collect();
        assert_eq!(codes, ["frozen"], "{status:#}");
        // Again, and by schedule: still nothing is destroyed, and nothing is sent.
        let requests = watched.world.simulator.requests().len();
        watched.run(Do::Retire, None).expect(12);
        watched.run(Do::Rotate, None).expect(12);
        let sent = watched.world.simulator.requests().split_off(requests);
        assert!(sent.iter().all(|request| !request.path.starts_with("/v1/robots")), "{sent:#?}");
        watched.run(Do::RollBack, None).expect(0);
        assert_eq!(in_use(&watched).id, old.id);
        assert_eq!(watched.exported(), Some(fingerprint(&old)));
        assert_eq!(watched.world.status()["attention"][0]["code"], "deliver-by-hand");
        watched.run(Do::Verify, None).expect(0);
    }
}

#[test]
fn without_an_id_and_a_list_the_old_name_is_left_to_a_person() {
    let behaviours =
        Behaviours { registration: Registration::CreatedEmpty, listing: Listing::NotFound404, ..Behaviours::default() };
    let (mut watched, old) = rotated(&behaviours);
    retires("no id", &mut watched, &old, Retired::Left);
}
