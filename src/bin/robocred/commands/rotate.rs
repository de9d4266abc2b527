//! `rotate`: the next credential of the robots that need one.

mod tell;

use std::{collections::BTreeMap, num::NonZeroUsize};

use clap::Args;
use futures_util::{StreamExt as _, stream};
use robocred::{
    config::Config,
    credential::{
        Delivery, Record, State,
        plan::{Aim, Step, Urgency},
    },
    document::Time,
    inventory::{AttentionCode, Inventory, SiteLock, Task},
    lifecycle::{self, Did, GivenToken, Wish},
    site::{Robot, RobotId, Site, SiteName},
    telling::Telling,
};
use time::OffsetDateTime;

use super::{
    drive::{self, Ended, Order, Runs},
    wishes::{Wanted, Wishes},
};
use crate::{
    Outcome,
    cli::{LockWait, Selector, TokenSource},
    error::{CommandError, Kind, worst},
    invocation::Invocation,
    opened::{Opened, now},
    output::{
        json::{Action, Plan, Results, RobotPlan, RobotResult},
        results::{self, about},
    },
    prompt,
};

/// How many appliances are worked with at once.
const AT_ONCE: NonZeroUsize = NonZeroUsize::new(8).expect("8 is not 0");

/// Replace credentials before they run out
///
/// A robot that is named is re-issued if it is due, and whatever was interrupted is brought to its
/// end. The old credential keeps working until the new one is proven and delivered and the overlap
/// has passed; then it is taken out of use.
///
/// The new certificate is registered by the site's registrar: an admin robot, or the support token
/// from --token-file or --token-stdin, else from the secret store, else from a hidden prompt.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag")]
pub struct RotateArgs {
    /// Robots, or sites for all of their robots
    #[arg(value_name = "SITE/ROBOT|SITE", required_unless_present_any = ["all", "due"], conflicts_with = "all")]
    pub robots: Vec<Selector>,

    /// Every robot that is due
    #[arg(long)]
    pub all: bool,

    /// Only what is due, by schedule; never an error when nothing is
    #[arg(long, conflicts_with = "force")]
    pub due: bool,

    /// Now, also what is not due
    #[arg(long)]
    pub force: bool,

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

pub fn run(invocation: &Invocation, args: &RotateArgs) -> Outcome {
    args.check()?;
    let opened = Opened::load(invocation)?;
    let selected = opened.select(&args.robots)?;
    args.confirm(invocation, &selected)?;
    if args.dry_run {
        return super::block_on(plan(invocation, args, &opened, &selected))?;
    }
    // Read before anything is made: a token that cannot be used changes nothing.
    let given = args.token.given()?.map(GivenToken::new);
    let (results, warning) = super::block_on(rotate(invocation, args, &opened, &selected, given))??;
    let failed = results.iter().filter_map(|(_, error)| error.as_ref().map(CommandError::kind));
    let kind = worst(failed);
    let warnings = opened.notice().map(ToOwned::to_owned).into_iter().chain(warning).collect();
    let results = results.into_iter().map(|(result, _)| result).collect();
    invocation.output.result(&Results { results, form: None, warnings }, results::show)?;
    Ok(kind)
}

impl RotateArgs {
    /// Refuses what makes no sense together and what the parser cannot see.
    fn check(&self) -> Result<(), CommandError> {
        let every_one_named = self.robots.iter().all(|selector| matches!(selector, Selector::Robot(_)));
        if !self.wanted.is_empty() && (self.robots.is_empty() || !every_one_named) {
            return Err(CommandError::usage(
                "what the next credential is to be can be said of robots named one by one only",
            )
            .hint("name the robots as SITE/ROBOT, or write it into the configuration's [defaults]"));
        }
        if self.wanted.registered_name.is_some() {
            return Err(CommandError::usage("--registered-name holds for the first generation only")
                .hint("leave it away: the next generation is registered as NAME-gN"));
        }
        Ok(())
    }

    /// `--force` on what was not named one by one is asked about.
    fn confirm(&self, invocation: &Invocation, selected: &[RobotId]) -> Result<(), CommandError> {
        let wide = self.all || self.robots.iter().any(|selector| matches!(selector, Selector::Site(_)));
        if !self.force || !wide || self.dry_run {
            return Ok(());
        }
        let hint = "name the robots one by one, or leave --force away to replace what is due";
        if !invocation.interactive {
            return Err(CommandError::usage("--force with --all or a site wants a person's confirmation").hint(hint));
        }
        let question = match selected {
            [one] => format!("Replace the credential of {one} now, due or not?"),
            several => format!("Replace the credentials of {} robots now, due or not?", several.len()),
        };
        if prompt::confirm(invocation, &question)? {
            return Ok(());
        }
        Err(CommandError::new(Kind::Person, "nothing was replaced: it was not confirmed").hint(hint))
    }

    fn urgency(&self) -> Urgency {
        match self {
            Self { force: true, .. } => Urgency::Forced,
            Self { all: true, .. } | Self { due: true, .. } => Urgency::Scheduled,
            _ => Urgency::Asked,
        }
    }

    /// Whether a robot was named itself.
    fn names(&self, id: &RobotId) -> bool {
        self.robots.iter().any(|selector| matches!(selector, Selector::Robot(named) if named == id))
    }
}

async fn plan(invocation: &Invocation, args: &RotateArgs, opened: &Opened, selected: &[RobotId]) -> Outcome {
    let inventory = opened.inventory_read_only().await?;
    let secrets = match inventory.as_ref().and_then(Inventory::store_kind) {
        Some(kind) => Some(opened.recorded_secrets(invocation, Some(kind)).await?),
        None => None,
    };
    let holdings = inventory.as_ref().zip(secrets.as_ref());
    let mut plan = Vec::new();
    for id in selected {
        if !args.wanted.is_empty() {
            args.wishes(id).refuse_contradictions(&opened.config)?;
        }
        let Some((_, robot)) = opened.config.robot(id) else { continue };
        let wish = Wish { id, aim: Aim::Rotate(args.urgency()), robot: Some(robot), export: robot.export.as_ref() };
        let steps = lifecycle::foresee(holdings, &wish, now()).await?;
        let steps = steps.into_iter().filter_map(Step::name).map(ToOwned::to_owned).collect();
        plan.push(RobotPlan { robot: id.to_string(), steps });
    }
    invocation.output.result(&Plan { plan }, results::show_plan)?;
    Ok(None)
}

async fn rotate(
    invocation: &Invocation,
    args: &RotateArgs,
    opened: &Opened,
    selected: &[RobotId],
    given: Option<GivenToken>,
) -> Result<(Vec<Ended>, Option<String>), CommandError> {
    let unattended = args.due && !invocation.interactive;
    // What keeps every robot from being looked at is told of every robot.
    let tell_all = |inventory, error| tell::all(opened, invocation.output, inventory, selected, unattended, error);
    let inventory = match opened.inventory_if_any().await {
        Ok(Some(inventory)) => inventory,
        Ok(None) => {
            let ended = selected.iter().map(|id| never_provisioned(args, id)).collect();
            return Ok((ended, args.warn_of_nothing_held(invocation, opened, selected)));
        }
        Err(error) => return Err(tell_all(None, error).await),
    };
    let warning = args.warn_of_unconfigured(invocation, opened, &inventory).await?;
    drop(inventory);
    let inventory = match opened.inventory().await {
        Ok(inventory) => inventory,
        Err(error) => return Err(tell_all(None, error).await),
    };
    let secrets = match opened.secrets(invocation, &inventory).await {
        Ok(secrets) => secrets,
        Err(error) => {
            opened.raise_store_trouble(&inventory, selected, &error).await;
            return Err(tell_all(Some(&inventory), error).await);
        }
    };
    let runs =
        Runs { invocation, opened, inventory: &inventory, secrets: &secrets, given: given.as_ref(), asks: false };

    let mut ended: BTreeMap<RobotId, Ended> = BTreeMap::new();
    let mut written = None;
    for id in selected {
        match args.write_down(invocation, opened, &inventory, id).await {
            Ok(config) => written = config.or(written),
            Err(error) => {
                ended.insert(id.clone(), (drive::failed(Some(&inventory), id, &error).await, Some(error)));
            }
        }
    }
    let config = written.as_ref().unwrap_or(&opened.config);

    let mut sites: BTreeMap<&SiteName, Vec<&RobotId>> = BTreeMap::new();
    for id in selected.iter().filter(|id| !ended.contains_key(*id)) {
        sites.entry(&id.site).or_default().push(id);
    }
    let several = sites.len() > 1;
    let of_site = |robots: Vec<&RobotId>, asks: bool| {
        let robots: Vec<RobotId> = robots.into_iter().cloned().collect();
        async move { Box::pin(Batch { runs: Runs { asks, ..runs }, args, config }.site(&robots)).await }
    };
    // Several sites go on at once, where a question would hold up the others: they are asked about at the end.
    let mut running =
        stream::iter(sites.into_values().map(|robots| of_site(robots, !several))).buffer_unordered(AT_ONCE.get());
    while let Some(site) = running.next().await {
        ended.extend(site);
    }
    if several && invocation.interactive && given.is_none() {
        let wants = |id: &&RobotId| {
            let error = ended.get(id).and_then(|(_, error)| error.as_ref());
            error.is_some_and(|error| error.kind() == Kind::Person)
        };
        for id in selected.iter().filter(wants).cloned().collect::<Vec<_>>() {
            ended.extend(Box::pin(of_site(vec![&id], true)).await);
        }
    }
    for (id, error) in tell::both(&runs, config, &ended, unattended).await {
        if args.all
            && let Some((result, failure @ None)) = ended.get_mut(&id)
            && result.action == Action::Unchanged
        {
            result.error = Some(error.for_programs());
            *failure = Some(error);
        }
    }
    let results = selected.iter().filter_map(|id| ended.remove(id)).inspect(|(result, error)| {
        if let Some(error) = error {
            invocation.output.robot_error(&result.robot, error);
        }
    });
    Ok((results.collect(), warning))
}

impl RotateArgs {
    /// There is no inventory: either nothing was ever provisioned, which is no error, or it is gone.
    fn warn_of_nothing_held(&self, invocation: &Invocation, opened: &Opened, selected: &[RobotId]) -> Option<String> {
        let unnamed = selected.iter().filter(|id| !self.names(id)).count();
        if unnamed == 0 {
            return None;
        }
        let state_dir = opened.paths.state_dir.display();
        let warning = format!("nothing was looked after: the state directory {state_dir} holds no inventory");
        invocation.output.note(&warning);
        Some(warning)
    }

    /// Where no robot is named: says which credentials nobody looks after, and stops where that is all of them.
    async fn warn_of_unconfigured(
        &self,
        invocation: &Invocation,
        opened: &Opened,
        inventory: &Inventory,
    ) -> Result<Option<String>, CommandError> {
        if !self.robots.is_empty() {
            return Ok(None);
        }
        let (lost, configured) = opened.unconfigured(inventory).await?;
        if configured == 0 && !lost.is_empty() {
            return Err(CommandError::new(Kind::Config, opened.not_configured(&lost))
                .hint("name the configuration that is meant with --config, or bring it back; nothing was looked at"));
        }
        opened.warn_of_unconfigured(invocation, inventory).await
    }

    /// What the flags want of a robot they name, written into the configuration.
    async fn write_down(
        &self,
        invocation: &Invocation,
        opened: &Opened,
        inventory: &Inventory,
        id: &RobotId,
    ) -> Result<Option<Config>, CommandError> {
        if self.wanted.is_empty() || inventory.records(id).await?.is_empty() {
            return Ok(None);
        }
        let wishes = self.wishes(id);
        wishes.refuse_contradictions(&opened.config)?;
        let trust = wishes.decide_trust(invocation, opened).await?;
        wishes.write_down(opened, trust).map(Some)
    }

    fn wishes<'a>(&'a self, id: &'a RobotId) -> Wishes<'a> {
        // A token never leaves on first sight alone: a person is asked.
        Wishes { accept_new: false, ..self.wanted.wishes(id) }
    }
}

fn never_provisioned(args: &RotateArgs, id: &RobotId) -> Ended {
    let result = about(id, Action::Unchanged, None);
    if !args.names(id) {
        return (result, None);
    }
    let error = CommandError::new(Kind::Failed, format!("{id} has no credential to replace"))
        .hint(format!("run `robocred provision {id}` first"));
    (RobotResult { action: Action::Failed, error: Some(error.for_programs()), ..result }, Some(error))
}

/// The robots of one site, one after the other.
struct Batch<'a> {
    runs: Runs<'a>,
    args: &'a RotateArgs,
    config: &'a Config,
}

impl Batch<'_> {
    async fn site(&self, robots: &[RobotId]) -> Vec<(RobotId, Ended)> {
        let (mut ended, mut open) = (Vec::new(), Vec::new());
        for id in robots {
            match self.has_nothing_to_do(id).await {
                Ok(Some(done)) => ended.push((id.clone(), done)),
                Ok(None) => open.push(id),
                Err(error) => ended.push((id.clone(), self.failed(id, error).await)),
            }
        }
        let Some(first) = open.first() else { return ended };
        // Nothing to do takes no lock.
        match self.locked(&first.site).await {
            Ok(lock) => {
                let mut read = Vec::new();
                for id in open {
                    match self.robot(&lock, id).await {
                        Ok((done, ingest)) => {
                            read.extend(ingest.then(|| id.clone()));
                            ended.push((id.clone(), done));
                        }
                        Err(error) => ended.push((id.clone(), self.failed(id, error).await)),
                    }
                }
                // Reading needs no right to change, and takes its time.
                drop(lock);
                for id in read {
                    if let Err(error) = self.first_ingest(&id).await
                        && let Some((_, (result, failure))) = ended.iter_mut().find(|(ended, _)| *ended == id)
                    {
                        result.error = Some(error.for_programs());
                        *failure = Some(error);
                    }
                }
            }
            Err(error) => {
                for id in open {
                    ended.push((id.clone(), self.failed(id, error.clone()).await));
                }
            }
        }
        ended
    }

    /// The right to change the site, if this inventory is the one that lives.
    async fn locked(&self, site: &SiteName) -> Result<SiteLock, CommandError> {
        let Runs { invocation, opened, inventory, secrets, .. } = self.runs;
        let lock = opened.lock(invocation, inventory, site, self.args.lock_wait).await?;
        opened.gate(invocation, inventory, secrets, &lock).await?;
        Ok(lock)
    }

    /// A robot that is as it should be: no lock, no commit, no connection.
    async fn has_nothing_to_do(&self, id: &RobotId) -> Result<Option<Ended>, CommandError> {
        let records = self.runs.inventory.records(id).await?;
        if records.is_empty() {
            return Ok(Some(never_provisioned(self.args, id)));
        }
        let (_, robot) = self.configured(id)?;
        let aim = Aim::Rotate(self.args.urgency());
        let wish = Wish { id, aim, robot: Some(robot), export: robot.export.as_ref() };
        let steps = lifecycle::foresee(Some((self.runs.inventory, self.runs.secrets)), &wish, now()).await?;
        let active = records.iter().find(|record| record.state == State::Active);
        let read = match (active, &robot.ingest) {
            (Some(active), Some(_)) => self.runs.inventory.was_read_with(&active.id).await?,
            _ => true,
        };
        let raised = self.runs.inventory.attention().await?;
        // What was refused before its end is asked again; that nothing is due would not be the whole truth.
        let frozen = raised.iter().any(|raised| raised.robot == *id && raised.code == AttentionCode::Frozen);
        Ok(match active {
            _ if !read || frozen || steps != [Step::Done] => None,
            Some(active) => Some((about(id, Action::Unchanged, Some(active)), None)),
            // Retired: there is nothing to replace.
            None => Some(never_provisioned(self.args, id)),
        })
    }

    /// Whether something is to be read with what it has now.
    async fn robot(&self, lock: &SiteLock, id: &RobotId) -> Result<(Ended, bool), CommandError> {
        let (site, robot) = self.configured(id)?;
        let order = Order::Aim(Aim::Rotate(self.args.urgency()));
        let outcome = self.runs.carry_out(lock, (site, robot), order).await?;
        let records = self.runs.inventory.records(id).await?;
        if let Some(notice) = overlap(&outcome, robot, &records, now()) {
            self.runs.invocation.output.note(&format!("{id}: {notice}"));
        }
        let ingest = robot.ingest.is_some() && !self.runs.inventory.was_read_with(&outcome.record.id).await?;
        Ok((drive::ended(id, outcome), ingest))
    }

    async fn first_ingest(&self, id: &RobotId) -> Result<(), CommandError> {
        let (site, robot) = self.configured(id)?;
        let records = self.runs.inventory.records(id).await?;
        let Some(active) = records.iter().find(|record| record.state == State::Active) else { return Ok(()) };
        self.runs.first_ingest(site, robot, active).await.map_err(|error| error.during(Task::Ingest))?;
        Ok(Telling { config: self.config, inventory: Some(self.runs.inventory), now: now() }
            .mended(id, Task::Ingest)
            .await?)
    }

    async fn failed(&self, id: &RobotId, error: CommandError) -> Ended {
        (drive::failed(Some(self.runs.inventory), id, &error).await, Some(error))
    }

    fn configured(&self, id: &RobotId) -> Result<(&Site, &Robot), CommandError> {
        self.config.robot(id).ok_or_else(|| CommandError::new(Kind::Config, format!("{id} is not configured")))
    }
}

/// What a person should know about the predecessor.
fn overlap(outcome: &lifecycle::Outcome, robot: &Robot, records: &[Record], now: OffsetDateTime) -> Option<String> {
    if outcome.did != Did::Rotated {
        return None;
    }
    let (days, id) = (robot.overlap.whole_days(), &outcome.record.id.robot);
    let until = match outcome.record.delivery {
        Delivery::ByHand if robot.export.is_none() => {
            format!("until `robocred export {id} --dir DIR` and then `--confirm`, and for {days} days after it")
        }
        Delivery::ByHand => format!("until `robocred export {id} --confirm`, and for {days} days after it"),
        Delivery::Open => format!("until the new one is delivered, and for {days} days after it"),
        Delivery::Delivered => format!("for {days} days"),
    };
    let old = records.iter().rfind(|record| record.state == State::Previous);
    let end = old.and_then(|old| old.certificate.as_ref()).map(|certificate| certificate.validity().not_after);
    if let Some(end) = end.filter(|end| *end < now) {
        return Some(format!("the certificate of the old credential has ended on {}", Time(end).day()));
    }
    // Whenever the overlap begins, it does not outlast the certificate.
    let end = end.filter(|end| *end < now.saturating_add(robot.overlap));
    let end = end.map(|end| format!(", but no longer than its certificate, which ends on {}", Time(end).day()));
    Some(format!("the old credential keeps working {until}{}", end.unwrap_or_default()))
}
