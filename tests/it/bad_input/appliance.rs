//! The appliance says no, or nothing: the key is kept, and the next run carries on.

use robocred::{
    clock::{Clock as _, SystemClock},
    simulator::{self, Behaviours, DuplicateName, Fault, FaultKind, Listing, Options, ServerKey},
    x509::{Certificate, KeyAlgorithm, PrivateKey, Profile, Validity},
};

use super::{refused, words};
use crate::world::{Ran, TOKEN, World, run};

fn provision_with_token(world: &World, token: &str) -> Ran {
    run(world.command(&words(&world.provision_arguments())), token.as_bytes())
}

/// The sealed keys, to see that the same one is used again.
fn sealed(world: &World) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut sealed: Vec<_> = world
        .files()
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "sealed"))
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    sealed.sort();
    sealed
}

#[test]
fn a_wrong_token_is_refused_and_the_right_one_uses_the_same_key() {
    let world = World::new();
    let told = refused(&provision_with_token(&world, "wrong-token"), 4);
    assert!(told.contains("token") && !told.contains("wrong-token"), "{told}");
    assert_eq!(world.simulator.robots(), []);
    let key = sealed(&world);
    assert_eq!(key.len(), 1);

    let ran = provision_with_token(&world, TOKEN).expect(0);
    assert_eq!(ran.json()["results"][0]["generation"], 1);
    assert_eq!(sealed(&world), key, "another key was made");
    assert_eq!(world.simulator.robots().len(), 1);
    world.assert_nowhere(b"wrong-token");
}

#[test]
fn without_a_token_the_key_waits_for_one() {
    let world = World::new();
    let arguments = world.provision_arguments();
    let mut without = words(&arguments);
    without.retain(|word| *word != "--token-stdin");
    let told = refused(&world.run(&without), 12);
    assert!(told.contains("--token-file"), "{told}");
    let key = sealed(&world);
    refused(&world.run(&without), 12);
    assert_eq!(world.simulator.tokens_seen(), 0);
    assert_eq!(world.simulator.robots(), []);
    provision_with_token(&world, TOKEN).expect(0);
    assert_eq!(sealed(&world), key, "another key was made");
}

#[test]
fn an_appliance_that_is_down_and_comes_back() {
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let validity = Validity::of_days(SystemClock.now(), 365).unwrap();
    let certificate = Certificate::self_signed(&key, "appliance", validity, Profile::Client).unwrap();
    let pair = ServerKey::Given { certificate_der: certificate.der().to_vec(), key_der: key.expose_der().to_vec() };
    let mut world = World::with(|options| options.tls.key = pair.clone());
    let arguments = world.provision_arguments();
    let address = world.simulator.address();
    // Its place is taken by one on another port; its own port is closed then.
    let elsewhere = world.runtime.block_on(simulator::start(Options::default())).unwrap();
    world.runtime.block_on(std::mem::replace(&mut world.simulator, elsewhere).shutdown());

    let told = refused(&run(world.command(&words(&arguments)), TOKEN.as_bytes()), 5);
    assert!(told.contains(&address.to_string()), "{told}");
    refused(&run(world.command(&words(&arguments)), TOKEN.as_bytes()), 5);
    let key = sealed(&world);

    let mut options = Options { listen: address, token: TOKEN.to_owned(), devices: 20, ..Options::default() };
    options.tls.key = pair;
    world.simulator = world.runtime.block_on(simulator::start(options)).unwrap();
    run(world.command(&words(&arguments)), TOKEN.as_bytes()).expect(0);
    assert_eq!(world.simulator.robots().len(), 1);
    assert_eq!(sealed(&world), key, "another key was made");
}

/// Somebody else's robot of the same name, from another home.
fn somebody_elses(world: &World) {
    let home = world.path("somebody-else");
    std::fs::create_dir(&home).unwrap();
    let mut command = world.command(&words(&world.provision_arguments()));
    command.env("HOME", &home);
    run(command, TOKEN.as_bytes()).expect(0);
}

#[test]
fn a_name_that_somebody_else_has() {
    let check = |listing: Listing, posts: usize| {
        let behaviours = Behaviours { listing, duplicate_name: DuplicateName::Conflict409, ..Behaviours::default() };
        let world = World::with(|options| options.behaviours = behaviours);
        somebody_elses(&world);
        let theirs = world.simulator.robots();
        let sent = || {
            world
                .simulator
                .requests()
                .iter()
                .filter(|request| request.method == "POST" && request.path == "/v1/robots")
                .count()
        };
        let before = sent();
        let told = refused(&world.provision(&[]), 4);
        assert!(told.contains("reader") && told.contains("--registered-name"), "{told}");
        assert_eq!(world.simulator.robots(), theirs);
        assert_eq!(sent() - before, posts);
    };
    // One that can list is asked first, and then nothing is sent.
    check(Listing::Supported, 0);
    check(Listing::NotFound404, 1);
}

#[test]
fn an_appliance_that_speaks_no_http() {
    let kinds = [
        FaultKind::Garbage,
        FaultKind::Raw(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()),
        FaultKind::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-type: application/json\r\n\r\n[[[[[".to_vec()),
    ];
    for kind in kinds {
        let world = World::new();
        world.simulator.inject(Fault { path: None, nth: 1, kind: kind.clone() });
        // What is said in place of an answer to the first question need not stop what follows.
        let ran = world.provision(&[]);
        if ran.code() != Some(0) {
            refused(&ran, ran.code().unwrap());
        }
        world.provision(&[]).expect(0);
        assert_eq!(world.simulator.robots().len(), 1, "{kind:?}");
    }
}
