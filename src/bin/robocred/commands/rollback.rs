//! `rollback`: back to the previous generation.

use clap::Args;
use robocred::{inventory::Inventory, lifecycle, site::RobotId};

use super::drive::{self, Ended, Order, Runs};
use crate::{
    Outcome,
    cli::{LockWait, Selector},
    error::{CommandError, Kind},
    invocation::Invocation,
    opened::Opened,
    output::{
        json::{Plan, Results, RobotPlan},
        results,
    },
};

/// Return to the previous generation while it is still accepted
///
/// Proves that the appliance still accepts it, makes it the one in use, and delivers it. The
/// generation it takes the place of is kept until the overlap has passed.
#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// The robot
    #[arg(value_name = "SITE/ROBOT")]
    pub robot: RobotId,

    #[command(flatten)]
    pub lock_wait: LockWait,

    /// Print what would be done and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

pub fn run(invocation: &Invocation, args: &RollbackArgs) -> Outcome {
    let opened = Opened::load(invocation)?;
    opened.select(&[Selector::Robot(args.robot.clone())])?;
    if args.dry_run {
        return super::block_on(plan(invocation, args, &opened))?;
    }
    let (result, failure) = super::block_on(roll_back(invocation, args, &opened))?;
    if let Some(error) = &failure {
        invocation.output.robot_error(&result.robot, error);
    }
    invocation.output.result(&Results { results: vec![result], form: None, warnings: Vec::new() }, results::show)?;
    Ok(failure.map(|error| error.kind()))
}

async fn plan(invocation: &Invocation, args: &RollbackArgs, opened: &Opened) -> Outcome {
    let inventory = opened.holding(&args.robot).await?;
    let records = inventory.records(&args.robot).await?;
    let steps = match lifecycle::returns_to(&args.robot, &records)? {
        Some(_) => ["prove", "rollback", "deliver"].map(ToOwned::to_owned).into(),
        None => Vec::new(),
    };
    let body = Plan { plan: vec![RobotPlan { robot: args.robot.to_string(), steps }] };
    invocation.output.result(&body, results::show_plan)?;
    Ok(None)
}

async fn roll_back(invocation: &Invocation, args: &RollbackArgs, opened: &Opened) -> Ended {
    let inventory = match opened.holding(&args.robot).await {
        Ok(inventory) => inventory,
        Err(error) => return (drive::failed(None, &args.robot, &error).await, Some(error)),
    };
    match under_lock(invocation, args, opened, &inventory).await {
        Ok(ended) => ended,
        Err(error) => (drive::failed(Some(&inventory), &args.robot, &error).await, Some(error)),
    }
}

async fn under_lock(
    invocation: &Invocation,
    args: &RollbackArgs,
    opened: &Opened,
    inventory: &Inventory,
) -> Result<Ended, CommandError> {
    let id = &args.robot;
    let configured = opened.config.robot(id);
    let configured = configured.ok_or_else(|| CommandError::new(Kind::Config, format!("{id} is not configured")))?;
    let lock = opened.lock(invocation, inventory, &id.site, args.lock_wait).await?;
    let secrets = opened.secrets(invocation, inventory).await?;
    opened.gate(invocation, inventory, &secrets, &lock).await?;
    let runs = Runs { invocation, opened, inventory, secrets: &secrets, given: None, asks: false };
    let outcome = runs.carry_out(&lock, configured, Order::RollBack).await?;
    Ok(drive::ended(id, outcome))
}
