//! NDJSON: one JSON object on each line.

use std::io::{self, Write};

use super::Sink;

/// Writes each record as one line, byte for byte as the appliance sent it; a
/// record that was sent over several lines loses the space between its values.
#[derive(Debug)]
pub struct Ndjson<W> {
    out: W,
    line: Vec<u8>,
}

impl<W: Write> Ndjson<W> {
    /// Into `out`, in a few small writes a record: it should be buffered.
    pub fn new(out: W) -> Self {
        Self { out, line: Vec::new() }
    }
}

impl<W: Write> Sink for Ndjson<W> {
    fn begin(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn record(&mut self, object: &[u8]) -> io::Result<()> {
        if object.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
            self.line.clear();
            compact(object, &mut self.line);
            self.out.write_all(&self.line)?;
        } else {
            self.out.write_all(object)?;
        }
        self.out.write_all(b"\n")
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
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

    #[test]
    fn one_line_each() {
        let check = |records: &[&str], expected: &str| {
            let mut written = Vec::new();
            let mut sink = Ndjson::new(&mut written);
            sink.begin().unwrap();
            for record in records {
                sink.record(record.as_bytes()).unwrap();
            }
            sink.finish().unwrap();
            assert_eq!(String::from_utf8(written).unwrap(), expected);
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
