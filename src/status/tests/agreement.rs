//! Every rendering of one report says the same: the document is read back, and
//! from it alone it is worked out what verdict and metrics have to say.

use proptest::prelude::*;

use super::*;
use crate::{
    document::Time,
    inventory::{Task, TaskFailure, TaskRow},
    status::{
        document::{RobotState, RobotStatus, robots},
        forecast::forecast,
        metrics::{
            self,
            tests::{read, value},
        },
        verdict::{Health, Thresholds, verdict},
    },
};

/// What a robot of the configuration may hold.
#[derive(Clone, Debug)]
struct Held {
    records: Vec<(State, u16)>,
    codes: Vec<AttentionCode>,
}

fn held() -> impl Strategy<Value = Held> {
    let state = prop::sample::select(State::ALL.to_vec());
    let days = prop::sample::select(vec![1_u16, 30, 90, 180, 364, 365]);
    let codes = prop::sample::subsequence(AttentionCode::ALL.to_vec(), 0..3);
    // At most one is in use.
    let records = prop::collection::vec((state, days), 0..4).prop_map(|mut records| {
        let mut active = false;
        records.retain(|(state, _)| *state != State::Active || !std::mem::replace(&mut active, true));
        records
    });
    (records, codes).prop_map(|(records, codes)| Held { records, codes })
}

/// Certificates are dear to make; those of one lifetime are as good as each other here.
fn holdings_of(held: &[Held; 2], token: bool, failing: bool, certificates: &BTreeMap<u16, Record>) -> Holdings {
    let mut holdings = Holdings { sites: vec![site(token.then_some(MADE))], ..Holdings::default() };
    for (robot, Held { records, codes }) in ["keeper", "lucidum"].iter().zip(held) {
        for (generation, (state, days)) in (1..).zip(records) {
            let certificate = certificates[days].certificate.clone();
            let id = CredentialId { robot: id(robot), generation: Generation::new(generation).unwrap() };
            holdings.records.push(Record { state: *state, certificate, id, ..certificates[days].clone() });
        }
        let raised = codes.iter().map(|code| Attention { robot: id(robot), ..raised(*code, MADE) });
        holdings.attention.extend(raised);
    }
    let failure = failing.then(|| TaskFailure { code: "failed".to_owned(), message: "why".to_owned() });
    holdings.tasks.push(TaskRow {
        site: "plant".parse().unwrap(),
        task: Task::Rotate,
        at: MADE,
        success_at: None,
        tries: u32::from(failing),
        after: None,
        failures: u64::from(failing),
        failure,
    });
    holdings
}

/// What `check` has to say of one robot, by the document alone.
fn health_of(robot: &RobotStatus, now: OffsetDateTime) -> Health {
    let frozen = robot.attention.iter().any(|raised| raised.code == "frozen");
    if robot.state == RobotState::Expired || frozen || robot.days_left.is_some_and(|days| days < 7) {
        return Health::Critical;
    }
    let soon = robot.due_at.is_some_and(|Time(due)| due - now < Duration::days(30));
    let well = robot.state == RobotState::Active && robot.attention.is_empty() && !robot.due && !soon;
    if well { Health::Ok } else { Health::Warning }
}

proptest! {
    #[test]
    fn verdict_metrics_and_document_say_the_same(
        held in [held(), held()], token: bool, failing: bool, unread: bool, day in -1_i64..500, second in 0_i64..86_400,
    ) {
        thread_local! {
            static CERTIFICATES: BTreeMap<u16, Record> =
                [1, 30, 90, 180, 364, 365].map(|days| (days, record("lucidum", 1, State::Active, days))).into();
        }
        let now = MADE + Duration::days(day) + Duration::seconds(second);
        let holdings = CERTIFICATES.with(|made| holdings_of(&held, token, failing, made));
        let mut report = report(Ok(&config("token")), &holdings, now);
        if unread {
            report.could_not_read("the disk is gone".to_owned());
        }
        let told = robots(&report);
        let samples = read(&metrics::text(&report, None));
        let found = verdict(&report, Thresholds::default());

        let worst = told.iter().map(|robot| health_of(robot, now)).max().unwrap();
        let worst = worst.max(if failing { Health::Warning } else { Health::Ok });
        prop_assert_eq!(found.health, worst.max(if unread { Health::Unknown } else { Health::Ok }), "{:?}", &found);
        let figures = found.figures.unwrap();
        prop_assert_eq!(figures.robots, told.len());
        prop_assert_eq!(figures.attention, told.iter().map(|robot| robot.attention.len()).sum::<usize>());
        prop_assert_eq!(figures.due, told.iter().filter(|robot| robot.due).count());
        prop_assert_eq!(figures.expired, told.iter().filter(|robot| robot.state == RobotState::Expired).count());
        prop_assert_eq!(figures.days_left, told.iter().filter_map(|robot| robot.days_left).min());

        let seconds = |at: Option<Time>| at.map(|Time(at)| at.unix_timestamp());
        for robot in &told {
            let of = |name: &str, more: &[(&str, &str)]| {
                let labels = [&[("site", robot.site.as_str()), ("robot", robot.name.as_str())], more].concat();
                #[allow(clippy::cast_possible_truncation, reason = "all of them are whole and small")]
                value(&samples, &format!("robocred_{name}"), &labels).map(|value| value as i64)
            };
            let state = serde_json::to_value(robot.state).unwrap();
            prop_assert_eq!(of("robot_state", &[("state", state.as_str().unwrap())]), Some(1));
            // The dates of one that is only on its way stand in the document alone.
            let in_use = robot.days_left.is_some();
            let dates = |at: Option<Time>| seconds(at).filter(|_| in_use);
            prop_assert_eq!(of("certificate_expiration_timestamp_seconds", &[]), dates(robot.not_after));
            prop_assert_eq!(of("certificate_not_before_timestamp_seconds", &[]), dates(robot.not_before));
            prop_assert_eq!(of("certificate_renewal_timestamp_seconds", &[]), dates(robot.due_at));
            for code in AttentionCode::ALL {
                let raised = robot.attention.iter().any(|raised| raised.code == code.as_str());
                prop_assert_eq!(of("attention", &[("code", code.as_str())]), raised.then_some(1));
            }
            prop_assert_eq!(of("leftovers", &[]), Some(i64::try_from(robot.leftovers.len()).unwrap()));
            let ready = of("certificate_ready_status", &[("condition", "True")]) == Some(1);
            let frozen = robot.attention.iter().any(|raised| raised.code == "frozen");
            prop_assert!(!ready || (in_use && robot.state != RobotState::Expired && !frozen), "{:?}", robot);
            // Whoever is foreseen to need a token is one whose metrics say so.
            let ahead = forecast(&report, Duration::days(3_650));
            let foreseen = ahead.tokens.iter().any(|id| id.to_string() == robot.robot);
            prop_assert_eq!(foreseen, in_use && of("token_needed", &[]) == Some(1));
        }
        prop_assert_eq!(value(&samples, "robocred_report_complete", &[]), Some(f64::from(u8::from(!unread))));
    }
}
