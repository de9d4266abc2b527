//! The commands, one file each: the flags as typed, whose documentation is the
//! help; a function that asks the library; and how its answer is shown.

pub mod apikey;
pub mod audit;
pub mod check;
pub mod completions;
pub mod config;
#[cfg(feature = "simulator")]
pub mod demo;
pub mod doctor;
mod drive;
pub mod export;
mod first_contact;
pub mod hook;
pub mod import;
pub mod ingest;
pub mod install;
mod kept;
mod listen;
pub mod man;
pub mod provision;
pub mod retire;
pub mod rollback;
pub mod rotate;
#[cfg(feature = "simulator")]
pub mod simulator;
pub mod status;
mod tell;
pub mod token;
pub mod trust;
pub mod verify;
pub mod watch;
mod wishes;

use crate::{
    Outcome,
    cli::Command,
    error::{CommandError, Kind},
    invocation::Invocation,
};

/// Does what the command line asks for; `check`, which ends in its own way, stands apart.
pub fn run(invocation: &Invocation, command: &Command) -> Outcome {
    match command {
        Command::Provision(args) => provision::run(invocation, args),
        Command::Rotate(args) => rotate::run(invocation, args),
        Command::Watch(args) => watch::run(invocation, args),
        Command::Rollback(args) => rollback::run(invocation, args),
        Command::Retire(args) => retire::run(invocation, args),
        Command::Verify(args) => verify::run(invocation, args),
        Command::Status(args) => status::run(invocation, args),
        // Told by `check::end`, which `main` asks instead.
        Command::Check(args) => check::run(invocation, args).map(|_| None),
        Command::Export(args) => export::run(invocation, args),
        Command::Ingest(args) => ingest::run(invocation, args),
        Command::Hook(args) => hook::run(invocation, args),
        Command::Import(args) => import::run(invocation, args),
        Command::Token(args) => token::run(invocation, args),
        Command::ApiKey(args) => apikey::run(invocation, args),
        Command::Trust(args) => trust::run(invocation, args),
        Command::Config(args) => config::run(invocation, args),
        Command::Audit(args) => audit::run(invocation, args),
        Command::Doctor(args) => doctor::run(invocation, args),
        Command::Install(args) => install::run(invocation, args),
        #[cfg(feature = "simulator")]
        Command::Demo(args) => demo::run(invocation, args),
        #[cfg(feature = "simulator")]
        Command::Simulator(args) => simulator::run(invocation, args),
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(invocation, args),
    }
}

/// Runs asynchronous work to its end on this thread. Only commands that need it pay for a runtime.
pub fn block_on<F: Future>(work: F) -> Result<F::Output, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::new(Kind::Failed, "the operating system gave no event loop").because(&error))?;
    let done = runtime.block_on(work);
    // A name look-up or a keyring that hangs must not keep the process.
    runtime.shutdown_background();
    Ok(done)
}

/// Waits for Ctrl-C or a request to end.
#[cfg(unix)]
fn interruption() -> Result<impl Future<Output = ()>, CommandError> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| {
        signal(kind)
            .map_err(|error| CommandError::new(Kind::Failed, "cannot listen for an interruption").because(&error))
    };
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => (),
            _ = terminate.recv() => (),
        }
    })
}

#[cfg(not(unix))]
fn interruption() -> Result<impl Future<Output = ()>, CommandError> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}
