//! Values that no schema allows, one kind for each of some devices.
//!
//! Owns which device has which: of every [`KINDS`] devices the first few, so
//! that a test knows by a device's number what stands there. The rest of a
//! strange device is as ever. Nothing here can fail.

use super::devices::Device;
use serde_json::{Value as Json, json};

/// Every so many devices the kinds begin anew.
pub(super) const KINDS: usize = 20;

/// What stands in this field of this device in place of its value, as it goes over the wire;
/// the field by its name in GraphQL or in REST.
pub(super) fn value(device: Device, field: &str) -> Option<Vec<u8>> {
    let text = |text: &str| Some(text.as_bytes().to_vec());
    match (device.index % KINDS, field) {
        (1, "name") => Some(b"\"not UTF-8: \xff\xfe\xc3\x28\"".to_vec()),
        (2, "name") => text(r#""half a pair: \ud83d, and the other half: \ude00""#),
        (3, "slot") => text(r#""7""#),
        // As the integer it may be, in a text, with an exponent.
        (3, "risk") => text(r#"{"totalRisk":"1.25e1","unresolvedEvents":"2","pluginCount":"3"}"#),
        (4, "type") => text(r#""QuantumComputer""#),
        (4, "criticality") => text(r#""UnheardOfCriticality""#),
        (5, "ips" | "macs" | "segments" | "addresses" | "directAddresses") | (10, "name") => text("null"),
        // The id of the device before.
        (6, "id") => device.index.checked_sub(1).map(|index| json!(device.plant.device(index).id()).to_string().into()),
        (8, "firstSeen") => text(r#""0001-01-01T00:00:00Z""#),
        (8, "lastSeen") => text(r#""9999-12-31T23:59:59.999999Z""#),
        (9, "hidden") => text(r#""false""#),
        (11, "name") => text(r#""""#),
        (12, "slot") => text("123456789012345678901234567890"),
        (13, "description") => text(r#"{"text":["an","object"]}"#),
        (14, "lastSeen") => text(r#""yesterday""#),
        _ => None,
    }
}

/// A REST object of this device with its strange values.
pub(super) fn object(device: Device, plain: &Json) -> Vec<u8> {
    let mut text = b"{".to_vec();
    for (position, (key, plain)) in plain.as_object().into_iter().flatten().enumerate() {
        if position > 0 {
            text.push(b',');
        }
        text.extend_from_slice(format!("{}:", json!(key)).as_bytes());
        text.extend_from_slice(&value(device, key).unwrap_or_else(|| plain.to_string().into()));
    }
    text.push(b'}');
    text
}
