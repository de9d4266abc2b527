//! What a run logs in with: a robot's certificate, or the site's API key.

use std::sync::Arc;

use super::{Error, Request};
use crate::{
    appliance::{ApiKey, ReadApi},
    session::{Loaded, Session},
    x509::Fingerprint,
};

/// A way in.
pub(super) enum Login {
    /// A credential of the robot's own.
    Certificate(Box<Loaded>),
    /// The site's API key, read from the store once a run; wiped with it.
    ApiKey(Arc<ApiKey>),
}

impl Login {
    /// What the request names, checked. Secret store.
    pub(super) async fn of(session: &Session<'_>, request: &Request) -> Result<Self, Error> {
        if let Some(record) = &request.record {
            return Ok(Self::Certificate(Box::new(session.load(record).await?)));
        }
        match session.api_key().await? {
            Some(key) => Ok(Self::ApiKey(Arc::new(key))),
            None => Err(Error::NoLogin { robot: request.robot.clone() }),
        }
    }

    /// One connection's worth of reading. Opens none yet.
    pub(super) fn read_api(&self, session: &Session<'_>) -> Result<ReadApi, Error> {
        Ok(match self {
            Self::Certificate(loaded) => session.read_api(&loaded.identity(session.site())?)?,
            Self::ApiKey(key) => session.read_api_with_key(Arc::clone(key))?,
        })
    }

    /// The certificate shown, if one is.
    pub(super) fn fingerprint(&self) -> Option<Fingerprint> {
        match self {
            Self::Certificate(loaded) => Some(loaded.certificate.fingerprint()),
            Self::ApiKey(_) => None,
        }
    }
}
