//! The API keys that sites keep: told of before they end, like a certificate.
//!
//! Owns the words for their end, when they are a warning, and which robots are
//! read with one. Pure.

use std::collections::BTreeMap;

use time::{Duration, OffsetDateTime};

use super::{Line, token::count};
use crate::{
    config::Config,
    credential::{KeptKey, State},
    document::Time,
    inventory::SiteRow,
    site::{RobotId, SiteName},
};

/// How long before its end a key is warned of where nobody says.
const LEAD: Duration = Duration::days(30);

/// When a key ends or has ended, in words.
#[must_use]
pub fn ends(kept: &KeptKey, now: OffsetDateTime) -> String {
    let day = Time(kept.ends()).day();
    let latest = if kept.expires.is_some() { "" } else { " at the latest" };
    if kept.is_over(now) {
        return format!("has ended on {day}{latest}");
    }
    format!("ends on {day}{latest} (in {})", count(kept.days_left(now)))
}

/// The same of a site's key, with what to do.
pub(super) fn message(site: &SiteName, kept: &KeptKey, now: OffsetDateTime) -> String {
    let ends = ends(kept, now);
    format!("the API key of {site} {ends}: make a new one on the appliance, then run `robocred apikey set {site}`")
}

/// The sites that keep one.
pub(super) fn kept(sites: &[SiteRow]) -> impl Iterator<Item = (&SiteName, KeptKey)> {
    sites.iter().filter_map(|row| Some((&row.name, row.api_key?)))
}

/// Whether a key ends within this time, or has ended.
pub(super) fn ends_within(kept: &KeptKey, time: Duration, now: OffsetDateTime) -> bool {
    kept.ends() - now < time
}

/// What is odd about the keys.
pub(super) fn warnings(sites: &[SiteRow], now: OffsetDateTime) -> impl Iterator<Item = String> {
    let near = move |(_, key): &(&SiteName, KeptKey)| ends_within(key, LEAD, now);
    kept(sites).filter(near).map(move |(site, key)| message(site, &key, now))
}

/// Gives every robot that is to be ingested and has no credential in use the key that it is read with.
pub(super) fn assign(lines: &mut BTreeMap<RobotId, Line>, config: &Config, sites: &[SiteRow]) {
    for (site, key) in kept(sites) {
        for robot in config.site(site).iter().flat_map(|site| &site.robots).filter(|robot| robot.ingest.is_some()) {
            let id = RobotId { site: site.clone(), robot: robot.name.clone() };
            let Some(line) = lines.get_mut(&id) else { continue };
            let active = line.record.as_ref().is_some_and(|record| record.state == State::Active);
            line.api_key = (!active).then_some(key);
        }
    }
}

#[cfg(test)]
mod tests;
