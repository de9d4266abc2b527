//! The secret stores: one behaviour suite for all, the handle, and the choice between them.

use std::fs;

use robocred::{
    credential::SecretRef,
    secrets::{Choice, Error, MemoryStore, SecretStore, Secrets, open, probe},
    site::StoreKind,
};

use crate::secrets_sealed::Home;

pub const MARKER: &[u8] = b"-----a secret that must never be seen in clear-----";

pub fn slot(name: &str) -> SecretRef {
    SecretRef::from_inventory(format!("7f3a/{name}"))
}

/// What every store does.
pub fn suite(store: &dyn SecretStore) {
    let (key, other) = (slot("plant-a/lucidum/g1"), slot("Plant-A/lucidum/g1"));
    let binary: Vec<u8> = (0..=255).cycle().take(2373).collect();

    assert!(matches!(store.read(&key), Err(Error::NotFound { slot }) if slot == key), "read before put");
    store.remove(&key).expect("removing what is not there");

    store.put(&key, "robocred: plant-a/lucidum generation 1 (private key)", &binary).expect("put");
    assert_eq!(*store.read(&key).expect("read"), binary, "binary bytes of the largest key");
    assert!(matches!(store.read(&other), Err(Error::NotFound { .. })), "letters of another case are another slot");

    store.put(&other, "robocred: Plant-A/lucidum generation 1 (private key)", b"other").expect("put beside it");
    store.put(&key, "robocred: plant-a/lucidum generation 1 (private key)", b"replaced").expect("replace");
    assert_eq!(**store.read(&key).expect("read"), *b"replaced");
    assert_eq!(**store.read(&other).expect("read"), *b"other", "replacing one leaves the other");

    store.remove(&key).expect("remove");
    assert!(matches!(store.read(&key), Err(Error::NotFound { .. })), "read after remove");
    store.remove(&key).expect("remove twice");
    assert_eq!(**store.read(&other).expect("read"), *b"other", "removing one leaves the other");
    store.remove(&other).expect("remove");

    assert_eq!(store.anchor("7f3a").expect("no anchor"), None);
    for anchor in [b"first", b"later"] {
        store.set_anchor("7f3a", anchor).expect("keep an anchor");
        assert_eq!(**store.anchor("7f3a").expect("read it").expect("it is there"), *anchor);
    }
    assert_eq!(store.anchor("7f3b").expect("another's anchor"), None);
    // Where slots are listed by hand, nothing may be left behind.
    store.remove(&SecretRef::anchor("7f3a")).expect("remove the anchor");
}

#[test]
fn every_store_without_a_keyring_behaves_alike() {
    suite(&MemoryStore::default());
    suite(&Home::new().store());
    suite(&Home::with_key_file(&[7; 32]).store());
    suite(&Home::with_passphrase(b"correct horse battery staple\n").store());
    suite(&Home::with_credential(&[9; 32]).store());
}

#[test]
fn an_anchor_of_sealed_files_never_rests_in_the_state_directory() {
    let mut home = Home::new();
    home.store().set_anchor("7f3a", b"outside").unwrap();
    assert!(home.dir.path().join("config/robocred/anchor-7f3a.json").exists());
    for inside in ["state/seal.key", "state/deeper/seal.key"] {
        home.places.default_key_file = home.dir.path().join(inside);
        let error = home.store().set_anchor("7f3a", b"inside").unwrap_err();
        assert!(matches!(error, Error::Failed { step: "keep an anchor", .. }), "{error:?}");
        home.store().anchor("7f3a").unwrap_err();
    }
    assert!(!home.dir.path().join("state").exists());
}

/// A store that finds every write lost.
struct Lossy;

impl SecretStore for Lossy {
    fn kind(&self) -> StoreKind {
        StoreKind::Keyring
    }

    fn put(&self, slot: &SecretRef, _: &str, _: &[u8]) -> Result<(), Error> {
        Err(Error::Lossy { slot: slot.clone() })
    }

    fn read(&self, slot: &SecretRef) -> Result<zeroize::Zeroizing<Vec<u8>>, Error> {
        Err(Error::NotFound { slot: slot.clone() })
    }

    fn remove(&self, _: &SecretRef) -> Result<(), Error> {
        Ok(())
    }
}

#[tokio::test]
async fn the_handle_passes_on_what_its_store_says() {
    let secrets = Secrets::new(MemoryStore::default());
    secrets.put(&slot("a"), "a", MARKER).await.unwrap();
    assert_eq!(**secrets.clone().read(&slot("a")).await.unwrap(), *MARKER, "clones share one store");
    secrets.remove(&slot("a")).await.unwrap();
    assert!(matches!(secrets.read(&slot("a")).await, Err(Error::NotFound { .. })));
    assert_eq!(format!("{secrets:?}"), "Secrets(sealed)");

    let lossy = Secrets::new(Lossy);
    assert_eq!(lossy.kind(), StoreKind::Keyring);
    assert!(matches!(lossy.put(&slot("a"), "a", MARKER).await, Err(Error::Lossy { .. })));
}

#[tokio::test]
async fn the_recorded_store_is_used_and_not_contradicted() {
    let home = Home::new();
    for choice in [Choice::Auto, Choice::Sealed] {
        let opened = open(choice, Some(StoreKind::Sealed), false, &home.places).await.unwrap();
        assert_eq!((opened.secrets.kind(), opened.notice), (StoreKind::Sealed, None));
    }
    let opened = open(Choice::Auto, Some(StoreKind::Keyring), true, &home.places).await.unwrap();
    assert_eq!((opened.secrets.kind(), opened.notice), (StoreKind::Keyring, None), "even where auto would say sealed");
    for (choice, recorded, wanted) in [
        (Choice::Keyring, StoreKind::Sealed, StoreKind::Keyring),
        (Choice::Sealed, StoreKind::Keyring, StoreKind::Sealed),
    ] {
        let error = open(choice, Some(recorded), false, &home.places).await.unwrap_err();
        assert!(
            matches!(error, Error::OtherStore { recorded: r, wanted: w } if (r, w) == (recorded, wanted)),
            "{error:?}"
        );
    }
    assert_eq!(fs::read_dir(home.dir.path()).unwrap().count(), 0, "opening makes nothing");
}

#[tokio::test]
async fn a_system_service_uses_sealed_files_without_asking_for_a_keyring() {
    let home = Home::new();
    let opened = open(Choice::Auto, None, true, &home.places).await.unwrap();
    assert_eq!((opened.secrets.kind(), opened.notice), (StoreKind::Sealed, None));
}

#[tokio::test]
async fn a_wrong_sealing_key_is_known_when_the_store_is_opened() {
    let mut home = Home::with_key_file(&[7; 32]);
    home.store().put(&slot("a"), "a", MARKER).unwrap();
    home.places.key_file = Some(home.file("other", &[8; 32]));
    let error = open(Choice::Auto, Some(StoreKind::Sealed), false, &home.places).await.unwrap_err();
    assert!(matches!(error, Error::WrongSealKey { .. }), "{error:?}");
}

#[tokio::test]
async fn probing_sealed_files_makes_no_key_and_leaves_no_canary() {
    let home = Home::new();
    let tried = probe(Choice::Sealed, None, false, &home.places).await.unwrap();
    assert_eq!((tried.kind, tried.took), (StoreKind::Sealed, None));
    assert!(tried.notice.unwrap().contains("seal.key"));
    assert_eq!(fs::read_dir(home.dir.path()).unwrap().count(), 0);

    home.store().put(&slot("a"), "a", MARKER).unwrap();
    let tried = probe(Choice::Sealed, None, false, &home.places).await.unwrap();
    assert!(tried.took.is_some() && tried.notice.is_none(), "{tried:?}");
    home.sealed();
}

#[test]
fn words_of_the_choice() {
    assert_eq!("auto".parse(), Ok(Choice::Auto));
    assert_eq!("keyring".parse(), Ok(Choice::Keyring));
    assert_eq!("sealed".parse(), Ok(Choice::Sealed));
    let error = "clear".parse::<Choice>().unwrap_err();
    assert_eq!(error.to_string(), r#""clear" is not a secret store (known: keyring, sealed, auto)"#);
}
