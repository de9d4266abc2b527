//! Everybody who tells how things are tells the same: `/status.json`, `status`,
//! `check`, `/metrics` and the page.
//!
//! They cannot be asked at one moment. So `/status.json` is asked before and
//! after the others: where it says the same both times, nothing happened in
//! between, neither to a robot nor to a day that is counted, and all the others
//! must say just that. Otherwise it is tried again.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{daemon::Daemon, plant::Plant};

/// The document that all agree on; `None` if things changed meanwhile.
pub fn sample(plant: &Plant, daemon: &Daemon, again: &mut usize) -> Option<Value> {
    let before = status(daemon);
    let command = plant.world.run(&["--json", "status"]).expect(0).json();
    let check = plant.world.run(&["--json", "check", "--warning", "1m", "--critical", "1m"]);
    let metrics = body(daemon, "/metrics");
    let page = body(daemon, "/");
    let after = status(daemon);
    nobody_has_expired(&after);
    if before["robots"] != after["robots"] || before["warnings"] != after["warnings"] {
        *again += 1;
        return None;
    }
    assert_eq!(command["robots"], before["robots"], "`status` and /status.json");
    assert_eq!(check.json()["robots"], before["robots"], "`check` and /status.json");
    let robots = before["robots"].as_array().unwrap();
    let health = check.json()["status"].as_str().unwrap().to_owned();
    if let Some(expected) = health_of(robots, &metrics) {
        assert_eq!(health, expected, "`check` of {before:#}\n{metrics}");
        let code = ["ok", "warning", "critical", "unknown"].iter().position(|word| *word == health).unwrap();
        assert_eq!(check.code(), i32::try_from(code).ok(), "{check:#?}");
    }
    assert_eq!(of_metrics(&metrics), expected_of_metrics(robots), "/metrics and /status.json\n{metrics}");
    the_page_says(&page, robots);
    Some(before)
}

fn status(daemon: &Daemon) -> Value {
    serde_json::from_str(&body(daemon, "/status.json")).unwrap()
}

fn body(daemon: &Daemon, path: &str) -> String {
    let answer = daemon.get(path).unwrap_or_else(|| panic!("no answer for {path}"));
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer.body
}

/// Nothing that happens here lasts so long that a robot may die of it.
pub fn nobody_has_expired(status: &Value) {
    for robot in status["robots"].as_array().unwrap() {
        assert!(robot["state"] != "expired" && robot["state"] != "absent", "{robot:#}");
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn codes(robot: &Value) -> Vec<String> {
    robot["attention"].as_array().unwrap().iter().map(|raised| text(&raised["code"])).collect()
}

fn seconds(time: &Value) -> String {
    let time = OffsetDateTime::parse(time.as_str().unwrap(), &Rfc3339).unwrap();
    time.unix_timestamp().to_string()
}

/// The word of `check`, made once more; `None` in the minute in which it may be either.
fn health_of(robots: &[Value], metrics: &str) -> Option<&'static str> {
    let at = metrics.lines().find_map(|line| line.strip_prefix("robocred_report_timestamp_seconds "))?;
    let at: i64 = at.parse().unwrap();
    let soon = |time: &Value| time.is_string() && (0..3600).contains(&(seconds(time).parse::<i64>().unwrap() - at));
    if robots.iter().any(|robot| soon(&robot["due_at"]) || soon(&robot["not_after"])) {
        return None;
    }
    let failing = metrics
        .lines()
        .filter(|line| line.starts_with("robocred_task_consecutive_failures{"))
        .any(|line| !line.ends_with(" 0"));
    let critical = |robot: &Value| robot["state"] == "expired" || codes(robot).iter().any(|code| code == "frozen");
    let warning = |robot: &Value| robot["state"] != "active" || robot["due"] == true || !codes(robot).is_empty();
    Some(match robots {
        robots if robots.iter().any(critical) => "critical",
        robots if failing || robots.iter().any(warning) => "warning",
        _ => "ok",
    })
}

/// What a metric says of each robot: `(family, site/robot)` and each further label or value.
type Told = BTreeMap<(String, String), BTreeSet<String>>;

const FAMILIES: [(&str, Option<&str>); 5] = [
    ("robocred_robot_state", Some("state")),
    ("robocred_attention", Some("code")),
    ("robocred_leftovers", None),
    ("robocred_certificate_expiration_timestamp_seconds", None),
    ("robocred_certificate_renewal_timestamp_seconds", None),
];

fn of_metrics(metrics: &str) -> Told {
    let mut told = Told::new();
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let Some((family, rest)) = line.split_once('{') else { continue };
        let Some((_, label)) = FAMILIES.iter().find(|(known, _)| *known == family) else { continue };
        let (labels, value) = rest.rsplit_once("} ").unwrap();
        let labels: BTreeMap<_, _> = labels.split(',').map(|label| label.split_once('=').unwrap()).collect();
        let of = |label: &str| labels[label].trim_matches('"').to_owned();
        let said = label.map_or_else(|| value.to_owned(), of);
        told.entry((family.to_owned(), format!("{}/{}", of("site"), of("robot")))).or_default().insert(said);
    }
    told
}

fn expected_of_metrics(robots: &[Value]) -> Told {
    let mut told = Told::new();
    for robot in robots {
        let leftovers = robot["leftovers"].as_array().unwrap().len().to_string();
        let mut said = vec![vec![text(&robot["state"])], codes(robot), vec![leftovers]];
        if robot["due_at"].is_string() {
            said.extend([vec![seconds(&robot["not_after"])], vec![seconds(&robot["due_at"])]]);
        }
        for ((family, _), said) in FAMILIES.into_iter().zip(said) {
            if !said.is_empty() {
                told.insert((family.to_owned(), text(&robot["robot"])), said.into_iter().collect());
            }
        }
    }
    told
}

/// The page names the robots in the order of the report, each with its word, its days and what asks for a person.
fn the_page_says(page: &str, robots: &[Value]) {
    let entries: Vec<&str> =
        page.split("<li id=\"r").skip(1).map(|entry| entry.split("</li>").next().unwrap()).collect();
    assert_eq!(entries.len(), robots.len(), "robots on the page");
    for (entry, robot) in entries.iter().zip(robots) {
        let days = robot["days_left"].as_i64();
        let left = days.map(|days| match days {
            0 => "less than a day left".to_owned(),
            1 => "1 day left".to_owned(),
            days => format!("{days} days left"),
        });
        let mut said = vec![
            text(&robot["name"]),
            text(&robot["state"]),
            format!("generation {} ({})", robot["generation"], text(&robot["registered_name"])),
        ];
        said.extend(left);
        if !codes(robot).is_empty() {
            said.push(format!("needs a look: {}", codes(robot).join(", ")));
        }
        let words = words(entry);
        for said in said {
            assert!(words.contains(&said), "the page does not say {said:?} of {robot:#}: {words}");
        }
        assert_eq!(words.contains("needs a look"), !codes(robot).is_empty(), "{words}");
        assert_eq!(words.contains("due since"), robot["due"] == true, "{words}");
    }
}

/// What a reader reads: no tags.
fn words(html: &str) -> String {
    html.split('<').map(|part| part.split_once('>').map_or(part, |(_, words)| words)).collect()
}
