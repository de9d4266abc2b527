//! The support token that a rotation will need: announced while there is time to get one.

use std::collections::BTreeMap;

use time::{OffsetDateTime, UtcOffset};

use super::Line;
use crate::{
    config::Config,
    credential::State,
    inventory::{Attention, AttentionCode, SiteRow},
    renewal::RenewalWindow,
    site::{Registrar, Robot, RobotId, Site},
};

/// Says of every robot whether its next registration needs a token, and raises `token-needed` for every active robot whose window opens within its
/// `token_lead`, where nothing at hand can register the next generation. Lifts
/// what was raised before a token was stored: that token is the answer.
pub(super) fn announce(lines: &mut BTreeMap<RobotId, Line>, config: &Config, rows: &[SiteRow], now: OffsetDateTime) {
    let rows: BTreeMap<_, _> = rows.iter().map(|row| (&row.name, row)).collect();
    for site in &config.sites {
        let row = rows.get(&site.name).copied();
        let stored = row.and_then(|row| row.token_since);
        let unable = if stored.is_some() { None } else { unable(site, row, lines, now) };
        for robot in &site.robots {
            let id = RobotId { site: site.name.clone(), robot: robot.name.clone() };
            let Some(line) = lines.get_mut(&id) else { continue };
            line.attention.retain(|raised| {
                raised.code != AttentionCode::TokenNeeded || stored.is_none_or(|stored| stored <= raised.since)
            });
            line.needs_token = unable.clone().filter(|_| !is_sent(line));
            line.attention.extend(ahead(line, robot, now));
        }
    }
}

/// Why nothing but a support token can register a robot of the site; `None` if an admin robot can.
fn unable(site: &Site, row: Option<&SiteRow>, lines: &BTreeMap<RobotId, Line>, now: OffsetDateTime) -> Option<String> {
    let Registrar::Robot(name) = &site.registrar else { return Some("no support token is stored".to_owned()) };
    let id = RobotId { site: site.name.clone(), robot: name.clone() };
    if row.and_then(|row| row.seen.admin_registers) == Some(false) {
        return Some(format!("the appliance does not let {id} register it, and no support token is stored"));
    }
    let works = lines.get(&id).is_some_and(|line| {
        let active = line.record.as_ref().is_some_and(|record| record.state == State::Active);
        active && line.window.is_some_and(|window| !window.is_expired(now))
    });
    (!works).then(|| format!("{id} has no working credential to register it with, and no support token is stored"))
}

/// Whether the appliance may know the next generation already: that needs its answer, not a token.
fn is_sent(line: &Line) -> bool {
    let mut records = line.record.iter().chain(&line.previous);
    records.any(|record| matches!(record.state, State::Sending | State::Registered))
}

/// The attention of one robot whose window is near or open.
fn ahead(line: &Line, robot: &Robot, now: OffsetDateTime) -> Option<Attention> {
    let (window, unable) = (line.window?, line.needs_token.as_ref()?);
    let since = window.warns_at(robot.token_lead);
    let needless = now < since || line.attention.iter().any(|raised| raised.code == AttentionCode::TokenNeeded);
    (!needless).then(|| Attention {
        robot: line.id.clone(),
        code: AttentionCode::TokenNeeded,
        message: format!("{}, and {unable}", opens(window, now)),
        hint: Some(format!(
            "ask the vendor's support for a token, which takes days, then run `robocred token set {}`",
            line.id.site
        )),
        since,
    })
}

/// When the window opens or opened, and how long the certificate still holds.
fn opens(window: RenewalWindow, now: OffsetDateTime) -> String {
    let day = window.due_at.to_offset(UtcOffset::UTC).date();
    if !window.is_due(now) {
        let days = (window.due_at - now).whole_days();
        return format!("its rotation opens on {day} (in {})", count(days));
    }
    match window.days_left(now) {
        days if days < 0 => format!("its rotation was due on {day} and its certificate has expired"),
        days => format!("its rotation is due since {day} (its certificate holds for {} more)", count(days)),
    }
}

pub(super) fn count(days: i64) -> String {
    match days {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}
