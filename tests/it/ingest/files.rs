//! The files of a run: names, permissions, full disks, and what others left.

use std::{
    fs::{File, OpenOptions, Permissions},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

use robocred::{ingest::Since, site::Keep};

use super::*;

impl Plant {
    /// The directory, there already.
    fn made_dir(&self) -> PathBuf {
        fs::create_dir(self.dir()).unwrap();
        fs::set_permissions(self.dir(), Permissions::from_mode(0o700)).unwrap();
        self.dir()
    }
}

#[tokio::test]
async fn files_are_the_owners_alone_and_never_replaced() {
    let plant = Plant::of(3).await;
    let first = plant.ingest(&plant.request(None)).await.unwrap();
    let second = plant.ingest(&plant.request(None)).await.unwrap();
    assert_eq!(
        names(&plant.dir()),
        [
            "assets-20261122T120000Z-2.manifest.json",
            "assets-20261122T120000Z-2.ndjson",
            "assets-20261122T120000Z.manifest.json",
            "assets-20261122T120000Z.ndjson",
            "latest",
        ]
    );
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!(mode(&plant.dir()), 0o700);
    assert_eq!(mode(&plant.dir().join("latest")), 0o700);
    for path in [first.path, first.manifest, second.path, second.manifest] {
        assert_eq!(mode(&path.unwrap()), 0o600);
    }
}

#[tokio::test]
async fn directories_that_others_can_write_to_are_refused_before_anything_is_asked() {
    let plant = Plant::of(3).await;
    let before = plant.simulator.connections();
    fs::create_dir(plant.dir()).unwrap();
    for mode in [0o777, 0o720, 0o1777] {
        fs::set_permissions(plant.dir(), Permissions::from_mode(mode)).unwrap();
        let error = plant.ingest(&plant.request(None)).await.unwrap_err();
        assert!(matches!(&error, Error::Unsafe { reason, .. } if reason.contains("others can write")), "{error:?}");
        assert!(error.hint().unwrap().contains("chmod"), "{error:?}");
        plant.assert_nothing_left();
    }
    fs::remove_dir(plant.dir()).unwrap();
    fs::write(plant.dir(), "a file").unwrap();
    for dir in [plant.dir(), plant.dir().join("below")] {
        let error = plant.ingest(&Request { to: Destination::Dir(dir), ..plant.request(None) }).await.unwrap_err();
        assert!(matches!(error, Error::Unsafe { .. }), "{error:?}");
    }
    assert_eq!(fs::read(plant.dir()).unwrap(), b"a file");
    assert_eq!(plant.simulator.connections(), before);
}

#[tokio::test]
async fn what_a_killed_run_left_is_removed_and_nothing_else() {
    let plant = Plant::of(3).await;
    let dir = plant.made_dir();
    fs::create_dir(dir.join("latest")).unwrap();
    fs::set_permissions(dir.join("latest"), Permissions::from_mode(0o700)).unwrap();
    let make = |name: &str| OpenOptions::new().write(true).create_new(true).open(dir.join(name)).unwrap();
    // Killed while writing data, of whatever format; between the two renames; while writing the manifest.
    make(".assets-20260101T000000Z.part");
    make(".assets-20260101T000000Z-2.ndjson.part");
    make(".assets-changes-20260101T000000Z.part");
    make(".assets-20260102T000000Z.part");
    make("assets-20260102T000000Z.manifest.json");
    make(".assets-20260103T000000Z.manifest.json.part");
    // And before the link was in its place.
    symlink("../assets-20260105T000000Z.csv.gz", dir.join("latest/.assets-20260105T000000Z.csv.gz.link")).unwrap();
    let kept = [
        ".assets-20260104T000000Z.part",
        ".events-20260101T000000Z.part",
        ".assets-by-hand.part",
        // It came to its end.
        ".assets-20260105T000000Z.part",
        "assets-20260105T000000Z.manifest.json",
        "assets-20260105T000000Z.csv.gz",
        "assets.part",
        "latest/.assets-20260101T000000Z.ndjson.link",
    ];
    let files: Vec<File> = kept.iter().map(|name| make(name)).collect();
    // Another run is still at it.
    files[0].try_lock().unwrap();
    let run = plant.ingest(&plant.request(None)).await.unwrap();
    let mut expected: Vec<String> = kept[..7].iter().map(|&name| name.to_owned()).collect();
    for path in [run.path, run.manifest] {
        expected.push(path.unwrap().file_name().unwrap().to_str().unwrap().to_owned());
    }
    expected.push("latest".to_owned());
    expected.sort();
    assert_eq!(names(&dir), expected);
    assert_eq!(names(&dir.join("latest")), [".assets-20260101T000000Z.ndjson.link", "assets.ndjson"]);
}

#[tokio::test]
async fn a_second_that_another_format_has_is_taken() {
    let plant = Plant::of(1).await;
    let dir = plant.made_dir();
    let taken = ["assets-20261122T120000Z.parquet", "assets-20261122T120000Z-2.csv.zst.incomplete"];
    for name in taken {
        fs::write(dir.join(name), name).unwrap();
    }
    let run = plant.ingest(&plant.request(None)).await.unwrap();
    assert_eq!(run.path, Some(dir.join("assets-20261122T120000Z-3.ndjson")));
    for name in taken {
        assert_eq!(fs::read_to_string(dir.join(name)).unwrap(), name);
    }
}

#[tokio::test]
async fn links_that_were_planted_lead_nowhere() {
    let plant = Plant::of(3).await;
    let dir = plant.made_dir();
    let elsewhere = plant.folder.path().join("elsewhere");
    fs::write(&elsewhere, "not ours").unwrap();
    symlink(&elsewhere, dir.join("assets-20261122T120000Z.ndjson")).unwrap();
    symlink(&elsewhere, dir.join(".assets-20261122T120000Z-2.part")).unwrap();
    symlink("gone", dir.join("assets-20261122T120000Z-3.ndjson")).unwrap();
    symlink(&elsewhere, dir.join("assets-20260101T000000Z.manifest.json")).unwrap();
    fs::create_dir(dir.join("latest")).unwrap();
    fs::set_permissions(dir.join("latest"), Permissions::from_mode(0o700)).unwrap();
    symlink(&elsewhere, dir.join("latest/assets.ndjson")).unwrap();
    let request = Request { keep: Some(Keep::Count(1)), ..plant.request(None) };
    let run = plant.ingest(&request).await.unwrap();
    assert_eq!(run.path, Some(dir.join("assets-20261122T120000Z-4.ndjson")));
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "not ours");
    assert_eq!(
        fs::read_link(dir.join("latest/assets.ndjson")).unwrap(),
        Path::new("../assets-20261122T120000Z-4.ndjson")
    );
    assert!(dir.join("assets-20260101T000000Z.manifest.json").is_symlink());
}

#[tokio::test]
async fn what_stands_where_latest_belongs_is_refused_before_anything_is_asked() {
    let plant = Plant::of(3).await;
    let dir = plant.made_dir();
    let elsewhere = plant.folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let before = plant.simulator.connections();
    let latest = dir.join("latest");
    let refused = |wrong: PathBuf, what: &'static str| {
        let plant = &plant;
        async move {
            let error = plant.ingest(&plant.request(None)).await.unwrap_err();
            assert!(error.to_string().starts_with(&format!("{} cannot be used: ", wrong.display())), "{error}");
            assert!(error.to_string().contains(what), "{error}");
            assert!(error.hint().unwrap().contains(wrong.to_str().unwrap()), "{error}");
            assert_eq!(names(&plant.dir()), ["latest"]);
        }
    };
    symlink(&elsewhere, &latest).unwrap();
    refused(latest.clone(), "it is a link").await;
    assert_eq!(names(&elsewhere), [""; 0]);
    fs::remove_file(&latest).unwrap();
    symlink("gone", &latest).unwrap();
    refused(latest.clone(), "it is a link").await;
    fs::remove_file(&latest).unwrap();
    fs::write(&latest, "mine").unwrap();
    refused(latest.clone(), "it is not a directory").await;
    assert_eq!(fs::read_to_string(&latest).unwrap(), "mine");
    fs::remove_file(&latest).unwrap();
    fs::create_dir(&latest).unwrap();
    fs::set_permissions(&latest, Permissions::from_mode(0o777)).unwrap();
    refused(latest.clone(), "others can write").await;
    fs::set_permissions(&latest, Permissions::from_mode(0o700)).unwrap();
    fs::write(latest.join("assets.ndjson"), "mine").unwrap();
    refused(latest.join("assets.ndjson"), "it is not a link").await;
    assert_eq!(fs::read_to_string(latest.join("assets.ndjson")).unwrap(), "mine");
    assert_eq!(plant.simulator.connections(), before);
}

#[tokio::test]
async fn only_whole_data_becomes_the_latest() {
    let changing = Plant::with(450, Behaviours { total_changes: true, ..Behaviours::default() }).await;
    let run = changing.ingest(&changing.request(Api::Graphql)).await.unwrap();
    assert!(!run.complete());
    assert!(!changing.dir().join("latest").exists());

    let plant = Plant::of(3).await;
    let whole = plant.ingest(&plant.request(None)).await.unwrap();
    let since = Some(Since::Time(NOW - time::Duration::DAY));
    let changes = plant.ingest(&Request { since, ..plant.request(Api::Graphql) }).await.unwrap();
    assert_eq!(changes.path, Some(plant.dir().join("assets-changes-20261122T120000Z.ndjson")));
    assert_eq!(changes.manifest, Some(plant.dir().join("assets-changes-20261122T120000Z.manifest.json")));
    assert_eq!(fs::canonicalize(plant.dir().join("latest/assets.ndjson")).ok(), whole.path);
}

/// A consumer reads `latest/assets.ndjson` again and again, while runs replace it and remove older ones.
#[tokio::test]
async fn a_reader_of_the_latest_never_misses_a_record() {
    const DEVICES: usize = 300;
    let plant = Plant::of(DEVICES).await;
    let request = Request { keep: Some(Keep::Count(2)), ..plant.request(Api::Graphql) };
    let first = plant.ingest(&request).await.unwrap();
    let expected = fs::read(first.path.unwrap()).unwrap();
    let latest = plant.dir().join("latest/assets.ndjson");
    let over = Arc::new(AtomicBool::new(false));
    let (looked, first_look) = tokio::sync::oneshot::channel();
    let reader = {
        let over = Arc::clone(&over);
        tokio::task::spawn_blocking(move || {
            let (mut seen, mut looked) = (HashSet::new(), Some(looked));
            loop {
                // The last run is followed by a last look.
                let last = over.load(Ordering::SeqCst);
                let mut file = File::open(&latest).unwrap();
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes).unwrap();
                assert!(bytes == expected, "{} bytes of {}", bytes.len(), expected.len());
                seen.insert(file.metadata().unwrap().ino());
                if let Some(looked) = looked.take() {
                    looked.send(()).unwrap();
                }
                if last {
                    return seen.len();
                }
            }
        })
    };
    first_look.await.unwrap();
    // All of one second, whose numbers go on where older files were removed.
    for _ in 0..10 {
        assert!(plant.ingest(&request).await.unwrap().complete());
    }
    over.store(true, Ordering::SeqCst);
    assert!(reader.await.unwrap() >= 2, "the reader saw one file only");
    let dir = names(&plant.dir());
    assert_eq!(dir.iter().filter(|name| name.ends_with(".ndjson")).count(), 2, "{dir:?}");
}

/// A pair as a run of `robot` at that time would have left it.
fn leave(dir: &Path, stem: &str, ending: &str, robot: &str, complete: bool) {
    let file = format!("{stem}.{ending}");
    let stream = stem.split('-').next().unwrap();
    let manifest = serde_json::json!({ "robot": robot, "stream": stream, "complete": complete, "file": file });
    fs::write(dir.join(&file), "data").unwrap();
    fs::write(dir.join(format!("{stem}.manifest.json")), manifest.to_string()).unwrap();
}

#[tokio::test]
async fn older_files_of_the_robot_and_stream_are_removed_and_nothing_else() {
    let plant = Plant::of(3).await;
    let dir = plant.made_dir();
    let ours = "plant/reader";
    // These go.
    leave(&dir, "assets-20261101T000000Z", "ndjson", ours, true);
    leave(&dir, "assets-20261102T000000Z", "csv.gz", ours, true);
    leave(&dir, "assets-20261103T000000Z", "ndjson.incomplete", ours, false);
    leave(&dir, "assets-changes-20261104T000000Z", "ndjson.zst", ours, true);
    leave(&dir, "assets-20261105T000000Z", "parquet", ours, true);
    fs::remove_file(dir.join("assets-20261105T000000Z.parquet")).unwrap();
    let before: HashSet<String> = names(&dir).into_iter().collect();
    // These stay: another robot's, another stream's, what is not a pair of ours, what a run is at.
    leave(&dir, "assets-20261106T000000Z", "ndjson", "plant/other", true);
    leave(&dir, "events-20261106T000000Z", "ndjson", ours, true);
    leave(&dir, "assets-20261107T000000Z", "ndjson", ours, true);
    fs::write(dir.join("assets-20261107T000000Z.manifest.json"), "no manifest").unwrap();
    fs::write(dir.join("assets-20261108T000000Z.ndjson"), "no manifest").unwrap();
    leave(&dir, "assets-20261109T000000Z", "ndjson", ours, true);
    let elsewhere = serde_json::json!({
        "robot": ours, "stream": "assets", "complete": true, "file": "../elsewhere",
    });
    fs::write(dir.join("assets-20261109T000000Z.manifest.json"), elsewhere.to_string()).unwrap();
    fs::write(plant.folder.path().join("elsewhere"), "not ours").unwrap();
    leave(&dir, "assets-20261110T000000Z", "ndjson", ours, true);
    let held = dir.join("assets-20261110T000000Z.ndjson");
    fs::rename(held, dir.join(".assets-20261110T000000Z.part")).unwrap();
    let at_work = File::open(dir.join(".assets-20261110T000000Z.part")).unwrap();
    at_work.try_lock().unwrap();
    leave(&dir, "assets-by-hand", "ndjson", ours, true);
    fs::write(dir.join("notes.txt"), "mine").unwrap();
    let mut expected: Vec<String> = names(&dir).into_iter().filter(|name| !before.contains(name)).collect();
    // And what a consumer of another format reads.
    leave(&dir, "assets-20261111T000000Z", "csv", ours, true);
    fs::create_dir(dir.join("latest")).unwrap();
    fs::set_permissions(dir.join("latest"), Permissions::from_mode(0o700)).unwrap();
    symlink("../assets-20261111T000000Z.csv", dir.join("latest/assets.csv")).unwrap();
    expected
        .extend(["assets-20261111T000000Z.csv", "assets-20261111T000000Z.manifest.json", "latest"].map(str::to_owned));

    let everything = names(&dir);
    let run = plant.ingest(&plant.request(None)).await.unwrap();
    assert_eq!(names(&dir).len(), everything.len() + 2, "without a policy nothing goes");
    fs::remove_file(run.path.unwrap()).unwrap();
    fs::remove_file(run.manifest.unwrap()).unwrap();
    // Changes of today: the one before them goes, and whole files are not pushed out.
    let run = plant.ingest(&Request { keep: Some(Keep::Count(1)), ..plant.request(None) }).await.unwrap();
    let of_run = [run.path, run.manifest].map(|path| path.unwrap().file_name().unwrap().to_str().unwrap().to_owned());
    expected.extend(of_run);
    // The newest of each kind: no newer changes, and nothing newer that is not whole.
    let newest = ["assets-20261103T000000Z", "assets-changes-20261104T000000Z"];
    expected.extend(names(&dir).into_iter().filter(|name| newest.iter().any(|stem| name.starts_with(stem))));
    expected.sort();
    assert_eq!(names(&dir), expected);
    assert_eq!(expected.iter().filter(|name| newest.iter().any(|stem| name.starts_with(stem))).count(), 4);

    let run = plant.ingest(&Request { keep: Some(Keep::Age(time::Duration::days(10))), ..plant.request(None) }).await;
    let of_run = [run.as_ref().unwrap().path.clone(), run.unwrap().manifest];
    expected.retain(|name| !newest.iter().any(|stem| name.starts_with(stem)));
    expected.extend(of_run.map(|path| path.unwrap().file_name().unwrap().to_str().unwrap().to_owned()));
    expected.sort();
    assert_eq!(names(&dir), expected, "by age, all kinds go");
    assert_eq!(fs::read_to_string(plant.folder.path().join("elsewhere")).unwrap(), "not ours");
}

#[tokio::test]
async fn what_cannot_be_linked_to_is_said_and_stays() {
    let plant = Plant::of(3).await;
    // Room for the directory itself, the data and its manifest, and for no other.
    let Some(_tiny) = Tiny::mount(&plant.dir(), "size=256k,nr_inodes=3") else { return };
    let error = plant.ingest(&plant.request(None)).await.unwrap_err();
    let data = plant.dir().join("assets-20261122T120000Z.ndjson");
    assert!(matches!(&error, Error::NotLatest { data: named, .. } if *named == data), "{error:?}");
    assert!(error.hint().is_some());
    assert_eq!(lines(&fs::read_to_string(data).unwrap()).len(), 3);
    assert!(plant.dir().join("assets-20261122T120000Z.manifest.json").exists());
}

#[tokio::test]
async fn data_without_its_manifest_gets_no_final_name() {
    let plant = Plant::of(3).await;
    let dir = plant.made_dir();
    // Held by somebody, so that the manifest cannot be written.
    let held = ".assets-20261122T120000Z.manifest.json.part";
    let file = File::create(dir.join(held)).unwrap();
    file.try_lock().unwrap();
    let error = plant.ingest(&plant.request(None)).await.unwrap_err();
    assert!(matches!(&error, Error::Output { path, .. } if path == &dir.join(held)), "{error:?}");
    assert_eq!(names(&dir), [held]);
    assert!(plant.inventory.runs().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_writer_that_is_full_is_an_error() {
    let plant = Plant::of(1000).await;
    let request = Request { to: Destination::Stdout, ..plant.request(None) };
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let error = plant.ingest_into(&request, full).await.unwrap_err();
    assert!(
        matches!(&error, Error::Output { path, source, .. }
            if path == Path::new("-") && source.kind() == io::ErrorKind::StorageFull),
        "{error:?}"
    );
    assert!(plant.inventory.runs().await.unwrap().is_empty());
}

/// A file system of a few pages; unmounted when dropped.
struct Tiny(PathBuf);

impl Tiny {
    fn mount(at: &Path, options: &str) -> Option<Self> {
        fs::create_dir(at).unwrap();
        let options = ["-t", "tmpfs", "-o", &format!("{options},mode=0700"), "tmpfs"];
        let mounted = Command::new("mount").args(options).arg(at).output().is_ok_and(|ran| ran.status.success());
        if !mounted {
            crate::judges::skip("a file system of its own (needs root and the right to mount)");
        }
        mounted.then(|| Self(at.to_owned()))
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_is_a_clear_error_and_leaves_no_file() {
    let plant = Plant::of(2000).await;
    let Some(_tiny) = Tiny::mount(&plant.dir(), "size=256k") else { return };
    let error = plant.ingest(&plant.request(None)).await.unwrap_err();
    assert!(
        matches!(&error, Error::Output { step: "write", source, .. } if source.kind() == io::ErrorKind::StorageFull),
        "{error:?}"
    );
    assert!(error.hint().unwrap().contains("make room"), "{error:?}");
    plant.assert_nothing_left();
    assert!(plant.inventory.runs().await.unwrap().is_empty());
}
