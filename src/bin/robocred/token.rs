//! Taking the support token in: from a file, from standard input, or typed.
//!
//! Owns where it may come from; what a token looks like is the library's
//! [`SupportToken`]. No flag and no variable carries the token
//! itself, since both can be read by others. The token lies in one buffer of
//! fixed size, wiped when it is dropped. What is refused is never repeated in
//! the error, and nothing is changed by it.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Read},
    path::Path,
};

use robocred::{
    appliance::{SupportToken, TokenError},
    site::SiteName,
};

use crate::{
    cli::TokenSource,
    error::{CommandError, Kind},
    invocation::Invocation,
    prompt, secret_file,
};

/// The largest token file and the longest typed token, in bytes.
pub const LARGEST: usize = 8 * 1024;

impl TokenSource {
    /// The token that a flag names; `None` without either flag. Reads a file or standard input.
    pub fn given(&self) -> Result<Option<SupportToken>, CommandError> {
        if let Some(path) = &self.token_file {
            return from_file(path).map(Some);
        }
        if self.token_stdin {
            return from_standard_input().map(Some);
        }
        Ok(None)
    }

    /// The token that a flag names, or else the one that a person types.
    pub fn given_or_asked(&self, invocation: &Invocation, site: &SiteName) -> Result<SupportToken, CommandError> {
        match self.given()? {
            Some(token) => Ok(token),
            None => asked(invocation, site),
        }
    }
}

/// The token that a person types, unseen.
pub fn asked(invocation: &Invocation, site: &SiteName) -> Result<SupportToken, CommandError> {
    SupportToken::parse(prompt::token(invocation, site)?).map_err(|reason| refused(reason, "the typed token"))
}

fn from_file(path: &Path) -> Result<SupportToken, CommandError> {
    let name = format!("the token file {}", path.display());
    let file = secret_file::open(path).map_err(|error| {
        CommandError::new(Kind::Config, format!("cannot open {name}"))
            .because(&error)
            .hint("name a file that holds the support token and that only you can read")
    })?;
    let owner_only = format!("make it yours alone: chmod 600 {}", path.display());
    if let Err(reason) = is_private(&file) {
        return Err(CommandError::new(Kind::Config, format!("{name} {reason}")).hint(owner_only));
    }
    read(file, &name)
}

fn from_standard_input() -> Result<SupportToken, CommandError> {
    if io::stdin().is_terminal() {
        return Err(CommandError::usage("--token-stdin would show the token on the terminal")
            .hint("leave the flag out to be asked without the answer being shown, or send the token through a pipe"));
    }
    let unbuffered = unbuffered_stdin().map_err(|error| unreadable(&error, "standard input"))?;
    read(unbuffered, "standard input")
}

fn read(source: impl Read, name: &str) -> Result<SupportToken, CommandError> {
    match secret_file::read(source, LARGEST).map_err(|error| unreadable(&error, name))? {
        Some(token) => SupportToken::parse(token).map_err(|reason| refused(reason, name)),
        None => Err(refused(TokenError::TooLong { limit: LARGEST }, name)),
    }
}

fn unreadable(error: &io::Error, name: &str) -> CommandError {
    CommandError::new(Kind::Config, format!("cannot read {name}"))
        .because(error)
        .hint("give the token with --token-file, or send it through a pipe with --token-stdin")
}

fn refused(reason: TokenError, name: &str) -> CommandError {
    CommandError::new(Kind::Config, format!("{name} cannot be used"))
        .because(&reason)
        .hint("it must hold the support token as the vendor gave it, on one line, and nothing else")
}

/// Judged on the open file, so that it cannot be another one by the time it is read.
#[cfg(unix)]
fn is_private(file: &File) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt as _;
    let facts = file.metadata().map_err(|error| format!("cannot be examined: {error}"))?;
    if !facts.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let user = rustix::process::geteuid().as_raw();
    if facts.uid() != user {
        return Err(format!("belongs to user {} and not to the user running this, {user}", facts.uid()));
    }
    if facts.mode() & 0o077 != 0 {
        return Err(format!("can be read or changed by others (mode {:04o})", facts.mode() & 0o7777));
    }
    Ok(())
}

#[cfg(not(unix))]
fn is_private(file: &File) -> Result<(), String> {
    let facts = file.metadata().map_err(|error| format!("cannot be examined: {error}"))?;
    if facts.is_file() { Ok(()) } else { Err("is not a regular file".to_owned()) }
}

/// Standard input past the library's buffer, which would keep a copy of the token.
#[cfg(unix)]
fn unbuffered_stdin() -> io::Result<File> {
    use std::os::fd::AsFd as _;
    io::stdin().as_fd().try_clone_to_owned().map(File::from)
}

#[cfg(windows)]
fn unbuffered_stdin() -> io::Result<File> {
    use std::os::windows::io::AsHandle as _;
    io::stdin().as_handle().try_clone_to_owned().map(File::from)
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    fn file(dir: &tempfile::TempDir, bytes: &[u8], mode: u32) -> std::path::PathBuf {
        let path = dir.path().join("token");
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn what_a_file_may_hold() {
        let dir = tempfile::tempdir().unwrap();
        let check = |bytes: &[u8], expected: Result<&[u8], &str>| match (from_file(&file(&dir, bytes, 0o600)), expected)
        {
            (Ok(token), Ok(wanted)) => assert_eq!(token.expose_token(), wanted),
            (Err(error), Err(reason)) => {
                assert_eq!(error.kind(), Kind::Config);
                let told = error.for_people(None);
                assert!(told.contains(reason) && told.contains("hint:"), "{told}");
                assert!(!told.contains("s3cret"), "the refused token is repeated: {told}");
            }
            (got, wanted) => panic!("{wanted:?}, and not {}", got.is_ok()),
        };
        check(b"abc.DEF-123=", Ok(b"abc.DEF-123="));
        check(b"abc\n", Ok(b"abc"));
        check(b"abc\r\n", Ok(b"abc"));
        check(&[b'a'; LARGEST], Ok(&[b'a'; LARGEST]));
        check(&[b'a'; LARGEST + 1], Err("longer than 8192 bytes"));
        check(b"", Err("is empty"));
        check(b"\n", Err("is empty"));
        check(b"s3cret\ns3cret\n", Err("holds a newline"));
        check(b"s3cret\n\n", Err("holds a newline"));
        check(b"Bearer s3cret", Err("holds a space, a control character"));
        check(b"s3cret\0", Err("holds a space, a control character"));
        check("s3cretä".as_bytes(), Err("holds a space, a control character"));
    }

    #[test]
    fn who_may_read_the_file() {
        let dir = tempfile::tempdir().unwrap();
        for mode in [0o600, 0o400] {
            assert!(from_file(&file(&dir, b"abc", mode)).is_ok(), "{mode:o}");
            fs::remove_file(dir.path().join("token")).unwrap();
        }
        for mode in [0o640, 0o604, 0o620, 0o644, 0o610] {
            let told = from_file(&file(&dir, b"s3cret", mode)).unwrap_err().for_people(None);
            assert!(told.contains(&format!("{mode:04o}")) && told.contains("chmod 600"), "{told}");
        }
    }

    #[test]
    fn only_a_regular_file() {
        let dir = tempfile::tempdir().unwrap();
        let check = |path: &Path, reason: &str| {
            let told = from_file(path).unwrap_err().for_people(None);
            assert!(told.contains(reason), "{told}");
        };
        check(dir.path(), "is not a regular file");
        check(&dir.path().join("missing"), "cannot open");

        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        check(&pipe, "is not a regular file");
    }

    #[test]
    fn a_link_is_judged_by_what_it_leads_to() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(file(&dir, b"abc", 0o600), &link).unwrap();
        assert_eq!(from_file(&link).unwrap().expose_token(), b"abc");
        file(&dir, b"abc", 0o644);
        assert!(from_file(&link).unwrap_err().for_people(None).contains("0644"));
    }

    #[test]
    fn a_source_without_end_is_given_up() {
        assert!(read(io::repeat(b'a'), "it").unwrap_err().for_people(None).contains("longer than 8192 bytes"));
    }
}
