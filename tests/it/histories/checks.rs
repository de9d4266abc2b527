//! What must hold after every command of a history, however it ended: I1 to
//! I16 as far as one process with one robot can break them.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use robocred::{
    credential::{
        Delivery, Record, State,
        plan::{MOST_TRIES, Need, Urgency},
    },
    inventory::AttentionCode,
    lifecycle::{self, Did, Outcome},
    simulator::{self, Registration, Removal},
    x509::{self, Fingerprint, PrivateKey},
};
use time::{Duration, OffsetDateTime};

use super::{
    operations::{Command, Token},
    plant::{Ended, Plant, Rows},
};
use crate::invariants::files::{export_is_whole_or_absent, exported};

/// Everything there is to see, here and on the appliance.
pub struct View {
    pub rows: Rc<Rows>,
    pub robots: Vec<simulator::Robot>,
    keys: BTreeMap<String, Vec<u8>>,
    /// What a consumer reads.
    consumed: Option<Fingerprint>,
    requests: usize,
    connections: usize,
}

impl View {
    pub fn of(plant: &Plant) -> Self {
        Self::with(plant, Rc::new(plant.rows()))
    }

    /// With rows of which it is known that nothing has changed them since.
    pub fn with(plant: &Plant, rows: Rc<Rows>) -> Self {
        let out = plant.out();
        let consumed = out.join("cert.pem").exists().then(|| exported(&out).1.fingerprint());
        Self {
            rows,
            robots: plant.simulator.robots(),
            keys: plant.keyring.held(),
            consumed,
            requests: plant.simulator.requests().len(),
            connections: plant.simulator.connections(),
        }
    }

    fn on_appliance(&self, fingerprint: Fingerprint) -> bool {
        self.robots.iter().any(|robot| robot.fingerprint == fingerprint)
    }

    fn key_fits(&self, record: &Record) -> bool {
        let der = self.keys.get(record.secret.as_str());
        let key = der.and_then(|der| PrivateKey::from_pkcs8_der(der.clone().into()).ok());
        let fits = |(key, certificate)| x509::key_belongs_to(&key, certificate).is_ok();
        key.zip(record.certificate.as_ref()).is_some_and(fits)
    }

    /// The generations that can be logged in with at these times.
    fn working(&self, times: [OffsetDateTime; 2]) -> BTreeSet<u32> {
        let works = |record: &&Record| {
            let certificate = record.certificate.as_ref();
            certificate.is_some_and(|certificate| {
                self.on_appliance(certificate.fingerprint())
                    && times.iter().all(|time| certificate.validity().contains(*time))
            }) && self.key_fits(record)
        };
        self.rows.records.iter().filter(works).map(|record| record.id.generation.number()).collect()
    }

    fn active(&self) -> Option<&Record> {
        self.rows.records.iter().find(|record| record.state == State::Active)
    }

    fn asks_for(&self, code: AttentionCode) -> bool {
        self.rows.attention.iter().any(|attention| attention.code == code)
    }
}

/// Panics unless everything holds after `command`, which found `before`.
pub fn hold(plant: &Plant, before: &View, after: &View, command: Command, ended: &Ended) {
    no_lock_out(plant, before, after, command);
    no_unknown_robot(plant, before, after);
    no_unknown_key(after);
    bounded_requests(plant, before, command);
    export_is_whole_or_absent(&plant.out());
    if let Some(active) = after.active() {
        let pair = active.certificate.is_some() && active.promoted_at.is_some();
        assert!(pair, "I4: {} is in use without a certificate", active.id);
    }
    match ended {
        Ended::Done(Some(outcome)) => nothing_left_unsaid(after, command, outcome),
        Ended::Failed(error) => failure_is_told(after, error),
        _ => {}
    }
}

/// I1, and the same for who reads the exported files.
fn no_lock_out(plant: &Plant, before: &View, after: &View, command: Command) {
    if let Command::TakeOut(_, true, _) = command {
        return;
    }
    let times = [plant.now(), plant.their_now()];
    let (could, can) = (before.working(times), after.working(times));
    let taken = |number| taken_by_the_appliance(plant, before, after, number);
    let locked_out = !could.is_empty() && can.is_empty() && !could.iter().copied().all(taken);
    assert!(!locked_out, "I1: locked out; before, {could:?} worked");
    // An appliance that removes another robot than it was asked to can take anything away.
    if matches!(command, Command::TakeOut(..)) || plant.behaviours.removal == Removal::HitsNewest {
        return;
    }
    if let (Some(read), Some(reads)) = (before.consumed, after.consumed)
        && before.on_appliance(read)
    {
        assert!(after.on_appliance(reads), "I1: whoever reads the exported files is locked out");
    }
}

/// Whether a generation that worked is gone because the appliance removed it instead of the one that it was asked to.
///
/// Nothing here can prevent that: where what was to be removed has ended, nothing works afterwards. Its key is kept
/// then, its row says that it is in use or was, and it was named in no removal.
fn taken_by_the_appliance(plant: &Plant, before: &View, after: &View, number: u32) -> bool {
    let of_number = |record: &&Record| record.id.generation.number() == number;
    let kept = |record: &&Record| matches!(record.state, State::Active | State::Previous) && after.key_fits(record);
    let record = after.rows.records.iter().find(of_number).filter(kept);
    let own = record.and_then(|record| record.certificate.as_ref()).map(x509::Certificate::fingerprint);
    let removals: Vec<_> = plant.simulator.requests().into_iter().skip(before.requests).collect();
    let removals = || removals.iter().filter(|request| request.method == "DELETE");
    let named = |robot: &simulator::Robot| removals().any(|it| it.path.ends_with(&format!("/{}", robot.id)));
    let robot = before.robots.iter().find(|robot| Some(robot.fingerprint) == own);
    plant.behaviours.removal == Removal::HitsNewest
        && removals().next().is_some()
        && robot.is_some_and(|robot| !after.on_appliance(robot.fingerprint) && !named(robot))
}

/// I2: what is on the appliance has a row that says so.
fn no_unknown_robot(plant: &Plant, before: &View, after: &View) {
    for robot in &after.robots {
        let of_ours = |record: &&Record| {
            record.certificate.as_ref().is_some_and(|certificate| certificate.fingerprint() == robot.fingerprint)
        };
        let Some(record) = after.rows.records.iter().find(of_ours) else {
            // A key that was made anew would have been made before its first POST.
            panic!("I2: no row names {robot:?}");
        };
        let known = match record.state {
            State::Planned | State::Keyed => false,
            State::Abandoned => after.rows.leftovers.contains(&record.id),
            State::Retired => {
                // Put back from a backup, or kept by an appliance that removed another one instead
                // of a credential with which nobody can ask any more.
                let blind = plant.behaviours.removal == Removal::HitsNewest && !before.key_fits(record);
                plant.returned.contains(&robot.id) || blind
            }
            _ => true,
        };
        assert!(known, "I2: {robot:?} is on the appliance, and its row is {}", record.state);
    }
}

/// I3: every slot has a row, and what is retired has no key any more.
fn no_unknown_key(after: &View) {
    for slot in after.keys.keys() {
        let record = after.rows.records.iter().find(|record| record.secret.as_str() == slot);
        let record = record.unwrap_or_else(|| panic!("I3: no row names {slot}"));
        let destroyed = record.state == State::Retired && record.promoted_at.is_some();
        assert!(!destroyed, "the key of {} was to be destroyed", record.id);
    }
}

/// I7 and I8: few POSTs, and the token on one path only, once it was refused no more.
fn bounded_requests(plant: &Plant, before: &View, command: Command) {
    let all = plant.simulator.requests();
    let requests = &all[before.requests..];
    let posts = requests.iter().filter(|it| it.method == "POST" && it.path == "/v1/robots").count();
    assert!(posts <= 2 * MOST_TRIES as usize, "I7: {posts} registrations in one run");
    let bearers: Vec<_> = requests.iter().filter(|request| request.bearer).collect();
    let elsewhere = bearers.iter().find(|it| it.path != "/v1/robots" && !it.path.starts_with("/v1/robots/"));
    assert!(elsewhere.is_none(), "I8: the token was sent to {elsewhere:?}");
    let (Command::Provision(token) | Command::Rotate(_, token) | Command::TakeOut(_, _, token)) = command else {
        return assert!(bearers.is_empty(), "I8: a token from nowhere: {bearers:?}");
    };
    if token == Token::None {
        assert!(bearers.is_empty(), "I8: a token from nowhere: {bearers:?}");
    }
    // Where nothing comes between it and its refusal, a wrong token is sent once.
    let plain = !plant.faults
        && plant.behaviours.registration == Registration::Created
        && plant.behaviours.listing == simulator::Listing::Supported;
    if token == Token::Wrong && plain {
        assert!(bearers.len() <= 1, "I8: sent again after it was refused: {bearers:?}");
    }
}

/// I14 of a run that ended well: what is still open is said.
fn nothing_left_unsaid(after: &View, command: Command, outcome: &Outcome) {
    if !matches!(command, Command::Provision(_) | Command::Rotate(..)) {
        return;
    }
    let active = after.active().expect("I14: done, and nothing is in use");
    assert!(after.key_fits(active), "I14: done, and the key of {} is not there", active.id);
    for record in &after.rows.records {
        let open = match record.state {
            State::Abandoned => record.attempt.is_some(),
            State::Retiring => matches!(command, Command::Rotate(..)),
            state => state.is_pending() && matches!(command, Command::Rotate(..)),
        };
        assert!(!open, "I14: done, and {} is {}", record.id, record.state);
    }
    let told = outcome.trouble.is_some();
    assert!(active.delivery != Delivery::Open || told || backs_off(command, active), "I14: not delivered, not told");
    if active.delivery == Delivery::ByHand {
        assert!(after.asks_for(AttentionCode::DeliverByHand), "I14: nobody is asked to carry the files on");
    }
    if !after.rows.leftovers.is_empty() {
        assert!(after.asks_for(AttentionCode::RetireManual), "I14: leftovers, and nobody is asked to remove them");
    }
}

/// A failed delivery is not tried by schedule before its time; `status` shows it.
fn backs_off(command: Command, active: &Record) -> bool {
    matches!(command, Command::Rotate(Urgency::Scheduled, _)) && active.deliver_after.is_some()
}

/// I14 of a run that failed: in words, with advice, and for a person in the list too.
fn failure_is_told(after: &View, error: &lifecycle::Error) {
    assert!(!error.to_string().is_empty());
    let code = match error {
        lifecycle::Error::NeedsPerson { need, .. } => match need {
            Need::Token => AttentionCode::TokenNeeded,
            Need::Frozen => AttentionCode::Frozen,
            Need::ControlAccepted => AttentionCode::ControlAccepted,
            Need::Clock => AttentionCode::ClockSkew,
        },
        lifecycle::Error::Refused { .. } => AttentionCode::Frozen,
        lifecycle::Error::Hook(_) => AttentionCode::HookFailed,
        _ => return,
    };
    assert!(after.asks_for(code), "I14: {error}, and nobody is asked: {:#?}", after.rows.attention);
}

/// I10: after a run that ended well, the same again changes nothing and opens no connection.
pub fn running_again_changes_nothing(plant: &mut Plant, after: &View, command: Command) {
    let again = match command {
        Command::Rotate(_, token) => Command::Rotate(Urgency::Scheduled, token),
        command => command,
    };
    let ended = plant.run(again, None);
    let Ended::Done(Some(outcome)) = ended else { panic!("I10: {again:?} after {command:?}: {ended:?}") };
    assert_eq!(outcome.did, Did::Nothing, "I10: {again:?} after {command:?}");
    let now = View::of(plant);
    assert_eq!(now.connections, after.connections, "I10: a connection with nothing to do");
    assert_eq!(now.rows.audit.len(), after.rows.audit.len(), "I10: an entry with nothing to do");
    assert_eq!((&now.keys, &now.robots, now.consumed), (&after.keys, &after.robots, after.consumed), "I10");
}

/// Whether [`running_again_changes_nothing`] can be asked.
pub fn is_settled(plant: &Plant, after: &View, command: Command, ended: &Ended) -> bool {
    let Ended::Done(Some(outcome)) = ended else { return false };
    let lasts = |active: &Record| {
        let end = active.certificate.as_ref().map(|certificate| certificate.validity().not_after);
        end.is_some_and(|end| end - plant.now() > Duration::days(6))
    };
    let retried = after.active().is_some_and(|active| active.delivery == Delivery::Open);
    matches!(command, Command::Provision(_) | Command::Rotate(..))
        && outcome.trouble.is_none()
        && !retried
        && !after.asks_for(AttentionCode::Frozen)
        && after.active().is_some_and(lasts)
}

/// The credential in use is the one that the appliance has, and whoever reads the files has it too.
pub fn all_is_well(plant: &Plant) {
    let view = View::of(plant);
    let active = view.active().expect("nothing is in use");
    let fingerprint = active.certificate.as_ref().map(x509::Certificate::fingerprint).unwrap();
    assert!(view.on_appliance(fingerprint), "I4: {} is not on the appliance", active.id);
    assert!(view.key_fits(active), "I4: the key of {}", active.id);
    if plant.robot.export.is_some() {
        assert_eq!(view.consumed, Some(fingerprint), "I4: the exported pair is not {}", active.id);
    }
}
