//! Is this the right server?
//!
//! Owns the judgement of an appliance's certificate: by the operating
//! system's roots, by the certificates of one file, or by pinned public keys;
//! and observing an unknown server without telling it anything. It hands out
//! finished rustls configurations and opens no connection itself.
//!
//! Leaves out what follows from a judgement: whether a person confirms an
//! observed key and where a pin is written (`session`, `config`), and every
//! request (`appliance`).
//!
//! Promises, whatever the policy: TLS 1.2 or 1.3, `http/1.1` as the only
//! protocol offered, no session resumption, no early data, and the server
//! proves that it holds the key of its certificate. The client certificate
//! and the first byte of a request leave only after the server was accepted;
//! on failure neither was sent. (TLS 1.2 sends the client certificate, which is
//! no secret, in clear.) Nothing turns verification off.

mod identity;
mod observe;
mod pinned;
mod presented;
mod refusal;
mod roots;

use std::{
    fmt, io,
    path::PathBuf,
    sync::{Arc, LazyLock},
    time::Duration,
};

use rustls::{
    ClientConfig, ConfigBuilder, WantsVerifier,
    client::{Resumption, WantsClientCert},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, UnixTime},
    sign::SingleCertAndKey,
    time_provider::TimeProvider,
};

use crate::{
    clock::{Clock as _, SystemClock},
    site::TrustPolicy,
    x509,
};
pub use identity::Identity;
use presented::Seen;
pub use presented::{Presented, Warning};
pub use refusal::{Refusal, refusal};

/// Why no judge could be made. Nothing was sent anywhere.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The CA file could not be read.
    #[error("could not read the CA file {}", path.display())]
    CaFileUnreadable {
        /// The file of the configuration.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The CA file is larger than any list of roots.
    #[error("the CA file {} is larger than {limit} bytes", path.display())]
    CaFileTooLarge {
        /// The file of the configuration.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// The CA file holds no PEM certificate.
    #[error("the CA file {} holds no certificate in PEM form", path.display())]
    CaFileEmpty {
        /// The file of the configuration.
        path: PathBuf,
    },
    /// The CA file holds a private key, which has no business there.
    #[error("the CA file {} holds a private key", path.display())]
    CaFileHoldsKey {
        /// The file of the configuration.
        path: PathBuf,
    },
    /// A PEM section of the CA file is broken, or is no certificate inside.
    #[error("certificate {number} of the CA file {} cannot be used", path.display())]
    CaFileDamaged {
        /// The file of the configuration.
        path: PathBuf,
        /// Which certificate of the file, from 1.
        number: usize,
        /// What was wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The operating system has no usable root certificate.
    #[error("the operating system has no usable root certificates ({} problems while looking)", problems.len())]
    NoRoots {
        /// What was met while looking, in the platform's words.
        problems: Vec<String>,
    },
    /// The private key and the certificate of an [`Identity`] do not belong together.
    #[error("the private key and the certificate cannot be used together")]
    Identity(#[source] x509::Error),
    /// The TLS library cannot sign with the private key of an [`Identity`].
    #[error("the TLS library cannot sign with this private key")]
    KeyUnusable(#[source] rustls::Error),
}

impl Error {
    /// What a person can do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::CaFileUnreadable { .. } => {
                "give the path of a PEM file that this user can read, or trust the server by pin"
            }
            Self::CaFileTooLarge { .. } => "give a file that holds only the certificates that issued this server's",
            Self::CaFileEmpty { .. } | Self::CaFileDamaged { .. } => {
                "the file must hold one or more -----BEGIN CERTIFICATE----- sections; \
                 `openssl x509 -inform der -in FILE` turns a binary certificate into one"
            }
            Self::CaFileHoldsKey { .. } => {
                "keep certificates and private keys in separate files; this one was not used"
            }
            Self::NoRoots { .. } => {
                "install the system's root certificates (Debian: ca-certificates), or trust the server by pin or CA file"
            }
            Self::Identity(_) | Self::KeyUnusable(_) => return None,
        };
        Some(hint.to_owned())
    }
}

/// A server's judge: a TLS configuration that accepts the right server only,
/// and a memory of what the server last showed. One per site or connection;
/// clones share both.
#[derive(Clone)]
pub struct Judge {
    config: Arc<ClientConfig>,
    seen: Arc<Seen>,
}

impl Judge {
    /// The TLS configuration to connect with. Its handshake fails with an
    /// error that [`refusal`] can read when the server is not the right one.
    #[must_use]
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// What the server last showed, `None` before the first handshake. After a
    /// failed handshake it is only a claim: the server may not hold that key.
    ///
    /// Under [`TrustPolicy::System`] nothing is recorded until [`Judge::record`]
    /// is called; to see what a refused server shows, use [`observer`].
    #[must_use]
    pub fn presented(&self) -> Option<Presented> {
        self.seen.last()
    }

    /// Records the certificates of a finished handshake, as rustls'
    /// `peer_certificates` gives them. Needed under [`TrustPolicy::System`]
    /// only, whose verifier is rustls' own and remembers nothing; harmless
    /// elsewhere. An empty or unreadable chain is ignored, and so is one whose
    /// first certificate is already recorded.
    pub fn record(&self, chain: &[CertificateDer<'_>]) {
        if let Some(leaf) = chain.first()
            && let Ok(facts) = x509::inspect(leaf)
            && self.presented().is_none_or(|last| last.facts != facts)
        {
            self.seen.record(Presented { spki_pin: facts.spki_pin, facts, warnings: Vec::new() });
        }
    }
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judge").field("presented", &self.presented()).finish_non_exhaustive()
    }
}

/// Makes a judge from a site's policy. `identity` is shown to an accepted
/// server that asks for a client certificate, whichever issuers it names.
///
/// Which name or address the certificate must hold is said by whoever
/// connects, as rustls' server name. Reads the operating system's roots or the
/// CA file, at most 1 MiB, so it can block for a moment; touches no network.
/// The operating system's roots are looked for by `rustls-native-certs`, which
/// honours `SSL_CERT_FILE` and `SSL_CERT_DIR`.
pub fn judge(policy: &TrustPolicy, identity: Option<&Identity>) -> Result<Judge, Error> {
    let seen = Arc::new(Seen::default());
    let builder = match policy {
        TrustPolicy::System => roots::system(builder())?,
        TrustPolicy::CaFile(path) => pinned::listed(builder(), roots::read(path)?, Arc::clone(&seen)),
        TrustPolicy::Pins(pins) => pinned::pinned(builder(), pins, Arc::clone(&seen)),
    };
    Ok(Judge { config: finish(builder, identity), seen })
}

/// Makes a judge that accepts nobody, for the first contact with a server: the
/// handshake always fails, with [`Refusal::Observed`] once the server has shown
/// a readable certificate, which [`Judge::presented`] then returns. No client
/// certificate and no byte of application data can leave through it.
#[must_use]
pub fn observer() -> Judge {
    let seen = Arc::new(Seen::default());
    let builder = observe::observing(builder(), Arc::clone(&seen));
    Judge { config: finish(builder, None), seen }
}

/// The one crypto provider, passed on explicitly: nothing is installed process-wide.
static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));

/// rustls judges by the same clock as everything else here.
#[derive(Debug)]
struct OurClock;

impl TimeProvider for OurClock {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(SystemClock.now().unix_timestamp()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

fn builder() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    ClientConfig::builder_with_details(Arc::clone(&PROVIDER), Arc::new(OurClock))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .expect("the provider has suites and key exchange groups for both versions")
}

/// What every judge's configuration has in common.
fn finish(builder: ConfigBuilder<ClientConfig, WantsClientCert>, identity: Option<&Identity>) -> Arc<ClientConfig> {
    let mut config = match identity {
        // This resolver answers whatever issuers the server names: an
        // appliance that lists other issuers, or none, still wants ours.
        Some(identity) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified()))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A resumed session would skip the certificate, and with it the judgement.
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Arc::new(config)
}
