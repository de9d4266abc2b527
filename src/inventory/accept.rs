//! Taking up an inventory that is older than what was done with it.

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{
    AttentionCode, Error, Inventory, NewRobot, SiteLock,
    audit::Fact,
    records::{bind_id, delivery_word},
    sql::{self, Commit, Reader},
};
use crate::{
    credential::{CredentialId, Delivery, Generation, RegisteredName, SecretRef, State},
    site::RobotId,
    x509::{KeyAlgorithm, Profile},
};

/// Why such a generation is a leftover.
const REASON: &str = "made after the backup that was restored";

/// A robot of which generations are not in the inventory.
#[derive(Clone, Debug)]
pub struct Lost {
    /// The robot; where the inventory holds it, what it holds stays.
    pub robot: NewRobot,
    /// The highest number that was used.
    pub highest: u32,
}

impl Inventory {
    /// Adds every generation that is lost as a leftover, raises the highest number, and lifts every attention
    /// `frozen`, in one transaction. `detail` is kept in the audit and must not hold a secret.
    ///
    /// Gives what was added. Their key type and profile are not known; the rows say what is usual.
    ///
    /// # Errors
    /// [`Error::Unlocked`] if no lock covers a robot, [`Error::Fenced`].
    pub async fn accept(
        &self,
        locks: &[SiteLock],
        lost: &[Lost],
        detail: Value,
        now: OffsetDateTime,
    ) -> Result<Vec<CredentialId>, Error> {
        let mut connection = self.connection.lock().await;
        let mut commit = Commit::begin(self, &mut connection, now).await?;
        for lock in locks {
            commit.still_holds(lock).await?;
        }
        let mut added = Vec::new();
        for Lost { robot, highest } in lost {
            if !locks.iter().any(|lock| lock.covers(&robot.id).is_ok()) {
                return Err(Error::Unlocked(robot.id.clone()));
            }
            let row = match commit.robot(&robot.id).await? {
                Some(row) => row,
                None => commit.insert_robot(robot).await?,
            };
            let numbers = row.last_generation + 1..=*highest;
            for generation in numbers.filter_map(Generation::new) {
                let id = CredentialId { robot: robot.id.clone(), generation };
                commit.insert_lost(self, &id, &RegisteredName::of(&row.base_name, generation), robot).await?;
                added.push(id);
            }
            let raise = sqlx::query(
                "UPDATE robot SET last_generation = max(last_generation, $3) WHERE site = $1 AND name = $2",
            );
            let raise = raise.bind(robot.id.site.as_str()).bind(robot.id.robot.as_str()).bind(i64::from(*highest));
            commit.run(raise).await?;
        }
        commit.audit(Fact::of_store("inventory-accepted", detail)).await?;
        for robot in commit.frozen().await? {
            commit.clear(&robot, AttentionCode::Frozen).await?;
        }
        commit.done().await?;
        Ok(added)
    }
}

impl Commit<'_> {
    async fn insert_lost(
        &mut self,
        inventory: &Inventory,
        id: &CredentialId,
        name: &RegisteredName,
        robot: &NewRobot,
    ) -> Result<(), Error> {
        let insert = sqlx::query(
            "INSERT INTO credential (site, robot, generation, state, changed_at, reason, registered_name, role, secret,
                 key_algorithm, profile, delivery)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        );
        let insert = bind_id(insert, id)
            .bind(State::RetireManual.as_str())
            .bind(sql::time_text(self.now))
            .bind(REASON)
            .bind(name.as_str())
            .bind(robot.role.as_str())
            .bind(SecretRef::key(inventory.store_id(), id).as_str().to_owned())
            .bind(KeyAlgorithm::Rsa2048.as_str())
            .bind(Profile::Client.as_str())
            .bind(delivery_word(Delivery::Open));
        self.run(insert).await?;
        let hint = format!("remove {name} on the appliance if it is listed there");
        self.raise(&id.robot, AttentionCode::RetireManual, REASON, Some(&hint)).await?;
        let detail = json!({ "registered_name": name.as_str(), "to": State::RetireManual.as_str(), "reason": REASON });
        self.audit(Fact::of_credential(id, "lost", detail)).await
    }

    async fn frozen(&mut self) -> Result<Vec<RobotId>, Error> {
        let select = sqlx::query("SELECT site, robot FROM attention WHERE code = $1");
        let rows = self.rows(select.bind(AttentionCode::Frozen.as_str())).await?;
        rows.iter().map(|row| Reader::new(row, self.path()).robot()).collect()
    }
}
