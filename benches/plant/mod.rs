//! What the benches have in common: a large inventory, the tool with a home of
//! its own, and how figures are written.

use std::{error::Error, fmt::Write as _, fs, path::Path, process::Command, time::Duration};

use robocred::{
    clock::{Clock as _, SystemClock},
    credential::{Control, Delivery},
    inventory::{Change, Inventory, NewGeneration, NewRobot, Origin},
    site::{Endpoint, RobotId, Role, StoreKind},
    x509::{Certificate, KeyAlgorithm, PrivateKey, Profile, Validity},
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The shape of the large inventory: robots of a site share its address.
pub const SITES: usize = 20;
pub const ROBOTS_A_SITE: usize = 50;

/// A configuration and an inventory with active robots, all with one certificate.
pub async fn fill(home: &Path, sites: usize) -> Result<()> {
    let now = SystemClock.now();
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256)?;
    let certificate = Certificate::self_signed(&key, "robot", Validity::of_days(now, 365)?, Profile::Client)?;
    let state = home.join(".local/state/robocred");
    let config = home.join(".config/robocred");
    fs::create_dir_all(&state)?;
    fs::create_dir_all(&config)?;
    owner_only(&state)?;
    let inventory = Inventory::open(&state, "bench", now).await?;
    inventory.record_store_kind(StoreKind::Sealed, now).await?;
    let mut text = "version = 1\n".to_owned();
    for site in 0..sites {
        let endpoint: Endpoint = format!("https://10.20.0.{site}").parse()?;
        writeln!(text, "\n[sites.plant-{site}]\nurl = \"{endpoint}\"\ntrust = \"system\"")?;
        let lock = inventory.lock_site(&format!("plant-{site}").parse()?, None, now).await?;
        for robot in 0..ROBOTS_A_SITE {
            writeln!(text, "\n[sites.plant-{site}.robots.robot-{robot}]\nrole = \"reader\"")?;
            let id: RobotId = format!("plant-{site}/robot-{robot}").parse()?;
            let (base_name, role, origin) = (id.robot.clone(), Role::Reader, Origin::Provisioned);
            let adopted = NewRobot { id: id.clone(), base_name, role, endpoint: endpoint.clone(), origin };
            inventory.adopt_robot(&lock, &adopted, now).await?;
            let (key_algorithm, profile) = (KeyAlgorithm::EcdsaP256, Profile::Client);
            let next = NewGeneration { robot: id, role, key_algorithm, profile, forced: false };
            let id = inventory.plan_generation(&lock, &next, now).await?.id;
            for change in [
                Change::KeyStored { certificate: certificate.clone() },
                Change::SendBegun { control: Control::Refused },
                Change::Accepted { remote_id: Some(format!("{site}-{robot}")) },
                Change::Promoted { passed: Vec::new() },
            ] {
                inventory.advance(&lock, &id, change, now).await?;
            }
            inventory.set_delivery(&lock, &id, Delivery::Delivered, time::Duration::days(14), now).await?;
        }
    }
    inventory.close().await?;
    fs::write(config.join("robocred.toml"), text)?;
    Ok(())
}

/// The tool with a home of its own and nothing of our environment.
pub fn robocred(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_robocred"));
    command.env_clear().current_dir(home).env("HOME", home).env("PATH", "/usr/bin:/bin");
    command.env("ROBOCRED_STORE", "sealed").env("ROBOCRED_NON_INTERACTIVE", "true");
    command
}

pub fn owner_only(path: &Path) -> Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = if path.is_dir() { 0o700 } else { 0o600 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

pub fn millis(duration: &Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Median, smallest and largest.
pub struct Figure([f64; 3]);

impl Figure {
    pub fn of(values: &[f64]) -> Self {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        Self([values[values.len() / 2], values[0], values[values.len() - 1]])
    }
}

impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [median, smallest, largest] = self.0;
        write!(f, "{median:.2} ({smallest:.2} to {largest:.2})")
    }
}
