//! Servers and certificates that only the `openssl` command still makes.

use std::{path::Path, process::Stdio};

use robocred::{
    trust::{Judge, refusal},
    x509::{PrivateKey, private_key_from_pem},
};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
    process::Command,
};
use tokio_rustls::TlsConnector;

use super::{NAME, VERSIONS, assert_nothing_sent, file, judge, meet, pins};
use super::{
    forge::{Forged, Shape, key},
    meeting::Shows,
};
use crate::judges;
use robocred::{
    site::TrustPolicy,
    trust::{Refusal, Warning},
    x509::{KeyAlgorithm, SpkiPin},
};

/// A certificate of version 1, as `openssl x509 -req` makes it without extensions.
async fn version_1(directory: &Path) -> (CertificateDer<'static>, PrivateKey) {
    let script = "openssl req -new -newkey rsa:2048 -nodes -keyout key.pem -out csr.pem -subj /CN=appliance \
                  && openssl x509 -req -in csr.pem -signkey key.pem -days 30 -out cert.pem \
                  && openssl x509 -in cert.pem -noout -text | grep -q 'Version: 1 '";
    let output = Command::new("sh").args(["-c", script]).current_dir(directory).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let key = private_key_from_pem(&std::fs::read(directory.join("key.pem")).unwrap()).unwrap();
    (CertificateDer::from_pem_file(directory.join("cert.pem")).unwrap(), key)
}

#[tokio::test]
async fn a_version_1_certificate_works_by_pin_only() {
    if !judges::need("openssl", "openssl") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (certificate, own) = version_1(directory.path()).await;
    let pin = SpkiPin::of_certificate(&certificate).unwrap();
    for version in VERSIONS {
        let judge = pins(&[pin]);
        meet(&judge, "10.20.0.5", Shows::this(&certificate, &own).only(version)).await.client.unwrap();
        assert_eq!(
            judge.presented().unwrap().warnings,
            [Warning::NameMissing { expected: "10.20.0.5".to_owned(), presented: Vec::new() }]
        );

        let judge = pins(&[pin]);
        let thief = key(KeyAlgorithm::Rsa2048);
        let met = meet(&judge, NAME, Shows::this(&certificate, &thief).only(version)).await;
        assert_nothing_sent(&met);
        assert_eq!(met.refusal(), Refusal::BadSignature);

        let judge = super::ca_file(&directory.path().join("cert.pem"));
        let met = meet(&judge, NAME, Shows::this(&certificate, &own).only(version)).await;
        assert_nothing_sent(&met);
        assert!(matches!(met.refusal(), Refusal::Invalid(Warning::NameMissing { .. })));
    }
}

/// Connects to `openssl s_server`, started with these arguments.
async fn connect(judge: &Judge, server: &Forged, arguments: &[&str]) -> Result<(), std::io::Error> {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("cert.pem"), server.pem()).unwrap();
    std::fs::write(directory.path().join("key.pem"), server.key_pem()).unwrap();
    let mut process = Command::new("openssl")
        .args(["s_server", "-accept", "127.0.0.1:0", "-cert", "cert.pem", "-key", "key.pem"])
        .args(arguments)
        .current_dir(directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let address = loop {
        let line = lines.next_line().await.unwrap().expect("openssl s_server ended");
        if let Some(address) = line.strip_prefix("ACCEPT ") {
            break address.to_owned();
        }
    };
    let stream = TcpStream::connect(address).await.unwrap();
    TlsConnector::from(judge.config()).connect(ServerName::try_from(NAME).unwrap(), stream).await.map(drop)
}

#[tokio::test]
async fn nothing_older_than_tls_1_2() {
    if !judges::need("openssl", "openssl") {
        return;
    }
    let server = Forged::new(key(KeyAlgorithm::Rsa2048), Shape::named(NAME));
    let directory = tempfile::tempdir().unwrap();
    for policy in [TrustPolicy::Pins(vec![server.pin()]), TrustPolicy::CaFile(file(&directory, &server.pem()))] {
        let accepting = judge(&policy, None).unwrap();
        for version in ["-tls1_2", "-tls1_3"] {
            connect(&accepting, &server, &[version]).await.unwrap_or_else(|error| panic!("{version}: {error}"));
        }
        for version in ["-tls1", "-tls1_1"] {
            let refusing = judge(&policy, None).unwrap();
            let error = connect(&refusing, &server, &[version, "-cipher", "DEFAULT:@SECLEVEL=0"]).await.unwrap_err();
            assert_eq!(refusal(&error), None, "the version is refused before any certificate is seen");
            assert_eq!(refusing.presented(), None);
            let error = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
            assert!(
                matches!(
                    error,
                    Some(
                        rustls::Error::AlertReceived(rustls::AlertDescription::ProtocolVersion)
                            | rustls::Error::PeerIncompatible(_)
                    )
                ),
                "{error:?}"
            );
        }
    }
}
