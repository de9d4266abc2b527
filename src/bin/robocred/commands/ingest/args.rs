//! What `ingest` can be told, and what does not go together.

use std::{
    io::{self, IsTerminal as _},
    path::PathBuf,
};

use clap::{
    Args,
    builder::{PathBufValueParser, TypedValueParser as _},
};
use robocred::{
    ingest::{CONNECTIONS, Since},
    site::{ApiChoice, Compression, Format, IngestTarget, Keep, PAGE_SIZES, Stream},
};
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

use super::reading::{Wanted, default_target};
use crate::{
    cli::{Selector, one_of},
    error::CommandError,
    output::Output,
};

/// Read an appliance's data into files: devices, plugins, findings, events
///
/// Logs in with the robot's credential, or else with the site's API key, and changes nothing. Each run
/// writes the records and a manifest: how many, out of how many, complete or not, and what read them.
/// Files appear under their final name only when whole; what may not be whole ends in .incomplete.
/// DIR/latest links to the newest complete file of each stream. What no flag says is as configured for
/// the robot.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct IngestArgs {
    /// The robots, or sites for all their robots; every robot if none is named
    #[arg(value_name = "SITE/ROBOT|SITE")]
    pub robots: Vec<Selector>,

    /// The directory for the files, or - for standard output [default: STATE/ingest/SITE/ROBOT]
    #[arg(short, long, value_name = "DIR|-", value_parser = PathBufValueParser::new().map(Destination::from))]
    pub output: Option<Destination>,

    /// What to read (repeatable) [default: assets]
    #[arg(long, value_name = "STREAM", value_parser = one_of::<Stream>(Stream::ALL.map(Stream::as_str)))]
    pub stream: Vec<Stream>,

    /// The format of the files [default: ndjson]
    #[arg(long, value_name = "FORMAT", value_parser = one_of::<Format>(
        [Format::Ndjson, Format::Csv, Format::Parquet].map(Format::as_str)
    ))]
    pub format: Option<Format>,

    /// How the files are compressed; parquet inside [default: none]
    #[arg(long, value_name = "METHOD", value_parser = one_of::<Compression>(
        [Compression::None, Compression::Gzip, Compression::Zstd].map(Compression::as_str)
    ))]
    pub compress: Option<Compression>,

    /// Which of the appliance's interfaces to read; auto is the one that answers [default: auto]
    #[arg(long, value_name = "API", value_parser = one_of::<ApiChoice>(
        [ApiChoice::Auto, ApiChoice::Graphql, ApiChoice::Rest].map(ApiChoice::as_str)
    ))]
    pub api: Option<ApiChoice>,

    /// How many records to ask for at a time, 1 to 1000 [default: 200]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32)
        .range(i64::from(*PAGE_SIZES.start())..=i64::from(*PAGE_SIZES.end())))]
    pub page_size: Option<u32>,

    /// Only what changed since the last complete run, or since a time (RFC 3339); assets and events
    #[arg(long, value_name = "last|TIME", value_parser = since)]
    pub since: Option<Since>,

    /// Everything, also where the configuration says since = "last"
    #[arg(long, conflicts_with = "since")]
    pub full: bool,

    /// The free-form details of devices and plugins too
    #[arg(long)]
    pub with_details: bool,

    /// Devices that are hidden on the appliance too
    #[arg(long)]
    pub include_hidden: bool,

    /// At most so many requests a second, after a burst of as many [default: 200]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_rate: Option<u32>,

    /// Connections to read findings over, 1 to 4; all else is read over one [default: 1]
    #[arg(long, value_name = "N", default_value_t = *CONNECTIONS.start(), hide_default_value = true,
        value_parser = clap::value_parser!(u32)
        .range(i64::from(*CONNECTIONS.start())..=i64::from(*CONNECTIONS.end())))]
    pub connections: u32,

    /// Remove older files of the stream: keep N of them, or those younger than AGE, like 90d [default: keep all]
    #[arg(long, value_name = "N|AGE")]
    pub keep: Option<Keep>,

    /// Read nothing; list the appliances that the site, an Enterprise Manager, is paired with
    #[arg(long, conflicts_with_all = [
        "output", "stream", "format", "compress", "api", "page_size", "since", "full", "with_details", "include_hidden",
        "max_rate", "connections", "keep",
    ])]
    pub list_icps: bool,

    /// Pin what an unknown server presents at first contact
    #[arg(long)]
    pub accept_new: bool,
}

/// Where the records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Standard output.
    StandardOutput,
    /// Files in this directory.
    Directory(PathBuf),
}

impl From<PathBuf> for Destination {
    fn from(given: PathBuf) -> Self {
        if given.as_os_str() == "-" { Self::StandardOutput } else { Self::Directory(given) }
    }
}

fn since(given: &str) -> Result<Since, NoTime> {
    match given {
        "last" => Ok(Since::Last),
        time => {
            let parsed = OffsetDateTime::parse(time, &Rfc3339).ok();
            // At the ends of the calendar a time may have no name in UTC.
            let utc = parsed.and_then(|time| time.checked_to_offset(UtcOffset::UTC));
            let utc = utc.filter(|utc| (0..=9999).contains(&utc.year()));
            utc.map(Since::Time).ok_or_else(|| NoTime(time.to_owned()))
        }
    }
}

/// Neither `last` nor a time.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is neither `last` nor a time like 2026-01-31T08:00:00Z")]
pub struct NoTime(String);

impl IngestArgs {
    /// Refuses what makes no sense together and what the parser cannot see.
    pub fn check(&self, output: Output) -> Result<(), CommandError> {
        refuse_since(self.since, &self.stream, self.api)?;
        if self.output != Some(Destination::StandardOutput) {
            return Ok(());
        }
        if output.is_json() {
            return Err(CommandError::usage("`-o -` and --json both want standard output")
                .hint("write the records to a directory, or leave out --json"));
        }
        if !matches!(self.robots.as_slice(), [Selector::Robot(_)]) || self.stream.len() > 1 {
            return Err(CommandError::usage("`-o -` takes one robot and one stream")
                .hint("name the robot as SITE/ROBOT, or write to a directory"));
        }
        Ok(())
    }

    /// What is to be read for a robot: as the flags say, else as configured.
    pub fn wanted(&self, target: Option<&IngestTarget>, default_dir: PathBuf) -> Result<Wanted, CommandError> {
        let configured = Wanted::configured(target.unwrap_or(&default_target()), default_dir);
        let api = self.api.unwrap_or(configured.api);
        let wanted = Wanted {
            streams: if self.stream.is_empty() { configured.streams } else { self.stream.clone() },
            format: self.format.unwrap_or(configured.format),
            compress: self.compress.unwrap_or(configured.compress),
            api,
            page_size: self.page_size.unwrap_or(configured.page_size),
            // What is configured for every day gives way to what is asked for now.
            since: self.since.or(configured.since.filter(|_| !self.full && api.has_since())),
            with_details: self.with_details || configured.with_details,
            include_hidden: self.include_hidden || configured.include_hidden,
            max_rate: self.max_rate.unwrap_or(configured.max_rate),
            connections: self.connections,
            keep: self.keep.or(configured.keep),
            on_target: self.output.is_none(),
            dir: match &self.output {
                Some(Destination::StandardOutput) => None,
                Some(Destination::Directory(dir)) => Some(dir.clone()),
                None => configured.dir,
            },
        };
        refuse_since(self.since, &wanted.streams, Some(wanted.api))?;
        if wanted.dir.is_none() {
            wanted.fits_standard_output(io::stdout().is_terminal())?;
        }
        Ok(wanted)
    }
}

/// Refuses to ask for what changed where that cannot be asked for.
fn refuse_since(since: Option<Since>, streams: &[Stream], api: Option<ApiChoice>) -> Result<(), CommandError> {
    if since.is_none() {
        return Ok(());
    }
    if let Some(stream) = streams.iter().find(|stream| !stream.has_since()) {
        return Err(CommandError::usage(format!("--since and the stream {stream} do not go together"))
            .hint(format!("{stream} have no time of change: read them whole, without --since")));
    }
    if api.is_some_and(|api| !api.has_since()) {
        return Err(CommandError::usage("--since and REST do not go together")
            .hint("REST cannot be asked for what changed: use --api graphql, or leave out --since"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use robocred::ingest;
    use time::macros::datetime;

    use super::*;
    use crate::error::Kind;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: IngestArgs,
    }

    fn args(line: &str) -> IngestArgs {
        Line::try_parse_from(["ingest"].into_iter().chain(line.split_whitespace())).unwrap().args
    }

    #[test]
    fn flags_go_before_what_is_configured() {
        let target = IngestTarget {
            format: Format::Csv,
            compress: Compression::Gzip,
            api: ApiChoice::Graphql,
            page_size: Some(50),
            since_last: true,
            with_details: true,
            include_hidden: true,
            max_rate: Some(7),
            keep: Some(Keep::Count(3)),
            dir: Some("/data".into()),
            ..IngestTarget::of(vec![Stream::Events])
        };
        let check = |line: &str, target: Option<&IngestTarget>, expected: Wanted| {
            let wanted = args(line).wanted(target, "/default".into());
            assert_eq!(wanted.map_err(|error| error.for_programs().message), Ok(expected), "{line:?}");
        };
        let plain = Wanted {
            streams: vec![Stream::Assets],
            format: Format::Ndjson,
            compress: Compression::None,
            api: ApiChoice::Auto,
            page_size: ingest::PAGE_SIZE,
            since: None,
            with_details: false,
            include_hidden: false,
            max_rate: ingest::MAX_RATE,
            connections: 1,
            keep: None,
            dir: Some("/default".into()),
            on_target: true,
        };
        let configured = Wanted {
            streams: vec![Stream::Events],
            format: Format::Csv,
            compress: Compression::Gzip,
            api: ApiChoice::Graphql,
            page_size: 50,
            since: Some(Since::Last),
            with_details: true,
            include_hidden: true,
            max_rate: 7,
            keep: Some(Keep::Count(3)),
            dir: Some("/data".into()),
            ..plain.clone()
        };
        check("", None, plain.clone());
        check("", Some(&target), configured.clone());
        check(
            "--compress none --api auto",
            Some(&target),
            Wanted { compress: Compression::None, api: ApiChoice::Auto, ..configured.clone() },
        );
        check(
            "--stream assets --format parquet --page-size 1000 --max-rate 1 --keep 90d -o x",
            Some(&target),
            Wanted {
                streams: vec![Stream::Assets],
                format: Format::Parquet,
                page_size: 1000,
                max_rate: 1,
                keep: Some(Keep::Age(time::Duration::days(90))),
                dir: Some("x".into()),
                on_target: false,
                ..configured.clone()
            },
        );
        // Since when is configured holds for the streams and interfaces that know it.
        check("--api rest", Some(&target), Wanted { api: ApiChoice::Rest, since: None, ..configured.clone() });
        check("--full", Some(&target), Wanted { since: None, ..configured.clone() });
        check("--full", None, plain.clone());
        check("--stream plugins", Some(&target), Wanted { streams: vec![Stream::Plugins], ..configured });
        check(
            "--with-details --include-hidden --connections 4 --since 2026-11-22T10:00:00Z",
            None,
            Wanted {
                with_details: true,
                include_hidden: true,
                connections: 4,
                since: Some(Since::Time(datetime!(2026-11-22 10:00 UTC))),
                ..plain
            },
        );
    }

    #[test]
    fn a_time_has_to_have_a_name_in_utc() {
        let check = |given: &str, expected: Option<Since>| assert_eq!(since(given).ok(), expected, "{given}");
        check("last", Some(Since::Last));
        check("2026-11-22T12:00:00+02:00", Some(Since::Time(datetime!(2026-11-22 10:00 UTC))));
        check("9999-12-31T23:59:59Z", Some(Since::Time(datetime!(9999-12-31 23:59:59 UTC))));
        for given in ["9999-12-31T23:59:59-12:00", "0000-01-01T00:00:00+12:00", "yesterday", ""] {
            check(given, None);
        }
    }

    #[test]
    fn everything_is_not_what_changed() {
        assert!(Line::try_parse_from(["ingest", "--full", "--since", "last"]).is_err());
        assert!(Line::try_parse_from(["ingest", "--full", "--list-icps"]).is_err());
    }

    #[test]
    fn what_does_not_go_together_is_a_usage_error() {
        let check = |line: &str, streams: &[Stream], api: ApiChoice, message: &str| {
            let target = IngestTarget { api, ..IngestTarget::of(streams.to_vec()) };
            let error = args(line).wanted(Some(&target), "/default".into()).unwrap_err();
            assert_eq!((error.kind(), error.for_programs().message.as_str()), (Kind::Usage, message), "{line:?}");
            assert!(error.for_programs().hint.is_some(), "{line:?}");
        };
        let (assets, both) = (&[Stream::Assets], &[Stream::Assets, Stream::Findings]);
        check("--since last", both, ApiChoice::Auto, "--since and the stream findings do not go together");
        check(
            "--since last --stream plugins",
            assets,
            ApiChoice::Auto,
            "--since and the stream plugins do not go together",
        );
        check("--since last", assets, ApiChoice::Rest, "--since and REST do not go together");
        check("a/b -o -", both, ApiChoice::Auto, "`-o -` takes one stream, and assets, findings are configured");
    }
}
