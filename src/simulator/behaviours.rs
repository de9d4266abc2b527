//! What is not publicly known of the appliance, each unknown one enum.
//!
//! Owns the switches and their names. Every enum's default is the most
//! plausible answer; none of them is documented by the vendor unless it says
//! so. Leaves out the switches of reading alone (`reading`), and how a behaviour
//! is acted out (`robots`, `rest`, `graphql`, `gate`, `tls`). Nothing here can fail but parsing a name.

use super::reading::{Hits, ListShape, Order, Release, RobotsEndpoint, RowsMove, SlowPages, Throttle};
use std::{str::FromStr, time::Duration};

/// What happens to a `POST /v1/robots` that is in order (right token, valid
/// body, free name).
///
/// Unknowns: the status and the body of a success, and everything that can go
/// wrong on the way there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Registration {
    /// Registered; 201 with id, name, role and certificate.
    #[default]
    Created,
    /// Registered; 200 with the same body.
    Ok,
    /// Registered; 201 and no body.
    CreatedEmpty,
    /// Registered; 204.
    NoContent,
    /// Registered; 201 with a `Location` and no body.
    LocationOnly,
    /// Registered; 200 and a line of plain text.
    Text,
    /// Registered; 201 whose body shows another robot's certificate.
    EchoesOtherCertificate,
    /// Registered; 201 whose body shows another name.
    EchoesOtherName,
    /// Registered; then the connection is reset before any byte of the reply.
    DoneThenReset,
    /// Registered; then no reply, the connection stays open.
    DoneThenHang,
    /// Registered; the reply stops in the middle of its body.
    DoneThenTruncated,
    /// Registered; 500 all the same.
    DoneThen500,
    /// Not registered; 500.
    Error500,
    /// Not registered; 502 with the HTML page of a front-end proxy.
    BadGateway502,
    /// Registered; 504 with the HTML page of a front-end proxy that waited too long.
    DoneThen504,
    /// Registered and answered; then the appliance refuses connections for this long.
    DoneThenReboot(Duration),
    /// Not registered; no reply, and the appliance refuses connections for this long.
    Reboot(Duration),
    /// Registered and answered; later connections see another server key.
    DoneThenServerKeyChanged,
    /// Registered and answered; then the appliance is back at the robots it had before.
    DoneThenRestored,
    /// Not registered; 400.
    BadRequest400,
    /// Not registered; 422.
    Unprocessable422,
    /// Not registered; 401 although the token is right (expired, revoked, used up).
    Unauthorized401,
    /// Not registered; 403.
    Forbidden403,
    /// No such endpoint: 404.
    NotFound404,
    /// 405.
    MethodNotAllowed405,
    /// The endpoint was removed: 410.
    Gone410,
    /// The endpoint was removed: the web application's HTML with 200.
    Html200,
    /// Not registered; 429 with `Retry-After` in seconds.
    TooMany429 {
        /// Seconds to wait.
        retry_after: u32,
    },
    /// Not registered; 302 to a login page.
    Redirect302,
    /// Not registered; 307 to another host, which must never see the token.
    Redirect307,
    /// Not registered; 403 that names a limit on the number of robots.
    Quota,
}

/// What a POST with a name that is taken does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DuplicateName {
    /// 409.
    #[default]
    Conflict409,
    /// 400.
    BadRequest400,
    /// 500.
    Error500,
    /// The old record is silently replaced.
    Replace,
    /// A second robot of the same name appears beside the first.
    SecondRobot,
    /// The same certificate again is a success, another one 409.
    SameIsFine,
}

/// When a registered certificate begins to be accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// Before the reply to the POST is sent.
    #[default]
    AtOnce,
    /// After this many refused requests with it.
    AfterRefusals(u32),
    /// After this long.
    After(Duration),
}

/// Who may register and remove robots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Registrar {
    /// The support token, or an admin robot with its certificate.
    #[default]
    TokenOrAdmin,
    /// The support token only.
    TokenOnly,
    /// The support token, for one registration; 401 afterwards.
    TokenOnce,
}

/// Whether robots can be listed (`GET /v1/robots`, `GET /v1/robots/{id}`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Listing {
    /// A JSON array with certificates.
    #[default]
    Supported,
    /// A JSON array without certificates.
    WithoutCertificates,
    /// 404.
    NotFound404,
    /// 405.
    MethodNotAllowed405,
    /// 403.
    Forbidden403,
    /// The web application's HTML with 200.
    Html200,
}

/// What `DELETE /v1/robots/{id}` does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Removal {
    /// Removed; 204.
    #[default]
    Works,
    /// 405.
    MethodNotAllowed405,
    /// 404 for every id.
    NotFound404,
    /// The web application's HTML with 200; nothing removed.
    Html200,
    /// Removed; then the connection is reset before any byte of the reply.
    LostAnswer,
    /// Removes the robot registered last instead; 204.
    HitsNewest,
}

/// The role a robot gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RoleGiven {
    /// The one that was asked for.
    #[default]
    AsAsked,
    /// `ReaderRole`, whatever was asked for.
    Lowered,
    /// `AdminRole`, whatever was asked for.
    Raised,
}

/// Which client certificates authenticate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accepts {
    /// Those of registered robots.
    #[default]
    Registered,
    /// Any, as a server that asks for a certificate and looks at nothing.
    AnyCertificate,
    /// Everybody, with or without a certificate.
    Everyone,
}

/// Which keys a registration may bring; others get 400.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyTypes {
    /// All.
    #[default]
    Any,
    /// RSA only.
    RsaOnly,
    /// RSA and ECDSA, no Ed25519.
    NoEd25519,
}

/// How a request without a valid credential is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refusal {
    /// 401 with a JSON body.
    #[default]
    Unauthorized401,
    /// A TLS alert for an unknown certificate; 401 where none was sent.
    TlsAlert,
    /// 400 with nginx's page.
    Nginx400,
    /// 403 with a JSON body.
    Forbidden403,
    /// The login page's HTML with 200.
    Html200,
    /// On `/graphql`: 200 with an `UNAUTHENTICATED` error; 401 elsewhere.
    GraphqlUnauthenticated,
    /// The connection is reset, without a word.
    Reset,
}

/// Which interface a robot's certificate opens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Interfaces {
    /// GraphQL and REST.
    #[default]
    Both,
    /// REST only; `/graphql` refuses a certificate and takes an API key.
    RestOnly,
    /// GraphQL only; the REST paths are 404 for everybody.
    GraphqlOnly,
}

/// The shape of the assets in REST replies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AssetShape {
    /// As `Asset.details` of the newer releases: `ips`, `macs`, `Plc`.
    #[default]
    Newer,
    /// As in 2020: `addresses`, `PlcType`, `site`, absent facts left out.
    Of2020,
}

/// `endCursor` of the last page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EndCursor {
    /// That of its last row, as on every page.
    #[default]
    LastRow,
    /// `null`.
    Null,
    /// An empty text.
    Empty,
}

/// What `after` does with a text that is no cursor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BadCursor {
    /// A `BAD_USER_INPUT` error.
    #[default]
    Error,
    /// Ignored: the list begins again.
    Restart,
    /// An empty page.
    EmptyPage,
}

/// The envelope of GraphQL errors; both were seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorEnvelope {
    /// `{"errors":[…]}` with status 200.
    #[default]
    Errors200,
    /// `{"errors":[…]}` with status 400.
    Errors400,
    /// `{"error":{"errors":[…]}}` with status 200.
    Nested200,
}

/// The TLS versions offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersions {
    /// 1.2 and 1.3.
    #[default]
    Both,
    /// 1.2 only.
    Tls12,
    /// 1.3 only.
    Tls13,
}

/// The list of acceptable certificate authorities in the request for a client certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CaList {
    /// None named.
    #[default]
    Empty,
    /// One that issued nobody's certificate.
    Foreign,
}

/// One combination of answers to everything that is unknown.
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Behaviours {
    /// What an orderly registration meets.
    pub registration: Registration,
    /// How many registrations meet it; later ones meet [`Registration::Created`]. `None`: all.
    pub registration_times: Option<u32>,
    /// A name that is taken.
    pub duplicate_name: DuplicateName,
    /// When a new certificate is accepted.
    pub activation: Activation,
    /// Who may register.
    pub registrar: Registrar,
    /// Whether robots can be listed.
    pub listing: Listing,
    /// Whether robots can be removed.
    pub removal: Removal,
    /// The role given.
    pub role: RoleGiven,
    /// Who is let in.
    pub accepts: Accepts,
    /// Which keys may be registered.
    pub key_types: KeyTypes,
    /// How others are refused.
    pub refusal: Refusal,
    /// Which interface robots may use.
    pub interfaces: Interfaces,
    /// REST asset shape.
    pub asset_shape: AssetShape,
    /// Largest page served, GraphQL and REST alike; larger requests are clipped. `None`: no limit.
    pub page_limit: Option<usize>,
    /// `endCursor` of a last page.
    pub end_cursor: EndCursor,
    /// An `after` that is no cursor.
    pub bad_cursor: BadCursor,
    /// `totalCount` grows by one with every page asked for.
    pub total_changes: bool,
    /// How GraphQL errors are wrapped.
    pub error_envelope: ErrorEnvelope,
    /// Only `Content-Type: application/json` is read on `/v1/robots`; else 415.
    pub strict_content_type: bool,
    /// How far the appliance's clock is ahead of ours, in seconds (negative: behind).
    pub clock_ahead: i64,
    /// TLS versions.
    pub tls_versions: TlsVersions,
    /// CA list.
    pub ca_list: CaList,
    /// Which fields and lists its GraphQL schema has.
    pub release: Release,
    /// It is an Enterprise Manager, paired with appliances of these machine ids: it relays
    /// `/<machineId>/graphql`, lists no devices itself, and has no REST but the robots.
    pub manager: Option<Vec<String>>,
    /// Whether robots can be registered at all.
    pub robots_endpoint: RobotsEndpoint,
    /// The API key it was started with is right and has ended: 401.
    pub api_key_expired: bool,
    /// Per-device plugin hits over REST.
    pub hits: Hits,
    /// The outermost value of a REST listing.
    pub list_shape: ListShape,
    /// In what order rows are listed.
    pub order: Order,
    /// `after` and `offset` are ignored: every page is the first one.
    pub ignores_position: bool,
    /// Rows come or go while somebody walks a list.
    pub rows_move: Option<RowsMove>,
    /// Large pages take longer than anybody waits.
    pub slow_pages: Option<SlowPages>,
    /// Too many requests.
    pub throttle: Option<Throttle>,
    /// Some devices have values that no schema allows; `strange` says which.
    pub strange_values: bool,
    /// Replies are never compressed.
    pub no_gzip: bool,
}

/// A name that is not in [`Behaviours::all_named`] nor in [`Behaviours::reading_named`].
#[derive(Debug, thiserror::Error)]
#[error("unknown behaviour {given:?}")]
pub struct UnknownBehaviour {
    /// What was given.
    pub given: String,
}

impl FromStr for Behaviours {
    type Err = UnknownBehaviour;
    fn from_str(name: &str) -> Result<Self, UnknownBehaviour> {
        Self::all_named()
            .into_iter()
            .chain(Self::reading_named())
            .find(|(known, _)| *known == name)
            .map(|(_, behaviours)| behaviours)
            .ok_or_else(|| UnknownBehaviour { given: name.to_owned() })
    }
}
