//! When somebody is told, and the words.

use time::macros::datetime;

use super::*;

const END: OffsetDateTime = datetime!(2027-11-22 09:59:59 UTC);

/// A credential that was due `due` days before [`END`].
fn window(due: i64) -> RenewalWindow {
    RenewalWindow { due_at: END - Duration::days(due), not_after: END, floor: Duration::DAY }
}

#[test]
fn the_stages_on_the_way_to_the_end() {
    let check = |due: i64, token: bool, left: Duration, expected: Option<Stage>| {
        assert_eq!(Stage::of(window(due), token, END - left), expected, "due {due} days before, {left} left");
    };
    let days = |days| Some(Stage::Days(std::cmp::Reverse(days)));
    let second = Duration::SECOND;
    check(122, false, Duration::days(150), None);
    check(122, true, Duration::days(150), Some(Stage::Token));
    check(122, true, Duration::days(30) + second, Some(Stage::Token));
    check(122, false, Duration::days(30) + second, None);
    for token in [false, true] {
        check(122, token, Duration::days(30), days(30));
        check(122, token, Duration::days(14) + second, days(30));
        check(122, token, Duration::days(14), days(14));
        check(122, token, Duration::days(7), days(7));
        check(122, token, Duration::days(1), days(1));
        check(122, token, Duration::ZERO, days(1));
        check(122, token, -second, Some(Stage::Expired));
    }
    // A short life: nothing was left undone 30 and 14 days before its end, for it was not due.
    check(10, true, Duration::days(29), Some(Stage::Token));
    check(10, false, Duration::days(9), None);
    check(10, false, Duration::days(7), days(7));
    check(0, false, Duration::hours(3), None);
}

#[test]
fn a_later_stage_is_greater_and_every_stage_can_be_read_back() {
    let days = DAYS.map(|days| Stage::Days(std::cmp::Reverse(days)));
    let all: Vec<Stage> = [Stage::Token].into_iter().chain(days).chain([Stage::Expired]).collect();
    assert!(all.is_sorted_by(|one, other| one < other), "{all:?}");
    for stage in all {
        assert_eq!(Stage::read(&stage.word()), Some(stage));
    }
    assert_eq!(Stage::read("soon"), None);
}

#[test]
fn every_code_says_what_to_do() {
    let id: RobotId = "plant-a/lucidum".parse().unwrap();
    let check = |task, code: &str, does: &str| {
        let (hint, why) = words(&id, task, code);
        assert!(hint.contains(does) && !why.is_empty(), "{code}: {hint}: {why}");
    };
    check(Task::Rotate, "failed", "run `robocred rotate plant-a/lucidum`");
    check(Task::Ingest, "failed", "run `robocred ingest plant-a/lucidum`");
    check(Task::Rotate, "refused", "robocred verify plant-a/lucidum");
    check(Task::Rotate, "unreachable", "robocred verify plant-a/lucidum");
    check(Task::Ingest, "untrusted", "robocred trust plant-a --show");
    check(Task::Rotate, "store", "robocred doctor");
    check(Task::Rotate, "proof", "robocred verify plant-a/lucidum");
    check(Task::Rotate, "hook", "robocred hook test plant-a/lucidum deploy");
    check(Task::Rotate, "expired", "robocred rotate plant-a/lucidum");
    check(Task::Rotate, "person", "robocred status");
    check(Task::Ingest, "config", "run `robocred ingest plant-a/lucidum` and mend");
    check(Task::Ingest, "crashed", "run `robocred ingest plant-a/lucidum`");
    check(Task::Rotate, "hung", "run `robocred rotate plant-a/lucidum`");
    check(Task::Rotate, "garbled", "restart the service");
    check(Task::Rotate, "no-progress", "run `robocred rotate plant-a/lucidum`");
    check(Task::Rotate, "hindered", "robocred doctor");
    check(Task::Rotate, "a word of tomorrow", "run `robocred rotate plant-a/lucidum`");
}
