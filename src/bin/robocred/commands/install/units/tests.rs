//! The texts: what is written how, and what follows from which fact.

use super::*;

fn facts(manager: Manager) -> Facts {
    Facts {
        manager,
        program: "/usr/local/bin/robocred".into(),
        config: None,
        state_dir: None,
        seal_key: Some(("/etc/robocred/seal.key".into(), true)),
        dirs: vec!["/srv/lucidum/plant-a".into()],
        groups: vec!["lucidum".into()],
        listen: Listen::default(),
    }
}

fn lines<'a>(body: &'a str, directive: &str) -> Vec<&'a str> {
    body.lines().filter_map(|line| line.strip_prefix(directive)?.strip_prefix('=')).collect()
}

#[test]
fn a_path_as_a_word() {
    let check = |path: &str, word: &str| assert_eq!(quoted(Path::new(path)), word);
    check("/usr/bin/robocred", "/usr/bin/robocred");
    check("/a b", "\"/a b\"");
    check("/100%/$x", "\"/100%%/$x\"");
    check("/say \"a\\b\"", "\"/say \\\"a\\\\b\\\"\"");
    check("/ä", "\"/ä\"");
    check("%h/bin/robocred", "%h/bin/robocred");
    check("%h/my bin/50%", "\"%h/my bin/50%%\"");
}

#[test]
fn a_path_in_a_list() {
    let check = |path: &str, word: &str| assert_eq!(listed(Path::new(path), "-"), word);
    check("/srv/a", "-/srv/a");
    check("/srv/a b", "\"-/srv/a b\"");
    check("/srv/50%", "-/srv/50%%");
    check("/srv/it's", "\"-/srv/it's\"");
    check("/srv/a\\b", "\"-/srv/a\\b\"");
    check("/srv/\"a\" b", "-/srv/'\"'a'\"'\" b\"");
}

#[test]
fn paths_that_are_not_the_usual_ones() {
    let mut odd = facts(Manager::System);
    odd.program = "/opt/my tools/robocred".into();
    odd.config = Some("/opt/50%/$HOME.toml".into());
    odd.state_dir = Some("/data/robots".into());
    odd.listen = Listen { at: Some("[fd00::1]:9733".parse().unwrap()), public: true };
    let units = units(&odd);
    let start = lines(&units[0].body, "ExecStart");
    let expected = "\"/opt/my tools/robocred\" --config \"/opt/50%%/$$HOME.toml\" --state-dir /data/robots \
                    watch --listen [fd00::1]:9733 --listen-public";
    assert_eq!(start, [expected]);
    for unit in &units[..2] {
        assert_eq!(lines(&unit.body, "StateDirectory"), Vec::<&str>::new());
        let writable = ["/data/robots", "-/etc/robocred", "-/srv/lucidum/plant-a"];
        assert_eq!(lines(&unit.body, "ReadWritePaths"), writable);
    }
    assert!(sysusers(&odd).starts_with("u robocred - \"robot credentials\" /data/robots\n"));
    assert!(tmpfiles(&odd).contains("\nd /data/robots 0700 robocred robocred -\n"));
}

#[test]
fn homes_are_hidden_unless_something_is_there() {
    let check = |change: fn(&mut Facts), expected: &str| {
        let mut facts = facts(Manager::System);
        change(&mut facts);
        assert_eq!(lines(&units(&facts)[0].body, "ProtectHome"), [expected]);
    };
    check(|_| {}, "yes");
    check(|facts| facts.program = "/home/me/.cargo/bin/robocred".into(), "read-only");
    check(|facts| facts.dirs.push("/root/out".into()), "read-only");
    check(|facts| facts.dirs.push("/homes/out".into()), "yes");
}

#[test]
fn a_sealing_key_that_is_not_there_does_not_keep_the_service_from_starting() {
    let mut facts = facts(Manager::System);
    let body = |facts: &Facts| units(facts)[0].body.clone();
    assert_eq!(lines(&body(&facts), "LoadCredential"), ["robocred.seal:/etc/robocred/seal.key"]);
    facts.seal_key = Some(("/etc/robocred/seal.key".into(), false));
    let without = body(&facts);
    assert_eq!(lines(&without, "LoadCredential"), Vec::<&str>::new());
    assert_eq!(lines(&without, "#LoadCredential"), ["robocred.seal:/etc/robocred/seal.key"]);
    facts.seal_key = None;
    assert!(!body(&facts).contains("LoadCredential"));
}

#[test]
fn a_users_service_asks_only_for_what_its_manager_can_do() {
    let mut facts = facts(Manager::User("/home/me".into()));
    facts.program = "/home/me/.cargo/bin/robocred".into();
    for unit in units(&facts) {
        for word in ["User=", "Private", "Protect", "Capabilit", "Directory", "LoadCredential", "network"] {
            assert!(!unit.body.contains(word), "{word} in {}", unit.body);
        }
    }
    let body = &units(&facts)[0].body;
    assert_eq!(lines(body, "ExecStart"), ["%h/.cargo/bin/robocred watch"]);
    assert_eq!(lines(body, "WantedBy"), ["default.target"]);
    assert_eq!(lines(body, "NoNewPrivileges"), ["yes"]);
}

#[test]
fn exported_files_can_be_given_to_their_group() {
    assert!(sysusers(&facts(Manager::System)).ends_with("\nm robocred lucidum\n"));
}
