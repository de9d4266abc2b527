//! The plan by tables and by property.

use time::macros::datetime;

use super::*;

mod rotation;

const NOW: OffsetDateTime = datetime!(2026-11-22 12:00 UTC);

fn standing(state: State) -> Standing {
    Standing {
        generation: Generation::FIRST,
        state,
        delivery: Delivery::Open,
        key_present: state != State::Planned,
        fits: true,
        keyed_at: Some(NOW),
        not_after: Some(NOW + Duration::days(365)),
        tries: u32::from(state == State::Sending),
        sent_at: (state == State::Sending).then_some(NOW),
        promoted: matches!(state, State::Active | State::Previous | State::Retiring | State::Retired),
        deliver_after: None,
        retire_after: None,
    }
}

fn observed(standings: &[Standing]) -> Observed {
    Observed {
        now: NOW,
        theirs: None,
        aim: Aim::Provision,
        standings: standings.to_vec(),
        highest: standings.iter().map(|standing| standing.generation).max(),
        hindrance: None,
        due_at: None,
        past_floor: true,
        ingested: true,
        renewed: false,
        spent: Vec::new(),
        registrar: true,
        probes: Probes::default(),
        proof_refused: false,
        patience_ends: NOW + Duration::seconds(40),
    }
}

const FIRST: Generation = Generation::FIRST;

#[test]
fn the_first_generation_from_nothing_to_done() {
    let names: Vec<_> = foresee(&observed(&[])).into_iter().filter_map(Step::name).collect();
    assert_eq!(names, ["make", "register", "prove", "deliver"]);
}

#[test]
fn each_state_is_carried_on_from_where_it_stands() {
    let check = |state, expected| assert_eq!(next(&observed(&[standing(state)])), expected, "{state}");
    check(State::Planned, Step::Make(FIRST));
    check(State::Keyed, Step::Register(FIRST));
    check(State::Sending, Step::Probe(FIRST, NOW));
    check(State::Registered, Step::Prove(FIRST));
    check(State::Active, Step::Deliver(FIRST));
    check(State::Abandoned, Step::Plan(FIRST.next()));
    check(State::RetireManual, Step::Plan(FIRST.next()));
    let delivered = Standing { delivery: Delivery::Delivered, ..standing(State::Active) };
    assert_eq!(next(&observed(&[delivered])), Step::Done);
    let by_hand = Standing { delivery: Delivery::ByHand, ..standing(State::Active) };
    assert_eq!(next(&observed(&[by_hand])), Step::Done);
}

#[test]
fn without_a_token_everything_up_to_the_post_is_done() {
    let without = |standings: &[Standing]| Observed { registrar: false, ..observed(standings) };
    let steps = foresee(&without(&[]));
    assert_eq!(steps, [Step::Plan(FIRST), Step::Make(FIRST), Step::NeedsPerson(Need::Token)]);
    let mut refused = without(&[standing(State::Sending)]);
    refused.now = NOW + Duration::seconds(9);
    refused.probes.last = Some(ProbeAnswer::Refused);
    assert_eq!(next(&refused), Step::NeedsPerson(Need::Token));
}

#[test]
fn a_need_never_hides_what_is_possible() {
    let active = standing(State::Active);
    let pending = Standing { generation: FIRST.next(), ..standing(State::Keyed) };
    let observed = Observed { registrar: false, ..observed(&[active, pending]) };
    assert_eq!(next(&observed), Step::Deliver(FIRST));
}

#[test]
fn a_frozen_site_is_left_alone() {
    for state in State::ALL {
        let frozen = Observed { hindrance: Some(Need::Frozen), ..observed(&[standing(*state)]) };
        assert_eq!(next(&frozen), Step::NeedsPerson(Need::Frozen));
    }
}

#[test]
fn probes_come_at_their_times_and_passed_time_counts() {
    let at = |millis: i64, last| {
        let mut observed = observed(&[standing(State::Sending)]);
        observed.now = NOW + Duration::milliseconds(millis);
        observed.probes.last = last;
        next(&observed)
    };
    let probe = |millis: i64| Step::Probe(FIRST, NOW + Duration::milliseconds(millis));
    let refused = Some(ProbeAnswer::Refused);
    assert_eq!(at(0, None), probe(0));
    assert_eq!(at(1, refused), probe(500));
    assert_eq!(at(501, refused), probe(1000));
    assert_eq!(at(4100, refused), probe(8000));
    assert_eq!(at(8001, refused), Step::Register(FIRST));
    assert_eq!(at(3_600_000, None), probe(3_600_000));
}

#[test]
fn a_probe_that_cannot_tell_stops_everything() {
    let mut observed = observed(&[standing(State::Sending)]);
    observed.probes.last = Some(ProbeAnswer::Indiscriminate);
    assert_eq!(next(&observed), Step::NeedsPerson(Need::ControlAccepted));
}

#[test]
fn an_appliance_that_does_not_answer_changes_nothing() {
    let mut observed = observed(&[standing(State::Sending)]);
    observed.now = NOW + Duration::seconds(9);
    observed.probes.last = Some(ProbeAnswer::Unreachable);
    assert_eq!(next(&observed), Step::Wait(NOW + ATTEMPT_REST));
}

#[test]
fn three_tries_then_rest_then_the_same_again() {
    let after = |tries, seconds| {
        let mut observed = observed(&[Standing { tries, ..standing(State::Sending) }]);
        observed.now = NOW + Duration::seconds(seconds);
        observed.patience_ends = observed.now + Duration::seconds(30);
        observed.probes.last = Some(ProbeAnswer::Refused);
        next(&observed)
    };
    assert_eq!(after(2, 9), Step::Register(FIRST));
    assert_eq!(after(3, 9), Step::Wait(NOW + ATTEMPT_REST));
    assert_eq!(after(3, 601), Step::Register(FIRST));
    // Sent by a clock that was ahead.
    assert_eq!(after(3, -86_400 * 3650), Step::Register(FIRST));
}

#[test]
fn a_name_taken_after_doubt_is_given_up_only_when_refused() {
    let mut observed = observed(&[Standing { tries: 2, ..standing(State::Sending) }]);
    observed.now = NOW + Duration::seconds(9);
    observed.probes = Probes { last: Some(ProbeAnswer::Refused), name_taken: true };
    assert_eq!(next(&observed), Step::GiveUp(FIRST));
    observed.probes.last = Some(ProbeAnswer::Unreachable);
    assert_eq!(next(&observed), Step::Wait(NOW + ATTEMPT_REST));
}

#[test]
fn a_giving_up_that_was_interrupted_is_finished_first() {
    let left = Standing { tries: 2, ..standing(State::Abandoned) };
    assert_eq!(next(&observed(&[left])), Step::GiveUp(FIRST));
    let never_sent = Standing { tries: 0, ..standing(State::Abandoned) };
    assert_eq!(next(&observed(&[never_sent])), Step::Plan(FIRST.next()));
}

#[test]
fn no_post_begins_that_might_outlast_the_patience() {
    let check = |state, left: Duration, expected| {
        let mut observed = observed(&[Standing { tries: 1, ..standing(state) }]);
        observed.now = NOW + Duration::seconds(9);
        observed.patience_ends = observed.now + left;
        observed.probes.last = Some(ProbeAnswer::Refused);
        assert_eq!(next(&observed), expected, "{state}, {left} left");
    };
    let short = POST_TAKES - Duration::SECOND;
    check(State::Sending, POST_TAKES, Step::Register(FIRST));
    check(State::Sending, short, Step::Wait(NOW + ATTEMPT_REST));
    check(State::Keyed, POST_TAKES, Step::Register(FIRST));
    check(State::Keyed, short, Step::Wait(NOW + Duration::seconds(9)));
}

#[test]
fn a_key_left_in_the_drawer_is_made_anew_under_its_number() {
    let mut old = standing(State::Keyed);
    old.keyed_at = Some(NOW - KEY_SHELF_LIFE - Duration::SECOND);
    assert_eq!(next(&observed(&[old])), Step::Make(FIRST));
    old.tries = 1;
    assert_eq!(next(&observed(&[old])), Step::Register(FIRST));
}

#[test]
fn a_key_that_never_left_and_is_not_what_is_wanted_is_made_anew() {
    let other = Standing { fits: false, ..standing(State::Keyed) };
    assert_eq!(next(&observed(&[other])), Step::Make(FIRST));
    let in_doubt = Standing { fits: false, tries: 1, ..standing(State::Keyed) };
    assert_eq!(next(&observed(&[in_doubt])), Step::Register(FIRST));
}

#[test]
fn what_cannot_be_logged_in_with_any_more_is_given_up_and_listed() {
    for state in [State::Sending, State::Registered] {
        let lost = Standing { key_present: false, ..standing(state) };
        assert_eq!(next(&observed(&[lost])), Step::GiveUp(FIRST), "{state} without its key");
    }
    let mut refused = observed(&[standing(State::Registered)]);
    refused.proof_refused = true;
    assert_eq!(next(&refused), Step::GiveUp(FIRST));
}

#[test]
fn what_may_be_registered_has_ended_only_if_the_appliance_says_so_too() {
    let end = NOW - Duration::SECOND;
    for (state, next_to_ask) in [(State::Sending, Step::Probe(FIRST, NOW)), (State::Registered, Step::Prove(FIRST))] {
        let ended = observed(&[Standing { not_after: Some(end), ..standing(state) }]);
        let check = |theirs, expected| {
            assert_eq!(next(&Observed { theirs, ..ended.clone() }), expected, "{state}, theirs {theirs:?}");
        };
        check(None, next_to_ask);
        check(Some(end - Duration::days(730)), next_to_ask);
        check(Some(end), next_to_ask);
        check(Some(NOW), Step::GiveUp(FIRST));
        let theirs_alone = Observed { theirs: Some(NOW), ..observed(&[standing(state)]) };
        assert_eq!(next(&theirs_alone), next_to_ask, "{state}, not ended here");
    }
}

#[test]
fn an_expired_or_lost_credential_is_followed_by_the_next_number() {
    let expired = Standing { not_after: Some(NOW - Duration::SECOND), ..standing(State::Active) };
    assert_eq!(next(&observed(&[expired])), Step::Plan(FIRST.next()));
    let lost = Standing { key_present: false, ..standing(State::Active) };
    assert_eq!(next(&observed(&[lost])), Step::Plan(FIRST.next()));
    let last_second = Standing { not_after: Some(NOW), delivery: Delivery::Delivered, ..standing(State::Active) };
    assert_eq!(next(&observed(&[last_second])), Step::Done);
}

proptest::proptest! {
    #[test]
    fn at_most_one_generation_is_on_its_way(
        states in proptest::collection::vec(0..State::ALL.len(), 0..4),
        registrar: bool,
    ) {
        let mut generation = FIRST;
        let mut standings = Vec::new();
        for index in states {
            standings.push(Standing { generation, ..standing(State::ALL[index]) });
            generation = generation.next();
        }
        let pending = standings.iter().filter(|standing| standing.state.is_pending()).count();
        let observed = Observed { registrar, ..observed(&standings) };
        if pending > 0 {
            proptest::prop_assert!(!matches!(next(&observed), Step::Plan(_)));
        }
        // Every forecast ends, in something that is not an action.
        let steps = foresee(&observed);
        proptest::prop_assert!(!steps.last().unwrap().is_action());
    }
}
