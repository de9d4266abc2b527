//! Which store a state directory uses: what was asked for, what it has already
//! chosen, and what is there.

use std::{
    str::FromStr,
    time::{Duration, Instant},
};

use super::{Error, KeyringStore, SealPlaces, SealedStore, SecretStore, Secrets, off_the_async_threads};
use crate::{credential::SecretRef, site::StoreKind};

/// What a person or the configuration asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The keyring if there is one, else sealed files; sealed files for a system service.
    #[default]
    Auto,
    /// The operating system's keyring.
    Keyring,
    /// Sealed files.
    Sealed,
}

impl Choice {
    fn explicit(self) -> Option<StoreKind> {
        match self {
            Self::Auto => None,
            Self::Keyring => Some(StoreKind::Keyring),
            Self::Sealed => Some(StoreKind::Sealed),
        }
    }
}

impl FromStr for Choice {
    type Err = crate::site::Error;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        if given == "auto" {
            return Ok(Self::Auto);
        }
        Ok(match given.parse::<StoreKind>()? {
            StoreKind::Keyring => Self::Keyring,
            StoreKind::Sealed => Self::Sealed,
        })
    }
}

/// A store that is ready, and what a person should be told about the choice.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub secrets: Secrets,
    /// Why it is not the one a person would expect; goes to stderr and into JSON.
    pub notice: Option<String>,
}

/// What a trial of the store showed.
#[derive(Debug)]
pub struct Probe {
    /// The store that was tried.
    pub kind: StoreKind,
    /// How long writing, reading back and deleting a canary took; `None` if no canary
    /// was written because that would have made a sealing key.
    pub took: Option<Duration>,
    /// Why it is not the store a person would expect, or what is still to be made.
    pub notice: Option<String>,
}

/// Opens the secret store of a state directory.
///
/// `recorded` is the kind the state directory has chosen before: it is used as it is,
/// without a trial, and an explicit `choice` of the other kind is [`Error::OtherStore`].
/// Otherwise a keyring is tried with a canary first. `system` says that this is a system
/// service or the system's state directory: there [`Choice::Auto`] means sealed.
///
/// Sealed files take the place of a keyring only where there is none at all
/// ([`Error::Absent`]); a keyring that is locked, hung, refusing or lossy is an error.
/// A sealing key that exists is read and compared with what was sealed, so that a wrong
/// one is known before anything is done; a first one is made only by the first `put`.
pub async fn open(
    choice: Choice,
    recorded: Option<StoreKind>,
    system: bool,
    places: &SealPlaces,
) -> Result<Opened, Error> {
    let places = places.clone();
    off_the_async_threads(move || {
        let (kind, notice) = choose(choice, recorded, system, &places)?;
        let secrets = match kind {
            StoreKind::Keyring => Secrets::new(KeyringStore),
            StoreKind::Sealed => {
                let store = SealedStore::new(places);
                store.has_key()?;
                Secrets::new(store)
            }
        };
        Ok(Opened { secrets, notice })
    })
    .await
}

/// Tries the store that [`open`] would choose, for a report on the surroundings.
///
/// Writes, reads back and deletes a canary, also in a store that is already in use, but
/// makes no sealing key.
pub async fn probe(
    choice: Choice,
    recorded: Option<StoreKind>,
    system: bool,
    places: &SealPlaces,
) -> Result<Probe, Error> {
    let places = places.clone();
    off_the_async_threads(move || {
        let (kind, mut notice) = choose(choice, recorded, system, &places)?;
        let took = match kind {
            StoreKind::Keyring => Some(canary(&KeyringStore)?),
            StoreKind::Sealed => {
                let store = SealedStore::new(places.clone());
                if store.has_key()? {
                    Some(canary(&store)?)
                } else {
                    let made = || format!("the first secret will make {}", places.to_make().display());
                    notice = notice.or_else(|| Some(made()));
                    None
                }
            }
        };
        Ok(Probe { kind, took, notice })
    })
    .await
}

/// The kind to use, and what to say about it.
fn choose(
    choice: Choice,
    recorded: Option<StoreKind>,
    system: bool,
    places: &SealPlaces,
) -> Result<(StoreKind, Option<String>), Error> {
    if let Some(recorded) = recorded {
        return match choice.explicit() {
            Some(wanted) if wanted != recorded => Err(Error::OtherStore { recorded, wanted }),
            _ => Ok((recorded, None)),
        };
    }
    if choice == Choice::Sealed || (choice == Choice::Auto && system) {
        return Ok((StoreKind::Sealed, None));
    }
    match canary(&KeyringStore) {
        Ok(_) => Ok((StoreKind::Keyring, None)),
        Err(Error::Absent(_)) if choice == Choice::Auto => {
            let notice = format!("no keyring here: keys rest sealed in {}", places.secrets_dir.display());
            Ok((StoreKind::Sealed, Some(notice)))
        }
        Err(error) => Err(error),
    }
}

/// Writes, reads back and deletes a harmless secret: opening a keyring proves nothing.
fn canary(store: &dyn SecretStore) -> Result<Duration, Error> {
    // Not text in any encoding: a store that keeps text only must be found out here.
    const CANARY: [u8; 8] = [0x00, 0xff, 0x80, b'\n', 0xc3, 0x28, 0x00, 0xfe];
    // Runs at the same time do not disturb each other's canaries.
    let slot = SecretRef::from_inventory(format!("canary/{}", std::process::id()));
    let began = Instant::now();
    // `put` itself reads back and compares.
    let tried = store.put(&slot, "robocred: canary (may be deleted)", &CANARY);
    let removed = store.remove(&slot);
    tried.and(removed)?;
    Ok(began.elapsed())
}
