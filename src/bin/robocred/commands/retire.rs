//! `retire`: a credential out of use, on the appliance and here.

use clap::Args;
use robocred::{
    credential::{CredentialId, Generation, Record, State},
    lifecycle::{self, GivenToken},
    site::RobotId,
};

use super::drive::{self, Ended, Order, Runs};
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

/// Take a credential out of use on the appliance and destroy its key
///
/// Takes the previous generations, or the one that is named, also within their overlap. Asks first;
/// -n acts. The only credential that works is refused unless --last is given.
///
/// The robot is removed on the appliance by the site's admin robot, or by the support token that is
/// given or stored. Where it cannot be removed there, its key is destroyed all the same, and its
/// name stays in `robocred status` until --removed says that a person has removed it.
#[derive(Debug, Args)]
pub struct RetireArgs {
    /// The robot
    #[arg(value_name = "SITE/ROBOT")]
    pub robot: RobotId,

    /// This generation, and not all previous ones
    #[arg(long, value_name = "N", value_parser = generation)]
    pub generation: Option<Generation>,

    /// Also the only one that works: the robot is given up
    #[arg(long, conflicts_with = "removed")]
    pub last: bool,

    /// Record that a person has removed it on the appliance
    #[arg(long, requires = "generation")]
    pub removed: bool,

    #[command(flatten)]
    pub token: TokenSource,

    #[command(flatten)]
    pub lock_wait: LockWait,

    /// Print what would be done and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

fn generation(given: &str) -> Result<Generation, String> {
    let number = given.parse().ok().and_then(Generation::new);
    number.ok_or_else(|| format!("{given:?} is not the number of a generation: 1, 2, 3, …"))
}

pub fn run(invocation: &Invocation, args: &RetireArgs) -> Outcome {
    let opened = Opened::load(invocation)?;
    opened.select(&[Selector::Robot(args.robot.clone())])?;
    // Read before anything is done: a token that cannot be used changes nothing.
    let given = args.token.given()?.map(GivenToken::new);
    let results = match super::block_on(retire(invocation, args, &opened, given.as_ref()))? {
        Ok(Done::Planned(plan)) => {
            invocation.output.result(&plan, results::show_plan)?;
            return Ok(None);
        }
        Ok(Done::Ended(results)) => results,
        Err(error) if error.kind() == Kind::Usage => return Err(error),
        Err(error) => vec![(super::block_on(drive::failed(None, &args.robot, &error))?, Some(error))],
    };
    for (result, error) in &results {
        if let Some(error) = error {
            invocation.output.robot_error(&result.robot, error);
        }
    }
    let kind = worst(results.iter().filter_map(|(_, error)| error.as_ref().map(CommandError::kind)));
    let results = results.into_iter().map(|(result, _)| result).collect();
    invocation.output.result(&Results { results, form: None, warnings: Vec::new() }, results::show)?;
    Ok(kind)
}

enum Done {
    Planned(Plan),
    Ended(Vec<Ended>),
}

async fn retire(
    invocation: &Invocation,
    args: &RetireArgs,
    opened: &Opened,
    given: Option<&GivenToken>,
) -> Result<Done, CommandError> {
    let id = &args.robot;
    let inventory = opened.holding(id).await?;
    let configured = opened.config.robot(id);
    let configured = configured.ok_or_else(|| CommandError::new(Kind::Config, format!("{id} is not configured")))?;
    if args.dry_run {
        let steps = args.steps(&inventory.records(id).await?)?;
        return Ok(Done::Planned(Plan { plan: vec![RobotPlan { robot: id.to_string(), steps }] }));
    }
    let lock = opened.lock(invocation, &inventory, &id.site, args.lock_wait).await?;
    let records = inventory.records(id).await?;
    let chosen = args.chosen(&records)?;
    if args.removed {
        let Some(generation) = args.generation else { return Ok(Done::Ended(Vec::new())) };
        let credential = CredentialId { robot: id.clone(), generation };
        let record = lifecycle::removed_by_hand(&inventory, &lock, &credential, now()).await?;
        return Ok(Done::Ended(vec![(about(id, Action::Retired, Some(&record)), None)]));
    }
    if chosen.is_empty() {
        let active = drive::in_use(&records);
        return Ok(Done::Ended(vec![(about(id, Action::Unchanged, active), None)]));
    }
    if !confirmed(invocation, &records, &chosen)? {
        return Err(CommandError::new(Kind::Person, "nothing was retired: it was not confirmed"));
    }
    let secrets = opened.secrets(invocation, &inventory).await?;
    opened.gate(invocation, &inventory, &secrets, &lock).await?;
    let runs = Runs { invocation, opened, inventory: &inventory, secrets: &secrets, given, asks: false };
    let mut ended = Vec::new();
    for record in chosen {
        let order = Order::TakeOut(record.id.generation, args.last);
        ended.push(match runs.carry_out(&lock, configured, order).await {
            Ok(outcome) => retired(id, outcome),
            Err(error) => {
                let failed = about(id, Action::Failed, Some(record));
                (RobotResult { error: Some(error.for_programs()), ..failed }, Some(error))
            }
        });
    }
    Ok(Done::Ended(ended))
}

impl RetireArgs {
    /// What would be done, in words.
    fn steps(&self, records: &[Record]) -> Result<Vec<String>, CommandError> {
        let mut steps = Vec::new();
        for record in self.chosen(records)? {
            let earlier = self.generation.is_some() && records.iter().any(|other| other.state == State::Previous);
            match record.state {
                State::Active if earlier => steps.extend(["prove", "rollback", "deliver"].map(ToOwned::to_owned)),
                State::Active if !self.last => {
                    return Err(lifecycle::Error::OnlyWorking { id: record.id.clone() }.into());
                }
                _ => {}
            }
            steps.push(format!("retire generation {}", record.id.generation));
        }
        Ok(steps)
    }

    /// The generations that are meant, the oldest first.
    fn chosen<'r>(&self, records: &'r [Record]) -> Result<Vec<&'r Record>, CommandError> {
        if let Some(generation) = self.generation {
            let named: Vec<_> = records.iter().filter(|record| record.id.generation == generation).collect();
            if named.is_empty() {
                return Err(CommandError::new(Kind::Config, format!("{} has no generation {generation}", self.robot))
                    .hint("`robocred status` lists the generations there are"));
            }
            return Ok(named);
        }
        let previous = |record: &&Record| record.state.is_previous() || (self.last && record.state == State::Active);
        let chosen: Vec<_> = records.iter().filter(previous).collect();
        // Whoever retires a robot that never had another credential means this one.
        let only = records.iter().all(|record| record.promoted_at.is_none() || record.state == State::Active);
        match records.iter().find(|record| record.state == State::Active) {
            Some(active) if chosen.is_empty() && only => {
                Err(lifecycle::Error::OnlyWorking { id: active.id.clone() }.into())
            }
            _ => Ok(chosen),
        }
    }
}

/// A person is told what ends; `-n` acts.
fn confirmed(invocation: &Invocation, records: &[Record], chosen: &[&Record]) -> Result<bool, CommandError> {
    let unconfirmed = records
        .iter()
        .find(|record| record.state == State::Active && record.delivery != robocred::credential::Delivery::Delivered);
    if let Some(active) = unconfirmed.filter(|active| !chosen.iter().any(|record| record.id == active.id)) {
        invocation.output.note(&format!(
            "nobody has confirmed that the connector holds generation {}: if it still uses an older one, it loses access",
            active.id.generation
        ));
    }
    let names: Vec<String> = chosen.iter().map(|record| record.registered_name.to_string()).collect();
    prompt::confirm(invocation, &format!("Take {} out of use and destroy the key?", names.join(" and ")))
}

fn retired(id: &RobotId, outcome: lifecycle::Outcome) -> Ended {
    let left = (outcome.record.state == State::RetireManual).then(|| outcome.record.clone());
    let (mut result, failure) = drive::ended(id, outcome);
    let Some(record) = left else { return (result, failure) };
    let name = &record.registered_name;
    let error =
        CommandError::new(Kind::Person, format!("{name} may still be registered on the appliance")).hint(format!(
            "remove {name} on the appliance, then run `robocred retire {id} --generation {0} --removed`; \
             or `robocred retire {id} --generation {0} --token-file FILE`",
            record.id.generation
        ));
    result.error = Some(error.for_programs());
    (result, Some(error))
}
