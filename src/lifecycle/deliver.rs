//! Bringing a proven credential to its targets. Durable before: the promotion.

use std::path::Path;

use super::{Drive, Error, Moment, Run};
use crate::{
    credential::{Delivery, Generation, Record, State, plan::back_off},
    export::{self, Delivered},
    hook::{self, Event, Facts},
    inventory::{AttentionCode, DeliveryKind, Inventory, SiteLock},
    session::Session,
    site::{ExportTarget, Robot},
    verify::{self, ControlUse, Kind, Verified},
};

impl Drive<'_> {
    pub(super) async fn deliver(&self, generation: Generation, run: &mut Run<'_>) -> Result<(), Error> {
        (self.progress)(Moment::Delivering);
        let record = self.record(generation).await?;
        let ended = self.bring(&record, run).await;
        run.delivery_was_open |= ended.is_ok() && record.delivery == Delivery::Open;
        if let Err(error) = &ended
            && !matches!(error, Error::Inventory(_))
        {
            let (inventory, now) = (self.session.inventory(), self.session.now());
            inventory.delivery_failed(self.lock, &record.id, back_off, now).await?;
        }
        ended
    }

    async fn bring(&self, record: &Record, run: &mut Run<'_>) -> Result<(), Error> {
        let hook = Event::Deploy.command(&self.robot.hooks);
        let target = self.robot.export.as_ref();
        if hook.is_none() && target.is_none() {
            return self.without_target(record).await;
        }
        if hook.is_some() {
            // Nobody has to carry it, nor what was written before it.
            self.clear(AttentionCode::DeliverByHand).await?;
        }
        let proof = self.proof(record, run).await?;
        fail::fail_point!("deliver.before");
        if let Some(target) = target {
            let kind = if hook.is_some() { DeliveryKind::Proven } else { DeliveryKind::ByHand };
            match hand_out(&self.session, self.lock, self.robot, record, &proof, target, kind).await {
                Ok(delivered) => run.delivered.push(delivered),
                Err(Error::Deliver(error)) => return Err(self.not_written(record, target, error).await?),
                Err(error) => return Err(error),
            }
        }
        run.proof = Some(proof);
        match hook {
            // The same bytes under the same number are no news to whoever reads them.
            Some(hook) if record.delivery == Delivery::Open => self.deploy(record, hook).await,
            _ => Ok(()),
        }
    }

    /// What was said of an earlier generation is not what is to be done now.
    async fn not_written(&self, record: &Record, target: &ExportTarget, error: export::Error) -> Result<Error, Error> {
        let (hint, error) = (error.hint(), Error::Deliver(error));
        let (generation, dir) = (record.id.generation, target.dir.display());
        let message = match std::error::Error::source(&error) {
            Some(source) => format!("generation {generation} could not be written to {dir}: {}", verify::chain(source)),
            None => format!("generation {generation} could not be written to {dir}"),
        };
        self.raise(AttentionCode::DeliverByHand, &message, Some(&hint)).await?;
        Ok(error)
    }

    /// Nothing is configured. What a person has handed out to a directory is
    /// still in use somewhere, and is theirs to replace.
    async fn without_target(&self, record: &Record) -> Result<(), Error> {
        let deliveries = self.session.inventory().deliveries(&self.id).await?;
        let Some(last) = deliveries.iter().max_by_key(|delivered| delivered.at) else {
            self.clear(AttentionCode::DeliverByHand).await?;
            return self.set(record, Delivery::Delivered).await;
        };
        let message = format!(
            "generation {} was handed out to {}; generation {} is to follow",
            last.generation,
            last.dir.display(),
            record.id.generation
        );
        let hint = format!("run `robocred export {} --dir {}`", self.id, last.dir.display());
        self.raise(AttentionCode::DeliverByHand, &message, Some(&hint)).await?;
        self.set(record, Delivery::ByHand).await
    }

    async fn proof(&self, record: &Record, run: &mut Run<'_>) -> Result<Verified, Error> {
        if let Some(proof) = run.proof.take().filter(|proof| proof.id() == &record.id) {
            return Ok(proof);
        }
        match verify::prove(&self.session, record, ControlUse::Daily).await {
            Ok((proof, _)) => Ok(proof),
            Err(failure) if failure.kind == Kind::Refused => {
                let records = self.records().await?;
                let previous = records.iter().rfind(|other| other.state == State::Previous);
                Err(self.freeze(record, previous).await?)
            }
            Err(failure) => Err(Error::Proof(failure)),
        }
    }

    /// Runs the deploy hook: once it has ended well, the generation is delivered.
    /// Killed between the two, the hook runs again.
    async fn deploy(&self, record: &Record, hook: &[String]) -> Result<(), Error> {
        let records = self.records().await?;
        let previous = records.iter().rfind(|other| other.state == State::Previous).map(|other| other.id.generation);
        let mut facts = Facts::new(Event::Deploy, self.session.site(), self.robot, Some(record)).previous(previous);
        if let Some(target) = &self.robot.export {
            facts = facts.exported(&target.dir, export::FILES);
        }
        fail::fail_point!("hook.before");
        let ended = hook::run(hook, &facts, hook::LIMIT).await;
        fail::fail_point!("hook.after");
        if let Err(error) = ended {
            let said = match error.said().lines().last() {
                Some(last) => format!("{error}: {last}"),
                None => error.to_string(),
            };
            self.raise(AttentionCode::HookFailed, &said, Some(&error.hint())).await?;
            return Err(Error::Hook(error));
        }
        self.set(record, Delivery::Delivered).await?;
        fail::fail_point!("hook.recorded");
        self.clear(AttentionCode::HookFailed).await
    }

    async fn set(&self, record: &Record, delivery: Delivery) -> Result<(), Error> {
        let (overlap, now) = (self.robot.overlap, self.session.now());
        self.session.inventory().set_delivery(self.lock, &record.id, delivery, overlap, now).await?;
        Ok(())
    }
}

/// Writes the pair to `target` and records it; by hand, somebody has to carry it on.
///
/// A delivery by hand that was confirmed stays confirmed as long as the bytes
/// in that directory are the same.
///
/// # Errors
/// [`Error::Deliver`]; the pair that was current there stays current.
pub async fn hand_out(
    session: &Session<'_>,
    lock: &SiteLock,
    robot: &Robot,
    record: &Record,
    proof: &Verified,
    target: &ExportTarget,
    kind: DeliveryKind,
) -> Result<Delivered, Error> {
    let loaded = session.load(record).await?;
    let delivered = export::deliver(proof, record, &loaded.key, &loaded.certificate, target).map_err(Error::Deliver)?;
    fail::fail_point!("deliver.written");
    let inventory = session.inventory();
    let confirmed = record.delivery == Delivery::Delivered && known(inventory, record, &target.dir).await?;
    if confirmed {
        inventory.clear(lock, &record.id.robot, AttentionCode::DeliverByHand, session.now()).await?;
        return Ok(delivered);
    }
    let now = session.now();
    if kind == DeliveryKind::Proven {
        inventory.record_delivery(lock, &record.id, &target.dir, kind, now).await?;
        fail::fail_point!("deliver.recorded");
        return Ok(delivered);
    }
    let form = export::Form::new(&session.site().endpoint, session.site().trust.as_ref(), record, &target.dir);
    let message = format!(
        "upload {} and {} to the connector, with the URL {} and the robot name {}",
        form.private_key_file.display(),
        form.certificate_file.display(),
        form.url,
        form.robot_name
    );
    let hint = format!("then run `robocred export {} --confirm`", record.id.robot);
    // Said before it counts as written: a run that is killed in between says it again.
    inventory.raise(lock, &record.id.robot, AttentionCode::DeliverByHand, &message, Some(&hint), now).await?;
    fail::fail_point!("deliver.raised");
    inventory.record_delivery(lock, &record.id, &target.dir, DeliveryKind::ByHand, now).await?;
    inventory.set_delivery(lock, &record.id, Delivery::ByHand, robot.overlap, now).await?;
    fail::fail_point!("deliver.recorded");
    Ok(delivered)
}

/// Whether this very certificate was written to `dir` before.
async fn known(inventory: &Inventory, record: &Record, dir: &Path) -> Result<bool, Error> {
    let fingerprint = record.certificate.as_ref().map(crate::x509::Certificate::fingerprint);
    let deliveries = inventory.deliveries(&record.id.robot).await?;
    Ok(deliveries.iter().any(|delivered| delivered.dir == dir && Some(delivered.fingerprint) == fingerprint))
}

/// Records that a person has given the current pair to the connector.
///
/// # Errors
/// [`Error::Inventory`].
pub async fn confirm(
    inventory: &Inventory,
    lock: &SiteLock,
    robot: &Robot,
    record: &Record,
    now: time::OffsetDateTime,
) -> Result<Record, Error> {
    let record = inventory.set_delivery(lock, &record.id, Delivery::Delivered, robot.overlap, now).await?;
    inventory.clear(lock, &record.id.robot, AttentionCode::DeliverByHand, now).await?;
    Ok(record)
}
