//! What happens to a robot in the middle of its life, from outside: the special
//! situations of docs/OPERATIONS.md that no other file is about.

mod appliance;
mod clock;
mod server;
mod state;

use robocred::credential::{Record, State};
use serde_json::Value;

use crate::world::{Ran, TOKEN, World, run};

const ROBOT: &str = "plant/reader";

/// A command of `--json`, with the token on standard input.
fn with_token(world: &World, command: &[&str]) -> Ran {
    let arguments = [&["--json"], command, &["--token-stdin"]].concat();
    run(world.command(&arguments), TOKEN.as_bytes())
}

/// The next generation, now.
fn rotate(world: &World) -> Ran {
    with_token(world, &["rotate", ROBOT, "--force"])
}

/// Whatever is open, and what is due.
fn carry_on(world: &World) -> Ran {
    with_token(world, &["rotate", ROBOT])
}

/// A robot in its overlap: generation 2 in use, generation 1 before it.
fn in_overlap() -> World {
    let world = World::new();
    world.provision(&[]).expect(0);
    rotate(&world).expect(0);
    assert_eq!(states(&world), [(1, State::Previous), (2, State::Active)]);
    world
}

fn records(world: &World) -> Vec<Record> {
    let inventory = world.inventory().unwrap();
    world.runtime.block_on(inventory.all_records()).unwrap()
}

/// Every generation and where it stands.
fn states(world: &World) -> Vec<(u32, State)> {
    records(world).iter().map(|record| (record.id.generation.number(), record.state)).collect()
}

/// How many keys rest in the sealed store.
fn keys(world: &World) -> usize {
    world.files().iter().filter(|path| path.extension().is_some_and(|end| end == "sealed")).count()
}

/// The certificate of a generation, as the appliance knows it.
fn fingerprint(world: &World, generation: u32) -> robocred::x509::Fingerprint {
    let records = records(world);
    let record = records.iter().find(|record| record.id.generation.number() == generation).unwrap();
    record.certificate.as_ref().unwrap().fingerprint()
}

fn codes(robot: &Value) -> Vec<&str> {
    robot["attention"].as_array().unwrap().iter().map(|raised| raised["code"].as_str().unwrap()).collect()
}

/// The advice of the one attention with this code.
#[track_caller]
fn advice<'r>(robot: &'r Value, code: &str) -> &'r str {
    let raised = robot["attention"].as_array().unwrap().iter().find(|raised| raised["code"] == code);
    raised.unwrap_or_else(|| panic!("no {code} in {robot:#}"))["hint"].as_str().unwrap()
}

fn hint(ran: &Ran) -> String {
    ran.json()["results"][0]["error"]["hint"].as_str().unwrap_or_default().to_owned()
}
