//! A server over real TLS that answers with scripted bytes, and a client that
//! trusts it. It writes down every request it was sent.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use robocred::{
    appliance::{
        Cursor, Cut, Deadlines, Error, List, PageAsk, PageLimits, ReadApi, RobotsApi, SupportToken, Target, Width,
    },
    x509::{Certificate, KeyAlgorithm, PrivateKey, Profile, Validity},
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};
use time::macros::datetime;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// The server's side of one connection.
pub type Peer = TlsStream<TcpStream>;

/// What the server was asked, whole, in order.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    pub fn requests(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// How many requests carried this text.
    pub fn holding(&self, text: &str) -> usize {
        self.requests().iter().filter(|request| request.contains(text)).count()
    }

    /// Reads one whole request, if there is one.
    pub async fn read(&self, peer: &mut Peer) -> Option<String> {
        let mut request = Vec::new();
        loop {
            if let Some(head) = request.windows(4).position(|w| w == b"\r\n\r\n") {
                let text = String::from_utf8_lossy(&request).into_owned();
                let length = text
                    .lines()
                    .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok())
                    .unwrap_or(0);
                if request.len() >= head + 4 + length {
                    self.0.lock().unwrap().push(text.clone());
                    return Some(text);
                }
            }
            if peer.read_buf(&mut request).await.ok()? == 0 {
                return None;
            }
        }
    }
}

/// How the server speaks TLS.
#[derive(Clone, Copy, Default)]
pub struct Tls<'a> {
    /// The only version, or both.
    pub version: Option<&'static SupportedProtocolVersion>,
    /// The one client certificate it lets in.
    pub registered: Option<&'a Certificate>,
}

pub struct Server {
    pub port: u16,
    pub seen: Seen,
    connections: Arc<AtomicUsize>,
    ended: Arc<Semaphore>,
    certificate: CertificateDer<'static>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Runs `script` on every connection.
    pub async fn start<F, R>(tls: Tls<'_>, script: F) -> Self
    where
        F: Fn(Peer, Seen) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send,
    {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate =
            rcgen::CertificateParams::new(vec!["127.0.0.1".into()]).unwrap().self_signed(&key).unwrap().der().clone();
        let config = server_config(tls, certificate.clone(), key.serialize_der());
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Seen::default();
        let connections = Arc::new(AtomicUsize::new(0));
        let ended = Arc::new(Semaphore::new(0));
        let (script, noted, counted) = (Arc::new(script), seen.clone(), Arc::clone(&connections));
        let over = Arc::clone(&ended);
        let task = tokio::spawn(async move {
            let mut peers = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                let (acceptor, script, noted) = (acceptor.clone(), Arc::clone(&script), noted.clone());
                let over = Arc::clone(&over);
                peers.spawn(async move {
                    if let Ok(peer) = acceptor.accept(stream).await {
                        script(peer, noted).await;
                    }
                    over.add_permits(1);
                });
            }
        });
        Self { port, seen, connections, ended, certificate, task }
    }

    /// Answers every request with the same bytes, then closes.
    pub async fn answering(reply: impl AsRef<[u8]>) -> Self {
        let reply = reply.as_ref().to_vec();
        Self::start(Tls::default(), move |mut peer, seen| {
            let reply = reply.clone();
            async move {
                if seen.read(&mut peer).await.is_some() {
                    say(&mut peer, &reply).await;
                    let _ = peer.shutdown().await;
                }
            }
        })
        .await
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// The pin of its key.
    #[cfg(feature = "simulator")]
    pub fn pin(&self) -> robocred::x509::SpkiPin {
        robocred::x509::SpkiPin::of_certificate(&self.certificate).unwrap()
    }

    /// Waits until the server has closed one connection more.
    pub async fn one_ended(&self) {
        let ended = tokio::time::timeout(Duration::from_secs(5), self.ended.acquire()).await;
        ended.expect("the connection is still open").unwrap().forget();
    }

    pub fn target(&self) -> Target {
        target(self.port)
    }

    /// A client configuration that trusts this server and presents `identity`.
    pub fn trusted(&self, identity: Option<&Identity>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        client_config(roots, identity)
    }

    pub fn robots(&self) -> RobotsApi {
        self.robots_within(patient())
    }

    pub fn robots_within(&self, deadlines: Deadlines) -> RobotsApi {
        RobotsApi::new(self.target(), self.trusted(None), deadlines)
    }

    pub fn reads(&self) -> ReadApi {
        self.reads_within(patient())
    }

    pub fn reads_within(&self, deadlines: Deadlines) -> ReadApi {
        ReadApi::new(self.target(), self.trusted(None), deadlines)
    }
}

pub fn target(port: u16) -> Target {
    Target { endpoint: format!("https://127.0.0.1:{port}").parse().unwrap(), proxy: None }
}

/// A client configuration that trusts `roots` and presents `identity`.
pub fn client_config(roots: RootCertStore, identity: Option<&Identity>) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .unwrap()
        .with_root_certificates(roots);
    Arc::new(match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => builder
            .with_client_auth_cert(vec![identity.certificate.der().to_vec().into()], identity.private_key())
            .unwrap(),
    })
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn server_config(tls: Tls<'_>, certificate: CertificateDer<'static>, key: Vec<u8>) -> ServerConfig {
    let versions = tls.version.map_or(rustls::ALL_VERSIONS.to_vec(), |version| vec![version]);
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&versions).unwrap();
    let builder = match tls.registered {
        None => builder.with_no_client_auth(),
        Some(registered) => {
            let mut roots = RootCertStore::empty();
            roots.add(registered.der().to_vec().into()).unwrap();
            builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build().unwrap(),
            )
        }
    };
    builder.with_single_cert(vec![certificate], PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key))).unwrap()
}

/// Writes, and does not mind a client that has had enough.
pub async fn say(peer: &mut Peer, bytes: &[u8]) {
    let _ = peer.write_all(bytes).await;
    let _ = peer.flush().await;
}

/// A key and its self-signed certificate.
pub struct Identity {
    key: PrivateKey,
    pub certificate: Certificate,
}

impl Identity {
    pub fn new() -> Self {
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let validity =
            Validity { not_before: datetime!(2020-01-01 0:00 UTC), not_after: datetime!(2049-01-01 0:00 UTC) };
        let certificate = Certificate::self_signed(&key, "robot1", validity, Profile::Client).unwrap();
        Self { key, certificate }
    }

    fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.expose_der().to_vec()))
    }
}

pub const TOKEN: &str = "s3cret-support-t0ken";

pub fn token() -> SupportToken {
    SupportToken::parse(TOKEN.as_bytes().to_vec().into()).unwrap()
}

/// Deadlines that a loaded machine keeps, and that a hanging test meets soon enough.
pub fn patient() -> Deadlines {
    let limit = Duration::from_secs(10);
    Deadlines {
        resolve: limit,
        connect: limit,
        tls: limit,
        call: limit,
        page: PageLimits { total: 2 * limit, window: limit, bytes_per_window: 1 },
    }
}

/// A reply with a body of a known length.
pub fn reply(status: u16, content_type: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} Whatever\r\nContent-Type: {content_type}\r\nDate: Thu, 19 Jan 2023 06:37:29 GMT\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub fn json(status: u16, body: &str) -> String {
    reply(status, "application/json; charset=utf-8", body)
}

/// The first page of a list.
pub fn ask(list: List) -> PageAsk<'static> {
    PageAsk {
        list,
        width: Width::Narrow,
        details: false,
        first: 200,
        after: None,
        include_hidden: false,
        since: None,
        until: None,
    }
}

/// One page of assets, cut.
pub trait AssetPages {
    /// Over GraphQL.
    fn assets_page(
        &self,
        after: Option<&Cursor>,
        first: u32,
        include_hidden: bool,
    ) -> impl Future<Output = Result<Cut, Error>>;

    /// Over REST.
    fn rest_assets_page(&self, offset: u64, limit: u32, hidden: bool) -> impl Future<Output = Result<Cut, Error>>;
}

impl AssetPages for ReadApi {
    async fn assets_page(&self, after: Option<&Cursor>, first: u32, include_hidden: bool) -> Result<Cut, Error> {
        let ask = PageAsk { first, after, include_hidden, ..ask(List::Assets) };
        self.graphql_page(&ask).await?.cut_graphql(ask.list)
    }

    async fn rest_assets_page(&self, offset: u64, limit: u32, hidden: bool) -> Result<Cut, Error> {
        self.rest_page(offset, limit, hidden).await?.cut_rest()
    }
}
