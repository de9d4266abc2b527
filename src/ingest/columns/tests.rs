use super::*;

/// The cells of a record by name, as Debug shows them; nulls left out.
fn cells(stream: Stream, record: &str) -> (Vec<String>, u64) {
    let columns = Columns::of(stream, true);
    let row = columns.read(record).unwrap();
    assert_eq!(row.values.len(), columns.list().len());
    let show = |(column, value): (&Column, Option<Value<'_>>)| {
        let text = match value? {
            Value::Text(text) => format!("{text:?}"),
            Value::Bool(value) => value.to_string(),
            Value::Int(value) => value.to_string(),
            Value::Float(value, text) => format!("{value} {text:?}"),
            Value::Time(micros, text) => format!("{micros:?} {text:?}"),
            Value::List(items) => format!("{:?}", items.iter().map(Option::as_deref).collect::<Vec<_>>()),
            Value::Json(json) => format!("json {json}"),
        };
        Some(format!("{}={text}", column.name))
    };
    (columns.list().iter().zip(row.values).filter_map(show).collect(), row.flagged)
}

#[test]
fn a_value_is_found_in_every_shape() {
    let check = |record: &str, expected: &[&str]| {
        assert_eq!(cells(Stream::Assets, record), (expected.iter().map(ToString::to_string).collect(), 0), "{record}");
    };
    check("{}", &[]);
    check(" {\n\"id\" : \"a\" } ", &[r#"id="a""#]);
    // GraphQL.
    check(
        r#"{"risk":{"totalRisk":0,"unresolvedEvents":4},"backplane":{"id":"b","name":"B","size":4},"ips":{"nodes":["1","2"]},"macs":{"nodes":[]}}"#,
        &[
            r#"risk.totalRisk=0 "0""#,
            "risk.unresolvedEvents=4",
            r#"backplane.id="b""#,
            r#"backplane.name="B""#,
            "backplane.size=4",
            r#"ips=[Some("1"), Some("2")]"#,
            "macs=[]",
        ],
    );
    check(
        r#"{"risk":null,"backplane":null,"ips":null,"macs":{"nodes":null},"segments":{"nodes":[]}}"#,
        &[
            "segments.id=[]",
            "segments.name=[]",
            "segments.type=[]",
            "segments.key=[]",
            "segments.systemName=[]",
            "segments.vlan=[]",
            "segments.description=[]",
            "segments.assetType=[]",
            "segments.subnet=[]",
        ],
    );
    // REST of 2020.
    check(
        r#"{"addresses":["1"],"directAddresses":["2"],"type":"PlcType","risk":15.650,"site":"s"}"#,
        &[
            r#"type="PlcType""#,
            r#"risk.totalRisk=15.65 "15.650""#,
            r#"ips=[Some("1")]"#,
            r#"directIps=[Some("2")]"#,
            r#"site="s""#,
        ],
    );
    // Newer REST.
    check(
        r#"{"ips":["1"],"modelName":"M","backplane":"b","backplaneName":"B","directIp":"3","directIps":null,"classificationIncidents":["I"]}"#,
        &[
            r#"model="M""#,
            r#"backplane.id="b""#,
            r#"backplane.name="B""#,
            r#"ips=[Some("1")]"#,
            r#"directIps=[Some("3")]"#,
            r#"incidents=[Some("I")]"#,
        ],
    );
    // The first place that says something, in whatever order they come.
    check(r#"{"modelName":"M","model":"N"}"#, &[r#"model="N""#]);
    check(r#"{"model":"N","modelName":"M"}"#, &[r#"model="N""#]);
    check(r#"{"modelName":"M","model":null}"#, &[r#"model="M""#]);
    check(r#"{"addresses":["1"],"ips":[]}"#, &[r#"ips=[Some("1")]"#]);
    // A key that comes twice counts the last time, a key may be written in escapes.
    check(r#"{"name":"a","name":"b"}"#, &[r#"name="b""#]);
    check(r#"{"name":"a","name":null}"#, &[]);
    check(r#"{"n\u0061me":"a","\ud800":1}"#, &[r#"name="a""#]);
    check(r#"{"ips":{"nodes":["1"]},"ips":{"nodes":["2"]}}"#, &[r#"ips=[Some("2")]"#]);
    // The details as they stand.
    check(r#"{"details":{"a":[1, {"b": null}]}}"#, &[r#"details=json {"a":[1, {"b": null}]}"#]);
}

#[test]
fn lists_of_one_connection_stand_side_by_side() {
    let check = |record: &str, ids: &str, names: &str| {
        let (cells, _) = cells(Stream::Events, record);
        let expected = [format!("srcAssets.id={ids}"), format!("srcAssets.name={names}")];
        assert_eq!(cells, expected, "{record}");
    };
    let record = r#"{"srcAssets":{"nodes":[{"id":"1"},{"id":"2","name":"b"},null,{"name":"c","name":"d"}]}}"#;
    check(record, r#"[Some("1"), Some("2"), None, None]"#, r#"[None, Some("b"), None, Some("d")]"#);
    check(r#"{"srcAssets":[{"name":3,"id":true}]}"#, r#"[Some("true")]"#, r#"[Some("3")]"#);
    check(r#"{"srcAssets":["x"]}"#, "[None]", "[None]");
}

#[test]
fn what_a_column_cannot_hold_is_null_and_counted() {
    let check = |record: &str, expected: &[&str], flagged: u64| {
        assert_eq!(
            cells(Stream::Assets, record),
            (expected.iter().map(ToString::to_string).collect(), flagged),
            "{record}"
        );
    };
    // Text holds anything.
    check(
        r#"{"id":7,"name":true,"type":{"a":1},"os":[1,2]}"#,
        &["id=\"7\"", "name=\"true\"", r#"type="{\"a\":1}""#, r#"os="[1,2]""#],
        0,
    );
    check(r#"{"name":"\"\\\u00e4\u2028\u0000\n"}"#, &[r#"name="\"\\ä\u{2028}\0\n""#], 0);
    check(r#"{"name":"\ud800"}"#, &[r#"name="\"\\ud800\"""#], 0);
    // Numbers as text, text as numbers.
    check(r#"{"slot":"2"}"#, &["slot=2"], 0);
    check(r#"{"slot":2.0}"#, &["slot=2"], 0);
    check(r#"{"slot":-9223372036854775808}"#, &["slot=-9223372036854775808"], 0);
    check(r#"{"slot":""}"#, &[], 0);
    check(r#"{"hidden":"true"}"#, &["hidden=true"], 0);
    check(r#"{"risk":{"totalRisk":" 8.5 "}}"#, &[r#"risk.totalRisk=8.5 "8.5""#], 0);
    for slot in ["2.5", "9223372036854775808", "1e300", "\"x\"", "\"0x2\"", "true", "[2]", "{\"a\":2}"] {
        check(&format!(r#"{{"slot":{slot}}}"#), &[], 1);
    }
    for risk in ["\"NaN\"", "\"inf\"", "1e999", "\".5\"", "\"1;2\"", "false"] {
        check(&format!(r#"{{"risk":{{"totalRisk":{risk}}}}}"#), &[], 1);
    }
    for hidden in ["0", "1", "\"yes\"", "[]"] {
        check(&format!(r#"{{"hidden":{hidden}}}"#), &[], 1);
    }
    // Where only an object is of use.
    check(r#"{"segments":"x"}"#, &[], 1);
    check(r#"{"risk":[1]}"#, &[], 1);
    check(r#"{"ips":{"nodes":7}}"#, &[r#"ips=[Some("{\"nodes\":7}")]"#], 0);
}

#[test]
fn times() {
    let check = |json: &str, micros: Option<i64>, flagged: u64| {
        let record = format!(r#"{{"lastSeen":{json}}}"#);
        let columns = Columns::of(Stream::Assets, false);
        let row = columns.read(&record).unwrap();
        let text = json.trim_matches('"');
        assert_eq!(row.flagged, flagged, "{json}");
        assert!(row.values.contains(&Some(Value::Time(micros, text.into()))), "{json}: {:?}", row.values);
    };
    check("\"1970-01-01T00:00:00Z\"", Some(0), 0);
    check("\"2023-01-18T08:25:34.067335Z\"", Some(1_674_030_334_067_335), 0);
    check("\"2023-01-18T08:25:34.23377Z\"", Some(1_674_030_334_233_770), 0);
    check("\"2023-01-18T10:25:34.2337709+02:00\"", Some(1_674_030_334_233_770), 0);
    check("\"1969-12-31T23:59:59.9999999Z\"", Some(-1), 0);
    check("\"9999-12-31T23:59:59Z\"", Some(253_402_300_799_000_000), 0);
    check("\"0000-01-01T00:00:00Z\"", Some(-62_167_219_200_000_000), 0);
    // The year 1 is never.
    check("\"0001-01-01T00:00:00Z\"", None, 0);
    check("\"0001-01-01T00:00:00.000Z\"", None, 0);
    for wrong in
        ["\"2023-02-30T00:00:00Z\"", "\"yesterday\"", "1674030334", "true", "{}", "[]", "\"10000-01-01T00:00:00Z\""]
    {
        check(wrong, None, 1);
    }
}

#[test]
fn only_an_object_is_a_record() {
    for text in ["", "[]", "7", "null", "{", "{\"id\":1}{", "{\"id\":}", "{\"id\":1,}"] {
        let error = Columns::of(Stream::Assets, false).read(text).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{text}");
    }
}

#[test]
fn depth_costs_no_stack() {
    for (open, close) in [("[", "]"), ("{\"nodes\":", "}"), ("{\"details\":", "}"), ("{\"nodes\":[", "]}")] {
        for key in ["ips", "segments", "risk", "details", "name", "other"] {
            let value = format!("{}0{}", open.repeat(100_000), close.repeat(100_000));
            Columns::of(Stream::Assets, true).read(&format!("{{\"{key}\":{value}}}")).unwrap();
        }
    }
}

#[test]
fn every_place_belongs_to_one_column_and_no_name_comes_twice() {
    for stream in [Stream::Assets, Stream::Plugins, Stream::Findings, Stream::Events] {
        let columns = Columns::of(stream, true);
        let mut names: Vec<_> = columns.list().iter().map(|column| column.name).collect();
        let mut places: Vec<_> = columns.list().iter().flat_map(|column| column.places).collect();
        for list in [names.len(), places.len()] {
            assert!(list > 8);
        }
        assert_eq!(names[0], "id");
        let count = (names.len(), places.len());
        names.sort_unstable();
        names.dedup();
        places.sort_unstable();
        places.dedup();
        assert_eq!((names.len(), places.len()), count, "{stream}");
    }
}
