//! Each look of `doctor`, in each of its outcomes.

use std::{
    fs as disk,
    os::unix::fs::{PermissionsExt, symlink},
};

use time::Duration;

use super::*;
use crate::{config::Origin, inventory::Observation, site::StoreKind};

const NOW: OffsetDateTime = datetime!(2026-11-22 12:00 UTC);

/// A machine's worth of places in a directory of its own; nothing is there yet.
struct Machine {
    root: tempfile::TempDir,
    paths: Paths,
}

impl Machine {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths {
            config: root.path().join("config/robocred.toml"),
            config_origin: Origin::Flag("--config"),
            state_dir: root.path().join("state"),
            state_origin: Origin::Flag("--state-dir"),
            system: false,
            seal: config::Seal { credential: None, default_key_file: root.path().join("config/seal.key") },
            other_system_inventory: None,
            machine: None,
        };
        Self { root, paths }
    }

    /// One with configuration, inventory and sealing key, as after a first `provision`.
    async fn in_use() -> Self {
        let machine = Self::new();
        machine.write("config/robocred.toml", 0o600, b"version = 1\n");
        machine.write("config/seal.key", 0o600, &[7; 32]);
        let inventory = Inventory::open(&machine.paths.state_dir, "tester", NOW).await.unwrap();
        inventory.record_store_kind(StoreKind::Sealed, NOW).await.unwrap();
        inventory.close().await.unwrap();
        machine
    }

    fn write(&self, name: &str, mode: u32, content: &[u8]) {
        let path = self.root.path().join(name);
        disk::create_dir_all(path.parent().unwrap()).unwrap();
        disk::write(&path, content).unwrap();
        self.chmod(name, mode);
    }

    fn chmod(&self, name: &str, mode: u32) {
        disk::set_permissions(self.root.path().join(name), disk::Permissions::from_mode(mode)).unwrap();
    }

    async fn look_at(&self, now: OffsetDateTime) -> Vec<Check> {
        let config = Config::load(&self.paths);
        doctor(&self.paths, config.as_ref(), Choice::Sealed, now).await
    }

    /// How one look ended, with what it said and advised; every other look
    /// ends as it would without the trouble.
    async fn only(&self, name: &str, others: &[&str]) -> (Ended, String) {
        let checks = self.look_at(NOW).await;
        for check in &checks {
            let may_differ = check.name == name || others.contains(&check.name) || check.name == "swap";
            assert!(may_differ || check.ended == Ended::Pass, "{check:?}");
            assert!(check.ended == Ended::Pass || check.ended == Ended::Skip || check.hint.is_some(), "{check:?}");
        }
        let check = checks.into_iter().find(|check| check.name == name).unwrap();
        (check.ended, format!("{} | {}", check.detail, check.hint.unwrap_or_default()))
    }
}

#[tokio::test]
async fn a_machine_in_use() {
    let machine = Machine::in_use().await;
    let checks = machine.look_at(NOW).await;
    assert_eq!(checks.iter().map(|check| check.name).collect::<Vec<_>>(), NAMES);
    for check in checks.iter().filter(|check| check.name != "swap") {
        assert_eq!(check.ended, Ended::Pass, "{check:?}");
        assert_eq!(check.hint, None, "{check:?}");
        assert!(check.millis.is_some());
    }
    let detail = |name: &str| checks.iter().find(|check| check.name == name).unwrap().detail.clone();
    assert!(detail("config").contains("sites: 0, robots: 0"), "{}", detail("config"));
    assert!(detail("store").starts_with("sealed: wrote, read back and removed in "), "{}", detail("store"));
    assert!(detail("seal-key").contains("on the same disk as the state"), "{}", detail("seal-key"));
    assert!(detail("seal-key").contains("not against this user or root"), "{}", detail("seal-key"));
    assert!(detail("inventory").starts_with("whole, with 1 audit entries"), "{}", detail("inventory"));
    let secrets: Vec<_> = disk::read_dir(machine.paths.state_dir.join("secrets")).unwrap().collect();
    assert!(secrets.is_empty(), "the canary stayed: {secrets:?}");
}

#[tokio::test]
async fn a_machine_where_nothing_was_done_yet() {
    let machine = Machine::new();
    for check in machine.look_at(NOW).await.iter().filter(|check| check.name != "swap") {
        assert_eq!(check.ended, Ended::Pass, "{check:?}");
    }
    assert_eq!(disk::read_dir(machine.root.path()).unwrap().count(), 0, "looking makes nothing");

    let machine = Machine {
        paths: Paths { other_system_inventory: Some("/var/lib/robocred".into()), ..machine.paths },
        ..machine
    };
    let (ended, said) = machine.only("inventory", &[]).await;
    assert!(ended == Ended::Warn && said.contains("--state-dir /var/lib/robocred"), "{said}");
}

#[tokio::test]
async fn the_configuration() {
    let machine = Machine::in_use().await;
    machine.write("config/robocred.toml", 0o600, b"version = 1\nfirst = 1\nsecond = 2\n");
    let (ended, said) = machine.only("config", &["store", "seal-key", "anchor"]).await;
    assert_eq!(ended, Ended::Fail);
    assert!(said.contains("first") && said.contains("second") && said.contains("robocred config check"), "{said}");
    let checks = machine.look_at(NOW).await;
    for name in ["store", "seal-key", "anchor"] {
        let check = checks.iter().find(|check| check.name == name).unwrap();
        assert_eq!((check.ended, check.millis), (Ended::Skip, None), "{name}");
    }
}

#[tokio::test]
async fn the_permissions() {
    for (name, mode, ended, also) in [
        ("config/robocred.toml", 0o666, Ended::Fail, &["config", "store", "seal-key", "anchor"][..]),
        ("config/robocred.toml", 0o644, Ended::Pass, &[]),
        ("state", 0o777, Ended::Fail, &["inventory"]),
        ("state", 0o755, Ended::Warn, &[]),
        ("state/inventory.db", 0o620, Ended::Fail, &["inventory"]),
        ("state/inventory.db", 0o640, Ended::Warn, &[]),
        ("config/seal.key", 0o640, Ended::Fail, &["store", "anchor"]),
    ] {
        let machine = Machine::in_use().await;
        machine.chmod(name, mode);
        let (found, said) = machine.only("permissions", also).await;
        assert_eq!(found, ended, "{name} {mode:o}: {said}");
        let path = machine.root.path().join(name);
        assert!(ended == Ended::Pass || said.contains(&format!("{} ", path.display())), "{said}");
        assert!(ended == Ended::Pass || said.contains("run `chmod 0"), "{said}");
    }

    let machine = Machine::in_use().await;
    machine.chmod("state", 0o755);
    machine.chmod("config/seal.key", 0o604);
    let (found, said) = machine.only("permissions", &["store", "anchor"]).await;
    assert!(found == Ended::Fail && said.contains("seal.key"), "the worst is told: {said}");

    if rustix::process::geteuid().is_root() {
        let machine = Machine::in_use().await;
        std::os::unix::fs::chown(&machine.paths.state_dir, Some(12_345), None).unwrap();
        let (found, said) = machine.only("permissions", &["inventory"]).await;
        assert!(found == Ended::Fail && said.contains("belongs to user 12345, this is user 0"), "{said}");
    }
}

#[tokio::test]
async fn the_state_directory() {
    let machine = Machine::new();
    machine.write("state", 0o600, b"a file");
    let (ended, said) = machine.only("state-dir", &["inventory", "store"]).await;
    assert!(ended == Ended::Fail && said.contains("is not a directory"), "{said}");

    let machine = Machine::new();
    machine.write("file", 0o600, b"");
    let below =
        Machine { paths: Paths { state_dir: machine.root.path().join("file/state"), ..machine.paths }, ..machine };
    let (ended, said) = below.only("state-dir", &["inventory", "store", "disk"]).await;
    assert!(ended == Ended::Fail && said.contains("file is not a directory"), "{said}");

    let machine = Machine::in_use().await;
    disk::rename(&machine.paths.state_dir, machine.root.path().join("elsewhere")).unwrap();
    symlink("elsewhere", &machine.paths.state_dir).unwrap();
    let (ended, said) = machine.only("state-dir", &["inventory"]).await;
    assert!(ended == Ended::Fail && said.contains("is a symbolic link"), "{said}");

    assert!(machine::may_write(machine.root.path()));
    if !rustix::process::geteuid().is_root() {
        machine.chmod("elsewhere", 0o500);
        assert!(!machine::may_write(&machine.root.path().join("elsewhere")));
        machine.chmod("elsewhere", 0o700);
    }
}

#[tokio::test]
async fn the_inventory() {
    let machine = Machine::in_use().await;
    machine.write(
        "state/inventory.db",
        0o600,
        b"no database, and longer than a header of one hundred bytes. ".repeat(9).as_slice(),
    );
    let (ended, said) = machine.only("inventory", &[]).await;
    assert!(ended == Ended::Fail && said.contains("is damaged") && said.contains("from a backup"), "{said}");

    // The version in the file's header (user_version, at 60) is a later one.
    let machine = Machine::in_use().await;
    let file = machine.paths.state_dir.join("inventory.db");
    let mut bytes = disk::read(&file).unwrap();
    bytes[60..64].copy_from_slice(&9999_u32.to_be_bytes());
    disk::write(&file, bytes).unwrap();
    let (ended, said) = machine.only("inventory", &[]).await;
    assert!(ended == Ended::Fail && said.contains("9999") && said.contains("newer robocred"), "{said}");

    // A page in its midst is overwritten.
    let machine = Machine::in_use().await;
    let file = machine.paths.state_dir.join("inventory.db");
    let mut bytes = disk::read(&file).unwrap();
    let end = bytes.len();
    bytes[end - 4096..].fill(0x5a);
    disk::write(&file, bytes).unwrap();
    let (ended, said) = machine.only("inventory", &[]).await;
    assert!(ended == Ended::Fail && said.contains("damaged"), "{said}");
}

#[tokio::test]
async fn the_store() {
    let machine = Machine::in_use().await;
    let config = Config::load(&machine.paths).unwrap();
    let checks = doctor(&machine.paths, Ok(&config), Choice::Keyring, NOW).await;
    let store = checks.iter().find(|check| check.name == "store").unwrap();
    assert_eq!(store.ended, Ended::Fail);
    assert!(store.detail.contains("rest in the sealed store, not in the keyring store"), "{}", store.detail);
    assert!(store.hint.as_ref().unwrap().contains("--store sealed"));

    // The sealing key is found by a system service, too, and is another one.
    let machine = Machine::in_use().await;
    let sealed = SealPlaces { default_key_file: machine.root.path().join("config/seal.key"), ..places(&machine) };
    let store = secrets::open(Choice::Sealed, None, true, &sealed).await.unwrap();
    let slot = crate::credential::SecretRef::from_inventory("test".into());
    store.secrets.put(&slot, "a test", b"secret").await.unwrap();
    machine.write("config/seal.key", 0o600, &[8; 32]);
    let (ended, said) = machine.only("store", &["anchor"]).await;
    assert!(ended == Ended::Fail && said.contains("seal"), "{said}");

    let untried = secrets::Probe { kind: StoreKind::Sealed, took: None, notice: Some("a notice".into()) };
    assert_eq!(super::store(&Ok(untried)).detail, "sealed: not tried; a notice");
}

fn places(machine: &Machine) -> SealPlaces {
    seal_places(&machine.paths, &Config::load(&machine.paths).unwrap())
}

#[tokio::test]
async fn the_sealing_key() {
    let machine = Machine::in_use().await;
    let state = &machine.paths.state_dir;
    for kind in [None, Some(StoreKind::Keyring)] {
        assert_eq!(seal_key(kind, &places(&machine), state).ended, Ended::Skip);
    }
    let sealed = |seal: &SealPlaces| seal_key(Some(StoreKind::Sealed), seal, state);

    machine.write("state/inside.key", 0o600, &[7; 32]);
    let inside = SealPlaces { key_file: Some(state.join("inside.key")), ..places(&machine) };
    let found = sealed(&inside);
    assert_eq!(found.ended, Ended::Warn, "{}", found.detail);
    assert!(found.hint.unwrap().contains("move "));

    let missing = SealPlaces { key_file: Some(machine.root.path().join("none")), ..places(&machine) };
    let found = sealed(&missing);
    assert!(found.ended == Ended::Fail && found.hint.unwrap().contains("put the sealing key back"), "{}", found.detail);

    machine.write("words", 0o600, b"words\n");
    let words = SealPlaces { passphrase_file: Some(machine.root.path().join("words")), ..places(&machine) };
    assert!(sealed(&words).detail.starts_with("the passphrase in "), "{}", sealed(&words).detail);

    machine.write("cred/robocred.seal", 0o440, &[7; 32]);
    let systemd = SealPlaces { credential: Some(machine.root.path().join("cred/robocred.seal")), ..missing };
    assert!(sealed(&systemd).detail.starts_with("the systemd credential "), "{}", sealed(&systemd).detail);
    assert_eq!(permissions(&machine.paths, Some(&systemd)).ended, Ended::Pass);
    machine.chmod("cred/robocred.seal", 0o444);
    assert_eq!(permissions(&machine.paths, Some(&systemd)).ended, Ended::Fail);

    disk::remove_file(&machine.paths.seal.default_key_file).unwrap();
    let found = sealed(&places(&machine));
    assert!(found.ended == Ended::Pass && found.detail.contains("made with the first secret"), "{}", found.detail);
}

#[tokio::test]
async fn the_anchor() {
    use crate::{
        inventory::{NewRobot, Origin},
        site::Role,
    };

    let machine = Machine::in_use().await;
    let (ended, said) = machine.only("anchor", &[]).await;
    assert_eq!(ended, Ended::Pass, "{said}");

    let inventory = Inventory::open(&machine.paths.state_dir, "tester", NOW).await.unwrap();
    let lock = inventory.lock_site(&"plant".parse().unwrap(), None, NOW).await.unwrap();
    let robot = NewRobot {
        id: "plant/reader".parse().unwrap(),
        base_name: "reader".parse().unwrap(),
        role: Role::Reader,
        endpoint: "https://10.20.0.5".parse().unwrap(),
        origin: Origin::Provisioned,
    };
    inventory.adopt_robot(&lock, &robot, NOW).await.unwrap();
    drop(lock);
    let (ended, said) = machine.only("anchor", &[]).await;
    assert_eq!(ended, Ended::Warn);
    assert!(said.contains("would not be noticed") && said.contains("config"), "{said}");

    let secrets = secrets::Secrets::new(secrets::SealedStore::new(places(&machine)));
    crate::anchor::keep(&inventory, &secrets, None).await.unwrap();
    let (ended, said) = machine.only("anchor", &[]).await;
    assert_eq!(ended, Ended::Pass, "{said}");

    let name = format!("config/anchor-{}.json", inventory.store_id());
    let kept = disk::read_to_string(machine.root.path().join(&name)).unwrap();
    machine.write(&name, 0o600, kept.replace(r#""plant/reader":0"#, r#""plant/reader":7"#).as_bytes());
    let (ended, said) = machine.only("anchor", &[]).await;
    assert_eq!(ended, Ended::Fail);
    assert!(said.contains("generation 7") && said.contains("--accept"), "{said}");
}

#[tokio::test]
async fn the_clock() {
    let machine = Machine::in_use().await;
    let clock_at = async |now| {
        let checks = machine.look_at(now).await;
        let check = checks.into_iter().find(|check| check.name == "clock").unwrap();
        (check.ended, check.detail)
    };
    assert_eq!(clock_at(datetime!(1970-01-01 0:05 UTC)).await.0, Ended::Fail);
    assert_eq!(clock_at(EARLIEST).await.0, Ended::Pass);

    let inventory = Inventory::open(&machine.paths.state_dir, "tester", NOW).await.unwrap();
    for (site, skew, ended, said) in [
        ("one", Duration::seconds(-20), Ended::Pass, "the clock of one was 20 s behind ours"),
        ("two", Duration::minutes(6), Ended::Warn, "the clock of two was 360 s ahead of ours"),
        ("three", Duration::minutes(-9), Ended::Warn, "the clock of three was 540 s behind ours"),
    ] {
        let seen = Observation { clock_skew: Some(skew), ..Observation::default() };
        inventory.observe(&site.parse().unwrap(), &seen, NOW).await.unwrap();
        let (found, detail) = clock_at(NOW).await;
        assert!(found == ended && detail.starts_with(said), "{detail}");
    }
}

#[test]
fn the_disk() {
    for (free, ended) in [
        (None, Ended::Unknown),
        (Some(0), Ended::Fail),
        (Some(LEAST_SPACE - 1), Ended::Fail),
        (Some(LEAST_SPACE), Ended::Pass),
    ] {
        let found = disk(free);
        assert_eq!((found.ended, found.hint.is_some()), (ended, ended == Ended::Fail), "{free:?}");
    }
    assert!(machine::free_space(Path::new("/")).is_some());
}

#[test]
fn the_swap() {
    const HEAD: &str = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
    let encrypted = |device: &str| device == "/dev/dm-1";
    for (areas, in_clear) in [
        ("", &[][..]),
        ("/dev/dm-1   partition\t1000\t0\t-2\n", &[]),
        ("/dev/zram0  partition\t1000\t0\t100\n", &[]),
        (
            "/dev/sda2   partition\t1000\t0\t-2\n/dev/dm-1 partition 1 0 -3\n/swapfile file 1 0 -4\n",
            &["/dev/sda2", "/swapfile"],
        ),
    ] {
        let found = machine::in_clear(&format!("{HEAD}{areas}"), &encrypted);
        assert_eq!(found, in_clear, "{areas:?}");
        let finding = swap(Some(&found));
        let wanted = if in_clear.is_empty() { Ended::Pass } else { Ended::Warn };
        assert_eq!((finding.ended, finding.hint.is_some()), (wanted, wanted == Ended::Warn));
    }
    assert_eq!(swap(None).ended, Ended::Unknown);
}
