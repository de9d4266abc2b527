//! Reading values out of the parsed file, each with its place, so that every
//! problem is found in one pass.
//!
//! A deserializer would stop at the first problem; this walks the document
//! and notes each. A value that is missing and one that was noted as wrong
//! both come back as `None`: the notes decide in the end.

use std::{
    cell::RefCell,
    fmt::Display,
    ops::Range,
    path::{Path, PathBuf},
    str::FromStr,
};

use toml_edit::{Document, Item, Key, Table, TableLike};

use super::{Problem, problem::Place};

/// One text being read, and what was found wrong with it so far.
pub(super) struct Sheet<'t> {
    text: &'t str,
    problems: RefCell<Vec<Problem>>,
}

impl<'t> Sheet<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, problems: RefCell::default() }
    }

    /// The parsed text; every error of syntax is noted.
    pub(super) fn parse(&self) -> Option<Document<&'t str>> {
        Document::parse(self.text)
            .map_err(|first| {
                // Only the messages: the error's own text would repeat the line, whatever stands in it.
                let (_, all) = toml::de::DeTable::parse_recoverable(self.text);
                for error in &all {
                    self.syntax(error.message(), error.span());
                }
                if all.is_empty() {
                    self.syntax(first.message(), first.span());
                }
            })
            .ok()
    }

    fn syntax(&self, message: &str, span: Option<Range<usize>>) {
        let message = format!("not TOML: {}", message.trim().replace('\n', ", "));
        self.note(String::new(), span, message, Some("see https://toml.io for how it is written"));
    }

    fn note(&self, key: String, span: Option<Range<usize>>, message: impl Into<String>, hint: Option<&str>) {
        let place = span.map(|span| Place::of(self.text, span.start));
        let hint = hint.map(str::to_owned);
        self.problems.borrow_mut().push(Problem { key, place, message: message.into(), hint });
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }
}

/// One table of the file.
pub(super) struct Section<'d> {
    sheet: &'d Sheet<'d>,
    path: String,
    span: Option<Range<usize>>,
    table: &'d dyn TableLike,
}

impl<'d> Section<'d> {
    /// The whole file.
    pub(super) fn root(sheet: &'d Sheet<'d>, table: &'d Table) -> Self {
        Self { sheet, path: String::new(), span: None, table }
    }

    /// Notes every key that is not among `known`.
    pub(super) fn only(&self, known: &[&str]) {
        for (name, _) in self.table.iter().filter(|(name, _)| !known.contains(name)) {
            let hint = match closest(name, known) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("known here: {}", known.join(", ")),
            };
            self.wrong(name, "there is no such key", &hint);
        }
    }

    /// Notes a problem with the key `name` of this table, whether it is there or not.
    pub(super) fn wrong(&self, name: &str, message: impl Into<String>, hint: &str) {
        let span = self.table.get_key_value(name).map_or_else(|| self.span.clone(), |(key, item)| place(key, item));
        self.sheet.note(self.key(name), span, message, Some(hint));
    }

    /// Notes a problem with this table as a whole.
    pub(super) fn wrong_itself(&self, message: impl Into<String>, hint: &str) {
        self.sheet.note(self.path.clone(), self.span.clone(), message, Some(hint));
    }

    /// Notes a key that has to be there and is not.
    pub(super) fn required(&self, name: &str, example: &str) -> Option<()> {
        if !self.has(name) {
            self.wrong(name, "it is missing", &format!("add a line like {name} = {example}"));
            return None;
        }
        Some(())
    }

    pub(super) fn is_text(&self, name: &str) -> bool {
        self.table.get(name).is_some_and(Item::is_str)
    }

    /// The name of a table below this one as a value.
    pub(super) fn name<T: FromStr<Err: Display>>(&self, name: &str) -> Option<T> {
        let hint = "a name is 1 to 56 of A-Z a-z 0-9 . _ -";
        name.parse().map_err(|error: T::Err| self.wrong(name, error.to_string(), hint)).ok()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.table.contains_key(name)
    }

    /// The dotted name of a key of this table, as it would be written in TOML.
    fn key(&self, name: &str) -> String {
        let name = Key::new(name).to_string();
        if self.path.is_empty() { name } else { format!("{}.{name}", self.path) }
    }

    fn typed<T>(&self, name: &str, wanted: &str, read: impl FnOnce(&'d Item) -> Option<T>) -> Option<T> {
        let item = self.table.get(name)?;
        let value = read(item);
        if value.is_none() {
            self.wrong(name, format!("it is {}", article(item.type_name())), &format!("it must be {wanted}"));
        }
        value
    }

    pub(super) fn boolean(&self, name: &str) -> Option<bool> {
        self.typed(name, "true or false", Item::as_bool)
    }

    pub(super) fn integer(&self, name: &str) -> Option<i64> {
        self.typed(name, "a whole number, without quotes", Item::as_integer)
    }

    pub(super) fn text(&self, name: &str) -> Option<&'d str> {
        self.typed(name, "a text in quotes", Item::as_str)
    }

    /// A text, read further by `parse`; `hint` says how it should look.
    pub(super) fn parsed<T, E: Display>(
        &self,
        name: &str,
        hint: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        parse(self.text(name)?).map_err(|error| self.wrong(name, error.to_string(), hint)).ok()
    }

    pub(super) fn absolute_path(&self, name: &str) -> Option<PathBuf> {
        self.parsed(name, "write it from the root, like /srv/robocred", absolute_path)
    }

    /// An array of texts, each read further by `parse`; not empty.
    pub(super) fn list<T, E: Display>(
        &self,
        name: &str,
        hint: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        let array = self.typed(name, "a list of texts, like [\"one\", \"two\"]", Item::as_array)?;
        if array.is_empty() {
            self.wrong(name, "it is an empty list", hint);
            return None;
        }
        let mut values = Vec::with_capacity(array.len());
        for value in array {
            let read = match value.as_str() {
                Some(text) => parse(text).map_err(|error| error.to_string()),
                None => Err(format!("it holds {}, not only texts", article(value.type_name()))),
            };
            match read {
                Ok(read) => values.push(read),
                Err(message) => self.sheet.note(self.key(name), value.span(), message, Some(hint)),
            }
        }
        (values.len() == array.len()).then_some(values)
    }

    /// A table below this one.
    pub(super) fn section(&self, name: &str) -> Option<Section<'d>> {
        let (key, item) = self.table.get_key_value(name)?;
        let table = self.typed(name, "a table", Item::as_table_like)?;
        Some(Section { sheet: self.sheet, path: self.key(name), span: place(key, item), table })
    }

    /// All tables below this one with their names, in the order of the file.
    pub(super) fn sections(&self) -> impl Iterator<Item = (&Self, &'d str, Section<'d>)> {
        self.table.iter().filter_map(move |(name, _)| Some((self, name, self.section(name)?)))
    }
}

/// An absolute path that the system can be asked for.
pub(super) fn absolute_path(given: &str) -> Result<PathBuf, String> {
    if given.contains('\0') {
        return Err("it holds a NUL character".to_owned());
    }
    if !Path::new(given).is_absolute() {
        return Err(format!("{given:?} is not an absolute path"));
    }
    Ok(PathBuf::from(given))
}

/// A table is placed by its header, which is where a person looks; a value by itself.
fn place(key: &Key, item: &Item) -> Option<Range<usize>> {
    match item {
        Item::Table(_) => item.span().or_else(|| key.span()),
        _ => key.span().or_else(|| item.span()),
    }
}

fn article(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {kind}")
}

/// The known word that was probably meant.
fn closest<'k>(given: &str, known: &[&'k str]) -> Option<&'k str> {
    let near = |word: &&str| strsim::jaro_winkler(given, word);
    let best = known.iter().copied().max_by(|one, other| near(one).total_cmp(&near(other)))?;
    (near(&best) > 0.8).then_some(best)
}
