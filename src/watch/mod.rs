//! Staying up: what is due is done by short-lived children of the tool itself.
//!
//! Owns the loop over one closed [`Event`] ([`run`]()), what is due when
//! ([`schedule`]), how a child is started and limited ([`child`]), what its end
//! means ([`outcome`]), and what others are shown of it ([`board`], [`http`]). Leaves out the work itself, which is
//! the command line's `rotate --due` and `ingest`, each under its own lock of
//! its site. This process opens no secret store and never holds a key or a
//! token.
//!
//! Deadlines are compared with the wall clock at least once a minute, never
//! slept towards. On failure nothing is lost: whatever a child was doing is
//! carried on by the next one, not before the back-off of its site is over.

pub mod board;
pub mod child;
pub mod http;
pub mod outcome;
mod pace;
mod record;
mod run;
pub mod schedule;

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use time::OffsetDateTime;

use crate::{inventory::TaskFailure, site::RobotId};
pub use outcome::{Done, Outcome};
pub use pace::LOOK_EVERY;
pub use run::run;
pub use schedule::Job;

/// How the loop works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the inventory is.
    pub state_dir: PathBuf,
    /// Who writes into it how a task has ended.
    pub actor: String,
    /// The tool itself, absolute.
    pub program: PathBuf,
    /// The global flags that every child is started with, before its command.
    pub arguments: Vec<std::ffi::OsString>,
    /// How many children run at once.
    pub at_once: NonZeroUsize,
    /// Whether it ends once a credential has expired.
    pub exit_on_expiry: bool,
    /// How long things may take.
    pub limits: Limits,
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// One `rotate --due` of a site.
    pub rotate: Duration,
    /// One `ingest` of a site.
    pub ingest: Duration,
    /// From the request to end until the process ends.
    pub stop: Duration,
    /// The longest rest between two looks at the clock.
    pub look: Duration,
    /// From the end of a task of a site until the same is begun again, whatever is due.
    pub again: time::Duration,
    /// How long somebody else may work on a site until that is a failure.
    pub busy: time::Duration,
    /// How long nothing can be begun until people are told of it.
    pub hindered: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rotate: Duration::from_mins(30),
            ingest: Duration::from_hours(2),
            stop: Duration::from_secs(8),
            look: LOOK_EVERY,
            again: time::Duration::MINUTE,
            busy: time::Duration::HOUR,
            hindered: Duration::from_mins(1),
        }
    }
}

/// What is asked of the loop from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// End: children finish what they have begun to commit. Asked again, they are ended at once.
    Stop,
    /// Read the configuration again.
    Reload,
    /// Look now, also at what rests after a failure.
    Look,
}

/// Everything the loop answers to.
#[derive(Debug)]
pub enum Event {
    /// It is time to look at the clock.
    Tick,
    /// A child has ended; without an outcome where it was made to.
    Ended(Job, Option<Outcome>),
    /// People were told of a child that could not tell by itself; or not, for these reasons.
    Told(Vec<String>),
    /// Something is asked from outside.
    Asked(Request),
}

/// Everything the loop has to say. Where nothing happens, only [`Notice::Looked`] is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// It has looked, and this is how things are.
    Looked {
        /// How many robots are configured.
        robots: usize,
        /// How many children are at work.
        running: usize,
        /// When something becomes due next, if that is foreseen.
        next: Option<OffsetDateTime>,
        /// Whether there is a plan: nothing stands in the way.
        planned: bool,
    },
    /// A child was started.
    Began(Job),
    /// A child has done something.
    Done(Job, Vec<Done>),
    /// A child did not end well.
    Failed {
        /// What it was to do.
        job: Job,
        /// Why it did not.
        failure: TaskFailure,
        /// Before when it is not tried again.
        after: OffsetDateTime,
        /// The child could tell nobody: people are told of it from here, if they do not know yet.
        untold: bool,
    },
    /// Somebody else works on the site: it is looked at again soon. Not said again until that is over.
    Busy(Job, TaskFailure),
    /// How a task has ended could not be written down; it is kept in memory.
    Unrecorded(Job, String),
    /// Nobody could be told of a failure, for this reason.
    Untold(String),
    /// Nothing is begun, for this reason.
    Hindered(String),
    /// What stood in the way is gone.
    Unhindered,
    /// The configuration as it stands in the file cannot be used, for this reason.
    Misconfigured(String),
    /// The configuration was read, again or for the first time.
    Configured {
        /// How many robots it names.
        robots: usize,
    },
    /// The wall clock went this far between two looks: the machine was suspended, or the clock was set.
    Leapt(time::Duration),
    /// It ends, and waits for this many children.
    Stopping(usize),
}

/// What a watch comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// How many tasks ended well.
    pub done: u64,
    /// How many did not.
    pub failed: u64,
    /// The robots with an expired credential because of which it ended.
    pub expired: Vec<RobotId>,
}
