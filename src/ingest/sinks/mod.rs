//! The formats in which records are written, one file each.
//!
//! Owns what a format is ([`Sink`]), how its bytes are compressed, and counting
//! and hashing what is written ([`Counted`]). Leaves out what the columns of
//! CSV and Parquet are (`columns`) and where the bytes go: any [`Write`].
//!
//! Promises: the same records give the same bytes; where the writer fails, so
//! does the sink, at the latest in [`Sink::finish`]; what is compressed or
//! Parquet and was not finished cannot be read to an end; memory does not grow with
//! the number of records, but for what describes a row group of Parquet (8 MiB
//! for a million assets); what one row group takes is about 12 MiB.

mod compress;
mod csv;
mod ndjson;
mod parquet;

use std::{
    fmt,
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use aws_lc_rs::digest;

pub use csv::cell;

use super::columns::Columns;
use crate::site::{Compression, Format, Stream};
use compress::Out;

/// A format on its way out.
///
/// After an error nothing more is called and what was written is worthless.
pub trait Sink: Send {
    /// Writes one record: one JSON object with `id` at its top level.
    fn record(&mut self, object: &str) -> io::Result<()>;

    /// How many values had no place in their column so far, and are null there.
    fn flagged(&self) -> u64 {
        0
    }

    /// Writes what stands after the last record, and passes everything on.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// The sink for records of `stream`, written to `out` in large pieces.
///
/// NDJSON and CSV are compressed as a whole. Parquet compresses its pages, so
/// that readers need not unpack all of it.
///
/// # Errors
/// What `out` says to the first bytes.
pub fn open(
    format: Format,
    compress: Compression,
    stream: Stream,
    with_details: bool,
    out: Box<dyn Write + Send>,
) -> io::Result<Box<dyn Sink>> {
    let columns = || Columns::of(stream, with_details);
    Ok(match format {
        Format::Ndjson => Box::new(ndjson::Ndjson::new(Out::new(compress, out)?)),
        Format::Csv => Box::new(csv::Csv::new(columns(), Out::new(compress, out)?)?),
        Format::Parquet => Box::new(parquet::Parquet::new(stream, columns(), compress, out)?),
    })
}

/// Counts and hashes what passes through to `W`.
pub struct Counted<W> {
    out: W,
    tally: Arc<Mutex<Tally>>,
}

/// What passed through a [`Counted`], readable while that is held elsewhere.
pub struct Tally {
    written: u64,
    digest: digest::Context,
}

impl Tally {
    /// How many bytes have passed.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// The SHA-256 of what has passed, in lower-case hex.
    #[must_use]
    pub fn sha256(&self) -> String {
        self.digest.clone().finish().as_ref().iter().fold(String::with_capacity(64), |mut hex, byte| {
            let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or_default();
            hex.extend([digit(byte >> 4), digit(byte & 15)]);
            hex
        })
    }
}

impl<W: Write> Counted<W> {
    /// Nothing has passed yet.
    pub fn new(out: W) -> Self {
        let tally = Tally { written: 0, digest: digest::Context::new(&digest::SHA256) };
        Self { out, tally: Arc::new(Mutex::new(tally)) }
    }

    /// Where what has passed can be read.
    #[must_use]
    pub fn tally(&self) -> Arc<Mutex<Tally>> {
        Arc::clone(&self.tally)
    }
}

impl<W> fmt::Debug for Counted<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counted").finish_non_exhaustive()
    }
}

impl fmt::Debug for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tally").field("written", &self.written).finish_non_exhaustive()
    }
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let passed = self.out.write(bytes)?;
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.digest.update(&bytes[..passed]);
        tally.written += passed as u64;
        Ok(passed)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was written, readable while a sink holds it.
    #[derive(Clone, Default)]
    pub(in crate::ingest) struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Memory {
        pub(in crate::ingest) fn bytes(&self) -> Vec<u8> {
            self.0.lock().unwrap().clone()
        }
    }

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

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
            let tally = counted.tally();
            assert_eq!(tally.lock().unwrap().written(), text.len() as u64);
            assert_eq!(tally.lock().unwrap().sha256(), sha256, "{text:?}");
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
