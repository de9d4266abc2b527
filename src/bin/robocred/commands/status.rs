//! `status`: every robot at a glance, as table, page or metrics.

mod live;
mod notes;
mod table;

use std::{
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use robocred::{
    config::Config,
    inventory::Inventory,
    renewal::parse_duration,
    status::{
        self, Holdings, Report,
        document::{Forecast, Status},
        metrics, page,
    },
    whole_file,
};

use crate::{
    Outcome,
    error::CommandError,
    invocation::Invocation,
    opened::{now, paths},
    output,
};
use table::Look;

/// Show every robot: state, days left, when due, what needs a person
///
/// Reads only what is kept here: it opens no connection and no secret store, and changes nothing.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Say which rotations open within this many days, and which of them need a support token [default: 30d]
    #[arg(long, value_name = "DAYS", value_parser = days)]
    pub forecast: Option<i64>,

    /// Write the status page into this file instead, whole or not at all; - is standard output
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// Write the metrics into this file instead, for node_exporter's textfile collector; - is standard output
    #[arg(long, value_name = "FILE")]
    #[allow(clippy::doc_markdown, reason = "the text is shown as it stands")]
    pub prometheus: Option<PathBuf>,

    /// Stay, and show it anew every so many seconds until Ctrl-C [default: 2]
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        default_missing_value = "2",
        value_parser = clap::value_parser!(u64).range(1..=3600),
        conflicts_with_all = ["html", "prometheus"]
    )]
    pub watch: Option<u64>,
}

/// How far ahead is looked where nobody says.
const DAYS_AHEAD: i64 = 30;

fn days(given: &str) -> Result<i64, String> {
    let whole = |time: time::Duration| time.whole_days();
    let days = parse_duration(given).ok().filter(|time| *time == time::Duration::days(whole(*time))).map(whole);
    days.ok_or_else(|| format!("{given:?} is not a number of days like 30d"))
}

pub fn run(invocation: &Invocation, args: &StatusArgs) -> Outcome {
    if let Some(seconds) = args.watch {
        return live::run(invocation, Duration::from_secs(seconds), args.forecast);
    }
    let to_standard_output = [&args.html, &args.prometheus].map(|file| file.as_deref() == Some(Path::new("-")));
    if to_standard_output == [true, true] || (invocation.output.is_json() && to_standard_output != [false, false]) {
        return Err(CommandError::usage("standard output takes one document").hint("name a file for the other"));
    }
    let paths = paths(invocation)?;
    let config = Config::load(&paths);
    let holdings = super::block_on(async {
        match Inventory::open_read_only(&paths.state_dir).await? {
            Some(inventory) => Ok::<_, CommandError>(Holdings::read(&inventory).await?),
            None => Ok(Holdings::default()),
        }
    })??;
    let report = status::report(config.as_ref(), &holdings, now());
    let mut body = Status::of(&report, paths.config, paths.state_dir);
    if let Some(file) = &args.html {
        write(file, &page::html(&report, &body, None))?;
    }
    if let Some(file) = &args.prometheus {
        write(file, &metrics::text(&report, None))?;
    }
    let written = args.html.is_some() || args.prometheus.is_some();
    if invocation.output.is_json() {
        body.forecast = args.forecast.map(|days| Forecast::of(&report, days));
    } else if !written {
        body.forecast = ahead(&report, args.forecast);
    }
    if invocation.output.is_json() || !written {
        let look = Look { at: report.at, columns: columns() };
        invocation.output.result(&body, |status, out| table::show(status, look, out))?;
    }
    Ok(None)
}

/// What a person is told of what lies ahead: what was asked for, else only if there is anything.
fn ahead(report: &Report, asked: Option<i64>) -> Option<Forecast> {
    let forecast = Forecast::of(report, asked.unwrap_or(DAYS_AHEAD));
    (asked.is_some() || !forecast.due.is_empty()).then_some(forecast)
}

fn write(file: &Path, text: &str) -> Result<(), CommandError> {
    if file == Path::new("-") {
        return output::print_bytes(text.as_bytes());
    }
    Ok(whole_file::publish(file, text.as_bytes())?)
}

/// How wide the terminal is, if standard output is one.
fn columns() -> Option<usize> {
    if !io::stdout().is_terminal() {
        return None;
    }
    Some(size().map_or(80, |(columns, _)| columns))
}

/// Columns and rows of the terminal, where it tells.
fn size() -> Option<(usize, usize)> {
    #[cfg(unix)]
    {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
        Some((size.ws_col.into(), size.ws_row.into())).filter(|(columns, rows)| *columns > 0 && *rows > 0)
    }
    #[cfg(not(unix))]
    None
}
