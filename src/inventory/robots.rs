//! The robots we look after.

use std::{fmt, str::FromStr};

use serde_json::json;
use time::OffsetDateTime;

use super::{
    Error, Inventory, SiteLock,
    audit::Fact,
    sql::{self, Commit, Reader},
};
use crate::{
    credential::State,
    site::{Endpoint, RobotId, RobotName, Role},
};

/// How a robot came to be ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Its first credential was made here.
    Provisioned,
    /// An existing pair was taken over.
    Imported,
}

impl Origin {
    /// The word used in the database and in the audit.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provisioned => "provisioned",
            Self::Imported => "imported",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Origin {
    type Err = String;

    /// # Errors
    /// The word, if it is neither.
    fn from_str(word: &str) -> Result<Self, String> {
        [Self::Provisioned, Self::Imported]
            .into_iter()
            .find(|origin| origin.as_str() == word)
            .ok_or_else(|| word.to_owned())
    }
}

/// A robot to be looked after from now on.
#[derive(Clone, Debug)]
pub struct NewRobot {
    /// Which robot.
    pub id: RobotId,
    /// The name its generations are registered under, with `-gN` from the second on.
    pub base_name: RobotName,
    /// Its role.
    pub role: Role,
    /// The appliance's address.
    pub endpoint: Endpoint,
    /// How it came to be ours.
    pub origin: Origin,
}

/// A robot as the inventory knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RobotRow {
    /// Which robot.
    pub id: RobotId,
    /// The name its generations are registered under, with `-gN` from the second on.
    pub base_name: RobotName,
    /// The role of the generation promoted last, or wanted first.
    pub role: Role,
    /// The appliance's address when it was adopted.
    pub endpoint: Endpoint,
    /// How it came to be ours.
    pub origin: Origin,
    /// When it was adopted.
    pub created_at: OffsetDateTime,
    /// When a generation last became active.
    pub last_promotion: Option<OffsetDateTime>,
    /// The highest generation ever planned; 0 for none.
    pub last_generation: u32,
}

impl RobotRow {
    fn read(row: Reader<'_>) -> Result<Self, Error> {
        Ok(Self {
            id: row.robot()?,
            base_name: row.word("base_name")?,
            role: row.word("role")?,
            endpoint: row.word("endpoint")?,
            origin: row.word("origin")?,
            created_at: row.time("created_at")?,
            last_promotion: row.maybe_time("last_promotion")?,
            last_generation: u32::try_from(row.int("last_generation")?).map_err(|_| row.misread("last_generation"))?,
        })
    }
}

/// The columns of a robot, and the rest of the statement.
macro_rules! select_robots {
    ($rest:literal) => {
        sqlx::query(concat!(
            "SELECT site, name AS robot, base_name, role, endpoint, origin, created_at, last_promotion, ",
            "last_generation FROM robot ",
            $rest
        ))
    };
}

/// Another robot of the site that has a name, while the appliance may know one of its generations.
macro_rules! select_namesake {
    ($id:expr, $name:expr) => {
        sqlx::query(
            "SELECT DISTINCT robot.site, robot.name AS robot FROM robot
             JOIN credential ON credential.site = robot.site AND credential.robot = robot.name
             WHERE robot.site = $1 AND robot.name <> $2 AND robot.base_name = $3
                 AND credential.state NOT IN ($4, $5)",
        )
        .bind($id.site.as_str())
        .bind($id.robot.as_str())
        .bind($name.as_str())
        .bind(State::Retired.as_str())
        .bind(State::Abandoned.as_str())
    };
}

impl Commit<'_> {
    /// The robot, as this transaction sees it.
    pub(super) async fn robot(&mut self, id: &RobotId) -> Result<Option<RobotRow>, Error> {
        let select = select_robots!("WHERE site = $1 AND name = $2");
        let row = self.row(select.bind(id.site.as_str()).bind(id.robot.as_str())).await?;
        row.map(|row| RobotRow::read(Reader::new(&row, self.path()))).transpose()
    }

    /// Refuses a name that another robot of the site has.
    async fn name_is_free(&mut self, id: &RobotId, name: &RobotName) -> Result<(), Error> {
        let row = self.row(select_namesake!(id, name)).await?;
        let robot = row.map(|row| Reader::new(&row, self.path()).robot()).transpose()?;
        robot.map_or(Ok(()), |robot| Err(Error::NameOurs { name: name.clone(), robot }))
    }

    /// Writes the robot, in place of the one of that name if there is one, with its audit entry.
    pub(super) async fn insert_robot(&mut self, robot: &NewRobot) -> Result<RobotRow, Error> {
        let insert = sqlx::query(
            "INSERT INTO robot (site, name, base_name, role, endpoint, origin, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (site, name) DO UPDATE SET base_name = $3, role = $4, endpoint = $5, origin = $6",
        );
        let insert = insert
            .bind(robot.id.site.as_str())
            .bind(robot.id.robot.as_str())
            .bind(robot.base_name.as_str())
            .bind(robot.role.as_str())
            .bind(robot.endpoint.to_string())
            .bind(robot.origin.as_str())
            .bind(sql::time_text(self.now));
        self.run(insert).await?;
        let detail = json!({
            "base_name": robot.base_name.as_str(),
            "role": robot.role.as_str(),
            "endpoint": robot.endpoint.to_string(),
            "origin": robot.origin.as_str(),
        });
        self.audit(Fact::of_robot(&robot.id, "adopted", detail)).await?;
        self.robot(&robot.id).await?.ok_or_else(|| Error::NoRobot(robot.id.clone()))
    }
}

impl Inventory {
    /// The robot, if we look after it.
    pub async fn robot(&self, id: &RobotId) -> Result<Option<RobotRow>, Error> {
        let select = select_robots!("WHERE site = $1 AND name = $2");
        self.find(select.bind(id.site.as_str()).bind(id.robot.as_str()), RobotRow::read).await
    }

    /// Every robot, ordered by site and name.
    pub async fn robot_rows(&self) -> Result<Vec<RobotRow>, Error> {
        self.collect(select_robots!("ORDER BY site, name"), RobotRow::read).await
    }

    /// Every robot with its role, ordered by site and name.
    pub async fn robots(&self) -> Result<Vec<(RobotId, Role)>, Error> {
        let select = sqlx::query("SELECT site, name AS robot, role FROM robot ORDER BY site, name");
        self.collect(select, |row| Ok((row.robot()?, row.word("role")?))).await
    }

    /// Refuses a name for the robot that another robot of its site has, while one of that robot's
    /// generations is in use, on its way or left behind.
    ///
    /// # Errors
    /// [`Error::NameOurs`].
    pub async fn name_is_free(&self, id: &RobotId, name: &RobotName) -> Result<(), Error> {
        let robot = self.find(select_namesake!(id, name), |row| row.robot()).await?;
        robot.map_or(Ok(()), |robot| Err(Error::NameOurs { name: name.clone(), robot }))
    }

    /// Begins to look after a robot. One we already look after is returned as it is, or, as long as
    /// the appliance can have heard nothing of it, with the name, role, address and origin wanted now.
    ///
    /// # Errors
    /// [`Error::NameOurs`] with nothing changed.
    pub async fn adopt_robot(&self, lock: &SiteLock, robot: &NewRobot, now: OffsetDateTime) -> Result<RobotRow, Error> {
        lock.covers(&robot.id)?;
        let mut connection = self.connection.lock().await;
        let mut commit = Commit::begin_locked(self, &mut connection, lock, now).await?;
        let known = commit.robot(&robot.id).await?;
        let settled = commit.records(&robot.id).await?.iter().any(|record| {
            record.attempt.is_some() || !matches!(record.state, State::Planned | State::Keyed | State::Abandoned)
        });
        if let Some(known) = known {
            let there = (&known.base_name, known.role, &known.endpoint, known.origin);
            if settled || there == (&robot.base_name, robot.role, &robot.endpoint, robot.origin) {
                return Ok(known);
            }
        }
        commit.name_is_free(&robot.id, &robot.base_name).await?;
        let adopted = commit.insert_robot(robot).await?;
        commit.done().await?;
        Ok(adopted)
    }
}
