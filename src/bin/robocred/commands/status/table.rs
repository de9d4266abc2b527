//! The report as a table, and below it what wants attention.
//!
//! Owns the lifetime bar and which columns a narrow terminal goes without.

use std::io::{self, Write};

use clap::builder::styling::Style;
use robocred::status::{
    api_keys,
    document::{Forecast, RobotState, RobotStatus, Status},
};
use time::OffsetDateTime;

use super::notes;
use crate::output::{
    clean,
    style::{self, paint},
    table,
};

/// How it is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// When it was reported.
    pub at: OffsetDateTime,
    /// How wide the terminal is; `None` for a file or a pipe, which gets every column and no bar.
    pub columns: Option<usize>,
}

/// What a narrow terminal goes without, in the order of trial. Codes stand again, with words, below the table.
const FORGONE: [&[&str]; 6] = [
    &[],
    &["GEN"],
    &["LIFETIME"],
    &["LIFETIME", "GEN"],
    &["LIFETIME", "GEN", "ATTENTION"],
    &["LIFETIME", "GEN", "ATTENTION", "DUE"],
];

/// Shows the table, then what wants attention, then the paths.
pub fn show(status: &Status, look: Look, out: &mut dyn Write) -> io::Result<()> {
    if status.robots.is_empty() {
        writeln!(out, "no robots")?;
    } else {
        out.write_all(fitted(&status.robots, look).as_bytes())?;
    }
    if let Some(forecast) = &status.forecast {
        writeln!(out, "\n{}", clean::line(&ahead(forecast)))?;
    }
    for robot in &status.robots {
        notes::show(robot, out)?;
    }
    for key in &status.api_keys {
        let (site, since) = (clean::line(&key.site), key.since.day());
        writeln!(out, "\nAPI key of {site}: kept since {since}, {}", api_keys::ends(&key.kept(), look.at))?;
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

/// The table with as many columns as fit.
fn fitted(robots: &[RobotStatus], look: Look) -> String {
    let Some(columns) = look.columns else { return render(robots, look, &["LIFETIME"]) };
    let width = |table: &str| {
        let plain = anstream::adapter::strip_str(table).to_string();
        plain.lines().map(|line| line.chars().count()).max().unwrap_or_default()
    };
    let mut table = String::new();
    for forgone in FORGONE {
        table = render(robots, look, forgone);
        if width(&table) <= columns {
            break;
        }
    }
    table
}

fn render(robots: &[RobotStatus], look: Look, forgone: &[&str]) -> String {
    let headings = ["ROBOT", "STATE", "GEN", "DAYS LEFT", "LIFETIME", "DUE", "ATTENTION"];
    let kept: Vec<bool> = headings.iter().map(|heading| !forgone.contains(heading)).collect();
    let rows = robots.iter().map(|robot| {
        let codes: Vec<&str> = robot.attention.iter().map(|attention| attention.code.as_str()).collect();
        let cells = [
            table::plain(&robot.robot),
            table::painted(state_style(robot), state_word(robot.state)),
            table::number(robot.generation.map_or("-".to_owned(), |generation| generation.to_string())),
            table::number(robot.days_left.map_or("-".to_owned(), |days| days.to_string())),
            table::painted(state_style(robot), bar(robot, look.at)),
            table::plain(match robot.due_at {
                _ if robot.due => "now".to_owned(),
                Some(due) => due.day(),
                None => "-".to_owned(),
            }),
            table::plain(codes.join(" ")),
        ];
        cells.into_iter().zip(&kept).filter_map(|(cell, kept)| kept.then_some(cell)).collect()
    });
    let shown: Vec<&str> = headings.iter().zip(&kept).filter_map(|(heading, kept)| kept.then_some(*heading)).collect();
    let mut table = table::render(&shown, rows);
    if shown.contains(&"LIFETIME") && robots.iter().any(|robot| robot.due_at.is_some()) {
        table.push_str(&paint(style::DIM, LEGEND));
        table.push('\n');
    }
    table
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

/// What the characters of a bar mean.
const LEGEND: &str = "· passed  ▄ overlap  █ to come  ┃ due  ▒ after it";

/// The certificate's lifetime from left to right.
fn bar(robot: &RobotStatus, now: OffsetDateTime) -> String {
    const WIDTH: i64 = 20;
    let (Some(begin), Some(end), Some(due)) = (robot.not_before, robot.not_after, robot.due_at) else {
        return String::new();
    };
    let whole = (end.0 - begin.0).whole_seconds().max(1);
    // The cell in which a moment lies; every cell before `passed` is over.
    let cell = |at: OffsetDateTime| i128::from((at - begin.0).whole_seconds()) * i128::from(WIDTH) / i128::from(whole);
    let (passed, due) = (cell(now), cell(due.0));
    let overlap = robot.previous.iter().filter_map(|other| other.retire_after).map(|after| cell(after.0)).max();
    (0..i128::from(WIDTH))
        .map(|place| match place {
            _ if place == due => '┃',
            _ if place < passed => '·',
            _ if overlap.is_some_and(|overlap| place <= overlap) => '▄',
            _ if place < due => '█',
            _ => '▒',
        })
        .collect()
}

/// What lies ahead, in one sentence.
fn ahead(forecast: &Forecast) -> String {
    let Forecast { days, due, tokens, api_keys } = forecast;
    let within = format!("within {days} day{}", if *days == 1 { "" } else { "s" });
    let robots = match (&due[..], &tokens[..]) {
        ([], _) => format!("{within} no robot is due"),
        ([only], []) => format!("{within} 1 robot is due: {only}"),
        ([only], _) => format!("{within} 1 robot is due, and needs a support token: {only}"),
        (several, []) => format!("{within} {} robots are due: {}", several.len(), named(several)),
        (several, tokens) if several.len() == tokens.len() => {
            format!("{within} {} robots are due, and each needs a support token: {}", several.len(), named(tokens))
        }
        (several, [one]) => {
            format!("{within} {} robots are due, and this one needs a support token: {one}", several.len())
        }
        (several, tokens) => format!(
            "{within} {} robots are due, and these {} need a support token: {}",
            several.len(),
            tokens.len(),
            named(tokens)
        ),
    };
    match &api_keys[..] {
        [] => robots,
        [site] => format!("{robots}; the API key of {site} ends"),
        sites => format!("{robots}; the API keys of {} sites end: {}", sites.len(), named(sites)),
    }
}

/// The first few by name.
fn named(robots: &[String]) -> String {
    const FEW: usize = 8;
    match robots.len().checked_sub(FEW) {
        None | Some(0) => robots.join(", "),
        Some(more) => format!("{} and {more} more", robots[..FEW].join(", ")),
    }
}

#[cfg(test)]
pub mod tests;
