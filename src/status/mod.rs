//! The one report on every robot: inventory + configuration + now.
//!
//! Owns what `status` says, in values; its document and its table are made of
//! these by the command line. Leaves out how anything is fetched: the
//! inventory's rows are handed in, so that one report needs a handful of
//! queries however many robots there are. Its renderings ([`document`],
//! [`metrics`], [`page`], [`verdict`]) take nothing but the report, so that
//! they cannot disagree. Pure; no network, no secret store.

pub mod api_keys;
pub mod document;
pub mod forecast;
pub mod metrics;
pub mod page;
mod token;
pub mod verdict;

use std::collections::{BTreeMap, BTreeSet};

use time::OffsetDateTime;

use crate::{
    clock::rfc3339,
    config::{Config, Problems},
    credential::{KeptKey, Record, State},
    inventory::{self, Attention, AttentionCode, Inventory, Leftover, RobotRow, RunRow, SiteRow, Task, TaskRow},
    renewal::RenewalWindow,
    site::{RobotId, Role, SiteName, StoreKind},
};

/// Everything the inventory knows, read at one go.
#[derive(Debug, Default)]
pub struct Holdings {
    pub(crate) robots: Vec<RobotRow>,
    pub(crate) records: Vec<Record>,
    pub(crate) attention: Vec<Attention>,
    pub(crate) leftovers: Vec<Leftover>,
    pub(crate) sites: Vec<SiteRow>,
    pub(crate) tasks: Vec<TaskRow>,
    pub(crate) runs: Vec<RunRow>,
    pub(crate) store: Option<StoreKind>,
    pub(crate) warning: Option<String>,
}

impl Holdings {
    /// Reads them; touches the disk, changes nothing.
    ///
    /// # Errors
    /// Any of the inventory's.
    pub async fn read(inventory: &Inventory) -> Result<Self, inventory::Error> {
        Ok(Self {
            robots: inventory.robot_rows().await?,
            records: inventory.all_records().await?,
            attention: inventory.attention().await?,
            leftovers: inventory.leftovers().await?,
            sites: inventory.sites().await?,
            tasks: inventory.tasks().await?,
            runs: inventory.runs().await?,
            store: inventory.store_kind(),
            warning: inventory.warning().map(ToOwned::to_owned),
        })
    }
}

/// What concerns one site or one robot. The inventory hands out its rows in this order.
impl Holdings {
    /// Every generation of every robot of a site, by robot and generation.
    pub(crate) fn records_at(&self, site: &SiteName) -> &[Record] {
        among(&self.records, |record| &record.id.robot.site, site)
    }

    /// Every generation of a robot, the oldest first.
    pub(crate) fn records_of(&self, robot: &RobotId) -> &[Record] {
        among(&self.records, |record| &record.id.robot, robot)
    }

    pub(crate) fn robot(&self, robot: &RobotId) -> Option<&RobotRow> {
        among(&self.robots, |row| &row.id, robot).first()
    }

    pub(crate) fn runs_of(&self, robot: &RobotId) -> &[RunRow] {
        among(&self.runs, |row| &row.robot, robot)
    }

    pub(crate) fn site(&self, site: &SiteName) -> Option<&SiteRow> {
        among(&self.sites, |row| &row.name, site).first()
    }

    pub(crate) fn task(&self, site: &SiteName, task: Task) -> Option<&TaskRow> {
        among(&self.tasks, |row| &row.site, site).iter().find(|row| row.task == task)
    }
}

/// The rows with this key, among rows that are ordered by it.
fn among<'r, T, K: Ord>(rows: &'r [T], key: impl Fn(&T) -> &K, wanted: &K) -> &'r [T] {
    let from = &rows[rows.partition_point(|row| key(row) < wanted)..];
    &from[..from.partition_point(|row| key(row) == wanted)]
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
    /// From here on a person is asked for a support token, if one will be needed; `None` before it is in use.
    pub warns_at: Option<OffsetDateTime>,
    /// Why the next registration needs a support token, which is not at hand; `None` if it does not, or if nothing
    /// will be registered.
    pub needs_token: Option<String>,
    /// The API key of its site, where that is what it is read with: it is to be ingested, and has no credential in use.
    pub api_key: Option<KeptKey>,
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
    /// Whether nobody looks after it: its credential is in use, and the configuration, which can be read, does not
    /// name it.
    pub forsaken: bool,
}

/// The report.
#[derive(Clone, Debug)]
pub struct Report {
    /// When it was made; everything in it is as of then.
    pub at: OffsetDateTime,
    /// One line a robot, ordered by name.
    pub lines: Vec<Line>,
    /// What is known of each site, ordered by name.
    pub sites: Vec<SiteRow>,
    /// How the tasks of each site last went by schedule, ordered by site.
    pub tasks: Vec<TaskRow>,
    /// The last ingest of each stream, ordered by robot.
    pub runs: Vec<RunRow>,
    /// What is odd about the whole.
    pub warnings: Vec<String>,
    /// What could not be read, each also a warning: the report may lack something then, or show it as it was.
    pub unread: Vec<String>,
}

impl Report {
    /// Tells that something could not be read.
    pub fn could_not_read(&mut self, what: String) {
        self.warnings.push(what.clone());
        self.unread.push(what);
    }

    /// The report on some of its robots only, with what concerns their sites.
    pub fn keep(&mut self, wanted: impl Fn(&RobotId) -> bool) {
        self.lines.retain(|line| wanted(&line.id));
        let sites: BTreeSet<_> = self.lines.iter().map(|line| &line.id.site).collect();
        self.sites.retain(|row| sites.contains(&row.name));
        self.tasks.retain(|row| sites.contains(&row.site));
        self.runs.retain(|row| wanted(&row.robot));
    }
}

impl Line {
    /// Whether it can be used to log in, as far as is known: its credential, else the API key that it is read with.
    #[must_use]
    pub fn readiness(&self, now: OffsetDateTime) -> Readiness {
        let raised = |codes: &[AttentionCode]| self.attention.iter().any(|raised| codes.contains(&raised.code));
        let active = self.record.as_ref().is_some_and(|record| record.state == State::Active);
        let key = self.standing == Standing::Absent && self.api_key.is_some_and(|key| !key.is_over(now));
        if (!active && !key) || self.standing == Standing::Expired {
            return Readiness::No;
        }
        match () {
            () if raised(&[AttentionCode::Frozen, AttentionCode::StoreUnavailable]) => Readiness::No,
            () if raised(&[AttentionCode::TrustChanged, AttentionCode::ControlAccepted]) => Readiness::Unknown,
            () => Readiness::Yes,
        }
    }
}

/// Whether a credential can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Nothing speaks against it.
    Yes,
    /// There is none, it has ended, it is refused, or its key cannot be had.
    No,
    /// The appliance shows another key than the trusted one, or lets everybody in: nothing can be proven.
    Unknown,
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
    for row in &holdings.robots {
        lines.entry(row.id.clone()).or_insert_with(|| empty(row.id.clone(), row.role, false));
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
        api_keys::assign(&mut lines, config, &holdings.sites);
    }
    let mut warnings: Vec<String> = holdings.warning.iter().cloned().collect();
    warnings.extend(holdings.tasks.iter().filter_map(failing));
    warnings.extend(api_keys::warnings(&holdings.sites, now));
    let mut lines: Vec<Line> = lines.into_values().collect();
    for line in &mut lines {
        judge(line, now);
        if config.is_ok() && !line.configured {
            line.forsaken = line.record.as_ref().is_some_and(|record| record.state == State::Active);
            warnings.push(format!("{} is in the inventory and not in the configuration", line.id));
        }
    }
    let mut report = Report {
        at: now,
        lines,
        sites: holdings.sites.clone(),
        tasks: holdings.tasks.clone(),
        runs: holdings.runs.clone(),
        warnings,
        unread: Vec::new(),
    };
    if let Err(problems) = config {
        report.could_not_read(problems.to_string());
    }
    report
}

/// A task that fails by schedule, in one line: nobody may be there to see it.
#[must_use]
pub fn failing(row: &TaskRow) -> Option<String> {
    let failure = row.failure.as_ref()?;
    let times = match row.tries {
        1 => "once".to_owned(),
        tries => format!("{tries} times in a row"),
    };
    // Earlier near the end of a credential; and no repetition brings a person.
    let after = row.after.filter(|_| failure.code != "person");
    let again = after.map(|after| format!("; tried again by {}", rfc3339(after))).unwrap_or_default();
    Some(format!("{} of {} by schedule has failed {times}: {}{again}", row.task, row.site, failure.message))
}

fn empty(id: RobotId, role: Role, configured: bool) -> Line {
    Line {
        id,
        role,
        standing: Standing::Absent,
        record: None,
        window: None,
        warns_at: None,
        needs_token: None,
        api_key: None,
        attention: Vec::new(),
        store: None,
        previous: Vec::new(),
        leftovers: Vec::new(),
        configured,
        forsaken: false,
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
            let robot = config.and_then(|config| config.robot(&line.id)).map(|(_, robot)| robot);
            let policy = robot.map(|robot| robot.renewal).unwrap_or_default();
            let window = policy.window(certificate.validity(), certificate.fingerprint());
            line.window = Some(window);
            line.warns_at = robot.map(|robot| window.warns_at(robot.token_lead));
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
