//! The tunnel through a proxy (RFC 9110, 9.3.6): TLS runs inside it, so the
//! proxy sees the appliance's address and nothing else.

use std::io;

use http::StatusCode;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::error::ConnectError;
use crate::site::Endpoint;

/// The longest reply head of a proxy, in bytes.
const LONGEST_HEAD: usize = 8 << 10;

/// Asks the proxy at the other end of `stream`, named `proxy` in errors, for a
/// tunnel to `endpoint`. Afterwards the stream is the tunnel.
pub(super) async fn open_tunnel<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    proxy: &str,
    endpoint: &Endpoint,
) -> Result<(), ConnectError> {
    let failed = |source| ConnectError::NotAProxy { proxy: proxy.to_owned(), source };
    let to = format!("{}:{}", endpoint.host(), endpoint.port());
    let request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    let head = read_head(stream).await.map_err(failed)?;
    let status = status_of(&head).ok_or_else(|| failed(io::ErrorKind::InvalidData.into()))?;
    if status.is_success() { Ok(()) } else { Err(ConnectError::Proxy { proxy: proxy.to_owned(), status }) }
}

/// Reads up to the empty line and not a byte further: what follows is TLS.
async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == LONGEST_HEAD {
            return Err(io::ErrorKind::InvalidData.into());
        }
        head.push(stream.read_u8().await?);
    }
    Ok(head)
}

fn status_of(head: &[u8]) -> Option<StatusCode> {
    let line = head.split(|b| *b == b'\r').next()?;
    let mut words = line.split(|b| *b == b' ');
    words.next().filter(|version| version.starts_with(b"HTTP/1."))?;
    StatusCode::from_bytes(words.next()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_lines() {
        let check = |head: &[u8], expected: Option<u16>| {
            assert_eq!(status_of(head).map(|s| s.as_u16()), expected, "{head:?}");
        };
        check(b"HTTP/1.1 200 Connection established\r\n\r\n", Some(200));
        check(b"HTTP/1.0 407 Proxy Authentication Required\r\n\r\n", Some(407));
        check(b"HTTP/1.1 200\r\n\r\n", Some(200));
        check(b"SSH-2.0-OpenSSH\r\n\r\n", None);
        check(b"HTTP/1.1 abc\r\n\r\n", None);
        check(b"", None);
    }
}
