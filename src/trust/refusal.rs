//! Why a server was refused, dug out of a failed handshake.

use std::{error::Error as StdError, io, sync::Arc};

use rustls::{CertificateError, OtherError};

use super::{Warning, presented::date};
use crate::x509::SpkiPin;

/// Why a handshake ended because of the server's certificate. Neither the
/// client certificate nor a byte of a request was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The server does not hold the key of the certificate it shows, or a
    /// certificate of its chain carries a wrong signature.
    #[error("the server shows a certificate whose key it does not hold, or a chain with a wrong signature")]
    BadSignature,
    /// The certificate calls itself an authority's and is not in the CA file:
    /// what a self-signed server of `openssl req -x509` looks like under roots.
    #[error("the server's certificate is marked as an authority's, as those of self-signed servers often are")]
    CaCertificate,
    /// The chain is longer than any honest one.
    #[error("the server shows a chain of {certificates} certificates, more than {limit}")]
    ChainTooLong {
        /// How many certificates it showed.
        certificates: usize,
        /// How many are looked at.
        limit: usize,
    },
    /// The issuer is known, or the certificate itself is in the CA file, but it
    /// does not hold now or for this name. Never under pins.
    #[error("{0}")]
    Invalid(Warning),
    /// Not a judgement: the server was only observed, see [`super::observer`].
    #[error("the server was only observed")]
    Observed,
    /// Another rule of RFC 5280 is broken, in the TLS library's words.
    #[error("the server's certificate cannot be accepted: {reason}")]
    Other {
        /// The TLS library's words.
        reason: String,
    },
    /// No trusted certificate issued the server's.
    #[error("the server's certificate was issued by nobody this site trusts")]
    UnknownIssuer,
    /// The server's key is none of the pinned ones.
    #[error("the server shows the key {presented}, expected {}", list(expected))]
    UnknownKey {
        /// The pins of the configuration.
        expected: Vec<SpkiPin>,
        /// What the server showed.
        presented: SpkiPin,
    },
    /// The certificate is not X.509 in DER, or its public key cannot be read.
    #[error("the server's certificate cannot be read")]
    Unreadable,
}

fn list(pins: &[SpkiPin]) -> String {
    pins.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}

impl Refusal {
    /// What a person can do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::UnknownKey { presented, .. } => {
                return Some(format!(
                    "somebody may be in between; if the appliance got a new key, compare it there, \
                     then pin it: robocred trust SITE --pin '{presented}'"
                ));
            }
            Self::UnknownIssuer | Self::CaCertificate | Self::Other { .. } => {
                "an appliance with a self-signed certificate is trusted by pin: `robocred trust SITE --show` shows its key"
            }
            Self::Invalid(Warning::NameMissing { .. }) => {
                "use a name that the certificate holds, or trust the server by pin, which needs no name"
            }
            Self::Invalid(_) => {
                "compare the clocks of both machines, renew the server's certificate, or trust it by pin"
            }
            Self::BadSignature => {
                "this is not the server the certificate was made for: look for what answers at this address"
            }
            Self::ChainTooLong { .. } | Self::Observed | Self::Unreadable => return None,
        };
        Some(hint.to_owned())
    }
}

/// The refusal inside the error of a connection, however deep the TLS and HTTP
/// layers have wrapped it; `None` when the connection failed for another reason.
#[must_use]
pub fn refusal(error: &(dyn StdError + 'static)) -> Option<Refusal> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(refusal) = error.downcast_ref::<Refusal>() {
            return Some(refusal.clone());
        }
        if let Some(rustls::Error::InvalidCertificate(found)) = error.downcast_ref() {
            return Some(translate(found));
        }
        // An io::Error made from another error hides it: its `source` is the source of that one.
        if let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            next = Some(inner);
            continue;
        }
        next = error.source();
    }
    None
}

fn translate(error: &CertificateError) -> Refusal {
    match error {
        CertificateError::BadEncoding => Refusal::Unreadable,
        CertificateError::BadSignature => Refusal::BadSignature,
        CertificateError::ExpiredContext { time, not_after } => {
            Refusal::Invalid(Warning::Expired { not_after: date(*not_after), now: date(*time) })
        }
        CertificateError::NotValidYetContext { time, not_before } => {
            Refusal::Invalid(Warning::NotYetValid { not_before: date(*not_before), now: date(*time) })
        }
        CertificateError::NotValidForNameContext { expected, presented } => Refusal::Invalid(Warning::NameMissing {
            expected: expected.to_str().into_owned(),
            presented: presented.iter().map(|name| bare(name).to_owned()).collect(),
        }),
        CertificateError::UnknownIssuer => Refusal::UnknownIssuer,
        CertificateError::Other(OtherError(inner)) => match (inner.downcast_ref(), inner.downcast_ref()) {
            (Some(refusal), _) => Refusal::clone(refusal),
            (_, Some(webpki::Error::CaUsedAsEndEntity)) => Refusal::CaCertificate,
            _ => Refusal::Other { reason: inner.to_string() },
        },
        other => Refusal::Other { reason: other.to_string() },
    }
}

/// The name inside webpki's `DnsName("plant-a.example")` or `IpAddress(10.20.0.5)`.
fn bare(name: &str) -> &str {
    name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name).trim_matches('"')
}

/// The way of our verifiers' verdicts through rustls.
impl From<Refusal> for rustls::Error {
    fn from(refusal: Refusal) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refusal))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] Box<dyn StdError + Send + Sync>);

    #[test]
    fn a_refusal_is_found_however_deep() {
        let check = |error: &(dyn StdError + 'static), expected: Option<Refusal>| assert_eq!(refusal(error), expected);
        let ours = || rustls::Error::from(Refusal::BadSignature);
        check(&Refusal::Observed, Some(Refusal::Observed));
        check(&ours(), Some(Refusal::BadSignature));
        check(&io::Error::other(ours()), Some(Refusal::BadSignature));
        check(&Outer(Box::new(io::Error::other(Outer(ours().into())))), Some(Refusal::BadSignature));
        check(&io::Error::other(io::Error::other(ours())), Some(Refusal::BadSignature));
        let theirs = rustls::Error::InvalidCertificate;
        check(&Outer(theirs(CertificateError::UnknownIssuer).into()), Some(Refusal::UnknownIssuer));
        check(&theirs(CertificateError::BadSignature), Some(Refusal::BadSignature));
        check(&theirs(CertificateError::BadEncoding), Some(Refusal::Unreadable));
        check(&theirs(CertificateError::Revoked), Some(Refusal::Other { reason: "Revoked".to_owned() }));
        check(&io::Error::from(io::ErrorKind::ConnectionRefused), None);
        check(&Outer(rustls::Error::HandshakeNotComplete.into()), None);
    }

    #[test]
    fn names_are_bare() {
        for (given, expected) in [
            ("DnsName(\"a.example\")", "a.example"),
            ("IpAddress(10.20.0.5)", "10.20.0.5"),
            ("a.example", "a.example"),
            ("", ""),
        ] {
            assert_eq!(bare(given), expected);
        }
    }
}
