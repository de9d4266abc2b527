//! The client's side of mutual TLS: a private key that can sign, with its certificate.

use std::{fmt, sync::Arc};

use rustls::{
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::CertifiedKey,
};

use super::Error;
use crate::x509::{self, Certificate, PrivateKey};

/// A robot's key pair, ready for mutual TLS. Clones share one signing key.
#[derive(Clone)]
pub struct Identity {
    certified: Arc<CertifiedKey>,
}

impl Identity {
    /// Loads the key into the crypto library, which wipes its copy when the
    /// last clone and the last configuration made from it are dropped. No other
    /// copy of the key's bytes is made.
    ///
    /// Fails with [`Error::Identity`] when key and certificate do not belong
    /// together, with [`Error::KeyUnusable`] when the library cannot sign with the key.
    pub fn new(key: &PrivateKey, certificate: &Certificate) -> Result<Self, Error> {
        x509::key_belongs_to(key, certificate).map_err(Error::Identity)?;
        let borrowed = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.expose_der()));
        let signing = any_supported_type(&borrowed).map_err(Error::KeyUnusable)?;
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        Ok(Self { certified: Arc::new(CertifiedKey::new(chain, signing)) })
    }

    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(***)")
    }
}
