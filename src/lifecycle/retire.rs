//! Taking a credential out of use: off the appliance, its files and its key
//! destroyed. Durable before: the intent (state `retiring`), and before that a
//! successor that was proven right then.
//!
//! The evidence that it is gone is that the appliance refuses it; a success in
//! the appliance's words is not. Nothing is destroyed while the successor does
//! not work.

mod removal;

use time::OffsetDateTime;

use super::{Did, Drive, Error, Moment, Outcome, Run};
use crate::{
    credential::{CredentialId, Generation, Record, State, plan::Aim},
    export,
    inventory::{self, AttentionCode, Change, Inventory, SiteLock},
    verify::{self, ControlUse, Kind},
    x509::Certificate,
};

/// Whether the appliance lets a certificate in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LetIn {
    Yes,
    No,
    /// Its key is lost, it has ended or was never let in, and a refusal would
    /// not tell why; or it is hung up on, which is how some refuse and how a
    /// line breaks.
    CannotTell,
}

/// How a removal ended.
enum Left {
    Gone,
    /// A person has to remove it, for this reason.
    Manual(String),
}

impl<'a> Drive<'a> {
    /// Takes one generation out of use now, also within its overlap.
    ///
    /// The one in use goes only where an earlier one works, which is returned
    /// to first, or if `last` says so.
    ///
    /// # Errors
    /// [`Error::NoGeneration`], [`Error::NotInUse`], [`Error::OnlyWorking`] with nothing changed; those of a removal.
    pub async fn take_out(mut self, generation: Generation, last: bool) -> Result<Outcome, Error> {
        let records = self.records().await?;
        let id = CredentialId { robot: self.id.clone(), generation };
        let record = records.iter().find(|record| record.id == id).ok_or(Error::NoGeneration { id })?;
        if record.state.is_pending() {
            return Err(Error::NotInUse { id: record.id.clone(), state: record.state });
        }
        let earlier = |other: &&Record| other.state == State::Previous && other.id != record.id;
        let mut returned = Vec::new();
        match (record.state, records.iter().rfind(earlier)) {
            (State::Active, Some(earlier)) => match self.return_to(earlier).await {
                Ok(()) => {
                    self.aim = Aim::Deliver;
                    let mut run = self.begin().await?;
                    self.carry_on(&mut run).await?;
                    returned = run.delivered;
                }
                Err(Error::NotAccepted { .. }) if last => {}
                Err(Error::NotAccepted { .. }) => return Err(Error::OnlyWorking { id: record.id.clone() }),
                Err(error) => return Err(error),
            },
            (State::Active, None) if !last => return Err(Error::OnlyWorking { id: record.id.clone() }),
            (State::RetireManual, _) => return self.remove_leftover(record).await,
            (State::Retired | State::Abandoned, _) => return Ok(Outcome::unchanged(record.clone())),
            _ => {}
        }
        self.aim = Aim::Retire { generation, last };
        let mut run = self.begin().await?;
        self.carry_on(&mut run).await?;
        run.delivered.extend(returned);
        self.done(run).await
    }

    /// A leftover, once somebody may remove it. Its key is gone: only the
    /// appliance's list, or its word, can tell.
    async fn remove_leftover(&self, record: &Record) -> Result<Outcome, Error> {
        let (inventory, now) = (self.session.inventory(), self.session.now());
        let reason = if let Some(heir) = heir(inventory, record).await? {
            taken_over(&heir)
        } else {
            let successor = super::observe::active(&self.records().await?);
            if let Some(successor) = &successor {
                self.works_now(successor, Some(record), ControlUse::Now).await?;
            }
            match self.take_off(record, successor.as_ref()).await? {
                Left::Manual(_) => return Ok(Outcome::unchanged(record.clone())),
                Left::Gone => "removed on the appliance by this tool".to_owned(),
            }
        };
        let record = gone(inventory, self.lock, &record.id, &reason, now).await?;
        Ok(Outcome { did: Did::Retired, ..Outcome::unchanged(record) })
    }

    pub(super) async fn retire(&self, generation: Generation, run: &mut Run<'a>) -> Result<(), Error> {
        (self.progress)(Moment::Retiring);
        let record = self.record(generation).await?;
        let successor = super::observe::active(&self.records().await?).filter(|active| active.id != record.id);
        let last = matches!(self.aim, Aim::Retire { last: true, .. });
        let heir = heir(self.session.inventory(), &record).await?;
        match &successor {
            // Nothing is removed on the appliance.
            _ if heir.is_some() => {}
            Some(successor) => self.works_now(successor, Some(&record), ControlUse::Now).await?,
            None if last || record.state == State::Retiring => {}
            None => return Err(Error::OnlyWorking { id: record.id }),
        }
        fail::fail_point!("retire.before-intent");
        let record = match record.state {
            State::Retiring => record,
            _ => self.advance(&record, Change::RetireBegun).await?,
        };
        fail::fail_point!("retire.intent");
        let left = match &heir {
            Some(_) => Left::Gone,
            None => self.take_off(&record, successor.as_ref()).await?,
        };
        fail::fail_point!("retire.removed");
        self.destroy(&record, heir.as_ref()).await?;
        fail::fail_point!("retire.destroyed");
        let record = match left {
            Left::Gone => self.advance(&record, Change::RetireDone).await?,
            Left::Manual(reason) => {
                let reason = as_called(&record, reason);
                let hint = format!(
                    "remove {} on the appliance, then run `robocred retire {} --generation {} --removed`",
                    record.registered_name, self.id, record.id.generation
                );
                self.raise(AttentionCode::RetireManual, &reason, Some(&hint)).await?;
                self.advance(&record, Change::RetireImpossible { reason }).await?
            }
        };
        fail::fail_point!("retire.recorded");
        run.retired.push(record);
        Ok(())
    }

    /// Proves that `successor` works right now, by an appliance whose clock
    /// agrees with ours: no retirement is caused by our clock alone (I12).
    async fn works_now(&self, successor: &Record, old: Option<&Record>, control: ControlUse) -> Result<(), Error> {
        match verify::prove(&self.session, successor, control).await {
            Ok((_, report)) => {
                self.close_enough(report.skew).await?;
                // What was raised of it before is over.
                self.note(&report).await
            }
            Err(failure) if failure.kind == Kind::Refused => Err(self.freeze(successor, old).await?),
            Err(failure) => {
                self.indiscriminate(&failure).await?;
                Err(Error::Proof(failure))
            }
        }
    }

    /// The credential in use is refused before its end: nothing is changed
    /// without a person. A predecessor whose removal had begun and that still
    /// works is kept, so that it can be returned to.
    pub(super) async fn freeze(&self, refused: &Record, old: Option<&Record>) -> Result<Error, Error> {
        let mut hint = super::observe::way_on(&self.id);
        if let Some(old) = old
            && matches!(self.lets_in(old).await, Ok(LetIn::Yes))
        {
            if old.state == State::Retiring {
                let reason = format!("{} does not work any more", refused.id);
                self.advance(old, Change::Spared { reason }).await?;
            }
            hint =
                format!("generation {} still works: `robocred rollback {}` returns to it", old.id.generation, self.id);
        }
        let message = format!("the appliance refuses generation {}, which has not ended", refused.id.generation);
        self.raise(AttentionCode::Frozen, &message, Some(&hint)).await?;
        Ok(Error::Refused { id: refused.id.clone(), hint })
    }

    /// Its files at every target, then its key. That nothing is there is
    /// success. Files that hand out the pair for its heir stay.
    async fn destroy(&self, record: &Record, heir: Option<&Record>) -> Result<(), Error> {
        let inventory = self.session.inventory();
        let deliveries = inventory.deliveries(&self.id).await?;
        let mut kept = match heir {
            Some(heir) => inventory.deliveries(&heir.id.robot).await?,
            None => Vec::new(),
        };
        kept.retain(|delivered| delivered.generation == record.id.generation);
        let configured = self.robot.export.iter().map(|target| target.dir.as_path());
        let mut dirs: Vec<_> = deliveries.iter().map(|delivered| delivered.dir.as_path()).chain(configured).collect();
        dirs.sort_unstable();
        dirs.dedup();
        for dir in dirs {
            if kept.iter().any(|delivered| delivered.dir == dir) {
                continue;
            }
            if let Some(certificate) = &record.certificate {
                export::forget(dir, record.id.generation, certificate).map_err(Error::Deliver)?;
            }
        }
        fail::fail_point!("retire.files-gone");
        self.session.secrets().remove(&record.secret).await.map_err(Error::Store)
    }
}

/// The generation of the site that works with this one's certificate, if one
/// does: the pair was imported after its removal had begun, and the robot on the
/// appliance is in use again.
async fn heir(inventory: &Inventory, old: &Record) -> Result<Option<Record>, inventory::Error> {
    let fingerprint = |record: &Record| record.certificate.as_ref().map(Certificate::fingerprint);
    let Some(own) = fingerprint(old) else { return Ok(None) };
    let lives = |state: State| state.is_pending() || matches!(state, State::Active | State::Previous);
    let records = inventory.site_records(&old.id.robot.site).await?;
    Ok(records.into_iter().find(|other| other.id != old.id && lives(other.state) && fingerprint(other) == Some(own)))
}

fn taken_over(heir: &Record) -> String {
    format!("taken over by {}", heir.id)
}

/// Closes the leftovers whose pair was imported as `heir`: nobody is to remove
/// them any more. A removal that is under way is closed when it is carried on.
pub(super) async fn hand_over(
    inventory: &Inventory,
    lock: &SiteLock,
    heir: &Record,
    now: OffsetDateTime,
) -> Result<(), inventory::Error> {
    let fingerprint = |record: &Record| record.certificate.as_ref().map(Certificate::fingerprint);
    for record in inventory.site_records(&heir.id.robot.site).await? {
        if record.state == State::RetireManual && fingerprint(&record) == fingerprint(heir) {
            gone(inventory, lock, &record.id, &taken_over(heir), now).await?;
        }
    }
    Ok(())
}

/// A reason with the name in the certificate, where a person may find the robot
/// by that name only.
fn as_called(record: &Record, reason: String) -> String {
    let name = record.certificate.as_ref().and_then(Certificate::common_name);
    match name.filter(|name| *name != record.registered_name.as_str()) {
        Some(name) => format!("{reason}; its certificate says {name}"),
        None => reason,
    }
}

/// Records that a person has removed a leftover from the appliance.
///
/// # Errors
/// [`Error::NoGeneration`]; [`Error::Inventory`] if it is no leftover.
pub async fn removed_by_hand(
    inventory: &Inventory,
    lock: &SiteLock,
    id: &CredentialId,
    now: OffsetDateTime,
) -> Result<Record, Error> {
    let records = inventory.records(&id.robot).await?;
    let record =
        records.iter().find(|record| &record.id == id).ok_or_else(|| Error::NoGeneration { id: id.clone() })?;
    if record.state == State::Retired {
        return Ok(record.clone());
    }
    Ok(gone(inventory, lock, id, "a person says so", now).await?)
}

/// A leftover that is gone; with the last one, what was asked of a person is done.
async fn gone(
    inventory: &Inventory,
    lock: &SiteLock,
    id: &CredentialId,
    reason: &str,
    now: OffsetDateTime,
) -> Result<Record, inventory::Error> {
    let record = inventory.advance(lock, id, Change::Removed { reason: reason.to_owned() }, now).await?;
    if !inventory.leftovers().await?.iter().any(|left| left.id.robot == id.robot) {
        inventory.clear(lock, &id.robot, AttentionCode::RetireManual, now).await?;
    }
    Ok(record)
}
