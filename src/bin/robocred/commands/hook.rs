//! `hook`: a robot's hooks, tried out.

use std::{
    io::{self, Write},
    time::Instant,
};

use clap::{Args, Subcommand};
use robocred::{
    credential::Record,
    hook::{self, Event},
    site::RobotId,
    telling::facts,
};

use super::block_on;
use crate::{
    Outcome,
    cli::{Selector, one_of},
    error::{CommandError, Kind, library::Known as _},
    invocation::Invocation,
    opened::Opened,
    output::{
        clean,
        json::{HookTest, Plan, RobotPlan},
        results,
        style::{self, paint},
    },
};

/// Try a robot's hooks
#[derive(Debug, Args)]
pub struct HookArgs {
    #[command(subcommand)]
    pub command: HookCommand,
}

/// What to do with them.
#[derive(Debug, Subcommand)]
pub enum HookCommand {
    /// Run a hook as it is configured, with the current credential's facts, marked as a test
    Test {
        /// The robot
        #[arg(value_name = "SITE/ROBOT")]
        robot: RobotId,
        /// The event
        #[arg(value_name = "EVENT", value_parser = one_of::<Event>(Event::ALL.map(Event::as_str)))]
        event: Event,
        /// Print what would be done and do nothing
        #[arg(long)]
        dry_run: bool,
    },
}

pub fn run(invocation: &Invocation, args: &HookArgs) -> Outcome {
    let HookCommand::Test { robot: id, event, dry_run } = &args.command;
    let opened = Opened::load(invocation)?;
    opened.select(&[Selector::Robot(id.clone())])?;
    let (site, robot) = opened.config.robot(id).ok_or_else(|| none(format!("{id} is not configured")))?;
    let command = event.command(&robot.hooks).ok_or_else(|| {
        none(format!("{id} has no {event} hook")).hint(format!(
            "add `hooks.{event} = [\"/absolute/program\", \"argument\"]` to the robot in {}",
            opened.config.path.display()
        ))
    })?;
    if *dry_run {
        let steps = vec![format!("run {}", command.join(" "))];
        let body = Plan { plan: vec![RobotPlan { robot: id.to_string(), steps }] };
        invocation.output.result(&body, results::show_plan)?;
        return Ok(None);
    }
    let records = block_on(records(&opened, id))??;
    let facts = facts(&records, (site, robot), *event).test();
    let facts = match event {
        Event::Deploy => facts,
        Event::Failure | Event::Expiring => {
            facts.because("test", "nothing is to be done", "this is a test of the hook")
        }
    };
    let began = Instant::now();
    let progress = invocation.output.progress("running the hook");
    let ended = block_on(hook::run(command, &facts, hook::LIMIT))?;
    drop(progress);
    let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (ok, exit_code, output, failure) = match ended {
        Ok(said) => (true, Some(0), said, None),
        Err(error) => (false, error.exit_code(), error.said().to_owned(), Some(error)),
    };
    let kind = failure.as_ref().map(hook::Error::kind);
    let error = failure.map(|failure| {
        let error = CommandError::from(failure);
        invocation.output.robot_error(&id.to_string(), &error);
        error.for_programs()
    });
    let body = HookTest { robot: id.to_string(), event: *event, ok, exit_code, millis, output, error };
    invocation.output.result(&body, show)?;
    Ok(kind)
}

fn none(message: String) -> CommandError {
    CommandError::new(Kind::Config, message)
}

/// What is held of the robot, without its lock: nothing is changed.
async fn records(opened: &Opened, id: &RobotId) -> Result<Vec<Record>, CommandError> {
    Ok(match opened.inventory_read_only().await? {
        Some(inventory) => inventory.records(id).await?,
        None => Vec::new(),
    })
}

fn show(body: &HookTest, out: &mut dyn Write) -> io::Result<()> {
    let ended = match body.exit_code {
        Some(code) => format!("ended with exit code {code}"),
        None => "failed".to_owned(),
    };
    let style = if body.ok { style::GOOD } else { style::BAD };
    let robot = paint(style::BOLD, clean::line(&body.robot));
    writeln!(out, "{robot}: the {} hook {} after {} ms", body.event, paint(style, ended), body.millis)?;
    body.output.lines().try_for_each(|line| writeln!(out, "  {}", clean::line(line)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::shown;

    #[test]
    fn what_a_hook_said_is_set_in() {
        let check = |exit_code, output: &str, expected: &str| {
            let body = HookTest {
                robot: "plant-a/lucidum".into(),
                event: Event::Deploy,
                ok: exit_code == Some(0),
                exit_code,
                millis: 12,
                output: output.into(),
                error: None,
            };
            assert_eq!(shown(|out| show(&body, out)), expected);
        };
        check(Some(0), "", "plant-a/lucidum: the deploy hook ended with exit code 0 after 12 ms\n");
        check(
            Some(3),
            "one\nplant-b/x: ok",
            "plant-a/lucidum: the deploy hook ended with exit code 3 after 12 ms\n  one\n  plant-b/x: ok\n",
        );
        check(None, "", "plant-a/lucidum: the deploy hook failed after 12 ms\n");
    }
}
