//! Changing the configuration file while keeping what a person wrote.
//!
//! Owns which lines an edit makes; how they reach the disk is `write`'s.
//! Every change is checked by the same rules as loading before it is taken, so
//! an edit can be refused but cannot leave a file that does not load.

use std::path::{Path, PathBuf};

use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike, Value};

use super::{Config, Error, Problems, VERSION, read, resolve::EXPORT_MODE, write};
use crate::{
    renewal::format_duration,
    site::{Endpoint, ExportTarget, IngestTarget, Keep, Robot, RobotId, Role, Site, SiteName, TrustPolicy},
    x509::{KeyAlgorithm, Profile},
};

/// What a robot may have differently from the defaults; `None` leaves a value alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// The key type of its next credential.
    pub key_algorithm: Option<KeyAlgorithm>,
    /// The lifetime of its next credential in days, 1 to 365.
    pub days: Option<u16>,
    /// The certificate profile of its next credential.
    pub profile: Option<Profile>,
}

/// An open edit of one configuration file: nothing is written before
/// [`Editor::save`], and dropping it leaves the file alone.
///
/// Holds the file's lock, so keep it open briefly and ask nobody anything
/// meanwhile. Comments, order and formatting of the file stay as they are. Each
/// change is idempotent: what the file says already is not said again.
#[derive(Debug)]
pub struct Editor {
    path: PathBuf,
    place: write::Place,
    document: DocumentMut,
    /// The changes alone, to be shown where the file cannot be written.
    additions: DocumentMut,
    config: Config,
    changed: bool,
    /// Whether the file ends its lines as Windows does; `toml_edit` writes `\n`.
    crlf: bool,
}

impl Editor {
    /// Waits for the file's lock (a file `.NAME.lock` beside it, for as long as
    /// other editors hold it) and reads the file. A missing file is begun; its
    /// directory is created with mode 0700. A link is followed: its target is
    /// what is locked and replaced. Where nothing can be written the editor
    /// opens all the same, and [`Editor::save`] says what to add by hand.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the file has problems, [`Error::Io`] if the disk fails.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let place = write::Place::lock(path)?;
        let text = read::text(path).map_err(|problem| Problems::new(path, vec![problem]))?;
        let config = Config::from_text(path, text.as_deref())?;
        let begin = format!("version = {VERSION}\n");
        let crlf = text.as_ref().is_some_and(|text| text.contains("\r\n"));
        let mut additions = DocumentMut::new();
        let mut document = parse(text.as_deref().unwrap_or_default());
        if document.is_empty() {
            // Below whatever comments stand there already.
            let above = text.unwrap_or_default();
            let newline = if above.is_empty() || above.ends_with('\n') { "" } else { "\n" };
            document = parse(&format!("{above}{newline}{begin}"));
            additions = parse(&begin);
        }
        Ok(Self { path: path.to_owned(), place, document, additions, config, changed: false, crlf })
    }

    /// The configuration with the changes made so far.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Makes sure that the site is there with this address.
    ///
    /// # Errors
    /// [`Error::Differs`] if it is there with another one.
    pub fn add_site(&mut self, name: &SiteName, url: &Endpoint) -> Result<(), Error> {
        if let Some(site) = self.config.site(name) {
            return agree(|| format!("sites.{name}.url"), &site.endpoint, url);
        }
        self.change(|document| {
            let site = new_table(document, &["sites", name.as_str()]);
            set(site, "url", url.to_string());
        })
    }

    /// Sets how the site's server is judged, in place of what was there.
    ///
    /// # Errors
    /// [`Error::Unknown`] if the site is not there, [`Error::Invalid`] if the policy cannot be.
    pub fn set_trust(&mut self, name: &SiteName, trust: &TrustPolicy) -> Result<(), Error> {
        if self.site(name)?.trust.as_ref() == Some(trust) {
            return Ok(());
        }
        let (key, other, value): (_, _, Value) = match trust {
            TrustPolicy::System => {
                return self.change(|document| set(table(document, &["sites", name.as_str()]), "trust", "system"));
            }
            TrustPolicy::CaFile(file) => ("ca_file", "pins", text(file)?.into()),
            TrustPolicy::Pins(pins) => {
                ("pins", "ca_file", pins.iter().map(ToString::to_string).collect::<Array>().into())
            }
        };
        self.change(|document| {
            let trust = subtable(table(document, &["sites", name.as_str()]), "trust");
            remove(trust, other);
            set(trust, key, value.clone());
        })
    }

    /// Makes sure that the robot is there with this role; its site must be there.
    ///
    /// # Errors
    /// [`Error::Differs`] if it is there with another role, [`Error::Unknown`]
    /// if its site is not there, [`Error::Invalid`] if another site has the
    /// same robot.
    pub fn add_robot(&mut self, id: &RobotId, role: Role) -> Result<(), Error> {
        if let Some(robot) = self.site(&id.site)?.robot(&id.robot) {
            return agree(|| format!("sites.{}.robots.{}.role", id.site, id.robot), &robot.role, &role);
        }
        self.change(|document| {
            let robot = new_table(document, &robot_path(id));
            set(robot, "role", role.as_str());
        })
    }

    /// Sets what differs from what the robot has or inherits.
    ///
    /// # Errors
    /// [`Error::Unknown`] if the robot is not there, [`Error::Invalid`] if a value cannot be.
    pub fn set_overrides(&mut self, id: &RobotId, overrides: Overrides) -> Result<(), Error> {
        let robot = self.robot(id)?;
        let key_algorithm = overrides.key_algorithm.filter(|&given| given != robot.key_algorithm);
        let days = overrides.days.filter(|&given| given != robot.days);
        let profile = overrides.profile.filter(|&given| given != robot.profile);
        if (key_algorithm, days, profile) == (None, None, None) {
            return Ok(());
        }
        self.change(|document| {
            let robot = table(document, &robot_path(id));
            if let Some(algorithm) = key_algorithm {
                set(robot, "key_type", algorithm.as_str());
            }
            if let Some(days) = days {
                set(robot, "days", i64::from(days));
            }
            if let Some(profile) = profile {
                set(robot, "profile", profile.as_str());
            }
        })
    }

    /// Sets where the robot's files are delivered, in place of what was there.
    ///
    /// # Errors
    /// [`Error::Unknown`] if the robot is not there, [`Error::Invalid`] if the
    /// target cannot be, for example because another robot has it.
    pub fn set_export(&mut self, id: &RobotId, export: &ExportTarget) -> Result<(), Error> {
        if self.robot(id)?.export.as_ref() == Some(export) {
            return Ok(());
        }
        let dir = text(&export.dir)?;
        self.change(|document| {
            let table = subtable(table(document, &robot_path(id)), "export");
            set(table, "dir", dir.as_str());
            let mode = (export.mode != EXPORT_MODE).then(|| format!("{:04o}", export.mode));
            set_or_remove(table, "mode", mode);
            set_or_remove(table, "group", export.group.clone());
        })
    }

    /// Sets what is read with the robot, in place of what was there. What is
    /// as it is by itself is not written.
    ///
    /// # Errors
    /// As [`Editor::set_export`].
    pub fn set_ingest(&mut self, id: &RobotId, ingest: &IngestTarget) -> Result<(), Error> {
        if self.robot(id)?.ingest.as_ref() == Some(ingest) {
            return Ok(());
        }
        let dir = ingest.dir.as_deref().map(text).transpose()?;
        let plain = IngestTarget::of(Vec::new());
        self.change(|document| {
            let table = subtable(table(document, &robot_path(id)), "ingest");
            set(table, "streams", ingest.streams.iter().map(|stream| stream.as_str()).collect::<Array>());
            set(table, "format", ingest.format.as_str());
            let compress = (ingest.compress != plain.compress).then(|| ingest.compress.as_str());
            set_or_remove(table, "compress", compress);
            set_or_remove(table, "api", (ingest.api != plain.api).then(|| ingest.api.as_str()));
            set_or_remove(table, "page_size", ingest.page_size.map(i64::from));
            set_or_remove(table, "since", ingest.since_last.then_some("last"));
            set_or_remove(table, "with_details", ingest.with_details.then_some(true));
            set_or_remove(table, "include_hidden", ingest.include_hidden.then_some(true));
            set_or_remove(table, "max_rate", ingest.max_rate.map(i64::from));
            set_or_remove(table, "keep", ingest.keep.map(keep));
            set_or_remove(table, "dir", dir.as_deref());
            set_or_remove(table, "every", ingest.every.map(format_duration));
        })
    }

    /// Replaces the file as a whole and returns when that is durable; if
    /// nothing changed, nothing is written. Keeps the file's mode and group; a
    /// new file has mode 0600. The configuration as it is then.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] with the lines to add where the file may not be
    /// written, [`Error::Io`] if the disk fails; the file is as it was then.
    pub fn save(self) -> Result<Config, Error> {
        let mut config = self.config;
        if self.changed {
            config.exists = true;
            let mut text = self.document.to_string();
            if self.crlf {
                text = text.replace("\r\n", "\n").replace('\n', "\r\n");
            }
            match self.place.replace(&text) {
                Ok(()) => {}
                Err(write::Failed::ReadOnly) => {
                    return Err(Error::ReadOnly { path: self.path, lines: self.additions.to_string() });
                }
                Err(write::Failed::Io { doing, path, source }) => return Err(Error::Io { doing, path, source }),
            }
        }
        Ok(config)
    }

    fn change(&mut self, edit: impl Fn(&mut DocumentMut)) -> Result<(), Error> {
        let mut document = self.document.clone();
        edit(&mut document);
        self.config = Config::from_text(&self.path, Some(&document.to_string()))?;
        edit(&mut self.additions);
        self.document = document;
        self.changed = true;
        Ok(())
    }

    fn site(&self, name: &SiteName) -> Result<&Site, Error> {
        let unknown = || Error::Unknown { name: name.to_string(), path: self.path.clone() };
        self.config.site(name).ok_or_else(unknown)
    }

    fn robot(&self, id: &RobotId) -> Result<&Robot, Error> {
        let unknown = || Error::Unknown { name: id.to_string(), path: self.path.clone() };
        Ok(self.config.robot(id).ok_or_else(unknown)?.1)
    }
}

/// A text that resolved before.
fn parse(text: &str) -> DocumentMut {
    text.parse().expect("what resolved is TOML")
}

/// `Ok` if the file says what is wanted.
fn agree<T: PartialEq + ToString>(key: impl Fn() -> String, configured: &T, given: &T) -> Result<(), Error> {
    if configured == given {
        return Ok(());
    }
    Err(Error::Differs { key: key(), configured: configured.to_string(), given: given.to_string() })
}

fn keep(keep: Keep) -> Value {
    match keep {
        Keep::Count(count) => i64::from(count).into(),
        Keep::Age(age) => format_duration(age).into(),
    }
}

fn robot_path(id: &RobotId) -> [&str; 4] {
    ["sites", id.site.as_str(), "robots", id.robot.as_str()]
}

/// A path as TOML can hold it.
fn text(path: &Path) -> Result<String, Error> {
    path.to_str().map(str::to_owned).ok_or_else(|| Error::NotText { path: path.to_owned() })
}

/// The table at `path`, created where missing.
fn table<'d>(document: &'d mut DocumentMut, path: &[&str]) -> &'d mut Item {
    path.iter().fold(document.as_item_mut(), |parent, name| {
        let missing = if parent.is_value() { inline_table() } else { Item::Table(implicit()) };
        entries(parent).entry(name).or_insert(missing)
    })
}

/// As [`table`], for one that is not there: it comes behind the last table of
/// its parent. If that is the last one of all it comes behind the comments
/// that end the file too, since those belong to what stands above them.
fn new_table<'d>(document: &'d mut DocumentMut, path: &[&str]) -> &'d mut Item {
    let end = last_position(document.as_table());
    let mut behind = end;
    let mut parent = document.as_table();
    for name in path {
        let Some(next) = parent.get(name).and_then(Item::as_table) else { break };
        behind = last_position(next).or(behind);
        parent = next;
    }
    let comments = document.trailing().as_str().unwrap_or_default().to_owned();
    if behind == end {
        document.set_trailing("");
    }
    let item = table(document, path);
    if let Some(table) = item.as_table_mut() {
        if behind == end {
            let gap = if !comments.is_empty() && comments.trim().is_empty() { "" } else { "\n" };
            table.decor_mut().set_prefix(format!("{comments}{gap}"));
            table.set_position(end.map(|end| end + 1));
        } else {
            table.set_position(behind);
        }
    }
    item
}

/// What a table holds, however it is written.
fn entries(table: &mut Item) -> &mut dyn TableLike {
    table.as_table_like_mut().expect("the document resolved, so that only tables stand on the path to what is changed")
}

/// A table whose header is written only if it holds values.
fn implicit() -> Table {
    let mut table = Table::new();
    table.set_implicit(true);
    table
}

fn inline_table() -> Item {
    Item::Value(InlineTable::new().into())
}

fn last_position(table: &Table) -> Option<isize> {
    let below = table.iter().filter_map(|(_, item)| last_position(item.as_table()?));
    below.chain(table.position()).max()
}

/// The table that is the value of a key, in place of any other value there.
fn subtable<'t>(table: &'t mut Item, key: &str) -> &'t mut Item {
    let item = entries(table).entry(key).or_insert_with(inline_table);
    if !item.is_table_like() {
        put(item, InlineTable::new());
    }
    item
}

fn set(table: &mut Item, key: &str, value: impl Into<Value>) {
    put(entries(table).entry(key).or_insert(Item::None), value);
    tidy(table);
}

fn set_or_remove(table: &mut Item, key: &str, value: Option<impl Into<Value>>) {
    match value {
        Some(value) => set(table, key, value),
        None => remove(table, key),
    }
}

fn remove(table: &mut Item, key: &str) {
    entries(table).remove(key);
    tidy(table);
}

/// Replaces a value; the spaces and the comment around the old one stay.
fn put(item: &mut Item, value: impl Into<Value>) {
    let mut value = value.into();
    if let Some(old) = item.as_value() {
        *value.decor_mut() = old.decor().clone();
    }
    *item = Item::Value(value);
}

/// Spaces an inline table evenly, unless somebody laid it out over several lines.
fn tidy(table: &mut Item) {
    if let Some(table) = table.as_inline_table_mut()
        && !table.to_string().contains('\n')
    {
        table.fmt();
    }
}
