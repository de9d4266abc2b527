//! SHA-256 of a certificate, and of a public key.

use std::{fmt, str::FromStr};

use aws_lc_rs::digest::{SHA256, digest};
use base64ct::{Base64, Encoding};

use super::{Error, inspect};

/// What curl writes before the hash (`--pinnedpubkey`).
const PIN_PREFIX: &str = "sha256//";

/// SHA-256 of a certificate's DER; prints as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of these bytes.
    #[must_use]
    pub fn of(der: &[u8]) -> Self {
        Self(sha256(der))
    }

    /// The hash itself.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// Reads 64 hex digits of either case, alone or with a colon after every second one.
impl FromStr for Fingerprint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = || Error::BadFingerprint { expected: "SHA-256 fingerprint in hex", given: text.to_owned() };
        let step = match text.len() {
            64 => 2,
            95 if text.bytes().skip(2).step_by(3).all(|byte| byte == b':') => 3,
            _ => return Err(bad()),
        };
        let mut octets = [0; 32];
        for (octet, digits) in octets.iter_mut().zip(text.as_bytes().chunks(step)) {
            let digit = |at: usize| char::from(digits[at]).to_digit(16);
            let (Some(high), Some(low)) = (digit(0), digit(1)) else { return Err(bad()) };
            *octet = u8::try_from(high * 16 + low).map_err(|_| bad())?;
        }
        Ok(Self(octets))
    }
}

/// SHA-256 of a `SubjectPublicKeyInfo`; prints as curl's `sha256//BASE64=`
/// (alternate form `{:#}`: base64 only).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpkiPin([u8; 32]);

impl SpkiPin {
    /// The pin of a DER `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn of_spki(spki_der: &[u8]) -> Self {
        Self(sha256(spki_der))
    }

    /// The pin of the key in a DER certificate.
    ///
    /// # Errors
    /// [`Error::BadCertificate`] as [`inspect`] reports it.
    pub fn of_certificate(der: &[u8]) -> Result<Self, Error> {
        inspect(der).map(|facts| facts.spki_pin)
    }

    /// The hash in base64 without a prefix, as JSON documents show it.
    #[must_use]
    pub fn to_base64(&self) -> String {
        Base64::encode_string(&self.0)
    }
}

impl fmt::Display for SpkiPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !f.alternate() {
            f.write_str(PIN_PREFIX)?;
        }
        f.write_str(&self.to_base64())
    }
}

impl fmt::Debug for SpkiPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpkiPin({self})")
    }
}

/// Reads curl's form only: `sha256//` and 44 characters of padded base64.
impl FromStr for SpkiPin {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut octets = [0; 32];
        let decoded = text.strip_prefix(PIN_PREFIX).and_then(|base64| Base64::decode(base64, &mut octets).ok());
        match decoded.map(<[u8]>::len) {
            Some(32) => Ok(Self(octets)),
            _ => Err(Error::BadFingerprint { expected: "pin like sha256//BASE64=", given: text.to_owned() }),
        }
    }
}

/// Lower-case hex without separators.
pub(super) fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::with_capacity(octets.len() * 2), |mut hex, octet| {
        hex.extend([octet >> 4, octet & 15].map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])));
        hex
    })
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut octets = [0; 32];
    octets.copy_from_slice(digest(&SHA256, bytes).as_ref());
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    // SHA-256 of the empty input, from FIPS 180-4's examples.
    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const PIN: &str = "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

    #[test]
    fn prints_hex_and_curls_form() {
        assert_eq!(Fingerprint::of(b"").to_string(), HEX);
        assert_eq!(format!("{:?}", Fingerprint::of(b"")), format!("Fingerprint({HEX})"));
        let pin = SpkiPin::of_spki(b"");
        assert_eq!(pin.to_string(), PIN);
        assert_eq!(format!("sha256//{pin:#}"), PIN);
        assert_eq!(format!("sha256//{}", pin.to_base64()), PIN);
        assert_eq!(format!("{pin:?}"), format!("SpkiPin({PIN})"));
    }

    #[test]
    fn reads_a_fingerprint_with_and_without_colons() {
        let pairs: Vec<&str> = (0..32).map(|at| &HEX[at * 2..at * 2 + 2]).collect();
        for text in [HEX.to_owned(), HEX.to_uppercase(), pairs.join(":"), pairs.join(":").to_uppercase()] {
            assert_eq!(text.parse::<Fingerprint>().unwrap(), Fingerprint::of(b""), "{text}");
        }
    }

    #[test]
    fn refuses_other_fingerprints() {
        let pairs: Vec<&str> = (0..32).map(|at| &HEX[at * 2..at * 2 + 2]).collect();
        for text in [
            String::new(),
            HEX[1..].to_owned(),
            format!("{HEX}0"),
            format!("{}g", &HEX[1..]),
            format!("{}é", &HEX[2..]),
            format!(" {}", &HEX[1..]),
            format!("+{}", &HEX[1..]),
            pairs.join("-"),
            format!("{}:", pairs.join(":")),
            format!("{}:{}", pairs[..16].join(":"), pairs[16..].join("")),
            PIN.to_owned(),
        ] {
            assert!(matches!(text.parse::<Fingerprint>(), Err(Error::BadFingerprint { .. })), "{text}");
        }
    }

    #[test]
    fn reads_curls_pin_and_nothing_else() {
        assert_eq!(PIN.parse::<SpkiPin>().unwrap(), SpkiPin::of_spki(b""));
        let base64 = &PIN[PIN_PREFIX.len()..];
        for text in [
            String::new(),
            "sha256//".to_owned(),
            base64.to_owned(),
            format!("sha256/{base64}"),
            format!("SHA256//{base64}"),
            format!("sha1//{base64}"),
            PIN.trim_end_matches('=').to_owned(),
            format!("{PIN} "),
            format!("{PIN};{PIN}"),
            format!("sha256//{HEX}"),
            "sha256//QUJD".to_owned(),
            format!("sha256//{}", base64.replace('+', "-").replace('/', "_")),
            // The last character carries two bits of nothing: only zeros are one spelling of the pin.
            format!("sha256//{}V=", &base64[..42]),
        ] {
            assert!(matches!(text.parse::<SpkiPin>(), Err(Error::BadFingerprint { .. })), "{text}");
        }
    }
}
