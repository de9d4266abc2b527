//! What was done to robots, and what would be done, for people.

use std::io::{self, Write};

use robocred::{credential::Record, site::RobotId};

use super::{
    clean,
    json::{Action, Plan, Results, RobotResult, Time},
    style::{self, paint},
};

/// Shows one paragraph for each robot. Failed robots are left out: their errors
/// go to standard error.
pub fn show(body: &Results, out: &mut dyn Write) -> io::Result<()> {
    body.results.iter().filter(|result| result.action != Action::Failed).try_for_each(|result| show_one(result, out))
}

fn show_one(result: &RobotResult, out: &mut dyn Write) -> io::Result<()> {
    let action = match result.action {
        Action::Provisioned => "provisioned",
        Action::Rotated => "rotated",
        Action::RolledBack => "rolled back",
        Action::Retired => "retired",
        Action::Imported => "imported",
        Action::Resumed => "resumed",
        Action::Unchanged => "unchanged",
        Action::Failed => "failed",
    };
    writeln!(out, "{}: {}", paint(style::BOLD, clean::line(&result.robot)), paint(style::GOOD, action))?;
    let mut field = |name: &str, value: &str| writeln!(out, "  {name:<14} {}", clean::line(value));
    if let Some(generation) = result.generation {
        field("generation", &generation.to_string())?;
    }
    if let Some(name) = &result.registered_name {
        field("registered as", name)?;
    }
    if let Some(fingerprint) = &result.fingerprint_sha256 {
        field("fingerprint", fingerprint)?;
    }
    if let Some(end) = result.not_after {
        field("valid until", &end.to_string())?;
    }
    for file in result.exports.iter().flat_map(|export| &export.files) {
        field("file", &file.display().to_string())?;
    }
    Ok(())
}

/// A robot's result, as far as its record says.
pub fn about(robot: &RobotId, action: Action, record: Option<&Record>) -> RobotResult {
    let certificate = record.and_then(|record| record.certificate.as_ref());
    RobotResult {
        robot: robot.to_string(),
        action,
        generation: record.map(|record| record.id.generation.number()),
        registered_name: record.map(|record| record.registered_name.to_string()),
        fingerprint_sha256: certificate.map(|certificate| certificate.fingerprint().to_string()),
        not_after: certificate.map(|certificate| Time(certificate.validity().not_after)),
        exports: Vec::new(),
        error: None,
    }
}

/// Shows the steps of `--dry-run`, numbered for each robot.
pub fn show_plan(body: &Plan, out: &mut dyn Write) -> io::Result<()> {
    for robot in &body.plan {
        writeln!(out, "{}:", paint(style::BOLD, clean::line(&robot.robot)))?;
        if robot.steps.is_empty() {
            writeln!(out, "  nothing to do")?;
        }
        for (number, step) in robot.steps.iter().enumerate() {
            writeln!(out, "  {}. {}", number + 1, clean::line(step))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::output::{
        json::{Export, RobotPlan, Time},
        shown,
    };

    #[test]
    fn what_was_done() {
        let done = RobotResult {
            robot: "plant-a/lucidum".into(),
            action: Action::Provisioned,
            generation: Some(1),
            registered_name: Some("lucidum".into()),
            fingerprint_sha256: Some("ab".into()),
            not_after: Some(Time(datetime!(2027-01-01 0:00 UTC))),
            exports: vec![Export { dir: "/srv".into(), files: vec!["/srv/key.pem".into()] }],
            error: None,
        };
        let failed = RobotResult { robot: "plant-b/lucidum".into(), action: Action::Failed, ..done.clone() };
        assert_eq!(
            shown(|out| show(&Results { results: vec![done, failed], form: None, warnings: Vec::new() }, out)),
            "\
plant-a/lucidum: provisioned
  generation     1
  registered as  lucidum
  fingerprint    ab
  valid until    2027-01-01T00:00:00Z
  file           /srv/key.pem
"
        );
    }

    #[test]
    fn what_would_be_done() {
        let plan = Plan {
            plan: vec![
                RobotPlan { robot: "a/b".into(), steps: vec!["make".into(), "register".into()] },
                RobotPlan { robot: "a/c".into(), steps: vec![] },
            ],
        };
        assert_eq!(shown(|out| show_plan(&plan, out)), "a/b:\n  1. make\n  2. register\na/c:\n  nothing to do\n");
    }
}
