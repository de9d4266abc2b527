//! What is due when: the one pure decision of the loop.
//!
//! Owns [`agenda`]: for each task of each site the one moment at which it is to
//! be done next; what lies in the past is due. What there is to do is the
//! plan's own decision, taken on the inventory's rows as if every key and every
//! file were where it was put. Leaves out what only a look into the secret store
//! or at a disk shows: each site gets one look a day. Pure; reads nothing, keeps
//! nothing.
//!
//! A moment that a wrong clock wrote down for the future holds nothing back.

use time::{Duration, OffsetDateTime};

use crate::{
    config::Config,
    credential::{
        Record, State,
        plan::{self, Aim, KEY_SHELF_LIFE, Observed, Urgency},
    },
    inventory::{RobotRow, RunRow, SiteRow, Task, TaskRow},
    lifecycle::{self, Wish},
    renewal::RenewalWindow,
    site::{Robot, RobotId, RobotName, Site, SiteName},
    status::Holdings,
};

/// The least rest of a task, however near an end is.
pub const LEAST_REST: Duration = Duration::minutes(5);

/// How long before its end a credential is looked at, whatever else is due: whoever is to be told of it is told then.
pub const STAGES: [Duration; 5] =
    [Duration::days(30), Duration::days(14), Duration::days(7), Duration::days(1), Duration::ZERO];

/// The code of a failure that no repetition mends.
const NEEDS_PERSON: &str = "person";

/// One thing to be done by one child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// For which site.
    pub site: SiteName,
    /// What.
    pub task: Task,
    /// For which of its robots; all of them where it is empty.
    pub robots: Vec<RobotName>,
}

/// What is due, and when to look again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agenda {
    /// Due now; of a site what goes first comes first.
    pub due: Vec<Job>,
    /// When the next becomes due, if anything is foreseen.
    pub next: Option<OffsetDateTime>,
}

/// What is due at `now`. Pure.
#[must_use]
pub fn agenda(config: &Config, holdings: &Holdings, now: OffsetDateTime) -> Agenda {
    gather(config, holdings, now, true)
}

/// What is due at `now` for whoever does not want to wait: nothing rests after a failure. Pure.
#[must_use]
pub fn impatient(config: &Config, holdings: &Holdings, now: OffsetDateTime) -> Agenda {
    gather(config, holdings, now, false)
}

fn gather(config: &Config, holdings: &Holdings, now: OffsetDateTime, rests: bool) -> Agenda {
    let mut agenda = Agenda::default();
    for site in &config.sites {
        let here = Here::new(site, holdings, now, rests);
        let rotation = here.rotation();
        let ingests = here.ingests();
        let job = |task, robots| Job { site: site.name.clone(), task, robots };
        let ready: Vec<_> = ingests.iter().filter(|(_, at)| *at <= now).map(|(robot, _)| (*robot).clone()).collect();
        if rotation.is_some_and(|at| at <= now) {
            agenda.due.push(job(Task::Rotate, Vec::new()));
        }
        if !ready.is_empty() {
            agenda.due.push(job(Task::Ingest, ready));
        }
        let moments = rotation.into_iter().chain(ingests.into_iter().map(|(_, at)| at));
        agenda.next = moments.filter(|at| *at > now).chain(agenda.next).min();
    }
    agenda
}

/// Whether a job that ended well just now, and was begun at `begun`, is due all the same. Pure.
#[must_use]
pub fn is_still_due(
    config: &Config,
    holdings: &Holdings,
    job: &Job,
    begun: OffsetDateTime,
    now: OffsetDateTime,
) -> bool {
    let Some(site) = config.site(&job.site) else { return false };
    // What has become due since it was begun is another matter, and what was read has been read since.
    let at = if job.task == Task::Rotate { begun } else { now };
    let (site_name, success_at) = (job.site.clone(), Some(at));
    let ended =
        TaskRow { site: site_name, task: job.task, at, success_at, tries: 0, after: None, failures: 0, failure: None };
    let here = Here { ended: Some(&ended), ..Here::new(site, holdings, at, false) };
    match job.task {
        Task::Rotate => here.rotation().is_some_and(|at| at <= begun),
        Task::Ingest => here.ingests().iter().any(|(robot, at)| *at <= begun && job.robots.contains(robot)),
    }
}

/// One site, now.
struct Here<'a> {
    site: &'a Site,
    holdings: &'a Holdings,
    row: Option<&'a SiteRow>,
    /// How a task has ended, instead of what is written down.
    ended: Option<&'a TaskRow>,
    /// Whether a registration could be tried.
    registrar: bool,
    now: OffsetDateTime,
    robots: Vec<Held<'a>>,
    /// Whether anything rests.
    rests: bool,
}

/// One robot of it, with what is held for it.
struct Held<'a> {
    id: RobotId,
    robot: &'a Robot,
    row: Option<&'a RobotRow>,
    records: &'a [Record],
    active: Option<(&'a Record, RenewalWindow)>,
    runs: &'a [RunRow],
}

impl<'a> Held<'a> {
    fn new(site: &Site, robot: &'a Robot, holdings: &'a Holdings) -> Self {
        let id = RobotId { site: site.name.clone(), robot: robot.name.clone() };
        let records = holdings.records_of(&id);
        let active = records.iter().find(|record| record.state == State::Active);
        let active = active.and_then(|record| Some((record, window(robot, record)?)));
        let (row, runs) = (holdings.robot(&id), holdings.runs_of(&id));
        Self { id, robot, row, records, active, runs }
    }
}

impl<'a> Here<'a> {
    fn new(site: &'a Site, holdings: &'a Holdings, now: OffsetDateTime, rests: bool) -> Self {
        let row = holdings.site(&site.name);
        let registrar = lifecycle::could_register(site, row, holdings.records_at(&site.name), now);
        let robots = site.robots.iter().map(|robot| Held::new(site, robot, holdings)).collect();
        Self { site, holdings, row, ended: None, registrar, now, robots, rests }
    }

    /// When `rotate --due` is next to be done; `None` where there is nothing to look after.
    fn rotation(&self) -> Option<OffsetDateTime> {
        let last = self.last(Task::Rotate);
        let (mut wanted, mut ends) = (Vec::new(), Vec::new());
        for held in &self.robots {
            wanted.extend(self.steps(held));
            if let Some((_, window)) = held.active {
                let stages = STAGES.map(|before| after(window.not_after) - before);
                let stages = stages.into_iter().chain([window.warns_at(held.robot.token_lead)]);
                // A stage that was looked at is over.
                wanted.extend(stages.filter(|at| last.is_none_or(|last| last.at < *at)));
                ends.push(window.not_after);
            }
            if held.records.iter().any(is_alive) {
                wanted.push(self.daily(last));
            }
        }
        // No repetition brings a person; what they bring is seen once it is there.
        wanted.extend(
            last.filter(|last| last.failure.as_ref().is_some_and(|why| why.code != NEEDS_PERSON)).map(|last| last.at),
        );
        let wanted = wanted.into_iter().min()?;
        Some(match last.filter(|last| self.rests && !self.has_new_token(last)) {
            Some(last) => wanted.max(last.at + rest(last, &ends)),
            None => wanted,
        })
    }

    /// When the plan has something to do for a robot: now, or at one of the dates that it waits for.
    fn steps(&self, held: &Held<'_>) -> Vec<OffsetDateTime> {
        let observed = self.observed(held);
        let works = held.active.is_some_and(|(_, window)| !window.is_expired(self.now));
        if (works && !observed.ingested) || plan::next(&observed).is_action() {
            return vec![self.now];
        }
        let mut dates = Vec::new();
        for record in held.records {
            match record.state {
                State::Keyed => {
                    // Longer than its shelf life, not as long.
                    dates.extend(record.keyed_at.map(|at| at + KEY_SHELF_LIFE + Duration::MILLISECOND));
                    dates.extend(window(held.robot, record).map(|window| window.due_at));
                }
                State::Active => dates.extend(record.deliver_after),
                State::Previous => dates.extend(record.retire_after),
                _ => {}
            }
        }
        if let Some((_, window)) = held.active {
            dates.push(window.reissue_at(held.row.and_then(|row| row.last_promotion)));
            dates.push(after(window.not_after));
        }
        dates.retain(|at| *at > self.now);
        dates
    }

    /// What `rotate --due` would see, as far as the rows tell.
    fn observed(&self, held: &Held<'_>) -> Observed {
        let (id, robot) = (&held.id, held.robot);
        let wish = Wish { id, aim: Aim::Rotate(Urgency::Scheduled), robot: Some(robot), export: robot.export.as_ref() };
        let read = held.active.is_some_and(|(active, _)| {
            held.runs.iter().any(|run| run.complete && run.generation == Some(active.id.generation))
        });
        Observed { registrar: self.registrar, ..wish.stands(held.records, held.row, read, self.now) }
    }

    /// The one look a day: at the site's own time, so that a thousand sites do not begin together. A site that was
    /// never looked at is looked at now.
    fn daily(&self, last: Option<&TaskRow>) -> OffsetDateTime {
        let Some(last) = last else { return self.now };
        let at = last.at.replace_time(time::Time::MIDNIGHT) + time_of_day(&self.site.name);
        if at > last.at { at } else { at + Duration::DAY }
    }

    /// Whether a token was stored since the last try.
    fn has_new_token(&self, last: &TaskRow) -> bool {
        let since = self.row.and_then(|row| row.token_since);
        since.is_some_and(|since| last.at < since && since <= self.now)
    }

    /// Whether an API key that the robot is read with was stored since the last try.
    fn has_new_key(&self, held: &Held<'_>, last: &TaskRow) -> bool {
        let since = self.row.and_then(|row| row.api_key).map(|key| key.since);
        held.active.is_none() && since.is_some_and(|since| last.at < since && since <= self.now)
    }

    /// When each robot is next to be read by schedule.
    fn ingests(&self) -> Vec<(&'a RobotName, OffsetDateTime)> {
        let last = self.last(Task::Ingest);
        let at = |held: &Held<'a>| {
            let target = held.robot.ingest.as_ref()?;
            let every = target.every?;
            let works = match held.active {
                Some((_, window)) => !window.is_expired(self.now),
                // Read with the site's API key; whether that still holds is the appliance's to say.
                None => self.row.is_some_and(|row| row.api_key.is_some()),
            };
            works.then_some(())?;
            let next = |stream| {
                let run = held.runs.iter().find(|run| run.stream == stream);
                let last = run.and_then(|run| run.target_at).filter(|at| *at <= self.now);
                // What was never read there is read at once.
                last.map_or(OffsetDateTime::UNIX_EPOCH, |at| at + every)
            };
            let wanted = target.streams.iter().copied().map(next).min()?;
            // What was wanted at the last end and still is was tried in vain.
            let tried = last.filter(|last| self.rests && wanted <= last.at && !self.has_new_key(held, last));
            Some((&held.robot.name, tried.map_or(wanted, |last| wanted.max(last.at + rest_of_reading(last, every)))))
        };
        self.robots.iter().filter_map(at).collect()
    }

    /// How the task last ended, if that is to be believed: not what a clock wrote that was ahead.
    fn last(&self, task: Task) -> Option<&'a TaskRow> {
        let ended = self.ended.filter(|row| row.task == task);
        ended.or_else(|| self.holdings.task(&self.site.name, task)).filter(|row| row.at <= self.now)
    }
}

/// How long a rotation rests: as long as its back-off says, or an hour where all went well, but not longer than a
/// quarter of the time between its last end and the nearest end of a credential. So several tries are left before
/// that end, and come soon after it.
fn rest(last: &TaskRow, ends: &[OffsetDateTime]) -> Duration {
    let quarters = ends.iter().map(|end| (*end - last.at).abs() / 4);
    quarters.chain([back_off(last)]).min().unwrap_or_default().max(LEAST_REST)
}

/// How long reading rests: as long as its back-off says, but not much longer than between two runs.
fn rest_of_reading(last: &TaskRow, every: Duration) -> Duration {
    match &last.failure {
        Some(_) => back_off(last).min(every.max(Duration::HOUR)),
        None => every.min(LEAST_REST),
    }
}

/// What the row says, as far as it can be meant.
fn back_off(last: &TaskRow) -> Duration {
    let said = last.after.map_or(Duration::ZERO, |after| after - last.at);
    said.clamp(plan::back_off(1), plan::back_off(u32::MAX))
}

fn window(robot: &Robot, record: &Record) -> Option<RenewalWindow> {
    let certificate = record.certificate.as_ref()?;
    Some(robot.renewal.window(certificate.validity(), certificate.fingerprint()))
}

fn is_alive(record: &Record) -> bool {
    record.state == State::Active || record.state.is_pending() || record.state.is_previous()
}

/// The first moment at which a certificate with this last second is over.
fn after(not_after: OffsetDateTime) -> OffsetDateTime {
    not_after.saturating_add(Duration::SECOND)
}

/// A site's own time of the day: the same on every machine and in every version (FNV-1a).
fn time_of_day(site: &SiteName) -> Duration {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let hash = site.as_str().bytes().fold(0xcbf2_9ce4_8422_2325, mix);
    Duration::seconds(i64::try_from(hash % 86_400).unwrap_or_default())
}

#[cfg(test)]
mod tests;
