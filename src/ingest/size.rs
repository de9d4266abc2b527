//! How many records are asked for at a time: fewer where that was too much, and more again where all is well.

use std::mem;

/// The fewest records that a page is made smaller to.
const FEWEST: u32 = 10;
/// So many good pages in a row, and the size grows again; twice as many each
/// time that this turned out to be too much.
const GOOD: u32 = 4;

/// The size of the next page.
pub(super) struct PageSize {
    wanted: u32,
    now: u32,
    smallest: u32,
    good: u32,
    patience: u32,
    /// Whether no page of the size it grew to has come yet.
    grown: bool,
}

impl PageSize {
    pub(super) fn new(wanted: u32) -> Self {
        Self { wanted, now: wanted, smallest: wanted, good: 0, patience: GOOD, grown: false }
    }

    pub(super) fn now(&self) -> u32 {
        self.now
    }

    /// The smallest so far.
    pub(super) fn smallest(&self) -> u32 {
        self.smallest
    }

    /// Halves the size; whether there was anything to halve.
    pub(super) fn too_large(&mut self) -> bool {
        self.good = 0;
        if mem::take(&mut self.grown) {
            self.patience = self.patience.saturating_mul(2);
        }
        let half = (self.now / 2).max(FEWEST.min(self.wanted));
        let smaller = half < self.now;
        self.now = half;
        self.smallest = self.smallest.min(half);
        smaller
    }

    /// A page of this size came whole.
    pub(super) fn good(&mut self) {
        self.grown = false;
        self.good = self.good.saturating_add(1);
        if self.good >= self.patience && self.now < self.wanted {
            self.good = 0;
            self.grown = true;
            self.now = self.now.saturating_mul(2).min(self.wanted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_and_grows_back() {
        // `-`: too large, `+`: good; the size after each.
        let check = |wanted: u32, steps: &str, expected: &[u32], smallest: u32| {
            let mut size = PageSize::new(wanted);
            let sizes: Vec<u32> = steps
                .chars()
                .map(|step| {
                    match step {
                        '-' => {
                            let before = size.now();
                            assert_eq!(size.too_large(), size.now() < before, "{wanted} {steps}");
                        }
                        _ => size.good(),
                    }
                    size.now()
                })
                .collect();
            assert_eq!((&sizes[..], size.smallest()), (expected, smallest), "{wanted} {steps}");
        };
        check(200, "+++++", &[200; 5], 200);
        check(200, "------", &[100, 50, 25, 12, 10, 10], 10);
        check(1000, "-++++++++", &[500, 500, 500, 500, 1000, 1000, 1000, 1000, 1000], 500);
        // One bad page and the counting begins anew.
        check(200, "-+++-++++", &[100, 100, 100, 100, 50, 50, 50, 50, 100], 50);
        // An appliance that never bears 100 is tried with it ever more seldom.
        check(100, "-++++-++++++++-", &[50, 50, 50, 50, 100, 50, 50, 50, 50, 50, 50, 50, 50, 100, 50], 50);
        // Never more than was asked for, never fewer where that is few already.
        check(15, "-++++", &[10, 10, 10, 10, 15], 10);
        check(7, "-", &[7], 7);
        check(1, "-", &[1], 1);
    }
}
