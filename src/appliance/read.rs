//! The calls that cannot change an appliance: probes, version, pages of assets.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{Method, StatusCode};
use rustls::ClientConfig;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use tokio::sync::Mutex;

use super::{
    connection::{Connection, Target, connect},
    error::{Error, ExchangeError},
    exchange::{Bounds, Call, Failed, Received},
    id::RemoteId,
    limits::Deadlines,
    query::Query,
    text,
    token::SupportToken,
    wire,
};

/// A request whose answer shows whether the client certificate logs in.
///
/// It counts only where the same probe without a registered certificate is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Probe {
    /// GraphQL `assets(first: 1) { nodes { id } }`.
    Graphql,
    /// `POST /v1/assets` with limit 1.
    RestList,
    /// `GET /v1/assets/<nil UUID>`: here a JSON 404 is an acceptance.
    RestNil,
}

impl Probe {
    /// All of them, in the order in which they are tried.
    pub const ALL: [Self; 3] = [Self::Graphql, Self::RestList, Self::RestNil];
}

/// What a probe showed.
#[derive(Debug)]
pub enum Answer {
    /// The credential was let in.
    Accepted,
    /// The credential was refused.
    Refused(Refusal),
    /// Neither can be said.
    Unclear(Error),
}

impl Answer {
    /// Whether asking another probe would add nothing.
    fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Accepted
                | Self::Refused(Refusal::Alert(_))
                | Self::Unclear(Error::Connect(_) | Error::Exchange(_) | Error::Busy { .. })
        )
    }

    /// How much it says about the credential.
    fn weight(&self) -> u8 {
        match self {
            Self::Accepted => 4,
            Self::Refused(refusal) if !refusal.is_weak() => 3,
            Self::Unclear(Error::Unsupported { .. }) => 0,
            Self::Unclear(_) => 2,
            Self::Refused(_) => 1,
        }
    }
}

/// How a credential was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// A TLS alert about the certificate, during the handshake or after it.
    Alert(rustls::AlertDescription),
    /// 401 or 403.
    Status(StatusCode),
    /// 400 with an HTML page, as nginx answers a certificate it does not accept.
    BadRequestPage,
    /// 2xx with an HTML page: a login page, or a portal. Weaker than the others,
    /// since a path the appliance does not know may answer so too.
    HtmlPage,
    /// A redirect, as to a login page. Never followed. Weak as well.
    Redirect(StatusCode),
    /// A GraphQL error of code `UNAUTHENTICATED`, `FORBIDDEN` or 401.
    Graphql,
}

impl Refusal {
    /// Whether a path that the appliance does not know could be answered alike.
    #[must_use]
    pub fn is_weak(self) -> bool {
        matches!(self, Self::HtmlPage | Self::Redirect(_))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alert(alert) => write!(f, "TLS alert {alert:?}"),
            Self::Status(status) => write!(f, "status {}", status.as_u16()),
            Self::Redirect(status) => write!(f, "a redirect, status {}", status.as_u16()),
            Self::BadRequestPage => f.write_str("status 400 with an HTML page"),
            Self::HtmlPage => f.write_str("an HTML page instead of data"),
            Self::Graphql => f.write_str("GraphQL error UNAUTHENTICATED"),
        }
    }
}

/// What one probe, or all of them in order, showed.
#[derive(Debug)]
pub struct Login {
    /// The probe that decided, for the control to repeat.
    pub probe: Probe,
    /// What it showed.
    pub answer: Answer,
    /// The appliance's clock, from the reply's `Date`.
    pub server_time: Option<OffsetDateTime>,
}

impl Login {
    fn new(probe: Probe, server_time: Option<OffsetDateTime>, result: Result<(), Error>) -> Self {
        let answer = match result {
            Ok(()) => Answer::Accepted,
            Err(Error::Refused(refusal)) => Answer::Refused(refusal),
            Err(error) => Answer::Unclear(error),
        };
        Self { probe, answer, server_time }
    }
}

/// What the appliance says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its version, for example `3.7.0`, cleaned.
    pub version: String,
    /// The appliance's clock, from the reply's `Date`.
    pub server_time: Option<OffsetDateTime>,
}

/// The position after a page, opaque; good for one walk only. A cursor that
/// comes back again means that the walk goes in circles.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cursor(String);

/// One device as the appliance describes it.
#[derive(Debug)]
pub struct Record {
    /// Its id.
    pub id: RemoteId,
    /// The whole record, one JSON object, byte for byte as it came.
    pub json: Box<RawValue>,
}

/// One page of a walk over all assets.
#[derive(Debug)]
pub struct Page {
    /// The records, in the server's order.
    pub records: Vec<Record>,
    /// Where the next page begins, if the server said so.
    pub end_cursor: Option<Cursor>,
    /// Whether the server says there is more; `None` if it does not say.
    pub has_next: Option<bool>,
    /// The server's own count of all records, if it gave one.
    pub total_count: Option<u64>,
    /// The size of the reply in bytes.
    pub bytes: u64,
}

/// Reading from an appliance.
///
/// Cannot change anything: the only requests it can form are `GET` under
/// `/v1/`, the legacy listing `POST /v1/assets`, and the documents of
/// [`Query`], none of which is a mutation. Keeps one connection
/// open between calls; a call that finds it closed opens another.
#[derive(Debug)]
pub struct ReadApi {
    target: Target,
    tls: Arc<ClientConfig>,
    deadlines: Deadlines,
    idle: Mutex<Option<Connection>>,
}

/// Every request this type can form.
enum Ask<'a> {
    Version,
    NilAsset,
    Assets { offset: u64, limit: u32, include_hidden: bool },
    Graphql { query: Query, variables: &'a wire::Variables<'a> },
}

impl Ask<'_> {
    fn call(&self) -> Call {
        let (method, path, body) = match *self {
            Self::Version => (Method::GET, "/v1/version", None),
            Self::NilAsset => (Method::GET, "/v1/assets/00000000-0000-0000-0000-000000000000", None),
            Self::Assets { offset, limit, include_hidden } => {
                (Method::POST, "/v1/assets", Some(wire::paging(offset, limit, include_hidden)))
            }
            Self::Graphql { query, variables } => (Method::POST, "/graphql", Some(wire::graphql(query, variables))),
        };
        Call { method, path: path.to_owned(), body, authorization: None }
    }
}

impl ReadApi {
    /// For one appliance. `tls` decides whom to trust and which client
    /// certificate to offer. Touches nothing.
    #[must_use]
    pub fn new(target: Target, tls: Arc<ClientConfig>, deadlines: Deadlines) -> Self {
        Self { target, tls, deadlines, idle: Mutex::new(None) }
    }

    /// `GET /v1/version`. Network.
    pub async fn version(&self) -> Result<Version, Error> {
        let received = self.fetch(&Ask::Version, self.control()).await?;
        let server_time = received.date();
        let version: wire::Version = wire::read(&readable(received, None)?)?;
        let version = text::shown(version.version.as_bytes(), None)
            .ok_or_else(|| Error::Unexpected { reason: "an empty version".to_owned() })?;
        Ok(Version { version, server_time })
    }

    /// One probe, on a connection of its own so that the certificate is judged anew. Network.
    pub async fn probe(&self, probe: Probe) -> Login {
        match connect(&self.target, &self.tls, &self.deadlines).await {
            Ok(connection) => self.probe_on(connection, probe).await,
            Err(error) => Login::new(probe, None, Err(error.into())),
        }
    }

    /// One probe, on a connection that [`connect`] has just opened, for who
    /// wants to look at that connection first. Network.
    pub async fn probe_on(&self, mut connection: Connection, probe: Probe) -> Login {
        match connection.exchange(probe_ask(probe).call(), self.control()).await {
            Ok(received) => Login::new(probe, received.date(), let_in(probe, received)),
            Err(failed) => Login::new(probe, None, Err(failed.error.into())),
        }
    }

    /// The probes in order until one is accepted. A refusal by TLS, or an
    /// appliance that does not answer, ends the asking. Otherwise what says
    /// most is returned: a refusal, then a failure, then a weak refusal, then
    /// a request that the appliance does not offer. Network.
    pub async fn log_in(&self) -> Login {
        self.log_in_from(self.probe(Probe::ALL[0]).await).await
    }

    /// As [`ReadApi::log_in`], with the first probe on a connection that
    /// [`connect`] has just opened. Network.
    pub async fn log_in_on(&self, connection: Connection) -> Login {
        self.log_in_from(self.probe_on(connection, Probe::ALL[0]).await).await
    }

    async fn log_in_from(&self, first: Login) -> Login {
        let mut best = first;
        for probe in &Probe::ALL[1..] {
            if best.answer.is_final() {
                break;
            }
            let next = self.probe(*probe).await;
            if next.answer.weight() > best.answer.weight() {
                best = next;
            }
        }
        best
    }

    /// A page of assets over GraphQL, in a fixed order, after `after` (from the start without). Network.
    pub async fn assets_page(&self, after: Option<&Cursor>, first: u32, include_hidden: bool) -> Result<Page, Error> {
        let variables = wire::Variables::page(after.map(|cursor| cursor.0.as_str()), first, include_hidden);
        let ask = Ask::Graphql { query: Query::Assets, variables: &variables };
        let body = graphql_body(self.fetch(&ask, self.page()).await?)?;
        let assets = wire::graphql_data(&body)?;
        let info = assets.page_info.unwrap_or_default();
        Ok(Page {
            records: records(assets.nodes)?,
            end_cursor: info.end_cursor.filter(|cursor| !cursor.is_empty()).map(Cursor),
            has_next: info.has_next_page,
            total_count: assets.total_count,
            bytes: body.len() as u64,
        })
    }

    /// A page of assets over REST v1, from `offset`: an empty one ends the
    /// walk. It has no cursor and no count. Network.
    pub async fn rest_assets_page(&self, offset: u64, limit: u32, include_hidden: bool) -> Result<Page, Error> {
        let ask = Ask::Assets { offset, limit, include_hidden };
        let body = readable(self.fetch(&ask, self.page()).await?, None)?;
        Ok(Page {
            records: records(wire::rest_assets(&body)?)?,
            end_cursor: None,
            has_next: None,
            total_count: None,
            bytes: body.len() as u64,
        })
    }

    fn control(&self) -> Bounds {
        Bounds::control(&self.deadlines)
    }

    fn page(&self) -> Bounds {
        Bounds::page(&self.deadlines)
    }

    /// Asks on the connection kept from before, if it is still good.
    async fn fetch(&self, ask: &Ask<'_>, bounds: Bounds) -> Result<Received, Error> {
        let mut idle = self.idle.lock().await;
        if let Some(mut connection) = idle.take() {
            match connection.exchange(ask.call(), bounds).await {
                Ok(received) => {
                    keep(&mut idle, connection, &received);
                    return Ok(received);
                }
                // The server has closed it meanwhile. Asking again is harmless: a read changes nothing.
                Err(Failed { error: ExchangeError::Cut { .. }, .. }) => {}
                Err(failed) => return Err(failed.error.into()),
            }
        }
        let mut connection = connect(&self.target, &self.tls, &self.deadlines).await?;
        let received = connection.exchange(ask.call(), bounds).await.map_err(|failed| failed.error)?;
        keep(&mut idle, connection, &received);
        Ok(received)
    }
}

fn keep(idle: &mut Option<Connection>, connection: Connection, received: &Received) {
    // Whatever follows a reply that was not read whole would be taken for the next one.
    if received.body.is_ok() {
        *idle = Some(connection);
    }
}

fn probe_ask(probe: Probe) -> Ask<'static> {
    const NONE: &wire::Variables<'static> = &wire::Variables::none();
    match probe {
        Probe::Graphql => Ask::Graphql { query: Query::FirstAsset, variables: NONE },
        Probe::RestList => Ask::Assets { offset: 0, limit: 1, include_hidden: true },
        Probe::RestNil => Ask::NilAsset,
    }
}

/// Whether the reply to a probe shows that the certificate was let in.
fn let_in(probe: Probe, received: Received) -> Result<(), Error> {
    match probe {
        Probe::Graphql => wire::graphql_data(&graphql_body(received)?).map(|_| ()),
        Probe::RestList => wire::rest_assets(&readable(received, None)?).map(|_| ()),
        Probe::RestNil if received.status == StatusCode::NOT_FOUND && !received.is_html() => {
            let body = received.body?;
            wire::is_json(&body).then_some(()).ok_or_else(|| unsupported(StatusCode::NOT_FOUND))
        }
        Probe::RestNil => {
            let body = readable(received, None)?;
            wire::is_json(&body).then_some(()).ok_or_else(|| Error::Unexpected { reason: "not JSON".to_owned() })
        }
    }
}

/// The body of a GraphQL reply. GraphQL errors with a 4xx or 5xx status are told as such.
fn graphql_body(received: Received) -> Result<Bytes, Error> {
    if !received.status.is_success()
        && let Ok(body) = &received.body
        && let Err(error @ (Error::Graphql { .. } | Error::Refused(_))) = wire::graphql_data(body)
    {
        return Err(error);
    }
    readable(received, None)
}

/// The body of a success, or what the status says. `token` is kept out of any message.
pub(super) fn readable(received: Received, token: Option<&SupportToken>) -> Result<Bytes, Error> {
    let status = received.status;
    let html = received.is_html();
    match status.as_u16() {
        200..300 if html => Err(Error::Refused(Refusal::HtmlPage)),
        200..300 => Ok(received.body?),
        300..400 => Err(Error::Refused(Refusal::Redirect(status))),
        400 if html => Err(Error::Refused(Refusal::BadRequestPage)),
        401 | 403 => Err(Error::Refused(Refusal::Status(status))),
        404 | 405 | 410 | 501 => Err(unsupported(status)),
        429 | 503 => Err(Error::Busy { status, retry_after: received.retry_after() }),
        _ => Err(Error::Status { status, message: received.message(token) }),
    }
}

fn unsupported(status: StatusCode) -> Error {
    Error::Unsupported { what: format!("status {}", status.as_u16()) }
}

fn records(nodes: Vec<Box<RawValue>>) -> Result<Vec<Record>, Error> {
    nodes.into_iter().map(|json| Ok(Record { id: wire::record_id(&json)?, json })).collect()
}
