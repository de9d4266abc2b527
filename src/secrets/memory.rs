//! A secret store that forgets at the end of the process, for tests and for the demo.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use zeroize::Zeroizing;

use super::{Error, SecretStore, check_size};
use crate::{credential::SecretRef, site::StoreKind};

/// Secrets in this process's memory. Touches neither disk nor network, cannot
/// fail, and calls itself [`StoreKind::Sealed`], the kind that needs nothing of its surroundings.
#[derive(Default)]
pub struct MemoryStore {
    held: Mutex<HashMap<SecretRef, Zeroizing<Vec<u8>>>>,
}

impl MemoryStore {
    fn held(&self) -> MutexGuard<'_, HashMap<SecretRef, Zeroizing<Vec<u8>>>> {
        // A panic elsewhere cannot leave a map half changed.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SecretStore for MemoryStore {
    fn kind(&self) -> StoreKind {
        StoreKind::Sealed
    }

    fn put(&self, slot: &SecretRef, _label: &str, secret: &[u8]) -> Result<(), Error> {
        check_size(secret)?;
        self.held().insert(slot.clone(), Zeroizing::new(secret.to_vec()));
        Ok(())
    }

    fn read(&self, slot: &SecretRef) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.held().get(slot).cloned().ok_or_else(|| Error::NotFound { slot: slot.clone() })
    }

    fn remove(&self, slot: &SecretRef) -> Result<(), Error> {
        self.held().remove(slot);
        Ok(())
    }
}
