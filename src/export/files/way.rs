//! The way to a directory: every directory on it is opened from the one
//! before, and judged as opened, so that none can be exchanged after it was
//! judged. Changes nothing but what it is asked to make.

use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    io,
    os::fd::OwnedFd,
    os::unix::ffi::OsStringExt,
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{self, AtFlags, FileType, Mode, OFlags, Stat},
    io::Errno,
};

use super::super::Error;

/// As many links as Linux follows in one path.
const MOST_LINKS: usize = 40;

/// Rights of a directory that is made: its owner's, until it is given away on purpose.
pub(super) const PRIVATE: Mode = Mode::RWXU;

/// To pass through a directory, the right to list it is not needed.
#[cfg(target_os = "linux")]
const PASS: OFlags = OFlags::PATH;
#[cfg(not(target_os = "linux"))]
const PASS: OFlags = OFlags::RDONLY;

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens a directory that is there; `None` if it is not.
pub(super) fn find(dir: &Path) -> Result<Option<OwnedFd>, Error> {
    walk(dir, false).map(|found| found.map(|(handle, _)| handle))
}

/// Opens a directory, made with mode 0700 if missing, as are its parents.
/// Says whether it was made.
pub(super) fn find_or_make(dir: &Path) -> Result<(OwnedFd, bool), Error> {
    let gone = || Error::Io { path: dir.to_owned(), step: "open", source: io::ErrorKind::NotFound.into() };
    walk(dir, true)?.ok_or_else(gone)
}

/// Opens `name` in an opened directory, never through a link.
pub(super) fn open_at(at: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    fs::openat(at, name, DIRECTORY | OFlags::RDONLY, Mode::empty())
}

fn walk(dir: &Path, create: bool) -> Result<Option<(OwnedFd, bool)>, Error> {
    let fault = |path: &Path, step| {
        let path = path.to_owned();
        move |error: Errno| Error::Io { path, step, source: error.into() }
    };
    let dir = std::path::absolute(dir).map_err(|source| Error::Io { path: dir.to_owned(), step: "find", source })?;
    let mut here = PathBuf::from("/");
    let mut at = fs::open("/", DIRECTORY | PASS, Mode::empty()).map_err(fault(&here, "open"))?;
    let (mut ahead, mut links, mut made) = (steps(&dir), 0, false);
    while let Some(name) = ahead.pop_front() {
        judge(&here, &stat(&at, &here)?, true)?;
        let last = ahead.is_empty();
        let path = if name == ".." { here.parent().unwrap_or(&here).to_owned() } else { here.join(&name) };
        made = false;
        let found = match fs::statat(&at, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) if create => {
                fs::mkdirat(&at, &name, PRIVATE).map_err(fault(&path, "create"))?;
                sync_entry(&at);
                made = true;
                FileType::Directory
            }
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(fault(&path, "look at")(error)),
            Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::Symlink && !last => {
                links += 1;
                if links > MOST_LINKS {
                    return Err(fault(&path, "follow")(Errno::LOOP));
                }
                // In a sticky directory anybody can put a link, and turn it elsewhere tomorrow.
                if !trusted(&found) {
                    return Err(Error::Foreign { path });
                }
                FileType::Symlink
            }
            Ok(found) => FileType::from_raw_mode(found.st_mode),
        };
        match found {
            FileType::Symlink if !last => {
                let link = fs::readlinkat(&at, &name, Vec::new()).map_err(fault(&path, "follow"))?;
                let link = PathBuf::from(OsString::from_vec(link.into_bytes()));
                if link.is_absolute() {
                    here = PathBuf::from("/");
                    at = fs::open("/", DIRECTORY | PASS, Mode::empty()).map_err(fault(&here, "open"))?;
                }
                for step in steps(&link).into_iter().rev() {
                    ahead.push_front(step);
                }
            }
            FileType::Directory => {
                let access = if last { OFlags::RDONLY } else { PASS };
                at = fs::openat(&at, &name, DIRECTORY | access, Mode::empty()).map_err(fault(&path, "open"))?;
                here = path;
            }
            _ => return Err(Error::NotADirectory { path }),
        }
    }
    judge(&here, &stat(&at, &here)?, false)?;
    Ok(Some((at, made)))
}

fn steps(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|step| match step {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect()
}

fn stat(handle: &OwnedFd, path: &Path) -> Result<Stat, Error> {
    fs::fstat(handle).map_err(|error| Error::Io { path: path.to_owned(), step: "look at", source: error.into() })
}

/// Whether what is there is ours or root's.
pub(super) fn trusted(found: &Stat) -> bool {
    found.st_uid == rustix::process::geteuid().as_raw() || found.st_uid == 0
}

/// The permission bits, without the kind of file.
#[allow(clippy::useless_conversion, reason = "not every Unix has 32 bits there")]
pub(super) fn mode(found: &Stat) -> u32 {
    u32::from(found.st_mode) & 0o7777
}

/// Nobody but us and root may be able to put something else in this place.
/// An access list that lets somebody write shows in the group's bits.
pub(super) fn judge(path: &Path, found: &Stat, passing: bool) -> Result<(), Error> {
    let mode = mode(found);
    // In a sticky directory (/tmp) others can add names but not replace ours.
    let open = mode & 0o022 != 0 && !(passing && mode & 0o1000 != 0);
    if open || !trusted(found) {
        return Err(Error::OthersCanWrite { path: path.to_owned(), mode, owner: found.st_uid });
    }
    Ok(())
}

/// Makes a new entry durable where that is possible: not in a directory that
/// we may pass and change but not list. One that is lost is made again.
fn sync_entry(at: &OwnedFd) {
    if let Ok(dir) = open_at(at, OsStr::new(".")) {
        let _ = fs::fsync(dir);
    }
}
