//! What goes wrong, as a command tells it.
//!
//! Owns the exit codes, the words of `error.code` in JSON, and the one form in
//! which an error is printed. The advice is added where the knowledge is: by
//! the library's error, or by the command. Never holds a secret, because no
//! library error does.

pub mod library;

use std::{error::Error, fmt::Write as _, io};

use robocred::inventory::Task;

use crate::output::{
    clean, json,
    style::{self, paint},
};

/// What kind of failure it was: decides the exit code and the JSON word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anything without a kind of its own.
    Failed,
    /// The command line is wrong.
    Usage,
    /// The configuration, or a file that was named, is wrong.
    Config,
    /// The appliance refused the token, the role or the name.
    Refused,
    /// The appliance could not be reached; nothing is lost.
    Unreachable,
    /// The appliance's key is unknown, or not the expected one.
    Untrusted,
    /// The secret store is unavailable or locked.
    Store,
    /// A new credential failed its proof.
    Proof,
    /// Done, but a hook failed.
    Hook,
    /// Another run holds the lock.
    Locked,
    /// The credential has expired.
    Expired,
    /// Only a person can go on.
    Person,
}

impl Kind {
    /// The process's exit code.
    pub fn exit_code(self) -> u8 {
        self.facts().0
    }

    /// The word of `error.code`.
    pub fn code(self) -> &'static str {
        self.facts().1
    }

    /// The kind with that word; [`Kind::Failed`] if there is none.
    pub fn named(code: &str) -> Self {
        WORST_FIRST.into_iter().find(|kind| kind.code() == code).unwrap_or(Self::Failed)
    }

    fn facts(self) -> (u8, &'static str) {
        match self {
            Self::Failed => (1, "failed"),
            Self::Usage => (2, "usage"),
            Self::Config => (3, "config"),
            Self::Refused => (4, "refused"),
            Self::Unreachable => (5, "unreachable"),
            Self::Untrusted => (6, "untrusted"),
            Self::Store => (7, "store"),
            Self::Proof => (8, "proof"),
            Self::Hook => (9, "hook"),
            Self::Locked => (10, "locked"),
            Self::Expired => (11, "expired"),
            Self::Person => (12, "person"),
        }
    }
}

/// The kinds that one robot of several can end with, the worst first.
const WORST_FIRST: [Kind; 11] = [
    Kind::Expired,
    Kind::Proof,
    Kind::Untrusted,
    Kind::Refused,
    Kind::Person,
    Kind::Store,
    Kind::Config,
    Kind::Locked,
    Kind::Unreachable,
    Kind::Hook,
    Kind::Failed,
];

/// The kind that decides the exit code of a run over several robots; `None` if nothing failed.
pub fn worst(kinds: impl IntoIterator<Item = Kind>) -> Option<Kind> {
    kinds
        .into_iter()
        .min_by_key(|kind| WORST_FIRST.iter().position(|listed| listed == kind).unwrap_or(WORST_FIRST.len()))
}

/// A failure of a whole command, or of one robot in it.
#[derive(Clone, Debug)]
pub struct CommandError {
    kind: Kind,
    message: String,
    causes: Vec<String>,
    hints: Vec<String>,
    task: Task,
    reader_is_gone: bool,
}

impl CommandError {
    /// A failure said in a lower-case fragment.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            causes: Vec::new(),
            hints: Vec::new(),
            task: Task::Rotate,
            reader_is_gone: false,
        }
    }

    /// A failure that `error` says by itself, with its sources as causes.
    pub fn of(kind: Kind, error: &dyn Error) -> Self {
        let message = Self::new(kind, error.to_string());
        match error.source() {
            Some(source) => message.because(source),
            None => message,
        }
    }

    /// A command line that parses and yet makes no sense.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// Standard output could not be written.
    pub fn standard_output(error: &io::Error) -> Self {
        let mut failure = Self::new(Kind::Failed, "cannot write to standard output").because(error);
        failure.reader_is_gone = error.kind() == io::ErrorKind::BrokenPipe;
        failure
    }

    /// The same failure, caused by `source` and the sources below it.
    #[must_use]
    pub fn because(mut self, source: &dyn Error) -> Self {
        let mut next = Some(source);
        while let Some(error) = next {
            let text = error.to_string();
            // Wrappers that only repeat what they wrap are told once.
            if self.causes.last().unwrap_or(&self.message) != &text {
                self.causes.push(text);
            }
            next = error.source();
        }
        self
    }

    /// The same failure with a sentence on what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The same failure, met while this was done: decides of what people are told.
    #[must_use]
    pub fn during(self, task: Task) -> Self {
        Self { task, ..self }
    }

    /// What was done when it was met.
    pub fn task(&self) -> Task {
        self.task
    }

    /// What kind of failure it was.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether the reader of standard output went away, as `head` does when it has seen enough.
    pub fn reader_is_gone(&self) -> bool {
        self.reader_is_gone
    }

    /// The error as a person reads it on the terminal; `about` names the robot where there are several.
    pub fn for_people(&self, about: Option<&str>) -> String {
        let about = about.map(|robot| format!("{robot}: ")).unwrap_or_default();
        let error = paint(style::BAD, "error:");
        let mut text = format!("robocred: {error} {}\n", paragraph(&format!("{about}{}", self.message)));
        for cause in &self.causes {
            let _ = writeln!(text, "  caused by: {}", paragraph(cause));
        }
        for hint in &self.hints {
            let _ = writeln!(text, "robocred: {} {}", paint(style::BOLD, "hint:"), paragraph(hint));
        }
        text
    }

    /// The error as `error` in a JSON document.
    pub fn for_programs(&self) -> json::Error {
        let mut message = self.message.clone();
        for cause in &self.causes {
            let _ = write!(message, ": {cause}");
        }
        json::Error {
            code: self.kind.code(),
            message,
            hint: (!self.hints.is_empty()).then(|| self.hints.join("; ")),
            exit_code: self.kind.exit_code(),
        }
    }
}

/// Text fit to show; its further lines are set in, so that none of them can pass for one of ours.
fn paragraph(text: &str) -> String {
    clean::text(text.trim_end()).replace('\n', "\n    ")
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    #[test]
    fn the_worst_of_several() {
        let check = |kinds: &[Kind], expected: Option<Kind>| assert_eq!(worst(kinds.iter().copied()), expected);
        check(&[], None);
        check(&[Kind::Failed], Some(Kind::Failed));
        check(&[Kind::Failed, Kind::Hook, Kind::Unreachable], Some(Kind::Unreachable));
        check(&[Kind::Person, Kind::Refused], Some(Kind::Refused));
        check(&[Kind::Store, Kind::Person, Kind::Config], Some(Kind::Person));
        check(&WORST_FIRST.map(|kind| kind), Some(Kind::Expired));
    }

    #[test]
    fn the_order_is_the_one_that_help_announces() {
        let codes: Vec<String> = WORST_FIRST.iter().map(|kind| kind.exit_code().to_string()).collect();
        assert!(crate::cli::EXIT_CODES.contains(&format!("in the order {}.", codes.join(", "))));
    }

    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<Layer>>);

    impl fmt::Display for Layer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Layer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|layer| layer as _)
        }
    }

    fn layered() -> Layer {
        let innermost = Layer("no such file", None);
        let repeats = Layer("no such file", Some(Box::new(innermost)));
        Layer("cannot open a\u{1b}[2Jb", Some(Box::new(repeats)))
    }

    fn told(error: &CommandError, about: Option<&str>) -> String {
        anstream::adapter::strip_str(&error.for_people(about)).to_string()
    }

    #[test]
    fn each_cause_is_told_once_and_clean() {
        let error = CommandError::of(Kind::Config, &layered()).hint("look again");
        assert_eq!(
            told(&error, None),
            "robocred: error: cannot open a\u{fffd}[2Jb\n  caused by: no such file\nrobocred: hint: look again\n"
        );
        assert!(told(&error, Some("a/b")).starts_with("robocred: error: a/b: cannot open"));
        let json = error.for_programs();
        assert_eq!((json.code, json.exit_code, json.hint.as_deref()), ("config", 3, Some("look again")));
        assert_eq!(json.message, "cannot open a\u{1b}[2Jb: no such file");
    }

    #[test]
    fn further_lines_are_set_in() {
        let error = CommandError::new(Kind::Config, "two mistakes:\none\n").hint("add\nrobocred: error: x");
        assert_eq!(
            told(&error, None),
            "robocred: error: two mistakes:\n    one\nrobocred: hint: add\n    robocred: error: x\n"
        );
    }

    #[test]
    fn only_a_closed_standard_output_is_a_reader_gone() {
        let pipe = || io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(CommandError::standard_output(&pipe()).reader_is_gone());
        assert!(!CommandError::of(Kind::Unreachable, &pipe()).reader_is_gone());
        assert!(!CommandError::standard_output(&io::Error::from(io::ErrorKind::StorageFull)).reader_is_gone());
    }
}
