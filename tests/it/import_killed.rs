//! `import` is killed (SIGKILL) at each of its fail points, and run again.

use std::{fs, os::unix::process::ExitStatusExt as _};

use robocred::{credential::State, inventory::audit};

use crate::world::{World, run};

/// The points in `lifecycle/import.rs`, in their order.
const POINTS: [&str; 5] =
    ["import.before-row", "import.after-row", "import.stored", "import.proven", "import.after-commit"];

#[test]
fn every_point_is_killed_at() {
    let source = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/lifecycle/import.rs")).unwrap();
    let mut named: Vec<&str> =
        source.split("fail_point!(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    named.sort_unstable();
    let mut points = POINTS;
    points.sort_unstable();
    assert_eq!(named, points);
}

#[test]
fn killed_anywhere_the_same_import_carries_on() {
    for point in POINTS {
        // All that is left of a provisioned robot: its files, and it on the appliance.
        let world = World::new();
        world.provision(&["--export", "out"]).expect(0);
        fs::remove_dir_all(world.state()).unwrap();
        let robots = world.simulator.robots();
        let files = ["out/key.pem", "out/cert.pem"].map(|name| fs::read(world.path(name)).unwrap());

        let arguments = ["--json", "import", "plant/reader", "--key", "out/key.pem", "--cert", "out/cert.pem"];
        let mut command = world.command(&arguments);
        command.env("ROBOCRED_KILL_AT", point);
        let killed = run(command, b"");
        assert_eq!(killed.status.signal(), Some(9), "{point}: {killed:#?}");
        let inventory = world.inventory().unwrap();
        let records = world.runtime.block_on(inventory.all_records()).unwrap();
        let keys = || world.files().into_iter().filter(|path| path.extension().is_some_and(|end| end == "sealed"));
        assert!(keys().count() <= records.len(), "{point}: a key without a row");
        let active = records.iter().any(|record| record.state == State::Active);
        assert_eq!(active, point == "import.after-commit", "{point}: {records:#?}");
        drop(inventory);

        let ran = world.run(&arguments).expect(0);
        let document = ran.json();
        let told = &document["results"][0];
        let expected = if active { "resumed" } else { "imported" };
        assert_eq!((&told["action"], &told["generation"]), (&expected.into(), &1.into()), "{point}: {ran:#?}");
        let inventory = world.inventory().unwrap();
        let records = world.runtime.block_on(inventory.all_records()).unwrap();
        assert_eq!(records.len(), 1, "{point}: {records:#?}");
        assert_eq!((records[0].state, keys().count()), (State::Active, 1), "{point}");
        audit::verify(&world.runtime.block_on(inventory.audit()).unwrap()).unwrap();
        let after = ["out/key.pem", "out/cert.pem"].map(|name| fs::read(world.path(name)).unwrap());
        assert_eq!(after, files, "{point}: the person's files were changed");
        assert_eq!(world.simulator.robots(), robots, "{point}: the appliance was changed");
        assert_eq!(world.posts(), 1, "{point}");
        world.run(&["verify", "plant/reader"]).expect(0);
        let again = world.run(&arguments).expect(0);
        assert_eq!(again.json()["results"][0]["action"], "unchanged", "{point}: {again:#?}");
    }
}
