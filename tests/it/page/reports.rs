//! Reports made by hand, for the page.

use robocred::{
    credential::{CredentialId, Delivery, Generation, Record, RegisteredName, SecretRef, State},
    inventory::{Attention, AttentionCode, Leftover, Task, TaskFailure, TaskRow},
    renewal::RenewalPolicy,
    site::Role,
    status::{Line, Report, Standing, document::Status, page},
    x509::{Certificate, KeyAlgorithm, PrivateKey, Profile, Validity},
};
use time::{Duration, OffsetDateTime, macros::datetime};

pub const NOW: OffsetDateTime = datetime!(2026-11-23 10:00 UTC);

/// A generation whose certificate is valid from some days from now until some days from now.
pub fn record(robot: &str, generation: u32, state: State, life: Option<(i64, i64)>) -> Record {
    let id = CredentialId { robot: robot.parse().unwrap(), generation: Generation::new(generation).unwrap() };
    let certificate = life.map(|(from, to)| {
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let validity = Validity { not_before: NOW + Duration::days(from), not_after: NOW + Duration::days(to) };
        Certificate::self_signed(&key, "robot", validity, Profile::Client).unwrap()
    });
    Record {
        state,
        registered_name: RegisteredName::of(&id.robot.robot, id.generation),
        role: Role::Reader,
        secret: SecretRef::key("store", &id),
        key_algorithm: KeyAlgorithm::EcdsaP256,
        profile: Profile::Client,
        certificate,
        attempt: None,
        remote_id: None,
        keyed_at: None,
        promoted_at: None,
        delivery: Delivery::Delivered,
        deliver_tries: 0,
        deliver_after: None,
        retire_after: None,
        id,
    }
}

pub fn line(robot: &str, standing: Standing, record: Option<Record>) -> Line {
    let active = record.as_ref().filter(|record| record.state == State::Active);
    let certificate = active.and_then(|record| record.certificate.as_ref());
    let window = certificate
        .map(|certificate| RenewalPolicy::default().window(certificate.validity(), certificate.fingerprint()));
    Line {
        id: robot.parse().unwrap(),
        role: Role::Reader,
        standing,
        record,
        window,
        needs_token: None,
        warns_at: window.map(|window| window.warns_at(Duration::days(30))),
        api_key: None,
        attention: Vec::new(),
        store: None,
        previous: Vec::new(),
        leftovers: Vec::new(),
        configured: true,
        forsaken: false,
    }
}

pub fn raised(robot: &str, code: AttentionCode, message: &str, hint: &str) -> Attention {
    let (robot, hint) = (robot.parse().unwrap(), Some(hint.to_owned()));
    Attention { robot, code, message: message.to_owned(), hint, since: NOW - Duration::days(4) }
}

pub fn left(robot: &str, generation: u32, reason: &str) -> Leftover {
    let id = CredentialId { robot: robot.parse().unwrap(), generation: Generation::new(generation).unwrap() };
    let registered_name = RegisteredName::of(&id.robot.robot, id.generation);
    Leftover { id, registered_name, fingerprint: None, reason: reason.to_owned(), since: NOW }
}

pub fn report(lines: Vec<Line>) -> Report {
    Report { at: NOW, lines, sites: vec![], tasks: vec![], runs: vec![], warnings: vec![], unread: vec![] }
}

pub fn html(report: &Report) -> String {
    page::html(report, &Status::of(report, "/etc/robocred/robocred.toml".into(), "/var/lib/robocred".into()), None)
}

fn task(site: &str, task: Task, failure: Option<&str>) -> TaskRow {
    TaskRow {
        site: site.parse().unwrap(),
        task,
        at: NOW,
        success_at: Some(NOW - Duration::days(i64::from(failure.is_some()) * 3)),
        tries: if failure.is_some() { 3 } else { 0 },
        after: None,
        failures: 3,
        failure: failure.map(|message| TaskFailure { code: "unreachable".into(), message: message.into() }),
    }
}

/// A week in the life of three plants: one robot of every kind.
pub fn ordinary() -> Report {
    let active = |robot: &str, generation, from, to| {
        line(robot, Standing::Active, Some(record(robot, generation, State::Active, Some((from, to)))))
    };
    let mut rotated = active("plant-a/lucidum", 3, -6, 358);
    let mut before = record("plant-a/lucidum", 2, State::Previous, Some((-250, 114)));
    before.retire_after = Some(NOW + Duration::days(8));
    rotated.previous = vec![before];
    let mut by_hand = active("plant-a/axonius", 2, -20, 344);
    by_hand.previous = vec![record("plant-a/axonius", 1, State::Previous, Some((-270, 94)))];
    by_hand.attention = vec![raised(
        "plant-a/axonius",
        AttentionCode::DeliverByHand,
        "generation 2 (axonius-g2) was written to /srv/axonius/plant-a and a person has to give it to the connector",
        "upload the pair with the robot's new name axonius-g2, then run `robocred export plant-a/axonius --confirm`",
    )];
    let mut token = active("plant-b/lucidum", 1, -280, 84);
    token.standing = Standing::NeedsPerson;
    token.attention = vec![raised(
        "plant-b/lucidum",
        AttentionCode::TokenNeeded,
        "its rotation is due since 2026-10-13 (its certificate holds for 84 days more), and no support token is stored",
        "ask the vendor's support for a token, which takes days, then run `robocred token set plant-b`",
    )];
    let mut ended = active("plant-b/scanner", 4, -367, -3);
    ended.standing = Standing::Expired;
    let soon = active("plant-b/keeper", 2, -205, 159);
    let mut under_way = active("plant-c/lucidum", 1, -240, 124);
    under_way.previous = vec![record("plant-c/lucidum", 2, State::Registered, Some((0, 364)))];
    let pending = record("plant-c/new", 1, State::Sending, Some((0, 364)));
    let pending = line("plant-c/new", Standing::Pending, Some(pending));
    let mut absent = line("plant-c/old", Standing::Absent, None);
    absent.leftovers = vec![left("plant-c/old", 2, "the appliance offers no removal")];
    let made_elsewhere = active("plant-d/imported", 1, -700, 2_950);
    let lines = vec![by_hand, rotated, soon, token, ended, under_way, pending, absent, made_elsewhere];
    let failing = "ingest of plant-c by schedule has failed 3 times in a row: 10.20.0.7:443 does not answer within 5 s";
    Report {
        tasks: vec![
            task("plant-a", Task::Rotate, None),
            task("plant-a", Task::Ingest, None),
            task("plant-c", Task::Rotate, None),
            task("plant-c", Task::Ingest, Some("10.20.0.7:443 does not answer")),
        ],
        warnings: vec![failing.to_owned()],
        ..report(lines)
    }
}
