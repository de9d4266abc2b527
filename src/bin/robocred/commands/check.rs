//! `check`: the report as one line for monitoring.
//!
//! The one command with exit codes of its own: 0 ok, 1 warning, 2 critical,
//! 3 unknown, and nothing else, whatever goes wrong. Opens the inventory for
//! reading only; no network, no secret store, no lock.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use robocred::{
    config::Config,
    inventory::Inventory,
    renewal::parse_duration,
    site::RobotId,
    status::{
        self, Holdings,
        document::{self, RobotStatus},
        verdict::{Health, Thresholds, Verdict, verdict},
    },
};
use serde::Serialize;
use time::Duration;

use crate::{
    cli::Selector,
    error::CommandError,
    invocation::Invocation,
    opened::{now, paths},
    output::{self, Output, json::Document},
};

const EXIT_CODES: &str = "\
Exit codes, those of monitoring plugins:
   0  ok
   1  warning: a rotation is due or opens within --warning, a robot wants
      attention or has no credential, a scheduled task fails
   2  critical: a credential ends within --critical, has expired, is refused
   3  unknown: configuration or inventory cannot be read, there is nothing to
      check, the command line is wrong";

/// Judge every robot in one line for monitoring (Nagios, Icinga, Zabbix)
///
/// Prints the worst trouble and performance data. Reads what `status` reads: it opens no connection,
/// needs no secret store, waits for no lock and changes nothing. Here -c is --critical; the
/// configuration file is named by --config, or by -c before `check`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct CheckArgs {
    /// What to judge: a robot, SITE/ROBOT, or all robots of a SITE; everything if nothing is named
    #[arg(value_name = "SITE/ROBOT|SITE")]
    pub robots: Vec<Selector>,

    /// Warn of a rotation that opens within this time, for example 30d or 12h
    #[arg(short, long, value_name = "TIME", default_value = "30d", value_parser = time_ahead)]
    pub warning: Duration,

    /// A credential that ends within this time is critical
    #[arg(short, long, value_name = "TIME", default_value = "7d", value_parser = time_ahead)]
    pub critical: Duration,

    // In the place of the global flag, whose short form is taken here; its value becomes the global one.
    /// The configuration file [env: ROBOCRED_CONFIG]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    #[allow(clippy::doc_markdown, reason = "the text is shown as it stands")]
    config: Option<PathBuf>,
}

fn time_ahead(given: &str) -> Result<Duration, String> {
    let wrong = |_| format!("{given:?} is not a time like 30d or 12h (-c is --critical here, not --config)");
    parse_duration(given).map_err(wrong)
}

/// The document of `--json`.
#[derive(Debug, Serialize)]
struct Check {
    status: &'static str,
    message: String,
    robots: Vec<RobotStatus>,
}

/// What `check` found.
#[derive(Debug)]
pub struct Found {
    verdict: Verdict,
    robots: Vec<RobotStatus>,
}

pub fn run(invocation: &Invocation, args: &CheckArgs) -> Result<Found, CommandError> {
    let paths = paths(invocation)?;
    let config = Config::load(&paths);
    let holdings = super::block_on(async {
        match Inventory::open_read_only(&paths.state_dir).await? {
            Some(inventory) => Ok::<_, CommandError>(Holdings::read(&inventory).await?),
            None => Ok(Holdings::default()),
        }
    })??;
    let mut report = status::report(config.as_ref(), &holdings, now());
    if !args.robots.is_empty() {
        let means = |selector: &Selector, id: &RobotId| match selector {
            Selector::Robot(robot) => id == robot,
            Selector::Site(site) => &id.site == site,
        };
        let known = |selector: &&Selector| report.lines.iter().any(|line| means(selector, &line.id));
        if let Some(unknown) = args.robots.iter().find(|selector| !known(selector)) {
            let unread = report.unread.first().map(|what| format!("; {what}")).unwrap_or_default();
            let why = format!("{unknown} is neither configured nor held{unread}");
            return Ok(Found { verdict: Verdict::unknown(why), robots: Vec::new() });
        }
        report.keep(|id| args.robots.iter().any(|selector| means(selector, id)));
    }
    let verdict = verdict(&report, Thresholds { warning: args.warning, critical: args.critical });
    Ok(Found { verdict, robots: document::robots(&report) })
}

/// Says what was found, or why nothing could be, on standard output alone: monitoring reads nothing else.
pub fn end(output: Output, outcome: Result<Found, CommandError>) -> ExitCode {
    let Found { verdict, robots } = outcome.unwrap_or_else(|error| {
        let error = error.for_programs();
        let hint = error.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
        Found { verdict: Verdict::unknown(format!("{}{hint}", error.message)), robots: Vec::new() }
    });
    let told = if output.is_json() {
        let Verdict { health, message, .. } = verdict.clone();
        output::print_json(&Document::of(Check { status: health.as_str(), message, robots }))
    } else {
        output::print(|out| writeln!(out, "{}", verdict.line()))
    };
    // A reader that is gone still learns the code; a disk that is full gets no word at all.
    match told {
        Err(error) if !error.reader_is_gone() => {
            output.error(&error);
            code(Health::Unknown)
        }
        _ => code(verdict.health),
    }
}

fn code(health: Health) -> ExitCode {
    ExitCode::from(match health {
        Health::Ok => 0,
        Health::Warning => 1,
        Health::Critical => 2,
        Health::Unknown => 3,
    })
}
