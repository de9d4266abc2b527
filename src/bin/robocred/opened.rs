//! What a command opens before it works: where things are, the configuration,
//! the inventory and the secret store, each only when it is needed.

use std::{path::PathBuf, sync::OnceLock};

use robocred::{
    clock::{Clock as _, SystemClock},
    config::{Config, Environment, Paths},
    inventory::{Inventory, SiteLock},
    secrets::{self, Choice, Secrets},
    session,
    site::{RobotId, Site, SiteName, StoreKind},
};
use time::OffsetDateTime;

use crate::{
    cli::{Selector, StoreChoice},
    error::{CommandError, Kind},
    invocation::Invocation,
};

/// Where things are, and what is configured.
#[derive(Debug)]
pub struct Opened {
    /// The places in use.
    pub paths: Paths,
    /// The configuration as it was when this run began.
    pub config: Config,
    choice: Choice,
    notice: OnceLock<String>,
}

impl Opened {
    /// Finds the places and reads the configuration.
    pub fn load(invocation: &Invocation) -> Result<Self, CommandError> {
        let paths = paths(invocation)?;
        let config = Config::load(&paths)?;
        let choice = choice(invocation, Some(&config));
        Ok(Self { paths, config, choice, notice: OnceLock::new() })
    }

    /// The inventory for a command that changes things.
    pub async fn inventory(&self) -> Result<Inventory, CommandError> {
        Ok(Inventory::open(&self.paths.state_dir, &actor(), now()).await?)
    }

    /// The inventory for a command that only reads; `None` if there is none yet.
    pub async fn inventory_read_only(&self) -> Result<Option<Inventory>, CommandError> {
        Ok(Inventory::open_read_only(&self.paths.state_dir).await?)
    }

    /// The inventory for a command that may change things, if there is one
    /// already: one of an older version is brought up to date.
    pub async fn inventory_if_any(&self) -> Result<Option<Inventory>, CommandError> {
        match Inventory::open_read_only(&self.paths.state_dir).await {
            Err(robocred::inventory::Error::Older { .. }) => self.inventory().await.map(Some),
            found => Ok(found?),
        }
    }

    /// The secret store of an inventory opened for changes; the choice is
    /// recorded with the first use.
    pub async fn secrets(&self, invocation: &Invocation, inventory: &Inventory) -> Result<Secrets, CommandError> {
        let secrets = self.recorded_secrets(invocation, inventory.store_kind()).await?;
        self.record_store(inventory, &secrets).await?;
        Ok(secrets)
    }

    /// Records the store with its first use. Where another process has chosen meanwhile, its choice stands.
    pub async fn record_store(&self, inventory: &Inventory, secrets: &Secrets) -> Result<(), CommandError> {
        let wanted = secrets.kind();
        let recorded = match inventory.store_kind() {
            Some(recorded) => recorded,
            None => inventory.record_store_kind(wanted, now()).await?,
        };
        if recorded == wanted { Ok(()) } else { Err(secrets::Error::OtherStore { recorded, wanted }.into()) }
    }

    /// The secret store that is recorded; one that was never chosen is tried.
    pub async fn recorded_secrets(
        &self,
        invocation: &Invocation,
        recorded: Option<StoreKind>,
    ) -> Result<Secrets, CommandError> {
        let opened =
            secrets::open(self.choice, recorded, self.paths.system, &session::seal_places(&self.paths, &self.config))
                .await?;
        if let Some(notice) = opened.notice {
            invocation.output.note(&notice);
            let _ = self.notice.set(notice);
        }
        Ok(opened.secrets)
    }

    /// What the choice of the store had to say, for the JSON document.
    pub fn notice(&self) -> Option<&str> {
        self.notice.get().map(String::as_str)
    }

    /// The right to change a site.
    pub async fn lock(&self, inventory: &Inventory, site: &SiteName) -> Result<SiteLock, CommandError> {
        Ok(inventory.lock_site(site, None, now()).await?)
    }

    /// The configured site of that name.
    pub fn site(&self, name: &SiteName) -> Result<&Site, CommandError> {
        self.config.site(name).ok_or_else(|| self.unknown(&format!("the site {name}")))
    }

    /// The robots that a person named; all of them if nobody was named.
    pub fn select(&self, selectors: &[Selector]) -> Result<Vec<RobotId>, CommandError> {
        let all = || {
            self.config.sites.iter().flat_map(|site| {
                site.robots.iter().map(|robot| RobotId { site: site.name.clone(), robot: robot.name.clone() })
            })
        };
        if selectors.is_empty() {
            return Ok(all().collect());
        }
        let mut selected = Vec::new();
        for selector in selectors {
            let before = selected.len();
            selected.extend(all().filter(|id| match selector {
                Selector::Robot(robot) => id == robot,
                Selector::Site(site) => &id.site == site,
            }));
            if selected.len() == before {
                return Err(match selector {
                    Selector::Robot(robot) => self.unknown(&format!("the robot {robot}")),
                    Selector::Site(site) => self.unknown(&format!("a robot of the site {site}")),
                });
            }
        }
        let mut seen = std::collections::HashSet::new();
        selected.retain(|id| seen.insert(id.clone()));
        Ok(selected)
    }

    fn unknown(&self, what: &str) -> CommandError {
        CommandError::new(
            Kind::Config,
            format!("the configuration {} does not hold {what}", self.config.path.display()),
        )
        .hint("`robocred status` lists what is configured, `robocred provision SITE/ROBOT --url URL` adds to it")
    }
}

/// Where things are looked for.
pub fn paths(invocation: &Invocation) -> Result<Paths, CommandError> {
    let environment = Environment::capture();
    Ok(Paths::resolve(invocation.config.as_deref(), invocation.state_dir.as_deref(), &environment)?)
}

/// The secret store that was asked for: by flag, else in the configuration.
pub fn choice(invocation: &Invocation, config: Option<&Config>) -> Choice {
    match (invocation.store, config.and_then(|config| config.store)) {
        (Some(StoreChoice::Keyring), _) | (None, Some(StoreKind::Keyring)) => Choice::Keyring,
        (Some(StoreChoice::Sealed), _) | (None, Some(StoreKind::Sealed)) => Choice::Sealed,
        _ => Choice::Auto,
    }
}

/// The current time.
pub fn now() -> OffsetDateTime {
    SystemClock.now()
}

/// An absolute path, for the configuration and for what is printed.
pub fn absolute(path: &std::path::Path) -> Result<PathBuf, CommandError> {
    std::path::absolute(path)
        .map_err(|error| CommandError::new(Kind::Failed, format!("cannot resolve {}", path.display())).because(&error))
}

/// Who the audit names: the user this process runs as.
fn actor() -> String {
    #[cfg(unix)]
    {
        format!("uid {}", rustix::process::geteuid().as_raw())
    }
    #[cfg(not(unix))]
    {
        "local user".to_owned()
    }
}
