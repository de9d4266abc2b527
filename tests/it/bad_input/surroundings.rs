//! A machine that was prepared badly, or by somebody else: places others can
//! write to, planted files, no home, closed streams.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::Command,
};

use super::{refused, refuses, words};
use crate::world::{TOKEN, World, run};

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The usual provision without `--json`, so that both forms can be tried.
fn provision(world: &World) -> Command {
    let mut arguments = world.provision_arguments();
    arguments.retain(|word| word != "--json");
    world.command(&words(&arguments))
}

#[test]
fn no_home_and_nothing_in_its_place() {
    let world = World::new();
    let homeless = || {
        let mut command = provision(&world);
        command.env_remove("HOME");
        command
    };
    refuses(&world, homeless, TOKEN.as_bytes(), 3, &["HOME"]);
    assert_eq!(world.simulator.connections(), 0);
}

#[test]
fn a_configuration_that_others_can_change() {
    let world = World::new();
    fs::create_dir_all(world.config().parent().unwrap()).unwrap();
    fs::write(world.config(), "version = 1\n").unwrap();
    mode(&world.config(), 0o666);
    refuses(&world, || provision(&world), TOKEN.as_bytes(), 3, &["chmod"]);
    mode(&world.config(), 0o600);
    mode(world.config().parent().unwrap(), 0o777);
    refuses(&world, || provision(&world), TOKEN.as_bytes(), 3, &["chmod o-w"]);
    assert!(!world.state().exists());
    assert_eq!(world.simulator.connections(), 0);
}

#[test]
fn a_state_directory_that_others_can_change() {
    let world = World::new();
    fs::create_dir_all(world.state()).unwrap();
    mode(&world.state(), 0o777);
    let told = refused(&world.provision(&[]), 3);
    assert!(told.contains("chmod"), "{told}");
    assert_eq!(fs::read_dir(world.state()).unwrap().count(), 0);
    assert_eq!(world.simulator.connections(), 0);
    mode(&world.state(), 0o700);
    world.provision(&[]).expect(0);
}

#[test]
fn a_planted_sealing_key_is_not_used() {
    let check = |plant: &dyn Fn(&Path)| {
        let world = World::new();
        let key = world.path(".config/robocred/seal.key");
        fs::create_dir_all(key.parent().unwrap()).unwrap();
        plant(&key);
        refuses(&world, || provision(&world), TOKEN.as_bytes(), 7, &["seal.key"]);
        assert_eq!(world.simulator.connections(), 0);
        assert!(!world.state().exists() && !world.config().exists());
    };
    check(&|key| {
        fs::write(key, [7; 32]).unwrap();
        mode(key, 0o644);
    });
    check(&|key| {
        fs::write(key.with_file_name("elsewhere"), [7; 32]).unwrap();
        mode(&key.with_file_name("elsewhere"), 0o600);
        symlink(key.with_file_name("elsewhere"), key).unwrap();
    });
    check(&|key| {
        fs::write(key, [7; 31]).unwrap();
        mode(key, 0o600);
    });
    check(&|key| fs::create_dir(key).unwrap());
    check(&|key| {
        assert!(Command::new("mkfifo").arg("-m").arg("600").arg(key).status().unwrap().success());
    });
}

#[test]
fn a_sealing_key_that_is_gone_is_not_made_again() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let key = world.path(".config/robocred/seal.key");
    let kept = key.with_file_name("kept");
    fs::rename(&key, &kept).unwrap();
    refused(&world.run(&["provision", "plant/reader"]), 7);
    let other = || world.command(&["provision", "plant/other", "--token-stdin"]);
    refuses(&world, other, TOKEN.as_bytes(), 7, &["seal.key"]);
    assert!(!key.exists());
    refused(&world.run(&["ingest", "plant/reader"]), 7);
    fs::rename(&kept, &key).unwrap();
    world.run(&["ingest", "plant/reader"]).expect(0);
}

#[test]
fn an_export_directory_of_others() {
    let check = |plant: &dyn Fn(&Path), relieve: &dyn Fn(&Path)| {
        let world = World::new();
        let out = world.path("out");
        plant(&out);
        let before = world.files().len();
        let told = refused(&world.provision(&["--export", "out"]), 3);
        assert!(told.contains("out"), "{told}");
        let of_ours = |path: &std::path::PathBuf| path.starts_with(&out) || path.starts_with(world.path("elsewhere"));
        assert_eq!(world.files().iter().filter(|path| of_ours(path)).count(), before, "a key was written there");
        assert_eq!(world.status()["state"], "active");
        relieve(&out);
        world.provision(&["--export", "out"]).expect(0);
        assert!(out.join("key.pem").exists());
        assert_eq!(world.simulator.robots().len(), 1);
    };
    let directory = |path: &Path, bits: u32| {
        fs::create_dir(path).unwrap();
        mode(path, bits);
    };
    check(&|out| directory(out, 0o777), &|out| mode(out, 0o700));
    check(&|out| directory(out, 0o770), &|out| mode(out, 0o700));
    check(&|out| fs::write(out, "a file").unwrap(), &|out| fs::remove_file(out).unwrap());
    let planted = |out: &Path| {
        directory(out, 0o700);
        symlink(out.with_file_name("elsewhere"), out.join("key.pem")).unwrap();
    };
    check(&planted, &|out| fs::remove_file(out.join("key.pem")).unwrap());
}

#[test]
fn closed_streams_and_an_open_mask() {
    let world = World::new();
    let (url, pin) = (world.simulator.url(), world.simulator.pin().to_string());
    let token = world.path("token");
    fs::write(&token, TOKEN).unwrap();
    mode(&token, 0o600);
    // What is opened must not take the place of a closed stream, and be printed into.
    let script = "umask 000; exec \"$0\" \"$@\" <&- >&- 2>&-";
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_robocred"), "provision", "plant/reader", "-vvv"]);
    command
        .args(["--url", &url, "--pin", &pin, "--key-type", "ecdsa-p256", "--export", "out", "--token-file"])
        .arg(&token);
    command.env_clear().env("HOME", world.path("")).env("ROBOCRED_STORE", "sealed").current_dir(world.path(""));
    run(command, b"").expect(0);
    assert_eq!(world.status()["state"], "active");
    for path in world.files() {
        let bits = fs::metadata(&path).unwrap().permissions().mode() & 0o077;
        assert_eq!(bits, 0, "{} can be read by others", path.display());
        let folder = path.parent().unwrap();
        if folder != world.path("").parent().unwrap() && folder.starts_with(world.state()) {
            assert_eq!(fs::metadata(folder).unwrap().permissions().mode() & 0o077, 0, "{}", folder.display());
        }
    }
}
