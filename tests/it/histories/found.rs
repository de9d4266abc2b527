//! What random histories have found, each as short as it could be made, with
//! what must come of it. The invariants are asked after every command, as ever.

use robocred::{
    credential::{Generation, State, plan::Urgency},
    inventory::AttentionCode,
    lifecycle::Error,
    simulator::{Accepts, Activation, Behaviours, Listing, Registration, Removal},
    verify,
};
use time::Duration;

use super::{
    Play,
    operations::{Command, History, LAST, Operation, Token},
    plant::Ended,
};

const PROVISION: Command = Command::Provision(Token::Right);
const FORCED: Command = Command::Rotate(Urgency::Forced, Token::Right);
const SCHEDULED: Command = Command::Rotate(Urgency::Scheduled, Token::Right);

/// A robot in use, whose certificates last as many days.
fn provisioned(admin: bool, export: bool, days: u16) -> Play {
    let overlap = Duration::days(7);
    let mut play = Play::new(&History { seed: 0, admin, export, days, overlap, operations: Vec::new() }, false);
    assert!(matches!(play.command(PROVISION, None), Ended::Done(_)));
    play
}

impl Play {
    #[track_caller]
    fn ends_well(&mut self, command: Command) {
        let ended = self.command(command, None);
        assert!(matches!(&ended, Ended::Done(_)), "{command:?}: {ended:?}");
    }

    fn behaves(&mut self, behaviours: Behaviours) {
        self.step(&Operation::Behave(Box::new(behaviours)));
    }

    fn passes(&mut self, time: Duration) {
        self.step(&Operation::Pass(time));
    }

    fn states(&self) -> Vec<State> {
        self.rows.records.iter().map(|record| record.state).collect()
    }

    fn asks_for(&self, code: AttentionCode) -> bool {
        self.rows.attention.iter().any(|attention| attention.code == code)
    }

    /// The appliance does not have this generation any more.
    fn forgets(&self, generation: u32) {
        let generation = Generation::new(generation);
        let record = self.rows.records.iter().find(|record| Some(record.id.generation) == generation).unwrap();
        self.plant.simulator.forget_robot(record.registered_name.as_str());
    }

    fn removals(&self) -> usize {
        self.plant.simulator.requests().iter().filter(|request| request.method == "DELETE").count()
    }
}

fn accepts_anybody() -> Behaviours {
    Behaviours { accepts: Accepts::AnyCertificate, ..Behaviours::default() }
}

#[test]
fn an_admin_robot_that_is_refused_does_not_use_up_the_tries_of_the_token() {
    let mut play = provisioned(true, false, 365);
    play.behaves(Behaviours { registration: Registration::BadGateway502, ..Behaviours::default() });
    let ended = play.command(FORCED, None);
    assert!(matches!(ended, Ended::Failed(Error::Unsettled { .. })), "{ended:?}");
    assert_eq!(play.states(), [State::Active, State::Sending]);

    // Every try is used up, and the robot that is to register is gone.
    play.forgets(1);
    play.behaves(Behaviours::default());
    play.passes(Duration::minutes(11));
    play.ends_well(FORCED);
    assert_eq!(play.states(), [State::Previous, State::Active]);
}

#[test]
fn a_control_of_an_earlier_run_does_not_promote_what_was_never_registered() {
    let mut play = provisioned(false, true, 365);
    play.behaves(Behaviours { registration: Registration::BadGateway502, ..Behaviours::default() });
    play.command(FORCED, None);
    assert_eq!(play.states(), [State::Active, State::Sending]);

    play.behaves(accepts_anybody());
    play.passes(Duration::minutes(11));
    let ended = play.command(FORCED, None);
    assert!(matches!(ended, Ended::Failed(Error::NeedsPerson { .. })), "{ended:?}");
    assert_eq!(play.states(), [State::Active, State::Sending]);
    assert!(play.asks_for(AttentionCode::ControlAccepted));

    play.behaves(Behaviours::default());
    play.ends_well(FORCED);
    assert_eq!(play.states(), [State::Previous, State::Active]);
    assert!(!play.asks_for(AttentionCode::ControlAccepted));
}

#[test]
fn a_control_of_yesterday_does_not_retire_the_only_one_that_is_registered() {
    let mut play = provisioned(false, true, 365);
    play.ends_well(FORCED);
    play.ends_well(Command::Confirm);
    play.passes(Duration::days(7));
    // The control that is good for a day.
    play.ends_well(Command::Verify);

    play.forgets(2);
    play.behaves(accepts_anybody());
    play.passes(Duration::HOUR);
    let ended = play.command(SCHEDULED, None);
    assert!(
        matches!(&ended, Ended::Failed(Error::Proof(failure)) if failure.kind == verify::Kind::Control),
        "{ended:?}"
    );
    assert_eq!((play.states(), play.removals()), (vec![State::Previous, State::Active], 0));
    assert!(play.asks_for(AttentionCode::ControlAccepted));
}

#[test]
fn a_control_of_yesterday_does_not_return_to_one_that_is_gone() {
    let mut play = provisioned(false, true, 365);
    play.ends_well(FORCED);
    play.ends_well(Command::Verify);
    play.forgets(1);
    play.behaves(accepts_anybody());
    let ended = play.command(Command::RollBack, None);
    assert!(matches!(ended, Ended::Failed(Error::NotAccepted { .. })), "{ended:?}");
    assert_eq!(play.states(), [State::Previous, State::Active]);
}

#[test]
fn what_freezes_a_robot_after_its_rotation_in_the_same_run_is_kept_for_a_person() {
    let mut play = provisioned(false, false, 10);
    play.behaves(Behaviours { removal: Removal::HitsNewest, ..Behaviours::default() });
    play.passes(Duration::days(31));
    // Its predecessor has ended, so that it goes at once, and the appliance takes the new one.
    let ended = play.command(SCHEDULED, None);
    assert!(matches!(ended, Ended::Failed(Error::Refused { .. })), "{ended:?}");
    assert!(play.asks_for(AttentionCode::Frozen));
}

#[test]
fn an_appliance_that_removed_another_robot_is_asked_for_no_removal_any_more() {
    let mut play = provisioned(false, true, 10);
    play.passes(Duration::days(31));
    play.ends_well(SCHEDULED);
    play.ends_well(Command::Confirm);
    play.behaves(Behaviours { removal: Removal::HitsNewest, ..Behaviours::default() });
    // The first is to go and the second goes; the third is made and is not to go by the same removal.
    play.ends_well(FORCED);
    assert_eq!(play.removals(), 1);
    assert_eq!(play.states(), [State::RetireManual, State::Previous, State::Active]);
    assert_eq!((play.rows.leftovers.len(), play.asks_for(AttentionCode::RetireManual)), (1, true));
    let names: Vec<_> = play.plant.simulator.robots().into_iter().map(|robot| robot.name).collect();
    assert_eq!(names, ["reader", "reader-g3"]);
}

#[test]
fn an_appliance_that_says_so_and_removes_another_one_is_asked_once() {
    let mut play = provisioned(false, true, 10);
    play.ends_well(FORCED);
    play.passes(Duration::days(31));
    for command in [SCHEDULED, FORCED, Command::RollBack, Command::Confirm] {
        play.ends_well(command);
    }
    assert_eq!(play.states(), [State::Previous, State::Previous, State::Active, State::Previous]);
    play.behaves(Behaviours { removal: Removal::HitsNewest, ..Behaviours::default() });
    // Two have ended and are to go. What goes for the first is the newest, which is not in use.
    play.ends_well(SCHEDULED);
    assert_eq!(play.removals(), 1);
    assert_eq!(play.states(), [State::RetireManual, State::RetireManual, State::Active, State::Previous]);
    assert_eq!(play.rows.leftovers.len(), 2);
}

#[test]
fn a_leftover_that_was_never_let_in_is_not_gone_because_it_is_refused() {
    let mut play = provisioned(false, true, 365);
    play.behaves(Behaviours {
        registration: Registration::EchoesOtherCertificate,
        activation: Activation::AfterRefusals(9),
        listing: Listing::NotFound404,
        ..Behaviours::default()
    });
    let ended = play.command(FORCED, None);
    assert!(matches!(ended, Ended::Failed(Error::OtherCertificate { .. })), "{ended:?}");
    // It is registered, and let in later.
    let take_out = Command::TakeOut(LAST, false, Token::Right);
    play.ends_well(take_out);
    assert_eq!((play.states(), play.removals()), (vec![State::Active, State::RetireManual], 0));

    // The list shows whose it is.
    play.behaves(Behaviours::default());
    play.ends_well(take_out);
    assert_eq!((play.states(), play.removals()), (vec![State::Active, State::Retired], 1));
}

/// A person says so, in as many words, and what the clocks say is not asked.
#[test]
fn the_last_one_is_taken_out_also_while_the_clocks_differ() {
    let mut play = provisioned(false, true, 365);
    play.step(&Operation::Skew(Duration::days(-2)));
    play.ends_well(Command::TakeOut(0, true, Token::Right));
    assert_eq!(play.states(), [State::Retired]);
}
