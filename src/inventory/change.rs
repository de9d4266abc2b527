//! What can happen to a generation, and what that makes of its record. Pure;
//! making it durable is the inventory's.

use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::{
    credential::{Attempt, Control, Delivery, Event, Record, State, state::Impossible},
    x509::Certificate,
};

/// An event of a credential's life with what is to be kept of it.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "made, written down and dropped: never held in numbers")]
pub enum Change {
    /// The key is stored and was read back; this is its certificate.
    KeyStored {
        /// The certificate, public.
        certificate: Certificate,
    },
    /// The POST is about to be sent: the intent.
    SendBegun {
        /// What the appliance said to the certificate before.
        control: Control,
    },
    /// The POST certainly had no effect. That try is not counted.
    NotDone {
        /// Why, without response bytes.
        reason: String,
    },
    /// The appliance accepts the certificate.
    Accepted {
        /// Its own id for the robot, where it gave one.
        remote_id: Option<String>,
    },
    /// Proven: it becomes active, and the active one previous, at once.
    Promoted {
        /// The checks that it passed, for the audit.
        passed: Vec<&'static str>,
    },
    /// Made elsewhere; its key is stored and it is proven: as promoted.
    Imported {
        /// The certificate, public.
        certificate: Certificate,
        /// The checks that it passed, for the audit.
        passed: Vec<&'static str>,
    },
    /// A previous one becomes active again, and the active one previous, at once.
    RolledBack {
        /// The checks that it passed, for the audit.
        passed: Vec<&'static str>,
    },
    /// Its removal is about to begin.
    RetireBegun,
    /// Gone from the appliance, key destroyed.
    RetireDone,
    /// Its removal is called off.
    Spared {
        /// Why.
        reason: String,
    },
    /// A leftover is gone from the appliance after all.
    Removed {
        /// How that is known.
        reason: String,
    },
    /// Only a person can remove it: a leftover.
    RetireImpossible {
        /// Why, for the list of leftovers.
        reason: String,
    },
    /// Given up before it was in use.
    GivenUp {
        /// Why.
        reason: String,
    },
    /// Given up after a POST: a leftover.
    LeftBehind {
        /// Why, for the list of leftovers.
        reason: String,
    },
}

impl Change {
    /// The event it is in the transition table.
    #[must_use]
    pub fn event(&self) -> Event {
        match self {
            Self::KeyStored { .. } => Event::KeyStored,
            Self::SendBegun { .. } => Event::SendBegun,
            Self::NotDone { .. } => Event::NotDone,
            Self::Accepted { .. } => Event::Accepted,
            Self::Promoted { .. } => Event::Promoted,
            Self::Imported { .. } => Event::Imported,
            Self::RolledBack { .. } => Event::RolledBack,
            Self::RetireBegun => Event::RetireBegun,
            Self::RetireDone => Event::RetireDone,
            Self::Spared { .. } => Event::Spared,
            Self::Removed { .. } => Event::Removed,
            Self::RetireImpossible { .. } => Event::RetireImpossible,
            Self::GivenUp { .. } => Event::GivenUp,
            Self::LeftBehind { .. } => Event::LeftBehind,
        }
    }

    pub(super) fn reason(&self) -> Option<&str> {
        match self {
            Self::NotDone { reason }
            | Self::Spared { reason }
            | Self::RetireImpossible { reason }
            | Self::Removed { reason }
            | Self::GivenUp { reason }
            | Self::LeftBehind { reason } => Some(reason),
            _ => None,
        }
    }
}

/// The record after the change; pure.
pub(super) fn after(mut record: Record, change: &Change, now: OffsetDateTime) -> Result<Record, Impossible> {
    record.state = record.state.after(change.event())?;
    if let Change::KeyStored { certificate } | Change::Imported { certificate, .. } = change {
        record.certificate = Some(certificate.clone());
        record.keyed_at = Some(now);
    }
    match change {
        Change::SendBegun { control } => {
            let before = record.attempt.take();
            record.attempt = Some(Attempt {
                tries: before.as_ref().map_or(0, |attempt| attempt.tries) + 1,
                since: now,
                // Asked before the first POST; after it the answer would mean something else.
                control: before.map_or(*control, |attempt| attempt.control),
            });
        }
        // A try that had no effect is not counted. An earlier one may still have had.
        Change::NotDone { .. } => {
            record.attempt = record.attempt.filter(|attempt| attempt.tries > 1);
            if let Some(attempt) = &mut record.attempt {
                attempt.tries -= 1;
            }
        }
        Change::Accepted { remote_id } => record.remote_id.clone_from(remote_id),
        Change::Promoted { .. } | Change::Imported { .. } | Change::RolledBack { .. } => {
            record.promoted_at = Some(now);
            record.delivery = Delivery::Open;
            record.deliver_tries = 0;
            record.deliver_after = None;
            record.retire_after = None;
        }
        // Whoever called it off has to say when again.
        Change::Spared { .. } => record.retire_after = None,
        Change::KeyStored { .. }
        | Change::RetireBegun
        | Change::RetireDone
        | Change::Removed { .. }
        | Change::RetireImpossible { .. }
        | Change::GivenUp { .. }
        | Change::LeftBehind { .. } => {}
    }
    Ok(record)
}

/// The active record once another takes its place; how long it stays is open
/// until that one is delivered.
pub(super) fn superseded(mut record: Record) -> Result<Record, Impossible> {
    record.state = record.state.after(Event::Superseded)?;
    record.retire_after = None;
    Ok(record)
}

/// What the audit says of a change, beside its name.
pub(super) fn detail(record: &Record, from: State, reason: Option<&str>) -> Value {
    let mut detail = json!({
        "from": from.as_str(),
        "to": record.state.as_str(),
        "registered_name": record.registered_name.as_str(),
    });
    if let Some(certificate) = &record.certificate {
        detail["fingerprint_sha256"] = certificate.fingerprint().to_string().into();
    }
    if let Some(reason) = reason {
        detail["reason"] = reason.into();
    }
    detail
}
