//! What a `watch` costs that has nothing to do: 1,000 robots, none of them due.
//! Its memory, its time on a processor, how often it wakes up, and how long its
//! documents take. Linux only.
//!
//! `cargo bench --bench watch` takes ten minutes; `-- --minutes 1` is quicker
//! and says less: what happens once a minute is then counted once. Judges
//! nothing: it fails only where it could not measure. docs/BENCHMARKS.md holds
//! results and what is wanted.

mod plant;

use std::{
    error::Error,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use plant::{Figure, ROBOTS_A_SITE, SITES, fill, millis, robocred};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const MINUTES: u64 = 10;
/// How often each document is asked for.
const ROUNDS: usize = 100;
/// From the last change until it is measured.
const SETTLED: Duration = Duration::from_secs(5);

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
    let minutes = minutes()?;
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(fill(home.path(), SITES))?;
    println!("cores      {}", thread::available_parallelism()?);
    println!("robots     {} of {SITES} sites\n", SITES * ROBOTS_A_SITE);

    let watch = Watch::start(home.path())?;
    watch.looks_at_every_site()?;
    thread::sleep(SETTLED);
    let first = watch.counted()?;
    println!("after its first look at every site, {:.1} s after its start:", watch.started.elapsed().as_secs_f64());
    println!("  resident {}, {:.1} ms on a processor\n", watch.memory()?, millis(&first.on_cpu));
    let (before, begun) = (watch.counted()?, Instant::now());
    thread::sleep(Duration::from_secs(60 * minutes));
    let (after, took) = (watch.counted()?, begun.elapsed());
    let idle = watch.memory()?;
    let busy = after.on_cpu.saturating_sub(before.on_cpu);
    let woken = after.woken - before.woken;
    println!("idle for {:.0} s, nobody asks:", took.as_secs_f64());
    println!("  resident {idle}, {} threads", after.threads);
    println!(
        "  {:.1} ms on a processor, {:.4} % of one",
        millis(&busy),
        100.0 * busy.as_secs_f64() / took.as_secs_f64()
    );
    #[allow(clippy::cast_precision_loss, reason = "a few hundred")]
    let every = took.as_secs_f64() / woken.max(1) as f64;
    println!("  {woken} wake-ups of all threads, one in {every:.1} s");
    for thread in &watch.threads()? {
        println!("    {thread}");
    }

    println!("\n{ROUNDS} requests each, one after the other: median (smallest to largest) ms");
    for path in ["/metrics", "/", "/status.json", "/readyz"] {
        let mut times = Vec::new();
        let mut bytes = 0;
        for round in 0..=ROUNDS {
            let start = Instant::now();
            bytes = watch.get(path)?;
            if round > 0 {
                times.push(millis(&start.elapsed()));
            }
        }
        println!("  {path:<13} {:>26}   {bytes} bytes", Figure::of(&times).to_string());
    }
    thread::sleep(SETTLED);
    println!("resident after that: {}", watch.memory()?);
    Ok(())
}

fn minutes() -> Result<u64> {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--minutes").skip(1);
    match arguments.next() {
        None => Ok(MINUTES),
        Some(number) => match number.parse() {
            Ok(minutes) if minutes > 0 => Ok(minutes),
            _ => Err(format!("--minutes {number}: not a number above 0").into()),
        },
    }
}

/// A running watch; dropped, it is ended.
struct Watch {
    started: Instant,
    child: Child,
    address: String,
}

/// What has been counted since the process began.
struct Counted {
    on_cpu: Duration,
    woken: u64,
    threads: usize,
}

impl Watch {
    fn start(home: &Path) -> Result<Self> {
        let mut command = robocred(home);
        command.args(["watch", "--listen", "127.0.0.1:0"]);
        let started = Instant::now();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(child.stderr.take().ok_or("no standard error")?).lines();
        let mut address = None;
        while address.is_none() {
            let line = lines.next().ok_or("it ended before it served")??;
            address = line.split_once("http://").map(|(_, rest)| rest.trim_end_matches('/').to_owned());
        }
        // What it says later must find a reader.
        thread::spawn(move || lines.map_while(std::result::Result::ok).for_each(drop));
        let watch = Self { started, child, address: address.unwrap_or_default() };
        let end = Instant::now() + Duration::from_secs(30);
        while watch.get("/livez").is_err() {
            if Instant::now() > end {
                return Err("it does not answer".into());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(watch)
    }

    /// At its start it looks at every site once, by a child each.
    fn looks_at_every_site(&self) -> Result<()> {
        let end = Instant::now() + Duration::from_mins(10);
        let looked = |text: &str| text.matches("robocred_task_last_run_timestamp_seconds{").count();
        while looked(&self.read("/metrics")?) < SITES {
            if Instant::now() > end {
                return Err("it does not look at every site".into());
            }
            thread::sleep(Duration::from_secs(1));
        }
        Ok(())
    }

    /// The length of the answer, of which the last byte was read.
    fn get(&self, path: &str) -> Result<usize> {
        self.read(path).map(|answer| answer.len())
    }

    fn read(&self, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect(&self.address)?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.address)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        if answer.starts_with("HTTP/1.1 200") {
            return Ok(answer);
        }
        Err(format!("{path}: {}", answer.lines().next().unwrap_or_default()).into())
    }

    fn file(&self, name: &str) -> Result<String> {
        Ok(fs::read_to_string(format!("/proc/{}/{name}", self.child.id()))?)
    }

    fn tasks(&self) -> Result<Vec<String>> {
        let folder = fs::read_dir(format!("/proc/{}/task", self.child.id()))?;
        folder.map(|entry| Ok(format!("task/{}", entry?.file_name().to_string_lossy()))).collect()
    }

    fn counted(&self) -> Result<Counted> {
        let (mut on_cpu, mut woken, tasks) = (Duration::ZERO, 0, self.tasks()?);
        for task in &tasks {
            on_cpu += Duration::from_nanos(
                self.file(&format!("{task}/schedstat"))?.split(' ').next().unwrap_or_default().parse()?,
            );
            woken += number(&self.file(&format!("{task}/status"))?, "voluntary_ctxt_switches:")?;
        }
        Ok(Counted { on_cpu, woken, threads: tasks.len() })
    }

    /// Each thread, and how often it has woken up since it began.
    fn threads(&self) -> Result<Vec<String>> {
        let told = |task: &String| {
            let status = self.file(&format!("{task}/status"))?;
            let name = self.file(&format!("{task}/comm"))?;
            Ok(format!("{}: {} wake-ups since its start", name.trim(), number(&status, "voluntary_ctxt_switches:")?))
        };
        self.tasks()?.iter().map(told).collect()
    }

    fn memory(&self) -> Result<String> {
        let (status, rollup) = (self.file("status")?, self.file("smaps_rollup")?);
        let [resident, own, most] =
            [number(&status, "VmRSS:")?, number(&rollup, "Pss:")?, number(&status, "VmHWM:")?].map(mib);
        Ok(format!("{resident:.1} MiB (its share, Pss, {own:.1}; at most so far {most:.1})"))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _waited = self.child.wait();
    }
}

/// The number after a word that begins a line.
fn number(text: &str, word: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(word)).ok_or_else(|| format!("no {word}"))?;
    Ok(line.split_whitespace().next().ok_or("no number")?.parse()?)
}

#[allow(clippy::cast_precision_loss, reason = "no process here has terabytes")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
