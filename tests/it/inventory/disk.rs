//! A disk that cannot be written to, and one that is full: real mounts in a
//! namespace of their own.

use std::process::Command;

use robocred::inventory::{Error, Inventory};

use super::*;

const DIR: &str = "ROBOCRED_TEST_INVENTORY";

/// Runs one ignored test of this binary where `mount` has been run on `dir`;
/// `false` if this system allows no mounts.
fn run_mounted(dir: &Path, mount: &str, test: &str) -> bool {
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-ec", script, "sh"]).arg(dir);
        command.arg(std::env::current_exe().unwrap()).arg(test).env(DIR, dir);
        command.output()
    };
    if !unshare(mount).is_ok_and(|output| output.status.success()) {
        let missing = "a mount namespace is not allowed here (unshare --user --map-root-user --mount)";
        assert!(std::env::var_os("ROBOCRED_TEST_NO_SKIP").is_none(), "{missing}");
        eprintln!("SKIPPED: {missing}");
        return false;
    }
    let script = format!("{mount}; exec \"$2\" --exact \"inventory::disk::$3\" --ignored --nocapture");
    let output = unshare(&script).unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
    true
}

fn mounted() -> Option<std::path::PathBuf> {
    std::env::var_os(DIR).map(Into::into)
}

const READ_ONLY: &str = "mount --bind \"$1\" \"$1\"; mount -o remount,bind,ro \"$1\"";

#[tokio::test]
async fn a_read_only_disk_is_read_and_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let inventory = open(dir.path()).await;
    let lock = lock(&inventory, "plant").await;
    adopt(&inventory, &lock, &robot("plant/lucidum")).await;
    drop(lock);
    inventory.close().await.unwrap();
    assert!(!dir.path().join("inventory.db-wal").exists());
    run_mounted(dir.path(), READ_ONLY, "reads_from_a_read_only_disk");
}

#[tokio::test]
#[ignore = "run by the test above, on another disk"]
async fn reads_from_a_read_only_disk() {
    let Some(dir) = mounted() else { return };
    let inventory = Inventory::open_read_only(&dir).await.unwrap().unwrap();
    assert_eq!(inventory.robots().await.unwrap().len(), 1);
    assert!(inventory.warning().unwrap().ends_with("read-only or full"), "{:?}", inventory.warning());
    let refused = Inventory::open(&dir, "tester", NOW).await.map(drop);
    assert!(matches!(refused, Err(Error::ReadOnly { .. })), "{refused:?}");
    assert!(Inventory::open_read_only(&dir.join("missing")).await.unwrap().is_none());
    let refused = Inventory::open(&dir.join("missing"), "tester", NOW).await.map(drop);
    assert!(matches!(refused, Err(Error::ReadOnly { .. })), "{refused:?}");
}

#[test]
fn a_full_disk_takes_all_of_a_change_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mount = "mount -t tmpfs -o size=1m,mode=0700 none \"$1\"";
    run_mounted(dir.path(), mount, "fills_the_disk");
}

#[tokio::test]
#[ignore = "run by the test above, on another disk"]
async fn fills_the_disk() {
    let Some(dir) = mounted() else { return };
    let inventory = open(&dir).await;
    let lock = lock(&inventory, "plant").await;
    let robot = robot("plant/lucidum");
    adopt(&inventory, &lock, &robot).await;
    let id = bring(&inventory, &lock, &robot, State::Keyed).await;
    let filler = dir.join("filler");
    std::io::copy(&mut std::io::repeat(0), &mut std::fs::File::create(&filler).unwrap()).unwrap_err();

    let entries = inventory.audit().await.unwrap();
    let mut state = State::Keyed;
    let mut made = 0;
    let full = loop {
        let change = match state {
            State::Keyed => Change::SendBegun { control: Control::Refused },
            _ => Change::NotDone { reason: "full".to_owned() },
        };
        match inventory.advance(&lock, &id, change, NOW).await {
            Ok(record) => (state, made) = (record.state, made + 1),
            Err(error) => break error,
        }
        assert!(made < 1000, "the disk is not full");
    };
    assert!(matches!(full, Error::Full { .. }), "{full:?}");
    assert_eq!(inventory.records(&robot).await.unwrap()[0].state, state);
    assert_eq!(inventory.audit().await.unwrap().len(), entries.len() + made);

    // Nothing can begin there either, and nothing half-made is left.
    let other = dir.join("other");
    let refused = Inventory::open(&other, "tester", NOW).await.map(drop);
    assert!(matches!(refused, Err(Error::Full { .. })), "{refused:?}");
    assert!(!other.join("inventory.db").exists() && !other.join("inventory.db.new").exists());

    // What is there can still be read.
    drop(lock);
    inventory.close().await.unwrap();
    std::io::copy(&mut std::io::repeat(0), &mut std::fs::File::create(&filler).unwrap()).unwrap_err();
    let reader = Inventory::open_read_only(&dir).await.unwrap().unwrap();
    assert_eq!(reader.records(&robot).await.unwrap()[0].state, state);
    assert!(reader.warning().unwrap().ends_with("read-only or full"), "{:?}", reader.warning());
    reader.close().await.unwrap();
    let refused = Inventory::open(&dir, "tester", NOW).await.map(drop);
    assert!(matches!(refused, Err(Error::Full { .. })), "{refused:?}");

    std::fs::remove_file(filler).unwrap();
    let inventory = open(&dir).await;
    let lock = super::lock(&inventory, "plant").await;
    let give_up = Change::NotDone { reason: "space again".to_owned() };
    if state == State::Sending {
        inventory.advance(&lock, &id, give_up, NOW).await.unwrap();
    }
    inventory.advance(&lock, &id, Change::GivenUp { reason: "enough".to_owned() }, NOW).await.unwrap();
    open(&other).await;
}
