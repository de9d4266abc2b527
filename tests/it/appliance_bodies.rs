//! The bodies a real appliance sent, and the synthetic ones that stand for them
//! here: both are read, and both have the same keys and JSON types.
//!
//! The recordings are other people's data and not part of this project. Where
//! `ROBOCRED_RECORDED_BODIES` names a folder that holds them they are read;
//! otherwise those tests say so and end.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use robocred::appliance::{Error, List, Query, Width};
use serde_json::Value;

use crate::scripted::{AssetPages as _, Server, ask, json};

fn synthetic(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bodies").join(file);
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn recordings() -> Option<PathBuf> {
    let folder = std::env::var_os("ROBOCRED_RECORDED_BODIES").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("SKIPPED: no recorded bodies (set ROBOCRED_RECORDED_BODIES to their folder)");
    }
    folder
}

fn recorded(folder: &Path, file: &str) -> Value {
    let path = folder.join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// The bodies of a file of samples with this method and end of URL.
fn samples(file: &Value, method: &str, url_end: &str) -> Vec<Value> {
    let samples = file.as_array().unwrap().iter();
    let matching = samples.filter(|s| s["method"] == method && s["url"].as_str().unwrap().ends_with(url_end));
    matching.map(|sample| sample["json"].clone()).collect()
}

async fn graphql_page_is_read(body: &Value) {
    let server = Server::answering(json(200, &format!("{body}\n"))).await;
    let page = server.reads().assets_page(None, 200, false).await.unwrap();
    let nodes = body["data"]["assets"]["nodes"].as_array().unwrap();
    assert!(!nodes.is_empty());
    assert_eq!(page.len(), nodes.len());
    for (record, node) in page.records().zip(nodes) {
        assert_eq!(record.id, node["id"].as_str().unwrap());
        assert_eq!(&serde_json::from_str::<Value>(&record.json).unwrap(), node);
    }
    assert_eq!(page.end_cursor.is_some(), body["data"]["assets"]["pageInfo"]["endCursor"].is_string());
}

async fn rest_page_is_read(body: &Value) {
    let server = Server::answering(json(200, &body.to_string())).await;
    let page = server.reads().rest_assets_page(0, 500, false).await.unwrap();
    assert_eq!(page.len(), body.as_array().unwrap().len());
    assert_eq!(page.records().next().unwrap().id, body[0]["id"].as_str().unwrap());
}

async fn errors_are_errors(body: &Value) {
    for status in [200, 400, 500] {
        let server = Server::answering(json(status, &body.to_string())).await;
        match server.reads().assets_page(None, 1, false).await {
            Err(Error::Graphql { codes, message }) => {
                assert_eq!(codes.len(), 1, "{body}");
                assert_ne!(message, "no message", "{body}");
            }
            other => panic!("{status} {body}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn synthetic_bodies_are_read() {
    graphql_page_is_read(&synthetic("graphql_assets.json")).await;
    rest_page_is_read(&synthetic("rest_assets.json")).await;
    for body in synthetic("graphql_errors.json").as_array().unwrap() {
        errors_are_errors(body).await;
    }
    let server = Server::answering(json(200, &synthetic("rest_version.json").to_string())).await;
    assert_eq!(server.reads().version().await.unwrap().version, "3.8.0");
}

#[tokio::test]
async fn recorded_bodies_are_read() {
    let Some(folder) = recordings() else { return };
    graphql_page_is_read(&recorded(&folder, "pytenable_cassette_assets.json")).await;
    for body in samples(&recorded(&folder, "pytenable_unit_assets.json"), "POST", "/graphql") {
        if body["data"]["assets"]["nodes"].as_array().is_some_and(|nodes| !nodes.is_empty()) {
            graphql_page_is_read(&body).await;
        }
    }
    for error in recorded(&folder, "pytenable_graphql_errors.json").as_array().unwrap() {
        errors_are_errors(&error["json"]).await;
    }
    let rest = recorded(&folder, "pytenable_rest_v1_2020.json");
    for body in samples(&rest, "POST", "/v1/assets") {
        rest_page_is_read(&body).await;
    }
    let version = samples(&rest, "GET", "/v1/version").remove(0);
    let server = Server::answering(json(200, &version.to_string())).await;
    assert_eq!(server.reads().version().await.unwrap().version, version["Version"].as_str().unwrap());
}

/// The ids, the number and the way on of every recorded page of the other lists.
#[tokio::test]
async fn recorded_pages_of_every_list_are_cut() {
    let Some(folder) = recordings() else { return };
    for (list, root, files) in [
        (List::Assets, "assets", ["pytenable_cassette_assets.json", "pytenable_unit_assets.json"]),
        (List::Plugins, "plugins", ["pytenable_cassette_plugins.json", "pytenable_unit_plugins.json"]),
        (List::Events, "events", ["pytenable_cassette_events.json", "pytenable_unit_events.json"]),
        (List::Findings, "findings", ["pytenable_unit_findings.json", "pytenable_unit_findings.json"]),
    ] {
        for file in files {
            let file = recorded(&folder, file);
            let bodies = if file.is_array() { samples(&file, "POST", "/graphql") } else { vec![file] };
            assert!(!bodies.is_empty());
            for body in bodies {
                let server = Server::answering(json(200, &body.to_string())).await;
                let page = server.reads().graphql_page(&ask(list)).await.unwrap().cut_graphql(list).unwrap();
                let connection = &body["data"][root];
                let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let expected: Vec<String> =
                    connection["nodes"].as_array().unwrap().iter().map(|node| text(&node["id"])).collect();
                let found: Vec<String> = page.records().map(|record| record.id.into_owned()).collect();
                assert_eq!(found, expected, "{root}");
                assert_eq!(page.end_cursor.is_some(), connection["pageInfo"]["endCursor"].is_string());
                assert_eq!((page.total_count, page.replaced), (connection["totalCount"].as_u64(), 0));
            }
        }
    }
}

/// Every path of keys in a body, with the JSON types seen there. All elements
/// of a list share a path; null says nothing about a type.
fn shape(value: &Value) -> BTreeMap<String, BTreeSet<&'static str>> {
    fn walk(value: &Value, path: &str, shape: &mut BTreeMap<String, BTreeSet<&'static str>>) {
        let types = shape.entry(path.to_owned()).or_default();
        match value {
            Value::Null => {}
            Value::Bool(_) => drop(types.insert("boolean")),
            Value::Number(_) => drop(types.insert("number")),
            Value::String(_) => drop(types.insert("text")),
            Value::Array(items) => {
                types.insert("list");
                for item in items {
                    walk(item, &format!("{path}[]"), shape);
                }
            }
            Value::Object(members) => {
                types.insert("object");
                for (key, member) in members {
                    walk(member, &format!("{path}.{key}"), shape);
                }
            }
        }
    }
    let mut all = BTreeMap::new();
    walk(value, "", &mut all);
    all
}

#[test]
fn synthetic_bodies_have_the_shape_of_the_recorded_ones() {
    let Some(folder) = recordings() else { return };
    let same = |what: &str, ours: &Value, theirs: &Value| {
        let (ours, theirs) = (shape(ours), shape(theirs));
        assert!(theirs.len() > 3, "{what}: the recording is empty");
        assert_eq!(ours, theirs, "{what}");
    };
    same("assets", &synthetic("graphql_assets.json"), &recorded(&folder, "pytenable_cassette_assets.json"));
    let errors: Vec<Value> = recorded(&folder, "pytenable_graphql_errors.json")
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["json"].clone())
        .collect();
    same("errors", &synthetic("graphql_errors.json"), &Value::Array(errors));
    let rest = recorded(&folder, "pytenable_rest_v1_2020.json");
    same("REST assets", &synthetic("rest_assets.json"), &samples(&rest, "POST", "/v1/assets")[0]);
    same("version", &synthetic("rest_version.json"), &samples(&rest, "GET", "/v1/version")[0]);
}

/// One unknown field would fail a whole query at a real appliance.
#[test]
fn every_field_that_is_asked_for_is_in_a_recorded_body() {
    let document = Query::Page { list: List::Assets, width: Width::Narrow, details: false }.document();
    let (_, fields) = document.split_once("sort: $sort)").unwrap();
    let mut asked: BTreeSet<&str> =
        fields.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    // Documented by the vendor for every connection, and used by working clients.
    for known in ["hasNextPage", "totalCount"] {
        assert!(asked.remove(known));
    }
    let present: BTreeSet<String> = shape(&synthetic("graphql_assets.json"))
        .into_keys()
        .filter_map(|path| path.rsplit('.').next().map(|key| key.trim_end_matches("[]").to_owned()))
        .collect();
    let unknown: Vec<_> = asked.iter().filter(|field| !present.contains(**field)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
