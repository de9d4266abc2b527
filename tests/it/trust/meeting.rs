//! One client and one rustls server in one process: what each of them saw.

use std::{io, sync::Arc};

use robocred::{
    trust::{Judge, Refusal, refusal},
    x509::{Certificate, PrivateKey},
};
use rustls::{
    DistinguishedName, HandshakeKind, RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
    server::WebPkiClientVerifier,
    sign::{CertifiedKey, SingleCertAndKey},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::forge::Forged;

/// Which issuers the server names when it asks for a client certificate.
#[derive(Clone, Debug)]
pub enum Asks {
    Nobody,
    /// The issuers it accepts.
    Anyone,
    /// These instead; only common names.
    Naming(Vec<&'static str>),
}

/// What the server does.
pub struct Shows {
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
    versions: Vec<&'static SupportedProtocolVersion>,
    asks: Asks,
    expects: Option<Vec<u8>>,
}

impl Shows {
    pub fn new(server: &Forged) -> Self {
        Self::this(&server.chain()[0], &server.key)
    }

    pub fn this(certificate: &CertificateDer<'static>, key: &PrivateKey) -> Self {
        Self {
            chain: vec![certificate.clone()],
            key: key.expose_der().to_vec(),
            versions: rustls::ALL_VERSIONS.to_vec(),
            asks: Asks::Nobody,
            expects: None,
        }
    }

    pub fn signed_with(self, key: &PrivateKey) -> Self {
        Self { key: key.expose_der().to_vec(), ..self }
    }

    pub fn followed_by(mut self, other: &Forged) -> Self {
        self.chain.extend(other.chain());
        self
    }

    pub fn only(self, version: &'static SupportedProtocolVersion) -> Self {
        Self { versions: vec![version], ..self }
    }

    pub fn asking(self, asks: Asks) -> Self {
        Self { asks, ..self }
    }

    pub fn expecting(self, certificate: &Certificate) -> Self {
        Self { expects: Some(certificate.der().to_vec()), ..self }
    }

    pub fn config(self) -> Arc<ServerConfig> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key));
        let key = aws_lc_rs::sign::any_supported_type(&key).unwrap();
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(&self.versions).unwrap();
        let builder = match &self.asks {
            Asks::Nobody => builder.with_no_client_auth(),
            asks => builder.with_client_cert_verifier(asker(asks, self.expects.as_deref(), provider, &self.chain[0])),
        };
        // `CertifiedKey::new` does not compare key and certificate, as a thief would not.
        let certified = CertifiedKey::new(self.chain, key);
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config)
    }
}

fn asker(
    asks: &Asks,
    expects: Option<&[u8]>,
    provider: Arc<CryptoProvider>,
    own: &CertificateDer<'static>,
) -> Arc<dyn rustls::server::danger::ClientCertVerifier> {
    let mut roots = RootCertStore::empty();
    let accepted = expects.map_or_else(|| own.clone(), |der| CertificateDer::from(der.to_vec()));
    roots.add(accepted).unwrap();
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).allow_unauthenticated();
    match asks {
        Asks::Naming(names) => builder
            .clear_root_hint_subjects()
            .add_root_hint_subjects(names.iter().map(|name| distinguished_name(name)).collect::<Vec<_>>()),
        _ => builder,
    }
    .build()
    .unwrap()
}

/// A DER name of one common name.
fn distinguished_name(name: &str) -> DistinguishedName {
    let text = [&[0x0c, u8::try_from(name.len()).unwrap()], name.as_bytes()].concat();
    let wrap = |tag: u8, inner: &[u8]| [&[tag, u8::try_from(inner.len()).unwrap()], inner].concat();
    let attribute = wrap(0x30, &[&[0x06, 0x03, 0x55, 0x04, 0x03], text.as_slice()].concat());
    DistinguishedName::in_sequence(&wrap(0x31, &attribute))
}

/// What the server saw of the client.
#[derive(Default)]
pub struct Saw {
    pub client_chain: Vec<Vec<u8>>,
    pub received: Vec<u8>,
    pub alpn: Option<Vec<u8>>,
}

pub struct Meeting {
    /// How the handshake went, once the server has answered over it.
    pub client: Result<HandshakeKind, io::Error>,
    pub server: Saw,
}

impl Meeting {
    pub fn refusal(&self) -> Refusal {
        let error = self.client.as_ref().expect_err("the server was accepted");
        refusal(error).unwrap_or_else(|| panic!("no refusal in {error:?}"))
    }
}

/// One meeting with a server of its own.
pub async fn meet(judge: &Judge, name: &str, shows: Shows) -> Meeting {
    meet_again(judge, name, &shows.config()).await
}

/// Connects, says "ping", waits for "pong". The server remembers the sessions
/// of its earlier meetings.
pub async fn meet_again(judge: &Judge, name: &str, server: &Arc<ServerConfig>) -> Meeting {
    let (near, far) = tokio::io::duplex(256 * 1024);
    let server = async {
        let mut saw = Saw::default();
        let Ok(mut stream) = TlsAcceptor::from(Arc::clone(server)).accept(far).await else { return saw };
        let connection = stream.get_ref().1;
        saw.client_chain =
            connection.peer_certificates().unwrap_or_default().iter().map(|certificate| certificate.to_vec()).collect();
        saw.alpn = connection.alpn_protocol().map(<[u8]>::to_vec);
        let mut buffer = [0; 4];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            saw.received.extend_from_slice(&buffer[..count]);
            if saw.received == b"ping" && stream.write_all(b"pong").await.is_err() {
                break;
            }
        }
        saw
    };
    let client = async {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut stream = TlsConnector::from(judge.config()).connect(name, near).await?;
        stream.write_all(b"ping").await?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await?;
        assert_eq!(&answer, b"pong");
        stream.shutdown().await?;
        Ok(stream.get_ref().1.handshake_kind().unwrap())
    };
    let (client, server) = tokio::join!(client, server);
    if client.is_ok() {
        assert_eq!(server.received, b"ping");
    }
    Meeting { client, server }
}
