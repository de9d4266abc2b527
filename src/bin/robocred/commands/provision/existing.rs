//! What stands before a run, and the flags that contradict it.

use std::fmt::Display;

use robocred::{
    credential::{Record, State},
    inventory::{Inventory, RobotRow},
    site::{RobotId, RobotName},
};

use super::{super::drive::in_use, ProvisionArgs};
use crate::error::{CommandError, Kind};

/// What the inventory holds of the robot before this run.
#[derive(Default)]
pub(super) struct Existing {
    pub(super) row: Option<RobotRow>,
    /// The generation in use or on its way.
    pub(super) record: Option<Record>,
}

impl Existing {
    pub(super) async fn read(inventory: &Inventory, id: &RobotId) -> Result<Self, CommandError> {
        let records = inventory.records(id).await?;
        let record = in_use(&records).cloned();
        Ok(Self { row: inventory.robot(id).await?, record })
    }

    /// A flag that contradicts what exists is refused with both sides shown.
    pub(super) fn refuse_contradictions(
        &self,
        args: &ProvisionArgs,
        base_name: &RobotName,
    ) -> Result<(), CommandError> {
        let differs = |what: &str, there: &dyn Display, given: &dyn Display| {
            CommandError::new(Kind::Config, format!("{} has the {what} {there}, not {given}", args.robot))
        };
        // What the appliance can have heard nothing of is simply made anew.
        let settled = |record: &&Record| record.state == State::Active || record.attempt.is_some();
        let Some(record) = self.record.as_ref().filter(settled) else { return Ok(()) };
        if let (Some(row), Some(_)) = (&self.row, &args.wanted.registered_name)
            && &row.base_name != base_name
        {
            return Err(differs("registered name", &row.base_name, base_name)
                .hint("leave --registered-name away: it holds for the first generation only"));
        }
        if let Some(role) = args.wanted.role.filter(|role| *role != record.role) {
            return Err(differs("role", &record.role, &role)
                .hint("leave --role away, or provision a robot of another name with the other role"));
        }
        let rotate = format!(
            "leave the flag away, or change it for the next credential and run `robocred rotate {} --force`",
            args.robot
        );
        if let Some(algorithm) = args.wanted.key_type.filter(|algorithm| *algorithm != record.key_algorithm) {
            return Err(differs("key type", &record.key_algorithm, &algorithm).hint(rotate));
        }
        if let Some(profile) = args.wanted.profile.filter(|profile| *profile != record.profile) {
            return Err(differs("profile", &record.profile.as_str(), &profile.as_str()).hint(rotate));
        }
        let there = record.certificate.as_ref().map(|certificate| certificate.validity().days());
        if let (Some(there), Some(days)) = (there, args.wanted.days)
            && there != i64::from(days)
        {
            return Err(differs("lifetime of", &format!("{there} days"), &format!("{days} days")).hint(rotate));
        }
        Ok(())
    }
}
