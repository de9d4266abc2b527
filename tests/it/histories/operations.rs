//! What can happen in a history, and the histories that a seed stands for.

use std::time::Duration as Real;

use robocred::{
    credential::plan::Urgency,
    simulator::{
        Accepts, Activation, Behaviours, DuplicateName, FaultKind, Interfaces, Listing, Refusal, Registrar,
        Registration, Removal,
    },
};
use time::Duration;

/// Steele, Lea, Flood 2014: small, and the same on every machine.
#[derive(Clone, Debug)]
pub struct SplitMix64(pub u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        let length = u64::try_from(from.len()).unwrap();
        from[usize::try_from(self.below(length)).unwrap()].clone()
    }
}

/// The token a person has in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    Right,
    Wrong,
    None,
}

/// What may become of a removal.
const REMOVALS: [Removal; 6] = [
    Removal::Works,
    Removal::MethodNotAllowed405,
    Removal::NotFound404,
    Removal::Html200,
    Removal::LostAnswer,
    Removal::HitsNewest,
];

/// The newest of the generations there are.
pub const LAST: u32 = u32::MAX;

/// What a person, or the schedule, does with the tool.
#[derive(Clone, Copy, Debug)]
pub enum Command {
    Provision(Token),
    Rotate(Urgency, Token),
    RollBack,
    /// One of the generations there are, by number modulo how many; also the last one if so.
    TakeOut(u32, bool, Token),
    Confirm,
    Verify,
    /// A person removes a leftover on the appliance and says so.
    RemoveByHand(u32),
}

/// Anything that happens.
#[derive(Clone, Debug)]
pub enum Operation {
    /// A command; killed at the n-th point if one is given and reached.
    Run(Command, Option<u32>),
    /// The appliance behaves so from now on.
    Behave(Box<Behaviours>),
    /// One request of the next ones goes wrong.
    Fault(Option<&'static str>, usize, FaultKind),
    /// Time passes on both clocks, or both are set back.
    Pass(Duration),
    /// The appliance's clock is ahead of ours by this from now on.
    Skew(Duration),
    /// The appliance has the robots again that it had after an earlier operation.
    Restore(u32),
    Reboot(Real),
    /// The appliance gets another server key.
    ServerKey,
    /// A person pins the present server key.
    Pin,
    /// A key is gone from the secret store.
    LoseKey(u32),
    /// Whether the secret store can be used.
    Store(bool),
    /// Whether a deploy hook is configured, which cannot be started.
    Hook(bool),
}

/// A whole history: what is wanted of the robot, and what happens.
#[derive(Clone, Debug)]
pub struct History {
    pub seed: u64,
    pub admin: bool,
    pub export: bool,
    pub days: u16,
    pub overlap: Duration,
    pub operations: Vec<Operation>,
}

impl History {
    pub fn of(seed: u64) -> Self {
        let mut random = SplitMix64(seed);
        let admin = random.once_in(4);
        let export = !random.once_in(4);
        let days = random.pick(&[365, 365, 90, 10]);
        let overlap = Duration::days(random.pick(&[7, 7, 1, 30]));
        // Most histories begin where something can be lost.
        let first = Operation::Run(Command::Provision(Token::Right), None);
        let mut operations: Vec<Operation> = (!random.once_in(4)).then_some(first).into_iter().collect();
        for _ in 0..3 + random.below(7) {
            scene(&mut random, admin, &mut operations);
        }
        Self { seed, admin, export, days, overlap, operations }
    }
}

/// A few operations that together can hurt, or one alone.
fn scene(random: &mut SplitMix64, admin: bool, operations: &mut Vec<Operation>) {
    let run = |random: &mut SplitMix64, command| Operation::Run(command, kill(random));
    match random.below(10) {
        // A new credential from an appliance that goes wrong, and what is made of it later.
        0..4 => {
            operations.push(match random.below(3) {
                0 => fault(random),
                _ => Operation::Behave(Box::new(behaviours(random, admin))),
            });
            let wanted = random.pick(&[Urgency::Forced, Urgency::Forced, Urgency::Asked]);
            let wanted = Command::Rotate(wanted, token(random));
            operations.push(run(random, wanted));
            if random.once_in(2) {
                operations.push(Operation::Behave(Box::default()));
            }
            operations.push(Operation::Pass(Duration::minutes(11)));
            let scheduled = Command::Rotate(Urgency::Scheduled, token(random));
            let again = random.pick(&[wanted, scheduled]);
            operations.push(run(random, again));
        }
        // The end of an overlap.
        4..6 => {
            operations.push(Operation::Run(Command::Confirm, None));
            operations.push(Operation::Pass(Duration::days(random.pick(&[2, 8, 31]))));
            match random.below(6) {
                0 | 1 => {
                    let removal = random.pick(&REMOVALS);
                    let odd = Behaviours { removal, ..behaviours(random, admin) };
                    operations.push(Operation::Behave(Box::new(odd)));
                }
                // Perhaps to a moment that knows the old one and not the new.
                2 | 3 => operations.push(Operation::Restore(below(random, 1_000))),
                4 => operations.push(Operation::Skew(Duration::days(random.pick(&[-2, 2])))),
                _ => {}
            }
            let scheduled = Command::Rotate(Urgency::Scheduled, token(random));
            operations.push(run(random, scheduled));
            operations.push(Operation::Run(scheduled, None));
        }
        // Back to the one before, or the one in use taken away.
        6 => {
            let forced = Command::Rotate(Urgency::Forced, Token::Right);
            operations.push(Operation::Run(forced, None));
            if random.once_in(3) {
                operations.push(fault(random));
            }
            let back =
                random.pick(&[Command::RollBack, Command::RollBack, Command::TakeOut(LAST, false, Token::Right)]);
            operations.push(run(random, back));
            let after = command(random);
            operations.push(run(random, after));
        }
        _ => operations.push(operation(random, admin)),
    }
}

fn kill(random: &mut SplitMix64) -> Option<u32> {
    let far = random.pick(&[12, 40, 120]);
    random.once_in(2).then(|| 1 + below(random, far))
}

fn operation(random: &mut SplitMix64, admin: bool) -> Operation {
    match random.below(100) {
        0..40 => {
            let command = command(random);
            Operation::Run(command, kill(random))
        }
        40..50 => Operation::Behave(Box::new(behaviours(random, admin))),
        50..54 => Operation::Behave(Box::default()),
        54..64 => fault(random),
        64..78 => Operation::Pass(pass(random)),
        78..81 => {
            let apart = random.pick(&[10 * 60, -10 * 60, 2 * 86_400, -2 * 86_400, 730 * 86_400, 0, 0]);
            Operation::Skew(Duration::seconds(apart))
        }
        81..84 => Operation::Restore(below(random, 1_000)),
        84..87 => Operation::Reboot(Real::from_millis(random.pick(&[20, 3_000, 60_000]))),
        87..89 => Operation::ServerKey,
        89..92 => Operation::Pin,
        92..95 => Operation::LoseKey(below(random, 1_000)),
        95..98 => Operation::Store(!random.once_in(3)),
        _ => Operation::Hook(random.once_in(2)),
    }
}

fn below(random: &mut SplitMix64, end: u32) -> u32 {
    u32::try_from(random.below(end.into())).unwrap()
}

fn command(random: &mut SplitMix64) -> Command {
    let urgencies = [Urgency::Scheduled, Urgency::Scheduled, Urgency::Asked, Urgency::Forced];
    match random.below(20) {
        0..3 => Command::Provision(token(random)),
        3..12 => Command::Rotate(random.pick(&urgencies), token(random)),
        12..16 => Command::Confirm,
        16 => Command::RollBack,
        17 => Command::TakeOut(below(random, 1_000), random.once_in(5), token(random)),
        18 => Command::Verify,
        _ => Command::RemoveByHand(below(random, 1_000)),
    }
}

fn token(random: &mut SplitMix64) -> Token {
    random.pick(&[Token::Right, Token::Right, Token::Right, Token::Right, Token::None, Token::Wrong])
}

/// One that has a name, or a mix of answers.
fn behaviours(random: &mut SplitMix64, admin: bool) -> Behaviours {
    let named: Vec<Behaviours> = Behaviours::all_named().into_iter().map(|(_, behaviours)| behaviours).collect();
    let mut mixed = random.pick(&named);
    if random.once_in(2) {
        let other = random.pick(&named);
        mixed.registration = other.registration;
        mixed.registration_times = random.pick(&[None, Some(1), Some(2)]);
        mixed.listing = random.pick(&[Listing::Supported, Listing::WithoutCertificates, Listing::NotFound404]);
        mixed.removal = random.pick(&[Removal::Works, Removal::LostAnswer, Removal::MethodNotAllowed405]);
        mixed.duplicate_name = random.pick(&[
            DuplicateName::Conflict409,
            DuplicateName::Error500,
            DuplicateName::Replace,
            DuplicateName::SecondRobot,
            DuplicateName::SameIsFine,
        ]);
        mixed.refusal = random.pick(&[Refusal::Unauthorized401, Refusal::TlsAlert, Refusal::Reset, Refusal::Html200]);
        mixed.registrar = random.pick(&[Registrar::TokenOrAdmin, Registrar::TokenOnly]);
        mixed.activation =
            random.pick(&[Activation::AtOnce, Activation::AfterRefusals(2), Activation::AfterRefusals(9)]);
        mixed.interfaces = random.pick(&[Interfaces::Both, Interfaces::Both, Interfaces::RestOnly]);
        mixed.accepts = random.pick(&[Accepts::Registered, Accepts::Registered, mixed.accepts]);
    }
    // The appliance's clock is an operation of its own, and real time does not pass in a history.
    mixed.clock_ahead = 0;
    if let Activation::After(_) = mixed.activation {
        mixed.activation = Activation::After(Real::from_hours(1));
    }
    // An admin robot that is registered as a reader stays unproven until a person changes its role there.
    if admin {
        mixed.role = robocred::simulator::RoleGiven::AsAsked;
    }
    if let Registration::Redirect307 = mixed.registration {
        mixed.registration = Registration::Redirect302;
    }
    mixed
}

fn fault(random: &mut SplitMix64) -> Operation {
    let answer = |status| FaultKind::Answer { status, content_type: "text/html", body: b"<html>busy</html>".to_vec() };
    let kind = random.pick(&[
        FaultKind::ResetBefore,
        FaultKind::ResetAfter,
        FaultKind::ResetAfter,
        FaultKind::CutAfter(0),
        FaultKind::CutAfter(40),
        FaultKind::CutInBody,
        FaultKind::Hang,
        FaultKind::WrongLength(7),
        FaultKind::Garbage,
        answer(500),
        answer(503),
        answer(429),
    ]);
    let path = random.pick(&[None, Some("/v1/robots"), Some("/v1/robots"), Some("/graphql")]);
    Operation::Fault(path, usize::try_from(1 + random.below(6)).unwrap(), kind)
}

fn pass(random: &mut SplitMix64) -> Duration {
    const DAY: i64 = 86_400;
    let seconds = random.pick(&[660, 660, 3_600, 40 * 3_600, 8 * DAY, 8 * DAY, 40 * DAY, 130 * DAY, 260 * DAY]);
    let back = random.once_in(12);
    Duration::seconds(if back { -random.pick(&[400, 5 * 3_600, 3 * DAY]) } else { seconds })
}
