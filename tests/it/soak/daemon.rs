//! The watch under test: started, killed, ended, asked, and measured.

use std::{
    fs::{self, OpenOptions},
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use robocred::clock::test_clock::VARIABLE;
use rustix::process::Signal;

use super::plant::Plant;
use crate::{
    scan::{descendants, signal},
    seed::Seed,
};

/// How long a watch may take to end (product.md).
const TO_END: Duration = Duration::from_secs(10);

pub struct Daemon {
    child: Child,
    address: SocketAddr,
    /// One life of the process after the other.
    lives: Vec<Vec<Measured>>,
    most_children: usize,
}

/// What one look at the process said.
#[derive(Clone, Copy, Debug)]
struct Measured {
    rss_kib: usize,
    files: usize,
}

impl Daemon {
    pub fn start(plant: &Plant) -> Self {
        let (child, address) = spawn(plant);
        let daemon = Self { child, address, lives: vec![Vec::new()], most_children: 0 };
        daemon.wait_until_it_answers(plant);
        daemon
    }

    /// Another process after this one has ended.
    pub fn begin_again(&mut self, plant: &Plant) {
        (self.child, self.address) = spawn(plant);
        self.lives.push(Vec::new());
        self.wait_until_it_answers(plant);
    }

    fn wait_until_it_answers(&self, plant: &Plant) {
        let end = Instant::now() + Duration::from_secs(30);
        while self.get("/livez").is_none_or(|answer| answer.status != 200) {
            assert!(Instant::now() < end, "the watch does not answer: {}", said(plant));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it without a word; its children live on.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end, which it must do in time, and with its children.
    pub fn end(&mut self, plant: &Plant) {
        let children = descendants(self.child.id());
        let begun = Instant::now();
        self.signal(Signal::TERM);
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(begun.elapsed() < TO_END, "the watch does not end: {}", said(plant));
            std::thread::sleep(Duration::from_millis(20));
        };
        assert_eq!(status.code(), Some(0), "{}", said(plant));
        let left: Vec<_> = children.into_iter().filter(|child| of_the_soak(*child, plant)).collect();
        assert!(left.is_empty(), "the watch has left its children behind: {left:?}");
        // What a killed one left behind ends by itself.
        while let [left, ..] = leftover(plant)[..] {
            assert!(begun.elapsed() < Duration::from_mins(1), "a process was left behind: {left}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn signal(&self, name: Signal) {
        signal(self.child.id(), name);
    }

    /// One of its children, if one comes within a while.
    pub fn a_child(&self, seed: &mut Seed) -> Option<u32> {
        let end = Instant::now() + Duration::from_secs(2);
        while Instant::now() < end {
            let children = descendants(self.child.id());
            if !children.is_empty() {
                return Some(children[seed.below(children.len())]);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }

    /// Asks for a document; `None` if it cannot answer now.
    pub fn get(&self, path: &str) -> Option<Answer> {
        let mut stream = TcpStream::connect_timeout(&self.address, Duration::from_secs(5)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.address).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Answer { status, body: body.to_owned() })
    }

    pub fn measure(&mut self) {
        let process = format!("/proc/{}", self.child.id());
        let Ok(status) = fs::read_to_string(format!("{process}/status")) else { return };
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let Some(rss_kib) = line.and_then(|line| line.split_whitespace().next()?.parse().ok()) else { return };
        let files = fs::read_dir(format!("{process}/fd")).map_or(0, Iterator::count);
        self.lives.last_mut().unwrap().push(Measured { rss_kib, files });
        self.most_children = self.most_children.max(descendants(self.child.id()).len());
    }

    /// The first and the last quarter of the longest life: memory by its middle value, and the fewest open files,
    /// since a child that runs and a connection that is answered have theirs.
    fn quarters(&self) -> Option<[Measured; 2]> {
        let life = self.lives.iter().max_by_key(|life| life.len())?;
        let quarter = life.len() / 4;
        let of = |part: &[Measured]| {
            let mut rss_kib: Vec<_> = part.iter().map(|at| at.rss_kib).collect();
            rss_kib.sort_unstable();
            let files = part.iter().map(|at| at.files).min().unwrap_or_default();
            Measured { rss_kib: rss_kib[part.len() / 2], files }
        };
        (quarter > 0).then(|| [of(&life[..quarter]), of(&life[life.len() - quarter..])])
    }

    pub fn figures(&self) -> String {
        let most = self.lives.iter().flatten().map(|at| at.rss_kib).max();
        format!(
            "{} lives of the daemon, at most {most:?} KiB and {} children, first and last quarter of the longest {:?}",
            self.lives.len(),
            self.most_children,
            self.quarters()
        )
    }

    /// Neither memory nor files nor children grow.
    pub fn stayed_small(&self) {
        let [first, last] = self.quarters().expect("it was looked at");
        let most = first.rss_kib + first.rss_kib / 10 + 1024;
        assert!(last.rss_kib <= most, "the daemon grows: {}", self.figures());
        // The inventory has up to three files, a child two, a connection one: whatever is kept of each of the
        // hundreds of children and thousands of requests is more.
        assert!(last.files <= first.files + 6, "the daemon keeps files open: {}", self.figures());
        // One for each appliance; a hook is a child's own child.
        assert!(self.most_children <= 2 * super::SITES.len(), "{}", self.figures());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // A failed test leaves nothing behind.
        for child in descendants(self.child.id()) {
            signal(child, Signal::KILL);
        }
        let _ended = self.child.kill();
        let _waited = self.child.wait();
    }
}

/// What HTTP answered.
pub struct Answer {
    pub status: u16,
    pub body: String,
}

fn spawn(plant: &Plant) -> (Child, SocketAddr) {
    // Free a moment ago, and nowhere near the ports to which rebooted appliances come back.
    let address = TcpListener::bind("127.0.0.2:0").unwrap().local_addr().unwrap();
    let log = OpenOptions::new().create(true).append(true).open(plant.world.path("watch.log")).unwrap();
    let mut command = plant.world.command(&["watch", "--listen", &address.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    (command.spawn().unwrap(), address)
}

/// The end of what it has said.
pub fn said(plant: &Plant) -> String {
    let said = fs::read_to_string(plant.world.path("watch.log")).unwrap_or_default();
    let lines: Vec<&str> = said.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// Every process that follows this soak's clock.
fn leftover(plant: &Plant) -> Vec<u32> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(|pid| of_the_soak(*pid, plant)).collect()
}

fn of_the_soak(process: u32, plant: &Plant) -> bool {
    let variable = format!("{VARIABLE}={}", plant.clock().display());
    let environment = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|set| set == variable.as_bytes())
}
