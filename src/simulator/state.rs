//! What the simulated appliance knows: robots, who a caller is, the log.
//!
//! Owns all state that changes. Leaves out how it is asked (`robots`, `rest`,
//! `graphql`), the wire (`connection`), and what readers see of changing
//! devices (`state::now`). No lock is held across an await.

mod now;

use super::{
    Accepts, Activation, Behaviours, Fault, FaultKind, Refusal, Registrar, Registration, Request, Robot, ServerKey,
    TlsOptions, devices::Plant, listing::Listings, memo::Memo, tls::ServerPair,
};
use crate::{
    clock::{Clock, SystemClock},
    x509::{Certificate, Fingerprint},
};
use http::{HeaderMap, header::AUTHORIZATION};
use std::{
    collections::HashMap,
    fmt, io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use time::OffsetDateTime;
use tokio::sync::{mpsc, oneshot};

/// A registered robot and what decides whether it is let in.
#[derive(Clone)]
pub(super) struct Record {
    pub robot: Robot,
    pub certificate_pem: String,
    pub certificate: Certificate,
    registered: Instant,
    refused: u32,
    /// Let in once and for all: what activation means later is for later robots.
    active: bool,
}

impl Record {
    fn is_active(&self, activation: Activation) -> bool {
        self.active
            || match activation {
                Activation::AtOnce => true,
                Activation::AfterRefusals(refusals) => self.refused >= refusals,
                Activation::After(wait) => self.registered.elapsed() >= wait,
            }
    }
}

struct Changing {
    behaviours: Behaviours,
    robots: Vec<Record>,
    ids_given: usize,
    log: Vec<Request>,
    faults: Vec<Fault>,
    registrations: u32,
    token_used: bool,
    pair: ServerPair,
}

/// Tells the accept loop to refuse connections for a while.
pub(super) struct Reboot {
    pub down: Duration,
    /// Told when the port is closed.
    pub closed: oneshot::Sender<()>,
    /// The open connections live until this ends.
    pub last_words_said: oneshot::Receiver<()>,
}

/// The state behind one simulator.
pub(super) struct Shared {
    plant: Plant,
    added: AtomicUsize,
    /// When devices were touched, by their number.
    touched: RwLock<HashMap<usize, i64>>,
    pub listings: Listings,
    /// Rows as they were written, by their number.
    pub rows: Memo<u32>,
    /// Bodies as they were packed, by their digest.
    pub packed: Memo<[u8; 20]>,
    /// Time spent on replies.
    pub busy_nanos: AtomicU64,
    pub latency: Duration,
    /// TCP connections accepted.
    pub connections: AtomicUsize,
    /// Pages served since the last change of behaviours.
    pages: AtomicUsize,
    /// Requests since then.
    requests: AtomicUsize,
    reboots: mpsc::UnboundedSender<Reboot>,
    token: String,
    api_key: Option<String>,
    tls: TlsOptions,
    registering: Mutex<()>,
    changing: Mutex<Changing>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("plant", &self.plant).finish_non_exhaustive()
    }
}

/// Whose request it is.
#[allow(clippy::struct_excessive_bools, reason = "a request may carry several credentials")]
#[derive(Clone, Debug, Default)]
pub(super) struct Caller {
    pub certificate: Option<Fingerprint>,
    pub robot: Option<Robot>,
    pub api_key: bool,
    /// The right key, after its end.
    pub ended_key: bool,
    pub bearer: bool,
    pub token: bool,
}

impl Caller {
    /// As the log calls it.
    pub(super) fn name(&self) -> Option<String> {
        match &self.robot {
            _ if self.token => Some("token".to_owned()),
            _ if self.api_key => Some("api-key".to_owned()),
            Some(robot) => Some(format!("robot:{}", robot.name)),
            None => None,
        }
    }
}

impl Shared {
    pub(super) fn new(options: super::Options, pair: ServerPair, reboots: mpsc::UnboundedSender<Reboot>) -> Arc<Self> {
        Arc::new(Self {
            plant: Plant { seed: options.seed, count: options.devices, added: 0, hostile: options.hostile_names },
            added: AtomicUsize::new(0),
            touched: RwLock::default(),
            listings: Listings::default(),
            rows: Memo::new(options.node_cache),
            packed: Memo::new(options.node_cache),
            busy_nanos: AtomicU64::new(0),
            latency: options.latency,
            connections: AtomicUsize::new(0),
            pages: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            reboots,
            token: options.token,
            api_key: options.api_key,
            tls: options.tls,
            registering: Mutex::new(()),
            changing: Mutex::new(Changing {
                behaviours: options.behaviours,
                robots: Vec::new(),
                ids_given: 0,
                log: Vec::new(),
                faults: Vec::new(),
                registrations: 0,
                token_used: false,
                pair,
            }),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Changing> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn behaviours(&self) -> Behaviours {
        self.lock().behaviours.clone()
    }

    pub(super) fn set_behaviours(&self, behaviours: Behaviours) {
        let mut changing = self.lock();
        changing.behaviours = behaviours;
        changing.registrations = 0;
        changing.token_used = false;
        self.pages.store(0, Ordering::Relaxed);
        self.requests.store(0, Ordering::Relaxed);
        self.rows.clear();
    }

    pub(super) fn set_clock_ahead(&self, seconds: i64) {
        self.lock().behaviours.clock_ahead = seconds;
    }

    /// The appliance's own idea of the time.
    pub(super) fn now(&self) -> OffsetDateTime {
        SystemClock.now() + time::Duration::seconds(self.lock().behaviours.clock_ahead)
    }

    /// The server pair of the moment.
    pub(super) fn pair(&self) -> ServerPair {
        self.lock().pair.clone()
    }

    /// Presents a new key to connections from now on, made as the first one was.
    pub(super) fn replace_pair(&self) -> io::Result<()> {
        let mut tls = self.tls.clone();
        if let ServerKey::Given { .. } = tls.key {
            tls.key = ServerKey::default();
        }
        let pair = ServerPair::make(&tls, SystemClock.now())?;
        self.lock().pair = pair;
        Ok(())
    }

    // -- who is asking --

    /// Whether TLS accepts this client certificate.
    pub(super) fn tls_lets_in(&self, der: &[u8]) -> bool {
        let behaviours = self.behaviours();
        behaviours.refusal != Refusal::TlsAlert
            || behaviours.accepts != Accepts::Registered
            || self.robot_of(Fingerprint::of(der)).is_some()
    }

    /// The robot this certificate logs in as, if it is registered, in its
    /// lifetime and active; a refusal counts towards activation.
    fn robot_of(&self, fingerprint: Fingerprint) -> Option<Robot> {
        let now = self.now();
        let mut changing = self.lock();
        let activation = changing.behaviours.activation;
        let record = changing.robots.iter_mut().find(|record| record.robot.fingerprint == fingerprint)?;
        let active = record.is_active(activation);
        record.refused += u32::from(!active);
        record.active = active;
        let validity = record.certificate.validity();
        (active && validity.not_before <= now && now <= validity.not_after).then(|| record.robot.clone())
    }

    pub(super) fn caller(&self, certificate: Option<Fingerprint>, headers: &HeaderMap) -> Caller {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let bearer = header(AUTHORIZATION.as_str()).and_then(|value| value.strip_prefix("Bearer "));
        let key = header("x-apikeys").and_then(|value| value.trim().strip_prefix("key="));
        let is_key = key.is_some() && key == self.api_key.as_deref();
        let ended = self.lock().behaviours.api_key_expired;
        Caller {
            certificate,
            robot: certificate.and_then(|certificate| self.robot_of(certificate)),
            api_key: is_key && !ended,
            ended_key: is_key && ended,
            bearer: bearer.is_some(),
            token: bearer == Some(self.token.as_str()) && !self.lock().token_used,
        }
    }

    // -- robots --

    /// Held while a registration is decided, so that two cannot both find a name free.
    pub(super) fn registering(&self) -> MutexGuard<'_, ()> {
        self.registering.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the registration at hand meets, counting it.
    pub(super) fn next_registration(&self) -> Registration {
        let mut changing = self.lock();
        changing.registrations += 1;
        match changing.behaviours.registration_times {
            Some(times) if changing.registrations > times => Registration::Created,
            _ => changing.behaviours.registration,
        }
    }

    /// What the next registration will meet.
    pub(super) fn peek_registration(&self) -> Registration {
        let changing = self.lock();
        match changing.behaviours.registration_times {
            Some(times) if changing.registrations >= times => Registration::Created,
            _ => changing.behaviours.registration,
        }
    }

    /// Keeps a new robot and says what it is.
    pub(super) fn add_robot(&self, name: &str, role: &str, certificate: Certificate, pem: String) -> Robot {
        let mut changing = self.lock();
        changing.ids_given += 1;
        let robot = Robot {
            id: self.plant.uuid(changing.ids_given, 1_000_000, 98),
            name: name.to_owned(),
            role: role.to_owned(),
            fingerprint: certificate.fingerprint(),
        };
        changing.robots.push(Record {
            robot: robot.clone(),
            certificate_pem: pem,
            certificate,
            registered: Instant::now(),
            refused: 0,
            active: false,
        });
        changing.token_used |= changing.behaviours.registrar == Registrar::TokenOnce;
        robot
    }

    /// Keeps the robots for which `keep` is true.
    pub(super) fn retain_robots(&self, mut keep: impl FnMut(&Robot) -> bool) {
        self.lock().robots.retain(|record| keep(&record.robot));
    }

    /// The robots, each read by `read`, oldest first.
    pub(super) fn robots<T>(&self, read: impl Fn(&Record) -> T) -> Vec<T> {
        self.lock().robots.iter().map(read).collect()
    }

    /// The robots of this moment, to come back to.
    pub(super) fn backup(&self) -> Vec<Record> {
        self.lock().robots.clone()
    }

    /// Back to the robots of an earlier moment.
    pub(super) fn restore(&self, robots: Vec<Record>) {
        self.lock().robots = robots;
    }

    // -- log and faults --

    pub(super) fn record(&self, request: Request) {
        self.lock().log.push(request);
    }

    pub(super) fn log(&self) -> Vec<Request> {
        self.lock().log.clone()
    }

    pub(super) fn inject(&self, fault: Fault) {
        self.lock().faults.push(fault);
    }

    pub(super) fn clear_faults(&self) {
        self.lock().faults.clear();
    }

    /// The fault for a request on this path, if one is due; each strikes once.
    pub(super) fn take_fault(&self, path: &str) -> Option<FaultKind> {
        let mut changing = self.lock();
        let mut due = None;
        for (position, fault) in changing.faults.iter_mut().enumerate() {
            if fault.path.as_deref().is_none_or(|wanted| wanted == path) {
                fault.nth = fault.nth.saturating_sub(1);
                if fault.nth == 0 && due.is_none() {
                    due = Some(position);
                }
            }
        }
        due.map(|position| changing.faults.remove(position).kind)
    }

    /// Closes the port for `down`; returns when it is closed. The open
    /// connections end when what is returned is dropped.
    pub(super) async fn reboot(&self, down: Duration) -> oneshot::Sender<()> {
        let (closed, is_closed) = oneshot::channel();
        let (last_words, last_words_said) = oneshot::channel();
        // Without an accept loop the port is closed already, and nothing waits for the last words.
        let _ = self.reboots.send(Reboot { down, closed, last_words_said });
        let _ = is_closed.await;
        last_words
    }
}
