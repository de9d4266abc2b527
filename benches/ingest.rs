//! How fast an appliance is read: `ingest` beside curl, which fetches the same
//! pages over one connection and throws them away (the floor), and beside
//! pyTenable's export. Whole processes, from their start to their end.
//!
//! `cargo bench --bench ingest` measures 20,000 and 200,000 devices; `--
//! --quick` only the first. Each round runs every contender once, in an order
//! that moves on with the round, against one warm appliance in this process;
//! ratios are taken within a round. Peak memory is measured in runs of its
//! own, up to 1,000,000 devices. Linux only, needs `curl` and `openssl`'s
//! pair as exported; pyTenable is measured where `ROBOCRED_TEST_PYTHON` names a
//! Python that has it. Judges nothing: it fails only where it could not
//! measure. docs/BENCHMARKS.md holds results and what is wanted.

#[allow(dead_code, reason = "no large inventory is needed here")]
mod plant;

use std::{
    error::Error,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use plant::{Figure, millis, owner_only, robocred};
use robocred::{
    appliance::{List, Query, Width},
    simulator::{self, Options, Simulator},
};
use serde_json::json;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What is run, as often as wanted.
type Contender<'a> = (&'a str, Box<dyn Fn() -> Command + 'a>);

const TOKEN: &str = "simulated-support-token";
const API_KEY: &str = "simulated-api-key";
const ROBOT: &str = "plant/reader";
const PAGES: [usize; 2] = [200, 1000];
/// How often each is run at so many devices; pyTenable takes minutes for the larger.
const ROUNDS: [(usize, usize); 2] = [(20_000, 10), (200_000, 3)];
const MEMORY_AT: [usize; 2] = [20_000, 1_000_000];
/// How often a process is asked for its peak memory.
const LOOKS: Duration = Duration::from_millis(2);

/// What an export by pyTenable does, rows dropped.
const PYTENABLE: &str = r"
import sys, warnings
warnings.simplefilter('ignore')
from tenable.ot import TenableOT
url, key, limit, wanted = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
tot = TenableOT(url=url, api_key=key, vendor='robocred', product='bench', build='1')
seen = sum(1 for _ in tot.exports.assets(limit=limit))
assert seen == wanted, f'{seen} instead of {wanted}'
";

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
    let quick = std::env::args().any(|argument| argument == "--quick");
    println!("cores      {}", thread::available_parallelism()?);
    println!("system     {} {}", std::env::consts::OS, std::env::consts::ARCH);
    let python = std::env::var_os("ROBOCRED_TEST_PYTHON").map(PathBuf::from);
    if python.is_none() {
        println!("pyTenable is left out: ROBOCRED_TEST_PYTHON names no Python that has it");
    }
    for (devices, rounds) in ROUNDS.into_iter().take(if quick { 1 } else { 2 }) {
        let plant = Plant::start(devices)?;
        for page in PAGES {
            plant.race(page, rounds, python.as_deref())?;
        }
    }
    println!("\nPeak memory, page of 200\n");
    for devices in MEMORY_AT.into_iter().take(if quick { 1 } else { 2 }) {
        let plant = Plant::start(devices)?;
        for format in ["ndjson", "csv", "parquet"] {
            println!(
                "{format:<8} {devices:>9} devices   {} MiB",
                peak(plant.ingest(200, &["--format", format]))? >> 10
            );
        }
    }
    Ok(())
}

/// A warm appliance, and a robot of it in a home of its own.
struct Plant {
    devices: usize,
    home: tempfile::TempDir,
    simulator: Simulator,
    /// Keeps the simulator alive.
    _runtime: tokio::runtime::Runtime,
}

impl Plant {
    fn start(devices: usize) -> Result<Self> {
        let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let options = Options {
            devices,
            token: TOKEN.to_owned(),
            api_key: Some(API_KEY.to_owned()),
            node_cache: usize::MAX,
            ..Options::default()
        };
        let simulator = runtime.block_on(simulator::start(options))?;
        let token = home.path().join("token");
        fs::write(&token, TOKEN)?;
        owner_only(&token)?;
        let mut provision = robocred(home.path());
        provision.args(["provision", ROBOT, "--url", &simulator.url(), "--pin", &simulator.pin().to_string()]);
        run(provision.args(["--export", "pair", "--token-file"]).arg(&token))?;
        Ok(Self { devices, home, simulator, _runtime: runtime })
    }

    /// Every contender at one page size.
    fn race(&self, page: usize, rounds: usize, python: Option<&Path>) -> Result<()> {
        let visible = self.simulator.visible_devices();
        let plain = self.curl(page, visible, false)?;
        let compressed = self.curl(page, visible, true)?;
        let mut contenders: Vec<Contender<'_>> = vec![
            ("curl --compressed", Box::new(|| curl_with(&compressed))),
            ("curl", Box::new(|| curl_with(&plain))),
            ("ingest, ndjson", Box::new(|| self.ingest(page, &[]))),
            ("ingest, ndjson, gzip", Box::new(|| self.ingest(page, &["--compress", "gzip"]))),
            ("ingest, ndjson, zstd", Box::new(|| self.ingest(page, &["--compress", "zstd"]))),
            ("ingest, csv", Box::new(|| self.ingest(page, &["--format", "csv"]))),
            ("ingest, parquet", Box::new(|| self.ingest(page, &["--format", "parquet"]))),
        ];
        if let Some(python) = python {
            let pytenable = move || {
                let mut command = Command::new(python);
                command.args(["-c", PYTENABLE, &self.simulator.url(), API_KEY]);
                command.args([page.to_string(), visible.to_string()]);
                command
            };
            contenders.push(("pyTenable exports", Box::new(pytenable)));
        }
        let mut times = vec![Vec::new(); contenders.len()];
        for round in 0..=rounds {
            for step in 0..contenders.len() {
                let which = (round + step) % contenders.len();
                let took = timed((contenders[which].1)())?;
                let _ = fs::remove_dir_all(self.home.path().join("data"));
                // The first round warms the appliance.
                if round > 0 {
                    times[which].push(millis(&took));
                }
            }
        }
        println!("\n{} devices, pages of {page}, {rounds} rounds: median (smallest to largest)\n", self.devices);
        for ((name, _), own) in contenders.iter().zip(&times) {
            let to =
                |other: &[f64]| Figure::of(&own.iter().zip(other).map(|(own, other)| own / other).collect::<Vec<_>>());
            println!("{name:<22} {:>30} ms   to curl --compressed {}", Figure::of(own).to_string(), to(&times[0]));
        }
        let share = server_share(&compressed)?;
        println!("of curl's time with --compressed, {:.0} % is waiting for the appliance's first byte", share * 100.0);
        Ok(())
    }

    fn ingest(&self, page: usize, flags: &[&str]) -> Command {
        let mut command = robocred(self.home.path());
        command.args(["ingest", ROBOT, "-o", "data", "--api", "graphql", "--max-rate", "1000000", "--page-size"]);
        command.arg(page.to_string()).args(flags);
        command
    }

    /// The requests of a walk as a file for curl: the pages that `ingest` asks for.
    fn curl(&self, page: usize, visible: usize, compressed: bool) -> Result<PathBuf> {
        let folder = self.home.path().join(format!("curl-{page}-{compressed}"));
        fs::create_dir_all(&folder)?;
        let document = Query::Page { list: List::Assets, width: Width::Wide, details: false }.document();
        let pair = self.home.path().join("pair");
        let mut config = String::new();
        for start in (0..visible).step_by(page) {
            let mut variables = json!({
                "first": page,
                "filter": {"field": "hidden", "op": "Equal", "values": "false"},
                "sort": [{"field": "id", "direction": "DescNullLast"}],
            });
            if start > 0 {
                variables["after"] = json!(cursor(start - 1));
            }
            let body = folder.join(start.to_string());
            fs::write(&body, serde_json::to_vec(&json!({"query": document, "variables": variables}))?)?;
            if start > 0 {
                config.push_str("next\n");
            }
            writeln!(config, "url = \"{}/graphql\"\nsilent\nfail\ninsecure", self.simulator.url())?;
            writeln!(config, "cert = \"{0}/cert.pem\"\nkey = \"{0}/key.pem\"", pair.display())?;
            writeln!(config, "header = \"Content-Type: application/json\"\ndata-binary = \"@{}\"", body.display())?;
            config.push_str("output = \"/dev/null\"\nwrite-out = \"%{time_pretransfer} %{time_starttransfer} %{time_total} %{num_connects}\\n\"\n");
            if compressed {
                config.push_str("compressed\n");
            }
        }
        let path = folder.join("config");
        fs::write(&path, config)?;
        Ok(path)
    }
}

/// How much of curl's time it waited for the first byte of a reply.
fn server_share(config: &Path) -> Result<f64> {
    let output = curl_with(config).output()?;
    let (mut waited, mut total, mut connections) = (0.0, 0.0, 0.0);
    for line in String::from_utf8(output.stdout)?.lines() {
        let figures = line.split(' ').map(str::parse).collect::<std::result::Result<Vec<f64>, _>>()?;
        let [before, first, end, connects] = figures[..] else { return Err("curl wrote something else".into()) };
        waited += first - before;
        total += end;
        connections += connects;
    }
    if connections > 1.0 {
        return Err(format!("curl opened {connections} connections instead of one").into());
    }
    Ok(waited / total)
}

/// Base64 of `arrayconnection:N`, as the appliance writes it.
fn cursor(row: usize) -> String {
    use base64ct::{Base64, Encoding as _};
    Base64::encode_string(format!("arrayconnection:{row}").as_bytes())
}

fn curl_with(config: &Path) -> Command {
    let mut command = Command::new("curl");
    command.arg("--config").arg(config);
    command
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr)).into())
}

fn timed(mut command: Command) -> Result<Duration> {
    let start = Instant::now();
    run(&mut command)?;
    Ok(start.elapsed())
}

/// The most memory a process had resident, in KiB.
fn peak(mut command: Command) -> Result<u64> {
    let mut child = command.stdout(Stdio::null()).spawn()?;
    let mut most = 0;
    let status = loop {
        // It only grows, so the last look before the end has it.
        let now = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = now.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        most = number.unwrap_or(0).max(most);
        match child.try_wait()? {
            Some(status) => break status,
            None => thread::sleep(LOOKS),
        }
    };
    if !status.success() {
        return Err(format!("{command:?} ended with {status}").into());
    }
    Ok(most)
}
