//! Telling of what failed, as the commands that run by schedule share it.
//!
//! Owns which failures are told and which only concern whoever typed the
//! command. A hook that fails is said on standard error, and changes nothing
//! else: what was done stands.

use std::num::NonZeroUsize;

use futures_util::{StreamExt as _, stream};
use robocred::{
    inventory::{self, Task},
    site::RobotId,
    telling::{Telling, Told},
};

use crate::{
    error::{CommandError, Kind},
    output::Output,
};

/// How many hooks are run at once.
const AT_ONCE: NonZeroUsize = NonZeroUsize::new(8).expect("8 is not 0");

/// What failed for a robot, to be told by its hook.
#[derive(Clone, Debug)]
pub struct Failed {
    pub robot: RobotId,
    pub task: Task,
    pub kind: Kind,
}

/// Whether a failure concerns more people than the one who typed the command. A mistake in the configuration does
/// where nobody is there.
pub fn concerns_others(kind: Kind, unattended: bool) -> bool {
    match kind {
        Kind::Usage | Kind::Locked => false,
        Kind::Config => unattended,
        _ => true,
    }
}

/// Runs the failure hooks.
pub async fn failures(output: Output, telling: Telling<'_>, failed: impl IntoIterator<Item = Failed>) {
    let mut running = stream::iter(failed)
        .map(|failed| async move {
            let told = telling.failed(&failed.robot, failed.task, failed.kind.code()).await;
            (failed.robot, told)
        })
        .buffer_unordered(AT_ONCE.get());
    while let Some((id, told)) = running.next().await {
        remark(output, &id, "failure", told);
    }
}

/// Says on standard error that nobody was told.
pub fn remark(output: Output, id: &RobotId, hook: &str, told: Result<Told, inventory::Error>) {
    match told {
        Ok(Told::Nobody | Told::Before | Told::Now) => {}
        Ok(Told::InVain(error)) => {
            let said = error.said().lines().last().map(|last| format!(": {last}")).unwrap_or_default();
            output.note(&format!("{id}: told nobody by the {hook} hook: {error}{said}"));
        }
        Err(error) => {
            let message = CommandError::from(error).for_programs().message;
            output.note(&format!("{id}: the {hook} hook: {message}"));
        }
    }
}
