//! The schema's versions, and how a file gets from one to the next.

use std::path::Path;

use sqlx::SqliteConnection;

use super::{Error, sql};

/// Step N brings a file from version N to N + 1. Steps are only ever appended.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_first.sql"),
    include_str!("migrations/0002_rotation.sql"),
    include_str!("migrations/0003_watch.sql"),
    include_str!("migrations/0004_ingest.sql"),
];

/// The version this program reads and writes.
#[allow(clippy::cast_possible_wrap, reason = "a list written by hand")]
pub(super) const KNOWN: i64 = MIGRATIONS.len() as i64;

/// Marks the file as ours: "robc" in the header field that `SQLite` keeps for this.
const APPLICATION: i64 = 0x726f_6263;

/// The version of the file, at most [`KNOWN`].
///
/// # Errors
/// [`Error::Newer`]; [`Error::Damaged`] if it is not an inventory.
pub(super) async fn version(connection: &mut SqliteConnection, path: &Path) -> Result<i64, Error> {
    let marks = sqlx::query(
        "SELECT a.application_id AS application, v.user_version AS version
         FROM pragma_application_id a, pragma_user_version v",
    );
    let row = marks.fetch_one(connection).await.map_err(|e| sql::fault(path, e))?;
    let row = sql::Reader::new(&row, path);
    if row.int("application")? != APPLICATION {
        return Err(sql::damaged(path, "it is not an inventory of robocred"));
    }
    match row.int("version")? {
        found if found > KNOWN => Err(Error::Newer { path: path.to_owned(), found, known: KNOWN }),
        found => Ok(found),
    }
}

/// Runs the steps from `from` on. The caller holds the transaction.
pub(super) async fn migrate(connection: &mut SqliteConnection, path: &Path, from: i64) -> Result<(), Error> {
    let done = usize::try_from(from).map_err(|_| sql::damaged(path, "its schema version is negative"))?;
    for step in MIGRATIONS.iter().skip(done) {
        sqlx::raw_sql(*step).execute(&mut *connection).await.map_err(|e| sql::fault(path, e))?;
    }
    // A pragma takes no bound values; both are numbers of this file.
    let marks = format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {KNOWN};");
    sqlx::raw_sql(sqlx::AssertSqlSafe(marks)).execute(connection).await.map_err(|e| sql::fault(path, e))?;
    Ok(())
}
