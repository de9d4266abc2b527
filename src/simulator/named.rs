//! The behaviours that have a name.
//!
//! Those of robots and those of reading are two lists: what robots meet is
//! tried with every command that changes something, what readers meet with
//! those that read.

use super::{
    Accepts, Activation, AssetShape, BadCursor, Behaviours, CaList, DuplicateName, EndCursor, ErrorEnvelope, Hits,
    Interfaces, KeyTypes, ListShape, Listing, MACHINE_ID, Order, Refusal, Registrar, Registration, Release, Removal,
    RobotsEndpoint, RoleGiven, RowsMove, SlowAnswer, SlowPages, Throttle, TlsVersions,
};
use std::time::Duration;

/// How long a named reboot or a late activation takes: long enough to be
/// noticed, short enough for a test.
const A_WHILE: Duration = Duration::from_millis(1_500);

impl Behaviours {
    /// Every behaviour towards robots that has a name, `default` first: for test
    /// matrices and for the command line.
    ///
    /// A name ending in `-once` goes wrong for one registration and then works.
    pub fn all_named() -> Vec<(&'static str, Self)> {
        let mut named = vec![("default", Self::default())];
        named.extend(registrations());
        named.extend(others());
        named
    }

    /// Every behaviour towards readers that has a name and is not in [`Behaviours::all_named`].
    pub fn reading_named() -> Vec<(&'static str, Self)> {
        reading().collect()
    }
}

type Change = fn(&mut Behaviours);

fn changed((name, change): (&'static str, Change)) -> (&'static str, Behaviours) {
    let mut behaviours = Behaviours::default();
    change(&mut behaviours);
    (name, behaviours)
}

fn registrations() -> impl Iterator<Item = (&'static str, Behaviours)> {
    use Registration as R;
    let always = [
        ("ok", R::Ok),
        ("created-empty", R::CreatedEmpty),
        ("no-content", R::NoContent),
        ("location-only", R::LocationOnly),
        ("text", R::Text),
        ("echoes-other-certificate", R::EchoesOtherCertificate),
        ("echoes-other-name", R::EchoesOtherName),
        ("done-then-reset", R::DoneThenReset),
        ("done-then-hang", R::DoneThenHang),
        ("done-then-truncated", R::DoneThenTruncated),
        ("done-then-500", R::DoneThen500),
        ("done-then-504", R::DoneThen504),
        ("error-500", R::Error500),
        ("bad-gateway-502", R::BadGateway502),
        ("done-then-reboot", R::DoneThenReboot(A_WHILE)),
        ("done-then-server-key-changed", R::DoneThenServerKeyChanged),
        ("done-then-restored", R::DoneThenRestored),
        ("bad-request-400", R::BadRequest400),
        ("unprocessable-422", R::Unprocessable422),
        ("unauthorized-401", R::Unauthorized401),
        ("forbidden-403", R::Forbidden403),
        ("not-found-404", R::NotFound404),
        ("method-not-allowed-405", R::MethodNotAllowed405),
        ("gone-410", R::Gone410),
        ("html-200", R::Html200),
        ("too-many-429", R::TooMany429 { retry_after: 1 }),
        ("redirect-302", R::Redirect302),
        ("redirect-307", R::Redirect307),
        ("quota", R::Quota),
    ];
    let once = [
        ("error-500-once", R::Error500),
        ("bad-gateway-502-once", R::BadGateway502),
        ("too-many-429-once", R::TooMany429 { retry_after: 1 }),
        ("reboot-once", R::Reboot(A_WHILE)),
        ("done-then-restored-once", R::DoneThenRestored),
    ];
    let of = |times| {
        move |(name, registration)| {
            (name, Behaviours { registration, registration_times: times, ..Behaviours::default() })
        }
    };
    always.into_iter().map(of(None)).chain(once.into_iter().map(of(Some(1))))
}

fn others() -> impl Iterator<Item = (&'static str, Behaviours)> {
    let changes: [(&str, Change); 47] = [
        ("duplicate-400", |it| it.duplicate_name = DuplicateName::BadRequest400),
        ("duplicate-500", |it| it.duplicate_name = DuplicateName::Error500),
        ("duplicate-replaces", |it| it.duplicate_name = DuplicateName::Replace),
        ("duplicate-second-robot", |it| it.duplicate_name = DuplicateName::SecondRobot),
        ("duplicate-same-is-fine", |it| it.duplicate_name = DuplicateName::SameIsFine),
        ("late-activation", |it| it.activation = Activation::AfterRefusals(2)),
        ("slow-activation", |it| it.activation = Activation::After(A_WHILE)),
        ("token-only", |it| it.registrar = Registrar::TokenOnly),
        ("token-once", |it| it.registrar = Registrar::TokenOnce),
        ("list-without-certificates", |it| it.listing = Listing::WithoutCertificates),
        ("list-404", |it| it.listing = Listing::NotFound404),
        ("list-405", |it| it.listing = Listing::MethodNotAllowed405),
        ("list-403", |it| it.listing = Listing::Forbidden403),
        ("list-html", |it| it.listing = Listing::Html200),
        ("delete-405", |it| it.removal = Removal::MethodNotAllowed405),
        ("delete-404", |it| it.removal = Removal::NotFound404),
        ("delete-html", |it| it.removal = Removal::Html200),
        ("delete-lost", |it| it.removal = Removal::LostAnswer),
        ("delete-hits-newest", |it| it.removal = Removal::HitsNewest),
        ("role-lowered", |it| it.role = RoleGiven::Lowered),
        ("role-raised", |it| it.role = RoleGiven::Raised),
        ("accepts-any-certificate", |it| it.accepts = Accepts::AnyCertificate),
        ("accepts-everyone", |it| it.accepts = Accepts::Everyone),
        ("rsa-only", |it| it.key_types = KeyTypes::RsaOnly),
        ("no-ed25519", |it| it.key_types = KeyTypes::NoEd25519),
        ("refuses-by-tls-alert", |it| it.refusal = Refusal::TlsAlert),
        ("refuses-by-400", |it| it.refusal = Refusal::Nginx400),
        ("refuses-by-403", |it| it.refusal = Refusal::Forbidden403),
        ("refuses-by-html", |it| it.refusal = Refusal::Html200),
        ("refuses-by-reset", |it| it.refusal = Refusal::Reset),
        ("refuses-by-graphql-error", |it| it.refusal = Refusal::GraphqlUnauthenticated),
        ("rest-only", |it| it.interfaces = Interfaces::RestOnly),
        ("graphql-only", |it| it.interfaces = Interfaces::GraphqlOnly),
        ("assets-of-2020", |it| it.asset_shape = AssetShape::Of2020),
        ("pages-of-100", |it| it.page_limit = Some(100)),
        ("end-cursor-null", |it| it.end_cursor = EndCursor::Null),
        ("end-cursor-empty", |it| it.end_cursor = EndCursor::Empty),
        ("total-changes", |it| it.total_changes = true),
        ("errors-400", |it| it.error_envelope = ErrorEnvelope::Errors400),
        ("errors-nested", |it| it.error_envelope = ErrorEnvelope::Nested200),
        ("bad-cursor-restarts", |it| it.bad_cursor = BadCursor::Restart),
        ("strict-content-type", |it| it.strict_content_type = true),
        ("clock-ten-minutes-ahead", |it| it.clock_ahead = 600),
        ("clock-two-years-ahead", |it| it.clock_ahead = 2 * 365 * 86_400),
        ("tls-1.2", |it| it.tls_versions = TlsVersions::Tls12),
        ("tls-1.3", |it| it.tls_versions = TlsVersions::Tls13),
        ("foreign-ca-list", |it| it.ca_list = CaList::Foreign),
    ];
    changes.into_iter().map(changed)
}

fn reading() -> impl Iterator<Item = (&'static str, Behaviours)> {
    const ROWS_MOVE: RowsMove = RowsMove { at_page: 2, removed: false, always: false, total_lies: false };
    const SLOW: SlowPages = SlowPages { over: 50, answer: SlowAnswer::Hang };
    let changes: [(&str, Change); 29] = [
        ("older-schema", |it| it.release = Release::Older),
        ("newer-schema", |it| it.release = Release::Newer),
        ("hits-404", |it| it.hits = Hits::NotFound404),
        ("hits-405", |it| it.hits = Hits::MethodNotAllowed405),
        ("hits-html", |it| it.hits = Hits::Html200),
        ("findings-only", |it| {
            it.release = Release::Newer;
            it.hits = Hits::NotFound404;
        }),
        ("manager", |it| it.manager = Some(vec![MACHINE_ID.to_owned()])),
        ("rest-object", |it| it.list_shape = ListShape::Object),
        ("rest-null-when-empty", |it| it.list_shape = ListShape::NullWhenEmpty),
        ("row-inserted-once", |it| it.rows_move = Some(ROWS_MOVE)),
        ("rows-inserted", |it| it.rows_move = Some(RowsMove { always: true, ..ROWS_MOVE })),
        ("row-removed-once", |it| it.rows_move = Some(RowsMove { removed: true, ..ROWS_MOVE })),
        ("rows-removed", |it| it.rows_move = Some(RowsMove { removed: true, always: true, ..ROWS_MOVE })),
        ("row-inserted-total-lies", |it| it.rows_move = Some(RowsMove { total_lies: true, ..ROWS_MOVE })),
        ("row-removed-total-lies", |it| {
            it.rows_move = Some(RowsMove { removed: true, total_lies: true, ..ROWS_MOVE });
        }),
        ("unsorted", |it| it.order = Order::Ignored),
        ("ignores-position", |it| it.ignores_position = true),
        ("bad-cursor-empty-page", |it| it.bad_cursor = BadCursor::EmptyPage),
        ("hangs-over-50", |it| it.slow_pages = Some(SLOW)),
        ("502-over-50", |it| it.slow_pages = Some(SlowPages { answer: SlowAnswer::BadGateway502, ..SLOW })),
        ("504-over-50", |it| it.slow_pages = Some(SlowPages { answer: SlowAnswer::GatewayTimeout504, ..SLOW })),
        ("504-over-5", |it| it.slow_pages = Some(SlowPages { over: 5, answer: SlowAnswer::GatewayTimeout504 })),
        ("strange-values", |it| it.strange_values = true),
        ("api-key-only", |it| it.robots_endpoint = RobotsEndpoint::NotFound404),
        ("api-key-only-html", |it| it.robots_endpoint = RobotsEndpoint::Html200),
        ("api-key-expired", |it| it.api_key_expired = true),
        ("throttles", |it| it.throttle = Some(Throttle { every: 3, retry_after: 1 })),
        ("throttles-all", |it| it.throttle = Some(Throttle { every: 1, retry_after: 1 })),
        ("no-gzip", |it| it.no_gzip = true),
    ];
    changes.into_iter().map(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_again_and_differs_from_the_default() {
        let all = Behaviours::all_named();
        for (position, (name, behaviours)) in all.iter().enumerate() {
            assert_eq!(name.parse::<Behaviours>().unwrap(), *behaviours, "{name}");
            assert_eq!(*behaviours == Behaviours::default(), position == 0, "{name}");
        }
        for (name, behaviours) in Behaviours::reading_named() {
            assert_eq!(name.parse::<Behaviours>().unwrap(), behaviours, "{name}");
            assert!(all.iter().all(|(known, it)| *known != name && *it != behaviours), "{name}");
        }
        assert!("no-such".parse::<Behaviours>().is_err());
    }
}
