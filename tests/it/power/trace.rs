//! What a program did to the disk below a directory, as `strace` saw it.
//!
//! Calls that are not understood are refused and never overlooked. Shared
//! memory of the database engine is left out: it is made anew after a crash.

use std::{fs, path::Path};

use super::disk::Operation;

/// Every call that changes a file, and the beginning of a connection.
const CALLS: &str = "trace=open,openat,openat2,creat,write,pwrite64,writev,pwritev,pwritev2,lseek,truncate,ftruncate,\
    fallocate,fsync,fdatasync,sync_file_range,rename,renameat,renameat2,link,linkat,unlink,unlinkat,rmdir,mkdir,\
    mkdirat,symlink,symlinkat,chmod,fchmod,fchmodat,copy_file_range,sendfile,mmap,connect,exit_group";

/// The process ends a little later (microseconds): while it ends, the database engine's own thread still writes, and
/// would be ended in the middle of a call, of which nobody knows whether it was done.
const LATER: &str = "inject=exit_group:delay_enter=100000";

/// The arguments with which `strace` leaves its files as `into` and a number.
pub fn arguments(into: &Path) -> Vec<String> {
    // A file per thread, since its lines are whole; all text in hexadecimal; the path of every descriptor.
    let mut arguments: Vec<String> =
        ["strace", "-ff", "-ttt", "-y", "-xx", "-qq", "-s", "100000000"].map(str::to_owned).into();
    arguments.extend(["-e", "signal=none", "-e", CALLS, "-e", LATER, "-o"].map(str::to_owned));
    arguments.push(into.join("trace").to_str().unwrap().to_owned());
    arguments
}

/// What was done below `root`, in order, and the connections to `port`.
/// `None` if a thread was ended in the middle of a call: nobody knows whether
/// that was done.
pub fn read(from: &Path, root: &Path, port: u16) -> Option<Vec<Operation>> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(from).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        lines.extend(text.lines().map(str::to_owned));
    }
    // Every line begins with its time, of one width.
    lines.sort_by(|one, other| one[..17].cmp(&other[..17]));
    let reader = Reader { root, port: format!("htons({port})") };
    let ended_well = lines.iter().all(|line| reader.is_whole(line));
    ended_well.then(|| lines.iter().filter_map(|line| reader.operation(line)).collect())
}

struct Reader<'a> {
    root: &'a Path,
    port: String,
}

impl Reader<'_> {
    /// Whether a call came back, as far as it concerns us: of a thread that is
    /// ended in the middle of one, the result is missing or nonsense.
    fn is_whole(&self, line: &str) -> bool {
        let Some((call, result)) = line[18..].rsplit_once(" = ") else { return false };
        let root = self.root.as_os_str().as_encoded_bytes().iter();
        let root = root.fold(String::new(), |text, byte| text + &format!("\\x{byte:02x}"));
        let (name, arguments) = call.split_once('(').unwrap_or((call, ""));
        if !arguments.contains(&root) {
            return name != "???";
        }
        match name {
            "write" => arguments.trim_end().ends_with(&format!(", {result})")),
            "pwrite64" => arguments.contains(&format!(", {result}, ")),
            "lseek" | "mmap" => true,
            _ => result.starts_with("-1 ") || result.starts_with('0') || result.contains('<'),
        }
    }

    fn operation(&self, line: &str) -> Option<Operation> {
        let (_, call) = line.split_once(' ')?;
        let (name, rest) = call.split_once('(')?;
        let (arguments, result) = rest.rsplit_once(" = ")?;
        let arguments: Vec<&str> = arguments.trim_end().trim_end_matches(')').split(", ").collect();
        if name == "connect" {
            return arguments.iter().any(|argument| argument.contains(&self.port)).then_some(Operation::Connect);
        }
        if result.starts_with('-') || result.starts_with('?') {
            return None;
        }
        let number = |text: &str| text.parse::<usize>().unwrap_or_else(|_| panic!("{line}"));
        let octal = |text: &str| u32::from_str_radix(text, 8).unwrap_or_else(|_| panic!("{line}"));
        let named = |place: usize| self.below(&decoded(arguments[place])?);
        let at = |place: usize| self.below(&joined(arguments[place], arguments[place + 1])?);
        Some(match name {
            "open" | "openat" | "creat" => {
                let flags = arguments.iter().find(|argument| argument.starts_with("O_")).copied().unwrap_or_default();
                let make =
                    (name == "creat" || flags.contains("O_CREAT")).then(|| octal(arguments[arguments.len() - 1]));
                let path = self.opened(result)?;
                if flags.contains("O_DIRECTORY") {
                    return None;
                }
                Operation::Open { path, make, empty: name == "creat" || flags.contains("O_TRUNC") }
            }
            "write" => Operation::Write { path: self.opened(arguments[0])?, at: None, bytes: hex(arguments[1]) },
            "pwrite64" => {
                let (at, bytes) = (Some(number(arguments[3])), hex(arguments[1]));
                Operation::Write { path: self.opened(arguments[0])?, at, bytes }
            }
            "lseek" => Operation::Seek { path: self.opened(arguments[0])?, to: number(result) },
            "ftruncate" => Operation::Resize { path: self.opened(arguments[0])?, length: number(arguments[1]) },
            "fchmod" => Operation::Mode { path: self.opened(arguments[0])?, mode: octal(arguments[1]) },
            "chmod" => Operation::Mode { path: named(0)?, mode: octal(arguments[1]) },
            "fsync" | "fdatasync" => Operation::Sync { path: self.opened(arguments[0])? },
            "mkdir" => Operation::Folder { path: named(0)?, mode: octal(arguments[1]) },
            "mkdirat" => Operation::Folder { path: at(0)?, mode: octal(arguments[2]) },
            "symlink" => Operation::Link { path: named(1)?, to: decoded(arguments[0])? },
            "symlinkat" => Operation::Link { path: at(1)?, to: decoded(arguments[0])? },
            "link" => Operation::SecondName { of: named(0)?, path: named(1)? },
            "linkat" => Operation::SecondName { of: at(0)?, path: at(2)? },
            "rename" => Operation::Rename { from: named(0)?, to: named(1)? },
            "renameat" | "renameat2" => Operation::Rename { from: at(0)?, to: at(2)? },
            "unlink" | "rmdir" => Operation::Remove { path: named(0)? },
            "unlinkat" => Operation::Remove { path: at(0)? },
            "mmap" if !(call.contains("PROT_WRITE") && call.contains("MAP_SHARED")) => return None,
            _ => {
                let ours = arguments.iter().any(|argument| self.opened(argument).is_some());
                assert!(!ours, "a call that is not modelled: {line}");
                return None;
            }
        })
    }

    /// The path of a descriptor, if it is below the root.
    fn opened(&self, descriptor: &str) -> Option<String> {
        // A removed file has no place; whatever happens to it is lost.
        if descriptor.ends_with("(deleted)") {
            return None;
        }
        self.below(&decoded(descriptor.split_once('<')?.1.strip_suffix('>')?)?)
    }

    fn below(&self, path: &str) -> Option<String> {
        let rest = Path::new(path).strip_prefix(self.root).ok()?.to_str()?;
        (!rest.ends_with("-shm")).then(|| rest.to_owned())
    }
}

/// A name in the directory of a descriptor.
fn joined(folder: &str, name: &str) -> Option<String> {
    let folder = decoded(folder.split_once('<')?.1.trim_end_matches('>'))?;
    Some(Path::new(&folder).join(decoded(name)?).to_str()?.to_owned())
}

fn decoded(text: &str) -> Option<String> {
    String::from_utf8(hex(text)).ok()
}

fn hex(text: &str) -> Vec<u8> {
    let bytes = text.trim_matches('"').split("\\x").skip(1);
    bytes.map(|byte| u8::from_str_radix(byte, 16).unwrap_or_else(|_| panic!("not hexadecimal: {text}"))).collect()
}
