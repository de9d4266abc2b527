//! The example scripts in docs/examples, run as hooks: what a mail program and
//! a web server really get of a hostile message.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    thread,
};

use robocred::hook::{self, Event, Facts};
use serde_json::Value;

use super::{AMPLE, bare, full};
use crate::judges;

/// What a shell, JSON, a mail header and a terminal could stumble over.
const HOSTILE: &str =
    "a \"quoted\" \\ back\\\"slash $(id) `id` ${HOME} %s \\n \u{1b}[31m ä 'x'\r\nBcc: everybody@example.com";

fn script(name: &str) -> String {
    format!("{}/docs/examples/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn hostile() -> Facts {
    bare(Event::Failure).because("refused", "look at it", HOSTILE)
}

fn message(facts: &Facts) -> String {
    let document: Value = serde_json::from_str(&facts.document()).unwrap();
    document["message"].as_str().unwrap().to_owned()
}

/// A program that keeps its arguments and what it reads.
fn stub(dir: &Path) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = dir.join("sendmail");
    let keeps = format!("#!/bin/sh\nprintf '%s\\n' \"$@\" > {0}/arguments\ncat > {0}/mail\n", dir.display());
    fs::write(&path, keeps).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[tokio::test]
async fn a_mail_says_first_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let program = stub(dir.path());
    let argv = [script("mail.sh"), "ot@example.com".to_owned(), program.to_str().unwrap().to_owned()];
    let facts = hostile();
    hook::run(&argv, &facts, AMPLE).await.unwrap_or_else(|error| panic!("{error}: {}", error.said()));
    assert_eq!(fs::read_to_string(dir.path().join("arguments")).unwrap(), "-i\n--\not@example.com\n");
    let mail = fs::read_to_string(dir.path().join("mail")).unwrap();
    let (head, body) = mail.split_once("\n\n").unwrap();
    assert!(head.contains("\nSubject: robocred: plant/lucidum: failure (refused)\n"), "{head}");
    assert!(!head.contains("everybody"), "{head}");
    assert_eq!(body.lines().next(), Some(message(&facts).as_str()));
    assert!(message(&facts).starts_with("plant/lucidum: look at it: a \"quoted\""));
    assert!(body.contains("\ngeneration   none\n"), "{body}");

    // Every fact that there is; and a program that fails fails the hook.
    hook::run(&argv, &full().0, AMPLE).await.unwrap();
    let mail = fs::read_to_string(dir.path().join("mail")).unwrap();
    assert!(mail.contains("\ngeneration   2\n") && mail.contains("\ntest         yes"), "{mail}");
    let broken = [argv[0].clone(), argv[1].clone(), "/bin/false".to_owned()];
    assert!(hook::run(&broken, &facts, AMPLE).await.is_err(), "a mail that was not sent");
}

/// Answers one request with `status`, and returns its head and its body.
fn serve(listener: TcpListener, status: &'static str) -> thread::JoinHandle<(String, Vec<u8>)> {
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(AMPLE)).unwrap();
        let (mut got, mut piece) = (Vec::new(), [0; 4096]);
        loop {
            let length = stream.read(&mut piece).unwrap();
            got.extend_from_slice(&piece[..length]);
            let Some(end) = got.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
            let head = String::from_utf8(got[..end].to_vec()).unwrap().to_lowercase();
            let (_, announced) = head.split_once("content-length: ").unwrap();
            let announced: usize = announced.lines().next().unwrap().parse().unwrap();
            if got.len() >= end + 4 + announced {
                write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
                return (head, got[end + 4..].to_vec());
            }
            assert_ne!(length, 0, "cut off");
        }
    })
}

/// Posts by the script; what the server got.
async fn posted(facts: &Facts, more: &[&str], status: &'static str) -> (Result<String, hook::Error>, String, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = dir.path().join("webhook.curl");
    fs::write(&config, format!("url = \"http://{}/secret-path\"\n", listener.local_addr().unwrap())).unwrap();
    let server = serve(listener, status);
    let mut argv = vec![script("webhook.sh"), config.to_str().unwrap().to_owned()];
    argv.extend(more.iter().map(|&argument| argument.to_owned()));
    let ended = hook::run(&argv, facts, AMPLE).await;
    let (head, body) = server.join().unwrap();
    (ended, head, body)
}

#[tokio::test]
async fn a_webhook_gets_the_message_as_it_is() {
    if !judges::need("curl", "curl") {
        return;
    }
    let facts = hostile();
    let (ended, head, body) = posted(&facts, &[], "200 OK").await;
    ended.unwrap();
    assert!(head.starts_with("post /secret-path ") && head.contains("\r\ncontent-type: application/json"), "{head}");
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body, serde_json::json!({ "text": message(&facts) }));

    let (ended, _, body) = posted(&facts, &["facts"], "200 OK").await;
    ended.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body, serde_json::from_str::<Value>(&facts.document()).unwrap());

    // An event without a message, and a server that does not take it.
    let (ended, _, body) = posted(&bare(Event::Deploy), &[], "404 Not Found").await;
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["text"], "plant/lucidum: deploy");
    let error = ended.unwrap_err();
    assert!(error.said().contains("404") && !error.said().contains("secret-path"), "{}", error.said());
}
