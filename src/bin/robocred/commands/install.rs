//! `install`: what has the tool run by itself.

mod files;
mod units;

use std::{
    collections::BTreeSet,
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use robocred::{
    config::{Config, Environment, Problems},
    site::StoreKind,
};
use serde::Serialize;

use super::listen::Listen;
use crate::{
    Outcome,
    error::{CommandError, Kind},
    invocation::Invocation,
    opened::{absolute, paths},
    output::{
        clean,
        style::{self, paint},
    },
};
use files::Wanted;
use units::{Facts, Manager, SYSTEM_CONFIG, SYSTEM_STATE, USER};

/// Have robocred run by itself
#[derive(Debug, Args)]
pub struct InstallArgs {
    #[command(subcommand)]
    pub command: InstallCommand,
}

/// By what it is run.
#[derive(Debug, Subcommand)]
pub enum InstallCommand {
    Systemd(SystemdArgs),
}

/// Print hardened systemd units, or install them with --write
///
/// robocred.service stays up and does what is due (`robocred watch`). Who prefers single runs
/// enables robocred-rotate.timer instead. What follows from the configuration is written into the
/// units, such as the directories that files are exported to: run it again when those change.
#[derive(Debug, Args)]
pub struct SystemdArgs {
    /// For this user's own service manager instead of the system's
    #[arg(long)]
    pub user: bool,

    #[command(flatten)]
    pub listen: Listen,

    /// Write the files instead of printing them, and print the commands to run next
    #[arg(long)]
    pub write: bool,

    /// Write below this directory instead of /, to build an image
    #[arg(long, value_name = "DIR", requires = "write", conflicts_with = "user")]
    pub root: Option<PathBuf>,

    /// Print what --write would write and do nothing
    #[arg(long, requires = "write")]
    pub dry_run: bool,
}

/// The body of the document.
#[derive(Debug, Serialize)]
struct Installed {
    files: Vec<Content>,
    /// The files that were written, or would be with `--dry-run`; null where they are only printed.
    #[serde(skip_serializing_if = "Option::is_none")]
    written: Option<Vec<PathBuf>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
    /// What to run then.
    next: Vec<String>,
}

/// One file.
#[derive(Debug, Serialize)]
struct Content {
    path: PathBuf,
    content: String,
}

pub fn run(invocation: &Invocation, args: &InstallArgs) -> Outcome {
    let InstallCommand::Systemd(args) = &args.command;
    args.listen.check()?;
    let wishes = if args.user { Wishes::of_user(invocation, args)? } else { Wishes::of_system(invocation, args)? };
    wishes.refuse_unfit()?;
    let wanted = wishes.files();
    let mut installed = Installed {
        files: wanted.iter().map(|file| Content { path: file.path.clone(), content: file.content.clone() }).collect(),
        written: None,
        dry_run: args.dry_run,
        next: wishes.next(),
    };
    if args.write {
        let root = args.root.as_deref().unwrap_or(Path::new("/"));
        let missing = files::missing(root, &wanted)?;
        if !args.dry_run {
            if !args.user && args.root.is_none() {
                must_be_root()?;
            }
            files::write(root, &missing)?;
        }
        installed.written = Some(missing.into_iter().map(|file| file.path.clone()).collect());
    }
    invocation.output.result(&installed, show)?;
    Ok(None)
}

/// What is wanted, and what is found out for it.
struct Wishes {
    facts: Facts,
    units_dir: PathBuf,
}

impl Wishes {
    fn of_system(invocation: &Invocation, args: &SystemdArgs) -> Result<Self, CommandError> {
        let environment = Environment::capture();
        let named = |flag: &Option<PathBuf>, variable: &str| {
            let named = flag.clone().or_else(|| environment.get(variable).map(PathBuf::from));
            named.map(|path| absolute(&path)).transpose()
        };
        let usual = Path::new(SYSTEM_CONFIG).join("robocred.toml");
        let config = named(&invocation.config, "ROBOCRED_CONFIG")?.filter(|path| *path != usual);
        let state_dir =
            named(&invocation.state_dir, "ROBOCRED_STATE_DIR")?.filter(|path| path != Path::new(SYSTEM_STATE));
        let configuration = configuration(config.as_ref().unwrap_or(&usual))?;
        let state = state_dir.as_deref().unwrap_or(Path::new(SYSTEM_STATE));
        let seal_key = match (configuration.store, &configuration.seal_passphrase_file) {
            (Some(StoreKind::Keyring), _) | (_, Some(_)) => None,
            _ => Some(configuration.seal_key_file.clone().unwrap_or_else(|| Path::new(SYSTEM_CONFIG).join("seal.key"))),
        };
        let facts = Facts {
            manager: Manager::System,
            program: program()?,
            seal_key: seal_key.map(|path| (path.is_file(), path)).map(|(there, path)| (path, there)),
            dirs: dirs(&configuration, state),
            groups: groups(&configuration),
            listen: args.listen,
            config,
            state_dir,
        };
        Ok(Self { facts, units_dir: PathBuf::from("/etc/systemd/system") })
    }

    /// Of the directories only those are named that this user's service would not find by itself.
    fn of_user(invocation: &Invocation, args: &SystemdArgs) -> Result<Self, CommandError> {
        let environment = Environment::capture();
        let home = environment.get("HOME").map(PathBuf::from).filter(|home| home.is_absolute()).ok_or_else(|| {
            CommandError::new(Kind::Config, "HOME is not set, and nothing else says whose units are meant")
                .hint("set HOME, or leave --user away")
        })?;
        let paths = paths(invocation)?;
        let own = environment.get("XDG_CONFIG_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute());
        let units_dir = own.unwrap_or_else(|| home.join(".config")).join("systemd/user");
        let facts = Facts {
            program: program()?,
            config: Some(paths.config).filter(|path| *path != home.join(".config/robocred/robocred.toml")),
            state_dir: Some(paths.state_dir).filter(|path| *path != home.join(".local/state/robocred")),
            seal_key: None,
            dirs: Vec::new(),
            groups: Vec::new(),
            listen: args.listen,
            manager: Manager::User(home),
        };
        Ok(Self { facts, units_dir })
    }

    /// A line break would begin another directive, systemd reads UTF-8, and it starts no program with such a name.
    fn refuse_unfit(&self) -> Result<(), CommandError> {
        let Facts { program, config, state_dir, seal_key, dirs, groups, .. } = &self.facts;
        let seal_key = seal_key.as_ref().map(|(path, _)| path);
        let paths = [config.as_ref(), state_dir.as_ref(), seal_key, Some(program)].into_iter().flatten().chain(dirs);
        let unfit = |text: &str| text.chars().any(char::is_control);
        for path in paths {
            let quoted = path == program && path.to_string_lossy().contains(['"', '\'', '\\']);
            if quoted || path.to_str().is_none_or(unfit) {
                let shown = path.to_string_lossy();
                let message = format!(
                    "{shown:?} cannot stand in a unit: it holds a control character, is not UTF-8, or is a program with \
                     a quotation mark or a backslash in its name"
                );
                return Err(CommandError::new(Kind::Config, message).hint("use a path of plain characters"));
            }
        }
        match groups.iter().find(|group| unfit(group)) {
            Some(group) => Err(CommandError::new(Kind::Config, format!("{group:?} is no name of a group"))
                .hint("correct `group` of that robot's `export`")),
            None => Ok(()),
        }
    }

    fn files(&self) -> Vec<Wanted> {
        let mut files: Vec<Wanted> =
            units::units(&self.facts).into_iter().map(|unit| Wanted::of(&self.units_dir, unit)).collect();
        if self.facts.manager == Manager::System {
            for (dir, body) in
                [("/etc/sysusers.d", units::sysusers(&self.facts)), ("/etc/tmpfiles.d", units::tmpfiles(&self.facts))]
            {
                files.push(Wanted::of(Path::new(dir), units::Unit { name: "robocred.conf", body }));
            }
        }
        files
    }

    /// The commands that a person runs then, in their order.
    fn next(&self) -> Vec<String> {
        let all = |commands: &[&str]| commands.iter().map(|&command| command.to_owned()).collect();
        if self.facts.manager != Manager::System {
            return all(&[
                "systemctl --user daemon-reload",
                "systemctl --user enable --now robocred.service",
                "loginctl enable-linger",
            ]);
        }
        let mut next: Vec<String> = all(&[
            "systemd-sysusers",
            "systemd-tmpfiles --create /etc/tmpfiles.d/robocred.conf",
            "systemctl daemon-reload",
        ]);
        let missing = self.facts.dirs.iter().filter(|dir| !dir.is_dir());
        next.extend(missing.map(|dir| format!("install -d -m 0700 -o {USER} -g {USER} {}", in_a_shell(dir))));
        next.push("systemctl enable --now robocred.service".to_owned());
        next
    }
}

/// A path as one word of a shell.
fn in_a_shell(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,@:=".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// This program, by the name that leads to it now.
fn program() -> Result<PathBuf, CommandError> {
    env::current_exe()
        .map_err(|error| CommandError::new(Kind::Failed, "cannot find this program's own file").because(&error))
}

/// What the file says; empty where there is none yet. It may belong to the service's user, who could not be
/// believed in anything that is run here: only names of directories and groups are taken from it.
fn configuration(path: &Path) -> Result<Config, CommandError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            let message = format!("cannot read the configuration {}", path.display());
            return Err(CommandError::new(Kind::Config, message)
                .because(&error)
                .hint("run it as root, or as the user the service runs as"));
        }
    };
    Config::from_text(path, text.as_deref()).map_err(|problems: Problems| problems.into())
}

/// Every directory that is written to outside of the state directory.
fn dirs(config: &Config, state_dir: &Path) -> Vec<PathBuf> {
    let robots = config.sites.iter().flat_map(|site| &site.robots);
    let dirs = robots.flat_map(|robot| {
        let export = robot.export.as_ref().map(|target| target.dir.clone());
        let ingest = robot.ingest.as_ref().and_then(|target| target.dir.clone());
        export.into_iter().chain(ingest)
    });
    dirs.filter(|dir| !dir.starts_with(state_dir)).collect::<BTreeSet<_>>().into_iter().collect()
}

fn groups(config: &Config) -> Vec<String> {
    let robots = config.sites.iter().flat_map(|site| &site.robots);
    let groups = robots.filter_map(|robot| robot.export.as_ref()?.group.clone());
    groups.collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(unix)]
fn must_be_root() -> Result<(), CommandError> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(CommandError::new(Kind::Config, "only root may write the system's units")
        .hint("run it with sudo, or with --user for a service of your own; without --write they are only printed"))
}

#[cfg(not(unix))]
fn must_be_root() -> Result<(), CommandError> {
    Ok(())
}

/// Shows the files one after the other, each under its path, or what was written; and what comes next.
fn show(body: &Installed, out: &mut dyn Write) -> io::Result<()> {
    let Some(written) = &body.written else {
        for (number, file) in body.files.iter().enumerate() {
            if number > 0 {
                writeln!(out)?;
            }
            writeln!(out, "# {}", clean::line(&file.path.display().to_string()))?;
            write!(out, "{}", clean::text(&file.content))?;
        }
        return Ok(());
    };
    for file in &body.files {
        let action = match (written.contains(&file.path), body.dry_run) {
            (true, false) => "written",
            (true, true) => "would be written",
            (false, _) => "unchanged",
        };
        writeln!(out, "{} {}", paint(style::GOOD, action), clean::line(&file.path.display().to_string()))?;
    }
    writeln!(out, "\nnext:")?;
    body.next.iter().try_for_each(|command| writeln!(out, "  {}", clean::line(command)))
}
