//! What comes next for one robot: the one pure decision.
//!
//! Owns [`next`], which first onboarding, resuming after a kill and
//! `--dry-run` all call with other inputs. Leaves out how a step is done
//! (`lifecycle`). There is no separate recovery: whatever was interrupted is
//! seen in the standings and carried on from there.

use time::{Duration, OffsetDateTime};

use super::{Delivery, Generation, Record, State};

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

/// One generation, as far as the decision needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its number.
    pub generation: Generation,
    /// Its state.
    pub state: State,
    /// How far its delivery has come.
    pub delivery: Delivery,
    /// Whether its key is in the store and belongs to its certificate.
    pub key_present: bool,
    /// Whether it is what is wanted now: type, name, role, lifetime.
    pub fits: bool,
    /// When its key was stored.
    pub keyed_at: Option<OffsetDateTime>,
    /// The end of its certificate.
    pub not_after: Option<OffsetDateTime>,
    /// How often its POST was, or was about to be, sent.
    pub tries: u32,
    /// When the last of them was committed.
    pub sent_at: Option<OffsetDateTime>,
}

impl Standing {
    /// What the decision needs of `record`.
    #[must_use]
    pub fn of(record: &Record, key_present: bool, fits: bool) -> Self {
        Self {
            generation: record.id.generation,
            state: record.state,
            delivery: record.delivery,
            key_present,
            fits,
            keyed_at: record.keyed_at,
            not_after: record.certificate.as_ref().map(|certificate| certificate.validity().not_after),
            tries: record.attempt.as_ref().map_or(0, |attempt| attempt.tries),
            sent_at: record.attempt.as_ref().map(|attempt| attempt.since),
        }
    }

    /// Whether it can be logged in with at `now`, as far as is known here.
    #[must_use]
    pub fn is_usable(&self, now: OffsetDateTime) -> bool {
        self.state == State::Active
            && self.key_present
            && self.not_after.is_some_and(|end| now.truncate_to_second() <= end)
    }
}

/// What the appliance said to a certificate that may or may not be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeAnswer {
    /// Refused, as an unregistered certificate is.
    Refused,
    /// No answer that tells: down, cut, overloaded.
    Unreachable,
    /// It answers an unregistered certificate in the same way.
    Indiscriminate,
}

/// The probes sent in this run for the pending generation's last POST.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Probes {
    /// What the last one brought; `None` before the first. An accepted probe
    /// is recorded at once, so it never stands here.
    pub last: Option<ProbeAnswer>,
    /// The POST was answered "name taken" after an earlier one had no answer.
    pub name_taken: bool,
}

/// Everything the decision looks at.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The current time.
    pub now: OffsetDateTime,
    /// Every generation of the robot that is not at its end.
    pub standings: Vec<Standing>,
    /// The highest generation ever used.
    pub highest: Option<Generation>,
    /// Something that only a person can lift.
    pub hindrance: Option<Need>,
    /// Whether a registrar (a support token) is at hand and not refused.
    pub registrar: bool,
    /// The probes of this run.
    pub probes: Probes,
    /// A registered generation was refused in this run, long after its POST.
    pub proof_refused: bool,
    /// When this run stops waiting for an answer in doubt.
    pub patience_ends: OffsetDateTime,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write the row that names the generation and the slot of its key.
    Plan(Generation),
    /// Make key and certificate, store the key, read it back.
    Make(Generation),
    /// Send the POST (the first time, or again).
    Register(Generation),
    /// Ask, at this time, whether the pending certificate is accepted.
    Probe(Generation, OffsetDateTime),
    /// Prove it from stored state in a fresh connection and promote it.
    Prove(Generation),
    /// Bring it to its targets.
    Deliver(Generation),
    /// Abandon it and list its name for a person.
    GiveUp(Generation),
    /// Nothing before this time.
    Wait(OffsetDateTime),
    /// Nothing without a person.
    NeedsPerson(Need),
    /// Nothing to do.
    Done,
}

/// What only a person can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Need {
    /// A support token.
    Token,
    /// A decision about a site that was frozen.
    Frozen,
    /// A look at an appliance that accepts any certificate.
    ControlAccepted,
    /// Clocks that agree: ours and the appliance's are more than a day apart.
    Clock,
}

impl Step {
    /// The word of `--dry-run`; `None` for a step that is not an action.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Make(_) => Some("make"),
            Self::Register(_) => Some("register"),
            Self::Probe(..) => Some("probe"),
            Self::Prove(_) => Some("prove"),
            Self::Deliver(_) => Some("deliver"),
            Self::GiveUp(_) => Some("give-up"),
            Self::Plan(_) | Self::Wait(_) | Self::NeedsPerson(_) | Self::Done => None,
        }
    }

    fn is_action(self) -> bool {
        !matches!(self, Self::Wait(_) | Self::NeedsPerson(_) | Self::Done)
    }
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
    let mut blocked = None;
    for row in [pending, delivery, renewal] {
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
    standing.tries < MOST_TRIES || now - sent_at >= ATTEMPT_REST
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
    let ended = standing.not_after.is_some_and(|end| observed.now.truncate_to_second() > end);
    !standing.key_present || ended || (standing.state == State::Registered && observed.proof_refused)
}

fn is_unfit(standing: &Standing, now: OffsetDateTime) -> bool {
    !standing.key_present || !standing.fits || standing.keyed_at.is_some_and(|at| now - at > KEY_SHELF_LIFE)
}

/// Row 3: what is in use reaches its targets.
fn delivery(observed: &Observed) -> Option<Step> {
    let active = newest(observed, |state| state == State::Active)?;
    (active.delivery == Delivery::Open && active.is_usable(observed.now)).then_some(Step::Deliver(active.generation))
}

/// Row 5: a robot that has nothing to log in with gets its next generation, one at a time.
fn renewal(observed: &Observed) -> Option<Step> {
    let works = observed.standings.iter().any(|standing| standing.is_usable(observed.now));
    let under_way = observed.standings.iter().any(|standing| standing.state.is_pending());
    let next = observed.highest.map_or(Generation::FIRST, Generation::next);
    (!works && !under_way).then_some(Step::Plan(next))
}

fn newest(observed: &Observed, is: impl Fn(State) -> bool) -> Option<Standing> {
    observed.standings.iter().filter(|standing| is(standing.state)).max_by_key(|standing| standing.generation).copied()
}

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
        observed.standings.push(Standing {
            generation,
            state: State::Planned,
            delivery: Delivery::Open,
            key_present: false,
            fits: true,
            keyed_at: None,
            not_after: None,
            tries: 0,
            sent_at: None,
        });
        return;
    }
    let (generation, state) = match step {
        Step::Make(generation) => (generation, State::Keyed),
        Step::Register(generation) | Step::Probe(generation, _) => (generation, State::Registered),
        Step::Prove(generation) | Step::Deliver(generation) => (generation, State::Active),
        Step::GiveUp(generation) => (generation, State::RetireManual),
        _ => return,
    };
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
        Step::Deliver(_) => standing.delivery = Delivery::Delivered,
        _ => {}
    }
}

#[cfg(test)]
mod tests;
