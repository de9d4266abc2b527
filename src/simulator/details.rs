//! The two REST shapes of a device.
//!
//! Owns the asset as newer releases write it, which is also the GraphQL
//! scalar `details`, and the asset as the releases of 2020 wrote it.

use super::devices::{Device, NEVER};
use serde_json::{Map, Value as Json, json};

/// The newer shape: some keys always there with `null`, others left out when empty.
pub(super) fn details(device: Device) -> Json {
    let id = device.id();
    let (ips, name) = (device.ips(), device.name());
    let mut asset = Map::new();
    asset.insert("id".to_owned(), json!(id));
    asset.insert("name".to_owned(), json!(name));
    for field in ["firstSeen", "lastSeen"] {
        asset.insert(field.to_owned(), device.fact(field));
    }
    asset.insert("macs".to_owned(), json!(device.macs()));
    asset.insert("ips".to_owned(), json!(ips));
    asset.insert("segments".to_owned(), json!([]));
    for field in ["type", "superType", "category", "purdueLevel", "vendor", "runStatus", "runStatusTime", "os"] {
        insert_known(&mut asset, field, device.fact(field));
    }
    let family = device.fact("family");
    let raw_family = family.as_str().map_or_else(|| "UnknownFamily".to_owned(), |family| family.replace(' ', ""));
    asset.insert("rawFamily".to_owned(), json!(raw_family));
    insert_known(&mut asset, "family", family);
    insert_known(&mut asset, "modelName", device.fact("model"));
    for field in ["firmwareVersion", "serial", "slot", "location", "description"] {
        insert_known(&mut asset, field, device.fact(field));
    }
    if let Some(mut backplane) = device.backplane() {
        asset.insert("backplane".to_owned(), backplane["id"].take());
        asset.insert("backplaneName".to_owned(), backplane["name"].take());
        asset.insert("cip".to_owned(), json!({"deviceType": device.fact("type")}));
        asset.insert("common".to_owned(), json!({"plcName": name}));
    }
    asset.insert("risk".to_owned(), device.risk());
    for field in ["criticality", "hidden", "lastUpdate"] {
        asset.insert(field.to_owned(), device.fact(field));
    }
    let incidents = json!([if device.backplane().is_some() { "BackplaneIncident" } else { "DirectConnectorIncident" }]);
    asset.insert("classificationIncidents".to_owned(), incidents);
    asset.insert("names".to_owned(), names(device, &id, &name));
    asset.insert("customFields".to_owned(), json!([]));
    // A controller is reached through its backplane's module, the rest directly.
    let (direct, additional) = if device.backplane().is_some() { (None, ips.first()) } else { (ips.first(), None) };
    asset.insert("directIp".to_owned(), json!(direct));
    asset.insert("additionalIp".to_owned(), json!(additional));
    for field in ["directIps", "directMac", "directMacs", "additionalIps", "additionalMac", "additionalMacs"] {
        asset.insert(field.to_owned(), Json::Null);
    }
    asset.insert("stateUpdateTime".to_owned(), json!(NEVER));
    let mut segment = device.segment();
    for (field, value) in [
        ("archived", json!(false)),
        ("system", json!(true)),
        ("lastModifiedDate", Json::Null),
        ("lastModifiedBy", Json::Null),
        ("isPredefinedName", json!(true)),
    ] {
        segment[field] = value;
    }
    asset.insert("extendedSegments".to_owned(), json!([segment]));
    asset.insert("state".to_owned(), json!("Unknown"));
    Json::Object(asset)
}

/// The shape of 2020; `incidents` is there in the reply for one asset only.
pub(super) fn of_2020(device: Device, with_incidents: bool) -> Json {
    let ips = device.ips();
    let mut asset = Map::new();
    for field in ["id", "name", "firstSeen", "lastSeen"] {
        asset.insert(field.to_owned(), device.fact(field));
    }
    asset.insert("addresses".to_owned(), json!(ips));
    asset.insert("directAddresses".to_owned(), json!([ips[0]]));
    let kind = device.fact("type");
    asset.insert("type".to_owned(), json!(format!("{}Type", kind.as_str().unwrap_or("Unknown"))));
    for field in ["purdueLevel", "vendor", "runStatus", "runStatusTime", "os", "family", "firmwareVersion"] {
        insert_known(&mut asset, field, device.fact(field));
    }
    asset.insert("risk".to_owned(), device.risk());
    for field in ["criticality", "hidden"] {
        asset.insert(field.to_owned(), device.fact(field));
    }
    asset.insert("site".to_owned(), json!(device.plant.uuid(0, 1, 99)));
    if with_incidents {
        asset.insert("incidents".to_owned(), json!(["DirectConnectorIncident"]));
    }
    Json::Object(asset)
}

fn insert_known(asset: &mut Map<String, Json>, field: &str, value: Json) {
    if !value.is_null() {
        asset.insert(field.to_owned(), value);
    }
}

fn names(device: Device, id: &str, chosen: &str) -> Json {
    let entry = |source: &str, value: &str| json!({"id": id, "source": source, "value": value});
    let mut names = vec![entry("Default", &device.default_name()), entry("Chosen", chosen)];
    if let Some(dns) = device.dns_name() {
        names.push(entry("Dns", &dns));
    }
    Json::Array(names)
}
