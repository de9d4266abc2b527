//! Lists of cases: played by several threads at once, caught where they break,
//! and named so that a variable replays one of them.

use std::{
    env,
    fmt::Display,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How a list of cases is played.
pub struct Playing {
    /// What the list is called in what is printed.
    pub subject: &'static str,
    /// The variable that names one case.
    pub replayed_by: &'static str,
    /// Cases at a time.
    pub threads: usize,
}

/// Whether the variable asks for every case.
pub fn full(variable: &str) -> bool {
    env::var(variable).is_ok_and(|value| value == "full")
}

impl Playing {
    /// Whether one case is replayed.
    pub fn replays(&self) -> bool {
        env::var_os(self.replayed_by).is_some()
    }

    /// The case that the variable names, found among `all`; without it, `usual`.
    pub fn choose<C: Display>(&self, usual: Vec<C>, all: impl FnOnce() -> Vec<C>) -> Vec<C> {
        let Ok(wanted) = env::var(self.replayed_by) else { return usual };
        let mut cases = all();
        cases.retain(|case| case.to_string() == wanted);
        assert!(!cases.is_empty(), "no case {wanted}");
        cases
    }

    /// Plays every case with a player of its thread's own, and counts: what
    /// each brought, unless one broke.
    #[track_caller]
    pub fn play<C, R, P>(&self, cases: &[C], player: impl Fn() -> P + Sync) -> Vec<R>
    where
        C: Display + Sync,
        R: Send,
        P: FnMut(&C) -> R,
    {
        let began = Instant::now();
        let next = AtomicUsize::new(0);
        let results = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..self.threads.min(cases.len()) {
                scope.spawn(|| {
                    let mut plays = player();
                    while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let began = Instant::now();
                        let brought = catch_unwind(AssertUnwindSafe(|| plays(case)));
                        if brought.is_err() {
                            eprintln!("BROKEN: {case}");
                        }
                        results.lock().unwrap().push((case, brought.ok(), began.elapsed()));
                    }
                });
            }
        });
        let results: Vec<(&C, Option<R>, Duration)> = results.into_inner().unwrap();
        let broken: Vec<String> =
            results.iter().filter(|(_, brought, _)| brought.is_none()).map(|(case, ..)| case.to_string()).collect();
        let (slowest, _, longest) = results.iter().max_by_key(|(_, _, took)| *took).unwrap();
        eprintln!(
            "{}: {} cases, {} broken; {:.0} s, the slowest {slowest} {:.1} s",
            self.subject,
            results.len(),
            broken.len(),
            began.elapsed().as_secs_f64(),
            longest.as_secs_f64(),
        );
        assert!(broken.is_empty(), "broken, each replayed by {}=NAME: {broken:#?}", self.replayed_by);
        results.into_iter().filter_map(|(_, brought, _)| brought).collect()
    }
}
