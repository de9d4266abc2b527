//! The command line as typed.
//!
//! Owns the list of commands, the global flags and their environment
//! variables, and the values that several commands parse alike. The flags of
//! one command stand with it, in `commands/`. Leaves out what the flags mean
//! together ([`crate::invocation`]).

use std::{env, ffi::OsString, fmt, path::PathBuf, str::FromStr, time::Duration};

use clap::{
    ArgAction, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum,
    builder::{FalseyValueParser, PossibleValue, PossibleValuesParser, Resettable, TypedValueParser},
};
use robocred::{
    renewal::parse_duration,
    site::{self, RobotId, SiteName},
};

use crate::commands;

/// The exit codes, as `--help` and the man page list them; [`crate::error::Kind`] is what decides them.
pub const EXIT_CODES: &str = "\
Exit codes:
   0  done, or nothing to do
   1  failed
   2  usage
   3  configuration
   4  refused by the appliance (token, role, name taken)
   5  appliance unreachable, nothing lost
   6  appliance not trusted (unknown or changed server key)
   7  secret store unavailable or locked
   8  a new credential failed its proof (an old one, if any, is kept)
   9  done, but a hook failed
  10  another run holds the lock
  11  credential expired
  12  needs a person (support token, approval)
With several robots the worst, in the order 11, 8, 6, 4, 12, 7, 3, 10, 5, 9, 1.
`check` alone has the codes of monitoring: 0 ok, 1 warning, 2 critical, 3 unknown.";

/// Issues, proves, keeps and uses robot credentials for Tenable OT Security appliances.
///
/// A robot is an appliance's account for a program; it logs in with a private key and a
/// self-signed certificate. Robots are named SITE/ROBOT, for example plant-a/lucidum.
#[derive(Debug, Parser)]
#[command(
    name = "robocred",
    version,
    after_help = EXIT_CODES,
    max_term_width = 100,
    propagate_version = false,
    arg_required_else_help = false,
    next_help_heading = None,
)]
pub struct Cli {
    /// The flags that every command takes.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Reads the command line and the variables of the global flags. A variable
    /// that is set to nothing counts as not set.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let command = Self::command().mut_args(|arg| match arg.get_env().and_then(env::var_os) {
            Some(value) if value.is_empty() => arg.env(Resettable::Reset),
            _ => arg,
        });
        Self::from_arg_matches(&command.try_get_matches_from(arguments)?)
    }
}

/// The flags that every command takes, before or after its name.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
#[allow(clippy::doc_markdown, reason = "the text is shown as it stands")]
pub struct GlobalArgs {
    // The variables of the two paths are read where paths are resolved, which
    // reports whether a flag or a variable named them.
    /// The configuration file [env: ROBOCRED_CONFIG]
    #[arg(short, long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Where inventory, locks and sealed keys are kept [env: ROBOCRED_STATE_DIR]
    #[arg(long, global = true, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// Where private keys and tokens rest; auto is the keyring if there is one [default: auto]
    #[arg(long, global = true, value_name = "STORE", env = "ROBOCRED_STORE", hide_env_values = true)]
    pub store: Option<StoreChoice>,

    /// Print exactly one JSON document on standard output
    #[arg(long, global = true, env = "ROBOCRED_JSON", hide_env_values = true, value_parser = FalseyValueParser::new())]
    pub json: bool,

    /// Say nothing but the result and errors
    #[arg(short, long, global = true, env = "ROBOCRED_QUIET", hide_env_values = true, value_parser = FalseyValueParser::new())]
    pub quiet: bool,

    /// Log more, to standard error: -v steps, -vv details, -vvv everything
    #[arg(short, long, global = true, action = ArgAction::Count, env = "ROBOCRED_VERBOSE", hide_env_values = true)]
    pub verbose: u8,

    /// When to use colour [default: auto]
    #[arg(long, global = true, value_name = "WHEN", env = "ROBOCRED_COLOR", hide_env_values = true)]
    pub color: Option<Color>,

    /// Never ask: what would need an answer fails instead
    #[arg(
        short,
        long,
        global = true,
        env = "ROBOCRED_NON_INTERACTIVE",
        hide_env_values = true,
        value_parser = FalseyValueParser::new()
    )]
    pub non_interactive: bool,

    /// The form of log lines [default: text]
    #[arg(long, global = true, value_name = "FORMAT", env = "ROBOCRED_LOG_FORMAT", hide_env_values = true)]
    pub log_format: Option<LogFormat>,
}

/// Where private keys and tokens are to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StoreChoice {
    // The operating system's keyring.
    Keyring,
    // Encrypted files in the state directory.
    Sealed,
    // The keyring if there is one, else sealed.
    Auto,
}

/// When colour is used on standard output and standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    // On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    Always,
    Never,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    // One line for each event.
    #[default]
    Text,
    // One object for each event.
    Json,
}

/// Every command of the tool; its documentation is its help.
#[derive(Debug, Subcommand)]
pub enum Command {
    #[command(visible_alias = "onboard")]
    Provision(commands::provision::ProvisionArgs),
    #[command(visible_alias = "renew")]
    Rotate(commands::rotate::RotateArgs),
    Watch(commands::watch::WatchArgs),
    Rollback(commands::rollback::RollbackArgs),
    Retire(commands::retire::RetireArgs),
    Verify(commands::verify::VerifyArgs),
    #[command(visible_alias = "list")]
    Status(commands::status::StatusArgs),
    Check(commands::check::CheckArgs),
    Export(commands::export::ExportArgs),
    Ingest(commands::ingest::IngestArgs),
    Hook(commands::hook::HookArgs),
    Import(commands::import::ImportArgs),
    Token(commands::token::TokenArgs),
    #[command(name = "apikey")]
    ApiKey(commands::apikey::ApiKeyArgs),
    Trust(commands::trust::TrustArgs),
    Config(commands::config::ConfigArgs),
    Audit(commands::audit::AuditArgs),
    Doctor(commands::doctor::DoctorArgs),
    Install(commands::install::InstallArgs),
    #[cfg(feature = "simulator")]
    Demo(commands::demo::DemoArgs),
    #[cfg(feature = "simulator")]
    Simulator(commands::simulator::SimulatorArgs),
    Completions(commands::completions::CompletionsArgs),
    Man(commands::man::ManArgs),
}

/// Where the support token comes from; without either flag from the store, or from a hidden prompt.
#[derive(Clone, Debug, Default, Args)]
pub struct TokenSource {
    /// Read the support token from a file only its owner can read (at most 8 KiB)
    #[arg(long, value_name = "FILE", conflicts_with = "token_stdin")]
    pub token_file: Option<PathBuf>,

    /// Read the support token from standard input
    #[arg(long)]
    pub token_stdin: bool,
}

/// Where an API key comes from; without either flag from a hidden prompt.
#[derive(Clone, Debug, Default, Args)]
pub struct KeySource {
    /// Read the API key from a file only its owner can read (at most 8 KiB)
    #[arg(long, value_name = "FILE", alias = "token-file", conflicts_with = "key_stdin")]
    pub key_file: Option<PathBuf>,

    /// Read the API key from standard input
    #[arg(long, alias = "token-stdin")]
    pub key_stdin: bool,
}

/// How long to wait for another run that works on the same site; without the flag, not at all.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct LockWait {
    /// Wait this long for another run on the same site to end, for example 30s or 5m
    #[arg(long = "lock-wait", value_name = "DURATION", value_parser = wait)]
    pub longest: Option<Duration>,
}

fn wait(given: &str) -> Result<Duration, String> {
    parse_duration(given)
        .map(time::Duration::unsigned_abs)
        .map_err(|_| format!("{given:?} is not a time like 30s or 5m"))
}

/// One robot, or all robots of a site, as a person names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// `SITE/ROBOT`.
    Robot(RobotId),
    /// `SITE`: every robot of it.
    Site(SiteName),
}

impl FromStr for Selector {
    type Err = site::Error;

    fn from_str(given: &str) -> Result<Self, site::Error> {
        if given.contains('/') { given.parse().map(Self::Robot) } else { given.parse().map(Self::Site) }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Robot(id) => id.fmt(f),
            Self::Site(name) => name.fmt(f),
        }
    }
}

/// A parser for one of the words that the library's type `T` knows, so that
/// help and completions list them.
pub fn one_of<T>(words: impl IntoIterator<Item = impl Into<PossibleValue>>) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(words).try_map(|word| word.parse())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_flags_stand_before_or_after_the_command() {
        for line in [["robocred", "--json", "-vv", "status"], ["robocred", "status", "--json", "-vv"]] {
            let global = Cli::try_parse_from(line).unwrap().global;
            assert!(global.json && global.verbose == 2);
        }
    }

    #[test]
    fn selectors() {
        let check = |given: &str, shown: Option<&str>| {
            assert_eq!(
                given.parse::<Selector>().ok().map(|selector| selector.to_string()).as_deref(),
                shown,
                "{given}"
            );
        };
        check("plant-a", Some("plant-a"));
        check("plant-a/lucidum", Some("plant-a/lucidum"));
        check("plant-a/", None);
        check("a/b/c", None);
        check("", None);
    }
}
