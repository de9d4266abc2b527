//! What the files of a run are called, and which name is one of ours.
//!
//! Owns the mapping both ways; touches no disk. Nothing an appliance says
//! becomes part of a name.

use std::fmt;

use time::{
    OffsetDateTime, PrimitiveDateTime, UtcOffset, format_description::BorrowedFormatItem, macros::format_description,
};

use crate::site::{Compression, Format, Stream};

const TIME: &[BorrowedFormatItem<'_>] = format_description!("[year][month][day]T[hour][minute][second]Z");
const CHANGES: &str = "changes-";
const PART: &str = ".part";
const MANIFEST: &str = "manifest.json";
const INCOMPLETE: &str = ".incomplete";

/// Every ending of data.
pub(in crate::ingest) const EXTENSIONS: [&str; 7] =
    ["ndjson", "ndjson.gz", "ndjson.zst", "csv", "csv.gz", "csv.zst", "parquet"];

/// The ending of data that is written so. Parquet is compressed inside, and stays what it is.
pub(in crate::ingest) fn extension(format: Format, compress: Compression) -> &'static str {
    match (format, compress) {
        (Format::Ndjson, Compression::None) => "ndjson",
        (Format::Ndjson, Compression::Gzip) => "ndjson.gz",
        (Format::Ndjson, Compression::Zstd) => "ndjson.zst",
        (Format::Csv, Compression::None) => "csv",
        (Format::Csv, Compression::Gzip) => "csv.gz",
        (Format::Csv, Compression::Zstd) => "csv.zst",
        (Format::Parquet, _) => "parquet",
    }
}

/// What all files of one run have in common: `assets-20261122T191132Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::ingest) struct Stem {
    pub stream: Stream,
    /// Only what changed since an earlier run: `assets-changes-…`.
    pub changes: bool,
    /// When the run began, in whole seconds.
    pub time: OffsetDateTime,
    /// From 1, for runs of one second: `…-2`.
    pub number: u32,
}

impl Stem {
    pub fn new(stream: Stream, changes: bool, now: OffsetDateTime) -> Self {
        let time = now.to_offset(UtcOffset::UTC).truncate_to_second();
        Self { stream, changes, time, number: 1 }
    }

    /// The next one of the same second.
    pub fn next(self) -> Self {
        Self { number: self.number + 1, ..self }
    }

    fn parse(text: &str) -> Option<Self> {
        let of = |stream: Stream| Some((stream, text.strip_prefix(stream.as_str())?.strip_prefix('-')?));
        let (stream, rest) = Stream::ALL.into_iter().find_map(of)?;
        let (changes, rest) = rest.strip_prefix(CHANGES).map_or((false, rest), |rest| (true, rest));
        let (time, number) = rest.split_once('-').unwrap_or((rest, "1"));
        let time = PrimitiveDateTime::parse(time, TIME).ok()?.assume_utc();
        let stem = Self { stream, changes, time, number: number.parse().ok()? };
        // One name for each: neither `-1` nor `-02`.
        (stem.to_string() == text).then_some(stem)
    }

    /// Newer ones are greater.
    pub fn age(self) -> impl Ord {
        (self.time, self.number)
    }

    pub fn data(self, extension: &str, complete: bool) -> String {
        format!("{self}.{extension}{}", if complete { "" } else { INCOMPLETE })
    }

    pub fn manifest(self) -> String {
        format!("{self}.{MANIFEST}")
    }

    /// The data of a run that is not over, whatever its format.
    pub fn part(self) -> String {
        format!(".{self}{PART}")
    }

    pub fn manifest_part(self) -> String {
        format!(".{self}.{MANIFEST}{PART}")
    }
}

impl fmt::Display for Stem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changes = if self.changes { CHANGES } else { "" };
        let time = self.time.format(TIME).map_err(|_| fmt::Error)?;
        write!(f, "{}-{changes}{time}", self.stream)?;
        if self.number == 1 { Ok(()) } else { write!(f, "-{}", self.number) }
    }
}

/// A name that one of our runs gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ingest) enum Name {
    Data,
    Manifest,
    /// Data on its way.
    Part,
    ManifestPart,
}

/// What a name in the directory stands for; `None`: it is not one of ours.
pub(in crate::ingest) fn read(name: &str) -> Option<(Stem, Name)> {
    let (hidden, name) = match name.strip_prefix('.') {
        Some(name) => (true, name.strip_suffix(PART)?),
        None => (false, name),
    };
    let (stem, ending) = name.split_once('.').unwrap_or((name, ""));
    let kind = match (hidden, ending) {
        (true, "") => Name::Part,
        (true, MANIFEST) => Name::ManifestPart,
        // As versions before this one called it.
        (true, "ndjson") => Name::Part,
        (false, MANIFEST) => Name::Manifest,
        (false, data) if EXTENSIONS.contains(&data.strip_suffix(INCOMPLETE).unwrap_or(data)) => Name::Data,
        _ => return None,
    };
    Some((Stem::parse(stem)?, kind))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use {
        Compression::{Gzip, None as Plain, Zstd},
        Format::{Csv, Ndjson, Parquet},
        Stream::{Assets, Events, Findings, Plugins},
    };

    #[test]
    fn every_file_has_one_name() {
        let now = datetime!(2026-11-22 21:11:32.75 +2);
        let check = |stream, changes, number, format, compress, complete: bool, expected: &str| {
            let stem = Stem { number, ..Stem::new(stream, changes, now) };
            let name = stem.data(extension(format, compress), complete);
            assert_eq!(name, expected);
            assert_eq!(read(&name), Some((stem, Name::Data)));
            assert_eq!(read(&stem.manifest()), Some((stem, Name::Manifest)));
            assert_eq!(read(&stem.part()), Some((stem, Name::Part)));
            assert_eq!(read(&stem.manifest_part()), Some((stem, Name::ManifestPart)));
            assert!(EXTENSIONS.contains(&extension(format, compress)));
        };
        check(Assets, false, 1, Ndjson, Plain, true, "assets-20261122T191132Z.ndjson");
        check(Assets, false, 2, Ndjson, Gzip, true, "assets-20261122T191132Z-2.ndjson.gz");
        check(Events, true, 1, Ndjson, Zstd, true, "events-changes-20261122T191132Z.ndjson.zst");
        check(Events, true, 11, Csv, Plain, false, "events-changes-20261122T191132Z-11.csv.incomplete");
        check(Findings, false, 1, Csv, Gzip, false, "findings-20261122T191132Z.csv.gz.incomplete");
        check(Plugins, false, 1, Csv, Zstd, true, "plugins-20261122T191132Z.csv.zst");
        for compress in [Plain, Gzip, Zstd] {
            check(Assets, false, 1, Parquet, compress, true, "assets-20261122T191132Z.parquet");
        }
        let stem = Stem::new(Assets, false, now);
        assert_eq!(stem.manifest(), "assets-20261122T191132Z.manifest.json");
        assert_eq!(stem.part(), ".assets-20261122T191132Z.part");
        assert_eq!(stem.manifest_part(), ".assets-20261122T191132Z.manifest.json.part");
        assert_eq!(stem.next().next().to_string(), "assets-20261122T191132Z-3");
    }

    #[test]
    fn names_of_others_are_not_ours() {
        for name in [
            "",
            ".",
            ".part",
            "latest",
            "assets.ndjson",
            "assets-20261122T191132Z",
            "assets-20261122T191132Z.json",
            "assets-20261122T191132Z.ndjson.bak",
            "assets-20261122T191132Z.ndjson.incomplete.gz",
            "assets-20261122T191132Z.manifest.json.incomplete",
            "assets-20261122T191132Z-1.ndjson",
            "assets-20261122T191132Z-02.ndjson",
            "assets-20261122T191132Z-+2.ndjson",
            "assets-20261122T191132Z-2-3.ndjson",
            "assets-20261122T191132.ndjson",
            "assets-20261322T191132Z.ndjson",
            "assets-20261122T191132Z .ndjson",
            "assets-+20261122T191132Z.ndjson",
            "assets-change-20261122T191132Z.ndjson",
            "devices-20261122T191132Z.ndjson",
            "Assets-20261122T191132Z.ndjson",
            ".assets-20261122T191132Z.ndjson",
            ".assets-20261122T191132Z.txt.part",
            "assets-20261122T191132Z.part",
        ] {
            assert_eq!(read(name), None, "{name:?}");
        }
    }
}
