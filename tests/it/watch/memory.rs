//! The daemon holds no secret: its memory is read after it has had a key
//! replaced and devices read, while everybody asks it how things are. Linux only.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use robocred::{
    inventory::Task,
    session::key_in,
    x509::{KeyAlgorithm, PrivateKey, private_key_from_pem},
};

use super::{Watching, row, until};
use crate::{
    invariants::store,
    rotate::{configure, due, with_token},
    scan::{Needles, descendants, seen_by_others},
    world::{TOKEN, World},
};

/// Not before this long after its work.
const AFTER: Duration = Duration::from_secs(5);

/// The robot that is not due.
const READS: &str = "reader";

/// A key type, and the robot that has it.
const ROBOTS: [(&str, KeyAlgorithm); 2] = [("rsa", KeyAlgorithm::Rsa2048), ("ec", KeyAlgorithm::EcdsaP256)];

#[test]
fn nothing_of_a_key_or_a_token_is_ever_in_the_daemon() {
    // Slow enough that the children are met at work.
    let world = World::with(|options| options.latency = Duration::from_millis(20));
    let mut needles = Needles::default().with("token", TOKEN.as_bytes());
    // Not due, and with devices to be read.
    world.provision(&[]).expect(0);
    needles = needles.with_key("the key that reads", &new_key(&world, READS));
    let ingest = |robot, every: &str| {
        format!("ingest = {{ streams = [\"assets\"], dir = \"{}\", every = \"{every}\" }}", devices(&world, robot))
    };
    // Due again as soon as the rotation has read for the first time.
    configure(&world, "sites.plant.robots.reader", &ingest(READS, "1s"));
    for (robot, algorithm) in ROBOTS {
        due::imported_with(&world, robot, algorithm);
        let config = fs::read_to_string(world.config()).unwrap();
        let (before, own) = config.split_once(&format!("[sites.plant.robots.{robot}]")).unwrap();
        let own = own.replacen("ecdsa-p256", algorithm.as_str(), 1);
        fs::write(world.config(), format!("{before}[sites.plant.robots.{robot}]{own}")).unwrap();
        let old = fs::read(world.path(&format!("{robot}.key"))).unwrap();
        needles = needles.with_key(&format!("the old {algorithm} key"), &private_key_from_pem(&old).unwrap());
        let table = format!("sites.plant.robots.{robot}");
        configure(
            &world,
            &table,
            &format!("{}\nexport = {{ dir = \"{}\" }}", ingest(robot, "1d"), world.path("out").join(robot).display()),
        );
    }
    with_token(&world, &["token", "set", "plant", "--token-stdin"]).expect(0);

    let watching = Watching::start(&world, &["--listen", "127.0.0.1:0"]);
    let daemon = watching.child.id();
    let address =
        watching.says("http://").split("http://").nth(1).unwrap().split(['/', ' ', ',']).next().unwrap().to_owned();
    let (done, mut seen) = (AtomicBool::new(false), BTreeSet::new());
    let (mut asked, mut most) = (0, 0);
    thread::scope(|scope| {
        let sampled = scope.spawn(|| {
            let (mut seen, mut most) = (BTreeSet::new(), 0);
            while !done.load(Ordering::SeqCst) {
                let below = descendants(daemon);
                most = most.max(below.len());
                for process in below.into_iter().chain([daemon]) {
                    seen.extend(seen_by_others(process));
                }
                thread::sleep(Duration::from_millis(10));
            }
            (seen, most)
        });
        for robot in [READS, "rsa", "ec"] {
            let generation = if robot == READS { 1 } else { 2 };
            until("a new generation and its devices", || {
                asked += ["/", "/metrics", "/status.json", "/readyz"]
                    .map(|path| get(&address, path).len())
                    .iter()
                    .sum::<usize>();
                let robots = world.run(&["--json", "status"]).expect(0).json()["robots"].clone();
                let new =
                    robots.as_array().unwrap().iter().any(|it| it["name"] == robot && it["generation"] == generation);
                let read = fs::read_dir(devices(&world, robot)).is_ok_and(|files| files.count() > 0);
                let scheduled = row(&world, Task::Ingest).is_some_and(|row| row.success_at.is_some());
                (new && read && scheduled && descendants(daemon).is_empty()).then_some(())
            });
        }
        let worked = Instant::now();
        while worked.elapsed() < AFTER {
            asked += get(&address, "/").len() + get(&address, "/metrics").len();
            thread::sleep(Duration::from_millis(100));
        }
        done.store(true, Ordering::SeqCst);
        (seen, most) = sampled.join().unwrap();
    });
    for (robot, algorithm) in ROBOTS {
        let new = new_key(&world, robot);
        let exported = fs::read(world.path("out").join(robot).join("key.pem")).unwrap();
        assert_eq!(private_key_from_pem(&exported).unwrap().expose_der(), new.expose_der());
        needles = needles.with_key(&format!("the new {algorithm} key"), &new);
    }

    // What it surely holds is found there.
    let known = Needles::default().with("what is public", world.state().to_str().unwrap().as_bytes());
    let (hits, looked) = known.in_process(daemon);
    assert!(hits.contains_key("what is public: raw") && looked > 1024 * 1024, "{hits:?} in {looked} bytes");
    let (hits, looked) = needles.in_process(daemon);
    println!("{looked} bytes of the daemon, {} forms of secrets, {asked} bytes served", needles.names().len());
    assert!(hits.is_empty(), "the daemon holds secrets: {hits:#?}");
    let started =
        |word: &str| seen.iter().any(|content| content.split(|byte| *byte == 0).any(|part| part == word.as_bytes()));
    assert!(asked > 10_000 && most > 0, "asked {asked}, {most} children");
    assert!(
        started("watch") && started("rotate") && started("ingest"),
        "{:?}",
        seen.iter().map(|content| String::from_utf8_lossy(content)).collect::<Vec<_>>()
    );
    for content in &seen {
        let hits = needles.in_bytes(content);
        assert!(hits.is_empty(), "others see {hits:?} in {:?}", String::from_utf8_lossy(content));
    }
    watching.stop();
}

fn devices(world: &World, robot: &str) -> String {
    world.path("devices").join(robot).display().to_string()
}

/// The key in use, from where it rests.
fn new_key(world: &World, robot: &str) -> PrivateKey {
    let inventory = world.inventory().unwrap();
    let secrets = store(world);
    world.runtime.block_on(async {
        let records = inventory.records(&format!("plant/{robot}").parse().unwrap()).await.unwrap();
        let newest = records.iter().max_by_key(|record| record.id.generation).unwrap();
        key_in(&secrets, &newest.secret).await.unwrap().unwrap()
    })
}

/// The body of an answer.
fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
}
