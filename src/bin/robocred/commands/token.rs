//! `token`: the support token in the secret store.

use std::io::{self, Write};

use clap::{Args, Subcommand};
use robocred::{appliance::SupportToken, credential::SecretRef, inventory::Inventory, secrets, site::SiteName};

use super::block_on;
use crate::{
    Outcome,
    cli::{LockWait, TokenSource},
    invocation::Invocation,
    opened::{Opened, now},
    output::{
        clean,
        json::{Plan, RobotPlan, Time, Token},
    },
};

/// Keep a site's support token in the secret store; never shows it
#[derive(Debug, Args)]
pub struct TokenArgs {
    #[command(subcommand)]
    pub command: TokenCommand,
}

/// What to do with it.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Keep a support token, from a file, standard input or a hidden prompt
    Set {
        /// The site
        #[arg(value_name = "SITE")]
        site: SiteName,
        #[command(flatten)]
        token: TokenSource,
        /// Print what would be done and do nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Forget the support token
    Clear {
        /// The site
        #[arg(value_name = "SITE")]
        site: SiteName,
        /// Print what would be done and do nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Say whether there is one, and since when
    Status {
        /// The site
        #[arg(value_name = "SITE")]
        site: SiteName,
    },
}

pub fn run(invocation: &Invocation, args: &TokenArgs) -> Outcome {
    let opened = Opened::load(invocation)?;
    match &args.command {
        TokenCommand::Set { site, token, dry_run } => {
            opened.site(site)?;
            if *dry_run {
                return plan(invocation, site, "keep a support token in the secret store");
            }
            // Read before anything is made: a token that cannot be used changes nothing.
            let token = token.given_or_asked(invocation, site)?;
            block_on(set(invocation, &opened, site, &token))?
        }
        TokenCommand::Clear { dry_run: true, site } => {
            plan(invocation, site, "remove the support token from the secret store")
        }
        TokenCommand::Clear { site, dry_run: false } => block_on(clear(invocation, &opened, site))?,
        TokenCommand::Status { site } => block_on(status(invocation, &opened, site))?,
    }
}

fn plan(invocation: &Invocation, site: &SiteName, step: &str) -> Outcome {
    let plan = Plan { plan: vec![RobotPlan { robot: site.to_string(), steps: vec![step.to_owned()] }] };
    invocation.output.result(&plan, |_, out| writeln!(out, "{site}: would {step}"))?;
    Ok(None)
}

async fn set(invocation: &Invocation, opened: &Opened, site: &SiteName, token: &SupportToken) -> Outcome {
    let recorded = opened.inventory_if_any().await?.and_then(|inventory| inventory.store_kind());
    // A store that cannot be used is known before anything is made.
    let secrets = opened.recorded_secrets(invocation, recorded).await?;
    let inventory = opened.inventory().await?;
    let lock = opened.lock(invocation, &inventory, site, LockWait::default()).await?;
    opened.record_store(&inventory, &secrets).await?;
    let slot = SecretRef::token(inventory.store_id(), site);
    // The row first: what the store holds is always named by one.
    inventory.set_token(&lock, now()).await?;
    if let Err(error) = secrets.put(&slot, &format!("Support token for {site}"), token.expose_token()).await {
        inventory.clear_token(&lock, now()).await?;
        return Err(error.into());
    }
    tell(invocation, Some(&inventory), site).await
}

async fn clear(invocation: &Invocation, opened: &Opened, site: &SiteName) -> Outcome {
    // Where nothing was ever kept, nothing is made in order to forget it.
    if opened.inventory_if_any().await?.is_none() {
        return tell(invocation, None, site).await;
    }
    let inventory = opened.inventory().await?;
    let lock = opened.lock(invocation, &inventory, site, LockWait::default()).await?;
    if inventory.store_kind().is_some() {
        let secrets = opened.secrets(invocation, &inventory).await?;
        match secrets.remove(&SecretRef::token(inventory.store_id(), site)).await {
            Ok(()) | Err(secrets::Error::NotFound { .. }) => (),
            Err(error) => return Err(error.into()),
        }
    }
    inventory.clear_token(&lock, now()).await?;
    tell(invocation, Some(&inventory), site).await
}

async fn status(invocation: &Invocation, opened: &Opened, site: &SiteName) -> Outcome {
    tell(invocation, opened.inventory_if_any().await?.as_ref(), site).await
}

/// Says what the inventory says; the secret store is not asked.
async fn tell(invocation: &Invocation, inventory: Option<&Inventory>, site: &SiteName) -> Outcome {
    let row = match inventory {
        Some(inventory) => inventory.site(site).await?,
        None => None,
    };
    let since = row.and_then(|row| row.token_since).map(Time);
    let body = Token { site: site.to_string(), present: since.is_some(), since, expires: None };
    invocation.output.result(&body, show)?;
    Ok(None)
}

/// Shows one line.
pub fn show(body: &Token, out: &mut dyn Write) -> io::Result<()> {
    write!(
        out,
        "{}: {}",
        clean::line(&body.site),
        if body.present { "a support token is kept" } else { "no support token" }
    )?;
    if let Some(since) = body.since {
        write!(out, " since {since}")?;
    }
    if let Some(expires) = body.expires {
        write!(out, ", expires {expires}")?;
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::output::{json::Time, shown};

    #[test]
    fn one_line() {
        let kept = Token {
            site: "plant-a".into(),
            present: true,
            since: Some(Time(datetime!(2026-01-01 0:00 UTC))),
            expires: None,
        };
        assert_eq!(shown(|out| show(&kept, out)), "plant-a: a support token is kept since 2026-01-01T00:00:00Z\n");
        let none = Token { present: false, since: None, ..kept };
        assert_eq!(shown(|out| show(&none, out)), "plant-a: no support token\n");
    }
}
