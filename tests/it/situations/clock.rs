//! Clocks that jump: this machine's is the tool's own [`Clock`], the
//! appliance's is the simulator's. Nothing is destroyed, retired, given up or
//! made again by ours alone.

use robocred::{
    appliance::SupportToken,
    clock::{Clock, SystemClock},
    config::Config,
    credential::{
        Delivery, State,
        plan::{Aim, Need, Urgency},
    },
    inventory::{Change, Inventory, Observation},
    lifecycle::{self, Drive, Error, GivenToken},
    secrets::{SealPlaces, SealedStore, Secrets},
    session::Session,
    simulator::{Activation, Behaviours, Registration},
    site::RobotId,
};
use time::{Duration, OffsetDateTime};

use super::{ROBOT, codes, in_overlap, keys, records, rotate, states};
use crate::world::{TOKEN, World};

const TWO_YEARS: Duration = Duration::days(730);

/// A machine whose clock is this far ahead of everybody's.
struct Ahead(Duration);

impl Clock for Ahead {
    fn now(&self) -> OffsetDateTime {
        SystemClock.now() + self.0
    }
}

/// What `rotate` does to the robot where the clock is `ahead`, with a token at hand.
#[allow(clippy::result_large_err, reason = "a test's own")]
fn rotate_ahead(world: &World, ahead: Duration, urgency: Urgency) -> Result<lifecycle::Outcome, Error> {
    let clock = Ahead(ahead);
    let config = Config::load_file(&world.config()).unwrap();
    let id: RobotId = ROBOT.parse().unwrap();
    let (site, robot) = config.robot(&id).unwrap();
    let secrets = Secrets::new(SealedStore::new(SealPlaces {
        credential: None,
        key_file: None,
        passphrase_file: None,
        default_key_file: world.path(".config/robocred/seal.key"),
        secrets_dir: world.state().join("secrets"),
    }));
    let token = GivenToken::new(SupportToken::parse(TOKEN.as_bytes().to_vec().into()).unwrap());
    world.runtime.block_on(async {
        let inventory = Inventory::open(&world.state(), "tester", clock.now()).await.unwrap();
        let lock = inventory.lock_site(&id.site, None, clock.now()).await.unwrap();
        let session = Session::open(site, &inventory, &secrets, &clock).unwrap();
        let (aim, progress) = (Aim::Rotate(urgency), &|_| {});
        Drive { session, lock: &lock, id: id.clone(), robot, aim, token: Some(&token), progress, notice: &|_| {} }
            .run()
            .await
    })
}

/// The appliance's clock, moved with ours.
fn theirs_too(world: &World, ahead: Duration) {
    let clock_ahead = ahead.whole_seconds();
    world.simulator.set_behaviours(Behaviours { clock_ahead, ..Behaviours::default() });
}

#[track_caller]
fn wants_the_clocks_looked_at(ended: &Result<lifecycle::Outcome, Error>) {
    assert!(matches!(ended, Err(Error::NeedsPerson { need: Need::Clock, .. })), "{ended:?}");
}

#[test]
fn what_has_ended_by_our_clock_alone_is_not_made_again() {
    let world = World::new();
    world.provision(&[]).expect(0);
    wants_the_clocks_looked_at(&rotate_ahead(&world, TWO_YEARS, Urgency::Scheduled));
    assert_eq!((states(&world), world.posts()), (vec![(1, State::Active)], 1));
    assert_eq!(codes(&world.status()), ["clock-skew"]);
}

#[test]
fn what_has_ended_by_both_clocks_is_followed_by_the_next() {
    let world = World::new();
    world.provision(&[]).expect(0);
    theirs_too(&world, TWO_YEARS);
    let outcome = rotate_ahead(&world, TWO_YEARS, Urgency::Scheduled).unwrap();
    assert_eq!(outcome.record.id.generation.number(), 2);
    // There is nothing to overlap with.
    assert_eq!((states(&world), keys(&world)), (vec![(1, State::Retired), (2, State::Active)], 1));
    assert_eq!(world.posts(), 2);
}

#[test]
fn an_overlap_that_is_over_by_our_clock_alone_ends_nothing() {
    let world = in_overlap();
    let month = Duration::days(30);
    wants_the_clocks_looked_at(&rotate_ahead(&world, month, Urgency::Scheduled));
    assert_eq!((states(&world), keys(&world)), (vec![(1, State::Previous), (2, State::Active)], 2));

    theirs_too(&world, month);
    rotate_ahead(&world, month, Urgency::Scheduled).unwrap();
    assert_eq!((states(&world), keys(&world)), (vec![(1, State::Retired), (2, State::Active)], 1));
}

#[test]
fn a_connector_that_nobody_confirmed_keeps_its_pair_however_long_the_overlap_is_over() {
    let world = World::new();
    world.provision(&["--export", "out"]).expect(0);
    world.run(&["export", ROBOT, "--confirm"]).expect(0);
    rotate(&world).expect(0);
    let month = Duration::days(30);
    theirs_too(&world, month);
    rotate_ahead(&world, month, Urgency::Scheduled).unwrap();
    assert_eq!((states(&world), keys(&world)), (vec![(1, State::Previous), (2, State::Active)], 2));
    assert_eq!((codes(&world.status()), world.simulator.robots().len()), (vec!["deliver-by-hand"], 2));

    world.run(&["export", ROBOT, "--confirm"]).expect(0);
    rotate_ahead(&world, month, Urgency::Scheduled).unwrap();
    assert_eq!((states(&world), keys(&world)), (vec![(1, State::Retired), (2, State::Active)], 1));
    assert_eq!((codes(&world.status()), world.simulator.robots().len()), (vec![], 1));
}

#[test]
fn a_clock_that_was_set_back_does_not_end_the_overlap_before_it_begins() {
    let world = World::new();
    world.provision(&["--export", "out"]).expect(0);
    rotate(&world).expect(0);
    let (id, clock): (RobotId, _) = (ROBOT.parse().unwrap(), Ahead(-TWO_YEARS));
    world.runtime.block_on(async {
        let inventory = Inventory::open(&world.state(), "tester", clock.now()).await.unwrap();
        let lock = inventory.lock_site(&id.site, None, clock.now()).await.unwrap();
        let active = inventory.records(&id).await.unwrap().pop().unwrap().id;
        let overlap = Duration::days(14);
        inventory.set_delivery(&lock, &active, Delivery::Delivered, overlap, clock.now()).await.unwrap();
    });
    let retire_after = records(&world)[0].retire_after.unwrap();
    assert!(retire_after > SystemClock.now() + Duration::days(13), "{retire_after}");
}

/// Generation 2 is on the appliance, and we have not heard so.
fn in_doubt() -> World {
    let mut world = World::new();
    world.provision(&[]).expect(0);
    let registration = Registration::DoneThenServerKeyChanged;
    world.simulator.set_behaviours(Behaviours { registration, ..Behaviours::default() });
    rotate(&world).expect(6);
    world.simulator.set_behaviours(Behaviours::default());
    world.pin_anew();
    assert_eq!(states(&world), [(1, State::Active), (2, State::Sending)]);
    world
}

#[test]
fn a_registration_in_doubt_is_not_given_up_by_our_clock_alone() {
    let world = in_doubt();
    wants_the_clocks_looked_at(&rotate_ahead(&world, TWO_YEARS, Urgency::Asked));
    assert_eq!((states(&world), keys(&world)), (vec![(1, State::Active), (2, State::Registered)], 2));
    assert_eq!(world.status()["leftovers"].as_array().map(Vec::len), Some(0));
    // With its clock right again, the same command brings it to its end.
    rotate_ahead(&world, Duration::ZERO, Urgency::Asked).unwrap();
    assert_eq!((states(&world), world.posts()), (vec![(1, State::Previous), (2, State::Active)], 2));
    assert!(codes(&world.status()).is_empty());
}

#[test]
fn a_registration_in_doubt_that_has_ended_by_both_clocks_is_given_up_and_listed() {
    let world = in_doubt();
    theirs_too(&world, TWO_YEARS);
    rotate_ahead(&world, TWO_YEARS, Urgency::Asked).unwrap();
    assert_eq!(states(&world), [(1, State::Retired), (2, State::RetireManual), (3, State::Active)]);
    assert_eq!(world.status()["leftovers"][0]["registered_name"], "reader-g2");
}

/// Generation 2 is registered and not let in yet.
fn not_let_in_yet(clock_ahead: i64) -> World {
    let world = in_doubt();
    let activation = Activation::After(std::time::Duration::from_hours(1));
    world.simulator.set_behaviours(Behaviours { activation, clock_ahead, ..Behaviours::default() });
    world.runtime.block_on(async {
        let id: RobotId = ROBOT.parse().unwrap();
        let inventory = Inventory::open(&world.state(), "tester", SystemClock.now()).await.unwrap();
        let lock = inventory.lock_site(&id.site, None, SystemClock.now()).await.unwrap();
        let pending = inventory.records(&id).await.unwrap().pop().unwrap();
        let accepted = Change::Accepted { remote_id: None };
        inventory.advance(&lock, &pending.id, accepted, SystemClock.now()).await.unwrap();
    });
    world
}

#[test]
fn a_slow_activation_is_not_ended_by_our_clock_alone() {
    let world = not_let_in_yet(0);
    let ended = rotate_ahead(&world, Duration::hours(1), Urgency::Asked);
    assert!(matches!(ended, Err(Error::Proof(_))), "{ended:?}");
    assert_eq!(states(&world), [(1, State::Active), (2, State::Registered)]);

    world.simulator.set_behaviours(Behaviours::default());
    rotate_ahead(&world, Duration::hours(1), Urgency::Asked).unwrap();
    assert_eq!((states(&world), world.posts()), (vec![(1, State::Previous), (2, State::Active)], 2));
}

#[test]
fn a_registration_refused_long_after_its_post_by_both_clocks_is_given_up() {
    let world = not_let_in_yet(3_600);
    rotate_ahead(&world, Duration::hours(1), Urgency::Asked).unwrap();
    assert_eq!(states(&world), [(1, State::Active), (2, State::RetireManual)]);
    assert_eq!(world.status()["leftovers"][0]["registered_name"], "reader-g2");
}

#[test]
fn an_appliance_that_tells_no_time_is_taken_as_it_was_last_seen() {
    // A refusal in the handshake says nothing, the time least of all.
    let world = World::of(&Behaviours {
        refusal: robocred::simulator::Refusal::TlsAlert,
        tls_versions: robocred::simulator::TlsVersions::Tls12,
        ..Behaviours::default()
    });
    world.provision(&[]).expect(0);
    let seen = |skew| {
        world.runtime.block_on(async {
            let inventory = Inventory::open(&world.state(), "tester", SystemClock.now()).await.unwrap();
            let seen = Observation { clock_skew: Some(skew), ..Observation::default() };
            inventory.observe(&"plant".parse().unwrap(), &seen, SystemClock.now()).await.unwrap();
        });
    };
    world.simulator.forget_robots();
    seen(-TWO_YEARS);
    wants_the_clocks_looked_at(&rotate_ahead(&world, TWO_YEARS, Urgency::Scheduled));
    assert_eq!((states(&world), world.posts()), (vec![(1, State::Active)], 1));
}
