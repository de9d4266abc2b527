//! `provision`: from a support token to a working robot.

mod existing;
mod wishes;

use std::path::PathBuf;

use clap::{Args, builder::PossibleValue};
use robocred::{
    appliance::SupportToken,
    clock::SystemClock,
    config,
    credential::{
        RegisteredName, SecretRef,
        plan::{Need, Step},
    },
    export,
    inventory::{Inventory, NewRobot, Origin},
    lifecycle::{self, Drive, Moment},
    secrets::Secrets,
    session::Session,
    site::{Endpoint, ExportTarget, Robot, RobotId, RobotName, Role, SiteName},
    x509::{self, KeyAlgorithm, Profile, SpkiPin},
};

use super::ingest::{self, Wanted};
use crate::{
    Outcome,
    cli::{TokenSource, one_of},
    error::{CommandError, Kind, worst},
    invocation::Invocation,
    opened::{Opened, now},
    output::{
        json::{Action, Export, Plan, Results, RobotPlan, RobotResult},
        results::{self, about},
    },
    token,
};
use existing::Existing;
use wishes::{decide_trust, write_down};

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

    /// What the robot may do [default: reader]
    #[arg(long, value_name = "ROLE", value_parser = one_of::<Role>(
        [Role::Reader, Role::Admin].map(|role| PossibleValue::new(role.as_str()).alias(role.on_the_wire()))
    ))]
    pub role: Option<Role>,

    #[command(flatten)]
    pub token: TokenSource,

    /// The type of the key [default: rsa-2048]
    #[arg(long, value_name = "TYPE", value_parser = one_of::<KeyAlgorithm>(KeyAlgorithm::ALL.map(KeyAlgorithm::as_str)))]
    pub key_type: Option<KeyAlgorithm>,

    /// The certificate's lifetime in days, 1 to 365 [default: 365]
    #[arg(long, value_name = "N", value_parser = days, allow_negative_numbers = true)]
    pub days: Option<u16>,

    /// The certificate's extensions: client authentication, or those of `openssl req -x509` [default: client]
    #[arg(long, value_name = "PROFILE", value_parser = one_of::<Profile>(
        Profile::ALL.map(Profile::as_str)
    ))]
    pub profile: Option<Profile>,

    /// The name on the appliance, if not the robot's own
    #[arg(long, value_name = "NAME")]
    pub registered_name: Option<RegisteredName>,

    /// Trust the server with this public key, in the form of curl's --pinnedpubkey (repeatable)
    #[arg(long, value_name = "sha256//BASE64=", conflicts_with_all = ["ca_file", "accept_new"])]
    pub pin: Vec<SpkiPin>,

    /// Trust servers certified by this PEM file
    #[arg(long, value_name = "FILE", conflicts_with = "accept_new")]
    pub ca_file: Option<PathBuf>,

    /// Pin what the server presents at first contact, once a person confirmed it
    #[arg(long)]
    pub accept_new: bool,

    /// Write key.pem, cert.pem and combined.pem there, now and after each rotation
    #[arg(long, value_name = "DIR")]
    pub export: Option<PathBuf>,

    /// Read the device metadata once the robot works, now and after each rotation
    #[arg(long)]
    pub ingest: bool,

    /// Print what would be done and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

fn days(given: &str) -> Result<u16, String> {
    let days = given.parse().ok().filter(|days| (1..=365).contains(days));
    days.ok_or_else(|| format!("{given:?} is not a number of days from 1 to 365"))
}

pub fn run(invocation: &Invocation, args: &ProvisionArgs) -> Outcome {
    let opened = Opened::load(invocation)?;
    let named = matches!(opened.paths.state_origin, config::Origin::Flag(_) | config::Origin::Variable(_));
    if let Some(other) = opened.paths.other_system_inventory.as_ref().filter(|_| !named) {
        return Err(CommandError::new(
            Kind::Config,
            format!(
                "the system's inventory is in {}, and {} is in use",
                other.display(),
                opened.paths.state_dir.display()
            ),
        )
        .hint("say which one is meant with --state-dir"));
    }
    let base_name = args.base_name()?;
    // Read before anything is made: a token that cannot be used changes nothing.
    let given = args.token.given()?;
    if args.dry_run {
        return super::block_on(plan(invocation, args, &opened, &base_name))?;
    }
    let (mut result, failure) = super::block_on(provision(invocation, args, &opened, base_name, given))?;
    match &failure {
        // Nothing was looked at: the command line itself cannot be followed.
        Some(error) if error.kind() == Kind::Usage => return Err(error.clone()),
        Some(error) => {
            invocation.output.robot_error(&result.robot, error);
            result.error = Some(error.for_programs());
        }
        None => {}
    }
    let warnings = opened.notice().into_iter().map(ToOwned::to_owned).collect();
    invocation.output.result(&Results { results: vec![result], form: None, warnings }, results::show)?;
    Ok(failure.map(|error| error.kind()))
}

impl ProvisionArgs {
    /// The name the generations are registered under.
    fn base_name(&self) -> Result<RobotName, CommandError> {
        match &self.registered_name {
            None => Ok(self.robot.robot.clone()),
            Some(name) => Ok(name.as_str().parse()?),
        }
    }
}

async fn plan(invocation: &Invocation, args: &ProvisionArgs, opened: &Opened, base_name: &RobotName) -> Outcome {
    args.refuse_contradictions(&opened.config)?;
    let configured = opened.config.robot(&args.robot).and_then(|(_, robot)| robot.export.as_ref());
    let export = args.export_target(configured)?.or_else(|| configured.cloned());
    let (existing, steps) = foresee(invocation, opened, &args.robot, None, export.as_ref()).await?;
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
    robot: Option<&Robot>,
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
    Ok((existing, lifecycle::foresee(holdings, id, robot, export, now()).await?))
}

/// Provisions, and says what came of it also where it failed.
async fn provision(
    invocation: &Invocation,
    args: &ProvisionArgs,
    opened: &Opened,
    base_name: RobotName,
    given: Option<SupportToken>,
) -> (RobotResult, Option<CommandError>) {
    match bring_about(invocation, args, opened, base_name, given).await {
        Ok(result) => (result, None),
        Err(error) => {
            let there = match opened.inventory_read_only().await {
                Ok(Some(inventory)) => {
                    Existing::read(&inventory, &args.robot).await.ok().and_then(|there| there.record)
                }
                _ => None,
            };
            (about(&args.robot, Action::Failed, there.as_ref()), Some(error))
        }
    }
}

async fn bring_about(
    invocation: &Invocation,
    args: &ProvisionArgs,
    opened: &Opened,
    base_name: RobotName,
    given: Option<SupportToken>,
) -> Result<RobotResult, CommandError> {
    args.refuse_contradictions(&opened.config)?;
    let before = opened.inventory_if_any().await?;
    let existing = match &before {
        Some(inventory) => Existing::read(inventory, &args.robot).await?,
        None => Existing::default(),
    };
    existing.refuse_contradictions(args, &base_name)?;
    if existing.record.is_none() {
        // A key will be made, once a few things are on the disk.
        std::thread::spawn(x509::warm_up);
    }
    // A store that cannot be used is known before anything is written down.
    let recorded = before.as_ref().and_then(Inventory::store_kind);
    let secrets = opened.recorded_secrets(invocation, recorded).await?;
    let trust = decide_trust(invocation, args, opened).await?;
    let config = write_down(args, opened, trust)?;
    let (site, robot) = config.robot(&args.robot).ok_or_else(|| {
        CommandError::new(Kind::Failed, format!("{} was written to the configuration and is not there", args.robot))
    })?;
    if let (Some(inventory), Some(record), false) = (&before, &existing.record, args.ingest) {
        let holdings = Some((inventory, &secrets));
        let steps = lifecycle::foresee(holdings, &args.robot, Some(robot), robot.export.as_ref(), now()).await?;
        if steps == [Step::Done] {
            // No lock, no commit, no connection.
            return Ok(done(args, robot, &existing, &lifecycle::Outcome::unchanged(record.clone())));
        }
    }
    drop(before);

    let inventory = opened.inventory().await?;
    let lock = opened.lock(&inventory, &site.name).await?;
    opened.record_store(&inventory, &secrets).await?;
    let new = NewRobot {
        id: args.robot.clone(),
        base_name,
        role: robot.role,
        endpoint: site.endpoint.clone(),
        origin: Origin::Provisioned,
    };
    inventory.adopt_robot(&lock, &new, now()).await?;

    let session = Session::open(site, &inventory, &secrets, &SystemClock)?;
    let holdings = Some((&inventory, &secrets));
    let steps = lifecycle::foresee(holdings, &args.robot, Some(robot), robot.export.as_ref(), now()).await?;
    let run = async |token: Option<Token>| {
        let (token, token_is_stored) = token.map_or((None, false), |token| (Some(token.token), token.is_stored));
        let progress = invocation.output.progress("looking at what is there");
        let saying = |moment| progress.doing(words(moment));
        let id = args.robot.clone();
        Drive { session, lock: &lock, id, robot, token, token_is_stored, progress: &saying }.run().await
    };
    // What was sent before may have arrived: that is asked first, and needs no token.
    let resumes = given.is_none() && matches!(steps.first(), Some(Step::Probe(..)));
    let token = match given {
        Some(token) => Some(Token { token, is_stored: false }),
        None if !resumes && steps.iter().any(|step| matches!(step, Step::Register(_))) => {
            token_at_hand(invocation, &inventory, &secrets, &site.name).await?
        }
        None => None,
    };
    let mut outcome = run(token).await;
    if resumes
        && matches!(outcome, Err(lifecycle::Error::NeedsPerson { need: Need::Token, .. }))
        && let Some(token) = token_at_hand(invocation, &inventory, &secrets, &site.name).await?
    {
        outcome = run(Some(token)).await;
    }
    let outcome = outcome?;
    for notice in &outcome.notices {
        invocation.output.note(notice);
    }
    // Reading needs no right to change, and takes its time.
    drop(lock);
    if let (true, Some(target)) = (args.ingest, &robot.ingest) {
        let dir = robocred::ingest::default_dir(&opened.paths.state_dir, &args.robot);
        let (runs, failures) =
            ingest::read(invocation, &session, &outcome.record, &Wanted::configured(target, dir)).await?;
        for run in runs.iter().filter(|run| run.error.is_none()) {
            let path = run.path.as_ref().map_or_else(String::new, |path| format!(" to {}", path.display()));
            invocation.output.note(&format!("read {} {}{path}", run.records, run.stream));
        }
        if let Some(kind) = worst(failures) {
            return Err(CommandError::new(kind, "the credential works, and its first ingest failed")
                .hint(format!("run `robocred ingest {}` again later", args.robot)));
        }
    }
    Ok(done(args, robot, &existing, &outcome))
}

/// A support token, and where it came from.
struct Token {
    token: SupportToken,
    is_stored: bool,
}

/// The stored token, or the one a person types.
async fn token_at_hand(
    invocation: &Invocation,
    inventory: &Inventory,
    secrets: &Secrets,
    site: &SiteName,
) -> Result<Option<Token>, CommandError> {
    match secrets.read(&SecretRef::token(inventory.store_id(), site)).await {
        Ok(stored) => {
            match SupportToken::parse(stored) {
                Ok(token) => Ok(Some(Token { token, is_stored: true })),
                Err(error) => Err(CommandError::of(Kind::Config, &error)
                    .hint(format!("store it again with `robocred token set {site}`"))),
            }
        }
        Err(robocred::secrets::Error::NotFound { .. }) if invocation.interactive => {
            Ok(Some(Token { token: token::asked(invocation, site)?, is_stored: false }))
        }
        Err(robocred::secrets::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn words(moment: Moment) -> &'static str {
    match moment {
        Moment::Making => "making the key and its certificate",
        Moment::Registering => "registering the robot",
        Moment::Probing => "asking whether the certificate is accepted",
        Moment::Proving => "proving the new credential",
        Moment::Delivering => "writing the files",
    }
}

fn done(args: &ProvisionArgs, robot: &Robot, existing: &Existing, outcome: &lifecycle::Outcome) -> RobotResult {
    let action = match outcome {
        outcome if outcome.promoted => Action::Provisioned,
        outcome if existing.undelivered && !outcome.delivered.is_empty() => Action::Resumed,
        _ => Action::Unchanged,
    };
    let mut exports: Vec<Export> = outcome
        .delivered
        .iter()
        .map(|delivered| Export { dir: delivered.dir.clone(), files: delivered.files.clone() })
        .collect();
    if let (true, Some(target)) = (exports.is_empty() && args.export.is_some(), &robot.export) {
        let files = export::FILES.iter().map(|name| target.dir.join(name)).collect();
        exports.push(Export { dir: target.dir.clone(), files });
    }
    RobotResult { exports, ..about(&args.robot, action, Some(&outcome.record)) }
}
