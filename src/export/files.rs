//! The files of one credential in a directory that other programs read.
//!
//! Owns the layout: `DIR/.gN/{key,cert,combined}.pem`, `DIR/current → .gN`
//! switched by one rename, and `DIR/key.pem`, `DIR/cert.pem`,
//! `DIR/combined.pem` as fixed links through `current`. A file in `.gN` only
//! ever has one content: another pair under the same number is refused, not
//! replaced. So whoever opens `combined.pem`, or resolves `current` once, sees
//! one generation or the other, never a mix. On failure the pair that was
//! current stays current; bytes that are already right are not rewritten.

mod forget;
mod way;

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
};

use rustix::{
    fs::{self, AtFlags, FileType, Gid, Mode, OFlags},
    io::Errno,
};

use super::{Contents, Error, FILES};
use crate::{credential::Generation, site::ExportTarget};

pub(super) use forget::forget;

/// The link to the generation in use.
const CURRENT: &str = "current";

/// Brings the pair into `target`. Returns whether anything had to be written.
pub(super) fn write(target: &ExportTarget, generation: Generation, contents: &Contents<'_>) -> Result<bool, Error> {
    Folder::find_or_make(target)?.write(&name_of(generation), contents)
}

/// Whether `target` holds exactly this pair as its current one, as `write`
/// would leave it. Writes nothing.
pub(super) fn holds(target: &ExportTarget, generation: Generation, contents: &Contents<'_>) -> bool {
    let look = || match Folder::find(target)? {
        Some(folder) => folder.holds(&name_of(generation), contents),
        None => Ok(false),
    };
    // What cannot be looked at is not held; writing says why.
    look().unwrap_or(false)
}

fn name_of(generation: Generation) -> String {
    format!(".g{generation}")
}

/// An opened directory; everything below happens relative to it, so that a
/// directory swapped meanwhile changes nothing.
struct Folder<'a> {
    handle: OwnedFd,
    path: PathBuf,
    target: &'a ExportTarget,
    group: Option<Gid>,
}

/// What is under a name in `.gN`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    /// The right bytes, under a name or with rights that are not as they should be.
    Exposed,
    Right,
}

impl<'a> Folder<'a> {
    fn find(target: &'a ExportTarget) -> Result<Option<Self>, Error> {
        let group = target.group.as_deref().map(group_id).transpose()?;
        let folder = |handle| Self { handle, path: target.dir.clone(), target, group };
        Ok(way::find(&target.dir)?.map(folder))
    }

    fn find_or_make(target: &'a ExportTarget) -> Result<Self, Error> {
        let group = target.group.as_deref().map(group_id).transpose()?;
        let (handle, made) = way::find_or_make(&target.dir)?;
        let folder = Self { handle, path: target.dir.clone(), target, group };
        // A directory that was there keeps the rights its owner gave it.
        if made {
            folder.own(&folder.handle, folder_mode(target))?;
        }
        Ok(folder)
    }

    fn write(&self, name: &str, contents: &Contents<'_>) -> Result<bool, Error> {
        // Everything that is refused is refused here, before anything is written.
        self.current()?;
        for file in FILES {
            self.file_link(file)?;
        }
        let pair = self.pair(name)?;
        if let Some(pair) = &pair {
            contents.each().try_for_each(|(file, bytes)| pair.look(file, bytes).map(drop))?;
        }

        let pair = match pair {
            Some(pair) => pair,
            None => self.make_pair(name)?,
        };
        pair.own(&pair.handle, folder_mode(self.target))?;
        let mut changed = false;
        for (file, bytes) in contents.each() {
            changed |= pair.put(file, bytes)?;
        }
        fail::fail_point!("export.before-switch");
        let current = self.current()?;
        changed |= self.link(CURRENT, current.as_deref(), name)?;
        fail::fail_point!("export.after-switch");
        for file in FILES {
            let there = self.file_link(file)?;
            changed |= self.link(file, there.as_deref(), &through_current(file))?;
        }
        self.sync()?;
        Ok(changed)
    }

    fn holds(&self, name: &str, contents: &Contents<'_>) -> Result<bool, Error> {
        let Some(pair) = self.pair(name)? else { return Ok(false) };
        let mut holds = self.current()?.as_deref() == Some(name);
        for (file, bytes) in contents.each() {
            holds &= self.file_link(file)?.is_some() && pair.look(file, bytes)? == Found::Right;
        }
        Ok(holds)
    }

    /// What `current` points to; `None` if there is none.
    fn current(&self) -> Result<Option<String>, Error> {
        self.our_link(CURRENT, is_generation)
    }

    /// What one of the fixed links points to; `None` if there is none.
    fn file_link(&self, file: &str) -> Result<Option<String>, Error> {
        self.our_link(file, |link| link == through_current(file))
    }

    fn our_link(&self, name: &str, accept: impl Fn(&str) -> bool) -> Result<Option<String>, Error> {
        let read = |name: &str| {
            let link = match fs::readlinkat(&self.handle, name, Vec::new()) {
                Ok(link) => link.into_string().ok().filter(|link| accept(link)),
                Err(Errno::NOENT) => return Ok(None),
                Err(_) => None,
            };
            link.map(Some).ok_or_else(|| Error::Foreign { path: self.path.join(name) })
        };
        // Only a killed run of ours leaves something under this name.
        read(&link_in_the_making(name))?;
        read(name)
    }

    /// The folder of a generation, if it is there and ours alone.
    fn pair(&self, name: &str) -> Result<Option<Folder<'a>>, Error> {
        let path = self.path.join(name);
        let handle = match way::open_at(&self.handle, OsStr::new(name)) {
            Ok(handle) => handle,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP | Errno::NOTDIR) => return Err(Error::Foreign { path }),
            Err(error) => return Err(self.fault(name, "open", error)),
        };
        let found = fs::fstat(&handle).map_err(|error| self.fault(name, "look at", error))?;
        if found.st_uid != rustix::process::geteuid().as_raw() {
            return Err(Error::Foreign { path });
        }
        way::judge(&path, &found, false)?;
        Ok(Some(Folder { handle, path, target: self.target, group: self.group }))
    }

    fn make_pair(&self, name: &str) -> Result<Folder<'a>, Error> {
        fs::mkdirat(&self.handle, name, way::PRIVATE).map_err(|error| self.fault(name, "create", error))?;
        // Before anything points to it.
        self.sync()?;
        self.pair(name)?.ok_or_else(|| self.fault(name, "open", Errno::NOENT))
    }

    /// What is under a name of a pair's folder.
    fn look(&self, name: &str, bytes: &[u8]) -> Result<Found, Error> {
        // Not waiting for a pipe's writer; what was opened is looked at below.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::RDONLY;
        let handle = match fs::openat(&self.handle, name, flags, Mode::empty()) {
            Ok(handle) => handle,
            Err(Errno::NOENT) => return Ok(Found::Nothing),
            Err(Errno::LOOP | Errno::NXIO) => return Err(Error::Foreign { path: self.path.join(name) }),
            Err(error) => return Err(self.fault(name, "open", error)),
        };
        let found = fs::fstat(&handle).map_err(|error| self.fault(name, "look at", error))?;
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return Err(Error::Foreign { path: self.path.join(name) });
        }
        // Room for all of it from the start: growing would leave a copy behind.
        let mut have = zeroize::Zeroizing::new(Vec::with_capacity(bytes.len() + 2));
        let read = File::from(handle).take(bytes.len() as u64 + 1).read_to_end(&mut have);
        read.map_err(|source| Error::Io { path: self.path.join(name), step: "read", source })?;
        if **have != *bytes {
            return Err(Error::OtherPair { path: self.path.join(name) });
        }
        let right = way::mode(&found) == self.target.mode
            // Another name would keep the key when this one is removed.
            && found.st_nlink == 1
            && found.st_uid == rustix::process::geteuid().as_raw()
            && self.group.is_none_or(|group| group.as_raw() == found.st_gid);
        Ok(if right { Found::Right } else { Found::Exposed })
    }

    /// Writes `bytes` as `name`: temporary name, rights before content, sync, rename, sync.
    fn put(&self, name: &str, bytes: &[u8]) -> Result<bool, Error> {
        let temporary = format!(".{name}.tmp");
        // Left by a run that was killed here; never anybody's current file.
        self.remove(&temporary)?;
        if self.look(name, bytes)? == Found::Right {
            return Ok(false);
        }
        let written = self.write_new(&temporary, bytes).and_then(|()| {
            fail::fail_point!("export.written");
            fs::renameat(&self.handle, &temporary, &self.handle, name)
                .map_err(|error| self.fault(name, "rename to", error))
        });
        if let Err(error) = written {
            // What cannot be removed now is removed by the next run.
            let _ = self.remove(&temporary);
            return Err(error);
        }
        self.sync()?;
        Ok(true)
    }

    fn write_new(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let mut file = self.create(name)?;
        self.own(&file, Mode::from_raw_mode(self.target.mode as fs::RawMode))?;
        fail::fail_point!("export.created");
        let fault = |source| Error::Io { path: self.path.join(name), step: "write", source };
        let (first, rest) = bytes.split_at(bytes.len() / 2);
        file.write_all(first).map_err(fault)?;
        fail::fail_point!("export.part-written");
        file.write_all(rest).and_then(|()| file.sync_all()).map_err(fault)
    }

    /// A new file, its owner's alone from its first instant.
    fn create(&self, name: &str) -> Result<File, Error> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::WRONLY;
        let made = fs::openat(&self.handle, name, flags, Mode::RUSR | Mode::WUSR);
        made.map(File::from).map_err(|error| self.fault(name, "create", error))
    }

    /// Makes `name`, which is `there` now, a link to `to` by one rename.
    fn link(&self, name: &str, there: Option<&str>, to: &str) -> Result<bool, Error> {
        let temporary = link_in_the_making(name);
        self.remove(&temporary)?;
        if there == Some(to) {
            return Ok(false);
        }
        fs::symlinkat(to, &self.handle, &temporary).map_err(|error| self.fault(&temporary, "create", error))?;
        let switched = fs::renameat(&self.handle, &temporary, &self.handle, name);
        switched.map_err(|error| self.fault(name, "switch", error))?;
        self.sync()?;
        Ok(true)
    }

    fn remove(&self, name: &str) -> Result<(), Error> {
        match fs::unlinkat(&self.handle, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(self.fault(name, "remove", error)),
        }
    }

    /// Gives a file or folder of ours the rights that are configured, and no others.
    fn own(&self, handle: impl AsFd, mode: Mode) -> Result<(), Error> {
        let fault = |error: Errno| self.fault("", "set the rights of", error);
        let found = fs::fstat(&handle).map_err(fault)?;
        // An access list inherited from the directory would come into force with the group's bits.
        #[cfg(target_os = "linux")]
        match fs::fremovexattr(&handle, "system.posix_acl_access") {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(fault(error)),
        }
        if let Some(group) = self.group.filter(|group| group.as_raw() != found.st_gid) {
            fs::fchown(&handle, None, Some(group)).map_err(fault)?;
        }
        fs::fchmod(&handle, mode).map_err(fault)
    }

    fn sync(&self) -> Result<(), Error> {
        fs::fsync(&self.handle).map_err(|error| self.fault("", "sync", error))
    }

    fn fault(&self, name: &str, step: &'static str, error: Errno) -> Error {
        let path = if name.is_empty() { self.path.clone() } else { self.path.join(name) };
        Error::Io { path, step, source: io::Error::from(error) }
    }
}

fn link_in_the_making(name: &str) -> String {
    format!(".{name}.link")
}

fn through_current(file: &str) -> String {
    format!("{CURRENT}/{file}")
}

fn is_generation(link: &str) -> bool {
    link.strip_prefix(".g").is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// A group that may read the files may also enter the folders.
fn folder_mode(target: &ExportTarget) -> Mode {
    let readers = target.mode & 0o044;
    Mode::from_raw_mode((0o700 | readers | readers >> 2) as fs::RawMode)
}

/// The number of a group, given by number or by its name in the group file of
/// this machine; directory services are not asked.
fn group_id(name: &str) -> Result<Gid, Error> {
    let named = || {
        let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
        groups.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(name)).then(|| fields.nth(1)?.parse::<u32>().ok())?
        })
    };
    // The last number means "leave the group alone" to the operating system.
    let number = name.parse().ok().or_else(named).filter(|number| *number != u32::MAX);
    number.map(Gid::from_raw).ok_or_else(|| Error::NoGroup { group: name.to_owned() })
}

#[cfg(test)]
mod tests;
