//! The simulator's TLS: its certificate, and the request for a client's.
//!
//! Owns the server pair and the `rustls` configuration. A client certificate
//! is asked for and never needed; any self-signed one is let through, but its
//! key must sign the handshake. Who a certificate belongs to is decided per
//! request (`state`), except where the behaviour says that TLS refuses.

use super::{CaList, ServerKey, TlsOptions, TlsVersions, state::Shared};
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime},
    server::{
        NoServerSessionStorage,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    version::{TLS12, TLS13},
};
use std::{
    io,
    sync::{Arc, Weak},
};
use time::{Duration, OffsetDateTime};

/// The server's certificate and key.
#[derive(Clone)]
pub(super) struct ServerPair {
    pub certificate_der: Vec<u8>,
    key_der: Vec<u8>,
}

impl ServerPair {
    pub(super) fn make(options: &TlsOptions, now: OffsetDateTime) -> io::Result<Self> {
        let algorithm = match &options.key {
            ServerKey::Given { certificate_der, key_der } => {
                return Ok(Self { certificate_der: certificate_der.clone(), key_der: key_der.clone() });
            }
            ServerKey::EcdsaP256 => &PKCS_ECDSA_P256_SHA256,
            ServerKey::Rsa2048 => &PKCS_RSA_SHA256,
            ServerKey::Ed25519 => &PKCS_ED25519,
        };
        let key = KeyPair::generate_for(algorithm).map_err(io::Error::other)?;
        let mut params = CertificateParams::new(options.names.clone()).map_err(io::Error::other)?;
        params.distinguished_name.push(DnType::CommonName, "tenable-ot-simulator");
        params.not_before = now - Duration::days(30);
        params.not_after = now + if options.expired { -Duration::days(1) } else { Duration::days(700) };
        let certificate = params.self_signed(&key).map_err(io::Error::other)?;
        Ok(Self { certificate_der: certificate.der().to_vec(), key_der: key.serialize_der() })
    }

    /// The configuration for new connections, by the behaviours of the moment.
    pub(super) fn config(&self, shared: &Arc<Shared>) -> io::Result<ServerConfig> {
        let behaviours = shared.behaviours();
        let versions: &[_] = match behaviours.tls_versions {
            TlsVersions::Both => &[&TLS13, &TLS12],
            TlsVersions::Tls12 => &[&TLS12],
            TlsVersions::Tls13 => &[&TLS13],
        };
        let hints = match behaviours.ca_list {
            CaList::Empty => Vec::new(),
            CaList::Foreign => vec![DistinguishedName::from(FOREIGN_CA.to_vec())],
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let asks =
            Asks { hints, algorithms: provider.signature_verification_algorithms, shared: Arc::downgrade(shared) };
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key_der.clone()));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(io::Error::other)?
            .with_client_cert_verifier(Arc::new(asks))
            .with_single_cert(vec![CertificateDer::from(self.certificate_der.clone())], key)
            .map_err(io::Error::other)?;
        // A resumed session would not present its certificate again, and a
        // robot that was removed would still be let in by TLS.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// The name `CN=Foreign CA`, DER.
const FOREIGN_CA: &[u8] = b"\x30\x15\x31\x13\x30\x11\x06\x03\x55\x04\x03\x0c\x0aForeign CA";

#[derive(Debug)]
struct Asks {
    hints: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
    shared: Weak<Shared>,
}

impl ClientCertVerifier for Asks {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.shared.upgrade() {
            Some(shared) if shared.tls_lets_in(end_entity) => Ok(ClientCertVerified::assertion()),
            _ => Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
