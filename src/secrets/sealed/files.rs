//! Owner-only files: read with suspicion, written so that a kill or a full disk
//! leaves either the old or the new file, never half of one.
//!
//! On Windows, which is not tried, a file has the access rights of its directory.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use super::{
    super::{Error, Exposure},
    format::{hex, random},
};

/// Whose a file must be, and who else may be able to read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    /// Ours, and nobody else's to read.
    Ours,
    /// Ours or root's, and not for everybody: systemd gives a service its credentials
    /// through an access list, which shows as a group's bits.
    Systemd,
    /// Anybody's: the content is encrypted.
    Sealed,
}

/// The content of a regular file of at most `limit` bytes; of a longer one, `limit + 1` bytes.
/// `None` if there is no such file. The last part of the path may not be a link.
pub(super) fn read(path: &Path, guard: Guard, limit: usize) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        // Not waiting for a pipe's writer; what was opened is looked at below.
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        options.custom_flags(flags.bits().cast_signed());
    }
    let file = match options.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        #[cfg(unix)]
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Err(refused(path, guard, Exposure::Link));
        }
        Err(error) => return Err(io(path, "open")(error)),
    };
    check(path, &file.metadata().map_err(io(path, "look at"))?, guard)?;
    // Room for all of it from the start: growing would leave a copy behind.
    let mut content = Zeroizing::new(Vec::with_capacity(limit + 2));
    file.take(limit as u64 + 1).read_to_end(&mut content).map_err(io(path, "read"))?;
    Ok(Some(content))
}

fn check(path: &Path, found: &fs::Metadata, guard: Guard) -> Result<(), Error> {
    let refuse = |exposure| Err(refused(path, guard, exposure));
    if !found.is_file() {
        return refuse(Exposure::NotAFile);
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let owner = found.uid();
        let ours = owner == rustix::process::geteuid().as_raw();
        let mode = found.mode() & 0o7777;
        let (may_own, forbidden) = match guard {
            Guard::Ours => (ours, 0o077),
            Guard::Systemd => (ours || owner == 0, 0o007),
            Guard::Sealed => (true, 0),
        };
        if !may_own {
            return refuse(Exposure::Owner(owner));
        }
        if mode & forbidden != 0 {
            return refuse(Exposure::Mode(mode));
        }
    }
    Ok(())
}

fn refused(path: &Path, guard: Guard, exposure: Exposure) -> Error {
    let path = path.to_owned();
    match guard {
        Guard::Ours | Guard::Systemd => Error::SealKeyUnsafe { path, exposure },
        // A link or a pipe where only we put files.
        Guard::Sealed => Error::Damaged { path },
    }
}

/// Makes `path` hold `content`, replacing what was there.
pub(super) fn replace(path: &Path, content: &[u8]) -> Result<(), Error> {
    let temporary = Temporary::write(path, content)?;
    fs::rename(&temporary.0, path).map_err(io(path, "replace"))?;
    sync_directory(directory_of(path))
}

/// Makes `path` with `content` unless it is there already; what is there stays.
pub(super) fn create_once(path: &Path, content: &[u8]) -> Result<(), Error> {
    let temporary = Temporary::write(path, content)?;
    // A link, not a rename: of two first runs at once, one key must win for both.
    match fs::hard_link(&temporary.0, path) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        // The other run that won has tidied up already.
        Err(error) if error.kind() == ErrorKind::NotFound && path.exists() => {}
        Err(error) => return Err(io(path, "create")(error)),
    }
    sync_directory(directory_of(path))?;
    tidy(path)
}

/// Removes what killed runs of [`create_once`] left beside a file that is there
/// now: copies of a key, perhaps of the one in use.
pub(super) fn tidy(path: &Path) -> Result<(), Error> {
    let leftovers = leftovers(path)?;
    if !leftovers.is_empty() {
        // The killed run may not have come to make the file's own name durable.
        sync_directory(directory_of(path))?;
    }
    leftovers.iter().try_for_each(|leftover| unlink(leftover).map(drop))
}

/// Removes `path`, and what a killed [`replace`] of it may have left.
pub(super) fn remove(path: &Path) -> Result<(), Error> {
    let directory = directory_of(path);
    let removed = unlink(path)?;
    let leftovers = leftovers(path)?;
    for leftover in &leftovers {
        unlink(leftover)?;
    }
    if removed || !leftovers.is_empty() { sync_directory(directory) } else { Ok(()) }
}

/// Makes a directory and what is missing above it, for the owner only; durable
/// on return, also where a run that was killed had only made it.
pub(super) fn create_directory(path: &Path) -> Result<(), Error> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(io(path, "create"))?;
    sync_way(path)
}

/// The files of a directory; none if it is not there.
pub(super) fn list(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    match fs::read_dir(directory) {
        Ok(entries) => entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<_>>()
            .map_err(io(directory, "list")),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(io(directory, "list")(error)),
    }
}

/// A complete, synced file under a name nobody looks for; removed when dropped.
struct Temporary(PathBuf);

impl Temporary {
    fn write(path: &Path, content: &[u8]) -> Result<Self, Error> {
        let mut suffix = [0; 8];
        random(&mut suffix)?;
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}.tmp", hex(&suffix)));
        let name = PathBuf::from(name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&name).map_err(io(&name, "create"))?;
        let temporary = Self(name);
        file.write_all(content).map_err(io(path, "write"))?;
        file.sync_all().map_err(io(path, "sync"))?;
        Ok(temporary)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Gone already after a rename; a failure to remove it has a failure before it.
        let _ = fs::remove_file(&self.0);
    }
}

fn leftovers(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let Some(name) = path.file_name() else { return Ok(Vec::new()) };
    let mut of_this = list(directory_of(path))?;
    of_this.retain(|other| {
        other.extension().is_some_and(|extension| extension == "tmp")
            && other.file_name().is_some_and(|other| {
                other
                    .as_encoded_bytes()
                    .strip_prefix(name.as_encoded_bytes())
                    .is_some_and(|rest| rest.starts_with(b"."))
            })
    });
    Ok(of_this)
}

fn unlink(path: &Path) -> Result<bool, Error> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io(path, "remove")(error)),
    }
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    }
}

#[cfg(unix)]
fn sync_directory(directory: &Path) -> Result<(), Error> {
    fs::File::open(directory).and_then(|opened| opened.sync_all()).map_err(io(directory, "sync"))
}

/// Windows syncs no directories.
#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps, reason = "the other platform's can fail")]
fn sync_directory(_: &Path) -> Result<(), Error> {
    Ok(())
}

/// Makes the way to a directory durable.
fn sync_way(directory: &Path) -> Result<(), Error> {
    for above in directory.ancestors().skip(1) {
        // What cannot be opened, or has no syncs, is nothing that we made.
        match fs::File::open(above).map(|opened| opened.sync_all()) {
            Ok(Err(error)) if cfg!(unix) && error.kind() != ErrorKind::InvalidInput => {
                return Err(io(above, "sync")(error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn io(path: &Path, step: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| Error::Io { path: path.to_owned(), step, source }
}
