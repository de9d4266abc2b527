//! A pair that cannot be imported. None of it reaches an appliance.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
};

use robocred::{
    clock::{Clock as _, SystemClock},
    x509::{self, Certificate, KeyAlgorithm, PrivateKey, Profile, Validity},
};
use time::Duration;

use super::refuses;
use crate::{judges::need, world::World};

/// Refused before anything was made: no state, no configuration, nobody called.
#[track_caller]
fn check(world: &World, key: &str, certificate: &str, code: i32, said: &[&str]) {
    let (url, pin) = (world.simulator.url(), world.simulator.pin().to_string());
    let arguments = ["import", "plant/reader", "--key", key, "--cert", certificate, "--url", &url, "--pin", &pin];
    refuses(world, || world.command(&arguments), b"", code, said);
    assert!(!world.state().exists() && !world.config().exists(), "something was made for {key} {certificate}");
    assert_eq!(world.simulator.connections(), 0, "the appliance was called for {key} {certificate}");
}

fn openssl(world: &World, arguments: &str) {
    let made = Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(world.path(""))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(made.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&made.stderr));
}

fn write(world: &World, name: &str, content: impl AsRef<[u8]>) {
    fs::write(world.path(name), content).unwrap();
    fs::set_permissions(world.path(name), fs::Permissions::from_mode(0o600)).unwrap();
}

/// A pair valid for a day from `days` days after now, as `key.pem` and `cert.pem`.
fn pair(world: &World, days: i64) -> (String, String) {
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let validity = Validity::of_days(SystemClock.now() + Duration::days(days), 1).unwrap();
    let certificate = Certificate::self_signed(&key, "reader", validity, Profile::Client).unwrap();
    let key = x509::private_key_to_pem(&key).unwrap().to_string();
    let certificate = x509::certificate_to_pem(&certificate);
    write(world, "key.pem", &key);
    write(world, "cert.pem", &certificate);
    (key, certificate)
}

#[test]
fn a_certificate_that_is_not_the_keys_or_not_valid_now() {
    let world = World::new();
    let (_, certificate) = pair(&world, 0);
    write(&world, "other.pem", certificate);
    pair(&world, 0);
    check(&world, "key.pem", "other.pem", 3, &["does not belong", "sha256//", "give the key"]);
    pair(&world, -10);
    check(&world, "key.pem", "cert.pem", 11, &["expired at", "now", "provision"]);
    pair(&world, 10);
    check(&world, "key.pem", "cert.pem", 3, &["not valid before", "now", "clock"]);
}

#[test]
fn files_that_hold_no_pair() {
    let world = World::new();
    let (key, certificate) = pair(&world, 0);
    let pem_files = "PEM files";
    check(&world, "missing.pem", "cert.pem", 3, &["missing.pem", pem_files]);
    check(&world, "key.pem", "missing.pem", 3, &["missing.pem", pem_files]);
    check(&world, ".", "cert.pem", 3, &["regular file", pem_files]);
    check(&world, "/dev/zero", "cert.pem", 3, &["regular file", pem_files]);
    // Nobody will ever write into it: this must not wait.
    assert!(Command::new("mkfifo").arg(world.path("pipe")).status().unwrap().success());
    check(&world, "pipe", "cert.pem", 3, &["regular file", pem_files]);
    check(&world, "key.pem", "pipe", 3, &["regular file", pem_files]);
    write(&world, "large", vec![b'\n'; 64 * 1024 + 1]);
    check(&world, "large", "cert.pem", 3, &["65536", pem_files]);
    check(&world, "key.pem", "large", 3, &["65536", pem_files]);
    for (name, content) in [("empty", ""), ("garbage", "\u{0}\u{1b}[2J not a key"), ("words", "a key, I promise\n")] {
        write(&world, name, content);
        check(&world, name, "cert.pem", 3, &["found nothing", "BEGIN"]);
        check(&world, "key.pem", name, 3, &["found nothing", "BEGIN"]);
    }
    check(&world, "cert.pem", "cert.pem", 3, &["one PRIVATE KEY", "found CERTIFICATE"]);
    check(&world, "key.pem", "key.pem", 3, &["a CERTIFICATE", "found PRIVATE KEY"]);
    write(&world, "two-keys", format!("{key}{key}"));
    check(&world, "two-keys", "cert.pem", 3, &["one PRIVATE KEY", "PRIVATE KEY, PRIVATE KEY"]);
    write(&world, "damaged", key.replacen("MIG", "MI*", 1));
    check(&world, "damaged", "cert.pem", 3, &["damaged"]);
    write(&world, "cut", &certificate[..certificate.len() / 2]);
    check(&world, "key.pem", "cut", 3, &["damaged"]);
}

#[test]
fn keys_that_cannot_be_read_or_held() {
    let world = World::new();
    if !need("openssl", "openssl") {
        return;
    }
    pair(&world, 0);
    let cannot = ["cannot be imported", "provision"];
    openssl(
        &world,
        "req -x509 -newkey rsa:2048 -passout pass:s3cret -keyout encrypted.pem -out own.pem -subj /CN=reader",
    );
    check(&world, "encrypted.pem", "own.pem", 3, &["encrypted", "openssl pkey -in"]);
    openssl(&world, "rsa -in encrypted.pem -passin pass:s3cret -aes128 -passout pass:s3cret -traditional -out old.pem");
    assert!(fs::read_to_string(world.path("old.pem")).unwrap().contains("Proc-Type: 4,ENCRYPTED"));
    check(&world, "old.pem", "own.pem", 3, &["encrypted", "openssl pkey -in"]);
    openssl(&world, "req -x509 -newkey rsa:1024 -nodes -keyout small.pem -out own.pem -subj /CN=reader");
    check(&world, "small.pem", "own.pem", 3, &cannot);
    openssl(&world, "ecparam -name secp256k1 -genkey -noout -out curve.pem");
    check(&world, "curve.pem", "own.pem", 3, &cannot);
    openssl(&world, "genpkey -genparam -algorithm DSA -pkeyopt dsa_paramgen_bits:1024 -out dsa-parameters.pem");
    openssl(&world, "genpkey -paramfile dsa-parameters.pem -out dsa.pem");
    check(&world, "dsa.pem", "own.pem", 3, &cannot);
}

#[test]
fn a_certificate_that_somebody_else_issued() {
    let world = World::new();
    if !need("openssl", "openssl") {
        return;
    }
    openssl(&world, "req -x509 -newkey rsa:2048 -nodes -keyout ca-key.pem -out ca.pem -subj /CN=plant-ca");
    openssl(
        &world,
        "req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -subj /CN=reader -CA ca.pem -CAkey ca-key.pem",
    );
    check(&world, "key.pem", "cert.pem", 3, &["CN=reader", "CN=plant-ca", "self-signed"]);
    // With its chain it is the same.
    let read = |name: &str| fs::read_to_string(world.path(name)).unwrap();
    write(&world, "chain.pem", format!("{}{}", read("ca.pem"), read("cert.pem")));
    check(&world, "key.pem", "chain.pem", 3, &["CN=reader", "CN=plant-ca", "self-signed"]);
}

#[test]
fn flags_that_contradict() {
    let world = World::new();
    pair(&world, 0);
    let (url, pin) = (world.simulator.url(), world.simulator.pin().to_string());
    let check = |more: &[&str], code: i32, said: &[&str]| {
        let arguments = [&["import", "plant/reader"], more].concat();
        refuses(&world, || world.command(&arguments), b"", code, said);
        assert!(!world.state().exists() && !world.config().exists(), "something was made by {more:?}");
    };
    let files = ["--key", "key.pem", "--cert", "cert.pem"];
    check(&["--cert", "cert.pem", "--url", &url], 2, &["--key"]);
    check(&["--key", "key.pem", "--url", &url], 2, &["--cert"]);
    check(&files, 2, &["--url"]);
    check(&[&files[..], &["--url", &url, "--pin", &pin, "--accept-new"]].concat(), 2, &["--accept-new"]);
    check(&[&files[..], &["--url", &url, "--registered-name", "a b"]].concat(), 2, &["--registered-name"]);
    assert_eq!(world.simulator.connections(), 0);
    // A server that nobody decided about is looked at, and gets nothing.
    check(&[&files[..], &["--url", &url]].concat(), 6, &["not known", "--pin"]);
    assert!(world.simulator.requests().is_empty());
}
