//! NDJSON: one JSON object on each line.

use std::io::{self, Write};

use super::{Sink, compress::Out};

/// Writes each record as one line, byte for byte as the appliance sent it; a
/// record that was sent over several lines loses the space between its values.
pub(super) struct Ndjson {
    out: Out,
    line: Vec<u8>,
}

impl Ndjson {
    pub(super) fn new(out: Out) -> Self {
        Self { out, line: Vec::new() }
    }
}

impl Sink for Ndjson {
    fn record(&mut self, object: &str) -> io::Result<()> {
        let object = object.as_bytes();
        if memchr::memchr2(b'\n', b'\r', object).is_some() {
            self.line.clear();
            compact(object, &mut self.line);
            self.out.write_all(&self.line)?;
        } else {
            self.out.write_all(object)?;
        }
        self.out.write_all(b"\n")
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        self.out.finish()
    }
}

/// JSON without the space between values (RFC 8259, 2). A line break inside a
/// string, which no JSON parser lets through, would be written as its escape.
fn compact(json: &[u8], into: &mut Vec<u8>) {
    let (mut in_string, mut escaped) = (false, false);
    for &byte in json {
        if in_string {
            match byte {
                b'\n' => into.extend(b"\\n"),
                b'\r' => into.extend(b"\\r"),
                _ => into.push(byte),
            }
            in_string = escaped || byte != b'"';
            escaped = byte == b'\\' && !escaped;
        } else if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            into.push(byte);
            in_string = byte == b'"';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ingest::sinks::tests::Memory, site::Compression};

    #[test]
    fn one_line_each() {
        let check = |records: &[&str], expected: &str| {
            let written = Memory::default();
            let mut sink = Box::new(Ndjson::new(Out::new(Compression::None, Box::new(written.clone())).unwrap()));
            for record in records {
                sink.record(record).unwrap();
            }
            sink.finish().unwrap();
            assert_eq!(String::from_utf8(written.bytes()).unwrap(), expected);
        };
        check(&[], "");
        // Byte for byte: spaces, the order of keys, numbers, escapes.
        check(
            &[r#"{"id": "1", "risk":1.50, "name":"\u00e4 \"x\""}"#],
            "{\"id\": \"1\", \"risk\":1.50, \"name\":\"\\u00e4 \\\"x\\\"\"}\n",
        );
        check(&[r#"{"id":1}"#, r#"{"id":2}"#], "{\"id\":1}\n{\"id\":2}\n");
        check(&["{\r\n  \"id\" : \"a b\",\n\t\"x\": [ 1, {} ]\n}"], "{\"id\":\"a b\",\"x\":[1,{}]}\n");
        // The end of a string is found behind any number of backslashes.
        check(&["{\n\"a\\\\\" : \"b\\\" : c\"\n}"], "{\"a\\\\\":\"b\\\" : c\"}\n");
        check(&["{\"a\":\"x\ny\rz\"}"], "{\"a\":\"x\\ny\\rz\"}\n");
        // Other line breaks of Unicode are no line breaks of NDJSON.
        check(&["{\"a\":\"\u{2028}\u{85}\"}"], "{\"a\":\"\u{2028}\u{85}\"}\n");
    }
}
