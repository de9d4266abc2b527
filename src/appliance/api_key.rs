//! An API key of the appliance, from its bytes to the one header it may appear in.

use std::fmt;

use http::HeaderValue;
use zeroize::Zeroizing;

use super::{SupportToken, TokenError};

/// An API key: opaque visible ASCII, wiped when dropped. Not printable, not
/// serialisable, not comparable. It reaches the network in
/// [`ReadApi`](super::ReadApi) calls only.
///
/// An appliance gives one out for at most 365 days, with the rights of the
/// person who made it; a read-only person's is enough.
pub struct ApiKey(SupportToken);

impl ApiKey {
    /// Takes the bytes of a file, of standard input or of a secret store. One
    /// newline (LF or CRLF) at the end is dropped.
    ///
    /// # Errors
    /// As [`SupportToken::parse`]; a semicolon is refused too, since it would end the pair in the header.
    pub fn parse(bytes: Zeroizing<Vec<u8>>) -> Result<Self, TokenError> {
        let key = SupportToken::parse(bytes)?;
        if key.expose_token().contains(&b';') {
            return Err(TokenError::Semicolon);
        }
        Ok(Self(key))
    }

    /// The key's bytes, for the secret store and for the one header line.
    #[must_use]
    pub fn expose_key(&self) -> &[u8] {
        self.0.expose_token()
    }

    /// What has to be kept out of any text that is shown.
    pub(super) fn secret(&self) -> &SupportToken {
        &self.0
    }

    /// `X-APIKeys: key=…`: one pair, no semicolon after it, as recorded traffic has it.
    pub(super) fn header(&self) -> HeaderValue {
        let mut bytes = Zeroizing::new(Vec::with_capacity(4 + self.expose_key().len()));
        bytes.extend_from_slice(b"key=");
        bytes.extend_from_slice(self.expose_key());
        let mut value = HeaderValue::from_bytes(&bytes).expect("visible ASCII was checked when the key was parsed");
        value.set_sensitive(true);
        value
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(***)")
    }
}
