//! What comes is no page: each kind of reply, its class, and nothing left of the run.

use std::{io::Write as _, time::Instant};

use flate2::{Compression as Level, write::GzEncoder};
use futures_util::{StreamExt as _, stream};

use super::*;

/// A reply and the class of the error that it makes.
struct Case {
    what: &'static str,
    sent: Sent,
    class: &'static str,
    doors: &'static [Door],
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Level::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// A reply with these header lines and this body, of the length it has.
fn with(lines: &str, body: &[u8]) -> Sent {
    let head = format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: {}\r\n\r\n", body.len());
    Sent::Bytes([head.as_bytes(), body].concat())
}

fn status(status: u16, lines: &str) -> Sent {
    format!("HTTP/1.1 {status} X\r\n{lines}Content-Length: 0\r\n\r\n").into()
}

fn raw(bytes: impl Into<Vec<u8>>) -> Sent {
    Sent::Last(bytes.into())
}

fn body(text: impl AsRef<str>) -> Sent {
    json(200, text.as_ref()).into()
}

/// Over GraphQL, with this in place of the members of the list.
fn list(members: &str) -> Sent {
    body(format!(r#"{{"data":{{"assets":{{{members}}}}}}}"#))
}

const JSON: &str = "Content-Type: application/json\r\n";
const GZIP: &str = "Content-Type: application/json\r\nContent-Encoding: gzip\r\n";
const HTML: &str = "<!doctype html><title>log in</title>";
const GRAPHQL: &[Door] = &[Door::Graphql];
/// A 404 in JSON says of a single device that it went.
const LISTS: &[Door] = &[Door::Graphql, Door::Rest];

/// What is given up at once.
fn at_once(elsewhere: u16) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut on = |doors: &'static [Door], class: &'static str, list: Vec<(&'static str, Sent)>| {
        cases.extend(list.into_iter().map(|(what, sent)| Case { what, sent, class, doors }));
    };
    let whole = gzip(b"[]");
    let to = |code: u16, place: String| status(code, &format!("Location: {place}\r\n"));
    on(
        &DOORS,
        "Refused/Redirect",
        vec![
            ("a06 to another port", to(302, format!("https://127.0.0.1:{elsewhere}/graphql"))),
            ("a06 to plain HTTP", to(301, format!("http://127.0.0.1:{elsewhere}/"))),
            ("a06 to a file", to(303, "file:///etc/passwd".to_owned())),
            ("a07 to itself", to(307, "/v1/assets".to_owned())),
            ("a07 to nowhere", to(308, String::new())),
            ("a06 with a refresh", status(300, "Refresh: 0; url=/x\r\nAlt-Svc: h3=\":1\"\r\nSet-Cookie: a=b\r\n")),
        ],
    );
    on(
        &DOORS,
        "Refused/HtmlPage",
        vec![
            ("a26 a page", crate::scripted::reply(200, "text/html", HTML).into()),
            ("a26 a page that calls itself JSON", body(HTML)),
            ("a26 XHTML", crate::scripted::reply(200, "Application/XHTML+xml", "x").into()),
        ],
    );
    on(&DOORS, "Refused/Status", vec![("401", status(401, JSON)), ("403", status(403, JSON))]);
    on(&DOORS, "Refused/BadRequestPage", vec![("400 HTML", crate::scripted::reply(400, "text/html", HTML).into())]);
    on(&DOORS, "Unsupported", vec![("405", status(405, JSON)), ("410", status(410, "")), ("501", status(501, ""))]);
    on(LISTS, "Unsupported", vec![("404", json(404, "{}").into())]);
    on(&DOORS, "Status", vec![("400", json(400, "{}").into()), ("418", status(418, ""))]);
    on(
        &DOORS,
        "Busy",
        vec![
            ("a29 ten years", status(429, "Retry-After: 315360000\r\n")),
            ("a29 more than there is", status(503, "Retry-After: 99999999999999999999999\r\n")),
            (
                "a29 a date",
                status(429, "Date: Sun, 22 Nov 2026 12:00:00 GMT\r\nRetry-After: Sun, 22 Nov 2036 12:00:00 GMT\r\n"),
            ),
        ],
    );
    on(
        &DOORS,
        "Exchange/TooLarge",
        vec![("a02 10 GB", raw("HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n["))],
    );
    on(
        &DOORS,
        "Exchange/NotHttp",
        vec![
            ("no HTTP", raw("\x16\x03\x01 what is this?\r\n\r\n")),
            ("HTTP/2", raw("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")),
            ("a02 a negative length", raw("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n[]")),
            ("a02 two lengths", raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n[] ")),
            ("a05 101 lines", raw(format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(101)))),
            ("a05 endless lines", Sent::Endless(b"HTTP/1.1 200 OK\r\n".to_vec(), b"X: y\r\n".to_vec())),
            ("a05 one endless line", Sent::Endless(b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'y'; 4096])),
        ],
    );
    on(
        &DOORS,
        "Exchange/Informational",
        vec![("a05 endless 1xx", Sent::Endless(vec![], b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".to_vec()))],
    );
    on(
        &DOORS,
        "Exchange/Encoded",
        vec![
            ("a08 br", with("Content-Encoding: br\r\n", b"x")),
            ("a08 zstd", with("Content-Encoding: zstd\r\n", b"\x28\xb5\x2f\xfd")),
            ("a08 gzip twice", with("Content-Encoding: gzip, gzip\r\n", &gzip(&gzip(b"[]")))),
            ("a08 two lines", with("Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n", &gzip(&gzip(b"[]")))),
        ],
    );
    on(
        &DOORS,
        "Exchange/NotGzip",
        vec![
            ("a08 plain text", with(GZIP, b"[]")),
            ("a08 more behind it", with(GZIP, &[gzip(b"[]"), b"[]".to_vec()].concat())),
            ("a08 a wrong sum", with(GZIP, &[&whole[..whole.len() - 8], &[0; 8]].concat())),
        ],
    );
    on(&DOORS, "Exchange/Bomb", vec![("a08 a bomb", with(GZIP, &gzip(&vec![b' '; 8 << 20])))]);
    on(
        &DOORS,
        "Unexpected",
        vec![
            ("a09 arrays", body("[".repeat(100_000))),
            ("a09 objects", body("{\"id\":".repeat(100_000))),
            ("a10 many numbers", body(format!("[{}0]", "0,".repeat(300_000)))),
            ("a10 many keys", body(format!("{{{}\"\":0}}", "\"\":0,".repeat(300_000)))),
            ("a11 NaN", body(r#"[{"id":NaN}]"#)),
            ("a11 more behind it", body(r#"[{"id":"a"}] x"#)),
            ("a11 text", body("\"[]\"")),
            ("a11 a number", body("7")),
            ("a11 a comma too many", body(r#"[{"id":"a"},]"#)),
            ("a11 a bare word", crate::scripted::reply(200, "text/plain", "maintenance").into()),
            ("a11 no list", body(r#"{"ok":true}"#)),
            ("a12 a float id", body(r#"[{"id":1.5}]"#)),
            ("a12 a negative id", body(r#"{"data":{"assets":{"nodes":[{"id":-1}]}},"hits":[{"id":-1}]}"#)),
            ("a13 UTF-16", with(JSON, &"[{}]".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>())),
            ("a13 NUL", with(JSON, &[0; 64])),
            ("a13 noise", with(JSON, &(0..=255).rev().collect::<Vec<u8>>())),
        ],
    );
    on(
        GRAPHQL,
        "Graphql",
        vec![
            ("a40 errors", body(r#"{"errors":[{"message":"no","extensions":{"code":"X"}}]}"#)),
            ("a40 errors beside data", body(r#"{"data":{"assets":{"nodes":[]}},"errors":[{"message":"no"}]}"#)),
            ("a40 errors in an envelope", body(r#"{"error":{"errors":[{"message":"no"}]}}"#)),
            ("a40 a field unknown", body(r#"{"errors":[{"message":"Cannot query field \"x\" on type \"Asset\"."}]}"#)),
            ("a40 errors and 400", json(400, r#"{"errors":[{"message":"no"}]}"#).into()),
        ],
    );
    on(
        GRAPHQL,
        "Unexpected",
        vec![
            ("a40 no data", body(r#"{"data":null}"#)),
            ("a40 null for the list", body(r#"{"data":{"assets":null}}"#)),
            ("a40 another list", body(r#"{"data":{"plugins":{"nodes":[]}}}"#)),
            ("a40 no records", list(r#""pageInfo":{"hasNextPage":false},"totalCount":0"#)),
            ("a11 data twice", body(r#"{"data":{"assets":{"nodes":[]}},"d\u0061ta":{"assets":{"nodes":[]}}}"#)),
            ("a11 records twice", list(r#""nodes":[],"nodes":[]"#)),
            ("a11 null for a record", list(r#""nodes":[null]"#)),
            ("a11 null for an id", list(r#""nodes":[{"id":null}]"#)),
            ("a11 two ids", list(r#""nodes":[{"id":"a","id":"b"}]"#)),
            ("a12 a negative total", list(r#""totalCount":-1,"nodes":[]"#)),
            ("a12 a text for a total", list(r#""totalCount":"510","nodes":[]"#)),
            ("a12 a total of 2^63", list(r#""totalCount":9223372036854775808,"nodes":[]"#)),
            ("a12 a total with a fraction", list(r#""totalCount":510.0,"nodes":[]"#)),
            ("a12 an endless total", list(r#""totalCount":1e400,"nodes":[]"#)),
            ("a35 a number for a cursor", list(r#""pageInfo":{"hasNextPage":true,"endCursor":7},"nodes":[]"#)),
            ("a35 a long cursor", list(&format!(r#""pageInfo":{{"endCursor":"{}"}},"nodes":[]"#, "x".repeat(5000)))),
            ("a35 half a pair for a cursor", list(r#""pageInfo":{"endCursor":"\ud800"},"nodes":[]"#)),
            ("a35 a text for a flag", list(r#""pageInfo":{"hasNextPage":"false"},"nodes":[]"#)),
            ("a35 two cursors", list(r#""pageInfo":{"endCursor":"a","endCursor":"b"},"nodes":[]"#)),
        ],
    );
    cases
}

/// What may pass: asked for again, until the time for that is up.
fn in_the_end() -> Vec<Case> {
    let honest = json(200, r#"[{"id":"a"}]"#);
    let cut = |at: usize| raw(&honest.as_bytes()[..at]);
    let ok = format!("HTTP/1.1 200 OK\r\n{JSON}\r\n").into_bytes();
    let cases = [
        ("a31 the end before a reply", raw(""), "Exchange/Cut"),
        ("a31 the end in the head", cut(20), "Exchange/Cut"),
        ("a31 the end in the body", cut(honest.len() - 3), "Exchange/Cut"),
        ("a31 half a chunk", raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n["), "Exchange/Cut"),
        ("a03 a body that drips", Sent::Drip(ok), "Exchange/TooSlow"),
        ("a03 a head that drips", Sent::Drip(b"HTTP/1.1 200 OK\r\nX: ".to_vec()), "Exchange/Deadline"),
        ("a04 nothing at all", Sent::Silence, "Exchange/Deadline"),
        ("a02 a length too small", raw("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n[{\"id\":\"a\"}]"), "Truncated"),
        ("an empty body", body(""), "Truncated"),
        ("204", status(204, ""), "Truncated"),
        ("a08 half a gzip", with(GZIP, &gzip(b"[]")[..15]), "Truncated"),
        ("500", json(500, "{}").into(), "Status"),
        ("502 HTML", crate::scripted::reply(502, "text/html", HTML).into(), "Status"),
        ("503", status(503, ""), "Busy"),
        ("a29 negative", status(429, "Retry-After: -5\r\n"), "Busy"),
        (
            "a29 a date gone by",
            status(429, "Date: Sun, 22 Nov 2026 12:00:00 GMT\r\nRetry-After: Sun, 22 Nov 2016 12:00:00 GMT\r\n"),
            "Busy",
        ),
        ("a29 words", status(503, "Retry-After: soon\r\n"), "Busy"),
    ];
    let half = |what, text, doors| Case { what, sent: body(text), class: "Truncated", doors };
    let halves = [
        half("half a page of GraphQL", r#"{"data":{"assets":{"nodes":[{"id":"a"#, GRAPHQL),
        half("half a listing", r#"[{"id":"a"#, &[Door::Rest, Door::Hits]),
    ];
    cases.into_iter().map(|(what, sent, class)| Case { what, sent, class, doors: &DOORS }).chain(halves).collect()
}

/// One case at one place.
async fn play(plant: &Plant, case: &Case, door: Door, at: u64, number: usize, limit: Span) -> Result<(), String> {
    let what = format!("{} by {door:?} at {at}", case.what);
    let server = hostile_at(door, at, case.sent.clone()).await;
    let dir = format!("{number}-{door:?}-{at}");
    let request = plant.wanted(door, &dir);
    let began = Instant::now();
    let Ok(ended) = tokio::time::timeout(limit, plant.read_from(&server, &request, soon())).await else {
        return Err(format!("{what}: no end after {limit:?}"));
    };
    let error = match ended {
        Ok(run) => return Err(format!("{what}: taken for data: {run:?}")),
        Err(error) => error,
    };
    let (page, before) = (at / u64::from(SIZE) + 1, at);
    let place = match &error {
        Error::Page { page: at, records, .. } if door != Door::Hits => (*at, *records) == (page, before),
        // One record of each device before it; where the first is not there at all, there may be no findings.
        Error::Page { records, .. } => *records == before,
        _ => false,
    };
    let left = names(&plant.dir().join(&dir));
    if class(&error) != case.class || !place || !left.is_empty() || error.hint().is_none() {
        return Err(format!("{what}, wanted {}: {error:?} after {:?}; left {left:?}", case.class, began.elapsed()));
    }
    Ok(())
}

/// Each case by each of its doors on the first page and on the fiftieth, so many at a time.
async fn play_all(cases: Vec<Case>, at_a_time: usize, limit: Span) {
    let plant = Plant::of(0).await;
    let places = cases.iter().enumerate().flat_map(|(number, case)| {
        let late = |door: Door| if door == Door::Hits { 49 } else { LATE };
        case.doors.iter().flat_map(move |door| [(number, case, *door, 0), (number, case, *door, late(*door))])
    });
    let plays = places.map(|(number, case, door, at)| play(&plant, case, door, at, number, limit));
    let failed: Vec<String> =
        stream::iter(plays).buffer_unordered(at_a_time).filter_map(|ended| async { ended.err() }).collect().await;
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(plant.inventory.runs().await.unwrap().is_empty());
    assert!(plant.inventory.reading(&plant.site.name).await.unwrap().is_none());
}

#[tokio::test]
async fn what_is_no_page_is_given_up_at_once_and_nothing_is_left() {
    let elsewhere = Server::answering(json(200, "[]")).await;
    play_all(at_once(elsewhere.port), 4, Span::from_secs(15)).await;
    assert_eq!(elsewhere.connections(), 0, "a redirect was followed");
}

#[tokio::test]
async fn what_may_pass_is_asked_for_again_for_half_a_minute_and_nothing_is_left() {
    play_all(in_the_end(), usize::MAX, Span::from_secs(50)).await;
}

#[tokio::test]
async fn a_reply_that_lies_ready_is_not_taken_for_the_next() {
    let plant = Plant::of(0).await;
    for door in DOORS {
        let stale = r#"[{"id":"stale","pluginId":666}]"#;
        let server = appliance(move |asked| {
            let more = if asked.at <= 50 { json(200, stale) } else { String::new() };
            (asked.honest() + &more).into()
        })
        .await;
        let request = plant.wanted(door, &format!("{door:?}"));
        let run = plant.read_from(&server, &request, soon()).await.unwrap();
        assert_eq!((run.complete(), run.records), (true, DEVICES), "{door:?}");
        assert!(!fs::read_to_string(run.path.unwrap()).unwrap().contains("stale"), "{door:?}");
    }
}

#[tokio::test]
async fn a_port_that_never_speaks_tls_is_left() {
    let plant = Plant::of(0).await;
    let honest = appliance(|asked| asked.honest().into()).await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let site = Site {
        endpoint: format!("https://{}", silent.local_addr().unwrap()).parse().unwrap(),
        trust: Some(TrustPolicy::Pins(vec![honest.pin()])),
        ..plant.site.clone()
    };
    let clock = FixedClock(NOW);
    let deadlines = Deadlines { tls: Span::from_millis(300), ..soon() };
    let session = Session::open(&site, &plant.inventory, &plant.secrets, &clock).unwrap().within(deadlines);
    let began = Instant::now();
    let error = within(
        Span::from_secs(40),
        "a silent port",
        ingest(&session, &plant.request(Api::Rest), Box::new(Vec::new()), &|_| ()),
    )
    .await
    .unwrap_err();
    assert!(matches!(error, Error::Session(_)), "{error:?}");
    assert!(error.hint().is_some(), "{error:?}");
    assert!(began.elapsed() >= Span::from_secs(15), "it was not asked again");
    plant.assert_nothing_left();
}
