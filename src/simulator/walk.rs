//! One page of selected rows: where it begins and ends, what it says of the rest.
//!
//! Owns positions, and everything that may go wrong with them while somebody
//! walks a list (rows that move, positions that are ignored, totals that
//! change). Leaves out selecting and sorting (`listing`) and how a position is
//! written (`graphql`, `rest`).

use super::{Behaviours, Order, RowsMove, listing::SortKey, state::Shared};
use serde_json::Value as Json;

/// The sort field of the order that follows no field; no client can name it in GraphQL.
pub(super) const SHUFFLED: &str = "shuffled";

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// Position of the first row.
    pub start: usize,
    /// At most so many rows.
    pub rows: usize,
}

/// A part of the selected rows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Row numbers.
    pub rows: Vec<usize>,
    /// Position of the first one.
    pub start: usize,
    /// What the server says that all of them are.
    pub total: usize,
    pub has_next: bool,
}

/// A page larger than this appliance can give in time.
#[derive(Debug)]
pub(super) struct TooSlow;

/// The sort that is followed where this one was asked for.
pub(super) fn sort(behaviours: &Behaviours, asked: Vec<SortKey>) -> Vec<SortKey> {
    match behaviours.order {
        Order::AsAsked => asked,
        Order::Ignored => vec![SortKey { field: SHUFFLED.to_owned(), descending: false, nulls_first: false }],
    }
}

/// The number of a row in the order that follows no field.
pub(super) fn shuffled(row: usize) -> Json {
    // Fewer bits than a float has, so that no two rows are equal by rounding.
    Json::from((row as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20)
}

/// The page of `selected` that is asked for, of a list that has `size` rows without any filter; counts it.
pub(super) fn page(
    shared: &Shared,
    behaviours: &Behaviours,
    selected: &[u32],
    size: usize,
    asked: Asked,
) -> Result<Part, TooSlow> {
    if behaviours.slow_pages.is_some_and(|slow| asked.rows > slow.over) {
        return Err(TooSlow);
    }
    let seen = if asked.rows == 1 { shared.pages_so_far() } else { shared.count_page() };
    let moved = behaviours.rows_move.map_or(0, |it| moves(it, seen));
    let limit = asked.rows.min(behaviours.page_limit.unwrap_or(usize::MAX));
    let start = if behaviours.ignores_position { 0 } else { asked.start };
    let mut part = match behaviours.rows_move {
        Some(RowsMove { removed: true, .. }) => {
            cut(&Moved { front: 0, selected: &selected[moved.min(selected.len())..], size }, start, limit)
        }
        _ => cut(&Moved { front: moved, selected, size }, start, limit),
    };
    if behaviours.rows_move.is_some_and(|it| it.total_lies) {
        part.total = selected.len();
    }
    part.total += if behaviours.total_changes { seen } else { 0 };
    Ok(part)
}

/// How often rows have moved when this many pages were served before.
fn moves(rows_move: RowsMove, pages_before: usize) -> usize {
    let since = (pages_before + 1).saturating_sub(rows_move.at_page.max(1) - 1);
    if rows_move.always { since } else { since.min(1) }
}

/// Selected rows with new ones before them, the newest first.
struct Moved<'a> {
    front: usize,
    selected: &'a [u32],
    size: usize,
}

impl Moved<'_> {
    fn len(&self) -> usize {
        self.front + self.selected.len()
    }

    fn row(&self, position: usize) -> usize {
        match position.checked_sub(self.front) {
            Some(position) => self.selected[position] as usize,
            None => self.size + self.front - 1 - position,
        }
    }
}

fn cut(rows: &Moved<'_>, start: usize, limit: usize) -> Part {
    let start = start.min(rows.len());
    let end = start.saturating_add(limit).min(rows.len());
    Part {
        rows: (start..end).map(|position| rows.row(position)).collect(),
        start,
        total: rows.len(),
        has_next: end < rows.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_rows_stand_before_the_others_and_shift_them() {
        let check = |front, start, limit, rows: &[usize], has_next| {
            let part = cut(&Moved { front, selected: &[3, 2, 1, 0], size: 4 }, start, limit);
            assert_eq!((&part.rows[..], part.total, part.has_next), (rows, 4 + front, has_next), "{front} {start}");
        };
        check(0, 0, 2, &[3, 2], true);
        check(1, 2, 2, &[2, 1], true);
        check(2, 0, 3, &[5, 4, 3], true);
        check(0, 2, 9, &[1, 0], false);
        check(0, 9, 2, &[], false);
    }

    #[test]
    fn rows_move_from_the_page_on_that_was_named() {
        let check = |at_page, always, expected: [usize; 4]| {
            let it = RowsMove { at_page, removed: false, always, total_lies: false };
            assert_eq!([0, 1, 2, 3].map(|before| moves(it, before)), expected, "{at_page} {always}");
        };
        check(1, false, [1, 1, 1, 1]);
        check(3, false, [0, 0, 1, 1]);
        check(2, true, [0, 1, 2, 3]);
    }

    #[test]
    fn no_two_of_a_million_rows_share_their_place() {
        let mut places: Vec<u64> = (0..1_000_000).filter_map(|row| shuffled(row).as_u64()).collect();
        assert!(!places.is_sorted());
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), 1_000_000);
    }
}
