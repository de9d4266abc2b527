//! Why a robot could not be brought to where it is wanted.

use time::OffsetDateTime;

use crate::{
    appliance::{self, NotDone},
    credential::{RegisteredName, plan::Need},
    export, inventory, secrets, session,
    site::RobotId,
    verify, x509,
};

/// Why a run ended early. What was done so far is durable; the same call carries on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The site could not be worked with.
    #[error("the site could not be worked with")]
    Session(#[from] session::Error),
    /// The inventory refused.
    #[error("the inventory could not be used")]
    Inventory(#[from] inventory::Error),
    /// The key could not be stored, or not be read back.
    #[error("the private key could not be kept in the secret store")]
    Store(#[source] secrets::Error),
    /// Key or certificate could not be made.
    #[error("the key or its certificate could not be made")]
    Make(#[source] x509::Error),
    /// The registration certainly did not happen.
    #[error("the robot {name} was not registered")]
    NotRegistered {
        /// The name it would have had.
        name: RegisteredName,
        /// Why.
        #[source]
        reason: NotDone,
    },
    /// The appliance lists a robot of that name that is not ours. Nothing was sent.
    #[error("the appliance already has a robot {name} that is not ours")]
    NameTaken {
        /// The name.
        name: RegisteredName,
    },
    /// By the appliance's clock the certificate is not valid now. Nothing was sent.
    #[error("by the appliance's clock, {theirs}, the new certificate is not valid (here it is {ours})")]
    Clock {
        /// The appliance's time.
        theirs: OffsetDateTime,
        /// Ours.
        ours: OffsetDateTime,
    },
    /// The appliance lists a robot of that name, and it is another one of ours. Nothing was sent.
    #[error("the name {name} is in use on the appliance by our own {robot}")]
    NameOurs {
        /// The name.
        name: RegisteredName,
        /// Whose it is.
        robot: RobotId,
    },
    /// The appliance could not be asked before the registration. Nothing was sent.
    #[error("the appliance could not be asked before the registration")]
    Unasked(#[source] appliance::Error),
    /// The appliance says that it registered another certificate.
    #[error("the appliance says that it registered another certificate for {name}: sent {sent}, it names {replied}")]
    OtherCertificate {
        /// The name.
        name: RegisteredName,
        /// Fingerprint of what was sent.
        sent: String,
        /// Fingerprint of what it names.
        replied: String,
    },
    /// Whether the registration took effect is not known yet.
    #[error("whether the registration took effect is not known{}", doubt.as_ref().map(|doubt| format!(" ({doubt})")).unwrap_or_default())]
    Unsettled {
        /// When to ask again at the earliest.
        until: OffsetDateTime,
        /// What the last try ended in.
        doubt: Option<String>,
    },
    /// The new credential is registered and could not be proven.
    #[error("the new credential could not be proven")]
    Proof(#[source] verify::Failure),
    /// Nothing is possible without a person.
    #[error("needs {}", need_words(*need))]
    NeedsPerson {
        /// The robot.
        robot: RobotId,
        /// What is needed.
        need: Need,
    },
    /// The files could not be written.
    #[error("the credential works, and its files could not be written")]
    Deliver(#[source] export::Error),
    /// There is no credential to work with.
    #[error("the robot has no active credential")]
    NothingActive,
}

fn need_words(need: Need) -> &'static str {
    match need {
        Need::Token => "a support token",
        Need::Frozen => "a decision: its site is frozen",
        Need::ControlAccepted => "a look at its appliance, which accepts any certificate",
        Need::Clock => "a look at the clocks: this machine's and the appliance's are more than a day apart",
    }
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Session(error) => return error.hint(),
            Self::Inventory(error) => return error.hint(),
            Self::Store(error) => return error.hint(),
            Self::Deliver(error) => return Some(error.hint()),
            Self::Proof(failure) => return failure.hint.clone(),
            Self::Make(_) => return None,
            Self::Unasked(error) => {
                return error.hint().or_else(|| Some("nothing was sent; run the same command again later".to_owned()));
            }
            Self::NotRegistered { reason, .. } => return not_registered(reason),
            Self::NameTaken { name } => {
                return Some(format!(
                    "choose another name with --registered-name, or remove {name} on the appliance if nobody uses it"
                ));
            }
            Self::Clock { .. } => "set both clocks by one time server, then run the same command again",
            Self::NameOurs { .. } => "choose another name with --registered-name",
            Self::OtherCertificate { name, .. } => {
                return Some(format!("look at {name} in the appliance's list of robots before anything else is done"));
            }
            Self::Unsettled { .. } => {
                "nothing is lost: run the same command again in ten minutes; it asks first and sends nothing twice without need"
            }
            Self::NeedsPerson { need: Need::Token, .. } => {
                "ask the vendor's support for a token, then run the same command with --token-file or --token-stdin"
            }
            Self::NeedsPerson { need: Need::Frozen, .. } => "run `robocred status` to see why",
            Self::NeedsPerson { need: Need::ControlAccepted, .. } => {
                "a registration cannot be proven there; ask who changed the appliance's client certificate settings"
            }
            Self::NeedsPerson { need: Need::Clock, .. } => {
                "set both clocks by one time server, then run the same command again; nothing was changed"
            }
            Self::NothingActive => "run `robocred provision` for this robot",
        };
        Some(hint.to_owned())
    }
}

/// What the reason itself advises, or what follows from it for a registration.
fn not_registered(reason: &NotDone) -> Option<String> {
    reason.hint().or_else(|| {
        let hint = match reason {
            NotDone::Rejected { .. } => {
                "the appliance may want another key type (--key-type) or certificate profile (--profile openssl)"
            }
            NotDone::NothingSent(_) | NotDone::Busy { .. } => {
                "nothing was registered; run the same command again later"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    })
}
