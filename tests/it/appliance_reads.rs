//! Reads over real TLS: whether a certificate is let in, and pages.

use std::time::Duration;

use robocred::{
    appliance::{Answer, Authority, Error, NewRobot, NotDone, Outcome, Probe, ReadApi, Refusal, RobotsApi, connect},
    site::Role,
};

use crate::scripted::{AssetPages as _, Identity, Server, Tls, json, patient, reply, say};

#[tokio::test]
async fn a_certificate_refused_by_tls_is_refused_in_both_versions() {
    let (registered, stranger) = (Identity::new(), Identity::new());
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let tls = Tls { version: Some(version), registered: Some(&registered.certificate) };
        let server = Server::start(tls, |mut peer, seen| async move {
            if seen.read(&mut peer).await.is_some() {
                say(&mut peer, json(200, r#"{"data":{"assets":{"nodes":[]}}}"#).as_bytes()).await;
            }
        })
        .await;
        for (identity, accepted) in [(Some(&registered), true), (Some(&stranger), false), (None, false)] {
            let api = ReadApi::new(server.target(), server.trusted(identity), patient());
            let login = api.log_in().await;
            match login.answer {
                Answer::Accepted => assert!(accepted, "{version:?}"),
                // TLS 1.2 has no alert for a missing certificate but a general one.
                Answer::Unclear(Error::Connect(_)) => assert!(identity.is_none()),
                Answer::Refused(Refusal::Alert(_)) => assert!(!accepted, "{version:?}"),
                other => panic!("{version:?}: {other:?}"),
            }
            assert_eq!(login.probe, Probe::Graphql);
        }
        assert_eq!(server.seen.count(), 1, "{version:?}: only the registered one was heard");

        let api = RobotsApi::new(server.target(), server.trusted(Some(&stranger)), patient());
        let name = "robot1".parse().unwrap();
        let robot = NewRobot { name: &name, role: Role::Reader, certificate: &stranger.certificate };
        let outcome = api.register(Authority::Certificate, &robot).await;
        let late = version.version == rustls::ProtocolVersion::TLSv1_3;
        match outcome {
            Outcome::NotDone(NotDone::CertificateRefused { sent, .. }) => assert!(late || !sent, "{version:?}"),
            other => panic!("{version:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_refusal_that_lies_ready_before_the_request_is_read() {
    let (registered, stranger) = (Identity::new(), Identity::new());
    let tls = Tls { version: Some(&rustls::version::TLS13), registered: Some(&registered.certificate) };
    let server = Server::start(tls, |_, _| async {}).await;
    let config = server.trusted(Some(&stranger));
    let connection = connect(&server.target(), &config, &patient()).await.unwrap();
    server.one_ended().await;
    let api = ReadApi::new(server.target(), config, patient());
    let login = api.probe_on(connection, Probe::Graphql).await;
    assert!(matches!(login.answer, Answer::Refused(Refusal::Alert(_))), "{login:?}");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn what_each_probe_takes_for_an_answer() {
    let html = |status| reply(status, "text/html", "<html><center>400 No required SSL certificate was sent</center>");
    let found = r#"{"data":{"assets":{"nodes":[{"id":"1"}]}}}"#;
    let denied = r#"{"errors":[{"message":"no","extensions":{"code":"UNAUTHENTICATED"}}],"data":null}"#;
    let broken = r#"{"errors":[{"message":"boom","extensions":{"code":"INTERNAL_SERVER_ERROR"}}],"data":null}"#;
    let cases = [
        (Probe::Graphql, json(200, found), "accepted"),
        (Probe::Graphql, json(200, denied), "refused"),
        (Probe::Graphql, json(400, denied), "refused"),
        (Probe::Graphql, json(200, r#"{"error":{"errors":[{"extensions":{"code":401}}]}}"#), "refused"),
        (Probe::Graphql, json(200, broken), "unclear"),
        (Probe::Graphql, json(200, r#"{"data":null}"#), "unclear"),
        (Probe::Graphql, json(200, r#"{"data":{"assets":null}}"#), "unclear"),
        (Probe::Graphql, json(404, "{}"), "unclear"),
        (Probe::Graphql, html(400), "refused"),
        (Probe::Graphql, html(200), "refused"),
        (Probe::Graphql, html(404), "unclear"),
        (Probe::Graphql, "HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n".into(), "refused"),
        (Probe::Graphql, json(400, "{}"), "unclear"),
        (Probe::RestList, json(200, "[]"), "accepted"),
        (Probe::RestList, json(200, "null"), "accepted"),
        (Probe::RestList, json(200, "{}"), "unclear"),
        (Probe::RestList, json(401, "[]"), "refused"),
        (Probe::RestList, html(200), "refused"),
        (Probe::RestList, json(500, ""), "unclear"),
        (Probe::RestNil, json(404, r#"{"error":"no such asset"}"#), "accepted"),
        (Probe::RestNil, json(200, "{}"), "accepted"),
        (Probe::RestNil, reply(404, "text/plain", "404 page not found"), "unclear"),
        (Probe::RestNil, html(404), "unclear"),
        (Probe::RestNil, json(403, "{}"), "refused"),
        (Probe::RestNil, html(400), "refused"),
        (Probe::RestNil, String::new(), "unclear"),
    ];
    for (probe, raw, expected) in cases {
        let server = Server::answering(&raw).await;
        let login = server.reads().probe(probe).await;
        let found = match login.answer {
            Answer::Accepted => "accepted",
            Answer::Refused(_) => "refused",
            Answer::Unclear(_) => "unclear",
        };
        assert_eq!(found, expected, "{probe:?} {raw:?}: {:?}", login.answer);
        assert_eq!(login.server_time.is_some(), raw.contains("Date:"), "{raw:?}");
        assert_eq!(server.seen.count(), 1);
    }
}

#[tokio::test]
async fn logging_in_asks_on_until_it_knows() {
    let (none, page, denied, found) =
        (json(404, ""), reply(200, "text/html", "<html>"), json(401, "{}"), json(200, "[]"));
    let broken = json(500, "");
    // What GraphQL, the REST listing and the missing asset answer; which decides, and how many are asked.
    let cases = [
        ([&denied, &found, &none], Probe::RestList, "accepted", 2),
        ([&none, &none, &json(404, "{}")], Probe::RestNil, "accepted", 3),
        ([&denied, &none, &none], Probe::Graphql, "refused", 3),
        ([&page, &denied, &none], Probe::RestList, "refused", 3),
        ([&page, &none, &none], Probe::Graphql, "refused", 3),
        ([&page, &broken, &none], Probe::RestList, "unclear", 3),
        ([&none, &page, &page], Probe::RestList, "refused", 3),
        ([&json(503, ""), &found, &none], Probe::Graphql, "unclear", 1),
        ([&String::new(), &found, &none], Probe::Graphql, "unclear", 1),
    ];
    for (replies, probe, expected, asked) in cases {
        let [graphql, list, nil] = replies.map(String::clone);
        let server = Server::start(Tls::default(), move |mut peer, seen| {
            let (graphql, list, nil) = (graphql.clone(), list.clone(), nil.clone());
            async move {
                let request = seen.read(&mut peer).await.unwrap_or_default();
                let raw = match request.split(' ').nth(1) {
                    Some("/graphql") => graphql,
                    Some("/v1/assets") => list,
                    _ => nil,
                };
                say(&mut peer, raw.as_bytes()).await;
            }
        })
        .await;
        let login = server.reads().log_in().await;
        let found = match login.answer {
            Answer::Accepted => "accepted",
            Answer::Refused(_) => "refused",
            Answer::Unclear(_) => "unclear",
        };
        assert_eq!((login.probe, found, server.seen.count()), (probe, expected, asked), "{replies:?}: {login:?}");
    }
}

#[tokio::test]
async fn pages_share_a_connection_and_survive_its_end() {
    let server = Server::start(Tls::default(), |mut peer, seen| async move {
        // Two requests a connection, then it is gone without a word.
        for _ in 0..2 {
            if seen.read(&mut peer).await.is_some() {
                say(&mut peer, json(200, r#"{"data":{"assets":{"nodes":[{"id":"a"}]}}}"#).as_bytes()).await;
            }
        }
    })
    .await;
    let api = server.reads();
    for _ in 0..5 {
        assert_eq!(api.assets_page(None, 1, false).await.unwrap().records().next().unwrap().id, "a");
    }
    assert_eq!((server.seen.count(), server.connections()), (5, 3));
}

#[tokio::test]
async fn what_a_page_asks_for_and_gives() {
    let body = r#"{"data":{"assets":{"pageInfo":{"endCursor":"YQ==","hasNextPage":true},"totalCount":3,
        "nodes":[{"id":"a","odd":"\u0041"},{"id":5}]}}}"#;
    let server = Server::answering(json(200, body)).await;
    let page = server.reads().assets_page(None, 2, false).await.unwrap();
    assert_eq!(page.records().next().unwrap().json, r#"{"id":"a","odd":"\u0041"}"#);
    assert_eq!(page.records().nth(1).unwrap().id, "5");
    assert_eq!((page.has_next, page.total_count), (Some(true), Some(3)));
    server.reads().assets_page(page.end_cursor.as_ref(), 2, true).await.unwrap();
    let variables: Vec<serde_json::Value> = server
        .seen
        .requests()
        .iter()
        .map(|request| {
            let body: serde_json::Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
            body["variables"].clone()
        })
        .collect();
    let sort = serde_json::json!([{"field":"id","direction":"DescNullLast"}]);
    let filter = serde_json::json!({"field":"hidden","op":"Equal","values":"false"});
    assert_eq!(variables[0], serde_json::json!({"first":2,"filter":filter,"sort":sort}));
    assert_eq!(variables[1], serde_json::json!({"first":2,"after":"YQ==","sort":sort}));
    assert!(server.seen.requests().iter().all(|request| request.contains("\r\naccept-encoding: gzip\r\n")));

    let server = Server::answering(json(200, r#"[{"id":"r"}]"#)).await;
    let page = server.reads().rest_assets_page(4, 2, false).await.unwrap();
    assert_eq!((page.len(), page.total_count, page.has_next), (1, None, None));
    let request = server.seen.requests().remove(0);
    assert!(request.starts_with("POST /v1/assets HTTP/1.1"));
    assert!(request.contains(r#""offset":4,"limit":2"#), "{request}");
}

#[tokio::test]
async fn graphql_errors_are_never_empty_data() {
    let partial = r#"{"data":{"assets":{"nodes":[]}},"errors":[{"message":"m\u001b","path":["assets",0],
        "extensions":{"code":"INTERNAL_SERVER_ERROR"}},{"message":"m2"}]}"#;
    for (raw, codes) in [
        (json(200, partial), vec!["INTERNAL_SERVER_ERROR"]),
        (
            json(400, r#"{"error":{"errors":[{"message":"x","extensions":{"code":"BAD_USER_INPUT"}}]}}"#),
            vec!["BAD_USER_INPUT"],
        ),
        (json(200, r#"{"errors":[{}],"data":null}"#), vec![]),
    ] {
        let server = Server::answering(&raw).await;
        match server.reads().assets_page(None, 1, false).await {
            Err(Error::Graphql { codes: found, message }) => {
                assert_eq!(found, codes, "{raw}");
                assert!(!message.contains('\u{1b}'));
            }
            other => panic!("{raw}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn json_that_ends_early_is_worth_another_try() {
    let server = Server::answering(json(200, r#"{"data":{"assets":{"nodes":[{"id":"a"#)).await;
    let error = server.reads().assets_page(None, 1, false).await.unwrap_err();
    assert!(matches!(error, Error::Truncated) && error.is_transient(), "{error:?}");
}

#[tokio::test]
async fn version_and_clock() {
    let server = Server::answering(json(200, r#"{"Module":"Cobex","Version":"3.7.0"}"#)).await;
    let version = server.reads().version().await.unwrap();
    assert_eq!(version.version, "3.7.0");
    assert_eq!(version.server_time, Some(time::macros::datetime!(2023-01-19 6:37:29 UTC)));
    let request = server.seen.requests().remove(0);
    assert!(request.starts_with("GET /v1/version HTTP/1.1") && !request.contains("accept-encoding"), "{request}");
}

#[tokio::test]
async fn a_busy_appliance_says_when_within_reason() {
    for (after, expected) in
        [("7", Some(7)), ("315360000", Some(3600)), ("-1", None), ("Thu, 19 Jan 2023 06:37:59 GMT", Some(30))]
    {
        let raw = format!(
            "HTTP/1.1 429 X\r\nDate: Thu, 19 Jan 2023 06:37:29 GMT\r\nRetry-After: {after}\r\nContent-Length: 0\r\n\r\n"
        );
        let server = Server::answering(&raw).await;
        let error = server.reads().version().await.unwrap_err();
        assert!(error.is_transient());
        assert_eq!(error.retry_after(), expected.map(Duration::from_secs), "{after}");
    }
}
