//! The inventory: what is durable, what is refused, what survives.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod audit;
mod crash;
mod disk;
mod files;
mod life;
mod lock;
mod reads;
mod speed;

use std::{path::Path, sync::LazyLock};

use robocred::{
    credential::{Control, CredentialId, State},
    inventory::{Change, Inventory, NewGeneration, NewRobot, Origin, RobotRow, SiteLock},
    site::{RobotId, Role},
    x509::{Certificate, KeyAlgorithm, PrivateKey, Profile, Validity},
};
use sqlx::{ConnectOptions as _, SqliteConnection, sqlite::SqliteConnectOptions};
use time::{OffsetDateTime, macros::datetime};

const NOW: OffsetDateTime = datetime!(2026-11-22 12:00 UTC);

static CERTIFICATE: LazyLock<Certificate> = LazyLock::new(|| {
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    Certificate::self_signed(&key, "lucidum", Validity::of_days(NOW, 365).unwrap(), Profile::Client).unwrap()
});

fn robot(id: &str) -> RobotId {
    id.parse().unwrap()
}

async fn open(dir: &Path) -> Inventory {
    Inventory::open(dir, "tester", NOW).await.unwrap()
}

async fn lock(inventory: &Inventory, site: &str) -> SiteLock {
    inventory.lock_site(&site.parse().unwrap(), None, NOW).await.unwrap()
}

async fn adopt(inventory: &Inventory, lock: &SiteLock, id: &RobotId) -> RobotRow {
    let new = NewRobot {
        id: id.clone(),
        base_name: id.robot.clone(),
        role: Role::Reader,
        endpoint: "https://10.20.0.5".parse().unwrap(),
        origin: Origin::Provisioned,
    };
    inventory.adopt_robot(lock, &new, NOW).await.unwrap()
}

fn next_of(id: &RobotId) -> NewGeneration {
    NewGeneration {
        robot: id.clone(),
        role: Role::Reader,
        key_algorithm: KeyAlgorithm::EcdsaP256,
        profile: Profile::Client,
        forced: false,
    }
}

/// One change of each kind.
fn changes() -> Vec<Change> {
    let reason = || "because".to_owned();
    vec![
        Change::KeyStored { certificate: CERTIFICATE.clone() },
        Change::SendBegun { control: Control::Refused },
        Change::NotDone { reason: reason() },
        Change::Accepted { remote_id: Some("17".to_owned()) },
        Change::Promoted { passed: Vec::new() },
        Change::RolledBack { passed: Vec::new() },
        Change::RetireBegun,
        Change::RetireDone,
        Change::RetireImpossible { reason: reason() },
        Change::GivenUp { reason: reason() },
        Change::LeftBehind { reason: reason() },
        Change::Imported { certificate: CERTIFICATE.clone(), passed: Vec::new() },
        Change::Spared { reason: reason() },
        Change::Removed { reason: reason() },
    ]
}

/// The changes that bring a new generation to a state other than `previous`.
fn way_to(state: State) -> Vec<Change> {
    let [key, send, _, accept, promote, _, retire, done, impossible, give_up, leave, ..] =
        <[Change; 14]>::try_from(changes()).unwrap();
    match state {
        State::Planned => vec![],
        State::Keyed => vec![key],
        State::Sending => vec![key, send],
        State::Registered => vec![key, send, accept],
        State::Active | State::Previous => vec![key, send, accept, promote],
        State::Retiring => vec![key, send, accept, promote, retire],
        State::Retired => vec![key, send, accept, promote, retire, done],
        State::RetireManual => vec![key, send, accept, promote, retire, impossible],
        State::Abandoned => {
            let _ = leave;
            vec![give_up]
        }
    }
}

/// Plans a generation of an adopted robot and brings it to `state`.
async fn bring(inventory: &Inventory, lock: &SiteLock, robot: &RobotId, state: State) -> CredentialId {
    let id = inventory.plan_generation(lock, &next_of(robot), NOW).await.unwrap().id;
    for change in way_to(state) {
        inventory.advance(lock, &id, change, NOW).await.unwrap();
    }
    if state == State::Previous {
        Box::pin(bring(inventory, lock, robot, State::Active)).await;
    }
    id
}

/// The file behind the inventory's back.
async fn behind(dir: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(dir.join("inventory.db")).connect().await.unwrap()
}

async fn execute(dir: &Path, statement: &'static str) {
    use sqlx::Connection as _;
    let mut connection = behind(dir).await;
    sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}
