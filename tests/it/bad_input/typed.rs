//! Typed wrong: flags, names, files. None of it reaches an appliance.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use super::{refuses, words};
use crate::world::{TOKEN, World, run};

/// Refused before anything was looked at: the home stays empty and nobody is called.
#[track_caller]
fn check(world: &World, arguments: &[&str], code: i32, said: &[&str]) {
    refuses(world, || world.command(arguments), TOKEN.as_bytes(), code, said);
    assert!(!world.state().exists(), "a state directory was made by {arguments:?}");
    assert_eq!(world.simulator.connections(), 0, "the appliance was called by {arguments:?}");
}

#[test]
fn flags_roles_key_types_and_days_that_do_not_exist() {
    let world = World::new();
    let url = world.simulator.url();
    let provision = ["provision", "plant/reader", "--url", &url, "--token-stdin"];
    let with = |more: &[&'static str]| [provision.as_slice(), more].concat();
    check(&world, &with(&["--frob"]), 2, &["--frob"]);
    check(&world, &with(&["--role", "owner"]), 2, &["owner", "reader, admin"]);
    check(&world, &with(&["--key-type", "rsa-1024"]), 2, &["rsa-1024", "rsa-2048", "ed25519"]);
    for days in ["0", "366", "-1", "99999999999999999999", "1.5", ""] {
        check(&world, &with(&["--days", days]), 2, &["1 to 365"]);
    }
    check(&world, &with(&["--profile", "server"]), 2, &["server", "client"]);
    check(&world, &with(&["--pin", "sha256//short="]), 2, &["--pin"]);
    check(&world, &["provision"], 2, &["SITE/ROBOT"]);
    check(&world, &["frobnicate"], 2, &["frobnicate"]);
    check(&world, &["verify", "plant/reader", "--frob"], 2, &["--frob"]);
    check(&world, &["ingest", "plant/reader", "--stream", "secrets"], 2, &["secrets", "assets"]);
    // Known nowhere: not a word of the command line, but of the configuration.
    check(&world, &["verify", "plant/reader"], 3, &["plant/reader"]);
    check(&world, &["export", "plant/reader", "--dir", "out"], 3, &["plant/reader"]);
    check(&world, &["ingest", "plant/reader"], 3, &["plant/reader"]);
    check(&world, &["trust", "plant", "--show"], 3, &["plant"]);
}

#[test]
fn names_that_are_no_robot() {
    let world = World::new();
    let long = format!("plant/{}", "x".repeat(65));
    let names = [
        "plant",
        "plant/",
        "/reader",
        "plant/a b",
        "plant/ä",
        "plant/a/b",
        "plant/..",
        "../reader",
        "plant/a\nb",
        "plant/a\u{202e}b",
        "plant/$(id)",
        "plant/reader-g2",
        "",
        &long,
    ];
    for name in names {
        check(&world, &["provision", name, "--url", &world.simulator.url(), "--token-stdin"], 2, &[]);
    }
    for name in ["a b", "x/y", "ä", "", &"x".repeat(65)] {
        check(
            &world,
            &["provision", "plant/reader", "--url", &world.simulator.url(), "--token-stdin", "--registered-name", name],
            2,
            &["--registered-name"],
        );
    }
}

#[test]
fn addresses_that_are_no_appliance() {
    let world = World::new();
    let host = world.simulator.address().to_string();
    let urls = [
        format!("http://{host}"),
        format!("HTTP://{host}"),
        format!("https://robot:hunter2@{host}"),
        format!("https://hunter2@{host}"),
        format!("https://{host}/v1"),
        format!("https://{host}/#top"),
        format!("https://{host}?x=1"),
        host.clone(),
        "https://".to_owned(),
        "https://127.0.0.1:0".to_owned(),
        "https://127.0.0.1:65536".to_owned(),
        String::new(),
    ];
    for url in &urls {
        let arguments = ["provision", "plant/reader", "--url", url, "--token-stdin"];
        check(&world, &arguments, 2, &[]);
        let ran = run(world.command(&arguments), TOKEN.as_bytes());
        assert!(!ran.stderr.contains("hunter2"), "a password is repeated: {ran:#?}");
    }
}

/// A file below the home with these permissions.
fn file(world: &World, name: &str, bytes: &[u8], mode: u32) -> PathBuf {
    let path = world.path(name);
    fs::write(&path, bytes).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

fn pipe(world: &World, name: &str) -> PathBuf {
    let path = world.path(name);
    let made = Command::new("mkfifo").arg("-m").arg("600").arg(&path).status().unwrap();
    assert!(made.success());
    path
}

#[test]
fn token_files_that_cannot_be_used() {
    let world = World::new();
    let known = configured("version = 1\n[sites.plant]\nurl = 'https://127.0.0.1:1'\n");
    let check = |path: &Path, said: &[&str]| {
        let (url, pin) = (world.simulator.url(), world.simulator.pin().to_string());
        let path = path.to_str().unwrap();
        let arguments = ["provision", "plant/reader", "--url", &url, "--pin", &pin, "--token-file", path];
        check(&world, &arguments, 3, said);
        let ran = world.run(&arguments);
        assert!(!ran.stderr.contains("canary") && !ran.stdout.contains("canary"), "the token is repeated: {ran:#?}");
        check(&known, &["token", "set", "plant", "--token-file", path], 3, said);
    };
    let twice = format!("{TOKEN}\n{TOKEN}\n");
    check(&file(&world, "readable", TOKEN.as_bytes(), 0o644), &["0644", "chmod 600"]);
    check(&file(&world, "group", TOKEN.as_bytes(), 0o640), &["0640", "chmod 600"]);
    check(&file(&world, "empty", b"", 0o600), &["empty"]);
    check(&file(&world, "newline", b"\n", 0o600), &["empty"]);
    check(&file(&world, "large", &[b'c'; 8 * 1024 + 1], 0o600), &["8192"]);
    check(&file(&world, "two-lines", twice.as_bytes(), 0o600), &["newline"]);
    check(&file(&world, "bearer", format!("Bearer {TOKEN}").as_bytes(), 0o600), &["space"]);
    check(&file(&world, "utf-16", &TOKEN.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>(), 0o600), &[]);
    check(&world.path("missing"), &["missing"]);
    check(&world.path(""), &["regular file"]);
    // Nobody will ever write into it: this must not wait.
    check(&pipe(&world, "pipe"), &["regular file"]);
    check(Path::new("/dev/zero"), &[]);
}

#[test]
fn standard_input_that_holds_no_token() {
    let world = World::new();
    let (url, pin) = (world.simulator.url(), world.simulator.pin().to_string());
    let arguments = ["provision", "plant/reader", "--url", &url, "--pin", &pin, "--token-stdin"];
    for input in [b"".as_slice(), b"\n", b"a\nb\n", &[b'c'; 8 * 1024 + 1]] {
        refuses(&world, || world.command(&arguments), input, 3, &["standard input"]);
    }
    assert_eq!(world.simulator.connections(), 0);
}

#[test]
fn a_private_key_where_a_certificate_belongs() {
    let world = World::new();
    let check = |path: &Path, said: &[&str]| {
        let (url, path) = (world.simulator.url(), path.to_str().unwrap());
        check(&world, &["provision", "plant/reader", "--url", &url, "--ca-file", path, "--token-stdin"], 3, said);
    };
    let key = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIB==\n-----END PRIVATE KEY-----\n";
    check(&file(&world, "key.pem", key.as_bytes(), 0o600), &["private key", "key.pem"]);
    let both = format!("{}{key}", world.simulator.certificate_pem());
    check(&file(&world, "both.pem", both.as_bytes(), 0o600), &["private key"]);
    check(&file(&world, "empty.pem", b"", 0o600), &["no certificate"]);
    check(&file(&world, "der.pem", &world.simulator.certificate_der(), 0o600), &["no certificate", "openssl x509"]);
    check(&world.path("missing.pem"), &["missing.pem"]);
    check(&world.path(""), &["CA file"]);
    check(&pipe(&world, "ca-pipe"), &["CA file"]);
}

/// A configuration file of exactly this text.
fn configured(text: &str) -> World {
    let world = World::new();
    let path = world.config();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    world
}

#[test]
fn five_mistakes_in_the_configuration_are_all_told() {
    let world = configured(
        "version = 1\ncolour = 'blue'\n[sites.plant]\nurl = 'http://10.20.0.5'\ntrust = 'blindly'\n\
         [sites.plant.robots.reader]\nrole = 'owner'\ndays = 366\n",
    );
    let all = ["colour", "sites.plant.url", "sites.plant.trust", "reader.role", "reader.days"];
    let mut provision = world.provision_arguments();
    provision.retain(|word| word != "--json");
    for arguments in [
        words(&provision),
        vec!["config", "check"],
        vec!["verify"],
        vec!["ingest"],
        vec!["export", "plant/reader", "--dir", "out"],
        vec!["token", "set", "plant", "--token-stdin"],
        vec!["trust", "plant", "--show"],
    ] {
        check(&world, &arguments, 3, &all);
    }
}

#[test]
fn configurations_that_cannot_be_read() {
    check(&configured("version = 2\n"), &["provision", "a/b", "--token-stdin", "--url", "https://h"], 3, &["version"]);
    check(&configured("version = \n"), &["verify"], 3, &["robocred.toml"]);
    check(&configured("[sites\n"), &["ingest"], 3, &["robocred.toml"]);
    check(&configured("version = 1\n\u{0}"), &["verify"], 3, &["robocred.toml"]);
    let world = World::new();
    fs::create_dir_all(world.config()).unwrap();
    check(&world, &["verify"], 3, &["robocred.toml"]);
    let world = World::new();
    fs::create_dir_all(world.config().parent().unwrap()).unwrap();
    pipe(&world, ".config/robocred/robocred.toml");
    check(&world, &["verify"], 3, &["robocred.toml"]);
}

#[test]
fn no_keyring_where_one_is_asked_for() {
    let world = World::new();
    let mut arguments = world.provision_arguments();
    arguments.retain(|word| word != "--json");
    arguments.extend(["--store".to_owned(), "keyring".to_owned()]);
    check(&world, &words(&arguments), 7, &["keyring", "--store sealed"]);
    let known = configured("version = 1\n[sites.plant]\nurl = 'https://127.0.0.1:1'\n");
    check(&known, &["token", "set", "plant", "--token-stdin", "--store", "keyring"], 7, &["keyring", "--store sealed"]);
}
