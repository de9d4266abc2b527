//! What is due, with a pair that was made by hand long ago.

use std::fs;

use robocred::x509::{
    Certificate, KeyAlgorithm, PrivateKey, Profile, Validity, certificate_to_pem, private_key_to_pem,
};
use serde_json::json;
use time::Duration;

use super::{TOKEN, World, add_robot, codes, configure, ends, forced, names, now, time, with_token};
use crate::simulator::client::{Ask, ROBOTS};

/// A pair of `days` days that was made `age` ago, in files and on the appliance
/// under `name`, and a configuration with that robot.
pub fn made_by_hand(world: &World, name: &str, days: u16, age: Duration) {
    made_by_hand_with(world, name, days, age, KeyAlgorithm::EcdsaP256);
}

fn made_by_hand_with(world: &World, name: &str, days: u16, age: Duration, algorithm: KeyAlgorithm) {
    let key = PrivateKey::generate(algorithm).unwrap();
    let validity = Validity::of_days(now() - age, days).unwrap();
    let certificate = Certificate::self_signed(&key, name, validity, Profile::Openssl).unwrap();
    fs::write(world.path(&format!("{name}.key")), private_key_to_pem(&key).unwrap().as_bytes()).unwrap();
    fs::write(world.path(&format!("{name}.crt")), certificate_to_pem(&certificate)).unwrap();
    let ask = Ask::new(&world.simulator).header("authorization", format!("Bearer {TOKEN}"));
    let body = json!({ "name": name, "role": "ReaderRole", "cert": certificate_to_pem(&certificate) });
    assert_eq!(world.runtime.block_on(ask.post(ROBOTS, &body)).status, 201);
    if !world.config().exists() {
        fs::create_dir_all(world.config().parent().unwrap()).unwrap();
        let (url, pin) = (world.simulator.url(), world.simulator.pin());
        let site = format!("version = 1\n[sites.plant]\nurl = \"{url}\"\ntrust = {{ pins = [\"{pin}\"] }}\n");
        fs::write(world.config(), site).unwrap();
    }
    add_robot(world, name, "reader");
}

/// As [`made_by_hand`], and takes it over: due since about two months.
pub fn imported(world: &World, name: &str) {
    imported_with(world, name, KeyAlgorithm::EcdsaP256);
}

/// As [`imported`], with another kind of key.
pub fn imported_with(world: &World, name: &str, algorithm: KeyAlgorithm) {
    made_by_hand_with(world, name, 365, Duration::days(300), algorithm);
    let (robot, key, certificate) = (format!("plant/{name}"), format!("{name}.key"), format!("{name}.crt"));
    world.run(&["import", &robot, "--key", &key, "--cert", &certificate]).expect(0);
}

#[test]
fn what_is_due_is_replaced_once() {
    let world = World::new();
    imported(&world, "reader");
    imported(&world, "second");
    let robot = world.status();
    assert_eq!((&robot["due"], &robot["state"]), (&json!(true), &json!("needs-person")));
    let dry = world.run(&["--json", "rotate", "--due", "--dry-run"]).expect(0).json();
    assert_eq!(dry["plan"][0]["steps"], json!(["make", "register", "prove", "deliver"]));

    let named = with_token(&world, &["--json", "rotate", "plant/reader", "--token-stdin"]).expect(0).json();
    assert_eq!(ends(&named), [("plant/reader", "rotated", None)]);
    let due = with_token(&world, &["--json", "rotate", "--due", "--token-stdin"]).expect(0).json();
    assert_eq!(ends(&due), [("plant/reader", "unchanged", None), ("plant/second", "rotated", None)]);
    let again = with_token(&world, &["--json", "rotate", "--due", "--token-stdin"]).expect(0).json();
    assert_eq!(ends(&again), [("plant/reader", "unchanged", None), ("plant/second", "unchanged", None)]);
    assert_eq!(names(&world.simulator), ["reader", "second", "reader-g2", "second-g2"]);
}

#[test]
fn all_replaces_what_is_due_and_only_that() {
    let world = World::new();
    imported(&world, "second");
    world.provision(&[]).expect(0);
    let all = with_token(&world, &["--json", "rotate", "--all", "--token-stdin"]).expect(0).json();
    assert_eq!(ends(&all), [("plant/second", "rotated", None), ("plant/reader", "unchanged", None)]);
}

#[test]
fn by_schedule_nothing_is_replaced_twice_within_the_floor() {
    let world = World::new();
    imported(&world, "reader");
    with_token(&world, &["rotate", "--due", "--token-stdin"]).expect(0);
    // Returned to, the old one is due again, and was promoted just now.
    world.run(&["rollback", "plant/reader"]).expect(0);
    assert_eq!(world.status()["due"], true);
    let scheduled = with_token(&world, &["--json", "rotate", "--due", "--token-stdin"]).expect(0).json();
    assert_eq!(ends(&scheduled), [("plant/reader", "unchanged", None)]);
    assert_eq!(ends(&with_token(&world, &["--json", "rotate", "--all", "--token-stdin"]).json())[0].1, "unchanged");
    let named = with_token(&world, &["--json", "rotate", "plant/reader", "--token-stdin"]).expect(0).json();
    assert_eq!(ends(&named), [("plant/reader", "rotated", None)]);
}

#[test]
fn an_overlap_that_is_over_ends_only_with_a_confirmed_delivery() {
    let world = World::new();
    world.provision(&["--export", "out"]).expect(0);
    configure(&world, "sites.plant.robots.reader", "overlap = \"1s\"");
    with_token(&world, &["token", "set", "plant", "--token-stdin"]).expect(0);
    world.run(&["export", "plant/reader", "--confirm"]).expect(0);
    forced(&world);
    until(now() + Duration::seconds(2));
    let held = world.run(&["--json", "rotate", "--due"]).expect(0).json();
    assert_eq!(ends(&held), [("plant/reader", "unchanged", None)]);
    assert_eq!(names(&world.simulator), ["reader", "reader-g2"], "the connector's pair was taken away");
    assert_eq!(codes(&world.status()), ["deliver-by-hand"]);

    world.run(&["export", "plant/reader", "--confirm"]).expect(0);
    until(time(&world.status()["previous"][0]["retire_after"]) + Duration::SECOND);
    let resumed = world.run(&["--json", "rotate", "--due"]).expect(0).json();
    assert_eq!(ends(&resumed), [("plant/reader", "resumed", None)]);
    assert_eq!(names(&world.simulator), ["reader-g2"]);
    let status = world.status();
    assert_eq!((&status["previous"], &status["leftovers"]), (&json!([]), &json!([])));
    assert!(!world.path("out/.g1").exists() && world.path("out/key.pem").exists());
    world.run(&["verify"]).expect(0);
    assert_eq!(ends(&world.run(&["--json", "rotate", "--due"]).expect(0).json())[0].1, "unchanged");
}

/// Looks at the clock until it shows `end`; the tool judges by the same clock.
pub fn until(end: time::OffsetDateTime) {
    while let Ok(left) = std::time::Duration::try_from(end - now()) {
        if left.is_zero() {
            return;
        }
        assert!(left < std::time::Duration::from_secs(30), "{end} is too far away");
        std::thread::sleep(left);
    }
}

#[test]
fn an_expired_credential_holds_nothing_up() {
    let world = World::new();
    // Its last second is this far away.
    let left = Duration::seconds(12);
    let began = now();
    made_by_hand(&world, "reader", 1, Duration::minutes(24 * 60 - 144) - left);
    world.run(&["import", "plant/reader", "--key", "reader.key", "--cert", "reader.crt"]).expect(0);
    let told = world.path("told");
    let hook = format!("hooks = {{ expiring = ['/bin/sh', '-c', 'cat >> {}'] }}", told.display());
    configure(&world, "sites.plant.robots.reader", &hook);
    until(began + left + Duration::seconds(2));
    assert_eq!(world.status()["state"], "expired");
    world.run(&["verify"]).expect(11);
    let waiting = world.run(&["--json", "rotate", "--due"]).expect(12).json();
    assert_eq!(ends(&waiting), [("plant/reader", "failed", Some("person"))]);
    assert!(fs::read_to_string(told).unwrap().contains("\"code\":\"expired\""));

    with_token(&world, &["token", "set", "plant", "--token-stdin"]).expect(0);
    let done = world.run(&["--json", "rotate", "--due"]).expect(0).json();
    assert_eq!(ends(&done), [("plant/reader", "rotated", None)]);
    world.run(&["verify"]).expect(0);
    // There is no overlap with what has ended.
    assert_eq!(names(&world.simulator), ["reader-g2"]);
}

#[test]
fn a_first_ingest_that_fails_holds_the_predecessor_back() {
    let world = World::new();
    world.provision(&[]).expect(0);
    with_token(&world, &["token", "set", "plant", "--token-stdin"]).expect(0);
    let place = world.path("devices");
    let ingest = format!("overlap = \"1s\"\ningest = {{ streams = [\"assets\"], dir = \"{}\" }}", place.display());
    configure(&world, "sites.plant.robots.reader", &ingest);
    // What stands in the way of the files.
    fs::write(&place, "").unwrap();
    let ran = with_token(&world, &super::FORCED);
    let document = ran.json();
    let [(_, "rotated", Some(_))] = ends(&document)[..] else { panic!("{document}") };
    assert_ne!(ran.code(), Some(0));
    assert_eq!(codes(&world.status()), ["ingest-failed"]);
    until(now() + Duration::seconds(2));
    assert_ne!(world.run(&["rotate", "--due"]).code(), Some(0));
    assert_eq!(names(&world.simulator), ["reader", "reader-g2"]);

    fs::remove_file(&place).unwrap();
    world.run(&["rotate", "--due"]).expect(0);
    assert!(place.is_dir() && codes(&world.status()).is_empty());
    world.run(&["rotate", "--due"]).expect(0);
    assert_eq!(names(&world.simulator), ["reader-g2"]);
}
