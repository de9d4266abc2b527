//! The robot certificate: its profile, its lifetime, and the value itself.

use std::{fmt, str::FromStr};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
    SerialNumber,
};
use time::{Duration, OffsetDateTime, UtcOffset};

use super::{Error, Facts, Fingerprint, PrivateKey, SpkiPin, inspect};

/// The longest lifetime of a robot certificate, in days.
const MAX_DAYS: u16 = 365;

/// The longest common name (RFC 5280, appendix A, `ub-common-name`).
const MAX_COMMON_NAME: usize = 64;

/// Which extensions the certificate carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Profile {
    /// An end-entity certificate for client authentication: CA:FALSE, key usage
    /// digitalSignature, extended key usage clientAuth, subject key identifier.
    /// The least privilege, and accepted by every server that was tried.
    #[default]
    Client,
    /// As `openssl req -x509` makes it: CA:TRUE, subject and authority key
    /// identifier. For an appliance that should insist; servers built on rustls refuse it.
    Openssl,
}

impl Profile {
    /// Both profiles.
    pub const ALL: [Self; 2] = [Self::Client, Self::Openssl];

    /// The word used on the command line and in files: `client`, `openssl`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Openssl => "openssl",
        }
    }
}

impl FromStr for Profile {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|profile| profile.as_str() == text)
            .ok_or_else(|| Error::UnknownProfile { given: text.to_owned() })
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// From when until when a certificate is valid: both ends inclusive, whole
/// seconds (RFC 5280, 4.1.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub not_before: OffsetDateTime,
    /// The last second.
    pub not_after: OffsetDateTime,
}

impl Validity {
    /// A lifetime L of `days` days that began a little before `now`, so that a
    /// server whose clock is behind accepts the certificate at once:
    /// `not_before = now − min(24 h, L/10)`, `not_after = not_before + L − 1 s`.
    ///
    /// # Errors
    /// [`Error::BadLifetime`] outside 1 to 365 days, or where the calendar ends.
    pub fn of_days(now: OffsetDateTime, days: u16) -> Result<Self, Error> {
        let bad = || Error::BadLifetime { days };
        if !(1..=MAX_DAYS).contains(&days) {
            return Err(bad());
        }
        let lifetime = Duration::days(days.into());
        let now = now.to_offset(UtcOffset::UTC).truncate_to_second();
        let not_before = now.checked_sub(std::cmp::min(Duration::DAY, lifetime / 10)).ok_or_else(bad)?;
        let not_after = not_before.checked_add(lifetime - Duration::SECOND).ok_or_else(bad)?;
        Ok(Self { not_before, not_after })
    }

    /// The lifetime in whole days; both ends belong to it.
    #[must_use]
    pub fn days(&self) -> i64 {
        (self.not_after - self.not_before + Duration::SECOND).whole_days()
    }

    /// Whether `now` lies inside; both ends do.
    #[must_use]
    pub fn contains(&self, now: OffsetDateTime) -> bool {
        // The last second lasts until the next one begins.
        self.not_before <= now && now.truncate_to_second() <= self.not_after
    }
}

/// One parsed X.509 certificate with its DER bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    facts: Facts,
}

impl Certificate {
    /// Makes a self-signed version 3 certificate whose subject and issuer are
    /// the common name and nothing else, with a random serial number.
    ///
    /// # Errors
    /// [`Error::BadCommonName`]; [`Error::Crypto`] if the library cannot sign.
    pub fn self_signed(
        key: &PrivateKey,
        common_name: &str,
        validity: Validity,
        profile: Profile,
    ) -> Result<Self, Error> {
        if common_name.is_empty()
            || common_name.chars().count() > MAX_COMMON_NAME
            || common_name.chars().any(char::is_control)
        {
            return Err(Error::BadCommonName { given: common_name.to_owned() });
        }
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.serial_number = Some(random_serial()?);
        params.not_before = validity.not_before;
        params.not_after = validity.not_after;
        match profile {
            Profile::Client => {
                params.is_ca = IsCa::ExplicitNoCa;
                params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            }
            Profile::Openssl => {
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                params.use_authority_key_identifier_extension = true;
            }
        }
        let made = params.self_signed(&key.key_pair()?).map_err(|_| Error::Crypto { step: "sign the certificate" })?;
        Self::from_der(made.der().to_vec())
    }

    /// Reads one certificate.
    ///
    /// # Errors
    /// [`Error::BadCertificate`] as [`inspect`] reports it.
    pub fn from_der(der: Vec<u8>) -> Result<Self, Error> {
        let facts = inspect(&der)?;
        Ok(Self { der, facts })
    }

    /// The bytes as they are signed and sent.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Everything that was read from the certificate.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// SHA-256 of the certificate.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.facts.fingerprint
    }

    /// SHA-256 of its public key.
    #[must_use]
    pub fn spki_pin(&self) -> SpkiPin {
        self.facts.spki_pin
    }

    /// From when until when it is valid.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.facts.validity
    }

    /// The serial number in lower-case hex without separators.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.facts.serial
    }

    /// The first common name of the subject, if there is one.
    #[must_use]
    pub fn common_name(&self) -> Option<&str> {
        self.facts.common_name.as_deref()
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({}, {})", self.facts.subject, self.facts.fingerprint)
    }
}

/// A serial number of exactly 20 octets, the most RFC 5280 (4.1.2.2) allows:
/// the top bit clear, as it is a positive INTEGER, and the next one set, so
/// that no octet is lost to leading zeros. 158 bits are random.
fn random_serial() -> Result<SerialNumber, Error> {
    let mut octets = [0; 20];
    aws_lc_rs::rand::fill(&mut octets).map_err(|_| Error::Crypto { step: "draw a serial number" })?;
    octets[0] = octets[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&octets))
}

#[cfg(test)]
impl Certificate {
    /// One that says it was made for this name and these dates, with a fingerprint of its own: for models that need
    /// thousands and look at nothing else.
    pub(crate) fn posing(&self, name: &str, validity: Validity, salt: u64) -> Self {
        let mut posing = self.clone();
        posing.facts.common_name = Some(name.to_owned());
        posing.facts.validity = validity;
        posing.facts.fingerprint = Fingerprint::of(&salt.to_be_bytes());
        posing
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use time::macros::datetime;

    use super::*;
    use crate::x509::KeyAlgorithm;

    const NOW: OffsetDateTime = datetime!(2026-11-22 10:00:00.987_654_321 UTC);

    #[test]
    fn a_lifetime_starts_a_little_before_now_and_counts_both_ends() {
        #[track_caller]
        fn check(now: OffsetDateTime, days: u16, not_before: OffsetDateTime, not_after: OffsetDateTime) {
            assert_eq!(Validity::of_days(now, days).unwrap(), Validity { not_before, not_after });
        }
        // A tenth of one day, a tenth of nine days, and from ten days on one day.
        check(NOW, 1, datetime!(2026-11-22 07:36:00 UTC), datetime!(2026-11-23 07:35:59 UTC));
        check(NOW, 9, datetime!(2026-11-21 12:24:00 UTC), datetime!(2026-11-30 12:23:59 UTC));
        check(NOW, 10, datetime!(2026-11-21 10:00:00 UTC), datetime!(2026-12-01 09:59:59 UTC));
        check(NOW, 365, datetime!(2026-11-21 10:00:00 UTC), datetime!(2027-11-21 09:59:59 UTC));
        // A leap day inside, another zone, and years that are written as GeneralizedTime.
        check(
            datetime!(2028-02-28 01:00 +05:30),
            365,
            datetime!(2028-02-26 19:30 UTC),
            datetime!(2029-02-25 19:29:59 UTC),
        );
        check(
            datetime!(2049-12-31 00:00 UTC),
            365,
            datetime!(2049-12-30 00:00 UTC),
            datetime!(2050-12-29 23:59:59 UTC),
        );
    }

    #[test]
    fn refuses_other_lifetimes() {
        for (now, days) in [
            (NOW, 0),
            (NOW, 366),
            (NOW, u16::MAX),
            (datetime!(9999-12-31 00:00 UTC), 365),
            (datetime!(-9999-01-01 00:00 UTC), 365),
        ] {
            let refused = Validity::of_days(now, days);
            assert!(matches!(refused, Err(Error::BadLifetime { days: given }) if given == days), "{refused:?}");
        }
    }

    #[test]
    fn both_ends_are_inside() {
        let validity = Validity::of_days(NOW, 1).unwrap();
        let instant = Duration::NANOSECOND;
        assert!(!validity.contains(validity.not_before - instant));
        assert!(validity.contains(validity.not_before));
        assert!(validity.contains(validity.not_after));
        assert!(validity.contains(validity.not_after + Duration::SECOND - instant));
        assert!(!validity.contains(validity.not_after + Duration::SECOND));
    }

    #[test]
    fn the_made_certificate_says_what_was_asked() {
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        for (days, profile) in [(1, Profile::Client), (365, Profile::Openssl)] {
            let validity = Validity::of_days(NOW, days).unwrap();
            let certificate = Certificate::self_signed(&key, "lucidum-g2", validity, profile).unwrap();
            assert_eq!(certificate.validity(), validity);
            assert_eq!(certificate.common_name(), Some("lucidum-g2"));
            assert_eq!(certificate.spki_pin(), key.spki_pin());
            assert_eq!(certificate.facts().subject, "CN=lucidum-g2");
            assert!(certificate.facts().self_issued);
            assert_eq!(certificate.facts().is_ca, profile == Profile::Openssl);
            assert_eq!(certificate, Certificate::from_der(certificate.der().to_vec()).unwrap());
        }
    }

    #[test]
    fn serial_numbers_are_20_octets_positive_and_never_the_same() {
        let key = PrivateKey::generate(KeyAlgorithm::Ed25519).unwrap();
        let validity = Validity::of_days(NOW, 365).unwrap();
        let mut seen = HashSet::new();
        for _ in 0..200 {
            let certificate = Certificate::self_signed(&key, "robot", validity, Profile::Client).unwrap();
            let serial = certificate.serial().to_owned();
            assert_eq!(serial.len(), 40);
            assert!(('4'..='7').contains(&serial.chars().next().unwrap()), "{serial}");
            assert!(seen.insert(serial));
        }
    }

    #[test]
    fn refuses_names_that_are_no_common_name() {
        let key = PrivateKey::generate(KeyAlgorithm::Ed25519).unwrap();
        let validity = Validity::of_days(NOW, 365).unwrap();
        let made = |name: &str| Certificate::self_signed(&key, name, validity, Profile::Client);
        for name in ["", "a\nb", "a\0", &"x".repeat(65)] {
            assert!(matches!(made(name), Err(Error::BadCommonName { given }) if given == name));
        }
        for name in ["x", &"x".repeat(64), &"é".repeat(64)] {
            assert_eq!(made(name).unwrap().common_name(), Some(name));
        }
    }

    #[test]
    fn profile_words_are_read_back_and_others_refused() {
        for profile in Profile::ALL {
            assert_eq!(profile.to_string().parse::<Profile>().unwrap(), profile);
        }
        assert!(matches!("Client".parse::<Profile>(), Err(Error::UnknownProfile { .. })));
    }
}
