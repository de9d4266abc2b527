//! The bytes of a sealed secret, described for people in docs/SEALED.md.
//!
//! Owns layout, encryption and what each kind of refusal means. Leaves out files.

use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest::{SHA256, digest},
    rand,
};
use zeroize::Zeroizing;

use super::super::{Error, LARGEST_SECRET};
use crate::credential::SecretRef;

const MAGIC: &[u8; 8] = b"RCSEALED";
pub(super) const VERSION: u8 = 1;
const KEY_ID_LEN: usize = 8;
const TAG_LEN: usize = 16;
/// Everything before the slot's name: magic, version, key id, the name's length.
const FIXED_LEN: usize = MAGIC.len() + 1 + KEY_ID_LEN + 2;
/// No sealed file is longer than this.
pub(super) const LARGEST_FILE: usize = FIXED_LEN + u16::MAX as usize + NONCE_LEN + LARGEST_SECRET + TAG_LEN;
pub(super) const KEY_LEN: usize = 32;

/// A sealing key: 32 bytes, wiped when dropped.
pub(super) struct SealKey {
    bytes: Zeroizing<[u8; KEY_LEN]>,
    id: [u8; KEY_ID_LEN],
}

impl SealKey {
    /// `None` unless `bytes` are 32.
    pub(super) fn new(bytes: &[u8]) -> Option<Self> {
        let bytes = Zeroizing::new(<[u8; KEY_LEN]>::try_from(bytes).ok()?);
        let mut named = Zeroizing::new(b"robocred sealing key id".to_vec());
        // In one allocation, so that no copy is left behind.
        named.reserve_exact(KEY_LEN);
        named.extend_from_slice(&*bytes);
        let mut id = [0; KEY_ID_LEN];
        id.copy_from_slice(&digest(&SHA256, &named).as_ref()[..KEY_ID_LEN]);
        Some(Self { bytes, id })
    }

    fn cipher(&self) -> Result<LessSafeKey, Error> {
        UnboundKey::new(&AES_256_GCM, &*self.bytes).map(LessSafeKey::new).map_err(failed("prepare the cipher"))
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(…)")
    }
}

/// Why sealed bytes were not opened.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// They were sealed with another key.
    WrongKey,
    /// They are of a format this version does not know.
    UnknownFormat(u8),
    /// They were changed, cut, or sealed for another slot.
    Damaged,
}

/// What stands before the encrypted part.
struct Header<'a> {
    key_id: &'a [u8],
    slot: &'a [u8],
    /// All of the header, authenticated with the secret.
    associated: &'a [u8],
    nonce: [u8; NONCE_LEN],
    encrypted: &'a [u8],
}

impl<'a> Header<'a> {
    fn parse(sealed: &'a [u8]) -> Result<Self, Refusal> {
        let rest = sealed.strip_prefix(MAGIC).ok_or(Refusal::Damaged)?;
        let (&version, rest) = rest.split_first().ok_or(Refusal::Damaged)?;
        if version != VERSION {
            return Err(Refusal::UnknownFormat(version));
        }
        let (key_id, rest) = rest.split_at_checked(KEY_ID_LEN).ok_or(Refusal::Damaged)?;
        let (length, rest) = rest.split_first_chunk::<2>().ok_or(Refusal::Damaged)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (slot, rest) = rest.split_at_checked(length).ok_or(Refusal::Damaged)?;
        let (nonce, encrypted) = rest.split_first_chunk::<NONCE_LEN>().ok_or(Refusal::Damaged)?;
        Ok(Self { key_id, slot, associated: &sealed[..FIXED_LEN + length], nonce: *nonce, encrypted })
    }
}

/// Encrypts `secret` for `slot`, under a fresh random nonce.
pub(super) fn seal(key: &SealKey, slot: &SecretRef, secret: &[u8]) -> Result<Vec<u8>, Error> {
    let slot = slot.as_str().as_bytes();
    let length = u16::try_from(slot.len())
        .map_err(|_| Error::TooLong { length: slot.len(), limit: usize::from(u16::MAX) })?
        .to_be_bytes();
    let associated = [MAGIC, [VERSION].as_slice(), &key.id, &length, slot].concat();
    let mut nonce = [0; NONCE_LEN];
    random(&mut nonce)?;
    // Room for the tag from the start: growing would leave a copy of the secret behind.
    let mut encrypted = Zeroizing::new(Vec::with_capacity(secret.len() + TAG_LEN));
    encrypted.extend_from_slice(secret);
    key.cipher()?
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(&associated), &mut *encrypted)
        .map_err(failed("encrypt the secret"))?;
    Ok([associated.as_slice(), &nonce, &encrypted].concat())
}

/// Decrypts what [`seal`] made for `slot`.
pub(super) fn unseal(key: &SealKey, slot: &SecretRef, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let header = Header::parse(sealed)?;
    if header.key_id != key.id {
        return Err(Refusal::WrongKey);
    }
    if header.slot != slot.as_str().as_bytes() {
        return Err(Refusal::Damaged);
    }
    let mut secret = Zeroizing::new(header.encrypted.to_vec());
    let nonce = Nonce::assume_unique_for_key(header.nonce);
    let length = key
        .cipher()
        .map_err(|_| Refusal::Damaged)?
        .open_in_place(nonce, Aad::from(header.associated), &mut secret)
        .map_err(|_| Refusal::Damaged)?
        .len();
    secret.truncate(length);
    Ok(secret)
}

/// Whether `key` is the one these bytes were sealed with; `None` if their header does not say.
pub(super) fn sealed_with(key: &SealKey, sealed: &[u8]) -> Option<bool> {
    Header::parse(sealed).ok().map(|header| header.key_id == key.id)
}

/// SHA-256 of `text` in lower-case hex.
pub(super) fn hex_digest(text: &str) -> String {
    hex(digest(&SHA256, text.as_bytes()).as_ref())
}

/// Lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [b >> 4, b & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// Fills `bytes` from the operating system's random generator.
pub(super) fn random(bytes: &mut [u8]) -> Result<(), Error> {
    rand::fill(bytes).map_err(failed("get random bytes"))
}

fn failed(step: &'static str) -> impl Fn(aws_lc_rs::error::Unspecified) -> Error {
    move |source| Error::Failed { step, source: Box::new(source) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slot(name: &str) -> SecretRef {
        SecretRef::from_inventory(name.to_owned())
    }

    fn key(byte: u8) -> SealKey {
        SealKey::new(&[byte; KEY_LEN]).unwrap()
    }

    #[test]
    fn every_changed_bit_and_every_cut_is_refused() {
        let sealed = seal(&key(1), &slot("s/plant-a/r/g1"), b"a private key").unwrap();
        for at in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[at / 8] ^= 1 << (at % 8);
            let refusal = unseal(&key(1), &slot("s/plant-a/r/g1"), &changed).unwrap_err();
            let expected = match at / 8 {
                8 => Refusal::UnknownFormat(changed[8]),
                9..17 => Refusal::WrongKey,
                _ => Refusal::Damaged,
            };
            assert_eq!(refusal, expected, "bit {at}");
        }
        for length in 0..sealed.len() {
            assert_eq!(
                unseal(&key(1), &slot("s/plant-a/r/g1"), &sealed[..length]).unwrap_err(),
                Refusal::Damaged,
                "{length} bytes of {}",
                sealed.len()
            );
        }
    }

    #[test]
    fn another_key_and_another_slot_are_told_apart() {
        let sealed = seal(&key(1), &slot("a"), b"secret").unwrap();
        assert_eq!(unseal(&key(2), &slot("a"), &sealed).unwrap_err(), Refusal::WrongKey);
        assert_eq!(unseal(&key(1), &slot("b"), &sealed).unwrap_err(), Refusal::Damaged);
        assert_eq!(&**unseal(&key(1), &slot("a"), &sealed).unwrap(), b"secret");
    }

    #[test]
    fn a_relabelled_file_is_refused() {
        // The slot's name is authenticated, not only compared.
        let mut sealed = seal(&key(1), &slot("a"), b"secret").unwrap();
        sealed[FIXED_LEN] = b'b';
        assert_eq!(unseal(&key(1), &slot("b"), &sealed).unwrap_err(), Refusal::Damaged);
    }

    #[test]
    fn no_two_sealings_are_alike() {
        let once = || seal(&key(1), &slot("a"), b"secret").unwrap();
        assert_ne!(once(), once());
    }

    #[test]
    fn a_key_does_not_show_itself() {
        assert_eq!(format!("{:?}", key(7)), "SealKey(…)");
    }

    proptest! {
        #[test]
        fn any_secret_comes_back(secret in proptest::collection::vec(any::<u8>(), 0..3000), name in ".{0,80}") {
            let sealed = seal(&key(3), &slot(&name), &secret).unwrap();
            prop_assert_eq!(&*unseal(&key(3), &slot(&name), &sealed).unwrap(), &secret);
        }

        #[test]
        fn any_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let whole = [MAGIC, [VERSION].as_slice(), &key(1).id, &bytes].concat();
            prop_assert!(unseal(&key(1), &slot("a"), &whole).is_err());
            prop_assert!(unseal(&key(1), &slot("a"), &bytes).is_err());
        }
    }
}
