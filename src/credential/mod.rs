//! The values that flow from a configured robot to a proven credential, and
//! the life of a credential.
//!
//! Owns the names of a credential, the record of one generation, the states
//! and the one decision of what comes next. Leaves out how anything is done
//! (the adapters) and by whom (`lifecycle`). Pure: no I/O, no clock.

pub mod api_key;
pub mod plan;
pub mod state;

use std::{fmt, num::NonZeroU32, str::FromStr};

use time::OffsetDateTime;

use crate::{
    site::{RobotId, RobotName, Role},
    x509::{Certificate, KeyAlgorithm, Profile},
};
pub use api_key::{Expiry, ExpiryError, KeptKey};
pub use state::{Event, State};

/// The number of a credential among those of its robot: 1, 2, 3, …, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Generation(NonZeroU32);

impl Generation {
    /// The first generation.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// The generation with this number; `None` for 0.
    #[must_use]
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// The number.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0.get()
    }

    /// The one after this.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One credential: which robot's, and which generation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CredentialId {
    /// The robot.
    pub robot: RobotId,
    /// The generation.
    pub generation: Generation,
}

impl fmt::Display for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} generation {}", self.robot, self.generation)
    }
}

/// The name under which a credential is registered on the appliance:
/// 1 to 64 of `[A-Za-z0-9._-]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegisteredName(String);

impl RegisteredName {
    /// Generation 1 registers under `base` itself, generation N under `BASE-gN`.
    #[must_use]
    pub fn of(base: &RobotName, generation: Generation) -> Self {
        match generation {
            Generation::FIRST => Self(base.as_str().to_owned()),
            later => Self(format!("{base}-g{later}")),
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RegisteredName {
    type Err = crate::site::Error;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let fits =
            (1..=64).contains(&given.len()) && given.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if fits {
            Ok(Self(given.to_owned()))
        } else {
            Err(crate::site::Error::Name {
                what: "registered",
                given: given.to_owned(),
                reason: "1 to 64 of A-Z a-z 0-9 . _ - are allowed",
            })
        }
    }
}

impl fmt::Display for RegisteredName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of one secret in the secret store: `STORE-ID/SITE/ROBOT/gN` for a
/// key, `STORE-ID/SITE/token` for a support token, `STORE-ID/SITE/api-key` for an API key.
///
/// The store id keeps two state directories of one user apart in one keyring.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SecretRef(String);

impl SecretRef {
    /// The slot of a credential's private key.
    #[must_use]
    pub fn key(store_id: &str, id: &CredentialId) -> Self {
        Self(format!("{store_id}/{}/g{}", id.robot, id.generation))
    }

    /// The slot of a site's support token.
    #[must_use]
    pub fn token(store_id: &str, site: &crate::site::SiteName) -> Self {
        Self(format!("{store_id}/{site}/token"))
    }

    /// The slot of a site's API key.
    #[must_use]
    pub fn api_key(store_id: &str, site: &crate::site::SiteName) -> Self {
        Self(format!("{store_id}/{site}/api-key"))
    }

    /// The slot of a state directory's anchor, which is no secret and rests where secrets do.
    #[must_use]
    pub fn anchor(store_id: &str) -> Self {
        Self(format!("{store_id}/anchor"))
    }

    /// A slot read back from the inventory.
    #[must_use]
    pub fn from_inventory(text: String) -> Self {
        Self(text)
    }

    /// The slot as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the appliance answered to the pending certificate before it was
/// registered: the control that makes a later probe mean something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// The unregistered certificate was refused, as it should be.
    Refused,
    /// The unregistered certificate was accepted: this appliance checks nothing.
    Accepted,
    /// The question could not be asked.
    Unknown,
}

/// The intent of a registration, committed before its POST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// How many times the POST was, or is about to be, sent.
    pub tries: u32,
    /// When the last of them was committed.
    pub since: OffsetDateTime,
    /// What the appliance said to this certificate before the first of them, in the run that sent it.
    pub control: Control,
}

/// How far the delivery of an active generation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Its files, hook or first ingest are still to come.
    Open,
    /// Written, and a person has yet to confirm that the connector holds it.
    ByHand,
    /// Proven by a hook, confirmed by a person, or nothing to deliver.
    Delivered,
}

/// One generation as the inventory knows it.
#[derive(Clone, Debug)]
pub struct Record {
    /// Which credential.
    pub id: CredentialId,
    /// Where it stands.
    pub state: State,
    /// The name it has, or would have, on the appliance.
    pub registered_name: RegisteredName,
    /// The role it is, or will be, registered with.
    pub role: Role,
    /// The slot of its private key.
    pub secret: SecretRef,
    /// The type of its key.
    pub key_algorithm: KeyAlgorithm,
    /// The profile of its certificate.
    pub profile: Profile,
    /// Its certificate, from `keyed` on.
    pub certificate: Option<Certificate>,
    /// The registration under way or done, from `sending` on.
    pub attempt: Option<Attempt>,
    /// The appliance's own id for it, where it gave one.
    pub remote_id: Option<String>,
    /// When its key was stored.
    pub keyed_at: Option<OffsetDateTime>,
    /// When it became active.
    pub promoted_at: Option<OffsetDateTime>,
    /// How far its delivery has come.
    pub delivery: Delivery,
    /// How often in a row its delivery failed.
    pub deliver_tries: u32,
    /// Before when it is not tried again by schedule.
    pub deliver_after: Option<OffsetDateTime>,
    /// When it may be retired, once previous.
    pub retire_after: Option<OffsetDateTime>,
}
