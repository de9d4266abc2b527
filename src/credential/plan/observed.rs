//! What the decision looks at, and what it can answer.

use time::OffsetDateTime;

use crate::credential::{Delivery, Generation, Record, State};

/// What a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// A credential that works and has reached its targets; nothing more while there is one.
    Provision,
    /// Whatever was interrupted, the next generation when it is time, and the end of the overlap.
    Rotate(Urgency),
    /// What is in use reaches its targets; nothing else.
    Deliver,
    /// One generation is taken out of use now.
    Retire {
        /// Which.
        generation: Generation,
        /// Even if none remains that works.
        last: bool,
    },
}

/// How much a rotation is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// By schedule: what is due, not sooner than the floor and the back-off allow.
    Scheduled,
    /// A person named the robot: what is due or open.
    Asked,
    /// A person wants a new credential now.
    Forced,
}

/// One generation, as far as the decision needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its number.
    pub generation: Generation,
    /// Its state.
    pub state: State,
    /// How far its delivery has come.
    pub delivery: Delivery,
    /// Whether its key is in the store and belongs to its certificate.
    pub key_present: bool,
    /// Whether it is what is wanted now: type, name, role, lifetime.
    pub fits: bool,
    /// When its key was stored.
    pub keyed_at: Option<OffsetDateTime>,
    /// The end of its certificate.
    pub not_after: Option<OffsetDateTime>,
    /// How often its POST was, or was about to be, sent.
    pub tries: u32,
    /// When the last of them was committed.
    pub sent_at: Option<OffsetDateTime>,
    /// Whether it was ever in use.
    pub promoted: bool,
    /// Before when a failed delivery is not tried again by schedule.
    pub deliver_after: Option<OffsetDateTime>,
    /// From when on it may be retired, once previous.
    pub retire_after: Option<OffsetDateTime>,
}

impl Standing {
    /// What the decision needs of `record`.
    #[must_use]
    pub fn of(record: &Record, key_present: bool, fits: bool) -> Self {
        Self {
            generation: record.id.generation,
            state: record.state,
            delivery: record.delivery,
            key_present,
            fits,
            keyed_at: record.keyed_at,
            not_after: record.certificate.as_ref().map(|certificate| certificate.validity().not_after),
            tries: record.attempt.as_ref().map_or(0, |attempt| attempt.tries),
            sent_at: record.attempt.as_ref().map(|attempt| attempt.since),
            promoted: record.promoted_at.is_some(),
            deliver_after: record.deliver_after,
            retire_after: record.retire_after,
        }
    }

    /// A generation of which only the row exists.
    pub(super) fn planned(generation: Generation) -> Self {
        Self {
            generation,
            state: State::Planned,
            delivery: Delivery::Open,
            key_present: false,
            fits: true,
            keyed_at: None,
            not_after: None,
            tries: 0,
            sent_at: None,
            promoted: false,
            deliver_after: None,
            retire_after: None,
        }
    }

    /// Whether it can be logged in with at `now`, as far as is known here.
    #[must_use]
    pub fn is_usable(&self, now: OffsetDateTime) -> bool {
        self.state == State::Active
            && self.key_present
            && self.not_after.is_some_and(|end| now.truncate_to_second() <= end)
    }
}

/// What the appliance said to a certificate that may or may not be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeAnswer {
    /// Refused, as an unregistered certificate is.
    Refused,
    /// No answer that tells: down, cut, overloaded.
    Unreachable,
    /// It answers an unregistered certificate in the same way.
    Indiscriminate,
}

/// The probes sent in this run for the pending generation's last POST.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Probes {
    /// What the last one brought; `None` before the first. An accepted probe
    /// is recorded at once, so it never stands here.
    pub last: Option<ProbeAnswer>,
    /// The POST was answered "name taken" after an earlier one had no answer.
    pub name_taken: bool,
}

/// Everything the decision looks at.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Observed {
    /// The current time.
    pub now: OffsetDateTime,
    /// The time by the appliance's clock, once it was asked in this run.
    pub theirs: Option<OffsetDateTime>,
    /// What the run is for.
    pub aim: Aim,
    /// Every generation of the robot that is not at its end.
    pub standings: Vec<Standing>,
    /// The highest generation ever used.
    pub highest: Option<Generation>,
    /// Something that only a person can lift.
    pub hindrance: Option<Need>,
    /// When the active generation is to be re-issued.
    pub due_at: Option<OffsetDateTime>,
    /// Whether enough time has passed since the last promotion to re-issue by schedule.
    pub past_floor: bool,
    /// Whether what has to be read once with the active generation was read.
    pub ingested: bool,
    /// Whether a registrar (a support token, an admin robot) is at hand and not refused.
    pub registrar: bool,
    /// A generation was planned or promoted in this run.
    pub renewed: bool,
    /// What failed in this run and is not tried again in it.
    pub spent: Vec<Step>,
    /// The probes of this run.
    pub probes: Probes,
    /// A registered generation was refused in this run, long after its POST, or has ended by both clocks.
    pub proof_refused: bool,
    /// When this run stops waiting for an answer in doubt.
    pub patience_ends: OffsetDateTime,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write the row that names the generation and the slot of its key.
    Plan(Generation),
    /// Make key and certificate, store the key, read it back.
    Make(Generation),
    /// Send the POST (the first time, or again).
    Register(Generation),
    /// Ask, at this time, whether the pending certificate is accepted.
    Probe(Generation, OffsetDateTime),
    /// Prove it from stored state in a fresh connection and promote it.
    Prove(Generation),
    /// Bring it to its targets.
    Deliver(Generation),
    /// Take it out of use: off the appliance, its files and its key destroyed.
    Retire(Generation),
    /// Abandon it and list its name for a person.
    GiveUp(Generation),
    /// Nothing before this time.
    Wait(OffsetDateTime),
    /// Nothing without a person.
    NeedsPerson(Need),
    /// Nothing to do.
    Done,
}

/// What only a person can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Need {
    /// A support token.
    Token,
    /// A decision about a site that was frozen.
    Frozen,
    /// A look at an appliance that accepts any certificate.
    ControlAccepted,
    /// Clocks that agree: ours and the appliance's are more than a day apart.
    Clock,
}

impl Step {
    /// The word of `--dry-run`; `None` for a step that is not an action.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Make(_) => Some("make"),
            Self::Register(_) => Some("register"),
            Self::Probe(..) => Some("probe"),
            Self::Prove(_) => Some("prove"),
            Self::Deliver(_) => Some("deliver"),
            Self::Retire(_) => Some("retire"),
            Self::GiveUp(_) => Some("give-up"),
            Self::Plan(_) | Self::Wait(_) | Self::NeedsPerson(_) | Self::Done => None,
        }
    }

    /// Whether something is done, not waited for.
    #[must_use]
    pub fn is_action(self) -> bool {
        !matches!(self, Self::Wait(_) | Self::NeedsPerson(_) | Self::Done)
    }
}
