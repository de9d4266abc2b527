//! What each reply to a changing call means, and connecting, over real TLS.

use std::time::Duration;

use http::StatusCode;
use robocred::{
    appliance::{
        Authority, ConnectError, Difference, Listing, NewRobot, NotDone, Outcome, Phase, RemoteId, Removal, Reply,
        RobotsApi, UnknownReason, connect, differences,
    },
    credential::RegisteredName,
    site::{Proxy, Role},
    x509::certificate_to_pem,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::scripted::{Identity, Server, TOKEN, Tls, json, patient, reply, target, token};

fn robot1() -> RegisteredName {
    "robot1".parse().unwrap()
}

async fn register(api: &RobotsApi, identity: &Identity) -> Outcome {
    let name = robot1();
    let robot = NewRobot { name: &name, role: Role::Reader, certificate: &identity.certificate };
    api.register(Authority::Token(&token()), &robot).await
}

/// One word for each class of outcome.
fn class(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Answered(_) => "answered",
        Outcome::Unknown(UnknownReason::Lost(_)) => "unknown: lost",
        Outcome::Unknown(UnknownReason::Status { .. }) => "unknown: status",
        Outcome::Unknown(UnknownReason::Html { .. }) => "unknown: html",
        Outcome::Unknown(UnknownReason::Unreadable { .. }) => "unknown: unreadable",
        Outcome::NotDone(why) if !why.sent() => "not done: nothing sent",
        Outcome::NotDone(NotDone::TokenRefused { .. }) => "not done: token",
        Outcome::NotDone(NotDone::NameTaken { .. }) => "not done: name",
        Outcome::NotDone(NotDone::Unsupported { .. }) => "not done: unsupported",
        Outcome::NotDone(NotDone::Redirect { .. }) => "not done: redirect",
        Outcome::NotDone(NotDone::Busy { .. }) => "not done: busy",
        Outcome::NotDone(NotDone::Rejected { .. }) => "not done: rejected",
        other => panic!("no class for {other:?}"),
    }
}

#[tokio::test]
async fn the_status_decides_whatever_the_body() {
    let identity = Identity::new();
    let mut cases = vec![
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned(), "answered"),
        ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), "answered"),
        ("HTTP/1.1 201 Created\r\n\r\nno length, ended by the close".to_owned(), "answered"),
        (json(201, r#"{"id":7,"name":"robot1"}"#), "answered"),
        (json(200, r#""4711""#), "answered"),
        (json(200, "null"), "answered"),
        (reply(200, "text/plain", "robot created"), "answered"),
        (reply(200, "text/html", "<html>log in</html>"), "unknown: html"),
        (reply(200, "application/json", "  <!doctype html>"), "unknown: html"),
        (json(201, r#"{"id":7"#), "unknown: unreadable"),
        (json(201, r#"{"id":{}}"#), "unknown: unreadable"),
        (json(201, r#"{"id":1,"id":2}"#), "unknown: unreadable"),
        (json(201, r#"{"name":"a","name":"a"}"#), "unknown: unreadable"),
        (json(201, "created"), "unknown: unreadable"),
        (json(409, "{}"), "not done: name"),
        (json(429, "{}"), "not done: busy"),
    ];
    for status in [300, 301, 302, 303, 304, 307, 308] {
        cases.push((
            format!("HTTP/1.1 {status} X\r\nLocation: https://elsewhere.example/\r\n\r\n"),
            "not done: redirect",
        ));
    }
    for (statuses, class) in [
        ([401, 403].as_slice(), "not done: token"),
        (&[404, 405, 410], "not done: unsupported"),
        (&[400, 413, 415, 422], "not done: rejected"),
        (&[402, 406, 408, 418, 451, 500, 501, 502, 503, 504], "unknown: status"),
    ] {
        for status in statuses {
            cases.push((json(*status, r#"{"id":7,"name":"robot1"}"#), class));
            // Neither a promise that is not kept nor a strange encoding changes a status.
            cases.push((format!("HTTP/1.1 {status} X\r\nContent-Length: 99\r\n\r\ncut"), class));
            cases.push((format!("HTTP/1.1 {status} X\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\nx"), class));
        }
    }
    for (raw, expected) in cases {
        let server = Server::answering(&raw).await;
        let outcome = register(&server.robots(), &identity).await;
        assert_eq!(class(&outcome), expected, "{raw:?} gave {outcome:?}");
        assert_eq!((server.connections(), server.seen.holding(TOKEN)), (1, 1), "{raw:?}");
        let ends = matches!(&outcome, Outcome::NotDone(why) if why.ends_token());
        assert_eq!(ends, expected == "not done: token", "{raw:?}");
    }
}

#[tokio::test]
async fn the_request_is_exactly_the_documented_one() {
    let identity = Identity::new();
    let server = Server::answering(json(201, "{}")).await;
    register(&server.robots(), &identity).await;
    let request = server.seen.requests().remove(0);
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let mut lines: Vec<String> = head.lines().map(str::to_ascii_lowercase).collect();
    lines.sort();
    let pem = certificate_to_pem(&identity.certificate).replace('\n', "\\n");
    assert_eq!(body, format!(r#"{{"name":"robot1","role":"ReaderRole","cert":"{pem}"}}"#));
    assert_eq!(
        lines,
        [
            "accept: application/json".to_owned(),
            format!("authorization: bearer {TOKEN}"),
            format!("content-length: {}", body.len()),
            "content-type: application/json".to_owned(),
            format!("host: 127.0.0.1:{}", server.port),
            "post /v1/robots http/1.1".to_owned(),
            format!("user-agent: robocred/{}", env!("CARGO_PKG_VERSION")),
        ]
    );
}

#[tokio::test]
async fn what_a_reply_says_is_kept_and_compared() {
    let (sent, other) = (Identity::new(), Identity::new());
    let name = robot1();
    let robot = NewRobot { name: &name, role: Role::Reader, certificate: &sent.certificate };
    let echo = |name: &str, role: &str, identity: &Identity| {
        let cert = certificate_to_pem(&identity.certificate).replace('\n', "\\n");
        json(201, &format!(r#"{{"id":17,"name":"{name}","role":"{role}","cert":"{cert}","more":[1]}}"#))
    };
    let answered = |raw: String| async move {
        let server = Server::answering(raw).await;
        match server.robots().register(Authority::Token(&token()), &robot).await {
            Outcome::Answered(reply) => reply,
            other => panic!("{other:?}"),
        }
    };
    let same = answered(echo("robot1", "ReaderRole", &sent)).await;
    assert_eq!(same.remote_id.as_ref().map(RemoteId::as_str), Some("17"));
    assert_eq!(same.fingerprint, Some(sent.certificate.fingerprint()));
    assert_eq!(differences(&robot, &same), []);

    let differing = answered(echo("robot2", "AdminRole", &other)).await;
    let found = differences(&robot, &differing);
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(found.iter().filter(|difference| matches!(difference, Difference::Certificate { .. })).count(), 1);
    assert!(
        matches!(&found[2], Difference::Certificate { replied, .. } if *replied == other.certificate.fingerprint())
    );

    let silent = Reply { status: StatusCode::OK, remote_id: None, name: None, role: None, fingerprint: None };
    assert_eq!(differences(&robot, &silent), []);
}

#[tokio::test]
async fn an_error_body_is_shown_short_clean_and_without_the_token() {
    let identity = Identity::new();
    let body = format!("{{\"error\":\"bad \u{1b}[31mtoken Bearer {TOKEN} {}\"}}", "y".repeat(2000));
    let server = Server::answering(json(401, &body)).await;
    let outcome = register(&server.robots(), &identity).await;
    let Outcome::NotDone(why) = outcome else { panic!("{outcome:?}") };
    let said = why.to_string();
    assert!(said.contains("[token]") && !said.contains(TOKEN) && !said.contains('\u{1b}'), "{said}");
    assert!(said.chars().count() < 340, "{said}");
    assert!(!format!("{why:?}").contains(TOKEN));
}

#[tokio::test]
async fn a_lost_answer_is_unknown_and_was_sent() {
    let identity = Identity::new();
    for reply in
        ["", "HTTP/1.1 20", "HTTP/1.1 201 Created\r\nContent-Type: app", "HTTP/1.1 201 X\r\nContent-Length: 9\r\n\r\n{"]
    {
        let server = Server::answering(reply).await;
        let outcome = register(&server.robots(), &identity).await;
        assert_eq!(class(&outcome), "unknown: lost", "{reply:?}");
        assert_eq!(server.seen.holding(TOKEN), 1, "{reply:?}");
    }
}

#[tokio::test]
async fn a_refused_connection_sends_nothing() {
    let identity = Identity::new();
    let port = {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
        gone.local_addr().unwrap().port()
    };
    let server = Server::answering(json(201, "{}")).await;
    let api = RobotsApi::new(target(port), server.trusted(None), patient());
    let outcome = register(&api, &identity).await;
    let Outcome::NotDone(NotDone::Connect(why)) = &outcome else { panic!("{outcome:?}") };
    assert_eq!(why.phase(), Phase::Connect);
    assert!(why.hint().is_some());
}

#[tokio::test]
async fn a_cut_at_any_point_tells_whether_anything_was_sent() {
    let identity = Identity::new();
    let server = Server::answering("").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let cut = tokio::spawn(async move { drop(listener.accept().await) });
    let outcome = register(&RobotsApi::new(target(port), server.trusted(None), patient()), &identity).await;
    assert!(
        matches!(&outcome, Outcome::NotDone(NotDone::Connect(ConnectError::TlsCut { .. }))) && !outcome.sent(),
        "in the handshake: {outcome:?}"
    );
    cut.await.unwrap();

    for bytes in [1, 40, 200] {
        let server = Server::start(Tls::default(), move |mut peer, _| async move {
            let mut some = vec![0; bytes];
            let _ = peer.read_exact(&mut some).await;
            // Gone with the rest unread.
        })
        .await;
        let outcome = register(&server.robots(), &identity).await;
        assert_eq!(class(&outcome), "unknown: lost", "after {bytes} bytes");
        assert!(outcome.sent());
        assert_eq!(server.connections(), 1);
    }
}

#[tokio::test]
async fn an_untrusted_server_gets_no_byte_and_the_reason_can_be_found() {
    let identity = Identity::new();
    let server = Server::answering(json(201, "{}")).await;
    let stranger = Server::answering("").await;
    let api = RobotsApi::new(server.target(), stranger.trusted(None), patient());
    let outcome = register(&api, &identity).await;
    let Outcome::NotDone(NotDone::Connect(why)) = &outcome else { panic!("{outcome:?}") };
    assert_eq!(why.phase(), Phase::Tls);
    assert!(matches!(why.tls(), Some(rustls::Error::InvalidCertificate(_))), "{why:?}");
    let source = std::error::Error::source(why).unwrap();
    assert!(source.downcast_ref::<rustls::Error>().is_some(), "not in the chain: {source:?}");
    assert_eq!(server.seen.count(), 0);
}

#[tokio::test]
async fn a_connection_tells_its_phases_its_peer_and_its_version() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let server = Server::start(Tls { version: Some(version), registered: None }, |_, _| async {}).await;
        let connection = connect(&server.target(), &server.trusted(None), &patient()).await.unwrap();
        assert_eq!(connection.tls_version(), Some(version.version));
        assert_eq!(connection.certificates().len(), 1);
        assert!(connection.phases().tls > Duration::ZERO && connection.phases().proxy.is_none());
        assert_eq!(server.seen.count(), 0, "no HTTP before a request");
    }
}

/// A proxy that opens a tunnel to whatever is asked for, or says `status`.
async fn proxy(status: &'static str) -> (Proxy, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            asked.push(client.read_u8().await.unwrap());
        }
        let asked = String::from_utf8(asked).unwrap();
        client.write_all(format!("HTTP/1.1 {status}\r\nVia: test\r\n\r\n").as_bytes()).await.unwrap();
        if status.starts_with("200") {
            let to = asked.split(' ').nth(1).unwrap();
            let mut appliance = tokio::net::TcpStream::connect(to).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut client, &mut appliance).await;
        }
        asked
    });
    (Proxy { host: "127.0.0.1".into(), port, token: false }, task)
}

#[tokio::test]
async fn through_a_proxy_the_token_goes_only_if_it_may() {
    let identity = Identity::new();
    let server = Server::answering(json(201, "{}")).await;
    let (mut through, task) = proxy("200 OK").await;
    let mut target = server.target();
    target.proxy = Some(through.clone());
    let api = RobotsApi::new(target.clone(), server.trusted(None), patient());
    let outcome = register(&api, &identity).await;
    assert!(matches!(outcome, Outcome::NotDone(NotDone::ProxyNotAllowed)), "{outcome:?}");
    assert!(!outcome.sent());
    let listing = api.list(Authority::Token(&token())).await;
    assert!(matches!(listing, Listing::NotDone(NotDone::ProxyNotAllowed)), "{listing:?}");
    assert_eq!(server.connections(), 0);

    through.token = true;
    target.proxy = Some(through);
    let api = RobotsApi::new(target, server.trusted(None), patient());
    assert_eq!(class(&register(&api, &identity).await), "answered");
    let asked = task.await.unwrap();
    assert_eq!(asked.lines().next(), Some(format!("CONNECT 127.0.0.1:{} HTTP/1.1", server.port).as_str()));
    assert!(!asked.contains(TOKEN), "the proxy saw the token");
}

#[tokio::test]
async fn a_proxy_that_says_no() {
    let server = Server::answering("").await;
    for (says, shown) in [("407 Proxy Authentication Required", 407), ("503 X", 503)] {
        let (through, _task) = proxy(says).await;
        let mut target = server.target();
        target.proxy = Some(through);
        match connect(&target, &server.trusted(None), &patient()).await {
            Err(ConnectError::Proxy { status, .. }) => assert_eq!(status.as_u16(), shown),
            other => panic!("{says}: {other:?}"),
        }
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn lists_and_removals() {
    let identity = Identity::new();
    let cert = certificate_to_pem(&identity.certificate).replace('\n', "\\n");
    let two = format!(r#"[{{"id":"a/1","name":"x","role":"AdminRole","cert":"{cert}"}},{{"name":"y"}}]"#);
    for body in [two.clone(), format!(r#"{{"robots":{two}}}"#)] {
        let server = Server::answering(json(200, &body)).await;
        let Listing::Robots(robots) = server.robots().list(Authority::Token(&token())).await else { panic!("{body}") };
        assert_eq!(robots.len(), 2);
        assert_eq!(robots[0].fingerprint, Some(identity.certificate.fingerprint()));
        assert_eq!((robots[1].name.as_str(), &robots[1].id), ("y", &None));
        assert!(server.seen.requests()[0].starts_with("GET /v1/robots HTTP/1.1"));
    }
    let list = async |raw: String| {
        let server = Server::answering(raw).await;
        server.robots().list(Authority::Certificate).await
    };
    assert!(matches!(list(json(200, "null")).await, Listing::Robots(robots) if robots.is_empty()));
    for raw in [json(404, "{}"), json(405, ""), json(501, ""), reply(200, "text/html", "<html>")] {
        assert!(matches!(list(raw.clone()).await, Listing::Unsupported), "{raw}");
    }
    for raw in [json(401, "{}"), json(403, "")] {
        assert!(matches!(list(raw.clone()).await, Listing::Refused(_)), "{raw}");
    }
    for raw in [json(200, "{}"), json(200, r#"[{"id":1}]"#), json(500, ""), String::new()] {
        assert!(matches!(list(raw.clone()).await, Listing::Failed(_)), "{raw}");
    }

    let remove = async |raw: String| {
        let server = Server::answering(raw).await;
        let removal = server.robots().remove(Authority::Certificate, &"a/1".parse().unwrap()).await;
        assert!(server.seen.requests()[0].starts_with("DELETE /v1/robots/a%2F1 HTTP/1.1"));
        assert_eq!(server.seen.holding("authorization"), 0);
        removal
    };
    assert!(matches!(remove(json(204, "")).await, Removal::Removed));
    assert!(matches!(remove(json(404, "{}")).await, Removal::Unsupported));
    assert!(matches!(remove(reply(200, "text/html", "<html>")).await, Removal::Unsupported));
    assert!(matches!(remove(json(403, "")).await, Removal::NotDone(NotDone::CertificateRefused { .. })));
    assert!(matches!(remove(json(500, "")).await, Removal::Unknown(_)));
    assert!(matches!(remove(String::new()).await, Removal::Unknown(UnknownReason::Lost(_))));
}

#[tokio::test]
async fn a_name_that_cannot_be_resolved() {
    let server = Server::answering("").await;
    let mut target = server.target();
    // Longer than a label may be: refused by the resolver without asking anybody.
    target.endpoint = format!("https://{}.invalid", "a".repeat(64)).parse().unwrap();
    let error = connect(&target, &server.trusted(None), &patient()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Resolve { .. }), "{error:?}");
    assert_eq!(error.phase(), Phase::Resolve);
}
