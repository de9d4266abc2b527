//! What a hook said: as much as is kept, fit to be shown and stored.

use super::MOST_OUTPUT;
use crate::clean;

/// The end of a hook's output.
#[derive(Debug, Default)]
pub(super) struct Said {
    bytes: Vec<u8>,
    cut: bool,
}

impl Said {
    /// More of it.
    pub(super) fn push(&mut self, more: &[u8]) {
        self.bytes.extend_from_slice(more);
        // Not every time: what is kept would be moved for every piece.
        if self.bytes.len() >= 2 * MOST_OUTPUT {
            self.cut();
        }
    }

    /// All that is kept, as lines; "…" stands for a lost beginning.
    pub(super) fn text(mut self) -> String {
        self.cut();
        let mut bytes = &self.bytes[..];
        while let (true, [0x80..=0xbf, rest @ ..]) = (self.cut, bytes) {
            bytes = rest;
        }
        let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n").replace('\r', "\n");
        let lines: Vec<String> =
            text.trim_end().lines().map(|line| clean::line(&line.trim_end().replace('\t', " ")).into_owned()).collect();
        format!("{}{}", if self.cut { "…" } else { "" }, lines.join("\n"))
    }

    fn cut(&mut self) {
        let over = self.bytes.len().saturating_sub(MOST_OUTPUT);
        if over > 0 {
            self.bytes.drain(..over);
            self.cut = true;
        }
    }
}

/// The first `most` characters of `text`, on one line.
pub(super) fn line(text: &str, most: usize) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    clean::line(&words.join(" ")).chars().take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(pieces: &[&[u8]]) -> String {
        let mut said = Said::default();
        for piece in pieces {
            said.push(piece);
        }
        said.text()
    }

    #[test]
    fn lines_are_kept_and_nothing_else_that_a_terminal_obeys() {
        let check = |bytes: &[u8], shown: &str| assert_eq!(said(&[bytes]), shown, "{bytes:?}");
        check(b"", "");
        check(b"\n\n", "");
        check(b"one\ntwo  \r\n\tthree\n", "one\ntwo\n three");
        check(b"10%\r20%\r\n", "10%\n20%");
        check(b"\x1b[31mred\x1b]0;title\x07", "\u{fffd}[31mred\u{fffd}]0;title\u{fffd}");
        check("exe.\u{202e}fdp \u{9b}31m\0".as_bytes(), "exe.\u{fffd}fdp \u{fffd}31m\u{fffd}");
        check(b"\x80a\xff", "\u{fffd}a\u{fffd}");
    }

    #[test]
    fn the_end_is_kept() {
        let check = |pieces: &[&[u8]], shown: &str| assert!(said(pieces) == shown);
        let full = vec![b'x'; MOST_OUTPUT];
        let tail = "x".repeat(MOST_OUTPUT - 3);
        check(&[&full], &"x".repeat(MOST_OUTPUT));
        check(&[&full, b"end"], &format!("…{tail}end"));
        check(&[&full, &full, &full, b"end"], &format!("…{tail}end"));
        // The cut falls inside of "ä".
        check(&["ä".as_bytes(), &full[1..]], &format!("…{}", "x".repeat(MOST_OUTPUT - 1)));
    }

    #[test]
    fn a_message_is_one_line() {
        let check = |text: &str, shown: &str| assert_eq!(line(text, 9), shown, "{text:?}");
        check(" a\n\tb\r\nc ", "a b c");
        check("a\0b\u{1b}c", "a\u{fffd}b\u{fffd}c");
        check("0123456789", "012345678");
        check("ääääääääää", "äääääääää");
    }
}
