//! One child: how it is started, how long it may take, and that nothing of its group is left.
//!
//! Owns the process: a group of its own, nothing on standard input, its document
//! read up to a bound, what it says on standard error passed on as it is. Leaves
//! out what its document means ([`outcome`](super::outcome)). A child that is
//! ended loses nothing: whatever it was doing is carried on by the next one.

use std::{
    ffi::OsString,
    io,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::AsyncReadExt as _,
    process::{Child, ChildStdout, Command},
    sync::watch,
    time::{sleep, timeout},
};

use super::{
    Job, Settings,
    outcome::{CRASHED, GARBLED, HUNG, MOST_OUTPUT, Outcome, understand},
};
use crate::{inventory::Task, site::RobotId};

/// How long a child gets to end after SIGTERM before SIGKILL, and how long its
/// output is still read after it has ended.
pub const GRACE: Duration = Duration::from_secs(1);

/// What is addressed to this process alone.
const OURS_ALONE: [&str; 6] =
    ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID"];

/// Does a job by a child, to its end; `None` if it was ended because `end` was asked for.
///
/// Dropped before that, the child and its group are ended at once.
pub(super) async fn run(settings: &Settings, job: &Job, mut end: watch::Receiver<bool>) -> Option<Outcome> {
    let program = settings.program.display();
    let (mut group, output) = match Group::start(settings, job) {
        Ok(started) => started,
        Err(error) => return Some(Outcome::failed(CRASHED, format!("{program} could not be started: {error}"))),
    };
    let limit = match job.task {
        Task::Rotate => settings.limits.rotate,
        Task::Ingest => settings.limits.ingest,
    };
    let mut said = Vec::new();
    let end = tokio::select! {
        ended = group.ended(output, &mut said) => End::Itself(ended),
        () = sleep(limit) => End::Late,
        _ = end.wait_for(|asked| *asked) => End::Asked,
    };
    Some(match end {
        End::Itself(Ok(Some(status))) => match status.code() {
            Some(code) => understand(code, &said),
            None => Outcome::failed(CRASHED, format!("it was ended ({status})")),
        },
        End::Itself(Ok(None)) => {
            group.end().await;
            Outcome::failed(GARBLED, format!("it printed more than {MOST_OUTPUT} bytes and was ended"))
        }
        End::Itself(Err(error)) => Outcome::failed(CRASHED, format!("its end could not be awaited: {error}")),
        End::Late => {
            group.end().await;
            Outcome::failed(HUNG, format!("it was ended after {limit:?}"))
        }
        End::Asked => {
            group.end().await;
            return None;
        }
    })
}

/// Why a child is not waited for any longer.
enum End {
    /// It has ended; `None` if it had said too much.
    Itself(io::Result<Option<ExitStatus>>),
    /// Its time was over.
    Late,
    /// Its end was asked for.
    Asked,
}

/// What is given to the tool after the global flags.
fn arguments(job: &Job) -> Vec<OsString> {
    let mut arguments: Vec<String> = match job.task {
        Task::Rotate => vec!["rotate".into(), "--due".into()],
        Task::Ingest => vec!["ingest".into()],
    };
    if job.robots.is_empty() || job.task == Task::Rotate {
        arguments.push(job.site.to_string());
    } else {
        let id = |robot: &_| RobotId { site: job.site.clone(), robot: Clone::clone(robot) }.to_string();
        arguments.extend(job.robots.iter().map(id));
    }
    arguments.into_iter().map(Into::into).collect()
}

/// The first process of a group. Nobody else takes its number, which is the
/// group's, until its end was waited for; dropped before that, the group ends.
struct Group(Child);

impl Group {
    fn start(settings: &Settings, job: &Job) -> io::Result<(Self, Option<ChildStdout>)> {
        let mut command = Command::new(&settings.program);
        command
            .args(&settings.arguments)
            .args(["-n", "--json"])
            .args(arguments(job))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        for name in OURS_ALONE {
            command.env_remove(name);
        }
        #[cfg(unix)]
        command.process_group(0);
        #[cfg(not(unix))]
        command.kill_on_drop(true);
        let mut child = command.spawn()?;
        let output = child.stdout.take();
        Ok((Self(child), output))
    }

    /// How it ended by itself, and into `said` what it printed; `None` once that is more than is read.
    async fn ended(&mut self, output: Option<ChildStdout>, said: &mut Vec<u8>) -> io::Result<Option<ExitStatus>> {
        let mut output = output;
        let mut status = None;
        let mut piece = [0; 8 * 1024];
        // Read while it lives, since a full pipe would hold it up.
        while let Some(open) = &mut output {
            let read = tokio::select! {
                read = open.read(&mut piece) => read.unwrap_or(0),
                ended = self.0.wait(), if status.is_none() => {
                    status = Some(ended?);
                    continue;
                }
                // Whoever still holds the other end does not hold us.
                () = sleep(GRACE), if status.is_some() => 0,
            };
            match &piece[..read] {
                [] => output = None,
                more if said.len() + more.len() > MOST_OUTPUT => return Ok(None),
                more => said.extend_from_slice(more),
            }
        }
        match status {
            Some(status) => Ok(Some(status)),
            None => self.0.wait().await.map(Some),
        }
    }

    /// Ends it, with everything in its group.
    async fn end(&mut self) {
        #[cfg(unix)]
        {
            self.signal(rustix::process::Signal::TERM);
            // Not waited for yet: until then its number is the group's.
            sleep(GRACE).await;
            self.signal(rustix::process::Signal::KILL);
        }
        #[cfg(not(unix))]
        let _ = self.0.start_kill();
        // A process that the kernel does not let go of is not waited for.
        let _ = timeout(GRACE, self.0.wait()).await;
    }

    #[cfg(unix)]
    fn signal(&self, signal: rustix::process::Signal) {
        use rustix::process::{Pid, kill_process_group};
        let pid = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = kill_process_group(pid, signal);
        }
    }
}

#[cfg(unix)]
impl Drop for Group {
    fn drop(&mut self) {
        self.signal(rustix::process::Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_a_command_of_the_tool() {
        let check = |task: Task, robots: &[&str], expected: &[&str]| {
            let robots = robots.iter().map(|robot| robot.parse().unwrap()).collect();
            assert_eq!(arguments(&Job { site: "plant".parse().unwrap(), task, robots }), expected);
        };
        check(Task::Rotate, &[], &["rotate", "--due", "plant"]);
        check(Task::Rotate, &["a"], &["rotate", "--due", "plant"]);
        check(Task::Ingest, &["a", "b"], &["ingest", "plant/a", "plant/b"]);
        check(Task::Ingest, &[], &["ingest", "plant"]);
    }
}
