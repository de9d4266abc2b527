//! Replies: bodies, the headers every reply carries, and raw bytes.
//!
//! Owns what was recorded of a real appliance's replies: JSON on one line with
//! a newline at its end, a weak `ETag` of length and SHA-1 (Express), and a
//! fixed set of headers. Nothing here can fail.

use super::{FaultKind, Refusal, memo::Memo, state::Caller};
use axum::{body::Body, response::Response};
use base64ct::{Base64, Encoding as _};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value as Json, json};
use std::{fmt::Write as _, io::Write as _, time::Duration};
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};

/// How a reply ends when it does not end well; carried in the reply's extensions.
#[derive(Clone, Debug)]
pub(super) enum Ending {
    Fault(FaultKind),
    /// The reply is sent; then the appliance is down for a while.
    RebootAfter(Duration),
    /// No reply; the appliance is down for a while.
    Reboot(Duration),
}

/// The group of the memo in which this reply's packed form is kept; carried in the reply's extensions.
#[derive(Clone, Copy, Debug)]
pub(super) struct PackedIn(pub u32);

pub(super) fn with_type(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Body::from(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// One line of JSON.
pub(super) fn json(status: StatusCode, body: &Json) -> Response {
    json_text(status, body.to_string())
}

/// JSON that is text already.
pub(super) fn json_text(status: StatusCode, mut body: String) -> Response {
    body.push('\n');
    with_type(status, "application/json; charset=utf-8", body)
}

/// A JSON error body; the real wording is not known.
pub(super) fn error(status: StatusCode, message: &str) -> Response {
    json(status, &json!({"error": status.canonical_reason(), "message": message}))
}

/// No body, no content type.
pub(super) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// One line of JSON as it was written, and the group under which its packed form is kept.
pub(super) fn json_written(line: Vec<u8>, group: Option<u32>) -> Response {
    let mut response = with_type(StatusCode::OK, "application/json; charset=utf-8", line);
    if let Some(group) = group {
        response.extensions_mut().insert(PackedIn(group));
    }
    response
}

pub(super) fn redirect(status: StatusCode, location: &'static str) -> Response {
    let mut response = empty(status);
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static(location));
    response
}

/// The single-page application, which answers every path that is no API.
pub(super) fn html(status: StatusCode, title: &str) -> Response {
    let page = format!(
        "<!doctype html>\n<html><head><title>{title}</title></head><body><div id=\"root\"></div></body></html>\n"
    );
    with_type(status, "text/html; charset=utf-8", page)
}

/// What answers every path that is no API.
pub(super) fn web_application() -> Response {
    html(StatusCode::OK, "Tenable OT Security")
}

/// A request without a valid credential.
pub(super) fn refusal(refusal: Refusal, caller: &Caller, graphql: bool) -> Response {
    if caller.ended_key {
        return error(StatusCode::UNAUTHORIZED, "API key has expired");
    }
    match refusal {
        Refusal::Nginx400 if caller.certificate.is_some() => {
            html(StatusCode::BAD_REQUEST, "400 The SSL certificate error")
        }
        Refusal::Nginx400 => html(StatusCode::BAD_REQUEST, "400 No required SSL certificate was sent"),
        Refusal::Forbidden403 => error(StatusCode::FORBIDDEN, "access denied"),
        Refusal::Html200 => html(StatusCode::OK, "Tenable OT Security - Login"),
        Refusal::GraphqlUnauthenticated if graphql => json(
            StatusCode::OK,
            &json!({"errors": [{"message": "Not authenticated", "extensions": {"code": "UNAUTHENTICATED"}}], "data": null}),
        ),
        Refusal::Reset => {
            let mut reply = error(StatusCode::UNAUTHORIZED, "authentication required");
            reply.extensions_mut().insert(Ending::Fault(FaultKind::ResetAfter));
            reply
        }
        Refusal::Unauthorized401 | Refusal::TlsAlert | Refusal::GraphqlUnauthenticated => {
            error(StatusCode::UNAUTHORIZED, "authentication required")
        }
    }
}

const HTTP_DATE: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

/// Adds the headers that every recorded reply has; the body's digest.
pub(super) fn dress(response: &mut http::response::Parts, body: &[u8], now: OffsetDateTime) -> [u8; 20] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, body);
    let etag = format!("W/\"{:x}-{}\"", body.len(), &Base64::encode_string(digest.as_ref())[..27]);
    let headers = &mut response.headers;
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000; includeSubDomains; preload"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::VARY, "Accept-Encoding"),
        (header::VARY, "Accept-Encoding"),
    ] {
        headers.append(name, HeaderValue::from_static(value));
    }
    let date = now.format(HTTP_DATE).unwrap_or_default();
    for (name, value) in [(header::ETAG, etag), (header::DATE, date)] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    if response.status != StatusCode::NO_CONTENT {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    digest.as_ref().try_into().unwrap_or_default()
}

/// A body smaller than this is sent as it is.
const WORTH_PACKING: usize = 1_024;

/// The body compressed, if the client takes that and it is large enough; as `dress` left it otherwise.
pub(super) fn pack(
    response: &mut http::response::Parts,
    body: Bytes,
    accepted: Option<&HeaderValue>,
    digest: [u8; 20],
    kept: &Memo<[u8; 20]>,
) -> Bytes {
    let accepts = accepted.and_then(|value| value.to_str().ok()).is_some_and(takes_gzip);
    if !accepts || body.len() < WORTH_PACKING {
        return body;
    }
    let packed = || {
        let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::new(4));
        // Writing to memory cannot fail.
        let _ = encoder.write_all(&body);
        Bytes::from(encoder.finish().unwrap_or_default())
    };
    let packed = match response.extensions.get::<PackedIn>() {
        Some(PackedIn(group)) => kept.get(*group, digest, packed),
        None => packed(),
    };
    response.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    response.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(packed.len()));
    packed
}

fn takes_gzip(accepted: &str) -> bool {
    accepted.split(',').any(|one| {
        let (name, weight) = one.split_once(';').unwrap_or((one, ""));
        matches!(name.trim(), "gzip" | "*") && weight.trim().trim_start_matches("q=").parse() != Ok(0.0)
    })
}

/// The reply as bytes on the wire, its length off by `length_error`.
pub(super) fn raw(parts: &http::response::Parts, body: &[u8], length_error: i64) -> Vec<u8> {
    let reason = parts.status.canonical_reason().unwrap_or_default();
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", parts.status.as_u16());
    for (name, value) in &parts.headers {
        if name != header::CONTENT_LENGTH {
            let _ = write!(head, "{name}: {}\r\n", String::from_utf8_lossy(value.as_bytes()));
        }
    }
    let length = i64::try_from(body.len()).unwrap_or(i64::MAX).saturating_add(length_error).max(0);
    let _ = write!(head, "content-length: {length}\r\nconnection: close\r\n\r\n");
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_taken_where_it_is_named_and_not_refused() {
        let check = |accepted: &str, expected: bool| assert_eq!(takes_gzip(accepted), expected, "{accepted}");
        check("gzip", true);
        check("deflate, gzip;q=0.5", true);
        check("*", true);
        check("gzip;q=0", false);
        check("gzip; q=0.0, br", false);
        check("identity", false);
        check("", false);
    }
}
