//! How much, how long and how many: every bound on what an appliance may make us do.

use std::time::Duration;

/// The largest reply to a control call, in bytes.
pub(super) const CONTROL_REPLY: usize = 1 << 20;
/// The largest ingest page, in bytes.
pub(super) const INGEST_PAGE: usize = 64 << 20;
/// How many times its compressed size a page may have.
pub(super) const INFLATED: u64 = 200;
/// How large a page may be whatever its compressed size, in bytes.
pub(super) const INFLATED_FREE: u64 = 64 << 10;
/// The largest error body that is looked at for a message, in bytes.
pub(super) const ERROR_REPLY: usize = 64 << 10;
/// The most characters of an error body that are kept.
pub(super) const SHOWN_CHARS: usize = 256;
/// The read buffer, and with it the largest reply head, in bytes.
pub(super) const REPLY_HEAD: usize = 64 << 10;
/// The most header lines of one reply.
pub(super) const HEADERS: usize = 100;
/// The most informational (1xx) replies before the real one.
pub(super) const INFORMATIONAL: usize = 5;
/// The deepest nesting of a JSON reply.
pub(super) const JSON_DEPTH: usize = 32;
/// The most values in one JSON reply.
pub(super) const JSON_ELEMENTS: usize = 200_000;
/// The longest cursor, as it is written.
pub(super) const CURSOR: usize = 4 << 10;
/// The most pages of paired appliances, of 100 each.
pub(super) const PAIRED_PAGES: usize = 100;
/// The longest support token, in bytes.
pub(super) const TOKEN: usize = 8 << 10;

/// How long each part of a call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// Resolving the host name.
    pub resolve: Duration,
    /// Reaching the TCP port, all addresses together.
    pub connect: Duration,
    /// The TLS handshake; also a proxy's reply to CONNECT.
    pub tls: Duration,
    /// A whole control call: connecting, sending, and the last byte of the reply.
    pub call: Duration,
    /// The bounds on an ingest page, which may be large.
    pub page: PageLimits,
}

/// How slow an ingest page may be once its head has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimits {
    /// The whole page.
    pub total: Duration,
    /// The span over which the rate is measured.
    pub window: Duration,
    /// The fewest bytes that must arrive in every window.
    pub bytes_per_window: u64,
}

impl Default for Deadlines {
    /// Resolve 5 s, connect 5 s, TLS 10 s, a control call 60 s; a page 15 min
    /// at no less than 1 KiB/s over 30 s.
    fn default() -> Self {
        Self {
            resolve: Duration::from_secs(5),
            connect: Duration::from_secs(5),
            tls: Duration::from_secs(10),
            call: Duration::from_mins(1),
            page: PageLimits {
                total: Duration::from_mins(15),
                window: Duration::from_secs(30),
                bytes_per_window: 30 << 10,
            },
        }
    }
}
