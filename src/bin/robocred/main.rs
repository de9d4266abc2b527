//! The command line tool: speaks, asks and exits; everything else is the library's.

mod cli;
mod commands;
mod error;
#[cfg(feature = "failpoints")]
mod faultline;
mod invocation;
mod opened;
mod output;
mod process;
mod prompt;
mod secret_file;
mod service_manager;
mod token;
mod usage;

use std::{env, panic, process::ExitCode};

use cli::{Cli, Command};
use commands::check;
use error::{CommandError, Kind};
use invocation::Invocation;
use output::Output;
use usage::Unparsed;

/// The exit code is decided here, and for `check` by itself.
fn main() -> ExitCode {
    process::protect();
    #[cfg(feature = "failpoints")]
    faultline::arm();
    match Cli::read(env::args_os()) {
        Ok(cli) => {
            let invocation = Invocation::resolve(cli.global);
            match &cli.command {
                Command::Check(args) => check::end(invocation.output, guarded(|| check::run(&invocation, args))),
                command => end(invocation.output, guarded(|| commands::run(&invocation, command))),
            }
        }
        Err(error) => {
            let unparsed = Unparsed::new(env::args_os());
            // Before anything is said: it decides how.
            let output = unparsed.output();
            match unparsed.answer(&error) {
                Err(error) if unparsed.is_of("check") => check::end(output, Err(error)),
                outcome => end(output, outcome),
            }
        }
    }
}

/// How every command ends but `check`.
fn end(output: Output, outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(kind)) => ExitCode::from(kind.exit_code()),
        // `robocred status | head -1` did what was wanted: Unix tools stop there without complaint.
        Err(error) if error.reader_is_gone() => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            ExitCode::from(error.kind().exit_code())
        }
    }
}

/// What a command ended with: nothing wrong, or the worst that happened to one
/// of its robots (already told), or an error of the whole (still to be told).
type Outcome = Result<Option<Kind>, CommandError>;

/// A panic is an error like others: one line, one JSON document, exit code 1.
fn guarded<T>(work: impl FnOnce() -> Result<T, CommandError>) -> Result<T, CommandError> {
    panic::catch_unwind(panic::AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(CommandError::new(Kind::Failed, "stopped by an internal error")
            .hint("please report the line above; running the command again is safe"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_without_its_values() {
        let error = guarded(|| -> Outcome { panic!("hunter2") }).unwrap_err();
        assert_eq!(error.kind(), Kind::Failed);
        assert!(!error.for_people(None).contains("hunter2"));
    }
}
