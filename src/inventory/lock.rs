//! Kernel locks: one writer per site, one watch per state directory, and nobody else while the schema changes.

#[cfg(unix)]
use std::fs::{self, Metadata};
use std::{
    fs::{File, TryLockError},
    io::{Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use time::OffsetDateTime;
use tokio::time::{Instant, sleep};

use super::{
    Error, Inventory, file_system, place,
    sql::{self, Commit, Reader},
};
use crate::{
    clock::rfc3339,
    site::{RobotId, SiteName},
};

/// How often a lock that another process holds is tried again.
const BETWEEN_TRIES: Duration = Duration::from_millis(50);
/// How long a change of schema may keep others waiting.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who holds a site, as its lock file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// Since when.
    pub since: OffsetDateTime,
}

impl Holder {
    /// In words, with its age at `now`: `process 4711 for 3 min (since 2026-11-22T18:51:12Z)`.
    pub(super) fn seen_at(self, now: OffsetDateTime) -> String {
        format!("process {} for {} (since {})", self.pid, words(now - self.since), rfc3339(self.since))
    }

    /// The text of a lock file: `PID TIME` and a line feed.
    fn text(self) -> String {
        format!("{} {}\n", self.pid, sql::time_text(self.since))
    }

    /// `None` where the holder has yet to write it.
    fn parse(text: &str) -> Option<Self> {
        let (pid, since) = text.trim_end().split_once(' ')?;
        Some(Self { pid: pid.parse().ok()?, since: sql::parse_time(since)? })
    }
}

/// A length of time in its largest whole unit. One below zero, which only a
/// clock that was set back can bring about, is none.
fn words(age: time::Duration) -> String {
    let seconds = age.whole_seconds().max(0);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// The right to change one site, until dropped.
///
/// A kernel lock on `STATE/locks/SITE`, which ends with the process however
/// it ends, and an epoch that every commit compares. Dropped, it is let go of
/// in so many words: closing alone leaves it to a child (a hook of another
/// site) that has a copy of the open file until it becomes another program.
#[derive(Debug)]
pub struct SiteLock {
    pub(super) site: SiteName,
    pub(super) epoch: i64,
    file: File,
}

impl SiteLock {
    /// The site it covers.
    #[must_use]
    pub fn site(&self) -> &SiteName {
        &self.site
    }

    /// # Errors
    /// [`Error::WrongLock`] if the robot is on another site.
    pub(super) fn covers(&self, robot: &RobotId) -> Result<(), Error> {
        if robot.site == self.site {
            Ok(())
        } else {
            Err(Error::WrongLock { held: self.site.clone(), asked: robot.clone() })
        }
    }
}

impl Drop for SiteLock {
    fn drop(&mut self) {
        // A name left behind would only be read by whoever is refused by the next holder.
        let _ = self.file.set_len(0);
        let _ = self.file.unlock();
    }
}

impl Inventory {
    /// Takes the lock of a site, waiting up to `wait` for another process to
    /// let go of it. Raises the epoch: any older lock on the site is fenced.
    ///
    /// Does not block the thread. One commit.
    ///
    /// # Errors
    /// [`Error::Held`] when it is not free in time; [`Error::ReadOnly`].
    pub async fn lock_site(
        &self,
        site: &SiteName,
        wait: Option<Duration>,
        now: OffsetDateTime,
    ) -> Result<SiteLock, Error> {
        self.writing()?;
        let dir = self.state_dir.join("locks");
        place::make_private_dir(&dir)?;
        let asked = Instant::now();
        let file = match seize(&dir.join(site.as_str()), wait.unwrap_or_default(), now).await? {
            Ok(file) => file,
            Err(holder) => return Err(Error::Held { site: site.clone(), holder, now: now + asked.elapsed() }),
        };
        let epoch = self.raise_epoch(site, now).await?;
        Ok(SiteLock { site: site.clone(), epoch, file })
    }

    async fn raise_epoch(&self, site: &SiteName, now: OffsetDateTime) -> Result<i64, Error> {
        let mut connection = self.connection.lock().await;
        let mut commit = Commit::begin(self, &mut connection, now).await?;
        let raise = sqlx::query(
            "INSERT INTO site (name, epoch) VALUES ($1, 1)
             ON CONFLICT (name) DO UPDATE SET epoch = epoch + 1 RETURNING epoch",
        );
        let row = commit.row(raise.bind(site.as_str())).await?;
        let row = row.ok_or_else(|| sql::damaged(&self.path, "a site's row cannot be written"))?;
        let epoch = Reader::new(&row, &self.path).int("epoch")?;
        commit.done().await?;
        Ok(epoch)
    }
}

/// The right to be the one that watches a state directory, until dropped.
///
/// A kernel lock on `STATE/watch.lock`; it ends with the process however it ends, and covers no site.
#[derive(Debug)]
pub struct WatchLock {
    path: PathBuf,
    file: File,
}

impl WatchLock {
    /// Takes it, without waiting. Makes the directory (0700) if it is missing.
    ///
    /// # Errors
    /// [`Error::Watched`] where another process has it; [`Error::NetworkDisk`], [`Error::ReadOnly`], [`Error::Full`].
    pub async fn take(state_dir: &Path, now: OffsetDateTime) -> Result<Self, Error> {
        file_system::check(state_dir)?;
        place::make_private_dir(state_dir)?;
        let path = state_dir.join("watch.lock");
        match seize(&path, Duration::ZERO, now).await? {
            Ok(file) => Ok(Self { path, file }),
            Err(holder) => Err(Error::Watched { path: state_dir.to_owned(), holder, now }),
        }
    }

    /// Whether the locked file is still the one that others find under its name.
    #[must_use]
    pub fn stands(&self) -> bool {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt as _;
            let which = |found: std::io::Result<Metadata>| found.ok().map(|found| (found.dev(), found.ino()));
            which(self.file.metadata()).is_some_and(|ours| which(fs::symlink_metadata(&self.path)) == Some(ours))
        }
        #[cfg(not(unix))]
        {
            self.path.exists()
        }
    }
}

impl Drop for WatchLock {
    fn drop(&mut self) {
        // As with a site's lock.
        let _ = self.file.set_len(0);
    }
}

/// Takes the kernel lock on a file, made if missing, and writes into it who has it; else who had it, where that
/// could be read.
async fn seize(path: &Path, wait: Duration, now: OffsetDateTime) -> Result<Result<File, Option<Holder>>, Error> {
    let mut file = place::open_private(path)?;
    let failed = |doing| move |source| place::io(doing, path, source);
    if !acquire(wait, || file.try_lock()).await.map_err(failed("lock"))? {
        let mut text = String::new();
        // Where it cannot be read (the lock is mandatory on Windows), the holder stays unknown.
        let _ = file.read_to_string(&mut text);
        return Ok(Err(Holder::parse(&text)));
    }
    let holder = Holder { pid: std::process::id(), since: now };
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(holder.text().as_bytes()))
        .map_err(failed("write"))?;
    Ok(Ok(file))
}

/// The lock of the whole state directory: shared by everyone who writes,
/// exclusive to whoever changes the schema.
#[derive(Debug)]
pub(super) struct StateLock {
    file: File,
    path: PathBuf,
}

/// As for a [`SiteLock`]: not left to a child that is just being started.
impl Drop for StateLock {
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

impl StateLock {
    /// Opens the lock file and shares the lock.
    pub(super) async fn shared(state_dir: &Path) -> Result<Self, Error> {
        let path = state_dir.join("inventory.lock");
        let lock = Self { file: place::open_private(&path)?, path };
        lock.share().await?;
        Ok(lock)
    }

    /// Goes over from an exclusive lock to a shared one.
    pub(super) async fn share(&self) -> Result<(), Error> {
        self.take(File::try_lock_shared).await
    }

    /// Goes over from a shared lock to an exclusive one, letting go in between:
    /// what was read before has to be read again.
    pub(super) async fn exclude_others(&self) -> Result<(), Error> {
        self.take(File::try_lock).await
    }

    async fn take(&self, lock: fn(&File) -> Result<(), TryLockError>) -> Result<(), Error> {
        let failed = |source| place::io("lock", &self.path, source);
        self.file.unlock().map_err(failed)?;
        if acquire(PATIENCE, || lock(&self.file)).await.map_err(failed)? {
            Ok(())
        } else {
            Err(Error::Busy { path: self.path.clone() })
        }
    }
}

/// Tries until it succeeds or `wait` is over; `false` in the latter case.
async fn acquire(wait: Duration, lock: impl Fn() -> Result<(), TryLockError>) -> std::io::Result<bool> {
    let end = Instant::now() + wait;
    loop {
        match lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if Instant::now() >= end => return Ok(false),
            Err(TryLockError::WouldBlock) => sleep(BETWEEN_TRIES.min(end - Instant::now())).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_holder_is_read_back_from_its_text() {
        let holder = Holder { pid: 4711, since: datetime!(2026-11-22 18:51:12 UTC) };
        assert_eq!(Holder::parse(&holder.text()), Some(holder));
        for text in ["", "4711", "4711 yesterday", "x 2026-11-22T18:51:12.000Z"] {
            assert_eq!(Holder::parse(text), None, "{text:?}");
        }
    }

    /// A child has a copy of every open file of ours until it becomes another program.
    #[tokio::test]
    async fn a_lock_that_was_let_go_of_is_free_though_a_child_is_just_being_started() {
        let dir = tempfile::tempdir().unwrap();
        let now = datetime!(2026-11-22 18:51:12 UTC);
        let inventory = Inventory::open(&dir.path().join("state"), "test", now).await.unwrap();
        let site = "plant".parse().unwrap();
        let lock = inventory.lock_site(&site, None, now).await.unwrap();
        let _inherited = lock.file.try_clone().unwrap();
        assert!(matches!(inventory.lock_site(&site, None, now).await, Err(Error::Held { .. })));
        drop(lock);
        assert!(inventory.lock_site(&site, None, now).await.is_ok());

        let state = StateLock::shared(&dir.path().join("state")).await.unwrap();
        let other = StateLock::shared(&dir.path().join("state")).await.unwrap();
        let _inherited = other.file.try_clone().unwrap();
        drop((inventory, other));
        assert!(state.exclude_others().await.is_ok());
    }

    #[test]
    fn a_holder_is_told_with_its_age() {
        #[track_caller]
        fn check(age: time::Duration, words: &str) {
            let holder = Holder { pid: 4711, since: datetime!(2026-11-22 18:51:12.5 UTC) };
            let expected = format!("process 4711 for {words} (since 2026-11-22T18:51:12Z)");
            assert_eq!(holder.seen_at(holder.since + age), expected);
        }
        check(time::Duration::ZERO, "0 s");
        check(time::Duration::milliseconds(59_999), "59 s");
        check(time::Duration::minutes(1), "1 min");
        check(time::Duration::seconds(3_599), "59 min");
        check(time::Duration::hours(1), "1 h");
        check(time::Duration::hours(47), "47 h");
        check(time::Duration::hours(48), "2 days");
        check(time::Duration::days(-1), "0 s");
    }
}
