//! The verdict on hand-made holdings: each reason, and which comes first.

use super::*;
use crate::{
    config::Config,
    credential::State,
    inventory::{Leftover, Task, TaskFailure, TaskRow},
    site::Role,
    status::{
        Holdings, report,
        tests::{MADE, config, holdings, id, raised, record, row, site},
    },
};

const DAY: Duration = Duration::DAY;

/// Both robots of the configuration in use, and a token at hand.
fn well() -> Holdings {
    let records = vec![record("keeper", 1, State::Active, 365), record("lucidum", 1, State::Active, 365)];
    Holdings { sites: vec![site(Some(MADE))], ..holdings(records) }
}

fn judged(holdings: &Holdings, now: OffsetDateTime) -> Verdict {
    verdict(&report(Ok(&config("token")), holdings, now), Thresholds::default())
}

fn task(failure: Option<&str>, tries: u32) -> TaskRow {
    TaskRow {
        site: "plant".parse().unwrap(),
        task: Task::Rotate,
        at: MADE,
        success_at: None,
        tries,
        after: None,
        failures: tries.into(),
        failure: failure.map(|message| TaskFailure { code: "unreachable".to_owned(), message: message.to_owned() }),
    }
}

/// When `lucidum` of these holdings is due, and when it ends.
fn dates(holdings: &Holdings) -> (OffsetDateTime, OffsetDateTime) {
    let report = report(Ok(&config("token")), holdings, MADE);
    let window = report.lines.iter().find(|line| line.id == id("lucidum")).unwrap().window.unwrap();
    (window.due_at, window.not_after)
}

#[test]
fn where_all_is_well_the_next_rotation_is_told() {
    let mut holdings = well();
    let found = judged(&holdings, MADE);
    assert_eq!(found.health, Health::Ok);
    assert!(found.message.starts_with("2 robots, the next is due 2027-"), "{}", found.message);
    holdings.records.remove(0);
    let config = Config::from_text(
        "/robocred.toml".as_ref(),
        Some("version = 1\n[sites.plant]\nurl = \"https://h\"\ntrust = \"system\"\n[sites.plant.robots.lucidum]\nrole = \"reader\"\n"),
    )
    .unwrap();
    let report = report(Ok(&config), &holdings, MADE);
    let day = Time(dates(&holdings).0).day();
    assert_eq!(
        verdict(&report, Thresholds::default()).message,
        format!("1 robot, the next is due {day} (plant/lucidum)")
    );
}

#[test]
fn every_reason_and_its_words() {
    #[track_caller]
    fn check(change: impl FnOnce(&mut Holdings), now: OffsetDateTime, health: Health, words: &str) {
        let mut holdings = well();
        change(&mut holdings);
        let found = judged(&holdings, now);
        assert!(found.health == health && found.message.contains(words), "{found:?}");
    }
    let attention = |code| move |holdings: &mut Holdings| holdings.attention.push(raised(code, MADE));
    check(attention(AttentionCode::Frozen), MADE, Health::Critical, "plant/lucidum is frozen: stored");
    check(
        attention(AttentionCode::HookFailed),
        MADE,
        Health::Warning,
        "plant/lucidum wants attention (hook-failed): stored",
    );
    for code in AttentionCode::ALL.into_iter().filter(|code| *code != AttentionCode::TokenNeeded) {
        let health = if code == AttentionCode::Frozen { Health::Critical } else { Health::Warning };
        check(attention(code), MADE, health, "plant/lucidum");
    }
    let lost = |holdings: &mut Holdings| drop(holdings.records.pop());
    check(lost, MADE, Health::Warning, "plant/lucidum has no credential in use (absent)");
    let pending = |holdings: &mut Holdings| holdings.records[1].state = State::Sending;
    check(pending, MADE, Health::Warning, "plant/lucidum has no credential in use (pending)");
    check(
        |holdings: &mut Holdings| {
            holdings.sites.clear();
            holdings.records[1].state = State::Keyed;
            holdings.attention.push(raised(AttentionCode::ControlAccepted, MADE));
        },
        MADE,
        Health::Warning,
        "plant/lucidum needs a person: stored",
    );
    check(
        |holdings| holdings.tasks.push(task(Some("no route"), 3)),
        MADE,
        Health::Warning,
        "rotate of plant by schedule has failed 3 times in a row: no route",
    );
    check(|holdings| holdings.tasks.push(task(None, 0)), MADE, Health::Ok, "2 robots");
}

#[test]
fn the_thresholds_are_exact() {
    let holdings = well();
    let (due, end) = dates(&holdings);
    let health = |now| {
        let mut report = report(Ok(&config("token")), &holdings, now);
        report.keep(|robot| *robot == id("lucidum"));
        verdict(&report, Thresholds::default()).health
    };
    assert_eq!(health(due - 30 * DAY), Health::Ok);
    assert_eq!(health(due - 30 * DAY + Duration::SECOND), Health::Warning);
    assert_eq!(health(due), Health::Warning);
    assert_eq!(health(end - 7 * DAY), Health::Warning);
    assert_eq!(health(end - 7 * DAY + Duration::SECOND), Health::Critical);
    assert_eq!(health(end), Health::Critical);
    assert_eq!(health(end + DAY), Health::Critical);
}

#[test]
fn the_words_of_time() {
    let holdings = well();
    let (due, end) = dates(&holdings);
    let (due_day, end_day) = (Time(due).day(), Time(end).day());
    let check = |now, words: String| {
        let mut report = report(Ok(&config("token")), &holdings, now);
        report.keep(|robot| *robot == id("lucidum"));
        assert_eq!(verdict(&report, Thresholds::default()).message, words);
    };
    check(due - 12 * DAY, format!("plant/lucidum is due for rotation on {due_day} (in 12 days)"));
    check(due, format!("plant/lucidum is due for rotation since {due_day}"));
    check(end - 3 * DAY, format!("plant/lucidum ends on {end_day} (in 3 days)"));
    check(end - Duration::HOUR, format!("plant/lucidum ends on {end_day} (in less than a day)"));
    check(end + DAY, format!("plant/lucidum has expired on {end_day}"));
}

#[test]
fn the_worst_is_told_first_and_the_rest_is_counted() {
    // Every reason at once, each removed in its turn: what is left is never worse.
    let text = "version = 1\n[sites.plant]\nurl = \"https://h\"\ntrust = \"system\"\n".to_owned();
    let names = ["a-due-soon", "b-due", "c-attention", "d-absent", "e-needs", "f-ends", "g-frozen", "h-expired"];
    let robots = names.map(|name| format!("[sites.plant.robots.{name}]\nrole = \"reader\"\n"));
    let config = Config::from_text("/robocred.toml".as_ref(), Some(&(text + &robots.concat()))).unwrap();
    let now = MADE + 100 * DAY;
    let of = |name: &str, state, days| record(name, 1, state, days);
    let attention = |name: &str, code| Attention { robot: id(name), ..raised(code, MADE) };
    let holdings = Holdings {
        records: vec![
            of("a-due-soon", State::Active, 180),
            of("b-due", State::Active, 130),
            of("c-attention", State::Active, 365),
            of("e-needs", State::Keyed, 365),
            of("f-ends", State::Active, 104),
            of("g-frozen", State::Active, 365),
            of("h-expired", State::Active, 30),
        ],
        attention: vec![
            attention("c-attention", AttentionCode::HookFailed),
            attention("e-needs", AttentionCode::ControlAccepted),
            attention("g-frozen", AttentionCode::Frozen),
        ],
        tasks: vec![task(Some("no route"), 1)],
        sites: vec![site(Some(now))],
        ..Holdings::default()
    };
    let mut report = report(Ok(&config), &holdings, now);
    report.could_not_read("the disk is gone".to_owned());
    let mut order = Vec::new();
    let mut last = Health::Critical;
    loop {
        let found = verdict(&report, Thresholds::default());
        assert!(found.health <= last, "{found:?}");
        last = found.health;
        if order.is_empty() {
            assert!(found.message.ends_with("; and 9 more (2 critical, 1 unknown, 6 warning)"), "{found:?}");
        }
        let told = found.message.split_once("; and ").map_or(found.message.as_str(), |(told, _)| told);
        order.push(told.split(' ').next().unwrap().to_owned());
        let worst = order.last().unwrap().clone();
        match worst.as_str() {
            "the" => report.unread.clear(),
            "rotate" => report.tasks.clear(),
            robot => report.lines.retain(|line| line.id.to_string() != *robot),
        }
        if report.lines.is_empty() {
            break;
        }
    }
    let expected = [
        "h-expired",
        "g-frozen",
        "f-ends",
        "the",
        "e-needs",
        "d-absent",
        "rotate",
        "c-attention",
        "b-due",
        "a-due-soon",
    ];
    let order: Vec<_> = order.iter().map(|word| word.trim_start_matches("plant/")).collect();
    assert_eq!(order, expected);
}

#[test]
fn of_two_that_are_as_bad_the_one_that_ends_first_is_told() {
    let mut holdings = well();
    let early = MADE + 360 * DAY;
    holdings.records[0] = record("keeper", 1, State::Active, 365);
    holdings.records[1] = record("lucidum", 1, State::Active, 364);
    assert!(judged(&holdings, early).message.starts_with("plant/lucidum ends on"));
}

#[test]
fn what_cannot_be_read_is_unknown_unless_something_is_critical_anyway() {
    let broken = Config::from_text("/robocred.toml".as_ref(), Some("version = 1\nfoo = 1\nbar = 2\n")).unwrap_err();
    let mut holdings = well();
    holdings.robots = vec![row(&id("keeper"), Role::Admin), row(&id("lucidum"), Role::Reader)];
    let judged = |holdings: &Holdings, now| verdict(&report(Err(&broken), holdings, now), Thresholds::default());
    let found = judged(&holdings, MADE);
    assert!(found.health == Health::Unknown && found.message.starts_with("the configuration /robocred.toml"));
    assert!(!found.line().contains('\n'), "{}", found.line());
    let ended = judged(&holdings, MADE + 400 * DAY);
    assert!(ended.health == Health::Critical && ended.message.contains("; and 2 more (1 critical, 1 unknown)"));
}

#[test]
fn one_in_use_that_is_not_configured_any_more_is_nobodys_and_a_warning() {
    let none = Config::from_text("/robocred.toml".as_ref(), None).unwrap();
    let check = |config, expected: Health, said: &str| {
        let held = Holdings { robots: vec![row(&id("keeper"), Role::Admin)], ..well() };
        let found = verdict(&report(config, &held, MADE), Thresholds::default());
        assert!(found.health == expected && found.message.contains(said), "{found:?}");
    };
    check(Ok(&none), Health::Warning, "plant/keeper is in use and not in the configuration");
    // One that cannot be read does not say so.
    let broken = Config::from_text("/robocred.toml".as_ref(), Some("version = 2")).unwrap_err();
    check(Err(&broken), Health::Unknown, "the configuration /robocred.toml");
}

#[test]
fn nothing_at_all_is_unknown_and_what_was_given_up_is_nobodys_trouble() {
    let none = Config::from_text("/robocred.toml".as_ref(), None).unwrap();
    let check = |holdings: &Holdings, health| {
        let found = verdict(&report(Ok(&none), holdings, MADE), Thresholds::default());
        assert_eq!(found.health, health, "{found:?}");
        found
    };
    assert_eq!(
        check(&Holdings::default(), Health::Unknown).line(),
        "ROBOCRED UNKNOWN: no robot is configured, and none is held"
    );
    let mut given_up = Holdings {
        robots: vec![row(&id("lucidum"), Role::Reader)],
        records: vec![record("lucidum", 1, State::Retired, 365)],
        ..Holdings::default()
    };
    assert_eq!(check(&given_up, Health::Ok).message, "1 robot, none with a credential");
    given_up.attention.push(raised(AttentionCode::RetireManual, MADE));
    given_up.leftovers = Vec::<Leftover>::new();
    check(&given_up, Health::Warning);
}

#[test]
fn the_line_and_its_performance_data() {
    let holdings = well();
    let (due, end) = dates(&holdings);
    let now = end - 100 * DAY;
    let report = report(Ok(&config("token")), &holdings, now);
    let thresholds = Thresholds { warning: Duration::hours(36), critical: 7 * DAY };
    let line = verdict(&report, thresholds).line();
    let to_due = (report.lines.iter().filter_map(|line| line.window).map(|window| window.due_at).min().unwrap() - now)
        .whole_seconds()
        .div_euclid(86_400);
    assert!(due < now + 100 * DAY && line.starts_with("ROBOCRED WARNING: plant/"), "{line}");
    let figures = line.split_once(" | ").unwrap().1;
    assert_eq!(
        figures,
        format!("robots=2;;;0 attention=0;;;0 due=2;;;0 expired=0;;;0 days_left=100;;7: days_to_due={to_due};1.5:")
    );
    for (time, expected) in
        [(7 * DAY, "7"), (Duration::HOUR, "0.0417"), (100 * DAY, "100"), (36 * Duration::HOUR, "1.5")]
    {
        assert_eq!(in_days(time), expected);
    }
}

#[test]
fn nothing_in_a_message_can_pass_for_something_else() {
    let check = |message: &str, line: &str| assert_eq!(Verdict::unknown(message).line(), line);
    check("a | b=1", "ROBOCRED UNKNOWN: a \u{a6} b=1");
    check("two:\n  one\r\n\n  two\n", "ROBOCRED UNKNOWN: two: one; two");
    check("a\u{1b}[2Jb", "ROBOCRED UNKNOWN: a\u{fffd}[2Jb");
    let long = Verdict::unknown("ä".repeat(5_000)).line();
    assert!(long.chars().count() < 700 && long.ends_with('…'), "{long}");
}
