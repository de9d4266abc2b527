//! The current time, read in this one place.
//!
//! Owns the [`Clock`] trait and its two implementations. Everything else that
//! judges a date is told what time it is, so that it can be tested with any
//! date. Reading the clock cannot fail; what it says can be wrong, which
//! `verify` reports by comparing it with the appliance's own clock.

use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

/// A moment as people and programs are shown it: RFC 3339, UTC, whole seconds.
#[must_use]
pub fn rfc3339(time: OffsetDateTime) -> String {
    let whole = time.to_offset(UtcOffset::UTC).truncate_to_second();
    // Only years past 9999 cannot be written so, and no certificate of ours ends there.
    whole.format(&Rfc3339).unwrap_or_else(|_| whole.to_string())
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
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }
}

/// A clock that stands still, for tests and for forecasts.
#[derive(Clone, Copy, Debug)]
pub struct FixedClock(pub OffsetDateTime);

impl Clock for FixedClock {
    fn now(&self) -> OffsetDateTime {
        self.0
    }
}
