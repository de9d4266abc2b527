//! The drawing: the common axis, and one robot's bars under it.
//!
//! Everything is placed by presentation attributes in percent of the drawing's
//! width, so that one page fits every screen without a script and without a
//! `style` attribute, which the page's policy forbids. Nothing is told here
//! that does not stand beside it in words.

use std::fmt;

use time::OffsetDateTime;

use super::{
    Tone,
    axis::{Axis, Percent, Place, Stretch, day},
    escape::Text,
};
use crate::{
    credential::{Record, State},
    status::{Line, Standing},
};

/// How many other generations are drawn; all of them are told.
const MOST_OTHERS: usize = 4;

/// What all drawings share: patterns, marks, the lines of the ticks and of now.
pub(super) struct Shared<'a> {
    pub(super) axis: &'a Axis,
    pub(super) now: OffsetDateTime,
}

impl fmt::Display for Shared<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            r#"<svg class="shared" width="0" height="0" aria-hidden="true"><defs>
<pattern id="lead" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect class="gap" width="1.6" height="6"/></pattern>
<pattern id="open" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect class="gap" width="3.4" height="6"/></pattern>
<path id="warns" class="mark" d="M-4 0h8l-4 6z"/>
<path id="due" class="mark full" d="M-4 0h8l-4 6z"/>
<path id="before" class="more" d="M9 2l-5 4l5 4"/>
<path id="after" class="more" d="M-9 2l5 4l-5 4"/>
<g id="ticks">"#,
        )?;
        for tick in self.axis.ticks() {
            write!(f, r#"<line class="tick" x1="{0}" x2="{0}" y1="0" y2="100%"/>"#, tick.at)?;
        }
        let now = self.axis.at(self.now);
        write!(f, r#"</g><line id="now" class="now" x1="{now}" x2="{now}" y1="0" y2="100%"/></defs></svg>"#)
    }
}

/// The axis itself, with its dates.
pub(super) struct Dates<'a> {
    pub(super) axis: &'a Axis,
    pub(super) now: OffsetDateTime,
}

impl fmt::Display for Dates<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ticks = self.axis.ticks();
        let now = self.axis.at(self.now);
        write!(f, r#"<svg class="dates" height="46" role="img" aria-label="Time axis, now is {}">"#, day(self.now))?;
        let (x, anchor) = beside(now, 800);
        write!(f, r#"<text class="now" x="{x}" y="12" text-anchor="{anchor}">now, {}</text>"#, day(self.now))?;
        for tick in &ticks {
            let (x, anchor) = beside(tick.at, 400);
            write!(f, r#"<text x="{x}" y="28" text-anchor="{anchor}">{}</text>"#, tick.label)?;
            if let Some(year) = tick.year {
                write!(f, r#"<text class="year" x="{x}" y="42" text-anchor="{anchor}">{year}</text>"#)?;
            }
        }
        f.write_str("</svg>")
    }
}

/// Where the words of a place go, so that they do not leave the drawing.
fn beside(at: Percent, margin: i64) -> (Percent, &'static str) {
    match at.0 {
        x if x < margin => (Percent(0), "start"),
        x if x > 10_000 - margin => (Percent(10_000), "end"),
        _ => (at, "middle"),
    }
}

/// One robot's bars: the generation that is shown, and thinner ones below it for the others.
pub(super) struct Bars<'a> {
    pub(super) line: &'a Line,
    pub(super) axis: &'a Axis,
    pub(super) now: OffsetDateTime,
}

impl fmt::Display for Bars<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let others: Vec<_> = self.line.previous.iter().take(MOST_OTHERS).collect();
        let height = if others.is_empty() { 34 } else { 33 + 7 * others.len() };
        write!(f, r#"<svg class="bars {}" height="{height}" role="img" aria-label=""#, Tone::of(self.line, self.now))?;
        self.told(f)?;
        f.write_str(r##""><use href="#ticks"/>"##)?;
        match self.line.record.as_ref() {
            Some(record) => self.shown(record, f)?,
            None => f.write_str(r#"<text x="0" y="24">no credential</text>"#)?,
        }
        for (at, record) in others.into_iter().enumerate() {
            self.other(record, 30 + 7 * at, f)?;
        }
        f.write_str(r##"<use href="#now"/></svg>"##)
    }
}

impl Bars<'_> {
    /// What the drawing shows, for whoever does not see it.
    fn told(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.line.id.to_string();
        write!(f, "{}: {}", Text(&name), self.line.standing.as_str())?;
        if let Some((from, to)) = self.line.record.as_ref().and_then(life) {
            write!(f, ", valid from {} to {}", day(from), day(to))?;
        }
        if let Some(window) = self.line.window {
            write!(f, ", rotation opens {}", day(window.due_at))?;
        }
        Ok(())
    }

    fn shown(&self, record: &Record, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((from, to)) = life(record) else {
            return f.write_str(r#"<text x="0" y="24">no certificate yet</text>"#);
        };
        let stretch = match self.axis.place(from, to) {
            Place::On(stretch) => stretch,
            Place::Before => return write!(f, r#"<text x="0" y="24">← ended {}</text>"#, day(to)),
            Place::After => {
                return write!(f, r#"<text x="100%" y="24" text-anchor="end">begins {} →</text>"#, day(from));
            }
        };
        let whole =
            if record.state == State::Active && self.line.standing != Standing::Expired { "life" } else { "hollow" };
        rect(f, whole, stretch, 14, 12)?;
        if let Some(window) = self.line.window {
            let due = window.due_at.clamp(from, to);
            let warns = self.line.warns_at.map(|at| at.clamp(from, due));
            if whole == "life" {
                if let Some(warns) = warns {
                    self.over(f, "lead", warns, due)?;
                }
                self.over(f, "open", due, to)?;
                self.over(f, "past", from, self.now.min(to))?;
            }
            if let Some(warns) = self.line.warns_at {
                self.mark(f, "warns", warns)?;
            }
            self.mark(f, "due", window.due_at)?;
        }
        if stretch.cut_before {
            f.write_str(r##"<use href="#before" x="0" y="14"/>"##)?;
        }
        if stretch.cut_after {
            f.write_str(r##"<use href="#after" x="100%" y="14"/>"##)?;
        }
        Ok(())
    }

    /// A part of the shown generation's bar.
    fn over(&self, f: &mut fmt::Formatter<'_>, class: &str, from: OffsetDateTime, to: OffsetDateTime) -> fmt::Result {
        match self.axis.place(from, to) {
            Place::On(stretch) if from < to => rect(f, class, stretch, 14, 12),
            _ => Ok(()),
        }
    }

    /// A moment above the bar; nothing where it is not on the axis.
    fn mark(&self, f: &mut fmt::Formatter<'_>, id: &str, at: OffsetDateTime) -> fmt::Result {
        match self.axis.place(at, at) {
            Place::On(_) => write!(f, r##"<use href="#{id}" x="{}" y="6"/>"##, self.axis.at(at)),
            _ => Ok(()),
        }
    }

    fn other(&self, record: &Record, y: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((from, to)) = life(record) else { return Ok(()) };
        let to = record.retire_after.map_or(to, |after| after.min(to));
        let class = if record.state.is_pending() { "hollow" } else { "other" };
        match self.axis.place(from, to) {
            Place::On(stretch) => rect(f, class, stretch, y, 4),
            Place::Before | Place::After => Ok(()),
        }
    }
}

/// From when until when a generation's certificate is valid, where it has one that ever was.
fn life(record: &Record) -> Option<(OffsetDateTime, OffsetDateTime)> {
    let validity = record.certificate.as_ref()?.validity();
    (validity.not_before <= validity.not_after).then_some((validity.not_before, validity.not_after))
}

fn rect(f: &mut fmt::Formatter<'_>, class: &str, stretch: Stretch, y: usize, height: usize) -> fmt::Result {
    let Stretch { x, width, .. } = stretch;
    write!(f, r#"<rect class="{class}" x="{x}" y="{y}" width="{width}" height="{height}" rx="2"/>"#)
}
