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

/// What a file system is, as far as it matters to a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "other systems are not asked"))]
pub(super) enum FileSystem {
    Local,
    /// Locks and shared memory do not reach from machine to machine.
    Network(&'static str),
    /// Either, behind a program of this machine.
    Fuse,
}

/// The file system of a directory.
#[cfg(target_os = "linux")]
pub(super) fn file_system(dir: &Path) -> Option<FileSystem> {
    let found = rustix::fs::statfs(dir).ok()?;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::unnecessary_cast,
        reason = "the numbers have 32 bits, in a field of another width on each processor"
    )]
    let magic = found.f_type as u32;
    Some(FileSystem::of(magic))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn file_system(_: &Path) -> Option<FileSystem> {
    None
}

impl FileSystem {
    /// From the number that Linux gives it (statfs(2)).
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "other systems are not asked"))]
    pub(super) fn of(magic: u32) -> Self {
        match magic {
            0x6969 => Self::Network("NFS"),
            0xff53_4d42 | 0xfe53_4d42 | 0x517b => Self::Network("SMB"),
            0x0102_1997 => Self::Network("9P"),
            0x5346_414f | 0x6b41_4653 => Self::Network("AFS"),
            0x00c3_6400 => Self::Network("Ceph"),
            0x0bd0_0bd0 => Self::Network("Lustre"),
            0x6573_5546 => Self::Fuse,
            _ => Self::Local,
        }
    }
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
