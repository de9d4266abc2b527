//! The reference: what the audit record says happened, played again entry by
//! entry by rules written down here a second time. It ends in the states that
//! the rows must have.

use std::collections::BTreeMap;

use crate::invariants::history::at;
use robocred::{
    credential::{
        Event, Record, State,
        plan::{ATTEMPT_REST, MOST_TRIES},
    },
    inventory::audit::Entry,
};
use serde_json::Value;
use time::{Duration, OffsetDateTime};

use super::operations::Command;

/// One generation.
#[derive(Debug)]
struct Known {
    state: State,
    tries: u32,
    sent_at: Option<OffsetDateTime>,
    retire_after: Option<OffsetDateTime>,
}

/// What a run is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub overlap: Duration,
    /// The appliance's clock is ahead of ours by this.
    pub skew: Duration,
}

/// What was counted over all histories.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub promoted: usize,
    pub rolled_back: usize,
    pub retired: usize,
    pub given_up: usize,
    pub posts: usize,
}

/// The end of a generation's certificate.
fn end_of(records: &[Record], number: u32) -> Option<OffsetDateTime> {
    let record = records.iter().find(|record| record.id.generation.number() == number)?;
    Some(record.certificate.as_ref()?.validity().not_after)
}

#[derive(Debug, Default)]
pub struct Model {
    read: usize,
    generations: BTreeMap<u32, Known>,
    /// The credential in use was delivered since it came into use.
    delivered: bool,
    pub counts: Counts,
}

impl Model {
    /// Plays the entries that are new since the last call, of a run of `command`, and compares with the rows.
    pub fn follow(&mut self, command: Command, entries: &[Entry], records: &[Record], rules: Rules) {
        for entry in &entries[self.read..] {
            self.play(command, entry, records, rules);
        }
        self.read = entries.len();
        assert_eq!(records.len(), self.generations.len(), "I16: rows without an entry");
        for record in records {
            let known = &self.generations[&record.id.generation.number()];
            let (tries, sent_at) = record.attempt.as_ref().map_or((0, None), |it| (it.tries, Some(it.since)));
            assert_eq!((record.state, tries), (known.state, known.tries), "the row of {} and its entries", record.id);
            assert_eq!(record.retire_after, known.retire_after, "the end of the overlap of {}", record.id);
            assert!(tries == 0 || sent_at == known.sent_at, "the last POST of {}", record.id);
        }
        let count = |is: fn(State) -> bool| records.iter().filter(|record| is(record.state)).count();
        assert!(count(|state| state == State::Active) <= 1, "two are in use: {records:#?}");
        assert!(count(State::is_pending) <= 1, "two are on their way: {records:#?}");
    }

    fn play(&mut self, command: Command, entry: &Entry, records: &[Record], rules: Rules) {
        let Some(number) = entry.generation.and_then(|number| u32::try_from(number).ok()) else { return };
        match entry.action.as_str() {
            "planned" => {
                let highest = self.generations.keys().next_back().copied().unwrap_or(0);
                assert_eq!(number, highest + 1, "I16: generations do not grow one by one");
                let known = Known { state: State::Planned, tries: 0, sent_at: None, retire_after: None };
                self.generations.insert(number, known);
            }
            "delivered" | "delivery-confirmed" => {
                self.delivered = true;
                // Not before the promotion: a clock that was set back does not shorten the overlap.
                let delivered = records.iter().find(|record| record.id.generation.number() == number);
                let promoted = delivered.and_then(|record| record.promoted_at);
                let from = promoted.map_or(at(entry), |promoted| promoted.max(at(entry)));
                for (number, known) in &mut self.generations {
                    if known.state == State::Previous && known.retire_after.is_none() {
                        let after = from + rules.overlap;
                        known.retire_after = Some(end_of(records, *number).map_or(after, |end| end.min(after)));
                    }
                }
            }
            "delivery-by-hand" | "delivery-open" => self.delivered = false,
            word => {
                if let Ok(event) = word.parse::<Event>() {
                    self.change(command, entry, event, number, rules);
                }
            }
        }
    }

    fn change(&mut self, command: Command, entry: &Entry, event: Event, number: u32, rules: Rules) {
        let detail: Value = serde_json::from_str(&entry.detail).unwrap();
        let state = |key: &str| detail[key].as_str().unwrap().parse::<State>().unwrap();
        let (from, to) = (state("from"), state("to"));
        let delivered = self.delivered;
        let has_successor =
            self.generations.iter().any(|(other, known)| *other != number && known.state == State::Active);
        let known = self.generations.get_mut(&number).unwrap_or_else(|| panic!("I16: {entry:?} of nothing planned"));
        assert_eq!(from, known.state, "{entry:?}");
        assert_eq!(from.after(event), Ok(to), "{entry:?} is not in the table");
        match event {
            Event::KeyStored => assert_eq!(known.tries, 0, "a new key although the old one may be registered"),
            Event::SendBegun => {
                // A clock that was set back by more than the rest has ended it: what it said before was wrong.
                let rested = known.sent_at.is_none_or(|sent_at| (at(entry) - sent_at).abs() >= ATTEMPT_REST);
                assert!(known.tries < MOST_TRIES || rested, "I7: {entry:?} after {} tries", known.tries);
                known.tries += 1;
                known.sent_at = Some(at(entry));
                self.counts.posts += 1;
            }
            Event::NotDone => known.tries = known.tries.saturating_sub(1),
            Event::Superseded | Event::Spared => known.retire_after = None,
            Event::Promoted | Event::Imported | Event::RolledBack => {
                known.retire_after = None;
                self.delivered = false;
                let counted =
                    if event == Event::RolledBack { &mut self.counts.rolled_back } else { &mut self.counts.promoted };
                *counted += 1;
            }
            Event::RetireBegun => {
                // The last one goes because a person says so in as many words; no clock is asked for that, and there
                // is no successor to ask the appliance's with.
                let by_word = matches!(command, Command::TakeOut(_, true, _)) && !has_successor;
                let agree = rules.skew.abs() <= Duration::DAY;
                assert!(agree || by_word, "I12: {entry:?} while the clocks differ by {}", rules.skew);
                if let Command::Rotate(..) = command {
                    assert!(delivered, "I5: {entry:?} before its successor was delivered");
                    let over = known.retire_after.is_some_and(|after| after <= at(entry));
                    assert!(over, "I5: {entry:?} before {:?}", known.retire_after);
                } else {
                    assert!(matches!(command, Command::TakeOut(..)), "I5: {entry:?} by {command:?}");
                }
            }
            Event::RetireDone | Event::RetireImpossible => self.counts.retired += 1,
            Event::GivenUp => self.counts.given_up += 1,
            Event::Accepted | Event::Removed | Event::LeftBehind => {}
        }
        known.state = to;
    }
}
