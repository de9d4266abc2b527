//! The appliance changes: restored, reset, upgraded, full, slow, or of another
//! mind about names and roles.

use std::time::Duration;

use robocred::{
    credential::State,
    simulator::{Activation, Behaviours, DuplicateName, Registration, RoleGiven},
};

use super::{ROBOT, advice, carry_on, codes, fingerprint, hint, in_overlap, keys, rotate, states, with_token};
use crate::world::World;

#[test]
fn a_backup_from_before_the_rotation_is_met_by_a_rollback_and_a_new_generation() {
    let world = in_overlap();
    world.simulator.forget_robot("reader-g2");
    world.run(&["verify", ROBOT]).expect(4);
    let robot = world.status();
    assert_eq!(codes(&robot), ["frozen"]);
    assert!(advice(&robot, "frozen").contains("rollback plant/reader` returns to generation 1"), "{robot:#}");
    assert_eq!((states(&world), keys(&world)), (vec![(1, State::Previous), (2, State::Active)], 2));

    // By schedule nothing is touched: neither registered, nor removed, nor destroyed.
    let posts = world.posts();
    with_token(&world, &["rotate", "--all"]).expect(12);
    assert_eq!((world.posts(), keys(&world), codes(&world.status())), (posts, 2, vec!["frozen"]));

    world.run(&["rollback", ROBOT]).expect(0);
    assert_eq!(states(&world), [(1, State::Active), (2, State::Previous)]);
    assert!(codes(&world.status()).is_empty());
    world.run(&["verify", ROBOT]).expect(0);

    rotate(&world).expect(0);
    assert_eq!(world.status()["generation"], 3);
    world.run(&["verify", ROBOT]).expect(0);
    assert_eq!(world.simulator.robots().len(), 2);
}

#[test]
fn a_reset_appliance_gets_a_new_generation_once_a_token_is_there() {
    let world = in_overlap();
    world.simulator.forget_robots();
    world.run(&["verify", ROBOT]).expect(4);
    world.run(&["--json", "rollback", ROBOT]).expect(4);
    let ran = world.run(&["--json", "rotate", ROBOT, "--force"]).expect(12);
    assert!(hint(&ran).contains("token"), "{ran:#?}");
    assert!(codes(&world.status()).contains(&"token-needed"));
    let before = states(&world);
    assert_eq!((&before[..2], keys(&world)), (&[(1, State::Previous), (2, State::Active)][..], 3));

    rotate(&world).expect(0);
    assert_eq!(states(&world), [(1, State::Previous), (2, State::Previous), (3, State::Active)]);
    assert_eq!((keys(&world), world.simulator.robots().len()), (3, 1));
    assert!(codes(&world.status()).is_empty());
    world.run(&["verify", ROBOT]).expect(0);
}

#[test]
fn a_refused_credential_is_never_unchanged_once_somebody_has_seen_it() {
    let world = World::new();
    world.provision(&[]).expect(0);
    world.simulator.forget_robots();
    let told = world.run(&["verify"]).expect(4);
    assert!(told.stdout.contains("robocred rotate plant/reader --force"), "{told:#?}");
    assert_eq!(codes(&world.status()), ["frozen"]);
    for rotate in [&["rotate", ROBOT][..], &["rotate", "plant"], &["rotate", "--due"], &["rotate", "--all"]] {
        let ran = world.run(&[&["--json"], rotate].concat()).expect(12);
        assert_eq!(ran.json()["results"][0]["error"]["code"], "person", "{rotate:?}");
        assert_eq!((states(&world), codes(&world.status())), (vec![(1, State::Active)], vec!["frozen"]));
    }
}

#[test]
fn both_robots_with_one_certificate_are_removed() {
    // It is registered, says nothing of it, and lets it in only after the same was sent again.
    let world = World::of(&Behaviours {
        registration: Registration::DoneThen500,
        registration_times: Some(1),
        duplicate_name: DuplicateName::SecondRobot,
        activation: Activation::After(Duration::from_secs(9)),
        ..Behaviours::default()
    });
    world.provision(&[]).expect(0);
    let robots = world.simulator.robots();
    let own = fingerprint(&world, 1);
    assert_eq!(robots.len(), 2);
    assert!(robots.iter().all(|robot| robot.name == "reader" && robot.fingerprint == own), "{robots:#?}");

    world.simulator.set_behaviours(Behaviours::default());
    rotate(&world).expect(0);
    with_token(&world, &["retire", ROBOT, "--generation", "1"]).expect(0);
    assert_eq!(world.simulator.robots().len(), 1, "both are ours, by their certificate");
    assert_eq!(world.status()["leftovers"], serde_json::json!([]));
    world.run(&["verify", ROBOT]).expect(0);
}

#[test]
fn an_appliance_that_registers_no_more_leaves_the_old_credential_in_use() {
    for (registration, code, said) in [
        (Registration::Quota, 4, "token"),
        (Registration::NotFound404, 4, "address"),
        (Registration::Gone410, 4, "address"),
    ] {
        let world = World::new();
        world.provision(&[]).expect(0);
        world.simulator.set_behaviours(Behaviours { registration, ..Behaviours::default() });
        let ran = rotate(&world).expect(code);
        assert!(hint(&ran).contains(said), "{registration:?}: {ran:#?}");
        assert_eq!(states(&world), [(1, State::Active), (2, State::Keyed)], "{registration:?}");
        assert_eq!((world.status()["state"].as_str(), world.simulator.robots().len()), (Some("active"), 1));
        assert!(world.simulator.requests().iter().all(|request| request.method != "DELETE"), "{registration:?}");
        world.run(&["verify", ROBOT]).expect(0);

        // As soon as it registers again, the key that waits is used.
        world.simulator.set_behaviours(Behaviours::default());
        carry_on(&world).expect(0);
        assert_eq!(states(&world), [(1, State::Previous), (2, State::Active)], "{registration:?}");
    }
}

#[test]
fn a_page_in_the_place_of_the_endpoint_leaves_the_old_credential_in_use() {
    let world = World::new();
    world.provision(&[]).expect(0);
    world.simulator.set_behaviours(Behaviours { registration: Registration::Html200, ..Behaviours::default() });
    rotate(&world).expect(5);
    assert_eq!(states(&world), [(1, State::Active), (2, State::Sending)]);
    assert_eq!(world.simulator.robots().len(), 1);
    world.run(&["verify", ROBOT]).expect(0);
}

#[test]
fn a_successor_of_another_role_is_told() {
    for (wanted, role, given) in
        [("admin", RoleGiven::Lowered, "ReaderRole"), ("reader", RoleGiven::Raised, "AdminRole")]
    {
        let world = World::new();
        world.provision(&["--role", wanted]).expect(0);
        world.simulator.set_behaviours(Behaviours { role, ..Behaviours::default() });
        rotate(&world).expect(0);
        let robot = world.status();
        assert_eq!(codes(&robot), ["reply-differs"], "{robot:#}");
        assert!(robot["attention"][0]["message"].as_str().unwrap().contains(given), "{robot:#}");
        // The one before is still there, and it can be returned to.
        world.run(&["rollback", ROBOT]).expect(0);
        assert_eq!(states(&world), [(1, State::Active), (2, State::Previous)]);
    }
}

#[test]
fn a_successor_that_is_let_in_late_is_registered_once() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let activation = Activation::After(Duration::from_millis(1_500));
    world.simulator.set_behaviours(Behaviours { activation, ..Behaviours::default() });
    let posts = world.posts();
    rotate(&world).expect(0);
    assert_eq!(world.posts(), posts + 1);
    assert_eq!(states(&world), [(1, State::Previous), (2, State::Active)]);
}

#[test]
fn a_refused_token_ends_the_batch_at_its_first_use() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let arguments = ["--json", "provision", "plant/second", "--key-type", "ecdsa-p256", "--token-stdin"];
    crate::world::run(world.command(&arguments), crate::world::TOKEN.as_bytes()).expect(0);
    let sent = world.simulator.tokens_seen();
    let arguments = ["--json", "rotate", ROBOT, "plant/second", "--force", "--token-stdin"];
    let ran = crate::world::run(world.command(&arguments), b"revoked-meanwhile").expect(4);
    assert_eq!(world.simulator.tokens_seen(), sent + 1, "{ran:#?}");
    for robot in world.run(&["--json", "status"]).expect(0).json()["robots"].as_array().unwrap() {
        assert_eq!((&robot["state"], &robot["generation"]), (&"active".into(), &1.into()), "{robot:#}");
    }
}
