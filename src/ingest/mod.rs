//! Reading an appliance's data with a robot's own credential, into files.
//!
//! Owns the walk over the pages and when it counts as whole ([`Incomplete`]),
//! the formats ([`sinks`]), the files and the manifest beside them. Leaves out
//! how a page is asked for (`appliance`), which credential is used and how the
//! server is judged (`session`), and when to run (`watch`).
//!
//! Promises: nothing on the appliance is changed; pages are asked for one after
//! the other over one connection (findings over as many as are asked for), one
//! page ahead of what is written; a file stands under its final name only when
//! every record there was is in it, and never without its manifest. A run that
//! ended but cannot show that it is whole leaves its data under a name that
//! says so. A run that failed, or whose future was dropped, leaves nothing,
//! unless the error says that the data is in its place.
//!
//! Memory: two pages, whatever the number of records, as long as they come in
//! order; see `seen` for when they do not.

mod ahead;
pub mod columns;
mod course;
mod desk;
mod error;
mod files;
mod findings;
mod login;
mod look;
mod manifest;
mod overlap;
mod pages;
mod rate;
mod reading;
mod seen;
mod since;
pub mod sinks;
mod size;
mod walk;
mod ways;

use std::{
    fmt,
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use time::OffsetDateTime;

use crate::{
    appliance::Width,
    credential, inventory,
    session::Session,
    site::{ApiChoice, Compression, Format, Keep, RobotId, Stream},
    x509::Fingerprint,
};
use course::{Course, Done};
use files::{Part, Stem};
use login::Login;
use sinks::Counted;

pub use crate::site::PAGE_SIZES;
pub use error::Error;
pub use pages::Manners;
pub use walk::Incomplete;

/// Which of the appliance's interfaces is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Api {
    /// `POST /graphql`.
    Graphql,
    /// `POST /v1/assets`, and `GET` for the hits of each device.
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

/// From when on a stream is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// The last complete run of the same stream, a little before it; everything where there was none.
    Last,
    /// A moment, by the appliance's clock.
    Time(OffsetDateTime),
}

/// What to read, how, and where to.
#[derive(Clone, Debug)]
pub struct Request {
    /// Whose data it is.
    pub robot: RobotId,
    /// The credential to read with; `None`: the site's API key.
    pub record: Option<credential::Record>,
    /// What to read.
    pub stream: Stream,
    /// Which interface.
    pub api: ApiChoice,
    /// The format.
    pub format: Format,
    /// How the file is compressed.
    pub compress: Compression,
    /// Records asked for at a time, within [`PAGE_SIZES`]. A server may send fewer.
    pub page_size: u32,
    /// Whether devices that were hidden on the appliance are read too.
    pub include_hidden: bool,
    /// Whether the free-form details are read too.
    pub with_details: bool,
    /// From when on; `None`: everything.
    pub since: Option<Since>,
    /// The most requests in a second, after a first burst of as many, at most [`BURST`]; 0: no limit.
    pub max_rate: u32,
    /// What the runs of one command on one site have in common; of its own by default.
    pub manners: Arc<Manners>,
    /// Connections that findings are read over, within [`CONNECTIONS`]; every other stream is read over one.
    pub connections: u32,
    /// Which older files stay; `None`: all.
    pub keep: Option<Keep>,
    /// Where the data goes.
    pub to: Destination,
    /// Whether that is where the configuration has it go, so that the run stands for a scheduled one.
    pub on_target: bool,
}

impl Request {
    /// All assets with a credential, by every default.
    #[must_use]
    pub fn of(record: credential::Record, to: Destination) -> Self {
        Self {
            robot: record.id.robot.clone(),
            record: Some(record),
            stream: Stream::Assets,
            api: ApiChoice::Auto,
            format: Format::Ndjson,
            compress: Compression::None,
            page_size: PAGE_SIZE,
            include_hidden: false,
            with_details: false,
            since: None,
            max_rate: MAX_RATE,
            manners: Arc::default(),
            connections: 1,
            keep: None,
            to,
            on_target: true,
        }
    }
}

/// The most requests in a second unless another rate is asked for.
pub const MAX_RATE: u32 = 200;
/// How many requests may go out at most before the rate holds.
pub const BURST: u32 = 200;
/// How many connections can be asked for.
pub const CONNECTIONS: std::ops::RangeInclusive<u32> = 1..=4;
/// The page size unless another is asked for.
pub const PAGE_SIZE: u32 = 200;

/// The directory for a robot's data where none is configured: `STATE/ingest/SITE/ROBOT`.
#[must_use]
pub fn default_dir(state_dir: &Path, robot: &RobotId) -> PathBuf {
    state_dir.join("ingest").join(robot.site.as_str()).join(robot.robot.as_str())
}

/// What stands for the writer where a path is wanted.
const STDOUT: &str = "-";

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
    /// How many fields were asked for; `None`: REST, which always sends all of them.
    pub width: Option<Width>,
    /// Records written, each id once.
    pub records: u64,
    /// Records that came again within a pass and were left out.
    pub duplicates: u64,
    /// Records that were read unchanged by an earlier run and were left out.
    pub unchanged: u64,
    /// Devices that went while their findings were read.
    pub gone: u64,
    /// Records in which something that is no text was replaced by U+FFFD.
    pub replaced: u64,
    /// Values that their column cannot hold, and that are null there (CSV and Parquet).
    pub flagged: u64,
    /// The server's own count at the first page of the last pass, if it gave one.
    pub total_reported: Option<u64>,
    /// From when on records were read; `None`: all.
    pub since: Option<OffsetDateTime>,
    /// Why this may not be all there is; `None`: it is.
    pub incomplete: Option<Incomplete>,
    /// How often the list was walked: once, or once more because rows moved.
    pub passes: u32,
    /// Pages received in all passes, without those only looked at to see whether rows moved.
    pub pages: u64,
    /// The fewest records that were asked for at a time.
    pub smallest_page: u32,
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
    /// The certificate it was read with; `None`: an API key.
    pub fingerprint: Option<Fingerprint>,
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
/// `progress` is called after each page. Writing is done by a blocking thread,
/// while the next page is on its way.
///
/// Dropped, it leaves no file; what `out` is given then is whatever it had
/// been given, and perhaps the page that was being written.
///
/// # Errors
/// [`Error`]; nothing of the run is left then, except with [`Error::Inventory`],
/// [`Error::NotSynced`] and [`Error::NotLatest`], and except for what already went to `out`.
/// A run that is not whole is no error: see [`Run::incomplete`].
pub async fn ingest(
    session: &Session<'_>,
    request: &Request,
    out: Box<dyn Write + Send>,
    progress: &dyn Fn(Progress),
) -> Result<Run, Error> {
    check(request)?;
    course::check(request, session.site())?;
    let started = session.now();
    let clock = Instant::now();
    let login = Login::of(session, request).await?;
    let mut course = Course::of(session, request, &login, started).await?;

    // A directory that cannot be used is found out before the appliance is asked for anything.
    let new_part = |changes| match &request.to {
        Destination::Dir(dir) => {
            let stem = Stem::new(request.stream, changes, started);
            Part::create(dir, stem, files::extension(request.format, request.compress)).map(Some)
        }
        Destination::Stdout => Ok(None),
    };
    let mut part = new_part(request.since.is_some())?;
    let to = part.as_ref().map_or(Path::new(STDOUT), Part::dir).to_owned();
    let since =
        Box::pin(course.settle(&to)).await.map_err(|stopped| stopped.explain(session, request, part.as_ref()))?;
    if since.is_some() != request.since.is_some() {
        part = new_part(since.is_some())?;
    }
    let out: Box<dyn Write + Send> = match &part {
        Some(part) => Box::new(part.file().try_clone().map_err(|source| Error::Output {
            path: part.path(),
            step: "open",
            source,
        })?),
        None => out,
    };
    let counted = Counted::new(out);
    let tally = counted.tally();
    let opened = sinks::open(request.format, request.compress, request.stream, request.with_details, Box::new(counted));
    let done = match opened {
        Ok(sink) => Box::pin(course.read(sink, progress)).await,
        Err(error) => Err(reading::Stopped::Output(error)),
    };
    let Done { reading, since, mark, news } =
        done.map_err(|stopped| stopped.explain(session, request, part.as_ref()))?;

    let (written, sha256) = {
        let tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        (tally.written(), tally.sha256())
    };
    let counts = reading.counts;
    let mut run = Run {
        robot: request.robot.clone(),
        stream: request.stream,
        api: reading.way.api,
        width: (reading.way.api == Api::Graphql).then_some(reading.way.width),
        records: counts.records,
        duplicates: counts.duplicates,
        unchanged: counts.unchanged,
        replaced: counts.replaced,
        flagged: counts.flagged,
        total_reported: counts.total,
        gone: counts.gone,
        since,
        incomplete: reading.incomplete,
        passes: reading.passes,
        pages: counts.pages,
        smallest_page: reading.smallest_page,
        bytes: reading.bytes,
        started,
        took: clock.elapsed(),
        path: None,
        manifest: None,
        sha256,
        written,
        fingerprint: login.fingerprint(),
    };
    let ended = session.now();
    if let Some(part) = part {
        let manifest = manifest::manifest(&run, request, session.site(), ended, &part.data_name(run.complete()));
        let (path, beside) = part.keep(run.complete(), &manifest, &request.robot, request.keep)?;
        (run.path, run.manifest) = (Some(path), Some(beside));
    }
    let outcome = inventory::Run {
        robot: request.robot.clone(),
        generation: request.record.as_ref().map(|record| record.id.generation),
        stream: run.stream,
        records: run.records,
        complete: run.complete(),
        path: run.path.clone().unwrap_or_else(|| PathBuf::from(STDOUT)),
        on_target: request.on_target,
        mark,
    };
    session.inventory().record_run(&outcome, ended).await?;
    if news {
        ways::remember(session, request.stream, reading.way).await?;
    }
    Ok(run)
}

/// What can be known to be impossible before anything is opened.
fn check(request: &Request) -> Result<(), Error> {
    if !PAGE_SIZES.contains(&request.page_size) {
        return Err(Error::PageSize { given: request.page_size });
    }
    if !CONNECTIONS.contains(&request.connections) {
        return Err(Error::Connections { given: request.connections });
    }
    Ok(())
}
