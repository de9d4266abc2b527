//! The world of a simulated life: a machine with its clock, appliances, and people who bring tokens.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use time::{Duration, OffsetDateTime, macros::datetime};

use super::super::{SiteRow, robot_row};
use crate::{
    config::Config,
    credential::{Record, State},
    inventory::{AttentionCode, Observation, Task},
    site::{RobotId, RobotName},
    status::{self, Holdings},
    x509::{Certificate, KeyAlgorithm, PrivateKey, Profile, Validity},
};

/// When the first of the twenty years begins: five leap days and the end of 32 bits lie ahead.
pub const BEGIN: OffsetDateTime = datetime!(2026-11-22 10:00 UTC);

/// What a number replays (`SplitMix64`).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, end: i64) -> i64 {
        i64::try_from(self.roll() % u64::try_from(end).unwrap()).unwrap()
    }

    pub fn percent(&mut self, chance: i64) -> bool {
        self.below(100) < chance
    }

    pub fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(i64::try_from(of.len()).unwrap())).unwrap()]
    }

    pub fn between(&mut self, from: Duration, to: Duration) -> Duration {
        from + Duration::seconds(self.below((to - from).whole_seconds().max(1)))
    }

    /// Mostly short, seldom long.
    pub fn mostly_short(&mut self, to: Duration) -> Duration {
        let share = self.below(1000) * self.below(1000) * self.below(1000);
        Duration::seconds(60 + to.whole_seconds() / 1000 * share / 1_000_000)
    }
}

/// What happens by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    Down(usize),
    Up(usize),
    StoreShut,
    StoreOpen,
    Asleep,
    Awake,
    ClockWrong,
    ClockRight,
    Token(usize),
}

/// One child under way.
pub struct Child {
    pub task: Task,
    pub robots: Vec<RobotName>,
    pub begins: OffsetDateTime,
    pub ends: OffsetDateTime,
    /// After how many steps it is killed.
    pub killed_after: Option<i64>,
}

/// One appliance, and who looks after it.
pub struct Place {
    pub up: bool,
    /// For how many registrations the stored token is good.
    pub uses: u32,
    /// Somebody is on the way for a token.
    pub errand: bool,
    /// The generations that the appliance accepts.
    pub accepts: BTreeSet<(RobotId, u32)>,
    pub child: Option<Child>,
    /// When somebody could last not be told.
    pub deaf_until: OffsetDateTime,
    /// When each task last ended, and for which robot.
    pub ended: BTreeMap<(Task, Option<RobotName>), OffsetDateTime>,
    /// When something happened that is a reason not to rest.
    pub stirred: OffsetDateTime,
}

pub struct World {
    pub config: Config,
    pub holdings: Holdings,
    pub dice: Dice,
    /// The true time, which appliances know.
    pub time: OffsetDateTime,
    /// How far ahead our clock is.
    pub ahead: Duration,
    pub awake: bool,
    pub store: bool,
    pub places: Vec<Place>,
    pub events: BTreeSet<(OffsetDateTime, Event)>,
    /// When the clock last jumped.
    pub jumped: OffsetDateTime,
    slept: OffsetDateTime,
    blank: Certificate,
}

impl World {
    pub fn new(seed: u64, begin: OffsetDateTime) -> Self {
        let mut dice = Dice(seed);
        let config = config(&mut dice);
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let validity = Validity::of_days(begin, 1).unwrap();
        let blank = Certificate::self_signed(&key, "blank", validity, Profile::Client).unwrap();
        let place = |_: &_| Place {
            up: true,
            uses: 0,
            errand: false,
            accepts: BTreeSet::new(),
            child: None,
            deaf_until: begin,
            ended: BTreeMap::new(),
            stirred: begin,
        };
        let places = config.sites.iter().map(place).collect();
        let mut world = Self {
            holdings: Holdings::default(),
            time: begin,
            ahead: Duration::ZERO,
            awake: true,
            store: true,
            places,
            events: BTreeSet::new(),
            jumped: begin,
            slept: begin,
            blank,
            config,
            dice,
        };
        world.people();
        world
    }

    /// Every robot has its first credential, and trouble is on its way.
    fn people(&mut self) {
        for (at, site) in self.config.sites.clone().iter().enumerate() {
            self.holdings.sites.push(SiteRow {
                name: site.name.clone(),
                seen: Observation::default(),
                server_pin_at: None,
                control_at: None,
                token_since: None,
                api_key: None,
            });
            for robot in &site.robots {
                let id = RobotId { site: site.name.clone(), robot: robot.name.clone() };
                let mut row = robot_row(&id, self.time);
                row.role = robot.role;
                let mut record = super::super::record(&id, 1, State::Active, 365);
                record.role = robot.role;
                record.certificate = Some(self.certificate(record.registered_name.as_str(), robot.days));
                self.places[at].accepts.insert((id, 1));
                self.holdings.robots.push(row);
                self.holdings.records.push(record);
            }
            let down = self.time + self.dice.between(Duration::DAY, Duration::days(120));
            self.events.insert((down, Event::Down(at)));
        }
        self.holdings.robots.sort_by(|one, other| one.id.cmp(&other.id));
        self.holdings.records.sort_by(|one, other| one.id.cmp(&other.id));
        for event in [Event::StoreShut, Event::Asleep, Event::ClockWrong] {
            let at = self.time + self.dice.between(Duration::DAY, Duration::days(120));
            self.events.insert((at, event));
        }
    }

    /// What our clock says.
    pub fn now(&self) -> OffsetDateTime {
        self.time + self.ahead
    }

    pub fn certificate(&mut self, name: &str, days: u16) -> Certificate {
        let validity = Validity::of_days(self.now(), days).unwrap();
        self.blank.posing(name, validity, self.dice.roll())
    }

    /// Lets the next event happen, and says which appliances it concerns.
    pub fn happen(&mut self, event: Event) {
        let hour = Duration::HOUR;
        let mut later = None;
        match event {
            Event::Down(at) => {
                self.places[at].up = false;
                later = Some((self.dice.mostly_short(Duration::days(20)), Event::Up(at)));
            }
            Event::Up(at) => {
                self.places[at].up = true;
                later = Some((self.dice.between(hour, Duration::days(90)), Event::Down(at)));
            }
            Event::StoreShut => {
                self.store = false;
                later = Some((self.dice.mostly_short(Duration::days(5)), Event::StoreOpen));
            }
            Event::StoreOpen => {
                self.store = true;
                later = Some((self.dice.between(hour, Duration::days(120)), Event::StoreShut));
            }
            Event::Asleep => {
                (self.awake, self.slept) = (false, self.time);
                later = Some((self.dice.mostly_short(Duration::days(40)), Event::Awake));
            }
            Event::Awake => {
                self.awake = true;
                let slept = self.time - self.slept;
                for child in self.places.iter_mut().filter_map(|place| place.child.as_mut()) {
                    child.ends += slept;
                }
                later = Some((self.dice.between(hour, Duration::days(120)), Event::Asleep));
            }
            Event::ClockWrong => {
                let decade = datetime!(2036-01-01 0:00 UTC) - datetime!(2026-01-01 0:00 UTC);
                let epoch = OffsetDateTime::UNIX_EPOCH - self.time;
                let day = Duration::DAY;
                self.ahead = self.dice.one_of(&[hour, -hour, day, -day, day * 3, -day * 40, decade, epoch]);
                later = Some((self.dice.mostly_short(Duration::days(7)), Event::ClockRight));
            }
            Event::ClockRight => {
                self.ahead = Duration::ZERO;
                later = Some((self.dice.between(hour, Duration::days(180)), Event::ClockWrong));
            }
            // Nobody logs in to a machine that sleeps.
            Event::Token(at) if !self.awake => later = Some((hour * 6, Event::Token(at))),
            Event::Token(at) => {
                let now = self.now();
                let place = &mut self.places[at];
                (place.uses, place.errand, place.stirred) = (1, false, self.time);
                self.holdings.sites[at].token_since = Some(now);
            }
        }
        if let Some((after, event)) = later {
            self.events.insert((self.time + after, event));
        }
        let time = self.time;
        let untold = !self.awake || !self.store || self.ahead != Duration::ZERO;
        for place in &mut self.places {
            if untold || matches!(event, Event::Awake | Event::StoreOpen | Event::ClockRight) {
                place.deaf_until = time;
            }
            if matches!(event, Event::ClockRight | Event::ClockWrong) {
                (place.stirred, self.jumped) = (time, time);
            }
        }
    }

    /// Whether somebody could be told now.
    pub fn is_deaf(&self) -> bool {
        !self.awake || !self.store || self.ahead != Duration::ZERO
    }

    /// Whether a rotation at a site would end well now.
    pub fn is_able(&self, at: usize) -> bool {
        let clock = self.ahead.abs() <= Duration::HOUR;
        self.awake && self.store && clock && self.places[at].up && (self.places[at].uses > 0 || self.has_admin(at))
    }

    /// Whether the site's admin robot can register.
    pub fn has_admin(&self, at: usize) -> bool {
        let site = &self.config.sites[at];
        let crate::site::Registrar::Robot(name) = &site.registrar else { return false };
        let there = self.holdings.records_at(&site.name);
        there
            .iter()
            .any(|record| record.id.robot.robot == *name && record.state == State::Active && self.works(at, record))
    }

    /// Whether the appliance accepts a credential now.
    pub fn works(&self, at: usize, record: &Record) -> bool {
        let known = (record.id.robot.clone(), record.id.generation.number());
        let valid = record.certificate.as_ref().is_some_and(|held| held.validity().contains(self.time));
        valid && self.places[at].accepts.contains(&known)
    }

    /// Whoever is told that a token is needed goes for one.
    pub fn tell(&mut self, at: usize) -> Option<Duration> {
        let now = self.now();
        let name = self.config.sites[at].name.clone();
        let report = status::report(Ok(&self.config), &self.holdings, now);
        let asked = report.lines.iter().filter(|line| line.id.site == name).flat_map(|line| {
            line.attention.iter().filter(|raised| raised.code == AttentionCode::TokenNeeded).map(|raised| raised.since)
        });
        let since = asked.min()?;
        if self.places[at].errand {
            return None;
        }
        let takes = self.dice.between(Duration::ZERO, Duration::days(45));
        self.places[at].errand = true;
        self.events.insert((self.time + takes, Event::Token(at)));
        let place = &self.places[at];
        let could = place.deaf_until.max(since - self.ahead).min(self.time);
        (self.ahead == Duration::ZERO).then_some(self.time - could)
    }
}

/// Three sites: one that needs a token for each rotation, two with an admin robot.
fn config(dice: &mut Dice) -> Config {
    let mut text = "version = 1\n[defaults]\nkey_type = \"ecdsa-p256\"\n".to_owned();
    let days = [[365, 90, 30], [365, 30, 7], [90, 7, 3], [30, 14, 1], [2, 5, 1]];
    let (few, many) = (dice.one_of(&days), dice.one_of(&days[..4]));
    for (name, registrar, robots) in [
        ("alpha", "token", vec![("one", 365), ("two", 365)]),
        ("beta", "keeper", vec![("keeper", dice.one_of(&few)), ("one", dice.one_of(&few)), ("two", dice.one_of(&few))]),
        ("gamma", "keeper", vec![("keeper", 365), ("one", dice.one_of(&many))]),
    ] {
        text.extend([format!(
            "[sites.{name}]\nurl = \"https://{name}.example\"\ntrust = \"system\"\nregistrar = \"{registrar}\"\n"
        )]);
        for (robot, days) in robots {
            let role = if robot == "keeper" { "admin" } else { "reader" };
            let before = if registrar == "token" { "1/3" } else { dice.one_of(&["1/3", "1/2", "1/4"]) };
            let every = dice.one_of(&["1d", "3d", "30d"]);
            let overlap = dice.one_of(&["1d", "14d", "12h"]);
            let ingest = match robot {
                "keeper" => String::new(),
                _ => format!("ingest = {{ streams = [\"assets\", \"events\"], every = \"{every}\" }}"),
            };
            let hooks = if dice.percent(30) { "hooks = { deploy = [\"/bin/true\"] }" } else { "" };
            text.extend([format!(
                "[sites.{name}.robots.{robot}]\nrole = \"{role}\"\ndays = {days}\n\
                 renew_before = \"{before}\"\noverlap = \"{overlap}\"\n{ingest}\n{hooks}\n"
            )]);
        }
    }
    Config::from_text(Path::new("/robocred.toml"), Some(&text)).unwrap()
}
