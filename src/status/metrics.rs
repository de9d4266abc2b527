//! The report as Prometheus metrics: what `/metrics` serves and `status --prometheus` writes.
//!
//! Owns the names, their help and their labels (docs/MONITORING.md), in the
//! manner of cert-manager: times are seconds since 1970, a state is a label.
//! A family stands together and in one order; samples carry no time. What a
//! family has nothing to say about is left out of it. Pure.

use std::{
    fmt::{self, Display, Write},
    time::Duration,
};

use time::OffsetDateTime;

use super::{Line, Readiness, Report, api_keys};

/// What only a running watch knows of itself.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    /// Whether the configuration as it stands in the file is the one in use.
    pub config_ok: bool,
    /// Whether the inventory can be read.
    pub inventory_ok: bool,
    /// Whether nothing is begun.
    pub hindered: bool,
    /// Of how many sites the last end of a task could not be written down.
    pub unrecorded: usize,
    /// How many children run.
    pub children: usize,
    /// How long ago the loop last looked at the clock.
    pub since_beat: Duration,
}

/// The metrics in the text format, version 0.0.4. Pure.
#[must_use]
pub fn text(report: &Report, watch: Option<&Watch>) -> String {
    // Room for all that a robot usually says, so that the text is not moved while it grows.
    let mut page = Page(String::with_capacity(8 * 1024 + report.lines.len() * 1280));
    whole(&mut page, report);
    certificates(&mut page, report);
    robots(&mut page, report);
    sites(&mut page, report);
    ingests(&mut page, report);
    if let Some(watch) = watch {
        page.only("robocred_watch_config_last_reload_successful", WATCH_CONFIG, u8::from(watch.config_ok));
        page.only("robocred_watch_inventory_readable", WATCH_INVENTORY, u8::from(watch.inventory_ok));
        page.only("robocred_watch_hindered", WATCH_HINDERED, u8::from(watch.hindered));
        page.only("robocred_watch_unrecorded", WATCH_UNRECORDED, watch.unrecorded);
        page.only("robocred_watch_children", "How many children of the watch run.", watch.children);
        page.only("robocred_watch_seconds_since_look", WATCH_LOOK, watch.since_beat.as_secs_f64());
    }
    page.0
}

const WATCH_CONFIG: &str = "Whether the configuration as it stands in the file is the one in use (1) or not (0).";
const WATCH_INVENTORY: &str = "Whether the watch can read the inventory (1) or not (0).";
const WATCH_HINDERED: &str = "Whether the watch can begin nothing (1), whatever is due, or works (0).";
const WATCH_UNRECORDED: &str = "Of how many sites the last end of a task could not be written down.";
const WATCH_LOOK: &str = "How long ago the watch last looked at the clock; it does at least once a minute.";

fn whole(page: &mut Page, report: &Report) {
    page.family("robocred_build_info", Kind::Gauge, "The version of robocred; always 1.");
    page.sample("robocred_build_info", &[("version", &env!("CARGO_PKG_VERSION"))], 1);
    let at = report.at.unix_timestamp();
    page.only("robocred_report_timestamp_seconds", "When this was made, by this machine's clock.", at);
    let complete = "Whether configuration and inventory could be read (1) or not (0).";
    page.only("robocred_report_complete", complete, u8::from(report.unread.is_empty()));
}

/// The certificate in use of each robot.
fn certificates(page: &mut Page, report: &Report) {
    let mut times = |name, help, time: &dyn Fn(&Line) -> Option<OffsetDateTime>| {
        page.family(name, Kind::Gauge, help);
        for line in &report.lines {
            if let (Some(_), Some(record), Some(time)) = (line.window, &line.record, time(line)) {
                let generation = record.id.generation.number();
                let labels: [Label<'_>; 3] =
                    [("site", &line.id.site), ("robot", &line.id.robot), ("generation", &generation)];
                page.sample(name, &labels, time.unix_timestamp());
            }
        }
    };
    let not_before = |line: &Line| Some(line.record.as_ref()?.certificate.as_ref()?.validity().not_before);
    times("robocred_certificate_expiration_timestamp_seconds", "The last second of the certificate in use.", &|line| {
        line.window.map(|window| window.not_after)
    });
    times(
        "robocred_certificate_not_before_timestamp_seconds",
        "The first second of the certificate in use.",
        &not_before,
    );
    times("robocred_certificate_renewal_timestamp_seconds", "From when on the robot is rotated.", &|line| {
        line.window.map(|window| window.due_at)
    });
    let name = "robocred_certificate_ready_status";
    page.family(name, Kind::Gauge, "Whether the robot has a credential that can be used; one condition of three is 1.");
    for line in &report.lines {
        let readiness = line.readiness(report.at);
        for (condition, word) in [(Readiness::Yes, "True"), (Readiness::No, "False"), (Readiness::Unknown, "Unknown")] {
            let labels: [Label<'_>; 3] = [("site", &line.id.site), ("robot", &line.id.robot), ("condition", &word)];
            page.sample(name, &labels, u8::from(condition == readiness));
        }
    }
}

fn robots(page: &mut Page, report: &Report) {
    let name = "robocred_robot_state";
    page.family(name, Kind::Gauge, "Where the robot stands: the one state it is in is 1, and no other is told.");
    for line in &report.lines {
        let state = line.standing.as_str();
        page.sample(name, &[("site", &line.id.site), ("robot", &line.id.robot), ("state", &state)], 1);
    }
    let name = "robocred_attention";
    page.family(name, Kind::Gauge, "What wants a person's eye; 1 while it does.");
    for line in &report.lines {
        for raised in &line.attention {
            page.sample(name, &[("site", &line.id.site), ("robot", &line.id.robot), ("code", &raised.code)], 1);
        }
    }
    let mut each = |name, help, value: &dyn Fn(&Line) -> usize| {
        page.family(name, Kind::Gauge, help);
        for line in &report.lines {
            page.sample(name, &[("site", &line.id.site), ("robot", &line.id.robot)], value(line));
        }
    };
    each(
        "robocred_token_needed",
        "Whether the robot's next registration needs a support token that is not at hand (1) or not (0).",
        &|line| usize::from(line.needs_token.is_some()),
    );
    each("robocred_leftovers", "How many names on the appliance only a person can remove.", &|line| {
        line.leftovers.len()
    });
}

fn sites(page: &mut Page, report: &Report) {
    let name = "robocred_site_clock_skew_seconds";
    page.family(name, Kind::Gauge, "The appliance's clock minus ours, when it was last seen.");
    for site in &report.sites {
        if let Some(skew) = site.seen.clock_skew {
            page.sample(name, &[("site", &site.name)], skew.as_seconds_f64());
        }
    }
    let name = "robocred_api_key_expiration_timestamp_seconds";
    page.family(name, Kind::Gauge, "When the API key of the site ends; where nobody said, the latest it can.");
    for (site, key) in api_keys::kept(&report.sites) {
        page.sample(name, &[("site", site)], key.ends().unix_timestamp());
    }
    let mut tasks = |name, kind, help, value: &dyn Fn(&crate::inventory::TaskRow) -> Option<i128>| {
        page.family(name, kind, help);
        for row in &report.tasks {
            if let Some(value) = value(row) {
                page.sample(name, &[("site", &row.site), ("task", &row.task)], value);
            }
        }
    };
    let seconds = |at: OffsetDateTime| i128::from(at.unix_timestamp());
    tasks(
        "robocred_task_last_run_timestamp_seconds",
        Kind::Gauge,
        "When the site's task last ended by schedule.",
        &|row| Some(seconds(row.at)),
    );
    tasks(
        "robocred_task_last_success_timestamp_seconds",
        Kind::Gauge,
        "When the site's task last ended well by schedule.",
        &|row| row.success_at.map(seconds),
    );
    tasks("robocred_task_failures_total", Kind::Counter, "How often the site's task has failed by schedule.", &|row| {
        Some(row.failures.into())
    });
    tasks(
        "robocred_task_consecutive_failures",
        Kind::Gauge,
        "How often in a row the site's task has failed by schedule; 0 after a success.",
        &|row| Some(row.tries.into()),
    );
}

fn ingests(page: &mut Page, report: &Report) {
    let mut runs = |name, help, value: &dyn Fn(&crate::inventory::RunRow) -> Option<i128>| {
        page.family(name, Kind::Gauge, help);
        for row in &report.runs {
            if let Some(value) = value(row) {
                let labels: [Label<'_>; 3] =
                    [("site", &row.robot.site), ("robot", &row.robot.robot), ("stream", &row.stream)];
                page.sample(name, &labels, value);
            }
        }
    };
    runs("robocred_ingest_last_success_timestamp_seconds", "When the stream was last read to its end.", &|row| {
        row.completed_at.map(|at| at.unix_timestamp().into())
    });
    runs("robocred_ingest_records", "How many records the last run of the stream brought.", &|row| {
        Some(row.records.into())
    });
}

/// A label and its value.
type Label<'a> = (&'static str, &'a dyn Display);

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}

/// The text so far. That a `String` takes what is written to it goes without asking.
struct Page(String);

impl Page {
    /// Begins a family; its samples follow at once. `help` has neither backslash nor line end.
    fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[Label<'_>], value: impl Display) {
        self.0.push_str(name);
        for (place, (label, text)) in labels.iter().enumerate() {
            self.0.push(if place == 0 { '{' } else { ',' });
            self.0.push_str(label);
            self.0.push_str("=\"");
            let _ = write!(Escaping(&mut self.0), "{text}");
            self.0.push('"');
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    /// A gauge with one sample and no label.
    fn only(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, Kind::Gauge, help);
        self.sample(name, &[], value);
    }
}

/// Writes a label's value as the format wants it.
struct Escaping<'a>(&'a mut String);

impl Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '\\' => self.0.push_str("\\\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str("\\n"),
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(in crate::status) mod tests;
