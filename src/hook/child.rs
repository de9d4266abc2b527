//! The hook's process group: started, fed, listened to, ended.

use std::{
    future::pending,
    io,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::unix::pipe,
    process::{Child, ChildStdin, Command},
    time::{sleep, timeout},
};

use super::{Error, Facts, GRACE, said::Said};

pub(super) async fn run(
    program: PathBuf,
    arguments: &[String],
    facts: &Facts,
    limit: Duration,
) -> Result<String, Error> {
    let (mut group, mut output) = match Group::start(&program, arguments, facts) {
        Ok(started) => started,
        Err(source) => return Err(Error::Start { program, source }),
    };
    let mut said = Said::default();
    let input = group.0.stdin.take();
    let talk = async {
        tokio::join!(tell(input, facts), said.listen(&mut output));
        pending().await
    };
    let ended = tokio::select! {
        ended = group.ended_within(limit) => ended,
        never = talk => never,
    };
    // Whoever still holds the other end does not hold us.
    let _ = timeout(GRACE, said.listen(&mut output)).await;
    let said = said.text();
    match ended {
        Err(source) => Err(Error::Io { program, source }),
        Ok(None) => Err(Error::TimedOut { program, limit, said }),
        Ok(Some(status)) => match (status.code(), status.signal()) {
            (Some(0), _) => Ok(said),
            (Some(code), _) => Err(Error::Failed { program, code, said }),
            (None, signal) => Err(Error::Killed { program, signal: signal.unwrap_or_default(), said }),
        },
    }
}

/// A hook that does not read closes the pipe: that is its right.
async fn tell(input: Option<ChildStdin>, facts: &Facts) {
    if let Some(mut input) = input {
        let _ = input.write_all(facts.document().as_bytes()).await;
    }
}

impl Said {
    /// Until the last holder of the other end has closed it. Can be dropped and
    /// called again without losing anything.
    async fn listen(&mut self, output: &mut pipe::Receiver) {
        let mut piece = [0; 8 * 1024];
        while let Ok(length @ 1..) = output.read(&mut piece).await {
            self.push(&piece[..length]);
        }
    }
}

/// The first process of a group. Nobody else takes its number, which is the
/// group's, until its end was waited for; dropped before that, the group ends.
struct Group(Child);

impl Group {
    /// The group, and the one pipe that is its standard output and its
    /// standard error, so that what it says stays in its order.
    fn start(program: &Path, arguments: &[String], facts: &Facts) -> io::Result<(Self, pipe::Receiver)> {
        let (output, said) = io::pipe()?;
        let output = pipe::Receiver::from_owned_fd(output.into())?;
        let child = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(facts.environment())
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(said.try_clone()?)
            .stderr(said)
            .spawn()?;
        Ok((Self(child), output))
    }

    /// How it ended by itself; `None` if it had to be ended.
    async fn ended_within(&mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        if let Ok(ended) = timeout(limit, self.0.wait()).await {
            return ended.map(Some);
        }
        self.signal(Signal::TERM);
        sleep(GRACE).await;
        self.signal(Signal::KILL);
        self.0.wait().await.map(|_| None)
    }

    fn signal(&self, signal: Signal) {
        let pid = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = kill_process_group(pid, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
