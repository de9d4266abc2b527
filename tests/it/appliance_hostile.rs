//! A malicious, spoofed or broken appliance: each attack, what it gets, and how long it takes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use robocred::{
    appliance::{
        Authority, ConnectError, Deadlines, Error, ExchangeError, NewRobot, NotDone, Outcome, PageLimits, Phase,
        RobotsApi, UnknownReason,
    },
    site::Role,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
};

use crate::scripted::{AssetPages as _, Identity, Server, TOKEN, Tls, json, patient, say, target, token};

async fn register(api: &RobotsApi) -> Outcome {
    let identity = Identity::new();
    let name = "robot1".parse().unwrap();
    let robot = NewRobot { name: &name, role: Role::Admin, certificate: &identity.certificate };
    api.register(Authority::Token(&token()), &robot).await
}

/// Ends the test if `step` takes longer than its deadlines.
async fn bounded<T>(what: &str, step: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    let result = tokio::time::timeout(Duration::from_secs(30), step).await;
    result.unwrap_or_else(|_| panic!("{what}: still waiting after {:?}", begun.elapsed()))
}

fn lost(outcome: Outcome) -> ExchangeError {
    match outcome {
        Outcome::Unknown(UnknownReason::Lost(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn exchange<T: std::fmt::Debug>(result: Result<T, Error>) -> ExchangeError {
    match result {
        Err(Error::Exchange(why)) => why,
        other => panic!("{other:?}"),
    }
}

/// A server that reads the request, says `head`, and then `more` for ever.
async fn endless(head: &'static str, more: &'static [u8]) -> Server {
    Server::start(Tls::default(), move |mut peer, seen| async move {
        seen.read(&mut peer).await;
        say(&mut peer, head.as_bytes()).await;
        while peer.write_all(more).await.is_ok() {}
    })
    .await
}

const ENDLESS_OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n";

#[tokio::test]
async fn a01_an_endless_body_is_cut_at_the_limit() {
    static SPACES: [u8; 16 << 10] = [b' '; 16 << 10];
    let server = endless(ENDLESS_OK, &SPACES).await;
    let why = lost(bounded("token call", register(&server.robots())).await);
    assert!(matches!(why, ExchangeError::TooLarge { limit: 1_048_576 }), "{why:?}");
    let why = exchange(bounded("control", server.reads().version()).await);
    assert!(matches!(why, ExchangeError::TooLarge { limit: 1_048_576 }), "{why:?}");
    let why = exchange(bounded("page", server.reads().assets_page(None, 1, false)).await);
    // On a slow machine the time limit may come first; the memory stays bounded either way.
    assert!(matches!(why, ExchangeError::TooLarge { limit: 67_108_864 } | ExchangeError::Deadline { .. }), "{why:?}");
    assert_eq!(server.seen.holding(TOKEN), 1);
}

#[tokio::test]
async fn a01_a_reply_that_was_not_read_whole_ends_its_connection() {
    static SPACES: [u8; 16 << 10] = [b' '; 16 << 10];
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let server = Server::start(Tls::default(), move |mut peer, seen| {
        let count = Arc::clone(&count);
        async move {
            seen.read(&mut peer).await;
            say(&mut peer, ENDLESS_OK.as_bytes()).await;
            while let Ok(bytes) = peer.write(&SPACES).await {
                count.fetch_add(bytes, Ordering::Relaxed);
            }
        }
    })
    .await;
    let api = server.reads();
    assert!(bounded("control", api.version()).await.is_err());
    server.one_ended().await;
    drop(api);
    // One MiB, and what the two sockets hold.
    let written = written.load(Ordering::Relaxed);
    assert!(written < 32 << 20, "{written} bytes were taken");
}

#[tokio::test]
async fn a02_a_length_is_not_believed() {
    let huge = Server::answering("HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n{}").await;
    let why = lost(bounded("huge", register(&huge.robots())).await);
    assert!(matches!(why, ExchangeError::TooLarge { .. }), "{why:?}");
    let small = Server::answering("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{\"id\":\"x\"}").await;
    let outcome = bounded("small", register(&small.robots())).await;
    assert!(
        matches!(
            outcome,
            Outcome::Unknown(UnknownReason::Unreadable { .. } | UnknownReason::Lost(_)) | Outcome::Answered(_)
        ),
        "{outcome:?}"
    );
    for length in ["-1", "99999999999999999999999", "1, 2", "0x10"] {
        let server = Server::answering(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{{}}")).await;
        let why = lost(bounded(length, register(&server.robots())).await);
        assert!(matches!(why, ExchangeError::NotHttp { .. } | ExchangeError::Cut { .. }), "{length}: {why:?}");
    }
}

/// Says `head`, then a byte every 50 ms.
async fn dripping(head: &'static str) -> Server {
    Server::start(Tls::default(), move |mut peer, seen| async move {
        seen.read(&mut peer).await;
        say(&mut peer, head.as_bytes()).await;
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        while peer.write_all(b" ").await.is_ok() && peer.flush().await.is_ok() {
            tick.tick().await;
        }
    })
    .await
}

#[tokio::test]
async fn a03_a_drip_meets_the_total_deadline_or_the_rate() {
    let soon = Deadlines { call: Duration::from_secs(1), ..patient() };
    for head in [ENDLESS_OK, "HTTP/1.1 200 OK\r\nX:"] {
        let server = dripping(head).await;
        let begun = Instant::now();
        let why = lost(bounded(head, register(&server.robots_within(soon))).await);
        assert!(matches!(why, ExchangeError::Deadline { .. }), "{head}: {why:?}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
    let server = dripping("HTTP/1.1 200 OK\r\nX:").await;
    let why = exchange(bounded("head of a page", server.reads_within(soon).assets_page(None, 1, false)).await);
    assert!(matches!(why, ExchangeError::Deadline { .. }), "{why:?}");

    // About 20 bytes a second, where 100 are wanted, or where the page has one second in all.
    let page = PageLimits { total: Duration::from_secs(10), window: Duration::from_secs(1), bytes_per_window: 100 };
    let server = dripping(ENDLESS_OK).await;
    let slow = server.reads_within(Deadlines { page, ..patient() });
    let why = exchange(bounded("rate", slow.assets_page(None, 1, false)).await);
    assert!(matches!(why, ExchangeError::TooSlow { wanted: 100, .. }), "{why:?}");
    let page = PageLimits { total: Duration::from_secs(1), window: Duration::from_millis(200), bytes_per_window: 0 };
    let long = server.reads_within(Deadlines { page, ..patient() });
    let why = exchange(bounded("whole page", long.assets_page(None, 1, false)).await);
    assert!(matches!(why, ExchangeError::Deadline { limit } if limit == page.total), "{why:?}");
}

#[tokio::test]
async fn a04_a_port_that_never_speaks_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard).await;
        heard
    });
    let other = Server::answering("").await;
    let soon = Deadlines { tls: Duration::from_millis(300), ..patient() };
    let api = RobotsApi::new(target(port), other.trusted(None), soon);
    let outcome = bounded("silent port", register(&api)).await;
    let Outcome::NotDone(NotDone::Connect(why)) = &outcome else { panic!("{outcome:?}") };
    assert!(matches!(why, ConnectError::Deadline { phase: Phase::Tls, .. }), "{why:?}");
    drop((outcome, api));
    let heard = heard.await.unwrap();
    assert!(!String::from_utf8_lossy(&heard).contains(TOKEN));
}

#[tokio::test]
async fn a04_a_port_that_does_not_answer_at_all() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    // Nobody accepts; once the queue is full the port is silent.
    let mut queue = Vec::new();
    while let Ok(connected) = tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
        queue.push(connected.unwrap());
    }
    let other = Server::answering("").await;
    let limit = Duration::from_millis(300);
    let api = RobotsApi::new(target(address.port()), other.trusted(None), Deadlines { connect: limit, ..patient() });
    let outcome = bounded("silent port", register(&api)).await;
    let Outcome::NotDone(NotDone::Connect(why)) = &outcome else { panic!("{outcome:?}") };
    assert!(matches!(why, ConnectError::Deadline { phase: Phase::Connect, .. }), "{why:?}");
}

#[tokio::test]
async fn a05_endless_heads_informational_replies_and_chunk_extensions() {
    let many_lines = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(101));
    let long_line = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(70_000));
    for (what, raw) in [("101 lines", many_lines), ("70 kB line", long_line)] {
        let server = Server::answering(raw).await;
        let why = lost(bounded(what, register(&server.robots())).await);
        assert!(matches!(why, ExchangeError::NotHttp { .. }), "{what}: {why:?}");
    }
    let hundred = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{}\r\n", "X: y\r\n".repeat(99));
    let server = Server::answering(hundred).await;
    assert!(matches!(register(&server.robots()).await, Outcome::Answered(_)));

    let server = endless("HTTP/1.1 200 OK\r\n", b"X: y\r\n").await;
    let why = lost(bounded("endless lines", register(&server.robots())).await);
    assert!(matches!(why, ExchangeError::NotHttp { .. }), "{why:?}");

    let server = endless("", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n").await;
    let why = lost(bounded("endless 1xx", register(&server.robots())).await);
    assert!(matches!(why, ExchangeError::Informational { limit: 5 }), "{why:?}");
    for (count, fine) in [(5, true), (6, false)] {
        let raw = format!("{}{}", "HTTP/1.1 100 Continue\r\n\r\n".repeat(count), json(201, "{}"));
        let server = Server::answering(raw).await;
        let outcome = bounded("1xx", register(&server.robots())).await;
        assert_eq!(matches!(outcome, Outcome::Answered(_)), fine, "{count}: {outcome:?}");
    }

    let server =
        endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1", b";ext=aaaaaaaaaaaaaaaaaaaaaaaaaaaa").await;
    let why = lost(bounded("chunk extension", register(&server.robots())).await);
    assert!(matches!(why, ExchangeError::Cut { .. } | ExchangeError::NotHttp { .. }), "{why:?}");
    let server = endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: trailer\r\n").await;
    let why = lost(bounded("trailers", register(&server.robots())).await);
    assert!(matches!(why, ExchangeError::Cut { .. } | ExchangeError::NotHttp { .. }), "{why:?}");
}

#[tokio::test]
async fn a06_a_redirect_is_never_followed() {
    let elsewhere = Server::answering(json(201, "{}")).await;
    let locations = [
        format!("https://127.0.0.1:{}/v1/robots", elsewhere.port),
        format!("http://127.0.0.1:{}/v1/robots", elsewhere.port),
        "file:///etc/passwd".to_owned(),
        "//127.0.0.1/".to_owned(),
    ];
    for location in locations {
        for status in [301, 302, 303, 307, 308] {
            let raw = format!(
                "HTTP/1.1 {status} X\r\nLocation: {location}\r\nRefresh: 0; {location}\r\nAlt-Svc: h2=\":{}\"\r\nContent-Length: 0\r\n\r\n",
                elsewhere.port
            );
            let server = Server::answering(raw).await;
            let outcome = bounded("redirect", register(&server.robots())).await;
            assert!(matches!(&outcome, Outcome::NotDone(NotDone::Redirect { .. })), "{outcome:?}");
            assert!(server.reads().version().await.is_err());
            assert_eq!(server.seen.holding(TOKEN), 1);
        }
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn a07_a_redirect_to_itself_is_one_request() {
    for status in [307, 308] {
        let server =
            Server::answering(format!("HTTP/1.1 {status} X\r\nLocation: /v1/robots\r\nContent-Length: 0\r\n\r\n"))
                .await;
        let outcome = bounded("redirect", register(&server.robots())).await;
        assert!(matches!(&outcome, Outcome::NotDone(NotDone::Redirect { .. })), "{outcome:?}");
        assert_eq!((server.connections(), server.seen.count()), (1, 1));
    }
}

#[tokio::test]
async fn a08_an_encoded_reply_is_refused_unread() {
    for encoding in ["gzip", "br", "zstd", "deflate", "identity, gzip"] {
        let raw = format!("HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: 4\r\n\r\n\x1f\x0bxx");
        let server = Server::answering(raw).await;
        let why = lost(bounded(encoding, register(&server.robots())).await);
        assert!(matches!(&why, ExchangeError::Encoded { encoding: said } if said == encoding), "{why:?}");
        let why = exchange(bounded(encoding, server.reads().assets_page(None, 1, false)).await);
        let asked_for = encoding == "gzip";
        assert!(matches!(why, ExchangeError::NotGzip) == asked_for, "{why:?}");
        assert!(matches!(why, ExchangeError::Encoded { .. }) != asked_for, "{why:?}");
    }
    let plain = Server::answering("HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}").await;
    assert!(matches!(register(&plain.robots()).await, Outcome::Answered(_)));
}

/// Every read and the token call, given one JSON body; none may take it.
async fn refused_everywhere(what: &str, body: &str) {
    let server = Server::answering(json(200, body)).await;
    let outcome = bounded(what, register(&server.robots())).await;
    assert!(matches!(outcome, Outcome::Unknown(UnknownReason::Unreadable { .. })), "{what}: {outcome:?}");
    let api = server.reads();
    for result in
        [bounded(what, api.assets_page(None, 1, false)).await, bounded(what, api.rest_assets_page(0, 1, false)).await]
    {
        assert!(matches!(result, Err(Error::Unexpected { .. } | Error::Truncated)), "{what}: {result:?}");
    }
}

#[tokio::test]
async fn a09_deep_json() {
    refused_everywhere("arrays", &format!("{{\"id\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000))).await;
    refused_everywhere("objects", &"{\"id\":".repeat(100_000)).await;
}

#[tokio::test]
async fn a10_ten_million_tiny_elements() {
    let body = format!("{{\"id\":[{}0]}}", "0,".repeat(250_000));
    refused_everywhere("numbers", &body).await;
    let page = format!("{{\"data\":{{\"assets\":{{\"nodes\":[{}0]}}}}}}", "0,".repeat(10_000_000));
    let server = Server::answering(json(200, &page)).await;
    let result = bounded("page", server.reads().assets_page(None, 1, false)).await;
    assert!(matches!(&result, Err(Error::Unexpected { reason }) if reason.contains("200000")), "{result:?}");
}

#[tokio::test]
async fn a11_duplicate_keys_wrong_types_trailing_data_and_nan() {
    for body in [
        r#"{"id":"a","id":"b"}"#,
        r#"{"id":["a"]}"#,
        r#"{"id":true}"#,
        r#"{"id":"a"} {"id":"b"}"#,
        r#"{"id":NaN}"#,
        r#"{"id":"a",}"#,
        r#"{"id":"\ud800"}"#,
        "{\"id\":\"a\u{0}\"}",
        "\u{feff}{\"id\":\"a\"}",
        "[1",
    ] {
        refused_everywhere(body, body).await;
    }
    for node in
        [r#"{"id":null}"#, r#"{"name":"no id"}"#, "null", "7", r#""a""#, r#"{"id":"a","id":"b"}"#, r#"{"id":""}"#]
    {
        let graphql = Server::answering(json(200, &format!(r#"{{"data":{{"assets":{{"nodes":[{node}]}}}}}}"#))).await;
        let result = graphql.reads().assets_page(None, 1, false).await;
        assert!(matches!(result, Err(Error::Unexpected { .. })), "{node}: {result:?}");
        let rest = Server::answering(json(200, &format!("[{node}]"))).await;
        let result = rest.reads().rest_assets_page(0, 1, false).await;
        assert!(matches!(result, Err(Error::Unexpected { .. })), "{node}: {result:?}");
    }
    let doubled = r#"{"data":{"assets":{"nodes":[]}},"data":{"assets":{"nodes":[{"id":"x"}]}}}"#;
    let server = Server::answering(json(200, doubled)).await;
    assert!(matches!(server.reads().assets_page(None, 1, false).await, Err(Error::Unexpected { .. })));
}

#[tokio::test]
async fn a12_numbers_out_of_range() {
    for id in ["9223372036854775808", "18446744073709551616", "-1", "1.5", "1e400", "1e3", "-0"] {
        refused_everywhere(id, &format!("{{\"id\":{id}}}")).await;
        let page = format!(r#"{{"data":{{"assets":{{"nodes":[{{"id":{id}}}]}}}}}}"#);
        let server = Server::answering(json(200, &page)).await;
        let result = server.reads().assets_page(None, 1, false).await;
        assert!(matches!(result, Err(Error::Unexpected { .. })), "{id}: {result:?}");
    }
    for count in ["-1", "1.5", "1e400", "18446744073709551616", "\"3\""] {
        let page = format!(r#"{{"data":{{"assets":{{"nodes":[],"totalCount":{count}}}}}}}"#);
        let server = Server::answering(json(200, &page)).await;
        let result = server.reads().assets_page(None, 1, false).await;
        assert!(matches!(result, Err(Error::Unexpected { .. })), "{count}: {result:?}");
    }
    // A number inside a record is passed on as text, whatever its size.
    let server = Server::answering(json(200, r#"[{"id":"a","risk":1e400}]"#)).await;
    let page = server.reads().rest_assets_page(0, 1, false).await.unwrap();
    assert!(page.records().next().unwrap().json.contains("1e400"));
}

#[tokio::test]
async fn a13_bytes_that_are_not_utf8() {
    let mut raw = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n".to_vec();
    raw.extend_from_slice(b"{\"id\":\"\xff\"}");
    let server = Server::answering(raw).await;
    let outcome = register(&server.robots()).await;
    assert!(matches!(outcome, Outcome::Unknown(UnknownReason::Unreadable { .. })), "{outcome:?}");
    assert!(matches!(server.reads().rest_assets_page(0, 1, false).await, Err(Error::Unexpected { .. })));
}

#[tokio::test]
async fn a30_what_a_reply_asks_a_browser_to_do_is_not_done() {
    let server = Server::start(Tls::default(), |mut peer, seen| async move {
        while seen.read(&mut peer).await.is_some() {
            let raw = "HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nAlt-Svc: h3=\":1\"\r\nRefresh: 0; /x\r\n\
                       Strict-Transport-Security: max-age=1\r\nLink: </x>; rel=preload\r\nContent-Length: 2\r\n\r\n[]";
            say(&mut peer, raw.as_bytes()).await;
        }
    })
    .await;
    let api = server.reads();
    for _ in 0..2 {
        bounded("page", api.rest_assets_page(0, 1, false)).await.unwrap();
    }
    let requests = server.seen.requests();
    assert_eq!((server.connections(), requests.len()), (1, 2));
    assert_eq!(requests[0], requests[1]);
}

#[tokio::test]
async fn a31_two_replies_and_a_reply_before_the_request() {
    let twice = format!("{}{}", json(201, r#"{"id":"first"}"#), json(201, r#"{"id":"second"}"#));
    let server = Server::answering(twice).await;
    let outcome = bounded("two replies", register(&server.robots())).await;
    let Outcome::Answered(reply) = outcome else { panic!("{outcome:?}") };
    assert_eq!(reply.remote_id.unwrap().as_str(), "first");
    assert_eq!(server.connections(), 1);

    // A reply that lies ready must not be taken for the answer to the next read.
    let server = Server::start(Tls::default(), |mut peer, seen| async move {
        if seen.read(&mut peer).await.is_some() {
            say(&mut peer, format!("{}{}", json(200, r#"[{"id":"1"}]"#), json(200, r#"[{"id":"stale"}]"#)).as_bytes())
                .await;
            seen.read(&mut peer).await;
        }
    })
    .await;
    let api = server.reads();
    for _ in 0..3 {
        let page = bounded("page", api.rest_assets_page(0, 1, false)).await.unwrap();
        assert_eq!(page.records().next().unwrap().id, "1");
    }

    let early = Server::start(Tls::default(), |mut peer, seen| async move {
        say(&mut peer, json(401, "{}").as_bytes()).await;
        seen.read(&mut peer).await;
    })
    .await;
    let outcome = bounded("early reply", register(&early.robots())).await;
    assert!(!matches!(outcome, Outcome::Answered(_)), "{outcome:?}");
}

#[tokio::test]
async fn a34_no_error_holds_the_token() {
    for status in [400, 401, 403, 404, 409, 422, 429, 500, 503] {
        let server = Server::answering(json(status, &format!("{{\"you sent\":\"Bearer {TOKEN}\"}}"))).await;
        let outcome = register(&server.robots()).await;
        let said = format!("{outcome:?}");
        assert!(!said.contains(TOKEN), "{status}: {said}");
        let listing = server.robots().list(Authority::Token(&token())).await;
        assert!(!format!("{listing:?}").contains(TOKEN), "{status}");
    }
}
