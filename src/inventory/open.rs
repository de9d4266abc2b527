//! Opening: files, settings of the engine, version, and the store's own row.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

use serde_json::json;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use time::OffsetDateTime;
use tokio::sync::Mutex;

use super::{
    Error, Inventory, Writing,
    audit::Fact,
    file_system,
    lock::StateLock,
    place, schema,
    sql::{self, Commit, Reader},
};
use crate::site::StoreKind;

/// How long a statement waits for another process's commit.
const BUSY: Duration = Duration::from_secs(10);
/// Up to this size a full check costs less than a commit does.
const CHEAP_TO_CHECK: u64 = 16 * 1024 * 1024;

impl Inventory {
    /// Opens the inventory for writing; makes the directory (0700) and the file (0600) if missing,
    /// and brings an older schema up to date. `actor` is who the audit names.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Newer`], [`Error::Unsafe`], [`Error::NetworkDisk`], [`Error::ReadOnly`],
    /// [`Error::Full`].
    pub async fn open(state_dir: &Path, actor: &str, now: OffsetDateTime) -> Result<Self, Error> {
        let state_dir = absolute(state_dir)?;
        let path = file_in(&state_dir);
        file_system::check(&state_dir)?;
        place::make_private_dir(&state_dir)?;
        let state = StateLock::shared(&state_dir).await?;

        if !exists(&path)? {
            state.exclude_others().await?;
            if !exists(&path)? {
                create(&path, now).await?;
            }
            state.share().await?;
        }
        place::check_owner(&path)?;
        let mut connection = connect(&path, &base(&path)).await?;
        if schema::version(&mut connection, &path).await? < schema::KNOWN {
            state.exclude_others().await?;
            upgrade(&mut connection, &path).await?;
            state.share().await?;
        }
        make_durable(&mut connection, &path).await?;
        check_content(&mut connection, &path).await?;
        let writing = Writing { actor: actor.to_owned(), _state: state };
        Self::over(connection, state_dir, path, Some(writing), None).await
    }

    /// Opens the inventory for reading; `None` if there is none, and nothing is created.
    ///
    /// On a read-only or full disk it reads what it can and says so in [`Inventory::warning`].
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Newer`], [`Error::Older`], [`Error::Unsafe`].
    pub async fn open_read_only(state_dir: &Path) -> Result<Option<Self>, Error> {
        let state_dir = absolute(state_dir)?;
        let path = file_in(&state_dir);
        if !exists(&path)? {
            return Ok(None);
        }
        place::check_owner(&state_dir)?;
        place::check_owner(&path)?;

        let (connection, warning) = match connect_reader(&path, &reading(&path)).await {
            // The engine needs a shared-memory file beside the inventory and
            // cannot make one here. Nobody else can write there either.
            Err(Error::ReadOnly { .. } | Error::Full { .. }) => {
                let connection = connect_reader(&path, &reading(&path).immutable(true)).await?;
                (connection, Some(no_writing_warning(&path)))
            }
            other => (other?, None),
        };
        Self::over(connection, state_dir, path, None, warning).await.map(Some)
    }

    /// Whether there is an inventory in this state directory. Disk; opens nothing.
    ///
    /// # Errors
    /// [`Error::Damaged`] if only its log is there; what the system says if it cannot be looked at.
    pub fn is_there(state_dir: &Path) -> Result<bool, Error> {
        exists(&file_in(&absolute(state_dir)?))
    }

    async fn over(
        mut connection: SqliteConnection,
        state_dir: PathBuf,
        path: PathBuf,
        writing: Option<Writing>,
        warning: Option<String>,
    ) -> Result<Self, Error> {
        let row = sqlx::query("SELECT id, kind FROM store").fetch_optional(&mut connection).await;
        let row = row.map_err(|e| sql::fault(&path, e))?.ok_or_else(|| sql::damaged(&path, "its own name is gone"))?;
        let row = Reader::new(&row, &path);
        let store_id = row.text("id")?.to_owned();
        let store_kind = row.maybe_word::<StoreKind>("kind")?.map_or_else(OnceLock::new, OnceLock::from);
        Ok(Self { connection: Mutex::new(connection), state_dir, store_id, store_kind, writing, warning, path })
    }

    /// Reads the whole file, which takes longer the larger it is, and writes nothing.
    ///
    /// # Errors
    /// [`Error::Damaged`] if its pages contradict each other.
    pub async fn check(&self) -> Result<(), Error> {
        quick_check(&mut *self.connection.lock().await, &self.path).await
    }

    /// Closes the inventory; the last one open folds its log into the file.
    /// Merely dropped, nothing is lost either: the next one to open it does that.
    pub async fn close(self) -> Result<(), Error> {
        self.connection.into_inner().close().await.map_err(|e| sql::fault(&self.path, e))
    }

    /// What only a writer has.
    pub(super) fn writing(&self) -> Result<&Writing, Error> {
        let reason = || "it was opened for reading only".to_owned();
        self.writing.as_ref().ok_or_else(|| Error::ReadOnly { path: self.path.clone(), reason: reason() })
    }

    /// Records the kind of secret store this state directory begins with. The
    /// first call decides; what it decided is returned to every later one.
    pub async fn record_store_kind(&self, kind: StoreKind, now: OffsetDateTime) -> Result<StoreKind, Error> {
        let mut connection = self.connection.lock().await;
        let mut commit = Commit::begin(self, &mut connection, now).await?;
        let choose = sqlx::query("UPDATE store SET kind = $1 WHERE kind IS NULL");
        if commit.run(choose.bind(kind.as_str())).await? > 0 {
            commit.audit(Fact::of_store("store-chosen", json!({ "store": kind.as_str() }))).await?;
        }
        let row = commit.row(sqlx::query("SELECT kind FROM store")).await?;
        let row = row.ok_or_else(|| sql::damaged(&self.path, "its own name is gone"))?;
        let chosen = Reader::new(&row, &self.path).word("kind")?;
        commit.done().await?;
        Ok(*self.store_kind.get_or_init(|| chosen))
    }
}

fn absolute(dir: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(dir).map_err(|source| place::io("find", dir, source))
}

fn file_in(state_dir: &Path) -> PathBuf {
    state_dir.join("inventory.db")
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// # Errors
/// [`Error::Damaged`] if only the log of an inventory is there: a new file
/// beside it would take the old log for its own.
fn exists(path: &Path) -> Result<bool, Error> {
    let is_there = |path: &Path| match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(place::io("look at", path, source)),
    };
    if is_there(path)? {
        return Ok(true);
    }
    let log = beside(path, "-wal");
    if is_there(&log)? {
        return Err(sql::damaged(path, format!("it is gone, but its log {} is there", log.display())));
    }
    Ok(false)
}

fn base(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .foreign_keys(true)
        .busy_timeout(BUSY)
        // Functions and tables named by the file's own schema are not trusted.
        .pragma("trusted_schema", "OFF")
        .pragma("cell_size_check", "ON")
        // Whole answers at once instead of a hand-over between threads every few rows.
        .row_buffer_size(4096)
        .disable_statement_logging()
}

/// For whoever reads everything once, and may keep the connection for months: little memory of its own.
fn reading(path: &Path) -> SqliteConnectOptions {
    base(path).read_only(true).pragma("cache_size", "-256").row_buffer_size(256)
}

async fn connect(path: &Path, options: &SqliteConnectOptions) -> Result<SqliteConnection, Error> {
    options.connect().await.map_err(|e| sql::fault(path, e))
}

/// A connection to an inventory known to be ours and up to date.
pub(super) async fn connect_writer(path: &Path) -> Result<SqliteConnection, Error> {
    let mut connection = connect(path, &base(path)).await?;
    make_durable(&mut connection, path).await?;
    Ok(connection)
}

async fn connect_reader(path: &Path, options: &SqliteConnectOptions) -> Result<SqliteConnection, Error> {
    let mut connection = connect(path, options).await?;
    let found = schema::version(&mut connection, path).await?;
    if found < schema::KNOWN {
        return Err(Error::Older { path: path.to_owned(), found, known: schema::KNOWN });
    }
    Ok(connection)
}

fn no_writing_warning(path: &Path) -> String {
    let log = fs::metadata(beside(path, "-wal")).map_or(0, |log| log.len());
    let missing = if log > 0 { "; its newest changes are not shown" } else { "" };
    format!("the inventory {} was read from a disk that is read-only or full{missing}", path.display())
}

/// Makes the inventory beside its name and moves it there whole: an empty or
/// half-made file under that name is always damage.
async fn create(path: &Path, now: OffsetDateTime) -> Result<(), Error> {
    let new = beside(path, ".new");
    let discard = || {
        for stale in [new.clone(), beside(&new, "-journal"), beside(&new, "-wal"), beside(&new, "-shm")] {
            // What cannot be removed is met, and reported, by the creation that follows.
            let _ = fs::remove_file(stale);
        }
    };
    discard();
    path.parent().map_or(Ok(()), place::sync_way)?;
    place::create_private(&new)?;
    let made = fill(&new, now).await.and_then(|()| {
        let synced = place::open_private(&new)?.sync_all();
        synced.map_err(|source| place::io("sync", &new, source))?;
        fs::rename(&new, path).map_err(|source| place::io("create", path, source))?;
        path.parent().map_or(Ok(()), place::sync_dir)
    });
    if made.is_err() {
        discard();
    }
    made
}

async fn fill(path: &Path, now: OffsetDateTime) -> Result<(), Error> {
    let fault = |e| sql::fault(path, e);
    let mut connection = connect(path, &base(path)).await?;
    // The caller syncs the file once, whole: before it has its name nobody relies on it. Without a
    // log beside it, since folding that in can fail on a full disk when the connection closes,
    // which nobody is told.
    let set = sqlx::raw_sql("PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY;");
    set.execute(&mut connection).await.map_err(fault)?;
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(fault)?;
    schema::migrate(&mut transaction, path, 0).await?;
    // A name, not a secret: the engine's own generator is enough.
    let name = sqlx::query("INSERT INTO store (one, id, created_at) VALUES (1, lower(hex(randomblob(16))), $1)");
    name.bind(sql::time_text(now)).execute(&mut *transaction).await.map_err(fault)?;
    transaction.commit().await.map_err(fault)?;
    connection.close().await.map_err(fault)
}

async fn upgrade(connection: &mut SqliteConnection, path: &Path) -> Result<(), Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(|e| sql::fault(path, e))?;
    // Another process may have done it while the lock was let go.
    let found = schema::version(&mut transaction, path).await?;
    if found < schema::KNOWN {
        schema::migrate(&mut transaction, path, found).await?;
    }
    transaction.commit().await.map_err(|e| sql::fault(path, e))
}

/// Asks for what durability rests on and reads it back: a setting that the
/// engine ignores is an error. Only for a file known to be ours, since it may
/// write the file's header.
async fn make_durable(connection: &mut SqliteConnection, path: &Path) -> Result<(), Error> {
    let set = sqlx::raw_sql("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;");
    set.execute(&mut *connection).await.map_err(|e| sql::fault(path, e))?;
    let read = sqlx::query(
        "SELECT j.journal_mode, CAST(s.synchronous AS TEXT) AS synchronous
         FROM pragma_journal_mode j, pragma_synchronous s",
    );
    let row = read.fetch_one(connection).await.map_err(|e| sql::fault(path, e))?;
    for (setting, expected) in [("journal_mode", "wal"), ("synchronous", "2")] {
        let found = Reader::new(&row, path).text(setting)?;
        if found != expected {
            return Err(Error::NotDurable { setting, expected, found: found.to_owned() });
        }
    }
    Ok(())
}

async fn check_content(connection: &mut SqliteConnection, path: &Path) -> Result<(), Error> {
    let size = fs::metadata(path).map_err(|source| place::io("look at", path, source))?.len();
    if size > CHEAP_TO_CHECK {
        return Ok(());
    }
    quick_check(connection, path).await
}

async fn quick_check(connection: &mut SqliteConnection, path: &Path) -> Result<(), Error> {
    let row = sqlx::query("PRAGMA quick_check(1)").fetch_one(connection).await.map_err(|e| sql::fault(path, e))?;
    match Reader::new(&row, path).text("quick_check")? {
        "ok" => Ok(()),
        problem => Err(sql::damaged(path, problem)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-22 12:00 UTC);

    #[tokio::test]
    async fn the_engine_keeps_the_settings_that_were_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let writer = Inventory::open(dir.path(), "tester", NOW).await.unwrap();
        let reader = Inventory::open_read_only(dir.path()).await.unwrap().unwrap();
        for inventory in [&writer, &reader] {
            let mut connection = inventory.connection.lock().await;
            for (statement, expected) in [
                ("SELECT journal_mode AS x FROM pragma_journal_mode", "wal"),
                ("SELECT CAST(synchronous AS TEXT) AS x FROM pragma_synchronous", "2"),
                ("SELECT CAST(foreign_keys AS TEXT) AS x FROM pragma_foreign_keys", "1"),
                ("SELECT CAST(trusted_schema AS TEXT) AS x FROM pragma_trusted_schema", "0"),
            ] {
                let row = sqlx::query(statement).fetch_one(&mut *connection).await.unwrap();
                assert_eq!(Reader::new(&row, &inventory.path).text("x").unwrap(), expected, "{statement}");
            }
            let extension = sqlx::query("SELECT load_extension('x')").fetch_one(&mut *connection).await;
            assert!(extension.unwrap_err().to_string().contains("not authorized"));
        }
    }

    #[tokio::test]
    async fn a_full_file_takes_nothing_of_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let inventory = Inventory::open(dir.path(), "tester", NOW).await.unwrap();
        let lock = inventory.lock_site(&"plant".parse().unwrap(), None, NOW).await.unwrap();
        let limit = async |statement: &'static str| {
            let mut connection = inventory.connection.lock().await;
            sqlx::raw_sql(statement).execute(&mut *connection).await.unwrap();
        };
        // The least the engine accepts: the pages the file has.
        limit("PRAGMA max_page_count = 1").await;
        let mut noted = 0;
        let full = loop {
            let detail = json!({ "text": "x".repeat(3000) });
            match inventory.note(&lock, None, "noted", detail, NOW).await {
                Ok(()) => noted += 1,
                Err(error) => break error,
            }
            assert!(noted < 100, "the limit does not hold");
        };
        assert!(matches!(full, Error::Full { .. }), "{full:?}");
        let entries = inventory.audit().await.unwrap();
        assert_eq!(entries.len(), noted);
        super::super::audit::verify(&entries).unwrap();

        // With space again, it goes on where it was.
        limit("PRAGMA max_page_count = 1000000").await;
        inventory.note(&lock, None, "noted", json!({}), NOW).await.unwrap();
        assert_eq!(inventory.audit().await.unwrap().len(), noted + 1);
    }
}
