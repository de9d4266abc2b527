//! The calls that cannot change an appliance: probes, version, pages of its lists, hits, paired appliances.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{HeaderName, Method, StatusCode};
use rustls::ClientConfig;
use time::OffsetDateTime;
use tokio::sync::Mutex;

use super::{
    PairedIcp,
    api_key::ApiKey,
    connection::{Connection, Target, connect},
    error::{Error, ExchangeError},
    exchange::{Bounds, Call, Failed, Received},
    id::RemoteId,
    limits::{self, Deadlines},
    pages::{Body, PageAsk},
    query::Query,
    text,
    token::SupportToken,
    wire,
};
use crate::site::MachineId;

/// As recorded traffic spells it, in lower case as HTTP compares it.
const X_API_KEYS: HeaderName = HeaderName::from_static("x-apikeys");

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
    relay: Option<MachineId>,
    api_key: Option<Arc<ApiKey>>,
    idle: Mutex<Option<Connection>>,
}

/// Every request this type can form.
enum Ask<'a> {
    Version,
    NilAsset,
    Assets {
        offset: u64,
        limit: u32,
        include_hidden: bool,
    },
    Hits {
        asset: &'a RemoteId,
    },
    /// Through the relay, where there is one.
    Graphql {
        query: Query,
        variables: &'a wire::Variables<'a>,
    },
    /// The Enterprise Manager's own.
    Manager {
        query: Query,
        variables: &'a wire::Variables<'a>,
    },
}

impl ReadApi {
    /// For one appliance. `tls` decides whom to trust and which client
    /// certificate to offer. Touches nothing.
    #[must_use]
    pub fn new(target: Target, tls: Arc<ClientConfig>, deadlines: Deadlines) -> Self {
        Self { target, tls, deadlines, relay: None, api_key: None, idle: Mutex::new(None) }
    }

    /// GraphQL is asked of the paired appliance of this id, through the Enterprise Manager that `target` is.
    #[must_use]
    pub fn relayed_to(self, machine: Option<MachineId>) -> Self {
        Self { relay: machine, ..self }
    }

    /// Every request carries this API key.
    #[must_use]
    pub fn with_api_key(self, key: impl Into<Arc<ApiKey>>) -> Self {
        Self { api_key: Some(key.into()), ..self }
    }

    fn call(&self, ask: &Ask<'_>) -> Call {
        let (method, path, body) = match *ask {
            Ask::Version => (Method::GET, "/v1/version".to_owned(), None),
            Ask::NilAsset => (Method::GET, "/v1/assets/00000000-0000-0000-0000-000000000000".to_owned(), None),
            Ask::Assets { offset, limit, include_hidden } => {
                (Method::POST, "/v1/assets".to_owned(), Some(wire::paging(offset, limit, include_hidden)))
            }
            Ask::Hits { asset } => (Method::GET, format!("/v1/assets/{}/plugin_hits", asset.path_segment()), None),
            Ask::Graphql { query, variables } => {
                let path = self.relay.as_ref().map_or_else(|| "/graphql".to_owned(), |id| format!("/{id}/graphql"));
                (Method::POST, path, Some(wire::graphql(query, variables)))
            }
            Ask::Manager { query, variables } => {
                (Method::POST, "/graphql".to_owned(), Some(wire::graphql(query, variables)))
            }
        };
        let login = self.api_key.as_ref().map(|key| (X_API_KEYS, key.header()));
        Call { method, path, body, login }
    }

    /// `GET /v1/version`. Network.
    pub async fn version(&self) -> Result<Version, Error> {
        let received = self.fetch(&Ask::Version, self.control()).await?;
        let server_time = received.date();
        let version: wire::Version = wire::read(&readable(received, self.secret())?)?;
        let version = text::shown(version.version.as_bytes(), self.secret())
            .ok_or_else(|| Error::Unexpected { reason: "an empty version".to_owned() })?;
        Ok(Version { version, server_time })
    }

    /// One probe, on a connection of its own so that the certificate is judged anew. Network.
    pub async fn probe(&self, probe: Probe) -> Login {
        if !self.can_ask(probe) {
            return Login::new(probe, None, Err(rest_is_not_relayed()));
        }
        match connect(&self.target, &self.tls, &self.deadlines).await {
            Ok(connection) => self.probe_on(connection, probe).await,
            Err(error) => Login::new(probe, None, Err(error.into())),
        }
    }

    /// One probe, on a connection that [`connect`] has just opened, for who
    /// wants to look at that connection first. Network.
    pub async fn probe_on(&self, mut connection: Connection, probe: Probe) -> Login {
        if !self.can_ask(probe) {
            return Login::new(probe, None, Err(rest_is_not_relayed()));
        }
        match connection.exchange(self.call(&probe_ask(probe)), self.control()).await {
            Ok(received) => {
                let server_time = received.date();
                let answer = let_in(probe, received, self.secret()).map_err(|error| self.relayed(error));
                Login::new(probe, server_time, answer)
            }
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
        for probe in Probe::ALL[1..].iter().filter(|probe| self.can_ask(**probe)) {
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

    /// A page over GraphQL, in a fixed order. Network.
    pub async fn graphql_page(&self, ask: &PageAsk<'_>) -> Result<Body, Error> {
        let query = Query::Page { list: ask.list, width: ask.width, details: ask.details };
        let variables = wire::Variables::page(ask);
        let page = self.body(&Ask::Graphql { query, variables: &variables }, graphql_body).await;
        page.map_err(|error| self.relayed(error))
    }

    /// A page of assets over REST v1, from `offset`: an empty one ends the
    /// walk. It has no cursor and no count. Network; sends nothing where there is a relay.
    pub async fn rest_page(&self, offset: u64, limit: u32, include_hidden: bool) -> Result<Body, Error> {
        self.rest(&Ask::Assets { offset, limit, include_hidden }, readable).await
    }

    /// What the plugins found on one device, over REST v1; `None`: the
    /// appliance says, in JSON, that there is no such thing. Network; sends
    /// nothing where there is a relay.
    pub async fn plugin_hits(&self, asset: &RemoteId) -> Result<Option<Body>, Error> {
        let mut gone = false;
        let judge = |received: Received, secret: Option<&SupportToken>| match &received.body {
            Ok(body) if received.status == StatusCode::NOT_FOUND && !received.is_html() && wire::is_json(body) => {
                gone = true;
                Ok(Bytes::new())
            }
            _ => readable(received, secret),
        };
        let body = self.rest(&Ask::Hits { asset }, judge).await?;
        Ok((!gone).then_some(body))
    }

    /// The appliances that this Enterprise Manager is paired with, for `em` in
    /// the configuration; what has no usable id is left out. Network.
    pub async fn paired_icps(&self) -> Result<Vec<PairedIcp>, Error> {
        let (mut all, mut after) = (Vec::new(), None::<String>);
        for _ in 0..limits::PAIRED_PAGES {
            let variables = wire::Variables::paired(after.as_deref());
            let ask = Ask::Manager { query: Query::PairedIcps, variables: &variables };
            let page = self.body(&ask, graphql_body).await;
            let page = page.and_then(|body| wire::paired_icps(&body.text, self.secret()));
            let (icps, next) = page.map_err(|error| if error.is_validation() { not_a_manager() } else { error })?;
            all.extend(icps);
            match next {
                Some(cursor) if after.as_ref() != Some(&cursor) => after = Some(cursor),
                _ => return Ok(all),
            }
        }
        Err(Error::Unexpected { reason: format!("more than {} pages of paired appliances", limits::PAIRED_PAGES) })
    }

    async fn rest(
        &self,
        ask: &Ask<'_>,
        judge: impl FnOnce(Received, Option<&SupportToken>) -> Result<Bytes, Error>,
    ) -> Result<Body, Error> {
        if self.relay.is_some() {
            return Err(rest_is_not_relayed());
        }
        self.body(ask, judge).await
    }

    /// `judge` is handed what has to be kept out of any message.
    async fn body(
        &self,
        ask: &Ask<'_>,
        judge: impl FnOnce(Received, Option<&SupportToken>) -> Result<Bytes, Error>,
    ) -> Result<Body, Error> {
        let received = self.fetch(ask, self.page()).await?;
        let (server_time, wire) = (received.date(), received.wire_bytes);
        let text = judge(received, self.secret())?;
        Ok(Body { received: wire, text, server_time, key: self.api_key.clone() })
    }

    fn secret(&self) -> Option<&SupportToken> {
        self.api_key.as_deref().map(ApiKey::secret)
    }

    /// Whether a probe goes where a relay leads: nothing is known of REST behind one.
    fn can_ask(&self, probe: Probe) -> bool {
        self.relay.is_none() || probe == Probe::Graphql
    }

    /// What an error means where GraphQL is relayed: a wrong id is answered as an unknown path is.
    fn relayed(&self, error: Error) -> Error {
        match (&self.relay, error) {
            (Some(machine), Error::Refused(refusal)) if refusal.is_weak() => {
                Error::NotRelayed { machine: machine.clone(), what: refusal.to_string() }
            }
            (Some(machine), Error::Unsupported { what }) => Error::NotRelayed { machine: machine.clone(), what },
            (_, error) => error,
        }
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
            match connection.exchange(self.call(ask), bounds).await {
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
        let received = connection.exchange(self.call(ask), bounds).await.map_err(|failed| failed.error)?;
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
fn let_in(probe: Probe, received: Received, secret: Option<&SupportToken>) -> Result<(), Error> {
    match probe {
        Probe::Graphql => wire::has_assets(&graphql_body(received, secret)?, secret),
        Probe::RestList => wire::is_listing(&readable(received, secret)?),
        Probe::RestNil if received.status == StatusCode::NOT_FOUND && !received.is_html() => {
            let body = received.body?;
            wire::is_json(&body).then_some(()).ok_or_else(|| unsupported(StatusCode::NOT_FOUND))
        }
        Probe::RestNil => {
            let body = readable(received, secret)?;
            wire::is_json(&body).then_some(()).ok_or_else(|| Error::Unexpected { reason: "not JSON".to_owned() })
        }
    }
}

/// The body of a GraphQL reply. GraphQL errors with a 4xx or 5xx status are told as such.
fn graphql_body(received: Received, secret: Option<&SupportToken>) -> Result<Bytes, Error> {
    if !received.status.is_success()
        && let Ok(body) = &received.body
        && let Err(error @ (Error::Graphql { .. } | Error::Refused(_))) = wire::graphql_data(body, secret)
    {
        return Err(error);
    }
    readable(received, secret)
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

fn rest_is_not_relayed() -> Error {
    Error::Unsupported { what: "REST through an Enterprise Manager, of which nothing is known".to_owned() }
}

fn not_a_manager() -> Error {
    Error::Unsupported { what: "a list of paired appliances, which only an Enterprise Manager has".to_owned() }
}
