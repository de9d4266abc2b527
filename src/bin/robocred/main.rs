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
mod token;
mod usage;

use std::{env, panic, process::ExitCode};

use cli::Cli;
use error::{CommandError, Kind};
use invocation::Invocation;
use usage::Unparsed;

/// The exit code is decided here and nowhere else.
fn main() -> ExitCode {
    process::protect();
    #[cfg(feature = "failpoints")]
    faultline::arm();
    let (output, outcome) = match Cli::read(env::args_os()) {
        Ok(cli) => {
            let invocation = Invocation::resolve(cli.global);
            (invocation.output, guarded(|| commands::run(&invocation, &cli.command)))
        }
        Err(error) => {
            let unparsed = Unparsed::new(env::args_os());
            (unparsed.output(), unparsed.answer(&error))
        }
    };
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
fn guarded(work: impl FnOnce() -> Outcome) -> Outcome {
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
        let error = guarded(|| panic!("hunter2")).unwrap_err();
        assert_eq!(error.kind(), Kind::Failed);
        assert!(!error.for_people(None).contains("hunter2"));
    }
}
