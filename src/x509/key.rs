//! Private keys: generation, reading, and keeping them out of sight.

use std::{fmt, str::FromStr};

use aws_lc_rs::{
    encoding::AsDer,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
        RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use rcgen::{PublicKeyData, SigningKey};
use zeroize::Zeroizing;

use super::{Error, SpkiPin};

/// The key types of the product contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyAlgorithm {
    /// RSA with a modulus of 2048 bits: what the vendor documents, and the default.
    Rsa2048,
    /// RSA with a modulus of 3072 bits.
    Rsa3072,
    /// RSA with a modulus of 4096 bits.
    Rsa4096,
    /// ECDSA on NIST P-256, signing with SHA-256.
    EcdsaP256,
    /// ECDSA on NIST P-384, signing with SHA-384.
    EcdsaP384,
    /// Ed25519 (RFC 8410).
    Ed25519,
}

impl KeyAlgorithm {
    /// Every key type, in the order they are listed to people.
    pub const ALL: [Self; 6] =
        [Self::Rsa2048, Self::Rsa3072, Self::Rsa4096, Self::EcdsaP256, Self::EcdsaP384, Self::Ed25519];

    /// The word used on the command line, in files and in JSON: `rsa-2048`, …
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rsa2048 => "rsa-2048",
            Self::Rsa3072 => "rsa-3072",
            Self::Rsa4096 => "rsa-4096",
            Self::EcdsaP256 => "ecdsa-p256",
            Self::EcdsaP384 => "ecdsa-p384",
            Self::Ed25519 => "ed25519",
        }
    }
}

impl FromStr for KeyAlgorithm {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str() == text)
            .ok_or_else(|| Error::UnknownKeyAlgorithm { given: text.to_owned() })
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A private key in PKCS#8 DER form, wiped when dropped.
///
/// The form is canonical: version 1 (RFC 5208), as OpenSSL 3.0 wants Ed25519
/// keys, so the same key always has the same bytes.
pub struct PrivateKey {
    der: Zeroizing<Vec<u8>>,
    algorithm: KeyAlgorithm,
    spki: Vec<u8>,
}

/// Lets the crypto library gather its first entropy, once per process: some
/// 35 ms of computing. Optional; worth a thread of its own while a key is about
/// to be made and the disk has to be waited for first.
pub fn warm_up() {
    // What fails here fails again, and is told, where a key is made.
    let _ = aws_lc_rs::rand::fill(&mut [0]);
}

impl PrivateKey {
    /// Makes a new key. RSA-4096 takes about half a second, elliptic curves next to nothing.
    ///
    /// # Errors
    /// [`Error::Crypto`] if the library cannot generate.
    pub fn generate(algorithm: KeyAlgorithm) -> Result<Self, Error> {
        KeyPair::generate(algorithm)?.into_private_key()
    }

    /// Reads an unencrypted key in PKCS#8 form (version 1 or 2), or in the
    /// forms of older tools, SEC1 (RFC 5915) and PKCS#1 (RFC 8017).
    ///
    /// # Errors
    /// [`Error::BadKey`] for anything else and for other key types and sizes.
    #[allow(clippy::needless_pass_by_value, reason = "the caller's copy ends here")]
    pub fn from_pkcs8_der(der: Zeroizing<Vec<u8>>) -> Result<Self, Error> {
        KeyPair::parse(&der)?.into_private_key()
    }

    /// The type of this key.
    #[must_use]
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// The public half as DER `SubjectPublicKeyInfo` (RFC 5280, 4.1.2.7).
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// The pin of the public half.
    #[must_use]
    pub fn spki_pin(&self) -> SpkiPin {
        SpkiPin::of_spki(&self.spki)
    }

    /// The one way to the bytes (invariant 3): PKCS#8 DER.
    #[must_use]
    pub fn expose_der(&self) -> &[u8] {
        &self.der
    }

    /// The key in the form that signs certificates.
    pub(super) fn key_pair(&self) -> Result<KeyPair, Error> {
        KeyPair::parse(&self.der)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(***)")
    }
}

/// A key loaded into the crypto library, which wipes its own memory.
///
/// `rcgen` signs with it through [`SigningKey`]; its own key pair is not used,
/// because that keeps a second copy of the DER and does not wipe it.
pub(super) enum KeyPair {
    Rsa(RsaKeyPair, KeyAlgorithm),
    Ecdsa(EcdsaKeyPair, KeyAlgorithm),
    Ed25519(Ed25519KeyPair),
}

impl KeyPair {
    fn generate(algorithm: KeyAlgorithm) -> Result<Self, Error> {
        let rsa = |size| RsaKeyPair::generate(size).map(|pair| Self::Rsa(pair, algorithm));
        let ecdsa = |curve| EcdsaKeyPair::generate(curve).map(|pair| Self::Ecdsa(pair, algorithm));
        match algorithm {
            KeyAlgorithm::Rsa2048 => rsa(KeySize::Rsa2048),
            KeyAlgorithm::Rsa3072 => rsa(KeySize::Rsa3072),
            KeyAlgorithm::Rsa4096 => rsa(KeySize::Rsa4096),
            KeyAlgorithm::EcdsaP256 => ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING),
            KeyAlgorithm::EcdsaP384 => ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING),
            KeyAlgorithm::Ed25519 => Ed25519KeyPair::generate().map(Self::Ed25519),
        }
        .map_err(|_| Error::Crypto { step: "generate a key" })
    }

    fn parse(der: &[u8]) -> Result<Self, Error> {
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8(der) {
            return Ok(Self::Ed25519(pair));
        }
        for (curve, algorithm) in [
            (&ECDSA_P256_SHA256_ASN1_SIGNING, KeyAlgorithm::EcdsaP256),
            (&ECDSA_P384_SHA384_ASN1_SIGNING, KeyAlgorithm::EcdsaP384),
        ] {
            if let Ok(pair) = EcdsaKeyPair::from_private_key_der(curve, der) {
                return Ok(Self::Ecdsa(pair, algorithm));
            }
        }
        let pair = RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der)).map_err(|_| Error::BadKey {
            reason: "it is none of RSA (2048 bits or more), ECDSA P-256, ECDSA P-384, Ed25519, or it is damaged",
        })?;
        let algorithm = match pair.public_modulus_len() * 8 {
            2048 => KeyAlgorithm::Rsa2048,
            3072 => KeyAlgorithm::Rsa3072,
            4096 => KeyAlgorithm::Rsa4096,
            _ => return Err(Error::BadKey { reason: "RSA keys have 2048, 3072 or 4096 bits here, not this size" }),
        };
        Ok(Self::Rsa(pair, algorithm))
    }

    fn into_private_key(self) -> Result<PrivateKey, Error> {
        // Each document wipes itself; the copy is made into a buffer of its exact size.
        let copy = |der: &[u8]| Zeroizing::new(der.to_vec());
        let (der, algorithm) = match &self {
            Self::Rsa(pair, algorithm) => (pair.as_der().map(|der| copy(der.as_ref())), *algorithm),
            Self::Ecdsa(pair, algorithm) => (pair.to_pkcs8v1().map(|der| copy(der.as_ref())), *algorithm),
            Self::Ed25519(pair) => (pair.to_pkcs8v1().map(|der| copy(der.as_ref())), KeyAlgorithm::Ed25519),
        };
        let der = der.map_err(|_| Error::Crypto { step: "encode the key" })?;
        Ok(PrivateKey { der, algorithm, spki: self.subject_public_key_info() })
    }
}

impl PublicKeyData for KeyPair {
    fn der_bytes(&self) -> &[u8] {
        match self {
            Self::Rsa(pair, _) => pair.public_key().as_ref(),
            Self::Ecdsa(pair, _) => pair.public_key().as_ref(),
            Self::Ed25519(pair) => pair.public_key().as_ref(),
        }
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        match self {
            Self::Rsa(..) => &rcgen::PKCS_RSA_SHA256,
            Self::Ecdsa(_, KeyAlgorithm::EcdsaP384) => &rcgen::PKCS_ECDSA_P384_SHA384,
            Self::Ecdsa(..) => &rcgen::PKCS_ECDSA_P256_SHA256,
            Self::Ed25519(_) => &rcgen::PKCS_ED25519,
        }
    }
}

impl SigningKey for KeyPair {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(pair, _) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map(|()| signature)
            }
            Self::Ecdsa(pair, _) => pair.sign(&random, message).map(|signature| signature.as_ref().to_vec()),
            Self::Ed25519(pair) => pair.try_sign(message).map(|signature| signature.as_ref().to_vec()),
        }
        .map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zeroizing(der: &[u8]) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(der.to_vec())
    }

    #[test]
    fn words_are_read_back_and_others_refused() {
        for algorithm in KeyAlgorithm::ALL {
            assert_eq!(algorithm.to_string().parse::<KeyAlgorithm>().unwrap(), algorithm);
        }
        for word in ["", "rsa", "RSA-2048", "rsa-1024", "p256", "ecdsa-p521", " ed25519"] {
            assert!(matches!(word.parse::<KeyAlgorithm>(), Err(Error::UnknownKeyAlgorithm { given }) if given == word));
        }
    }

    #[test]
    fn a_key_read_back_is_the_same_key_with_the_same_bytes() {
        for algorithm in KeyAlgorithm::ALL {
            let key = PrivateKey::generate(algorithm).unwrap();
            let read = PrivateKey::from_pkcs8_der(zeroizing(key.expose_der())).unwrap();
            assert_eq!((key.algorithm(), read.algorithm()), (algorithm, algorithm));
            assert_eq!(key.expose_der(), read.expose_der());
            assert_eq!(key.spki_der(), read.spki_der());
            assert_eq!(key.spki_pin(), read.spki_pin());
        }
    }

    #[test]
    fn every_key_fits_a_windows_credential() {
        for algorithm in KeyAlgorithm::ALL {
            let size = PrivateKey::generate(algorithm).unwrap().expose_der().len();
            assert!(size < 2560, "{algorithm} takes {size} octets");
        }
    }

    #[test]
    fn two_keys_differ() {
        let [a, b] = [(); 2].map(|()| PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap());
        assert_ne!(a.expose_der(), b.expose_der());
        assert_ne!(a.spki_pin(), b.spki_pin());
    }

    #[test]
    fn an_ed25519_key_of_version_2_becomes_version_1() {
        let pair = Ed25519KeyPair::generate().unwrap();
        let version_2 = pair.to_pkcs8().unwrap();
        let key = PrivateKey::from_pkcs8_der(zeroizing(version_2.as_ref())).unwrap();
        assert_eq!((version_2.as_ref().len(), key.expose_der().len()), (83, 48));
        assert_eq!(key.der_version(), 0, "version 1 is written as 0");
    }

    #[test]
    fn refuses_what_is_no_key() {
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let whole = key.expose_der();
        for der in [&[][..], b"-----BEGIN PRIVATE KEY-----", &whole[..whole.len() - 1], key.spki_der(), &[0x30; 70]] {
            let refused = PrivateKey::from_pkcs8_der(zeroizing(der));
            assert!(matches!(refused, Err(Error::BadKey { .. })), "{refused:?}");
        }
    }

    #[test]
    fn debug_shows_nothing_of_the_key() {
        let key = PrivateKey::generate(KeyAlgorithm::Ed25519).unwrap();
        assert_eq!(format!("{key:?} {key:#?}"), "PrivateKey(***) PrivateKey(***)");
    }

    impl PrivateKey {
        /// The INTEGER that follows the header of a short SEQUENCE.
        fn der_version(&self) -> u8 {
            assert_eq!(self.der[2..4], [0x02, 0x01]);
            self.der[4]
        }
    }
}
