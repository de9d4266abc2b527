//! The fixed number of connections at once, and which of them has to go when
//! another one comes.
//!
//! Only a client that keeps us waiting loses its place: one that has not said
//! what it wants, or does not read what it is told. While an answer is being
//! made, nobody is sent away, and nobody who reads it, however long it is.

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::Notify,
    task::{JoinSet, yield_now},
    time::{Instant, sleep_until},
};

/// How long a client that was told to go has for it, before we look again.
const GLANCE: Duration = Duration::from_millis(20);

/// All places. Dropped, every connection ends.
pub(super) struct Places {
    most: usize,
    patience: Duration,
    tasks: JoinSet<()>,
    taken: Vec<Arc<Place>>,
}

/// The place of one connection.
pub(super) struct Place {
    /// Since when it is the client's turn, or since it last took something; `None` while it is ours.
    theirs_since: Mutex<Option<Instant>>,
    patience: Duration,
    wanted: Notify,
}

impl Places {
    pub(super) fn of(most: usize, patience: Duration) -> Self {
        Self { most, patience, tasks: JoinSet::new(), taken: Vec::new() }
    }

    /// Ends when a connection has ended; never while there is none.
    pub(super) async fn one_ended(&mut self) {
        if self.tasks.is_empty() {
            std::future::pending::<()>().await;
        }
        // One that panicked has ended as well.
        let _ = self.tasks.join_next().await;
        // Held by nobody else: its connection is gone.
        self.taken.retain(|place| Arc::strong_count(place) > 1);
    }

    /// Gives a place to a connection, as soon as there is one.
    pub(super) async fn take<F>(&mut self, connection: impl FnOnce(Arc<Place>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        while self.tasks.len() >= self.most {
            let longest = self.taken.iter().filter_map(|place| *place.turn()).min();
            let now = Instant::now();
            let until = longest.unwrap_or(now) + self.patience;
            if until <= now
                && let Some(slowest) = self.taken.iter().find(|place| *place.turn() == longest)
            {
                slowest.wanted.notify_one();
            }
            tokio::select! {
                () = self.one_ended() => {}
                () = sleep_until(until.max(now + GLANCE)) => {}
            }
        }
        let theirs_since = Mutex::new(Some(Instant::now()));
        let place = Arc::new(Place { theirs_since, patience: self.patience, wanted: Notify::new() });
        self.taken.push(place.clone());
        self.tasks.spawn(connection(place));
    }
}

impl Place {
    /// Ends when somebody else is to have it, and the client still keeps us waiting: it may
    /// have done its part long ago, and only now have been looked at.
    pub(super) async fn wanted(&self) {
        loop {
            self.wanted.notified().await;
            // Only after that does the runtime know what happened on the socket while it did something else.
            yield_now().await;
            if self.turn().is_some_and(|since| since.elapsed() >= self.patience) {
                return;
            }
        }
    }

    /// It is our turn, until what is returned is dropped.
    pub(super) fn our_turn(&self) -> OurTurn<'_> {
        *self.turn() = None;
        OurTurn(self)
    }

    fn turn(&self) -> MutexGuard<'_, Option<Instant>> {
        self.theirs_since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// While this is there, the client waits for us.
pub(super) struct OurTurn<'a>(&'a Place);

impl Drop for OurTurn<'_> {
    fn drop(&mut self) {
        *self.0.turn() = Some(Instant::now());
    }
}

/// A connection in its place.
pub(super) struct Seated<'a> {
    pub(super) stream: TcpStream,
    pub(super) place: &'a Place,
}

impl Seated<'_> {
    /// What the client takes counts in its favour; what it sends, a byte at a time, does not.
    fn counted(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let (Poll::Ready(Ok(1..)), Some(since)) = (&written, self.place.turn().as_mut()) {
            *since = Instant::now();
        }
        written
    }
}

impl AsyncRead for Seated<'_> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Seated<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.counted(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.counted(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
