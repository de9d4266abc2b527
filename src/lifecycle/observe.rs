//! What the plan looks at, gathered from inventory, store and disk.

use time::OffsetDateTime;

use super::{Drive, Error, PATIENCE, Run};
use crate::{
    credential::{
        Delivery, Generation, Record, RegisteredName, State,
        plan::{self, Observed, Probes, Standing, Step},
    },
    export,
    inventory::{self, AttentionCode, Change, Inventory, SiteLock},
    secrets::{self, Secrets},
    session,
    site::{ExportTarget, Robot, RobotId, RobotName},
    verify::{Ended, Kind, Name, Report},
    x509::{self, PrivateKey, Profile},
};

/// The active generation, if there is one.
pub(super) fn active(records: &[Record]) -> Option<Record> {
    records.iter().find(|record| record.state == State::Active).cloned()
}

/// What stands of a robot, before what this run knows. Reads inventory, store
/// and export target; opens no connection, changes nothing. `robot` is what is
/// wanted; without it nothing can be unfit.
pub(super) async fn look(
    inventory: &Inventory,
    secrets: &Secrets,
    id: &RobotId,
    robot: Option<&Robot>,
    export: Option<&ExportTarget>,
    now: OffsetDateTime,
) -> Result<Observed, Error> {
    let records = inventory.records(id).await?;
    let base_name = inventory.robot(id).await?.map_or_else(|| id.robot.clone(), |row| row.base_name);
    let mut standings = Vec::with_capacity(records.len());
    for record in &records {
        let key = match record.state {
            State::Planned | State::Retired | State::RetireManual | State::Abandoned => None,
            _ => usable_key(secrets, record).await?,
        };
        let fits = robot.is_none_or(|robot| fits(record, robot, &base_name, now));
        let mut standing = Standing::of(record, key.is_some(), fits);
        if record.state == State::Active
            && let (Some(key), Some(certificate), Some(target)) = (&key, &record.certificate, export)
            && !export::holds(record, key, certificate, target)
        {
            standing.delivery = Delivery::Open;
        }
        standings.push(standing);
    }
    Ok(Observed {
        now,
        highest: records.iter().map(|record| record.id.generation).max(),
        standings,
        hindrance: None,
        registrar: true,
        probes: Probes::default(),
        proof_refused: false,
        patience_ends: now + PATIENCE,
    })
}

/// The key of a generation, if it is there and belongs to the certificate. A
/// damaged or foreign one is as good as none; a store that cannot be used is an error.
async fn usable_key(secrets: &Secrets, record: &Record) -> Result<Option<PrivateKey>, Error> {
    let key = match session::key_in(secrets, &record.secret).await {
        Ok(key) => key,
        Err(session::Error::Pair { .. } | session::Error::Store(secrets::Error::Damaged { .. })) => None,
        Err(error) => return Err(error.into()),
    };
    let certificate = record.certificate.as_ref();
    Ok(key.filter(|key| certificate.is_some_and(|certificate| x509::key_belongs_to(key, certificate).is_ok())))
}

/// Whether a generation is what a robot is wanted to have next.
fn fits(record: &Record, robot: &Robot, base_name: &RobotName, now: OffsetDateTime) -> bool {
    let name = RegisteredName::of(base_name, record.id.generation);
    let made = record.certificate.as_ref().is_none_or(|certificate| {
        certificate.common_name() == Some(name.as_str())
            && certificate.validity().days() == i64::from(robot.days)
            && certificate.validity().contains(now)
            && certificate.facts().is_ca == (robot.profile == Profile::Openssl)
    });
    let wanted = (&name, robot.role, robot.key_algorithm, robot.profile);
    made && wanted == (&record.registered_name, record.role, record.key_algorithm, record.profile)
}

/// The steps a run would take for a robot from here if each succeeded; `None`
/// for an inventory or a store that does not exist yet. Changes nothing, opens
/// no connection.
///
/// # Errors
/// Those of inventory and store.
pub async fn foresee(
    holdings: Option<(&Inventory, &Secrets)>,
    id: &RobotId,
    robot: Option<&Robot>,
    export: Option<&ExportTarget>,
    now: OffsetDateTime,
) -> Result<Vec<Step>, Error> {
    let observed = match holdings {
        Some((inventory, secrets)) => look(inventory, secrets, id, robot, export, now).await?,
        None => Observed {
            now,
            standings: Vec::new(),
            highest: None,
            hindrance: None,
            registrar: true,
            probes: Probes::default(),
            proof_refused: false,
            patience_ends: now + PATIENCE,
        },
    };
    Ok(plan::foresee(&observed))
}

impl Drive<'_> {
    /// What stands now, with what this run knows.
    pub(super) async fn look(&self, run: &Run) -> Result<Observed, Error> {
        let now = self.session.now();
        // What was delivered in this run is right; asking again could only loop.
        let export = self.robot.export.as_ref().filter(|_| run.delivered.is_empty());
        let observed =
            look(self.session.inventory(), self.session.secrets(), &self.id, Some(self.robot), export, now).await?;
        Ok(Observed {
            registrar: self.token.is_some(),
            probes: run.probes,
            proof_refused: run.proof_refused,
            patience_ends: run.in_doubt_since.unwrap_or(now) + PATIENCE,
            ..observed
        })
    }

    pub(super) async fn records(&self) -> Result<Vec<Record>, Error> {
        Ok(self.session.inventory().records(&self.id).await?)
    }

    pub(super) async fn record(&self, generation: Generation) -> Result<Record, Error> {
        let records = self.records().await?;
        records.into_iter().find(|record| record.id.generation == generation).ok_or(Error::NothingActive)
    }

    pub(super) async fn advance(&self, record: &Record, change: Change) -> Result<Record, Error> {
        Ok(self.session.inventory().advance(self.lock, &record.id, change, self.session.now()).await?)
    }

    pub(super) async fn raise(&self, code: AttentionCode, message: &str, hint: Option<&str>) -> Result<(), Error> {
        let now = self.session.now();
        Ok(self.session.inventory().raise(self.lock, &self.id, code, message, hint, now).await?)
    }

    pub(super) async fn clear(&self, code: AttentionCode) -> Result<(), Error> {
        Ok(self.session.inventory().clear(self.lock, &self.id, code, self.session.now()).await?)
    }

    pub(super) async fn note(&self, report: &Report) -> Result<(), Error> {
        let now = self.session.now();
        Ok(note(self.session.inventory(), self.lock, &self.id, report, now).await?)
    }
}

/// Keeps or lifts the attentions that a verification can judge: clocks that
/// differ, an appliance that shows another key, accepts any certificate, or
/// refuses a credential before its end.
///
/// # Errors
/// Those of the inventory.
pub async fn note(
    inventory: &Inventory,
    lock: &SiteLock,
    id: &RobotId,
    report: &Report,
    now: OffsetDateTime,
) -> Result<(), inventory::Error> {
    let rows = [
        (Name::Clock, Ended::Warn, AttentionCode::ClockSkew),
        (Name::Control, Ended::Fail, AttentionCode::ControlAccepted),
        (Name::Trust, Ended::Fail, AttentionCode::TrustChanged),
        (Name::Read, Ended::Fail, AttentionCode::Frozen),
    ];
    for (name, bad, code) in rows {
        match report.checks.iter().find(|check| check.name == name.as_str()) {
            // A line that is cut says nothing about the credential; a refusal does.
            Some(_) if code == AttentionCode::Frozen && !matches!(report.failure, None | Some(Kind::Refused)) => {}
            Some(check) if check.ended == bad => {
                inventory.raise(lock, id, code, &check.detail, check.hint.as_deref(), now).await?;
            }
            Some(check) if matches!(check.ended, Ended::Pass | Ended::Warn) => {
                inventory.clear(lock, id, code, now).await?;
            }
            _ => {}
        }
    }
    Ok(())
}
