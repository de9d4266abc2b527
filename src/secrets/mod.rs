//! Where private keys and support tokens rest.
//!
//! Owns the contract of a secret store ([`SecretStore`]), its implementations
//! (the operating system's keyring, sealed files, memory for tests) and the
//! choice between them ([`open`]). Leaves out which secrets there are
//! (`credential`), what they are recorded as (`inventory`) and from where the
//! paths come (`config`).
//!
//! Promises on failure: a failed [`put`](SecretStore::put) of a sealed secret
//! leaves the old value readable; nothing is ever stored in clear; a second
//! sealing key is never made while sealed files exist; no call waits longer than
//! [`CALL_LIMIT`]; no error, log line or `Debug` text holds secret bytes.

mod choose;
mod error;
mod keyring;
mod memory;
mod sealed;

use std::{fmt, sync::Arc, time::Duration};

use zeroize::Zeroizing;

use crate::{credential::SecretRef, site::StoreKind};

pub use choose::{Choice, Opened, Probe, open, probe};
pub use error::{Error, Exposure};
pub use keyring::KeyringStore;
pub use memory::MemoryStore;
pub use sealed::{SealPlaces, SealedStore};

/// The longest time a call of a store takes.
pub const CALL_LIMIT: Duration = Duration::from_secs(10);

/// The largest secret in bytes that sealed files and memory take; a keyring may take less.
pub const LARGEST_SECRET: usize = 64 * 1024;

/// A place where secrets rest, each under its [`SecretRef`].
///
/// Calls block, for at most [`CALL_LIMIT`] each; async code goes through [`Secrets`].
pub trait SecretStore: Send + Sync {
    /// Which kind of store this is.
    fn kind(&self) -> StoreKind;

    /// Stores `secret`, replacing what was there, then reads it back and compares.
    ///
    /// `label` is what a person sees in the keyring's own window; it must not be empty.
    /// [`Error::Lossy`] when what is read back differs.
    fn put(&self, slot: &SecretRef, label: &str, secret: &[u8]) -> Result<(), Error>;

    /// The secret in `slot`; [`Error::NotFound`] when there is none.
    fn read(&self, slot: &SecretRef) -> Result<Zeroizing<Vec<u8>>, Error>;

    /// Removes what is in `slot`. That nothing is there is success.
    fn remove(&self, slot: &SecretRef) -> Result<(), Error>;

    /// The anchor of a state directory, which is no secret; `None` where there is none.
    ///
    /// It rests outside the state directory, so that a copy of that one alone does not bring it along.
    fn anchor(&self, store_id: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        match self.read(&SecretRef::anchor(store_id)) {
            Err(Error::NotFound { .. }) => Ok(None),
            found => found.map(Some),
        }
    }

    /// Puts `anchor` in the place of the one before.
    fn set_anchor(&self, store_id: &str, anchor: &[u8]) -> Result<(), Error> {
        self.put(&SecretRef::anchor(store_id), "robocred: state of the inventory (not a secret)", anchor)
    }
}

/// A secret store for async code: every call runs on a thread where blocking is allowed.
///
/// A call whose future is dropped still runs to its end.
#[derive(Clone)]
pub struct Secrets(Arc<dyn SecretStore>);

impl Secrets {
    /// A handle on `store`.
    pub fn new(store: impl SecretStore + 'static) -> Self {
        Self(Arc::new(store))
    }

    /// Which kind of store this is.
    pub fn kind(&self) -> StoreKind {
        self.0.kind()
    }

    /// [`SecretStore::put`].
    pub async fn put(&self, slot: &SecretRef, label: &str, secret: &[u8]) -> Result<(), Error> {
        let (slot, label, secret) = (slot.clone(), label.to_owned(), Zeroizing::new(secret.to_vec()));
        self.run(move |store| store.put(&slot, &label, &secret)).await
    }

    /// [`SecretStore::read`].
    pub async fn read(&self, slot: &SecretRef) -> Result<Zeroizing<Vec<u8>>, Error> {
        let slot = slot.clone();
        self.run(move |store| store.read(&slot)).await
    }

    /// [`SecretStore::remove`].
    pub async fn remove(&self, slot: &SecretRef) -> Result<(), Error> {
        let slot = slot.clone();
        self.run(move |store| store.remove(&slot)).await
    }

    /// [`SecretStore::anchor`].
    pub async fn anchor(&self, store_id: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        let store_id = store_id.to_owned();
        self.run(move |store| store.anchor(&store_id)).await
    }

    /// [`SecretStore::set_anchor`].
    pub async fn set_anchor(&self, store_id: &str, anchor: &[u8]) -> Result<(), Error> {
        let (store_id, anchor) = (store_id.to_owned(), anchor.to_vec());
        self.run(move |store| store.set_anchor(&store_id, &anchor)).await
    }

    async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce(&dyn SecretStore) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let store = Arc::clone(&self.0);
        off_the_async_threads(move || call(&*store)).await
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.kind())
    }
}

async fn off_the_async_threads<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
        Err(ended) => Err(Error::Failed { step: "start a call while the program ends", source: ended.into() }),
    }
}

/// Refuses a secret that is larger than a store without a limit of its own takes.
fn check_size(secret: &[u8]) -> Result<(), Error> {
    if secret.len() > LARGEST_SECRET {
        return Err(Error::TooLong { length: secret.len(), limit: LARGEST_SECRET });
    }
    Ok(())
}

/// What makes a `put` honest: what was read back is what was written.
fn compare(slot: &SecretRef, written: &[u8], read: &[u8]) -> Result<(), Error> {
    if written == read { Ok(()) } else { Err(Error::Lossy { slot: slot.clone() }) }
}
