//! Where things are looked for, and `status` when they are not well.

use std::fs;

use serde_json::Value;

use crate::world::{World, run};

#[test]
fn the_paths_in_use() {
    let world = World::new();
    let at = |name: &str| world.path(name).to_str().unwrap().to_owned();
    let check = |variables: &[(&str, &str)], arguments: &[&str], config: &str, state: &str| {
        let mut command = world.command(&[&["--json", "status"], arguments].concat());
        command.envs(variables.iter().copied());
        let document = run(command, b"").expect(0).json();
        assert_eq!((&document["config"], &document["state_dir"]), (&at(config).into(), &at(state).into()));
    };
    let (home_config, home_state) = (".config/robocred/robocred.toml", ".local/state/robocred");
    let (xc, xs, sc, ss) = (at("xc"), at("xs"), at("sc"), format!("{}:{}", at("ss"), at("ss2")));
    let xdg = [("XDG_CONFIG_HOME", xc.as_str()), ("XDG_STATE_HOME", &xs)];
    let systemd = [&xdg, [("CONFIGURATION_DIRECTORY", sc.as_str()), ("STATE_DIRECTORY", &ss)].as_slice()].concat();
    let ours = [systemd.as_slice(), &[("ROBOCRED_CONFIG", "v.toml"), ("ROBOCRED_STATE_DIR", "v")]].concat();
    check(&[], &[], home_config, home_state);
    check(&xdg, &[], "xc/robocred/robocred.toml", "xs/robocred");
    check(&systemd, &[], "sc/robocred.toml", "ss");
    check(&ours, &[], "v.toml", "v");
    check(&ours, &["-c", "f.toml", "--state-dir", "f"], "f.toml", "f");
    assert_eq!(fs::read_dir(world.path("")).unwrap().count(), 0, "looking made something");
}

#[test]
fn status_hides_nothing_behind_a_broken_configuration() {
    let world = World::new();
    world.provision(&[]).expect(0);
    fs::write(world.config(), "version = 1\ncolour = \"blue\"\n").unwrap();
    let document = world.run(&["--json", "status"]).expect(0).json();
    assert_eq!(document["robots"][0]["state"], "active");
    let warnings = document["warnings"].as_array().unwrap();
    assert!(warnings.len() == 1 && warnings[0].as_str().unwrap().contains("colour"), "{warnings:?}");
    assert!(world.run(&["status"]).expect(0).stdout.contains("warning: the configuration"));
    world.run(&["verify"]).expect(3);
    assert_eq!(world.run(&["--json", "doctor"]).expect(3).json()["checks"][0]["result"], "fail");

    fs::remove_file(world.config()).unwrap();
    let document = world.run(&["--json", "status"]).expect(0).json();
    assert!(document["warnings"][0].as_str().unwrap().contains("not in the configuration"), "{document}");
}

#[test]
fn an_inventory_that_cannot_be_read_is_a_failure() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let database = world.state().join("inventory.db");
    for name in ["inventory.db-wal", "inventory.db-shm"] {
        let _ = fs::remove_file(world.state().join(name));
    }
    fs::write(&database, b"not a database, and not empty either").unwrap();
    let document = world.run(&["--json", "status"]).expect(1).json();
    assert_eq!(document["error"]["code"], "failed");
    assert!(document["error"]["hint"] != Value::Null, "{document}");
    assert_eq!(fs::read(&database).unwrap(), b"not a database, and not empty either", "it was touched");
}
