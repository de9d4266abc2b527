//! The time axis that all robots share: where a moment lies on it, and its ticks.
//!
//! In whole numbers: seconds in, hundredths of a percent out. Every date there
//! is has a place, those beyond the axis at its ends.

use std::fmt;

use time::{Date, Duration, Month, OffsetDateTime, UtcOffset};

/// How far the axis reaches from now, either way. A certificate lives a year at
/// most unless it was made elsewhere; one of those must not squeeze all others.
const REACH: Duration = Duration::days(370);

/// How many ticks there are at most.
const MOST_TICKS: usize = 9;

/// The narrowest bar.
const THINNEST: i64 = 30;

/// A place on the axis, from its left end, in hundredths of a percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Percent(pub(super) i64);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}%", self.0 / 100, self.0 % 100)
    }
}

/// A stretch of the axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) x: Percent,
    pub(super) width: Percent,
    /// Whether it begins before the axis does.
    pub(super) cut_before: bool,
    /// Whether it ends after the axis does.
    pub(super) cut_after: bool,
}

/// Where a stretch of time lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// On the axis, in part at least.
    On(Stretch),
    /// It ended before the axis begins.
    Before,
    /// It begins after the axis ends.
    After,
}

/// One tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tick {
    pub(super) at: Percent,
    pub(super) label: String,
    /// Where it is another one than at the tick before.
    pub(super) year: Option<i32>,
}

/// The common axis, in seconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    from: i64,
    to: i64,
}

impl Axis {
    /// The axis on which `now` and as much of the `moments` as is in reach have a place.
    pub(super) fn around(now: OffsetDateTime, moments: impl IntoIterator<Item = OffsetDateTime>) -> Self {
        let (least, most) = (now.saturating_sub(REACH), now.saturating_add(REACH));
        let day = Duration::DAY;
        let ends = (now.saturating_sub(day), now.saturating_add(day));
        let ends = moments.into_iter().fold(ends, |(from, to), moment| (from.min(moment), to.max(moment)));
        let (from, to) = (ends.0.max(least).unix_timestamp(), ends.1.min(most).unix_timestamp());
        let margin = (to - from) / 50;
        Self { from: from - margin, to: to + margin }
    }

    /// Where the moment lies; at an end where it lies beyond.
    pub(super) fn at(&self, moment: OffsetDateTime) -> Percent {
        let since = moment.unix_timestamp().clamp(self.from, self.to) - self.from;
        Percent(since * 10_000 / (self.to - self.from))
    }

    /// Where the time from one moment to another lies.
    pub(super) fn place(&self, from: OffsetDateTime, to: OffsetDateTime) -> Place {
        if to.unix_timestamp() < self.from {
            return Place::Before;
        }
        if from.unix_timestamp() > self.to {
            return Place::After;
        }
        let x = self.at(from).0.min(10_000 - THINNEST);
        Place::On(Stretch {
            x: Percent(x),
            width: Percent((self.at(to).0 - x).max(THINNEST)),
            cut_before: from.unix_timestamp() < self.from,
            cut_after: to.unix_timestamp() > self.to,
        })
    }

    /// The ticks, as many as there is room for.
    pub(super) fn ticks(&self) -> Vec<Tick> {
        let days = [1, 2, 4, 7, 14].map(Step::Days);
        let months = [1, 2, 3, 6].map(Step::Months);
        let mut all = days.into_iter().chain(months).map(|step| (step, self.dates(step)));
        let fitting = all.find(|(step, dates)| dates.len() <= step.most());
        let Some((step, dates)) = fitting else { return Vec::new() };
        let mut year = None;
        let tick = |date: Date| Tick {
            at: self.at(date.midnight().assume_utc()),
            label: match step {
                Step::Days(_) => format!("{} {}", date.day(), short(date.month())),
                Step::Months(_) => short(date.month()).to_owned(),
            },
            year: (year.replace(date.year()) != Some(date.year())).then(|| date.year()),
        };
        dates.into_iter().map(tick).collect()
    }

    /// The dates on the axis that the step falls on; one more than fit where they are too many.
    fn dates(&self, step: Step) -> Vec<Date> {
        let Ok(from) = OffsetDateTime::from_unix_timestamp(self.from) else { return Vec::new() };
        let mut next = step.first(from.date());
        std::iter::from_fn(|| {
            let date = next?;
            next = step.after(date);
            Some(date)
        })
        .skip_while(|date| date.midnight().assume_utc().unix_timestamp() < self.from)
        .take_while(|date| date.midnight().assume_utc().unix_timestamp() <= self.to)
        .take(MOST_TICKS + 1)
        .collect()
    }
}

/// How far ticks are apart.
#[derive(Clone, Copy, Debug)]
enum Step {
    Days(i32),
    Months(i32),
}

impl Step {
    /// How many of them a phone has room for.
    fn most(self) -> usize {
        match self {
            Self::Days(_) => 6,
            Self::Months(_) => MOST_TICKS,
        }
    }

    /// The last date of the step that is not after the given one.
    fn first(self, date: Date) -> Option<Date> {
        match self {
            Self::Days(days) => {
                let day = date.to_julian_day();
                Date::from_julian_day(day - day.rem_euclid(days)).ok()
            }
            Self::Months(months) => {
                let month = month_number(date);
                month_of(month - month.rem_euclid(months))
            }
        }
    }

    /// The next date of the step; `None` where the calendar ends.
    fn after(self, date: Date) -> Option<Date> {
        match self {
            Self::Days(days) => Date::from_julian_day(date.to_julian_day() + days).ok(),
            Self::Months(months) => month_of(month_number(date) + months),
        }
    }
}

/// Months since the year 0.
fn month_number(date: Date) -> i32 {
    date.year() * 12 + i32::from(u8::from(date.month())) - 1
}

/// The first of that month.
fn month_of(number: i32) -> Option<Date> {
    let month = Month::try_from(u8::try_from(number.rem_euclid(12)).ok()? + 1).ok()?;
    Date::from_calendar_date(number.div_euclid(12), month, 1).ok()
}

fn short(month: Month) -> &'static str {
    const SHORT: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    SHORT[usize::from(u8::from(month)) - 1]
}

/// The day of a moment, as people read it everywhere in robocred.
pub(super) fn day(moment: OffsetDateTime) -> Date {
    moment.to_offset(UtcOffset::UTC).date()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-23 12:00 UTC);

    /// From 100 days ago until 300 days ahead, and a fiftieth more at both ends.
    fn axis() -> Axis {
        Axis::around(NOW, [NOW - Duration::days(100), NOW + Duration::days(300)])
    }

    #[test]
    fn where_moments_lie() {
        let check = |days: i64, hundredths: i64| {
            assert_eq!(axis().at(NOW + Duration::days(days)), Percent(hundredths), "{days}");
        };
        // 108 of 416 days.
        check(0, 2_596);
        check(-100, 192);
        check(300, 9_807);
        check(100, 5_000);
        check(-108, 0);
        check(308, 10_000);
        check(-4_000, 0);
        check(40_000, 10_000);
        assert_eq!(Percent(2_596).to_string(), "25.96%");
        assert_eq!((Percent(5).to_string(), Percent(10_000).to_string()), ("0.05%".into(), "100.00%".into()));
    }

    #[test]
    fn where_bars_lie() {
        let check = |from: i64, to: i64, expected: Place| {
            let place = axis().place(NOW + Duration::days(from), NOW + Duration::days(to));
            assert_eq!(place, expected, "{from} {to}");
        };
        let on = |x: i64, width: i64, cut_before, cut_after| {
            Place::On(Stretch { x: Percent(x), width: Percent(width), cut_before, cut_after })
        };
        check(0, 100, on(2_596, 2_404, false, false));
        check(-4_000, 100, on(0, 5_000, true, false));
        check(100, 4_000, on(5_000, 5_000, false, true));
        check(-4_000, 4_000, on(0, 10_000, true, true));
        check(100, 100, on(5_000, THINNEST, false, false));
        check(308, 400, on(10_000 - THINNEST, THINNEST, false, true));
        check(-400, -200, Place::Before);
        check(400, 500, Place::After);
    }

    #[test]
    fn the_axis_reaches_about_a_year_whatever_there_is() {
        let far = Axis::around(NOW, [datetime!(1970-01-01 0:00 UTC), datetime!(9999-12-31 0:00 UTC)]);
        assert_eq!(far.at(NOW), Percent(5_000));
        assert_eq!(far.to - far.from, 740 * 86_400 * 52 / 50);
        let alone = Axis::around(NOW, []);
        assert_eq!(alone.at(NOW), Percent(5_000));
        assert_eq!(alone.to - alone.from, 2 * 86_400 * 52 / 50);
    }

    #[test]
    fn ticks_are_round_dates() {
        let check = |back: i64, ahead: i64, expected: &[&str]| {
            let axis = Axis::around(NOW, [NOW - Duration::days(back), NOW + Duration::days(ahead)]);
            let shown = |tick: Tick| {
                let year = tick.year.map(|year| format!(" {year}")).unwrap_or_default();
                format!("{}{year}", tick.label)
            };
            let ticks: Vec<_> = axis.ticks().into_iter().map(shown).collect();
            assert_eq!(ticks, expected, "{back} {ahead}");
        };
        check(1, 1, &["23 Nov 2026", "24 Nov"]);
        check(3, 3, &["21 Nov 2026", "22 Nov", "23 Nov", "24 Nov", "25 Nov", "26 Nov"]);
        check(10, 10, &["15 Nov 2026", "19 Nov", "23 Nov", "27 Nov", "1 Dec"]);
        check(30, 30, &["26 Oct 2026", "9 Nov", "23 Nov", "7 Dec", "21 Dec"]);
        check(100, 100, &["Sep 2026", "Oct", "Nov", "Dec", "Jan 2027", "Feb", "Mar"]);
        check(100, 300, &["Sep 2026", "Nov", "Jan 2027", "Mar", "May", "Jul", "Sep"]);
        check(370, 370, &["Jan 2026", "Apr", "Jul", "Oct", "Jan 2027", "Apr", "Jul", "Oct"]);
    }

    fn moments() -> impl Strategy<Value = OffsetDateTime> {
        let ends = OffsetDateTime::new_utc(Date::MIN, time::Time::MIDNIGHT).unix_timestamp()
            ..=OffsetDateTime::new_utc(Date::MAX, time::Time::MIDNIGHT).unix_timestamp();
        ends.prop_map(|second| OffsetDateTime::from_unix_timestamp(second).unwrap())
    }

    proptest! {
        #[test]
        fn every_date_has_a_place(now in moments(), dates in prop::collection::vec(moments(), 0..6)) {
            let axis = Axis::around(now, dates.clone());
            let whole = Percent(0)..=Percent(10_000);
            prop_assert!(whole.contains(&axis.at(now)));
            for pair in dates.windows(2) {
                if let Place::On(Stretch { x, width, .. }) = axis.place(pair[0], pair[1]) {
                    prop_assert!(x >= Percent(0) && width > Percent(0) && x.0 + width.0 <= 10_000, "{:?} {:?}", x, width);
                }
            }
            let ticks = axis.ticks();
            prop_assert!(ticks.len() <= MOST_TICKS);
            prop_assert!(ticks.is_sorted_by(|a, b| a.at < b.at));
            prop_assert!(ticks.iter().all(|tick| whole.contains(&tick.at)));
        }
    }

    #[test]
    fn the_ends_of_the_calendar_have_a_place_too() {
        for now in [Date::MIN.midnight().assume_utc(), Date::MAX.midnight().assume_utc(), OffsetDateTime::UNIX_EPOCH] {
            let axis = Axis::around(now, [Date::MIN.midnight().assume_utc(), Date::MAX.midnight().assume_utc()]);
            let place = axis.place(Date::MIN.midnight().assume_utc(), Date::MAX.midnight().assume_utc());
            assert!(matches!(place, Place::On(_)), "{place:?}");
            assert!(axis.ticks().len() <= MOST_TICKS);
        }
    }
}
