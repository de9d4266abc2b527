//! On whose behalf an appliance is changed: an admin robot of the site, a
//! support token given in this run, or the one that is stored.
//!
//! Owns the order in which they are asked and what is learnt when one is
//! refused. A token that several robots share goes to one appliance at a time
//! until its first use was answered, and to none after its first refusal.

use std::sync::{Mutex, PoisonError};

use tokio::sync::MutexGuard;

use super::{Drive, Error};
use crate::{
    appliance::{Authority, Listing, NewRobot, NotDone, Outcome, RemoteId, Removal, RobotsApi, SupportToken},
    credential::{
        Record, SecretRef, State,
        plan::{Aim, Urgency},
    },
    inventory::{AttentionCode, Observation, SiteRow},
    session::{self, Loaded, Session},
    site::{Registrar as Configured, RobotId, Role, Site},
};

/// A support token given for this run, which its robots share.
#[derive(Debug)]
pub struct GivenToken {
    token: SupportToken,
    standing: Mutex<Standing>,
    first_use: tokio::sync::Mutex<()>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Untried,
    Works,
    Refused,
}

impl GivenToken {
    /// A token of which nothing is known yet.
    #[must_use]
    pub fn new(token: SupportToken) -> Self {
        Self { token, standing: Mutex::new(Standing::Untried), first_use: tokio::sync::Mutex::new(()) }
    }

    /// Whether an appliance has refused it in this run.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.standing() == Standing::Refused
    }

    fn standing(&self) -> Standing {
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The token for one call; waits while its first use is under way elsewhere. `None` once it was refused.
    async fn lend(&self) -> Option<Lent<'_>> {
        let mut first = None;
        if self.standing() == Standing::Untried {
            first = Some(self.first_use.lock().await);
        }
        match self.standing() {
            Standing::Refused => None,
            Standing::Works => Some(Lent { given: self, _first: None }),
            Standing::Untried => Some(Lent { given: self, _first: first }),
        }
    }
}

/// The right to one call with a [`GivenToken`].
pub(super) struct Lent<'a> {
    given: &'a GivenToken,
    _first: Option<MutexGuard<'a, ()>>,
}

/// Somebody who may be allowed to change the appliance.
pub(super) enum Registrar<'a> {
    /// An admin robot, by its certificate.
    Admin(RobotId, Box<Loaded>),
    /// The token given in this run.
    Given(Lent<'a>),
    /// The token of the secret store.
    Stored(SupportToken),
}

/// What one call showed of the right to make it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Nothing,
    Works,
    Refused,
}

impl Registrar<'_> {
    pub(super) fn is_admin(&self) -> bool {
        matches!(self, Self::Admin(..))
    }

    fn api(&self, session: &Session<'_>) -> Result<RobotsApi, session::Error> {
        match self {
            Self::Admin(_, loaded) => session.robots_api(Some(&loaded.identity(session.site())?)),
            Self::Given(_) | Self::Stored(_) => session.robots_api(None),
        }
    }

    fn authority(&self) -> Authority<'_> {
        match self {
            Self::Admin(..) => Authority::Certificate,
            Self::Given(lent) => Authority::Token(&lent.given.token),
            Self::Stored(token) => Authority::Token(token),
        }
    }

    pub(super) async fn register(&self, session: &Session<'_>, robot: &NewRobot<'_>) -> Result<Outcome, Error> {
        let outcome = self.api(session)?.register(self.authority(), robot).await;
        self.learn(match &outcome {
            Outcome::NotDone(reason) => shown(reason),
            Outcome::Unknown(_) => Shown::Nothing,
            Outcome::Answered(_) => Shown::Works,
        });
        Ok(outcome)
    }

    pub(super) async fn list(&self, session: &Session<'_>) -> Result<Listing, Error> {
        let listing = self.api(session)?.list(self.authority()).await;
        self.learn(match &listing {
            Listing::Robots(_) => Shown::Works,
            // Only 401 speaks of the token itself; 403 may be what an appliance says instead of 404.
            Listing::Refused(crate::appliance::Refusal::Status(status)) if *status == 401 => Shown::Refused,
            Listing::NotDone(reason) => shown(reason),
            _ => Shown::Nothing,
        });
        Ok(listing)
    }

    pub(super) async fn remove(&self, session: &Session<'_>, id: &RemoteId) -> Result<Removal, Error> {
        let removal = self.api(session)?.remove(self.authority(), id).await;
        self.learn(match &removal {
            Removal::Removed => Shown::Works,
            Removal::NotDone(reason) => shown(reason),
            _ => Shown::Nothing,
        });
        Ok(removal)
    }

    fn learn(&self, shown: Shown) {
        let Self::Given(lent) = self else { return };
        let standing = match shown {
            Shown::Nothing => return,
            Shown::Works => Standing::Works,
            Shown::Refused => Standing::Refused,
        };
        *lent.given.standing.lock().unwrap_or_else(PoisonError::into_inner) = standing;
    }
}

fn shown(reason: &NotDone) -> Shown {
    match reason {
        NotDone::TokenRefused { .. } => Shown::Refused,
        reason if reason.sent() => Shown::Works,
        _ => Shown::Nothing,
    }
}

/// Who of this site can be asked, as far as is known without asking.
#[derive(Debug)]
pub(super) struct Registrars<'a> {
    given: Option<&'a GivenToken>,
    stored: bool,
    /// The configured admin robot's credential, unless the appliance is known not to let it register.
    admin: Option<Record>,
}

impl<'a> Registrars<'a> {
    /// Whether a registration can be tried.
    pub(super) fn any(&self) -> bool {
        self.admin.is_some() || self.stored || self.given.is_some_and(|given| !given.is_refused())
    }

    /// Reads inventory and store: an admin robot whose key is lost registers nobody, and the token takes its place.
    pub(super) async fn find(drive: &Drive<'a>) -> Result<Self, Error> {
        let (session, site) = (&drive.session, drive.session.site());
        let row = session.inventory().site(&site.name).await?;
        let stored = row.as_ref().is_some_and(|row| row.token_since.is_some());
        let refused = row.as_ref().and_then(|row| row.seen.admin_registers) == Some(false);
        let asked_anew = drive.aim == Aim::Rotate(Urgency::Forced);
        let mut admin = match &site.registrar {
            Configured::Robot(name) if !refused || asked_anew => {
                let id = RobotId { site: site.name.clone(), robot: name.clone() };
                session.inventory().records(&id).await?.into_iter().find(|record| is_admin(record, drive.session.now()))
            }
            _ => None,
        };
        if let Some(record) = &admin {
            match session.load(record).await {
                Ok(_) => {}
                Err(session::Error::KeyMissing { .. } | session::Error::Pair { .. }) => admin = None,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Self { given: drive.token, stored, admin })
    }
}

/// Whether a registration by schedule could be tried at a site, by the inventory's rows alone.
#[must_use]
pub fn could_register<'r>(
    site: &Site,
    row: Option<&SiteRow>,
    records: impl IntoIterator<Item = &'r Record>,
    now: time::OffsetDateTime,
) -> bool {
    let stored = row.is_some_and(|row| row.token_since.is_some());
    let refused = row.and_then(|row| row.seen.admin_registers) == Some(false);
    match &site.registrar {
        Configured::Robot(name) if !refused => {
            stored || records.into_iter().any(|record| record.id.robot.robot == *name && is_admin(record, now))
        }
        _ => stored,
    }
}

/// Whether a credential can log in as an admin robot, as far as is known here.
fn is_admin(record: &Record, now: time::OffsetDateTime) -> bool {
    let valid = record.certificate.as_ref().is_some_and(|certificate| certificate.validity().contains(now));
    record.state == State::Active && record.role == Role::Admin && valid
}

impl<'a> Drive<'a> {
    /// Who registers: the configured admin robot, else the token given, else the stored one.
    pub(super) async fn registrar(&self, registrars: &Registrars<'a>) -> Result<Option<Registrar<'a>>, Error> {
        if let Some(record) = &registrars.admin {
            match self.session.load(record).await {
                Ok(loaded) => return Ok(Some(Registrar::Admin(record.id.robot.clone(), Box::new(loaded)))),
                // Without its key it is as good as absent.
                Err(session::Error::KeyMissing { .. } | session::Error::Pair { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.token(registrars).await
    }

    /// Who removes: the site's admin robots, the configured one first, then the tokens.
    pub(super) async fn removers(&self, registrars: &Registrars<'a>) -> Result<Vec<Registrar<'a>>, Error> {
        let site = self.session.site();
        let now = self.session.now();
        let first = |record: &Record| match &site.registrar {
            Configured::Robot(name) if *name == record.id.robot.robot => 0,
            _ if record.id.robot == self.id => 1,
            _ => 2,
        };
        let mut admins: Vec<Record> = self.session.inventory().site_records(&site.name).await?;
        admins.retain(|record| is_admin(record, now));
        admins.sort_by_key(first);
        let mut removers = Vec::new();
        for record in admins {
            // One that cannot be loaded is somebody else's trouble; the next may do.
            if let Ok(loaded) = self.session.load(&record).await {
                removers.push(Registrar::Admin(record.id.robot, Box::new(loaded)));
            }
        }
        removers.extend(self.token(registrars).await?);
        Ok(removers)
    }

    async fn token(&self, registrars: &Registrars<'a>) -> Result<Option<Registrar<'a>>, Error> {
        if let Some(given) = registrars.given {
            return Ok(given.lend().await.map(Registrar::Given));
        }
        if !registrars.stored {
            return Ok(None);
        }
        let slot = SecretRef::token(self.session.inventory().store_id(), &self.id.site);
        match self.session.secrets().read(&slot).await {
            Ok(stored) => Ok(Some(Registrar::Stored(SupportToken::parse(stored).map_err(Error::StoredToken)?))),
            Err(crate::secrets::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(Error::Store(error)),
        }
    }

    /// What is learnt for the site: whether an admin robot may register others there.
    pub(super) async fn admin_registers(&self, registers: bool) -> Result<(), Error> {
        let seen = Observation { admin_registers: Some(registers), ..Observation::default() };
        Ok(self.session.inventory().observe(&self.id.site, &seen, self.session.now()).await?)
    }

    /// A registrar that was refused is not asked again in this run, and a stored token never.
    pub(super) async fn refused(
        &self,
        registrar: &Registrar<'a>,
        registrars: &mut Registrars<'a>,
    ) -> Result<(), Error> {
        let (inventory, now) = (self.session.inventory(), self.session.now());
        match registrar {
            Registrar::Admin(..) => {
                registrars.admin = None;
                return Ok(());
            }
            Registrar::Given(_) => {}
            Registrar::Stored(_) => {
                registrars.stored = false;
                let slot = SecretRef::token(inventory.store_id(), &self.id.site);
                self.session.secrets().remove(&slot).await.map_err(Error::Store)?;
                inventory.clear_token(self.lock, now).await?;
            }
        }
        let hint = "ask the vendor's support for a new token, then run the same command with it";
        self.raise(AttentionCode::TokenNeeded, "the appliance refused the support token", Some(hint)).await
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    fn given() -> GivenToken {
        GivenToken::new(SupportToken::parse(Zeroizing::new(b"abc".to_vec())).unwrap())
    }

    #[tokio::test]
    async fn a_token_goes_to_one_appliance_until_it_was_answered() {
        let given = given();
        let first = given.lend().await.unwrap();
        let second = given.lend();
        tokio::pin!(second);
        assert!(futures_poll(second.as_mut()).await, "two first uses at once");
        Registrar::Given(first).learn(Shown::Works);
        assert!(second.await.is_some());
        let (one, other) = (given.lend().await, given.lend().await);
        assert!(one.is_some() && other.is_some());
    }

    #[tokio::test]
    async fn a_refused_token_is_lent_to_nobody() {
        let given = given();
        let first = given.lend().await.unwrap();
        Registrar::Given(first).learn(Shown::Refused);
        assert!(given.is_refused());
        assert!(given.lend().await.is_none());
    }

    /// Whether the future is still waiting.
    async fn futures_poll<F: Future>(mut future: std::pin::Pin<&mut F>) -> bool {
        std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context).is_pending())).await
    }
}
