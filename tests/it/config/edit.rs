//! Editing the configuration file: what is added, what is left alone, and
//! what happens where it cannot be written.

use super::*;

/// A file in a directory of its own.
pub(super) struct Fixture {
    /// Removed at the end.
    _dir: tempfile::TempDir,
    pub(super) file: PathBuf,
}

impl Fixture {
    pub(super) fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("robocred/robocred.toml");
        Self { _dir: dir, file }
    }

    pub(super) fn with(text: &str) -> Self {
        let fixture = Self::empty();
        fs::create_dir(fixture.file.parent().unwrap()).unwrap();
        fs::write(&fixture.file, text).unwrap();
        fixture
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.file).unwrap()
    }

    /// The names beside the file.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.file.parent().unwrap()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn export(dir: &str) -> ExportTarget {
    ExportTarget { dir: dir.into(), mode: 0o600, group: None }
}

/// Everything that `provision` may write about one robot.
fn provision(file: &Path, robot: &str, url: &str) -> Result<Config, Error> {
    let robot = id(robot);
    let mut editor = Editor::open(file)?;
    editor.add_site(&robot.site, &url.parse().unwrap())?;
    editor.set_trust(&robot.site, &TrustPolicy::Pins(vec![PIN.parse().unwrap()]))?;
    editor.add_robot(&robot, Role::Reader)?;
    editor.set_overrides(&robot, Overrides { days: Some(90), ..Overrides::default() })?;
    editor.set_export(&robot, &export(&format!("/srv/{robot}")))?;
    editor.set_ingest(&robot, &IngestTarget::of(vec![Stream::Assets]))?;
    editor.save()
}

#[test]
fn a_first_edit_begins_the_file() {
    let fixture = Fixture::empty();
    let config = provision(&fixture.file, "plant-a/lucidum", "https://10.20.0.5").unwrap();
    insta::assert_snapshot!(fixture.text(), @r#"
    version = 1

    [sites.plant-a]
    url = "https://10.20.0.5"
    trust = { pins = ["sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="] }

    [sites.plant-a.robots.lucidum]
    role = "reader"
    days = 90
    export = { dir = "/srv/plant-a/lucidum" }
    ingest = { streams = ["assets"], format = "ndjson" }
    "#);
    assert_eq!(Config::load_file(&fixture.file).unwrap(), config);
    assert_eq!(fixture.names(), [".robocred.toml.lock", "robocred.toml"]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&fixture.file), mode(fixture.file.parent().unwrap())), (0o600, 0o700));
    }
}

/// What stood there is still there, in the same order, and what is new is one
/// run of bytes: `before` with it cut out is the old text.
#[track_caller]
fn assert_only_added(before: &str, after: &str) -> String {
    let front = before.bytes().zip(after.bytes()).take_while(|(a, b)| a == b).count();
    let back = before[front..].bytes().rev().zip(after[front..].bytes().rev()).take_while(|(a, b)| a == b).count();
    assert_eq!(front + back, before.len(), "the old text was changed:\n{after}");
    after[front..after.len() - back].to_owned()
}

#[test]
fn a_new_robot_and_a_new_site_leave_every_other_byte_alone() {
    let sites =
        format!("{SAMPLE}# hooks.expiring = [\"/x\"]   a comment at the end\n\n[sites.b] # second\nurl='https://b'\n");
    for before in [
        SAMPLE.to_owned(),
        format!("{SAMPLE}# the end"),
        format!("{SAMPLE}\n\n"),
        sites.clone(),
        SAMPLE.replace('\n', "\r\n"),
    ] {
        for (robot, url) in [("plant-a/second", "https://10.20.0.5"), ("plant-z/first", "https://z.example")] {
            let fixture = Fixture::with(&before);
            let mut editor = Editor::open(&fixture.file).unwrap();
            editor.add_site(&id(robot).site, &url.parse().unwrap()).unwrap();
            editor.add_robot(&id(robot), Role::Admin).unwrap();
            let config = editor.save().unwrap();
            assert_eq!(Config::load_file(&fixture.file).unwrap(), config);
            assert_eq!(config.robot(&id(robot)).unwrap().1.role, Role::Admin);
            let added = assert_only_added(&before, &fixture.text());
            assert!(!added.contains('#'), "a comment was doubled:\n{}", fixture.text());
        }
    }
    let fixture = Fixture::with(&sites);
    let mut editor = Editor::open(&fixture.file).unwrap();
    editor.add_robot(&id("plant-a/second"), Role::Reader).unwrap();
    editor.save().unwrap();
    let added = assert_only_added(&sites, &fixture.text());
    assert!(fixture.text().find("second]").unwrap() < fixture.text().find("[sites.b]").unwrap(), "{}", fixture.text());
    assert!(added.contains("[sites.plant-a.robots.second]\nrole = \"reader\"\n"), "{added}");
}

#[test]
fn values_are_changed_in_place() {
    let before = r#"version = 1 # one
[sites.a]
url    = "https://a"    # the address
trust  = "system"       # for now
robots.x = { role = "admin" }
[sites.a.robots.r]   # the robot
role   = "reader"
days   = 30             # short
export = { dir = "/old", mode = "0640", group = "g" }  # where
[sites.a.robots.r.ingest]
every   = "1d"  # daily
streams = ["assets"]
"#;
    let fixture = Fixture::with(before);
    let (site, robot) = ("a".parse().unwrap(), id("a/r"));
    let mut editor = Editor::open(&fixture.file).unwrap();
    editor.set_trust(&site, &TrustPolicy::Pins(vec![PIN.parse().unwrap()])).unwrap();
    editor
        .set_overrides(&robot, Overrides { days: Some(60), profile: Some(Profile::Openssl), key_algorithm: None })
        .unwrap();
    editor.set_overrides(&id("a/x"), Overrides { days: Some(60), ..Overrides::default() }).unwrap();
    editor.set_export(&robot, &export("/new")).unwrap();
    let ingest = IngestTarget {
        format: Format::Csv,
        dir: Some("/data".into()),
        every: Some(Duration::hours(12)),
        ..IngestTarget::of(vec![Stream::Assets, Stream::Events])
    };
    editor.set_ingest(&robot, &ingest).unwrap();
    let config = editor.save().unwrap();
    insta::assert_snapshot!(fixture.text(), @r#"
    version = 1 # one
    [sites.a]
    url    = "https://a"    # the address
    trust  = { pins = ["sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="] }       # for now
    robots.x = { role = "admin", days = 60 }
    [sites.a.robots.r]   # the robot
    role   = "reader"
    days   = 60             # short
    export = { dir = "/new" }  # where
    profile = "openssl"
    [sites.a.robots.r.ingest]
    every   = "12h"  # daily
    streams = ["assets", "events"]
    format = "csv"
    dir = "/data"
    "#);
    assert_eq!(Config::load_file(&fixture.file).unwrap(), config);
    assert_eq!(config.robot(&robot).unwrap().1.ingest, Some(ingest));
    let mut editor = Editor::open(&fixture.file).unwrap();
    editor.set_trust(&site, &TrustPolicy::CaFile("/ca.pem".into())).unwrap();
    assert_eq!(editor.save().unwrap().site(&site).unwrap().trust, Some(TrustPolicy::CaFile("/ca.pem".into())));
    let mut editor = Editor::open(&fixture.file).unwrap();
    editor.set_trust(&site, &TrustPolicy::System).unwrap();
    editor.save().unwrap();
    assert!(fixture.text().contains("trust  = \"system\"       # for now\n"), "{}", fixture.text());
}

/// Only what is not as it is by itself is written, and taken away again.
#[test]
fn of_an_ingest_only_what_was_chosen_is_written() {
    let fixture = Fixture::empty();
    provision(&fixture.file, "a/r", "https://a").unwrap();
    let (before, robot) = (fixture.text(), id("a/r"));
    let set = |ingest: &IngestTarget| {
        let mut editor = Editor::open(&fixture.file).unwrap();
        editor.set_ingest(&robot, ingest).unwrap();
        assert_eq!(editor.save().unwrap().robot(&robot).unwrap().1.ingest.as_ref(), Some(ingest));
    };
    let ingest_line = || fixture.text().lines().find(|line| line.starts_with("ingest")).unwrap().to_owned();
    let plain = IngestTarget::of(vec![Stream::Assets]);
    let chosen = IngestTarget {
        compress: Compression::Gzip,
        api: ApiChoice::Graphql,
        page_size: Some(500),
        since_last: true,
        with_details: true,
        include_hidden: true,
        max_rate: Some(20),
        keep: Some(Keep::Count(30)),
        ..plain.clone()
    };
    set(&chosen);
    let line = [
        r#"ingest = { streams = ["assets"], format = "ndjson", compress = "gzip", api = "graphql", page_size = 500, "#,
        r#"since = "last", with_details = true, include_hidden = true, max_rate = 20, keep = 30 }"#,
    ];
    assert_eq!(ingest_line(), line.concat());
    set(&IngestTarget { keep: Some(Keep::Age(Duration::days(90))), ..plain.clone() });
    assert_eq!(ingest_line(), r#"ingest = { streams = ["assets"], format = "ndjson", keep = "90d" }"#);
    set(&plain);
    assert_eq!(fixture.text(), before);
}

#[test]
fn the_same_edit_twice_does_not_touch_the_file() {
    let fixture = Fixture::empty();
    provision(&fixture.file, "a/r", "https://a").unwrap();
    let facts = || {
        let facts = fixture.file.metadata().unwrap();
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(&facts);
        #[cfg(not(unix))]
        let inode = 0;
        (fixture.text(), inode)
    };
    let before = facts();
    provision(&fixture.file, "a/r", "https://a:443/").unwrap();
    assert_eq!(facts(), before);
    let comments = Fixture::with("# nothing yet");
    Editor::open(&comments.file).unwrap().save().unwrap();
    assert_eq!(comments.text(), "# nothing yet");
    provision(&comments.file, "a/r", "https://a").unwrap();
    assert!(comments.text().starts_with("# nothing yet\nversion = 1\n"), "{}", comments.text());
}

#[test]
fn edits_that_cannot_be_are_refused_and_change_nothing() {
    let fixture = Fixture::with(SAMPLE);
    let check = |message: &str, edit: &dyn Fn(&mut Editor) -> Result<(), Error>| {
        let mut editor = Editor::open(&fixture.file).unwrap();
        let error = edit(&mut editor).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
        assert!(error.hint().is_some(), "{error}");
        editor.save().unwrap();
        assert_eq!(fixture.text(), SAMPLE);
    };
    let (site, robot) = ("plant-a".parse().unwrap(), id("plant-a/lucidum"));
    check("sites.plant-a.url is https://10.20.0.5 in the configuration, not https://other", &|editor| {
        editor.add_site(&site, &"https://other".parse().unwrap())
    });
    check("role is reader in the configuration, not admin", &|editor| editor.add_robot(&robot, Role::Admin));
    check("nowhere is not in the configuration", &|editor| editor.add_robot(&id("nowhere/r"), Role::Admin));
    check("plant-a/other is not in the configuration", &|editor| {
        editor.set_export(&id("plant-a/other"), &export("/x"))
    });
    check("400 days", &|editor| editor.set_overrides(&robot, Overrides { days: Some(400), ..Overrides::default() }));
    check("not an absolute path", &|editor| editor.set_export(&robot, &export("relative")));
    let mut editor = Editor::open(&fixture.file).unwrap();
    editor.add_site(&"twin".parse().unwrap(), &"https://10.20.0.5".parse().unwrap()).unwrap();
    let error = editor.add_robot(&id("twin/lucidum"), Role::Reader).unwrap_err();
    assert!(error.to_string().contains("is the same robot"), "{error}");
    drop(editor);
    assert_eq!(fixture.text(), SAMPLE);
    let broken = Fixture::with("version = 1\nsurprise = 1\n");
    assert!(matches!(Editor::open(&broken.file), Err(Error::Invalid(_))));
    assert_eq!(broken.text(), "version = 1\nsurprise = 1\n");
}

#[test]
fn editors_at_the_same_time_all_land() {
    let fixture = Fixture::empty();
    std::thread::scope(|scope| {
        for n in 0..8 {
            let file = &fixture.file;
            scope.spawn(move || provision(file, &format!("s{n}/r"), &format!("https://s{n}")).unwrap());
        }
    });
    let config = Config::load_file(&fixture.file).unwrap();
    let mut names: Vec<_> = config.sites.iter().map(|site| site.name.to_string()).collect();
    names.sort();
    assert_eq!(names, ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7"]);
    assert!(config.sites.iter().all(|site| site.robots.len() == 1));
}

#[test]
fn an_edit_that_ended_halfway_does_not_hinder_the_next() {
    let fixture = Fixture::with("version = 1\n");
    let left = fixture.file.with_file_name(".robocred.toml.new");
    fs::write(&left, "version = ").unwrap();
    provision(&fixture.file, "a/r", "https://a").unwrap();
    assert!(!left.exists());
    assert_eq!(Config::load_file(&fixture.file).unwrap().sites.len(), 1);
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn mode_and_link_survive_an_edit() {
        let real = Fixture::with("version = 1\n");
        chmod(&real.file, 0o640);
        let link = Fixture::empty();
        fs::create_dir(link.file.parent().unwrap()).unwrap();
        symlink(&real.file, &link.file).unwrap();
        provision(&link.file, "a/r", "https://a").unwrap();
        assert!(link.file.is_symlink());
        assert_eq!(link.names(), ["robocred.toml"], "lock and new file belong beside the target");
        assert_eq!(real.file.metadata().unwrap().mode() & 0o7777, 0o640);
        assert_eq!(Config::load_file(&real.file).unwrap().sites.len(), 1);
        fs::remove_file(&real.file).unwrap();
        assert!(matches!(Editor::open(&link.file), Err(Error::Io { doing: "follow", .. })));
        assert!(!real.file.exists(), "a dangling link is not written through");
    }

    #[test]
    fn a_file_that_must_not_be_written_gets_advice_instead() {
        let fixture = Fixture::with("# by hand\nversion = 1\n");
        chmod(&fixture.file, 0o400);
        let error = provision(&fixture.file, "a/r", "https://a").unwrap_err();
        let Error::ReadOnly { path, lines } = &error else { panic!("{error:?}") };
        assert_eq!(path, &fixture.file);
        assert_eq!(fixture.text(), "# by hand\nversion = 1\n");
        assert!(error.hint().unwrap().contains(lines));
        // What a person is told to add makes the file say what was wanted.
        chmod(&fixture.file, 0o600);
        fs::write(&fixture.file, format!("{}{lines}", fixture.text())).unwrap();
        chmod(&fixture.file, 0o400);
        let config = provision(&fixture.file, "a/r", "https://a").unwrap();
        assert_eq!(config.sites.len(), 1, "an edit that changes nothing needs no right to write");
    }

    /// The superuser may write everywhere, so this runs once more as nobody.
    #[test]
    fn a_read_only_directory_gets_advice_too() {
        const AGAIN: &str = "ROBOCRED_TEST_READ_ONLY_DIR";
        if let Some(dir) = std::env::var_os(AGAIN) {
            let dir = PathBuf::from(dir);
            for file in [dir.join("robocred.toml"), dir.join("below/robocred.toml")] {
                let error = provision(&file, "a/r", "https://a").unwrap_err();
                let Error::ReadOnly { lines, .. } = &error else { panic!("{error:?}") };
                assert!(lines.starts_with("version = 1\n\n[sites.a]\n"), "{lines}");
            }
            return;
        }
        let fixture = Fixture::empty();
        let dir = fixture.file.parent().unwrap();
        fs::create_dir(dir).unwrap();
        chmod(dir, 0o555);
        chmod(dir.parent().unwrap(), 0o755);
        let program = std::env::current_exe().unwrap();
        let mut command = if is_root(dir) {
            let mut command = std::process::Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(program);
            command
        } else {
            std::process::Command::new(program)
        };
        let name = "config::edit::unix::a_read_only_directory_gets_advice_too";
        let output = command.args(["--exact", name]).env(AGAIN, dir).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "the test did not run again");
        chmod(dir, 0o755);
        assert_eq!(fixture.names(), Vec::<String>::new());
    }

    /// Whether we are the superuser: what we create is ours.
    fn is_root(ours: &Path) -> bool {
        ours.metadata().unwrap().uid() == 0
    }

    #[test]
    fn a_file_that_others_can_change_is_not_believed() {
        let fixture = Fixture::with(SAMPLE);
        let check = |wrong: &Path, mode: u32, message: &str| {
            let right = wrong.metadata().unwrap().mode();
            chmod(wrong, mode);
            let problems = Config::load_file(&fixture.file).unwrap_err();
            chmod(wrong, right);
            assert!(problems.to_string().contains(message), "{problems}");
            assert!(problems.iter().all(|problem| problem.hint.is_some()), "{problems}");
            Config::load_file(&fixture.file).unwrap();
        };
        check(&fixture.file, 0o666, "mode 0666 lets other users write it");
        check(&fixture.file, 0o660, "mode 0660 lets other users write it");
        check(fixture.file.parent().unwrap(), 0o777, "can be written by everybody");
    }

    #[test]
    fn only_a_regular_file_of_sane_size_and_text_is_read() {
        let fixture = Fixture::with("");
        let check = |file: &Path, message: &str| {
            let problems = Config::load_file(file).unwrap_err();
            assert!(problems.to_string().contains(message), "{problems}");
        };
        check(fixture.file.parent().unwrap(), "not a regular file");
        check(Path::new("/dev/zero"), "not a regular file");
        fs::write(&fixture.file, b"version = 1\n# caf\xe9\n").unwrap();
        check(&fixture.file, "line 2, column 6: it is not UTF-8 text");
        fs::File::create(&fixture.file).unwrap().set_len(17 << 20).unwrap();
        check(&fixture.file, "larger than 16 MiB");
    }
}
