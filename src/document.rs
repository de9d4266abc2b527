//! What every JSON document of ours has: `schema` first, times in one form, and
//! text that a terminal can show as it stands.
//!
//! Leaves out what the documents say: each stands with its own subject. Pure.

use std::{fmt, io};

use serde::{Serialize, Serializer};
use serde_json::ser::Formatter;
use time::{OffsetDateTime, UtcOffset};

use crate::{clean, clock::rfc3339};

/// The version of every document; raised when a field changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// A whole document: `schema` first, then the fields of `body`.
#[derive(Debug, Serialize)]
pub struct Document<T> {
    schema: u32,
    #[serde(flatten)]
    body: T,
}

impl<T> Document<T> {
    /// The document with this body.
    #[must_use]
    pub fn of(body: T) -> Self {
        Self { schema: SCHEMA, body }
    }
}

/// One line of JSON that a terminal can show as it stands.
///
/// # Errors
/// Those of the value's own `Serialize`.
pub fn to_vec<T: Serialize>(value: &T) -> serde_json::Result<Vec<u8>> {
    let mut text = Vec::new();
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut text, Escaping))?;
    Ok(text)
}

/// Compact, and also escapes what JSON would allow and [`clean`] would not.
struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W: io::Write + ?Sized>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        for piece in fragment.split_inclusive(clean::is_unfit) {
            match piece.char_indices().next_back().filter(|(_, last)| clean::is_unfit(*last)) {
                None => writer.write_all(piece.as_bytes())?,
                Some((place, unfit)) => {
                    writer.write_all(&piece.as_bytes()[..place])?;
                    for unit in unfit.encode_utf16(&mut [0; 2]) {
                        write!(writer, "\\u{unit:04x}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// A moment, shown to the second in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub OffsetDateTime);

impl Time {
    /// The day alone, `YYYY-MM-DD`.
    #[must_use]
    pub fn day(self) -> String {
        self.0.to_offset(UtcOffset::UTC).date().to_string()
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&rfc3339(self.0))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn times_are_utc_and_whole_seconds() {
        let time = Time(datetime!(2026-03-01 01:30:00.25 +2));
        assert_eq!(time.to_string(), "2026-02-28T23:30:00Z");
        assert_eq!(time.day(), "2026-02-28");
    }

    proptest! {
        #[test]
        fn escaped_text_is_the_same_text_and_fit_to_show(given in any::<String>()) {
            let json = String::from_utf8(to_vec(&given).unwrap()).unwrap();
            prop_assert!(!json.contains(clean::is_unfit), "{}", json);
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), given);
        }
    }

    #[test]
    fn what_a_terminal_would_act_on_is_escaped() {
        let check = |given: &str, json: &str| assert_eq!(to_vec(&given).unwrap(), json.as_bytes());
        check("a\u{1b}b\u{9b}c\u{202e}", r#""a\u001bb\u009bc\u202e""#);
        check("\u{e0041}\u{7f}ä\"\n", r#""\udb40\udc41\u007fä\"\n""#);
    }
}
