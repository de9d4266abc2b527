//! The parts of a robot's life that are killed: what stands before, what is
//! run and killed, how it is carried on, and what must stand in the end.

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::Path,
    time::{Duration, Instant},
};

use robocred::{
    credential::{Record, State},
    simulator::Behaviours,
    x509::Fingerprint,
};

use super::Case;
use crate::{
    invariants::{Do, EXPORT, Watched},
    world::Ran,
};

/// A part of a robot's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// The first credential.
    Provision,
    /// The next one, beside one that is in use.
    Rotate,
    /// As `rotate`, killed once more while it is carried on.
    Twice,
    /// The old one out of use, by a person.
    Retire,
    /// Back to the old one.
    Rollback,
    /// The next one handed on by a hook.
    Hook,
    /// The old one out of use, since its overlap has passed.
    Overlap,
    /// A robot taken back after its state was lost.
    Import,
    /// The first credential, and the first ingest with it.
    Ingest,
}

impl Scenario {
    pub const ALL: [(Self, &'static str); 9] = [
        (Self::Provision, "provision"),
        (Self::Rotate, "rotate"),
        (Self::Twice, "twice"),
        (Self::Retire, "retire"),
        (Self::Rollback, "rollback"),
        (Self::Hook, "hook"),
        (Self::Overlap, "overlap"),
        (Self::Import, "import"),
        (Self::Ingest, "ingest"),
    ];

    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(scenario, _)| *scenario == self).unwrap().1
    }

    /// Whether the point lies on its way.
    pub fn passes(self, point: &str) -> bool {
        let stage = point.split('.').next().unwrap();
        match self {
            Self::Provision | Self::Rotate | Self::Twice => {
                ["plan", "make", "register", "probe", "give-up", "prove", "deliver", "export"].contains(&stage)
            }
            Self::Retire | Self::Overlap => stage == "retire",
            Self::Rollback => ["rollback", "deliver", "export"].contains(&stage),
            Self::Hook => ["hook", "deliver", "export"].contains(&stage) && point != "deliver.raised",
            Self::Import => stage == "import",
            Self::Ingest => stage == "ingest",
        }
    }
}

/// How a case ended that broke nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// What was wanted stands, and there is nothing to do.
    Done,
    /// The tries are used up: nothing happens before the attempt has rested.
    Resting,
}

/// Plays one case; panics where an invariant is broken. Whether the last of
/// its points was reached, and how it ended.
pub fn play(case: &Case) -> (bool, Ended) {
    match case.scenario {
        Scenario::Provision => provision(case),
        Scenario::Rotate | Scenario::Twice => rotate(case),
        Scenario::Retire => retire(case),
        Scenario::Rollback => rollback(case),
        Scenario::Hook => hook(case),
        Scenario::Overlap => overlap(case),
        Scenario::Import => import(case),
        Scenario::Ingest => ingest(case),
    }
}

/// Whether the run was killed at its point; anything else that ends a process is a failure.
fn was_killed(ran: &Ran) -> bool {
    let killed = ran.status.signal() == Some(9);
    assert_eq!(killed, ran.code().is_none(), "ended by something else: {ran:#?}");
    killed
}

/// The run that is killed, and then `again` until it ends well: the appliance
/// as it is, then repaired, at most twice. `None` if it has to rest.
fn until_done(watched: &mut Watched, first: &Ran, mut again: impl FnMut(&mut Watched) -> Ran) -> Option<Ran> {
    let mut repairs = 0;
    let mut last = match first.code() {
        None => again(watched),
        Some(0) => return None,
        Some(_) => {
            watched.is_repaired();
            repairs += 1;
            again(watched)
        }
    };
    while last.code() != Some(0) && repairs < 2 {
        assert!(watched.world.config().exists(), "it failed before it wrote anything down: {last:#?}");
        watched.is_repaired();
        repairs += 1;
        last = again(watched);
    }
    Some(last)
}

fn ended(last: Option<&Ran>) -> Ended {
    match last.map(Ran::code) {
        None | Some(Some(0)) => Ended::Done,
        Some(Some(5)) if last.is_some_and(|last| last.stdout.contains("is not known")) => Ended::Resting,
        _ => panic!("it does not recover: {last:#?}"),
    }
}

fn provision(case: &Case) -> (bool, Ended) {
    let mut watched = Watched::of(&case.behaviours);
    let first = watched.run(Do::Provision, Some(&case.points[0]));
    let last = until_done(&mut watched, &first, |watched| watched.run(Do::Provision, None));
    let ended = ended(last.as_ref());
    if ended == Ended::Done {
        watched.check_done(Do::Provision);
    }
    (was_killed(&first), ended)
}

/// A robot with a first credential on the usual appliance.
fn provisioned() -> Watched {
    let mut watched = Watched::of(&Behaviours::default());
    watched.run(Do::Provision, None).expect(0);
    watched
}

fn in_use(watched: &Watched) -> Record {
    watched.in_use().expect("something is in use")
}

fn number(watched: &Watched) -> u32 {
    in_use(watched).id.generation.number()
}

/// What stays true of the old pair until its successor is confirmed.
fn is_still_accepted(watched: &Watched, old: &Record) {
    assert!(watched.has_robot(old), "I5: {} is gone from the appliance", old.id);
    let now = watched.records().into_iter().find(|record| record.id == old.id).unwrap();
    assert!(matches!(now.state, State::Active | State::Previous), "I5: {} is {}", old.id, now.state);
}

fn rotate(case: &Case) -> (bool, Ended) {
    let mut watched = provisioned();
    let old = in_use(&watched);
    watched.appliance_becomes(&case.behaviours);
    // What was begun is carried on; what was killed before it began, or was given up, is asked for again.
    let carry_on = |watched: &mut Watched, killed_at: Option<&str>| {
        let ran = watched.run(Do::Rotate, killed_at);
        match ran.code() {
            Some(0) if number(watched) == 1 => watched.run(Do::RotateNow, killed_at),
            _ => ran,
        }
    };
    let first = watched.run(Do::RotateNow, Some(&case.points[0]));
    let mut reached = was_killed(&first);
    let mut last = Some(first);
    if let (true, Some(second)) = (reached, case.points.get(1)) {
        let resumed = carry_on(&mut watched, Some(second));
        reached = was_killed(&resumed);
        last = Some(resumed);
    }
    is_still_accepted(&watched, &old);
    let first = last.take().unwrap();
    let last = until_done(&mut watched, &first, |watched| carry_on(watched, None));
    is_still_accepted(&watched, &old);
    let ended = ended(last.as_ref());
    if ended == Ended::Done {
        assert!(number(&watched) > 1, "not rotated: {last:#?}");
        watched.check_done(Do::Rotate);
        watched.run(Do::Verify, None).expect(0);
    } else {
        assert_eq!(watched.exported(), fingerprint(&old), "what was exported changed without a successor");
    }
    (reached, ended)
}

fn fingerprint(record: &Record) -> Option<Fingerprint> {
    record.certificate.as_ref().map(robocred::x509::Certificate::fingerprint)
}

/// Generation 2 in use, generation 1 previous.
fn rotated() -> (Watched, Record) {
    let mut watched = provisioned();
    let old = in_use(&watched);
    watched.run(Do::RotateNow, None).expect(0);
    assert_eq!(number(&watched), 2);
    (watched, old)
}

fn retire(case: &Case) -> (bool, Ended) {
    let (mut watched, old) = rotated();
    watched.run(Do::Confirm, None).expect(0);
    let new = in_use(&watched);
    watched.appliance_becomes(&case.behaviours);
    let mut first = watched.run(Do::Retire, Some(&case.points[0]));
    let reached = was_killed(&first);
    if reached {
        first = watched.run(Do::Retire, None);
    }
    if !watched.has_robot(&new) {
        lying(&mut watched, &old, &new);
        return (reached, Ended::Done);
    }
    let last = retired(&mut watched, &first);
    is_out_of_use(&mut watched, &old, last.as_ref());
    (reached, Ended::Done)
}

/// Carries a retirement on until it has ended, or has left a name to a person.
fn retired(watched: &mut Watched, first: &Ran) -> Option<Ran> {
    if first.code() == Some(0) {
        return None;
    }
    let left = |watched: &Watched| watched.records().iter().any(|record| record.state == State::RetireManual);
    let mut last = None;
    while !left(watched) && last.as_ref().and_then(Ran::code) != Some(0) {
        assert!(last.is_none(), "it does not recover: {last:#?}");
        watched.is_repaired();
        last = Some(watched.run(Do::Retire, None));
    }
    last
}

/// Gone from the appliance, or listed for a person; its key and its files destroyed.
fn is_out_of_use(watched: &mut Watched, old: &Record, last: Option<&Ran>) {
    let now = watched.records().into_iter().find(|record| record.id == old.id).unwrap();
    match now.state {
        State::Retired => assert!(!watched.has_robot(old), "I2: {} is still on the appliance", old.id),
        State::RetireManual => {
            let left = watched.world.status()["leftovers"].clone();
            assert_eq!(left[0]["registered_name"], old.registered_name.as_str(), "I2: {left:#}");
        }
        state => panic!("{} is {state}: {last:#?}", old.id),
    }
    let files = watched.world.path(EXPORT).join(format!(".g{}", old.id.generation));
    assert!(!files.exists(), "{} is there", files.display());
    watched.is_repaired();
    watched.check_done(Do::Rotate);
    watched.run(Do::Verify, None).expect(0);
}

/// An appliance removed the wrong one: nothing is destroyed, a person is told,
/// and the old one is returned to.
fn lying(watched: &mut Watched, old: &Record, new: &Record) {
    watched.run(Do::Retire, None).expect(12);
    let status = watched.world.status();
    let frozen = status["attention"].as_array().unwrap().iter().find(|raised| raised["code"] == "frozen").cloned();
    assert!(frozen.is_some_and(|frozen| frozen["hint"].to_string().contains("rollback")), "{status:#}");
    is_still_accepted(watched, old);
    watched.run(Do::RollBack, None).expect(0);
    assert_eq!(in_use(watched).id, old.id);
    assert_eq!(watched.exported(), fingerprint(old));
    let kept = watched.records().into_iter().find(|record| record.id == new.id).unwrap();
    assert_eq!(kept.state, State::Previous);
    watched.run(Do::Verify, None).expect(0);
}

fn rollback(case: &Case) -> (bool, Ended) {
    let (mut watched, old) = rotated();
    let new = in_use(&watched);
    watched.appliance_becomes(&case.behaviours);
    let first = watched.run(Do::RollBack, Some(&case.points[0]));
    let last = until_done(&mut watched, &first, |watched| watched.run(Do::RollBack, None));
    assert!(ended(last.as_ref()) == Ended::Done);
    assert_eq!(in_use(&watched).id, old.id);
    is_still_accepted(&watched, &new);
    watched.check_done(Do::RollBack);
    watched.run(Do::Verify, None).expect(0);
    (was_killed(&first), Ended::Done)
}

/// Gives the robot a deploy hook that counts its runs.
fn with_hook(watched: &mut Watched, overlap: &str) {
    let path = watched.world.config();
    let config = fs::read_to_string(&path).unwrap();
    let robot = "[sites.plant.robots.reader]\n";
    assert!(config.contains(robot), "{config}");
    let runs = watched.world.path("runs");
    let hook = format!(
        "hooks = {{ deploy = ['/bin/sh', '-c', 'echo $ROBOCRED_GENERATION >> {}'] }}\n{overlap}",
        runs.display()
    );
    fs::write(&path, config.replace(robot, &format!("{robot}{hook}"))).unwrap();
}

fn hook_ran_for(watched: &Watched, generation: u32) -> bool {
    let runs = fs::read_to_string(watched.world.path("runs")).unwrap_or_default();
    runs.lines().any(|line| line == generation.to_string())
}

fn hook(case: &Case) -> (bool, Ended) {
    let mut watched = provisioned();
    with_hook(&mut watched, "");
    let old = in_use(&watched);
    watched.appliance_becomes(&case.behaviours);
    let first = watched.run(Do::RotateNow, Some(&case.points[0]));
    let last = until_done(&mut watched, &first, |watched| watched.run(Do::Rotate, None));
    assert!(ended(last.as_ref()) == Ended::Done);
    assert_eq!(number(&watched), 2);
    assert!(hook_ran_for(&watched, 2), "the hook was not run for generation 2: {last:#?}");
    is_still_accepted(&watched, &old);
    watched.check_done(Do::Rotate);
    (was_killed(&first), Ended::Done)
}

/// Longer than the shortest overlap, a run and a busy machine take.
const PASSES: Duration = Duration::from_secs(90);

fn overlap(case: &Case) -> (bool, Ended) {
    let mut watched = provisioned();
    with_hook(&mut watched, "overlap = '1s'\n");
    watched.overlap = time::Duration::SECOND;
    let (old, began) = (in_use(&watched), Instant::now());
    watched.run(Do::RotateNow, None).expect(0);
    let new = in_use(&watched);
    watched.appliance_becomes(&case.behaviours);
    let mut reached = false;
    let mut failures = 0;
    loop {
        assert!(began.elapsed() < PASSES, "the overlap does not end: {:#}", watched.world.status());
        let ran = watched.run(Do::Rotate, (!reached).then_some(&case.points[0]));
        reached |= was_killed(&ran);
        if !watched.has_robot(&new) {
            lying_later(&mut watched, &old);
            return (reached, Ended::Done);
        }
        let now = watched.records().into_iter().find(|record| record.id == old.id).unwrap();
        if matches!(now.state, State::Retired | State::RetireManual) {
            break;
        }
        failures += usize::from(ran.code().is_some_and(|code| code != 0));
        if failures == 1 {
            watched.is_repaired();
        }
        assert!(failures < 3, "it does not recover: {ran:#?}");
    }
    is_out_of_use(&mut watched, &old, None);
    (reached, Ended::Done)
}

/// As [`lying`], found by the schedule.
fn lying_later(watched: &mut Watched, old: &Record) {
    watched.run(Do::Rotate, None).expect(12);
    is_still_accepted(watched, old);
    watched.run(Do::RollBack, None).expect(0);
    assert_eq!(in_use(watched).id, old.id);
    watched.run(Do::Verify, None).expect(0);
}

fn import(case: &Case) -> (bool, Ended) {
    let mut watched = provisioned();
    let old = in_use(&watched);
    watched.loses_its_state();
    watched.appliance_becomes(&case.behaviours);
    let first = watched.run(Do::Import, Some(&case.points[0]));
    let last = until_done(&mut watched, &first, |watched| watched.run(Do::Import, None));
    assert!(ended(last.as_ref()) == Ended::Done);
    assert_eq!(watched.in_use().as_ref().and_then(fingerprint), fingerprint(&old));
    watched.check_done(Do::Import);
    // From then on it is rotated like any other.
    let imported = in_use(&watched);
    watched.run(Do::RotateNow, None).expect(0);
    assert_eq!(number(&watched), imported.id.generation.number() + 1);
    is_still_accepted(&watched, &imported);
    (was_killed(&first), Ended::Done)
}

fn ingest(case: &Case) -> (bool, Ended) {
    // More than one page, of those that give only 100 rows.
    let mut watched = Watched::with(&case.behaviours, 150);
    let first = watched.run(Do::ProvisionAndRead, Some(&case.points[0]));
    let last = until_done(&mut watched, &first, |watched| watched.run(Do::ProvisionAndRead, None));
    assert!(ended(last.as_ref()) == Ended::Done);
    watched.check_done(Do::Provision);
    // Only the later ones have older files to remove.
    let second = watched.run(Do::Ingest, Some(&case.points[0]));
    watched.run(Do::Ingest, None).expect(0);
    check_files(&watched.world.state().join("ingest/plant/reader"));
    (was_killed(&first) || was_killed(&second), Ended::Done)
}

/// One whole file and at most one that is not, each with its manifest, the
/// link to the whole one, and nothing that a killed run left.
fn check_files(dir: &Path) {
    let names = |dir: &Path| -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let found = names(dir);
    let count = |ending: &str| found.iter().filter(|name| name.ends_with(ending)).count();
    let (whole, parts) = (count(".ndjson"), count(".incomplete"));
    assert!(whole == 1 && parts <= 1 && count(".manifest.json") == whole + parts, "{found:?}");
    assert_eq!(found.len(), 2 * (whole + parts) + count("latest"), "{found:?}");
    assert_eq!(names(&dir.join("latest")), ["assets.ndjson"]);
    let latest = fs::canonicalize(dir.join("latest/assets.ndjson")).unwrap();
    let name = latest.file_name().unwrap().to_str().unwrap();
    assert!(found.iter().any(|found| found == name), "the latest is {}", latest.display());
}
