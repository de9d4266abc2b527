//! What is answered to whom: the request's head, one view, the loop's health
//! and now → the answer. Pure.
//!
//! Owns the paths, the status codes and the headers (product.md, Watch over
//! HTTP). Leaves out what the documents say: each is made where the command
//! line's own is made. Text of ours in an answer is one line a reason, fit to
//! show on a terminal.

use std::{net::IpAddr, str::FromStr as _, time::Duration};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, Response, StatusCode, Version,
    header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, REFERRER_POLICY},
    header::{X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS},
    request::Parts,
    uri::Authority,
};
use time::OffsetDateTime;

use crate::{
    clean,
    clock::rfc3339,
    document::{self, Document},
    inventory::AttentionCode,
    site::SiteName,
    status::{self, Line, Report, Standing, api_keys, metrics, page},
    watch::board::{self, Health, View},
};

/// The loop looks at the clock once a minute; after this long it does not any more.
const STANDS_STILL: Duration = Duration::from_mins(5);
/// How often a browser asks for the page again.
const REFRESH: Duration = Duration::from_mins(1);

const TEXT: &str = "text/plain; charset=utf-8";
const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Page,
    Status,
    Metrics,
    Live,
    Ready,
    Site(SiteName),
}

/// What the request asks for, or the answer of one that is refused.
/// `loopback`: only this machine can connect.
pub(super) fn route(head: &Parts, bodyless: bool, loopback: bool) -> Result<Route, Box<Response<Bytes>>> {
    let said: Vec<&HeaderValue> = head.headers.get_all(HOST).iter().collect();
    if said.len() > 1 || (said.is_empty() && head.version != Version::HTTP_10) {
        return Err(text(StatusCode::BAD_REQUEST, "a request needs one Host header").into());
    }
    // A site in the web may give its own name this machine's address, and then its pages may read
    // what is served under that name. Under an address they may not.
    let target = head.uri.authority().map(|authority| authority.as_str().as_bytes());
    if loopback && !said.into_iter().map(HeaderValue::as_bytes).chain(target).all(is_no_foreign_name) {
        let reason = "this is served to this machine only: ask by address or as localhost, not by another name";
        return Err(text(StatusCode::MISDIRECTED_REQUEST, reason).into());
    }
    let Some(route) = decoded(head.uri.path()).as_deref().and_then(named) else {
        let reason = "not here; there are /, /status.json, /metrics, /livez, /readyz and /readyz/SITE";
        return Err(text(StatusCode::NOT_FOUND, reason).into());
    };
    if head.method != Method::GET && head.method != Method::HEAD {
        let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "nothing can be changed here: GET and HEAD only");
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Err(refusal.into());
    }
    if !bodyless {
        return Err(text(StatusCode::PAYLOAD_TOO_LARGE, "a request here has no body").into());
    }
    Ok(route)
}

fn named(path: &str) -> Option<Route> {
    match path {
        "/" => Some(Route::Page),
        "/status.json" => Some(Route::Status),
        "/metrics" => Some(Route::Metrics),
        "/livez" => Some(Route::Live),
        "/readyz" => Some(Route::Ready),
        _ => path.strip_prefix("/readyz/")?.parse().ok().map(Route::Site),
    }
}

/// An address or `localhost`, with or without a port.
fn is_no_foreign_name(host: &[u8]) -> bool {
    let Some(authority) = str::from_utf8(host).ok().and_then(|host| Authority::from_str(host).ok()) else {
        return false;
    };
    let name = authority.host();
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

/// The path without its percent signs; `None` if that is no text.
fn decoded(path: &str) -> Option<String> {
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = path.bytes();
    let mut text = Vec::with_capacity(path.len());
    while let Some(byte) = bytes.next() {
        text.push(if byte == b'%' { digit(bytes.next())? << 4 | digit(bytes.next())? } else { byte });
    }
    String::from_utf8(text).ok()
}

/// The answer to what only the loop's health says.
pub(super) fn live(health: &Health) -> Response<Bytes> {
    if health.since_beat < STANDS_STILL {
        return text(StatusCode::OK, "ok");
    }
    let seconds = health.since_beat.as_secs();
    text(StatusCode::SERVICE_UNAVAILABLE, &format!("the loop has not looked at the clock for {seconds} s"))
}

/// The answer when the inventory could not be looked at in time.
pub(super) fn too_slow(limit: Duration) -> Response<Bytes> {
    let reason = format!("the inventory could not be read within {} s", limit.as_secs());
    text(StatusCode::SERVICE_UNAVAILABLE, &reason)
}

/// The answer.
pub(super) fn answer(route: &Route, view: &View, health: &Health, now: OffsetDateTime) -> Response<Bytes> {
    match route {
        Route::Live => live(health),
        Route::Ready => readiness(&whole(view, health)),
        Route::Site(site) => {
            let report = view.report(now);
            let known = view.config.sites.iter().any(|configured| configured.name == *site)
                || report.lines.iter().any(|line| line.id.site == *site);
            let mut reasons = whole(view, health);
            if !known && reasons.is_empty() {
                return text(StatusCode::NOT_FOUND, &format!("there is no site {site}"));
            }
            reasons.extend(of_site(&report, site));
            reasons.extend(view.beat.unrecorded.get(site).map(board::unrecorded));
            readiness(&reasons)
        }
        Route::Metrics => {
            let watch = metrics::Watch {
                config_ok: view.config_trouble.is_none(),
                inventory_ok: view.trouble.is_none(),
                hindered: view.hindrance().is_some(),
                unrecorded: view.beat.unrecorded.len(),
                children: health.running,
                since_beat: health.since_beat,
            };
            let metrics = metrics::text(&view.report(now), Some(&watch));
            dressed(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", metrics.into())
        }
        Route::Status => match document::to_vec(&Document::of(view.document(&view.report(now)))) {
            Ok(mut document) => {
                document.push(b'\n');
                dressed(StatusCode::OK, "application/json", document.into())
            }
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("the report cannot be written: {error}")),
        },
        Route::Page => {
            let report = view.report(now);
            let html = page::html(&report, &view.document(&report), Some(REFRESH));
            let mut page = dressed(StatusCode::OK, "text/html; charset=utf-8", html.into());
            if let Ok(policy) = HeaderValue::try_from(page::policy()) {
                page.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
            }
            page
        }
    }
}

/// Why the watch as a whole is not ready.
fn whole(view: &View, health: &Health) -> Vec<String> {
    let planned = (!health.planned).then(|| "the first plan is not made yet".to_owned());
    planned.into_iter().chain(view.hindrance().map(ToOwned::to_owned)).collect()
}

/// Why a site is not ready.
fn of_site(report: &Report, site: &SiteName) -> Vec<String> {
    let lines = report.lines.iter().filter(|line| line.id.site == *site);
    let tasks = report.tasks.iter().filter(|row| row.site == *site);
    lines.flat_map(|line| of_robot(line, report.at)).chain(tasks.filter_map(status::failing)).collect()
}

fn of_robot(line: &Line, now: OffsetDateTime) -> Vec<String> {
    use AttentionCode::{ControlAccepted, Frozen, StoreUnavailable, TrustChanged};
    let id = &line.id;
    let standing = match line.standing {
        Standing::Active => None,
        Standing::Expired => {
            let end = line.window.map(|window| format!(" on {}", rfc3339(window.not_after))).unwrap_or_default();
            Some(format!("{id}: its certificate has expired{end}"))
        }
        Standing::NeedsPerson => Some(format!("{id}: it needs a person")),
        Standing::Pending => {
            let state = line.record.as_ref().map(|record| format!(" ({})", record.state)).unwrap_or_default();
            Some(format!("{id}: its first credential is on its way{state}"))
        }
        Standing::Absent => match line.api_key {
            Some(key) if key.is_over(now) => {
                Some(format!("{id}: the API key that it is read with {}", api_keys::ends(&key, now)))
            }
            Some(_) => None,
            // What was retired and is not wanted any more is missed by nobody.
            None => line.configured.then(|| format!("{id}: it has no credential yet")),
        },
    };
    let stuck = line.standing == Standing::NeedsPerson;
    let unusable = |code| matches!(code, Frozen | StoreUnavailable | TrustChanged | ControlAccepted);
    let raised = line.attention.iter().filter(|raised| stuck || unusable(raised.code));
    let raised = raised.map(|raised| format!("{id}: {}: {}", raised.code, raised.message));
    let forsaken = line.forsaken.then(|| format!("{id}: it is not in the configuration, so that nothing rotates it"));
    standing.into_iter().chain(forsaken).chain(raised).collect()
}

fn readiness(reasons: &[String]) -> Response<Bytes> {
    if reasons.is_empty() {
        return text(StatusCode::OK, "ready");
    }
    let lines: Vec<_> = reasons.iter().map(|reason| clean::line(reason)).collect();
    text(StatusCode::SERVICE_UNAVAILABLE, &lines.join("\n"))
}

fn text(status: StatusCode, text: &str) -> Response<Bytes> {
    dressed(status, TEXT, format!("{text}\n").into())
}

/// With the headers that every answer has.
fn dressed(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Bytes> {
    let length = HeaderValue::from(body.len());
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_LENGTH, length);
    *response.status_mut() = status;
    for (name, value) in [
        (CONTENT_TYPE, content_type),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (X_FRAME_OPTIONS, "DENY"),
        (CONTENT_SECURITY_POLICY, NOTHING),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn head(method: &str, target: &str, hosts: &[&str]) -> Parts {
        let mut request = Request::builder().method(method).uri(target);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn paths_and_what_they_name() {
        let site = |name: &str| Route::Site(name.parse().unwrap());
        for (target, named) in [
            ("/", Route::Page),
            ("http://localhost", Route::Page),
            ("/?refresh=1", Route::Page),
            ("/status.json", Route::Status),
            ("http://127.0.0.1:9/metrics?x=/livez", Route::Metrics),
            ("/%6Detrics", Route::Metrics),
            ("/livez", Route::Live),
            ("/readyz", Route::Ready),
            ("/readyz/plant-a", site("plant-a")),
            ("/readyz/plant%2Da", site("plant-a")),
            ("/readyz/plant%2da", site("plant-a")),
        ] {
            assert_eq!(route(&head("GET", target, &["localhost"]), true, true).unwrap(), named, "{target}");
        }
        for target in [
            "//",
            "/metrics/",
            "/METRICS",
            "/livez/x",
            "/readyz/",
            "/readyz//",
            "/readyz/a/b",
            "/readyz/..",
            "/readyz/../metrics",
            "/readyz/%2e%2e",
            "/readyz/..%2f..%2fetc%2fpasswd",
            "/readyz/a%00",
            "/readyz/a%0d%0ab",
            "/readyz/%",
            "/readyz/%4",
            "/readyz/%+1",
            "/readyz/%ff",
            "/readyz/a%252fb",
            "/../../etc/passwd",
            "*",
            "/readyz/x-g2",
        ] {
            let refusal = route(&head("GET", target, &["localhost"]), true, true).unwrap_err();
            assert_eq!(refusal.status(), StatusCode::NOT_FOUND, "{target}");
        }
    }

    #[test]
    fn what_is_refused_and_how() {
        let check = |method, target, hosts: &[&str], bodyless, status: u16| {
            let refusal = route(&head(method, target, hosts), bodyless, true).unwrap_err();
            assert_eq!(refusal.status().as_u16(), status, "{method} {target} {hosts:?}");
            assert_eq!(refusal.headers().contains_key(ALLOW), status == 405);
        };
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "get", "BREW"] {
            check(method, "/metrics", &["localhost"], true, 405);
        }
        check("POST", "/metrics", &["localhost"], false, 405);
        check("POST", "/nowhere", &["localhost"], true, 404);
        check("GET", "/metrics", &["localhost"], false, 413);
        check("GET", "/metrics", &[], true, 400);
        check("GET", "/metrics", &["localhost", "localhost"], true, 400);
        check("GET", "/nowhere", &["evil.example"], true, 421);
    }

    #[test]
    fn names_that_a_web_site_could_have_are_foreign() {
        for host in ["localhost", "LocalHost:9", "127.0.0.1", "127.0.0.1:9630", "[::1]", "[::1]:9630", "10.20.0.5:80"] {
            assert!(is_no_foreign_name(host.as_bytes()), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:9630",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "2130706433",
            "0x7f.1",
            "127.1",
            "::1",
            "localhost@evil.example",
            "127.0.0.1:80@evil.example",
            "[::1",
            "[evil.example]",
            "localhost evil.example",
            "localhost, evil.example",
            "localhost/",
            "\u{e4}",
        ] {
            assert!(!is_no_foreign_name(host.as_bytes()), "{host}");
        }
        let foreign = |target, hosts: &[&str], loopback| route(&head("GET", target, hosts), true, loopback).is_err();
        assert!(foreign("/", &["evil.example"], true));
        assert!(!foreign("/", &["monitoring.example"], false));
        assert!(foreign("http://evil.example/", &["localhost"], true));
        assert!(foreign("http://localhost/", &["evil.example"], true));
    }

    #[test]
    fn a_loop_that_stands_still_is_not_alive() {
        let check = |seconds, status: u16| {
            let health = Health { since_beat: Duration::from_secs(seconds), planned: false, running: 0 };
            assert_eq!(live(&health).status().as_u16(), status, "{seconds} s");
        };
        check(0, 200);
        check(299, 200);
        check(300, 503);
    }
}
