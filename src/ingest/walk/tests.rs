//! Walks over what servers might send.

use super::*;
use crate::appliance::Cursor;

/// A page as a server might send it: ids, position after it, `hasNextPage`, `totalCount`.
#[derive(Clone)]
struct Sent(Vec<u64>, Option<u64>, Option<bool>, Option<u64>);

/// Walks with cursors over what `server` sends for each position; 0 is the start.
fn walk(server: impl Fn(u64) -> Sent) -> (Walk, Option<Incomplete>) {
    walk_by(|at| Position::After(Cursor::of(&at.to_string())), server)
}

fn walk_by(position: impl Fn(u64) -> Position, server: impl Fn(u64) -> Sent) -> (Walk, Option<Incomplete>) {
    let mut walk = Walk::new();
    let mut at = 0;
    loop {
        let Sent(ids, next, has_next, total) = server(at);
        for id in ids {
            walk.admit(&id.to_string()).unwrap();
        }
        match walk.turn(Turn { next: next.map(&position), has_next, total }) {
            Next::Ask(asked) => {
                at = next.unwrap();
                assert_eq!(asked, position(at));
            }
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
        assert_eq!((walk.pages, walk.records(), walk.duplicates()), expected, "{what}");
    };
    let sent = |ids: std::ops::Range<u64>, next: Option<u64>, more: Option<bool>, total: Option<u64>| {
        Sent(ids.collect(), next, more, total)
    };
    let (yes, no) = (Some(true), Some(false));
    let five = Some(5);

    check("nothing there", &[sent(0..0, None, no, Some(0))], (1, 0, 0), None);
    check("nothing there, and little said", &[sent(0..0, None, None, Some(0))], (1, 0, 0), None);
    check("nothing there, and nothing said", &[sent(0..0, None, None, None)], (1, 0, 0), Some(Incomplete::Unsaid));
    check("records, and nothing said", &[sent(0..5, None, None, None)], (1, 5, 0), Some(Incomplete::Unsaid));
    check(
        "nothing said any more",
        &[sent(0..3, Some(3), None, None), sent(3..5, None, None, None)],
        (2, 5, 0),
        Some(Incomplete::Unsaid),
    );
    check(
        "an empty page after a cursor, whatever is not said",
        &[sent(0..3, Some(3), None, None), sent(3..5, Some(5), None, None), sent(0..0, None, None, None)],
        (3, 5, 0),
        None,
    );
    check(
        "an empty page before any cursor is none after one",
        &[sent(0..0, Some(1), None, None), sent(0..0, Some(1), None, None)],
        (2, 0, 0),
        None,
    );
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
        "a total that comes late, and is right",
        &[sent(0..3, Some(3), yes, None), sent(3..5, None, no, five)],
        (2, 5, 0),
        None,
    );
    check(
        "a total that comes late, and is another one",
        &[sent(0..3, Some(3), yes, None), sent(3..5, None, no, Some(99))],
        (2, 5, 0),
        Some(Incomplete::CountDiffers { total: 99, records: 5 }),
    );
    check("a duplicate and still all", &[sent(0..3, Some(3), yes, five), sent(2..5, None, no, five)], (2, 5, 1), None);
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
        Some(Incomplete::TotalShrank { first: 5, last: 4 }),
    );
    check(
        "the total shrinks and grows back: one row went and another came",
        &[sent(0..2, Some(2), yes, five), sent(2..4, Some(4), yes, Some(4)), sent(4..5, None, no, five)],
        (3, 5, 0),
        Some(Incomplete::TotalShrank { first: 5, last: 4 }),
    );
    check(
        "an empty page in the middle of a listing that says little",
        &[sent(0..3, Some(3), None, five), sent(0..0, Some(4), None, five)],
        (2, 3, 0),
        Some(Incomplete::CountDiffers { total: 5, records: 3 }),
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
    assert_eq!(walk.pages, MOST_PAGES);

    let empty = |at| Sent(vec![], Some(at + 1), Some(true), Some(1));
    assert_eq!(super::tests::walk(empty).1, Some(Incomplete::TooLong { pages: MOST_PAGES, records: 0 }));
}

#[test]
fn a_long_walk_goes_on_while_the_appliance_counts_more() {
    // One record a page: so many are counted, and so many there are.
    let check = |counted: u64, there: u64, pages: u64, end: Option<Incomplete>| {
        let server = |at| {
            let ids = if at < there { vec![at] } else { vec![] };
            Sent(ids, Some(at + 1), Some(at + 1 < counted), Some(counted))
        };
        let (walk, ended) = walk(server);
        assert_eq!((walk.pages, ended), (pages, end), "{counted} counted, {there} there");
        assert!(walk.positions.len() as u64 <= MOST_PAGES && walk.earlier.len() as u64 <= MOST_PAGES);
    };
    let too_long = |pages, records| Some(Incomplete::TooLong { pages, records });
    check(MOST_PAGES, MOST_PAGES, MOST_PAGES, None);
    check(25_000, 25_000, 25_000, None);
    check(25_000, 30_000, 25_000, None);
    check(MOST_RECORDS + 1, MOST_RECORDS + 1, MOST_PAGES, too_long(MOST_PAGES, MOST_PAGES));
    // Pages that bring nothing are no ground to go on.
    check(1_000_000, 5, MOST_PAGES + 5, too_long(MOST_PAGES + 5, 5));
    let hint = too_long(1, 1).unwrap().hint();
    assert!(hint.contains("--page-size"), "{hint}");
}

#[test]
fn offsets_end_at_an_empty_page_only() {
    let walk = |server: &dyn Fn(u64) -> Sent| walk_by(Position::Offset, server);
    // A REST listing of 23 rows that clips pages to 4, whatever is asked for.
    let clipped = |at: u64| {
        let ids: Vec<u64> = (at..23.min(at + 4)).collect();
        let next = at + ids.len() as u64;
        Sent(ids, Some(next), None, None)
    };
    let (read, end) = walk(&clipped);
    assert_eq!(end, None);
    assert_eq!((read.pages, read.records(), read.total()), (7, 23, None));
    // A row that came before the second page.
    let moved = |at: u64| match clipped(at) {
        Sent(ids, next, ..) if at > 0 => Sent(ids.iter().map(|id| id - 1).collect(), next, None, None),
        first => first,
    };
    let (mut read, end) = walk(&moved);
    assert_eq!(end, Some(Incomplete::CameAgain { records: 1 }));
    // What came again in the first pass is no word against the second.
    read.again();
    (0..22_u64).for_each(|id| assert!(!read.admit(&id.to_string()).unwrap()));
    let there = |read: &mut Walk| read.turn(Turn { next: Some(Position::Offset(22)), has_next: None, total: None });
    assert_eq!(there(&mut read), Next::Ask(Position::Offset(22)));
    assert_eq!((there(&mut read), read.duplicates()), (Next::End(None), 1));
}
