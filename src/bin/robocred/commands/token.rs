//! `token`: the support token in the secret store.

use std::io::{self, Write};

use clap::{Args, Subcommand};
use robocred::{inventory::Inventory, site::SiteName};

use super::{
    block_on,
    kept::{self, Kept},
};
use crate::{
    Outcome,
    cli::TokenSource,
    invocation::Invocation,
    opened::Opened,
    output::{
        clean,
        json::{self, Time},
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
                return kept::plan(invocation, site, "keep a support token in the secret store");
            }
            // Read before anything is made: a token that cannot be used changes nothing.
            let token = token.given_or_asked(invocation, site)?;
            block_on(async {
                let inventory = kept::set(invocation, &opened, site, Kept::Token, token.expose_token()).await?;
                tell(invocation, Some(&inventory), site).await
            })?
        }
        TokenCommand::Clear { dry_run: true, site } => {
            kept::plan(invocation, site, "remove the support token from the secret store")
        }
        TokenCommand::Clear { site, dry_run: false } => block_on(async {
            let inventory = kept::clear(invocation, &opened, site, Kept::Token).await?;
            tell(invocation, inventory.as_ref(), site).await
        })?,
        TokenCommand::Status { site } => {
            block_on(async { tell(invocation, opened.inventory_if_any().await?.as_ref(), site).await })?
        }
    }
}

async fn tell(invocation: &Invocation, inventory: Option<&Inventory>, site: &SiteName) -> Outcome {
    let since = kept::row(inventory, site).await?.and_then(|row| row.token_since).map(Time);
    let body = json::Kept { site: site.to_string(), present: since.is_some(), since, expires: None };
    invocation.output.result(&body, show)?;
    Ok(None)
}

/// Shows one line.
pub fn show(body: &json::Kept, out: &mut dyn Write) -> io::Result<()> {
    write!(
        out,
        "{}: {}",
        clean::line(&body.site),
        if body.present { "a support token is kept" } else { "no support token" }
    )?;
    if let Some(since) = body.since {
        write!(out, " since {since}")?;
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::output::shown;

    #[test]
    fn one_line() {
        let kept = json::Kept {
            site: "plant-a".into(),
            present: true,
            since: Some(Time(datetime!(2026-01-01 0:00 UTC))),
            expires: None,
        };
        assert_eq!(shown(|out| show(&kept, out)), "plant-a: a support token is kept since 2026-01-01T00:00:00Z\n");
        let none = json::Kept { present: false, since: None, ..kept };
        assert_eq!(shown(|out| show(&none, out)), "plant-a: no support token\n");
    }
}
