//! The loop: looks at the clock, starts what is due, and takes note of how it ended.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use time::OffsetDateTime;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    Event, Job, Notice, Outcome, Request, Settings, Watched,
    board::{Beat, Board, View, told},
    child, outcome,
    pace::{self, Pace},
    record::{self, News},
    schedule::{self, Agenda},
};
use crate::{
    clock::{self, Clock},
    config::Config,
    credential::plan::back_off,
    inventory::{Task, TaskFailure, WatchLock},
    site::{RobotId, SiteName},
    status::{Line, Standing},
    telling,
};

/// Stays up until it is asked to end, or a credential has expired where that ends it.
///
/// Each child runs by itself; whatever happens to it comes back as an [`Event`]. On return no child is left;
/// a hook that a child has started is in a group of its own, and may go on (docs/HOOKS.md, Limits).
/// Dropped, every child is ended at once.
pub async fn run(
    settings: Settings,
    lock: WatchLock,
    board: &Board,
    clock: &dyn Clock,
    mut requests: mpsc::Receiver<Request>,
    tell: &(dyn Fn(Notice) + Sync),
) -> Watched {
    let mut watch = Watch::new(settings, lock, board, clock, tell);
    let mut waiting = VecDeque::new();
    let mut expired = watch.look(false).await;
    while expired.is_empty() {
        let event = match waiting.pop_front() {
            Some(request) => Event::Asked(request),
            None => watch.next(&mut requests).await,
        };
        if let Event::Asked(Request::Stop) = event {
            break;
        }
        // A busy inventory holds up no request to end.
        tokio::select! {
            biased;
            () = asked_to_stop(&mut requests, &mut waiting) => break,
            found = watch.answer(event) => expired = found,
        }
    }
    watch.stop(&mut requests).await;
    Watched { expired, ..watch.watched }
}

/// Until it is asked to end; what else is asked meanwhile waits.
async fn asked_to_stop(requests: &mut mpsc::Receiver<Request>, waiting: &mut VecDeque<Request>) {
    while let Some(request) = requests.recv().await {
        match request {
            Request::Stop => return,
            // Asked twice is asked once.
            other if waiting.contains(&other) => {}
            other => waiting.push_back(other),
        }
    }
    std::future::pending::<()>().await;
}

/// A task of a site.
type Key = (SiteName, Task);

fn key(job: &Job) -> Key {
    (job.site.clone(), job.task)
}

/// Why nothing can be begun.
#[derive(Clone, Debug)]
struct Hindrance {
    /// As it was said; empty if it is to be said again.
    why: String,
    since: Instant,
    /// People were told of it.
    told: bool,
}

/// For how long a task is not begun, beside what the inventory says.
#[derive(Clone, Copy, Debug)]
struct Hold {
    from: OffsetDateTime,
    until: OffsetDateTime,
    /// How often in a row its failure could not be written down.
    unwritten: u32,
    /// It became due while nobody looked.
    spread: bool,
}

impl Hold {
    /// A clock that was set back before it began ends it.
    fn holds(&self, now: OffsetDateTime) -> bool {
        self.from <= now && now < self.until
    }
}

struct Watch<'a> {
    settings: Arc<Settings>,
    lock: WatchLock,
    board: &'a Board,
    clock: &'a dyn Clock,
    tell: &'a (dyn Fn(Notice) + Sync),
    pace: Pace,
    /// How long to rest after the last look.
    rest: Duration,
    children: JoinSet<(Job, Option<Outcome>)>,
    /// Hooks that tell people of children that could not.
    telling: JoinSet<Vec<String>>,
    running: Vec<(tokio::task::Id, Job)>,
    /// Since when somebody else works on a site, whenever that is looked at.
    busy: BTreeMap<Key, OffsetDateTime>,
    /// Since when a site is worked with.
    begun: BTreeMap<SiteName, OffsetDateTime>,
    end: watch::Sender<bool>,
    holds: BTreeMap<Key, Hold>,
    /// What is to be done though it rests after a failure.
    wanted: BTreeSet<Key>,
    config: Option<Arc<Config>>,
    hindrance: Option<Hindrance>,
    /// What was said of the configuration as it stands in the file.
    config_trouble: Option<String>,
    watched: Watched,
}

impl<'a> Watch<'a> {
    fn new(
        settings: Settings,
        lock: WatchLock,
        board: &'a Board,
        clock: &'a dyn Clock,
        tell: &'a (dyn Fn(Notice) + Sync),
    ) -> Self {
        Self {
            settings: Arc::new(settings),
            lock,
            board,
            clock,
            tell,
            pace: Pace::from(clock.now(), Instant::now()),
            rest: Duration::ZERO,
            children: JoinSet::new(),
            telling: JoinSet::new(),
            running: Vec::new(),
            busy: BTreeMap::new(),
            begun: BTreeMap::new(),
            end: watch::Sender::new(false),
            holds: BTreeMap::new(),
            wanted: BTreeSet::new(),
            config: None,
            hindrance: None,
            config_trouble: None,
            watched: Watched::default(),
        }
    }

    /// Whatever happens next; the one place where it becomes an event.
    async fn next(&mut self, requests: &mut mpsc::Receiver<Request>) -> Event {
        tokio::select! {
            Some(request) = requests.recv() => Event::Asked(request),
            Some(ended) = self.children.join_next_with_id() => self.joined(ended),
            Some(told) = self.telling.join_next() => Event::Told(told.unwrap_or_default()),
            () = sleep(clock::pause(self.rest)) => Event::Tick,
        }
    }

    fn joined(&mut self, ended: Result<(tokio::task::Id, (Job, Option<Outcome>)), tokio::task::JoinError>) -> Event {
        let (id, outcome) = match ended {
            Ok((id, (_, outcome))) => (id, outcome),
            Err(error) => (error.id(), Some(Outcome::failed(outcome::CRASHED, "nobody was left to wait for its end"))),
        };
        match self.running.iter().position(|(running, _)| *running == id) {
            Some(place) => Event::Ended(self.running.swap_remove(place).1, outcome),
            None => Event::Tick,
        }
    }

    /// Does what an event asks for, and looks at the clock; the robots because of which it ends.
    async fn answer(&mut self, event: Event) -> Vec<RobotId> {
        let asked = matches!(event, Event::Asked(Request::Look));
        match event {
            Event::Ended(job, Some(outcome)) => self.ended(job, outcome).await,
            Event::Asked(Request::Reload) => {
                // Told again, also where it was told before.
                self.config = None;
                self.config_trouble = None;
                if let Some(hindrance) = &mut self.hindrance {
                    hindrance.why.clear();
                }
                if let Err(problems) = self.board.reload().await {
                    tracing::debug!(%problems, "the configuration was not taken");
                }
            }
            Event::Asked(Request::Look) => {
                self.holds.retain(|_, hold| hold.unwritten > 0);
                for hold in self.holds.values_mut() {
                    hold.until = hold.from;
                }
                let (view, now) = (self.board.view().await, self.clock.now());
                self.wanted.extend(schedule::impatient(&view.config, &view.holdings, now).due.iter().map(key));
            }
            Event::Told(in_vain) => in_vain.into_iter().for_each(|why| (self.tell)(Notice::Untold(why))),
            Event::Tick | Event::Ended(_, None) | Event::Asked(Request::Stop) => {}
        }
        self.look(asked).await
    }

    /// Starts what is due; `at_once` also where everybody may have woken up just now.
    async fn look(&mut self, at_once: bool) -> Vec<RobotId> {
        let now = self.clock.now();
        let leapt = self.pace.leap(now, Instant::now());
        if let Some(by) = leapt {
            (self.tell)(Notice::Leapt(by));
        }
        let view = self.view(now).await;
        let planned = self.hindrance.is_none();
        let Agenda { due, next } = if planned { self.agenda(&view, now) } else { Agenda::default() };
        if leapt.is_some_and(time::Duration::is_positive) && !at_once {
            // Not all at once: every other machine may have woken up too. What was spread before has its time.
            for job in &due {
                if self.holds.get(&key(job)).is_none_or(|hold| !hold.spread) {
                    self.hold(key(job), now, pace::jitter(&view.store_id, &job.site)).spread = true;
                }
            }
        }
        self.holds.retain(|_, hold| hold.unwritten > 0 || hold.holds(now));
        let is_held = |job: &Job| self.holds.get(&key(job)).is_some_and(|hold| hold.holds(now));
        let at_work = self.running.iter().map(|(_, job)| job);
        let rotating = due.iter().filter(|job| !is_held(job)).chain(at_work).filter(|job| job.task == Task::Rotate);
        let rotating: BTreeSet<SiteName> = rotating.map(|job| job.site.clone()).collect();
        let mut next: Vec<OffsetDateTime> = next.into_iter().filter(|next| *next > now).collect();
        for job in due {
            let key = key(&job);
            match self.holds.get(&key) {
                Some(hold) if hold.holds(now) => next.push(hold.until),
                _ if self.running.iter().any(|(_, running)| running.site == job.site) => {}
                // Its turn comes when another one has ended.
                _ if self.running.len() >= self.settings.at_once.get() => {}
                _ => {
                    self.wanted.remove(&key);
                    self.start(job);
                }
            }
        }
        let next = next.into_iter().min();
        let running: Vec<Job> = self.running.iter().map(|(_, job)| job.clone()).collect();
        let robots = robots(&view.config);
        (self.tell)(Notice::Looked { robots, running: running.len(), next, planned });
        let hindrance = self.hindrance.as_ref().map(|hindrance| hindrance.why.clone());
        self.board.beat(Beat { running, hindrance, unrecorded: self.unrecorded(&view.config) });
        self.rest = pace::rest(now, next, self.settings.limits.look);
        if !self.settings.exit_on_expiry {
            return Vec::new();
        }
        // One that is being replaced right now is judged after that.
        let mut expired = expired(&view, now);
        expired.retain(|id| !rotating.contains(&id.site));
        expired
    }

    /// What stands now; tells what has changed about it.
    async fn view(&mut self, now: OffsetDateTime) -> View {
        let lost = self.hold_the_lock(now).await.err();
        let view = self.board.view().await;
        self.hindered(lost.or_else(|| view.trouble.clone()), &view.config, now);
        // No hindrance: a child that refuses the file fails, and that is told like every failure.
        let trouble = view.config_trouble.clone();
        if let Some(why) = trouble.as_ref().filter(|why| self.config_trouble.as_ref() != Some(*why)) {
            (self.tell)(Notice::Misconfigured(why.clone()));
        }
        self.config_trouble = trouble;
        let known = self.config.replace(view.config.clone());
        if known.is_none_or(|known| !Arc::ptr_eq(&known, &view.config)) && view.config_trouble.is_none() {
            (self.tell)(Notice::Configured { robots: robots(&view.config) });
            // What failed by the configuration is not made to rest by it.
            let tasks = view.config.sites.iter().flat_map(|site| Task::ALL.map(|task| (site.name.clone(), task)));
            self.wanted.extend(tasks.filter(|(site, task)| {
                let failure = view.holdings.task(site, *task).and_then(|row| row.failure.as_ref());
                failure.is_some_and(|why| why.code == outcome::CONFIG)
            }));
        }
        view
    }

    /// Says what has changed about what stands in the way; where that lasts, the failure hook of every robot is run.
    fn hindered(&mut self, why: Option<String>, config: &Arc<Config>, now: OffsetDateTime) {
        let Some(why) = why else {
            if self.hindrance.take().is_some() {
                (self.tell)(Notice::Unhindered);
            }
            return;
        };
        let fresh = || Hindrance { why: String::new(), since: Instant::now(), told: false };
        let hindrance = self.hindrance.get_or_insert_with(fresh);
        if hindrance.why != why {
            (self.tell)(Notice::Hindered(why.clone()));
            hindrance.why = why;
        }
        if hindrance.told || hindrance.since.elapsed() < clock::pause(self.settings.limits.hindered) {
            return;
        }
        hindrance.told = true;
        for site in &config.sites {
            let job = Job { site: site.name.clone(), task: Task::Rotate, robots: Vec::new() };
            self.spread(News::of(config, &job, Some(outcome::HINDERED), Vec::new()), now);
        }
    }

    /// The sites of which the last end could not be written down.
    fn unrecorded(&self, config: &Config) -> BTreeSet<SiteName> {
        let unwritten = self.holds.iter().filter(|(_, hold)| hold.unwritten > 0);
        let sites = unwritten.map(|((site, _), _)| site).filter(|site| config.site(site).is_some());
        sites.cloned().collect()
    }

    /// A state directory that was taken away and came back has another lock.
    async fn hold_the_lock(&mut self, now: OffsetDateTime) -> Result<(), String> {
        let state_dir = &self.settings.state_dir;
        if self.lock.stands() {
            return Ok(());
        }
        if !state_dir.is_dir() {
            return Err(format!("the state directory {} is gone", state_dir.display()));
        }
        self.lock = WatchLock::take(state_dir, now).await.map_err(|error| told(&error))?;
        Ok(())
    }

    /// What is due, first what is wanted though it rests.
    fn agenda(&mut self, view: &View, now: OffsetDateTime) -> Agenda {
        let mut agenda = schedule::agenda(&view.config, &view.holdings, now);
        if !self.wanted.is_empty() {
            let mut wanted = schedule::impatient(&view.config, &view.holdings, now).due;
            wanted.retain(|job| self.wanted.contains(&key(job)));
            // What was done meanwhile is wanted no more.
            self.wanted = wanted.iter().map(key).collect();
            agenda.due.retain(|job| !self.wanted.contains(&key(job)));
            agenda.due.splice(0..0, wanted);
        }
        agenda
    }

    fn start(&mut self, job: Job) {
        (self.tell)(Notice::Began(job.clone()));
        let (settings, end, doing) = (self.settings.clone(), self.end.subscribe(), job.clone());
        let task = self.children.spawn(async move {
            let outcome = child::run(&settings, &doing, end).await;
            (doing, outcome)
        });
        self.begun.insert(job.site.clone(), self.clock.now());
        self.running.push((task.id(), job));
    }

    fn hold(&mut self, key: Key, now: OffsetDateTime, rest: time::Duration) -> &mut Hold {
        let until = now + rest;
        let hold = self.holds.entry(key).or_insert(Hold { from: now, until, unwritten: 0, spread: false });
        (hold.from, hold.until) = (hold.from.min(now), hold.until.max(until));
        hold
    }

    /// Takes note of how a child has ended.
    async fn ended(&mut self, job: Job, Outcome { done, mut failure, whole }: Outcome) {
        let now = self.clock.now();
        let begun = self.begun.remove(&job.site).unwrap_or(now).min(now);
        self.hold(key(&job), now, self.settings.limits.again);
        let changed = !done.is_empty();
        if changed {
            (self.tell)(Notice::Done(job.clone(), done));
        }
        if let Some(busy) = failure.as_ref().filter(|failure| failure.code == outcome::LOCKED) {
            let met = self.busy.get(&key(&job)).copied();
            let since = *self.busy.entry(key(&job)).or_insert(now);
            if now < since.saturating_add(self.settings.limits.busy) {
                if met.is_none() {
                    (self.tell)(Notice::Busy(job, busy.clone()));
                }
                return;
            }
        } else {
            self.busy.remove(&key(&job));
        }
        // `rotate` does what it finds to be done, or says why not; what was read is not read again at once.
        if failure.is_none() && !(changed && job.task == Task::Rotate) && self.is_still_due(&job, begun, now).await {
            failure = Some(no_progress());
        }
        let tries = self.record(&job, failure.as_ref(), now).await;
        let Some(failure) = failure else {
            self.watched.done += 1;
            return;
        };
        self.watched.failed += 1;
        let untold = outcome::SILENT.contains(&failure.code.as_str());
        if untold || whole {
            self.tell_people(&job, untold.then_some(failure.code.as_str()), now).await;
        }
        (self.tell)(Notice::Failed { job, failure, after: now + back_off(tries), untold });
    }

    /// Whether what has just ended well is due all the same.
    async fn is_still_due(&self, job: &Job, begun: OffsetDateTime, now: OffsetDateTime) -> bool {
        let view = self.board.view().await;
        view.trouble.is_none() && schedule::is_still_due(&view.config, &view.holdings, job, begun, now)
    }

    /// Writes down how a task has ended; where that cannot be, keeps it in memory. How often in a row it has failed.
    async fn record(&mut self, job: &Job, failure: Option<&TaskFailure>, now: OffsetDateTime) -> u32 {
        match record::ended(&self.settings, job, failure, now).await {
            Ok(tries) => {
                if let Some(hold) = self.holds.get_mut(&key(job)) {
                    hold.unwritten = 0;
                }
                tries
            }
            Err(why) => {
                (self.tell)(Notice::Unrecorded(job.clone(), why));
                let unwritten = self.holds.get(&key(job)).map_or(1, |hold| hold.unwritten.saturating_add(1));
                self.hold(key(job), now, back_off(unwritten)).unwritten = unwritten;
                unwritten
            }
        }
    }

    /// Tells what a child could not: that it failed, and what lies ahead of robots that it did not look at.
    async fn tell_people(&mut self, job: &Job, code: Option<&str>, now: OffsetDateTime) {
        let view = self.board.view().await;
        let ahead = |line: &Line| line.id.site == job.site && telling::notice(line, now).is_some();
        let ahead = view.report(now).lines.into_iter().filter(ahead).collect();
        self.spread(News::of(&view.config, job, code, ahead), now);
    }

    /// Runs hooks. Nobody waits for them.
    fn spread(&mut self, news: News, now: OffsetDateTime) {
        let settings = self.settings.clone();
        self.telling.spawn(async move { news.spread(&settings, now).await });
    }

    /// Nothing is begun any more; what runs is waited for, then ended.
    async fn stop(&mut self, requests: &mut mpsc::Receiver<Request>) {
        (self.tell)(Notice::Stopping(self.running.len()));
        let limit = self.settings.limits.stop;
        let mut waiting = VecDeque::new();
        let by_themselves = async {
            tokio::select! {
                () = self.wind_down() => {}
                () = asked_to_stop(requests, &mut waiting) => {}
            }
        };
        let late = timeout(limit.saturating_sub(2 * child::GRACE), by_themselves).await.is_err();
        if late || !self.running.is_empty() {
            self.end.send_replace(true);
            let _ = timeout(2 * child::GRACE, self.wind_down()).await;
        }
        // What is left now is ended without a word.
        self.children.shutdown().await;
        self.telling.shutdown().await;
    }

    async fn wind_down(&mut self) {
        while let Some(ended) = self.children.join_next_with_id().await {
            if let Event::Ended(job, Some(outcome)) = self.joined(ended) {
                self.ended(job, outcome).await;
            }
        }
        while let Some(told) = self.telling.join_next().await {
            told.unwrap_or_default().into_iter().for_each(|why| (self.tell)(Notice::Untold(why)));
        }
    }
}

fn no_progress() -> TaskFailure {
    let message = "it said that all is well, and the same is still due".to_owned();
    TaskFailure { code: outcome::NO_PROGRESS.to_owned(), message }
}

fn robots(config: &Config) -> usize {
    config.sites.iter().map(|site| site.robots.len()).sum()
}

fn expired(view: &View, now: OffsetDateTime) -> Vec<RobotId> {
    let lines = view.report(now).lines.into_iter();
    lines.filter(|line| line.configured && line.standing == Standing::Expired).map(|line| line.id).collect()
}
