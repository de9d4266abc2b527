//! The synthetic catalogue of plugins, and which devices each one hits.
//!
//! A plugin hits every `period`-th device, so that counts are arithmetic for
//! any number of devices.

use super::devices::{Device, Plant, time_text};
use serde_json::{Value as Json, json};

/// How many plugins there are.
pub(super) const COUNT: usize = 60;

/// Row `index` of the catalogue, in the order of ids.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plugin {
    pub plant: Plant,
    pub index: usize,
}

/// The plugins that hit this device.
pub(super) fn of_device(device: Device) -> impl Iterator<Item = Plugin> {
    (0..COUNT)
        .map(move |index| Plugin { plant: device.plant, index })
        .filter(move |plugin| device.index % plugin.period() == plugin.first())
}

impl Plugin {
    fn number(self, salt: u64) -> u64 {
        self.plant.number(self.index, salt ^ 0x7000)
    }

    /// 12 to 130, so that a device has about one hit and many have none.
    fn period(self) -> usize {
        12 + self.index * 2
    }

    fn first(self) -> usize {
        self.index % self.period()
    }

    fn id(self) -> usize {
        500_000 + self.index * 37
    }

    /// The devices it hits.
    pub(super) fn devices(self) -> impl Iterator<Item = Device> {
        (0..self.hits()).map(move |nth| self.device(nth))
    }

    /// How many devices it hits.
    pub(super) fn hits(self) -> usize {
        self.plant.size().saturating_sub(self.first()).div_ceil(self.period())
    }

    /// The device it hits as its `nth`, whether that is there or not.
    pub(super) fn device(self, nth: usize) -> Device {
        self.plant.device(self.first() + nth * self.period())
    }

    fn severity(self) -> &'static str {
        ["Info", "Low", "Medium", "High", "Critical"][self.index % 5]
    }

    fn name(self) -> String {
        format!("Simulated weakness {} ({})", self.index + 1, self.cve())
    }

    fn cve(self) -> String {
        format!("CVE-2025-{}", 90_000 + self.index)
    }

    /// The value of a field by its GraphQL name.
    pub(super) fn fact(self, field: &str) -> Json {
        match field {
            "id" => json!(self.id()),
            "name" => json!(self.name()),
            "source" => json!(if self.index % 4 == 3 { "NNM" } else { "Tot" }),
            "family" => json!(if self.index % 4 == 3 { "SCADA" } else { "Tenable.ot" }),
            "severity" => json!(self.severity()),
            "vprScore" => {
                json!((self.index % 4 != 3).then(|| f64::from(u32::try_from(self.number(1) % 100).unwrap_or(0)) / 10.0))
            }
            "totalAffectedAssets" => json!(self.hits()),
            "details" => self.details(),
            _ => Json::Null,
        }
    }

    fn details(self) -> Json {
        json!({
            "id": self.id(), "name": self.name(), "source": self.fact("source"), "family": self.fact("family"),
            "description": "A simulated description.\nIt has two lines.", "solution": "Apply the simulated update.",
            "seeAlso": ["https://example.com/advisory"], "pluginType": "remote",
            "pluginPubDate": time_text(-86_400 * 90, 0), "pluginModDate": time_text(-86_400 * 10, 0),
            "vulnPubDate": time_text(-86_400 * 100, 0), "vulnModDate": null,
            "refs": [{"name": "CVE", "value": self.cve(), "url": format!("https://example.com/{}", self.cve())}],
            "cpe": "cpe:/h:example:device", "cpes": ["cpe:/h:example:device"], "cves": [self.cve()],
            "cvssVector": "CVSS2#AV:N/AC:L/Au:N/C:N/I:N/A:P", "cvssV3Vector": "CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H",
            "cvssBaseScore": "5.0", "cvssV3BaseScore": "7.5",
        })
    }

    /// One item of `/v1/assets/{id}/plugin_hits`.
    pub(super) fn hit(self, device: Device) -> Json {
        json!({
            "assetId": device.id(), "pluginId": self.id(), "port": 0, "protocol": "tcp", "svcName": null,
            "time": device.last_seen(), "mitigatedAt": null, "mitigationDuration": null,
            "output": "Simulated output", "status": "Active", "severity": self.severity(),
        })
    }
}
