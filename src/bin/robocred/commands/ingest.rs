//! `ingest`: the appliance's device metadata, read with the robot's own credential.

mod reading;

use std::{
    io::{self, Write},
    path::PathBuf,
    str::FromStr,
};

use clap::{
    Args, ValueEnum,
    builder::{PathBufValueParser, TypedValueParser as _},
};
use robocred::{
    clock::SystemClock,
    ingest,
    inventory::{Inventory, Task},
    session::Session,
    site::{Format, IngestTarget, RobotId, Stream},
    telling::Telling,
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    first_contact,
    tell::{self, Failed},
    verify::active,
};
use crate::{
    Outcome,
    cli::{Selector, one_of},
    error::{CommandError, Kind, worst},
    invocation::Invocation,
    opened::{Opened, absolute, now},
    output::{
        Output, clean,
        json::{Ingest, IngestRun},
        style::{self, paint},
    },
};
use reading::failed_run;
pub(super) use reading::{Wanted, default_target, read};

/// Read device metadata with a robot's credential; changes nothing on the appliance
///
/// Each run writes the records and a manifest: how many, out of how many, complete or not, and
/// which credential read them. Files appear under their final name only when whole.
#[derive(Debug, Args)]
pub struct IngestArgs {
    /// The robots, or sites for all their robots; every robot if none is named
    #[arg(value_name = "SITE/ROBOT|SITE")]
    pub robots: Vec<Selector>,

    /// The directory for the files, or - for standard output [default: STATE/ingest/SITE/ROBOT]
    #[arg(short, long, value_name = "DIR|-", value_parser = PathBufValueParser::new().map(Destination::from))]
    pub output: Option<Destination>,

    /// What to read (repeatable) [default: assets]
    #[arg(long, value_name = "STREAM", value_parser = one_of::<Stream>(
        [Stream::Assets, Stream::Plugins, Stream::Findings, Stream::Events].map(Stream::as_str)
    ))]
    pub stream: Vec<Stream>,

    /// The format of the files [default: ndjson]
    #[arg(long, value_name = "FORMAT", value_parser = one_of::<Format>(
        [Format::Ndjson, Format::Csv, Format::Parquet].map(Format::as_str)
    ))]
    pub format: Option<Format>,

    /// How the files are compressed
    #[arg(long, value_name = "METHOD", default_value = "none")]
    pub compress: Compression,

    /// Which of the appliance's interfaces to read from
    #[arg(long, value_name = "API", default_value = "auto")]
    pub api: Api,

    /// How many records to ask for at a time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub page_size: Option<u32>,

    /// Only what changed since the last complete run, or since a time (RFC 3339)
    #[arg(long, value_name = "last|TIME")]
    pub since: Option<Since>,

    /// The free-form details of each device too
    #[arg(long)]
    pub with_details: bool,

    /// Devices that are hidden on the appliance too
    #[arg(long)]
    pub include_hidden: bool,

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

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

/// One of the appliance's interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Api {
    /// GraphQL, or REST where there is none.
    Auto,
    /// `/graphql`.
    Graphql,
    /// `/v1`.
    Rest,
}

/// From when on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// The last complete run.
    Last,
    /// A moment.
    Time(OffsetDateTime),
}

impl FromStr for Since {
    type Err = NoTime;

    fn from_str(given: &str) -> Result<Self, NoTime> {
        match given {
            "last" => Ok(Self::Last),
            time => OffsetDateTime::parse(time, &Rfc3339).map(Self::Time).map_err(|_| NoTime(time.to_owned())),
        }
    }
}

/// Neither `last` nor a time.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is neither `last` nor a time like 2026-01-31T08:00:00Z")]
pub struct NoTime(String);

impl IngestArgs {
    /// Refuses what makes no sense together and what the parser cannot see.
    fn check(&self, output: Output) -> Result<(), CommandError> {
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
}

pub fn run(invocation: &Invocation, args: &IngestArgs) -> Outcome {
    args.check(invocation.output)?;
    args.refuse_what_comes_later()?;
    super::block_on(ingest_all(invocation, args))?
}

impl IngestArgs {
    /// What the contract has and this version has not yet.
    fn refuse_what_comes_later(&self) -> Result<(), CommandError> {
        let missing = match self {
            Self { compress: Compression::Gzip | Compression::Zstd, .. } => "--compress".to_owned(),
            Self { since: Some(_), .. } => "--since".to_owned(),
            Self { with_details: true, .. } => "--with-details".to_owned(),
            Self { format: Some(format), .. } if *format != Format::Ndjson => format!("--format {format}"),
            Self { stream, .. } => match stream.iter().find(|stream| **stream != Stream::Assets) {
                Some(stream) => format!("--stream {stream}"),
                None => return Ok(()),
            },
        };
        Err(CommandError::usage(format!("{missing} is not in this version yet")).hint("leave it out"))
    }

    /// What is to be read for a robot: as the flags say, else as configured.
    fn wanted(&self, target: Option<&IngestTarget>, default_dir: PathBuf) -> Wanted {
        let configured = target.cloned().unwrap_or_else(default_target);
        let dir = match &self.output {
            Some(Destination::StandardOutput) => None,
            Some(Destination::Directory(dir)) => Some(dir.clone()),
            None => Some(configured.dir.unwrap_or(default_dir)),
        };
        Wanted {
            streams: if self.stream.is_empty() { configured.streams } else { self.stream.clone() },
            format: self.format.unwrap_or(configured.format),
            api: match self.api {
                Api::Auto => None,
                Api::Graphql => Some(ingest::Api::Graphql),
                Api::Rest => Some(ingest::Api::Rest),
            },
            page_size: self.page_size.unwrap_or(ingest::PAGE_SIZE),
            include_hidden: self.include_hidden,
            dir,
        }
    }
}

async fn ingest_all(invocation: &Invocation, args: &IngestArgs) -> Outcome {
    let mut opened = Opened::load(invocation)?;
    let robots = opened.select(&args.robots)?;
    let several = robots.len() > 1;
    let mut body = Ingest { runs: Vec::new() };
    let (mut failures, mut ended) = (Vec::new(), Vec::new());
    let inventory = match opened.inventory_if_any().await? {
        Some(_) => Some(opened.inventory().await?),
        None => None,
    };
    for id in robots {
        let read = match &inventory {
            Some(inventory) => ingest_one(invocation, args, &mut opened, inventory, &id, several).await,
            None => Err(no_credential(&id)),
        };
        let (runs, failed) = match read {
            Ok((runs, failed)) => {
                ended.push((id.clone(), worst(failed.iter().copied())));
                (runs, failed)
            }
            Err(error) if error.reader_is_gone() => return Err(error),
            Err(error) => {
                invocation.output.robot_error(&id.to_string(), &error);
                let streams = if args.stream.is_empty() { vec![Stream::Assets] } else { args.stream.clone() };
                let runs = streams.into_iter().map(|stream| failed_run(&id, stream, &error)).collect();
                ended.push((id.clone(), Some(error.kind())));
                (runs, vec![error.kind()])
            }
        };
        body.runs.extend(runs);
        failures.extend(failed);
    }
    if let Some(inventory) = &inventory {
        tell_of(invocation, &opened, inventory, ended).await?;
    }
    if args.output != Some(Destination::StandardOutput) {
        invocation.output.result(&body, show)?;
    }
    Ok(worst(failures))
}

/// Tells of what failed for robots that have a credential, and forgets what is mended.
async fn tell_of(
    invocation: &Invocation,
    opened: &Opened,
    inventory: &Inventory,
    ended: Vec<(RobotId, Option<Kind>)>,
) -> Result<(), CommandError> {
    let telling = Telling { config: &opened.config, inventory: Some(inventory), now: now() };
    let mut failed = Vec::new();
    for (robot, kind) in ended {
        match kind {
            None => telling.mended(&robot, Task::Ingest).await?,
            Some(kind)
                if tell::concerns_others(kind, !invocation.interactive)
                    && active(inventory, &robot).await?.is_some() =>
            {
                failed.push(Failed { robot, task: Task::Ingest, kind });
            }
            Some(_) => {}
        }
    }
    tell::failures(invocation.output, telling, failed).await;
    Ok(())
}

async fn ingest_one(
    invocation: &Invocation,
    args: &IngestArgs,
    opened: &mut Opened,
    inventory: &Inventory,
    id: &RobotId,
    several: bool,
) -> Result<(Vec<IngestRun>, Vec<Kind>), CommandError> {
    let record = active(inventory, id).await?.ok_or_else(|| no_credential(id))?;
    first_contact::settle(invocation, opened, &id.site, args.accept_new).await?;
    let (site, robot) =
        opened.config.robot(id).ok_or_else(|| CommandError::new(Kind::Config, format!("{id} is not configured")))?;
    let secrets = opened.secrets(invocation, inventory).await?;
    let session = Session::open(site, inventory, &secrets, &SystemClock)?;
    let default_dir = ingest::default_dir(&opened.paths.state_dir, id);
    let mut wanted = args.wanted(robot.ingest.as_ref(), default_dir);
    wanted.dir = wanted.dir.map(|dir| absolute(&dir)).transpose()?;
    if let (Some(dir), Some(Destination::Directory(_)), true) = (&mut wanted.dir, &args.output, several) {
        // File names do not say whose data it is.
        dir.extend([id.site.as_str(), id.robot.as_str()]);
    }
    read(invocation, &session, &record, &wanted).await
}

fn no_credential(id: &RobotId) -> CommandError {
    CommandError::new(Kind::Failed, format!("{id} has no active credential"))
        .hint(format!("run `robocred provision {id}` first"))
}

/// Shows one line for each stream that was read. Failed runs are left out: they
/// brought nothing, and their errors go to standard error.
pub fn show(body: &Ingest, out: &mut dyn Write) -> io::Result<()> {
    for run in body.runs.iter().filter(|run| run.sha256.is_some()) {
        let total = run.total_reported.map_or_else(String::new, |total| format!(" of {total}"));
        let verdict = if run.complete { paint(style::GOOD, "complete") } else { paint(style::FAIR, "not complete") };
        writeln!(
            out,
            "{}: {} {}{total} in {:.1} s, {verdict}",
            paint(style::BOLD, clean::line(&run.robot)),
            run.records,
            clean::line(&run.stream),
            run.seconds,
        )?;
        for path in [&run.path, &run.manifest].into_iter().flatten() {
            writeln!(out, "  {}", clean::line(&path.display().to_string()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{json::IngestRun, shown};

    #[test]
    fn a_line_a_stream() {
        let run = IngestRun {
            robot: "plant-a/lucidum".into(),
            stream: "assets".into(),
            api: Some("graphql".into()),
            records: 1000,
            total_reported: Some(1000),
            complete: true,
            pages: 10,
            bytes: 1,
            seconds: 0.25,
            path: Some("/srv/assets.ndjson".into()),
            manifest: None,
            sha256: Some("ab".into()),
            fingerprint_sha256: None,
            error: None,
        };
        let short = IngestRun { complete: false, total_reported: None, path: None, ..run.clone() };
        assert_eq!(
            shown(|out| show(&Ingest { runs: vec![run, short] }, out)),
            "plant-a/lucidum: 1000 assets of 1000 in 0.2 s, complete\n  /srv/assets.ndjson\n\
             plant-a/lucidum: 1000 assets in 0.2 s, not complete\n"
        );
    }
}
