//! What a secret store can answer instead of doing its work.

use std::{fmt, io, path::PathBuf, time::Duration};

use crate::{credential::SecretRef, site::StoreKind};

/// Why a secret store did not do what it was asked; told apart by what helps.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The keyring is there and locked, or its prompt was dismissed.
    #[error("the keyring is locked")]
    Locked,
    /// There is no keyring: no session bus, or nobody on it who keeps secrets.
    #[error("there is no keyring here")]
    Absent(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A keyring service runs, but no keyring was ever made in it.
    #[error("the keyring service has no default keyring yet")]
    NoDefaultKeyring,
    /// The keyring did not answer in time; it is not asked again in this run.
    #[error("the keyring did not answer within {} s", after.as_secs())]
    Hung {
        /// How long was waited.
        after: Duration,
    },
    /// The keyring, or the bus, refused us.
    #[error("the keyring refused access")]
    Denied(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What was read back is not what was written.
    #[error("the secret store gave back something else than was put into {slot}")]
    Lossy {
        /// The slot that was written.
        slot: SecretRef,
    },
    /// Nothing is stored in this slot.
    #[error("there is no secret in {slot}")]
    NotFound {
        /// The slot that was asked for.
        slot: SecretRef,
    },
    /// The secret is larger than the store takes.
    #[error("a secret of {length} bytes is longer than the {limit} bytes the store takes")]
    TooLong {
        /// The length of the secret in bytes.
        length: usize,
        /// The store's limit in bytes.
        limit: usize,
    },
    /// Something failed that is not listed here.
    #[error("the secret store could not {step}")]
    Failed {
        /// What was being done.
        step: &'static str,
        /// In the words of whoever failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The configured sealing key is not there, or sealed files exist and what opens
    /// them does not. A second sealing key is never made.
    #[error("the sealing key {} is missing", path.display())]
    SealKeyMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// Somebody else may have read or placed the sealing key.
    #[error("the sealing key {} is not safe: {exposure}", path.display())]
    SealKeyUnsafe {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        exposure: Exposure,
    },
    /// The file does not hold a sealing key (or passphrase).
    #[error("{} holds {length} bytes, not {wanted}", path.display())]
    SealKeyMalformed {
        /// The file.
        path: PathBuf,
        /// How many bytes were found; for a file that is too large, as many as were read.
        length: usize,
        /// What belongs there.
        wanted: &'static str,
    },
    /// This file was sealed with another sealing key.
    #[error("{} was sealed with another sealing key", path.display())]
    WrongSealKey {
        /// The sealed file.
        path: PathBuf,
    },
    /// This file was changed, cut or put in another's place.
    #[error("the sealed file {} is damaged", path.display())]
    Damaged {
        /// The sealed file.
        path: PathBuf,
    },
    /// This file was written by a newer version.
    #[error("the sealed file {} has format {found}; this version reads format {known}", path.display())]
    UnknownFormat {
        /// The sealed file.
        path: PathBuf,
        /// The file's format number.
        found: u8,
        /// The format number of this version.
        known: u8,
    },
    /// The disk refused.
    #[error("cannot {step} {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was being done.
        step: &'static str,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },
    /// The state directory has chosen its store, and it is not the one asked for.
    #[error("the secrets of this state directory rest in the {recorded} store, not in the {wanted} store")]
    OtherStore {
        /// The store the state directory uses.
        recorded: StoreKind,
        /// The store that was asked for.
        wanted: StoreKind,
    },
}

/// Why a key file is not trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// Its mode lets others in.
    Mode(u32),
    /// It belongs to this user id.
    Owner(u32),
    /// It is a symbolic link, which could be pointed elsewhere.
    Link,
    /// It is a directory, a pipe or a device.
    NotAFile,
}

impl fmt::Display for Exposure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mode(mode) => write!(f, "its mode {mode:04o} lets others in"),
            Self::Owner(uid) => write!(f, "it belongs to user {uid}"),
            Self::Link => f.write_str("it is a symbolic link"),
            Self::NotAFile => f.write_str("it is not a regular file"),
        }
    }
}

impl Error {
    /// What a person can do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Locked => {
                "unlock the keyring (log in on the desktop, or open the keyring's own window), then run this again"
                    .into()
            }
            Self::Absent(_) => "on a machine without a keyring use `--store sealed`".into(),
            Self::NoDefaultKeyring => "create a default keyring (log in on the desktop once, or use the keyring's own \
                 window), or use `--store sealed`"
                .into(),
            Self::Hung { .. } => "the keyring may be waiting for an answer to its own prompt, or its service may be \
                 stuck: answer it or restart the service, then run this again"
                .into(),
            Self::Denied(_) => "run this as the user who owns the keyring, or use `--store sealed`".into(),
            Self::Lossy { .. } => "this keyring does not keep binary secrets; use `--store sealed`".into(),
            Self::NotFound { .. } => "if another user or another store made it, run as that user or with that \
                 `--store`; a lost key cannot be brought back, `rotate --force` replaces it"
                .into(),
            Self::TooLong { .. } => "use a smaller key type, or `--store sealed`".into(),
            Self::SealKeyMissing { path } => format!(
                "put the sealing key back at {}; without it what was sealed cannot be opened. For a new key file of \
                 your own: `(umask 077; head -c 32 /dev/urandom > FILE)`",
                path.display()
            ),
            Self::SealKeyUnsafe { path, exposure: Exposure::Mode(_) } => {
                format!(
                    "`chmod 600 {}`, and if others may have read it, rotate every robot sealed with it",
                    path.display()
                )
            }
            Self::SealKeyUnsafe { .. } => "use a regular file that belongs to the user who runs this, mode 0600".into(),
            Self::SealKeyMalformed { .. } => {
                "check that `seal_key_file` and `seal_passphrase_file` are not mixed up".into()
            }
            Self::WrongSealKey { .. } => {
                "point `seal_key_file` or `seal_passphrase_file` at the key this state directory was sealed with".into()
            }
            Self::Damaged { path } => {
                format!("bring {} back from a backup, or replace the credential with `rotate --force`", path.display())
            }
            Self::UnknownFormat { .. } => "use the newer robocred that wrote it".into(),
            Self::OtherStore { recorded, .. } => {
                format!("leave `--store` out or use `--store {recorded}`; a new state directory can choose anew")
            }
            Self::Failed { .. } => "`robocred doctor` tries the store by itself".into(),
            Self::Io { .. } => {
                "check that the disk is neither full nor read-only and that this user may write there".into()
            }
        })
    }
}
