//! What is removed is what was meant: never the robot in use, never somebody
//! else's, and nothing at another address.

use std::{fs, process::Command};

use robocred::{
    clock::{Clock as _, SystemClock},
    credential::State,
    inventory::{Change, Inventory},
    simulator::{Behaviours, Listing, Removal},
    site::RobotId,
};
use serde_json::json;

use super::{keys, retire, retire_with_token, rotated};
use crate::{
    judges::need,
    rotate::{codes, ends, names, with_token},
    world::{Ran, TOKEN, World},
};

/// The removal of a generation begins, and the tool is killed.
fn begin_removal(world: &World, robot: &str, generation: u32) {
    let id: RobotId = robot.parse().unwrap();
    world.runtime.block_on(async {
        let now = SystemClock.now();
        let inventory = Inventory::open(&world.state(), "tester", now).await.unwrap();
        let lock = inventory.lock_site(&id.site, None, now).await.unwrap();
        let records = inventory.records(&id).await.unwrap();
        let record = records.iter().find(|record| record.id.generation.number() == generation).unwrap();
        inventory.advance(&lock, &record.id, Change::RetireBegun, now).await.unwrap();
    });
}

fn states(world: &World) -> Vec<(String, State)> {
    let inventory = world.inventory().unwrap();
    let records = world.runtime.block_on(inventory.all_records()).unwrap();
    records.iter().map(|record| (record.id.to_string(), record.state)).collect()
}

fn removals(world: &World) -> usize {
    world.simulator.requests().iter().filter(|request| request.method == "DELETE").count()
}

/// A robot whose pair is also in the folder `kept`.
fn with_a_copy() -> World {
    let world = World::new();
    world.provision(&["--export", "out"]).expect(0);
    fs::create_dir(world.path("kept")).unwrap();
    for file in ["key.pem", "cert.pem"] {
        fs::copy(world.path("out").join(file), world.path("kept").join(file)).unwrap();
    }
    world
}

fn import(world: &World, robot: &str) -> Ran {
    world.run(&["--json", "import", robot, "--key", "kept/key.pem", "--cert", "kept/cert.pem"])
}

fn lists_no_certificates(world: &World) {
    world.simulator.set_behaviours(Behaviours { listing: Listing::WithoutCertificates, ..Behaviours::default() });
}

/// Somebody registers a robot of this name by hand. `false` where the tools are not installed.
fn registered_by_somebody(world: &World, name: &str) -> bool {
    const BY_HAND: &str = r#"
openssl req -x509 -newkey rsa:2048 -keyout hand-key.pem -out hand-cert.pem -days 365 -nodes -subj "/CN=$CN" 2>/dev/null
cert=$(awk '{ printf "%s\\n", $0 }' hand-cert.pem)
curl -sS --fail -k -H "Authorization: Bearer $TOKEN" -XPOST "$URL/v1/robots" \
    --data "{\"name\": \"$NAME\", \"role\": \"ReaderRole\", \"cert\": \"$cert\"}"
"#;
    if !(need("openssl", "openssl") && need("curl", "curl")) {
        return false;
    }
    let made = Command::new("sh")
        .args(["-c", BY_HAND])
        .current_dir(world.path(""))
        .envs([("NAME", name), ("CN", name), ("TOKEN", TOKEN), ("URL", &world.simulator.url())])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    true
}

#[test]
fn a_leftover_that_was_imported_again_is_closed_and_the_robot_in_use_stays() {
    let world = with_a_copy();
    retire(&world, &["--last"]).expect(12);
    assert!(codes(&world.status()).contains(&"retire-manual"));
    import(&world, "plant/reader").expect(0);
    let status = world.status();
    assert_eq!((&status["generation"], &status["leftovers"]), (&json!(2), &json!([])), "{status:#}");
    assert!(!codes(&status).contains(&"retire-manual"), "{status:#}");
    retire_with_token(&world, &["--generation", "1"]).expect(0);
    assert_eq!((names(&world.simulator), removals(&world)), (vec!["reader".to_owned()], 0));
    world.run(&["verify", "plant/reader"]).expect(0);

    // It goes when it is meant.
    retire_with_token(&world, &["--last"]).expect(0);
    assert_eq!(names(&world.simulator), Vec::<String>::new());
}

#[test]
fn a_removal_under_way_of_a_pair_that_was_imported_again_removes_nothing() {
    for robot in ["plant/reader", "plant/other"] {
        let world = with_a_copy();
        begin_removal(&world, "plant/reader", 1);
        import(&world, robot).expect(0);
        let held = keys(&world);
        retire_with_token(&world, &["--generation", "1"]).expect(0);
        assert_eq!((names(&world.simulator), removals(&world)), (vec!["reader".to_owned()], 0), "{robot}");
        let states = states(&world);
        assert!(states.contains(&("plant/reader generation 1".to_owned(), State::Retired)), "{states:?}");
        assert_eq!(keys(&world), held - 1, "{robot}: its own key is still there");
        world.run(&["verify", robot]).expect(0);
    }
}

#[test]
fn a_leftover_whose_pair_another_robot_took_over_is_closed() {
    let world = with_a_copy();
    retire(&world, &["--last"]).expect(12);
    import(&world, "plant/other").expect(0);
    retire_with_token(&world, &["--generation", "1"]).expect(0);
    assert_eq!((names(&world.simulator), removals(&world)), (vec!["reader".to_owned()], 0));
    world.run(&["verify", "plant/other"]).expect(0);
}

#[test]
fn a_robot_that_somebody_gave_the_old_name_is_not_removed() {
    let world = rotated();
    world.simulator.forget_robot("reader");
    if !registered_by_somebody(&world, "reader") {
        return;
    }
    lists_no_certificates(&world);
    assert_eq!(ends(&retire_with_token(&world, &[]).expect(0).json()), [("plant/reader", "retired", None)]);
    assert_eq!((names(&world.simulator), removals(&world)), (vec!["reader-g2".into(), "reader".into()], 0));
    assert_eq!(world.status()["leftovers"], json!([]));
}

#[test]
fn an_imported_robot_is_never_removed_by_the_name_it_is_assumed_to_have() {
    let world = with_a_copy();
    fs::remove_dir_all(world.state()).unwrap();
    // It is called reader on the appliance, and here something else; somebody else's has that name.
    import(&world, "plant/other").expect(0);
    if !registered_by_somebody(&world, "other") {
        return;
    }
    lists_no_certificates(&world);
    let arguments = ["--json", "retire", "plant/other", "--last", "--token-stdin"];
    let document = with_token(&world, &arguments).expect(12).json();
    assert_eq!(ends(&document), [("plant/other", "retired", Some("person"))]);
    assert_eq!((names(&world.simulator), removals(&world)), (vec!["reader".into(), "other".into()], 0));
    let document = world.run(&["--json", "status"]).expect(0).json();
    let robots = document["robots"].as_array().unwrap();
    let other = robots.iter().find(|robot| robot["robot"] == "plant/other").unwrap();
    let reason = other["leftovers"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("not certain") && reason.ends_with("its certificate says reader"), "{reason}");
}

#[test]
fn a_leftover_is_removed_only_while_its_successor_works_and_that_is_seen_again() {
    let world = rotated();
    retire(&world, &[]).expect(12);
    // The appliance removes the successor in its place, and says that all went well.
    let removal = Removal::HitsNewest;
    world.simulator.set_behaviours(Behaviours { removal, ..Behaviours::default() });
    let document = retire_with_token(&world, &["--generation", "1"]).expect(12).json();
    assert_eq!(ends(&document), [("plant/reader", "failed", Some("person"))]);
    let status = world.status();
    assert!(codes(&status).contains(&"frozen"), "{status:#}");
    assert_eq!(status["leftovers"][0]["registered_name"], "reader");

    // With a successor that does not work nothing is sent.
    let before = removals(&world);
    world.simulator.set_behaviours(Behaviours::default());
    retire_with_token(&world, &["--generation", "1"]).expect(12);
    assert_eq!((names(&world.simulator), removals(&world)), (vec!["reader".to_owned()], before));
}

#[test]
fn a_leftover_that_is_still_listed_after_its_removal_is_not_gone() {
    let world = rotated();
    retire(&world, &[]).expect(12);
    crate::rotate::another_robot(&world, "newest", "reader");
    world.simulator.set_behaviours(Behaviours { removal: Removal::HitsNewest, ..Behaviours::default() });
    retire_with_token(&world, &["--generation", "1"]).expect(12);
    assert_eq!(names(&world.simulator), ["reader", "reader-g2"]);
    let document = world.run(&["--json", "status"]).expect(0).json();
    assert_eq!(document["robots"][1]["leftovers"][0]["registered_name"], "reader", "{document:#}");
}

#[test]
fn an_appliance_that_knows_one_of_ours_may_have_another_address() {
    let world = rotated();
    moved(&world);
    retire_with_token(&world, &[]).expect(0);
    assert_eq!((names(&world.simulator), removals(&world)), (vec!["reader-g2".into()], 1));
}

#[test]
fn what_another_machine_refuses_is_not_gone() {
    let world = World::new();
    world.provision(&[]).expect(0);
    // Whatever answers at the new address knows nobody of ours.
    world.simulator.forget_robots();
    let (old, new) = moved(&world);
    let document = retire_with_token(&world, &["--last"]).expect(12).json();
    assert_eq!(ends(&document), [("plant/reader", "retired", Some("person"))]);
    assert_eq!(removals(&world), 0);
    let status = world.status();
    let reason = status["leftovers"][0]["reason"].as_str().unwrap();
    assert!(reason.contains(&old) && reason.contains(&new), "{reason}");
}

/// The site gets another address: the one before, and the new one.
fn moved(world: &World) -> (String, String) {
    let (old, new) = (world.simulator.url(), world.simulator.url().replace("127.0.0.1", "localhost"));
    assert_ne!(old, new);
    let config = fs::read_to_string(world.config()).unwrap();
    fs::write(world.config(), config.replace(&old, &new)).unwrap();
    (old, new)
}

#[test]
fn an_interrupted_removal_of_the_last_one_is_carried_on_as_status_says() {
    let world = World::new();
    world.provision(&["--export", "out"]).expect(0);
    begin_removal(&world, "plant/reader", 1);
    let told = world.run(&["status"]).expect(0);
    assert!(told.stdout.contains("`robocred retire plant/reader --last` carries on"), "{told:#?}");
    assert!(!told.stdout.contains("robocred provision"), "{told:#?}");
    retire_with_token(&world, &["--last"]).expect(0);
    assert_eq!((names(&world.simulator), keys(&world)), (Vec::new(), 0));
    assert_eq!(states(&world), [("plant/reader generation 1".to_owned(), State::Retired)]);
}

#[test]
fn a_removal_that_was_interrupted_is_returned_from() {
    let world = rotated();
    begin_removal(&world, "plant/reader", 1);
    world.simulator.forget_robot("reader-g2");
    world.run(&["verify", "plant/reader"]).expect(4);
    let status = world.status();
    let hint = status["attention"].as_array().unwrap().iter().find(|raised| raised["code"] == "frozen").unwrap();
    assert!(hint["hint"].as_str().unwrap().contains("rollback plant/reader` returns to generation 1"), "{status:#}");
    let dry = world.run(&["--json", "rollback", "plant/reader", "--dry-run"]).expect(0).json();
    assert_eq!(dry["plan"][0]["steps"], json!(["prove", "rollback", "deliver"]));
    let document = world.run(&["--json", "rollback", "plant/reader"]).expect(0).json();
    assert_eq!(ends(&document), [("plant/reader", "rolled-back", None)]);
    assert_eq!(
        states(&world),
        [
            ("plant/reader generation 1".to_owned(), State::Active),
            ("plant/reader generation 2".to_owned(), State::Previous)
        ]
    );
    world.run(&["verify", "plant/reader"]).expect(0);
}
