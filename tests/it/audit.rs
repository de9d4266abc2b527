//! `audit show|verify|export` on the real record, and on one that was tampered with.

use std::{fs, path::Path};

use robocred::inventory::audit::Entry;
use serde_json::Value;
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};

use crate::world::{World, run};

/// Changes the record behind the inventory's back.
pub fn tamper(world: &World, state: &Path, statements: &str) {
    let statements = format!("DROP TRIGGER audit_is_not_rewritten; DROP TRIGGER audit_is_not_cut; {statements}");
    world.runtime.block_on(async {
        let options = SqliteConnectOptions::new().filename(state.join("inventory.db"));
        let mut connection = options.connect().await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    });
}

/// A copy of a state directory.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
    let mode = fs::metadata(from).unwrap().permissions();
    fs::set_permissions(to, mode).unwrap();
}

/// The anchor's file.
pub fn anchor(world: &World) -> std::path::PathBuf {
    let is_anchor = |path: &std::path::PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("anchor-");
    world.files().into_iter().find(is_anchor).expect("there is an anchor")
}

fn entries(world: &World, more: &[&str]) -> Vec<Value> {
    let document = world.run(&[&["--json", "audit", "show"], more].concat()).expect(0).json();
    assert_eq!(document["schema"], 1);
    document["entries"].as_array().unwrap().clone()
}

#[test]
fn the_record_answers_who_did_what_when_where_and_with_what() {
    let world = World::new();
    assert!(entries(&world, &[]).is_empty());
    world.provision(&[]).expect(0);
    let all = entries(&world, &[]);
    let actions: Vec<_> = all.iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    let life = ["store-chosen", "adopted", "planned", "key-stored", "send-begun", "accepted", "promoted"];
    assert_eq!(actions[..7], life);
    let promoted = &all[6];
    assert_eq!(promoted["detail"]["server_pin"], world.simulator.pin().to_string());
    let fingerprint = &world.status()["fingerprint_sha256"];
    assert_eq!(&promoted["detail"]["fingerprint_sha256"], fingerprint);
    assert_eq!((&promoted["site"], &promoted["robot"]), (&"plant".into(), &"reader".into()));
    assert_eq!((&promoted["seq"], &promoted["generation"]), (&7.into(), &1.into()));
    for entry in &all {
        assert!(entry["actor"].as_str().unwrap().starts_with("uid "), "{entry}");
        assert_eq!(entry["detail"]["tool"], env!("CARGO_PKG_VERSION"), "{entry}");
    }

    assert_eq!(entries(&world, &["--limit", "2"]), all[all.len() - 2..]);
    assert_eq!(entries(&world, &["plant/reader"]), all[1..]);
    assert_eq!(entries(&world, &["plant"]), all[1..]);
    assert!(entries(&world, &["plant/other"]).is_empty());
    assert_eq!(entries(&world, &["--since", all[3]["at"].as_str().unwrap()])[..], all[3..]);
    assert!(entries(&world, &["--since", "2999-01-01T00:00:00Z"]).is_empty());
    let table = world.run(&["audit", "show"]).expect(0).stdout;
    assert!(table.contains("plant/reader") && table.contains("promoted"), "{table}");
}

/// The hash as docs/OPERATIONS.md describes it.
fn hash_of(entry: &Entry) -> String {
    let (seq, generation) = (entry.seq.to_string(), entry.generation.map(|generation| generation.to_string()));
    let (site, robot) = (entry.site.clone().unwrap_or_default(), entry.robot.clone().unwrap_or_default());
    let generation = generation.unwrap_or_default();
    let fields = [&entry.prev, &seq, &entry.at, &entry.actor, &entry.action, &site, &robot, &generation, &entry.detail];
    let form: String = fields.map(|field| format!("{}:{field},", field.len())).concat();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, form.as_bytes());
    digest.as_ref().iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().concat()
}

#[test]
fn the_hash_is_the_documented_one() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let entries = world.runtime.block_on(world.inventory().unwrap().audit()).unwrap();
    for entry in &entries {
        assert_eq!(entry.hash, hash_of(entry), "{entry:?}");
    }
}

#[test]
fn every_way_to_tamper_is_found_at_its_entry() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let last = i64::try_from(entries(&world, &[]).len()).unwrap();
    let pristine = world.path("pristine");
    copy(&world.state(), &pristine);

    let forged = world.runtime.block_on(world.inventory().unwrap().audit()).unwrap().swap_remove(3);
    let forged = Entry { actor: "somebody".to_owned(), ..forged };
    let columns = "at, actor, action, site, robot, generation, detail, prev, hash";
    let insert = |seq| {
        format!(
            "UPDATE audit SET seq = -seq WHERE seq >= {seq}; UPDATE audit SET seq = 1 - seq WHERE seq < 0;
             INSERT INTO audit SELECT {seq}, {columns} FROM audit WHERE seq = {seq} - 1"
        )
    };
    for (statements, broken_at) in [
        ("UPDATE audit SET actor = 'somebody' WHERE seq = 4".to_owned(), 4),
        ("UPDATE audit SET at = 'yesterday' WHERE seq = 2".to_owned(), 2),
        ("UPDATE audit SET generation = 0 WHERE seq = 3".to_owned(), 3),
        ("UPDATE audit SET robot = '../x' WHERE seq = 3".to_owned(), 3),
        ("UPDATE audit SET detail = 'no json' WHERE seq = 7".to_owned(), 7),
        (format!("UPDATE audit SET hash = '{}' WHERE seq = 5", "0".repeat(64)), 5),
        // An entry with a right hash of its own is found by the one after it.
        (format!("UPDATE audit SET actor = 'somebody', hash = '{}' WHERE seq = 4", hash_of(&forged)), 5),
        (insert(4), 4),
        (insert(last + 1), last + 1),
        (
            "UPDATE audit SET seq = -1 WHERE seq = 3; UPDATE audit SET seq = 3 WHERE seq = 4;
             UPDATE audit SET seq = 4 WHERE seq = -1"
                .to_owned(),
            3,
        ),
        ("DELETE FROM audit WHERE seq = 3".to_owned(), 4),
        ("DELETE FROM audit WHERE seq = 1".to_owned(), 2),
        // A cut at the end: only the anchor tells.
        (format!("DELETE FROM audit WHERE seq = {last}"), last),
        ("DELETE FROM audit WHERE seq > 4".to_owned(), 5),
    ] {
        let state = world.path("tampered");
        copy(&pristine, &state);
        tamper(&world, &state, &statements);
        let state = state.to_str().unwrap();
        let ran = world.run(&["--json", "--state-dir", state, "audit", "verify"]).expect(1);
        let document = ran.json();
        assert_eq!(
            (&document["ok"], &document["broken_at"]),
            (&false.into(), &broken_at.into()),
            "{statements}: {ran:#?}"
        );
        let told = world.run(&["--state-dir", state, "audit", "verify"]).expect(1);
        assert!(told.stderr.contains("hint:") && told.stdout.is_empty(), "{told:#?}");
        // What is damaged is still shown and handed out.
        world.run(&["--state-dir", state, "audit", "show"]).expect(0);
        world.run(&["--state-dir", state, "status"]).expect(0);
        fs::remove_dir_all(state).unwrap();
    }
    let document = world.run(&["--json", "audit", "verify"]).expect(0).json();
    assert_eq!((&document["ok"], &document["entries"]), (&true.into(), &last.into()));
}

#[test]
fn a_cut_tail_is_found_by_a_head_kept_elsewhere_and_by_nothing_else() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let exported = world.run(&["--json", "audit", "export", "-o", "audit.ndjson"]).expect(0).json();
    let head = exported["head"].as_str().unwrap().to_owned();
    let count = exported["entries"].as_i64().unwrap();
    let text = fs::read_to_string(world.path("audit.ndjson")).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, entries(&world, &[]));
    assert_eq!(lines.last().unwrap()["hash"], head);
    let both = format!("{count}:{head}");
    for kept in [&head, &both] {
        world.run(&["audit", "verify", "--head", kept]).expect(0);
    }
    let piped = world.run(&["audit", "export"]).expect(0);
    assert_eq!(piped.stdout, text);
    assert!(piped.stderr.contains(&both), "{}", piped.stderr);

    tamper(&world, &world.state(), &format!("DELETE FROM audit WHERE seq = {count}"));
    fs::remove_file(anchor(&world)).unwrap();
    let unnoticed = world.run(&["--json", "audit", "verify"]).expect(0);
    assert!(unnoticed.stderr.contains("a cut at the end is not found"), "{unnoticed:#?}");
    let document = world.run(&["--json", "audit", "verify", "--head", &both]).expect(1).json();
    assert_eq!(document["broken_at"], count);
    world.run(&["audit", "verify", "--head", &head]).expect(1);
    // An earlier head is still there.
    world.run(&["audit", "verify", "--head", lines[2]["hash"].as_str().unwrap()]).expect(0);

    for wrong in ["", "x", "7", "7:abc", &format!("-1:{head}"), &format!("{head}0")] {
        world.run(&["audit", "verify", &format!("--head={wrong}")]).expect(2);
    }
}

#[test]
fn a_record_written_anew_is_not_the_one_the_anchor_knows() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let before = entries(&world, &[]);
    let last = before.len();
    tamper(&world, &world.state(), &format!("DELETE FROM audit WHERE seq = {last}"));
    // The tool itself goes on from there, with a whole chain.
    run(world.command(&["token", "set", "plant", "--token-stdin"]), b"another").expect(0);
    let document = world.run(&["--json", "audit", "verify"]).expect(1).json();
    assert_eq!(document["broken_at"], last);
    assert!(document["message"].as_str().unwrap().contains("not the one that was there"), "{document}");
    fs::remove_file(anchor(&world)).unwrap();
    world.run(&["audit", "verify"]).expect(0);
    let head = format!("{last}:{}", before[last - 1]["hash"].as_str().unwrap());
    let document = world.run(&["--json", "audit", "verify", "--head", &head]).expect(1).json();
    assert_eq!(document["broken_at"], last);
}

#[test]
fn what_cannot_be_asked_for() {
    let world = World::new();
    world.run(&["--json", "audit", "export"]).expect(2);
    world.run(&["audit"]).expect(2);
    world.run(&["audit", "show", "--since", "yesterday"]).expect(2);
    world.run(&["audit", "export", "-o", "no/such/folder"]).expect(1);
    let empty = world.run(&["--json", "audit", "verify"]).expect(0).json();
    assert_eq!((&empty["ok"], &empty["entries"], &empty["head"]), (&true.into(), &0.into(), &"0".repeat(64).into()));
    assert!(!world.state().exists());
}
