//! What is due when, on hand-made holdings.

use std::path::Path;

use time::macros::datetime;

use super::*;
use crate::{
    credential::{CredentialId, Delivery, Generation, KeptKey, RegisteredName, SecretRef},
    inventory::{Observation, Origin, TaskFailure},
    site::{Role, Stream},
    x509::{Certificate, KeyAlgorithm, PrivateKey, Profile, Validity},
};

mod years;

const MADE: OffsetDateTime = datetime!(2026-11-22 10:00 UTC);

fn config(more: &str) -> Config {
    let text = format!(
        "version = 1
[sites.plant]
url = \"https://10.20.0.5\"
trust = \"system\"
[sites.plant.robots.lucidum]
role = \"reader\"
token_lead = \"30d\"
{more}
"
    );
    Config::from_text(Path::new("/robocred.toml"), Some(&text)).unwrap()
}

fn id(robot: &str) -> RobotId {
    format!("plant/{robot}").parse().unwrap()
}

/// A generation with a certificate of `days` days from [`MADE`] on.
fn record(robot: &RobotId, generation: u32, state: State, days: u16) -> Record {
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let validity = Validity::of_days(MADE, days).unwrap();
    let id = CredentialId { robot: robot.clone(), generation: Generation::new(generation).unwrap() };
    let registered_name = RegisteredName::of(&id.robot.robot, id.generation);
    let certificate = Certificate::self_signed(&key, registered_name.as_str(), validity, Profile::Client).unwrap();
    Record {
        state,
        registered_name,
        role: Role::Reader,
        secret: SecretRef::key("store", &id),
        key_algorithm: KeyAlgorithm::EcdsaP256,
        profile: Profile::Client,
        certificate: Some(certificate),
        attempt: None,
        remote_id: None,
        keyed_at: Some(MADE),
        promoted_at: Some(MADE),
        deliver_tries: 0,
        deliver_after: None,
        delivery: Delivery::Delivered,
        retire_after: None,
        id,
    }
}

fn robot_row(id: &RobotId, made: OffsetDateTime) -> RobotRow {
    RobotRow {
        id: id.clone(),
        base_name: id.robot.clone(),
        role: Role::Reader,
        endpoint: "https://10.20.0.5".parse().unwrap(),
        origin: Origin::Provisioned,
        created_at: made,
        last_promotion: Some(made),
        last_generation: 1,
    }
}

fn ended(task: Task, at: OffsetDateTime, failed: Option<(&str, u32)>) -> TaskRow {
    TaskRow {
        site: "plant".parse().unwrap(),
        task,
        at,
        success_at: None,
        tries: failed.map_or(0, |(_, tries)| tries),
        after: failed.map(|(_, tries)| at + plan::back_off(tries)),
        failures: 0,
        failure: failed.map(|(code, _)| TaskFailure { code: code.to_owned(), message: "it failed".to_owned() }),
    }
}

/// One robot in use since [`MADE`], last looked at a moment ago.
fn quiet(days: u16, looked: OffsetDateTime) -> Holdings {
    Holdings {
        robots: vec![robot_row(&id("lucidum"), MADE)],
        records: vec![record(&id("lucidum"), 1, State::Active, days)],
        sites: vec![SiteRow {
            name: "plant".parse().unwrap(),
            seen: Observation::default(),
            server_pin_at: None,
            control_at: None,
            token_since: None,
            api_key: None,
        }],
        tasks: vec![ended(Task::Rotate, looked, None)],
        ..Holdings::default()
    }
}

fn due(holdings: &Holdings, now: OffsetDateTime) -> Vec<Task> {
    agenda(&config(""), holdings, now).due.into_iter().map(|job| job.task).collect()
}

fn window(holdings: &Holdings) -> RenewalWindow {
    let certificate = holdings.records[0].certificate.as_ref().unwrap();
    config("").sites[0].robots[0].renewal.window(certificate.validity(), certificate.fingerprint())
}

/// What is due at `now`, and what is foreseen, for a change of what is quiet.
#[track_caller]
fn check(what: &str, more: &str, holdings: &Holdings, now: OffsetDateTime, due: &[Task], next: Option<OffsetDateTime>) {
    let agenda = agenda(&config(more), holdings, now);
    let tasks: Vec<_> = agenda.due.iter().map(|job| job.task).collect();
    assert_eq!(tasks, due, "{what}");
    if next.is_some() {
        assert_eq!(agenda.next, next, "{what}");
    }
}

const NOTHING: &[Task] = &[];
const ROTATE: &[Task] = &[Task::Rotate];
const INGEST: &[Task] = &[Task::Ingest];
const HOUR: Duration = Duration::HOUR;
const EVERY: &str = "ingest = { streams = [\"assets\", \"events\"], every = \"6h\" }";

#[test]
fn what_makes_a_rotation_due() {
    // Three hours after its last look, a hundred days into its year, the daily one not yet come.
    let now = datetime!(2027-03-01 20:00 UTC);
    let looked = now - HOUR * 3;
    let kept = quiet(365, looked);
    let case = |what, change: fn(&mut Holdings), due| {
        let mut holdings = quiet(365, looked);
        holdings.records.clone_from(&kept.records);
        change(&mut holdings);
        check(what, "", &holdings, now, due, None);
    };
    let at = window(&kept).due_at;
    case("nothing", |_| (), NOTHING);
    case("a delivery", |held| held.records[0].delivery = Delivery::Open, ROTATE);
    case(
        "a delivery that failed",
        |held| {
            held.records[0].delivery = Delivery::Open;
            held.records[0].deliver_after = Some(datetime!(2027-03-01 20:01 UTC));
        },
        NOTHING,
    );
    case("a successor to be made", |held| held.records.push(pending(State::Planned)), ROTATE);
    case("a successor in doubt", |held| held.records.push(pending(State::Sending)), ROTATE);
    case("a successor to be proven", |held| held.records.push(pending(State::Registered)), ROTATE);
    case("a successor without a token", |held| held.records.push(pending(State::Keyed)), NOTHING);
    let token: fn(&mut Holdings) = |held| {
        held.records.push(pending(State::Keyed));
        held.sites[0].token_since = Some(MADE);
    };
    case("a successor with a token", token, ROTATE);
    case(
        "an overlap that is over",
        |held| {
            let mut previous = record(&id("lucidum"), 1, State::Previous, 365);
            previous.retire_after = Some(MADE);
            held.records[0].id.generation = Generation::new(2).unwrap();
            held.records.insert(0, previous);
        },
        ROTATE,
    );
    case(
        "a failure that may mend itself",
        |held| held.tasks[0] = ended(Task::Rotate, LOOKED, Some(("store", 1))),
        ROTATE,
    );
    case("a failure that rests", |held| held.tasks[0] = ended(Task::Rotate, LOOKED, Some(("store", 3))), NOTHING);
    case("one that wants a person", |held| held.tasks[0] = ended(Task::Rotate, LOOKED, Some(("person", 1))), NOTHING);
    case("never looked at", |held| held.tasks.clear(), ROTATE);
    case("looked at in the future", |held| held.tasks[0].at = datetime!(2037-01-01 0:00 UTC), ROTATE);
    case("retired", |held| held.records[0].state = State::Retired, NOTHING);
    case("nothing held", |held| held.records.clear(), NOTHING);
    check("not configured", "", &Holdings::default(), now, NOTHING, None);
    let none = Config::from_text(Path::new("/robocred.toml"), None).unwrap();
    assert_eq!(super::agenda(&none, &kept, at), Agenda::default());
}

const LOOKED: OffsetDateTime = datetime!(2027-03-01 17:00 UTC);

fn pending(state: State) -> Record {
    let mut record = record(&id("lucidum"), 2, state, 365);
    (record.key_algorithm, record.promoted_at) = (KeyAlgorithm::Rsa2048, None);
    record.keyed_at = Some(LOOKED);
    record
}

#[test]
fn a_rotation_and_its_stages_are_due_from_their_dates_on_and_not_before() {
    // The look of every day must not fall into the hour before a date that hangs on the certificate.
    let looked = |at: OffsetDateTime| {
        let look = at.replace_time(time::Time::MIDNIGHT) + time_of_day(&id("lucidum").site);
        (at - look).whole_seconds().rem_euclid(Duration::DAY.whole_seconds())
    };
    let (mut holdings, window) = loop {
        let holdings = quiet(365, MADE);
        let window = window(&holdings);
        if looked(window.due_at) > Duration::minutes(61).whole_seconds() {
            break (holdings, window);
        }
    };
    let end = window.not_after + Duration::SECOND;
    let mut dates = vec![window.warns_at(Duration::days(30)), window.due_at, end];
    dates.extend(STAGES.map(|before| end - before));
    for at in dates {
        // What was due before it waits for a person, and was looked at an hour ago.
        holdings.tasks[0] = ended(Task::Rotate, at - Duration::minutes(61), None);
        holdings.records.truncate(1);
        if at > window.due_at {
            let mut next = pending(State::Keyed);
            next.certificate = Some(dated(at));
            next.keyed_at = Some(at - HOUR);
            holdings.records.push(next);
        }
        let tasks = |now| due(&holdings, now);
        assert_eq!((tasks(at - Duration::SECOND), tasks(at)), (vec![], vec![Task::Rotate]), "{at}");
    }
}

/// The certificate of a second generation, made a moment before `at`.
fn dated(at: OffsetDateTime) -> Certificate {
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let validity = Validity::of_days(at - HOUR, 365).unwrap();
    Certificate::self_signed(&key, "lucidum-g2", validity, Profile::Client).unwrap()
}

#[test]
fn a_site_is_looked_at_once_a_day_at_its_own_time() {
    let mut hours = [0; 24];
    for number in 0..1000 {
        let name: SiteName = format!("plant-{number}").parse().unwrap();
        hours[usize::try_from(time_of_day(&name).whole_hours()).unwrap()] += 1;
    }
    assert!(hours.iter().all(|sites| (20..70).contains(sites)), "{hours:?}");
    let at = time_of_day(&"plant".parse().unwrap());
    let midnight = datetime!(2027-03-01 0:00 UTC);
    for (looked, next) in [
        (midnight + at - HOUR, midnight + at),
        (midnight + at, midnight + at + Duration::DAY),
        (midnight + at + HOUR, midnight + at + Duration::DAY),
        // Days in which nobody was awake are caught up with once.
        (midnight + at - Duration::days(9), midnight + at - Duration::days(8)),
    ] {
        let now = midnight + at + HOUR * 2;
        let due = if next <= now { ROTATE } else { NOTHING };
        let foreseen = (next > now).then_some(next);
        check("the daily look", "", &quiet(365, looked), now, due, foreseen);
    }
}

#[test]
fn how_long_a_rotation_rests() {
    #[track_caller]
    fn check(left: Duration, tries: Option<u32>, rests: Duration) {
        let at = MADE + Duration::days(100);
        let row = ended(Task::Rotate, at, tries.map(|tries| ("store", tries)));
        assert_eq!(rest(&row, &[at + Duration::days(300), at + left]), rests, "{left} {tries:?}");
        assert_eq!(rest(&row, &[at + Duration::days(300), at - left]), rests, "{left} ago {tries:?}");
    }
    check(Duration::days(100), None, HOUR);
    check(Duration::days(100), Some(1), HOUR);
    check(Duration::days(100), Some(3), HOUR * 4);
    check(Duration::days(100), Some(90), HOUR * 32);
    check(Duration::days(4), Some(90), HOUR * 24);
    check(HOUR * 2, Some(90), HOUR / 2);
    check(HOUR * 2, None, HOUR / 2);
    check(Duration::minutes(8), Some(90), LEAST_REST);
    check(Duration::ZERO, Some(90), LEAST_REST);
    // Written down by a clock that jumped meanwhile.
    let ahead = TaskRow { after: Some(MADE + Duration::days(9999)), ..ended(Task::Rotate, MADE, Some(("store", 1))) };
    assert_eq!(rest(&ahead, &[]), HOUR * 32);
    assert_eq!(rest(&TaskRow { after: Some(MADE - Duration::DAY), ..ahead }, &[]), HOUR);
}

#[test]
fn a_stored_token_ends_a_rest_and_so_does_whoever_asks() {
    let now = datetime!(2027-03-01 20:00 UTC);
    let mut holdings = quiet(365, MADE);
    holdings.records.push(pending(State::Keyed));
    holdings.tasks[0] = ended(Task::Rotate, LOOKED, Some(("refused", 9)));
    for (stored, due) in [
        (None, NOTHING),
        (Some(LOOKED - HOUR), NOTHING),
        (Some(LOOKED + Duration::SECOND), ROTATE),
        (Some(now), ROTATE),
        // By a clock that was ahead: it does not turn in circles.
        (Some(now + HOUR), NOTHING),
    ] {
        holdings.sites[0].token_since = stored;
        check(&format!("{stored:?}"), "", &holdings, now, due, None);
        let asked = impatient(&config(""), &holdings, now).due;
        assert_eq!(asked.len(), 1, "{stored:?}");
    }
}

fn run(stream: Stream, at: OffsetDateTime) -> RunRow {
    RunRow {
        robot: id("lucidum"),
        generation: Some(Generation::FIRST),
        stream,
        records: 1,
        complete: true,
        path: "/data".into(),
        at,
        completed_at: Some(at),
        target_at: Some(at),
    }
}

#[test]
fn what_makes_reading_due() {
    let now = datetime!(2027-03-01 20:00 UTC);
    let quiet = quiet(365, now - HOUR * 3);
    let case = |what, runs: [OffsetDateTime; 2], last: Option<(OffsetDateTime, Option<u32>)>, due, next| {
        let mut holdings =
            Holdings { records: quiet.records.clone(), robots: quiet.robots.clone(), ..Holdings::default() };
        holdings.tasks =
            last.map(|(at, tries)| ended(Task::Ingest, at, tries.map(|tries| ("failed", tries)))).into_iter().collect();
        holdings.tasks.extend(quiet.tasks.iter().cloned());
        holdings.runs =
            [Stream::Assets, Stream::Events].into_iter().zip(runs).map(|(stream, at)| run(stream, at)).collect();
        check(what, EVERY, &holdings, now, due, next);
        holdings.runs.clear();
        holdings.records.clear();
        check("without a credential", EVERY, &holdings, now, NOTHING, None);
    };
    let (ago, later) = (|hours: i32| now - HOUR * hours, |minutes| Some(now + Duration::minutes(minutes)));
    case("one stream is due", [ago(6), ago(1)], None, INGEST, None);
    case("none is due", [ago(5), ago(1)], None, NOTHING, later(60));
    case("it failed a moment ago", [ago(9), ago(1)], Some((ago(0), Some(1))), NOTHING, later(60));
    case("it failed an hour ago", [ago(9), ago(1)], Some((ago(1), Some(1))), INGEST, None);
    case("it failed often", [ago(90), ago(1)], Some((ago(5), Some(9))), NOTHING, later(60));
    case("it failed often, six hours ago", [ago(90), ago(1)], Some((ago(6), Some(9))), INGEST, None);
    case("another robot failed since", [ago(6), ago(1)], Some((ago(7), Some(9))), INGEST, None);
    case("another failed before its time", [ago(6), ago(6)], Some((now - HOUR * 6 - HOUR, Some(9))), INGEST, None);
    case("all went well, and it was not read", [ago(9), ago(9)], Some((ago(0), None)), NOTHING, later(5));
    case("read in the future", [now + HOUR * 9, ago(1)], None, INGEST, None);
    case("failed in the future", [ago(9), ago(9)], Some((now + HOUR * 9, Some(9))), INGEST, None);
}

#[test]
fn what_was_read_elsewhere_stands_for_no_scheduled_run() {
    let now = datetime!(2027-03-01 20:00 UTC);
    let quiet = quiet(365, now - HOUR * 3);
    let case = |what, target_at: Option<OffsetDateTime>, due, next| {
        let read = [Stream::Assets, Stream::Events].map(|stream| RunRow { target_at, ..run(stream, now - HOUR) });
        let holdings = Holdings {
            records: quiet.records.clone(),
            robots: quiet.robots.clone(),
            tasks: quiet.tasks.clone(),
            runs: read.into(),
            ..Holdings::default()
        };
        check(what, EVERY, &holdings, now, due, next);
    };
    case("elsewhere only", None, INGEST, None);
    case("elsewhere since", Some(now - HOUR * 9), INGEST, None);
    case("where it belongs", Some(now - HOUR), NOTHING, Some(now + HOUR * 5));
}

#[test]
fn what_is_read_with_an_api_key_is_due_as_others_are() {
    let now = datetime!(2027-03-01 20:00 UTC);
    let hours = |hours: i32| now - HOUR * hours;
    let set = |since, expires| Some(KeptKey { since, expires });
    let case = |what, api_key, read: Option<OffsetDateTime>, failed: Option<OffsetDateTime>, due: &[Task]| {
        let mut holdings = Holdings { tasks: Vec::new(), records: Vec::new(), robots: Vec::new(), ..quiet(365, now) };
        holdings.sites[0].api_key = api_key;
        if let Some(at) = read {
            holdings.runs =
                [Stream::Assets, Stream::Events].map(|stream| RunRow { generation: None, ..run(stream, at) }).into();
        }
        holdings.tasks = failed.map(|at| ended(Task::Ingest, at, Some(("refused", 9)))).into_iter().collect();
        check(what, EVERY, &holdings, now, due, None);
        // Whoever has nothing to be read, and nothing to be rotated, is left alone.
        check("without a schedule", "", &holdings, now, NOTHING, None);
        // A credential in use that has ended is not replaced by the key.
        holdings.records = vec![record(&id("lucidum"), 1, State::Active, 30)];
        let reads = agenda(&config(EVERY), &holdings, now).due.iter().any(|job| job.task == Task::Ingest);
        assert!(!reads, "{what}, with an ended credential");
    };
    case("no key", None, None, None, NOTHING);
    case("never read", set(MADE, None), None, None, INGEST);
    case("read of late", set(MADE, None), Some(hours(5)), None, NOTHING);
    case("read some time ago", set(MADE, None), Some(hours(6)), None, INGEST);
    case("a key that should have ended", set(MADE, Some(hours(1))), None, None, INGEST);
    case("it failed of late", set(MADE, None), None, Some(hours(1)), NOTHING);
    case("a new key since", set(now, None), None, Some(hours(1)), INGEST);
    case("a key of the future", set(now + HOUR, None), None, Some(hours(1)), NOTHING);
}

#[test]
fn rotation_goes_first_and_reading_is_one_job() {
    let more = "ingest = { streams = [\"assets\"], every = \"15m\" }
[sites.plant.robots.zeta]
role = \"reader\"
ingest = { streams = [\"assets\"], every = \"1d\" }";
    let now = datetime!(2027-03-01 20:00 UTC);
    let mut holdings = quiet(365, now - HOUR * 3);
    holdings.robots.push(robot_row(&id("zeta"), MADE));
    holdings.records.push(record(&id("zeta"), 1, State::Active, 365));
    // Never read.
    check("both", more, &holdings, now, &[Task::Rotate, Task::Ingest], None);
    holdings.runs =
        ["lucidum", "zeta"].map(|name| RunRow { robot: id(name), ..run(Stream::Assets, now - Duration::DAY) }).into();
    let jobs = agenda(&config(more), &holdings, now).due;
    let [job] = &jobs[..] else { panic!("{jobs:?}") };
    let robots: Vec<_> = job.robots.iter().map(RobotName::as_str).collect();
    assert_eq!((job.task, robots), (Task::Ingest, vec!["lucidum", "zeta"]));
}

#[test]
fn what_ended_well_is_due_no_more_unless_nothing_was_done() {
    let now = datetime!(2027-03-01 20:00 UTC);
    let job = |task| Job { site: "plant".parse().unwrap(), task, robots: vec![id("lucidum").robot] };
    let check = |what, task, holdings: &Holdings, begun, due| {
        assert_eq!(is_still_due(&config(EVERY), holdings, &job(task), begun, now), due, "{what}");
    };
    let mut holdings = quiet(365, LOOKED);
    holdings.runs = [Stream::Assets, Stream::Events].map(|stream| run(stream, now - HOUR)).into();
    let begun = now - Duration::MINUTE;
    check("a look", Task::Rotate, &holdings, begun, false);
    holdings.tasks.clear();
    check("the first look", Task::Rotate, &holdings, begun, false);
    let mut other = quiet(365, LOOKED);
    (other.records, other.runs) = (holdings.records.clone(), holdings.runs.clone());
    let window = window(&other);
    let of_window = |begun, now| is_still_due(&config(EVERY), &other, &job(Task::Rotate), begun, now);
    assert!(of_window(window.due_at, window.due_at + HOUR));
    assert!(!of_window(window.due_at - Duration::SECOND, window.due_at + HOUR), "the window opened meanwhile");
    holdings.records.push(pending(State::Planned));
    check("a step that was not taken", Task::Rotate, &holdings, begun, true);
    // Neither hides the other.
    check("read", Task::Ingest, &holdings, begun, false);
    holdings.runs[1].target_at = Some(now - HOUR * 7);
    check("one stream was not read", Task::Ingest, &holdings, begun, true);
    holdings.runs[1].target_at = Some(begun - HOUR * 6 + Duration::SECOND);
    check("due again while it was read", Task::Ingest, &holdings, begun, false);
    holdings.runs.clear();
    check("nothing was read", Task::Ingest, &holdings, begun, true);
    let other = Job { robots: vec!["zeta".parse().unwrap()], ..job(Task::Ingest) };
    assert!(!is_still_due(&config(EVERY), &holdings, &other, begun, now), "another robot was meant");
}

#[test]
fn a_thousand_robots_are_quickly_looked_through() {
    let mut text = "version = 1\n".to_owned();
    let mut holdings = quiet(365, MADE);
    let (one, row) = (holdings.records.remove(0), holdings.robots.remove(0));
    let mut names: Vec<_> = (0..1000).map(|number| format!("s{number}")).collect();
    names.sort();
    for name in &names {
        text.extend([format!(
            "[sites.{name}]\nurl = \"https://{name}.example\"\ntrust = \"system\"\n\
             [sites.{name}.robots.lucidum]\nrole = \"reader\"\n"
        )]);
        let robot: RobotId = format!("{name}/lucidum").parse().unwrap();
        for generation in 1..=10 {
            let state = if generation == 10 { State::Active } else { State::Retired };
            let id = CredentialId { robot: robot.clone(), generation: Generation::new(generation).unwrap() };
            holdings.records.push(Record { id, state, ..one.clone() });
        }
        holdings.robots.push(RobotRow { id: robot.clone(), ..row.clone() });
        holdings.tasks.push(TaskRow { site: robot.site, ..ended(Task::Rotate, MADE, None) });
    }
    let config = Config::from_text(Path::new("/robocred.toml"), Some(&text)).unwrap();
    let look = |_| {
        let began = std::time::Instant::now();
        assert!(agenda(&config, &holdings, MADE + HOUR).due.len() < 100);
        began.elapsed()
    };
    let took = (0..5).map(look).min().unwrap();
    eprintln!("a thousand sites: {took:?}");
    // Five milliseconds in a release build; a quadratic search would take seconds in this one.
    assert!(took < std::time::Duration::from_millis(500), "{took:?}");
}
