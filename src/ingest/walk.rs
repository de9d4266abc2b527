//! Where a walk over pages goes next, and whether it saw everything: decided
//! on values, without asking anybody.
//!
//! Owns the end of a walk, the guards against walks that never end, and when
//! walking once more may help. Leaves out how a page is asked for, and which
//! records came before ([`seen`](super::seen)). One walk serves
//! both interfaces: over REST the position after a page is an offset, nothing
//! says whether there is more, and so only an empty page ends it. Over GraphQL
//! an appliance may say so, or count, or send an empty page after a cursor;
//! without any of these nothing shows that the walk is over.

use std::{
    collections::HashSet,
    hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState},
    io, mem,
};

use super::seen::Seen;
use crate::appliance::Cursor;

/// The most pages of one walk, unless the appliance counts more records than they held.
pub(super) const MOST_PAGES: u64 = 10_000;
/// The most records of one walk: as many such pages of the largest size.
pub(super) const MOST_RECORDS: u64 = 10_000_000;

/// A position between two pages.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Position {
    /// Before the first page.
    Start,
    /// After the page that ended with this cursor.
    After(Cursor),
    /// After this many records.
    Offset(u64),
}

impl Position {
    /// As GraphQL takes it.
    pub(super) fn cursor(&self) -> Option<&Cursor> {
        if let Self::After(cursor) = self { Some(cursor) } else { None }
    }

    /// As REST takes it.
    pub(super) fn offset(&self) -> u64 {
        if let Self::Offset(offset) = self { *offset } else { 0 }
    }
}

/// What a page says about the way on.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    /// Where the next page begins, if that is known.
    pub next: Option<Position>,
    /// Whether there is more, if the server says so.
    pub has_next: Option<bool>,
    /// How many there are altogether, if the server says so.
    pub total: Option<u64>,
}

/// What to do after a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask for the page at this position.
    Ask(Position),
    /// Stop; everything was seen, or why that cannot be said.
    End(Option<Incomplete>),
}

/// Why a run may not have read all there was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Incomplete {
    /// The server counts otherwise.
    #[error("the appliance counts {total} records and sent {records} different ones")]
    CountDiffers {
        /// The server's count.
        total: u64,
        /// Records with different ids.
        records: u64,
    },
    /// The server's count changed: rows came meanwhile.
    #[error("the appliance counted {first} records at the first page and {last} later")]
    TotalChanged {
        /// At the first page.
        first: u64,
        /// At a later one.
        last: u64,
    },
    /// The server's count went down: rows went meanwhile.
    #[error("the appliance counted {first} records at the first page and only {last} later")]
    TotalShrank {
        /// At the first page.
        first: u64,
        /// At a later one.
        last: u64,
    },
    /// A second look at a page showed other records (REST).
    #[error("page {page} held other records when it was looked at again")]
    Moved {
        /// The page, from 1.
        page: u64,
    },
    /// Records came again where nothing is counted: rows came meanwhile (REST).
    #[error("{records} records came again: rows moved while they were read")]
    CameAgain {
        /// How many.
        records: u64,
    },
    /// No second look was possible (REST).
    #[error("page {page} could not be looked at again, to see whether rows moved ({failure})")]
    Unlooked {
        /// The page, from 1.
        page: u64,
        /// Why not.
        failure: String,
    },
    /// Rows moved, and reading once more what was missed did not come to its end.
    #[error("{why}; reading once more what was missed failed ({failure})")]
    Unrepaired {
        /// What showed that rows moved.
        why: Box<Incomplete>,
        /// What went wrong the second time.
        failure: String,
    },
    /// Nothing showed that the last page was the last.
    #[error("the appliance says neither whether there is more nor how many records there are")]
    Unsaid,
    /// The server says there is more, and not where.
    #[error("the appliance says after page {page} that there is more, and not where")]
    NoCursor {
        /// The page, from 1.
        page: u64,
    },
    /// The server sends us back to where we were.
    #[error("page {page} ends at a position that an earlier page ended at")]
    CursorRepeats {
        /// The page, from 1.
        page: u64,
    },
    /// A page came again: the server does not look at the position it is asked for, or goes in circles.
    #[error("page {page} holds the same records as an earlier page")]
    PageRepeats {
        /// The page, from 1.
        page: u64,
    },
    /// Devices that are listed were answered with 404 when their findings were asked for.
    #[error("the appliance lists {devices} devices that it did not know when their findings were asked for")]
    StillListed {
        /// How many.
        devices: u64,
    },
    /// No end in sight.
    #[error("the walk was given up after {pages} pages with {records} records")]
    TooLong {
        /// Pages received.
        pages: u64,
        /// Records received.
        records: u64,
    },
}

impl Incomplete {
    /// Whether rows may have moved while they were read, so that reading them once more may help.
    pub(super) fn rows_moved(&self) -> bool {
        matches!(
            self,
            Self::CountDiffers { .. }
                | Self::TotalChanged { .. }
                | Self::TotalShrank { .. }
                | Self::Moved { .. }
                | Self::CameAgain { .. }
        )
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "ask for more records at a time, with a larger --page-size",
            Self::Unsaid => "devices can be read with `--api rest` as well, which shows where the list ends",
            _ => "run it again when the appliance is quiet",
        }
    }
}

/// One walk from the first page to the end, or two: where rows moved during
/// the first, a [second](Self::again) brings what it missed.
///
/// For each page: [`admit`](Self::admit) each of its records, then
/// [`turn`](Self::turn). What is kept of pages and positions is a hash of
/// each, at most [`MOST_PAGES`] of either: a walk longer than that is bounded
/// by the new records it brings.
pub(super) struct Walk {
    keys: RandomState,
    /// What came in this pass.
    seen: Seen,
    /// What came in the passes before; `None`: there were none.
    before: Option<Seen>,
    positions: HashSet<u64>,
    earlier: HashSet<u64>,
    page: DefaultHasher,
    on_page: u64,
    /// The digest of the last page.
    last: u64,
    /// Pages and records of this pass, those that came again too.
    pages: u64,
    received: u64,
    totals: Option<Totals>,
    /// The latest count of a server that gave none at the first page.
    late: Option<u64>,
    /// Records that came again in this pass, and in those before.
    duplicates: u64,
    duplicates_before: u64,
}

/// The server's counts of one pass.
struct Totals {
    first: u64,
    /// The latest that was another one.
    other: Option<u64>,
}

impl Walk {
    pub(super) fn new() -> Self {
        let keys = RandomState::new();
        Self {
            page: keys.build_hasher(),
            seen: Seen::new(keys.clone()),
            keys,
            before: None,
            positions: HashSet::new(),
            earlier: HashSet::new(),
            on_page: 0,
            last: 0,
            pages: 0,
            received: 0,
            totals: None,
            late: None,
            duplicates: 0,
            duplicates_before: 0,
        }
    }

    /// Begins again at the first page, knowing which records came before.
    pub(super) fn again(&mut self) {
        let next = Self { duplicates_before: self.duplicates(), ..Self::new() };
        let past = std::mem::replace(self, next);
        self.before = Some(past.before.unwrap_or(past.seen));
    }

    /// Records with different ids so far, of all passes.
    pub(super) fn records(&self) -> u64 {
        self.before.as_ref().unwrap_or(&self.seen).count()
    }

    /// Records that came again within a pass.
    pub(super) fn duplicates(&self) -> u64 {
        self.duplicates_before + self.duplicates
    }

    /// The server's count at the first page of this pass.
    pub(super) fn total(&self) -> Option<u64> {
        self.totals.as_ref().map(|totals| totals.first)
    }

    /// What tells the ids of the page that ended last from others, within this pass.
    pub(super) fn last_page(&self) -> u64 {
        self.last
    }

    /// The same of these ids.
    pub(super) fn digest<'a>(&self, ids: impl Iterator<Item = &'a str>) -> u64 {
        let mut page = self.keys.build_hasher();
        ids.for_each(|id| hash_on(&self.keys, id, &mut page));
        page.finish()
    }

    /// Takes a record of the current page; whether it is new. Disk.
    ///
    /// # Errors
    /// As [`Seen::admit`].
    pub(super) fn admit(&mut self, id: &str) -> io::Result<bool> {
        hash_on(&self.keys, id, &mut self.page);
        self.on_page += 1;
        if !self.seen.admit(id)? {
            self.duplicates += 1;
            return Ok(false);
        }
        self.before.as_mut().map_or(Ok(true), |before| before.admit(id))
    }

    /// Ends the current page.
    pub(super) fn turn(&mut self, turn: Turn) -> Next {
        self.pages += 1;
        let page = self.pages;
        let records = mem::take(&mut self.on_page);
        self.received += records;
        self.last = mem::replace(&mut self.page, self.keys.build_hasher()).finish();
        match (turn.total, &mut self.totals) {
            (Some(total), Some(totals)) if total != totals.first => totals.other = Some(total),
            (Some(first), none @ None) if page == 1 => *none = Some(Totals { first, other: None }),
            // A count that only comes later says nothing about the rows moved before it, and may contradict all the same.
            (Some(late), None) => self.late = Some(late),
            _ => {}
        }
        if records > 0 && !is_new(&mut self.earlier, self.last) {
            return Next::End(Some(Incomplete::PageRepeats { page }));
        }
        match (turn.has_next, turn.next) {
            (None, Some(Position::Offset(_))) if records == 0 => Next::End(self.came_again()),
            (None, None) if !self.shows_an_end(records) => Next::End(Some(Incomplete::Unsaid)),
            (Some(false), _) | (None, None) => Next::End(self.verdict()),
            (None, Some(_)) if records == 0 && self.shows_an_end(records) => Next::End(self.verdict()),
            (Some(true), None) => Next::End(Some(Incomplete::NoCursor { page })),
            (_, Some(next)) if !is_new(&mut self.positions, self.keys.hash_one(&next)) => {
                Next::End(Some(Incomplete::CursorRepeats { page }))
            }
            _ if page >= self.most_pages() || self.received >= MOST_RECORDS => {
                Next::End(Some(Incomplete::TooLong { pages: page, records: self.records() }))
            }
            (_, Some(next)) => Next::Ask(next),
        }
    }

    /// Beyond the usual number, no more pages than records came, and those only
    /// while the appliance counts more than that.
    fn most_pages(&self) -> u64 {
        let records = self.seen.count();
        match self.totals {
            Some(Totals { first, .. }) if records < first && first <= MOST_RECORDS => MOST_PAGES + records,
            _ => MOST_PAGES,
        }
    }

    /// Whether a page of so many records may be the last where nothing says
    /// that there is more: the appliance counts, or the page is the empty one
    /// that comes after the last cursor.
    fn shows_an_end(&self, records: u64) -> bool {
        self.totals.is_some() || (records == 0 && self.pages > 1)
    }

    fn came_again(&self) -> Option<Incomplete> {
        (self.duplicates > 0).then_some(Incomplete::CameAgain { records: self.duplicates })
    }

    fn verdict(&self) -> Option<Incomplete> {
        let records = self.seen.count();
        match self.totals {
            Some(Totals { first, other: Some(last) }) if last < first => Some(Incomplete::TotalShrank { first, last }),
            Some(Totals { first, other: Some(last) }) => Some(Incomplete::TotalChanged { first, last }),
            Some(Totals { first: total, .. }) if total != records => Some(Incomplete::CountDiffers { total, records }),
            Some(_) => None,
            None => self.late.filter(|late| *late != records).map(|total| Incomplete::CountDiffers { total, records }),
        }
    }
}

/// Notes a hash, as long as there are not too many; whether it had not been noted before.
fn is_new(hashes: &mut HashSet<u64>, hash: u64) -> bool {
    if (hashes.len() as u64) < MOST_PAGES { hashes.insert(hash) } else { !hashes.contains(&hash) }
}

fn hash_on(keys: &RandomState, id: &str, page: &mut DefaultHasher) {
    keys.hash_one(id).hash(page);
}

#[cfg(test)]
mod tests;
