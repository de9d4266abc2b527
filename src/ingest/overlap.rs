//! The rows that a run meets again because the one before has read them.
//!
//! Owns which of them are left out, and what the run after has to know.
//! Leaves out from when on is read (`since`).
//!
//! Promises that no row is lost: whatever cannot be compared is delivered again.

use std::ops::RangeInclusive;

use aws_lc_rs::digest::{SHA256, digest};
use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::value::RawValue;
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

use super::since::{Clocks, Plan, before};
use crate::{inventory::Mark, site::Stream};

/// The most rows of an overlap that are remembered; 800 KB in the inventory.
pub(super) const MOST_RECENT: usize = 100_000;

impl Plan {
    /// The look at each row of a walk. `clocks` is asked when the first row is there.
    pub(super) fn overlap(self, stream: Stream, clocks: impl Fn() -> Clocks + Send + 'static) -> Overlap {
        Overlap {
            stream,
            clocks: Box::new(clocks),
            again: None,
            moves: self.moves,
            known: self.known,
            recent: Some(Vec::new()),
        }
    }
}

/// The overlap of a run with the one before and the one after.
pub(super) struct Overlap {
    stream: Stream,
    clocks: Box<dyn Fn() -> Clocks + Send>,
    /// The times whose rows the next run meets again, by the appliance's
    /// clock. A row from later than that is either a change made meanwhile or
    /// not of this clock: it is delivered again rather than taken for known.
    again: Option<Again>,
    moves: bool,
    /// Rows that the run before delivered, sorted.
    known: Vec<u64>,
    /// Rows that this one leaves; `None`: too many.
    recent: Option<Vec<u64>>,
}

impl Overlap {
    /// Takes a row with its id; whether it is to be written.
    pub(super) fn admit(&mut self, id: &str, json: &str) -> bool {
        if self.known.is_empty() && !self.moves {
            return true;
        }
        let clocks = &self.clocks;
        let again = self.again.get_or_insert_with(|| {
            let clocks = clocks();
            Again::new(before(clocks.mark()).unwrap_or(clocks.mark())..=clocks.rows())
        });
        // A look at the bytes spares reading nearly every row of a full run.
        if self.known.is_empty() && !again.may_hold(json) {
            return true;
        }
        let Some(stamp) = stamp(self.stream, json) else { return true };
        let Ok(time) = OffsetDateTime::parse(&stamp, &Rfc3339) else { return true };
        let again = again.times.contains(&time);
        if !again && self.known.is_empty() {
            return true;
        }
        let hash = hash(id, &stamp);
        if again && let Some(recent) = &mut self.recent {
            recent.push(hash);
            if recent.len() > MOST_RECENT {
                self.recent = None;
            }
        }
        self.known.binary_search(&hash).is_err()
    }

    /// The mark that the run leaves when it is complete; `None` where it does not move.
    pub(super) fn into_mark(self, scope: String) -> Option<Mark> {
        self.moves.then(|| Mark { since: (self.clocks)().mark(), scope, recent: self.recent })
    }
}

/// A span of time, and how its days begin in a row's text.
struct Again {
    times: RangeInclusive<OffsetDateTime>,
    /// `None`: too many days to look for, or none that can be written down.
    days: Option<Vec<Finder<'static>>>,
}

/// The most days that are looked for: an hour, and clocks that differ by a day.
const MOST_DAYS: i64 = 4;

impl Again {
    fn new(times: RangeInclusive<OffsetDateTime>) -> Self {
        let day = |time: &OffsetDateTime| time.checked_to_offset(UtcOffset::UTC).map(OffsetDateTime::date);
        let days = day(times.start()).zip(day(times.end()));
        let days = days.filter(|(first, last)| (*last - *first).whole_days() < MOST_DAYS).map(|(first, last)| {
            let days = std::iter::successors(Some(first), |day| day.next_day()).take_while(|day| *day <= last);
            days.map(|day| Finder::new(&format!("\"{day}T")).into_owned()).collect()
        });
        Self { times, days }
    }

    /// Whether a time of the span, written in UTC, may stand in the row. A row
    /// whose time is written otherwise is not known again, and so delivered twice.
    fn may_hold(&self, json: &str) -> bool {
        self.days.as_ref().is_none_or(|days| days.iter().any(|day| day.find(json.as_bytes()).is_some()))
    }
}

/// The time of a row as the appliance wrote it. What is no text, or is given twice, is none.
fn stamp(stream: Stream, json: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Asset<'a> {
        #[serde(borrow, rename = "lastUpdate")]
        time: &'a RawValue,
    }
    #[derive(Deserialize)]
    struct Event<'a> {
        #[serde(borrow)]
        time: &'a RawValue,
    }
    let time = match stream {
        Stream::Assets => serde_json::from_str::<Asset<'_>>(json).ok()?.time,
        Stream::Events => serde_json::from_str::<Event<'_>>(json).ok()?.time,
        Stream::Plugins | Stream::Findings => return None,
    };
    serde_json::from_str(time.get()).ok()
}

/// The same for the same row in every process and release, which the hashes of
/// the standard library do not promise; 8 bytes of SHA-256, so that no two rows
/// can be made to meet.
fn hash(id: &str, stamp: &str) -> u64 {
    let row = [id.as_bytes(), b"\0", stamp.as_bytes()].concat();
    digest(&SHA256, &row).as_ref().iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use time::{Duration, macros::datetime};

    use super::*;
    use crate::ingest::{Since, since::plan};

    const NOW: OffsetDateTime = datetime!(2026-11-22 12:00 UTC);

    fn clocks(theirs: OffsetDateTime) -> Clocks {
        Clocks { ours: NOW, theirs: Some(theirs) }
    }

    /// Reads `rows` by `plan`; which were delivered, and the mark left.
    fn read(plan: Plan, clocks: Clocks, rows: &[(&str, &str)]) -> (Vec<String>, Mark) {
        let mut overlap = plan.overlap(Stream::Assets, move || clocks);
        let delivered = rows.iter().filter(|(id, json)| overlap.admit(id, json)).map(|(id, _)| (*id).to_owned());
        (delivered.collect(), overlap.into_mark("a".to_owned()).unwrap())
    }

    #[test]
    fn rows_of_the_overlap_come_once_and_whatever_cannot_be_compared_comes_always() {
        let rows = [
            ("unchanged", r#"{"id":"unchanged","lastUpdate":"2026-11-22T11:30:00Z"}"#),
            ("elsewhere", r#"{"lastUpdate":"2026-11-22T12:30:00+01:00","id":"elsewhere"}"#),
            ("at the edge", r#"{"lastUpdate":"2026-11-22T11:00:00.000001Z"}"#),
            ("at the start", r#"{"lastUpdate":"2026-11-22T12:00:00Z"}"#),
            ("before", r#"{"lastUpdate":"2026-11-22T10:59:59.999999Z"}"#),
            ("meanwhile", r#"{"lastUpdate":"2026-11-22T12:00:01Z"}"#),
            ("year 1", r#"{"lastUpdate":"0001-01-01T00:00:00Z"}"#),
            ("year 9999", r#"{"lastUpdate":"9999-12-31T23:59:59Z"}"#),
            ("year 10000", r#"{"lastUpdate":"+10000-01-01T00:00:00Z"}"#),
            ("none", r#"{"id":"none"}"#),
            ("null", r#"{"lastUpdate":null}"#),
            ("number", r#"{"lastUpdate":1763812800}"#),
            ("list", r#"{"lastUpdate":["2026-11-22T11:30:00Z"]}"#),
            ("no time", r#"{"lastUpdate":"yesterday"}"#),
            ("empty", r#"{"lastUpdate":""}"#),
            ("twice", r#"{"lastUpdate":"2026-11-22T11:30:00Z","lastUpdate":"2026-11-22T11:30:00Z"}"#),
            ("surrogate", r#"{"lastUpdate":"\ud800"}"#),
            ("inside", r#"{"details":{"lastUpdate":"2026-11-22T11:30:00Z"}}"#),
            ("not JSON", "{"),
        ];
        let all: Vec<String> = rows.iter().map(|(id, _)| (*id).to_owned()).collect();
        let (delivered, first) = read(plan(Stream::Assets, None, None, "a", clocks(NOW)), clocks(NOW), &rows);
        assert_eq!(delivered, all);
        assert_eq!((first.since, first.recent.as_ref().map(Vec::len)), (NOW, Some(4)));

        // The same rows again, as if the server did not look at the bound at all.
        let later = clocks(NOW + Duration::minutes(5));
        let next = || plan(Stream::Assets, Some(Since::Last), Some(&first), "a", later);
        let (delivered, second) = read(next(), later, &rows);
        assert_eq!(delivered, all[4..]);
        // What was left out stays known while it lies in the overlap, and what came meanwhile now does.
        assert_eq!((second.since, second.recent.map(|recent| recent.len())), (NOW, Some(5)));

        // The same id with another time, and the same time with another id.
        let changed = [
            ("unchanged", r#"{"lastUpdate":"2026-11-22T11:30:00.5Z"}"#),
            ("another", r#"{"lastUpdate":"2026-11-22T11:30:00Z"}"#),
        ];
        assert_eq!(read(next(), later, &changed).0, ["unchanged", "another"]);
    }

    #[test]
    fn too_many_rows_to_remember_are_none_and_come_again() {
        let overlap = |plan: Plan| plan.overlap(Stream::Events, || clocks(NOW));
        let mut first = overlap(plan(Stream::Events, None, None, "a", clocks(NOW)));
        for n in 0..=MOST_RECENT {
            assert!(first.admit(&n.to_string(), r#"{"time":"2026-11-22T11:30:00Z"}"#));
            assert_eq!(first.recent.is_some(), n < MOST_RECENT);
        }
        let mark = first.into_mark("a".to_owned()).unwrap();
        assert_eq!(mark.recent, None);
        let mut again = overlap(plan(Stream::Events, Some(Since::Last), Some(&mark), "a", clocks(NOW)));
        assert!(again.admit("1", r#"{"time":"2026-11-22T11:30:00Z"}"#));
    }

    #[test]
    fn hashes_stay_what_they_are() {
        // printf 'a\0002026-11-22T11:30:00Z' | sha256sum
        assert_eq!(hash("a", "2026-11-22T11:30:00Z"), 0x229d_74ec_3a61_e47d);
        assert_ne!(hash("a", "b"), hash("a\0b", ""));
    }
}
