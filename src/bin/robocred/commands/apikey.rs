//! `apikey`: a site's API key in the secret store, for reading it without a robot's credential.

use std::io::{self, Write};

use clap::{Args, Subcommand};
use robocred::{
    credential::{Expiry, KeptKey},
    inventory::Inventory,
    site::SiteName,
    status::api_keys,
};
use time::OffsetDateTime;

use super::{
    block_on,
    kept::{self, Kept},
};
use crate::{
    Outcome,
    cli::KeySource,
    error::CommandError,
    invocation::Invocation,
    opened::{Opened, now},
    output::{
        clean,
        json::{self, Time},
    },
};

/// Keep a site's API key in the secret store, to read it without a robot; never shows it
///
/// For an appliance that has no robots endpoint any more. A person makes the key there, in Local Settings under
/// System Configuration, API Keys. A read-only user's is enough; it is shown once and lasts at most 365 days.
#[derive(Debug, Args)]
pub struct ApiKeyArgs {
    #[command(subcommand)]
    pub command: ApiKeyCommand,
}

/// What to do with it.
#[derive(Debug, Subcommand)]
pub enum ApiKeyCommand {
    /// Keep an API key, from a file, standard input or a hidden prompt, in place of the one before
    Set {
        /// The site
        #[arg(value_name = "SITE")]
        site: SiteName,
        #[command(flatten)]
        key: KeySource,
        /// When the key ends, as the appliance said: 2027-01-31, or with a time of day 2027-01-31T12:00:00Z
        #[arg(long, value_name = "DATE")]
        expires: Option<Expiry>,
        /// Print what would be done and do nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Forget the API key; it still opens the appliance until a person removes it there
    Clear {
        /// The site
        #[arg(value_name = "SITE")]
        site: SiteName,
        /// Print what would be done and do nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Say whether there is one, since when, and until when
    Status {
        /// The site
        #[arg(value_name = "SITE")]
        site: SiteName,
    },
}

pub fn run(invocation: &Invocation, args: &ApiKeyArgs) -> Outcome {
    let opened = Opened::load(invocation)?;
    match &args.command {
        ApiKeyCommand::Set { site, key, expires, dry_run } => {
            opened.site(site)?;
            let expires = expires.map(end).transpose()?;
            if *dry_run {
                return kept::plan(invocation, site, "keep an API key in the secret store");
            }
            // Read before anything is made: a key that cannot be used changes nothing.
            let key = key.given_or_asked(invocation, site)?;
            block_on(async {
                let kept = Kept::ApiKey { expires };
                let inventory = kept::set(invocation, &opened, site, kept, key.expose_key()).await?;
                tell(invocation, Some(&inventory), site).await
            })?
        }
        ApiKeyCommand::Clear { dry_run: true, site } => {
            kept::plan(invocation, site, "remove the API key from the secret store")
        }
        ApiKeyCommand::Clear { site, dry_run: false } => block_on(async {
            let inventory = kept::clear(invocation, &opened, site, Kept::ApiKey { expires: None }).await?;
            tell(invocation, inventory.as_ref(), site).await
        })?,
        ApiKeyCommand::Status { site } => {
            block_on(async { tell(invocation, opened.inventory_if_any().await?.as_ref(), site).await })?
        }
    }
}

fn end(expires: Expiry) -> Result<OffsetDateTime, CommandError> {
    expires.end(now()).map_err(|reason| {
        CommandError::usage("--expires cannot be the end of this key")
            .because(&reason)
            .hint("give the date that the appliance shows beside the key, or leave the flag out")
    })
}

async fn tell(invocation: &Invocation, inventory: Option<&Inventory>, site: &SiteName) -> Outcome {
    let kept = kept::row(inventory, site).await?.and_then(|row| row.api_key);
    let body = json::Kept {
        site: site.to_string(),
        present: kept.is_some(),
        since: kept.map(|kept| Time(kept.since)),
        expires: kept.and_then(|kept| kept.expires).map(Time),
    };
    invocation.output.result(&body, |body, out| show(body, now(), out))?;
    Ok(None)
}

/// Shows one line.
fn show(body: &json::Kept, at: OffsetDateTime, out: &mut dyn Write) -> io::Result<()> {
    let site = clean::line(&body.site);
    let Some(since) = body.since else { return writeln!(out, "{site}: no API key") };
    let kept = KeptKey { since: since.0, expires: body.expires.map(|expires| expires.0) };
    writeln!(out, "{site}: an API key is kept since {since}; it {}", api_keys::ends(&kept, at))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::output::shown;

    #[test]
    fn one_line() {
        let check = |since: Option<OffsetDateTime>, expires: Option<OffsetDateTime>, line: &str| {
            let (present, since, expires) = (since.is_some(), since.map(Time), expires.map(Time));
            let body = json::Kept { site: "plant-a".into(), present, since, expires };
            assert_eq!(shown(|out| show(&body, datetime!(2026-01-11 0:00 UTC), out)), line);
        };
        let since = datetime!(2026-01-01 0:00 UTC);
        check(None, None, "plant-a: no API key\n");
        check(
            Some(since),
            Some(datetime!(2026-02-01 0:00 UTC)),
            "plant-a: an API key is kept since 2026-01-01T00:00:00Z; it ends on 2026-02-01 (in 21 days)\n",
        );
        check(
            Some(since),
            Some(datetime!(2026-01-10 0:00 UTC)),
            "plant-a: an API key is kept since 2026-01-01T00:00:00Z; it has ended on 2026-01-10\n",
        );
        check(
            Some(since),
            None,
            "plant-a: an API key is kept since 2026-01-01T00:00:00Z; it ends on 2027-01-01 at the latest (in 355 days)\n",
        );
    }
}
