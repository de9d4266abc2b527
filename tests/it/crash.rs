//! The kill matrix: `provision` is killed (SIGKILL) at a fail point, against an
//! appliance of one behaviour, and run again; the invariants are asked after
//! every run.
//!
//! ```text
//! cargo test --features failpoints --test it crash                                  # the slice of .ci/run
//! ROBOCRED_KILL_MATRIX=full cargo test --features failpoints --test it crash        # every point, every behaviour
//! ROBOCRED_KILL_CASE=register.intent@quota cargo test --features failpoints --test it crash     # one case
//! ```
//!
//! The points are read from the sources, so that a new one is in the matrix
//! from its first day. A point that a case does not reach is counted, and the
//! run that was to be killed then counts as an undisturbed one.

use std::{
    collections::BTreeSet,
    env, fs,
    os::unix::process::ExitStatusExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use robocred::simulator::{Activation, Behaviours, Registration};

use crate::{invariants::Watched, world::World};

/// Right after something became durable, here or on the appliance.
const AFTER_COMMIT: [&str; 8] = [
    "register.answered",
    "make.recorded",
    "register.intent",
    "plan.after-commit",
    "probe.recorded",
    "prove.after-commit",
    "deliver.recorded",
    "register.not-done",
];

/// Each run against these takes from 15 s to 40 s.
const SLOW: [&str; 6] = ["done-then-hang", "done-then-restored", "error-500", "bad-gateway-502", "html-200", GIVEN_UP];

/// Registers, says 500, and accepts the certificate when nobody waits any
/// more: after a repeat is answered "name taken", the generation is given up.
const GIVEN_UP: &str = "done-then-500-never-active";

/// Cases at a time, in the slice and in the whole matrix: most of a case is waiting.
const THREADS: [usize; 2] = [6, 40];

#[derive(Clone)]
struct Case {
    point: String,
    name: &'static str,
    behaviours: Behaviours,
}

/// How a case ended that broke nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// A proven credential, files, and nothing to do.
    Done,
    /// The tries are used up: nothing happens before the attempt has rested.
    Resting,
}

fn points() -> BTreeSet<String> {
    fn below(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                below(&path, found);
                continue;
            }
            let source = fs::read_to_string(&path).unwrap();
            let named = source.split("fail_point!(\"").skip(1).filter_map(|rest| rest.split('"').next());
            found.extend(named.map(str::to_owned));
        }
    }
    let mut found = BTreeSet::new();
    below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found
}

fn behaviours() -> Vec<(&'static str, Behaviours)> {
    let given_up = Behaviours {
        registration: Registration::DoneThen500,
        activation: Activation::After(Duration::from_hours(1)),
        ..Behaviours::default()
    };
    let mut all = Behaviours::all_named();
    all.push((GIVEN_UP, given_up));
    all
}

/// Every point on the usual appliance, and each behaviour at points after a commit.
fn slice(points: &BTreeSet<String>) -> Vec<Case> {
    let case = |point: &str, (name, behaviours): &(&'static str, Behaviours)| Case {
        point: point.to_owned(),
        name,
        behaviours: behaviours.clone(),
    };
    let all = behaviours();
    let mut cases: Vec<Case> = points.iter().map(|point| case(point, &all[0])).collect();
    for (place, behaviour) in all.iter().enumerate().skip(1) {
        if behaviour.0 == GIVEN_UP {
            cases.push(case("give-up.between", behaviour));
        } else {
            cases.push(case("register.answered", behaviour));
        }
        if !SLOW.contains(&behaviour.0) {
            cases.push(case(AFTER_COMMIT[1 + place % (AFTER_COMMIT.len() - 1)], behaviour));
        }
    }
    cases
}

fn full(points: &BTreeSet<String>) -> Vec<Case> {
    let behaviours = behaviours();
    let of = |point: &String| {
        let point = point.clone();
        behaviours.iter().map(move |(name, behaviours)| Case {
            point: point.clone(),
            name,
            behaviours: behaviours.clone(),
        })
    };
    points.iter().flat_map(of).collect()
}

/// Plays one case; panics where an invariant is broken. Whether the point was
/// reached, and how it ended.
fn play(case: &Case) -> (bool, Ended) {
    let mut watched = Watched::new(World::of(&case.behaviours));
    let mut last = watched.provision(Some(&case.point));
    let reached = last.status.signal() == Some(9);
    assert_eq!(reached, last.code().is_none(), "ended by something else: {last:#?}");
    if reached {
        last = watched.provision(None);
    }
    if last.code() != Some(0) {
        assert!(watched.world.config().exists(), "it failed before it wrote anything down: {last:#?}");
        // The appliance is repaired, and whoever runs the tool trusts its present key.
        watched.world.simulator.set_behaviours(Behaviours::default());
        watched.world.pin_anew();
        last = watched.provision(None);
    }
    if last.code() != Some(0) {
        last = watched.provision(None);
    }
    match last.code() {
        Some(0) => {
            watched.check_done();
            (reached, Ended::Done)
        }
        Some(5) if last.stdout.contains("is not known") => (reached, Ended::Resting),
        _ => panic!("it does not recover: {last:#?}"),
    }
}

#[test]
fn killed_anywhere_the_same_command_carries_on() {
    let points = points();
    assert!(AFTER_COMMIT.iter().all(|point| points.contains(*point)), "{points:?}");
    let full_matrix = env::var("ROBOCRED_KILL_MATRIX").is_ok_and(|value| value == "full");
    let mut cases = if full_matrix { full(&points) } else { slice(&points) };
    if let Ok(wanted) = env::var("ROBOCRED_KILL_CASE") {
        cases = full(&points);
        cases.retain(|case| name(case) == wanted);
        assert!(!cases.is_empty(), "no case {wanted}");
    }
    if !full_matrix {
        // The long ones first, so that none of them is waited for alone at the end.
        cases.sort_by_key(|case| !SLOW.contains(&case.name));
    }

    let began = Instant::now();
    let next = AtomicUsize::new(0);
    let played = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..THREADS[usize::from(full_matrix)].min(cases.len()) {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let began = Instant::now();
                    let ended = catch_unwind(AssertUnwindSafe(|| play(case)));
                    if ended.is_err() {
                        eprintln!("BROKEN: {}", name(case));
                    }
                    let mut played = played.lock().unwrap();
                    played.push((case, ended.ok(), began.elapsed()));
                    if played.len().is_multiple_of(100) {
                        eprintln!("{} of {} cases", played.len(), cases.len());
                    }
                }
            });
        }
    });
    let mut played = played.into_inner().unwrap();
    played.sort_by_key(|(_, _, took)| std::cmp::Reverse(*took));
    let broken: Vec<String> =
        played.iter().filter(|(_, ended, _)| ended.is_none()).map(|(case, ..)| name(case)).collect();
    let count =
        |wanted: fn((bool, Ended)) -> bool| played.iter().filter(|(_, ended, _)| ended.is_some_and(wanted)).count();
    let unreached: BTreeSet<&str> = points
        .iter()
        .map(String::as_str)
        .filter(|point| {
            !played.iter().any(|(case, ended, _)| case.point == *point && ended.is_some_and(|(reached, _)| reached))
        })
        .collect();
    let (slowest, _, took) = &played[0];
    eprintln!(
        "{} cases, {} broken; {} killed at their point, {} at rest until tried again; {:.0} s, the slowest {} {:.0} s; never reached: {unreached:?}",
        played.len(),
        broken.len(),
        count(|(reached, _)| reached),
        count(|(_, ended)| ended == Ended::Resting),
        began.elapsed().as_secs_f64(),
        name(slowest),
        took.as_secs_f64(),
    );
    assert!(broken.is_empty(), "broken, each replayed by ROBOCRED_KILL_CASE=POINT@BEHAVIOUR: {broken:#?}");
}

fn name(case: &Case) -> String {
    format!("{}@{}", case.point, case.name)
}
