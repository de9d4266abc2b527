//! What the operating system says of files, disks and swap. Reads only; what
//! a system does not tell is `None`.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The path itself, or the nearest directory above it that is there.
pub(super) fn nearest(path: &Path) -> PathBuf {
    path.ancestors().find(|path| path.symlink_metadata().is_ok()).unwrap_or(Path::new("/")).to_owned()
}

/// Who may reach a file: its owner's number, ours, and its mode. `None` if it is not there.
#[cfg(unix)]
pub(super) fn rights(path: &Path) -> Option<Rights> {
    use std::os::unix::fs::MetadataExt as _;

    let found = fs::metadata(path).ok()?;
    Some(Rights { owner: found.uid(), us: rustix::process::geteuid().as_raw(), mode: found.mode() & 0o7777 })
}

#[cfg(not(unix))]
pub(super) fn rights(_: &Path) -> Option<Rights> {
    None
}

/// Who may reach a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rights {
    pub owner: u32,
    pub us: u32,
    pub mode: u32,
}

/// Whether this user may make something in a directory.
#[cfg(unix)]
pub(super) fn may_write(dir: &Path) -> bool {
    use rustix::fs::{Access, AtFlags, CWD};

    rustix::fs::accessat(CWD, dir, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).is_ok()
}

#[cfg(not(unix))]
pub(super) fn may_write(dir: &Path) -> bool {
    fs::metadata(dir).is_ok_and(|found| !found.permissions().readonly())
}

/// Whether two files are on one disk.
#[cfg(unix)]
pub(super) fn same_disk(one: &Path, other: &Path) -> Option<bool> {
    use std::os::unix::fs::MetadataExt as _;

    Some(fs::metadata(nearest(one)).ok()?.dev() == fs::metadata(nearest(other)).ok()?.dev())
}

#[cfg(not(unix))]
pub(super) fn same_disk(_: &Path, _: &Path) -> Option<bool> {
    None
}

/// The bytes that this user may still write to the disk of a directory.
#[cfg(unix)]
pub(super) fn free_space(dir: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(dir).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(not(unix))]
pub(super) fn free_space(_: &Path) -> Option<u64> {
    None
}

/// The swap areas that could keep what was in memory, by name. `None` where
/// it is not told.
pub(super) fn swap_in_clear() -> Option<Vec<String>> {
    let areas = fs::read_to_string("/proc/swaps").ok()?;
    Some(in_clear(&areas, &|device| encrypted(device, 8)))
}

/// Those of the areas listed as in `/proc/swaps` that keep their content in clear.
pub(super) fn in_clear(areas: &str, encrypted: &dyn Fn(&str) -> bool) -> Vec<String> {
    let names = areas.lines().skip(1).filter_map(|line| line.split_whitespace().next());
    names.filter(|name| !name.starts_with("/dev/zram") && !encrypted(name)).map(str::to_owned).collect()
}

/// Whether a block device is encrypted, itself or in all the devices it lies on.
fn encrypted(device: &str, depth: u32) -> bool {
    let Some(name) = fs::canonicalize(device).ok().and_then(|path| Some(path.file_name()?.to_owned())) else {
        return false;
    };
    let about = Path::new("/sys/block").join(name);
    if fs::read_to_string(about.join("dm/uuid")).is_ok_and(|uuid| uuid.starts_with("CRYPT-")) {
        return true;
    }
    let below: Vec<_> = fs::read_dir(about.join("slaves")).into_iter().flatten().flatten().collect();
    let is_encrypted = |below: &fs::DirEntry| {
        below.file_name().to_str().is_some_and(|name| encrypted(&format!("/dev/{name}"), depth - 1))
    };
    depth > 0 && !below.is_empty() && below.iter().all(is_encrypted)
}
