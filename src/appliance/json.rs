//! Bounds on JSON, judged on its bytes before any of it is decoded.

use super::limits;

/// Why bytes are not acceptable as a JSON reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unacceptable {
    #[error("it is not UTF-8")]
    NotUtf8,
    #[error("it is nested deeper than {} levels", limits::JSON_DEPTH)]
    TooDeep,
    #[error("it holds more than {} values", limits::JSON_ELEMENTS)]
    TooMany,
}

/// Reads once over `bytes`, without recursion and without building anything.
///
/// Counts values and levels as a JSON parser would meet them; whether the
/// text is JSON at all is left to the parser that follows.
pub(super) fn bounded(bytes: &[u8]) -> Result<&str, Unacceptable> {
    let text = std::str::from_utf8(bytes).map_err(|_| Unacceptable::NotUtf8)?;
    let (mut depth, mut values, mut in_string, mut escaped) = (0_usize, 1_usize, false, false);
    for byte in text.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                values += 1;
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' => values += 1,
            _ => {}
        }
        if depth > limits::JSON_DEPTH {
            return Err(Unacceptable::TooDeep);
        }
        if values > limits::JSON_ELEMENTS {
            return Err(Unacceptable::TooMany);
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds() {
        let check = |text: &str, expected: Result<(), Unacceptable>| {
            let start: String = text.chars().take(20).collect();
            assert_eq!(bounded(text.as_bytes()).map(|_| ()), expected, "{start}… ({} bytes)", text.len());
        };
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        check("{}", Ok(()));
        check(&nested(32), Ok(()));
        check(&nested(33), Err(Unacceptable::TooDeep));
        check(&nested(100_000), Err(Unacceptable::TooDeep));
        check(&"{\"a\":".repeat(100_000), Err(Unacceptable::TooDeep));
        check(&format!("[{}0]", "0,".repeat(199_990)), Ok(()));
        check(&format!("[{}0]", "0,".repeat(200_000)), Err(Unacceptable::TooMany));
        check(&format!("[{}[]]", "[],".repeat(100_000)), Err(Unacceptable::TooMany));
        // Brackets and commas inside strings are text.
        check(&format!("[\"{}\"]", "[,{\\\"".repeat(300_000)), Ok(()));
        check("[[]", Ok(()));
        assert_eq!(bounded(b"[\"\xff\"]"), Err(Unacceptable::NotUtf8));
        assert_eq!(bounded("\u{feff}{}".as_bytes()).map(str::len), Ok(5));
    }
}
