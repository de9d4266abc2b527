//! The files and directories of the inventory, kept to their owner.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::Path,
};

use super::Error;

/// What a failed file operation means to the caller.
pub(super) fn io(doing: &'static str, path: &Path, source: io::Error) -> Error {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::Full { path },
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            Error::ReadOnly { path, reason: source.to_string() }
        }
        _ => Error::Io { doing, path, source },
    }
}

/// Makes a directory, and its missing parents, with mode 0700; refuses one
/// that somebody else could write to.
pub(super) fn make_private_dir(dir: &Path) -> Result<(), Error> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(|source| io("create", dir, source))?;
    check_owner(dir)
}

/// Opens a file of ours for reading and writing, made with mode 0600 if missing.
pub(super) fn open_private(path: &Path) -> Result<File, Error> {
    private_options().create(true).truncate(false).open(path).map_err(|source| io("open", path, source))
}

/// Makes a file that must not be there yet, with mode 0600.
pub(super) fn create_private(path: &Path) -> Result<(), Error> {
    private_options().create_new(true).open(path).map_err(|source| io("create", path, source))?;
    Ok(())
}

fn private_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        let no_follow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
        options.mode(0o600).custom_flags(no_follow);
    }
    options
}

/// Makes the entries of a directory durable.
pub(super) fn sync_dir(dir: &Path) -> Result<(), Error> {
    // Only Unix can open a directory as a file; elsewhere the rename itself has to do.
    if cfg!(unix) {
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(|source| io("sync", dir, source))?;
    }
    Ok(())
}

/// Makes the way to a directory durable, also where a run that was killed had only made it.
pub(super) fn sync_way(dir: &Path) -> Result<(), Error> {
    for above in dir.ancestors().skip(1) {
        // What cannot be opened, or has no syncs, is nothing that we made.
        match File::open(above).map(|above| above.sync_all()) {
            Ok(Err(error)) if cfg!(unix) && error.kind() != io::ErrorKind::InvalidInput => {
                return Err(io("sync", above, error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Refuses what is neither ours nor root's, what others may write to, and links.
#[cfg(unix)]
pub(super) fn check_owner(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::MetadataExt as _;

    let found = fs::symlink_metadata(path).map_err(|source| io("look at", path, source))?;
    let refuse = |reason: String| Err(Error::Unsafe { path: path.to_owned(), reason });
    let us = rustix::process::geteuid().as_raw();
    if found.is_symlink() {
        return refuse("it is a symbolic link".to_owned());
    }
    if found.uid() != us && found.uid() != 0 {
        return refuse(format!("it belongs to user {}, this is user {us}", found.uid()));
    }
    if found.mode() & 0o022 != 0 {
        return refuse(format!("others may write to it (mode {:04o})", found.mode() & 0o7777));
    }
    Ok(())
}

/// Elsewhere the profile directory's access list is what keeps others out.
#[cfg(not(unix))]
pub(super) fn check_owner(_path: &Path) -> Result<(), Error> {
    Ok(())
}
