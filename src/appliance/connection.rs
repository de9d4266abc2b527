//! One TLS connection to one appliance, each phase timed and bounded.

use std::{
    fmt,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig,
    pki_types::{CertificateDer, ServerName},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, lookup_host},
    time::{Instant, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    error::ConnectError,
    limits::{self, Deadlines},
    proxy,
};
use crate::site::{Endpoint, Proxy};

/// Where an appliance is, and the proxy on the way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The appliance.
    pub endpoint: Endpoint,
    /// A proxy that is asked, by CONNECT, for a tunnel. TLS runs inside it.
    pub proxy: Option<Proxy>,
}

/// A step on the way to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Finding the address of the host (or of the proxy).
    Resolve,
    /// Reaching it over TCP.
    Connect,
    /// Asking the proxy for a tunnel.
    Proxy,
    /// The TLS handshake.
    Tls,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Proxy => "proxy",
            Self::Tls => "tls",
        })
    }
}

/// How long each phase of a connection took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// Finding the address.
    pub resolve: Duration,
    /// TCP.
    pub connect: Duration,
    /// The proxy's tunnel, if there is a proxy.
    pub proxy: Option<Duration>,
    /// The TLS handshake.
    pub tls: Duration,
}

type Stream = Wire<TlsStream<TcpStream>>;
type Driver = http1::Connection<TokioIo<Stream>, Full<Bytes>>;

/// An open connection, one request at a time. Dropping it closes it.
pub struct Connection {
    authority: String,
    certificates: Vec<CertificateDer<'static>>,
    tls_version: Option<rustls::ProtocolVersion>,
    phases: Phases,
    pub(super) sender: http1::SendRequest<Full<Bytes>>,
    pub(super) work: Work,
    /// Whether a byte was handed to TLS since this was last cleared.
    pub(super) sent: Arc<AtomicBool>,
}

impl Connection {
    /// The server's certificates as presented, its own first, in DER.
    #[must_use]
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// The TLS version agreed on.
    #[must_use]
    pub fn tls_version(&self) -> Option<rustls::ProtocolVersion> {
        self.tls_version
    }

    /// How long each phase took.
    #[must_use]
    pub fn phases(&self) -> Phases {
        self.phases
    }

    /// The `Host` header of requests on it.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }
}

/// The connection's own work: moving bytes between the socket and a request.
/// Done only while a call waits, so that no background task outlives one.
pub(super) struct Work {
    /// None once it has ended.
    driver: Option<Pin<Box<Driver>>>,
    /// How it ended. A request that was not yet under way then does not learn it otherwise.
    pub(super) failure: Option<hyper::Error>,
}

impl Work {
    /// Works until `step` is done.
    pub(super) async fn until<T>(&mut self, step: impl Future<Output = T>) -> T {
        let mut step = pin!(step);
        poll_fn(|cx| {
            if let Some(driver) = &mut self.driver
                && let Poll::Ready(result) = driver.as_mut().poll(cx)
            {
                self.driver = None;
                self.failure = result.err();
            }
            step.as_mut().poll(cx)
        })
        .await
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("to", &self.authority)
            .field("tls", &self.tls_version)
            .finish_non_exhaustive()
    }
}

/// Opens a connection: resolve, TCP, proxy tunnel if any, TLS. Network. Sends
/// no byte of HTTP to the appliance; the server is trusted as `tls` says.
pub async fn connect(
    target: &Target,
    tls: &Arc<ClientConfig>,
    deadlines: &Deadlines,
) -> Result<Connection, ConnectError> {
    let endpoint = &target.endpoint;
    let (host, port, address) = match &target.proxy {
        Some(proxy) => (proxy.host.clone(), proxy.port, format!("{}:{}", proxy.host, proxy.port)),
        None => (endpoint.name(), endpoint.port(), endpoint.authority()),
    };
    let hop = Hop { address };
    let mut phases = Phases::default();

    let clock = Instant::now();
    let addresses: Vec<SocketAddr> = hop
        .within(Phase::Resolve, deadlines.resolve, lookup_host((host.as_str(), port)))
        .await?
        .map_err(|source| ConnectError::Resolve { name: host.clone(), source })?
        .collect();
    phases.resolve = clock.elapsed();

    let clock = Instant::now();
    let mut stream = reach(&addresses, deadlines.connect).await.map_err(|source| match source.kind() {
        io::ErrorKind::TimedOut => hop.late(Phase::Connect, deadlines.connect),
        _ => ConnectError::Connect { address: hop.address.clone(), source },
    })?;
    // Small requests, each awaited: waiting to fill a packet only adds delay.
    let _ = stream.set_nodelay(true);
    phases.connect = clock.elapsed();

    if target.proxy.is_some() {
        let clock = Instant::now();
        hop.within(Phase::Proxy, deadlines.tls, proxy::open_tunnel(&mut stream, &hop.address, endpoint)).await??;
        phases.proxy = Some(clock.elapsed());
    }

    let hop = Hop { address: endpoint.authority() };
    let clock = Instant::now();
    let name = ServerName::try_from(endpoint.name()).map_err(|_| ConnectError::Resolve {
        name: endpoint.name(),
        source: io::Error::from(io::ErrorKind::InvalidInput),
    })?;
    let stream = hop
        .within(Phase::Tls, deadlines.tls, TlsConnector::from(Arc::clone(tls)).connect(name, stream))
        .await?
        .map_err(|source| hop.tls_failure(source))?;
    phases.tls = clock.elapsed();

    let (_, session) = stream.get_ref();
    let certificates = session.peer_certificates().unwrap_or_default().iter().map(|c| c.clone().into_owned()).collect();
    let tls_version = session.protocol_version();
    let sent = Arc::new(AtomicBool::new(false));
    let wire = Wire { stream, sent: Arc::clone(&sent), write_failed: false };
    let (sender, driver) = http1::Builder::new()
        .max_buf_size(limits::REPLY_HEAD)
        // The buffer may hold more than its limit by one read; this bound is exact.
        .max_header_size(limits::REPLY_HEAD)
        .max_headers(limits::HEADERS)
        .handshake(TokioIo::new(wire))
        .await
        .map_err(|source| ConnectError::TlsCut { address: hop.address.clone(), source: io::Error::other(source) })?;
    Ok(Connection {
        authority: endpoint.authority(),
        certificates,
        tls_version,
        phases,
        sender,
        work: Work { driver: Some(Box::pin(driver)), failure: None },
        sent,
    })
}

/// Tries the addresses one after the other, each with its share of the time left.
async fn reach(addresses: &[SocketAddr], limit: Duration) -> io::Result<TcpStream> {
    let end = Instant::now() + limit;
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for (index, address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        let share = end.saturating_duration_since(Instant::now()) / left;
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::Error::from(io::ErrorKind::TimedOut),
        }
    }
    Err(last)
}

/// The machine a phase speaks to, for its errors.
struct Hop {
    address: String,
}

impl Hop {
    async fn within<T>(&self, phase: Phase, limit: Duration, step: impl Future<Output = T>) -> Result<T, ConnectError> {
        timeout(limit, step).await.map_err(|_| self.late(phase, limit))
    }

    fn late(&self, phase: Phase, limit: Duration) -> ConnectError {
        ConnectError::Deadline { address: self.address.clone(), phase, limit }
    }

    fn tls_failure(&self, error: io::Error) -> ConnectError {
        let address = self.address.clone();
        // An io::Error hides the error inside it from a source chain; take it out.
        match error.downcast::<rustls::Error>() {
            Ok(source) => ConnectError::Tls { address, source },
            Err(source) => ConnectError::TlsCut { address, source },
        }
    }
}

/// The TLS stream, seen on its way to the HTTP connection.
///
/// It notes whether any byte of a request was handed to TLS. After a failed
/// write it goes on reading: what the server said before it closed (an alert
/// about our certificate, an early reply) explains the failure, and a write
/// error alone does not.
struct Wire<S> {
    stream: S,
    sent: Arc<AtomicBool>,
    write_failed: bool,
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.write_failed {
            return Poll::Ready(Ok(bytes.len()));
        }
        // Said before the attempt: a write that fails may have sent a part.
        if !bytes.is_empty() {
            self.sent.store(true, Ordering::Relaxed);
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes));
        self.write_failed = written.is_err();
        Poll::Ready(Ok(written.unwrap_or(bytes.len())))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.write_failed && ready!(Pin::new(&mut self.stream).poll_flush(cx)).is_err() {
            self.write_failed = true;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn what_was_said_before_the_end_is_read_after_a_failed_write() {
        let (ours, mut theirs) = duplex(64);
        theirs.write_all(b"no certificate").await.unwrap();
        drop(theirs);
        let sent = Arc::new(AtomicBool::new(false));
        let mut wire = Wire { stream: ours, sent: Arc::clone(&sent), write_failed: false };
        wire.write_all(b"POST").await.unwrap();
        wire.flush().await.unwrap();
        assert!(sent.load(Ordering::Relaxed));
        let mut said = String::new();
        wire.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "no certificate");
    }
}
