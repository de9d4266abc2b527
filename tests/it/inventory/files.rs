//! The files: who may read them, what is refused, and that what is refused is left as it is.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use robocred::inventory::{Error, Inventory};

use super::*;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn names(dir: &Path) -> Vec<PathBuf> {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn everything_is_kept_to_its_owner() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("a/state");
    let inventory = open(&dir).await;
    let _lock = lock(&inventory, "plant").await;
    for path in [&dir, &dir.join("locks")] {
        assert_eq!(mode(path), 0o700, "{}", path.display());
    }
    let files = names(&dir).into_iter().filter(|path| path.is_file()).chain([dir.join("locks/plant")]);
    let mut seen = 0;
    for path in files {
        seen += 1;
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    assert_eq!(seen, 5, "the file, its log, its index and two locks");
}

#[tokio::test]
async fn what_others_may_write_to_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).await);
    let file = dir.path().join("inventory.db");
    for (path, bad, good) in [(dir.path(), 0o770, 0o700), (file.as_path(), 0o602, 0o600)] {
        fs::set_permissions(path, fs::Permissions::from_mode(bad)).unwrap();
        assert!(matches!(Inventory::open(dir.path(), "tester", NOW).await, Err(Error::Unsafe { .. })));
        assert!(matches!(Inventory::open_read_only(dir.path()).await, Err(Error::Unsafe { .. })));
        fs::set_permissions(path, fs::Permissions::from_mode(good)).unwrap();
    }
    let elsewhere = dir.path().join("elsewhere");
    fs::rename(&file, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &file).unwrap();
    assert!(matches!(Inventory::open(dir.path(), "tester", NOW).await, Err(Error::Unsafe { .. })));
}

#[tokio::test]
async fn reading_nothing_makes_nothing() {
    let parent = tempfile::tempdir().unwrap();
    for dir in [parent.path().to_owned(), parent.path().join("missing")] {
        assert!(Inventory::open_read_only(&dir).await.unwrap().is_none());
    }
    assert_eq!(names(parent.path()), [] as [PathBuf; 0]);
}

#[tokio::test]
async fn a_reader_sees_each_commit_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let inventory = open(dir.path()).await;
    let lock = lock(&inventory, "plant").await;
    let robot = robot("plant/lucidum");
    let reader = Inventory::open_read_only(dir.path()).await.unwrap().unwrap();
    assert_eq!(reader.warning(), None);
    assert!(reader.robots().await.unwrap().is_empty());
    adopt(&inventory, &lock, &robot).await;
    assert_eq!(reader.robots().await.unwrap().len(), 1);
    let refused = reader.plan_generation(&lock, &next_of(&robot), NOW).await;
    assert!(matches!(refused, Err(Error::ReadOnly { .. })), "{refused:?}");
    assert!(matches!(reader.lock_site(lock.site(), None, NOW).await, Err(Error::ReadOnly { .. })));
}

/// Both ways of opening refuse, and not a byte has changed.
async fn check_refused(dir: &Path, expected: fn(&Error) -> bool) {
    let file = dir.join("inventory.db");
    let before = fs::read(&file).unwrap();
    let (read, write) =
        (Inventory::open_read_only(dir).await.map(drop), Inventory::open(dir, "tester", NOW).await.map(drop));
    for refused in [read, write] {
        let refused = refused.unwrap_err();
        assert!(expected(&refused), "{refused:?}");
    }
    assert!(before == fs::read(&file).unwrap(), "the file was changed");
}

#[tokio::test]
async fn what_is_no_inventory_is_left_as_it_is() {
    let noise: Vec<u8> = (0..20_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    for content in [noise, Vec::new(), b"SQLite format 3\0".to_vec()] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("inventory.db"), content).unwrap();
        check_refused(dir.path(), |error| matches!(error, Error::Damaged { .. })).await;
    }
    // Another program's database.
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("inventory.db"), "").unwrap();
    execute(dir.path(), "CREATE TABLE other (x)").await;
    check_refused(dir.path(), |error| matches!(error, Error::Damaged { .. })).await;
}

#[tokio::test]
async fn a_newer_inventory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).await);
    execute(dir.path(), "PRAGMA user_version = 99").await;
    check_refused(dir.path(), |error| matches!(error, Error::Newer { found: 99, known: 4, .. })).await;
}

#[tokio::test]
async fn a_change_of_schema_that_fails_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).await);
    // As if it had been written before the first step, whose tables are there already.
    execute(dir.path(), "PRAGMA user_version = 0").await;
    check_refused(dir.path(), |error| matches!(error, Error::Older { found: 0, .. } | Error::Database { .. })).await;
}

#[tokio::test]
async fn a_broken_page_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let inventory = open(dir.path()).await;
    let lock = lock(&inventory, "plant").await;
    for number in 0..40 {
        adopt(&inventory, &lock, &robot(&format!("plant/r{number}"))).await;
    }
    drop(lock);
    inventory.close().await.unwrap();
    assert!(!dir.path().join("inventory.db-wal").exists());
    let file = dir.path().join("inventory.db");
    let mut content = fs::read(&file).unwrap();
    for page in content.chunks_mut(4096).skip(1) {
        page[..200].fill(0xa5);
    }
    fs::write(&file, &content).unwrap();
    let refused = Inventory::open(dir.path(), "tester", NOW).await.map(drop).unwrap_err();
    assert!(matches!(refused, Error::Damaged { .. }), "{refused:?}");
    let read = match Inventory::open_read_only(dir.path()).await {
        Ok(reader) => reader.unwrap().robots().await.map(drop),
        Err(error) => Err(error),
    };
    assert!(matches!(read, Err(Error::Damaged { .. })), "{read:?}");
    assert!(content == fs::read(&file).unwrap(), "the file was changed");
}

#[tokio::test]
async fn a_log_without_its_inventory_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("inventory.db-wal"), "left over").unwrap();
    assert!(matches!(Inventory::open(dir.path(), "tester", NOW).await, Err(Error::Damaged { .. })));
    assert!(matches!(Inventory::open_read_only(dir.path()).await, Err(Error::Damaged { .. })));
    assert!(!dir.path().join("inventory.db").exists());
}

#[tokio::test]
async fn what_a_crash_left_of_a_creation_is_in_nobodys_way() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("inventory.db.new"), "half").unwrap();
    let inventory = open(dir.path()).await;
    assert!(inventory.robots().await.unwrap().is_empty());
    assert!(!dir.path().join("inventory.db.new").exists());
}
