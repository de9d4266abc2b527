//! A walk over JSON bytes: strict, bounded, and without building anything.
//!
//! Owns the grammar of JSON (RFC 8259) and its bounds of depth and number.
//! Leaves out what the values mean. Bytes that are not UTF-8 and escapes that
//! are no character pass inside strings; the latter are noted in [`Scan::odd`].

use std::{borrow::Cow, ops::Range};

use super::{Error, json::Unacceptable, limits};

/// Why a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The bytes end too early.
    Short,
    /// Not JSON at this byte.
    Syntax(usize),
    /// Beyond a bound.
    Bound(Unacceptable),
}

impl From<Broken> for Error {
    fn from(why: Broken) -> Self {
        match why {
            Broken::Short => Self::Truncated,
            Broken::Syntax(at) => Self::Unexpected { reason: format!("not JSON at byte {at}") },
            Broken::Bound(why) => Self::Unexpected { reason: why.to_string() },
        }
    }
}

type Step<T = ()> = Result<T, Broken>;

/// What a value is, by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Object,
    Array,
    Text,
    Number,
    Null,
    Bool,
}

/// Where the walk is.
pub(super) struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    /// Counted as [`json::bounded`](super::json::bounded) counts them.
    values: usize,
    /// Whether an escape was met that is no character: half of a surrogate pair, or NUL.
    pub(super) odd: bool,
}

impl<'a> Scan<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, depth: 0, values: 1, odd: false }
    }

    /// Where the walk is, as a place in the bytes.
    pub(super) fn place(&self) -> usize {
        self.at
    }

    /// The bytes of a place.
    pub(super) fn bytes(&self, place: Range<usize>) -> &'a [u8] {
        &self.bytes[place]
    }

    /// What comes next; the place is then at its first byte.
    pub(super) fn kind(&mut self) -> Step<Kind> {
        Ok(match self.skip_blanks()? {
            b'{' => Kind::Object,
            b'[' => Kind::Array,
            b'"' => Kind::Text,
            b'-' | b'0'..=b'9' => Kind::Number,
            b'n' => Kind::Null,
            b't' | b'f' => Kind::Bool,
            _ => return Err(self.syntax()),
        })
    }

    /// Calls `each` at the value of every member with the member's key, raw; it must walk over the value.
    pub(super) fn object<E: From<Broken>>(
        &mut self,
        mut each: impl FnMut(&mut Self, &'a [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.open()?;
        if self.skip_blanks()? == b'}' {
            self.close();
            return Ok(());
        }
        loop {
            if self.skip_blanks()? != b'"' {
                return Err(self.syntax().into());
            }
            let key = self.string()?;
            if self.skip_blanks()? != b':' {
                return Err(self.syntax().into());
            }
            self.at += 1;
            each(self, &self.bytes[key])?;
            if self.ends(b'}')? {
                self.close();
                return Ok(());
            }
        }
    }

    /// Calls `each` at every value; it must walk over it.
    pub(super) fn array<E: From<Broken>>(&mut self, mut each: impl FnMut(&mut Self) -> Result<(), E>) -> Result<(), E> {
        self.open()?;
        if self.skip_blanks()? == b']' {
            self.close();
            return Ok(());
        }
        loop {
            each(self)?;
            if self.ends(b']')? {
                self.close();
                return Ok(());
            }
        }
    }

    /// Walks over any value and gives its place.
    pub(super) fn value(&mut self) -> Step<Range<usize>> {
        let kind = self.kind()?;
        let start = self.at;
        match kind {
            Kind::Text => self.string().map(|_| ())?,
            Kind::Number => self.number()?,
            Kind::Null => self.word(b"null")?,
            Kind::Bool if self.bytes[self.at] == b't' => self.word(b"true")?,
            Kind::Bool => self.word(b"false")?,
            Kind::Object => self.object(|scan, _| scan.skip())?,
            Kind::Array => self.array(Scan::skip)?,
        }
        Ok(start..self.at)
    }

    /// Walks over any value.
    pub(super) fn skip(&mut self) -> Step {
        self.value().map(|_| ())
    }

    /// Nothing but blanks may follow.
    pub(super) fn end(mut self) -> Step {
        match self.skip_blanks() {
            Err(Broken::Short) => Ok(()),
            _ => Err(self.syntax()),
        }
    }

    fn open(&mut self) -> Step {
        self.at += 1;
        self.depth += 1;
        if self.depth > limits::JSON_DEPTH {
            return Err(Broken::Bound(Unacceptable::TooDeep));
        }
        self.count()
    }

    fn close(&mut self) {
        self.at += 1;
        self.depth -= 1;
    }

    /// Whether the list ends here; otherwise the place is behind a comma.
    fn ends(&mut self, close: u8) -> Step<bool> {
        match self.skip_blanks()? {
            b',' => {
                self.at += 1;
                self.count().map(|()| false)
            }
            byte if byte == close => Ok(true),
            _ => Err(self.syntax()),
        }
    }

    fn count(&mut self) -> Step {
        self.values += 1;
        if self.values > limits::JSON_ELEMENTS { Err(Broken::Bound(Unacceptable::TooMany)) } else { Ok(()) }
    }

    fn syntax(&self) -> Broken {
        Broken::Syntax(self.at)
    }

    /// The next byte that is no blank, not yet walked over.
    #[inline]
    fn skip_blanks(&mut self) -> Step<u8> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                Some(byte) => return Ok(*byte),
                None => return Err(Broken::Short),
            }
        }
    }

    fn word(&mut self, word: &[u8]) -> Step {
        let rest = &self.bytes[self.at..];
        if rest.starts_with(word) {
            self.at += word.len();
            Ok(())
        } else if word.starts_with(rest) {
            Err(Broken::Short)
        } else {
            Err(self.syntax())
        }
    }

    fn number(&mut self) -> Step {
        self.at += usize::from(self.bytes[self.at] == b'-');
        match self.bytes.get(self.at) {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            self.at += usize::from(matches!(self.bytes.get(self.at), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Step {
        let start = self.at;
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        match self.bytes.get(self.at) {
            _ if self.at > start => Ok(()),
            None => Err(Broken::Short),
            Some(_) => Err(self.syntax()),
        }
    }

    /// Walks over a string; the place of what is between its quotes.
    fn string(&mut self) -> Step<Range<usize>> {
        self.at += 1;
        let start = self.at;
        loop {
            self.at = plain_until(self.bytes, self.at);
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(start..self.at - 1);
                }
                Some(b'\\') => {
                    let escape = Escape::at(&self.bytes[self.at..]).map_err(|why| self.moved(why))?;
                    self.odd |= !escape.sound;
                    self.at += escape.len;
                }
                Some(_) => return Err(self.syntax()),
                None => return Err(Broken::Short),
            }
        }
    }

    fn moved(&self, why: Broken) -> Broken {
        if matches!(why, Broken::Syntax(_)) { self.syntax() } else { why }
    }
}

/// The first byte from `at` on that ends a run of plain characters: a quote, a
/// backslash or a control character; or the length.
#[inline]
fn plain_until(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    // Eight at a time: the high bit of a byte is set where it is one of them, and
    // perhaps in bytes after the first such one, so that the lowest bit is right.
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word & HIGH;
    while let Some(chunk) = bytes[at..].first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let found =
            below(word, 0x20) | below(word ^ (ONES * u64::from(b'"')), 1) | below(word ^ (ONES * u64::from(b'\\')), 1);
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let ends = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    bytes[at..].iter().position(ends).map_or(bytes.len(), |more| at + more)
}

/// An escape in a string.
struct Escape {
    /// How many bytes it is; both halves of a surrogate pair are one.
    len: usize,
    /// Whether it stands for a character that text may hold.
    sound: bool,
}

impl Escape {
    /// The one that `bytes` begin with. The place in an error means nothing.
    fn at(bytes: &[u8]) -> Step<Self> {
        match bytes.get(1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(Self { len: 2, sound: true }),
            Some(b'u') => {
                let unit = unit(&bytes[2..])?;
                match unit {
                    0xD800..0xDC00 if bytes.get(6..8) == Some(b"\\u") => {
                        let paired = matches!(self::unit(&bytes[8..]), Ok(0xDC00..0xE000));
                        Ok(Self { len: if paired { 12 } else { 6 }, sound: paired })
                    }
                    0 | 0xD800..0xE000 => Ok(Self { len: 6, sound: false }),
                    _ => Ok(Self { len: 6, sound: true }),
                }
            }
            Some(_) => Err(Broken::Syntax(0)),
            None => Err(Broken::Short),
        }
    }
}

fn unit(bytes: &[u8]) -> Step<u32> {
    let mut unit = 0;
    for place in 0..4 {
        let byte = bytes.get(place).ok_or(Broken::Short)?;
        unit = unit * 16 + char::from(*byte).to_digit(16).ok_or(Broken::Syntax(0))?;
    }
    Ok(unit)
}

/// Whether a raw key says `name`, however it is written.
pub(super) fn is_key(key: &[u8], name: &str) -> bool {
    key == name.as_bytes() || (plain_until(key, 0) < key.len() && text(key).is_some_and(|key| key == name))
}

/// The text that is written between two quotes; `None` if it holds what is no character.
pub(super) fn text(raw: &[u8]) -> Option<Cow<'_, str>> {
    let raw = std::str::from_utf8(raw).ok()?;
    if !raw.contains('\\') {
        return Some(raw.into());
    }
    serde_json::from_str(&format!("\"{raw}\"")).ok().map(Cow::Owned)
}

/// JSON that was walked over, in which every escape that is no character is `\ufffd`; whether there was one.
pub(super) fn mended(json: &mut [u8]) -> bool {
    let (mut at, mut any) = (0, false);
    while let Some(more) = json[at..].iter().position(|byte| *byte == b'\\') {
        at += more;
        let Ok(escape) = Escape::at(&json[at..]) else { break };
        if !escape.sound {
            json[at..at + 6].copy_from_slice(br"\ufffd");
            any = true;
        }
        at += escape.len;
    }
    any
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    use super::*;
    use crate::appliance::json;

    fn walked(bytes: &[u8]) -> Step {
        let mut scan = Scan::new(bytes);
        scan.value()?;
        scan.end()
    }

    #[test]
    fn strings_end_where_they_end() {
        // At every distance from the start, since eight bytes are looked at together.
        for length in 0..40 {
            let plain = "é\u{7f}!#[]x".chars().cycle().take(length).collect::<String>();
            for (end, expected) in
                [("\"", Ok(())), ("\\\"\"", Ok(())), ("", Err(Broken::Short)), ("\\", Err(Broken::Short))]
            {
                assert_eq!(walked(format!("\"{plain}{end}").as_bytes()), expected, "{length} {end}");
            }
            let at = plain.len() + 1;
            for control in ["\u{0}\"", "\u{1f}\"", "\n\""] {
                assert_eq!(
                    walked(format!("\"{plain}{control}").as_bytes()),
                    Err(Broken::Syntax(at)),
                    "{length} {control:?}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_character_is_mended() {
        let check = |before: &str, after: &str| {
            let mut scan = Scan::new(before.as_bytes());
            scan.value().unwrap();
            let mut bytes = before.as_bytes().to_vec();
            assert_eq!((mended(&mut bytes), scan.odd), (before != after, before != after), "{before}");
            assert_eq!(String::from_utf8(bytes).unwrap(), after);
            assert!(serde_json::from_str::<String>(after).is_ok(), "{after}");
        };
        check(r#""a\n\u00e4""#, r#""a\n\u00e4""#);
        check(r#""\ud83d\ude00\uFFFE""#, r#""\ud83d\ude00\uFFFE""#);
        check(r#""\ud83d""#, r#""\ufffd""#);
        check(r#""\uDE00x\uD83D\n""#, r#""\ufffdx\ufffd\n""#);
        check(r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#);
        check(r#""\ud83d\u0041""#, r#""\ufffd\u0041""#);
        check(r#""\\ud83d\\\u0000""#, r#""\\ud83d\\\ufffd""#);
    }

    proptest! {
        /// What passes here is what serde_json and the bounds of control replies pass.
        #[test]
        fn as_another_reader_says(text in r#"([\[\]{},:]|"(a|\\n|\\u00e4|é|\\)*"|-?[0-9.eE+-]{1,4}|true|nul|null|[ \n]){0,14}"#) {
            let theirs = json::bounded(text.as_bytes()).is_ok() && serde_json::from_str::<IgnoredAny>(&text).is_ok();
            prop_assert_eq!(walked(text.as_bytes()).is_ok(), theirs, "{}", text);
        }

        #[test]
        fn any_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = walked(&bytes);
            let _ = mended(&mut bytes.clone());
            let _ = text(&bytes);
        }
    }
}
