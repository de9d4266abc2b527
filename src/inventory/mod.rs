//! What we hold, what we were doing, what we did: one `SQLite` file in the
//! state directory.
//!
//! Owns `STATE/inventory.db` and its schema, the kernel lock of each site, the
//! audit record, and what was observed of an appliance. Leaves out what comes
//! next (`credential::plan`) and the secrets themselves: no method takes a
//! private key or a token, only the name of the slot it rests in.
//!
//! Every change is one transaction that is on the disk before the call
//! returns; on failure nothing of it is. Files are readable by their owner
//! only. A damaged or newer file is reported and left as it is.

mod accept;
mod api_key;
mod attention;
pub mod audit;
mod change;
mod credentials;
mod delivery;
mod error;
mod file_system;
mod lock;
mod observations;
mod open;
mod place;
mod records;
mod robots;
mod runs;
mod schema;
mod sql;
mod tasks;

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use sqlx::SqliteConnection;
use tokio::sync::Mutex;

pub use accept::Lost;
pub use attention::{Attention, AttentionCode};
pub use change::Change;
pub use credentials::{Leftover, NewGeneration};
pub use delivery::{Delivered, DeliveryKind};
pub use error::Error;
pub use file_system::FileSystem;
pub use lock::{Holder, SiteLock, WatchLock};
pub use observations::{Observation, Reading, SiteRow};
pub use robots::{NewRobot, Origin, RobotRow};
pub use runs::{Mark, Run, RunRow};
pub use tasks::{Task, TaskFailure, TaskRow};

use crate::site::StoreKind;

/// The inventory of one state directory, over one connection.
#[derive(Debug)]
pub struct Inventory {
    connection: Mutex<SqliteConnection>,
    state_dir: PathBuf,
    path: PathBuf,
    store_id: String,
    store_kind: OnceLock<StoreKind>,
    writing: Option<Writing>,
    warning: Option<String>,
}

/// What only a writer has.
#[derive(Debug)]
struct Writing {
    actor: String,
    /// Held shared for the life of the inventory, so that no newer program
    /// changes the schema under it.
    _state: lock::StateLock,
}

impl Inventory {
    /// The random name of this state directory, made with the inventory.
    #[must_use]
    pub fn store_id(&self) -> &str {
        &self.store_id
    }

    /// The kind of secret store this state directory began with, if it has begun.
    #[must_use]
    pub fn store_kind(&self) -> Option<StoreKind> {
        self.store_kind.get().copied()
    }

    /// The directory it lives in.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// A number that changes whenever another connection has committed something. Cheap: reads no page
    /// of the file. <https://sqlite.org/pragma.html#pragma_data_version>
    ///
    /// # Errors
    /// [`Error::Damaged`] or what else the engine says.
    pub async fn data_version(&self) -> Result<i64, Error> {
        let read = |row: sql::Reader<'_>| row.int("data_version");
        let version = self.find(sqlx::query("PRAGMA data_version"), read).await?;
        version.ok_or_else(|| sql::damaged(&self.path, "it tells no version of its data"))
    }

    /// Something a person should know about this view of the inventory, for
    /// example that it was read without its newest changes from a full disk.
    #[must_use]
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }
}
