//! `watch`: stays up, and does what is due by children of the tool itself.

mod said;

use std::{env, ffi::OsString, net::SocketAddr, num::NonZeroUsize, sync::Arc};

use clap::Args;
use robocred::{
    clock::SystemClock,
    config::Environment,
    inventory::WatchLock,
    watch::{self, Limits, Request, Settings, Watched, board::Board},
};
use tokio::{net::TcpListener, sync::mpsc};

use super::{block_on, listen::Listen};
use crate::{
    Outcome,
    cli::StoreChoice,
    error::{CommandError, Kind},
    invocation::Invocation,
    opened::{Opened, actor, now},
    output::json,
    service_manager::ServiceManager,
};
use said::Said;

/// Stay up: rotate what is due, run scheduled ingests, serve metrics, health and a status page
///
/// Each piece of work is done by a short-lived process of the tool, one for each appliance; this
/// one holds no key and no token. A failure is tried again after 1 hour, doubled each time up to 32,
/// and sooner near the end of a credential.
///
/// SIGHUP reads the configuration again, SIGUSR1 looks at once, also at what rests after a failure,
/// SIGTERM ends within 10 seconds. Standard output stays empty until the end.
#[derive(Debug, Args)]
pub struct WatchArgs {
    #[command(flatten)]
    pub listen: Listen,

    /// How many appliances are worked with at once
    #[arg(long, value_name = "N", default_value = "4")]
    pub jobs: NonZeroUsize,

    /// End with exit code 11 once a credential has expired
    #[arg(long)]
    pub exit_on_expiry: bool,
}

pub fn run(invocation: &Invocation, args: &WatchArgs) -> Outcome {
    args.listen.check()?;
    let opened = Opened::load(invocation)?;
    let watched = block_on(stay(invocation, args, opened))??;
    if !watched.expired.is_empty() {
        let names: Vec<String> = watched.expired.iter().map(ToString::to_string).collect();
        let message = match &names[..] {
            [one] => format!("the credential of {one} has expired"),
            several => format!("the credentials of {} robots have expired: {}", several.len(), several.join(", ")),
        };
        return Err(CommandError::new(Kind::Expired, message).hint("`robocred status` says what each of them needs"));
    }
    invocation.output.result(&json::Watched { done: watched.done, failed: watched.failed }, |_, _| Ok(()))?;
    Ok(None)
}

async fn stay(invocation: &Invocation, args: &WatchArgs, opened: Opened) -> Result<Watched, CommandError> {
    let manager = ServiceManager::of(&Environment::capture());
    // Before anything is begun, so that whoever starts it can also end it.
    let (asking, requests) = mpsc::channel(8);
    let manager = Arc::new(manager);
    tokio::spawn(signals(asking, manager.clone())?);

    let lock = WatchLock::take(&opened.paths.state_dir, now()).await?;
    // One of an older version is brought up to date; there need not be one yet.
    if let Some(inventory) = opened.inventory_if_any().await? {
        inventory.close().await?;
    }
    let listener = match args.listen.at {
        Some(address) => Some(bind(address)?),
        None => None,
    };
    let at = listener.as_ref().and_then(|listener| listener.local_addr().ok());
    let settings = settings(invocation, args, &opened, &manager)?;
    let said = Said::new(invocation.output, &opened, at, &manager);
    // The only copy, and the board lets go of it when another one is read.
    let board = Arc::new(Board::new(opened.config, opened.paths.state_dir));
    if let Some(listener) = listener {
        // It ends with the runtime.
        let serve = watch::http::serve(listener, board.clone(), Arc::new(SystemClock), std::future::pending());
        tokio::spawn(serve);
    }
    let watched = watch::run(settings, lock, &board, &SystemClock, requests, &|notice| said.say(&notice)).await;
    Ok(watched)
}

fn bind(address: SocketAddr) -> Result<TcpListener, CommandError> {
    watch::http::listen(address).map_err(|error| {
        let failure = CommandError::new(Kind::Failed, format!("cannot listen at {address}")).because(&error);
        match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                failure.hint("another program listens there: end it, or take another port")
            }
            std::io::ErrorKind::AddrNotAvailable => failure.hint("this machine does not have that address"),
            std::io::ErrorKind::PermissionDenied => failure.hint("take a port above 1023"),
            _ => failure,
        }
    })
}

fn settings(
    invocation: &Invocation,
    args: &WatchArgs,
    opened: &Opened,
    manager: &ServiceManager,
) -> Result<Settings, CommandError> {
    let program = env::current_exe().map_err(|error| {
        CommandError::new(Kind::Failed, "cannot find the program that this process runs").because(&error)
    })?;
    // The same places, whatever the surroundings of a child say.
    let mut arguments: Vec<OsString> = vec!["--config".into(), opened.paths.config.clone().into()];
    arguments.extend(["--state-dir".into(), opened.paths.state_dir.clone().into()]);
    if let Some(store) = invocation.store {
        let store = match store {
            StoreChoice::Keyring => "keyring",
            StoreChoice::Sealed => "sealed",
            StoreChoice::Auto => "auto",
        };
        arguments.extend(["--store".into(), store.into()]);
    }
    arguments.extend(invocation.speech.iter().cloned());
    let usual = Limits::default();
    let limits = Limits { look: manager.every().map_or(usual.look, |every| every.min(usual.look)), ..usual };
    Ok(Settings {
        state_dir: opened.paths.state_dir.clone(),
        actor: actor(),
        program,
        arguments,
        at_once: args.jobs,
        exit_on_expiry: args.exit_on_expiry,
        limits,
    })
}

/// Hands on what this process is asked for by signals.
#[cfg(unix)]
fn signals(
    asking: mpsc::Sender<Request>,
    manager: Arc<ServiceManager>,
) -> Result<impl Future<Output = ()> + Send + 'static, CommandError> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| {
        signal(kind).map_err(|error| CommandError::new(Kind::Failed, "cannot listen for signals").because(&error))
    };
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let (mut hang_up, mut user) = (listen(SignalKind::hangup())?, listen(SignalKind::user_defined1())?);
    Ok(async move {
        loop {
            let request = tokio::select! {
                _ = interrupt.recv() => Request::Stop,
                _ = terminate.recv() => Request::Stop,
                _ = hang_up.recv() => {
                    manager.reloading();
                    Request::Reload
                }
                _ = user.recv() => Request::Look,
            };
            if asking.send(request).await.is_err() {
                return;
            }
        }
    })
}

#[cfg(not(unix))]
fn signals(
    asking: mpsc::Sender<Request>,
    _manager: Arc<ServiceManager>,
) -> Result<impl Future<Output = ()> + Send + 'static, CommandError> {
    Ok(async move { while tokio::signal::ctrl_c().await.is_ok() && asking.send(Request::Stop).await.is_ok() {} })
}
