//! What others may ask of a running watch over HTTP. Nothing here changes anything.
//!
//! Owns the sockets: who is let in, for how long, and how much may be sent.
//! Leaves out what is answered (`routes`, pure) and where that comes from
//! ([`Board`]). It runs on the loop's own thread and must never keep it
//! waiting: a fixed number of connections at once, one request on each, and a
//! time for everything that a client has to do. Whoever comes when all places
//! are taken waits in the kernel's queue, until a place is free or the client
//! that has kept us waiting longest has had its second.
//!
//! One request a connection: what an idle connection would cost is then never
//! paid, and a scraper that comes every few seconds does not notice.
//!
//! This is `hyper`'s HTTP/1.1 connection and not the simulator's `axum`: there
//! neither headers nor slow clients can be limited.
//!
//! Never fails. A connection that goes wrong ends and concerns nobody else;
//! when none can be accepted (too many open files) it tries again soon. What
//! cannot be parsed is answered by `hyper`, with an empty body.

mod places;
mod routes;

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{
    body::{Body as _, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    time::{sleep, timeout},
};

use self::{
    places::{Place, Places, Seated},
    routes::Route,
};
use super::board::Board;
use crate::clock::Clock;

/// How much is taken from clients.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once.
    pub places: usize,
    /// How long a client may keep us waiting while another one wants its place.
    pub patience: Duration,
    /// From the connection to the end of the request's head.
    pub head: Duration,
    /// How long the inventory may take.
    pub look: Duration,
    /// From the connection to the last byte of the answer.
    pub whole: Duration,
    /// From the last byte of the answer until the client has closed.
    pub leave: Duration,
    /// Bytes of a request's head; more is 431. So are more than 100 headers.
    pub head_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            places: 64,
            patience: Duration::from_secs(1),
            head: Duration::from_secs(10),
            look: Duration::from_secs(15),
            whole: Duration::from_secs(30),
            leave: Duration::from_secs(1),
            head_bytes: 16 * 1024,
        }
    }
}

/// How much of what nobody asked for is read before a connection is closed.
const LEAVE_BYTES: usize = 256 * 1024;
/// Connections that may wait for a place in the kernel's queue.
const QUEUE: u32 = 1024;
/// How long no connection is accepted after that has failed.
const REST: Duration = Duration::from_millis(200);

/// A socket for [`serve`], with room for a crowd. Needs a runtime.
///
/// # Errors
/// The kernel's: the address is taken, is not this machine's, or may not be had.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Elsewhere than on Unix it would let another program take the address over.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(QUEUE)
}

/// Serves until `stop`; connections that are open then are cut.
pub async fn serve(listener: TcpListener, board: Arc<Board>, clock: Arc<dyn Clock>, stop: impl Future<Output = ()>) {
    serve_within(Limits::default(), listener, board, clock, stop).await;
}

/// As [`serve`], with other limits.
pub async fn serve_within(
    limits: Limits,
    listener: TcpListener,
    board: Arc<Board>,
    clock: Arc<dyn Clock>,
    stop: impl Future<Output = ()>,
) {
    let loopback = listener.local_addr().is_ok_and(|address| address.ip().to_canonical().is_loopback());
    let desk = Arc::new(Desk { limits, board, clock, loopback });
    tokio::select! {
        () = stop => {}
        never = accept(&listener, &desk) => match never {},
    }
}

async fn accept(listener: &TcpListener, desk: &Arc<Desk>) -> Infallible {
    let mut places = Places::of(desk.limits.places, desk.limits.patience);
    loop {
        let accepted = tokio::select! {
            () = places.one_ended() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let desk = desk.clone();
                places.take(|place| async move { desk.converse(stream, &place).await }).await;
            }
            // The client's fault, and its loss.
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted; trying again");
                sleep(REST).await;
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// What every connection needs to be answered.
struct Desk {
    limits: Limits,
    board: Arc<Board>,
    clock: Arc<dyn Clock>,
    /// Only this machine can connect.
    loopback: bool,
}

impl Desk {
    /// One connection, from its first byte to its end.
    async fn converse(&self, stream: TcpStream, place: &Place) {
        let _ = stream.set_nodelay(true);
        let service = service_fn(|request| {
            Box::pin(async move {
                let _ours = place.our_turn();
                Ok::<_, Infallible>(self.answer(request).await.map(Full::new))
            })
        });
        let mut connection = http1::Builder::new()
            .keep_alive(false)
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head)
            .max_header_size(self.limits.head_bytes)
            .serve_connection(TokioIo::new(Seated { stream, place }), service);
        let said = tokio::select! {
            // What the client has sent meanwhile is seen first.
            biased;
            // Its error is the client's, who has been told what there is to tell.
            _ = poll_fn(|context| connection.poll_without_shutdown(context)) => true,
            () = sleep(self.limits.whole) => false,
            () = place.wanted() => false,
        };
        let stream = connection.into_parts().io.into_inner().stream;
        if said {
            tokio::select! {
                // However that ends, the socket is closed.
                _ = timeout(self.limits.leave, take_leave(stream)) => {}
                () = place.wanted() => {}
            }
        } else {
            // Else the kernel would go on trying to send what nobody reads.
            let _ = stream.set_zero_linger();
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Bytes> {
        let (head, body) = request.into_parts();
        let route = match routes::route(&head, body.is_end_stream(), self.loopback) {
            Ok(route) => route,
            Err(refusal) => return *refusal,
        };
        let health = self.board.health();
        if route == Route::Live {
            return routes::live(&health);
        }
        match timeout(self.limits.look, self.board.view()).await {
            Ok(view) => routes::answer(&route, &view, &health, self.clock.now()),
            Err(_) => routes::too_slow(self.limits.look),
        }
    }
}

/// Closes so that the answer arrives: a socket that is closed with something unread in it takes
/// back what it has sent.
async fn take_leave(mut stream: TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    let mut unread = [0; 4096];
    let mut left = LEAVE_BYTES;
    while left > 0 {
        match stream.read(&mut unread).await? {
            0 => break,
            read => left = left.saturating_sub(read),
        }
    }
    Ok(())
}
