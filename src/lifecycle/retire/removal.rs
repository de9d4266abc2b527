//! The removal itself: who is asked to remove what, and whether it is gone.
//!
//! Nothing is removed that is not certainly the generation that is meant: by
//! its certificate, by the appliance's own id, or by a name that was registered
//! from here.

use super::{
    super::{
        Drive, Error,
        registrar::{Registrar, Registrars},
    },
    Left, LetIn,
};
use crate::{
    appliance::{self, Listing, NotDone, RemoteId, Removal, UnknownReason},
    credential::{Control, Record, plan::MOST_TRIES},
    inventory::Observation,
    session::Loaded,
    verify::{self, Asked, ControlUse, Verdict},
    x509::Certificate,
};

/// What one registrar could do.
enum Tried {
    /// The list does not hold it.
    NotListed,
    /// A removal was sent; whether it worked is to be seen.
    Sent { said: bool },
    /// Which one it is, is not certain: nothing was sent.
    Uncertain,
    /// The registrar may not.
    Refused,
    /// An earlier removal took another robot than the one it named: nothing was sent.
    Distrusted,
    /// There is no removal.
    Unsupported,
}

impl Drive<'_> {
    /// Removes it on the appliance if anybody may, and finds out whether it is gone.
    pub(super) async fn take_off(&self, old: &Record, successor: Option<&Record>) -> Result<Left, Error> {
        let before = self.lets_in(old).await?;
        // Who knows one of ours is the appliance that was meant, whatever its address is now.
        if before != LetIn::Yes
            && successor.is_none()
            && let Some(reason) = self.is_elsewhere().await?
        {
            return Ok(Left::Manual(reason));
        }
        let mut registrars = Registrars::find(self).await?;
        let mut tried = None;
        for registrar in self.removers(&registrars).await? {
            tried = Some(self.remove_by(&registrar, old, successor, before).await?);
            if !matches!(tried, Some(Tried::Refused)) {
                break;
            }
            if !registrar.is_admin() {
                self.refused(&registrar, &mut registrars).await?;
            }
        }
        fail::fail_point!("retire.asked");
        // Whatever the appliance said of it: what was removed may have been another one.
        if let (Some(Tried::Sent { .. } | Tried::Unsupported), Some(successor)) = (&tried, successor) {
            let works = self.works_now(successor, Some(old), ControlUse::Daily).await;
            if let Err(Error::Refused { .. }) = &works {
                self.distrust_removals().await?;
            }
            works?;
        }
        let reason = match tried {
            Some(Tried::NotListed) => return Ok(Left::Gone),
            Some(Tried::Sent { said }) => {
                let reason = match self.lets_in(old).await? {
                    LetIn::No => return Ok(Left::Gone),
                    LetIn::CannotTell if said && !self.still_listed(old, &registrars).await? => return Ok(Left::Gone),
                    LetIn::CannotTell => "whether its removal worked could not be seen",
                    LetIn::Yes => "the appliance still accepts it after its removal",
                };
                if said {
                    self.distrust_removals().await?;
                }
                reason
            }
            // Nobody removed it, and it is not let in: it was removed before, by an earlier try or by a person.
            _ if before == LetIn::No => return Ok(Left::Gone),
            Some(Tried::Uncertain) => "which robot on the appliance it is, is not certain",
            Some(Tried::Unsupported) => {
                (self.notice)(&format!(
                    "the appliance offers no removal of robots: {} has to be removed there by a person",
                    old.registered_name
                ));
                "the appliance offers no removal of robots"
            }
            Some(Tried::Refused) => "nobody here may remove robots on the appliance",
            Some(Tried::Distrusted) => {
                "the appliance has not removed what it was asked to before, and may have removed another robot"
            }
            None => "there was neither an admin robot nor a support token to remove it with",
        };
        Ok(Left::Manual(reason.to_owned()))
    }

    /// Keeps that a removal left what it named and said that it had gone, or
    /// took a successor that had just worked. The appliance is asked for none any
    /// more: the next could take the next successor.
    async fn distrust_removals(&self) -> Result<(), Error> {
        let seen = Observation { can_remove: Some(false), ..Observation::default() };
        Ok(self.session.inventory().observe(&self.id.site, &seen, self.session.now()).await?)
    }

    async fn distrusts_removals(&self) -> Result<bool, Error> {
        let row = self.session.inventory().site(&self.id.site).await?;
        Ok(row.is_some_and(|row| row.seen.can_remove == Some(false)))
    }

    /// Why nothing can be asked about the robot here: it was registered under
    /// another address, and what answers now may be another machine.
    async fn is_elsewhere(&self) -> Result<Option<String>, Error> {
        let now = &self.session.site().endpoint;
        let row = self.session.inventory().robot(&self.id).await?;
        Ok(row
            .filter(|row| &row.endpoint != now)
            .map(|row| format!("its robot was registered at {}, and the site's address is {now} now", row.endpoint)))
    }

    /// Whether the appliance's list holds its certificate; `false` where there is no such list.
    async fn still_listed(&self, old: &Record, registrars: &Registrars<'_>) -> Result<bool, Error> {
        for registrar in self.removers(registrars).await? {
            if let Listing::Robots(robots) = registrar.list(&self.session).await? {
                return Ok(!by_certificate(&robots, old).is_empty());
            }
        }
        Ok(false)
    }

    async fn remove_by(
        &self,
        registrar: &Registrar<'_>,
        old: &Record,
        successor: Option<&Record>,
        before: LetIn,
    ) -> Result<Tried, Error> {
        let mut by_name = is_named_here(old);
        let mut ids = match registrar.list(&self.session).await? {
            Listing::Robots(robots) => {
                // A robot of that name that is not ours must not be named.
                by_name &= !robots.iter().any(|robot| robot.name == old.registered_name.as_str());
                match listed(&robots, old, before) {
                    // It may stand on a further page of the list.
                    Some(ids) if ids.is_empty() && before == LetIn::Yes => ids,
                    Some(ids) if ids.is_empty() => return Ok(Tried::NotListed),
                    Some(ids) => ids,
                    None => return Ok(Tried::Uncertain),
                }
            }
            Listing::NotDone(NotDone::Connect(error)) => return Err(self.session.explain(error).into()),
            Listing::NotDone(NotDone::NothingSent(error)) => {
                return Err(Error::Unasked(appliance::Error::Exchange(error)));
            }
            Listing::Refused(_) if registrar.is_admin() => return Ok(Tried::Refused),
            Listing::Refused(appliance::Refusal::Status(status)) if status == 401 => return Ok(Tried::Refused),
            // It is gone, and whatever has its name or id now is not ours.
            _ if before == LetIn::No => return Ok(Tried::NotListed),
            _ => Vec::new(),
        };
        if ids.is_empty() {
            let known = old.remote_id.as_deref().or(by_name.then_some(old.registered_name.as_str()));
            ids.extend(known.and_then(|known| known.parse::<RemoteId>().ok()));
        }
        // The one thing that must not happen is that the successor goes.
        let own = successor.and_then(|successor| successor.remote_id.as_deref());
        ids.retain(|id| own != Some(id.as_str()));
        fail::fail_point!("retire.listed");
        if self.distrusts_removals().await? {
            return Ok(Tried::Distrusted);
        }
        let mut tried = Tried::Uncertain;
        for id in ids {
            let sent = matches!(tried, Tried::Sent { .. });
            tried = match self.remove_one(registrar, &id, old, successor).await? {
                Removal::Removed => Tried::Sent { said: true },
                Removal::Unknown(_) => Tried::Sent { said: false },
                Removal::NotDone(NotDone::Connect(error)) => return Err(self.session.explain(error).into()),
                // One of them was removed: that is to be seen.
                _ if sent => Tried::Sent { said: false },
                Removal::NotDone(NotDone::CertificateRefused { .. } | NotDone::TokenRefused { .. }) => Tried::Refused,
                Removal::NotDone(reason @ (NotDone::NothingSent(_) | NotDone::Busy { .. })) => {
                    return Err(Error::NotRemoved { name: old.registered_name.clone(), reason });
                }
                Removal::Unsupported | Removal::NotDone(_) => Tried::Unsupported,
            };
            if !matches!(tried, Tried::Sent { said: true }) {
                break;
            }
        }
        Ok(tried)
    }

    /// Sends a removal; again where its answer was lost and the robot is still
    /// let in, since the line may have been cut before it arrived.
    async fn remove_one(
        &self,
        registrar: &Registrar<'_>,
        id: &RemoteId,
        old: &Record,
        successor: Option<&Record>,
    ) -> Result<Removal, Error> {
        let mut removal = registrar.remove(&self.session, id).await?;
        for _ in 1..MOST_TRIES {
            let lost = matches!(removal, Removal::Unknown(UnknownReason::Lost(_)));
            if !lost || self.lets_in(old).await? != LetIn::Yes {
                break;
            }
            // An appliance that removes another robot than the named one is not told so again.
            if let Some(successor) = successor {
                self.works_now(successor, Some(old), ControlUse::Daily).await?;
            }
            match registrar.remove(&self.session, id).await? {
                // There is no such robot: the lost one has arrived meanwhile.
                Removal::Unsupported => break,
                again => removal = again,
            }
        }
        Ok(removal)
    }

    pub(super) async fn lets_in(&self, record: &Record) -> Result<LetIn, Error> {
        let loaded: Loaded = match self.session.load(record).await {
            Ok(loaded) => loaded,
            Err(crate::session::Error::KeyMissing { .. } | crate::session::Error::Pair { .. }) => {
                return Ok(LetIn::CannotTell);
            }
            Err(error) => return Err(error.into()),
        };
        let mut asked = verify::ask(&self.session, &loaded, Control::Refused).await?;
        if hung_up(&asked) {
            asked = verify::ask(&self.session, &loaded, Control::Refused).await?;
            if hung_up(&asked) {
                return Ok(LetIn::CannotTell);
            }
        }
        let now = asked.server_time.unwrap_or_else(|| self.session.now());
        match asked.verdict {
            Verdict::Accepted(_) | Verdict::Indiscriminate => Ok(LetIn::Yes),
            Verdict::Refused(_) if !loaded.certificate.validity().contains(now) => Ok(LetIn::CannotTell),
            // It may be registered and not be let in yet.
            Verdict::Refused(_) if !was_let_in(record) => Ok(LetIn::CannotTell),
            Verdict::Refused(_) => Ok(LetIn::No),
            Verdict::Unclear(appliance::Error::Connect(error)) => Err(self.session.explain(error).into()),
            Verdict::Unclear(error) => Err(Error::Unasked(error)),
        }
    }
}

fn hung_up(asked: &Asked) -> bool {
    matches!(&asked.verdict, Verdict::Unclear(error) if error.is_cut())
}

fn was_let_in(old: &Record) -> bool {
    old.promoted_at.is_some()
}

/// Whether its name on the appliance was given to it from here: the one of a
/// pair that was made elsewhere is assumed, and the one of a pair that was never
/// let in may be somebody else's.
fn is_named_here(old: &Record) -> bool {
    old.attempt.is_some() && was_let_in(old)
}

/// The ids of the robots in a list that have this generation's certificate.
fn by_certificate(robots: &[appliance::RemoteRobot], old: &Record) -> Vec<RemoteId> {
    let fingerprint = old.certificate.as_ref().map(Certificate::fingerprint);
    let certain = robots.iter().filter(|robot| robot.fingerprint.is_some() && robot.fingerprint == fingerprint);
    certain.filter_map(|robot| robot.id.clone()).collect()
}

/// The ids of the robots in a list that are this generation: by its
/// certificate (some appliances keep one robot for every try), or by its name
/// where the list shows no certificates, unless the appliance refuses it: then
/// the name is somebody else's by now. `None` where it is not certain.
fn listed(robots: &[appliance::RemoteRobot], old: &Record, before: LetIn) -> Option<Vec<RemoteId>> {
    let certain = by_certificate(robots, old);
    if !certain.is_empty() || before == LetIn::No {
        return Some(certain);
    }
    let mut unshown = robots.iter().filter(|robot| robot.fingerprint.is_none()).peekable();
    if unshown.peek().is_some() && !is_named_here(old) {
        return None;
    }
    let named: Vec<_> = unshown
        .filter(|robot| robot.name == old.registered_name.as_str())
        .filter_map(|robot| robot.id.clone())
        .collect();
    let other = |id: &RemoteId| old.remote_id.as_deref().is_some_and(|own| own != id.as_str());
    (named.len() <= 1 && !named.iter().any(other)).then_some(named)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        appliance::RemoteRobot,
        credential::{Attempt, CredentialId, Delivery, Generation, RegisteredName, SecretRef, State},
        site::Role,
        x509::{KeyAlgorithm, PrivateKey, Profile, Validity},
    };
    use time::macros::datetime;

    fn record() -> Record {
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let validity = Validity::of_days(datetime!(2026-11-22 12:00 UTC), 30).unwrap();
        let certificate = Certificate::self_signed(&key, "reader", validity, Profile::Client).unwrap();
        Record {
            id: CredentialId { robot: "plant/reader".parse().unwrap(), generation: Generation::FIRST },
            state: State::Retiring,
            registered_name: "reader".parse::<RegisteredName>().unwrap(),
            role: Role::Reader,
            secret: SecretRef::from_inventory(String::new()),
            key_algorithm: KeyAlgorithm::EcdsaP256,
            profile: Profile::Client,
            certificate: Some(certificate),
            attempt: Some(Attempt { tries: 1, since: datetime!(2026-11-22 12:00 UTC), control: Control::Refused }),
            remote_id: None,
            keyed_at: None,
            promoted_at: Some(datetime!(2026-11-22 12:01 UTC)),
            deliver_tries: 0,
            deliver_after: None,
            delivery: Delivery::Delivered,
            retire_after: None,
        }
    }

    #[test]
    fn only_what_is_certainly_this_generation_is_named_for_removal() {
        let ours = record();
        let made_elsewhere = Record { attempt: None, ..ours.clone() };
        let never_in_use = Record { promoted_at: None, ..ours.clone() };
        let own = ours.certificate.as_ref().map(Certificate::fingerprint);
        let other = Some(crate::x509::Fingerprint::of(b"other"));
        let robot = |id: &str, name: &str, fingerprint| RemoteRobot {
            id: id.parse().ok(),
            name: name.to_owned(),
            role: None,
            fingerprint,
        };
        let check = |record: &Record, before, robots: &[RemoteRobot], expected: Option<&[&str]>| {
            let found = listed(robots, record, before);
            let found = found.as_ref().map(|ids| ids.iter().map(RemoteId::as_str).collect::<Vec<_>>());
            assert_eq!(found.as_deref(), expected);
        };
        let (in_use, cannot_tell, refused) = (LetIn::Yes, LetIn::CannotTell, LetIn::No);
        check(&ours, in_use, &[], Some(&[]));
        check(&ours, in_use, &[robot("1", "reader", own), robot("2", "reader-g2", other)], Some(&["1"]));
        check(&ours, in_use, &[robot("1", "renamed", own)], Some(&["1"]));
        check(&ours, in_use, &[robot("1", "reader", own), robot("2", "reader", own)], Some(&["1", "2"]));
        check(&ours, in_use, &[robot("1", "reader", other)], Some(&[]));
        check(&ours, in_use, &[robot("1", "reader", None), robot("2", "reader-g2", None)], Some(&["1"]));
        check(&ours, in_use, &[robot("1", "reader", None), robot("2", "reader", None)], None);
        // Its name was given to another one since.
        check(&ours, refused, &[robot("1", "reader", None)], Some(&[]));
        let known = Record { remote_id: Some("7".to_owned()), ..ours.clone() };
        check(&known, cannot_tell, &[robot("1", "reader", None)], None);
        check(&known, cannot_tell, &[robot("7", "reader", None)], Some(&["7"]));
        // Its name is not known for certain.
        check(&made_elsewhere, in_use, &[robot("1", "reader", None)], None);
        check(&made_elsewhere, in_use, &[robot("1", "robot1", None)], None);
        check(&made_elsewhere, in_use, &[robot("1", "robot1", own), robot("2", "reader", None)], Some(&["1"]));
        check(&made_elsewhere, refused, &[robot("1", "reader", None)], Some(&[]));
        check(&never_in_use, cannot_tell, &[robot("1", "reader", None)], None);
        check(&never_in_use, cannot_tell, &[robot("1", "reader", own)], Some(&["1"]));
        check(&never_in_use, cannot_tell, &[robot("1", "reader", other)], Some(&[]));
    }
}
