//! `install systemd`: what the units say, what systemd says of them, and what
//! becomes of files that are there already.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::{
    judges,
    rotate::{configure, with_token},
    world::{Ran, TOKEN, World, run},
};

const INSTALL: [&str; 2] = ["install", "systemd"];

/// A configuration like the one of a system, in a file that the flag names.
fn configured(world: &World) -> PathBuf {
    let text = "version = 1
[sites.plant-a]
url = 'https://10.20.0.5'
trust = 'system'
[sites.plant-a.robots.lucidum]
role = 'reader'
export = { dir = '/srv/lucidum/plant a', group = 'lucidum' }
ingest = { streams = ['assets'], dir = '/srv/50%' }
[sites.plant-a.robots.second]
role = 'reader'
export = { dir = '/var/lib/robocred/out' }
";
    let path = world.path("system.toml");
    fs::write(&path, text).unwrap();
    path
}

/// The files by their names.
fn files(document: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    document["files"].as_array().unwrap().iter().map(|file| (text(&file["path"]), text(&file["content"]))).collect()
}

const SERVICES: [&str; 2] = ["/etc/systemd/system/robocred.service", "/etc/systemd/system/robocred-rotate.service"];

/// The values of a directive, in their order.
fn values<'a>(unit: &'a str, directive: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(directive)?.strip_prefix('=')).collect()
}

#[test]
fn the_units_restrict_what_they_can_and_let_through_what_is_configured() {
    let world = World::new();
    let config = configured(&world);
    let document = world.run(&["--json", "-c", config.to_str().unwrap(), "install", "systemd"]).expect(0).json();
    assert_eq!(document["schema"], 1);
    assert_eq!(document.get("written"), None, "nothing is written without --write");
    let files = files(&document);
    for path in SERVICES {
        let unit = &files[path];
        for (directive, value) in [
            ("User", "robocred"),
            ("StateDirectory", "robocred"),
            ("StateDirectoryMode", "0700"),
            ("ConfigurationDirectory", "robocred"),
            ("UMask", "0077"),
            ("LimitCORE", "0"),
            ("NoNewPrivileges", "yes"),
            ("ProtectSystem", "strict"),
            ("PrivateTmp", "yes"),
            ("PrivateDevices", "yes"),
            ("ProtectProc", "invisible"),
            ("ProcSubset", "pid"),
            ("ProtectClock", "yes"),
            ("ProtectControlGroups", "yes"),
            ("ProtectHostname", "yes"),
            ("ProtectKernelLogs", "yes"),
            ("ProtectKernelModules", "yes"),
            ("ProtectKernelTunables", "yes"),
            ("RestrictNamespaces", "yes"),
            ("RestrictRealtime", "yes"),
            ("RestrictSUIDSGID", "yes"),
            ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX"),
            ("LockPersonality", "yes"),
            ("MemoryDenyWriteExecute", "yes"),
            ("SystemCallArchitectures", "native"),
            ("CapabilityBoundingSet", ""),
            ("AmbientCapabilities", ""),
            ("KeyringMode", "private"),
            ("RemoveIPC", "yes"),
            ("DevicePolicy", "closed"),
        ] {
            assert_eq!(values(unit, directive), [value], "{directive} of {path}");
        }
        // What lies in the state directory can be written to anyway.
        assert_eq!(values(unit, "ReadWritePaths"), ["-/etc/robocred", "-/srv/50%%", "\"-/srv/lucidum/plant a\""]);
        assert!(values(unit, "ExecStart")[0].contains(&format!("--config {}", config.display())), "{unit}");
    }
    let watch = &files[SERVICES[0]];
    for (directive, value) in [
        ("Type", "notify"),
        ("Restart", "on-failure"),
        ("WatchdogSec", "5min"),
        ("TimeoutStopSec", "20"),
        ("KillMode", "mixed"),
    ] {
        assert_eq!(values(watch, directive), [value], "{directive}");
    }
    assert!(values(watch, "ExecStart")[0].ends_with(" watch"));
    let once = &files[SERVICES[1]];
    assert!(values(once, "ExecStart")[0].ends_with(" rotate --due --lock-wait 5m"));
    assert_eq!((values(once, "Type"), values(once, "SuccessExitStatus")), (vec!["oneshot"], vec!["10"]));
    let timer = &files["/etc/systemd/system/robocred-rotate.timer"];
    assert_eq!((values(timer, "Persistent"), values(timer, "RandomizedDelaySec")), (vec!["true"], vec!["15min"]));
    assert!(files["/etc/sysusers.d/robocred.conf"].contains("\nm robocred lucidum\n"));
    let next = document["next"].to_string();
    assert!(next.contains("install -d -m 0700 -o robocred -g robocred '/srv/lucidum/plant a'"), "{next}");

    // For people: the same files, each under its path.
    let printed = world.run(&["-c", config.to_str().unwrap(), "install", "systemd"]).expect(0).stdout;
    for (path, content) in &files {
        assert!(printed.contains(&format!("# {path}\n{content}")), "{path}");
    }
}

/// Runs systemd-analyze on files of this folder.
fn analyze(folder: &Path, arguments: &[&str]) -> (bool, String) {
    // A user's manager asks for a runtime directory, even to look at a file.
    let mut command = Command::new("systemd-analyze");
    let output = command.args(arguments).current_dir(folder).env("XDG_RUNTIME_DIR", folder).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), said)
}

/// Writes the units of a tool below a directory of the world's; where the units are.
fn written(world: &World, tool: &Path, arguments: &[&str], name: &str) -> PathBuf {
    let root = world.path(name);
    let mut command = Command::new(tool);
    command.args(arguments).args(INSTALL).args(["--write", "--root"]).arg(&root);
    command.env_clear().env("HOME", world.path(""));
    let ran = run(command, b"");
    assert_eq!(ran.code(), Some(0), "{ran:#?}");
    root.join("etc/systemd/system")
}

#[test]
fn systemd_finds_nothing_wrong_and_little_exposed() {
    if !judges::need("systemd-analyze", "systemd") {
        return;
    }
    let world = World::new();
    let config = configured(&world);
    // A place whose name systemd would act upon if it were written as it stands.
    let odd = world.path("a b 50%h $HOME ä");
    fs::create_dir(&odd).unwrap();
    let tool = odd.join("robocred");
    if fs::hard_link(env!("CARGO_BIN_EXE_robocred"), &tool).is_err() {
        fs::copy(env!("CARGO_BIN_EXE_robocred"), &tool).unwrap();
    }
    let plain = Path::new(env!("CARGO_BIN_EXE_robocred"));
    let config = ["-c", config.to_str().unwrap()];
    for (name, tool, arguments) in [("plain", plain, &[][..]), ("configured", plain, &config), ("odd", &tool, &config)]
    {
        let units = written(&world, tool, arguments, name);
        let names = ["./robocred.service", "./robocred-rotate.service", "./robocred-rotate.timer"];
        let (fine, said) = analyze(&units, &[&["verify", "--man=no"], &names[..]].concat());
        let about_us: Vec<_> = said.lines().filter(|line| line.contains("robocred")).collect();
        assert!(fine && about_us.is_empty(), "{name}: {said}");
        for service in ["./robocred.service", "./robocred-rotate.service"] {
            // Ten times the exposure.
            let (fine, said) = analyze(&units, &["security", "--offline=yes", "--threshold=20", "--no-pager", service]);
            let exposure = said.lines().last().unwrap_or_default();
            assert!(fine && exposure.contains("Overall exposure level"), "{name}: {said}");
        }
    }
    // What is written there is believed: a program that is not there is noticed.
    let units = written(&world, plain, &[], "broken");
    let service = units.join("robocred.service");
    let text = fs::read_to_string(&service).unwrap();
    fs::write(&service, text.replace("/robocred watch", "/not-there watch")).unwrap();
    let (fine, said) = analyze(&units, &["verify", "--man=no", "./robocred.service"]);
    assert!(!fine && said.contains("not-there"), "{said}");
}

/// The system calls of each set that systemd knows.
fn sets() -> BTreeMap<String, BTreeSet<String>> {
    let (fine, said) = analyze(Path::new("/"), &["syscall-filter", "--no-pager"]);
    assert!(fine, "{said}");
    let (mut sets, mut current) = (BTreeMap::<String, BTreeSet<String>>::new(), None);
    for line in said.lines() {
        match line.strip_prefix("    ") {
            None => current = line.starts_with('@').then(|| line.to_owned()),
            Some(member) if !member.starts_with('#') => {
                if let Some(current) = &current {
                    sets.entry(current.clone()).or_default().insert(member.to_owned());
                }
            }
            Some(_) => {}
        }
    }
    sets
}

fn expand(sets: &BTreeMap<String, BTreeSet<String>>, word: &str) -> BTreeSet<String> {
    match sets.get(word) {
        Some(members) => members.iter().flat_map(|member| expand(sets, member)).collect(),
        None => [word.to_owned()].into(),
    }
}

/// What the filters of a unit let through, in their order.
fn allowed(unit: &str) -> BTreeSet<String> {
    let sets = sets();
    let mut allowed = BTreeSet::new();
    for filter in values(unit, "SystemCallFilter") {
        let (removes, words) = filter.strip_prefix('~').map_or((false, filter), |words| (true, words));
        for call in words.split(' ').flat_map(|word| expand(&sets, word)) {
            if removes {
                allowed.remove(&call)
            } else {
                allowed.insert(call)
            };
        }
    }
    allowed
}

#[test]
fn a_rotation_and_an_ingest_make_no_call_that_the_service_may_not_make() {
    if !judges::need("systemd-analyze", "systemd") || !judges::need("strace", "strace") {
        return;
    }
    let world = World::new();
    world.provision(&["--export", "out"]).expect(0);
    configure(&world, "sites.plant.robots.reader", "hooks = { deploy = ['/bin/sh', '-c', 'cat > /dev/null'] }");
    let trace = world.path("trace");
    let traced = |arguments: &[&str]| -> Ran {
        let wrapper = ["strace", "-f", "-qq", "-A", "-o", trace.to_str().unwrap(), "--"];
        run(world.wrapped(&wrapper, &world.command(arguments)), TOKEN.as_bytes())
    };
    traced(&["rotate", "plant/reader", "--force", "--token-stdin"]).expect(0);
    traced(&["rotate", "--due"]).expect(0);
    traced(&["ingest", "plant/reader"]).expect(0);
    with_token(&world, &["token", "set", "plant", "--token-stdin"]).expect(0);
    let unit = files(&world.run(&["--json", "install", "systemd"]).expect(0).json()).remove(SERVICES[0]).unwrap();
    let allowed = allowed(&unit);
    for call in ["fchown", "flock", "fsync", "execve", "connect"] {
        assert!(allowed.contains(call), "{call} is needed");
    }
    for call in ["mount", "ptrace", "setuid", "reboot", "init_module", "bpf"] {
        assert!(!allowed.contains(call), "{call} is let through");
    }
    let text = fs::read_to_string(&trace).unwrap();
    let calls: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start().split_once('('))
        .map(|(name, _)| name)
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
        .collect();
    assert!(calls.len() > 30 && calls.contains("fsync"), "{calls:?}");
    let refused: Vec<_> = calls.iter().filter(|call| !allowed.contains(**call)).collect();
    assert!(refused.is_empty(), "{refused:?}");
}

#[test]
fn what_is_there_is_replaced_only_as_it_was_written() {
    let world = World::new();
    let root = world.path("image");
    let flags = ["--json", "install", "systemd", "--write", "--root", root.to_str().unwrap()];
    let install = |more: &[&str]| world.run(&[&flags[..], more].concat());
    let names = |document: &Value| document["written"].as_array().unwrap().len();
    let there = || fs::read_dir(root.join("etc/systemd/system")).map_or(0, Iterator::count);

    let dry = install(&["--dry-run"]).expect(0).json();
    assert_eq!((names(&dry), &dry["dry_run"], there()), (5, &Value::Bool(true), 0));
    assert_eq!(names(&install(&[]).expect(0).json()), 5);
    assert_eq!(there(), 3, "and nothing beside them");
    let service = root.join("etc/systemd/system/robocred.service");
    let facts = fs::metadata(&service).unwrap();
    assert_eq!(facts.permissions().mode() & 0o7777, 0o644);
    for dir in ["", "etc", "etc/systemd/system", "etc/sysusers.d"] {
        assert_eq!(fs::metadata(root.join(dir)).unwrap().permissions().mode() & 0o7777, 0o755, "{dir}");
    }
    assert_eq!(names(&install(&[]).expect(0).json()), 0);
    assert_eq!(fs::metadata(&service).unwrap().modified().unwrap(), facts.modified().unwrap());

    // Another version of ours, as it was written, is replaced.
    let document = install(&["--listen", "127.0.0.1:9733"]).expect(0).json();
    assert_eq!(document["written"], serde_json::json!(["/etc/systemd/system/robocred.service"]));
    assert!(fs::read_to_string(&service).unwrap().contains(" watch --listen 127.0.0.1:9733\n"));

    // One that was changed, or is somebody else's, stops everything, and nothing is written.
    let timer = root.join("etc/systemd/system/robocred-rotate.timer");
    let ours = fs::read_to_string(&timer).unwrap();
    for other in [ours.replace("hourly", "daily"), "[Timer]\nOnCalendar=daily\n".to_owned()] {
        fs::write(&timer, &other).unwrap();
        let error = install(&[]).expect(3).json()["error"].clone();
        assert!(error["message"].as_str().unwrap().contains("robocred-rotate.timer"), "{error}");
        assert!(error["hint"].as_str().unwrap().contains("systemctl edit robocred-rotate.timer"), "{error}");
        assert_eq!(install(&["--dry-run"]).expect(3).json()["error"]["code"], "config");
        assert_eq!(fs::read_to_string(&timer).unwrap(), other);
        assert!(fs::read_to_string(&service).unwrap().contains("--listen"), "half of it was written");
    }
}

#[test]
fn a_users_units_are_in_its_home() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let ran = world.run(&["install", "systemd", "--user", "--write"]).expect(0);
    assert!(ran.stdout.contains("systemctl --user enable --now robocred.service"), "{ran:#?}");
    let units = world.path(".config/systemd/user");
    let service = fs::read_to_string(units.join("robocred.service")).unwrap();
    let tool = env!("CARGO_BIN_EXE_robocred");
    assert_eq!(values(&service, "ExecStart"), [format!("{tool} watch")], "its places are found without being told");
    assert!(!service.contains("User=") && !service.contains("ProtectSystem"));
    let elsewhere = world.path("elsewhere");
    let printed = world.run(&["--state-dir", elsewhere.to_str().unwrap(), "install", "systemd", "--user"]).expect(0);
    assert!(printed.stdout.contains(" --state-dir %h/elsewhere watch\n"), "{printed:#?}");
    if judges::need("systemd-analyze", "systemd") {
        let (fine, said) = analyze(&units, &["verify", "--user", "--man=no", "./robocred.service"]);
        assert!(fine && !said.contains("robocred"), "{said}");
    }
}

#[test]
fn a_path_that_would_begin_another_directive_is_refused() {
    let world = World::new();
    let state = "/var/lib/x\nExecStartPre=/bin/false";
    let error = world.run(&["--json", "--state-dir", state, "install", "systemd"]).expect(3).json()["error"].clone();
    assert!(error["message"].as_str().unwrap().contains("control character"), "{error}");
    // systemd starts no program with such a name.
    let tool = world.path("it's");
    if fs::hard_link(env!("CARGO_BIN_EXE_robocred"), &tool).is_err() {
        fs::copy(env!("CARGO_BIN_EXE_robocred"), &tool).unwrap();
    }
    let mut command = Command::new(&tool);
    command.args(INSTALL).env_clear().env("HOME", world.path(""));
    let ran = run(command, b"").expect(3);
    assert!(ran.stderr.contains("it's"), "{ran:#?}");
    world.run(&["install", "systemd", "--dry-run"]).expect(2);
    world.run(&["install", "systemd", "--root", "/nowhere"]).expect(2);
}
