//! A page's text, cut into its records where they stand.
//!
//! Owns finding the records of a reply, their ids and the way on, in one walk
//! over its bytes, and what is done about text that is no text. Leaves out
//! decoding the records.
//!
//! On failure: a reply that is not wholly the JSON that was asked for gives no
//! record at all, and an error in the appliance's words counts before one in ours.

use std::{borrow::Cow, collections::HashMap, fmt, ops::Range};

use bytes::Bytes;

use super::{
    Error, RemoteId, SupportToken, id, limits,
    pages::{Cursor, List, Peek},
    scan::{self, Broken, Kind, Scan, is_key},
    wire,
};

/// A page cut into its records.
pub struct Cut {
    /// The body, and behind it the ids that do not stand in it as they are.
    text: String,
    rows: Vec<Row>,
    /// Where the next page begins, if the server said so.
    pub end_cursor: Option<Cursor>,
    /// Whether the server says there is more; `None` if it does not say.
    pub has_next: Option<bool>,
    /// The server's own count of all records, if it gave one.
    pub total_count: Option<u64>,
    /// Records in which something that is no text was replaced by U+FFFD.
    pub replaced: u64,
}

/// Where a record and its id stand in the text.
#[derive(Debug)]
struct Row {
    json: Range<usize>,
    id: Range<usize>,
}

/// One record of a page.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// Its id.
    pub id: Cow<'a, str>,
    /// The whole record, one JSON object with `id` at its top level.
    pub json: Cow<'a, str>,
}

impl Cut {
    /// How many records it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The records, in the server's order.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let text = |place: &Range<usize>| Cow::Borrowed(&self.text[place.clone()]);
        self.rows.iter().map(move |row| Record { id: text(&row.id), json: text(&row.json) })
    }

    fn of(body: Bytes, page: Page) -> Self {
        let Page { found, way_on, total, .. } = page;
        let as_written = found.iter().all(|record| !record.odd && !matches!(record.id, Id::Made(_)));
        let (text, rows, replaced) = match String::from_utf8(body.into()) {
            Ok(text) if as_written => kept(text, found),
            Ok(text) => rebuilt(text.as_bytes(), found),
            Err(other) => rebuilt(other.as_bytes(), found),
        };
        Self { text, rows, end_cursor: way_on.end_cursor, has_next: way_on.has_next, total_count: total, replaced }
    }
}

impl fmt::Debug for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cut").field("records", &self.rows.len()).finish_non_exhaustive()
    }
}

/// A record as the walk found it.
struct Found {
    /// Its place in the body.
    json: Range<usize>,
    id: Id,
    /// Whether it holds an escape that is no character.
    odd: bool,
}

enum Id {
    /// Stands in the body as it is.
    At(Range<usize>),
    /// Is written another way there.
    Decoded(String),
    /// Does not stand there.
    Made(String),
}

/// What the walk over a reply found.
#[derive(Default)]
struct Page {
    found: Vec<Found>,
    way_on: Peek,
    total: Option<u64>,
    /// Whether there was a list at all, be it an empty one.
    listed: bool,
    /// Whether the reply speaks of errors.
    errors: bool,
    /// The keys around the records that were met: none may come twice.
    met: Vec<&'static str>,
}

/// Makes the id of a record that has none, of its number and its JSON.
type Unnamed<'a> = &'a mut dyn FnMut(usize, &[u8]) -> Result<String, Error>;

fn unexpected(reason: impl Into<String>) -> Error {
    Error::Unexpected { reason: reason.into() }
}

fn no_id(number: usize, _: &[u8]) -> Result<String, Error> {
    Err(unexpected(format!("record {number} has no id")))
}

/// The records of a GraphQL page. `secret` is kept out of any message.
pub(super) fn graphql(body: Bytes, list: List, secret: Option<&SupportToken>) -> Result<Cut, Error> {
    let body = without_mark(body);
    let walked = Page::graphql(&body, list.root());
    let judged = walked.as_ref().is_ok_and(|page| !page.errors) || matches!(walked, Err(Error::Truncated));
    if !judged {
        wire::graphql_data(String::from_utf8_lossy(&body).as_bytes(), secret)?;
    }
    walked.map(|page| Cut::of(body, page))
}

/// The records of a REST listing.
pub(super) fn rest(body: Bytes) -> Result<Cut, Error> {
    let body = without_mark(body);
    let page = Page::rest(&body, &mut no_id)?;
    Ok(Cut::of(body, page))
}

/// The plugin hits of one device. One without an `id` gets one, made of what tells it from the others.
pub(super) fn hits(body: Bytes, asset: &RemoteId) -> Result<Cut, Error> {
    let body = without_mark(body);
    let mut alike: HashMap<String, u64> = HashMap::new();
    let page = Page::rest(&body, &mut |_, json| {
        let id = format!("{asset}:{}", hit_parts(json)?);
        let times = alike.entry(id.clone()).or_default();
        *times += 1;
        Ok(if *times == 1 { id } else { format!("{id}:{times}") })
    })?;
    Ok(Cut::of(body, page))
}

/// What a GraphQL page says about the way on, if it says so before its records.
pub(super) fn peek(body: &[u8]) -> Option<Peek> {
    enum Ended {
        Found(Peek),
        Unknown,
    }
    impl From<Broken> for Ended {
        fn from(_: Broken) -> Self {
            Self::Unknown
        }
    }
    fn look(body: &[u8]) -> Result<(), Ended> {
        let mut scan = Scan::new(body.strip_prefix(MARK).unwrap_or(body));
        into_object(&mut scan, |scan, key| {
            if !is_key(key, "data") {
                return Err(Ended::Unknown);
            }
            into_object(scan, |scan, _| {
                into_object(scan, |scan, key| {
                    if is_key(key, "pageInfo") {
                        return Err(page_info(scan).map_or(Ended::Unknown, Ended::Found));
                    }
                    match scan.kind()? {
                        Kind::Array => Err(Ended::Unknown),
                        _ => scan.skip().map_err(Into::into),
                    }
                })
            })
        })
    }
    fn into_object<'a>(
        scan: &mut Scan<'a>,
        each: impl FnMut(&mut Scan<'a>, &'a [u8]) -> Result<(), Ended>,
    ) -> Result<(), Ended> {
        if scan.kind()? == Kind::Object { scan.object(each) } else { Err(Ended::Unknown) }
    }
    match look(body) {
        Err(Ended::Found(peek)) => Some(peek),
        _ => None,
    }
}

impl Page {
    fn graphql(body: &[u8], root: &'static str) -> Result<Self, Error> {
        let (mut scan, mut page) = (Scan::new(body), Self::default());
        if scan.kind()? != Kind::Object {
            return Err(unexpected("no GraphQL reply"));
        }
        scan.object(|scan, key| {
            if is_key(key, "data") {
                page.meet("data")?;
                return page.data(scan, root);
            }
            page.errors |= is_key(key, "errors") || is_key(key, "error");
            scan.skip().map_err(Into::into)
        })?;
        scan.end()?;
        if page.listed { Ok(page) } else { Err(unexpected(format!("GraphQL without a list of {root}"))) }
    }

    fn data(&mut self, scan: &mut Scan<'_>, root: &'static str) -> Result<(), Error> {
        match scan.kind()? {
            Kind::Object => scan.object(|scan, key| {
                if is_key(key, root) {
                    self.meet(root)?;
                    return self.connection(scan);
                }
                scan.skip().map_err(Into::into)
            }),
            _ => scan.skip().map_err(Into::into),
        }
    }

    fn connection(&mut self, scan: &mut Scan<'_>) -> Result<(), Error> {
        match scan.kind()? {
            Kind::Null => return scan.skip().map_err(Into::into),
            Kind::Object => {}
            _ => return Err(unexpected("a list that is no connection")),
        }
        scan.object(|scan, key| {
            if is_key(key, "nodes") {
                self.meet("nodes")?;
                self.list(scan, &mut no_id)
            } else if is_key(key, "pageInfo") {
                self.meet("pageInfo")?;
                self.way_on = page_info(scan)?;
                Ok(())
            } else if is_key(key, "totalCount") {
                self.meet("totalCount")?;
                self.total = count(scan)?;
                Ok(())
            } else {
                scan.skip().map_err(Into::into)
            }
        })
    }

    /// A listing: bare, `null` as some servers write an empty one, or in an
    /// envelope that speaks of no error.
    fn rest(body: &[u8], unnamed: Unnamed<'_>) -> Result<Self, Error> {
        const ENVELOPES: [&str; 8] =
            ["assets", "data", "results", "items", "nodes", "hits", "pluginHits", "plugin_hits"];
        let (mut scan, mut page) = (Scan::new(body), Self::default());
        if scan.kind()? == Kind::Object {
            scan.object(|scan, key| {
                if ENVELOPES.iter().any(|name| is_key(key, name)) {
                    page.meet("the list")?;
                    return page.list(scan, unnamed);
                }
                let value = scan.value()?;
                if (is_key(key, "error") || is_key(key, "errors")) && !is_nothing(scan.bytes(value)) {
                    page.errors = true;
                }
                Ok::<_, Error>(())
            })?;
        } else if scan.kind()? == Kind::Null {
            page.listed = true;
            scan.skip()?;
        } else {
            page.list(&mut scan, unnamed)?;
        }
        scan.end()?;
        if page.errors {
            return Err(unexpected("a listing that speaks of an error"));
        }
        if page.listed { Ok(page) } else { Err(unexpected("an object without a list of records")) }
    }

    fn list(&mut self, scan: &mut Scan<'_>, unnamed: Unnamed<'_>) -> Result<(), Error> {
        self.listed = true;
        match scan.kind()? {
            // An appliance that could not read its list says so like this; taken for an empty one, it would end the walk.
            Kind::Null => Err(unexpected("null in place of a list of records")),
            Kind::Array => scan.array(|scan| self.record(scan, unnamed)),
            _ => Err(unexpected("something else than a list of records")),
        }
    }

    fn record(&mut self, scan: &mut Scan<'_>, unnamed: Unnamed<'_>) -> Result<(), Error> {
        let number = self.found.len() + 1;
        if scan.kind()? != Kind::Object {
            // What is no JSON at all is told as that.
            scan.value()?;
            return Err(unexpected(format!("record {number} is no object")));
        }
        scan.odd = false;
        let (start, mut id) = (scan.place(), None);
        scan.object(|scan, key| {
            let value = scan.value()?;
            if !is_key(key, "id") {
                return Ok(());
            }
            let again =
                record_id(scan, value).ok_or_else(|| unexpected(format!("record {number} has no usable id")))?;
            let text = |id: &Id| id.text(scan).to_owned();
            match &id {
                Some(before) if text(before) != text(&again) => Err(unexpected(format!("record {number} has two ids"))),
                _ => {
                    id = Some(again);
                    Ok::<_, Error>(())
                }
            }
        })?;
        let json = start..scan.place();
        let id = match id {
            Some(id) => id,
            None => Id::Made(unnamed(number, scan.bytes(json.clone()))?),
        };
        self.found.push(Found { json, id, odd: scan.odd });
        Ok(())
    }

    fn meet(&mut self, key: &'static str) -> Result<(), Error> {
        if self.met.contains(&key) {
            return Err(unexpected(format!("{key} comes twice")));
        }
        self.met.push(key);
        Ok(())
    }
}

impl Id {
    fn text<'a>(&'a self, scan: &Scan<'a>) -> &'a str {
        match self {
            Self::At(place) => std::str::from_utf8(scan.bytes(place.clone())).unwrap_or_default(),
            Self::Decoded(id) | Self::Made(id) => id,
        }
    }
}

/// The id that a value is: text, or a whole number of 63 bits, kept as text.
fn record_id(scan: &Scan<'_>, value: Range<usize>) -> Option<Id> {
    let raw = scan.bytes(value.clone());
    if raw.first()?.is_ascii_digit() {
        // Beyond 63 bits no server counts; such a number is a mistake or an attack.
        return std::str::from_utf8(raw).ok()?.parse::<i64>().is_ok().then_some(Id::At(value));
    }
    let inner = raw.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if let Ok(text) = std::str::from_utf8(inner)
        && !text.contains('\\')
    {
        return id::fits(text).then_some(Id::At(value.start + 1..value.end - 1));
    }
    let text = decoded(inner)?;
    id::fits(&text).then_some(Id::Decoded(text))
}

/// The text between two quotes, with U+FFFD for what is no character.
fn decoded(raw: &[u8]) -> Option<String> {
    let mut raw = String::from_utf8_lossy(raw).into_owned().into_bytes();
    scan::mended(&mut raw);
    scan::text(&raw).map(Cow::into_owned)
}

fn page_info(scan: &mut Scan<'_>) -> Result<Peek, Error> {
    let mut peek = Peek::default();
    let (mut cursors, mut flags) = (0, 0);
    match scan.kind()? {
        Kind::Null => return Ok(scan.value().map(|_| peek)?),
        Kind::Object => {}
        _ => return Err(unexpected("pageInfo is no object")),
    }
    scan.object(|scan, key| {
        let kind = scan.kind()?;
        let value = scan.value()?;
        let value = scan.bytes(value);
        if is_key(key, "endCursor") {
            cursors += 1;
            peek.end_cursor = match kind {
                Kind::Null => None,
                Kind::Text => cursor(value)?,
                _ => return Err(unexpected("endCursor is no text")),
            };
        } else if is_key(key, "hasNextPage") {
            flags += 1;
            peek.has_next = match kind {
                Kind::Null => None,
                Kind::Bool => Some(value == b"true"),
                _ => return Err(unexpected("hasNextPage is neither true nor false")),
            };
        }
        if cursors > 1 || flags > 1 { Err(unexpected("a key of pageInfo comes twice")) } else { Ok(()) }
    })?;
    Ok(peek)
}

/// A cursor; none where it is empty.
fn cursor(raw: &[u8]) -> Result<Option<Cursor>, Error> {
    if raw.len() > limits::CURSOR {
        return Err(unexpected(format!("endCursor is longer than {} bytes", limits::CURSOR)));
    }
    let text = raw.get(1..raw.len() - 1).and_then(scan::text);
    let text = text.ok_or_else(|| unexpected("endCursor holds what is no text"))?;
    Ok((!text.is_empty()).then(|| Cursor(text.into_owned())))
}

fn count(scan: &mut Scan<'_>) -> Result<Option<u64>, Error> {
    let kind = scan.kind()?;
    let value = scan.value()?;
    let number = || std::str::from_utf8(scan.bytes(value)).ok()?.parse::<i64>().ok();
    match kind {
        Kind::Null => Ok(None),
        Kind::Number => match number().map(u64::try_from) {
            Some(Ok(total)) => Ok(Some(total)),
            _ => Err(unexpected("totalCount is no whole number of 63 bits")),
        },
        _ => Err(unexpected("totalCount is no number")),
    }
}

/// What tells one hit of a device from another: `PLUGIN:PORT:PROTOCOL`, `-` for what it does not say.
fn hit_parts(json: &[u8]) -> Result<String, Error> {
    const NAMES: [&str; 3] = ["pluginId", "port", "protocol"];
    let mut parts = [const { None }; 3];
    let mut scan = Scan::new(json);
    scan.object(|scan, key| {
        let nested = is_key(key, "plugin") && scan.kind()? == Kind::Object;
        if nested {
            // As GraphQL nests it; the plain key counts first.
            return scan.object(|scan, key| {
                let value = scan.value()?;
                if is_key(key, "id") && parts[0].is_none() {
                    parts[0] = part(scan.bytes(value));
                }
                Ok::<_, Error>(())
            });
        }
        let value = scan.value()?;
        if let Some(place) = NAMES.iter().position(|name| is_key(key, name)) {
            parts[place] = part(scan.bytes(value)).or(parts[place].take());
        }
        Ok::<_, Error>(())
    })?;
    Ok(parts.map(|part| part.unwrap_or_else(|| "-".to_owned())).join(":"))
}

/// A text or a number, fit to be a part of an id.
fn part(raw: &[u8]) -> Option<String> {
    let text = match raw.first()? {
        b'"' => decoded(raw.get(1..raw.len() - 1)?)?,
        b'-' | b'0'..=b'9' => String::from_utf8_lossy(raw).into_owned(),
        _ => return None,
    };
    let text: String = text.chars().filter(|c| !c.is_control()).take(64).collect();
    (!text.is_empty()).then_some(text)
}

/// Whether a value says nothing: null, false, 0, or empty.
fn is_nothing(raw: &[u8]) -> bool {
    let said: Vec<u8> = raw.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    matches!(said.as_slice(), b"null" | b"false" | b"0" | b"\"\"" | b"[]" | b"{}")
}

const MARK: &[u8] = "\u{feff}".as_bytes();

/// The body without the byte order mark that some servers begin with.
fn without_mark(body: Bytes) -> Bytes {
    if body.starts_with(MARK) { body.slice(MARK.len()..) } else { body }
}

/// The body as it is, with the ids behind it that do not stand in it.
fn kept(mut text: String, found: Vec<Found>) -> (String, Vec<Row>, u64) {
    let rows = found
        .into_iter()
        .map(|Found { json, id, .. }| {
            let id = match id {
                Id::At(place) => place,
                Id::Decoded(id) | Id::Made(id) => push(&mut text, &id),
            };
            Row { json, id }
        })
        .collect();
    (text, rows, 0)
}

/// The records anew, each as it is but for what has to be replaced or added, its id behind it.
fn rebuilt(body: &[u8], found: Vec<Found>) -> (String, Vec<Row>, u64) {
    let (mut text, mut replaced) = (String::with_capacity(body.len()), 0);
    let rows = found
        .into_iter()
        .map(|Found { json, id, odd }| {
            let mut record = String::from_utf8_lossy(&body[json.clone()]);
            let mut changed = matches!(record, Cow::Owned(_));
            if odd {
                let mut bytes = record.into_owned().into_bytes();
                changed |= scan::mended(&mut bytes);
                record = String::from_utf8_lossy(&bytes).into_owned().into();
            }
            replaced += u64::from(changed);
            let json = match &id {
                Id::Made(id) => push(&mut text, &with_id(&record, id)),
                _ => push(&mut text, &record),
            };
            let id = match id {
                Id::At(place) => push(&mut text, &String::from_utf8_lossy(&body[place])),
                Id::Decoded(id) | Id::Made(id) => push(&mut text, &id),
            };
            Row { json, id }
        })
        .collect();
    (text, rows, replaced)
}

fn push(text: &mut String, more: &str) -> Range<usize> {
    let start = text.len();
    text.push_str(more);
    start..text.len()
}

/// A JSON object with an `id` before its other members.
fn with_id(record: &str, id: &str) -> String {
    let rest = record.strip_prefix('{').unwrap_or(record);
    let comma = if rest.trim_start().starts_with('}') { "" } else { "," };
    format!("{{\"id\":{}{comma}{rest}", serde_json::Value::from(id))
}

#[cfg(test)]
mod tests;
