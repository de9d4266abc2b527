//! The decision taken ahead, for `--dry-run`.

use time::Duration;

use super::{Observed, Standing, Step, next};
use crate::credential::{Delivery, State};

/// The steps that would be taken from here if each succeeded, for `--dry-run`:
/// the same [`next`], called on what would be observed after each.
#[must_use]
pub fn foresee(observed: &Observed) -> Vec<Step> {
    let mut observed = observed.clone();
    let mut steps = Vec::new();
    loop {
        let step = next(&observed);
        steps.push(step);
        if !step.is_action() {
            return steps;
        }
        assume(&mut observed, step);
    }
}

fn assume(observed: &mut Observed, step: Step) {
    let now = observed.now;
    if let Step::Plan(generation) = step {
        observed.highest = Some(generation);
        observed.renewed = true;
        observed.standings.push(Standing::planned(generation));
        return;
    }
    let (generation, state) = match step {
        Step::Make(generation) => (generation, State::Keyed),
        Step::Register(generation) | Step::Probe(generation, _) => (generation, State::Registered),
        Step::Prove(generation) | Step::Deliver(generation) => (generation, State::Active),
        Step::Retire(generation) => (generation, State::Retired),
        Step::GiveUp(generation) => (generation, State::RetireManual),
        _ => return,
    };
    if let Step::Prove(_) = step {
        for before in observed.standings.iter_mut().filter(|standing| standing.state == State::Active) {
            before.state = State::Previous;
        }
        // What is made now is not due now.
        (observed.due_at, observed.renewed) = (None, true);
    }
    let Some(standing) = observed.standings.iter_mut().find(|standing| standing.generation == generation) else {
        return;
    };
    standing.state = state;
    match step {
        Step::Make(_) => {
            standing.key_present = true;
            standing.fits = true;
            standing.keyed_at = Some(now);
            standing.not_after = Some(now + Duration::DAY);
            standing.tries = 0;
        }
        Step::Prove(_) => standing.promoted = true,
        Step::Deliver(_) => standing.delivery = Delivery::Delivered,
        _ => {}
    }
}
