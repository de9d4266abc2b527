//! Where the next page probably begins, known before this one is looked into.
//!
//! Owns the guess. A guess that turns out wrong costs one page that is thrown
//! away, never a record: the walk goes where the page itself says.

use super::{Api, pages::Sent, walk::Position};
use crate::appliance::Peek;

/// Guesses, and what was learnt from wrong ones.
#[derive(Default)]
pub(super) struct Ahead {
    /// How many records a page held where fewer came than were asked for: servers may clip pages.
    clip: Option<u64>,
}

/// The shortest reply with a record in it is `[{"id":1}]`.
const SOME_RECORD: u64 = 10;

impl Ahead {
    /// Where the page after this one probably begins; `None`: probably nowhere.
    pub(super) fn guess(&self, api: Api, sent: &Sent) -> Option<Position> {
        match api {
            Api::Graphql => after_cursor(&sent.at, sent.body.peek()?),
            Api::Rest => self.after_offset(&sent.at, sent.asked, sent.body.size()),
        }
    }

    /// A page of so many records came where so many were asked for.
    pub(super) fn learn(&mut self, asked: u32, came: u64) {
        self.clip = (came < u64::from(asked)).then_some(came);
    }

    fn after_offset(&self, at: &Position, asked: u32, bytes: u64) -> Option<Position> {
        let asked = u64::from(asked);
        let came = self.clip.map_or(asked, |clip| clip.min(asked));
        (bytes >= SOME_RECORD && came > 0).then(|| Position::Offset(at.offset() + came))
    }
}

fn after_cursor(at: &Position, peek: Peek) -> Option<Position> {
    let next = Position::After(peek.end_cursor.filter(|_| peek.has_next != Some(false))?);
    // A walk that stands still ends here.
    (next != *at).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::appliance::Cursor;

    #[test]
    fn offsets_are_guessed_by_what_is_asked_for_or_by_what_comes() {
        let mut ahead = Ahead::default();
        let check = |ahead: &Ahead, at: u64, asked: u32, bytes: u64, expected: Option<u64>| {
            let at = if at == 0 { Position::Start } else { Position::Offset(at) };
            assert_eq!(ahead.after_offset(&at, asked, bytes), expected.map(Position::Offset), "{at:?} {asked} {bytes}");
        };
        check(&ahead, 0, 200, 10_000, Some(200));
        check(&ahead, 400, 200, 10_000, Some(600));
        // Nothing is behind an empty page.
        check(&ahead, 400, 200, 2, None);
        check(&ahead, 400, 200, 4, None);
        // The server clips pages to 70, whatever is asked for.
        ahead.learn(200, 70);
        check(&ahead, 70, 200, 10_000, Some(140));
        check(&ahead, 70, 50, 10_000, Some(120));
        ahead.learn(50, 50);
        check(&ahead, 120, 200, 10_000, Some(320));
        ahead.learn(200, 0);
        check(&ahead, 120, 200, 10_000, None);
    }

    #[test]
    fn no_page_is_guessed_after_the_last_one() {
        let x = || Cursor::of("x");
        let after_x = || Position::After(x());
        let check = |at: Position, end_cursor: Option<Cursor>, has_next, expected: Option<Position>| {
            let what = format!("{at:?} {end_cursor:?} {has_next:?}");
            assert_eq!(after_cursor(&at, Peek { end_cursor, has_next }), expected, "{what}");
        };
        check(Position::Start, Some(x()), Some(true), Some(after_x()));
        check(Position::Start, Some(x()), None, Some(after_x()));
        check(Position::Start, Some(x()), Some(false), None);
        check(Position::Start, None, Some(true), None);
        check(Position::Start, None, None, None);
        check(Position::After(Cursor::of("w")), Some(x()), Some(true), Some(after_x()));
        // It stands still.
        check(after_x(), Some(x()), Some(true), None);
    }
}
