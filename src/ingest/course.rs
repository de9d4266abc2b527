//! One stream of an appliance as a run reads it: in which way, from when on,
//! over how many connections.
//!
//! Owns what tells the streams apart, and what one run knows from those
//! before: the way that answered, and the mark of the last complete one.
//! Leaves out the walk (`reading`), the requests per device (`findings`) and
//! what is decided about time (`since`).

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use time::OffsetDateTime;

use super::{
    Api, Error, Progress, Request,
    findings::{self, Ended},
    login::Login,
    pages::{Pages, Visit, What},
    reading::{self, Reading, Stopped},
    since::{self, Clocks, Plan, Scope},
    sinks::Sink,
    ways::{self, Known, Way, Ways},
};
use crate::{
    appliance::{List, Width},
    inventory::Mark,
    session::Session,
    site::{ApiChoice, Site, Stream},
};

/// What can be known to be impossible before anything is opened.
pub(super) fn check(request: &Request, site: &Site) -> Result<(), Error> {
    if request.since.is_some() && !request.stream.has_since() {
        return Err(Error::NoChanges { stream: request.stream });
    }
    if request.api == ApiChoice::Rest { over_rest(request, site) } else { Ok(()) }
}

/// Whether REST has what is asked for.
fn over_rest(request: &Request, site: &Site) -> Result<(), Error> {
    let only = |what: String| Err(Error::GraphqlOnly { what });
    match request.stream {
        stream @ (Stream::Plugins | Stream::Events) => only(format!("the stream {stream}")),
        // What REST is asked there, the manager itself would answer.
        _ if site.em.is_some() => only("an appliance behind an Enterprise Manager".to_owned()),
        _ if request.since.is_some() && !ApiChoice::Rest.has_since() => only("what changed (--since)".to_owned()),
        Stream::Assets | Stream::Findings => Ok(()),
    }
}

fn list(stream: Stream) -> List {
    match stream {
        Stream::Assets => List::Assets,
        Stream::Plugins => List::Plugins,
        Stream::Events => List::Events,
        Stream::Findings => List::Findings,
    }
}

/// A run before its first record.
pub(super) struct Course<'a> {
    request: &'a Request,
    site: &'a Site,
    /// Where the data goes, as a mark knows it.
    to: PathBuf,
    /// One for each connection.
    pages: Vec<Pages>,
    ways: Ways,
    visit: Arc<Visit>,
    /// Findings device by device, and not from the appliance's own list.
    by_device: bool,
    remembered: Option<Known>,
    mark: Option<Mark>,
    plan: Plan,
    started: OffsetDateTime,
}

/// A run after its last record.
pub(super) struct Done {
    pub reading: Reading,
    /// From when on was read; `None`: everything.
    pub since: Option<OffsetDateTime>,
    /// For the next run of changes, if this one is complete.
    pub mark: Option<Mark>,
    /// Whether the way that answered is another than the one known.
    pub news: bool,
}

impl<'a> Course<'a> {
    /// With what earlier runs left. Opens no connection.
    pub(super) async fn of(
        session: &Session<'a>,
        request: &'a Request,
        login: &Login,
        started: OffsetDateTime,
    ) -> Result<Self, Error> {
        let (site, inventory) = (session.site(), session.inventory());
        let rest = over_rest(request, site).is_ok();
        let by_device = request.stream == Stream::Findings && rest && request.api != ApiChoice::Graphql;
        let remembered = ways::remembered(session, request.stream).await?;
        let mark = match request.since {
            Some(_) => inventory.last_complete(&request.robot, request.stream).await?,
            // A run of everything needs none, and puts a new one in the place of one that cannot be read.
            None => inventory.last_complete(&request.robot, request.stream).await.unwrap_or_default(),
        };
        let visit = Visit::new(Arc::clone(&request.manners), request.max_rate);
        let what = What {
            list: if by_device { List::AssetIds } else { list(request.stream) },
            details: request.with_details,
            include_hidden: request.include_hidden,
            since: None,
            until: None,
        };
        let mut pages = Vec::new();
        for _ in 0..if by_device { request.connections } else { 1 } {
            pages.push(Pages::new(login.read_api(session)?, what, request.page_size, Arc::clone(&visit)));
        }
        let ways = Ways::new(request.api, rest, remembered.map(Known::first));
        let (to, plan) = (PathBuf::new(), Plan::default());
        Ok(Self { request, site, to, pages, ways, visit, by_device, remembered, mark, plan, started })
    }

    /// Finds out from when on is read into `to`; `None`: everything. Network where a
    /// bound depends on the appliance's clock or on the way that it answers:
    /// one record is asked for, over the connection that is used afterwards.
    pub(super) async fn settle(&mut self, to: &Path) -> Result<Option<OffsetDateTime>, Stopped> {
        let Request { stream, since, .. } = *self.request;
        to.clone_into(&mut self.to);
        if since.is_some() || stream == Stream::Events {
            while let Err(error) = self.pages[0].one(self.ways.now()).await {
                self.ways.after(error)?;
            }
            self.ways.settled();
        }
        let clocks = Clocks { ours: self.started, theirs: self.visit.server_time() };
        let scope = self.scope(self.ways.now());
        self.plan = since::plan(stream, since, self.mark.as_ref(), &scope, clocks);
        if let Some(why) = self.plan.all_because {
            tracing::info!(%why, "everything is read, not only what changed");
        }
        self.pages[0].bound(self.plan.since, self.plan.until);
        Ok(self.plan.since)
    }

    /// Reads to the end, each record into `sink` once.
    pub(super) async fn read(mut self, sink: Box<dyn Sink>, progress: &dyn Fn(Progress)) -> Result<Done, Stopped> {
        let stream = self.request.stream;
        if self.by_device {
            let reading = Box::pin(self.findings(sink, progress)).await?;
            return Ok(Done { reading, since: None, mark: None, news: false });
        }
        let since = self.plan.since;
        let (visit, ours) = (Arc::clone(&self.visit), self.started);
        let clocks = move || Clocks { ours, theirs: visit.server_time() };
        let overlap = stream.has_since().then(|| std::mem::take(&mut self.plan).overlap(stream, clocks));
        let mut reading = reading::read_all(&mut self.pages[0], &mut self.ways, sink, overlap, progress).await?;
        let way = reading.way;
        let mark = reading.overlap.take().and_then(|overlap| overlap.into_mark(self.scope(way)));
        // A look at everything, somewhere else, takes no place in the row of runs that go on from each other.
        let other = |mark: &Mark| self.mark.as_ref().is_some_and(|before| before.scope != mark.scope);
        Ok(Done {
            // What REST read is no ground to go on from over GraphQL: it is shaped otherwise.
            mark: mark.filter(|mark| way.api == Api::Graphql && (self.request.since.is_some() || !other(mark))),
            since,
            news: self.request.api != ApiChoice::Rest && self.remembered.is_none_or(|known| known.is_news(way)),
            reading,
        })
    }

    fn scope(&self, way: Way) -> String {
        let Request { include_hidden, with_details, .. } = *self.request;
        let (wide, to) = (way.width == Width::Wide, self.to.as_path());
        Scope { endpoint: &self.site.endpoint, em: self.site.em.as_ref(), include_hidden, with_details, wide, to }
            .text()
    }

    async fn findings(self, sink: Box<dyn Sink>, progress: &dyn Fn(Progress)) -> Result<Reading, Stopped> {
        let Self { request, pages, mut ways, .. } = self;
        let (rest, mut pages, sink) = match findings::read_all(pages, &mut ways, sink, progress).await? {
            Ended::Read(reading) => return Ok(reading),
            Ended::NotThere { error, pages, sink } => (error, pages, sink),
        };
        if request.api == ApiChoice::Rest {
            return Err(Stopped::Page { api: Api::Rest, page: 1, records: 0, source: rest });
        }
        tracing::info!(error = &rest as &dyn std::error::Error, "REST has no findings; trying GraphQL");
        pages.turn_to(List::Findings, request.page_size);
        let mut ways = Ways::new(ApiChoice::Graphql, false, None);
        let read = reading::read_all(&mut pages, &mut ways, sink, None, progress).await;
        read.map_err(|stopped| match stopped {
            Stopped::Page { page: 1, records: 0, source, .. } => {
                Stopped::NeitherApi { graphql: Box::new(source), rest }
            }
            other => other,
        })
    }
}
