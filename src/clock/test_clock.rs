//! A clock that runs faster, for tests in which real processes live for years.
//!
//! Only with the feature `test-clock`. Owns the file in which the processes of
//! one test share a clock: one line, `REAL VIRTUAL RATE`, two moments in
//! seconds since 1970 and how much faster than real time it runs from there
//! on. Whoever changes it replaces the whole file by a rename. Leaves out who
//! asks for the time. A file that cannot be read ends the process: a test with
//! the wrong time would say nothing.

use std::{
    cell::RefCell,
    env, fmt, fs,
    path::{Path, PathBuf},
    str::FromStr,
    sync::OnceLock,
    time::Duration,
};

use time::OffsetDateTime;

/// The variable that names the file.
pub const VARIABLE: &str = "ROBOCRED_TEST_CLOCK";

/// So that what looks at the clock often does not spin.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);

/// How virtual time follows from real time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setting {
    /// A moment of real time, in seconds since 1970.
    pub real: f64,
    /// What the clock shows at that moment, in seconds since 1970.
    pub shown: f64,
    /// How much faster than real time it runs.
    pub rate: f64,
}

impl Setting {
    /// What the clock shows at a moment of real time.
    #[must_use]
    pub fn at(&self, real: OffsetDateTime) -> OffsetDateTime {
        let shown = self.shown + (seconds(real) - self.real) * self.rate;
        OffsetDateTime::UNIX_EPOCH + time::Duration::seconds_f64(shown)
    }

    /// A clock that shows `shown` now, and from then on runs at `rate`.
    #[must_use]
    pub fn from_now(shown: OffsetDateTime, rate: f64) -> Self {
        Self::from(super::real(), shown, rate)
    }

    fn from(real: OffsetDateTime, shown: OffsetDateTime, rate: f64) -> Self {
        Self { real: seconds(real), shown: seconds(shown), rate }
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// Those of writing it beside the old one and of the rename.
    pub fn write(&self, file: &Path) -> std::io::Result<()> {
        let new = file.with_extension("new");
        fs::write(&new, self.to_string())?;
        fs::rename(new, file)
    }

    fn pause(&self, wall: Duration) -> Duration {
        if self.rate > 1.0 { wall.div_f64(self.rate).max(SHORTEST_PAUSE).min(wall) } else { wall }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { real, shown, rate } = self;
        writeln!(f, "{real:.6} {shown:.6} {rate}")
    }
}

impl FromStr for Setting {
    type Err = String;

    /// # Errors
    /// The text, if it is not three numbers.
    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        match numbers[..] {
            [real, shown, rate] if numbers.iter().all(|number| number.is_finite()) => Ok(Self { real, shown, rate }),
            _ => Err(text.to_owned()),
        }
    }
}

fn seconds(moment: OffsetDateTime) -> f64 {
    (moment - OffsetDateTime::UNIX_EPOCH).as_seconds_f64()
}

thread_local! {
    static FOLLOWED: RefCell<Option<PathBuf>> = const { RefCell::new(None) };
}

/// This thread follows the clock in this file from now on, so that a test can
/// hold an appliance with a clock of its own beside tests without one.
pub fn follow(file: &Path) {
    FOLLOWED.set(Some(file.to_owned()));
}

/// What is to be shown at this moment of real time.
pub(super) fn shown(real: OffsetDateTime) -> OffsetDateTime {
    setting().map_or(real, |setting| setting.at(real))
}

/// How long to rest for a time of the clock that is followed.
pub(super) fn pause(wall: Duration) -> Duration {
    setting().map_or(wall, |setting| setting.pause(wall))
}

/// How far the clock that is followed goes on while so much time really passes.
pub(super) fn goes_on(real: Duration) -> Duration {
    // A clock that stands still ends no wait too early.
    setting().map_or(real, |setting| real.mul_f64(setting.rate.max(1.0)))
}

fn setting() -> Option<Setting> {
    static NAMED: OnceLock<Option<PathBuf>> = OnceLock::new();
    let named = || NAMED.get_or_init(|| env::var_os(VARIABLE).map(PathBuf::from)).clone();
    let file = FOLLOWED.with_borrow(Clone::clone).or_else(named)?;
    let read = fs::read_to_string(&file).map_err(|error| error.to_string()).and_then(|text| text.parse());
    Some(read.unwrap_or_else(|problem| panic!("the test clock {}: {problem:?}", file.display())))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const START: OffsetDateTime = datetime!(2026-11-23 12:00 UTC);

    #[test]
    fn the_clock_runs_faster_from_the_moment_it_was_set() {
        let check = |rate: f64, real: time::Duration, expected: time::Duration| {
            let setting = Setting::from(START, START + time::Duration::DAY, rate);
            let read: Setting = setting.to_string().parse().unwrap();
            let off = read.at(START + real) - (START + time::Duration::DAY + expected);
            assert!(off.abs() < time::Duration::milliseconds(20), "{rate} {real}: {off}");
        };
        check(1.0, time::Duration::HOUR, time::Duration::HOUR);
        check(8640.0, time::Duration::seconds(10), time::Duration::DAY);
        check(8640.0, -time::Duration::seconds(10), -time::Duration::DAY);
        check(0.0, time::Duration::HOUR, time::Duration::ZERO);
    }

    #[test]
    fn what_is_no_setting_is_refused() {
        for text in ["", "1 2", "1 2 3 4", "1 2 x", "NaN 1 1", "inf 1 1"] {
            assert!(text.parse::<Setting>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn pauses_are_shorter_but_never_nothing() {
        let check = |rate: f64, wall: u64, expected: u64| {
            let setting = Setting { real: 0.0, shown: 0.0, rate };
            let expected = Duration::from_millis(expected);
            assert_eq!(setting.pause(Duration::from_millis(wall)), expected, "{rate} {wall}");
        };
        check(1.0, 60_000, 60_000);
        check(0.0, 60_000, 60_000);
        check(60.0, 60_000, 1_000);
        check(8640.0, 60_000, 50);
        check(8640.0, 20, 20);
    }

    #[test]
    fn a_thread_follows_its_own_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("clock");
        assert!(setting().is_none());
        let later = Setting { real: 0.0, shown: 86_400.0, rate: 1.0 };
        later.write(&file).unwrap();
        std::thread::scope(|scope| {
            let followed = scope.spawn(|| {
                follow(&file);
                shown(START)
            });
            assert_eq!(followed.join().unwrap(), START + time::Duration::DAY);
        });
        assert_eq!(shown(START), START);
    }
}
