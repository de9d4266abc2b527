//! The facts read from a certificate, described and not judged.
//!
//! What is read may come from a hostile server: input is limited, nothing
//! panics, and text is made harmless for a terminal.

use std::net::{Ipv4Addr, Ipv6Addr};

use x509_parser::{certificate::X509Certificate, error::X509Error, extensions::GeneralName, nom, prelude::FromDer};

use super::{Error, Fingerprint, SpkiPin, Validity, fingerprint::hex};

/// The largest certificate that is read, in bytes of DER.
pub const MAX_CERTIFICATE: usize = 64 * 1024;

/// The most characters of one name that are kept.
const MAX_TEXT: usize = 256;

/// What a person or a check may want to know of a certificate, a server's or a robot's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The subject's distinguished name, for people: `CN=plant-a`.
    pub subject: String,
    /// The issuer's distinguished name, for people.
    pub issuer: String,
    /// The subject's first common name, if it has one that is text.
    pub common_name: Option<String>,
    /// The serial number in lower-case hex without separators.
    pub serial: String,
    /// From when until when it is valid, as written; the ends may be the wrong way round.
    pub validity: Validity,
    /// SHA-256 of the whole certificate.
    pub fingerprint: Fingerprint,
    /// SHA-256 of the public key.
    pub spki_pin: SpkiPin,
    /// Whether basicConstraints says CA:TRUE.
    pub is_ca: bool,
    /// The DNS names and IP addresses it speaks for, in its own order.
    pub names: Vec<String>,
    /// Whether subject and issuer are the same name; says nothing about the signature.
    pub self_issued: bool,
}

/// Reads the facts of one DER certificate. Judges nothing: no signature, no date, no name.
///
/// # Errors
/// [`Error::BadCertificate`] if the bytes are not one certificate and nothing
/// more, or are longer than [`MAX_CERTIFICATE`].
pub fn inspect(der: &[u8]) -> Result<Facts, Error> {
    let bad = |reason: &str| Error::BadCertificate { reason: reason.to_owned() };
    if der.len() > MAX_CERTIFICATE {
        return Err(bad("it is longer than 64 KiB"));
    }
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|error| match error {
        nom::Err::Error(error) | nom::Err::Failure(error) => bad(reason(&error)),
        nom::Err::Incomplete(_) => bad("it is cut short"),
    })?;
    if !rest.is_empty() {
        return Err(bad("something follows it"));
    }
    let serial = match certificate.raw_serial() {
        // The sign octet of a positive INTEGER is no part of the number.
        [0, rest @ ..] if !rest.is_empty() => rest,
        whole => whole,
    };
    Ok(Facts {
        subject: printable(&certificate.subject().to_string()),
        issuer: printable(&certificate.issuer().to_string()),
        common_name: certificate.subject().iter_common_name().next().and_then(|cn| cn.as_str().ok()).map(printable),
        serial: hex(serial),
        validity: Validity {
            not_before: certificate.validity().not_before.to_datetime(),
            not_after: certificate.validity().not_after.to_datetime(),
        },
        fingerprint: Fingerprint::of(der),
        spki_pin: SpkiPin::of_spki(certificate.public_key().raw),
        is_ca: certificate.is_ca(),
        names: names(&certificate),
        self_issued: certificate.subject().as_raw() == certificate.issuer().as_raw(),
    })
}

/// A fixed text for what the parser found: its own texts may grow to hold input.
fn reason(error: &X509Error) -> &'static str {
    match error {
        X509Error::InvalidVersion => "its version is not valid",
        X509Error::InvalidSerial => "its serial number is not valid",
        X509Error::InvalidDate => "one of its dates is not valid",
        X509Error::InvalidX509Name => "one of its names is not valid",
        X509Error::InvalidSPKI => "its public key is not valid",
        X509Error::InvalidExtensions | X509Error::DuplicateExtensions => "its extensions are not valid",
        _ => "the bytes are not DER of a certificate",
    }
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    extension
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(printable(name)),
            GeneralName::IPAddress(octets) => match octets.len() {
                4 => <[u8; 4]>::try_from(*octets).ok().map(|octets| Ipv4Addr::from(octets).to_string()),
                16 => <[u8; 16]>::try_from(*octets).ok().map(|octets| Ipv6Addr::from(octets).to_string()),
                _ => None,
            },
            _ => None,
        })
        .collect()
}

/// The text with everything that could steer a terminal escaped, and cut to [`MAX_TEXT`].
fn printable(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars().take(MAX_TEXT) {
        match c {
            '"' | '\'' | '\\' => shown.push(c),
            _ => shown.extend(c.escape_debug()),
        }
    }
    if text.chars().nth(MAX_TEXT).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use proptest::prelude::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, SanType};
    use time::macros::datetime;

    use super::*;
    use crate::x509::{Certificate, KeyAlgorithm, PrivateKey, Profile};

    fn certificates() -> &'static [Vec<u8>] {
        static MADE: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
        MADE.get_or_init(|| {
            let validity = Validity::of_days(datetime!(2026-11-22 10:00 UTC), 365).unwrap();
            let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
            let made = |profile| Certificate::self_signed(&key, "robot", validity, profile).unwrap().der().to_vec();
            vec![made(Profile::Client), made(Profile::Openssl), server("plant-a\u{1b}[2J")]
        })
    }

    /// A server's certificate with names of every kind.
    fn server(common_name: &str) -> Vec<u8> {
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let mut params = CertificateParams::new(vec!["plant-a.example".to_owned(), "10.20.0.5".to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::IpAddress("2001:db8::5".parse().unwrap()));
        params.subject_alt_names.push(SanType::Rfc822Name("ops@plant-a.example".try_into().unwrap()));
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Plant \"A\"");
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.self_signed(&key.key_pair().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn text_from_the_certificate_cannot_steer_a_terminal() {
        let facts = inspect(&certificates()[2]).unwrap();
        assert_eq!(facts.common_name.as_deref(), Some("plant-a\\u{1b}[2J"));
        assert_eq!(facts.subject, "O=Plant \"A\", CN=plant-a\\u{1b}[2J");
        assert_eq!(facts.names, ["plant-a.example", "10.20.0.5", "2001:db8::5"]);
        let long = inspect(&server(&"\u{202e}".repeat(5000))).unwrap();
        assert_eq!(long.common_name.unwrap(), "\\u{202e}".repeat(MAX_TEXT) + "…");
    }

    #[test]
    fn refuses_what_is_not_one_certificate() {
        let whole = &certificates()[0];
        let mut followed = whole.clone();
        followed.push(0);
        let mut huge = whole.clone();
        huge.resize(MAX_CERTIFICATE + 1, 0);
        for der in [&[][..], b"-----BEGIN CERTIFICATE-----", &whole[..whole.len() - 1], &whole[1..], &followed, &huge] {
            assert!(matches!(inspect(der), Err(Error::BadCertificate { .. })));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn a_mutated_certificate_never_panics(
            which in 0..3usize,
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            cut in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let mut der = certificates()[which].clone();
            for (at, octet) in edits {
                let at = at.index(der.len());
                der[at] = octet;
            }
            if let Some(cut) = cut {
                der.truncate(cut.index(der.len()));
            }
            if let Ok(facts) = inspect(&der) {
                let texts = [&facts.subject, &facts.issuer].into_iter().chain(&facts.common_name).chain(&facts.names);
                prop_assert!(texts.flat_map(|text| text.chars()).all(|c| !c.is_control()));
                prop_assert_eq!(facts.fingerprint, Fingerprint::of(&der));
                let _ = facts.validity.contains(datetime!(2026-11-22 10:00 UTC));
            }
        }

        #[test]
        fn any_bytes_never_panic(der in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = inspect(&der);
        }

        #[test]
        fn a_moved_piece_never_panics(from in any::<prop::sample::Index>(), to in any::<prop::sample::Index>(), length in 1..40usize) {
            let mut der = certificates()[2].clone();
            let from = from.index(der.len() - length);
            let piece = der[from..from + length].to_vec();
            let to = to.index(der.len());
            der.splice(to..to, piece);
            let _ = inspect(&der);
        }
    }
}
