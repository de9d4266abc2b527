//! What a command says, and where.
//!
//! Standard output is data: the result, as text or as exactly one JSON
//! document. Everything else goes to standard error, with the program's name
//! before it, no capital and no final period: errors, hints, notes, progress;
//! with a JSON log, errors and notes are lines of it.
//! Owns that rule, colours and progress bars. Leaves out what is said
//! (`commands`) and the log (`log`).

pub mod checks;
pub mod json;
pub mod log;
pub mod progress;
pub mod results;
pub mod style;
pub mod table;

use std::io::{self, IsTerminal as _, Write};

use anstream::ColorChoice;
pub use robocred::clean;
use serde::Serialize;

use crate::{
    cli::{Color, LogFormat},
    error::{CommandError, Kind},
};
use json::Document;

/// How this run speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Output {
    json: bool,
    quiet: bool,
    log: LogFormat,
}

impl Output {
    /// Speaks as asked; decides colour for the whole process.
    pub fn new(json: bool, quiet: bool, color: Color, log: LogFormat) -> Self {
        match color {
            // Left to the streams: a terminal, NO_COLOR, CLICOLOR_FORCE and TERM=dumb decide.
            Color::Auto => anstream::ColorChoice::Auto,
            Color::Always => anstream::ColorChoice::Always,
            Color::Never => anstream::ColorChoice::Never,
        }
        .write_global();
        Self { json, quiet, log }
    }

    /// Whether the result is a JSON document.
    pub fn is_json(self) -> bool {
        self.json
    }

    /// Whether progress may be drawn.
    pub fn shows_progress(self) -> bool {
        !self.json && !self.quiet && io::stderr().is_terminal()
    }

    /// The result of the command: `body` as a JSON document, or as `text` writes it for people.
    pub fn result<T: Serialize>(
        self,
        body: &T,
        text: impl FnOnce(&T, &mut dyn Write) -> io::Result<()>,
    ) -> Result<(), CommandError> {
        if self.json { print_json(&Document::of(body)) } else { print(|out| text(body, out)) }
    }

    /// As [`Output::result`], for a body of the library that is a whole document already.
    pub fn document<T: Serialize>(
        self,
        document: &T,
        text: impl FnOnce(&T, &mut dyn Write) -> io::Result<()>,
    ) -> Result<(), CommandError> {
        if self.json { print_json(document) } else { print(|out| text(document, out)) }
    }

    /// Something worth knowing that is neither result nor error.
    pub fn note(self, text: &str) {
        match self.log {
            LogFormat::Text if self.quiet => {}
            LogFormat::Text => tell(&format!("robocred: {}\n", clean::line(text))),
            LogFormat::Json => tracing::warn!("{text}"),
        }
    }

    /// The error of the whole command: on standard error for people, and as the one document with `--json`.
    pub fn error(self, error: &CommandError) {
        self.complain(None, error);
        if self.json {
            // Nothing is left to be done if the reader is gone: the exit code still tells.
            let _ = print_json(&Document::of(json::Failure { error: error.for_programs() }));
        }
    }

    /// The error of one robot among several; with `--json` it stands in that robot's result instead.
    pub fn robot_error(self, robot: &str, error: &CommandError) {
        if !self.json {
            self.complain(Some(robot), error);
        }
    }

    /// Something that went wrong and that the command survives.
    pub fn trouble(self, error: &CommandError) {
        self.complain(None, error);
    }

    /// Every line of a JSON log is an object, also one that tells of an error.
    fn complain(self, robot: Option<&str>, error: &CommandError) {
        match self.log {
            LogFormat::Text => tell(&error.for_people(robot)),
            LogFormat::Json => {
                let json::Error { code, message, hint, exit_code } = error.for_programs();
                tracing::error!(robot, code, exit_code, hint, "{message}");
            }
        }
    }
}

/// Writes text that is a command's own, not JSON, to standard output.
pub fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), CommandError> {
    // Written in one go: a table does not appear half, and a pipe is not written to line by line.
    let mut text = Vec::new();
    write(&mut text)
        .and_then(|()| {
            let mut stdout = anstream::stdout().lock();
            if stdout.current_choice() == ColorChoice::Never {
                // Stripped at one go: the stream would call the operating system for every line.
                let plain = anstream::adapter::strip_bytes(&text).into_vec();
                let mut stdout = stdout.into_inner();
                stdout.write_all(&plain)?;
                return stdout.flush();
            }
            stdout.write_all(&text)?;
            stdout.flush()
        })
        .map_err(|error| CommandError::standard_output(&error))
}

/// Writes one JSON document to standard output.
pub fn print_json<T: Serialize>(document: &T) -> Result<(), CommandError> {
    let mut text = json::to_vec(document)
        .map_err(|error| CommandError::new(Kind::Failed, "cannot write the result as JSON").because(&error))?;
    text.push(b'\n');
    print_bytes(&text)
}

/// Writes what another program reads to standard output, as it is.
pub fn print_bytes(bytes: &[u8]) -> Result<(), CommandError> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|error| CommandError::standard_output(&error))
}

/// Writes to standard error. That it cannot be written cannot be told anywhere.
fn tell(text: &str) {
    let _ = anstream::stderr().write_all(text.as_bytes());
}

/// What `show` would write, without colours.
#[cfg(test)]
pub fn shown(show: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> String {
    let mut text = Vec::new();
    show(&mut text).unwrap();
    anstream::adapter::strip_str(&String::from_utf8(text).unwrap()).to_string()
}
