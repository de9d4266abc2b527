//! The world of one history: an appliance on the loopback interface, a state
//! directory, a secret store that outlives every kill, and the time.
//!
//! Time is the runtime's own, paused: while everything waits, it jumps to the
//! end of the next wait. So the pauses of the procedure after a lost answer
//! and the time limits of a silent appliance are as long as they are, and cost
//! nothing. One thread runs both sides.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use robocred::{
    appliance::SupportToken,
    clock::{Clock, SystemClock},
    credential::{CredentialId, Delivery, Record, SecretRef, State, plan::Aim},
    inventory::{Attention, Inventory, NewRobot, Origin, audit::Entry},
    lifecycle::{self, Drive, GivenToken, Outcome},
    secrets::{self, SecretStore, Secrets},
    session::Session,
    simulator::{self, Backup, Behaviours, Fault, Options, Simulator},
    site::{ExportTarget, Hooks, Registrar, Robot, RobotId, Role, Site, StoreKind, TrustPolicy},
    verify::{self, ControlUse},
    x509::{KeyAlgorithm, Profile},
};
use time::{Duration, OffsetDateTime, macros::datetime};
use tokio::{runtime::Runtime, time::Instant};
use zeroize::Zeroizing;

use super::{
    kill::Kill,
    operations::{Command, History, LAST, Operation, Token},
};
use crate::world::TOKEN;

/// When every history begins.
const BEGINNING: OffsetDateTime = datetime!(2026-11-22 12:00 UTC);

/// This machine's clock.
struct Hands {
    set_to: Mutex<(OffsetDateTime, Instant)>,
    kill: Kill,
}

impl Clock for Hands {
    fn now(&self) -> OffsetDateTime {
        self.kill.point("the clock");
        let (time, since) = *self.set_to.lock().unwrap();
        time + since.elapsed()
    }
}

/// The operating system's keyring: what is in it stays when a run is killed.
#[derive(Clone, Default)]
pub struct Keyring {
    held: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    locked: Arc<AtomicBool>,
    kill: Kill,
}

impl Keyring {
    fn call<T>(&self, name: &str, work: impl FnOnce(&mut BTreeMap<String, Vec<u8>>) -> T) -> Result<T, secrets::Error> {
        self.kill.point(&format!("before the store's {name}"));
        if self.locked.load(Ordering::SeqCst) {
            return Err(secrets::Error::Locked);
        }
        let done = work(&mut self.held.lock().unwrap());
        self.kill.point(&format!("after the store's {name}"));
        Ok(done)
    }

    pub fn held(&self) -> BTreeMap<String, Vec<u8>> {
        self.held.lock().unwrap().clone()
    }
}

impl SecretStore for Keyring {
    fn kind(&self) -> StoreKind {
        StoreKind::Keyring
    }

    fn put(&self, slot: &SecretRef, _label: &str, secret: &[u8]) -> Result<(), secrets::Error> {
        self.call("put", |held| drop(held.insert(slot.to_string(), secret.to_vec())))
    }

    fn read(&self, slot: &SecretRef) -> Result<Zeroizing<Vec<u8>>, secrets::Error> {
        let found = self.call("read", |held| held.get(slot.as_str()).cloned())?;
        found.map(Zeroizing::new).ok_or_else(|| secrets::Error::NotFound { slot: slot.clone() })
    }

    fn remove(&self, slot: &SecretRef) -> Result<(), secrets::Error> {
        self.call("remove", |held| drop(held.remove(slot.as_str())))
    }
}

/// How a command ended.
#[derive(Debug)]
pub enum Ended {
    Done(Option<Box<Outcome>>),
    Failed(lifecycle::Error),
    /// At this point.
    Killed(String),
}

/// What the inventory holds.
#[derive(Debug, Default)]
pub struct Rows {
    pub records: Vec<Record>,
    pub leftovers: Vec<CredentialId>,
    pub attention: Vec<Attention>,
    pub audit: Vec<Entry>,
}

pub struct Plant {
    pub simulator: Simulator,
    pub keyring: Keyring,
    pub robot: Robot,
    /// After each operation.
    backups: Vec<Backup>,
    /// Robots that an appliance restored from a backup may have again.
    pub returned: Vec<String>,
    pub behaviours: Behaviours,
    pub faults: bool,
    pub skew: Duration,
    hands: Hands,
    site: Site,
    id: RobotId,
    kill: Kill,
    dir: tempfile::TempDir,
    runtime: Runtime,
}

/// One of them by a number that may be larger than there are.
fn one_of<T>(of: &[T], which: u32) -> Option<&T> {
    if which == LAST { of.last() } else { of.get(which as usize % of.len().max(1)) }
}

impl Plant {
    pub fn new(history: &History) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let options = Options { token: TOKEN.to_owned(), devices: 3, ..Options::default() };
        let simulator = runtime.block_on(simulator::start(options)).unwrap();
        // A commit waits for the disk, and 10,000 histories for a million commits.
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let id: RobotId = "plant/reader".parse().unwrap();
        let out = dir.path().canonicalize().unwrap().join("out");
        let robot = Robot {
            name: id.robot.clone(),
            role: if history.admin { Role::Admin } else { Role::Reader },
            key_algorithm: KeyAlgorithm::EcdsaP256,
            days: history.days,
            profile: Profile::Client,
            renewal: robocred::renewal::RenewalPolicy::default(),
            token_lead: Duration::days(1),
            overlap: history.overlap,
            export: history.export.then_some(ExportTarget { dir: out, mode: 0o600, group: None }),
            ingest: None,
            hooks: Hooks::default(),
        };
        let site = Site {
            name: id.site.clone(),
            endpoint: simulator.url().parse().unwrap(),
            trust: Some(TrustPolicy::Pins(vec![simulator.pin()])),
            registrar: if history.admin { Registrar::Robot(id.robot.clone()) } else { Registrar::Token },
            proxy: None,
            em: None,
            robots: vec![robot.clone()],
        };
        let kill = Kill::default();
        let since = runtime.block_on(async { Instant::now() });
        Self {
            simulator,
            keyring: Keyring { kill: kill.clone(), ..Keyring::default() },
            robot,
            backups: Vec::new(),
            returned: Vec::new(),
            behaviours: Behaviours::default(),
            faults: false,
            skew: Duration::ZERO,
            hands: Hands { set_to: Mutex::new((BEGINNING, since)), kill: kill.clone() },
            site,
            id,
            kill,
            dir,
            runtime,
        }
    }

    pub fn now(&self) -> OffsetDateTime {
        let _in_its_time = self.runtime.enter();
        self.hands.now()
    }

    /// The appliance's time, as it was set when the last command began.
    pub fn their_now(&self) -> OffsetDateTime {
        self.now() + self.skew
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// What happens outside the tool.
    pub fn suffer(&mut self, operation: &Operation) {
        match operation {
            Operation::Run(..) => {}
            Operation::Behave(behaviours) => {
                self.behaviours = (**behaviours).clone();
                self.simulator.set_behaviours(self.behaviours.clone());
            }
            Operation::Fault(path, nth, kind) => {
                self.faults = true;
                let path = path.map(str::to_owned);
                self.simulator.inject(Fault { path, nth: *nth, kind: kind.clone() });
            }
            Operation::Pass(by) => self.hands.set_to.lock().unwrap().0 += *by,
            Operation::Skew(by) => self.skew = *by,
            Operation::Restore(which) => {
                if let Some(backup) = one_of(&self.backups, *which) {
                    let there = self.simulator.robots();
                    self.simulator.restore(backup);
                    let back = self.simulator.robots().into_iter().filter(|robot| !there.contains(robot));
                    self.returned.extend(back.map(|robot| robot.id));
                }
            }
            Operation::Reboot(down) => self.runtime.block_on(self.simulator.reboot(*down)),
            Operation::ServerKey => self.simulator.replace_server_key().unwrap(),
            Operation::Pin => self.site.trust = Some(TrustPolicy::Pins(vec![self.simulator.pin()])),
            Operation::LoseKey(which) => {
                let mut held = self.keyring.held.lock().unwrap();
                let slots: Vec<String> = held.keys().cloned().collect();
                one_of(&slots, *which).map(|slot| held.remove(slot));
            }
            Operation::Store(works) => self.keyring.locked.store(!works, Ordering::SeqCst),
            Operation::Hook(configured) => {
                self.robot.hooks.deploy = configured.then(|| vec!["not-an-absolute-path".to_owned()]);
            }
        }
    }

    /// Everything that a person can put right is right, from the latest time on that there ever was.
    pub fn repair(&mut self, latest: OffsetDateTime) {
        self.simulator.clear_faults();
        self.faults = false;
        for operation in [
            Operation::Behave(Box::default()),
            Operation::Skew(Duration::ZERO),
            Operation::Pin,
            Operation::Store(true),
            Operation::Hook(false),
        ] {
            self.suffer(&operation);
        }
        let behind = latest - self.now();
        self.suffer(&Operation::Pass(behind.max(Duration::ZERO)));
    }

    /// One process: everything opened anew, and gone at its end or at its kill.
    pub fn run(&mut self, command: Command, kill: Option<u32>) -> Ended {
        let ahead = self.now() + self.skew - SystemClock.now();
        self.simulator.set_clock_ahead(ahead.whole_seconds());
        let ended = self.kill.over(kill, || self.runtime.block_on(self.obey(command)));
        self.backups.push(self.simulator.backup());
        match ended {
            Ok(Ok(outcome)) => Ended::Done(outcome.map(Box::new)),
            Ok(Err(error)) => Ended::Failed(error),
            Err(point) => Ended::Killed(point),
        }
    }

    async fn obey(&self, command: Command) -> Result<Option<Outcome>, lifecycle::Error> {
        let clock: &dyn Clock = &self.hands;
        let inventory = Inventory::open(&self.state(), "history", clock.now()).await?;
        // Without waiting: whoever ended, or was killed, holds nothing, also while another test starts a process.
        let lock = inventory.lock_site(&self.id.site, None, clock.now()).await?;
        let secrets = Secrets::new(self.keyring.clone());
        let session = Session::open(&self.site, &inventory, &secrets, clock)?;
        let given = match command {
            Command::Provision(token) | Command::Rotate(_, token) | Command::TakeOut(_, _, token) => match token {
                Token::Right => Some(TOKEN),
                Token::Wrong => Some("not-the-t0ken"),
                Token::None => None,
            },
            _ => None,
        };
        let given = given.map(|text| GivenToken::new(SupportToken::parse(text.as_bytes().to_vec().into()).unwrap()));
        let (robot, id) = (&self.robot, self.id.clone());
        let drive = |aim| Drive {
            session,
            lock: &lock,
            id: id.clone(),
            robot,
            aim,
            token: given.as_ref(),
            progress: &|_| {},
            notice: &|_| {},
        };
        let records = inventory.records(&id).await?;
        let active = records.iter().find(|record| record.state == State::Active);
        match command {
            Command::Provision(_) => {
                let new = NewRobot {
                    id: id.clone(),
                    base_name: id.robot.clone(),
                    role: robot.role,
                    endpoint: self.site.endpoint.clone(),
                    origin: Origin::Provisioned,
                };
                inventory.adopt_robot(&lock, &new, clock.now()).await?;
                drive(Aim::Provision).run().await.map(Some)
            }
            Command::Rotate(urgency, _) => drive(Aim::Rotate(urgency)).run().await.map(Some),
            Command::RollBack => drive(Aim::Deliver).roll_back().await.map(Some),
            Command::TakeOut(which, last, _) => match one_of(&records, which) {
                Some(record) => {
                    let generation = record.id.generation;
                    drive(Aim::Retire { generation, last }).take_out(generation, last).await.map(Some)
                }
                None => Ok(None),
            },
            Command::Confirm => {
                if let Some(active) = active.filter(|active| active.delivery == Delivery::ByHand) {
                    lifecycle::confirm(&inventory, &lock, robot, active, clock.now()).await?;
                }
                Ok(None)
            }
            Command::Verify => {
                if let Some(active) = active {
                    let report = verify::verify(&session, active, ControlUse::Daily).await;
                    lifecycle::note(&inventory, &lock, &id, &report, clock.now()).await?;
                }
                Ok(None)
            }
            Command::RemoveByHand(which) => {
                let leftovers = inventory.leftovers().await?;
                if let Some(left) = one_of(&leftovers, which) {
                    for robot in self.simulator.robots() {
                        if Some(robot.fingerprint) == left.fingerprint {
                            self.simulator.remove_robot(&robot.id);
                        }
                    }
                    // One that is half given up has to be listed first.
                    if let Ok(record) = lifecycle::removed_by_hand(&inventory, &lock, &left.id, clock.now()).await {
                        assert_eq!(record.state, State::Retired);
                    }
                }
                Ok(None)
            }
        }
    }

    pub fn rows(&self) -> Rows {
        self.runtime.block_on(async {
            let Some(inventory) = Inventory::open_read_only(&self.state()).await.unwrap() else {
                return Rows::default();
            };
            Rows {
                records: inventory.all_records().await.unwrap(),
                leftovers: inventory.leftovers().await.unwrap().into_iter().map(|left| left.id).collect(),
                attention: inventory.attention().await.unwrap(),
                audit: inventory.audit().await.unwrap(),
            }
        })
    }
}
