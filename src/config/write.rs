//! Getting a new text of the configuration file onto the disk: one writer at a
//! time, whole or not at all, durable on return.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use super::Error;
use crate::whole_file::{self, beside, owner_only, sync_dir};

/// A file that is about to be replaced, with the lock that lets us do so.
#[derive(Debug)]
pub(super) struct Place {
    /// The file itself, never a link to it.
    file: PathBuf,
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
        Ok(Self { file, lock })
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
        whole_file::replace(&self.file, &new, text.as_bytes(), |opened| keep_rights(opened, old.as_ref()))
            .map_err(|whole_file::Error { doing, path, source }| failed(doing, &path)(source))
    }
}

/// The group and the rights of the file that was there.
fn keep_rights(new: &File, old: Option<&fs::Metadata>) -> io::Result<()> {
    let Some(old) = old else { return Ok(()) };
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, fchown};
        if new.metadata()?.gid() != old.gid() {
            fchown(new, None, Some(old.gid()))?;
        }
    }
    new.set_permissions(old.permissions())
}

fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
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
