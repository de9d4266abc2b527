//! How long a person waits: `provision` beside the hand-made steps it
//! replaces, and `status`. Whole processes, from their start to their end.
//!
//! `cargo bench` prints the tables; `cargo bench -- --rounds 100` takes longer
//! and says more. Each round runs every contender once, in a new home and in
//! an order that moves on with the round, against one appliance in this
//! process, so that what slows the machine down slows all of them; ratios are
//! taken within a round. Homes lie in the build directory, on a disk that
//! people use, since a memory file system would make durability free. Needs
//! `sh`, `awk`, `openssl` and `curl`. Judges nothing: it fails only where it
//! could not measure. docs/BENCHMARKS.md holds results and what is wanted.

mod plant;

use std::{
    error::Error,
    fs,
    io::Write as _,
    path::Path,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use plant::{Figure, ROBOTS_A_SITE, SITES, fill, millis, owner_only, robocred};
use robocred::simulator::{self, Options, Simulator};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What to run in a home.
type Contender<'a> = (&'a str, &'a dyn Fn(&Path) -> Command);

const ROUNDS: usize = 40;
const TOKEN: &str = "simulated-support-token";

/// What the vendor documents, with the subject given instead of typed, and with
/// the joining of lines that people do in an editor.
const BY_HAND: &str = r#"
openssl req -x509 -newkey rsa:2048 -keyout key.pem -out cert.pem -days 365 -nodes -subj /CN=robot1 2>/dev/null
cert=$(awk '{ printf "%s\\n", $0 }' cert.pem)
curl -sS --fail -k -H "Authorization: Bearer $TOKEN" -XPOST "$URL/v1/robots" \
    --data "{\"name\": \"robot1\", \"role\": \"ReaderRole\", \"cert\": \"$cert\"}"
"#;

fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("could not measure: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<()> {
    let rounds = rounds()?;
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    environment(place.path())?;
    provisioning(place.path(), rounds)?;
    reporting(place.path(), rounds)
}

fn rounds() -> Result<usize> {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--rounds").skip(1);
    match arguments.next() {
        None => Ok(ROUNDS),
        Some(number) => match number.parse() {
            Ok(rounds) if rounds > 0 => Ok(rounds),
            _ => Err(format!("--rounds {number}: not a number above 0").into()),
        },
    }
}

/// What the figures depend on.
fn environment(place: &Path) -> Result<()> {
    println!("cores      {}", std::thread::available_parallelism()?);
    println!("system     {} {}", std::env::consts::OS, std::env::consts::ARCH);
    println!("openssl    {}", version("openssl", "version")?);
    println!("curl       {}", version("curl", "--version")?);
    let mut file = fs::File::create(place.join("synced"))?;
    let syncs = (0..100).map(|_| {
        file.write_all(&[0; 4096])?;
        let start = Instant::now();
        file.sync_all()?;
        Ok(start.elapsed())
    });
    let syncs = Figure::of(&syncs.collect::<Result<Vec<_>>>()?.iter().map(millis).collect::<Vec<_>>());
    println!("disk sync  {syncs} ms for 4 KiB");
    Ok(())
}

fn version(program: &str, flag: &str) -> Result<String> {
    let output = Command::new(program).arg(flag).output().map_err(|error| format!("{program}: {error}"))?;
    let text = String::from_utf8(output.stdout)?;
    Ok(text.split(" (").next().unwrap_or_default().trim().to_owned())
}

/// The steps by hand against `provision`.
fn provisioning(place: &Path, rounds: usize) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let options = Options { token: TOKEN.to_owned(), ..Options::default() };
    let simulator = runtime.block_on(simulator::start(options))?;
    let token = place.join("token");
    fs::write(&token, TOKEN)?;
    owner_only(&token)?;

    let by_hand = |home: &Path| {
        let mut command = Command::new("sh");
        command.args(["-euc", BY_HAND]).current_dir(home).env("URL", simulator.url()).env("TOKEN", TOKEN);
        command
    };
    let provision = |key_type: &'static str| {
        let (simulator, token) = (&simulator, &token);
        move |home: &Path| {
            let mut command = robocred(home);
            command.args(["provision", "plant-a/robot1", "--key-type", key_type]);
            command.args(["--url", &simulator.url(), "--pin", &simulator.pin().to_string()]);
            command.arg("--token-file").arg(token);
            command
        }
    };
    let (rsa, p256) = (provision("rsa-2048"), provision("ecdsa-p256"));
    let contenders: [Contender<'_>; 3] =
        [("openssl + curl, RSA-2048", &by_hand), ("provision, RSA-2048", &rsa), ("provision, P-256", &p256)];

    let mut times = vec![Vec::new(); contenders.len()];
    for round in 0..=rounds {
        for step in 0..contenders.len() {
            let which = (round + step) % contenders.len();
            let home = tempfile::tempdir_in(place)?;
            simulator.forget_robots();
            let took = timed(contenders[which].1(home.path()))?;
            registered(&simulator)?;
            // The first round warms up the disk's cache and the appliance.
            if round > 0 {
                times[which].push(took);
            }
        }
    }
    let names: Vec<_> = contenders.iter().map(|(name, _)| *name).collect();
    table(&format!("From a support token to a robot, {rounds} rounds"), &names, &times, Some(0));
    Ok(())
}

fn registered(simulator: &Simulator) -> Result<()> {
    match simulator.robots().len() {
        1 => Ok(()),
        others => Err(format!("{others} robots were registered instead of one").into()),
    }
}

/// `status` over an inventory without robots and over a large one.
fn reporting(place: &Path, rounds: usize) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let homes = [0, SITES].map(|sites| (place.join(format!("{sites}-sites")), sites));
    for (home, sites) in &homes {
        runtime.block_on(fill(home, *sites))?;
    }
    let contenders = homes.iter().flat_map(|(home, _)| [(home, "table"), (home, "json")]).collect::<Vec<_>>();
    let mut times = vec![Vec::new(); contenders.len()];
    for round in 0..=rounds {
        for step in 0..contenders.len() {
            let which = (round + step) % contenders.len();
            let (home, form) = contenders[which];
            let mut command = robocred(home);
            command.arg("status");
            if form == "json" {
                command.arg("--json");
            }
            let took = timed(command)?;
            if round > 0 {
                times[which].push(took);
            }
        }
    }
    let names: Vec<_> = homes
        .iter()
        .flat_map(|(_, sites)| ["", " --json"].map(|form| format!("status{form}, {} robots", sites * ROBOTS_A_SITE)))
        .collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    table(&format!("Reports, {rounds} rounds"), &names, &times, None);
    Ok(())
}

/// Runs a command to its end; its whole output is read and dropped.
fn timed(mut command: Command) -> Result<Duration> {
    let start = Instant::now();
    let output = command.output()?;
    let took = start.elapsed();
    if output.status.success() {
        return Ok(took);
    }
    Err(format!("{command:?} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr)).into())
}

/// One line a contender; ratios are to the contender `to`, round by round.
fn table(title: &str, names: &[&str], times: &[Vec<Duration>], to: Option<usize>) {
    println!("\n{title}: median (smallest to largest)\n");
    for (name, own) in names.iter().zip(times) {
        let own: Vec<_> = own.iter().map(millis).collect();
        print!("{name:<28} {:>28} ms", Figure::of(&own).to_string());
        if let Some(to) = to {
            let ratios: Vec<_> = own.iter().zip(&times[to]).map(|(own, other)| own / millis(other)).collect();
            print!("   ratio {}", Figure::of(&ratios));
        }
        println!();
    }
}
