//! Tables without lines: a heading, columns wide enough, two spaces between
//! them. Text from outside is cleaned here.

use clap::builder::styling::{AnsiColor, Style};
use comfy_table::{Cell, CellAlignment, Color, ContentArrangement, Table, presets};

use super::clean;

/// A cell in the terminal's own colour.
pub fn plain(text: impl AsRef<str>) -> Cell {
    Cell::new(clean::line(text.as_ref()))
}

/// A cell whose text is a number.
pub fn number(text: impl AsRef<str>) -> Cell {
    plain(text).set_alignment(CellAlignment::Right)
}

/// A cell in the colour of `style`.
pub fn painted(style: Style, text: impl AsRef<str>) -> Cell {
    let color = match style.get_fg_color() {
        Some(color) if color == AnsiColor::Green.into() => Color::DarkGreen,
        Some(color) if color == AnsiColor::Yellow.into() => Color::DarkYellow,
        Some(color) if color == AnsiColor::Red.into() => Color::DarkRed,
        _ => return plain(text),
    };
    plain(text).fg(color)
}

/// The table as lines, each ended, none with spaces at its end.
pub fn render(headings: &[&str], rows: impl IntoIterator<Item = Vec<Cell>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(headings);
    table.add_rows(rows);
    // Whether colours are wanted is decided where the text is written.
    table.enforce_styling();
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::style;

    #[test]
    fn columns_are_aligned_and_text_from_outside_is_clean() {
        let rows = [
            vec![plain("plant-a/lucidum"), number("7"), plain("active")],
            vec![plain("b/\u{1b}[2Jx"), number("241"), plain("absent")],
        ];
        assert_eq!(
            render(&["robot", "days", "state"], rows),
            "robot            days  state\nplant-a/lucidum     7  active\nb/\u{fffd}[2Jx           241  absent\n"
        );
    }

    #[test]
    fn colours_do_not_widen_a_column() {
        let table = render(&["state", "x"], [vec![painted(style::BAD, "failed"), plain("y")]]);
        assert_eq!(anstream::adapter::strip_str(&table).to_string(), "state   x\nfailed  y\n");
        assert!(table.contains("\u{1b}["), "{table:?}");
    }
}
