//! `registrar`: an admin robot that registers the successors, its own included,
//! and what is learnt where it may not.

use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::{Value, json};

use crate::{
    retire::sealed,
    rotate::{another_robot, codes, configure, ends, names, with_token},
    world::World,
};

const FORCED: [&str; 4] = ["--json", "rotate", "plant/reader", "--force"];

/// `plant/reader`, and `plant/keeper` as the admin robot that registers.
fn kept() -> World {
    let world = World::new();
    world.provision(&[]).expect(0);
    another_robot(&world, "keeper", "admin");
    configure(&world, "sites.plant", "registrar = \"keeper\"");
    world
}

/// The POSTs so far, with who they were taken for.
fn posts(world: &World) -> Vec<Option<String>> {
    let requests = world.simulator.requests().into_iter();
    let posts = requests.filter(|request| request.method == "POST" && request.path == "/v1/robots");
    posts.map(|request| request.authenticated_as).collect()
}

/// What is asked of an admin robot: one POST more, and nothing with a token.
#[test]
fn it_registers_successors_and_its_own_without_a_token() {
    let world = kept();
    let seen = world.simulator.tokens_seen();
    let both = world.run(&["--json", "rotate", "plant/reader", "plant/keeper", "--force"]).expect(0).json();
    assert_eq!(ends(&both), [("plant/reader", "rotated", None), ("plant/keeper", "rotated", None)]);
    assert_eq!(names(&world.simulator), ["reader", "keeper", "reader-g2", "keeper-g2"]);
    assert_eq!(posts(&world)[2..], [Some("robot:keeper".to_owned()), Some("robot:keeper".to_owned())]);
    let roles: Vec<_> = world.simulator.robots().into_iter().map(|robot| robot.role).collect();
    assert_eq!(roles, ["ReaderRole", "AdminRole", "ReaderRole", "AdminRole"]);

    // From now on by its new credential.
    let again = world.run(&FORCED).expect(0).json();
    assert_eq!(ends(&again), [("plant/reader", "rotated", None)]);
    assert_eq!(posts(&world).last().unwrap().as_deref(), Some("robot:keeper-g2"));
    // It removes, too.
    assert_eq!(ends(&world.run(&["--json", "retire", "plant/keeper"]).expect(0).json())[0].1, "retired");
    assert!(!names(&world.simulator).contains(&"keeper".to_owned()));
    assert_eq!(world.simulator.tokens_seen(), seen);
    // Nobody is asked for one either.
    let status = world.run(&["--json", "status"]).expect(0).json();
    for robot in status["robots"].as_array().unwrap() {
        assert_eq!(codes(robot), Vec::<&str>::new());
    }
}

#[test]
fn where_it_may_not_that_is_learnt_and_the_token_takes_its_place() {
    let world = kept();
    world.simulator.set_behaviours("token-only".parse().unwrap());
    let before = posts(&world).len();
    let ran = world.run(&FORCED).expect(12);
    assert_eq!(ends(&ran.json()), [("plant/reader", "failed", Some("person"))]);
    assert!(ran.stderr.contains("does not let plant/keeper register reader-g2"), "{ran:#?}");
    assert!(ran.stderr.contains("403"), "{ran:#?}");
    assert_eq!(posts(&world)[before..], [Some("robot:keeper".to_owned())]);
    let waiting = world.status();
    let reader = world.run(&["--json", "status"]).expect(0).json()["robots"].clone();
    let reader = reader.as_array().unwrap().iter().find(|robot| robot["name"] == "reader").unwrap().clone();
    assert_eq!(codes(&reader), ["token-needed"], "{waiting}");
    assert_eq!(reader["previous"][0]["state"], "keyed");

    // The admin robot is not asked again.
    let requests = world.simulator.requests().len();
    world.run(&["rotate", "plant/reader"]).expect(12);
    assert_eq!(world.simulator.requests().len(), requests);
    let done = with_token(&world, &["--json", "rotate", "plant/reader", "--token-stdin"]).expect(0).json();
    assert_eq!(ends(&done), [("plant/reader", "rotated", None)]);
    assert_eq!(done["results"][0]["fingerprint_sha256"], reader["previous"][0]["fingerprint_sha256"]);
    assert_eq!(posts(&world)[before + 1..], [Some("token".to_owned())]);

    // By force it is, and with the token at hand that is no failure.
    let ran = with_token(&world, &[&FORCED[..], &["--token-stdin"]].concat()).expect(0);
    assert_eq!(ends(&ran.json()), [("plant/reader", "rotated", None)]);
    assert!(ran.stderr.contains("plant/keeper"), "{ran:#?}");
    assert_eq!(posts(&world)[before + 2..], [Some("robot:keeper".to_owned()), Some("token".to_owned())]);

    // An appliance that has learnt better is known so again.
    world.simulator.set_behaviours("default".parse().unwrap());
    world.run(&FORCED).expect(0);
    let robot = ["--json", "rotate", "plant/keeper", "--force"];
    world.run(&robot).expect(0);
    assert_eq!(posts(&world).last().unwrap().as_deref(), Some("robot:keeper"));
}

#[test]
fn where_it_may_not_status_says_so_ahead() {
    let world = kept();
    world.simulator.set_behaviours("token-only".parse().unwrap());
    with_token(&world, &[&FORCED[..], &["--token-stdin", "--days", "30"]].concat()).expect(0);
    let status = world.run(&["--json", "status"]).expect(0).json();
    let reader = status["robots"].as_array().unwrap().iter().find(|robot| robot["name"] == "reader").unwrap().clone();
    assert_eq!(codes(&reader), ["token-needed"]);
    let message = reader["attention"][0]["message"].as_str().unwrap();
    assert!(message.contains("does not let plant/keeper register"), "{message}");
}

/// An admin robot that is not there is passed over: the token registers, and
/// without one a person is needed.
#[test]
fn one_that_is_not_there_is_passed_over() {
    let check = |what: &str, world: &World| {
        let before = posts(world).len();
        let waiting = world.run(&FORCED).expect(12).json();
        assert_eq!(ends(&waiting), [("plant/reader", "failed", Some("person"))], "{what}");
        let done = with_token(world, &["--json", "rotate", "plant/reader", "--token-stdin"]).expect(0).json();
        assert_eq!(ends(&done), [("plant/reader", "rotated", None)], "{what}");
        assert_eq!(posts(world).last().unwrap().as_deref(), Some("token"), "{what}");
        posts(world)[before..].to_vec()
    };
    let never = World::new();
    never.provision(&[]).expect(0);
    crate::rotate::add_robot(&never, "keeper", "admin");
    configure(&never, "sites.plant", "registrar = \"keeper\"");
    assert_eq!(check("never provisioned", &never).len(), 1);

    let lost = kept();
    // The key without which the reader works, and the keeper does not.
    for path in sealed(&lost) {
        let content = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        if lost.run(&["verify", "plant/keeper"]).code() == Some(7) {
            break;
        }
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    assert_eq!(sealed(&lost).len(), 1);
    assert_eq!(check("its key is lost", &lost).len(), 1);

    // One that somebody removed on the appliance is refused as unknown: nothing is learnt of what it may.
    let removed = kept();
    removed.simulator.forget_robot("keeper");
    check("removed on the appliance", &removed);
    let inventory = removed.inventory().unwrap();
    let site = removed.runtime.block_on(inventory.site(&"plant".parse().unwrap())).unwrap().unwrap();
    assert_eq!(site.seen.admin_registers, None);
}

#[test]
fn the_registrar_must_be_an_admin_robot_of_the_site() {
    let world = World::new();
    world.provision(&[]).expect(0);
    for name in ["reader", "nobody"] {
        let config = fs::read_to_string(world.config()).unwrap();
        configure(&world, "sites.plant", &format!("registrar = \"{name}\""));
        let document = world.run(&FORCED).expect(3).json();
        assert_eq!(document["error"]["code"], "config", "{document}");
        assert_ne!(document["error"]["message"], Value::Null);
        fs::write(world.config(), config).unwrap();
    }
    assert_eq!(world.status()["previous"], json!([]));
}
