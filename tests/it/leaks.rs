//! Where the support token and the private key must not be: not in what is
//! printed, not in files but those meant for them, not where other processes
//! look, not with any server but the trusted one.

use std::{
    collections::BTreeSet,
    io::Write as _,
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
};

use base64ct::{Base64, Encoding as _};
use robocred::{
    inventory::Inventory,
    secrets::{self, Choice, SealPlaces},
    simulator::{Behaviours, Fault, FaultKind, Listing, Registration},
    site::StoreKind,
};

use crate::{
    apikey::{KEY, configure},
    scan::forms,
    world::{Ran, TOKEN, World, run},
};

/// Panics if `content` holds the secret in any form, also where lines or spaces break it.
#[track_caller]
fn assert_without(what: &str, content: &[u8], secret: &[u8]) {
    let text = String::from_utf8_lossy(content).replace("\\n", "").replace("\\r", "").replace("\\/", "/");
    let unbroken: String = text.split_whitespace().collect();
    for (name, form) in forms(secret) {
        let holds = |content: &[u8]| content.windows(form.len()).any(|window| window == form);
        assert!(!holds(content) && !holds(unbroken.as_bytes()), "{what} holds the secret ({name})");
    }
}

#[test]
fn the_search_finds_what_is_there() {
    let secret = b"0123456789abcdefghijklmnopqrstuv";
    let finds = |content: &[u8]| {
        std::panic::catch_unwind(|| assert_without("it", content, secret)).expect_err("it was not found");
    };
    for beside in ["", "x", "xy", "xyz"] {
        let text = Base64::encode_string(&[beside.as_bytes(), secret, b"after"].concat());
        finds(text.as_bytes());
        finds(format!("{}\n{}", &text[..20], &text[20..]).as_bytes());
        finds(&text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>());
    }
    finds(format!("{secret:?}").as_bytes());
    finds(secret);
    assert_without("it", &secret[1..], secret);
}

/// The private number of the robot's key (P-256), read through the library from where it rests.
fn private_number(world: &World) -> Vec<u8> {
    let state = world.state();
    let places = SealPlaces {
        credential: None,
        key_file: None,
        passphrase_file: None,
        default_key_file: world.path(".config/robocred/seal.key"),
        secrets_dir: state.join("secrets"),
    };
    let der = world.runtime.block_on(async {
        let inventory = Inventory::open_read_only(&state).await.unwrap().unwrap();
        let records = inventory.records(&"plant/reader".parse().unwrap()).await.unwrap();
        let opened = secrets::open(Choice::Sealed, Some(StoreKind::Sealed), false, &places).await.unwrap();
        opened.secrets.read(&records[0].secret).await.unwrap()
    });
    // SEC 1, C.4: the number is the first octet string of 32 bytes.
    let at = der.windows(2).position(|bytes| bytes == [0x04, 0x20]).unwrap() + 2;
    der[at..at + 32].to_vec()
}

/// Panics if a file below the home holds the secret, but for those below `allowed`.
#[track_caller]
fn assert_in_no_file(world: &World, secret: &[u8], allowed: Option<&Path>) {
    let mut looked_at = 0;
    for path in world.files() {
        if allowed.is_none_or(|allowed| !path.starts_with(allowed)) {
            assert_without(&path.display().to_string(), &std::fs::read(&path).unwrap(), secret);
            looked_at += 1;
        }
    }
    assert!(looked_at >= 5, "only {looked_at} files were looked at");
}

#[test]
fn nothing_that_is_printed_and_no_file_but_those_meant_for_it_holds_a_secret() {
    for format in ["text", "json"] {
        let world = World::with(|options| options.api_key = Some(KEY.to_owned()));
        let loud = ["-vvv", "--log-format", format];
        let mut said: Vec<Ran> =
            vec![world.provision(&[loud.as_slice(), &["--export", "out", "--ingest"]].concat()).expect(0)];
        said.push(
            run(
                world.command(&[&["token", "set", "plant", "--token-stdin"], loud.as_slice()].concat()),
                TOKEN.as_bytes(),
            )
            .expect(0),
        );
        for json in [[].as_slice(), &["--json"]] {
            let arguments =
                [&["apikey", "set", "plant", "--key-stdin", "--expires", "2000-01-01"], loud.as_slice(), json];
            // Refused for its date, then for what comes behind it, then kept.
            said.push(run(world.command(&arguments.concat()), KEY.as_bytes()).expect(2));
            let arguments = [&["apikey", "set", "plant", "--key-stdin"], loud.as_slice(), json].concat();
            said.push(run(world.command(&arguments), format!("{KEY}\n{KEY}").as_bytes()).expect(3));
            said.push(run(world.command(&arguments), KEY.as_bytes()).expect(0));
        }
        for arguments in [
            ["verify", "plant/reader"].as_slice(),
            &["ingest", "plant/reader"],
            &["export", "plant/reader", "--dir", "out/again"],
            &["export", "plant/reader", "--confirm"],
            &["status"],
            &["token", "status", "plant"],
            &["apikey", "status", "plant"],
            &["check"],
            &["audit", "show"],
            &["trust", "plant", "--show"],
            &["config", "show"],
            &["config", "check"],
            &["doctor"],
        ] {
            for json in [[].as_slice(), &["--json"]] {
                let ran = world.run(&[arguments, loud.as_slice(), json].concat());
                assert!(!ran.stderr.contains("usage"), "{ran:#?}");
                said.push(ran);
            }
        }
        // Mistakes speak too.
        said.push(world.run(&[["provision", "plant/reader", "--role", "admin"].as_slice(), &loud].concat()));
        world.simulator.forget_robots();
        said.push(world.run(&[["verify", "plant/reader"].as_slice(), &loud].concat()));
        said.push(world.run(&[["ingest", "plant/reader"].as_slice(), &loud].concat()));

        assert!(said[0].stderr.contains("next"), "nothing was logged: {:#?}", said[0]);
        let key = private_number(&world);
        for ran in &said {
            for secret in [key.as_slice(), TOKEN.as_bytes(), KEY.as_bytes()] {
                assert_without("standard output", ran.stdout.as_bytes(), secret);
                assert_without("standard error", ran.stderr.as_bytes(), secret);
            }
        }
        assert_in_no_file(&world, TOKEN.as_bytes(), None);
        assert_in_no_file(&world, KEY.as_bytes(), None);
        assert_in_no_file(&world, &key, Some(&world.path("out")));
        // The test itself is right: the exported files do hold the key.
        let exported = std::fs::read(world.path("out/key.pem")).unwrap();
        std::panic::catch_unwind(|| assert_without("key.pem", &exported, &key)).expect_err("the key is not in key.pem");
    }
}

#[test]
fn other_processes_see_no_secret_in_arguments_or_environment() {
    let world = World::with(|options| options.latency = std::time::Duration::from_millis(40));
    let arguments = world.provision_arguments();
    let mut command = world.command(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    command.args(["--export", "out"]);
    let seen = seen_of(command, TOKEN);
    let key = private_number(&world);
    for content in &seen {
        assert_without("/proc", content, TOKEN.as_bytes());
        assert_without("/proc", content, &key);
    }
    configure(&world);
    for content in &seen_of(world.command(&["apikey", "set", "plant", "--key-stdin"]), KEY) {
        assert_without("/proc", content, KEY.as_bytes());
    }
}

/// What other processes see of a run that is given `secret` on standard input, and that ends well.
fn seen_of(mut command: Command, secret: &str) -> BTreeSet<Vec<u8>> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(secret.as_bytes()).unwrap();
    let mut seen = BTreeSet::new();
    while child.try_wait().unwrap().is_none() {
        let process = std::path::PathBuf::from(format!("/proc/{}", child.id()));
        let mut threads = vec![process.clone()];
        threads.extend(std::fs::read_dir(process.join("task")).into_iter().flatten().flatten().map(|task| task.path()));
        for thread in threads {
            for file in ["cmdline", "environ", "comm", "maps"] {
                seen.extend(std::fs::read(thread.join(file)));
            }
        }
        for open in std::fs::read_dir(process.join("fd")).into_iter().flatten().flatten() {
            seen.extend(std::fs::read_link(open.path()).map(|path| path.into_os_string().into_encoded_bytes()));
        }
    }
    assert!(child.wait().unwrap().success());
    assert!(seen.iter().any(|content| content.starts_with(env!("CARGO_BIN_EXE_robocred").as_bytes())), "never looked");
    seen
}

#[test]
fn a_token_that_the_appliance_repeats_is_not_shown() {
    let bodies = [
        format!("no such token: {TOKEN}"),
        format!(r#"{{"error":"Bearer {TOKEN} is unknown"}}"#),
        format!("<html><title>{TOKEN}</title>{TOKEN}</html>"),
        format!("{}{TOKEN}", "x".repeat(250)),
        TOKEN.repeat(200),
    ];
    let heads = [
        format!("HTTP/1.1 400 {TOKEN}\r\nx-token: {TOKEN}\r\ncontent-length: 0\r\n\r\n"),
        format!("HTTP/1.1 302 Found\r\nlocation: https://10.20.0.5/{TOKEN}\r\ncontent-length: 0\r\n\r\n"),
        format!("HTTP/1.1 307 Found\r\nlocation: /login?token={TOKEN}\r\ncontent-length: 0\r\n\r\n"),
        format!("{TOKEN} is no HTTP\r\n\r\n"),
    ];
    let mut faults: Vec<_> = heads.map(|head| FaultKind::Raw(head.into_bytes())).into();
    for status in [400, 401, 403, 409, 422, 429] {
        let body = bodies[usize::from(status) % bodies.len()].clone().into_bytes();
        faults.push(FaultKind::Answer { status, content_type: "application/json", body });
    }
    faults.extend(bodies.map(|body| FaultKind::Answer { status: 400, content_type: "text/plain", body: body.into() }));
    for (turn, kind) in faults.into_iter().enumerate() {
        let world = World::new();
        // The first request with the token is the list, the second the registration.
        let nth = 1 + turn % 2;
        world.simulator.inject(Fault { path: Some("/v1/robots".to_owned()), nth, kind: kind.clone() });
        let ran = world.provision(&["-vvv"]);
        assert!(world.simulator.tokens_seen() > 0, "{ran:#?}");
        let status = world.run(&["--json", "status"]);
        for said in [&ran.stdout, &ran.stderr, &status.stdout] {
            assert_without("what was said", said.as_bytes(), TOKEN.as_bytes());
        }
        assert_in_no_file(&world, TOKEN.as_bytes(), None);
    }
}

#[test]
fn the_token_goes_to_the_list_and_the_registration_and_nowhere_else() {
    for listing in [Listing::Supported, Listing::NotFound404] {
        let world = World::with(|options| options.behaviours.listing = listing);
        world.provision(&["--export", "out", "--ingest"]).expect(0);
        for arguments in [["verify", "plant/reader"], ["ingest", "plant/reader"]] {
            world.run(&arguments).expect(0);
        }
        let requests = world.simulator.requests();
        assert!(requests.iter().any(|request| request.path == "/graphql"), "{requests:#?}");
        for request in requests {
            assert_eq!(request.bearer, request.path == "/v1/robots", "{request:#?}");
        }
    }
}

#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = World::new();
    for status in [301, 302, 303, 307, 308] {
        for nth in [1, 2] {
            let world = World::new();
            let there = elsewhere.simulator.url();
            let head = format!("HTTP/1.1 {status} Moved\r\nlocation: {there}/v1/robots\r\ncontent-length: 0\r\n\r\n");
            let kind = FaultKind::Raw(head.into_bytes());
            world.simulator.inject(Fault { path: Some("/v1/robots".to_owned()), nth, kind });
            let ran = world.provision(&[]);
            if nth == 2 {
                assert_eq!(ran.code(), Some(4), "{ran:#?}");
            }
            assert!(world.simulator.tokens_seen() > 0);
        }
    }
    assert_eq!(elsewhere.simulator.connections(), 0, "somebody followed a redirect");
    for registration in [Registration::Redirect302, Registration::Redirect307] {
        let behaviours = Behaviours { registration, ..Behaviours::default() };
        let world = World::with(|options| options.behaviours = behaviours.clone());
        world.provision(&[]).expect(4);
        assert_eq!(world.simulator.robots(), []);
    }
}

#[test]
fn a_proxy_in_the_environment_is_not_asked() {
    let world = World::new();
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let url = format!("http://user:hunter2@{}", proxy.local_addr().unwrap());
    let with_proxy = |arguments: &[&str], input: &[u8]| {
        let mut command = world.command(arguments);
        for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
            command.env(name, &url);
        }
        run(command, input).expect(0)
    };
    let arguments = world.provision_arguments();
    with_proxy(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), TOKEN.as_bytes());
    with_proxy(&["verify", "plant/reader"], b"");
    with_proxy(&["ingest", "plant/reader"], b"");
    with_proxy(&["trust", "plant", "--show"], b"");
    let asked = proxy.accept();
    assert!(asked.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock), "the proxy was asked");
    world.assert_nowhere(b"hunter2");
}
