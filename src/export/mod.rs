//! A proven credential handed out as files for a connector.
//!
//! Owns the files ([`deliver`], [`holds`]) and the fields of a connector's form
//! ([`Form`]). Leaves out who confirms a delivery (`lifecycle`, the command
//! line). Touches the disk only. On failure the pair that was current stays
//! current, and no file under a final name is partial.

#[cfg(unix)]
mod files;
#[cfg(not(unix))]
#[path = "files_elsewhere.rs"]
mod files;
mod form;

use std::{
    io,
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use crate::{
    credential::{Generation, Record},
    site::ExportTarget,
    verify::Verified,
    x509::{self, Certificate, PrivateKey},
};
pub use form::{Connector, Form};

/// The files of a credential, by name, in the order they are written.
pub const FILES: [&str; 3] = ["key.pem", "cert.pem", "combined.pem"];

/// Why a credential could not be handed out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name of ours is taken by something we did not put there.
    #[error("{path} is not a link of ours", path = path.display())]
    Foreign {
        /// The file, link or folder in the way.
        path: PathBuf,
    },
    /// Another key or certificate is there under the number of this generation:
    /// of another robot, or of a state directory that is lost.
    #[error("another key or certificate is in {path}", path = path.display())]
    OtherPair {
        /// The file that differs.
        path: PathBuf,
    },
    /// Somebody else could replace the files.
    #[error("others can write to {path} (mode {mode:04o}, owner {owner})", path = path.display())]
    OthersCanWrite {
        /// The directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// Its owner's number.
        owner: u32,
    },
    /// The target is a file or a link.
    #[error("{path} is not a directory", path = path.display())]
    NotADirectory {
        /// The target.
        path: PathBuf,
    },
    /// The group of the configuration does not exist here.
    #[error("there is no group {group:?} on this machine")]
    NoGroup {
        /// The group's name.
        group: String,
    },
    /// The proof is of another credential than the one to hand out.
    #[error("the proof is of another credential")]
    NotProven,
    /// The key does not belong to the certificate.
    #[error("the key does not belong to the certificate")]
    Pair(#[source] x509::Error),
    /// The key could not be written as PEM.
    #[error("the credential cannot be written as PEM")]
    Pem(#[source] x509::Error),
    /// The disk refused.
    #[error("could not {step} {path}", path = path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was being done.
        step: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        const AGAIN: &str = "run the same command again; the files that were current are untouched";
        match self {
            Self::Foreign { path } => format!("move {} away, or export to another directory", path.display()),
            Self::OtherPair { path } => format!(
                "export to another directory; or, if nothing reads it any more, move {} away",
                path.parent().unwrap_or(path).display()
            ),
            Self::OthersCanWrite { path, mode, owner } if mode & 0o022 != 0 => {
                format!("run `chmod go-w {}` as user {owner}, or export to another directory", path.display())
            }
            Self::OthersCanWrite { path, .. } => {
                format!("export to a directory of yours, or give {} to this user with chown", path.display())
            }
            Self::NotADirectory { path } => format!("name a directory instead of {}", path.display()),
            Self::NoGroup { group } => format!(
                "create the group with `groupadd {group}`, correct `group` in the configuration, or give its number"
            ),
            Self::NotProven | Self::Pair(_) | Self::Pem(_) => "run `robocred verify` and report what it prints".into(),
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => format!("free some space and {AGAIN}"),
                io::ErrorKind::ReadOnlyFilesystem => format!("make that disk writable and {AGAIN}"),
                io::ErrorKind::PermissionDenied => {
                    format!("run as the owner of the directory and, for `group`, as a member of that group; {AGAIN}")
                }
                _ => format!("correct that and {AGAIN}"),
            },
        }
    }
}

/// What was handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The directory.
    pub dir: PathBuf,
    /// The absolute paths of [`FILES`].
    pub files: Vec<PathBuf>,
    /// Whether anything had to be written.
    pub changed: bool,
}

/// Writes the pair of a proven credential to `target`; touches the disk.
///
/// # Errors
/// Any of [`Error`]; the pair that was current stays current.
pub fn deliver(
    verified: &Verified,
    record: &Record,
    key: &PrivateKey,
    certificate: &Certificate,
    target: &ExportTarget,
) -> Result<Delivered, Error> {
    if verified.id() != &record.id || verified.fingerprint() != certificate.fingerprint() {
        return Err(Error::NotProven);
    }
    x509::key_belongs_to(key, certificate).map_err(Error::Pair)?;
    let changed = with_contents(key, certificate, |contents| files::write(target, record.id.generation, contents))??;
    let files = FILES.iter().map(|name| target.dir.join(name)).collect();
    Ok(Delivered { dir: target.dir.clone(), files, changed })
}

/// Whether `target` holds exactly this pair; reads the disk, writes nothing.
#[must_use]
pub fn holds(record: &Record, key: &PrivateKey, certificate: &Certificate, target: &ExportTarget) -> bool {
    with_contents(key, certificate, |contents| files::holds(target, record.id.generation, contents)).unwrap_or(false)
}

/// Removes the files of a generation from `dir`, if they are this
/// certificate's, and the links that point to them; touches the disk.
///
/// # Errors
/// Any of [`Error`] about the directory; the key's file goes first.
pub fn forget(dir: &Path, generation: Generation, certificate: &Certificate) -> Result<(), Error> {
    let target = ExportTarget { dir: dir.to_owned(), mode: 0o600, group: None };
    files::forget(&target, generation, x509::certificate_to_pem(certificate).as_bytes())
}

/// The text of the files.
struct Contents<'a> {
    key: &'a [u8],
    certificate: &'a [u8],
    combined: &'a [u8],
}

impl Contents<'_> {
    fn each(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        FILES.into_iter().zip([self.key, self.certificate, self.combined])
    }
}

fn with_contents<T>(
    key: &PrivateKey,
    certificate: &Certificate,
    run: impl FnOnce(&Contents<'_>) -> T,
) -> Result<T, Error> {
    let key = x509::private_key_to_pem(key).map_err(Error::Pem)?;
    let certificate = x509::certificate_to_pem(certificate);
    // Reserved whole, so that no half-filled buffer with key bytes is left behind by growing.
    let mut combined = Zeroizing::new(Vec::with_capacity(key.len() + certificate.len()));
    combined.extend_from_slice(key.as_bytes());
    combined.extend_from_slice(certificate.as_bytes());
    Ok(run(&Contents { key: key.as_bytes(), certificate: certificate.as_bytes(), combined: &combined }))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::x509::{KeyAlgorithm, Profile, Validity};

    #[test]
    fn the_files_hold_the_key_the_certificate_and_both() {
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let validity = Validity::of_days(datetime!(2026-11-22 12:00 UTC), 30).unwrap();
        let certificate = Certificate::self_signed(&key, "lucidum", validity, Profile::Client).unwrap();
        with_contents(&key, &certificate, |contents| {
            assert_eq!(contents.each().map(|(name, _)| name).collect::<Vec<_>>(), FILES);
            let read = x509::private_key_from_pem(contents.key).unwrap();
            x509::key_belongs_to(&read, &certificate).unwrap();
            let read = x509::certificate_from_pem(contents.certificate).unwrap();
            assert_eq!(read.fingerprint(), certificate.fingerprint());
            assert_eq!(contents.combined, [contents.key, contents.certificate].concat());
            assert!([contents.key, contents.certificate].iter().all(|text| text.ends_with(b"-----\n")));
        })
        .unwrap();
    }

    #[test]
    fn every_error_says_what_to_do() {
        let path = PathBuf::from("/srv/out/.g1/key.pem");
        let io = |kind: io::ErrorKind| Error::Io { path: path.clone(), step: "write", source: kind.into() };
        for (error, said, hint) in [
            (Error::Foreign { path: path.clone() }, "is not a link of ours", "move /srv/out/.g1/key.pem away"),
            (Error::OtherPair { path: path.clone() }, "another key or certificate", "move /srv/out/.g1 away"),
            (
                Error::OthersCanWrite { path: path.clone(), mode: 0o777, owner: 7 },
                "(mode 0777, owner 7)",
                "`chmod go-w /srv/out/.g1/key.pem` as user 7",
            ),
            (Error::OthersCanWrite { path: path.clone(), mode: 0o755, owner: 7 }, "owner 7", "with chown"),
            (Error::NotADirectory { path: path.clone() }, "is not a directory", "name a directory"),
            (Error::NoGroup { group: "ot".into() }, "no group \"ot\"", "`groupadd ot`"),
            (Error::NotProven, "of another credential", "robocred verify"),
            (io(io::ErrorKind::StorageFull), "could not write /srv", "free some space"),
            (io(io::ErrorKind::ReadOnlyFilesystem), "could not write /srv", "make that disk writable"),
            (io(io::ErrorKind::PermissionDenied), "could not write /srv", "as the owner"),
            (io(io::ErrorKind::TimedOut), "could not write /srv", "run the same command again"),
        ] {
            assert!(error.to_string().contains(said), "{error}");
            assert!(error.hint().contains(hint), "{error}: {}", error.hint());
        }
    }
}
