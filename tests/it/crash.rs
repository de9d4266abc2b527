//! The kill matrix: a command of a robot's life is killed (SIGKILL) at a fail
//! point, against an appliance of one behaviour, and run again; the invariants
//! are asked after every run.
//!
//! ```text
//! cargo test --features failpoints --test it crash                                  # the slice of .ci/run
//! ROBOCRED_KILL_MATRIX=full cargo test --features failpoints --test it crash        # every point, every behaviour
//! ROBOCRED_KILL_CASE=rotate/register.intent@quota cargo test --features failpoints --test it crash     # one case
//! ROBOCRED_KILL_CASE=retire/ cargo test --features failpoints --test it crash       # all whose names begin so
//! ```
//!
//! The points are read from the sources, so that a new one is in the matrix
//! from its first day. A point that a case does not reach is counted, and the
//! run that was to be killed then counts as an undisturbed one.

pub mod cases;
mod scenarios;

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use cases::Case;
use scenarios::Ended;

/// Cases at a time, in the slice and in the whole matrix: most of a case is waiting.
const THREADS: [usize; 2] = [6, 40];

#[test]
fn killed_anywhere_the_same_command_carries_on() {
    let wanted = env::var("ROBOCRED_KILL_CASE").ok();
    let full_matrix = wanted.is_some() || env::var("ROBOCRED_KILL_MATRIX").is_ok_and(|value| value == "full");
    let points = cases::points();
    let mut cases = if full_matrix { cases::full(&points) } else { cases::slice(&points) };
    if let Some(wanted) = wanted {
        cases.retain(|case| case.to_string().starts_with(&wanted));
        assert!(!cases.is_empty(), "no case {wanted}");
    }
    let began = Instant::now();
    let next = AtomicUsize::new(0);
    let played = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..THREADS[usize::from(full_matrix)].min(cases.len()) {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let began = Instant::now();
                    let ended = catch_unwind(AssertUnwindSafe(|| scenarios::play(case)));
                    if ended.is_err() {
                        eprintln!("BROKEN: {case}");
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
        played.iter().filter(|(_, ended, _)| ended.is_none()).map(|(case, ..)| case.to_string()).collect();
    let count =
        |wanted: fn((bool, Ended)) -> bool| played.iter().filter(|(_, ended, _)| ended.is_some_and(wanted)).count();
    let mut unreached: BTreeSet<&str> = points.iter().map(String::as_str).collect();
    let mut of_scenario: BTreeMap<&str, usize> = BTreeMap::new();
    for (case, ended, _) in &played {
        *of_scenario.entry(case.scenario.name()).or_default() += 1;
        if let Some((true, _)) = ended {
            unreached.retain(|point| !case.points.iter().any(|reached| reached == point));
        }
    }
    let (slowest, _, took) = &played[0];
    eprintln!(
        "{} cases {of_scenario:?}, {} broken; {} killed at their point, {} at rest until tried again; {:.0} s, the slowest {slowest} {:.0} s; never reached: {unreached:?}",
        played.len(),
        broken.len(),
        count(|(reached, _)| reached),
        count(|(_, ended)| ended == Ended::Resting),
        began.elapsed().as_secs_f64(),
        took.as_secs_f64(),
    );
    assert!(broken.is_empty(), "broken, each replayed by ROBOCRED_KILL_CASE=NAME: {broken:#?}");
}
