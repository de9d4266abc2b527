//! When a credential is to be re-issued: arithmetic on its validity and now.
//!
//! Owns the renewal policy of product.md, Lifetime. Leaves out who acts on it
//! (`credential::plan`) and where the date of the last promotion is kept
//! (`inventory`). Pure: no clock, no randomness; the spread comes from the
//! certificate's fingerprint.

use std::{fmt, str::FromStr};

use time::{Duration, OffsetDateTime};

use crate::x509::{Fingerprint, Validity};

/// How long before its end a credential is re-issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenewBefore {
    /// A fraction of the lifetime, for example `1/3`.
    Fraction {
        /// Above zero, below the denominator.
        numerator: u32,
        /// At least 2.
        denominator: u32,
    },
    /// A fixed time, for example `90d`.
    Fixed(Duration),
}

/// Why a policy was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is neither a duration nor a fraction.
    #[error("{given:?} is neither a duration like 90d, 12h, 30m nor a fraction like 1/3")]
    Syntax {
        /// What was given.
        given: String,
    },
    /// The renewal window would open before the floor has passed, so the
    /// credential would be due again as soon as it was made.
    #[error("renewing {renew_before} before the end of {days} days leaves no time in which the credential is not due")]
    NeverQuiet {
        /// The window asked for.
        renew_before: RenewBefore,
        /// The lifetime it was asked for, in days.
        days: u16,
    },
}

impl Default for RenewBefore {
    fn default() -> Self {
        Self::Fraction { numerator: 1, denominator: 3 }
    }
}

impl fmt::Display for RenewBefore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fraction { numerator, denominator } => write!(f, "{numerator}/{denominator}"),
            Self::Fixed(duration) => f.write_str(&format_duration(*duration)),
        }
    }
}

impl FromStr for RenewBefore {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let syntax = || Error::Syntax { given: text.to_owned() };
        let Some((numerator, denominator)) = text.split_once('/') else {
            return parse_duration(text).map(Self::Fixed);
        };
        let count = |text: &str| digits(text.trim()).and_then(|digits| digits.parse::<u32>().ok()).ok_or_else(syntax);
        let (numerator, denominator) = (count(numerator)?, count(denominator)?);
        if numerator == 0 || numerator >= denominator {
            return Err(syntax());
        }
        Ok(Self::Fraction { numerator, denominator })
    }
}

/// Reads `90d`, `12h`, `30m` or `45s`.
///
/// # Errors
/// [`Error::Syntax`] for anything else, for zero, and for more than 100 years.
pub fn parse_duration(text: &str) -> Result<Duration, Error> {
    let syntax = || Error::Syntax { given: text.to_owned() };
    let text = text.trim();
    let unit = text.chars().last().ok_or_else(syntax)?;
    let seconds: i64 = match unit {
        'd' => 86_400,
        'h' => 3_600,
        'm' => 60,
        's' => 1,
        _ => return Err(syntax()),
    };
    let count = digits(&text[..text.len() - 1]).and_then(|digits| digits.parse::<i64>().ok());
    match count.and_then(|count| count.checked_mul(seconds)) {
        Some(total) if total > 0 && total <= 36_525 * 86_400 => Ok(Duration::seconds(total)),
        _ => Err(syntax()),
    }
}

/// The text if it is ASCII digits only: `parse` alone would take a sign.
fn digits(text: &str) -> Option<&str> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then_some(text)
}

/// Writes a duration in the largest unit that divides it: `90d`, `36h`, `45s`.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let seconds = duration.whole_seconds();
    for (size, unit) in [(86_400, 'd'), (3_600, 'h'), (60, 'm')] {
        if seconds % size == 0 {
            return format!("{}{unit}", seconds / size);
        }
    }
    format!("{seconds}s")
}

/// When to re-issue, for every credential of one robot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RenewalPolicy {
    renew_before: RenewBefore,
}

impl RenewalPolicy {
    /// A policy for credentials that live `days` days.
    ///
    /// # Errors
    /// [`Error::NeverQuiet`] if the earliest due time would not lie after
    /// `not_before` plus the floor; [`Error::Syntax`] if `renew_before` is no time at all.
    pub fn new(renew_before: RenewBefore, days: u16) -> Result<Self, Error> {
        let lifetime = Duration::days(days.into());
        let latest_start = lifetime - Duration::SECOND;
        let before = window(renew_before, lifetime);
        if latest_start.saturating_sub(before) - lifetime / 20 <= floor(lifetime) {
            return Err(Error::NeverQuiet { renew_before, days });
        }
        if before <= Duration::ZERO {
            return Err(Error::Syntax { given: renew_before.to_string() });
        }
        Ok(Self { renew_before })
    }

    /// How long before its end a credential is re-issued, as it was asked for.
    #[must_use]
    pub fn renew_before(&self) -> RenewBefore {
        self.renew_before
    }

    /// The dates that follow for one certificate.
    ///
    /// A certificate made elsewhere may live shorter than this policy expects:
    /// then it is due from its first second on.
    #[must_use]
    pub fn window(&self, validity: Validity, fingerprint: Fingerprint) -> RenewalWindow {
        let lifetime = (validity.not_after - validity.not_before + Duration::SECOND).max(Duration::ZERO);
        let early = window(self.renew_before, lifetime).saturating_add(spread(fingerprint, lifetime));
        RenewalWindow {
            due_at: validity.not_after.saturating_sub(early),
            not_after: validity.not_after,
            floor: floor(lifetime),
        }
    }
}

/// When one certificate is due, and when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RenewalWindow {
    /// From here on the credential is re-issued.
    pub due_at: OffsetDateTime,
    /// The last second of the certificate's validity.
    pub not_after: OffsetDateTime,
    /// The least time between two automatic re-issues.
    pub floor: Duration,
}

impl RenewalWindow {
    /// Whether the window is open at `now`.
    #[must_use]
    pub fn is_due(&self, now: OffsetDateTime) -> bool {
        now >= self.due_at
    }

    /// From here on a person is asked for a support token that will be needed
    /// once the window opens: getting one takes days. May lie before the
    /// certificate's first second.
    #[must_use]
    pub fn warns_at(&self, token_lead: Duration) -> OffsetDateTime {
        self.due_at.saturating_sub(token_lead)
    }

    /// Whether the floor allows an automatic re-issue at `now`, whatever is due.
    ///
    /// A promotion that lies further ahead than the floor was written down by a
    /// clock that ran wrong, and holds nothing back: rotation would rest for
    /// as long as that clock was ahead.
    #[must_use]
    pub fn may_reissue(&self, last_promotion: Option<OffsetDateTime>, now: OffsetDateTime) -> bool {
        last_promotion.is_none_or(|at| (now - at).abs() >= self.floor_after(at))
    }

    /// From when on a re-issue is due that the floor allows.
    #[must_use]
    pub fn reissue_at(&self, last_promotion: Option<OffsetDateTime>) -> OffsetDateTime {
        last_promotion.map_or(self.due_at, |at| self.due_at.max(at.saturating_add(self.floor_after(at))))
    }

    /// The floor; less for a credential that came into use when little was left
    /// of it: it must not rest until it has ended.
    fn floor_after(&self, promotion: OffsetDateTime) -> Duration {
        self.floor.min((self.not_after - promotion) / 2).max(Duration::ZERO)
    }

    /// Whether the certificate has ended at `now`; its last second still counts as valid.
    #[must_use]
    pub fn is_expired(&self, now: OffsetDateTime) -> bool {
        now.truncate_to_second() > self.not_after
    }

    /// Whole days until the end, rounded down: negative exactly when it has passed.
    #[must_use]
    pub fn days_left(&self, now: OffsetDateTime) -> i64 {
        (self.not_after - now.truncate_to_second()).whole_seconds().div_euclid(86_400)
    }
}

/// The least time between automatic re-issues of a credential with this lifetime.
#[must_use]
pub fn floor(lifetime: Duration) -> Duration {
    std::cmp::min(lifetime / 10, Duration::DAY)
}

fn window(renew_before: RenewBefore, lifetime: Duration) -> Duration {
    match renew_before {
        RenewBefore::Fixed(duration) => duration,
        RenewBefore::Fraction { numerator, denominator } => part(lifetime, numerator.into(), denominator.into()),
    }
}

/// `u·L/20` with u in [0,1) from the fingerprint's first four octets.
fn spread(fingerprint: Fingerprint, lifetime: Duration) -> Duration {
    let [a, b, c, d, ..] = *fingerprint.as_bytes();
    part(lifetime, u32::from_be_bytes([a, b, c, d]).into(), 20 << 32)
}

/// That part of a time in whole seconds, rounded down; exact, so that every run and machine agrees.
fn part(whole: Duration, numerator: i128, denominator: i128) -> Duration {
    let seconds = i128::from(whole.whole_seconds()) * numerator / denominator.max(1);
    Duration::seconds(i64::try_from(seconds).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
