//! What `status` says of a robot in the middle of its life.

use robocred::{
    clock::{Clock as _, SystemClock},
    credential::{Control, Delivery},
    inventory::{AttentionCode, Change, Inventory, NewGeneration},
    site::{RobotId, Role},
    x509::{Certificate, KeyAlgorithm, PrivateKey, Profile, Validity},
};
use serde_json::{Value, json};
use time::Duration;

use crate::world::{TOKEN, World, run};

fn codes(robot: &Value) -> Vec<&str> {
    robot["attention"].as_array().unwrap().iter().map(|raised| raised["code"].as_str().unwrap()).collect()
}

#[test]
fn a_token_is_asked_for_ahead_of_the_window_until_one_is_stored() {
    let world = World::new();
    // Its window opens after 20 days, and a token is asked for 30 days ahead.
    world.provision(&["--days", "30"]).expect(0);
    let robot = world.status();
    assert_eq!(
        (codes(&robot), &robot["state"], &robot["due"]),
        (vec!["token-needed"], &"active".into(), &false.into())
    );
    let asked = &robot["attention"][0];
    let due_at = robot["due_at"].as_str().unwrap();
    assert!(asked["message"].as_str().unwrap().contains(&due_at[..10]), "{asked}");
    assert!(asked["hint"].as_str().unwrap().contains("`robocred token set plant`"), "{asked}");

    run(world.command(&["token", "set", "plant", "--token-stdin"]), TOKEN.as_bytes()).expect(0);
    assert!(codes(&world.status()).is_empty());
    world.run(&["token", "clear", "plant"]).expect(0);
    assert_eq!(codes(&world.status()), ["token-needed"]);
    assert_eq!(world.simulator.robots().len(), 1);
}

#[test]
fn every_state_of_a_rotation_is_told_in_words() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let now = SystemClock.now();
    let inventory = world.runtime.block_on(Inventory::open(&world.state(), "tester", now)).unwrap();
    let id: RobotId = "plant/reader".parse().unwrap();
    let lock = world.runtime.block_on(inventory.lock_site(&id.site, None, now)).unwrap();
    let first = world.runtime.block_on(inventory.records(&id)).unwrap().remove(0).id;
    let new = NewGeneration {
        robot: id.clone(),
        role: Role::Reader,
        key_algorithm: KeyAlgorithm::EcdsaP256,
        profile: Profile::Client,
        forced: false,
    };
    let second = world.runtime.block_on(inventory.plan_generation(&lock, &new, now)).unwrap().id;
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let validity = Validity::of_days(now, 365).unwrap();
    let certificate = Certificate::self_signed(&key, "reader-g2", validity, Profile::Client).unwrap();

    let told = |state: &str, generation: u32, previous: &[(u32, &str)], words: &str| {
        let robot = world.status();
        assert_eq!((&robot["state"], &robot["generation"]), (&state.into(), &generation.into()), "{robot:#}");
        let beside = robot["previous"].as_array().unwrap().iter();
        let beside: Vec<_> = beside.map(|other| (&other["generation"], &other["state"])).collect();
        let expected: Vec<_> = previous.iter().map(|(number, state)| (json!(number), json!(state))).collect();
        assert_eq!(beside, expected.iter().map(|(number, state)| (number, state)).collect::<Vec<_>>());
        let text = world.run(&["status"]).expect(0).stdout;
        assert!(text.lines().any(|line| line.trim_start().starts_with(words)), "{words:?} is not told:\n{text}");
    };
    let advance = |of, change| {
        world.runtime.block_on(inventory.advance(&lock, of, change, now)).unwrap();
    };
    told("active", 1, &[(2, "planned")], "generation 2 (reader-g2) is on its way (planned): its key is not made yet");
    advance(&second, Change::KeyStored { certificate });
    told("active", 1, &[(2, "keyed")], "generation 2 (reader-g2) is on its way (keyed): its key is stored");
    advance(&second, Change::SendBegun { control: Control::Refused });
    told("active", 1, &[(2, "sending")], "generation 2 (reader-g2) is on its way (sending): whether the appliance");
    advance(&second, Change::Accepted { remote_id: None });
    told("active", 1, &[(2, "registered")], "generation 2 (reader-g2) is on its way (registered): the appliance");
    advance(&second, Change::Promoted { passed: Vec::new() });
    told(
        "active",
        2,
        &[(1, "previous")],
        "generation 1 (reader) is still accepted; kept until generation 2 is delivered",
    );

    let by_hand = inventory.raise(&lock, &id, AttentionCode::DeliverByHand, "give it to the connector", None, now);
    world.runtime.block_on(by_hand).unwrap();
    told(
        "active",
        2,
        &[(1, "previous")],
        "generation 1 (reader) is still accepted; kept until the delivery of generation 2 is confirmed (deliver-by-hand)",
    );
    let overlap = Duration::days(14);
    let delivered = inventory.set_delivery(&lock, &second, Delivery::Delivered, overlap, now);
    world.runtime.block_on(delivered).unwrap();
    let after = format!("generation 1 (reader) is still accepted; to be retired after {}", (now + overlap).date());
    told("active", 2, &[(1, "previous")], &after);
    advance(&first, Change::RetireBegun);
    told("active", 2, &[(1, "retiring")], "generation 1 (reader) is being removed; `robocred rotate plant/reader`");
    advance(&first, Change::RetireImpossible { reason: "the appliance offers no removal".to_owned() });
    told(
        "active",
        2,
        &[],
        "left on the appliance, for a person to remove: reader (generation 1): the appliance offers no removal",
    );
}
