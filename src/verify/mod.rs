//! Does a credential work, right now, against the appliance it is for?
//!
//! Owns the steps of a verification, the discriminating probe, and
//! [`Verified`], the proof that export and promotion ask for. Leaves out what
//! follows from a failure (`lifecycle`, the command line). Reads the secret
//! store and the network; changes nothing on the appliance. On failure every
//! step that could not be reached is reported as skipped.

pub mod doctor;
mod probe;
mod remote;

use std::fmt;

use time::OffsetDateTime;

use crate::{
    credential::{CredentialId, Record},
    session::{self, Loaded, Session},
    x509::Fingerprint,
};
pub use probe::{Asked, Verdict, ask, control};
pub(crate) use remote::chain;

/// Proof that a credential was accepted, in a fresh connection, with the key
/// as it rests in the store, by an appliance that refuses another one.
///
/// Made by [`prove`] only; never stored: after a restart it is proven again.
#[derive(Clone, Debug)]
pub struct Verified {
    id: CredentialId,
    fingerprint: Fingerprint,
    at: OffsetDateTime,
}

impl Verified {
    /// Which credential.
    #[must_use]
    pub fn id(&self) -> &CredentialId {
        &self.id
    }

    /// The fingerprint of its certificate.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// When it was proven.
    #[must_use]
    pub fn at(&self) -> OffsetDateTime {
        self.at
    }
}

/// The steps, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Name {
    /// The site's configuration is complete.
    Config,
    /// The key is in the secret store.
    Key,
    /// Key and certificate belong together.
    Pair,
    /// The certificate is valid now.
    Validity,
    /// The host name has an address.
    Resolve,
    /// The port is reached.
    Connect,
    /// TLS is spoken.
    Tls,
    /// It is the right server.
    Trust,
    /// Its clock and ours agree.
    Clock,
    /// A read with the credential is accepted.
    Read,
    /// The same read with an unregistered certificate is refused.
    Control,
    /// The role on the appliance is the wanted one.
    Role,
}

impl Name {
    /// Every step, in order.
    pub const ALL: [Self; 12] = [
        Self::Config,
        Self::Key,
        Self::Pair,
        Self::Validity,
        Self::Resolve,
        Self::Connect,
        Self::Tls,
        Self::Trust,
        Self::Clock,
        Self::Read,
        Self::Control,
        Self::Role,
    ];

    /// The word of JSON and of the terminal.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Key => "key",
            Self::Pair => "pair",
            Self::Validity => "validity",
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Trust => "trust",
            Self::Clock => "clock",
            Self::Read => "read",
            Self::Control => "control",
            Self::Role => "role",
        }
    }
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// As it should.
    Pass,
    /// It works, and somebody should look.
    Warn,
    /// It does not work.
    Fail,
    /// It was not reached, or not asked for.
    Skip,
    /// Nothing can be said.
    Unknown,
}

impl Ended {
    /// The word of JSON and of the terminal.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Skip => "skip",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One step of a verification, or one look of `doctor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Which.
    pub name: &'static str,
    /// How it ended.
    pub ended: Ended,
    /// How long it took, in whole milliseconds; `None` if it was not reached.
    pub millis: Option<u64>,
    /// What was found.
    pub detail: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// What kind of failure the first failed step is; decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The appliance refuses the credential.
    Refused,
    /// The appliance cannot be reached.
    Unreachable,
    /// The server is not trusted.
    Untrusted,
    /// The secret store cannot be used, or the key is not in it.
    Store,
    /// The appliance accepts any certificate.
    Control,
    /// The credential has expired.
    Expired,
    /// Anything else.
    Other,
}

/// What a verification found.
#[derive(Debug)]
pub struct Report {
    /// Every step of [`Name::ALL`], in that order.
    pub checks: Vec<Check>,
    /// The first failure, if any.
    pub failure: Option<Kind>,
    /// The appliance's clock minus ours, if it told.
    pub skew: Option<time::Duration>,
    /// The proof, if nothing failed and the control was refused.
    pub proof: Option<Verified>,
}

impl Report {
    /// Whether no step failed.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.failure.is_none()
    }

    /// The steps that were passed, by name.
    #[must_use]
    pub fn passed(&self) -> Vec<&'static str> {
        self.checks.iter().filter(|check| check.ended == Ended::Pass).map(|check| check.name).collect()
    }

    /// The first failed step.
    #[must_use]
    pub fn failed(&self) -> Option<&Check> {
        self.checks.iter().find(|check| check.ended == Ended::Fail)
    }
}

/// When the control is asked, which costs the appliance a refused login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlUse {
    /// At most once a day per site.
    Daily,
    /// Now.
    Now,
    /// It was refused for this very certificate before its registration.
    AlreadyRefused,
}

/// Verifies one credential, step by step; touches store, network and, to
/// record what was seen, the inventory.
pub async fn verify(session: &Session<'_>, record: &Record, control: ControlUse) -> Report {
    remote::run(session, record, control).await
}

/// Why a credential is not proven.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {detail}")]
pub struct Failure {
    /// The step that failed.
    pub step: &'static str,
    /// What was found.
    pub detail: String,
    /// What to do.
    pub hint: Option<String>,
    /// What kind of failure it is.
    pub kind: Kind,
}

/// Verifies one credential and gives the proof.
///
/// # Errors
/// [`Failure`] with the first step that failed, or, where nothing failed and
/// nothing could be told apart either, the control.
pub async fn prove(session: &Session<'_>, record: &Record, control: ControlUse) -> Result<(Verified, Report), Failure> {
    let mut report = verify(session, record, control).await;
    if let Some(proof) = report.proof.take() {
        return Ok((proof, report));
    }
    let step = report.failed().or_else(|| report.checks.iter().find(|check| check.name == Name::Control.as_str()));
    // A control without any answer says nothing about the credential; the line was at fault.
    let unanswered = step.is_some_and(|check| check.ended == Ended::Unknown);
    Err(Failure {
        step: step.map_or("control", |check| check.name),
        detail: step.map_or_else(String::new, |check| check.detail.clone()),
        hint: step.and_then(|check| check.hint.clone()),
        kind: report.failure.unwrap_or(if unanswered { Kind::Unreachable } else { Kind::Control }),
    })
}

/// Only for `probe` and `remote`: the one place that makes the proof.
fn verified(record: &Record, loaded: &Loaded, at: OffsetDateTime) -> Verified {
    Verified { id: record.id.clone(), fingerprint: loaded.certificate.fingerprint(), at }
}

/// What kind of failure a session's error is.
fn kind_of(error: &session::Error) -> Kind {
    match error {
        session::Error::NoTrust { .. } | session::Error::Untrusted { .. } => Kind::Untrusted,
        session::Error::Unreachable { .. } => Kind::Unreachable,
        session::Error::Store(_) | session::Error::KeyMissing { .. } => Kind::Store,
        _ => Kind::Other,
    }
}
