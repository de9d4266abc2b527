//! What a server showed: the facts of its certificate, and what is wrong with it.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

use rustls::{
    client::verify_server_name,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use time::{OffsetDateTime, PrimitiveDateTime};

use super::Refusal;
use crate::{
    clock::rfc3339,
    x509::{self, Facts, SpkiPin},
};

/// The longest chain that is looked at, in certificates; real ones have two to
/// four. Its size is limited by rustls, which ends a handshake whose messages
/// are larger than 64 KiB.
const LONGEST_CHAIN: usize = 10;

/// What a server last showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    /// The public key of its own certificate, the first of the chain.
    pub spki_pin: SpkiPin,
    /// The facts of that certificate.
    pub facts: Facts,
    /// What is wrong with it although its key may be the right one.
    pub warnings: Vec<Warning>,
}

/// What can be wrong with a certificate apart from its key and its issuer.
/// Behind a pinned key a warning; under roots or a CA file a
/// [`Refusal::Invalid`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// It is past its last second.
    Expired {
        /// The last second of its validity.
        not_after: OffsetDateTime,
        /// The time of the handshake.
        now: OffsetDateTime,
    },
    /// It does not hold the name or address that was connected to (RFC 9525;
    /// the common name does not count).
    NameMissing {
        /// The name or address that was connected to.
        expected: String,
        /// The names it holds; may be empty.
        presented: Vec<String>,
    },
    /// Its first second is still to come.
    NotYetValid {
        /// The first second of its validity.
        not_before: OffsetDateTime,
        /// The time of the handshake.
        now: OffsetDateTime,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired { not_after, now } => {
                write!(f, "the server's certificate expired at {} (now {})", rfc3339(*not_after), rfc3339(*now))
            }
            Self::NotYetValid { not_before, now } => {
                write!(
                    f,
                    "the server's certificate is not valid before {} (now {})",
                    rfc3339(*not_before),
                    rfc3339(*now)
                )
            }
            Self::NameMissing { expected, presented } if presented.is_empty() => {
                write!(f, "the server's certificate does not hold {expected:?}, nor any other name")
            }
            Self::NameMissing { expected, presented } => {
                write!(f, "the server's certificate does not hold {expected:?}, only {}", presented.join(", "))
            }
        }
    }
}

impl Presented {
    /// Reads the server's own certificate; the others of the chain are only
    /// counted. Panics on nothing a server can send.
    pub(super) fn read(
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<Self, Refusal> {
        let certificates = 1 + others.len();
        if certificates > LONGEST_CHAIN {
            return Err(Refusal::ChainTooLong { certificates, limit: LONGEST_CHAIN });
        }
        let facts = x509::inspect(leaf).map_err(|_| Refusal::Unreadable)?;
        let warnings = warnings(&facts, leaf, name, date(now));
        Ok(Self { spki_pin: facts.spki_pin, facts, warnings })
    }
}

fn warnings(facts: &Facts, leaf: &CertificateDer<'_>, name: &ServerName<'_>, now: OffsetDateTime) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let validity = facts.validity;
    if now > validity.not_after {
        warnings.push(Warning::Expired { not_after: validity.not_after, now });
    }
    if now < validity.not_before {
        warnings.push(Warning::NotYetValid { not_before: validity.not_before, now });
    }
    // webpki reads version 3 certificates only; older ones cannot hold a name anyway.
    let named = ParsedCertificate::try_from(leaf).and_then(|leaf| verify_server_name(&leaf, name)).is_ok();
    if !named {
        warnings.push(Warning::NameMissing { expected: name.to_str().into_owned(), presented: facts.names.clone() });
    }
    warnings
}

/// rustls' time as ours; what lies past the year 9999 becomes its last second.
pub(super) fn date(time: UnixTime) -> OffsetDateTime {
    i64::try_from(time.as_secs())
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .unwrap_or(PrimitiveDateTime::MAX.assume_utc())
}

/// The memory of a judge: what the server last showed.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<Option<Presented>>);

impl Seen {
    pub(super) fn record(&self, presented: Presented) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(presented);
    }

    pub(super) fn last(&self) -> Option<Presented> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use time::macros::datetime;

    use super::*;

    #[test]
    fn dates_end_with_the_calendar() {
        let at = |seconds| date(UnixTime::since_unix_epoch(Duration::from_secs(seconds)));
        assert_eq!(at(0), OffsetDateTime::UNIX_EPOCH);
        assert_eq!(at(1_000_000_000), datetime!(2001-09-09 01:46:40 UTC));
        for seconds in [1 << 40, u64::MAX] {
            assert_eq!(at(seconds).year(), 9999);
        }
    }
}
