//! Server certificates of every shape.

use rcgen::{BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair, SanType};
use robocred::x509::{KeyAlgorithm, PrivateKey, SpkiPin, private_key_to_pem};
use rustls::pki_types::CertificateDer;
use time::{OffsetDateTime, macros::datetime};

pub fn key(algorithm: KeyAlgorithm) -> PrivateKey {
    PrivateKey::generate(algorithm).unwrap()
}

pub fn pin_of(key: &PrivateKey) -> SpkiPin {
    key.spki_pin()
}

#[derive(Clone)]
pub struct Shape {
    pub common_name: String,
    pub names: Vec<String>,
    pub not_before: OffsetDateTime,
    pub not_after: OffsetDateTime,
    pub is_ca: bool,
    /// An unknown critical extension of this many bytes.
    pub odd_extension: Option<usize>,
}

impl Shape {
    /// Nothing wrong with it.
    pub fn named(name: &str) -> Self {
        Self {
            common_name: name.to_owned(),
            names: vec![name.to_owned()],
            not_before: datetime!(2000-01-01 0:00 UTC),
            not_after: datetime!(2100-01-01 0:00 UTC),
            is_ca: false,
            odd_extension: None,
        }
    }

    fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, self.common_name.as_str());
        params.subject_alt_names =
            self.names.iter().map(|name| SanType::DnsName(name.as_str().try_into().unwrap())).collect();
        (params.not_before, params.not_after) = (self.not_before, self.not_after);
        if self.is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        if let Some(size) = self.odd_extension {
            let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![0; size]);
            extension.set_criticality(true);
            params.custom_extensions.push(extension);
        }
        params
    }
}

pub struct Forged {
    pub key: PrivateKey,
    shape: Shape,
    certificate: rcgen::Certificate,
}

impl Forged {
    /// A self-signed one.
    pub fn new(key: PrivateKey, shape: Shape) -> Self {
        let certificate = shape.params().self_signed(&pair(&key)).unwrap();
        Self { key, shape, certificate }
    }

    /// One signed by this one.
    pub fn issue(&self, key: PrivateKey, shape: Shape) -> Self {
        let issuer = Issuer::new(self.shape.params(), pair(&self.key));
        let certificate = shape.params().signed_by(&pair(&key), &issuer).unwrap();
        Self { key, shape, certificate }
    }

    pub fn der(&self) -> &[u8] {
        self.certificate.der()
    }

    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.certificate.der().clone()]
    }

    pub fn pin(&self) -> SpkiPin {
        pin_of(&self.key)
    }

    pub fn pem(&self) -> String {
        let body: Vec<u8> = self.der().to_vec();
        let certificate = robocred::x509::Certificate::from_der(body).unwrap();
        robocred::x509::certificate_to_pem(&certificate)
    }

    pub fn key_pem(&self) -> String {
        private_key_to_pem(&self.key).unwrap().to_string()
    }
}

fn pair(key: &PrivateKey) -> KeyPair {
    KeyPair::try_from(key.expose_der()).unwrap()
}
