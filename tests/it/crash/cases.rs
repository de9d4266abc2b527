//! Which cases there are, and which of them are the slice.

use std::{collections::BTreeSet, fmt, fs, path::Path, time::Duration};

use robocred::simulator::{Activation, Behaviours, Registration};

use super::scenarios::Scenario;

/// Right after something became durable, here or on the appliance.
const AFTER_COMMIT: [&str; 8] = [
    "register.answered",
    "make.recorded",
    "register.intent",
    "plan.after-commit",
    "probe.recorded",
    "prove.after-commit",
    "deliver.recorded",
    "register.not-done",
];

/// Each run against these takes from 15 s to 40 s.
const SLOW: [&str; 6] = ["done-then-hang", "done-then-restored", "error-500", "bad-gateway-502", "html-200", GIVEN_UP];

/// Registers, says 500, and accepts the certificate when nobody waits any
/// more: after a repeat is answered "name taken", the generation is given up.
const GIVEN_UP: &str = "done-then-500-never-active";

/// Where two kills meet.
const TWICE: [&str; 2] = ["default", "done-then-reset"];

/// Of how many pairs of points one is in the slice.
const SAMPLE: usize = 23;

/// A part of a life, where it is killed, and against which appliance.
#[derive(Clone)]
pub struct Case {
    pub scenario: Scenario,
    /// One point, and one more for the run after.
    pub points: Vec<String>,
    pub behaviour: &'static str,
    pub behaviours: Behaviours,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.scenario.name(), self.points.join(","), self.behaviour)
    }
}

type Named = (&'static str, Behaviours);

fn case(scenario: Scenario, points: &[&String], (behaviour, behaviours): &Named) -> Case {
    let points = points.iter().map(|point| (*point).clone()).collect();
    Case { scenario, points, behaviour, behaviours: behaviours.clone() }
}

/// The fail points in the sources.
pub fn points() -> BTreeSet<String> {
    fn below(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                below(&path, found);
                continue;
            }
            let source = fs::read_to_string(&path).unwrap();
            let named = source.split("fail_point!(\"").skip(1).filter_map(|rest| rest.split('"').next());
            found.extend(named.map(str::to_owned));
        }
    }
    let mut found = BTreeSet::new();
    below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(AFTER_COMMIT.iter().all(|point| found.contains(*point)), "{found:?}");
    for point in &found {
        assert!(Scenario::ALL.iter().any(|(scenario, _)| scenario.passes(point)), "no scenario passes {point}");
    }
    found
}

fn behaviours() -> Vec<Named> {
    let given_up = Behaviours {
        registration: Registration::DoneThen500,
        activation: Activation::After(Duration::from_hours(1)),
        ..Behaviours::default()
    };
    let mut all = Behaviours::all_named();
    all.push((GIVEN_UP, given_up));
    all
}

/// What differs from the usual appliance only where it is read from, which nothing but an ingest does.
fn is_of_reading(named: &Named) -> bool {
    let (name, it) = named;
    let usual = Behaviours::default();
    let as_usual = Behaviours {
        asset_shape: usual.asset_shape,
        page_limit: None,
        end_cursor: usual.end_cursor,
        bad_cursor: usual.bad_cursor,
        total_changes: false,
        ..it.clone()
    };
    *name != "default" && as_usual == usual
}

/// What matters where nothing is registered.
fn is_of_registering(named: &Named) -> bool {
    let (name, it) = named;
    let usual = Behaviours::default();
    let as_usual = Behaviours {
        registration: usual.registration,
        registration_times: None,
        duplicate_name: usual.duplicate_name,
        activation: usual.activation,
        role: usual.role,
        key_types: usual.key_types,
        strict_content_type: false,
        ..it.clone()
    };
    *name != "default" && as_usual == usual
}

/// Whether the behaviour can make a difference to what the scenario kills.
fn concerns(scenario: Scenario, named: &Named) -> bool {
    let usual = Behaviours::default();
    let removes_as_usual =
        (named.1.removal, named.1.listing, named.1.registrar) == (usual.removal, usual.listing, usual.registrar);
    match scenario {
        Scenario::Provision => true,
        Scenario::Rotate => !is_of_reading(named),
        Scenario::Twice | Scenario::Hook => TWICE.contains(&named.0),
        Scenario::Retire => !is_of_reading(named) && !is_of_registering(named),
        Scenario::Overlap => named.0 == "default" || !removes_as_usual || named.0.starts_with("refuses-by"),
        Scenario::Rollback | Scenario::Import => {
            !is_of_reading(named) && !is_of_registering(named) && (named.0 == "default" || removes_as_usual)
        }
        Scenario::Ingest => named.0 == "default" || is_of_reading(named),
    }
}

/// Every scenario, every point on its way, every behaviour that concerns it;
/// of a first onboarding, the points after a commit.
pub fn full(points: &BTreeSet<String>) -> Vec<Case> {
    let behaviours = behaviours();
    let mut cases = Vec::new();
    for (scenario, _) in Scenario::ALL {
        let concerned = behaviours.iter().filter(|named| concerns(scenario, named));
        for named in concerned {
            for point in points.iter().filter(|point| scenario.passes(point) && may_reach(point, named)) {
                // A first onboarding passes no other point than a rotation, which is killed at each.
                if scenario == Scenario::Provision && named.0 != "default" && !AFTER_COMMIT.contains(&point.as_str()) {
                    continue;
                }
                if scenario == Scenario::Twice {
                    let seconds = points.iter().filter(|second| scenario.passes(second) && may_reach(second, named));
                    let pairs = seconds.map(|second| case(scenario, &[point, second], named));
                    // Each point meets every second other, and each of them in one of the two behaviours.
                    let first = usize::from(named.0 != "default");
                    cases.extend(pairs.skip(first).step_by(2));
                } else {
                    cases.push(case(scenario, &[point], named));
                }
            }
        }
    }
    cases
}

/// Not where it certainly cannot: only an attempt that ended badly is given up or not done.
fn may_reach(point: &str, named: &Named) -> bool {
    if point == "ingest.between-pages" {
        return named.1.page_limit.is_some();
    }
    let ends_well =
        named.1.registration == Registration::Created && named.1.key_types == Behaviours::default().key_types;
    let usual_name = named.1.duplicate_name == Behaviours::default().duplicate_name;
    !(ends_well && usual_name && ["give-up.between", "register.not-done"].contains(&point))
}

/// Every point on the usual appliance, and each behaviour at points after a commit.
pub fn slice(points: &BTreeSet<String>) -> Vec<Case> {
    let everything = full(points);
    let behaviours = behaviours();
    let place = |case: &Case| behaviours.iter().position(|(name, _)| *name == case.behaviour).unwrap();
    let mut pairs = 0;
    let mut cases: Vec<Case> = everything
        .into_iter()
        .filter(|case| {
            let (point, slow) = (case.points[0].as_str(), SLOW.contains(&case.behaviour));
            match case.scenario {
                Scenario::Twice => {
                    pairs += 1;
                    pairs % SAMPLE == 0
                }
                _ if case.behaviour == "default" => true,
                Scenario::Provision => !slow && point == AFTER_COMMIT[1 + place(case) % (AFTER_COMMIT.len() - 1)],
                Scenario::Rotate if case.behaviour == GIVEN_UP => point == "give-up.between",
                Scenario::Rotate => point == AFTER_COMMIT[0],
                Scenario::Retire => point == ["retire.asked", "retire.destroyed"][place(case) % 2],
                Scenario::Hook => point == "hook.after",
                Scenario::Ingest => case.behaviour == "pages-of-100" && point == "ingest.between-pages",
                Scenario::Overlap | Scenario::Rollback | Scenario::Import => false,
            }
        })
        .collect();
    // The long ones first, so that none of them is waited for alone at the end.
    cases.sort_by_key(|case| !SLOW.contains(&case.behaviour));
    cases
}
