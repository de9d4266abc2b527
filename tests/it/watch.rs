//! `watch`: as a process, and as a loop over children that misbehave.

mod children;
#[cfg(target_os = "linux")]
mod memory;
mod process;
mod service;

use std::{
    fmt::Debug,
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use robocred::inventory::{Task, TaskRow};
use rustix::process::{Pid, Signal, kill_process};

use crate::world::World;

/// Longer than anything here takes.
const FOR_EVER: Duration = Duration::from_mins(1);

/// Asks again and again until there is an answer.
#[track_caller]
fn until<T>(what: impl Debug, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + FOR_EVER;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "{what:?} did not come about");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process is there, also as a zombie.
fn lives(pid: &str) -> bool {
    std::path::Path::new("/proc").join(pid.trim()).exists()
}

/// How a task of `plant` last went by schedule.
fn row(world: &World, task: Task) -> Option<TaskRow> {
    let inventory = world.inventory()?;
    let rows = world.runtime.block_on(inventory.tasks()).unwrap();
    rows.into_iter().find(|row| row.site.as_str() == "plant" && row.task == task)
}

/// A running `watch`. Dropped, it is ended at once.
struct Watching {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
}

impl Watching {
    fn start(world: &World, more: &[&str]) -> Self {
        Self::of(world.command(&[&["watch"], more].concat()))
    }

    fn of(mut command: Command) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.expect("the tool was built");
        let said = Arc::<Mutex<Vec<String>>>::default();
        let (lines, listening) = (BufReader::new(child.stderr.take().unwrap()).lines(), said.clone());
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                listening.lock().unwrap().push(line);
            }
        });
        Self { child, said }
    }

    /// Waits until it has said so, `times` times in all.
    #[track_caller]
    fn says_again(&self, words: &str, times: usize) -> String {
        let end = Instant::now() + FOR_EVER;
        loop {
            let said = self.said.lock().unwrap().clone();
            let mut with = said.iter().filter(|line| line.contains(words));
            if let Some(line) = with.nth(times - 1) {
                return line.clone();
            }
            assert!(Instant::now() < end, "{words:?} was not said {times} times in {said:#?}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    #[track_caller]
    fn says(&self, words: &str) -> String {
        self.says_again(words, 1)
    }

    fn said(&self) -> String {
        self.said.lock().unwrap().join("\n")
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end: its exit code, and what it printed.
    #[track_caller]
    fn ended(mut self) -> (Option<i32>, String, String) {
        let status = until("the end of watch", || self.child.try_wait().unwrap());
        let mut stdout = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        (status.code(), stdout, self.said())
    }

    /// Asks it to end, which it does in time and well.
    #[track_caller]
    fn stop(self) -> String {
        let asked = Instant::now();
        self.signal(Signal::TERM);
        let (code, stdout, said) = self.ended();
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(stdout, "");
        assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
        said
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
