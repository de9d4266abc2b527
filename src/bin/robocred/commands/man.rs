//! `man`: the manual pages.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::{Args, CommandFactory as _};
use clap_mangen::Man;

use crate::{
    Outcome,
    cli::{Cli, EXIT_CODES},
    error::{CommandError, Kind},
    invocation::Invocation,
    output,
};

/// Print the manual page, or write those of all commands
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write a page for every command into this directory
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

pub fn run(invocation: &Invocation, args: &ManArgs) -> Outcome {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    match &args.dir {
        None => output::print(|out| page(&command, out))?,
        Some(dir) => {
            let written = write_all(&command, dir).map_err(|error| {
                CommandError::new(Kind::Failed, format!("cannot write manual pages to {}", dir.display()))
                    .because(&error)
            })?;
            invocation.output.note(&format!("{written} manual pages written to {}", dir.display()));
        }
    }
    Ok(None)
}

/// Writes the page of a command and those of the commands below it; says how many.
fn write_all(command: &clap::Command, dir: &Path) -> io::Result<usize> {
    fs::create_dir_all(dir)?;
    let mut text = Vec::new();
    page(command, &mut text)?;
    fs::write(dir.join(Man::new(command.clone()).get_filename()), text)?;
    command
        .get_subcommands()
        .filter(|below| !below.is_hide_set())
        .try_fold(1, |written, below| Ok(written + write_all(below, dir)?))
}

/// One page: what the parser knows, and the exit codes line by line.
fn page(command: &clap::Command, out: &mut dyn Write) -> io::Result<()> {
    let man = Man::new(command.clone()).manual("robocred manual").source("robocred");
    man.render_title(out)?;
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    man.render_options_section(out)?;
    if command.has_subcommands() {
        man.render_subcommands_section(out)?;
    }
    // A command that lists its own exit codes has no others.
    let own = command.get_after_help().map(ToString::to_string).filter(|text| text.starts_with("Exit codes"));
    let codes = own.as_deref().unwrap_or(EXIT_CODES);
    let codes = codes.split_once('\n').map_or(codes, |(_, codes)| codes);
    writeln!(out, ".SH \"EXIT STATUS\"\n.nf\n{codes}\n.fi")
}
