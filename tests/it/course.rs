//! The commands that change something on an appliance, as the proofs disturb
//! them: what stands before, what is run and disturbed, what carries on, and
//! what must stand in the end.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use robocred::{
    credential::{Record, State, plan::MOST_TRIES},
    simulator::Request,
    x509::{self, Fingerprint},
};
use serde_json::Value;

use crate::{
    invariants::{Do, EXPORT, Watched},
    proxy::{Cut, Proxy},
    rotate::{FORCED, forced},
    simulator::client::{Ask, Pair},
    world::{Ran, TOKEN, World, run},
};

/// One such command.
#[derive(Clone, Copy)]
pub struct Course {
    pub name: &'static str,
    /// Brings a new world to where the command begins.
    pub prepare: fn(&World),
    /// What is disturbed.
    disturbed: fn(&World) -> Vec<String>,
    /// What is run then, until it ends well.
    again: fn(&World) -> Vec<String>,
    /// What must stand once it has.
    done: fn(&World),
}

/// Every command that is proven so far.
pub const COURSES: [Course; 3] = [PROVISION, ROTATE, RETIRE];

pub const PROVISION: Course =
    Course { name: "provision", prepare: |_| {}, disturbed: provision, again: provision, done: in_use_alone };

/// Run again without `--force`, which would want a third generation.
pub const ROTATE: Course = Course {
    name: "rotate",
    prepare: |world| drop(world.provision(&["--export", EXPORT]).expect(0)),
    disturbed: |_| FORCED.map(str::to_owned).into(),
    again: |_| ["--json", "rotate", "plant/reader", "--token-stdin"].map(str::to_owned).into(),
    done: in_overlap,
};

pub const RETIRE: Course = Course {
    name: "retire",
    prepare: |world| {
        (ROTATE.prepare)(world);
        forced(world);
        world.run(&["export", "plant/reader", "--confirm"]).expect(0);
    },
    disturbed: retire,
    again: retire,
    done: |world| {
        in_use_alone(world);
        assert!(!world.path(EXPORT).join(".g1").exists(), "I5: the files of what is out of use");
    },
};

fn provision(world: &World) -> Vec<String> {
    let mut arguments = world.provision_arguments();
    arguments.extend(["--export", EXPORT].map(str::to_owned));
    arguments
}

fn retire(_: &World) -> Vec<String> {
    ["--json", "retire", "plant/reader", "-n", "--token-stdin"].map(str::to_owned).into()
}

impl Course {
    /// A world prepared for it, whose tool reaches the appliance through a proxy.
    pub fn behind_a_proxy(&self, cut: Option<Cut>) -> (World, Proxy) {
        let mut world = World::new();
        (self.prepare)(&world);
        let proxy = Proxy::start(&world.runtime, world.simulator.address(), cut);
        world.reach_by(proxy.url());
        (world, proxy)
    }

    /// What is disturbed, not yet begun; the token is to be on its standard input.
    pub fn command(&self, world: &World) -> Command {
        command(world, &(self.disturbed)(world))
    }

    /// Runs it to its end, with the token on standard input, under `wrapper`
    /// if that names a program and its arguments.
    pub fn run_under(&self, world: &World, wrapper: &[&str]) -> Ran {
        under(wrapper, world, &(self.disturbed)(world))
    }

    /// As [`Course::run_under`], what carries on.
    pub fn run_again_under(&self, world: &World, wrapper: &[&str]) -> Ran {
        under(wrapper, world, &(self.again)(world))
    }
}

fn command(world: &World, arguments: &[String]) -> Command {
    world.command(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

fn under(wrapper: &[&str], world: &World, arguments: &[String]) -> Ran {
    let tool = command(world, arguments);
    run(if wrapper.is_empty() { tool } else { world.wrapped(wrapper, &tool) }, TOKEN.as_bytes())
}

/// A course in its world: the invariants are asked after every run.
pub struct Played {
    pub world: World,
    course: Course,
    requests: usize,
}

impl Played {
    pub fn new(course: Course, world: World) -> Self {
        let requests = world.simulator.requests().len();
        Self { world, course, requests }
    }

    /// Runs what is disturbed.
    pub fn run(self) -> (Self, Ran) {
        let ran = self.course.run_under(&self.world, &[]);
        (self.checked(&ran), ran)
    }

    /// Runs what carries on, to its good end, and asks what must stand then.
    pub fn carry_on(self) -> World {
        let ran = self.course.run_again_under(&self.world, &[]).expect(0);
        let Self { world, course, .. } = self.checked(&ran);
        the_pair_in_use_is_the_exported_one(&world);
        (course.done)(&world);
        nothing_more_to_do(course, &world);
        world
    }

    /// What must hold after any run.
    pub fn checked(self, ran: &Ran) -> Self {
        bounded_tries_and_token(&self.world.simulator.requests()[self.requests..]);
        a_consumer_is_let_in(&self.world);
        let on_their_way = records(&self.world).iter().filter(|record| record.state.is_pending()).count();
        assert!(on_their_way <= 1, "I16: {on_their_way} generations on their way");
        let mut watched = Watched::new(self.world);
        // Somebody may have retired something by hand beside it.
        watched.check_outside(Do::Retire, ran);
        Self::new(self.course, watched.world)
    }
}

/// I7 and I8: few tries, and the token where robots are registered and removed only.
fn bounded_tries_and_token(requests: &[Request]) {
    let sent = |method: &str| {
        let robots = |request: &&Request| request.method == method && request.path.starts_with("/v1/robots");
        requests.iter().filter(robots).count()
    };
    let (posts, lists, removals) = (sent("POST"), sent("GET"), sent("DELETE"));
    let most = MOST_TRIES as usize;
    assert!(posts <= most && removals <= most && lists <= most, "I7, I8: {requests:#?}");
    let bearers = requests.iter().filter(|request| request.bearer).count();
    assert_eq!(bearers, posts + lists + removals, "I8: the token was sent elsewhere: {requests:#?}");
}

/// I1 and I5: the pair that a consumer reads now is accepted now.
fn a_consumer_is_let_in(world: &World) {
    let dir = world.path(EXPORT);
    if dir.join("cert.pem").exists() {
        assert!(is_let_in(world, &pair(&dir)), "I1: what a consumer reads is refused");
    }
}

/// I4: what is exported is what is in use.
fn the_pair_in_use_is_the_exported_one(world: &World) {
    let (status, pair) = (world.status(), pair(&world.path(EXPORT)));
    assert_eq!(status["state"], "active", "{status:#}");
    assert_eq!(status["fingerprint_sha256"], pair.certificate.fingerprint().to_string(), "I4: {status:#}");
    x509::key_belongs_to(&pair.key, &pair.certificate).expect("I4: a pair");
}

/// I10: run once more, it asks nobody, changes nothing and says so.
fn nothing_more_to_do(course: Course, world: &World) {
    let stands = || (world.simulator.connections(), rows(world), files(world));
    let before = stands();
    let ran = course.run_again_under(world, &[]).expect(0);
    assert_eq!(ran.json()["results"][0]["action"], "unchanged", "I10: {ran:#?}");
    assert!(before == stands(), "I10: {before:#?} and now {:#?}", stands());
}

/// One robot, its key, and nobody else's.
fn in_use_alone(world: &World) {
    let status = world.status();
    assert_eq!(robots(world), [status["fingerprint_sha256"].clone()], "{status:#}");
    assert_eq!((count(&status["previous"]), count(&status["leftovers"]), keys(world)), (0, 0, 1), "{status:#}");
}

/// The next generation is in use and the one before works; or, where nothing
/// reached the disk or the appliance, all is as it was.
fn in_overlap(world: &World) {
    let status = world.status();
    let rotated = status["generation"] == 2;
    let of = |name: &str| Value::from(fingerprint(&pair(&world.path(EXPORT).join(name))).to_string());
    let expected = if rotated { vec![of(".g1"), of(".g2")] } else { vec![of(".g1")] };
    assert_eq!(robots(world), expected, "{status:#}");
    let left = (count(&status["previous"]), count(&status["leftovers"]), keys(world));
    assert_eq!(left, (usize::from(rotated), 0, expected.len()), "{status:#}");
    assert!(is_let_in(world, &pair(&world.path(EXPORT).join(".g1"))), "I5: the old pair is refused within its overlap");
}

/// The fingerprints of the robots on the appliance, the oldest first, as `status` writes them.
fn robots(world: &World) -> Vec<Value> {
    world.simulator.robots().iter().map(|robot| robot.fingerprint.to_string().into()).collect()
}

fn count(list: &Value) -> usize {
    list.as_array().unwrap().len()
}

pub fn records(world: &World) -> Vec<Record> {
    world.inventory().map(|inventory| world.runtime.block_on(inventory.all_records()).unwrap()).unwrap_or_default()
}

/// Everything the inventory holds of robots, as text.
fn rows(world: &World) -> String {
    let inventory = world.inventory().unwrap();
    let (attention, audit) =
        world.runtime.block_on(async { (inventory.attention().await.unwrap(), inventory.audit().await.unwrap()) });
    format!("{:#?}{attention:#?}{audit:#?}", records(world))
}

/// How many keys rest in the sealed store.
fn keys(world: &World) -> usize {
    let in_use = |record: &Record| !matches!(record.state, State::Retired | State::RetireManual);
    let expected = records(world).iter().filter(|record| in_use(record)).count();
    let sealed = world.files().into_iter().filter(|path| path.extension().is_some_and(|end| end == "sealed")).count();
    assert_eq!(sealed, expected, "I3: keys");
    sealed
}

/// A digest of every file but the inventory's own, whose lock is numbered anew by every run.
fn files(world: &World) -> Vec<(PathBuf, Fingerprint)> {
    let own = |path: &Path| path.to_string_lossy().contains("/inventory.db");
    let mut files: Vec<_> = world
        .files()
        .into_iter()
        .filter(|path| !own(path))
        .map(|path| (path.clone(), Fingerprint::of(&fs::read(&path).unwrap())))
        .collect();
    files.sort_unstable();
    files
}

/// The pair in a directory of an export.
fn pair(dir: &Path) -> Pair {
    let read = |name: &str| fs::read(dir.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let key = x509::private_key_from_pem(&read("key.pem")).unwrap();
    Pair { key, certificate: x509::certificate_from_pem(&read("cert.pem")).unwrap() }
}

fn fingerprint(pair: &Pair) -> Fingerprint {
    pair.certificate.fingerprint()
}

/// Whether the appliance answers a query to the owner of this pair.
fn is_let_in(world: &World, pair: &Pair) -> bool {
    let query = serde_json::json!({ "query": "{assets(first:1){nodes{id}}}" }).to_string();
    let ask = Ask::with_pair(&world.simulator, pair);
    world.runtime.block_on(ask.send("POST", "/graphql", query)).is_ok_and(|reply| reply.status == 200)
}
