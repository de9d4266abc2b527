//! Putting the files where systemd looks for them: all or none of them are
//! found fit first, and each is replaced whole.
//!
//! Owns the first line of a file, by which one that was changed since is known:
//! what a person has changed is never overwritten.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use robocred::x509::Fingerprint;

use super::units::Unit;
use crate::error::{CommandError, Kind};

/// How the first line of every file begins.
const MARKER: &str = "# Made by `robocred install systemd`, sha256 ";

/// One file as it is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Where it is on the machine that it is for.
    pub path: PathBuf,
    pub content: String,
}

impl Wanted {
    /// A file in `dir`, with its first line.
    pub fn of(dir: &Path, unit: Unit) -> Self {
        let Unit { name, body } = unit;
        Self { path: dir.join(name), content: format!("{MARKER}{}\n{body}", digest(&body)) }
    }
}

fn digest(body: &str) -> String {
    Fingerprint::of(body.as_bytes()).to_string()
}

/// Whether a text is one of ours, of whatever version, as it was written.
fn is_ours(text: &str) -> bool {
    let rest = text.strip_prefix(MARKER).and_then(|rest| rest.split_once('\n'));
    rest.is_some_and(|(written, body)| written == digest(body))
}

/// Which of the files are to be written below `root`, because they are not there or another version.
///
/// # Errors
/// Where a file is there that is not ours, or was changed since; where one cannot be read.
pub fn missing<'a>(root: &Path, wanted: &'a [Wanted]) -> Result<Vec<&'a Wanted>, CommandError> {
    let mut missing = Vec::new();
    for file in wanted {
        let path = below(root, &file.path);
        match fs::read(&path) {
            Ok(found) if found == file.content.as_bytes() => {}
            Ok(found) if std::str::from_utf8(&found).is_ok_and(is_ours) => missing.push(file),
            Ok(_) => return Err(changed(&path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push(file),
            Err(error) => return Err(failed("read", &path, &error)),
        }
    }
    Ok(missing)
}

fn changed(path: &Path) -> CommandError {
    let message = format!("{} was not made by `robocred install systemd`, or was changed since", path.display());
    let hint = match path.extension().and_then(|extension| extension.to_str()) {
        Some("service" | "timer") => {
            let unit = path.file_name().unwrap_or_default().display();
            format!(
                "put what you want otherwise into a drop-in with `systemctl edit {unit}`, move this file away, and run \
                 it again; nothing was written"
            )
        }
        _ => "put what you want otherwise into a file of another name, move this one away, and run it again; nothing was written".to_owned(),
    };
    CommandError::new(Kind::Config, message).hint(hint)
}

/// Writes the files below `root`, each whole or not at all, readable for everybody.
pub fn write(root: &Path, files: &[&Wanted]) -> Result<(), CommandError> {
    for file in files {
        let path = below(root, &file.path);
        replace(&path, file.content.as_bytes()).map_err(|error| failed("write", &path, &error))?;
    }
    Ok(())
}

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    make(dir)?;
    // systemd reads no file whose name ends like this.
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(&new)?;
    let written = file
        .write_all(content)
        .and_then(|()| readable(&file))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&new, path));
    if let Err(error) = written {
        drop(fs::remove_file(&new));
        return Err(error);
    }
    #[cfg(unix)]
    File::open(dir)?.sync_all()?;
    Ok(())
}

/// This process makes files for its user alone; these are for everybody to read.
fn readable(file: &File) -> io::Result<()> {
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    #[cfg(not(unix))]
    let _ = file;
    Ok(())
}

/// Makes a directory and those above it, for everybody to read. One that is there is left as it is.
fn make(dir: &Path) -> io::Result<()> {
    let missing: Vec<_> = dir.ancestors().take_while(|dir| !dir.exists()).collect();
    for dir in missing.into_iter().rev() {
        fs::create_dir(dir)?;
        #[cfg(unix)]
        fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    }
    Ok(())
}

fn failed(what: &str, path: &Path, error: &io::Error) -> CommandError {
    let failure = CommandError::new(Kind::Config, format!("cannot {what} {}", path.display())).because(error);
    match error.kind() {
        io::ErrorKind::PermissionDenied => failure.hint("run it as root, or with --user"),
        _ => failure.hint("look at that path; what was written before it is whole, and the same command carries on"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_changed_is_not_ours() {
        let unit = Unit { name: "robocred.service", body: "[Unit]\nDescription=x\n".to_owned() };
        let file = Wanted::of(Path::new("/etc/systemd/system"), unit);
        assert_eq!(file.path, Path::new("/etc/systemd/system/robocred.service"));
        let check = |text: &str, ours: bool| assert_eq!(is_ours(text), ours, "{text}");
        check(&file.content, true);
        check(&file.content.replace("=x", "=y"), false);
        check(&format!("{}#\n", file.content), false);
        check(&file.content.replacen("# Made", "#Made", 1), false);
        check("[Unit]\nDescription=x\n", false);
        check("", false);
    }
}
