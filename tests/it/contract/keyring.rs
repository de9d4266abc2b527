//! The tool against a real gnome-keyring, on a session bus of its own.

use std::{os::unix::fs::DirBuilderExt as _, process::Command};

use serde_json::Value;

use crate::{
    judges,
    world::{TOKEN, World, run},
};

/// Provisions, looks from outside, verifies; locks, and tries again. The
/// documents go to files, since what the keyring's own programs say is theirs.
const SESSION: &str = r#"
    set -e
    printf %s 'correct horse' | gnome-keyring-daemon --unlock --components=secrets --daemonize >/dev/null
    tries=0
    until dbus-send --session --print-reply --dest=org.freedesktop.DBus / org.freedesktop.DBus.NameHasOwner \
        string:org.freedesktop.secrets | grep -q 'boolean true'
    do tries=$((tries + 1)); [ $tries -lt 200 ]; sleep 0.05; done
    "$ROBOCRED" --json provision plant/reader --url "$URL" --pin "$PIN" --token-stdin >provisioned
    secret-tool search --all service robocred >/dev/null 2>attributes
    "$ROBOCRED" --json verify >verified
    dbus-send --session --print-reply --dest=org.freedesktop.secrets /org/freedesktop/secrets \
        org.freedesktop.Secret.Service.Lock array:objpath:/org/freedesktop/secrets/collection/login >/dev/null
    code=0; timeout 5 "$ROBOCRED" --json verify >locked || code=$?
    [ $code = 7 ]
    code=0; timeout 5 "$ROBOCRED" --json provision plant/second --token-stdin >refused </dev/null || code=$?
    exec "$ROBOCRED" --json status >status
"#;

#[test]
fn a_robot_whose_key_rests_in_the_keyring() {
    for (program, package) in [
        ("gnome-keyring-daemon", "gnome-keyring"),
        ("dbus-run-session", "dbus"),
        ("dbus-send", "dbus"),
        ("secret-tool", "libsecret-tools"),
    ] {
        if !judges::need(program, package) {
            return;
        }
    }
    let world = World::new();
    let runtime_dir = world.path("run");
    std::fs::DirBuilder::new().mode(0o700).create(&runtime_dir).unwrap();
    let mut session = Command::new("dbus-run-session");
    session
        .args(["--", "sh", "-c", SESSION])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", world.path(""))
        .env("XDG_RUNTIME_DIR", runtime_dir)
        .env("ROBOCRED", env!("CARGO_BIN_EXE_robocred"))
        .env("ROBOCRED_STORE", "auto")
        .env("ROBOCRED_NON_INTERACTIVE", "1")
        .env("URL", world.simulator.url())
        .env("PIN", world.simulator.pin().to_string())
        .current_dir(world.path(""));
    run(session, TOKEN.as_bytes()).expect(0);
    let text = |name: &str| std::fs::read_to_string(world.path(name)).unwrap();
    let json = |name: &str| serde_json::from_str::<Value>(&text(name)).unwrap();
    assert_eq!(json("provisioned")["results"][0]["action"], "provisioned");
    assert!(text("attributes").contains("plant/reader/g1"), "{}", text("attributes"));
    assert_eq!(json("verified")["robots"][0]["ok"], true);
    let locked = json("locked");
    assert_eq!(locked["robots"][0]["checks"][1]["result"], "fail");
    assert!(locked["robots"][0]["checks"][1]["detail"].as_str().unwrap().contains("locked"));
    let status = json("status");
    assert_eq!((&status["robots"][0]["state"], &status["robots"][0]["store"]), (&"active".into(), &"keyring".into()));
    assert!(world.files().iter().all(|path| path.extension().is_none_or(|kind| kind != "sealed")));
    world.assert_nowhere(TOKEN.as_bytes());
}
