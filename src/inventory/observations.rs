//! What was last seen of an appliance, and what we keep for its site. Nothing
//! here grants trust.

use serde_json::json;
use time::{Duration, OffsetDateTime};

use super::{
    Error, Inventory, SiteLock, api_key,
    audit::Fact,
    records::{control_word, read_control},
    sql::{self, Commit, Reader},
};
use crate::{
    credential::{Control, KeptKey},
    site::{ApiChoice, SiteName},
    x509::SpkiPin,
};

const WIDE: &str = "wide";
const NARROW: &str = "narrow";

/// What one visit showed; `None` leaves what was known before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// The public key the server presented.
    pub server_pin: Option<SpkiPin>,
    /// What the server said the time was.
    pub server_time: Option<OffsetDateTime>,
    /// The server's clock minus ours, in whole milliseconds.
    pub clock_skew: Option<Duration>,
    /// The request that tells a registered certificate from another, in the words of `appliance`.
    pub probe: Option<String>,
    /// Whether robots can be listed.
    pub can_list: Option<bool>,
    /// Whether a removal may be asked for; `false` once one did not take the robot that it named.
    pub can_remove: Option<bool>,
    /// Whether an admin robot may register others.
    pub admin_registers: Option<bool>,
    /// The outcome of a control: a request with an unregistered certificate.
    pub control: Option<Control>,
}

/// How an appliance's data was last read, to be tried first next time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The interface that answered; never [`ApiChoice::Auto`].
    pub api: ApiChoice,
    /// Whether it knew every field of the wide selection.
    pub wide: bool,
    /// When that was found out.
    pub at: OffsetDateTime,
}

/// A site as the inventory knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteRow {
    /// The site.
    pub name: SiteName,
    /// What was last seen, each part from the last visit that showed it.
    pub seen: Observation,
    /// When the public key was last seen.
    pub server_pin_at: Option<OffsetDateTime>,
    /// When the control was last made.
    pub control_at: Option<OffsetDateTime>,
    /// Since when a support token rests in the secret store.
    pub token_since: Option<OffsetDateTime>,
    /// The API key that rests there, if one does.
    pub api_key: Option<KeptKey>,
}

impl SiteRow {
    fn read(row: Reader<'_>) -> Result<Self, Error> {
        Ok(Self {
            name: row.word("name")?,
            seen: Observation {
                server_pin: row.maybe_word("server_pin")?,
                server_time: row.maybe_time("server_time")?,
                clock_skew: row.maybe_int("clock_skew_ms")?.map(Duration::milliseconds),
                probe: row.maybe_text("probe")?.map(str::to_owned),
                can_list: row.maybe_flag("can_list")?,
                can_remove: row.maybe_flag("can_remove")?,
                admin_registers: row.maybe_flag("admin_registers")?,
                control: read_control(row)?,
            },
            server_pin_at: row.maybe_time("server_pin_at")?,
            control_at: row.maybe_time("control_at")?,
            token_since: row.maybe_time("token_since")?,
            api_key: api_key::read(row)?,
        })
    }
}

impl Inventory {
    /// The site, if anything is known of it.
    pub async fn site(&self, name: &SiteName) -> Result<Option<SiteRow>, Error> {
        self.find(sqlx::query("SELECT * FROM site WHERE name = $1").bind(name.as_str()), SiteRow::read).await
    }

    /// Every site, ordered by name.
    pub async fn sites(&self) -> Result<Vec<SiteRow>, Error> {
        self.collect(sqlx::query("SELECT * FROM site ORDER BY name"), SiteRow::read).await
    }

    /// Keeps what a visit showed. Needs no lock and makes no audit entry:
    /// nothing is decided by it alone.
    pub async fn observe(&self, site: &SiteName, seen: &Observation, now: OffsetDateTime) -> Result<(), Error> {
        let mut connection = self.connection.lock().await;
        let mut commit = Commit::begin(self, &mut connection, now).await?;
        commit
            .run(sqlx::query("INSERT INTO site (name) VALUES ($1) ON CONFLICT DO NOTHING").bind(site.as_str()))
            .await?;
        let at = sql::time_text(now);
        let skew = seen.clock_skew.map(|skew| i64::try_from(skew.whole_milliseconds()).unwrap_or(i64::MAX));
        let update = sqlx::query(
            "UPDATE site SET
                 server_pin = coalesce($2, server_pin), server_pin_at = coalesce($3, server_pin_at),
                 server_time = coalesce($4, server_time), clock_skew_ms = coalesce($5, clock_skew_ms),
                 probe = coalesce($6, probe), can_list = coalesce($7, can_list),
                 can_remove = coalesce($8, can_remove), control = coalesce($9, control),
                 control_at = coalesce($10, control_at),
                 admin_registers = coalesce($11, admin_registers)
             WHERE name = $1",
        );
        let update = update
            .bind(site.as_str())
            .bind(seen.server_pin.map(|pin| pin.to_string()))
            .bind(seen.server_pin.map(|_| at.as_str()))
            .bind(seen.server_time.map(sql::time_text))
            .bind(skew)
            .bind(seen.probe.as_deref())
            .bind(seen.can_list)
            .bind(seen.can_remove)
            .bind(seen.control.map(control_word))
            .bind(seen.control.map(|_| at.as_str()))
            .bind(seen.admin_registers);
        commit.run(update).await?;
        commit.done().await
    }

    /// How the site was last read; `None` if it never was. It is a guess, so
    /// what cannot be understood counts as nothing.
    pub async fn reading(&self, site: &SiteName) -> Result<Option<Reading>, Error> {
        let select = sqlx::query("SELECT read_api, read_width, read_at FROM site WHERE name = $1");
        let read = |row: Reader<'_>| {
            let understood = || {
                Some(Reading {
                    api: row.word("read_api").ok().filter(|api| *api != ApiChoice::Auto)?,
                    wide: match row.text("read_width").ok()? {
                        WIDE => true,
                        NARROW => false,
                        _ => return None,
                    },
                    at: row.time("read_at").ok()?,
                })
            };
            Ok(understood())
        };
        Ok(self.find(select.bind(site.as_str()), read).await?.flatten())
    }

    /// Keeps how a site was read, in place of what was known before. Needs no
    /// lock and makes no audit entry: it is a guess for the next time.
    pub async fn record_reading(&self, site: &SiteName, reading: Reading) -> Result<(), Error> {
        let Reading { api, wide, at } = reading;
        let mut connection = self.connection.lock().await;
        let mut commit = Commit::begin(self, &mut connection, at).await?;
        let upsert = sqlx::query(
            "INSERT INTO site (name, read_api, read_width, read_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (name) DO UPDATE SET read_api = $2, read_width = $3, read_at = $4",
        );
        let width = if wide { WIDE } else { NARROW };
        let upsert = upsert.bind(site.as_str()).bind(api.as_str()).bind(width).bind(sql::time_text(at));
        commit.run(upsert).await?;
        commit.done().await
    }

    /// Records that a support token rests in the secret store.
    pub async fn set_token(&self, lock: &SiteLock, now: OffsetDateTime) -> Result<(), Error> {
        self.write_token(lock, Some(now), now).await
    }

    /// Records that no support token rests there any more.
    pub async fn clear_token(&self, lock: &SiteLock, now: OffsetDateTime) -> Result<(), Error> {
        self.write_token(lock, None, now).await
    }

    async fn write_token(
        &self,
        lock: &SiteLock,
        since: Option<OffsetDateTime>,
        now: OffsetDateTime,
    ) -> Result<(), Error> {
        let mut connection = self.connection.lock().await;
        let mut commit = Commit::begin_locked(self, &mut connection, lock, now).await?;
        let update = sqlx::query("UPDATE site SET token_since = $2 WHERE name = $1 AND token_since IS NOT $2");
        let update = update.bind(lock.site().as_str()).bind(since.map(sql::time_text));
        if commit.run(update).await? > 0 {
            let action = if since.is_some() { "token-set" } else { "token-cleared" };
            commit.audit(Fact::of_site(lock.site(), action, json!({}))).await?;
        }
        commit.done().await
    }
}
