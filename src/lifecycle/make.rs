//! Making a key pair and keeping its key. Durable before: the row that names
//! the slot. A crash between store and row leaves a key that the same slot's
//! next one replaces; the appliance has not heard of it.

use super::{Drive, Error, Moment};
use crate::{
    credential::{Generation, Record},
    inventory::{Change, NewGeneration, Origin},
    x509::{Certificate, PrivateKey, Validity},
};

impl Drive<'_> {
    pub(super) async fn make(&self, generation: Generation) -> Result<(), Error> {
        self.refuse_to_replace_an_import().await?;
        (self.progress)(Moment::Making);
        let record = self.revised(generation).await?;
        let (algorithm, profile, days) = (record.key_algorithm, record.profile, self.robot.days);
        let (name, now) = (record.registered_name.clone(), self.session.now());
        fail::fail_point!("make.before-key");
        let made = tokio::task::spawn_blocking(move || {
            let key = PrivateKey::generate(algorithm)?;
            let validity = Validity::of_days(now, days)?;
            let certificate = Certificate::self_signed(&key, name.as_str(), validity, profile)?;
            Ok((key, certificate))
        });
        let (key, certificate) =
            made.await.unwrap_or_else(|ended| std::panic::resume_unwind(ended.into_panic())).map_err(Error::Make)?;
        fail::fail_point!("make.key-in-memory");
        let label = format!("robocred: {} (private key)", record.id);
        self.session.secrets().put(&record.secret, &label, key.expose_der()).await.map_err(Error::Store)?;
        fail::fail_point!("make.stored");
        self.advance(&record, Change::KeyStored { certificate }).await?;
        fail::fail_point!("make.recorded");
        Ok(())
    }

    /// A robot whose import was begun and never finished works for somebody: a
    /// new key under its name could take that away. `provision` makes it ours.
    async fn refuse_to_replace_an_import(&self) -> Result<(), Error> {
        let imported =
            self.session.inventory().robot(&self.id).await?.is_some_and(|row| row.origin == Origin::Imported);
        if imported && self.records().await?.iter().all(|record| record.promoted_at.is_none()) {
            return Err(Error::ImportOpen { robot: self.id.clone() });
        }
        Ok(())
    }

    /// The row of a generation whose key has not left this machine, as it is wanted now.
    async fn revised(&self, generation: Generation) -> Result<Record, Error> {
        let wanted = NewGeneration {
            robot: self.id.clone(),
            role: self.robot.role,
            key_algorithm: self.robot.key_algorithm,
            profile: self.robot.profile,
            forced: false,
        };
        let record = self.record(generation).await?;
        Ok(self.session.inventory().revise(self.lock, &record.id, &wanted, self.session.now()).await?)
    }
}
