//! The invariants I1 to I16 as code: what must hold in a [`World`] after every
//! run of the tool, however it ended.
//!
//! Asked elsewhere: I6, one writer per site (the epoch that every commit
//! compares is not in the audit: `inventory/lock.rs`), and what a clock of
//! ours that jumps may cause (I12: the plan's own tests; here the appliance's
//! clock is the one that differs).

#![cfg_attr(not(feature = "failpoints"), allow(dead_code, reason = "some of it is for the kill tests only"))]

pub mod appliance;
pub mod files;
pub mod history;
mod status;

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet, HashSet},
    fs,
    path::PathBuf,
};

use robocred::{
    credential::{Record, State, plan::MOST_TRIES},
    inventory::{Leftover, audit},
    secrets::{SealPlaces, SealedStore, Secrets},
    session::key_in,
    simulator::Behaviours,
    x509::{self, Fingerprint},
};
use serde_json::Value;

use crate::world::{Ran, TOKEN, World, run};
use history::Told;

/// Where [`Watched`] lets the tool export to, below the home directory.
pub const EXPORT: &str = "out";

/// What the tool is run for, always for `plant/reader`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Do {
    /// `provision --export`, with the token.
    Provision,
    /// `provision --ingest --export`, with the token.
    ProvisionAndRead,
    /// `rotate`, with the token.
    Rotate,
    /// `rotate --force`, with the token.
    RotateNow,
    /// `retire -n`, with the token.
    Retire,
    /// `rollback`.
    RollBack,
    /// `export --confirm`.
    Confirm,
    /// `import` of what [`Watched::loses_its_state`] left.
    Import,
    /// `verify`.
    Verify,
    /// `ingest` of the assets, of which one file is kept.
    Ingest,
}

impl Do {
    fn arguments(self, world: &World) -> Vec<String> {
        let fixed: &[&str] = match self {
            Self::Provision | Self::ProvisionAndRead => {
                let mut arguments = world.provision_arguments();
                arguments.extend(["--export", EXPORT].map(str::to_owned));
                arguments.extend((self == Self::ProvisionAndRead).then(|| "--ingest".to_owned()));
                return arguments;
            }
            Self::Rotate => &["rotate", "plant/reader", "--token-stdin"],
            Self::RotateNow => &["rotate", "plant/reader", "--force", "--token-stdin"],
            Self::Retire => &["retire", "plant/reader", "-n", "--token-stdin"],
            Self::RollBack => &["rollback", "plant/reader"],
            Self::Confirm => &["export", "plant/reader", "--confirm"],
            Self::Import => &["import", "plant/reader", "--key", "kept/combined.pem", "--cert", "kept/combined.pem"],
            Self::Verify => &["verify", "plant/reader"],
            Self::Ingest => &["ingest", "plant/reader", "--keep", "1"],
        };
        ["--json"].iter().chain(fixed).map(|&argument| argument.to_owned()).collect()
    }

    /// A person wants a credential out of use, within its overlap too.
    fn retires(self) -> bool {
        self == Self::Retire
    }

    /// It may change nothing on the appliance.
    fn only_reads(self) -> bool {
        matches!(self, Self::RollBack | Self::Confirm | Self::Import | Self::Verify | Self::Ingest)
    }
}

/// What the inventory holds after a run.
struct Held {
    records: Vec<Record>,
    leftovers: Vec<Leftover>,
}

/// What stood before a run, as far as the invariants compare it with after.
struct Before {
    requests: usize,
    working: BTreeSet<u32>,
    robots: Vec<Fingerprint>,
    trusted: bool,
}

/// A world whose every run is followed by the invariants.
pub struct Watched {
    pub world: World,
    /// As configured; only the automatic end of an overlap depends on it.
    pub overlap: time::Duration,
    behaviours: Behaviours,
    told: Told,
    /// Robots that nobody here registered.
    made_elsewhere: HashSet<Fingerprint>,
    secrets: OnceCell<Secrets>,
    /// What stood before a run that is not run here.
    outside: Option<Before>,
}

impl Watched {
    /// A world in which others run the tool, watched from now on.
    pub fn new(world: World) -> Self {
        let mut watched = Self::watching(world, &Behaviours::default());
        watched.outside = Some(watched.before());
        watched
    }

    /// What must hold after a run that was not run here.
    pub fn check_outside(&mut self, what: Do, ran: &Ran) {
        let before = self.outside.take().unwrap_or_else(|| self.before());
        self.check(what, &before, ran);
        self.outside = Some(self.before());
    }

    /// A home, and an appliance that behaves so.
    pub fn of(behaviours: &Behaviours) -> Self {
        Self::with(behaviours, 20)
    }

    /// As [`Watched::of`], with as many devices.
    pub fn with(behaviours: &Behaviours, devices: usize) -> Self {
        let world = World::with(|options| {
            options.behaviours = behaviours.clone();
            options.devices = devices;
        });
        Self::watching(world, behaviours)
    }

    fn watching(world: World, behaviours: &Behaviours) -> Self {
        Self {
            world,
            outside: None,
            overlap: time::Duration::days(14),
            behaviours: behaviours.clone(),
            told: Told::default(),
            made_elsewhere: HashSet::new(),
            secrets: OnceCell::new(),
        }
    }

    /// The appliance behaves so from now on.
    pub fn appliance_becomes(&mut self, behaviours: &Behaviours) {
        self.world.simulator.set_behaviours(behaviours.clone());
        self.behaviours = behaviours.clone();
    }

    /// The appliance is repaired, and whoever runs the tool trusts its present key.
    pub fn is_repaired(&mut self) {
        self.appliance_becomes(&Behaviours::default());
        self.world.pin_anew();
    }

    /// State and store are lost; what was exported is all there is.
    pub fn loses_its_state(&mut self) {
        let kept = self.world.path("kept");
        fs::create_dir(&kept).unwrap();
        fs::copy(self.world.path(EXPORT).join("combined.pem"), kept.join("combined.pem")).unwrap();
        fs::remove_dir_all(self.world.path(EXPORT)).unwrap();
        fs::remove_dir_all(self.world.state()).unwrap();
        self.made_elsewhere.extend(self.world.simulator.robots().iter().map(|robot| robot.fingerprint));
        self.told = Told::default();
        self.secrets = OnceCell::new();
    }

    /// Runs the tool, killed at this fail point if one is named, and checks
    /// what must hold after any run.
    pub fn run(&mut self, what: Do, killed_at: Option<&str>) -> Ran {
        let before = self.before();
        let arguments = what.arguments(&self.world);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut command = self.world.command(&arguments);
        if let Some(point) = killed_at {
            command.env("ROBOCRED_KILL_AT", point);
        }
        let token = if arguments.contains(&"--token-stdin") { TOKEN } else { "" };
        let ran = run(command, token.as_bytes());
        self.check(what, &before, &ran);
        ran
    }

    fn before(&self) -> Before {
        Before {
            requests: self.world.simulator.requests().len(),
            working: self.held().map(|held| self.working(&held.records)).unwrap_or_default(),
            robots: self.world.simulator.robots().iter().map(|robot| robot.fingerprint).collect(),
            trusted: self.world.trusts_the_appliance(),
        }
    }

    /// What must hold after any run.
    fn check(&mut self, what: Do, before: &Before, ran: &Ran) {
        let world = &self.world;
        let all = world.simulator.requests();
        let requests = &all[before.requests..];
        appliance::bounded_tries_and_token(requests);
        appliance::nothing_to_a_stranger(world, before.trusted, requests);
        if what.only_reads() {
            appliance::only_read(world, &before.robots, requests);
        }
        files::no_token_anywhere(world, ran);
        files::export_is_whole_or_absent(&world.path(EXPORT));
        files::no_key_outside_store_and_export(world);
        let Some(held) = self.held() else {
            assert!(world.simulator.robots().is_empty() || !self.made_elsewhere.is_empty(), "I2: an unknown robot");
            return;
        };
        let Held { records, leftovers } = &held;
        self.no_lock_out(&before.working, records);
        self.keys_where_they_belong(records);
        appliance::only_known_robots(world, records, &self.made_elsewhere);
        files::only_known_keys(world, records);
        for record in records {
            let tries = record.attempt.as_ref().map_or(0, |attempt| attempt.tries);
            assert!(tries <= MOST_TRIES, "I7: {} was tried {tries} times", record.id);
            let left = leftovers.iter().any(|leftover| leftover.id == record.id);
            let given_up = record.state == State::Abandoned && record.attempt.is_some();
            assert_eq!(left, given_up || record.state == State::RetireManual, "I2: leftovers and {}", record.id);
            assert!(!given_up || ran.code().is_none(), "I2: a run left {} half given up", record.id);
        }
        let entries = world.runtime.block_on(world.inventory().unwrap().audit()).unwrap();
        audit::verify(&entries).unwrap();
        let clock_differs = self.behaviours.clock_ahead.abs() > 86_400;
        let by_hand = what.retires();
        let mut story =
            history::Story { overlap: self.overlap, by_hand, clock_differs, set_back: time::Duration::ZERO, records };
        self.told = story.continued(std::mem::take(&mut self.told), &entries);
        status::no_silence(&self.world, ran, records, leftovers);
    }

    /// I1: what worked before a run, or something newer, works after it.
    fn no_lock_out(&self, before: &BTreeSet<u32>, records: &[Record]) {
        let working = self.working(records);
        assert!(before.is_empty() || !working.is_empty(), "I1: {before:?} worked, and nothing does: {records:#?}");
    }

    /// I4 and I5: the key of what the appliance may know is in the store, and
    /// that of what is out of use is not.
    fn keys_where_they_belong(&self, records: &[Record]) {
        for record in records {
            let found = self.opens(record);
            match record.state {
                State::Sending | State::Registered | State::Active | State::Previous => {
                    assert!(found == Some(true), "I4: the key of {} ({}): {found:?}", record.id, record.state);
                }
                State::Retired => assert!(found.is_none(), "I5: {} is retired, and its key is there", record.id),
                State::RetireManual if record.promoted_at.is_some() => {
                    assert!(found.is_none(), "I5: {} is out of use, and its key is there", record.id);
                }
                _ => {}
            }
        }
    }

    /// The generations that were in use, that the appliance has, and whose key is there.
    fn working(&self, records: &[Record]) -> BTreeSet<u32> {
        let robots = self.world.simulator.robots();
        let listed = |record: &Record| {
            let fingerprint = record.certificate.as_ref().map(x509::Certificate::fingerprint);
            robots.iter().any(|robot| Some(robot.fingerprint) == fingerprint)
        };
        let works =
            |record: &&Record| record.promoted_at.is_some() && listed(record) && self.opens(record) == Some(true);
        records.iter().filter(works).map(|record| record.id.generation.number()).collect()
    }

    fn opens(&self, record: &Record) -> Option<bool> {
        opens_with(self.secrets.get_or_init(|| store(&self.world)), &self.world, record)
    }

    fn held(&self) -> Option<Held> {
        let inventory = self.world.inventory()?;
        Some(self.world.runtime.block_on(async {
            Held { records: inventory.all_records().await.unwrap(), leftovers: inventory.leftovers().await.unwrap() }
        }))
    }

    /// Every generation there is.
    pub fn records(&self) -> Vec<Record> {
        self.held().map(|held| held.records).unwrap_or_default()
    }

    /// The generation in use, by the inventory.
    pub fn in_use(&self) -> Option<Record> {
        self.records().into_iter().find(|record| record.state == State::Active)
    }

    /// Whether the appliance has the robot of this generation.
    pub fn has_robot(&self, record: &Record) -> bool {
        let fingerprint = record.certificate.as_ref().map(x509::Certificate::fingerprint);
        self.world.simulator.robots().iter().any(|robot| Some(robot.fingerprint) == fingerprint)
    }

    /// The fingerprint of the pair a consumer reads; `None` if there is none.
    pub fn exported(&self) -> Option<Fingerprint> {
        let dir = self.world.path(EXPORT);
        dir.join("cert.pem").exists().then(|| files::exported(&dir).1.fingerprint())
    }

    /// What must hold once a run has ended well, and that doing `again` changes nothing.
    pub fn check_done(&mut self, again: Do) {
        files::matching_pair(&self.world);
        self.running_again_changes_nothing(again);
    }

    /// I10, and with it that stored key, stored certificate and exported files agree.
    fn running_again_changes_nothing(&mut self, again: Do) {
        let before = (self.world.simulator.connections(), files::digests(&self.world), self.rows());
        let ran = self.run(again, None).expect(0);
        assert_eq!(ran.json()["results"][0]["action"], "unchanged", "I10: {ran:#?}");
        assert_eq!(self.world.simulator.connections(), before.0, "I10: a connection with nothing to do");
        assert_eq!(files::digests(&self.world), before.1, "I10: files changed");
        assert_eq!(self.rows(), before.2, "I10: rows changed");
    }

    /// Everything the inventory holds of robots, as text.
    fn rows(&self) -> String {
        let inventory = self.world.inventory().unwrap();
        self.world.runtime.block_on(async {
            let (records, leftovers) = (inventory.all_records().await.unwrap(), inventory.leftovers().await.unwrap());
            let (attention, audit) = (inventory.attention().await.unwrap(), inventory.audit().await.unwrap());
            format!("{records:#?}{leftovers:#?}{attention:#?}{audit:#?}")
        })
    }
}

/// Whether the sealed key belongs to the certificate; `None` if there is none.
#[cfg(all(target_os = "linux", feature = "simulator", feature = "test-clock"))]
pub fn opens(world: &World, record: &Record) -> Option<bool> {
    opens_with(&store(world), world, record)
}

fn opens_with(secrets: &Secrets, world: &World, record: &Record) -> Option<bool> {
    let key = world.runtime.block_on(key_in(secrets, &record.secret)).unwrap()?;
    let certificate = record.certificate.as_ref();
    Some(certificate.is_some_and(|certificate| x509::key_belongs_to(&key, certificate).is_ok()))
}

/// The sealed store of this home.
pub fn store(world: &World) -> Secrets {
    Secrets::new(SealedStore::new(SealPlaces {
        credential: None,
        key_file: None,
        passphrase_file: None,
        default_key_file: world.path(".config/robocred/seal.key"),
        secrets_dir: world.state().join("secrets"),
    }))
}

fn fingerprint_of(record: &Record) -> Option<String> {
    record.certificate.as_ref().map(|certificate| certificate.fingerprint().to_string())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A digest of each file.
type Digests = BTreeMap<PathBuf, String>;
