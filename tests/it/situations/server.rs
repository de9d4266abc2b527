//! The server's certificate changes or ends while a rotation is under way.

use robocred::{
    credential::State,
    simulator::{Behaviours, Registration},
};

use super::{ROBOT, carry_on, codes, rotate, states};
use crate::world::World;

#[test]
fn a_server_key_that_changes_in_a_rotation_gets_nothing_until_it_is_pinned() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let registration = Registration::DoneThenServerKeyChanged;
    world.simulator.set_behaviours(Behaviours { registration, ..Behaviours::default() });
    rotate(&world).expect(6);
    world.simulator.set_behaviours(Behaviours::default());
    let (tokens, requests) = (world.simulator.tokens_seen(), world.simulator.requests().len());
    carry_on(&world).expect(6);
    assert_eq!((world.simulator.tokens_seen(), world.simulator.requests().len()), (tokens, requests));
    assert_eq!(states(&world), [(1, State::Active), (2, State::Sending)]);

    world.run(&["trust", "plant", "--pin", &world.simulator.pin().to_string()]).expect(0);
    carry_on(&world).expect(0);
    assert_eq!(world.posts(), 2, "what was registered is not registered again");
    assert_eq!(states(&world), [(1, State::Previous), (2, State::Active)]);
    assert!(codes(&world.status()).is_empty());
}

#[test]
fn behind_a_pin_a_certificate_that_has_ended_is_a_remark() {
    let world = World::with(|options| options.tls.expired = true);
    world.provision(&[]).expect(0);
    rotate(&world).expect(0);
    let ran = world.run(&["--json", "verify", ROBOT]).expect(0).json();
    let checks = ran["robots"][0]["checks"].as_array().unwrap();
    let trust = checks.iter().find(|check| check["name"] == "trust").unwrap();
    assert_eq!(trust["result"], "warn", "{trust}");
}
