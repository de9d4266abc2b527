//! The report as one word for monitoring: what `check` says.
//!
//! Owns what is a warning and what is critical (docs/MONITORING.md has the
//! table), which of several troubles is told first, and the one line with its
//! performance data in the form that Nagios' guidelines ask for. Leaves out exit codes. Pure.

use std::fmt::Write as _;

use time::{Duration, OffsetDateTime};

use super::{Line, Report, Standing, api_keys, failing, token::count};
use crate::{
    clean,
    credential::KeptKey,
    document::Time,
    inventory::{Attention, AttentionCode},
    site::SiteName,
};

/// How long before an end somebody is warned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// A rotation that opens within this time is a warning.
    pub warning: Duration,
    /// A credential that ends within this time is critical.
    pub critical: Duration,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { warning: Duration::days(30), critical: Duration::days(7) }
    }
}

/// The one word, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// Nothing is wrong.
    Ok,
    /// Somebody should look at it.
    Warning,
    /// It cannot be judged.
    Unknown,
    /// A credential is lost or about to be.
    Critical,
}

impl Health {
    /// The word of JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Unknown => "unknown",
            Self::Critical => "critical",
        }
    }
}

/// What monitoring is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The worst of all.
    pub health: Health,
    /// The worst trouble, and how many more there are; without any, when the next rotation is due.
    pub message: String,
    /// What can be drawn as curves; `None` where there was nothing to look at.
    pub figures: Option<Figures>,
}

/// The figures beside the word.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// How many robots there are.
    pub robots: usize,
    /// How many things want a person's eye.
    pub attention: usize,
    /// How many robots are due now.
    pub due: usize,
    /// How many have expired.
    pub expired: usize,
    /// The least days until a credential ends, rounded down, negative once one has.
    pub days_left: Option<i64>,
    /// The least days until a rotation opens, rounded down, negative once one is open.
    pub days_to_due: Option<i64>,
    /// The least days until an API key ends, where one is kept.
    pub api_key_days_left: Option<i64>,
    /// What they were compared with.
    pub thresholds: Thresholds,
}

/// Why something is not as it should be, from least to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Grade {
    DueSoon,
    Due,
    Attention,
    TaskFails,
    Forsaken,
    NoCredential,
    NeedsPerson,
    Unread,
    EndsSoon,
    Refused,
    Expired,
}

impl Grade {
    fn health(self) -> Health {
        match self {
            Self::Expired | Self::Refused | Self::EndsSoon => Health::Critical,
            Self::Unread => Health::Unknown,
            _ => Health::Warning,
        }
    }
}

/// One thing that is not as it should be.
struct Trouble {
    grade: Grade,
    /// When the credential that it is about ends.
    end: Option<OffsetDateTime>,
    message: String,
}

/// Judges the report. Pure.
#[must_use]
pub fn verdict(report: &Report, thresholds: Thresholds) -> Verdict {
    let mut troubles: Vec<Trouble> =
        report.lines.iter().filter_map(|line| trouble(line, thresholds, report.at)).collect();
    let whole = |grade, message| Trouble { grade, end: None, message };
    troubles.extend(api_keys::kept(&report.sites).filter_map(|(site, key)| of_key(site, &key, thresholds, report.at)));
    troubles.extend(report.tasks.iter().filter_map(failing).map(|message| whole(Grade::TaskFails, message)));
    troubles.extend(report.unread.iter().map(|what| whole(Grade::Unread, what.clone())));
    if report.lines.is_empty() && report.unread.is_empty() {
        troubles.push(whole(Grade::Unread, "no robot is configured, and none is held".to_owned()));
    }
    // The worst first; of equals the one that ends first, and then by name, as they came.
    troubles.sort_by_key(|trouble| {
        (std::cmp::Reverse(trouble.grade), trouble.end.map_or(i64::MAX, OffsetDateTime::unix_timestamp))
    });
    let figures = (!report.lines.is_empty()).then(|| Figures::of(report, thresholds));
    let Some(worst) = troubles.first() else {
        return Verdict { health: Health::Ok, message: all_is_well(report), figures };
    };
    let mut message = worst.message.clone();
    let further = |health| troubles[1..].iter().filter(|trouble| trouble.grade.health() == health).count();
    let further: Vec<String> = [Health::Critical, Health::Unknown, Health::Warning]
        .map(|health| (further(health), health))
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, health)| format!("{count} {}", health.as_str()))
        .collect();
    if !further.is_empty() {
        let _ = write!(message, "; and {} more ({})", troubles.len() - 1, further.join(", "));
    }
    Verdict { health: worst.grade.health(), message, figures }
}

/// What is wrong with one robot; the worst of it.
fn trouble(line: &Line, Thresholds { warning, critical }: Thresholds, now: OffsetDateTime) -> Option<Trouble> {
    let id = &line.id;
    let (end, due) = (line.window.map(|window| window.not_after), line.window.map(|window| window.due_at));
    let within = |at: Option<OffsetDateTime>, time| at.filter(|at| *at - now < time);
    let is_refused = |raised: &&Attention| raised.code == AttentionCode::Frozen;
    let on = |at| format!("on {} (in {})", Time(at).day(), count((at - now).whole_days()));
    let (grade, message) = if line.standing == Standing::Expired {
        let day = end.map(|end| format!(" on {}", Time(end).day())).unwrap_or_default();
        (Grade::Expired, format!("{id} has expired{day}"))
    } else if let Some(raised) = line.attention.iter().find(is_refused) {
        (Grade::Refused, format!("{id} is frozen: {}", raised.message))
    } else if let Some(end) = within(end, critical) {
        (Grade::EndsSoon, format!("{id} ends {}", on(end)))
    } else if line.standing == Standing::NeedsPerson {
        let why = line.attention.first().map(|raised| format!(": {}", raised.message)).unwrap_or_default();
        (Grade::NeedsPerson, format!("{id} needs a person{why}"))
    } else if line.standing == Standing::Pending
        || (line.standing == Standing::Absent && line.configured && line.api_key.is_none())
    {
        (Grade::NoCredential, format!("{id} has no credential in use ({})", line.standing.as_str()))
    } else if line.forsaken {
        (Grade::Forsaken, format!("{id} is in use and not in the configuration: nothing rotates it"))
    } else if let Some(raised) = line.attention.first() {
        (Grade::Attention, format!("{id} wants attention ({}): {}", raised.code, raised.message))
    } else if let Some(due) = due.filter(|due| *due <= now) {
        (Grade::Due, format!("{id} is due for rotation since {}", Time(due).day()))
    } else if let Some(due) = within(due, warning) {
        (Grade::DueSoon, format!("{id} is due for rotation {}", on(due)))
    } else {
        return None;
    };
    Some(Trouble { grade, end, message })
}

/// What is wrong with the API key of a site: judged as a certificate is, by the latest end where the end is not known.
fn of_key(site: &SiteName, key: &KeptKey, thresholds: Thresholds, now: OffsetDateTime) -> Option<Trouble> {
    let within = |time| api_keys::ends_within(key, time, now);
    let grade = match () {
        () if key.is_over(now) => Grade::Expired,
        () if within(thresholds.critical) => Grade::EndsSoon,
        () if within(thresholds.warning) => Grade::DueSoon,
        () => return None,
    };
    Some(Trouble { grade, end: Some(key.ends()), message: api_keys::message(site, key, now) })
}

fn all_is_well(report: &Report) -> String {
    let robots = match report.lines.len() {
        1 => "1 robot".to_owned(),
        many => format!("{many} robots"),
    };
    let due = |line: &Line| line.window.map(|window| (window.due_at, line.id.clone()));
    match report.lines.iter().filter_map(due).min() {
        Some((due, id)) => format!("{robots}, the next is due {} ({id})", Time(due).day()),
        None => match report.lines.iter().filter_map(|line| Some((line.api_key?.ends(), &line.id.site))).min() {
            Some((end, site)) => format!("{robots}, read with an API key; the next ends {} ({site})", Time(end).day()),
            None => format!("{robots}, none with a credential"),
        },
    }
}

impl Figures {
    fn of(report: &Report, thresholds: Thresholds) -> Self {
        let windows = || report.lines.iter().filter_map(|line| line.window);
        let days = |at: OffsetDateTime| (at - report.at.truncate_to_second()).whole_seconds().div_euclid(86_400);
        Self {
            robots: report.lines.len(),
            attention: report.lines.iter().map(|line| line.attention.len()).sum(),
            due: windows().filter(|window| window.is_due(report.at)).count(),
            expired: report.lines.iter().filter(|line| line.standing == Standing::Expired).count(),
            days_left: windows().map(|window| window.days_left(report.at)).min(),
            days_to_due: windows().map(|window| days(window.due_at)).min(),
            api_key_days_left: api_keys::kept(&report.sites).map(|(_, key)| key.days_left(report.at)).min(),
            thresholds,
        }
    }

    /// `label=value;warning;critical;minimum`, separated by spaces. A range `30:` is left below 30; a value that
    /// there is none of is `U`.
    fn performance(&self) -> String {
        let known = |value: Option<i64>| value.map_or("U".to_owned(), |value| value.to_string());
        let (warning, critical) = (in_days(self.thresholds.warning), in_days(self.thresholds.critical));
        // Only where there is one, so that the line of others stays as it was.
        let key = self.api_key_days_left.map(|days| format!(" api_key_days_left={days};{warning}:;{critical}:"));
        format!(
            "robots={};;;0 attention={};;;0 due={};;;0 expired={};;;0 days_left={};;{critical}: days_to_due={};{warning}:{}",
            self.robots,
            self.attention,
            self.due,
            self.expired,
            known(self.days_left),
            known(self.days_to_due),
            key.unwrap_or_default(),
        )
    }
}

/// A time in days, with as many places as it needs, and four at most.
fn in_days(time: Duration) -> String {
    let text = format!("{:.4}", time.as_seconds_f64() / 86_400.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl Verdict {
    /// The verdict where nothing could be looked at.
    #[must_use]
    pub fn unknown(why: impl Into<String>) -> Self {
        Self { health: Health::Unknown, message: why.into(), figures: None }
    }

    /// The one line for monitoring: `ROBOCRED WORD: message | performance data`.
    #[must_use]
    pub fn line(&self) -> String {
        let word = self.health.as_str().to_ascii_uppercase();
        let figures = self.figures.map(|figures| format!(" | {}", figures.performance())).unwrap_or_default();
        format!("ROBOCRED {word}: {}{figures}", on_one_line(&self.message))
    }
}

/// How many characters of a message monitoring is given: some readers take no more than 1,024 octets of a line.
const LONGEST: usize = 600;

/// What monitoring can read: several lines become one, and the mark that begins performance data another.
fn on_one_line(message: &str) -> String {
    let mut text = String::with_capacity(message.len());
    for part in message.split(['\n', '\r']).map(str::trim).filter(|part| !part.is_empty()) {
        match text.chars().next_back() {
            None => {}
            Some(':') => text.push(' '),
            Some(_) => text.push_str("; "),
        }
        text.push_str(part);
    }
    let text = clean::line(&text).replace('|', "\u{a6}");
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests;
