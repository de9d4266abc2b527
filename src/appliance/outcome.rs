//! What is known after a changing call: not done, unknown, or answered.

use std::time::Duration;

use http::StatusCode;

use super::{
    error::{ConnectError, ExchangeError, after_colon},
    exchange::Received,
    id::RemoteId,
    read::Refusal,
    robots::{Authority, NewRobot},
    wire,
};
use crate::x509::Fingerprint;

/// What is known after asking for a robot.
#[derive(Debug)]
pub enum Outcome {
    /// The appliance has certainly not registered it because of this call.
    NotDone(NotDone),
    /// It may or may not have; only a probe can tell.
    Unknown(UnknownReason),
    /// A success in the appliance's words. Still only a probe can tell; the
    /// reply gives the id and what it echoed.
    Answered(Reply),
}

impl Outcome {
    /// Whether any byte of the request, the token with it, can have left.
    #[must_use]
    pub fn sent(&self) -> bool {
        match self {
            Self::NotDone(why) => why.sent(),
            Self::Unknown(_) | Self::Answered(_) => true,
        }
    }
}

/// Why a call certainly did nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotDone {
    /// The token may not pass through the site's proxy; nothing was sent.
    #[error("the support token may not pass through the site's proxy")]
    ProxyNotAllowed,
    /// There was no connection; nothing was sent.
    #[error("the appliance cannot be connected to")]
    Connect(#[source] ConnectError),
    /// The connection ended before a byte of the request was sent.
    #[error("the connection ended before anything was sent")]
    NothingSent(#[source] ExchangeError),
    /// Status 401 or 403 to a call with the token.
    #[error("the appliance refused the support token (status {status}){}", after_colon(message.as_ref()))]
    TokenRefused {
        /// Its status.
        status: StatusCode,
        /// At most 256 cleaned characters of its body, without the token.
        message: Option<String>,
    },
    /// Our certificate was refused: 401 or 403 to a call that relies on it, or
    /// a TLS alert, after which no server looks at a request.
    #[error("the appliance refused the client certificate ({refusal})")]
    CertificateRefused {
        /// How it refused.
        refusal: Refusal,
        /// Whether any byte of the request can have left.
        sent: bool,
    },
    /// Status 409: certain for a first try; after an unknown outcome it may be our own
    /// earlier try that took the name.
    #[error("the name is already taken on the appliance{}", after_colon(message.as_ref()))]
    NameTaken {
        /// At most 256 cleaned characters of its body, without the token.
        message: Option<String>,
    },
    /// Status 404, 405 or 410: no such call here.
    #[error("the appliance does not offer robots (status {status})")]
    Unsupported {
        /// Its status.
        status: StatusCode,
    },
    /// Status 3xx. Never followed; nothing was sent anywhere else.
    #[error("the appliance redirects (status {status}), which is never followed")]
    Redirect {
        /// Its status.
        status: StatusCode,
    },
    /// Status 429.
    #[error("the appliance asks to come back later")]
    Busy {
        /// When, clamped to 1 s to 1 h, if it said so.
        retry_after: Option<Duration>,
    },
    /// Status 400, 413, 415 or 422: it does not accept what was asked for.
    #[error("the appliance does not accept the request (status {status}){}", after_colon(message.as_ref()))]
    Rejected {
        /// Its status.
        status: StatusCode,
        /// At most 256 cleaned characters of its body, without the token.
        message: Option<String>,
    },
}

impl NotDone {
    /// Whether the support token is of no further use.
    #[must_use]
    pub fn ends_token(&self) -> bool {
        matches!(self, Self::TokenRefused { .. })
    }

    /// Whether any byte of the request, the token with it, can have left.
    #[must_use]
    pub fn sent(&self) -> bool {
        match self {
            Self::ProxyNotAllowed | Self::Connect(_) | Self::NothingSent(_) => false,
            Self::CertificateRefused { sent, .. } => *sent,
            _ => true,
        }
    }

    /// What to do about it, where that is known here.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::ProxyNotAllowed => "set `proxy_token = true` for this site, or reach it without the proxy",
            Self::Connect(error) => return error.hint(),
            Self::TokenRefused { .. } => "ask the vendor's support for a new token; this one is not used again",
            Self::NameTaken { .. } => "choose another name with --registered-name, or have the old robot removed",
            Self::Unsupported { .. } => "check the address; this release of the appliance may have no robots endpoint",
            Self::Redirect { .. } => "give the appliance's own address and HTTPS port, not one that redirects to it",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// Why nobody knows yet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnknownReason {
    /// The request, or a part of it, was sent and no complete reply came.
    #[error("the answer was lost")]
    Lost(#[source] ExchangeError),
    /// A status that says neither yes nor no, above all 5xx.
    #[error("the appliance answered with status {status}{}", after_colon(message.as_ref()))]
    Status {
        /// Its status.
        status: StatusCode,
        /// At most 256 cleaned characters of its body, without the token.
        message: Option<String>,
    },
    /// Status 2xx with an HTML page: a login page or a portal, not this API.
    #[error("the appliance answered with an HTML page (status {status})")]
    Html {
        /// Its status.
        status: StatusCode,
    },
    /// Status 2xx with a body that cannot be accepted.
    #[error("the appliance's success cannot be read: {reason}")]
    Unreadable {
        /// What is wrong with it, without any of its text.
        reason: String,
    },
}

/// What a success said about the robot; all of it optional.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status, 2xx.
    pub status: StatusCode,
    /// The appliance's id for the robot.
    pub remote_id: Option<RemoteId>,
    /// The name it echoed.
    pub name: Option<String>,
    /// The role it echoed, in its own words.
    pub role: Option<String>,
    /// The fingerprint of the certificate it echoed.
    pub fingerprint: Option<Fingerprint>,
}

/// A point in which a reply differs from what was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Another name.
    Name {
        /// What was sent.
        sent: String,
        /// What came back.
        replied: String,
    },
    /// Another role.
    Role {
        /// What was sent.
        sent: &'static str,
        /// What came back.
        replied: String,
    },
    /// Another certificate: the one difference that is a stop.
    Certificate {
        /// The fingerprint of what was sent.
        sent: Fingerprint,
        /// The fingerprint of what came back.
        replied: Fingerprint,
    },
}

/// In what a reply differs from what was sent. Pure. What the reply leaves out
/// does not differ.
#[must_use]
pub fn differences(sent: &NewRobot<'_>, reply: &Reply) -> Vec<Difference> {
    let mut differences = Vec::new();
    if let Some(replied) = reply.name.as_ref().filter(|name| *name != sent.name.as_str()) {
        differences.push(Difference::Name { sent: sent.name.as_str().to_owned(), replied: replied.clone() });
    }
    if let Some(replied) = reply.role.as_ref().filter(|role| *role != sent.role.on_the_wire()) {
        differences.push(Difference::Role { sent: sent.role.on_the_wire(), replied: replied.clone() });
    }
    if let Some(replied) = reply.fingerprint.filter(|fingerprint| *fingerprint != sent.certificate.fingerprint()) {
        differences.push(Difference::Certificate { sent: sent.certificate.fingerprint(), replied });
    }
    differences
}

/// What a reply to a changing call means: its status decides, whatever the body.
pub(super) fn outcome(received: Received, authority: Authority<'_>) -> Outcome {
    if received.status.is_success() {
        return answered(received);
    }
    match declined(&received, authority) {
        Ok(why) => Outcome::NotDone(why),
        Err(why) => Outcome::Unknown(why),
    }
}

/// What a status that is no success means: certainly nothing done, or unknown.
pub(super) fn declined(received: &Received, authority: Authority<'_>) -> Result<NotDone, UnknownReason> {
    let status = received.status;
    let message = received.message(authority.token());
    Ok(match status.as_u16() {
        300..400 => NotDone::Redirect { status },
        401 | 403 => match authority {
            Authority::Token(_) => NotDone::TokenRefused { status, message },
            Authority::Certificate => NotDone::CertificateRefused { refusal: Refusal::Status(status), sent: true },
        },
        404 | 405 | 410 => NotDone::Unsupported { status },
        409 => NotDone::NameTaken { message },
        429 => NotDone::Busy { retry_after: received.retry_after() },
        400 | 413 | 415 | 422 => NotDone::Rejected { status, message },
        _ => return Err(UnknownReason::Status { status, message }),
    })
}

fn answered(received: Received) -> Outcome {
    let status = received.status;
    if received.is_html() {
        return Outcome::Unknown(UnknownReason::Html { status });
    }
    let says_json = received.says_json();
    let body = match received.body {
        Ok(body) => body,
        Err(why) => return Outcome::Unknown(UnknownReason::Lost(why)),
    };
    match wire::Robot::from_reply(&body, says_json) {
        Ok(robot) => Outcome::Answered(Reply {
            status,
            fingerprint: robot.fingerprint(),
            remote_id: robot.id.map(|id| id.0),
            name: robot.name,
            role: robot.role,
        }),
        Err(why) => Outcome::Unknown(UnknownReason::Unreadable { reason: why.to_string() }),
    }
}
