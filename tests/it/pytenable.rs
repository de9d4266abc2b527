//! Other people's clients as judges: pyTenable, and the curl call of the vendor's documentation.

use crate::{
    judges,
    world::{self, World},
};
use robocred::{
    simulator::{Options, Simulator, start},
    x509::{Certificate, KeyAlgorithm, PrivateKey, Profile, Validity, certificate_to_pem, private_key_to_pem},
};
use serde_json::Value as Json;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;
use time::OffsetDateTime;

const KEY: &str = "api-key-of-this-test";

async fn simulator() -> Simulator {
    let options =
        Options { token: "T0KEN".to_owned(), api_key: Some(KEY.to_owned()), devices: 130, ..Options::default() };
    start(options).await.unwrap()
}

/// Runs a program to its end without blocking the simulator; its standard output.
async fn run(program: impl AsRef<Path>, arguments: &[&str]) -> String {
    let mut command = Command::new(program.as_ref());
    command.args(arguments).env_remove("TOT_API_KEY").env_remove("TOT_URL");
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{arguments:?}\n{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// A pair in `folder`, as `key.pem` and `cert.pem`.
fn write_pair(folder: &TempDir) -> (PathBuf, PathBuf) {
    let key = PrivateKey::generate(KeyAlgorithm::Rsa2048).unwrap();
    #[allow(clippy::disallowed_methods, reason = "the simulator judges by the real clock")]
    let validity = Validity::of_days(OffsetDateTime::now_utc(), 365).unwrap();
    let certificate = Certificate::self_signed(&key, "robot1", validity, Profile::Client).unwrap();
    let (key_path, certificate_path) = (folder.path().join("key.pem"), folder.path().join("cert.pem"));
    fs::write(&key_path, private_key_to_pem(&key).unwrap().as_bytes()).unwrap();
    fs::write(&certificate_path, certificate_to_pem(&certificate)).unwrap();
    (key_path, certificate_path)
}

/// The call as the vendor's integrators print it, `-H Content-Type` left out as there.
async fn register_with_curl(simulator: &Simulator, certificate: &Path, role: &str) -> Json {
    let pem = fs::read_to_string(certificate).unwrap().replace('\n', "\\n");
    let data = format!("{{\"name\": \"robot1\", \"role\": \"{role}\",\"cert\": \"{pem}\"}}");
    let url = format!("{}/v1/robots", simulator.url());
    let reply = run("curl", &["-s", "-k", "-H", "Authorization: Bearer T0KEN", "-XPOST", &url, "--data", &data]).await;
    serde_json::from_str(&reply).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_curl_call_registers_a_robot_that_curl_reads_with() {
    if !judges::need("curl", "curl") {
        return;
    }
    let (simulator, folder) = (simulator().await, TempDir::new().unwrap());
    let (key, certificate) = write_pair(&folder);
    let reply = register_with_curl(&simulator, &certificate, "AdminRole").await;
    assert_eq!(reply["name"], "robot1");
    assert_eq!(simulator.robots().len(), 1);

    let pair = ["-s", "-k", "--cert", text(&certificate), "--key", text(&key)];
    let version = run("curl", &[&pair[..], &[&format!("{}/v1/version", simulator.url())]].concat()).await;
    assert!(version.contains("NvdVersion"), "{version}");
    let query = ["-H", "Content-Type: application/json", "--data", r#"{"query":"{assets(first:2){nodes{id}}}"}"#];
    let reply = run("curl", &[&pair[..], &query, &[&format!("{}/graphql", simulator.url())]].concat()).await;
    let reply: Json = serde_json::from_str(&reply).unwrap();
    assert_eq!(reply["data"]["assets"]["nodes"].as_array().unwrap().len(), 2);
    assert_eq!(simulator.tokens_seen(), 1);
}

#[test]
fn pytenable_lists_everything_by_key_and_by_the_pair_that_was_exported() {
    let Some(python) = judges::python(&["tenable.ot"], "pytenable") else { return };
    let world = World::with(|options| {
        options.api_key = Some(KEY.to_owned());
        options.devices = 130;
    });
    world.provision(&["--export", "out"]).expect(0);
    let simulator = &world.simulator;
    let judge = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pytenable_judge.py");
    let judged = |arguments: &[&str]| {
        let mut command = Command::new(&python);
        command.args([judge, &simulator.url()]).args(arguments).env_remove("TOT_API_KEY").env_remove("TOT_URL");
        let ran = world::run(command, b"").expect(0);
        ran.stdout
    };
    let by_key = judged(&["key", KEY]);
    let (certificate, key) = (world.path("out/cert.pem"), world.path("out/key.pem"));
    let by_pair = judged(&["pair", text(&certificate), text(&key)]);
    assert_eq!(by_key, by_pair);

    let counted: Json = serde_json::from_str(&by_key).unwrap();
    let visible = simulator.visible_devices();
    for assets in ["assets", "asset_ids", "exported_assets"] {
        assert_eq!(counted[assets], visible, "{assets}: {counted}");
    }
    for plugins in ["plugins", "exported_plugins"] {
        assert_eq!(counted[plugins], simulator.plugins(), "{plugins}: {counted}");
    }
    assert_eq!(counted["events"], simulator.events(), "{counted}");
    assert_eq!(counted["findings"], simulator.findings(), "{counted}");
    assert!(simulator.findings() > 0);
    assert_eq!(counted["asset_again"], true);

    let by = |who: &str| simulator.requests().iter().filter(|it| it.authenticated_as.as_deref() == Some(who)).count();
    assert!(by("api-key") > visible);
    assert!(by("robot:reader") > visible);
}

#[test]
fn curl_reads_with_the_pair_that_was_exported() {
    if !judges::need("curl", "curl") {
        return;
    }
    let world = World::new();
    world.provision(&["--export", "out"]).expect(0);
    let url = format!("{}/v1/version", world.simulator.url());
    let pin = world.simulator.pin().to_string();
    let read = |pair: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["-s", "-k", "--pinnedpubkey", &pin]).args(pair).arg(&url);
        world::run(command, b"").expect(0).stdout
    };
    let (certificate, key) = (world.path("out/cert.pem"), world.path("out/key.pem"));
    assert!(read(&["--cert", text(&certificate), "--key", text(&key)]).contains("NvdVersion"));
    assert!(read(&["--cert", text(&world.path("out/combined.pem"))]).contains("NvdVersion"));
    assert!(!read(&[]).contains("NvdVersion"));
}
