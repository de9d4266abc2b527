//! The one report on every robot: inventory + configuration + now.
//!
//! Owns what `status` says, in values; its document and its table are made of
//! these by the command line. Leaves out how anything is fetched: the
//! inventory's rows are handed in, so that one report needs a handful of
//! queries however many robots there are. Pure; no network, no secret store.

mod token;

use std::collections::BTreeMap;

use time::OffsetDateTime;

use crate::{
    config::{Config, Problems},
    credential::{Record, State},
    inventory::{self, Attention, AttentionCode, Inventory, Leftover, SiteRow},
    renewal::RenewalWindow,
    site::{RobotId, Role, StoreKind},
};

/// Everything the inventory knows, read at one go.
#[derive(Debug, Default)]
pub struct Holdings {
    robots: Vec<(RobotId, Role)>,
    records: Vec<Record>,
    attention: Vec<Attention>,
    leftovers: Vec<Leftover>,
    /// Those that say something of who can register there; most say nothing.
    sites: Vec<SiteRow>,
    store: Option<StoreKind>,
    warning: Option<String>,
}

impl Holdings {
    /// Reads them; touches the disk, changes nothing.
    ///
    /// # Errors
    /// Any of the inventory's.
    pub async fn read(inventory: &Inventory) -> Result<Self, inventory::Error> {
        Ok(Self {
            robots: inventory.robots().await?,
            records: inventory.all_records().await?,
            attention: inventory.attention().await?,
            leftovers: inventory.leftovers().await?,
            sites: inventory.sites_with_registrar().await?,
            store: inventory.store_kind(),
            warning: inventory.warning().map(ToOwned::to_owned),
        })
    }
}

/// Where a robot stands, in one word (product.md, `status`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Its active credential is past its end.
    Expired,
    /// Nothing is possible without a person, and no credential works or it is due now.
    NeedsPerson,
    /// None is active yet, one is on its way.
    Pending,
    /// A credential is in use.
    Active,
    /// Nothing was ever made for it, or nothing is left.
    Absent,
}

impl Standing {
    /// The word of JSON and of the terminal.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::NeedsPerson => "needs-person",
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Absent => "absent",
        }
    }
}

/// One robot's line.
#[derive(Clone, Debug)]
pub struct Line {
    /// The robot.
    pub id: RobotId,
    /// Its role, as configured, or as it was when nothing is configured any more.
    pub role: Role,
    /// Where it stands.
    pub standing: Standing,
    /// The generation in use, or on its way if none is.
    pub record: Option<Record>,
    /// When that one is due and ends; `None` before it is in use.
    pub window: Option<RenewalWindow>,
    /// What a person should look at.
    pub attention: Vec<Attention>,
    /// Which store its key rests in.
    pub store: Option<StoreKind>,
    /// Every other generation that is not at its end: superseded, or on its way to replace this one.
    pub previous: Vec<Record>,
    /// Names that only a person can remove.
    pub leftovers: Vec<Leftover>,
    /// Whether the configuration names it.
    pub configured: bool,
}

/// The report.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// One line a robot, ordered by name.
    pub lines: Vec<Line>,
    /// What is odd about the whole.
    pub warnings: Vec<String>,
}

/// Makes the report. Pure. A configuration that cannot be read is a warning,
/// and hides nothing that the inventory holds.
#[must_use]
pub fn report(config: Result<&Config, &Problems>, holdings: &Holdings, now: OffsetDateTime) -> Report {
    let mut lines = BTreeMap::new();
    for site in config.iter().flat_map(|config| &config.sites) {
        for robot in &site.robots {
            let id = RobotId { site: site.name.clone(), robot: robot.name.clone() };
            lines.insert(id.clone(), empty(id, robot.role, true));
        }
    }
    for (id, role) in &holdings.robots {
        lines.entry(id.clone()).or_insert_with(|| empty(id.clone(), *role, false));
    }
    for record in &holdings.records {
        if let Some(line) = lines.get_mut(&record.id.robot) {
            place(line, record);
        }
    }
    for attention in &holdings.attention {
        if let Some(line) = lines.get_mut(&attention.robot) {
            line.attention.push(attention.clone());
        }
    }
    for leftover in &holdings.leftovers {
        if let Some(line) = lines.get_mut(&leftover.id.robot) {
            line.leftovers.push(leftover.clone());
        }
    }
    for line in lines.values_mut() {
        date(line, config.ok(), holdings);
    }
    if let Ok(config) = config {
        token::announce(&mut lines, config, &holdings.sites, now);
    }
    let mut warnings: Vec<String> = holdings.warning.iter().cloned().collect();
    warnings.extend(config.err().map(ToString::to_string));
    let mut lines: Vec<Line> = lines.into_values().collect();
    for line in &mut lines {
        judge(line, now);
        if config.is_ok() && !line.configured {
            warnings.push(format!("{} is in the inventory and not in the configuration", line.id));
        }
    }
    Report { lines, warnings }
}

fn empty(id: RobotId, role: Role, configured: bool) -> Line {
    Line {
        id,
        role,
        standing: Standing::Absent,
        record: None,
        window: None,
        attention: Vec::new(),
        store: None,
        previous: Vec::new(),
        leftovers: Vec::new(),
        configured,
    }
}

/// The active generation is shown; without one, the newest on its way. Every
/// other that is not at its end stands beside it.
fn place(line: &mut Line, record: &Record) {
    let rank = |record: &Record| match record.state {
        State::Active => 2,
        state if state.is_pending() => 1,
        state if state.is_previous() => 0,
        _ => -1,
    };
    let key = |record: &Record| (rank(record), record.id.generation);
    if rank(record) < 0 {
        return;
    }
    match &mut line.record {
        shown @ None if rank(record) > 0 => *shown = Some(record.clone()),
        Some(shown) if rank(record) > 0 && key(shown) < key(record) => {
            line.previous.push(std::mem::replace(shown, record.clone()));
        }
        _ => line.previous.push(record.clone()),
    }
}

/// What follows from the generation that is shown: role, store, and when it is due.
fn date(line: &mut Line, config: Option<&Config>, holdings: &Holdings) {
    if let Some(record) = &line.record {
        line.role = record.role;
        line.store = holdings.store;
        if let (State::Active, Some(certificate)) = (record.state, &record.certificate) {
            let policy =
                config.and_then(|config| config.robot(&line.id)).map(|(_, robot)| robot.renewal).unwrap_or_default();
            line.window = Some(policy.window(certificate.validity(), certificate.fingerprint()));
        }
    }
}

fn judge(line: &mut Line, now: OffsetDateTime) {
    let active = line.record.as_ref().is_some_and(|record| record.state == State::Active);
    let pending = line.record.as_ref().is_some_and(|record| record.state.is_pending());
    let expired = active && line.window.is_some_and(|window| window.is_expired(now));
    let due = active && line.window.is_some_and(|window| window.is_due(now));
    let stuck = line.attention.iter().any(|attention| {
        match attention.code {
            AttentionCode::TokenNeeded | AttentionCode::Frozen | AttentionCode::ControlAccepted => true,
            // On the way it is a remark; with nothing left on the way it was the end.
            AttentionCode::ReplyDiffers => !pending,
            _ => false,
        }
    });
    line.standing = match (active, pending) {
        _ if expired => Standing::Expired,
        _ if stuck && (!active || due) => Standing::NeedsPerson,
        (false, true) => Standing::Pending,
        (true, _) => Standing::Active,
        (false, false) => Standing::Absent,
    };
}

#[cfg(test)]
mod tests;
