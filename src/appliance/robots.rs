//! The calls that can change an appliance: register, list and remove robots.

use std::sync::Arc;

use http::{Method, header::AUTHORIZATION};
use rustls::ClientConfig;

use super::{
    connection::{Target, connect},
    error::{Error, ExchangeError},
    exchange::{Bounds, Call, Failed, Received},
    id::RemoteId,
    limits::Deadlines,
    outcome::{NotDone, Outcome, UnknownReason, declined, outcome},
    read::{Refusal, readable},
    token::SupportToken,
    wire,
};
use crate::{
    credential::RegisteredName,
    site::Role,
    x509::{Certificate, Fingerprint, certificate_to_pem},
};

/// On whose behalf a call is made.
#[derive(Clone, Copy, Debug)]
pub enum Authority<'a> {
    /// The vendor's support token, sent as a bearer token.
    Token(&'a SupportToken),
    /// The client certificate of the TLS configuration (an admin robot's).
    Certificate,
}

impl<'a> Authority<'a> {
    pub(super) fn token(self) -> Option<&'a SupportToken> {
        match self {
            Self::Token(token) => Some(token),
            Self::Certificate => None,
        }
    }
}

/// The robot to be registered.
#[derive(Clone, Copy, Debug)]
pub struct NewRobot<'a> {
    /// The name it gets on the appliance.
    pub name: &'a RegisteredName,
    /// What it may do.
    pub role: Role,
    /// The certificate it will log in with.
    pub certificate: &'a Certificate,
}

/// A robot as the appliance lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteRobot {
    /// Its id.
    pub id: Option<RemoteId>,
    /// Its name.
    pub name: String,
    /// Its role, in the appliance's words.
    pub role: Option<String>,
    /// The fingerprint of its certificate, if the list shows one.
    pub fingerprint: Option<Fingerprint>,
}

/// What asking for the list gave.
#[derive(Debug)]
pub enum Listing {
    /// The robots. An appliance that pages would show its first page only.
    Robots(Vec<RemoteRobot>),
    /// The appliance has no list: 404, 405, 410, 501, a redirect or an HTML page.
    Unsupported,
    /// The token or certificate is refused (401, 403 or a TLS alert).
    Refused(Refusal),
    /// Nothing was sent: no connection, or the token may not pass through the proxy.
    NotDone(NotDone),
    /// Nothing could be learned.
    Failed(Error),
}

/// What asking for a removal gave.
#[derive(Debug)]
pub enum Removal {
    /// The appliance says it is gone (2xx). A probe of the removed credential confirms it.
    Removed,
    /// 404, 405, 410, 501 or an HTML page: no removal here, or no such robot.
    Unsupported,
    /// The call certainly did nothing.
    NotDone(NotDone),
    /// It may or may not be gone.
    Unknown(UnknownReason),
}

/// The appliance's robots: the one type that can change an appliance.
///
/// Every call opens a connection of its own, sends one request, reads one
/// reply, closes, and ends within [`Deadlines::call`].
#[derive(Clone, Debug)]
pub struct RobotsApi {
    target: Target,
    tls: Arc<ClientConfig>,
    deadlines: Deadlines,
}

impl RobotsApi {
    /// For one appliance. `tls` decides whom to trust and which client
    /// certificate to offer. Touches nothing.
    #[must_use]
    pub fn new(target: Target, tls: Arc<ClientConfig>, deadlines: Deadlines) -> Self {
        Self { target, tls, deadlines }
    }

    /// `POST /v1/robots`, at most once. Network.
    pub async fn register(&self, authority: Authority<'_>, robot: &NewRobot<'_>) -> Outcome {
        let cert = certificate_to_pem(robot.certificate);
        let body = wire::register(robot.name.as_str(), robot.role.on_the_wire(), &cert);
        match self.ask(authority, Method::POST, ROBOTS.to_owned(), Some(body)).await {
            Sent::NotDone(why) => Outcome::NotDone(why),
            Sent::Lost(why) => Outcome::Unknown(UnknownReason::Lost(why)),
            Sent::Received(received) => outcome(received, authority),
        }
    }

    /// `GET /v1/robots`. Network.
    pub async fn list(&self, authority: Authority<'_>) -> Listing {
        let received = match self.ask(authority, Method::GET, ROBOTS.to_owned(), None).await {
            Sent::Received(received) => received,
            Sent::NotDone(NotDone::CertificateRefused { refusal, .. }) => return Listing::Refused(refusal),
            Sent::NotDone(why) => return Listing::NotDone(why),
            Sent::Lost(why) => return Listing::Failed(why.into()),
        };
        match readable(received, authority.token()).and_then(|body| wire::robots(&body)).and_then(remote_robots) {
            Ok(robots) => Listing::Robots(robots),
            Err(Error::Unsupported { .. }) => Listing::Unsupported,
            Err(Error::Refused(refusal)) if refusal.is_weak() => Listing::Unsupported,
            Err(Error::Refused(refusal)) => Listing::Refused(refusal),
            Err(error) => Listing::Failed(error),
        }
    }

    /// `DELETE /v1/robots/ID`, at most once. Network.
    pub async fn remove(&self, authority: Authority<'_>, id: &RemoteId) -> Removal {
        let path = format!("{ROBOTS}/{}", id.path_segment());
        let received = match self.ask(authority, Method::DELETE, path, None).await {
            Sent::NotDone(why) => return Removal::NotDone(why),
            Sent::Lost(why) => return Removal::Unknown(UnknownReason::Lost(why)),
            Sent::Received(received) => received,
        };
        match received.status.as_u16() {
            404 | 405 | 410 | 501 => Removal::Unsupported,
            200..300 if received.is_html() => Removal::Unsupported,
            200..300 => Removal::Removed,
            _ => match declined(&received, authority) {
                Ok(why) => Removal::NotDone(why),
                Err(why) => Removal::Unknown(why),
            },
        }
    }

    async fn ask(&self, authority: Authority<'_>, method: Method, path: String, body: Option<Vec<u8>>) -> Sent {
        let token = authority.token();
        if token.is_some() && self.target.proxy.as_ref().is_some_and(|proxy| !proxy.token) {
            return Sent::NotDone(NotDone::ProxyNotAllowed);
        }
        let bounds = Bounds::control(&self.deadlines);
        // Connecting counts: a token is not sent after its call has ended.
        let connected = connect(&self.target, &self.tls, &self.deadlines);
        let mut connection = match tokio::time::timeout(self.deadlines.call, connected).await {
            Err(_) => {
                return Sent::NotDone(NotDone::NothingSent(ExchangeError::Deadline { limit: self.deadlines.call }));
            }
            Ok(Ok(connection)) => connection,
            Ok(Err(why)) => {
                return Sent::NotDone(match why.certificate_refused() {
                    Some(alert) => NotDone::CertificateRefused { refusal: Refusal::Alert(alert), sent: false },
                    None => NotDone::Connect(why),
                });
            }
        };
        let call = Call { method, path, body, login: token.map(|token| (AUTHORIZATION, token.authorization())) };
        match connection.exchange(call, bounds).await {
            Ok(received) => Sent::Received(received),
            Err(Failed { sent, error: ExchangeError::CertificateRefused { alert } }) => {
                Sent::NotDone(NotDone::CertificateRefused { refusal: Refusal::Alert(alert), sent })
            }
            Err(Failed { sent: false, error }) => Sent::NotDone(NotDone::NothingSent(error)),
            Err(Failed { sent: true, error }) => Sent::Lost(error),
        }
    }
}

const ROBOTS: &str = "/v1/robots";

enum Sent {
    NotDone(NotDone),
    Lost(ExchangeError),
    Received(Received),
}

fn remote_robots(robots: Vec<wire::Robot>) -> Result<Vec<RemoteRobot>, Error> {
    let remote = |robot: wire::Robot| {
        Ok(RemoteRobot {
            fingerprint: robot.fingerprint(),
            name: robot.name.ok_or_else(|| Error::Unexpected { reason: "a robot without a name".to_owned() })?,
            id: robot.id.map(|id| id.0),
            role: robot.role,
        })
    };
    robots.into_iter().map(remote).collect()
}
