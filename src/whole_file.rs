//! A file that appears whole or not at all.
//!
//! Owns the order in which that is so: a new file beside the old one, all its
//! bytes, its rights, the disk, one rename, the directory. Leaves out who may
//! write where. After any failure the old file is as it was, and the new one is
//! gone; only a process that is killed leaves it, under its own name.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// Why the file was not replaced.
#[derive(Debug, thiserror::Error)]
#[error("could not {doing} {}", path.display())]
pub struct Error {
    /// What was being done, for example `write`.
    pub doing: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// The operating system's reason.
    pub source: io::Error,
}

impl Error {
    /// What a person can do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self.source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some space on that disk",
            io::ErrorKind::NotFound => "make the directory first, or name another",
            io::ErrorKind::PermissionDenied => "run as a user who may write that directory, or name another",
            io::ErrorKind::ReadOnlyFilesystem => "name a directory on a disk that can be written",
            io::ErrorKind::InvalidInput => "name a file, not a link, a directory or a device",
            _ => return None,
        })
    }
}

/// Puts `bytes` in the place of `file`, by way of `new` in the same directory, which must not be there. `prepare`
/// gives the new file, which is its owner's alone at first, the rights it is to have.
///
/// # Errors
/// What could not be done; `file` is as it was, but for the last step: that the directory reached the disk.
pub fn replace(
    file: &Path,
    new: &Path,
    bytes: &[u8],
    prepare: impl FnOnce(&File) -> io::Result<()>,
) -> Result<(), Error> {
    let at = |doing, path: &Path| {
        let path = path.to_owned();
        move |source| Error { doing, path, source }
    };
    let mut opened = owner_only().create_new(true).open(new).map_err(at("create", new))?;
    opened
        .write_all(bytes)
        .and_then(|()| prepare(&opened))
        .and_then(|()| opened.sync_all())
        .map_err(at("write", new))
        .and_then(|()| fs::rename(new, file).map_err(at("replace", file)))
        .inspect_err(|_| drop(fs::remove_file(new)))?;
    let dir = directory_of(file);
    sync_dir(dir).map_err(at("sync", dir))
}

/// Puts `bytes` in the place of `file` for everybody to read, whatever the umask. What is there already must be an
/// ordinary file: a link is not followed and not replaced.
///
/// # Errors
/// What could not be done, as [`replace`].
pub fn publish(file: &Path, bytes: &[u8]) -> Result<(), Error> {
    let at = |doing, path: &Path, source| Error { doing, path: path.to_owned(), source };
    match fs::symlink_metadata(file) {
        Ok(there) if there.is_file() => {}
        Ok(_) => {
            return Err(at("replace", file, io::Error::new(io::ErrorKind::InvalidInput, "it is no ordinary file")));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(at("look at", file, error)),
    }
    // The process's number keeps two writers apart; one that is there was left by a process that was killed.
    let new = beside(file, &format!("{}.new", std::process::id()));
    match replace(file, &new, bytes, readable) {
        Err(Error { doing: "create", source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(&new).map_err(|error| at("remove", &new, error))?;
            replace(file, &new, bytes, readable)
        }
        ended => ended,
    }
}

/// For everybody to read, and its owner to write.
fn readable(file: &File) -> io::Result<()> {
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    #[cfg(not(unix))]
    let _ = file;
    Ok(())
}

/// `.NAME.SUFFIX` in the directory of the file.
#[must_use]
pub fn beside(file: &Path, suffix: &str) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    file.with_file_name(format!(".{name}.{suffix}"))
}

/// For writing, with mode 0600 from the first instant where there are modes.
#[must_use]
pub fn owner_only() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Makes the names in a directory durable, where a directory can be opened.
///
/// # Errors
/// The operating system's.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(dir)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = dir;
    Ok(())
}

fn directory_of(file: &Path) -> &Path {
    file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn everybody_may_read_what_is_published_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("robocred.prom");
        // Left by a process of the same number.
        fs::write(beside(&file, &format!("{}.new", std::process::id())), "half").unwrap();
        for text in ["one", "two"] {
            publish(&file, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
            assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
            assert_eq!(names(dir.path()), ["robocred.prom"]);
        }
    }

    #[test]
    fn what_is_no_ordinary_file_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("target");
        fs::write(&target, "precious").unwrap();
        let check = |name: &str| {
            let error = publish(&dir.path().join(name), b"new").unwrap_err();
            assert!(error.to_string().starts_with("could not replace ") && error.hint().is_some(), "{error}");
        };
        symlink(&target, dir.path().join("link")).unwrap();
        symlink("nowhere", dir.path().join("dangling")).unwrap();
        fs::create_dir(dir.path().join("directory")).unwrap();
        for name in ["link", "dangling", "directory"] {
            check(name);
        }
        assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
        assert_eq!(names(dir.path()), ["dangling", "directory", "link", "target"]);
    }

    #[test]
    fn after_a_failure_the_old_file_is_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "old").unwrap();
        let refuse = |_: &File| Err(io::Error::from(io::ErrorKind::StorageFull));
        let error = replace(&file, &beside(&file, "new"), b"new", refuse).unwrap_err();
        assert_eq!((error.doing, error.hint()), ("write", Some("free some space on that disk")));
        assert_eq!((fs::read_to_string(&file).unwrap().as_str(), names(dir.path())), ("old", vec!["file".to_owned()]));

        let missing = publish(&dir.path().join("none/file"), b"new").unwrap_err();
        assert_eq!((missing.doing, missing.source.kind()), ("create", io::ErrorKind::NotFound));
    }
}
