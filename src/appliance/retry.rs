//! How long to wait before trying again: a value, and no sleeping.

use std::time::Duration;

use time::{OffsetDateTime, format_description::well_known::Rfc2822};

const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// The pauses before each try, and the time all tries may take together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    pauses: &'static [Duration],
    budget: Duration,
}

impl Backoff {
    /// Repeating a read in the foreground: after 1, 2, 4 and 8 s, within 30 s.
    pub const READS: Self = Self {
        pauses: &[Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(8)],
        budget: Duration::from_secs(30),
    };

    /// The time all tries may take together.
    #[must_use]
    pub fn budget(&self) -> Duration {
        self.budget
    }

    /// How long to wait before try number `tries` (0 is the first one governed
    /// by this list), when `spent` has passed since the first failure and the
    /// server asked for `asked`; `None` to give up. A server's wish may
    /// lengthen a pause, never the budget.
    #[must_use]
    pub fn pause(&self, tries: usize, spent: Duration, asked: Option<Duration>) -> Option<Duration> {
        let pause = (*self.pauses.get(tries)?).max(asked.unwrap_or_default());
        (spent.saturating_add(pause) <= self.budget).then_some(pause)
    }
}

/// `Retry-After` (RFC 9110, 10.2.3) as a pause of 1 s to 1 h. A date counts
/// from the reply's own `Date`, so that neither clock has to be right.
pub(super) fn retry_after(value: &str, date: Option<OffsetDateTime>) -> Option<Duration> {
    let value = value.trim();
    let asked = if value.bytes().all(|b| b.is_ascii_digit()) && !value.is_empty() {
        value.parse().map_or(LONGEST_PAUSE, Duration::from_secs)
    } else {
        let until = http_date(value)?;
        Duration::try_from(until - date?).unwrap_or_default()
    };
    Some(asked.clamp(SHORTEST_PAUSE, LONGEST_PAUSE))
}

/// A date as HTTP writes it (RFC 9110, 5.6.7, the preferred form).
pub(super) fn http_date(value: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(value, &Rfc2822).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_end_with_the_list_or_the_budget() {
        let s = Duration::from_secs;
        let check = |tries, spent, asked: Option<u64>, expected: Option<Duration>| {
            assert_eq!(Backoff::READS.pause(tries, spent, asked.map(s)), expected, "try {tries} after {spent:?}");
        };
        check(0, s(0), None, Some(s(1)));
        check(3, s(7), None, Some(s(8)));
        check(4, s(15), None, None);
        check(0, s(0), Some(20), Some(s(20)));
        check(0, s(0), Some(3600), None);
        check(3, s(23), None, None);
        check(0, Duration::MAX, None, None);
    }

    #[test]
    fn retry_after_is_clamped() {
        let date = http_date("Thu, 19 Jan 2023 06:37:29 GMT");
        assert!(date.is_some());
        let check = |value: &str, expected: Option<u64>| {
            assert_eq!(retry_after(value, date), expected.map(Duration::from_secs), "{value:?}");
        };
        check("7", Some(7));
        check(" 7 ", Some(7));
        check("0", Some(1));
        check("315360000", Some(3600));
        check("99999999999999999999999", Some(3600));
        check("Thu, 19 Jan 2023 06:38:29 GMT", Some(60));
        check("Thu, 19 Jan 2033 06:38:29 GMT", Some(3600));
        check("Thu, 19 Jan 2013 06:38:29 GMT", Some(1));
        check("-5", None);
        check("soon", None);
        check("", None);
        assert_eq!(retry_after("Thu, 19 Jan 2033 06:38:29 GMT", None), None);
    }
}
