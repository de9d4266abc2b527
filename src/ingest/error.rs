//! What can go wrong with a run.

use std::{io, path::PathBuf};

use super::{Api, PAGE_SIZES};
use crate::{
    appliance, inventory, session,
    site::{Format, Stream},
};

/// Why a run failed. No file of it is left.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A stream that cannot be read yet.
    #[error("the stream {stream} cannot be read by this version")]
    UnsupportedStream {
        /// Which.
        stream: Stream,
    },
    /// A format that cannot be written yet.
    #[error("the format {format} cannot be written by this version")]
    UnsupportedFormat {
        /// Which.
        format: Format,
    },
    /// A page size out of bounds.
    #[error("a page of {given} records cannot be asked for, only {} to {}", PAGE_SIZES.start(), PAGE_SIZES.end())]
    PageSize {
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
            Self::UnsupportedStream { .. } => Some("use --stream assets".to_owned()),
            Self::UnsupportedFormat { .. } => Some("use --format ndjson".to_owned()),
            Self::Session(source) => source.hint(),
            Self::Page { source, .. } if source.is_transient() => {
                Some("the appliance may be busy: try again later, or with a smaller --page-size".to_owned())
            }
            Self::Page { source, .. } => source.hint(),
            Self::NeitherApi { .. } => Some("run `robocred verify` to see what the appliance accepts".to_owned()),
            Self::Unsafe { path, .. } => {
                Some(format!("give a directory that only you can write to, or `chmod go-w {}`", path.display()))
            }
            Self::Output { source, path, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some(format!("make room on the disk that holds {}", path.display()))
            }
            Self::Inventory(source) => source.hint(),
            Self::PageSize { .. } | Self::Output { .. } => None,
        }
    }
}
