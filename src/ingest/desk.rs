//! Work that would hold up the connection, done by a blocking thread meanwhile.

use std::panic;

use tokio::task::spawn_blocking;

/// A state that one blocking thread at a time works on, job after job.
pub(super) struct Desk<S>(Option<S>);

impl<S: Send + 'static> Desk<S> {
    pub(super) fn new(state: S) -> Self {
        Self(Some(state))
    }

    /// Does a job. Dropped, the job still comes to its end, and the state with it.
    pub(super) async fn run<T: Send + 'static>(&mut self, job: impl FnOnce(&mut S) -> T + Send + 'static) -> T {
        let mut state = self.0.take().expect("a job that was dropped is the last one");
        let (state, done) = elsewhere(move || {
            let done = job(&mut state);
            (state, done)
        })
        .await;
        self.0 = Some(state);
        done
    }

    /// Does the last job.
    pub(super) async fn end<T: Send + 'static>(mut self, job: impl FnOnce(S) -> T + Send + 'static) -> T {
        let state = self.0.take().expect("a job that was dropped is the last one");
        elsewhere(move || job(state)).await
    }
}

async fn elsewhere<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(job).await {
        Ok(done) => done,
        Err(panicked) => panic::resume_unwind(panicked.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn jobs_are_done_in_turn_on_another_thread() {
        let here = std::thread::current().id();
        let mut desk = Desk::new(Vec::new());
        for number in 0..3 {
            let done = desk.run(move |numbers: &mut Vec<i32>| {
                numbers.push(number);
                std::thread::current().id()
            });
            assert_ne!(done.await, here);
        }
        assert_eq!(desk.end(|numbers| numbers).await, [0, 1, 2]);
    }
}
