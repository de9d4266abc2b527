//! Why a robot could not be brought to where it is wanted.

use time::OffsetDateTime;

use crate::{
    appliance::{self, NotDone},
    credential::{CredentialId, RegisteredName, State, plan::Need},
    export, hook, inventory, secrets, session,
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
        /// Whether it is passed over: the next number has another name.
        next: bool,
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
        /// Whether it is passed over: the next number has another name.
        next: bool,
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
    /// An import of the robot was begun and not finished.
    #[error("an import of {robot} was begun and is not finished")]
    ImportOpen {
        /// The robot.
        robot: RobotId,
    },
    /// The files could not be written.
    #[error("the credential works, and its files could not be written")]
    Deliver(#[source] export::Error),
    /// The stored support token is none.
    #[error("the stored support token cannot be used")]
    StoredToken(#[source] appliance::TokenError),
    /// The credential in use is refused by the appliance before its end.
    #[error("the appliance refuses {id}, which has not ended: nothing is changed without a person")]
    Refused {
        /// Which credential.
        id: CredentialId,
        /// What to do.
        hint: String,
    },
    /// Nothing would be left to log in with.
    #[error("{id} is the only credential that works")]
    OnlyWorking {
        /// Which credential.
        id: CredentialId,
    },
    /// There is no such generation.
    #[error("there is no {id}")]
    NoGeneration {
        /// Which credential was asked for.
        id: CredentialId,
    },
    /// The generation is still on its way.
    #[error("{id} is {state}: it was never in use")]
    NotInUse {
        /// Which credential.
        id: CredentialId,
        /// Where it stands.
        state: State,
    },
    /// The removal certainly did not happen.
    #[error("the robot {name} was not removed")]
    NotRemoved {
        /// Its name.
        name: RegisteredName,
        /// Why.
        #[source]
        reason: NotDone,
    },
    /// There is no generation to return to.
    #[error("{robot} has no previous generation to return to")]
    NothingPrevious {
        /// The robot.
        robot: RobotId,
    },
    /// The generation to return to does not work any more. Nothing was changed.
    #[error("{id} is not accepted any more")]
    NotAccepted {
        /// Which credential.
        id: CredentialId,
        /// Why.
        #[source]
        failure: Box<verify::Failure>,
    },
    /// The credential works, and the hook that hands it on failed.
    #[error("the credential works, and the hook that hands it on failed")]
    Hook(#[source] hook::Error),
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
            Self::NameTaken { next: true, .. } | Self::NameOurs { next: true, .. } => {
                "run the same command again: it takes the next number"
            }
            Self::NameTaken { name, .. } => {
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
            Self::NeedsPerson { need: Need::Token, robot } => {
                return Some(format!(
                    "ask the vendor's support for a token, then run the same command with --token-file or --token-stdin, or store it with `robocred token set {}`",
                    robot.site
                ));
            }
            Self::NeedsPerson { need: Need::Frozen, .. } => "run `robocred status` to see why",
            Self::NeedsPerson { need: Need::ControlAccepted, .. } => {
                "a registration cannot be proven there; ask who changed the appliance's client certificate settings"
            }
            Self::NeedsPerson { need: Need::Clock, .. } => {
                "set both clocks by one time server, then run the same command again; nothing was changed"
            }
            Self::Hook(error) => return Some(error.hint()),
            Self::StoredToken(_) => "store it again with `robocred token set SITE`",
            Self::Refused { hint, .. } => return Some(hint.clone()),
            Self::OnlyWorking { id } => {
                return Some(format!(
                    "`robocred rotate {} --force` makes another one first; `robocred retire {} --generation {} --last` retires it all the same",
                    id.robot, id.robot, id.generation
                ));
            }
            Self::NoGeneration { .. } | Self::NothingPrevious { .. } => {
                "`robocred status` lists the generations there are"
            }
            Self::NotInUse { id, .. } => {
                return Some(format!("`robocred rotate {}` brings it to its end first", id.robot));
            }
            Self::NotRemoved { reason, .. } => {
                return reason
                    .hint()
                    .or_else(|| Some("run the same command again later; nothing was destroyed".to_owned()));
            }
            Self::NotAccepted { id, failure } => {
                return failure
                    .hint
                    .clone()
                    .or_else(|| Some(format!("`robocred rotate {} --force` makes a new credential", id.robot)));
            }
            Self::ImportOpen { .. } => {
                "run the same `robocred import` again, or `robocred provision` to make a new credential instead"
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
