//! Getting a new text of the configuration file onto the disk: one writer at a
//! time, whole or not at all, durable on return.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::Error;

/// A file that is about to be replaced, with the lock that lets us do so.
#[derive(Debug)]
pub(super) struct Place {
    /// The file itself, never a link to it.
    file: PathBuf,
    dir: PathBuf,
    /// `None` where we may not write. Held until the place is dropped.
    lock: Option<File>,
}

/// Why the file was not replaced.
pub(super) enum Failed {
    /// This user may not write it.
    ReadOnly,
    /// The disk failed.
    Io { doing: &'static str, path: PathBuf, source: io::Error },
}

impl Place {
    /// Finds the file behind `path`, creates its directory and takes its lock.
    pub(super) fn lock(path: &Path) -> Result<Self, Error> {
        let io = |doing, path: &Path| {
            let path = path.to_owned();
            move |source| Error::Io { doing, path, source }
        };
        let file = match path.canonicalize() {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => {
                std::path::absolute(path).map_err(io("find", path))?
            }
            found => found.map_err(io("follow", path))?,
        };
        let dir = file.parent().unwrap_or(Path::new("/")).to_owned();
        let lock = match create_dir(&dir).and_then(|()| owner_only().create(true).open(beside(&file, "lock"))) {
            Ok(lock) => {
                // The kernel drops the lock with the process, so none is ever left behind.
                lock.lock().map_err(io("lock", &file))?;
                Some(lock)
            }
            Err(error) if is_read_only(&error) => None,
            Err(error) => return Err(io("lock", &file)(error)),
        };
        Ok(Self { file, dir, lock })
    }

    /// Puts `text` in the place of the file.
    pub(super) fn replace(&self, text: &str) -> Result<(), Failed> {
        let failed = |doing, path: &Path| {
            let path = path.to_owned();
            move |source: io::Error| {
                if is_read_only(&source) { Failed::ReadOnly } else { Failed::Io { doing, path, source } }
            }
        };
        if self.lock.is_none() {
            return Err(Failed::ReadOnly);
        }
        let old = match fs::metadata(&self.file) {
            Ok(old) => Some(old),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed("look at", &self.file)(error)),
        };
        if let Some(old) = &old {
            // Renaming over it would work, but somebody took the right to write away.
            if old.permissions().readonly() {
                return Err(Failed::ReadOnly);
            }
            OpenOptions::new().write(true).open(&self.file).map_err(failed("open", &self.file))?;
        }
        let new = beside(&self.file, "new");
        // Left by a process that ended halfway; nobody else writes it while we hold the lock.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &new)(error)),
            _ => {}
        }
        write(&new, text, old.as_ref())
            .map_err(failed("write", &new))
            .and_then(|()| fs::rename(&new, &self.file).map_err(failed("replace", &self.file)))
            .inspect_err(|_| drop(fs::remove_file(&new)))?;
        sync_dir(&self.dir).map_err(failed("sync", &self.dir))
    }
}

fn write(path: &Path, text: &str, old: Option<&fs::Metadata>) -> io::Result<()> {
    let mut file = owner_only().create_new(true).open(path)?;
    file.write_all(text.as_bytes())?;
    if let Some(old) = old {
        #[cfg(unix)]
        {
            use std::os::unix::fs::{MetadataExt, fchown};
            if file.metadata()?.gid() != old.gid() {
                fchown(&file, None, Some(old.gid()))?;
            }
        }
        file.set_permissions(old.permissions())?;
    }
    file.sync_all()
}

/// `.NAME.SUFFIX` in the directory of the file.
fn beside(file: &Path, suffix: &str) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    file.with_file_name(format!(".{name}.{suffix}"))
}

fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

/// For writing, with mode 0600 from the first instant where there are modes.
fn owner_only() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Creates the directory and those above it, mode 0700, durably.
fn create_dir(dir: &Path) -> io::Result<()> {
    let missing: Vec<_> = dir.ancestors().take_while(|dir| !dir.exists()).collect();
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)?;
    missing.into_iter().filter_map(Path::parent).try_for_each(sync_dir)
}

/// Makes the names in a directory durable, where a directory can be opened.
fn sync_dir(dir: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(dir)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = dir;
    Ok(())
}
