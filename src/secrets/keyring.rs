//! Secrets in the operating system's keyring: Secret Service, macOS Keychain, Windows
//! Credential Manager. The first is tried; the other two are not.
//!
//! Owns the one thread that talks to the keyring, the limit on how long it is waited
//! for, and what the keyring's errors mean to us. Secrets are stored as bytes, since
//! text would not fit the 2,560 bytes that Windows takes.
//!
//! Promises on failure: no call waits longer than [`CALL_LIMIT`]. A call that hangs
//! leaves its thread behind, and from then on every call in this process is
//! [`Error::Hung`] at once: what the stuck call may still do cannot be known.

use std::{
    collections::HashMap,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use keyring_core::Entry;
use zeroize::Zeroizing;

use super::{CALL_LIMIT, Error, SecretStore, compare};
use crate::{credential::SecretRef, site::StoreKind};

/// The `service` of all our entries; their `username` is the slot.
const SERVICE: &str = "robocred";

/// The keyring of the user who runs this, opened by the first call. There is one thread
/// and one connection per process.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyringStore;

impl SecretStore for KeyringStore {
    fn kind(&self) -> StoreKind {
        StoreKind::Keyring
    }

    fn put(&self, slot: &SecretRef, label: &str, secret: &[u8]) -> Result<(), Error> {
        let (slot, label, secret) = (slot.clone(), label.to_owned(), Zeroizing::new(secret.to_vec()));
        worker().call(CALL_LIMIT, move || put(&entry(&slot, &label)?, &slot, &secret))
    }

    fn read(&self, slot: &SecretRef) -> Result<Zeroizing<Vec<u8>>, Error> {
        let slot = slot.clone();
        worker().call(CALL_LIMIT, move || read(&entry(&slot, SERVICE)?, &slot))
    }

    fn remove(&self, slot: &SecretRef) -> Result<(), Error> {
        let slot = slot.clone();
        worker().call(CALL_LIMIT, move || remove(&entry(&slot, SERVICE)?))
    }
}

/// The entry of a slot. `label` is used when the entry is first stored.
fn entry(slot: &SecretRef, label: &str) -> Result<Entry, Error> {
    let opened = keyring::Entry::store_status();
    opened.as_ref().map_err(|error| meaning("open the keyring", error))?;
    // The other platforms show service and user and know no label.
    let labelled = cfg!(all(unix, not(target_os = "macos")));
    let modifiers = if labelled { HashMap::from([("label", label)]) } else { HashMap::new() };
    Entry::new_with_modifiers(SERVICE, slot.as_str(), &modifiers).map_err(|error| meaning("name the entry", &error))
}

fn put(entry: &Entry, slot: &SecretRef, secret: &[u8]) -> Result<(), Error> {
    entry.set_secret(secret).map_err(|error| match error {
        keyring_core::Error::TooLong(_, limit) => {
            Error::TooLong { length: secret.len(), limit: usize::try_from(limit).unwrap_or(usize::MAX) }
        }
        error => meaning("store the secret", &error),
    })?;
    compare(slot, secret, &read(entry, slot)?)
}

fn read(entry: &Entry, slot: &SecretRef) -> Result<Zeroizing<Vec<u8>>, Error> {
    match entry.get_secret() {
        Ok(secret) => Ok(Zeroizing::new(secret)),
        Err(keyring_core::Error::NoEntry) => Err(Error::NotFound { slot: slot.clone() }),
        Err(error) => Err(meaning("read the secret", &error)),
    }
}

fn remove(entry: &Entry) -> Result<(), Error> {
    match entry.delete_credential() {
        Ok(()) | Err(keyring_core::Error::NoEntry) => Ok(()),
        Err(error) => Err(meaning("remove the secret", &error)),
    }
}

/// What the keyring's error means for the caller.
///
/// The stores wrap what the bus said in types of their own, which differ between
/// versions and platforms; the names of D-Bus errors in their text do not. `Display` of
/// these errors never shows a secret, their `Debug` may: only the text is kept.
fn meaning(step: &'static str, error: &keyring_core::Error) -> Error {
    let text = error.to_string();
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| text.contains(phrase));
    if says(&["IsLocked", "object locked", "prompt dismissed", "connection closed before prompt"]) {
        Error::Locked
    } else if says(&["AccessDenied", "Permission denied", "AuthFailed"]) {
        Error::Denied(text.into())
    } else if says(&["Failed to connect to address", "no secret service provider", "ServiceUnknown", "NameHasNoOwner"])
    {
        Error::Absent(text.into())
    } else if says(&["result not returned from SS API"]) {
        Error::NoDefaultKeyring
    } else if matches!(error, keyring_core::Error::NoStorageAccess(_)) {
        Error::Denied(text.into())
    } else {
        Error::Failed { step, source: text.into() }
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// The thread that talks to the keyring, one job after the other.
struct Worker {
    jobs: mpsc::Sender<Job>,
    hung: AtomicBool,
}

fn worker() -> &'static Worker {
    static WORKER: OnceLock<Worker> = OnceLock::new();
    WORKER.get_or_init(Worker::start)
}

impl Worker {
    fn start() -> Self {
        let (jobs, queue) = mpsc::channel::<Job>();
        // Without a thread the queue is dropped, and every call fails as ended.
        let _ = thread::Builder::new().name("keyring".into()).spawn(move || queue.into_iter().for_each(|job| job()));
        Self { jobs, hung: AtomicBool::new(false) }
    }

    /// Runs `work` on the thread and waits for at most `limit`, the queue included.
    fn call<T: Send + 'static>(
        &'static self,
        limit: Duration,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let hung = Error::Hung { after: limit };
        if self.hung.load(Ordering::SeqCst) {
            return Err(hung);
        }
        let (answer, answered) = mpsc::sync_channel(1);
        let job = move || {
            // Nobody may wait any more: then nothing is done behind the caller's back.
            if !self.hung.load(Ordering::SeqCst) {
                let _ = answer.send(work());
            }
        };
        let ended = || Error::Failed { step: "ask the keyring", source: "its thread has ended".into() };
        self.jobs.send(Box::new(job)).map_err(|_| ended())?;
        match answered.recv_timeout(limit) {
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Timeout) => {
                self.hung.store(true, Ordering::SeqCst);
                Err(hung)
            }
            Err(RecvTimeoutError::Disconnected) if self.hung.load(Ordering::SeqCst) => Err(hung),
            Err(RecvTimeoutError::Disconnected) => Err(ended()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{any::Any, sync::Arc, time::Instant};

    use keyring_core::{Credential, Error as Keyring, api::CredentialApi};

    use super::*;

    fn leaked_worker() -> &'static Worker {
        Box::leak(Box::new(Worker::start()))
    }

    #[test]
    fn a_call_that_hangs_is_left_behind_and_the_next_fail_at_once() {
        let worker = leaked_worker();
        let (release, held) = mpsc::channel::<()>();
        let outcome = worker.call(Duration::from_millis(50), move || {
            let _ = held.recv();
            Ok(())
        });
        assert!(matches!(outcome, Err(Error::Hung { .. })), "{outcome:?}");
        let began = Instant::now();
        let (ran, was_run) = mpsc::channel::<()>();
        let outcome = worker.call(CALL_LIMIT, move || {
            let _ = ran.send(());
            Ok(())
        });
        assert!(matches!(outcome, Err(Error::Hung { .. })), "{outcome:?}");
        assert!(began.elapsed() < Duration::from_secs(1));
        drop(release);
        assert!(was_run.recv().is_err(), "a job ran after its caller was told that the keyring hangs");
    }

    #[test]
    fn a_panic_in_the_keyring_crates_is_an_error_and_stays_one() {
        let worker = leaked_worker();
        for _ in 0..2 {
            let outcome: Result<(), Error> = worker.call(CALL_LIMIT, || panic!("please report a bug"));
            assert!(matches!(outcome, Err(Error::Failed { .. })), "{outcome:?}");
        }
    }

    #[test]
    fn meanings() {
        let platform = |text: &str| Keyring::PlatformFailure(text.to_owned().into());
        let no_access = |text: &str| Keyring::NoStorageAccess(text.to_owned().into());
        let check = |error: &Keyring, expected: &str| {
            let meant = format!("{:?}", meaning("test", error));
            assert!(meant.starts_with(expected), "{error} means {meant}, not {expected}");
        };
        check(&no_access("SS error: prompt dismissed"), "Locked");
        check(&no_access("SS Error: object locked"), "Locked");
        check(&platform("zbus error: org.freedesktop.Secret.Error.IsLocked: Cannot create an item"), "Locked");
        check(&no_access("SS error: result not returned from SS API"), "NoDefaultKeyring");
        check(
            &platform("zbus error: Failed to connect to address `unix:path=/run/user/0/bus`: No such file"),
            "Absent",
        );
        check(&platform("no secret service provider or dbus session found"), "Absent");
        check(
            &platform("zbus error: org.freedesktop.DBus.Error.ServiceUnknown: The name is not activatable"),
            "Absent",
        );
        check(&platform("zbus error: org.freedesktop.DBus.Error.AccessDenied: no"), "Denied");
        check(&platform("zbus error: Failed to connect to address `unix:path=/x`: Permission denied"), "Denied");
        check(&no_access("anything else"), "Denied");
        check(&platform("anything else"), "Failed");
    }

    #[test]
    fn what_cannot_be_read_is_not_repeated() {
        let error = Keyring::BadDataFormat(b"hunter2".to_vec(), "not base64".into());
        assert!(!format!("{:?}", meaning("test", &error)).contains("104, 117"));
        let error = Keyring::BadEncoding(b"hunter2".to_vec());
        assert!(!format!("{:?}", meaning("test", &error)).contains("104, 117"));
    }

    /// Loses what is written, as a wallet of text does with bytes that are not text.
    #[derive(Debug)]
    struct Losing;

    impl CredentialApi for Losing {
        fn set_secret(&self, _: &[u8]) -> keyring_core::Result<()> {
            Ok(())
        }

        fn get_secret(&self) -> keyring_core::Result<Vec<u8>> {
            Ok(b"\xef\xbf\xbd".to_vec())
        }

        fn delete_credential(&self) -> keyring_core::Result<()> {
            Ok(())
        }

        fn get_credential(&self) -> keyring_core::Result<Option<Arc<Credential>>> {
            Ok(None)
        }

        fn get_specifiers(&self) -> Option<(String, String)> {
            None
        }

        fn as_any(&self) -> &dyn Any {
            self
        }
    }

    #[test]
    fn a_keyring_that_loses_writes_is_found_out() {
        let slot = SecretRef::from_inventory("s/plant-a/r/g1".into());
        let outcome = put(&Entry::new_with_credential(Arc::new(Losing)), &slot, &[0xff, 0x00]);
        assert!(matches!(outcome, Err(Error::Lossy { .. })), "{outcome:?}");
    }
}
