//! What becomes of a credential, and what is kept around it.

use std::collections::BTreeMap;

use proptest::prelude::*;
use robocred::{
    credential::{Control, Delivery, Event, State},
    inventory::{AttentionCode, DeliveryKind, Error, Inventory, Observation, Run},
    site::{StoreKind, Stream},
    x509::SpkiPin,
};
use time::Duration;

use super::*;

#[tokio::test]
async fn every_change_of_the_table_is_made_and_every_other_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let inventory = open(dir.path()).await;
    let lock = lock(&inventory, "plant").await;
    let mut made = 0;
    for &state in State::ALL {
        for (number, change) in changes().into_iter().enumerate() {
            let robot = robot(&format!("plant/{state}.{number}"));
            adopt(&inventory, &lock, &robot).await;
            let id = bring(&inventory, &lock, &robot, state).await;
            let before = format!("{:?}", inventory.records(&robot).await.unwrap());
            let head = inventory.audit_head().await.unwrap();
            let event = change.event();
            match (state.after(event), inventory.advance(&lock, &id, change, NOW).await) {
                (Ok(expected), Ok(record)) => {
                    made += 1;
                    assert_eq!(record.state, expected);
                    let stored = inventory.records(&robot).await.unwrap();
                    let stored = stored.iter().find(|stored| stored.id == id).unwrap();
                    assert_eq!(format!("{stored:?}"), format!("{record:?}"), "what was returned is what is kept");
                    assert_ne!(inventory.audit_head().await.unwrap(), head, "no entry for {event}");
                }
                (Err(_), Err(Error::Impossible { id: named, refused })) => {
                    assert_eq!((named, refused.state, refused.event), (id, state, event));
                    assert_eq!(format!("{:?}", inventory.records(&robot).await.unwrap()), before);
                    assert_eq!(inventory.audit_head().await.unwrap(), head);
                }
                (expected, got) => panic!("{state} on {event}: table {expected:?}, inventory {got:?}"),
            }
        }
    }
    let superseded = 1;
    assert_eq!(made, robocred::credential::state::TRANSITIONS.len() - superseded);
}

#[tokio::test]
async fn promotion_is_one_step_for_both_generations() {
    let dir = tempfile::tempdir().unwrap();
    let inventory = open(dir.path()).await;
    let lock = lock(&inventory, "plant").await;
    let robot = robot("plant/lucidum");
    adopt(&inventory, &lock, &robot).await;
    bring(&inventory, &lock, &robot, State::Active).await;
    let second = bring(&inventory, &lock, &robot, State::Registered).await;
    let states = async || {
        let records = inventory.records(&robot).await.unwrap();
        records.iter().map(|record| record.state).collect::<Vec<_>>()
    };

    // A fault after both rows are written and before the commit.
    execute(
        dir.path(),
        "CREATE TRIGGER fault BEFORE INSERT ON audit WHEN NEW.action = 'promoted'
         BEGIN SELECT RAISE(ABORT, 'fault'); END;",
    )
    .await;
    let head = inventory.audit_head().await.unwrap();
    inventory.advance(&lock, &second, Change::Promoted { passed: Vec::new() }, NOW).await.unwrap_err();
    assert_eq!(states().await, [State::Active, State::Registered]);
    assert_eq!(inventory.audit_head().await.unwrap(), head);

    execute(dir.path(), "DROP TRIGGER fault").await;
    let later = NOW + Duration::HOUR;
    let promoted = inventory.advance(&lock, &second, Change::Promoted { passed: Vec::new() }, later).await.unwrap();
    assert_eq!(states().await, [State::Previous, State::Active]);
    assert_eq!(promoted.delivery, Delivery::Open);
    let row = inventory.robot(&robot).await.unwrap().unwrap();
    assert_eq!((row.last_promotion, row.last_generation), (Some(later), 2));

    // And back again.
    let first = inventory.records(&robot).await.unwrap()[0].id.clone();
    inventory.advance(&lock, &first, Change::RolledBack { passed: Vec::new() }, later).await.unwrap();
    assert_eq!(states().await, [State::Active, State::Previous]);
}

#[tokio::test]
async fn the_previous_may_go_only_once_the_active_is_delivered() {
    let dir = tempfile::tempdir().unwrap();
    let inventory = open(dir.path()).await;
    let lock = lock(&inventory, "plant").await;
    let overlap = Duration::days(7);
    let not_after = CERTIFICATE.validity().not_after;
    let soon = not_after - Duration::DAY;
    for (name, delivered, expected) in [("early", NOW, NOW + overlap), ("late", soon, not_after)] {
        let robot = robot(&format!("plant/{name}"));
        adopt(&inventory, &lock, &robot).await;
        let old = bring(&inventory, &lock, &robot, State::Previous).await;
        let records = inventory.records(&robot).await.unwrap();
        let active = records[1].id.clone();
        assert_eq!(records[0].retire_after, None);

        let refused = inventory.set_delivery(&lock, &old, Delivery::Delivered, overlap, NOW).await;
        assert!(matches!(refused, Err(Error::NotActive(id)) if id == old));
        inventory.set_delivery(&lock, &active, Delivery::ByHand, overlap, NOW).await.unwrap();
        assert_eq!(inventory.records(&robot).await.unwrap()[0].retire_after, None);
        inventory.set_delivery(&lock, &active, Delivery::Delivered, overlap, delivered).await.unwrap();
        assert_eq!(inventory.records(&robot).await.unwrap()[0].retire_after, Some(expected));
        assert_eq!(inventory.audit().await.unwrap().last().unwrap().action, "delivery-confirmed");

        // Said again later, it moves nothing.
        let again = delivered + Duration::HOUR;
        inventory.set_delivery(&lock, &active, Delivery::Delivered, overlap, again).await.unwrap();
        assert_eq!(inventory.records(&robot).await.unwrap()[0].retire_after, Some(expected));
    }
}

#[tokio::test]
async fn numbers_are_never_used_again_and_one_generation_is_under_way_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let inventory = open(dir.path()).await;
    let lock = lock(&inventory, "plant").await;
    let robot = robot("plant/lucidum");
    assert!(matches!(inventory.plan_generation(&lock, &next_of(&robot), NOW).await, Err(Error::NoRobot(_))));
    adopt(&inventory, &lock, &robot).await;
    for number in 1..=3 {
        let record = inventory.plan_generation(&lock, &next_of(&robot), NOW).await.unwrap();
        assert_eq!(record.id.generation.number(), number);
        let name = if number == 1 { "lucidum".to_owned() } else { format!("lucidum-g{number}") };
        assert_eq!(record.registered_name.as_str(), name);
        assert_eq!(record.secret.as_str(), format!("{}/plant/lucidum/g{number}", inventory.store_id()));
        let second = inventory.plan_generation(&lock, &next_of(&robot), NOW).await;
        assert!(matches!(second, Err(Error::Pending(id)) if id == record.id));
        let reason = "not needed".to_owned();
        inventory.advance(&lock, &record.id, Change::GivenUp { reason }, NOW).await.unwrap();
    }
}

#[tokio::test]
async fn tries_count_what_may_have_had_an_effect() {
    let dir = tempfile::tempdir().unwrap();
    let inventory = open(dir.path()).await;
    let lock = lock(&inventory, "plant").await;
    let robot = robot("plant/lucidum");
    adopt(&inventory, &lock, &robot).await;
    let id = bring(&inventory, &lock, &robot, State::Keyed).await;
    let tries = async |change, now| {
        let record = inventory.advance(&lock, &id, change, now).await.unwrap();
        record.attempt.map(|attempt| (attempt.tries, attempt.since, attempt.control))
    };
    let send = |control| Change::SendBegun { control };
    let not_done = || Change::NotDone { reason: "401".to_owned() };
    let later = NOW + Duration::SECOND;

    assert_eq!(tries(send(Control::Refused), NOW).await, Some((1, NOW, Control::Refused)));
    assert_eq!(tries(not_done(), NOW).await, None);
    assert_eq!(tries(send(Control::Unknown), NOW).await, Some((1, NOW, Control::Unknown)));
    // The control was asked before the first; what it says afterwards is not a control.
    assert_eq!(tries(send(Control::Accepted), later).await, Some((2, later, Control::Unknown)));
    assert_eq!(tries(not_done(), later).await, Some((1, later, Control::Unknown)));
}

#[tokio::test]
async fn what_surrounds_a_credential_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let inventory = open(dir.path()).await;
    let lock = lock(&inventory, "plant").await;
    let robot = robot("plant/lucidum");
    let adopted = adopt(&inventory, &lock, &robot).await;
    assert_eq!(adopt(&inventory, &lock, &robot).await, adopted, "a second time changes nothing");
    let id = bring(&inventory, &lock, &robot, State::Active).await;
    let later = NOW + Duration::HOUR;

    // Attention keeps its first date and its last words.
    let code = AttentionCode::TokenNeeded;
    inventory.raise(&lock, &robot, code, "first", None, NOW).await.unwrap();
    inventory.raise(&lock, &robot, code, "second", Some("do it"), later).await.unwrap();
    let raised = inventory.attention().await.unwrap();
    assert_eq!(raised.len(), 1);
    assert_eq!(
        (raised[0].message.as_str(), raised[0].hint.as_deref(), raised[0].since),
        ("second", Some("do it"), NOW)
    );
    inventory.clear(&lock, &robot, code, later).await.unwrap();
    inventory.clear(&lock, &robot, code, later).await.unwrap();
    assert_eq!(inventory.attention().await.unwrap(), []);

    // Observations add up.
    let pin = SpkiPin::of_spki(b"a key");
    let seen =
        Observation { server_pin: Some(pin), clock_skew: Some(Duration::seconds(-90)), ..Observation::default() };
    inventory.observe(lock.site(), &seen, NOW).await.unwrap();
    let more = Observation { can_list: Some(false), control: Some(Control::Refused), ..Observation::default() };
    inventory.observe(lock.site(), &more, later).await.unwrap();
    inventory.set_token(&lock, NOW).await.unwrap();
    let site = inventory.site(lock.site()).await.unwrap().unwrap();
    let all = Observation { can_list: Some(false), control: Some(Control::Refused), ..seen };
    assert_eq!(site.seen, all);
    assert_eq!((site.server_pin_at, site.control_at, site.token_since), (Some(NOW), Some(later), Some(NOW)));
    assert_eq!(inventory.sites().await.unwrap(), [site]);
    inventory.clear_token(&lock, later).await.unwrap();
    assert_eq!(inventory.sites().await.unwrap()[0].token_since, None);

    // Runs: the last one, and when it was last whole.
    let run = |complete| Run {
        robot: id.robot.clone(),
        generation: Some(id.generation),
        stream: Stream::Assets,
        records: 1000,
        complete,
        on_target: complete,
        path: "/data/assets.ndjson".into(),
        mark: None,
    };
    inventory.record_run(&run(true), NOW).await.unwrap();
    inventory.record_run(&run(false), later).await.unwrap();
    let runs = inventory.runs().await.unwrap();
    assert_eq!(runs.len(), 1);
    assert_eq!((runs[0].complete, runs[0].at, runs[0].completed_at), (false, later, Some(NOW)));
    assert_eq!(inventory.last_proof(&id).await.unwrap(), Some(NOW), "by its promotion");
    inventory.record_proof(&id, later).await.unwrap();
    assert_eq!(inventory.last_proof(&id).await.unwrap(), Some(later));

    // Deliveries, one per directory.
    let target = Path::new("/etc/lucidum");
    inventory.record_delivery(&lock, &id, target, DeliveryKind::ByHand, NOW).await.unwrap();
    inventory.record_delivery(&lock, &id, target, DeliveryKind::Proven, later).await.unwrap();
    let delivered = inventory.deliveries(&robot).await.unwrap();
    assert_eq!(delivered.len(), 1);
    assert_eq!((delivered[0].kind, delivered[0].fingerprint), (DeliveryKind::Proven, CERTIFICATE.fingerprint()));

    // The store's kind is decided once.
    assert_eq!(inventory.store_kind(), None);
    assert_eq!(inventory.record_store_kind(StoreKind::Sealed, NOW).await.unwrap(), StoreKind::Sealed);
    assert_eq!(inventory.record_store_kind(StoreKind::Keyring, NOW).await.unwrap(), StoreKind::Sealed);
    let reader = Inventory::open_read_only(dir.path()).await.unwrap().unwrap();
    assert_eq!(reader.store_kind(), Some(StoreKind::Sealed));
    assert_eq!(reader.store_id(), inventory.store_id());

    // Leftovers say why.
    for change in [Change::RetireBegun, Change::RetireImpossible { reason: "no removal".to_owned() }] {
        inventory.advance(&lock, &id, change, later).await.unwrap();
    }
    let leftovers = inventory.leftovers().await.unwrap();
    assert_eq!(leftovers.len(), 1);
    assert_eq!((leftovers[0].reason.as_str(), leftovers[0].since), ("no removal", later));
    assert_eq!(leftovers[0].fingerprint, Some(CERTIFICATE.fingerprint()));
}

#[tokio::test]
async fn a_lock_covers_its_own_site_only() {
    let dir = tempfile::tempdir().unwrap();
    let inventory = open(dir.path()).await;
    let ours = lock(&inventory, "plant").await;
    let theirs = lock(&inventory, "mill").await;
    let robot = robot("mill/lucidum");
    adopt(&inventory, &theirs, &robot).await;
    let wrong = inventory.plan_generation(&ours, &next_of(&robot), NOW).await;
    assert!(matches!(wrong, Err(Error::WrongLock { .. })));
    assert_eq!(inventory.records(&robot).await.unwrap().len(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever is asked for in whatever order, the inventory does what the
    /// table says, and never has two active or two pending generations.
    #[test]
    fn random_lives_follow_the_table(steps in prop::collection::vec((0_usize..4, 0_usize..12), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let inventory = open(dir.path()).await;
            let lock = lock(&inventory, "plant").await;
            let robot = robot("plant/lucidum");
            adopt(&inventory, &lock, &robot).await;
            let mut model = BTreeMap::new();
            for (which, what) in steps {
                let Some(change) = changes().into_iter().nth(what) else {
                    let busy = model.values().any(|state: &State| state.is_pending());
                    let planned = inventory.plan_generation(&lock, &next_of(&robot), NOW).await;
                    assert_eq!(planned.is_err(), busy);
                    if let Ok(record) = planned {
                        assert!(model.insert(record.id, State::Planned).is_none(), "a number was used again");
                    }
                    continue;
                };
                let Some(id) = model.keys().rev().nth(which).cloned() else { continue };
                let expected = model[&id].after(change.event());
                let got = inventory.advance(&lock, &id, change, NOW).await;
                assert_eq!(got.is_ok(), expected.is_ok());
                if let Ok(state) = expected {
                    if state == State::Active {
                        for other in model.values_mut().filter(|other| **other == State::Active) {
                            *other = other.after(Event::Superseded).unwrap();
                        }
                    }
                    model.insert(id, state);
                }
                let kept = inventory.records(&robot).await.unwrap();
                let kept: BTreeMap<_, _> = kept.into_iter().map(|record| (record.id, record.state)).collect();
                assert_eq!(kept, model);
                assert!(model.values().filter(|state| **state == State::Active).count() <= 1);
                assert!(model.values().filter(|state| state.is_pending()).count() <= 1);
            }
            robocred::inventory::audit::verify(&inventory.audit().await.unwrap()).unwrap();
        });
    }
}
