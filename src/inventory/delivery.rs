//! Where each generation has been delivered, and when its predecessor may go.

use std::path::{Path, PathBuf};

use serde_json::json;
use time::{Duration, OffsetDateTime};

use super::{
    Error, Inventory, SiteLock,
    audit::Fact,
    records::{bind_id, delivery_word},
    sql::{self, Commit, Reader},
};
use crate::{
    credential::{CredentialId, Delivery, Generation, Record, State},
    site::RobotId,
    x509::Fingerprint,
};

/// How a delivery to a directory counts (product.md, Delivery).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryKind {
    /// A hook ended well.
    Proven,
    /// A person carries it on.
    ByHand,
}

/// What one target directory holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The directory.
    pub dir: PathBuf,
    /// The generation written there last.
    pub generation: Generation,
    /// Its certificate's fingerprint.
    pub fingerprint: Fingerprint,
    /// How it counts.
    pub kind: DeliveryKind,
    /// When it was written.
    pub at: OffsetDateTime,
}

impl DeliveryKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::ByHand => "by-hand",
        }
    }

    fn read(row: Reader<'_>) -> Result<Self, Error> {
        match row.text("kind")? {
            "proven" => Ok(Self::Proven),
            "by-hand" => Ok(Self::ByHand),
            _ => Err(row.misread("kind")),
        }
    }
}

impl Inventory {
    /// Records that a generation was written to a directory.
    ///
    /// # Errors
    /// [`Error::NoCredential`].
    pub async fn record_delivery(
        &self,
        lock: &SiteLock,
        id: &CredentialId,
        dir: &Path,
        kind: DeliveryKind,
        now: OffsetDateTime,
    ) -> Result<(), Error> {
        lock.covers(&id.robot)?;
        let dir = dir.to_string_lossy();
        let mut connection = self.connection.lock().await;
        let mut commit = Commit::begin_locked(self, &mut connection, lock, now).await?;
        commit.record(id).await?;
        let upsert = sqlx::query(
            "INSERT INTO delivery (site, robot, generation, dir, kind, at) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (site, robot, dir) DO UPDATE SET generation = $3, kind = $5, at = $6",
        );
        let upsert = bind_id(upsert, id).bind(&*dir).bind(kind.as_str()).bind(sql::time_text(now));
        commit.run(upsert).await?;
        commit.audit(Fact::of_credential(id, "written", json!({ "dir": dir, "kind": kind.as_str() }))).await?;
        commit.done().await
    }

    /// What each target directory of a robot holds.
    pub async fn deliveries(&self, robot: &RobotId) -> Result<Vec<Delivered>, Error> {
        let select = sqlx::query(
            "SELECT d.dir, d.generation, d.kind, d.at, c.fingerprint
             FROM delivery d JOIN credential c USING (site, robot, generation)
             WHERE d.site = $1 AND d.robot = $2 ORDER BY d.dir",
        );
        let read = |row: Reader<'_>| {
            Ok(Delivered {
                dir: row.text("dir")?.into(),
                generation: row.generation()?,
                fingerprint: row.word("fingerprint")?,
                kind: DeliveryKind::read(row)?,
                at: row.time("at")?,
            })
        };
        self.collect(select.bind(robot.site.as_str()).bind(robot.robot.as_str()), read).await
    }

    /// Records how far the delivery of the active generation has come. Once
    /// delivered, each previous generation may be retired after `overlap`, or
    /// at its own `not_after` if that is earlier.
    ///
    /// A person's confirmation is the step from [`Delivery::ByHand`] to
    /// [`Delivery::Delivered`]; the audit names it so.
    ///
    /// # Errors
    /// [`Error::NotActive`], [`Error::NoCredential`].
    pub async fn set_delivery(
        &self,
        lock: &SiteLock,
        id: &CredentialId,
        delivery: Delivery,
        overlap: Duration,
        now: OffsetDateTime,
    ) -> Result<Record, Error> {
        lock.covers(&id.robot)?;
        let mut connection = self.connection.lock().await;
        let mut commit = Commit::begin_locked(self, &mut connection, lock, now).await?;
        let mut record = commit.record(id).await?;
        if record.state != State::Active {
            return Err(Error::NotActive(id.clone()));
        }
        if record.delivery == delivery {
            return Ok(record);
        }
        let action = match (record.delivery, delivery) {
            (Delivery::ByHand, Delivery::Delivered) => "delivery-confirmed",
            (_, Delivery::Delivered) => "delivered",
            (_, Delivery::ByHand) => "delivery-by-hand",
            (_, Delivery::Open) => "delivery-open",
        };
        let detail = json!({ "from": delivery_word(record.delivery), "to": delivery_word(delivery) });
        record.delivery = delivery;
        record.deliver_tries = 0;
        record.deliver_after = None;
        commit.store(&record, None).await?;
        if delivery == Delivery::Delivered {
            let waiting = |other: &Record| other.state == State::Previous && other.retire_after.is_none();
            for mut previous in commit.records(&id.robot).await?.into_iter().filter(waiting) {
                // A clock that was set back since the promotion must not have ended the overlap before it begins.
                let from = record.promoted_at.map_or(commit.now, |promoted| promoted.max(commit.now));
                let after_overlap = from + overlap;
                let end = previous.certificate.as_ref().map(|certificate| certificate.validity().not_after);
                previous.retire_after = Some(end.map_or(after_overlap, |end| end.min(after_overlap)));
                commit.store(&previous, None).await?;
            }
        }
        commit.audit(Fact::of_credential(id, action, detail)).await?;
        commit.done().await?;
        Ok(record)
    }

    /// Records that the delivery of the active generation failed once more,
    /// and before when it is not tried again by schedule.
    ///
    /// # Errors
    /// [`Error::NotActive`], [`Error::NoCredential`].
    pub async fn delivery_failed(
        &self,
        lock: &SiteLock,
        id: &CredentialId,
        back_off: impl FnOnce(u32) -> Duration,
        now: OffsetDateTime,
    ) -> Result<Record, Error> {
        lock.covers(&id.robot)?;
        let mut connection = self.connection.lock().await;
        let mut commit = Commit::begin_locked(self, &mut connection, lock, now).await?;
        let mut record = commit.record(id).await?;
        if record.state != State::Active {
            return Err(Error::NotActive(id.clone()));
        }
        record.deliver_tries = record.deliver_tries.saturating_add(1);
        record.deliver_after = Some(commit.now + back_off(record.deliver_tries));
        commit.store(&record, None).await?;
        commit.audit(Fact::of_credential(id, "delivery-failed", json!({ "tries": record.deliver_tries }))).await?;
        commit.done().await?;
        Ok(record)
    }
}
