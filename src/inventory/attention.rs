//! What a person should look at.

use std::{fmt, str::FromStr};

use serde_json::json;
use time::OffsetDateTime;

use super::{
    Error, Inventory, SiteLock,
    audit::Fact,
    sql::{self, Commit, Reader},
};
use crate::site::RobotId;

/// What kind of attention is asked for: the codes of `status --json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AttentionCode {
    /// A support token is needed to go on.
    TokenNeeded,
    /// The server shows another key than the trusted one.
    TrustChanged,
    /// A restored or copied state directory: nothing is changed without a person.
    Frozen,
    /// Written; a person has to give it to the connector and confirm. Or it could not be written.
    DeliverByHand,
    /// The deploy hook failed.
    HookFailed,
    /// The last ingest failed or was not complete.
    IngestFailed,
    /// A person has to remove a name on the appliance.
    RetireManual,
    /// The secret store could not be used, or a key is not in it.
    StoreUnavailable,
    /// Our clock and the appliance's differ.
    ClockSkew,
    /// The appliance's reply to the registration differs from what was sent, or its list holds a robot of that name
    /// that is not ours.
    ReplyDiffers,
    /// The appliance accepts certificates it was never given.
    ControlAccepted,
}

impl AttentionCode {
    /// Every code.
    pub const ALL: [Self; 11] = [
        Self::TokenNeeded,
        Self::TrustChanged,
        Self::Frozen,
        Self::DeliverByHand,
        Self::HookFailed,
        Self::IngestFailed,
        Self::RetireManual,
        Self::StoreUnavailable,
        Self::ClockSkew,
        Self::ReplyDiffers,
        Self::ControlAccepted,
    ];

    /// The word used in the database and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TokenNeeded => "token-needed",
            Self::TrustChanged => "trust-changed",
            Self::Frozen => "frozen",
            Self::DeliverByHand => "deliver-by-hand",
            Self::HookFailed => "hook-failed",
            Self::IngestFailed => "ingest-failed",
            Self::RetireManual => "retire-manual",
            Self::StoreUnavailable => "store-unavailable",
            Self::ClockSkew => "clock-skew",
            Self::ReplyDiffers => "reply-differs",
            Self::ControlAccepted => "control-accepted",
        }
    }
}

impl fmt::Display for AttentionCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for AttentionCode {
    type Err = String;

    /// # Errors
    /// The word, if it is no code.
    fn from_str(word: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|code| code.as_str() == word).ok_or_else(|| word.to_owned())
    }
}

/// One thing a person should look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attention {
    /// Whose.
    pub robot: RobotId,
    /// What kind.
    pub code: AttentionCode,
    /// What was found.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// Since when, however often it was raised again.
    pub since: OffsetDateTime,
}

impl Commit<'_> {
    /// Raises attention as part of this transaction.
    pub(super) async fn raise(
        &mut self,
        robot: &RobotId,
        code: AttentionCode,
        message: &str,
        hint: Option<&str>,
    ) -> Result<(), Error> {
        let (site, name) = (robot.site.as_str(), robot.robot.as_str());
        let update =
            sqlx::query("UPDATE attention SET message = $4, hint = $5 WHERE site = $1 AND robot = $2 AND code = $3");
        let update = update.bind(site).bind(name).bind(code.as_str()).bind(message).bind(hint);
        if self.run(update).await? == 0 {
            let insert = sqlx::query(
                "INSERT INTO attention (site, robot, code, message, hint, since) VALUES ($1, $2, $3, $4, $5, $6)",
            );
            let insert = insert.bind(site).bind(name).bind(code.as_str()).bind(message).bind(hint);
            self.run(insert.bind(sql::time_text(self.now))).await?;
            let detail = json!({ "code": code.as_str(), "message": message });
            self.audit(Fact::of_robot(robot, "attention-raised", detail)).await?;
        }
        Ok(())
    }

    /// Clears attention as part of this transaction; whether there was any.
    pub(super) async fn clear(&mut self, robot: &RobotId, code: AttentionCode) -> Result<bool, Error> {
        let delete = sqlx::query("DELETE FROM attention WHERE site = $1 AND robot = $2 AND code = $3");
        let delete = delete.bind(robot.site.as_str()).bind(robot.robot.as_str()).bind(code.as_str());
        if self.run(delete).await? == 0 {
            return Ok(false);
        }
        self.audit(Fact::of_robot(robot, "attention-cleared", json!({ "code": code.as_str() }))).await?;
        Ok(true)
    }
}

impl Inventory {
    /// Raises attention; one already raised keeps its first `since` and gets
    /// the new words. Only the first time is an entry of the audit.
    pub async fn raise(
        &self,
        lock: &SiteLock,
        robot: &RobotId,
        code: AttentionCode,
        message: &str,
        hint: Option<&str>,
        now: OffsetDateTime,
    ) -> Result<(), Error> {
        lock.covers(robot)?;
        let mut connection = self.connection.lock().await;
        let mut commit = Commit::begin_locked(self, &mut connection, lock, now).await?;
        commit.raise(robot, code, message, hint).await?;
        commit.done().await
    }

    /// Clears attention; none raised is fine.
    pub async fn clear(
        &self,
        lock: &SiteLock,
        robot: &RobotId,
        code: AttentionCode,
        now: OffsetDateTime,
    ) -> Result<(), Error> {
        lock.covers(robot)?;
        let mut connection = self.connection.lock().await;
        let mut commit = Commit::begin_locked(self, &mut connection, lock, now).await?;
        // Nothing to clear is nothing to wait for the disk for.
        if commit.clear(robot, code).await? { commit.done().await } else { Ok(()) }
    }

    /// Everything raised, of every robot, ordered by robot and time.
    pub async fn attention(&self) -> Result<Vec<Attention>, Error> {
        let read = |row: Reader<'_>| {
            Ok(Attention {
                robot: row.robot()?,
                code: row.word("code")?,
                message: row.text("message")?.to_owned(),
                hint: row.maybe_text("hint")?.map(str::to_owned),
                since: row.time("since")?,
            })
        };
        self.collect(sqlx::query("SELECT * FROM attention ORDER BY site, robot, since, code"), read).await
    }
}
