//! Walking to the end, record by record into a sink.
//!
//! Owns the pipeline: while the records of a page are cut, compared and
//! written by a blocking thread, the next page is on its way. Owns the passes:
//! where rows moved during the first, one more brings what it missed. Leaves
//! out where the walk goes (`walk`), what is looked at again (`look`), which
//! way is asked (`ways`) and what becomes of the file (`files`).
//!
//! On failure: once a pass has come to its end, what it brought is kept. What
//! the appliance fails at afterwards is said as the reason why it is not whole.

use std::{error, io, path::PathBuf, pin::pin};

use futures_util::future::{Either, select};

use super::{
    Api, Error, Incomplete, Progress, Request, STDOUT,
    ahead::Ahead,
    desk::Desk,
    files::Part,
    look::Spots,
    overlap::Overlap,
    pages::{Pages, Sent},
    sinks::Sink,
    walk::{Next, Position, Turn, Walk},
    ways::{Way, Ways},
};
use crate::{
    appliance::{self, Cut, List},
    session::Session,
    verify::chain,
};

/// A walk that came to its end.
pub(super) struct Reading {
    pub way: Way,
    pub passes: u32,
    pub counts: Counts,
    pub bytes: u64,
    /// The fewest records asked for at a time.
    pub smallest_page: u32,
    pub incomplete: Option<Incomplete>,
    /// As it was given, and what it met.
    pub overlap: Option<Overlap>,
}

/// What was counted, of all passes.
#[derive(Clone, Copy, Default)]
pub(super) struct Counts {
    pub pages: u64,
    /// Records written.
    pub records: u64,
    pub duplicates: u64,
    /// Records known from an earlier run.
    pub unchanged: u64,
    /// Devices that went before they were asked for (findings only).
    pub gone: u64,
    pub replaced: u64,
    /// Values that their column cannot hold.
    pub flagged: u64,
    /// The server's count at the first page of the last pass.
    pub total: Option<u64>,
}

/// Why a walk broke off.
pub(super) enum Stopped {
    Page { api: Api, page: u64, records: u64, source: appliance::Error },
    NeitherApi { graphql: Box<appliance::Error>, rest: appliance::Error },
    Output(io::Error),
    Memory(io::Error),
}

impl Stopped {
    /// The same as the site and the file make it.
    pub(super) fn explain(self, session: &Session<'_>, request: &Request, part: Option<&Part>) -> Error {
        match self {
            Self::Page { page: 1, source, .. } if request.since.is_some() && source.is_not_there() => {
                Error::NoGraphql { source }
            }
            Self::Page { source: appliance::Error::Connect(source), .. }
            | Self::NeitherApi { rest: appliance::Error::Connect(source), .. } => session.explain(source).into(),
            Self::Page { api, page, records, source } => Error::Page { api, page, records, source },
            Self::NeitherApi { graphql, rest } => Error::NeitherApi { graphql, rest },
            Self::Output(source) => {
                let path = part.map_or_else(|| PathBuf::from(STDOUT), Part::path);
                Error::Output { path, step: "write", source }
            }
            Self::Memory(source) => {
                Error::Output { path: std::env::temp_dir(), step: "read back which ids came, from", source }
            }
        }
    }
}

/// Walks to the end, each record into `sink` once.
pub(super) async fn read_all(
    pages: &mut Pages,
    ways: &mut Ways,
    sink: Box<dyn Sink>,
    overlap: Option<Overlap>,
    progress: &dyn Fn(Progress),
) -> Result<Reading, Stopped> {
    let writer = Writer { walk: Walk::new(), sink, overlap, counts: Counts::default() };
    let counts = Counts::default();
    let mut reader = Reader { pages, ways, desk: Desk::new(writer), counts, earlier: 0, progress };
    let mut passes = 1;
    let mut incomplete = reader.pass().await?;
    if let Some(why) = incomplete.take_if(|why| why.rows_moved()) {
        tracing::info!(why = &why as &dyn error::Error, "rows moved; reading once more what was missed");
        passes += 1;
        reader.desk.run(|writer| writer.walk.again()).await;
        incomplete = match reader.pass().await {
            Err(Stopped::Page { api, page, source, .. }) => {
                tracing::warn!(error = &source as &dyn error::Error, "what was missed cannot be read");
                let failure = format!("{api} gave no page {page}: {}", chain(&source));
                Some(Incomplete::Unrepaired { why: Box::new(why), failure })
            }
            ended => ended?,
        };
    }
    let Reader { pages, ways, desk, mut counts, .. } = reader;
    let end = |Writer { sink, overlap, .. }: Writer| {
        let flagged = sink.flagged();
        sink.finish().map(|()| (overlap, flagged))
    };
    let overlap;
    (overlap, counts.flagged) = desk.end(end).await.map_err(Stopped::Output)?;
    let (bytes, smallest_page) = (pages.received(), pages.smallest());
    Ok(Reading { way: ways.now(), passes, counts, bytes, smallest_page, incomplete, overlap })
}

struct Reader<'a> {
    pages: &'a mut Pages,
    ways: &'a mut Ways,
    desk: Desk<Writer>,
    counts: Counts,
    /// Pages of the passes before this one.
    earlier: u64,
    progress: &'a dyn Fn(Progress),
}

impl Reader<'_> {
    /// From the first page to the end. Returns why that may not be all there is.
    async fn pass(&mut self) -> Result<Option<Incomplete>, Stopped> {
        let (mut ahead, mut spots) = (Ahead::default(), Spots::default());
        self.earlier = self.counts.pages;
        let mut sent = self.ask(None, &Position::Start).await?;
        let verdict = loop {
            let way = self.ways.now();
            let (at, asked, list) = (sent.at.clone(), sent.asked, self.pages.list());
            let guess = ahead.guess(way.api, &sent);
            let (taken, next) = {
                let write = self.desk.run(move |writer| writer.page(sent, way.api, list));
                let fetch = async {
                    match &guess {
                        Some(at) => Some(self.pages.page(way, at).await),
                        None => None,
                    }
                };
                both(write, fetch).await
            };
            let Taken { came, digest, end, next: turn, counts } = match taken {
                Ok(taken) => taken,
                Err(Untaken::Page(error)) => {
                    sent = self.ask(Some(error), &at).await?;
                    continue;
                }
                Err(Untaken::Stop(why)) => return Err(why),
            };
            self.counts = counts;
            self.pages.good();
            ahead.learn(asked, came);
            if way.api == Api::Rest {
                spots.note(&at, came, digest, end);
            }
            (self.progress)(Progress {
                pages: counts.pages,
                records: counts.records,
                total: counts.total,
                bytes: self.pages.received(),
            });
            let position = match turn {
                Next::Ask(position) => position,
                Next::End(verdict) => break verdict,
            };
            fail::fail_point!("ingest.between-pages");
            sent = match next {
                Some(next) if guess.as_ref() == Some(&position) => next.map_err(|error| self.stopped(error))?,
                _ => self.ask(None, &position).await?,
            };
        };
        match verdict {
            None if self.ways.now().api == Api::Rest => Ok(self.look_again(spots).await),
            verdict => Ok(verdict),
        }
    }

    /// The page at a position; the very first one in a way that works.
    /// `failed`: what was wrong with the page that came for it.
    async fn ask(&mut self, mut failed: Option<appliance::Error>, at: &Position) -> Result<Sent, Stopped> {
        loop {
            let way = self.ways.now();
            let asked = match failed.take() {
                None => self.pages.page(way, at).await,
                Some(error) => self.pages.again(error, way, at).await,
            };
            match asked {
                Ok(sent) => return Ok(sent),
                Err(error) if self.counts.pages == 0 => self.ways.after(error)?,
                Err(error) => return Err(self.stopped(error)),
            }
        }
    }

    /// Looks again at what a REST listing held; the first difference.
    async fn look_again(&mut self, spots: Spots) -> Option<Incomplete> {
        for (page, spot) in (1..).zip(spots.all()) {
            let cut = match self.pages.look(&spot.at(), spot.records.max(1)).await {
                Ok(cut) => cut,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn error::Error, page, "no second look");
                    return Some(Incomplete::Unlooked { page, failure: chain(&error) });
                }
            };
            // A server may send more than was asked for; where nothing stood, nothing may stand.
            let most = if spot.records == 0 { usize::MAX } else { spot.records as usize };
            let ids: Vec<String> = cut.records().take(most).map(|record| record.id.into_owned()).collect();
            let again = self.desk.run(move |writer| writer.walk.digest(ids.iter().map(String::as_str))).await;
            if again != spot.digest {
                return Some(Incomplete::Moved { page });
            }
        }
        None
    }

    fn stopped(&self, source: appliance::Error) -> Stopped {
        let Counts { pages, records, .. } = self.counts;
        Stopped::Page { api: self.ways.now().api, page: pages - self.earlier + 1, records, source }
    }
}

/// Runs both; the page that comes meanwhile is not waited for where the walk is over.
async fn both<T>(
    write: impl Future<Output = Result<Taken, Untaken>>,
    fetch: impl Future<Output = Option<T>>,
) -> (Result<Taken, Untaken>, Option<T>) {
    match select(pin!(write), pin!(fetch)).await {
        Either::Left((taken @ (Ok(Taken { next: Next::End(_), .. }) | Err(Untaken::Stop(_))), _)) => (taken, None),
        // Not broken off even where the page is of no use: the connection would have to be opened anew.
        Either::Left((taken, fetch)) => (taken, fetch.await),
        Either::Right((fetched, write)) => (write.await, fetched),
    }
}

/// What the blocking thread works on.
struct Writer {
    walk: Walk,
    sink: Box<dyn Sink>,
    /// The look at what an earlier run has read.
    overlap: Option<Overlap>,
    counts: Counts,
}

/// A page that was written.
struct Taken {
    came: u64,
    /// What tells its records, and the last of them, from others.
    digest: u64,
    end: u64,
    next: Next,
    counts: Counts,
}

/// A page that was not.
enum Untaken {
    /// It is no page. Nothing of it was written.
    Page(appliance::Error),
    Stop(Stopped),
}

impl Writer {
    fn page(&mut self, sent: Sent, api: Api, list: List) -> Result<Taken, Untaken> {
        let Sent { at, body, .. } = sent;
        let mut cut = match api {
            Api::Graphql => body.cut_graphql(list),
            Api::Rest => body.cut_rest(),
        }
        .map_err(Untaken::Page)?;
        self.records(&cut).map_err(Untaken::Stop)?;
        let came = cut.len() as u64;
        let end = cut.records().last();
        let end = self.walk.digest(end.as_ref().map(|record| &*record.id).into_iter());
        let next = match api {
            Api::Graphql => cut.end_cursor.take().map(Position::After),
            // By what was received: a server may clip pages.
            Api::Rest => Some(Position::Offset(at.offset() + came)),
        };
        let turn = Turn { next, has_next: cut.has_next, total: cut.total_count };
        let next = self.walk.turn(turn);
        self.counts.pages += 1;
        self.counts.replaced += cut.replaced;
        self.counts.duplicates = self.walk.duplicates();
        self.counts.total = self.walk.total();
        Ok(Taken { came, digest: self.walk.last_page(), end, next, counts: self.counts })
    }

    fn records(&mut self, cut: &Cut) -> Result<(), Stopped> {
        for record in cut.records() {
            if !self.walk.admit(&record.id).map_err(Stopped::Memory)? {
                continue;
            }
            if self.overlap.as_mut().is_none_or(|overlap| overlap.admit(&record.id, &record.json)) {
                self.sink.record(&record.json).map_err(Stopped::Output)?;
                self.counts.records += 1;
            } else {
                self.counts.unchanged += 1;
            }
        }
        Ok(())
    }
}
