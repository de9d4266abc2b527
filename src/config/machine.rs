//! Which machine this is.

use std::{fmt::Write as _, fs, path::Path};

use aws_lc_rs::digest::{SHA256, digest};

/// SHA-256, in hex, over `robocred` and the id in `ROOT/etc/machine-id`. The id itself should not be shown
/// elsewhere (machine-id(5)). `None` where there is none, as in many containers. Reads the disk.
pub(super) fn digest_of_id(root: &Path) -> Option<String> {
    let text = fs::read_to_string(root.join("etc/machine-id")).ok()?;
    let id = text.trim_end();
    // On its very first boot a machine says `uninitialized`.
    if id.len() != 32 || !id.bytes().all(|octet| octet.is_ascii_hexdigit()) {
        return None;
    }
    let mut hex = String::with_capacity(64);
    for octet in digest(&SHA256, format!("robocred{id}").as_bytes()).as_ref() {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{octet:02x}");
    }
    Some(hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_known_by_a_digest_of_its_id() {
        let known = "91b2134280726ce7e0da048c9ceb5d83ce08918f871a7888d5d001d7802abb23";
        for (text, expected) in [
            (Some("0123456789abcdef0123456789abcdef\n"), Some(known)),
            (Some(""), None),
            (Some("uninitialized\n"), None),
            (None, None),
        ] {
            let root = tempfile::tempdir().unwrap();
            if let Some(text) = text {
                fs::create_dir_all(root.path().join("etc")).unwrap();
                fs::write(root.path().join("etc/machine-id"), text).unwrap();
            }
            assert_eq!(digest_of_id(root.path()).as_deref(), expected, "{text:?}");
        }
    }
}
