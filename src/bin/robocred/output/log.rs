//! The log: what happened on the way, on standard error.
//!
//! Warnings by default, more with each `-v`, errors only with `-q`. Every line
//! passes [`clean`](super::clean) before it reaches the terminal; in a JSON log
//! the replacement character is as valid as what it replaces.

use std::io::{self, Write};

use tracing::level_filters::LevelFilter;

use super::clean;
use crate::cli::LogFormat;

/// Begins to log; once in a process, later calls change nothing.
pub fn begin(format: LogFormat, verbose: u8, quiet: bool) {
    let level = match (quiet, verbose) {
        (true, _) => LevelFilter::ERROR,
        (false, 0) => LevelFilter::WARN,
        (false, 1) => LevelFilter::INFO,
        (false, 2) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    };
    let log = tracing_subscriber::fmt().with_max_level(level).with_ansi(false).with_writer(|| Cleaned(io::stderr()));
    // An error means that a log was begun before, which is then the one in use.
    let _ = match format {
        LogFormat::Text => tracing::subscriber::set_global_default(log.compact().finish()),
        LogFormat::Json => tracing::subscriber::set_global_default(log.json().flatten_event(true).finish()),
    };
}

/// Cleans what is written through it. The log writes whole events, so that no
/// character is cut in two.
struct Cleaned<W>(W);

impl<W: Write> Write for Cleaned<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        self.0.write_all(clean::text(&text).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let mut written = Vec::new();
        Cleaned(&mut written).write_all("name=\u{1b}]52;c;x\u{7}\u{9b}31m\n".as_bytes()).unwrap();
        assert_eq!(String::from_utf8(written).unwrap(), "name=\u{fffd}]52;c;x\u{fffd}\u{fffd}31m\n");
    }
}
