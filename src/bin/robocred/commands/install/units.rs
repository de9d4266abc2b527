//! The texts of the units, made from facts. Pure.
//!
//! Owns what the service may do and may not, and how a path is written where
//! systemd reads it. Leaves out where the facts come from and where the files
//! go. docs/SYSTEMD.md says why each restriction is as it is.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use crate::commands::listen::Listen;

/// The user that the system's service runs as.
pub const USER: &str = "robocred";

/// The configuration directory of the system's service.
pub const SYSTEM_CONFIG: &str = "/etc/robocred";

/// The state directory of the system's service.
pub const SYSTEM_STATE: &str = "/var/lib/robocred";

/// Whose service manager starts the units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manager {
    /// The system's.
    System,
    /// The one of the user with this home directory.
    User(PathBuf),
}

/// What the texts are made from. All paths absolute, UTF-8 and without control characters.
#[derive(Clone, Debug)]
pub struct Facts {
    pub manager: Manager,
    /// This program.
    pub program: PathBuf,
    /// The configuration file; `None` for the one that is found without being told.
    pub config: Option<PathBuf>,
    /// The state directory; `None` for the one that is found without being told.
    pub state_dir: Option<PathBuf>,
    /// The sealing key, if one is used, and whether it is there.
    pub seal_key: Option<(PathBuf, bool)>,
    /// What is written to besides the state directory.
    pub dirs: Vec<PathBuf>,
    /// The groups that exported files are given to.
    pub groups: Vec<String>,
    /// Where the page and the metrics are served.
    pub listen: Listen,
}

/// One file: its name and what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    pub name: &'static str,
    pub body: String,
}

/// Every unit, the service first.
pub fn units(facts: &Facts) -> Vec<Unit> {
    vec![
        Unit { name: "robocred.service", body: watch(facts) },
        Unit { name: "robocred-rotate.service", body: rotate(facts) },
        Unit { name: "robocred-rotate.timer", body: TIMER.to_owned() },
    ]
}

/// What makes the user of the system's service, for systemd-sysusers.
pub fn sysusers(facts: &Facts) -> String {
    let home = facts.state_dir.as_deref().unwrap_or(Path::new(SYSTEM_STATE));
    let mut text = format!("u {USER} - \"robot credentials\" {}\n", quoted(home));
    for group in &facts.groups {
        let _ = writeln!(text, "m {USER} {}", text_of(group));
    }
    text
}

/// What makes its directories, for systemd-tmpfiles. The user owns its configuration: `provision` writes there.
pub fn tmpfiles(facts: &Facts) -> String {
    let state = facts.state_dir.as_deref().unwrap_or(Path::new(SYSTEM_STATE));
    format!("d {SYSTEM_CONFIG} 0750 {USER} {USER} -\nd {} 0700 {USER} {USER} -\n", quoted(state))
}

const TIMER: &str = "\
[Unit]
Description=Replace robot credentials that are due

[Timer]
OnCalendar=hourly
# Not every machine at the full hour; a run that was missed while the machine was off is made up for.
RandomizedDelaySec=15min
Persistent=true

[Install]
WantedBy=timers.target
";

fn watch(facts: &Facts) -> String {
    let target = if facts.manager == Manager::System { "multi-user.target" } else { "default.target" };
    let mut arguments = vec!["watch".to_owned()];
    arguments.extend(facts.listen.arguments());
    let listening = if facts.listen.at.is_none() {
        "# For metrics, health and a status page: robocred install systemd --listen 127.0.0.1:9733\n"
    } else {
        ""
    };
    format!(
        "\
[Unit]
Description=Keep robot credentials alive
{network}
[Service]
Type=notify
{listening}ExecStart={start}
ExecReload=kill -HUP $MAINPID
# The service ends its own children: what one of them has begun to commit is finished.
KillMode=mixed
TimeoutStopSec=20
WatchdogSec=5min
Restart=on-failure
RestartSec=30
# A wrong command line does not heal by itself, and --exit-on-expiry means it.
RestartPreventExitStatus=2 11
{surroundings}
[Install]
WantedBy={target}
",
        network = network(facts),
        start = command(facts, &arguments),
        surroundings = surroundings(facts),
    )
}

fn rotate(facts: &Facts) -> String {
    let arguments = ["--non-interactive", "rotate", "--due", "--lock-wait", "5m"].map(str::to_owned);
    format!(
        "\
[Unit]
Description=Replace robot credentials that are due, once
{network}
[Service]
Type=oneshot
ExecStart={start}
TimeoutStartSec=1h
# 10: another run holds the lock for longer than that, and does the work.
SuccessExitStatus=10
{surroundings}",
        network = network(facts),
        start = command(facts, &arguments),
        surroundings = surroundings(facts),
    )
}

/// A user's manager knows no network target.
fn network(facts: &Facts) -> &'static str {
    match facts.manager {
        Manager::System => {
            "Wants=network-online.target\nAfter=network-online.target nss-lookup.target time-sync.target\n"
        }
        Manager::User(_) => "",
    }
}

/// The command line of this program, as `ExecStart=` takes it.
fn command(facts: &Facts, arguments: &[String]) -> String {
    let mut line = quoted(&facts.in_home(&facts.program));
    for (flag, path) in [("--config", &facts.config), ("--state-dir", &facts.state_dir)] {
        if let Some(path) = path {
            let _ = write!(line, " {flag} {}", quoted(&facts.in_home(path)).replace('$', "$$"));
        }
    }
    for argument in arguments {
        line.push(' ');
        line.push_str(argument);
    }
    line
}

impl Facts {
    /// The path with the specifier of the home directory for a user's manager, which [`quoted`] leaves alone.
    fn in_home(&self, path: &Path) -> PathBuf {
        match &self.manager {
            Manager::User(home) => {
                path.strip_prefix(home).map_or_else(|_| path.to_owned(), |below| Path::new(HOME).join(below))
            }
            Manager::System => path.to_owned(),
        }
    }

    /// Whether anything it needs lies where people live.
    fn needs_homes(&self) -> bool {
        let named = [&self.config, &self.state_dir].into_iter().flatten().chain(&self.dirs).chain([&self.program]);
        named.into_iter().any(|path| HOMES.iter().any(|home| path.starts_with(home)))
    }
}

/// What `ProtectHome=` hides.
const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];

/// The specifier of the home directory.
const HOME: &str = "%h";

/// Who it runs as, and what it may touch.
fn surroundings(facts: &Facts) -> String {
    if facts.manager != Manager::System {
        return format!("\n{ANYWHERE}");
    }
    let mut text = format!("User={USER}\n");
    if facts.state_dir.is_none() {
        text.push_str("StateDirectory=robocred\nStateDirectoryMode=0700\n");
    }
    text.push_str("ConfigurationDirectory=robocred\nConfigurationDirectoryMode=0750\n");
    text.push_str(&seal_key(facts));
    let home = if facts.needs_homes() { "read-only" } else { "yes" };
    let _ = write!(text, "\n# Hooks run in here too.\n{ANYWHERE}{SYSTEM}ProtectHome={home}\n");
    // Where the sealing key rests, what is remembered of the state is kept beside it.
    let beside = facts.seal_key.as_ref().and_then(|(key, _)| key.parent());
    if let Some(state) = &facts.state_dir {
        let _ = writeln!(text, "ReadWritePaths={}", listed(state, ""));
    }
    let beside = beside.into_iter().filter(|dir| !facts.dirs.iter().any(|listed| listed == dir));
    for dir in beside.chain(facts.dirs.iter().map(PathBuf::as_path)) {
        let _ = writeln!(text, "ReadWritePaths={}", listed(dir, "-"));
    }
    text
}

fn seal_key(facts: &Facts) -> String {
    let Some((path, there)) = &facts.seal_key else { return String::new() };
    let credential = format!("LoadCredential=robocred.seal:{}\n", path_text(path).replace('%', "%%"));
    if *there {
        return credential;
    }
    let path = path.display();
    format!(
        "# The sealing key is made by the first `robocred provision`, {path}, and read from there. Once it is there,\n\
         # `robocred install systemd --write` has systemd hand it over; before that, the service would not start.\n\
         #{credential}"
    )
}

/// Restrictions that every service manager can set.
const ANYWHERE: &str = "\
UMask=0077
LimitCORE=0
NoNewPrivileges=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
# Files are given to the group that the configuration names, and a process lowers its own limits.
SystemCallFilter=@chown setrlimit
SystemCallErrorNumber=EPERM
";

/// Restrictions that only the system's can set.
const SYSTEM: &str = "\
CapabilityBoundingSet=
AmbientCapabilities=
KeyringMode=private
DevicePolicy=closed
PrivateDevices=yes
PrivateTmp=yes
ProcSubset=pid
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RemoveIPC=yes
ProtectSystem=strict
";

/// A word of a command line, and a field of sysusers.d and tmpfiles.d: C-style
/// escapes within quotes, and specifiers.
fn quoted(path: &Path) -> String {
    let text = path_text(path);
    let (home, text) = match text.strip_prefix(HOME) {
        Some(below) => (HOME, below),
        None => ("", text.as_str()),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,@:=".contains(c);
    if text.chars().all(plain) {
        return format!("{home}{text}");
    }
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{home}{}\"", escaped.replace('%', "%%"))
}

fn text_of(word: &str) -> String {
    quoted(Path::new(word))
}

/// A member of a list of paths: quotes, but a backslash stands for itself, so
/// that a quotation mark is written within the other kind.
fn listed(path: &Path, prefix: &str) -> String {
    let text = format!("{prefix}{}", path_text(path).replace('%', "%%"));
    let mut written = String::new();
    for (number, piece) in text.split('"').enumerate() {
        if number > 0 {
            written.push_str("'\"'");
        }
        if piece.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+,@:=%".contains(c)) {
            written.push_str(piece);
        } else {
            let _ = write!(written, "\"{piece}\"");
        }
    }
    written
}

fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
