//! What of the inventory is remembered outside the state directory, so that a
//! restored backup or a copied machine is noticed before it changes anything.
//!
//! Owns the anchor's text, the comparison with the inventory, and the way back
//! once a person has said which state directory lives. Leaves out where the
//! anchor rests (`secrets`: a keyring entry, or a file beside the sealing key)
//! and what a command does when something is wrong (the command line).
//!
//! It holds no secret. It can be lost, and is then made anew: it must never
//! stop a first run. Failing, it changes nothing. A whole machine that is set
//! back, anchor and all, cannot be noticed here; there the probes decide.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::json;
use time::OffsetDateTime;

use crate::{
    credential::CredentialId,
    inventory::{
        self, AttentionCode, Inventory, Lost, NewRobot, Origin, SiteLock,
        audit::{Broken, Head, Kept},
    },
    secrets::{self, Secrets},
    site::{Endpoint, RobotId, RobotName, Role},
};

/// No robot gets here in a life of daily rotations; a damaged anchor may not ask for more.
const MOST_GENERATIONS: u32 = 100_000;

/// How long [`accept`] waits for each site that another process works on.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why the anchor could not be read, written or accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What rests there is no anchor of this state directory.
    #[error("the anchor of this state directory cannot be made sense of")]
    Unreadable,
    /// Neither inventory nor configuration know where a robot of the anchor is.
    #[error("the anchor names {robot}, and neither the inventory nor the configuration knows its appliance")]
    NoAppliance {
        /// The robot.
        robot: RobotId,
    },
    /// The place where it rests cannot be used.
    #[error("the place of the anchor could not be used")]
    Store(#[from] secrets::Error),
    /// The inventory refused.
    #[error("the inventory could not be used")]
    Inventory(#[from] inventory::Error),
}

impl Error {
    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unreadable => Some("the next command that changes something writes it anew".to_owned()),
            Self::NoAppliance { robot } => {
                Some(format!("add the site {} with its url to the configuration, then run this again", robot.site))
            }
            Self::Store(source) => source.hint(),
            Self::Inventory(source) => source.hint(),
        }
    }
}

/// The state of an inventory at one moment, as it is remembered outside of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The name of the state directory.
    pub store_id: String,
    /// The machine it was on, where that could be told.
    pub machine: Option<String>,
    /// The last entry of the audit record.
    pub head: Head,
    /// Every robot, and how far its generations went.
    pub highest: BTreeMap<RobotId, Highest>,
}

/// How far the generations of one robot went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Highest {
    /// The highest number used; 0 for none.
    pub generation: u32,
    /// What its generations are named after on the appliance.
    pub base_name: RobotName,
}

/// The anchor's text: JSON, short, since a keyring entry may hold 2,560 bytes only.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    version: u32,
    store: String,
    machine: Option<String>,
    seq: i64,
    hash: String,
    robots: BTreeMap<String, u32>,
    /// Only of robots whose base name is not their own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    names: BTreeMap<String, String>,
}

impl Anchor {
    /// One line of JSON.
    #[must_use]
    pub fn print(&self) -> String {
        let renamed = self.highest.iter().filter(|(id, highest)| highest.base_name != id.robot);
        let text = Text {
            version: 1,
            store: self.store_id.clone(),
            machine: self.machine.clone(),
            seq: self.head.seq,
            hash: self.head.hash.clone(),
            robots: self.highest.iter().map(|(id, highest)| (id.to_string(), highest.generation)).collect(),
            names: renamed.map(|(id, highest)| (id.to_string(), highest.base_name.to_string())).collect(),
        };
        json!(text).to_string() + "\n"
    }

    /// Reads [`Anchor::print`] back; `None` for anything else.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text: Text = serde_json::from_slice(text).ok()?;
        let head = Head { seq: text.seq, hash: text.hash };
        head.to_string().parse::<Kept>().ok().filter(|_| text.version == 1)?;
        let mut highest = BTreeMap::new();
        for (id, generation) in &text.robots {
            let robot: RobotId = id.parse().ok()?;
            let base_name = text.names.get(id).map_or(Ok(robot.robot.clone()), |name| name.parse()).ok()?;
            if *generation > MOST_GENERATIONS {
                return None;
            }
            highest.insert(robot, Highest { generation: *generation, base_name });
        }
        Some(Self { store_id: text.store, machine: text.machine, head, highest })
    }
}

/// How a state directory stands to its anchor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// As it was left, or further.
    Intact,
    /// There is no anchor: the first run, or it was lost.
    Missing,
    /// Something that was done is not in the inventory: it is an old copy.
    Behind(Lag),
    /// It was last changed on another machine: one of the two is a copy.
    OtherMachine,
}

impl Standing {
    /// Whether nothing may be changed until a person has decided.
    #[must_use]
    pub fn needs_person(&self) -> bool {
        matches!(self, Self::Behind(_) | Self::OtherMachine)
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Intact => f.write_str("the state directory is as it was left"),
            Self::Missing => f.write_str("the state directory has no anchor yet"),
            Self::Behind(lag) => write!(f, "the state directory is older than what was done with it: {lag}"),
            Self::OtherMachine => f.write_str("the state directory was copied from another machine"),
        }
    }
}

/// What is missing in the inventory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lag {
    /// Entries of the audit record.
    #[error("{0}")]
    Audit(Broken),
    /// Generations of a robot.
    #[error("{robot} had generation {kept}, the inventory knows up to {held}")]
    Generation {
        /// The robot.
        robot: RobotId,
        /// The highest number the anchor has.
        kept: u32,
        /// The highest number the inventory has; 0 for none.
        held: u32,
    },
}

/// Compares what is there with what was kept. Pure. `hash` is that of the
/// entry in the inventory that has the number of the kept head.
#[must_use]
pub fn compare(present: &Anchor, kept: Option<&Anchor>, hash: Option<&str>) -> Standing {
    let Some(kept) = kept else { return Standing::Missing };
    if kept.head.seq > present.head.seq {
        return Standing::Behind(Lag::Audit(Broken::Cut { kept: kept.head.seq, last: present.head.seq }));
    }
    if kept.head.seq > 0 && hash != Some(&kept.head.hash) {
        return Standing::Behind(Lag::Audit(Broken::Replaced { seq: kept.head.seq }));
    }
    for (robot, highest) in &kept.highest {
        let held = present.highest.get(robot).map_or(0, |held| held.generation);
        if held < highest.generation {
            return Standing::Behind(Lag::Generation { robot: robot.clone(), kept: highest.generation, held });
        }
    }
    match (&present.machine, &kept.machine) {
        (Some(here), Some(there)) if here != there => Standing::OtherMachine,
        _ => Standing::Intact,
    }
}

/// The anchor that was kept, if there is one. Asks the keyring or reads a file.
///
/// # Errors
/// [`Error::Unreadable`], [`Error::Store`].
pub async fn read(inventory: &Inventory, secrets: &Secrets) -> Result<Option<Anchor>, Error> {
    let Some(text) = secrets.anchor(inventory.store_id()).await? else { return Ok(None) };
    let anchor = Anchor::parse(&text).filter(|anchor| anchor.store_id == inventory.store_id());
    anchor.map(Some).ok_or(Error::Unreadable)
}

/// The anchor that the inventory would have now.
async fn present(inventory: &Inventory, machine: Option<&str>) -> Result<Anchor, Error> {
    let rows = inventory.robot_rows().await?.into_iter();
    Ok(Anchor {
        store_id: inventory.store_id().to_owned(),
        machine: machine.map(str::to_owned),
        head: inventory.audit_head().await?,
        highest: rows
            .map(|row| (row.id, Highest { generation: row.last_generation, base_name: row.base_name }))
            .collect(),
    })
}

async fn judge(inventory: &Inventory, present: &Anchor, kept: Option<&Anchor>) -> Result<Standing, Error> {
    let hash = match kept {
        Some(kept) => inventory.audit_hash(kept.head.seq).await?,
        None => None,
    };
    Ok(compare(present, kept, hash.as_deref()))
}

/// How the inventory stands to its anchor. Changes nothing.
///
/// # Errors
/// Those of [`read`], and of the inventory.
pub async fn standing(inventory: &Inventory, secrets: &Secrets, machine: Option<&str>) -> Result<Standing, Error> {
    let kept = read(inventory, secrets).await?;
    judge(inventory, &present(inventory, machine).await?, kept.as_ref()).await
}

/// Keeps the present state, unless [`Standing::needs_person`]; writes nothing where nothing has changed.
/// One that is missing or unreadable is made anew.
///
/// Of two processes that work on two sites at the same moment, the slower may keep a state that is a few
/// entries older than the newest; the next call makes up for it.
///
/// # Errors
/// Those of the store and of the inventory.
pub async fn keep(inventory: &Inventory, secrets: &Secrets, machine: Option<&str>) -> Result<Standing, Error> {
    // Read before the inventory is: what another process keeps meanwhile is then never ahead of it.
    let kept = match read(inventory, secrets).await {
        Err(Error::Unreadable) => None,
        kept => kept?,
    };
    let mut present = present(inventory, machine).await?;
    let standing = judge(inventory, &present, kept.as_ref()).await?;
    if standing.needs_person() {
        return Ok(standing);
    }
    if present.machine.is_none() {
        present.machine = kept.as_ref().and_then(|kept| kept.machine.clone());
    }
    if kept.as_ref() != Some(&present) {
        secrets.set_anchor(inventory.store_id(), present.print().as_bytes()).await?;
    }
    Ok(standing)
}

/// Raises the attention `frozen` on every robot of the locked site. One commit for each robot.
///
/// # Errors
/// Those of the inventory.
pub async fn freeze(
    inventory: &Inventory,
    lock: &SiteLock,
    standing: &Standing,
    now: OffsetDateTime,
) -> Result<(), inventory::Error> {
    let (message, hint) = (standing.to_string(), HINT);
    for row in inventory.robot_rows().await?.into_iter().filter(|row| &row.id.site == lock.site()) {
        inventory.raise(lock, &row.id, AttentionCode::Frozen, &message, Some(hint), now).await?;
    }
    Ok(())
}

/// What a person does about [`Standing::needs_person`].
pub const HINT: &str = "see which credentials work with `robocred verify` and what would be done with `robocred rotate \
                        --dry-run`; if this state directory on this machine is the one that lives, say so with \
                        `robocred audit verify --accept`";

/// A person has said that this inventory, on this machine, is the one that lives.
///
/// Every generation that the anchor knows and the inventory does not becomes a leftover, so that its name is
/// listed and its number never used again; what was frozen is let go; and the anchor is made anew. Takes the lock
/// of every site. `configured` knows the role and address of robots that are not in the inventory, or the address
/// of their site. Gives the generations that were added.
///
/// # Errors
/// [`Error::NoAppliance`]; those of store and inventory. Nothing is changed unless all of it is; where only
/// the new anchor could not be written, running it again does that.
pub async fn accept(
    inventory: &Inventory,
    secrets: &Secrets,
    machine: Option<&str>,
    configured: impl Fn(&RobotId) -> Option<(Role, Endpoint)>,
    now: OffsetDateTime,
) -> Result<Vec<CredentialId>, Error> {
    let kept = match read(inventory, secrets).await {
        Err(Error::Unreadable) => None,
        kept => kept?,
    };
    let known = kept.iter().flat_map(|kept| kept.highest.keys()).map(|id| id.site.clone());
    let mut sites: Vec<_> = inventory.sites().await?.into_iter().map(|site| site.name).chain(known).collect();
    sites.sort();
    sites.dedup();
    let mut locks = Vec::new();
    for site in &sites {
        locks.push(inventory.lock_site(site, Some(PATIENCE), now).await?);
    }

    let rows = inventory.robot_rows().await?;
    let mut lost = Vec::new();
    for (id, highest) in kept.iter().flat_map(|kept| &kept.highest) {
        let row = rows.iter().find(|row| &row.id == id);
        if highest.generation <= row.map_or(0, |row| row.last_generation) {
            continue;
        }
        let beside = || rows.iter().find(|row| row.id.site == id.site).map(|row| (Role::Reader, row.endpoint.clone()));
        let (role, endpoint) = match row {
            Some(row) => (row.role, row.endpoint.clone()),
            None => configured(id).or_else(beside).ok_or_else(|| Error::NoAppliance { robot: id.clone() })?,
        };
        let base_name = row.map_or(&highest.base_name, |row| &row.base_name).clone();
        let robot = NewRobot { id: id.clone(), base_name, role, endpoint, origin: Origin::Provisioned };
        lost.push(Lost { robot, highest: highest.generation });
    }
    let detail = json!({
        "anchor": kept.as_ref().map(|kept| kept.head.to_string()),
        "inventory": inventory.audit_head().await?.to_string(),
        "from_machine": kept.as_ref().and_then(|kept| kept.machine.clone()),
        "machine": machine,
    });
    let added = inventory.accept(&locks, &lost, detail, now).await?;
    let anchor = present(inventory, machine).await?;
    secrets.set_anchor(inventory.store_id(), anchor.print().as_bytes()).await?;
    Ok(added)
}

#[cfg(test)]
mod tests;
