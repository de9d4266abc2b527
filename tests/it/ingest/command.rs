//! The command: what its flags and the configuration make of the files, and what it says.

use super::names;
use crate::world::{TOKEN, World, run};

/// A world with a robot that works.
fn provisioned() -> World {
    let world = World::new();
    let arguments = world.provision_arguments();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run(world.command(&arguments), TOKEN.as_bytes()).expect(0);
    world
}

#[test]
fn the_policy_of_the_configuration_gives_way_to_the_flag() {
    let world = provisioned();
    let dir = world.state().join("ingest/plant/reader");
    let files = || names(&dir).into_iter().filter(|name| name.ends_with(".ndjson")).count();
    let read = |more: &[&str]| {
        let ran = world.run(&[&["--json", "ingest", "plant/reader"], more].concat()).expect(0).json();
        let run = &ran["runs"][0];
        let latest = std::fs::canonicalize(dir.join("latest/assets.ndjson")).unwrap();
        assert_eq!(run["path"], latest.to_str().unwrap());
        assert_eq!((&run["complete"], &run["error"]), (&true.into(), &serde_json::Value::Null));
        assert!(run["fingerprint_sha256"].is_string() && run["manifest"].is_string(), "{run:#}");
    };
    read(&[]);
    read(&[]);
    assert_eq!(files(), 2, "without a policy all stay");
    let config = std::fs::read_to_string(world.config()).unwrap();
    let ingest = "[sites.plant.robots.reader.ingest]\nstreams = [\"assets\"]\nkeep = 2\npage_size = 7\n";
    std::fs::write(world.config(), format!("{config}\n{ingest}")).unwrap();
    read(&[]);
    assert_eq!(files(), 2);
    read(&["--keep", "1"]);
    assert_eq!(files(), 1);
    let manifest = names(&dir).into_iter().find(|name| name.ends_with(".manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(dir.join(manifest)).unwrap()).unwrap();
    assert_eq!(manifest["page_size"], 7);
}

#[test]
fn what_is_in_the_way_of_the_latest_is_named_before_anything_is_asked() {
    let world = provisioned();
    let dir = world.path("data");
    std::fs::create_dir(&dir).unwrap();
    std::fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    std::os::unix::fs::symlink("/tmp", dir.join("latest")).unwrap();
    let asked = world.simulator.requests().len();
    let ran = world.run(&["--json", "ingest", "plant/reader", "-o", "data"]).expect(3).json();
    let error = &ran["runs"][0]["error"];
    let latest = dir.join("latest").display().to_string();
    assert!(error["message"].as_str().unwrap().contains(&latest), "{error:#}");
    assert!(error["hint"].as_str().unwrap().contains(&format!("move {latest} away")), "{error:#}");
    assert_eq!(world.simulator.requests().len(), asked);
    assert_eq!(names(&dir), ["latest"]);
}

#[test]
fn an_appliance_that_is_no_manager_lists_none() {
    let world = provisioned();
    for named in ["plant", "plant/reader"] {
        let ran = world.run(&["--json", "ingest", "--list-icps", named]).expect(1).json();
        let error = &ran["error"];
        assert!(error["message"].as_str().unwrap().contains("plant does not list"), "{error:#}");
        assert!(error["hint"].as_str().unwrap().contains("Enterprise Manager"), "{error:#}");
    }
    world.run(&["ingest", "--list-icps", "nowhere"]).expect(3);
}
