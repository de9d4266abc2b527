//! Reading the configuration file, if it can be believed.
//!
//! The file names programs to run and servers to trust, so whoever can write
//! it can act as us: it must be ours or root's, and nobody else's to change.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read},
    path::Path,
};

use super::{Problem, problem::Place};

/// Far above a file for thousands of sites, far below what would hurt.
const LONGEST_FILE: u64 = 16 * 1024 * 1024;

/// The file's text, or `None` if there is no file.
pub(super) fn text(path: &Path) -> Result<Option<String>, Problem> {
    let unreadable = |source: &io::Error| {
        Problem::of_file(format!("it cannot be read: {source}"), "make it readable for this user, or name another file")
    };
    // Asked before opening, since opening a named pipe would wait for a writer.
    match fs::metadata(path) {
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(unreadable(&source)),
        Ok(facts) if !facts.is_file() => {
            return Err(Problem::of_file("it is not a regular file", "name a file, not a directory, pipe or device"));
        }
        Ok(_) => {}
    }
    let file = File::open(path).map_err(|source| unreadable(&source))?;
    let facts = file.metadata().map_err(|source| unreadable(&source))?;
    believe(path, &facts)?;
    if facts.len() > LONGEST_FILE {
        return Err(Problem::of_file("it is larger than 16 MiB", "is this the right file?"));
    }
    let mut bytes = Vec::new();
    file.take(LONGEST_FILE).read_to_end(&mut bytes).map_err(|source| unreadable(&source))?;
    String::from_utf8(bytes).map(Some).map_err(|error| {
        let valid = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
        let place = Some(Place::of(&valid, valid.len()));
        Problem { place, ..Problem::of_file("it is not UTF-8 text", "save it as UTF-8") }
    })
}

#[cfg(unix)]
fn believe(path: &Path, file: &Metadata) -> Result<(), Problem> {
    use std::os::unix::fs::MetadataExt;

    judge_file(file.uid(), file.mode(), rustix::process::geteuid().as_raw())?;
    // The real directories, not those of a link to the file.
    let Ok(real) = path.canonicalize() else { return Ok(()) };
    for dir in real.ancestors().skip(1) {
        if let Ok(facts) = dir.metadata()
            && !judge_dir(facts.mode())
        {
            return Err(Problem::of_file(
                format!("its directory {} can be written by everybody", dir.display()),
                format!("run `chmod o-w {}`", dir.display()),
            ));
        }
    }
    Ok(())
}

#[cfg(not(unix))]
fn believe(_: &Path, _: &Metadata) -> Result<(), Problem> {
    Ok(())
}

/// Owner and mode of a file that may say which programs we run.
#[cfg(unix)]
fn judge_file(owner: u32, mode: u32, us: u32) -> Result<(), Problem> {
    if owner != us && owner != 0 {
        return Err(Problem::of_file(
            format!("it belongs to user {owner}, not to this user ({us}) or root"),
            "run as its owner, or give the file to this user with chown",
        ));
    }
    if mode & 0o022 != 0 {
        return Err(Problem::of_file(
            format!("its mode {:04o} lets other users write it", mode & 0o7777),
            "run `chmod go-w` on it",
        ));
    }
    Ok(())
}

/// A directory may be written by everybody only if files in it stay their
/// owners' (the sticky bit). A group's directory is left to the group: a file
/// put there by another user is refused for its owner.
#[cfg(unix)]
fn judge_dir(mode: u32) -> bool {
    mode & 0o002 == 0 || mode & 0o1000 != 0
}

/// The user we act as, where there are numbers for users.
#[allow(clippy::unnecessary_wraps, reason = "there are none on Windows")]
pub(super) fn this_user() -> Option<u32> {
    #[cfg(unix)]
    return Some(rustix::process::geteuid().as_raw());
    #[cfg(not(unix))]
    None
}

/// The owner of a file, where there are numbers for users.
#[allow(clippy::unnecessary_wraps, reason = "there are none on Windows")]
pub(super) fn owner(facts: &Metadata) -> Option<u32> {
    #[cfg(unix)]
    return Some(std::os::unix::fs::MetadataExt::uid(facts));
    #[cfg(not(unix))]
    {
        let _ = facts;
        None
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    #[test]
    fn whose_file_is_believed() {
        for (owner, mode, us, believed) in [
            (1000, 0o600, 1000, true),
            (1000, 0o644, 1000, true),
            (0, 0o644, 1000, true),
            (0, 0o640, 0, true),
            (1001, 0o600, 1000, false),
            (1000, 0o600, 0, false),
            (1000, 0o664, 1000, false),
            (1000, 0o606, 1000, false),
            (0, 0o666, 1000, false),
        ] {
            assert_eq!(judge_file(owner, mode, us).is_ok(), believed, "{owner} {mode:o} read by {us}");
        }
        for (mode, believed) in [(0o755, true), (0o775, true), (0o1777, true), (0o777, false), (0o702, false)] {
            assert_eq!(judge_dir(mode), believed, "{mode:o}");
        }
    }
}
