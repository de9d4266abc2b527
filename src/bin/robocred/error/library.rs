//! How the library's errors become a command's: one place for each module, in
//! the order of their ranks. Says which kind each is; message and advice are
//! the error's own.

use std::error::Error;

use robocred::{
    anchor, appliance, config, credential::plan::Need, export, hook, ingest, inventory, lifecycle, secrets, session,
    site, trust, verify, whole_file, x509,
};

use super::{CommandError, Kind};

/// An error of the library.
pub trait Known: Error {
    /// What kind of failure it is to a command.
    fn kind(&self) -> Kind;

    /// What to do about it, if the error knows.
    fn advice(&self) -> Option<String>;
}

impl<E: Known> From<E> for CommandError {
    fn from(error: E) -> Self {
        error.advice().into_iter().fold(Self::of(error.kind(), &error), Self::hint)
    }
}

impl Known for whole_file::Error {
    fn kind(&self) -> Kind {
        use std::io::ErrorKind;
        match self.source.kind() {
            ErrorKind::NotFound
            | ErrorKind::PermissionDenied
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::InvalidInput
            | ErrorKind::NotADirectory
            | ErrorKind::IsADirectory => Kind::Config,
            _ => Kind::Failed,
        }
    }

    fn advice(&self) -> Option<String> {
        self.hint().map(str::to_owned)
    }
}

impl Known for x509::Error {
    fn kind(&self) -> Kind {
        Kind::Failed
    }

    fn advice(&self) -> Option<String> {
        None
    }
}

impl Known for site::Error {
    fn kind(&self) -> Kind {
        Kind::Usage
    }

    fn advice(&self) -> Option<String> {
        None
    }
}

impl Known for config::Error {
    fn kind(&self) -> Kind {
        Kind::Config
    }

    fn advice(&self) -> Option<String> {
        self.hint()
    }
}

impl Known for config::Problems {
    fn kind(&self) -> Kind {
        Kind::Config
    }

    fn advice(&self) -> Option<String> {
        config::Error::from(self.clone()).hint()
    }
}

impl Known for secrets::Error {
    fn kind(&self) -> Kind {
        match self {
            Self::OtherStore { .. } => Kind::Config,
            _ => Kind::Store,
        }
    }

    fn advice(&self) -> Option<String> {
        self.hint()
    }
}

impl Known for trust::Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Identity(_) | Self::KeyUnusable(_) => Kind::Failed,
            _ => Kind::Config,
        }
    }

    fn advice(&self) -> Option<String> {
        self.hint()
    }
}

impl Known for appliance::ConnectError {
    fn kind(&self) -> Kind {
        if trust::refusal(self).is_some() {
            Kind::Untrusted
        } else if self.certificate_refused().is_some() {
            Kind::Refused
        } else {
            Kind::Unreachable
        }
    }

    fn advice(&self) -> Option<String> {
        self.hint()
    }
}

impl Known for appliance::Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Connect(error) => error.kind(),
            Self::Refused(_) => Kind::Refused,
            Self::Exchange(_) | Self::Busy { .. } => Kind::Unreachable,
            _ => Kind::Failed,
        }
    }

    fn advice(&self) -> Option<String> {
        self.hint()
    }
}

fn not_done(reason: &appliance::NotDone) -> Kind {
    use appliance::NotDone;
    match reason {
        NotDone::ProxyNotAllowed => Kind::Config,
        NotDone::Connect(error) => error.kind(),
        NotDone::NothingSent(_) | NotDone::Busy { .. } => Kind::Unreachable,
        _ => Kind::Refused,
    }
}

impl Known for hook::Error {
    fn kind(&self) -> Kind {
        Kind::Hook
    }

    fn advice(&self) -> Option<String> {
        Some(self.hint())
    }
}

impl Known for inventory::Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Held { .. } | Self::Watched { .. } | Self::Fenced { .. } | Self::Busy { .. } => Kind::Locked,
            Self::NameOurs { .. } => Kind::Refused,
            Self::NoRobot(_) | Self::Unsafe { .. } | Self::NetworkDisk { .. } | Self::ReadOnly { .. } => Kind::Config,
            _ => Kind::Failed,
        }
    }

    fn advice(&self) -> Option<String> {
        self.hint()
    }
}

impl Known for anchor::Error {
    fn kind(&self) -> Kind {
        match self {
            Self::NoAppliance { .. } => Kind::Config,
            Self::Store(source) => source.kind(),
            Self::Inventory(source) => source.kind(),
            _ => Kind::Failed,
        }
    }

    fn advice(&self) -> Option<String> {
        self.hint()
    }
}

impl Known for session::Error {
    fn kind(&self) -> Kind {
        match self {
            Self::NoTrust { .. } | Self::Untrusted { .. } => Kind::Untrusted,
            Self::Policy { source, .. } => source.kind(),
            Self::Unreachable { source, .. } => source.kind(),
            Self::KeyMissing { .. } | Self::Pair { .. } | Self::ApiKeyMissing { .. } | Self::ApiKeyUnfit { .. } => {
                Kind::Store
            }
            Self::Store(source) => source.kind(),
            Self::Inventory(source) => source.kind(),
            _ => Kind::Failed,
        }
    }

    fn advice(&self) -> Option<String> {
        self.hint()
    }
}

impl Known for verify::Failure {
    fn kind(&self) -> Kind {
        verified(self.kind)
    }

    fn advice(&self) -> Option<String> {
        self.hint.clone()
    }
}

/// The kind of a failed verification.
pub fn verified(kind: verify::Kind) -> Kind {
    match kind {
        verify::Kind::Refused => Kind::Refused,
        verify::Kind::Unreachable => Kind::Unreachable,
        verify::Kind::Untrusted => Kind::Untrusted,
        verify::Kind::Store => Kind::Store,
        verify::Kind::Control => Kind::Proof,
        verify::Kind::Expired => Kind::Expired,
        verify::Kind::Other => Kind::Failed,
    }
}

impl Known for export::Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Foreign { .. } | Self::OthersCanWrite { .. } | Self::NotADirectory { .. } | Self::NoGroup { .. } => {
                Kind::Config
            }
            _ => Kind::Failed,
        }
    }

    fn advice(&self) -> Option<String> {
        Some(self.hint())
    }
}

impl Known for ingest::Error {
    fn kind(&self) -> Kind {
        match self {
            Self::GraphqlOnly { .. } | Self::NoChanges { .. } | Self::PageSize { .. } | Self::Connections { .. } => {
                Kind::Usage
            }
            Self::Session(source) => source.kind(),
            Self::Page { source, .. } | Self::NeitherApi { rest: source, .. } => source.kind(),
            Self::Unsafe { .. } | Self::Latest { .. } => Kind::Config,
            Self::Inventory(source) => source.kind(),
            _ => Kind::Failed,
        }
    }

    fn advice(&self) -> Option<String> {
        self.hint()
    }
}

impl Known for lifecycle::import::Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Expired { .. } => Kind::Expired,
            Self::Unproven(failure) => failure.kind(),
            Self::Store(source) => source.kind(),
            Self::Session(source) => source.kind(),
            Self::Inventory(source) => source.kind(),
            // What was given, or what is there already, is not what can be imported.
            _ => Kind::Config,
        }
    }

    fn advice(&self) -> Option<String> {
        self.hint()
    }
}

impl Known for lifecycle::Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Session(source) => source.kind(),
            Self::Inventory(source) => source.kind(),
            Self::Store(source) => source.kind(),
            Self::NotRegistered { reason, .. } | Self::NotRemoved { reason, .. } => not_done(reason),
            Self::NameTaken { .. } | Self::NameOurs { .. } => Kind::Refused,
            Self::Unasked(source) => source.kind(),
            Self::Unsettled { .. } => Kind::Unreachable,
            Self::NeedsPerson { need: Need::ControlAccepted, .. } => Kind::Proof,
            // An appliance that refuses a new credential has judged it; a cut line says nothing about it.
            Self::Proof(failure) => match failure.kind {
                verify::Kind::Refused | verify::Kind::Control | verify::Kind::Expired | verify::Kind::Other => {
                    Kind::Proof
                }
                kind => verified(kind),
            },
            Self::NeedsPerson { .. }
            | Self::OtherCertificate { .. }
            | Self::Clock { .. }
            | Self::ImportOpen { .. }
            | Self::Refused { .. }
            | Self::OnlyWorking { .. } => Kind::Person,
            Self::NotAccepted { failure, .. } => verified(failure.kind),
            Self::StoredToken(_) | Self::NoGeneration { .. } => Kind::Config,
            Self::Hook(_) => Kind::Hook,
            Self::Deliver(source) => source.kind(),
            _ => Kind::Failed,
        }
    }

    fn advice(&self) -> Option<String> {
        self.hint()
    }
}
