//! What is answered before anybody looks at who is asking and for what.
//!
//! Owns paths that are not there and requests that are too many. Leaves out
//! everything a present path answers.

use super::{
    Behaviours, FaultKind, RobotsEndpoint, SlowAnswer, SlowPages,
    replies::{self, Ending},
    state::Shared,
};
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};

/// The reply that this path meets whoever asks; `None`: it is looked at.
pub(super) fn refused(shared: &Shared, behaviours: &Behaviours, path: &str) -> Option<Response> {
    if let Some(throttle) = behaviours.throttle
        && shared.count_request().is_multiple_of(throttle.every.max(1))
    {
        let mut reply = replies::error(StatusCode::TOO_MANY_REQUESTS, "too many requests");
        reply.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(throttle.retry_after));
        return Some(reply);
    }
    let robots = path == "/v1/robots" || path.starts_with("/v1/robots/");
    match behaviours.robots_endpoint {
        RobotsEndpoint::NotFound404 if robots => Some(replies::error(StatusCode::NOT_FOUND, "not found")),
        RobotsEndpoint::Html200 if robots => Some(replies::web_application()),
        // A manager has no devices of its own.
        _ if behaviours.manager.is_some() && path.starts_with("/v1/") && !robots => {
            Some(replies::error(StatusCode::NOT_FOUND, "not found"))
        }
        _ => None,
    }
}

/// What a page meets that is too large for the appliance.
pub(super) fn too_slow(slow: SlowPages) -> Response {
    let (status, title) = match slow.answer {
        SlowAnswer::BadGateway502 => (StatusCode::BAD_GATEWAY, "502 Bad Gateway"),
        SlowAnswer::GatewayTimeout504 | SlowAnswer::Hang => (StatusCode::GATEWAY_TIMEOUT, "504 Gateway Time-out"),
    };
    let mut reply = replies::html(status, title);
    if slow.answer == SlowAnswer::Hang {
        reply.extensions_mut().insert(Ending::Fault(FaultKind::Hang));
    }
    reply
}
