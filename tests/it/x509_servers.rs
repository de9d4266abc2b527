//! Robot certificates as client certificates against servers that people run:
//! `openssl s_server`, Node's https and nginx, over TLS 1.2 and 1.3, asked by
//! curl and by rustls. Every server repeats the certificate that it saw.

use std::{
    fs,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use base64ct::{Base64, Encoding};
use robocred::{
    clock::{Clock, SystemClock},
    x509::{Certificate, KeyAlgorithm, PrivateKey, Profile, Validity, certificate_to_pem, private_key_to_pem},
};
use rustix::process::Signal;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
    pki_types::{CertificateDer, IpAddr, Ipv4Addr, PrivateKeyDer, ServerName},
    version::{TLS12, TLS13},
};

use crate::{
    judges::{find, need},
    x509::key,
};

const LIMIT: Duration = Duration::from_secs(30);

/// A key pair in two files.
struct Pair {
    certificate: Certificate,
    key: Vec<u8>,
    key_file: PathBuf,
    certificate_file: PathBuf,
}

impl Pair {
    fn robot(folder: &Path, file: &str, key: &PrivateKey, name: &str, profile: Profile) -> Self {
        let validity = Validity::of_days(SystemClock.now(), 365).unwrap();
        Self::write(folder, file, key, Certificate::self_signed(key, name, validity, profile).unwrap())
    }

    /// The server's own pair, for 127.0.0.1.
    fn server(folder: &Path) -> Self {
        let key = key(KeyAlgorithm::EcdsaP256);
        let validity = Validity::of_days(SystemClock.now(), 365).unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (validity.not_before, validity.not_after);
        let signer = rcgen::KeyPair::try_from(key.expose_der()).unwrap();
        let made = params.self_signed(&signer).unwrap().der().to_vec();
        Self::write(folder, "server", key, Certificate::from_der(made).unwrap())
    }

    fn write(folder: &Path, file: &str, key: &PrivateKey, certificate: Certificate) -> Self {
        let key_file = folder.join(format!("{file}.key.pem"));
        let certificate_file = folder.join(format!("{file}.cert.pem"));
        fs::write(&key_file, private_key_to_pem(key).unwrap().as_bytes()).unwrap();
        fs::write(&certificate_file, certificate_to_pem(&certificate)).unwrap();
        Self { certificate, key: key.expose_der().to_vec(), key_file, certificate_file }
    }
}

/// A running server, ended with the value.
struct Server {
    process: Child,
    port: u16,
    _output: Option<BufReader<ChildStdout>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Asked politely: nginx takes its worker along only then.
        let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&self.process), Signal::TERM);
        let _ = self.process.wait();
    }
}

impl Server {
    /// Starts a server that takes a free port and names it as the last number of a line that starts with `mark`.
    fn announced(command: &mut Command, mark: &str) -> Self {
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let port = loop {
            let mut line = String::new();
            assert_ne!(output.read_line(&mut line).unwrap(), 0, "the server ended without naming its port");
            if line.starts_with(mark) {
                break line.trim().rsplit(':').next().unwrap().parse().unwrap();
            }
        };
        Self { process, port, _output: Some(output) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tls {
    V12,
    V13,
}

impl Tls {
    /// As servers print it.
    fn name(self) -> &'static str {
        ["TLSv1.2", "TLSv1.3"][self as usize]
    }

    fn rustls(self) -> &'static SupportedProtocolVersion {
        [&TLS12, &TLS13][self as usize]
    }
}

/// `Ok` with the page if the server let us in, otherwise how it refused.
type Answer = Result<String, String>;

/// A client: asks the server at a port of 127.0.0.1 for its page, with this robot's pair, knowing this server.
type Ask = fn(u16, Tls, &Pair, &Pair) -> Answer;

fn curl(port: u16, tls: Tls, client: &Pair, server: &Pair) -> Answer {
    let version = &tls.name()[4..];
    let output = Command::new("curl")
        .args(["-q", "--silent", "--show-error", "--fail", "--noproxy", "*", "--http1.1"])
        .args([format!("--tlsv{version}"), "--tls-max".to_owned(), version.to_owned()])
        .args(["--max-time".to_owned(), LIMIT.as_secs().to_string()])
        .arg("--cacert")
        .arg(&server.certificate_file)
        .arg("--cert")
        .arg(&client.certificate_file)
        .arg("--key")
        .arg(&client.key_file)
        .arg(format!("https://127.0.0.1:{port}/"))
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn rustls(port: u16, tls: Tls, client: &Pair, server: &Pair) -> Answer {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(server.certificate.der())).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(&[tls.rustls()])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(
            vec![CertificateDer::from(client.certificate.der().to_vec())],
            PrivateKeyDer::try_from(client.key.clone()).unwrap(),
        )
        .unwrap();
    let name = ServerName::IpAddress(IpAddr::V4(Ipv4Addr::from([127, 0, 0, 1])));
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let mut stream = StreamOwned::new(connection, socket);
    let mut page = Vec::new();
    let sent = stream.write_all(b"GET / HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n");
    match sent.and_then(|()| stream.read_to_end(&mut page)) {
        Err(error) if error.kind() != ErrorKind::UnexpectedEof => return Err(error.to_string()),
        _ => {}
    }
    let page = String::from_utf8_lossy(&page).into_owned();
    let status = page.lines().next().unwrap_or_default().to_owned();
    if status.split(' ').nth(1) == Some("200") { Ok(page) } else { Err(status) }
}

/// Every robot is let in by a server that trusts exactly these certificates,
/// and an impostor under a robot's name is not.
fn judge(start: impl Fn(&Path, Tls, &Pair, &Path) -> Server) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let server = Pair::server(folder);
    let mut robots: Vec<Pair> = KeyAlgorithm::ALL
        .into_iter()
        .map(|algorithm| Pair::robot(folder, algorithm.as_str(), key(algorithm), algorithm.as_str(), Profile::Client))
        .collect();
    robots.push(Pair::robot(folder, "openssl", key(KeyAlgorithm::Rsa2048), "openssl", Profile::Openssl));
    let trusted = folder.join("trusted.pem");
    let all: String = robots.iter().map(|robot| certificate_to_pem(&robot.certificate)).collect();
    fs::write(&trusted, all).unwrap();
    let stranger = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let impostor = Pair::robot(folder, "impostor", &stranger, "ecdsa-p256", Profile::Client);

    for tls in [Tls::V12, Tls::V13] {
        let running = start(folder, tls, &server, &trusted);
        let clients: [(&str, Ask); 2] = [("curl", curl), ("rustls", rustls)];
        for (client, ask) in clients {
            for robot in &robots {
                let name = robot.certificate.common_name().unwrap();
                let page = ask(running.port, tls, robot, &server)
                    .unwrap_or_else(|refusal| panic!("{name} by {client} over {}: {refusal}", tls.name()));
                assert!(page.contains(tls.name()), "{name} by {client}: not over {} but {page}", tls.name());
                let packed: String = page.split_whitespace().collect();
                let seen = packed.contains(&Base64::encode_string(robot.certificate.der()));
                assert!(seen, "{name} by {client}: the server saw another certificate: {page}");
            }
            let refusal = ask(running.port, tls, &impostor, &server);
            assert!(refusal.is_err(), "an impostor was let in by {client} over {}", tls.name());
        }
    }
}

#[test]
fn openssl_s_server_accepts_every_robot() {
    if !need("openssl", "openssl") || !need("curl", "curl") {
        return;
    }
    judge(|_, tls, server, trusted| {
        let mut command = Command::new("openssl");
        command.args(["s_server", "-accept", "127.0.0.1:0", "-www", "-Verify", "1", "-verify_return_error"]);
        command.arg(if tls == Tls::V12 { "-tls1_2" } else { "-tls1_3" });
        command.arg("-cert").arg(&server.certificate_file).arg("-key").arg(&server.key_file);
        command.arg("-CAfile").arg(trusted);
        Server::announced(&mut command, "ACCEPT ")
    });
}

const NODE: &str = r"
const [version, key, cert, ca] = process.argv.slice(1);
const read = require('fs').readFileSync;
const options = { key: read(key), cert: read(cert), ca: read(ca), requestCert: true, rejectUnauthorized: true,
                  minVersion: version, maxVersion: version };
const server = require('https').createServer(options, (request, response) => {
    const seen = request.socket.getPeerCertificate().raw.toString('base64');
    response.end(request.socket.getProtocol() + ' ' + seen);
});
server.listen(0, '127.0.0.1', () => console.log('port:' + server.address().port));
";

#[test]
fn node_accepts_every_robot() {
    if !need("node", "nodejs") || !need("curl", "curl") {
        return;
    }
    judge(|_, tls, server, trusted| {
        let mut command = Command::new("node");
        command.args(["-e", NODE, tls.name()]);
        command.arg(&server.key_file).arg(&server.certificate_file).arg(trusted);
        Server::announced(&mut command, "port:")
    });
}

#[test]
fn nginx_accepts_every_robot() {
    if !need("nginx", "nginx-light") || !need("curl", "curl") {
        return;
    }
    judge(|folder, tls, server, trusted| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {};\n", folder.join(name).display()))
            .concat();
        let configuration = format!(
            "daemon off; worker_processes 1; pid {pid};\n\
             events {{}}\n\
             http {{\n\
               access_log off;\n\
               {temporary}\
               server {{\n\
                 listen 127.0.0.1:{port} ssl;\n\
                 ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols {protocol};\n\
                 ssl_client_certificate {trusted}; ssl_verify_client on;\n\
                 location / {{ return 200 \"$ssl_protocol $ssl_client_raw_cert\"; }}\n\
               }}\n\
             }}\n",
            pid = folder.join("nginx.pid").display(),
            certificate = server.certificate_file.display(),
            key = server.key_file.display(),
            protocol = tls.name(),
            trusted = trusted.display(),
        );
        let file = folder.join("nginx.conf");
        fs::write(&file, configuration).unwrap();
        // nginx takes over a socket that already listens, as in its own upgrade: the
        // port is ours from the start, and connections wait until nginx is ready.
        listener.set_nonblocking(true).unwrap();
        rustix::io::fcntl_setfd(&listener, rustix::io::FdFlags::empty()).unwrap();
        let process = Command::new(find("nginx").unwrap())
            .env("NGINX", format!("{};", listener.as_raw_fd()))
            .arg("-p")
            .arg(folder)
            .arg("-c")
            .arg(&file)
            .arg("-e")
            .arg(folder.join("error.log"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Server { process, port, _output: None }
    });
}
