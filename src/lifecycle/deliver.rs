//! Bringing a proven credential to its targets. Durable before: the promotion.

use std::path::Path;

use super::{Drive, Error, Moment, Run};
use crate::{
    credential::{Delivery, Generation, Record},
    export::{self, Delivered},
    inventory::{AttentionCode, DeliveryKind, Inventory, SiteLock},
    session::Session,
    site::{ExportTarget, Robot},
    verify::{self, ControlUse, Verified},
};

impl Drive<'_> {
    pub(super) async fn deliver(&self, generation: Generation, run: &mut Run) -> Result<(), Error> {
        (self.progress)(Moment::Delivering);
        let record = self.record(generation).await?;
        let Some(target) = &self.robot.export else {
            self.clear(AttentionCode::DeliverByHand).await?;
            self.set(&record, Delivery::Delivered).await?;
            return Ok(());
        };
        let proof = match run.proof.take().filter(|proof| proof.id() == &record.id) {
            Some(proof) => proof,
            None => verify::prove(&self.session, &record, ControlUse::Daily).await.map_err(Error::Proof)?.0,
        };
        fail::fail_point!("deliver.before");
        let delivered = hand_out(&self.session, self.lock, self.robot, &record, &proof, target).await?;
        run.proof = Some(proof);
        run.delivered.push(delivered);
        Ok(())
    }

    async fn set(&self, record: &Record, delivery: Delivery) -> Result<(), Error> {
        let (overlap, now) = (self.robot.overlap, self.session.now());
        self.session.inventory().set_delivery(self.lock, &record.id, delivery, overlap, now).await?;
        Ok(())
    }
}

/// Writes the pair to `target` and records that somebody has to carry it on.
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
) -> Result<Delivered, Error> {
    let loaded = session.load(record).await?;
    let delivered = export::deliver(proof, record, &loaded.key, &loaded.certificate, target).map_err(Error::Deliver)?;
    fail::fail_point!("deliver.written");
    let inventory = session.inventory();
    let confirmed = record.delivery == Delivery::Delivered && known(inventory, record, &target.dir).await?;
    if confirmed {
        return Ok(delivered);
    }
    let now = session.now();
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
