//! Those who come late: with a support token, and to a connector.

use std::collections::BTreeMap;

use serde_json::Value;
use time::{Duration, OffsetDateTime};

use super::plant::Plant;
use crate::{rotate::with_token, seed::Seed, world::Ran};

/// The latest that somebody comes, in hours: within what a renewal window leaves.
const LATEST: usize = 48;

pub struct People {
    seed: Seed,
    /// Whom somebody is on the way to, and when they arrive.
    coming: BTreeMap<String, OffsetDateTime>,
    /// Whether the late site has a token.
    token: bool,
}

impl People {
    pub fn new(seed: u64) -> Self {
        Self { seed: Seed::new(seed ^ 0x5eed), coming: BTreeMap::new(), token: false }
    }

    /// Does what a person does who looks at this status.
    pub fn live(&mut self, plant: &Plant, status: &Value) {
        let now = plant.now();
        let robots = status["robots"].as_array().unwrap();
        let asks = |site: &str, code: &str| {
            robots.iter().filter(|robot| robot["site"] == site).any(|robot| {
                let raised = robot["attention"].as_array().unwrap();
                raised.iter().any(|raised| raised["code"] == code)
            })
        };
        let due = robots.iter().any(|robot| robot["site"] == "late" && robot["due"] == true);
        if self.arrive("token", asks("late", "token-needed") && !self.token, now) {
            self.token = came(&with_token(&plant.world, &["token", "set", "late", "--token-stdin"]));
        }
        // It was for that one time.
        if self.token && !due && !asks("late", "token-needed") {
            self.token = !came(&plant.world.run(&["token", "clear", "late"]));
        }
        if self.arrive("pair", asks("byhand", "deliver-by-hand"), now) {
            came(&plant.world.run(&["export", "byhand/twelve", "--confirm"]));
        }
    }

    /// Whether somebody who is asked for has come by now.
    fn arrive(&mut self, what: &str, asked: bool, now: OffsetDateTime) -> bool {
        if !asked {
            self.coming.remove(what);
            return false;
        }
        let hours = i64::try_from(self.seed.below(LATEST)).unwrap();
        let at = *self.coming.entry(what.to_owned()).or_insert(now + Duration::hours(hours));
        if now >= at {
            self.coming.remove(what);
        }
        now >= at
    }
}

/// Whether somebody could do what they came for. A child may be at work there right now; then they come again.
fn came(ran: &Ran) -> bool {
    assert!(matches!(ran.code(), Some(0 | 10)), "{ran:#?}");
    ran.code() == Some(0)
}
