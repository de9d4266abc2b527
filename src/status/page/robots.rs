//! One robot in words, beside its bars.

use std::fmt;

use time::OffsetDateTime;

use super::{
    Tone,
    axis::{Axis, day},
    bars::Bars,
    escape::Text,
};
use crate::{
    credential::{Record, State},
    status::{Line, Standing},
};

/// One robot: its words and its bars.
pub(super) struct Robot<'a> {
    /// Its place in the report, by which it is linked.
    pub(super) place: usize,
    pub(super) line: &'a Line,
    pub(super) axis: &'a Axis,
    pub(super) now: OffsetDateTime,
}

impl fmt::Display for Robot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, line, axis, now } = *self;
        let tone = Tone::of(line, now);
        write!(
            f,
            r#"<li id="r{place}" class="{tone}"><div class="words"><h4>{}</h4> <span class="word">{}</span>"#,
            Text(line.id.robot.as_str()),
            line.standing.as_str()
        )?;
        self.dates(f)?;
        self.credential(f)?;
        for record in &line.previous {
            write!(
                f,
                "<p class=\"fine\">generation {} ({}) ",
                record.id.generation,
                Text(record.registered_name.as_str())
            )?;
            other(record, f)?;
            f.write_str("</p>")?;
        }
        if !line.attention.is_empty() {
            let codes: Vec<_> = line.attention.iter().map(|raised| raised.code.as_str()).collect();
            write!(f, r#"<p class="asks">needs a look: {}</p>"#, codes.join(", "))?;
        }
        writeln!(f, "</div>{}</li>", Bars { line, axis, now })
    }
}

impl Robot<'_> {
    /// What is left, and when it is due.
    fn dates(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(window) = self.line.window else { return self.not_yet(f) };
        let (end, due) = (day(window.not_after), day(window.due_at));
        match window.days_left(self.now) {
            days if days < 0 => write!(f, "<p><b>ended {}</b> on <time>{end}</time>, ", ago(-days)),
            days => write!(f, "<p><b>{} left</b>, to <time>{end}</time>, ", count(days)),
        }?;
        let verb = if window.is_due(self.now) { "due since" } else { "due" };
        write!(f, "<span class=\"due\">{verb} <time>{due}</time></span></p>")
    }

    /// What is said of a robot that has no credential in use.
    fn not_yet(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line.standing {
            Standing::Absent if self.line.api_key.is_some() => {
                f.write_str("<p>none in use: read with the API key of its site</p>")
            }
            Standing::Pending => f.write_str("<p>none in use yet, the first is on its way</p>"),
            _ => f.write_str("<p>none in use</p>"),
        }
    }

    /// Which credential it is.
    fn credential(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<p class=\"fine\">")?;
        if let Some(record) = &self.line.record {
            let name = Text(record.registered_name.as_str());
            write!(f, "generation {} ({name}), ", record.id.generation)?;
            if record.state != State::Active {
                write!(f, "{}, ", record.state)?;
            }
        }
        write!(f, "{}", self.line.role)?;
        if !self.line.configured {
            f.write_str(", not in the configuration")?;
        }
        f.write_str("</p>")
    }
}

/// Where a generation beside the one in use stands.
fn other(record: &Record, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match (record.state, record.retire_after) {
        (state, _) if state.is_pending() => write!(f, "is on its way ({state})"),
        (State::Retiring, _) => f.write_str("is being removed"),
        (_, Some(after)) => write!(f, "is still accepted, to be retired after <time>{}</time>", day(after)),
        (_, None) => f.write_str("is still accepted, until its successor is delivered"),
    }
}

/// A number of days in words.
pub(super) fn count(days: i64) -> String {
    match days {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}

/// How long ago, where `days` is rounded up.
fn ago(days: i64) -> String {
    if days <= 1 { "today or yesterday".to_owned() } else { format!("{days} days ago") }
}
