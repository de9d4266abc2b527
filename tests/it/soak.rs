//! A `watch` that lives for many days, by a clock that runs 8,640 times faster:
//! one virtual day in ten seconds. Four appliances, robots that live 6 to 20
//! days, people who come late, and everything that goes wrong on the way:
//! killed and stopped processes, appliances that reboot and break off, clocks
//! that jump, configurations that are broken for a while.
//!
//! `ROBOCRED_SOAK=1h cargo test --features failpoints,test-clock --test it soak -- --nocapture`;
//! without the variable it lasts 45 s. `ROBOCRED_SOAK_SEED` repeats the same
//! disturbances in the same order, not at the same moments of the processes.

mod agree;
mod daemon;
mod holds;
mod people;
mod plant;

use std::{
    env,
    time::{Duration, Instant},
};

use robocred::{
    renewal::parse_duration,
    simulator::{Fault, FaultKind},
};
use rustix::process::Signal;

use crate::seed::Seed;
use daemon::Daemon;
use people::People;
use plant::{Plant, SITES};

/// How much faster than real time the clock runs.
const RATE: f64 = 8640.0;

/// What happens to a watch.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    KillDaemon,
    KillChild,
    StopChild,
    StopDaemon,
    Reboot,
    Fault,
    Jump,
    BrokenConfig,
    Look,
}

/// As often as each is wanted: a daemon that is always killed shows no leak.
const TROUBLES: [Trouble; 20] = {
    use Trouble::{BrokenConfig, Fault, Jump, KillChild, KillDaemon, Look, Reboot, StopChild, StopDaemon};
    [
        KillDaemon,
        KillChild,
        KillChild,
        KillChild,
        KillChild,
        StopChild,
        StopChild,
        StopChild,
        StopDaemon,
        Reboot,
        Reboot,
        Reboot,
        Fault,
        Fault,
        Fault,
        Fault,
        Fault,
        Jump,
        BrokenConfig,
        Look,
    ]
};

/// The farthest that the clock is set, in either direction.
const MOST_JUMP: time::Duration = time::Duration::hours(6);

/// How often something happens, and how often all is looked through with the daemon ended.
const TROUBLE_EVERY: Duration = Duration::from_millis(2500);
const CHECK_EVERY: Duration = Duration::from_mins(2);

/// In the last part of it the daemon is one process, which shows whether it grows.
const ONE_LIFE: u32 = 3;

/// The longest that one trouble lasts: a fifth of a day.
const LONGEST: usize = 2000;

#[test]
fn every_robot_lives_on_whatever_happens() {
    let length = env::var("ROBOCRED_SOAK").map_or(Duration::from_secs(45), |text| {
        parse_duration(&text).unwrap_or_else(|error| panic!("ROBOCRED_SOAK: {error}")).unsigned_abs()
    });
    let number = env::var("ROBOCRED_SOAK_SEED").map_or(1, |text| text.parse().unwrap());
    let mut seed = Seed::new(number);
    let plant = Plant::new();
    let mut people = People::new(number);
    let mut held = holds::Held::default();
    let mut daemon = Daemon::start(&plant);
    let began = (Instant::now(), plant.now());
    let check_every = CHECK_EVERY.min(length / 3);
    let (mut next_trouble, mut next_check) = (began.0 + TROUBLE_EVERY, began.0 + check_every);
    let mut counts = Counts::default();

    while began.0.elapsed() < length {
        daemon.measure();
        if let Some(agreed) = agree::sample(&plant, &daemon, &mut counts.again) {
            counts.samples += 1;
            let left = agreed["robots"].as_array().unwrap().iter().filter_map(|robot| robot["days_left"].as_i64());
            counts.least_days_left = counts.least_days_left.into_iter().chain(left).min();
            people.live(&plant, &agreed);
        }
        let one_life = began.0.elapsed() + length / ONE_LIFE > length;
        if Instant::now() >= next_trouble {
            let trouble = match TROUBLES[seed.below(TROUBLES.len())] {
                Trouble::KillDaemon if one_life => Trouble::KillChild,
                trouble => trouble,
            };
            counts.troubles[trouble as usize] += usize::from(suffer(trouble, &plant, &mut daemon, &mut seed));
            next_trouble = Instant::now() + TROUBLE_EVERY;
        }
        if Instant::now() >= next_check && !one_life {
            daemon.end(&plant);
            held.check(&plant);
            counts.checks += 1;
            let days = (plant.now() - began.1).whole_days();
            println!("soak: {:.0?}, {days} days, {} promotions, {counts:?}", began.0.elapsed(), held.promotions());
            daemon.begin_again(&plant);
            next_check = Instant::now() + check_every;
        }
    }

    settle(&plant, &mut daemon, &mut people, &mut counts);
    daemon.end(&plant);
    held.check(&plant);
    counts.checks += 1;
    let days = (plant.now() - began.1).whole_days();
    held.rotated_often_enough(&plant, days);
    println!(
        "soak: seed {number}, {:.0?}, {days} days, {} robots, {} promotions, {} retirements, {counts:?}, {}",
        began.0.elapsed(),
        plant.robots().len(),
        held.promotions(),
        held.retirements(),
        daemon.figures(),
    );
    assert!(
        counts.samples > 0 && counts.troubles.iter().sum::<usize>() > 0,
        "nothing was looked at, or nothing happened"
    );
    daemon.stayed_small();
}

/// What was done and seen.
#[derive(Debug, Default)]
struct Counts {
    /// In the order of [`Trouble`].
    troubles: [usize; 9],
    /// Moments at which all who tell were compared, and those at which something changed meanwhile.
    samples: usize,
    again: usize,
    checks: usize,
    /// How near to its end any robot came.
    least_days_left: Option<i64>,
}

/// Lets it happen; whether there was somebody it could happen to.
fn suffer(trouble: Trouble, plant: &Plant, daemon: &mut Daemon, seed: &mut Seed) -> bool {
    let a_while = Duration::from_millis(200 + seed.below(LONGEST - 200) as u64);
    let site = seed.below(SITES.len());
    match trouble {
        Trouble::KillDaemon => {
            daemon.kill();
            daemon.begin_again(plant);
        }
        Trouble::KillChild | Trouble::StopChild => {
            let Some(child) = daemon.a_child(seed) else { return false };
            if matches!(trouble, Trouble::KillChild) {
                crate::scan::signal(child, Signal::KILL);
            } else {
                crate::scan::signal(child, Signal::STOP);
                std::thread::sleep(a_while);
                crate::scan::signal(child, Signal::CONT);
            }
        }
        Trouble::StopDaemon => {
            daemon.signal(Signal::STOP);
            std::thread::sleep(a_while);
            daemon.signal(Signal::CONT);
        }
        Trouble::Reboot => plant.world.runtime.block_on(plant.simulator(site).reboot(a_while)),
        Trouble::Fault => {
            let path = ["/v1/robots", "/graphql"][seed.below(2)];
            let kinds = [
                FaultKind::ResetBefore,
                FaultKind::ResetAfter,
                FaultKind::CutInBody,
                FaultKind::CutAfter(seed.below(200)),
                FaultKind::Garbage,
                FaultKind::Answer { status: 500, content_type: "text/plain", body: b"no".to_vec() },
                FaultKind::Answer { status: 503, content_type: "text/html", body: b"<html>later</html>".to_vec() },
                FaultKind::Drip(Duration::from_millis(2)),
            ];
            let kind = kinds[seed.below(kinds.len())].clone();
            plant.simulator(site).inject(Fault { path: Some(path.to_owned()), nth: 1 + seed.below(3), kind });
        }
        Trouble::Jump => {
            let most = usize::try_from(MOST_JUMP.whole_hours()).unwrap();
            let hours = i64::try_from(1 + seed.below(most)).unwrap();
            plant.set(plant.now() + time::Duration::hours(if seed.coin() { hours } else { -hours }));
        }
        Trouble::BrokenConfig => plant.while_config_is_broken(|| {
            daemon.signal(Signal::HUP);
            std::thread::sleep(a_while / 2);
        }),
        Trouble::Look => daemon.signal(Signal::USR1),
    }
    if matches!(trouble, Trouble::BrokenConfig) {
        daemon.signal(Signal::HUP);
    }
    true
}

/// Nothing goes wrong any more, until nothing is on its way.
fn settle(plant: &Plant, daemon: &mut Daemon, people: &mut People, counts: &mut Counts) {
    plant.calm();
    daemon.signal(Signal::HUP);
    daemon.signal(Signal::USR1);
    let end = Instant::now() + Duration::from_mins(1);
    loop {
        assert!(Instant::now() < end, "something is still on its way: {:#?}", plant.status());
        daemon.measure();
        let Some(agreed) = agree::sample(plant, daemon, &mut counts.again) else { continue };
        people.live(plant, &agreed);
        let robots = agreed["robots"].as_array().unwrap();
        if robots.iter().all(|robot| robot["state"] == "active" && robot["due"] == false) {
            return;
        }
    }
}
