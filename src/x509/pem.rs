//! PEM in and out, and whether a key belongs to a certificate.
//!
//! What is about to be sent is read strictly: a certificate with a key beside
//! it is refused, because a certificate is what gets uploaded and mailed around.
//! A pair that is taken over is looked for in whatever files a person has.
//! Reading a key leaves one trace that cannot be wiped from here:
//! `rustls-pki-types` frees its buffer of base64 text as it is. Keys are read
//! from PEM by `import` only.

use pem_rfc7468::LineEnding;
use rustls_pki_types::pem::{PemObject, SectionKind};
use zeroize::Zeroizing;

use super::{Certificate, Error, PrivateKey};

/// The longest PEM text that is read, in bytes.
pub const MAX_PEM: usize = 64 * 1024;

/// The certificate as PEM text with LF line ends.
#[must_use]
#[allow(clippy::missing_panics_doc, reason = "it cannot happen")]
pub fn certificate_to_pem(certificate: &Certificate) -> String {
    pem_rfc7468::encode_string("CERTIFICATE", LineEnding::LF, certificate.der())
        .expect("the label is legal, and a certificate is at most 64 KiB")
}

/// Reads PEM text that holds one certificate and nothing else.
///
/// # Errors
/// [`Error::WrongPem`] if it holds something else (a key, several
/// certificates, nothing); [`Error::BadPem`] or [`Error::BadCertificate`] if it is damaged.
pub fn certificate_from_pem(pem: &[u8]) -> Result<Certificate, Error> {
    match (sections(pem)?.as_mut_slice(), labels(pem).len()) {
        ([(SectionKind::Certificate, der)], 1) => Certificate::from_der(std::mem::take(&mut **der)),
        _ => Err(wrong(pem, "one CERTIFICATE")),
    }
}

/// Reads, of the certificates in the text, the one that `key` belongs to; what
/// else is there (the key itself, a chain) is left alone.
///
/// # Errors
/// [`Error::WrongPem`] without any certificate; [`Error::PairMismatch`], naming
/// the first, where none is the key's; [`Error::BadPem`] or
/// [`Error::BadCertificate`] if one is damaged.
pub fn certificate_of_key(pem: &[u8], key: &PrivateKey) -> Result<Certificate, Error> {
    let mut certificates = Vec::new();
    for (kind, mut der) in sections(pem)? {
        if kind == SectionKind::Certificate {
            certificates.push(Certificate::from_der(std::mem::take(&mut *der))?);
        }
    }
    let own = certificates.iter().position(|certificate| key_belongs_to(key, certificate).is_ok()).unwrap_or(0);
    let certificate = certificates.into_iter().nth(own).ok_or_else(|| wrong(pem, "a CERTIFICATE"))?;
    key_belongs_to(key, &certificate).map(|()| certificate)
}

/// The key as unencrypted PKCS#8 PEM text with LF line ends, wiped when dropped.
///
/// # Errors
/// [`Error::Crypto`] if it cannot be encoded.
pub fn private_key_to_pem(key: &PrivateKey) -> Result<Zeroizing<String>, Error> {
    // Encodes in place into one buffer of the final size, which becomes the string: no copy stays behind.
    pem_rfc7468::encode_string("PRIVATE KEY", LineEnding::LF, key.expose_der())
        .map(Zeroizing::new)
        .map_err(|_| Error::Crypto { step: "encode the key" })
}

/// Reads PEM text that holds one unencrypted private key, PKCS#8 (`PRIVATE
/// KEY`), SEC1 (`EC PRIVATE KEY`) or PKCS#1 (`RSA PRIVATE KEY`); certificates
/// beside it are left alone.
///
/// # Errors
/// [`Error::EncryptedKey`]; [`Error::WrongPem`] if it holds something else;
/// [`Error::BadPem`] or [`Error::BadKey`] if it is damaged or of another type.
pub fn private_key_from_pem(pem: &[u8]) -> Result<PrivateKey, Error> {
    let encrypted = ["-----BEGIN ENCRYPTED PRIVATE KEY-----", "Proc-Type: 4,ENCRYPTED"];
    if lines(pem).any(|line| encrypted.iter().any(|mark| line.starts_with(mark.as_bytes()))) {
        return Err(Error::EncryptedKey);
    }
    let mut keys = sections(pem)?;
    keys.retain(|(kind, _)| {
        matches!(kind, SectionKind::PrivateKey | SectionKind::EcPrivateKey | SectionKind::RsaPrivateKey)
    });
    let others = labels(pem).into_iter().filter(|label| label != "CERTIFICATE").count();
    match (keys.pop(), others) {
        (Some((_, der)), 1) => PrivateKey::from_pkcs8_der(der),
        _ => Err(wrong(pem, "one PRIVATE KEY")),
    }
}

/// Whether the key is the private half of the certificate's public key.
///
/// # Errors
/// [`Error::PairMismatch`] with the pins of both.
pub fn key_belongs_to(key: &PrivateKey, certificate: &Certificate) -> Result<(), Error> {
    let (certificate, key) = (certificate.spki_pin(), key.spki_pin());
    if certificate == key { Ok(()) } else { Err(Error::PairMismatch { certificate, key }) }
}

/// What a section says it is, and its bytes, wiped when dropped.
type Section = (SectionKind, Zeroizing<Vec<u8>>);

/// The sections of the text that the parser knows.
fn sections(pem: &[u8]) -> Result<Vec<Section>, Error> {
    if pem.len() > MAX_PEM {
        return Err(Error::BadPem { reason: "it is longer than 64 KiB" });
    }
    <(SectionKind, Vec<u8>)>::pem_slice_iter(pem)
        .map(|section| match section {
            Ok((kind, der)) => Ok((kind, Zeroizing::new(der))),
            // The parser's error may quote the text.
            Err(_) => Err(Error::BadPem { reason: "its base64 or its last line is not valid" }),
        })
        .collect()
}

/// The text holds something else than what was asked for.
fn wrong(pem: &[u8], expected: &'static str) -> Error {
    let labels = labels(pem);
    let found = if labels.is_empty() { "nothing".to_owned() } else { labels.join(", ") };
    Error::WrongPem { expected, found }
}

/// What the text says it holds, also where the parser knows nothing of it.
/// `openssl ecparam -genkey` writes the curve before the key: that is no content of its own.
fn labels(pem: &[u8]) -> Vec<String> {
    lines(pem)
        .filter_map(|line| line.strip_prefix(b"-----BEGIN ")?.strip_suffix(b"-----"))
        .filter(|label| *label != b"EC PARAMETERS")
        .map(|label| {
            let known = label.len() <= 32 && label.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b' ');
            if known { String::from_utf8_lossy(label).into_owned() } else { "an unknown section".to_owned() }
        })
        .collect()
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| matches!(byte, b'\n' | b'\r')).map(<[u8]>::trim_ascii_end)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::x509::{KeyAlgorithm, Profile, Validity};

    fn pair() -> (PrivateKey, Certificate) {
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let validity = Validity::of_days(datetime!(2026-11-22 10:00 UTC), 365).unwrap();
        let certificate = Certificate::self_signed(&key, "robot", validity, Profile::Client).unwrap();
        (key, certificate)
    }

    #[test]
    fn what_is_written_is_read_back() {
        let (_, certificate) = pair();
        let pem = certificate_to_pem(&certificate);
        assert!(pem.starts_with("-----BEGIN CERTIFICATE-----\n") && pem.ends_with("\n-----END CERTIFICATE-----\n"));
        assert!(!pem.contains('\r') && pem.lines().all(|line| line.len() <= 64));
        assert_eq!(certificate_from_pem(pem.as_bytes()).unwrap(), certificate);
        for algorithm in KeyAlgorithm::ALL {
            let key = PrivateKey::generate(algorithm).unwrap();
            let pem = private_key_to_pem(&key).unwrap();
            assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----\n") && pem.ends_with("\n-----END PRIVATE KEY-----\n"));
            assert!(!pem.contains('\r') && pem.lines().all(|line| line.len() <= 64));
            assert_eq!(private_key_from_pem(pem.as_bytes()).unwrap().expose_der(), key.expose_der());
        }
    }

    #[test]
    fn line_ends_and_text_around_the_section_do_not_matter() {
        let (key, certificate) = pair();
        let pem = certificate_to_pem(&certificate);
        for text in
            [pem.replace('\n', "\r\n"), pem.trim_end().to_owned(), format!("subject=CN = robot\n\n{pem}\n# end\n")]
        {
            assert_eq!(certificate_from_pem(text.as_bytes()).unwrap(), certificate, "{text}");
        }
        let pem = private_key_to_pem(&key).unwrap();
        let with_curve =
            format!("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n{}", *pem);
        for text in [pem.replace('\n', "\r\n"), with_curve] {
            assert_eq!(private_key_from_pem(text.as_bytes()).unwrap().spki_pin(), key.spki_pin());
        }
    }

    #[test]
    fn each_file_holds_what_belongs_there_and_nothing_else() {
        #[track_caller]
        fn check<T: std::fmt::Debug>(read: Result<T, Error>, wanted: &str, held: &str) {
            match read {
                Err(Error::WrongPem { expected, found }) => assert_eq!((expected, found.as_str()), (wanted, held)),
                other => panic!("{other:?}"),
            }
        }
        let (key, certificate) = pair();
        let (key, certificate) = (private_key_to_pem(&key).unwrap().to_string(), certificate_to_pem(&certificate));
        let other = |label: &str| certificate.replace("CERTIFICATE", label);
        let read = |text: &str| certificate_from_pem(text.as_bytes());
        let wanted = "one CERTIFICATE";
        check(read(""), wanted, "nothing");
        check(read("a certificate, I promise"), wanted, "nothing");
        check(read(&key), wanted, "PRIVATE KEY");
        check(read(&format!("{key}{certificate}")), wanted, "PRIVATE KEY, CERTIFICATE");
        check(read(&format!("{certificate}{key}")), wanted, "CERTIFICATE, PRIVATE KEY");
        check(read(&format!("{certificate}{certificate}")), wanted, "CERTIFICATE, CERTIFICATE");
        check(read(&other("CERTIFICATE REQUEST")), wanted, "CERTIFICATE REQUEST");
        check(read(&other("TRUSTED CERTIFICATE")), wanted, "TRUSTED CERTIFICATE");
        check(read(&other("\u{1b}[31m")), wanted, "an unknown section");
        check(
            read(&format!("{certificate}{}", other("OPENSSH PRIVATE KEY"))),
            wanted,
            "CERTIFICATE, OPENSSH PRIVATE KEY",
        );
        let read = |text: &str| private_key_from_pem(text.as_bytes());
        let wanted = "one PRIVATE KEY";
        check(read(""), wanted, "nothing");
        check(read(&certificate), wanted, "CERTIFICATE");
        check(read(&format!("{key}{certificate}{key}")), wanted, "PRIVATE KEY, CERTIFICATE, PRIVATE KEY");
        check(read(&format!("{key}{key}")), wanted, "PRIVATE KEY, PRIVATE KEY");
        check(read(&format!("{key}{}", other("PUBLIC KEY"))), wanted, "PRIVATE KEY, PUBLIC KEY");
        check(read(&other("OPENSSH PRIVATE KEY")), wanted, "OPENSSH PRIVATE KEY");
        check(read(&other("PUBLIC KEY")), wanted, "PUBLIC KEY");
    }

    #[test]
    fn a_pair_is_found_among_other_things() {
        let ((key, certificate), (other_key, other)) = (pair(), pair());
        let own = certificate_to_pem(&certificate);
        let other = certificate_to_pem(&other);
        let key_text = private_key_to_pem(&key).unwrap().to_string();
        for text in [format!("{key_text}{own}"), format!("{other}{own}{key_text}"), own.clone()] {
            assert_eq!(certificate_of_key(text.as_bytes(), &key).unwrap(), certificate, "{text}");
        }
        let read = private_key_from_pem(format!("{own}{key_text}{other}").as_bytes()).unwrap();
        assert_eq!(read.spki_pin(), key.spki_pin());
        match certificate_of_key(format!("{own}{own}").as_bytes(), &other_key) {
            Err(Error::PairMismatch { certificate, key: pin }) => {
                assert_eq!((certificate, pin), (key.spki_pin(), other_key.spki_pin()));
            }
            found => panic!("{found:?}"),
        }
        let none = certificate_of_key(key_text.as_bytes(), &key);
        assert!(matches!(none, Err(Error::WrongPem { found, .. }) if found == "PRIVATE KEY"));
    }

    #[test]
    fn damaged_text_is_named_and_not_shown() {
        let (key, certificate) = pair();
        let (key, certificate) = (private_key_to_pem(&key).unwrap().to_string(), certificate_to_pem(&certificate));
        let secret = key.lines().nth(1).unwrap();
        for text in [key.replacen("MIG", "MI*", 1), key.lines().take(3).collect::<Vec<_>>().join("\n")] {
            let error = private_key_from_pem(text.as_bytes()).unwrap_err();
            assert!(matches!(error, Error::BadPem { .. }), "{error:?}");
            assert!(!format!("{error:?} {error}").contains(&secret[8..24]));
        }
        let huge = format!("{}{certificate}", " ".repeat(MAX_PEM));
        assert!(matches!(certificate_from_pem(huge.as_bytes()), Err(Error::BadPem { .. })));
        let empty = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n";
        assert!(matches!(certificate_from_pem(empty.as_bytes()), Err(Error::BadCertificate { .. })));
        let mislabelled = key.replace("PRIVATE KEY", "CERTIFICATE");
        assert!(matches!(certificate_from_pem(mislabelled.as_bytes()), Err(Error::BadCertificate { .. })));
        let mislabelled = certificate.replace("CERTIFICATE", "PRIVATE KEY");
        assert!(matches!(private_key_from_pem(mislabelled.as_bytes()), Err(Error::BadKey { .. })));
    }

    #[test]
    fn a_key_belongs_to_its_own_certificate_only() {
        let ((key, certificate), (other, _)) = (pair(), pair());
        assert!(key_belongs_to(&key, &certificate).is_ok());
        match key_belongs_to(&other, &certificate) {
            Err(Error::PairMismatch { certificate, key: pin }) => {
                assert_eq!((certificate, pin), (key.spki_pin(), other.spki_pin()));
            }
            accepted => panic!("{accepted:?}"),
        }
    }
}
