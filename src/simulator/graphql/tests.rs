//! The quick way writes what the engine would.

use super::*;
use crate::{
    clock::{Clock as _, SystemClock},
    simulator::{EndCursor, Options, TlsOptions, tls::ServerPair},
};

fn shared(node_cache: usize) -> Arc<Shared> {
    let pair = ServerPair::make(&TlsOptions::default(), SystemClock.now()).unwrap();
    let options = Options { devices: 150, hostile_names: true, node_cache, ..Options::default() };
    Shared::new(options, pair, tokio::sync::mpsc::unbounded_channel().0)
}

fn asking(shared: &Arc<Shared>, behaviours: &Behaviours) -> Asking {
    let behaviours = Behaviours { release: super::super::Release::Newer, ..behaviours.clone() };
    Asking { shared: shared.clone(), behaviours, rehearsal: false, of_manager: false }
}

fn request(query: &str, variables: Json) -> Request {
    Request { query: query.to_owned(), variables, operation: None }
}

/// Every field of every list but those of lists inside.
const WHOLE: [&str; 4] = [
    "query Page($first: Int, $after: String, $filter: AssetExpressionsParams, $sort: [AssetSortParams!]!) {
       assets(first: $first, after: $after, filter: $filter, sort: $sort) {
         pageInfo { endCursor hasNextPage hasPreviousPage startCursor } count: totalCount nodes {
           id name type superType category criticality purdueLevel runStatus extendedRunStatus runStatusTime hidden
           vendor family model firmwareVersion serial os location description slot lifecycleStatus hardwareState
           firstSeen lastSeen lastHit lastSnapshot lastUpdate discontinuedDate replacementProduct
           customField1 customField2 customField10 ips(first: 1) { nodes totalCount } directIps { nodes } macs { nodes }
           directMacs { nodes } subnets { nodes } tags { nodes } risk { totalRisk unresolvedEvents pluginCount }
           backplane { id name size } osDetails { name architecture version hotFixes { nodes { name installDate description } } }
           segments { nodes { id name type key systemName vlan description assetType subnet } totalCount }
           revisions { nodes { id firstSeen lastSeen ordinal isBase } } details
           plugins { totalCount nodes { id name affectedAssets { totalCount pageInfo { hasNextPage } } } } } } }",
    "query Page($first: Int, $after: String, $filter: PluginExpressionsParams, $sort: [PluginSortParams!]!) {
       plugins(first: $first, after: $after, filter: $filter, sort: $sort) {
         edges { cursor node { id name source family severity vprScore comment owner totalAffectedAssets details {
           description solution seeAlso refs { name value url } cves cpes cvssVector exploitAvailable } } } totalCount } }",
    "query Page($first: Int, $after: String, $filter: EventsExpressionsParams, $sort: [EventsSortParams!]!) {
       events(first: $first, after: $after, filter: $filter, sort: $sort) {
         totalCount nodes { id logId time type severity resolved resolvedTs srcIP dstIP port comment
           eventType { type group actions } policy { id srcAssetGroup { group { id name } negate } actions { nodes { aid } } tagGroup { negate } }
           srcNames { nodes } dstNames { nodes } srcAssets { nodes { id name } totalCount } dstAssets { nodes { id name } }
           srcInterface { id mac ips { nodes { ip } } directAsset { id } } dstInterface { id } } } }",
    "query Page($first: Int, $after: String, $filter: FindingsObjExpressionsParams, $sort: [FindingsObjSortParams!]!) {
       findings(first: $first, after: $after, filter: $filter, sort: $sort) {
         totalCount nodes { id status firstHit lastHit fixedAt port protocol svcName output
           asset { id name risk { totalRisk } } plugin { id name severity } } } }",
];

const PARTS: &str = "query ($yes: Boolean!, $no: Boolean = false, $n: Int = 3) {
  first: assets(first: $n) { ...Page more: totalCount @include(if: $no) }
  second: assets(first: 2, sort: [{field: name, direction: DescNullFirst}], search: \"plc\") {
    ... on AssetConnection { nodes { ...Names extra: id @skip(if: $yes) } } edges { cursor } }
  asset(id: \"none\") { id }
  plugins(first: 1) @include(if: $yes) { nodes { id } }
  events(first: 1) @skip(if: $yes) { nodes { id } } }
 fragment Page on AssetConnection { pageInfo { hasNextPage } nodes { ...Names } }
 fragment Names on Asset { name again: name risk { totalRisk } }";

async fn by_engine(schemas: &Schemas, asking: Asking, request: &Request) -> String {
    let document = request.check().unwrap();
    let response = execute(schemas.of(asking.behaviours.release), request, document, asking).await;
    assert!(response.errors.is_empty(), "{:?}", response.errors);
    format!("{{\"data\":{}}}\n", serde_json::to_string(&response.data).unwrap())
}

#[tokio::test]
async fn the_quick_way_writes_what_the_engine_writes() {
    let sort = json!([{"field": "id", "direction": "DescNullLast"}]);
    let by_name =
        json!([{"field": "severity", "direction": "AscNullFirst"}, {"field": "id", "direction": "AscNullLast"}]);
    let after = "YXJyYXljb25uZWN0aW9uOjM=";
    let hidden = json!({"field": "hidden", "op": "Equal", "values": "false"});
    let mut asked: Vec<Request> = vec![
        request(PARTS, json!({"yes": true})),
        request(PARTS, json!({"yes": false, "no": true, "n": 5})),
        request(WHOLE[0], json!({"first": 40, "sort": sort, "filter": hidden})),
        request("{assets{nodes{id}}}", json!({})),
        request("{assets(first:0){nodes{id} pageInfo{startCursor endCursor}}}", json!({})),
    ];
    for query in WHOLE {
        asked.push(request(query, json!({"first": 7, "after": after, "sort": sort})));
        asked.push(request(query, json!({"first": 500, "after": null, "sort": sort})));
    }
    for query in [WHOLE[1], WHOLE[2]] {
        asked.push(request(query, json!({"first": 20, "sort": by_name})));
    }
    let schemas = Schemas::all();
    for behaviours in [
        Behaviours::default(),
        Behaviours { page_limit: Some(5), end_cursor: EndCursor::Null, ..Behaviours::default() },
    ] {
        for node_cache in [0, 20_000, 64 << 20] {
            let shared = shared(node_cache);
            shared.touch(149);
            shared.add_device();
            for request in &asked {
                let expected = by_engine(&schemas, asking(&shared, &behaviours), request).await;
                let document = request.check().unwrap();
                let operation = plan::operation(&document, None).unwrap();
                let plan = plan::compile(&document, operation, &request.variables, &shared.rows)
                    .unwrap_or_else(|| panic!("no plan: {}", request.query));
                // Cold, then warm.
                for _ in 0..2 {
                    let written = write::reply(&plan, &asking(&shared, &behaviours), &request.variables).unwrap();
                    assert_eq!(
                        String::from_utf8(written.text).unwrap(),
                        expected,
                        "{} {}",
                        request.query,
                        request.variables
                    );
                }
            }
        }
    }
}

#[test]
fn what_is_not_understood_has_no_plan() {
    let shared = shared(0);
    let check = |query: &str, understood: bool| {
        let request = request(query, json!({}));
        let document = request.check().unwrap();
        let operation = plan::operation(&document, None).unwrap();
        let plan = plan::compile(&document, operation, &request.variables, &shared.rows);
        assert_eq!(plan.is_some(), understood, "{query}");
    };
    check("{assets{nodes{id}}}", true);
    check("{assets{nodes{id name: id}}}", true);
    check("{__typename}", false);
    check("{assets{nodes{__typename}}}", false);
    check("{assets{nodes{id} nodes{name}}}", false);
    check("{assets{nodes{id id}}}", false);
    check("{emPairedIcps{totalCount}}", false);
    check("mutation{hideAsset}", false);
}

#[tokio::test]
async fn one_judgement_serves_every_page_and_no_other_shape() {
    let shared = shared(1 << 20);
    let engine = Engine { schemas: Schemas::all(), known: Arc::default() };
    let known = |query: &str, variables: Json| {
        let request = request(query, variables);
        engine
            .known
            .find(&request.key(&asking(&shared, &Behaviours::default()).behaviours), &request.variables)
            .is_some()
    };
    let learn = async |query: &str, variables: Json| {
        let request = request(query, variables);
        let document = request.check().unwrap();
        engine.learn(&asking(&shared, &Behaviours::default()), &request, &document).await.is_some()
    };
    let with = |first: Json, after: Json, direction: &str| json!({"first": first, "after": after, "sort": [{"field": "id", "direction": direction}]});
    let good = with(json!(5), json!("YXJyYXljb25uZWN0aW9uOjM="), "DescNullLast");
    assert!(learn(WHOLE[0], good.clone()).await && known(WHOLE[0], good));
    assert!(known(WHOLE[0], with(json!(200), json!("anything"), "DescNullLast")));
    for other in [
        with(json!("5"), json!("x"), "DescNullLast"),
        with(json!(-5), json!("x"), "DescNullLast"),
        with(json!(5), json!(null), "DescNullLast"),
        with(json!(5), json!("x"), "Sideways"),
    ] {
        assert!(!known(WHOLE[0], other.clone()), "{other}");
    }
    assert!(!learn(WHOLE[0], with(json!(5), json!(null), "Sideways")).await);
    assert!(!learn("{assets{nodes{id noSuchField}}}", json!({})).await);
    assert!(!learn("{assets(after:\"nonsense\"){nodes{id}}}", json!({})).await);
}
