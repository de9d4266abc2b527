//! TCP and TLS: the accept loop, one connection, and replies that go wrong.
//!
//! Owns sockets. An ordinary reply goes through hyper with keep-alive; one
//! with a fault takes the socket away from hyper and writes its own bytes.

use super::{
    FaultKind, gate,
    log::Request,
    replies::{self, Ending},
    state::{Reboot, Shared},
};
use crate::{
    clock::{Clock as _, SystemClock},
    x509::Fingerprint,
};
use axum::Router;
use bytes::Bytes;
use http::{StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// Largest request body read; a larger one is 413.
const BODY_LIMIT: usize = 16 << 20;

/// Accepts connections until told to stop; refuses them while rebooting.
pub(super) async fn accept(
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
    router: Router,
    mut reboots: mpsc::UnboundedReceiver<Reboot>,
    mut stop: watch::Receiver<bool>,
) {
    let mut listener = Some(listener);
    let mut open = JoinSet::new();
    loop {
        let Some(socket) = &listener else {
            listener = TcpListener::bind(address).await.ok();
            if listener.is_none() {
                // Somebody else has the port for the moment.
                tokio::select! {
                    _ = stop.changed() => break,
                    () = tokio::time::sleep(Duration::from_millis(10)) => {}
                }
            }
            continue;
        };
        tokio::select! {
            _ = stop.changed() => break,
            Some(reboot) = reboots.recv() => {
                listener = None;
                // Whoever asked need not wait for the answer.
                let _ = reboot.closed.send(());
                tokio::select! {
                    _ = stop.changed() => break,
                    () = async {
                        // Dropped or said: both mean that the last reply is out.
                        let _ = reboot.last_words_said.await;
                        open.shutdown().await;
                        tokio::time::sleep(reboot.down).await;
                    } => {}
                }
            }
            Some(_) = open.join_next() => {}
            accepted = socket.accept() => if let Ok((tcp, _)) = accepted {
                shared.connections.fetch_add(1, Ordering::Relaxed);
                open.spawn(serve(tcp, shared.clone(), router.clone()));
            }
        }
    }
    open.shutdown().await;
}

/// One connection. Every error ends it and concerns nobody else.
async fn serve(tcp: TcpStream, shared: Arc<Shared>, router: Router) {
    let _ = tcp.set_nodelay(true);
    let Ok(config) = shared.pair().config(&shared) else { return };
    let Ok(tls) = TlsAcceptor::from(Arc::new(config)).accept(tcp).await else { return };
    let certificate =
        tls.get_ref().1.peer_certificates().and_then(|chain| chain.first()).map(|der| Fingerprint::of(der));
    let (take_over, mut scripts) = mpsc::channel::<Script>(1);
    let service_shared = shared.clone();
    let service = service_fn(move |request| {
        answer(service_shared.clone(), router.clone(), certificate, take_over.clone(), request)
    });
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(tls), service);
    tokio::select! {
        _ = &mut connection => {}
        Some(script) = scripts.recv() => {
            let tls = connection.into_parts().io.into_inner();
            // The port is closed before the last reply is sent, so that its
            // reader cannot connect once more.
            let rebooting = match script.reboot {
                Some(down) => Some(shared.reboot(down).await),
                None => None,
            };
            // The client may be gone by then; how it ends is the script's point.
            let _ = script.run(tls).await;
            drop(rebooting);
        }
    }
}

/// One request.
async fn answer(
    shared: Arc<Shared>,
    router: Router,
    certificate: Option<Fingerprint>,
    take_over: mpsc::Sender<Script>,
    request: http::Request<Incoming>,
) -> Result<http::Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let fault = shared.take_fault(&path);
    if fault == Some(FaultKind::ResetBefore) {
        return hand_over(&take_over, Script::default().reset()).await;
    }
    let body = Limited::new(body, BODY_LIMIT).collect().await.map(http_body_util::Collected::to_bytes);
    let caller = shared.caller(certificate, &parts.headers);
    shared.record(Request {
        method: parts.method.to_string(),
        path,
        authenticated_as: caller.name(),
        bearer: caller.bearer,
        client_certificate: certificate,
        at: SystemClock.now(),
        body_bytes: body.as_ref().map_or(0, Bytes::len),
    });
    if !shared.latency.is_zero() {
        tokio::time::sleep(shared.latency).await;
    }
    let began = Instant::now();
    let behaviours = shared.behaviours();
    let accepted = parts.headers.get(header::ACCEPT_ENCODING).filter(|_| !behaviours.no_gzip).cloned();
    let response = match (&fault, body) {
        (Some(FaultKind::Answer { status, content_type, body }), _) => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            replies::with_type(status, content_type, body.clone())
        }
        (_, Err(_)) => replies::error(StatusCode::PAYLOAD_TOO_LARGE, "body too large"),
        (_, Ok(body)) => {
            if let Some(refused) = gate::refused(&shared, &behaviours, parts.uri.path()) {
                refused
            } else {
                let mut request = http::Request::from_parts(parts, axum::body::Body::from(body));
                request.extensions_mut().insert(caller);
                match TowerToHyperService::new(router).call(request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                }
            }
        }
    };
    let (mut parts, body) = response.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let digest = replies::dress(&mut parts, &body, shared.now());
    let body = replies::pack(&mut parts, body, accepted.as_ref(), digest, &shared.packed);
    shared.spent(began.elapsed(), &mut parts.headers);
    let ending = fault.map(Ending::Fault).or_else(|| parts.extensions.remove::<Ending>());
    let script = match ending {
        None | Some(Ending::Fault(FaultKind::Answer { .. } | FaultKind::ResetBefore)) => {
            return Ok(http::Response::from_parts(parts, Full::new(body)));
        }
        Some(Ending::Reboot(down)) => Script::default().reset().then_reboot(down),
        Some(Ending::RebootAfter(down)) => Script::write(replies::raw(&parts, &body, 0)).close().then_reboot(down),
        Some(Ending::Fault(kind)) => {
            Script::of(kind, |length_error| replies::raw(&parts, &body, length_error), body.len())
        }
    };
    hand_over(&take_over, script).await
}

async fn hand_over<T>(take_over: &mpsc::Sender<Script>, script: Script) -> T {
    // Nobody takes over when the connection has ended already.
    let _ = take_over.send(script).await;
    // The connection is taken away from hyper, and this future dropped with it.
    std::future::pending().await
}

#[derive(Debug, Default)]
enum End {
    /// The socket is dropped: the client sees the end without TLS's farewell.
    #[default]
    Cut,
    /// TLS's farewell, then the end.
    Close,
    /// TCP reset.
    Reset,
    /// Nothing more, until the client goes.
    Hang,
    /// More and more, until the client goes.
    Endless,
}

/// What is written to a connection that was taken over.
#[derive(Debug, Default)]
struct Script {
    bytes: Vec<u8>,
    pause: Option<Duration>,
    end: End,
    reboot: Option<Duration>,
}

impl Script {
    fn write(bytes: Vec<u8>) -> Self {
        Self { bytes, ..Self::default() }
    }

    fn reset(self) -> Self {
        Self { end: End::Reset, ..self }
    }

    fn close(self) -> Self {
        Self { end: End::Close, ..self }
    }

    fn then_reboot(self, down: Duration) -> Self {
        Self { reboot: Some(down), ..self }
    }

    fn of(kind: FaultKind, reply: impl Fn(i64) -> Vec<u8>, body_length: usize) -> Self {
        let cut = |length: usize| {
            let mut bytes = reply(0);
            bytes.truncate(length);
            Self::write(bytes)
        };
        match kind {
            FaultKind::ResetBefore | FaultKind::ResetAfter | FaultKind::Answer { .. } => Self::default().reset(),
            FaultKind::CutAfter(length) => cut(length),
            FaultKind::CutInBody => cut(reply(0).len() - body_length.div_ceil(2)),
            FaultKind::Hang => Self { end: End::Hang, ..Self::default() },
            FaultKind::Drip(pause) => Self { pause: Some(pause), ..Self::write(reply(0)).close() },
            FaultKind::WrongLength(error) => Self::write(reply(error)).close(),
            FaultKind::Garbage => Self::write(b"\x00\x16\xff this is not HTTP \r\n\x1b[31m\r\n\r\n".to_vec()).close(),
            FaultKind::Raw(bytes) => Self::write(bytes).close(),
            FaultKind::Endless => Self {
                end: End::Endless,
                ..Self::write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n".to_vec())
            },
        }
    }

    async fn run(self, mut tls: TlsStream<TcpStream>) -> io::Result<()> {
        match self.pause {
            None => tls.write_all(&self.bytes).await?,
            Some(pause) => {
                for byte in &self.bytes {
                    tokio::time::sleep(pause).await;
                    tls.write_all(std::slice::from_ref(byte)).await?;
                    tls.flush().await?;
                }
            }
        }
        tls.flush().await?;
        match self.end {
            End::Cut => {}
            End::Close => tls.shutdown().await?,
            End::Reset => tls.get_ref().0.set_zero_linger()?,
            End::Endless => loop {
                tls.write_all(&[b' '; 4096]).await?;
            },
            End::Hang => while tls.read(&mut [0; 256]).await? > 0 {},
        }
        Ok(())
    }
}
