//! Pages of the appliance's lists: what can be asked for, and what came back.
//!
//! Owns the lists that can be read, how much of each record is asked for, and
//! a reply before it is looked into. Leaves out sending (`read`), how a reply
//! is cut (`cut`) and where a walk goes next (`ingest`).

use std::{fmt, sync::Arc};

use bytes::Bytes;
use time::OffsetDateTime;

use super::{ApiKey, Cut, Error, RemoteId, cut};
use crate::site::MachineId;

/// A list that can be read page by page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum List {
    /// The devices.
    Assets,
    /// The ids of the devices and nothing more.
    AssetIds,
    /// The catalogue of plugins.
    Plugins,
    /// What happened on the network.
    Events,
    /// What the plugins found, as newer releases list it over GraphQL.
    Findings,
}

impl List {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Assets, Self::AssetIds, Self::Plugins, Self::Events, Self::Findings];

    /// What GraphQL calls it.
    pub(super) const fn root(self) -> &'static str {
        match self {
            Self::Assets | Self::AssetIds => "assets",
            Self::Plugins => "plugins",
            Self::Events => "events",
            Self::Findings => "findings",
        }
    }
}

/// How much of each record is asked for: one unknown field fails a whole
/// query, so an older appliance may only answer the narrow selection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// Every field of metadata that any release is known to have.
    Wide,
    /// The fields that recordings of 2022 and later all have.
    Narrow,
}

impl Width {
    /// The word of our files and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wide => "wide",
            Self::Narrow => "narrow",
        }
    }
}

/// An appliance that an Enterprise Manager is paired with, cleaned for showing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairedIcp {
    /// What `em` of a site has to be for it.
    pub machine_id: MachineId,
    /// Its name there.
    pub name: Option<String>,
    /// Its address.
    pub host: Option<String>,
    /// The state of the pairing, in the manager's words.
    pub status: Option<String>,
    /// Its version.
    pub version: Option<String>,
}

/// The position after a page, opaque; good for one walk only. A cursor that
/// comes back again means that the walk goes in circles.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cursor(pub(super) String);

#[cfg(test)]
impl Cursor {
    pub(crate) fn of(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// One page over GraphQL, as it is asked for.
#[derive(Clone, Copy, Debug)]
pub struct PageAsk<'a> {
    /// Of which list.
    pub list: List,
    /// How much of each record.
    pub width: Width,
    /// The free-form details of each record too.
    pub details: bool,
    /// At most so many records.
    pub first: u32,
    /// The position; `None`: the start.
    pub after: Option<&'a Cursor>,
    /// Hidden devices too ([`List::Assets`] and [`List::AssetIds`] only).
    pub include_hidden: bool,
    /// Only records from this time on: `lastUpdate` of a device, `time` of an event.
    pub since: Option<OffsetDateTime>,
    /// Only events up to this time.
    pub until: Option<OffsetDateTime>,
}

/// What a page says about the way on, found without looking at its records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peek {
    /// Where the next page begins, if the server said so.
    pub end_cursor: Option<Cursor>,
    /// Whether the server says there is more; `None` if it does not say.
    pub has_next: Option<bool>,
}

/// The reply to a page, decoded and not looked into yet.
#[derive(Clone)]
pub struct Body {
    /// The text, decompressed.
    pub(super) text: Bytes,
    /// How many bytes came over the wire for it.
    pub(super) received: u64,
    /// The appliance's clock.
    pub(super) server_time: Option<OffsetDateTime>,
    /// What may not appear in an error.
    pub(super) key: Option<Arc<ApiKey>>,
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("size", &self.text.len()).finish_non_exhaustive()
    }
}

impl Body {
    /// Bytes of the reply's body as they came, compressed if they were.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Bytes of the text.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.text.len() as u64
    }

    /// The appliance's clock, from the reply's `Date`.
    #[must_use]
    pub fn server_time(&self) -> Option<OffsetDateTime> {
        self.server_time
    }

    /// What a GraphQL page says about the way on, where it says so before its
    /// records and speaks of no errors before that. A guess: [`Body::cut_graphql`] judges.
    #[must_use]
    pub fn peek(&self) -> Option<Peek> {
        cut::peek(&self.text)
    }

    /// The records of a GraphQL page.
    pub fn cut_graphql(self, list: List) -> Result<Cut, Error> {
        cut::graphql(self.text, list, self.key.as_deref().map(ApiKey::secret))
    }

    /// The records of a REST listing.
    pub fn cut_rest(self) -> Result<Cut, Error> {
        cut::rest(self.text)
    }

    /// The plugin hits of one device, each with an `id` made of its own parts
    /// where the appliance gives it none.
    pub fn cut_hits(self, asset: &RemoteId) -> Result<Cut, Error> {
        cut::hits(self.text, asset)
    }
}
