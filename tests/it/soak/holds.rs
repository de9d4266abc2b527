//! The invariants of a soak: asked while no process of it runs and its clock stands still.

use std::collections::{BTreeMap, BTreeSet};

use robocred::{
    credential::{Record, SecretRef, State, plan::MOST_TRIES},
    inventory::audit::{self, Entry},
    site::RobotId,
};

use super::{
    RATE, agree,
    plant::{OVERLAP, Plant, SITES},
};
use crate::{
    invariants::{appliance, files, history, opens},
    world::TOKEN,
};

/// What was told so far.
#[derive(Default)]
pub struct Held {
    told: BTreeMap<RobotId, history::Told>,
    promotions: BTreeMap<RobotId, usize>,
    retirements: usize,
    leftovers: usize,
}

impl Held {
    pub fn check(&mut self, plant: &Plant) {
        plant.run_at(0.0);
        plant.calm();
        let world = &plant.world;
        let status = plant.status();
        agree::nobody_has_expired(&status);
        let inventory = world.inventory().unwrap();
        let (records, leftovers, entries, store_id) = world.runtime.block_on(async {
            let records = inventory.all_records().await.unwrap();
            let leftovers = inventory.leftovers().await.unwrap();
            (records, leftovers, inventory.audit().await.unwrap(), inventory.store_id().to_owned())
        });
        audit::verify(&entries).unwrap();

        self.promotions.clear();
        for (robot, _) in plant.robots() {
            let of: Vec<Record> = records.iter().filter(|record| record.id.robot == robot).cloned().collect();
            let is = |entry: &&Entry| {
                entry.site.as_deref() == Some(robot.site.as_str())
                    && entry.robot.as_deref() == Some(robot.robot.as_str())
            };
            let entries: Vec<Entry> = entries.iter().filter(is).cloned().collect();
            // I5, I12, I16.
            let told = self.told.remove(&robot).unwrap_or_default();
            let mut story = history::Story {
                overlap: OVERLAP,
                by_hand: false,
                clock_differs: false,
                set_back: super::MOST_JUMP,
                records: &of,
            };
            self.told.insert(robot.clone(), story.continued(told, &entries));
            let promoted = entries.iter().filter(|entry| entry.action == "promoted").count();
            self.promotions.insert(robot.clone(), promoted);
            works(plant, &robot, &of);
            let export = plant.export(&robot.to_string());
            files::export_is_whole_or_absent(&export);
        }
        self.retirements = records.iter().filter(|record| record.state == State::Retired).count();
        self.leftovers = leftovers.len();

        // I2: what may be on an appliance is known; what is left there is listed.
        for (at, site) in SITES.into_iter().enumerate() {
            let of = |record: &&Record| record.id.robot.site.as_str() == site;
            let records: Vec<Record> = records.iter().filter(of).cloned().collect();
            let status = status["robots"].as_array().unwrap().iter().filter(|robot| robot["site"] == site);
            let robots = plant.simulator(at).robots();
            appliance::robots_are_known(&robots, &status.collect::<Vec<_>>(), &records, &[].into());
            // I7, I8.
            for request in plant.simulator(at).requests() {
                assert!(!request.bearer || request.path.starts_with("/v1/robots"), "I8: {request:?}");
            }
        }
        for record in &records {
            let tries = record.attempt.as_ref().map_or(0, |attempt| attempt.tries);
            assert!(tries <= MOST_TRIES, "I7: {} was tried {tries} times", record.id);
            let left = leftovers.iter().any(|leftover| leftover.id == record.id);
            // A generation whose giving up was cut off is listed by the next run.
            let given_up = record.state == State::Abandoned && record.attempt.is_some();
            assert!(!left || given_up || record.state == State::RetireManual, "I2: leftovers and {}", record.id);
            assert!(left || record.state != State::RetireManual, "I2: nobody is told of {}", record.id);
        }
        // I3, I4, I5.
        let tokens = SITES.map(|site| SecretRef::token(&store_id, &site.parse().unwrap()));
        files::only_known_secrets(world, records.iter().map(|record| &record.secret).chain(&tokens));
        files::no_key_outside_store_and_export(world);
        world.assert_nowhere(TOKEN.as_bytes());
        // I1, and that a person who asks is told so.
        world.run(&["verify"]).expect(0);
        plant.run_at(RATE);
    }

    pub fn promotions(&self) -> usize {
        self.promotions.values().sum()
    }

    pub fn retirements(&self) -> String {
        format!("{} (and {} left to a person)", self.retirements, self.leftovers)
    }

    /// A robot that is not rotated before its end does not live on.
    pub fn rotated_often_enough(&self, plant: &Plant, days: i64) {
        for (robot, lifetime) in plant.robots() {
            let least = usize::try_from(days / i64::from(lifetime)).unwrap();
            let promoted = self.promotions[&robot];
            assert!(promoted > least, "{robot} was promoted {promoted} times in {days} days of {lifetime} each");
        }
    }
}

/// I1 and I4: what is in use is on the appliance, and its key is in the store; so is the key of all that may be there.
fn works(plant: &Plant, robot: &RobotId, records: &[Record]) {
    let there: BTreeSet<_> = plant.simulator_of(robot).robots().iter().map(|robot| robot.fingerprint).collect();
    let mut in_use = 0;
    for record in records {
        let found = opens(&plant.world, record);
        match record.state {
            State::Active => {
                let fingerprint = record.certificate.as_ref().unwrap().fingerprint();
                assert!(there.contains(&fingerprint), "I1: {} is not on its appliance", record.id);
                in_use += 1;
                assert_eq!(found, Some(true), "I4: the key of {}", record.id);
            }
            State::Sending | State::Registered | State::Previous => {
                assert_eq!(found, Some(true), "I4: the key of {} ({})", record.id, record.state);
            }
            State::Retired => assert_eq!(found, None, "I5: {} is retired, and its key is there", record.id),
            _ => {}
        }
    }
    assert_eq!(in_use, 1, "I1: {robot} has {in_use} credentials in use: {records:#?}");
    let pending = records.iter().filter(|record| record.state.is_pending()).count();
    assert!(pending <= 1, "I16: {robot} has {pending} on their way");
}
