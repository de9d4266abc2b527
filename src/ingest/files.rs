//! The files of a run: a hidden name while it runs, then a final one.
//!
//! Owns names, permissions, durability and what is left after a failure. A
//! run called STEM (`assets-20261122T191132Z`) writes `.STEM.ndjson.part`,
//! mode 0600 and locked, and ends in this order: data on the disk, manifest on
//! the disk, manifest renamed to `STEM.manifest.json`, data renamed to
//! `STEM.ndjson`. So data under its final name always has its manifest. Data
//! that may not be all there is becomes `STEM.ndjson.incomplete`, a name that
//! no `*.ndjson` matches.
//!
//! A run that fails removes what it wrote; what a killed run left is removed by
//! the next one. Nothing an appliance says becomes part of a name.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

use time::{OffsetDateTime, UtcOffset, macros::format_description};

use super::Error;
use crate::site::{Format, Stream};

const PART: &str = ".part";

/// The data file of a run that is not over. Dropped, it is removed.
pub(super) struct Part {
    dir: PathBuf,
    stem: String,
    format: Format,
    file: File,
    over: bool,
}

impl Part {
    /// Makes and judges the directory, removes what killed runs left there,
    /// and begins a file of its own.
    pub(super) fn create(dir: &Path, stream: Stream, format: Format, now: OffsetDateTime) -> Result<Self, Error> {
        let dir = directory(dir)?;
        sweep(&dir, stream, format);
        let time = now
            .to_offset(UtcOffset::UTC)
            .format(format_description!("[year][month][day]T[hour][minute][second]Z"))
            .expect("a date in UTC has all of these parts");
        let mut number = 1_u32;
        loop {
            let stem = match number {
                1 => format!("{stream}-{time}"),
                _ => format!("{stream}-{time}-{number}"),
            };
            let path = dir.join(part_name(&stem, format.as_str()));
            let at = |source| Error::Output { path: path.clone(), step: "create", source };
            if let Some(file) = reserve(&path).map_err(at)? {
                let part = Self { dir: dir.clone(), stem, format, file, over: false };
                // The part file keeps others off this stem, so that what is free now stays free.
                if !has_data(&dir, &part.stem, format) {
                    return Ok(part);
                }
            }
            number += 1;
        }
    }

    /// Where the data goes meanwhile.
    pub(super) fn path(&self) -> PathBuf {
        self.dir.join(part_name(&self.stem, self.format.as_str()))
    }

    /// The file to write to.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// The name the data will have.
    pub(super) fn data_name(&self, complete: bool) -> String {
        data_name(&self.stem, self.format, complete)
    }

    /// Gives data and manifest their final names. Returns the paths of both.
    pub(super) fn keep(mut self, complete: bool, manifest: &[u8]) -> Result<(PathBuf, PathBuf), Error> {
        let part = self.path();
        let data = self.dir.join(self.data_name(complete));
        let beside = self.dir.join(manifest_name(&self.stem));
        self.file.sync_all().map_err(failed("sync", &part))?;
        fail::fail_point!("ingest.before-manifest");
        put(&self.dir.join(part_name(&self.stem, "manifest.json")), &beside, manifest)?;
        fail::fail_point!("ingest.before-rename");
        let renamed = fs::rename(&part, &data).map_err(failed("rename to", &data));
        if renamed.is_err() {
            // A manifest without its data would speak of a file that is not there.
            let _ = fs::remove_file(&beside);
        }
        renamed?;
        self.over = true;
        sync_directory(&self.dir).map_err(failed("sync", &self.dir))?;
        Ok((data, beside))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.over {
            // Left in place it would be removed by the next run.
            let _ = fs::remove_file(self.path());
        }
    }
}

fn part_name(stem: &str, extension: &str) -> String {
    format!(".{stem}.{extension}{PART}")
}

fn data_name(stem: &str, format: Format, complete: bool) -> String {
    if complete { format!("{stem}.{format}") } else { format!("{stem}.{format}.incomplete") }
}

/// Whether a run of this name came to its end.
fn has_data(dir: &Path, stem: &str, format: Format) -> bool {
    [true, false].iter().any(|&complete| fs::symlink_metadata(dir.join(data_name(stem, format, complete))).is_ok())
}

fn manifest_name(stem: &str) -> String {
    format!("{stem}.manifest.json")
}

fn failed(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Output { path, step, source }
}

/// Writes a small file whole under its final name.
fn put(part: &Path, path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let taken = || io::Error::from(io::ErrorKind::AlreadyExists);
    let mut file = reserve(part).and_then(|file| file.ok_or_else(taken)).map_err(failed("create", part))?;
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(failed("write", part))
        .and_then(|()| fs::rename(part, path).map_err(failed("rename to", path)));
    if written.is_err() {
        let _ = fs::remove_file(part);
    }
    written
}

/// A new file of ours under this name, locked for as long as it is open;
/// `None` if the name is taken.
fn reserve(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = match options.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
        Err(error) => return Err(error),
    };
    // Between creating and locking it, another run may take it for one that a killed run left.
    match file.try_lock() {
        Ok(()) => Ok((!gone(&file)?).then_some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => {
            let _ = fs::remove_file(path);
            Err(error)
        }
    }
}

#[cfg(unix)]
fn gone(file: &File) -> io::Result<bool> {
    Ok(std::os::unix::fs::MetadataExt::nlink(&file.metadata()?) == 0)
}

#[cfg(not(unix))]
fn gone(_file: &File) -> io::Result<bool> {
    Ok(false)
}

/// Removes what runs that are no more left of this stream: part files that
/// nobody holds, with the manifest that was to stand beside such data.
fn sweep(dir: &Path, stream: Stream, format: Format) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    let ours = format!(".{stream}-");
    let data = format!(".{format}{PART}");
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| name.starts_with(&ours) && name.ends_with(PART)) else {
            continue;
        };
        let path = entry.path();
        let Some(_held) = entry.file_type().is_ok_and(|kind| kind.is_file()).then(|| hold(&path)).flatten() else {
            continue;
        };
        if let Some(stem) = name[1..].strip_suffix(&data) {
            if has_data(dir, stem, format) {
                // It came to its end since the directory was listed, and its manifest is in its place.
                continue;
            }
            let _ = fs::remove_file(dir.join(manifest_name(stem)));
        }
        let removed = fs::remove_file(&path);
        tracing::debug!(path = %path.display(), done = removed.is_ok(), "removing what a killed run left");
    }
}

/// A file that no run holds, held.
fn hold(path: &Path) -> Option<File> {
    File::open(path).ok().filter(|file| file.try_lock().is_ok())
}

/// The directory as an absolute path without links, made if missing.
fn directory(dir: &Path) -> Result<PathBuf, Error> {
    let unsafe_ = |reason: String| Error::Unsafe { path: dir.to_owned(), reason };
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(dir) {
        Ok(()) => {}
        Err(error) if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory) => {
            return Err(unsafe_("it is not a directory".to_owned()));
        }
        Err(source) => return Err(failed("create", dir)(source)),
    }
    let real = fs::canonicalize(dir).map_err(failed("resolve", dir))?;
    let found = fs::metadata(&real).map_err(failed("look at", &real))?;
    others_can_write(&found).map_or(Ok(real), |reason| Err(unsafe_(reason)))
}

/// How somebody other than us and root could put files there, if they could.
#[cfg(unix)]
fn others_can_write(found: &fs::Metadata) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let owner = found.uid();
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Some(format!("it belongs to another user ({owner})"));
    }
    (found.mode() & 0o022 != 0).then(|| format!("others can write to it (mode {:04o})", found.mode() & 0o7777))
}

#[cfg(not(unix))]
fn others_can_write(_found: &fs::Metadata) -> Option<String> {
    None
}

#[cfg(unix)]
fn sync_directory(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(not(unix))]
fn sync_directory(_dir: &Path) -> io::Result<()> {
    Ok(())
}
