//! `check` from outside: whatever goes wrong, one line and a code of monitoring's.

use std::fs;

use robocred::{
    clock::{Clock as _, SystemClock},
    credential::Control,
    inventory::{AttentionCode, Change, Inventory, NewGeneration, Task, TaskFailure},
    site::{RobotId, Role},
    x509::{Certificate, KeyAlgorithm, PrivateKey, Profile, Validity},
};
use time::Duration;

use crate::world::{Ran, World, run};

const ROBOT: &str = "plant/reader";

/// One line on standard output, nothing on standard error, and this code.
#[track_caller]
fn check(ran: &Ran, code: i32) -> String {
    let word = ["OK", "WARNING", "CRITICAL", "UNKNOWN"][usize::try_from(code).unwrap()];
    assert_eq!((ran.code(), ran.stderr.as_str()), (Some(code), ""), "{ran:#?}");
    let line = ran.stdout.strip_suffix('\n').unwrap();
    assert!(!line.contains('\n') && line.starts_with(&format!("ROBOCRED {word}: ")), "{ran:#?}");
    assert!(line.matches('|').count() <= 1, "{line}");
    line.to_owned()
}

fn open(world: &World) -> Inventory {
    world.runtime.block_on(Inventory::open(&world.state(), "tester", SystemClock.now())).unwrap()
}

/// Puts a generation in use whose certificate of `days` days was made `age` ago.
fn promote(world: &World, days: u16, age: Duration) {
    let now = SystemClock.now();
    let robot: RobotId = ROBOT.parse().unwrap();
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let validity = Validity::of_days(now - age, days).unwrap();
    let certificate = Certificate::self_signed(&key, "reader", validity, Profile::Client).unwrap();
    let inventory = open(world);
    world.runtime.block_on(async {
        let lock = inventory.lock_site(&robot.site, None, now).await.unwrap();
        let new = NewGeneration {
            robot,
            role: Role::Reader,
            key_algorithm: KeyAlgorithm::EcdsaP256,
            profile: Profile::Client,
            forced: true,
        };
        let planned = inventory.plan_generation(&lock, &new, now).await.unwrap().id;
        for change in [
            Change::KeyStored { certificate },
            Change::SendBegun { control: Control::Refused },
            Change::Accepted { remote_id: None },
            Change::Promoted { passed: Vec::new() },
        ] {
            inventory.advance(&lock, &planned, change, now).await.unwrap();
        }
    });
}

fn raise(world: &World, code: AttentionCode, message: &str) {
    let now = SystemClock.now();
    let robot: RobotId = ROBOT.parse().unwrap();
    let inventory = open(world);
    world.runtime.block_on(async {
        let lock = inventory.lock_site(&robot.site, None, now).await.unwrap();
        inventory.raise(&lock, &robot, code, message, None, now).await.unwrap();
    });
}

#[test]
fn a_robot_that_is_well_and_who_holds_its_lock_is_no_matter() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let requests = world.simulator.requests().len();
    let inventory = open(&world);
    let now = SystemClock.now();
    let lock = world.runtime.block_on(inventory.lock_site(&"plant".parse().unwrap(), None, now)).unwrap();
    let line = check(&world.run(&["check"]), 0);
    assert!(line.contains("1 robot, the next is due 20") && line.contains("(plant/reader) | robots=1;;;0 "), "{line}");
    drop(lock);
    // Neither a store nor a connection is needed.
    fs::remove_dir_all(world.state().join("secrets")).unwrap();
    assert_eq!(check(&world.run(&["--store", "keyring", "check", ROBOT]), 0), line);
    assert_eq!(world.simulator.requests().len(), requests);
}

#[test]
fn the_document_has_the_robots_of_status() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let document = world.run(&["--json", "check", "plant"]).expect(0).json();
    assert_eq!((&document["schema"], &document["status"]), (&1.into(), &"ok".into()), "{document:#}");
    assert_eq!(document["robots"], serde_json::json!([world.status()]));
    assert!(document["message"].as_str().unwrap().starts_with("1 robot, "), "{document:#}");
    assert_eq!(document.as_object().unwrap().len(), 4, "{document:#}");
}

#[test]
fn each_word_has_its_code() {
    let world = World::new();
    world.provision(&[]).expect(0);
    check(&world.run(&["check"]), 0);
    let line = check(&world.run(&["check", "-w", "300d"]), 1);
    assert!(line.contains("plant/reader is due for rotation on 20") && line.ends_with(";300:"), "{line}");
    let line = check(&world.run(&["check", "-c", "365d"]), 2);
    assert!(line.contains("plant/reader ends on 20"), "{line}");

    raise(&world, AttentionCode::HookFailed, "the hook said:\n a | b\u{1b}[2J");
    let line = check(&world.run(&["check"]), 1);
    assert!(
        line.contains("plant/reader wants attention (hook-failed): the hook said: a \u{a6} b\u{fffd}[2J | "),
        "{line}"
    );
    assert!(world.run(&["--json", "check"]).expect(1).json()["message"].as_str().unwrap().contains(" a | b\u{1b}"));
    raise(&world, AttentionCode::Frozen, "it is refused");
    let line = check(&world.run(&["check"]), 2);
    assert!(line.contains("plant/reader is frozen: it is refused | ") && line.contains(" attention=2;"), "{line}");
}

#[test]
fn a_task_that_fails_by_schedule_is_a_warning() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let (inventory, now) = (open(&world), SystemClock.now());
    let failure = TaskFailure { code: "unreachable".to_owned(), message: "no route".to_owned() };
    let site = "plant".parse().unwrap();
    let failed = inventory.task_ended(&site, Task::Rotate, Err(&failure), |_| Duration::HOUR, now);
    world.runtime.block_on(failed).unwrap();
    let line = check(&world.run(&["check"]), 1);
    assert!(line.contains("rotate of plant by schedule has failed once: no route; tried again by "), "{line}");
    world.runtime.block_on(inventory.task_ended(&site, Task::Rotate, Ok(()), |_| Duration::HOUR, now)).unwrap();
    check(&world.run(&["check"]), 0);
}

#[test]
fn an_expired_credential_is_critical_and_so_it_stays_behind_a_broken_configuration() {
    let world = World::new();
    world.provision(&[]).expect(0);
    promote(&world, 30, Duration::days(40));
    assert_eq!(world.status()["state"], "expired");
    let line = check(&world.run(&["check"]), 2);
    assert!(line.contains("plant/reader has expired on 20") && line.contains(" expired=1;;;0 days_left=-1"), "{line}");
    fs::write(world.config(), "version = 1\nfoo = 1\n").unwrap();
    let line = check(&world.run(&["check"]), 2);
    assert!(line.contains("plant/reader has expired on 20") && line.contains("; and 1 more (1 unknown)"), "{line}");
}

#[test]
fn nothing_is_created_where_nothing_is() {
    let world = World::new();
    let look = || check(&world.run(&["check"]), 3);
    assert!(look().ends_with("no robot is configured, and none is held"));
    assert_eq!(fs::read_dir(world.path("")).unwrap().count(), 0, "looking made something");

    fs::create_dir_all(world.config().parent().unwrap()).unwrap();
    let site = "version = 1\n[sites.plant]\nurl = \"https://127.0.0.1:1\"\ntrust = \"system\"\n";
    fs::write(world.config(), format!("{site}[sites.plant.robots.reader]\nrole = \"reader\"\n")).unwrap();
    let line = check(&world.run(&["check"]), 1);
    assert!(line.contains("plant/reader has no credential in use (absent) | robots=1;;;0 "), "{line}");
    assert!(line.ends_with("days_left=U;;7: days_to_due=U;30:"), "{line}");
    assert!(!world.state().exists());
}

#[test]
fn what_cannot_be_read_is_unknown() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let unknown = |arguments: &[&str], words: &str| {
        let line = check(&world.run(arguments), 3);
        assert!(line.contains(words), "{line}");
        let document = world.run(&[&["--json"], arguments].concat()).expect(3).json();
        assert_eq!((&document["schema"], &document["status"]), (&1.into(), &"unknown".into()));
        assert!(document["message"].as_str().unwrap().contains(words), "{document:#}");
        line
    };
    let config = fs::read_to_string(world.config()).unwrap();
    fs::write(world.config(), "version = 1\nfoo = 1\nbar = 2\n").unwrap();
    let line = unknown(&["check"], "has 2 problems:");
    assert!(line.contains("robots=1;;;0"), "what is held is still counted: {line}");
    fs::write(world.config(), config).unwrap();

    unknown(&["check", "plant/other"], "plant/other is neither configured nor held");
    unknown(&["check", ROBOT, "elsewhere"], "elsewhere is neither configured nor held");
    let inventory = world.state().join("inventory.db");
    let held = fs::read(&inventory).unwrap();
    for broken in [&b"no inventory at all"[..], &held[..100], b""] {
        fs::write(&inventory, broken).unwrap();
        unknown(&["check"], "inventory.db");
        assert_eq!(fs::read(&inventory).unwrap(), broken, "it was changed");
    }
}

#[test]
fn a_command_line_that_is_wrong_is_unknown_too() {
    let world = World::new();
    for arguments in [
        &["check", "--frob"][..],
        &["check", "-w", "0"],
        &["check", "-c", "/etc/robocred.toml"],
        &["check", "-w", "1/3"],
        &["check", "a/b/c"],
        &["--color", "blue", "check"],
        &["--state-dir", "", "check"],
    ] {
        check(&world.run(arguments), 3);
        let document = world.run(&[&["--json"], arguments].concat()).expect(3).json();
        assert_eq!(document["status"], "unknown", "{arguments:?}");
    }
    let mut command = world.command(&["check"]);
    command.env("ROBOCRED_STORE", "cellar");
    check(&run(command, b""), 3);
    let refused = world.run(&["check", "-c", "/etc/robocred.toml"]);
    assert!(refused.stdout.contains("-c is --critical here, not --config"), "{refused:#?}");
    // Every other command keeps its own codes.
    world.run(&["config", "check", "--frob"]).expect(2);
    world.run(&["check", "--help"]).expect(0);
}

#[test]
fn the_configuration_is_named_before_the_command_or_in_full() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let elsewhere = world.path("elsewhere.toml");
    fs::rename(world.config(), &elsewhere).unwrap();
    let elsewhere = elsewhere.to_str().unwrap();
    for arguments in [
        &["-c", elsewhere, "check", "-w", "40d", "-c", "8d"][..],
        &["check", "--config", elsewhere, "-w", "40d", "-c", "8d"],
        &["--config", elsewhere, "check", "--critical", "8d", "--warning", "40d"],
    ] {
        let line = check(&world.run(arguments), 0);
        assert!(line.ends_with(";40:") && line.contains(";;8: "), "{line}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_word_that_cannot_be_said_is_unknown() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let mut command = world.command(&["check"]);
    command.stdout(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    assert_eq!(command.output().unwrap().status.code(), Some(3));
}
