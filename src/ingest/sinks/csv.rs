//! CSV by RFC 4180: a header, CRLF, quotes where they are needed, UTF-8.
//!
//! Made to be opened in a spreadsheet too, which takes text that begins with
//! `=` for a program: such a cell gets a `'` before it (OWASP ASVS 1.2.10).

use std::{borrow::Cow, io};

use super::{Sink, compress::Out};
use crate::ingest::columns::{Columns, Value};

/// Writes each record as one row.
pub(super) struct Csv {
    columns: Columns,
    writer: csv::Writer<Out>,
    flagged: u64,
}

impl Csv {
    /// Begins with the header.
    pub(super) fn new(columns: Columns, out: Out) -> io::Result<Self> {
        let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
        writer.write_record(columns.list().iter().map(|column| column.name)).map_err(io_error)?;
        Ok(Self { columns, writer, flagged: 0 })
    }
}

impl Sink for Csv {
    fn record(&mut self, object: &str) -> io::Result<()> {
        let row = self.columns.read(object)?;
        self.flagged += row.flagged;
        for value in row.values {
            self.writer.write_field(field(value).as_bytes()).map_err(io_error)?;
        }
        self.writer.write_record(None::<&[u8]>).map_err(io_error)
    }

    fn flagged(&self) -> u64 {
        self.flagged
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.writer.flush()?;
        self.writer.into_inner().map_err(csv::IntoInnerError::into_error)?.finish()
    }
}

fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// A value as a field. What is really a number stays bare, minus and all.
fn field(value: Option<Value<'_>>) -> Cow<'_, str> {
    match value {
        None => "".into(),
        Some(Value::Bool(value)) => if value { "true" } else { "false" }.into(),
        Some(Value::Int(number)) => number.to_string().into(),
        Some(Value::Float(_, digits)) => digits,
        Some(Value::Text(text) | Value::Time(_, text)) => safe(text),
        Some(Value::Json(json)) => safe(json.into()),
        Some(Value::List(items)) => {
            let items: Vec<_> = items.iter().map(|item| item.as_deref().unwrap_or_default()).collect();
            safe(items.join(BETWEEN).into())
        }
    }
}

/// What stands between the elements of a list.
const BETWEEN: &str = "; ";

/// Text as a cell that no spreadsheet takes for a formula, and without NUL,
/// at which programs stop reading.
#[must_use]
pub fn cell(text: &str) -> Cow<'_, str> {
    safe(text.into())
}

fn safe(text: Cow<'_, str>) -> Cow<'_, str> {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    let text = if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text };
    if formula { format!("'{text}").into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_no_formula() {
        let check = |text: &str, expected: &str| assert_eq!(cell(text), expected, "{text:?}");
        for text in ["", "plain", "10.0.0.1", "a=1", "'=1", " =1", "\u{a0}", "a\"b,c;d\r\n", "\u{2028}", "ä－"] {
            check(text, text);
        }
        check("=1+1", "'=1+1");
        check("+1", "'+1");
        check("-1", "'-1");
        check("-", "'-");
        check("@SUM(A1)", "'@SUM(A1)");
        check("\t=1", "'\t=1");
        check("\r=1", "'\r=1");
        check("\n=1", "'\n=1");
        for wide in ['＝', '＋', '－', '＠'] {
            check(&format!("{wide}1"), &format!("'{wide}1"));
        }
        check("a\0b", "a\u{fffd}b");
        check("=\0", "'=\u{fffd}");
        check("\0=", "\u{fffd}=");
    }

    #[test]
    fn a_field_of_each_type() {
        let check = |value: Value<'_>, expected: &str| assert_eq!(field(Some(value)), expected);
        assert_eq!(field(None), "");
        check(Value::Bool(true), "true");
        check(Value::Int(-5), "-5");
        check(Value::Float(-1.5, "-1.50".into()), "-1.50");
        check(Value::Text("-5".into()), "'-5");
        check(Value::Time(None, "0001-01-01T00:00:00Z".into()), "0001-01-01T00:00:00Z");
        check(Value::Time(None, "=now()".into()), "'=now()");
        check(Value::List(vec![Some("=a".into()), None, Some("b".into())]), "'=a; ; b");
        check(Value::List(vec![]), "");
        check(Value::Json("-1"), "'-1");
    }
}
