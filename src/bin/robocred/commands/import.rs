//! `import`: a robot that was made by hand, or by this tool before its state was lost.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use clap::{Args, builder::PossibleValue};
use robocred::{
    clock::SystemClock,
    config::Overrides,
    credential::{
        Record, RegisteredName,
        plan::{Aim, Step},
    },
    inventory::Inventory,
    lifecycle::{
        self, Wish,
        import::{Import, Pair, Standing, import, standing},
    },
    secrets::Secrets,
    session::Session,
    site::{Endpoint, RobotId, Role},
    x509::MAX_PEM,
};
use zeroize::Zeroizing;

use super::{
    drive::{Order, Runs},
    wishes::{TrustFlags, Wishes},
};
use crate::{
    Outcome,
    cli::{LockWait, one_of},
    error::{CommandError, Kind},
    invocation::Invocation,
    opened::{Opened, now},
    output::{
        json::{Action, Export, Plan, Results, RobotPlan, RobotResult},
        results::{self, about},
    },
    secret_file,
};

/// Take over a robot that was made by hand, or take one back after its state was lost
///
/// Checks that the private key and the certificate belong together, keeps the key, and proves that
/// the appliance accepts the pair. Nothing is registered, and nothing on the appliance is changed.
/// From then on the robot is rotated like any other. A site or robot that is new is added to the
/// configuration file.
///
/// The files are left as they are. A combined.pem may be named for both.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The robot
    #[arg(value_name = "SITE/ROBOT")]
    pub robot: RobotId,

    /// The private key, unencrypted, in PEM form (at most 64 KiB)
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,

    /// Its self-signed certificate, in PEM form (at most 64 KiB)
    #[arg(long, value_name = "FILE")]
    pub cert: PathBuf,

    /// The appliance's address, for a new site: `https://HOST` or `https://HOST:PORT`
    #[arg(long, value_name = "URL")]
    pub url: Option<Endpoint>,

    /// The role it is registered with [default: reader]
    #[arg(long, value_name = "ROLE", value_parser = one_of::<Role>(
        [Role::Reader, Role::Admin].map(|role| PossibleValue::new(role.as_str()).alias(role.on_the_wire()))
    ))]
    pub role: Option<Role>,

    /// The name it is registered with, if that is neither the robot's own nor its certificate's
    #[arg(long, value_name = "NAME")]
    pub registered_name: Option<RegisteredName>,

    #[command(flatten)]
    pub trust: TrustFlags,

    /// Pin what an unknown server presents at first contact
    #[arg(long)]
    pub accept_new: bool,

    /// Print what would be done and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

pub fn run(invocation: &Invocation, args: &ImportArgs) -> Outcome {
    let opened = Opened::load(invocation)?;
    opened.is_the_one_meant()?;
    // Read and judged before anything is made: a pair that cannot be used changes nothing.
    let (pair, mut warnings) = pair(invocation, args)?;
    if args.dry_run {
        return super::block_on(plan(invocation, args, &opened, &pair))?;
    }
    let (result, failure) = match super::block_on(bring_about(invocation, args, &opened, pair))? {
        Ok(result) => (result, None),
        // Nothing was looked at: the command line itself cannot be followed.
        Err(error) if error.kind() == Kind::Usage => return Err(error),
        Err(error) => {
            invocation.output.robot_error(&args.robot.to_string(), &error);
            let failed = about(&args.robot, Action::Failed, None);
            (RobotResult { error: Some(error.for_programs()), ..failed }, Some(error.kind()))
        }
    };
    warnings.extend(opened.notice().map(ToOwned::to_owned));
    invocation.output.result(&Results { results: vec![result], form: None, warnings }, results::show)?;
    Ok(failure)
}

impl ImportArgs {
    fn wishes(&self) -> Wishes<'_> {
        Wishes {
            robot: &self.robot,
            url: self.url.as_ref(),
            role: self.role,
            trust: &self.trust,
            // No token is involved.
            accept_new: self.accept_new,
            overrides: Overrides::default(),
            export: None,
            ingest: false,
        }
    }

    /// A name that contradicts the recorded one is refused with both shown.
    fn refuse_other_name(&self, record: &Record) -> Result<(), CommandError> {
        match &self.registered_name {
            Some(given) if given != &record.registered_name => Err(CommandError::new(
                Kind::Config,
                format!("{} has the registered name {}, not {given}", self.robot, record.registered_name),
            )
            .hint("leave --registered-name away: the pair is imported already")),
            _ => Ok(()),
        }
    }
}

/// The pair in the two files, and what a person should know about them.
fn pair(invocation: &Invocation, args: &ImportArgs) -> Result<(Pair, Vec<String>), CommandError> {
    let key_file = open(&args.key)?;
    let warnings: Vec<String> = readable_by_others(&key_file, &args.key).into_iter().collect();
    let key = read(key_file, &args.key)?;
    let certificate = read(open(&args.cert)?, &args.cert)?;
    let pair = Pair::from_pem(&key, &certificate, now())?;
    for warning in &warnings {
        invocation.output.note(warning);
    }
    Ok((pair, warnings))
}

fn open(path: &Path) -> Result<File, CommandError> {
    let refused = |what: &str| CommandError::new(Kind::Config, format!("{what} {}", path.display()));
    let file = secret_file::open(path)
        .map_err(|error| refused("cannot open").because(&error).hint("name the PEM files of the pair"))?;
    if !file.metadata().is_ok_and(|facts| facts.is_file()) {
        return Err(refused("not a regular file:").hint("name the PEM files of the pair"));
    }
    Ok(file)
}

fn read(file: File, path: &Path) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    let refused = |what: &str| {
        CommandError::new(Kind::Config, format!("{what} {}", path.display())).hint("name the PEM files of the pair")
    };
    match secret_file::read(file, MAX_PEM) {
        Ok(Some(text)) => Ok(text),
        Ok(None) => Err(refused(&format!("more than {MAX_PEM} bytes are in"))),
        Err(error) => Err(refused("cannot read").because(&error)),
    }
}

/// A key made by hand has the rights that the shell gave it: that is said, and no reason to refuse it.
#[cfg(unix)]
fn readable_by_others(file: &File, path: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;
    let mode = file.metadata().ok()?.mode() & 0o7777;
    (mode & 0o077 != 0).then(|| {
        format!(
            "others can read the private key {} (mode {mode:04o}): chmod 600, or remove it once nobody needs it there",
            path.display()
        )
    })
}

#[cfg(not(unix))]
fn readable_by_others(_file: &File, _path: &Path) -> Option<String> {
    None
}

async fn plan(invocation: &Invocation, args: &ImportArgs, opened: &Opened, pair: &Pair) -> Outcome {
    args.wishes().refuse_contradictions(&opened.config)?;
    let inventory = opened.inventory_read_only().await?;
    let secrets = match inventory.as_ref().and_then(Inventory::store_kind) {
        Some(kind) => Some(opened.recorded_secrets(invocation, Some(kind)).await?),
        None => None,
    };
    let holdings = inventory.as_ref().zip(secrets.as_ref());
    let steps = match stands(args, holdings, pair).await? {
        Standing::Kept(_) => {
            let export = opened.config.robot(&args.robot).and_then(|(_, robot)| robot.export.as_ref());
            let wish = Wish { id: &args.robot, aim: Aim::Deliver, robot: None, export };
            let steps = lifecycle::foresee(holdings, &wish, now()).await?;
            steps.into_iter().filter_map(Step::name).map(ToOwned::to_owned).collect()
        }
        _ => ["store", "prove", "deliver"].map(ToOwned::to_owned).into(),
    };
    let body = Plan { plan: vec![RobotPlan { robot: args.robot.to_string(), steps }] };
    invocation.output.result(&body, results::show_plan)?;
    Ok(None)
}

/// What stands of the robot; a flag that contradicts it is refused.
async fn stands(
    args: &ImportArgs,
    holdings: Option<(&Inventory, &Secrets)>,
    pair: &Pair,
) -> Result<Standing, CommandError> {
    let Some((inventory, secrets)) = holdings else { return Ok(Standing::Absent) };
    let standing = standing(inventory, secrets, &args.robot, pair.certificate()).await?;
    if let Standing::Kept(record) | Standing::KeyLost(record) = &standing {
        args.refuse_other_name(record)?;
    }
    Ok(standing)
}

async fn bring_about(
    invocation: &Invocation,
    args: &ImportArgs,
    opened: &Opened,
    pair: Pair,
) -> Result<RobotResult, CommandError> {
    args.wishes().refuse_contradictions(&opened.config)?;
    let before = opened.inventory_if_any().await?;
    // A store that cannot be used is known before anything is written down.
    let secrets = opened.recorded_secrets(invocation, before.as_ref().and_then(Inventory::store_kind)).await?;
    let standing = stands(args, before.as_ref().map(|inventory| (inventory, &secrets)), &pair).await?;
    let trust = args.wishes().decide_trust(invocation, opened).await?;
    let config = args.wishes().write_down(opened, trust)?;
    let (site, robot) = config.robot(&args.robot).ok_or_else(|| {
        CommandError::new(Kind::Failed, format!("{} was written to the configuration and is not there", args.robot))
    })?;
    if let (Some(inventory), Standing::Kept(record)) = (&before, &standing) {
        let holdings = Some((inventory, &secrets));
        let wish = Wish { id: &args.robot, aim: Aim::Deliver, robot: Some(robot), export: robot.export.as_ref() };
        let steps = lifecycle::foresee(holdings, &wish, now()).await?;
        if steps == [Step::Done] {
            // No lock, no commit, no connection.
            return Ok(about(&args.robot, Action::Unchanged, Some(record)));
        }
    }
    drop(before);

    let inventory = opened.inventory().await?;
    let lock = opened.lock(invocation, &inventory, &site.name, LockWait::default()).await?;
    opened.record_store(&inventory, &secrets).await?;
    opened.gate(invocation, &inventory, &secrets, &lock).await?;
    let session = Session::open(site, &inventory, &secrets, &SystemClock)?;
    let progress = invocation.output.progress("proving the pair");
    let wanted =
        Import { robot: args.robot.clone(), role: robot.role, registered_name: args.registered_name.clone(), pair };
    let record = import(&session, &lock, &wanted).await?;
    if let Some(name) = wanted.pair.certificate().common_name().filter(|name| *name != record.registered_name.as_str())
    {
        invocation.output.note(&format!(
            "the certificate says {name}; the robot is recorded as registered under {}",
            record.registered_name
        ));
    }
    drop(progress);
    // From here on it is a robot like any other.
    let runs = Runs { invocation, opened, inventory: &inventory, secrets: &secrets, given: None, asks: false };
    let outcome = runs.carry_out(&lock, (site, robot), Order::Aim(Aim::Deliver)).await?;
    let action = match standing {
        Standing::Kept(_) if outcome.delivered.is_empty() => Action::Unchanged,
        Standing::Kept(_) => Action::Resumed,
        Standing::Absent | Standing::KeyLost(_) => Action::Imported,
    };
    let exports = outcome.delivered.into_iter().map(|delivered| Export { dir: delivered.dir, files: delivered.files });
    Ok(RobotResult { exports: exports.collect(), ..about(&args.robot, action, Some(&outcome.record)) })
}
