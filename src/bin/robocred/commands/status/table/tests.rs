//! The table on hand-made robots: what is shown, and what narrow terminals go without.

use time::macros::datetime;

use super::*;
use robocred::{
    document::Time,
    status::document::{Attention, Leftover, Previous},
};

use crate::output::shown;

const NOW: OffsetDateTime = datetime!(2026-05-04 12:00 UTC);

pub fn robot() -> RobotStatus {
    RobotStatus {
        robot: "plant-a/lucidum".into(),
        site: "plant-a".into(),
        name: "lucidum".into(),
        role: "reader".into(),
        state: RobotState::Active,
        generation: Some(2),
        registered_name: Some("lucidum-g2".into()),
        remote_id: None,
        fingerprint_sha256: None,
        spki_sha256: None,
        serial: None,
        key_type: Some("rsa-2048".into()),
        not_before: Some(Time(datetime!(2026-01-01 0:00 UTC))),
        not_after: Some(Time(datetime!(2026-12-31 23:59:59 UTC))),
        days_left: Some(241),
        due_at: Some(Time(datetime!(2026-08-20 0:00 UTC))),
        due: false,
        attention: vec![],
        store: Some("sealed".into()),
        previous: vec![],
        leftovers: vec![],
        reads_with_key: false,
    }
}

fn table(robots: Vec<RobotStatus>, columns: Option<usize>) -> String {
    let status = Status {
        config: Some("/etc/robocred/robocred.toml".into()),
        state_dir: Some("/var/lib/robocred".into()),
        warnings: vec![],
        robots,
        api_keys: vec![],
        forecast: None,
    };
    shown(|out| show(&status, Look { at: NOW, columns }, out))
}

#[test]
fn an_empty_inventory_still_says_where_it_looked() {
    assert_eq!(table(vec![], None), "no robots\n\nconfig  /etc/robocred/robocred.toml\nstate   /var/lib/robocred\n");
}

#[test]
fn one_line_a_robot_and_what_wants_attention_below() {
    let mut troubled = robot();
    troubled.state = RobotState::NeedsPerson;
    troubled.attention = vec![Attention {
        code: "token-needed".into(),
        message: "a support token will be needed".into(),
        hint: Some("ask the vendor".into()),
        since: None,
    }];
    troubled.previous = vec![Previous {
        generation: 1,
        state: "previous".into(),
        registered_name: "lucidum".into(),
        fingerprint_sha256: None,
        not_after: None,
        retire_after: Some(Time(datetime!(2026-02-01 0:00 UTC))),
    }];
    troubled.leftovers = vec![Leftover {
        registered_name: "old\u{1b}[2J".into(),
        generation: 1,
        fingerprint_sha256: None,
        reason: "no removal offered".into(),
    }];
    assert_eq!(
        table(vec![troubled], None),
        "\
ROBOT            STATE         GEN  DAYS LEFT  DUE         ATTENTION
plant-a/lucidum  needs-person    2        241  2026-08-20  token-needed

plant-a/lucidum
  token-needed: a support token will be needed
    hint: ask the vendor
  generation 1 (lucidum) is still accepted; to be retired after 2026-02-01
  left on the appliance, for a person to remove: old\u{fffd}[2J (generation 1): no removal offered

config  /etc/robocred/robocred.toml
state   /var/lib/robocred
"
    );
}

#[test]
fn the_bar_is_the_lifetime_from_left_to_right() {
    #[track_caller]
    fn check(now: OffsetDateTime, retire_after: Option<OffsetDateTime>, expected: &str) {
        let beside = Previous {
            generation: 1,
            state: "previous".into(),
            registered_name: "lucidum".into(),
            fingerprint_sha256: None,
            not_after: None,
            retire_after: retire_after.map(Time),
        };
        assert_eq!(bar(&RobotStatus { previous: vec![beside], ..robot() }, now), expected);
    }
    check(datetime!(2026-01-01 0:00 UTC), None, "████████████┃▒▒▒▒▒▒▒");
    check(datetime!(2026-05-04 0:00 UTC), None, "······██████┃▒▒▒▒▒▒▒");
    check(datetime!(2026-01-02 0:00 UTC), Some(datetime!(2026-02-20 0:00 UTC)), "▄▄▄█████████┃▒▒▒▒▒▒▒");
    check(datetime!(2026-05-04 0:00 UTC), Some(datetime!(2026-02-20 0:00 UTC)), "······██████┃▒▒▒▒▒▒▒");
    check(datetime!(2026-10-15 0:00 UTC), None, "············┃··▒▒▒▒▒");
    check(datetime!(2026-12-31 0:00 UTC), None, "············┃······▒");
    check(datetime!(2027-01-01 0:00 UTC), None, "············┃·······");
    check(datetime!(2025-01-01 0:00 UTC), None, "████████████┃▒▒▒▒▒▒▒");
    assert_eq!(bar(&RobotStatus { due_at: None, ..robot() }, NOW), "");
    // Made elsewhere, and due from before its first second on.
    let short = RobotStatus { due_at: Some(Time(datetime!(2025-12-01 0:00 UTC))), ..robot() };
    assert_eq!(bar(&short, datetime!(2026-07-02 0:00 UTC)), "·········▒▒▒▒▒▒▒▒▒▒▒");
}

#[test]
fn a_narrow_terminal_goes_without_what_is_told_below() {
    #[track_caller]
    fn check(found: &(String, usize, bool), headings: &str, columns: usize, legend: bool) {
        assert!(found.0 == headings && found.1 <= columns && found.2 == legend, "{found:?}");
    }
    let headings = |columns| {
        let troubled = Attention { code: "token-needed".into(), message: "m".into(), hint: None, since: None };
        let text = table(vec![RobotStatus { attention: vec![troubled], ..robot() }], columns);
        let width = text.lines().take(2).map(|line| line.chars().count()).max().unwrap();
        let headings = text.lines().next().unwrap().split("  ").map(str::trim).filter(|word| !word.is_empty());
        (headings.map(str::to_owned).collect::<Vec<_>>().join(","), width, text.contains(LEGEND))
    };
    check(&headings(None), "ROBOT,STATE,GEN,DAYS LEFT,DUE,ATTENTION", usize::MAX, false);
    check(&headings(Some(120)), "ROBOT,STATE,GEN,DAYS LEFT,LIFETIME,DUE,ATTENTION", 120, true);
    check(&headings(Some(84)), "ROBOT,STATE,DAYS LEFT,LIFETIME,DUE,ATTENTION", 84, true);
    check(&headings(Some(80)), "ROBOT,STATE,GEN,DAYS LEFT,DUE,ATTENTION", 80, false);
    check(&headings(Some(62)), "ROBOT,STATE,DAYS LEFT,DUE,ATTENTION", 62, false);
    check(&headings(Some(50)), "ROBOT,STATE,DAYS LEFT,DUE", 50, false);
    check(&headings(Some(40)), "ROBOT,STATE,DAYS LEFT", 40, false);
    check(&headings(Some(10)), "ROBOT,STATE,DAYS LEFT", usize::MAX, false);
}

#[test]
fn what_lies_ahead_in_one_sentence() {
    #[track_caller]
    fn check(days: i64, due: usize, tokens: usize, expected: &str) {
        let names = |count| (1..=count).map(|number| format!("a/r{number}")).collect();
        assert_eq!(ahead(&Forecast { days, due: names(due), tokens: names(tokens), api_keys: Vec::new() }), expected);
    }
    check(30, 0, 0, "within 30 days no robot is due");
    check(1, 1, 0, "within 1 day 1 robot is due: a/r1");
    check(30, 1, 1, "within 30 days 1 robot is due, and needs a support token: a/r1");
    check(30, 2, 0, "within 30 days 2 robots are due: a/r1, a/r2");
    check(30, 2, 2, "within 30 days 2 robots are due, and each needs a support token: a/r1, a/r2");
    check(30, 4, 1, "within 30 days 4 robots are due, and this one needs a support token: a/r1");
    check(30, 4, 2, "within 30 days 4 robots are due, and these 2 need a support token: a/r1, a/r2");
    let many = "a/r1, a/r2, a/r3, a/r4, a/r5, a/r6, a/r7, a/r8 and 12 more";
    check(90, 20, 0, &format!("within 90 days 20 robots are due: {many}"));
    let keys = |sites: &[&str]| {
        let api_keys = sites.iter().map(|&site| site.to_owned()).collect();
        ahead(&Forecast { days: 30, due: vec![], tokens: vec![], api_keys })
    };
    assert_eq!(keys(&["a"]), "within 30 days no robot is due; the API key of a ends");
    assert_eq!(keys(&["a", "b"]), "within 30 days no robot is due; the API keys of 2 sites end: a, b");
}
