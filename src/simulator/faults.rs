//! Faults on the wire: what is done to one request's reply.
//!
//! Owns the list of faults and when one strikes. Leaves out how bytes are
//! written (`connection`). Nothing here can fail.

use std::time::Duration;

/// What is done to the reply.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// The connection is reset before the request is looked at.
    ResetBefore,
    /// The request takes effect; the connection is reset before any byte of the reply.
    ResetAfter,
    /// The request takes effect; the connection ends after this many bytes of the reply.
    CutAfter(usize),
    /// The request takes effect; the connection ends in the middle of the reply's body.
    CutInBody,
    /// The request takes effect; nothing is ever sent, the connection stays open.
    Hang,
    /// The reply comes one byte at a time, with this pause before each.
    Drip(Duration),
    /// `Content-Length` differs from the body by this many bytes (positive: announces more).
    WrongLength(i64),
    /// Bytes that are not HTTP, in place of the reply.
    Garbage,
    /// These bytes in place of the reply, head included; then the end.
    Raw(Vec<u8>),
    /// The reply's head without a length, then spaces until the client goes.
    Endless,
    /// This status, content type and body in place of the reply; nothing takes effect.
    Answer {
        /// HTTP status.
        status: u16,
        /// `Content-Type`.
        content_type: &'static str,
        /// The body.
        body: Vec<u8>,
    },
}

/// A fault and the request it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Requests whose path is exactly this; `None`: any.
    pub path: Option<String>,
    /// Which of the matching requests from now on, counted from 1.
    pub nth: usize,
    /// What is done.
    pub kind: FaultKind,
}

impl Fault {
    /// For the next request on `path`.
    pub fn next(path: &str, kind: FaultKind) -> Self {
        Self { path: Some(path.to_owned()), nth: 1, kind }
    }
}
