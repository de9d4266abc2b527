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
//! redirect, system proxy, pool or automatic retry exists that would have to be
//! switched off where the support token travels. Compression is asked for and
//! taken where pages are read, nowhere else.
//!
//! On failure: every reply is judged by its status before its body, no error
//! holds the token or a body beyond 256 cleaned characters, and every error of
//! a changing call says whether the request can have left this machine.

mod api_key;
mod connection;
mod cut;
mod error;
mod exchange;
mod id;
mod inflate;
mod json;
mod limits;
mod outcome;
mod pages;
mod proxy;
mod query;
mod read;
mod retry;
mod robots;
mod scan;
mod text;
mod token;
mod wire;

pub use api_key::ApiKey;
pub use connection::{Connection, Phase, Phases, Target, connect};
pub use cut::{Cut, Record};
pub use error::{ConnectError, Error, ExchangeError};
pub use id::{NotAnId, RemoteId};
pub use limits::{Deadlines, PageLimits};
pub use outcome::{Difference, NotDone, Outcome, Reply, UnknownReason, differences};
pub use pages::{Body, Cursor, List, PageAsk, PairedIcp, Peek, Width};
pub use query::Query;
pub use read::{Answer, Login, Probe, ReadApi, Refusal, Version};
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
        is_send(|| any::<&ReadApi>().graphql_page(any()));
    }
}
