//! Telling a person through the hooks of the configuration: what failed, and
//! what will need one soon.
//!
//! Owns when the `failure` and the `expiring` hook run, and the sentences they
//! are given: ours, never an appliance's. Both run after the robots' own work
//! and without their locks. One that fails is said on standard error, and
//! changes nothing else.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, stream};
use robocred::{
    config::Config,
    credential::State,
    hook::{self, Event},
    inventory::AttentionCode,
    site::RobotId,
    status::{self, Holdings, Line},
};
use time::{Duration, OffsetDateTime};

use super::{
    super::{
        drive::{Ended, Runs},
        hook::facts,
    },
    AT_ONCE,
};
use crate::{
    error::{CommandError, Kind},
    opened::now,
};

/// A person is told at most this often that one credential is about to end.
const TOLD_EVERY: Duration = Duration::DAY;

/// Tells of what failed in a run and of what will need a person, and returns
/// the latter. What was done stands, whatever becomes of the telling.
pub(super) async fn both(
    runs: &Runs<'_>,
    config: &Config,
    ended: &BTreeMap<RobotId, Ended>,
) -> Vec<(RobotId, CommandError)> {
    let told = async {
        failures(runs, config, ended).await?;
        expiring(runs, config, ended).await
    };
    told.await.unwrap_or_else(|error: CommandError| {
        runs.invocation.output.note(&format!("not everybody could be told: {}", error.for_programs().message));
        Vec::new()
    })
}

/// Runs the failure hook of every robot that failed by more than a mistake of the caller.
async fn failures(runs: &Runs<'_>, config: &Config, ended: &BTreeMap<RobotId, Ended>) -> Result<(), CommandError> {
    let failed = ended.iter().filter_map(|(id, (_, error))| Some((id, error.as_ref()?.kind())));
    let told = failed.filter_map(|(id, kind)| Some((id, kind, sentence(kind)?)));
    let mut telling = stream::iter(told)
        .map(|(id, kind, sentence)| tell(runs, config, id, Event::Failure, kind.code(), sentence))
        .buffer_unordered(AT_ONCE.get());
    while let Some(told) = telling.next().await {
        told?;
    }
    Ok(())
}

/// Runs the expiring hook of every robot whose rotation will need a person, or
/// that has expired, and returns what is needed.
async fn expiring(
    runs: &Runs<'_>,
    config: &Config,
    ended: &BTreeMap<RobotId, Ended>,
) -> Result<Vec<(RobotId, CommandError)>, CommandError> {
    let holdings = Holdings::read(runs.inventory).await?;
    let now = now();
    let mut ahead = Vec::new();
    for line in status::report(Ok(config), &holdings, now).lines {
        if !ended.contains_key(&line.id) {
            continue;
        }
        let Some(reason) = reason(&line, now) else { continue };
        let last = runs.inventory.robot(&line.id).await?.and_then(|row| row.told_at);
        // Told in the future is told by a clock that ran wrong.
        if last.is_none_or(|last| (now - last).abs() >= TOLD_EVERY)
            && tell(runs, config, &line.id, Event::Expiring, reason.code, &reason.message).await?
        {
            runs.inventory.told(&line.id, now).await?;
        }
        let error = CommandError::new(reason.kind, reason.message);
        ahead.push((line.id, reason.hint.into_iter().fold(error, CommandError::hint)));
    }
    Ok(ahead)
}

/// Why a person is wanted.
struct Reason {
    kind: Kind,
    code: &'static str,
    message: String,
    hint: Option<String>,
}

fn reason(line: &Line, now: OffsetDateTime) -> Option<Reason> {
    line.record.as_ref().filter(|record| record.state == State::Active)?;
    if line.window.is_some_and(|window| window.is_expired(now)) {
        let message = "its certificate has expired".to_owned();
        return Some(Reason { kind: Kind::Expired, code: Kind::Expired.code(), message, hint: None });
    }
    let needed = line.attention.iter().find(|raised| raised.code == AttentionCode::TokenNeeded)?;
    Some(Reason {
        kind: Kind::Person,
        code: needed.code.as_str(),
        message: needed.message.clone(),
        hint: needed.hint.clone(),
    })
}

/// Runs a hook, if one is configured; whether it ended well.
async fn tell(
    runs: &Runs<'_>,
    config: &Config,
    id: &RobotId,
    event: Event,
    code: &str,
    message: &str,
) -> Result<bool, CommandError> {
    let Some((site, robot)) = config.robot(id) else { return Ok(false) };
    let Some(command) = event.command(&robot.hooks) else { return Ok(false) };
    let records = runs.inventory.records(id).await?;
    let facts = facts(&records, (site, robot), event).because(code, message);
    let ended = hook::run(command, &facts, hook::LIMIT).await;
    if let Err(error) = &ended {
        let said = error.said().lines().last().map(|last| format!(": {last}")).unwrap_or_default();
        runs.invocation.output.note(&format!("{id}: told nobody by the {event} hook: {error}{said}"));
    }
    Ok(ended.is_ok())
}

/// What a hook is told of a failure; `None` for what whoever ran the command has to mend.
fn sentence(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Usage | Kind::Config | Kind::Locked => return None,
        Kind::Failed => "the run failed, and can be repeated",
        Kind::Refused => "the appliance refused the support token, the robot or its certificate",
        Kind::Unreachable => "the appliance could not be reached; nothing is lost",
        Kind::Untrusted => "the appliance shows a key that is not trusted; nothing was sent to it",
        Kind::Store => "the secret store could not be used",
        Kind::Proof => "the new credential could not be proven",
        Kind::Hook => "the credential works, and the deploy hook failed",
        Kind::Expired => "the credential has expired",
        Kind::Person => "a person is needed: `robocred status` says for what",
    })
}
