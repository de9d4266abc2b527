//! `DIR/latest/`: one link for each stream and ending, to the newest whole file.
//!
//! A link is replaced at once: a reader finds the file before or the new one,
//! each whole, and never none. The last run to end is the latest, also where
//! the clock was set back. Links are relative, so that the directory can be
//! moved. Elsewhere than on Unix there is none of this.

use std::path::Path;

use super::{Error, names::Stem};

/// The directory of the links, and so no name for anything else.
const LATEST: &str = "latest";

/// Finds out whether links can be put there, before anything is asked for.
#[cfg(unix)]
pub(super) fn check(dir: &Path, stem: Stem, extension: &str) -> Result<(), Error> {
    use std::fs;

    let latest = dir.join(LATEST);
    let link = latest.join(link_name(stem, extension));
    let refuse = |path: &Path, reason: &str| {
        Err(Error::Latest { path: path.to_owned(), reason: format!("it is {reason}, and not made by an ingest") })
    };
    match fs::symlink_metadata(&latest) {
        Ok(found) if found.is_symlink() => return refuse(&latest, "a link"),
        Ok(found) if !found.is_dir() => return refuse(&latest, "not a directory"),
        Ok(found) => {
            if let Some(reason) = super::others_can_write(&found) {
                return Err(Error::Unsafe { path: latest, reason });
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(super::failed("look at", &latest)(source)),
    }
    match fs::symlink_metadata(&link) {
        Ok(found) if !found.is_symlink() => refuse(&link, "not a link"),
        _ => Ok(()),
    }
}

/// Makes the file that is called `data` the latest; it is in place.
#[cfg(unix)]
pub(super) fn switch(dir: &Path, stem: Stem, extension: &str, data: &str) -> Result<(), Error> {
    let link = dir.join(LATEST).join(link_name(stem, extension));
    link_to(dir, &link, data).map_err(|source| Error::NotLatest { data: dir.join(data), link, source })
}

#[cfg(unix)]
fn link_to(dir: &Path, link: &Path, data: &str) -> std::io::Result<()> {
    use std::{
        fs,
        io::ErrorKind,
        os::unix::fs::{DirBuilderExt, symlink},
    };

    /// How often another run may take away what a killed one seemed to have left.
    const TRIES: u32 = 3;

    let latest = dir.join(LATEST);
    match fs::DirBuilder::new().mode(0o700).create(&latest) {
        Ok(()) => super::sync_directory(dir)?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let part = latest.join(part_name(data));
    let target = Path::new("..").join(data);
    let mut tries = 0;
    loop {
        tries += 1;
        match symlink(&target, &part) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        match fs::rename(&part, link) {
            Ok(()) => return super::sync_directory(&latest),
            Err(error) if error.kind() == ErrorKind::NotFound && tries < TRIES => {}
            Err(error) => {
                let _ = fs::remove_file(&part);
                return Err(error);
            }
        }
    }
}

/// Removes the links that killed runs had not put in their place yet.
#[cfg(unix)]
pub(super) fn sweep(dir: &Path, stem: Stem) {
    for (name, path) in links(dir) {
        let left = name.strip_prefix('.').and_then(|name| name.strip_suffix(PART)).and_then(super::names::read);
        if left.is_some_and(|(found, _)| found.stream == stem.stream) {
            let removed = std::fs::remove_file(&path);
            tracing::debug!(path = %path.display(), done = removed.is_ok(), "removing what a killed run left");
        }
    }
}

/// The names of the files that are the latest ones.
#[cfg(unix)]
pub(super) fn targets(dir: &Path) -> Vec<String> {
    let target = |path: &Path| Some(std::fs::read_link(path).ok()?.file_name()?.to_str()?.to_owned());
    links(dir).into_iter().filter_map(|(_, path)| target(&path)).collect()
}

#[cfg(unix)]
fn links(dir: &Path) -> Vec<(String, std::path::PathBuf)> {
    let latest = dir.join(LATEST);
    // What a link leads to is not ours to look into.
    if !std::fs::symlink_metadata(&latest).is_ok_and(|found| found.is_dir()) {
        return Vec::new();
    }
    let entries = std::fs::read_dir(latest).into_iter().flatten().flatten();
    let links = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()));
    links.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path()))).collect()
}

#[cfg(unix)]
const PART: &str = ".link";

#[cfg(unix)]
fn part_name(data: &str) -> String {
    format!(".{data}{PART}")
}

/// `assets.ndjson`.
#[cfg(unix)]
fn link_name(stem: Stem, extension: &str) -> String {
    format!("{}.{extension}", stem.stream)
}

#[cfg(not(unix))]
pub(super) fn check(_dir: &Path, _stem: Stem, _extension: &str) -> Result<(), Error> {
    Ok(())
}

#[cfg(not(unix))]
pub(super) fn switch(_dir: &Path, _stem: Stem, _extension: &str, _data: &str) -> Result<(), Error> {
    Ok(())
}

#[cfg(not(unix))]
pub(super) fn sweep(_dir: &Path, _stem: Stem) {}

#[cfg(not(unix))]
pub(super) fn targets(_dir: &Path) -> Vec<String> {
    Vec::new()
}
