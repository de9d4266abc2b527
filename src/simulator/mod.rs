//! A believable Tenable OT Security appliance in this process.
//!
//! Owns a TLS server on the loopback interface that behaves as the appliance
//! is known, or may be suspected, to behave: robots, GraphQL, REST v1, and
//! synthetic devices computed from a seed. Shares no wire types with
//! `appliance`, so that a misreading of the protocol cannot pass on both
//! sides. Leaves out everything a person would configure on an appliance.
//! Keeps all state in memory and touches no disk; when dropped or shut down
//! its port is closed.

mod behaviours;
mod connection;
mod details;
mod devices;
mod events;
mod faults;
mod findings;
mod gate;
mod graphql;
mod listing;
mod log;
mod memo;
mod named;
mod options;
mod plugins;
mod reading;
mod replies;
mod rest;
mod robots;
mod state;
mod strange;
mod tls;
mod walk;

pub use behaviours::{
    Accepts, Activation, AssetShape, BadCursor, Behaviours, CaList, DuplicateName, EndCursor, ErrorEnvelope,
    Interfaces, KeyTypes, Listing, Refusal, Registrar, Registration, Removal, RoleGiven, TlsVersions, UnknownBehaviour,
};
pub use faults::{Fault, FaultKind};
pub use log::Request;
pub use options::{Options, ServerKey, TlsOptions};
pub use reading::{
    Hits, ListShape, MACHINE_ID, Order, Release, RobotsEndpoint, RowsMove, SlowAnswer, SlowPages, Throttle,
};

use crate::{
    clock::{Clock as _, SystemClock},
    x509::{Fingerprint, SpkiPin},
};
use http::StatusCode;
use state::Shared;
use std::{
    fmt, io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tls::ServerPair;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinHandle,
};

/// A robot as the simulator keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Robot {
    /// UUID text.
    pub id: String,
    /// The name it was registered with.
    pub name: String,
    /// `AdminRole` or `ReaderRole`, after [`RoleGiven`].
    pub role: String,
    /// SHA-256 of its certificate.
    pub fingerprint: Fingerprint,
}

/// The robots of one moment, in full.
#[derive(Clone)]
pub struct Backup(Vec<state::Record>);

impl fmt::Debug for Backup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|record| &record.robot)).finish()
    }
}

/// A running simulator; dropping it closes its port and its connections.
#[derive(Debug)]
pub struct Simulator {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

/// Starts a simulator; it serves as soon as this returns.
///
/// Fails when the address cannot be bound, the server pair cannot be made or
/// used, or too many devices are asked for.
pub async fn start(options: Options) -> io::Result<Simulator> {
    if options.devices > Options::MOST_DEVICES {
        let message = format!("{} devices are more than {}", options.devices, Options::MOST_DEVICES);
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let pair = ServerPair::make(&options.tls, SystemClock.now())?;
    let listener = TcpListener::bind(options.listen).await?;
    let address = listener.local_addr()?;
    let (reboots, rebooted) = mpsc::unbounded_channel();
    let shared = Shared::new(options, pair, reboots);
    // A pair that cannot be used is an error now and not a silence later.
    shared.pair().config(&shared)?;
    let router = axum::Router::new()
        .merge(robots::routes())
        .merge(rest::routes())
        .merge(graphql::routes())
        .fallback(|| async { replies::web_application() })
        .method_not_allowed_fallback(|| async { replies::error(StatusCode::METHOD_NOT_ALLOWED, "method not allowed") })
        .with_state(shared.clone());
    let (stop, stopped) = watch::channel(false);
    let accepting = tokio::spawn(connection::accept(listener, address, shared.clone(), router, rebooted, stopped));
    Ok(Simulator { address, shared, stop, accepting })
}

impl Simulator {
    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The server certificate presented to new connections, DER.
    pub fn certificate_der(&self) -> Vec<u8> {
        self.shared.pair().certificate_der
    }

    /// The same as PEM, for a CA file.
    pub fn certificate_pem(&self) -> String {
        pem_rfc7468::encode_string("CERTIFICATE", pem_rfc7468::LineEnding::LF, &self.certificate_der())
            .unwrap_or_default()
    }

    /// The pin of the server's public key.
    ///
    /// # Panics
    ///
    /// Never: `start` would have refused a certificate that cannot be read.
    pub fn pin(&self) -> SpkiPin {
        SpkiPin::of_certificate(&self.certificate_der()).expect("rustls read this certificate at the start")
    }

    /// The requests so far, in the order their bodies were complete.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.log()
    }

    /// TCP connections accepted so far, whether TLS succeeded or not.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// The robots registered now, oldest first.
    pub fn robots(&self) -> Vec<Robot> {
        self.shared.robots(|record| record.robot.clone())
    }

    /// How many requests carried a bearer token, right or wrong.
    pub fn tokens_seen(&self) -> usize {
        self.shared.log().iter().filter(|request| request.bearer).count()
    }

    /// How many devices are listed when hidden ones are filtered out.
    pub fn visible_devices(&self) -> usize {
        self.shared.plant().devices().filter(|device| !device.hidden()).count()
    }

    /// How many plugins it lists.
    pub fn plugins(&self) -> usize {
        plugins::COUNT
    }

    /// How many events it lists.
    pub fn events(&self) -> usize {
        events::count(self.shared.plant())
    }

    /// How many plugin hits all devices have together, hidden ones included.
    pub fn findings(&self) -> usize {
        findings::count(self.shared.plant())
    }

    /// Behaves like this from the next connection (TLS) and the next request (all else) on;
    /// what it counted (registrations, the use of its token, pages, requests) begins anew.
    pub fn set_behaviours(&self, behaviours: Behaviours) {
        self.shared.set_behaviours(behaviours);
    }

    /// A device is added, as one that was just seen; its number. By id it is the last one,
    /// and so the first of a list that descends by id.
    pub fn add_device(&self) -> usize {
        self.shared.add_device()
    }

    /// Something about this device changes now: its `lastUpdate` becomes the appliance's time.
    pub fn touch(&self, device: usize) {
        self.shared.touch(device);
    }

    /// How long all replies so far have been in the making, from a request's last byte to the reply's first.
    pub fn busy(&self) -> Duration {
        Duration::from_nanos(self.shared.busy_nanos.load(Ordering::Relaxed))
    }

    /// Sets the appliance's clock this many seconds ahead of ours; nothing else changes.
    pub fn set_clock_ahead(&self, seconds: i64) {
        self.shared.set_clock_ahead(seconds);
    }

    /// Removes a robot, as a person does on the appliance's own screen; an unknown id is ignored.
    pub fn remove_robot(&self, id: &str) {
        self.shared.retain_robots(|robot| robot.id != id);
    }

    /// Adds a fault that strikes once.
    pub fn inject(&self, fault: Fault) {
        self.shared.inject(fault);
    }

    /// Takes back every fault that has not struck yet.
    pub fn clear_faults(&self) {
        self.shared.clear_faults();
    }

    /// The robots of this moment, for [`Simulator::restore`].
    pub fn backup(&self) -> Backup {
        Backup(self.shared.backup())
    }

    /// Has the robots of an earlier moment again, and no others.
    pub fn restore(&self, backup: &Backup) {
        self.shared.restore(backup.0.clone());
    }

    /// Forgets every robot, as an appliance restored from an old backup.
    pub fn forget_robots(&self) {
        self.shared.retain_robots(|_| false);
    }

    /// Forgets one robot, as if somebody had removed it there.
    pub fn forget_robot(&self, name: &str) {
        self.shared.retain_robots(|robot| robot.name != name);
    }

    /// New connections see a new server key and certificate.
    ///
    /// Fails when a key cannot be made; the old one is then kept.
    pub fn replace_server_key(&self) -> io::Result<()> {
        self.shared.replace_pair()
    }

    /// Ends every connection and refuses new ones for this long, then serves
    /// again on the same port; returns when the port is closed.
    pub async fn reboot(&self, down: Duration) {
        drop(self.shared.reboot(down).await);
    }

    /// Closes the port and every connection, and waits until both are closed.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        // Only a panic of the accept loop can be reported here, and it is over either way.
        let _ = (&mut self.accepting).await;
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
