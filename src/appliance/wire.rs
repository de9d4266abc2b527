//! The appliance's JSON, as it is written and read: private to this module.
//!
//! Reading is strict where a mistake would cost (ids, duplicate keys, numbers)
//! and ignores what it does not know.

use std::fmt;

use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{error::Category, value::RawValue};

use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

use super::{
    Error, PairedIcp, Query, Refusal, RemoteId, SupportToken, json,
    pages::{List, PageAsk},
    text,
};
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

/// The variables of [`Query::Page`] and [`Query::PairedIcps`]; none for the others.
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

    /// A page of the appliances that an Enterprise Manager lists.
    pub(super) const fn paired(after: Option<&'a str>) -> Self {
        Self { first: Some(100), after, filter: None, sort: None }
    }

    /// A page in the one order that recorded traffic shows; cursors are offsets, so it must not change.
    pub(super) fn page(ask: &PageAsk<'a>) -> Self {
        let by = if ask.list == List::Events { "eventId" } else { "id" };
        Self {
            first: Some(ask.first),
            after: ask.after.map(|cursor| cursor.0.as_str()),
            filter: filter(ask),
            sort: Some(serde_json::json!([{ "field": by, "direction": "DescNullLast" }])),
        }
    }
}

/// What narrows a page: nothing, one condition, or all of several.
fn filter(ask: &PageAsk<'_>) -> Option<serde_json::Value> {
    let condition =
        |field: &str, op: &str, values: String| serde_json::json!({ "field": field, "op": op, "values": values });
    let mut all = Vec::new();
    if matches!(ask.list, List::Assets | List::AssetIds) && !ask.include_hidden {
        // A text for a boolean: what a working client sends.
        all.push(condition("hidden", "Equal", "false".to_owned()));
    }
    let time = if ask.list == List::Events { "time" } else { "lastUpdate" };
    let text = |time: OffsetDateTime| time.to_offset(UtcOffset::UTC).format(&Rfc3339).unwrap_or_default();
    all.extend(ask.since.map(|since| condition(time, "GreaterEqual", text(since))));
    all.extend(ask.until.map(|until| condition(time, "LessEqual", text(until))));
    match all.len() {
        0 | 1 => all.pop(),
        _ => Some(serde_json::json!({ "op": "And", "expressions": all })),
    }
}

pub(super) fn graphql(query: Query, variables: &Variables<'_>) -> Vec<u8> {
    write(&Graphql { query: query.document(), variables })
}

/// The data of a GraphQL reply, or its errors: in either envelope, also next to data.
///
/// `secret` is kept out of any message.
pub(super) fn graphql_data<'a>(body: &'a [u8], secret: Option<&SupportToken>) -> Result<&'a RawValue, Error> {
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
    let envelope: Envelope<'_> = read(body)?;
    let mut errors = envelope.errors.unwrap_or_default();
    errors.extend(envelope.error.into_iter().flat_map(|nested| nested.errors));
    if !errors.is_empty() {
        return Err(graphql_failure(&errors, secret));
    }
    envelope.data.ok_or_else(|| Error::Unexpected { reason: "GraphQL without data".to_owned() })
}

/// Whether a GraphQL reply holds a list of assets.
pub(super) fn has_assets(body: &[u8], secret: Option<&SupportToken>) -> Result<(), Error> {
    #[derive(Deserialize)]
    struct Data {
        #[serde(rename = "assets")]
        _assets: Connection,
    }
    #[derive(Deserialize)]
    struct Connection {
        #[serde(rename = "nodes")]
        _nodes: Vec<de::IgnoredAny>,
    }
    parse::<Data>(graphql_data(body, secret)?.get()).map(drop)
}

/// One page of the appliances that an Enterprise Manager lists, and the
/// position after it if there is more. What has no usable id is left out.
pub(super) fn paired_icps(
    body: &[u8],
    secret: Option<&SupportToken>,
) -> Result<(Vec<PairedIcp>, Option<String>), Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Data {
        em_paired_icps: Option<Connection>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Connection {
        nodes: Option<Vec<Option<Node>>>,
        edges: Option<Vec<Option<Edge>>>,
        page_info: Option<PageInfo>,
    }
    #[derive(Deserialize)]
    struct Edge {
        node: Option<Node>,
    }
    #[derive(Deserialize)]
    struct Node {
        status: Option<String>,
        site: Option<Site>,
        version: Option<Version>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Site {
        machine_id: Option<String>,
        name: Option<String>,
        host: Option<String>,
    }
    #[derive(Deserialize)]
    struct Version {
        version: Option<String>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct PageInfo {
        end_cursor: Option<String>,
        has_next_page: Option<bool>,
    }
    let data: Data = parse(graphql_data(body, secret)?.get())?;
    let Some(connection) = data.em_paired_icps else { return Ok((Vec::new(), None)) };
    let edges = connection.edges.into_iter().flatten().flatten().filter_map(|edge| edge.node);
    let nodes: Vec<Node> = match connection.nodes {
        Some(nodes) => nodes.into_iter().flatten().collect(),
        None => edges.collect(),
    };
    let clean = |text: Option<String>| text::shown(text?.as_bytes(), secret);
    let icps = nodes.into_iter().filter_map(|node| {
        let site = node.site?;
        Some(PairedIcp {
            machine_id: site.machine_id?.parse().ok()?,
            name: clean(site.name),
            host: clean(site.host),
            status: clean(node.status),
            version: clean(node.version.and_then(|version| version.version)),
        })
    });
    let more = connection.page_info.filter(|info| info.has_next_page != Some(false));
    let next = more.and_then(|info| info.end_cursor).filter(|cursor| !cursor.is_empty());
    Ok((icps.collect(), next))
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

fn graphql_failure(errors: &[GraphqlError], secret: Option<&SupportToken>) -> Error {
    let code = |error: &GraphqlError| match error.extensions.as_ref()?.code.as_ref()? {
        serde_json::Value::String(code) => text::shown(code.as_bytes(), secret),
        other => text::shown(other.to_string().as_bytes(), secret),
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
    let message = errors.iter().find_map(|error| text::shown(error.message.as_ref()?.as_bytes(), secret));
    Error::Graphql { codes, message: message.unwrap_or_else(|| "no message".to_owned()) }
}

/// Whether a body is a REST v1 listing: a bare array; `null`, as some servers write an empty one.
pub(super) fn is_listing(body: &[u8]) -> Result<(), Error> {
    read::<Option<Vec<de::IgnoredAny>>>(body).map(drop)
}
