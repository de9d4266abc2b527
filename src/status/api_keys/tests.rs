//! Keys on hand-made holdings: what every rendering says of them.

use super::*;
use crate::status::{
    Holdings, Readiness, Report, Standing,
    document::Status,
    metrics::{
        self,
        tests::{read, value},
    },
    page, report,
    tests::{MADE, holdings, id, record, site},
    verdict::{Health, Thresholds, Verdict, verdict},
};

const DAY: Duration = Duration::DAY;

/// One robot; with `ingest` it is to be read.
fn config(ingest: &str) -> Config {
    let text = format!(
        "version = 1
[sites.plant]
url = \"https://10.20.0.5\"
trust = \"system\"
[sites.plant.robots.lucidum]
role = \"reader\"
{ingest}
"
    );
    Config::from_text("/robocred.toml".as_ref(), Some(&text)).unwrap()
}

const INGEST: &str = "ingest = { streams = [\"assets\"], every = \"1d\" }";

/// A key that is kept since [`MADE`], and no robot's credential.
fn keyed(expires: Option<OffsetDateTime>) -> Holdings {
    let mut holdings = holdings(Vec::new());
    holdings.sites[0].api_key = Some(KeptKey { since: MADE, expires });
    holdings
}

fn judged(report: &Report) -> Verdict {
    verdict(report, Thresholds::default())
}

#[test]
fn a_robot_that_is_read_with_a_key_is_well_without_a_credential() {
    #[track_caller]
    fn check(ingest: &str, holdings: &Holdings, now: OffsetDateTime, health: Health, words: &str, ready: Readiness) {
        let report = report(Ok(&config(ingest)), holdings, now);
        assert_eq!((report.lines[0].standing, report.lines[0].readiness(now)), (Standing::Absent, ready));
        let found = judged(&report);
        assert!(found.health == health && found.message.contains(words), "{found:?}");
    }
    let ends = MADE + 100 * DAY;
    let known = keyed(Some(ends));
    let without = "plant/lucidum has no credential in use (absent)";
    check(INGEST, &known, MADE, Health::Ok, "1 robot, read with an API key; the next ends 2027-03-02", Readiness::Yes);
    check(INGEST, &holdings(Vec::new()), MADE, Health::Warning, without, Readiness::No);
    check("", &known, MADE, Health::Warning, without, Readiness::No);
    // From here on the key itself is told.
    let soon = "the API key of plant ends on 2027-03-02 (in 29 days): make a new one on the appliance, then run \
                `robocred apikey set plant`";
    check(INGEST, &known, ends - 30 * DAY, Health::Ok, "1 robot", Readiness::Yes);
    check(INGEST, &known, ends - 30 * DAY + Duration::SECOND, Health::Warning, soon, Readiness::Yes);
    check(INGEST, &known, ends - 7 * DAY, Health::Warning, "(in 7 days)", Readiness::Yes);
    check(INGEST, &known, ends - 7 * DAY + Duration::SECOND, Health::Critical, "(in 6 days)", Readiness::Yes);
    check(INGEST, &known, ends, Health::Critical, "has ended on 2027-03-02: make", Readiness::No);
    // Without a date by the latest that it can be.
    let unknown = keyed(None);
    check(INGEST, &unknown, MADE + 335 * DAY, Health::Ok, "", Readiness::Yes);
    let latest = "ends on 2027-11-22 at the latest (in 29 days)";
    check(INGEST, &unknown, MADE + 335 * DAY + Duration::SECOND, Health::Warning, latest, Readiness::Yes);
    let ended = "has ended on 2027-11-22 at the latest";
    check(INGEST, &unknown, MADE + 365 * DAY, Health::Critical, ended, Readiness::No);
}

#[test]
fn a_credential_in_use_goes_before_the_key_and_both_are_watched() {
    let mut held = keyed(Some(MADE + 20 * DAY));
    held.records = vec![record("lucidum", 1, State::Active, 365)];
    held.robots = vec![crate::status::tests::row(&id("lucidum"), crate::site::Role::Reader)];
    held.sites = vec![crate::inventory::SiteRow { api_key: held.sites[0].api_key, ..site(Some(MADE)) }];
    let report = report(Ok(&config(INGEST)), &held, MADE);
    assert_eq!((report.lines[0].standing, report.lines[0].api_key), (Standing::Active, None));
    assert_eq!(judged(&report).health, Health::Warning);
    assert_eq!(report.warnings.len(), 1, "{:?}", report.warnings);
}

#[test]
fn a_credential_on_its_way_is_still_missed() {
    let mut held = keyed(None);
    held.records = vec![record("lucidum", 1, State::Sending, 365)];
    let found = judged(&report(Ok(&config(INGEST)), &held, MADE));
    assert_eq!(found.message, "plant/lucidum has no credential in use (pending)");
}

#[test]
fn every_rendering_names_the_same_end() {
    let check = |expires: Option<OffsetDateTime>, days_left: i64, words: &str, warned: bool| {
        let report = report(Ok(&config(INGEST)), &keyed(expires), MADE);
        let end = report.sites[0].api_key.unwrap().ends();
        let name = "robocred_api_key_expiration_timestamp_seconds";
        #[allow(clippy::cast_precision_loss, reason = "a date of this century")]
        let seconds = end.unix_timestamp() as f64;
        assert_eq!(value(&read(&metrics::text(&report, None)), name, &[("site", "plant")]), Some(seconds));
        let document = Status::of(&report, "/c".into(), "/s".into());
        let told = serde_json::to_value(&document).unwrap();
        let expires = expires.map(|expires| Time(expires).to_string());
        let key = serde_json::json!({
            "site": "plant", "since": Time(MADE).to_string(), "expires": expires, "days_left": days_left,
        });
        assert_eq!(told["api_keys"], serde_json::json!([key]));
        assert!(told["robots"][0].get("reads_with_key").is_none(), "{told}");
        assert_eq!(report.warnings.iter().any(|warning| warning.contains(words)), warned);
        let html = page::html(&report, &document, None);
        assert!(html.contains(&format!("its API key {words}")) && html.contains("read with the API key"), "{html}");
        assert_eq!(html.contains("The robot is well, nothing to do"), !warned);
        let figures = format!(" api_key_days_left={days_left};30:;7:");
        assert!(judged(&report).line().ends_with(&figures), "{}", judged(&report).line());
    };
    check(Some(MADE + 100 * DAY), 100, "ends on 2027-03-02 (in 100 days)", false);
    check(Some(MADE + 29 * DAY), 29, "ends on 2026-12-21 (in 29 days)", true);
    check(Some(MADE - DAY), -1, "has ended on 2026-11-21", true);
    check(None, 365, "ends on 2027-11-22 at the latest (in 365 days)", false);
}

#[test]
fn where_no_key_is_kept_nothing_speaks_of_keys() {
    let report = report(Ok(&config(INGEST)), &holdings(Vec::new()), MADE);
    assert!(!judged(&report).line().contains("api_key"));
    let document = Status::of(&report, "/c".into(), "/s".into());
    assert_eq!(serde_json::to_value(&document).unwrap().get("api_keys"), None);
    assert!(!page::html(&report, &document, None).contains("API key"));
}
