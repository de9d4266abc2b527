//! The integration tests: one binary, one file per subject, against real TLS.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails, in its helping functions too")]

mod appliance;
mod appliance_bodies;
mod appliance_hostile;
mod appliance_reads;
mod appliance_servers;
mod config;
#[cfg(feature = "simulator")]
mod ingest;
mod inventory;
mod judges;
mod scripted;
mod secrets;
mod secrets_keyring;
mod secrets_sealed;
#[cfg(feature = "simulator")]
mod simulator;
mod trust;
mod x509;
mod x509_memory;
mod x509_openssl;
mod x509_servers;
