//! Where a history may end a run: at every reading of the clock, before and
//! after every call of the secret store, and, where they are compiled in, at
//! every fail point. All of them lie on the history's own path through the
//! code, so that the n-th is the same one in every replay.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

/// What unwinds through a run that is killed: nothing of it runs but the drops.
struct Killed(String);

/// Counts down to the point that kills.
#[derive(Clone, Default)]
pub struct Kill(Arc<AtomicI64>);

impl Kill {
    /// A point: kills if it is the one.
    pub fn point(&self, name: &str) {
        let before = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| (left > 0).then(|| left - 1));
        if before == Ok(1) {
            // Unwinds without the panic hook: a kill is no failure to be printed.
            resume_unwind(Box::new(Killed(name.to_owned())));
        }
    }

    /// Runs `work`, which is killed at the n-th point if it reaches it; the name of that point if it was.
    pub fn over<T>(&self, nth: Option<u32>, work: impl FnOnce() -> T) -> Result<T, String> {
        self.0.store(nth.map_or(0, i64::from), Ordering::SeqCst);
        fail_points::watch(Some(self.clone()));
        let ended = catch_unwind(AssertUnwindSafe(work));
        fail_points::watch(None);
        self.0.store(0, Ordering::SeqCst);
        ended.map_err(|panic| match panic.downcast::<Killed>() {
            Ok(killed) => killed.0,
            Err(panic) => resume_unwind(panic),
        })
    }
}

#[cfg(not(feature = "failpoints"))]
mod fail_points {
    pub(super) fn watch(_: Option<super::Kill>) {}
}

#[cfg(feature = "failpoints")]
mod fail_points {
    use std::{cell::RefCell, sync::Once};

    use super::Kill;

    thread_local! {
        static HERE: RefCell<Option<Kill>> = const { RefCell::new(None) };
    }

    /// Makes every fail point a point of this thread's history.
    pub(super) fn watch(kill: Option<Kill>) {
        static ARMED: Once = Once::new();
        ARMED.call_once(|| {
            for point in crate::crash::cases::points() {
                let name = point.clone();
                let at_point = move || {
                    let kill = HERE.with_borrow(Clone::clone);
                    if let Some(kill) = kill {
                        kill.point(&name);
                    }
                };
                fail::cfg_callback(point, at_point).unwrap();
            }
        });
        HERE.set(kill);
    }
}
