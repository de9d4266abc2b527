//! The variables of the environment that are honoured, read once.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::PathBuf,
};

/// Every variable that has a meaning here. The command line's own
/// `ROBOCRED_*` twins of flags stand here too, so that there is one list.
const HONOURED: [&str; 20] = [
    "CONFIGURATION_DIRECTORY",
    "CREDENTIALS_DIRECTORY",
    "HOME",
    "NOTIFY_SOCKET",
    "NO_COLOR",
    "ROBOCRED_COLOR",
    "ROBOCRED_CONFIG",
    "ROBOCRED_JSON",
    "ROBOCRED_LOG_FORMAT",
    "ROBOCRED_NON_INTERACTIVE",
    "ROBOCRED_QUIET",
    "ROBOCRED_STATE_DIR",
    "ROBOCRED_STORE",
    "ROBOCRED_VERBOSE",
    "STATE_DIRECTORY",
    "USERPROFILE",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "XDG_CONFIG_HOME",
    "XDG_STATE_HOME",
];

/// A snapshot of the honoured variables. A variable that is set to nothing
/// counts as not set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    variables: BTreeMap<&'static str, OsString>,
}

impl Environment {
    /// What the process was started with. The one reading of the environment.
    #[must_use]
    pub fn capture() -> Self {
        Self::of(HONOURED.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
    }

    /// A snapshot built by hand.
    #[must_use]
    pub fn of<V: Into<OsString>>(variables: impl IntoIterator<Item = (&'static str, V)>) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name, value.into()));
        Self { variables: variables.filter(|(_, value)| !value.is_empty()).collect() }
    }

    /// The variable's value, unless it is not set, empty or not honoured.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(name).map(OsString::as_os_str)
    }

    /// The home directory; `USERPROFILE` is its name on Windows.
    pub(super) fn home(&self) -> Option<PathBuf> {
        self.absolute("HOME").or_else(|| self.absolute("USERPROFILE"))
    }

    /// As [`Environment::get`], as a path.
    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from)
    }

    /// An absolute path; a relative one is ignored, as the XDG Base Directory
    /// Specification asks.
    pub(super) fn absolute(&self, name: &str) -> Option<PathBuf> {
        self.path(name).filter(|path| path.is_absolute())
    }

    /// The first of the directories that systemd passes, separated by colons
    /// (systemd.exec(5), `RuntimeDirectory=` and following).
    pub(super) fn first_directory(&self, name: &str) -> Option<PathBuf> {
        std::env::split_paths(self.get(name)?).find(|path| path.is_absolute())
    }
}
