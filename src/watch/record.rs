//! What is kept of the end of a child, and who is told of it.
//!
//! Owns the only changes that a watch itself makes: the row of a task, and that a
//! person was told. The inventory is opened for each and closed again. Leaves out
//! what follows where that fails ([`run`](super::run)).

use std::sync::Arc;

use time::OffsetDateTime;
use tokio::sync::Semaphore;

use super::{Job, Settings, board::told};
use crate::{
    config::Config,
    credential::plan::back_off,
    inventory::{Error, Inventory, Task, TaskFailure},
    site::{Robot, RobotId},
    status::Line,
    telling::{Telling, Told},
};

/// Writes down how a task has ended; how often in a row it has failed by now.
///
/// # Errors
/// In words, why it could not be written down.
pub(super) async fn ended(
    settings: &Settings,
    job: &Job,
    failure: Option<&TaskFailure>,
    now: OffsetDateTime,
) -> Result<u32, String> {
    let written = async {
        let Some(inventory) = writer(settings, now).await? else { return Ok(None) };
        let mut failed = 0;
        let rest = |tries| {
            failed = tries;
            back_off(tries)
        };
        inventory.task_ended(&job.site, job.task, failure.map_or(Ok(()), Err), rest, now).await?;
        inventory.close().await?;
        Ok::<_, Error>(Some(failed))
    };
    match written.await {
        Ok(Some(tries)) => Ok(tries),
        Ok(None) => Err(format!("there is no inventory in {}", settings.state_dir.display())),
        Err(error) => Err(told(&error)),
    }
}

/// How many sites' robots are told of at once; each waits for its hooks, which may take their time.
static SPREADING: Semaphore = Semaphore::const_new(8);

/// What people are to be told of the robots of a job.
#[derive(Debug)]
pub(super) struct News {
    config: Arc<Config>,
    task: Task,
    robots: Vec<RobotId>,
    failed: Option<String>,
    ahead: Vec<Line>,
}

impl News {
    /// That the job failed with the code, if with one that nobody was told of; and the ends that come nearer.
    pub(super) fn of(config: &Arc<Config>, job: &Job, failed: Option<&str>, ahead: Vec<Line>) -> Self {
        let robots = config.site(&job.site).into_iter().flat_map(|site| &site.robots);
        let meant = robots.filter(|robot| job.robots.is_empty() || job.robots.contains(&robot.name));
        let id = |robot: &Robot| RobotId { site: job.site.clone(), robot: robot.name.clone() };
        let (robots, failed) = (meant.map(id).collect(), failed.map(ToOwned::to_owned));
        Self { config: config.clone(), task: job.task, robots, failed, ahead }
    }

    /// Runs the hooks; in words, whom that could not tell.
    pub(super) async fn spread(self, settings: &Settings, now: OffsetDateTime) -> Vec<String> {
        let Ok(_turn) = SPREADING.acquire().await else { return Vec::new() };
        // What cannot be opened is no reason to tell nobody of a failure. Of an end it would be told at each.
        let inventory = writer(settings, now).await.ok().flatten();
        let telling = Telling { config: &self.config, inventory: inventory.as_ref(), now };
        let mut in_vain = Vec::new();
        let mut note = |id: &RobotId, result| match result {
            Ok(Told::InVain(error)) => in_vain.push(format!("{id}: {error}")),
            Ok(Told::Nobody | Told::Before | Told::Now) => {}
            Err(error) => in_vain.push(format!("{id}: {}", told(&error))),
        };
        if let Some(code) = &self.failed {
            for id in &self.robots {
                note(id, telling.failed(id, self.task, code).await);
            }
        }
        for line in self.ahead.iter().filter(|_| inventory.is_some()) {
            note(&line.id, telling.expiring(line).await);
        }
        in_vain
    }
}

/// The inventory for a change; `None` where there is none: one that is gone is not made anew.
async fn writer(settings: &Settings, now: OffsetDateTime) -> Result<Option<Inventory>, Error> {
    if Inventory::open_read_only(&settings.state_dir).await?.is_none() {
        return Ok(None);
    }
    Inventory::open(&settings.state_dir, &settings.actor, now).await.map(Some)
}
