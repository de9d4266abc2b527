//! Every switch does what it says, and nothing else.

use super::client::{Ask, KEY, Pair, ROBOTS, VERSION, simulator, walk};
use robocred::{
    simulator::{
        Accepts, Activation, AssetShape, Behaviours, CaList, DuplicateName, EndCursor, ErrorEnvelope, Interfaces,
        KeyTypes, Listing, Options, Refusal, Registrar, Registration, Removal, ServerKey, Simulator, TlsOptions,
        TlsVersions, start,
    },
    x509::KeyAlgorithm,
};
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn every_registration_behaviour_answers_as_it_says() {
    // (behaviour, status of the POST or 0 for no reply, whether a robot is there afterwards)
    let expected = [
        ("default", 201, true),
        ("ok", 200, true),
        ("created-empty", 201, true),
        ("no-content", 204, true),
        ("location-only", 201, true),
        ("text", 200, true),
        ("echoes-other-certificate", 201, true),
        ("echoes-other-name", 201, true),
        ("done-then-reset", 0, true),
        ("done-then-truncated", 0, true),
        ("done-then-500", 500, true),
        ("done-then-504", 504, true),
        ("error-500", 500, false),
        ("bad-gateway-502", 502, false),
        ("done-then-reboot", 201, true),
        ("done-then-server-key-changed", 201, true),
        ("done-then-restored", 201, false),
        ("bad-request-400", 400, false),
        ("unprocessable-422", 422, false),
        ("unauthorized-401", 401, false),
        ("forbidden-403", 403, false),
        ("not-found-404", 404, false),
        ("method-not-allowed-405", 405, false),
        ("gone-410", 410, false),
        ("html-200", 200, false),
        ("too-many-429", 429, false),
        ("redirect-302", 302, false),
        ("redirect-307", 307, false),
        ("quota", 403, false),
        ("reboot-once", 0, false),
    ];
    let pair = Pair::new(KeyAlgorithm::EcdsaP256);
    for (name, status, registered) in expected {
        let simulator = simulator(name.parse().unwrap()).await;
        let pin = simulator.pin();
        let body = pair.registration("robot1", "AdminRole").to_string();
        let reply = Ask::with_token(&simulator).send("POST", ROBOTS, body).await;
        assert_eq!(reply.as_ref().map_or(0, |reply| reply.status), status, "{name}");
        assert_eq!(simulator.robots().len(), usize::from(registered), "{name}");
        assert_eq!(simulator.pin() != pin, name == "done-then-server-key-changed", "{name}");
    }
}

#[tokio::test]
async fn a_behaviour_that_strikes_once_lets_the_second_post_pass() {
    let pair = Pair::new(KeyAlgorithm::EcdsaP256);
    for name in ["error-500-once", "bad-gateway-502-once", "too-many-429-once", "done-then-restored-once"] {
        let simulator = simulator(name.parse().unwrap()).await;
        let body = pair.registration("robot1", "AdminRole");
        Ask::with_token(&simulator).post(ROBOTS, &body).await;
        assert!(simulator.robots().is_empty(), "{name}");
        assert_eq!(Ask::with_token(&simulator).post(ROBOTS, &body).await.status, 201, "{name}");
    }
}

#[tokio::test]
async fn a_hanging_post_takes_effect_and_never_answers() {
    let simulator = simulator("done-then-hang".parse().unwrap()).await;
    let pair = Pair::new(KeyAlgorithm::EcdsaP256);
    let ask = Ask::with_token(&simulator);
    let body = pair.registration("robot1", "AdminRole").to_string();
    let waited = tokio::time::timeout(Duration::from_millis(300), ask.send("POST", ROBOTS, body)).await;
    assert!(waited.is_err());
    assert_eq!(simulator.robots().len(), 1);
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_reboot_refuses_connections_and_ends() {
    let down = Duration::from_millis(500);
    let simulator =
        simulator(Behaviours { registration: Registration::DoneThenReboot(down), ..Behaviours::default() }).await;
    let pair = Pair::new(KeyAlgorithm::EcdsaP256);
    assert_eq!(Ask::with_token(&simulator).post(ROBOTS, &pair.registration("robot1", "AdminRole")).await.status, 201);
    let robot = Ask::with_pair(&simulator, &pair);
    let mut refused = 0;
    while robot.send("GET", VERSION, String::new()).await.is_err() {
        refused += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(refused > 0);
    assert_eq!(robot.get(VERSION).await.status, 200);
}

#[tokio::test]
async fn a_taken_name_is_answered_as_it_says() {
    // (behaviour, another certificate, the same certificate, robots at the end)
    let expected = [
        (DuplicateName::Conflict409, 409, 409, 1),
        (DuplicateName::BadRequest400, 400, 400, 1),
        (DuplicateName::Error500, 500, 500, 1),
        (DuplicateName::Replace, 201, 201, 1),
        (DuplicateName::SecondRobot, 201, 201, 3),
        (DuplicateName::SameIsFine, 409, 200, 1),
    ];
    let (mine, other) = (Pair::new(KeyAlgorithm::EcdsaP256), Pair::new(KeyAlgorithm::EcdsaP256));
    for (duplicate_name, another, same, robots) in expected {
        let simulator = simulator(Behaviours { duplicate_name, ..Behaviours::default() }).await;
        let ask = Ask::with_token(&simulator);
        let mut statuses = Vec::new();
        for pair in [&mine, &other, &mine] {
            statuses.push(ask.post(ROBOTS, &pair.registration("robot1", "AdminRole")).await.status);
        }
        assert_eq!(statuses, [201, another, same], "{duplicate_name:?}");
        assert_eq!(simulator.robots().len(), robots, "{duplicate_name:?}");
    }
}

#[tokio::test]
async fn strangers_are_refused_in_every_style() {
    // (style, status of /v1/version and of /graphql with an unknown certificate; 0: no reply)
    let expected = [
        (Refusal::Unauthorized401, 401, 401),
        (Refusal::TlsAlert, 0, 0),
        (Refusal::Nginx400, 400, 400),
        (Refusal::Forbidden403, 403, 403),
        (Refusal::Html200, 200, 200),
        (Refusal::GraphqlUnauthenticated, 401, 200),
    ];
    let (stranger, known) = (Pair::new(KeyAlgorithm::EcdsaP256), Pair::new(KeyAlgorithm::Rsa2048));
    for tls_versions in [TlsVersions::Tls12, TlsVersions::Tls13] {
        for (refusal, version, graphql) in expected {
            let simulator = simulator(Behaviours { refusal, tls_versions, ..Behaviours::default() }).await;
            let ask = Ask::with_pair(&simulator, &stranger);
            let query = json!({"query": "{assets(first:1){nodes{id}}}"}).to_string();
            for (method, path, body, status) in
                [("GET", VERSION, String::new(), version), ("POST", "/graphql", query, graphql)]
            {
                let reply = ask.send(method, path, body).await;
                assert_eq!(
                    reply.as_ref().map_or(0, |reply| reply.status),
                    status,
                    "{refusal:?} {tls_versions:?} {path}"
                );
                if let Ok(reply) = reply {
                    assert!(!reply.body.contains("\"nodes\"") && !reply.body.contains("NvdVersion"), "{}", reply.body);
                }
            }
            Ask::with_token(&simulator).post(ROBOTS, &known.registration("robot1", "ReaderRole")).await;
            assert_eq!(
                Ask::with_pair(&simulator, &known).get(VERSION).await.status,
                200,
                "{refusal:?} {tls_versions:?}"
            );
        }
    }
}

#[tokio::test]
async fn one_switch_at_a_time() {
    let pair = Pair::new(KeyAlgorithm::EcdsaP256);
    let ed25519 = Pair::new(KeyAlgorithm::Ed25519);
    let query = json!({"query": "{assets(first:1){nodes{id}}}"});
    let behave = async |change: fn(&mut Behaviours)| {
        let mut behaviours = Behaviours::default();
        change(&mut behaviours);
        simulator(behaviours).await
    };
    let register = async |simulator: &Simulator, pair: &Pair| {
        Ask::with_token(simulator).post(ROBOTS, &pair.registration("robot1", "AdminRole")).await.status
    };

    let it = behave(|it| it.activation = Activation::AfterRefusals(2)).await;
    assert_eq!(register(&it, &pair).await, 201);
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(Ask::with_pair(&it, &pair).get(VERSION).await.status);
    }
    assert_eq!(statuses, [401, 401, 200]);

    let it = behave(|it| it.registrar = Registrar::TokenOnce).await;
    assert_eq!(register(&it, &pair).await, 201);
    assert_eq!(Ask::with_token(&it).post(ROBOTS, &ed25519.registration("robot2", "AdminRole")).await.status, 401);

    let it = behave(|it| it.accepts = Accepts::AnyCertificate).await;
    assert_eq!(Ask::with_pair(&it, &pair).get(VERSION).await.status, 200);
    assert_eq!(Ask::new(&it).get(VERSION).await.status, 401);
    let it = behave(|it| it.accepts = Accepts::Everyone).await;
    assert_eq!(Ask::new(&it).get(VERSION).await.status, 200);

    let it = behave(|it| it.key_types = KeyTypes::NoEd25519).await;
    assert_eq!((register(&it, &ed25519).await, register(&it, &pair).await), (400, 201));
    let it = behave(|it| it.key_types = KeyTypes::RsaOnly).await;
    assert_eq!(register(&it, &pair).await, 400);

    let it = behave(|it| it.interfaces = Interfaces::RestOnly).await;
    register(&it, &pair).await;
    assert_eq!(Ask::with_pair(&it, &pair).get(VERSION).await.status, 200);
    assert_eq!(Ask::with_pair(&it, &pair).post("/graphql", &query).await.status, 401);
    assert_eq!(Ask::with_key(&it).post("/graphql", &query).await.status, 200);
    let it = behave(|it| it.interfaces = Interfaces::GraphqlOnly).await;
    register(&it, &pair).await;
    assert_eq!(Ask::with_pair(&it, &pair).get(VERSION).await.status, 404);
    assert_eq!(Ask::with_pair(&it, &pair).post("/graphql", &query).await.status, 200);

    let it = behave(|it| it.clock_ahead = 2 * 365 * 86_400).await;
    register(&it, &pair).await;
    assert_eq!(Ask::with_pair(&it, &pair).get(VERSION).await.status, 401);

    let it = behave(|it| it.strict_content_type = true).await;
    assert_eq!(register(&it, &pair).await, 415);

    let it = behave(|it| it.ca_list = CaList::Foreign).await;
    register(&it, &pair).await;
    assert_eq!(Ask::with_pair(&it, &pair).get(VERSION).await.status, 200);

    let it = behave(|it| it.page_limit = Some(7)).await;
    assert_eq!(walk(&Ask::with_key(&it), "", 50).await.1, 120_usize.div_ceil(7));
    let it = behave(|it| it.end_cursor = EndCursor::Null).await;
    let page = Ask::with_key(&it).graphql("{assets(first:200){pageInfo{endCursor}}}").await;
    assert!(page["data"]["assets"]["pageInfo"]["endCursor"].is_null());
    let it = behave(|it| it.total_changes = true).await;
    let total =
        async || Ask::with_key(&it).graphql("{assets{totalCount}}").await["data"]["assets"]["totalCount"].clone();
    assert_ne!(total().await, total().await);
    let it = behave(|it| it.error_envelope = ErrorEnvelope::Nested200).await;
    assert!(Ask::with_key(&it).graphql("{").await["error"]["errors"].is_array());

    let it = behave(|it| it.asset_shape = AssetShape::Of2020).await;
    let page = Ask::with_key(&it).post("/v1/assets", &json!({"limit": 1})).await.json();
    assert!(page[0]["addresses"].is_array() && page[0]["type"].as_str().unwrap().ends_with("Type"));
}

#[tokio::test]
async fn lists_and_removals_are_answered_as_they_say() {
    let pair = Pair::new(KeyAlgorithm::EcdsaP256);
    let next = Pair::new(KeyAlgorithm::EcdsaP256);
    let listings = [
        (Listing::WithoutCertificates, 200),
        (Listing::NotFound404, 404),
        (Listing::MethodNotAllowed405, 405),
        (Listing::Forbidden403, 403),
        (Listing::Html200, 200),
    ];
    for (listing, status) in listings {
        let simulator = simulator(Behaviours { listing, ..Behaviours::default() }).await;
        let ask = Ask::with_token(&simulator);
        ask.post(ROBOTS, &pair.registration("robot1", "AdminRole")).await;
        let reply = ask.get(ROBOTS).await;
        assert_eq!(reply.status, status, "{listing:?}");
        assert!(!reply.body.contains("CERTIFICATE"), "{listing:?}");
    }
    // (behaviour, status or 0 for no reply, the names left)
    let removals: [(_, _, &[&str]); 6] = [
        (Removal::Works, 204, &["new"]),
        (Removal::MethodNotAllowed405, 405, &["old", "new"]),
        (Removal::NotFound404, 404, &["old", "new"]),
        (Removal::Html200, 200, &["old", "new"]),
        (Removal::LostAnswer, 0, &["new"]),
        (Removal::HitsNewest, 204, &["old"]),
    ];
    for (removal, status, left) in removals {
        let simulator = simulator(Behaviours { removal, ..Behaviours::default() }).await;
        let ask = Ask::with_token(&simulator);
        let old = ask.post(ROBOTS, &pair.registration("old", "AdminRole")).await.json();
        ask.post(ROBOTS, &next.registration("new", "AdminRole")).await;
        let path = format!("{ROBOTS}/{}", old["id"].as_str().unwrap());
        let reply = ask.send("DELETE", &path, String::new()).await;
        assert_eq!(reply.map_or(0, |reply| reply.status), status, "{removal:?}");
        let names: Vec<String> = simulator.robots().into_iter().map(|robot| robot.name).collect();
        assert_eq!(names, left, "{removal:?}");
    }
}

#[tokio::test]
async fn server_keys_of_every_kind_serve_and_can_be_replaced() {
    for key in [ServerKey::EcdsaP256, ServerKey::Rsa2048, ServerKey::Ed25519] {
        let tls = TlsOptions { key: key.clone(), ..TlsOptions::default() };
        let options = Options { tls, api_key: Some(KEY.to_owned()), ..Options::default() };
        let simulator = start(options).await.unwrap();
        let before = simulator.pin();
        assert_eq!(Ask::with_key(&simulator).get(VERSION).await.status, 200, "{key:?}");
        simulator.replace_server_key().unwrap();
        assert_ne!(simulator.pin(), before);
        assert_eq!(Ask::with_key(&simulator).get(VERSION).await.status, 200, "{key:?}");
    }
}
