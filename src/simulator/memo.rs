//! Texts that were written once and are asked for again: rows, packed pages.
//!
//! Owns a bounded store of bytes in groups; a group is one way of writing.
//! When it is full, other groups that were not used for longest make room,
//! never the one at hand: whoever walks a list in circles finds its first part
//! again each time. Nothing here can fail; what is not kept is written anew.

use bytes::Bytes;
use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What one text costs beside its bytes, about.
const ENTRY: usize = 96;

/// A bounded store of texts, each under its group and its key there.
#[derive(Debug)]
pub(super) struct Memo<K> {
    limit: usize,
    kept: Mutex<Kept<K>>,
}

#[derive(Debug)]
struct Kept<K> {
    used: usize,
    uses: u64,
    /// Grows when everything is forgotten.
    age: u64,
    names: HashMap<String, u32>,
    groups: HashMap<u32, Group<K>>,
}

#[derive(Debug)]
struct Group<K> {
    bytes: usize,
    last_use: u64,
    texts: HashMap<K, Bytes>,
}

impl<K: Eq + Hash> Memo<K> {
    /// One that keeps at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        let kept = Kept { used: 0, uses: 0, age: 0, names: HashMap::new(), groups: HashMap::new() };
        Self { limit, kept: Mutex::new(kept) }
    }

    fn lock(&self) -> MutexGuard<'_, Kept<K>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the group of this name.
    pub(super) fn group(&self, name: &str) -> u32 {
        let mut kept = self.lock();
        let next = u32::try_from(kept.names.len()).unwrap_or(u32::MAX);
        *kept.names.entry(name.to_owned()).or_insert(next)
    }

    /// The text of a key, made where it is not kept.
    pub(super) fn get(&self, group: u32, key: K, make: impl FnOnce() -> Bytes) -> Bytes {
        let age = {
            let mut kept = self.lock();
            kept.uses += 1;
            let uses = kept.uses;
            if let Some(group) = kept.groups.get_mut(&group) {
                group.last_use = uses;
                if let Some(text) = group.texts.get(&key) {
                    return text.clone();
                }
            }
            kept.age
        };
        // Not under the lock: making one text may ask for others.
        let text = make();
        self.lock().keep(self.limit, age, group, key, &text);
        text
    }

    /// Forgets everything: what texts are made of has changed.
    pub(super) fn clear(&self) {
        let mut kept = self.lock();
        kept.age += 1;
        kept.used = 0;
        kept.groups.clear();
    }
}

impl<K: Eq + Hash> Kept<K> {
    fn keep(&mut self, limit: usize, age: u64, group: u32, key: K, text: &Bytes) {
        let size = text.len() + ENTRY;
        if age != self.age || size > limit {
            return;
        }
        while self.used + size > limit {
            let others = self.groups.iter().filter(|(other, _)| **other != group);
            let Some(oldest) = others.min_by_key(|(_, it)| it.last_use).map(|(other, _)| *other) else { return };
            self.used -= self.groups.remove(&oldest).map_or(0, |it| it.bytes);
        }
        let uses = self.uses;
        let group =
            self.groups.entry(group).or_insert_with(|| Group { bytes: 0, last_use: uses, texts: HashMap::new() });
        // A copy: what was written may have more room than it needs.
        if group.texts.insert(key, Bytes::copy_from_slice(text)).is_none() {
            group.bytes += size;
            self.used += size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(memo: &Memo<u32>, group: u32, key: u32) -> bool {
        let mut made = false;
        memo.get(group, key, || {
            made = true;
            Bytes::from(vec![b'x'; 100 - ENTRY])
        });
        made
    }

    #[test]
    fn what_fits_is_made_once_and_never_grows_beyond_the_limit() {
        let memo = Memo::new(1_000);
        let (one, two) = (memo.group("one"), memo.group("two"));
        assert_eq!((memo.group("one"), memo.group("two")), (one, two));
        let round = |group| (0..15).filter(|key| made(&memo, group, *key)).count();
        // Ten fit: the first ten are found again, the other five are made each time.
        assert_eq!((round(one), round(one), memo.lock().used), (15, 5, 1_000));
        // Another way of writing takes the place of the one that is not used any more.
        assert_eq!((round(two), round(two), memo.lock().used), (15, 5, 1_000));
        memo.clear();
        assert_eq!((round(two), memo.lock().used), (15, 1_000));
        let off = Memo::new(0);
        assert!(made(&off, 0, 1) && made(&off, 0, 1));
    }

    #[test]
    fn a_text_made_while_everything_changed_is_not_kept() {
        let memo = Memo::new(1_000);
        memo.get(0, 1, || {
            memo.clear();
            Bytes::from_static(b"old")
        });
        assert_eq!(memo.get(0, 1, || Bytes::from_static(b"new")), "new");
    }
}
