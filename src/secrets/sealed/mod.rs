//! Secrets in encrypted files of the state directory, for machines without a keyring.
//!
//! Owns the files of `STATE/secrets`: one per secret, owner-only, AES-256-GCM, in the
//! format of docs/SEALED.md, and the sealing key's default file. The sealing key rests
//! outside the state directory, so a copy of the state alone opens nothing; against
//! this user or root on the same machine it protects nothing.
//!
//! Promises on failure: the old secret stays until the new one is complete and synced;
//! a sealing key is made only while nothing is sealed yet; removal unlinks and does not
//! overwrite, since a disk may keep old blocks either way.

mod files;
mod format;
mod key;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use zeroize::Zeroizing;

use super::{Error, LARGEST_SECRET, SecretStore, check_size, compare};
use crate::{credential::SecretRef, site::StoreKind};
use files::Guard;
use format::{Refusal, SealKey};
pub use key::SealPlaces;

/// One encrypted, owner-only file per secret.
///
/// Different processes may use one directory at the same time as long as no two of
/// them write the same slot. The sealing key is read, or derived from its passphrase,
/// once per store.
pub struct SealedStore {
    places: SealPlaces,
    key: Mutex<Option<Arc<SealKey>>>,
}

impl SealedStore {
    /// A store at these places; touches nothing yet.
    #[must_use]
    pub fn new(places: SealPlaces) -> Self {
        Self { places, key: Mutex::new(None) }
    }

    /// Whether there is a sealing key. Reads it and compares it with what was sealed;
    /// that there is none is an error once there are sealed files.
    pub(super) fn has_key(&self) -> Result<bool, Error> {
        self.key().map(|key| key.is_some())
    }

    fn key(&self) -> Result<Option<Arc<SealKey>>, Error> {
        // Nothing is changed under the lock but the whole value.
        let mut held = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_none() {
            *held = self.find_key()?.map(Arc::new);
        }
        Ok(held.clone())
    }

    fn find_key(&self) -> Result<Option<SealKey>, Error> {
        // Listed before the key is looked for: another process's first run makes the key first.
        let mut sealed = files::list(&self.places.secrets_dir)?;
        sealed.retain(|path| path.extension().is_some_and(|extension| extension == "sealed"));
        let Some(key) = key::find(&self.places)? else {
            return if sealed.is_empty() {
                Ok(None)
            } else {
                Err(Error::SealKeyMissing { path: self.places.to_make() })
            };
        };
        for path in sealed {
            let content = files::read(&path, Guard::Sealed, format::LARGEST_FILE)?.unwrap_or_default();
            match format::sealed_with(&key, &content) {
                Some(true) => break,
                Some(false) => return Err(Error::WrongSealKey { path }),
                // This file tells nothing; whoever reads its secret hears of it.
                None => {}
            }
        }
        Ok(Some(key))
    }

    fn key_or_make(&self) -> Result<Arc<SealKey>, Error> {
        if let Some(key) = self.key()? {
            return Ok(key);
        }
        files::create_directory(&self.places.secrets_dir)?;
        key::make(&self.places)?;
        // Found again, not kept: another process may have been first.
        self.key()?.ok_or_else(|| Error::SealKeyMissing { path: self.places.to_make() })
    }

    /// The slot's name holds `/` and letters of both cases, which not every file system
    /// tells apart: its SHA-256 is the file's name, the name itself stands in the file.
    fn path(&self, slot: &SecretRef) -> PathBuf {
        self.places.secrets_dir.join(format!("{}.sealed", format::hex_digest(slot.as_str())))
    }
}

impl SecretStore for SealedStore {
    fn kind(&self) -> StoreKind {
        StoreKind::Sealed
    }

    fn put(&self, slot: &SecretRef, _label: &str, secret: &[u8]) -> Result<(), Error> {
        check_size(secret)?;
        let key = self.key_or_make()?;
        files::create_directory(&self.places.secrets_dir)?;
        files::replace(&self.path(slot), &format::seal(&key, slot, secret)?)?;
        compare(slot, secret, &self.read(slot)?)
    }

    fn read(&self, slot: &SecretRef) -> Result<Zeroizing<Vec<u8>>, Error> {
        let path = self.path(slot);
        let Some(sealed) = files::read(&path, Guard::Sealed, format::LARGEST_FILE)? else {
            return Err(Error::NotFound { slot: slot.clone() });
        };
        let key = self.key()?.ok_or_else(|| Error::SealKeyMissing { path: self.places.to_make() })?;
        format::unseal(&key, slot, &sealed).map_err(|refusal| refused(&path, &refusal))
    }

    fn remove(&self, slot: &SecretRef) -> Result<(), Error> {
        files::remove(&self.path(slot))
    }

    /// In a file beside the default sealing key, whichever key is in use.
    fn anchor(&self, store_id: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        let path = self.places.anchor_file(store_id)?;
        let Some(anchor) = files::read(&path, Guard::Ours, LARGEST_SECRET)? else { return Ok(None) };
        check_size(&anchor)?;
        Ok(Some(anchor))
    }

    fn set_anchor(&self, store_id: &str, anchor: &[u8]) -> Result<(), Error> {
        check_size(anchor)?;
        let path = self.places.anchor_file(store_id)?;
        if let Some(directory) = path.parent() {
            files::create_directory(directory)?;
        }
        files::replace(&path, anchor)
    }
}

fn refused(path: &Path, refusal: &Refusal) -> Error {
    let path = path.to_owned();
    match refusal {
        Refusal::WrongKey => Error::WrongSealKey { path },
        Refusal::UnknownFormat(found) => Error::UnknownFormat { path, found: *found, known: format::VERSION },
        Refusal::Damaged => Error::Damaged { path },
    }
}
