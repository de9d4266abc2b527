//! The contract of the command line, seen from outside: documents, exit
//! codes, and what is written or sent, with the tool as a process.

mod demo;
mod documents;
#[cfg(target_os = "linux")]
mod keyring;
mod places;

use std::{
    fs,
    path::{Path, PathBuf},
};

use robocred::{inventory::Inventory, simulator::Behaviours};
use serde_json::{Value, json};

use crate::world::{Ran, TOKEN, World, run};

/// Every file below the home with its content. The database's own bookkeeping
/// changes when it is read, too.
fn snapshot(world: &World) -> Vec<(PathBuf, Vec<u8>)> {
    let bookkeeping =
        |path: &PathBuf| path.to_str().is_some_and(|path| path.ends_with("-wal") || path.ends_with("-shm"));
    world.run(&["status"]).expect(0);
    let files = world.files().into_iter().filter(|path| !bookkeeping(path));
    let mut all: Vec<_> = files.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    all.sort();
    all
}

/// Panics with the names of the files that are not as they were.
#[track_caller]
fn assert_unchanged(world: &World, before: &[(PathBuf, Vec<u8>)]) {
    let after = snapshot(world);
    let names = |files: &[(PathBuf, Vec<u8>)], others: &[(PathBuf, Vec<u8>)]| -> Vec<PathBuf> {
        files.iter().filter(|file| !others.contains(file)).map(|file| file.0.clone()).collect()
    };
    assert_eq!((names(before, &after), names(&after, before)), (Vec::new(), Vec::new()));
}

/// Runs with the support token on standard input.
fn with_token(world: &World, arguments: &[&str]) -> Ran {
    run(world.command(arguments), TOKEN.as_bytes())
}

fn checks(robot: &Value) -> Vec<(&str, &str)> {
    let word = |value: &'_ Value| -> &'static str { Box::leak(value.as_str().unwrap().to_owned().into_boxed_str()) };
    let checks = robot["checks"].as_array().unwrap();
    checks.iter().map(|check| (word(&check["name"]), word(&check["result"]))).collect()
}

#[test]
fn a_working_robot_is_left_alone() {
    let world = World::new();
    let url = world.simulator.url();
    let pin = world.simulator.pin().to_string();
    let first = world.provision(&[]).expect(0).json();
    let (before, connections) = (snapshot(&world), world.simulator.connections());
    for flags in [[].as_slice(), &["--url", &url, "--pin", &pin], &["--role", "ReaderRole"], &["--days", "365"]] {
        let again = world.run(&[&["--json", "onboard", "plant/reader"], flags].concat()).expect(0).json();
        assert_eq!(again["results"][0]["action"], "unchanged");
        assert_eq!(again["results"][0]["fingerprint_sha256"], first["results"][0]["fingerprint_sha256"]);
        assert_eq!(again["results"][0]["exports"], json!([]));
    }
    assert_eq!(world.simulator.connections(), connections);
    assert_unchanged(&world, &before);
}

#[test]
fn a_flag_that_contradicts_what_exists_is_refused_with_both_sides_shown() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let (before, connections) = (snapshot(&world), world.simulator.connections());
    let other_pin = format!("sha256//{}=", "A".repeat(43));
    let check = |flag: &str, given: &str, there: &str| {
        for more in [[].as_slice(), &["--dry-run"]] {
            let ran = world.run(&[&["--json", "provision", "plant/reader", flag, given], more].concat()).expect(3);
            let document = ran.json();
            let error = if more.is_empty() { &document["results"][0]["error"] } else { &document["error"] };
            let message = error["message"].as_str().unwrap();
            assert!(message.contains(given) && message.contains(there), "{message}");
            assert_eq!((&error["code"], &error["exit_code"]), (&json!("config"), &json!(3)));
            assert!(error["hint"].is_string());
        }
    };
    check("--url", "https://127.0.0.9", &world.simulator.url());
    check("--role", "admin", "reader");
    check("--pin", &other_pin, &world.simulator.pin().to_string());
    check("--days", "30", "365");
    check("--key-type", "ed25519", "ecdsa-p256");
    check("--registered-name", "other", "reader");
    let hint = world.run(&["--json", "provision", "plant/reader", "--days", "30"]).json();
    assert!(hint["results"][0]["error"]["hint"].as_str().unwrap().contains("robocred rotate plant/reader --force"));
    assert_eq!(world.simulator.connections(), connections);
    assert_unchanged(&world, &before);
}

#[test]
fn without_a_token_the_key_is_made_and_kept_until_one_comes() {
    let world = World::new();
    let arguments = world.provision_arguments();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).filter(|flag| *flag != "--token-stdin").collect();
    let waiting = world.run(&arguments).expect(12).json();
    let result = &waiting["results"][0];
    assert_eq!((&result["action"], &result["generation"]), (&json!("failed"), &json!(1)));
    assert_eq!(result["error"]["code"], "person");
    let status = world.status();
    assert_eq!(status["state"], "needs-person");
    assert_eq!(status["attention"][0]["code"], "token-needed");
    assert_eq!(status["fingerprint_sha256"], result["fingerprint_sha256"]);
    assert!(world.simulator.robots().is_empty());

    with_token(&world, &["token", "set", "plant", "--token-stdin"]).expect(0);
    let done = world.run(&["--json", "provision", "plant/reader"]).expect(0).json();
    assert_eq!(done["results"][0]["action"], "provisioned");
    assert_eq!(done["results"][0]["fingerprint_sha256"], result["fingerprint_sha256"], "another key was made");
    assert_eq!(world.status()["state"], "active");
    assert_eq!(world.status()["attention"], json!([]));
    world.assert_nowhere(TOKEN.as_bytes());
}

#[test]
fn an_export_is_written_down_handed_out_and_confirmed() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let keep = "# kept by hand\n";
    let config = fs::read_to_string(world.config()).unwrap();
    fs::write(world.config(), format!("{keep}{config}")).unwrap();
    let exported = world.run(&["--json", "provision", "plant/reader", "--export", "out"]).expect(0).json();
    let result = &exported["results"][0];
    let out = world.path("out");
    assert_eq!(result["action"], "unchanged");
    assert_eq!(result["exports"][0]["dir"], out.to_str().unwrap());
    assert_eq!(result["exports"][0]["files"][0], out.join("key.pem").to_str().unwrap());
    let config = fs::read_to_string(world.config()).unwrap();
    assert!(config.starts_with(keep) && config.contains(out.to_str().unwrap()), "{config}");
    assert_eq!(world.status()["attention"][0]["code"], "deliver-by-hand");

    let planned = world.run(&["--json", "export", "plant/reader", "--dir", "more", "--dry-run"]).expect(0).json();
    assert_eq!(planned["plan"][0]["robot"], "plant/reader");
    assert!(!world.path("more").exists());
    let document = world.run(&["--json", "export", "plant/reader", "--dir", "more"]).expect(0).json();
    let more = world.path("more");
    assert_eq!(
        document["form"],
        json!({
            "url": world.simulator.url(),
            "robot_name": "reader",
            "private_key_file": more.join("key.pem"),
            "certificate_file": more.join("cert.pem"),
            "verify_ssl": false,
        })
    );
    let told = world.run(&["export", "plant/reader", "--dir", "more"]).expect(0).stdout;
    for field in
        ["Lucidum", "Private Key File ", "Certificate File ", "Axonius", "Indegy Domain ", "Robot Name ", "Verify SSL "]
    {
        assert!(told.contains(field), "{told}");
    }

    world.run(&["export", "plant/reader", "--confirm"]).expect(0);
    assert_eq!(world.status()["attention"], json!([]));
    let audit = world
        .runtime
        .block_on(async { Inventory::open_read_only(&world.state()).await.unwrap().unwrap().audit().await.unwrap() });
    assert!(audit.iter().any(|entry| entry.action == "delivery-confirmed"));
    world.run(&["--json", "export", "plant/nobody", "--dir", "x"]).expect(3);
    world.run(&["--json", "export", "plant/nobody", "--dir", "x", "--dry-run"]).expect(3);
    assert!(!world.path("x").exists());
}

#[test]
fn a_plan_creates_nothing() {
    let world = World::new();
    let url = world.simulator.url();
    let pin = world.simulator.pin().to_string();
    let planned = world
        .run(&["--json", "--store", "auto", "provision", "plant/reader", "--url", &url, "--pin", &pin, "--dry-run"])
        .expect(0)
        .json();
    assert_eq!(planned["plan"], json!([{"robot": "plant/reader", "steps": ["make", "register", "prove", "deliver"]}]));
    world.run(&["provision", "plant/reader", "--dry-run"]).expect(2);
    assert_eq!(fs::read_dir(world.path("")).unwrap().count(), 0);
    assert_eq!(world.simulator.connections(), 0);
}

#[test]
fn a_ca_file_that_cannot_be_used_changes_nothing() {
    let world = World::new();
    let url = world.simulator.url();
    fs::write(world.path("ca.pem"), "no certificate").unwrap();
    for file in ["ca.pem", "missing.pem"] {
        for more in [[].as_slice(), &["--dry-run"]] {
            let arguments = [&["provision", "plant/reader", "--url", &url, "--ca-file", file], more].concat();
            assert!(world.run(&arguments).expect(3).stderr.contains(file));
        }
    }
    assert!(!world.config().exists() && !world.state().exists());
}

#[test]
fn a_token_goes_to_no_server_on_first_sight() {
    let world = World::new();
    let url = world.simulator.url();
    let pin = format!("--pin '{}'", world.simulator.pin());
    for flag in [[].as_slice(), &["--accept-new"]] {
        let arguments = [&["--json", "-n", "provision", "plant/reader", "--token-stdin", "--url", &url], flag].concat();
        let document = with_token(&world, &arguments).expect(6).json();
        assert_eq!(document["results"][0]["action"], "failed");
        let error = &document["results"][0]["error"];
        assert!(error["hint"].as_str().unwrap().contains(&pin), "{error}");
        assert!(!world.config().exists() && !world.state().exists());
    }
    assert_eq!(world.simulator.tokens_seen(), 0);
    // Reading what a working robot may read needs no token, so there the flag pins.
    world.provision(&[]).expect(0);
    let config = fs::read_to_string(world.config()).unwrap();
    let undecided: Vec<&str> = config.lines().filter(|line| !line.starts_with("trust")).collect();
    fs::write(world.config(), undecided.join("\n")).unwrap();
    let document = world.run(&["--json", "verify"]).expect(6).json();
    assert_eq!(document["robots"][0]["ok"], false);
    world.run(&["verify", "--accept-new"]).expect(0);
    assert!(fs::read_to_string(world.config()).unwrap().contains(&world.simulator.pin().to_string()));
    world.simulator.replace_server_key().unwrap();
    world.run(&["verify", "--accept-new"]).expect(6);
    world.run(&["ingest", "--accept-new"]).expect(6);
}

#[test]
fn verify_names_every_step_in_order_and_the_worst_decides() {
    const NAMES: [&str; 12] =
        ["config", "key", "pair", "validity", "resolve", "connect", "tls", "trust", "clock", "read", "control", "role"];
    let world = World::new();
    world.provision(&[]).expect(0);
    let verify = |arguments: &[&str], code: i32| {
        let document = world.run(&[&["--json", "verify"], arguments].concat()).expect(code).json();
        for robot in document["robots"].as_array().unwrap() {
            let checks = checks(robot);
            assert_eq!(checks.iter().map(|check| check.0).collect::<Vec<_>>(), NAMES);
            assert_eq!(robot["ok"], checks.iter().all(|check| check.1 != "fail"));
            for check in robot["checks"].as_array().unwrap() {
                assert_eq!(check["millis"].is_null(), check["result"] == "skip", "{check}");
                assert_eq!(check.as_object().unwrap().len(), 5, "{check}");
            }
        }
        document["robots"].clone()
    };
    // Once a day is enough.
    assert_eq!(checks(&verify(&[], 0)[0])[10], ("control", "pass"));
    assert_eq!(checks(&verify(&[], 0)[0])[10], ("control", "skip"));
    assert_eq!(checks(&verify(&["plant", "--control"], 0)[0])[10], ("control", "pass"));
    world.run(&["verify", "nowhere"]).expect(3);

    // A second robot without a credential: each is looked at, the worst decides.
    let mut config = fs::read_to_string(world.config()).unwrap();
    config.push_str("\n[sites.plant.robots.second]\nrole = \"reader\"\n");
    fs::write(world.config(), config).unwrap();
    let both = verify(&[], 1);
    assert_eq!((&both[0]["ok"], &both[1]["ok"]), (&json!(true), &json!(false)));
    world.simulator.forget_robots();
    let both = verify(&["plant"], 4);
    assert_eq!(checks(&both[0])[9], ("read", "fail"));
    verify(&["plant/second"], 1);

    world.simulator.set_behaviours("accepts-any-certificate".parse::<Behaviours>().unwrap());
    assert_eq!(checks(&verify(&["plant/reader", "--control"], 8)[0])[10], ("control", "fail"));
    world.simulator.replace_server_key().unwrap();
    assert_eq!(checks(&verify(&["plant/reader"], 6)[0])[7], ("trust", "fail"));
    world.runtime.block_on(world.simulator.reboot(std::time::Duration::from_mins(1)));
    assert_eq!(checks(&verify(&["plant/reader"], 5)[0])[5], ("connect", "fail"));
    for secret in world.files().iter().filter(|path| path.extension().is_some_and(|kind| kind == "sealed")) {
        fs::remove_file(secret).unwrap();
    }
    assert_eq!(checks(&verify(&["plant/reader"], 7)[0])[1], ("key", "fail"));
}

#[test]
fn the_server_keys_of_a_site_are_shown_and_set() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let pin = world.simulator.pin();
    let shown = world.run(&["--json", "trust", "plant", "--show"]).expect(0).json();
    assert_eq!((&shown["site"], &shown["trust"]), (&json!("plant"), &json!("pins")));
    assert_eq!(shown["pins"], json!([pin.to_base64()]));
    assert_eq!(shown["presented"]["spki_sha256"], pin.to_base64());
    assert!(shown["presented"]["subject"].is_string());
    assert!(shown["presented"]["not_after"].as_str().unwrap().ends_with('Z'));

    let before = snapshot(&world);
    let next = format!("sha256//{}=", "A".repeat(43));
    world.run(&["--json", "trust", "plant", "--pin", &next, "--dry-run"]).expect(0);
    assert_unchanged(&world, &before);
    let set = world.run(&["--json", "trust", "plant", "--pin", &pin.to_string(), "--pin", &next]).expect(0).json();
    assert_eq!((set["pins"].as_array().unwrap().len(), &set["presented"]), (2, &Value::Null));
    world.run(&["verify"]).expect(0);

    world.simulator.replace_server_key().unwrap();
    let told = world.run(&["--json", "-n", "trust", "plant"]).expect(6).json();
    assert!(told["error"]["message"].as_str().unwrap().contains(&world.simulator.pin().to_string()), "{told}");
    world.run(&["--json", "trust", "nowhere", "--show"]).expect(3);
    world.run(&["--json", "trust", "plant", "--pin", "x"]).expect(2);
}

#[test]
fn refusals_of_the_appliance() {
    let world = World::new();
    let wrong =
        run(world.command(&world.provision_arguments().iter().map(String::as_str).collect::<Vec<_>>()), b"wrong");
    let document = wrong.expect(4).json();
    assert_eq!(document["results"][0]["error"]["code"], "refused");
    assert!(world.simulator.robots().is_empty());
    assert_eq!(world.status()["state"], "needs-person");
    world.provision(&[]).expect(0);

    // Somebody else's robot has the name already.
    let other = World::new();
    other.provision(&[]).expect(0);
    fs::remove_dir_all(other.state()).unwrap();
    let taken = other.provision(&[]).expect(4).json();
    assert_eq!(taken["results"][0]["action"], "failed");
    assert_eq!(other.simulator.robots().len(), 1);
}

#[test]
fn devices_are_read() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let visible = world.simulator.visible_devices();
    assert!(visible < 20, "some devices are to be hidden");
    let lines = |text: &str| -> Vec<Value> { text.lines().map(|line| serde_json::from_str(line).unwrap()).collect() };
    let check = |flags: &[&str], api: &str, expected: usize| {
        let document = world.run(&[&["--json", "ingest"], flags].concat()).expect(0).json();
        let run = &document["runs"][0];
        assert_eq!(
            (&run["robot"], &run["stream"], &run["api"]),
            (&json!("plant/reader"), &json!("assets"), &json!(api))
        );
        assert_eq!((&run["records"], &run["complete"], &run["error"]), (&json!(expected), &json!(true), &Value::Null));
        assert_eq!(run["total_reported"], if api == "rest" { Value::Null } else { json!(expected) });
        let path = Path::new(run["path"].as_str().unwrap());
        assert!(path.is_absolute() && Path::new(run["manifest"].as_str().unwrap()).is_file());
        let records = lines(&fs::read_to_string(path).unwrap());
        assert_eq!(records.len(), expected);
        assert!(records.iter().all(|record| record["id"].is_string()), "no id at the top level");
        let streamed = world.run(&[&["ingest", "plant/reader", "-o", "-"], flags].concat()).expect(0);
        assert_eq!(lines(&streamed.stdout).len(), expected);
        path.parent().unwrap().to_owned()
    };
    assert_eq!(check(&[], "graphql", visible), world.state().join("ingest/plant/reader"));
    check(&["--api", "rest"], "rest", visible);
    check(&["--api", "graphql", "--include-hidden"], "graphql", 20);
    check(&["--api", "rest", "--include-hidden"], "rest", 20);
    let elsewhere = world.run(&["--json", "ingest", "plant", "-o", "devices"]).expect(0).json();
    assert!(elsewhere["runs"][0]["path"].as_str().unwrap().starts_with(world.path("devices").to_str().unwrap()));
    world.run(&["ingest", "plant", "-o", "-"]).expect(2);
    world.run(&["ingest", "plant/reader", "-o", "-", "--stream", "assets", "--stream", "events"]).expect(2);
    assert_eq!(world.run(&["--json", "ingest", "plant/reader", "-o", "-"]).expect(2).json()["error"]["code"], "usage");
    assert_eq!(world.status()["attention"], json!([]));
}

#[test]
fn what_is_not_complete_fails_and_is_kept_under_a_name_that_says_so() {
    let world = World::with(|options| options.behaviours = "total-changes".parse().unwrap());
    world.provision(&[]).expect(0);
    let document = world.run(&["--json", "ingest", "--page-size", "5"]).expect(1).json();
    let run = &document["runs"][0];
    assert_eq!((&run["complete"], &run["error"]["code"]), (&json!(false), &json!("failed")));
    let path = run["path"].as_str().unwrap();
    assert!(path.contains("incomplete") && Path::new(path).is_file(), "{path}");
    assert_eq!(world.status()["attention"][0]["code"], "ingest-failed");
    world.simulator.set_behaviours(Behaviours::default());
    world.run(&["ingest"]).expect(0);
    assert_eq!(world.status()["attention"], json!([]), "a complete run lifts it");
}
