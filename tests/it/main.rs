//! The integration tests: one binary, one file per subject, against real TLS.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails, in its helping functions too")]

#[cfg(all(unix, feature = "simulator"))]
mod anchor;
#[cfg(all(unix, feature = "simulator"))]
mod apikey;
mod appliance;
mod appliance_bodies;
mod appliance_hostile;
mod appliance_pages;
mod appliance_reads;
mod appliance_servers;
#[cfg(all(unix, feature = "simulator"))]
mod audit;
#[cfg(all(unix, feature = "simulator"))]
mod bad_input;
#[cfg(feature = "simulator")]
mod behaviours;
#[cfg(feature = "simulator")]
mod cases;
#[cfg(all(unix, feature = "simulator"))]
mod check;
mod config;
#[cfg(feature = "simulator")]
mod contract;
#[cfg(feature = "simulator")]
mod course;
#[cfg(all(feature = "failpoints", feature = "simulator"))]
mod crash;
#[cfg(feature = "simulator")]
mod cuts;
mod docs;
#[cfg(all(unix, feature = "simulator"))]
mod histories;
#[cfg(unix)]
mod hooks;
#[cfg(all(unix, feature = "simulator"))]
mod import;
#[cfg(all(feature = "failpoints", feature = "simulator"))]
mod import_killed;
#[cfg(feature = "simulator")]
mod ingest;
#[cfg(feature = "simulator")]
mod invariants;
mod inventory;
mod judges;
#[cfg(all(target_os = "linux", feature = "simulator"))]
mod leaks;
#[cfg(unix)]
mod page;
#[cfg(all(target_os = "linux", feature = "simulator"))]
mod power;
#[cfg(feature = "simulator")]
mod provision;
#[cfg(feature = "simulator")]
mod proxy;
#[cfg(feature = "simulator")]
mod pytenable;
mod ranks;
#[cfg(all(unix, feature = "simulator"))]
mod registrar;
#[cfg(all(unix, feature = "simulator"))]
mod retire;
#[cfg(all(unix, feature = "simulator"))]
mod rollback;
#[cfg(feature = "simulator")]
mod rotate;
#[cfg(all(unix, feature = "simulator"))]
mod rotate_hooks;
#[cfg(target_os = "linux")]
mod scan;
mod scripted;
mod secrets;
mod secrets_keyring;
mod secrets_sealed;
#[cfg(feature = "simulator")]
mod seed;
#[cfg(feature = "simulator")]
mod simulator;
#[cfg(feature = "simulator")]
mod situations;
#[cfg(all(target_os = "linux", feature = "simulator", feature = "test-clock"))]
mod soak;
#[cfg(feature = "simulator")]
mod status;
#[cfg(all(target_os = "linux", feature = "simulator"))]
mod systemd;
mod test_clock;
mod trust;
#[cfg(all(unix, feature = "simulator"))]
mod two;
#[cfg(all(unix, feature = "simulator"))]
mod watch;
#[cfg(unix)]
mod watch_http;
#[cfg(feature = "simulator")]
mod world;
mod x509;
mod x509_memory;
mod x509_openssl;
mod x509_servers;
