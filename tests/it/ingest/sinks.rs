//! One behaviour of every format in every compression, judged by other
//! people's readers: the `csv` and `parquet` crates always, Python's `csv`,
//! `gzip` and pyarrow where they are.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Read as _, Write},
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
};

use parquet::{
    file::reader::{FileReader as _, SerializedFileReader},
    record::Field,
};
use proptest::prelude::*;
use robocred::{
    ingest::{
        columns::{Columns, Value},
        sinks::{self, Sink},
    },
    site::{Compression, Format, Stream},
};
use serde_json::{Value as Json, json};

use crate::judges;

const FORMATS: [Format; 3] = [Format::Ndjson, Format::Csv, Format::Parquet];
const COMPRESSIONS: [Compression; 3] = [Compression::None, Compression::Gzip, Compression::Zstd];
pub const STREAMS: [Stream; 4] = [Stream::Assets, Stream::Plugins, Stream::Findings, Stream::Events];

/// Takes so many bytes at a time, and no more than so many in all.
#[derive(Clone)]
struct Disk {
    bytes: Arc<Mutex<Vec<u8>>>,
    at_a_time: usize,
    room: usize,
}

impl Disk {
    fn new(at_a_time: usize, room: usize) -> Self {
        Self { bytes: Arc::default(), at_a_time, room }
    }

    fn bytes(&self) -> Vec<u8> {
        std::mem::take(&mut self.bytes.lock().unwrap())
    }
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = self.bytes.lock().unwrap();
        match bytes.len().min(self.at_a_time).min(self.room - written.len()) {
            0 if !bytes.is_empty() => Err(io::ErrorKind::StorageFull.into()),
            taken => written.write(&bytes[..taken]),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_to(disk: &Disk, how: (Format, Compression), stream: Stream, records: &[String]) -> io::Result<u64> {
    let mut sink = sinks::open(how.0, how.1, stream, true, Box::new(disk.clone()))?;
    for record in records {
        sink.record(record)?;
    }
    let flagged = sink.flagged();
    sink.finish()?;
    Ok(flagged)
}

fn written(how: (Format, Compression), stream: Stream, records: &[String]) -> Vec<u8> {
    let disk = Disk::new(usize::MAX, usize::MAX);
    write_to(&disk, how, stream, records).unwrap();
    disk.bytes()
}

fn every_way(mut check: impl FnMut((Format, Compression))) {
    for format in FORMATS {
        for compression in COMPRESSIONS {
            check((format, compression));
        }
    }
}

fn unpacked(compression: Compression, bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    match compression {
        Compression::None => return bytes.to_vec(),
        Compression::Gzip => drop(flate2::read::GzDecoder::new(bytes).read_to_end(&mut text).unwrap()),
        Compression::Zstd => text = zstd::decode_all(bytes).unwrap(),
    }
    text
}

/// A cell as JSON: null, or what the column's type makes of it.
fn as_json(value: Option<Value<'_>>) -> Json {
    match value {
        None | Some(Value::Time(None, _)) => Json::Null,
        Some(Value::Text(text)) => json!(text),
        Some(Value::Bool(value)) => json!(value),
        Some(Value::Int(number) | Value::Time(Some(number), _)) => json!(number),
        Some(Value::Float(number, _)) => json!(number),
        Some(Value::List(items)) => json!(items),
        Some(Value::Json(json)) => json!(json),
    }
}

/// The rows that a Parquet reader should find.
fn typed_rows(stream: Stream, records: &[String]) -> Vec<Vec<Json>> {
    let columns = Columns::of(stream, true);
    records.iter().map(|record| columns.read(record).unwrap().values.into_iter().map(as_json).collect()).collect()
}

fn parquet_rows(bytes: Vec<u8>) -> Vec<Vec<Json>> {
    fn cell(field: &Field) -> Json {
        match field {
            Field::Null => Json::Null,
            Field::Bool(value) => json!(value),
            Field::Long(number) | Field::TimestampMicros(number) => json!(number),
            Field::Double(number) => json!(number),
            Field::Str(text) => json!(text),
            Field::Bytes(bytes) => json!(bytes.as_utf8().unwrap()),
            Field::ListInternal(list) => list.elements().iter().map(cell).collect(),
            other => panic!("{other:?}"),
        }
    }
    let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).unwrap();
    let rows = reader.get_row_iter(None).unwrap();
    rows.map(|row| row.unwrap().get_column_iter().map(|(_, field)| cell(field)).collect()).collect()
}

/// The rows that a CSV reader should find, the header among them.
fn text_rows(stream: Stream, records: &[String]) -> Vec<Vec<String>> {
    let columns = Columns::of(stream, true);
    let header = columns.list().iter().map(|column| column.name.to_owned()).collect();
    let rows = records.iter().map(|record| {
        let row = columns.read(record).unwrap().values.into_iter();
        row.map(|value| match value {
            None => String::new(),
            Some(Value::Bool(value)) => value.to_string(),
            Some(Value::Int(number)) => number.to_string(),
            Some(Value::Float(_, digits)) => digits.into_owned(),
            Some(Value::Text(text) | Value::Time(_, text)) => sinks::cell(&text).into_owned(),
            Some(Value::Json(json)) => sinks::cell(json).into_owned(),
            Some(Value::List(items)) => {
                let items: Vec<_> = items.iter().map(|item| item.as_deref().unwrap_or("")).collect();
                sinks::cell(&items.join("; ")).into_owned()
            }
        })
        .collect()
    });
    std::iter::once(header).chain(rows).collect()
}

fn csv_rows(bytes: &[u8]) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(bytes);
    reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
}

/// What readers should find.
struct Expected {
    lines: Vec<Json>,
    typed: Vec<Vec<Json>>,
    text: Vec<Vec<String>>,
}

impl Expected {
    fn of(stream: Stream, records: &[String]) -> Self {
        let lines = records.iter().map(|record| serde_json::from_str(record).unwrap()).collect();
        Self { lines, typed: typed_rows(stream, records), text: text_rows(stream, records) }
    }

    #[track_caller]
    fn is_in(&self, how: (Format, Compression), bytes: Vec<u8>) {
        match how.0 {
            Format::Ndjson => {
                let text = String::from_utf8(unpacked(how.1, &bytes)).unwrap();
                let lines: Vec<Json> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
                assert!(lines == self.lines, "{how:?}");
            }
            Format::Csv => assert!(csv_rows(&unpacked(how.1, &bytes)) == self.text, "{how:?}"),
            Format::Parquet => assert!(parquet_rows(bytes) == self.typed, "{how:?}"),
        }
    }
}

/// A record of every stream's fields, like those an appliance sends.
pub fn ordinary(number: usize) -> String {
    json!({
        "id": format!("00000000-0000-4000-8000-{number:012}"), "name": format!("device {number}"), "type": "Plc",
        "superType": "Controller", "hidden": number.is_multiple_of(7), "slot": number % 16, "vendor": "Example",
        "firstSeen": "2023-01-13T17:31:02.895915Z", "runStatusTime": "0001-01-01T00:00:00Z",
        "risk": {"totalRisk": f64::from(u32::try_from(number).unwrap()) / 8.0, "unresolvedEvents": 4},
        "backplane": if number.is_multiple_of(2) { json!({"id": "b", "name": "B", "size": 4}) } else { Json::Null },
        "ips": {"nodes": [format!("10.0.{}.{}", number / 256 % 256, number % 256)]}, "macs": {"nodes": []},
        "segments": {"nodes": [{"id": "s", "name": "Controller / 10.0.0.X", "vlan": null}, {"id": "t", "vlan": "7"}]},
        "details": {"id": number, "names": [{"value": "a;b,\"c\""}]},
        "assetId": "a", "pluginId": 500_000 + number, "port": 443, "time": "2023-01-13T17:31:02Z", "output": "line\nline",
        "vprScore": 3.6, "plugin": {"details": {"solution": "none"}}, "resolved": false, "logId": number,
        "srcAssets": {"nodes": [{"id": "a", "name": null}]}, "eventType": {"type": "OpenPort"}, "policy": {"title": "P"},
    })
    .to_string()
}

/// What a record can be that nobody wishes for.
pub fn hostile() -> Vec<String> {
    #[rustfmt::skip]
    let texts = [
        "", " ", "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "＋1", "－1", "＠1", "'=1", "a\0b", "\0",
        "a,b;c", "\"", "\"\"", "a\"b", "a\r\nb", "a\nb", "a\rb", "\u{2028}", "\u{85}", "\u{feff}", "\u{202e}abc", "\u{fffd}",
        "ä€🦀", "\\", "NULL", "#", "ID",
    ];
    let mut records: Vec<String> = texts
        .iter()
        .enumerate()
        .map(|(number, text)| {
            let nodes = json!({"nodes": [text, null, text]});
            let named = json!({"nodes": [{"id": text, "name": text}, {"name": 7}]});
            json!({
                "id": format!("{number}{text}"), "name": text, "vendor": text, "ips": nodes, "segments": named, "details": {"t": text},
                "lastSeen": text, "time": text, "slot": text, "hidden": text, "port": text, "risk": text, "output": text,
                "srcAssets": named, "srcNames": nodes, "plugin": {"name": text, "details": text}, "comment": text, "vprScore": text,
            })
            .to_string()
        })
        .collect();
    let raw = [
        r#"{"id":1}"#,
        r#"{"id":"a","id":"b","name":"x","name":"y","ips":["1"],"ips":{"nodes":["2"]}}"#,
        r#"{"id":"numbers","slot":"7","port":"443","risk":"8.5","vprScore":"1e1","hidden":"true","name":17,"logId":1.0}"#,
        r#"{"id":"wrong","slot":{},"port":[],"risk":true,"vprScore":"x","hidden":2,"name":{"a":[1]},"logId":1e99,"lastSeen":5}"#,
        r#"{"id":"nulls","ips":null,"segments":null,"risk":null,"backplane":null,"plugin":null,"details":null,"srcAssets":null}"#,
        r#"{"id":"bare","ips":"10.0.0.1","segments":[],"risk":0,"backplane":"b","srcAssets":[null],"type":"NeverHeardOf","lastSeen":"9999-12-31T23:59:59Z"}"#,
        "{\r\n \"id\" : \"spaced\" ,\r\n\t\"details\" : { \"a\" : [ 1 ,\n 2 ] } }",
    ];
    records.extend(raw.map(str::to_owned));
    let long = "long=".repeat(200_000);
    records.push(json!({"id": "long", "name": long, "type": long, "output": long}).to_string());
    records.push(format!("{{\"id\":\"deep\",\"details\":{}1{}}}", "{\"a\":[".repeat(25), "]}".repeat(25)));
    records
}

#[test]
fn what_is_written_is_read_back() {
    let check = |stream, records: &[String]| {
        let expected = Expected::of(stream, records);
        every_way(|how| expected.is_in(how, written(how, stream, records)));
    };
    let (many, hostile): (Vec<_>, _) = ((0..10_000).map(ordinary).collect(), hostile());
    for stream in STREAMS {
        check(stream, &[]);
        check(stream, &many[..1]);
        check(stream, &hostile);
    }
    check(Stream::Plugins, &many);
}

#[test]
fn the_same_records_give_the_same_bytes_however_slowly_they_are_taken() {
    let records: Vec<_> = (0..300).map(ordinary).chain(hostile()).collect();
    every_way(|how| {
        let bytes = written(how, Stream::Assets, &records);
        assert!(bytes == written(how, Stream::Assets, &records), "{how:?}");
        let slow = Disk::new(3, usize::MAX);
        write_to(&slow, how, Stream::Assets, &records).unwrap();
        assert!(bytes == slow.bytes(), "{how:?}");
    });
}

#[test]
fn a_disk_that_is_full_is_never_a_success() {
    let records: Vec<_> = (0..50).map(ordinary).collect();
    every_way(|how| {
        let length = written(how, Stream::Assets, &records).len();
        let spread = (0..length).step_by(length / 50).chain(length.saturating_sub(12)..length);
        for room in spread {
            let error = write_to(&Disk::new(usize::MAX, room), how, Stream::Assets, &records)
                .expect_err(&format!("{how:?}: {room} of {length} bytes"));
            assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{how:?}: {room} of {length} bytes: {error}");
        }
        write_to(&Disk::new(usize::MAX, length), how, Stream::Assets, &records).unwrap();
    });
}

#[test]
fn a_writer_that_cannot_pass_on_is_never_a_success() {
    struct Unflushed;
    impl Write for Unflushed {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::StorageFull.into())
        }
    }
    every_way(|(format, compress)| {
        let sink: Box<dyn Sink> = sinks::open(format, compress, Stream::Events, false, Box::new(Unflushed)).unwrap();
        assert_eq!(sink.finish().unwrap_err().kind(), io::ErrorKind::StorageFull, "{format} {compress}");
    });
}

#[test]
fn what_no_column_holds_is_counted_the_same_by_csv_and_parquet() {
    let records = hostile();
    let flagged =
        |format, stream| write_to(&Disk::new(usize::MAX, usize::MAX), (format, Compression::None), stream, &records);
    for stream in STREAMS {
        let counted = flagged(Format::Csv, stream).unwrap();
        assert_eq!(flagged(Format::Parquet, stream).unwrap(), counted);
        assert!(counted > 10, "{stream}: {counted}");
        assert_eq!(flagged(Format::Ndjson, stream).unwrap(), 0);
    }
    every_way(|how| {
        if how.0 != Format::Ndjson {
            let error =
                write_to(&Disk::new(usize::MAX, usize::MAX), how, Stream::Assets, &["[]".to_owned()]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
    });
}

#[test]
fn row_groups_are_bounded_and_the_file_says_what_it_is() {
    let details = "x".repeat(100_000);
    let records: Vec<_> =
        (0..250).map(|number| json!({"id": number, "details": {"n": number, "x": details}}).to_string()).collect();
    let bytes = written((Format::Parquet, Compression::Zstd), Stream::Assets, &records);
    let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).unwrap();
    let groups: Vec<_> =
        reader.metadata().row_groups().iter().map(parquet::file::metadata::RowGroupMetaData::num_rows).collect();
    assert_eq!(groups, [84, 84, 82], "8 MiB and the record that passes them");
    let file = reader.metadata().file_metadata();
    let said: Vec<_> = file
        .key_value_metadata()
        .unwrap()
        .iter()
        .map(|said| (said.key.as_str(), said.value.as_deref().unwrap()))
        .collect();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(said, [("tool", "robocred"), ("version", version), ("stream", "assets"), ("schema", "1")]);
    assert_eq!(file.created_by(), Some(format!("robocred version {version}").as_str()));
}

#[test]
fn csv_has_its_line_ends_and_no_mark() {
    let bytes = written(
        (Format::Csv, Compression::None),
        Stream::Plugins,
        &[r#"{"id":"1","name":"a,b","vprScore":-1.50}"#.to_owned()],
    );
    let expected = "id,name,source,family,severity,vprScore,comment,owner,totalAffectedAssets,details\r\n1,\"a,b\",,,,-1.50,,,,\r\n";
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_text_comes_back_from_csv_and_parquet(texts in proptest::collection::vec(any::<String>(), 1..8), sign in "[=+@＝\t\r\n-]?") {
        let records: Vec<_> = texts
            .iter()
            .map(|text| json!({"id": text, "name": format!("{sign}{text}"), "ips": texts, "details": texts, text: text}).to_string())
            .collect();
        for format in [Format::Csv, Format::Parquet] {
            let how = (format, Compression::None);
            Expected::of(Stream::Assets, &records).is_in(how, written(how, Stream::Assets, &records));
        }
    }
}

/// Every way, each as a file in `folder`; what they should hold beside.
fn lay_out(folder: &Path) {
    let records: Vec<_> = hostile().into_iter().chain((0..50).map(ordinary)).collect();
    for stream in STREAMS {
        let columns = Columns::of(stream, true);
        let names: Vec<_> = columns.list().iter().map(|column| (column.name, column.kind.to_string())).collect();
        let expected = json!({
            "columns": names, "records": records, "typed": typed_rows(stream, &records), "text": text_rows(stream, &records),
        });
        fs::write(folder.join(format!("{stream}.expected")), expected.to_string()).unwrap();
        every_way(|how| {
            let name = format!("{stream}.{}.{}", how.0, how.1);
            fs::write(folder.join(name), written(how, stream, &records)).unwrap();
        });
    }
}

#[test]
fn python_and_pyarrow_read_the_same() {
    let Some(python) = judges::python(&["pyarrow", "pyarrow.parquet"], "pyarrow") else { return };
    let folder = tempfile::tempdir().unwrap();
    lay_out(folder.path());
    let judge = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ingest_judge.py");
    let output = Command::new(python).arg(judge).arg(folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.lines().count(), STREAMS.len() * FORMATS.len() * COMPRESSIONS.len(), "{said}");
}

/// The columns of a stream as docs/RECORDS.md shows them.
fn table(stream: Stream) -> String {
    let mut table = String::from("| column | type |\n|---|---|\n");
    for details in [false, true] {
        let columns = Columns::of(stream, details);
        let list = if details { &columns.list()[Columns::of(stream, false).list().len()..] } else { columns.list() };
        for column in list {
            let only = if details { ", with `--with-details` only" } else { "" };
            writeln!(table, "| `{}` | {}{only} |", column.name, column.kind).unwrap();
        }
    }
    table
}

#[test]
fn the_columns_in_the_document_are_those_in_the_code() {
    let document = include_str!("../../../docs/RECORDS.md");
    for stream in STREAMS {
        let section = format!("Columns of {stream}\n\n{}", table(stream));
        let found = document.split("\n## ").any(|found| found.trim_end() == section.trim_end());
        assert!(found, "docs/RECORDS.md should hold:\n## {section}");
    }
}

/// The empty file is whole: it has a trailer, and no records.
#[test]
fn an_empty_parquet_file_has_its_columns() {
    let bytes = written((Format::Parquet, Compression::None), Stream::Findings, &[]);
    let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).unwrap();
    let root = reader.metadata().file_metadata().schema_descr().root_schema().get_fields().len();
    assert_eq!((reader.num_row_groups(), root), (0, Columns::of(Stream::Findings, true).list().len()));
}
