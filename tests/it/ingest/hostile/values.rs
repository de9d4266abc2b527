//! Values that no schema allows, all the way into a file of each format: the
//! data arrives as docs/RECORDS.md says, and the verdict of the run is right.

use robocred::{
    ingest::{Incomplete, Since},
    site::Format,
};

use super::*;

/// One page of devices by either interface, `\xNN` in it being that byte, for ever.
async fn one_page(records: &'static [&'static str], date: &'static str) -> Server {
    let mut nodes = Vec::new();
    for (number, record) in records.iter().enumerate() {
        if number > 0 {
            nodes.push(b',');
        }
        let mut rest = *record;
        while let Some((before, after)) = rest.split_once("\\x") {
            nodes.extend(before.as_bytes());
            nodes.push(u8::from_str_radix(&after[..2], 16).unwrap());
            rest = &after[2..];
        }
        nodes.extend(rest.as_bytes());
    }
    appliance(move |asked| {
        let distinct = records.len() - DUPLICATES;
        let info =
            format!(r#"{{"data":{{"assets":{{"pageInfo":{{"hasNextPage":false}},"totalCount":{distinct},"nodes":["#);
        let body = match asked.door {
            Door::Graphql => [info.as_bytes(), &nodes, b"]}}}"].concat(),
            _ if asked.at > 0 => b"[]".to_vec(),
            _ => [b"[", nodes.as_slice(), b"]"].concat(),
        };
        let head = format!("HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Length: {}\r\n\r\n", body.len());
        Sent::Bytes([head.into_bytes(), body].concat())
    })
    .await
}

/// How many of [`RECORDS`] came before.
const DUPLICATES: usize = 2;

/// Each record as it is sent; the last two came before.
const RECORDS: &[&str] = &[
    r#"{"id":"a01","name":"=cmd|' /C calc'!A0","vendor":"@SUM(1+1)*cmd","location":"\t=1","family":"＝1"}"#,
    r#"{"id":"a02","name":"\u001b]8;;http://x\u0007\u009b2J\u202e\u200b\r\n\b","model":"a\"b,c\r\nd"}"#,
    r#"{"id":"a03","name":"\xff\xfe\xc3\x28"}"#,
    r#"{"id":"a04","name":"\ud83d and \ude00 and \u0000"}"#,
    r#"{"id":"a05","slot":"7","hidden":"false","risk":{"totalRisk":"1.25e1","unresolvedEvents":"2"}}"#,
    r#"{"id":"a06","slot":"seven","hidden":2,"risk":{"totalRisk":"much","unresolvedEvents":1e99}}"#,
    r#"{"id":"a07","type":"QuantumComputer","criticality":"UnheardOf","purdueLevel":99}"#,
    r#"{"id":"a08","ips":null,"macs":{"nodes":null},"segments":null,"backplane":null,"risk":null}"#,
    r#"{"id":"a09","firstSeen":"0001-01-01T00:00:00Z","lastSeen":"9999-12-31T23:59:59.999999Z"}"#,
    r#"{"id":"a10","firstSeen":"0000-00-00T00:00:00Z","lastSeen":"+1000000-01-01T00:00:00Z","lastUpdate":1700000000}"#,
    r#"{"id":"a11","id":"a11","name":"first","name":"second"}"#,
    r#"{"id":12,"name":{"first":["a"]},"slot":123456789012345678901234567890}"#,
    r#"{"id":"a13/../..?x=1#y","name":"-1"}"#,
    r#"{"id":"a14","name":"\ufffe\uffff\u0085\u2028\u2029\ufeff","__proto__":{"x":1},"":1}"#,
    r#"{"id":"a01","name":"again"}"#,
    r#"{"id":"a1\u0034","name":"again, written another way"}"#,
];

async fn read(plant: &Plant, server: &Server, door: Door, format: Format) -> Run {
    let dir = format!("{door:?}-{format}");
    // A page of its own size: REST ends at an empty one.
    let request = Request { format, page_size: 200, with_details: true, ..plant.wanted(door, &dir) };
    plant.read_from(server, &request, soon()).await.unwrap()
}

#[tokio::test]
async fn what_comes_is_cleaned_and_counted_as_the_document_says() {
    let plant = Plant::of(0).await;
    let server = one_page(RECORDS, "Sun, 22 Nov 2026 12:00:00 GMT").await;
    for door in [Door::Graphql, Door::Rest] {
        for format in [Format::Ndjson, Format::Csv, Format::Parquet] {
            let what = format!("{door:?} {format}");
            let run = read(&plant, &server, door, format).await;
            let distinct = (RECORDS.len() - DUPLICATES) as u64;
            // REST does not count: an id that came again may hide a row that moved, so the list is walked twice, in vain.
            let (why, passes) = match door {
                Door::Graphql => (None, 1),
                _ => (Some(Incomplete::CameAgain { records: DUPLICATES as u64 }), 2),
            };
            assert_eq!((run.incomplete.clone(), run.records), (why, distinct), "{what}");
            assert_eq!(
                (run.duplicates, run.replaced),
                (passes * DUPLICATES as u64, passes * 2),
                "{what}: bytes, and half a pair with NUL"
            );
            // Of a06: slot, hidden, both risks; of a10: three times; of 12: slot.
            assert_eq!(run.flagged, if format == Format::Ndjson { 0 } else { 8 }, "{what}");
            assert_eq!(manifest(&run)["flagged"], run.flagged, "{what}");
            let bytes = fs::read(run.path.as_ref().unwrap()).unwrap();
            match format {
                Format::Ndjson => assert_ndjson(&bytes),
                Format::Csv => assert_csv(&bytes),
                Format::Parquet => assert_eq!((&bytes[..4], &bytes[bytes.len() - 4..]), (&b"PAR1"[..], &b"PAR1"[..])),
            }
        }
    }
}

/// Byte for byte as it was sent, but for what is no text.
fn assert_ndjson(bytes: &[u8]) {
    let text = std::str::from_utf8(bytes).unwrap();
    let written: Vec<&str> = text.split_terminator('\n').collect();
    let expected: Vec<String> = RECORDS[..RECORDS.len() - DUPLICATES]
        .iter()
        .map(|sent| sent.replace("\\xff\\xfe\\xc3\\x28", "\u{fffd}\u{fffd}\u{fffd}("))
        .map(|sent| {
            if sent.contains("\\ud83d") {
                sent.replace("\\ud83d", "\\ufffd").replace("\\ude00", "\\ufffd").replace("\\u0000", "\\ufffd")
            } else {
                sent
            }
        })
        .collect();
    assert_eq!(written, expected);
}

fn assert_csv(bytes: &[u8]) {
    let mut reader = csv::ReaderBuilder::new().flexible(false).from_reader(bytes);
    let names: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), RECORDS.len() - DUPLICATES);
    let cell = |id: &str, column: &str| {
        let row = rows.iter().find(|row| &row[0] == id).unwrap_or_else(|| panic!("no {id} in {rows:?}"));
        row[names.iter().position(|name| name == column).unwrap()].to_owned()
    };
    for (id, column, expected) in [
        ("a01", "name", "'=cmd|' /C calc'!A0"),
        ("a01", "vendor", "'@SUM(1+1)*cmd"),
        ("a01", "location", "'\t=1"),
        ("a01", "family", "'＝1"),
        ("a02", "model", "a\"b,c\r\nd"),
        ("a03", "name", "\u{fffd}\u{fffd}\u{fffd}("),
        ("a04", "name", "\u{fffd} and \u{fffd} and \u{fffd}"),
        ("a05", "slot", "7"),
        ("a05", "hidden", "false"),
        ("a05", "risk.totalRisk", "1.25e1"),
        ("a05", "risk.unresolvedEvents", "2"),
        ("a06", "slot", ""),
        ("a06", "risk.totalRisk", ""),
        ("a07", "type", "QuantumComputer"),
        ("a07", "purdueLevel", "99"),
        ("a08", "ips", ""),
        ("a09", "firstSeen", "0001-01-01T00:00:00Z"),
        ("a09", "lastSeen", "9999-12-31T23:59:59.999999Z"),
        ("a10", "lastSeen", "'+1000000-01-01T00:00:00Z"),
        ("12", "name", r#"{"first":["a"]}"#),
        ("12", "slot", ""),
        ("a13/../..?x=1#y", "name", "'-1"),
    ] {
        assert_eq!(cell(id, column), expected, "{id} {column}");
    }
}

#[tokio::test]
async fn a_clock_of_any_year_moves_nothing_and_nobody() {
    for date in [
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Fri, 31 Dec 9999 23:59:59 -0200",
        "Mon, 01 Jan 0001 00:00:00 GMT",
        "Mon, 01 Jan 0001 00:00:00 +0200",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Sat, 00 Xyz 99999 99:99:99 GMT",
        "",
    ] {
        let plant = Plant::of(0).await;
        let server = one_page(RECORDS, date).await;
        for since in [None, Some(Since::Last), Some(Since::Last)] {
            let request = Request { since, page_size: 200, ..plant.wanted(Door::Graphql, "clock") };
            // Two in one second would have one name.
            let request = Request { to: Destination::Stdout, ..request };
            let run = plant.read_from(&server, &request, soon()).await.unwrap();
            assert_eq!((run.complete(), run.started), (true, NOW), "{date}");
            assert!(run.records + run.unchanged == (RECORDS.len() - DUPLICATES) as u64, "{date}: {run:?}");
            // A row that tells no usable time is never taken for known.
            assert!(run.records >= run.unchanged, "{date}: {run:?}");
        }
        let mark = plant.inventory.last_complete(&plant.record.id.robot, Stream::Assets).await.unwrap().unwrap();
        assert!(mark.since <= NOW, "{date}: {mark:?}");
    }
}

#[tokio::test]
async fn an_id_is_one_segment_of_a_path_whatever_it_is() {
    let plant = Plant::of(0).await;
    let listing =
        r#"[{"id":"../../v1/robots"},{"id":"a?b=c#d"},{"id":"twice","id":"twice"},{"\u0069d":"e\u00e9%2f"},{"id":7}]"#;
    let server = Server::start(Tls::default(), move |mut peer, seen: Seen| async move {
        while let Some(request) = seen.read(&mut peer).await {
            let listed = request.starts_with("POST /v1/assets ") && request.contains("\"offset\":0");
            say(&mut peer, json(200, if listed { listing } else { "[]" }).as_bytes()).await;
        }
    })
    .await;
    let run = plant.read_from(&server, &plant.wanted(Door::Hits, "ids"), soon()).await.unwrap();
    assert!(run.complete(), "{run:?}");
    let paths: Vec<String> = server
        .seen
        .requests()
        .iter()
        .filter_map(|request| {
            request.strip_prefix("GET /v1/assets/")?.split_once(" HTTP/1.1").map(|at| at.0.to_owned())
        })
        .collect();
    let hits = |id: &str| format!("{id}/plugin_hits");
    assert_eq!(paths, ["..%2F..%2Fv1%2Frobots", "a%3Fb%3Dc%23d", "twice", "e%C3%A9%252f", "7"].map(hits));
}
