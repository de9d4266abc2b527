//! The files of a run: a hidden name while it runs, then a final one.
//!
//! Owns permissions, durability and what is left after a failure; what is
//! called how (`names`), which file is the latest (`latest`), and which older
//! ones go (`retention`). A run called STEM (`assets-20261122T191132Z`) writes
//! `.STEM.part`, mode 0600 and locked, and ends in this order: data on the
//! disk, manifest on the disk, manifest renamed to `STEM.manifest.json`, data
//! renamed to `STEM.ndjson`, the link in `latest/` switched, older files
//! removed. So data under its final name always has its manifest. Data that
//! may not be all there is becomes `STEM.ndjson.incomplete`, a name that no
//! `*.ndjson` matches, and neither that nor mere changes become the latest.
//!
//! A run that fails before the last rename removes what it wrote; after it the
//! error names the data that stands; what a killed run left is removed by
//! the next one. Nothing an appliance says becomes part of a name, and no link
//! is followed out of the directory.

mod latest;
mod names;
mod retention;

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::Error;
use crate::site::{Keep, RobotId};
use names::{EXTENSIONS, Name};
pub(super) use names::{Stem, extension};

/// The data file of a run that is not over. Dropped, it is removed.
pub(super) struct Part {
    dir: PathBuf,
    stem: Stem,
    extension: &'static str,
    file: File,
    over: bool,
}

impl Part {
    /// Makes and judges the directory, removes what killed runs left there,
    /// and begins a file of its own: of `stem`, or the next one that is free.
    pub(super) fn create(dir: &Path, stem: Stem, extension: &'static str) -> Result<Self, Error> {
        let dir = directory(dir)?;
        latest::check(&dir, stem, extension)?;
        sweep(&dir, stem);
        let mut stem = behind(&dir, stem);
        loop {
            let path = dir.join(stem.part());
            let at = |source| Error::Output { path: path.clone(), step: "create", source };
            if let Some(file) = reserve(&path).map_err(at)? {
                let part = Self { dir: dir.clone(), stem, extension, file, over: false };
                // The part file keeps others off this stem, so that what is free now stays free.
                if !has_data(&dir, stem) {
                    return Ok(part);
                }
            }
            stem = stem.next();
        }
    }

    /// The directory, without links.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the data goes meanwhile.
    pub(super) fn path(&self) -> PathBuf {
        self.dir.join(self.stem.part())
    }

    /// The file to write to.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// The name the data will have.
    pub(super) fn data_name(&self, complete: bool) -> String {
        self.stem.data(self.extension, complete)
    }

    /// Gives data and manifest their final names, makes whole data the latest,
    /// and removes what `keep` does not keep of this robot's older files.
    /// Returns the paths of both.
    ///
    /// # Errors
    /// Nothing of the run is left then, except with [`Error::NotSynced`] and [`Error::NotLatest`].
    pub(super) fn keep(
        mut self,
        complete: bool,
        manifest: &[u8],
        robot: &RobotId,
        keep: Option<Keep>,
    ) -> Result<(PathBuf, PathBuf), Error> {
        let part = self.path();
        let name = self.data_name(complete);
        let data = self.dir.join(&name);
        let beside = self.dir.join(self.stem.manifest());
        self.file.sync_all().map_err(failed("sync", &part))?;
        fail::fail_point!("ingest.before-manifest");
        put(&self.dir.join(self.stem.manifest_part()), &beside, manifest)?;
        fail::fail_point!("ingest.before-rename");
        let renamed = fs::rename(&part, &data).map_err(failed("rename to", &data));
        if renamed.is_err() {
            // A manifest without its data would speak of a file that is not there.
            let _ = fs::remove_file(&beside);
        }
        renamed?;
        self.over = true;
        sync_directory(&self.dir).map_err(|source| Error::NotSynced { data: data.clone(), source })?;
        if complete && !self.stem.changes {
            fail::fail_point!("ingest.before-latest");
            latest::switch(&self.dir, self.stem, self.extension, &name)?;
        }
        if let Some(keep) = keep {
            fail::fail_point!("ingest.before-retention");
            retention::tidy(&self.dir, robot, keep, self.stem, &name);
        }
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

/// Whether a run of this name came to its end, in whatever format.
fn has_data(dir: &Path, stem: Stem) -> bool {
    let there = |extension, complete| fs::symlink_metadata(dir.join(stem.data(extension, complete))).is_ok();
    EXTENSIONS.iter().any(|extension| there(extension, true) || there(extension, false))
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

/// The stem behind those of the same second, so that the newest has the
/// greatest number also where older ones were removed.
fn behind(dir: &Path, stem: Stem) -> Stem {
    let number = |entry: fs::DirEntry| match names::read(entry.file_name().to_str()?)? {
        (other, Name::Data) => (Stem { number: stem.number, ..other } == stem).then_some(other.number),
        _ => None,
    };
    let greatest = fs::read_dir(dir).into_iter().flatten().flatten().filter_map(number).max();
    greatest.map_or(stem, |number| Stem { number, ..stem }.next())
}

/// Removes what runs that are no more left of this stream: part files that
/// nobody holds, with the manifest that was to stand beside such data.
fn sweep(dir: &Path, stem: Stem) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some((left, kind)) = name.to_str().and_then(names::read) else { continue };
        if left.stream != stem.stream || !matches!(kind, Name::Part | Name::ManifestPart) {
            continue;
        }
        let path = entry.path();
        // Whose data is on its way has a manifest of its own on its way.
        let data = dir.join(left.part());
        if kind == Name::ManifestPart && data.exists() && hold(&data).is_none() {
            continue;
        }
        let Some(_held) = entry.file_type().is_ok_and(|kind| kind.is_file()).then(|| hold(&path)).flatten() else {
            continue;
        };
        if kind == Name::Part {
            if has_data(dir, left) {
                // It came to its end since the directory was listed, and its manifest is in its place.
                continue;
            }
            let _ = fs::remove_file(dir.join(left.manifest()));
        }
        let removed = fs::remove_file(&path);
        tracing::debug!(path = %path.display(), done = removed.is_ok(), "removing what a killed run left");
    }
    latest::sweep(dir, stem);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::Stream;

    #[test]
    fn a_manifest_on_its_way_is_left_to_the_run_whose_data_is_too() {
        let folder = tempfile::tempdir().unwrap();
        let stem = Stem::new(Stream::Assets, false, time::OffsetDateTime::UNIX_EPOCH);
        let create = || Part::create(folder.path(), stem, "ndjson").unwrap();
        let part = create();
        let on_its_way = folder.path().join(part.stem.manifest_part());
        // Made and not locked yet.
        fs::write(&on_its_way, "").unwrap();
        let _other = create();
        assert!(on_its_way.exists(), "another run took it away");
        drop(part);
        let _next = create();
        assert!(!on_its_way.exists(), "what a killed run left stays");
    }
}
