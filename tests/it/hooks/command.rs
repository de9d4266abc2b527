//! `hook test`, with the tool as a process.

use std::fs;

use serde_json::{Value, json};

use crate::world::{TOKEN, World};

/// Adds hooks to the robot of the configuration.
fn configure(world: &World, hooks: &str) {
    let config = fs::read_to_string(world.config()).unwrap();
    let robot = "[sites.plant.robots.reader]\n";
    assert!(config.contains(robot), "{config}");
    fs::write(world.config(), config.replace(robot, &format!("{robot}hooks = {hooks}\n"))).unwrap();
}

const TEST: [&str; 4] = ["--json", "hook", "test", "plant/reader"];

fn try_out(world: &World, event: &str, code: i32) -> Value {
    world.run(&[&TEST[..], &[event]].concat()).expect(code).json()
}

#[test]
fn a_hook_is_run_with_the_current_credential() {
    let world = World::new();
    let provisioned = world.provision(&["--export", "out"]).expect(0).json();
    configure(
        &world,
        "{ deploy = ['/bin/sh', '-c', 'cat; env'], failure = ['/bin/sh', '-c', 'echo $ROBOCRED_CODE; exit 3'], expiring = ['/no/such'] }",
    );
    let done = try_out(&world, "deploy", 0);
    assert_eq!(
        (&done["schema"], &done["robot"], &done["event"], &done["ok"], &done["exit_code"], &done["error"]),
        (&json!(1), &json!("plant/reader"), &json!("deploy"), &json!(true), &json!(0), &Value::Null)
    );
    let (document, environment) = done["output"].as_str().unwrap().split_once('\n').unwrap();
    let document: Value = serde_json::from_str(document).unwrap();
    assert_eq!(document["test"], true);
    assert_eq!(document["fingerprint_sha256"], provisioned["results"][0]["fingerprint_sha256"]);
    assert_eq!(document["key_file"], world.path("out/key.pem").to_str().unwrap());
    assert!(std::path::Path::new(document["certificate_file"].as_str().unwrap()).exists());
    for name in ["HOME=", "ROBOCRED_STORE=", "ROBOCRED_NON_INTERACTIVE="] {
        assert!(!environment.lines().any(|line| line.starts_with(name)), "{environment}");
    }
    assert!(!done["output"].as_str().unwrap().contains(TOKEN));

    let failed = try_out(&world, "failure", 9);
    assert_eq!(
        (&failed["ok"], &failed["exit_code"], &failed["output"], &failed["error"]["code"]),
        (&json!(false), &json!(3), &json!("test"), &json!("hook"))
    );
    let missing = try_out(&world, "expiring", 9);
    assert_eq!((&missing["ok"], &missing["exit_code"], &missing["output"]), (&json!(false), &Value::Null, &json!("")));
    assert!(missing["error"]["hint"].as_str().unwrap().contains("/no/such exists"), "{missing}");

    let ran = world.run(&["hook", "test", "plant/reader", "failure"]).expect(9);
    assert!(ran.stdout.contains("ended with exit code 3") && ran.stdout.ends_with("\n  test\n"), "{ran:?}");
    assert!(ran.stderr.contains("the hook /bin/sh ended with exit code 3"), "{ran:?}");
}

#[test]
fn a_robot_without_a_credential_can_be_tried_too() {
    let world = World::new();
    fs::create_dir_all(world.config().parent().unwrap()).unwrap();
    let marker = world.path("ran");
    fs::write(
        world.config(),
        format!(
            "version = 1\n[sites.plant]\nurl = '{}'\n[sites.plant.robots.reader]\nrole = 'reader'\nhooks.deploy = ['/bin/sh', '-c', 'cat; touch {}']\n",
            world.simulator.url(),
            marker.display()
        ),
    )
    .unwrap();
    let plan = world.run(&[&TEST[..], &["deploy", "--dry-run"]].concat()).expect(0).json();
    let step = format!("run /bin/sh -c cat; touch {}", marker.display());
    assert_eq!(plan["plan"], json!([{ "robot": "plant/reader", "steps": [step] }]));
    assert!(!marker.exists());

    let done = try_out(&world, "deploy", 0);
    let document: Value = serde_json::from_str(done["output"].as_str().unwrap()).unwrap();
    assert_eq!((&document["robot"], &document["generation"]), (&json!("plant/reader"), &Value::Null));
    assert!(marker.exists() && !world.state().exists());

    let none = try_out(&world, "failure", 3);
    assert_eq!(none["error"]["code"], "config");
    let hint = none["error"]["hint"].as_str().unwrap();
    assert!(hint.contains("hooks.failure = [\"/absolute/program\", \"argument\"]"), "{hint}");
    assert!(hint.contains(world.config().to_str().unwrap()), "{hint}");
    let unknown = world.run(&["--json", "hook", "test", "plant/other", "deploy"]).expect(3).json();
    assert!(unknown["error"]["message"].as_str().unwrap().contains("plant/other"), "{unknown}");
    world.run(&["hook", "test", "plant/reader", "deployed"]).expect(2);
    world.run(&["hook", "test", "plant", "deploy"]).expect(2);
    assert_eq!(world.simulator.connections(), 0);
}
