//! Executes the plan of one robot, step by step, until nothing is left to do
//! or a person is needed.
//!
//! Owns the loop ([`Drive::run`]) and one file per step. Leaves out what comes
//! next (`credential::plan`), what is proven (`verify`) and every word to the
//! person. Each step makes what it did durable in one transaction before the
//! next is asked for; killed anywhere, the same call carries on.

mod deliver;
mod error;
mod make;
mod observe;
mod register;

use std::time::Duration;

use time::OffsetDateTime;

use crate::{
    appliance::{Probe, SupportToken},
    credential::{
        Record,
        plan::{self, Need, Probes, Step},
    },
    export::Delivered,
    inventory::{AttentionCode, Change, NewGeneration, SiteLock},
    session::Session,
    site::{Robot, RobotId},
    verify::{self, ControlUse, Verified},
};
pub use deliver::{confirm, hand_out};
pub use error::Error;
pub use observe::{foresee, note};

/// How long one run waits for an answer in doubt (docs/ARCHITECTURE.md).
pub const PATIENCE: Duration = Duration::from_secs(40);

/// A difference of the clocks at which nothing is decided by ours any more.
const CLOCKS_APART: time::Duration = time::Duration::DAY;

/// What a run is doing, for whoever shows progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Generating the key.
    Making,
    /// Asking the appliance.
    Registering,
    /// Finding out whether the registration took effect.
    Probing,
    /// Proving the credential.
    Proving,
    /// Writing its files.
    Delivering,
}

/// What a run brought.
#[derive(Debug)]
pub struct Outcome {
    /// The active generation.
    pub record: Record,
    /// Whether a generation was promoted in this run.
    pub promoted: bool,
    /// The files that were written or found right.
    pub delivered: Vec<Delivered>,
    /// What a person should know although it worked.
    pub notices: Vec<String>,
}

impl Outcome {
    /// Of a robot that is as it is wanted.
    #[must_use]
    pub fn unchanged(record: Record) -> Self {
        Self { record, promoted: false, delivered: Vec::new(), notices: Vec::new() }
    }
}

/// One robot on its way to what is wanted.
pub struct Drive<'a> {
    /// The opened site.
    pub session: Session<'a>,
    /// The right to change it.
    pub lock: &'a SiteLock,
    /// The robot.
    pub id: RobotId,
    /// The robot as it is wanted.
    pub robot: &'a Robot,
    /// The support token, if one is at hand.
    pub token: Option<SupportToken>,
    /// Whether that token came from the secret store: once refused, it is removed there.
    pub token_is_stored: bool,
    /// Told what is being done.
    pub progress: &'a (dyn Fn(Moment) + Send + Sync),
}

impl std::fmt::Debug for Drive<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Drive").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What is known only within one run.
#[derive(Default)]
struct Run {
    probes: Probes,
    /// When the first registration of this run was begun, which starts the patience.
    in_doubt_since: Option<OffsetDateTime>,
    /// The appliance's own id, from a reply that the probe has yet to confirm.
    remote_id: Option<String>,
    proof: Option<Verified>,
    /// A POST of the pending generation was answered as a success.
    answered: bool,
    /// A registered generation was refused, long after its POST.
    proof_refused: bool,
    promoted: bool,
    delivered: Vec<Delivered>,
    notices: Vec<String>,
    /// Why the last registration did not settle, for the error that may follow.
    doubt: Option<String>,
}

impl Drive<'_> {
    /// Takes step after step until nothing is left to do.
    ///
    /// # Errors
    /// [`Error`], with everything done so far durable; the same call carries on.
    pub async fn run(mut self) -> Result<Outcome, Error> {
        let mut run = Run::default();
        loop {
            let observed = self.look(&run).await?;
            let step = plan::next(&observed);
            tracing::info!(robot = %self.id, ?step, "next");
            match step {
                Step::Plan(_) => self.plan().await?,
                Step::Make(generation) => self.make(generation).await?,
                Step::Register(generation) => self.register(generation, &mut run).await?,
                Step::Probe(generation, at) => self.probe(generation, at, &mut run).await?,
                Step::Prove(generation) => self.prove(generation, &mut run).await?,
                Step::Deliver(generation) => self.deliver(generation, &mut run).await?,
                Step::GiveUp(generation) => self.give_up(generation, &mut run).await?,
                Step::Wait(until) => return Err(Error::Unsettled { until, doubt: run.doubt }),
                Step::NeedsPerson(need) => return Err(self.needs(need).await?),
                Step::Done => return self.done(run).await,
            }
        }
    }

    async fn plan(&self) -> Result<(), Error> {
        if let Some(ended) = observe::active(&self.records().await?) {
            self.compare_clocks(&ended).await?;
        }
        // What was odd about the last registration is over with the next.
        self.clear(AttentionCode::ReplyDiffers).await?;
        let new = NewGeneration {
            robot: self.id.clone(),
            role: self.robot.role,
            key_algorithm: self.robot.key_algorithm,
            profile: self.robot.profile,
        };
        fail::fail_point!("plan.before-commit");
        self.session.inventory().plan_generation(self.lock, &new, self.session.now()).await?;
        fail::fail_point!("plan.after-commit");
        Ok(())
    }

    async fn prove(&self, generation: crate::credential::Generation, run: &mut Run) -> Result<(), Error> {
        (self.progress)(Moment::Proving);
        let record = self.record(generation).await?;
        let control = match record.attempt.as_ref().map(|attempt| attempt.control) {
            Some(crate::credential::Control::Refused) => ControlUse::AlreadyRefused,
            _ => ControlUse::Now,
        };
        fail::fail_point!("prove.before");
        let (proof, report) = match verify::prove(&self.session, &record, control).await {
            Ok(proven) => proven,
            Err(failure) => return self.unproven(&record, failure, run).await,
        };
        fail::fail_point!("prove.before-commit");
        self.advance(&record, Change::Promoted).await?;
        fail::fail_point!("prove.after-commit");
        self.note(&report).await?;
        run.proof = Some(proof);
        run.promoted = true;
        Ok(())
    }

    /// A registration that is refused long after its POST is gone from the
    /// appliance; before that, it may still be on its way.
    async fn unproven(&self, record: &Record, failure: verify::Failure, run: &mut Run) -> Result<(), Error> {
        let sent_at = record.attempt.as_ref().map(|attempt| attempt.since);
        let rested = sent_at.is_some_and(|at| self.session.now() - at > plan::ATTEMPT_REST);
        if failure.kind == verify::Kind::Refused && rested {
            run.proof_refused = true;
            return Ok(());
        }
        if failure.kind == verify::Kind::Control {
            self.raise(AttentionCode::ControlAccepted, &failure.detail, failure.hint.as_deref()).await?;
        }
        Err(Error::Proof(failure))
    }

    /// A credential that has ended by this machine's clock has ended only if the
    /// appliance's clock agrees (I12).
    async fn compare_clocks(&self, ended: &Record) -> Result<(), Error> {
        let Ok(loaded) = self.session.load(ended).await else { return Ok(()) };
        let api = self.session.read_api(&loaded.identity(self.session.site())?)?;
        let login = api.probe(Probe::Graphql).await;
        match login.server_time {
            Some(time) if (time - self.session.now()).abs() > CLOCKS_APART => Err(self.needs(Need::Clock).await?),
            _ => Ok(()),
        }
    }

    async fn done(&self, run: Run) -> Result<Outcome, Error> {
        let record = observe::active(&self.records().await?).ok_or(Error::NothingActive)?;
        if run.promoted {
            // Whatever was asked of a person on the way here has been given.
            self.clear(AttentionCode::TokenNeeded).await?;
            self.clear(AttentionCode::ControlAccepted).await?;
        }
        Ok(Outcome { record, promoted: run.promoted, delivered: run.delivered, notices: run.notices })
    }

    async fn needs(&self, need: Need) -> Result<Error, Error> {
        let error = Error::NeedsPerson { robot: self.id.clone(), need };
        let code = match need {
            Need::Token => AttentionCode::TokenNeeded,
            Need::Frozen => AttentionCode::Frozen,
            Need::ControlAccepted => AttentionCode::ControlAccepted,
            Need::Clock => AttentionCode::ClockSkew,
        };
        self.raise(code, &error.to_string(), error.hint().as_deref()).await?;
        Ok(error)
    }
}
