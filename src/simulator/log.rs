//! What the simulator was asked: the log of requests.
//!
//! Owns the record of one request. Never holds a token, a key or a body.

use crate::x509::Fingerprint;
use time::OffsetDateTime;

/// One request that reached the simulator's HTTP layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path without query.
    pub path: String,
    /// Who it was taken for: `robot:NAME`, `api-key`, `token`, or `None`.
    pub authenticated_as: Option<String>,
    /// It carried an `Authorization: Bearer` header, right or wrong.
    pub bearer: bool,
    /// SHA-256 of the client certificate of its connection.
    pub client_certificate: Option<Fingerprint>,
    /// When its body was complete.
    pub at: OffsetDateTime,
    /// Bytes of its body.
    pub body_bytes: usize,
}
