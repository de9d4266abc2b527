//! First contact: look at the server's certificate, and hang up.
//!
//! The verifier remembers what is shown and then refuses it, always. rustls
//! sends the client's certificate, and lets application data pass, only after
//! its verifier has accepted; so nothing can be sent. The server's proof that
//! it holds the key is not waited for: whoever shows another's certificate here
//! only gets that other one's key pinned, and is refused from then on.

use std::sync::Arc;

use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, SignatureScheme, WantsVerifier,
    client::{
        WantsClientCert,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::{PROVIDER, Presented, Refusal, Seen};

pub(super) fn observing(
    builder: ConfigBuilder<ClientConfig, WantsVerifier>,
    seen: Arc<Seen>,
) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    builder.dangerous().with_custom_certificate_verifier(Arc::new(Observing { seen }))
}

/// Accepts nothing.
#[derive(Debug)]
struct Observing {
    seen: Arc<Seen>,
}

impl ServerCertVerifier for Observing {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.seen.record(Presented::read(leaf, others, name, now)?);
        Err(Refusal::Observed.into())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Refusal::Observed.into())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Refusal::Observed.into())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        PROVIDER.signature_verification_algorithms.supported_schemes()
    }
}
