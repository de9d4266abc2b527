//! Back to the previous generation while the appliance still accepts it.
//! Durable before: nothing; the proof and the one transaction in which the two
//! change places.

use super::{Did, Drive, Error, Moment, Outcome, observe};
use crate::{
    credential::{Record, State, plan::Aim},
    inventory::{AttentionCode, Change},
    site::RobotId,
    verify::{self, ControlUse},
};

/// What a robot's [`Drive::roll_back`] would return to: what was in use last.
/// Without that, one whose removal is under way: it may still be accepted.
/// `None` where it was returned already, so that a second call goes no further
/// back. Pure.
///
/// # Errors
/// [`Error::NothingPrevious`].
#[allow(clippy::result_large_err, reason = "made once")]
pub fn returns_to<'r>(robot: &RobotId, records: &'r [Record]) -> Result<Option<&'r Record>, Error> {
    let active = observe::active(records);
    let previous = || records.iter().filter(|record| record.state == State::Previous);
    let later = |record: &Record| active.as_ref().is_some_and(|active| record.id.generation > active.id.generation);
    if previous().any(later) {
        return Ok(None);
    }
    let retiring = || records.iter().filter(|record| record.state == State::Retiring);
    let last = previous().max_by_key(|record| record.promoted_at);
    let last = last.or_else(|| retiring().max_by_key(|record| record.promoted_at));
    last.map(Some).ok_or_else(|| Error::NothingPrevious { robot: robot.clone() })
}

impl Drive<'_> {
    /// Returns to the generation that was in use before, once it is proven,
    /// and delivers it. A robot that was returned already is left alone.
    ///
    /// # Errors
    /// [`Error::NothingPrevious`], [`Error::NotAccepted`] with nothing changed; those of a delivery.
    pub async fn roll_back(mut self) -> Result<Outcome, Error> {
        let records = self.records().await?;
        let previous = returns_to(&self.id, &records)?;
        if let Some(previous) = previous {
            self.return_to(previous).await?;
        }
        self.aim = Aim::Deliver;
        let mut outcome = self.run().await?;
        if previous.is_some() || outcome.did == Did::Resumed {
            outcome.did = Did::RolledBack;
        }
        Ok(outcome)
    }

    /// Makes a previous generation the one in use, once it is proven. A removal
    /// of it that was under way is called off.
    pub(super) async fn return_to(&self, previous: &Record) -> Result<(), Error> {
        (self.progress)(Moment::Proving);
        let id = previous.id.clone();
        let proven = verify::prove(&self.session, previous, ControlUse::Now).await;
        let (_, report) = proven.map_err(|failure| Error::NotAccepted { id, failure: Box::new(failure) })?;
        fail::fail_point!("rollback.before-commit");
        if previous.state == State::Retiring {
            let reason = "it is returned to".to_owned();
            self.advance(previous, Change::Spared { reason }).await?;
        }
        self.advance(previous, Change::RolledBack { passed: report.passed() }).await?;
        fail::fail_point!("rollback.after-commit");
        self.note(&report).await?;
        self.clear(AttentionCode::Frozen).await
    }
}
