//! Reading an appliance's data with a robot's own credential, into files.
//!
//! Owns the walk over the pages and when it counts as whole ([`Incomplete`]),
//! the formats ([`sinks`]), the files and the manifest beside them. Leaves out
//! how a page is asked for (`appliance`), which credential is used and how the
//! server is judged (`session`), and when to run (`watch`).
//!
//! Promises: nothing on the appliance is changed; pages are asked for one
//! after the other over one connection; a file stands under its final name
//! only when every record there was is in it, and never without its manifest.
//! A run that ended but cannot show that it is whole leaves its data under a
//! name that says so. A run that failed leaves nothing.
//!
//! Memory: one page, and 8 bytes for each record seen (19 MiB of table for a
//! million), by which records that come twice are known.

mod error;
mod files;
mod manifest;
mod pages;
mod reading;
pub mod sinks;
mod walk;

use std::{
    fmt,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use time::OffsetDateTime;

use crate::{
    credential, inventory,
    session::Session,
    site::{Format, RobotId, Stream},
    x509::Fingerprint,
};
use files::Part;
use pages::Pages;
use sinks::{Counted, Ndjson};

pub use error::Error;
pub use walk::Incomplete;

/// Which of the appliance's interfaces is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Api {
    /// `POST /graphql`.
    Graphql,
    /// `POST /v1/assets`.
    Rest,
}

impl Api {
    /// The word of our command line, files and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Graphql => "graphql",
            Self::Rest => "rest",
        }
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Graphql => "GraphQL",
            Self::Rest => "REST",
        })
    }
}

/// Where the data goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A file in this directory, which is made (0700) if missing.
    Dir(PathBuf),
    /// The writer that [`ingest`] is given; no file and no manifest.
    Stdout,
}

/// What to read, how, and where to.
#[derive(Clone, Debug)]
pub struct Request {
    /// The credential to read with.
    pub record: credential::Record,
    /// What to read; so far [`Stream::Assets`].
    pub stream: Stream,
    /// Which interface; `None`: GraphQL, and REST where GraphQL is not to be had.
    pub api: Option<Api>,
    /// The format; so far [`Format::Ndjson`].
    pub format: Format,
    /// Records asked for at a time, within [`PAGE_SIZES`]. A server may send fewer.
    pub page_size: u32,
    /// Whether devices that were hidden on the appliance are read too.
    pub include_hidden: bool,
    /// Where the data goes.
    pub to: Destination,
}

/// The page size unless another is asked for.
pub const PAGE_SIZE: u32 = 200;
/// The page sizes that can be asked for.
pub const PAGE_SIZES: std::ops::RangeInclusive<u32> = 1..=1000;

/// The directory for a robot's data where none is configured: `STATE/ingest/SITE/ROBOT`.
#[must_use]
pub fn default_dir(state_dir: &Path, robot: &RobotId) -> PathBuf {
    state_dir.join("ingest").join(robot.site.as_str()).join(robot.robot.as_str())
}

/// What stands for the writer where a path is wanted.
const STDOUT: &str = "-";
/// What is written at a time, in bytes.
const WRITE_BUFFER: usize = 128 << 10;

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Pages received.
    pub pages: u64,
    /// Records written.
    pub records: u64,
    /// How many there are, if the server said so.
    pub total: Option<u64>,
    /// Bytes of the replies received.
    pub bytes: u64,
}

/// A run that came to its end.
#[derive(Debug)]
pub struct Run {
    /// Whose credential.
    pub robot: RobotId,
    /// What was read.
    pub stream: Stream,
    /// By which interface.
    pub api: Api,
    /// Records written, each id once.
    pub records: u64,
    /// Records that came again and were left out.
    pub duplicates: u64,
    /// The server's own count at the first page, if it gave one.
    pub total_reported: Option<u64>,
    /// Why this may not be all there is; `None`: it is.
    pub incomplete: Option<Incomplete>,
    /// Pages received, without those looked at a second time.
    pub pages: u64,
    /// Bytes of the replies received.
    pub bytes: u64,
    /// When it began.
    pub started: OffsetDateTime,
    /// How long it took.
    pub took: Duration,
    /// The data file, absolute; `None` where the data went to the writer.
    pub path: Option<PathBuf>,
    /// The manifest beside it, absolute.
    pub manifest: Option<PathBuf>,
    /// SHA-256 of the data written, in lower-case hex.
    pub sha256: String,
    /// Bytes of data written.
    pub written: u64,
    /// The certificate it was read with.
    pub fingerprint: Fingerprint,
}

impl Run {
    /// Whether every record there was has been written.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.incomplete.is_none()
    }
}

/// Reads one stream of one robot's appliance to its end. Network and disk.
///
/// `out` takes the data of [`Destination::Stdout`] and nothing else;
/// `progress` is called after each page. Writing blocks the calling thread.
///
/// # Errors
/// [`Error`]; nothing of the run is left then, except with
/// [`Error::Inventory`], and except for what already went to `out`.
/// A run that is not whole is no error: see [`Run::incomplete`].
pub async fn ingest(
    session: &Session<'_>,
    request: &Request,
    out: &mut dyn Write,
    progress: &dyn Fn(Progress),
) -> Result<Run, Error> {
    check(request)?;
    let started = session.now();
    let clock = Instant::now();
    let loaded = session.load(&request.record).await?;
    let read = session.read_api(&loaded.identity(session.site())?)?;
    let mut pages = Pages::new(read, request);

    // A directory that cannot be used is found out before the appliance is asked for anything.
    let part = match &request.to {
        Destination::Dir(dir) => Some(Part::create(dir, request.stream, request.format, started)?),
        Destination::Stdout => None,
    };
    let mut file = part.as_ref().map(Part::file);
    let out: &mut dyn Write = match &mut file {
        Some(file) => file,
        None => out,
    };
    let mut counted = Counted::new(out);
    let reading = {
        let mut sink = Ndjson::new(BufWriter::with_capacity(WRITE_BUFFER, &mut counted));
        reading::read_all(&mut pages, request.api, &mut sink, progress).await
    };
    let reading = reading.map_err(|stopped| stopped.explain(session, part.as_ref()))?;

    let written = counted.written();
    let mut run = Run {
        robot: request.record.id.robot.clone(),
        stream: request.stream,
        api: reading.api,
        records: reading.walk.records(),
        duplicates: reading.walk.duplicates(),
        total_reported: reading.walk.total(),
        incomplete: reading.incomplete,
        pages: reading.walk.pages(),
        bytes: reading.bytes,
        started,
        took: clock.elapsed(),
        path: None,
        manifest: None,
        sha256: counted.sha256(),
        written,
        fingerprint: loaded.certificate.fingerprint(),
    };
    let ended = session.now();
    if let Some(part) = part {
        let manifest = manifest::manifest(&run, request, session.site(), ended, &part.data_name(run.complete()));
        let (path, beside) = part.keep(run.complete(), &manifest)?;
        (run.path, run.manifest) = (Some(path), Some(beside));
    }
    let outcome = inventory::Run {
        credential: request.record.id.clone(),
        stream: run.stream,
        records: run.records,
        complete: run.complete(),
        path: run.path.clone().unwrap_or_else(|| PathBuf::from(STDOUT)),
    };
    session.inventory().record_run(&outcome, ended).await?;
    Ok(run)
}

/// What can be known to be impossible before anything is opened.
fn check(request: &Request) -> Result<(), Error> {
    if request.stream != Stream::Assets {
        return Err(Error::UnsupportedStream { stream: request.stream });
    }
    if request.format != Format::Ndjson {
        return Err(Error::UnsupportedFormat { format: request.format });
    }
    if !PAGE_SIZES.contains(&request.page_size) {
        return Err(Error::PageSize { given: request.page_size });
    }
    Ok(())
}
