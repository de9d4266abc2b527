//! From when on a stream is read: decided on values, without asking anybody.
//!
//! Owns the clocks of a run ([`Clocks`]) and its bounds ([`plan`]). Leaves out
//! the rows that come twice for it (`overlap`), how a bound is asked for
//! (`appliance`) and where a mark is kept (`inventory`).
//!
//! Promises that no row is lost to a clock: whatever cannot be compared is
//! read again and delivered again. A row counts as changed when its time has
//! changed (`lastUpdate` of a device, `time` of an event, which never does).

use std::{ops::RangeInclusive, path::Path};

use time::{Duration, OffsetDateTime, UtcOffset, macros::datetime};

use super::Since;
use crate::{
    inventory::Mark,
    site::{Endpoint, MachineId, Stream},
};

/// What is read again before the mark: rows may take a while from their time to where they can be read.
pub(super) const OVERLAP: Duration = Duration::HOUR;
/// A clock that is further from ours is not taken for a bound.
const BELIEVED: Duration = Duration::DAY;
/// A clock that goes back by so little was not set back: `Date` has whole seconds, and clocks drift.
const DRIFT: Duration = Duration::MINUTE;
/// The first and the last moment that can be asked for.
const MOMENTS: RangeInclusive<OffsetDateTime> = datetime!(0001-01-01 00:00 UTC)..=datetime!(9999-12-31 23:59:59 UTC);

/// The two clocks at the start of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clocks {
    /// Ours.
    pub ours: OffsetDateTime,
    /// The appliance's, from the `Date` of its first reply.
    pub theirs: Option<OffsetDateTime>,
}

impl Clocks {
    /// The clock that the rows' times are by.
    pub(super) fn rows(self) -> OffsetDateTime {
        self.theirs.unwrap_or(self.ours)
    }

    /// The earlier of the two. An appliance whose clock is ahead, and is put
    /// right after this run, stamps its next changes with times that its mark
    /// would have passed already.
    pub(super) fn mark(self) -> OffsetDateTime {
        self.rows().min(self.ours)
    }

    /// Up to when events are read, so that those that come in meanwhile do not
    /// move the walk. None by a clock that is far off: one that began anew in
    /// 1970 would hide every event there is.
    pub(super) fn until(self) -> Option<OffsetDateTime> {
        Some(self.rows()).filter(|rows| (*rows - self.ours).abs() <= BELIEVED)
    }
}

/// What a mark holds for. A run of anything else cannot go on from it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a> {
    pub endpoint: &'a Endpoint,
    pub em: Option<&'a MachineId>,
    pub include_hidden: bool,
    pub with_details: bool,
    pub wide: bool,
    /// The directory, or what stands for the writer: what went elsewhere has not come here.
    pub to: &'a Path,
}

impl Scope<'_> {
    /// As the inventory keeps it.
    pub(super) fn text(&self) -> String {
        let em = self.em.map(|em| format!("/{em}")).unwrap_or_default();
        format!(
            "{}{em} hidden={} details={} wide={} to={}",
            self.endpoint.authority(),
            self.include_hidden,
            self.with_details,
            self.wide,
            self.to.as_os_str().as_encoded_bytes().escape_ascii()
        )
    }
}

/// What a run reads, and what it leaves for the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// From when on; `None`: everything there is.
    pub since: Option<OffsetDateTime>,
    /// Up to when.
    pub until: Option<OffsetDateTime>,
    /// Why everything is read although only changes were asked for.
    pub all_because: Option<Everything>,
    /// Whether a complete run goes on where the mark is, so that it may move.
    pub(super) moves: bool,
    pub(super) known: Vec<u64>,
}

/// Why everything is read where only changes were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Everything {
    #[error("no complete run of this stream is known")]
    First,
    #[error(
        "the last complete run read something else (another appliance, hidden devices, details or fields), or wrote it elsewhere"
    )]
    OtherScope,
    #[error("the appliance's clock is earlier than at the last complete run")]
    ClockSetBack,
}

/// The bounds of a run.
pub(super) fn plan(stream: Stream, asked: Option<Since>, mark: Option<&Mark>, scope: &str, clocks: Clocks) -> Plan {
    let until = (stream == Stream::Events).then(|| clocks.until()).flatten();
    let mut plan = Plan { until, moves: stream.has_since(), ..Plan::default() };
    let same = mark.filter(|mark| mark.scope == scope);
    match asked {
        None => {}
        Some(Since::Time(time)) => {
            let time = time.clamp(*MOMENTS.start(), *MOMENTS.end());
            plan.since = Some(time);
            // What changed between the mark and a later time would never be read.
            plan.moves = same.is_some_and(|mark| Some(time) <= before(mark.since));
        }
        Some(Since::Last) => match (mark, same) {
            (None, _) => plan.all_because = Some(Everything::First),
            (Some(_), None) => plan.all_because = Some(Everything::OtherScope),
            (_, Some(mark)) if mark.since - clocks.rows() > DRIFT => plan.all_because = Some(Everything::ClockSetBack),
            (_, Some(mark)) => {
                plan.since = before(mark.since);
                // Everything there is, is also what the run before delivered.
                if plan.since.is_some() {
                    plan.known = mark.recent.clone().unwrap_or_default();
                    plan.known.sort_unstable();
                }
            }
        },
    }
    plan
}

/// Where the overlap before a mark begins; `None`: before the first year that can be written down.
pub(super) fn before(mark: OffsetDateTime) -> Option<OffsetDateTime> {
    mark.checked_sub(OVERLAP)?.checked_to_offset(UtcOffset::UTC).filter(|time| time.year() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-22 12:00 UTC);
    const YEAR_1: OffsetDateTime = datetime!(0001-01-01 00:00 UTC);
    const YEAR_9999: OffsetDateTime = datetime!(9999-12-31 23:59:59 UTC);
    const H: Duration = Duration::HOUR;

    fn clocks(theirs: impl Into<Option<OffsetDateTime>>) -> Clocks {
        Clocks { ours: NOW, theirs: theirs.into() }
    }

    fn mark(since: OffsetDateTime) -> Mark {
        Mark { since, scope: "a".to_owned(), recent: Some(vec![9, 3]) }
    }

    #[test]
    fn a_mark_is_never_later_than_either_clock_and_a_bound_never_far_off() {
        let check = |theirs: Option<OffsetDateTime>, mark: OffsetDateTime, until: Option<OffsetDateTime>| {
            let clocks = clocks(theirs);
            assert_eq!((clocks.mark(), clocks.until()), (mark, until), "{theirs:?}");
        };
        check(None, NOW, Some(NOW));
        check(Some(NOW), NOW, Some(NOW));
        check(Some(NOW - H), NOW - H, Some(NOW - H));
        check(Some(NOW + H), NOW, Some(NOW + H));
        check(Some(NOW + 24 * H), NOW, Some(NOW + 24 * H));
        check(Some(NOW + 25 * H), NOW, None);
        check(Some(NOW - 25 * H), NOW - 25 * H, None);
        check(Some(YEAR_1), YEAR_1, None);
        check(Some(YEAR_9999), NOW, None);
    }

    #[test]
    fn bounds() {
        use Everything::{ClockSetBack, First, OtherScope};
        use Stream::{Assets, Events, Findings, Plugins};
        struct Want(Option<OffsetDateTime>, Option<OffsetDateTime>, Option<Everything>, bool);
        let check = |stream, asked, mark: Option<Mark>, clocks, want: Want| {
            let plan = plan(stream, asked, mark.as_ref(), "a", clocks);
            let what = format!("{stream} {asked:?} {mark:?} {clocks:?}");
            assert_eq!(
                (plan.since, plan.until, plan.all_because, plan.moves),
                (want.0, want.1, want.2, want.3),
                "{what}"
            );
            assert_eq!(
                plan.known,
                if asked == Some(Since::Last) && plan.since.is_some() { vec![3, 9] } else { vec![] }
            );
        };
        let (at, last) = (Some(Since::Time(NOW - 48 * H)), Some(Since::Last));
        let day = || Some(mark(NOW - 24 * H));
        check(Assets, None, None, clocks(None), Want(None, None, None, true));
        check(Assets, None, day(), clocks(NOW), Want(None, None, None, true));
        check(Events, None, None, clocks(NOW + H), Want(None, Some(NOW + H), None, true));
        check(Events, None, None, clocks(YEAR_1), Want(None, None, None, true));
        check(Plugins, None, None, clocks(NOW), Want(None, None, None, false));
        check(Findings, None, None, clocks(NOW), Want(None, None, None, false));

        check(Assets, last, None, clocks(NOW), Want(None, None, Some(First), true));
        let other = Some(Mark { scope: "b".to_owned(), ..mark(NOW) });
        check(Assets, last, other.clone(), clocks(NOW), Want(None, None, Some(OtherScope), true));
        check(Assets, last, day(), clocks(NOW), Want(Some(NOW - 25 * H), None, None, true));
        check(Events, last, day(), clocks(NOW), Want(Some(NOW - 25 * H), Some(NOW), None, true));
        check(Events, last, None, clocks(NOW), Want(None, Some(NOW), Some(First), true));
        // The clock is back where it was before the mark.
        check(Assets, last, day(), clocks(NOW - 24 * H), Want(Some(NOW - 25 * H), None, None, true));
        check(Assets, last, day(), clocks(NOW - 24 * H - DRIFT), Want(Some(NOW - 25 * H), None, None, true));
        check(Assets, last, day(), clocks(NOW - 25 * H), Want(None, None, Some(ClockSetBack), true));
        check(Assets, last, day(), clocks(YEAR_1), Want(None, None, Some(ClockSetBack), true));
        check(Assets, last, Some(mark(YEAR_1)), clocks(YEAR_1), Want(None, None, None, true));

        check(Assets, at, None, clocks(NOW), Want(Some(NOW - 48 * H), None, None, false));
        check(Assets, at, day(), clocks(NOW), Want(Some(NOW - 48 * H), None, None, true));
        check(Assets, at, other, clocks(NOW), Want(Some(NOW - 48 * H), None, None, false));
        check(Assets, at, Some(mark(NOW - 47 * H)), clocks(NOW), Want(Some(NOW - 48 * H), None, None, true));
        // A gap would be left between the mark and the time.
        check(Assets, at, Some(mark(NOW - 48 * H)), clocks(NOW), Want(Some(NOW - 48 * H), None, None, false));
        check(Assets, at, Some(mark(YEAR_1)), clocks(NOW), Want(Some(NOW - 48 * H), None, None, false));
    }

    #[test]
    fn a_time_beyond_the_calendar_is_its_end() {
        let check = |time: OffsetDateTime, expected: OffsetDateTime| {
            let plan = plan(Stream::Assets, Some(Since::Time(time)), None, "a", clocks(NOW));
            assert_eq!(plan.since.map(|since| since.to_offset(UtcOffset::UTC)), Some(expected));
        };
        check(datetime!(9999-12-31 23:59:59 -12), YEAR_9999);
        check(datetime!(0001-01-01 00:00 +12), YEAR_1);
        check(datetime!(0000-01-01 00:00 +12), YEAR_1);
        check(datetime!(2026-01-01 00:00 +12), datetime!(2025-12-31 12:00 UTC));
    }

    #[test]
    fn a_scope_differs_by_whatever_a_row_depends_on() {
        let (one, two): (Endpoint, Endpoint) =
            ("https://10.20.0.5".parse().unwrap(), "https://10.20.0.6".parse().unwrap());
        let em: MachineId = "5d5d".parse().unwrap();
        let base = Scope {
            endpoint: &one,
            em: None,
            include_hidden: false,
            with_details: false,
            wide: true,
            to: Path::new("/data"),
        };
        let mut texts = vec![
            base.text(),
            Scope { endpoint: &two, ..base }.text(),
            Scope { em: Some(&em), ..base }.text(),
            Scope { include_hidden: true, ..base }.text(),
            Scope { with_details: true, ..base }.text(),
            Scope { wide: false, ..base }.text(),
            Scope { to: Path::new("-"), ..base }.text(),
        ];
        assert_eq!(texts[0], "10.20.0.5 hidden=false details=false wide=true to=/data");
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), 7, "{texts:?}");
    }
}
