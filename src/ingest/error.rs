//! What can go wrong with a run.

use std::{io, path::PathBuf};

use super::{Api, CONNECTIONS, PAGE_SIZES};
use crate::{
    appliance, inventory, session,
    site::{RobotId, Stream},
};

/// Why a run failed. No file of it is left, except where an error says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something that REST does not have, or not of this site.
    #[error("{what} can be read over GraphQL only")]
    GraphqlOnly {
        /// What.
        what: String,
    },
    /// A stream whose records have no time of change.
    #[error("the stream {stream} cannot be read by what changed, only whole")]
    NoChanges {
        /// Which.
        stream: Stream,
    },
    /// Changes were asked for, and there is no GraphQL to ask.
    #[error("what changed can be read over GraphQL only, which the appliance does not offer")]
    NoGraphql {
        /// What it answered.
        source: appliance::Error,
    },
    /// The robot has no credential to read with, and the site no API key.
    #[error("there is neither an active credential of {robot} nor an API key of its site to read with")]
    NoLogin {
        /// The robot.
        robot: RobotId,
    },
    /// A page size out of bounds.
    #[error("a page of {given} records cannot be asked for, only {} to {}", PAGE_SIZES.start(), PAGE_SIZES.end())]
    PageSize {
        /// What was asked for.
        given: u32,
    },
    /// A number of connections out of bounds.
    #[error("{given} connections cannot be used, only {} to {}", CONNECTIONS.start(), CONNECTIONS.end())]
    Connections {
        /// What was asked for.
        given: u32,
    },
    /// The site could not be worked with: key, trust, connection.
    #[error(transparent)]
    Session(#[from] session::Error),
    /// The appliance gave no page, or not what was asked for.
    #[error("{api} gave no page {page} (after {records} records)")]
    Page {
        /// Which interface.
        api: Api,
        /// Which page, from 1.
        page: u64,
        /// How many records had come before it.
        records: u64,
        /// Why.
        source: appliance::Error,
    },
    /// Neither interface can be read with this credential.
    #[error("the appliance can be read neither by GraphQL ({graphql}) nor by REST")]
    NeitherApi {
        /// Why not by GraphQL.
        graphql: Box<appliance::Error>,
        /// Why not by REST.
        #[source]
        rest: appliance::Error,
    },
    /// The directory is no directory, or others could put files of theirs into it.
    #[error("{path} cannot be used: {reason}")]
    Unsafe {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// What stands where the links to the latest files belong.
    #[error("{path} cannot be used: {reason}")]
    Latest {
        /// What is in the way.
        path: PathBuf,
        /// What it is.
        reason: String,
    },
    /// Data and manifest are in place, but the disk was not told so for certain.
    #[error("{data} is written and in its place, but its name may not outlast a power cut")]
    NotSynced {
        /// The data.
        data: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// Data and manifest are in place, but the link to the latest file could not be switched to them.
    #[error("{data} is whole and in its place, but {link} could not be switched to it")]
    NotLatest {
        /// The data.
        data: PathBuf,
        /// The link, which still leads to the file before.
        link: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The data could not be written.
    #[error("cannot {step} {path}")]
    Output {
        /// The file or directory; `-` for the writer.
        path: PathBuf,
        /// What was being done: `create`, `write`, `sync`, `rename`…
        step: &'static str,
        /// What the operating system says.
        source: io::Error,
    },
    /// The data is in place, but the inventory could not be told.
    #[error("the run could not be recorded")]
    Inventory(#[from] inventory::Error),
}

impl Error {
    /// What to do about it, where that is known here.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::GraphqlOnly { .. } => Some("use --api graphql, or leave --api out".to_owned()),
            Self::NoChanges { .. } => {
                Some("leave --since out; assets and events can be read by what changed".to_owned())
            }
            Self::NoGraphql { .. } => Some("leave --since out: everything is read over REST then".to_owned()),
            Self::NoLogin { robot } => Some(format!(
                "run `robocred provision {robot}` or, where the appliance has no robots, `robocred apikey set {}`",
                robot.site
            )),
            Self::Session(source) => source.hint(),
            Self::Page { source, .. } if source.is_transient() => {
                Some("the appliance may be busy: try again later, or with a smaller --page-size".to_owned())
            }
            Self::Page { source, page, .. } => source.hint().or_else(|| Some(no_page_hint(source, *page))),
            Self::NeitherApi { .. } => Some("run `robocred verify` to see what the appliance accepts".to_owned()),
            Self::Unsafe { path, .. } => {
                Some(format!("give a directory that only you can write to, or `chmod go-w {}`", path.display()))
            }
            Self::Latest { path, .. } => {
                Some(format!("move {} away; the ingest makes and keeps what belongs there", path.display()))
            }
            Self::NotSynced { data, .. } => Some(format!(
                "see to the disk that holds {}; the run is not recorded, and the next reads the same",
                data.display()
            )),
            Self::NotLatest { link, .. } => {
                Some(format!("see who may write to {}; the next complete run switches it", link.display()))
            }
            Self::Output { source, path, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some(format!("make room on the disk that holds {}", path.display()))
            }
            Self::Inventory(source) => source.hint(),
            Self::PageSize { .. } | Self::Connections { .. } | Self::Output { .. } => None,
        }
    }
}

/// What to do about a reply that will not get better by waiting.
fn no_page_hint(source: &appliance::Error, page: u64) -> String {
    use appliance::{Error, ExchangeError};
    match source {
        Error::Exchange(ExchangeError::TooLarge { .. } | ExchangeError::Bomb { .. }) => {
            "try a smaller --page-size, and without --with-details".to_owned()
        }
        Error::Unsupported { .. } | Error::Graphql { .. } if page == 1 => {
            "run `robocred verify` to see what the appliance accepts, or try the other interface with --api".to_owned()
        }
        Error::Exchange(_) | Error::Unexpected { .. } => {
            "check that nothing between here and the appliance (a proxy, a login portal) answers in its place; if it is \
             the appliance itself, try the other interface with --api"
                .to_owned()
        }
        _ => "see the appliance's own log for why it answered so, and run it again".to_owned(),
    }
}
