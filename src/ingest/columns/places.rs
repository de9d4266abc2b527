//! Where a record holds what the columns want: paths of keys, walked together.
//!
//! A connection (`{"nodes": […]}`) and a bare list are the same thing. A
//! scalar may stand where another release has an object (`risk`, `backplane`):
//! it belongs to the column whose path ends there.

use std::{borrow::Cow, collections::BTreeMap, fmt, io};

use serde::de::{self, Deserializer as _, MapAccess};
use serde_json::value::RawValue;

use super::{Column, Kind};

/// What was found for a column, as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// The key is not there.
    #[default]
    Nothing,
    /// A value.
    One(&'a str),
    /// The elements of a list, for a column that is a list.
    Many(Vec<&'a str>),
}

impl Found<'_> {
    fn says_nothing(&self) -> bool {
        match self {
            Self::Nothing | Self::One("null") => true,
            Self::One(_) => false,
            Self::Many(items) => items.is_empty(),
        }
    }
}

/// Where a column's value may be.
#[derive(Clone, Copy, Debug)]
struct Target {
    column: usize,
    /// The lower, the more it counts.
    rank: usize,
}

/// All paths as one tree.
#[derive(Debug, Default)]
pub(super) struct Places {
    keys: BTreeMap<&'static str, Places>,
    /// The column whose path ends here.
    end: Option<Target>,
    /// All that end here or further on and are lists.
    lists: Vec<Target>,
}

impl Places {
    pub(super) fn of(columns: &[Column]) -> Self {
        let mut root = Self::default();
        for (column, Column { kind, places, .. }) in columns.iter().enumerate() {
            for (rank, place) in places.iter().enumerate() {
                let target = Target { column, rank };
                let mut at = &mut root;
                for key in place.split('.') {
                    at = at.keys.entry(key).or_default();
                    if *kind == Kind::TextList {
                        at.lists.push(target);
                    }
                }
                debug_assert!(at.end.is_none(), "{place} belongs to one column");
                at.end = Some(target);
            }
        }
        root
    }

    /// What one record holds for each column, and how many values stood where none can be used.
    pub(super) fn find<'a>(&self, record: &'a str, columns: usize) -> io::Result<(Vec<Found<'a>>, u64)> {
        let mut search = Search { found: vec![(0, Found::Nothing); columns], unusable: 0 };
        members(record, |key, value| {
            if let Some(place) = self.keys.get(key) {
                search.value(place, value);
            }
        })
        .map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))?;
        Ok((search.found.into_iter().map(|(_, found)| found).collect(), search.unusable))
    }
}

struct Search<'a> {
    /// For each column the rank of its place, and what was there.
    found: Vec<(usize, Found<'a>)>,
    unusable: u64,
}

impl<'a> Search<'a> {
    fn value(&mut self, place: &Places, json: &'a str) {
        match json.as_bytes().first() {
            Some(b'[') if !place.lists.is_empty() => self.list(place, json),
            Some(b'{') if !place.lists.is_empty() || !place.keys.is_empty() => self.object(place, json),
            _ => self.leaf(place, json),
        }
    }

    fn leaf(&mut self, place: &Places, json: &'a str) {
        match place.end {
            Some(target) => self.put(target, Found::One(json)),
            None => self.unusable += u64::from(json != "null"),
        }
    }

    fn object(&mut self, place: &Places, json: &'a str) {
        let (mut nodes, mut seen) = (None, Ok(()));
        if !place.lists.is_empty() {
            seen = members(json, |key, value| {
                if key == "nodes" {
                    nodes = Some(value);
                }
            });
        }
        let seen = seen.and_then(|()| match nodes {
            Some(nodes) if nodes.starts_with('[') => {
                self.list(place, nodes);
                Ok(())
            }
            Some("null") => Ok(()),
            _ if place.keys.is_empty() => {
                self.leaf(place, json);
                Ok(())
            }
            _ => self.members_of(place, json),
        });
        self.unusable += u64::from(seen.is_err());
    }

    fn members_of(&mut self, place: &Places, json: &'a str) -> serde_json::Result<()> {
        members(json, |key, value| {
            if let Some(place) = place.keys.get(key) {
                self.value(place, value);
            }
        })
    }

    /// Each list gets one entry for each element, so that lists of one
    /// connection stand side by side.
    fn list(&mut self, place: &Places, json: &'a str) {
        let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(json) else {
            self.unusable += 1;
            return;
        };
        let elements = elements.into_iter().map(RawValue::get);
        if let (Some(target), true) = (place.end, place.keys.is_empty()) {
            return self.put(target, Found::Many(elements.collect()));
        }
        let before: Vec<_> = place.lists.iter().map(|target| std::mem::take(&mut self.found[target.column])).collect();
        let mut lists = vec![Vec::with_capacity(elements.len()); place.lists.len()];
        for element in elements {
            let inside = element.starts_with('{') && self.members_of(place, element).is_ok();
            self.unusable += u64::from(!inside && element != "null");
            for (list, target) in lists.iter_mut().zip(&place.lists) {
                list.push(match std::mem::take(&mut self.found[target.column]) {
                    (_, Found::One(json)) => json,
                    _ => "null",
                });
            }
        }
        for ((target, list), before) in place.lists.iter().zip(lists).zip(before) {
            self.found[target.column] = before;
            self.put(*target, Found::Many(list));
        }
    }

    /// Of several places the first that says something counts, of one key that
    /// comes twice the last, as for every common JSON parser.
    fn put(&mut self, target: Target, new: Found<'a>) {
        let (rank, found) = &mut self.found[target.column];
        let counts = match target.rank {
            _ if *found == Found::Nothing => true,
            new_rank if new_rank == *rank => true,
            new_rank if new_rank < *rank => !new.says_nothing() || found.says_nothing(),
            _ => found.says_nothing() && !new.says_nothing(),
        };
        if counts {
            (*rank, *found) = (target.rank, new);
        }
    }
}

/// Calls `each` with the members of a JSON object, their values as they stand.
fn members<'a>(object: &'a str, each: impl FnMut(&str, &'a str)) -> serde_json::Result<()> {
    struct Members<F>(F);

    impl<'de, F: FnMut(&str, &'de str)> de::Visitor<'de> for Members<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
            // Raw, because a key need not be text that UTF-8 can hold.
            while let Some((key, value)) = map.next_entry::<&RawValue, &RawValue>()? {
                if let Some(key) = name(key.get()) {
                    self.0(&key, value.get());
                }
            }
            Ok(())
        }
    }

    let mut json = serde_json::Deserializer::from_str(object);
    json.deserialize_map(Members(each))?;
    json.end()
}

fn name(key: &str) -> Option<Cow<'_, str>> {
    let plain = key.strip_prefix('"')?.strip_suffix('"')?;
    if plain.contains('\\') { serde_json::from_str::<String>(key).ok().map(Cow::from) } else { Some(plain.into()) }
}
