//! `apikey` over the real command line, and reading with what it keeps.

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use robocred::simulator::{Fault, FaultKind};
use robocred::{
    appliance::{self, Answer},
    clock::{Clock as _, SystemClock, rfc3339},
    config::Config,
    inventory::Inventory,
    secrets::{SealPlaces, SealedStore, Secrets},
    session::{self, Session},
};
use serde_json::{Value, json};
use time::Duration;

use crate::world::{Ran, World, run};

/// The key that the appliance accepts; a canary for the leak tests.
pub const KEY: &str = "canary-4pi-k3y/5ecr3t+abcdef0123456789==";

/// An appliance that accepts [`KEY`], and a configuration whose robot was never provisioned.
fn world() -> World {
    let world = World::with(|options| options.api_key = Some(KEY.to_owned()));
    configure(&world);
    world
}

/// Writes the configuration of a site with one robot that is to be ingested.
pub fn configure(world: &World) {
    let (url, pin) = (world.simulator.url(), world.simulator.pin());
    let text = format!(
        "version = 1\n[sites.plant]\nurl = \"{url}\"\ntrust = {{ pins = [\"{pin}\"] }}\n\
         [sites.plant.robots.reader]\nrole = \"reader\"\ningest = {{ streams = [\"assets\"], every = \"1d\" }}\n"
    );
    fs::create_dir_all(world.config().parent().unwrap()).unwrap();
    fs::write(world.config(), text).unwrap();
}

/// Runs with `key` on standard input, and sees that it is not repeated.
fn with_key(world: &World, arguments: &[&str], key: &str) -> Ran {
    let ran = run(world.command(&[&["--json"], arguments].concat()), key.as_bytes());
    assert!(!ran.stdout.contains(key) && !ran.stderr.contains(key), "{ran:#?}");
    ran
}

fn set(world: &World, more: &[&str]) -> Value {
    with_key(world, &[&["apikey", "set", "plant", "--key-stdin"], more].concat(), KEY).expect(0).json()
}

fn nothing_was_made(world: &World) {
    assert!(!world.state().exists(), "a state directory was made");
}

fn day(days: i64) -> String {
    (SystemClock.now() + Duration::days(days)).date().to_string()
}

fn secrets(world: &World) -> Secrets {
    Secrets::new(SealedStore::new(SealPlaces {
        credential: None,
        key_file: None,
        passphrase_file: None,
        default_key_file: world.path(".config/robocred/seal.key"),
        secrets_dir: world.state().join("secrets"),
    }))
}

/// What the appliance answers to the key that is kept; `None` where none is.
fn log_in(world: &World) -> Result<Option<Answer>, session::Error> {
    let text = fs::read_to_string(world.config()).unwrap();
    let config = Config::from_text(&world.config(), Some(&text)).unwrap();
    let secrets = secrets(world);
    world.runtime.block_on(async {
        let inventory = Inventory::open_read_only(&world.state()).await.unwrap().unwrap();
        let session = Session::open(&config.sites[0], &inventory, &secrets, &SystemClock)?;
        let Some(key) = session.api_key().await? else { return Ok(None) };
        Ok(Some(session.read_api_with_key(key)?.log_in().await.answer))
    })
}

fn actions(world: &World) -> Vec<String> {
    let entries = world.run(&["--json", "audit", "show"]).expect(0).json()["entries"].clone();
    let actions = entries.as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap().to_owned());
    actions.filter(|action| action.starts_with("api-key")).collect()
}

#[test]
fn a_key_is_kept_used_replaced_and_forgotten() {
    let world = world();
    let none = json!({"schema": 1, "site": "plant", "present": false, "since": null, "expires": null});
    for command in ["status", "clear"] {
        assert_eq!(world.run(&["--json", "apikey", command, "plant"]).expect(0).json(), none);
    }
    nothing_was_made(&world);

    let kept = set(&world, &[]);
    let since = kept["since"].as_str().unwrap();
    assert_eq!(kept, json!({"schema": 1, "site": "plant", "present": true, "since": since, "expires": null}));
    assert!(since <= rfc3339(SystemClock.now()).as_str());
    assert!(matches!(log_in(&world), Ok(Some(Answer::Accepted))), "{:?}", log_in(&world));
    let text = world.run(&["apikey", "status", "plant"]).expect(0).stdout;
    assert!(text.contains("at the latest (in 364 days)"), "{text}");

    let expires = day(100);
    let replaced = set(&world, &["--expires", &expires]);
    assert_eq!(replaced["expires"], format!("{expires}T00:00:00Z"));
    assert_eq!(world.run(&["--json", "apikey", "status", "plant"]).expect(0).json(), replaced);
    assert!(matches!(log_in(&world), Ok(Some(Answer::Accepted))));
    world.assert_nowhere(KEY.as_bytes());

    assert_eq!(world.run(&["--json", "apikey", "clear", "plant"]).expect(0).json(), none);
    assert!(log_in(&world).unwrap().is_none());
    world.run(&["--json", "apikey", "clear", "plant"]).expect(0);
    assert_eq!(actions(&world), ["api-key-set", "api-key-set", "api-key-cleared"]);
    world.run(&["audit", "verify"]).expect(0);
}

#[test]
fn where_the_key_may_come_from() {
    let world = world();
    let file = |bytes: &[u8], mode: u32| -> PathBuf {
        let path = world.path("key");
        let _ = fs::remove_file(&path);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let from_file = |flag: &str, more: &[&str]| {
        let path = world.path("key");
        world.run(&[&["apikey", "set", "plant", flag, path.to_str().unwrap()], more].concat())
    };
    let refused = |bytes: &[u8], mode: u32, words: &str| {
        file(bytes, mode);
        let ran = from_file("--key-file", &[]).expect(3);
        assert!(ran.stderr.contains(words) && ran.stderr.contains("hint: "), "{ran:#?}");
        assert!(!ran.stderr.contains("s3cret"), "{ran:#?}");
        nothing_was_made(&world);
    };
    for mode in [0o640, 0o604, 0o644] {
        refused(b"s3cret", mode, "can be read or changed by others");
    }
    refused(b"", 0o600, "it is empty");
    refused(b"s3cret\ns3cret\n", 0o600, "it holds a newline");
    refused(b"s3cret; x=1", 0o600, "it holds a space");
    refused(b"s3cret;", 0o600, "it holds a semicolon");
    refused(&[b'x'; 8193], 0o600, "longer than 8192 bytes");
    let ran = with_key(&world, &["apikey", "set", "plant", "--key-stdin"], "s3cret\ns3cret").expect(3);
    assert!(ran.json()["error"]["message"].as_str().unwrap().contains("standard input cannot be used"), "{ran:#?}");

    // Without a key and a person to ask a person is needed; nothing carries the key itself.
    let asked = world.run(&["apikey", "set", "plant"]).expect(12);
    assert!(asked.stderr.contains("--key-file or --key-stdin"), "{asked:#?}");
    let told = world.run(&["apikey", "set", "plant", "s3cret"]).expect(2);
    assert!(!told.stderr.contains("s3cret"), "{told:#?}");
    world.run(&["apikey", "set", "plant", "--key", "s3cret"]).expect(2);
    let twice = ["apikey", "set", "plant", "--key-stdin", "--key-file", "key"];
    world.run(&twice).expect(2);
    world.run(&["apikey", "set", "elsewhere", "--key-stdin"]).expect(3);
    with_key(&world, &["apikey", "set", "plant", "--key-stdin", "--dry-run"], KEY).expect(0);
    world.run(&["apikey", "clear", "plant", "--dry-run"]).expect(0);
    nothing_was_made(&world);

    // Fingers that are used to `token`.
    for flag in ["--key-file", "--token-file"] {
        file(format!("{KEY}\n").as_bytes(), 0o600);
        from_file(flag, &[]).expect(0);
        assert!(matches!(log_in(&world), Ok(Some(Answer::Accepted))), "{flag}");
        world.run(&["apikey", "clear", "plant"]).expect(0);
    }
    with_key(&world, &["apikey", "set", "plant", "--token-stdin"], KEY).expect(0);
    assert!(matches!(log_in(&world), Ok(Some(Answer::Accepted))));
}

#[test]
fn which_dates_can_be_its_end() {
    let world = world();
    let check = |given: &str, words: &str| {
        let ran = with_key(&world, &["apikey", "set", "plant", "--key-stdin", "--expires", given], KEY).expect(2);
        let error = &ran.json()["error"];
        assert!(error["message"].as_str().unwrap().contains(words), "{given}: {ran:#?}");
        nothing_was_made(&world);
    };
    check(&day(-1), "in the past");
    check(&day(0), "in the past");
    check(&rfc3339(SystemClock.now() - Duration::HOUR), "in the past");
    check(&day(367), "more than 365 days ahead, and an appliance gives a key at most 365 days");
    check(&rfc3339(SystemClock.now() + Duration::days(365) + Duration::HOUR), "more than 365 days ahead");
    for given in ["soon", "31.01.2027", "2027-02-30"] {
        check(given, "--expires <DATE>: that is neither a date like");
    }
    for days in [1, 365] {
        assert_eq!(set(&world, &["--expires", &day(days)])["expires"], format!("{}T00:00:00Z", day(days)));
    }
    let moment = rfc3339(SystemClock.now() + Duration::HOUR);
    assert_eq!(set(&world, &["--expires", &moment])["expires"], moment);
}

#[test]
fn a_key_is_sent_to_no_server_that_nobody_decided_about() {
    let world = world();
    set(&world, &[]);
    let text = fs::read_to_string(world.config()).unwrap();
    let undecided: Vec<&str> = text.split_inclusive('\n').filter(|line| !line.starts_with("trust")).collect();
    let text = undecided.concat();
    fs::write(world.config(), &text).unwrap();
    let before = world.simulator.requests().len();
    for arguments in [
        &["ingest", "plant/reader"][..],
        &["ingest", "--list-icps", "plant"],
        &["ingest", "--list-icps", "plant/reader"],
    ] {
        let ran = world.run(&[arguments, &["-n", "--accept-new"]].concat()).expect(1);
        assert!(ran.stderr.contains("robocred trust plant"), "{ran:#?}");
        assert_eq!(world.simulator.requests().len(), before, "{arguments:?}");
    }
    assert_eq!(fs::read_to_string(world.config()).unwrap(), text, "a pin was written");
}

#[test]
fn a_failed_read_with_a_key_is_told_like_any_other() {
    let world = world();
    set(&world, &[]);
    let told = world.path("told");
    let text = fs::read_to_string(world.config()).unwrap();
    let hook = format!("hooks = {{ failure = [\"/bin/sh\", \"-c\", \"env >> {}\"] }}\n", told.display());
    let text = text.replacen("role = \"reader\"\n", &format!("role = \"reader\"\n{hook}"), 1);
    fs::write(world.config(), text).unwrap();
    for _ in 0..20 {
        let kind = FaultKind::Answer { status: 403, content_type: "application/json", body: b"{}".to_vec() };
        world.simulator.inject(Fault { path: None, nth: 1, kind });
    }
    let ran = world.run(&["ingest", "plant/reader", "-n"]);
    assert_ne!(ran.code(), Some(0), "{ran:#?}");
    let told = fs::read_to_string(told).unwrap_or_else(|_| panic!("nobody was told: {ran:#?}"));
    assert!(told.contains("ROBOCRED_EVENT=failure") && told.contains("plant/reader"), "{told}");
}

#[test]
fn a_wrong_key_is_refused_with_what_to_do() {
    let world = world();
    with_key(&world, &["apikey", "set", "plant", "--key-stdin"], "another-k3y").expect(0);
    let Some(Answer::Refused(refusal)) = log_in(&world).unwrap() else { panic!("{:?}", log_in(&world)) };
    // Exit code 4 is what the command line makes of this.
    let hint = appliance::Error::Refused(refusal).hint().unwrap();
    assert!(hint.contains("`robocred apikey status`"), "{hint}");
}

#[test]
fn a_key_that_was_never_kept_to_the_end_is_named_and_can_be_kept_again() {
    let world = world();
    set(&world, &["--expires", &day(100)]);
    // As after a crash between the row and the secret.
    let slot = |world: &World| {
        let inventory = world.inventory().unwrap();
        robocred::credential::SecretRef::api_key(inventory.store_id(), &"plant".parse().unwrap())
    };
    world.runtime.block_on(secrets(&world).remove(&slot(&world))).unwrap();
    let error = log_in(&world).unwrap_err();
    assert!(matches!(error, session::Error::ApiKeyMissing { .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("`robocred apikey set plant`"));
    set(&world, &[]);
    assert!(matches!(log_in(&world), Ok(Some(Answer::Accepted))));
}

#[test]
fn a_store_that_fails_leaves_the_key_before_as_it_was() {
    let world = world();
    let kept = set(&world, &["--expires", &day(100)]);
    let still_there = |kept: &Value| {
        assert_eq!(&world.run(&["--json", "apikey", "status", "plant"]).expect(0).json(), kept);
        assert!(matches!(log_in(&world), Ok(Some(Answer::Accepted))));
    };
    let (dir, away) = (world.state().join("secrets"), world.state().join("away"));
    fs::rename(&dir, &away).unwrap();
    fs::write(&dir, "not a directory").unwrap();
    with_key(&world, &["apikey", "set", "plant", "--key-stdin", "--expires", &day(200)], "another-k3y").expect(7);
    world.run(&["apikey", "clear", "plant"]).expect(7);
    fs::remove_file(&dir).unwrap();
    fs::rename(&away, &dir).unwrap();
    still_there(&kept);

    // The same where the store opens, and cannot replace this one secret.
    let files = || -> BTreeSet<_> { fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect() };
    let with = files();
    world.run(&["apikey", "clear", "plant"]).expect(0);
    let gone: Vec<_> = with.difference(&files()).cloned().collect();
    let [file] = &gone[..] else { panic!("{gone:?}") };
    let kept = set(&world, &["--expires", &day(100)]);
    fs::rename(file, &away).unwrap();
    fs::create_dir(file).unwrap();
    with_key(&world, &["apikey", "set", "plant", "--key-stdin", "--expires", &day(200)], "another-k3y").expect(7);
    fs::remove_dir(file).unwrap();
    fs::rename(&away, file).unwrap();
    still_there(&kept);
}

#[test]
fn status_and_check_are_green_while_the_key_is_fine_and_speak_up_before_it_ends() {
    let world = world();
    let checked = |code: i32, words: &str| {
        let ran = world.run(&["check"]).expect(code);
        assert!(ran.stdout.contains(words), "{ran:#?}");
    };
    checked(1, "plant/reader has no credential in use (absent)");
    set(&world, &["--expires", &day(100)]);
    checked(0, "read with an API key");
    checked(0, "api_key_days_left=99;30:;7:");
    let status = world.run(&["--json", "status", "--forecast", "120d"]).expect(0).json();
    assert_eq!(status["robots"][0]["state"], "absent");
    assert_eq!((&status["api_keys"][0]["site"], &status["api_keys"][0]["days_left"]), (&json!("plant"), &json!(99)));
    assert_eq!((&status["warnings"], &status["forecast"]["api_keys"]), (&json!([]), &json!(["plant"])));
    let text = world.run(&["status"]).expect(0).stdout;
    assert!(text.contains("no credential: read with the API key of plant"), "{text}");
    assert!(text.contains("API key of plant: kept since ") && !text.contains("warning:"), "{text}");

    set(&world, &["--expires", &day(20)]);
    checked(1, "the API key of plant ends on");
    set(&world, &["--expires", &day(3)]);
    checked(2, "make a new one on the appliance, then run `robocred apikey set plant`");
    let text = world.run(&["status"]).expect(0).stdout;
    assert!(text.contains("warning: the API key of plant ends on"), "{text}");
    world.run(&["apikey", "clear", "plant"]).expect(0);
    checked(1, "plant/reader has no credential in use (absent)");
}
