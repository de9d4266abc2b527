//! One walk from the first page to the end, record by record into a sink.
//!
//! Owns the choice of the interface: one that fails the first page may be
//! replaced by the other, after the first record nothing is. Leaves out where
//! the walk goes (`walk`) and what becomes of the file (`files`).

use std::{io, path::PathBuf};

use super::{
    Api, Error, Incomplete, Progress, STDOUT,
    files::Part,
    pages::{Ends, Fetched, Pages, rest_may_do},
    sinks::Sink,
    walk::{Next, Position, Walk},
};
use crate::{appliance, session::Session};

/// A walk that came to its end.
pub(super) struct Reading {
    pub api: Api,
    pub walk: Walk,
    pub incomplete: Option<Incomplete>,
    pub bytes: u64,
}

/// Why a walk broke off.
pub(super) enum Stopped {
    Page { api: Api, page: u64, records: u64, source: appliance::Error },
    NeitherApi { graphql: Box<appliance::Error>, rest: appliance::Error },
    Output(io::Error),
}

impl Stopped {
    /// The same as the site and the file make it.
    pub(super) fn explain(self, session: &Session<'_>, part: Option<&Part>) -> Error {
        match self {
            Self::Page { source: appliance::Error::Connect(source), .. }
            | Self::NeitherApi { rest: appliance::Error::Connect(source), .. } => session.explain(source).into(),
            Self::Page { api, page, records, source } => Error::Page { api, page, records, source },
            Self::NeitherApi { graphql, rest } => Error::NeitherApi { graphql, rest },
            Self::Output(source) => {
                let path = part.map_or_else(|| PathBuf::from(STDOUT), Part::path);
                Error::Output { path, step: "write", source }
            }
        }
    }
}

/// Walks to the end, each record into `sink` once.
pub(super) async fn read_all(
    pages: &mut Pages,
    asked: Option<Api>,
    sink: &mut dyn Sink,
    progress: &dyn Fn(Progress),
) -> Result<Reading, Stopped> {
    let mut walk = Walk::new();
    let mut ends = Ends::default();
    let mut bytes = 0;
    let mut at = Position::Start;
    sink.begin().map_err(Stopped::Output)?;
    let (api, mut fetched) = first_page(pages, asked).await?;
    let incomplete = loop {
        if api == Api::Rest {
            ends.note(&at, &fetched.records);
        }
        for record in &fetched.records {
            if walk.admit(record.id.as_str()) {
                sink.record(record.json.get().as_bytes()).map_err(Stopped::Output)?;
            }
        }
        bytes += fetched.bytes;
        let next = walk.turn(fetched.turn);
        progress(Progress { pages: walk.pages(), records: walk.records(), total: walk.total(), bytes });
        at = match next {
            Next::Ask(position) => position,
            Next::End(incomplete) => break incomplete,
        };
        fail::fail_point!("ingest.between-pages");
        fetched = pages.fetch(api, &at).await.map_err(|source| stopped_at(api, &walk, source))?;
    };
    sink.finish().map_err(Stopped::Output)?;
    let incomplete = match incomplete {
        None if api == Api::Rest => {
            let (moved, again) = ends.look_again(pages).await.map_err(|source| stopped_at(api, &walk, source))?;
            bytes += again;
            moved
        }
        known => known,
    };
    Ok(Reading { api, walk, incomplete, bytes })
}

fn stopped_at(api: Api, walk: &Walk, source: appliance::Error) -> Stopped {
    Stopped::Page { api, page: walk.pages() + 1, records: walk.records(), source }
}

/// The first page, by the interface asked for or by one that works.
async fn first_page(pages: &mut Pages, asked: Option<Api>) -> Result<(Api, Fetched), Stopped> {
    let api = asked.unwrap_or(Api::Graphql);
    let graphql = match pages.fetch(api, &Position::Start).await {
        Ok(fetched) => return Ok((api, fetched)),
        Err(error) if asked.is_none() && rest_may_do(&error) => error,
        Err(source) => return Err(Stopped::Page { api, page: 1, records: 0, source }),
    };
    tracing::info!(error = &graphql as &dyn std::error::Error, "GraphQL cannot be read; trying REST");
    match pages.fetch(Api::Rest, &Position::Start).await {
        Ok(fetched) => Ok((Api::Rest, fetched)),
        Err(rest) => Err(Stopped::NeitherApi { graphql: Box::new(graphql), rest }),
    }
}
