//! The report on hand-made holdings: what is announced, and when.

mod agreement;

use std::path::Path;

use time::{Duration, macros::datetime};

use super::*;
use crate::{
    credential::{CredentialId, Delivery, Generation, RegisteredName, SecretRef},
    inventory::SiteRow,
    x509::{Certificate, KeyAlgorithm, PrivateKey, Profile, Validity},
};

pub(super) const MADE: OffsetDateTime = datetime!(2026-11-22 10:00 UTC);

pub(super) fn config(registrar: &str) -> Config {
    let text = format!(
        "version = 1
[sites.plant]
url = \"https://10.20.0.5\"
trust = \"system\"
registrar = \"{registrar}\"
[sites.plant.robots.keeper]
role = \"admin\"
[sites.plant.robots.lucidum]
role = \"reader\"
token_lead = \"30d\"
"
    );
    Config::from_text(Path::new("/robocred.toml"), Some(&text)).unwrap()
}

pub(super) fn id(robot: &str) -> RobotId {
    format!("plant/{robot}").parse().unwrap()
}

/// A robot that the inventory holds.
pub(super) fn row(id: &RobotId, role: Role) -> RobotRow {
    RobotRow {
        id: id.clone(),
        base_name: id.robot.clone(),
        role,
        endpoint: "https://10.20.0.5".parse().unwrap(),
        origin: inventory::Origin::Provisioned,
        created_at: MADE,
        last_promotion: Some(MADE),
        last_generation: 1,
    }
}

/// A generation with a certificate of `days` days from [`MADE`] on.
pub(super) fn record(robot: &str, generation: u32, state: State, days: u16) -> Record {
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let validity = Validity::of_days(MADE, days).unwrap();
    let id = CredentialId { robot: id(robot), generation: Generation::new(generation).unwrap() };
    Record {
        state,
        registered_name: RegisteredName::of(&id.robot.robot, id.generation),
        role: Role::Reader,
        secret: SecretRef::key("store", &id),
        key_algorithm: KeyAlgorithm::EcdsaP256,
        profile: Profile::Client,
        certificate: Some(Certificate::self_signed(&key, robot, validity, Profile::Client).unwrap()),
        attempt: None,
        remote_id: None,
        keyed_at: Some(MADE),
        promoted_at: Some(MADE),
        deliver_tries: 0,
        deliver_after: None,
        delivery: Delivery::Delivered,
        retire_after: None,
        id,
    }
}

pub(super) fn site(token_since: Option<OffsetDateTime>) -> SiteRow {
    let name = "plant".parse().unwrap();
    SiteRow {
        name,
        seen: inventory::Observation::default(),
        server_pin_at: None,
        control_at: None,
        token_since,
        api_key: None,
    }
}

pub(super) fn raised(code: AttentionCode, since: OffsetDateTime) -> Attention {
    Attention { robot: id("lucidum"), code, message: "stored".to_owned(), hint: None, since }
}

pub(super) fn holdings(records: Vec<Record>) -> Holdings {
    Holdings { records, sites: vec![site(None)], ..Holdings::default() }
}

fn line(config: &Config, holdings: &Holdings, now: OffsetDateTime) -> Line {
    let lines = report(Ok(config), holdings, now).lines;
    lines.into_iter().find(|line| line.id == id("lucidum")).unwrap()
}

fn tokens_needed(line: &Line) -> Vec<&Attention> {
    line.attention.iter().filter(|raised| raised.code == AttentionCode::TokenNeeded).collect()
}

#[test]
fn a_token_is_asked_for_from_its_lead_on_and_never_before() {
    let holdings = holdings(vec![record("lucidum", 1, State::Active, 365)]);
    let config = config("token");
    let window = line(&config, &holdings, MADE).window.unwrap();
    let warns_at = window.due_at - Duration::days(30);
    let check = |now, asked: bool, standing| {
        let line = line(&config, &holdings, now);
        assert_eq!((tokens_needed(&line).len(), line.standing), (usize::from(asked), standing), "{now}");
        assert!(tokens_needed(&line).iter().all(|raised| raised.since == warns_at));
    };
    check(MADE, false, Standing::Active);
    check(warns_at - Duration::SECOND, false, Standing::Active);
    check(warns_at, true, Standing::Active);
    check(window.due_at - Duration::SECOND, true, Standing::Active);
    check(window.due_at, true, Standing::NeedsPerson);
    check(window.not_after, true, Standing::NeedsPerson);
    check(window.not_after + Duration::SECOND, true, Standing::Expired);
}

#[test]
fn the_words_name_the_day_and_what_is_left() {
    let holdings = holdings(vec![record("lucidum", 1, State::Active, 365)]);
    let config = config("token");
    let window = line(&config, &holdings, MADE).window.unwrap();
    let day = window.due_at.date();
    let check = |now, expected: String| {
        let line = line(&config, &holdings, now);
        let [asked] = tokens_needed(&line)[..] else { panic!("{:?}", line.attention) };
        assert_eq!(asked.message, expected);
        let hint = "ask the vendor's support for a token, which takes days, then run `robocred token set plant`";
        assert_eq!(asked.hint.as_deref(), Some(hint));
    };
    let none = "and no support token is stored";
    check(window.due_at - Duration::days(29), format!("its rotation opens on {day} (in 29 days), {none}"));
    check(window.due_at - Duration::days(1), format!("its rotation opens on {day} (in 1 day), {none}"));
    check(window.due_at - Duration::SECOND, format!("its rotation opens on {day} (in less than a day), {none}"));
    check(
        window.not_after - Duration::days(93),
        format!("its rotation is due since {day} (its certificate holds for 93 days more), {none}"),
    );
    check(
        window.not_after + Duration::SECOND,
        format!("its rotation was due on {day} and its certificate has expired, {none}"),
    );
}

#[test]
fn what_makes_a_token_needless() {
    #[track_caller]
    fn check(what: &str, registrar: &str, change: impl FnOnce(&mut Holdings), expected: &[&str]) {
        let mut holdings = holdings(vec![record("lucidum", 1, State::Active, 365)]);
        change(&mut holdings);
        let config = config(registrar);
        let due = line(&config, &holdings, MADE).window.map_or(MADE, |window| window.due_at);
        let line = line(&config, &holdings, due);
        let messages: Vec<_> = tokens_needed(&line).iter().map(|raised| raised.message.clone()).collect();
        assert_eq!(messages.len(), expected.len(), "{what}: {messages:?}");
        assert!(messages.iter().zip(expected).all(|(message, part)| message.contains(part)), "{what}: {messages:?}");
        assert_eq!(line.standing == Standing::NeedsPerson, !expected.is_empty(), "{what}: {:?}", line.standing);
    }
    let stored = |at| move |holdings: &mut Holdings| holdings.sites = vec![site(Some(at))];
    let beside = |record: Record| move |holdings: &mut Holdings| holdings.records.push(record);
    let now = MADE + Duration::days(100);
    let unable = &["plant/keeper has no working credential to register it with, and no support token is stored"];

    check("nothing at hand", "token", |_| (), &["no support token"]);
    check("a site that was never visited", "token", |holdings| holdings.sites.clear(), &["no support token"]);
    check("a stored token", "token", stored(now), &[]);
    check("an admin robot that works", "keeper", beside(record("keeper", 1, State::Active, 365)), &[]);
    check("an admin robot that never worked", "keeper", |_| (), unable);
    check("an admin robot on its way", "keeper", beside(record("keeper", 1, State::Sending, 365)), unable);
    check("an admin robot that has expired", "keeper", beside(record("keeper", 1, State::Active, 30)), unable);
    check("an admin robot that registers nobody", "token", beside(record("keeper", 1, State::Active, 365)), &["no"]);
    let refused = |holdings: &mut Holdings| {
        holdings.records.push(record("keeper", 1, State::Active, 365));
        holdings.sites[0].seen.admin_registers = Some(false);
    };
    check("an admin robot that may not", "keeper", refused, &["the appliance does not let plant/keeper register it"]);
    check("a dead admin robot beside a token", "keeper", stored(now), &[]);
    check("a successor that may be registered", "token", beside(record("lucidum", 2, State::Sending, 365)), &[]);
    check("a successor that is registered", "token", beside(record("lucidum", 2, State::Registered, 365)), &[]);
    check("a successor that waits for it", "token", beside(record("lucidum", 2, State::Keyed, 365)), &["no"]);
    let raise = |holdings: &mut Holdings| holdings.attention.push(raised(AttentionCode::TokenNeeded, now));
    check("one that is stored already", "token", raise, &["stored"]);
    check(
        "one that a token has answered since",
        "token",
        |holdings| {
            raise(holdings);
            stored(now + Duration::SECOND)(holdings);
        },
        &[],
    );
}

#[test]
fn nobody_is_asked_for_a_robot_that_has_nothing_to_renew() {
    let config = config("token");
    let later = MADE + Duration::days(400);
    for records in
        [vec![], vec![record("lucidum", 1, State::Keyed, 365)], vec![record("lucidum", 1, State::Retired, 365)]]
    {
        let line = line(&config, &holdings(records), later);
        assert!(tokens_needed(&line).is_empty(), "{line:?}");
    }
    // What is not configured any more is not rotated either.
    let active = holdings(vec![record("lucidum", 1, State::Active, 365)]);
    let elsewhere = Config::from_text(Path::new("/robocred.toml"), None).unwrap();
    let known = Holdings { robots: vec![row(&id("lucidum"), Role::Reader)], ..active };
    assert!(line(&elsewhere, &known, later).attention.is_empty());
}

#[test]
fn the_one_in_use_is_shown_and_every_other_stands_beside_it() {
    let records =
        [(1, State::Retired), (2, State::Retiring), (3, State::Previous), (4, State::Active), (5, State::Sending)];
    let records = records.map(|(generation, state)| record("lucidum", generation, state, 365));
    let line = line(&config("token"), &holdings(records.into()), MADE);
    assert_eq!(line.record.unwrap().state, State::Active);
    let mut beside: Vec<_> = line.previous.iter().map(|record| record.id.generation.number()).collect();
    beside.sort_unstable();
    assert_eq!(beside, [2, 3, 5]);
    assert_eq!(line.standing, Standing::Active);
}
