//! The audit record notices what was done to it.

use robocred::inventory::audit::{Broken, verify};

use super::*;

#[tokio::test]
async fn every_change_has_its_entry_and_the_chain_holds() {
    let dir = tempfile::tempdir().unwrap();
    let inventory = open(dir.path()).await;
    assert_eq!(inventory.audit_head().await.unwrap().seq, 0);
    let lock = lock(&inventory, "plant").await;
    let robot = robot("plant/lucidum");
    adopt(&inventory, &lock, &robot).await;
    bring(&inventory, &lock, &robot, State::Active).await;
    let detail = serde_json::json!({ "floor": "passed" });
    inventory.note(&lock, Some(&robot.robot), "forced", detail, NOW).await.unwrap();

    let entries = inventory.audit().await.unwrap();
    let actions: Vec<_> = entries.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["adopted", "planned", "key-stored", "send-begun", "accepted", "promoted", "forced"]);
    assert!(entries.iter().all(|entry| entry.actor == "tester" && entry.at == "2026-11-22T12:00:00.000Z"));
    assert_eq!(entries[5].generation, Some(1));
    assert_eq!(verify(&entries), Ok(inventory.audit_head().await.unwrap()));
}

#[tokio::test]
async fn a_promotion_names_what_it_takes_the_place_of_and_the_server_it_was_proven_at() {
    let dir = tempfile::tempdir().unwrap();
    let inventory = open(dir.path()).await;
    let lock = lock(&inventory, "plant").await;
    let robot = robot("plant/lucidum");
    adopt(&inventory, &lock, &robot).await;
    bring(&inventory, &lock, &robot, State::Active).await;
    let pin = CERTIFICATE.spki_pin();
    let seen = robocred::inventory::Observation { server_pin: Some(pin), ..Default::default() };
    inventory.observe(&robot.site, &seen, NOW).await.unwrap();
    bring(&inventory, &lock, &robot, State::Active).await;

    let entries = inventory.audit().await.unwrap();
    let details = entries.iter().filter(|entry| entry.action == "promoted");
    let details: Vec<serde_json::Value> = details.map(|entry| serde_json::from_str(&entry.detail).unwrap()).collect();
    let fingerprint = CERTIFICATE.fingerprint().to_string();
    assert_eq!(
        (&details[0]["before"], &details[0]["server_pin"]),
        (&serde_json::Value::Null, &serde_json::Value::Null)
    );
    assert_eq!(details[1]["before"], serde_json::json!({ "generation": 1, "fingerprint_sha256": fingerprint }));
    assert_eq!(
        (&details[1]["fingerprint_sha256"], &details[1]["server_pin"]),
        (&fingerprint.into(), &pin.to_string().into())
    );
    assert!(details.iter().all(|detail| detail["tool"] == env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn an_edited_removed_or_moved_entry_breaks_the_chain() {
    let dir = tempfile::tempdir().unwrap();
    let inventory = open(dir.path()).await;
    let lock = lock(&inventory, "plant").await;
    let robot = robot("plant/lucidum");
    adopt(&inventory, &lock, &robot).await;
    bring(&inventory, &lock, &robot, State::Active).await;
    let whole = inventory.audit().await.unwrap();

    let check = |change: fn(&mut Vec<robocred::inventory::audit::Entry>), seq| {
        let mut entries = whole.clone();
        change(&mut entries);
        assert_eq!(verify(&entries), Err(Broken::Misfit { seq }));
    };
    check(|entries| entries[2].actor = "somebody".to_owned(), 3);
    check(|entries| entries[2].detail.push(' '), 3);
    check(|entries| entries[2].generation = None, 3);
    check(|entries| entries[2].at = entries[2].at.replace("12:00", "12:01"), 3);
    check(|entries| drop(entries.remove(2)), 4);
    check(|entries| entries.swap(2, 3), 4);
    // What one field loses another may not gain.
    check(
        |entries| {
            let last = entries[2].action.pop().unwrap();
            entries[2].actor.push(last);
        },
        3,
    );

    // Through the file: the engine refuses, and who gets around that is noticed.
    let mut connection = behind(dir.path()).await;
    let edit = "UPDATE audit SET actor = 'somebody' WHERE seq = 4";
    sqlx::raw_sql(edit).execute(&mut connection).await.unwrap_err();
    sqlx::raw_sql("DELETE FROM audit").execute(&mut connection).await.unwrap_err();
    sqlx::raw_sql("DROP TRIGGER audit_is_not_rewritten").execute(&mut connection).await.unwrap();
    sqlx::raw_sql(edit).execute(&mut connection).await.unwrap();
    assert_eq!(verify(&inventory.audit().await.unwrap()), Err(Broken::Misfit { seq: 4 }));
}
