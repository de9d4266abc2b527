//! What was looked at, one line a check, for people.

use std::io::{self, Write};

use super::{
    clean,
    json::{Check, CheckResult, Doctor, Verify},
    style::{self, paint},
};

/// Shows the checks of every robot under its name.
pub fn show_robots(body: &Verify, out: &mut dyn Write) -> io::Result<()> {
    body.robots.iter().try_for_each(|robot| show(&robot.robot, robot.ok, &robot.checks, out))
}

/// Shows the checks of the surroundings.
pub fn show_doctor(body: &Doctor, out: &mut dyn Write) -> io::Result<()> {
    show("surroundings", body.ok, &body.checks, out)
}

fn show(about: &str, ok: bool, checks: &[Check], out: &mut dyn Write) -> io::Result<()> {
    let verdict = if ok { paint(style::GOOD, "ok") } else { paint(style::BAD, "failed") };
    writeln!(out, "{}: {verdict}", paint(style::BOLD, clean::line(about)))?;
    for check in checks {
        let (color, word) = match check.result {
            CheckResult::Pass => (style::GOOD, "pass"),
            CheckResult::Warn => (style::FAIR, "warn"),
            CheckResult::Fail => (style::BAD, "fail"),
            CheckResult::Skip => (style::DIM, "skip"),
            CheckResult::Unknown => (style::DIM, "unknown"),
        };
        let millis = check.millis.map_or_else(String::new, |millis| format!("{millis} ms"));
        let detail = clean::line(check.detail.as_deref().unwrap_or_default());
        let line = format!("{:<12} {millis:>9}  {detail}", clean::line(&check.name));
        writeln!(out, "  {} {}", paint(color, format_args!("{word:<7}")), line.trim_end())?;
        if let Some(hint) = &check.hint {
            writeln!(out, "          hint: {}", clean::line(hint))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{json::RobotChecks, shown};

    #[test]
    fn a_line_a_check_and_its_hint_below() {
        let check = |name: &str, result, millis, detail: Option<&str>, hint: Option<&str>| Check {
            name: name.into(),
            result,
            millis,
            detail: detail.map(Into::into),
            hint: hint.map(Into::into),
        };
        let body = Verify {
            robots: vec![RobotChecks {
                robot: "plant-a/lucidum".into(),
                ok: false,
                checks: vec![
                    check("config", CheckResult::Pass, Some(0), None, None),
                    check("connect", CheckResult::Fail, Some(5003), Some("no\u{1b}answer"), Some("is it on?")),
                    check("tls", CheckResult::Skip, None, None, None),
                ],
            }],
            warnings: Vec::new(),
        };
        assert_eq!(
            shown(|out| show_robots(&body, out)),
            "\
plant-a/lucidum: failed
  pass    config            0 ms
  fail    connect        5003 ms  no\u{fffd}answer
          hint: is it on?
  skip    tls
"
        );
    }
}
