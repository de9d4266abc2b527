//! Where the configuration and the state are looked for.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::{Environment, Error};

/// Why a place was chosen, in the order in which places are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A flag of the command line.
    Flag(&'static str),
    /// One of our own variables.
    Variable(&'static str),
    /// A variable that systemd sets for a service.
    Systemd(&'static str),
    /// An XDG variable.
    Xdg(&'static str),
    /// The directories of the system, which exist and are ours.
    System,
    /// The home directory, because nothing else was said.
    Home,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Variable(name) | Self::Systemd(name) | Self::Xdg(name) => f.write_str(name),
            Self::System => f.write_str("the system's directories"),
            Self::Home => f.write_str("the home directory"),
        }
    }
}

/// Where the sealing key may rest, besides what the configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    /// `$CREDENTIALS_DIRECTORY/robocred.seal`, when systemd passed credentials.
    pub credential: Option<PathBuf>,
    /// Where a key is made at first use. Beside the configuration file when
    /// there is no home directory.
    pub default_key_file: PathBuf,
}

/// The places in use. All absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The configuration file; it need not exist.
    pub config: PathBuf,
    /// Why that one.
    pub config_origin: Origin,
    /// The state directory; it need not exist.
    pub state_dir: PathBuf,
    /// Why that one.
    pub state_origin: Origin,
    /// Whether we run for the system: under systemd, or with the system's
    /// state directory. The store `auto` then means sealed.
    pub system: bool,
    /// Where the sealing key may rest.
    pub seal: Seal,
    /// The system's state directory, if it holds something and is not the one in use.
    pub other_system_inventory: Option<PathBuf>,
    /// Which machine this is: a digest of its id, in hex; `None` where it has none.
    pub machine: Option<String>,
}

impl Paths {
    /// Finds the places: flag, `ROBOCRED_*`, systemd's directories, XDG
    /// variables, the system's directories if they exist and are ours, the
    /// XDG defaults. Looks at the disk, creates nothing.
    ///
    /// # Errors
    /// [`Error::NoPlace`] if nothing names a place; [`Error::Io`] if a relative
    /// path is given and there is no working directory.
    pub fn resolve(config: Option<&Path>, state_dir: Option<&Path>, environment: &Environment) -> Result<Self, Error> {
        System::this().resolve(config, state_dir, environment)
    }
}

/// The part of the machine that the search looks at; another root and user in tests.
struct System<'a> {
    root: &'a Path,
    user: Option<u32>,
}

/// The name of our directories below the usual places.
const OURS: &str = "robocred";
/// The name of the configuration file.
const FILE: &str = "robocred.toml";

impl System<'_> {
    fn this() -> Self {
        Self { root: Path::new("/"), user: super::read::this_user() }
    }

    fn resolve(&self, config: Option<&Path>, state_dir: Option<&Path>, env: &Environment) -> Result<Paths, Error> {
        let system_config = self.root.join("etc").join(OURS);
        let system_state = self.root.join("var/lib").join(OURS);
        let system_is_ours = self.is_ours(&system_config.join(FILE)) && self.owns(&system_state);

        let (config, config_origin) = None
            .or_else(|| Some((config?.to_owned(), Origin::Flag("--config"))))
            .or_else(|| Some((env.path("ROBOCRED_CONFIG")?, Origin::Variable("ROBOCRED_CONFIG"))))
            .or_else(|| {
                let name = "CONFIGURATION_DIRECTORY";
                Some((env.first_directory(name)?.join(FILE), Origin::Systemd(name)))
            })
            .or_else(|| {
                let name = "XDG_CONFIG_HOME";
                Some((env.absolute(name)?.join(OURS).join(FILE), Origin::Xdg(name)))
            })
            .or_else(|| system_is_ours.then(|| (system_config.join(FILE), Origin::System)))
            .or_else(|| Some((env.home()?.join(".config").join(OURS).join(FILE), Origin::Home)))
            .ok_or(Error::NoPlace { wanted: "configuration", variable: "ROBOCRED_CONFIG" })?;
        let (state_dir, state_origin) = None
            .or_else(|| Some((state_dir?.to_owned(), Origin::Flag("--state-dir"))))
            .or_else(|| Some((env.path("ROBOCRED_STATE_DIR")?, Origin::Variable("ROBOCRED_STATE_DIR"))))
            .or_else(|| {
                let name = "STATE_DIRECTORY";
                Some((env.first_directory(name)?, Origin::Systemd(name)))
            })
            .or_else(|| {
                let name = "XDG_STATE_HOME";
                Some((env.absolute(name)?.join(OURS), Origin::Xdg(name)))
            })
            .or_else(|| system_is_ours.then(|| (system_state.clone(), Origin::System)))
            .or_else(|| Some((env.home()?.join(".local/state").join(OURS), Origin::Home)))
            .ok_or(Error::NoPlace { wanted: "state", variable: "ROBOCRED_STATE_DIR" })?;
        let (config, state_dir) = (absolute(config)?, absolute(state_dir)?);

        let uses_system_state = same(&state_dir, &system_state);
        let system = uses_system_state
            || ["STATE_DIRECTORY", "CONFIGURATION_DIRECTORY", "CREDENTIALS_DIRECTORY"]
                .into_iter()
                .any(|name| env.get(name).is_some());
        let default_key_dir = None
            .or_else(|| env.first_directory("CONFIGURATION_DIRECTORY"))
            .or_else(|| system.then(|| system_config.clone()))
            .or_else(|| Some(env.absolute("XDG_CONFIG_HOME")?.join(OURS)))
            .or_else(|| Some(env.home()?.join(".config").join(OURS)))
            .or_else(|| Some(config.parent()?.to_owned()))
            .unwrap_or(system_config);
        Ok(Paths {
            seal: Seal {
                credential: env.absolute("CREDENTIALS_DIRECTORY").map(|dir| dir.join("robocred.seal")),
                default_key_file: default_key_dir.join("seal.key"),
            },
            other_system_inventory: (!uses_system_state && holds_something(&system_state)).then_some(system_state),
            config,
            config_origin,
            state_dir,
            state_origin,
            system,
            machine: super::machine::digest_of_id(self.root),
        })
    }

    /// Whether we may take the file's word: it is ours or root's.
    fn is_ours(&self, file: &Path) -> bool {
        file.metadata().is_ok_and(|facts| {
            let owner = super::read::owner(&facts);
            facts.is_file() && (owner == self.user || owner == Some(0))
        })
    }

    fn owns(&self, dir: &Path) -> bool {
        dir.metadata().is_ok_and(|facts| facts.is_dir() && super::read::owner(&facts) == self.user)
    }
}

fn absolute(path: PathBuf) -> Result<PathBuf, Error> {
    std::path::absolute(&path).map_err(|source| Error::Io { doing: "find the working directory for", path, source })
}

/// Whether two names lead to one directory.
fn same(one: &Path, other: &Path) -> bool {
    one == other
        || match (one.canonicalize(), other.canonicalize()) {
            (Ok(one), Ok(other)) => one == other,
            _ => false,
        }
}

/// Whether the directory exists and is not known to be empty; one that we may
/// not look into counts as holding something.
fn holds_something(dir: &Path) -> bool {
    dir.is_dir() && std::fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_some())
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::fs;

    use super::*;

    /// What the machine has below its root, and whether it is ours.
    #[derive(Clone, Copy, PartialEq)]
    enum Machine {
        Bare,
        /// `/etc/robocred/robocred.toml` and `/var/lib/robocred` with something in it, ours.
        Ours,
        /// The same of another user.
        Theirs,
        /// The state directory alone, empty.
        Half,
    }

    fn on<T>(machine: Machine, act: impl FnOnce(&System) -> T) -> T {
        let root = tempfile::tempdir().unwrap();
        let state = root.path().join("var/lib/robocred");
        if machine != Machine::Bare {
            fs::create_dir_all(&state).unwrap();
        }
        if matches!(machine, Machine::Ours | Machine::Theirs) {
            fs::create_dir_all(root.path().join("etc/robocred")).unwrap();
            fs::write(root.path().join("etc/robocred/robocred.toml"), "").unwrap();
            fs::write(state.join("inventory.db"), "").unwrap();
        }
        let us = super::super::read::owner(&root.path().metadata().unwrap());
        let user = if machine == Machine::Theirs { us.map(|us| us + 1) } else { us };
        act(&System { root: root.path(), user })
    }

    #[test]
    fn each_place_wins_over_those_after_it() {
        use Machine::{Bare, Half, Ours, Theirs};
        use Origin::{Flag, Home, System as TheSystem, Systemd, Variable, Xdg};

        // From the last place to the first: each row adds one more that wins over the rows before.
        let home = ("HOME", "/home/me");
        let xdg = [("XDG_CONFIG_HOME", "/xc"), ("XDG_STATE_HOME", "/xs")];
        let systemd = [("CONFIGURATION_DIRECTORY", "/sc:/sc2"), ("STATE_DIRECTORY", "/ss:/ss2")];
        let own = [("ROBOCRED_CONFIG", "/vc.toml"), ("ROBOCRED_STATE_DIR", "/vs")];
        let flags = (Some(Path::new("/fc.toml")), Some(Path::new("/fs")));
        let env = |groups: &[&[(&'static str, &'static str)]]| {
            Environment::of(groups.iter().flat_map(|group| group.iter().copied()).chain([home]))
        };
        let at_home = ("/home/me/.config/robocred/robocred.toml", "/home/me/.local/state/robocred");
        let of_system = ("ROOT/etc/robocred/robocred.toml", "ROOT/var/lib/robocred");
        let at_xdg = ("/xc/robocred/robocred.toml", "/xs/robocred");
        for (row, machine, flags, env, (config, state), origins) in [
            ("home", Bare, (None, None), env(&[]), at_home, (Home, Home)),
            ("system of another", Theirs, (None, None), env(&[]), at_home, (Home, Home)),
            ("half a system", Half, (None, None), env(&[]), at_home, (Home, Home)),
            ("system", Ours, (None, None), env(&[]), of_system, (TheSystem, TheSystem)),
            ("xdg", Ours, (None, None), env(&[&xdg]), at_xdg, (Xdg("XDG_CONFIG_HOME"), Xdg("XDG_STATE_HOME"))),
            (
                "systemd",
                Ours,
                (None, None),
                env(&[&xdg, &systemd]),
                ("/sc/robocred.toml", "/ss"),
                (Systemd("CONFIGURATION_DIRECTORY"), Systemd("STATE_DIRECTORY")),
            ),
            (
                "own variables",
                Ours,
                (None, None),
                env(&[&xdg, &systemd, &own]),
                ("/vc.toml", "/vs"),
                (Variable("ROBOCRED_CONFIG"), Variable("ROBOCRED_STATE_DIR")),
            ),
            (
                "flags",
                Ours,
                flags,
                env(&[&xdg, &systemd, &own]),
                ("/fc.toml", "/fs"),
                (Flag("--config"), Flag("--state-dir")),
            ),
            (
                "one of each",
                Bare,
                (flags.0, None),
                env(&[&xdg[1..]]),
                ("/fc.toml", "/xs/robocred"),
                (Flag("--config"), Xdg("XDG_STATE_HOME")),
            ),
            (
                "relative and empty XDG variables",
                Bare,
                (None, None),
                env(&[&[("XDG_CONFIG_HOME", "xc"), ("XDG_STATE_HOME", "")]]),
                at_home,
                (Home, Home),
            ),
        ] {
            on(machine, |system| {
                let found = system.resolve(flags.0, flags.1, &env).unwrap();
                let root = system.root.to_str().unwrap();
                assert_eq!(found.config, Path::new(&config.replace("ROOT", root)), "{row}");
                assert_eq!(found.state_dir, Path::new(&state.replace("ROOT", root)), "{row}");
                assert_eq!((found.config_origin, found.state_origin), origins, "{row}");
            });
        }
    }

    #[test]
    fn what_follows_from_the_place() {
        let home = ("HOME", "/home/me");
        let mine = "/home/me/.config/robocred/seal.key";
        for (row, machine, env, system, other, key, credential) in [
            ("a person", Machine::Bare, vec![home], false, false, mine, None),
            ("a person beside a service", Machine::Theirs, vec![home], false, true, mine, None),
            ("a person beside a removed service", Machine::Half, vec![home], false, false, mine, None),
            ("the service by hand", Machine::Ours, vec![home], true, false, "ROOT/etc/robocred/seal.key", None),
            (
                "the service's own state by its name",
                Machine::Theirs,
                vec![home, ("ROBOCRED_STATE_DIR", "ROOT/var/lib/./robocred")],
                true,
                false,
                "ROOT/etc/robocred/seal.key",
                None,
            ),
            (
                "under systemd",
                Machine::Bare,
                vec![("STATE_DIRECTORY", "/ss"), ("ROBOCRED_CONFIG", "/c"), ("CREDENTIALS_DIRECTORY", "/run/cred")],
                true,
                false,
                "ROOT/etc/robocred/seal.key",
                Some("/run/cred/robocred.seal"),
            ),
            (
                "under systemd with a directory for it",
                Machine::Bare,
                vec![("STATE_DIRECTORY", "/ss"), ("CONFIGURATION_DIRECTORY", "/sc")],
                true,
                false,
                "/sc/seal.key",
                None,
            ),
            (
                "a container without a home",
                Machine::Bare,
                vec![("ROBOCRED_STATE_DIR", "/data"), ("ROBOCRED_CONFIG", "/conf/robocred.toml")],
                false,
                false,
                "/conf/seal.key",
                None,
            ),
        ] {
            on(machine, |place| {
                let root = place.root.to_str().unwrap();
                let env = env.into_iter().map(|(name, value)| (name, value.replace("ROOT", root)));
                let found = place.resolve(None, None, &Environment::of(env)).unwrap();
                assert_eq!(found.system, system, "{row}");
                let other = other.then(|| place.root.join("var/lib/robocred"));
                assert_eq!(found.other_system_inventory, other, "{row}");
                assert_eq!(found.seal.default_key_file, Path::new(&key.replace("ROOT", root)), "{row}");
                assert_eq!(found.seal.credential.as_deref(), credential.map(Path::new), "{row}");
            });
        }
    }

    #[test]
    fn no_place_at_all_is_an_error_that_says_what_to_set() {
        on(Machine::Bare, |system| {
            let nothing = Environment::default();
            let error = system.resolve(None, None, &nothing).unwrap_err();
            assert!(matches!(error, Error::NoPlace { wanted: "configuration", .. }), "{error}");
            let error = system.resolve(Some(Path::new("/c")), None, &nothing).unwrap_err();
            assert!(error.hint().unwrap().contains("ROBOCRED_STATE_DIR"), "{error}");
        });
    }

    #[test]
    fn a_relative_path_counts_from_the_working_directory() {
        on(Machine::Bare, |system| {
            let found =
                system.resolve(Some(Path::new("c.toml")), Some(Path::new("s")), &Environment::default()).unwrap();
            let here = std::env::current_dir().unwrap();
            assert_eq!((found.config, found.state_dir), (here.join("c.toml"), here.join("s")));
        });
    }
}
