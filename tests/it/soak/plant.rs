//! Four appliances, one home, and the clock that all of them share.

use std::{fmt::Write as _, fs, net::TcpStream, path::PathBuf, process::Command, thread, time::Instant};

use robocred::{
    clock::{
        Clock as _, SystemClock,
        test_clock::{self, Setting},
    },
    simulator::{self, Behaviours, Listing, Options, Registration, Simulator},
    site::RobotId,
};
use serde_json::Value;
use time::{Duration, OffsetDateTime};

use super::RATE;
use crate::{
    rotate::with_token,
    world::{TOKEN, World},
};

/// By their names: one with an admin robot, one with a stored token, one whose
/// token comes late, one whose pairs a person delivers.
pub const SITES: [&str; 4] = ["admin", "stored", "late", "byhand"];

/// How long an old generation is kept.
pub const OVERLAP: Duration = Duration::DAY;

/// From the first robot until the watch begins.
const OLDEST: Duration = Duration::days(12);

/// A robot: its name, its days, and the rest of its configuration. The longest
/// lives begin first, so that all are due soon after the watch begins.
const ROBOTS: [(&str, u16, &str); 8] = [
    ("admin/boss", 20, "role = \"admin\""),
    ("late/long", 18, "role = \"reader\"\nINGEST"),
    ("late/rsa", 15, "role = \"reader\"\nkey_type = \"rsa-2048\""),
    ("admin/second", 13, "role = \"reader\"\nEXPORT\nhooks = { deploy = [\"/bin/true\"] }"),
    ("byhand/twelve", 12, "role = \"reader\"\nEXPORT"),
    ("stored/ed", 9, "role = \"reader\"\nkey_type = \"ed25519\"\nINGEST"),
    (
        "admin/rsa",
        8,
        "role = \"reader\"\nkey_type = \"rsa-2048\"\nEXPORT\nINGEST\nhooks = { deploy = [\"/bin/true\"] }",
    ),
    ("stored/six", 6, "role = \"reader\"\nEXPORT\nhooks = { deploy = [\"/bin/true\"] }"),
];

/// Four appliances and one home. Where a test of it fails, the home is kept, with everything that the watch said.
pub struct Plant {
    pub world: World,
    /// The appliances but the first, which is the world's.
    others: Vec<Simulator>,
    config: String,
}

impl Plant {
    /// Every robot is provisioned, and the clock runs.
    pub fn new() -> Self {
        let mut world = World::new();
        let clock = world.path("clock");
        Setting::from_now(SystemClock.now(), 1.0).write(&clock).unwrap();
        world.follows(&clock);
        test_clock::follow(&clock);
        // The appliances live on the runtime's one thread.
        let of_the_appliances = clock.clone();
        let following = world.runtime.spawn(async move { test_clock::follow(&of_the_appliances) });
        world.runtime.block_on(following).unwrap();

        let behaviours = [
            Behaviours { listing: Listing::WithoutCertificates, ..Behaviours::default() },
            Behaviours { registration: Registration::CreatedEmpty, ..Behaviours::default() },
            Behaviours { listing: Listing::NotFound404, ..Behaviours::default() },
        ];
        let others = behaviours.map(|behaviours| {
            let options = Options { token: TOKEN.to_owned(), devices: 20, behaviours, ..Options::default() };
            world.runtime.block_on(simulator::start(options)).unwrap()
        });
        let mut plant = Self { world, others: others.into(), config: String::new() };
        plant.config = plant.configuration();
        fs::create_dir_all(plant.world.config().parent().unwrap()).unwrap();
        fs::write(plant.world.config(), &plant.config).unwrap();
        let begin = plant.now();
        for (robot, days, _) in ROBOTS {
            // Due after two thirds of a life, but for up to a twentieth.
            let age = Duration::hours(i64::from(days) * 24 * 37 / 60 - 12);
            plant.set(begin + OLDEST - age);
            let days = days.to_string();
            with_token(&plant.world, &["provision", robot, "--days", &days, "--token-stdin"]).expect(0);
        }
        with_token(&plant.world, &["token", "set", "stored", "--token-stdin"]).expect(0);
        with_token(&plant.world, &["token", "set", "byhand", "--token-stdin"]).expect(0);
        plant.world.run(&["export", "byhand/twelve", "--confirm"]).expect(0);
        plant.config = fs::read_to_string(plant.world.config()).unwrap();
        plant.set(begin + OLDEST);
        plant.run_at(RATE);
        plant
    }

    fn configuration(&self) -> String {
        let mut text =
            "version = 1\n[defaults]\nkey_type = \"ecdsa-p256\"\noverlap = \"1d\"\ntoken_lead = \"2d\"\n".to_owned();
        for (at, site) in SITES.into_iter().enumerate() {
            let (url, pin) = (self.simulator(at).url(), self.simulator(at).pin());
            let registrar = if site == "admin" { "boss" } else { "token" };
            writeln!(
                text,
                "\n[sites.{site}]\nurl = \"{url}\"\ntrust = {{ pins = [\"{pin}\"] }}\nregistrar = \"{registrar}\""
            )
            .unwrap();
            for (robot, days, rest) in ROBOTS {
                let Some(name) = robot.strip_prefix(&format!("{site}/")) else { continue };
                let export = format!("export = {{ dir = \"{}\" }}", self.export(robot).display());
                let place = self.world.path("devices").join(name);
                let ingest = format!(
                    "ingest = {{ streams = [\"assets\"], format = \"ndjson\", dir = \"{}\", every = \"1d\" }}",
                    place.display()
                );
                let rest = rest.replace("EXPORT", &export).replace("INGEST", &ingest);
                writeln!(text, "\n[sites.{site}.robots.{name}]\ndays = {days}\n{rest}").unwrap();
            }
        }
        text
    }

    pub fn simulator(&self, site: usize) -> &Simulator {
        site.checked_sub(1).map_or(&self.world.simulator, |other| &self.others[other])
    }

    /// The appliance of a robot.
    pub fn simulator_of(&self, robot: &RobotId) -> &Simulator {
        self.simulator(SITES.iter().position(|site| *site == robot.site.as_str()).unwrap())
    }

    #[allow(clippy::unused_self, reason = "those of this plant")]
    pub fn robots(&self) -> Vec<(RobotId, u16)> {
        ROBOTS.iter().map(|(robot, days, _)| (robot.parse().unwrap(), *days)).collect()
    }

    /// Where a robot's pair is exported to, if it is.
    pub fn export(&self, robot: &str) -> PathBuf {
        self.world.path("out").join(robot.replace('/', "-"))
    }

    /// What its clock shows, which this thread follows.
    #[allow(clippy::unused_self, reason = "the clock of this plant")]
    pub fn now(&self) -> OffsetDateTime {
        SystemClock.now()
    }

    /// From now on the clock runs so fast.
    pub fn run_at(&self, rate: f64) {
        Setting::from_now(self.now(), rate).write(&self.clock()).unwrap();
    }

    /// The clock is set, and runs on as it did.
    pub fn set(&self, time: OffsetDateTime) {
        let running: Setting = fs::read_to_string(self.clock()).unwrap().parse().unwrap();
        Setting::from_now(time, running.rate).write(&self.clock()).unwrap();
    }

    pub fn clock(&self) -> PathBuf {
        self.world.path("clock")
    }

    /// Nothing that was to go wrong will, and every appliance has come up again.
    pub fn calm(&self) {
        for site in 0..SITES.len() {
            let simulator = self.simulator(site);
            simulator.clear_faults();
            let url = simulator.url();
            let address = url.trim_start_matches("https://");
            let given_up = Instant::now() + std::time::Duration::from_secs(30);
            while let Err(error) = TcpStream::connect(address) {
                assert!(Instant::now() < given_up, "{address} does not come up again: {error}");
                thread::sleep(std::time::Duration::from_millis(20));
            }
        }
    }

    /// Somebody edits the configuration, and makes a mistake at first.
    pub fn while_config_is_broken(&self, meanwhile: impl FnOnce()) {
        let replace = |text: &str| {
            let new = self.world.path("robocred.toml.new");
            fs::write(&new, text).unwrap();
            fs::rename(new, self.world.config()).unwrap();
        };
        replace(&self.config.replace("version = 1", "version = 1\nunheard_of = true"));
        meanwhile();
        replace(&self.config);
    }

    /// The document of `status`.
    pub fn status(&self) -> Value {
        self.world.run(&["--json", "status"]).expect(0).json()
    }
}

impl Drop for Plant {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let kept = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("soak");
        drop(fs::remove_dir_all(&kept));
        let copied = Command::new("cp").arg("-a").arg(self.world.path("")).arg(&kept).status();
        println!("soak: kept in {}: {copied:?}", kept.display());
        for (at, site) in SITES.into_iter().enumerate() {
            let requests = self.simulator(at).requests();
            let last = &requests[requests.len().saturating_sub(30)..];
            println!("soak: {site} has {:#?}, and was asked at last {last:#?}", self.simulator(at).robots());
        }
    }
}
