//! A restored or copied state directory is noticed, and changes nothing before a person has decided.

use std::{fs, path::Path, process::Command};

use robocred::{
    anchor::{self as library, Error, Lag, Standing},
    inventory::{Inventory, NewRobot, Origin, audit::Broken},
    secrets::{MemoryStore, Secrets},
    simulator::Request,
    site::{RobotId, Role},
};
use serde_json::Value;
use time::{OffsetDateTime, macros::datetime};

use crate::{
    audit::{anchor, copy},
    world::{Ran, TOKEN, World, run},
};

fn second(world: &World) -> Ran {
    let arguments = ["--json", "provision", "plant/second", "--key-type", "ecdsa-p256", "--token-stdin"];
    run(world.command(&arguments), TOKEN.as_bytes())
}

fn restore(world: &World, backup: &str) {
    fs::remove_dir_all(world.state()).unwrap();
    copy(&world.path(backup), &world.state());
}

fn robots(world: &World) -> Vec<Value> {
    world.run(&["--json", "status"]).expect(0).json()["robots"].as_array().unwrap().clone()
}

fn codes(robot: &Value) -> Vec<&str> {
    robot["attention"].as_array().unwrap().iter().map(|attention| attention["code"].as_str().unwrap()).collect()
}

fn sealed(world: &World) -> usize {
    world.files().iter().filter(|path| path.extension().is_some_and(|end| end == "sealed")).count()
}

#[test]
fn a_restored_backup_changes_nothing_until_it_is_accepted() {
    let world = World::new();
    world.provision(&[]).expect(0);
    copy(&world.state(), &world.path("backup"));
    second(&world).expect(0);
    assert_eq!(world.simulator.robots().len(), 2);
    restore(&world, "backup");
    let (posts, keys, before) = (world.posts(), sealed(&world), fs::read(anchor(&world)).unwrap());

    let refused = second(&world).expect(12).json();
    let error = &refused["results"][0]["error"];
    assert!(error["message"].as_str().unwrap().contains("older than what was done with it"), "{error}");
    for way in ["robocred verify", "robocred rotate --dry-run", "robocred audit verify --accept"] {
        assert!(error["hint"].as_str().unwrap().contains(way), "{error}");
    }
    assert_eq!((world.posts(), sealed(&world)), (posts, keys));
    assert_eq!(fs::read(anchor(&world)).unwrap(), before);
    assert_eq!(codes(&robots(&world)[0]), ["frozen"]);
    world.run(&["verify", "plant/reader"]).expect(0);
    assert_eq!(codes(&robots(&world)[0]), ["frozen"], "a working credential decides nothing");
    let doctor = world.run(&["--json", "doctor"]).json();
    let looks = doctor["checks"].as_array().unwrap();
    assert!(looks.iter().any(|look| look["name"] == "anchor" && look["result"] == "fail"), "{doctor}");
    let document = world.run(&["--json", "audit", "verify"]).expect(1).json();
    assert_eq!(document["ok"], false, "{document}");
    second(&world).expect(12);
    assert_eq!(world.posts(), posts);

    // Neither a terminal nor a word that nobody is to be asked.
    let mut asking = world.command(&["audit", "verify", "--accept"]);
    asking.env_remove("ROBOCRED_NON_INTERACTIVE");
    run(asking, b"yes\n").expect(12);
    assert_eq!(fs::read(anchor(&world)).unwrap(), before);
    let accepted = world.run(&["--json", "audit", "verify", "--accept"]).expect(0);
    assert_eq!(accepted.json()["ok"], true);
    assert!(accepted.stderr.contains("plant/second generation 1"), "{}", accepted.stderr);
    let there = robots(&world);
    assert_eq!(codes(&there[0]), Vec::<&str>::new());
    assert_eq!(there[1]["leftovers"][0]["registered_name"], "second");
    assert_eq!(there[1]["leftovers"][0]["generation"], 1);
    assert_eq!(codes(&there[1]), ["retire-manual"]);
    // Accepted twice is accepted once.
    let again = world.run(&["audit", "verify", "--accept"]).expect(0);
    assert!(again.stderr.contains("nothing to accept"), "{}", again.stderr);

    let made = second(&world).expect(0).json();
    assert_eq!(made["results"][0]["generation"], 2, "the number was used before");
    assert_eq!(made["results"][0]["registered_name"], "second-g2");
    world.run(&["audit", "verify"]).expect(0);
    world.run(&["verify", "plant/reader"]).expect(0);
}

#[test]
fn a_generation_that_the_backup_does_not_know_keeps_its_registered_name() {
    let world = World::new();
    world.provision(&["--registered-name", "lucidum"]).expect(0);
    let text = fs::read_to_string(anchor(&world)).unwrap();
    fs::write(anchor(&world), text.replace(r#""plant/reader":1"#, r#""plant/reader":3"#)).unwrap();
    let document = world.run(&["--json", "audit", "verify"]).expect(1).json();
    assert!(document["message"].as_str().unwrap().contains("generation 3"), "{document}");
    world.run(&["audit", "verify", "--accept"]).expect(0);
    let there = robots(&world).remove(0);
    let names: Vec<_> = there["leftovers"].as_array().unwrap().iter().map(|left| &left["registered_name"]).collect();
    assert_eq!(names, ["lucidum-g2", "lucidum-g3"]);
    assert_eq!(there["state"], "active");
}

#[test]
fn a_copy_on_another_machine_changes_nothing() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let anchored: Value = serde_json::from_slice(&fs::read(anchor(&world)).unwrap()).unwrap();
    let Some(machine) = anchored["machine"].as_str() else {
        eprintln!("skipped: this machine has no /etc/machine-id");
        return;
    };
    let there = fs::read_to_string(anchor(&world)).unwrap().replace(machine, &"0".repeat(64));
    fs::write(anchor(&world), &there).unwrap();
    let refused = second(&world).expect(12).json();
    assert!(refused["results"][0]["error"]["message"].as_str().unwrap().contains("another machine"), "{refused}");
    assert_eq!(world.posts(), 1);
    assert_eq!(fs::read_to_string(anchor(&world)).unwrap(), there);
    // The record is as it was.
    let told = world.run(&["audit", "verify"]).expect(0);
    assert!(told.stderr.contains("another machine"), "{told:#?}");
    world.run(&["audit", "verify", "--accept"]).expect(0);
    second(&world).expect(0);
}

#[test]
fn a_lost_or_spoilt_anchor_is_made_anew() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let path = anchor(&world);
    assert!(!path.starts_with(world.state()));
    fs::remove_file(&path).unwrap();
    second(&world).expect(0);
    fs::write(&path, "{}").unwrap();
    let arguments = ["--json", "provision", "plant/third", "--key-type", "ecdsa-p256", "--token-stdin"];
    let warned = run(world.command(&arguments), TOKEN.as_bytes()).expect(0);
    assert!(warned.stderr.contains("would not be noticed"), "{}", warned.stderr);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("plant/third"), "{text}");
    world.assert_nowhere(TOKEN.as_bytes());
}

#[test]
fn where_no_anchor_can_be_kept_everything_else_works() {
    let world = World::new();
    let key = world.path("own.key");
    fs::write(&key, [7; 32]).unwrap();
    fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let config = world.path("own.toml");
    fs::write(&config, format!("version = 1\n[defaults]\nseal_key_file = {key:?}\n")).unwrap();
    // Nobody can make a directory there, root neither.
    let elsewhere = |command: &mut Command| {
        command.env("XDG_CONFIG_HOME", "/proc/config").env("ROBOCRED_CONFIG", &config);
    };
    let ran = world.provision_with(&[], TOKEN, elsewhere).expect(0);
    assert!(ran.json()["warnings"][0].as_str().unwrap().contains("would not be noticed"), "{ran:#?}");
    assert_eq!(ran.stderr.matches("would not be noticed").count(), 1, "{ran:#?}");
    assert_eq!(world.simulator.robots().len(), 1);
    let is_post = |request: &&Request| request.method == "POST" && request.path == "/v1/robots";
    assert_eq!(world.simulator.requests().iter().filter(is_post).count(), 1);
}

const NOW: OffsetDateTime = datetime!(2026-11-22 12:00 UTC);

async fn open(state: &Path) -> Inventory {
    Inventory::open(state, "tester", NOW).await.unwrap()
}

async fn adopt(inventory: &Inventory, id: &str) {
    let id: RobotId = id.parse().unwrap();
    let lock = inventory.lock_site(&id.site, None, NOW).await.unwrap();
    let base_name = id.robot.clone();
    let endpoint = "https://10.20.0.5".parse().unwrap();
    let robot = NewRobot { id, base_name, role: Role::Reader, endpoint, origin: Origin::Provisioned };
    inventory.adopt_robot(&lock, &robot, NOW).await.unwrap();
}

/// The rows of a restored copy, and what was kept before it was restored.
async fn restored(dir: &Path, secrets: &Secrets) -> Inventory {
    let (state, backup) = (dir.join("state"), dir.join("backup"));
    let inventory = open(&state).await;
    adopt(&inventory, "plant/first").await;
    inventory.close().await.unwrap();
    copy(&state, &backup);
    let inventory = open(&state).await;
    adopt(&inventory, "elsewhere/second").await;
    assert_eq!(library::keep(&inventory, secrets, Some("here")).await.unwrap(), Standing::Missing);
    open(&backup).await
}

#[tokio::test]
async fn an_anchor_is_never_set_back_unless_a_person_accepts_it() {
    let dir = tempfile::tempdir().unwrap();
    let secrets = Secrets::new(MemoryStore::default());
    let inventory = restored(dir.path(), &secrets).await;
    let newer = library::read(&inventory, &secrets).await.unwrap().unwrap();
    let behind = Standing::Behind(Lag::Audit(Broken::Cut { kept: 2, last: 1 }));
    assert_eq!(library::keep(&inventory, &secrets, Some("here")).await.unwrap(), behind);
    assert_eq!(library::read(&inventory, &secrets).await.unwrap().unwrap(), newer);

    // With entries of its own it is as far, and still another one.
    adopt(&inventory, "plant/third").await;
    let replaced = Standing::Behind(Lag::Audit(Broken::Replaced { seq: 2 }));
    assert_eq!(library::keep(&inventory, &secrets, Some("here")).await.unwrap(), replaced);
    assert_eq!(library::read(&inventory, &secrets).await.unwrap().unwrap(), newer);

    library::accept(&inventory, &secrets, Some("here"), |_| None, NOW).await.unwrap();
    assert_eq!(library::standing(&inventory, &secrets, Some("here")).await.unwrap(), Standing::Intact);
    assert_eq!(library::standing(&inventory, &secrets, Some("there")).await.unwrap(), Standing::OtherMachine);
    // Where the machine has no id any more, the one it had is not forgotten.
    adopt(&inventory, "plant/fourth").await;
    assert_eq!(library::keep(&inventory, &secrets, None).await.unwrap(), Standing::Intact);
    assert_eq!(library::standing(&inventory, &secrets, Some("there")).await.unwrap(), Standing::OtherMachine);
}

#[tokio::test]
async fn a_robot_whose_appliance_nobody_knows_is_not_accepted_away() {
    let dir = tempfile::tempdir().unwrap();
    let secrets = Secrets::new(MemoryStore::default());
    let inventory = restored(dir.path(), &secrets).await;
    let mut anchor = library::read(&inventory, &secrets).await.unwrap().unwrap();
    let robot: RobotId = "elsewhere/second".parse().unwrap();
    anchor.highest.get_mut(&robot).unwrap().generation = 2;
    secrets.set_anchor(inventory.store_id(), anchor.print().as_bytes()).await.unwrap();

    let head = inventory.audit_head().await.unwrap();
    let refused = library::accept(&inventory, &secrets, None, |_| None, NOW).await.unwrap_err();
    assert!(matches!(&refused, Error::NoAppliance { robot: named } if *named == robot), "{refused:?}");
    assert_eq!(inventory.audit_head().await.unwrap(), head);
    assert_eq!(library::read(&inventory, &secrets).await.unwrap(), Some(anchor));

    let configured = |_: &RobotId| Some((Role::Admin, "https://10.20.0.6".parse().unwrap()));
    let added = library::accept(&inventory, &secrets, None, configured, NOW).await.unwrap();
    let added: Vec<_> = added.iter().map(ToString::to_string).collect();
    assert_eq!(added, ["elsewhere/second generation 1", "elsewhere/second generation 2"]);
    let row = inventory.robot(&robot).await.unwrap().unwrap();
    assert_eq!((row.last_generation, row.role), (2, Role::Admin));
    let names: Vec<_> = inventory.leftovers().await.unwrap().into_iter().map(|left| left.registered_name).collect();
    assert_eq!(names.iter().map(ToString::to_string).collect::<Vec<_>>(), ["second", "second-g2"]);
}
