//! The configuration: one TOML file and a few variables, read into [`Site`]s
//! that are always valid.
//!
//! Owns where the configuration and the state are looked for ([`Paths`]), what
//! the file may say, its defaults and cross-checks ([`Config`]), and changing
//! it without touching what a person wrote ([`Editor`]). The only place of the
//! library that reads the environment ([`Environment::capture`]). Leaves out
//! the secrets that the file points to, and what has happened to the robots it
//! names.
//!
//! On failure nothing is changed: loading reports every problem of the file
//! together, and an edit either replaces the whole file or leaves it alone.

mod edit;
mod environment;
mod file;
mod machine;
mod paths;
mod problem;
mod read;
mod resolve;
mod show;
mod write;

use std::path::{Path, PathBuf};

pub use edit::{Editor, Overrides};
pub use environment::Environment;
pub use paths::{Origin, Paths, Seal};
pub use problem::{Place, Problem, Problems};
pub use resolve::Defaults;
pub use show::View;

use crate::site::{Robot, RobotId, Site, SiteName, StoreKind};

/// The version of the file format that this program reads and writes.
pub const VERSION: i64 = 1;

/// The resolved configuration: every default applied, every check passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file it was read from, or would be read from.
    pub path: PathBuf,
    /// Whether that file exists; a missing one is an empty configuration.
    pub exists: bool,
    /// What robots inherit.
    pub defaults: Defaults,
    /// The kind of secret store asked for; `None` for `auto`.
    pub store: Option<StoreKind>,
    /// A file with the sealing key, absolute.
    pub seal_key_file: Option<PathBuf>,
    /// A file with a passphrase for sealing, absolute.
    pub seal_passphrase_file: Option<PathBuf>,
    /// The sites, in the order of the file.
    pub sites: Vec<Site>,
}

impl Config {
    /// Reads and resolves the file that `paths` found. A missing file is an
    /// empty configuration. Reads the disk, never the network.
    ///
    /// # Errors
    /// All [`Problems`] of the file together: with its owner or mode, its
    /// syntax, or what it says.
    pub fn load(paths: &Paths) -> Result<Self, Problems> {
        Self::load_file(&paths.config)
    }

    /// As [`Config::load`], from a file named directly.
    pub fn load_file(path: &Path) -> Result<Self, Problems> {
        let text = read::text(path).map_err(|problem| Problems::new(path, vec![problem]))?;
        Self::from_text(path, text.as_deref())
    }

    /// Resolves a text as if it stood in the file at `path`; `None` for a
    /// missing file. No I/O.
    pub fn from_text(path: &Path, text: Option<&str>) -> Result<Self, Problems> {
        resolve::resolve(path, text).map_err(|problems| Problems::new(path, problems))
    }

    /// The site of that name, if configured.
    #[must_use]
    pub fn site(&self, name: &SiteName) -> Option<&Site> {
        self.sites.iter().find(|site| &site.name == name)
    }

    /// The robot of that name with its site, if configured.
    #[must_use]
    pub fn robot(&self, id: &RobotId) -> Option<(&Site, &Robot)> {
        let site = self.site(&id.site)?;
        Some((site, site.robot(&id.robot)?))
    }
}

/// Why the configuration could not be found, read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file says something that cannot be; fix the file.
    #[error(transparent)]
    Invalid(#[from] Problems),
    /// No flag, variable or home directory says where to look.
    #[error("there is no place for the {wanted}: {variable} and HOME are not set")]
    NoPlace {
        /// `configuration` or `state`.
        wanted: &'static str,
        /// The variable that would name the place.
        variable: &'static str,
    },
    /// What is to be added contradicts what the file says already.
    #[error("{key} is {configured} in the configuration, not {given}")]
    Differs {
        /// The key, for example `sites.plant-a.url`.
        key: String,
        /// What the file says.
        configured: String,
        /// What was to be added.
        given: String,
    },
    /// A robot or site to be changed is not in the file.
    #[error("{name} is not in the configuration {}", path.display())]
    Unknown {
        /// The site, or the robot as `SITE/ROBOT`.
        name: String,
        /// The file.
        path: PathBuf,
    },
    /// A path that is not UTF-8, which TOML cannot hold.
    #[error("the path {} is not UTF-8 text, so that the configuration cannot hold it", path.display())]
    NotText {
        /// The path.
        path: PathBuf,
    },
    /// The file must not be written; a person has to add the lines.
    #[error("the configuration {} cannot be written", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
        /// The TOML to add by hand.
        lines: String,
    },
    /// The disk failed.
    #[error("could not {doing} {}", path.display())]
    Io {
        /// What was being done, for example `replace`.
        doing: &'static str,
        /// The file or directory it was done to.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Error {
    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Invalid(_) => Some("correct the file, then run `robocred config check`".to_owned()),
            Self::NoPlace { variable, .. } => Some(format!("set {variable} or HOME, or name the place by its flag")),
            Self::Differs { key, .. } => Some(format!("leave the flag away, or change {key} in the file first")),
            Self::Unknown { .. } => Some("`robocred provision` adds a site and a robot".to_owned()),
            Self::ReadOnly { lines, .. } => Some(format!("add these lines by hand:\n{lines}")),
            Self::NotText { .. } => Some("use a path of plain characters".to_owned()),
            Self::Io { path, .. } => Some(format!(
                "check that the disk of {} is neither full nor read-only and that this user may write there",
                path.display()
            )),
        }
    }
}
