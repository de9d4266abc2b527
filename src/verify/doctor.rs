//! The surroundings: is this machine, and this user on it, fit for the work?
//!
//! Owns what `doctor` looks at and when it is good enough. Leaves out the
//! appliances (`verify`) and all repairing. Reads the disk; tries the secret
//! store with a canary, which is removed again; opens no connection. A look
//! that fails never hides the next.

mod machine;

use std::{path::Path, time::Instant};

use time::{OffsetDateTime, macros::datetime};

use super::{Check, Ended, remote::chain};
use crate::{
    anchor::{self, Standing},
    clock::Agreement,
    config::{self, Config, Paths, Problems},
    credential::State,
    inventory::{self, FileSystem, Inventory},
    secrets::{self, Choice, SealPlaces},
    session::seal_places,
    site::StoreKind,
};

/// This program did not exist before.
const EARLIEST: OffsetDateTime = datetime!(2026-01-01 0:00 UTC);
/// What a run can need for the inventory, its log and the files of a credential.
const LEAST_SPACE: u64 = 32 * 1024 * 1024;

/// The looks, in their order.
pub const NAMES: [&str; 10] =
    ["config", "permissions", "state-dir", "inventory", "store", "seal-key", "anchor", "clock", "disk", "swap"];

/// What one look found.
struct Finding {
    ended: Ended,
    detail: String,
    hint: Option<String>,
}

impl Finding {
    fn new(ended: Ended, detail: impl Into<String>) -> Self {
        Self { ended, detail: detail.into(), hint: None }
    }

    fn pass(detail: impl Into<String>) -> Self {
        Self::new(Ended::Pass, detail)
    }

    fn hint(self, hint: impl Into<Option<String>>) -> Self {
        Self { hint: hint.into(), ..self }
    }
}

/// Examines the surroundings; one [`Check`] for each of [`NAMES`], in that order.
///
/// `config` is what loading the file of `paths` gave, `choice` the secret
/// store asked for by flag or file. Reads the disk and tries the secret
/// store, for at most [`secrets::CALL_LIMIT`] per call; makes no sealing key
/// and no inventory.
pub async fn doctor(
    paths: &Paths,
    config: Result<&Config, &Problems>,
    choice: Choice,
    now: OffsetDateTime,
) -> Vec<Check> {
    let mut checks = Vec::with_capacity(NAMES.len());
    let mut began = Instant::now();
    let mut add = |finding: Finding| {
        let name = NAMES[checks.len()];
        let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let millis = (finding.ended != Ended::Skip).then_some(millis);
        checks.push(Check { name, ended: finding.ended, millis, detail: finding.detail, hint: finding.hint });
        began = Instant::now();
    };
    let seal = config.ok().map(|config| seal_places(paths, config));

    add(configuration(paths, config));
    add(permissions(paths, seal.as_ref()));
    add(state_dir(&paths.state_dir));
    let opened = Inventory::open_read_only(&paths.state_dir).await;
    add(holdings(paths, &opened, config.ok()).await);
    let inventory = opened.ok().flatten();
    let recorded = inventory.as_ref().and_then(Inventory::store_kind);
    match &seal {
        Some(seal) => {
            let tried = secrets::probe(choice, recorded, paths.system, seal).await;
            add(store(&tried));
            let kind = tried.ok().map(|tried| tried.kind).or(recorded).or(match choice {
                Choice::Sealed => Some(StoreKind::Sealed),
                Choice::Keyring => Some(StoreKind::Keyring),
                Choice::Auto => paths.system.then_some(StoreKind::Sealed),
            });
            add(seal_key(kind, seal, &paths.state_dir));
            add(anchored(paths, inventory.as_ref(), seal).await);
        }
        None => (0..3).for_each(|_| add(Finding::new(Ended::Skip, "the configuration could not be read"))),
    }
    add(clock(inventory.as_ref(), now).await);
    add(disk(machine::free_space(&machine::nearest(&paths.state_dir))));
    add(swap(machine::swap_in_clear().as_deref()));
    checks
}

/// The file that the sealing key comes from, and what kind of file it is.
fn key_source(seal: &SealPlaces) -> (&Path, &'static str) {
    if let Some(path) = seal.credential.as_deref().filter(|path| path.exists()) {
        (path, "the systemd credential")
    } else if let Some(path) = &seal.key_file {
        (path, "the key file")
    } else if let Some(path) = &seal.passphrase_file {
        (path, "the passphrase in")
    } else {
        (&seal.default_key_file, "the key file")
    }
}

fn configuration(paths: &Paths, config: Result<&Config, &Problems>) -> Finding {
    let path = paths.config.display();
    match config {
        Ok(config) if config.exists => {
            let robots: usize = config.sites.iter().map(|site| site.robots.len()).sum();
            let sites = config.sites.len();
            Finding::pass(format!("{path} (from {}); sites: {sites}, robots: {robots}", paths.config_origin))
        }
        Ok(_) => Finding::pass(format!("{path} (from {}) is not there yet", paths.config_origin)),
        Err(problems) => {
            let said: Vec<_> = problems.iter().map(ToString::to_string).collect();
            Finding::new(Ended::Fail, format!("{}: {}", problems.file().display(), said.join("; ")))
                .hint(config::Error::Invalid(problems.clone()).hint())
        }
    }
}

/// Who else can reach what is ours. What is not there yet is made with the right mode.
fn permissions(paths: &Paths, seal: Option<&SealPlaces>) -> Finding {
    let inventory = paths.state_dir.join("inventory.db");
    let key = seal.map(|seal| (key_source(seal).0, seal.credential.as_deref()));
    let credential = key.is_some_and(|(path, credential)| credential == Some(path));
    let mut worst = Finding::pass("nobody else can change the configuration, or reach the state and the sealing key");
    for (path, breaks, exposes) in [
        (Some(paths.config.as_path()), 0o022, 0),
        (Some(paths.state_dir.as_path()), 0o022, 0o055),
        (Some(inventory.as_path()), 0o022, 0o044),
        // systemd lets a service in by an access list, which shows as the group's bits.
        (key.map(|(path, _)| path), if credential { 0o007 } else { 0o077 }, 0),
    ] {
        let Some((path, rights)) = path.and_then(|path| Some((path, machine::rights(path)?))) else { continue };
        let (shown, mode, owner) = (path.display(), rights.mode, rights.owner);
        let found = if owner != rights.us && owner != 0 {
            let detail = format!("{shown} belongs to user {owner}, this is user {}", rights.us);
            let hint = format!("run as user {owner}, or give {shown} to this user with chown");
            Finding::new(Ended::Fail, detail).hint(hint)
        } else if mode & breaks != 0 {
            let detail = format!("the mode {mode:04o} of {shown} lets others in");
            Finding::new(Ended::Fail, detail).hint(format!("run `chmod {:04o} {shown}`", mode & !0o077))
        } else if mode & exposes != 0 {
            let detail = format!("others can read {shown} (mode {mode:04o})");
            Finding::new(Ended::Warn, detail).hint(format!("run `chmod {:04o} {shown}`", mode & !0o077))
        } else {
            continue;
        };
        if worst.ended == Ended::Pass || (worst.ended == Ended::Warn && found.ended == Ended::Fail) {
            worst = found;
        }
    }
    worst
}

fn state_dir(dir: &Path) -> Finding {
    let shown = dir.display();
    let elsewhere = "name a directory on a local disk with --state-dir".to_owned();
    let fail = |detail: String| Finding::new(Ended::Fail, detail).hint(elsewhere.clone());
    let nearest = machine::nearest(dir);
    let is_there = nearest == dir;
    if is_there && dir.is_symlink() {
        return fail(format!("{shown} is a symbolic link"));
    }
    if !nearest.is_dir() {
        return fail(format!("{} is not a directory", nearest.display()));
    }
    if !machine::may_write(&nearest) {
        let hint = format!("make {} writable for this user, or {elsewhere}", nearest.display());
        let cannot = if is_there { "written to" } else { "made" };
        return Finding::new(Ended::Fail, format!("{shown} cannot be {cannot} by this user")).hint(hint);
    }
    match FileSystem::at(&nearest) {
        Some(FileSystem::Network(kind)) => {
            fail(format!("{shown} is on a network file system ({kind}): locks fail there"))
        }
        Some(FileSystem::Unclear(kind)) => {
            Finding::new(Ended::Warn, format!("{shown} is on a {kind} file system, which may be a network's"))
                .hint(elsewhere)
        }
        _ if is_there => Finding::pass(shown.to_string()),
        _ => Finding::pass(format!("{shown} is not there yet and can be made")),
    }
}

async fn holdings(
    paths: &Paths,
    opened: &Result<Option<Inventory>, inventory::Error>,
    config: Option<&Config>,
) -> Finding {
    let judge = |error: &inventory::Error| {
        // An older one is brought up to date by the next command that writes.
        let ended = if matches!(error, inventory::Error::Older { .. }) { Ended::Warn } else { Ended::Fail };
        let hint = error.hint().unwrap_or_else(|| format!("look at {} as this user", paths.state_dir.display()));
        Finding::new(ended, chain(error)).hint(hint)
    };
    let inventory = match opened {
        Ok(Some(inventory)) => inventory,
        Ok(None) => {
            let Some(other) = &paths.other_system_inventory else { return Finding::pass("there is none yet") };
            let hint = format!("if that is the one you mean, name it: --state-dir {}", other.display());
            return Finding::new(Ended::Warn, format!("there is none here, but one in {}", other.display())).hint(hint);
        }
        Err(error) => return judge(error),
    };
    let read = async {
        inventory.check().await?;
        inventory.audit().await
    };
    match read.await {
        Err(error) => judge(&error),
        Ok(entries) => match (inventory::audit::verify(&entries), inventory.warning()) {
            (Err(error), _) => Finding::new(Ended::Fail, format!("the audit record was changed: {}", chain(&error)))
                .hint("find out who changed it; a backup holds the record as it was".to_owned()),
            (Ok(_), Some(warning)) => Finding::new(Ended::Warn, warning).hint(
                "make the disk writable: nothing can be recorded, and no robot provisioned, until then".to_owned(),
            ),
            (Ok(_), None) => match unconfigured(inventory, config).await {
                Err(error) => judge(&error),
                Ok(0) => Finding::pass(format!("whole, with {} audit entries", entries.len())),
                Ok(robots) => {
                    let detail = format!("it holds robots with a credential that are not configured: {robots}");
                    Finding::new(Ended::Warn, detail)
                        .hint("name the configuration that is meant with --config, or bring it back".to_owned())
                }
            },
        },
    }
}

/// How many robots have a credential here and nobody who looks after it.
async fn unconfigured(inventory: &Inventory, config: Option<&Config>) -> Result<usize, inventory::Error> {
    let Some(config) = config else { return Ok(0) };
    let mut held = inventory.all_records().await?;
    held.retain(|record| record.state == State::Active || record.state.is_previous());
    let lost = held.iter().map(|record| &record.id.robot).filter(|id| config.robot(id).is_none());
    Ok(lost.collect::<std::collections::BTreeSet<_>>().len())
}

fn store(tried: &Result<secrets::Probe, secrets::Error>) -> Finding {
    let tried = match tried {
        Ok(tried) => tried,
        Err(error) => return Finding::new(Ended::Fail, chain(error)).hint(error.hint()),
    };
    let mut detail = match tried.took {
        Some(took) => format!("{}: wrote, read back and removed in {} ms", tried.kind, took.as_millis()),
        None => format!("{}: not tried", tried.kind),
    };
    if let Some(notice) = &tried.notice {
        detail = format!("{detail}; {notice}");
    }
    Finding::pass(detail)
}

/// Says plainly what sealing is worth here.
fn seal_key(kind: Option<StoreKind>, seal: &SealPlaces, state_dir: &Path) -> Finding {
    match kind {
        None => return Finding::new(Ended::Skip, "it is not known whether one is used"),
        Some(StoreKind::Keyring) => return Finding::new(Ended::Skip, "not used: keys rest in the keyring"),
        Some(StoreKind::Sealed) => {}
    }
    let (path, what) = key_source(seal);
    let shown = path.display();
    if !path.exists() {
        let holds_secrets = std::fs::read_dir(&seal.secrets_dir).is_ok_and(|mut files| files.next().is_some());
        if path == seal.default_key_file && !holds_secrets {
            return Finding::pass(format!("{shown} is made with the first secret"));
        }
        let missing = secrets::Error::SealKeyMissing { path: path.to_owned() };
        return Finding::new(Ended::Fail, missing.to_string()).hint(missing.hint());
    }
    if path.starts_with(state_dir) {
        let detail = format!("{what} {shown} is inside the state directory: a copy of it opens every secret");
        return Finding::new(Ended::Warn, detail).hint(format!("move {shown} out of {}", state_dir.display()));
    }
    let worth = "protects backups and copies of the state directory, not against this user or root";
    Finding::pass(match machine::same_disk(path, state_dir) {
        Some(true) => format!("{what} {shown}, on the same disk as the state: sealing {worth}"),
        _ => format!("{what} {shown}: sealing {worth}"),
    })
}

/// Whether a restored or copied state directory would be noticed, and whether this is one.
async fn anchored(paths: &Paths, inventory: Option<&Inventory>, seal: &SealPlaces) -> Finding {
    let Some((inventory, kind)) = inventory.and_then(|inventory| Some((inventory, inventory.store_kind()?))) else {
        return Finding::pass("nothing was done yet that had to be remembered");
    };
    let Ok(opened) = secrets::open(Choice::Auto, Some(kind), paths.system, seal).await else {
        return Finding::new(Ended::Skip, "the secret store could not be opened");
    };
    match anchor::standing(inventory, &opened.secrets, paths.machine.as_deref()).await {
        Err(error) => Finding::new(Ended::Warn, chain(&error)).hint(error.hint()),
        Ok(standing) if standing.needs_person() => {
            Finding::new(Ended::Fail, standing.to_string()).hint(anchor::HINT.to_owned())
        }
        Ok(Standing::Missing) if inventory.robots().await.is_ok_and(|robots| !robots.is_empty()) => {
            let place = match kind {
                StoreKind::Keyring => "the keyring".to_owned(),
                StoreKind::Sealed => seal.default_key_file.parent().unwrap_or(Path::new("/")).display().to_string(),
            };
            Finding::new(Ended::Warn, "no anchor is kept: a restored or copied state directory would not be noticed")
                .hint(format!("see that {place} can be written; the next command that changes something makes one"))
        }
        Ok(Standing::Missing) => Finding::pass("it is made with the first robot"),
        Ok(standing) => Finding::pass(standing.to_string()),
    }
}

async fn clock(inventory: Option<&Inventory>, now: OffsetDateTime) -> Finding {
    let hint = |whose: &str| format!("set {whose} clock by a time server: certificates are judged by the appliance's");
    if now < EARLIEST {
        return Finding::new(Ended::Fail, format!("this machine's clock says {now}")).hint(hint("this machine's"));
    }
    let sites = match inventory {
        Some(inventory) => inventory.sites().await.unwrap_or_default(),
        None => Vec::new(),
    };
    let skews = sites.iter().filter_map(|site| Some((&site.name, site.seen.clock_skew?)));
    let Some((site, skew)) = skews.max_by_key(|(_, skew)| skew.abs()) else {
        return Finding::pass(format!("{now}; not compared with any appliance yet"));
    };
    let (seconds, which) =
        (skew.whole_seconds().unsigned_abs(), if skew.is_negative() { "behind" } else { "ahead of" });
    let detail = format!("the clock of {site} was {seconds} s {which} ours when last seen");
    if Agreement::of(skew) != Agreement::Close {
        return Finding::new(Ended::Warn, detail).hint(hint("each"));
    }
    Finding::pass(detail)
}

fn disk(free: Option<u64>) -> Finding {
    match free {
        None => Finding::new(Ended::Unknown, "the free space is not told on this system"),
        Some(free) if free < LEAST_SPACE => {
            Finding::new(Ended::Fail, format!("{} MiB are free, {} are needed", free >> 20, LEAST_SPACE >> 20))
                .hint("free some space on the disk of the state directory".to_owned())
        }
        Some(free) => Finding::pass(format!("{} MiB are free", free >> 20)),
    }
}

fn swap(in_clear: Option<&[String]>) -> Finding {
    match in_clear {
        None => Finding::new(Ended::Unknown, "whether memory is swapped to a disk is not told on this system"),
        Some([]) => Finding::pass("no memory is swapped to a disk in clear"),
        Some(areas) => Finding::new(Ended::Warn, format!("memory may be swapped in clear to {}", areas.join(", ")))
            .hint("encrypt the swap area or use none: a key in use could be kept there".to_owned()),
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
