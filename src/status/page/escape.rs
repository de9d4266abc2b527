//! Text from outside, made fit for the page: the one way by which it gets there.

use std::fmt;

use crate::clean;

/// The most characters of one text that are shown; the JSON document has all of them.
const LONGEST: usize = 1_000;

/// Shows a text as data, between tags or inside a quoted attribute: cleaned
/// ([`clean::line`]), cut where it is too long to be read, and escaped.
pub(super) struct Text<'a>(pub(super) &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shown, cut) = cut(self.0);
        escape(shown, f)?;
        match cut {
            Some(all) => write!(f, "… ({all} characters in all)"),
            None => Ok(()),
        }
    }
}

/// Shows a text as [`Text`] between tags, with what stands in backticks as code.
pub(super) struct Prose<'a>(pub(super) &'a str);

impl fmt::Display for Prose<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shown, all) = cut(self.0);
        let mut rest = shown;
        while let Some((before, (code, after))) =
            rest.split_once('`').and_then(|(before, opened)| Some((before, opened.split_once('`')?)))
        {
            escape(before, f)?;
            f.write_str("<code>")?;
            escape(code, f)?;
            f.write_str("</code>")?;
            rest = after;
        }
        escape(rest, f)?;
        match all {
            Some(all) => write!(f, "… ({all} characters in all)"),
            None => Ok(()),
        }
    }
}

/// The part that is shown, and how many characters there are if that is not all.
fn cut(text: &str) -> (&str, Option<usize>) {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => (&text[..end], Some(text.chars().count())),
        None => (text, None),
    }
}

fn escape(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let text = clean::line(text);
    let mut rest = text.as_ref();
    while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
        let entity = match rest.as_bytes()[at] {
            b'&' => "&amp;",
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'"' => "&quot;",
            _ => "&#39;",
        };
        f.write_str(&rest[..at])?;
        f.write_str(entity)?;
        rest = &rest[at + 1..];
    }
    f.write_str(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_shown() {
        let check = |given: &str, shown: &str| assert_eq!(Text(given).to_string(), shown, "{given:?}");
        check("plant-a/lucidum", "plant-a/lucidum");
        check("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;");
        check("\" onload='x' &amp;", "&quot; onload=&#39;x&#39; &amp;amp;");
        check("</style>", "&lt;/style&gt;");
        check("a\0b\u{202e}c\nd", "a\u{fffd}b\u{fffd}c\u{fffd}d");
        check("ä 漢字 🤖", "ä 漢字 🤖");
        check("`a`", "`a`");
    }

    #[test]
    fn what_stands_in_backticks_is_code() {
        let check = |given: &str, shown: &str| assert_eq!(Prose(given).to_string(), shown, "{given:?}");
        check("run `robocred rotate a/b` again", "run <code>robocred rotate a/b</code> again");
        check("`<b>` and `</code>`", "<code>&lt;b&gt;</code> and <code>&lt;/code&gt;</code>");
        check("one ` alone", "one ` alone");
        check("`a` and ` alone", "<code>a</code> and ` alone");
        check("", "");
    }

    #[test]
    fn what_is_too_long_is_cut_and_says_so() {
        let long = "é<".repeat(50_000);
        for shown in [Text(&long).to_string(), Prose(&long).to_string()] {
            assert!(shown.len() < 10_000, "{}", shown.len());
            assert!(shown.ends_with("é&lt;… (100000 characters in all)"), "{}", &shown[shown.len() - 60..]);
        }
        let just = "a".repeat(LONGEST);
        assert_eq!(Text(&just).to_string(), just);
    }

    fn unescaped(text: &str) -> String {
        let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'");
        text.replace("&amp;", "&")
    }

    proptest! {
        #[test]
        fn data_stays_data(given in "[\\PC\\x00<>&\"'`\u{202e}]{0,300}") {
            let shown = Text(&given).to_string();
            prop_assert!(!shown.contains(['<', '>', '"', '\'']), "{}", shown);
            prop_assert_eq!(unescaped(&shown), clean::line(&given));
            let prose = Prose(&given).to_string().replace("<code>", "`").replace("</code>", "`");
            prop_assert!(!prose.contains(['<', '>', '"', '\'']), "{}", prose);
            prop_assert_eq!(unescaped(&prose), clean::line(&given));
        }
    }
}
