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
    /// Whose.
    pub robot: RobotId,
    /// With which generation; `None`: with an API key.
    pub generation: Option<Generation>,
    /// What was read.
    pub stream: Stream,
    /// How many records.
    pub records: u64,
    /// Whether all there was.
    pub complete: bool,
    /// The file it wrote.
    pub path: PathBuf,
    /// Whether it wrote where the configuration says, so that it stands for a scheduled one.
    pub on_target: bool,
    /// Where the next run that reads only changes begins; `None` leaves what was known before.
    pub mark: Option<Mark>,
}

/// Where a run that reads only changes begins: what the last complete one left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Everything that changed until then was read.
    pub since: OffsetDateTime,
    /// What was read, in the words of `ingest`: the mark is good for no other.
    pub scope: String,
    /// Hashes of the records that the next run meets again, in any order; `None` where they were too many.
    pub recent: Option<Vec<u64>>,
}

/// The last run of one stream of one robot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRow {
    /// Whose.
    pub robot: RobotId,
    /// With which generation; `None`: with an API key.
    pub generation: Option<Generation>,
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
    /// When the last one ended that wrote where the configuration says.
    pub target_at: Option<OffsetDateTime>,
}

impl Inventory {
    /// Keeps the outcome of a run in place of the one before. Needs no lock
    /// and makes no audit entry: the manifest beside the data is its record.
    /// The mark of a run that is not complete is not kept: what it missed lies before it.
    pub async fn record_run(&self, run: &Run, now: OffsetDateTime) -> Result<(), Error> {
        let at = sql::time_text(now);
        let mut connection = self.connection.lock().await;
        let mut commit = Commit::begin(self, &mut connection, now).await?;
        if let Some(generation) = run.generation {
            commit.record(&CredentialId { robot: run.robot.clone(), generation }).await?;
        }
        let upsert = sqlx::query(
            "INSERT INTO run (site, robot, generation, stream, records, complete, path, at, completed_at, since, scope, recent, target_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
             ON CONFLICT (site, robot, stream) DO UPDATE SET generation = $3, records = $5, complete = $6, path = $7,
                 at = $8, completed_at = coalesce($9, completed_at), since = coalesce($10, since),
                 scope = coalesce($11, scope), recent = iif($10 IS NULL, recent, $12),
                 target_at = coalesce($13, target_at)",
        );
        let mark = run.mark.as_ref().filter(|_| run.complete);
        let upsert = upsert
            .bind(run.robot.site.as_str())
            .bind(run.robot.robot.as_str())
            .bind(run.generation.map(|generation| i64::from(generation.number())))
            .bind(run.stream.as_str())
            .bind(i64::try_from(run.records).unwrap_or(i64::MAX))
            .bind(run.complete)
            .bind(run.path.to_string_lossy())
            .bind(&at)
            .bind(run.complete.then_some(&at))
            .bind(mark.map(|mark| sql::time_text(mark.since)))
            .bind(mark.map(|mark| mark.scope.as_str()))
            .bind(mark.and_then(|mark| mark.recent.as_ref()).map(|recent| to_blob(recent)))
            .bind(run.on_target.then_some(&at));
        commit.run(upsert).await?;
        commit.done().await
    }

    /// The last run of each stream of each robot.
    pub async fn runs(&self) -> Result<Vec<RunRow>, Error> {
        let read = |row: Reader<'_>| {
            Ok(RunRow {
                robot: row.robot()?,
                generation: row.maybe_generation()?,
                stream: row.word("stream")?,
                records: u64::try_from(row.int("records")?).map_err(|_| row.misread("records"))?,
                complete: row.maybe_flag("complete")?.unwrap_or_default(),
                path: row.text("path")?.into(),
                at: row.time("at")?,
                completed_at: row.maybe_time("completed_at")?,
                target_at: row.maybe_time("target_at")?,
            })
        };
        // Without the marks, which can be large and which nobody who lists runs looks at.
        let select = sqlx::query(
            "SELECT site, robot, generation, stream, records, complete, path, at, completed_at, target_at
             FROM run ORDER BY site, robot, stream",
        );
        self.collect(select, read).await
    }

    /// What the last complete run of a stream left for one that reads only changes.
    pub async fn last_complete(&self, robot: &RobotId, stream: Stream) -> Result<Option<Mark>, Error> {
        let select = sqlx::query(
            "SELECT since, scope, recent FROM run
             WHERE site = $1 AND robot = $2 AND stream = $3 AND since IS NOT NULL",
        );
        let select = select.bind(robot.site.as_str()).bind(robot.robot.as_str()).bind(stream.as_str());
        let read = |row: Reader<'_>| {
            let recent = row.maybe_bytes("recent")?;
            Ok(Mark {
                since: row.time("since")?,
                scope: row.text("scope")?.to_owned(),
                recent: recent.map(|blob| from_blob(blob).ok_or_else(|| row.misread("recent"))).transpose()?,
            })
        };
        self.find(select, read).await
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

fn to_blob(hashes: &[u64]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.to_be_bytes()).collect()
}

fn from_blob(blob: &[u8]) -> Option<Vec<u64>> {
    let (hashes, rest) = blob.as_chunks();
    rest.is_empty().then(|| hashes.iter().map(|hash| u64::from_be_bytes(*hash)).collect())
}
