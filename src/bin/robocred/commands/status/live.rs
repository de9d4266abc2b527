//! `status --watch`: the table on a terminal, drawn anew until Ctrl-C.
//!
//! Owns the screen while it is there and gives it back as it was, also after a
//! panic. What is shown is read only where files have changed (`watch::board`).

use std::{
    env,
    fmt::Write as _,
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use robocred::{
    clock::rfc3339,
    config::Config,
    watch::board::{Board, View},
};

use super::{
    ahead, columns, size,
    table::{self, Look},
};
use crate::{
    Outcome,
    commands::{block_on, interruption},
    error::CommandError,
    invocation::Invocation,
    opened::{now, paths},
    output::style::{self, paint},
};

pub fn run(invocation: &Invocation, every: Duration, forecast: Option<i64>) -> Outcome {
    if invocation.output.is_json() {
        return Err(CommandError::usage("--watch and --json do not go together").hint("`watch --listen` serves it"));
    }
    if !io::stdout().is_terminal() || env::var_os("TERM").is_some_and(|term| term == "dumb") {
        return Err(CommandError::usage("--watch needs a terminal that can be drawn on")
            .hint("for a file or a pipe run `status`, with --html or --prometheus where another program reads it"));
    }
    let paths = paths(invocation)?;
    let board = Board::new(Config::load(&paths)?, paths.state_dir);
    block_on(async {
        let interrupted = interruption()?;
        tokio::pin!(interrupted);
        let screen = Screen::enter().map_err(|error| CommandError::standard_output(&error))?;
        loop {
            let view = board.view().await;
            screen.draw(&text(&view, every, forecast)).map_err(|error| CommandError::standard_output(&error))?;
            tokio::select! {
                () = &mut interrupted => return Ok(None),
                () = tokio::time::sleep(every) => {}
            }
        }
    })?
}

/// What is on the screen: as many lines as there is room for, and how it ends.
fn text(view: &View, every: Duration, forecast: Option<i64>) -> Vec<u8> {
    let report = view.report(now());
    let mut body = view.document(&report);
    body.forecast = ahead(&report, forecast);
    let mut text = Vec::new();
    // Memory takes what is written to it.
    let _ = table::show(&body, Look { at: report.at, columns: columns() }, &mut text);
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let room = size().map_or(24, |(_, rows)| rows).saturating_sub(2);
    let shown = if lines.len() <= room { lines.len() } else { room.saturating_sub(1) };
    let mut screen = String::from("\x1b[H");
    for line in &lines[..shown] {
        screen.push_str(line);
        screen.push_str("\x1b[K\n");
    }
    if shown < lines.len() {
        let _ = writeln!(screen, "… and {} lines more\x1b[K", lines.len() - shown);
    }
    let foot = format!("{}, every {} s; Ctrl-C ends", rfc3339(report.at), every.as_secs());
    let _ = write!(screen, "{}\x1b[K\x1b[J", paint(style::DIM, foot));
    screen.into_bytes()
}

/// The terminal's other screen, without a cursor and with lines that do not wrap.
struct Screen;

impl Screen {
    fn enter() -> io::Result<Self> {
        put(b"\x1b[?1049h\x1b[?25l\x1b[?7l")?;
        Ok(Self)
    }

    /// With the colours that are wanted, and whatever moves the cursor.
    #[allow(clippy::unused_self, reason = "nothing is drawn but on the other screen")]
    fn draw(&self, text: &[u8]) -> io::Result<()> {
        if anstream::stdout().current_choice() == anstream::ColorChoice::Never {
            return put(&without_colours(text));
        }
        put(text)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let _ = put(b"\x1b[?7h\x1b[?25h\x1b[?1049l");
    }
}

/// Takes away only what ends in `m`: the cursor is still moved.
fn without_colours(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.windows(2).position(|pair| pair == b"\x1b[") {
        let length = rest[at + 2..].iter().position(u8::is_ascii_alphabetic).map_or(rest.len() - at, |end| end + 3);
        plain.extend_from_slice(&rest[..at]);
        let sequence = &rest[at..at + length];
        if sequence.last() != Some(&b'm') {
            plain.extend_from_slice(sequence);
        }
        rest = &rest[at + length..];
    }
    plain.extend_from_slice(rest);
    plain
}

fn put(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_go_and_the_cursor_still_moves() {
        let check = |given: &str, plain: &str| assert_eq!(without_colours(given.as_bytes()), plain.as_bytes());
        check("\x1b[Ha\x1b[31mb\x1b[0m\x1b[K\nc\x1b[J", "\x1b[Hab\x1b[K\nc\x1b[J");
        check("plain · text", "plain · text");
        check("cut\x1b[3", "cut\x1b[3");
    }
}
