//! The documents of `--json`: the names that programs depend on.
//!
//! Owns the field names, their order and their forms: times in RFC 3339 and
//! UTC, fingerprints and serials in lower-case hex, pins in base64 without
//! prefix, paths absolute, unknown as null; text from outside as it is, but
//! escaped where a terminal would act on it. Leaves out where the facts come
//! from. The terminal shows the same values, so the two cannot disagree.

use std::{fmt, io, path::PathBuf};

use robocred::{export, hook};
use serde::{Serialize, Serializer};
use serde_json::ser::Formatter;
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

use super::clean;

/// The version of every document; raised when a field changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// A whole document: `schema` first, then the fields of `body`.
#[derive(Debug, Serialize)]
pub struct Document<T> {
    schema: u32,
    #[serde(flatten)]
    body: T,
}

impl<T> Document<T> {
    /// The document with this body.
    pub fn of(body: T) -> Self {
        Self { schema: SCHEMA, body }
    }
}

/// One line of JSON that a terminal can show as it stands.
pub fn to_vec<T: Serialize>(value: &T) -> serde_json::Result<Vec<u8>> {
    let mut text = Vec::new();
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut text, Escaping))?;
    Ok(text)
}

/// Compact, and also escapes what JSON would allow and [`clean`] would not.
struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W: io::Write + ?Sized>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        for piece in fragment.split_inclusive(clean::is_unfit) {
            match piece.char_indices().next_back().filter(|(_, last)| clean::is_unfit(*last)) {
                None => writer.write_all(piece.as_bytes())?,
                Some((place, unfit)) => {
                    writer.write_all(&piece.as_bytes()[..place])?;
                    for unit in unfit.encode_utf16(&mut [0; 2]) {
                        write!(writer, "\\u{unit:04x}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// A moment, shown to the second in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub OffsetDateTime);

impl Time {
    /// The day alone, `YYYY-MM-DD`.
    pub fn day(self) -> String {
        self.0.to_offset(UtcOffset::UTC).date().to_string()
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.0.to_offset(UtcOffset::UTC).replace_nanosecond(0).map_err(|_| fmt::Error)?;
        f.write_str(&whole.format(&Rfc3339).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The body of a document when nothing could be looked at.
#[derive(Debug, Serialize)]
pub struct Failure {
    pub error: Error,
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

/// One stream read with one robot.
#[derive(Clone, Debug, Serialize)]
pub struct IngestRun {
    pub robot: String,
    pub stream: String,
    pub api: Option<String>,
    pub records: u64,
    pub total_reported: Option<u64>,
    pub complete: bool,
    pub pages: u64,
    pub bytes: u64,
    pub seconds: f64,
    pub path: Option<PathBuf>,
    pub manifest: Option<PathBuf>,
    pub sha256: Option<String>,
    pub fingerprint_sha256: Option<String>,
    pub error: Option<Error>,
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

/// The body of `token`.
#[derive(Debug, Serialize)]
pub struct Token {
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

/// The body of `status`.
#[derive(Debug, Serialize)]
pub struct Status {
    pub config: Option<PathBuf>,
    pub state_dir: Option<PathBuf>,
    pub warnings: Vec<String>,
    pub robots: Vec<RobotStatus>,
}

/// Where one robot stands.
#[derive(Clone, Debug, Serialize)]
pub struct RobotStatus {
    pub robot: String,
    pub site: String,
    pub name: String,
    pub role: String,
    pub state: RobotState,
    pub generation: Option<u32>,
    pub registered_name: Option<String>,
    pub remote_id: Option<String>,
    pub fingerprint_sha256: Option<String>,
    pub spki_sha256: Option<String>,
    pub serial: Option<String>,
    pub key_type: Option<String>,
    pub not_before: Option<Time>,
    pub not_after: Option<Time>,
    /// Rounded down, negative when expired.
    pub days_left: Option<i64>,
    pub due_at: Option<Time>,
    pub due: bool,
    pub attention: Vec<Attention>,
    pub store: Option<String>,
    pub previous: Vec<Previous>,
    pub leftovers: Vec<Leftover>,
}

/// The one word for where a robot stands; the first that applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RobotState {
    Expired,
    NeedsPerson,
    Pending,
    Active,
    Absent,
}

/// Something that wants a person's eye.
#[derive(Clone, Debug, Serialize)]
pub struct Attention {
    pub code: String,
    pub message: String,
    pub hint: Option<String>,
    pub since: Option<Time>,
}

/// A generation not yet retired.
#[derive(Clone, Debug, Serialize)]
pub struct Previous {
    pub generation: u32,
    pub state: String,
    pub registered_name: String,
    pub fingerprint_sha256: Option<String>,
    pub not_after: Option<Time>,
    pub retire_after: Option<Time>,
}

/// A robot that may still be on the appliance and that only a person can remove there.
#[derive(Clone, Debug, Serialize)]
pub struct Leftover {
    pub registered_name: String,
    pub generation: u32,
    pub fingerprint_sha256: Option<String>,
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn times_are_utc_and_whole_seconds() {
        let time = Time(datetime!(2026-03-01 01:30:00.25 +2));
        assert_eq!(time.to_string(), "2026-02-28T23:30:00Z");
        assert_eq!(time.day(), "2026-02-28");
    }

    proptest! {
        #[test]
        fn escaped_text_is_the_same_text_and_fit_to_show(given in any::<String>()) {
            let json = String::from_utf8(to_vec(&given).unwrap()).unwrap();
            prop_assert!(!json.contains(clean::is_unfit), "{}", json);
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), given);
        }
    }

    #[test]
    fn what_a_terminal_would_act_on_is_escaped() {
        let check = |given: &str, json: &str| assert_eq!(to_vec(&given).unwrap(), json.as_bytes());
        check("a\u{1b}b\u{9b}c\u{202e}", r#""a\u001bb\u009bc\u202e""#);
        check("\u{e0041}\u{7f}ä\"\n", r#""\udb40\udc41\u007fä\"\n""#);
    }

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
