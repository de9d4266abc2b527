//! Why a pair was not taken over.

use time::OffsetDateTime;

use crate::{
    clock::rfc3339,
    credential::{CredentialId, State},
    inventory, secrets, session, verify,
    x509::{self, Fingerprint, Validity},
};

/// Why a pair was not taken over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The key file does not hold a key we can keep.
    #[error("the private key cannot be imported")]
    Key(#[source] x509::Error),
    /// The certificate file does not hold the key's certificate.
    #[error("the certificate cannot be imported")]
    Certificate(#[source] x509::Error),
    /// The certificate was issued by somebody else. A robot's own is self-signed.
    #[error("the certificate of {subject:?} was issued by {issuer:?}, and a robot's certificate is self-signed")]
    NotSelfSigned {
        /// Whose it is.
        subject: String,
        /// Who issued it.
        issuer: String,
    },
    /// The certificate is not valid yet.
    #[error("the certificate is not valid before {} (now {})", rfc3339(validity.not_before), rfc3339(*now))]
    NotYetValid {
        /// When it is.
        validity: Validity,
        /// The time by this machine's clock.
        now: OffsetDateTime,
    },
    /// The certificate has ended.
    #[error("the certificate expired at {} (now {})", rfc3339(validity.not_after), rfc3339(*now))]
    Expired {
        /// When it was valid.
        validity: Validity,
        /// The time by this machine's clock.
        now: OffsetDateTime,
    },
    /// The robot has another credential.
    #[error("{active} is in use with the certificate {there}, not {given}")]
    OtherActive {
        /// What is in use.
        active: CredentialId,
        /// Its fingerprint.
        there: Fingerprint,
        /// The fingerprint of the certificate to import.
        given: Fingerprint,
    },
    /// The pair is another robot's.
    #[error("the certificate {fingerprint} is that of {other}")]
    OtherRobot {
        /// Whose it is.
        other: CredentialId,
        /// Its fingerprint.
        fingerprint: Fingerprint,
    },
    /// The appliance may have heard of a generation that is not settled.
    #[error("{pending} is {state}: the appliance may know it already")]
    UnderWay {
        /// What is under way.
        pending: CredentialId,
        /// How far it is.
        state: State,
    },
    /// The appliance did not accept the pair, or could not be asked.
    #[error("the pair could not be proven")]
    Unproven(#[source] verify::Failure),
    /// The key could not be stored, or what is stored could not be read.
    #[error("the private key could not be kept in the secret store")]
    Store(#[source] secrets::Error),
    /// The site could not be worked with.
    #[error("the site could not be worked with")]
    Session(#[from] session::Error),
    /// The inventory refused.
    #[error("the inventory could not be used")]
    Inventory(#[from] inventory::Error),
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Key(x509::Error::BadKey { .. }) => {
                "leave it where it is, and make a robot of another name with `robocred provision`".to_owned()
            }
            Self::Key(error) | Self::Certificate(error) => {
                error.hint().unwrap_or("give the files that `openssl req -x509` wrote, in PEM form").to_owned()
            }
            Self::NotSelfSigned { .. } => {
                "give the certificate that was registered for the robot; `robocred provision` makes a new one".to_owned()
            }
            Self::NotYetValid { .. } => "compare this machine's clock with the appliance's".to_owned(),
            Self::Expired { .. } => {
                "it is of no use any more: `robocred provision` makes a new credential, under another name".to_owned()
            }
            Self::OtherActive { active, .. } => format!(
                "`robocred rotate {0} --force` replaces what is in use; to keep both, import under a robot name other than {0}",
                active.robot
            ),
            Self::OtherRobot { other, .. } => {
                format!("it is looked after already: `robocred status` shows {}", other.robot)
            }
            Self::UnderWay { pending, .. } => {
                format!("run `robocred provision {}`: it carries on what was begun", pending.robot)
            }
            Self::Unproven(failure) if failure.kind == verify::Kind::Refused => {
                "the files are as they were, and nothing was kept; look whether the appliance lists a robot with this certificate"
                    .to_owned()
            }
            Self::Unproven(failure) => match &failure.hint {
                Some(hint) => format!("{hint}; then run the same import again"),
                None => "nothing is lost: run the same import again later".to_owned(),
            },
            Self::Store(error) => return error.hint(),
            Self::Session(error) => return error.hint(),
            Self::Inventory(error) => return error.hint(),
        })
    }
}
