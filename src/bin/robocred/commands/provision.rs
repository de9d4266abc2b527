//! `provision`: from a support token to a working robot.

mod existing;

use clap::Args;
use robocred::{
    appliance::SupportToken,
    credential::plan::{Aim, Step},
    export,
    inventory::{Inventory, NewRobot, Origin},
    lifecycle::{self, GivenToken, Wish},
    site::{Endpoint, ExportTarget, Robot, RobotId, RobotName},
    x509,
};

use super::{
    drive::{self, Ended, Order, Runs},
    wishes::{Wanted, Wishes},
};
use crate::{
    Outcome,
    cli::{LockWait, TokenSource},
    error::{CommandError, Kind},
    invocation::Invocation,
    opened::{Opened, now},
    output::{
        json::{Export, Plan, Results, RobotPlan},
        results,
    },
};
use existing::Existing;

/// Make a robot's first credential: key, certificate, registration, proof, export
///
/// Makes a private key and a certificate, stores the key, registers the certificate with the
/// support token, and proves that the appliance accepts it. A site or robot that is new is added
/// to the configuration file. Running it again continues what was interrupted, and leaves a
/// working robot alone.
///
/// The support token comes from --token-file or --token-stdin, else from the secret store, else
/// from a hidden prompt. It is sent only to a server that is trusted.
#[derive(Debug, Args)]
pub struct ProvisionArgs {
    /// The robot
    #[arg(value_name = "SITE/ROBOT")]
    pub robot: RobotId,

    /// The appliance's address, for a new site: `https://HOST` or `https://HOST:PORT`
    #[arg(long, value_name = "URL")]
    pub url: Option<Endpoint>,

    #[command(flatten)]
    pub token: TokenSource,

    #[command(flatten)]
    pub wanted: Wanted,

    #[command(flatten)]
    pub lock_wait: LockWait,

    /// Print what would be done and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

pub fn run(invocation: &Invocation, args: &ProvisionArgs) -> Outcome {
    let opened = Opened::load(invocation)?;
    opened.is_the_one_meant()?;
    let base_name = args.base_name()?;
    // Read before anything is made: a token that cannot be used changes nothing.
    let given = args.token.given()?;
    if args.dry_run {
        return super::block_on(plan(invocation, args, &opened, &base_name))?;
    }
    let (result, failure) = super::block_on(provision(invocation, args, &opened, base_name, given))?;
    match &failure {
        // Nothing was looked at: the command line itself cannot be followed.
        Some(error) if error.kind() == Kind::Usage => return Err(error.clone()),
        Some(error) => invocation.output.robot_error(&result.robot, error),
        None => {}
    }
    let warnings = opened.notice().into_iter().map(ToOwned::to_owned).collect();
    invocation.output.result(&Results { results: vec![result], form: None, warnings }, results::show)?;
    Ok(failure.map(|error| error.kind()))
}

impl ProvisionArgs {
    fn wishes(&self) -> Wishes<'_> {
        Wishes {
            robot: &self.robot,
            url: self.url.as_ref(),
            // A token never leaves on first sight alone: a person is asked.
            accept_new: false,
            ..self.wanted.wishes(&self.robot)
        }
    }

    /// The name the generations are registered under.
    fn base_name(&self) -> Result<RobotName, CommandError> {
        match &self.wanted.registered_name {
            None => Ok(self.robot.robot.clone()),
            Some(name) => Ok(name.as_str().parse()?),
        }
    }
}

async fn plan(invocation: &Invocation, args: &ProvisionArgs, opened: &Opened, base_name: &RobotName) -> Outcome {
    args.wishes().refuse_contradictions(&opened.config)?;
    let configured = opened.config.robot(&args.robot).and_then(|(_, robot)| robot.export.as_ref());
    let export = args.wishes().export_target(configured)?.or_else(|| configured.cloned());
    let (existing, steps) = foresee(invocation, opened, &args.robot, export.as_ref()).await?;
    existing.refuse_contradictions(args, base_name)?;
    let steps = steps.into_iter().filter_map(Step::name).map(ToOwned::to_owned).collect();
    let body = Plan { plan: vec![RobotPlan { robot: args.robot.to_string(), steps }] };
    invocation.output.result(&body, results::show_plan)?;
    Ok(None)
}

/// What is there and what is left to do, without changing anything or trying a store.
async fn foresee(
    invocation: &Invocation,
    opened: &Opened,
    id: &RobotId,
    export: Option<&ExportTarget>,
) -> Result<(Existing, Vec<Step>), CommandError> {
    let inventory = opened.inventory_read_only().await?;
    let existing = match &inventory {
        Some(inventory) => Existing::read(inventory, id).await?,
        None => Existing::default(),
    };
    let secrets = match inventory.as_ref().and_then(Inventory::store_kind) {
        Some(kind) => Some(opened.recorded_secrets(invocation, Some(kind)).await?),
        None => None,
    };
    let holdings = inventory.as_ref().zip(secrets.as_ref());
    let wish = Wish { id, aim: Aim::Provision, robot: None, export };
    Ok((existing, lifecycle::foresee(holdings, &wish, now()).await?))
}

/// Provisions, and says what came of it also where it failed.
async fn provision(
    invocation: &Invocation,
    args: &ProvisionArgs,
    opened: &Opened,
    base_name: RobotName,
    given: Option<SupportToken>,
) -> Ended {
    match Box::pin(bring_about(invocation, args, opened, base_name, given)).await {
        Ok(ended) => ended,
        Err(error) => {
            let inventory = opened.inventory_read_only().await.ok().flatten();
            (drive::failed(inventory.as_ref(), &args.robot, &error).await, Some(error))
        }
    }
}

async fn bring_about(
    invocation: &Invocation,
    args: &ProvisionArgs,
    opened: &Opened,
    base_name: RobotName,
    given: Option<SupportToken>,
) -> Result<Ended, CommandError> {
    args.wishes().refuse_contradictions(&opened.config)?;
    let before = opened.inventory_if_any().await?;
    let existing = match &before {
        Some(inventory) => Existing::read(inventory, &args.robot).await?,
        None => Existing::default(),
    };
    existing.refuse_contradictions(args, &base_name)?;
    if let (Some(inventory), None) = (&before, &existing.record) {
        inventory.name_is_free(&args.robot, &base_name).await?;
    }
    if existing.record.is_none() {
        // A key will be made, once a few things are on the disk.
        std::thread::spawn(x509::warm_up);
    }
    // A store that cannot be used is known before anything is written down.
    let recorded = before.as_ref().and_then(Inventory::store_kind);
    let secrets = opened.recorded_secrets(invocation, recorded).await?;
    let trust = args.wishes().decide_trust(invocation, opened).await?;
    let config = args.wishes().write_down(opened, trust)?;
    let (site, robot) = config.robot(&args.robot).ok_or_else(|| {
        CommandError::new(Kind::Failed, format!("{} was written to the configuration and is not there", args.robot))
    })?;
    if let (Some(inventory), Some(record), false) = (&before, &existing.record, args.wanted.ingest) {
        let holdings = Some((inventory, &secrets));
        let export = robot.export.as_ref();
        let wish = Wish { id: &args.robot, aim: Aim::Provision, robot: Some(robot), export };
        let steps = lifecycle::foresee(holdings, &wish, now()).await?;
        if steps == [Step::Done] {
            // No lock, no commit, no connection.
            return Ok(done(args, robot, lifecycle::Outcome::unchanged(record.clone())));
        }
    }
    drop(before);

    let inventory = opened.inventory().await?;
    let lock = opened.lock(invocation, &inventory, &site.name, args.lock_wait).await?;
    opened.record_store(&inventory, &secrets).await?;
    opened.gate(invocation, &inventory, &secrets, &lock).await?;
    let new = NewRobot {
        id: args.robot.clone(),
        base_name,
        role: robot.role,
        endpoint: site.endpoint.clone(),
        origin: Origin::Provisioned,
    };
    inventory.adopt_robot(&lock, &new, now()).await?;

    let given = given.map(GivenToken::new);
    let runs = Runs { invocation, opened, inventory: &inventory, secrets: &secrets, given: given.as_ref(), asks: true };
    let outcome = runs.carry_out(&lock, (site, robot), Order::Aim(Aim::Provision)).await?;
    // Reading needs no right to change, and takes its time.
    drop(lock);
    if args.wanted.ingest {
        runs.first_ingest(site, robot, &outcome.record).await?;
    }
    Ok(done(args, robot, outcome))
}

fn done(args: &ProvisionArgs, robot: &Robot, outcome: lifecycle::Outcome) -> Ended {
    let (mut result, failure) = drive::ended(&args.robot, outcome);
    if let (true, Some(target)) = (result.exports.is_empty() && args.wanted.export.is_some(), &robot.export) {
        let files = export::FILES.iter().map(|name| target.dir.join(name)).collect();
        result.exports.push(Export { dir: target.dir.clone(), files });
    }
    (result, failure)
}
