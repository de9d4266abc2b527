//! How servers that others wrote refuse a certificate, and that a probe sees it:
//! OpenSSL by TLS alert, nginx by a page.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use robocred::{
    appliance::{Answer, Probe, ReadApi, Refusal},
    x509::{Certificate, PrivateKey, certificate_to_pem, private_key_to_pem},
};
use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};

use crate::{
    judges::{find, need},
    scripted::{Identity, client_config, patient, target},
};

/// A server's key pair, and the certificate it lets in, in files.
struct Files {
    folder: tempfile::TempDir,
    server: CertificateDer<'static>,
}

impl Files {
    fn new(registered: &Identity) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let der =
            rcgen::CertificateParams::new(vec!["127.0.0.1".into()]).unwrap().self_signed(&key).unwrap().der().clone();
        let certificate = Certificate::from_der(der.to_vec()).unwrap();
        let key = PrivateKey::from_pkcs8_der(key.serialize_der().into()).unwrap();
        fs::write(folder.path().join("server.pem"), certificate_to_pem(&certificate)).unwrap();
        fs::write(folder.path().join("server.key"), private_key_to_pem(&key).unwrap()).unwrap();
        fs::write(folder.path().join("robots.pem"), certificate_to_pem(&registered.certificate)).unwrap();
        Self { folder, server: der }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn trusted(&self, identity: Option<&Identity>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.server.clone()).unwrap();
        client_config(roots, identity)
    }
}

/// Ended, politely so that it takes its workers along, when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&self.0), rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn openssl_refuses_by_an_alert() {
    if !need("openssl", "openssl") {
        return;
    }
    let (registered, stranger) = (Identity::new(), Identity::new());
    let files = Files::new(&registered);
    for version in ["-tls1_2", "-tls1_3"] {
        let mut server = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-WWW", "-Verify", "1", "-verify_return_error", version])
            .args([Path::new("-cert"), &files.path("server.pem"), Path::new("-key"), &files.path("server.key")])
            .args([Path::new("-CAfile"), &files.path("robots.pem")])
            .current_dir(files.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(server.stdout.take().unwrap());
        let _running = Running(server);
        let mut line = String::new();
        while !line.starts_with("ACCEPT") {
            line.clear();
            assert_ne!(output.read_line(&mut line).unwrap(), 0, "the server ended without naming its port");
        }
        let port = line.trim().rsplit(':').next().unwrap().parse().unwrap();
        let probe = async |identity| {
            ReadApi::new(target(port), files.trusted(Some(identity)), patient()).probe(Probe::RestNil).await.answer
        };
        // It serves files, so that whoever is let in is told about a missing one.
        let answer = probe(&registered).await;
        assert!(!matches!(answer, Answer::Refused(Refusal::Alert(_))), "{version}: {answer:?}");
        let answer = probe(&stranger).await;
        assert!(matches!(answer, Answer::Refused(Refusal::Alert(_))), "{version}: {answer:?}");
    }
}

#[tokio::test]
async fn nginx_refuses_by_a_page() {
    if !need("nginx", "nginx-light") {
        return;
    }
    let (registered, stranger) = (Identity::new(), Identity::new());
    let files = Files::new(&registered);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let folder = files.folder.path().display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {folder}/{name};\n"))
        .concat();
    let configuration = format!(
        "daemon off; worker_processes 1; pid {folder}/pid;\n\
         events {{}}\n\
         http {{\n\
           access_log off; {temporary}\n\
           server {{\n\
             listen 127.0.0.1:{port} ssl; ssl_protocols TLSv1.2 TLSv1.3;\n\
             ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server.key;\n\
             ssl_client_certificate {folder}/robots.pem; ssl_verify_client on;\n\
             location / {{ default_type application/json; return 404 '{{}}'; }}\n\
           }}\n\
         }}\n"
    );
    fs::write(files.path("nginx.conf"), configuration).unwrap();
    // nginx takes over a socket that already listens: connections wait until it is ready.
    listener.set_nonblocking(true).unwrap();
    rustix::io::fcntl_setfd(&listener, rustix::io::FdFlags::empty()).unwrap();
    let server = Command::new(find("nginx").unwrap())
        .args(["-e", "stderr", "-p", files.folder.path().to_str().unwrap(), "-c"])
        .arg(files.path("nginx.conf"))
        .env("NGINX", format!("{};", listener.as_raw_fd()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _running = Running(server);
    for (identity, accepted) in [(Some(&registered), true), (Some(&stranger), false), (None, false)] {
        let answer = ReadApi::new(target(port), files.trusted(identity), patient()).probe(Probe::RestNil).await.answer;
        match answer {
            Answer::Accepted => assert!(accepted),
            Answer::Refused(Refusal::BadRequestPage) => assert!(!accepted),
            other => panic!("{other:?}"),
        }
    }
}
