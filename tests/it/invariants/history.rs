//! What was done and in which order, by the audit: I5, I12, I16.

use std::collections::BTreeMap;

use robocred::{
    credential::{Event, Record, State},
    inventory::audit::Entry,
};
use serde_json::Value;
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

/// What the audit has told so far.
#[derive(Default)]
pub struct Told {
    entries: usize,
    states: BTreeMap<u32, State>,
    highest: u32,
    /// The generation in use, and since when it is delivered.
    in_use: Option<(u32, Option<OffsetDateTime>)>,
}

/// What the entries of one run are judged by.
pub struct Story<'a> {
    pub overlap: Duration,
    /// A person wanted a credential out of use: its overlap need not have passed.
    pub by_hand: bool,
    /// The appliance's clock is more than a day from ours.
    pub clock_differs: bool,
    /// By how much our clock may have been set back between a decision and its entry.
    pub set_back: Duration,
    pub records: &'a [Record],
}

impl Story<'_> {
    /// Reads on where the last run's entries ended.
    pub fn continued(&mut self, mut told: Told, entries: &[Entry]) -> Told {
        assert!(entries.len() >= told.entries, "I16: entries of the audit are gone");
        for entry in &entries[told.entries..] {
            self.read(&mut told, entry);
        }
        told.entries = entries.len();
        for record in self.records {
            let last = told.states.get(&record.id.generation.number());
            assert_eq!(last, Some(&record.state), "I16: the audit of {}", record.id);
        }
        assert_eq!(told.states.len(), self.records.len(), "I16: {:?}, and {:#?}", told.states, self.records);
        told
    }

    fn read(&self, told: &mut Told, entry: &Entry) {
        let Some(generation) = entry.generation.and_then(|number| u32::try_from(number).ok()) else { return };
        match entry.action.as_str() {
            "planned" => {
                assert!(generation > told.highest, "I16: generation {generation} after {}", told.highest);
                told.highest = generation;
                told.states.insert(generation, State::Planned);
            }
            "delivered" | "delivery-confirmed" => {
                let in_use = told.in_use.as_mut().filter(|(in_use, _)| *in_use == generation);
                in_use.expect("what is delivered is in use").1 = Some(at(entry));
            }
            "delivery-open" => told.in_use = told.in_use.map(|(in_use, _)| (in_use, None)),
            action => {
                let Ok(event) = action.parse::<Event>() else { return };
                self.change(told, entry, generation, event);
            }
        }
    }

    /// I16: only what the table has, each from where the one before ended.
    fn change(&self, told: &mut Told, entry: &Entry, generation: u32, event: Event) {
        let detail: Value = serde_json::from_str(&entry.detail).unwrap();
        let state = |end: &str| detail[end].as_str().unwrap().parse::<State>().unwrap();
        let (from, to) = (state("from"), state("to"));
        assert_eq!(told.states.get(&generation), Some(&from), "I16: {entry:#?}");
        assert_eq!(from.after(event), Ok(to), "I16: {entry:#?}");
        match event {
            Event::Promoted | Event::Imported | Event::RolledBack => told.in_use = Some((generation, None)),
            Event::RetireBegun => self.retirement(told, entry, generation),
            _ => {}
        }
        told.states.insert(generation, to);
    }

    /// I5: its successor is in use, delivered, and the overlap has passed. I12:
    /// by clocks that agree.
    fn retirement(&self, told: &Told, entry: &Entry, generation: u32) {
        assert!(!self.clock_differs, "I12: {entry:#?}");
        let (in_use, delivered) = told.in_use.expect("something was in use");
        assert_ne!(in_use, generation, "I5: what is in use is retired: {entry:#?}");
        assert_eq!(told.states.get(&in_use), Some(&State::Active), "I5: {entry:#?}");
        if !self.by_hand {
            let delivered = delivered.expect("I5: nothing is retired before its successor is delivered");
            // Its own end ends the overlap too.
            let of = |record: &&Record| record.id.generation.number() == generation;
            let certificate = self.records.iter().find(of).and_then(|record| record.certificate.as_ref());
            let end = certificate.map_or(delivered + self.overlap, |certificate| certificate.validity().not_after);
            let over = (delivered + self.overlap).min(end);
            assert!(
                at(entry) + self.set_back >= over,
                "I5: within its overlap, delivered {delivered}, over {over}: {entry:#?}"
            );
        }
    }
}

/// When an entry was written.
pub fn at(entry: &Entry) -> OffsetDateTime {
    OffsetDateTime::parse(&entry.at, &Rfc3339).unwrap()
}
