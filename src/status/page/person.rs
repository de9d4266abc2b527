//! What needs a person, worst first.

use std::{borrow::Cow, fmt};

use time::{Duration, OffsetDateTime};

use super::{
    Tone,
    axis::day,
    escape::{Prose, Text},
};
use crate::{
    clock::rfc3339,
    status::{Line, Report, Standing},
};

/// How many things are seen at once; the rest is one click away.
const OPEN: usize = 10;

/// How long after it is due a credential should have been rotated by itself.
const PATIENCE: Duration = Duration::DAY;

/// One thing that needs a person.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    /// Its robot, and the place of that in the report; `None` for the whole.
    robot: Option<(usize, &'a Line)>,
    tone: Tone,
    /// One word for it.
    what: &'a str,
    message: Cow<'a, str>,
    hint: Option<Cow<'a, str>>,
    since: Option<OffsetDateTime>,
}

/// Everything that needs a person, worst first: what has ended, what is stuck,
/// what is late, what to look at, what is odd about the whole, what is left behind.
pub(super) fn wanted(report: &Report) -> Vec<Wanted<'_>> {
    let mut ranked = Vec::new();
    for (place, line) in report.lines.iter().enumerate() {
        let mut push = |rank, tone, what, message, hint, since| {
            ranked.push((rank, Wanted { robot: Some((place, line)), tone, what, message, hint, since }));
        };
        let worst = matches!(line.standing, Standing::Expired | Standing::NeedsPerson);
        if let (Standing::Expired, Some(window)) = (line.standing, line.window) {
            let message = format!("its certificate ended on {}", day(window.not_after));
            let hint = format!("run `robocred rotate {}`, with a support token at hand", line.id);
            push(0, Tone::Bad, "expired", message.into(), Some(hint.into()), None);
        } else if let Some(since) = late(line, report.at) {
            let message = format!("its rotation is due since {} and is not done", day(since));
            let hint = format!("see that `robocred watch` or a timer runs, or run `robocred rotate {}`", line.id);
            push(2, Tone::Fair, "late", message.into(), Some(hint.into()), None);
        }
        for raised in &line.attention {
            let (rank, tone) = match line.standing {
                Standing::Expired => (0, Tone::Bad),
                _ if worst => (1, Tone::Bad),
                _ => (3, Tone::Fair),
            };
            let hint = raised.hint.as_deref().map(Cow::Borrowed);
            push(rank, tone, raised.code.as_str(), Cow::Borrowed(raised.message.as_str()), hint, Some(raised.since));
        }
        for left in &line.leftovers {
            let (name, generation) = (&left.registered_name, left.id.generation);
            let message = format!("{name} (generation {generation}) may still be on the appliance: {}", left.reason);
            let hint = format!(
                "remove {name} there, then run `robocred retire {} --generation {generation} --removed`",
                line.id
            );
            push(5, Tone::Fair, "left behind", message.into(), Some(hint.into()), None);
        }
    }
    let warnings = report.warnings.iter().map(|warning| {
        let message = Cow::Borrowed(warning.as_str());
        (4, Wanted { robot: None, tone: Tone::Fair, what: "warning", message, hint: None, since: None })
    });
    ranked.extend(warnings);
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, wanted)| wanted).collect()
}

/// Since when a rotation is due that should long have been done by itself.
fn late(line: &Line, now: OffsetDateTime) -> Option<OffsetDateTime> {
    let due = line.window?.due_at;
    (line.attention.is_empty() && now.saturating_sub(PATIENCE) >= due).then_some(due)
}

impl fmt::Display for Wanted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, r#"<li class="{}"><p><b class="word">{}</b>"#, self.tone, Text(self.what))?;
        if let Some(since) = self.since {
            let at = rfc3339(since);
            write!(f, r#"<span class="since">since <time datetime="{at}">{}</time></span>"#, day(since))?;
        }
        if let Some((place, line)) = self.robot {
            write!(f, r##" <a href="#r{place}">{}</a>"##, Text(&line.id.to_string()))?;
        }
        write!(f, "</p><div><p><bdi>{}</bdi></p>", Prose(&self.message))?;
        if let Some(hint) = &self.hint {
            write!(f, r#"<p class="hint"><span>What to do:</span> <bdi>{}</bdi></p>"#, Prose(hint))?;
        }
        f.write_str("</div></li>\n")
    }
}

/// The list on top of the page.
pub(super) struct List<'a>(pub(super) &'a [Wanted<'a>]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One more than there is room for is not worth a click.
        let open = if self.0.len() > OPEN + 1 { OPEN } else { self.0.len() };
        let (first, rest) = self.0.split_at(open);
        let items = |items: &[Wanted<'_>], f: &mut fmt::Formatter<'_>| {
            f.write_str("<ul class=\"wanted\">\n")?;
            items.iter().try_for_each(|item| item.fmt(f))?;
            f.write_str("</ul>\n")
        };
        items(first, f)?;
        if !rest.is_empty() {
            writeln!(f, "<details><summary>{} more</summary>", rest.len())?;
            items(rest, f)?;
            f.write_str("</details>\n")?;
        }
        Ok(())
    }
}
