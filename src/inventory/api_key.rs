//! The API key that is kept for a site: since when, and until when. The key itself rests in the secret store.

use serde_json::json;
use time::OffsetDateTime;

use super::{
    Error, Inventory, SiteLock,
    audit::Fact,
    sql::{self, Commit, Reader},
};
use crate::{clock::rfc3339, credential::KeptKey};

/// What a row of `site` says of it.
pub(super) fn read(row: Reader<'_>) -> Result<Option<KeptKey>, Error> {
    let expires = row.maybe_time("api_key_expires")?;
    Ok(row.maybe_time("api_key_since")?.map(|since| KeptKey { since, expires }))
}

impl Inventory {
    /// Records that an API key rests in the secret store from now on, in place of any other.
    pub async fn set_api_key(
        &self,
        lock: &SiteLock,
        expires: Option<OffsetDateTime>,
        now: OffsetDateTime,
    ) -> Result<(), Error> {
        let mut connection = self.connection.lock().await;
        let mut commit = Commit::begin_locked(self, &mut connection, lock, now).await?;
        let update = sqlx::query("UPDATE site SET api_key_since = $2, api_key_expires = $3 WHERE name = $1");
        let update = update.bind(lock.site().as_str()).bind(sql::time_text(now)).bind(expires.map(sql::time_text));
        commit.run(update).await?;
        let detail = json!({ "expires": expires.map(rfc3339) });
        commit.audit(Fact::of_site(lock.site(), "api-key-set", detail)).await?;
        commit.done().await
    }

    /// Records that no API key rests there any more.
    pub async fn clear_api_key(&self, lock: &SiteLock, now: OffsetDateTime) -> Result<(), Error> {
        let mut connection = self.connection.lock().await;
        let mut commit = Commit::begin_locked(self, &mut connection, lock, now).await?;
        let update = sqlx::query(
            "UPDATE site SET api_key_since = NULL, api_key_expires = NULL WHERE name = $1 AND api_key_since IS NOT NULL",
        );
        if commit.run(update.bind(lock.site().as_str())).await? > 0 {
            commit.audit(Fact::of_site(lock.site(), "api-key-cleared", json!({}))).await?;
        }
        commit.done().await
    }
}
