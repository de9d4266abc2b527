//! The report as a document: what `status --json` prints and `/status.json` serves.
//!
//! Owns the field names and their order (product.md, JSON). The terminal and
//! the page show the same values. Pure.

use std::path::PathBuf;

use serde::Serialize;
use time::OffsetDateTime;

use super::{Line, Report, Standing, api_keys, forecast::forecast};
use crate::{
    credential::{KeptKey, Record},
    document::Time,
    inventory,
    site::{RobotId, SiteName},
};

/// The body of `status`.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The configuration file.
    pub config: Option<PathBuf>,
    /// The state directory.
    pub state_dir: Option<PathBuf>,
    /// What is odd about the whole.
    pub warnings: Vec<String>,
    /// Every robot, ordered by name.
    pub robots: Vec<RobotStatus>,
    /// Every API key that is kept, ordered by site.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub api_keys: Vec<ApiKey>,
    /// What lies ahead, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forecast: Option<Forecast>,
}

/// An API key that is kept.
#[derive(Clone, Debug, Serialize)]
pub struct ApiKey {
    /// Of which site.
    pub site: String,
    /// Since when it is kept.
    pub since: Time,
    /// When it ends, as a person said.
    pub expires: Option<Time>,
    /// Until then, or until the latest it can be; rounded down, negative once it has ended.
    pub days_left: i64,
}

/// Where one robot stands.
#[derive(Clone, Debug, Serialize)]
pub struct RobotStatus {
    /// `SITE/ROBOT`.
    pub robot: String,
    /// Its site.
    pub site: String,
    /// Its name within the site.
    pub name: String,
    /// `reader` or `admin`.
    pub role: String,
    /// Where it stands, in one word.
    pub state: RobotState,
    /// The generation in use, or on its way if none is.
    pub generation: Option<u32>,
    /// The name it is registered under on the appliance.
    pub registered_name: Option<String>,
    /// The appliance's own id for it, if it told one.
    pub remote_id: Option<String>,
    /// Lower-case hex.
    pub fingerprint_sha256: Option<String>,
    /// Base64, without prefix.
    pub spki_sha256: Option<String>,
    /// Lower-case hex.
    pub serial: Option<String>,
    /// For example `rsa-2048`.
    pub key_type: Option<String>,
    /// The first second of the certificate's validity.
    pub not_before: Option<Time>,
    /// The last second of the certificate's validity.
    pub not_after: Option<Time>,
    /// Rounded down, negative when expired.
    pub days_left: Option<i64>,
    /// From here on it is re-issued.
    pub due_at: Option<Time>,
    /// Whether that is now.
    pub due: bool,
    /// What wants a person's eye.
    pub attention: Vec<Attention>,
    /// Which secret store its key rests in.
    pub store: Option<String>,
    /// Every other generation not yet retired.
    pub previous: Vec<Previous>,
    /// What only a person can remove.
    pub leftovers: Vec<Leftover>,
    /// Whether it is read with the API key of its site; for people, who are told so in words.
    #[serde(skip)]
    pub reads_with_key: bool,
}

/// The one word for where a robot stands; the first that applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RobotState {
    /// Its credential is past its end.
    Expired,
    /// Nothing is possible without a person, and no credential works or it is due now.
    NeedsPerson,
    /// None is in use yet, one is on its way.
    Pending,
    /// A credential is in use.
    Active,
    /// Nothing was ever made for it, or nothing is left.
    Absent,
}

/// What lies ahead within some days.
#[derive(Clone, Debug, Serialize)]
pub struct Forecast {
    /// How many days ahead was looked.
    pub days: i64,
    /// The robots whose rotation opens or is open by then, the next one first.
    pub due: Vec<String>,
    /// Those of them that need a support token, which is not at hand.
    pub tokens: Vec<String>,
    /// The sites whose API key ends by then.
    pub api_keys: Vec<String>,
}

/// Something that wants a person's eye.
#[derive(Clone, Debug, Serialize)]
pub struct Attention {
    /// The code, for example `token-needed`.
    pub code: String,
    /// What was found.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// Since when.
    pub since: Option<Time>,
}

/// A generation not yet retired.
#[derive(Clone, Debug, Serialize)]
pub struct Previous {
    /// Its number.
    pub generation: u32,
    /// Its state, for example `previous`.
    pub state: String,
    /// The name it is registered under on the appliance.
    pub registered_name: String,
    /// Lower-case hex.
    pub fingerprint_sha256: Option<String>,
    /// The last second of the certificate's validity.
    pub not_after: Option<Time>,
    /// When its overlap is over; null before its successor is delivered.
    pub retire_after: Option<Time>,
}

/// A robot that may still be on the appliance and that only a person can remove there.
#[derive(Clone, Debug, Serialize)]
pub struct Leftover {
    /// The name it is registered under on the appliance.
    pub registered_name: String,
    /// Its number.
    pub generation: u32,
    /// Lower-case hex.
    pub fingerprint_sha256: Option<String>,
    /// Why it is left.
    pub reason: String,
}

impl Status {
    /// The report as it is told, with the places it was made from.
    #[must_use]
    pub fn of(report: &Report, config: PathBuf, state_dir: PathBuf) -> Self {
        Self {
            config: Some(config),
            state_dir: Some(state_dir),
            warnings: report.warnings.clone(),
            robots: robots(report),
            api_keys: api_keys(report),
            forecast: None,
        }
    }
}

/// Every robot of the report.
#[must_use]
pub fn robots(report: &Report) -> Vec<RobotStatus> {
    report.lines.iter().map(|line| robot(line, report.at)).collect()
}

fn api_keys(report: &Report) -> Vec<ApiKey> {
    let key = |(site, kept): (&SiteName, KeptKey)| ApiKey {
        site: site.to_string(),
        since: Time(kept.since),
        expires: kept.expires.map(Time),
        days_left: kept.days_left(report.at),
    };
    api_keys::kept(&report.sites).map(key).collect()
}

impl ApiKey {
    /// What it was made from.
    #[must_use]
    pub fn kept(&self) -> KeptKey {
        KeptKey { since: self.since.0, expires: self.expires.map(|expires| expires.0) }
    }
}

impl Forecast {
    /// What lies ahead of the report within `days`.
    #[must_use]
    pub fn of(report: &Report, days: i64) -> Self {
        let ahead = forecast(report, time::Duration::days(days));
        let names = |ids: Vec<RobotId>| ids.iter().map(ToString::to_string).collect();
        let api_keys = ahead.api_keys.iter().map(ToString::to_string).collect();
        Self { days, due: names(ahead.rotations), tokens: names(ahead.tokens), api_keys }
    }
}

impl From<Standing> for RobotState {
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::Expired => Self::Expired,
            Standing::NeedsPerson => Self::NeedsPerson,
            Standing::Pending => Self::Pending,
            Standing::Active => Self::Active,
            Standing::Absent => Self::Absent,
        }
    }
}

fn robot(line: &Line, now: OffsetDateTime) -> RobotStatus {
    let record = line.record.as_ref();
    let certificate = record.and_then(|record| record.certificate.as_ref());
    RobotStatus {
        robot: line.id.to_string(),
        site: line.id.site.to_string(),
        name: line.id.robot.to_string(),
        role: line.role.to_string(),
        state: line.standing.into(),
        generation: record.map(|record| record.id.generation.number()),
        registered_name: record.map(|record| record.registered_name.to_string()),
        remote_id: record.and_then(|record| record.remote_id.clone()),
        fingerprint_sha256: certificate.map(|certificate| certificate.fingerprint().to_string()),
        spki_sha256: certificate.map(|certificate| certificate.spki_pin().to_base64()),
        serial: certificate.map(|certificate| certificate.serial().to_owned()),
        key_type: record.map(|record| record.key_algorithm.to_string()),
        not_before: certificate.map(|certificate| Time(certificate.validity().not_before)),
        not_after: certificate.map(|certificate| Time(certificate.validity().not_after)),
        days_left: line.window.map(|window| window.days_left(now)),
        due_at: line.window.map(|window| Time(window.due_at)),
        due: line.window.is_some_and(|window| window.is_due(now)),
        attention: line.attention.iter().map(attention).collect(),
        store: line.store.map(|store| store.to_string()),
        previous: line.previous.iter().map(previous).collect(),
        leftovers: line.leftovers.iter().map(leftover).collect(),
        reads_with_key: line.api_key.is_some(),
    }
}

fn attention(attention: &inventory::Attention) -> Attention {
    Attention {
        code: attention.code.to_string(),
        message: attention.message.clone(),
        hint: attention.hint.clone(),
        since: Some(Time(attention.since)),
    }
}

fn previous(record: &Record) -> Previous {
    let certificate = record.certificate.as_ref();
    Previous {
        generation: record.id.generation.number(),
        state: record.state.to_string(),
        registered_name: record.registered_name.to_string(),
        fingerprint_sha256: certificate.map(|certificate| certificate.fingerprint().to_string()),
        not_after: certificate.map(|certificate| Time(certificate.validity().not_after)),
        retire_after: record.retire_after.map(Time),
    }
}

fn leftover(leftover: &inventory::Leftover) -> Leftover {
    Leftover {
        registered_name: leftover.registered_name.to_string(),
        generation: leftover.id.generation.number(),
        fingerprint_sha256: leftover.fingerprint.map(|fingerprint| fingerprint.to_string()),
        reason: leftover.reason.clone(),
    }
}
