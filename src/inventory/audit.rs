//! The append-only record of what was done, each entry chained to the one before.

use std::{
    fmt::{self, Write as _},
    str::FromStr,
};

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::Value;
use time::OffsetDateTime;

use super::{
    Error, Inventory, SiteLock,
    sql::{self, Commit, Reader},
};
use crate::{
    credential::{CredentialId, Generation},
    site::{RobotId, RobotName, SiteName},
};

/// What stands for the hash of the entry before the first.
const START: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// One thing that was done, in the words of the file, whoever wrote them last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number: 1, 2, 3, …
    pub seq: i64,
    /// When: RFC 3339 in UTC with milliseconds.
    pub at: String,
    /// Who asked for it.
    pub actor: String,
    /// What, in one word.
    pub action: String,
    /// The site it concerns.
    pub site: Option<String>,
    /// The robot it concerns.
    pub robot: Option<String>,
    /// The generation it concerns.
    pub generation: Option<i64>,
    /// More about it: a JSON object, never a secret. `tool` is the version of the program that wrote it.
    pub detail: String,
    /// The hash of the entry before, 64 zeros for the first.
    pub prev: String,
    /// The hash of this entry.
    pub hash: String,
}

/// The last entry: whoever keeps it elsewhere notices a cut or rewritten record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its number; 0 if there is none.
    pub seq: i64,
    /// Its hash; 64 zeros if there is none.
    pub hash: String,
}

impl Head {
    /// The head of an empty record.
    fn start() -> Self {
        Self { seq: 0, hash: START.to_owned() }
    }
}

impl fmt::Display for Head {
    /// `SEQ:HASH`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash)
    }
}

/// A head that was kept elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its number, where that was kept too.
    pub seq: Option<i64>,
    /// Its hash.
    pub hash: String,
}

impl From<&Head> for Kept {
    fn from(head: &Head) -> Self {
        Self { seq: Some(head.seq), hash: head.hash.clone() }
    }
}

/// A text that is no head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a head is SEQ:HASH or HASH, the hash 64 hexadecimal digits")]
pub struct NoHead;

impl FromStr for Kept {
    type Err = NoHead;

    /// Reads `SEQ:HASH` or `HASH`.
    ///
    /// # Errors
    /// [`NoHead`] for anything else.
    fn from_str(given: &str) -> Result<Self, NoHead> {
        let (seq, hash) = match given.split_once(':') {
            Some((seq, hash)) => (Some(seq.parse::<u32>().map_err(|_| NoHead)?.into()), hash),
            None => (None, given),
        };
        if hash.len() == 64 && hash.bytes().all(|octet| octet.is_ascii_hexdigit()) {
            Ok(Self { seq, hash: hash.to_ascii_lowercase() })
        } else {
            Err(NoHead)
        }
    }
}

/// The record is not what it was when it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// An entry was changed, or one was put in or taken out before it.
    #[error("the audit record is broken at entry {seq}")]
    Misfit {
        /// The first entry that does not fit the one before it or its own hash.
        seq: i64,
    },
    /// Entries are missing at the end.
    #[error("the audit record ends at entry {last}, and there was an entry {kept}")]
    Cut {
        /// The number of the entry that is known from elsewhere.
        kept: i64,
        /// The last number there is.
        last: i64,
    },
    /// The record fits together, and it is not the one that was there before.
    #[error("entry {seq} of the audit record is not the one that was there before")]
    Replaced {
        /// The entry that is known from elsewhere.
        seq: i64,
    },
    /// No entry has the hash that is known from elsewhere.
    #[error("the entry with the hash that was kept is not in the audit record")]
    Unknown,
}

impl Broken {
    /// The first entry that is not as it was, or is not there; `None` where that cannot be told.
    #[must_use]
    pub fn seq(self) -> Option<i64> {
        match self {
            Self::Misfit { seq } | Self::Replaced { seq } => Some(seq),
            Self::Cut { last, .. } => Some(last + 1),
            Self::Unknown => None,
        }
    }
}

/// Checks that `entries` are whole, from the first on. That nothing was cut
/// from the end, or all of it written anew, only a head [`kept`] elsewhere can tell.
///
/// # Errors
/// [`Broken::Misfit`] at the first entry that does not fit.
pub fn verify(entries: &[Entry]) -> Result<Head, Broken> {
    let mut head = Head::start();
    for entry in entries {
        let fits = entry.seq == head.seq + 1 && entry.prev == head.hash && entry.hash == entry.digest();
        if !fits {
            return Err(Broken::Misfit { seq: entry.seq });
        }
        head = Head { seq: entry.seq, hash: entry.hash.clone() };
    }
    Ok(head)
}

/// Checks that a head that was kept elsewhere is still in `entries`, which [`verify`] found whole.
///
/// # Errors
/// [`Broken::Cut`], [`Broken::Replaced`], [`Broken::Unknown`].
pub fn kept(entries: &[Entry], kept: &Kept) -> Result<(), Broken> {
    let last = entries.last().map_or(0, |entry| entry.seq);
    let hash_at = |seq| entries.iter().find(|entry| entry.seq == seq).map(|entry| entry.hash.as_str());
    match kept.seq {
        Some(0) if kept.hash == START => Ok(()),
        Some(seq) if seq > last => Err(Broken::Cut { kept: seq, last }),
        Some(seq) if hash_at(seq) != Some(kept.hash.as_str()) => Err(Broken::Replaced { seq }),
        None if entries.iter().all(|entry| entry.hash != kept.hash) && kept.hash != START => Err(Broken::Unknown),
        _ => Ok(()),
    }
}

impl Entry {
    /// SHA-256, in hex, over the entry's fields in this order: `prev`, `seq`,
    /// `at`, `actor`, `action`, `site`, `robot`, `generation`, `detail`.
    ///
    /// Each field is its UTF-8 text as a netstring, `LENGTH:TEXT,` with the
    /// length in octets, so that no two entries have the same form. Numbers
    /// are decimal, and what is missing is the empty text.
    fn digest(&self) -> String {
        let seq = self.seq.to_string();
        let generation = self.generation.map(|generation| generation.to_string()).unwrap_or_default();
        let fields = [
            self.prev.as_str(),
            &seq,
            &self.at,
            &self.actor,
            &self.action,
            self.site.as_deref().unwrap_or_default(),
            self.robot.as_deref().unwrap_or_default(),
            &generation,
            &self.detail,
        ];
        let mut form = String::new();
        for field in fields {
            // Writing to a String cannot fail.
            let _ = write!(form, "{}:{field},", field.len());
        }
        let mut hex = String::with_capacity(64);
        for octet in digest(&SHA256, form.as_bytes()).as_ref() {
            let _ = write!(hex, "{octet:02x}");
        }
        hex
    }

    fn read(row: Reader<'_>) -> Result<Self, Error> {
        Ok(Self {
            seq: row.int("seq")?,
            at: row.text("at")?.to_owned(),
            actor: row.text("actor")?.to_owned(),
            action: row.text("action")?.to_owned(),
            site: row.maybe_text("site")?.map(str::to_owned),
            robot: row.maybe_text("robot")?.map(str::to_owned),
            generation: row.maybe_int("generation")?,
            detail: row.text("detail")?.to_owned(),
            prev: row.text("prev")?.to_owned(),
            hash: row.text("hash")?.to_owned(),
        })
    }
}

/// What an entry is to say, before it has its place in the chain.
pub(super) struct Fact<'a> {
    action: &'a str,
    site: Option<&'a SiteName>,
    robot: Option<&'a RobotName>,
    generation: Option<Generation>,
    detail: Value,
}

impl<'a> Fact<'a> {
    pub(super) fn of_store(action: &'a str, detail: Value) -> Self {
        Self { action, site: None, robot: None, generation: None, detail }
    }

    pub(super) fn of_site(site: &'a SiteName, action: &'a str, detail: Value) -> Self {
        Self { site: Some(site), ..Self::of_store(action, detail) }
    }

    pub(super) fn of_robot(id: &'a RobotId, action: &'a str, detail: Value) -> Self {
        Self { robot: Some(&id.robot), ..Self::of_site(&id.site, action, detail) }
    }

    pub(super) fn of_credential(id: &'a CredentialId, action: &'a str, detail: Value) -> Self {
        Self { generation: Some(id.generation), ..Self::of_robot(&id.robot, action, detail) }
    }
}

const HEAD: &str = "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1";

fn read_head(row: Reader<'_>) -> Result<Head, Error> {
    Ok(Head { seq: row.int("seq")?, hash: row.text("hash")?.to_owned() })
}

impl Commit<'_> {
    /// Adds the entry to this transaction: a change and its entry are durable together or not at all.
    pub(super) async fn audit(&mut self, fact: Fact<'_>) -> Result<(), Error> {
        let path = self.path();
        let last = self.row(sqlx::query(HEAD)).await?;
        let last = last.map(|row| read_head(Reader::new(&row, path))).transpose()?;
        let last = last.unwrap_or_else(Head::start);
        let mut detail = fact.detail;
        if let Some(detail) = detail.as_object_mut() {
            detail.insert("tool".to_owned(), env!("CARGO_PKG_VERSION").into());
        }
        let mut entry = Entry {
            seq: last.seq + 1,
            at: sql::time_text(self.now),
            actor: self.actor.to_owned(),
            action: fact.action.to_owned(),
            site: fact.site.map(ToString::to_string),
            robot: fact.robot.map(ToString::to_string),
            generation: fact.generation.map(|generation| generation.number().into()),
            detail: detail.to_string(),
            prev: last.hash,
            hash: String::new(),
        };
        entry.hash = entry.digest();
        let insert = sqlx::query(
            "INSERT INTO audit (seq, at, actor, action, site, robot, generation, detail, prev, hash)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        );
        let insert = insert
            .bind(entry.seq)
            .bind(entry.at)
            .bind(entry.actor)
            .bind(entry.action)
            .bind(entry.site)
            .bind(entry.robot)
            .bind(entry.generation)
            .bind(entry.detail)
            .bind(entry.prev)
            .bind(entry.hash);
        self.run(insert).await.map(drop)
    }
}

impl Inventory {
    /// Every entry, oldest first.
    pub async fn audit(&self) -> Result<Vec<Entry>, Error> {
        self.collect(sqlx::query("SELECT * FROM audit ORDER BY seq"), Entry::read).await
    }

    /// The last entry's number and hash.
    pub async fn audit_head(&self) -> Result<Head, Error> {
        let head = self.find(sqlx::query(HEAD), read_head).await?;
        Ok(head.unwrap_or_else(Head::start))
    }

    /// The hash of one entry, if there is such an entry.
    pub async fn audit_hash(&self, seq: i64) -> Result<Option<String>, Error> {
        let select = sqlx::query("SELECT hash FROM audit WHERE seq = $1").bind(seq);
        self.find(select, |row| row.text("hash").map(str::to_owned)).await
    }

    /// Adds an entry for something done outside the inventory, for example a forced rotation.
    ///
    /// `detail` must not hold a secret.
    pub async fn note(
        &self,
        lock: &SiteLock,
        robot: Option<&RobotName>,
        action: &str,
        detail: Value,
        now: OffsetDateTime,
    ) -> Result<(), Error> {
        let mut connection = self.connection.lock().await;
        let mut commit = Commit::begin_locked(self, &mut connection, lock, now).await?;
        commit.audit(Fact { robot, ..Fact::of_site(lock.site(), action, detail) }).await?;
        commit.done().await
    }
}
