//! The files of a run: names, permissions, full disks, and what others left.

use std::{
    fs::{File, OpenOptions, Permissions},
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    process::Command,
};

use super::*;

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
        ]
    );
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!(mode(&plant.dir()), 0o700);
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
    let dir = plant.dir();
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, Permissions::from_mode(0o700)).unwrap();
    let make = |name: &str| OpenOptions::new().write(true).create_new(true).open(dir.join(name)).unwrap();
    // Killed while writing data, between the two renames, and while writing the manifest.
    make(".assets-20260101T000000Z.ndjson.part");
    make(".assets-20260102T000000Z.ndjson.part");
    make("assets-20260102T000000Z.manifest.json");
    make(".assets-20260103T000000Z.manifest.json.part");
    let kept = [
        ".assets-20260104T000000Z.ndjson.part",
        ".events-20260101T000000Z.ndjson.part",
        "assets-20260105T000000Z.manifest.json",
        "assets-20260105T000000Z.ndjson",
        "assets.part",
    ];
    let files: Vec<File> = kept.iter().map(|name| make(name)).collect();
    // Another run is still at it.
    files[0].try_lock().unwrap();
    let run = plant.ingest(&plant.request(None)).await.unwrap();
    let mut expected: Vec<String> = kept.iter().map(|&name| name.to_owned()).collect();
    for path in [run.path, run.manifest] {
        expected.push(path.unwrap().file_name().unwrap().to_str().unwrap().to_owned());
    }
    expected.sort();
    assert_eq!(names(&dir), expected);
}

#[tokio::test]
async fn data_without_its_manifest_gets_no_final_name() {
    let plant = Plant::of(3).await;
    let dir = plant.dir();
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, Permissions::from_mode(0o700)).unwrap();
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
    let mut full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let error = plant.ingest_into(&request, &mut full).await.unwrap_err();
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
    fn mount(at: &Path) -> Option<Self> {
        fs::create_dir(at).unwrap();
        let options = ["-t", "tmpfs", "-o", "size=256k,mode=0700", "tmpfs"];
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
    let Some(_tiny) = Tiny::mount(&plant.dir()) else { return };
    let error = plant.ingest(&plant.request(None)).await.unwrap_err();
    assert!(
        matches!(&error, Error::Output { step: "write", source, .. } if source.kind() == io::ErrorKind::StorageFull),
        "{error:?}"
    );
    assert!(error.hint().unwrap().contains("make room"), "{error:?}");
    plant.assert_nothing_left();
    assert!(plant.inventory.runs().await.unwrap().is_empty());
}
