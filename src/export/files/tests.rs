//! The layout in a directory: modes, foreign names, the switch, full disks.

use std::{
    fs as disk,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use super::*;

/// A pair of texts that differ between generations in every file.
struct Text([String; 3]);

impl Text {
    fn of(number: u32) -> Self {
        // Longer than a page, so that half a file would be noticed.
        let part = |kind: &str| format!("{kind} of generation {number}\n").repeat(400);
        let (key, certificate) = (part("key"), part("certificate"));
        let combined = format!("{key}{certificate}");
        Self([key, certificate, combined])
    }

    fn contents(&self) -> Contents<'_> {
        let [key, certificate, combined] = self.0.each_ref().map(String::as_bytes);
        Contents { key, certificate, combined }
    }
}

fn generation(number: u32) -> Generation {
    Generation::new(number).unwrap()
}

fn target(dir: &Path) -> ExportTarget {
    ExportTarget { dir: dir.to_owned(), mode: 0o600, group: None }
}

fn put(target: &ExportTarget, number: u32) -> Result<bool, Error> {
    write(target, generation(number), &Text::of(number).contents())
}

fn held(target: &ExportTarget, number: u32) -> bool {
    holds(target, generation(number), &Text::of(number).contents())
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    disk::set_permissions(path, disk::Permissions::from_mode(mode)).unwrap();
}

/// Everything below a directory: names, kinds, modes, what links say, sizes.
fn tree(dir: &Path) -> Vec<String> {
    fn list(dir: &Path, below: &str, lines: &mut Vec<String>) {
        for entry in disk::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{below}{}", entry.file_name().to_string_lossy());
            let facts = entry.metadata().unwrap();
            if facts.is_symlink() {
                lines.push(format!("{name} -> {}", disk::read_link(entry.path()).unwrap().display()));
            } else if facts.is_dir() {
                lines.push(format!("{name}/ {:04o}", facts.mode() & 0o7777));
                list(&entry.path(), &format!("{name}/"), lines);
            } else {
                lines.push(format!("{name} {:04o} {}", facts.mode() & 0o7777, facts.len()));
            }
        }
    }
    let mut lines = vec![];
    list(dir, "", &mut lines);
    lines.sort();
    lines
}

/// A directory of its own, and an export target in it that is not there yet.
fn place() -> (tempfile::TempDir, ExportTarget) {
    let dir = tempfile::tempdir().unwrap();
    let target = target(&dir.path().join("out"));
    (dir, target)
}

/// Says loudly what was not tried. No package to install helps, so that it is
/// no failure where skipping is forbidden.
fn skip(missing: &str) {
    // Past the harness, which hides what a test prints that passes.
    let _ = writeln!(io::stderr(), "SKIPPED: {missing}");
}

fn root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn the_layout() {
    let (dir, target) = place();
    let target = ExportTarget { dir: dir.path().join("not/there/yet"), ..target };
    assert!(!held(&target, 7));
    assert!(!dir.path().join("not").exists(), "looking makes nothing");
    assert!(put(&target, 7).unwrap());
    assert!(held(&target, 7));
    let size = |file: usize| Text::of(7).0[file].len();
    assert_eq!(
        tree(dir.path()),
        [
            "not/ 0700".to_owned(),
            "not/there/ 0700".to_owned(),
            "not/there/yet/ 0700".to_owned(),
            "not/there/yet/.g7/ 0700".to_owned(),
            format!("not/there/yet/.g7/cert.pem 0600 {}", size(1)),
            format!("not/there/yet/.g7/combined.pem 0600 {}", size(2)),
            format!("not/there/yet/.g7/key.pem 0600 {}", size(0)),
            "not/there/yet/cert.pem -> current/cert.pem".to_owned(),
            "not/there/yet/combined.pem -> current/combined.pem".to_owned(),
            "not/there/yet/current -> .g7".to_owned(),
            "not/there/yet/key.pem -> current/key.pem".to_owned(),
        ]
    );
    for (file, text) in FILES.into_iter().zip(Text::of(7).0) {
        assert_eq!(disk::read_to_string(target.dir.join(file)).unwrap(), text, "{file}");
    }
}

#[test]
fn bytes_that_are_right_are_not_rewritten() {
    let (_dir, target) = place();
    let facts = || {
        FILES.map(|file| {
            let facts = target.dir.join(file).metadata().unwrap();
            (facts.ino(), facts.mtime(), facts.mtime_nsec())
        })
    };
    put(&target, 1).unwrap();
    let before = facts();
    assert!(!put(&target, 1).unwrap(), "nothing has changed");
    assert_eq!(facts(), before);
}

#[test]
fn a_file_that_others_can_reach_is_replaced_by_a_new_one() {
    let key = |target: &ExportTarget| target.dir.join(".g1/key.pem");
    let widen = |target: &ExportTarget| set_mode(&key(target), 0o644);
    let link = |target: &ExportTarget| disk::hard_link(key(target), target.dir.join("kept by somebody")).unwrap();
    for (what, expose) in [("a mode", &widen as &dyn Fn(&ExportTarget)), ("a hard link", &link)] {
        let (_dir, target) = place();
        put(&target, 1).unwrap();
        let old = key(&target).metadata().unwrap().ino();
        expose(&target);
        assert!(!held(&target, 1), "{what}");
        assert!(put(&target, 1).unwrap(), "{what}");
        let new = key(&target).metadata().unwrap();
        assert_ne!(new.ino(), old, "{what}");
        assert_eq!((new.mode() & 0o7777, new.nlink()), (0o600, 1), "{what}");
        assert!(held(&target, 1), "{what}");
    }
}

#[test]
fn a_group_may_be_let_in() {
    let (_dir, plain) = place();
    let own = rustix::process::getegid().as_raw();
    // Root may give files to any group; others only to one of theirs.
    let group = if root() { 12_345 } else { own };
    let target = ExportTarget { mode: 0o640, group: Some(group.to_string()), ..plain };
    put(&target, 1).unwrap();
    for (name, wanted) in [("", 0o750), (".g1", 0o750), (".g1/key.pem", 0o640), (".g1/combined.pem", 0o640)] {
        let facts = target.dir.join(name).metadata().unwrap();
        assert_eq!((facts.mode() & 0o7777, facts.gid()), (wanted, group), "{name:?}");
    }
    assert!(held(&target, 1));
    // Taken back by the configuration: the same bytes in a new file.
    let narrow = ExportTarget { mode: 0o600, group: None, ..target };
    assert!(!held(&narrow, 1));
    assert!(put(&narrow, 1).unwrap());
    assert_eq!((mode(&narrow.dir.join(".g1")), mode(&narrow.dir.join(".g1/key.pem"))), (0o700, 0o600));

    for unknown in ["no such group here", "4294967295", ""] {
        let target = ExportTarget { dir: narrow.dir.join("new"), group: Some(unknown.to_owned()), ..narrow.clone() };
        let error = put(&target, 1).unwrap_err();
        assert!(matches!(&error, Error::NoGroup { group } if group == unknown), "{error}");
        assert!(!target.dir.exists());
    }
    assert_eq!(group_id("root").unwrap().as_raw(), 0);
}

/// The mask for new files is the whole process's, so a process of its own has none.
#[test]
fn the_rights_are_narrow_from_the_first_instant() {
    use std::env;
    const ALONE: &str = "ROBOCRED_TEST_WITHOUT_MASK";
    if env::var_os(ALONE).is_none() {
        let module = module_path!().split_once("::").unwrap().1;
        let name = format!("{module}::the_rights_are_narrow_from_the_first_instant");
        let mut alone = std::process::Command::new(env::current_exe().unwrap());
        let ended = alone.args([&name, "--exact", "--nocapture"]).env(ALONE, "1").output().unwrap();
        let said = [ended.stdout, ended.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
        assert!(ended.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let [(_dir, target), (dir, whole)] = [place(), place()];
    rustix::process::umask(Mode::empty());
    let (handle, made) = way::find_or_make(&target.dir).unwrap();
    assert!(made);
    assert_eq!(mode(&target.dir), 0o700);
    let folder = Folder { handle, path: target.dir.clone(), target: &target, group: None };
    let _pair = folder.make_pair(".g1").unwrap();
    assert_eq!(mode(&target.dir.join(".g1")), 0o700);
    let _file = folder.create("new").unwrap();
    assert_eq!(mode(&target.dir.join("new")), 0o600);

    put(&whole, 1).unwrap();
    let wide: Vec<_> =
        tree(dir.path()).into_iter().filter(|line| !["0600", "0700", "->"].iter().any(|m| line.contains(m))).collect();
    assert_eq!(wide, [""; 0]);
}

/// `setfacl -d -m u:12345:r DIR`, in the kernel's own form.
#[cfg(target_os = "linux")]
#[test]
fn an_inherited_access_list_lets_nobody_in() {
    let (_dir, plain) = place();
    disk::create_dir(&plain.dir).unwrap();
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, rights, id) in
        [(0x01, 7, u32::MAX), (0x02, 4, 12_345), (0x04, 0, u32::MAX), (0x10, 7, u32::MAX), (0x20, 0, u32::MAX)]
    {
        list.extend(u16::to_le_bytes(tag));
        list.extend(u16::to_le_bytes(rights));
        list.extend(u32::to_le_bytes(id));
    }
    if fs::setxattr(&plain.dir, "system.posix_acl_default", &list, fs::XattrFlags::empty()).is_err() {
        return skip("the temporary directory has no access lists");
    }
    let lists = |path: &Path| fs::getxattr(path, "system.posix_acl_access", &mut [0; 256]).is_ok();
    disk::write(plain.dir.join("any"), "").unwrap();
    assert!(lists(&plain.dir.join("any")), "the list is not inherited here at all");

    let target = ExportTarget { mode: 0o640, ..plain };
    put(&target, 1).unwrap();
    for name in [".g1", ".g1/key.pem", ".g1/combined.pem"] {
        assert!(!lists(&target.dir.join(name)), "{name}");
    }
}

#[test]
fn what_somebody_else_put_there_is_refused_before_anything_is_written() {
    fn file(path: &Path) {
        disk::write(path, "precious").unwrap();
    }
    fn folder(path: &Path) {
        disk::create_dir(path).unwrap();
    }
    fn link(path: &Path) {
        symlink("/etc/passwd", path).unwrap();
    }
    fn outward(path: &Path) {
        symlink("../.g1", path).unwrap();
    }
    fn pipe(path: &Path) {
        assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    }
    type Plant = fn(&Path);
    let any: [(&str, Plant); 5] =
        [("file", file), ("folder", folder), ("link", link), ("outward link", outward), ("pipe", pipe)];
    let names = ["key.pem", "cert.pem", "combined.pem", "current", ".current.link", ".key.pem.link"];
    let mut cases: Vec<_> = names.iter().flat_map(|name| any.map(|(what, plant)| (*name, what, plant))).collect();
    cases.extend(any.into_iter().filter(|(what, _)| *what != "folder").map(|(what, plant)| (".g2", what, plant)));
    let inside = [".g2/key.pem", ".g2/cert.pem", ".g2/combined.pem"];
    cases.extend(inside.iter().flat_map(|name| any.map(|(what, plant)| (*name, what, plant))));

    for (name, what, plant) in cases {
        let (_dir, target) = place();
        disk::create_dir(&target.dir).unwrap();
        set_mode(&target.dir, 0o700);
        if name.starts_with(".g2/") {
            disk::create_dir(target.dir.join(".g2")).unwrap();
            set_mode(&target.dir.join(".g2"), 0o700);
        }
        let planted = target.dir.join(name);
        plant(&planted);
        let before = tree(&target.dir);
        let error = put(&target, 2).unwrap_err();
        let said = match &error {
            Error::OtherPair { path } if what == "file" && name.starts_with(".g2/") => path,
            Error::Foreign { path } => path,
            other => panic!("{what} as {name}: {other:?}"),
        };
        assert_eq!(said, &planted, "{what} as {name}");
        assert!(error.hint().contains("export to another directory"), "{}", error.hint());
        assert_eq!(tree(&target.dir), before, "{what} as {name}");
        assert!(!held(&target, 2), "{what} as {name}");
    }
}

#[test]
fn another_pair_under_the_same_number_is_not_replaced() {
    let (_dir, target) = place();
    put(&target, 1).unwrap();
    let before = tree(&target.dir);
    let error = write(&target, generation(1), &Text::of(99).contents()).unwrap_err();
    assert!(matches!(&error, Error::OtherPair { path } if path == &target.dir.join(".g1/key.pem")), "{error:?}");
    assert!(error.hint().contains(&format!("move {} away", target.dir.join(".g1").display())));
    assert_eq!(tree(&target.dir), before);
    assert!(held(&target, 1));
}

#[test]
fn a_killed_run_leaves_nothing_behind_after_the_next() {
    let (dir, target) = place();
    put(&target, 1).unwrap();
    let whole = tree(&target.dir);
    let bystander = dir.path().join("bystander");
    disk::write(&bystander, "precious").unwrap();
    // The next run has nothing else to do.
    disk::write(target.dir.join(".g1/.key.pem.tmp"), "half a k").unwrap();
    symlink(&bystander, target.dir.join(".g1/.cert.pem.tmp")).unwrap();
    symlink(".g1", target.dir.join(".current.link")).unwrap();
    symlink("current/key.pem", target.dir.join(".key.pem.link")).unwrap();
    assert!(!put(&target, 1).unwrap());
    assert_eq!(tree(&target.dir), whole);

    // It has everything left to do.
    disk::remove_file(target.dir.join("current")).unwrap();
    for file in FILES {
        disk::remove_file(target.dir.join(".g1").join(file)).unwrap();
        symlink(&bystander, target.dir.join(format!(".g1/.{file}.tmp"))).unwrap();
    }
    assert!(put(&target, 1).unwrap());
    assert_eq!(tree(&target.dir), whole);

    // Nor does a link help that is put there at the last moment.
    symlink(&bystander, target.dir.join("new")).unwrap();
    let folder = Folder::find(&target).unwrap().unwrap();
    assert!(matches!(folder.create("new"), Err(Error::Io { step: "create", .. })));
    assert_eq!(disk::read_to_string(&bystander).unwrap(), "precious", "a link was followed");
}

#[test]
fn a_reader_never_sees_a_mix_and_never_nothing() {
    let (_dir, target) = place();
    put(&target, 1).unwrap();
    let known = [Text::of(1).0, Text::of(2).0];
    let (done, seen) = (AtomicBool::new(false), [const { AtomicBool::new(false) }; 2]);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let combined = disk::read_to_string(target.dir.join("combined.pem")).unwrap();
                let which = known.iter().position(|[.., whole]| *whole == combined).expect("a mix");
                seen[which].store(true, Ordering::Relaxed);
                let current = target.dir.join(disk::read_link(target.dir.join("current")).unwrap());
                let read = |file| disk::read_to_string(current.join(file)).unwrap();
                let [key, certificate, _] = [read("key.pem"), read("cert.pem"), read("combined.pem")];
                assert!(known.iter().any(|[k, c, _]| *k == key && *c == certificate), "a mix");
            }
        });
        let stop = Stop(&done);
        for number in (1..=60).map(|turn| 1 + turn % 2) {
            assert!(put(&target, number).unwrap());
            assert!(held(&target, number) && !held(&target, 3 - number));
        }
        // The reader gets its turn on a busy machine, too.
        for (number, seen) in [(1, &seen[0]), (2, &seen[1])] {
            put(&target, number).unwrap();
            while !seen.load(Ordering::Relaxed) && !reader.is_finished() {
                std::thread::yield_now();
            }
        }
        drop(stop);
    });
}

/// Ends the reader also when the writer has panicked.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

mod places;
