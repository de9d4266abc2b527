//! The metrics on hand-made holdings, read back by a strict reader of the format.

use std::collections::{BTreeMap, BTreeSet};

use time::macros::datetime;

use super::*;
use crate::{
    credential::{Generation, State},
    inventory::{AttentionCode, RunRow, Task, TaskFailure, TaskRow},
    site::{RobotId, Role, Stream},
    status::{
        Holdings, report,
        tests::{MADE, config, holdings, id, raised, record, row, site},
    },
};

pub(in crate::status) type Sample = (String, BTreeMap<String, String>, f64);

/// Reads a whole page and panics at whatever the format does not allow: a family without its head or in two places,
/// a name or an escape that there is not, the same sample twice.
pub(in crate::status) fn read(page: &str) -> Vec<Sample> {
    assert!(page.ends_with('\n'));
    let (mut samples, mut families, mut seen) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    let mut current = String::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').unwrap();
            assert!(!text.is_empty() && !text.contains('\\') && text.ends_with('.'), "{line}");
            let kind = lines.next().unwrap().strip_prefix(&format!("# TYPE {name} ")).unwrap().to_owned();
            assert!(kind == "gauge" || kind == "counter", "{kind}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
            assert!(families.insert(name.to_owned()), "{name} stands in two places");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            current = name.to_owned();
            continue;
        }
        let (name, rest) = line.split_at(line.find(['{', ' ']).unwrap());
        assert_eq!(name, current, "a sample outside its family");
        let (labels, value) = labels(rest);
        assert!(seen.insert((name.to_owned(), labels.clone())), "twice: {line}");
        samples.push((name.to_owned(), labels, value.strip_prefix(' ').unwrap().parse().unwrap()));
    }
    samples
}

fn labels(text: &str) -> (BTreeMap<String, String>, &str) {
    let mut found = BTreeMap::new();
    let Some(mut rest) = text.strip_prefix('{') else { return (found, text) };
    loop {
        let (label, after) = rest.split_once("=\"").unwrap();
        assert!(label.bytes().all(|byte| byte.is_ascii_lowercase()), "{label}");
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next().unwrap() {
                (end, '"') => break end,
                (_, '\\') => value.push(match chars.next().unwrap().1 {
                    'n' => '\n',
                    c @ ('\\' | '"') => c,
                    c => panic!("no such escape: {c}"),
                }),
                (_, c) => value.push(c),
            }
        };
        assert!(found.insert(label.to_owned(), value).is_none(), "{label} twice");
        match after[end + 1..].split_at(1) {
            (",", more) => rest = more,
            ("}", more) => return (found, more),
            other => panic!("{other:?}"),
        }
    }
}

/// The value of the one sample with that name and (at least) these labels.
#[track_caller]
pub(in crate::status) fn value(samples: &[Sample], name: &str, wanted: &[(&str, &str)]) -> Option<f64> {
    let fits = |labels: &BTreeMap<String, String>| {
        wanted.iter().all(|(label, value)| labels.get(*label).map(String::as_str) == Some(value))
    };
    let found: Vec<_> = samples.iter().filter(|(given, labels, _)| given == name && fits(labels)).collect();
    assert!(found.len() <= 1, "{found:?}");
    found.first().map(|(_, _, value)| *value)
}

fn full() -> Holdings {
    let mut seen = site(None);
    seen.seen.clock_skew = Some(time::Duration::milliseconds(-1_500));
    let failure = Some(TaskFailure { code: "unreachable".to_owned(), message: "no route".to_owned() });
    let task = |task, tries, success_at, failure| TaskRow {
        site: "plant".parse().unwrap(),
        task,
        at: MADE,
        success_at,
        tries,
        after: None,
        failures: 17,
        failure,
    };
    let run = RunRow {
        robot: id("lucidum"),
        generation: Generation::new(1),
        stream: Stream::Assets,
        records: 130,
        complete: true,
        path: "/data".into(),
        at: MADE,
        completed_at: Some(MADE),
        target_at: Some(MADE),
    };
    Holdings {
        sites: vec![seen],
        tasks: vec![task(Task::Rotate, 2, None, failure), task(Task::Ingest, 0, Some(MADE), None)],
        runs: vec![run],
        attention: vec![raised(AttentionCode::HookFailed, MADE), raised(AttentionCode::RetireManual, MADE)],
        ..holdings(vec![record("lucidum", 3, State::Active, 365), record("lucidum", 2, State::Previous, 100)])
    }
}

#[test]
fn what_the_report_says_is_what_the_metrics_say() {
    let holdings = full();
    let report = report(Ok(&config("token")), &holdings, MADE);
    let window = report.lines[1].window.unwrap();
    let samples = read(&text(&report, None));
    let check = |name: &str, labels: &[(&str, &str)], expected: Option<f64>| {
        assert_eq!(value(&samples, &format!("robocred_{name}"), labels), expected, "{name}");
    };
    #[allow(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
    let at = |time: OffsetDateTime| Some(time.unix_timestamp() as f64);
    let lucidum = [("site", "plant"), ("robot", "lucidum"), ("generation", "3")];
    check("build_info", &[("version", env!("CARGO_PKG_VERSION"))], Some(1.0));
    check("report_timestamp_seconds", &[], at(MADE));
    check("report_complete", &[], Some(1.0));
    check("certificate_expiration_timestamp_seconds", &lucidum, at(window.not_after));
    check("certificate_renewal_timestamp_seconds", &lucidum, at(window.due_at));
    check(
        "certificate_not_before_timestamp_seconds",
        &lucidum,
        at(window.not_after - time::Duration::days(365) + time::Duration::SECOND),
    );
    check("certificate_expiration_timestamp_seconds", &[("robot", "keeper")], None);
    for (robot, ready) in [("lucidum", "True"), ("keeper", "False")] {
        for condition in ["True", "False", "Unknown"] {
            let expected = f64::from(u8::from(condition == ready));
            check("certificate_ready_status", &[("robot", robot), ("condition", condition)], Some(expected));
        }
    }
    check("robot_state", &[("robot", "lucidum"), ("state", "active")], Some(1.0));
    check("robot_state", &[("robot", "keeper")], Some(1.0));
    check("robot_state", &[("robot", "keeper"), ("state", "absent")], Some(1.0));
    check("attention", &[("robot", "lucidum"), ("code", "hook-failed")], Some(1.0));
    check("attention", &[("robot", "lucidum"), ("code", "retire-manual")], Some(1.0));
    check("token_needed", &[("robot", "lucidum")], Some(1.0));
    check("leftovers", &[("robot", "lucidum")], Some(0.0));
    check("site_clock_skew_seconds", &[("site", "plant")], Some(-1.5));
    check("task_last_run_timestamp_seconds", &[("task", "rotate")], at(MADE));
    check("task_last_success_timestamp_seconds", &[("task", "rotate")], None);
    check("task_last_success_timestamp_seconds", &[("task", "ingest")], at(MADE));
    check("task_failures_total", &[("task", "rotate")], Some(17.0));
    check("task_consecutive_failures", &[("task", "rotate")], Some(2.0));
    check("ingest_last_success_timestamp_seconds", &[("stream", "assets")], at(MADE));
    check("ingest_records", &[("stream", "assets")], Some(130.0));
    check("watch_children", &[], None);
}

#[test]
fn a_watch_says_how_it_is() {
    let report = report(Ok(&config("token")), &Holdings::default(), MADE);
    let watch = Watch {
        config_ok: false,
        inventory_ok: true,
        hindered: true,
        unrecorded: 2,
        children: 3,
        since_beat: Duration::from_millis(250),
    };
    let samples = read(&text(&report, Some(&watch)));
    for (name, expected) in [
        ("config_last_reload_successful", 0.0),
        ("inventory_readable", 1.0),
        ("hindered", 1.0),
        ("unrecorded", 2.0),
        ("children", 3.0),
        ("seconds_since_look", 0.25),
    ] {
        assert_eq!(value(&samples, &format!("robocred_watch_{name}"), &[]), Some(expected), "{name}");
    }
}

#[test]
fn readiness_is_told_as_true_false_or_unknown() {
    let check = |code: Option<AttentionCode>, state, now, ready: &str| {
        let attention = code.map(|code| raised(code, MADE)).into_iter().collect();
        let records = vec![record("lucidum", 1, state, 365)];
        let report = report(Ok(&config("token")), &Holdings { attention, ..holdings(records) }, now);
        let samples = read(&text(&report, None));
        let labels = [("robot", "lucidum"), ("condition", ready)];
        assert_eq!(value(&samples, "robocred_certificate_ready_status", &labels), Some(1.0), "{code:?} {state}");
    };
    check(None, State::Active, MADE, "True");
    check(Some(AttentionCode::HookFailed), State::Active, MADE, "True");
    check(Some(AttentionCode::Frozen), State::Active, MADE, "False");
    check(Some(AttentionCode::StoreUnavailable), State::Active, MADE, "False");
    check(Some(AttentionCode::TrustChanged), State::Active, MADE, "Unknown");
    check(Some(AttentionCode::ControlAccepted), State::Active, MADE, "Unknown");
    check(Some(AttentionCode::ControlAccepted), State::Keyed, MADE, "False");
    check(None, State::Keyed, MADE, "False");
    check(None, State::Active, MADE + time::Duration::days(400), "False");
}

#[test]
fn a_label_is_escaped_as_the_format_wants_it() {
    let mut page = Page(String::new());
    let hostile = "a\\b\"c\nd{e}=,ü";
    page.family("robocred_x", Kind::Gauge, "Help.");
    page.sample("robocred_x", &[("site", &hostile), ("robot", &"r")], 1);
    assert!(page.0.ends_with("robocred_x{site=\"a\\\\b\\\"c\\nd{e}=,ü\",robot=\"r\"} 1\n"), "{}", page.0);
    assert_eq!(read(&page.0)[0].1["site"], hostile);
}

#[test]
fn the_same_report_is_the_same_text_and_a_broken_configuration_is_told() {
    let holdings = full();
    let report = || report(Ok(&config("token")), &holdings, MADE);
    assert_eq!(text(&report(), None), text(&report(), None));
    let mut unread = report();
    unread.could_not_read("the configuration".to_owned());
    assert_eq!(value(&read(&text(&unread, None)), "robocred_report_complete", &[]), Some(0.0));
}

#[test]
fn a_thousand_robots_fit_into_the_room_that_was_made() {
    let robots: Vec<RobotId> =
        (0..1_000).map(|number| format!("site-{}/robot-{number}", number % 20).parse().unwrap()).collect();
    let template = record("lucidum", 1, State::Active, 365);
    let records = robots.iter().map(|robot| {
        let mut record = template.clone();
        record.id.robot = robot.clone();
        record
    });
    let holdings = Holdings {
        records: records.collect(),
        robots: robots.iter().map(|robot| row(robot, Role::Reader)).collect(),
        ..Holdings::default()
    };
    let none = crate::config::Config::from_text("/robocred.toml".as_ref(), None).unwrap();
    let report = report(Ok(&none), &holdings, datetime!(2027-01-01 0:00 UTC));
    let page = text(&report, None);
    assert_eq!(read(&page).iter().filter(|(name, ..)| name == "robocred_robot_state").count(), 1_000);
    assert!(page.len() <= 8 * 1024 + 1_280 * 1_000, "{} octets", page.len());
}
