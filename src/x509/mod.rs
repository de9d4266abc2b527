//! What a key and a certificate are.
//!
//! Owns key generation, the robot certificate profile, reading the facts of a
//! certificate, fingerprints and pins, and PEM in and out. Leaves out where
//! keys rest (`secrets`), whether a server is trusted (`trust`) and whether a
//! credential works (`verify`). Nothing here touches network or disk; only
//! [`PrivateKey::generate`] and [`Certificate::self_signed`] draw random
//! numbers. On failure no key material is left behind.

mod certificate;
mod fingerprint;
mod inspect;
mod key;
mod pem;

pub use certificate::{Certificate, Profile, Validity};
pub use fingerprint::{Fingerprint, SpkiPin};
pub use inspect::{Facts, MAX_CERTIFICATE, inspect};
pub use key::{KeyAlgorithm, PrivateKey, warm_up};
pub use pem::{
    MAX_PEM, certificate_from_pem, certificate_of_key, certificate_to_pem, key_belongs_to, private_key_from_pem,
    private_key_to_pem,
};

/// Why a key or a certificate could not be made or read.
///
/// No variant holds key bytes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The word is not one of [`KeyAlgorithm::ALL`].
    #[error("unknown key type {given:?} (known: rsa-2048, rsa-3072, rsa-4096, ecdsa-p256, ecdsa-p384, ed25519)")]
    UnknownKeyAlgorithm {
        /// What was given.
        given: String,
    },
    /// The word is neither `client` nor `openssl`.
    #[error("unknown certificate profile {given:?} (known: client, openssl)")]
    UnknownProfile {
        /// What was given.
        given: String,
    },
    /// The bytes are not a private key of a supported type.
    #[error("not a supported private key: {reason}")]
    BadKey {
        /// What was wrong, without any of the bytes.
        reason: &'static str,
    },
    /// The private key is protected by a passphrase.
    #[error("the private key is encrypted")]
    EncryptedKey,
    /// The bytes are not one X.509 certificate.
    #[error("not a certificate: {reason}")]
    BadCertificate {
        /// What was wrong.
        reason: String,
    },
    /// The PEM text holds something else than what was asked for.
    #[error("expected {expected} in the PEM text, found {found}")]
    WrongPem {
        /// What was asked for, for example `one CERTIFICATE`.
        expected: &'static str,
        /// What was there, for example `PRIVATE KEY` or `nothing`.
        found: String,
    },
    /// The PEM text has the right label and cannot be decoded.
    #[error("damaged PEM text: {reason}")]
    BadPem {
        /// What was wrong, without any of the text.
        reason: &'static str,
    },
    /// The key and the certificate do not belong together.
    #[error(
        "the private key does not belong to the certificate (certificate's key {certificate}, private key's {key})"
    )]
    PairMismatch {
        /// Pin of the key in the certificate.
        certificate: SpkiPin,
        /// Pin of the private key's public half.
        key: SpkiPin,
    },
    /// A fingerprint or pin that cannot be parsed.
    #[error("not a {expected}: {given:?}")]
    BadFingerprint {
        /// The expected form.
        expected: &'static str,
        /// What was given.
        given: String,
    },
    /// A lifetime outside 1 to 365 days, or one that ends in no date that exists.
    #[error("lifetime of {days} days is outside 1 to 365")]
    BadLifetime {
        /// What was asked for.
        days: u16,
    },
    /// A common name that is empty, longer than 64 characters (RFC 5280,
    /// appendix A, `ub-common-name`) or holds control characters.
    #[error("{given:?} cannot be a common name (1 to 64 characters, no control characters)")]
    BadCommonName {
        /// What was given.
        given: String,
    },
    /// The crypto library refused to generate or sign.
    #[error("the crypto library could not {step}")]
    Crypto {
        /// What was being done.
        step: &'static str,
    },
}

impl Error {
    /// What the person who gave the input can do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::EncryptedKey => {
                Some("decrypt it first: openssl pkey -in KEY -out PLAIN (and remove PLAIN afterwards)")
            }
            Self::WrongPem { found, .. } if found == "nothing" => Some(
                "PEM text begins with a line like -----BEGIN CERTIFICATE-----; a DER file can be converted by openssl",
            ),
            Self::WrongPem { .. } => {
                Some("give the key and the certificate as two files, each with nothing else in it")
            }
            Self::PairMismatch { .. } => Some("give the key that this certificate was made with"),
            Self::BadLifetime { .. } => Some("choose 1 to 365 days"),
            Self::BadFingerprint { .. } => Some("a pin looks like sha256//BASE64=, a fingerprint is 64 hex digits"),
            _ => None,
        }
    }
}
