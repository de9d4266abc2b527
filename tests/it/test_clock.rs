//! The clock that tests speed up: that no release has it, and that everything
//! follows it where it is there.

use std::{fs, path::Path};

#[test]
fn only_a_test_asks_for_it() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let features = manifest["features"].as_table().unwrap();
    assert!(features.contains_key("test-clock") && features.contains_key("failpoints"), "{features}");
    for (feature, brings) in features {
        for unwanted in ["test-clock", "failpoints"] {
            let brings = brings.as_array().unwrap().iter().any(|brought| brought.as_str() == Some(unwanted));
            assert!(!brings, "the feature {feature} brings {unwanted}");
        }
    }
}

#[cfg(all(feature = "test-clock", feature = "simulator"))]
mod followed {
    use std::fs;

    use robocred::clock::{
        Clock as _, SystemClock,
        test_clock::{self, Setting},
    };
    use serde_json::Value;
    use time::{Duration, OffsetDateTime};

    use crate::world::{TOKEN, World, run};

    /// The simulator's threads keep the real time here: what the tool does by its own clock shows.
    #[test]
    fn everything_in_the_tool_is_judged_by_it() {
        let mut world = World::new();
        let (now, file) = (SystemClock.now(), world.path("clock"));
        let shows = |time| Setting::from_now(time, 1.0).write(&file).unwrap();
        shows(now);
        world.follows(&file);
        world.provision(&[]).expect(0);
        assert_eq!(world.status()["state"], "active");
        world.run(&["verify"]).expect(0);

        // The server's certificate ends after 700 days, the robot's after 365.
        let ca_file = world.path("ca.pem");
        fs::write(&ca_file, world.simulator.certificate_pem()).unwrap();
        let config = fs::read_to_string(world.config()).unwrap();
        let pins = config.lines().find(|line| line.starts_with("trust")).unwrap();
        let listed = format!("trust = {{ ca_file = \"{}\" }}", ca_file.display());
        fs::write(world.config(), config.replace(pins, &listed)).unwrap();
        world.run(&["verify"]).expect(0);
        shows(now + Duration::days(710));
        assert_eq!(world.status()["state"], "expired");
        let arguments = ["--json", "rotate", "plant/reader", "--force", "--token-stdin"];
        let refused: Value = run(world.command(&arguments), TOKEN.as_bytes()).expect(6).json();
        assert!(refused.to_string().contains("expired"), "{refused}");
        shows(now);
        world.run(&["verify"]).expect(0);
    }

    #[test]
    fn a_thread_without_it_has_the_time_of_the_machine() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("clock");
        Setting::from_now(OffsetDateTime::UNIX_EPOCH, 0.0).write(&file).unwrap();
        let followed = std::thread::spawn(move || {
            test_clock::follow(&file);
            SystemClock.now()
        });
        assert_eq!(followed.join().unwrap(), OffsetDateTime::UNIX_EPOCH);
        assert!(SystemClock.now() > OffsetDateTime::UNIX_EPOCH + Duration::days(20_000));
    }
}
