//! `config`: the configuration file, judged and resolved.

use std::io::{self, Write};

use clap::{Args, Subcommand};
use robocred::config::{Config, Environment, Paths, View};

use crate::{
    Outcome,
    invocation::Invocation,
    output::{clean, json::ConfigCheck},
};

/// Check the configuration, or show it resolved
#[derive(Debug, Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// What to do with it.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Report every mistake in the configuration file
    Check,
    /// Print the resolved configuration, and where it came from
    Show,
}

pub fn run(invocation: &Invocation, args: &ConfigArgs) -> Outcome {
    let (config, state_dir) = (invocation.config.as_deref(), invocation.state_dir.as_deref());
    let paths = Paths::resolve(config, state_dir, &Environment::capture())?;
    let config = Config::load(&paths)?;
    match args.command {
        ConfigCommand::Check => {
            let found = ConfigCheck {
                exists: config.exists,
                sites: config.sites.len(),
                robots: config.sites.iter().map(|site| site.robots.len()).sum(),
                config: config.path,
            };
            invocation.output.result(&found, show)?;
        }
        ConfigCommand::Show => {
            let view = View::of(&config, &paths);
            invocation.output.document(&view, |view, out| out.write_all(clean::text(&view.to_string()).as_bytes()))?;
        }
    }
    Ok(None)
}

fn show(found: &ConfigCheck, out: &mut dyn Write) -> io::Result<()> {
    let path = found.config.display().to_string();
    if !found.exists {
        return writeln!(out, "{} does not exist: nothing is configured", clean::line(&path));
    }
    writeln!(out, "{} is in order (sites: {}, robots: {})", clean::line(&path), found.sites, found.robots)
}
