//! Reading the wanted streams of one robot, and what came of each.

use std::{io, path::PathBuf};

use robocred::{
    credential::Record,
    ingest::{self, Request},
    inventory::AttentionCode,
    session::Session,
    site::{Format, IngestTarget, RobotId, Stream},
};

use crate::{
    error::{CommandError, Kind},
    invocation::Invocation,
    output::json::IngestRun,
};

/// What `--ingest` and a plain `ingest` read.
pub fn default_target() -> IngestTarget {
    IngestTarget { streams: vec![Stream::Assets], format: Format::Ndjson, dir: None, every: None }
}

/// What is to be read, settled.
pub struct Wanted {
    pub streams: Vec<Stream>,
    pub format: Format,
    pub api: Option<ingest::Api>,
    pub page_size: u32,
    pub include_hidden: bool,
    /// `None`: standard output.
    pub dir: Option<PathBuf>,
}

impl Wanted {
    /// As configured, without flags.
    pub fn configured(target: &IngestTarget, default_dir: PathBuf) -> Self {
        Self {
            streams: target.streams.clone(),
            format: target.format,
            api: None,
            page_size: ingest::PAGE_SIZE,
            include_hidden: false,
            dir: Some(target.dir.clone().unwrap_or(default_dir)),
        }
    }
}

/// Reads every wanted stream of one robot; a stream that fails does not stop the next.
pub async fn read(
    invocation: &Invocation,
    session: &Session<'_>,
    record: &Record,
    wanted: &Wanted,
) -> Result<(Vec<IngestRun>, Vec<Kind>), CommandError> {
    let id = &record.id.robot;
    let (mut runs, mut failures) = (Vec::new(), Vec::new());
    for stream in &wanted.streams {
        let request = Request {
            record: record.clone(),
            stream: *stream,
            api: wanted.api,
            format: wanted.format,
            page_size: wanted.page_size,
            include_hidden: wanted.include_hidden,
            to: wanted.dir.clone().map_or(ingest::Destination::Stdout, ingest::Destination::Dir),
        };
        let progress = invocation.output.progress(&format!("{id}: reading {stream}"));
        let counted = |now: ingest::Progress| progress.counted(now.records, now.total);
        let read = ingest::ingest(session, &request, &mut io::stdout().lock(), &counted).await;
        drop(progress);
        let failure = match read {
            Ok(run) => {
                let failure = run.incomplete.as_ref().map(|why| {
                    CommandError::new(Kind::Failed, format!("what was read of {stream} is not complete"))
                        .because(why)
                        .hint(
                            "the records are kept under a name that says so; run it again when the appliance is quiet",
                        )
                });
                runs.push(run_of(&run, failure.as_ref()));
                failure
            }
            Err(error) => {
                let error = match error {
                    ingest::Error::Output { source, .. }
                        if source.kind() == io::ErrorKind::BrokenPipe && wanted.dir.is_none() =>
                    {
                        return Err(CommandError::standard_output(&source));
                    }
                    error => CommandError::from(error),
                };
                runs.push(failed_run(id, *stream, &error));
                Some(error)
            }
        };
        note(session, id, failure.as_ref()).await?;
        if let Some(error) = failure {
            invocation.output.robot_error(&id.to_string(), &error);
            failures.push(error.kind());
        }
    }
    Ok((runs, failures))
}

/// Raises or lifts the attention for an ingest that failed. A site that
/// somebody else is changing right now is left alone: its next ingest says it again.
async fn note(session: &Session<'_>, id: &RobotId, failure: Option<&CommandError>) -> Result<(), CommandError> {
    let inventory = session.inventory();
    let code = AttentionCode::IngestFailed;
    let raised = inventory.attention().await?.iter().any(|raised| raised.robot == *id && raised.code == code);
    if failure.is_none() && !raised {
        return Ok(());
    }
    let Ok(lock) = inventory.lock_site(&id.site, None, session.now()).await else { return Ok(()) };
    match failure {
        Some(error) => {
            let said = error.for_programs();
            inventory.raise(&lock, id, code, &said.message, said.hint.as_deref(), session.now()).await?;
        }
        None => inventory.clear(&lock, id, code, session.now()).await?,
    }
    Ok(())
}

fn run_of(run: &ingest::Run, failure: Option<&CommandError>) -> IngestRun {
    IngestRun {
        robot: run.robot.to_string(),
        stream: run.stream.to_string(),
        api: Some(run.api.as_str().to_owned()),
        records: run.records,
        total_reported: run.total_reported,
        complete: run.complete(),
        pages: run.pages,
        bytes: run.bytes,
        seconds: run.took.as_secs_f64(),
        path: run.path.clone(),
        manifest: run.manifest.clone(),
        sha256: Some(run.sha256.clone()),
        fingerprint_sha256: Some(run.fingerprint.to_string()),
        error: failure.map(CommandError::for_programs),
    }
}

pub fn failed_run(id: &RobotId, stream: Stream, error: &CommandError) -> IngestRun {
    IngestRun {
        robot: id.to_string(),
        stream: stream.to_string(),
        api: None,
        records: 0,
        total_reported: None,
        complete: false,
        pages: 0,
        bytes: 0,
        seconds: 0.0,
        path: None,
        manifest: None,
        sha256: None,
        fingerprint_sha256: None,
        error: Some(error.for_programs()),
    }
}
