//! The watch over HTTP: a board over a real state directory, served to real
//! sockets on the runtime that the daemon has (one thread).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod crowd;
mod hostile;
mod routes;

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use robocred::{
    clock::FixedClock,
    config::Config,
    credential::Control,
    inventory::{Change, Inventory, NewGeneration, NewRobot, Origin, SiteLock},
    site::{RobotId, Role},
    watch::{
        board::{Beat, Board},
        http::{self, Limits},
    },
    x509::{Certificate, KeyAlgorithm, PrivateKey, Profile, Validity},
};
use serde_json::Value;
use time::{OffsetDateTime, macros::datetime};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};

const NOW: OffsetDateTime = datetime!(2026-11-22 12:00 UTC);
/// Long for a machine that is busy; nothing that works takes so long.
const DEADLINE: Duration = Duration::from_secs(30);

const CONFIG: &str = r#"version = 1
[sites.plant]
url = "https://10.20.0.5"
trust = "system"
[sites.plant.robots.reader]
role = "reader"
[sites.empty]
url = "https://10.20.0.6"
trust = "system"
"#;

/// Short enough to be waited for.
fn short() -> Limits {
    Limits {
        patience: Duration::from_millis(200),
        head: Duration::from_millis(400),
        whole: Duration::from_millis(1500),
        leave: Duration::from_millis(200),
        ..Limits::default()
    }
}

/// Configuration and state, and what serves them.
struct Served {
    dir: tempfile::TempDir,
    board: Arc<Board>,
    address: SocketAddr,
    _stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

fn state_of(dir: &Path) -> PathBuf {
    dir.join("state")
}

fn configure(dir: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    // Replaced whole, as an editor does it.
    let (new, file) = (dir.join("new"), dir.join("robocred.toml"));
    fs::write(&new, text).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(new, file).unwrap();
}

impl Served {
    fn new(config: &str, limits: Limits) -> Self {
        Self::on(Ipv4Addr::LOCALHOST.into(), config, limits)
    }

    fn on(ip: IpAddr, config: &str, limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        configure(dir.path(), config);
        let config = Config::load_file(&dir.path().join("robocred.toml")).unwrap();
        let board = Arc::new(Board::new(config, state_of(dir.path())));
        let listener = http::listen((ip, 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let (clock, seen) = (Arc::new(FixedClock(NOW)), board.clone());
        let server = tokio::spawn(async move {
            http::serve_within(limits, listener, seen, clock, async { drop(stopped.await) }).await;
        });
        Self { dir, board, address, _stop: stop, server }
    }

    fn state(&self) -> PathBuf {
        state_of(self.dir.path())
    }

    async fn inventory(&self) -> Inventory {
        Inventory::open(&self.state(), "tester", NOW).await.unwrap()
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.address.port())).await.unwrap()
    }

    /// Sends the bytes and reads whatever comes until the connection is closed.
    async fn exchange(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        rest(&mut stream).await.unwrap()
    }

    async fn ask(&self, method: &str, target: &str) -> Reply {
        let request = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        Reply::read(&self.exchange(request.as_bytes()).await)
    }

    async fn get(&self, target: &str) -> Reply {
        self.ask("GET", target).await
    }

    async fn status(&self) -> Value {
        let reply = self.get("/status.json").await;
        assert_eq!(reply.status, 200, "{reply:?}");
        serde_json::from_slice(&reply.body).unwrap()
    }
}

/// Everything until the end, which must come.
async fn rest(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut read = Vec::new();
    timeout(DEADLINE, stream.read_to_end(&mut read)).await.expect("the connection is not closed")?;
    Ok(read)
}

/// An answer, read by other means than the server's.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Reply {
    fn read(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no head: {:?}", String::from_utf8_lossy(bytes)));
        let head = str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = BTreeMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            let before = headers.insert(name.to_ascii_lowercase(), value.to_owned());
            assert_eq!(before, None, "{name} twice");
        }
        Self { status, headers, body: bytes[end + 4..].to_vec() }
    }

    fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// All that its length promises is there.
    fn is_whole(&self) -> bool {
        self.header("content-length").parse() == Ok(self.body.len())
    }
}

async fn adopt(inventory: &Inventory, id: &RobotId) -> SiteLock {
    let lock = inventory.lock_site(&id.site, None, NOW).await.unwrap();
    let new = NewRobot {
        id: id.clone(),
        base_name: id.robot.clone(),
        role: Role::Reader,
        endpoint: "https://10.20.0.5".parse().unwrap(),
        origin: Origin::Provisioned,
    };
    inventory.adopt_robot(&lock, &new, NOW).await.unwrap();
    lock
}

/// One more generation, from its plan to its promotion.
async fn rotate(inventory: &Inventory, lock: &SiteLock, id: &RobotId, made: OffsetDateTime) {
    let new = NewGeneration {
        robot: id.clone(),
        role: Role::Reader,
        key_algorithm: KeyAlgorithm::EcdsaP256,
        profile: Profile::Client,
        forced: false,
    };
    let credential = inventory.plan_generation(lock, &new, NOW).await.unwrap().id;
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let validity = Validity::of_days(made, 365).unwrap();
    let certificate = Certificate::self_signed(&key, "reader", validity, Profile::Client).unwrap();
    for change in [
        Change::KeyStored { certificate },
        Change::SendBegun { control: Control::Refused },
        Change::Accepted { remote_id: None },
        Change::Promoted { passed: Vec::new() },
    ] {
        inventory.advance(lock, &credential, change, NOW).await.unwrap();
    }
}

/// The robot of [`CONFIG`], with a credential made at `made`.
async fn provisioned(served: &Served, made: OffsetDateTime) -> (Inventory, SiteLock, RobotId) {
    let inventory = served.inventory().await;
    let id: RobotId = "plant/reader".parse().unwrap();
    let lock = adopt(&inventory, &id).await;
    rotate(&inventory, &lock, &id, made).await;
    (inventory, lock, id)
}
