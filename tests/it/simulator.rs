//! The built-in appliance, asked over real TLS by a client of its own.

mod behaviours;
pub mod client;
mod faults;
mod reading;
mod recorded;

use client::{Ask, KEY, Pair, ROBOTS, VERSION, read, simulator, walk};
use robocred::{
    simulator::{Behaviours, Options, start},
    x509::KeyAlgorithm,
};
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;

// -- the default appliance --

#[tokio::test]
async fn a_robot_is_registered_reads_by_its_certificate_and_is_removed() {
    let simulator = simulator(Behaviours::default()).await;
    let pair = Pair::new(KeyAlgorithm::EcdsaP256);
    assert_eq!(Ask::with_pair(&simulator, &pair).get(VERSION).await.status, 401);

    let reply = Ask::with_token(&simulator).post(ROBOTS, &pair.registration("robot1", "AdminRole")).await;
    assert_eq!(reply.status, 201);
    let id = reply.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(simulator.robots()[0].fingerprint, pair.certificate.fingerprint());
    assert_eq!(simulator.tokens_seen(), 1);

    let robot = Ask::with_pair(&simulator, &pair);
    assert_eq!(robot.get(VERSION).await.status, 200);
    assert_eq!(
        robot.graphql("{assets(first:1){nodes{id}}}").await["data"]["assets"]["nodes"].as_array().unwrap().len(),
        1
    );
    let log = simulator.requests();
    assert_eq!(log.last().unwrap().authenticated_as.as_deref(), Some("robot:robot1"));
    assert_eq!(log.last().unwrap().client_certificate, Some(pair.certificate.fingerprint()));

    assert_eq!(robot.get(ROBOTS).await.json()[0]["name"], "robot1");
    assert_eq!(robot.get(&format!("{ROBOTS}/{id}")).await.json()["role"], "AdminRole");
    assert_eq!(robot.send("DELETE", &format!("{ROBOTS}/{id}"), String::new()).await.unwrap().status, 204);
    assert!(simulator.robots().is_empty());
    assert_eq!(robot.get(VERSION).await.status, 401);
    simulator.shutdown().await;
}

#[tokio::test]
async fn bad_registrations_are_refused_and_leave_nothing() {
    let simulator = simulator(Behaviours::default()).await;
    let pair = Pair::new(KeyAlgorithm::EcdsaP256);
    let good = pair.registration("robot1", "ReaderRole");
    let with = |key: &str, value: Json| {
        let mut body = good.clone();
        body[key] = value;
        body
    };
    let wrong = Ask::new(&simulator).header("authorization", "Bearer wrong".to_owned());
    assert_eq!(wrong.post(ROBOTS, &good).await.status, 401);
    assert_eq!(Ask::new(&simulator).post(ROBOTS, &good).await.status, 401);
    assert_eq!(Ask::with_key(&simulator).post(ROBOTS, &good).await.status, 401);
    for body in [with("name", json!("")), with("role", json!("Root")), with("cert", json!("nonsense")), json!([])] {
        assert_eq!(Ask::with_token(&simulator).post(ROBOTS, &body).await.status, 400, "{body}");
    }
    assert!(simulator.robots().is_empty());
}

#[tokio::test]
async fn a_reader_may_not_register_and_an_admin_may() {
    let simulator = simulator(Behaviours::default()).await;
    let (reader, admin, next) =
        (Pair::new(KeyAlgorithm::EcdsaP256), Pair::new(KeyAlgorithm::Ed25519), Pair::new(KeyAlgorithm::EcdsaP384));
    let token = Ask::with_token(&simulator);
    assert_eq!(token.post(ROBOTS, &reader.registration("reader", "ReaderRole")).await.status, 201);
    assert_eq!(token.post(ROBOTS, &admin.registration("admin", "AdminRole")).await.status, 201);
    let body = next.registration("next", "ReaderRole");
    assert_eq!(Ask::with_pair(&simulator, &reader).post(ROBOTS, &body).await.status, 403);
    assert_eq!(Ask::with_pair(&simulator, &admin).post(ROBOTS, &body).await.status, 201);
}

#[tokio::test]
async fn replies_have_the_recorded_headers() {
    let simulator = simulator(Behaviours::default()).await;
    let reply = Ask::with_key(&simulator).get(VERSION).await;
    let header = |name: &str| reply.headers[name].to_str().unwrap();
    assert!(reply.body.ends_with("}\n"));
    assert!(header("etag").starts_with(&format!("W/\"{:x}-", reply.body.len())), "{}", header("etag"));
    assert_eq!(header("etag").len(), 6 + 27 + format!("{:x}", reply.body.len()).len() - 1);
    assert_eq!(header("content-type"), "application/json; charset=utf-8");
    assert_eq!(reply.headers.get_all("vary").iter().count(), 2);
    assert!(header("date").ends_with("GMT"));
    for absent in ["server", "set-cookie", "content-encoding"] {
        assert!(!reply.headers.contains_key(absent), "{absent}");
    }
}

#[tokio::test]
async fn one_connection_serves_several_requests() {
    let simulator = simulator(Behaviours::default()).await;
    let ask = Ask::with_key(&simulator);
    let mut sender = ask.connect().await.unwrap();
    for _ in 0..3 {
        let reply = read(sender.send_request(ask.request("GET", VERSION, String::new())).await.unwrap()).await.unwrap();
        assert_eq!(reply.status, 200);
    }
    assert_eq!((simulator.connections(), simulator.requests().len()), (1, 3));
}

// -- reading --

#[tokio::test]
async fn pages_cover_every_asset_once_by_both_interfaces() {
    let simulator = simulator(Behaviours::default()).await;
    let ask = Ask::with_key(&simulator);
    let (ids, pages) = walk(&ask, "", 50).await;
    assert_eq!((ids.len(), pages), (120, 3));
    assert!(ids.is_sorted());
    let (mut descending, _) = walk(&ask, "sort:[{field:id direction:DescNullLast}]", 50).await;
    descending.reverse();
    assert_eq!(descending, ids);
    let (visible, _) = walk(&ask, r#"filter:{field:hidden op:Equal values:"false"}"#, 50).await;
    assert_eq!((visible.len(), simulator.visible_devices()), (115, 115));

    let mut rest = BTreeSet::new();
    for offset in [0, 50, 100, 150] {
        let page = ask.post("/v1/assets", &json!({"offset": offset, "limit": 50})).await.json();
        rest.extend(page.as_array().unwrap().iter().map(|asset| asset["id"].as_str().unwrap().to_owned()));
    }
    assert_eq!(rest, ids.iter().cloned().collect());
    let one = ask.get(&format!("/v1/assets/{}", ids[5])).await.json();
    assert_eq!(one["id"], ids[5].as_str());
    assert_eq!(ask.get("/v1/assets/00000000-0000-0000-0000-000000000000").await.status, 404);
    let same = ask.graphql(&format!("{{asset(id:\"{}\"){{details}}}}", ids[5])).await;
    assert_eq!(same["data"]["asset"]["details"], one);
}

#[tokio::test]
async fn the_same_seed_gives_the_same_plant() {
    let (one, two) = (simulator(Behaviours::default()).await, simulator(Behaviours::default()).await);
    let query = "{assets(first:20){nodes{details risk{totalRisk} plugins{nodes{id}}}}}";
    assert_eq!(Ask::with_key(&one).graphql(query).await, Ask::with_key(&two).graphql(query).await);
}

#[tokio::test]
async fn hostile_names_arrive_whole() {
    let options = Options { devices: 30, hostile_names: true, api_key: Some(KEY.to_owned()), ..Options::default() };
    let simulator = start(options).await.unwrap();
    let reply = Ask::with_key(&simulator).graphql("{assets{nodes{name}}}").await;
    let names: Vec<&str> =
        reply["data"]["assets"]["nodes"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    for part in ["\u{1b}[2J", "=cmd", "\r\n", "\0", "\u{202e}"] {
        assert!(names.iter().any(|name| name.contains(part)), "{part:?}");
    }
}

#[tokio::test]
async fn a_million_devices_start_at_once() {
    let options = Options { devices: Options::MOST_DEVICES, api_key: Some(KEY.to_owned()), ..Options::default() };
    assert!(start(Options { devices: options.devices + 1, ..options.clone() }).await.is_err());
    let simulator = start(options).await.unwrap();
    let ask = Ask::with_key(&simulator);
    let reply = ask
        .graphql(
            "{assets(first:2 after:\"YXJyYXljb25uZWN0aW9uOjk5OTk5Ng==\"){totalCount nodes{id} pageInfo{hasNextPage}}}",
        )
        .await;
    let assets = &reply["data"]["assets"];
    assert_eq!((&assets["totalCount"], &assets["pageInfo"]["hasNextPage"]), (&json!(1_000_000), &json!(true)));
    let last = assets["nodes"][1]["id"].as_str().unwrap();
    assert_eq!(ask.get(&format!("/v1/assets/{last}")).await.status, 200);
}

#[tokio::test]
async fn graphql_errors_carry_the_known_codes() {
    let simulator = simulator(Behaviours::default()).await;
    let ask = Ask::with_key(&simulator);
    let code = async |body: Json| ask.post("/graphql", &body).await.json()["errors"][0]["extensions"]["code"].clone();
    assert_eq!(code(json!({"query": "{assets"})).await, "GRAPHQL_PARSE_FAILED");
    assert_eq!(code(json!({"query": "{assets{nodes{serialNumber}}}"})).await, "GRAPHQL_VALIDATION_FAILED");
    assert_eq!(code(json!({"query": "mutation{hideAsset}"})).await, "GRAPHQL_VALIDATION_FAILED");
    let required = "query q($sort:[AssetSortParams!]!){assets(sort:$sort){nodes{id}}}";
    assert_eq!(code(json!({"query": required})).await, "BAD_USER_INPUT");
    assert_eq!(code(json!({"query": "{assets(after:\"nonsense\"){nodes{id}}}"})).await, "BAD_USER_INPUT");
    let variables = json!({"sort": [{"field": "id", "direction": "DescNullLast"}]});
    for variables in [variables.clone(), json!(variables.to_string())] {
        let reply = ask.post("/graphql", &json!({"query": required, "variables": variables})).await.json();
        assert_eq!(reply["data"]["assets"]["nodes"].as_array().unwrap().len(), 120);
    }
    assert_eq!(ask.post("/graphql", &json!({"variables": "{"})).await.status, 400);
}

#[tokio::test]
async fn what_is_no_api_is_the_web_application() {
    let simulator = simulator(Behaviours::default()).await;
    let reply = Ask::with_key(&simulator).post("/no-machine/graphql", &json!({})).await;
    assert_eq!((reply.status, reply.headers["content-type"].to_str().unwrap()), (200, "text/html; charset=utf-8"));
    assert_eq!(Ask::with_key(&simulator).get("/v1/no-such").await.status, 404);
}
