//! What is on the disk after a run: I3, I4, I8, I9, I15.

use std::{collections::HashSet, fmt::Write as _, fs, io::ErrorKind, path::Path};

use aws_lc_rs::digest::{SHA256, digest};
use robocred::{
    credential::{Record, SecretRef},
    x509::{self, Certificate, PrivateKey},
};

use super::{Digests, EXPORT};
use crate::world::{Ran, TOKEN, World};

/// I3: every sealed file is the slot of a row.
pub fn only_known_keys(world: &World, records: &[Record]) {
    only_known_secrets(world, records.iter().map(|record| &record.secret));
}

/// I3: every sealed file is one of these slots.
pub fn only_known_secrets<'a>(world: &World, slots: impl Iterator<Item = &'a SecretRef>) {
    let slots: HashSet<String> =
        slots.map(|slot| hex(digest(&SHA256, slot.as_str().as_bytes()).as_ref()) + ".sealed").collect();
    let sealed = world.files().into_iter().filter(|path| path.extension().is_some_and(|end| end == "sealed"));
    for path in sealed {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(slots.contains(&name), "I3: no row names {}", path.display());
    }
}

/// I4: what was exported is a pair, and the one that is stored and registered.
pub fn matching_pair(world: &World) {
    let (key, certificate) = exported(&world.path(EXPORT));
    x509::key_belongs_to(&key, &certificate).expect("I4: exported key and certificate");
    let fingerprint = certificate.fingerprint();
    let status = world.status();
    assert_eq!(status["state"], "active", "I4: {status:#}");
    assert_eq!(status["fingerprint_sha256"], fingerprint.to_string(), "I4: exported and stored");
    let robots = world.simulator.robots();
    let ours = robots.iter().filter(|robot| robot.fingerprint == fingerprint).count();
    assert_eq!(ours, 1, "I4, I7: {fingerprint} among {robots:?}");
    let beside = ["previous", "leftovers"].map(|list| status[list].as_array().unwrap().len());
    assert!(robots.len() <= 1 + beside.iter().sum::<usize>(), "I7: {robots:?} for {status:#}");
}

/// I8: the token is in no file and in nothing that was printed.
pub fn no_token_anywhere(world: &World, ran: &Ran) {
    assert!(!ran.stdout.contains(TOKEN) && !ran.stderr.contains(TOKEN), "I8: printed in {ran:#?}");
    world.assert_nowhere(TOKEN.as_bytes());
}

/// I9: each name a consumer reads is absent, or the whole file of one generation.
pub fn export_is_whole_or_absent(dir: &Path) {
    let read = |name: &str| match fs::read(dir.join(name)) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => panic!("I9: {name}: {error}"),
    };
    let key = read("key.pem");
    let certificate = read("cert.pem");
    if key.is_some() || certificate.is_some() {
        let (current_key, current_certificate) = exported(&dir.join("current"));
        x509::key_belongs_to(&current_key, &current_certificate).expect("I9: a mixed pair");
    }
    if let Some(combined) = read("combined.pem") {
        let parts = [key.expect("I9: combined without key"), certificate.expect("I9: combined without certificate")];
        let whole = parts.concat() == combined || [&parts[1][..], &parts[0][..]].concat() == combined;
        assert!(whole, "I9: combined.pem is not its two parts");
    }
}

/// I15: no private key in clear, in any of its forms, but in the files of a
/// person and of the export.
pub fn no_key_outside_store_and_export(world: &World) {
    let (export, kept) = (world.path(EXPORT), world.path("kept"));
    let mut needles = vec![b"PRIVATE KEY".to_vec()];
    for entry in fs::read_dir(&export).into_iter().flatten() {
        let Ok(pem) = fs::read(entry.unwrap().path().join("key.pem")) else { continue };
        let der = x509::private_key_from_pem(&pem).unwrap().expose_der().to_vec();
        // PKCS#8 of an EC key: the scalar is the octet string of 32.
        let scalar = der.windows(2).position(|window| window == [0x04, 0x20]).map(|at| der[at + 2..at + 34].to_vec());
        needles.extend(scalar);
        let body = String::from_utf8(pem).unwrap();
        needles.push(body.lines().nth(1).unwrap().as_bytes().to_vec());
        needles.push(der);
    }
    let ours = |path: &std::path::PathBuf| !path.starts_with(&export) && !path.starts_with(&kept);
    for path in world.files().into_iter().filter(ours) {
        let content = fs::read(&path).unwrap();
        for needle in &needles {
            let found = content.windows(needle.len()).any(|window| window == needle);
            assert!(!found, "I15: key bytes in {}", path.display());
        }
    }
}

/// The pair in a directory a consumer reads.
pub fn exported(dir: &Path) -> (PrivateKey, Certificate) {
    let read = |name: &str| fs::read(dir.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let key = x509::private_key_from_pem(&read("key.pem")).unwrap();
    (key, x509::certificate_from_pem(&read("cert.pem")).unwrap())
}

/// A digest of every file but the inventory's own, whose lock is numbered anew by every run.
pub fn digests(world: &World) -> Digests {
    let own = world.state().join("inventory.db");
    let files = world.files().into_iter().filter(|path| !path.to_string_lossy().starts_with(&*own.to_string_lossy()));
    files.map(|path| (path.clone(), hex(digest(&SHA256, &fs::read(&path).unwrap()).as_ref()))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
