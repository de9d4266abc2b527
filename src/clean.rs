//! Text from outside, made fit to show.
//!
//! Owns the one rule for which characters may reach a terminal, a log line, a
//! page or a hook (A14: escape sequences, C1 controls, marks that reorder or
//! hide text). What is unfit becomes U+FFFD, so that a reader sees that
//! something was there. JSON documents carry the raw text, escaped by their own
//! rules ([`crate::document`]). Pure.

use std::borrow::Cow;

/// The text on one line: also without tabs and line ends.
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
    replace(text, is_unfit)
}

/// The text with its line ends kept.
#[must_use]
pub fn text(text: &str) -> Cow<'_, str> {
    replace(text, |c| c != '\n' && is_unfit(c))
}

fn replace(text: &str, unfit: impl Fn(char) -> bool) -> Cow<'_, str> {
    if text.contains(&unfit) { Cow::Owned(text.replace(unfit, "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// Whether a character may change what a reader sees elsewhere, or cannot be seen itself.
#[must_use]
pub fn is_unfit(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}'       // soft hyphen, Arabic letter mark, Mongolian vowel separator
            | '\u{200b}'..='\u{200f}'               // zero width, left-to-right and right-to-left marks
            | '\u{2028}'..='\u{202e}'               // line and paragraph separators, embeddings, overrides
            | '\u{2060}'..='\u{206f}'               // word joiner, invisible operators, isolates
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'  // variation selectors, byte order mark
            | '\u{fff9}'..='\u{fffb}'               // interlinear annotation
            | '\u{e0000}'..='\u{e0fff}') // tags and further variation selectors
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_replaced() {
        let check = |given: &str, shown: &str| assert_eq!(line(given), shown, "{given:?}");
        check("plant-a äöü 漢字 →", "plant-a äöü 漢字 →");
        check("a\u{1b}[31mb", "a\u{fffd}[31mb");
        check("a\rb\u{8}c\u{7f}d", "a\u{fffd}b\u{fffd}c\u{fffd}d");
        check("a\u{9b}31m", "a\u{fffd}31m");
        check("exe.\u{202e}fdp", "exe.\u{fffd}fdp");
        check("\u{2066}a\u{2069}", "\u{fffd}a\u{fffd}");
        check("a\u{200b}b\u{feff}", "a\u{fffd}b\u{fffd}");
        check("a\nb\tc", "a\u{fffd}b\u{fffd}c");
        assert_eq!(text("a\nb\tc"), "a\nb\u{fffd}c");
    }

    proptest! {
        #[test]
        fn nothing_unfit_is_left(given in any::<String>()) {
            prop_assert!(!line(&given).contains(is_unfit));
            prop_assert!(line(&given).chars().all(|c| !c.is_control()));
            prop_assert!(text(&given).chars().all(|c| c == '\n' || !c.is_control()));
        }

        #[test]
        fn cleaning_twice_is_cleaning_once(given in any::<String>()) {
            let (one_line, lines) = (line(&given), text(&given));
            prop_assert_eq!(line(&one_line), one_line.clone());
            prop_assert_eq!(text(&lines), lines.clone());
        }
    }
}
