//! What a watch says: one line for each event worth knowing, none where nothing happens.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use robocred::{
    clock::rfc3339,
    inventory::Task,
    watch::{Done, Job, Notice},
};

use crate::{
    error::{CommandError, Kind},
    opened::Opened,
    output::Output,
    service_manager::ServiceManager,
};

/// Words for the notices of the loop, for people and for the service manager.
pub struct Said {
    output: Output,
    config: String,
    state_dir: String,
    at: Option<SocketAddr>,
    manager: Arc<ServiceManager>,
    told: Mutex<Told>,
}

/// What was said before.
#[derive(Debug, Default)]
struct Told {
    begun: bool,
    ready: bool,
    hindered: Option<String>,
}

impl Said {
    pub fn new(output: Output, opened: &Opened, at: Option<SocketAddr>, manager: &Arc<ServiceManager>) -> Self {
        Self {
            output,
            config: opened.paths.config.display().to_string(),
            state_dir: opened.paths.state_dir.display().to_string(),
            at,
            manager: manager.clone(),
            told: Mutex::default(),
        }
    }

    pub fn say(&self, notice: &Notice) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        match notice {
            Notice::Looked { robots, running, next, planned } => {
                let next = next.map(|next| format!("; next at {}", rfc3339(next))).unwrap_or_default();
                let status = match &told.hindered {
                    Some(why) => format!("nothing is begun: {why}"),
                    None => format!("{}, {running} at work{next}", count(*robots, "robot")),
                };
                let ready = if *planned && !told.ready { "READY=1\n" } else { "" };
                told.ready |= *planned;
                self.manager.tell(&format!("{ready}WATCHDOG=1\nSTATUS={}", status.replace('\n', " ")));
            }
            Notice::Configured { robots } => {
                let robots = count(*robots, "robot");
                if told.begun {
                    self.output.note(&format!("read {} again: {robots}", self.config));
                } else {
                    let at = self.at.map(|at| format!(", serving http://{at}/")).unwrap_or_default();
                    let (config, state) = (&self.config, &self.state_dir);
                    self.output.note(&format!("watching {robots} of {config}, state in {state}{at}"));
                }
                told.begun = true;
                self.reloaded(&told);
            }
            Notice::Began(job) => tracing::info!(site = %job.site, task = %job.task, "begun"),
            Notice::Done(job, done) => done.iter().for_each(|done| self.output.note(&what(job.task, done))),
            Notice::Failed { job, failure, after, .. } => {
                let message = format!("{} ({}): {}", name(job), failure.code, failure.message);
                let hint = match Kind::named(&failure.code) {
                    Kind::Person => "it goes on by itself once that is there; `robocred status` says more".to_owned(),
                    _ => format!("it is tried again by {}, or at once after SIGUSR1", rfc3339(*after)),
                };
                self.output.trouble(&CommandError::new(Kind::named(&failure.code), message).hint(hint));
            }
            Notice::Busy(job, busy) => self.output.note(&format!("{} waits: {}", name(job), busy.message)),
            Notice::Unrecorded(job, why) => {
                let message = format!("{}: its end could not be written down: {why}", name(job));
                self.output.trouble(&CommandError::new(Kind::Failed, message).hint("it is kept in memory"));
            }
            Notice::Untold(why) => {
                let hint = "try it with `robocred hook test`";
                let message = format!("nobody was told by a hook: {why}");
                self.output.trouble(&CommandError::new(Kind::Hook, message).hint(hint));
            }
            Notice::Hindered(why) => {
                let hint = "it goes on by itself once that is put right";
                let message = format!("nothing is begun: {why}");
                self.output.trouble(&CommandError::new(Kind::Failed, message).hint(hint));
                told.hindered = Some(why.clone());
                self.reloaded(&told);
            }
            Notice::Misconfigured(why) => {
                let hint = "`robocred config check` names all that is wrong";
                self.output.trouble(&CommandError::new(Kind::Config, why.clone()).hint(hint));
                self.reloaded(&told);
            }
            Notice::Unhindered => {
                self.output.note("nothing stands in the way any more");
                told.hindered = None;
            }
            Notice::Leapt(by) => {
                let way = if by.is_negative() { "back" } else { "forward" };
                self.output.note(&format!(
                    "the clock went {way} by {} s between two looks: the machine was suspended, or the clock was set",
                    by.whole_seconds().unsigned_abs()
                ));
            }
            Notice::Stopping(running) => {
                self.manager.tell("STOPPING=1\nSTATUS=ending");
                match running {
                    0 => self.output.note("ending"),
                    running => self.output.note(&format!("ending; {} may finish", count(*running, "task"))),
                }
            }
        }
    }

    /// A reload ends as it began: with a word to the service manager.
    fn reloaded(&self, told: &Told) {
        if told.ready {
            self.manager.tell("READY=1");
        }
    }
}

fn name(job: &Job) -> String {
    format!("{} of {}", job.task, job.site)
}

fn what(task: Task, Done { robot, what, number }: &Done) -> String {
    match (task, number) {
        (Task::Ingest, Some(records)) => format!("{robot}: read {records} {what}"),
        (Task::Ingest, None) => format!("{robot}: read {what}"),
        (Task::Rotate, Some(generation)) => format!("{robot}: {what}, generation {generation}"),
        (Task::Rotate, None) => format!("{robot}: {what}"),
    }
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_one_line() {
        let check = |task: Task, word: &str, number: Option<u64>, expected: &str| {
            assert_eq!(what(task, &Done { robot: "a/b".into(), what: word.into(), number }), expected);
        };
        check(Task::Rotate, "rotated", Some(3), "a/b: rotated, generation 3");
        check(Task::Rotate, "resumed", None, "a/b: resumed");
        check(Task::Ingest, "assets", Some(19), "a/b: read 19 assets");
    }
}
