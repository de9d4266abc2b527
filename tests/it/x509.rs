//! Robot certificates before the two libraries that judge them: x509-parser and webpki.

use std::sync::OnceLock;

use robocred::x509::{Certificate, KeyAlgorithm, PrivateKey, Profile, Validity};
use rustls::pki_types::{CertificateDer, UnixTime};
use time::{Duration, OffsetDateTime, macros::datetime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, Error, KeyUsage, anchor_from_trusted_cert};
use x509_parser::{
    extensions::ParsedExtension,
    prelude::{FromDer, X509Certificate, X509Version},
};

const NOW: OffsetDateTime = datetime!(2026-11-22 10:00:00.5 UTC);

/// One key of each type for all tests: the large RSA keys take their time.
pub fn key(algorithm: KeyAlgorithm) -> &'static PrivateKey {
    static KEYS: [OnceLock<PrivateKey>; 6] = [const { OnceLock::new() }; 6];
    let at = KeyAlgorithm::ALL.iter().position(|known| *known == algorithm).unwrap();
    KEYS[at].get_or_init(|| PrivateKey::generate(algorithm).unwrap())
}

fn robot(algorithm: KeyAlgorithm, profile: Profile) -> Certificate {
    let validity = Validity::of_days(NOW, 365).unwrap();
    Certificate::self_signed(key(algorithm), "lucidum", validity, profile).unwrap()
}

#[test]
fn x509_parser_finds_the_profile_and_nothing_else() {
    #[track_caller]
    fn check(certificate: &Certificate, extensions: &[(&str, bool)]) {
        let (rest, read) = X509Certificate::from_der(certificate.der()).unwrap();
        assert!(rest.is_empty());
        assert_eq!(read.version(), X509Version::V3);
        assert_eq!(read.subject().to_string(), "CN=lucidum");
        assert_eq!(read.subject().as_raw(), read.issuer().as_raw());
        assert_eq!(read.signature_algorithm, read.tbs_certificate.signature);
        assert_eq!(read.raw_serial().len(), 20);
        assert_eq!(read.raw_serial()[0] & 0x80, 0);
        assert_eq!(read.validity().not_before.to_datetime(), datetime!(2026-11-21 10:00 UTC));
        assert_eq!(read.validity().not_after.to_datetime(), datetime!(2027-11-21 09:59:59 UTC));
        let found: Vec<_> = read.extensions().iter().map(|found| (found.oid.to_id_string(), found.critical)).collect();
        let wanted: Vec<_> = extensions.iter().map(|(oid, critical)| ((*oid).to_owned(), *critical)).collect();
        assert_eq!(found, wanted);
        for extension in read.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::KeyUsage(usage) => assert_eq!(usage.flags, 1, "digitalSignature only"),
                ParsedExtension::ExtendedKeyUsage(usage) => {
                    assert!(usage.client_auth && !usage.server_auth && !usage.any && usage.other.is_empty());
                }
                ParsedExtension::BasicConstraints(constraints) => {
                    assert_eq!(constraints.ca, certificate.facts().is_ca);
                    assert_eq!(constraints.path_len_constraint, None);
                }
                ParsedExtension::SubjectKeyIdentifier(id) => assert_eq!(id.0.len(), 20),
                ParsedExtension::AuthorityKeyIdentifier(id) => {
                    assert_eq!(id.key_identifier.as_ref().map(|id| id.0.len()), Some(20));
                    assert!(id.authority_cert_issuer.is_none() && id.authority_cert_serial.is_none());
                }
                other => panic!("{other:?}"),
            }
        }
    }
    let (usage, extended, ski, constraints, aki) = ("2.5.29.15", "2.5.29.37", "2.5.29.14", "2.5.29.19", "2.5.29.35");
    for algorithm in KeyAlgorithm::ALL {
        check(
            &robot(algorithm, Profile::Client),
            &[(usage, true), (extended, false), (ski, false), (constraints, true)],
        );
        check(&robot(algorithm, Profile::Openssl), &[(aki, false), (ski, false), (constraints, true)]);
    }
}

/// webpki's verdict on `presented`, when exactly `trusted` is trusted.
fn webpki(presented: &Certificate, trusted: &Certificate, now: OffsetDateTime, usage: KeyUsage) -> Result<(), Error> {
    let [presented, trusted] = [presented, trusted].map(|certificate| CertificateDer::from(certificate.der()));
    let anchors = [anchor_from_trusted_cert(&trusted)?];
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now.unix_timestamp().try_into().unwrap()));
    EndEntityCert::try_from(&presented)?
        .verify_for_usage(ALL_VERIFICATION_ALGS, &anchors, &[], now, usage, None, None)
        .map(|_| ())
}

#[test]
fn webpki_accepts_the_client_profile_for_client_authentication_only() {
    for algorithm in KeyAlgorithm::ALL {
        let certificate = robot(algorithm, Profile::Client);
        let verdict = |now, usage| webpki(&certificate, &certificate, now, usage);
        let Validity { not_before, not_after } = certificate.validity();
        for now in [not_before, NOW, not_after] {
            assert_eq!(verdict(now, KeyUsage::client_auth()), Ok(()), "{algorithm} at {now}");
        }
        let early = verdict(not_before - Duration::SECOND, KeyUsage::client_auth());
        assert!(matches!(early, Err(Error::CertNotValidYet { .. })), "{early:?}");
        let late = verdict(not_after + Duration::SECOND, KeyUsage::client_auth());
        assert!(matches!(late, Err(Error::CertExpired { .. })), "{late:?}");
        let server = verdict(NOW, KeyUsage::server_auth());
        assert!(matches!(server, Err(Error::RequiredEkuNotFoundContext(_))), "{server:?}");
    }
}

#[test]
fn webpki_refuses_another_key_under_the_same_name() {
    let trusted = robot(KeyAlgorithm::EcdsaP256, Profile::Client);
    for algorithm in [KeyAlgorithm::Rsa2048, KeyAlgorithm::EcdsaP384, KeyAlgorithm::Ed25519] {
        let verdict = webpki(&robot(algorithm, Profile::Client), &trusted, NOW, KeyUsage::client_auth());
        assert!(verdict.is_err(), "{algorithm}");
    }
    let same_type = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let impostor = Certificate::self_signed(&same_type, "lucidum", trusted.validity(), Profile::Client).unwrap();
    assert_eq!(webpki(&impostor, &trusted, NOW, KeyUsage::client_auth()), Err(Error::InvalidSignatureForPublicKey));
}

#[test]
fn webpki_refuses_the_openssl_profile_as_servers_built_on_rustls_will() {
    for algorithm in KeyAlgorithm::ALL {
        let certificate = robot(algorithm, Profile::Openssl);
        assert_eq!(
            webpki(&certificate, &certificate, NOW, KeyUsage::client_auth()),
            Err(Error::CaUsedAsEndEntity),
            "{algorithm}"
        );
    }
}
