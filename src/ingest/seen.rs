//! Which records came before, in memory that does not grow while they come in order.
//!
//! Owns telling a new id from one that came before. Lists are asked for sorted
//! by id: as long as ids go strictly up, or strictly down, as texts or as
//! numbers, none can have come before, and the last one is all that has to be
//! known. Meanwhile their hashes go to a file without a name; at the first id
//! out of order they are read back into a table (19 MiB for a million ids),
//! which is asked from then on. Where no such file can be had, the table is
//! made at once.
//!
//! Ids are kept as 64-bit hashes keyed anew for each run. Should two ids of a
//! million collide (one run in 30 million), the later record is taken for one
//! that came before, and the run is not complete where the server counts.

use std::{
    cmp::Ordering,
    collections::HashSet,
    fs::File,
    hash::{BuildHasher, RandomState},
    io::{self, Read, Seek, SeekFrom, Write},
};

/// How many hashes are held back before they go to the file.
const HELD: usize = 8192;

/// The ids that came so far.
pub(super) struct Seen {
    keys: RandomState,
    count: u64,
    memory: Memory,
}

enum Memory {
    Ordered { order: Order, spill: Spill },
    Table(HashSet<u64>),
}

impl Seen {
    /// None came.
    pub(super) fn new(keys: RandomState) -> Self {
        let memory = Memory::Ordered { order: Order::default(), spill: Spill::default() };
        Self { keys, count: 0, memory }
    }

    /// How many different ones came.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Takes an id; whether it is new. Disk.
    ///
    /// # Errors
    /// What was written to the file cannot be read back.
    pub(super) fn admit(&mut self, id: &str) -> io::Result<bool> {
        let hash = self.keys.hash_one(id);
        if let Memory::Ordered { order, spill } = &mut self.memory {
            match order.next(id) {
                Step::On => {
                    if spill.push(hash).is_err() {
                        self.memory = Memory::Table(spill.take()?);
                    }
                    self.count += 1;
                    return Ok(true);
                }
                Step::Again => return Ok(false),
                Step::Off => self.memory = Memory::Table(spill.take()?),
            }
        }
        let new = match &mut self.memory {
            Memory::Table(table) => table.insert(hash),
            Memory::Ordered { .. } => true,
        };
        self.count += u64::from(new);
        Ok(new)
    }
}

/// The order in which ids have come so far.
struct Order {
    last: Option<String>,
    text: Direction,
    number: Direction,
}

/// Which way ids go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Either,
    Only(Ordering),
    None,
}

/// What an id means for the order.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    On,
    Again,
    Off,
}

impl Default for Order {
    fn default() -> Self {
        Self { last: None, text: Direction::Either, number: Direction::Either }
    }
}

impl Order {
    fn next(&mut self, id: &str) -> Step {
        let Some(last) = &mut self.last else {
            self.last = Some(id.to_owned());
            return Step::On;
        };
        if last == id {
            return Step::Again;
        }
        let numbers = number(id).zip(number(last));
        self.number = self.number.after(numbers.map_or(Ordering::Equal, |(new, last)| new.cmp(&last)));
        self.text = self.text.after(id.cmp(last));
        last.clear();
        last.push_str(id);
        if [self.text, self.number] == [Direction::None; 2] { Step::Off } else { Step::On }
    }
}

impl Direction {
    fn after(self, step: Ordering) -> Self {
        match self {
            _ if step == Ordering::Equal => Self::None,
            Self::Either => Self::Only(step),
            Self::Only(before) if before == step => self,
            _ => Self::None,
        }
    }
}

fn number(id: &str) -> Option<u64> {
    id.bytes().all(|byte| byte.is_ascii_digit()).then(|| id.parse().ok()).flatten()
}

/// Hashes on their way to a file without a name.
#[derive(Default)]
struct Spill {
    held: Vec<u64>,
    file: Option<File>,
    /// How many are whole in the file.
    spilled: u64,
}

impl Spill {
    fn push(&mut self, hash: u64) -> io::Result<()> {
        self.held.push(hash);
        if self.held.len() < HELD {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile()?),
        };
        let bytes: Vec<u8> = self.held.iter().flat_map(|hash| hash.to_ne_bytes()).collect();
        file.write_all(&bytes)?;
        self.spilled += self.held.len() as u64;
        self.held.clear();
        Ok(())
    }

    /// All of them, in a table.
    fn take(&mut self) -> io::Result<HashSet<u64>> {
        let mut table: HashSet<u64> = self.held.drain(..).collect();
        if let Some(mut file) = self.file.take() {
            file.seek(SeekFrom::Start(0))?;
            table.reserve(usize::try_from(self.spilled).unwrap_or_default());
            let mut bytes = vec![0; HELD * size_of::<u64>()];
            for _ in 0..self.spilled / HELD as u64 {
                file.read_exact(&mut bytes)?;
                let (hashes, _) = bytes.as_chunks();
                table.extend(hashes.iter().map(|hash| u64::from_ne_bytes(*hash)));
            }
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of the ids are taken for new, and whether a table was made.
    fn admitted<I: AsRef<str>>(ids: impl IntoIterator<Item = I>) -> (Seen, Vec<bool>) {
        let mut seen = Seen::new(RandomState::new());
        let new = ids.into_iter().map(|id| seen.admit(id.as_ref()).unwrap()).collect();
        (seen, new)
    }

    fn has_table(seen: &Seen) -> bool {
        matches!(seen.memory, Memory::Table(_))
    }

    #[test]
    fn new_ids_and_those_that_came_before() {
        // `+`: new, `-`: came before.
        let check = |ids: &[&str], expected: &str, table: bool| {
            let (seen, new) = admitted(ids);
            let shown: String = new.iter().map(|&new| if new { '+' } else { '-' }).collect();
            assert_eq!((shown.as_str(), has_table(&seen)), (expected, table), "{ids:?}");
            assert_eq!(seen.count(), expected.matches('+').count() as u64, "{ids:?}");
        };
        check(&[], "", false);
        check(&["a", "b", "c"], "+++", false);
        check(&["c", "b", "a"], "+++", false);
        // The last one once more needs no table: it is known.
        check(&["a", "b", "b", "c"], "++-+", false);
        check(&["a", "b", "a", "c"], "++-+", true);
        check(&["a", "c", "b", "a", "b", "c", "d"], "+++---+", true);
        // Plugins have numbers.
        check(&["9", "10", "11"], "+++", false);
        check(&["11", "10", "9"], "+++", false);
        check(&["1", "10", "9", "2"], "++++", true);
        // Numbers that a server sorts as texts.
        check(&["1", "10", "2", "20", "3"], "+++++", false);
        // The same number in other words is another id, in order as a text.
        check(&["07", "7", "8"], "+++", false);
        check(&["7", "07", "8", "7"], "+++-", true);
        // Beyond what a number holds, only the text's order counts.
        check(&["99999999999999999999", "99999999999999999998"], "++", false);
        check(&["-1", "-2", "-3"], "+++", false);
        check(&["", "a"], "++", false);
    }

    #[test]
    fn a_million_ids_in_order_take_no_memory() {
        let mut seen = Seen::new(RandomState::new());
        for number in (0..1_000_000).rev() {
            assert!(seen.admit(&format!("{number:08}")).unwrap());
            let Memory::Ordered { spill, .. } = &seen.memory else { panic!("a table at {number}") };
            assert!(spill.held.len() < HELD && spill.held.capacity() <= HELD, "{number}");
        }
        assert_eq!(seen.count(), 1_000_000);
        // At the first disorder every one of them is known.
        assert!(seen.admit("00999999x").unwrap());
        assert!(has_table(&seen));
        for number in 0..1_000_000 {
            assert!(!seen.admit(&format!("{number:08}")).unwrap(), "{number}");
        }
        assert_eq!(seen.count(), 1_000_001);
    }

    #[test]
    fn where_nothing_can_be_spilled_a_table_is_made() {
        let mut seen = Seen::new(RandomState::new());
        let Memory::Ordered { spill, .. } = &mut seen.memory else { unreachable!("it is new") };
        // A file that cannot be written to.
        spill.file = Some(File::open("/dev/null").unwrap());
        for number in 0..2 * HELD {
            assert!(seen.admit(&format!("{number:08}")).unwrap());
        }
        assert!(has_table(&seen));
        assert_eq!(seen.count(), 2 * HELD as u64);
        assert!((0..2 * HELD).all(|number| !seen.admit(&format!("{number:08}")).unwrap()));
    }
}
