//! `completions`: what a shell needs to complete a command line.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::{Outcome, cli::Cli, output};

/// Print a completion script for a shell
///
/// For bash, for example: robocred completions bash > ~/.local/share/bash-completion/completions/robocred
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

pub fn run(args: &CompletionsArgs) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "robocred", &mut script);
    output::print(|out| out.write_all(&script))?;
    Ok(None)
}
