//! Parquet, typed by the columns: for programs that read few columns of many rows.
//!
//! Every column can be null. Times are microseconds in UTC, lists have the
//! three levels that the format prescribes, and the file itself says which
//! stream it holds. Records are kept until there are enough for a row group.

use std::{
    io::{self, Write},
    sync::Arc,
};

use bytes::Bytes;
use parquet::{
    basic::{Compression as Codec, LogicalType, Repetition, TimeUnit, Type as Physical},
    data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type},
    errors::ParquetError,
    file::{
        metadata::KeyValue,
        properties::{EnabledStatistics, WriterProperties},
        writer::{SerializedColumnWriter, SerializedFileWriter},
    },
    schema::types::{ColumnPath, Type},
};

use super::Sink;
use crate::{
    ingest::columns::{Column, Columns, Kind, Value},
    site::{Compression, Stream},
};

/// The version of the columns.
const SCHEMA: u32 = 1;
/// A row group ends with the record that reaches either.
const GROUP_ROWS: usize = 100_000;
const GROUP_BYTES: usize = 8 << 20;
/// Values that come again are worth a dictionary while it is small.
const DICTIONARY: usize = 64 << 10;

/// Writes records as rows.
pub(super) struct Parquet {
    columns: Columns,
    buffers: Vec<Buffer>,
    rows: usize,
    flagged: u64,
    writer: SerializedFileWriter<Box<dyn Write + Send>>,
}

impl Parquet {
    pub(super) fn new(
        stream: Stream,
        columns: Columns,
        compress: Compression,
        out: Box<dyn Write + Send>,
    ) -> io::Result<Self> {
        let schema = schema(stream, columns.list()).map_err(io_error)?;
        let properties = Arc::new(properties(stream, columns.list(), compress));
        let writer = SerializedFileWriter::new(out, Arc::new(schema), properties).map_err(io_error)?;
        let buffers = columns.list().iter().map(|column| Buffer::of(column.kind)).collect();
        Ok(Self { columns, buffers, rows: 0, flagged: 0, writer })
    }

    fn end_group(&mut self) -> Result<(), ParquetError> {
        let mut group = self.writer.next_row_group()?;
        for buffer in &mut self.buffers {
            let mut column = group.next_column()?.expect("as many columns as the schema has");
            buffer.write(&mut column)?;
            column.close()?;
        }
        group.close()?;
        self.rows = 0;
        Ok(())
    }
}

impl Sink for Parquet {
    fn record(&mut self, object: &str) -> io::Result<()> {
        let row = self.columns.read(object)?;
        self.flagged += row.flagged;
        for (buffer, value) in self.buffers.iter_mut().zip(&row.values) {
            buffer.push(value.as_ref());
        }
        self.rows += 1;
        let bytes: usize = self.buffers.iter().map(Buffer::size).sum();
        if self.rows >= GROUP_ROWS || bytes >= GROUP_BYTES {
            self.end_group().map_err(io_error)?;
        }
        Ok(())
    }

    fn flagged(&self) -> u64 {
        self.flagged
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        if self.rows > 0 {
            self.end_group().map_err(io_error)?;
        }
        self.writer.finish().map_err(io_error)?;
        Ok(())
    }
}

/// The values of one column for one row group, as the format has them: what is
/// null stands in the levels only.
struct Buffer {
    values: Values,
    /// 1 for a value, 0 for null; of a list 3, 2 for a null in it, 1 where it is empty.
    definition: Vec<u8>,
    /// Of a list only: 1 for each element but the first.
    repetition: Vec<u8>,
}

enum Values {
    Bool(Vec<bool>),
    Int(Vec<i64>),
    Float(Vec<f64>),
    /// All in one piece, and where each ends.
    Text(Vec<u8>, Vec<usize>),
    List(Vec<u8>, Vec<usize>),
}

impl Buffer {
    fn of(kind: Kind) -> Self {
        let values = match kind {
            Kind::Bool => Values::Bool(Vec::new()),
            Kind::Int | Kind::Time => Values::Int(Vec::new()),
            Kind::Float => Values::Float(Vec::new()),
            Kind::Text | Kind::Json => Values::Text(Vec::new(), Vec::new()),
            Kind::TextList => Values::List(Vec::new(), Vec::new()),
        };
        Self { values, definition: Vec::new(), repetition: Vec::new() }
    }

    fn size(&self) -> usize {
        let values = match &self.values {
            Values::Bool(values) => values.len(),
            Values::Int(values) => values.len() * 8,
            Values::Float(values) => values.len() * 8,
            Values::Text(bytes, ends) | Values::List(bytes, ends) => bytes.len() + ends.len() * 8,
        };
        values + self.definition.len() + self.repetition.len()
    }

    fn push(&mut self, value: Option<&Value<'_>>) {
        let text = |bytes: &mut Vec<u8>, ends: &mut Vec<usize>, text: &str| {
            bytes.extend_from_slice(text.as_bytes());
            ends.push(bytes.len());
        };
        match (&mut self.values, value) {
            (Values::Bool(values), Some(Value::Bool(value))) => values.push(*value),
            (Values::Int(values), Some(Value::Int(value) | Value::Time(Some(value), _))) => values.push(*value),
            (Values::Float(values), Some(Value::Float(value, _))) => values.push(*value),
            (Values::Text(bytes, ends), Some(Value::Text(value))) => text(bytes, ends, value),
            (Values::Text(bytes, ends), Some(Value::Json(value))) => text(bytes, ends, value),
            (Values::List(bytes, ends), Some(Value::List(items))) => {
                for (index, item) in items.iter().enumerate() {
                    self.repetition.push(u8::from(index > 0));
                    self.definition.push(if item.is_some() { 3 } else { 2 });
                    if let Some(item) = item {
                        text(bytes, ends, item);
                    }
                }
                if items.is_empty() {
                    self.repetition.push(0);
                    self.definition.push(1);
                }
                return;
            }
            (Values::List(..), _) => {
                self.repetition.push(0);
                return self.definition.push(0);
            }
            _ => return self.definition.push(0),
        }
        self.definition.push(1);
    }

    /// Writes all of it as one column of a row group, and is empty again.
    fn write(&mut self, column: &mut SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let levels = |levels: &mut Vec<u8>| levels.drain(..).map(i16::from).collect::<Vec<_>>();
        let definition = levels(&mut self.definition);
        let definition = Some(definition.as_slice());
        match &mut self.values {
            Values::Bool(values) => {
                column.typed::<BoolType>().write_batch(values, definition, None)?;
                values.clear();
            }
            Values::Int(values) => {
                column.typed::<Int64Type>().write_batch(values, definition, None)?;
                values.clear();
            }
            Values::Float(values) => {
                column.typed::<DoubleType>().write_batch(values, definition, None)?;
                values.clear();
            }
            Values::Text(bytes, ends) => {
                let values = pieces(bytes, ends);
                column.typed::<ByteArrayType>().write_batch(&values, definition, None)?;
            }
            Values::List(bytes, ends) => {
                let (values, repetition) = (pieces(bytes, ends), levels(&mut self.repetition));
                column.typed::<ByteArrayType>().write_batch(&values, definition, Some(&repetition))?;
            }
        }
        Ok(())
    }
}

/// The texts of a column, which share the memory they were gathered in.
fn pieces(bytes: &mut Vec<u8>, ends: &mut Vec<usize>) -> Vec<ByteArray> {
    let bytes = Bytes::from(std::mem::take(bytes));
    let mut start = 0;
    ends.drain(..).map(|end| ByteArray::from(bytes.slice(std::mem::replace(&mut start, end)..end))).collect()
}

fn schema(stream: Stream, columns: &[Column]) -> Result<Type, ParquetError> {
    let fields = columns.iter().map(|column| field(column).map(Arc::new)).collect::<Result<_, _>>()?;
    Type::group_type_builder(stream.as_str()).with_fields(fields).build()
}

fn field(column: &Column) -> Result<Type, ParquetError> {
    let leaf = |name: &str, physical, logical| {
        Type::primitive_type_builder(name, physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(logical)
            .build()
    };
    let name = column.name;
    match column.kind {
        Kind::Text => leaf(name, Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Kind::Json => leaf(name, Physical::BYTE_ARRAY, Some(LogicalType::Json)),
        Kind::Bool => leaf(name, Physical::BOOLEAN, None),
        Kind::Int => leaf(name, Physical::INT64, None),
        Kind::Float => leaf(name, Physical::DOUBLE, None),
        Kind::Time => leaf(name, Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MICROS))),
        Kind::TextList => {
            let element = leaf("element", Physical::BYTE_ARRAY, Some(LogicalType::String))?;
            let list = Type::group_type_builder("list")
                .with_repetition(Repetition::REPEATED)
                .with_fields(vec![Arc::new(element)])
                .build()?;
            Type::group_type_builder(name)
                .with_repetition(Repetition::OPTIONAL)
                .with_logical_type(Some(LogicalType::List))
                .with_fields(vec![Arc::new(list)])
                .build()
        }
    }
}

fn properties(stream: Stream, columns: &[Column], compress: Compression) -> WriterProperties {
    let (tool, version) = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    let said = [
        ("tool", tool.to_owned()),
        ("version", version.to_owned()),
        ("stream", stream.to_string()),
        ("schema", SCHEMA.to_string()),
    ];
    let codec = match compress {
        Compression::None => Codec::UNCOMPRESSED,
        Compression::Gzip => Codec::GZIP(parquet::basic::GzipLevel::default()),
        Compression::Zstd => Codec::ZSTD(parquet::basic::ZstdLevel::default()),
    };
    let mut properties = WriterProperties::builder()
        .set_compression(codec)
        .set_created_by(format!("{tool} version {version}"))
        .set_key_value_metadata(Some(said.map(|(key, value)| KeyValue::new(key.to_owned(), value)).to_vec()))
        // What describes a row group is kept in memory to the end, for all of them: the least that readers can use.
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
        .set_dictionary_page_size_limit(DICTIONARY);
    for column in columns {
        let path = ColumnPath::new(vec![column.name.to_owned()]);
        if column.kind == Kind::Time {
            properties = properties.set_column_statistics_enabled(path, EnabledStatistics::Chunk);
        } else if column.name == "id" || column.kind == Kind::Json {
            // No value comes twice.
            properties = properties.set_column_dictionary_enabled(path, false);
        }
    }
    properties.build()
}

/// What the writer below said, where it was that.
fn io_error(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(error) => match error.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(error) => io::Error::other(error),
        },
        error => io::Error::other(error),
    }
}
