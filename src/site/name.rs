//! The names of sites and robots.

use std::{fmt, str::FromStr};

use super::Error;

/// The longest site or robot name, so that `NAME-gN` still fits the 64
/// characters an appliance may be expected to take.
pub const LONGEST_NAME: usize = 56;

fn check_name(what: &'static str, given: &str) -> Result<(), Error> {
    let refuse = |reason| Err(Error::Name { what, given: given.to_owned(), reason });
    if given.is_empty() {
        return refuse("it is empty");
    }
    if given.len() > LONGEST_NAME {
        return refuse("it is longer than 56 characters");
    }
    if !given.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
        return refuse("only A-Z a-z 0-9 . _ - are allowed");
    }
    if given.bytes().all(|b| b == b'.') {
        return refuse("it consists of dots only");
    }
    if let Some((_, tail)) = given.rsplit_once("-g")
        && !tail.is_empty()
        && tail.bytes().all(|b| b.is_ascii_digit())
    {
        return refuse("it ends in -g and digits, which marks a generation");
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(String);

        impl $type {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = Error;

            fn from_str(given: &str) -> Result<Self, Error> {
                check_name($what, given)?;
                Ok(Self(given.to_owned()))
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// The name of one configured appliance: 1 to 56 of `[A-Za-z0-9._-]`,
    /// not dots only, not ending in `-g` and digits. Safe as a file name.
    SiteName, "site"
}
name! {
    /// The name of one robot within its site; the same rules as [`SiteName`].
    RobotName, "robot"
}

/// `SITE/ROBOT`, the name by which a person says which robot is meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RobotId {
    /// The site.
    pub site: SiteName,
    /// The robot within the site.
    pub robot: RobotName,
}

impl FromStr for RobotId {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self, Error> {
        let (site, robot) = given.split_once('/').ok_or_else(|| Error::RobotId { given: given.to_owned() })?;
        Ok(Self { site: site.parse()?, robot: robot.parse()? })
    }
}

impl fmt::Display for RobotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.site, self.robot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_refused() {
        let too_long = "x".repeat(LONGEST_NAME + 1);
        for name in ["", ".", "..", "a/b", "a b", "ä", "a\n", "x-g2", "-g1", "a;b", &too_long] {
            assert!(name.parse::<SiteName>().is_err(), "{name:?} was accepted");
        }
        let longest = "x".repeat(LONGEST_NAME);
        for name in ["a", "plant-a", "A.b_c-9", "x-g", "x-g2b", "-g", &longest] {
            assert!(name.parse::<RobotName>().is_ok(), "{name:?} was refused");
        }
    }
}
