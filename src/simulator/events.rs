//! Synthetic events: one for every second device.

use super::devices::{Device, Plant, time_text};
use serde_json::{Value as Json, json};

/// Row `index` of the events, in the order of ids.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub plant: Plant,
    pub index: usize,
}

/// How many events the plant has.
pub(super) fn count(plant: Plant) -> usize {
    plant.count / 2
}

/// The events this device is the source of.
pub(super) fn of_device(device: Device) -> impl Iterator<Item = Event> {
    let index = device.index / 2;
    (device.index.is_multiple_of(2) && index < count(device.plant))
        .then_some(Event { plant: device.plant, index })
        .into_iter()
}

impl Event {
    fn source(self) -> Device {
        self.plant.device(self.index * 2)
    }

    /// A conversation has two ends, an open port one.
    fn destination(self) -> Option<Device> {
        (!self.is_port()).then(|| self.plant.device(self.index * 2 + 1))
    }

    fn id(self) -> String {
        self.plant.uuid(self.index, count(self.plant), 60)
    }

    fn is_port(self) -> bool {
        self.index.is_multiple_of(3)
    }

    /// The value of a field by its GraphQL name.
    pub(super) fn fact(self, field: &str) -> Json {
        match field {
            "id" | "hitId" | "eventId" => json!(self.id()),
            "logId" => json!(self.index + 1),
            "time" => json!(time_text(
                42 * 86_400 + i64::try_from(self.index).unwrap_or(0),
                self.plant.number(self.index, 61)
            )),
            "type" => json!(if self.is_port() { "OpenPort" } else { "Conversation" }),
            "category" => json!("NetworkEvents"),
            "severity" => json!(["Low", "Medium", "High"][self.index % 3]),
            "completion" => json!("CompletionUnknown"),
            "resolved" => json!(self.index % 10 == 9),
            "resolvedTs" => json!((self.index % 10 == 9).then(|| time_text(60 * 86_400, 0))),
            "srcIP" => json!(self.source().ips()[0]),
            "protocolRaw" => json!("TCP"),
            "protocol" => json!("sip (tcp/5060)"),
            "port" => json!(5060),
            "payloadSize" => json!(0),
            "hasDetails" | "continuous" => json!(false),
            "eventType" => self.event_type(),
            "policy" => self.policy(),
            "dstIP" => json!(self.destination().map(|end| end.ips()[0].clone())),
            "srcAssets" => assets(Some(self.source())),
            "dstAssets" => assets(self.destination()),
            "srcNames" => names(Some(self.source())),
            "dstNames" => names(self.destination()),
            "srcInterface" => json!(self.interface(self.source())),
            "dstInterface" => json!(self.destination().map(|end| self.interface(end))),
            _ => Json::Null,
        }
    }

    fn event_type(self) -> Json {
        let (kind, group, schema) = if self.is_port() {
            ("OpenPort", "PortEvent", "PortSchema")
        } else {
            ("Conversation", "NetworkEvent", "NetworkSchema")
        };
        json!({"type": kind, "group": group, "description": format!("Simulated {kind}"), "schema": schema,
               "category": "NetworkEvents", "family": null, "canCapture": false, "actions": ["Email", "Syslog"], "exclusion": kind})
    }

    fn policy(self) -> Json {
        let number = self.index % 12;
        let member = |salt| json!({"group": {"id": self.plant.uuid(number, 12, salt), "name": "Simulated group"}, "negate": false});
        json!({
            "id": self.plant.uuid(number, 12, 62), "index": number + 1, "title": format!("Simulated policy {}", number + 1),
            "level": "Medium", "disabled": false, "archived": false, "schema": "PortSchema", "continuous": false,
            "snapshot": false, "system": true, "key": format!("P1-{}", number + 1), "eventTypeDetails": self.event_type(),
            "disableAfterHit": false, "actions": {"nodes": []}, "paused": false,
            "srcAssetGroup": [[member(63)]], "dstAssetGroup": [[member(66)]], "schedule": member(67), "protocolGroup": member(68), "portGroup": member(64), "exclusions": {"nodes": []},
            "aggregatedEventsCount": {"last24h": 0, "last7d": 1, "last30d": 2},
        })
    }

    fn interface(self, end: Device) -> Json {
        json!({
            "id": self.plant.uuid(end.index, self.plant.count, 65), "lastSeen": end.last_seen(),
            "firstSeen": end.first_seen(), "mac": end.macs().first(), "ips": {"nodes": [{"ip": end.ips()[0]}]},
            "dnsNames": {"nodes": []}, "family": "Unknown", "directAsset": {"id": end.id()},
        })
    }
}

fn assets(end: Option<Device>) -> Json {
    let nodes: Vec<Json> = end.into_iter().map(|end| json!({"id": end.id(), "name": end.name()})).collect();
    json!({"nodes": nodes})
}

fn names(end: Option<Device>) -> Json {
    json!({"nodes": Vec::from_iter(end.map(Device::name))})
}
