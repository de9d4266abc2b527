//! Pages of an appliance, one after the other, asked for again where that helps.
//!
//! Owns what the two interfaces have in common for a walk ([`Fetched`]), the
//! retries, and the second look that tells whether a REST listing moved.
//! Leaves out where the walk goes (`walk`).

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{
    Api, Request,
    walk::{Incomplete, Position, Turn},
};
use crate::appliance::{Backoff, Error, ReadApi, Record, Refusal, RemoteId};

/// One page and the way on from it.
pub(super) struct Fetched {
    pub records: Vec<Record>,
    pub turn: Turn,
    pub bytes: u64,
}

/// The pages of one run.
pub(super) struct Pages {
    read: ReadApi,
    page_size: u32,
    include_hidden: bool,
    /// What all retries of the run have taken so far.
    retrying: Duration,
}

impl Pages {
    pub(super) fn new(read: ReadApi, request: &Request) -> Self {
        Self { read, page_size: request.page_size, include_hidden: request.include_hidden, retrying: Duration::ZERO }
    }

    /// The page at a position. A passing failure is tried again, all of a
    /// run's retries together within the budget of [`Backoff::READS`].
    pub(super) async fn fetch(&mut self, api: Api, at: &Position) -> Result<Fetched, Error> {
        let mut error = match self.ask(api, at).await {
            Err(error) if error.is_transient() => error,
            result => return result,
        };
        for tries in 0.. {
            let Some(pause) = Backoff::READS.pause(tries, self.retrying, error.retry_after()) else { break };
            tracing::debug!(%api, ?pause, error = &error as &dyn std::error::Error, "asking for the page again");
            let began = Instant::now();
            sleep(pause).await;
            let left = Backoff::READS.budget().saturating_sub(self.retrying + pause);
            let again = timeout(left, self.ask(api, at)).await;
            self.retrying += began.elapsed();
            match again {
                Ok(Err(again)) if again.is_transient() => error = again,
                Ok(result) => return result,
                // The budget is spent; what happened before says more than that.
                Err(_) => break,
            }
        }
        Err(error)
    }

    async fn ask(&self, api: Api, at: &Position) -> Result<Fetched, Error> {
        match api {
            Api::Graphql => {
                let after = if let Position::After(cursor) = at { Some(cursor) } else { None };
                let page = self.read.assets_page(after, self.page_size, self.include_hidden).await?;
                let turn = Turn {
                    next: page.end_cursor.map(Position::After),
                    has_next: page.has_next,
                    total: page.total_count,
                };
                Ok(Fetched { records: page.records, turn, bytes: page.bytes })
            }
            Api::Rest => {
                let offset = if let Position::Offset(offset) = at { *offset } else { 0 };
                let page = self.read.rest_assets_page(offset, self.page_size, self.include_hidden).await?;
                // By what was received: a server may clip pages.
                let next = offset + page.records.len() as u64;
                let turn = Turn { next: Some(Position::Offset(next)), has_next: None, total: None };
                Ok(Fetched { records: page.records, turn, bytes: page.bytes })
            }
        }
    }
}

/// Whether a robot that GraphQL fails like this may still be let in by REST.
pub(super) fn rest_may_do(error: &Error) -> bool {
    match error {
        // The certificate itself is refused, whatever is asked for.
        Error::Refused(Refusal::Alert(_)) => false,
        Error::Refused(_)
        | Error::Unsupported { .. }
        | Error::Graphql { .. }
        | Error::Status { .. }
        | Error::Unexpected { .. } => !error.is_transient(),
        _ => false,
    }
}

/// What the first and the last page of a REST listing held, to look again.
#[derive(Default)]
pub(super) struct Ends {
    first: Option<Vec<RemoteId>>,
    last: Option<(Position, Vec<RemoteId>)>,
}

impl Ends {
    /// Notes a page. The empty one past the end counts only if it is the first.
    pub(super) fn note(&mut self, at: &Position, records: &[Record]) {
        if self.first.is_none() {
            self.first = Some(ids(records));
        } else if !records.is_empty() {
            self.last = Some((at.clone(), ids(records)));
        }
    }

    /// Looks at both pages again; what differs, and the bytes received.
    pub(super) async fn look_again(self, pages: &mut Pages) -> Result<(Option<Incomplete>, u64), Error> {
        let first = self.first.map(|ids| ("first", Position::Start, ids));
        let last = self.last.map(|(at, ids)| ("last", at, ids));
        let mut bytes = 0;
        for (page, at, before) in first.into_iter().chain(last) {
            let again = pages.fetch(Api::Rest, &at).await?;
            bytes += again.bytes;
            if ids(&again.records) != before {
                return Ok((Some(Incomplete::Moved { page }), bytes));
            }
        }
        Ok((None, bytes))
    }
}

fn ids(records: &[Record]) -> Vec<RemoteId> {
    records.iter().map(|record| record.id.clone()).collect()
}
