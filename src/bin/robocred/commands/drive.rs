//! One robot's run, as the commands that change robots share it: with the
//! token that is at hand, asked for at most once, and with its first ingest.

use std::sync::Arc;

use robocred::{
    clock::SystemClock,
    credential::{
        Generation, Record,
        plan::{Aim, Need},
    },
    inventory::{Inventory, SiteLock},
    lifecycle::{self, Did, Drive, GivenToken, Moment},
    secrets::Secrets,
    session::Session,
    site::{Robot, RobotId, Site},
};

use super::ingest::{self, Wanted};
use crate::{
    error::{CommandError, worst},
    invocation::Invocation,
    opened::Opened,
    output::{
        json::{Action, Export, RobotResult},
        results::about,
    },
    token,
};

/// What the runs of one command share.
#[derive(Clone, Copy, Debug)]
pub struct Runs<'a> {
    pub invocation: &'a Invocation,
    pub opened: &'a Opened,
    pub inventory: &'a Inventory,
    pub secrets: &'a Secrets,
    /// The token that a flag named.
    pub given: Option<&'a GivenToken>,
    /// Whether a person may be asked for one.
    pub asks: bool,
}

/// What is to be done to one robot.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    /// Step by step towards this.
    Aim(Aim),
    /// Back to the previous generation.
    RollBack,
    /// Out of use, also the last one if so.
    TakeOut(Generation, bool),
}

impl Runs<'_> {
    /// Carries an order out, and says on standard error what a person should know.
    /// Whoever calls has asked [`Opened::gate`] under the same lock.
    pub async fn carry_out(
        &self,
        lock: &SiteLock,
        (site, robot): (&Site, &Robot),
        order: Order,
    ) -> Result<lifecycle::Outcome, CommandError> {
        let mut outcome = self.once(lock, (site, robot), order, self.given).await;
        if let Err(lifecycle::Error::NeedsPerson { need: Need::Token, .. }) = outcome
            && self.given.is_none()
            && self.asks
            && self.invocation.interactive
        {
            let asked = GivenToken::new(token::asked(self.invocation, &site.name)?);
            outcome = self.once(lock, (site, robot), order, Some(&asked)).await;
        }
        self.opened.keep_anchor(self.invocation, self.inventory, self.secrets).await;
        Ok(outcome?)
    }

    async fn once(
        &self,
        lock: &SiteLock,
        (site, robot): (&Site, &Robot),
        order: Order,
        token: Option<&GivenToken>,
    ) -> Result<lifecycle::Outcome, lifecycle::Error> {
        let session = Session::open(site, self.inventory, self.secrets, &SystemClock)?;
        let id = RobotId { site: site.name.clone(), robot: robot.name.clone() };
        let progress = self.invocation.output.progress(&format!("{id}: looking at what is there"));
        let saying = |moment| progress.doing(&format!("{id}: {}", words(moment)));
        let noticing = |notice: &str| progress.aside(|| self.invocation.output.note(notice));
        let aim = match order {
            Order::Aim(aim) => aim,
            Order::RollBack => Aim::Deliver,
            Order::TakeOut(generation, last) => Aim::Retire { generation, last },
        };
        let drive = Drive { session, lock, id: id.clone(), robot, aim, token, progress: &saying, notice: &noticing };
        match order {
            Order::Aim(_) => drive.run().await,
            Order::RollBack => drive.roll_back().await,
            Order::TakeOut(generation, last) => drive.take_out(generation, last).await,
        }
    }

    /// Reads what the configuration wants read with a new credential. Needs no
    /// lock; a failure is raised for a person and told.
    pub async fn first_ingest(&self, site: &Site, robot: &Robot, record: &Record) -> Result<(), CommandError> {
        let Some(target) = &robot.ingest else { return Ok(()) };
        let id = &record.id.robot;
        let session = Session::open(site, self.inventory, self.secrets, &SystemClock)?;
        let dir = robocred::ingest::default_dir(&self.opened.paths.state_dir, id);
        let wanted = Wanted::configured(target, dir);
        let (runs, failures) =
            ingest::read(self.invocation, &session, id, Some(record), &wanted, &Arc::default()).await?;
        for run in runs.iter().filter(|run| run.error.is_none()) {
            let path = run.path.as_ref().map_or_else(String::new, |path| format!(" to {}", path.display()));
            self.invocation.output.note(&format!("{id}: read {} {}{path}", run.records, run.stream));
        }
        let Some(kind) = worst(failures) else { return Ok(()) };
        Err(CommandError::new(kind, "the credential works, and its first ingest failed")
            .hint(format!("run `robocred ingest {id}` again later; until then its predecessor is kept")))
    }
}

/// One robot's result, and its failure.
pub type Ended = (RobotResult, Option<CommandError>);

/// What a run brought, with the failure of its hook if it had one.
pub fn ended(id: &RobotId, outcome: lifecycle::Outcome) -> Ended {
    let mut result = result(id, &outcome);
    let failure = outcome.trouble.map(CommandError::from);
    result.error = failure.as_ref().map(CommandError::for_programs);
    (result, failure)
}

/// What a run brought, as the document has it.
pub fn result(id: &RobotId, outcome: &lifecycle::Outcome) -> RobotResult {
    let mut result = about(id, action(outcome.did), Some(&outcome.record));
    result.exports = outcome
        .delivered
        .iter()
        .map(|delivered| Export { dir: delivered.dir.clone(), files: delivered.files.clone() })
        .collect();
    result
}

fn action(did: Did) -> Action {
    match did {
        Did::Nothing => Action::Unchanged,
        Did::Provisioned => Action::Provisioned,
        Did::Rotated => Action::Rotated,
        Did::Resumed => Action::Resumed,
        Did::RolledBack => Action::RolledBack,
        Did::Retired => Action::Retired,
    }
}

/// What a failed robot still has: the generation in use, else the newest on its way.
pub async fn failed(inventory: Option<&Inventory>, id: &RobotId, error: &CommandError) -> RobotResult {
    let records = match inventory {
        Some(inventory) => inventory.records(id).await.unwrap_or_default(),
        None => Vec::new(),
    };
    let mut result = about(id, Action::Failed, in_use(&records));
    result.error = Some(error.for_programs());
    result
}

/// The generation in use, else the newest on its way.
pub fn in_use(records: &[Record]) -> Option<&Record> {
    let active = records.iter().find(|record| record.state == robocred::credential::State::Active);
    active.or_else(|| records.iter().rfind(|record| record.state.is_pending()))
}

fn words(moment: Moment) -> &'static str {
    match moment {
        Moment::Making => "making the key and its certificate",
        Moment::Registering => "registering the robot",
        Moment::Probing => "asking whether the certificate is accepted",
        Moment::Proving => "proving the credential",
        Moment::Delivering => "handing it out",
        Moment::Retiring => "taking the old credential out of use",
    }
}
