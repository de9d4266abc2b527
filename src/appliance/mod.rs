//! The appliance over HTTP.
//!
//! Owns connecting, sending one request and reading one bounded reply, what
//! each reply means, and the appliance's wire format. [`RobotsApi`] can change
//! the appliance, [`ReadApi`] cannot, by construction. Leaves out how trust was
//! decided (it is handed a finished [`rustls::ClientConfig`]), when to try
//! again ([`Backoff`] only says how long to wait) and what a refusal means for
//! a credential's life. What is known of the API, and what is assumed, stands
//! in `docs/APPLIANCE.md`.
//!
//! HTTP/1.1 is spoken over a connection this module opens itself, so that no
//! redirect, system proxy, pool, automatic retry or decompression exists that
//! would have to be switched off where the support token travels.
//!
//! On failure: every reply is judged by its status before its body, no error
//! holds the token or a body beyond 256 cleaned characters, and every error of
//! a changing call says whether the request can have left this machine.

mod connection;
mod error;
mod exchange;
mod id;
mod json;
mod limits;
mod outcome;
mod proxy;
mod query;
mod read;
mod retry;
mod robots;
mod text;
mod token;
mod wire;

pub use connection::{Connection, Phase, Phases, Target, connect};
pub use error::{ConnectError, Error, ExchangeError};
pub use id::{NotAnId, RemoteId};
pub use limits::{Deadlines, PageLimits};
pub use outcome::{Difference, NotDone, Outcome, Reply, UnknownReason, differences};
pub use query::Query;
pub use read::{Answer, Cursor, Login, Page, Probe, ReadApi, Record, Refusal, Version};
pub use retry::Backoff;
pub use robots::{Authority, Listing, NewRobot, RemoteRobot, Removal, RobotsApi};
pub use token::{SupportToken, TokenError};

#[cfg(test)]
mod tests {
    use super::*;

    fn is_send<T: Send>(_: impl FnOnce() -> T) {}

    #[test]
    fn calls_can_be_spawned() {
        fn any<T>() -> T {
            unreachable!("the closures below are never called")
        }
        is_send(|| connect(any(), any(), any()));
        is_send(|| any::<&RobotsApi>().register(any(), any()));
        is_send(|| any::<&RobotsApi>().list(any()));
        is_send(|| any::<&RobotsApi>().remove(any(), any()));
        is_send(|| any::<&ReadApi>().log_in());
        is_send(|| any::<&ReadApi>().assets_page(any(), any(), any()));
    }
}
