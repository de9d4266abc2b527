//! `demo`: the whole life of a credential, without arguments and without a network.
//!
//! The commands are run as a person would type them, by this same program, in
//! a home directory of their own that is removed at the end, also after
//! Ctrl-C. Nothing of the person's own configuration, state or keyring is
//! looked at.

use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
    time::Instant,
};

use clap::Args;
use robocred::simulator::{self, Options, Simulator};
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::{
    Outcome,
    error::{CommandError, Kind},
    invocation::Invocation,
    output::{
        self,
        json::{Demo, DemoStep},
        style::{self, paint},
    },
};

/// The devices of the simulated plant: 42 of them are hidden, so that 1,000 are read.
const DEVICES: usize = 1042;

/// Show the whole life of a credential against the built-in simulator
///
/// Needs no appliance, no network and no configuration, and leaves nothing behind.
#[derive(Debug, Args)]
pub struct DemoArgs {}

/// One command of the demonstration.
struct Step {
    replaces: &'static str,
    arguments: Vec<String>,
    /// Given the support token on standard input.
    with_token: bool,
}

pub fn run(invocation: &Invocation, _args: &DemoArgs) -> Outcome {
    super::block_on(async {
        let interrupted = super::interruption()?;
        tokio::select! {
            outcome = show(invocation) => outcome,
            () = interrupted => Err(CommandError::new(Kind::Failed, "the demonstration was interrupted")),
        }
    })?
}

async fn show(invocation: &Invocation) -> Outcome {
    let began = Instant::now();
    let home = Home::make()?;
    let simulator = simulator::start(Options { devices: DEVICES, ..Options::default() }).await.map_err(|error| {
        CommandError::new(Kind::Failed, "the simulated appliance cannot listen on this machine").because(&error)
    })?;
    let steps = steps(&simulator, &home.0);
    let mut body = Demo { ok: true, steps: Vec::new() };
    for (number, step) in steps.iter().enumerate() {
        if !invocation.output.is_json() {
            announce(number + 1, step)?;
        }
        let exit_code = run_step(invocation, &home.0, step).await?;
        body.steps.push(DemoStep {
            command: format!("robocred {}", step.arguments.join(" ")),
            replaces: step.replaces,
            exit_code,
        });
        body.ok &= exit_code == 0;
        if !body.ok {
            break;
        }
    }
    simulator.shutdown().await;
    drop(home);
    let seconds = began.elapsed().as_secs_f64();
    invocation.output.result(&body, |body, out| {
        if body.ok {
            writeln!(out, "\nThat was the whole job, in {seconds:.1} s. Nothing of it is left on this machine.")?;
            writeln!(out, "With a real appliance: robocred provision SITE/ROBOT --url https://ADDRESS")
        } else {
            writeln!(out, "\nThe last step failed; nothing of it is left on this machine.")
        }
    })?;
    Ok((!body.ok).then_some(Kind::Failed))
}

fn steps(simulator: &Simulator, home: &Path) -> Vec<Step> {
    let files = home.join("lucidum").display().to_string();
    let devices = home.join("devices").display().to_string();
    let step = |replaces, arguments: &[&str], with_token| Step {
        replaces,
        arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
        with_token,
    };
    let (url, pin) = (simulator.url(), simulator.pin().to_string());
    vec![
        step(
            "`openssl req -x509 …`, then `curl -k -H 'Authorization: Bearer …' -XPOST …/v1/robots` to a server nobody checked",
            &["provision", "plant-a/lucidum", "--url", &url, "--pin", &pin, "--token-stdin", "--export", &files],
            true,
        ),
        step("hoping that it worked", &["verify", "plant-a/lucidum", "--control"], false),
        step(
            "looking for key.pem and cert.pem, and typing the form from memory",
            &["export", "plant-a/lucidum", "--dir", &files],
            false,
        ),
        step(
            "a script with the key in a folder, and no word on what is missing",
            &["ingest", "plant-a/lucidum", "-o", &devices],
            false,
        ),
        step(
            "a new certificate by hand, and a connector that is cut off while somebody finds its form",
            &["rotate", "plant-a/lucidum", "--force", "--token-stdin"],
            true,
        ),
        step("an e-mail that the new files are in the form now", &["export", "plant-a/lucidum", "--confirm"], false),
        step(
            "a note in somebody's calendar, 365 days ahead; the old credential works until the overlap is over",
            &["status"],
            false,
        ),
    ]
}

fn announce(number: usize, step: &Step) -> Result<(), CommandError> {
    output::print(|out| {
        writeln!(out, "\n{}", paint(style::BOLD, format_args!("{number}. instead of {}", step.replaces)))?;
        writeln!(out, "{}", paint(style::DIM, format_args!("$ robocred {}", step.arguments.join(" "))))
    })
}

async fn run_step(invocation: &Invocation, home: &Path, step: &Step) -> Result<i32, CommandError> {
    let failed =
        |error: &std::io::Error| CommandError::new(Kind::Failed, "cannot run this program again").because(error);
    let program = env::current_exe().map_err(|error| failed(&error))?;
    let mut command = Command::new(program);
    command
        .args(&step.arguments)
        .env_clear()
        .envs(
            env::vars_os().filter(|(name, _)| ["PATH", "TERM", "NO_COLOR", "COLUMNS"].iter().any(|kept| name == kept)),
        )
        .env("HOME", home)
        .env("ROBOCRED_STORE", "sealed")
        .env("ROBOCRED_NON_INTERACTIVE", "true")
        .current_dir(home)
        .stdin(Stdio::piped())
        .kill_on_drop(true);
    if invocation.output.is_json() {
        command.stdout(Stdio::null());
    }
    let mut child = command.spawn().map_err(|error| failed(&error))?;
    if let Some(mut stdin) = child.stdin.take() {
        let token = if step.with_token { Options::default().token } else { String::new() };
        // A command that fails early does not read it; its exit code tells.
        let _ = stdin.write_all(token.as_bytes()).await;
    }
    let status = child.wait().await.map_err(|error| failed(&error))?;
    Ok(status.code().unwrap_or(1))
}

/// A home directory that is gone when this is dropped.
struct Home(PathBuf);

impl Home {
    fn make() -> Result<Self, CommandError> {
        let temporary = env::temp_dir().canonicalize().unwrap_or_else(|_| env::temp_dir());
        let path = temporary.join(format!("robocred-demo-{}", std::process::id()));
        // The umask makes it ours alone; one that is there already is somebody else's.
        std::fs::create_dir(&path).map_err(|error| {
            CommandError::new(Kind::Failed, format!("cannot make {}", path.display())).because(&error)
        })?;
        Ok(Self(path))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // What cannot be removed cannot be told from here either; it holds nothing that works anywhere.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_thousand_devices_are_read() {
        let simulator = simulator::start(Options { devices: DEVICES, ..Options::default() }).await.unwrap();
        assert_eq!(simulator.visible_devices(), 1000);
        simulator.shutdown().await;
    }
}
