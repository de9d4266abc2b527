//! The keyring store against a real gnome-keyring, each test on a session bus of its own.
//!
//! The keyring is one per process and found through the environment, so every test
//! starts this test binary again, inside `dbus-run-session`, to run its inner half. The
//! inner halves are ignored by an ordinary run and do nothing outside such a session.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use robocred::{
    secrets::{Choice, Error, KeyringStore, SealPlaces, SecretStore, open, probe},
    site::StoreKind,
};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{
    judges,
    secrets::{MARKER, slot, suite},
};

/// How the keyring of a session begins.
#[derive(Clone, Copy)]
enum Keyring {
    /// Unlocked with this password; made, if there was none.
    Unlocked(&'static str),
    /// The same, on a bus that starts the service again when it has died.
    Revived(&'static str),
    /// Started by the bus when first asked for, with nobody logged in.
    OnDemand,
    /// Nobody on the bus keeps secrets.
    Nobody,
    /// There is no bus.
    NoBus,
}

/// Runs the inner half `name` in a session whose files are under `home`.
fn run(home: &Path, keyring: Keyring, name: &str) {
    for dir in ["data", "config", "cache", "run"] {
        fs::create_dir_all(home.join(dir)).unwrap();
    }
    fs::set_permissions(home.join("run"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    // A bus that starts no services: who is gone stays gone.
    let bus = home.join("bus.conf");
    fs::write(
        &bus,
        format!(
            "<!DOCTYPE busconfig PUBLIC '-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN' \
             'http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd'><busconfig><type>session</type>\
             <listen>unix:dir={}</listen><policy context='default'><allow send_destination='*'/>\
             <allow receive_sender='*'/><allow own='*'/></policy></busconfig>",
            home.join("run").display()
        ),
    )
    .unwrap();
    let test = format!(r#"exec "$TEST_BINARY" --exact secrets_keyring::{name} --ignored --nocapture"#);
    let unlock = r#"
        printf %s "$TEST_PASSWORD" | gnome-keyring-daemon --unlock --components=secrets --daemonize >/dev/null
        tries=0
        until dbus-send --session --print-reply --dest=org.freedesktop.DBus / org.freedesktop.DBus.NameHasOwner \
            string:org.freedesktop.secrets | grep -q 'boolean true'
        do
            tries=$((tries + 1)); [ $tries -lt 200 ] || { echo 'the keyring did not come up' >&2; exit 1; }
            sleep 0.05
        done
    "#;
    let mut command = match keyring {
        Keyring::NoBus => Command::new("sh"),
        Keyring::OnDemand | Keyring::Revived(_) => Command::new("dbus-run-session"),
        Keyring::Unlocked(_) | Keyring::Nobody => {
            let mut command = Command::new("dbus-run-session");
            command.arg("--config-file").arg(&bus);
            command
        }
    };
    if !matches!(keyring, Keyring::NoBus) {
        command.args(["--", "sh"]);
    }
    let password = match keyring {
        Keyring::Unlocked(password) | Keyring::Revived(password) => Some(password),
        Keyring::OnDemand | Keyring::Nobody | Keyring::NoBus => None,
    };
    command.arg("-c").arg(if password.is_some() { format!("{unlock}\n{test}") } else { test });
    command.env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap());
    command.env("HOME", home).env("XDG_RUNTIME_DIR", home.join("run"));
    for (variable, dir) in [("XDG_DATA_HOME", "data"), ("XDG_CONFIG_HOME", "config"), ("XDG_CACHE_HOME", "cache")] {
        command.env(variable, home.join(dir));
    }
    command.env("TEST_BINARY", std::env::current_exe().unwrap()).env("ROBOCRED_TEST_HOME", home);
    command.env("TEST_PASSWORD", password.unwrap_or_default());
    let Output { status, stdout, stderr } = command.output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success() && stdout.contains("1 passed"), "{name}: {status}\n{stdout}\n{stderr}");
}

/// Runs one test in a fresh home, if the programs are there.
fn outer(keyring: Keyring, name: &str) {
    if installed() {
        run(TempDir::new().unwrap().path(), keyring, name);
    }
}

fn installed() -> bool {
    judges::need("gnome-keyring-daemon", "gnome-keyring")
        && judges::need("dbus-run-session", "dbus")
        && judges::need("dbus-send", "dbus")
        && judges::need("secret-tool", "libsecret-tools")
}

/// The home of an inner half; `None` in an ordinary run with `--ignored`.
fn inner_home() -> Option<PathBuf> {
    std::env::var_os("ROBOCRED_TEST_HOME").map(PathBuf::from)
}

fn places(home: &Path) -> SealPlaces {
    SealPlaces {
        credential: None,
        key_file: None,
        passphrase_file: None,
        default_key_file: home.join("config/robocred/seal.key"),
        secrets_dir: home.join("state/secrets"),
    }
}

fn assert_nothing_sealed(home: &Path) {
    let places = places(home);
    assert!(!places.secrets_dir.exists() && !places.default_key_file.exists(), "sealed files were made");
}

/// The outcome of `work`, which must come within `limit`.
fn within<T>(limit: Duration, work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let outcome = work();
    assert!(began.elapsed() < limit, "took {:?}", began.elapsed());
    outcome
}

const SOON: Duration = Duration::from_secs(5);

fn dbus_send(arguments: &[&str]) -> String {
    let sent = Command::new("dbus-send").args(["--session", "--print-reply"]).args(arguments).output().unwrap();
    assert!(sent.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&sent.stderr));
    String::from_utf8(sent.stdout).unwrap()
}

fn daemon() -> Pid {
    let reply = dbus_send(&[
        "--dest=org.freedesktop.DBus",
        "/",
        "org.freedesktop.DBus.GetConnectionUnixProcessID",
        "string:org.freedesktop.secrets",
    ]);
    let id = reply.trim().rsplit(' ').next().unwrap().parse().unwrap();
    Pid::from_raw(id).unwrap()
}

/// Kills the daemon and waits until the bus has noticed.
fn kill_daemon() {
    kill_process(daemon(), Signal::KILL).unwrap();
    let began = Instant::now();
    let dbus =
        ["--dest=org.freedesktop.DBus", "/", "org.freedesktop.DBus.NameHasOwner", "string:org.freedesktop.secrets"];
    while dbus_send(&dbus).contains("boolean true") {
        assert!(began.elapsed() < SOON, "the bus still has a keyring");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A daemon that is stopped, and killed in the end whatever happens: it would outlive its bus.
struct Stopped(Pid);

impl Stopped {
    fn now() -> Self {
        let daemon = daemon();
        kill_process(daemon, Signal::STOP).unwrap();
        Self(daemon)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::KILL);
    }
}

#[test]
fn an_unlocked_keyring() {
    outer(Keyring::Unlocked("correct horse"), "inner_unlocked");
}

#[tokio::test]
#[ignore = "run by an_unlocked_keyring"]
async fn inner_unlocked() {
    let Some(home) = inner_home() else { return };
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).init();

    tokio::task::spawn_blocking(|| suite(&KeyringStore)).await.unwrap();

    let opened = open(Choice::Auto, None, false, &places(&home)).await.unwrap();
    assert_eq!((opened.secrets.kind(), opened.notice), (StoreKind::Keyring, None));
    let label = "robocred: plant-a/lucidum generation 2 (private key)";
    opened.secrets.put(&slot("plant-a/lucidum/g2"), label, MARKER).await.unwrap();

    let secret_tool = |arguments: &[&str]| Command::new("secret-tool").args(arguments).output().unwrap();
    let found = secret_tool(&["lookup", "service", "robocred", "username", "7f3a/plant-a/lucidum/g2"]);
    assert_eq!(found.stdout, MARKER, "another program reads what we stored");
    let all = secret_tool(&["search", "--all", "service", "robocred"]);
    let (shown, attributes) = (String::from_utf8_lossy(&all.stdout), String::from_utf8_lossy(&all.stderr));
    assert!(shown.contains(&format!("label = {label}")), "{shown}");
    assert_eq!(attributes.matches("attribute.username = ").count(), 1, "no canary is left: {attributes}");

    let tried = probe(Choice::Auto, Some(StoreKind::Keyring), false, &places(&home)).await.unwrap();
    assert!(tried.kind == StoreKind::Keyring && tried.took.is_some(), "{tried:?}");

    assert_nothing_sealed(&home);
    let logged = log.0.lock().unwrap();
    assert!(!logged.is_empty(), "the log was not listened to");
    let logged = String::from_utf8_lossy(&logged);
    let as_numbers = format!("{MARKER:?}");
    let clear = String::from_utf8_lossy(MARKER);
    assert!(!logged.contains(&*clear) && !logged.contains(as_numbers.trim_matches(['[', ']'])), "{logged}");
}

#[test]
fn an_api_key_in_a_keyring() {
    outer(Keyring::Unlocked("correct horse"), "inner_api_key");
}

#[test]
#[ignore = "run by an_api_key_in_a_keyring"]
fn inner_api_key() {
    const KEY: &str = "canary-4pi-k3y";
    let Some(home) = inner_home() else { return };
    let config = home.join("robocred.toml");
    let site = "version = 1\n[sites.plant]\nurl = \"https://10.20.0.5\"\ntrust = \"system\"\n";
    fs::write(&config, site).unwrap();
    let tool = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_robocred"));
        command.args(["--json", "--store", "keyring", "--config"]).arg(&config);
        command.arg("--state-dir").arg(home.join("state")).arg("apikey").args(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // A run that takes no key may have ended.
        let _ = child.stdin.take().unwrap().write_all(KEY.as_bytes());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let kept = || {
        let search = ["search", "--all", "service", "robocred"];
        let found = Command::new("secret-tool").args(search).output().unwrap();
        String::from_utf8(found.stdout).unwrap()
    };
    assert!(tool(&["set", "plant", "--key-stdin"]).contains("\"present\":true"));
    let shown = kept();
    assert!(shown.contains("label = API key for plant") && shown.contains(KEY), "{shown}");
    assert!(tool(&["clear", "plant"]).contains("\"present\":false"));
    assert!(!kept().contains(KEY), "{}", kept());
    assert_nothing_sealed(&home);
}

/// A log kept in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_keyring_that_is_locked() {
    if !installed() {
        return;
    }
    let home = TempDir::new().unwrap();
    run(home.path(), Keyring::Unlocked("correct horse"), "inner_becomes_locked");
    run(home.path(), Keyring::Unlocked("wrong horse"), "inner_locked");
    run(home.path(), Keyring::OnDemand, "inner_locked");
    run(home.path(), Keyring::Unlocked("correct horse"), "inner_kept");
}

#[test]
#[ignore = "run by a_keyring_that_is_locked"]
fn inner_becomes_locked() {
    if inner_home().is_none() {
        return;
    }
    let store = KeyringStore;
    store.put(&slot("a"), "robocred: a", MARKER).unwrap();
    dbus_send(&[
        "--dest=org.freedesktop.secrets",
        "/org/freedesktop/secrets",
        "org.freedesktop.Secret.Service.Lock",
        "array:objpath:/org/freedesktop/secrets/collection/login",
    ]);
    for outcome in [
        within(SOON, || store.read(&slot("a")).map(drop)),
        within(SOON, || store.put(&slot("a"), "robocred: a", b"new")),
        within(SOON, || store.put(&slot("b"), "robocred: b", b"new")),
        within(SOON, || store.remove(&slot("a"))),
    ] {
        assert!(matches!(outcome, Err(Error::Locked)), "{outcome:?}");
    }
}

#[tokio::test]
#[ignore = "run by a_keyring_that_is_locked"]
async fn inner_locked() {
    let Some(home) = inner_home() else { return };
    for choice in [Choice::Auto, Choice::Keyring] {
        let outcome = open(choice, None, false, &places(&home)).await;
        assert!(matches!(outcome, Err(Error::Locked)), "{choice:?}: {outcome:?}");
    }
    let recorded = open(Choice::Auto, Some(StoreKind::Keyring), false, &places(&home)).await.unwrap().secrets;
    let outcome = recorded.read(&slot("a")).await;
    assert!(matches!(outcome, Err(Error::Locked)), "{outcome:?}");
    assert_nothing_sealed(&home);
}

#[test]
#[ignore = "run by a_keyring_that_is_locked"]
fn inner_kept() {
    if inner_home().is_none() {
        return;
    }
    let store = KeyringStore;
    assert_eq!(**store.read(&slot("a")).unwrap(), *MARKER, "what was refused changed nothing");
    assert!(matches!(store.read(&slot("b")), Err(Error::NotFound { .. })));
}

#[test]
fn a_daemon_that_dies() {
    outer(Keyring::Unlocked("correct horse"), "inner_dies");
}

#[test]
#[ignore = "run by a_daemon_that_dies"]
fn inner_dies() {
    if inner_home().is_none() {
        return;
    }
    let store = KeyringStore;
    store.put(&slot("a"), "robocred: a", MARKER).unwrap();
    kill_daemon();
    for outcome in [
        within(SOON, || store.read(&slot("a")).map(drop)),
        within(SOON, || store.put(&slot("a"), "robocred: a", b"new")),
        within(SOON, || store.remove(&slot("a"))),
    ] {
        assert!(matches!(outcome, Err(Error::Absent(_))), "{outcome:?}");
    }
}

#[test]
fn a_daemon_that_dies_and_comes_back() {
    outer(Keyring::Revived("correct horse"), "inner_revived");
}

#[test]
#[ignore = "run by a_daemon_that_dies_and_comes_back"]
fn inner_revived() {
    if inner_home().is_none() {
        return;
    }
    let store = KeyringStore;
    store.put(&slot("a"), "robocred: a", MARKER).unwrap();
    kill_daemon();
    // The one that comes back was not told the password.
    for outcome in [
        within(SOON, || store.read(&slot("a")).map(drop)),
        within(SOON, || store.put(&slot("a"), "robocred: a", b"new")),
        within(SOON, || store.remove(&slot("a"))),
    ] {
        assert!(matches!(outcome, Err(Error::Locked)), "{outcome:?}");
    }
}

#[test]
fn a_daemon_that_hangs_midway() {
    outer(Keyring::Unlocked("correct horse"), "inner_hangs_midway");
}

#[test]
#[ignore = "run by a_daemon_that_hangs_midway"]
fn inner_hangs_midway() {
    if inner_home().is_none() {
        return;
    }
    let store = KeyringStore;
    store.put(&slot("a"), "robocred: a", MARKER).unwrap();
    let _daemon = Stopped::now();
    let outcome = within(Duration::from_millis(10_500), || store.read(&slot("a")));
    assert!(matches!(outcome, Err(Error::Hung { after }) if after == Duration::from_secs(10)), "{outcome:?}");
    let outcome = within(Duration::from_secs(1), || store.put(&slot("a"), "robocred: a", b"new"));
    assert!(matches!(outcome, Err(Error::Hung { .. })), "{outcome:?}");
}

#[test]
fn a_daemon_that_hangs_from_the_start() {
    outer(Keyring::Unlocked("correct horse"), "inner_hangs_from_the_start");
}

// One thread only: were the keyring called on it, the time-out below could not fire.
#[tokio::test(flavor = "current_thread")]
#[ignore = "run by a_daemon_that_hangs_from_the_start"]
async fn inner_hangs_from_the_start() {
    let Some(home) = inner_home() else { return };
    let _daemon = Stopped::now();
    let places = places(&home);
    let began = Instant::now();
    let mut opening = Box::pin(open(Choice::Auto, None, false, &places));
    assert!(tokio::time::timeout(Duration::from_millis(200), &mut opening).await.is_err(), "it hangs");
    assert!(began.elapsed() < Duration::from_secs(2), "the async thread was held up for {:?}", began.elapsed());
    let outcome = opening.await;
    assert!(began.elapsed() < Duration::from_millis(10_500), "took {:?}", began.elapsed());
    assert!(matches!(outcome, Err(Error::Hung { .. })), "{outcome:?}");
    assert_nothing_sealed(&home);
}

#[test]
fn a_keyring_service_without_a_keyring() {
    outer(Keyring::OnDemand, "inner_no_default_keyring");
}

#[tokio::test]
#[ignore = "run by a_keyring_service_without_a_keyring"]
async fn inner_no_default_keyring() {
    let Some(home) = inner_home() else { return };
    let outcome = open(Choice::Auto, None, false, &places(&home)).await;
    assert!(matches!(outcome, Err(Error::NoDefaultKeyring)), "{outcome:?}");
    assert_nothing_sealed(&home);
}

#[test]
fn no_keyring_at_all() {
    outer(Keyring::Nobody, "inner_absent");
    outer(Keyring::NoBus, "inner_absent");
}

#[tokio::test]
#[ignore = "run by no_keyring_at_all"]
async fn inner_absent() {
    let Some(home) = inner_home() else { return };
    let outcome = open(Choice::Keyring, None, false, &places(&home)).await;
    assert!(matches!(outcome, Err(Error::Absent(_))), "{outcome:?}");
    assert_nothing_sealed(&home);

    let opened = open(Choice::Auto, None, false, &places(&home)).await.unwrap();
    assert_eq!(opened.secrets.kind(), StoreKind::Sealed);
    let notice = opened.notice.unwrap();
    assert!(notice.contains("no keyring here") && notice.contains("state/secrets"), "{notice}");
    opened.secrets.put(&slot("a"), "robocred: a", MARKER).await.unwrap();
    assert_eq!(**opened.secrets.read(&slot("a")).await.unwrap(), *MARKER);

    let recorded = open(Choice::Auto, Some(StoreKind::Keyring), false, &places(&home)).await.unwrap().secrets;
    let outcome = recorded.read(&slot("a")).await;
    assert!(matches!(outcome, Err(Error::Absent(_))), "a recorded keyring is not replaced: {outcome:?}");
}
