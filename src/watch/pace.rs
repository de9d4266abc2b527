//! How the clocks go, and when to look at them next. Pure.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::{Duration, Instant},
};

use time::OffsetDateTime;

use crate::{clock, site::SiteName};

/// The longest that the loop rests before it looks at the clock.
pub const LOOK_EVERY: Duration = Duration::from_mins(1);
/// The least pause without an event.
const LEAST_PAUSE: Duration = Duration::from_secs(1);
/// How far the two clocks may differ between two looks: more is a suspend, or a clock that was set.
const DRIFT: Duration = Duration::from_secs(90);
/// Over how long the jobs are spread that became due while nobody looked.
const SPREAD: u64 = 10 * 60;

/// The last look at the wall clock and at the one that never jumps, which stands still in a suspended machine.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    wall: OffsetDateTime,
    steady: Instant,
}

impl Pace {
    /// From here on.
    pub fn from(wall: OffsetDateTime, steady: Instant) -> Self {
        Self { wall, steady }
    }

    /// How far the wall clock went, if that is not what has passed since the last look.
    pub fn leap(&mut self, wall: OffsetDateTime, steady: Instant) -> Option<time::Duration> {
        let before = std::mem::replace(self, Self { wall, steady });
        let gone = wall - before.wall;
        let passed = steady.saturating_duration_since(before.steady);
        let agree = Duration::try_from(gone)
            .is_ok_and(|gone| clock::pause(gone).abs_diff(passed) <= clock::pause(DRIFT))
            || gone.is_negative() && gone.unsigned_abs() + passed <= clock::pause(DRIFT);
        (!agree).then_some(gone)
    }
}

/// How long the jobs of a site wait after a suspend: 0 to 10 minutes, always the same for a site of one inventory.
pub fn jitter(store_id: &str, site: &SiteName) -> time::Duration {
    let mut hasher = DefaultHasher::new();
    (store_id, site.as_str()).hash(&mut hasher);
    time::Duration::seconds(i64::try_from(hasher.finish() % (SPREAD + 1)).unwrap_or_default())
}

/// How long to rest: until `next` by the wall clock, but neither longer than `longest` nor busily.
pub fn rest(now: OffsetDateTime, next: Option<OffsetDateTime>, longest: Duration) -> Duration {
    let until = next.map_or(longest, |next| Duration::try_from(next - now).unwrap_or(Duration::ZERO));
    until.min(longest).max(LEAST_PAUSE.min(longest))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-22 03:00 UTC);

    #[test]
    fn a_leap_is_what_the_steady_clock_does_not_know_of() {
        let check = |gone: i64, passed: u64, leapt: bool| {
            let steady = Instant::now();
            let mut pace = Pace::from(NOW, steady);
            let wall = NOW + time::Duration::seconds(gone);
            let leap = pace.leap(wall, steady + Duration::from_secs(passed));
            assert_eq!(leap, leapt.then_some(wall - NOW), "{gone} {passed}");
            // The next look begins from here.
            assert_eq!(pace.leap(wall, steady + Duration::from_secs(passed)), None);
        };
        check(60, 60, false);
        check(150, 60, false);
        check(151, 60, true);
        check(0, 90, false);
        check(0, 91, true);
        check(-30, 60, false);
        check(-31, 60, true);
        check(8 * 3600, 60, true);
        check(-365 * 86_400, 60, true);
    }

    #[test]
    fn the_spread_is_of_the_site_and_within_ten_minutes() {
        let site = |n: u32| format!("plant-{n}").parse::<SiteName>().unwrap();
        let all: Vec<_> = (0..1000).map(|n| jitter("store", &site(n)).whole_seconds()).collect();
        assert!(all.iter().all(|seconds| (0..=600).contains(seconds)));
        for tenth in 0..10 {
            let within = all.iter().filter(|seconds| (tenth * 60..=(tenth + 1) * 60).contains(*seconds)).count();
            assert!((50..200).contains(&within), "{within} in minute {tenth}");
        }
        assert_eq!(jitter("store", &site(1)), jitter("store", &site(1)));
        assert_ne!(jitter("store", &site(1)), jitter("other", &site(1)));
    }

    #[test]
    fn a_rest_is_neither_long_nor_busy() {
        let check = |next: Option<i64>, millis: u64| {
            let next = next.map(|seconds| NOW + time::Duration::seconds(seconds));
            assert_eq!(rest(NOW, next, LOOK_EVERY), Duration::from_millis(millis), "{next:?}");
        };
        check(None, 60_000);
        check(Some(3600), 60_000);
        check(Some(20), 20_000);
        check(Some(1), 1_000);
        check(Some(0), 1_000);
        check(Some(-3600), 1_000);
        assert_eq!(rest(NOW, None, Duration::from_millis(200)), Duration::from_millis(200));
    }
}
