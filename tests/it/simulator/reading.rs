//! What readers may meet: every behaviour of reading, seen once.

use super::client::{Ask, KEY, Pair, ROBOTS, VERSION, read, simulator, walk};
use flate2::read::GzDecoder;
use http_body_util::BodyExt as _;
use robocred::{
    simulator::{
        AssetShape, Behaviours, Hits, ListShape, MACHINE_ID, Options, Order, Release, RobotsEndpoint, RowsMove,
        Simulator, SlowAnswer, SlowPages, Throttle, start,
    },
    x509::KeyAlgorithm,
};
use serde_json::{Value as Json, json};
use std::{collections::BTreeSet, io::Read as _, time::Duration};

const DESCENDING: &str = "sort:[{field:id direction:DescNullLast}]";

async fn behave(change: impl FnOnce(&mut Behaviours)) -> Simulator {
    let mut behaviours = Behaviours::default();
    change(&mut behaviours);
    simulator(behaviours).await
}

/// The reply as bytes, decompressed where it was compressed, and whether it was.
async fn bytes(ask: &Ask<'_>, method: &str, path: &str, body: String) -> (Vec<u8>, bool, http::HeaderMap) {
    let mut sender = ask.connect().await.unwrap();
    let mut request = ask.request(method, path, body);
    request.headers_mut().insert("accept-encoding", "gzip, deflate".parse().unwrap());
    let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    assert_eq!(parts.headers["content-length"].to_str().unwrap(), body.len().to_string());
    let packed = parts.headers.contains_key("content-encoding");
    let mut text = Vec::new();
    if packed {
        GzDecoder::new(&body[..]).read_to_end(&mut text).unwrap();
    } else {
        text.extend_from_slice(&body);
    }
    (text, packed, parts.headers)
}

#[tokio::test]
async fn large_replies_are_packed_for_those_who_take_it() {
    let query = json!({"query": "{assets(first:50){nodes{id name details}}}"}).to_string();
    let listing = json!({"limit": 50}).to_string();
    for no_gzip in [false, true] {
        let simulator = behave(|it| it.no_gzip = no_gzip).await;
        let ask = Ask::with_key(&simulator);
        for (method, path, body) in [("POST", "/graphql", &query), ("POST", "/v1/assets", &listing)] {
            let plain = ask.send(method, path, body.clone()).await.unwrap();
            assert!(!plain.headers.contains_key("content-encoding"));
            // The second time it is the one that was kept.
            for _ in 0..2 {
                let (text, packed, headers) = bytes(&ask, method, path, body.clone()).await;
                assert_eq!((String::from_utf8(text).unwrap(), packed), (plain.body.clone(), !no_gzip), "{path}");
                assert_eq!(headers["etag"], plain.headers["etag"]);
                assert_eq!(headers["vary"], "Accept-Encoding");
            }
        }
        assert!(!bytes(&ask, "GET", VERSION, String::new()).await.1, "a small one is not worth it");
    }
}

#[tokio::test]
async fn every_reply_says_how_long_it_took() {
    let simulator = behave(|_| ()).await;
    let reply = Ask::with_key(&simulator).get(VERSION).await;
    let said = reply.headers["server-timing"].to_str().unwrap().strip_prefix("total;dur=").unwrap();
    let said: f64 = said.parse().unwrap();
    assert!(said > 0.0 && said <= simulator.busy().as_secs_f64() * 1_000.0 + 0.001, "{said} {:?}", simulator.busy());
}

#[tokio::test]
async fn releases_have_the_fields_they_say() {
    let wide = "{assets(first:1){nodes{id lifecycleStatus directIps{nodes} risk{pluginCount}}}}";
    let narrow = "{assets(first:1){nodes{id name risk{totalRisk} ips{nodes} customField1}}}";
    let findings = "{findings(first:1){nodes{id}}}";
    let paired = "{emPairedIcps{nodes{site{machineId}}}}";
    let expected = [
        (Release::Older, [false, true, false, false]),
        (Release::Usual, [true, true, false, false]),
        (Release::Newer, [true, true, true, false]),
    ];
    for (release, valid) in expected {
        let simulator = behave(|it| it.release = release).await;
        let ask = Ask::with_key(&simulator);
        for (query, valid) in [wide, narrow, findings, paired].into_iter().zip(valid) {
            let reply = ask.graphql(query).await;
            let code = &reply["errors"][0]["extensions"]["code"];
            assert_eq!(
                *code,
                if valid { Json::Null } else { json!("GRAPHQL_VALIDATION_FAILED") },
                "{release:?} {query}"
            );
        }
    }
}

#[tokio::test]
async fn findings_are_the_same_hits_by_both_interfaces() {
    let simulator = behave(|it| it.release = Release::Newer).await;
    let ask = Ask::with_key(&simulator);
    let query = "{findings(first:1000 sort:[{field:id direction:DescNullLast}])
                 {totalCount nodes{id status lastHit port protocol output asset{id} plugin{id severity}}}}";
    let found = ask.graphql(query).await["data"]["findings"].take();
    let found_nodes = found["nodes"].as_array().unwrap();
    assert_eq!(
        (found["totalCount"].as_u64(), found_nodes.len()),
        (Some(simulator.findings() as u64), simulator.findings())
    );
    let ids: Vec<&str> = found_nodes.iter().map(|it| it["id"].as_str().unwrap()).collect();
    assert!(ids.iter().rev().is_sorted());
    let of_findings: BTreeSet<String> = found_nodes
        .iter()
        .map(|it| {
            json!([
                it["asset"]["id"],
                it["plugin"]["id"],
                it["lastHit"],
                it["status"],
                it["port"],
                it["protocol"],
                it["output"],
                it["plugin"]["severity"]
            ])
            .to_string()
        })
        .collect();
    let mut of_hits = BTreeSet::new();
    for id in walk(&ask, "", 200).await.0 {
        for it in ask.get(&format!("/v1/assets/{id}/plugin_hits")).await.json().as_array().unwrap() {
            let hit = json!([
                it["assetId"],
                it["pluginId"],
                it["time"],
                it["status"],
                it["port"],
                it["protocol"],
                it["output"],
                it["severity"]
            ]);
            of_hits.insert(hit.to_string());
        }
    }
    assert_eq!(of_findings, of_hits);
    assert!(of_hits.len() > 50);
}

#[tokio::test]
async fn hits_are_answered_as_they_say() {
    for (hits, status) in
        [(Hits::Works, 200), (Hits::NotFound404, 404), (Hits::MethodNotAllowed405, 405), (Hits::Html200, 200)]
    {
        let simulator = behave(|it| it.hits = hits).await;
        let ask = Ask::with_key(&simulator);
        let id = walk(&ask, "", 200).await.0.swap_remove(0);
        let reply = ask.get(&format!("/v1/assets/{id}/plugin_hits")).await;
        let html = reply.headers["content-type"].to_str().unwrap().starts_with("text/html");
        assert_eq!((reply.status, html), (status, hits == Hits::Html200), "{hits:?}");
    }
}

#[tokio::test]
async fn a_manager_hands_on_what_is_for_its_appliances() {
    let simulator = behave(|it| it.manager = Some(vec![MACHINE_ID.to_owned()])).await;
    let ask = Ask::with_key(&simulator);
    let paired = ask.graphql("{emPairedIcps(first:100){totalCount pageInfo{hasNextPage} nodes{status site{machineId name host} version{version}}}}").await;
    assert_eq!(paired["data"]["emPairedIcps"]["nodes"][0]["site"]["machineId"], MACHINE_ID);
    let query = json!({"query": "{assets(first:2){totalCount nodes{id}}}"});
    let reply = ask.post("/graphql", &query).await.json();
    assert!(reply["errors"][0]["message"].as_str().unwrap().contains("404"), "{reply}");
    let relayed = ask.post(&format!("/{MACHINE_ID}/graphql"), &query).await.json();
    assert_eq!(relayed["data"]["assets"]["totalCount"], 120);
    let nobody = ask.post("/5f0c1f8e-7d1b-4c38-9d0a-000000000000/graphql", &query).await;
    assert_eq!((nobody.status, nobody.headers["content-type"].to_str().unwrap()), (200, "text/html; charset=utf-8"));
    for path in [VERSION, "/v1/assets/x"] {
        let reply = ask.get(path).await;
        assert_eq!((reply.status, reply.json()["message"].as_str()), (404, Some("not found")), "{path}");
    }
    let pair = Pair::new(KeyAlgorithm::EcdsaP256);
    assert_eq!(Ask::with_token(&simulator).post(ROBOTS, &pair.registration("robot1", "ReaderRole")).await.status, 201);
    assert_eq!(Ask::new(&simulator).post(&format!("/{MACHINE_ID}/graphql"), &query).await.status, 401);
}

#[tokio::test]
async fn rest_lists_come_in_every_shape() {
    let listing = async |list_shape, body: Json| {
        let simulator = behave(|it| it.list_shape = list_shape).await;
        Ask::with_key(&simulator).post("/v1/assets", &body).await.json()
    };
    let (two, none) = (json!({"limit": 2}), json!({"offset": 500}));
    assert_eq!(listing(ListShape::Bare, two.clone()).await.as_array().unwrap().len(), 2);
    assert_eq!(listing(ListShape::Bare, none.clone()).await, json!([]));
    assert_eq!(listing(ListShape::Object, two).await["assets"].as_array().unwrap().len(), 2);
    assert_eq!(listing(ListShape::NullWhenEmpty, none).await, Json::Null);
}

/// Each page of a walk in steps of 50: its ids, the total it says.
async fn pages(simulator: &Simulator) -> Vec<(Vec<String>, u64)> {
    let ask = Ask::with_key(simulator);
    let (mut pages, mut after) = (Vec::new(), Json::Null);
    for _ in 0..3 {
        let query =
            format!("{{assets(first:50 after:{after} {DESCENDING}){{totalCount nodes{{id}} pageInfo{{endCursor}}}}}}");
        let mut page = ask.graphql(&query).await["data"]["assets"].take();
        let ids = page["nodes"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect();
        pages.push((ids, page["totalCount"].as_u64().unwrap()));
        after = page["pageInfo"]["endCursor"].take();
    }
    pages
}

#[tokio::test]
async fn rows_move_between_pages() {
    let still = pages(&behave(|_| ()).await).await;
    let all: BTreeSet<&String> = still.iter().flat_map(|(ids, _)| ids).collect();
    assert_eq!(all.len(), 120);
    // (what, ids seen, rows seen, totals said)
    let base = RowsMove { at_page: 2, removed: false, always: false, total_lies: false };
    let expected = [
        (base, 120, 121, [120, 121, 121]),
        (RowsMove { always: true, ..base }, 120, 122, [120, 121, 122]),
        (RowsMove { total_lies: true, ..base }, 120, 121, [120, 120, 120]),
        (RowsMove { removed: true, ..base }, 119, 119, [120, 119, 119]),
        (RowsMove { removed: true, always: true, ..base }, 118, 118, [120, 119, 118]),
        (RowsMove { at_page: 1, ..base }, 121, 121, [121, 121, 121]),
    ];
    for (rows_move, distinct, rows, totals) in expected {
        let simulator = behave(|it| it.rows_move = Some(rows_move)).await;
        let seen = pages(&simulator).await;
        let ids: Vec<&String> = seen.iter().flat_map(|(ids, _)| ids).collect();
        let found = (ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), seen.iter().map(|it| it.1).collect());
        assert_eq!(found, (distinct, rows, totals.to_vec()), "{rows_move:?}");
        // The one that came is there by itself too.
        if let Some(new) = ids.iter().find(|id| !all.contains(*id)) {
            assert_eq!(Ask::with_key(&simulator).get(&format!("/v1/assets/{new}")).await.status, 200);
        }
    }
    let simulator = behave(|it| it.rows_move = Some(RowsMove { removed: true, ..base })).await;
    let ask = Ask::with_key(&simulator);
    let mut rest = BTreeSet::new();
    for offset in [0, 50, 100] {
        let page = ask.post("/v1/assets", &json!({"offset": offset, "limit": 50})).await.json();
        rest.extend(page.as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned()));
    }
    assert_eq!(rest.len(), 119);
}

#[tokio::test]
async fn order_and_position_can_be_ignored() {
    let simulator = behave(|it| it.order = Order::Ignored).await;
    let ask = Ask::with_key(&simulator);
    let (ids, _) = walk(&ask, DESCENDING, 50).await;
    assert!(!ids.is_sorted() && !ids.iter().rev().is_sorted());
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 120);
    assert_eq!(walk(&ask, "", 30).await.0, ids, "always the same order");

    let simulator = behave(|it| it.ignores_position = true).await;
    let ask = Ask::with_key(&simulator);
    let seen = pages(&simulator).await;
    assert_eq!(seen[0], seen[1]);
    let first = |offset: usize| json!({"offset": offset, "limit": 3, "orderBy": {"field": "id", "direction": "ASC"}});
    assert_eq!(ask.post("/v1/assets", &first(0)).await.body, ask.post("/v1/assets", &first(3)).await.body);
}

#[tokio::test]
async fn large_pages_come_too_late_and_small_ones_in_time() {
    for (answer, status) in
        [(SlowAnswer::Hang, 0), (SlowAnswer::BadGateway502, 502), (SlowAnswer::GatewayTimeout504, 504)]
    {
        let simulator = behave(|it| it.slow_pages = Some(SlowPages { over: 50, answer })).await;
        let ask = Ask::with_key(&simulator);
        let query = |first: usize| json!({"query": format!("{{assets(first:{first}){{nodes{{id}}}}}}")});
        for (path, small, large) in
            [("/graphql", query(50), query(51)), ("/v1/assets", json!({"limit": 50}), json!({"limit": 51}))]
        {
            assert_eq!(ask.post(path, &small).await.status, 200, "{answer:?} {path}");
            let waiting = ask.send("POST", path, large.to_string());
            let reply = tokio::time::timeout(Duration::from_millis(300), waiting).await;
            assert_eq!(reply.map_or(0, |reply| reply.unwrap().status), status, "{answer:?} {path}");
        }
    }
}

#[tokio::test]
async fn strange_values_arrive_as_they_are() {
    for asset_shape in [AssetShape::Newer, AssetShape::Of2020] {
        let simulator = behave(|it| {
            it.strange_values = true;
            it.asset_shape = asset_shape;
        })
        .await;
        let ask = Ask::with_key(&simulator);
        let query = "{assets(first:40){nodes{id name type slot hidden lastSeen ips{nodes} segments{nodes{id}} risk{totalRisk}}}}";
        let (graphql, ..) = bytes(&ask, "POST", "/graphql", json!({"query": query}).to_string()).await;
        let (rest, ..) = bytes(&ask, "POST", "/v1/assets", json!({"limit": 40}).to_string()).await;
        for (name, body) in [("graphql", graphql), ("rest", rest)] {
            assert!(std::str::from_utf8(&body).is_err(), "{name}");
            let text = String::from_utf8_lossy(&body).into_owned();
            for part in [
                r"\ud83d, and",
                "QuantumComputer",
                "9999-12-31T23:59:59.999999Z",
                r#""yesterday""#,
                r#""hidden":"false""#,
            ] {
                assert!(text.contains(part), "{name}: {part}");
            }
            let ids: Vec<&str> = text.split("\"id\":\"").skip(1).map(|it| &it[..36]).collect();
            assert!(ids.len() > ids.iter().collect::<BTreeSet<_>>().len(), "{name}: no id twice");
        }
    }
    let simulator = behave(|it| it.strange_values = true).await;
    let reply = Ask::with_key(&simulator)
        .graphql("{assets(first:6){nodes{ips{nodes} segments{nodes{id}} risk{totalRisk} slot}}}")
        .await;
    let nodes = &reply["data"]["assets"]["nodes"];
    assert_eq!((&nodes[5]["ips"], &nodes[5]["segments"]), (&Json::Null, &Json::Null));
    assert_eq!((&nodes[3]["slot"], &nodes[3]["risk"]["totalRisk"]), (&json!("7"), &json!("1.25e1")));
}

#[tokio::test]
async fn without_robots_only_an_api_key_opens() {
    for (robots_endpoint, status) in [(RobotsEndpoint::NotFound404, 404), (RobotsEndpoint::Html200, 200)] {
        let simulator = behave(|it| it.robots_endpoint = robots_endpoint).await;
        let pair = Pair::new(KeyAlgorithm::EcdsaP256);
        let token = Ask::with_token(&simulator);
        assert_eq!(token.post(ROBOTS, &pair.registration("robot1", "AdminRole")).await.status, status);
        assert_eq!(token.get(ROBOTS).await.status, status);
        assert!(simulator.robots().is_empty());
        assert_eq!(Ask::with_key(&simulator).get(VERSION).await.status, 200);
    }
    let simulator = behave(|it| it.api_key_expired = true).await;
    let reply = Ask::with_key(&simulator).get(VERSION).await;
    assert_eq!((reply.status, reply.json()["message"].as_str()), (401, Some("API key has expired")));
    assert!(!Ask::new(&simulator).get(VERSION).await.body.contains("expired"));
}

#[tokio::test]
async fn every_so_many_requests_are_too_many() {
    let simulator = behave(|it| it.throttle = Some(Throttle { every: 3, retry_after: 2 })).await;
    let ask = Ask::with_key(&simulator);
    let mut statuses = Vec::new();
    for _ in 0..7 {
        let reply = ask.get(VERSION).await;
        assert_eq!(
            reply.headers.get("retry-after").map(|it| it.to_str().unwrap()),
            (reply.status == 429).then_some("2")
        );
        statuses.push(reply.status);
    }
    assert_eq!(statuses, [200, 200, 429, 200, 200, 429, 200]);
}

#[tokio::test]
async fn what_changed_is_found_by_its_time() {
    let simulator = behave(|_| ()).await;
    let ask = Ask::with_key(&simulator);
    let changed = async || {
        let filter = r#"filter:{field:lastUpdate op:GreaterEqual values:"2026-03-01T00:00:00Z"}"#;
        walk(&ask, &format!("{filter} {DESCENDING}"), 50).await.0
    };
    assert!(changed().await.is_empty());
    let all = walk(&ask, "", 200).await.0;
    simulator.touch(17);
    assert_eq!(changed().await, [all[17].clone()]);
    assert_eq!(simulator.add_device(), 120);
    let now = walk(&ask, DESCENDING, 50).await.0;
    assert_eq!((now.len(), &now[1..]), (121, &all.iter().rev().cloned().collect::<Vec<_>>()[..]));
    assert_eq!(changed().await, [now[0].clone(), all[17].clone()]);
    let one = ask.get(&format!("/v1/assets/{}", now[0])).await.json();
    assert_eq!(one["id"], now[0].as_str());

    // Events of a time: those of the second half, up to the last but one.
    let times = ask.graphql("{events(first:100 sort:[{field:time direction:AscNullLast}]){nodes{time}}}").await;
    let times: Vec<&str> =
        times["data"]["events"]["nodes"].as_array().unwrap().iter().map(|it| it["time"].as_str().unwrap()).collect();
    assert_eq!(times.len(), simulator.events());
    let filter = json!({"op": "And", "expressions": [
        {"field": "time", "op": "GreaterEqual", "values": times[30]},
        {"field": "time", "op": "LessEqual", "values": times[times.len() - 2]},
    ]});
    let query = "query q($filter: EventsExpressionsParams) {events(filter:$filter){totalCount}}";
    let reply = ask.post("/graphql", &json!({"query": query, "variables": {"filter": filter}})).await.json();
    assert_eq!(reply["data"]["events"]["totalCount"], times.len() - 31);
}

#[tokio::test]
async fn a_million_devices_are_walked_with_a_small_cache() {
    let options = Options {
        devices: Options::MOST_DEVICES,
        api_key: Some(KEY.to_owned()),
        node_cache: 1 << 20,
        ..Options::default()
    };
    let simulator = start(options).await.unwrap();
    let ask = Ask::with_key(&simulator);
    let mut sender = ask.connect().await.unwrap();
    let mut after = Json::Null;
    for _ in 0..20 {
        let query =
            format!("{{assets(first:1000 after:{after} {DESCENDING}){{nodes{{id name}} pageInfo{{endCursor}}}}}}");
        let request = ask.request("POST", "/graphql", json!({"query": query}).to_string());
        let mut page = read(sender.send_request(request).await.unwrap()).await.unwrap().json()["data"]["assets"].take();
        assert_eq!(page["nodes"].as_array().unwrap().len(), 1_000);
        after = page["pageInfo"]["endCursor"].take();
    }
}
