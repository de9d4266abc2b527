//! Keys and certificates before the `openssl` command, in both directions.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

use robocred::{
    clock::{Clock, SystemClock},
    x509::{
        Certificate, Error, Fingerprint, KeyAlgorithm, PrivateKey, Profile, Validity, certificate_from_pem,
        certificate_to_pem, key_belongs_to, private_key_from_pem, private_key_to_pem,
    },
};

use crate::{judges::need, x509::key};

fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new("openssl");
    command.current_dir(folder).stdin(Stdio::null()).args(arguments);
    command.output().unwrap()
}

/// What openssl printed; it must have succeeded.
#[track_caller]
fn openssl(folder: &Path, arguments: &str) -> String {
    let output = run(folder, &arguments.split(' ').collect::<Vec<_>>());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "openssl {arguments}\n{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn write_pair(folder: &Path, algorithm: KeyAlgorithm, profile: Profile) -> Certificate {
    let validity = Validity::of_days(SystemClock.now(), 365).unwrap();
    let certificate = Certificate::self_signed(key(algorithm), "lucidum", validity, profile).unwrap();
    fs::write(folder.join("key.pem"), private_key_to_pem(key(algorithm)).unwrap().as_bytes()).unwrap();
    fs::write(folder.join("cert.pem"), certificate_to_pem(&certificate)).unwrap();
    certificate
}

/// The extensions as `openssl x509 -text` names them, one line each with its
/// value unless the value is a hash of the key.
fn extensions(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.contains("X509v3 extensions:"))
        .skip(1)
        .take_while(|line| line.starts_with("            "))
        .map(str::trim)
        .collect();
    let mut found: Vec<_> = lines
        .chunks(2)
        .map(|pair| if pair[0].contains("Key Identifier") { pair[0].to_owned() } else { pair.join(" ") })
        .collect();
    found.sort();
    found
}

#[test]
fn openssl_reads_checks_and_verifies_what_we_make() {
    if !need("openssl", "openssl") {
        return;
    }
    for algorithm in KeyAlgorithm::ALL {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let certificate = write_pair(folder, algorithm, Profile::Client);

        let text = openssl(folder, "x509 -in cert.pem -noout -text -nameopt RFC2253");
        for line in ["Version: 3 (0x2)", "Issuer: CN=lucidum", "Subject: CN=lucidum"] {
            assert!(text.contains(line), "{line:?} not in {text}");
        }
        assert_eq!(
            extensions(&text),
            [
                "X509v3 Basic Constraints: critical CA:FALSE",
                "X509v3 Extended Key Usage: TLS Web Client Authentication",
                "X509v3 Key Usage: critical Digital Signature",
                "X509v3 Subject Key Identifier:",
            ]
        );

        let serial = openssl(folder, "x509 -in cert.pem -noout -serial");
        assert_eq!(serial.trim(), format!("serial={}", certificate.serial().to_uppercase()));
        let fingerprint = openssl(folder, "x509 -in cert.pem -noout -fingerprint -sha256");
        let colons = fingerprint.trim().split_once('=').unwrap().1;
        assert_eq!(colons.parse::<Fingerprint>().unwrap(), certificate.fingerprint());

        assert!(openssl(folder, "pkey -in key.pem -check -noout").contains("Key is valid"));
        openssl(folder, "pkey -in key.pem -pubout -outform DER -out key.spki");
        assert_eq!(fs::read(folder.join("key.spki")).unwrap(), key(algorithm).spki_der());
        let public = openssl(folder, "pkey -in key.pem -pubout");
        assert_eq!(public, openssl(folder, "x509 -in cert.pem -noout -pubkey"));

        for strictness in ["", "-x509_strict ", "-purpose sslclient ", "-check_ss_sig "] {
            openssl(folder, &format!("verify {strictness}-CAfile cert.pem cert.pem"));
        }
        let server = run(folder, &["verify", "-purpose", "sslserver", "-CAfile", "cert.pem", "cert.pem"]);
        assert!(!server.status.success(), "a robot's certificate must not pass for a server's");
    }
}

#[test]
fn the_openssl_profile_has_the_extensions_of_openssl_req() {
    if !need("openssl", "openssl") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let ours = write_pair(folder, KeyAlgorithm::Rsa2048, Profile::Openssl);
    openssl(
        folder,
        "req -x509 -newkey rsa:2048 -keyout their-key.pem -out theirs.pem -days 365 -nodes -subj /CN=lucidum",
    );
    let ours_text = openssl(folder, "x509 -in cert.pem -noout -text");
    let theirs_text = openssl(folder, "x509 -in theirs.pem -noout -text");
    assert_eq!(extensions(&ours_text), extensions(&theirs_text));
    assert_eq!(extensions(&ours_text).len(), 3);
    openssl(folder, "verify -x509_strict -CAfile cert.pem cert.pem");

    // And theirs is read by us, as `import` will.
    let certificate = certificate_from_pem(&fs::read(folder.join("theirs.pem")).unwrap()).unwrap();
    let key = private_key_from_pem(&fs::read(folder.join("their-key.pem")).unwrap()).unwrap();
    key_belongs_to(&key, &certificate).unwrap();
    assert!(matches!(key_belongs_to(&key, &ours), Err(Error::PairMismatch { .. })));
    assert_eq!((certificate.common_name(), key.algorithm()), (Some("lucidum"), KeyAlgorithm::Rsa2048));
}

/// Lets openssl write `made.pem` and reads it.
#[track_caller]
fn made(folder: &Path, arguments: &str) -> Result<PrivateKey, Error> {
    openssl(folder, arguments);
    private_key_from_pem(&fs::read(folder.join("made.pem")).unwrap())
}

#[test]
fn keys_of_every_form_are_read_and_become_one_form() {
    #[track_caller]
    fn check(folder: &Path, algorithm: KeyAlgorithm, form: &str, label: &str) {
        let read = made(folder, form).unwrap();
        let text = fs::read_to_string(folder.join("made.pem")).unwrap();
        assert!(text.contains(&format!("-----BEGIN {label}-----")), "{form} wrote {text}");
        assert_eq!(read.algorithm(), algorithm);
        assert_eq!(read.expose_der(), key(algorithm).expose_der(), "{form}");
    }
    if !need("openssl", "openssl") {
        return;
    }
    for algorithm in KeyAlgorithm::ALL {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write_pair(folder, algorithm, Profile::Client);
        check(folder, algorithm, "pkey -in key.pem -out made.pem", "PRIVATE KEY");
        let encrypted = made(folder, "pkey -in key.pem -aes256 -passout pass:secret -out made.pem");
        assert!(matches!(encrypted, Err(Error::EncryptedKey)), "{encrypted:?}");
        // Ed25519 keys never had a form of their own.
        let old = match algorithm {
            KeyAlgorithm::Ed25519 => None,
            KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP384 => Some("EC PRIVATE KEY"),
            _ => Some("RSA PRIVATE KEY"),
        };
        if let Some(label) = old {
            check(folder, algorithm, "pkey -in key.pem -traditional -out made.pem", label);
            let encrypted = made(folder, "pkey -in key.pem -traditional -aes256 -passout pass:secret -out made.pem");
            assert!(matches!(encrypted, Err(Error::EncryptedKey)), "{encrypted:?}");
        }
    }
}

#[test]
fn new_keys_of_openssl_are_read() {
    if !need("openssl", "openssl") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (algorithm, options) in [
        (KeyAlgorithm::Rsa2048, "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048"),
        (KeyAlgorithm::Rsa3072, "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072"),
        (KeyAlgorithm::EcdsaP256, "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256"),
        (KeyAlgorithm::EcdsaP256, "ecparam -name prime256v1 -genkey"),
        (KeyAlgorithm::EcdsaP384, "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384"),
        (KeyAlgorithm::Ed25519, "genpkey -algorithm ED25519"),
    ] {
        assert_eq!(made(folder, &format!("{options} -out made.pem")).unwrap().algorithm(), algorithm, "{options}");
    }
    for options in [
        "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024",
        "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2056",
        "genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048",
        "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521",
        "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp256k1",
        "genpkey -algorithm X25519",
        "genpkey -algorithm ED448",
    ] {
        let refused = made(folder, &format!("{options} -out made.pem"));
        assert!(matches!(refused, Err(Error::BadKey { .. })), "{options}: {refused:?}");
    }
}
