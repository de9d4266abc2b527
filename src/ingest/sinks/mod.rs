//! The formats in which records are written, one file each.
//!
//! Owns what a format is ([`Sink`]) and counting and hashing what is written
//! ([`Counted`]). Leaves out where the bytes go: any [`Write`].

mod ndjson;

use std::io::{self, Write};

use aws_lc_rs::digest;

pub use ndjson::Ndjson;

/// A format on its way out.
///
/// The calls come in the order `begin`, any number of `record`, `finish`;
/// after an error nothing more is called and what was written is worthless.
pub trait Sink {
    /// Writes what stands before the first record.
    fn begin(&mut self) -> io::Result<()>;

    /// Writes one record: one JSON object.
    fn record(&mut self, object: &[u8]) -> io::Result<()>;

    /// Writes what stands after the last record, and passes everything on.
    fn finish(&mut self) -> io::Result<()>;
}

/// Counts and hashes what passes through to `W`.
pub struct Counted<W> {
    out: W,
    written: u64,
    digest: digest::Context,
}

impl<W: Write> Counted<W> {
    /// Nothing has passed yet.
    pub fn new(out: W) -> Self {
        Self { out, written: 0, digest: digest::Context::new(&digest::SHA256) }
    }

    /// How many bytes have passed.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// The SHA-256 of what has passed, in lower-case hex.
    pub fn sha256(self) -> String {
        self.digest.finish().as_ref().iter().fold(String::with_capacity(64), |mut hex, byte| {
            let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or_default();
            hex.extend([digit(byte >> 4), digit(byte & 15)]);
            hex
        })
    }
}

impl<W> std::fmt::Debug for Counted<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Counted").field("written", &self.written).finish_non_exhaustive()
    }
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let passed = self.out.write(bytes)?;
        self.digest.update(&bytes[..passed]);
        self.written += passed as u64;
        Ok(passed)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes three bytes at a time, as a full pipe does.
    struct Slow(Vec<u8>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(&bytes[..bytes.len().min(3)])
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_passed_is_counted_and_hashed() {
        let check = |text: &str, sha256: &str| {
            let mut out = Slow(Vec::new());
            let mut counted = Counted::new(&mut out);
            counted.write_all(text.as_bytes()).unwrap();
            assert_eq!(counted.written(), text.len() as u64);
            assert_eq!(counted.sha256(), sha256, "{text:?}");
            assert_eq!(out.0, text.as_bytes());
        };
        // FIPS 180-4's own examples.
        check("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        check("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        check(
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        );
    }
}
