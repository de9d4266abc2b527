//! How many requests may go out in a second: decided on given instants.

use std::time::Duration;

use tokio::time::Instant;

use super::BURST;

/// A bucket of requests, full at first, refilled at the rate.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// When the bucket would be full again, had nothing more been asked for.
    full: Option<Instant>,
}

impl Bucket {
    /// Takes one request out; how long it has to wait. At most `rate` requests
    /// in a second after a burst of as many, but of at most [`BURST`]; 0: no limit.
    pub(super) fn take(&mut self, rate: u32, now: Instant) -> Duration {
        // How long one request takes to be refilled.
        let Some(each) = Duration::from_secs(1).checked_div(rate) else { return Duration::ZERO };
        let ahead = each * rate.min(BURST).saturating_sub(1);
        let full = self.full.map_or(now, |full| full.max(now));
        self.full = Some(full + each);
        full.duration_since(now).saturating_sub(ahead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let begin = Instant::now();
        let ms = Duration::from_millis;
        // Requests at these moments wait so long, in milliseconds.
        let check = |rate: u32, expected: &[(u64, u64)]| {
            let mut bucket = Bucket::default();
            for (index, (at, wait)) in expected.iter().enumerate() {
                assert_eq!(bucket.take(rate, begin + ms(*at)), ms(*wait), "request {index} at a rate of {rate}");
            }
        };
        check(0, &[(0, 0); 1000]);
        check(1, &[(0, 0), (0, 1000), (0, 2000), (500, 2500)]);
        check(4, &[(0, 0), (0, 0), (0, 0), (0, 0), (0, 250), (0, 500), (100, 650)]);
        // What was not asked for is saved up, but never more than a burst.
        check(2, &[(0, 0), (0, 0), (0, 500), (60_000, 0), (60_000, 0), (60_000, 500)]);

        let mut bucket = Bucket::default();
        let waited = (0..BURST).filter(|_| !bucket.take(1000, begin).is_zero()).count();
        assert_eq!((waited, bucket.take(1000, begin)), (0, ms(1)), "the burst has a bound of its own");
        // Who shares a bucket waits for what the others took, each at a rate of its own.
        assert_eq!((bucket.take(0, begin), bucket.take(10, begin)), (ms(0), ms(0)));
        let mut bucket = Bucket::default();
        assert_eq!((bucket.take(1, begin), bucket.take(2, begin), bucket.take(1, begin)), (ms(0), ms(500), ms(1500)));
    }
}
