//! What of a REST listing is looked at again, once its end was reached.
//!
//! A listing by offsets counts nothing: a row that went makes the walk step
//! over another, and nothing of that shows in the pages. So the first and the
//! last page are asked for again, and the last record of every page between
//! them at its own place: where a row went or came before it, another stands
//! there. What is not seen: rows that came and went within one page and left
//! those at its end where they were.
//!
//! The cost is one small request (`limit` 1) for each page between, and 24
//! bytes of memory for each. Leaves out asking (`pages`) and what follows
//! (`reading`).

use super::walk::Position;

/// Records that stood together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    /// After so many others.
    offset: u64,
    pub records: u32,
    /// What tells their ids from others.
    pub digest: u64,
}

impl Spot {
    pub(super) fn at(&self) -> Position {
        Position::Offset(self.offset)
    }
}

/// What to look at, in the order of the pages.
#[derive(Default)]
pub(super) struct Spots {
    /// The first page, and the ends of those after it.
    before: Vec<Spot>,
    /// The last page, and its end should it turn out to be another.
    last: Option<(Spot, Spot)>,
}

impl Spots {
    /// Notes a page: where it began, how many records it held, what tells them
    /// and the last of them from others. The empty page past the end counts
    /// only if it is the first.
    pub(super) fn note(&mut self, at: &Position, came: u64, digest: u64, end: u64) {
        let records = u32::try_from(came).unwrap_or(u32::MAX);
        let page = Spot { offset: at.offset(), records, digest };
        if self.before.is_empty() {
            self.before.push(page);
        } else if came > 0 {
            let end = Spot { offset: page.offset + came - 1, records: 1, digest: end };
            self.before.extend(self.last.replace((page, end)).map(|(_, end)| end));
        }
    }

    /// One for each page.
    pub(super) fn all(self) -> impl Iterator<Item = Spot> {
        self.before.into_iter().chain(self.last.map(|(page, _)| page))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_page_and_the_ends_between() {
        let check = |pages: &[u64], expected: &[(u64, u32, u64)]| {
            let (mut spots, mut offset) = (Spots::default(), 0);
            for (page, came) in (1..).zip(pages) {
                let at = if offset == 0 { Position::Start } else { Position::Offset(offset) };
                spots.note(&at, *came, page, page + 100);
                offset += came;
            }
            let expected: Vec<Spot> =
                expected.iter().map(|&(offset, records, digest)| Spot { offset, records, digest }).collect();
            assert_eq!(spots.all().collect::<Vec<_>>(), expected, "{pages:?}");
        };
        check(&[], &[]);
        check(&[0], &[(0, 0, 1)]);
        check(&[3, 0], &[(0, 3, 1)]);
        check(&[3, 2, 0], &[(0, 3, 1), (3, 2, 2)]);
        check(&[3, 3, 1, 2, 0], &[(0, 3, 1), (5, 1, 102), (6, 1, 103), (7, 2, 4)]);
    }
}
