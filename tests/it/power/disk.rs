//! What a disk holds after a power loss: everything that was synced, and of
//! the rest whatever a [`Kept`] says.
//!
//! The model is stricter than most file systems: a file's bytes are durable
//! after a sync of the file, a name only after a sync of its directory, and
//! directories do not wait for each other.

use std::{
    collections::{BTreeMap, HashMap},
    fmt, fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use crate::seed::Seed;

/// What a program did to the disk. Paths are relative to the root; `""` is the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A file was opened; made with this mode if it was not there.
    Open {
        path: String,
        make: Option<u32>,
        empty: bool,
    },
    /// Bytes were written, at an offset or where the last write ended.
    Write {
        path: String,
        at: Option<usize>,
        bytes: Vec<u8>,
    },
    Seek {
        path: String,
        to: usize,
    },
    Resize {
        path: String,
        length: usize,
    },
    Mode {
        path: String,
        mode: u32,
    },
    Folder {
        path: String,
        mode: u32,
    },
    Link {
        path: String,
        to: String,
    },
    SecondName {
        of: String,
        path: String,
    },
    Rename {
        from: String,
        to: String,
    },
    Remove {
        path: String,
    },
    /// A file or a directory was synced.
    Sync {
        path: String,
    },
    /// A connection to the appliance was begun.
    Connect,
}

impl Operation {
    /// Whether it changes the disk, syncs it, or connects.
    pub fn is_a_moment(&self) -> bool {
        match self {
            Self::Open { make, empty, .. } => make.is_some() || *empty,
            Self::Seek { .. } | Self::Mode { .. } => false,
            _ => true,
        }
    }
}

/// What survives of the changes after the last sync of a file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    All,
    Nothing,
    /// The first ones, the last of them torn between two sectors.
    First,
    /// Each or not, some torn between two sectors.
    Some,
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "all",
            Self::Nothing => "nothing",
            Self::First => "first",
            Self::Some => "some",
        })
    }
}

const SECTOR: usize = 512;

#[derive(Clone)]
enum Node {
    File { mode: u32, synced: Vec<u8>, since: Vec<Change>, cursor: usize },
    Folder { mode: u32, synced: Names, since: Vec<Renaming> },
    Link(String),
}

type Names = BTreeMap<String, usize>;

#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Resize(usize),
}

#[derive(Clone)]
enum Renaming {
    Add(String, usize),
    Remove(String),
    Move(String, String, usize),
}

/// The model; node 0 is the root.
#[derive(Clone)]
pub struct Disk(Vec<Node>);

impl Disk {
    /// What is below `root`, all of it synced.
    pub fn of(root: &Path) -> Self {
        let mut disk = Self(Vec::new());
        disk.read(root);
        disk
    }

    fn read(&mut self, path: &Path) -> usize {
        let found = path.symlink_metadata().unwrap();
        let mode = found.permissions().mode() & 0o7777;
        let number = self.0.len();
        if found.is_dir() {
            self.0.push(Node::Folder { mode, synced: Names::new(), since: Vec::new() });
            let mut names = Names::new();
            for entry in fs::read_dir(path).unwrap() {
                let entry = entry.unwrap();
                names.insert(entry.file_name().into_string().unwrap(), self.read(&entry.path()));
            }
            self.0[number] = Node::Folder { mode, synced: names, since: Vec::new() };
        } else if found.is_symlink() {
            self.0.push(Node::Link(fs::read_link(path).unwrap().to_str().unwrap().to_owned()));
        } else {
            self.0.push(Node::File { mode, synced: fs::read(path).unwrap(), since: Vec::new(), cursor: 0 });
        }
        number
    }

    /// Does everything that the program did.
    pub fn follow(&mut self, operations: &[Operation]) {
        for operation in operations {
            self.apply(operation);
        }
    }

    fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Connect => {}
            Operation::Open { path, make, empty } => {
                if self.find(path).is_none() {
                    let mode = make.unwrap_or_else(|| panic!("{path} was opened, and never made"));
                    self.add(path, Node::File { mode, synced: Vec::new(), since: Vec::new(), cursor: 0 });
                }
                if let Node::File { since, cursor, .. } = self.node(path) {
                    *cursor = 0;
                    if *empty {
                        since.push(Change::Resize(0));
                    }
                }
            }
            Operation::Write { path, at, bytes } => {
                let (since, cursor) = self.file(path);
                let begin = at.unwrap_or(*cursor);
                if at.is_none() {
                    *cursor += bytes.len();
                }
                since.push(Change::Write(begin, bytes.clone()));
            }
            Operation::Seek { path, to } => *self.file(path).1 = *to,
            Operation::Resize { path, length } => self.file(path).0.push(Change::Resize(*length)),
            Operation::Mode { path, mode: new } => match self.node(path) {
                Node::File { mode, .. } | Node::Folder { mode, .. } => *mode = *new,
                Node::Link(_) => panic!("{path} is a link"),
            },
            Operation::Folder { path, mode } => {
                self.add(path, Node::Folder { mode: *mode, synced: Names::new(), since: Vec::new() });
            }
            Operation::Link { path, to } => self.add(path, Node::Link(to.clone())),
            Operation::SecondName { of, path } => {
                let (number, (folder, name)) = (self.find(of).unwrap(), split(path));
                self.folder(folder).push(Renaming::Add(name.to_owned(), number));
            }
            Operation::Rename { from, to } => {
                let (number, (folder, old), (other, new)) = (self.find(from).unwrap(), split(from), split(to));
                assert_eq!(folder, other, "a move between directories is not modelled");
                self.folder(folder).push(Renaming::Move(old.to_owned(), new.to_owned(), number));
            }
            Operation::Remove { path } => {
                let (folder, name) = split(path);
                self.folder(folder).push(Renaming::Remove(name.to_owned()));
            }
            Operation::Sync { path } => match self.node(path) {
                Node::File { synced, since, .. } => since.drain(..).for_each(|change| change.apply(synced)),
                Node::Folder { synced, since, .. } => since.drain(..).for_each(|renaming| renaming.apply(synced)),
                Node::Link(_) => panic!("{path} is a link"),
            },
        }
    }

    fn find(&self, path: &str) -> Option<usize> {
        path.split('/').filter(|part| !part.is_empty()).try_fold(0, |number, name| match &self.0[number] {
            Node::Folder { synced, since, .. } => {
                let mut names = synced.clone();
                since.iter().cloned().for_each(|renaming| renaming.apply(&mut names));
                names.get(name).copied()
            }
            _ => None,
        })
    }

    fn node(&mut self, path: &str) -> &mut Node {
        let number = self.find(path).unwrap_or_else(|| panic!("{path:?} is not there"));
        &mut self.0[number]
    }

    fn file(&mut self, path: &str) -> (&mut Vec<Change>, &mut usize) {
        match self.node(path) {
            Node::File { since, cursor, .. } => (since, cursor),
            _ => panic!("{path} is not a file"),
        }
    }

    fn folder(&mut self, path: &str) -> &mut Vec<Renaming> {
        match self.node(path) {
            Node::Folder { since, .. } => since,
            _ => panic!("{path} is not a directory"),
        }
    }

    fn add(&mut self, path: &str, node: Node) {
        let number = self.0.len();
        self.0.push(node);
        let (folder, name) = split(path);
        self.folder(folder).push(Renaming::Add(name.to_owned(), number));
    }

    /// Makes `root`, an empty directory, what is found after a power loss now.
    pub fn survivors(&self, kept: Kept, seed: &mut Seed, root: &Path) {
        let survived: Vec<Node> = self.0.iter().map(|node| node.survivor(kept, seed)).collect();
        place(&survived, 0, root, &mut HashMap::new());
    }
}

/// Writes a node and everything below it; a second name of a file is one.
fn place(nodes: &[Node], number: usize, path: &Path, placed: &mut HashMap<usize, PathBuf>) {
    match &nodes[number] {
        Node::Link(to) => symlink(to, path).unwrap(),
        Node::File { mode, synced, .. } => {
            if let Some(first) = placed.get(&number) {
                return fs::hard_link(first, path).unwrap();
            }
            fs::write(path, synced).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(*mode)).unwrap();
            placed.insert(number, path.to_owned());
        }
        Node::Folder { mode, synced, .. } => {
            if !path.exists() {
                fs::create_dir(path).unwrap();
            }
            for (name, number) in synced {
                place(nodes, *number, &path.join(name), placed);
            }
            fs::set_permissions(path, fs::Permissions::from_mode(*mode)).unwrap();
        }
    }
}

impl Node {
    fn survivor(&self, kept: Kept, seed: &mut Seed) -> Self {
        let mut left = self.clone();
        match &mut left {
            Self::File { synced, since, .. } => {
                let first = seed.below(since.len() + 1);
                for (place, change) in since.drain(..).enumerate() {
                    let survives = match kept {
                        Kept::All => Some(change),
                        Kept::Nothing => None,
                        Kept::First if place < first => Some(change),
                        Kept::First => (place == first).then(|| change.torn(seed)),
                        Kept::Some if seed.coin() => Some(change),
                        Kept::Some => seed.coin().then(|| change.torn(seed)),
                    };
                    if let Some(change) = survives {
                        change.apply(synced);
                    }
                }
            }
            Self::Folder { synced, since, .. } => {
                let first = seed.below(since.len() + 1);
                for (place, renaming) in since.drain(..).enumerate() {
                    let survives = match kept {
                        Kept::All => true,
                        Kept::Nothing => false,
                        Kept::First => place < first,
                        Kept::Some => seed.coin(),
                    };
                    if survives {
                        renaming.apply(synced);
                    }
                }
            }
            Self::Link(_) => {}
        }
        left
    }
}

impl Change {
    fn apply(self, content: &mut Vec<u8>) {
        match self {
            Self::Resize(length) => content.resize(length, 0),
            Self::Write(at, bytes) => {
                if content.len() < at + bytes.len() {
                    content.resize(at + bytes.len(), 0);
                }
                content[at..at + bytes.len()].copy_from_slice(&bytes);
            }
        }
    }

    /// The part of a write before one of the sectors it touches; a new length is set or it is not.
    fn torn(self, seed: &mut Seed) -> Self {
        match self {
            Self::Write(at, mut bytes) => {
                let sectors = (at + bytes.len()) / SECTOR - at / SECTOR;
                let end = (at / SECTOR + seed.below(sectors + 1)) * SECTOR;
                bytes.truncate(end.saturating_sub(at));
                Self::Write(at, bytes)
            }
            whole @ Self::Resize(_) => whole,
        }
    }
}

impl Renaming {
    fn apply(self, names: &mut Names) {
        match self {
            Self::Add(name, number) => drop(names.insert(name, number)),
            Self::Remove(name) => drop(names.remove(&name)),
            Self::Move(from, to, number) => {
                if names.get(&from) == Some(&number) {
                    names.remove(&from);
                }
                names.insert(to, number);
            }
        }
    }
}

/// The directory and the name in it.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}
