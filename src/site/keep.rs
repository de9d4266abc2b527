//! Which older files of a stream stay.

use std::{fmt, str::FromStr};

use time::Duration;

use super::Error;
use crate::renewal::{format_duration, parse_duration};

/// Which older files of a stream stay when a new one is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// So many, the new one among them; at least 1.
    Count(u32),
    /// Those that are younger; the newest complete one always.
    Age(Duration),
}

impl FromStr for Keep {
    type Err = Error;

    /// A number of files, or an age.
    fn from_str(given: &str) -> Result<Self, Error> {
        let wrong = || Error::Keep { given: given.to_owned() };
        if !given.is_empty() && given.bytes().all(|byte| byte.is_ascii_digit()) {
            return given.parse().ok().filter(|&count| count > 0).map(Self::Count).ok_or_else(wrong);
        }
        parse_duration(given).map(Self::Age).map_err(|_| wrong())
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Age(age) => f.write_str(&format_duration(*age)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_or_an_age() {
        let check = |text: &str, keep: Keep| {
            assert_eq!(text.parse(), Ok(keep), "{text}");
            assert_eq!(keep.to_string(), text);
        };
        check("1", Keep::Count(1));
        check("4294967295", Keep::Count(u32::MAX));
        check("90d", Keep::Age(Duration::days(90)));
        check("36h", Keep::Age(Duration::hours(36)));
        for wrong in ["", "0", "-1", "+1", "1.5", "4294967296", "0d", "-1d", "d", "all", "30 files", "1/3"] {
            assert_eq!(wrong.parse::<Keep>(), Err(Error::Keep { given: wrong.to_owned() }));
        }
    }
}
