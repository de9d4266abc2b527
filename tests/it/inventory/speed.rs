//! How long a `status` waits for its inventory. Printed, not judged: run with
//! `cargo test --release --test it inventory::speed -- --ignored --nocapture`.

use std::time::Instant;

use robocred::inventory::Inventory;

use super::*;

#[tokio::test]
#[ignore = "a measurement"]
async fn opening_and_reading_a_thousand_robots() {
    let dir = tempfile::tempdir().unwrap();
    let inventory = open(dir.path()).await;
    let lock = lock(&inventory, "plant").await;
    let first = robot("plant/r0");
    adopt(&inventory, &lock, &first).await;
    bring(&inventory, &lock, &first, State::Active).await;
    for robots in [1, 1000] {
        if robots > 1 {
            execute(
                dir.path(),
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 999)
                 INSERT INTO robot SELECT site, 'r' || i, 'r' || i, role, endpoint, origin, created_at, last_promotion,
                     last_generation FROM robot, n WHERE name = 'r0';
                 WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 999)
                 INSERT INTO credential SELECT site, 'r' || i, generation, state, changed_at, reason, registered_name,
                     role, secret || i, key_algorithm, profile, certificate, fingerprint, tries, tried_at, control,
                     remote_id, keyed_at, promoted_at, proven_at, delivery, retire_after, deliver_tries, deliver_after
                     FROM credential, n WHERE robot = 'r0';",
            )
            .await;
        }
        let mut opened = Vec::new();
        let mut read = Vec::new();
        for _ in 0..21 {
            let start = Instant::now();
            let reader = Inventory::open_read_only(dir.path()).await.unwrap().unwrap();
            opened.push(start.elapsed());
            let start = Instant::now();
            assert_eq!(reader.all_records().await.unwrap().len(), robots);
            assert_eq!(reader.robots().await.unwrap().len(), robots);
            reader.attention().await.unwrap();
            reader.leftovers().await.unwrap();
            reader.sites().await.unwrap();
            read.push(start.elapsed());
        }
        for (what, times) in [("open", &mut opened), ("read", &mut read)] {
            times.sort();
            println!("{robots} robots: {what} median {:?}, worst {:?}", times[10], times[20]);
        }
    }
}
