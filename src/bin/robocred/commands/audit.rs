//! `audit`: the hash-chained record of every change.

mod accept;

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use robocred::{
    anchor::{self, Lag, Standing},
    inventory::{
        Inventory,
        audit::{self, Broken, Entry, Head, Kept},
    },
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::block_on;
use crate::{
    Outcome,
    cli::Selector,
    error::{CommandError, Kind},
    invocation::Invocation,
    opened::{Opened, absolute, paths},
    output::{
        self, clean,
        json::{self, Audit, AuditEntry, AuditExport, AuditVerify},
        table,
    },
};

/// Show, check or hand out the record of every change
///
/// Every change to a robot or a site is one entry, and each entry holds the hash of the one before.
#[derive(Debug, Args)]
pub struct AuditArgs {
    #[command(subcommand)]
    pub command: AuditCommand,
}

/// What to do with the record.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Show the entries, oldest first
    Show {
        /// Only of these robots, or of all robots of these sites
        #[arg(value_name = "SITE/ROBOT|SITE")]
        of: Vec<Selector>,
        /// Only the last N
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
        /// Only from this time on (RFC 3339)
        #[arg(long, value_name = "TIME", value_parser = moment)]
        since: Option<OffsetDateTime>,
    },
    /// Check that no entry was changed, put in, moved or taken out
    ///
    /// A cut at the end, or a record written anew as a whole, is found by the anchor that is kept outside
    /// the state directory, or by a head that `audit export` printed before.
    Verify {
        /// A head that was kept elsewhere: this entry must still be there
        #[arg(long, value_name = "SEQ:HASH|HASH")]
        head: Option<Kept>,
        /// Take this inventory on this machine for the one that lives, though it is older or was copied
        ///
        /// Generations that were made since the copy are listed as leftovers, and their numbers are not
        /// used again. Asks first; with -n it acts.
        #[arg(long)]
        accept: bool,
    },
    /// Write every entry as a line of JSON, and print the head to be kept elsewhere
    Export {
        /// The file, or - for standard output
        #[arg(short, long, value_name = "FILE", default_value = "-")]
        output: PathBuf,
    },
}

fn moment(given: &str) -> Result<OffsetDateTime, String> {
    OffsetDateTime::parse(given, &Rfc3339).map_err(|_| format!("{given:?} is not a time like 2026-11-22T12:00:00Z"))
}

pub fn run(invocation: &Invocation, args: &AuditArgs) -> Outcome {
    match &args.command {
        AuditCommand::Show { of, limit, since } => {
            let mut entries = entries(invocation)?;
            entries.retain(|entry| is_of(entry, of) && since.is_none_or(|since| is_since(entry, since)));
            let first = limit.map_or(0, |limit| entries.len().saturating_sub(limit));
            let body = Audit { entries: entries[first..].iter().map(shown_entry).collect() };
            invocation.output.result(&body, show)?;
            Ok(None)
        }
        AuditCommand::Verify { head, accept } => {
            if *accept {
                block_on(accept::run(invocation))??;
            }
            verify(invocation, head.as_ref())
        }
        AuditCommand::Export { output } => export(invocation, output),
    }
}

fn entries(invocation: &Invocation) -> Result<Vec<Entry>, CommandError> {
    let paths = paths(invocation)?;
    block_on(async {
        Ok(match Inventory::open_read_only(&paths.state_dir).await? {
            Some(inventory) => inventory.audit().await?,
            None => Vec::new(),
        })
    })?
}

fn is_of(entry: &Entry, selectors: &[Selector]) -> bool {
    let (site, robot) = (entry.site.as_deref(), entry.robot.as_deref());
    selectors.is_empty()
        || selectors.iter().any(|selector| match selector {
            Selector::Site(name) => site == Some(name.as_str()),
            Selector::Robot(id) => site == Some(id.site.as_str()) && robot == Some(id.robot.as_str()),
        })
}

/// One whose time cannot be read is shown: somebody has to see it.
fn is_since(entry: &Entry, since: OffsetDateTime) -> bool {
    OffsetDateTime::parse(&entry.at, &Rfc3339).map_or(true, |at| at >= since)
}

fn shown_entry(entry: &Entry) -> AuditEntry {
    AuditEntry {
        seq: entry.seq,
        at: entry.at.clone(),
        actor: entry.actor.clone(),
        action: entry.action.clone(),
        site: entry.site.clone(),
        robot: entry.robot.clone(),
        generation: entry.generation,
        // What was written over a detail is shown as the text it is.
        detail: serde_json::from_str(&entry.detail).unwrap_or_else(|_| entry.detail.clone().into()),
        prev: entry.prev.clone(),
        hash: entry.hash.clone(),
    }
}

/// Shows a table, one line for each entry.
pub fn show(body: &Audit, out: &mut dyn Write) -> io::Result<()> {
    if body.entries.is_empty() {
        return writeln!(out, "no entries");
    }
    let rows = body.entries.iter().map(|entry| {
        let robot = match (&entry.site, &entry.robot) {
            (Some(site), Some(robot)) => format!("{site}/{robot}"),
            (Some(site), None) => site.clone(),
            _ => "-".to_owned(),
        };
        vec![
            table::number(entry.seq.to_string()),
            table::plain(&entry.at),
            table::plain(&entry.actor),
            table::plain(&entry.action),
            table::plain(robot),
            table::number(entry.generation.map_or("-".to_owned(), |generation| generation.to_string())),
            table::plain(telling(&entry.detail)),
        ]
    });
    out.write_all(table::render(&["SEQ", "TIME", "WHO", "WHAT", "ROBOT", "GEN", "DETAIL"], rows).as_bytes())
}

/// The part of a detail that the columns beside it do not say.
fn telling(detail: &serde_json::Value) -> String {
    let Some(fields) = detail.as_object() else { return detail.to_string() };
    let said =
        fields.iter().filter(|(name, value)| !["from", "to", "tool"].contains(&name.as_str()) && !value.is_null());
    let said: Vec<_> = said
        .map(|(name, value)| {
            let value = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
            // Enough to tell two apart; the whole of it is in the JSON document.
            let value = if name == "fingerprint_sha256" { value.chars().take(16).collect() } else { value };
            format!("{name}={value}")
        })
        .collect();
    said.join(" ")
}

/// What was found, and what to do about it.
struct Fault {
    seq: Option<i64>,
    message: String,
    hint: &'static str,
}

impl From<Broken> for Fault {
    fn from(broken: Broken) -> Self {
        Self {
            seq: broken.seq(),
            message: broken.to_string(),
            hint: "keep a copy of the state directory, find out who changed it, and compare it with an export or a backup",
        }
    }
}

fn verify(invocation: &Invocation, kept: Option<&Kept>) -> Outcome {
    let entries = entries(invocation)?;
    let is_kept = |_| kept.map_or(Ok(()), |kept| audit::kept(&entries, kept));
    let fault = match audit::verify(&entries).and_then(is_kept) {
        Err(broken) => Some(Fault::from(broken)),
        Ok(()) => block_on(by_anchor(invocation))??,
    };
    let head = last(&entries);
    let body = AuditVerify {
        ok: fault.is_none(),
        entries: entries.len(),
        head: head.hash.clone(),
        broken_at: fault.as_ref().and_then(|fault| fault.seq),
        message: fault.as_ref().map(|fault| fault.message.clone()),
        hint: fault.as_ref().map(|fault| fault.hint),
    };
    match fault {
        // For people the error is the result.
        Some(fault) if !invocation.output.is_json() => {
            Err(CommandError::new(Kind::Failed, fault.message).hint(fault.hint))
        }
        fault => {
            let whole = |body: &AuditVerify, out: &mut dyn Write| {
                writeln!(out, "whole: {} entries\nhead   {head}", body.entries)
            };
            invocation.output.result(&body, whole)?;
            Ok(fault.map(|_| Kind::Failed))
        }
    }
}

/// The last row as it stands.
fn last(entries: &[Entry]) -> Head {
    let last = entries.last().map(|entry| Head { seq: entry.seq, hash: entry.hash.clone() });
    last.unwrap_or_else(|| audit::verify(&[]).expect("an empty record has nothing that could be broken"))
}

/// What the anchor knows that the record does not. An anchor that is not there or cannot be asked finds nothing.
async fn by_anchor(invocation: &Invocation) -> Result<Option<Fault>, CommandError> {
    let unasked = |why: &CommandError| {
        let why = why.for_programs().message;
        invocation.output.note(&format!("the anchor was not compared, so a cut at the end is not found: {why}"));
    };
    let opened = match Opened::load(invocation) {
        Ok(opened) => opened,
        Err(error) => {
            unasked(&error);
            return Ok(None);
        }
    };
    let Some(inventory) = opened.inventory_read_only().await? else { return Ok(None) };
    let standing = match opened.anchored(invocation, &inventory).await {
        Ok(standing) => standing,
        Err(error) => {
            unasked(&error);
            return Ok(None);
        }
    };
    Ok(match standing {
        Standing::Intact => None,
        Standing::Missing => {
            unasked(&CommandError::new(Kind::Failed, "there is none"));
            None
        }
        // The record itself is as it was.
        Standing::OtherMachine => {
            invocation.output.note(&format!("{standing}: {}", anchor::HINT));
            None
        }
        Standing::Behind(ref lag) => {
            let seq = match lag {
                Lag::Audit(broken) => broken.seq(),
                Lag::Generation { .. } => None,
            };
            Some(Fault { seq, message: standing.to_string(), hint: anchor::HINT })
        }
    })
}

fn export(invocation: &Invocation, path: &Path) -> Outcome {
    let to_stdout = path == Path::new("-");
    if to_stdout && invocation.output.is_json() {
        return Err(CommandError::usage("`-o -` and --json both want standard output")
            .hint("write the entries to a file with -o FILE, or leave out --json"));
    }
    let entries = entries(invocation)?;
    let mut lines = Vec::new();
    for entry in &entries {
        let line = json::to_vec(&shown_entry(entry))
            .map_err(|error| CommandError::new(Kind::Failed, "cannot write an entry as JSON").because(&error))?;
        lines.extend_from_slice(&line);
        lines.push(b'\n');
    }
    let head = last(&entries);
    if to_stdout {
        output::print(|out| out.write_all(&lines))?;
        invocation.output.note(&format!("{} entries, head {head}", entries.len()));
    } else {
        let path = absolute(path)?;
        write_whole(&path, &lines).map_err(|error| {
            CommandError::new(Kind::Failed, format!("cannot write {}", path.display())).because(&error)
        })?;
        let body = AuditExport { path, entries: entries.len(), head: head.hash.clone() };
        let told = |body: &AuditExport, out: &mut dyn Write| {
            let path = body.path.display().to_string();
            writeln!(out, "wrote {} entries to {}\nhead  {head}", body.entries, clean::line(&path))
        };
        invocation.output.result(&body, told)?;
    }
    match audit::verify(&entries) {
        Ok(_) => Ok(None),
        Err(broken) => {
            invocation.output.note(&format!("{broken}: every entry was written as it stands"));
            Ok(Some(Kind::Failed))
        }
    }
}

/// Makes the file, or puts the whole of it in the place of the one before; readable by its owner only.
fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".{}.tmp", std::process::id()));
    let new = PathBuf::from(new);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    let written = file.write_all(content).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        // The failure before it is the one to tell.
        let _ = fs::remove_file(&new);
    }
    written
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::output::shown;

    #[test]
    fn the_table_says_who_did_what_and_what_the_columns_do_not() {
        let entry = AuditEntry {
            seq: 6,
            at: "2026-11-22T12:00:00.000Z".into(),
            actor: "uid 0".into(),
            action: "promoted".into(),
            site: Some("plant".into()),
            robot: Some("reader\u{1b}".into()),
            generation: Some(2),
            detail: json!({ "from": "registered", "fingerprint_sha256": "0123456789abcdef01", "reason": null, "tool": "1" }),
            prev: String::new(),
            hash: String::new(),
        };
        let store = AuditEntry { site: None, generation: None, detail: "x".into(), ..entry.clone() };
        assert_eq!(
            shown(|out| show(&Audit { entries: vec![entry, store] }, out)),
            "\
SEQ  TIME                      WHO    WHAT      ROBOT          GEN  DETAIL
  6  2026-11-22T12:00:00.000Z  uid 0  promoted  plant/reader\u{fffd}    2  fingerprint_sha256=0123456789abcdef
  6  2026-11-22T12:00:00.000Z  uid 0  promoted  -                -  \"x\"
"
        );
        assert_eq!(shown(|out| show(&Audit { entries: vec![] }, out)), "no entries\n");
    }
}
