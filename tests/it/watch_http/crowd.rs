//! Many at once, and reading while somebody else writes.

use std::{fmt::Write as _, time::Instant};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use robocred::inventory::{AttentionCode, Task, TaskFailure};
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};

use super::*;

/// `robots` robots of one site, each with a credential in use: one made properly, the others its copies.
async fn fleet(robots: usize) -> Served {
    let mut config = "version = 1\n[sites.plant]\nurl = \"https://10.20.0.5\"\ntrust = \"system\"\n".to_owned();
    for number in 0..robots {
        writeln!(config, "[sites.plant.robots.r{number}]\nrole = \"reader\"").unwrap();
    }
    let served = Served::new(&config, Limits::default());
    let inventory = served.inventory().await;
    let id: RobotId = "plant/r0".parse().unwrap();
    let lock = adopt(&inventory, &id).await;
    rotate(&inventory, &lock, &id, NOW).await;
    inventory.close().await.unwrap();
    let file = SqliteConnectOptions::new().filename(served.state().join("inventory.db"));
    let mut behind = file.connect().await.unwrap();
    let originals = "BEGIN;
        CREATE TEMP TABLE a_robot AS SELECT * FROM robot;
        CREATE TEMP TABLE a_credential AS SELECT * FROM credential;";
    sqlx::raw_sql(originals).execute(&mut behind).await.unwrap();
    for number in 1..robots {
        for statement in [
            "UPDATE a_robot SET name = $1, base_name = $1",
            "INSERT INTO robot SELECT * FROM a_robot",
            "UPDATE a_credential SET robot = $1, secret = $1",
            "INSERT INTO credential SELECT * FROM a_credential",
        ] {
            let statement = sqlx::query(statement);
            statement.bind(format!("r{number}")).execute(&mut behind).await.unwrap();
        }
    }
    sqlx::raw_sql("COMMIT").execute(&mut behind).await.unwrap();
    behind.close().await.unwrap();
    served.board.beat(Beat::default());
    served
}

/// Both ends of each connection are in this process.
fn allow_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < 4096) {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    }
}

#[tokio::test]
async fn a_thousand_at_once_are_all_answered() {
    allow_many_files();
    let served = fleet(20).await;
    let paths = ["/status.json", "/metrics", "/", "/livez", "/readyz", "/readyz/plant"];
    let mut expected = BTreeMap::new();
    for path in paths {
        expected.insert(path, served.get(path).await);
    }
    let begun = Instant::now();
    let mut all: FuturesUnordered<_> = (0..1000)
        .map(|number| {
            let (served, path) = (&served, paths[number % paths.len()]);
            async move { (path, served.get(path).await) }
        })
        .collect();
    let mut answered = 0;
    while let Some((path, reply)) = all.next().await {
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        assert!(reply.is_whole(), "{path}");
        // Only what tells how long ago something was may differ.
        if path != "/metrics" {
            assert_eq!(reply.body, expected[path].body, "{path}");
        }
        answered += 1;
    }
    assert_eq!(answered, 1000);
    println!("1000 requests at once: {:?}", begun.elapsed());
}

#[tokio::test]
async fn nobody_loses_a_place_for_a_delay_of_ours() {
    let limits = Limits { places: 2, patience: Duration::from_millis(20), ..Limits::default() };
    let served = Served::new(CONFIG, limits);
    let (inventory, lock, id) = provisioned(&served, NOW).await;
    // More than goes out at once.
    let long = "x".repeat(8 << 20);
    inventory.raise(&lock, &id, AttentionCode::HookFailed, &long, None, NOW).await.unwrap();
    let address = served.address;
    let clients: Vec<_> = (0..8)
        .map(|_| {
            tokio::task::spawn_blocking(move || {
                use std::io::{Read as _, Write as _};
                let mut stream = std::net::TcpStream::connect(address)?;
                stream.write_all(b"GET /status.json HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
                let mut read = Vec::new();
                stream.read_to_end(&mut read).map(|_| read)
            })
        })
        .collect();
    // The one thread is always late: longer than a client may be.
    let late = tokio::spawn(async move {
        loop {
            std::thread::sleep(limits.patience * 3);
            tokio::task::yield_now().await;
        }
    });
    for client in clients {
        let reply = Reply::read(&timeout(DEADLINE, client).await.unwrap().unwrap().expect("it was cut"));
        assert!(reply.status == 200 && reply.is_whole());
    }
    late.abort();
}

/// What a scraper relies on: each line is a comment or a name, labels and a number.
fn check_metrics(text: &str) {
    assert!(text.is_empty() || text.ends_with('\n'));
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("robocred_") && value.parse::<f64>().is_ok(), "{line}");
    }
}

#[tokio::test]
async fn it_is_read_whole_while_somebody_writes() {
    let served = Served::new(CONFIG, Limits::default());
    let (inventory, lock, id) = provisioned(&served, NOW).await;
    served.board.beat(Beat::default());
    let (stop, mut stopped) = oneshot::channel::<()>();
    let writes = async {
        let mut rotations = 0_u32;
        while stopped.try_recv() == Err(oneshot::error::TryRecvError::Empty) {
            let failure = TaskFailure { code: "failed".to_owned(), message: format!("failure {rotations}") };
            let ended = if rotations.is_multiple_of(2) { Ok(()) } else { Err(&failure) };
            inventory.task_ended(&id.site, Task::Rotate, ended, |_| time::Duration::hours(1), NOW).await.unwrap();
            rotate(&inventory, &lock, &id, NOW).await;
            rotations += 1;
        }
        rotations
    };
    let reads = async {
        let (mut last, mut seen) = (0, 0);
        let begun = Instant::now();
        while seen < 10 {
            assert!(begun.elapsed() < DEADLINE, "{seen} rotations were seen");
            let told = served.status().await;
            assert_eq!(
                told["warnings"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .filter(|w| !w.as_str().unwrap().starts_with("rotate of plant"))
                    .count(),
                0,
                "{told:#}"
            );
            let robot = &told["robots"][0];
            // A promotion is one step: there is never none in use, and never two.
            assert_eq!(robot["state"], "active", "{told:#}");
            let generation = robot["generation"].as_u64().unwrap();
            assert!(generation >= last, "{last} {generation}");
            let previous = robot["previous"].as_array().unwrap();
            for other in previous {
                let (number, state) = (other["generation"].as_u64().unwrap(), other["state"].as_str().unwrap());
                assert_eq!(state == "previous", number < generation, "{told:#}");
            }
            let before = previous.iter().filter(|other| other["state"] == "previous").count();
            assert_eq!(u64::try_from(before).unwrap() + 1, generation, "{told:#}");
            seen += u32::from(generation > last);
            last = generation;
            let metrics = served.get("/metrics").await;
            assert!(metrics.status == 200 && metrics.is_whole());
            check_metrics(metrics.text());
            assert_eq!(served.get("/readyz").await.text(), "ready\n");
        }
        stop.send(()).unwrap();
        seen
    };
    let (written, seen) = tokio::join!(writes, reads);
    assert!(written >= seen, "{written} {seen}");
}

#[tokio::test]
#[ignore = "a measurement"]
async fn how_long_a_thousand_robots_take() {
    allow_many_files();
    let served = fleet(1000).await;
    for path in ["/livez", "/metrics", "/status.json", "/", "/readyz/plant"] {
        let mut times = Vec::new();
        let mut bytes = 0;
        for _ in 0..41 {
            let begun = Instant::now();
            bytes = served.get(path).await.body.len();
            times.push(begun.elapsed());
        }
        times.sort();
        println!("{path}: {bytes} bytes, median {:?}, worst {:?}", times[20], times[40]);
    }
    for path in ["/livez", "/metrics", "/status.json", "/"] {
        let begun = Instant::now();
        let mut all: FuturesUnordered<_> = (0..1000).map(|_| served.get(path)).collect();
        while let Some(reply) = all.next().await {
            assert!(reply.status == 200 && reply.is_whole(), "{path}");
        }
        println!("1000 at once of {path}: {:?}", begun.elapsed());
    }
}
