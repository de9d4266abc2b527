//! Everything needed to act on one site, opened once: the only joiner of
//! adapters.
//!
//! Owns the ways from a configured site to an opened one: which judge a
//! connection gets, how a key comes from the store into a TLS identity, what a
//! failed connection means. Leaves out what is done with them (`verify`,
//! `ingest`, `lifecycle`). Promises that no request and no client certificate
//! leaves before the site's trust policy was applied, and that first contact
//! sends nothing at all.

use std::{error::Error as StdError, sync::Arc, time::Duration};

use time::OffsetDateTime;

use crate::{
    appliance::{self, ApiKey, ConnectError, Connection, Deadlines, ReadApi, RobotsApi, Target, TokenError},
    clock::{Clock, rfc3339},
    config::{Config, Paths},
    credential::{Record, SecretRef, plan::POST_TAKES},
    inventory::{self, Inventory},
    secrets::{self, SealPlaces, Secrets},
    site::{Endpoint, Proxy, Site, SiteName, TrustPolicy},
    trust::{self, Identity, Judge, Presented, Refusal},
    x509::{self, Certificate, KeyAlgorithm, PrivateKey, Profile, Validity},
};

/// How long the registration call may take: short enough that the procedure
/// after a lost answer ends within its 40 s.
const REGISTRATION: Duration = POST_TAKES.unsigned_abs();

/// Why a site could not be worked with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nobody has decided yet how this server is judged.
    #[error("no pin, CA file or system roots are configured for {site}")]
    NoTrust {
        /// The site.
        site: String,
    },
    /// The server is not the one the site trusts. Nothing was sent.
    #[error("the server of {site} is not trusted")]
    Untrusted {
        /// The site.
        site: String,
        /// Why, with both sides.
        #[source]
        refusal: Refusal,
    },
    /// The policy itself cannot be applied.
    #[error("the trust policy of {site} cannot be applied")]
    Policy {
        /// The site.
        site: String,
        /// Why.
        source: trust::Error,
    },
    /// There is no connection. Nothing was sent.
    #[error("the appliance of {site} cannot be connected to")]
    Unreachable {
        /// The site.
        site: String,
        /// Why.
        source: ConnectError,
    },
    /// The private key is not where the inventory says.
    #[error("the private key of {credential} is not in the secret store")]
    KeyMissing {
        /// Which credential.
        credential: String,
    },
    /// The API key is not where the inventory says: the run that was to keep it was cut off.
    #[error("the API key of {site} is not in the secret store")]
    ApiKeyMissing {
        /// The site.
        site: String,
    },
    /// What is stored is no API key.
    #[error("the API key that is stored for {site} cannot be used")]
    ApiKeyUnfit {
        /// The site.
        site: String,
        /// Why.
        source: TokenError,
    },
    /// The secret store refused.
    #[error("the secret store could not be used")]
    Store(#[source] secrets::Error),
    /// What is stored does not belong together.
    #[error("what is stored for {credential} does not belong together")]
    Pair {
        /// Which credential.
        credential: String,
        /// What differs.
        source: x509::Error,
    },
    /// The crypto library refused.
    #[error("a key or certificate could not be made")]
    X509(#[from] x509::Error),
    /// The inventory refused.
    #[error("the inventory could not be used")]
    Inventory(#[from] inventory::Error),
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoTrust { site } => Some(format!(
                "run `robocred trust {site} --show`, compare the key with the appliance's own screen, then `robocred trust {site} --pin …`"
            )),
            Self::Untrusted { site, refusal } => refusal.hint().map(|hint| hint.replace("SITE", site)),
            Self::Policy { source, .. } => source.hint(),
            Self::Unreachable { source, .. } => source.hint(),
            Self::KeyMissing { .. } => {
                Some("run `robocred provision` for this robot: it makes a new credential; no row is lost".to_owned())
            }
            Self::ApiKeyMissing { site } | Self::ApiKeyUnfit { site, .. } => {
                Some(format!("keep it again with `robocred apikey set {site}`"))
            }
            Self::Store(source) => source.hint(),
            Self::Pair { .. } => Some("something else wrote to the secret store; run `robocred doctor`".to_owned()),
            Self::X509(_) => None,
            Self::Inventory(source) => source.hint(),
        }
    }
}

/// A private key with its certificate, re-read from where they rest.
#[derive(Debug)]
pub struct Loaded {
    /// The key, wiped when dropped.
    pub key: PrivateKey,
    /// Its certificate.
    pub certificate: Certificate,
}

impl Loaded {
    /// What TLS logs in with.
    pub fn identity(&self, site: &Site) -> Result<Identity, Error> {
        Identity::new(&self.key, &self.certificate)
            .map_err(|source| Error::Policy { site: site.name.to_string(), source })
    }

    /// A pair that is registered nowhere, to ask whether this appliance refuses one.
    pub fn throwaway(now: OffsetDateTime) -> Result<Self, Error> {
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256)?;
        let certificate =
            Certificate::self_signed(&key, "robocred-control", Validity::of_days(now, 1)?, Profile::Client)?;
        Ok(Self { key, certificate })
    }
}

/// One opened site.
#[derive(Clone, Copy)]
pub struct Session<'a> {
    site: &'a Site,
    policy: &'a TrustPolicy,
    inventory: &'a Inventory,
    secrets: &'a Secrets,
    clock: &'a dyn Clock,
    deadlines: Deadlines,
}

impl std::fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("site", &self.site.name).finish_non_exhaustive()
    }
}

impl<'a> Session<'a> {
    /// Opens a site whose trust is decided; touches nothing.
    ///
    /// # Errors
    /// [`Error::NoTrust`] for a site nobody has decided about.
    pub fn open(
        site: &'a Site,
        inventory: &'a Inventory,
        secrets: &'a Secrets,
        clock: &'a dyn Clock,
    ) -> Result<Self, Error> {
        let policy = site.trust.as_ref().ok_or_else(|| Error::NoTrust { site: site.name.to_string() })?;
        Ok(Self { site, policy, inventory, secrets, clock, deadlines: Deadlines::default() })
    }

    /// With other bounds on the time that a call may take.
    #[must_use]
    pub fn within(self, deadlines: Deadlines) -> Self {
        Self { deadlines, ..self }
    }

    /// The site.
    #[must_use]
    pub fn site(&self) -> &'a Site {
        self.site
    }

    /// The inventory.
    #[must_use]
    pub fn inventory(&self) -> &'a Inventory {
        self.inventory
    }

    /// The secret store.
    #[must_use]
    pub fn secrets(&self) -> &'a Secrets {
        self.secrets
    }

    /// The current time.
    #[must_use]
    pub fn now(&self) -> OffsetDateTime {
        self.clock.now()
    }

    /// The pair of a recorded credential, the key re-read from the store and
    /// compared with the certificate.
    pub async fn load(&self, record: &Record) -> Result<Loaded, Error> {
        let missing = || Error::KeyMissing { credential: record.id.to_string() };
        let certificate = record.certificate.clone().ok_or_else(missing)?;
        let key = self.load_key(&record.secret).await?.ok_or_else(missing)?;
        x509::key_belongs_to(&key, &certificate)
            .map_err(|source| Error::Pair { credential: record.id.to_string(), source })?;
        Ok(Loaded { key, certificate })
    }

    /// The key in a slot; `None` if nothing is there.
    pub async fn load_key(&self, slot: &SecretRef) -> Result<Option<PrivateKey>, Error> {
        key_in(self.secrets, slot).await
    }

    /// A judge of this site's server, showing `identity` to it if it is the right one.
    pub fn judge(&self, identity: Option<&Identity>) -> Result<Judge, Error> {
        trust::judge(self.policy, identity).map_err(|source| Error::Policy { site: self.site.name.to_string(), source })
    }

    /// Reading as `identity`. Opens no connection yet.
    pub fn read_api(&self, identity: &Identity) -> Result<ReadApi, Error> {
        Ok(self.reads(&self.judge(Some(identity))?))
    }

    /// Reading with an API key instead of a client certificate. Opens no connection yet.
    pub fn read_api_with_key(&self, key: impl Into<Arc<ApiKey>>) -> Result<ReadApi, Error> {
        Ok(self.reads(&self.judge(None)?).with_api_key(key))
    }

    /// The site's API key; `None` if none is kept. One whose end has come, as far as is known, is handed out all the
    /// same: whether it still opens anything is the appliance's to say.
    pub async fn api_key(&self) -> Result<Option<ApiKey>, Error> {
        let name = &self.site.name;
        let row = self.inventory.site(name).await?;
        let Some(kept) = row.and_then(|row| row.api_key) else { return Ok(None) };
        if kept.is_over(self.now()) {
            tracing::warn!(site = %name, ended = %rfc3339(kept.ends()), "the API key should have ended");
        }
        match self.secrets.read(&SecretRef::api_key(self.inventory.store_id(), name)).await {
            Ok(bytes) => {
                ApiKey::parse(bytes).map(Some).map_err(|source| Error::ApiKeyUnfit { site: name.to_string(), source })
            }
            Err(secrets::Error::NotFound { .. }) => Err(Error::ApiKeyMissing { site: name.to_string() }),
            Err(error) => Err(Error::Store(error)),
        }
    }

    fn reads(&self, judge: &Judge) -> ReadApi {
        ReadApi::new(self.target(), judge.config(), self.deadlines).relayed_to(self.site.em.clone())
    }

    /// Changing the appliance, with a client certificate or without. Opens no connection yet.
    pub fn robots_api(&self, identity: Option<&Identity>) -> Result<RobotsApi, Error> {
        let deadlines = Deadlines { call: REGISTRATION, ..self.deadlines };
        Ok(RobotsApi::new(self.target(), self.judge(identity)?.config(), deadlines))
    }

    /// One connection, judged; sends no byte of HTTP.
    pub async fn connect(&self, judge: &Judge) -> Result<Connection, ConnectError> {
        let connection = appliance::connect(&self.target(), &judge.config(), &self.deadlines).await?;
        judge.record(connection.certificates());
        Ok(connection)
    }

    /// What a failed connection means for this site.
    #[must_use]
    pub fn explain(&self, error: ConnectError) -> Error {
        match refusal_in(&error) {
            Some(refusal) => Error::Untrusted { site: self.site.name.to_string(), refusal },
            None => Error::Unreachable { site: self.site.name.to_string(), source: error },
        }
    }

    fn target(&self) -> Target {
        target(self.site)
    }
}

/// The trust refusal inside a failed connection, if that is why it failed.
#[must_use]
pub fn refusal_in(error: &(dyn StdError + 'static)) -> Option<Refusal> {
    trust::refusal(error)
}

/// The key in a slot of the store; `None` if nothing is there.
///
/// # Errors
/// [`Error::Store`], or [`Error::Pair`] if what is there is no key.
pub async fn key_in(secrets: &Secrets, slot: &SecretRef) -> Result<Option<PrivateKey>, Error> {
    match secrets.read(slot).await {
        Ok(der) => PrivateKey::from_pkcs8_der(der)
            .map(Some)
            .map_err(|source| Error::Pair { credential: slot.to_string(), source }),
        Err(secrets::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(Error::Store(error)),
    }
}

/// What a server shows, for the first contact: the handshake is ended before
/// our certificate or a byte of HTTP could leave.
///
/// # Errors
/// [`Error::Unreachable`] if it shows nothing.
pub async fn observe(site: &SiteName, endpoint: &Endpoint, proxy: Option<&Proxy>) -> Result<Presented, Error> {
    let judge = trust::observer();
    let target = Target { endpoint: endpoint.clone(), proxy: proxy.cloned() };
    let ended = appliance::connect(&target, &judge.config(), &Deadlines::default()).await;
    match (judge.presented(), ended) {
        (Some(presented), _) => Ok(presented),
        (None, Err(source)) => Err(Error::Unreachable { site: site.to_string(), source }),
        (None, Ok(_)) => Err(Error::NoTrust { site: site.to_string() }),
    }
}

/// Where the sealing key and the sealed files of a configuration are.
#[must_use]
pub fn seal_places(paths: &Paths, config: &Config) -> SealPlaces {
    SealPlaces {
        credential: paths.seal.credential.clone(),
        key_file: config.seal_key_file.clone(),
        passphrase_file: config.seal_passphrase_file.clone(),
        default_key_file: paths.seal.default_key_file.clone(),
        secrets_dir: paths.state_dir.join("secrets"),
    }
}

fn target(site: &Site) -> Target {
    Target { endpoint: site.endpoint.clone(), proxy: site.proxy.clone() }
}
