//! Reading the wanted streams of one robot, and what came of each.

use std::{io, path::PathBuf, sync::Arc};

use robocred::{
    credential::Record,
    ingest::{self, Manners, Request, Since},
    inventory::AttentionCode,
    session::Session,
    site::{ApiChoice, Compression, Format, IngestTarget, Keep, RobotId, Stream},
};

use crate::{
    error::{CommandError, Kind},
    invocation::Invocation,
    output::json::IngestRun,
};

/// What `--ingest` and a plain `ingest` read.
pub fn default_target() -> IngestTarget {
    IngestTarget::of(vec![Stream::Assets])
}

/// What is to be read, settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub streams: Vec<Stream>,
    pub format: Format,
    pub compress: Compression,
    pub api: ApiChoice,
    pub page_size: u32,
    /// Of the streams that have a time of change.
    pub since: Option<Since>,
    pub with_details: bool,
    pub include_hidden: bool,
    pub max_rate: u32,
    pub connections: u32,
    pub keep: Option<Keep>,
    /// `None`: standard output.
    pub dir: Option<PathBuf>,
    /// Whether that is where the configuration has it go.
    pub on_target: bool,
}

impl Wanted {
    /// As configured, without flags.
    pub fn configured(target: &IngestTarget, default_dir: PathBuf) -> Self {
        Self {
            streams: target.streams.clone(),
            format: target.format,
            compress: target.compress,
            api: target.api,
            page_size: target.page_size.unwrap_or(ingest::PAGE_SIZE),
            since: target.since_last.then_some(Since::Last),
            with_details: target.with_details,
            include_hidden: target.include_hidden,
            max_rate: target.max_rate.unwrap_or(ingest::MAX_RATE),
            connections: *ingest::CONNECTIONS.start(),
            keep: target.keep,
            dir: Some(target.dir.clone().unwrap_or(default_dir)),
            on_target: true,
        }
    }

    /// Refuses what standard output cannot take: more than one stream, and bytes on a terminal.
    pub fn fits_standard_output(&self, terminal: bool) -> Result<(), CommandError> {
        if self.streams.len() > 1 {
            let streams: Vec<&str> = self.streams.iter().map(|stream| stream.as_str()).collect();
            let message = format!("`-o -` takes one stream, and {} are configured", streams.join(", "));
            return Err(CommandError::usage(message).hint("name one with --stream"));
        }
        let bytes = match (self.format, self.compress) {
            (Format::Parquet, _) => Format::Parquet.as_str(),
            (_, Compression::None) => return Ok(()),
            (_, packed) => packed.as_str(),
        };
        if terminal {
            return Err(CommandError::usage(format!("{bytes} is not for a terminal"))
                .hint("send it to a file or another program: `-o - > FILE`"));
        }
        Ok(())
    }

    fn request(&self, id: &RobotId, record: Option<&Record>, stream: Stream, manners: &Arc<Manners>) -> Request {
        Request {
            robot: id.clone(),
            record: record.cloned(),
            stream,
            api: self.api,
            format: self.format,
            compress: self.compress,
            page_size: self.page_size,
            include_hidden: self.include_hidden,
            with_details: self.with_details,
            since: self.since.filter(|_| stream.has_since()),
            max_rate: self.max_rate,
            manners: Arc::clone(manners),
            connections: self.connections,
            keep: self.keep,
            to: self.dir.clone().map_or(ingest::Destination::Stdout, ingest::Destination::Dir),
            on_target: self.on_target,
        }
    }
}

/// Reads every wanted stream of one robot, with its credential or else the
/// site's API key; a stream that fails does not stop the next. `manners`: one
/// for a site, so that all that is read from it in one command is within one bound.
pub async fn read(
    invocation: &Invocation,
    session: &Session<'_>,
    id: &RobotId,
    record: Option<&Record>,
    wanted: &Wanted,
    manners: &Arc<Manners>,
) -> Result<(Vec<IngestRun>, Vec<Kind>), CommandError> {
    let (mut runs, mut failures) = (Vec::new(), Vec::new());
    let (mut whole, mut failed) = (Vec::new(), Vec::new());
    for stream in &wanted.streams {
        let request = wanted.request(id, record, *stream, manners);
        let progress = invocation.output.progress(&format!("{id}: reading {stream}"));
        let counted = |now: ingest::Progress| progress.counted(now.records, now.total);
        let read = ingest::ingest(session, &request, Box::new(io::stdout()), &counted).await;
        drop(progress);
        let failure = match read {
            Ok(run) => {
                let failure = run.incomplete.as_ref().map(|why| {
                    CommandError::new(Kind::Failed, format!("what was read of {stream} is not complete"))
                        .because(why)
                        .hint(match run.path {
                            Some(_) => format!("the records are kept under a name that says so; {}", why.hint()),
                            None => why.hint().to_owned(),
                        })
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
        match failure {
            None => whole.push(*stream),
            Some(error) => {
                invocation.output.robot_error(&id.to_string(), &error);
                failures.push(error.kind());
                failed.push((*stream, error));
            }
        }
    }
    // What goes to a pipe is a person's look: its trouble is not that of the feed.
    if wanted.dir.is_some() {
        note(session, id, &whole, &failed).await?;
    }
    Ok((runs, failures))
}

/// Raises or lifts the attention for an ingest that failed. A site that
/// somebody else is changing right now is left alone: its next ingest says it again.
async fn note(
    session: &Session<'_>,
    id: &RobotId,
    whole: &[Stream],
    failed: &[(Stream, CommandError)],
) -> Result<(), CommandError> {
    let inventory = session.inventory();
    let code = AttentionCode::IngestFailed;
    let raised = inventory.attention().await?.into_iter().find(|raised| raised.robot == *id && raised.code == code);
    let streams: Vec<Stream> = failed.iter().map(|(stream, _)| *stream).collect();
    let becomes = becomes(raised.as_ref().map(|raised| raised.message.as_str()), whole, &streams);
    if becomes == Becomes::Same {
        return Ok(());
    }
    let Ok(lock) = inventory.lock_site(&id.site, None, session.now()).await else { return Ok(()) };
    let of = |wanted| failed.iter().find(|(stream, _)| Becomes::About(*stream) == wanted);
    match of(becomes) {
        Some((stream, error)) => {
            let said = error.for_programs();
            let message = format!("{stream}: {}", said.message);
            inventory.raise(&lock, id, code, &message, said.hint.as_deref(), session.now()).await?;
        }
        None => inventory.clear(&lock, id, code, session.now()).await?,
    }
    Ok(())
}

/// The stream that an attention speaks of, which is how its message begins.
fn about(message: &str) -> Option<Stream> {
    message.split_once(": ")?.0.parse().ok()
}

/// What becomes of the attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Becomes {
    Same,
    About(Stream),
    Lifted,
}

/// One attention stands for all streams of a robot. It is lifted by the stream
/// that it speaks of, never by another, and is about that one as long as it fails.
fn becomes(raised: Option<&str>, whole: &[Stream], failed: &[Stream]) -> Becomes {
    let spoken_of = raised.and_then(about);
    let again = spoken_of.filter(|stream| failed.contains(stream));
    match again.or(failed.first().copied()) {
        _ if again.is_none() && spoken_of.is_some_and(|stream| !whole.contains(&stream)) => Becomes::Same,
        Some(stream) => Becomes::About(stream),
        None if raised.is_some() => Becomes::Lifted,
        None => Becomes::Same,
    }
}

fn run_of(run: &ingest::Run, failure: Option<&CommandError>) -> IngestRun {
    IngestRun {
        robot: run.robot.to_string(),
        stream: run.stream.to_string(),
        api: Some(run.api.as_str().to_owned()),
        records: run.records,
        total_reported: run.total_reported,
        complete: run.complete(),
        flagged: run.flagged,
        pages: run.pages,
        bytes: run.bytes,
        seconds: run.took.as_secs_f64(),
        path: run.path.clone(),
        manifest: run.manifest.clone(),
        sha256: Some(run.sha256.clone()),
        fingerprint_sha256: run.fingerprint.map(|fingerprint| fingerprint.to_string()),
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
        flagged: 0,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_output_takes_one_stream_and_a_terminal_takes_text() {
        let check = |format, compress, on_terminal: Result<(), &str>| {
            let target = IngestTarget { format, compress, ..default_target() };
            let wanted = Wanted::configured(&target, PathBuf::new());
            assert!(wanted.fits_standard_output(false).is_ok(), "{format} {compress}");
            let said = wanted.fits_standard_output(true).map_err(|error| error.for_programs().message);
            assert_eq!(said, on_terminal.map_err(str::to_owned), "{format} {compress}");
        };
        check(Format::Ndjson, Compression::None, Ok(()));
        check(Format::Csv, Compression::None, Ok(()));
        check(Format::Csv, Compression::Gzip, Err("gzip is not for a terminal"));
        check(Format::Ndjson, Compression::Zstd, Err("zstd is not for a terminal"));
        check(Format::Parquet, Compression::None, Err("parquet is not for a terminal"));
        check(Format::Parquet, Compression::Gzip, Err("parquet is not for a terminal"));
    }

    #[test]
    fn since_is_asked_of_the_streams_that_know_it() {
        let target = IngestTarget { since_last: true, ..IngestTarget::of(Stream::ALL.to_vec()) };
        let wanted = Wanted::configured(&target, PathBuf::new());
        let since = |stream| wanted.request(&"a/b".parse().unwrap(), None, stream, &Arc::default()).since;
        assert_eq!(Stream::ALL.map(since), [Some(Since::Last), None, None, Some(Since::Last)]);
    }

    #[test]
    fn a_stream_that_was_read_does_not_hide_another_that_was_not() {
        use Becomes::{About, Lifted, Same};
        use Stream::{Assets, Events, Plugins};
        let check = |raised: Option<&str>, whole: &[Stream], failed: &[Stream], expected| {
            assert_eq!(becomes(raised, whole, failed), expected, "{raised:?} {whole:?} {failed:?}");
        };
        check(None, &[Assets], &[], Same);
        check(None, &[Plugins], &[Assets, Events], About(Assets));
        check(Some("assets: x"), &[Assets], &[], Lifted);
        check(Some("assets: x"), &[Plugins], &[], Same);
        check(Some("assets: x"), &[Plugins], &[Events], Same);
        check(Some("assets: x"), &[Assets], &[Events], About(Events));
        check(Some("assets: x"), &[], &[Events, Assets], About(Assets));
        // Raised by the first ingest after a rotation, which names no stream.
        check(Some("the first ingest failed"), &[Assets], &[], Lifted);
        check(Some("the first ingest failed"), &[], &[Events], About(Events));
    }
}
