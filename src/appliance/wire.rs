//! The appliance's JSON, as it is written and read: private to this module.
//!
//! Reading is strict where a mistake would cost (ids, duplicate keys, numbers)
//! and ignores what it does not know.

use std::fmt;

use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{error::Category, value::RawValue};

use super::{Error, Query, Refusal, RemoteId, json, text};
use crate::x509::Fingerprint;

/// Reads bytes as JSON of one type, within the bounds of [`json::bounded`].
pub(super) fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Error> {
    let text = json::bounded(bytes).map_err(|why| Error::Unexpected { reason: why.to_string() })?;
    parse(text)
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Error> {
    // serde_json's own message can repeat values of the reply; its kind and place cannot.
    serde_json::from_str(text).map_err(|why| {
        let what = match why.classify() {
            Category::Eof => return Error::Truncated,
            Category::Syntax => "not JSON",
            Category::Data | Category::Io => "JSON of another shape",
        };
        Error::Unexpected { reason: format!("{what} at line {} column {}", why.line(), why.column()) }
    })
}

/// Whether bytes are acceptable JSON of any shape.
pub(super) fn is_json(bytes: &[u8]) -> bool {
    read::<de::IgnoredAny>(bytes).is_ok()
}

fn write(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain structs of text and numbers always serialise")
}

/// An id on the wire: text, or a whole number, kept as text.
#[derive(Debug)]
pub(super) struct Id(pub(super) RemoteId);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Id;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an id")
            }

            fn visit_str<E: de::Error>(self, id: &str) -> Result<Id, E> {
                id.parse().map(Id).map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, id: u64) -> Result<Id, E> {
                // Beyond 63 bits no server counts; such a number is a mistake or an attack.
                let id = i64::try_from(id).map_err(E::custom)?;
                id.to_string().parse().map(Id).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// The body of `POST /v1/robots`: exactly these three keys.
#[derive(Serialize)]
struct Register<'a> {
    name: &'a str,
    role: &'a str,
    cert: &'a str,
}

pub(super) fn register(name: &str, role: &str, cert: &str) -> Vec<u8> {
    write(&Register { name, role, cert })
}

/// A robot in a reply or a list.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Robot {
    pub(super) id: Option<Id>,
    pub(super) name: Option<String>,
    pub(super) role: Option<String>,
    cert: Option<String>,
}

impl Robot {
    /// What a success says: an object, a bare id, or nothing that is understood.
    pub(super) fn from_reply(body: &[u8], says_json: bool) -> Result<Self, Error> {
        match body.trim_ascii().first() {
            Some(b'{') => read(body),
            Some(b'"' | b'0'..=b'9') => Ok(Self { id: Some(read(body)?), ..Self::default() }),
            Some(_) if says_json => read::<de::IgnoredAny>(body).map(|_| Self::default()),
            _ => Ok(Self::default()),
        }
    }

    /// The fingerprint of the certificate it shows, if that can be read.
    pub(super) fn fingerprint(&self) -> Option<Fingerprint> {
        let der = CertificateDer::from_pem_slice(self.cert.as_ref()?.as_bytes()).ok()?;
        Some(Fingerprint::of(&der))
    }
}

/// A list of robots: bare, or under `robots`.
pub(super) fn robots(body: &[u8]) -> Result<Vec<Robot>, Error> {
    #[derive(Deserialize)]
    struct Envelope {
        robots: Vec<Robot>,
    }
    if body.trim_ascii().first() == Some(&b'{') {
        read::<Envelope>(body).map(|envelope| envelope.robots)
    } else {
        read::<Option<Vec<Robot>>>(body).map(Option::unwrap_or_default)
    }
}

/// The reply to `GET /v1/version`.
#[derive(Deserialize)]
pub(super) struct Version {
    #[serde(rename = "Version")]
    pub(super) version: String,
}

/// The body of `POST /v1/assets`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Paging {
    offset: u64,
    limit: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    filters: Option<serde_json::Value>,
    order_by: serde_json::Value,
}

pub(super) fn paging(offset: u64, limit: u32, include_hidden: bool) -> Vec<u8> {
    write(&Paging {
        offset,
        limit,
        filters: (!include_hidden).then(|| serde_json::json!({ "hidden": { "equals": false } })),
        order_by: serde_json::json!({ "field": "id", "direction": "ASC" }),
    })
}

/// The body of `POST /graphql`.
#[derive(Serialize)]
struct Graphql<'a> {
    query: &'static str,
    variables: &'a Variables<'a>,
}

/// The variables of [`Query::Assets`]; none for the others.
#[derive(Serialize)]
pub(super) struct Variables<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sort: Option<serde_json::Value>,
}

impl<'a> Variables<'a> {
    /// No variables.
    pub(super) const fn none() -> Self {
        Self { first: None, after: None, filter: None, sort: None }
    }

    /// A page in the one order that recorded traffic shows; cursors are offsets, so it must not change.
    pub(super) fn page(after: Option<&'a str>, first: u32, include_hidden: bool) -> Self {
        Self {
            first: Some(first),
            after,
            // A text for a boolean: what a working client sends.
            filter: (!include_hidden)
                .then(|| serde_json::json!({ "field": "hidden", "op": "Equal", "values": "false" })),
            sort: Some(serde_json::json!([{ "field": "id", "direction": "DescNullLast" }])),
        }
    }
}

pub(super) fn graphql(query: Query, variables: &Variables<'_>) -> Vec<u8> {
    write(&Graphql { query: query.document(), variables })
}

/// The data of a GraphQL reply, or its errors: in either envelope, also next to data.
pub(super) fn graphql_data(body: &[u8]) -> Result<Assets, Error> {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow)]
        data: Option<&'a RawValue>,
        errors: Option<Vec<GraphqlError>>,
        error: Option<Nested>,
    }
    #[derive(Deserialize)]
    struct Nested {
        errors: Vec<GraphqlError>,
    }
    #[derive(Deserialize)]
    struct Data {
        assets: Assets,
    }
    let envelope: Envelope<'_> = read(body)?;
    let mut errors = envelope.errors.unwrap_or_default();
    errors.extend(envelope.error.into_iter().flat_map(|nested| nested.errors));
    if !errors.is_empty() {
        return Err(graphql_failure(&errors));
    }
    let data = envelope.data.ok_or_else(|| Error::Unexpected { reason: "GraphQL without data".to_owned() })?;
    parse::<Data>(data.get()).map(|data| data.assets)
}

#[derive(Deserialize)]
struct GraphqlError {
    message: Option<String>,
    extensions: Option<Extensions>,
}

#[derive(Deserialize)]
struct Extensions {
    code: Option<serde_json::Value>,
}

fn graphql_failure(errors: &[GraphqlError]) -> Error {
    let code = |error: &GraphqlError| match error.extensions.as_ref()?.code.as_ref()? {
        serde_json::Value::String(code) => text::shown(code.as_bytes(), None),
        other => text::shown(other.to_string().as_bytes(), None),
    };
    // A handful tells the story; an appliance may repeat one error for every asset.
    let mut codes: Vec<String> = Vec::new();
    for code in errors.iter().filter_map(code) {
        if codes.len() < 8 && !codes.contains(&code) {
            codes.push(code);
        }
    }
    if codes.iter().any(|code| matches!(code.as_str(), "UNAUTHENTICATED" | "FORBIDDEN" | "401" | "403")) {
        return Error::Refused(Refusal::Graphql);
    }
    let message = errors.iter().find_map(|error| text::shown(error.message.as_ref()?.as_bytes(), None));
    Error::Graphql { codes, message: message.unwrap_or_else(|| "no message".to_owned()) }
}

/// The connection `assets` of a GraphQL reply.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Assets {
    pub(super) nodes: Vec<Box<RawValue>>,
    pub(super) page_info: Option<PageInfo>,
    pub(super) total_count: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PageInfo {
    pub(super) end_cursor: Option<String>,
    pub(super) has_next_page: Option<bool>,
}

/// A REST v1 listing: a bare array; `null`, as some servers write an empty one.
pub(super) fn rest_assets(body: &[u8]) -> Result<Vec<Box<RawValue>>, Error> {
    read::<Option<Vec<Box<RawValue>>>>(body).map(Option::unwrap_or_default)
}

/// The id of a record.
pub(super) fn record_id(record: &RawValue) -> Result<RemoteId, Error> {
    #[derive(Deserialize)]
    struct Identified {
        id: Id,
    }
    parse::<Identified>(record.get()).map(|record| record.id.0)
}
