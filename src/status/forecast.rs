//! What lies ahead: which rotations open within a time, which of them need a support token, and which API keys end.
//!
//! A robot that is not configured is never rotated and so not foreseen. Pure.

use time::Duration;

use super::{Line, Report, api_keys};
use crate::site::{RobotId, SiteName};

/// What lies ahead within a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forecast {
    /// The robots whose rotation opens or is open by then, the next one first.
    pub rotations: Vec<RobotId>,
    /// Those of them that need a support token, which is not at hand.
    pub tokens: Vec<RobotId>,
    /// The sites whose API key has ended by then.
    pub api_keys: Vec<SiteName>,
}

/// What lies ahead of the report within `horizon`. Pure.
#[must_use]
pub fn forecast(report: &Report, horizon: Duration) -> Forecast {
    let until = report.at.saturating_add(horizon);
    let opens = |line: &&Line| line.configured && line.window.is_some_and(|window| window.is_due(until));
    let mut due: Vec<&Line> = report.lines.iter().filter(opens).collect();
    due.sort_by_key(|line| line.window.map(|window| window.due_at));
    let ids = |lines: &mut dyn Iterator<Item = &Line>| lines.map(|line| line.id.clone()).collect();
    let ending = api_keys::kept(&report.sites).filter(|(_, key)| api_keys::ends_within(key, horizon, report.at));
    Forecast {
        rotations: ids(&mut due.iter().copied()),
        tokens: ids(&mut due.iter().copied().filter(|line| line.needs_token.is_some())),
        api_keys: ending.map(|(site, _)| site.clone()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::{
        config::Config,
        credential::State,
        status::{
            Holdings, report,
            tests::{MADE, config, holdings, id, record, row, site},
        },
    };

    fn names(ids: &[RobotId]) -> Vec<&str> {
        ids.iter().map(|id| id.robot.as_str()).collect()
    }

    fn at(config: &Config, holdings: &Holdings, now: OffsetDateTime, days: i64) -> Forecast {
        forecast(&report(Ok(config), holdings, now), Duration::days(days))
    }

    /// `keeper` lives longer than `lucidum`.
    fn both() -> Holdings {
        holdings(vec![record("keeper", 1, State::Active, 365), record("lucidum", 1, State::Active, 200)])
    }

    #[test]
    fn what_opens_within_the_time_is_told_in_the_order_of_opening() {
        let (config, holdings) = (config("token"), both());
        let report = report(Ok(&config), &holdings, MADE);
        let due = |robot| report.lines.iter().find(|line| line.id == id(robot)).unwrap().window.unwrap().due_at;
        let check = |now, days, expected: &[&str]| {
            let ahead = at(&config, &holdings, now, days);
            assert_eq!((names(&ahead.rotations), names(&ahead.tokens)), (expected.to_vec(), expected.to_vec()));
        };
        check(MADE, 30, &[]);
        check(due("lucidum") - Duration::days(30), 30, &["lucidum"]);
        check(due("lucidum") - Duration::days(30) - Duration::SECOND, 30, &[]);
        check(MADE, 365, &["lucidum", "keeper"]);
        // What is open or over is told too.
        check(MADE + Duration::days(300), 1, &["lucidum", "keeper"]);
        check(MADE + Duration::days(500), 1, &["lucidum", "keeper"]);
    }

    #[test]
    fn which_of_them_need_a_token() {
        let check = |registrar: &str, change: &dyn Fn(&mut Holdings), tokens: &[&str]| {
            let mut holdings = both();
            change(&mut holdings);
            assert_eq!(names(&at(&config(registrar), &holdings, MADE, 365).tokens), tokens);
        };
        check("token", &|_| (), &["lucidum", "keeper"]);
        check("token", &|holdings| holdings.sites = vec![site(Some(MADE))], &[]);
        check("keeper", &|_| (), &[]);
        check("keeper", &|holdings| drop(holdings.records.remove(0)), &["lucidum"]);
        let sent = |holdings: &mut Holdings| holdings.records.push(record("lucidum", 2, State::Sending, 200));
        check("token", &sent, &["keeper"]);
    }

    #[test]
    fn which_api_keys_end_by_then() {
        let mut holdings = both();
        let expires = Some(MADE + Duration::days(20));
        holdings.sites[0].api_key = Some(crate::credential::KeptKey { since: MADE, expires });
        let keys = |days| at(&config("token"), &holdings, MADE, days).api_keys;
        assert_eq!((keys(20), keys(21)), (vec![], vec!["plant".parse().unwrap()]));
    }

    #[test]
    fn nothing_is_foreseen_of_what_is_not_configured() {
        let none = Config::from_text("/robocred.toml".as_ref(), None).unwrap();
        let known = Holdings { robots: vec![row(&id("lucidum"), crate::site::Role::Reader)], ..both() };
        assert_eq!(at(&none, &known, MADE + Duration::days(400), 30), Forecast::default());
    }
}
