//! The few colours, each with one meaning. `anstream` takes them away where
//! the reader is no terminal or wants none.

use clap::builder::styling::{AnsiColor, Style};

/// Works, done.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// Wants attention.
pub const FAIR: Style = AnsiColor::Yellow.on_default();
/// Failed.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// Of less weight.
pub const DIM: Style = Style::new().dimmed();
/// A heading.
pub const BOLD: Style = Style::new().bold();

/// The text in this style.
pub fn paint(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}
