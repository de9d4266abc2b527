//! Hooks as real programs: what they find, what is kept of what they say, and
//! that nothing of them is left.

#[cfg(feature = "simulator")]
mod command;
mod documents;
mod ends;
mod examples;

use std::{path::Path, time::Duration};

use robocred::{
    config::Config,
    credential::{CredentialId, Delivery, Generation, Record, RegisteredName, SecretRef, State},
    export,
    hook::{self, Error, Event, Facts},
    site::RobotId,
    x509::{Certificate, KeyAlgorithm, PrivateKey, Profile, Validity},
};
use time::macros::datetime;

const SECRET_SLOT: &str = "store-id-canary";

fn config() -> Config {
    let text = "version = 1\nsites.plant = { url = 'https://10.20.0.5:8443', robots.lucidum = { role = 'reader' } }\n";
    Config::from_text(Path::new("/etc/robocred/robocred.toml"), Some(text)).unwrap()
}

/// Generation 2, valid for a year.
fn record(robot: &RobotId) -> Record {
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let validity = Validity::of_days(datetime!(2026-11-22 12:00 UTC), 365).unwrap();
    let certificate = Certificate::self_signed(&key, "lucidum", validity, Profile::Client).unwrap();
    let generation = Generation::FIRST.next();
    let id = CredentialId { robot: robot.clone(), generation };
    Record {
        state: State::Active,
        registered_name: RegisteredName::of(&robot.robot, generation),
        role: robocred::site::Role::Reader,
        secret: SecretRef::key(SECRET_SLOT, &id),
        key_algorithm: KeyAlgorithm::EcdsaP256,
        profile: Profile::Client,
        certificate: Some(certificate),
        attempt: None,
        remote_id: Some("what the appliance calls it".to_owned()),
        keyed_at: None,
        promoted_at: None,
        deliver_tries: 0,
        deliver_after: None,
        delivery: Delivery::Open,
        retire_after: None,
        id,
    }
}

/// The facts of a robot without a credential.
fn bare(event: Event) -> Facts {
    let config = config();
    Facts::new(event, &config.sites[0], &config.sites[0].robots[0], None)
}

/// Every fact there is, and the certificate they are of.
fn full() -> (Facts, Certificate) {
    let config = config();
    let (site, robot) = (&config.sites[0], &config.sites[0].robots[0]);
    let record = record(&RobotId { site: site.name.clone(), robot: robot.name.clone() });
    let facts = Facts::new(Event::Deploy, site, robot, Some(&record))
        .test()
        .previous(Some(Generation::FIRST))
        .exported(Path::new("/srv/it's $(here)"), export::FILES)
        .because("token\nneeded", "get\none", "a support token\n is \u{1b}[31mneeded\0");
    (facts, record.certificate.unwrap())
}

/// Longer than any of these hooks takes, shorter than the patience of whoever runs the tests.
const AMPLE: Duration = Duration::from_mins(1);

fn shell(script: &str) -> Vec<String> {
    ["/bin/sh", "-c", script].map(str::to_owned).into()
}

async fn run(script: &str) -> Result<String, Error> {
    let ended = tokio::time::timeout(AMPLE / 2, hook::run(&shell(script), &bare(Event::Deploy), AMPLE)).await;
    ended.unwrap_or_else(|_| panic!("waited too long for {script}"))
}
