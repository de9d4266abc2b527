//! robocred issues, proves, keeps and uses robot credentials for Tenable OT
//! Security appliances.
//!
//! A site from the configuration becomes, step by step, a more trusted value,
//! and a later step asks for the earlier step's type:
//!
//! ```text
//! config ──► Site ──► Session ──► Record (planned, keyed, sending, registered)
//!                                    │  verify
//!                                    ▼
//!            export, ingest ◄── Verified ──► Record (active)
//! ```
//!
//! [`credential::plan`] decides what comes next, [`lifecycle`] does it, and the
//! adapters ([`config`], [`secrets`], [`trust`], [`appliance`], [`inventory`])
//! each own one outside thing and do not know one another. [`session`] joins
//! them. docs/ARCHITECTURE.md has the ranks, the order of steps and what is
//! durable before each.
//!
//! The library never prints, prompts, exits, or reads the environment outside
//! [`config`]; it is handed the time and the places it works in.

pub mod anchor;
pub mod appliance;
pub mod clean;
pub mod clock;
pub mod config;
pub mod credential;
pub mod document;
pub mod export;
pub mod hook;
pub mod ingest;
pub mod inventory;
pub mod lifecycle;
pub mod renewal;
pub mod secrets;
pub mod session;
#[cfg(feature = "simulator")]
pub mod simulator;
pub mod site;
pub mod status;
pub mod telling;
pub mod trust;
pub mod verify;
pub mod watch;
pub mod whole_file;
pub mod x509;
