//! What the loop knows and others are shown: configuration and inventory as
//! they are now, re-read only when they have changed.
//!
//! Owns the one reader of the inventory and the last good configuration of a
//! running watch. Leaves out what follows from them (`schedule`, `status`).
//! Opens no secret store; changes nothing. What cannot be read is told in
//! [`View::trouble`], and the last good state is kept to be shown.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex as StdMutex, PoisonError},
    time::{Duration, Instant},
};

use time::OffsetDateTime;
use tokio::sync::Mutex;

use super::Job;
use crate::{
    config::{Config, Problems},
    credential::State,
    inventory::Inventory,
    site::SiteName,
    status::{self, Holdings, Report, document::Status},
};

/// Shared between the loop, which keeps it beating, and HTTP, which reads it.
#[derive(Debug)]
pub struct Board {
    config_file: PathBuf,
    state_dir: PathBuf,
    seen: Mutex<Seen>,
    pulse: StdMutex<Pulse>,
}

/// What was read last.
#[derive(Debug)]
struct Seen {
    config: Arc<Config>,
    config_mark: Mark,
    config_trouble: Option<String>,
    reader: Option<(Inventory, Mark, i64)>,
    holdings: Arc<Holdings>,
    store_id: Arc<str>,
    /// An inventory was there: from then on its absence is trouble.
    began: bool,
}

/// By which a file is known to be the same: its device, its number, its length
/// and when it was changed, or who may read it. `None` where it is not there.
type Mark = Option<(u64, u64, u64, Moment)>;

/// A moment as the disk writes it down.
type Moment = (i64, i64);

/// How the loop is.
#[derive(Clone, Debug)]
struct Pulse {
    at: Instant,
    planned: bool,
    beat: Beat,
}

/// What the loop shows of one look at the clock.
#[derive(Clone, Debug, Default)]
pub struct Beat {
    /// What its children are doing.
    pub running: Vec<Job>,
    /// Why it could make no plan: nothing is begun.
    pub hindrance: Option<String>,
    /// The sites of which the last end of a task could not be written down.
    pub unrecorded: BTreeSet<SiteName>,
}

/// How the loop is, as others see it.
#[derive(Clone, Debug)]
pub struct Health {
    /// How long ago the loop last looked at the clock.
    pub since_beat: Duration,
    /// Whether its first plan was made.
    pub planned: bool,
    /// How many children are at work.
    pub running: usize,
}

/// One moment's view.
#[derive(Clone, Debug)]
pub struct View {
    /// The last good configuration.
    pub config: Arc<Config>,
    /// The inventory, as last read.
    pub holdings: Arc<Holdings>,
    /// Why the inventory cannot be read now; nothing is to be begun then.
    pub trouble: Option<String>,
    /// Why the configuration as it stands in the file was not taken.
    pub config_trouble: Option<String>,
    /// The random name of the inventory; empty before there is one.
    pub store_id: Arc<str>,
    /// What the loop has shown last.
    pub beat: Beat,
    state_dir: PathBuf,
}

impl View {
    /// The one report, as of `now`. Pure.
    #[must_use]
    pub fn report(&self, now: OffsetDateTime) -> Report {
        let mut report = status::report(Ok(&self.config), &self.holdings, now);
        for trouble in self.hindrance().into_iter().chain(self.config_trouble.as_deref()) {
            report.could_not_read(trouble.to_owned());
        }
        report.warnings.extend(self.beat.unrecorded.iter().map(unrecorded));
        report
    }

    /// Why nothing is begun.
    #[must_use]
    pub fn hindrance(&self) -> Option<&str> {
        self.trouble.as_deref().or(self.beat.hindrance.as_deref())
    }

    /// The report as `status --json` has it.
    #[must_use]
    pub fn document(&self, report: &Report) -> Status {
        Status::of(report, self.config.path.clone(), self.state_dir.clone())
    }
}

/// What follows from a configuration that cannot be used: each child reads the file by itself.
const UNTIL: &str = "and what is due fails until it is put right";

impl Seen {
    /// What is wrong where there never was a configuration, and robots have credentials all the same.
    fn unconfigured(&self) -> Option<String> {
        let held = self.holdings.records.iter().filter(|record| record.state == State::Active).count();
        let path = self.config.path.display();
        (!self.config.exists && held > 0).then(|| match held {
            1 => format!("there is no configuration {path}, and nobody looks after the robot of the inventory"),
            held => {
                format!("there is no configuration {path}, and nobody looks after the {held} robots of the inventory")
            }
        })
    }
}

impl Board {
    /// A board over the last good configuration. Reads nothing yet.
    #[must_use]
    pub fn new(config: Config, state_dir: PathBuf) -> Self {
        let config_file = config.path.clone();
        let seen = Seen {
            config_mark: mark(&config_file),
            config: Arc::new(config),
            config_trouble: None,
            reader: None,
            holdings: Arc::default(),
            store_id: "".into(),
            began: false,
        };
        let pulse = Pulse { at: Instant::now(), planned: false, beat: Beat::default() };
        Self { config_file, state_dir, seen: Mutex::new(seen), pulse: StdMutex::new(pulse) }
    }

    /// What stands now. Reads the files only where they have changed since the last look.
    pub async fn view(&self) -> View {
        let mut seen = self.seen.lock().await;
        let there = mark(&self.config_file);
        if there != seen.config_mark {
            // Told in the view; the last good one stays.
            let _ = self.take_config(&mut seen, there);
        }
        let trouble = self.take_holdings(&mut seen).await.err();
        View {
            config: seen.config.clone(),
            holdings: seen.holdings.clone(),
            trouble,
            config_trouble: seen.config_trouble.clone().or_else(|| seen.unconfigured()),
            store_id: seen.store_id.clone(),
            beat: self.pulse().beat.clone(),
            state_dir: self.state_dir.clone(),
        }
    }

    /// Reads the configuration now, whether its file has changed or not.
    ///
    /// # Errors
    /// All [`Problems`] of the file; the one in use stays.
    pub async fn reload(&self) -> Result<(), Problems> {
        let mut seen = self.seen.lock().await;
        let there = mark(&self.config_file);
        self.take_config(&mut seen, there)
    }

    fn take_config(&self, seen: &mut Seen, there: Mark) -> Result<(), Problems> {
        seen.config_mark = there;
        match Config::load_file(&self.config_file) {
            Ok(config) if !config.exists && seen.config.exists => {
                // An editor that replaces the file takes it away for a moment; an empty one is no wish.
                let path = self.config_file.display();
                seen.config_trouble =
                    Some(format!("the configuration {path} is gone; the one read before is kept, {UNTIL}"));
            }
            Ok(config) => {
                seen.config = Arc::new(config);
                seen.config_trouble = None;
            }
            Err(problems) => {
                seen.config_trouble = Some(format!("{problems}; the configuration read before is kept, {UNTIL}"));
                return Err(problems);
            }
        }
        Ok(())
    }

    async fn take_holdings(&self, seen: &mut Seen) -> Result<(), String> {
        let file = self.state_dir.join("inventory.db");
        let there = identity(&file);
        if seen.reader.as_ref().is_none_or(|(_, opened, _)| *opened != there) {
            seen.reader = None;
            match Inventory::open_read_only(&self.state_dir).await {
                Ok(Some(inventory)) => {
                    seen.began = true;
                    seen.store_id = inventory.store_id().into();
                    seen.reader = Some((inventory, there, -1));
                }
                Ok(None) if seen.began => return Err(format!("the inventory {} is gone", file.display())),
                Ok(None) => return Ok(()),
                Err(error) => return Err(told(&error)),
            }
        }
        let Some((inventory, _, read)) = &mut seen.reader else { return Ok(()) };
        let fresh = async {
            let version = inventory.data_version().await?;
            // On a read-only disk nothing tells of changes.
            if version == *read && inventory.warning().is_none() {
                return Ok(None);
            }
            Holdings::read(inventory).await.map(|holdings| Some((version, holdings)))
        };
        match fresh.await {
            Ok(None) => Ok(()),
            Ok(Some((version, holdings))) => {
                *read = version;
                seen.holdings = Arc::new(holdings);
                Ok(())
            }
            Err(error) => {
                seen.reader = None;
                Err(told(&error))
            }
        }
    }

    /// The loop has looked at the clock.
    pub fn beat(&self, beat: Beat) {
        let mut pulse = self.pulse();
        let planned = pulse.planned || beat.hindrance.is_none();
        *pulse = Pulse { at: Instant::now(), planned, beat };
    }

    /// How the loop is.
    #[must_use]
    pub fn health(&self) -> Health {
        let pulse = self.pulse();
        Health { since_beat: pulse.at.elapsed(), planned: pulse.planned, running: pulse.beat.running.len() }
    }

    fn pulse(&self) -> std::sync::MutexGuard<'_, Pulse> {
        self.pulse.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is said of a site of which the last end of a task could not be written down.
pub(super) fn unrecorded(site: &SiteName) -> String {
    format!("how the last task of {site} has ended could not be written down; what is said of its tasks is older")
}

/// An error with its causes, on one line.
pub(super) fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn mark(path: &Path) -> Mark {
    let metadata = fs::metadata(path).ok()?;
    let (device, number) = numbers(&metadata);
    Some((device, number, metadata.len(), changed(&metadata)))
}

/// Only which file it is: an inventory changes all the time.
fn identity(path: &Path) -> Mark {
    let (device, number) = numbers(&fs::metadata(path).ok()?);
    Some((device, number, 0, (0, 0)))
}

#[cfg(unix)]
fn numbers(metadata: &fs::Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt as _;
    (metadata.dev(), metadata.ino())
}

/// Not when the content was written, which does not tell of a mode that was set right.
#[cfg(unix)]
fn changed(metadata: &fs::Metadata) -> Moment {
    use std::os::unix::fs::MetadataExt as _;
    (metadata.ctime(), metadata.ctime_nsec())
}

#[cfg(not(unix))]
fn numbers(_metadata: &fs::Metadata) -> (u64, u64) {
    (0, 0)
}

#[cfg(not(unix))]
fn changed(metadata: &fs::Metadata) -> Moment {
    let since = metadata.modified().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    since.map_or((0, 0), |since| (i64::try_from(since.as_secs()).unwrap_or(i64::MAX), since.subsec_nanos().into()))
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
