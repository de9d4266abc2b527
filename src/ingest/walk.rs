//! Where a walk over pages goes next, and whether it saw everything: decided
//! on values, without asking anybody.
//!
//! Owns the end of a walk, the guards against walks that never end, and which
//! records came before. Leaves out how a page is asked for. One walk serves
//! both interfaces: over REST the position after a page is an offset, nothing
//! says whether there is more, and so only an empty page ends it.

use std::{
    collections::HashSet,
    hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState},
};

use crate::appliance::Cursor;

/// The most pages of one walk.
pub(super) const MOST_PAGES: u64 = 10_000;
/// The most records of one walk: as many pages of the largest size.
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
    /// The server's count was another one at the end: rows came or went meanwhile.
    #[error("the appliance counted {first} records at the first page and {last} at the last")]
    TotalChanged {
        /// At the first page.
        first: u64,
        /// At the last.
        last: u64,
    },
    /// A second look at the first or last page showed other records (REST).
    #[error("the {page} page held other records when it was looked at again")]
    Moved {
        /// `first` or `last`.
        page: &'static str,
    },
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
    /// No end in sight.
    #[error("the walk was given up after {pages} pages with {records} records")]
    TooLong {
        /// Pages received.
        pages: u64,
        /// Records received.
        records: u64,
    },
}

/// One walk from the first page to the end.
///
/// For each page: [`admit`](Self::admit) each of its records, then
/// [`turn`](Self::turn).
///
/// Ids are kept as 64-bit hashes keyed anew for each walk. Should two ids of a
/// million devices collide (one walk in 30 million), the later record is left
/// out, counted as a duplicate, and the run is not complete where the server
/// counts.
pub(super) struct Walk {
    keys: RandomState,
    ids: HashSet<u64>,
    positions: HashSet<Position>,
    earlier: HashSet<u64>,
    page: DefaultHasher,
    on_page: u64,
    pages: u64,
    duplicates: u64,
    totals: Option<(u64, u64)>,
}

impl Walk {
    pub(super) fn new() -> Self {
        let keys = RandomState::new();
        Self {
            page: keys.build_hasher(),
            keys,
            ids: HashSet::new(),
            positions: HashSet::new(),
            earlier: HashSet::new(),
            on_page: 0,
            pages: 0,
            duplicates: 0,
            totals: None,
        }
    }

    /// Pages so far.
    pub(super) fn pages(&self) -> u64 {
        self.pages
    }

    /// Records with different ids so far.
    pub(super) fn records(&self) -> u64 {
        self.ids.len() as u64
    }

    /// Records that came again.
    pub(super) fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// The server's count at the first page.
    pub(super) fn total(&self) -> Option<u64> {
        self.totals.map(|(first, _)| first)
    }

    /// Takes a record of the current page; whether it is new.
    pub(super) fn admit(&mut self, id: &str) -> bool {
        let hash = self.keys.hash_one(id);
        hash.hash(&mut self.page);
        self.on_page += 1;
        let new = self.ids.insert(hash);
        self.duplicates += u64::from(!new);
        new
    }

    /// Ends the current page.
    pub(super) fn turn(&mut self, turn: Turn) -> Next {
        self.pages += 1;
        let page = self.pages;
        let records = std::mem::take(&mut self.on_page);
        let digest = std::mem::replace(&mut self.page, self.keys.build_hasher()).finish();
        match (turn.total, &mut self.totals) {
            (Some(total), Some((_, last))) => *last = total,
            // A count that only comes later says nothing about the rows moved before it.
            (Some(total), none) if page == 1 => *none = Some((total, total)),
            _ => {}
        }
        if records > 0 && !self.earlier.insert(digest) {
            return Next::End(Some(Incomplete::PageRepeats { page }));
        }
        match (turn.has_next, turn.next) {
            (Some(false), _) | (None, None) => Next::End(self.verdict()),
            // Servers that do not say whether there is more give an empty page past the end.
            (None, Some(_)) if records == 0 => Next::End(self.verdict()),
            (Some(true), None) => Next::End(Some(Incomplete::NoCursor { page })),
            (_, Some(next)) if !self.positions.insert(next.clone()) => {
                Next::End(Some(Incomplete::CursorRepeats { page }))
            }
            _ if page >= MOST_PAGES || self.records() + self.duplicates >= MOST_RECORDS => {
                Next::End(Some(Incomplete::TooLong { pages: page, records: self.records() }))
            }
            (_, Some(next)) => Next::Ask(next),
        }
    }

    fn verdict(&self) -> Option<Incomplete> {
        let records = self.records();
        match self.totals {
            Some((first, last)) if first != last => Some(Incomplete::TotalChanged { first, last }),
            Some((total, _)) if total != records => Some(Incomplete::CountDiffers { total, records }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page as a server might send it: ids, position after it, `hasNextPage`, `totalCount`.
    #[derive(Clone)]
    struct Sent(Vec<u64>, Option<u64>, Option<bool>, Option<u64>);

    /// Walks over what `server` sends for each position; 0 is the start.
    fn walk(server: impl Fn(u64) -> Sent) -> (Walk, Option<Incomplete>) {
        let mut walk = Walk::new();
        let mut at = 0;
        loop {
            let Sent(ids, next, has_next, total) = server(at);
            for id in ids {
                walk.admit(&id.to_string());
            }
            match walk.turn(Turn { next: next.map(Position::Offset), has_next, total }) {
                Next::Ask(Position::Offset(next)) => at = next,
                Next::Ask(other) => panic!("asked for {other:?}"),
                Next::End(end) => return (walk, end),
            }
        }
    }

    #[test]
    fn walks_and_their_ends() {
        // The pages in the order in which they are sent, whatever is asked for.
        let check = |what: &str, pages: &[Sent], expected: (u64, u64, u64), end: Option<Incomplete>| {
            let sent = std::cell::Cell::new(0);
            let (walk, ended) = walk(|_| {
                let page = pages.get(sent.get()).unwrap_or_else(|| panic!("{what}: asked for one page too many"));
                sent.set(sent.get() + 1);
                page.clone()
            });
            assert_eq!(ended, end, "{what}");
            assert_eq!((walk.pages(), walk.records(), walk.duplicates()), expected, "{what}");
        };
        let sent = |ids: std::ops::Range<u64>, next: Option<u64>, more: Option<bool>, total: Option<u64>| {
            Sent(ids.collect(), next, more, total)
        };
        let (yes, no) = (Some(true), Some(false));
        let five = Some(5);

        check("nothing there", &[sent(0..0, None, no, Some(0))], (1, 0, 0), None);
        check("nothing there, and little said", &[sent(0..0, None, None, None)], (1, 0, 0), None);
        check("one page", &[sent(0..5, None, no, five)], (1, 5, 0), None);
        check("a cursor on the last page", &[sent(0..5, Some(5), no, five)], (1, 5, 0), None);
        check("two pages", &[sent(0..3, Some(3), yes, five), sent(3..5, Some(5), no, five)], (2, 5, 0), None);
        check(
            "clipped pages",
            &[sent(0..1, Some(1), yes, five), sent(1..2, Some(2), yes, five), sent(2..5, None, no, five)],
            (3, 5, 0),
            None,
        );
        check(
            "an empty page in the middle",
            &[sent(0..3, Some(3), yes, five), sent(0..0, Some(4), yes, five), sent(3..5, Some(5), no, five)],
            (3, 5, 0),
            None,
        );
        check(
            "hasNextPage missing, no cursor at the end",
            &[sent(0..3, Some(3), None, five), sent(3..5, None, None, five)],
            (2, 5, 0),
            None,
        );
        check(
            "hasNextPage missing, an empty page at the end",
            &[sent(0..3, Some(3), None, five), sent(3..5, Some(5), None, five), sent(0..0, Some(5), None, five)],
            (3, 5, 0),
            None,
        );
        check("no total", &[sent(0..3, Some(3), yes, None), sent(3..5, None, no, None)], (2, 5, 0), None);
        check(
            "a total that comes late counts for nothing",
            &[sent(0..3, Some(3), yes, None), sent(3..5, None, no, Some(99))],
            (2, 5, 0),
            None,
        );
        check(
            "a duplicate and still all",
            &[sent(0..3, Some(3), yes, five), sent(2..5, None, no, five)],
            (2, 5, 1),
            None,
        );
        check(
            "a row that moved over the page border",
            &[sent(0..3, Some(3), yes, five), sent(4..5, None, no, five)],
            (2, 4, 0),
            Some(Incomplete::CountDiffers { total: 5, records: 4 }),
        );
        check(
            "a short page that claims to be the last",
            &[sent(0..3, None, no, five)],
            (1, 3, 0),
            Some(Incomplete::CountDiffers { total: 5, records: 3 }),
        );
        check(
            "more than there are",
            &[sent(0..6, None, no, five)],
            (1, 6, 0),
            Some(Incomplete::CountDiffers { total: 5, records: 6 }),
        );
        check(
            "the total shrinks",
            &[sent(0..3, Some(3), yes, five), sent(3..5, None, no, Some(4))],
            (2, 5, 0),
            Some(Incomplete::TotalChanged { first: 5, last: 4 }),
        );
        check(
            "the total grows",
            &[sent(0..3, Some(3), yes, five), sent(3..5, None, no, Some(6))],
            (2, 5, 0),
            Some(Incomplete::TotalChanged { first: 5, last: 6 }),
        );
        check("more, and not where", &[sent(0..5, None, yes, five)], (1, 5, 0), Some(Incomplete::NoCursor { page: 1 }));
        check(
            "the cursor stands still",
            &[sent(0..2, Some(2), yes, five), sent(2..4, Some(2), yes, five)],
            (2, 4, 0),
            Some(Incomplete::CursorRepeats { page: 2 }),
        );
        check(
            "the cursor goes in a circle",
            &[sent(0..1, Some(1), yes, None), sent(1..2, Some(2), yes, None), sent(2..3, Some(1), yes, None)],
            (3, 3, 0),
            Some(Incomplete::CursorRepeats { page: 3 }),
        );
        check(
            "empty pages and one cursor",
            &[sent(0..0, Some(1), yes, None), sent(0..0, Some(1), yes, None)],
            (2, 0, 0),
            Some(Incomplete::CursorRepeats { page: 2 }),
        );
        check(
            "the position is not looked at",
            &[sent(0..3, Some(3), yes, five), sent(0..3, Some(6), yes, five)],
            (2, 3, 3),
            Some(Incomplete::PageRepeats { page: 2 }),
        );
        check(
            "the position is not looked at, and the second page claims to be the last",
            &[sent(0..3, Some(3), yes, None), sent(0..3, Some(6), no, None)],
            (2, 3, 3),
            Some(Incomplete::PageRepeats { page: 2 }),
        );
    }

    #[test]
    fn a_walk_without_end_is_given_up() {
        let (walk, end) = walk(|at| Sent(vec![at], Some(at + 1), Some(true), None));
        assert_eq!(end, Some(Incomplete::TooLong { pages: MOST_PAGES, records: MOST_PAGES }));
        assert_eq!(walk.pages(), MOST_PAGES);

        let empty = |at| Sent(vec![], Some(at + 1), Some(true), Some(1));
        assert_eq!(super::tests::walk(empty).1, Some(Incomplete::TooLong { pages: MOST_PAGES, records: 0 }));
    }

    #[test]
    fn offsets_end_at_an_empty_page_only() {
        // A REST listing of 23 rows that clips pages to 4, whatever is asked for.
        let (walk, end) = walk(|at| {
            let ids: Vec<u64> = (at..23.min(at + 4)).collect();
            let next = at + ids.len() as u64;
            Sent(ids, Some(next), None, None)
        });
        assert_eq!(end, None);
        assert_eq!((walk.pages(), walk.records(), walk.total()), (7, 23, None));
    }
}
