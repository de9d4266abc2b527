//! One typed line that the terminal does not show.
//!
//! Owns the terminal's mode while the line is typed: silent before the question
//! appears, since a pasted answer comes at once, and as it was before however
//! the line ends, an interruption included. The line lies in one buffer that
//! never grows and is wiped when it is dropped. Signals other than that of the
//! keyboard's own Ctrl-C are not caught.

use std::{
    fs::File,
    io::{self, Read, Write as _},
};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

const INTERRUPT: u8 = 0x03;
const END: u8 = 0x04;
const BACKSPACE: u8 = 0x08;
const ERASE_LINE: u8 = 0x15;
const DELETE: u8 = 0x7f;

/// Asks on the terminal of this process and reads one line of at most `longest`
/// bytes; of a longer one it returns one byte more, so that it can be refused.
pub fn line(question: &str, longest: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let silent = Silent::begin()?;
    let mut terminal = &silent.terminal;
    terminal.write_all(question.as_bytes())?;
    let typed = read(terminal, longest);
    terminal.write_all(b"\n")?;
    typed
}

#[allow(clippy::unbuffered_bytes, reason = "a buffer would keep a copy of what was typed")]
fn read(keys: impl Read, longest: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut typed = Zeroizing::new(Vec::with_capacity(longest + 1));
    for key in keys.bytes() {
        match key? {
            b'\r' | b'\n' => return Ok(typed),
            INTERRUPT => return Err(io::Error::other("interrupted")),
            END if typed.is_empty() => break,
            BACKSPACE | DELETE => drop(typed.pop()),
            ERASE_LINE => typed.clear(),
            key if typed.len() <= longest => typed.push(key),
            _ => {}
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

/// A terminal that shows nothing and hands over each key, until this is dropped.
struct Silent {
    terminal: File,
    before: Termios,
}

impl Silent {
    fn begin() -> io::Result<Self> {
        let terminal = File::options().read(true).write(true).open("/dev/tty")?;
        let before = tcgetattr(&terminal)?;
        let mut silent = before.clone();
        // Line by line a terminal takes 4095 bytes; and its Ctrl-C would end us before it can be restored.
        silent.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG);
        silent.special_codes[SpecialCodeIndex::VMIN] = 1;
        silent.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&terminal, OptionalActions::Now, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring.
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_make_a_line() {
        let check = |keys: &[u8], expected: Option<&[u8]>| {
            assert_eq!(read(keys, 8).ok().as_ref().map(|typed| typed.as_slice()), expected, "{keys:?}");
        };
        check(b"abc\r", Some(b"abc"));
        check(b"abc\nd\n", Some(b"abc"));
        check(b"\r", Some(b""));
        check(b"ab\x7fc\x08\x08\x08d\r", Some(b"d"));
        check(b"abc\x15de\r", Some(b"de"));
        check(b"a\x04b\r", Some(b"a\x04b"));
        check(b"123456789abc\r", Some(b"123456789"));
        check(b"\x04", None);
        check(b"abc\x03", None);
        check(b"abc", None);
    }
}
