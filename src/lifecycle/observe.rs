//! What the plan looks at, gathered from inventory, store and disk.

use time::OffsetDateTime;

use super::{Drive, Error, PATIENCE, Run};
use crate::{
    credential::{
        Delivery, Generation, Record, RegisteredName, State,
        plan::{self, Aim, Need, Observed, Probes, Standing, Step},
    },
    export,
    inventory::{self, AttentionCode, Change, Inventory, RobotRow, SiteLock},
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

/// What is wanted of one robot.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// Which robot.
    pub id: &'a RobotId,
    /// What the run is for.
    pub aim: Aim,
    /// The robot as configured; without it nothing can be unfit or due.
    pub robot: Option<&'a Robot>,
    /// Where its files go.
    pub export: Option<&'a ExportTarget>,
}

impl Wish<'_> {
    /// What stands by the inventory's rows alone, as if every key and every file were where it was put.
    /// `read` says whether something was read to its end with the active generation.
    #[must_use]
    pub fn stands(&self, records: &[Record], row: Option<&RobotRow>, read: bool, now: OffsetDateTime) -> Observed {
        let base_name = row.map_or(&self.id.robot, |row| &row.base_name);
        let standing = |record: &Record| {
            let gone = matches!(record.state, State::Retired | State::RetireManual | State::Abandoned);
            let fits = !record.state.is_pending() || self.robot.is_none_or(|robot| fits(record, robot, base_name, now));
            Standing::of(record, record.certificate.is_some() && !gone, fits)
        };
        let in_use = records.iter().find(|record| record.state == State::Active);
        let certificate = in_use.and_then(|record| record.certificate.as_ref());
        let window = self
            .robot
            .zip(certificate)
            .map(|(robot, certificate)| robot.renewal.window(certificate.validity(), certificate.fingerprint()));
        let last_promotion = row.and_then(|row| row.last_promotion);
        let to_be_read = self.robot.is_some_and(|robot| robot.ingest.is_some()) && in_use.is_some();
        Observed {
            standings: records.iter().map(standing).collect(),
            highest: row.and_then(|row| Generation::new(row.last_generation)),
            due_at: window.map(|window| window.due_at),
            past_floor: window.is_none_or(|window| window.may_reissue(last_promotion, now)),
            ingested: read || !to_be_read,
            ..self.nothing_yet(now)
        }
    }

    /// What stands where nothing is held yet.
    fn nothing_yet(&self, now: OffsetDateTime) -> Observed {
        Observed {
            now,
            theirs: None,
            aim: self.aim,
            standings: Vec::new(),
            highest: None,
            hindrance: None,
            due_at: None,
            past_floor: true,
            ingested: true,
            registrar: true,
            renewed: false,
            spent: Vec::new(),
            probes: Probes::default(),
            proof_refused: false,
            patience_ends: now + PATIENCE,
        }
    }
}

/// What stands of a robot, before what this run knows. Reads inventory, store
/// and export target; opens no connection, changes nothing.
pub(super) async fn look(
    inventory: &Inventory,
    secrets: &Secrets,
    wish: &Wish<'_>,
    now: OffsetDateTime,
) -> Result<Observed, Error> {
    let records = inventory.records(wish.id).await?;
    let row = inventory.robot(wish.id).await?;
    let read = match active(&records) {
        Some(record) => inventory.was_read_with(&record.id).await?,
        None => false,
    };
    let mut observed = wish.stands(&records, row.as_ref(), read, now);
    for (standing, record) in observed.standings.iter_mut().zip(&records) {
        let key = if standing.key_present { usable_key(secrets, record).await? } else { None };
        standing.key_present = key.is_some();
        if record.state == State::Active
            && let (Some(key), Some(certificate), Some(target)) = (&key, &record.certificate, wish.export)
            && !export::holds(record, key, certificate, target)
        {
            standing.delivery = Delivery::Open;
        }
    }
    Ok(observed)
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
            && !robot.renewal.window(certificate.validity(), certificate.fingerprint()).is_due(now)
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
    wish: &Wish<'_>,
    now: OffsetDateTime,
) -> Result<Vec<Step>, Error> {
    let observed = match holdings {
        Some((inventory, secrets)) => look(inventory, secrets, wish, now).await?,
        None => wish.nothing_yet(now),
    };
    Ok(plan::foresee(&observed))
}

impl Drive<'_> {
    /// What stands now, with what this run knows.
    pub(super) async fn look(&self, run: &Run<'_>) -> Result<Observed, Error> {
        let now = self.session.now();
        // What was delivered in this run is right; asking again could only loop.
        let export = self.robot.export.as_ref().filter(|_| run.delivered.is_empty());
        let wish = Wish { id: &self.id, aim: self.aim, robot: Some(self.robot), export };
        let observed = look(self.session.inventory(), self.session.secrets(), &wish, now).await?;
        Ok(Observed {
            registrar: run.registrars.any(),
            renewed: run.renewed,
            spent: run.spent.clone(),
            probes: run.probes,
            proof_refused: run.proof_refused,
            theirs: run.skew.map(|skew| now + skew),
            patience_ends: run.patience_ends(now),
            hindrance: run.frozen.then_some(Need::Frozen),
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

/// Keeps or lifts the attentions that a verification can judge: a key that
/// cannot be had, clocks that differ, an appliance that shows another key,
/// accepts any certificate, or refuses a credential before its end.
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
        (Name::Key, Ended::Fail, AttentionCode::StoreUnavailable),
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
                let hint = match code {
                    AttentionCode::Frozen => Some(way_back(inventory, id).await?),
                    _ => check.hint.clone(),
                };
                inventory.raise(lock, id, code, &check.detail, hint.as_deref(), now).await?;
            }
            Some(check) if matches!(check.ended, Ended::Pass | Ended::Warn) => {
                inventory.clear(lock, id, code, now).await?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// What helps where the credential in use is refused before its end and none works.
pub(super) fn way_on(id: &RobotId) -> String {
    format!("look at the appliance: was it restored or reset? `robocred rotate {id} --force` makes a new credential")
}

/// What helps where the credential in use is refused before its end: the way
/// back, where an earlier one may still be accepted.
async fn way_back(inventory: &Inventory, id: &RobotId) -> Result<String, inventory::Error> {
    let records = inventory.records(id).await?;
    let previous = super::returns_to(id, &records).ok().flatten();
    Ok(match previous.map(|record| record.id.generation) {
        Some(generation) => format!(
            "`robocred rollback {id}` returns to generation {generation} if the appliance still accepts it; \
             `robocred rotate {id} --force` makes a new credential"
        ),
        None => way_on(id),
    })
}
