//! Where the directory is, who can write to it, and what the disk allows.

use std::process::Command;

use super::*;

#[test]
fn a_directory_that_others_can_write_to_is_refused() {
    for (row, make, refused) in [
        ("the directory, group", &[("a", 0o755), ("a/out", 0o775)][..], Some("a/out")),
        ("the directory, world", &[("a", 0o755), ("a/out", 0o702)], Some("a/out")),
        ("the directory, sticky", &[("a", 0o755), ("a/out", 0o1777)], Some("a/out")),
        ("a parent, group", &[("a", 0o770), ("a/out", 0o700)], Some("a")),
        ("a parent, world", &[("a", 0o777), ("a/out", 0o700)], Some("a")),
        ("a parent of what is to be made", &[("a", 0o777)], Some("a")),
        ("the generation", &[("a", 0o755), ("a/out", 0o755), ("a/out/.g1", 0o777)], Some("a/out/.g1")),
        ("a sticky parent", &[("a", 0o1777), ("a/out", 0o755)], None),
        ("readable by all", &[("a", 0o755), ("a/out", 0o755)], None),
    ] {
        let (dir, plain) = place();
        let target = ExportTarget { dir: dir.path().join("a/out"), ..plain };
        for (name, mode) in make {
            disk::create_dir(dir.path().join(name)).unwrap();
            set_mode(&dir.path().join(name), *mode);
        }
        let before = tree(dir.path());
        let outcome = put(&target, 1);
        assert_eq!(held(&target, 1), refused.is_none(), "{row}");
        let Some(refused) = refused else {
            outcome.unwrap();
            // The rights of a directory that was there are its owner's business.
            assert_eq!(mode(&target.dir), 0o755, "{row}");
            continue;
        };
        let refused = dir.path().join(refused);
        let error = outcome.unwrap_err();
        assert!(matches!(&error, Error::OthersCanWrite { path, .. } if *path == refused), "{row}: {error:?}");
        assert!(error.hint().contains(&format!("`chmod go-w {}`", refused.display())), "{}", error.hint());
        assert_eq!(tree(dir.path()), before, "{row}");
    }
}

#[test]
fn links_on_the_way_are_followed_and_judged() {
    let dir = tempfile::tempdir().unwrap();
    let real = dir.path().join("real");
    disk::create_dir_all(real.join("deep")).unwrap();
    symlink("real", dir.path().join("relative")).unwrap();
    symlink(real.join("deep"), dir.path().join("absolute")).unwrap();
    symlink("loop", dir.path().join("loop")).unwrap();
    for (number, way) in [(1, "relative/out"), (2, "absolute/../out"), (3, "relative/./deep/../out")] {
        let target = target(&dir.path().join(way));
        put(&target, number).unwrap();
        assert!(held(&target, number) && held(&self::target(&real.join("out")), number), "{way}");
    }

    let error = put(&target(&dir.path().join("loop/out")), 1).unwrap_err();
    assert!(matches!(&error, Error::Io { step: "follow", .. }), "{error:?}");

    // The directory that a link leads to counts, not the one it is in.
    set_mode(&real, 0o777);
    let error = put(&target(&dir.path().join("relative/out")), 4).unwrap_err();
    assert!(matches!(&error, Error::OthersCanWrite { path, .. } if *path == real), "{error:?}");
    set_mode(&real, 0o755);

    // The last step is no link, and no file.
    disk::write(dir.path().join("file"), "").unwrap();
    for name in ["relative", "absolute", "file"] {
        let error = put(&target(&dir.path().join(name)), 1).unwrap_err();
        assert!(matches!(&error, Error::NotADirectory { path } if path.ends_with(name)), "{error:?}");
        assert!(error.hint().contains("name a directory"));
    }
    assert!(!real.join(".g1").exists());
}

#[test]
fn what_belongs_to_another_user_is_refused() {
    if !root() {
        return skip("only root can give files to another user");
    }
    let give = |path: &Path| std::os::unix::fs::lchown(path, Some(12_345), Some(12_345)).unwrap();

    let (_dir, target) = place();
    disk::create_dir_all(target.dir.join(".g1")).unwrap();
    give(&target.dir.join(".g1"));
    let error = put(&target, 1).unwrap_err();
    assert!(matches!(&error, Error::Foreign { path } if path.ends_with(".g1")), "{error:?}");

    give(&target.dir);
    let error = put(&target, 1).unwrap_err();
    assert!(matches!(&error, Error::OthersCanWrite { owner: 12_345, .. }), "{error:?}");
    assert!(error.hint().contains("chown"), "{}", error.hint());
    assert_eq!(tree(&target.dir).len(), 1);

    // A link that its owner can turn elsewhere tomorrow.
    let (dir, plain) = place();
    disk::create_dir(dir.path().join("mine")).unwrap();
    symlink("mine", dir.path().join("turned")).unwrap();
    give(&dir.path().join("turned"));
    let error = put(&ExportTarget { dir: dir.path().join("turned/out"), ..plain }, 1).unwrap_err();
    assert!(matches!(&error, Error::Foreign { path } if path.ends_with("turned")), "{error:?}");
    assert!(!dir.path().join("mine/out").exists());
}

#[test]
fn a_group_that_cannot_be_given_leaves_no_file() {
    if root() {
        return skip("root can give files to any group");
    }
    let (_dir, plain) = place();
    put(&plain, 1).unwrap();
    let target = ExportTarget { mode: 0o640, group: Some("0".to_owned()), ..plain };
    let error = put(&target, 2).unwrap_err();
    assert!(matches!(&error, Error::Io { step: "set the rights of", .. }), "{error:?}");
    assert!(error.hint().contains("as a member of that group"), "{}", error.hint());
    assert_eq!(tree(&target.dir.join(".g2")), [""; 0]);
    assert!(held(&ExportTarget { mode: 0o600, group: None, ..target }, 1));
}

#[test]
fn a_directory_that_is_swapped_meanwhile_changes_nothing() {
    let (dir, target) = place();
    let folder = Folder::find_or_make(&target).unwrap();
    let (moved, trap) = (dir.path().join("moved"), dir.path().join("trap"));
    disk::rename(&target.dir, &moved).unwrap();
    disk::create_dir(&trap).unwrap();
    symlink(&trap, &target.dir).unwrap();

    assert!(folder.write(".g1", &Text::of(1).contents()).unwrap());
    assert_eq!(tree(&trap), [""; 0], "it was written to where the name led");
    assert!(held(&self::target(&moved), 1));
}

/// A small file system of its own, for as long as it lives.
struct Disk(tempfile::TempDir);

impl Disk {
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = root()
            && Command::new("mount")
                .args(["-t", "tmpfs", "-o", "size=96k,mode=0700", "tmpfs"])
                .arg(dir.path())
                .output()
                .is_ok_and(|ended| ended.status.success());
        if !mounted {
            skip("only root can mount a small file system, and not in every container");
        }
        mounted.then(|| Self(dir))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let ended = Command::new("umount").arg(self.0.path()).status().unwrap();
        assert!(ended.success() || std::thread::panicking());
    }
}

#[test]
fn a_full_disk_leaves_the_old_pair() {
    let Some(small) = Disk::mount() else { return };
    let target = target(&small.0.path().join("out"));
    let filler = small.0.path().join("filler");
    // The disk is full after no page, one, and so on: at each file of the new pair.
    let mut failed = 0;
    for free_pages in 0.. {
        let _ = disk::remove_dir_all(&target.dir);
        put(&target, 1).unwrap();
        let file = disk::File::create(&filler).unwrap();
        let pages =
            |file: &disk::File, pages: u64| rustix::fs::fallocate(file, fs::FallocateFlags::empty(), 0, pages * 4096);
        let mut most = 0;
        while pages(&file, most + 1).is_ok() {
            most += 1;
        }
        file.set_len(most.saturating_sub(free_pages) * 4096).unwrap();

        let outcome = put(&target, 2);
        drop(file);
        disk::remove_file(&filler).unwrap();
        let Err(error) = outcome else { break };
        failed += 1;
        assert!(matches!(&error, Error::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull), "{error:?}");
        assert!(error.hint().contains("free some space"), "{}", error.hint());
        assert!(held(&target, 1), "the old pair is current");
        // What is there under a final name is whole, and under another name is nothing.
        let whole = Text::of(2).0;
        for entry in disk::read_dir(target.dir.join(".g2")).into_iter().flatten() {
            let name = entry.unwrap().file_name();
            let file = FILES.iter().position(|file| *file == name).expect("no temporary name is left");
            assert_eq!(disk::read_to_string(target.dir.join(".g2").join(name)).unwrap(), whole[file]);
        }
        // With space again, the same command ends well.
        assert!(put(&target, 2).unwrap());
        assert!(held(&target, 2));
    }
    assert!(failed >= 3, "the disk was full {failed} times");
}

#[test]
fn a_directory_that_cannot_be_written_to_keeps_its_pair() {
    let read_only = |path: &Path, on: bool| {
        let option = if on { "remount,ro" } else { "remount,rw" };
        assert!(Command::new("mount").args(["-o", option]).arg(path).status().unwrap().success());
    };
    if root() {
        let Some(small) = Disk::mount() else { return };
        let target = target(&small.0.path().join("out"));
        put(&target, 1).unwrap();
        read_only(small.0.path(), true);
        let error = put(&target, 2).unwrap_err();
        assert!(held(&target, 1));
        read_only(small.0.path(), false);
        assert!(
            matches!(&error, Error::Io { source, .. } if source.kind() == io::ErrorKind::ReadOnlyFilesystem),
            "{error:?}"
        );
        assert!(error.hint().contains("make that disk writable"), "{}", error.hint());
    } else {
        let (_dir, target) = place();
        put(&target, 1).unwrap();
        set_mode(&target.dir, 0o500);
        let error = put(&target, 2).unwrap_err();
        assert!(held(&target, 1));
        set_mode(&target.dir, 0o700);
        assert!(
            matches!(&error, Error::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied),
            "{error:?}"
        );
        assert!(error.hint().contains("as the owner of the directory"), "{}", error.hint());
    }
}
