//! A gzip body, decoded as it arrives and within bounds.
//!
//! On failure: a body that ends early, that is no gzip, that grows out of all
//! proportion, or that goes on with something else gives nothing.

use flate2::{Decompress, FlushDecompress, Status};

use super::{error::ExchangeError, limits};

/// How much room is made at a time.
const STEP: usize = 64 << 10;

/// One body of one or several gzip members, one after the other (RFC 1952, 2.2).
pub(super) struct Inflate {
    /// The member under way.
    member: Decompress,
    state: State,
    text: Vec<u8>,
    /// Bytes that came in.
    received: u64,
    /// The largest text.
    limit: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing came yet.
    Empty,
    /// Within a member.
    Within,
    /// Behind a whole one.
    Behind,
}

impl Inflate {
    pub(super) fn new(limit: usize) -> Self {
        Self { member: member(), state: State::Empty, text: Vec::new(), received: 0, limit }
    }

    /// The largest text.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Takes the next bytes of the body.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), ExchangeError> {
        self.received += bytes.len() as u64;
        while !bytes.is_empty() {
            if self.state == State::Behind {
                self.member = member();
            }
            self.state = State::Within;
            bytes = self.step(bytes)?;
        }
        Ok(())
    }

    /// The text, if the body was whole.
    pub(super) fn finish(self) -> Result<Vec<u8>, ExchangeError> {
        if self.state == State::Behind { Ok(self.text) } else { Err(ExchangeError::Shortened) }
    }

    /// Decodes as much as there is room for; what is left of the bytes.
    fn step<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], ExchangeError> {
        if self.text.capacity() - self.text.len() < STEP {
            self.text.reserve(STEP);
        }
        let (read, written) = (self.member.total_in(), self.text.len());
        let status = self.member.decompress_vec(bytes, &mut self.text, FlushDecompress::None);
        let status = status.map_err(|_| ExchangeError::NotGzip)?;
        let read = usize::try_from(self.member.total_in() - read).unwrap_or(bytes.len());
        self.judge()?;
        match status {
            Status::StreamEnd => self.state = State::Behind,
            // Neither took nor gave anything although there is room: it never will.
            _ if read == 0 && self.text.len() == written => return Err(ExchangeError::NotGzip),
            _ => {}
        }
        Ok(&bytes[read..])
    }

    fn judge(&self) -> Result<(), ExchangeError> {
        if self.text.len() > self.limit {
            return Err(ExchangeError::TooLarge { limit: self.limit });
        }
        let fair = self.received.saturating_mul(limits::INFLATED).saturating_add(limits::INFLATED_FREE);
        if self.text.len() as u64 > fair { Err(ExchangeError::Bomb { limit: limits::INFLATED }) } else { Ok(()) }
    }
}

fn member() -> Decompress {
    // The largest window, as every encoder may use it.
    Decompress::new_gzip(15)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn inflate(body: &[u8], frame: usize, limit: usize) -> Result<Vec<u8>, ExchangeError> {
        let mut inflate = Inflate::new(limit);
        body.chunks(frame).try_for_each(|frame| inflate.feed(frame))?;
        inflate.finish()
    }

    #[test]
    fn what_went_in_comes_out_however_it_is_cut() {
        let text: Vec<u8> = (0..40_000_u32).flat_map(|n| n.wrapping_mul(n).to_string().into_bytes()).collect();
        let members = [gzip(&text[..1000]), gzip(b""), gzip(&text[1000..])].concat();
        for frame in [1, 7, 4096, usize::MAX] {
            assert_eq!(inflate(&gzip(&text), frame, text.len()).unwrap(), text, "{frame}");
            assert_eq!(inflate(&members, frame, text.len()).unwrap(), text, "{frame}");
        }
        assert_eq!(inflate(&gzip(b""), 1, 0).unwrap(), b"");
        assert!(matches!(inflate(&gzip(&text), 4096, text.len() - 1), Err(ExchangeError::TooLarge { .. })));
    }

    #[test]
    fn nothing_but_a_whole_body_is_one() {
        let whole = [gzip(b"one"), gzip(br#"[{"id":"a"}]"#)].concat();
        for end in 0..whole.len() {
            let result = inflate(&whole[..end], 5, 1000);
            match result {
                // The first member alone is whole as well.
                Ok(text) => assert_eq!((end, text.as_slice()), (gzip(b"one").len(), b"one".as_slice())),
                Err(error) => assert!(matches!(error, ExchangeError::Shortened), "{end}: {error:?}"),
            }
        }
        for more in [b"x".as_slice(), b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", b"{}", b"\x1f\x8b\x07"] {
            let error = inflate(&[whole.as_slice(), more].concat(), 5, 1000).unwrap_err();
            assert!(matches!(error, ExchangeError::NotGzip | ExchangeError::Shortened), "{more:?}: {error:?}");
        }
        assert!(matches!(inflate(br#"{"data":{}}"#, 5, 1000), Err(ExchangeError::NotGzip)));
        // Its checksum is looked at.
        let mut other = gzip(b"some text");
        let at = other.len() - 8;
        other[at] ^= 1;
        assert!(matches!(inflate(&other, 5, 1000), Err(ExchangeError::NotGzip)));
    }

    #[test]
    fn a_bomb_ends_early() {
        let bomb = gzip(&vec![b' '; 4 << 20]);
        let mut inflate = Inflate::new(64 << 20);
        let error = bomb.chunks(1024).find_map(|frame| inflate.feed(frame).err()).unwrap();
        assert!(matches!(error, ExchangeError::Bomb { .. }), "{error:?}");
        assert!(inflate.text.len() < 1 << 20, "{}", inflate.text.len());
        // A small body of blanks is none.
        assert_eq!(super::tests::inflate(&gzip(&vec![b' '; 60_000]), 5, 1 << 20).unwrap().len(), 60_000);
    }
}
