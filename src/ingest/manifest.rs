//! The manifest beside the data: what a run read, with what, and whether it is whole.

use serde::Serialize;
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

use super::{Request, Run};
use crate::site::Site;

/// The manifest's own version.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct Manifest<'a> {
    schema: u32,
    tool: &'static str,
    version: &'static str,
    robot: String,
    url: String,
    generation: u32,
    fingerprint_sha256: String,
    stream: &'a str,
    api: &'a str,
    format: &'a str,
    page_size: u32,
    include_hidden: bool,
    started_at: String,
    ended_at: String,
    seconds: f64,
    pages: u64,
    bytes: u64,
    records: u64,
    duplicates: u64,
    total_reported: Option<u64>,
    complete: bool,
    reason: Option<String>,
    file: &'a str,
    file_bytes: u64,
    sha256: &'a str,
}

/// The manifest of a run whose data will be called `file`.
pub(super) fn manifest(run: &Run, request: &Request, site: &Site, ended: OffsetDateTime, file: &str) -> Vec<u8> {
    let manifest = Manifest {
        schema: SCHEMA,
        tool: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        robot: run.robot.to_string(),
        url: format!("https://{}", site.endpoint.authority()),
        generation: request.record.id.generation.number(),
        fingerprint_sha256: run.fingerprint.to_string(),
        stream: run.stream.as_str(),
        api: run.api.as_str(),
        format: request.format.as_str(),
        page_size: request.page_size,
        include_hidden: request.include_hidden,
        started_at: rfc3339(run.started),
        ended_at: rfc3339(ended),
        seconds: run.took.as_secs_f64(),
        pages: run.pages,
        bytes: run.bytes,
        records: run.records,
        duplicates: run.duplicates,
        total_reported: run.total_reported,
        complete: run.complete(),
        reason: run.incomplete.as_ref().map(ToString::to_string),
        file,
        file_bytes: run.written,
        sha256: &run.sha256,
    };
    let mut text = serde_json::to_vec_pretty(&manifest).expect("text, numbers and flags always serialise");
    text.push(b'\n');
    text
}

fn rfc3339(time: OffsetDateTime) -> String {
    time.to_offset(UtcOffset::UTC).format(&Rfc3339).expect("a year of four digits always formats")
}
