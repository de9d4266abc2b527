//! What `status` says of one robot below the table, in words.

use std::io::{self, Write};

use robocred::status::document::{Previous, RobotState, RobotStatus};

use crate::output::{
    clean,
    style::{self, paint},
};

/// Shows attention, what to run, generations not yet retired, and leftovers; nothing where all is well.
pub fn show(robot: &RobotStatus, out: &mut dyn Write) -> io::Result<()> {
    let advice = advice(robot);
    if robot.attention.is_empty() && robot.previous.is_empty() && robot.leftovers.is_empty() && advice.is_none() {
        return Ok(());
    }
    writeln!(out, "\n{}", paint(style::BOLD, clean::line(&robot.robot)))?;
    for attention in &robot.attention {
        let code = paint(style::FAIR, clean::line(&attention.code));
        writeln!(out, "  {code}: {}", clean::line(&attention.message))?;
        if let Some(hint) = &attention.hint {
            writeln!(out, "    hint: {}", clean::line(hint))?;
        }
    }
    if let Some(advice) = advice {
        writeln!(out, "  {}", clean::line(&advice))?;
    }
    for other in &robot.previous {
        let name = clean::line(&other.registered_name);
        writeln!(out, "  generation {} ({name}) {}", other.generation, clean::line(&stands(other, robot)))?;
    }
    for leftover in &robot.leftovers {
        writeln!(
            out,
            "  left on the appliance, for a person to remove: {} (generation {}): {}",
            clean::line(&leftover.registered_name),
            leftover.generation,
            clean::line(&leftover.reason)
        )?;
    }
    Ok(())
}

/// What to run, where no attention says it already.
fn advice(robot: &RobotStatus) -> Option<String> {
    let under_way = robot.previous.iter().any(|other| on_its_way(&other.state).is_some());
    let given_up = robot.generation.is_none() && robot.previous.iter().any(|other| other.state == "retiring");
    if !robot.attention.is_empty() || under_way || given_up {
        return None;
    }
    let name = &robot.robot;
    match robot.state {
        RobotState::Absent if robot.reads_with_key => {
            Some(format!("no credential: read with the API key of {}", robot.site))
        }
        RobotState::Pending | RobotState::Absent => {
            Some(format!("no credential works yet: run `robocred provision {name}`"))
        }
        RobotState::Expired => Some(format!("its credential has expired: run `robocred rotate {name}`")),
        RobotState::Active if robot.due => Some(format!("due for rotation: run `robocred rotate {name}`")),
        RobotState::Active | RobotState::NeedsPerson => None,
    }
}

/// Where a generation beside the one in use stands.
fn stands(other: &Previous, robot: &RobotStatus) -> String {
    let carry_on = format!("`robocred rotate {}` carries on", robot.robot);
    if let Some(how_far) = on_its_way(&other.state) {
        return format!("is on its way ({}): {how_far}; {carry_on}", other.state);
    }
    match (other.state.as_str(), other.retire_after) {
        ("previous", Some(after)) => format!("is still accepted; to be retired after {}", after.day()),
        ("previous", None) => format!("is still accepted; kept until {}", awaited(robot)),
        // The last one: nothing is left that could be rotated.
        ("retiring", _) if robot.generation.is_none() => {
            format!("is being removed; `robocred retire {} --last` carries on", robot.robot)
        }
        ("retiring", _) => format!("is being removed; {carry_on}"),
        (state, _) => format!("is {state}"),
    }
}

/// How far a generation is that is to replace the one in use; `None` for any other.
fn on_its_way(state: &str) -> Option<&'static str> {
    match state {
        "planned" => Some("its key is not made yet"),
        "keyed" => Some("its key is stored, and it is not registered"),
        "sending" => Some("whether the appliance took it is not known yet"),
        "registered" => Some("the appliance accepts it, and it is not proven yet"),
        _ => None,
    }
}

/// What has to happen to the generation in use before an earlier one may go.
fn awaited(robot: &RobotStatus) -> String {
    let successor = robot.generation.map_or_else(|| "a successor".to_owned(), |number| format!("generation {number}"));
    let raised = |code: &&&str| robot.attention.iter().any(|attention| attention.code == **code);
    match ["frozen", "deliver-by-hand", "hook-failed", "ingest-failed"].iter().find(raised) {
        Some(&"frozen") => "a person has looked at it (frozen)".to_owned(),
        Some(&"deliver-by-hand") => format!("the delivery of {successor} is confirmed (deliver-by-hand)"),
        Some(code) => format!("{successor} is delivered ({code})"),
        None => format!("{successor} is delivered"),
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use robocred::{
        document::Time,
        status::document::{Attention, Leftover},
    };

    use super::*;
    use crate::{commands::status::table::tests::robot, output::shown};

    fn other(generation: u32, state: &str, retire_after: Option<Time>) -> Previous {
        Previous {
            generation,
            state: state.into(),
            registered_name: format!("lucidum-g{generation}"),
            fingerprint_sha256: None,
            not_after: None,
            retire_after,
        }
    }

    fn raised(code: &str) -> Attention {
        Attention { code: code.into(), message: "because".into(), hint: None, since: None }
    }

    #[test]
    fn every_state_beside_the_one_in_use_has_its_words() {
        const AFTER: Time = Time(datetime!(2026-02-01 9:30 UTC));
        #[track_caller]
        fn check(state: &str, retire_after: Option<Time>, codes: &[&str], words: &str) {
            let attention = codes.iter().map(|code| raised(code)).collect();
            let robot = RobotStatus { attention, ..robot() };
            assert_eq!(stands(&other(1, state, retire_after), &robot), words);
        }
        let by_hand = "is still accepted; kept until the delivery of generation 2 is confirmed (deliver-by-hand)";
        check("previous", Some(AFTER), &[], "is still accepted; to be retired after 2026-02-01");
        check("previous", Some(AFTER), &["hook-failed"], "is still accepted; to be retired after 2026-02-01");
        check("previous", None, &[], "is still accepted; kept until generation 2 is delivered");
        check("previous", None, &["deliver-by-hand"], by_hand);
        check("previous", None, &["clock-skew", "deliver-by-hand"], by_hand);
        check(
            "previous",
            None,
            &["hook-failed"],
            "is still accepted; kept until generation 2 is delivered (hook-failed)",
        );
        check(
            "previous",
            None,
            &["ingest-failed"],
            "is still accepted; kept until generation 2 is delivered (ingest-failed)",
        );
        check(
            "previous",
            None,
            &["deliver-by-hand", "frozen"],
            "is still accepted; kept until a person has looked at it (frozen)",
        );
        check("retiring", Some(AFTER), &[], "is being removed; `robocred rotate plant-a/lucidum` carries on");
        check(
            "planned",
            None,
            &[],
            "is on its way (planned): its key is not made yet; `robocred rotate plant-a/lucidum` carries on",
        );
        check(
            "keyed",
            None,
            &["deliver-by-hand"],
            "is on its way (keyed): its key is stored, and it is not registered; `robocred rotate plant-a/lucidum` \
             carries on",
        );
        check(
            "sending",
            None,
            &[],
            "is on its way (sending): whether the appliance took it is not known yet; `robocred rotate \
             plant-a/lucidum` carries on",
        );
        check(
            "registered",
            None,
            &[],
            "is on its way (registered): the appliance accepts it, and it is not proven yet; `robocred rotate \
             plant-a/lucidum` carries on",
        );
    }

    #[test]
    fn what_to_run_where_no_attention_says_it() {
        #[track_caller]
        fn check(change: impl FnOnce(&mut RobotStatus), said: Option<&str>) {
            let mut robot = robot();
            change(&mut robot);
            assert_eq!(advice(&robot).as_deref(), said);
        }
        let provision = Some("no credential works yet: run `robocred provision plant-a/lucidum`");
        check(|_| (), None);
        check(|robot| robot.due = true, Some("due for rotation: run `robocred rotate plant-a/lucidum`"));
        check(
            |robot| (robot.state, robot.due) = (RobotState::Expired, true),
            Some("its credential has expired: run `robocred rotate plant-a/lucidum`"),
        );
        check(|robot| robot.state = RobotState::Absent, provision);
        check(|robot| robot.state = RobotState::Pending, provision);
        check(
            |robot| (robot.state, robot.reads_with_key) = (RobotState::Absent, true),
            Some("no credential: read with the API key of plant-a"),
        );
        check(|robot| (robot.due, robot.attention) = (true, vec![raised("token-needed")]), None);
        check(|robot| (robot.due, robot.previous) = (true, vec![other(3, "keyed", None)]), None);
    }

    #[test]
    fn a_rotation_in_the_middle_of_two_overlaps() {
        let robot = RobotStatus {
            generation: Some(3),
            attention: vec![raised("retire-manual")],
            previous: vec![
                other(1, "retiring", Some(Time(datetime!(2026-02-01 0:00 UTC)))),
                other(2, "previous", Some(Time(datetime!(2026-05-01 0:00 UTC)))),
                other(4, "sending", None),
            ],
            leftovers: vec![Leftover {
                registered_name: "old\u{1b}[2J".into(),
                generation: 1,
                fingerprint_sha256: None,
                reason: "no removal offered".into(),
            }],
            ..robot()
        };
        assert_eq!(
            shown(|out| show(&robot, out)),
            "
plant-a/lucidum
  retire-manual: because
  generation 1 (lucidum-g1) is being removed; `robocred rotate plant-a/lucidum` carries on
  generation 2 (lucidum-g2) is still accepted; to be retired after 2026-05-01
  generation 4 (lucidum-g4) is on its way (sending): whether the appliance took it is not known yet; \
             `robocred rotate plant-a/lucidum` carries on
  left on the appliance, for a person to remove: old\u{fffd}[2J (generation 1): no removal offered
"
        );
    }

    #[test]
    fn nothing_where_all_is_well() {
        assert_eq!(shown(|out| show(&robot(), out)), "");
    }
}
