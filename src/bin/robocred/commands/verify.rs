//! `verify`: does the credential work, and if not, at which step.

use clap::Args;
use robocred::{
    clock::SystemClock,
    credential::{Record, State},
    inventory::Inventory,
    lifecycle,
    session::Session,
    site::RobotId,
    verify::{self, Check, ControlUse, Ended, Name},
    x509,
};

use super::first_contact;
use crate::{
    Outcome,
    cli::Selector,
    error::{CommandError, Kind, library::verified, worst},
    invocation::Invocation,
    opened::Opened,
    output::{
        checks,
        json::{self, CheckResult, RobotChecks, Verify},
    },
};

/// Prove step by step that a robot's credential works
///
/// Looks at the stored pair, connects, judges the server, and reads with the credential; says how
/// long each step took and what to do about a failure.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The robots, or sites for all their robots; every robot if none is named
    #[arg(value_name = "SITE/ROBOT|SITE")]
    pub robots: Vec<Selector>,

    /// Pin what an unknown server presents at first contact
    #[arg(long)]
    pub accept_new: bool,

    /// Ask with an unregistered certificate too, even if that was done today
    #[arg(long)]
    pub control: bool,
}

pub fn run(invocation: &Invocation, args: &VerifyArgs) -> Outcome {
    super::block_on(verify_all(invocation, args))?
}

async fn verify_all(invocation: &Invocation, args: &VerifyArgs) -> Outcome {
    let mut opened = Opened::load(invocation)?;
    let robots = opened.select(&args.robots)?;
    // Needed for the first connection, and the inventory has to be opened before that.
    std::thread::spawn(x509::warm_up);
    let inventory = opened.inventory_if_there().await?;
    let mut body = Verify { robots: Vec::new(), warnings: Vec::new() };
    if let (Some(inventory), []) = (&inventory, args.robots.as_slice()) {
        body.warnings.extend(opened.warn_of_unconfigured(invocation, inventory).await?);
    }
    let mut failures = Vec::new();
    for id in robots {
        let verified = match &inventory {
            Some(inventory) => verify_one(invocation, args, &mut opened, inventory, &id).await,
            None => Ok(nothing_active(&id)),
        };
        if let (Some(inventory), Err(error)) = (&inventory, &verified) {
            opened.raise_store_trouble(inventory, std::slice::from_ref(&id), error).await;
        }
        // One robot that cannot be looked at does not hide the others.
        let (checks, failure) = verified.unwrap_or_else(|error| stopped_by(&error));
        failures.extend(failure);
        let checks = checks.into_iter().map(shown).collect();
        body.robots.push(RobotChecks { robot: id.to_string(), ok: failure.is_none(), checks });
    }
    invocation.output.result(&body, checks::show_robots)?;
    Ok(worst(failures))
}

async fn verify_one(
    invocation: &Invocation,
    args: &VerifyArgs,
    opened: &mut Opened,
    inventory: &Inventory,
    id: &RobotId,
) -> Result<(Vec<Check>, Option<Kind>), CommandError> {
    first_contact::settle(invocation, opened, &id.site, args.accept_new).await?;
    let Some(record) = active(inventory, id).await? else { return Ok(nothing_active(id)) };
    let site = opened.site(&id.site)?;
    if site.trust.is_none() {
        let detail = "no pin, CA file or system roots are configured";
        let hint = format!("run `robocred trust {}`", site.name);
        return Ok(stopped_at(Name::Config, detail, Some(&hint), Kind::Untrusted));
    }
    let secrets = opened.secrets(invocation, inventory).await?;
    let session = Session::open(site, inventory, &secrets, &SystemClock)?;
    let control = if args.control { ControlUse::Now } else { ControlUse::Daily };
    let report = verify::verify(&session, &record, control).await;
    if let Some(proof) = &report.proof {
        inventory.record_proof(&record.id, proof.at()).await?;
    }
    // A site that somebody else is changing right now is left alone: the next look says it again.
    if let Ok(lock) = inventory.lock_site(&id.site, None, session.now()).await {
        lifecycle::note(inventory, &lock, id, &report, session.now()).await?;
        // A read that is accepted does not say which of two state directories lives.
        match opened.gate(invocation, inventory, &secrets, &lock).await {
            Err(error) if error.kind() != Kind::Person => return Err(error),
            _ => (),
        }
    }
    Ok((report.checks, report.failure.map(verified)))
}

/// The generation in use.
pub(super) async fn active(inventory: &Inventory, id: &RobotId) -> Result<Option<Record>, CommandError> {
    Ok(inventory.records(id).await?.into_iter().find(|record| record.state == State::Active))
}

fn nothing_active(id: &RobotId) -> (Vec<Check>, Option<Kind>) {
    let hint = format!("run `robocred provision {id}`");
    stopped_at(Name::Key, "the robot has no active credential", Some(&hint), Kind::Failed)
}

/// The steps of a verification that could not begin.
fn stopped_by(error: &CommandError) -> (Vec<Check>, Option<Kind>) {
    let step = match error.kind() {
        Kind::Store => Name::Key,
        Kind::Unreachable => Name::Connect,
        Kind::Untrusted => Name::Trust,
        _ => Name::Config,
    };
    let told = error.for_programs();
    stopped_at(step, &told.message, told.hint.as_deref(), error.kind())
}

/// The steps of a verification of which only `failed` was looked at.
fn stopped_at(failed: Name, detail: &str, hint: Option<&str>, kind: Kind) -> (Vec<Check>, Option<Kind>) {
    let check = |name: &Name| {
        let (ended, millis, detail, hint) = match *name {
            name if name == failed => (Ended::Fail, Some(0), detail, hint),
            // It names the robot, or nobody would have looked for it.
            Name::Config => (Ended::Pass, Some(0), "", None),
            _ => (Ended::Skip, None, "not reached", None),
        };
        Check { name: name.as_str(), ended, millis, detail: detail.to_owned(), hint: hint.map(str::to_owned) }
    };
    (Name::ALL.iter().map(check).collect(), Some(kind))
}

/// A check as it is shown.
pub(super) fn shown(check: Check) -> json::Check {
    json::Check {
        name: check.name.to_owned(),
        result: match check.ended {
            Ended::Pass => CheckResult::Pass,
            Ended::Warn => CheckResult::Warn,
            Ended::Fail => CheckResult::Fail,
            Ended::Skip => CheckResult::Skip,
            Ended::Unknown => CheckResult::Unknown,
        },
        millis: check.millis,
        detail: Some(check.detail).filter(|detail| !detail.is_empty()),
        hint: check.hint,
    }
}
