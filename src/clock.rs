//! The current time, read in this one place.
//!
//! Owns the [`Clock`] trait and its two implementations, and what it means when
//! another clock differs from ours. Everything else that
//! judges a date is told what time it is, so that it can be tested with any
//! date. Reading the clock cannot fail; what it says can be wrong, which
//! `verify` reports by comparing it with the appliance's own clock.

#[cfg(feature = "test-clock")]
pub mod test_clock;

use time::{Duration, OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

/// A moment as people and programs are shown it: RFC 3339, UTC, whole seconds.
#[must_use]
pub fn rfc3339(time: OffsetDateTime) -> String {
    let whole = time.to_offset(UtcOffset::UTC).truncate_to_second();
    // Only years past 9999 cannot be written so, and no certificate of ours ends there.
    whole.format(&Rfc3339).unwrap_or_else(|_| whole.to_string())
}

/// How another clock stands to ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// As close as clocks are that nobody compares.
    Close,
    /// More than five minutes apart: somebody should look at it.
    Skewed,
    /// More than a day apart: nothing is decided by ours any more.
    Apart,
}

impl Agreement {
    /// What a difference means, whichever clock is ahead.
    #[must_use]
    pub fn of(skew: Duration) -> Self {
        match skew.abs() {
            skew if skew > Duration::DAY => Self::Apart,
            skew if skew > Duration::minutes(5) => Self::Skewed,
            _ => Self::Close,
        }
    }
}

/// Whether a moment has passed by our clock and by theirs. `false` where theirs
/// is not known: nothing that cannot be undone is done by our clock alone.
#[must_use]
pub fn passed_by_both(moment: OffsetDateTime, ours: OffsetDateTime, theirs: Option<OffsetDateTime>) -> bool {
    ours > moment && theirs.is_some_and(|theirs| theirs > moment)
}

/// A source of the current time.
pub trait Clock: Send + Sync {
    /// The current time in UTC, with whatever precision the source has.
    fn now(&self) -> OffsetDateTime;
}

/// The operating system's wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> OffsetDateTime {
        let now = real();
        #[cfg(feature = "test-clock")]
        let now = test_clock::shown(now);
        now
    }
}

#[allow(clippy::disallowed_methods, reason = "the one place that reads the clock")]
fn real() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// How long to really rest for a while of the wall clock: that while, but for a
/// test whose clock runs faster. Not for waits within one run, such as a
/// server's time to answer, which are real.
#[must_use]
pub fn pause(wall: std::time::Duration) -> std::time::Duration {
    #[cfg(feature = "test-clock")]
    let wall = test_clock::pause(wall);
    wall
}

/// How far the wall clock goes on while so much time really passes: as far, but
/// for a test whose clock runs faster. For the waits within one run that are
/// compared with the clock.
#[must_use]
pub fn goes_on(real: std::time::Duration) -> std::time::Duration {
    #[cfg(feature = "test-clock")]
    let real = test_clock::goes_on(real);
    real
}

/// A clock that stands still, for tests and for forecasts.
#[derive(Clone, Copy, Debug)]
pub struct FixedClock(pub OffsetDateTime);

impl Clock for FixedClock {
    fn now(&self) -> OffsetDateTime {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn differences_are_judged_whichever_clock_is_ahead() {
        for (skew, expected) in [
            (Duration::ZERO, Agreement::Close),
            (Duration::minutes(5), Agreement::Close),
            (Duration::minutes(5) + Duration::MILLISECOND, Agreement::Skewed),
            (Duration::DAY, Agreement::Skewed),
            (Duration::DAY + Duration::MILLISECOND, Agreement::Apart),
            (Duration::days(3650), Agreement::Apart),
            (Duration::MAX, Agreement::Apart),
        ] {
            assert_eq!((Agreement::of(skew), Agreement::of(-skew)), (expected, expected), "{skew}");
        }
        assert_eq!(Agreement::of(Duration::MIN), Agreement::Apart);
    }

    #[test]
    fn nothing_has_passed_by_one_clock_alone() {
        let moment = datetime!(2027-01-01 0:00 UTC);
        let (before, after) = (moment - Duration::DAY, moment + Duration::DAY);
        for (ours, theirs, passed) in [
            (before, None, false),
            (after, None, false),
            (before, Some(after), false),
            (after, Some(before), false),
            (moment, Some(after), false),
            (after, Some(moment), false),
            (after, Some(after), true),
        ] {
            assert_eq!(passed_by_both(moment, ours, theirs), passed, "{ours} {theirs:?}");
        }
    }
}
