//! The invariants I1 to I16 as code: what must hold in a [`World`] after every
//! run of the tool, however it ended.
//!
//! Not asked here: I1 and I5 (there is no older credential to lose yet), I6
//! and I11 to I13 (they have tests of their own).

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Write as _,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use aws_lc_rs::digest::{SHA256, digest};
use robocred::{
    credential::{Record, State, plan::MOST_TRIES},
    inventory::audit,
    simulator::Request,
    x509::{self, Certificate, PrivateKey},
};
use serde_json::Value;

use crate::world::{Ran, TOKEN, World};

/// Where [`Watched`] lets the tool export to, below the home directory.
pub const EXPORT: &str = "out";

/// A world whose every run is followed by the invariants.
pub struct Watched {
    pub world: World,
    highest_generation: u32,
    requests: usize,
}

impl Watched {
    pub fn new(world: World) -> Self {
        Self { world, highest_generation: 0, requests: 0 }
    }

    /// Runs `provision --export`, killed at this fail point if one is named,
    /// and checks what must hold after any run.
    pub fn provision(&mut self, killed_at: Option<&str>) -> Ran {
        let ran = self.world.provision_with(&["--export", EXPORT], TOKEN, |command| {
            if let Some(point) = killed_at {
                command.env("ROBOCRED_KILL_AT", point);
            }
        });
        self.check(&ran);
        ran
    }

    /// What must hold after any run.
    pub fn check(&mut self, ran: &Ran) {
        let world = &self.world;
        let all = world.simulator.requests();
        let requests = &all[self.requests..];
        self.requests = all.len();
        bounded_tries_and_token(requests);
        no_token_anywhere(world, ran);
        export_is_whole_or_absent(&world.path(EXPORT));
        no_key_outside_store_and_export(world);
        let Some(inventory) = world.inventory() else {
            assert!(world.simulator.robots().is_empty(), "I2: a robot without an inventory");
            return;
        };
        let records = world.runtime.block_on(inventory.all_records()).unwrap();
        let leftovers = world.runtime.block_on(inventory.leftovers()).unwrap();
        let entries = world.runtime.block_on(inventory.audit()).unwrap();
        audit::verify(&entries).unwrap();
        only_known_robots(world, &records);
        only_known_keys(world, &records);
        for record in &records {
            let tries = record.attempt.as_ref().map_or(0, |attempt| attempt.tries);
            assert!(tries <= MOST_TRIES, "I7: {} was tried {tries} times", record.id);
            let left = leftovers.iter().any(|leftover| leftover.id == record.id);
            let given_up = record.state == State::Abandoned && record.attempt.is_some();
            assert_eq!(left, given_up || record.state == State::RetireManual, "I2: leftovers and {}", record.id);
            assert!(!given_up || ran.code().is_none(), "I2: a run left {} half given up", record.id);
        }
        let highest = records.iter().map(|record| record.id.generation.number()).max().unwrap_or(0);
        assert!(highest >= self.highest_generation, "I16: generation {highest} after {}", self.highest_generation);
        self.highest_generation = highest;
        no_silence(world, ran, &records);
    }

    /// What must hold once a run has ended well.
    pub fn check_done(&mut self) {
        matching_pair(&self.world);
        self.running_again_changes_nothing();
    }

    /// I10, and with it that stored key, stored certificate and exported files agree.
    fn running_again_changes_nothing(&mut self) {
        let before = (self.world.simulator.connections(), files(&self.world), rows(&self.world));
        let ran = self.provision(None).expect(0);
        assert_eq!(ran.json()["results"][0]["action"], "unchanged", "I10: {ran:#?}");
        assert_eq!(self.world.simulator.connections(), before.0, "I10: a connection with nothing to do");
        assert_eq!(files(&self.world), before.1, "I10: files changed");
        assert_eq!(rows(&self.world), before.2, "I10: rows changed");
    }
}

/// I2: every robot on the appliance is named by the inventory and by `status`.
fn only_known_robots(world: &World, records: &[Record]) {
    let status = world.status();
    let mut named = HashSet::from([text(&status["fingerprint_sha256"])]);
    for list in ["previous", "leftovers"] {
        named.extend(status[list].as_array().unwrap().iter().map(|entry| text(&entry["fingerprint_sha256"])));
    }
    for robot in world.simulator.robots() {
        let fingerprint = robot.fingerprint.to_string();
        assert!(named.contains(&fingerprint), "I2: status does not name {robot:?}: {status:#}");
        let known = records.iter().any(|record| {
            record.attempt.is_some() && certificate_text(record).as_deref() == Some(fingerprint.as_str())
        });
        assert!(known, "I2: no row with an attempt names {robot:?}");
    }
}

/// I3: every sealed file is the slot of a row.
fn only_known_keys(world: &World, records: &[Record]) {
    let slots: HashSet<String> = records
        .iter()
        .map(|record| hex(digest(&SHA256, record.secret.as_str().as_bytes()).as_ref()) + ".sealed")
        .collect();
    let sealed = world.files().into_iter().filter(|path| path.extension().is_some_and(|end| end == "sealed"));
    for path in sealed {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(slots.contains(&name), "I3: no row names {}", path.display());
    }
}

/// I4: what was exported is a pair, and the one that is stored and registered.
fn matching_pair(world: &World) {
    let (key, certificate) = exported(&world.path(EXPORT));
    x509::key_belongs_to(&key, &certificate).expect("I4: exported key and certificate");
    let fingerprint = certificate.fingerprint();
    let status = world.status();
    assert_eq!(status["state"], "active", "I4: {status:#}");
    assert_eq!(status["fingerprint_sha256"], fingerprint.to_string(), "I4: exported and stored");
    let robots = world.simulator.robots();
    let ours = robots.iter().filter(|robot| robot.fingerprint == fingerprint).count();
    assert_eq!(ours, 1, "I4, I7: {fingerprint} among {robots:?}");
    let leftovers = status["leftovers"].as_array().unwrap().len();
    assert!(robots.len() <= 1 + leftovers, "I7: {robots:?}, and leftovers {:#}", status["leftovers"]);
}

/// I7 and I8 for the requests of one run: few tries, and the token on one path only.
fn bounded_tries_and_token(requests: &[Request]) {
    let posts = requests.iter().filter(|request| request.method == "POST" && request.path == "/v1/robots").count();
    let lists = requests.iter().filter(|request| request.method == "GET" && request.path == "/v1/robots").count();
    let bearers = requests.iter().filter(|request| request.bearer).count();
    // A name that had to be given up is followed by the next one while the run's patience lasts.
    assert!(posts <= 2 * MOST_TRIES as usize, "I7: {posts} registrations in one run");
    assert!(lists <= 3, "I8: {lists} lists in one run");
    assert_eq!(bearers, posts + lists, "I8: the token was sent elsewhere: {requests:#?}");
}

/// I8: the token is in no file and in nothing that was printed.
fn no_token_anywhere(world: &World, ran: &Ran) {
    assert!(!ran.stdout.contains(TOKEN) && !ran.stderr.contains(TOKEN), "I8: printed in {ran:#?}");
    world.assert_nowhere(TOKEN.as_bytes());
}

/// I9: each name a consumer reads is absent, or the whole file of one generation.
fn export_is_whole_or_absent(dir: &Path) {
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

/// I14: a run that failed says so by its exit code and in words, and `status` says it too.
fn no_silence(world: &World, ran: &Ran, records: &[Record]) {
    let Some(code) = ran.code() else { return };
    let status = world.status();
    if code == 0 {
        assert_eq!(status["state"], "active", "I14: done, and {status:#}");
        return;
    }
    assert!((1..=12).contains(&code), "I14: exit code {code}");
    let result = &ran.json()["results"][0];
    assert_eq!(result["error"]["exit_code"], code, "I14: {result:#}");
    assert!(!text(&result["error"]["message"]).is_empty(), "I14: {result:#}");
    let active = records.iter().any(|record| record.state == State::Active);
    assert_eq!(status["state"] == "active", active, "I14: failed, and {status:#}");
    let words = world.run(&["status"]).expect(0).stdout;
    assert!(words.contains("plant/reader") && words.contains(status["state"].as_str().unwrap()), "I14: {words}");
}

/// I15: no private key in clear, in any of its forms, but in the exported files.
fn no_key_outside_store_and_export(world: &World) {
    let export = world.path(EXPORT);
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
    for path in world.files().into_iter().filter(|path| !path.starts_with(&export)) {
        let content = fs::read(&path).unwrap();
        for needle in &needles {
            let found = content.windows(needle.len()).any(|window| window == needle);
            assert!(!found, "I15: key bytes in {}", path.display());
        }
    }
}

/// The pair in a directory a consumer reads.
fn exported(dir: &Path) -> (PrivateKey, Certificate) {
    let read = |name: &str| fs::read(dir.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let key = x509::private_key_from_pem(&read("key.pem")).unwrap();
    (key, x509::certificate_from_pem(&read("cert.pem")).unwrap())
}

/// A digest of every file but the inventory's own, whose lock is numbered anew by every run.
fn files(world: &World) -> BTreeMap<PathBuf, String> {
    let own = world.state().join("inventory.db");
    let files = world.files().into_iter().filter(|path| !path.to_string_lossy().starts_with(&*own.to_string_lossy()));
    files.map(|path| (path.clone(), hex(digest(&SHA256, &fs::read(&path).unwrap()).as_ref()))).collect()
}

/// Everything the inventory holds of robots, as text.
fn rows(world: &World) -> String {
    let inventory = world.inventory().unwrap();
    world.runtime.block_on(async {
        let (records, leftovers) = (inventory.all_records().await.unwrap(), inventory.leftovers().await.unwrap());
        let (attention, audit) = (inventory.attention().await.unwrap(), inventory.audit().await.unwrap());
        format!("{records:#?}{leftovers:#?}{attention:#?}{audit:#?}")
    })
}

fn certificate_text(record: &Record) -> Option<String> {
    record.certificate.as_ref().map(|certificate| certificate.fingerprint().to_string())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
