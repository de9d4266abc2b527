//! The last ingest of each stream, and the last proof of each credential.

use std::path::PathBuf;

use time::OffsetDateTime;

use super::{
    Error, Inventory,
    records::bind_id,
    sql::{self, Commit, Reader},
};
use crate::{
    credential::{CredentialId, Generation},
    site::{RobotId, Stream},
};

/// One ingest run that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// With which credential.
    pub credential: CredentialId,
    /// What was read.
    pub stream: Stream,
    /// How many records.
    pub records: u64,
    /// Whether all there was.
    pub complete: bool,
    /// The file it wrote.
    pub path: PathBuf,
}

/// The last run of one stream of one robot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRow {
    /// Whose.
    pub robot: RobotId,
    /// With which generation.
    pub generation: Generation,
    /// What was read.
    pub stream: Stream,
    /// How many records.
    pub records: u64,
    /// Whether all there was.
    pub complete: bool,
    /// The file it wrote.
    pub path: PathBuf,
    /// When it ended.
    pub at: OffsetDateTime,
    /// When the last complete one ended.
    pub completed_at: Option<OffsetDateTime>,
}

impl Inventory {
    /// Keeps the outcome of a run in place of the one before. Needs no lock
    /// and makes no audit entry: the manifest beside the data is its record.
    pub async fn record_run(&self, run: &Run, now: OffsetDateTime) -> Result<(), Error> {
        let at = sql::time_text(now);
        let mut connection = self.connection.lock().await;
        let mut commit = Commit::begin(self, &mut connection, now).await?;
        commit.record(&run.credential).await?;
        let upsert = sqlx::query(
            "INSERT INTO run (site, robot, generation, stream, records, complete, path, at, completed_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
             ON CONFLICT (site, robot, stream) DO UPDATE SET generation = $3, records = $5, complete = $6, path = $7,
                 at = $8, completed_at = coalesce($9, completed_at)",
        );
        let upsert = bind_id(upsert, &run.credential)
            .bind(run.stream.as_str())
            .bind(i64::try_from(run.records).unwrap_or(i64::MAX))
            .bind(run.complete)
            .bind(run.path.to_string_lossy())
            .bind(&at)
            .bind(run.complete.then_some(&at));
        commit.run(upsert).await?;
        commit.done().await
    }

    /// The last run of each stream of each robot.
    pub async fn runs(&self) -> Result<Vec<RunRow>, Error> {
        let read = |row: Reader<'_>| {
            Ok(RunRow {
                robot: row.robot()?,
                generation: row.generation()?,
                stream: row.word("stream")?,
                records: u64::try_from(row.int("records")?).map_err(|_| row.misread("records"))?,
                complete: row.maybe_flag("complete")?.unwrap_or_default(),
                path: row.text("path")?.into(),
                at: row.time("at")?,
                completed_at: row.maybe_time("completed_at")?,
            })
        };
        self.collect(sqlx::query("SELECT * FROM run ORDER BY site, robot, stream"), read).await
    }

    /// Whether something was read to its end with this credential.
    pub async fn was_read_with(&self, id: &CredentialId) -> Result<bool, Error> {
        let select = sqlx::query(
            "SELECT 1 AS one FROM run WHERE site = $1 AND robot = $2 AND generation = $3 AND complete LIMIT 1",
        );
        Ok(self.find(bind_id(select, id), |_| Ok(())).await?.is_some())
    }

    /// Keeps that a credential was proven. Needs no lock: a proof that matters is made anew.
    ///
    /// # Errors
    /// [`Error::NoCredential`].
    pub async fn record_proof(&self, id: &CredentialId, now: OffsetDateTime) -> Result<(), Error> {
        let mut connection = self.connection.lock().await;
        let mut commit = Commit::begin(self, &mut connection, now).await?;
        let update =
            sqlx::query("UPDATE credential SET proven_at = $4 WHERE site = $1 AND robot = $2 AND generation = $3");
        if commit.run(bind_id(update, id).bind(sql::time_text(now))).await? == 0 {
            return Err(Error::NoCredential(id.clone()));
        }
        commit.done().await
    }

    /// When a credential was last proven.
    pub async fn last_proof(&self, id: &CredentialId) -> Result<Option<OffsetDateTime>, Error> {
        let select = sqlx::query("SELECT proven_at FROM credential WHERE site = $1 AND robot = $2 AND generation = $3");
        Ok(self.find(bind_id(select, id), |row| row.maybe_time("proven_at")).await?.flatten())
    }
}
