//! Recorded records, field by field: what each column should hold is written
//! down here, what it does hold is read from bodies that a real appliance sent.
//!
//! The recordings are other people's data and not part of this project; see
//! `appliance_bodies`.

use std::{collections::BTreeMap, fs, path::PathBuf};

use robocred::{
    ingest::columns::{Columns, Value},
    site::Stream,
};
use serde_json::value::RawValue;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::sinks::STREAMS;

/// A record of a recording: its stream, the file, and the way to it.
type At = (Stream, &'static str, &'static str);

const CONTROLLER: At = (Stream::Assets, "pytenable_cassette_assets.json", "data/assets/nodes/0");
const SWITCH: At = (Stream::Assets, "pytenable_cassette_assets.json", "data/assets/nodes/1");
const CONTROLLER_BY_REST: At = (Stream::Assets, "pytenable_cassette_assets.json", "data/assets/nodes/0/details");
const SWITCH_BY_REST: At = (Stream::Assets, "pytenable_cassette_assets.json", "data/assets/nodes/1/details");
const HIDDEN: At = (Stream::Assets, "pytenable_unit_assets.json", "0/json/data/assets/nodes/0");
const ADAPTER: At = (Stream::Assets, "pytenable_unit_assets.json", "1/json/data/assets/nodes/0");
const REST_2020: At = (Stream::Assets, "pytenable_rest_v1_2020.json", "1/json/0");
const REST_2020_ONE: At = (Stream::Assets, "pytenable_rest_v1_2020.json", "2/json");
const REST_2020_PLC: At = (Stream::Assets, "pytenable_rest_v1_2020.json", "7/json/0");
const PLUGIN: At = (Stream::Plugins, "pytenable_cassette_plugins.json", "data/plugins/nodes/1");
const PLUGIN_2: At = (Stream::Plugins, "pytenable_unit_plugins.json", "0/json/data/plugins/nodes/0");
const EVENT: At = (Stream::Events, "pytenable_cassette_events.json", "data/events/nodes/0");
const EVENT_2: At = (Stream::Events, "pytenable_unit_events.json", "0/json/data/events/nodes/0");
const FINDING: At = (Stream::Findings, "pytenable_unit_findings.json", "0/json/data/findings/nodes/0");
const FINDING_FIXED: At = (Stream::Findings, "pytenable_unit_findings.json", "3/json/data/findings/nodes/0");

/// Null as `-`, never as `never`; a list between brackets; times by their microseconds.
#[rustfmt::skip]
const EXPECTED: &[(At, &[(&str, &str)])] = &[
    (CONTROLLER, &[
        ("id", "ffa38748-e7a1-4374-b6e0-4c4d79b19138"), ("name", "Sith"), ("type", "Plc"), ("superType", "Controller"),
        ("category", "ControllersCategory"), ("criticality", "HighCriticality"), ("purdueLevel", "Level1"), ("hidden", "false"),
        ("vendor", "Rockwell"), ("family", "ControlLogix 5560"), ("model", "1756-L61/B LOGIX5561"), ("firmwareVersion", "13.071"),
        ("serial", "7D4F66"), ("os", "-"), ("location", "-"), ("slot", "2"), ("runStatus", "Unknown"), ("runStatusTime", "never"),
        ("firstSeen", "2023-01-13T17:31:02.895915Z"), ("lastSeen", "2023-01-18T08:25:34.067335Z"),
        ("lastUpdate", "2023-01-19T00:00:01.846146Z"), ("lastHit", "-"), ("risk.totalRisk", "53.134920602608716"),
        ("risk.unresolvedEvents", "4"), ("risk.pluginCount", "-"), ("backplane.id", "86a99715-1b46-4b82-b194-1b47063b7610"),
        ("backplane.name", "Backplane #17"), ("backplane.size", "4"), ("ips", "[10.100.101.152]"), ("macs", "[]"),
        ("directIps", "-"), ("segments.id", "[9d7fda93-2b52-4a51-af19-9354eeb10ae3]"), ("segments.key", "[AG1-14]"),
        ("segments.name", "[Controller / 10.100.101.X]"), ("segments.vlan", "[-]"), ("customField1", "-"), ("site", "-"),
    ]),
    (SWITCH, &[
        ("name", "arista7010.lab.tenablesecurity.com"), ("vendor", "-"), ("model", "-"), ("slot", "-"), ("risk.totalRisk", "0"),
        ("risk.unresolvedEvents", "0"), ("backplane.id", "-"), ("backplane.name", "-"), ("backplane.size", "-"),
        ("ips", "[172.26.0.140]"), ("purdueLevel", "Level3"), ("segments.assetType", "[Unknown]"),
    ]),
    (CONTROLLER_BY_REST, &[
        ("id", "ffa38748-e7a1-4374-b6e0-4c4d79b19138"), ("name", "Sith"), ("model", "1756-L61/B LOGIX5561"), ("slot", "2"),
        ("risk.totalRisk", "53.134920602608716"), ("risk.unresolvedEvents", "-"),
        ("backplane.id", "86a99715-1b46-4b82-b194-1b47063b7610"), ("backplane.name", "Backplane #17"), ("backplane.size", "-"),
        ("ips", "[10.100.101.152]"), ("macs", "[]"), ("directIps", "-"), ("lastUpdate", "2023-01-19T00:00:01.846146Z"),
        ("segments.id", "[9d7fda93-2b52-4a51-af19-9354eeb10ae3]"), ("segments.subnet", "[10.100.101.X]"),
        ("incidents", "[ConversationIcsProtocolDstIncident; BackplaneIncident; CipIdentityPlcIncident]"), ("details", "-"),
    ]),
    (SWITCH_BY_REST, &[
        ("vendor", "-"), ("risk.totalRisk", "0"), ("backplane.id", "-"), ("directIps", "[172.26.0.140]"), ("directMacs", "-"),
        ("segments.key", "[AG1-9]"), ("incidents", "[DirectConnectorIncident]"),
    ]),
    (HIDDEN, &[
        ("id", "e419cab7-4a5a-4f0d-a05f-982928919eba"), ("name", "STEP7"), ("hidden", "true"), ("os", "Windows Server 2008 R2"),
        ("lastUpdate", "2022-10-04T02:18:54.78456Z"), ("ips", "[10.100.30.37]"),
    ]),
    (ADAPTER, &[
        ("type", "Cp"), ("macs", "[f4:54:33:a6:78:c9]"), ("risk.totalRisk", "23.87340490112799"), ("family", "MicroLogix 1100"),
        ("serial", "33A678C9"), ("segments.key", "[AG1-35]"),
    ]),
    (REST_2020, &[
        ("id", "000b3456-35f6-4b83-8ffe-45aceb288ce4"), ("name", "Endpoint #548"), ("type", "UnknownType"), ("superType", "-"),
        ("firstSeen", "2020-05-22T15:36:48.323534Z"), ("runStatusTime", "never"), ("vendor", "Cisco"), ("hidden", "false"),
        ("ips", "[192.168.106.254]"), ("directIps", "[192.168.106.254]"), ("macs", "-"), ("risk.totalRisk", "15.651708757702835"),
        ("backplane.id", "-"), ("lastUpdate", "-"), ("site", "e4f7997b-8470-483c-a4b2-8fddcae22df3"), ("incidents", "-"),
    ]),
    (REST_2020_ONE, &[("vendor", "-"), ("incidents", "[DirectConnectorIncident]"), ("risk.totalRisk", "44.050849231996736")]),
    (REST_2020_PLC, &[
        ("type", "PlcType"), ("os", "Windows 7 Service Pack 1"), ("family", "C-Series"), ("firmwareVersion", "3.1.4024"),
        ("criticality", "HighCriticality"),
    ]),
    (PLUGIN, &[
        ("id", "764524"), ("source", "NNM"), ("family", "SCADA"), ("severity", "Info"), ("vprScore", "-"), ("comment", "-"),
        ("owner", "-"), ("totalAffectedAssets", "3"), ("details", "-"),
    ]),
    (PLUGIN_2, &[("id", "720250"), ("severity", "Medium"), ("totalAffectedAssets", "2")]),
    (EVENT, &[
        ("id", "d8f02534-d603-43bd-8042-6553f004aacb"), ("logId", "1007"), ("hitId", "d8f02534-d603-43bd-8042-6553f004aacb"),
        ("type", "OpenPort"), ("category", "NetworkEvents"), ("severity", "Medium"), ("time", "2023-01-13T19:49:55.045578Z"),
        ("resolved", "false"), ("resolvedTs", "-"), ("continuous", "false"), ("srcIP", "10.100.101.150"), ("srcMac", "-"),
        ("protocol", "sip (tcp/5060)"), ("protocolRaw", "TCP"), ("port", "5060"), ("completion", "CompletionUnknown"),
        ("eventType.type", "OpenPort"), ("eventType.group", "PortEvent"), ("eventType.category", "NetworkEvents"),
        ("policy.id", "8f8197a5-48f0-4457-a0cd-49f4eef87569"), ("policy.level", "Medium"), ("policy.key", "P3-36"),
        ("srcNames", "[AlsoHere; DeviceNet_L81; Rouge]"), ("srcAssets.name", "[AlsoHere; DeviceNet_L81; Rouge]"),
        ("dstAssets.id", "[]"), ("dstNames", "[]"), ("hasDetails", "false"), ("payloadSize", "0"), ("srcInterface.id", "-"),
    ]),
    (EVENT_2, &[
        ("logId", "288"), ("port", "48899"), ("protocol", "ADS/AMS (udp/48899)"), ("srcIP", "10.100.20.82"),
        ("srcInterface.id", "71d1edd9-bdce-4a59-96f7-7f041baa7680"), ("srcInterface.mac", "00:50:56:83:6c:23"),
        ("srcInterface.family", "VMware"), ("dstInterface.family", "GE"), ("dstAssets.name", "[CPU 412-2 PN/DP]"),
        ("time", "2022-09-11T07:53:51.349315Z"),
    ]),
    (FINDING, &[
        ("id", "d9dc32ba06243f814f819d363b521d55e351d9370b17c750c6322a67bc9d0086"), ("status", "Active"), ("port", "0"),
        ("protocol", "tcp"), ("svcName", "-"), ("output", "Test output"), ("firstHit", "2026-03-04T17:05:24.449819Z"),
        ("lastHit", "2026-03-04T17:05:24.449819Z"), ("fixedAt", "-"), ("time", "-"),
        ("asset.id", "5cb025fd-524b-47f1-81f7-bd472b450c7d"), ("asset.type", "Camera"), ("asset.location", "Server Room"),
        ("plugin.id", "502387"), ("plugin.severity", "Critical"), ("plugin.vprScore", "6.5"), ("plugin.source", "Tot"),
        ("plugin.comment", "-"),
    ]),
    (FINDING_FIXED, &[
        ("status", "Resolved"), ("fixedAt", "2026-03-03T09:00:00Z"), ("svcName", "ssh"), ("plugin.owner", "security-team"),
        ("asset.criticality", "HighCriticality"),
    ]),
];

/// A value inside a JSON text, as it stands there.
fn inside<'a>(json: &'a str, way: &str) -> &'a str {
    way.split('/').fold(json, |json, step| match step.parse::<usize>() {
        Ok(index) => serde_json::from_str::<Vec<&RawValue>>(json).unwrap()[index].get(),
        Err(_) => serde_json::from_str::<BTreeMap<String, &RawValue>>(json).unwrap()[step].get(),
    })
}

fn shown(value: Option<&Value<'_>>) -> String {
    match value {
        None => "-".to_owned(),
        Some(Value::Text(text)) => text.to_string(),
        Some(Value::Bool(value)) => value.to_string(),
        Some(Value::Int(number)) => number.to_string(),
        Some(Value::Float(number, digits)) => {
            assert_eq!(number.to_string(), *digits);
            digits.to_string()
        }
        Some(Value::Time(None, text)) => {
            assert_eq!(text, "0001-01-01T00:00:00Z");
            "never".to_owned()
        }
        Some(Value::Time(Some(micros), text)) => {
            let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(*micros) * 1000).unwrap();
            assert_eq!(time.format(&Rfc3339).unwrap(), *text);
            text.to_string()
        }
        Some(Value::List(items)) => {
            let items: Vec<_> = items.iter().map(|item| item.as_deref().unwrap_or("-")).collect();
            format!("[{}]", items.join("; "))
        }
        Some(Value::Json(json)) => (*json).to_owned(),
    }
}

#[test]
fn recorded_records_are_what_is_written_down() {
    let Some(folder) = std::env::var_os("ROBOCRED_RECORDED_BODIES").map(PathBuf::from) else {
        eprintln!("SKIPPED: no recorded bodies (set ROBOCRED_RECORDED_BODIES to their folder)");
        return;
    };
    let mut wrong = Vec::new();
    for ((stream, file, way), cells) in EXPECTED {
        let text = fs::read_to_string(folder.join(file)).unwrap();
        let columns = Columns::of(*stream, true);
        let row = columns.read(inside(&text, way)).unwrap();
        assert_eq!(row.flagged, 0, "{file} {way}");
        for (name, expected) in *cells {
            let at = columns.list().iter().position(|column| column.name == *name);
            let found = shown(row.values[at.unwrap_or_else(|| panic!("no column {name}"))].as_ref());
            if found != *expected {
                wrong.push(format!("{file} {way} {name}: {found}, not {expected}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(STREAMS.iter().all(|stream| EXPECTED.iter().any(|((of, ..), _)| of == stream)));
}

/// The details hold everything as it stood, and every recorded record fits its columns.
#[test]
fn every_recorded_record_fits() {
    let Some(folder) = std::env::var_os("ROBOCRED_RECORDED_BODIES").map(PathBuf::from) else { return };
    let mut records = 0;
    let all = [
        (Stream::Assets, "pytenable_unit_assets.json", "assets"),
        (Stream::Plugins, "pytenable_unit_plugins.json", "plugins"),
        (Stream::Events, "pytenable_unit_events.json", "events"),
        (Stream::Findings, "pytenable_unit_findings.json", "findings"),
    ];
    for (stream, file, list) in all {
        let text = fs::read_to_string(folder.join(file)).unwrap();
        for sample in serde_json::from_str::<Vec<&RawValue>>(&text).unwrap() {
            let nodes = inside(sample.get(), &format!("json/data/{list}/nodes"));
            for record in serde_json::from_str::<Vec<&RawValue>>(nodes).unwrap() {
                let columns = Columns::of(stream, true);
                let row = columns.read(record.get()).unwrap();
                assert_eq!(row.flagged, 0, "{file}");
                let details = columns.list().iter().position(|column| column.name.ends_with("details"));
                if let Some(Value::Json(json)) = details.and_then(|at| row.values[at].as_ref()) {
                    assert!(record.get().contains(json) && json.starts_with('{'), "{file}");
                }
                records += 1;
            }
        }
    }
    assert!(records >= 8, "{records}");
}
