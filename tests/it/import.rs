//! A robot that was made by hand, and one whose state was lost.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use robocred::{
    credential::{Record, State},
    inventory::{Origin, audit},
    simulator::Behaviours,
    x509,
};
use serde_json::Value;

use crate::{
    judges::need,
    world::{Ran, TOKEN, World},
};

/// What the vendor documents, with the subject given instead of typed and the
/// joining of lines that people do in an editor.
const BY_HAND: &str = r#"
openssl req -x509 -newkey rsa:2048 -keyout key.pem -out cert.pem -days 365 -nodes -subj "/CN=$NAME" 2>/dev/null
cert=$(awk '{ printf "%s\\n", $0 }' cert.pem)
curl -sS --fail -k -H "Authorization: Bearer $TOKEN" -XPOST "$URL/v1/robots" \
    --data "{\"name\": \"$NAME\", \"role\": \"ReaderRole\", \"cert\": \"$cert\"}"
"#;

/// A robot made and registered by hand in the folder `hand`, under this name.
/// `false` where its tools are not installed.
fn by_hand(world: &World, name: &str) -> bool {
    made_by(world, BY_HAND, name)
}

fn made_by(world: &World, script: &str, name: &str) -> bool {
    if !(need("openssl", "openssl") && need("curl", "curl")) {
        return false;
    }
    fs::create_dir_all(world.path("hand")).unwrap();
    let made = Command::new("sh")
        .args(["-c", script])
        .current_dir(world.path("hand"))
        .env("NAME", name)
        .env("TOKEN", TOKEN)
        .env("URL", world.simulator.url())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    true
}

fn import(world: &World, key: &str, certificate: &str, more: &[&str]) -> Ran {
    let (url, pin) = (world.simulator.url(), world.simulator.pin().to_string());
    let fixed = ["--json", "import", "plant/reader", "--key", key, "--cert", certificate, "--url", &url];
    let trust: &[&str] = if more.contains(&"--accept-new") { &[] } else { &["--pin", &pin] };
    world.run(&[&fixed[..], trust, more].concat())
}

fn import_by_hand(world: &World, more: &[&str]) -> Ran {
    import(world, "hand/key.pem", "hand/cert.pem", more)
}

fn result(ran: &Ran) -> Value {
    ran.json()["results"][0].clone()
}

fn records(world: &World) -> Vec<Record> {
    let inventory = world.inventory().unwrap();
    world.runtime.block_on(inventory.all_records()).unwrap()
}

fn keys_in_store(world: &World) -> Vec<PathBuf> {
    world.files().into_iter().filter(|path| path.extension().is_some_and(|end| end == "sealed")).collect()
}

/// Nothing is in use, no key is kept, and the appliance has what it had.
#[track_caller]
fn assert_nothing_taken(world: &World, robots: usize, state: State) {
    let records = records(world);
    assert!(records.iter().all(|record| record.state == state && record.certificate.is_none()), "{records:#?}");
    assert_eq!(keys_in_store(world), Vec::<PathBuf>::new(), "a key was left in the store");
    assert_eq!(world.simulator.robots().len(), robots);
    assert_ne!(world.status()["state"], "active");
}

#[test]
fn a_robot_made_with_openssl_and_curl_becomes_one_of_ours() {
    let world = World::new();
    if !by_hand(&world, "robot1") {
        return;
    }
    let files = ["hand/key.pem", "hand/cert.pem"].map(|name| fs::read(world.path(name)).unwrap());
    fs::set_permissions(world.path("hand/key.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    let (posts, tokens) = (world.posts(), world.simulator.tokens_seen());
    let ran = import_by_hand(&world, &["--registered-name", "robot1"]).expect(0);
    assert!(ran.stderr.contains("0644") && ran.stderr.contains("chmod 600"), "{ran:#?}");
    assert!(ran.json()["warnings"][0].as_str().unwrap().contains("0644"));
    let fingerprint = world.simulator.robots()[0].fingerprint.to_string();
    let told = result(&ran);
    assert_eq!((&told["action"], &told["generation"]), (&"imported".into(), &1.into()));
    assert_eq!(told["registered_name"], "robot1");
    assert_eq!(told["fingerprint_sha256"], fingerprint);
    assert_eq!((world.posts(), world.simulator.tokens_seen()), (posts, tokens), "something was registered");

    let status = world.status();
    assert_eq!((&status["state"], &status["due"]), (&"active".into(), &false.into()), "{status:#}");
    assert_eq!((&status["key_type"], &status["role"]), (&"rsa-2048".into(), &"reader".into()));
    assert_eq!(status["attention"], serde_json::json!([]));
    world.run(&["verify", "plant/reader"]).expect(0);
    world.run(&["export", "plant/reader", "--dir", "out"]).expect(0);
    assert_eq!(fs::read(world.path("out/cert.pem")).unwrap(), files[1]);
    let after = ["hand/key.pem", "hand/cert.pem"].map(|name| fs::read(world.path(name)).unwrap());
    assert_eq!(after, files, "the person's files were changed");
    let key = x509::private_key_from_pem(&files[0]).unwrap();
    let line = String::from_utf8(files[0].clone()).unwrap().lines().nth(1).unwrap().to_owned();
    assert!(!ran.stdout.contains(&line) && !ran.stderr.contains(&line), "the key was printed");
    for path in world.files().into_iter().filter(|path| path.starts_with(world.state())) {
        let content = fs::read(&path).unwrap();
        for needle in [key.expose_der(), line.as_bytes()] {
            assert!(!content.windows(needle.len()).any(|part| part == needle), "the key is in {}", path.display());
        }
    }

    let inventory = world.inventory().unwrap();
    world.runtime.block_on(async {
        let robot = inventory.robot(&"plant/reader".parse().unwrap()).await.unwrap().unwrap();
        assert_eq!((robot.origin, robot.base_name.as_str()), (Origin::Imported, "robot1"));
        assert_eq!(robot.last_promotion, None, "what was made long ago may be replaced at once");
        let entries = inventory.audit().await.unwrap();
        audit::verify(&entries).unwrap();
        let detail = |action: &str| &entries.iter().find(|entry| entry.action == action).unwrap().detail;
        assert!(detail("adopted").contains(r#""origin":"imported""#));
        assert!(detail("imported").contains(&fingerprint));
    });
}

#[test]
fn the_same_pair_again_changes_nothing_and_another_is_refused() {
    let world = World::new();
    if !by_hand(&world, "reader") {
        return;
    }
    let ran = import_by_hand(&world, &["--accept-new"]).expect(0);
    assert!(ran.stderr.contains("pinned what plant presented"), "{ran:#?}");
    let (entries, connections) = (audit_length(&world), world.simulator.connections());
    let again = import_by_hand(&world, &[]).expect(0);
    assert_eq!(result(&again)["action"], "unchanged");
    assert_eq!(result(&again)["fingerprint_sha256"], result(&ran)["fingerprint_sha256"]);
    let plan = import_by_hand(&world, &["--dry-run"]).expect(0).json();
    assert_eq!(plan["plan"][0]["steps"], serde_json::json!([]));
    let name = result(&import_by_hand(&world, &["--registered-name", "other"]).expect(3));
    assert!(name["error"]["message"].to_string().contains("reader, not other"), "{name:#}");

    let first = result(&ran)["fingerprint_sha256"].as_str().unwrap().to_owned();
    fs::rename(world.path("hand"), world.path("first")).unwrap();
    assert!(by_hand(&world, "other"));
    let refused = result(&import_by_hand(&world, &[]).expect(3));
    let second = world.simulator.robots()[1].fingerprint.to_string();
    let told = refused["error"]["message"].as_str().unwrap();
    assert!(told.contains(&first) && told.contains(&second), "{told}");
    assert!(refused["error"]["hint"].as_str().unwrap().contains("rotate plant/reader --force"));
    // Neither may one pair be two robots.
    let pin = world.simulator.pin().to_string();
    let twice = ["--json", "import", "plant/twin", "--key", "first/key.pem", "--cert", "first/cert.pem", "--pin", &pin];
    let twice = result(&world.run(&twice).expect(3));
    assert!(twice["error"]["message"].as_str().unwrap().contains("plant/reader generation 1"), "{twice:#}");
    let by_hand = 1;
    assert_eq!((audit_length(&world), world.simulator.connections()), (entries, connections + by_hand));
    assert!(!fs::read_to_string(world.config()).unwrap().contains("twin"));
}

#[test]
fn keys_and_files_as_older_tools_write_them() {
    let script = [
        "openssl genrsa -traditional -out key.pem 3072 && openssl req -x509 -key key.pem -days 3650",
        "openssl ecparam -name secp384r1 -genkey -out key.pem && openssl req -x509 -key key.pem -days 1 \
            -addext basicConstraints=critical,CA:FALSE",
        "openssl genpkey -algorithm ed25519 -out key.pem && openssl req -x509 -key key.pem",
    ];
    for (script, key_type, label) in [
        (script[0], "rsa-3072", "BEGIN RSA PRIVATE KEY"),
        (script[1], "ecdsa-p384", "BEGIN EC PARAMETERS"),
        (script[2], "ed25519", "BEGIN PRIVATE KEY"),
    ] {
        let world = World::new();
        let script = format!("{script} -subj \"/O=Plant A/CN=some robot\" -out cert.pem 2>/dev/null");
        let script = BY_HAND.replace(BY_HAND.trim_start().lines().next().unwrap(), &script);
        if !made_by(&world, &script, "robot1") {
            return;
        }
        assert!(fs::read_to_string(world.path("hand/key.pem")).unwrap().contains(label));
        let ran = import_by_hand(&world, &[]).expect(0);
        assert!(ran.stderr.contains("some robot"), "which name was taken is not told: {ran:#?}");
        let status = world.status();
        let facts = ["state", "key_type", "registered_name"].map(|fact| status[fact].as_str().unwrap());
        assert_eq!(facts, ["active", key_type, "reader"]);
        world.run(&["verify", "plant/reader"]).expect(0);
    }
}

#[test]
fn the_role_is_read_back_where_the_appliance_shows_it() {
    let world = World::new();
    if !made_by(&world, &BY_HAND.replace("ReaderRole", "AdminRole"), "reader") {
        return;
    }
    import_by_hand(&world, &["--role", "admin"]).expect(0);
    assert_eq!(world.status()["role"], "admin");
    let told = result(&import_by_hand(&world, &["--role", "reader"]).expect(3));
    assert!(told["error"]["message"].as_str().unwrap().contains("role"), "{told:#}");
}

fn audit_length(world: &World) -> usize {
    let inventory = world.inventory().unwrap();
    world.runtime.block_on(inventory.audit()).unwrap().len()
}

#[test]
fn a_dry_run_makes_nothing() {
    let world = World::new();
    if !by_hand(&world, "reader") {
        return;
    }
    let connections = world.simulator.connections();
    let plan = import_by_hand(&world, &["--dry-run"]).expect(0).json();
    assert_eq!(plan["plan"][0]["steps"], serde_json::json!(["store", "prove", "deliver"]));
    assert!(!world.state().exists() && !world.config().exists());
    assert_eq!(world.simulator.connections(), connections);
}

/// A provisioned robot whose exported files are all that is left beside its configuration.
#[test]
fn after_a_lost_state_directory_the_exported_files_bring_it_back() {
    for combined in [false, true] {
        let world = World::new();
        let provisioned = result(&world.provision(&["--export", "out"]).expect(0));
        let old = world.inventory().unwrap().store_id().to_owned();
        fs::remove_dir_all(world.state()).unwrap();
        assert_eq!(world.status()["state"], "absent");
        let [key, certificate] = if combined { ["out/combined.pem"; 2] } else { ["out/key.pem", "out/cert.pem"] };
        let back = result(&import(&world, key, certificate, &[]).expect(0));
        assert_eq!(back["action"], "imported");
        for same in ["generation", "registered_name", "fingerprint_sha256", "not_after"] {
            assert_eq!(back[same], provisioned[same]);
        }
        assert!(!back["exports"][0]["files"].as_array().unwrap().is_empty(), "{back:#}");
        assert_ne!(world.inventory().unwrap().store_id(), old);
        let status = world.status();
        assert_eq!((&status["state"], &status["fingerprint_sha256"]), (&"active".into(), &back["fingerprint_sha256"]));
        world.run(&["verify", "plant/reader"]).expect(0);
        assert_eq!(world.posts(), 1, "nothing was registered for it");
        assert_eq!(result(&world.provision(&[]).expect(0))["action"], "unchanged");
    }
}

#[test]
fn a_later_generation_keeps_its_number_and_the_next_follows() {
    let world = World::new();
    if !by_hand(&world, "reader-g7") {
        return;
    }
    let told = result(&import_by_hand(&world, &[]).expect(0));
    assert_eq!((&told["generation"], &told["registered_name"]), (&7.into(), &"reader-g7".into()));
    let inventory = world.inventory().unwrap();
    let robot = world.runtime.block_on(inventory.robot(&"plant/reader".parse().unwrap())).unwrap().unwrap();
    assert_eq!((robot.last_generation, robot.base_name.as_str()), (7, "reader"));
}

#[test]
fn a_pair_that_the_appliance_refuses_leaves_nothing_behind() {
    let world = World::new();
    if !by_hand(&world, "reader") {
        return;
    }
    world.simulator.forget_robots();
    let told = result(&import_by_hand(&world, &[]).expect(4));
    assert_eq!(told["action"], "failed");
    assert!(told["error"]["hint"].as_str().unwrap().contains("nothing was kept"), "{told:#}");
    assert_nothing_taken(&world, 0, State::Abandoned);
    assert_eq!(world.status()["leftovers"], serde_json::json!([]), "nothing of it is on the appliance");
    // A later try with a pair that works takes a number of its own.
    fs::remove_dir_all(world.path("hand")).unwrap();
    assert!(by_hand(&world, "reader"));
    let told = result(&import_by_hand(&world, &[]).expect(0));
    assert_eq!((&told["action"], &told["generation"]), (&"imported".into(), &2.into()));
    assert_eq!(told["registered_name"], "reader");
}

#[test]
fn an_appliance_that_cannot_judge_is_asked_again_by_the_same_import() {
    #[track_caller]
    fn check(code: i32, disturb: impl FnOnce(&World) -> String, repair: impl FnOnce(&mut World)) {
        let mut world = World::new();
        if !by_hand(&world, "reader") {
            return;
        }
        let pin = world.simulator.pin().to_string();
        let url = disturb(&world);
        let fixed = ["--json", "import", "plant/reader", "--key", "hand/key.pem", "--cert", "hand/cert.pem"];
        let told = result(&world.run(&[&fixed[..], &["--url", &url, "--pin", &pin]].concat()).expect(code));
        assert!(told["error"]["hint"].as_str().unwrap().contains("the same import again"), "{told:#}");
        assert_nothing_taken(&world, 1, State::Planned);
        repair(&mut world);
        let told = result(&world.run(&fixed).expect(0));
        assert_eq!((&told["action"], &told["generation"]), (&"imported".into(), &1.into()));
    }
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = format!("https://{nobody}");
    check(
        5,
        |_| nobody.clone(),
        |world| {
            let config = fs::read_to_string(world.config()).unwrap();
            fs::write(world.config(), config.replace(&nobody, &world.simulator.url())).unwrap();
        },
    );
    let replaced = |world: &World| {
        world.simulator.replace_server_key().unwrap();
        world.simulator.url()
    };
    check(6, replaced, World::pin_anew);
    let accepts_anybody = |world: &World| {
        world.simulator.set_behaviours(behaviour("accepts-any-certificate"));
        world.simulator.url()
    };
    check(8, accepts_anybody, |world| world.simulator.set_behaviours(Behaviours::default()));
}

#[test]
fn after_an_import_that_failed_a_person_may_provision_instead() {
    let world = World::new();
    if !by_hand(&world, "other") {
        return;
    }
    world.simulator.set_behaviours(behaviour("accepts-any-certificate"));
    import_by_hand(&world, &[]).expect(8);
    assert_nothing_taken(&world, 1, State::Planned);
    world.simulator.set_behaviours(Behaviours::default());
    let told = result(&world.provision(&[]).expect(0));
    assert_eq!((&told["action"], &told["generation"]), (&"provisioned".into(), &1.into()));
    let inventory = world.inventory().unwrap();
    let robot = world.runtime.block_on(inventory.robot(&"plant/reader".parse().unwrap())).unwrap().unwrap();
    assert_eq!(robot.origin, Origin::Provisioned);
}

fn behaviour(name: &str) -> Behaviours {
    Behaviours::all_named().into_iter().find(|(named, _)| *named == name).unwrap().1
}

#[test]
fn a_lost_key_is_given_back_to_the_credential_in_use() {
    let world = World::new();
    world.provision(&["--export", "out"]).expect(0);
    for path in keys_in_store(&world) {
        fs::remove_file(path).unwrap();
    }
    world.run(&["verify", "plant/reader"]).expect(7);
    let told = result(&import(&world, "out/key.pem", "out/cert.pem", &[]).expect(0));
    assert_eq!((&told["action"], &told["generation"]), (&"imported".into(), &1.into()));
    world.run(&["verify", "plant/reader"]).expect(0);
    assert_eq!(records(&world).len(), 1);
}

#[test]
fn what_was_begun_with_the_appliance_is_not_imported_over() {
    let world = World::of(&behaviour("error-500"));
    world.provision(&[]).expect(5);
    assert_eq!(records(&world)[0].state, State::Sending);
    world.simulator.set_behaviours(Behaviours::default());
    if !by_hand(&world, "other") {
        return;
    }
    let told = result(&import_by_hand(&world, &[]).expect(3));
    assert!(told["error"]["message"].as_str().unwrap().contains("is sending"), "{told:#}");
    assert!(told["error"]["hint"].as_str().unwrap().contains("provision plant/reader"), "{told:#}");
    assert_eq!(records(&world)[0].state, State::Sending);
}

#[test]
fn what_was_never_sent_gives_way() {
    let world = World::new();
    if !by_hand(&world, "reader") {
        return;
    }
    // A key was made, and there was no token to register it with.
    let (url, pin) = (world.simulator.url(), world.simulator.pin().to_string());
    world.run(&["provision", "plant/reader", "--url", &url, "--pin", &pin, "--key-type", "ecdsa-p256"]).expect(12);
    assert_eq!((records(&world)[0].state, keys_in_store(&world).len()), (State::Keyed, 1));
    let told = result(&import_by_hand(&world, &[]).expect(0));
    assert_eq!((&told["action"], &told["generation"]), (&"imported".into(), &2.into()));
    let states: Vec<State> = records(&world).iter().map(|record| record.state).collect();
    assert_eq!(states, [State::Abandoned, State::Active]);
    assert_eq!(keys_in_store(&world).len(), 1, "the key that was never sent is gone");
    let inventory = world.inventory().unwrap();
    let robot = world.runtime.block_on(inventory.robot(&"plant/reader".parse().unwrap())).unwrap().unwrap();
    assert_eq!(robot.origin, Origin::Imported);
}
