//! The command line as meant: what holds for the whole run.
//!
//! Owns the global settings once resolved. No command sees a global flag as it
//! was typed.

use std::{
    ffi::OsString,
    io::{self, IsTerminal as _},
    path::PathBuf,
};

use crate::{
    cli::{GlobalArgs, LogFormat, StoreChoice},
    output::{Output, log},
};

/// One run of the program.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The configuration file that a flag named.
    pub config: Option<PathBuf>,
    /// The state directory that a flag named.
    pub state_dir: Option<PathBuf>,
    /// The secret store that was asked for.
    pub store: Option<StoreChoice>,
    /// How to speak.
    pub output: Output,
    /// The flags by which a child of ours speaks as we do.
    pub speech: Vec<OsString>,
    /// Whether a person can be asked.
    pub interactive: bool,
    /// Whether the command line said that nobody is to be asked.
    pub unasked: bool,
}

impl Invocation {
    /// Resolves the global flags; begins the log.
    pub fn resolve(global: GlobalArgs) -> Self {
        let format = global.log_format.unwrap_or_default();
        log::begin(format, global.verbose, global.quiet);
        let speech = speech(&global);
        Self {
            config: global.config,
            state_dir: global.state_dir,
            store: global.store,
            speech,
            output: Output::new(global.json, global.quiet, global.color.unwrap_or_default(), format),
            interactive: !global.non_interactive && io::stdin().is_terminal(),
            unasked: global.non_interactive,
        }
    }
}

fn speech(global: &GlobalArgs) -> Vec<OsString> {
    let mut flags: Vec<OsString> = Vec::new();
    flags.extend(global.quiet.then(|| "-q".into()));
    flags.extend((0..global.verbose).map(|_| "-v".into()));
    if let Some(LogFormat::Json) = global.log_format {
        flags.extend(["--log-format".into(), "json".into()]);
    }
    flags
}
