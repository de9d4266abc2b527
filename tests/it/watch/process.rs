//! `watch` as a process.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt as _, time::Instant};

use robocred::inventory::Task;
use rustix::process::Signal;
use serde_json::Value;
use time::Duration;

use super::{Watching, row, until};
use crate::{
    rotate::{
        configure,
        due::{imported, made_by_hand},
        with_token,
    },
    world::World,
};

fn token_set(world: &World) {
    with_token(world, &["token", "set", "plant", "--token-stdin"]).expect(0);
}

#[test]
fn what_is_due_is_rotated() {
    let world = World::new();
    imported(&world, "reader");
    token_set(&world);
    let watching = Watching::start(&world, &[]);
    watching.says("watching 1 robot of ");
    watching.says("plant/reader: rotated, generation 2");
    let status = until("generation 2", || Some(world.status()).filter(|robot| robot["generation"] == 2));
    assert_eq!((&status["state"], &status["due"]), (&Value::from("active"), &Value::from(false)));
    let row = until("the row", || row(&world, Task::Rotate));
    assert_eq!((row.success_at, row.tries, row.failure), (Some(row.at), 0, None));
    let said = watching.stop();
    assert!(said.contains("robocred: ending"), "{said}");
    assert!(!said.contains("error:"), "{said}");
}

#[test]
fn a_robot_that_only_a_person_can_help_rests() {
    let world = World::new();
    imported(&world, "reader");
    let watching = Watching::start(&world, &[]);
    watching.says("error: rotate of plant (person): plant/reader: ");
    let first = until("the row", || row(&world, Task::Rotate));
    assert_eq!((first.tries, first.failure.unwrap().code), (1, "person".to_owned()));
    assert_eq!(first.after.unwrap() - first.at, Duration::HOUR);
    // Nobody has done anything about it.
    watching.signal(Signal::USR1);
    watching.signal(Signal::HUP);
    watching.says("again: 1 robot");
    assert_eq!(row(&world, Task::Rotate).unwrap().tries, 1);
    token_set(&world);
    watching.signal(Signal::USR1);
    watching.says("plant/reader: rotated, generation 2");
    until("success", || row(&world, Task::Rotate).filter(|row| row.tries == 0));
    watching.stop();
}

#[test]
fn what_was_never_read_is_read_at_start_and_again_when_due() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let place = world.path("devices");
    let ingest = |every: &str| {
        format!("ingest = {{ streams = [\"assets\"], dir = \"{}\", every = \"{every}\" }}", place.display())
    };
    configure(&world, "sites.plant.robots.reader", &ingest("1d"));
    let watching = Watching::start(&world, &[]);
    // The first look at a site reads what was never read with this credential.
    watching.says("plant/reader: read 19 assets to ");
    until("the row", || row(&world, Task::Rotate));
    assert!(place.is_dir() && row(&world, Task::Ingest).is_none());
    watching.stop();

    // A day has not passed: the site is looked at, and nothing is read.
    let watching = Watching::start(&world, &["-v"]);
    watching.says("watching 1 robot");
    watching.signal(Signal::HUP);
    watching.says("again: 1 robot");
    assert!(!watching.said().contains("read 19 assets"), "{}", watching.said());
    let config = fs::read_to_string(world.config()).unwrap();
    fs::write(world.config(), config.replace("\"1d\"", "\"1s\"")).unwrap();
    watching.signal(Signal::HUP);
    watching.says("plant/reader: read 19 assets");
    let read = until("the row", || row(&world, Task::Ingest));
    assert_eq!((read.success_at, read.tries), (Some(read.at), 0));
    watching.stop();
}

#[test]
fn nothing_to_do_is_no_reason_to_end() {
    let world = World::new();
    let watching = Watching::start(&world, &[]);
    watching.says("watching 0 robots");
    // Neither was there when it began.
    world.provision(&[]).expect(0);
    watching.signal(Signal::USR1);
    until("the row", || row(&world, Task::Rotate));
    let said = watching.stop();
    assert!(!said.contains("error:"), "{said}");
    assert_eq!(world.run(&["--json", "watch", "--listen", "nowhere"]).expect(2).json()["error"]["code"], "usage");
}

#[test]
fn with_json_the_end_is_one_document() {
    let world = World::new();
    let watching = Watching::start(&world, &["--json"]);
    watching.says("watching 0 robots");
    watching.signal(Signal::INT);
    let (code, stdout, said) = watching.ended();
    assert_eq!((code, stdout.as_str()), (Some(0), "{\"schema\":1,\"done\":0,\"failed\":0}\n"), "{said}");
}

#[test]
fn a_port_that_is_taken_is_an_error_before_anything_is_begun() {
    let world = World::new();
    imported(&world, "reader");
    token_set(&world);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ran = world.run(&["--json", "watch", "--listen", &address]).expect(1);
    let error = &ran.json()["error"];
    assert!(error["message"].as_str().unwrap().contains(&address), "{error}");
    assert!(error["hint"].as_str().unwrap().contains("another port"), "{error}");
    assert_eq!((world.posts(), row(&world, Task::Rotate)), (1, None));

    let public = world.run(&["--json", "watch", "--listen", "0.0.0.0:0"]).expect(2);
    assert!(public.json()["error"]["hint"].as_str().unwrap().contains("--listen-public"), "{public:?}");
}

#[test]
fn the_bound_address_is_told_and_served() {
    let world = World::new();
    let watching = Watching::start(&world, &["--listen", ":0"]);
    let line = watching.says(", serving http://127.0.0.1:");
    let address = line.rsplit_once("http://").unwrap().1.trim_end_matches('/');
    std::net::TcpStream::connect(address).unwrap();
    watching.stop();
}

#[test]
fn one_watch_for_each_state_directory() {
    let world = World::new();
    let watching = Watching::start(&world, &[]);
    watching.says("watching 0 robots");
    let second = world.run(&["--json", "watch"]).expect(10);
    let message = second.json()["error"]["message"].as_str().unwrap().to_owned();
    let pid = watching.child.id();
    assert!(message.contains(&format!("is watched by process {pid} for ")), "{message}");
    // It holds no site.
    world.provision(&[]).expect(0);
    watching.stop();
    let third = Watching::start(&world, &[]);
    third.says("watching 1 robot");
    third.stop();
}

#[test]
fn without_its_state_directory_nothing_is_begun() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let watching = Watching::start(&world, &[]);
    let first = until("the row", || row(&world, Task::Rotate));
    let away = world.path("away");
    fs::rename(world.state(), &away).unwrap();
    watching.signal(Signal::USR1);
    watching.says("error: nothing is begun: the state directory ");
    watching.signal(Signal::USR1);
    watching.signal(Signal::HUP);
    watching.says_again("error: nothing is begun: ", 2);
    assert!(!world.state().exists(), "it was made anew");
    fs::rename(&away, world.state()).unwrap();
    watching.signal(Signal::USR1);
    watching.says("nothing stands in the way any more");
    world.run(&["status"]).expect(0);
    assert_eq!(row(&world, Task::Rotate).unwrap().tries, first.tries);
    // Told once, and once again because it was asked to read everything.
    let said = watching.stop();
    assert_eq!(said.matches("nothing is begun").count(), 2, "{said}");
}

#[test]
fn a_broken_configuration_fails_what_is_due_and_people_are_told() {
    let world = World::new();
    imported(&world, "reader");
    let told = world.path("told");
    let hook = format!("hooks = {{ failure = ['/bin/sh', '-c', 'cat >> {}'] }}", told.display());
    configure(&world, "sites.plant.robots.reader", &hook);
    let good = fs::read_to_string(world.config()).unwrap();
    let watching = Watching::start(&world, &[]);
    watching.says("error: rotate of plant (person)");
    token_set(&world);
    let write = |text: &str| {
        fs::write(world.path("new"), text).unwrap();
        fs::set_permissions(world.path("new"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(world.path("new"), world.config()).unwrap();
    };
    write("version = 1\n[sites.plant\n");
    watching.signal(Signal::USR1);
    let line = watching.says("what is due fails until it is put right");
    assert!(line.contains("the configuration read before is kept"), "{line}");
    watching.says("error: rotate of plant (config): ");
    until("the hook", || fs::read_to_string(&told).ok().filter(|told| told.contains("\"code\":\"config\"")));
    assert_eq!(row(&world, Task::Rotate).unwrap().failure.unwrap().code, "config");
    watching.signal(Signal::USR1);
    until("another failure", || row(&world, Task::Rotate).filter(|row| row.tries == 3));
    // What it failed for is gone, and nothing rests for it.
    write(&good);
    watching.signal(Signal::HUP);
    watching.says("again: 1 robot");
    watching.signal(Signal::USR1);
    watching.says("plant/reader: rotated, generation 2");
    let said = watching.stop();
    assert_eq!(said.matches("until it is put right").count(), 1, "{said}");
    assert!(!said.contains("nothing is begun"), "{said}");
    assert_eq!(fs::read_to_string(&told).unwrap().matches("\"code\":\"config\"").count(), 1);
}

#[test]
fn a_store_that_cannot_be_opened_is_told_and_tried_again() {
    let world = World::new();
    imported(&world, "reader");
    let (key, hidden) = (world.path(".config/robocred/seal.key"), world.path("hidden"));
    fs::rename(&key, &hidden).unwrap();
    let began = Instant::now();
    let watching = Watching::start(&world, &[]);
    watching.says("error: rotate of plant (store): ");
    let failed = until("the row", || row(&world, Task::Rotate));
    assert_eq!((failed.tries, failed.failure.unwrap().code), (1, "store".to_owned()));
    assert!(began.elapsed() < super::FOR_EVER / 2);
    assert!(world.run(&["status"]).expect(0).stdout.contains("rotate of plant by schedule has failed once"));
    fs::rename(&hidden, &key).unwrap();
    watching.signal(Signal::USR1);
    until("another failure", || {
        row(&world, Task::Rotate).filter(|row| row.failure.as_ref().is_some_and(|why| why.code == "person"))
    });
    watching.stop();
}

#[test]
fn an_expired_credential_ends_it_where_that_is_wanted() {
    let world = World::new();
    let left = Duration::seconds(3);
    let began = crate::rotate::now();
    made_by_hand(&world, "reader", 1, Duration::minutes(24 * 60 - 144) - left);
    world.run(&["import", "plant/reader", "--key", "reader.key", "--cert", "reader.crt"]).expect(0);
    crate::rotate::due::until(began + left + Duration::seconds(2));
    // It goes on without being told to end.
    let patient = Watching::start(&world, &[]);
    patient.says("error: rotate of plant (person)");
    patient.stop();
    let ran = world.run(&["--json", "watch", "--exit-on-expiry"]).expect(11);
    let error = &ran.json()["error"];
    assert_eq!((&error["code"], &error["exit_code"]), (&Value::from("expired"), &Value::from(11)));
    assert!(error["message"].as_str().unwrap().contains("plant/reader"), "{error}");
}

#[test]
fn an_expired_credential_that_is_replaced_does_not_end_it() {
    let world = World::new();
    made_by_hand(&world, "reader", 1, Duration::minutes(24 * 60 - 144) - Duration::seconds(3));
    let began = crate::rotate::now();
    world.run(&["import", "plant/reader", "--key", "reader.key", "--cert", "reader.crt"]).expect(0);
    token_set(&world);
    crate::rotate::due::until(began + Duration::seconds(5));
    let watching = Watching::start(&world, &["--exit-on-expiry"]);
    watching.says("plant/reader: rotated, generation 2");
    watching.stop();
}

#[test]
fn a_configuration_that_cannot_be_read_is_an_error_of_the_start() {
    let world = World::new();
    fs::create_dir_all(world.config().parent().unwrap()).unwrap();
    fs::write(world.config(), "version = 2\n").unwrap();
    world.run(&["watch"]).expect(3);
    assert!(!world.state().exists());
    fs::write(world.config(), "version = 1\n").unwrap();
    fs::set_permissions(world.config(), fs::Permissions::from_mode(0o666)).unwrap();
    world.run(&["watch"]).expect(3);
}
