//! Replies and what is cut from them.

use super::*;

fn ids_and_records(cut: &Cut) -> Vec<(String, String)> {
    cut.records().map(|record| (record.id.into_owned(), record.json.into_owned())).collect()
}

fn assets(body: &str) -> Result<Cut, Error> {
    graphql(Bytes::from(body.to_owned()), List::Assets, None)
}

fn nodes(nodes: &str) -> String {
    format!(r#"{{"data":{{"assets":{{"nodes":{nodes}}}}}}}"#)
}

/// What an error says, without the place in the bytes.
fn said(error: &Error) -> String {
    match error {
        Error::Unexpected { reason } => reason.split(" at ").next().unwrap_or_default().to_owned(),
        Error::Graphql { codes, .. } => format!("graphql {codes:?}"),
        Error::Truncated => "truncated".to_owned(),
        other => format!("{other:?}"),
    }
}

#[test]
fn records_stand_as_they_were_written() {
    let check = |list: &str, expected: &[(&str, &str)], replaced: u64| {
        let cut = assets(&nodes(list)).unwrap_or_else(|why| panic!("{list}: {why:?}"));
        let found = ids_and_records(&cut);
        let found: Vec<_> = found.iter().map(|(id, json)| (id.as_str(), json.as_str())).collect();
        assert_eq!((found.as_slice(), cut.replaced), (expected, replaced), "{list}");
    };
    check("[]", &[], 0);
    check(r#"[{"id":"a"}]"#, &[("a", r#"{"id":"a"}"#)], 0);
    check(
        r#"[ {"x" : [1, 2e5, {}], "id" : 5 } , {"id":"b","id":"b"}]"#,
        &[("5", r#"{"x" : [1, 2e5, {}], "id" : 5 }"#), ("b", r#"{"id":"b","id":"b"}"#)],
        0,
    );
    check(r#"[{"id":9223372036854775807}]"#, &[("9223372036854775807", r#"{"id":9223372036854775807}"#)], 0);
    // Written another way, and still the id.
    check(r#"[{"\u0069d":"\u0061\/"}]"#, &[("a/", r#"{"\u0069d":"\u0061\/"}"#)], 0);
    check(r#"[{"id":"a","id":"\u0061"}]"#, &[("a", r#"{"id":"a","id":"\u0061"}"#)], 0);
    // Only an id at the top is one.
    check(r#"[{"a":{"id":"no"},"id":"yes"}]"#, &[("yes", r#"{"a":{"id":"no"},"id":"yes"}"#)], 0);
    // What is no text is replaced, the rest stands byte for byte.
    check(
        r#"[{"id":"a","n":"\ud800\u00e4","k":"\\ud800"},{"id":"b","n":"\ud83d\ude00"}]"#,
        &[("a", r#"{"id":"a","n":"\ufffd\u00e4","k":"\\ud800"}"#), ("b", r#"{"id":"b","n":"\ud83d\ude00"}"#)],
        1,
    );
    check(
        r#"[{"id":"a","n":"\udc00\ud800\ud800\udc00\u0000"}]"#,
        &[("a", r#"{"id":"a","n":"\ufffd\ufffd\ud800\udc00\ufffd"}"#)],
        1,
    );
    check(r#"[{"id":"a\ud800"}]"#, &[("a\u{fffd}", r#"{"id":"a\ufffd"}"#)], 1);
}

#[test]
fn bytes_that_are_no_text_are_replaced() {
    let body =
        [br#"{"data":{"assets":{"nodes":[{"id":"a","n":"x"#.as_slice(), b"\xff\xfe", br#""},{"id":"b"}]}}}"#].concat();
    let cut = graphql(body.into(), List::Assets, None).unwrap();
    let expected = [("a", "{\"id\":\"a\",\"n\":\"x\u{fffd}\u{fffd}\"}"), ("b", r#"{"id":"b"}"#)];
    assert_eq!(ids_and_records(&cut), expected.map(|(id, json)| (id.to_owned(), json.to_owned())));
    assert_eq!(cut.replaced, 1);

    let marked = format!("\u{feff}{}", nodes(r#"[{"id":"a"}]"#));
    assert_eq!(peek(marked.as_bytes()), None);
    assert_eq!(assets(&marked).unwrap().replaced, 0);
    let wide: Vec<u8> = nodes("[]").encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(graphql(wide.into(), List::Assets, None).is_err());
}

#[test]
fn what_is_not_what_was_asked_for() {
    let check = |body: &str, expected: &str| {
        let error = assets(body).err().unwrap_or_else(|| panic!("accepted: {body}"));
        assert!(said(&error).contains(expected), "{body}: {error:?}");
    };
    let in_nodes = |list: &str, expected: &str| check(&nodes(list), expected);
    in_nodes("[1]", "record 1 is no object");
    in_nodes(r#"[{"id":"a"},null]"#, "record 2 is no object");
    in_nodes(r#"[{"id":"a"},{}]"#, "record 2 has no id");
    in_nodes(r#"[{"id":"a","id":"b"}]"#, "record 1 has two ids");
    for id in ["null", "-1", "1.0", "1e3", "9223372036854775808", "true", "[]", r#""""#, r#""..""#, r#""a\n""#] {
        in_nodes(&format!(r#"[{{"id":{id}}}]"#), "record 1 has no usable id");
    }
    in_nodes("{}", "something else than a list");
    in_nodes("null", "null in place of a list");
    check(r#"{"data":{"assets":{"pageInfo":null,"totalCount":null,"nodes":null}}}"#, "null in place of a list");
    check("[]", "another shape");
    check(r#"{"data":null}"#, "without data");
    check(r#"{"data":{}}"#, "without a list of assets");
    check(r#"{"data":{"plugins":{"nodes":[]}}}"#, "without a list of assets");
    check(r#"{"data":{"assets":null}}"#, "without a list of assets");
    check(r#"{"data":{"assets":[]}}"#, "no connection");
    check(r#"{"data":{"assets":{"pageInfo":{}}}}"#, "without a list of assets");
    check(r#"{"data":{"assets":{"nodes":[],"nodes":[]}}}"#, "nodes comes twice");
    check(r#"{"data":{"assets":{"nodes":[]},"assets":{"nodes":[]}}}"#, "assets comes twice");
    for info in [r#"{"endCursor":5}"#, r#"{"endCursor":"\ud800"}"#, r#"{"hasNextPage":"true"}"#, "[]", "5"] {
        check(&format!(r#"{{"data":{{"assets":{{"pageInfo":{info},"nodes":[]}}}}}}"#), "");
    }
    check(
        &format!(r#"{{"data":{{"assets":{{"pageInfo":{{"endCursor":"{}"}},"nodes":[]}}}}}}"#, "x".repeat(5000)),
        "longer than 4096",
    );
    for total in ["-1", "1.5", "1e400", "99999999999999999999", r#""3""#, "[]"] {
        check(&format!(r#"{{"data":{{"assets":{{"totalCount":{total},"nodes":[]}}}}}}"#), "totalCount");
    }
    check(&format!("{} x", nodes("[]")), "not JSON");
    check(&format!("{}{{}}", nodes("[]")), "not JSON");
    for value in
        ["NaN", "01", "+1", ".5", "1.", "tru", "'a'", r#""\x""#, r#""\u12g4""#, "\"\n\"", "[1,]", "{,}", "\u{1}"]
    {
        in_nodes(&format!(r#"[{{"id":"a","v":{value}}}]"#), "not JSON");
    }
    in_nodes(&format!(r#"[{{"id":"a","v":{}{}}}]"#, "[".repeat(40), "]".repeat(40)), "deeper than 32");
    in_nodes(&format!("[{}0]", "0,".repeat(200_000)), "more than 200000");
    in_nodes(&format!(r#"[{{"id":"a","v":[{}0]}}]"#, "0,".repeat(200_000)), "more than 200000");
}

#[test]
fn errors_count_before_anything_else() {
    let check = |body: &str, expected: &str| {
        let error = assets(body).err().unwrap_or_else(|| panic!("accepted: {body}"));
        assert_eq!(said(&error), expected, "{body}");
        assert_eq!(peek(body.as_bytes()).is_some(), body.contains("pageInfo"), "{body}");
    };
    let errors = r#"[{"message":"m","extensions":{"code":"C"}}]"#;
    check(&format!(r#"{{"data":{{"assets":{{"nodes":[]}}}},"errors":{errors}}}"#), r#"graphql ["C"]"#);
    check(&format!(r#"{{"errors":{errors},"data":{{"assets":{{"nodes":[null]}}}}}}"#), r#"graphql ["C"]"#);
    check(&format!(r#"{{"data":{{"assets":null}},"errors":{errors}}}"#), r#"graphql ["C"]"#);
    check(&format!(r#"{{"error":{{"errors":{errors}}}}}"#), r#"graphql ["C"]"#);
    check(
        &format!(r#"{{"data":{{"assets":{{"pageInfo":{{}},"nodes":[{{}}]}}}},"errors":{errors}}}"#),
        r#"graphql ["C"]"#,
    );
    assert_eq!(assets(r#"{"data":{"assets":{"nodes":[{"id":"a"}]}},"errors":[]}"#).unwrap().len(), 1);
    assert_eq!(assets(r#"{"data":{"assets":{"nodes":[{"id":"a"}]}},"errors":null}"#).unwrap().len(), 1);
}

#[test]
fn the_way_on() {
    let check = |connection: &str, cursor: Option<&str>, has_next: Option<bool>, total: Option<u64>, first: bool| {
        let body = format!(r#"{{"data":{{"assets":{{{connection}}}}}}}"#);
        let expected = Peek { end_cursor: cursor.map(|cursor| Cursor(cursor.to_owned())), has_next };
        assert_eq!(peek(body.as_bytes()), first.then(|| expected.clone()), "{body}");
        let cut = assets(&body).unwrap();
        assert_eq!((cut.end_cursor, cut.has_next, cut.total_count), (expected.end_cursor, has_next, total), "{body}");
    };
    let info = r#""pageInfo":{"endCursor":"YQ==","hasNextPage":true}"#;
    check(&format!(r#"{info},"totalCount":3,"nodes":[{{"id":"a"}}]"#), Some("YQ=="), Some(true), Some(3), true);
    check(&format!(r#""totalCount":3,{info},"nodes":[]"#), Some("YQ=="), Some(true), Some(3), true);
    check(&format!(r#""nodes":[],{info},"totalCount":null"#), Some("YQ=="), Some(true), None, false);
    check(r#""pageInfo":null,"nodes":[]"#, None, None, None, true);
    check(r#""pageInfo":{"endCursor":"","hasNextPage":false,"more":[1]},"nodes":[]"#, None, Some(false), None, true);
    check(r#""pageInfo":{"endCursor":null},"nodes":[]"#, None, None, None, true);
    check(r#""pageInfo":{"endCursor":"\u0061"},"nodes":[]"#, Some("a"), None, None, true);
    check(r#""nodes":[]"#, None, None, None, false);
}

#[test]
fn a_body_that_is_cut_anywhere_gives_nothing() {
    let body = r#" {"data":{"assets":{"pageInfo":{"endCursor":"YQ==","hasNextPage":true},"totalCount":3,
        "nodes":[{"id":"a","n":-1.5e+3,"t":[true,false,null]},{"id":5,"s":"\ud83d\ude00é\n"}]}}}"#;
    let whole = peek(body.as_bytes());
    assert!(whole.is_some());
    for end in 0..body.len() {
        let part = &body.as_bytes()[..end];
        assert!(matches!(graphql(part.to_vec().into(), List::Assets, None), Err(Error::Truncated)), "{end}");
        let guess = peek(part);
        assert!(guess.is_none() || guess == whole, "{end}: {guess:?}");
    }
    // Any one byte changed: never more records, never a panic.
    for at in 0..body.len() {
        for byte in [0, b'"', b'\\', b'{', b'}', b'[', b']', b',', b'0', b' ', 0xff] {
            let mut changed = body.as_bytes().to_vec();
            changed[at] = byte;
            let _ = peek(&changed);
            if let Ok(cut) = graphql(changed.into(), List::Assets, None) {
                assert!(cut.len() <= 2, "{at} {byte}");
                for record in cut.records() {
                    serde_json::from_str::<serde_json::Value>(&record.json).unwrap();
                }
            }
        }
    }
}

#[test]
fn listings() {
    let check = |body: &str, expected: Result<&[&str], &str>| {
        let cut = rest(Bytes::from(body.to_owned()));
        let found = cut.as_ref().map(|cut| cut.records().map(|record| record.id.into_owned()).collect::<Vec<_>>());
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{body}"),
            (Err(error), Err(expected)) => assert!(said(error).contains(expected), "{body}: {error:?}"),
            (found, _) => panic!("{body}: {found:?}"),
        }
    };
    check("[]", Ok(&[]));
    check(" null ", Ok(&[]));
    check(r#"[{"id":"a"},{"id":5}]"#, Ok(&["a", "5"]));
    for key in ["assets", "data", "results", "items", "nodes"] {
        check(&format!(r#"{{"total":7,"{key}":[{{"id":"a"}}],"next":null}}"#), Ok(&["a"]));
        check(&format!(r#"{{"{key}":null}}"#), Err("null in place of a list"));
    }
    check("{}", Err("without a list"));
    for key in ["error", "errors"] {
        for said in [r#""no""#, r#"{"code":5}"#, r#"[{"message":"no"}]"#, "true", "1"] {
            check(&format!(r#"{{"{key}":{said}}}"#), Err("speaks of an error"));
            check(&format!(r#"{{"data":[{{"id":"a"}}],"{key}":{said}}}"#), Err("speaks of an error"));
        }
        for nothing in ["null", "false", "0", r#""""#, "[]", "[ ]", "{}"] {
            check(&format!(r#"{{"{key}":{nothing},"data":[{{"id":"a"}}]}}"#), Ok(&["a"]));
        }
    }
    check(r#"{"data":null,"error":"internal error"}"#, Err("null in place of a list"));
    // A record may speak of errors.
    check(r#"[{"id":"a","error":"no"}]"#, Ok(&["a"]));
    check(r#"{"data":{"assets":[]}}"#, Err("something else"));
    check(r#"{"data":[],"items":[]}"#, Err("comes twice"));
    check("5", Err("something else"));
    check(r#"[{"id":"a"},[]]"#, Err("record 2 is no object"));
    check(r#"[{"name":"a"}]"#, Err("record 1 has no id"));
    check("[] []", Err("not JSON"));
    check("", Err("truncated"));
}

#[test]
fn hits_are_given_an_id() {
    let asset: RemoteId = "d-1".parse().unwrap();
    let check = |body: &str, expected: &[(&str, &str)]| {
        let cut = hits(Bytes::from(body.to_owned()), &asset).unwrap_or_else(|why| panic!("{body}: {why:?}"));
        let found = ids_and_records(&cut);
        let found: Vec<_> = found.iter().map(|(id, json)| (id.as_str(), json.as_str())).collect();
        assert_eq!(found, expected, "{body}");
    };
    check("null", &[]);
    check("[]", &[]);
    check(
        r#"[{"pluginId":7,"port":0,"protocol":"tcp"},{"pluginId":7,"port":0,"protocol":"tcp"},{"port":1,"pluginId":"7"}]"#,
        &[
            ("d-1:7:0:tcp", r#"{"id":"d-1:7:0:tcp","pluginId":7,"port":0,"protocol":"tcp"}"#),
            ("d-1:7:0:tcp:2", r#"{"id":"d-1:7:0:tcp:2","pluginId":7,"port":0,"protocol":"tcp"}"#),
            ("d-1:7:1:-", r#"{"id":"d-1:7:1:-","port":1,"pluginId":"7"}"#),
        ],
    );
    check(r#"{"hits":[{"id":"own","pluginId":7}]}"#, &[("own", r#"{"id":"own","pluginId":7}"#)]);
    check(
        r#"[{"plugin":{"id":9},"port":null}]"#,
        &[("d-1:9:-:-", r#"{"id":"d-1:9:-:-","plugin":{"id":9},"port":null}"#)],
    );
    check("[{ }]", &[("d-1:-:-:-", r#"{"id":"d-1:-:-:-" }"#)]);
    check(
        r#"[{"pluginId":1,"protocol":"\"x\u0000","output":"\ud800"}]"#,
        &[("d-1:1:-:\"x\u{fffd}", r#"{"id":"d-1:1:-:\"x�","pluginId":1,"protocol":"\"x\ufffd","output":"\ufffd"}"#)],
    );
    let refused = hits(Bytes::from_static(br#"[{"id":null}]"#), &asset).unwrap_err();
    assert!(said(&refused).contains("record 1"), "{refused:?}");
}
