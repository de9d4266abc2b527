//! Telling people of a rotation: what failed, and what will need one soon.
//!
//! Owns what of a run's outcome is told. Leaves out the words and the hooks
//! (`robocred::telling`). After the robots' own work and without their locks.

use std::collections::BTreeMap;

use robocred::{
    config::Config,
    inventory::{self, Inventory, Task},
    site::RobotId,
    status::{self, Holdings},
    telling::{self, Telling},
};

use super::super::{
    drive::{Ended, Runs},
    tell::{self, Failed},
};
use crate::{
    error::{CommandError, Kind},
    opened::{Opened, now},
    output::Output,
};

/// Tells of what failed in a run and of what will need a person, and returns
/// the latter. What was done stands, whatever becomes of the telling.
pub(super) async fn both(
    runs: &Runs<'_>,
    config: &Config,
    ended: &BTreeMap<RobotId, Ended>,
    unattended: bool,
) -> Vec<(RobotId, CommandError)> {
    let output = runs.invocation.output;
    let telling = Telling { config, inventory: Some(runs.inventory), now: now() };
    let failed = ended.iter().filter_map(|(id, (_, error))| {
        let error = error.as_ref().filter(|error| tell::concerns_others(error.kind(), unattended))?;
        Some(Failed { robot: id.clone(), task: error.task(), kind: error.kind() })
    });
    tell::failures(output, telling, failed).await;
    ahead(output, telling, runs.inventory, ended).await.unwrap_or_else(|error| {
        output.note(&format!("not everybody could be told: {}", CommandError::from(error).for_programs().message));
        Vec::new()
    })
}

/// Tells of the ends that come nearer and forgets what is mended; returns what needs a person.
async fn ahead(
    output: Output,
    telling: Telling<'_>,
    inventory: &Inventory,
    ended: &BTreeMap<RobotId, Ended>,
) -> Result<Vec<(RobotId, CommandError)>, inventory::Error> {
    let holdings = Holdings::read(inventory).await?;
    let mut ahead = Vec::new();
    for line in status::report(Ok(telling.config), &holdings, telling.now).lines {
        let Some((_, error)) = ended.get(&line.id) else { continue };
        if error.is_none() && telling::is_settled(&line) {
            telling.mended(&line.id, Task::Rotate).await?;
        }
        tell::remark(output, &line.id, "expiring", telling.expiring(&line).await);
        let Some(notice) = telling::notice(&line, telling.now) else { continue };
        let kind = match notice.stage {
            telling::Stage::Expired => Kind::Expired,
            _ if line.attention.iter().any(|raised| raised.code == inventory::AttentionCode::TokenNeeded) => {
                Kind::Person
            }
            _ => continue,
        };
        ahead.push((line.id, CommandError::new(kind, notice.why).hint(notice.hint)));
    }
    Ok(ahead)
}

/// Tells of what kept every robot from being looked at, and gives it back.
pub(super) async fn all(
    opened: &Opened,
    output: Output,
    inventory: Option<&Inventory>,
    robots: &[RobotId],
    unattended: bool,
    error: CommandError,
) -> CommandError {
    if tell::concerns_others(error.kind(), unattended) {
        let telling = Telling { config: &opened.config, inventory, now: now() };
        let failed = |robot: &RobotId| Failed { robot: robot.clone(), task: Task::Rotate, kind: error.kind() };
        tell::failures(output, telling, robots.iter().map(failed)).await;
    }
    error
}
