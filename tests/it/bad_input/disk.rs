//! Disks that are full or read-only: real ones, small, in a mount namespace of
//! their own. Nothing is lost by them, and with space again the same command
//! completes.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use super::{refused, words};
use crate::{
    judges,
    world::{Ran, TOKEN, World, run},
};

/// A small disk mounted in a namespace that lives as long as this.
struct Disk {
    holder: Child,
    at: PathBuf,
}

impl Disk {
    /// A disk of 1 MiB at `at`; `None`, said loudly, where nothing can be mounted.
    fn mount(at: PathBuf) -> Option<Self> {
        std::fs::create_dir_all(&at).unwrap();
        let script = "mount -t tmpfs -o size=1m,mode=0700 none \"$1\" && echo mounted && exec cat";
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]).arg(&at);
        // It reads what is never written, and so ends with us, whatever becomes of us.
        let holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let Ok(mut holder) = holder else {
            judges::skip("unshare is not installed (apt-get install util-linux)");
            return None;
        };
        let mut said = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
        if said != "mounted\n" {
            let _ = holder.wait();
            judges::skip("a mount namespace is not allowed here (unshare --user --map-root-user --mount)");
            return None;
        }
        Some(Self { holder, at })
    }

    /// As [`Disk::mount`], where only this user and root can have changed the
    /// directories above: an ordinary user's namespace does not know root.
    fn mount_below_root(at: PathBuf) -> Option<Self> {
        if rustix::process::geteuid().is_root() {
            return Self::mount(at);
        }
        eprintln!("SKIPPED: only root's mount namespaces show who owns the directories above");
        None
    }

    /// The same command where the disk is mounted.
    fn within(&self, command: &Command) -> Command {
        let mut inside = Command::new("nsenter");
        inside.args(["--user", "--preserve-credentials", "--mount", "--target", &self.holder.id().to_string()]);
        inside.arg(format!("--wd={}", command.get_current_dir().unwrap_or(Path::new("/")).display()));
        inside.arg("--").arg(command.get_program()).args(command.get_args());
        inside.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        inside
    }

    /// Changes the disk; `$1` is where it is mounted.
    fn change(&self, script: &str) {
        let mut command = Command::new("/bin/sh");
        command.args(["-ec", script, "sh"]).arg(&self.at).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        run(self.within(&command), b"").expect(0);
    }

    /// Fills it up but for `free` KiB.
    fn fill(&self, free: u32) {
        let fill = "cat /dev/zero > \"$1/filler\" 2>/dev/null || true; truncate -s -";
        self.change(&format!("{fill}{free}K \"$1/filler\""));
    }

    fn empty(&self) {
        self.change("rm -f \"$1/filler\"");
    }

    fn provision(&self, world: &World, more: &[&str]) -> Ran {
        let arguments = world.provision_arguments();
        let arguments = [words(&arguments).as_slice(), more].concat();
        run(self.within(&world.command(&arguments)), TOKEN.as_bytes())
    }

    fn status(&self, world: &World) -> serde_json::Value {
        run(self.within(&world.command(&["--json", "status"])), b"").expect(0).json()["robots"][0].clone()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Provisions on a disk in trouble, which may fail in one of these ways; then
/// out of trouble, which must succeed, with the robot that the appliance has.
#[track_caller]
fn check(world: &World, disk: &Disk, more: &[&str], codes: &[i32], relieve: impl Fn(&Disk)) -> Option<Ran> {
    let first = disk.provision(world, more);
    let code = first.code().unwrap();
    if code != 0 {
        assert!(codes.contains(&code), "{first:#?}");
        refused(&first, code);
    }
    let known = world.simulator.robots();
    assert!(known.len() <= 1, "{known:#?}");

    relieve(disk);
    let second = disk.provision(world, more).expect(0);
    let robots = world.simulator.robots();
    assert_eq!(robots.len(), 1, "{robots:#?} after {first:#?}");
    assert_eq!(second.json()["results"][0]["fingerprint_sha256"], robots[0].fingerprint.to_string());
    assert!(known.is_empty() || known == robots, "what was registered was lost: {first:#?}");
    assert_eq!(disk.status(world)["state"], "active");
    assert_eq!(disk.status(world)["leftovers"].as_array().map(Vec::len), Some(0));
    (code != 0).then_some(first)
}

#[test]
fn a_full_state_directory_never_holds_a_broken_inventory() {
    let mut failed = 0;
    for free in (0..400).step_by(36) {
        let world = World::new();
        let Some(disk) = Disk::mount(world.state()) else { return };
        disk.fill(free);
        failed += usize::from(check(&world, &disk, &[], &[1, 7], Disk::empty).is_some());
    }
    assert!(failed >= 4, "the disk was full {failed} times only");
}

#[test]
fn a_full_configuration_directory() {
    let mut failed = 0;
    for free in [0, 4, 8, 12] {
        let world = World::new();
        let Some(disk) = Disk::mount(world.path(".config/robocred")) else { return };
        disk.fill(free);
        failed += usize::from(check(&world, &disk, &[], &[3, 7], Disk::empty).is_some());
    }
    assert!(failed >= 2, "the disk was full {failed} times only");
}

#[test]
fn a_full_export_directory() {
    let mut failed = 0;
    for free in [0, 4, 8, 12, 20] {
        let world = World::new();
        let Some(disk) = Disk::mount_below_root(world.path("out")) else { return };
        disk.fill(free);
        let ran = check(&world, &disk, &["--export", "out/plant"], &[1], Disk::empty);
        if let Some(ran) = ran {
            failed += 1;
            // The credential itself is proven and kept; only its files are missing.
            let told = refused(&ran, 1);
            assert!(told.contains("the credential works") && told.contains("free some space"), "{told}");
        }
        for file in ["key.pem", "cert.pem", "combined.pem"] {
            disk.change(&format!("test -s \"$1/plant/{file}\""));
        }
        disk.change("test -z \"$(ls -A \"$1/plant\" | grep -v -e '^.g1$' -e '^current$' -e '[.]pem$')\"");
    }
    assert!(failed >= 2, "the disk was full {failed} times only");
}

const READ_ONLY: &str = "mount -o remount,bind,ro \"$1\"";

fn writable(disk: &Disk) {
    disk.change("mount -o remount,bind,rw \"$1\"");
}

#[test]
fn a_read_only_state_directory() {
    let world = World::new();
    let Some(disk) = Disk::mount(world.state()) else { return };
    disk.change(READ_ONLY);
    let ran = check(&world, &disk, &[], &[3], writable).expect("it was read-only");
    assert!(refused(&ran, 3).contains("--state-dir"), "{ran:#?}");

    // What is there can be read, and says so.
    disk.change(READ_ONLY);
    assert_eq!(disk.status(&world)["state"], "active");
    let requests = world.simulator.requests().len();
    refused(&run(disk.within(&world.command(&["provision", "plant/other", "--token-stdin"])), TOKEN.as_bytes()), 3);
    assert_eq!(world.simulator.requests().len(), requests);
}

#[test]
fn a_read_only_configuration_directory() {
    let world = World::new();
    let Some(disk) = Disk::mount(world.path(".config/robocred")) else { return };
    disk.change(READ_ONLY);
    let told = refused(&disk.provision(&world, &[]), 3);
    assert!(told.contains("[sites.plant]") && told.contains(&world.simulator.pin().to_string()), "{told}");
    assert!(!world.state().exists(), "begun before the configuration was durable");
    assert_eq!(world.simulator.requests(), []);
    check(&world, &disk, &[], &[3], writable);
}

#[test]
fn a_read_only_export_directory() {
    let world = World::new();
    let Some(disk) = Disk::mount_below_root(world.path("out")) else { return };
    disk.change(READ_ONLY);
    let ran = check(&world, &disk, &["--export", "out/plant"], &[1], writable).expect("it was read-only");
    let told = refused(&ran, 1);
    assert!(told.contains("the credential works") && told.contains("make that disk writable"), "{told}");
}

#[test]
fn a_full_directory_for_device_metadata() {
    let world = World::with(|options| options.devices = 300);
    world.provision(&[]).expect(0);
    let Some(disk) = Disk::mount(world.path("data")) else { return };
    let ingest = || run(disk.within(&world.command(&["ingest", "plant/reader", "-o", "data"])), b"");
    let ended = "ls -R \"$1\" | grep -q -e '[.]ndjson$' -e '[.]json$'";
    for free in [0, 4, 64] {
        disk.fill(free);
        refused(&ingest(), 1);
        disk.change(&format!("! {ended}"));
        disk.empty();
    }
    ingest().expect(0);
    disk.change(ended);
}

#[test]
fn a_full_directory_for_the_page_and_the_metrics() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let Some(disk) = Disk::mount(world.path("data")) else { return };
    let file = world.path("data/robocred.prom");
    let file = file.to_str().unwrap();
    let write = || run(disk.within(&world.command(&["status", "--prometheus", file])), b"");
    write().expect(0);
    disk.change("cp \"$1/robocred.prom\" \"$1/before\"");
    disk.fill(0);
    let told = refused(&write(), 1);
    assert!(
        told.contains("could not write ") && told.contains("data/.robocred.prom.") && told.contains("free some space"),
        "{told}"
    );
    // The one before is whole, and nothing lies beside it.
    disk.change("cmp \"$1/robocred.prom\" \"$1/before\"; test \"$(ls -A \"$1\" | wc -l)\" = 3");
    disk.empty();
    write().expect(0);
    disk.change(READ_ONLY);
    let told = refused(&write(), 3);
    assert!(told.contains("could not create "), "{told}");
}

/// A rotation on a disk in trouble; then out of trouble, the same command
/// again. The old credential works all along. Whether the first one failed.
#[track_caller]
fn check_rotation(free: Option<u32>) -> bool {
    let world = World::new();
    let Some(disk) = Disk::mount(world.state()) else { return true };
    disk.provision(&world, &[]).expect(0);
    match free {
        Some(free) => disk.fill(free),
        None => disk.change(READ_ONLY),
    }
    let rotate = || {
        let arguments = ["--json", "rotate", "plant/reader", "--force", "--token-stdin"];
        run(disk.within(&world.command(&arguments)), TOKEN.as_bytes())
    };
    let first = rotate();
    let told = disk.status(&world);
    assert_eq!(told["state"], "active", "{told:#} after {first:#?}");
    let own = told["fingerprint_sha256"].as_str().unwrap().to_owned();
    let robots = world.simulator.robots();
    assert!(robots.iter().any(|robot| robot.fingerprint.to_string() == own), "{own} is not in {robots:#?}");
    let failed = first.code() != Some(0);
    if failed {
        assert!([1, 3, 5, 7].contains(&first.code().unwrap()), "{first:#?}");
        refused(&first, first.code().unwrap());
    }
    if free.is_some() {
        disk.empty();
    } else {
        writable(&disk);
    }
    rotate().expect(0);
    assert_eq!(disk.status(&world)["leftovers"].as_array().map(Vec::len), Some(0));
    run(disk.within(&world.command(&["verify"])), b"").expect(0);
    failed
}

#[test]
fn a_state_directory_that_is_full_during_a_rotation() {
    let failed = (0..200).step_by(20).filter(|free| check_rotation(Some(*free))).count();
    assert!(failed >= 2, "the disk was full {failed} times only");
}

#[test]
fn a_state_directory_that_is_read_only_during_a_rotation() {
    assert!(check_rotation(None));
}
