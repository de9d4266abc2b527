//! Rows 3 to 5 for a robot that has a credential: overlap, due, forced, retired.

use super::*;

fn second() -> Generation {
    FIRST.next()
}

fn delivered(generation: Generation) -> Standing {
    Standing { generation, delivery: Delivery::Delivered, ..standing(State::Active) }
}

fn previous(retire_after: Option<OffsetDateTime>) -> Standing {
    Standing { retire_after, ..standing(State::Previous) }
}

fn rotating(urgency: Urgency, standings: &[Standing]) -> Observed {
    Observed { aim: Aim::Rotate(urgency), due_at: Some(NOW + Duration::days(200)), ..observed(standings) }
}

const URGENCIES: [Urgency; 3] = [Urgency::Scheduled, Urgency::Asked, Urgency::Forced];

#[test]
fn what_is_not_due_is_left_alone_unless_it_is_forced() {
    let check = |urgency, expected| assert_eq!(next(&rotating(urgency, &[delivered(FIRST)])), expected, "{urgency:?}");
    check(Urgency::Scheduled, Step::Done);
    check(Urgency::Asked, Step::Done);
    check(Urgency::Forced, Step::Plan(second()));
}

#[test]
fn what_is_due_waits_for_the_floor_by_schedule_only() {
    let due = |urgency, past_floor| {
        next(&Observed { due_at: Some(NOW), past_floor, ..rotating(urgency, &[delivered(FIRST)]) })
    };
    assert_eq!(due(Urgency::Scheduled, true), Step::Plan(second()));
    assert_eq!(due(Urgency::Scheduled, false), Step::Done);
    assert_eq!(due(Urgency::Asked, false), Step::Plan(second()));
    assert_eq!(due(Urgency::Forced, false), Step::Plan(second()));
}

#[test]
fn what_has_expired_or_lost_its_key_waits_for_nothing() {
    for urgency in URGENCIES {
        let expired = Standing { not_after: Some(NOW - Duration::SECOND), ..delivered(FIRST) };
        let lost = Standing { key_present: false, ..delivered(FIRST) };
        for broken in [expired, lost] {
            let observed = Observed { past_floor: false, ..rotating(urgency, &[broken]) };
            assert_eq!(next(&observed), Step::Plan(second()), "{urgency:?}");
        }
    }
}

#[test]
fn force_makes_one_credential_in_a_run() {
    let pending = Standing { generation: second(), ..standing(State::Registered) };
    let observed = rotating(Urgency::Forced, &[delivered(FIRST), pending]);
    assert_eq!(next(&observed), Step::Prove(second()), "what was interrupted comes first, and is the new one");
    let promoted = Observed { renewed: true, ..rotating(Urgency::Forced, &[previous(None), delivered(second())]) };
    assert_eq!(next(&promoted), Step::Done);
    let steps = foresee(&rotating(Urgency::Forced, &[delivered(FIRST)]));
    let names: Vec<_> = steps.into_iter().filter_map(Step::name).collect();
    assert_eq!(names, ["make", "register", "prove", "deliver"]);
}

#[test]
fn provision_leaves_a_robot_alone_in_the_middle_of_its_rotation() {
    for state in State::ALL.iter().filter(|state| state.is_pending()) {
        let pending = Standing { generation: second(), ..standing(*state) };
        assert_eq!(next(&observed(&[delivered(FIRST), pending])), Step::Done, "{state}");
    }
    let over = previous(Some(NOW));
    assert_eq!(next(&observed(&[over, delivered(second())])), Step::Done);
}

#[test]
fn the_overlap_ends_only_once_the_successor_is_delivered_and_was_read_with() {
    let check = |active: Standing, retire_after, ingested, expected| {
        for urgency in [Urgency::Scheduled, Urgency::Asked] {
            let observed = Observed { ingested, ..rotating(urgency, &[previous(retire_after), active]) };
            assert_eq!(next(&observed), expected, "{active:?} {retire_after:?} {ingested}");
        }
    };
    let (over, not_over) = (Some(NOW), Some(NOW + Duration::SECOND));
    check(delivered(second()), over, true, Step::Retire(FIRST));
    check(delivered(second()), not_over, true, Step::Done);
    check(delivered(second()), None, true, Step::Done);
    check(delivered(second()), over, false, Step::Done);
    let by_hand = Standing { delivery: Delivery::ByHand, ..delivered(second()) };
    check(by_hand, over, true, Step::Done);
    let open = Standing { delivery: Delivery::Open, ..delivered(second()) };
    check(open, over, true, Step::Deliver(second()));
}

#[test]
fn nothing_is_retired_while_what_is_in_use_does_not_work() {
    let lost = Standing { key_present: false, ..delivered(second()) };
    let expired = Standing { not_after: Some(NOW - Duration::SECOND), ..delivered(second()) };
    let retiring = standing(State::Retiring);
    for broken in [lost, expired] {
        for old in [previous(Some(NOW)), retiring] {
            let step = next(&rotating(Urgency::Scheduled, &[old, broken]));
            assert!(!matches!(step, Step::Retire(_)), "{old:?} {broken:?}");
        }
    }
    assert_eq!(next(&rotating(Urgency::Scheduled, &[retiring, delivered(second())])), Step::Retire(FIRST));
}

#[test]
fn a_failed_delivery_waits_by_schedule_and_not_for_a_person() {
    let deliver_after = Some(NOW + Duration::HOUR);
    let failed = Standing { delivery: Delivery::Open, deliver_after, ..delivered(FIRST) };
    assert_eq!(next(&rotating(Urgency::Scheduled, &[failed])), Step::Done);
    assert_eq!(next(&rotating(Urgency::Asked, &[failed])), Step::Deliver(FIRST));
    let waited = Standing { deliver_after: Some(NOW), ..failed };
    assert_eq!(next(&rotating(Urgency::Scheduled, &[waited])), Step::Deliver(FIRST));
    let spent = Observed { spent: vec![Step::Deliver(FIRST)], ..rotating(Urgency::Asked, &[failed]) };
    assert_eq!(next(&spent), Step::Done);
    // Written down by a clock that was ahead.
    let ahead = Standing { deliver_after: Some(NOW + Duration::days(3650)), ..failed };
    assert_eq!(next(&rotating(Urgency::Scheduled, &[ahead])), Step::Deliver(FIRST));
}

#[test]
fn the_back_off_doubles_from_one_hour_to_thirty_two() {
    let hours = |tries| back_off(tries).whole_hours();
    assert_eq!((0..9).map(hours).collect::<Vec<_>>(), [1, 1, 2, 4, 8, 16, 32, 32, 32]);
    assert_eq!(hours(u32::MAX), 32);
}

#[test]
fn a_robot_that_was_retired_or_never_begun_is_not_rotated() {
    for urgency in URGENCIES {
        assert_eq!(next(&rotating(urgency, &[])), Step::Done);
        let retired = standing(State::Retired);
        assert_eq!(next(&rotating(urgency, &[retired])), Step::Done, "{urgency:?}");
        let given_up = Standing { promoted: false, ..standing(State::RetireManual) };
        assert_eq!(next(&rotating(urgency, &[given_up])), Step::Plan(second()), "an onboarding goes on");
    }
}

#[test]
fn a_person_retires_one_generation_and_nothing_else_happens() {
    let aim = Aim::Retire { generation: FIRST, last: false };
    let check = |standings: &[Standing], expected| {
        let observed = Observed { aim, due_at: Some(NOW), ..observed(standings) };
        assert_eq!(next(&observed), expected, "{standings:?}");
    };
    let pending = Standing { generation: second(), ..standing(State::Keyed) };
    check(&[previous(None), delivered(second())], Step::Retire(FIRST));
    check(&[standing(State::Retiring), delivered(second())], Step::Retire(FIRST));
    check(&[delivered(FIRST), pending], Step::Retire(FIRST));
    check(&[standing(State::Retired), delivered(second())], Step::Done);
    check(&[delivered(second())], Step::Done);
}

fn arbitrary() -> impl proptest::strategy::Strategy<Value = Observed> {
    use proptest::prelude::*;
    let moment = || prop_oneof![Just(None), (-400_i64..400).prop_map(|days| Some(NOW + Duration::days(days)))];
    let one = (0..State::ALL.len(), 0..3_usize, any::<(bool, bool)>(), moment(), moment(), moment(), 0..4_u32);
    let one = one.prop_map(|(state, delivery, (key_present, fits), not_after, deliver_after, retire_after, tries)| {
        Standing {
            delivery: [Delivery::Open, Delivery::ByHand, Delivery::Delivered][delivery],
            key_present,
            fits,
            not_after,
            deliver_after,
            retire_after,
            tries,
            sent_at: (tries > 0).then_some(NOW),
            ..standing(State::ALL[state])
        }
    });
    let rest = (any::<(bool, bool, bool)>(), 0..3_usize, moment());
    (proptest::collection::vec(one, 1..5), rest).prop_map(|(mut standings, rest)| {
        let ((registrar, ingested, past_floor), urgency, due_at) = rest;
        for (index, standing) in standings.iter_mut().enumerate() {
            standing.generation = Generation::new(u32::try_from(index).unwrap() + 1).unwrap();
        }
        // As the inventory guarantees: at most one of each.
        for alone in [|state: State| state == State::Active, State::is_pending] {
            let mut seen = false;
            standings.retain(|standing| !alone(standing.state) || !std::mem::replace(&mut seen, true));
        }
        Observed { due_at, past_floor, ingested, registrar, ..rotating(URGENCIES[urgency], &standings) }
    })
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(2_000))]

    /// Whatever hook and removal do, what has run out is replaced.
    #[test]
    fn a_failing_hook_or_removal_never_delays_the_next_generation(observed in arbitrary()) {
        let mut observed = observed;
        observed.standings.retain(|standing| !standing.state.is_pending() && standing.state != State::Abandoned);
        let Some(last) = observed.standings.last_mut() else { return Ok(()) };
        last.state = State::Active;
        last.not_after = Some(NOW - Duration::SECOND);
        let generation = last.generation;
        observed.standings.retain(|standing| standing.state != State::Active || standing.generation == generation);
        for _ in 0..20 {
            match next(&observed) {
                Step::Plan(_) => return Ok(()),
                step @ (Step::Deliver(_) | Step::Retire(_)) => observed.spent.push(step),
                other => proptest::prop_assert!(false, "{other:?} instead of the next generation"),
            }
        }
        proptest::prop_assert!(false, "it never comes to the next generation");
    }

    /// I5: no removal without a successor that is usable, delivered and was read with.
    #[test]
    fn a_removal_always_has_a_successor(observed in arbitrary()) {
        if let Step::Retire(generation) = next(&observed) {
            let active = active(&observed);
            proptest::prop_assert!(active.is_some_and(|one| one.is_usable(NOW) && one.generation != generation));
            let begun = observed.standings.iter().any(|s| s.generation == generation && s.state == State::Retiring);
            let delivered = active.is_some_and(|one| one.delivery == Delivery::Delivered) && observed.ingested;
            proptest::prop_assert!(begun || delivered);
        }
    }

    /// Nothing is planned beside a generation that is on its way, and no number twice.
    #[test]
    fn one_at_a_time_and_never_a_number_twice(observed in arbitrary()) {
        if let Step::Plan(generation) = next(&observed) {
            proptest::prop_assert!(!observed.standings.iter().any(|standing| standing.state.is_pending()));
            proptest::prop_assert!(observed.standings.iter().all(|standing| standing.generation < generation));
        }
        proptest::prop_assert!(!foresee(&observed).last().unwrap().is_action());
    }
}
