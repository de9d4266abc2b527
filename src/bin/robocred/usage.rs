//! What the command line parser answers by itself: help, version, and what is
//! wrong with a command line.
//!
//! Owns how such an answer becomes ours: help is data on standard output, a
//! mistake is an error with a hint like any other. A value that was refused is
//! told in the words of the type that refused it, since what was typed may
//! hold a password.

use std::{env, error::Error as _, ffi::OsString};

use clap::{
    CommandFactory as _, ValueEnum,
    error::{ContextKind, ContextValue, ErrorKind},
};

use crate::{
    Outcome,
    cli::Cli,
    error::CommandError,
    output::{self, Output, log},
};

/// The words of a command line that could not be parsed.
#[derive(Debug)]
pub struct Unparsed(Vec<OsString>);

impl Unparsed {
    /// The words after the program's name, as far as they can be flags and commands.
    pub fn new(arguments: impl IntoIterator<Item = OsString>) -> Self {
        Self(arguments.into_iter().skip(1).take_while(|word| word != "--").collect())
    }

    /// How to speak: `--json`, `--color` and `--log-format` count wherever they stand. Begins the log.
    pub fn output(&self) -> Output {
        let json =
            self.0.iter().any(|word| word == "--json") || env::var("ROBOCRED_JSON").is_ok_and(|value| is_true(&value));
        let format = self.value("--log-format", "ROBOCRED_LOG_FORMAT").unwrap_or_default();
        log::begin(format, 0, false);
        Output::new(json, false, self.value("--color", "ROBOCRED_COLOR").unwrap_or_default(), format)
    }

    /// The value of a flag or else of its variable, if it is one of its words.
    fn value<T: ValueEnum>(&self, flag: &str, variable: &str) -> Option<T> {
        let typed = self.0.iter().enumerate().find_map(|(place, word)| match word.to_str()?.strip_prefix(flag)? {
            "" => self.0.get(place + 1)?.to_str(),
            value => value.strip_prefix('='),
        });
        T::from_str(&typed.map(str::to_owned).or_else(|| env::var(variable).ok())?, false).ok()
    }

    /// Prints help and version; turns the rest into a usage error.
    pub fn answer(&self, error: &clap::Error) -> Outcome {
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                output::print(|out| write!(out, "{}", error.render().ansi()))?;
                Ok(None)
            }
            _ => Err(self.mistake(error)),
        }
    }

    fn mistake(&self, error: &clap::Error) -> CommandError {
        let command = self.command();
        let rendered = error.render().to_string();
        let (head, rest) = rendered.split_once("\n\n").unwrap_or((&rendered, ""));
        let secret = taken_by(&command);
        let message = match (error.kind(), error.source(), error.get(ContextKind::InvalidArg)) {
            (ErrorKind::ValueValidation, Some(reason), Some(ContextValue::String(flag))) => format!("{flag}: {reason}"),
            (ErrorKind::UnknownArgument, _, Some(ContextValue::String(word)))
                if secret.is_some() && !word.starts_with('-') =>
            {
                format!("unexpected argument, not repeated here because it may be {}", secret.unwrap_or_default())
            }
            (ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand, ..) => {
                "no command was given".to_owned()
            }
            _ => head.trim_start_matches("error: ").split_whitespace().collect::<Vec<_>>().join(" "),
        };
        rest.lines()
            .filter_map(|line| line.trim().strip_prefix("tip: "))
            .fold(CommandError::usage(message), CommandError::hint)
            .hint(format!("`{command} --help` lists what can be given"))
    }

    /// Whether this command was meant.
    pub fn is_of(&self, command: &str) -> bool {
        self.command().split(' ').nth(1) == Some(command)
    }

    /// The command that was meant, as far as it was understood.
    fn command(&self) -> String {
        let mut command = &Cli::command();
        let mut path = command.get_name().to_owned();
        for below in self.0.iter().filter_map(|word| word.to_str()) {
            if let Some(found) = command.find_subcommand(below) {
                command = found;
                path = format!("{path} {}", found.get_name());
            }
        }
        path
    }
}

/// The secret that a command takes in.
fn taken_by(command: &str) -> Option<&'static str> {
    [("robocred token", "a token"), ("robocred apikey", "an API key")]
        .into_iter()
        .find_map(|(begin, secret)| command.starts_with(begin).then_some(secret))
}

/// The words for no are those of the flags' own parser.
fn is_true(value: &str) -> bool {
    !matches!(value.to_ascii_lowercase().as_str(), "" | "n" | "no" | "f" | "false" | "off" | "0")
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn unparsed(line: &str) -> Unparsed {
        Unparsed::new(line.split(' ').map(OsString::from))
    }

    #[test]
    fn json_counts_wherever_it_stands() {
        assert!(unparsed("robocred --json frob").output().is_json());
        assert!(unparsed("robocred provision --days 0 --json").output().is_json());
        assert!(!unparsed("robocred frob -- --json").output().is_json());
    }

    #[test]
    fn the_command_that_was_meant() {
        let check = |line, expected| assert_eq!(unparsed(line).command(), expected);
        check("robocred frob", "robocred");
        check("robocred --json onboard x", "robocred provision");
        check("robocred token set", "robocred token set");
    }

    #[test]
    fn neither_a_password_nor_a_token_is_repeated() {
        for line in [
            "robocred provision a/b --url https://user:hunter2@h",
            "robocred provision a/b --url hunter2://h@",
            "robocred token set plant-a hunter2",
            "robocred apikey set plant-a hunter2",
            "robocred apikey set plant-a --expires hunter2",
            "robocred apikey set plant-a --key=hunter2",
            "robocred provision a/b --token=hunter2",
            "robocred provision a/b --token hunter2",
        ] {
            let words = || line.split(' ').map(OsString::from);
            let error = Cli::try_parse_from(words()).unwrap_err();
            let told = Unparsed::new(words()).mistake(&error).for_people(None);
            assert!(!told.contains("hunter2"), "{told}");
        }
    }
}
