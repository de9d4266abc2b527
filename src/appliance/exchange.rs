//! One request and its one reply, within bounds of size and time.

use std::{
    error::Error as _,
    future::poll_fn,
    io, iter,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode,
    header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, DATE, HOST, RETRY_AFTER, USER_AGENT},
};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use time::OffsetDateTime;
use tokio::time::{Instant, timeout_at};

use super::{
    connection::{Connection, Work},
    error::{ExchangeError, refuses_certificate},
    inflate::Inflate,
    limits::{self, Deadlines, PageLimits},
    retry, text,
    token::SupportToken,
};

/// A request, before it is bound to a connection.
pub(super) struct Call {
    pub(super) method: Method,
    /// Absolute path, already encoded.
    pub(super) path: String,
    /// A JSON body.
    pub(super) body: Option<Vec<u8>>,
    /// The header that logs in where a client certificate does not, by name and value.
    pub(super) login: Option<(HeaderName, HeaderValue)>,
}

/// How long, and for how large a success, a call waits.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    begun: Instant,
    /// How long until the head must be there.
    head: Duration,
    /// How long until the body must be whole.
    body: Duration,
    /// How slowly the body may come.
    rate: Option<PageLimits>,
    /// The largest body of a 2xx reply, decoded.
    size: usize,
    /// Whether the body may come as gzip.
    gzip: bool,
}

impl Bounds {
    /// A control call that begins now.
    pub(super) fn control(deadlines: &Deadlines) -> Self {
        Self {
            begun: Instant::now(),
            head: deadlines.call,
            body: deadlines.call,
            rate: None,
            size: limits::CONTROL_REPLY,
            gzip: false,
        }
    }

    /// An ingest page that is asked for now.
    pub(super) fn page(deadlines: &Deadlines) -> Self {
        Self {
            body: deadlines.page.total,
            rate: Some(deadlines.page),
            size: limits::INGEST_PAGE,
            gzip: true,
            ..Self::control(deadlines)
        }
    }
}

/// A reply whose head has arrived. The status stands, whatever became of the body.
pub(super) struct Received {
    pub(super) status: StatusCode,
    headers: HeaderMap,
    /// Decoded.
    pub(super) body: Result<Bytes, ExchangeError>,
    /// How many bytes of body came over the wire.
    pub(super) wire_bytes: u64,
}

/// No head arrived.
pub(super) struct Failed {
    /// Whether any byte of the request can have left.
    pub(super) sent: bool,
    pub(super) error: ExchangeError,
}

impl Received {
    /// The server's clock.
    pub(super) fn date(&self) -> Option<OffsetDateTime> {
        retry::http_date(self.headers.get(DATE)?.to_str().ok()?)
    }

    /// The clamped wish of the server to be asked later.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        retry::retry_after(self.headers.get(RETRY_AFTER)?.to_str().ok()?, self.date())
    }

    /// Whether it calls itself JSON.
    pub(super) fn says_json(&self) -> bool {
        self.headers
            .get(CONTENT_TYPE)
            .is_some_and(|value| value.as_bytes().to_ascii_lowercase().starts_with(b"application/json"))
    }

    /// What its body says, cleaned and without the token; `None` if it says nothing fit to show.
    pub(super) fn message(&self, token: Option<&SupportToken>) -> Option<String> {
        if self.is_html() { None } else { text::shown(self.body.as_ref().ok()?, token) }
    }

    /// Whether it is an HTML page, by its own word or by its first character.
    pub(super) fn is_html(&self) -> bool {
        let says_html = self.headers.get(CONTENT_TYPE).is_some_and(|value| {
            let value = value.as_bytes().to_ascii_lowercase();
            value.starts_with(b"text/html") || value.starts_with(b"application/xhtml")
        });
        let looks_like_it = self.body.as_ref().is_ok_and(|body| body.trim_ascii_start().starts_with(b"<"));
        says_html || looks_like_it
    }
}

impl Connection {
    /// Sends one request and reads its reply. Network. After an error, or a
    /// body that is an error, the connection is of no further use.
    pub(super) async fn exchange(&mut self, call: Call, bounds: Bounds) -> Result<Received, Failed> {
        self.sent.store(false, Ordering::Relaxed);
        let mut request = request(call, self.authority(), bounds.gzip);
        let informational = Arc::new(AtomicUsize::new(0));
        hyper::ext::on_informational(&mut request, {
            let seen = Arc::clone(&informational);
            move |_| {
                seen.fetch_add(1, Ordering::Relaxed);
            }
        });
        let sent = Arc::clone(&self.sent);
        let failed = |error| Failed { sent: sent.load(Ordering::Relaxed), error };
        let too_many = || informational.load(Ordering::Relaxed) > limits::INFORMATIONAL;

        let Self { sender, work, .. } = self;
        let reply = async {
            sender.ready().await?;
            sender.send_request(request).await
        };
        let mut reply = pin!(reply);
        let reply =
            work.until(poll_fn(|cx| if too_many() { Poll::Ready(None) } else { reply.as_mut().poll(cx).map(Some) }));
        let response = match timeout_at(bounds.begun + bounds.head, reply).await {
            Err(_) => return Err(failed(ExchangeError::Deadline { limit: bounds.head })),
            Ok(Some(Ok(response))) if !too_many() => response,
            Ok(Some(Err(error))) => return Err(failed(broken(work.failure.take().unwrap_or(error)))),
            Ok(_) => return Err(failed(ExchangeError::Informational { limit: limits::INFORMATIONAL })),
        };
        let (head, body) = response.into_parts();
        let size = if head.status.is_success() { bounds.size } else { limits::ERROR_REPLY };
        let mut received = 0;
        let body = match Text::begin(&head.headers, size, bounds.gzip) {
            Ok(text) => read_body(body, work, text, bounds, &mut received).await,
            Err(encoded) => Err(encoded),
        };
        Ok(Received { status: head.status, headers: head.headers, body, wire_bytes: received })
    }
}

fn request(call: Call, authority: &str, gzip: bool) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(Bytes::from(call.body.unwrap_or_default())));
    *request.method_mut() = call.method;
    *request.uri_mut() = call.path.parse().expect("paths are literals and percent-encoded ids");
    let headers = request.headers_mut();
    headers.insert(HOST, authority.parse().expect("a parsed endpoint is a valid Host header"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    if gzip {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    }
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("robocred/", env!("CARGO_PKG_VERSION"))));
    if !request.body().is_end_stream() {
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    if let Some((name, value)) = call.login {
        request.headers_mut().insert(name, value);
    }
    request
}

/// A body on its way from the wire to its text.
enum Text {
    Plain { text: BytesMut, limit: usize },
    Gzip(Inflate),
}

impl Text {
    /// As the head says that the body is encoded, if it may be.
    fn begin(headers: &HeaderMap, limit: usize, gzip: bool) -> Result<Self, ExchangeError> {
        let plain = Self::Plain { text: BytesMut::new(), limit };
        let mut named = headers.get_all(CONTENT_ENCODING).iter();
        let Some(encoding) = named.next() else { return Ok(plain) };
        let is = |name: &str| encoding.as_bytes().eq_ignore_ascii_case(name.as_bytes());
        match named.next() {
            None if is("identity") => Ok(plain),
            None if gzip && (is("gzip") || is("x-gzip")) => Ok(Self::Gzip(Inflate::new(limit))),
            _ => Err(ExchangeError::Encoded { encoding: shown_encoding(encoding) }),
        }
    }

    fn limit(&self) -> usize {
        match self {
            Self::Plain { limit, .. } => *limit,
            // What is compressed is hardly ever larger than what it becomes.
            Self::Gzip(inflate) => inflate.limit(),
        }
    }

    fn feed(&mut self, data: &[u8]) -> Result<(), ExchangeError> {
        match self {
            Self::Plain { text, limit } if text.len() + data.len() > *limit => {
                Err(ExchangeError::TooLarge { limit: *limit })
            }
            Self::Plain { text, .. } => {
                text.extend_from_slice(data);
                Ok(())
            }
            Self::Gzip(inflate) => inflate.feed(data),
        }
    }

    fn finish(self) -> Result<Bytes, ExchangeError> {
        match self {
            Self::Plain { text, .. } => Ok(text.freeze()),
            Self::Gzip(inflate) => inflate.finish().map(Bytes::from),
        }
    }
}

/// A reply may name anything as its encoding, also what it was sent: only words that cannot be that are shown.
fn shown_encoding(value: &HeaderValue) -> String {
    const KNOWN: [&str; 8] = ["gzip", "x-gzip", "deflate", "br", "zstd", "compress", "identity", "dcb"];
    let value = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
    let known = value.split(',').all(|name| KNOWN.contains(&name.trim()));
    if known { value } else { "another encoding".to_owned() }
}

async fn read_body(
    mut body: Incoming,
    work: &mut Work,
    mut text: Text,
    bounds: Bounds,
    received: &mut u64,
) -> Result<Bytes, ExchangeError> {
    // The length a server promises decides only whether to begin; memory grows with what arrives.
    let limit = text.limit();
    if body.size_hint().lower() > limit as u64 {
        return Err(ExchangeError::TooLarge { limit });
    }
    let end = bounds.begun + bounds.body;
    let mut rate = bounds.rate.map(Rate::start);
    loop {
        let alarm = rate.as_ref().map_or(end, |rate| rate.window_end().min(end));
        match timeout_at(alarm, work.until(body.frame())).await {
            Ok(None) => return text.finish(),
            Ok(Some(Err(error))) => return Err(broken(error)),
            Ok(Some(Ok(frame))) => {
                let data = frame.into_data().unwrap_or_default();
                *received += data.len() as u64;
                text.feed(&data)?;
                if let Some(rate) = &mut rate {
                    rate.received += data.len() as u64;
                }
            }
            Err(_) => {}
        }
        let now = Instant::now();
        if now >= end {
            return Err(ExchangeError::Deadline { limit: bounds.body });
        }
        if let Some(rate) = &mut rate {
            rate.judge(now)?;
        }
    }
}

/// Bytes within the current window.
struct Rate {
    limits: PageLimits,
    since: Instant,
    received: u64,
}

impl Rate {
    fn start(limits: PageLimits) -> Self {
        Self { limits, since: Instant::now(), received: 0 }
    }

    fn window_end(&self) -> Instant {
        self.since + self.limits.window
    }

    fn judge(&mut self, now: Instant) -> Result<(), ExchangeError> {
        if now < self.window_end() {
            return Ok(());
        }
        let PageLimits { window, bytes_per_window: wanted, .. } = self.limits;
        if self.received < wanted {
            return Err(ExchangeError::TooSlow { received: self.received, wanted, window });
        }
        *self = Self { limits: self.limits, since: now, received: 0 };
        Ok(())
    }
}

fn broken(error: hyper::Error) -> ExchangeError {
    match tls_inside(&error) {
        Some(rustls::Error::AlertReceived(alert)) if refuses_certificate(*alert) => {
            ExchangeError::CertificateRefused { alert: *alert }
        }
        _ if error.is_parse() => ExchangeError::NotHttp { source: error },
        _ => ExchangeError::Cut { source: error },
    }
}

/// What TLS said, however deep: a request that was still waiting for its turn
/// is told of a broken connection by an error around the connection's own.
fn tls_inside(error: &hyper::Error) -> Option<&rustls::Error> {
    iter::successors(error.source(), |&error| error.source())
        .find_map(|error| error.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref())
}
