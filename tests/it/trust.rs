//! Whom we talk to, and what leaves before we know: judges against real TLS
//! servers that show right, wrong, old, forged and odd certificates.

#![allow(clippy::unwrap_used, reason = "a failing step of a test ends it")]

mod forge;
mod legacy;
mod meeting;
mod system;

use std::path::{Path, PathBuf};

use robocred::{
    site::TrustPolicy,
    trust::{Error, Identity, Judge, Refusal, Warning, judge, observer},
    x509::{Certificate, KeyAlgorithm, PrivateKey, Profile, SpkiPin},
};
use rustls::{
    SupportedProtocolVersion,
    version::{TLS12, TLS13},
};
use tempfile::TempDir;
use time::macros::datetime;

use forge::{Forged, Shape, key, pin_of};
use meeting::{Asks, Meeting, Shows, meet, meet_again};

const NAME: &str = "plant-a.example";
const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

fn pins(pins: &[SpkiPin]) -> Judge {
    judge(&TrustPolicy::Pins(pins.to_vec()), None).unwrap()
}

fn robot() -> (Identity, Certificate) {
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let validity = robocred::x509::Validity {
        not_before: datetime!(2020-01-01 0:00 UTC),
        not_after: datetime!(2090-01-01 0:00 UTC),
    };
    let certificate = Certificate::self_signed(&key, "lucidum", validity, Profile::Client).unwrap();
    (Identity::new(&key, &certificate).unwrap(), certificate)
}

fn file(directory: &TempDir, text: &str) -> PathBuf {
    let path = directory.path().join("ca.pem");
    std::fs::write(&path, text).unwrap();
    path
}

fn ca_file(path: &Path) -> Judge {
    judge(&TrustPolicy::CaFile(path.to_owned()), None).unwrap()
}

/// Nothing may have reached a server that was refused.
fn assert_nothing_sent(meeting: &Meeting) {
    assert!(meeting.server.client_chain.is_empty(), "the client certificate was sent");
    assert!(meeting.server.received.is_empty(), "application data was sent: {:?}", meeting.server.received);
    assert!(meeting.client.is_err(), "the client went on");
}

#[tokio::test]
async fn the_pinned_key_is_accepted_current_or_next() {
    for algorithm in KeyAlgorithm::ALL {
        let server = Forged::new(key(algorithm), Shape::named(NAME));
        let other = pin_of(&key(KeyAlgorithm::EcdsaP256));
        for version in VERSIONS {
            for expected in [vec![server.pin()], vec![server.pin(), other], vec![other, server.pin()]] {
                let judge = pins(&expected);
                let met = meet(&judge, NAME, Shows::new(&server).only(version)).await;
                met.client.unwrap_or_else(|error| panic!("{algorithm} over {version:?}: {error}"));
                let presented = judge.presented().unwrap();
                assert_eq!(presented.spki_pin, server.pin());
                assert_eq!(presented.warnings, []);
                assert_eq!(met.server.alpn.as_deref(), Some(b"http/1.1".as_slice()));
            }
        }
    }
}

#[tokio::test]
async fn another_key_is_refused_with_both_pins() {
    let expected = pin_of(&key(KeyAlgorithm::EcdsaP256));
    let (robot, _) = robot();
    for version in VERSIONS {
        let server = Forged::new(key(KeyAlgorithm::EcdsaP256), Shape::named(NAME));
        let judge = judge(&TrustPolicy::Pins(vec![expected]), Some(&robot)).unwrap();
        let met = meet(&judge, NAME, Shows::new(&server).only(version).asking(Asks::Anyone)).await;
        assert_nothing_sent(&met);
        let refusal = met.refusal();
        assert_eq!(refusal, Refusal::UnknownKey { expected: vec![expected], presented: server.pin() });
        let text = refusal.to_string();
        assert!(text.contains(&expected.to_string()) && text.contains(&server.pin().to_string()), "{text}");
        assert_eq!(judge.presented().unwrap().spki_pin, server.pin());
    }
}

#[tokio::test]
async fn a_certificate_without_its_key_is_refused() {
    let (robot, _) = robot();
    for (shown, held) in [
        (KeyAlgorithm::EcdsaP256, KeyAlgorithm::EcdsaP256),
        (KeyAlgorithm::Rsa2048, KeyAlgorithm::Rsa2048),
        (KeyAlgorithm::Ed25519, KeyAlgorithm::Ed25519),
        (KeyAlgorithm::EcdsaP384, KeyAlgorithm::EcdsaP256),
        (KeyAlgorithm::EcdsaP256, KeyAlgorithm::Rsa2048),
    ] {
        let server = Forged::new(key(shown), Shape::named(NAME));
        let thief = key(held);
        for version in VERSIONS {
            let directory = tempfile::tempdir().unwrap();
            let path = file(&directory, &server.pem());
            for policy in [TrustPolicy::Pins(vec![server.pin()]), TrustPolicy::CaFile(path)] {
                let judge = judge(&policy, Some(&robot)).unwrap();
                let shows = Shows::new(&server).signed_with(&thief).only(version).asking(Asks::Anyone);
                let met = meet(&judge, NAME, shows).await;
                assert_nothing_sent(&met);
                assert_eq!(met.refusal(), Refusal::BadSignature, "{shown} shown, {held} held, {policy:?}");
            }
        }
    }
}

#[tokio::test]
async fn only_the_first_certificate_counts() {
    let appliance = Forged::new(key(KeyAlgorithm::EcdsaP256), Shape::named(NAME));
    let other = Forged::new(key(KeyAlgorithm::EcdsaP256), Shape::named(NAME));
    let directory = tempfile::tempdir().unwrap();
    for version in VERSIONS {
        let judge = pins(&[appliance.pin()]);
        let met = meet(&judge, NAME, Shows::new(&other).followed_by(&appliance).only(version)).await;
        assert_nothing_sent(&met);
        assert_eq!(met.refusal(), Refusal::UnknownKey { expected: vec![appliance.pin()], presented: other.pin() });

        let judge = ca_file(&file(&directory, &appliance.pem()));
        let met = meet(&judge, NAME, Shows::new(&other).followed_by(&appliance).only(version)).await;
        assert_nothing_sent(&met);
        assert_eq!(met.refusal(), Refusal::UnknownIssuer);
    }
}

#[tokio::test]
async fn behind_a_pin_everything_else_is_a_warning() {
    async fn check(shape: Shape, name: &str, expected: fn(&Warning) -> bool) {
        let server = Forged::new(key(KeyAlgorithm::EcdsaP256), shape);
        for version in VERSIONS {
            let judge = pins(&[server.pin()]);
            let met = meet(&judge, name, Shows::new(&server).only(version)).await;
            met.client.unwrap_or_else(|error| panic!("{name} over {version:?}: {error}"));
            let warnings = judge.presented().unwrap().warnings;
            assert!(warnings.len() == 1 && expected(&warnings[0]), "{name}: {warnings:?}");
        }
    }
    let (past, future) = (datetime!(2001-01-01 0:00 UTC), datetime!(2090-01-01 0:00 UTC));
    check(
        Shape { not_after: past, ..Shape::named(NAME) },
        NAME,
        |warning| matches!(warning, Warning::Expired { not_after, .. } if *not_after == datetime!(2001-01-01 0:00 UTC)),
    )
    .await;
    check(Shape { not_before: future, ..Shape::named(NAME) }, NAME, |warning| {
        matches!(warning, Warning::NotYetValid { not_before, .. } if *not_before == datetime!(2090-01-01 0:00 UTC))
    })
    .await;
    check(Shape { names: Vec::new(), ..Shape::named(NAME) }, "10.20.0.5", |warning| {
        *warning == Warning::NameMissing { expected: "10.20.0.5".to_owned(), presented: Vec::new() }
    })
    .await;
    check(Shape { is_ca: true, ..Shape::named("other.example") }, NAME, |warning| {
        *warning == Warning::NameMissing { expected: NAME.to_owned(), presented: vec!["other.example".to_owned()] }
    })
    .await;
}

#[tokio::test]
async fn a_pin_accepts_what_webpki_cannot_read() {
    // An unknown critical extension, and 20 KiB of it.
    for size in [1, 20_000] {
        let shape = Shape { odd_extension: Some(size), ..Shape::named(NAME) };
        let server = Forged::new(key(KeyAlgorithm::Rsa2048), shape);
        for version in VERSIONS {
            let judge = pins(&[server.pin()]);
            meet(&judge, NAME, Shows::new(&server).only(version)).await.client.unwrap();
        }
    }
}

#[tokio::test]
async fn a_chain_without_end_is_refused() {
    let server = Forged::new(key(KeyAlgorithm::EcdsaP256), Shape::named(NAME));
    let followed = |shown: Shows, times| (0..times).fold(shown, |shown, _| shown.followed_by(&server));
    for version in VERSIONS {
        let judge = pins(&[server.pin()]);
        meet(&judge, NAME, followed(Shows::new(&server).only(version), 9)).await.client.unwrap();

        let judge = pins(&[server.pin()]);
        let met = meet(&judge, NAME, followed(Shows::new(&server).only(version), 10)).await;
        assert_nothing_sent(&met);
        assert_eq!(met.refusal(), Refusal::ChainTooLong { certificates: 11, limit: 10 });

        let shape = Shape { odd_extension: Some(40_000), ..Shape::named(NAME) };
        let large = Forged::new(key(KeyAlgorithm::EcdsaP256), shape);
        let judge = pins(&[large.pin()]);
        assert_nothing_sent(&meet(&judge, NAME, Shows::new(&large).followed_by(&large).only(version)).await);
        assert_eq!(judge.presented(), None, "rustls ends the handshake before the certificates are looked at");
    }
}

#[tokio::test]
async fn the_client_certificate_is_sent_whatever_issuers_are_named() {
    let server = Forged::new(key(KeyAlgorithm::EcdsaP256), Shape::named(NAME));
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory, &server.pem());
    let (robot, certificate) = robot();
    for version in VERSIONS {
        for asks in [Asks::Naming(Vec::new()), Asks::Naming(vec!["CN=somebody else"]), Asks::Anyone] {
            for policy in [TrustPolicy::Pins(vec![server.pin()]), TrustPolicy::CaFile(path.clone())] {
                let judge = judge(&policy, Some(&robot)).unwrap();
                let shows = Shows::new(&server).only(version).asking(asks.clone()).expecting(&certificate);
                let met = meet(&judge, NAME, shows).await;
                met.client.unwrap();
                assert_eq!(met.server.client_chain, [certificate.der().to_vec()], "{asks:?}");
            }
        }
    }
}

#[tokio::test]
async fn observing_sends_nothing() {
    let server = Forged::new(key(KeyAlgorithm::EcdsaP256), Shape::named(NAME));
    for version in VERSIONS {
        let observer = observer();
        assert_eq!(observer.presented(), None);
        let met = meet(&observer, NAME, Shows::new(&server).only(version).asking(Asks::Anyone)).await;
        assert_nothing_sent(&met);
        assert_eq!(met.refusal(), Refusal::Observed);
        let presented = observer.presented().unwrap();
        assert_eq!((presented.spki_pin, presented.warnings), (server.pin(), Vec::new()));
        assert!(!observer.config().client_auth_cert_resolver.has_certs());
    }
}

#[tokio::test]
async fn every_connection_is_judged_anew() {
    let server = Forged::new(key(KeyAlgorithm::EcdsaP256), Shape::named(NAME));
    let stranger = Forged::new(key(KeyAlgorithm::EcdsaP256), Shape::named(NAME));
    for version in VERSIONS {
        let judge = pins(&[server.pin()]);
        let remembering = Shows::new(&server).only(version).config();
        for _ in 0..3 {
            let met = meet_again(&judge, NAME, &remembering).await;
            assert_eq!(met.client.unwrap(), rustls::HandshakeKind::Full);
        }
        let met = meet(&judge, NAME, Shows::new(&stranger).only(version)).await;
        assert_nothing_sent(&met);
        assert_eq!(judge.presented().unwrap().spki_pin, stranger.pin());
        assert!(!judge.config().enable_early_data);
    }
}

#[tokio::test]
async fn a_ca_file_accepts_what_it_issued_and_what_it_holds() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Forged::new(key(KeyAlgorithm::EcdsaP256), Shape { is_ca: true, ..Shape::named("authority") });
    let issued = authority.issue(key(KeyAlgorithm::EcdsaP256), Shape::named(NAME));
    let own = Forged::new(key(KeyAlgorithm::EcdsaP256), Shape::named(NAME));
    let own_authority = Forged::new(key(KeyAlgorithm::EcdsaP256), Shape { is_ca: true, ..Shape::named(NAME) });
    let text = format!("a comment\n{}{}{}", authority.pem(), own.pem(), own_authority.pem());
    let path = file(&directory, &text);
    for version in VERSIONS {
        for server in [&issued, &own, &own_authority] {
            let judge = ca_file(&path);
            meet(&judge, NAME, Shows::new(server).only(version)).await.client.unwrap();
            assert_eq!(judge.presented().unwrap().spki_pin, server.pin());
        }
    }
}

#[tokio::test]
async fn a_ca_file_refuses_with_both_sides() {
    async fn check(shown: &Forged, in_file: &Forged, name: &str, expected: fn(&Refusal) -> bool) {
        let directory = tempfile::tempdir().unwrap();
        let judge = ca_file(&file(&directory, &in_file.pem()));
        let met = meet(&judge, name, Shows::new(shown)).await;
        assert_nothing_sent(&met);
        let refusal = met.refusal();
        assert!(expected(&refusal), "{refusal:?}");
        assert!(refusal.hint().is_some());
        assert_eq!(judge.presented().unwrap().spki_pin, shown.pin(), "what was refused is known");
    }
    fn expired(refusal: &Refusal) -> bool {
        matches!(refusal, Refusal::Invalid(Warning::Expired { not_after, now })
            if *not_after == datetime!(2001-01-01 0:00 UTC) && now > not_after)
    }
    fn early(refusal: &Refusal) -> bool {
        matches!(refusal, Refusal::Invalid(Warning::NotYetValid { not_before, now })
            if *not_before == datetime!(2090-01-01 0:00 UTC) && now < not_before)
    }
    fn misnamed(refusal: &Refusal) -> bool {
        matches!(refusal, Refusal::Invalid(Warning::NameMissing { expected, presented })
            if expected == "10.20.0.5" && presented == &[NAME])
    }
    let authority = Forged::new(key(KeyAlgorithm::EcdsaP256), Shape { is_ca: true, ..Shape::named("authority") });
    let good = Shape::named(NAME);
    let old = Shape { not_after: datetime!(2001-01-01 0:00 UTC), ..good.clone() };
    let future = Shape { not_before: datetime!(2090-01-01 0:00 UTC), ..good.clone() };
    let issue = |shape: &Shape| authority.issue(key(KeyAlgorithm::EcdsaP256), shape.clone());
    let alone = |shape: &Shape| Forged::new(key(KeyAlgorithm::EcdsaP256), shape.clone());

    check(&issue(&old), &authority, NAME, expired).await;
    check(&issue(&future), &authority, NAME, early).await;
    check(&issue(&good), &authority, "10.20.0.5", misnamed).await;
    for is_ca in [true, false] {
        let own = |shape: &Shape| alone(&Shape { is_ca, ..shape.clone() });
        let (old, future, good) = (own(&old), own(&future), own(&good));
        check(&old, &old, NAME, expired).await;
        check(&future, &future, NAME, early).await;
        check(&good, &good, "10.20.0.5", misnamed).await;
        check(&good, &authority, NAME, |refusal| matches!(refusal, Refusal::UnknownIssuer | Refusal::CaCertificate))
            .await;
    }
}

#[test]
fn ca_files_that_are_none() {
    let directory = tempfile::tempdir().unwrap();
    let server = Forged::new(key(KeyAlgorithm::EcdsaP256), Shape::named(NAME));
    let check = |text: &str, expected: fn(&Error) -> bool| {
        let path = file(&directory, text);
        let error = judge(&TrustPolicy::CaFile(path.clone()), None).unwrap_err();
        assert!(expected(&error), "{error:?}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        assert!(error.hint().is_some());
    };
    check("", |error| matches!(error, Error::CaFileEmpty { .. }));
    check("not PEM at all", |error| matches!(error, Error::CaFileEmpty { .. }));
    check(&format!("{}{}", server.pem(), server.key_pem()), |error| matches!(error, Error::CaFileHoldsKey { .. }));
    for form in ["", "RSA ", "EC ", "ENCRYPTED ", "OPENSSH "] {
        check(&format!("{}-----BEGIN {form}PRIVATE KEY-----\nAAAA\n", server.pem()), |error| {
            matches!(error, Error::CaFileHoldsKey { .. })
        });
    }
    check(&format!("{}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", server.pem()), |error| {
        matches!(error, Error::CaFileDamaged { number: 2, .. })
    });
    check("-----BEGIN CERTIFICATE-----\n???\n-----END CERTIFICATE-----\n", |error| {
        matches!(error, Error::CaFileDamaged { number: 1, .. })
    });
    check(&"x".repeat(1024 * 1024 + 1), |error| matches!(error, Error::CaFileTooLarge { .. }));

    let missing = directory.path().join("missing.pem");
    let error = judge(&TrustPolicy::CaFile(missing), None).unwrap_err();
    assert!(matches!(error, Error::CaFileUnreadable { .. }), "{error:?}");
}

#[test]
fn an_identity_is_one_pair_and_says_nothing() {
    let (identity, certificate) = robot();
    assert_eq!(format!("{identity:?}"), "Identity(***)");
    let error = Identity::new(&key(KeyAlgorithm::EcdsaP256), &certificate).unwrap_err();
    assert!(matches!(error, Error::Identity(_)), "{error:?}");
    for algorithm in KeyAlgorithm::ALL {
        let server = Forged::new(key(algorithm), Shape::named("lucidum"));
        Identity::new(&server.key, &Certificate::from_der(server.der().to_vec()).unwrap()).unwrap();
    }
}
