//! Twenty years of schedule: the real agenda, report and plan in a modelled world, on a clock that nobody waits for.
//!
//! A stretch is the time in which a rotation would have ended well, begun anew by whatever came between by chance.
//! A schedule that lets a stretch pass in which it should have tried has missed it; a credential that expires after
//! that has expired although a person in time could have prevented it.

mod child;
mod world;

use std::collections::BTreeMap;

use time::{Duration, OffsetDateTime};

use self::{
    child::Ended,
    world::{BEGIN, Child, Event, World},
};
use super::super::{Agenda, Job, LEAST_REST, agenda};
use crate::{
    config::Config,
    credential::State,
    inventory::{Task, TaskFailure, TaskRow},
    renewal::RenewalWindow,
    site::RobotId,
    status::Holdings,
};

type Schedule = fn(&Config, &Holdings, OffsetDateTime) -> Agenda;

const YEAR: Duration = Duration::seconds(31_556_952);

/// The longest that a rotation may rest, and what a child and a look may take.
const LONGEST: Duration = Duration::hours(32);
const SLACK: Duration = Duration::minutes(15);

/// For one site with up to three robots, of which some live a day.
const MOST_CHILDREN_A_YEAR: u32 = 5_000;

/// What a life showed.
#[derive(Debug, Default)]
struct Tally {
    site_years: i64,
    rotate_children: u32,
    ingest_children: u32,
    promotions: u32,
    /// By what was in the way last.
    expired: BTreeMap<&'static str, u32>,
    /// Of those, the ones that lived a year.
    expired_of_a_year: u32,
    preventable: Vec<String>,
    wrong: Vec<String>,
    longest_untold: Duration,
    longest_unread: f64,
    most_children_a_year: u32,
}

/// What is watched of one robot.
#[derive(Clone, Copy, Debug, Default)]
struct Watch {
    able_since: Option<OffsetDateTime>,
    missed: bool,
    over: bool,
    in_the_way: &'static str,
    read_since: Option<OffsetDateTime>,
}

struct Life {
    world: World,
    schedule: Schedule,
    watches: BTreeMap<RobotId, Watch>,
    admins: Vec<bool>,
    this_year: Vec<u32>,
    tally: Tally,
}

fn live(seed: u64, begin: OffsetDateTime, years: i32, schedule: Schedule) -> Tally {
    let world = World::new(seed, begin);
    let watches = world.holdings.robots.iter().map(|row| (row.id.clone(), Watch::default())).collect();
    let sites = world.places.len();
    let tally = Tally::default();
    let mut life = Life { world, schedule, watches, admins: vec![true; sites], this_year: vec![0; sites], tally };
    for year in 0..years {
        life.until(begin + YEAR * (year + 1));
        let most = life.this_year.iter().max().copied().unwrap_or_default();
        life.tally.most_children_a_year = life.tally.most_children_a_year.max(most);
        life.this_year = vec![0; sites];
    }
    life.tally.site_years = i64::from(years) * i64::try_from(sites).unwrap();
    life.tally
}

impl Life {
    fn until(&mut self, end: OffsetDateTime) {
        while self.world.time < end {
            let look = self.world.awake.then(|| self.look());
            let world = &self.world;
            let children = world.places.iter().filter_map(|place| place.child.as_ref()).map(|child| child.ends);
            let children = children.filter(|_| world.awake);
            let events = world.events.first().map(|(at, _)| *at);
            let ends = self.watches.keys().filter_map(|id| Some(self.window(id)?.not_after + Duration::SECOND));
            let ends = ends.filter(|at| *at > world.time);
            let next = look.into_iter().chain(children).chain(events).chain(ends).min().unwrap();
            let next = next.clamp(world.time, end);
            self.is_honest(look, next);
            self.world.time = next;
            self.judge();
            self.end_children();
            while let Some((at, event)) = self.world.events.first().copied().filter(|(at, _)| *at <= next) {
                self.world.events.remove(&(at, event));
                self.world.happen(event);
                if matches!(event, Event::ClockRight | Event::ClockWrong | Event::Token(_)) {
                    self.watches.values_mut().for_each(|watch| (watch.able_since, watch.read_since) = (None, None));
                }
            }
            self.resume();
        }
    }

    /// Begins what is due, and says when to look again.
    fn look(&mut self) -> OffsetDateTime {
        let now = self.world.now();
        let agenda = (self.schedule)(&self.world.config, &self.world.holdings, now);
        for job in agenda.due {
            let at = self.world.config.sites.iter().position(|site| site.name == job.site).unwrap();
            if self.world.places[at].child.is_none() {
                self.begin(at, job);
            }
        }
        agenda.next.map_or(self.world.time + Duration::DAY, |at| self.world.time + (at - now))
    }

    fn begin(&mut self, at: usize, job: Job) {
        let (world, tally) = (&mut self.world, &mut self.tally);
        self.this_year[at] += 1;
        match job.task {
            Task::Rotate => tally.rotate_children += 1,
            Task::Ingest => tally.ingest_children += 1,
        }
        // A rotation is the whole site's; robots are read each at its own time.
        let jobs = if job.robots.is_empty() { vec![None] } else { job.robots.iter().cloned().map(Some).collect() };
        for robot in jobs {
            let place = &world.places[at];
            let before = place.ended.get(&(job.task, robot)).copied().filter(|before| *before > place.stirred);
            if before.is_some_and(|before| world.time < before + LEAST_REST) {
                tally.wrong.push(format!("{}: {} of {} again within {LEAST_REST}", world.time, job.task, job.site));
            }
        }
        let (killed, hung) = (world.dice.percent(8), world.dice.percent(3));
        let killed_after = (killed || hung).then(|| world.dice.below(8));
        let takes = if hung { Duration::minutes(30) } else { Duration::seconds(1 + world.dice.below(120)) };
        let begins = world.time;
        let child = Child { task: job.task, robots: job.robots, begins, ends: world.time + takes, killed_after };
        world.places[at].child = Some(child);
    }

    fn end_children(&mut self) {
        for at in 0..self.world.places.len() {
            let (awake, time) = (self.world.awake, self.world.time);
            let over = self.world.places[at].child.take_if(|child| awake && child.ends <= time);
            let Some(child) = over else { continue };
            let used = self.world.places[at].uses;
            let ended = match child.task {
                Task::Rotate => child::rotate(&mut self.world, at, child.killed_after),
                Task::Ingest => child::ingest(&mut self.world, at, &child.robots, child.killed_after.is_some()),
            };
            let ended_at = &mut self.world.places[at].ended;
            ended_at.insert((child.task, None), time);
            ended_at.extend(child.robots.iter().map(|robot| ((child.task, Some(robot.clone())), time)));
            self.keep(at, child.task, &ended);
            let name = self.world.config.sites[at].name.clone();
            for (id, watch) in self.watches.iter_mut().filter(|(id, _)| id.site == name) {
                let promoted = ended.promoted.iter().find(|(promoted, _)| promoted == id);
                if let Some((_, quiet)) = promoted {
                    *watch = Watch { in_the_way: "chance", read_since: watch.read_since, ..Watch::default() };
                    self.tally.promotions += 1;
                    if !quiet {
                        self.tally.wrong.push(format!("{time}: {id} was rotated within the floor"));
                    }
                }
                if ended.unlucky {
                    (watch.able_since, watch.read_since) = (None, None);
                }
                if ended.read.contains(id) {
                    watch.read_since = None;
                }
            }
            if child.task == Task::Rotate {
                if ended.unlucky || used > self.world.places[at].uses {
                    self.world.places[at].deaf_until = time;
                }
                if ended.code != Some(child::KILLED)
                    && self.world.store
                    && let Some(untold) = self.world.tell(at)
                {
                    self.tally.longest_untold = self.tally.longest_untold.max(untold);
                }
            }
        }
    }

    /// Keeps how a task ended, as the inventory does.
    fn keep(&mut self, at: usize, task: Task, ended: &Ended) {
        let now = self.world.now();
        let site = self.world.config.sites[at].name.clone();
        let rows = &mut self.world.holdings.tasks;
        let before = rows.iter().position(|row| row.site == site && row.task == task).map(|at| rows.remove(at));
        let tries = ended.code.map_or(0, |_| before.map_or(0, |before| before.tries) + 1);
        let failure = ended.code.map(|code| TaskFailure { code: code.to_owned(), message: String::new() });
        let after = ended.code.map(|_| now + super::plan::back_off(tries));
        rows.push(TaskRow { site, task, at: now, success_at: None, tries, after, failures: 0, failure });
        rows.sort_by(|one, other| one.site.cmp(&other.site));
    }

    /// Nothing becomes due before the agenda said so.
    fn is_honest(&mut self, look: Option<OffsetDateTime>, next: OffsetDateTime) {
        let (world, tally) = (&mut self.world, &mut self.tally);
        if look.is_none() || next - world.time < Duration::minutes(2) || !world.dice.percent(2) {
            return;
        }
        let between = world.time + world.dice.between(Duration::SECOND, next - world.time - Duration::SECOND);
        for job in (self.schedule)(&world.config, &world.holdings, between + world.ahead).due {
            let at = world.config.sites.iter().position(|site| site.name == job.site).unwrap();
            if world.places[at].child.is_none() {
                tally.wrong.push(format!("{between}: {job:?} was not foreseen"));
            }
        }
    }

    fn window(&self, id: &RobotId) -> Option<RenewalWindow> {
        let (_, robot) = self.world.config.robot(id)?;
        let records = self.world.holdings.records_of(id);
        let held = records.iter().find(|record| record.state == State::Active)?.certificate.as_ref()?;
        Some(robot.renewal.window(held.validity(), held.fingerprint()))
    }

    /// What the time that has just passed says of the schedule.
    fn judge(&mut self) {
        let time = self.world.time;
        for (id, mut watch) in self.watches.clone() {
            let Some(window) = self.window(&id) else { continue };
            let (site, robot) = self.world.config.robot(&id).unwrap();
            let promoted = self.world.holdings.robot(&id).unwrap().last_promotion.unwrap();
            let at = self.world.config.sites.iter().position(|other| other.name == site.name).unwrap();
            let place = &self.world.places[at];
            if let Some(since) = watch.able_since {
                // By a clock that is an hour off, it is due an hour later.
                let due = window.reissue_at(Some(promoted)) + self.world.ahead.abs();
                let since = since.max(due);
                let left: Duration = window.not_after - since;
                let may_rest = Duration::clamp(left / 4, LEAST_REST, LONGEST) + SLACK + self.world.ahead.abs();
                // A try under way is no rest, however long it takes.
                let tried = place.child.as_ref().map_or(time, |child| child.begins.min(time));
                watch.missed |= !watch.over && tried.min(window.not_after) - since > may_rest;
            }
            if time > window.not_after && !watch.over {
                watch.over = true;
                *self.tally.expired.entry(watch.in_the_way).or_default() += 1;
                self.tally.expired_of_a_year += u32::from(robot.days == 365);
                let untold = watch.in_the_way == "token"
                    && !place.errand
                    && !self.world.is_deaf()
                    && time - place.deaf_until.max(window.warns_at(robot.token_lead)) > LONGEST + SLACK;
                if watch.missed || untold {
                    let days = robot.days;
                    self.tally.preventable.push(format!("{time}: {id} ({days} d) expired, {watch:?}, untold {untold}"));
                }
            }
            if let (Some(since), Some(every)) = (watch.read_since, robot.ingest.as_ref().and_then(|to| to.every)) {
                // What a clock that was days ahead wrote down is believed once that day has come.
                let since = since.max(self.world.jumped + Duration::days(8));
                let unread = (time - since) / every;
                self.tally.longest_unread = self.tally.longest_unread.max(unread);
                if time - since > every + Duration::HOUR {
                    self.tally.wrong.push(format!("{time}: {id} was not read since {since}"));
                    watch.read_since = None;
                }
            }
            self.watches.insert(id, watch);
        }
    }

    /// What is possible from here on.
    fn resume(&mut self) {
        let world = &mut self.world;
        for at in 0..world.places.len() {
            let admin = world.has_admin(at);
            if std::mem::replace(&mut self.admins[at], admin) && !admin {
                world.places[at].deaf_until = world.time;
            }
            let able = world.is_able(at);
            let in_the_way = match &world.places[at] {
                _ if able => "",
                _ if !world.awake => "asleep",
                _ if world.ahead.abs() > Duration::HOUR => "clock",
                _ if !world.store => "store",
                place if !place.up => "appliance",
                _ => "token",
            };
            let site = &world.config.sites[at];
            for (id, watch) in self.watches.iter_mut().filter(|(id, _)| id.site == site.name) {
                watch.able_since = if able { watch.able_since.or(Some(world.time)) } else { None };
                if !able {
                    watch.in_the_way = in_the_way;
                }
                let active = world.holdings.records_of(id).iter().find(|record| record.state == State::Active);
                let readable = active.is_some_and(|active| world.works(at, active));
                let reads = readable && world.places[at].up && world.store && world.awake && world.ahead.is_zero();
                watch.read_since = if reads { watch.read_since.or(Some(world.time)) } else { None };
            }
        }
    }
}

/// One by `ROBOCRED_YEARS_SEED`, or so many by `ROBOCRED_YEARS_SEEDS`, each twenty years; else the slice: one year of
/// each of ten seeds, every other of the twenty, those with a leap day and the end of 32 bits among them.
fn lives() -> Vec<(u64, OffsetDateTime, i32)> {
    let number = |name| std::env::var(name).ok().map(|given: String| given.parse::<u64>().expect("a number"));
    match (number("ROBOCRED_YEARS_SEED"), number("ROBOCRED_YEARS_SEEDS")) {
        (Some(seed), _) => vec![(seed, BEGIN, 20)],
        (None, Some(seeds)) => (0..seeds).map(|seed| (seed, BEGIN, 20)).collect(),
        (None, None) => {
            (0..10).map(|seed: i32| (u64::try_from(seed).unwrap(), BEGIN + YEAR * (2 * seed + 1), 1)).collect()
        }
    }
}

#[test]
fn twenty_years_in_which_nothing_expires_that_a_person_in_time_could_have_kept() {
    let (mut sum, mut broken) = (Tally::default(), Vec::new());
    for (seed, begin, years) in lives() {
        let tally = live(seed, begin, years, agenda);
        broken.extend(tally.preventable.iter().chain(&tally.wrong).map(|what| format!("seed {seed}: {what}")));
        sum.site_years += tally.site_years;
        sum.rotate_children += tally.rotate_children;
        sum.ingest_children += tally.ingest_children;
        sum.promotions += tally.promotions;
        for (why, count) in tally.expired {
            *sum.expired.entry(why).or_default() += count;
        }
        sum.expired_of_a_year += tally.expired_of_a_year;
        sum.longest_untold = sum.longest_untold.max(tally.longest_untold);
        sum.longest_unread = sum.longest_unread.max(tally.longest_unread);
        sum.most_children_a_year = sum.most_children_a_year.max(tally.most_children_a_year);
    }
    eprintln!("{sum:#?}");
    assert!(broken.is_empty(), "{broken:#?}");
    // A rest, and a child that hangs for half an hour before it tells.
    assert!(sum.longest_untold <= LONGEST + Duration::HOUR, "{sum:#?}");
    // A site where each day's credential is renewed at once, beside its look a day and its reading.
    assert!(sum.most_children_a_year <= MOST_CHILDREN_A_YEAR, "{sum:#?}");
}

/// Rests as long as the row says, whatever ends before and whichever clock wrote it.
fn obstinate(config: &Config, holdings: &Holdings, now: OffsetDateTime) -> Agenda {
    let mut agenda = agenda(config, holdings, now);
    let until =
        |job: &Job| holdings.task(&job.site, Task::Rotate).and_then(|row| row.after).filter(|after| *after > now);
    let held: Vec<_> = agenda.due.extract_if(.., |job| job.task == Task::Rotate && until(job).is_some()).collect();
    agenda.next = held.iter().filter_map(until).chain(agenda.next).min();
    agenda
}

/// Looks at a site once in a hundred days.
fn sluggish(config: &Config, holdings: &Holdings, now: OffsetDateTime) -> Agenda {
    let mut agenda = agenda(config, holdings, now);
    let until = |job: &Job| {
        let last = holdings.task(&job.site, Task::Rotate).map(|row| row.at + Duration::days(100));
        last.filter(|until| *until > now)
    };
    let held: Vec<_> = agenda.due.extract_if(.., |job| job.task == Task::Rotate && until(job).is_some()).collect();
    agenda.next = held.iter().filter_map(until).chain(agenda.next).min();
    agenda
}

#[test]
fn a_schedule_that_rests_too_long_is_found_out() {
    let broken: [(&str, Schedule); 2] = [("obstinate", obstinate), ("sluggish", sluggish)];
    for (name, schedule) in broken {
        let preventable = (0..2).map(|seed| live(seed, BEGIN, 2, schedule).preventable.len()).sum::<usize>();
        assert!(preventable > 0, "{name}: nothing was found");
        eprintln!("{name}: {preventable} preventable expiries");
    }
}
