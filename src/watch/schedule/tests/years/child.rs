//! What a child does in the model: the plan's own steps, on rows alone.

use time::{Duration, OffsetDateTime};

use super::world::World;
use crate::{
    credential::{
        Attempt, Control, CredentialId, Delivery, Generation, Record, RegisteredName, SecretRef, State,
        plan::{self, ATTEMPT_REST, Aim, Need, ProbeAnswer, Probes, Step, Urgency},
    },
    inventory::{Attention, AttentionCode, RunRow},
    lifecycle::{self, Wish},
    site::{Robot, RobotId, RobotName},
};

/// How a child ended.
#[derive(Default)]
pub struct Ended {
    /// The worst code, if it failed.
    pub code: Option<&'static str>,
    /// It failed by chance, and the next may fare better.
    pub unlucky: bool,
    /// Whom it gave a new credential, and whether the floor held.
    pub promoted: Vec<(RobotId, bool)>,
    /// Who was read.
    pub read: Vec<RobotId>,
}

/// One run of one robot.
struct Run<'w> {
    world: &'w mut World,
    at: usize,
    id: RobotId,
    robot: Robot,
    now: OffsetDateTime,
    steps: &'w mut i64,
    spent: Vec<Step>,
    probes: Probes,
    theirs: Option<OffsetDateTime>,
    renewed: bool,
    refused: bool,
    proof_refused: bool,
    trouble: Option<&'static str>,
}

/// The code of one that said nothing.
pub const KILLED: &str = "crashed";

/// The codes, the worst first.
const ORDER: [&str; 9] = [KILLED, "proof", "refused", "person", "store", "locked", "unreachable", "hook", "failed"];

fn worst(one: Option<&'static str>, other: Option<&'static str>) -> Option<&'static str> {
    let rank = |code: &str| ORDER.iter().position(|known| *known == code).unwrap();
    one.into_iter().chain(other).min_by_key(|code| rank(code))
}

/// `rotate --due SITE`, ended after so many steps if it is killed.
pub fn rotate(world: &mut World, at: usize, killed_after: Option<i64>) -> Ended {
    let mut ended = Ended::default();
    if world.dice.percent(2) {
        return Ended { code: Some("locked"), unlucky: true, ..ended };
    }
    if !world.store {
        return Ended { code: Some("store"), ..ended };
    }
    let mut steps = killed_after.unwrap_or(i64::MAX);
    for robot in world.config.sites[at].robots.clone() {
        let id = RobotId { site: world.config.sites[at].name.clone(), robot: robot.name.clone() };
        if world.holdings.records_of(&id).is_empty() {
            continue;
        }
        let now = world.now();
        let mut run = Run {
            world,
            at,
            id,
            robot,
            now,
            steps: &mut steps,
            spent: Vec::new(),
            probes: Probes::default(),
            theirs: None,
            renewed: false,
            refused: false,
            proof_refused: false,
            trouble: None,
        };
        let code = run.drive(&mut ended).err().or(run.trouble);
        ended.code = worst(ended.code, code);
        if ended.code == Some(KILLED) {
            return Ended { unlucky: true, ..ended };
        }
    }
    ended
}

/// `ingest SITE/ROBOT…`.
pub fn ingest(world: &mut World, at: usize, robots: &[RobotName], killed: bool) -> Ended {
    let mut ended = Ended::default();
    if killed {
        return Ended { code: Some(KILLED), unlucky: true, ..ended };
    }
    for name in robots {
        let id = RobotId { site: world.config.sites[at].name.clone(), robot: name.clone() };
        let robot = world.config.sites[at].robot(name).unwrap().clone();
        let code = if world.store { read(world, at, &id, &robot).err() } else { Some("store") };
        ended.read.extend(code.is_none().then_some(id));
        ended.code = worst(ended.code, code);
    }
    ended
}

fn read(world: &mut World, at: usize, id: &RobotId, robot: &Robot) -> Result<(), &'static str> {
    let active = world.holdings.records_of(id).iter().find(|record| record.state == State::Active).cloned();
    let Some(active) = active.filter(|active| world.places[at].up && world.works(at, active)) else {
        return Err("unreachable");
    };
    let now = world.now();
    for stream in robot.ingest.iter().flat_map(|target| &target.streams) {
        let row = RunRow {
            robot: id.clone(),
            generation: Some(active.id.generation),
            stream: *stream,
            records: 1,
            complete: true,
            path: "/data".into(),
            at: now,
            completed_at: Some(now),
            target_at: Some(now),
        };
        let runs = &mut world.holdings.runs;
        match runs.iter_mut().find(|run| run.robot == *id && run.stream == *stream) {
            Some(run) => *run = row,
            None => runs.push(row),
        }
        runs.sort_by(|one, other| one.robot.cmp(&other.robot));
    }
    Ok(())
}

impl Run<'_> {
    fn drive(&mut self, ended: &mut Ended) -> Result<(), &'static str> {
        for _ in 0..60 {
            let step = self.next();
            if step.is_action() {
                *self.steps -= 1;
                if *self.steps < 0 {
                    return Err(KILLED);
                }
            }
            match step {
                Step::Plan(generation) => self.plan(generation)?,
                Step::Make(generation) => self.make(generation),
                Step::Register(generation) => self.register(generation, ended)?,
                Step::Probe(generation, at) => self.probe(generation, at),
                Step::Prove(generation) => self.prove(generation, ended)?,
                Step::Deliver(generation) => self.deliver(generation),
                Step::Retire(generation) if !self.world.places[self.at].up => {
                    self.spent.push(Step::Retire(generation));
                    self.trouble = Some("unreachable");
                }
                Step::Retire(generation) | Step::GiveUp(generation) => self.remove(generation),
                Step::Wait(_) => return Err("unreachable"),
                Step::NeedsPerson(Need::Token) => {
                    self.ask();
                    return Err("person");
                }
                Step::NeedsPerson(_) => return Err("person"),
                Step::Done => return self.first_ingest(ended),
            }
        }
        panic!("{} goes round in circles", self.id);
    }

    fn next(&self) -> Step {
        let world = &*self.world;
        let records = world.holdings.records_of(&self.id);
        let aim = Aim::Rotate(Urgency::Scheduled);
        let wish = Wish { id: &self.id, aim, robot: Some(&self.robot), export: None };
        let observed = wish.stands(records, world.holdings.robot(&self.id), self.has_read(), self.now);
        let site = &world.config.sites[self.at];
        let there = world.holdings.records_at(&site.name);
        let registrar = lifecycle::could_register(site, world.holdings.site(&site.name), there, self.now);
        plan::next(&plan::Observed {
            registrar: registrar && !self.refused,
            renewed: self.renewed,
            spent: self.spent.clone(),
            probes: self.probes,
            proof_refused: self.proof_refused,
            theirs: self.theirs,
            patience_ends: world.now() + Duration::seconds(30),
            ..observed
        })
    }

    fn has_read(&self) -> bool {
        let records = self.world.holdings.records_of(&self.id);
        let active = records.iter().find(|record| record.state == State::Active);
        active.is_some_and(|active| {
            self.world.holdings.runs_of(&self.id).iter().any(|run| run.generation == Some(active.id.generation))
        })
    }

    fn record(&mut self, generation: Generation) -> &mut Record {
        let id = CredentialId { robot: self.id.clone(), generation };
        self.world.holdings.records.iter_mut().find(|record| record.id == id).unwrap()
    }

    fn plan(&mut self, generation: Generation) -> Result<(), &'static str> {
        // The clocks are compared where the appliance tells its own.
        if self.world.places[self.at].up && self.world.ahead.abs() > Duration::DAY {
            return Err("person");
        }
        let id = CredentialId { robot: self.id.clone(), generation };
        let record = Record {
            state: State::Planned,
            registered_name: RegisteredName::of(&self.robot.name, generation),
            role: self.robot.role,
            secret: SecretRef::key("store", &id),
            key_algorithm: self.robot.key_algorithm,
            profile: self.robot.profile,
            certificate: None,
            attempt: None,
            remote_id: None,
            keyed_at: None,
            promoted_at: None,
            delivery: Delivery::Open,
            deliver_tries: 0,
            deliver_after: None,
            retire_after: None,
            id,
        };
        let records = &mut self.world.holdings.records;
        let place = records.partition_point(|other| other.id < record.id);
        records.insert(place, record);
        let row = self.world.holdings.robots.iter_mut().find(|row| row.id == self.id).unwrap();
        row.last_generation = generation.number();
        self.renewed = true;
        Ok(())
    }

    fn make(&mut self, generation: Generation) {
        let name = self.record(generation).registered_name.clone();
        let certificate = self.world.certificate(name.as_str(), self.robot.days);
        let now = self.now;
        let record = self.record(generation);
        (record.state, record.certificate, record.keyed_at) = (State::Keyed, Some(certificate), Some(now));
    }

    fn register(&mut self, generation: Generation, ended: &mut Ended) -> Result<(), &'static str> {
        if !self.world.places[self.at].up {
            return Err("unreachable");
        }
        let (time, now) = (self.world.time, self.now);
        let first = self.record(generation).attempt.is_none();
        if first && !self.record(generation).certificate.as_ref().unwrap().validity().contains(time) {
            return Err("failed");
        }
        let record = self.record(generation);
        let tries = record.attempt.as_ref().map_or(0, |attempt| attempt.tries) + 1;
        record.attempt = Some(Attempt { tries, since: now, control: Control::Refused });
        record.state = State::Sending;
        self.probes = Probes::default();
        *self.steps -= 1;
        if *self.steps < 0 {
            return Err(KILLED);
        }
        let admin = self.world.has_admin(self.at);
        if !admin && self.world.places[self.at].uses == 0 {
            // Refused: a token that was used before.
            self.world.holdings.sites[self.at].token_since = None;
            self.refused = true;
            ended.unlucky = true;
            let record = self.record(generation);
            if tries == 1 {
                (record.state, record.attempt) = (State::Keyed, None);
            }
            self.ask();
            return Err("refused");
        }
        let fate = self.world.dice.below(100);
        ended.unlucky |= fate >= 90;
        if fate < 95 {
            self.world.places[self.at].accepts.insert((self.id.clone(), generation.number()));
            if !admin {
                self.world.places[self.at].uses -= 1;
            }
        }
        *self.steps -= 1;
        if *self.steps < 0 { Err(KILLED) } else { Ok(()) }
    }

    fn probe(&mut self, generation: Generation, at: OffsetDateTime) {
        self.now = self.now.max(at);
        if !self.world.places[self.at].up {
            self.probes.last = Some(ProbeAnswer::Unreachable);
            return;
        }
        self.theirs = Some(self.now - self.world.ahead);
        if self.world.places[self.at].accepts.contains(&(self.id.clone(), generation.number())) {
            self.record(generation).state = State::Registered;
        } else {
            self.probes.last = Some(ProbeAnswer::Refused);
        }
    }

    fn prove(&mut self, generation: Generation, ended: &mut Ended) -> Result<(), &'static str> {
        if !self.world.places[self.at].up {
            return Err("unreachable");
        }
        let record = self.record(generation).clone();
        let now = self.now;
        if !self.world.works(self.at, &record) || !record.certificate.as_ref().unwrap().validity().contains(now) {
            let over = record.attempt.as_ref().unwrap().since + ATTEMPT_REST;
            if now > over && self.world.time > over {
                (self.proof_refused, self.theirs) = (true, Some(self.world.time));
                return Ok(());
            }
            return Err("proof");
        }
        let mut quiet = true;
        let before = self.world.holdings.records_of(&self.id).iter().find(|record| record.state == State::Active);
        if let (Some(before), Some(promoted)) =
            (before, self.world.holdings.robot(&self.id).and_then(|row| row.last_promotion))
        {
            let held = before.certificate.as_ref().unwrap();
            let window = self.robot.renewal.window(held.validity(), held.fingerprint());
            // What was planned by a clock that was ahead is brought to its end by one that is right.
            let jumped = self.world.time - self.world.jumped < Duration::days(8);
            quiet = window.is_expired(now) || window.may_reissue(Some(promoted), now) || jumped;
        }
        ended.promoted.push((self.id.clone(), quiet));
        for record in &mut self.world.holdings.records {
            if record.id.robot == self.id && record.state == State::Active {
                record.state = State::Previous;
            }
        }
        let record = self.record(generation);
        (record.state, record.promoted_at, record.delivery) = (State::Active, Some(now), Delivery::Open);
        let row = self.world.holdings.robots.iter_mut().find(|row| row.id == self.id).unwrap();
        row.last_promotion = Some(now);
        self.world.holdings.attention.retain(|raised| raised.robot != self.id);
        self.renewed = true;
        self.spent.clear();
        self.trouble = None;
        Ok(())
    }

    fn deliver(&mut self, generation: Generation) {
        let now = self.now;
        let fails = self.robot.hooks.deploy.is_some() && self.world.dice.percent(20);
        let record = self.record(generation);
        if fails {
            record.deliver_tries += 1;
            record.deliver_after = Some(now + plan::back_off(record.deliver_tries));
            self.spent.push(Step::Deliver(generation));
            self.trouble = Some("hook");
            return;
        }
        (record.delivery, record.deliver_tries, record.deliver_after) = (Delivery::Delivered, 0, None);
        let overlap = self.robot.overlap;
        for record in &mut self.world.holdings.records {
            if record.id.robot == self.id && record.state == State::Previous && record.retire_after.is_none() {
                let end = record.certificate.as_ref().unwrap().validity().not_after;
                record.retire_after = Some(end.min(now + overlap));
            }
        }
    }

    /// At its end: the list of the model holds nothing that nobody asks about.
    fn remove(&mut self, generation: Generation) {
        let id = CredentialId { robot: self.id.clone(), generation };
        self.world.holdings.records.retain(|record| record.id != id);
        self.world.places[self.at].accepts.remove(&(self.id.clone(), generation.number()));
        self.probes = Probes::default();
        if self.proof_refused {
            (self.proof_refused, self.renewed) = (false, false);
        }
    }

    fn ask(&mut self) {
        let raised = Attention {
            robot: self.id.clone(),
            code: AttentionCode::TokenNeeded,
            message: "a token is needed".to_owned(),
            hint: None,
            since: self.now,
        };
        let there = &mut self.world.holdings.attention;
        if there.iter().all(|other| other.robot != self.id) {
            there.push(raised);
        }
    }

    fn first_ingest(&mut self, ended: &mut Ended) -> Result<(), &'static str> {
        let active = self.world.holdings.records_of(&self.id).iter().any(|record| record.state == State::Active);
        if self.robot.ingest.is_some() && active && !self.has_read() {
            read(self.world, self.at, &self.id, &self.robot.clone())?;
            ended.read.push(self.id.clone());
        }
        Ok(())
    }
}
