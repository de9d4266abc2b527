//! What is kept here is lost, half lost, or no longer configured.

use std::fs;

use robocred::{
    credential::State,
    simulator::{Behaviours, Listing},
};

use super::{ROBOT, carry_on, codes, fingerprint, hint, keys, rotate, states, with_token};
use crate::world::World;

fn sealed(world: &World) -> Vec<std::path::PathBuf> {
    world.files().into_iter().filter(|path| path.extension().is_some_and(|end| end == "sealed")).collect()
}

#[test]
fn keys_that_are_lost_are_named_and_replaced_and_no_row_is_wiped() {
    let world = World::new();
    world.provision(&[]).expect(0);
    for path in sealed(&world) {
        fs::remove_file(path).unwrap();
    }
    let told = world.run(&["verify"]).expect(7);
    assert!(told.stdout.contains(ROBOT) && told.stdout.contains("robocred "), "{told:#?}");
    assert_eq!((states(&world), codes(&world.status())), (vec![(1, State::Active)], vec!["store-unavailable"]));

    let ran = world.run(&["--json", "rotate", ROBOT]).expect(12);
    assert!(hint(&ran).contains("token"), "{ran:#?}");
    with_token(&world, &["provision", ROBOT]).expect(0);
    assert_eq!(states(&world), [(1, State::Previous), (2, State::Active)]);
    assert!(codes(&world.status()).is_empty());
    // Whose key is lost is removed all the same, by whoever may.
    with_token(&world, &["retire", ROBOT, "--generation", "1"]).expect(0);
    assert_eq!(world.simulator.robots().len(), 1);
}

#[test]
fn an_inventory_that_is_lost_is_begun_again_from_the_exported_pair() {
    let world = World::new();
    world.provision(&["--export", "out"]).expect(0);
    rotate(&world).expect(0);
    let (kept, own) = (world.simulator.robots(), fingerprint(&world, 2));
    fs::remove_dir_all(world.state()).unwrap();

    world.run(&["import", ROBOT, "--key", "out/key.pem", "--cert", "out/cert.pem"]).expect(0);
    let status = world.status();
    assert_eq!((&status["state"], &status["generation"]), (&"active".into(), &2.into()), "{status:#}");
    assert_eq!(status["fingerprint_sha256"], own.to_string());
    assert_eq!(status["registered_name"], "reader-g2");
    assert_eq!(world.simulator.robots(), kept, "nothing is changed on the appliance");
    world.run(&["verify", ROBOT]).expect(0);
    rotate(&world).expect(0);
    assert_eq!(world.status()["registered_name"], "reader-g3");
}

#[test]
fn a_site_that_is_configured_no_more_is_still_listed_with_what_it_holds() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let config = fs::read_to_string(world.config()).unwrap();
    fs::write(world.config(), "version = 1\n").unwrap();
    let status = world.run(&["--json", "status"]).expect(0).json();
    assert_eq!((&status["robots"][0]["robot"], &status["robots"][0]["state"]), (&ROBOT.into(), &"active".into()));
    assert!(status["warnings"].to_string().contains("not in the configuration"), "{status:#}");
    assert_eq!((keys(&world), world.simulator.robots().len()), (1, 1));

    // Configured again, it is taken out of use in order.
    fs::write(world.config(), config).unwrap();
    world.run(&["retire", ROBOT]).expect(12);
    with_token(&world, &["retire", ROBOT, "--last"]).expect(0);
    assert_eq!((states(&world), keys(&world), world.simulator.robots().len()), (vec![(1, State::Retired)], 0, 0));
}

#[test]
fn a_number_whose_name_is_taken_is_passed_over() {
    // Seen in its list, or said by an appliance that has none.
    for (listing, refused) in [(Listing::Supported, 0), (Listing::NotFound404, 1)] {
        let world = World::of(&Behaviours { listing, ..Behaviours::default() });
        world.provision(&["--export", "out"]).expect(0);
        for file in ["key.pem", "cert.pem"] {
            fs::copy(world.path("out").join(file), world.path(file)).unwrap();
        }
        rotate(&world).expect(0);
        fs::remove_dir_all(world.state()).unwrap();
        world.run(&["import", ROBOT, "--key", "key.pem", "--cert", "cert.pem"]).expect(0);
        let before = world.posts();

        rotate(&world).expect(0);
        assert_eq!(states(&world), [(1, State::Previous), (2, State::Abandoned), (3, State::Active)]);
        let status = world.status();
        assert_eq!(status["registered_name"], "reader-g3");
        assert!(!codes(&status).contains(&"reply-differs") && status["leftovers"].as_array().unwrap().is_empty());
        assert_eq!((keys(&world), world.posts()), (2, before + 1 + refused), "{listing:?}");
        world.run(&["verify", ROBOT]).expect(0);
    }
}

#[test]
fn names_that_are_taken_one_after_the_other_end_the_run_and_not_the_next() {
    let world = World::new();
    world.provision(&["--export", "out"]).expect(0);
    for file in ["key.pem", "cert.pem"] {
        fs::copy(world.path("out").join(file), world.path(file)).unwrap();
    }
    rotate(&world).expect(0);
    rotate(&world).expect(0);
    fs::remove_dir_all(world.state()).unwrap();
    world.run(&["import", ROBOT, "--key", "key.pem", "--cert", "cert.pem"]).expect(0);

    let ran = rotate(&world).expect(4);
    assert!(!hint(&ran).contains("--registered-name") && hint(&ran).contains("again"), "{ran:#?}");
    assert_eq!((states(&world)[0], keys(&world)), ((1, State::Active), 1));
    assert_eq!(codes(&world.status()), ["deliver-by-hand", "reply-differs"]);
    rotate(&world).expect(0);
    assert_eq!(world.status()["registered_name"], "reader-g4");
    assert_eq!(codes(&world.status()), ["deliver-by-hand"]);
}

/// The message of the one attention with this code.
#[track_caller]
fn said(robot: &serde_json::Value, code: &str) -> String {
    let raised = robot["attention"].as_array().unwrap().iter().find(|raised| raised["code"] == code);
    raised.unwrap_or_else(|| panic!("no {code} in {robot:#}"))["message"].as_str().unwrap().to_owned()
}

#[test]
fn files_that_cannot_be_written_are_in_the_status() {
    let world = World::new();
    world.provision(&["--export", "out"]).expect(0);
    assert!(said(&world.status(), "deliver-by-hand").contains("robot name reader"));
    fs::rename(world.path("out"), world.path("kept")).unwrap();
    fs::write(world.path("out"), "in the way").unwrap();
    let ran = rotate(&world);
    assert_ne!(ran.code(), Some(0));
    assert!(!ran.stderr.contains("WARN"), "{ran:#?}");
    let told = said(&world.status(), "deliver-by-hand");
    assert!(told.starts_with("generation 2 could not be written to ") && told.contains("directory"), "{told}");

    fs::remove_file(world.path("out")).unwrap();
    carry_on(&world).expect(0);
    assert!(said(&world.status(), "deliver-by-hand").contains("robot name reader-g2"));
    // As little as there is to hand out is asked of anybody once it is out of use.
    with_token(&world, &["retire", ROBOT, "--last"]).expect(0);
    assert_eq!((states(&world), codes(&world.status())), (vec![(1, State::Retired), (2, State::Retired)], vec![]));
    let again = with_token(&world, &["provision", ROBOT]).expect(0).json();
    assert_eq!(again["results"][0]["action"], "provisioned", "there was nothing in use to replace");
}

#[test]
fn what_was_handed_out_elsewhere_keeps_working_until_a_person_says_so() {
    let world = World::new();
    world.provision(&[]).expect(0);
    world.run(&["export", ROBOT, "--dir", "out"]).expect(0);
    world.run(&["export", ROBOT, "--confirm"]).expect(0);
    let ran = rotate(&world).expect(0);
    assert!(ran.stderr.contains("until `robocred export plant/reader --dir DIR`"), "{ran:#?}");
}

#[test]
fn robots_that_are_configured_no_more_are_never_passed_over_in_silence() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let (config, connections) = (fs::read_to_string(world.config()).unwrap(), world.simulator.connections());
    fs::write(world.config(), "version = 1\n").unwrap();
    for scheduled in ["--due", "--all"] {
        let ran = world.run(&["--json", "rotate", scheduled]).expect(3);
        assert!(ran.json()["error"]["message"].to_string().contains(ROBOT), "{ran:#?}");
    }
    let ran = world.run(&["--json", "verify"]).expect(0);
    assert!(ran.json()["warnings"][0].to_string().contains(ROBOT) && ran.stderr.contains(ROBOT), "{ran:#?}");
    let doctor = world.run(&["--json", "doctor"]).expect(0).json();
    let look = doctor["checks"].as_array().unwrap().iter().find(|check| check["name"] == "inventory").unwrap();
    assert_eq!(look["result"], "warn", "{look}");

    // Another one that is configured is looked after, and the warning stays.
    fs::write(world.config(), &config).unwrap();
    crate::rotate::another_robot(&world, "second", "reader");
    let both = fs::read_to_string(world.config()).unwrap();
    fs::write(world.config(), both.replace("robots.reader]", "robots.third]")).unwrap();
    let ran = world.run(&["--json", "rotate", "--due"]).expect(0);
    assert!(ran.json()["warnings"][0].to_string().contains(ROBOT) && ran.stderr.contains(ROBOT), "{ran:#?}");
    fs::write(world.config(), config).unwrap();
    assert!(world.simulator.connections() > connections);
}

#[test]
fn a_sealing_key_that_is_missing_is_in_the_status() {
    for command in [&["verify"][..], &["verify", ROBOT], &["rotate", ROBOT, "--force"], &["rotate", "--due"]] {
        let world = World::new();
        world.provision(&[]).expect(0);
        let key = world.path(".config/robocred/seal.key");
        let kept = fs::read(&key).unwrap();
        fs::remove_file(&key).unwrap();
        world.run(command).expect(7);
        assert_eq!(codes(&world.status()), ["store-unavailable"], "{command:?}");
        assert_eq!(states(&world), [(1, State::Active)]);

        fs::write(&key, kept).unwrap();
        fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        world.run(&["verify"]).expect(0);
        assert!(codes(&world.status()).is_empty(), "{command:?}");
    }
}

#[test]
fn two_robots_of_ours_never_have_one_name() {
    let world = World::new();
    world.provision(&["--registered-name", "other"]).expect(0);
    let (config, seen) = (fs::read(world.config()).unwrap(), (world.simulator.connections(), world.posts()));
    let ran = with_token(&world, &["provision", "plant/other"]).expect(4);
    assert!(ran.json()["results"][0]["error"]["message"].to_string().contains(ROBOT), "{ran:#?}");
    assert!(hint(&ran).contains("--registered-name"), "{ran:#?}");
    assert_eq!((fs::read(world.config()).unwrap(), (world.simulator.connections(), world.posts())), (config, seen));
    assert_eq!(states(&world), [(1, State::Active)]);
    with_token(&world, &["provision", "plant/other", "--registered-name", "third"]).expect(0);
}
