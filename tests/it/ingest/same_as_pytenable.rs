//! The vendor's own client library and robocred list the same ids with the same values.

use std::{collections::BTreeMap, process::Command};

use super::*;
use crate::judges;

const KEY: &str = "api-key-of-this-test";

/// Fields that both have by the same name, in each record of a stream: at least these.
const SHARED: [(Stream, &[&str]); 4] = [
    (
        Stream::Assets,
        &[
            "id",
            "name",
            "type",
            "superType",
            "category",
            "criticality",
            "purdueLevel",
            "hidden",
            "vendor",
            "family",
            "model",
            "firmwareVersion",
            "serial",
            "os",
            "location",
            "description",
            "slot",
            "runStatus",
            "runStatusTime",
            "firstSeen",
            "lastSeen",
            "lastUpdate",
            "risk",
            "backplane",
            "ips",
            "macs",
            "segments",
            "customField1",
            "customField10",
            "details",
        ],
    ),
    (Stream::Plugins, &["id", "name", "source", "family", "severity", "vprScore", "totalAffectedAssets"]),
    (
        Stream::Events,
        &[
            "id",
            "type",
            "category",
            "severity",
            "time",
            "resolved",
            "resolvedTs",
            "logId",
            "hitId",
            "srcIP",
            "dstIP",
            "srcMac",
            "dstMac",
            "protocol",
            "protocolRaw",
            "port",
            "srcAssets",
            "dstAssets",
        ],
    ),
    (Stream::Findings, &["assetId", "pluginId", "port", "protocol", "svcName", "time", "output", "status", "severity"]),
];

/// The same wherever both say something. Numbers by their value: one client has 5060, the other 5060.0.
fn assert_same(what: &str, ours: &Json, theirs: &Json) {
    match (ours, theirs) {
        (Json::Object(ours), Json::Object(theirs)) => {
            for (key, ours) in ours {
                if let Some(theirs) = theirs.get(key) {
                    assert_same(&format!("{what}.{key}"), ours, theirs);
                }
            }
        }
        (Json::Array(ours), Json::Array(theirs)) => {
            assert_eq!(ours.len(), theirs.len(), "{what}");
            for (number, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                assert_same(&format!("{what}[{number}]"), ours, theirs);
            }
        }
        (Json::Number(one), Json::Number(other)) => assert_eq!(one.as_f64(), other.as_f64(), "{what}"),
        _ => assert_eq!(ours, theirs, "{what}"),
    }
}

/// By what tells one from another in both lists.
fn by_key(stream: Stream, records: Vec<Json>) -> BTreeMap<String, Json> {
    let parts: &[&str] =
        if stream == Stream::Findings { &["assetId", "pluginId", "port", "protocol"] } else { &["id"] };
    let key = |record: &Json| parts.iter().map(|part| record[part].to_string()).collect::<Vec<_>>().join(" ");
    let count = records.len();
    let by_key: BTreeMap<_, _> = records.into_iter().map(|record| (key(&record), record)).collect();
    assert_eq!(by_key.len(), count, "{stream}: one key twice");
    by_key
}

#[tokio::test(flavor = "multi_thread")]
async fn pytenable_and_robocred_list_the_same_values_of_every_stream() {
    let Some(python) = judges::python(&["tenable.ot"], "pytenable") else { return };
    let plant = Plant::started(Options { devices: 230, api_key: Some(KEY.to_owned()), ..Options::default() }).await;
    let judge = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pytenable_lists.py");
    let mut command = Command::new(python);
    command.args([judge, &plant.simulator.url(), KEY]).env_remove("TOT_API_KEY").env_remove("TOT_URL");
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut theirs: Json = serde_json::from_slice(&output.stdout).unwrap();

    for (stream, shared) in SHARED {
        let out = Written::default();
        let request = Request {
            stream,
            with_details: stream == Stream::Assets,
            // The library lists the findings of hidden devices too, and no hidden device.
            include_hidden: stream == Stream::Findings,
            to: Destination::Stdout,
            ..plant.request(None)
        };
        let run = plant.ingest_at(SystemClock.now(), &request, out.clone()).await.unwrap();
        assert!(run.complete(), "{stream}: {:?}", run.incomplete);
        let ours = by_key(stream, lines(&String::from_utf8(out.bytes()).unwrap()));
        let Json::Array(theirs) = theirs[stream.as_str()].take() else { panic!("{stream} is no list") };
        let theirs = by_key(stream, theirs);
        assert!(!ours.is_empty(), "{stream}");
        assert!(ours.keys().eq(theirs.keys()), "{stream}: {} of ours, {} of theirs", ours.len(), theirs.len());
        for (key, record) in &ours {
            assert_same(&format!("{stream} {key}"), record, &theirs[key]);
            for field in shared {
                let both = [record, &theirs[key]].map(|record| record.get(field).is_some());
                assert_eq!(both, [true, true], "{stream} {key}: {field}");
            }
        }
    }
}
