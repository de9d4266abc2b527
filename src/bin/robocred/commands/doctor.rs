//! `doctor`: are the surroundings fit for the work.

use clap::Args;
use robocred::{
    config::Config,
    verify::{Ended, doctor},
};

use super::verify::shown;
use crate::{
    Outcome,
    error::Kind,
    invocation::Invocation,
    opened::{choice, now, paths},
    output::{checks, json::Doctor},
};

/// Examine the surroundings: secret store, clock, permissions, configuration, disk
///
/// Tries the secret store as this user. Opens no connection and changes nothing.
#[derive(Debug, Args)]
pub struct DoctorArgs {}

pub fn run(invocation: &Invocation, _args: &DoctorArgs) -> Outcome {
    let paths = paths(invocation)?;
    let config = Config::load(&paths);
    let choice = choice(invocation, config.as_ref().ok());
    let checks = super::block_on(doctor::doctor(&paths, config.as_ref(), choice, now()))?;
    let failed = checks.iter().find(|check| check.ended == Ended::Fail).map(|check| match check.name {
        "config" | "permissions" => Kind::Config,
        "store" | "seal-key" => Kind::Store,
        _ => Kind::Failed,
    });
    let body = Doctor { ok: failed.is_none(), checks: checks.into_iter().map(shown).collect() };
    invocation.output.result(&body, checks::show_doctor)?;
    Ok(failed)
}
