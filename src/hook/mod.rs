//! Running a person's programs at moments of a credential's life.
//!
//! Owns what a hook is told ([`Facts`]), in which surroundings it runs and for
//! how long ([`run`]), and what is kept of what it said. Leaves out when a hook
//! is due and what its failure means (`lifecycle`). Starts processes; touches
//! neither the network nor the disk itself. A hook is given names, times and
//! paths, never a secret, and nothing that an appliance has said. On failure
//! nothing of the hook's process group is left running. docs/HOOKS.md is the
//! contract with whoever writes a hook.

#[cfg(not(unix))]
#[path = "elsewhere.rs"]
mod child;
#[cfg(unix)]
mod child;
mod facts;
mod said;

use std::{fmt, io, path::PathBuf, str::FromStr, time::Duration};

use serde::Serialize;

use crate::site::{self, Hooks};
pub use facts::{ENVIRONMENT, Facts};

/// How long a hook may run.
pub const LIMIT: Duration = Duration::from_mins(2);

/// How long a hook gets to end after SIGTERM before SIGKILL, and how long its
/// output is still read after it has ended.
pub const GRACE: Duration = Duration::from_secs(1);

/// How many bytes of a hook's output are kept: the last ones.
pub const MOST_OUTPUT: usize = 64 * 1024;

/// The moments at which a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// A new pair was exported.
    Deploy,
    /// Something failed.
    Failure,
    /// A credential is about to expire.
    Expiring,
}

impl Event {
    /// Every event.
    pub const ALL: [Self; 3] = [Self::Deploy, Self::Failure, Self::Expiring];

    /// The word of our configuration, command line and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Failure => "failure",
            Self::Expiring => "expiring",
        }
    }

    /// The command configured for this event: the program and its arguments.
    #[must_use]
    pub fn command(self, hooks: &Hooks) -> Option<&[String]> {
        match self {
            Self::Deploy => hooks.deploy.as_deref(),
            Self::Failure => hooks.failure.as_deref(),
            Self::Expiring => hooks.expiring.as_deref(),
        }
    }
}

impl FromStr for Event {
    type Err = site::Error;

    fn from_str(given: &str) -> Result<Self, site::Error> {
        Self::ALL.into_iter().find(|event| event.as_str() == given).ok_or_else(|| site::Error::Word {
            what: "event",
            given: given.to_owned(),
            known: "deploy, failure, expiring",
        })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a hook did not end well. `said` is as [`run`] returns it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The program could not be started.
    #[error("the hook {program} could not be started", program = program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It ended with another code than 0.
    #[error("the hook {program} ended with exit code {code}", program = program.display())]
    Failed {
        /// The program.
        program: PathBuf,
        /// The exit code.
        code: i32,
        /// What it said.
        said: String,
    },
    /// A signal that was not ours ended it.
    #[error("the hook {program} was ended by signal {signal}", program = program.display())]
    Killed {
        /// The program.
        program: PathBuf,
        /// The signal's number.
        signal: i32,
        /// What it said.
        said: String,
    },
    /// It ran too long and was ended, with everything in its process group.
    #[error("the hook {program} was ended after {limit:?}", program = program.display())]
    TimedOut {
        /// The program.
        program: PathBuf,
        /// How long it may run.
        limit: Duration,
        /// What it said.
        said: String,
    },
    /// The operating system lost track of it.
    #[error("the end of the hook {program} could not be awaited", program = program.display())]
    Io {
        /// The program.
        program: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl Error {
    /// What the hook said; empty if it never ran.
    #[must_use]
    pub fn said(&self) -> &str {
        match self {
            Self::Failed { said, .. } | Self::Killed { said, .. } | Self::TimedOut { said, .. } => said,
            Self::Start { .. } | Self::Io { .. } => "",
        }
    }

    /// The code it ended with by itself.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Failed { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Start { program, source } => {
                let program = program.display();
                match source.kind() {
                    io::ErrorKind::NotFound => {
                        format!("check that {program} exists, and the program that its first line (#!) names")
                    }
                    io::ErrorKind::PermissionDenied => {
                        format!("run `chmod +x {program}`, and let this user into every directory above it")
                    }
                    io::ErrorKind::InvalidInput => "write [\"/absolute/program\", \"argument\"]".to_owned(),
                    io::ErrorKind::Unsupported => "remove the hook on this system".to_owned(),
                    _ => format!("is {program} a program for this machine, or a script that begins with #!/bin/sh?"),
                }
            }
            Self::Failed { .. } => "correct what it says, then try it with `robocred hook test`".to_owned(),
            Self::Killed { .. } => {
                "find out who ended it (memory limit, service manager), then try it with `robocred hook test`"
                    .to_owned()
            }
            Self::TimedOut { .. } => "let it start long work elsewhere (a service, a queue) and end at once".to_owned(),
            Self::Io { .. } => "run the same command again".to_owned(),
        }
    }
}

/// Runs the program `argv[0]` with the rest of `argv`, as it stands and without
/// a shell, waits for its end, and returns what it said: the last
/// [`MOST_OUTPUT`] bytes of its standard output and standard error, as lines
/// without control or invisible characters.
///
/// It runs in `/`, in a process group of its own, with [`Facts::environment`]
/// and nothing more, and finds [`Facts::document`] on standard input; whether
/// it reads that is its own affair. After `limit` its group gets SIGTERM and,
/// [`GRACE`] later, SIGKILL. Dropping the future ends the group at once. What
/// the hook itself leaves behind when it ends in time goes on undisturbed, but
/// is neither waited for nor listened to for longer than [`GRACE`].
///
/// # Errors
/// [`Error::Start`] also if `argv[0]` is missing or no absolute path; else as
/// [`Error`] says. Except for `Start` the hook may have done its work.
pub async fn run(argv: &[String], facts: &Facts, limit: Duration) -> Result<String, Error> {
    let (program, arguments) = argv.split_first().map_or(("", &[][..]), |(program, rest)| (program.as_str(), rest));
    let program = PathBuf::from(program);
    if !program.is_absolute() {
        let source = io::Error::new(io::ErrorKind::InvalidInput, "it is not an absolute path");
        return Err(Error::Start { program, source });
    }
    child::run(program, arguments, facts, limit).await
}
