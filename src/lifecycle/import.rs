//! Taking over a pair that was made elsewhere: by hand, or by this tool before
//! its state was lost.
//!
//! Owns what such a pair must be, under which name and number it is kept, and
//! its way to the active generation. Leaves out where its files are and how
//! they are read. Nothing on the appliance is changed, and nothing counts as
//! ours before the appliance accepted the pair as it rests in the store. On
//! failure the key is taken out of the store again; a pair that the appliance
//! refused is abandoned, and anything else leaves a `planned` row, from which
//! the same call carries on.

mod error;

use time::OffsetDateTime;

use crate::{
    credential::{Generation, Record, RegisteredName, State},
    inventory::{Change, Inventory, NewGeneration, NewRobot, Origin, SiteLock},
    secrets::{self, Secrets},
    session::{self, Session},
    site::{RobotId, RobotName, Role},
    verify::{self, ControlUse},
    x509::{self, Certificate, PrivateKey, Profile},
};
pub use error::Error;

/// A private key and the certificate that belongs to it, as an appliance takes them.
#[derive(Debug)]
pub struct Pair {
    key: PrivateKey,
    certificate: Certificate,
}

impl Pair {
    /// Reads the pair from PEM text; each text may hold the other half too, as
    /// `combined.pem` does. Touches neither disk nor network.
    ///
    /// # Errors
    /// [`Error::Key`], [`Error::Certificate`]; [`Error::NotSelfSigned`];
    /// [`Error::NotYetValid`], [`Error::Expired`] by the time `now`.
    pub fn from_pem(key: &[u8], certificate: &[u8], now: OffsetDateTime) -> Result<Self, Error> {
        let key = x509::private_key_from_pem(key).map_err(Error::Key)?;
        let certificate = x509::certificate_of_key(certificate, &key).map_err(Error::Certificate)?;
        let facts = certificate.facts();
        if !facts.self_issued {
            return Err(Error::NotSelfSigned { subject: facts.subject.clone(), issuer: facts.issuer.clone() });
        }
        let validity = certificate.validity();
        if now < validity.not_before {
            return Err(Error::NotYetValid { validity, now });
        }
        if !validity.contains(now) {
            return Err(Error::Expired { validity, now });
        }
        Ok(Self { key, certificate })
    }

    /// The certificate.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }
}

/// What is to be taken over.
#[derive(Debug)]
pub struct Import {
    /// The robot it becomes, or was.
    pub robot: RobotId,
    /// The role it is registered with.
    pub role: Role,
    /// The name it is registered with, where a person says so.
    pub registered_name: Option<RegisteredName>,
    /// The pair.
    pub pair: Pair,
}

/// What the inventory holds of a robot that a pair is to be imported for.
#[derive(Debug)]
pub enum Standing {
    /// Nothing is in use: the pair is to be taken over.
    Absent,
    /// This pair is in use, and its key is not where it should rest.
    KeyLost(Box<Record>),
    /// This pair is in use.
    Kept(Box<Record>),
}

/// What stands of the robot. A pair whose removal has begun may be taken over:
/// it is not removed then. Reads inventory and store; opens no connection.
///
/// # Errors
/// [`Error::OtherActive`], [`Error::OtherRobot`], [`Error::UnderWay`]; those of inventory and store.
pub async fn standing(
    inventory: &Inventory,
    secrets: &Secrets,
    robot: &RobotId,
    certificate: &Certificate,
) -> Result<Standing, Error> {
    let given = certificate.fingerprint();
    let fingerprint = |record: &Record| record.certificate.as_ref().map(Certificate::fingerprint);
    let mut standing = Standing::Absent;
    for record in inventory.all_records().await? {
        let ended = matches!(record.state, State::Retiring | State::Retired | State::RetireManual | State::Abandoned);
        if &record.id.robot != robot {
            if record.id.robot.site == robot.site && fingerprint(&record) == Some(given) && !ended {
                return Err(Error::OtherRobot { other: record.id, fingerprint: given });
            }
        } else if record.state == State::Active {
            standing = match fingerprint(&record) {
                Some(there) if there != given => {
                    return Err(Error::OtherActive { active: record.id, there, given });
                }
                _ if has_key(secrets, &record, certificate).await? => Standing::Kept(Box::new(record)),
                _ => Standing::KeyLost(Box::new(record)),
            };
        } else if record.state.is_pending() && record.attempt.is_some() {
            return Err(Error::UnderWay { pending: record.id, state: record.state });
        }
    }
    Ok(standing)
}

/// Whether the key of a generation rests where it should. A damaged or foreign one is as good as none.
async fn has_key(secrets: &Secrets, record: &Record, certificate: &Certificate) -> Result<bool, Error> {
    match session::key_in(secrets, &record.secret).await {
        Ok(key) => Ok(key.is_some_and(|key| x509::key_belongs_to(&key, certificate).is_ok())),
        Err(session::Error::Pair { .. } | session::Error::Store(secrets::Error::Damaged { .. })) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Takes the pair over: row, key, proof, and then the one change that makes it
/// the credential in use. A pair that is in use already is left alone, and
/// given its key back where that was lost. Touches store, network and inventory.
///
/// # Errors
/// Those of [`standing`]; [`Error::Unproven`], after which the key of a pair
/// that was not in use is not in the store; those of site, inventory and store.
pub async fn import(session: &Session<'_>, lock: &SiteLock, wanted: &Import) -> Result<Record, Error> {
    let (inventory, certificate) = (session.inventory(), &wanted.pair.certificate);
    let record = match standing(inventory, session.secrets(), &wanted.robot, certificate).await? {
        Standing::Kept(record) => {
            super::retire::hand_over(inventory, lock, &record, session.now()).await?;
            return Ok(*record);
        }
        Standing::KeyLost(record) => *record,
        Standing::Absent => Record { certificate: Some(certificate.clone()), ..planned(session, lock, wanted).await? },
    };
    let label = format!("robocred: {} (private key)", record.id);
    session.secrets().put(&record.secret, &label, wanted.pair.key.expose_der()).await.map_err(Error::Store)?;
    fail::fail_point!("import.stored");
    let report = match verify::prove(session, &record, ControlUse::Now).await {
        Ok((_, report)) => report,
        Err(failure) => {
            undo(session, lock, &record, &failure).await;
            return Err(Error::Unproven(failure));
        }
    };
    fail::fail_point!("import.proven");
    let record = match record.state {
        State::Planned => {
            let change = Change::Imported { certificate: certificate.clone(), passed: report.passed() };
            inventory.advance(lock, &record.id, change, session.now()).await?
        }
        _ => record,
    };
    fail::fail_point!("import.after-commit");
    super::retire::hand_over(inventory, lock, &record, session.now()).await?;
    super::note(inventory, lock, &wanted.robot, &report, session.now()).await?;
    Ok(record)
}

/// The row of the generation to be: the one of an import that was interrupted, or a new one.
async fn planned(session: &Session<'_>, lock: &SiteLock, wanted: &Import) -> Result<Record, Error> {
    let inventory = session.inventory();
    let naming = Naming::of(wanted);
    let robot = NewRobot {
        id: wanted.robot.clone(),
        base_name: naming.base,
        role: wanted.role,
        endpoint: session.site().endpoint.clone(),
        origin: Origin::Imported,
    };
    inventory.adopt_robot(lock, &robot, session.now()).await?;
    let (key, certificate) = (&wanted.pair.key, &wanted.pair.certificate);
    let new = NewGeneration {
        robot: wanted.robot.clone(),
        role: wanted.role,
        key_algorithm: key.algorithm(),
        profile: if certificate.facts().is_ca { Profile::Openssl } else { Profile::Client },
        forced: false,
    };
    let pending = inventory.records(&wanted.robot).await?.into_iter().find(|record| record.state.is_pending());
    if let Some(pending) = pending {
        let there = (&pending.registered_name, pending.role, pending.key_algorithm, pending.profile);
        if pending.state == State::Planned && there == (&naming.registered, new.role, new.key_algorithm, new.profile) {
            return Ok(pending);
        }
        // It was never sent, or it would have been refused above.
        give_up(session, lock, &pending, "another pair was imported in its place").await?;
    }
    fail::fail_point!("import.before-row");
    let record = inventory.plan_import(lock, &new, &naming.registered, naming.generation, session.now()).await?;
    fail::fail_point!("import.after-row");
    Ok(record)
}

/// Takes the key out of the store again; a pair that the appliance refused is
/// given up. What cannot be undone is left for the same import run again.
async fn undo(session: &Session<'_>, lock: &SiteLock, record: &Record, failure: &verify::Failure) {
    let undone = match record.state {
        State::Planned if failure.kind == verify::Kind::Refused => {
            give_up(session, lock, record, "the appliance does not accept the imported pair").await
        }
        State::Planned => session.secrets().remove(&record.secret).await.map_err(Error::Store),
        // The key of what is in use, back where it belongs.
        _ => Ok(()),
    };
    if let Err(error) = undone {
        tracing::warn!(credential = %record.id, %error, "the import could not be undone");
    }
}

/// Takes the key out of the store, and then the row out of the way.
async fn give_up(session: &Session<'_>, lock: &SiteLock, record: &Record, reason: &str) -> Result<(), Error> {
    session.secrets().remove(&record.secret).await.map_err(Error::Store)?;
    let change = Change::GivenUp { reason: reason.to_owned() };
    session.inventory().advance(lock, &record.id, change, session.now()).await?;
    Ok(())
}

/// How an imported generation is called here.
#[derive(Debug, PartialEq, Eq)]
struct Naming {
    /// What the names of the generations after it are made from.
    base: RobotName,
    /// The name it has on the appliance.
    registered: RegisteredName,
    /// The number it had, or the first.
    generation: Generation,
}

impl Naming {
    fn of(wanted: &Import) -> Self {
        let common_name = wanted.pair.certificate.common_name();
        Self::from_names(&wanted.robot.robot, wanted.registered_name.as_ref(), common_name)
    }

    /// A name that a person gave counts; else the certificate's, where it is
    /// one that this tool gives to a generation of `robot`; else the robot's.
    fn from_names(robot: &RobotName, given: Option<&RegisteredName>, common_name: Option<&str>) -> Self {
        if let Some(given) = given {
            let (base, generation) = generation_of(given).unwrap_or_else(|| (robot.clone(), Generation::FIRST));
            return Self { base, registered: given.clone(), generation };
        }
        let own = common_name.and_then(|name| name.parse().ok()).and_then(|name: RegisteredName| {
            let (base, generation) = generation_of(&name).filter(|(base, _)| base == robot)?;
            Some(Self { base, registered: name, generation })
        });
        own.unwrap_or_else(|| Self {
            base: robot.clone(),
            registered: RegisteredName::of(robot, Generation::FIRST),
            generation: Generation::FIRST,
        })
    }
}

/// The base and the number of a name as [`RegisteredName::of`] makes it.
fn generation_of(name: &RegisteredName) -> Option<(RobotName, Generation)> {
    if let Ok(base) = name.as_str().parse() {
        return Some((base, Generation::FIRST));
    }
    let (base, number) = name.as_str().rsplit_once("-g")?;
    let (base, generation) = (base.parse().ok()?, Generation::new(number.parse().ok()?)?);
    // `-g1` and `-g02` are nobody's.
    (&RegisteredName::of(&base, generation) == name).then_some((base, generation))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_which_generation_it_was() {
        #[track_caller]
        fn check(given: Option<&str>, common_name: Option<&str>, base: &str, registered: &str, generation: u32) {
            let given = given.map(|given| given.parse().unwrap());
            let expected = Naming {
                base: base.parse().unwrap(),
                registered: registered.parse().unwrap(),
                generation: Generation::new(generation).unwrap(),
            };
            assert_eq!(Naming::from_names(&"reader".parse().unwrap(), given.as_ref(), common_name), expected);
        }
        check(None, Some("reader"), "reader", "reader", 1);
        check(None, Some("reader-g7"), "reader", "reader-g7", 7);
        // Made elsewhere: the certificate's own text says nothing about us.
        for other in [None, Some("robot1"), Some("robot1-g3"), Some("Reader"), Some("a b"), Some("")] {
            check(None, other, "reader", "reader", 1);
        }
        for odd in ["reader-g1", "reader-g07", "reader-g0", "reader-g+2", "reader-g4294967296", "reader-g"] {
            check(None, Some(odd), "reader", "reader", 1);
        }
        // What a person says counts, also for the names to come.
        check(Some("robot1"), Some("reader-g7"), "robot1", "robot1", 1);
        check(Some("robot1-g3"), None, "robot1", "robot1-g3", 3);
        check(Some("robot1-g1"), None, "reader", "robot1-g1", 1);
        check(Some("reader-g7"), Some("reader"), "reader", "reader-g7", 7);
        let long = "x".repeat(64);
        check(Some(&long), None, "reader", &long, 1);
    }
}
