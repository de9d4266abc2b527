//! The vendor's bearer token, from its bytes to the one header it may appear in.

use std::fmt;

use http::HeaderValue;
use zeroize::Zeroizing;

use super::limits;

/// The support token: opaque visible ASCII, wiped when dropped.
///
/// Not printable, not serialisable, not comparable. It reaches the network in
/// [`RobotsApi`](super::RobotsApi) calls only.
pub struct SupportToken(Zeroizing<Vec<u8>>);

/// Why bytes are not a support token, or not an API key; never repeats them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Nothing, or nothing but a newline.
    #[error("it is empty")]
    Empty,
    /// More than 8 KiB.
    #[error("it is longer than {limit} bytes")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// A newline before the last character: probably two things in one file.
    #[error("it holds a newline")]
    Newline,
    /// A space, a control character or something that is not ASCII.
    #[error("it holds a space, a control character or a non-ASCII byte")]
    Character,
    /// A semicolon in an API key.
    #[error("it holds a semicolon")]
    Semicolon,
}

impl SupportToken {
    /// Takes the bytes of a token file, of standard input or of a secret
    /// store. One newline (LF or CRLF) at the end is dropped.
    pub fn parse(mut bytes: Zeroizing<Vec<u8>>) -> Result<Self, TokenError> {
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        if bytes.is_empty() {
            return Err(TokenError::Empty);
        }
        if bytes.len() > limits::TOKEN {
            return Err(TokenError::TooLong { limit: limits::TOKEN });
        }
        if bytes.iter().any(|b| matches!(b, b'\n' | b'\r')) {
            return Err(TokenError::Newline);
        }
        if !bytes.iter().all(u8::is_ascii_graphic) {
            return Err(TokenError::Character);
        }
        Ok(Self(bytes))
    }

    /// The token's bytes, for the secret store and for the one header line.
    #[must_use]
    pub fn expose_token(&self) -> &[u8] {
        &self.0
    }

    /// `text` with `[token]` wherever the token stands in it.
    pub(super) fn redacted(&self, text: &str) -> String {
        let token = std::str::from_utf8(&self.0).expect("visible ASCII was checked when the token was parsed");
        // JSON may write a slash with a backslash before it.
        text.replace("\\/", "/").replace(token, "[token]")
    }

    /// `Bearer TOKEN` (RFC 6750, 2.1), marked so that no log of headers shows it.
    pub(super) fn authorization(&self) -> HeaderValue {
        let mut line = Zeroizing::new(Vec::with_capacity(7 + self.0.len()));
        line.extend_from_slice(b"Bearer ");
        line.extend_from_slice(self.expose_token());
        let mut value = HeaderValue::from_bytes(&line).expect("visible ASCII was checked when the token was parsed");
        value.set_sensitive(true);
        value
    }
}

impl fmt::Debug for SupportToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SupportToken(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_token() {
        let parse = |bytes: &[u8]| SupportToken::parse(Zeroizing::new(bytes.to_vec())).map(|t| t.0.to_vec());
        assert_eq!(parse(b"abc.DEF-123==\n"), Ok(b"abc.DEF-123==".to_vec()));
        assert_eq!(parse(b"abc\r\n"), Ok(b"abc".to_vec()));
        assert_eq!(parse(&[b'a'; limits::TOKEN]).map(|t| t.len()), Ok(limits::TOKEN));
        for (bytes, expected) in [
            (b"".as_slice(), TokenError::Empty),
            (b"\n", TokenError::Empty),
            (b"a\nb", TokenError::Newline),
            (b"a\n\n", TokenError::Newline),
            (b"a\rb", TokenError::Newline),
            (b"a b", TokenError::Character),
            (b" a", TokenError::Character),
            (b"a\0", TokenError::Character),
            (b"a\x7f", TokenError::Character),
            ("ä".as_bytes(), TokenError::Character),
            (&[b'a'; limits::TOKEN + 1], TokenError::TooLong { limit: limits::TOKEN }),
        ] {
            assert_eq!(parse(bytes), Err(expected), "{bytes:?}");
        }
    }

    #[test]
    fn nothing_prints_it() {
        let token = SupportToken::parse(Zeroizing::new(b"hunter2".to_vec())).unwrap();
        assert!(!format!("{token:?} {:?}", token.authorization()).contains("hunter2"));
    }
}
