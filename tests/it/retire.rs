//! `retire`, with the tool as a process: what goes, what stays, and who removes it.

mod certain;

use std::path::PathBuf;

use robocred::simulator::{Fault, FaultKind};
use serde_json::{Value, json};

use crate::{
    bad_input::terminal::person,
    rotate::{add_robot, another_robot, codes, ends, forced, names, with_token},
    world::{Ran, TOKEN, World, run},
};

const RETIRE: [&str; 3] = ["--json", "retire", "plant/reader"];

fn retire(world: &World, more: &[&str]) -> Ran {
    world.run(&[&RETIRE[..], more].concat())
}

fn retire_with_token(world: &World, more: &[&str]) -> Ran {
    with_token(world, &[&RETIRE[..], &["--token-stdin"], more].concat())
}

/// Where the sealed keys rest.
pub fn sealed(world: &World) -> Vec<PathBuf> {
    let folder = world.state().join("secrets");
    world.files().into_iter().filter(|path| path.starts_with(&folder)).collect()
}

fn keys(world: &World) -> usize {
    sealed(world).len()
}

/// A robot with generation 2 in use and generation 1 in overlap.
fn rotated() -> World {
    let world = World::new();
    world.provision(&["--export", "out"]).expect(0);
    forced(&world);
    world
}

#[test]
fn the_previous_generations_go_and_what_is_in_use_stays() {
    let world = rotated();
    let held = keys(&world);
    world.run(&["export", "plant/reader", "--confirm"]).expect(0);
    let dry = retire(&world, &["--dry-run"]).expect(0).json();
    assert_eq!(dry["plan"], json!([{ "robot": "plant/reader", "steps": ["retire generation 1"] }]));
    assert_eq!(names(&world.simulator).len(), 2);

    let document = retire_with_token(&world, &[]).expect(0).json();
    assert_eq!(ends(&document), [("plant/reader", "retired", None)]);
    assert_eq!(
        (&document["results"][0]["generation"], &document["results"][0]["registered_name"]),
        (&json!(1), &json!("reader"))
    );
    assert_eq!(names(&world.simulator), ["reader-g2"]);
    let status = world.status();
    assert_eq!((&status["generation"], &status["previous"], &status["leftovers"]), (&json!(2), &json!([]), &json!([])));
    assert_eq!(codes(&status), Vec::<&str>::new());
    assert_eq!(keys(&world), held - 1, "its key is still there");
    assert!(!world.path("out/.g1").exists() && world.path("out/key.pem").exists());
    assert_eq!(world.path("out/current").read_link().unwrap().to_str(), Some(".g2"));
    world.run(&["verify"]).expect(0);

    let connections = world.simulator.connections();
    assert_eq!(ends(&retire(&world, &[]).expect(0).json()), [("plant/reader", "unchanged", None)]);
    assert_eq!(ends(&retire(&world, &["--generation", "1"]).expect(0).json()), [("plant/reader", "unchanged", None)]);
    assert_eq!(world.simulator.connections(), connections);
}

#[test]
fn an_admin_robot_of_the_site_removes_it_without_a_token() {
    let world = rotated();
    another_robot(&world, "keeper", "admin");
    let seen = world.simulator.tokens_seen();
    assert_eq!(ends(&retire(&world, &[]).expect(0).json()), [("plant/reader", "retired", None)]);
    assert_eq!(names(&world.simulator), ["reader-g2", "keeper"]);
    assert_eq!(world.simulator.tokens_seen(), seen);
}

#[test]
fn what_nobody_may_remove_is_left_for_a_person() {
    let world = rotated();
    let held = keys(&world);
    let document = retire(&world, &[]).expect(12).json();
    assert_eq!(ends(&document), [("plant/reader", "retired", Some("person"))]);
    let hint = document["results"][0]["error"]["hint"].as_str().unwrap();
    assert!(hint.contains("robocred retire plant/reader --generation 1 --removed"), "{hint}");
    assert_eq!(names(&world.simulator), ["reader", "reader-g2"]);
    assert_eq!(keys(&world), held - 1, "the key is destroyed all the same");
    let status = world.status();
    assert_eq!(status["previous"], json!([]));
    let left = &status["leftovers"][0];
    assert_eq!((&left["registered_name"], &left["generation"]), (&json!("reader"), &json!(1)));
    assert!(codes(&status).contains(&"retire-manual"), "{status}");

    // It is no secret that it is still there.
    retire(&world, &["--generation", "1"]).expect(12);
    assert_eq!(world.status()["leftovers"].as_array().unwrap().len(), 1);
    retire(&world, &["--removed"]).expect(2);
    retire(&world, &["--generation", "2", "--removed"]).expect(1);
    assert_eq!(world.status()["generation"], 2);
    let removed = retire(&world, &["--generation", "1", "--removed"]).expect(0).json();
    assert_eq!(ends(&removed), [("plant/reader", "retired", None)]);
    let status = world.status();
    assert_eq!((&status["leftovers"], codes(&status).contains(&"retire-manual")), (&json!([]), false));
    retire(&world, &["--generation", "1", "--removed"]).expect(0);
}

#[test]
fn a_leftover_goes_once_there_is_a_token() {
    let world = rotated();
    retire(&world, &[]).expect(12);
    let document = retire_with_token(&world, &["--generation", "1"]).expect(0).json();
    assert_eq!(ends(&document), [("plant/reader", "retired", None)]);
    assert_eq!(names(&world.simulator), ["reader-g2"]);
    let status = world.status();
    assert_eq!((&status["leftovers"], codes(&status).contains(&"retire-manual")), (&json!([]), false));
}

#[test]
fn an_appliance_without_removal_leaves_the_name_to_a_person() {
    let world = rotated();
    world.simulator.set_behaviours("delete-405".parse().unwrap());
    let ran = retire_with_token(&world, &[]).expect(12);
    assert_eq!(ends(&ran.json()), [("plant/reader", "retired", Some("person"))]);
    assert!(ran.stderr.contains("offers no removal"), "{ran:#?}");
    assert_eq!(world.status()["leftovers"][0]["registered_name"], "reader");
    world.run(&["verify"]).expect(0);
}

#[test]
fn a_removal_that_was_lost_on_its_way_is_sent_again() {
    let world = rotated();
    let id = world.simulator.robots()[0].id.clone();
    let removals = |world: &World| {
        let requests = world.simulator.requests();
        requests.iter().filter(|request| request.method == "DELETE").count()
    };
    world.simulator.inject(Fault::next(&format!("/v1/robots/{id}"), FaultKind::ResetBefore));
    let document = retire_with_token(&world, &[]).expect(0).json();
    assert_eq!(ends(&document), [("plant/reader", "retired", None)]);
    assert_eq!(names(&world.simulator), ["reader-g2"]);
    assert_eq!(world.status()["leftovers"], json!([]));

    // One that took effect before its answer was lost is not.
    let world = rotated();
    world.simulator.set_behaviours("delete-lost".parse().unwrap());
    let before = removals(&world);
    retire_with_token(&world, &[]).expect(0);
    assert_eq!((names(&world.simulator), removals(&world) - before), (vec!["reader-g2".to_owned()], 1));
}

#[test]
fn the_only_one_that_works_is_refused() {
    let world = World::new();
    world.provision(&["--export", "out"]).expect(0);
    for arguments in [[].as_slice(), &["--generation", "1"]] {
        let connections = world.simulator.connections();
        let document = retire_with_token(&world, arguments).expect(12).json();
        assert_eq!(ends(&document), [("plant/reader", "failed", Some("person"))]);
        let error = &document["results"][0]["error"];
        assert!(error["message"].as_str().unwrap().contains("only credential that works"), "{error}");
        let hint = error["hint"].as_str().unwrap();
        assert!(hint.contains("--last") && hint.contains("robocred rotate plant/reader --force"), "{hint}");
        assert_eq!(world.simulator.connections(), connections);
    }
    assert!(world.path("out/key.pem").exists());
    retire(&world, &["--generation", "1", "--dry-run"]).expect(12);
    world.run(&["verify"]).expect(0);

    let document = retire_with_token(&world, &["--last"]).expect(0).json();
    assert_eq!(ends(&document), [("plant/reader", "retired", None)]);
    assert_eq!(names(&world.simulator), Vec::<String>::new());
    assert_eq!((&world.status()["state"], &world.status()["generation"]), (&json!("absent"), &Value::Null));
    assert!(!world.path("out/.g1").exists());
    assert_eq!(keys(&world), 0);
    // Nothing comes back by itself.
    assert_eq!(world.run(&["--json", "rotate", "--due"]).expect(0).json()["results"][0]["action"], "unchanged");
    // And a person may begin anew, under the next number.
    assert_eq!(world.provision(&[]).expect(0).json()["results"][0]["generation"], 2);
}

#[test]
fn the_one_in_use_goes_where_an_earlier_one_works() {
    let world = rotated();
    let dry = retire(&world, &["--generation", "2", "--dry-run"]).expect(0).json();
    assert_eq!(dry["plan"][0]["steps"], json!(["prove", "rollback", "deliver", "retire generation 2"]));
    let document = retire_with_token(&world, &["--generation", "2"]).expect(0).json();
    assert_eq!(ends(&document), [("plant/reader", "retired", None)]);
    assert_eq!(document["results"][0]["generation"], 2);
    assert_eq!(names(&world.simulator), ["reader"]);
    let status = world.status();
    assert_eq!((&status["generation"], &status["previous"]), (&json!(1), &json!([])));
    assert_eq!(world.path("out/current").read_link().unwrap().to_str(), Some(".g1"));
    assert!(!world.path("out/.g2").exists());
    world.run(&["verify"]).expect(0);
}

#[test]
fn the_one_in_use_stays_where_no_earlier_one_works() {
    let world = rotated();
    world.simulator.forget_robot("reader");
    let document = retire_with_token(&world, &["--generation", "2"]).expect(12).json();
    assert_eq!(ends(&document), [("plant/reader", "failed", Some("person"))]);
    assert_eq!(names(&world.simulator), ["reader-g2"]);
    assert_eq!(world.status()["generation"], 2);
    world.run(&["verify"]).expect(0);
}

#[test]
fn nothing_is_destroyed_while_the_one_in_use_does_not_work() {
    let world = rotated();
    let held = keys(&world);
    world.simulator.forget_robot("reader-g2");
    let document = retire_with_token(&world, &[]).expect(12).json();
    assert_eq!(ends(&document), [("plant/reader", "failed", Some("person"))]);
    assert!(document["results"][0]["error"]["hint"].as_str().unwrap().contains("robocred rollback plant/reader"));
    assert_eq!((names(&world.simulator), keys(&world)), (vec!["reader".to_owned()], held));
    assert!(world.path("out/.g1/key.pem").exists());
    world.run(&["rollback", "plant/reader"]).expect(0);
    world.run(&["verify"]).expect(0);
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let world = rotated();
    assert_eq!(retire(&world, &["--generation", "7"]).expect(3).json()["results"][0]["error"]["code"], "config");
    retire(&world, &["--generation", "0"]).expect(2);
    retire(&world, &["--generation", "x"]).expect(2);
    world.run(&["--json", "retire", "plant/nobody"]).expect(3);
    world.run(&["--json", "retire"]).expect(2);
    run(world.command(&[&RETIRE[..], &["--token-stdin"]].concat()), b"two words").expect(3);
    add_robot(&world, "wanted", "reader");
    let never = world.run(&["--json", "retire", "plant/wanted"]).expect(1).json();
    assert!(never["results"][0]["error"]["hint"].as_str().unwrap().contains("robocred provision plant/wanted"));
    // A generation on its way was never in use.
    world.run(&["rotate", "plant/reader", "--force"]).expect(12);
    retire(&world, &["--generation", "3"]).expect(1);
    assert_eq!(names(&world.simulator), ["reader", "reader-g2"]);
    assert_eq!(world.status()["generation"], 2);
}

#[test]
fn a_delivery_that_nobody_confirmed_is_said_before_it_matters() {
    let world = rotated();
    let ran = with_token(&world, &["retire", "plant/reader", "--token-stdin"]).expect(0);
    assert!(ran.stderr.contains("nobody has confirmed that the connector holds generation 2"), "{ran:#?}");
    assert_eq!(names(&world.simulator), ["reader-g2"]);
}

#[test]
fn a_person_is_asked() {
    const QUESTION: &str = "Take reader out of use and destroy the key?";
    let world = rotated();
    with_token(&world, &["token", "set", "plant", "--token-stdin"]).expect(0);
    let Some(no) = person(&world, &["retire", "plant/reader"], &[(QUESTION, "no")]) else { return };
    assert_eq!(no["code"], 12, "{no:#}");
    assert_eq!(names(&world.simulator), ["reader", "reader-g2"]);
    assert_eq!(world.status()["previous"][0]["state"], "previous");
    let yes = person(&world, &["retire", "plant/reader"], &[(QUESTION, "yes")]).unwrap();
    assert_eq!(yes["code"], 0, "{yes:#}");
    assert_eq!(names(&world.simulator), ["reader-g2"]);
    world.assert_nowhere(TOKEN.as_bytes());
}

#[test]
fn a_person_is_asked_before_everything_is_replaced() {
    const QUESTION: &str = "Replace the credential of plant/reader now, due or not?";
    let world = World::new();
    world.provision(&[]).expect(0);
    with_token(&world, &["token", "set", "plant", "--token-stdin"]).expect(0);
    let Some(no) = person(&world, &["rotate", "--all", "--force"], &[(QUESTION, "no")]) else { return };
    assert_eq!(no["code"], 12, "{no:#}");
    assert_eq!(names(&world.simulator), ["reader"]);
    let yes = person(&world, &["rotate", "plant", "--force"], &[(QUESTION, "yes")]).unwrap();
    assert_eq!(yes["code"], 0, "{yes:#}");
    assert_eq!(names(&world.simulator), ["reader", "reader-g2"]);
    // One robot named is not asked about.
    let named = person(&world, &["rotate", "plant/reader", "--force"], &[]).unwrap();
    assert_eq!(named["code"], 0, "{named:#}");
}
