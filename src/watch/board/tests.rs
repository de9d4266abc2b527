//! The board over a directory of its own.

use std::{fs, os::unix::fs::PermissionsExt as _};

use time::macros::datetime;

use super::*;
use crate::inventory::{Task, TaskFailure};

const NOW: OffsetDateTime = datetime!(2026-11-22 03:00 UTC);

struct Place {
    dir: tempfile::TempDir,
    board: Board,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("robocred.toml");
        write(&file, "version = 1\n");
        let board = Board::new(Config::load_file(&file).unwrap(), dir.path().join("state"));
        Self { dir, board }
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("robocred.toml")
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    async fn inventory(&self) -> Inventory {
        Inventory::open(&self.state(), "tester", NOW).await.unwrap()
    }
}

/// As an editor does: another file under the same name.
fn write(file: &Path, text: &str) {
    let new = file.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(new, file).unwrap();
}

const SITE: &str = "version = 1\n[sites.plant]\nurl = \"https://10.0.0.5\"\ntrust = \"system\"\n";

#[tokio::test]
async fn an_unchanged_configuration_is_not_read_again() {
    let place = Place::new();
    let first = place.board.view().await;
    assert!(Arc::ptr_eq(&first.config, &place.board.view().await.config));
    write(&place.config(), SITE);
    let second = place.board.view().await;
    assert_eq!((second.config.sites.len(), second.config_trouble), (1, None));
    place.board.reload().await.unwrap();
    assert!(!Arc::ptr_eq(&second.config, &place.board.view().await.config));
}

#[tokio::test]
async fn a_broken_configuration_leaves_the_last_good_one() {
    let place = Place::new();
    write(&place.config(), SITE);
    assert_eq!(place.board.view().await.config.sites.len(), 1);
    for broken in ["version = 2\n", "\0", "version = 1\nversion = 1\n"] {
        write(&place.config(), broken);
        // Told at every look, not only at the one that found it.
        for _ in 0..2 {
            let view = place.board.view().await;
            assert_eq!(view.config.sites.len(), 1, "{broken:?}");
            assert!(view.config_trouble.unwrap().contains("the configuration read before is kept"), "{broken:?}");
        }
        place.board.reload().await.unwrap_err();
    }
    fs::remove_file(place.config()).unwrap();
    let view = place.board.view().await;
    assert!(view.config_trouble.as_ref().unwrap().contains("is gone"));
    assert_eq!(view.config.sites.len(), 1);
    assert!(view.report(NOW).warnings.iter().any(|warning| warning.contains("is gone")));
    write(&place.config(), SITE);
    assert_eq!(place.board.view().await.config_trouble, None);
}

#[tokio::test]
async fn a_mode_that_is_set_right_is_noticed() {
    let place = Place::new();
    fs::set_permissions(place.config(), fs::Permissions::from_mode(0o666)).unwrap();
    assert!(place.board.view().await.config_trouble.is_some());
    fs::set_permissions(place.config(), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(place.board.view().await.config_trouble, None);
}

#[tokio::test]
async fn the_inventory_is_read_when_it_has_changed() {
    let place = Place::new();
    let view = place.board.view().await;
    assert_eq!((view.trouble, view.store_id.as_ref()), (None, ""));
    let inventory = place.inventory().await;
    let first = place.board.view().await;
    assert_eq!((first.trouble.as_ref(), first.store_id.as_ref()), (None, inventory.store_id()));
    assert!(Arc::ptr_eq(&first.holdings, &place.board.view().await.holdings), "it was read again for nothing");

    let failure = TaskFailure { code: "hung".into(), message: "it hung".into() };
    let site = "plant".parse().unwrap();
    let hour = |_| time::Duration::HOUR;
    inventory.task_ended(&site, Task::Rotate, Err(&failure), hour, NOW).await.unwrap();
    let second = place.board.view().await;
    assert!(!Arc::ptr_eq(&first.holdings, &second.holdings));
    assert!(second.report(NOW).warnings.iter().any(|warning| warning.contains("it hung")));
}

#[tokio::test]
async fn an_inventory_that_is_gone_is_trouble_until_it_is_back() {
    let place = Place::new();
    place.inventory().await.close().await.unwrap();
    let there = place.board.view().await;
    let away = place.dir.path().join("away");
    fs::rename(place.state(), &away).unwrap();
    for _ in 0..2 {
        let gone = place.board.view().await;
        assert!(gone.trouble.as_ref().unwrap().contains("is gone"), "{:?}", gone.trouble);
        // What was known is still shown, and nothing is made anew.
        assert!(Arc::ptr_eq(&there.holdings, &gone.holdings) && !place.state().exists());
    }
    fs::rename(&away, place.state()).unwrap();
    assert_eq!(place.board.view().await.trouble, None);

    // Another one in its place is read, not the one that was open.
    fs::remove_dir_all(place.state()).unwrap();
    let other = place.inventory().await;
    let view = place.board.view().await;
    assert_eq!((view.trouble, view.store_id.as_ref()), (None, other.store_id()));
}

#[tokio::test]
async fn a_damaged_inventory_is_trouble() {
    let place = Place::new();
    place.inventory().await.close().await.unwrap();
    assert_eq!(place.board.view().await.trouble, None);
    let file = place.state().join("inventory.db");
    fs::remove_file(&file).unwrap();
    fs::write(&file, "no database").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(place.board.view().await.trouble.unwrap().contains("damaged"));
}

#[test]
fn the_first_plan_is_remembered() {
    let place = Place::new();
    let hindered = || Beat { hindrance: Some("the lock is lost".to_owned()), ..Beat::default() };
    assert!(!place.board.health().planned);
    place.board.beat(hindered());
    assert!(!place.board.health().planned);
    place.board.beat(Beat::default());
    place.board.beat(hindered());
    let health = place.board.health();
    assert!(health.planned && health.since_beat < Duration::from_mins(1));
}

#[tokio::test]
async fn what_the_loop_cannot_do_is_in_the_report() {
    let place = Place::new();
    let check = async |beat: Beat, words: &[&str], unread: usize| {
        place.board.beat(beat);
        let view = place.board.view().await;
        let report = view.report(NOW);
        assert_eq!((report.warnings.len(), report.unread.len()), (words.len(), unread), "{:?}", report.warnings);
        for word in words {
            assert!(report.warnings.iter().any(|warning| warning.contains(word)), "{word}: {:?}", report.warnings);
        }
    };
    check(Beat::default(), &[], 0).await;
    check(Beat { hindrance: Some("the lock is lost".to_owned()), ..Beat::default() }, &["the lock is lost"], 1).await;
    let unrecorded = ["plant".parse().unwrap()].into();
    check(Beat { unrecorded, ..Beat::default() }, &["of plant has ended could not be written down"], 0).await;
}
