//! `status`: every robot at a glance.

mod notes;

use std::io::{self, IsTerminal as _, Write};

use clap::{Args, builder::styling::Style};
use robocred::{
    config::Config,
    credential::Record,
    inventory::{self, Inventory},
    status::{self, Holdings, Line, Standing},
};
use time::OffsetDateTime;

use crate::{
    Outcome,
    error::CommandError,
    invocation::Invocation,
    opened::{now, paths},
    output::{
        clean,
        json::{Attention, Leftover, Previous, RobotState, RobotStatus, Status, Time},
        style::{self, paint},
        table,
    },
};

/// Show every robot: state, days left, when due, what needs a person
#[derive(Debug, Args)]
pub struct StatusArgs {}

pub fn run(invocation: &Invocation, _args: &StatusArgs) -> Outcome {
    let paths = paths(invocation)?;
    let config = Config::load(&paths);
    let holdings = super::block_on(async {
        match Inventory::open_read_only(&paths.state_dir).await? {
            Some(inventory) => Ok::<_, CommandError>(Holdings::read(&inventory).await?),
            None => Ok(Holdings::default()),
        }
    })??;
    let now = now();
    let report = status::report(config.as_ref(), &holdings, now);
    let body = Status {
        config: Some(paths.config),
        state_dir: Some(paths.state_dir),
        warnings: report.warnings,
        robots: report.lines.iter().map(|line| robot(line, now)).collect(),
    };
    invocation.output.result(&body, show)?;
    Ok(None)
}

fn robot(line: &Line, now: OffsetDateTime) -> RobotStatus {
    let record = line.record.as_ref();
    let certificate = record.and_then(|record| record.certificate.as_ref());
    RobotStatus {
        robot: line.id.to_string(),
        site: line.id.site.to_string(),
        name: line.id.robot.to_string(),
        role: line.role.to_string(),
        state: match line.standing {
            Standing::Expired => RobotState::Expired,
            Standing::NeedsPerson => RobotState::NeedsPerson,
            Standing::Pending => RobotState::Pending,
            Standing::Active => RobotState::Active,
            Standing::Absent => RobotState::Absent,
        },
        generation: record.map(|record| record.id.generation.number()),
        registered_name: record.map(|record| record.registered_name.to_string()),
        remote_id: record.and_then(|record| record.remote_id.clone()),
        fingerprint_sha256: certificate.map(|certificate| certificate.fingerprint().to_string()),
        spki_sha256: certificate.map(|certificate| certificate.spki_pin().to_base64()),
        serial: certificate.map(|certificate| certificate.serial().to_owned()),
        key_type: record.map(|record| record.key_algorithm.to_string()),
        not_before: certificate.map(|certificate| Time(certificate.validity().not_before)),
        not_after: certificate.map(|certificate| Time(certificate.validity().not_after)),
        days_left: line.window.map(|window| window.days_left(now)),
        due_at: line.window.map(|window| Time(window.due_at)),
        due: line.window.is_some_and(|window| window.is_due(now)),
        attention: line.attention.iter().map(attention).collect(),
        store: line.store.map(|store| store.to_string()),
        previous: line.previous.iter().map(previous).collect(),
        leftovers: line.leftovers.iter().map(leftover).collect(),
    }
}

fn attention(attention: &inventory::Attention) -> Attention {
    Attention {
        code: attention.code.to_string(),
        message: attention.message.clone(),
        hint: attention.hint.clone(),
        since: Some(Time(attention.since)),
    }
}

fn previous(record: &Record) -> Previous {
    let certificate = record.certificate.as_ref();
    Previous {
        generation: record.id.generation.number(),
        state: record.state.to_string(),
        registered_name: record.registered_name.to_string(),
        fingerprint_sha256: certificate.map(|certificate| certificate.fingerprint().to_string()),
        not_after: certificate.map(|certificate| Time(certificate.validity().not_after)),
        retire_after: record.retire_after.map(Time),
    }
}

fn leftover(leftover: &inventory::Leftover) -> Leftover {
    Leftover {
        registered_name: leftover.registered_name.to_string(),
        generation: leftover.id.generation.number(),
        fingerprint_sha256: leftover.fingerprint.map(|fingerprint| fingerprint.to_string()),
        reason: leftover.reason.clone(),
    }
}

/// Shows the table, then what wants attention, then the paths. The lifetime bar is for terminals.
pub fn show(status: &Status, out: &mut dyn Write) -> io::Result<()> {
    show_with(status, io::stdout().is_terminal(), out)
}

fn show_with(status: &Status, bars: bool, out: &mut dyn Write) -> io::Result<()> {
    if status.robots.is_empty() {
        writeln!(out, "no robots")?;
    } else {
        let mut headings = vec!["ROBOT", "STATE", "GEN", "DAYS LEFT", "DUE", "ATTENTION"];
        if bars {
            headings.insert(4, "LIFETIME");
        }
        let rows = status.robots.iter().map(|robot| {
            let mut cells = vec![
                table::plain(&robot.robot),
                table::painted(state_style(robot), state_word(robot.state)),
                table::number(robot.generation.map_or("-".to_owned(), |generation| generation.to_string())),
                table::number(robot.days_left.map_or("-".to_owned(), |days| days.to_string())),
                table::plain(match robot.due_at {
                    _ if robot.due => "now".to_owned(),
                    Some(due) => due.day(),
                    None => "-".to_owned(),
                }),
                table::plain(
                    robot.attention.iter().map(|attention| attention.code.as_str()).collect::<Vec<_>>().join(" "),
                ),
            ];
            if bars {
                cells.insert(4, table::painted(state_style(robot), bar(robot)));
            }
            cells
        });
        out.write_all(table::render(&headings, rows).as_bytes())?;
    }
    for robot in &status.robots {
        notes::show(robot, out)?;
    }
    for warning in &status.warnings {
        writeln!(out, "\n{} {}", paint(style::FAIR, "warning:"), clean::line(warning))?;
    }
    writeln!(out)?;
    for (what, path) in [("config", &status.config), ("state ", &status.state_dir)] {
        let path = path.as_ref().map_or("-".into(), |path| path.display().to_string());
        writeln!(out, "{}", paint(style::DIM, format!("{what}  {}", clean::line(&path))))?;
    }
    Ok(())
}

fn state_word(state: RobotState) -> &'static str {
    match state {
        RobotState::Expired => "expired",
        RobotState::NeedsPerson => "needs-person",
        RobotState::Pending => "pending",
        RobotState::Active => "active",
        RobotState::Absent => "absent",
    }
}

fn state_style(robot: &RobotStatus) -> Style {
    match robot.state {
        RobotState::Active if robot.attention.is_empty() && !robot.due => style::GOOD,
        RobotState::Active | RobotState::Pending => style::FAIR,
        RobotState::Expired | RobotState::NeedsPerson => style::BAD,
        RobotState::Absent => style::DIM,
    }
}

/// What is left of the lifetime, in tenths.
fn bar(robot: &RobotStatus) -> String {
    const WIDTH: i64 = 10;
    let (Some(begin), Some(end), Some(left)) = (robot.not_before, robot.not_after, robot.days_left) else {
        return String::new();
    };
    let whole = (end.0 - begin.0).whole_days().max(1);
    let left = usize::try_from((left.clamp(0, whole) * WIDTH + whole - 1) / whole).unwrap_or(0);
    "█".repeat(left) + &"░".repeat(10 - left.min(10))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::output::{
        json::{Attention, Leftover, Previous, Time},
        shown,
    };

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
        }
    }

    fn table(robots: Vec<RobotStatus>, bars: bool) -> String {
        let status = Status {
            config: Some("/etc/robocred/robocred.toml".into()),
            state_dir: Some("/var/lib/robocred".into()),
            warnings: vec![],
            robots,
        };
        shown(|out| show_with(&status, bars, out))
    }

    #[test]
    fn an_empty_inventory_still_says_where_it_looked() {
        assert_eq!(
            table(vec![], false),
            "no robots\n\nconfig  /etc/robocred/robocred.toml\nstate   /var/lib/robocred\n"
        );
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
            table(vec![troubled], false),
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
    fn the_bar_is_what_is_left() {
        let check = |days_left: Option<i64>, expected: &str| {
            assert_eq!(bar(&RobotStatus { days_left, ..robot() }), expected, "{days_left:?}");
        };
        check(Some(364), "██████████");
        check(Some(182), "█████░░░░░");
        check(Some(1), "█░░░░░░░░░");
        check(Some(0), "░░░░░░░░░░");
        check(Some(-3), "░░░░░░░░░░");
        check(None, "");
        assert!(table(vec![robot()], true).contains("███████░░░"));
        assert!(!table(vec![robot()], false).contains('█'));
    }
}
