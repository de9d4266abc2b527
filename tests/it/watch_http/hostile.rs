//! Clients that send too much, too slowly, nothing, or nonsense, and clients
//! that do not read. Whatever they do, somebody else is answered.

use std::time::Instant;

use tokio::net::TcpSocket;

use super::*;

/// Nobody else waits longer than this while they are there.
const SOON: Duration = Duration::from_secs(1);

async fn another_is_answered_soon(served: &Served) {
    let begun = Instant::now();
    let reply = served.get("/livez").await;
    let took = begun.elapsed();
    assert_eq!((reply.status, reply.text()), (200, "ok\n"));
    assert!(took < SOON, "it took {took:?}");
}

/// How long after now the server ends the connection, whatever it says before.
async fn end_of(stream: &mut TcpStream) -> (Duration, Vec<u8>) {
    let begun = Instant::now();
    let read = rest(stream).await.unwrap_or_default();
    (begun.elapsed(), read)
}

#[tokio::test]
async fn who_says_nothing_or_too_slowly_is_cut_when_the_time_for_it_is_over() {
    let limits = short();
    let served = Served::new(CONFIG, limits);
    for said in ["", "GET /livez HT", "GET /livez HTTP/1.1\r\nHost: localhost\r\nX-A: "] {
        let mut stream = served.connect().await;
        stream.write_all(said.as_bytes()).await.unwrap();
        another_is_answered_soon(&served).await;
        let (after, read) = end_of(&mut stream).await;
        assert!(after < limits.whole, "{said:?}: {after:?}");
        assert_eq!(String::from_utf8_lossy(&read), "");
    }

    // A byte now and then does not give it more time.
    let mut stream = served.connect().await;
    let begun = Instant::now();
    let mut sent = 0;
    while stream.write_all(b"G").await.is_ok() {
        sent += 1;
        let mut byte = [0];
        match timeout(limits.head / 20, stream.read(&mut byte)).await {
            Err(_) => assert!(begun.elapsed() < DEADLINE, "it is never cut"),
            Ok(Ok(0) | Err(_)) => break,
            Ok(Ok(_)) => panic!("an answer to what was not asked"),
        }
    }
    assert!(sent > 3 && begun.elapsed() >= limits.head * 9 / 10, "cut after {:?}", begun.elapsed());
    another_is_answered_soon(&served).await;
}

#[tokio::test]
async fn who_does_not_read_is_cut_when_the_time_for_it_is_over() {
    let limits = Limits { whole: Duration::from_secs(4), ..short() };
    let served = Served::new(CONFIG, limits);
    let (inventory, lock, id) = provisioned(&served, NOW).await;
    // More than the kernel takes for a client whose own buffer is small.
    let long = "x".repeat(8 << 20);
    let code = robocred::inventory::AttentionCode::HookFailed;
    inventory.raise(&lock, &id, code, &long, None, NOW).await.unwrap();

    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let begun = Instant::now();
    let mut stream = socket.connect(served.address).await.unwrap();
    stream.write_all(b"GET /status.json HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    another_is_answered_soon(&served).await;
    // Its end is seen without reading: the reset is an error of the socket.
    timeout(DEADLINE, async {
        while stream.take_error().unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("it is never cut");
    assert!(begun.elapsed() >= limits.whole * 9 / 10, "cut after {:?}", begun.elapsed());
    another_is_answered_soon(&served).await;
}

#[tokio::test]
async fn places_held_by_those_who_keep_us_waiting_are_given_to_others() {
    let limits = Limits { patience: Duration::from_millis(200), ..Limits::default() };
    let served = Served::new(CONFIG, limits);
    let mut silent = Vec::new();
    for said in ["", "GET /", "POST / HTTP/1.1\r\n"].into_iter().cycle().take(limits.places + 20) {
        let mut stream = served.connect().await;
        stream.write_all(said.as_bytes()).await.unwrap();
        silent.push(stream);
    }
    another_is_answered_soon(&served).await;
    // The first to come were the first to go; the last ones still have their place.
    let (after, _) = end_of(&mut silent[0]).await;
    assert!(after < SOON, "{after:?}");
    let last = silent.last_mut().unwrap();
    assert!(timeout(Duration::from_millis(50), last.read(&mut [0])).await.is_err(), "nobody wanted its place");
}

#[tokio::test]
async fn what_is_too_large_is_refused_in_words() {
    let served = Served::new(CONFIG, Limits::default());
    let start = "GET /livez HTTP/1.1\r\nHost: localhost\r\n";
    let headers = |count: usize| "X-A: x\r\n".repeat(count);
    for (what, request, status) in [
        ("a long header", format!("{start}X: {}\r\n\r\n", "x".repeat(17_000)), 431),
        ("a very long header", format!("{start}X: {}\r\n\r\n", "x".repeat(200_000)), 431),
        ("a header without an end", format!("{start}X: {}", "x".repeat(200_000)), 431),
        ("a long target", format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(70_000)), 431),
        ("100 headers", format!("{start}{}\r\n", headers(99)), 200),
        ("101 headers", format!("{start}{}\r\n", headers(100)), 431),
        ("a fitting header", format!("{start}X: {}\r\n\r\n", "x".repeat(15_000)), 200),
        ("a body", format!("{start}Content-Length: 5\r\n\r\nhello"), 413),
        ("a body to come", format!("{start}Content-Length: 5000000000\r\n\r\n"), 413),
        ("a body in pieces", format!("{start}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), 413),
        ("no body", format!("{start}Content-Length: 0\r\n\r\n"), 200),
        ("two lengths", format!("{start}Content-Length: 0\r\nContent-Length: 5\r\n\r\nhello"), 400),
        (
            "a length and pieces",
            format!("{start}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
            413,
        ),
    ] {
        let mut stream = served.connect().await;
        // Refused before all of it is sent, and the refusal arrives.
        let sent = stream.write_all(request.as_bytes()).await;
        let reply = Reply::read(&rest(&mut stream).await.unwrap_or_else(|error| panic!("{what}: {error} {sent:?}")));
        assert_eq!(reply.status, status, "{what}: {reply:?}");
        assert_eq!(reply.header("connection"), "close", "{what}");
        another_is_answered_soon(&served).await;
    }
}

#[tokio::test]
async fn nonsense_is_refused_or_closed() {
    let served = Served::new(CONFIG, short());
    let garbage: Vec<u8> = (0..4096_u32).map(|n| u8::try_from(n * 7919 % 251).unwrap()).collect();
    for (bytes, status) in [
        (&garbage[..], Some(400)),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello", Some(400)),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", None),
        (b"GET / HTTP/9.9\r\n\r\n", Some(400)),
        (b"GET /livez\r\n\r\n", Some(400)),
        (b"GET  /livez HTTP/1.1\r\n\r\n", Some(400)),
        (b"GET /livez HTTP/1.1\r\nHost : localhost\r\n\r\n", Some(400)),
        (b"GET /livez HTTP/1.1\r\nHost: localhost\r\n folded: x\r\n\r\n", Some(400)),
        (b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n", Some(400)),
        (b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n", Some(400)),
        (b"GET livez HTTP/1.1\r\nHost: localhost\r\n\r\n", Some(421)),
        (b"GET * HTTP/1.1\r\nHost: localhost\r\n\r\n", Some(404)),
        (b"CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\n\r\n", Some(421)),
        (b"CONNECT localhost:443 HTTP/1.1\r\nHost: localhost\r\n\r\n", Some(404)),
        (b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", Some(404)),
        (b"GET /readyz/..%2f..%2fstate HTTP/1.1\r\nHost: localhost\r\n\r\n", Some(404)),
        (b"GET /livez HTTP/1.1\nHost: localhost\n\n", Some(200)),
        (b"\r\n\r\nGET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", Some(200)),
        (b"GET /livez HTTP/1.1\r\nHost: localhost\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", Some(200)),
        (b"GET /livez HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\r\n", Some(200)),
    ] {
        let mut stream = served.connect().await;
        stream.write_all(bytes).await.unwrap();
        let read = rest(&mut stream).await.unwrap_or_default();
        let said = String::from_utf8_lossy(bytes);
        match status {
            Some(status) => assert_eq!(Reply::read(&read).status, status, "{said:?}"),
            None => assert!(!String::from_utf8_lossy(&read).contains("200"), "{said:?}: {read:?}"),
        }
        another_is_answered_soon(&served).await;
    }
}

#[tokio::test]
async fn a_connection_carries_one_request() {
    let served = Served::new(CONFIG, Limits::default());
    let one = "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n";
    let read = served.exchange(one.repeat(50).as_bytes()).await;
    let text = String::from_utf8(read).unwrap();
    assert_eq!((text.matches("HTTP/1.1 200").count(), text.matches("ok\n").count()), (1, 1), "{text}");
    assert!(text.contains("connection: close\r\n"), "{text}");

    let old = Reply::read(&served.exchange(b"GET /livez HTTP/1.0\r\n\r\n").await);
    assert_eq!((old.status, old.text()), (200, "ok\n"));
    let old = Reply::read(&served.exchange(b"GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await);
    assert_eq!((old.status, old.text()), (200, "ok\n"));
    let split = Reply::read(&{
        let mut stream = served.connect().await;
        for byte in b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n" {
            stream.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        rest(&mut stream).await.unwrap()
    });
    assert_eq!(split.text(), "ok\n");
}

#[tokio::test]
async fn half_a_close_still_gets_its_answer_and_a_whole_one_harms_nobody() {
    let served = Served::new(CONFIG, Limits::default());
    for _ in 0..200 {
        let mut stream = served.connect().await;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        drop(stream);
        served.connect().await.set_zero_linger().unwrap();
    }
    another_is_answered_soon(&served).await;
    assert!(!served.server.is_finished());
}

#[tokio::test]
async fn it_ends_when_it_is_told_to_with_connections_open() {
    let Served { _stop: stop, server, address, dir: _dir, .. } = Served::new(CONFIG, Limits::default());
    let mut silent = TcpStream::connect(address).await.unwrap();
    silent.write_all(b"GET /").await.unwrap();
    drop(stop);
    timeout(DEADLINE, server).await.unwrap().unwrap();
    assert_eq!(end_of(&mut silent).await.1, b"");
    TcpStream::connect(address).await.unwrap_err();
}
