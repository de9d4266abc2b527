//! A small client of the tests' own: one request, one connection, over real TLS.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use robocred::{
    simulator::{Behaviours, Options, Simulator, start},
    x509::{Certificate, KeyAlgorithm, PrivateKey, Profile, Validity, certificate_to_pem},
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
};
use serde_json::{Value as Json, json};
use std::{io, net::SocketAddr, sync::Arc};
use time::OffsetDateTime;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub const TOKEN: &str = "token-of-this-test";
pub const KEY: &str = "api-key-of-this-test";

pub async fn simulator(behaviours: Behaviours) -> Simulator {
    let options = Options {
        token: TOKEN.to_owned(),
        api_key: Some(KEY.to_owned()),
        behaviours,
        devices: 120,
        ..Options::default()
    };
    start(options).await.unwrap()
}

/// A robot's pair, not yet registered anywhere.
pub struct Pair {
    pub key: PrivateKey,
    pub certificate: Certificate,
}

impl Pair {
    pub fn new(algorithm: KeyAlgorithm) -> Self {
        let key = PrivateKey::generate(algorithm).unwrap();
        #[allow(clippy::disallowed_methods, reason = "the simulator judges by the real clock")]
        let validity = Validity::of_days(OffsetDateTime::now_utc(), 365).unwrap();
        let certificate = Certificate::self_signed(&key, "robot1", validity, Profile::Client).unwrap();
        Self { key, certificate }
    }

    pub fn registration(&self, name: &str, role: &str) -> Json {
        json!({"name": name, "role": role, "cert": certificate_to_pem(&self.certificate)})
    }
}

pub struct Reply {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> Json {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

/// One request on a connection of its own.
pub struct Ask<'a> {
    address: SocketAddr,
    roots: RootCertStore,
    pair: Option<&'a Pair>,
    headers: Vec<(&'static str, String)>,
}

impl<'a> Ask<'a> {
    pub fn new(simulator: &Simulator) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(simulator.certificate_der())).unwrap();
        Self { address: simulator.address(), roots, pair: None, headers: Vec::new() }
    }

    pub fn with_token(simulator: &Simulator) -> Self {
        Self::new(simulator).header("authorization", format!("Bearer {TOKEN}"))
    }

    pub fn with_key(simulator: &Simulator) -> Self {
        Self::new(simulator).header("x-apikeys", format!("key={KEY}"))
    }

    pub fn with_pair(simulator: &Simulator, pair: &'a Pair) -> Self {
        Self { pair: Some(pair), ..Self::new(simulator) }
    }

    pub fn header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    pub async fn connect(&self) -> io::Result<hyper::client::conn::http1::SendRequest<Full<Bytes>>> {
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots.clone());
        let config = match self.pair {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.key.expose_der().to_vec()));
                let chain = vec![CertificateDer::from(pair.certificate.der().to_vec())];
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        let tcp = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await?;
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(tls)).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        Ok(sender)
    }

    pub fn request(&self, method: &str, path: &str, body: String) -> http::Request<Full<Bytes>> {
        let mut request = http::Request::builder().method(method).uri(path).header("host", "127.0.0.1");
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        request.body(Full::new(Bytes::from(body))).unwrap()
    }

    pub async fn send(&self, method: &str, path: &str, body: String) -> io::Result<Reply> {
        let mut sender = self.connect().await?;
        read(sender.send_request(self.request(method, path, body)).await.map_err(io::Error::other)?).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, String::new()).await.unwrap()
    }

    pub async fn post(&self, path: &str, body: &Json) -> Reply {
        self.send("POST", path, body.to_string()).await.unwrap()
    }

    pub async fn graphql(&self, query: &str) -> Json {
        self.post("/graphql", &json!({"query": query})).await.json()
    }
}

pub async fn read(response: http::Response<hyper::body::Incoming>) -> io::Result<Reply> {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = response.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
    Ok(Reply { status, headers, body: String::from_utf8_lossy(&body).into_owned() })
}

pub const VERSION: &str = "/v1/version";
pub const ROBOTS: &str = "/v1/robots";

/// Walks a connection; the ids in order, and the pages it took.
pub async fn walk(ask: &Ask<'_>, arguments: &str, first: usize) -> (Vec<String>, usize) {
    let (mut ids, mut pages, mut after) = (Vec::new(), 0, Json::Null);
    loop {
        let query = format!(
            "{{assets(first:{first} after:{after} {arguments}){{nodes{{id}} pageInfo{{hasNextPage endCursor}}}}}}"
        );
        let reply = ask.graphql(&query).await;
        let page = &reply["data"]["assets"];
        ids.extend(
            page["nodes"]
                .as_array()
                .unwrap_or_else(|| panic!("{reply}"))
                .iter()
                .map(|node| node["id"].as_str().unwrap().to_owned()),
        );
        pages += 1;
        after = page["pageInfo"]["endCursor"].clone();
        if page["pageInfo"]["hasNextPage"] != true {
            return (ids, pages);
        }
    }
}
