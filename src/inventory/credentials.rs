//! The generations of each robot, and the only way their state changes.

use serde_json::json;
use time::OffsetDateTime;

use super::{
    Error, Inventory, SiteLock,
    audit::Fact,
    change::{Change, after, detail, superseded},
    records::{bind_id, delivery_word, read_id},
    sql::{self, Commit, Reader},
};
use crate::{
    credential::{CredentialId, Delivery, Event, Generation, Record, RegisteredName, SecretRef, State},
    site::{RobotId, Role},
    x509::{Fingerprint, KeyAlgorithm, Profile},
};

/// What the next generation of a robot is to be.
#[derive(Clone, Debug)]
pub struct NewGeneration {
    /// Whose.
    pub robot: RobotId,
    /// The role it will be registered with.
    pub role: Role,
    /// The type of its key.
    pub key_algorithm: KeyAlgorithm,
    /// The profile of its certificate.
    pub profile: Profile,
    /// A person wanted it before it was due: the audit says so.
    pub forced: bool,
}

/// A name that may still be on an appliance and that only a person can remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// Which credential it was.
    pub id: CredentialId,
    /// Its name on the appliance.
    pub registered_name: RegisteredName,
    /// Its certificate's fingerprint.
    pub fingerprint: Option<Fingerprint>,
    /// Why it could not be removed.
    pub reason: String,
    /// Since when.
    pub since: OffsetDateTime,
}

impl Inventory {
    /// Plans the next generation, with a number never used before: state
    /// `planned`, secret slot named.
    ///
    /// # Errors
    /// [`Error::Pending`] while another one is under way, [`Error::NoRobot`].
    pub async fn plan_generation(
        &self,
        lock: &SiteLock,
        new: &NewGeneration,
        now: OffsetDateTime,
    ) -> Result<Record, Error> {
        self.plan_as(lock, new, None, now).await
    }

    /// As [`Inventory::plan_generation`], for a credential that was made
    /// elsewhere: under the name it is registered with, and with the number it
    /// had, unless that one or a later one was used here.
    ///
    /// # Errors
    /// As [`Inventory::plan_generation`].
    pub async fn plan_import(
        &self,
        lock: &SiteLock,
        new: &NewGeneration,
        name: &RegisteredName,
        had: Generation,
        now: OffsetDateTime,
    ) -> Result<Record, Error> {
        self.plan_as(lock, new, Some((name, had)), now).await
    }

    async fn plan_as(
        &self,
        lock: &SiteLock,
        new: &NewGeneration,
        made_elsewhere: Option<(&RegisteredName, Generation)>,
        now: OffsetDateTime,
    ) -> Result<Record, Error> {
        lock.covers(&new.robot)?;
        let mut connection = self.connection.lock().await;
        let mut commit = Commit::begin_locked(self, &mut connection, lock, now).await?;
        let robot = commit.robot(&new.robot).await?.ok_or_else(|| Error::NoRobot(new.robot.clone()))?;
        if let Some(pending) = commit.records(&new.robot).await?.into_iter().find(|record| record.state.is_pending()) {
            return Err(Error::Pending(pending.id));
        }
        let next = Generation::new(robot.last_generation).map_or(Generation::FIRST, Generation::next);
        let generation = made_elsewhere.map_or(next, |(_, had)| next.max(had));
        let own_name = || RegisteredName::of(&robot.base_name, generation);
        let id = CredentialId { robot: new.robot.clone(), generation };
        let record = Record {
            state: State::Planned,
            registered_name: made_elsewhere.map_or_else(own_name, |(name, _)| name.clone()),
            role: new.role,
            secret: SecretRef::key(&self.store_id, &id),
            key_algorithm: new.key_algorithm,
            profile: new.profile,
            certificate: None,
            attempt: None,
            remote_id: None,
            keyed_at: None,
            promoted_at: None,
            delivery: Delivery::Open,
            deliver_tries: 0,
            deliver_after: None,
            retire_after: None,
            id,
        };
        let raise = sqlx::query("UPDATE robot SET last_generation = $3 WHERE site = $1 AND name = $2");
        commit.run(bind_id(raise, &record.id)).await?;
        let insert = sqlx::query(
            "INSERT INTO credential (site, robot, generation, state, changed_at, registered_name, role, secret,
                 key_algorithm, profile, delivery)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        );
        let insert = bind_id(insert, &record.id)
            .bind(record.state.as_str())
            .bind(sql::time_text(now))
            .bind(record.registered_name.as_str())
            .bind(record.role.as_str())
            .bind(record.secret.as_str())
            .bind(record.key_algorithm.as_str())
            .bind(record.profile.as_str())
            .bind(delivery_word(record.delivery));
        commit.run(insert).await?;
        let detail = json!({
            "registered_name": record.registered_name.as_str(),
            "role": record.role.as_str(),
            "key_type": record.key_algorithm.as_str(),
            "forced": new.forced,
        });
        commit.audit(Fact::of_credential(&record.id, "planned", detail)).await?;
        commit.done().await?;
        Ok(record)
    }

    /// Brings a generation whose key was never sent to what is wanted now:
    /// role, key type, profile, and the name its robot has. No commit where
    /// nothing differs.
    ///
    /// # Errors
    /// [`Error::Pending`] once a POST of it was begun, [`Error::NoCredential`], [`Error::NoRobot`].
    pub async fn revise(
        &self,
        lock: &SiteLock,
        id: &CredentialId,
        wanted: &NewGeneration,
        now: OffsetDateTime,
    ) -> Result<Record, Error> {
        lock.covers(&id.robot)?;
        let mut connection = self.connection.lock().await;
        let mut commit = Commit::begin_locked(self, &mut connection, lock, now).await?;
        let robot = commit.robot(&id.robot).await?.ok_or_else(|| Error::NoRobot(id.robot.clone()))?;
        let mut records = commit.records(&id.robot).await?.into_iter();
        let mut record = records.find(|record| &record.id == id).ok_or_else(|| Error::NoCredential(id.clone()))?;
        if !matches!(record.state, State::Planned | State::Keyed) || record.attempt.is_some() {
            return Err(Error::Pending(record.id));
        }
        let name = RegisteredName::of(&robot.base_name, id.generation);
        let there = (&record.registered_name, record.role, record.key_algorithm, record.profile);
        if there == (&name, wanted.role, wanted.key_algorithm, wanted.profile) {
            return Ok(record);
        }
        record.registered_name = name;
        record.role = wanted.role;
        record.key_algorithm = wanted.key_algorithm;
        record.profile = wanted.profile;
        let update = sqlx::query(
            "UPDATE credential SET changed_at = $4, registered_name = $5, role = $6, key_algorithm = $7, profile = $8
             WHERE site = $1 AND robot = $2 AND generation = $3",
        );
        let update = bind_id(update, id)
            .bind(sql::time_text(now))
            .bind(record.registered_name.as_str())
            .bind(record.role.as_str())
            .bind(record.key_algorithm.as_str())
            .bind(record.profile.as_str());
        commit.run(update).await?;
        let detail = json!({
            "registered_name": record.registered_name.as_str(),
            "role": record.role.as_str(),
            "key_type": record.key_algorithm.as_str(),
        });
        commit.audit(Fact::of_credential(id, "revised", detail)).await?;
        commit.done().await?;
        Ok(record)
    }

    /// Makes one change durable, with its audit entry, in one transaction.
    ///
    /// # Errors
    /// [`Error::Impossible`] if the transition table has no such change,
    /// [`Error::Fenced`] if another process has taken the site over.
    pub async fn advance(
        &self,
        lock: &SiteLock,
        id: &CredentialId,
        change: Change,
        now: OffsetDateTime,
    ) -> Result<Record, Error> {
        lock.covers(&id.robot)?;
        let refuse = |id: &CredentialId| {
            let id = id.clone();
            move |refused| Error::Impossible { id, refused }
        };
        let mut connection = self.connection.lock().await;
        let mut commit = Commit::begin_locked(self, &mut connection, lock, now).await?;
        let mut records = commit.records(&id.robot).await?;
        let place = records.iter().position(|record| &record.id == id);
        let before = records.swap_remove(place.ok_or_else(|| Error::NoCredential(id.clone()))?);
        let from = before.state;
        let record = after(before, &change, commit.now).map_err(refuse(id))?;

        let mut detail = detail(&record, from, change.reason());
        // The table has one row per change; that two credentials change places is this transaction.
        if record.state == State::Active
            && let Some(active) = records.into_iter().find(|other| other.state == State::Active)
        {
            let other = superseded(active).map_err(refuse(id))?;
            commit.store(&other, None).await?;
            let before = self::detail(&other, State::Active, None);
            detail["before"] = json!({
                "generation": other.id.generation.number(),
                "fingerprint_sha256": before["fingerprint_sha256"],
            });
            commit.audit(Fact::of_credential(&other.id, Event::Superseded.as_str(), before)).await?;
        }
        commit.store(&record, change.reason()).await?;
        if let Change::Promoted { passed } | Change::Imported { passed, .. } | Change::RolledBack { passed } = &change {
            detail["checks"] = json!(passed);
            // What was made elsewhere, perhaps long ago, begins no time between re-issues.
            let promoted = (!matches!(change, Change::Imported { .. })).then(|| sql::time_text(now));
            let mark = sqlx::query(
                "UPDATE robot SET last_promotion = coalesce($3, last_promotion), role = $4 WHERE site = $1 AND name = $2",
            );
            let mark = mark.bind(id.robot.site.as_str()).bind(id.robot.robot.as_str());
            let mark = mark.bind(promoted).bind(record.role.as_str());
            commit.run(mark).await?;
            // What becomes active was proven just now.
            let proven =
                sqlx::query("UPDATE credential SET proven_at = $4 WHERE site = $1 AND robot = $2 AND generation = $3");
            commit.run(bind_id(proven, id).bind(sql::time_text(now))).await?;
            // The server it was proven at.
            let site = sqlx::query("SELECT server_pin FROM site WHERE name = $1").bind(id.robot.site.as_str());
            let site = commit.row(site).await?;
            let pin = site.as_ref().map(|row| Reader::new(row, commit.path()).maybe_text("server_pin")).transpose()?;
            detail["server_pin"] = pin.flatten().into();
        }
        commit.audit(Fact::of_credential(id, change.event().as_str(), detail)).await?;
        commit.done().await?;
        Ok(record)
    }

    /// The names only a person can remove; of every robot. Given up after a POST counts from that moment on.
    pub async fn leftovers(&self) -> Result<Vec<Leftover>, Error> {
        let select = sqlx::query(
            "SELECT site, robot, generation, registered_name, fingerprint, reason, changed_at
             FROM credential WHERE state = $1 OR (state = $2 AND tries > 0)
             ORDER BY site, robot, generation",
        );
        let read = |row: Reader<'_>| {
            Ok(Leftover {
                id: read_id(row)?,
                registered_name: row.word("registered_name")?,
                fingerprint: row.maybe_word("fingerprint")?,
                reason: row.maybe_text("reason")?.unwrap_or_default().to_owned(),
                since: row.time("changed_at")?,
            })
        };
        self.collect(select.bind(State::RetireManual.as_str()).bind(State::Abandoned.as_str()), read).await
    }
}
