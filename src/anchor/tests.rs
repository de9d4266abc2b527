//! The text and the comparison, in tables.

use super::*;

fn hash(digit: char) -> String {
    digit.to_string().repeat(64)
}

fn anchor(machine: Option<&str>, seq: i64, robots: &[(&str, u32)]) -> Anchor {
    let robot = |(id, generation): &(&str, u32)| {
        let id: RobotId = id.parse().unwrap();
        (id.clone(), Highest { generation: *generation, base_name: id.robot })
    };
    Anchor {
        store_id: "5709e".to_owned(),
        machine: machine.map(str::to_owned),
        head: Head { seq, hash: hash('a') },
        highest: robots.iter().map(robot).collect(),
    }
}

#[test]
fn an_anchor_is_read_back_from_its_text() {
    let mut renamed = anchor(Some("m"), 12, &[("plant-a/lucidum", 3), ("plant-b/x", 0)]);
    for highest in renamed.highest.values_mut() {
        highest.base_name = "other".parse().unwrap();
    }
    for anchor in [anchor(None, 0, &[]), anchor(Some("m"), 12, &[("plant-a/lucidum", 3)]), renamed] {
        assert_eq!(Anchor::parse(anchor.print().as_bytes()), Some(anchor));
    }
}

#[test]
fn texts_that_are_no_anchor() {
    let good = anchor(Some("m"), 12, &[("plant-a/lucidum", 3)]).print();
    for (from, to) in [
        ("{", "["),
        (r#""version":1"#, r#""version":2"#),
        (r#""seq":12"#, r#""seq":-12"#),
        ("aaaa", "aaa"),
        ("plant-a/lucidum", "plant-a"),
        (":3}", ":100001}"),
        (r#""seq""#, r#""sequence""#),
    ] {
        let text = good.replacen(from, to, 1);
        assert_ne!(text, good);
        assert_eq!(Anchor::parse(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn what_is_noticed() {
    let present = anchor(Some("here"), 12, &[("p/a", 3), ("p/b", 1)]);
    let (own, other) = (hash('a'), hash('b'));
    let check = |kept: Option<Anchor>, hash: Option<&str>, expected: Standing| {
        assert_eq!(compare(&present, kept.as_ref(), hash), expected, "{kept:?}");
    };
    let own = Some(own.as_str());
    let behind = |broken| Standing::Behind(Lag::Audit(broken));
    let generation =
        |robot: &str, kept, held| Standing::Behind(Lag::Generation { robot: robot.parse().unwrap(), kept, held });
    check(None, None, Standing::Missing);
    check(Some(present.clone()), own, Standing::Intact);
    check(Some(anchor(Some("here"), 10, &[("p/a", 2)])), own, Standing::Intact);
    check(Some(anchor(Some("here"), 0, &[])), None, Standing::Intact);
    check(Some(anchor(None, 12, &[])), own, Standing::Intact);
    check(Some(anchor(Some("here"), 13, &[])), None, behind(Broken::Cut { kept: 13, last: 12 }));
    check(Some(anchor(Some("here"), 11, &[])), Some(&other), behind(Broken::Replaced { seq: 11 }));
    check(Some(anchor(Some("here"), 11, &[])), None, behind(Broken::Replaced { seq: 11 }));
    check(Some(anchor(Some("here"), 12, &[("p/a", 4)])), own, generation("p/a", 4, 3));
    check(Some(anchor(Some("here"), 12, &[("p/c", 1)])), own, generation("p/c", 1, 0));
    check(Some(anchor(Some("there"), 12, &[("p/a", 3)])), own, Standing::OtherMachine);
    // Older counts more: a person has more to decide.
    check(Some(anchor(Some("there"), 13, &[])), None, behind(Broken::Cut { kept: 13, last: 12 }));
    let nowhere = Anchor { machine: None, ..present.clone() };
    assert_eq!(compare(&nowhere, Some(&present), own), Standing::Intact);
}
