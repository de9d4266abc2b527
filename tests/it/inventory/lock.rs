//! One writer per site: the kernel lock, and the epoch behind it.

use std::{fs, time::Duration};

use robocred::inventory::{Error, Inventory, audit::verify};

use super::{crash::Child, *};

#[tokio::test]
async fn a_second_lock_is_refused_and_says_who_holds_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let inventory = open(dir.path()).await;
    let other = open(dir.path()).await;
    let held = lock(&inventory, "plant").await;
    let refused = other.lock_site(held.site(), None, NOW).await.unwrap_err();
    let Error::Held { holder: Some(holder), .. } = &refused else { panic!("{refused:?}") };
    assert_eq!((holder.pid, holder.since), (std::process::id(), NOW));
    assert_eq!(
        refused.to_string(),
        format!("site plant is locked by process {} for 0 s (since 2026-11-22T12:00:00Z)", std::process::id())
    );
    let later = other.lock_site(held.site(), None, NOW + time::Duration::minutes(3)).await.unwrap_err();
    assert!(later.to_string().contains(" for 3 min (since 2026-11-22T12:00:00Z)"), "{later}");
    // Another site is free, and the first is again once let go.
    lock(&other, "mill").await;
    drop(held);
    lock(&other, "plant").await;
}

#[tokio::test]
async fn waiting_ends_when_the_lock_is_let_go() {
    let dir = tempfile::tempdir().unwrap();
    let inventory = open(dir.path()).await;
    let held = lock(&inventory, "plant").await;
    let site = held.site().clone();
    let wait = inventory.lock_site(&site, Some(Duration::from_mins(1)), NOW);
    let let_go = async {
        // The other future has been polled, and found the lock held, before this one runs.
        tokio::task::yield_now().await;
        drop(held);
    };
    let (taken, ()) = tokio::join!(wait, let_go);
    taken.unwrap();
}

#[tokio::test]
async fn who_was_taken_over_commits_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    let slow = open(dir.path()).await;
    let quick = open(dir.path()).await;
    let robot = robot("plant/lucidum");
    let old = lock(&slow, "plant").await;
    adopt(&slow, &old, &robot).await;
    // Somebody removes the lock file: the kernel lock no longer keeps the two apart.
    fs::remove_file(dir.path().join("locks/plant")).unwrap();
    let new = lock(&quick, "plant").await;
    let id = quick.plan_generation(&new, &next_of(&robot), NOW).await.unwrap().id;

    let change = Change::GivenUp { reason: "late".to_owned() };
    let head = quick.audit_head().await.unwrap();
    let fenced = slow.advance(&old, &id, change, NOW).await;
    assert!(matches!(fenced, Err(Error::Fenced { held: 1, current: 2, .. })), "{fenced:?}");
    assert!(matches!(slow.set_token(&old, NOW).await, Err(Error::Fenced { .. })));
    assert_eq!(quick.audit_head().await.unwrap(), head);
    assert_eq!(quick.records(&robot).await.unwrap()[0].state, State::Planned);
    quick.advance(&new, &id, Change::GivenUp { reason: "in time".to_owned() }, NOW).await.unwrap();
}

#[tokio::test]
async fn another_process_holds_it_until_it_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let inventory = open(dir.path()).await;
    let mut child = Child::start(dir.path());
    child.acknowledged();
    let site = "plant".parse().unwrap();
    match inventory.lock_site(&site, None, NOW).await {
        Err(Error::Held { holder: Some(holder), .. }) => assert_eq!(holder.pid, child.id()),
        other => panic!("{other:?}"),
    }
    child.kill();
    inventory.lock_site(&site, None, NOW).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_on_two_sites_take_turns() {
    let dir = tempfile::tempdir().unwrap();
    let work = async |site: &str| {
        let inventory = open(dir.path()).await;
        let lock = lock(&inventory, site).await;
        for number in 0..40 {
            adopt(&inventory, &lock, &robot(&format!("{site}/r{number}"))).await;
        }
    };
    tokio::join!(work("plant"), work("mill"));
    let inventory = open(dir.path()).await;
    assert_eq!(inventory.robots().await.unwrap().len(), 80);
    assert_eq!(verify(&inventory.audit().await.unwrap()).unwrap().seq, 80);
}

#[test]
fn futures_can_move_between_threads() {
    fn check<T: Send>(_: impl FnOnce(&'static Inventory, &'static SiteLock, &'static CredentialId) -> T) {}
    check(|inventory, lock, id| inventory.advance(lock, id, Change::Promoted { passed: Vec::new() }, NOW));
    check(|inventory, lock, _| inventory.lock_site(lock.site(), None, NOW));
    check(|inventory, _, id| inventory.records(&id.robot));
    check(|_, _, _| Inventory::open(Path::new("/"), "tester", NOW));
}
