//! What the appliance saw of a run, and what it has afterwards: I2, I7, I8, I11, I13.

use std::collections::HashSet;

use robocred::{
    credential::{Record, plan::MOST_TRIES},
    simulator::{Request, Robot},
    x509::Fingerprint,
};
use serde_json::Value;

use super::{fingerprint_of, text};
use crate::world::World;

/// I2: every robot on the appliance is named by the inventory and by `status`.
pub fn only_known_robots(world: &World, records: &[Record], made_elsewhere: &HashSet<Fingerprint>) {
    robots_are_known(&world.simulator.robots(), &[&world.status()], records, made_elsewhere);
}

/// As [`only_known_robots`], of any appliance and what `status` says of its robots.
pub fn robots_are_known(
    robots: &[Robot],
    status: &[&Value],
    records: &[Record],
    made_elsewhere: &HashSet<Fingerprint>,
) {
    let mut named: HashSet<String> = status.iter().map(|robot| text(&robot["fingerprint_sha256"])).collect();
    for (robot, list) in status.iter().flat_map(|robot| ["previous", "leftovers"].map(|list| (robot, list))) {
        let entries = robot[list].as_array().into_iter().flatten();
        named.extend(entries.map(|entry| text(&entry["fingerprint_sha256"])));
    }
    for robot in robots {
        if made_elsewhere.contains(&robot.fingerprint) {
            continue;
        }
        let fingerprint = robot.fingerprint.to_string();
        assert!(named.contains(&fingerprint), "I2: status does not name {robot:?}: {status:#?}");
        let known = records
            .iter()
            .any(|record| record.attempt.is_some() && fingerprint_of(record).as_deref() == Some(fingerprint.as_str()));
        assert!(known, "I2: no row with an attempt names {robot:?}");
    }
}

/// I7 and I8 for the requests of one run: few tries, and the token on one path only.
pub fn bounded_tries_and_token(requests: &[Request]) {
    let count = |method: &str, is: fn(&str) -> bool| {
        requests.iter().filter(|request| request.method == method && is(&request.path)).count()
    };
    let posts = count("POST", |path| path == "/v1/robots");
    let lists = count("GET", |path| path == "/v1/robots");
    let removals = count("DELETE", |path| path.starts_with("/v1/robots/"));
    let bearers = requests.iter().filter(|request| request.bearer).count();
    // A name that had to be given up is followed by the next one while the run's patience lasts.
    assert!(posts <= 2 * MOST_TRIES as usize, "I7: {posts} registrations in one run");
    // Sent again where its answer was lost and the old certificate is still let in.
    assert!(removals <= MOST_TRIES as usize, "I7: {removals} removals in one run");
    assert!(lists <= 3 + removals, "I8: {lists} lists in one run");
    assert_eq!(bearers, posts + lists + removals, "I8: the token was sent elsewhere: {requests:#?}");
}

/// I11: a server whose key is not the pinned one sees no request, and none
/// after a registration during which its key changed.
pub fn nothing_to_a_stranger(world: &World, trusted_before: bool, requests: &[Request]) {
    if !trusted_before {
        assert!(requests.is_empty(), "I11: {requests:#?}");
    } else if !world.trusts_the_appliance() {
        let post = requests.iter().rposition(|request| request.method == "POST" && request.path == "/v1/robots");
        assert_eq!(post.map(|at| at + 1), Some(requests.len()), "I11: {requests:#?}");
    }
}

/// I13: nothing was asked for but reads, and the robots are the same.
pub fn only_read(world: &World, before: &[Fingerprint], requests: &[Request]) {
    let robots: Vec<_> = world.simulator.robots().iter().map(|robot| robot.fingerprint).collect();
    assert_eq!(robots, before, "I13: the robots changed");
    assert!(requests.iter().all(|request| !request.path.starts_with("/v1/robots")), "I13: {requests:#?}");
    assert!(requests.iter().all(|request| matches!(request.method.as_str(), "GET" | "POST")), "I13: {requests:#?}");
}
