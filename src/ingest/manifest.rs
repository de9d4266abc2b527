//! The manifest beside the data: what a run read, with what, and whether it is whole.

use serde::Serialize;
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

use super::{Request, Run};
use crate::{appliance::Width, site::Site};

/// The manifest's own version.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct Manifest<'a> {
    schema: u32,
    tool: &'static str,
    version: &'static str,
    robot: String,
    url: String,
    generation: Option<u32>,
    credential: &'static str,
    fingerprint_sha256: Option<String>,
    stream: &'a str,
    api: &'a str,
    selection: Option<&'static str>,
    with_details: bool,
    include_hidden: bool,
    since: Option<String>,
    format: &'a str,
    compress: &'a str,
    page_size: u32,
    smallest_page_size: u32,
    started_at: String,
    ended_at: String,
    seconds: f64,
    passes: u32,
    pages: u64,
    bytes: u64,
    records: u64,
    duplicates: u64,
    unchanged: u64,
    gone: u64,
    replaced: u64,
    flagged: u64,
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
        generation: request.record.as_ref().map(|record| record.id.generation.number()),
        credential: if run.fingerprint.is_some() { "certificate" } else { "api-key" },
        fingerprint_sha256: run.fingerprint.map(|fingerprint| fingerprint.to_string()),
        stream: run.stream.as_str(),
        api: run.api.as_str(),
        selection: run.width.map(Width::as_str),
        with_details: request.with_details,
        include_hidden: request.include_hidden,
        since: run.since.map(rfc3339),
        format: request.format.as_str(),
        compress: request.compress.as_str(),
        page_size: request.page_size,
        smallest_page_size: run.smallest_page,
        started_at: rfc3339(run.started),
        ended_at: rfc3339(ended),
        seconds: run.took.as_secs_f64(),
        passes: run.passes,
        pages: run.pages,
        bytes: run.bytes,
        records: run.records,
        duplicates: run.duplicates,
        unchanged: run.unchanged,
        gone: run.gone,
        replaced: run.replaced,
        flagged: run.flagged,
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
