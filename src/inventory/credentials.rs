//! The generations of each robot, and the only way their state changes.

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{
    Error, Inventory, SiteLock,
    audit::Fact,
    records::{bind_id, delivery_word, read_id},
    sql::{self, Commit, Reader},
};
use crate::{
    credential::{
        Attempt, Control, CredentialId, Delivery, Event, Generation, Record, RegisteredName, SecretRef, State,
        state::Impossible,
    },
    site::{RobotId, Role},
    x509::{Certificate, Fingerprint, KeyAlgorithm, Profile},
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
}

/// An event of a credential's life with what is to be kept of it.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "made, written down and dropped: never held in numbers")]
pub enum Change {
    /// The key is stored and was read back; this is its certificate.
    KeyStored {
        /// The certificate, public.
        certificate: Certificate,
    },
    /// The POST is about to be sent: the intent.
    SendBegun {
        /// What the appliance said to the certificate before.
        control: Control,
    },
    /// The POST certainly had no effect. That try is not counted.
    NotDone {
        /// Why, without response bytes.
        reason: String,
    },
    /// The appliance accepts the certificate.
    Accepted {
        /// Its own id for the robot, where it gave one.
        remote_id: Option<String>,
    },
    /// Proven: it becomes active, and the active one previous, at once.
    Promoted,
    /// A previous one becomes active again, and the active one previous, at once.
    RolledBack,
    /// Its removal is about to begin.
    RetireBegun,
    /// Gone from the appliance, key destroyed.
    RetireDone,
    /// Only a person can remove it: a leftover.
    RetireImpossible {
        /// Why, for the list of leftovers.
        reason: String,
    },
    /// Given up before it was in use.
    GivenUp {
        /// Why.
        reason: String,
    },
    /// Given up after a POST: a leftover.
    LeftBehind {
        /// Why, for the list of leftovers.
        reason: String,
    },
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

impl Change {
    /// The event it is in the transition table.
    #[must_use]
    pub fn event(&self) -> Event {
        match self {
            Self::KeyStored { .. } => Event::KeyStored,
            Self::SendBegun { .. } => Event::SendBegun,
            Self::NotDone { .. } => Event::NotDone,
            Self::Accepted { .. } => Event::Accepted,
            Self::Promoted => Event::Promoted,
            Self::RolledBack => Event::RolledBack,
            Self::RetireBegun => Event::RetireBegun,
            Self::RetireDone => Event::RetireDone,
            Self::RetireImpossible { .. } => Event::RetireImpossible,
            Self::GivenUp { .. } => Event::GivenUp,
            Self::LeftBehind { .. } => Event::LeftBehind,
        }
    }

    fn reason(&self) -> Option<&str> {
        match self {
            Self::NotDone { reason }
            | Self::RetireImpossible { reason }
            | Self::GivenUp { reason }
            | Self::LeftBehind { reason } => Some(reason),
            _ => None,
        }
    }
}

/// The record after the change; pure.
fn after(mut record: Record, change: &Change, now: OffsetDateTime) -> Result<Record, Impossible> {
    record.state = record.state.after(change.event())?;
    match change {
        Change::KeyStored { certificate } => {
            record.certificate = Some(certificate.clone());
            record.keyed_at = Some(now);
        }
        Change::SendBegun { control } => {
            let before = record.attempt.take();
            record.attempt = Some(Attempt {
                tries: before.as_ref().map_or(0, |attempt| attempt.tries) + 1,
                since: now,
                // Asked before the first POST; after it the answer would mean something else.
                control: before.map_or(*control, |attempt| attempt.control),
            });
        }
        // A try that had no effect is not counted. An earlier one may still have had.
        Change::NotDone { .. } => {
            record.attempt = record.attempt.filter(|attempt| attempt.tries > 1);
            if let Some(attempt) = &mut record.attempt {
                attempt.tries -= 1;
            }
        }
        Change::Accepted { remote_id } => record.remote_id.clone_from(remote_id),
        Change::Promoted | Change::RolledBack => {
            record.promoted_at = Some(now);
            record.delivery = Delivery::Open;
            record.retire_after = None;
        }
        Change::RetireBegun
        | Change::RetireDone
        | Change::RetireImpossible { .. }
        | Change::GivenUp { .. }
        | Change::LeftBehind { .. } => {}
    }
    Ok(record)
}

/// The active record once another takes its place; how long it stays is open
/// until that one is delivered.
fn superseded(mut record: Record) -> Result<Record, Impossible> {
    record.state = record.state.after(Event::Superseded)?;
    record.retire_after = None;
    Ok(record)
}

/// What the audit says of a change, beside its name.
fn detail(record: &Record, from: State, reason: Option<&str>) -> Value {
    let mut detail = json!({
        "from": from.as_str(),
        "to": record.state.as_str(),
        "registered_name": record.registered_name.as_str(),
    });
    if let Some(certificate) = &record.certificate {
        detail["fingerprint_sha256"] = certificate.fingerprint().to_string().into();
    }
    if let Some(reason) = reason {
        detail["reason"] = reason.into();
    }
    detail
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
        lock.covers(&new.robot)?;
        let mut connection = self.connection.lock().await;
        let mut commit = Commit::begin_locked(self, &mut connection, lock, now).await?;
        let robot = commit.robot(&new.robot).await?.ok_or_else(|| Error::NoRobot(new.robot.clone()))?;
        if let Some(pending) = commit.records(&new.robot).await?.into_iter().find(|record| record.state.is_pending()) {
            return Err(Error::Pending(pending.id));
        }
        let generation = Generation::new(robot.last_generation).map_or(Generation::FIRST, Generation::next);
        let id = CredentialId { robot: new.robot.clone(), generation };
        let record = Record {
            state: State::Planned,
            registered_name: RegisteredName::of(&robot.base_name, generation),
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

        // The table has one row per change; that two credentials change places is this transaction.
        if record.state == State::Active
            && let Some(active) = records.into_iter().find(|other| other.state == State::Active)
        {
            let other = superseded(active).map_err(refuse(id))?;
            commit.store(&other, None).await?;
            let detail = detail(&other, State::Active, None);
            commit.audit(Fact::of_credential(&other.id, Event::Superseded.as_str(), detail)).await?;
        }
        commit.store(&record, change.reason()).await?;
        if matches!(change, Change::Promoted) {
            let mark = sqlx::query("UPDATE robot SET last_promotion = $3, role = $4 WHERE site = $1 AND name = $2");
            let mark = mark.bind(id.robot.site.as_str()).bind(id.robot.robot.as_str());
            let mark = mark.bind(sql::time_text(now)).bind(record.role.as_str());
            commit.run(mark).await?;
            // What is promoted was proven just now.
            let proven =
                sqlx::query("UPDATE credential SET proven_at = $4 WHERE site = $1 AND robot = $2 AND generation = $3");
            commit.run(bind_id(proven, id).bind(sql::time_text(now))).await?;
        }
        let detail = detail(&record, from, change.reason());
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
