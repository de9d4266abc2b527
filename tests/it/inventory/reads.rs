//! What is kept about reading: the way that worked, where the next run begins, and files of the version before.

use robocred::{
    inventory::{Mark, Reading, Run},
    site::{ApiChoice, Stream},
};
use time::Duration;

use super::*;

fn run(robot: &RobotId, complete: bool, mark: Option<Mark>) -> Run {
    Run {
        robot: robot.clone(),
        generation: None,
        stream: Stream::Assets,
        records: 3,
        complete,
        path: "/data/assets.ndjson".into(),
        on_target: true,
        mark,
    }
}

fn mark(hours: i64, scope: &str, recent: Option<&[u64]>) -> Mark {
    Mark { since: NOW + Duration::hours(hours), scope: scope.to_owned(), recent: recent.map(<[u64]>::to_vec) }
}

#[tokio::test]
async fn the_way_that_worked_is_kept_for_a_site_that_has_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let inventory = open(dir.path()).await;
    let site = "plant".parse().unwrap();
    assert_eq!(inventory.reading(&site).await.unwrap(), None);
    for (api, wide) in [(ApiChoice::Graphql, true), (ApiChoice::Graphql, false), (ApiChoice::Rest, true)] {
        let reading = Reading { api, wide, at: NOW };
        inventory.record_reading(&site, reading).await.unwrap();
        assert_eq!(inventory.reading(&site).await.unwrap(), Some(reading));
    }
    // It is no visit, and a site without a reading has none.
    assert_eq!(inventory.site(&site).await.unwrap().unwrap().seen, robocred::inventory::Observation::default());
    let _mill = lock(&inventory, "mill").await;
    assert_eq!(inventory.reading(&"mill".parse().unwrap()).await.unwrap(), None);
}

#[tokio::test]
async fn a_way_that_cannot_be_understood_is_no_way_and_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let inventory = open(dir.path()).await;
    let site = "plant".parse().unwrap();
    let reading = Reading { api: ApiChoice::Graphql, wide: false, at: NOW };
    for damage in [
        "UPDATE site SET read_width = 'broad'",
        "UPDATE site SET read_width = NULL",
        "UPDATE site SET read_api = 'soap'",
        "UPDATE site SET read_api = 'auto'",
        "UPDATE site SET read_api = NULL",
        "UPDATE site SET read_at = 'then'",
    ] {
        inventory.record_reading(&site, reading).await.unwrap();
        assert_eq!(inventory.reading(&site).await.unwrap(), Some(reading));
        execute(dir.path(), damage).await;
        assert_eq!(inventory.reading(&site).await.unwrap(), None, "{damage}");
    }
}

#[tokio::test]
async fn only_a_complete_run_moves_the_mark() {
    let dir = tempfile::tempdir().unwrap();
    let inventory = open(dir.path()).await;
    // A robot that the inventory does not know: it was read with an API key.
    let robot = robot("plant/lucidum");
    let last = async || inventory.last_complete(&robot, Stream::Assets).await.unwrap();
    assert_eq!(last().await, None);

    let many: Vec<u64> = (0..100_000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
    let steps = [
        (false, Some(mark(1, "a", Some(&[1]))), None),
        (true, None, None),
        (true, Some(mark(2, "a", Some(&[u64::MAX, 0]))), Some(mark(2, "a", Some(&[u64::MAX, 0])))),
        (true, None, Some(mark(2, "a", Some(&[u64::MAX, 0])))),
        (false, Some(mark(3, "b", None)), Some(mark(2, "a", Some(&[u64::MAX, 0])))),
        (true, Some(mark(4, "b", None)), Some(mark(4, "b", None))),
        (true, Some(mark(-5, "b", Some(&[]))), Some(mark(-5, "b", Some(&[])))),
        (true, Some(mark(6, "b", Some(&many))), Some(mark(6, "b", Some(&many)))),
    ];
    for (number, (complete, given, expected)) in steps.into_iter().enumerate() {
        inventory.record_run(&run(&robot, complete, given), NOW).await.unwrap();
        assert!(last().await == expected, "step {number}");
    }
    assert_eq!(inventory.last_complete(&robot, Stream::Events).await.unwrap(), None);
    let row = inventory.runs().await.unwrap().remove(0);
    assert_eq!((row.generation, row.complete, row.completed_at), (None, true, Some(NOW)));

    execute(dir.path(), "UPDATE run SET recent = x'010203'").await;
    let damaged = inventory.last_complete(&robot, Stream::Assets).await;
    assert!(matches!(damaged, Err(robocred::inventory::Error::Damaged { .. })), "{damaged:?}");
}

/// Makes of a file what the version before would have written.
async fn back_to_version_3(dir: &Path) {
    execute(
        dir,
        "ALTER TABLE site DROP COLUMN read_api; ALTER TABLE site DROP COLUMN read_width; ALTER TABLE site DROP COLUMN read_at;
         ALTER TABLE site DROP COLUMN api_key_since; ALTER TABLE site DROP COLUMN api_key_expires;
         CREATE TABLE run_old (
             site TEXT NOT NULL, robot TEXT NOT NULL, stream TEXT NOT NULL, generation INTEGER NOT NULL,
             records INTEGER NOT NULL, complete INTEGER NOT NULL, path TEXT NOT NULL, at TEXT NOT NULL,
             completed_at TEXT, PRIMARY KEY (site, robot, stream),
             FOREIGN KEY (site, robot, generation) REFERENCES credential (site, robot, generation)
         ) STRICT;
         INSERT INTO run_old SELECT site, robot, stream, generation, records, complete, path, at, completed_at FROM run;
         DROP TABLE run;
         ALTER TABLE run_old RENAME TO run;
         PRAGMA user_version = 3",
    )
    .await;
}

#[tokio::test]
async fn a_file_of_version_3_is_carried_over_with_its_runs() {
    let dir = tempfile::tempdir().unwrap();
    let inventory = open(dir.path()).await;
    let lock = lock(&inventory, "plant").await;
    let lucidum = robot("plant/lucidum");
    adopt(&inventory, &lock, &lucidum).await;
    let id = bring(&inventory, &lock, &lucidum, State::Active).await;
    for (complete, at) in [(true, NOW), (false, NOW + Duration::DAY)] {
        let run = Run { generation: Some(id.generation), ..run(&lucidum, complete, None) };
        inventory.record_run(&run, at).await.unwrap();
    }
    let before = (inventory.runs().await.unwrap(), inventory.sites().await.unwrap());
    drop(lock);
    inventory.close().await.unwrap();
    back_to_version_3(dir.path()).await;

    let inventory = open(dir.path()).await;
    assert_eq!((inventory.runs().await.unwrap(), inventory.sites().await.unwrap()), before);
    assert_eq!(before.0.len(), 1);
    assert_eq!(inventory.last_complete(&lucidum, Stream::Assets).await.unwrap(), None);

    // And it holds what only the new version can.
    let other = robot("plant/other");
    inventory.record_run(&run(&other, true, Some(mark(0, "a", Some(&[7])))), NOW).await.unwrap();
    assert_eq!(inventory.last_complete(&other, Stream::Assets).await.unwrap(), Some(mark(0, "a", Some(&[7]))));
    inventory.record_reading(&other.site, Reading { api: ApiChoice::Rest, wide: false, at: NOW }).await.unwrap();
}
