//! Executes the plan of one robot, step by step, until nothing is left to do
//! or a person is needed.
//!
//! Owns the loop ([`Drive::run`]) and one file per step. Leaves out what comes
//! next (`credential::plan`), what is proven (`verify`) and every word to the
//! person. Each step makes what it did durable in one transaction before the
//! next is asked for; killed anywhere, the same call carries on.

mod deliver;
mod error;
pub mod import;
mod make;
mod observe;
mod register;
mod registrar;
mod retire;
mod rollback;

use std::time::Duration;

use time::OffsetDateTime;

use crate::{
    appliance::{Answer, Login, Probe},
    clock::{self, Agreement},
    credential::{
        Control, Record,
        plan::{self, Aim, Need, Probes, Step, Urgency},
    },
    export::Delivered,
    inventory::{AttentionCode, Change, NewGeneration, SiteLock},
    session::Session,
    site::{Robot, RobotId},
    verify::{self, ControlUse, Verified},
};
pub use deliver::{confirm, hand_out};
pub use error::Error;
pub use observe::{Wish, foresee, note};
use registrar::Registrars;
pub use registrar::{GivenToken, could_register};
pub use retire::removed_by_hand;
pub use rollback::returns_to;

/// How long one run waits for an answer in doubt (docs/ARCHITECTURE.md).
pub const PATIENCE: Duration = Duration::from_secs(40);

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
    /// Taking a predecessor out of use.
    Retiring,
}

/// What a run did, in the words of the results document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Did {
    /// Nothing: all was as it is wanted.
    Nothing,
    /// The robot has its first credential.
    Provisioned,
    /// Another credential took the place of the one before.
    Rotated,
    /// A delivery or a removal that was open is finished.
    Resumed,
    /// The previous generation is in use again.
    RolledBack,
    /// A generation was taken out of use.
    Retired,
}

/// What a run brought.
#[derive(Debug)]
pub struct Outcome {
    /// The active generation; of a retirement the one that was retired.
    pub record: Record,
    /// What was done.
    pub did: Did,
    /// What was taken out of use.
    pub retired: Vec<Record>,
    /// The files that were written or found right.
    pub delivered: Vec<Delivered>,
    /// The deploy hook failed: everything else is done.
    pub trouble: Option<Error>,
}

impl Outcome {
    /// Of a robot that is as it is wanted.
    #[must_use]
    pub fn unchanged(record: Record) -> Self {
        Self { record, did: Did::Nothing, retired: Vec::new(), delivered: Vec::new(), trouble: None }
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
    /// What the run is for.
    pub aim: Aim,
    /// The support token given for this run, if one was.
    pub token: Option<&'a GivenToken>,
    /// Told what is being done.
    pub progress: &'a (dyn Fn(Moment) + Send + Sync),
    /// Told what a person should know, however the run ends.
    pub notice: &'a (dyn Fn(&str) + Send + Sync),
}

impl std::fmt::Debug for Drive<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Drive").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What is known only within one run.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct Run<'a> {
    registrars: Registrars<'a>,
    /// The credential in use was refused before its end, and nobody has looked since.
    frozen: bool,
    /// Whether the robot had a credential in use when the run began.
    had_one: bool,
    renewed: bool,
    /// A delivery that was open was brought to its end.
    delivery_was_open: bool,
    /// What failed and is not tried again in this run, and the first reason.
    spent: Vec<Step>,
    trouble: Option<Error>,
    retired: Vec<Record>,
    /// A number whose name is taken on the appliance was passed over.
    passed_over: Option<Error>,
    probes: Probes,
    /// The pending certificate was asked in this run, before its first POST.
    control_asked: bool,
    /// When the first registration of this run was begun, which starts the patience.
    in_doubt_since: Option<OffsetDateTime>,
    /// The appliance's own id, from a reply that the probe has yet to confirm.
    remote_id: Option<String>,
    proof: Option<Verified>,
    /// A POST of the pending generation was answered as a success.
    answered: bool,
    /// A registered generation was refused long after its POST, or has ended.
    proof_refused: bool,
    /// The appliance's clock minus ours, as it was last told in this run. An
    /// appliance that refuses and tells no time is taken to have ours: its
    /// refusal is then what speaks beside our clock.
    skew: Option<time::Duration>,
    promoted: bool,
    delivered: Vec<Delivered>,
    /// Why the last registration did not settle, for the error that may follow.
    doubt: Option<String>,
}

impl Run<'_> {
    /// When it stops waiting for an answer in doubt.
    fn patience_ends(&self, now: OffsetDateTime) -> OffsetDateTime {
        self.in_doubt_since.unwrap_or(now) + clock::goes_on(PATIENCE)
    }

    /// What the appliance said to a pending certificate before its first POST. Of an earlier run it says nothing any
    /// more: an appliance that has come to accept any certificate meanwhile would pass for one that registered it.
    fn control(&self, record: &Record) -> Control {
        let asked = record.attempt.as_ref().filter(|_| self.control_asked);
        asked.map_or(Control::Unknown, |attempt| attempt.control)
    }
}

impl<'a> Drive<'a> {
    /// Takes step after step until nothing is left to do.
    ///
    /// A delivery or a retirement that fails is told at the end, and delays
    /// nothing that is possible without it.
    ///
    /// # Errors
    /// [`Error`], with everything done so far durable; the same call carries on.
    pub async fn run(self) -> Result<Outcome, Error> {
        let mut run = self.begin().await?;
        self.carry_on(&mut run).await?;
        self.done(run).await
    }

    async fn begin(&self) -> Result<Run<'a>, Error> {
        let records = self.records().await?;
        Ok(Run {
            registrars: Registrars::find(self).await?,
            frozen: self.is_frozen(&records).await?,
            had_one: observe::active(&records).is_some(),
            renewed: false,
            delivery_was_open: false,
            spent: Vec::new(),
            trouble: None,
            retired: Vec::new(),
            passed_over: None,
            probes: Probes::default(),
            control_asked: false,
            in_doubt_since: None,
            remote_id: None,
            proof: None,
            answered: false,
            proof_refused: false,
            skew: None,
            promoted: false,
            delivered: Vec::new(),
            doubt: None,
        })
    }

    async fn carry_on(&self, run: &mut Run<'a>) -> Result<(), Error> {
        loop {
            let observed = self.look(run).await?;
            let step = plan::next(&observed);
            tracing::info!(robot = %self.id, ?step, "next");
            match step {
                Step::Plan(_) => {
                    self.plan(observed.due_at).await?;
                    run.renewed = true;
                }
                Step::Make(generation) => self.make(generation).await?,
                Step::Register(generation) => self.register(generation, run).await?,
                Step::Probe(generation, at) => self.probe(generation, at, run).await?,
                Step::Prove(generation) => self.prove(generation, run).await?,
                Step::Deliver(generation) => {
                    let ended = self.deliver(generation, run).await;
                    self.unless_failed(step, ended, run)?;
                }
                Step::Retire(generation) => {
                    let ended = self.retire(generation, run).await;
                    self.unless_failed(step, ended, run)?;
                }
                Step::GiveUp(generation) => self.give_up(generation, run).await?,
                Step::Wait(until) => return Err(Error::Unsettled { until, doubt: run.doubt.take() }),
                Step::NeedsPerson(need) => return Err(self.needs(need).await?),
                Step::Done => return Ok(()),
            }
        }
    }

    /// A step that may fail without holding up the others. What the inventory
    /// refuses, above all a lock that was taken over, ends the run.
    #[allow(clippy::unused_self, reason = "reads as the step it follows")]
    #[allow(clippy::result_large_err, reason = "made at most once a step")]
    fn unless_failed(&self, step: Step, ended: Result<(), Error>, run: &mut Run<'a>) -> Result<(), Error> {
        match ended {
            Ok(()) => Ok(()),
            Err(error @ Error::Inventory(_)) => Err(error),
            Err(error) => {
                tracing::info!(robot = %self.id, ?step, %error, "failed");
                run.spent.push(step);
                run.trouble.get_or_insert(error);
                Ok(())
            }
        }
    }

    /// Whether the credential in use was refused before its end. A person's own
    /// command passes; by schedule it is asked again.
    async fn is_frozen(&self, records: &[Record]) -> Result<bool, Error> {
        if !matches!(self.aim, Aim::Rotate(Urgency::Scheduled | Urgency::Asked)) {
            return Ok(false);
        }
        let raised = self.session.inventory().attention().await?;
        let frozen = raised.iter().any(|raised| raised.robot == self.id && raised.code == AttentionCode::Frozen);
        let Some(active) = observe::active(records).filter(|_| frozen) else { return Ok(frozen) };
        match verify::prove(&self.session, &active, ControlUse::Daily).await {
            Ok((_, report)) => {
                self.note(&report).await?;
                Ok(false)
            }
            Err(_) => Ok(true),
        }
    }

    async fn plan(&self, due_at: Option<OffsetDateTime>) -> Result<(), Error> {
        let forced = self.aim == Aim::Rotate(Urgency::Forced);
        if let Some(active) = observe::active(&self.records().await?)
            && !forced
        {
            self.compare_clocks(&active).await?;
        }
        // What was odd about the last registration is over with the next.
        self.clear(AttentionCode::ReplyDiffers).await?;
        let new = NewGeneration {
            robot: self.id.clone(),
            role: self.robot.role,
            key_algorithm: self.robot.key_algorithm,
            profile: self.robot.profile,
            // Only what was not due anyway was forced.
            forced: forced && due_at.is_none_or(|due| due > self.session.now()),
        };
        fail::fail_point!("plan.before-commit");
        self.session.inventory().plan_generation(self.lock, &new, self.session.now()).await?;
        fail::fail_point!("plan.after-commit");
        Ok(())
    }

    async fn prove(&self, generation: crate::credential::Generation, run: &mut Run<'a>) -> Result<(), Error> {
        (self.progress)(Moment::Proving);
        let record = self.record(generation).await?;
        let control = match run.control(&record) {
            Control::Refused => ControlUse::AlreadyRefused,
            _ => ControlUse::Now,
        };
        fail::fail_point!("prove.before");
        let (proof, report) = match verify::prove(&self.session, &record, control).await {
            Ok(proven) => proven,
            Err(failure) => return self.unproven(&record, failure, run).await,
        };
        fail::fail_point!("prove.before-commit");
        self.advance(&record, Change::Promoted { passed: report.passed() }).await?;
        fail::fail_point!("prove.after-commit");
        self.note(&report).await?;
        run.proof = Some(proof);
        run.promoted = true;
        run.renewed = true;
        // What failed before, failed for the one that was in use: with this one it may be tried again.
        run.spent.clear();
        run.trouble = None;
        // Whatever was asked of a person on the way here has been given. What the steps after it ask is still to be.
        for code in [AttentionCode::TokenNeeded, AttentionCode::ControlAccepted, AttentionCode::Frozen] {
            self.clear(code).await?;
        }
        Ok(())
    }

    /// A registration that is refused long after its POST is gone from the
    /// appliance; before that, it may still be on its way. Nor is it given up
    /// because it has ended here: only if it has ended there too (I12).
    async fn unproven(&self, record: &Record, failure: verify::Failure, run: &mut Run<'a>) -> Result<(), Error> {
        let over = match failure.kind {
            verify::Kind::Expired => record.certificate.as_ref().map(|certificate| certificate.validity().not_after),
            verify::Kind::Refused => record.attempt.as_ref().map(|attempt| attempt.since + plan::ATTEMPT_REST),
            _ => None,
        };
        if let Some(over) = over {
            let (login, now) = (self.log_in(record).await?, self.session.now());
            let refused = matches!(login.answer, Answer::Refused(_)).then_some(time::Duration::ZERO);
            run.skew = login.server_time.map(|theirs| theirs - now).or(refused);
            if clock::passed_by_both(over, now, run.skew.map(|skew| now + skew)) {
                run.proof_refused = true;
                return Ok(());
            }
            if run.skew.is_some_and(|skew| Agreement::of(skew) == Agreement::Apart) {
                return Err(self.needs(Need::Clock).await?);
            }
        }
        self.indiscriminate(&failure).await?;
        Err(Error::Proof(failure))
    }

    /// An appliance that accepts any certificate is for a person to look at.
    async fn indiscriminate(&self, failure: &verify::Failure) -> Result<(), Error> {
        match failure.kind {
            verify::Kind::Control => {
                self.raise(AttentionCode::ControlAccepted, &failure.detail, failure.hint.as_deref()).await
            }
            _ => Ok(()),
        }
    }

    /// A credential that has ended or is due by this machine's clock is so only if
    /// the appliance's clock agrees (I12).
    async fn compare_clocks(&self, active: &Record) -> Result<(), Error> {
        match self.log_in(active).await {
            Ok(login) => self.close_enough(login.server_time.map(|theirs| theirs - self.session.now())).await,
            // Without its key there is nothing to compare, and nothing that works.
            Err(_) => Ok(()),
        }
    }

    /// Asks the appliance with a credential, whatever its certificate's dates say here.
    async fn log_in(&self, record: &Record) -> Result<Login, Error> {
        let loaded = self.session.load(record).await?;
        let api = self.session.read_api(&loaded.identity(self.session.site())?)?;
        Ok(api.probe(Probe::Graphql).await)
    }

    /// Stops where the clocks are more than a day apart. An appliance that does
    /// not tell its time is taken as it was last seen. One that never told it
    /// hinders nothing: a re-issue too early costs a generation and no access,
    /// and before a removal the successor has just worked.
    async fn close_enough(&self, told: Option<time::Duration>) -> Result<(), Error> {
        let skew = match told {
            None => self.session.inventory().site(&self.id.site).await?.and_then(|row| row.seen.clock_skew),
            told => told,
        };
        match skew.map(Agreement::of) {
            Some(Agreement::Apart) => Err(self.needs(Need::Clock).await?),
            _ => Ok(()),
        }
    }

    async fn done(&self, run: Run<'a>) -> Result<Outcome, Error> {
        // What another number was wanted for did not come about.
        if let Some(error) = run.passed_over.filter(|_| !run.promoted) {
            return Err(error);
        }
        let trouble = match run.trouble {
            Some(trouble) if !matches!(trouble, Error::Hook(_)) => return Err(trouble),
            trouble => trouble,
        };
        let records = self.records().await?;
        if matches!(self.aim, Aim::Retire { .. }) && observe::active(&records).is_none() {
            // There is nothing left to hand out.
            self.clear(AttentionCode::DeliverByHand).await?;
        }
        let retired = run.retired.last().filter(|_| matches!(self.aim, Aim::Retire { .. })).cloned();
        let record = retired.or_else(|| observe::active(&records)).ok_or(Error::NothingActive)?;
        let did = match self.aim {
            Aim::Retire { .. } if !run.retired.is_empty() => Did::Retired,
            _ if run.promoted && run.had_one => Did::Rotated,
            _ if run.promoted => Did::Provisioned,
            _ if run.delivery_was_open || !run.retired.is_empty() => Did::Resumed,
            _ => Did::Nothing,
        };
        let Run { retired, delivered, .. } = run;
        Ok(Outcome { record, did, retired, delivered, trouble })
    }

    async fn needs(&self, need: Need) -> Result<Error, Error> {
        let error = Error::NeedsPerson { robot: self.id.clone(), need };
        let code = match need {
            Need::Token => AttentionCode::TokenNeeded,
            Need::Frozen => AttentionCode::Frozen,
            Need::ControlAccepted => AttentionCode::ControlAccepted,
            Need::Clock => AttentionCode::ClockSkew,
        };
        // Whoever froze it has said why, in better words.
        if need != Need::Frozen {
            self.raise(code, &error.to_string(), error.hint().as_deref()).await?;
        }
        Ok(error)
    }
}
