//! What can go wrong between us and an appliance.

use std::{io, time::Duration};

use http::StatusCode;
use rustls::AlertDescription;

use super::{connection::Phase, read::Refusal};
use crate::site::MachineId;

/// Why there is no connection. Nothing of a request has been sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The host name has no address.
    #[error("{name} cannot be resolved")]
    Resolve {
        /// The name that was looked up.
        name: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// No address of the host could be reached.
    #[error("{address} cannot be reached")]
    Connect {
        /// Host and port.
        address: String,
        /// Why the last address failed.
        source: io::Error,
    },
    /// The proxy was reached and did not open a tunnel.
    #[error("the proxy {proxy} did not open a tunnel (status {status})")]
    Proxy {
        /// The proxy's host and port.
        proxy: String,
        /// What it answered.
        status: StatusCode,
    },
    /// The proxy was reached and said something that is not a reply to CONNECT.
    #[error("the proxy {proxy} does not answer as a proxy")]
    NotAProxy {
        /// The proxy's host and port.
        proxy: String,
        /// What happened.
        source: io::Error,
    },
    /// The TLS handshake failed: the server is not trusted, refuses our
    /// certificate, or shares no version with us.
    #[error("no TLS session with {address}")]
    Tls {
        /// Host and port.
        address: String,
        /// What TLS says; a trust decision is inside [`rustls::Error::InvalidCertificate`].
        source: rustls::Error,
    },
    /// The connection broke during the TLS handshake.
    #[error("{address} closed the connection during the TLS handshake")]
    TlsCut {
        /// Host and port.
        address: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// A phase took too long.
    #[error("{address} took longer than {limit:?} ({phase})")]
    Deadline {
        /// Host and port.
        address: String,
        /// What was under way.
        phase: Phase,
        /// How long it may take.
        limit: Duration,
    },
}

impl ConnectError {
    /// The phase in which it failed.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self {
            Self::Resolve { .. } => Phase::Resolve,
            Self::Connect { .. } => Phase::Connect,
            Self::Proxy { .. } | Self::NotAProxy { .. } => Phase::Proxy,
            Self::Tls { .. } | Self::TlsCut { .. } => Phase::Tls,
            Self::Deadline { phase, .. } => *phase,
        }
    }

    /// What TLS said, if it was TLS: where a trust refusal is found.
    #[must_use]
    pub fn tls(&self) -> Option<&rustls::Error> {
        match self {
            Self::Tls { source, .. } => Some(source),
            _ => None,
        }
    }

    /// The alert by which the server refused our certificate, if it did.
    #[must_use]
    pub fn certificate_refused(&self) -> Option<AlertDescription> {
        match self.tls() {
            Some(rustls::Error::AlertReceived(alert)) if refuses_certificate(*alert) => Some(*alert),
            _ => None,
        }
    }

    /// What to do about it, where that is known here.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Resolve { name, .. } => Some(format!("check the spelling of {name}, or use its IP address")),
            Self::Connect { address, .. } | Self::Deadline { address, phase: Phase::Connect, .. } => {
                Some(format!("check that {address} is the appliance's HTTPS port and that no firewall is in between"))
            }
            Self::Proxy { proxy, .. } | Self::NotAProxy { proxy, .. } => {
                Some(format!("check the site's `proxy` setting ({proxy}) and what that proxy allows"))
            }
            Self::Deadline { address, phase: Phase::Resolve, .. } => {
                Some(format!("check the name server of this machine, or use an IP address instead of {address}"))
            }
            Self::TlsCut { address, .. } | Self::Deadline { address, .. } => Some(format!(
                "check that {address} is the appliance itself and that it is up: a firewall or a load balancer may accept connections for it"
            )),
            Self::Tls { .. } if self.certificate_refused().is_some() => None,
            Self::Tls { address, .. } => {
                Some(format!("check that {address} is the appliance's HTTPS port and speaks TLS 1.2 or 1.3"))
            }
        }
    }
}

/// Whether a TLS alert speaks about the client certificate (RFC 8446, 6.2; RFC 5246, 7.2.2).
pub(super) fn refuses_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::CertificateRequired
            | AlertDescription::DecryptError
    )
}

/// Why a request on an open connection got no complete, acceptable reply.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeError {
    /// The server refused our certificate after the handshake, as TLS 1.3 servers do.
    #[error("the appliance refused the client certificate (TLS alert {alert:?})")]
    CertificateRefused {
        /// The alert.
        alert: AlertDescription,
    },
    /// The connection ended or broke before the reply was complete.
    #[error("the connection broke before the reply was complete")]
    Cut {
        /// What the HTTP connection says.
        source: hyper::Error,
    },
    /// The reply is not HTTP/1.1 within our limits on heads and header lines.
    #[error("the reply is not acceptable HTTP")]
    NotHttp {
        /// What the parser says.
        source: hyper::Error,
    },
    /// The whole call took too long.
    #[error("no complete reply within {limit:?}")]
    Deadline {
        /// How long it may take.
        limit: Duration,
    },
    /// The reply arrives too slowly.
    #[error("the reply arrives too slowly ({received} bytes in {window:?}, at least {wanted} wanted)")]
    TooSlow {
        /// Bytes in the last window.
        received: u64,
        /// The fewest bytes in a window.
        wanted: u64,
        /// The window.
        window: Duration,
    },
    /// The reply is larger than allowed.
    #[error("the reply is larger than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// The reply is compressed in a way that was not asked for.
    #[error("the reply is encoded ({encoding}), which was not asked for")]
    Encoded {
        /// The encoding it names, cleaned.
        encoding: String,
    },
    /// A compressed reply ends early although the reply itself was whole.
    #[error("the compressed reply ends too early")]
    Shortened,
    /// A reply that calls itself gzip is damaged, is none, or goes on with something else.
    #[error("the reply says it is gzip and is not, or is damaged")]
    NotGzip,
    /// A compressed reply is out of all proportion.
    #[error("the compressed reply grows to more than {limit} times its size")]
    Bomb {
        /// The limit.
        limit: u64,
    },
    /// Too many 1xx replies.
    #[error("more than {limit} informational replies")]
    Informational {
        /// The limit.
        limit: usize,
    },
}

/// Why a read gave no data.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No connection.
    #[error("the appliance cannot be connected to")]
    Connect(#[source] ConnectError),
    /// No complete reply.
    #[error("the appliance gave no usable reply")]
    Exchange(#[source] ExchangeError),
    /// The credential is not accepted.
    #[error("the appliance refused the credential ({0})")]
    Refused(Refusal),
    /// The appliance does not offer this.
    #[error("the appliance does not offer this ({what})")]
    Unsupported {
        /// What it answered instead, for example `status 404` or `an HTML page`.
        what: String,
    },
    /// The Enterprise Manager does not relay to the appliance that is named.
    #[error("the Enterprise Manager does not relay to {machine} ({what})")]
    NotRelayed {
        /// The id that was asked for.
        machine: MachineId,
        /// What it answered instead.
        what: String,
    },
    /// The appliance asks to come back later (429, 503).
    #[error("the appliance is busy (status {status})")]
    Busy {
        /// Its status.
        status: StatusCode,
        /// When to come back, clamped to 1 s to 1 h, if it said so.
        retry_after: Option<Duration>,
    },
    /// Another status than 2xx.
    #[error("the appliance answered with status {status}{}", after_colon(message.as_ref()))]
    Status {
        /// Its status.
        status: StatusCode,
        /// At most 256 cleaned characters of its body.
        message: Option<String>,
    },
    /// GraphQL errors, also next to partial data.
    #[error("the appliance's GraphQL answered with errors ({codes:?}): {message}")]
    Graphql {
        /// The `extensions.code` of each, cleaned.
        codes: Vec<String>,
        /// The first message, cleaned, at most 256 characters.
        message: String,
    },
    /// The reply's JSON, or its compressed form, ends too early, although the reply itself was whole:
    /// overloaded appliances do that.
    #[error("the reply ends too early")]
    Truncated,
    /// The reply is not the JSON that was asked for.
    #[error("the reply is not what was asked for: {reason}")]
    Unexpected {
        /// What is wrong with it, without any of its text.
        reason: String,
    },
}

/// `: MESSAGE`, or nothing.
pub(super) fn after_colon(message: Option<&String>) -> String {
    message.map(|message| format!(": {message}")).unwrap_or_default()
}

impl From<ConnectError> for Error {
    /// A certificate refused in the handshake is a refusal, not a broken connection.
    fn from(error: ConnectError) -> Self {
        match error.certificate_refused() {
            Some(alert) => Self::Refused(Refusal::Alert(alert)),
            None => Self::Connect(error),
        }
    }
}

impl From<ExchangeError> for Error {
    /// As above, for a server that says so only after the handshake.
    fn from(error: ExchangeError) -> Self {
        match error {
            ExchangeError::CertificateRefused { alert } => Self::Refused(Refusal::Alert(alert)),
            ExchangeError::Shortened => Self::Truncated,
            other => Self::Exchange(other),
        }
    }
}

impl Error {
    /// Whether the same read may succeed in a few seconds.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect(ConnectError::Tls { .. }) => false,
            Self::Connect(_) | Self::Busy { .. } | Self::Truncated => true,
            Self::Exchange(error) => {
                matches!(
                    error,
                    ExchangeError::Cut { .. } | ExchangeError::Deadline { .. } | ExchangeError::TooSlow { .. }
                )
            }
            Self::Status { status, .. } => status.is_server_error(),
            Self::Graphql { codes, .. } => {
                codes.iter().any(|code| code == "INTERNAL_SERVER_ERROR") && !self.wraps_not_found()
            }
            _ => false,
        }
    }

    /// Whether GraphQL does not know something in the query itself: a narrower one may do.
    #[must_use]
    pub fn is_validation(&self) -> bool {
        match self {
            Self::Graphql { codes, message } => {
                codes.iter().any(|code| code == "GRAPHQL_VALIDATION_FAILED" || code == "BAD_USER_INPUT")
                    || message.starts_with("Cannot query field")
            }
            _ => false,
        }
    }

    /// Whether the appliance answered as one does that does not have what was
    /// asked for, so that it is worth asking elsewhere: 404, 405, 410, 501, an
    /// HTML page with a success, a redirect.
    #[must_use]
    pub fn is_not_there(&self) -> bool {
        match self {
            Self::Unsupported { .. } => true,
            Self::Refused(refusal) => refusal.is_weak(),
            _ => false,
        }
    }

    /// Whether a GraphQL error passes on a 404 from behind it, as an Enterprise
    /// Manager answers a question about devices that it does not have itself.
    fn wraps_not_found(&self) -> bool {
        match self {
            Self::Graphql { codes, message } => {
                codes.iter().any(|code| code == "404" || code == "NOT_FOUND")
                    || message.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == "404")
            }
            _ => false,
        }
    }

    /// Whether the connection was broken off without a word. A failing network
    /// looks so, and so does a server that refuses a certificate by hanging up.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        matches!(self, Self::Connect(ConnectError::TlsCut { .. }) | Self::Exchange(ExchangeError::Cut { .. }))
    }

    /// When the appliance asked to come back, if it did.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// What to do about it, where that is known here.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Connect(error) => error.hint(),
            Self::Refused(refusal) if refusal.is_weak() => Some(
                "a proxy or a login portal may answer in the appliance's place, or the robot may have been removed, or its \
                 certificate or API key may have ended: see `robocred verify` and `robocred apikey status`"
                    .to_owned(),
            ),
            Self::Refused(_) => Some(
                "the robot may have been removed, or its certificate may have expired: see `robocred verify`; an API key \
                 may have expired or been deleted: see `robocred apikey status`"
                    .to_owned(),
            ),
            Self::NotRelayed { machine, .. } => Some(format!(
                "check `em` of the site: {machine} has to be the id of an appliance that this Enterprise Manager is paired with"
            )),
            Self::Graphql { .. } if self.wraps_not_found() => Some(
                "if this is an Enterprise Manager, set `em` of the site to the id of the appliance behind it"
                    .to_owned(),
            ),
            Self::Busy { .. } => Some("the appliance is overloaded or being upgraded: try again later".to_owned()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_error_asks_for() {
        let graphql = |codes: &[&str], message: &str| Error::Graphql {
            codes: codes.iter().map(|code| (*code).to_owned()).collect(),
            message: message.to_owned(),
        };
        let unsupported = || Error::Unsupported { what: "status 404".to_owned() };
        let status = |status: u16| StatusCode::from_u16(status).unwrap();
        // A narrower query; not there; another try; `em`.
        let check = |error: Error, expected: [bool; 4]| {
            let em = error.hint().is_some_and(|hint| hint.contains("`em`"));
            let found = [error.is_validation(), error.is_not_there(), error.is_transient(), em];
            assert_eq!(found, expected, "{error:?}");
        };
        check(graphql(&["GRAPHQL_VALIDATION_FAILED"], "m"), [true, false, false, false]);
        check(graphql(&["A", "BAD_USER_INPUT"], "m"), [true, false, false, false]);
        check(graphql(&[], "Cannot query field \"lastHit\" on type \"Asset\"."), [true, false, false, false]);
        check(graphql(&["GRAPHQL_PARSE_FAILED"], "m"), [false, false, false, false]);
        check(graphql(&["INTERNAL_SERVER_ERROR"], "port 4040"), [false, false, true, false]);
        check(graphql(&["INTERNAL_SERVER_ERROR"], "404: Not Found"), [false, false, false, true]);
        check(graphql(&["NOT_FOUND"], "m"), [false, false, false, true]);
        check(unsupported(), [false, true, false, false]);
        check(Error::Refused(Refusal::HtmlPage), [false, true, false, false]);
        check(Error::Refused(Refusal::Redirect(status(302))), [false, true, false, false]);
        check(Error::Refused(Refusal::Status(status(401))), [false, false, false, false]);
        check(Error::Refused(Refusal::BadRequestPage), [false, false, false, false]);
        check(Error::Refused(Refusal::Graphql), [false, false, false, false]);
        check(Error::Status { status: status(500), message: None }, [false, false, true, false]);
        check(Error::Busy { status: status(503), retry_after: None }, [false, false, true, false]);
        check(Error::Truncated, [false, false, true, false]);
        check(ExchangeError::Shortened.into(), [false, false, true, false]);
        check(ExchangeError::NotGzip.into(), [false, false, false, false]);
        check(ExchangeError::Bomb { limit: 200 }.into(), [false, false, false, false]);
        check(ExchangeError::TooLarge { limit: 1 }.into(), [false, false, false, false]);
        let machine = "0f9a2c1e-1111-4222-8333-444455556666".parse().unwrap();
        check(Error::NotRelayed { machine, what: "an HTML page".to_owned() }, [false, false, false, true]);
    }
}
