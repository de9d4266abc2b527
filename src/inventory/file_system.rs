//! Whether the disk of a state directory is this machine's own.

use std::path::Path;

use super::Error;

/// What a file system is, as far as it matters to the inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// A disk of this machine, or its memory.
    Local,
    /// Another machine's: locks end at a server that may forget them, and the
    /// shared memory of the database engine does not reach there. Refused.
    Network(&'static str),
    /// Either. FUSE does not tell an encrypted disk from sshfs, and virtual
    /// machines and sandboxes show their own disk over 9P: warned of only.
    Unclear(&'static str),
}

impl FileSystem {
    /// From the number that Linux gives it (statfs(2)).
    #[must_use]
    pub fn of(magic: u32) -> Self {
        match magic {
            0x6969 => Self::Network("NFS"),
            0xff53_4d42 | 0xfe53_4d42 | 0x517b => Self::Network("SMB"),
            0x5346_414f | 0x6b41_4653 => Self::Network("AFS"),
            0x7375_7245 => Self::Network("Coda"),
            0x00c3_6400 => Self::Network("Ceph"),
            0x0bd0_0bd0 => Self::Network("Lustre"),
            0x0102_1997 => Self::Unclear("9P"),
            0x6573_5546 => Self::Unclear("FUSE"),
            _ => Self::Local,
        }
    }

    /// That of an existing file or directory; `None` where it is not there or
    /// the system does not tell.
    #[cfg(target_os = "linux")]
    #[must_use]
    pub fn at(path: &Path) -> Option<Self> {
        let found = rustix::fs::statfs(path).ok()?;
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::unnecessary_cast,
            reason = "the numbers have 32 bits, in a field of another width on each processor"
        )]
        let magic = found.f_type as u32;
        Some(Self::of(magic))
    }

    /// That of an existing file or directory: not told on this system.
    #[cfg(not(target_os = "linux"))]
    #[must_use]
    pub fn at(_: &Path) -> Option<Self> {
        None
    }
}

/// Refuses a directory that is, or would be made, on another machine's disk.
pub(super) fn check(dir: &Path) -> Result<(), Error> {
    match dir.ancestors().find_map(FileSystem::at) {
        Some(FileSystem::Network(kind)) => Err(Error::NetworkDisk { path: dir.to_owned(), kind }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_told_from_disks() {
        for (magic, expected) in [
            (0x6969, FileSystem::Network("NFS")),
            (0x517b, FileSystem::Network("SMB")),
            (0xff53_4d42, FileSystem::Network("SMB")),
            (0xfe53_4d42, FileSystem::Network("SMB")),
            (0x5346_414f, FileSystem::Network("AFS")),
            (0x6b41_4653, FileSystem::Network("AFS")),
            (0x7375_7245, FileSystem::Network("Coda")),
            (0x00c3_6400, FileSystem::Network("Ceph")),
            (0x0bd0_0bd0, FileSystem::Network("Lustre")),
            (0x0102_1997, FileSystem::Unclear("9P")),
            (0x6573_5546, FileSystem::Unclear("FUSE")),
            (0xef53, FileSystem::Local),      // ext2 to ext4
            (0x5846_5342, FileSystem::Local), // XFS
            (0x9123_683e, FileSystem::Local), // Btrfs
            (0x2fc1_2fc1, FileSystem::Local), // ZFS
            (0xf2f5_2010, FileSystem::Local), // F2FS
            (0x0102_1994, FileSystem::Local), // tmpfs
            (0x794c_7630, FileSystem::Local), // overlay
        ] {
            assert_eq!(FileSystem::of(magic), expected, "{magic:#x}");
        }
    }

    #[test]
    fn a_directory_is_judged_by_where_it_would_be_made() {
        if cfg!(target_os = "linux") {
            assert_eq!(FileSystem::at(Path::new("/proc")), Some(FileSystem::Local));
            assert_eq!(FileSystem::at(Path::new("/proc/not/there")), None);
        }
        let dir = tempfile::tempdir().unwrap();
        check(&dir.path().join("not/there/yet")).unwrap();
        assert!(!dir.path().join("not").exists());
    }
}
