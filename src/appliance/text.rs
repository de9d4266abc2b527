//! An appliance's own words, made fit to show.

use super::{limits, token::SupportToken};

/// At most 256 characters of `bytes` on one line: no control characters, no
/// invisible or direction-changing ones, and `[token]` where the token was
/// echoed. `None` if nothing is left.
pub(super) fn shown(bytes: &[u8], token: Option<&SupportToken>) -> Option<String> {
    let mut clean = String::new();
    for c in String::from_utf8_lossy(bytes).chars() {
        if c.is_control() || c.is_whitespace() {
            if !clean.is_empty() && !clean.ends_with(' ') {
                clean.push(' ');
            }
        } else if !is_invisible(c) {
            clean.push(c);
        }
    }
    // After the cleaning, which could have joined its parts, and before the
    // cut, which could have left a part of it.
    if let Some(token) = token {
        clean = token.redacted(&clean);
    }
    let shown: String = clean.trim_end().chars().take(limits::SHOWN_CHARS).collect();
    (!shown.is_empty()).then_some(shown)
}

/// Zero-width and bidirectional controls, and the other format characters that
/// make a line read differently from what it says.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> SupportToken {
        SupportToken::parse(text.as_bytes().to_vec().into()).unwrap()
    }

    #[test]
    fn only_clean_characters_are_kept() {
        let check = |bytes: &[u8], expected: Option<&str>| assert_eq!(shown(bytes, None).as_deref(), expected);
        check(b"", None);
        check(b" \r\n\x1b", None);
        check(b"  bad\r\n role\x1b[31m!\x00 ", Some("bad role [31m!"));
        check("a\u{202e}b\u{200b}c\u{9b}d".as_bytes(), Some("abc d"));
        check(b"\xff\xfe", Some("\u{fffd}\u{fffd}"));
        assert_eq!(shown("ä".repeat(300).as_bytes(), None).unwrap().chars().count(), 256);
    }

    #[test]
    fn an_echoed_token_is_never_shown() {
        let secret = "s3cr/t-token";
        let check = |body: &str| {
            let shown = shown(body.as_bytes(), Some(&token(secret))).unwrap();
            assert!(!shown.contains("s3cr"), "{shown:?}");
        };
        check("no such token: s3cr/t-token");
        check(r#"{"error":"Bearer s3cr\/t-token"}"#);
        check("s3cr\u{200b}/t-token");
        check(&format!("{}s3cr/t-token", "x".repeat(250)));
        check(&"s3cr/t-token".repeat(100));
    }
}
