//! Power loss: what a command writes is recorded, and the disk is made as it
//! may be found after the power failed before each of its changes, syncs
//! and connections; the command is run again on that, and the invariants are asked.
//!
//! ```text
//! cargo test --test it power                                          # some moments, each once
//! ROBOCRED_POWER=full cargo test --test it power                      # each moment, and a fourth of them killed
//! ROBOCRED_POWER_CASE=provision/17/some-2 cargo test --test it power  # one case
//! ```
//!
//! A case is named `COMMAND/MOMENT/KEPT-SEED`. The appliance knows what it knew
//! at that moment: the robots as they are after the registration or the
//! removal, if its connection was begun.
//! In `COMMAND/MOMENT/killed` the process is killed at that moment, the command
//! is run again to its end, and then the power fails: what the first run left
//! unsynced must not have been relied on by the second.

mod disk;
mod trace;

use std::{
    collections::BTreeMap, convert::identity, fmt, fs, iter, os::unix::fs::PermissionsExt as _, path::Path,
    process::Command,
};

use disk::{Disk, Kept, Operation};
use robocred::{
    simulator::{self, Request},
    x509::{Fingerprint, certificate_to_pem},
};
use serde_json::{Value, json};

use crate::{
    cases::{self, Playing},
    course::{COURSES, Course, Played},
    judges::need,
    seed::Seed,
    simulator::client::Ask,
    world::{TOKEN, World, run},
};

const PLAYING: Playing = Playing { subject: "power losses", replayed_by: "ROBOCRED_POWER_CASE", threads: 3 };

/// The slice plays each so-many-th moment.
const SHARE: usize = 12;

/// What is kept of the unsynced, and a seed where that leaves a choice.
const WAYS: [(Kept, u64); 6] =
    [(Kept::Nothing, 0), (Kept::All, 0), (Kept::First, 1), (Kept::Some, 1), (Kept::First, 2), (Kept::Some, 2)];

#[derive(Clone)]
struct Case {
    course: Course,
    moment: usize,
    /// What is kept of the unsynced; `None`: killed, run again, and nothing is kept.
    way: Option<(Kept, u64)>,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/", self.course.name, self.moment)?;
        match self.way {
            Some((kept, seed)) => write!(f, "{kept}-{seed}"),
            None => f.write_str("killed"),
        }
    }
}

/// A run that nothing disturbed.
struct Recorded {
    world: World,
    /// The disk before.
    begins: Disk,
    operations: Vec<Operation>,
    /// Where in the operations the connection of the one registration or removal begins.
    change: usize,
    /// What would register the robots that are there before it, and after.
    robots: [Vec<Value>; 2],
}

impl Recorded {
    fn new(course: &Course) -> Self {
        patiently(|| Self::once(course))
    }

    fn once(course: &Course) -> Option<Self> {
        let world = World::new();
        (course.prepare)(&world);
        let (begins, before) = (Disk::of(&world.path("")), registrations(&world));
        let (asked, connected) = (world.simulator.requests().len(), world.simulator.connections());
        let operations = record(&world.path(""), world.simulator.address().port(), |wrapper| {
            course.run_under(&world, wrapper).expect(0);
        })?;

        let requests = &world.simulator.requests()[asked..];
        let connections = operations.iter().enumerate().filter(|(_, operation)| **operation == Operation::Connect);
        let connections: Vec<usize> = connections.map(|(place, _)| place).collect();
        assert_eq!(connections.len(), requests.len(), "one request on each connection");
        assert_eq!(connections.len(), world.simulator.connections() - connected);
        let changes = |request: &Request| {
            request.path.starts_with("/v1/robots") && matches!(request.method.as_str(), "POST" | "DELETE")
        };
        let mut changes = requests.iter().zip(&connections).filter(|(request, _)| changes(request));
        let (_, &change) = changes.next().expect("a registration or a removal");
        assert!(changes.next().is_none(), "more than one: {requests:#?}");
        let robots = [before, registrations(&world)];
        Some(Self { world, begins, operations, change, robots })
    }

    /// Where the power may fail: before each change, sync and connection, and at the end.
    fn moments(&self) -> Vec<usize> {
        let places = self.operations.iter().enumerate();
        let moments = places.filter(|(_, operation)| operation.is_a_moment()).map(|(place, _)| place);
        moments.chain([self.operations.len()]).collect()
    }

    /// The home directory and the appliance as they are after the power failed.
    fn fail(&self, case: &Case) {
        let moments = self.moments();
        let end = moments[case.moment.min(moments.len() - 1)];
        let mut disk = self.begins.clone();
        disk.follow(&self.operations[..end]);
        if PLAYING.replays() {
            eprintln!("it ends before {:?}", self.operations.get(end));
        }
        match case.way {
            Some((kept, seed)) => self.becomes(&disk, kept, seed, end),
            None => patiently(|| self.resumes(&case.course, &disk, end)),
        }
    }

    /// The home directory is what survived on a disk; the appliance is as after so many operations.
    fn becomes(&self, disk: &Disk, kept: Kept, seed: u64, end: usize) {
        let home = self.world.path("");
        empty(&home);
        disk.survivors(kept, &mut Seed::new(seed), &home);
        self.world.simulator.forget_robots();
        for robot in &self.robots[usize::from(end > self.change)] {
            let ask = Ask::new(&self.world.simulator).header("authorization", format!("Bearer {TOKEN}"));
            let status = self.world.runtime.block_on(ask.post("/v1/robots", robot)).status;
            assert_eq!(status, 201, "{robot:#}");
        }
    }

    /// The command is killed there, run again to its end, and then the power fails.
    fn resumes(&self, course: &Course, disk: &Disk, end: usize) -> Option<()> {
        self.becomes(disk, Kept::All, 0, end);
        let home = self.world.path("");
        let again = |wrapper: &[&str]| drop(course.run_again_under(&self.world, wrapper).expect(0));
        let operations = record(&home, self.world.simulator.address().port(), again)?;
        let mut disk = disk.clone();
        disk.follow(&operations);
        empty(&home);
        disk.survivors(Kept::Nothing, &mut Seed::new(0), &home);
        Some(())
    }
}

/// Records until a recording is whole: rarely, a thread is ended in the middle of a call.
fn patiently<T>(recording: impl FnMut() -> Option<T>) -> T {
    iter::repeat_with(recording).take(10).find_map(identity).expect("no recording was whole")
}

/// Runs a program below `strace` and reads what it did below `root`, as
/// [`trace::read`]; `None` also where that does not end where the real disk did.
fn record(root: &Path, port: u16, program: impl FnOnce(&[&str])) -> Option<Vec<Operation>> {
    let traces = tempfile::tempdir().unwrap();
    let mut disk = Disk::of(root);
    let wrapper = trace::arguments(traces.path());
    program(&wrapper.iter().map(String::as_str).collect::<Vec<_>>());
    let operations = trace::read(traces.path(), root, port)?;

    disk.follow(&operations);
    let model = tempfile::tempdir().unwrap();
    disk.survivors(Kept::All, &mut Seed::new(0), model.path());
    (listing(model.path()) == listing(root)).then_some(operations)
}

/// Everything below a directory: kind, mode and a digest of the content.
fn listing(root: &Path) -> BTreeMap<String, String> {
    fn below(root: &Path, folder: &Path, found: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let kind = path.symlink_metadata().unwrap();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if kind.is_symlink() {
                found.insert(name, format!("to {}", fs::read_link(&path).unwrap().display()));
            } else if kind.is_dir() {
                found.insert(name, format!("{:o}", kind.permissions().mode()));
                below(root, &path, found);
            } else if !name.ends_with("-shm") {
                let content = Fingerprint::of(&fs::read(&path).unwrap());
                found.insert(name, format!("{:o} {content}", kind.permissions().mode()));
            }
        }
    }
    let mut found = BTreeMap::new();
    below(root, root, &mut found);
    found
}

/// What would register the appliance's robots again.
fn registrations(world: &World) -> Vec<Value> {
    let Some(inventory) = world.inventory() else { return Vec::new() };
    let records = world.runtime.block_on(inventory.all_records()).unwrap();
    let robots = world.simulator.robots().into_iter();
    let certificate = |fingerprint| {
        let mut certificates = records.iter().filter_map(|record| record.certificate.as_ref());
        certificates.find(|certificate| certificate.fingerprint() == fingerprint).unwrap()
    };
    let body = |robot: simulator::Robot| json!({"name": robot.name, "role": robot.role, "cert": certificate_to_pem(certificate(robot.fingerprint))});
    robots.map(body).collect()
}

fn empty(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }
}

/// Plays one case and gives the world back for the next.
fn play(case: &Case, mut recorded: Recorded) -> Recorded {
    recorded.fail(case);
    recorded.world.run(&["--json", "status"]).expect(0);
    recorded.world = Played::new(case.course, recorded.world).carry_on();
    recorded
}

#[test]
fn the_power_fails_anywhere_and_the_same_command_carries_on() {
    if !need("strace", "strace") {
        return;
    }
    let (mut every, mut full, mut slice) = (Vec::new(), Vec::new(), Vec::new());
    for course in COURSES {
        let moments = Recorded::new(&course).moments().len();
        for moment in 0..moments {
            let case = |way| Case { course, moment, way };
            if moment.is_multiple_of(SHARE) {
                slice.push(case([Some(WAYS[0]), Some(WAYS[2]), Some(WAYS[3]), None][moment / SHARE % 4]));
            }
            full.push(case(Some(WAYS[moment % WAYS.len()])));
            full.extend(moment.is_multiple_of(4).then(|| case(None)));
            every.extend(WAYS.map(Some).into_iter().chain([None]).map(case));
        }
        eprintln!("{}: {moments} moments", course.name);
    }
    let usual = if cases::full("ROBOCRED_POWER") { full } else { slice };
    let cases = PLAYING.choose(usual, || every);
    PLAYING.play(&cases, || {
        let mut kept: Option<(&str, Recorded)> = None;
        move |case: &Case| {
            // What broke takes its world with it.
            let recorded = kept.take().filter(|(name, _)| *name == case.course.name);
            let recorded = recorded.map_or_else(|| Recorded::new(&case.course), |(_, recorded)| recorded);
            kept = Some((case.course.name, play(case, recorded)));
        }
    });
}

/// The control: a program that does not sync is found out, and one that does is not.
#[test]
fn a_rename_without_syncs_is_found() {
    if !need("strace", "strace") {
        return;
    }
    let whole = |script: &str| {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().canonicalize().unwrap();
        fs::write(root.join("file"), "old").unwrap();
        let mut disk = Disk::of(&root);
        let operations = record(&root, 0, |wrapper| {
            let mut command = Command::new(wrapper[0]);
            command.args(&wrapper[1..]).args(["sh", "-ec", &format!("umask 0; {script}")]).current_dir(&root);
            assert!(run(command, b"").status.success());
        });
        let operations = operations.expect("the recording is whole");
        disk.follow(&operations);
        WAYS.iter().all(|(kept, seed)| {
            let after = tempfile::tempdir().unwrap();
            disk.survivors(*kept, &mut Seed::new(*seed), after.path());
            fs::read_to_string(after.path().join("file")).is_ok_and(|content| content == "new")
        })
    };
    assert!(whole("printf new > .file; sync .file; mv .file file; sync ."));
    assert!(!whole("printf new > .file; mv .file file; sync ."), "the content was not synced");
    assert!(!whole("printf new > .file; sync .file; mv .file file"), "the name was not synced");
    assert!(!whole("printf new > file; sync ."), "the file was not synced");
}
