//! The report as one self-contained page: what `/` serves and `status --html` writes.
//!
//! Owns its words, its drawing and its style; makes no judgement of its own:
//! what stands here stands in the report. It needs no script and fetches
//! nothing, and its policy lets it do neither. Whatever a text from outside
//! holds, it is shown as text (`page::escape`). Pure.

mod axis;
mod bars;
mod escape;
mod person;
mod robots;

use std::{collections::BTreeMap, fmt, time::Duration};

use base64ct::{Base64, Encoding as _};
use time::OffsetDateTime;

use super::{Line, Report, Standing, api_keys, document::Status, forecast};
use crate::{
    clock::rfc3339,
    inventory::TaskRow,
    site::{RobotId, SiteName},
    x509::{Certificate, Fingerprint},
};
use axis::{Axis, day};
use escape::Text;
use person::Wanted;

const STYLE: &str = include_str!("page/style.css");

/// How far ahead the page looks for what will be wanted.
const HORIZON: time::Duration = time::Duration::days(30);

/// How many robots of a sentence are named.
const MOST_NAMES: usize = 8;

/// The page. With `refresh` a browser asks for it again after that time. Pure.
#[must_use]
pub fn html(report: &Report, status: &Status, refresh: Option<Duration>) -> String {
    let wanted = person::wanted(report);
    Page { report, status, refresh, wanted }.to_string()
}

/// The page's `Content-Security-Policy`: nothing but its own style.
#[must_use]
pub fn policy() -> String {
    format!("{}; frame-ancestors 'none'", own_policy())
}

/// The part of the policy that the page itself can carry, for where no server sends it.
fn own_policy() -> String {
    let hash = Base64::encode_string(Fingerprint::of(STYLE.as_bytes()).as_bytes());
    format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'")
}

/// How something is to be taken; the name of its class in the style.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tone {
    Good,
    Fair,
    Bad,
    Idle,
}

impl Tone {
    fn of(line: &Line, now: OffsetDateTime) -> Self {
        let due = line.window.is_some_and(|window| window.is_due(now));
        match line.standing {
            Standing::Expired | Standing::NeedsPerson => Self::Bad,
            Standing::Active if line.attention.is_empty() && !due => Self::Good,
            Standing::Active | Standing::Pending => Self::Fair,
            Standing::Absent => Self::Idle,
        }
    }
}

impl fmt::Display for Tone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Good => "good",
            Self::Fair => "fair",
            Self::Bad => "bad",
            Self::Idle => "idle",
        })
    }
}

struct Page<'a> {
    report: &'a Report,
    status: &'a Status,
    refresh: Option<Duration>,
    wanted: Vec<Wanted<'a>>,
}

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head(f)?;
        self.header(f)?;
        f.write_str("<main>\n")?;
        if !self.wanted.is_empty() {
            f.write_str("<section aria-labelledby=\"person\"><h2 id=\"person\">Needs a person</h2>\n")?;
            writeln!(f, "{}</section>", person::List(&self.wanted))?;
        }
        if self.report.lines.is_empty() {
            f.write_str(FIRST)?;
        } else {
            self.robots(f)?;
        }
        f.write_str("</main>\n")?;
        self.footer(f)
    }
}

/// What a page without robots says.
const FIRST: &str = "<section aria-labelledby=\"first\"><h2 id=\"first\">The first robot</h2>
<p><code>robocred provision SITE/ROBOT --url https://APPLIANCE</code> makes a key and a certificate, registers them \
with the support token that it asks for, and proves that they work. The robot stands here from then on.</p>
<p><code>robocred demo</code> shows the whole life of a credential against a built-in appliance; it needs no network.\
</p></section>\n";

/// What the drawing's shapes mean.
const LEGEND: &str = r##"<ul class="legend" aria-label="What the shapes mean">
<li><svg width="34" height="14" aria-hidden="true"><rect class="life" y="1" width="34" height="12" rx="2"/><rect class="past" y="1" width="12" height="12"/></svg> in use, its past faded</li>
<li><svg width="46" height="14" aria-hidden="true"><use href="#warns" x="5" y="4"/><rect class="life" x="12" y="1" width="34" height="12" rx="2"/><rect class="lead" x="12" y="1" width="34" height="12"/></svg> time to have a support token</li>
<li><svg width="46" height="14" aria-hidden="true"><use href="#due" x="5" y="4"/><rect class="life" x="12" y="1" width="34" height="12" rx="2"/><rect class="open" x="12" y="1" width="34" height="12"/></svg> due for rotation</li>
<li><svg width="34" height="14" aria-hidden="true"><rect class="other" y="5" width="34" height="4" rx="2"/></svg> earlier, still accepted</li>
<li><svg width="34" height="14" aria-hidden="true"><rect class="hollow" x="1" y="2" width="32" height="10" rx="2"/></svg> not in use yet, or ended</li>
</ul>
"##;

impl Page<'_> {
    fn head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let policy = own_policy();
        let (_, verdict) = self.verdict();
        write!(
            f,
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"referrer\" content=\"no-referrer\">\n"
        )?;
        if let Some(refresh) = self.refresh {
            writeln!(f, "<meta http-equiv=\"refresh\" content=\"{}\">", refresh.as_secs().max(1))?;
        }
        write!(f, "<title>{} · robocred</title>\n<style>{STYLE}</style>\n</head>\n<body>\n", Text(&verdict))
    }

    fn header(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tone, verdict) = self.verdict();
        let at = rfc3339(self.report.at);
        let minute = at.get(..16).unwrap_or(&at).replace('T', " ");
        write!(
            f,
            "<header><p class=\"made\">robocred, as of <time datetime=\"{at}\">{minute} UTC</time></p>\n\
             <h1 class=\"{tone}\">{}</h1>\n",
            Text(&verdict)
        )?;
        let counts = self.counts();
        if !counts.is_empty() {
            writeln!(f, "<p>{}</p>", counts.join(", "))?;
        }
        for sentence in ahead(&forecast::forecast(self.report, HORIZON)) {
            writeln!(f, "<p>{}</p>", Text(&sentence))?;
        }
        f.write_str("</header>\n")
    }

    /// The whole in one line.
    fn verdict(&self) -> (Tone, String) {
        let all = self.report.lines.len();
        let standing = |wanted| self.report.lines.iter().filter(|line| line.standing == wanted).count();
        let (expired, stuck) = (standing(Standing::Expired), standing(Standing::NeedsPerson));
        let robots = |count: usize| if count == 1 { "1 robot".to_owned() } else { format!("{count} robots") };
        let of_all = |count: usize| if all == 1 { robots(1) } else { format!("{count} of {all} robots") };
        let verb = |count: usize, one: &'static str, many: &'static str| if count == 1 { one } else { many };
        match (expired, stuck, self.wanted.len()) {
            (0, 0, 0) if all == 0 => (Tone::Idle, "No robots yet".to_owned()),
            (0, 0, 0) => match self.report.lines.iter().filter(|line| is_idle(line)).count() {
                0 => (Tone::Good, format!("{} well, nothing to do", verb(all, "The robot is", "All robots are"))),
                idle => (Tone::Fair, format!("Nothing to do; {} without a credential in use", robots(idle))),
            },
            (0, 0, things) => (
                Tone::Fair,
                format!(
                    "{} for a person to look at",
                    if things == 1 { "1 thing".into() } else { format!("{things} things") }
                ),
            ),
            (0, stuck, _) => (Tone::Bad, format!("{} {} a person", of_all(stuck), verb(stuck, "needs", "need"))),
            (expired, 0, _) => (Tone::Bad, format!("{} {} expired", of_all(expired), verb(expired, "has", "have"))),
            (expired, stuck, _) => {
                let (has, needs) = (verb(expired, "has", "have"), verb(stuck, "needs", "need"));
                (Tone::Bad, format!("{} {has} expired, {stuck} {needs} a person", of_all(expired)))
            }
        }
    }

    /// How many robots stand where, for more than one.
    fn counts(&self) -> Vec<String> {
        const ORDER: [Standing; 5] =
            [Standing::Active, Standing::Pending, Standing::NeedsPerson, Standing::Expired, Standing::Absent];
        let count = |standing| self.report.lines.iter().filter(|line| line.standing == standing).count();
        let counts = ORDER.map(|standing| (count(standing), standing.as_str()));
        counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect()
    }

    fn robots(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let now = self.report.at;
        let axis = &Axis::around(now, self.report.lines.iter().flat_map(moments));
        let mut tasks: BTreeMap<&SiteName, Vec<&TaskRow>> = BTreeMap::new();
        for row in &self.report.tasks {
            tasks.entry(&row.site).or_default().push(row);
        }
        let keys: BTreeMap<_, _> = api_keys::kept(&self.report.sites).collect();
        f.write_str("<section aria-labelledby=\"robots\"><h2 id=\"robots\">Robots</h2>\n")?;
        write!(f, "{}\n{LEGEND}<div class=\"axis\">{}</div>\n", bars::Shared { axis, now }, bars::Dates { axis, now })?;
        let mut place = 0;
        for lines in self.report.lines.chunk_by(|one, next| one.id.site == next.id.site) {
            let site = &lines[0].id.site;
            write!(f, "<section class=\"site\"><h3>{}</h3>", Text(site.as_str()))?;
            for row in tasks.get(site).into_iter().flatten() {
                write!(f, " <p class=\"fine\">{}</p>", Text(&went(row)))?;
            }
            if let Some(key) = keys.get(site) {
                write!(f, " <p class=\"fine\">its API key {}</p>", api_keys::ends(key, now))?;
            }
            f.write_str("\n<ul class=\"robots\">\n")?;
            for line in lines {
                write!(f, "{}", robots::Robot { place, line, axis, now })?;
                place += 1;
            }
            f.write_str("</ul></section>\n")?;
        }
        f.write_str("</section>\n")
    }

    fn footer(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<footer><p>All times are UTC. The same as text: <code>robocred status</code>.</p><dl>")?;
        for (what, path) in [("configuration", &self.status.config), ("state", &self.status.state_dir)] {
            let path = path.as_ref().map(|path| path.display().to_string());
            write!(f, "<div><dt>{what}</dt> <dd><bdi>{}</bdi></dd></div>", Text(path.as_deref().unwrap_or("unknown")))?;
        }
        f.write_str("</dl></footer>\n</body>\n</html>\n")
    }
}

/// Whether nothing can be done with a robot: it has no credential in use, and is not read with an API key either.
fn is_idle(line: &Line) -> bool {
    line.standing != Standing::Active && (line.standing != Standing::Absent || line.api_key.is_none())
}

/// Everything of a robot that wants a place on the axis.
fn moments(line: &Line) -> impl Iterator<Item = OffsetDateTime> {
    let records = line.record.iter().chain(&line.previous);
    let validities = records.filter_map(|record| record.certificate.as_ref()).map(Certificate::validity);
    validities.flat_map(|validity| [validity.not_before, validity.not_after])
}

/// How a task of a site last went.
fn went(row: &TaskRow) -> String {
    match (&row.failure, row.success_at) {
        (None, _) => format!("{} last done {}", row.task, day(row.at)),
        (Some(_), Some(success)) => format!("{} fails since {}", row.task, day(success)),
        (Some(_), None) => format!("{} has never ended well", row.task),
    }
}

/// What lies ahead, in sentences; none where nothing does.
fn ahead(forecast: &forecast::Forecast) -> Vec<String> {
    let days = HORIZON.whole_days();
    let named = |robots: &[RobotId]| {
        let mut names: Vec<_> = robots.iter().take(MOST_NAMES).map(ToString::to_string).collect();
        if robots.len() > MOST_NAMES {
            names.push(format!("{} more", robots.len() - MOST_NAMES));
        }
        names.join(", ")
    };
    let mut sentences = Vec::new();
    if !forecast.rotations.is_empty() {
        sentences.push(format!("Rotation opens within {days} days: {}.", named(&forecast.rotations)));
    }
    if !forecast.tokens.is_empty() {
        sentences.push(format!("Needs a support token within {days} days: {}.", named(&forecast.tokens)));
    }
    sentences
}

#[cfg(test)]
mod tests;
