//! The append-only record of what was done, each entry chained to the one before.

use std::fmt::Write as _;

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

/// One thing that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number: 1, 2, 3, …
    pub seq: i64,
    /// When.
    pub at: OffsetDateTime,
    /// Who asked for it.
    pub actor: String,
    /// What, in one word.
    pub action: String,
    /// The site it concerns.
    pub site: Option<SiteName>,
    /// The robot it concerns.
    pub robot: Option<RobotName>,
    /// The generation it concerns.
    pub generation: Option<Generation>,
    /// More about it: a JSON object, never a secret.
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

/// The record was changed after it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit record is broken at entry {seq}")]
pub struct Broken {
    /// The first entry that does not fit the one before it or its own hash.
    pub seq: i64,
}

/// Checks that `entries` are whole, from the first on. That nothing was cut
/// from the end only a [`Head`] kept elsewhere can tell.
///
/// # Errors
/// [`Broken`] at the first entry that does not fit.
pub fn verify(entries: &[Entry]) -> Result<Head, Broken> {
    let mut head = Head { seq: 0, hash: START.to_owned() };
    for entry in entries {
        let fits = entry.seq == head.seq + 1 && entry.prev == head.hash && entry.hash == entry.digest();
        if !fits {
            return Err(Broken { seq: entry.seq });
        }
        head = Head { seq: entry.seq, hash: entry.hash.clone() };
    }
    Ok(head)
}

impl Entry {
    /// SHA-256, in hex, over the entry's fields in this order: `prev`, `seq`,
    /// `at`, `actor`, `action`, `site`, `robot`, `generation`, `detail`.
    ///
    /// Each field is its UTF-8 text as a netstring, `LENGTH:TEXT,` with the
    /// length in octets, so that no two entries have the same form. Numbers
    /// are decimal, `at` has milliseconds and ends in `Z`, and what is missing
    /// is the empty text.
    fn digest(&self) -> String {
        let seq = self.seq.to_string();
        let at = sql::time_text(self.at);
        let generation = self.generation.map(|generation| generation.to_string()).unwrap_or_default();
        let fields = [
            self.prev.as_str(),
            &seq,
            &at,
            &self.actor,
            &self.action,
            self.site.as_ref().map_or("", SiteName::as_str),
            self.robot.as_ref().map_or("", RobotName::as_str),
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
            at: row.time("at")?,
            actor: row.text("actor")?.to_owned(),
            action: row.text("action")?.to_owned(),
            site: row.maybe_word("site")?,
            robot: row.maybe_word("robot")?,
            generation: row.maybe_generation()?,
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
        let last = last.unwrap_or_else(|| Head { seq: 0, hash: START.to_owned() });
        let mut entry = Entry {
            seq: last.seq + 1,
            at: self.now,
            actor: self.actor.to_owned(),
            action: fact.action.to_owned(),
            site: fact.site.cloned(),
            robot: fact.robot.cloned(),
            generation: fact.generation,
            detail: fact.detail.to_string(),
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
            .bind(sql::time_text(entry.at))
            .bind(entry.actor)
            .bind(entry.action)
            .bind(fact.site.map(SiteName::as_str))
            .bind(fact.robot.map(RobotName::as_str))
            .bind(entry.generation.map(Generation::number))
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
        Ok(head.unwrap_or_else(|| Head { seq: 0, hash: START.to_owned() }))
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
