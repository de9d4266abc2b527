//! `/v1/robots`: registering, listing and removing robots.
//!
//! Owns the endpoint. Only the POST is documented by the vendor; the rest is
//! what a REST endpoint of that name is likely to offer.

#![allow(clippy::result_large_err, reason = "a refusal is a reply, made once per request either way")]

use super::{
    Behaviours, DuplicateName, FaultKind, KeyTypes, Listing, Registrar, Registration, Removal, Robot, RoleGiven,
    replies::{self, Ending},
    state::{Caller, Record, Shared},
};
use crate::x509::{Certificate, certificate_from_pem};
use axum::{
    Extension, Router,
    body::Bytes,
    extract::{Path, State},
    response::Response,
    routing::get,
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value as Json, json};
use std::sync::Arc;

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/v1/robots", get(list).post(register)).route("/v1/robots/{id}", get(show).delete(remove))
}

// -- POST --

async fn register(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let _one_at_a_time = shared.registering();
    // A missing endpoint does not look at who is asking.
    if let Some(reply) = not_there(shared.peek_registration()) {
        shared.next_registration();
        return reply;
    }
    let behaviours = shared.behaviours();
    if let Err(refused) = may_change(&behaviours, &caller) {
        return refused;
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if behaviours.strict_content_type && !content_type.starts_with("application/json") {
        return replies::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "application/json expected");
    }
    let wanted = match Wanted::read(&body, behaviours.key_types) {
        Ok(wanted) => wanted,
        Err(message) => return replies::error(StatusCode::BAD_REQUEST, message),
    };
    let same_name: Vec<Robot> =
        shared.robots(|record| record.robot.clone()).into_iter().filter(|robot| robot.name == wanted.name).collect();
    if let Some(reply) = duplicate(behaviours.duplicate_name, &same_name, &wanted) {
        return reply;
    }
    let outcome = shared.next_registration();
    if let Some(reply) = refused(outcome) {
        return reply;
    }
    if behaviours.duplicate_name == DuplicateName::Replace {
        shared.retain_robots(|robot| robot.name != wanted.name);
    }
    let role = match behaviours.role {
        RoleGiven::AsAsked => &wanted.role,
        RoleGiven::Lowered => "ReaderRole",
        RoleGiven::Raised => "AdminRole",
    };
    let robot = shared.add_robot(&wanted.name, role, wanted.certificate, wanted.pem.clone());
    registered(&shared, outcome, &robot, &wanted.pem)
}

/// What a POST asks for.
struct Wanted {
    name: String,
    role: String,
    pem: String,
    certificate: Certificate,
}

impl Wanted {
    fn read(body: &[u8], key_types: KeyTypes) -> Result<Self, &'static str> {
        // The documented curl call sends a form's content type: JSON is read whatever it says.
        let json: Json = serde_json::from_slice(body).map_err(|_| "body is not JSON")?;
        let text = |key: &str| json[key].as_str().filter(|text| !text.is_empty() && text.len() <= 65_536);
        let name = text("name").filter(|name| name.len() <= 255).ok_or("name is missing or too long")?;
        let role = text("role").filter(|role| matches!(*role, "AdminRole" | "ReaderRole")).ok_or("unknown role")?;
        let pem = text("cert").ok_or("cert is missing")?;
        let certificate = certificate_from_pem(pem.as_bytes()).map_err(|_| "cert is not a PEM certificate")?;
        let allowed = match (key_types, key_type(&certificate)) {
            (KeyTypes::Any, _) | (_, Some(KeyType::Rsa)) => true,
            (KeyTypes::NoEd25519, key_type) => key_type != Some(KeyType::Ed25519),
            (KeyTypes::RsaOnly, _) => false,
        };
        if !allowed {
            return Err("unsupported key type");
        }
        Ok(Self { name: name.to_owned(), role: role.to_owned(), pem: pem.to_owned(), certificate })
    }
}

#[derive(PartialEq, Eq)]
enum KeyType {
    Rsa,
    Ed25519,
}

fn key_type(certificate: &Certificate) -> Option<KeyType> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate.der()).ok()?;
    match parsed.public_key().algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.113549.1.1.1" => Some(KeyType::Rsa),
        "1.3.101.112" => Some(KeyType::Ed25519),
        _ => None,
    }
}

/// Who may register and remove, and how others are told.
fn may_change(behaviours: &Behaviours, caller: &Caller) -> Result<(), Response> {
    let admin = caller.robot.as_ref().is_some_and(|robot| robot.role == "AdminRole");
    if caller.token || (admin && behaviours.registrar == Registrar::TokenOrAdmin) {
        Ok(())
    } else if caller.robot.is_some() && !caller.bearer {
        Err(replies::error(StatusCode::FORBIDDEN, "insufficient role"))
    } else {
        Err(replies::error(StatusCode::UNAUTHORIZED, "invalid token"))
    }
}

fn duplicate(behaviour: DuplicateName, same_name: &[Robot], wanted: &Wanted) -> Option<Response> {
    let robot = same_name.first()?;
    match behaviour {
        DuplicateName::BadRequest400 => Some(replies::error(StatusCode::BAD_REQUEST, "name is not unique")),
        DuplicateName::Error500 => Some(replies::error(StatusCode::INTERNAL_SERVER_ERROR, "internal error")),
        DuplicateName::SameIsFine if robot.fingerprint == wanted.certificate.fingerprint() => {
            Some(replies::json(StatusCode::OK, &record_json(robot, Some(&wanted.pem))))
        }
        DuplicateName::Conflict409 | DuplicateName::SameIsFine => {
            Some(replies::error(StatusCode::CONFLICT, "a robot of this name exists"))
        }
        DuplicateName::Replace | DuplicateName::SecondRobot => None,
    }
}

/// Replies of an appliance that has no such endpoint, or is not there itself.
fn not_there(outcome: Registration) -> Option<Response> {
    let reply = match outcome {
        Registration::NotFound404 => replies::error(StatusCode::NOT_FOUND, "not found"),
        Registration::MethodNotAllowed405 => replies::error(StatusCode::METHOD_NOT_ALLOWED, "method not allowed"),
        Registration::Gone410 => replies::error(StatusCode::GONE, "gone"),
        Registration::Html200 => replies::html(StatusCode::OK, "Tenable OT Security"),
        Registration::Redirect302 => replies::redirect(StatusCode::FOUND, "/login"),
        Registration::Redirect307 => {
            replies::redirect(StatusCode::TEMPORARY_REDIRECT, "https://elsewhere.example/v1/robots")
        }
        Registration::BadGateway502 => replies::html(StatusCode::BAD_GATEWAY, "502 Bad Gateway"),
        Registration::Reboot(down) => ending(replies::empty(StatusCode::OK), Ending::Reboot(down)),
        _ => return None,
    };
    Some(reply)
}

/// Replies to an orderly POST that is refused all the same.
fn refused(outcome: Registration) -> Option<Response> {
    let (status, message) = match outcome {
        Registration::BadRequest400 => (StatusCode::BAD_REQUEST, "bad request"),
        Registration::Unprocessable422 => (StatusCode::UNPROCESSABLE_ENTITY, "certificate not acceptable"),
        Registration::Unauthorized401 => (StatusCode::UNAUTHORIZED, "token expired"),
        Registration::Forbidden403 => (StatusCode::FORBIDDEN, "forbidden"),
        Registration::Quota => (StatusCode::FORBIDDEN, "maximum number of robots reached"),
        Registration::Error500 => (StatusCode::INTERNAL_SERVER_ERROR, "internal error"),
        Registration::TooMany429 { .. } => (StatusCode::TOO_MANY_REQUESTS, "too many requests"),
        _ => return None,
    };
    let mut reply = replies::error(status, message);
    if let Registration::TooMany429 { retry_after } = outcome {
        reply.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry_after));
    }
    Some(reply)
}

/// The reply to a registration that took effect.
fn registered(shared: &Shared, outcome: Registration, robot: &Robot, pem: &str) -> Response {
    let full = |status| replies::json(status, &record_json(robot, Some(pem)));
    let created = || full(StatusCode::CREATED);
    match outcome {
        Registration::Ok => full(StatusCode::OK),
        Registration::CreatedEmpty => replies::empty(StatusCode::CREATED),
        Registration::NoContent => replies::empty(StatusCode::NO_CONTENT),
        Registration::LocationOnly => {
            let mut reply = replies::empty(StatusCode::CREATED);
            if let Ok(location) = HeaderValue::from_str(&format!("/v1/robots/{}", robot.id)) {
                reply.headers_mut().insert(header::LOCATION, location);
            }
            reply
        }
        Registration::Text => replies::with_type(StatusCode::OK, "text/plain; charset=utf-8", "robot created\n"),
        Registration::EchoesOtherCertificate => {
            let other = Certificate::from_der(shared.pair().certificate_der);
            let other = other.map(|other| crate::x509::certificate_to_pem(&other)).unwrap_or_default();
            replies::json(StatusCode::CREATED, &record_json(robot, Some(&other)))
        }
        Registration::EchoesOtherName => {
            let other = Robot { name: format!("{}-1", robot.name), ..robot.clone() };
            replies::json(StatusCode::CREATED, &record_json(&other, Some(pem)))
        }
        Registration::DoneThenReset => ending(created(), Ending::Fault(FaultKind::ResetAfter)),
        Registration::DoneThenHang => ending(created(), Ending::Fault(FaultKind::Hang)),
        Registration::DoneThenTruncated => ending(created(), Ending::Fault(FaultKind::CutInBody)),
        Registration::DoneThen500 => replies::error(StatusCode::INTERNAL_SERVER_ERROR, "internal error"),
        Registration::DoneThen504 => replies::html(StatusCode::GATEWAY_TIMEOUT, "504 Gateway Time-out"),
        Registration::DoneThenReboot(down) => ending(created(), Ending::RebootAfter(down)),
        Registration::DoneThenServerKeyChanged => match shared.replace_pair() {
            Ok(()) => created(),
            Err(error) => replies::error(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        },
        Registration::DoneThenRestored => {
            shared.retain_robots(|known| known.id != robot.id);
            created()
        }
        _ => created(),
    }
}

fn ending(mut reply: Response, ending: Ending) -> Response {
    reply.extensions_mut().insert(ending);
    reply
}

fn record_json(robot: &Robot, pem: Option<&str>) -> Json {
    let mut json = json!({"id": robot.id, "name": robot.name, "role": robot.role});
    if let Some(pem) = pem {
        json["cert"] = json!(pem);
    }
    json
}

// -- GET --

async fn list(State(shared): State<Arc<Shared>>, Extension(caller): Extension<Caller>) -> Response {
    match listed(&shared, &caller) {
        Ok(robots) => replies::json(StatusCode::OK, &Json::Array(robots)),
        Err(refused) => refused,
    }
}

async fn show(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Response {
    match listed(&shared, &caller) {
        Ok(robots) => match robots.iter().find(|robot| robot["id"] == id.as_str() || robot["name"] == id.as_str()) {
            Some(robot) => replies::json(StatusCode::OK, robot),
            None => replies::error(StatusCode::NOT_FOUND, "no such robot"),
        },
        Err(refused) => refused,
    }
}

fn listed(shared: &Shared, caller: &Caller) -> Result<Vec<Json>, Response> {
    let behaviours = shared.behaviours();
    match behaviours.listing {
        Listing::NotFound404 => return Err(replies::error(StatusCode::NOT_FOUND, "not found")),
        Listing::MethodNotAllowed405 => {
            return Err(replies::error(StatusCode::METHOD_NOT_ALLOWED, "method not allowed"));
        }
        Listing::Html200 => return Err(replies::html(StatusCode::OK, "Tenable OT Security")),
        Listing::Forbidden403 => return Err(replies::error(StatusCode::FORBIDDEN, "forbidden")),
        Listing::Supported | Listing::WithoutCertificates => may_change(&behaviours, caller)?,
    }
    let with_certificates = behaviours.listing == Listing::Supported;
    let show = |record: &Record| record_json(&record.robot, with_certificates.then_some(&record.certificate_pem));
    Ok(shared.robots(show))
}

// -- DELETE --

async fn remove(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Response {
    let behaviours = shared.behaviours();
    match behaviours.removal {
        Removal::MethodNotAllowed405 => return replies::error(StatusCode::METHOD_NOT_ALLOWED, "method not allowed"),
        Removal::NotFound404 => return replies::error(StatusCode::NOT_FOUND, "not found"),
        Removal::Html200 => return replies::html(StatusCode::OK, "Tenable OT Security"),
        Removal::Works | Removal::LostAnswer | Removal::HitsNewest => {}
    }
    if let Err(refused) = may_change(&behaviours, &caller) {
        return refused;
    }
    let robots = shared.robots(|record| record.robot.clone());
    let Some(asked) = robots.iter().find(|robot| robot.id == id) else {
        return replies::error(StatusCode::NOT_FOUND, "no such robot");
    };
    let removed = match behaviours.removal {
        Removal::HitsNewest => robots.last().unwrap_or(asked),
        _ => asked,
    };
    shared.retain_robots(|robot| robot.id != removed.id);
    let reply = replies::empty(StatusCode::NO_CONTENT);
    match behaviours.removal {
        Removal::LostAnswer => ending(reply, Ending::Fault(FaultKind::ResetAfter)),
        _ => reply,
    }
}
