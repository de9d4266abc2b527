//! Ends the process where a test wants it to end, as a power cut would.
//!
//! Only in builds with the feature `failpoints`, never in a release.

use std::{
    env,
    sync::atomic::{AtomicUsize, Ordering},
};

use rustix::process::{Signal, getpid, kill_process};

/// Kills the process at the fail point named by `ROBOCRED_KILL_AT`: `NAME` the
/// first time it is reached, `NAME:N` the Nth time.
pub fn arm() {
    let Ok(wanted) = env::var("ROBOCRED_KILL_AT") else { return };
    let (name, nth) = match wanted.rsplit_once(':') {
        Some((name, nth)) => (name, nth.parse().unwrap_or_else(|_| panic!("ROBOCRED_KILL_AT is NAME or NAME:N"))),
        None => (wanted.as_str(), 1),
    };
    let reached = AtomicUsize::new(0);
    let armed = fail::cfg_callback(name, move || {
        if reached.fetch_add(1, Ordering::SeqCst) + 1 == nth {
            // SIGKILL to oneself cannot be refused, and nothing after it runs.
            let _ = kill_process(getpid(), Signal::KILL);
        }
    });
    armed.unwrap_or_else(|error| panic!("{error}"));
}
