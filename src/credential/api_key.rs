//! What is known of an API key that rests in the secret store: since when, and until when.
//!
//! Owns how long one can last, and what a person may say of its end. Leaves out
//! the key itself (`appliance`) and where that is written down (`inventory`). Pure.

use std::str::FromStr;

use time::{
    Date, Duration, OffsetDateTime, Time, UtcOffset, format_description::well_known::Rfc3339,
    macros::format_description,
};

/// The longest life that an appliance gives an API key.
pub const LONGEST: Duration = Duration::days(365);

/// How far the days of the earth are ahead of UTC, at most.
const AHEAD: Duration = Duration::hours(14);

/// An API key that is kept for a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptKey {
    /// Since when it rests in the secret store.
    pub since: OffsetDateTime,
    /// When it ends, as a person said; `None` if nobody did.
    pub expires: Option<OffsetDateTime>,
}

impl KeptKey {
    /// When it ends; where nobody said, the latest moment at which it can.
    #[must_use]
    pub fn ends(&self) -> OffsetDateTime {
        self.expires.unwrap_or_else(|| self.since.saturating_add(LONGEST))
    }

    /// Whether its end has come, as far as is known.
    #[must_use]
    pub fn is_over(&self, now: OffsetDateTime) -> bool {
        now >= self.ends()
    }

    /// Whole days until its end, rounded down: negative once that has passed.
    #[must_use]
    pub fn days_left(&self, now: OffsetDateTime) -> i64 {
        (self.ends() - now).whole_seconds().div_euclid(86_400)
    }
}

/// When a key ends, as a person writes it: `2027-01-31`, or a time of RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// On this day; counted from its first moment in UTC, so that nobody is warned too late.
    Day(Date),
    /// At this moment.
    Moment(OffsetDateTime),
}

/// Why what was said cannot be the end of a key; never repeats it, since it may be the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExpiryError {
    /// Neither form.
    #[error("that is neither a date like 2027-01-31 nor a time like 2027-01-31T12:00:00Z")]
    Unreadable,
    /// It has passed.
    #[error("that is in the past: a key that has ended is of no use")]
    Past,
    /// No key lives that long.
    #[error("that is more than 365 days ahead, and an appliance gives a key at most 365 days")]
    TooFar,
}

impl FromStr for Expiry {
    type Err = ExpiryError;

    fn from_str(given: &str) -> Result<Self, ExpiryError> {
        if let Ok(day) = Date::parse(given, format_description!("[year]-[month]-[day]")) {
            return Ok(Self::Day(day));
        }
        OffsetDateTime::parse(given, &Rfc3339).map(Self::Moment).map_err(|_| ExpiryError::Unreadable)
    }
}

impl Expiry {
    /// The end of a key that is kept from `now` on.
    ///
    /// # Errors
    /// [`ExpiryError::Past`], [`ExpiryError::TooFar`]. A day may be the 366th from here, where the appliance's day has
    /// begun already.
    pub fn end(self, now: OffsetDateTime) -> Result<OffsetDateTime, ExpiryError> {
        let (end, longest) = match self {
            Self::Day(day) => (day.with_time(Time::MIDNIGHT).assume_utc(), LONGEST + AHEAD),
            Self::Moment(moment) => (moment, LONGEST),
        };
        match end - now {
            left if left <= Duration::ZERO => Err(ExpiryError::Past),
            left if left > longest => Err(ExpiryError::TooFar),
            _ => Ok(end.to_offset(UtcOffset::UTC)),
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-22 10:00 UTC);

    #[test]
    fn what_a_person_may_say_of_its_end() {
        #[track_caller]
        fn check(given: &str, end: Result<OffsetDateTime, ExpiryError>) {
            assert_eq!(given.parse().and_then(|expiry: Expiry| expiry.end(NOW)), end, "{given}");
        }
        check("2027-01-31", Ok(datetime!(2027-01-31 0:00 UTC)));
        check("2027-01-31T12:30:00Z", Ok(datetime!(2027-01-31 12:30 UTC)));
        check("2027-01-31T12:30:00+02:00", Ok(datetime!(2027-01-31 10:30 UTC)));
        check("2026-11-23", Ok(datetime!(2026-11-23 0:00 UTC)));
        check("2026-11-22", Err(ExpiryError::Past));
        check("2026-11-22T10:00:00Z", Err(ExpiryError::Past));
        check("2026-11-22T10:00:01Z", Ok(datetime!(2026-11-22 10:00:01 UTC)));
        check("0000-01-01T00:00:00+23:59", Err(ExpiryError::Past));
        check("2027-11-22T10:00:00Z", Ok(NOW + LONGEST));
        check("2027-11-22T10:00:01Z", Err(ExpiryError::TooFar));
        // It is the 23rd in some places when it is ten in the morning of the 22nd in UTC.
        check("2027-11-23", Ok(datetime!(2027-11-23 0:00 UTC)));
        check("2027-11-24", Err(ExpiryError::TooFar));
        check("9999-12-31T23:59:59-23:59", Err(ExpiryError::TooFar));
        for given in ["", "tomorrow", "31.01.2027", "2027-02-29", "2027-1-31", "2027-01-31 12:30", "90d", "-"] {
            check(given, Err(ExpiryError::Unreadable));
        }
    }

    #[test]
    fn a_key_whose_end_nobody_knows_ends_when_it_must() {
        let check = |expires: Option<OffsetDateTime>, at: OffsetDateTime, over: bool, left: i64| {
            let kept = KeptKey { since: NOW, expires };
            assert_eq!((kept.is_over(at), kept.days_left(at)), (over, left), "{expires:?} at {at}");
        };
        let known = Some(NOW + Duration::days(30));
        check(known, NOW, false, 30);
        check(known, NOW + Duration::SECOND, false, 29);
        check(known, NOW + Duration::days(30) - Duration::SECOND, false, 0);
        check(known, NOW + Duration::days(30), true, 0);
        check(known, NOW + Duration::days(30) + Duration::SECOND, true, -1);
        check(None, NOW, false, 365);
        check(None, NOW + LONGEST, true, 0);
    }
}
