//! What the plugins found: the same hits over GraphQL as REST gives for each device.
//!
//! Rows are in the order of plugins and then of devices, so that a row's two
//! ends are arithmetic for any number of devices, and its id stays when a
//! device is added.

use super::{
    devices::{Device, Plant},
    plugins::{self, Plugin},
};
use serde_json::{Value as Json, json};

/// More devices than one plugin can hit.
const MOST_OF_ONE: usize = 1 << 17;

/// One plugin hit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finding {
    pub plugin: Plugin,
    pub device: Device,
    /// Which of its plugin's hits.
    nth: usize,
}

/// How many there are, hidden devices included.
pub(super) fn count(plant: Plant) -> usize {
    (0..plugins::COUNT).map(|index| Plugin { plant, index }.hits()).sum()
}

/// Row `index` of the findings, in the order of ids; beyond the last row a hit that nobody has yet.
pub(super) fn finding(plant: Plant, index: usize) -> Finding {
    let mut rest = index;
    for plugin in (0..plugins::COUNT).map(|index| Plugin { plant, index }) {
        let hits = plugin.hits();
        if rest < hits {
            return Finding { plugin, device: plugin.device(rest), nth: rest };
        }
        rest -= hits;
    }
    let plugin = Plugin { plant, index: plugins::COUNT - 1 };
    let nth = plugin.hits() + rest;
    Finding { plugin, device: plugin.device(nth), nth }
}

impl Finding {
    fn id(self) -> String {
        let position = self.plugin.index * MOST_OF_ONE + self.nth;
        let plant = self.device.plant;
        let front = plant.uuid(position, plugins::COUNT * MOST_OF_ONE, 70).replace('-', "");
        format!("{front}{:016x}{:016x}", plant.number(position, 71), plant.number(position, 72))
    }

    /// The row of its device among all.
    pub(super) fn with_device(self, device: impl FnOnce(usize) -> Device) -> Self {
        Self { device: device(self.device.index), ..self }
    }

    /// The value of a field by its GraphQL name, but for `asset` and `plugin`.
    pub(super) fn fact(self, field: &str) -> Json {
        match field {
            "id" => json!(self.id()),
            "firstHit" => json!(self.device.first_seen()),
            "lastHit" => json!(self.device.last_seen()),
            "assetId" => json!(self.device.id()),
            "pluginId" => self.plugin.fact("id"),
            "status" | "port" | "protocol" | "svcName" | "output" | "severity" => {
                self.plugin.hit(self.device)[field].take()
            }
            _ => Json::Null,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn they_are_the_hits_of_all_devices() {
        for count in [1, 40, 333] {
            let plant = Plant { seed: 1, count, added: 2, hostile: false };
            let findings: Vec<Finding> = (0..super::count(plant)).map(|row| finding(plant, row)).collect();
            let mine: BTreeSet<(usize, usize)> = findings.iter().map(|it| (it.device.index, it.plugin.index)).collect();
            let hits: BTreeSet<(usize, usize)> = plant
                .devices()
                .flat_map(|device| plugins::of_device(device).map(move |plugin| (device.index, plugin.index)))
                .collect();
            assert_eq!((findings.len(), mine), (hits.len(), hits), "{count}");
            let ids: Vec<String> = findings.iter().map(|it| it.id()).collect();
            assert!(ids.is_sorted() && ids.iter().all(|id| id.len() == 64), "{count}");
        }
    }
}
