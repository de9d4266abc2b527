//! The wrong server: nothing reaches it, and the person sees both sides.

use std::{net::TcpListener, time::Instant};

use robocred::simulator::{Behaviours, Listing, Refusal, Registration};

use super::{refused, refuses, words};
use crate::world::{TOKEN, World, run};

/// The arguments of the usual provision with this pin in place of the server's.
fn with_pin(world: &World, pin: &str) -> Vec<String> {
    let mut arguments = world.provision_arguments();
    arguments.retain(|word| word != "--json");
    pin.clone_into(arguments.last_mut().unwrap());
    arguments
}

#[test]
fn another_key_than_the_pinned_one() {
    let world = World::new();
    let other = format!("sha256//{}=", "A".repeat(43));
    let ran = run(world.command(&words(&with_pin(&world, &other))), TOKEN.as_bytes());
    let told = refused(&ran, 6);
    assert!(told.contains(&other) && told.contains(&world.simulator.pin().to_string()), "{told}");
    assert_eq!(world.simulator.requests(), [], "something was sent to a server that is not trusted");
    assert_eq!(world.simulator.robots(), []);

    // The pin was the mistake: corrected, the same command completes.
    world.run(&["trust", "plant", "--pin", &world.simulator.pin().to_string()]).expect(0);
    world.provision(&[]).expect(0);
    assert_eq!(world.simulator.robots().len(), 1);
}

#[test]
fn a_server_nobody_knows() {
    let world = World::new();
    let pin = world.simulator.pin().to_string();
    for accept in [[].as_slice(), &["--accept-new"]] {
        let url = world.simulator.url();
        let arguments =
            [["provision", "plant/reader", "-n", "--url", &url, "--token-stdin"].as_slice(), accept].concat();
        refuses(&world, || world.command(&arguments), TOKEN.as_bytes(), 6, &["--pin", &pin]);
    }
    assert!(!world.state().exists() && !world.config().exists());
    assert_eq!(world.simulator.requests(), []);
    assert_eq!(world.simulator.robots(), []);
}

#[test]
fn a_server_that_no_authority_knows() {
    let world = World::new();
    let other = World::new();
    let file = world.path("ca.pem");
    std::fs::write(&file, other.simulator.certificate_pem()).unwrap();
    let url = world.simulator.url();
    let arguments = ["provision", "plant/reader", "--url", &url, "--ca-file", file.to_str().unwrap(), "--token-stdin"];
    refused(&run(world.command(&arguments), TOKEN.as_bytes()), 6);
    assert_eq!(world.simulator.requests(), []);
}

#[test]
fn a_key_that_changed_after_provisioning() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let before = world.simulator.pin().to_string();
    world.simulator.replace_server_key().unwrap();
    let after = world.simulator.pin().to_string();
    let requests = world.simulator.requests().len();

    let ran = world.run(&["verify", "plant/reader"]).expect(6);
    let told = format!("{}{}", ran.stdout, ran.stderr);
    assert!(told.contains(&before) && told.contains(&after), "{told}");
    let told = refused(&world.run(&["ingest", "plant/reader"]), 6);
    assert!(told.contains(&before) && told.contains(&after), "{told}");
    world.run(&["--json", "verify", "plant/reader"]).expect(6);
    refused(&world.run(&["--json", "ingest", "plant/reader"]), 6);

    assert_eq!(world.simulator.requests().len(), requests, "something was sent to a server that changed");
    // First contact is over: a flag does not bring it back.
    world.run(&["verify", "plant/reader", "--accept-new"]).expect(6);
    assert_eq!(world.simulator.requests().len(), requests);
    assert_eq!(world.status()["state"], "active");
}

#[test]
fn a_port_that_accepts_and_says_nothing() {
    let world = World::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", silent.local_addr().unwrap());
    let begun = Instant::now();
    let arguments = ["provision", "plant/reader", "--url", &url, "--token-stdin", "--pin"];
    let pin = world.simulator.pin().to_string();
    let told = refused(&run(world.command(&[arguments.as_slice(), &[&pin]].concat()), TOKEN.as_bytes()), 5);
    assert!(begun.elapsed().as_secs() < 40, "{:?}", begun.elapsed());
    assert!(told.contains("took longer than 10s (tls)"), "{told}");
}

#[test]
fn a_login_page_in_front_of_everything() {
    let portal = Behaviours {
        registration: Registration::Html200,
        listing: Listing::Html200,
        refusal: Refusal::Html200,
        ..Behaviours::default()
    };
    let world = World::with(|options| options.behaviours = portal.clone());
    let begun = Instant::now();
    let ran = world.provision(&[]);
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
    assert_ne!(ran.code(), Some(0), "a page of HTML is no registration: {ran:#?}");
    assert_ne!(world.status()["state"], "active");
    assert!(!world.path("out").exists());

    // The tries of this hour are used up: the token does not leave again at once.
    let tokens = world.simulator.tokens_seen();
    refused(&world.provision(&[]), 5);
    assert_eq!(world.simulator.tokens_seen(), tokens);

    // The portal comes up later: what it answers is no metadata, and no proof.
    let world = World::new();
    world.provision(&[]).expect(0);
    world.simulator.forget_robots();
    world.simulator.set_behaviours(portal);
    let ran = world.run(&["verify", "plant/reader"]);
    assert_eq!(ran.code(), Some(4), "{ran:#?}");
    refused(&world.run(&["ingest", "plant/reader"]), 4);
}

#[test]
fn one_site_that_is_down_does_not_stop_the_verification_of_another() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let down = format!("https://{}", silent.local_addr().unwrap());
    drop(silent);
    let config = std::fs::read_to_string(world.config()).unwrap();
    // Before the one that works, and nobody has decided about its server yet.
    let site = format!("[sites.a]\nurl = \"{down}\"\n[sites.a.robots.r]\nrole = \"reader\"\n");
    std::fs::write(world.config(), config.replacen("[sites.plant]", &format!("{site}[sites.plant]"), 1)).unwrap();

    let ran = world.run(&["--json", "verify", "--accept-new"]).expect(5);
    let document = ran.json();
    let robots = document["robots"].as_array().unwrap();
    assert_eq!(robots.len(), 2, "{document:#}");
    assert_eq!((&robots[0]["robot"], &robots[0]["ok"]), (&"a/r".into(), &false.into()), "{document:#}");
    assert!(robots[0].to_string().contains("cannot be connected to"), "{document:#}");
    assert_eq!((&robots[1]["robot"], &robots[1]["ok"]), (&"plant/reader".into(), &true.into()), "{document:#}");
}
