//! The operating system's roots. Which they are is said by variables of the
//! environment, so each case runs in a process of its own.

use std::{path::Path, process::Command};

use robocred::{
    site::TrustPolicy,
    trust::{Error, Refusal, judge},
    x509::{KeyAlgorithm, private_key_from_pem},
};
use rustls::pki_types::{CertificateDer, pem::PemObject};

use super::{
    NAME, VERSIONS, assert_nothing_sent,
    forge::{Forged, Shape, key},
    meeting::{Shows, meet},
};

/// Set in the second process: the directory to work in.
const DIRECTORY: &str = "ROBOCRED_TEST_SYSTEM_ROOTS";

/// Runs the named test again with these roots. It must leave the file `done`.
fn again(test: &str, directory: &Path, roots: &Path) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env(DIRECTORY, directory)
        .env("SSL_CERT_FILE", roots)
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && directory.join("done").exists(), "{report}");
}

#[tokio::test]
async fn the_systems_roots_decide() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        let directory = tempfile::tempdir().unwrap();
        let authority = Forged::new(key(KeyAlgorithm::EcdsaP256), Shape { is_ca: true, ..Shape::named("authority") });
        let issued = authority.issue(key(KeyAlgorithm::EcdsaP256), Shape::named(NAME));
        let roots = directory.path().join("roots.pem");
        std::fs::write(&roots, authority.pem()).unwrap();
        std::fs::write(directory.path().join("cert.pem"), issued.pem()).unwrap();
        std::fs::write(directory.path().join("key.pem"), issued.key_pem()).unwrap();
        return again("trust::system::the_systems_roots_decide", directory.path(), &roots);
    };
    let directory = Path::new(&directory);
    let issued = CertificateDer::from_pem_file(directory.join("cert.pem")).unwrap();
    let own = private_key_from_pem(&std::fs::read(directory.join("key.pem")).unwrap()).unwrap();
    let stranger = Forged::new(key(KeyAlgorithm::EcdsaP256), Shape::named(NAME));
    let authority = Forged::new(key(KeyAlgorithm::EcdsaP256), Shape { is_ca: true, ..Shape::named(NAME) });
    for version in VERSIONS {
        let judge = judge(&TrustPolicy::System, None).unwrap();
        for (server, expected) in [(&stranger, Refusal::UnknownIssuer), (&authority, Refusal::CaCertificate)] {
            let met = meet(&judge, NAME, Shows::new(server).only(version)).await;
            assert_nothing_sent(&met);
            assert_eq!(met.refusal(), expected);
            assert!(met.refusal().hint().is_some_and(|hint| hint.contains("pin")));
        }
        let met = meet(&judge, NAME, Shows::this(&issued, &stranger.key).only(version)).await;
        assert_nothing_sent(&met);
        assert_eq!(met.refusal(), Refusal::BadSignature);

        meet(&judge, NAME, Shows::this(&issued, &own).only(version)).await.client.unwrap();
        assert_eq!(judge.presented(), None, "rustls' own verifier remembers nothing");
        judge.record(&[]);
        assert_eq!(judge.presented(), None);
        for chain in [stranger.chain(), vec![issued.clone()]] {
            judge.record(&chain);
            let presented = judge.presented().unwrap();
            assert_eq!(presented.facts, robocred::x509::inspect(&chain[0]).unwrap());
        }
    }
    std::fs::write(directory.join("done"), "").unwrap();
}

#[test]
fn no_roots_is_an_error_of_its_own() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing.pem");
        return again("trust::system::no_roots_is_an_error_of_its_own", directory.path(), &missing);
    };
    let error = judge(&TrustPolicy::System, None).unwrap_err();
    assert!(matches!(&error, Error::NoRoots { problems } if problems.len() == 1), "{error:?}");
    assert!(error.hint().is_some_and(|hint| hint.contains("ca-certificates")));
    std::fs::write(Path::new(&directory).join("done"), "").unwrap();
}
