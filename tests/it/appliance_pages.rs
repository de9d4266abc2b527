//! Pages over real TLS: compressed, with an API key, and through an Enterprise Manager.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use robocred::appliance::{Answer, ApiKey, Error, ExchangeError, List, Probe, ReadApi, RemoteId};

use crate::scripted::{AssetPages as _, Server, Tls, ask, json, reply, say};

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// A success of JSON whose body is sent as it stands here.
fn compressed(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn page(assets: usize) -> String {
    let nodes: Vec<String> =
        (0..assets).map(|n| format!(r#"{{"id":"device-{n}","name":"Pump {}","os":null}}"#, n * n)).collect();
    format!(
        r#"{{"data":{{"assets":{{"pageInfo":{{"endCursor":"YQ==","hasNextPage":true}},"totalCount":9,"nodes":[{}]}}}}}}"#,
        nodes.join(",")
    )
}

#[tokio::test]
async fn a_compressed_page_is_the_page() {
    let plain = page(5000);
    let wire = gzip(plain.as_bytes());
    let server = Server::answering(compressed(&wire)).await;
    let body = server.reads().graphql_page(&ask(List::Assets)).await.unwrap();
    assert_eq!((body.received(), body.size()), (wire.len() as u64, plain.len() as u64));
    assert_eq!(body.peek().unwrap().has_next, Some(true));
    let cut = body.cut_graphql(List::Assets).unwrap();
    assert_eq!((cut.len(), cut.total_count, cut.replaced), (5000, Some(9), 0));
    assert_eq!(cut.records().last().unwrap().id, "device-4999");
}

#[tokio::test]
async fn what_is_wrong_with_a_compressed_page() {
    let good = gzip(page(3).as_bytes());
    let check = async |body: Vec<u8>, expected: &str| {
        let server = Server::answering(compressed(&body)).await;
        let error = server.reads().assets_page(None, 1, false).await.unwrap_err();
        let found = match &error {
            Error::Truncated => "truncated",
            Error::Exchange(ExchangeError::NotGzip) => "not gzip",
            Error::Exchange(ExchangeError::Bomb { .. }) => "bomb",
            other => panic!("{other:?}"),
        };
        assert_eq!((found, error.is_transient()), (expected, expected == "truncated"));
    };
    check(good[..good.len() / 2].to_vec(), "truncated").await;
    check(Vec::new(), "truncated").await;
    check(page(3).into_bytes(), "not gzip").await;
    check([good.as_slice(), b"more"].concat(), "not gzip").await;
    check(gzip(&vec![b' '; 4 << 20]), "bomb").await;
    // Whole gzip of JSON that ends early is as short.
    check(gzip(&page(3).as_bytes()[..80]), "truncated").await;

    // No control call takes it.
    let server = Server::answering(compressed(&gzip(br#"{"Version":"3"}"#))).await;
    let error = server.reads().version().await.unwrap_err();
    assert!(matches!(error, Error::Exchange(ExchangeError::Encoded { .. })), "{error:?}");
}

#[tokio::test]
async fn hits_are_read_and_named() {
    let server = Server::answering(json(200, r#"[{"pluginId":7,"port":22,"protocol":"tcp"}]"#)).await;
    let asset: RemoteId = "a/b".parse().unwrap();
    let hits = server.reads().plugin_hits(&asset).await.unwrap().unwrap().cut_hits(&asset).unwrap();
    assert_eq!(hits.records().next().unwrap().id, "a/b:7:22:tcp");
    assert!(server.seen.requests()[0].starts_with("GET /v1/assets/a%2Fb/plugin_hits HTTP/1.1"));
}

const KEY: &str = "k3y-of-the-appliance";

fn with_key(server: &Server) -> ReadApi {
    server.reads().with_api_key(ApiKey::parse(KEY.as_bytes().to_vec().into()).unwrap())
}

#[tokio::test]
async fn an_api_key_is_one_header_and_nowhere_else() {
    let server = Server::answering(json(200, &page(1))).await;
    let api = with_key(&server);
    api.assets_page(None, 1, false).await.unwrap();
    let request = server.seen.requests().remove(0);
    let lines: Vec<&str> = request.lines().filter(|line| line.contains(KEY)).collect();
    assert_eq!(lines, [format!("x-apikeys: key={KEY}")]);
    assert!(!request.to_lowercase().contains("authorization"));
    assert!(!format!("{api:?}").contains(KEY));

    // A server that says it back.
    let echo = format!("no such key: {KEY}");
    let failed = format!(r#"{{"errors":[{{"message":"{echo}","extensions":{{"code":"{KEY}"}}}}]}}"#);
    let encoded = format!("HTTP/1.1 200 OK\r\nContent-Encoding: {KEY}\r\nContent-Length: 0\r\n\r\n");
    for raw in [reply(500, "text/plain", &echo), json(200, &failed), json(400, &failed), encoded] {
        let server = Server::answering(&raw).await;
        let error = with_key(&server).assets_page(None, 1, false).await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains(KEY), "{error:?}");
        let login = with_key(&server).log_in().await;
        assert!(!format!("{login:?}").contains(KEY), "{login:?}");
    }
}

const MACHINE: &str = "0f9a2c1e-1111-4222-8333-444455556666";

#[tokio::test]
async fn a_relay_is_asked_for_graphql_only() {
    let server = Server::answering(json(200, &page(1))).await;
    let api = server.reads().relayed_to(Some(MACHINE.parse().unwrap()));
    api.assets_page(None, 1, false).await.unwrap();
    assert!(matches!(api.log_in().await.answer, Answer::Accepted));
    for request in server.seen.requests() {
        assert!(request.starts_with(&format!("POST /{MACHINE}/graphql HTTP/1.1")), "{request}");
    }
    let (asked, asset) = (server.seen.count(), "a".parse().unwrap());
    for error in [api.rest_page(0, 1, false).await.unwrap_err(), api.plugin_hits(&asset).await.unwrap_err()] {
        assert!(matches!(&error, Error::Unsupported { what } if what.contains("Enterprise Manager")), "{error:?}");
    }
    for probe in [Probe::RestList, Probe::RestNil] {
        assert!(matches!(api.probe(probe).await.answer, Answer::Unclear(Error::Unsupported { .. })));
    }
    assert_eq!(server.seen.count(), asked);

    // An id that the manager does not know.
    for raw in [reply(200, "text/html", "<html>"), json(404, "{}"), "HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n".into()]
    {
        let server = Server::answering(&raw).await;
        let api = server.reads().relayed_to(Some(MACHINE.parse().unwrap()));
        let error = api.assets_page(None, 1, false).await.unwrap_err();
        assert!(matches!(&error, Error::NotRelayed { .. }) && !error.is_not_there(), "{error:?}");
        assert!(error.hint().unwrap().contains("`em`") && error.to_string().contains(MACHINE));
        let login = api.log_in().await;
        assert!(matches!(login.answer, Answer::Unclear(Error::NotRelayed { .. })), "{login:?}");
        assert_eq!(server.seen.count(), 2);
    }
}

#[tokio::test]
async fn the_appliances_behind_a_manager() {
    let pages = [
        format!(
            r#"{{"data":{{"emPairedIcps":{{"pageInfo":{{"endCursor":"c1","hasNextPage":true}},"nodes":[null,{{"site":null}},
                {{"status":"Con\u001bnected","site":{{"machineId":"{MACHINE}","name":"Plant 1","host":null}},"version":{{"version":"4.1"}}}},
                {{"site":{{"machineId":"../x","name":"no id"}}}}]}}}}}}"#
        ),
        r#"{"data":{"emPairedIcps":{"pageInfo":null,"edges":[{"node":{"site":{"machineId":"m-2"}}},{"node":null}]}}}"#
            .to_owned(),
    ];
    let server = Server::start(Tls::default(), move |mut peer, seen| {
        let pages = pages.clone();
        async move {
            while let Some(request) = seen.read(&mut peer).await {
                let page = &pages[usize::from(request.contains("\"after\":\"c1\""))];
                say(&mut peer, json(200, page).as_bytes()).await;
            }
        }
    })
    .await;
    let icps = server.reads().relayed_to(Some(MACHINE.parse().unwrap())).paired_icps().await.unwrap();
    let found: Vec<_> =
        icps.iter().map(|icp| (icp.machine_id.as_str(), icp.name.as_deref(), icp.status.as_deref())).collect();
    assert_eq!(found, [(MACHINE, Some("Plant 1"), Some("Con nected")), ("m-2", None, None)]);
    assert_eq!((icps[0].version.as_deref(), icps[0].host.as_deref()), (Some("4.1"), None));
    assert!(server.seen.requests().iter().all(|request| request.starts_with("POST /graphql HTTP/1.1")));
    assert_eq!(server.seen.count(), 2);

    // A cursor that comes back ends the list; one that never ends is an error.
    let round = r#"{"data":{"emPairedIcps":{"pageInfo":{"endCursor":"c"},"nodes":[]}}}"#;
    assert_eq!(Server::answering(json(200, round)).await.reads().paired_icps().await.unwrap(), []);
    let not_one = r#"{"errors":[{"message":"m","extensions":{"code":"GRAPHQL_VALIDATION_FAILED"}}]}"#;
    let error = Server::answering(json(400, not_one)).await.reads().paired_icps().await.unwrap_err();
    assert!(matches!(&error, Error::Unsupported { what } if what.contains("Enterprise Manager")), "{error:?}");
}
