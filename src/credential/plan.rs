//! What comes next for one robot: the one pure decision.
//!
//! Owns [`next`], which first onboarding, rotation, retirement, resuming after
//! a kill and `--dry-run` all call with other inputs. Leaves out how a step is
//! done (`lifecycle`). There is no separate recovery: whatever was interrupted
//! is seen in the standings and carried on from there.

mod foresee;
mod observed;

use time::{Duration, OffsetDateTime};

use super::{Delivery, Generation, State};
use crate::clock;
pub use foresee::foresee;
pub use observed::{Aim, Need, Observed, ProbeAnswer, Probes, Standing, Step, Urgency};

/// When a probe is sent after the `sending` row was committed. Time already
/// passed counts, so a run that resumes an hour later probes once.
pub const PROBE_OFFSETS: [Duration; 6] = [
    Duration::ZERO,
    Duration::milliseconds(500),
    Duration::SECOND,
    Duration::seconds(2),
    Duration::seconds(4),
    Duration::seconds(8),
];

/// How often one attempt sends its POST.
pub const MOST_TRIES: u32 = 3;

/// The longest that one POST takes. None is begun that might end after the run's patience.
pub const POST_TAKES: Duration = Duration::seconds(15);

/// After this long an attempt whose tries are used up may begin again, with the
/// same key, certificate and name: slower activations than this are not known.
pub const ATTEMPT_REST: Duration = Duration::minutes(10);

/// A key that waited longer than this without ever being sent is made anew, so
/// that the certificate's lifetime is not spent in the drawer.
pub const KEY_SHELF_LIFE: Duration = Duration::days(7);

/// How long after its `tries`-th failure in a row a delivery is tried again
/// by schedule: one hour, doubled each time, at most 32 hours.
#[must_use]
pub fn back_off(tries: u32) -> Duration {
    Duration::hours(1 << tries.saturating_sub(1).min(5))
}

/// The next step for one robot.
///
/// The rows are asked in their order (docs/ARCHITECTURE.md): the first action
/// wins; a row that must wait or needs a person never hides a later row that
/// is possible.
#[must_use]
pub fn next(observed: &Observed) -> Step {
    if let Some(need) = observed.hindrance {
        return Step::NeedsPerson(need);
    }
    let rows: &[fn(&Observed) -> Option<Step>] = match observed.aim {
        Aim::Provision | Aim::Rotate(_) => &[pending, delivery, overlap, renewal],
        Aim::Deliver => &[delivery],
        Aim::Retire { .. } => &[retirement],
    };
    let mut blocked = None;
    for row in rows {
        match row(observed) {
            Some(step) if step.is_action() => return step,
            Some(step) => blocked = blocked.or(Some(step)),
            None => {}
        }
    }
    blocked.unwrap_or(Step::Done)
}

/// Row 2: the newest generation on its way is carried on; before that, one
/// whose giving up was interrupted is listed for a person.
fn pending(observed: &Observed) -> Option<Step> {
    if let Some(abandoned) = newest(observed, |state| state == State::Abandoned).filter(|standing| standing.tries > 0) {
        return Some(Step::GiveUp(abandoned.generation));
    }
    if observed.aim == Aim::Provision && works(observed) {
        return None;
    }
    let standing = newest(observed, State::is_pending)?;
    let generation = standing.generation;
    Some(match standing.state {
        State::Planned => Step::Make(generation),
        // Once a POST was under way with a key, the appliance may know it: no other takes its place.
        State::Keyed if standing.tries == 0 && is_unfit(&standing, observed.now) => Step::Make(generation),
        State::Keyed if observed.registrar && time_for_a_post(observed) => Step::Register(generation),
        State::Keyed if observed.registrar => Step::Wait(observed.now),
        State::Keyed => Step::NeedsPerson(Need::Token),
        // It cannot be logged in with any more, whatever the appliance did: its name is listed for a person.
        State::Sending | State::Registered if is_lost(&standing, observed) => Step::GiveUp(generation),
        State::Sending => settle(&standing, observed),
        _ => Step::Prove(generation),
    })
}

/// The lost answer: probe, then send the same again, then rest.
fn settle(standing: &Standing, observed: &Observed) -> Step {
    let generation = standing.generation;
    let sent_at = standing.sent_at.unwrap_or(observed.now);
    match (observed.probes.last, next_probe(sent_at, observed)) {
        (Some(ProbeAnswer::Indiscriminate), _) => Step::NeedsPerson(Need::ControlAccepted),
        (_, Some(at)) => Step::Probe(generation, at),
        (Some(ProbeAnswer::Refused), None) if observed.probes.name_taken => Step::GiveUp(generation),
        (Some(ProbeAnswer::Refused), None) if !observed.registrar => Step::NeedsPerson(Need::Token),
        (Some(ProbeAnswer::Refused), None)
            if may_send_again(standing, sent_at, observed.now) && time_for_a_post(observed) =>
        {
            Step::Register(generation)
        }
        _ => Step::Wait(std::cmp::max(sent_at + ATTEMPT_REST, observed.now)),
    }
}

fn may_send_again(standing: &Standing, sent_at: OffsetDateTime, now: OffsetDateTime) -> bool {
    // A time further ahead than the rest was written down by a clock that ran wrong.
    standing.tries < MOST_TRIES || (now - sent_at).abs() >= ATTEMPT_REST
}

fn time_for_a_post(observed: &Observed) -> bool {
    observed.now + POST_TAKES <= observed.patience_ends
}

fn next_probe(sent_at: OffsetDateTime, observed: &Observed) -> Option<OffsetDateTime> {
    if observed.probes.last.is_none() {
        return Some(observed.now);
    }
    PROBE_OFFSETS.iter().map(|offset| sent_at + *offset).find(|at| *at > observed.now && *at < observed.patience_ends)
}

fn is_lost(standing: &Standing, observed: &Observed) -> bool {
    let now = observed.now.truncate_to_second();
    let ended = standing.not_after.is_some_and(|end| clock::passed_by_both(end, now, observed.theirs));
    !standing.key_present || ended || (standing.state == State::Registered && observed.proof_refused)
}

/// May be judged by our clock alone: the appliance has never heard of this key,
/// so nobody loses anything by another one under the same number and name.
fn is_unfit(standing: &Standing, now: OffsetDateTime) -> bool {
    !standing.key_present || !standing.fits || standing.keyed_at.is_some_and(|at| now - at > KEY_SHELF_LIFE)
}

/// Row 3: what is in use reaches its targets.
fn delivery(observed: &Observed) -> Option<Step> {
    let active = active(observed).filter(|active| active.is_usable(observed.now))?;
    let step = Step::Deliver(active.generation);
    if active.delivery != Delivery::Open || observed.spent.contains(&step) {
        return None;
    }
    match active.deliver_after {
        // One further ahead than any back-off was written down by a clock that ran wrong.
        Some(after)
            if after > observed.now
                && after - observed.now <= back_off(u32::MAX)
                && observed.aim == Aim::Rotate(Urgency::Scheduled) =>
        {
            None
        }
        _ => Some(step),
    }
}

/// Row 4: a predecessor whose overlap is over is retired, the oldest first.
/// Never before its successor was delivered and read with.
fn overlap(observed: &Observed) -> Option<Step> {
    if !matches!(observed.aim, Aim::Rotate(_)) {
        return None;
    }
    let active = active(observed).filter(|active| active.is_usable(observed.now))?;
    let over = |standing: &&Standing| match standing.state {
        State::Retiring => true,
        State::Previous => {
            active.delivery == Delivery::Delivered
                && observed.ingested
                && standing.retire_after.is_some_and(|after| after <= observed.now)
        }
        _ => false,
    };
    let untried = |standing: &&Standing| !observed.spent.contains(&Step::Retire(standing.generation));
    let oldest = observed.standings.iter().filter(over).filter(untried).min_by_key(|standing| standing.generation)?;
    Some(Step::Retire(oldest.generation))
}

/// The one generation that a person wants out of use.
fn retirement(observed: &Observed) -> Option<Step> {
    let Aim::Retire { generation, .. } = observed.aim else { return None };
    let standing = observed.standings.iter().find(|standing| standing.generation == generation)?;
    let there = matches!(standing.state, State::Active | State::Previous | State::Retiring);
    let step = Step::Retire(generation);
    (there && !observed.spent.contains(&step)).then_some(step)
}

/// Row 5: the next generation, one at a time, when nothing works or when it is time.
fn renewal(observed: &Observed) -> Option<Step> {
    let under_way = observed.standings.iter().any(|standing| standing.state.is_pending());
    if under_way || !is_wanted(observed) {
        return None;
    }
    Some(Step::Plan(observed.highest.map_or(Generation::FIRST, Generation::next)))
}

fn is_wanted(observed: &Observed) -> bool {
    let Aim::Rotate(urgency) = observed.aim else { return !works(observed) };
    let Some(active) = active(observed) else {
        // An onboarding that was interrupted is carried on; a robot that was retired, or never begun, is left alone.
        return newest(observed, |_| true).is_some_and(|newest| !newest.promoted);
    };
    let now = observed.now;
    let past_floor = urgency != Urgency::Scheduled || observed.past_floor;
    !active.is_usable(now)
        || (urgency == Urgency::Forced && !observed.renewed)
        || (past_floor && observed.due_at.is_some_and(|due| due <= now))
}

fn works(observed: &Observed) -> bool {
    observed.standings.iter().any(|standing| standing.is_usable(observed.now))
}

fn active(observed: &Observed) -> Option<Standing> {
    newest(observed, |state| state == State::Active)
}

fn newest(observed: &Observed, is: impl Fn(State) -> bool) -> Option<Standing> {
    observed.standings.iter().filter(|standing| is(standing.state)).max_by_key(|standing| standing.generation).copied()
}

#[cfg(test)]
mod tests;
