//! What stays of a private key in this process's memory: nothing. Linux only.
#![cfg(target_os = "linux")]

use robocred::{
    clock::{Clock, SystemClock},
    x509::{Certificate, KeyAlgorithm, PrivateKey, Profile, Validity, private_key_to_pem},
};
use zeroize::Zeroize;

use crate::scan::memory;

/// Bytes to look for, kept in a disguise so that the search does not find itself.
struct Pattern(Vec<u8>);

const DISGUISE: u8 = 0xa5;

impl Pattern {
    fn new<'a>(bytes: impl Iterator<Item = &'a u8>) -> Self {
        Self(bytes.map(|byte| byte ^ DISGUISE).collect())
    }

    /// Secret octets of the key as they stand in its DER.
    fn of(key: &PrivateKey) -> Self {
        let der = key.expose_der();
        let secret = match key.algorithm() {
            // ECPrivateKey's 32 octets begin after 36 of headers (RFC 5915).
            KeyAlgorithm::EcdsaP256 => &der[36..68],
            // An RSA key ends with its CRT coefficient, an Ed25519 key with its seed.
            _ => &der[der.len() - 32..],
        };
        Self::new(secret.iter())
    }

    /// The same as a little-endian number, the crypto library's form.
    fn reversed(&self) -> Self {
        Self(self.0.iter().rev().copied().collect())
    }
}

/// How often each pattern stands in this process's writable memory.
fn count(patterns: &[Pattern]) -> Vec<usize> {
    let mut begins = [false; 256];
    for pattern in patterns {
        begins[usize::from(pattern.0[0] ^ DISGUISE)] = true;
    }
    let mut found = vec![0; patterns.len()];
    memory("self", "rw", |bytes| {
        for at in (0..bytes.len()).filter(|at| begins[usize::from(bytes[*at])]) {
            for (pattern, found) in patterns.iter().zip(&mut found) {
                let stands = bytes[at..].iter().map(|byte| byte ^ DISGUISE);
                *found += usize::from(stands.take(pattern.0.len()).eq(pattern.0.iter().copied()));
            }
        }
        bytes.zeroize();
    });
    found
}

#[test]
fn nothing_of_a_key_is_left_when_it_is_dropped() {
    let mut held = Vec::new();
    let mut patterns = Vec::new();
    for algorithm in [KeyAlgorithm::Rsa2048, KeyAlgorithm::EcdsaP256, KeyAlgorithm::Ed25519] {
        let key = PrivateKey::generate(algorithm).unwrap();
        let validity = Validity::of_days(SystemClock.now(), 365).unwrap();
        Certificate::self_signed(&key, "robot", validity, Profile::Client).unwrap();
        let pem = private_key_to_pem(&key).unwrap();
        let plain = Pattern::of(&key);
        patterns.extend([plain.reversed(), Pattern::new(pem.lines().rev().nth(1).unwrap().as_bytes().iter()), plain]);
        held.push((key, pem));
    }
    let numbers_texts_octets = count(&patterns);
    let shown = numbers_texts_octets.chunks(3).all(|key| key[1] >= 1 && key[2] >= 1);
    assert!(shown, "the search does not find what is there: {numbers_texts_octets:?}");
    drop(held);
    assert_eq!(count(&patterns), [0; 9], "as a number, as PEM, as octets; RSA, ECDSA, Ed25519");
}
