//! What an appliance calls one of its things.

use std::{fmt, str::FromStr};

/// The longest id, in bytes.
const LONGEST: usize = 256;

/// An appliance's own id for a robot or a device, as text: 1 to 256 bytes,
/// none of them a control character, and not dots only, so that it can stand
/// in a path without meaning another one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RemoteId(String);

/// A text that cannot be an appliance's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id: 1 to {LONGEST} bytes without control characters, and not dots only, are allowed")]
pub struct NotAnId;

impl RemoteId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as one path segment (RFC 3986, 3.3): nothing in it can begin
    /// another segment or a query.
    pub(super) fn path_segment(&self) -> String {
        let mut segment = String::with_capacity(self.0.len());
        for byte in self.0.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                segment.push(char::from(byte));
            } else {
                segment.extend(['%', hex(byte >> 4), hex(byte & 15)]);
            }
        }
        segment
    }
}

/// Whether a text can be an id.
pub(super) fn fits(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len()) && !text.chars().any(char::is_control) && !text.bytes().all(|b| b == b'.')
}

fn hex(digit: u8) -> char {
    char::from_digit(digit.into(), 16).map_or('0', |c| c.to_ascii_uppercase())
}

impl FromStr for RemoteId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        if fits(text) { Ok(Self(text.to_owned())) } else { Err(NotAnId) }
    }
}

impl fmt::Display for RemoteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_their_paths() {
        let path = |text: &str| text.parse::<RemoteId>().map(|id| id.path_segment());
        assert_eq!(path("ffa38748-e7a1-4374"), Ok("ffa38748-e7a1-4374".to_owned()));
        assert_eq!(path("a/../b?c#d%"), Ok("a%2F..%2Fb%3Fc%23d%25".to_owned()));
        assert_eq!(path("ä"), Ok("%C3%A4".to_owned()));
        for refused in ["", ".", "..", "a\n", "a\0", &"x".repeat(257)] {
            assert_eq!(path(refused), Err(NotAnId), "{refused:?}");
        }
    }
}
