//! What is done for a site by schedule, how it last went, and what a person was told of it.

use std::{fmt, str::FromStr};

use time::{Duration, OffsetDateTime};

use super::{
    Error, Inventory,
    sql::{self, Commit, Reader},
};
use crate::site::{RobotId, SiteName};

/// What is done for a site by schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Task {
    /// Whatever is due or was interrupted: `rotate --due`.
    Rotate,
    /// Reading device metadata: `ingest`.
    Ingest,
}

impl Task {
    /// Every task.
    pub const ALL: [Self; 2] = [Self::Rotate, Self::Ingest];

    /// The word used in the database, in metrics and in messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rotate => "rotate",
            Self::Ingest => "ingest",
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Task {
    type Err = String;

    /// # Errors
    /// The word, if it is none of them.
    fn from_str(word: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|task| task.as_str() == word).ok_or_else(|| word.to_owned())
    }
}

/// Why a task did not end well, in our own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskFailure {
    /// A word of `error.code`, or `crashed`, `hung`, `garbled` for a child that said nothing.
    pub code: String,
    /// One line for people.
    pub message: String,
}

/// How a task of a site last went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskRow {
    /// The site.
    pub site: SiteName,
    /// The task.
    pub task: Task,
    /// When it last ended.
    pub at: OffsetDateTime,
    /// When it last ended well.
    pub success_at: Option<OffsetDateTime>,
    /// How often in a row it has failed; 0 after a success.
    pub tries: u32,
    /// Before when it is not tried again by schedule.
    pub after: Option<OffsetDateTime>,
    /// How often it has failed ever.
    pub failures: u64,
    /// Why it last failed; `None` after a success.
    pub failure: Option<TaskFailure>,
}

impl TaskRow {
    fn read(row: Reader<'_>) -> Result<Self, Error> {
        let failure = match (row.maybe_text("code")?, row.maybe_text("message")?) {
            (Some(code), Some(message)) => Some(TaskFailure { code: code.to_owned(), message: message.to_owned() }),
            _ => None,
        };
        Ok(Self {
            site: row.word("site")?,
            task: row.word("task")?,
            at: row.time("at")?,
            success_at: row.maybe_time("success_at")?,
            tries: u32::try_from(row.int("tries")?).map_err(|_| row.misread("tries"))?,
            after: row.maybe_time("after")?,
            failures: u64::try_from(row.int("failures")?).map_err(|_| row.misread("failures"))?,
            failure,
        })
    }
}

impl Inventory {
    /// Every task of every site that was ever done, ordered by site and task.
    pub async fn tasks(&self) -> Result<Vec<TaskRow>, Error> {
        self.collect(sqlx::query("SELECT * FROM task ORDER BY site, task"), TaskRow::read).await
    }

    /// Keeps how a task of a site has ended. `back_off` says how long after its n-th failure in a row it rests.
    /// Needs no lock and makes no audit entry: nothing is decided by it but when it is tried again.
    pub async fn task_ended(
        &self,
        site: &SiteName,
        task: Task,
        ended: Result<(), &TaskFailure>,
        back_off: impl FnOnce(u32) -> Duration,
        now: OffsetDateTime,
    ) -> Result<(), Error> {
        let mut connection = self.connection.lock().await;
        let mut commit = Commit::begin(self, &mut connection, now).await?;
        let select = sqlx::query("SELECT * FROM task WHERE site = $1 AND task = $2");
        let row = commit.row(select.bind(site.as_str()).bind(task.as_str())).await?;
        let before = row.map(|row| TaskRow::read(Reader::new(&row, commit.path()))).transpose()?;
        let failures = before.as_ref().map_or(0, |before| before.failures) + u64::from(ended.is_err());
        let tries = match ended {
            Ok(()) => 0,
            Err(_) => before.as_ref().map_or(0, |before| before.tries).saturating_add(1),
        };
        let success_at = match ended {
            Ok(()) => Some(commit.now),
            Err(_) => before.and_then(|before| before.success_at),
        };
        let after = (tries > 0).then(|| commit.now + back_off(tries));
        let replace = sqlx::query(
            "INSERT OR REPLACE INTO task (site, task, at, success_at, tries, after, failures, code, message)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        );
        let replace = replace
            .bind(site.as_str())
            .bind(task.as_str())
            .bind(sql::time_text(now))
            .bind(success_at.map(sql::time_text))
            .bind(i64::from(tries))
            .bind(after.map(sql::time_text))
            .bind(i64::try_from(failures).unwrap_or(i64::MAX))
            .bind(ended.err().map(|failure| failure.code.as_str()))
            .bind(ended.err().map(|failure| failure.message.as_str()));
        commit.run(replace).await?;
        commit.done().await
    }

    /// What a person was last told of a robot by the hook of `event`; `None` if nothing, or if it is over.
    pub async fn was_told(&self, id: &RobotId, event: &str) -> Result<Option<String>, Error> {
        let select = sqlx::query("SELECT what FROM told WHERE site = $1 AND robot = $2 AND event = $3");
        let select = select.bind(id.site.as_str()).bind(id.robot.as_str()).bind(event);
        self.find(select, |row| Ok(row.text("what")?.to_owned())).await
    }

    /// Keeps what a person was told of a robot by the hook of `event`; `None` when what was told is over.
    /// Needs no lock and makes no audit entry: nothing is decided by it but whether it is told again.
    pub async fn told(&self, id: &RobotId, event: &str, what: Option<&str>, now: OffsetDateTime) -> Result<(), Error> {
        let mut connection = self.connection.lock().await;
        let mut commit = Commit::begin(self, &mut connection, now).await?;
        let statement = match what {
            Some(what) => {
                sqlx::query("INSERT OR REPLACE INTO told (site, robot, event, what, at) VALUES ($1, $2, $3, $4, $5)")
                    .bind(id.site.as_str())
                    .bind(id.robot.as_str())
                    .bind(event)
                    .bind(what)
                    .bind(sql::time_text(now))
            }
            None => sqlx::query("DELETE FROM told WHERE site = $1 AND robot = $2 AND event = $3")
                .bind(id.site.as_str())
                .bind(id.robot.as_str())
                .bind(event),
        };
        commit.run(statement).await?;
        commit.done().await
    }
}
