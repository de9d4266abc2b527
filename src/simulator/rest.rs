//! REST v1: version, assets, plugin hits.

#![allow(clippy::result_large_err, reason = "a refusal is a reply, made once per request either way")]

use super::{
    Accepts, AssetShape, Behaviours, Hits, Interfaces, ListShape,
    details::{details, of_2020},
    devices::Device,
    gate,
    listing::{Filter, Selection, SortKey},
    plugins, replies,
    state::{Caller, Shared},
    strange,
    walk::{self, Asked, SHUFFLED},
};
use axum::{
    Extension, Router,
    body::Bytes,
    extract::{Path, State},
    response::Response,
    routing::{get, post},
};
use http::StatusCode;
use serde_json::{Value as Json, json};
use std::sync::Arc;

/// Page size without a `limit`, as the client of 2020 asked for.
const DEFAULT_LIMIT: usize = 500;

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/v1/version", get(version))
        .route("/v1/assets", post(list))
        .route("/v1/assets/{id}", get(show))
        .route("/v1/assets/{id}/plugin_hits", get(plugin_hits))
        .route("/v1/{*rest}", axum::routing::any(|| async { replies::error(StatusCode::NOT_FOUND, "not found") }))
}

/// Whether this caller may read by this interface, else the reply that says no.
pub(super) fn may_read(behaviours: &Behaviours, caller: &Caller, graphql: bool) -> Result<(), Response> {
    if !graphql && behaviours.interfaces == Interfaces::GraphqlOnly {
        return Err(replies::error(StatusCode::NOT_FOUND, "not found"));
    }
    let by_certificate = match behaviours.accepts {
        Accepts::Registered => caller.robot.is_some(),
        Accepts::AnyCertificate => caller.certificate.is_some(),
        Accepts::Everyone => true,
    };
    let open_to_robots = !graphql || behaviours.interfaces != Interfaces::RestOnly;
    if caller.api_key || (by_certificate && open_to_robots) {
        return Ok(());
    }
    Err(replies::refusal(behaviours.refusal, caller, graphql))
}

async fn version(State(shared): State<Arc<Shared>>, Extension(caller): Extension<Caller>) -> Response {
    match may_read(&shared.behaviours(), &caller, false) {
        Ok(()) => {
            replies::json(StatusCode::OK, &json!({"Module": "Simulator", "Version": "3.19.0", "NvdVersion": "1.12.0"}))
        }
        Err(refused) => refused,
    }
}

async fn list(State(shared): State<Arc<Shared>>, Extension(caller): Extension<Caller>, body: Bytes) -> Response {
    let behaviours = shared.behaviours();
    if let Err(refused) = may_read(&behaviours, &caller, false) {
        return refused;
    }
    match page(&shared, &behaviours, &body) {
        Ok(reply) => reply,
        Err(message) => replies::error(StatusCode::BAD_REQUEST, &message),
    }
}

fn page(shared: &Shared, behaviours: &Behaviours, body: &[u8]) -> Result<Response, String> {
    let asked: Json =
        if body.is_empty() { json!({}) } else { serde_json::from_slice(body).map_err(|e| e.to_string())? };
    let number = |key: &str, default: usize| match &asked[key] {
        Json::Null => Ok(default),
        value => value.as_u64().and_then(|n| usize::try_from(n).ok()).ok_or(format!("{key} is not a number")),
    };
    let (offset, limit) = (number("offset", 0)?, number("limit", DEFAULT_LIMIT)?);
    let filter = match &asked["filters"] {
        Json::Null => None,
        filters => Some(Filter::of_rest(filters)?),
    };
    // The documentation of 2020 says a list, its client sends one object.
    let order = if asked["orderBy"].is_array() { &asked["orderBy"][0] } else { &asked["orderBy"] };
    let sort = order["field"].as_str().map(|field| SortKey {
        field: field.to_owned(),
        descending: order["direction"] == "DESC",
        nulls_first: false,
    });
    let sort = walk::sort(behaviours, sort.into_iter().collect());
    let selection = Selection { filter, search: asked["search"].as_str().map(str::to_owned), sort };
    let size = shared.plant().size();
    let rows = shared.listings.select("assets", size, &selection, |row, field| match field {
        SHUFFLED => walk::shuffled(row),
        _ => shared.device(row).fact(field),
    });
    Ok(match walk::page(shared, behaviours, &rows, size, Asked { start: offset, rows: limit }) {
        Ok(part) => listing(shared, behaviours, &part.rows),
        Err(walk::TooSlow) => match behaviours.slow_pages {
            Some(slow) => gate::too_slow(slow),
            None => replies::error(StatusCode::GATEWAY_TIMEOUT, "deadline exceeded"),
        },
    })
}

/// These devices, as the shape says.
fn listing(shared: &Shared, behaviours: &Behaviours, rows: &[usize]) -> Response {
    let (before, after) = match behaviours.list_shape {
        ListShape::NullWhenEmpty if rows.is_empty() => return replies::json(StatusCode::OK, &Json::Null),
        ListShape::Bare | ListShape::NullWhenEmpty => ("[", "]\n"),
        ListShape::Object => ("{\"assets\":[", "]}\n"),
    };
    let group = shared.rows.group(&format!("rest {:?}", behaviours.asset_shape));
    let mut text = before.as_bytes().to_vec();
    for (position, row) in rows.iter().enumerate() {
        if position > 0 {
            text.push(b',');
        }
        let make = || Bytes::from(asset(behaviours, shared.device(*row), false));
        text.extend_from_slice(&shared.rows.get(group, u32::try_from(*row).unwrap_or(u32::MAX), make));
    }
    text.extend_from_slice(after.as_bytes());
    replies::json_written(text, Some(group))
}

/// One device as text; `alone`: not in a list.
fn asset(behaviours: &Behaviours, device: Device, alone: bool) -> Vec<u8> {
    let json = match behaviours.asset_shape {
        AssetShape::Newer => details(device),
        AssetShape::Of2020 => of_2020(device, alone),
    };
    if behaviours.strange_values { strange::object(device, &json) } else { json.to_string().into() }
}

async fn show(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Response {
    one(&shared, &caller, &id, |device, behaviours| asset(behaviours, device, true))
}

async fn plugin_hits(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Response {
    match shared.behaviours().hits {
        Hits::Works => one(&shared, &caller, &id, |device, _| {
            plugins::of_device(device).map(|plugin| plugin.hit(device)).collect::<Json>().to_string().into()
        }),
        Hits::NotFound404 => replies::error(StatusCode::NOT_FOUND, "not found"),
        Hits::MethodNotAllowed405 => replies::error(StatusCode::METHOD_NOT_ALLOWED, "method not allowed"),
        Hits::Html200 => replies::web_application(),
    }
}

fn one(shared: &Shared, caller: &Caller, id: &str, read: impl Fn(Device, &Behaviours) -> Vec<u8>) -> Response {
    let behaviours = shared.behaviours();
    match (may_read(&behaviours, caller, false), shared.plant().find(id)) {
        (Err(refused), _) => refused,
        (Ok(()), Some(device)) => {
            let mut text = read(shared.device(device.index), &behaviours);
            text.push(b'\n');
            replies::json_written(text, None)
        }
        (Ok(()), None) => replies::error(StatusCode::NOT_FOUND, "no such asset"),
    }
}
