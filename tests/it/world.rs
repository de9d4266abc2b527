//! A person's machine and an appliance: the tool as a process with a home of
//! its own, and the simulator in this one. Dropping it leaves nothing behind.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use robocred::{
    inventory::Inventory,
    simulator::{self, Behaviours, Options, Request, Simulator},
};
use serde_json::Value;

/// The support token the appliance accepts; a canary for the leak tests.
pub const TOKEN: &str = "canary-5u99or7-t0ken";

/// One home directory, and one appliance.
pub struct World {
    pub simulator: Simulator,
    /// Kept for the simulator's tasks; dropped after it.
    pub runtime: tokio::runtime::Runtime,
    /// The address that the person was told, and its pin.
    url: String,
    pin: String,
    home: tempfile::TempDir,
    /// The clock that the tool follows, if not the machine's.
    #[cfg(feature = "test-clock")]
    clock: Option<PathBuf>,
}

/// What a run of the tool brought.
#[derive(Debug)]
pub struct Ran {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// The exit code; a run that was killed has none.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The one JSON document on standard output.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self:#?}"))
    }

    /// Panics with everything that was printed unless the code is this.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code(), Some(code), "{self:#?}");
        self
    }
}

impl World {
    /// A home and an appliance with a few devices.
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    /// As [`World::new`], with an appliance that behaves so.
    pub fn of(behaviours: &Behaviours) -> Self {
        Self::with(|options| options.behaviours = behaviours.clone())
    }

    /// As [`World::new`], with the appliance's options changed by `change`.
    pub fn with(change: impl FnOnce(&mut Options)) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut options = Options { token: TOKEN.to_owned(), devices: 20, ..Options::default() };
        change(&mut options);
        let simulator = runtime.block_on(simulator::start(options)).unwrap();
        let (url, pin) = (simulator.url(), simulator.pin().to_string());
        Self {
            simulator,
            runtime,
            url,
            pin,
            home: tempfile::tempdir().unwrap(),
            #[cfg(feature = "test-clock")]
            clock: None,
        }
    }

    /// The tool follows the clock in this file from now on.
    #[cfg(feature = "test-clock")]
    pub fn follows(&mut self, clock: &Path) {
        self.clock = Some(clock.to_owned());
    }

    /// The person is told an address that only leads to the appliance, and so
    /// is the configuration, if there is one.
    pub fn reach_by(&mut self, url: String) {
        if let Ok(config) = std::fs::read_to_string(self.config()) {
            std::fs::write(self.config(), config.replace(&self.url, &url)).unwrap();
        }
        self.url = url;
    }

    /// A path below the home directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().canonicalize().unwrap().join(name)
    }

    /// The state directory.
    pub fn state(&self) -> PathBuf {
        self.path(".local/state/robocred")
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.path(".config/robocred/robocred.toml")
    }

    /// The tool with this home and nothing of our environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_robocred"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.path(""))
            .env("PATH", "/usr/bin:/bin")
            .env("ROBOCRED_STORE", "sealed")
            .env("ROBOCRED_NON_INTERACTIVE", "true")
            .current_dir(self.path(""));
        #[cfg(feature = "test-clock")]
        command.envs(self.clock.iter().map(|file| (robocred::clock::test_clock::VARIABLE, file)));
        command
    }

    /// What `tool` would run, as the last arguments of `wrapper`, with the same surroundings.
    pub fn wrapped(&self, wrapper: &[&str], tool: &Command) -> Command {
        let mut command = Command::new(wrapper[0]);
        command.args(&wrapper[1..]).arg(tool.get_program()).args(tool.get_args()).env_clear();
        command.envs(tool.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(self.path(""));
        command
    }

    /// Runs the tool to its end with nothing on standard input.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        run(self.command(arguments), b"")
    }

    /// The usual first provision of `plant/reader`, with P-256 since it is quick.
    pub fn provision_arguments(&self) -> Vec<String> {
        let (url, pin) = (self.url.clone(), self.pin.clone());
        let fixed = ["--json", "provision", "plant/reader", "--key-type", "ecdsa-p256", "--token-stdin"];
        let mut arguments: Vec<String> = fixed.map(str::to_owned).into();
        arguments.extend(["--url".to_owned(), url, "--pin".to_owned(), pin]);
        arguments
    }

    /// Runs [`World::provision_arguments`] and `more`, with the token on standard input.
    pub fn provision(&self, more: &[&str]) -> Ran {
        self.provision_with(more, TOKEN, |_| {})
    }

    /// As [`World::provision`], with another token and the command changed by `change`.
    pub fn provision_with(&self, more: &[&str], token: &str, change: impl FnOnce(&mut Command)) -> Ran {
        let mut arguments = self.provision_arguments();
        arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut command = self.command(&arguments);
        change(&mut command);
        run(command, token.as_bytes())
    }

    /// A person finds that the appliance's key was rightly changed, and pins the new one.
    pub fn pin_anew(&mut self) {
        let pin = self.simulator.pin().to_string();
        let config = std::fs::read_to_string(self.config()).unwrap();
        std::fs::write(self.config(), config.replace(&self.pin, &pin)).unwrap();
        self.pin = pin;
    }

    /// Whether the appliance shows the key that is pinned.
    pub fn trusts_the_appliance(&self) -> bool {
        self.pin == self.simulator.pin().to_string()
    }

    /// What the inventory holds, through the library; `None` before the first run made one.
    pub fn inventory(&self) -> Option<Inventory> {
        self.runtime.block_on(Inventory::open_read_only(&self.state())).unwrap()
    }

    /// How many registrations the appliance was asked for so far.
    pub fn posts(&self) -> usize {
        let registration = |request: &&Request| request.method == "POST" && request.path == "/v1/robots";
        self.simulator.requests().iter().filter(registration).count()
    }

    /// The one robot of `status --json`.
    pub fn status(&self) -> Value {
        let document = self.run(&["--json", "status"]).expect(0).json();
        assert_eq!(document["schema"], 1);
        document["robots"][0].clone()
    }

    /// Every file below the home directory, for the tests that look for what must not be there.
    pub fn files(&self) -> Vec<PathBuf> {
        fn below(folder: &Path, found: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let kind = path.symlink_metadata().unwrap().file_type();
                if kind.is_dir() {
                    below(&path, found);
                } else if kind.is_file() {
                    found.push(path);
                }
            }
        }
        let mut found = Vec::new();
        below(&self.path(""), &mut found);
        found
    }

    /// Panics if any file below the home directory holds `bytes`.
    #[track_caller]
    pub fn assert_nowhere(&self, bytes: &[u8]) {
        for path in self.files() {
            let content = std::fs::read(&path).unwrap();
            assert!(!content.windows(bytes.len()).any(|window| window == bytes), "{} holds it", path.display());
        }
    }
}

/// Runs a command to its end with `input` on standard input.
pub fn run(command: Command, input: &[u8]) -> Ran {
    finish(start(command, input))
}

/// Starts a command with `input` on standard input.
pub fn start(mut command: Command, input: &[u8]) -> Child {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the tool was built");
    // A child that ends without reading closes the pipe; that is its right.
    let _ = child.stdin.take().unwrap().write_all(input);
    child
}

/// Waits until a command has ended.
pub fn finish(child: Child) -> Ran {
    let watchdog = Watchdog::over(&child);
    let output = child.wait_with_output().unwrap();
    drop(watchdog);
    Ran {
        status: output.status,
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Ends a child that does not end by itself: a test that waits for ever says nothing.
struct Watchdog(Option<(mpsc::Sender<()>, thread::JoinHandle<()>)>);

/// Longer than any run may take.
const FOR_EVER: Duration = Duration::from_mins(2);

impl Watchdog {
    fn over(child: &Child) -> Self {
        let pid = rustix::process::Pid::from_child(child);
        let (ended, waiting) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            if waiting.recv_timeout(FOR_EVER) == Err(mpsc::RecvTimeoutError::Timeout) {
                // Not SIGKILL, which is how the kill tests end it.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            }
        });
        Self(Some((ended, thread)))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        if let Some((ended, thread)) = self.0.take() {
            drop(ended);
            let _ = thread.join();
        }
    }
}
