//! Who is told of what, and what is done for somebody who asks.

use super::*;

/// A hook of the reader that writes down what it is told, and fails as long as there is a file of its event's name.
fn tells(world: &World, events: &[&str]) {
    let hook = |event: &&str| {
        let script = format!("cat >> {}; test ! -e {}", world.path("told").display(), world.path(event).display());
        format!("{event} = ['/bin/sh', '-c', '{script}']")
    };
    let events: Vec<_> = events.iter().map(hook).collect();
    configure(world, "sites.plant.robots.reader", &format!("hooks = {{ {} }}", events.join(", ")));
}

/// The codes that people were told so far.
fn told(world: &World) -> Vec<String> {
    let text = fs::read_to_string(world.path("told")).unwrap_or_default();
    let codes = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    codes.map(|told| told["code"].as_str().unwrap_or_default().to_owned()).collect()
}

async fn until_told(world: &World, codes: &[&str]) {
    let end = Instant::now() + FOR_EVER;
    while told(world) != codes {
        assert!(Instant::now() < end, "{:?}, not {codes:?}", told(world));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

const UNTRUSTED: &str =
    r#"{"schema":1,"results":[{"robot":"plant/reader","error":{"code":"untrusted","message":"x","exit_code":7}}]}"#;
const NO_STORE: &str = r#"{"schema":1,"error":{"code":"store","message":"it is locked","exit_code":4}}"#;

#[test]
fn people_are_told_of_every_kind_of_failure_once_and_until_a_hook_has_ended_well() {
    let world = world();
    tells(&world, &["failure"]);
    let (crash, failing) = (world.path("crash"), world.path("failure"));
    fs::write(&failing, "").unwrap();
    let script = format!("test -e {} && kill -9 $$; echo '{UNTRUSTED}'; exit 7", crash.display());
    over(&world, &script, quick(), &SystemClock, async |driver: &mut Driver| {
        // The child tells of this one itself.
        assert_eq!(driver.fails().await.0, "untrusted");
        fs::write(&crash, "").unwrap();
        let mut crashes = async |codes: &[&str]| {
            driver.ask(Request::Look).await;
            assert_eq!(driver.fails().await.0, "crashed");
            until_told(&world, codes).await;
        };
        crashes(&["crashed"]).await;
        crashes(&["crashed", "crashed"]).await;
        fs::remove_file(&failing).unwrap();
        crashes(&["crashed", "crashed", "crashed"]).await;
        crashes(&["crashed", "crashed", "crashed"]).await;
    });
    assert_eq!((told(&world).len(), failed(&world).tries), (3, 5));
}

#[test]
fn an_end_that_comes_nearer_is_told_where_no_child_comes_as_far_as_the_robots() {
    let world = World::new();
    imported(&world, "reader");
    tells(&world, &["failure", "expiring"]);
    let clock = Settable::default();
    let days = |days: i64| clock.0.store(days * 86_400, Ordering::Relaxed);
    // 65 days are left, and the rotation is due.
    let script = format!("echo '{NO_STORE}'; exit 4");
    over(&world, &script, quick(), &clock, async |driver: &mut Driver| {
        assert_eq!(driver.fails().await.0, "store");
        let mut codes = vec!["token-needed"];
        until_told(&world, &codes).await;
        for (day, code) in [(36, "token-needed"), (52, "token-needed"), (70, "expired")] {
            days(day);
            driver.ask(Request::Look).await;
            assert_eq!(driver.fails().await.0, "store");
            codes.push(code);
            until_told(&world, &codes).await;
        }
        driver.ask(Request::Look).await;
        driver.fails().await;
    });
    // Each stage once; of the store the child has told.
    assert_eq!(told(&world), ["token-needed", "token-needed", "token-needed", "expired"]);
}

#[test]
fn whoever_asks_does_not_wait_for_what_a_leap_has_spread() {
    let world = world();
    let clock = Settable::default();
    let limits = Limits { look: Duration::from_mins(1), ..quick() };
    let (_, heard) =
        over(&world, "echo '{\"schema\":1,\"results\":[]}'", limits, &clock, async |driver: &mut Driver| {
            driver.begins().await;
            driver.hears("rest", |notice| matches!(notice, Notice::Looked { running: 0, .. }).then_some(())).await;
            clock.0.store(2 * 86_400, Ordering::Relaxed);
            driver.ask(Request::Look).await;
            driver.hears("a leap", |notice| matches!(notice, Notice::Leapt(_)).then_some(())).await;
            driver.looks().await;
        });
    assert_eq!(heard.iter().filter(|notice| matches!(notice, Notice::Began(_))).count(), 2, "{heard:#?}");
}

#[test]
fn whoever_asks_has_read_what_rests_behind_a_rotation() {
    let world = World::new();
    imported(&world, "reader");
    let ingest =
        format!("ingest = {{ streams = [\"assets\"], dir = \"{}\", every = \"1h\" }}", world.path("in").display());
    configure(&world, "sites.plant.robots.reader", &ingest);
    let script = format!("echo '{NO_STORE}'; exit 4");
    over(&world, &script, quick(), &SystemClock, async |driver: &mut Driver| {
        for _ in 0..3 {
            for task in ["rotate plant", "ingest plant"] {
                assert_eq!(driver.begun().await, task);
                driver.fails().await;
            }
            driver.ask(Request::Look).await;
        }
    });
    assert!(row(&world, Task::Ingest).unwrap().tries >= 3);
}

#[test]
fn that_nothing_can_be_begun_is_shown_and_people_are_told_once() {
    let world = world();
    tells(&world, &["failure"]);
    let (state, away) = (world.state(), world.path("away"));
    let limits = Limits { hindered: Duration::from_millis(500), ..quick() };
    let script = "echo '{\"schema\":1,\"results\":[]}'";
    over(&world, script, limits, &SystemClock, async |driver: &mut Driver| {
        driver.begins().await;
        driver.hears("rest", |notice| matches!(notice, Notice::Looked { running: 0, .. }).then_some(())).await;
        // Another watch has taken its place.
        let lock = state.join("watch.lock");
        fs::remove_file(&lock).unwrap();
        let other = WatchLock::take(&state, now()).await.unwrap();
        let hindered = async |driver: &mut Driver| {
            driver.hears("that", |notice| matches!(notice, Notice::Hindered(_)).then_some(())).await;
            driver.looks().await;
            driver.board.view().await
        };
        let view = hindered(driver).await;
        assert_eq!(view.trouble, None);
        assert!(view.hindrance().unwrap().contains("is watched by process"), "{:?}", view.hindrance());
        until_told(&world, &["hindered"]).await;
        drop(other);
        driver.hears("that", |notice| matches!(notice, Notice::Unhindered).then_some(())).await;
        driver.looks().await;
        assert_eq!(driver.board.view().await.hindrance(), None);

        // Where nothing can be written down, it is told once for as long as that lasts.
        fs::rename(&state, &away).unwrap();
        assert!(hindered(driver).await.hindrance().unwrap().contains("is gone"));
        until_told(&world, &["hindered", "hindered"]).await;
        for _ in 0..3 {
            driver.looks().await;
        }
        fs::rename(&away, &state).unwrap();
        driver.hears("that", |notice| matches!(notice, Notice::Unhindered).then_some(())).await;
    });
    assert_eq!(told(&world), ["hindered", "hindered"]);
}
