//! What each path answers, to whom, and with which headers.

use std::net::Ipv4Addr;

use robocred::{
    document::{self, Document},
    inventory::{AttentionCode, Task, TaskFailure},
    status,
};
use time::Duration;

use super::*;
use crate::judges;

/// Every path, and the type of what it answers.
const PATHS: &[(&str, u16, &str)] = &[
    ("/", 200, "text/html; charset=utf-8"),
    ("/status.json", 200, "application/json"),
    ("/metrics", 200, "text/plain; version=0.0.4; charset=utf-8"),
    ("/livez", 200, "text/plain; charset=utf-8"),
    ("/readyz", 200, "text/plain; charset=utf-8"),
    ("/readyz/plant", 200, "text/plain; charset=utf-8"),
    ("/readyz/nowhere", 404, "text/plain; charset=utf-8"),
    ("/nowhere", 404, "text/plain; charset=utf-8"),
];

fn check_headers(path: &str, reply: &Reply, content_type: &str) {
    for (name, value) in [
        ("content-type", content_type),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
        ("cross-origin-resource-policy", "same-origin"),
        ("x-frame-options", "DENY"),
        ("connection", "close"),
    ] {
        assert_eq!(reply.header(name), value, "{path}: {name} of {reply:?}");
    }
    assert!(!reply.headers.contains_key("server"), "{path}: {reply:?}");
    assert!(!reply.headers.keys().any(|name| name.starts_with("access-control")), "{path}: {reply:?}");
    assert!(reply.headers.contains_key("date"), "{path}: {reply:?}");
    let policy =
        if path == "/" { status::page::policy() } else { "default-src 'none'; frame-ancestors 'none'".to_owned() };
    assert_eq!(reply.header("content-security-policy"), policy, "{path}");
}

#[tokio::test]
async fn every_path_answers_with_its_type_and_every_header_and_head_without_a_body() {
    let served = Served::new(CONFIG, Limits::default());
    provisioned(&served, NOW).await;
    served.board.beat(Beat::default());
    for (path, code, content_type) in PATHS {
        let got = served.get(path).await;
        assert_eq!(got.status, *code, "{path}: {got:?}");
        check_headers(path, &got, content_type);
        assert!(got.is_whole(), "{path}: {got:?}");
        let head = served.ask("HEAD", path).await;
        assert_eq!((head.status, head.body.len()), (*code, 0), "{path}");
        let length = |reply: &Reply| reply.header("content-length").parse::<usize>().unwrap();
        // How long ago the loop last looked has more digits or fewer.
        let slack = if *path == "/metrics" { 16 } else { 0 };
        assert!(length(&head).abs_diff(length(&got)) <= slack, "{path}: {head:?}");
        check_headers(path, &head, content_type);
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"] {
            let refused = served.ask(method, path).await;
            let expected = if path.contains("nowhere") && *path != "/readyz/nowhere" { 404 } else { 405 };
            assert_eq!(refused.status, expected, "{method} {path}");
            assert_eq!(refused.header("allow"), if expected == 405 { "GET, HEAD" } else { "" });
            assert_eq!(refused.text().lines().count(), 1);
            check_headers("", &refused, "text/plain; charset=utf-8");
        }
    }
}

#[tokio::test]
async fn the_documents_are_those_of_the_command_line() {
    let served = Served::new(CONFIG, Limits::default());
    let (inventory, lock, id) = provisioned(&served, NOW).await;
    let hostile = "\u{202e}<script>\u{1b}[31m";
    inventory.raise(&lock, &id, AttentionCode::HookFailed, hostile, None, NOW).await.unwrap();
    let view = served.board.view().await;
    let mut expected = document::to_vec(&Document::of(view.document(&view.report(NOW)))).unwrap();
    expected.push(b'\n');
    assert_eq!(served.get("/status.json").await.body, expected);
    let told = served.status().await;
    assert_eq!((&told["schema"], &told["robots"][0]["state"]), (&1.into(), &"active".into()));
    assert_eq!(told["robots"][0]["attention"][0]["message"], hostile);

    let report = view.report(NOW);
    let page = status::page::html(&report, &view.document(&report), Some(std::time::Duration::from_mins(1)));
    assert_eq!(served.get("/").await.text(), page);
}

#[tokio::test]
async fn readiness_is_told_with_a_reason() {
    let served = Served::new(CONFIG, Limits::default());
    let check = async |path: &str, status: u16, reasons: &[&str]| {
        let reply = served.get(path).await;
        assert_eq!(reply.status, status, "{path}: {reply:?}");
        let lines: Vec<_> = reply.text().lines().collect();
        assert_eq!(lines.len(), reasons.len(), "{path}: {lines:?}");
        for (line, reason) in lines.iter().zip(reasons) {
            assert!(line.contains(reason), "{path}: {lines:?}, not {reason}");
        }
    };
    let absent = "plant/reader: it has no credential yet";
    check("/livez", 200, &["ok"]).await;
    check("/readyz", 503, &["the first plan is not made yet"]).await;
    check("/readyz/plant", 503, &["the first plan is not made yet", absent]).await;
    served.board.beat(Beat::default());
    check("/readyz", 200, &["ready"]).await;
    check("/readyz/plant", 503, &[absent]).await;
    check("/readyz/empty", 200, &["ready"]).await;
    check("/readyz/nowhere", 404, &["there is no site nowhere"]).await;
    served.board.beat(Beat { hindrance: Some("the lock is lost".to_owned()), ..Beat::default() });
    check("/readyz", 503, &["the lock is lost"]).await;
    check("/readyz/empty", 503, &["the lock is lost"]).await;
    assert!(served.get("/metrics").await.text().contains("\nrobocred_watch_hindered 1\n"));
    assert!(served.get("/").await.text().contains("the lock is lost"));
    served.board.beat(Beat { unrecorded: ["empty".parse().unwrap()].into(), ..Beat::default() });
    check("/readyz", 200, &["ready"]).await;
    check("/readyz/empty", 503, &["the last task of empty has ended could not be written down"]).await;
    assert!(served.get("/metrics").await.text().contains("\nrobocred_watch_unrecorded 1\n"));
    served.board.beat(Beat::default());

    let inventory = served.inventory().await;
    let id: RobotId = "plant/reader".parse().unwrap();
    let lock = adopt(&inventory, &id).await;
    let new = NewGeneration {
        robot: id.clone(),
        role: Role::Reader,
        key_algorithm: KeyAlgorithm::EcdsaP256,
        profile: Profile::Client,
        forced: false,
    };
    let planned = inventory.plan_generation(&lock, &new, NOW).await.unwrap().id;
    check("/readyz/plant", 503, &["plant/reader: its first credential is on its way (planned)"]).await;
    let raise = async |code, message| inventory.raise(&lock, &id, code, message, None, NOW).await.unwrap();
    raise(AttentionCode::TokenNeeded, "no support token is\u{1b}[2J stored").await;
    let reasons = ["plant/reader: it needs a person", "token-needed: no support token is\u{fffd}[2J stored"];
    check("/readyz/plant", 503, &reasons).await;
    inventory.clear(&lock, &id, AttentionCode::TokenNeeded, NOW).await.unwrap();
    let given_up = Change::GivenUp { reason: "tried".to_owned() };
    inventory.advance(&lock, &planned, given_up, NOW).await.unwrap();
    rotate(&inventory, &lock, &id, NOW).await;
    check("/readyz/plant", 200, &["ready"]).await;

    // What is remarked on and does not stand in the way.
    raise(AttentionCode::DeliverByHand, "give it to the connector").await;
    check("/readyz/plant", 200, &["ready"]).await;
    raise(AttentionCode::StoreUnavailable, "the keyring is locked").await;
    check("/readyz/plant", 503, &["store-unavailable: the keyring is locked"]).await;
    inventory.clear(&lock, &id, AttentionCode::StoreUnavailable, NOW).await.unwrap();

    let failure = TaskFailure { code: "unreachable".to_owned(), message: "no answer\nfrom 10.20.0.5".to_owned() };
    for _ in 0..2 {
        let ended = inventory.task_ended(&id.site, Task::Rotate, Err(&failure), |_| Duration::hours(1), NOW).await;
        ended.unwrap();
    }
    let reason = "rotate of plant by schedule has failed 2 times in a row: no answer\u{fffd}from 10.20.0.5; \
                  tried again by 2026-11-22T13:00:00Z";
    check("/readyz/plant", 503, &[reason]).await;
    check("/readyz/empty", 200, &["ready"]).await;
    check("/readyz", 200, &["ready"]).await;
    inventory.task_ended(&id.site, Task::Rotate, Ok(()), |_| Duration::hours(1), NOW).await.unwrap();
    check("/readyz/plant", 200, &["ready"]).await;

    rotate(&inventory, &lock, &id, NOW - Duration::days(400)).await;
    check("/readyz/plant", 503, &["plant/reader: its certificate has expired on 2026-10-"]).await;
    // Held, and not configured any more.
    configure(served.dir.path(), "version = 1\n");
    let reasons = ["plant/reader: its certificate has expired", "plant/reader: it is not in the configuration"];
    check("/readyz/plant", 503, &reasons).await;
    check("/readyz/empty", 404, &["there is no site empty"]).await;
}

#[tokio::test]
async fn a_state_directory_that_is_gone_is_told_and_the_last_report_still_shown() {
    let served = Served::new(CONFIG, Limits::default());
    let (inventory, ..) = provisioned(&served, NOW).await;
    served.board.beat(Beat::default());
    assert_eq!(served.get("/readyz").await.status, 200);
    inventory.close().await.unwrap();
    fs::remove_dir_all(served.state()).unwrap();

    for path in ["/readyz", "/readyz/plant", "/readyz/nowhere"] {
        let reply = served.get(path).await;
        assert_eq!(reply.status, 503, "{path}: {reply:?}");
        assert!(reply.text().contains("inventory.db is gone"), "{path}: {reply:?}");
    }
    let told = served.status().await;
    assert_eq!(told["robots"][0]["state"], "active", "{told:#}");
    let warnings = told["warnings"].as_array().unwrap();
    assert!(warnings.iter().any(|warning| warning.as_str().unwrap().contains("is gone")), "{told:#}");
    for path in ["/", "/metrics", "/livez"] {
        assert_eq!(served.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_broken_configuration_is_told_and_the_last_good_one_stays() {
    let served = Served::new(CONFIG, Limits::default());
    provisioned(&served, NOW).await;
    served.board.beat(Beat::default());
    let before = served.status().await;
    configure(served.dir.path(), "version = 1\n[sites.plant\n");
    let told = served.status().await;
    assert_eq!(told["robots"], before["robots"]);
    let warnings = told["warnings"].as_array().unwrap();
    let kept = "the configuration read before is kept";
    assert!(warnings.iter().any(|warning| warning.as_str().unwrap().contains(kept)), "{told:#}");
    assert_eq!(served.get("/readyz").await.status, 200);
    configure(served.dir.path(), CONFIG);
    assert_eq!(served.status().await, before);
}

#[tokio::test]
async fn robots_without_any_configuration_are_not_looked_after() {
    let served = Served::new(CONFIG, Limits::default());
    provisioned(&served, NOW).await;
    fs::remove_file(served.dir.path().join("robocred.toml")).unwrap();
    let config = robocred::config::Config::load_file(&served.dir.path().join("robocred.toml")).unwrap();
    let board = robocred::watch::board::Board::new(config, served.state());
    let view = board.view().await;
    let trouble = view.config_trouble.clone().unwrap();
    assert!(trouble.contains("nobody looks after the robot of the inventory"), "{trouble}");
    assert_eq!(view.report(NOW).unread, [trouble]);

    // One that is not configured any more.
    served.board.beat(Beat::default());
    configure(served.dir.path(), "version = 1\n");
    let reply = served.get("/readyz/plant").await;
    assert!(
        reply.status == 503 && reply.text().contains("it is not in the configuration, so that nothing rotates it"),
        "{reply:?}"
    );
}

#[tokio::test]
async fn a_web_site_cannot_read_it_under_a_name_of_its_own() {
    let ask = async |served: &Served, target: &str, host: &str| {
        let request = format!("GET {target} HTTP/1.1\r\n{host}\r\n");
        Reply::read(&served.exchange(request.as_bytes()).await)
    };
    let local = Served::new(CONFIG, Limits::default());
    for (target, host, status) in [
        ("/", "Host: localhost\r\n", 200),
        ("/", "Host: LOCALHOST:9630\r\n", 200),
        ("/", "Host: [::1]:9630\r\n", 200),
        ("/", "Host: 10.20.0.5\r\n", 200),
        ("/", "Host: evil.example\r\n", 421),
        ("/", "Host: 127.0.0.1.evil.example:9630\r\n", 421),
        ("/", "Host: localhost@evil.example\r\n", 421),
        ("/", "Host:\r\n", 421),
        ("/", "", 400),
        ("/", "Host: localhost\r\nHost: evil.example\r\n", 400),
        ("http://localhost/", "Host: localhost\r\n", 200),
        ("http://evil.example/", "Host: localhost\r\n", 421),
    ] {
        let reply = ask(&local, target, host).await;
        assert_eq!(reply.status, status, "{target} {host:?}: {reply:?}");
        check_headers(if status == 200 { "/" } else { "" }, &reply, reply.header("content-type"));
    }
    let public = Served::on(Ipv4Addr::UNSPECIFIED.into(), CONFIG, Limits::default());
    for (host, status) in [("Host: monitoring.example\r\n", 200), ("", 400)] {
        assert_eq!(ask(&public, "/", host).await.status, status, "{host:?}");
    }
}

/// curl as the judge of what is on the wire.
#[tokio::test]
async fn curl_understands_every_answer() {
    if !judges::need("curl", "curl") {
        return;
    }
    let served = Served::new(CONFIG, Limits::default());
    provisioned(&served, NOW).await;
    served.board.beat(Beat::default());
    let curl = async |arguments: &[&str], path: &str| {
        let mut command = tokio::process::Command::new("curl");
        let form = "\n%{http_code} %{content_type} %{num_connects} %{http_version} %{errormsg}";
        command.args(["-q", "-sS", "--noproxy", "*", "--max-time", "20", "-w", form]).args(arguments);
        let output = command.arg(format!("http://{}{path}", served.address)).output().await.unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{arguments:?} {path}: {err}{out}");
        out.into_owned()
    };
    for (path, code, content_type) in PATHS {
        let out = curl(&[], path).await;
        assert!(out.ends_with(&format!("\n{code} {content_type} 1 1.1 ")), "{path}: {out}");
        let head = curl(&["-I"], path).await;
        assert!(head.to_ascii_lowercase().contains("x-content-type-options: nosniff\r\n"), "{path}: {head}");
        assert!(head.contains(&format!("\n{code} {content_type}")), "{path}: {head}");
    }
    // Something is in the socket that was not read, and the answer arrives nevertheless.
    let long = format!("X-Long: {}", "x".repeat(100_000));
    let body = "x".repeat(100_000);
    for (arguments, code) in [
        (&["-H", long.as_str()][..], 431),
        (&["--data", body.as_str(), "-X", "GET"][..], 413),
        (&["--data", body.as_str(), "-X", "GET", "-H", "Expect:"][..], 413),
        (&["--data", "x", "-H", "Transfer-Encoding: chunked", "-X", "GET"][..], 413),
        (&["--data", body.as_str()][..], 405),
        (&["--http1.0"][..], 200),
        (&["--path-as-is", "--request-target", "/../../../etc/passwd"][..], 404),
    ] {
        let out = curl(arguments, "/status.json").await;
        assert!(out.contains(&format!("\n{code} ")), "{code}: {out}");
    }
    // Two of one run: the second has a connection of its own.
    let url = format!("http://{}/livez", served.address);
    let out = curl(&[&url], "/readyz").await;
    assert!(out.starts_with("ok\n\n200 ") && out.contains("ready\n\n200 "), "{out}");
}
