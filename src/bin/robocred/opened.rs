//! What a command opens before it works: where things are, the configuration,
//! the inventory and the secret store, each only when it is needed.

use std::{path::PathBuf, sync::OnceLock};

use robocred::{
    anchor::{self, Standing},
    clock::{Clock as _, SystemClock},
    config::{self, Config, Environment, Paths},
    credential::{Record, State},
    inventory::{self, AttentionCode, Inventory, SiteLock},
    secrets::{self, Choice, Secrets},
    session,
    site::{RobotId, Site, SiteName, StoreKind},
};
use time::OffsetDateTime;

use crate::{
    cli::{LockWait, Selector, StoreChoice},
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

    /// Refuses to begin an inventory beside the system's, unless the place was named.
    pub fn is_the_one_meant(&self) -> Result<(), CommandError> {
        let named = matches!(self.paths.state_origin, config::Origin::Flag(_) | config::Origin::Variable(_));
        match &self.paths.other_system_inventory {
            Some(other) if !named => Err(CommandError::new(
                Kind::Config,
                format!(
                    "the system's inventory is in {}, and {} is in use",
                    other.display(),
                    self.paths.state_dir.display()
                ),
            )
            .hint("say which one is meant with --state-dir")),
            _ => Ok(()),
        }
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
            Err(inventory::Error::Older { .. }) => self.inventory().await.map(Some),
            found => Ok(found?),
        }
    }

    /// The inventory for a command that writes down what it saw; `None` if there is none yet.
    pub async fn inventory_if_there(&self) -> Result<Option<Inventory>, CommandError> {
        if Inventory::is_there(&self.paths.state_dir)? { self.inventory().await.map(Some) } else { Ok(None) }
    }

    /// The inventory for a command that changes a robot which must be there already.
    pub async fn holding(&self, id: &RobotId) -> Result<Inventory, CommandError> {
        let none = || {
            CommandError::new(Kind::Failed, format!("{id} has no credential yet"))
                .hint(format!("run `robocred provision {id}` first"))
        };
        self.inventory_if_any().await?.ok_or_else(none)?;
        let inventory = self.inventory().await?;
        if inventory.records(id).await?.is_empty() { Err(none()) } else { Ok(inventory) }
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

    /// The right to change a site. Where another run holds it, and waiting was
    /// asked for, says who is waited for.
    pub async fn lock(
        &self,
        invocation: &Invocation,
        inventory: &Inventory,
        site: &SiteName,
        wait: LockWait,
    ) -> Result<SiteLock, CommandError> {
        match (inventory.lock_site(site, None, now()).await, wait.longest) {
            (Err(held @ inventory::Error::Held { .. }), Some(longest)) => {
                invocation.output.note(&format!("{held}; waiting for it"));
                Ok(inventory.lock_site(site, Some(longest), now()).await?)
            }
            (locked, _) => Ok(locked?),
        }
    }

    /// How the state directory stands to what is remembered of it elsewhere.
    pub async fn anchored(&self, invocation: &Invocation, inventory: &Inventory) -> Result<Standing, CommandError> {
        // Without a store nothing was ever done that could be remembered.
        let Some(kind) = inventory.store_kind() else { return Ok(Standing::Missing) };
        let secrets = self.recorded_secrets(invocation, Some(kind)).await?;
        Ok(anchor::standing(inventory, &secrets, self.paths.machine.as_deref()).await?)
    }

    /// Refuses to go on where the state directory is an old or a copied one, and freezes the locked site: asked
    /// before anything is changed. An anchor that cannot be read stops nothing.
    pub async fn gate(
        &self,
        invocation: &Invocation,
        inventory: &Inventory,
        secrets: &Secrets,
        lock: &SiteLock,
    ) -> Result<(), CommandError> {
        let standing = match anchor::standing(inventory, secrets, self.paths.machine.as_deref()).await {
            Ok(standing) => standing,
            Err(anchor::Error::Inventory(error)) => return Err(error.into()),
            Err(error) => {
                self.warn_of_anchor(invocation, error);
                return Ok(());
            }
        };
        if !standing.needs_person() {
            return Ok(());
        }
        anchor::freeze(inventory, lock, &standing, now()).await?;
        let message = format!("{standing}; nothing is changed until a person says which one lives");
        Err(CommandError::new(Kind::Person, message).hint(anchor::HINT))
    }

    /// Remembers the state of the inventory outside of it, after a run and before a first registration. That it
    /// cannot be remembered is only told.
    pub async fn keep_anchor(&self, invocation: &Invocation, inventory: &Inventory, secrets: &Secrets) {
        if let Err(error) = anchor::keep(inventory, secrets, self.paths.machine.as_deref()).await {
            self.warn_of_anchor(invocation, error);
        }
    }

    fn warn_of_anchor(&self, invocation: &Invocation, error: anchor::Error) {
        let why = CommandError::from(error).for_programs().message;
        let warning = format!("a restored or copied state directory would not be noticed: {why}");
        // Once is enough: what cannot be read cannot be written either.
        if self.notice.get() != Some(&warning) {
            invocation.output.note(&warning);
        }
        let _ = self.notice.set(warning);
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

    /// The robots with a credential that the inventory holds and the configuration does not, and how many more it
    /// holds that are configured.
    pub async fn unconfigured(&self, inventory: &Inventory) -> Result<(Vec<RobotId>, usize), CommandError> {
        let records = inventory.all_records().await?;
        let mut held: Vec<RobotId> = records.into_iter().filter(is_live).map(|record| record.id.robot).collect();
        held.dedup();
        let all = held.len();
        held.retain(|id| self.config.robot(id).is_none());
        let configured = all - held.len();
        Ok((held, configured))
    }

    /// What a person should know who named no robot and so means all of them: how many are not configured.
    pub async fn warn_of_unconfigured(
        &self,
        invocation: &Invocation,
        inventory: &Inventory,
    ) -> Result<Option<String>, CommandError> {
        let (lost, _) = self.unconfigured(inventory).await?;
        if lost.is_empty() {
            return Ok(None);
        }
        let warning = self.not_configured(&lost);
        invocation.output.note(&warning);
        Ok(Some(warning))
    }

    /// How many robots the inventory holds that are not configured, in words.
    pub fn not_configured(&self, lost: &[RobotId]) -> String {
        let path = self.config.path.display();
        match lost {
            [one] => format!("the inventory holds {one}, which is not in the configuration {path}"),
            several => {
                format!("the inventory holds {} robots that are not in the configuration {path}", several.len())
            }
        }
    }

    /// Raises for the robots with a credential that the secret store cannot be used. A site that somebody else is
    /// changing right now is left alone: the next look says it again.
    pub async fn raise_store_trouble(&self, inventory: &Inventory, robots: &[RobotId], error: &CommandError) {
        if error.kind() != Kind::Store {
            return;
        }
        let told = error.for_programs();
        let records = inventory.all_records().await.unwrap_or_default();
        for id in robots.iter().filter(|id| records.iter().any(|record| record.id.robot == **id && is_live(record))) {
            let Ok(lock) = inventory.lock_site(&id.site, None, now()).await else { continue };
            let (code, hint) = (AttentionCode::StoreUnavailable, told.hint.as_deref());
            if let Err(error) = inventory.raise(&lock, id, code, &told.message, hint, now()).await {
                tracing::info!(robot = %id, %error, "not raised");
            }
        }
    }

    fn unknown(&self, what: &str) -> CommandError {
        CommandError::new(
            Kind::Config,
            format!("the configuration {} does not hold {what}", self.config.path.display()),
        )
        .hint("`robocred status` lists what is configured, `robocred provision SITE/ROBOT --url URL` adds to it")
    }
}

/// Whether a generation can log in, as far as is recorded.
fn is_live(record: &Record) -> bool {
    record.state == State::Active || record.state.is_previous()
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
pub fn actor() -> String {
    #[cfg(unix)]
    {
        format!("uid {}", rustix::process::geteuid().as_raw())
    }
    #[cfg(not(unix))]
    {
        "local user".to_owned()
    }
}
