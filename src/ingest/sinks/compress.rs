//! How text goes out: as it is, as gzip or as zstd.
//!
//! Promises that what is compressed and was not finished has no end that a
//! reader could take for the end of the data.

use std::io::{self, BufWriter, Write};

use flate2::write::GzEncoder;
use zstd::Encoder;

use crate::site::Compression;

/// What is written at a time, in bytes.
const BUFFER: usize = 128 << 10;
/// Beyond each, a quarter more time and up saves a fiftieth of a listing of assets at most.
const GZIP_LEVEL: u32 = 5;
const ZSTD_LEVEL: i32 = 3;

type To = BufWriter<Box<dyn Write + Send>>;

/// A gzip encoder that writes its trailer in [`finish`](Self::finish) only, and not when it is dropped.
pub(super) struct Gzip(Option<GzEncoder<Gate>>);

impl Gzip {
    fn new(out: To) -> Self {
        Self(Some(GzEncoder::new(Gate { out, shut: false }, flate2::Compression::new(GZIP_LEVEL))))
    }

    fn finish(mut self) -> io::Result<To> {
        self.0.take().map_or_else(|| Err(shut()), GzEncoder::finish).map(|gate| gate.out)
    }
}

impl Drop for Gzip {
    fn drop(&mut self) {
        if let Some(encoder) = &mut self.0 {
            encoder.get_mut().shut = true;
        }
    }
}

/// Lets through what is written until it is shut, or a write failed.
pub(super) struct Gate {
    out: To,
    shut: bool,
}

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.shut {
            return Err(shut());
        }
        self.out.write(bytes).inspect_err(|error| self.shut |= error.kind() != io::ErrorKind::Interrupted)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn shut() -> io::Error {
    io::Error::other("nothing is written after a failure")
}

/// Where text goes, compressed on its way.
pub(super) enum Out {
    Plain(To),
    Gzip(Gzip),
    Zstd(Encoder<'static, To>),
}

impl Out {
    pub(super) fn new(compress: Compression, out: Box<dyn Write + Send>) -> io::Result<Self> {
        let out = BufWriter::with_capacity(BUFFER, out);
        Ok(match compress {
            Compression::None => Self::Plain(out),
            Compression::Gzip => Self::Gzip(Gzip::new(out)),
            Compression::Zstd => {
                let mut encoder = Encoder::new(out, ZSTD_LEVEL)?;
                encoder.include_checksum(true)?;
                Self::Zstd(encoder)
            }
        })
    }

    /// Writes what ends the compressed data, and passes everything on.
    pub(super) fn finish(self) -> io::Result<()> {
        match self {
            Self::Plain(out) => Ok(out),
            Self::Gzip(gzip) => gzip.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }?
        .flush()
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            Self::Gzip(gzip) => gzip.0.as_mut().map_or_else(|| Err(shut()), |encoder| encoder.write(bytes)),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    /// Nothing: to pass on what a compressor holds costs compression, and only the end matters.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::ingest::sinks::tests::Memory;

    #[test]
    fn only_what_was_finished_can_be_read_to_its_end() {
        let unpacked = |compress: Compression, bytes: &[u8]| {
            let mut text = Vec::new();
            let read = match compress {
                Compression::None => return Ok(bytes.to_vec()),
                Compression::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut text),
                Compression::Zstd => zstd::Decoder::new(bytes).unwrap().read_to_end(&mut text),
            };
            read.map(|_| text)
        };
        for compress in [Compression::Gzip, Compression::Zstd] {
            for length in [1, 1 << 20] {
                let text: Vec<u8> = (0..length).map(|n: u32| (n.wrapping_mul(n) >> 7).to_le_bytes()[0]).collect();
                for finished in [true, false] {
                    let memory = Memory::default();
                    let mut out = Out::new(compress, Box::new(memory.clone())).unwrap();
                    out.write_all(&text).unwrap();
                    if finished {
                        out.finish().unwrap();
                        assert_eq!(unpacked(compress, &memory.bytes()).unwrap(), text);
                    } else {
                        drop(out);
                        assert!(unpacked(compress, &memory.bytes()).is_err(), "{compress} {length}");
                    }
                }
            }
        }
    }
}
