//! Taking a support token or an API key in: from a file, from standard input, or typed.
//!
//! Owns where they may come from; what they look like is the library's
//! [`SupportToken`] and [`ApiKey`]. No flag and no variable carries one
//! itself, since both can be read by others. It lies in one buffer of
//! fixed size, wiped when it is dropped. What is refused is never repeated in
//! the error, and nothing is changed by it.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Read},
    path::Path,
};

use robocred::{
    appliance::{ApiKey, SupportToken, TokenError},
    site::SiteName,
};
use zeroize::Zeroizing;

use crate::{
    cli::{KeySource, TokenSource},
    error::{CommandError, Kind},
    invocation::Invocation,
    prompt, secret_file,
};

/// The largest file and the longest typed secret, in bytes.
pub const LARGEST: usize = 8 * 1024;

/// How a secret that a person brings is spoken of.
#[derive(Debug)]
pub struct Words {
    /// With its article.
    pub one: &'static str,
    /// Without.
    pub name: &'static str,
    /// Shorter, for its file.
    short: &'static str,
    /// Who gave it.
    giver: &'static str,
    /// The flags that bring it.
    pub flags: [&'static str; 2],
    /// The command that keeps it for others.
    pub kept_by: Option<&'static str>,
}

/// A support token.
pub const TOKEN: Words = Words {
    one: "a support token",
    name: "support token",
    short: "token",
    giver: "the vendor",
    flags: ["--token-file", "--token-stdin"],
    kept_by: Some("token set"),
};

/// An API key.
pub const API_KEY: Words = Words {
    one: "an API key",
    name: "API key",
    short: "key",
    giver: "the appliance",
    flags: ["--key-file", "--key-stdin"],
    kept_by: None,
};

impl TokenSource {
    /// The token that a flag names; `None` without either flag. Reads a file or standard input.
    pub fn given(&self) -> Result<Option<SupportToken>, CommandError> {
        if let Some(path) = &self.token_file {
            return TOKEN.in_file(path, SupportToken::parse).map(Some);
        }
        if self.token_stdin {
            return TOKEN.on_standard_input(SupportToken::parse).map(Some);
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

impl KeySource {
    /// The API key that a flag names, or else the one that a person types.
    pub fn given_or_asked(&self, invocation: &Invocation, site: &SiteName) -> Result<ApiKey, CommandError> {
        match &self.key_file {
            Some(path) => API_KEY.in_file(path, ApiKey::parse),
            None if self.key_stdin => API_KEY.on_standard_input(ApiKey::parse),
            None => API_KEY.asked(invocation, site, ApiKey::parse),
        }
    }
}

/// The token that a person types, unseen.
pub fn asked(invocation: &Invocation, site: &SiteName) -> Result<SupportToken, CommandError> {
    TOKEN.asked(invocation, site, SupportToken::parse)
}

type Parse<T> = fn(Zeroizing<Vec<u8>>) -> Result<T, TokenError>;

impl Words {
    fn asked<T>(&self, invocation: &Invocation, site: &SiteName, parse: Parse<T>) -> Result<T, CommandError> {
        let typed = prompt::secret(invocation, site, self)?;
        parse(typed).map_err(|reason| self.refused(reason, &format!("the typed {}", self.short)))
    }

    fn in_file<T>(&self, path: &Path, parse: Parse<T>) -> Result<T, CommandError> {
        let name = format!("the {} file {}", self.short, path.display());
        let file = secret_file::open(path).map_err(|error| {
            CommandError::new(Kind::Config, format!("cannot open {name}"))
                .because(&error)
                .hint(format!("name a file that holds the {} and that only you can read", self.name))
        })?;
        let owner_only = format!("make it yours alone: chmod 600 {}", path.display());
        if let Err(reason) = is_private(&file) {
            return Err(CommandError::new(Kind::Config, format!("{name} {reason}")).hint(owner_only));
        }
        self.read(file, &name, parse)
    }

    fn on_standard_input<T>(&self, parse: Parse<T>) -> Result<T, CommandError> {
        let ([_, flag], short) = (self.flags, self.short);
        if io::stdin().is_terminal() {
            return Err(CommandError::usage(format!("{flag} would show the {short} on the terminal")).hint(format!(
                "leave the flag out to be asked without the answer being shown, or send the {short} through a pipe"
            )));
        }
        let unbuffered = unbuffered_stdin().map_err(|error| self.unreadable(&error, "standard input"))?;
        self.read(unbuffered, "standard input", parse)
    }

    fn read<T>(&self, source: impl Read, name: &str, parse: Parse<T>) -> Result<T, CommandError> {
        match secret_file::read(source, LARGEST).map_err(|error| self.unreadable(&error, name))? {
            Some(bytes) => parse(bytes).map_err(|reason| self.refused(reason, name)),
            None => Err(self.refused(TokenError::TooLong { limit: LARGEST }, name)),
        }
    }

    fn unreadable(&self, error: &io::Error, name: &str) -> CommandError {
        let (short, [file, stdin]) = (self.short, self.flags);
        CommandError::new(Kind::Config, format!("cannot read {name}"))
            .because(error)
            .hint(format!("give the {short} with {file}, or send it through a pipe with {stdin}"))
    }

    fn refused(&self, reason: TokenError, name: &str) -> CommandError {
        CommandError::new(Kind::Config, format!("{name} cannot be used"))
            .because(&reason)
            .hint(format!("it must hold the {} as {} gave it, on one line, and nothing else", self.name, self.giver))
    }
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

    fn from_file(path: &Path) -> Result<SupportToken, CommandError> {
        TOKEN.in_file(path, SupportToken::parse)
    }

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
        let refused = TOKEN.read(io::repeat(b'a'), "it", SupportToken::parse).unwrap_err();
        assert!(refused.for_people(None).contains("longer than 8192 bytes"));
    }

    #[test]
    fn an_api_key_is_spoken_of_as_such() {
        let dir = tempfile::tempdir().unwrap();
        let check = |bytes: &[u8], mode: u32, expected: Result<&[u8], &str>| {
            let path = file(&dir, bytes, mode);
            match (API_KEY.in_file(&path, ApiKey::parse), expected) {
                (Ok(key), Ok(wanted)) => assert_eq!(key.expose_key(), wanted),
                (Err(error), Err(reason)) => {
                    let told = error.for_people(None);
                    assert!(told.contains(reason) && told.contains("the key file"), "{told}");
                    assert!(!told.contains("s3cret") && !told.contains("support token"), "{told}");
                }
                (got, wanted) => panic!("{wanted:?}, and not {}", got.is_ok()),
            }
            fs::remove_file(path).unwrap();
        };
        check(b"abc/DEF+123=\n", 0o600, Ok(b"abc/DEF+123="));
        check(b"s3cret;", 0o600, Err("holds a semicolon"));
        check(b"s3cret", 0o644, Err("chmod 600"));
        check(b"key=s3cret; x", 0o600, Err("holds a space"));
        check(b"", 0o600, Err("the API key as the appliance gave it"));
    }
}
