//! The documents of `--json`: the names that programs depend on.
//!
//! Owns the field names, their order and their forms: fingerprints and serials
//! in lower-case hex, pins in base64 without prefix, paths absolute, unknown as
//! null. Leaves out what all documents share ([`robocred::document`]), the one
//! of `status` ([`robocred::status::document`]), and where the facts come from.
//! The terminal shows the same values, so the two cannot disagree.

use std::path::PathBuf;

pub use robocred::document::{Document, Time, to_vec};
use robocred::{export, hook};
use serde::{Serialize, Serializer};

/// The body of a document when nothing could be looked at.
#[derive(Debug, Serialize)]
pub struct Failure {
    pub error: Error,
}

/// What a watch came to.
#[derive(Debug, Serialize)]
pub struct Watched {
    /// How many tasks ended well.
    pub done: u64,
    /// How many did not.
    pub failed: u64,
}

/// One failure.
#[derive(Clone, Debug, Serialize)]
pub struct Error {
    pub code: &'static str,
    pub message: String,
    pub hint: Option<String>,
    pub exit_code: u8,
}

/// The body of `provision`, `export` and every other command that changes robots.
#[derive(Debug, Serialize)]
#[allow(clippy::struct_field_names, reason = "the document's own name for it")]
pub struct Results {
    pub results: Vec<RobotResult>,
    /// Only `export` fills in a form.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "form")]
    pub form: Option<export::Form>,
    /// What a person should know about the run, for example which secret store was taken.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// What was done to one robot.
#[derive(Clone, Debug, Serialize)]
pub struct RobotResult {
    pub robot: String,
    pub action: Action,
    pub generation: Option<u32>,
    pub registered_name: Option<String>,
    pub fingerprint_sha256: Option<String>,
    pub not_after: Option<Time>,
    pub exports: Vec<Export>,
    pub error: Option<Error>,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    Provisioned,
    Rotated,
    Imported,
    Resumed,
    RolledBack,
    Retired,
    Unchanged,
    Failed,
}

/// The files written to one directory.
#[derive(Clone, Debug, Serialize)]
pub struct Export {
    pub dir: PathBuf,
    pub files: Vec<PathBuf>,
}

/// What a person types into a connector's form.
#[derive(Debug, Serialize)]
#[serde(remote = "export::Form")]
pub struct Form {
    pub url: String,
    pub robot_name: String,
    pub private_key_file: PathBuf,
    pub certificate_file: PathBuf,
    pub verify_ssl: bool,
}

/// `remote` has no form for `Option`.
#[allow(clippy::ref_option, reason = "the signature that serde calls")]
fn form<S: Serializer>(form: &Option<export::Form>, serializer: S) -> Result<S::Ok, S::Error> {
    match form {
        Some(form) => Form::serialize(form, serializer),
        None => serializer.serialize_none(),
    }
}

/// The body of every `--dry-run`.
#[derive(Debug, Serialize)]
pub struct Plan {
    pub plan: Vec<RobotPlan>,
}

/// What would be done to one robot.
#[derive(Debug, Serialize)]
pub struct RobotPlan {
    pub robot: String,
    pub steps: Vec<String>,
}

/// The body of `hook test`.
#[derive(Debug, Serialize)]
pub struct HookTest {
    pub robot: String,
    pub event: hook::Event,
    pub ok: bool,
    /// Null for a hook that did not end by itself.
    pub exit_code: Option<i32>,
    pub millis: u64,
    pub output: String,
    pub error: Option<Error>,
}

/// The body of `verify`.
#[derive(Debug, Serialize)]
pub struct Verify {
    pub robots: Vec<RobotChecks>,
    /// What a person should know beside them, for example of robots that are not configured.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// How one robot's credential was judged.
#[derive(Debug, Serialize)]
pub struct RobotChecks {
    pub robot: String,
    pub ok: bool,
    pub checks: Vec<Check>,
}

/// The body of `doctor`.
#[derive(Debug, Serialize)]
pub struct Doctor {
    pub ok: bool,
    pub checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    pub name: String,
    pub result: CheckResult,
    pub millis: Option<u64>,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

/// How it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckResult {
    Pass,
    Warn,
    Fail,
    Skip,
    Unknown,
}

/// The body of `ingest`.
#[derive(Debug, Serialize)]
pub struct Ingest {
    pub runs: Vec<IngestRun>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde asks")]
fn is_none(number: &u64) -> bool {
    *number == 0
}

/// One stream read with one robot.
#[derive(Clone, Debug, Serialize)]
pub struct IngestRun {
    pub robot: String,
    pub stream: String,
    pub api: Option<String>,
    pub records: u64,
    pub total_reported: Option<u64>,
    pub complete: bool,
    #[serde(skip_serializing_if = "is_none")]
    pub flagged: u64,
    pub pages: u64,
    pub bytes: u64,
    pub seconds: f64,
    pub path: Option<PathBuf>,
    pub manifest: Option<PathBuf>,
    pub sha256: Option<String>,
    pub fingerprint_sha256: Option<String>,
    pub error: Option<Error>,
}

/// The body of `ingest --list-icps`.
#[derive(Debug, Serialize)]
pub struct Icps {
    pub site: String,
    pub icps: Vec<Icp>,
}

/// An appliance that an Enterprise Manager is paired with.
#[derive(Debug, Serialize)]
pub struct Icp {
    pub machine_id: String,
    pub name: Option<String>,
    pub host: Option<String>,
    pub status: Option<String>,
    pub version: Option<String>,
}

/// The body of `trust`.
#[derive(Debug, Serialize)]
#[allow(clippy::struct_field_names, reason = "the document's own name for it")]
pub struct Trust {
    pub site: String,
    /// `system`, `ca_file`, `pins`; null until somebody decided.
    pub trust: Option<&'static str>,
    pub pins: Vec<String>,
    pub presented: Option<Presented>,
}

/// The certificate that a server presented.
#[derive(Debug, Serialize)]
pub struct Presented {
    pub spki_sha256: String,
    pub subject: String,
    pub not_after: Time,
}

/// The body of `config check`.
#[derive(Debug, Serialize)]
pub struct ConfigCheck {
    pub config: PathBuf,
    pub exists: bool,
    pub sites: usize,
    pub robots: usize,
}

/// The body of `simulator`, printed once it listens.
#[cfg(feature = "simulator")]
#[derive(Debug, Serialize)]
pub struct Simulator {
    pub url: String,
    /// In the form of `--pin`.
    pub pin: String,
    pub token: String,
}

/// The body of `token` and `apikey`.
#[derive(Debug, Serialize)]
pub struct Kept {
    pub site: String,
    pub present: bool,
    pub since: Option<Time>,
    pub expires: Option<Time>,
}

/// The body of `audit show`.
#[derive(Debug, Serialize)]
pub struct Audit {
    pub entries: Vec<AuditEntry>,
}

/// One entry of the audit record; also one line of `audit export`.
#[derive(Clone, Debug, Serialize)]
pub struct AuditEntry {
    pub seq: i64,
    pub at: String,
    pub actor: String,
    pub action: String,
    pub site: Option<String>,
    pub robot: Option<String>,
    pub generation: Option<i64>,
    /// An object, unless somebody wrote over it.
    pub detail: serde_json::Value,
    pub prev: String,
    pub hash: String,
}

/// The body of `audit verify`.
#[derive(Debug, Serialize)]
pub struct AuditVerify {
    pub ok: bool,
    pub entries: usize,
    pub head: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broken_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<&'static str>,
}

/// The body of `audit export` to a file.
#[derive(Debug, Serialize)]
pub struct AuditExport {
    pub path: PathBuf,
    pub entries: usize,
    pub head: String,
}

/// The body of `demo`.
#[cfg(feature = "simulator")]
#[derive(Debug, Serialize)]
pub struct Demo {
    pub ok: bool,
    pub steps: Vec<DemoStep>,
}

/// One command of the demonstration.
#[cfg(feature = "simulator")]
#[derive(Debug, Serialize)]
pub struct DemoStep {
    pub command: String,
    pub replaces: &'static str,
    pub exit_code: i32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_begins_with_its_schema_and_unknown_is_null() {
        let failed = RobotResult {
            robot: "a/b".into(),
            action: Action::Resumed,
            generation: None,
            registered_name: None,
            fingerprint_sha256: None,
            not_after: None,
            exports: vec![],
            error: None,
        };
        assert_eq!(
            String::from_utf8(
                to_vec(&Document::of(Results { results: vec![failed], form: None, warnings: Vec::new() })).unwrap()
            )
            .unwrap(),
            r#"{"schema":1,"results":[{"robot":"a/b","action":"resumed","generation":null,"registered_name":null,"fingerprint_sha256":null,"not_after":null,"exports":[],"error":null}]}"#
        );
    }
}
