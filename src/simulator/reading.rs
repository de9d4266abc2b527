//! What is not publicly known of reading from the appliance, each unknown one type.
//!
//! Owns the switches that concern lists and nothing else; those of robots and
//! of both are in `behaviours`. Nothing here can fail.

/// The machine id of the appliance behind a simulated Enterprise Manager, where it was started by a name.
pub const MACHINE_ID: &str = "5f0c1f8e-7d1b-4c38-9d0a-0b6f5a3c9e21";

/// Which fields and lists the GraphQL schema has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Release {
    /// Those of the recordings of 2022 only: a wider selection is a validation error.
    Older,
    /// Those that clients of the last years ask for.
    #[default]
    Usual,
    /// The list `findings` too.
    Newer,
}

/// Whether there is an endpoint for robots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RobotsEndpoint {
    /// There is one.
    #[default]
    There,
    /// 404 for every call: only an API key opens this appliance.
    NotFound404,
    /// The web application's HTML with 200 for every call.
    Html200,
}

/// What `GET /v1/assets/{id}/plugin_hits` does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hits {
    /// A JSON list.
    #[default]
    Works,
    /// 404 for every id.
    NotFound404,
    /// 405.
    MethodNotAllowed405,
    /// The web application's HTML with 200.
    Html200,
}

/// The outermost value of `POST /v1/assets`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListShape {
    /// A bare list, as in 2020.
    #[default]
    Bare,
    /// `{"assets":[…]}`.
    Object,
    /// A bare list, and `null` where it would be empty.
    NullWhenEmpty,
}

/// In what order rows are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// As asked for.
    #[default]
    AsAsked,
    /// Always the same order that follows no field.
    Ignored,
}

/// Rows that come or go between two pages.
///
/// Pages of every list are counted together from the last change of behaviours on, but for pages of one
/// row, which are probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowsMove {
    /// The first page that sees it, counted from 1.
    pub at_page: usize,
    /// The first row of the list is gone; else a new one stands before it.
    pub removed: bool,
    /// Once more with every later page.
    pub always: bool,
    /// `totalCount` does not change.
    pub total_lies: bool,
}

/// Pages that are too large for the appliance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlowPages {
    /// The most rows it can give in time.
    pub over: usize,
    /// What a larger page meets.
    pub answer: SlowAnswer,
}

/// What a page that is too large meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowAnswer {
    /// No answer, the connection stays open.
    Hang,
    /// 502 with the HTML page of a front-end proxy.
    BadGateway502,
    /// 504 with the HTML page of a front-end proxy.
    GatewayTimeout504,
}

/// A limit on requests: 429 with `Retry-After`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttle {
    /// Every n-th request is refused, counted from the last change of behaviours on.
    pub every: usize,
    /// Seconds to wait.
    pub retry_after: u32,
}
