//! Between a generation's record and its row.

use super::{
    Error, Inventory,
    sql::{self, Commit, Reader, Statement},
};
use crate::{
    credential::{Attempt, Control, CredentialId, Delivery, Record, SecretRef},
    site::{RobotId, SiteName},
    x509::Certificate,
};

pub(super) fn control_word(control: Control) -> &'static str {
    match control {
        Control::Refused => "refused",
        Control::Accepted => "accepted",
        Control::Unknown => "unknown",
    }
}

pub(super) fn read_control(row: Reader<'_>) -> Result<Option<Control>, Error> {
    Ok(match row.maybe_text("control")? {
        None => None,
        Some("refused") => Some(Control::Refused),
        Some("accepted") => Some(Control::Accepted),
        Some("unknown") => Some(Control::Unknown),
        Some(_) => return Err(row.misread("control")),
    })
}

pub(super) fn delivery_word(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery::Open => "open",
        Delivery::ByHand => "by-hand",
        Delivery::Delivered => "delivered",
    }
}

fn read_delivery(row: Reader<'_>) -> Result<Delivery, Error> {
    Ok(match row.text("delivery")? {
        "open" => Delivery::Open,
        "by-hand" => Delivery::ByHand,
        "delivered" => Delivery::Delivered,
        _ => return Err(row.misread("delivery")),
    })
}

fn read_attempt(row: Reader<'_>) -> Result<Option<Attempt>, Error> {
    let Some(tries) = row.maybe_int("tries")? else { return Ok(None) };
    Ok(Some(Attempt {
        tries: u32::try_from(tries).map_err(|_| row.misread("tries"))?,
        since: row.time("tried_at")?,
        control: read_control(row)?.ok_or_else(|| row.misread("control"))?,
    }))
}

pub(super) fn read_id(row: Reader<'_>) -> Result<CredentialId, Error> {
    Ok(CredentialId { robot: row.robot()?, generation: row.generation()? })
}

fn read_record(row: Reader<'_>) -> Result<Record, Error> {
    let certificate = row.maybe_bytes("certificate")?;
    let certificate = certificate.map(|der| Certificate::from_der(der.to_vec()));
    Ok(Record {
        id: read_id(row)?,
        state: row.word("state")?,
        registered_name: row.word("registered_name")?,
        role: row.word("role")?,
        secret: SecretRef::from_inventory(row.text("secret")?.to_owned()),
        key_algorithm: row.word("key_algorithm")?,
        profile: row.word("profile")?,
        certificate: certificate.transpose().map_err(|_| row.misread("certificate"))?,
        attempt: read_attempt(row)?,
        remote_id: row.maybe_text("remote_id")?.map(str::to_owned),
        keyed_at: row.maybe_time("keyed_at")?,
        promoted_at: row.maybe_time("promoted_at")?,
        delivery: read_delivery(row)?,
        deliver_tries: u32::try_from(row.int("deliver_tries")?).map_err(|_| row.misread("deliver_tries"))?,
        deliver_after: row.maybe_time("deliver_after")?,
        retire_after: row.maybe_time("retire_after")?,
    })
}

/// The columns of a record, and the rest of the statement.
macro_rules! select_records {
    ($rest:literal) => {
        sqlx::query(concat!(
            "SELECT site, robot, generation, state, registered_name, role, secret, key_algorithm, profile, ",
            "certificate, tries, tried_at, control, remote_id, keyed_at, promoted_at, delivery, retire_after, ",
            "deliver_tries, deliver_after ",
            "FROM credential ",
            $rest
        ))
    };
}

/// Binds the three columns that name a credential.
pub(super) fn bind_id<'q>(statement: Statement<'q>, id: &'q CredentialId) -> Statement<'q> {
    let CredentialId { robot, generation } = id;
    statement.bind(robot.site.as_str()).bind(robot.robot.as_str()).bind(generation.number())
}

impl Commit<'_> {
    /// The generations of a robot, as this transaction sees them.
    pub(super) async fn records(&mut self, robot: &RobotId) -> Result<Vec<Record>, Error> {
        let select = select_records!("WHERE site = $1 AND robot = $2 ORDER BY generation");
        let rows = self.rows(select.bind(robot.site.as_str()).bind(robot.robot.as_str())).await?;
        rows.iter().map(|row| read_record(Reader::new(row, self.path()))).collect()
    }

    /// One generation.
    ///
    /// # Errors
    /// [`Error::NoCredential`].
    pub(super) async fn record(&mut self, id: &CredentialId) -> Result<Record, Error> {
        let records = self.records(&id.robot).await?;
        records.into_iter().find(|record| &record.id == id).ok_or_else(|| Error::NoCredential(id.clone()))
    }

    /// Writes every part of a record that can change.
    pub(super) async fn store(&mut self, record: &Record, reason: Option<&str>) -> Result<(), Error> {
        let update = sqlx::query(
            "UPDATE credential SET state = $4, changed_at = $5, reason = coalesce($6, reason), certificate = $7,
                 fingerprint = $8, tries = $9, tried_at = $10, control = $11, remote_id = $12, keyed_at = $13,
                 promoted_at = $14, delivery = $15, retire_after = $16, deliver_tries = $17, deliver_after = $18
             WHERE site = $1 AND robot = $2 AND generation = $3",
        );
        let attempt = record.attempt.as_ref();
        let update = bind_id(update, &record.id)
            .bind(record.state.as_str())
            .bind(sql::time_text(self.now))
            .bind(reason)
            .bind(record.certificate.as_ref().map(Certificate::der))
            .bind(record.certificate.as_ref().map(|certificate| certificate.fingerprint().to_string()))
            .bind(attempt.map(|attempt| attempt.tries))
            .bind(attempt.map(|attempt| sql::time_text(attempt.since)))
            .bind(attempt.map(|attempt| control_word(attempt.control)))
            .bind(record.remote_id.as_deref())
            .bind(record.keyed_at.map(sql::time_text))
            .bind(record.promoted_at.map(sql::time_text))
            .bind(delivery_word(record.delivery))
            .bind(record.retire_after.map(sql::time_text))
            .bind(record.deliver_tries)
            .bind(record.deliver_after.map(sql::time_text));
        self.run(update).await.map(drop)
    }
}

impl Inventory {
    /// The generations of one robot, oldest first.
    pub async fn records(&self, robot: &RobotId) -> Result<Vec<Record>, Error> {
        let select = select_records!("WHERE site = $1 AND robot = $2 ORDER BY generation");
        self.collect(select.bind(robot.site.as_str()).bind(robot.robot.as_str()), read_record).await
    }

    /// The generations of every robot of a site, ordered by robot and generation.
    pub async fn site_records(&self, site: &SiteName) -> Result<Vec<Record>, Error> {
        let select = select_records!("WHERE site = $1 ORDER BY robot, generation");
        self.collect(select.bind(site.as_str()), read_record).await
    }

    /// Every generation of every robot, ordered by robot and generation: one query.
    pub async fn all_records(&self) -> Result<Vec<Record>, Error> {
        let mut records = self.collect(select_records!(""), read_record).await?;
        // The engine would carry every certificate through its sorter, at twice the time.
        records.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(records)
    }
}
