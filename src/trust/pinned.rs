//! Servers known by themselves and not by their issuer: by the pin of their
//! public key, or because a CA file holds their very certificate.
//!
//! Under pins only the key of the server's own certificate decides. The bytes
//! that are compared with the pins are the bytes the handshake's signature is
//! checked with, so there is no second reading of the certificate that could
//! disagree, and any certificate around the key will do: expired, without
//! names, of version 1.

use std::sync::Arc;

use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, SignatureScheme, WantsVerifier,
    client::{
        WantsClientCert, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::verify_tls13_signature_with_raw_key,
    pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime},
};

use super::{PROVIDER, Presented, Refusal, Seen, roots::CaFile};
use crate::x509::SpkiPin;

/// Judges by pins: one of them must be the server's key.
pub(super) fn pinned(
    builder: ConfigBuilder<ClientConfig, WantsVerifier>,
    pins: &[SpkiPin],
    seen: Arc<Seen>,
) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    builder.dangerous().with_custom_certificate_verifier(Arc::new(Pinned { pins: pins.to_vec(), seen }))
}

/// Judges by a CA file: a certificate of it issued the server's, as rustls'
/// own verifier finds, or *is* the server's, byte for byte. The second is what
/// a person gets who saves the certificate of a self-signed server, and what
/// that verifier refuses if the certificate calls itself an authority, as those
/// of `openssl req -x509` do. Its validity and name must hold in both cases.
pub(super) fn listed(
    builder: ConfigBuilder<ClientConfig, WantsVerifier>,
    file: CaFile,
    seen: Arc<Seen>,
) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let CaFile { certificates, verifier } = file;
    builder.dangerous().with_custom_certificate_verifier(Arc::new(Listed { certificates, issued: verifier, seen }))
}

#[derive(Debug)]
struct Pinned {
    pins: Vec<SpkiPin>,
    seen: Arc<Seen>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.seen.record(Presented::read(leaf, others, name, now)?);
        let presented = SpkiPin::of_spki(&public_key(leaf)?);
        if self.pins.contains(&presented) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Refusal::UnknownKey { expected: self.pins.clone(), presented }.into())
        }
    }

    /// As rustls does it, with the bare key: in TLS 1.2 a signature scheme does
    /// not say which curve, so each algorithm of the scheme is tried.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = public_key(leaf)?;
        let key = webpki::RawPublicKeyEntity::try_from(&key).map_err(|_| Refusal::Unreadable)?;
        let schemes = PROVIDER.signature_verification_algorithms.mapping;
        let valid = schemes
            .iter()
            .filter(|(scheme, _)| *scheme == signature.scheme)
            .flat_map(|(_, algorithms)| *algorithms)
            .any(|algorithm| key.verify_signature(*algorithm, message, signature.signature()).is_ok());
        if valid { Ok(HandshakeSignatureValid::assertion()) } else { Err(Refusal::BadSignature.into()) }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &PROVIDER.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &public_key(leaf)?, signature, algorithms).map_err(not_its_key)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        PROVIDER.signature_verification_algorithms.supported_schemes()
    }
}

/// The public key of a certificate of any version.
fn public_key(leaf: &CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'static>, Refusal> {
    let (_, leaf) = x509_parser::parse_x509_certificate(leaf).map_err(|_| Refusal::Unreadable)?;
    Ok(SubjectPublicKeyInfoDer::from(leaf.public_key().raw.to_vec()))
}

/// A handshake signature that the key cannot have made: wrong, or of another
/// kind of key.
fn not_its_key(error: Error) -> Error {
    match error {
        Error::InvalidCertificate(_) => Refusal::BadSignature.into(),
        other => other,
    }
}

#[derive(Debug)]
struct Listed {
    certificates: Vec<CertificateDer<'static>>,
    issued: Arc<WebPkiServerVerifier>,
    seen: Arc<Seen>,
}

impl ServerCertVerifier for Listed {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let presented = Presented::read(leaf, others, name, now)?;
        let warning = presented.warnings.first().cloned();
        self.seen.record(presented);
        if !self.certificates.contains(leaf) {
            return self.issued.verify_server_cert(leaf, others, name, ocsp, now).map_err(|error| match error {
                // An issuer of a known name and an unknown key is unknown.
                Error::InvalidCertificate(CertificateError::BadSignature) => Refusal::UnknownIssuer.into(),
                other => other,
            });
        }
        match warning {
            None => Ok(ServerCertVerified::assertion()),
            Some(warning) => Err(Refusal::Invalid(warning).into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.issued.verify_tls12_signature(message, leaf, signature).map_err(not_its_key)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.issued.verify_tls13_signature(message, leaf, signature).map_err(not_its_key)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.issued.supported_verify_schemes()
    }
}
