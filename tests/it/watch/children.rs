//! The loop in this process, over children that are scripts.

mod told;

use std::{
    fs,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use robocred::{
    clock::{Clock, SystemClock},
    config::Config,
    inventory::{Inventory, Task, TaskRow, WatchLock},
    watch::{self, Limits, Notice, Request, Settings, Watched, board::Board},
};
use time::OffsetDateTime;
use tokio::{
    sync::mpsc::{self, UnboundedReceiver},
    time::timeout,
};

use super::{FOR_EVER, lives, row, until};
use crate::{
    rotate::{configure, due::imported, now, with_token},
    world::World,
};

/// A clock that can be set.
#[derive(Default)]
struct Settable(AtomicI64);

impl Clock for Settable {
    fn now(&self) -> OffsetDateTime {
        SystemClock.now() + time::Duration::seconds(self.0.load(Ordering::Relaxed))
    }
}

/// What a test does while the loop runs.
struct Driver {
    requests: mpsc::Sender<Request>,
    notices: UnboundedReceiver<Notice>,
    board: Arc<Board>,
    heard: Vec<Notice>,
}

impl Driver {
    /// The next notice that is meant.
    async fn hears<T>(&mut self, what: &str, mut meant: impl FnMut(&Notice) -> Option<T>) -> T {
        let heard = timeout(FOR_EVER, async {
            loop {
                let notice = self.notices.recv().await.expect("the loop runs");
                let found = meant(&notice);
                self.heard.push(notice);
                if let Some(found) = found {
                    return found;
                }
            }
        });
        let Ok(found) = heard.await else { panic!("{what} was not heard in {:#?}", self.heard) };
        found
    }

    /// How the next child fails: its code, its message, and whether people are to be told.
    async fn fails(&mut self) -> (String, String, bool) {
        self.hears("a failure", |notice| match notice {
            Notice::Failed { failure, untold, .. } => Some((failure.code.clone(), failure.message.clone(), *untold)),
            _ => None,
        })
        .await
    }

    async fn begins(&mut self) {
        self.hears("a begin", |notice| matches!(notice, Notice::Began(_)).then_some(())).await;
    }

    async fn looks(&mut self) {
        self.hears("a look", |notice| matches!(notice, Notice::Looked { .. }).then_some(())).await;
    }

    /// The job that is begun next, in words.
    async fn begun(&mut self) -> String {
        self.hears("a begin", |notice| match notice {
            Notice::Began(job) => Some(format!("{} {}", job.task, job.site)),
            _ => None,
        })
        .await
    }

    async fn ask(&self, request: Request) {
        self.requests.send(request).await.unwrap();
    }
}

/// Runs the loop over `script` instead of the tool, as long as `drive` goes on.
fn over(
    world: &World,
    script: &str,
    limits: Limits,
    clock: &dyn Clock,
    drive: impl AsyncFnOnce(&mut Driver),
) -> (Watched, Vec<Notice>) {
    let path = world.path("child.sh");
    fs::write(&path, script).unwrap();
    let settings = Settings {
        state_dir: world.state(),
        actor: "the tests".into(),
        program: "/bin/sh".into(),
        arguments: vec![path.into()],
        at_once: NonZeroUsize::new(2).unwrap(),
        exit_on_expiry: false,
        limits,
    };
    world.runtime.block_on(async {
        let lock = WatchLock::take(&world.state(), now()).await.unwrap();
        let board = Arc::new(Board::new(Config::load_file(&world.config()).unwrap(), world.state()));
        let (asking, requests) = mpsc::channel(8);
        let (telling, notices) = mpsc::unbounded_channel();
        let telling = Mutex::new(telling);
        let tell = |notice| drop(telling.lock().unwrap().send(notice));
        let mut driver = Driver { requests: asking, notices, board: board.clone(), heard: Vec::new() };
        let running = watch::run(settings, lock, &board, clock, requests, &tell);
        let driving = async {
            drive(&mut driver).await;
            // It may have ended already.
            let _ = driver.requests.send(Request::Stop).await;
            driver
        };
        let (watched, mut driver) = tokio::join!(running, driving);
        while let Ok(notice) = driver.notices.try_recv() {
            driver.heard.push(notice);
        }
        (watched, driver.heard)
    })
}

fn quick() -> Limits {
    Limits { stop: Duration::from_secs(4), look: Duration::from_millis(200), ..Limits::default() }
}

/// A world with one robot, of which `rotate` is due since its site was never looked at.
fn world() -> World {
    let world = World::new();
    world.provision(&[]).expect(0);
    world
}

fn failed(world: &World) -> TaskRow {
    row(world, Task::Rotate).expect("it was written down")
}

/// One child that fails, and how that is written down.
#[track_caller]
fn check(script: &str, limits: Limits, code: &str, words: &str) {
    let world = world();
    let (watched, heard) = over(&world, script, limits, &SystemClock, async |driver: &mut Driver| {
        let (found, message, untold) = driver.fails().await;
        assert_eq!((found.as_str(), untold), (code, true), "{message}");
        assert!(message.contains(words), "{message}");
        // Looked at again and again, it rests.
        for _ in 0..3 {
            driver.hears("a look", |notice| matches!(notice, Notice::Looked { .. }).then_some(())).await;
        }
    });
    assert_eq!((watched.done, watched.failed), (0, 1));
    assert_eq!(heard.iter().filter(|notice| matches!(notice, Notice::Began(_))).count(), 1, "{heard:#?}");
    let row = failed(&world);
    assert_eq!((row.tries, row.failures, row.failure.unwrap().code.as_str()), (1, 1, code));
    assert_eq!(row.after.unwrap() - row.at, time::Duration::HOUR);
}

#[test]
fn a_child_that_crashes() {
    check("kill -9 $$", quick(), "crashed", "signal: 9");
}

#[test]
fn a_child_that_prints_garbage() {
    check("echo Segmentation fault; exit 139", quick(), "garbled", "exit code 139 and printed 19 bytes");
    check("exit 0", quick(), "garbled", "printed 0 bytes");
}

#[test]
fn a_child_that_prints_without_end() {
    check("exec cat /dev/zero", quick(), "garbled", "more than 4194304 bytes");
}

#[test]
fn people_are_told_of_a_child_that_could_not() {
    let world = world();
    let told = world.path("told");
    configure(
        &world,
        "sites.plant.robots.reader",
        &format!("hooks = {{ failure = ['/bin/sh', '-c', 'cat >> {}'] }}", told.display()),
    );
    over(&world, "kill -9 $$", quick(), &SystemClock, async |driver: &mut Driver| {
        driver.fails().await;
        let end = Instant::now() + FOR_EVER;
        while !fs::read_to_string(&told).is_ok_and(|told| told.ends_with('\n')) {
            assert!(Instant::now() < end, "nobody was told");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let told = fs::read_to_string(told).unwrap();
    assert!(told.contains("\"code\":\"crashed\"") && told.contains("\"robot\":\"plant/reader\""), "{told}");
}

#[test]
fn a_hook_that_tells_nobody_is_told() {
    let world = world();
    configure(&world, "sites.plant.robots.reader", "hooks = { failure = ['/bin/false'] }");
    over(&world, "kill -9 $$", quick(), &SystemClock, async |driver: &mut Driver| {
        let told = driver
            .hears("that", |notice| match notice {
                Notice::Untold(why) => Some(why.clone()),
                _ => None,
            })
            .await;
        assert!(told.contains("plant/reader: the hook /bin/false"), "{told}");
    });
}

#[test]
fn a_child_that_hangs_is_ended_with_all_that_it_began() {
    let script = "trap '' TERM
        sleep 1000 & echo $! > $HOME_OF_TEST/second
        echo $$ > $HOME_OF_TEST/first
        while :; do wait; done";
    let world = world();
    let script = script.replace("$HOME_OF_TEST", world.path("").to_str().unwrap().trim_end_matches('/'));
    let limits = Limits { rotate: Duration::from_millis(500), ..quick() };
    let (_, _) = over(&world, &script, limits, &SystemClock, async |driver: &mut Driver| {
        let (code, message, untold) = driver.fails().await;
        assert_eq!((code.as_str(), untold), ("hung", true), "{message}");
    });
    assert_eq!(failed(&world).failure.unwrap().code, "hung");
    for name in ["first", "second"] {
        let pid = fs::read_to_string(world.path(name)).unwrap();
        until("its end", || (!lives(&pid)).then_some(()));
    }
}

#[test]
fn the_end_waits_for_nobody_for_long() {
    let world = world();
    let pid = world.path("pid");
    let script = format!("trap '' TERM; echo $$ > {0}.new; mv {0}.new {0}; while :; do sleep 1; done", pid.display());
    let mut asked = None;
    let (watched, heard) = over(&world, &script, Limits { stop: Limits::default().stop, ..quick() }, &SystemClock, {
        let (pid, asked) = (&pid, &mut asked);
        async move |driver: &mut Driver| {
            driver.begins().await;
            while !pid.exists() {
                tokio::task::yield_now().await;
            }
            *asked = Some(Instant::now());
        }
    });
    let took = asked.unwrap().elapsed();
    assert!(took > Duration::from_secs(5) && took < Duration::from_secs(10), "{took:?}");
    // It did nothing wrong: nothing is held against it.
    assert_eq!((watched, row(&world, Task::Rotate)), (Watched::default(), None), "{heard:#?}");
    let pid = fs::read_to_string(&pid).unwrap();
    until("its end", || (!lives(&pid)).then_some(()));
}

#[test]
fn asked_twice_it_ends_at_once() {
    let world = world();
    let mut asked = None;
    let asking = &mut asked;
    over(
        &world,
        "exec sleep 1000",
        Limits { stop: Duration::from_mins(1), ..quick() },
        &SystemClock,
        async move |driver: &mut Driver| {
            driver.begins().await;
            driver.ask(Request::Stop).await;
            *asking = Some(Instant::now());
        },
    );
    let took = asked.unwrap().elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn a_child_that_ends_meanwhile_is_written_down() {
    let world = world();
    let go = world.path("go");
    let script = format!("until [ -e {} ]; do sleep 0.05; done; echo '{{\"schema\":1,\"results\":[]}}'", go.display());
    let (watched, _) = over(&world, &script, quick(), &SystemClock, async |driver: &mut Driver| {
        driver.begins().await;
        driver.ask(Request::Stop).await;
        driver.hears("the end", |notice| matches!(notice, Notice::Stopping(1)).then_some(())).await;
        fs::write(&go, "").unwrap();
        // The second request to end must not come before it has ended.
        until_ended(&world).await;
    });
    assert_eq!((watched.done, watched.failed), (1, 0));
    assert!(failed(&world).success_at.is_some());
}

async fn until_ended(world: &World) {
    let end = Instant::now() + FOR_EVER;
    loop {
        let inventory = Inventory::open_read_only(&world.state()).await.unwrap().unwrap();
        if !inventory.tasks().await.unwrap().is_empty() {
            return;
        }
        assert!(Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn a_site_that_somebody_works_on_is_no_failure() {
    let world = world();
    let script = "echo '{\"schema\":1,\"error\":{\"code\":\"locked\",\"message\":\"held\",\"exit_code\":10}}'; exit 10";
    let limits = Limits { again: time::Duration::SECOND, ..quick() };
    over(&world, script, limits, &SystemClock, async |driver: &mut Driver| {
        driver.hears("the lock", |notice| matches!(notice, Notice::Busy(..)).then_some(())).await;
        driver.begins().await;
        driver.hears("its end", |notice| matches!(notice, Notice::Looked { running: 0, .. }).then_some(())).await;
    });
    assert_eq!(row(&world, Task::Rotate), None);

    // Unless that lasts.
    let limits = Limits { busy: time::Duration::SECOND, ..limits };
    let (_, heard) = over(&world, script, limits, &SystemClock, async |driver: &mut Driver| {
        assert_eq!(driver.fails().await.0, "locked");
    });
    assert_eq!(heard.iter().filter(|notice| matches!(notice, Notice::Busy(..))).count(), 1, "{heard:#?}");
    assert_eq!(failed(&world).failure.unwrap().code, "locked");
}

#[test]
fn all_well_and_still_due_is_a_failure() {
    let world = World::new();
    imported(&world, "reader");
    with_token(&world, &["token", "set", "plant", "--token-stdin"]).expect(0);
    let script = "echo '{\"schema\":1,\"results\":[]}'";
    let (_, heard) = over(&world, script, quick(), &SystemClock, async |driver: &mut Driver| {
        let (code, message, untold) = driver.fails().await;
        assert_eq!((code.as_str(), untold), ("no-progress", true), "{message}");
        for _ in 0..3 {
            driver.hears("a look", |notice| matches!(notice, Notice::Looked { .. }).then_some(())).await;
        }
    });
    assert_eq!(heard.iter().filter(|notice| matches!(notice, Notice::Began(_))).count(), 1, "{heard:#?}");
    let row = failed(&world);
    assert_eq!(
        (row.failure.unwrap().code.as_str(), row.tries, row.failures, row.success_at),
        ("no-progress", 1, 1, None)
    );

    // It counts like any other failure.
    over(&world, script, quick(), &SystemClock, async |driver: &mut Driver| {
        for _ in 0..2 {
            driver.ask(Request::Look).await;
            driver.fails().await;
        }
    });
    let row = failed(&world);
    assert_eq!((row.tries, row.failures, row.success_at), (3, 3, None));
    assert_eq!(row.after.unwrap() - row.at, time::Duration::hours(4));
}

#[test]
fn what_cannot_be_written_down_is_kept_in_memory() {
    let world = world();
    // The inventory goes away while the child runs.
    let (state, away) = (world.state(), world.path("away"));
    let once = world.path("once");
    let script =
        format!("test -e {2} || mv {0} {1}; touch {2}; exit 1", state.display(), away.display(), once.display());
    let (_, heard) = over(&world, &script, quick(), &SystemClock, async |driver: &mut Driver| {
        driver.hears("that", |notice| matches!(notice, Notice::Unrecorded(..)).then_some(())).await;
        driver.hears("why", |notice| matches!(notice, Notice::Hindered(_)).then_some(())).await;
        fs::rename(&away, &state).unwrap();
        driver.hears("its return", |notice| matches!(notice, Notice::Unhindered).then_some(())).await;
        for _ in 0..3 {
            driver.hears("a look", |notice| matches!(notice, Notice::Looked { planned: true, .. }).then_some(())).await;
        }
        let view = driver.board.view().await;
        assert_eq!(view.beat.unrecorded, ["plant".parse().unwrap()].into());
        assert!(view.report(now()).warnings.iter().any(|warning| warning.contains("could not be written down")));
        driver.ask(Request::Look).await;
        driver.fails().await;
        driver.looks().await;
        assert_eq!(driver.board.view().await.beat.unrecorded.len(), 0);
    });
    // It rests all the same, until somebody asks.
    assert_eq!(heard.iter().filter(|notice| matches!(notice, Notice::Began(_))).count(), 2, "{heard:#?}");
}

#[test]
fn after_a_leap_of_the_clock_what_is_due_is_spread() {
    let world = world();
    let clock = Settable::default();
    let script = "echo '{\"schema\":1,\"results\":[]}'";
    let (_, heard) = over(&world, script, quick(), &clock, async |driver: &mut Driver| {
        driver.begins().await;
        driver.hears("rest", |notice| matches!(notice, Notice::Looked { running: 0, .. }).then_some(())).await;
        clock.0.store(2 * 86_400, Ordering::Relaxed);
        let by = driver
            .hears("a leap", |notice| match notice {
                Notice::Leapt(by) => Some(*by),
                _ => None,
            })
            .await;
        assert!((time::Duration::days(2) - by).abs() < time::Duration::MINUTE, "{by}");
        let next = driver
            .hears("a look", |notice| match notice {
                Notice::Looked { next, running: 0, .. } => *next,
                _ => None,
            })
            .await;
        let later = clock.now();
        assert!(next <= later + time::Duration::minutes(10), "{next} {later}");
        clock.0.store(2 * 86_400 + 601, Ordering::Relaxed);
        // Not another leap that would spread it again: it was spread already.
        driver.begins().await;
    });
    assert!(heard.iter().any(|notice| matches!(notice, Notice::Leapt(by) if by.is_positive())));
}

#[test]
fn a_child_finds_nothing_that_is_ours_alone() {
    let world = world();
    let found = world.path("found");
    let script = format!(
        "env > {0}.env; ls -l /proc/$$/fd > {0}.fd; readlink /proc/$$/fd/0 > {0}.in; ps -o pgid= -p $$ > {0}.pgid || echo $$ > {0}.pgid
         printf '%s\\n' \"$@\" > {0}.args; echo $$ > {0}; echo '{{\"schema\":1,\"results\":[]}}'",
        found.display()
    );
    over(&world, &script, quick(), &SystemClock, async |driver: &mut Driver| {
        driver.begins().await;
        driver.hears("its end", |notice| matches!(notice, Notice::Looked { running: 0, .. }).then_some(())).await;
    });
    let read = |what: &str| fs::read_to_string(world.path(&format!("found{what}"))).unwrap();
    assert_eq!(read(".args"), "-n\n--json\nrotate\n--due\nplant\n");
    assert_eq!(read(".in").trim(), "/dev/null");
    assert_eq!(read(".pgid").trim(), read("").trim());
    // Standard input, output and error, and the script itself.
    let open: Vec<String> = read(".fd").lines().skip(1).map(ToOwned::to_owned).collect();
    assert!(open.iter().all(|line| !line.contains("socket:") && !line.contains("inventory")), "{open:#?}");
}
