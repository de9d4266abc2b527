//! What a site keeps in the secret store beside its robots' keys: a support token, an API key.
//!
//! Owns the order in which secret and row come and go, so that no moment leaves a secret that no row names, nor a row
//! that says more than the secret holds.

use robocred::{
    credential::SecretRef,
    inventory::{self, Inventory, SiteLock, SiteRow},
    secrets,
    site::SiteName,
};
use time::OffsetDateTime;

use crate::{
    Outcome,
    cli::LockWait,
    error::CommandError,
    invocation::Invocation,
    opened::{Opened, now},
    output::json::{Plan, RobotPlan},
};

/// One of them.
#[derive(Clone, Copy, Debug)]
pub enum Kept {
    /// The support token.
    Token,
    /// The API key, and when it ends, as far as a person said.
    ApiKey { expires: Option<OffsetDateTime> },
}

impl Kept {
    fn slot(self, store_id: &str, site: &SiteName) -> SecretRef {
        match self {
            Self::Token => SecretRef::token(store_id, site),
            Self::ApiKey { .. } => SecretRef::api_key(store_id, site),
        }
    }

    /// As a person finds it in the keyring's own window.
    fn label(self, site: &SiteName) -> String {
        match self {
            Self::Token => format!("Support token for {site}"),
            Self::ApiKey { .. } => format!("API key for {site}"),
        }
    }

    fn is_named(self, row: &SiteRow) -> bool {
        match self {
            Self::Token => row.token_since.is_some(),
            Self::ApiKey { .. } => row.api_key.is_some(),
        }
    }

    async fn record(self, inventory: &Inventory, lock: &SiteLock) -> Result<(), inventory::Error> {
        match self {
            Self::Token => inventory.set_token(lock, now()).await,
            Self::ApiKey { expires } => inventory.set_api_key(lock, expires, now()).await,
        }
    }

    async fn forget(self, inventory: &Inventory, lock: &SiteLock) -> Result<(), inventory::Error> {
        match self {
            Self::Token => inventory.clear_token(lock, now()).await,
            Self::ApiKey { .. } => inventory.clear_api_key(lock, now()).await,
        }
    }
}

/// Tells what would be done.
pub fn plan(invocation: &Invocation, site: &SiteName, step: &str) -> Outcome {
    let plan = Plan { plan: vec![RobotPlan { robot: site.to_string(), steps: vec![step.to_owned()] }] };
    invocation.output.result(&plan, |_, out| writeln!(out, "{site}: would {step}"))?;
    Ok(None)
}

/// Keeps `secret`, in place of any other of its kind.
pub async fn set(
    invocation: &Invocation,
    opened: &Opened,
    site: &SiteName,
    kept: Kept,
    secret: &[u8],
) -> Result<Inventory, CommandError> {
    let recorded = opened.inventory_if_any().await?.and_then(|inventory| inventory.store_kind());
    // A store that cannot be used is known before anything is made.
    let secrets = opened.recorded_secrets(invocation, recorded).await?;
    let inventory = opened.inventory().await?;
    let lock = opened.lock(invocation, &inventory, site, LockWait::default()).await?;
    opened.record_store(&inventory, &secrets).await?;
    let slot = kept.slot(inventory.store_id(), site);
    let replaces = inventory.site(site).await?.is_some_and(|row| kept.is_named(&row));
    // What the store holds is always named by a row: the first one's comes before it. A later one's row is there
    // already, and tells of it only once it is kept.
    if !replaces {
        kept.record(&inventory, &lock).await?;
    }
    match secrets.put(&slot, &kept.label(site), secret).await {
        Ok(()) if replaces => kept.record(&inventory, &lock).await?,
        Ok(()) => {}
        Err(error) => {
            if !replaces {
                kept.forget(&inventory, &lock).await?;
            }
            return Err(error.into());
        }
    }
    drop(lock);
    Ok(inventory)
}

/// Removes the secret, then the row; the inventory, if there is one.
pub async fn clear(
    invocation: &Invocation,
    opened: &Opened,
    site: &SiteName,
    kept: Kept,
) -> Result<Option<Inventory>, CommandError> {
    // Where nothing was ever kept, nothing is made in order to forget it.
    if opened.inventory_if_any().await?.is_none() {
        return Ok(None);
    }
    let inventory = opened.inventory().await?;
    let lock = opened.lock(invocation, &inventory, site, LockWait::default()).await?;
    if inventory.store_kind().is_some() {
        let secrets = opened.secrets(invocation, &inventory).await?;
        match secrets.remove(&kept.slot(inventory.store_id(), site)).await {
            Ok(()) | Err(secrets::Error::NotFound { .. }) => (),
            Err(error) => return Err(error.into()),
        }
    }
    kept.forget(&inventory, &lock).await?;
    drop(lock);
    Ok(Some(inventory))
}

/// What the inventory knows of a site; the secret store is not asked.
pub async fn row(inventory: Option<&Inventory>, site: &SiteName) -> Result<Option<SiteRow>, CommandError> {
    Ok(match inventory {
        Some(inventory) => inventory.site(site).await?,
        None => None,
    })
}
