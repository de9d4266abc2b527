//! How a simulator is started.
//!
//! Owns the options and their defaults. Nothing here can fail.

use super::Behaviours;
use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

/// The key of the simulator's server certificate.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum ServerKey {
    /// ECDSA P-256, quick to make.
    #[default]
    EcdsaP256,
    /// RSA 2048, as the appliance's own is likely to be.
    Rsa2048,
    /// Ed25519.
    Ed25519,
    /// A pair made elsewhere: the server is the same after a restart.
    Given {
        /// The certificate.
        certificate_der: Vec<u8>,
        /// Its private key, PKCS#8.
        key_der: Vec<u8>,
    },
}

impl fmt::Debug for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EcdsaP256 => "EcdsaP256",
            Self::Rsa2048 => "Rsa2048",
            Self::Ed25519 => "Ed25519",
            Self::Given { .. } => "Given(***)",
        })
    }
}

/// How the simulator presents itself in TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsOptions {
    /// Key, or a whole pair; with a given pair the other fields are not used.
    pub key: ServerKey,
    /// Subject alternative names, DNS or IP; may be empty (a bare common name).
    pub names: Vec<String>,
    /// The certificate ran out yesterday.
    pub expired: bool,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self { key: ServerKey::default(), names: vec!["localhost".to_owned(), "127.0.0.1".to_owned()], expired: false }
    }
}

/// How to start a [`Simulator`](super::Simulator).
#[derive(Clone)]
pub struct Options {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Number of devices, at most [`Options::MOST_DEVICES`].
    pub devices: usize,
    /// Some devices have names that attack whoever prints them: terminal
    /// escapes, spreadsheet formulas, line breaks, 4 KiB of text.
    pub hostile_names: bool,
    /// Decides every synthetic value.
    pub seed: u64,
    /// The support token it accepts.
    pub token: String,
    /// The API key it accepts, if any.
    pub api_key: Option<String>,
    /// How it behaves at first.
    pub behaviours: Behaviours,
    /// Its server certificate.
    pub tls: TlsOptions,
    /// Time added to every reply.
    pub latency: Duration,
    /// Bytes of rows and of pages that are kept as they were written; 0 keeps none.
    pub node_cache: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            devices: 1_000,
            hostile_names: false,
            seed: 1,
            token: "simulated-support-token".to_owned(),
            api_key: None,
            behaviours: Behaviours::default(),
            tls: TlsOptions::default(),
            latency: Duration::ZERO,
            node_cache: 64 << 20,
        }
    }
}

impl Options {
    /// The largest plant that can be simulated.
    pub const MOST_DEVICES: usize = 1_000_000;
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the token and not the API key: people also start this by hand.
        f.debug_struct("Options")
            .field("listen", &self.listen)
            .field("devices", &self.devices)
            .field("behaviours", &self.behaviours)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}
