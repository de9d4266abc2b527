//! Between rows and values: one transaction with its audit, typed reading of
//! columns, and what the engine's errors mean.

use std::{path::Path, str::FromStr};

use futures_util::StreamExt as _;
use sqlx::{
    Connection as _, Row as _, Sqlite, SqliteConnection, Transaction,
    query::Query,
    sqlite::{SqliteArguments, SqliteRow},
};
use time::{
    OffsetDateTime, PrimitiveDateTime, UtcOffset, format_description::BorrowedFormatItem, macros::format_description,
};

use super::{Error, Inventory, SiteLock, open};
use crate::{credential::Generation, site::RobotId};

pub(super) type Statement<'q> = Query<'q, Sqlite, SqliteArguments>;

const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// The one form in which times are stored.
pub(super) fn time_text(time: OffsetDateTime) -> String {
    time.to_offset(UtcOffset::UTC).format(&TIME).expect("every part of the format exists in an OffsetDateTime")
}

/// Reads [`time_text`] back.
pub(super) fn parse_time(text: &str) -> Option<OffsetDateTime> {
    PrimitiveDateTime::parse(text, &TIME).ok().map(PrimitiveDateTime::assume_utc)
}

/// As the file keeps it: whole milliseconds.
pub(super) fn stored(time: OffsetDateTime) -> OffsetDateTime {
    let whole = time.replace_millisecond(time.millisecond());
    whole.unwrap_or(time).to_offset(UtcOffset::UTC)
}

pub(super) fn damaged(path: &Path, reason: impl Into<String>) -> Error {
    Error::Damaged { path: path.to_owned(), reason: reason.into() }
}

/// What an error of the engine means to the caller. <https://sqlite.org/rescode.html>
pub(super) fn fault(path: &Path, error: sqlx::Error) -> Error {
    const BUSY: u32 = 5;
    const READ_ONLY: u32 = 8;
    const CORRUPT: u32 = 11;
    const FULL: u32 = 13;
    const CANNOT_OPEN: u32 = 14;
    const NOT_A_DATABASE: u32 = 26;
    // The index beside the log could not grow.
    const NO_SPACE_FOR_INDEX: u32 = 4874;

    let path = path.to_owned();
    let (code, message) = match &error {
        sqlx::Error::Database(database) => {
            (database.code().and_then(|code| code.parse::<u32>().ok()), database.message().to_owned())
        }
        _ => (None, String::new()),
    };
    if code == Some(NO_SPACE_FOR_INDEX) {
        return Error::Full { path };
    }
    match code.map(|extended| extended & 0xff) {
        Some(BUSY) => Error::Busy { path },
        Some(READ_ONLY | CANNOT_OPEN) => Error::ReadOnly { path, reason: message },
        Some(CORRUPT | NOT_A_DATABASE) => Error::Damaged { path, reason: message },
        Some(FULL) => Error::Full { path },
        _ => Error::Database { path, source: Box::new(error) },
    }
}

/// Typed access to the columns of one row; what does not parse is damage.
#[derive(Clone, Copy)]
pub(super) struct Reader<'r> {
    row: &'r SqliteRow,
    path: &'r Path,
}

impl<'r> Reader<'r> {
    pub(super) fn new(row: &'r SqliteRow, path: &'r Path) -> Self {
        Self { row, path }
    }

    fn column<T>(&self, name: &str) -> Result<T, Error>
    where
        T: sqlx::Decode<'r, Sqlite> + sqlx::Type<Sqlite>,
    {
        self.row.try_get(name).map_err(|_| self.misread(name))
    }

    /// The damage of a column that holds something no version wrote.
    pub(super) fn misread(&self, name: &str) -> Error {
        damaged(self.path, format!("a row holds something unreadable in column {name}"))
    }

    pub(super) fn int(&self, name: &str) -> Result<i64, Error> {
        self.column(name)
    }

    pub(super) fn maybe_int(&self, name: &str) -> Result<Option<i64>, Error> {
        self.column(name)
    }

    pub(super) fn maybe_flag(&self, name: &str) -> Result<Option<bool>, Error> {
        self.column(name)
    }

    pub(super) fn maybe_bytes(&self, name: &str) -> Result<Option<&'r [u8]>, Error> {
        self.column(name)
    }

    pub(super) fn text(&self, name: &str) -> Result<&'r str, Error> {
        self.column(name)
    }

    pub(super) fn maybe_text(&self, name: &str) -> Result<Option<&'r str>, Error> {
        self.column(name)
    }

    /// A column whose text is read by `T`.
    pub(super) fn word<T: FromStr>(&self, name: &str) -> Result<T, Error> {
        self.text(name)?.parse().map_err(|_| self.misread(name))
    }

    pub(super) fn maybe_word<T: FromStr>(&self, name: &str) -> Result<Option<T>, Error> {
        self.maybe_text(name)?.map(|text| text.parse().map_err(|_| self.misread(name))).transpose()
    }

    pub(super) fn time(&self, name: &str) -> Result<OffsetDateTime, Error> {
        parse_time(self.text(name)?).ok_or_else(|| self.misread(name))
    }

    pub(super) fn maybe_time(&self, name: &str) -> Result<Option<OffsetDateTime>, Error> {
        self.maybe_text(name)?.map(|text| parse_time(text).ok_or_else(|| self.misread(name))).transpose()
    }

    /// The generation in the column `generation`.
    pub(super) fn generation(&self) -> Result<Generation, Error> {
        self.maybe_generation()?.ok_or_else(|| self.misread("generation"))
    }

    pub(super) fn maybe_generation(&self) -> Result<Option<Generation>, Error> {
        let Some(number) = self.maybe_int("generation")? else { return Ok(None) };
        let generation = u32::try_from(number).ok().and_then(Generation::new);
        generation.map(Some).ok_or_else(|| self.misread("generation"))
    }

    /// The robot in the columns `site` and `robot`.
    pub(super) fn robot(&self) -> Result<RobotId, Error> {
        Ok(RobotId { site: self.word("site")?, robot: self.word("robot")? })
    }
}

/// One transaction. Dropped without [`Commit::done`], nothing of it remains.
pub(super) struct Commit<'c> {
    transaction: Transaction<'c, Sqlite>,
    path: &'c Path,
    pub(super) actor: &'c str,
    pub(super) now: OffsetDateTime,
}

impl<'c> Commit<'c> {
    /// Begins writing, with the database's own write lock taken at once.
    pub(super) async fn begin(
        inventory: &'c Inventory,
        connection: &'c mut SqliteConnection,
        now: OffsetDateTime,
    ) -> Result<Self, Error> {
        let path = inventory.path.as_path();
        let actor = inventory.writing()?.actor.as_str();
        if connection.is_in_transaction() {
            // The rollback of a dropped commit may still be on its way.
            connection.ping().await.map_err(|e| fault(path, e))?;
        }
        if connection.is_in_transaction() {
            // On a full or failing disk the engine itself undoes the
            // transaction; the driver misses that and would refuse to begin
            // another one for ever.
            *connection = open::connect_writer(path).await?;
        }
        let transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(|e| fault(path, e))?;
        Ok(Self { transaction, path, actor, now: stored(now) })
    }

    /// Begins writing under a site's lock, which must still be the newest.
    pub(super) async fn begin_locked(
        inventory: &'c Inventory,
        connection: &'c mut SqliteConnection,
        lock: &SiteLock,
        now: OffsetDateTime,
    ) -> Result<Self, Error> {
        let mut commit = Self::begin(inventory, connection, now).await?;
        commit.still_holds(lock).await?;
        Ok(commit)
    }

    /// # Errors
    /// [`Error::Fenced`] if the lock is not the site's newest.
    pub(super) async fn still_holds(&mut self, lock: &SiteLock) -> Result<(), Error> {
        let row = self.row(sqlx::query("SELECT epoch FROM site WHERE name = $1").bind(lock.site.as_str())).await?;
        let current = match &row {
            Some(row) => Reader::new(row, self.path).int("epoch")?,
            None => return Err(damaged(self.path, format!("the row of the locked site {} is gone", lock.site))),
        };
        if current == lock.epoch {
            Ok(())
        } else {
            Err(Error::Fenced { site: lock.site.clone(), held: lock.epoch, current })
        }
    }

    pub(super) fn path(&self) -> &'c Path {
        self.path
    }

    /// Runs one statement; how many rows it changed.
    pub(super) async fn run(&mut self, statement: Statement<'_>) -> Result<u64, Error> {
        let result = statement.execute(&mut *self.transaction).await.map_err(|e| fault(self.path, e))?;
        Ok(result.rows_affected())
    }

    pub(super) async fn row(&mut self, statement: Statement<'_>) -> Result<Option<SqliteRow>, Error> {
        statement.fetch_optional(&mut *self.transaction).await.map_err(|e| fault(self.path, e))
    }

    pub(super) async fn rows(&mut self, statement: Statement<'_>) -> Result<Vec<SqliteRow>, Error> {
        statement.fetch_all(&mut *self.transaction).await.map_err(|e| fault(self.path, e))
    }

    /// Makes it durable.
    pub(super) async fn done(self) -> Result<(), Error> {
        self.transaction.commit().await.map_err(|e| fault(self.path, e))
    }
}

impl Inventory {
    /// The rows of a reading statement, each read by `read`.
    pub(super) async fn collect<T>(
        &self,
        statement: Statement<'_>,
        read: impl Fn(Reader<'_>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut connection = self.connection.lock().await;
        let mut rows = statement.fetch(&mut *connection);
        let mut values = Vec::new();
        // One after the other: a row of the driver takes many times the memory of what is read from it.
        while let Some(row) = rows.next().await {
            let row = row.map_err(|e| fault(&self.path, e))?;
            values.push(read(Reader::new(&row, &self.path))?);
        }
        Ok(values)
    }

    /// The row of a reading statement that yields at most one.
    pub(super) async fn find<T>(
        &self,
        statement: Statement<'_>,
        read: impl Fn(Reader<'_>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        Ok(self.collect(statement, read).await?.pop())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn times_are_read_back_to_the_millisecond() {
        for time in [datetime!(2026-11-22 18:51:12.123456 UTC), datetime!(1970-01-01 00:00 +02:00)] {
            assert_eq!(parse_time(&time_text(time)), Some(stored(time)), "{time}");
        }
        assert_eq!(time_text(datetime!(2026-11-22 20:51:12.5 +02:00)), "2026-11-22T18:51:12.500Z");
        for text in ["", "2026-11-22", "2026-11-22T18:51:12Z", "2026-13-22T18:51:12.000Z"] {
            assert_eq!(parse_time(text), None, "{text:?}");
        }
    }
}
