//! What the end of a child means.
//!
//! Owns the reading of the one JSON document that a child prints, which is
//! taken for what it may be: anything. Pure.

use serde::Deserialize;

use crate::{clean, document::SCHEMA, inventory::TaskFailure};

/// The most that is read of what a child prints.
pub const MOST_OUTPUT: usize = 4 * 1024 * 1024;

/// The characters of a message that are kept.
const MESSAGE_CHARS: usize = 1024;

/// The child was ended by a signal that was not ours, or could not be started.
pub const CRASHED: &str = "crashed";
/// The child took too long and was ended.
pub const HUNG: &str = "hung";
/// The child printed something else than its document.
pub const GARBLED: &str = "garbled";
/// The child said that all is well, and nothing has changed.
pub const NO_PROGRESS: &str = "no-progress";
/// Somebody else works on the site: nothing has failed.
pub const LOCKED: &str = "locked";
/// The configuration as the child has read it.
pub const CONFIG: &str = "config";
/// Nothing can be begun.
pub const HINDERED: &str = "hindered";
/// What a child cannot have told people of, or may not.
pub const SILENT: [&str; 5] = [CRASHED, HUNG, GARBLED, NO_PROGRESS, CONFIG];

/// What a child has done, and why it did not do more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What was changed or read, in the order of its document.
    pub done: Vec<Done>,
    /// Why it did not end well.
    pub failure: Option<TaskFailure>,
    /// It did not come as far as the robots, and told nobody of what lies ahead of them.
    pub whole: bool,
}

impl Outcome {
    /// Nothing was done, for this reason.
    #[must_use]
    pub fn failed(code: &str, message: impl AsRef<str>) -> Self {
        Self { done: Vec::new(), failure: Some(failure(code, message.as_ref())), whole: true }
    }
}

/// One thing that was done for a robot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// The robot, as the document names it.
    pub robot: String,
    /// What: a word of `results[].action`, or the stream that was read.
    pub what: String,
    /// The generation it has now, or how many records were read.
    pub number: Option<u64>,
}

/// The document of `rotate` and of `ingest`, as far as it is looked at.
#[derive(Deserialize)]
struct Document {
    schema: u32,
    #[serde(default)]
    results: Vec<Entry>,
    #[serde(default)]
    runs: Vec<Entry>,
    error: Option<Told>,
}

#[derive(Deserialize)]
struct Entry {
    robot: String,
    action: Option<String>,
    generation: Option<u64>,
    stream: Option<String>,
    records: Option<u64>,
    error: Option<Told>,
}

#[derive(Deserialize)]
struct Told {
    code: String,
    message: String,
    exit_code: i32,
}

/// What it means that a child ended by itself with `code` after printing `said`.
#[must_use]
pub fn understand(code: i32, said: &[u8]) -> Outcome {
    let document = match serde_json::from_slice::<Document>(said) {
        Ok(document) if document.schema == SCHEMA => document,
        Ok(Document { schema, .. }) => {
            return Outcome::failed(GARBLED, format!("it printed a document of schema {schema}, not {SCHEMA}"));
        }
        // The parser's own words would quote what was printed.
        Err(_) => {
            let length = said.len();
            return Outcome::failed(
                GARBLED,
                format!("it ended with exit code {code} and printed {length} bytes that are no document of ours"),
            );
        }
    };
    let Document { results, runs, error, .. } = document;
    let whole = error.is_some();
    let mut told: Vec<Told> = error.into_iter().collect();
    let mut done = Vec::new();
    for Entry { robot, action, generation, stream, records, error } in results.into_iter().chain(runs) {
        match (error, action, stream) {
            (Some(error), ..) => told.push(Told { message: format!("{robot}: {}", error.message), ..error }),
            (None, Some(action), _) if action == "unchanged" => {}
            (None, Some(action), _) => {
                done.push(Done { robot: one_line(&robot), what: one_line(&action), number: generation });
            }
            (None, None, Some(stream)) => {
                done.push(Done { robot: one_line(&robot), what: one_line(&stream), number: records });
            }
            (None, None, None) => {}
        }
    }
    // Its exit code is that of the worst.
    let worst = told.iter().position(|told| told.exit_code == code).unwrap_or(0);
    let failure = match (told.get(worst), code) {
        (Some(told), _) if is_word(&told.code) => Some(failure(&told.code, &told.message)),
        (Some(_), _) => Some(failure(GARBLED, "it printed an error whose code is no word of ours")),
        (None, 0) => None,
        (None, _) => Some(failure(GARBLED, &format!("it ended with exit code {code} and named no error"))),
    };
    Outcome { done, failure, whole }
}

fn failure(code: &str, message: &str) -> TaskFailure {
    TaskFailure { code: code.to_owned(), message: one_line(message) }
}

/// Codes become labels of metrics and words in tables.
fn is_word(code: &str) -> bool {
    (1..=32).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    clean::line(&words.join(" ")).chars().take(MESSAGE_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(code: i32, said: &str, done: &[(&str, &str, Option<u64>)], failed: Option<(&str, &str)>) {
        let outcome = understand(code, said.as_bytes());
        let found: Vec<_> =
            outcome.done.iter().map(|done| (done.robot.as_str(), done.what.as_str(), done.number)).collect();
        assert_eq!(found, done, "{said}");
        let failure = outcome.failure.as_ref().map(|failure| (failure.code.as_str(), failure.message.as_str()));
        assert_eq!(failure, failed, "{said}");
    }

    #[test]
    fn what_was_done_is_told() {
        check(0, r#"{"schema":1,"results":[]}"#, &[], None);
        check(
            0,
            r#"{"schema":1,"results":[{"robot":"a/b","action":"rotated","generation":3,"error":null,"exports":[{}]},
                {"robot":"a/c","action":"unchanged","generation":1,"error":null}],"warnings":["x"]}"#,
            &[("a/b", "rotated", Some(3))],
            None,
        );
        let run = r#"{"schema":1,"runs":[{"robot":"a/b","stream":"assets","records":20,"error":null}]}"#;
        check(0, run, &[("a/b", "assets", Some(20))], None);
    }

    #[test]
    fn the_worst_error_is_the_one_of_the_exit_code() {
        let two = r#"{"schema":1,"results":[
            {"robot":"a/b","action":"failed","error":{"code":"failed","message":"one","hint":null,"exit_code":1}},
            {"robot":"a/c","action":"failed","error":{"code":"person","message":"two","hint":null,"exit_code":12}},
            {"robot":"a/d","action":"rotated","generation":2,"error":null}]}"#;
        check(12, two, &[("a/d", "rotated", Some(2))], Some(("person", "a/c: two")));
        check(1, two, &[("a/d", "rotated", Some(2))], Some(("failed", "a/b: one")));
        let whole = r#"{"schema":1,"error":{"code":"locked","message":"held","hint":"wait","exit_code":10}}"#;
        check(10, whole, &[], Some(("locked", "held")));
        assert!(understand(10, whole.as_bytes()).whole && !understand(12, two.as_bytes()).whole);
        // An error is one also where the exit code says nothing of it.
        check(0, whole, &[], Some(("locked", "held")));
    }

    #[test]
    fn anything_else_is_garbled() {
        let garbled = |code: i32, said: &[u8]| {
            let outcome = understand(code, said);
            let failure = outcome.failure.unwrap();
            assert_eq!((failure.code.as_str(), outcome.done.len()), (GARBLED, 0), "{}", failure.message);
            assert!(failure.message.chars().count() <= MESSAGE_CHARS && !failure.message.contains('\n'));
        };
        garbled(1, br#"{"schema":1,"results":[]}"#);
        for said in [
            &b""[..],
            b"\0\xff\xfe",
            b"Segmentation fault",
            b"null",
            b"[]",
            b"{}",
            br#"{"schema":2,"results":[]}"#,
            br#"{"schema":"1","results":[]}"#,
            br#"{"schema":1e999,"results":[]}"#,
            br#"{"schema":1,"results":{}}"#,
            br#"{"schema":1,"results":[{}]}"#,
            br#"{"schema":1,"results":[{"robot":7}]}"#,
            br#"{"schema":1,"results":[{"robot":"a/b","generation":-1}]}"#,
            br#"{"schema":1,"results":[{"robot":"a/b","generation":18446744073709551616}]}"#,
            br#"{"schema":1,"results":[]} {"schema":1}"#,
            br#"{"schema":1,"results":[]"#,
            br#"{"schema":1,"error":{"code":"failed"}}"#,
            br#"{"schema":1,"error":{"code":"Failed\n","message":"x","exit_code":1}}"#,
            br#"{"schema":1,"error":{"code":"","message":"x","exit_code":1}}"#,
        ] {
            garbled(0, said);
        }
        garbled(0, "[".repeat(1_000_000).as_bytes());
        let deep = format!(r#"{{"schema":1,"results":{}"#, "[".repeat(1_000_000));
        garbled(0, deep.as_bytes());
    }

    #[test]
    fn a_message_is_one_short_line() {
        let long = "x".repeat(10_000);
        let said = format!(
            r#"{{"schema":1,"error":{{"code":"failed","message":"a\n\u001b[31m \u202e {long}","exit_code":1}}}}"#
        );
        let message = understand(1, said.as_bytes()).failure.unwrap().message;
        assert!(message.starts_with("a \u{fffd}[31m \u{fffd} xxx"), "{message}");
        assert_eq!(message.chars().count(), MESSAGE_CHARS);
    }

    #[test]
    fn unknown_fields_however_deep_are_passed_over() {
        let deep = format!(r#"{{"schema":1,"more":{}{},"results":[]}}"#, "[".repeat(100), "]".repeat(100));
        check(0, &deep, &[], None);
    }
}
