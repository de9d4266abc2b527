//! The integration tests: one binary, one file per subject, against real TLS.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails, in its helping functions too")]

mod judges;
mod secrets;
mod secrets_keyring;
mod secrets_sealed;
mod trust;
mod x509;
mod x509_memory;
mod x509_openssl;
mod x509_servers;
