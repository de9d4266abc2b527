//! Pages of an appliance, asked for again where that helps.
//!
//! Owns how requests are spaced ([`rate`](super::rate)), how many records are
//! asked for ([`size`](super::size)), and the retries: all runs that share
//! their [`Manners`] together within the budget of [`Backoff::READS`],
//! whatever the number of connections. Leaves out where the walk goes (`walk`) and which interface is
//! asked (`ways`).

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use time::OffsetDateTime;
use tokio::time::{Instant, sleep, timeout};

use super::{Api, rate::Bucket, size::PageSize, walk::Position, ways::Way};
use crate::appliance::{Backoff, Body, Cut, Error, ExchangeError, List, PageAsk, ReadApi};

/// Which records are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct What {
    pub list: List,
    pub details: bool,
    pub include_hidden: bool,
    /// Only from this time on, and up to that (GraphQL only).
    pub since: Option<OffsetDateTime>,
    pub until: Option<OffsetDateTime>,
}

/// How an appliance is treated by all runs that share this, one after the
/// other or at once: how many requests went out of late, and how much of the
/// time for retries is spent.
#[derive(Debug, Default)]
pub struct Manners {
    rate: Mutex<Bucket>,
    /// What retries have taken so far: the pauses, and the tries that brought nothing.
    retrying: Mutex<Duration>,
}

impl Manners {
    /// How long the next request has to wait for its turn.
    fn turn(&self, max_rate: u32) -> Duration {
        self.rate.lock().unwrap_or_else(PoisonError::into_inner).take(max_rate, Instant::now())
    }

    /// How long to wait before try number `tries`; `None`: that would be too long.
    fn pause(&self, tries: usize, asked: Option<Duration>) -> Option<Duration> {
        Backoff::READS.pause(tries, self.retrying(), asked)
    }

    fn retrying(&self) -> Duration {
        *self.retrying.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spend(&self, time: Duration) {
        *self.retrying.lock().unwrap_or_else(PoisonError::into_inner) += time;
    }
}

/// What holds for all requests of one run, over however many connections.
pub(super) struct Visit {
    manners: Arc<Manners>,
    max_rate: u32,
    server_time: OnceLock<Option<OffsetDateTime>>,
}

impl Visit {
    /// At most `max_rate` requests in a second; 0: no limit.
    pub(super) fn new(manners: Arc<Manners>, max_rate: u32) -> Arc<Self> {
        Arc::new(Self { manners, max_rate, server_time: OnceLock::new() })
    }

    /// The appliance's clock at the first page; `None` before it, or where it did not say.
    pub(super) fn server_time(&self) -> Option<OffsetDateTime> {
        self.server_time.get().copied().flatten()
    }

    async fn turn(&self) {
        let wait = self.manners.turn(self.max_rate);
        if !wait.is_zero() {
            sleep(wait).await;
        }
    }
}

/// A page as it was asked for, and the reply, not looked into yet.
pub(super) struct Sent {
    pub at: Position,
    pub asked: u32,
    pub body: Body,
}

/// Pages over one connection.
pub(super) struct Pages {
    read: ReadApi,
    what: What,
    size: PageSize,
    /// Tries that failed since the last good page.
    tries: usize,
    received: u64,
    visit: Arc<Visit>,
}

impl Pages {
    pub(super) fn new(read: ReadApi, what: What, page_size: u32, visit: Arc<Visit>) -> Self {
        Self { read, what, size: PageSize::new(page_size), tries: 0, received: 0, visit }
    }

    /// Only from this time on, and up to that.
    pub(super) fn bound(&mut self, since: Option<OffsetDateTime>, until: Option<OffsetDateTime>) {
        (self.what.since, self.what.until) = (since, until);
    }

    /// Another list from now on.
    pub(super) fn turn_to(&mut self, list: List, page_size: u32) {
        self.what.list = list;
        self.size = PageSize::new(page_size);
    }

    /// Of which list.
    pub(super) fn list(&self) -> List {
        self.what.list
    }

    /// Bytes of the replies received so far.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// The fewest records that were asked for at a time.
    pub(super) fn smallest(&self) -> u32 {
        self.size.smallest()
    }

    /// The page at a position.
    pub(super) async fn page(&mut self, way: Way, at: &Position) -> Result<Sent, Error> {
        self.page_after(None, way, at).await
    }

    /// The page at a position once more, after what came for it could not be used.
    pub(super) async fn again(&mut self, error: Error, way: Way, at: &Position) -> Result<Sent, Error> {
        self.page_after(Some(error), way, at).await
    }

    /// A page turned out to be whole.
    pub(super) fn good(&mut self) {
        self.tries = 0;
        self.size.good();
    }

    async fn page_after(&mut self, failed: Option<Error>, way: Way, at: &Position) -> Result<Sent, Error> {
        let what = self.what;
        let (asked, body) =
            self.tried(failed, async |read, size| Ok((size, body(read, what, way, at, size).await?))).await?;
        self.received += body.received();
        self.visit.server_time.get_or_init(|| body.server_time());
        Ok(Sent { at: at.clone(), asked, body })
    }

    /// One record of a GraphQL list, for the way that it comes in and the clock beside it.
    pub(super) async fn one(&mut self, way: Way) -> Result<(), Error> {
        let what = self.what;
        let (server_time, bytes) = self
            .tried(None, async |read, _| {
                let body = body(read, what, way, &Position::Start, 1).await?;
                let seen = (body.server_time(), body.received());
                body.cut_graphql(what.list)?;
                Ok(seen)
            })
            .await?;
        self.visit.server_time.get_or_init(|| server_time);
        self.received += bytes;
        self.good();
        Ok(())
    }

    /// So many records of a REST listing from a position on.
    pub(super) async fn look(&mut self, at: &Position, records: u32) -> Result<Cut, Error> {
        let what = self.what;
        let (cut, bytes) = self
            .tried(None, async |read, _| {
                let body = read.rest_page(at.offset(), records, what.include_hidden).await?;
                let bytes = body.received();
                Ok((body.cut_rest()?, bytes))
            })
            .await?;
        self.received += bytes;
        self.good();
        Ok(cut)
    }

    /// What `ask` brings, asked for again as long as that helps; it is told
    /// how many records to ask for. `failed`: how it went before.
    ///
    /// The time of a try that brings something is time spent reading; it has
    /// to keep within the budget, and takes nothing from it.
    pub(super) async fn tried<T>(
        &mut self,
        failed: Option<Error>,
        ask: impl AsyncFn(&ReadApi, u32) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut error = match failed {
            Some(error) => error,
            None => match self.once(&ask).await {
                Err(error) => error,
                brought => return brought,
            },
        };
        loop {
            let Some(pause) = self.pause_after(&error) else { return Err(error) };
            tracing::debug!(
                ?pause,
                size = self.size.now(),
                error = &error as &dyn std::error::Error,
                "asking for the page again"
            );
            let left = Backoff::READS.budget().saturating_sub(self.visit.manners.retrying() + pause);
            let began = Instant::now();
            sleep(pause).await;
            let again = timeout(left, self.once(&ask)).await;
            let took = if let Ok(Ok(_)) = again { pause } else { began.elapsed() };
            self.visit.manners.spend(took);
            match again {
                Ok(Ok(brought)) => return Ok(brought),
                Ok(Err(again)) => error = again,
                // The budget is spent; what happened before says more than that.
                Err(_) => return Err(error),
            }
        }
    }

    async fn once<T>(&self, ask: &impl AsyncFn(&ReadApi, u32) -> Result<T, Error>) -> Result<T, Error> {
        self.visit.turn().await;
        ask(&self.read, self.size.now()).await
    }

    /// How long to wait before asking again; `None`: that would not help.
    fn pause_after(&mut self, error: &Error) -> Option<Duration> {
        let smaller = asks_for_less(error) && self.size.too_large();
        if !error.is_transient() {
            return smaller.then_some(Duration::ZERO);
        }
        let pause = self.visit.manners.pause(self.tries, error.retry_after());
        self.tries += 1;
        pause
    }
}

async fn body(read: &ReadApi, what: What, way: Way, at: &Position, size: u32) -> Result<Body, Error> {
    match way.api {
        Api::Graphql => {
            let What { list, details, include_hidden, since, until } = what;
            let ask = PageAsk {
                list,
                width: way.width,
                details,
                first: size,
                after: at.cursor(),
                include_hidden,
                since,
                until,
            };
            read.graphql_page(&ask).await
        }
        Api::Rest => read.rest_page(at.offset(), size, what.include_hidden).await,
    }
}

/// Whether a smaller page might have come.
fn asks_for_less(error: &Error) -> bool {
    match error {
        Error::Exchange(error) => matches!(
            error,
            ExchangeError::Deadline { .. } | ExchangeError::TooSlow { .. } | ExchangeError::TooLarge { .. }
        ),
        Error::Status { status, .. } => matches!(status.as_u16(), 502 | 504),
        // More values than a page may hold.
        Error::Unexpected { reason } => reason.starts_with("it holds more than"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_for_retries_is_spent_by_all_runs_together() {
        let manners = Arc::<Manners>::default();
        let (first, second) = (Visit::new(Arc::clone(&manners), 0), Visit::new(manners, 0));
        let alone = Visit::new(Arc::default(), 0);
        let pause = |visit: &Visit| visit.manners.pause(0, None);
        assert!(pause(&second).is_some());
        first.manners.spend(Backoff::READS.budget());
        assert_eq!((pause(&first), pause(&second)), (None, None));
        assert!(pause(&alone).is_some());
    }
}
