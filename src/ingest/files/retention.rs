//! Which older files of a stream are removed when a new one is there.
//!
//! Only pairs of data and manifest are looked at whose names are ours and
//! whose manifest names the same robot and stream; anything else in the
//! directory is left alone. Whole files, changes and incomplete files are
//! counted each by themselves, so that bad days do not push good data out.
//! The newest whole file stays whatever the policy says.
//!
//! Data goes before its manifest: killed in between, a manifest is left that
//! the next run removes. What cannot be removed is a warning and no failure.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    fs, io,
    path::Path,
};

use serde::Deserialize;
use time::OffsetDateTime;

use super::{
    latest,
    names::{self, Name, Stem},
};
use crate::site::{Keep, RobotId};

/// What a run left: a manifest, and the data it speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pair {
    stem: Stem,
    complete: bool,
    /// The name of the data; `None` if it is not there any more.
    data: Option<String>,
}

/// What is counted by itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Whole,
    Changes,
    Incomplete,
}

impl Pair {
    fn kind(&self) -> Kind {
        match (self.complete, self.stem.changes) {
            (false, _) => Kind::Incomplete,
            (true, true) => Kind::Changes,
            (true, false) => Kind::Whole,
        }
    }
}

/// The pairs that go, the newest first. What is `spared` never does.
fn doomed(mut pairs: Vec<Pair>, keep: Keep, now: OffsetDateTime, spared: &HashSet<String>) -> Vec<Pair> {
    pairs.sort_by_key(|pair| Reverse(pair.stem.age()));
    let newest = pairs.iter().find(|pair| pair.kind() == Kind::Whole && pair.data.is_some()).map(|pair| pair.stem);
    let mut counts = HashMap::<Kind, u32>::new();
    pairs.retain(|pair| {
        let count = counts.entry(pair.kind()).or_default();
        let over = match keep {
            Keep::Count(most) => *count >= most,
            Keep::Age(age) => now - pair.stem.time > age,
        };
        *count += u32::from(pair.data.is_some());
        over && newest != Some(pair.stem) && !pair.data.as_ref().is_some_and(|data| spared.contains(data))
    });
    pairs
}

/// Removes what the policy does not keep beside `new`, which was begun now.
pub(super) fn tidy(dir: &Path, robot: &RobotId, keep: Keep, new: Stem, new_data: &str) {
    let mut spared: HashSet<String> = latest::targets(dir).into_iter().collect();
    spared.insert(new_data.to_owned());
    let pairs = match pairs(dir, robot, new) {
        Ok(pairs) => pairs,
        Err(error) => return warn(dir, &error),
    };
    for pair in doomed(pairs, keep, new.time, &spared) {
        for name in pair.data.into_iter().chain([pair.stem.manifest()]) {
            let path = dir.join(name);
            if let Err(error) = fs::remove_file(&path) {
                warn(&path, &error);
                // Its manifest stays with it.
                break;
            }
            tracing::debug!(path = %path.display(), %keep, "removed");
        }
    }
}

fn warn(path: &Path, error: &io::Error) {
    tracing::warn!(path = %path.display(), error = error as &dyn std::error::Error, "cannot remove older files");
}

/// What is looked at of a manifest.
#[derive(Deserialize)]
struct Manifest {
    robot: String,
    stream: String,
    complete: bool,
    file: String,
}

/// A manifest of ours is far smaller.
const LARGEST_MANIFEST: u64 = 64 << 10;

/// The pairs of this robot and the stream of `new`, as they are on the disk.
fn pairs(dir: &Path, robot: &RobotId, new: Stem) -> io::Result<Vec<Pair>> {
    let mut pairs = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some((stem, Name::Manifest)) = name.to_str().and_then(names::read) else { continue };
        if stem.stream == new.stream {
            pairs.extend(pair(dir, robot, stem));
        }
    }
    Ok(pairs)
}

fn pair(dir: &Path, robot: &RobotId, stem: Stem) -> Option<Pair> {
    let path = dir.join(stem.manifest());
    let found = fs::symlink_metadata(&path).ok()?;
    if !found.is_file() || found.len() > LARGEST_MANIFEST {
        return None;
    }
    let manifest: Manifest = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    if manifest.robot != robot.to_string() || manifest.stream != stem.stream.as_str() {
        return None;
    }
    // Looked for before the data: a run that is about to put its data in place is not over.
    if fs::symlink_metadata(dir.join(stem.part())).is_ok() {
        return None;
    }
    if names::read(&manifest.file) != Some((stem, Name::Data)) {
        return None;
    }
    let data = match fs::symlink_metadata(dir.join(&manifest.file)) {
        Ok(found) if found.is_file() => Some(manifest.file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Ok(_) | Err(_) => return None,
    };
    Some(Pair { stem, complete: manifest.complete, data })
}

#[cfg(test)]
mod tests {
    use time::{Duration, macros::datetime};

    use super::*;
    use crate::site::Stream;

    const NOW: OffsetDateTime = datetime!(2026-11-22 12:00 UTC);

    /// A pair of so many days ago: `w` whole, `c` changes, `i` incomplete, `o`
    /// whole without its data; `#2` for another one of the same second.
    fn pair(text: &str) -> Pair {
        let (kind, rest) = text.split_at(1);
        let (days, number) = rest.split_once('#').unwrap_or((rest, "1"));
        let time = NOW - Duration::days(days.parse().unwrap());
        let stem = Stem { number: number.parse().unwrap(), ..Stem::new(Stream::Assets, kind == "c", time) };
        let complete = kind != "i";
        Pair { stem, complete, data: (kind != "o").then(|| stem.data("ndjson", complete)) }
    }

    #[test]
    fn what_goes() {
        let sorted = |mut pairs: Vec<Pair>| {
            pairs.sort_by_key(|pair| (pair.stem.to_string(), pair.complete));
            pairs
        };
        let check = |keep: &str, pairs: &str, spared: &str, expected: &str| {
            let each = |text: &str| text.split_whitespace().map(pair).collect::<Vec<_>>();
            let names = each(spared).into_iter().filter_map(|pair| pair.data).collect();
            let mut backwards = each(pairs);
            backwards.reverse();
            for order in [each(pairs), backwards] {
                let gone = doomed(order, keep.parse().unwrap(), NOW, &names);
                assert_eq!(sorted(gone), sorted(each(expected)), "{keep} of {pairs}, spared {spared}");
            }
        };
        check("1", "", "", "");
        check("1", "w0", "", "");
        check("1", "w0 w1 w2", "", "w1 w2");
        check("2", "w0 w1 w2", "", "w2");
        check("3", "w0 w1 w2", "", "");
        // In the order of their times, then of their numbers.
        check("1", "w5#10 w5#9 w5", "", "w5#9 w5");
        // Each kind by itself.
        check("1", "i0 i1 c0 c1 w3 w4", "", "i1 c1 w4");
        check("2", "i0 i1 i2 w9", "", "i2");
        check("1", "c0 w2 c3", "", "c3");
        // What is the latest stays, and is counted.
        check("1", "w0 w1 w2", "w2", "w1");
        check("2", "w0 w1 w2 w3", "w3", "w2");
        // A manifest alone is not counted, and goes when its data would have gone.
        check("1", "o0 w1 w2", "", "w2");
        check("1", "w0 o1", "", "o1");
        check("2", "w0 o1 w2 o3 w4", "", "o3 w4");
        // By age: older than, not as old as.
        check("2d", "w0 w1 w2 w3 w4", "", "w3 w4");
        check("2d", "w3 w4", "", "w4");
        check("2d", "i3 c3 w4 w5", "", "i3 c3 w5");
        check("2d", "w0 i3 c3 o3", "i3", "c3 o3");
        check("2d", "o3 w4", "", "o3");
        // Of a clock that was ahead.
        check("1d", "w-9 w0", "", "");
        check("1", "w-9 w0 w1", "w0", "w1");
    }
}
