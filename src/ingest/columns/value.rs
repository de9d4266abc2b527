//! The types of columns, and reading a value's JSON text as one of them.

use std::{borrow::Cow, fmt};

use serde::de::IgnoredAny;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::places::Found;

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Any text; what is no text stands there as its JSON.
    Text,
    /// True or false.
    Bool,
    /// A whole number of 64 bits.
    Int,
    /// A number.
    Float,
    /// A moment.
    Time,
    /// Texts in their order.
    TextList,
    /// Whatever it is, as JSON.
    Json,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Bool => "boolean",
            Self::Int => "integer",
            Self::Float => "float",
            Self::Time => "time",
            Self::TextList => "list of text",
            Self::Json => "JSON",
        })
    }
}

/// A value of a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// Of [`Kind::Text`].
    Text(Cow<'a, str>),
    /// Of [`Kind::Bool`].
    Bool(bool),
    /// Of [`Kind::Int`].
    Int(i64),
    /// Of [`Kind::Float`]: finite, and in the appliance's own digits.
    Float(f64, Cow<'a, str>),
    /// Of [`Kind::Time`]: microseconds since 1970 in UTC, `None` for never and
    /// for what is no time, and in the appliance's own words.
    Time(Option<i64>, Cow<'a, str>),
    /// Of [`Kind::TextList`].
    List(Vec<Option<Cow<'a, str>>>),
    /// Of [`Kind::Json`].
    Json(&'a str),
}

impl Kind {
    /// What was found as a value of this kind, and whether it was one.
    pub(super) fn value(self, found: Found<'_>) -> (Option<Value<'_>>, bool) {
        let json = match (found, self) {
            (Found::Nothing | Found::One("null"), _) => return (None, true),
            (Found::Many(items), _) => {
                return (
                    Some(Value::List(items.into_iter().map(|item| (item != "null").then(|| text(item))).collect())),
                    true,
                );
            }
            (Found::One(json), Self::TextList) => return (Some(Value::List(vec![Some(text(json))])), true),
            (Found::One(json), Self::Json) => return (Some(Value::Json(json)), true),
            (Found::One(json), _) => json,
        };
        let is_text = json.starts_with('"');
        let text = text(json);
        if self == Self::Text {
            return (Some(Value::Text(text)), true);
        }
        // Text that says nothing is nothing.
        if is_text && text.is_empty() {
            return (None, true);
        }
        let value = match self {
            Self::Bool => boolean(&text).map(Value::Bool),
            Self::Int => integer(&text).map(Value::Int),
            Self::Float => number(&text).map(|number| Value::Float(number, trimmed(text))),
            _ => {
                let (micros, fits) = match moment(&text) {
                    Ok(micros) if is_text => (micros, true),
                    _ => (None, false),
                };
                return (Some(Value::Time(micros, text)), fits);
            }
        };
        let fits = value.is_some();
        (value, fits)
    }
}

/// A JSON text without its quotes and escapes; anything else as it stands. So
/// does a text that holds half a surrogate pair, which no UTF-8 can.
fn text(json: &str) -> Cow<'_, str> {
    match json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        None => json.into(),
        Some(plain) if !plain.contains('\\') => plain.into(),
        Some(_) => serde_json::from_str::<String>(json).map_or(json.into(), Cow::from),
    }
}

fn trimmed(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => text.trim().into(),
        Cow::Owned(text) => text.trim().to_owned().into(),
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text.trim() {
        text if text.eq_ignore_ascii_case("true") => Some(true),
        text if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// By the grammar of JSON, where Rust's own would take `inf` and `.5` too; by
/// Rust's own, where the JSON parser's may be off by the last bit.
fn number(text: &str) -> Option<f64> {
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    text.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

fn integer(text: &str) -> Option<i64> {
    /// Up to here every whole number is a float, and no two are the same.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    serde_json::from_str(text).ok().or_else(|| {
        let whole = number(text).filter(|number| number.fract() == 0.0 && number.abs() <= EXACT)?;
        #[allow(clippy::cast_possible_truncation, reason = "a whole number within 53 bits")]
        Some(whole as i64)
    })
}

/// RFC 3339; `None`: the year 1, which is how the appliance says never.
fn moment(text: &str) -> Result<Option<i64>, time::error::Parse> {
    const NEVER: OffsetDateTime = time::macros::datetime!(0001-01-01 00:00 UTC);
    let time = OffsetDateTime::parse(text, &Rfc3339)?;
    let micros = time.unix_timestamp_nanos().div_euclid(1000);
    Ok((time != NEVER).then(|| i64::try_from(micros).expect("a year of four digits fits")))
}
