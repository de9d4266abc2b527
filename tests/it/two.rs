//! Several processes on one state directory: seeded interleavings, holders
//! that stop, and holders that wake up after they were taken over.
//!
//! ```text
//! cargo test --test it two                                       # a few interleavings
//! ROBOCRED_INTERLEAVINGS=1000 cargo test --test it two           # more of them
//! ROBOCRED_INTERLEAVING_SEED=17 cargo test --test it two         # one of them
//! ```
//!
//! A seed decides who runs, when each begins, and who is stopped when and for
//! how long; what the machine makes of it is its own.

mod rotations;

use std::{
    collections::BTreeMap,
    env, fs,
    process::{Child, Command},
    thread,
    time::Duration,
};

use robocred::inventory::audit;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    cases::Playing,
    course::{Course, PROVISION, Played, ROTATE},
    proxy::{Byte, Cut, Direction, Kind, Proxy},
    seed::Seed,
    world::{Ran, TOKEN, World, finish, run, start},
};

const PLAYING: Playing = Playing { subject: "interleavings", replayed_by: "ROBOCRED_INTERLEAVING_SEED", threads: 4 };

/// As many interleavings as are played unless a variable says otherwise.
const USUAL: u64 = 10;

/// What changes something together.
const WRITERS: [&[&str]; 6] = [
    &["plant/reader", "plant/reader"],
    &["plant/reader", "plant/reader", "plant/reader"],
    &["plant/reader", "plant/second"],
    &["plant/reader", "mill/second"],
    &["plant/reader", "plant/reader", "mill/second"],
    &["plant/reader", "plant/second", "mill/third"],
];

/// What only looks; each may also find nothing yet, which is an answer of its own.
const READERS: [(&[&str], &[i32]); 3] = [
    (&["--json", "status"], &[0]),
    (&["--json", "verify", "plant/reader"], &[0, 1, 3]),
    (&["--json", "export", "plant/reader", "--dir", "handed"], &[0, 1, 3, 10]),
];

fn provision(world: &World, robot: &str) -> Command {
    let arguments = world.provision_arguments();
    let arguments: Vec<&str> =
        arguments.iter().map(|argument| if argument == "plant/reader" { robot } else { argument }).collect();
    world.command(&arguments)
}

fn signal(child: &Child, signal: Signal) {
    // A child that has ended and was not yet waited for takes it and stays ended.
    kill_process(Pid::from_child(child), signal).unwrap();
}

fn milliseconds(seed: &mut Seed, limit: usize) -> Duration {
    Duration::from_millis(seed.below(limit) as u64)
}

/// One process of an interleaving: the command, the codes it may end with, and its name.
type Actor = (Command, &'static [i32], &'static str);

/// Runs the actors at once, each begun at its time and one of them perhaps
/// stopped for a while; what each brought, by its name.
fn together(seed: &mut Seed, actors: Vec<Actor>) -> Vec<(&'static str, Ran)> {
    let stopped = seed.below(2 * actors.len());
    let ended: Vec<(Ran, &[i32], &str)> = thread::scope(|scope| {
        let running: Vec<_> = actors
            .into_iter()
            .enumerate()
            .map(|(place, (command, codes, name))| {
                let begins = milliseconds(seed, 120);
                let pause = [milliseconds(seed, 200), milliseconds(seed, 300)];
                let running = scope.spawn(move || {
                    thread::sleep(begins);
                    let child = start(command, TOKEN.as_bytes());
                    if place == stopped {
                        thread::sleep(pause[0]);
                        signal(&child, Signal::STOP);
                        thread::sleep(pause[1]);
                        signal(&child, Signal::CONT);
                    }
                    finish(child)
                });
                (running, codes, name)
            })
            .collect();
        running.into_iter().map(|(running, codes, name)| (running.join().unwrap(), codes, name)).collect()
    });
    ended
        .into_iter()
        .map(|(ran, expected, name)| {
            assert!(ran.code().is_some_and(|code| expected.contains(&code)), "{name}: {ran:#?}");
            ran.json();
            (name, ran)
        })
        .collect()
}

/// How often each command ended with which code.
type Codes = BTreeMap<String, usize>;

fn codes(ended: &[(&str, Ran)]) -> Codes {
    ended.iter().fold(Codes::new(), |mut codes, (name, ran)| {
        *codes.entry(format!("{name} {}", ran.code().unwrap())).or_default() += 1;
        codes
    })
}

/// Plays as many seeds as a variable says, or the one that another names.
fn play_seeds(playing: &Playing, play: fn(u64) -> Codes) {
    let count = env::var("ROBOCRED_INTERLEAVINGS").map_or(USUAL, |count| count.parse().unwrap());
    let seed = env::var(playing.replayed_by).map(|seed| seed.parse().unwrap());
    let seeds: Vec<u64> = seed.map_or_else(|_| (0..count).collect(), |seed| vec![seed]);
    let mut codes = Codes::new();
    for (code, count) in playing.play(&seeds, || |seed: &u64| play(*seed)).into_iter().flatten() {
        *codes.entry(code).or_default() += count;
    }
    eprintln!("ended: {codes:?}");
}

/// Plays one seed: who ended how.
fn play(number: u64) -> Codes {
    let mut seed = Seed::new(number);
    let world = World::new();
    let writers = WRITERS[seed.below(WRITERS.len())];
    let mut actors: Vec<Actor> =
        writers.iter().map(|robot| (provision(&world, robot), [0, 10].as_slice(), "provision")).collect();
    for _ in 0..seed.below(3) {
        let (arguments, codes) = READERS[seed.below(READERS.len())];
        actors.push((world.command(arguments), codes, arguments[1]));
    }
    let ended = together(&mut seed, actors);
    for robot in writers {
        run(provision(&world, robot), TOKEN.as_bytes()).expect(0);
    }
    check(&world, writers);
    assert_eq!(world.posts(), world.simulator.robots().len(), "{:#?}", world.simulator.requests());
    codes(&ended)
}

/// One robot of each, each with its row, its key and nothing else.
fn check(world: &World, writers: &[&str]) {
    let mut wanted: Vec<&str> = writers.to_vec();
    wanted.sort_unstable();
    wanted.dedup();
    let registered = world.simulator.robots();
    assert_eq!(registered.len(), wanted.len(), "{registered:#?}");
    let document = world.run(&["--json", "status"]).expect(0).json();
    let robots = document["robots"].as_array().unwrap();
    let named: Vec<&Value> = robots.iter().map(|robot| &robot["robot"]).collect();
    assert!(
        named.len() == wanted.len() && wanted.iter().all(|robot| named.contains(&&Value::from(*robot))),
        "{named:?}"
    );
    for robot in robots {
        assert_eq!((&robot["state"], &robot["generation"]), (&"active".into(), &1.into()), "{robot:#}");
        assert_eq!(robot["leftovers"], Value::Array(Vec::new()), "{robot:#}");
        let fingerprint =
            |known: &robocred::simulator::Robot| robot["fingerprint_sha256"] == known.fingerprint.to_string();
        assert!(registered.iter().any(fingerprint), "{robot:#}");
    }
    let inventory = world.inventory().unwrap();
    let records = world.runtime.block_on(inventory.all_records()).unwrap();
    assert_eq!(records.len(), wanted.len(), "{records:#?}");
    audit::verify(&world.runtime.block_on(inventory.audit()).unwrap()).unwrap();
    let sealed = world.files().into_iter().filter(|path| path.extension().is_some_and(|end| end == "sealed"));
    assert_eq!(sealed.count(), wanted.len());
    world.assert_nowhere(TOKEN.as_bytes());
    world.run(&["verify"]).expect(0);
}

#[test]
fn several_processes_end_as_one_after_the_other_would() {
    play_seeds(&PLAYING, play);
}

/// A run that is held at one connection, and stopped there with its lock.
struct Stopped {
    played: Played,
    proxy: Proxy,
    holder: Child,
}

/// Where what registers is held: with its control asked, its registration
/// about to be sent, and the answer to that on the way.
const CONTROL: (usize, Direction, usize) = (1, Direction::ToAppliance, 0);
const SENDING: (usize, Direction, usize) = (2, Direction::ToAppliance, 0);
const ANSWERED: (usize, Direction, usize) = (2, Direction::ToTool, 3);

fn stopped(course: Course, (connection, direction, record): (usize, Direction, usize)) -> Stopped {
    let cut = Cut { connection, direction, record, byte: Byte::Half, kind: Kind::Hold };
    let (world, proxy) = course.behind_a_proxy(Some(cut));
    let holder = start(course.command(&world), TOKEN.as_bytes());
    proxy.wait();
    signal(&holder, Signal::STOP);
    Stopped { played: Played::new(course, world), proxy, holder }
}

impl Stopped {
    fn lock(&self) -> std::path::PathBuf {
        self.played.world.state().join("locks/plant")
    }

    /// The holder goes on, to its end.
    fn wake(self) -> (Played, Ran) {
        signal(&self.holder, Signal::CONT);
        self.proxy.let_go();
        (self.played, finish(self.holder))
    }
}

#[test]
fn a_holder_that_stopped_keeps_the_others_out() {
    let stopped = stopped(PROVISION, CONTROL);
    let pid = stopped.holder.id();
    assert!(fs::read_to_string(stopped.lock()).unwrap().starts_with(&format!("{pid} ")));
    let world = &stopped.played.world;
    let refused = world.provision(&[]).expect(10);
    let message = refused.json()["results"][0]["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains(&format!("locked by process {pid} for ")), "{message}");
    assert_eq!(world.posts(), 0);
    // Another site is free.
    run(provision(world, "mill/second"), TOKEN.as_bytes()).expect(0);

    let (played, ended) = stopped.wake();
    ended.expect(0);
    check(&played.world, &["plant/reader", "mill/second"]);
    assert_eq!(played.world.posts(), 2);
}

/// Somebody removes the lock file of a stopped holder, carries on in its
/// place, and the holder wakes up: so many registrations were sent when it
/// slept, and at most so many in the end; it records nothing, and ends with
/// one of these codes.
fn take_over(held: (usize, Direction, usize), posts: [usize; 2], codes: &[i32]) {
    for course in [PROVISION, ROTATE] {
        let stopped = stopped(course, held);
        let world = &stopped.played.world;
        let before = world.posts() - posts[0];
        assert_eq!(before, usize::from(course.name == ROTATE.name));
        // The kernel lock no longer keeps the two apart.
        fs::remove_file(stopped.lock()).unwrap();
        course.run_again_under(world, &[]).expect(0);
        let recorded = recorded(world);
        let (played, ended) = stopped.wake();
        assert!(ended.code().is_some_and(|code| codes.contains(&code)), "{}: {ended:#?}", course.name);
        assert_eq!(self::recorded(&played.world), recorded, "{}", course.name);
        let sent = played.world.posts() - before;
        assert!((1..=posts[1]).contains(&sent), "{:#?}", played.world.simulator.requests());
        played.checked(&ended).carry_on();
    }
}

/// How many changes were recorded.
fn recorded(world: &World) -> usize {
    world.runtime.block_on(world.inventory().unwrap().audit()).unwrap().len()
}

#[test]
fn a_holder_that_was_taken_over_before_its_intent_sends_nothing() {
    take_over(CONTROL, [0, 1], &[10]);
}

/// It finds everything done by the other.
#[test]
fn a_holder_that_was_taken_over_after_its_registration_records_nothing() {
    take_over(ANSWERED, [1, 1], &[0]);
}

/// Its intent was committed while the site was its own. What it then sends is
/// the same name, certificate and key that the other has sent; nothing, if it
/// slept for longer than a handshake may take.
#[test]
fn a_holder_that_was_taken_over_after_its_intent_adds_no_robot() {
    take_over(SENDING, [0, 2], &[0, 10]);
}
