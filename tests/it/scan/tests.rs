//! The scanner finds what is there, in the memory of another process: every
//! form of a secret, written by other means, and nothing where nothing is.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Child, Command, Stdio},
};

use robocred::x509::private_key_to_pem;

use super::*;
use crate::judges;

const TOKEN: &str = "canary-scan-5u99or7-t0ken";

/// A process that holds what it is given, turned around by one bit mask so that what it was given is not that.
struct Holder(Child);

const HOLD: &str = "import sys
held = []
for line in sys.stdin:
    given = bytearray.fromhex(line.strip())
    held.append(bytearray(len(given)))
    for at in range(len(given)):
        held[-1][at] = given[at] ^ 0x5a
    print('held', flush=True)
";

impl Holder {
    fn of(planted: &[u8]) -> Self {
        let mut child =
            Command::new("python3").args(["-c", HOLD]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let masked = planted.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{:02x}", byte ^ 0x5a);
            text
        });
        writeln!(child.stdin.as_mut().unwrap(), "{masked}").unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "held\n");
        Self(child)
    }

    fn found(&self, needles: &Needles) -> Hits {
        let (hits, looked) = needles.in_process(self.0.id());
        assert!(looked > 1024 * 1024, "only {looked} bytes were looked at");
        hits
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It ends by itself when nothing more comes; a failed test does not wait for that.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Every form by other means.
fn planted(kind: &str, secret: &str) -> Vec<(String, Vec<u8>)> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/scan/encodings.py");
    let mut child = Command::new("python3").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("{kind}\n{secret}").as_bytes()).unwrap();
    let mut told = String::new();
    child.stdout.take().unwrap().read_to_string(&mut told).unwrap();
    assert!(child.wait().unwrap().success());
    let bytes =
        |hex: &str| (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    told.lines().map(|line| line.split_once('\t').unwrap()).map(|(name, hex)| (name.to_owned(), bytes(hex))).collect()
}

/// Each form alone is found by its name, and they are all that is looked for.
fn check(needles: &Needles, planted: &[(String, Vec<u8>)]) {
    let mut found = BTreeSet::new();
    for (form, bytes) in planted {
        let hits = needles.in_bytes(&[b"before".as_slice(), bytes, b"after"].concat());
        // A modulus and a public key say nothing that the certificate does not.
        assert!(hits.contains_key(form) || form.contains("PEM line"), "{form} is not found: {hits:?}");
        found.extend(hits.contains_key(form).then(|| form.clone()));
    }
    let sought: BTreeSet<_> = needles.names().iter().cloned().collect();
    assert_eq!(found, sought, "not every form that is looked for was planted");

    // In the memory of a process: all of them, and for short secrets one form of each encoding alone.
    let encoding = |form: &str| form.rsplit_once(": ").map_or(form, |(_, encoding)| encoding).to_owned();
    let one_of_each: BTreeMap<_, _> = planted.iter().map(|(form, bytes)| (encoding(form), bytes)).collect();
    let alone = planted.len() < 60;
    for (encoding, bytes) in one_of_each.into_iter().filter(|_| alone) {
        let expected = needles.in_bytes(bytes);
        let hits = Holder::of(bytes).found(needles);
        assert!(expected.keys().all(|form| hits.contains_key(form)), "{encoding}: {hits:?}");
    }
    let everything: Vec<u8> = planted.iter().flat_map(|(_, bytes)| [bytes, b"  ".as_slice()].concat()).collect();
    let hits = Holder::of(&everything).found(needles);
    assert_eq!(hits.into_keys().collect::<BTreeSet<_>>(), sought);
    assert_eq!(Holder::of(b"nothing of it").found(needles), Hits::new());
}

#[test]
fn every_form_of_a_token_is_found() {
    if !judges::need("python3", "python3") {
        return;
    }
    check(&Needles::default().with("token", TOKEN.as_bytes()), &planted("token", TOKEN));
}

#[test]
fn every_form_of_a_key_is_found() {
    if !judges::need("python3", "python3") || !judges::need("openssl", "openssl") {
        return;
    }
    for algorithm in [KeyAlgorithm::EcdsaP256, KeyAlgorithm::Rsa2048] {
        let key = PrivateKey::generate(algorithm).unwrap();
        let needles = Needles::default().with_key("key", &key);
        let planted = planted("key", &private_key_to_pem(&key).unwrap());
        check(&needles, &planted);
        let pems = planted.iter().filter(|(form, _)| form.ends_with("PEM line of PKCS#8"));
        let (telling, public): (Vec<_>, Vec<_>) = pems.partition(|(_, bytes)| !needles.in_bytes(bytes).is_empty());
        // 1,217 octets of RSA with 896 secret ones; 138 of P-256 with 32.
        let expected = if algorithm == KeyAlgorithm::Rsa2048 { (18..=21, 5..=8) } else { (2..=2, 1..=1) };
        assert!(expected.0.contains(&telling.len()) && expected.1.contains(&public.len()), "{telling:?} {public:?}");
    }
}

#[test]
fn what_is_left_of_a_half_overwritten_key_is_found() {
    let key = PrivateKey::generate(KeyAlgorithm::Rsa2048).unwrap();
    let needles = Needles::default().with_key("key", &key);
    let numbers = numbers(&key);
    let d = &numbers.iter().find(|(name, _)| *name == "d").unwrap().1;
    assert!(d.len() > 240, "{}", d.len());
    for at in [0, 17, 100, 150] {
        assert!(needles.in_bytes(&d[at..at + 47]).contains_key("key: d: raw"), "{at}");
    }
    assert_eq!(needles.in_bytes(&d[1..24]), Hits::new());
}

#[test]
fn another_key_is_not_this_one() {
    for algorithm in KeyAlgorithm::ALL {
        let [key, other] = [(); 2].map(|()| PrivateKey::generate(algorithm).unwrap());
        let needles = Needles::default().with_key("key", &key);
        let file = private_key_to_pem(&other).unwrap();
        assert_eq!(needles.in_bytes(file.as_bytes()), Hits::new(), "{algorithm}");
        assert_eq!(needles.in_bytes(other.expose_der()), Hits::new(), "{algorithm}");
        let hits = needles.in_bytes(private_key_to_pem(&key).unwrap().as_bytes());
        assert!(hits.contains_key("key: PEM line of PKCS#8"), "{algorithm}: {hits:?}");
    }
}

#[test]
fn a_process_has_its_children_and_theirs() {
    let mut shell = Command::new("sh").args(["-c", "sleep 30 & wait"]).spawn().unwrap();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while descendants(shell.id()).is_empty() {
        assert!(std::time::Instant::now() < end, "it has no child");
        std::thread::yield_now();
    }
    let all = descendants(std::process::id());
    let below = descendants(shell.id());
    assert!(all.contains(&shell.id()) && below.iter().all(|child| all.contains(child)), "{all:?} {below:?}");
    for child in below {
        signal(child, rustix::process::Signal::KILL);
    }
    shell.wait().unwrap();
}
