//! `simulator`: the built-in appliance, for trying things by hand.

use std::{
    io::{self, Write},
    net::SocketAddr,
};

use clap::Args;
use robocred::simulator::{self, Behaviours, Options};

use super::block_on;
use crate::{
    Outcome,
    cli::one_of,
    error::{CommandError, Kind},
    invocation::Invocation,
    output::{clean, json},
};

/// Run the built-in appliance in the foreground until it is interrupted
///
/// Prints how to connect. Everything it holds is forgotten when it ends.
#[derive(Debug, Args)]
#[command(after_help = behaviours())]
pub struct SimulatorArgs {
    /// Where to listen on this machine; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8443", value_parser = loopback)]
    pub listen: SocketAddr,

    /// How many synthetic devices it knows, at most 1000000; some of them are hidden
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub devices: u32,

    /// What kind of appliance it is like; the list stands below
    #[arg(long, value_name = "NAME", default_value = "default", hide_possible_values = true, value_parser =
        one_of::<Behaviours>(names())
    )]
    pub behaviour: Behaviours,

    /// The support token it accepts; not a secret, since this appliance guards nothing
    #[arg(long, value_name = "TOKEN", default_value = "simulated-support-token")]
    pub token: String,

    /// An API key it accepts too; not a secret either
    #[arg(long, value_name = "KEY")]
    pub api_key: Option<String>,

    /// What its devices, events and findings are derived from: the same number, the same values
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
}

fn names() -> impl Iterator<Item = &'static str> {
    Behaviours::all_named().into_iter().chain(Behaviours::reading_named()).map(|(name, _)| name)
}

fn behaviours() -> String {
    let names: Vec<&str> = names().collect();
    format!(
        "Behaviours:\n{}",
        names.chunks(3).map(|row| format!("  {}", row.join(", "))).collect::<Vec<_>>().join(",\n")
    )
}

fn loopback(given: &str) -> Result<SocketAddr, String> {
    let address = given.parse::<SocketAddr>().ok().filter(|address| address.ip().is_loopback());
    address.ok_or_else(|| format!("{given:?} is not an address of this machine alone, like 127.0.0.1:8443"))
}

pub fn run(invocation: &Invocation, args: &SimulatorArgs) -> Outcome {
    let options = Options {
        listen: args.listen,
        devices: args.devices as usize,
        seed: args.seed,
        token: args.token.clone(),
        api_key: args.api_key.clone(),
        behaviours: args.behaviour.clone(),
        ..Options::default()
    };
    block_on(async {
        // Before anything is printed, so that who reads it can also end it.
        let interrupted = super::interruption()?;
        let simulator = simulator::start(options).await.map_err(|error| {
            CommandError::new(Kind::Failed, format!("the simulator cannot listen at {}", args.listen))
                .because(&error)
                .hint("`--listen 127.0.0.1:0` takes a free port")
        })?;
        let body =
            json::Simulator { url: simulator.url(), pin: simulator.pin().to_string(), token: args.token.clone() };
        invocation.output.result(&body, show)?;
        interrupted.await;
        simulator.shutdown().await;
        Ok(None)
    })?
}

/// Shows what to type in a second terminal.
fn show(simulator: &json::Simulator, out: &mut dyn Write) -> io::Result<()> {
    let json::Simulator { url, pin, token } = simulator;
    let token = clean::line(token);
    writeln!(out, "The simulated appliance listens at {url} until Ctrl-C. In a second terminal:\n")?;
    writeln!(out, "  echo '{token}' | robocred provision demo/robot --url {url} \\")?;
    writeln!(out, "    --pin '{pin}' --token-stdin")?;
    writeln!(out, "  robocred verify demo/robot")?;
    writeln!(out, "  robocred ingest demo/robot -o devices")
}
