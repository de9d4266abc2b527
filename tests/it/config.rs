//! The configuration file as a person meets it: what it may say, what is said
//! when it is wrong, and what editing leaves untouched.

mod edit;
mod properties;

use std::{
    fs,
    path::{Path, PathBuf},
};

use robocred::{
    config::{Config, Editor, Environment, Error, Overrides, Paths, Problem, View},
    site::{
        ApiChoice, Compression, ExportTarget, Format, IngestTarget, Keep, Registrar, RobotId, Role, StoreKind, Stream,
        TrustPolicy,
    },
    x509::{KeyAlgorithm, Profile},
};
use time::Duration;

const PIN: &str = "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const FILE: &str = "/etc/robocred/robocred.toml";

/// The sample of the manual, with a real pin.
const SAMPLE: &str = r#"version = 1

[defaults]
key_type     = "rsa-2048"
days         = 365            # never more than 365
renew_before = "1/3"          # of the lifetime; or "90d"
token_lead   = "30d"          # warn this long before the renewal window opens if a token will be needed
overlap      = "14d"          # how long the old generation stays registered after the new one is delivered
store        = "auto"         # keyring | sealed | auto

[sites.plant-a]
url       = "https://10.20.0.5"
trust     = { pins = ["sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="] }
registrar = "token"                              # or the name of an admin robot of this site
# proxy = "http://proxy:3128"; proxy_token = true lets the token through it too

[sites.plant-a.robots.lucidum]
role   = "reader"
export = { dir = "/srv/lucidum/plant-a", mode = "0600" }      # also group = "…"
ingest = { streams = ["assets"], format = "ndjson", dir = "/srv/ingest/plant-a", every = "1d" }
hooks  = { deploy = ["/usr/local/bin/notify-lucidum"], failure = ["/usr/local/bin/page"] }
"#;

fn id(text: &str) -> RobotId {
    text.parse().unwrap()
}

fn load(text: &str) -> Config {
    Config::from_text(Path::new(FILE), Some(text)).unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

fn problems(text: &str) -> Vec<Problem> {
    match Config::from_text(Path::new(FILE), Some(text)) {
        Ok(config) => panic!("accepted:\n{text}\n{config:?}"),
        Err(problems) => problems.iter().cloned().collect(),
    }
}

#[test]
fn the_sample_of_the_manual_resolves() {
    let config = load(SAMPLE);
    assert_eq!((config.store, config.seal_key_file.as_ref(), config.exists), (None, None, true));
    let [site] = config.sites.as_slice() else { panic!("{:?}", config.sites) };
    assert_eq!((site.name.as_str(), site.endpoint.to_string().as_str()), ("plant-a", "https://10.20.0.5"));
    assert_eq!(site.trust, Some(TrustPolicy::Pins(vec![PIN.parse().unwrap()])));
    assert_eq!((&site.registrar, &site.proxy), (&Registrar::Token, &None));
    let [robot] = site.robots.as_slice() else { panic!("{:?}", site.robots) };
    assert_eq!((robot.name.as_str(), robot.role), ("lucidum", Role::Reader));
    assert_eq!((robot.key_algorithm, robot.days, robot.profile), (KeyAlgorithm::Rsa2048, 365, Profile::Client));
    assert_eq!((robot.token_lead, robot.overlap), (Duration::days(30), Duration::days(14)));
    let export = robot.export.as_ref().unwrap();
    assert_eq!((export.dir.as_path(), export.mode, &export.group), (Path::new("/srv/lucidum/plant-a"), 0o600, &None));
    let ingest = robot.ingest.as_ref().unwrap();
    assert_eq!((ingest.streams.as_slice(), ingest.format), (&[Stream::Assets][..], Format::Ndjson));
    assert_eq!(ingest.dir.as_deref(), Some(Path::new("/srv/ingest/plant-a")));
    assert_eq!(ingest.every, Some(Duration::days(1)));
    assert_eq!(robot.hooks.deploy, Some(vec!["/usr/local/bin/notify-lucidum".to_owned()]));
    assert_eq!(robot.hooks.failure, Some(vec!["/usr/local/bin/page".to_owned()]));
    assert_eq!(robot.hooks.expiring, None);
}

#[test]
fn a_robot_overrides_the_defaults_one_by_one() {
    let config = load(
        r#"
        version = 1
        defaults = { key_type = "ecdsa-p256", days = 90, store = "sealed", seal_key_file = "/etc/seal", profile = "openssl" }
        [sites.a]
        url = "https://a.example"
        trust = "system"
        registrar = "boss"
        proxy = "http://proxy:3128"
        proxy_token = true
        robots.boss = { role = "AdminRole", days = 30, overlap = "2d" }
        robots.plain.role = "reader"
        [sites.b]
        url = "https://b.example:8443"
        trust = { ca_file = "/etc/ssl/b.pem" }
        [sites.c]
        url = "https://[fd00::1]"
        "#,
    );
    assert_eq!(config.store, Some(StoreKind::Sealed));
    assert_eq!(config.seal_key_file.as_deref(), Some(Path::new("/etc/seal")));
    let [a, b, c] = config.sites.as_slice() else { panic!("{:?}", config.sites) };
    assert_eq!(a.registrar, Registrar::Robot("boss".parse().unwrap()));
    let proxy = a.proxy.as_ref().unwrap();
    assert_eq!((proxy.host.as_str(), proxy.port, proxy.token), ("proxy", 3128, true));
    let seen: Vec<_> = a.robots.iter().map(|r| (r.name.as_str(), r.role, r.days, r.overlap.whole_days())).collect();
    assert_eq!(seen, [("boss", Role::Admin, 30, 2), ("plain", Role::Reader, 90, 14)]);
    assert!(a.robots.iter().all(|r| r.key_algorithm == KeyAlgorithm::EcdsaP256 && r.profile == Profile::Openssl));
    assert_eq!(b.trust, Some(TrustPolicy::CaFile(PathBuf::from("/etc/ssl/b.pem"))));
    assert_eq!((&c.trust, c.robots.len()), (&None, 0), "trust is undecided until first contact");
}

#[test]
fn an_ingest_is_as_configured_and_else_by_default() {
    let ingest = |line: &str| {
        let text = format!(
            "version = 1\n[sites.a]\nurl = \"https://a\"\n[sites.a.robots.r]\nrole = \"reader\"\ningest = {{ {line} }}\n"
        );
        load(&text).robot(&id("a/r")).unwrap().1.ingest.clone().unwrap()
    };
    let plain = IngestTarget::of(vec![Stream::Assets]);
    let said = r#"compress = "none", api = "auto", with_details = false, include_hidden = false"#;
    assert_eq!(ingest("streams = [\"assets\"]"), plain);
    assert_eq!(ingest(&format!("streams = [\"assets\"], {said}")), plain);
    let everything = r#"streams = ["assets", "plugins"], format = "csv", compress = "zstd", api = "graphql", page_size = 1000,
        since = "last", with_details = true, include_hidden = true, max_rate = 1, keep = "36h", dir = "/d", every = "1h""#;
    assert_eq!(
        ingest(&everything.replace('\n', " ")),
        IngestTarget {
            streams: vec![Stream::Assets, Stream::Plugins],
            format: Format::Csv,
            compress: Compression::Zstd,
            api: ApiChoice::Graphql,
            page_size: Some(1000),
            since_last: true,
            with_details: true,
            include_hidden: true,
            max_rate: Some(1),
            keep: Some(Keep::Age(Duration::hours(36))),
            dir: Some("/d".into()),
            every: Some(Duration::HOUR),
        }
    );
    assert_eq!(ingest("streams = [\"assets\"], keep = 1").keep, Some(Keep::Count(1)));
}

#[test]
fn nothing_and_comments_are_an_empty_configuration() {
    for text in [None, Some(""), Some("\n# nothing yet\n")] {
        let config = Config::from_text(Path::new(FILE), text).unwrap();
        assert_eq!((config.sites.len(), config.exists), (0, text.is_some()));
    }
    let dir = tempfile::tempdir().unwrap();
    assert!(!Config::load_file(&dir.path().join("robocred.toml")).unwrap().exists);
}

/// Every way in which a value can be wrong: the key, and what is said.
#[test]
fn every_wrong_value_is_named_with_its_key() {
    fn check(line: &str, key: &str, message: &str) {
        let text = match line.split_once("::") {
            Some(("file", line)) => line.to_owned(),
            Some(("defaults", line)) => format!("version = 1\n[defaults]\n{line}\n"),
            Some(("site", line)) => format!("version = 1\n[sites.a]\nurl = \"https://a.example\"\n{line}\n"),
            Some(("robot", line)) => format!(
                "version = 1\n[sites.a]\nurl = \"https://a.example\"\n[sites.a.robots.r]\nrole = \"reader\"\n{line}\n"
            ),
            _ => panic!("{line}"),
        };
        let found = problems(&text);
        let [problem] = found.as_slice() else { panic!("{line}: {found:#?}") };
        assert_eq!(problem.key, key, "{line}: {problem}");
        assert!(problem.message.contains(message), "{line}: {problem}");
        assert!(problem.hint.as_ref().is_some_and(|hint| !hint.is_empty()), "{line}: no hint: {problem}");
        assert!(problem.place.is_some() || problem.key == "version", "{line}: no place: {problem}");
    }
    let long = format!("file::version = 1\n[sites.{}]\nurl = \"https://a.example\"", "x".repeat(57));
    let long_key = format!("sites.{}", "x".repeat(57));
    for (line, key, message) in [
        ("file::[sites.a]\nurl = \"https://a.example\"", "version", "missing"),
        ("file::version = 2\nsurprise = 1", "version", "up to version 1"),
        ("file::version = 0", "version", "no version 0"),
        ("file::version = \"1\"", "version", "a string"),
        ("file::version = 1\nsite = {}", "site", "no such key"),
        ("file::version = 1\nsites = 3", "sites", "an integer"),
        ("file::version = 1\n[sites]\na = true", "sites.a", "a boolean"),
        ("file::version = 1\n[[sites]]\nurl = \"https://a.example\"", "sites", "an array of tables"),
        ("file::version = 1\n[sites.\"a b\"]\nurl = \"https://a.example\"", "sites.\"a b\"", "not a site name"),
        ("file::version = 1\n[sites.a-g1]\nurl = \"https://a.example\"", "sites.a-g1", "generation"),
        (&long, &long_key, "longer than 56"),
        ("file::version = 1\n[sites.a]\ntrust = \"system\"", "sites.a.url", "missing"),
        ("file::version = 1\n[sites.a]\nurl = 5", "sites.a.url", "an integer"),
        ("file::version = 1\n[sites.a]\nurl = \"http://a.example\"", "sites.a.url", "https://"),
        ("file::version = 1\n[sites.a]\nurl = \"https://u:p@a.example\"", "sites.a.url", "user name or password"),
        ("file::version = 1\n[sites.a]\nurl = \"https://a.example/x\"", "sites.a.url", "path"),
        ("file::version = 1\n[sites.a]\nurl = \"https://a.example#x\"", "sites.a.url", "fragment"),
        ("defaults::key_type = \"rsa-1024\"", "defaults.key_type", "rsa-1024"),
        ("defaults::days = 0", "defaults.days", "0 days"),
        ("defaults::days = 366", "defaults.days", "366 days"),
        ("defaults::days = -1", "defaults.days", "-1 days"),
        ("defaults::days = 9223372036854775807", "defaults.days", "days is not a lifetime"),
        ("defaults::days = \"90\"", "defaults.days", "a string"),
        ("defaults::days = 1.5", "defaults.days", "a float"),
        ("defaults::renew_before = \"3/1\"", "defaults.renew_before", "neither a duration"),
        ("defaults::renew_before = \"365d\"", "defaults.renew_before", "leaves no time"),
        ("defaults::days = 30\nrenew_before = \"30d\"", "defaults.renew_before", "leaves no time"),
        ("defaults::renew_before = \"99/100\"", "defaults.renew_before", "leaves no time"),
        ("defaults::token_lead = \"soon\"", "defaults.token_lead", "neither a duration"),
        ("defaults::overlap = \"-1d\"", "defaults.overlap", "neither a duration"),
        ("defaults::overlap = \"0d\"", "defaults.overlap", "neither a duration"),
        ("defaults::profile = \"server\"", "defaults.profile", "server"),
        ("defaults::store = \"file\"", "defaults.store", "keyring, sealed, auto"),
        ("defaults::seal_key_file = \"seal.key\"", "defaults.seal_key_file", "not an absolute path"),
        ("defaults::seal_passphrase_file = \"~/p\"", "defaults.seal_passphrase_file", "not an absolute path"),
        ("defaults::role = \"reader\"", "defaults.role", "no such key"),
        ("site::trust = \"anyone\"", "sites.a.trust", "not a way to trust"),
        ("site::trust = true", "sites.a.trust", "a boolean"),
        ("site::trust = {}", "sites.a.trust", "neither a CA file nor pins"),
        ("site::trust = { pins = [] }", "sites.a.trust.pins", "empty list"),
        ("site::trust = { pins = [\"sha256//short=\"] }", "sites.a.trust.pins", "sha256//short="),
        ("site::trust = { pins = [7] }", "sites.a.trust.pins", "an integer"),
        ("site::trust = { pins = \"x\" }", "sites.a.trust.pins", "a string"),
        ("site::trust = { ca_file = \"ca.pem\" }", "sites.a.trust.ca_file", "not an absolute path"),
        ("site::trust = { ca_file = \"/ca.pem\", pins = [] }", "sites.a.trust", "a CA file and pins"),
        ("site::registrar = \"nobody\"", "sites.a.registrar", "no robot nobody"),
        ("site::registrar = \"r\"\nrobots.r.role = \"reader\"", "sites.a.registrar", "not an admin"),
        ("site::registrar = \"a b\"", "sites.a.registrar", "not a robot name"),
        ("site::proxy = \"https://proxy:3128\"", "sites.a.proxy", "http://"),
        ("site::proxy = \"http://u:p@proxy:3128\"", "sites.a.proxy", "user name or password"),
        ("site::proxy = \"http://proxy:3128/x\"", "sites.a.proxy", "end after the port"),
        ("site::proxy = \"proxy\"", "sites.a.proxy", "not a URL"),
        ("site::proxy_token = true", "sites.a.proxy_token", "no proxy"),
        ("site::proxy = \"http://p\"\nproxy_token = \"yes\"", "sites.a.proxy_token", "a string"),
        ("site::verify = false", "sites.a.verify", "no such key"),
        ("site::robots.\"a/b\".role = \"reader\"", "sites.a.robots.\"a/b\"", "not a robot name"),
        ("site::robots.r = {}", "sites.a.robots.r.role", "missing"),
        ("site::robots.r.role = \"boss\"", "sites.a.robots.r.role", "reader, admin"),
        ("site::robots.r = \"reader\"", "sites.a.robots.r", "a string"),
        ("robot::days = 400", "sites.a.robots.r.days", "400 days"),
        ("robot::renew_before = \"400d\"", "sites.a.robots.r.renew_before", "leaves no time"),
        ("robot::export = \"/srv\"", "sites.a.robots.r.export", "a string"),
        ("robot::export = {}", "sites.a.robots.r.export.dir", "missing"),
        ("robot::export.dir = \"srv\"", "sites.a.robots.r.export.dir", "not an absolute path"),
        ("robot::export = { dir = \"/s\\u0000\" }", "sites.a.robots.r.export.dir", "NUL"),
        ("robot::export = { dir = \"/s\", mode = \"0644\" }", "sites.a.robots.r.export.mode", "every user"),
        ("robot::export = { dir = \"/s\", mode = \"0602\" }", "sites.a.robots.r.export.mode", "every user"),
        ("robot::export = { dir = \"/s\", mode = \"0700\" }", "sites.a.robots.r.export.mode", "no sense"),
        ("robot::export = { dir = \"/s\", mode = \"0040\" }", "sites.a.robots.r.export.mode", "owner's own"),
        ("robot::export = { dir = \"/s\", mode = \"rw\" }", "sites.a.robots.r.export.mode", "octal"),
        ("robot::export = { dir = \"/s\", mode = 600 }", "sites.a.robots.r.export.mode", "an integer"),
        ("robot::export = { dir = \"/s\", group = \"\" }", "sites.a.robots.r.export.group", "empty"),
        ("robot::export = { dir = \"/s\", group = \"a:b\" }", "sites.a.robots.r.export.group", "name of a group"),
        ("robot::export = { dir = \"/s\", owner = \"x\" }", "sites.a.robots.r.export.owner", "no such key"),
        ("robot::ingest = {}", "sites.a.robots.r.ingest.streams", "missing"),
        ("robot::ingest.streams = []", "sites.a.robots.r.ingest.streams", "empty list"),
        ("robot::ingest.streams = [\"asset\"]", "sites.a.robots.r.ingest.streams", "assets, plugins"),
        ("robot::ingest.streams = [\"assets\", \"assets\"]", "sites.a.robots.r.ingest.streams", "twice"),
        ("robot::ingest = { streams = [\"assets\"], format = \"xml\" }", "sites.a.robots.r.ingest.format", "xml"),
        ("robot::ingest = { streams = [\"assets\"], dir = \"x\" }", "sites.a.robots.r.ingest.dir", "absolute"),
        ("robot::ingest = { streams = [\"assets\"], every = \"daily\" }", "sites.a.robots.r.ingest.every", "daily"),
        (
            "robot::ingest = { streams = [\"assets\"], compress = \"xz\" }",
            "sites.a.robots.r.ingest.compress",
            "none, gzip",
        ),
        (
            "robot::ingest = { streams = [\"assets\"], compress = true }",
            "sites.a.robots.r.ingest.compress",
            "a boolean",
        ),
        ("robot::ingest = { streams = [\"assets\"], api = \"soap\" }", "sites.a.robots.r.ingest.api", "auto, graphql"),
        ("robot::ingest = { streams = [\"assets\"], page_size = 0 }", "sites.a.robots.r.ingest.page_size", "0 is out"),
        (
            "robot::ingest = { streams = [\"assets\"], page_size = 1001 }",
            "sites.a.robots.r.ingest.page_size",
            "1001 is",
        ),
        (
            "robot::ingest = { streams = [\"assets\"], page_size = \"9\" }",
            "sites.a.robots.r.ingest.page_size",
            "a string",
        ),
        (
            "robot::ingest = { streams = [\"assets\"], since = \"1d\" }",
            "sites.a.robots.r.ingest.since",
            "\"1d\" is not",
        ),
        (
            "robot::ingest = { streams = [\"assets\"], since = 2026-01-01 }",
            "sites.a.robots.r.ingest.since",
            "a datetime",
        ),
        (
            "robot::ingest = { streams = [\"assets\"], since = \"last\", api = \"rest\" }",
            "sites.a.robots.r.ingest.since",
            "REST cannot",
        ),
        (
            "robot::ingest = { streams = [\"assets\"], with_details = \"yes\" }",
            "sites.a.robots.r.ingest.with_details",
            "a string",
        ),
        (
            "robot::ingest = { streams = [\"assets\"], include_hidden = 1 }",
            "sites.a.robots.r.ingest.include_hidden",
            "an integer",
        ),
        ("robot::ingest = { streams = [\"assets\"], max_rate = 0 }", "sites.a.robots.r.ingest.max_rate", "0 is out"),
        ("robot::ingest = { streams = [\"assets\"], max_rate = 1.5 }", "sites.a.robots.r.ingest.max_rate", "a float"),
        ("robot::ingest = { streams = [\"assets\"], keep = 0 }", "sites.a.robots.r.ingest.keep", "0 is out"),
        ("robot::ingest = { streams = [\"assets\"], keep = -1 }", "sites.a.robots.r.ingest.keep", "-1 is out"),
        (
            "robot::ingest = { streams = [\"assets\"], keep = \"0d\" }",
            "sites.a.robots.r.ingest.keep",
            "neither a number",
        ),
        ("robot::ingest = { streams = [\"assets\"], keep = \"ever\" }", "sites.a.robots.r.ingest.keep", "neither a"),
        ("robot::ingest = { streams = [\"assets\"], keep = true }", "sites.a.robots.r.ingest.keep", "a boolean"),
        ("robot::ingest = { streams = [\"assets\"], stream = \"x\" }", "sites.a.robots.r.ingest.stream", "no such key"),
        ("site::em = \"a/b\"", "sites.a.em", "not a machine id"),
        ("site::em = \"\"", "sites.a.em", "not a machine id"),
        ("site::em = 7", "sites.a.em", "an integer"),
        ("robot::hooks.deploy = []", "sites.a.robots.r.hooks.deploy", "empty list"),
        ("robot::hooks.deploy = [\"notify\"]", "sites.a.robots.r.hooks.deploy", "not an absolute path"),
        ("robot::hooks.deploy = [\"\"]", "sites.a.robots.r.hooks.deploy", "not an absolute path"),
        ("robot::hooks.deploy = \"/bin/true\"", "sites.a.robots.r.hooks.deploy", "a string"),
        ("robot::hooks.failure = [\"/bin/true\", 1]", "sites.a.robots.r.hooks.failure", "an integer"),
        ("robot::hooks.deployed = [\"/bin/true\"]", "sites.a.robots.r.hooks.deployed", "no such key"),
    ] {
        check(line, key, message);
    }
}

#[test]
fn two_robots_may_not_share_what_only_one_can_hold() {
    let two = |first: &str, second: &str| {
        let site = |name: &str, url: &str, robot: &str| {
            format!("[sites.{name}]\nurl = \"{url}\"\n[sites.{name}.robots.r]\nrole = \"reader\"\n{robot}\n")
        };
        (
            problems(&format!("version = 1\n{}{}", site("a", "https://x", first), site("b", "https://y", second))),
            problems(&format!("version = 1\n{}{}", site("a", "https://X:443/", ""), site("b", "https://x", ""))),
        )
    };
    for (robot, key) in [
        ("export.dir = \"/srv\"", "sites.b.robots.r.export"),
        ("ingest = { streams = [\"assets\"], dir = \"/srv\" }", "sites.b.robots.r.ingest"),
    ] {
        let (shared_dir, same_url) = two(robot, robot);
        let keys: Vec<_> = shared_dir.iter().map(|p| p.key.as_str()).collect();
        assert_eq!(keys, [key]);
        assert!(shared_dir[0].message.contains("a/r writes to /srv"), "{}", shared_dir[0]);
        let keys: Vec<_> = same_url.iter().map(|p| p.key.as_str()).collect();
        assert_eq!(keys, ["sites.b.robots.r"]);
        assert!(same_url[0].message.contains("a/r is the same robot"), "{}", same_url[0]);
    }
}

#[test]
fn five_mistakes_are_five_problems_with_their_lines() {
    let text = r#"version = 1
[defaults]
dayz = 90
[sites.plant-a]
url = "http://10.20.0.5"
trust = { pins = ["sha256//nope"] }
[sites.plant-a.robots.lucidum]
role = "boss"
export = { dir = "srv" }
"#;
    let problems = Config::from_text(Path::new(FILE), Some(text)).unwrap_err();
    insta::assert_snapshot!(problems, @r#"
    the configuration /etc/robocred/robocred.toml has 5 problems:
      line 3, column 1: defaults.dayz: there is no such key (did you mean days?)
      line 5, column 1: sites.plant-a.url: "http://10.20.0.5" is not an appliance address: it must begin with https:// (write https://HOST or https://HOST:PORT)
      line 6, column 19: sites.plant-a.trust.pins: not a pin like sha256//BASE64=: "sha256//nope" (a pin looks like sha256//BASE64=)
      line 8, column 1: sites.plant-a.robots.lucidum.role: "boss" is not a role (known: reader, admin, ReaderRole, AdminRole) (write reader or admin)
      line 9, column 12: sites.plant-a.robots.lucidum.export.dir: "srv" is not an absolute path (write it from the root, like /srv/robocred)
    "#);
}

#[test]
fn a_broken_text_is_reported_without_repeating_it() {
    let text = "version = 1\n[sites.a\nurl = \"https://x\"\nhunter2 hunter2\n";
    let problems = Config::from_text(Path::new(FILE), Some(text)).unwrap_err();
    assert!(!problems.to_string().contains("hunter2"), "{problems}");
    let lines: Vec<_> = problems.iter().map(|p| p.place.unwrap().line).collect();
    assert_eq!(lines, [2, 4], "{problems}");
}

#[test]
fn a_defaults_mistake_is_not_repeated_for_each_robot() {
    let found = problems(
        "version = 1\ndefaults.renew_before = \"365d\"\n[sites.a]\nurl = \"https://x\"\nregistrar = \"r\"\n\
         robots.r.role = \"admin\"\nrobots.s.role = \"reader\"\n",
    );
    let keys: Vec<_> = found.iter().map(|p| p.key.as_str()).collect();
    assert_eq!(keys, ["defaults.renew_before"]);
}

fn paths(config: &Path) -> Paths {
    let environment = Environment::of([("HOME", "/home/somebody")]);
    Paths::resolve(Some(config), Some(Path::new("/srv/state")), &environment).unwrap()
}

#[test]
fn what_is_shown_means_the_same_when_read_again() {
    let full = r#"
        version = 1
        defaults = { store = "keyring", seal_key_file = "/k", seal_passphrase_file = "/p", renew_before = "90d" }
        [sites."z.z"]
        url = "https://[fd00::1]:8443"
        trust = "system"
        registrar = "boss"
        proxy = "http://[fd00::2]:3128"
        robots.boss = { role = "admin", key_type = "ed25519", profile = "openssl", overlap = "36h" }
        [sites.a]
        url = "https://a.example"
        trust.ca_file = "/ca \"x\".pem"
        em = "3f2e6a1c-9d64-4d0e-8d11-5b1a6f0c2b7e"
        robots.r = { role = "reader", export = { dir = "/e", mode = "640", group = "g" }, hooks.expiring = ["/x", "y"] }
        robots.s.role = "reader"
        robots.s.ingest = { streams = ["assets"], compress = "gzip", api = "graphql", page_size = 50, since = "last", keep = 3 }
        robots.t.role = "reader"
        robots.t.ingest = { streams = ["events"], format = "csv", with_details = true, include_hidden = true, max_rate = 5, keep = "90d" }
    "#;
    for text in ["", SAMPLE, full] {
        let config = load(text);
        let view = View::of(&config, &paths(Path::new(FILE)));
        let again = load(&view.to_string());
        assert_eq!(again, config, "{view}");
    }
    let json = serde_json::to_value(View::of(&load(full), &paths(Path::new(FILE)))).unwrap();
    assert_eq!(json["schema"], 1);
    assert_eq!((&json["config"], &json["config_origin"]), (&FILE.into(), &"--config".into()));
    assert_eq!(json["seal"], serde_json::json!(["/k", "/p", "/home/somebody/.config/robocred/seal.key"]));
    assert_eq!(json["resolved"]["sites"]["a"]["trust"]["ca_file"], "/ca \"x\".pem");
    let a = &json["resolved"]["sites"]["a"];
    assert_eq!(a["proxy"], serde_json::Value::Null);
    assert_eq!(a["em"], "3f2e6a1c-9d64-4d0e-8d11-5b1a6f0c2b7e");
    let (s, t) = (&a["robots"]["s"]["ingest"], &a["robots"]["t"]["ingest"]);
    assert_eq!((&s["keep"], &s["since"], &s["max_rate"]), (&3.into(), &"last".into(), &serde_json::Value::Null));
    assert_eq!((&t["keep"], &t["compress"], &t["max_rate"]), (&"90d".into(), &"none".into(), &5.into()));
}
