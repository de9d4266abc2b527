//! Why the inventory could not be read or changed.

use std::{error::Error as StdError, io, path::PathBuf};

use time::OffsetDateTime;

use super::Holder;
use crate::{
    credential::{CredentialId, state::Impossible},
    site::{RobotId, RobotName, SiteName},
};

/// Why the inventory could not be read or changed. After any of them, nothing
/// of the change that was asked for is in the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file is no inventory, or its content contradicts itself. It is left as it is.
    #[error("the inventory {} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The file was written by a newer version of this program.
    #[error("the inventory {} has schema version {found}, this program knows up to {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version in the file.
        found: i64,
        /// The newest version this program knows.
        known: i64,
    },
    /// The file has an older schema, which only a command that writes may bring up to date.
    #[error("the inventory {} has schema version {found}, this program reads version {known}", path.display())]
    Older {
        /// The file.
        path: PathBuf,
        /// The version in the file.
        found: i64,
        /// The version this program reads.
        known: i64,
    },
    /// Another process works on the site.
    #[error("site {site} is locked by {}", match holder { Some(holder) => holder.seen_at(*now), None => "another process".to_owned() })]
    Held {
        /// The site.
        site: SiteName,
        /// Who holds it, where that could be read.
        holder: Option<Holder>,
        /// When it was last found held.
        now: OffsetDateTime,
    },
    /// Another process watches the state directory.
    #[error("{} is watched by {}", path.display(), match holder { Some(holder) => holder.seen_at(*now), None => "another process".to_owned() })]
    Watched {
        /// The state directory.
        path: PathBuf,
        /// Who watches it, where that could be read.
        holder: Option<Holder>,
        /// When it was found so.
        now: OffsetDateTime,
    },
    /// Another process has taken the site over; this one must stop.
    #[error("site {site} was taken over by another process (epoch {current}, this process holds {held})")]
    Fenced {
        /// The site.
        site: SiteName,
        /// The epoch of the lock that was shown.
        held: i64,
        /// The epoch in the inventory.
        current: i64,
    },
    /// Another process keeps the whole inventory busy (a change of schema, or a long write).
    #[error("{} is in use by another process", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// The disk or the file allows no writing, or the inventory was opened for reading only.
    #[error("{} cannot be written to: {reason}", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
        /// What forbids it.
        reason: String,
    },
    /// No space is left.
    #[error("no space is left to write {}", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// Somebody else could change or replace the inventory.
    #[error("{} is not safe to use: {reason}", path.display())]
    Unsafe {
        /// The file or directory.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The state directory lies on a file system of another machine, where
    /// neither a lock nor a commit means what it has to.
    #[error("{} is on a network file system ({kind})", path.display())]
    NetworkDisk {
        /// The directory.
        path: PathBuf,
        /// The name of the file system.
        kind: &'static str,
    },
    /// The database engine would not promise that a commit is on the disk.
    #[error("the database keeps {setting} at {found:?}, {expected:?} is needed")]
    NotDurable {
        /// The setting.
        setting: &'static str,
        /// What is needed.
        expected: &'static str,
        /// What was read back.
        found: String,
    },
    /// The lock shown belongs to another site.
    #[error("the lock of site {held} does not cover {asked}")]
    WrongLock {
        /// The site whose lock was shown.
        held: SiteName,
        /// The robot that was to be changed.
        asked: RobotId,
    },
    /// No lock that was shown covers the robot.
    #[error("{0} was not locked")]
    Unlocked(RobotId),
    /// The inventory holds no such robot.
    #[error("the inventory holds no robot {0}")]
    NoRobot(RobotId),
    /// Another robot of the site is registered under the name.
    #[error("the name {name} is used by our own {robot}")]
    NameOurs {
        /// The name.
        name: RobotName,
        /// Whose it is.
        robot: RobotId,
    },
    /// The inventory holds no such credential.
    #[error("the inventory holds no {0}")]
    NoCredential(CredentialId),
    /// Only the active generation is delivered.
    #[error("{0} is not the active one")]
    NotActive(CredentialId),
    /// A generation is on its way already.
    #[error("{0} is still under way")]
    Pending(CredentialId),
    /// The credential is not in a state in which this can happen.
    #[error("{id}: {refused}")]
    Impossible {
        /// The credential.
        id: CredentialId,
        /// The state and the event.
        refused: Impossible,
    },
    /// A file or directory of the state directory could not be used.
    #[error("could not {doing} {}", path.display())]
    Io {
        /// What was being done, for example `create`.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        source: io::Error,
    },
    /// The database engine failed in another way.
    #[error("the inventory {} could not be used", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// The engine's reason.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
}

impl Error {
    /// What a person can do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Damaged { path, .. } => {
                format!("keep a copy of {} and restore it from a backup; nothing was changed in it", path.display())
            }
            Self::Newer { .. } => "use the newer robocred that wrote it".to_owned(),
            Self::Older { .. } => "run a command that writes, for example `robocred provision`".to_owned(),
            Self::Held { holder: Some(Holder { pid, .. }), .. } => {
                format!("wait for process {pid} to end, then run the command again")
            }
            Self::Watched { .. } => {
                "one `robocred watch` does the work; end the other one, or name another place with --state-dir"
                    .to_owned()
            }
            Self::Held { .. } | Self::Fenced { .. } => {
                "run the command again when the other process has ended".to_owned()
            }
            Self::Busy { .. } => "run the command again in a moment".to_owned(),
            Self::ReadOnly { .. } => "make the state directory writable, or name another with --state-dir".to_owned(),
            Self::NetworkDisk { .. } => {
                "locks do not hold there; name a directory on a disk of this machine with --state-dir".to_owned()
            }
            Self::Full { .. } => "free some space on that disk and run the command again".to_owned(),
            Self::Unsafe { path, .. } => {
                format!("run as the user it belongs to, or make it yours alone (chown, chmod go-w {})", path.display())
            }
            Self::NameOurs { .. } => "choose another name with --registered-name".to_owned(),
            _ => return None,
        })
    }
}
