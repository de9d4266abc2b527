//! The synthetic plant: every device computed from a seed and its number.
//!
//! Owns the facts of a device. A device is two words, nothing is stored, so a
//! million of them cost as much as one. Ids ascend with the number, so that
//! order by id is order by number. Leaves out the shapes these facts are
//! served in (`details`, `graphql`). Nothing here can fail.

use super::{events, plugins};
use serde_json::{Value as Json, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// 2026-01-01T00:00:00Z: every synthetic time is relative to it.
const EPOCH: i64 = 1_767_225_600;
/// Go's zero time, which the appliance serves for "never".
pub(super) const NEVER: &str = "0001-01-01T00:00:00Z";

/// A plant of `count` devices.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plant {
    pub seed: u64,
    pub count: usize,
    /// Devices that were added since, after the others.
    pub added: usize,
    /// Some names attack whoever prints them.
    pub hostile: bool,
}

/// One device: row `index` of its plant, in the order of ids.
#[derive(Clone, Copy, Debug)]
pub(super) struct Device {
    pub plant: Plant,
    pub index: usize,
    /// When something about it changed last, where that was seen: microseconds after [`EPOCH`].
    pub touched: Option<i64>,
}

struct Kind {
    name: &'static str,
    super_type: &'static str,
    category: &'static str,
    level: &'static str,
    criticality: &'static str,
    label: &'static str,
    vendor: Option<&'static str>,
    family: Option<&'static str>,
    model: Option<&'static str>,
    os: Option<&'static str>,
}

const fn kind(
    [name, super_type, category, level, criticality, label]: [&'static str; 6],
    [vendor, family, model, os]: [Option<&'static str>; 4],
) -> Kind {
    Kind { name, super_type, category, level, criticality, label, vendor, family, model, os }
}

const CONTROL: &str = "ControllersCategory";
const NETWORK: &str = "NetworkAssetsCategory";
const LOW: &str = "LowCriticality";
const MEDIUM: &str = "MediumCriticality";
const HIGH: &str = "HighCriticality";

#[rustfmt::skip]
const KINDS: [Kind; 12] = [
    kind(["Plc", "Controller", CONTROL, "Level1", HIGH, "PLC"], [Some("Northgate"), Some("NG 5500"), Some("NG-5510/B"), None]),
    kind(["Unknown", "Unknown", NETWORK, "Level3", LOW, "Endpoint"], [None; 4]),
    kind(["Rtu", "Controller", CONTROL, "Level1", HIGH, "RTU"], [Some("Ostwerk"), Some("Feldbus R"), Some("R-20"), None]),
    kind(["Hmi", "OtDevice", NETWORK, "Level2", MEDIUM, "HMI"], [Some("Northgate"), Some("Vista Panel"), Some("VP-1000"), None]),
    kind(["Eng", "Server", NETWORK, "Level2", HIGH, "Eng. Station"], [Some("Harrow"), None, None, Some("Windows 10")]),
    kind(["Switch", "NetworkDevice", NETWORK, "Level3", MEDIUM, "Switch"], [Some("Linktor"), Some("LS"), Some("LS-24"), None]),
    kind(["Camera", "Iot", NETWORK, "Level3", LOW, "Camera"], [Some("Okulo"), None, Some("OK-7"), None]),
    kind(["OtServer", "Server", NETWORK, "Level3", MEDIUM, "OT Server"], [Some("Harrow"), None, None, Some("Windows Server 2019")]),
    kind(["Io", "OtDevice", CONTROL, "Level0", MEDIUM, "I/O"], [Some("Ostwerk"), Some("Klemme"), Some("K-8DI"), None]),
    kind(["Drive", "OtDevice", CONTROL, "Level0", MEDIUM, "Drive"], [Some("Rotamax"), Some("RX"), Some("RX-45"), None]),
    kind(["Historian", "Server", NETWORK, "Level3", HIGH, "Historian"], [Some("Harrow"), None, None, Some("Linux")]),
    kind(["Robot", "OtDevice", CONTROL, "Level1", HIGH, "Robot"], [Some("Rotamax"), Some("Arm"), Some("ARM-6"), None]),
];

/// Beginnings of hostile names; the empty one makes a long name.
const HOSTILE: [&str; 9] = [
    "\u{1b}[2J\u{1b}]0;title\u{7}\u{1b}]52;c;AAAA\u{7}",
    "=cmd|' /C calc'!A0",
    "@SUM(1+1)",
    "line\r\nbreak\t\"quoted\", comma",
    "\u{202e}gnp.exe\u{2066}",
    "nul\0byte\u{9b}31m",
    "../../../etc/passwd",
    "<script>alert(1)</script>",
    "",
];

impl Plant {
    pub(super) fn device(self, index: usize) -> Device {
        Device { plant: self, index, touched: None }
    }

    /// How many devices there are now.
    pub(super) fn size(self) -> usize {
        self.count + self.added
    }

    pub(super) fn devices(self) -> impl Iterator<Item = Device> {
        (0..self.size()).map(move |index| self.device(index))
    }

    /// The device with this id, if there is one.
    pub(super) fn find(self, id: &str) -> Option<Device> {
        find(id, self.count, |index| self.device(index).id()).map(|index| self.device(index))
    }

    /// A well-mixed number for row `index`, another one for each `salt`.
    pub(super) fn number(self, index: usize, salt: u64) -> u64 {
        // SplitMix64 (Steele, Lea, Flood 2014): deterministic, not secret.
        let mut z = self.seed.wrapping_mul(0x2545_f491_4f6c_dd1d)
            ^ (index as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ salt.wrapping_mul(0xd1b5_4a32_d192_ed03);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// UUID text that ascends with `index` among `count` rows; rows beyond them come after, whatever their number.
    pub(super) fn uuid(self, index: usize, count: usize, salt: u64) -> String {
        let (a, b) = (self.number(index, salt), self.number(index, salt ^ 0xffff));
        let step = (1_u64 << 32) / count.max(1) as u64;
        let (first, second) = match index.checked_sub(count.max(1)) {
            None => (index as u64 * step + a % step, a >> 48),
            Some(beyond) => (LAST, beyond as u64),
        };
        format!(
            "{first:08x}-{second:04x}-4{:03x}-{:04x}-{:012x}",
            (a >> 32) & 0xfff,
            0x8000 | (b >> 50),
            b & 0xffff_ffff_ffff
        )
    }
}

/// How the ids of rows begin that were added to a list.
const LAST: u64 = 0xffff_ffff;

/// The row of an ascending id, by its place in the number space; a row beyond `count` too.
pub(super) fn find(id: &str, count: usize, id_of: impl Fn(usize) -> String) -> Option<usize> {
    let first = u64::from_str_radix(id.get(..8)?, 16).ok()?;
    let step = (1_u64 << 32) / count.max(1) as u64;
    let among = usize::try_from(first / step).ok().filter(|index| *index < count);
    let beyond = || Some(count.max(1) + usize::from_str_radix(id.get(9..13)?, 16).ok()?).filter(|_| first == LAST);
    let is_it = |index: &usize| id_of(*index) == id;
    among.filter(is_it).or_else(|| beyond().filter(is_it))
}

/// Microseconds after [`EPOCH`].
pub(super) fn micros(time: OffsetDateTime) -> i64 {
    i64::try_from(time.unix_timestamp_nanos() / 1_000).unwrap_or(0) - EPOCH * 1_000_000
}

/// RFC 3339 in UTC, trailing zeros of the fraction trimmed, as the appliance writes it.
pub(super) fn time_text(seconds_after_epoch: i64, micros: u64) -> String {
    let at = i128::from(EPOCH + seconds_after_epoch) * 1_000_000_000 + i128::from(micros % 1_000_000) * 1_000;
    OffsetDateTime::from_unix_timestamp_nanos(at)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| NEVER.to_owned())
}

impl Device {
    fn number(self, salt: u64) -> u64 {
        self.plant.number(self.index, salt)
    }

    /// True for about one device in `n`.
    fn one_in(self, n: u64, salt: u64) -> bool {
        self.number(salt).is_multiple_of(n)
    }

    fn kind(self) -> &'static Kind {
        // Weighted towards the first kinds, as a plant has more endpoints than robots.
        let draw = self.number(1);
        let width = 2 + draw % (KINDS.len() as u64 - 1);
        &KINDS[usize::try_from((draw >> 32) % width).unwrap_or(0)]
    }

    pub(super) fn id(self) -> String {
        self.plant.uuid(self.index, self.plant.count, 2)
    }

    /// One device in 25 is hidden.
    pub(super) fn hidden(self) -> bool {
        self.index % 25 == 7
    }

    pub(super) fn default_name(self) -> String {
        format!("{} #{}", self.kind().label, self.index + 1)
    }

    pub(super) fn dns_name(self) -> Option<String> {
        self.one_in(4, 3).then(|| format!("host-{}.plant.example", self.index + 1))
    }

    pub(super) fn name(self) -> String {
        if self.plant.hostile && self.index.is_multiple_of(3) {
            let attack = HOSTILE[self.index / 3 % HOSTILE.len()];
            return format!("{attack}{}", self.index).repeat(if attack.is_empty() { 1_000 } else { 1 });
        }
        match self.number(4) % 16 {
            0 => format!("Förderband \"{}\"", self.index + 1),
            1 => format!("ポンプ {}", self.index + 1),
            _ => self.dns_name().unwrap_or_else(|| self.default_name()),
        }
    }

    fn line(self) -> u64 {
        self.number(5) % 40
    }

    pub(super) fn ips(self) -> Vec<String> {
        let host = self.index % 250 + 1;
        let mut ips = vec![format!("10.{}.{}.{host}", 20 + (self.index / 62_500) % 200, (self.index / 250) % 250)];
        if self.one_in(12, 6) {
            ips.push(format!("192.168.{}.{host}", self.line()));
        }
        ips
    }

    pub(super) fn macs(self) -> Vec<String> {
        let bytes = self.number(7).to_be_bytes();
        if bytes[0].is_multiple_of(3) {
            return Vec::new();
        }
        // 02: a locally administered address, nobody's.
        vec![format!("02:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", bytes[3], bytes[4], bytes[5], bytes[6], bytes[7])]
    }

    fn first_seen_seconds(self) -> i64 {
        i64::try_from(self.number(8) % (30 * 86_400)).unwrap_or(0)
    }

    pub(super) fn first_seen(self) -> String {
        time_text(self.first_seen_seconds(), self.number(9))
    }

    pub(super) fn last_seen(self) -> String {
        let after = i64::try_from(self.number(10) % (10 * 86_400)).unwrap_or(0);
        time_text(self.first_seen_seconds() + after, self.number(11))
    }

    pub(super) fn last_update(self) -> String {
        if let Some(touched) = self.touched {
            return time_text(touched.div_euclid(1_000_000), touched.rem_euclid(1_000_000).unsigned_abs());
        }
        let after = i64::try_from(self.number(12) % 86_400).unwrap_or(0);
        time_text(41 * 86_400 + after, self.number(13))
    }

    /// 0 to 100; a third is exactly 0, which arrives as an integer.
    pub(super) fn risk(self) -> Json {
        let draw = self.number(14);
        if draw.is_multiple_of(3) {
            return json!(0);
        }
        #[allow(clippy::cast_precision_loss, reason = "any fraction will do")]
        let risk = (draw >> 11) as f64 / (1_u64 << 53) as f64 * 100.0;
        json!(risk)
    }

    fn unresolved_events(self) -> usize {
        events::of_device(self).count()
    }

    pub(super) fn serial(self) -> Option<String> {
        (self.kind().category == CONTROL).then(|| format!("{:06X}", self.number(15) & 0xff_ffff))
    }

    pub(super) fn firmware(self) -> Option<String> {
        self.kind().model.map(|_| format!("{}.{:03}", 1 + self.number(16) % 30, self.number(17) % 1000))
    }

    pub(super) fn slot(self) -> Option<u64> {
        self.backplane().map(|_| self.number(18) % 12)
    }

    /// Its model is not made any more.
    fn ended(self) -> bool {
        self.kind().model.is_some() && self.one_in(7, 45)
    }

    pub(super) fn backplane(self) -> Option<Json> {
        (self.kind().super_type == "Controller").then(|| {
            let group = self.index / 8;
            json!({"id": self.plant.uuid(group, self.plant.count, 19), "name": format!("Backplane #{}", group + 1), "size": 4 + group % 10})
        })
    }

    pub(super) fn segment(self) -> Json {
        let kind = self.kind();
        let subnet = format!("10.{}.{}.X", 20 + (self.index / 62_500) % 200, (self.index / 250) % 250);
        let name = format!("{} / {subnet}", kind.super_type);
        json!({
            "id": self.plant.uuid(self.index / 250, self.plant.count, 20), "name": name, "type": "Segment",
            "key": format!("AG1-{}", self.index / 250 + 1), "systemName": name, "vlan": null, "description": null,
            "assetType": kind.super_type, "subnet": subnet,
        })
    }

    pub(super) fn revisions(self) -> Vec<Json> {
        let count = if self.kind().category == CONTROL { self.number(21) % 3 } else { 0 };
        (0..count)
            .map(|ordinal| {
                json!({"id": self.plant.uuid(self.index, self.plant.count, 22 + ordinal), "firstSeen": self.first_seen(),
                       "lastSeen": self.last_seen(), "ordinal": ordinal + 1, "isBase": ordinal == 0})
            })
            .collect()
    }

    fn os_details(self) -> Json {
        self.kind().os.map_or(Json::Null, |os| {
            let hot_fixes: Vec<Json> = (0..self.number(30) % 4)
                .map(|n| {
                    json!({"name": format!("KB{}", 5_000_000 + self.number(31 + n) % 99_999),
                           "installDate": time_text(-86_400 * 30, 0), "description": "Security Update"})
                })
                .collect();
            json!({"name": os, "architecture": "64-bit", "version": "10.0.17763", "hotFixes": {"nodes": hot_fixes}})
        })
    }

    /// The value of a field by its GraphQL name; `null` for a fact this device lacks.
    pub(super) fn fact(self, field: &str) -> Json {
        let kind = self.kind();
        match field {
            "id" => json!(self.id()),
            "name" => json!(self.name()),
            "type" => json!(kind.name),
            "superType" => json!(kind.super_type),
            "category" => json!(kind.category),
            "criticality" => json!(kind.criticality),
            "purdueLevel" => json!(kind.level),
            "runStatus" | "extendedRunStatus" => json!("Unknown"),
            "runStatusTime" => json!(NEVER),
            "hidden" => json!(self.hidden()),
            "vendor" => json!(kind.vendor),
            "family" => json!(kind.family),
            "model" => json!(kind.model),
            "os" => json!(kind.os),
            "firmwareVersion" => json!(self.firmware()),
            "serial" => json!(self.serial()),
            "slot" => json!(self.slot()),
            "location" => json!(self.one_in(5, 40).then(|| format!("Hall {}", self.line()))),
            "description" => json!(self.one_in(20, 41).then_some("spare part, \"shelf\" 3\nsecond line")),
            "customField1" => json!(self.one_in(10, 42).then(|| format!("cost centre {}", self.line()))),
            "firstSeen" => json!(self.first_seen()),
            "lastSeen" => json!(self.last_seen()),
            "lastUpdate" => json!(self.last_update()),
            "ips" | "directIps" => json!({"nodes": self.ips()}),
            "macs" | "directMacs" => json!({"nodes": self.macs()}),
            "risk" => {
                json!({"totalRisk": self.risk(), "unresolvedEvents": self.unresolved_events(), "pluginCount": plugins::of_device(self).count()})
            }
            "backplane" => json!(self.backplane()),
            "backplaneName" => self.backplane().map_or(Json::Null, |mut it| it["name"].take()),
            "segments" => json!({"nodes": [self.segment()]}),
            "segmentsIds" => json!([self.segment()["id"]]),
            "subnets" => json!({"nodes": [self.segment()["subnet"]]}),
            "revisions" => json!({"nodes": self.revisions()}),
            "osDetails" => self.os_details(),
            "lastHit" => json!(self.one_in(3, 43).then(|| self.last_seen())),
            "lastSnapshot" => json!(self.serial().is_some().then(|| self.first_seen())),
            "lifecycleStatus" => json!(self.ended().then_some("Discontinued")),
            "hardwareState" => json!(self.serial().map(|_| "Unchanged")),
            "discontinuedDate" => json!(self.ended().then(|| time_text(-86_400 * 400, 0))),
            "replacementProduct" => json!(self.ended().then_some("the \"next\" model")),
            "tags" => json!({"nodes": Vec::from_iter(self.one_in(6, 44).then(|| format!("line {}", self.line())))}),
            "details" => super::details::details(self),
            _ => Json::Null,
        }
    }
}
