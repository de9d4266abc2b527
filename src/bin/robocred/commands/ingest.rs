//! `ingest`: the appliance's device metadata, read with the robot's own credential.

mod args;
mod icps;
mod reading;

use std::{
    collections::HashMap,
    io::{self, Write},
    sync::Arc,
};

use robocred::{
    clock::SystemClock,
    credential::Record,
    ingest::{self, Manners},
    inventory::{Inventory, Task},
    session::Session,
    site::{RobotId, SiteName, Stream},
    telling::Telling,
    x509,
};

use super::{
    first_contact,
    tell::{self, Failed},
    verify::active,
};
use crate::{
    Outcome,
    error::{CommandError, Kind, worst},
    invocation::Invocation,
    opened::{Opened, absolute, now},
    output::{
        clean,
        json::{Ingest, IngestRun},
        style::{self, paint},
    },
};
use args::Destination;
pub use args::IngestArgs;
use reading::failed_run;
pub(super) use reading::{Wanted, default_target, read};

pub fn run(invocation: &Invocation, args: &IngestArgs) -> Outcome {
    if args.list_icps {
        return super::block_on(icps::list(invocation, args))?;
    }
    args.check(invocation.output)?;
    super::block_on(ingest_all(invocation, args))?
}

async fn ingest_all(invocation: &Invocation, args: &IngestArgs) -> Outcome {
    let mut opened = Opened::load(invocation)?;
    let robots = opened.select(&args.robots)?;
    let several = robots.len() > 1;
    let mut body = Ingest { runs: Vec::new() };
    let (mut failures, mut ended) = (Vec::new(), Vec::new());
    let mut manners = HashMap::<SiteName, Arc<Manners>>::new();
    // Needed for the first connection, and the inventory has to be opened before that.
    std::thread::spawn(x509::warm_up);
    let inventory = opened.inventory_if_there().await?;
    for id in robots {
        let read = match &inventory {
            Some(inventory) => {
                let manners = manners.entry(id.site.clone()).or_default();
                ingest_one(invocation, args, &mut opened, inventory, &id, several, manners).await
            }
            None => Err(no_credential(&id)),
        };
        let (runs, failed) = match read {
            Ok((runs, failed)) => {
                ended.push((id.clone(), worst(failed.iter().copied())));
                (runs, failed)
            }
            Err(error) if error.reader_is_gone() => return Err(error),
            Err(error) => {
                invocation.output.robot_error(&id.to_string(), &error);
                let streams = if args.stream.is_empty() { vec![Stream::Assets] } else { args.stream.clone() };
                let runs = streams.into_iter().map(|stream| failed_run(&id, stream, &error)).collect();
                ended.push((id.clone(), Some(error.kind())));
                (runs, vec![error.kind()])
            }
        };
        body.runs.extend(runs);
        failures.extend(failed);
    }
    if let Some(inventory) = &inventory {
        tell_of(invocation, &opened, inventory, ended).await?;
    }
    if args.output != Some(Destination::StandardOutput) {
        invocation.output.result(&body, show)?;
    }
    Ok(worst(failures))
}

/// Tells of what failed for robots that have something to log in with, and forgets what is mended.
async fn tell_of(
    invocation: &Invocation,
    opened: &Opened,
    inventory: &Inventory,
    ended: Vec<(RobotId, Option<Kind>)>,
) -> Result<(), CommandError> {
    let telling = Telling { config: &opened.config, inventory: Some(inventory), now: now() };
    let mut failed = Vec::new();
    for (robot, kind) in ended {
        match kind {
            None => telling.mended(&robot, Task::Ingest).await?,
            Some(kind) if tell::concerns_others(kind, !invocation.interactive) => {
                let record = active(inventory, &robot).await?;
                if can_log_in(inventory, &robot, record.as_ref()).await? {
                    failed.push(Failed { robot, task: Task::Ingest, kind });
                }
            }
            Some(_) => {}
        }
    }
    tell::failures(invocation.output, telling, failed).await;
    Ok(())
}

async fn ingest_one(
    invocation: &Invocation,
    args: &IngestArgs,
    opened: &mut Opened,
    inventory: &Inventory,
    id: &RobotId,
    several: bool,
    manners: &Arc<Manners>,
) -> Result<(Vec<IngestRun>, Vec<Kind>), CommandError> {
    let record = active(inventory, id).await?;
    meet(invocation, args, opened, &id.site, record.as_ref(), || no_credential(id)).await?;
    let (site, robot) =
        opened.config.robot(id).ok_or_else(|| CommandError::new(Kind::Config, format!("{id} is not configured")))?;
    let default_dir = ingest::default_dir(&opened.paths.state_dir, id);
    let mut wanted = args.wanted(robot.ingest.as_ref(), default_dir)?;
    let secrets = opened.secrets(invocation, inventory).await?;
    let session = Session::open(site, inventory, &secrets, &SystemClock)?;
    can_log_in(inventory, id, record.as_ref()).await?.then_some(()).ok_or_else(|| no_credential(id))?;
    wanted.dir = wanted.dir.map(|dir| absolute(&dir)).transpose()?;
    if let (Some(dir), Some(Destination::Directory(_)), true) = (&mut wanted.dir, &args.output, several) {
        // File names do not say whose data it is.
        dir.extend([id.site.as_str(), id.robot.as_str()]);
    }
    read(invocation, &session, id, record.as_ref(), &wanted, manners).await
}

/// Meets the server to read from. Where there is no credential to show it,
/// nobody is asked about an unknown one: there may be nothing to log in with,
/// and a key goes only where it is decided which server to trust.
async fn meet(
    invocation: &Invocation,
    args: &IngestArgs,
    opened: &mut Opened,
    name: &SiteName,
    record: Option<&Record>,
    no_login: impl FnOnce() -> CommandError,
) -> Result<(), CommandError> {
    if record.is_none() && opened.site(name)?.trust.is_none() {
        let decide =
            format!("an API key is used only where it is decided which server to trust: `robocred trust {name}`");
        return Err(no_login().hint(decide));
    }
    first_contact::settle(invocation, opened, name, args.accept_new).await
}

/// Whether there is a credential, or an API key of the site instead.
async fn can_log_in(inventory: &Inventory, id: &RobotId, record: Option<&Record>) -> Result<bool, CommandError> {
    Ok(record.is_some() || inventory.site(&id.site).await?.is_some_and(|site| site.api_key.is_some()))
}

fn no_credential(id: &RobotId) -> CommandError {
    CommandError::new(Kind::Failed, format!("{id} has no active credential"))
        .hint(format!("run `robocred provision {id}` first, or keep an API key: `robocred apikey set {}`", id.site))
}

/// Shows one line for each stream that was read. Failed runs are left out: they
/// brought nothing, and their errors go to standard error.
pub fn show(body: &Ingest, out: &mut dyn Write) -> io::Result<()> {
    for run in body.runs.iter().filter(|run| run.sha256.is_some()) {
        let total = run.total_reported.map_or_else(String::new, |total| format!(" of {total}"));
        let verdict = if run.complete { paint(style::GOOD, "complete") } else { paint(style::FAIR, "not complete") };
        writeln!(
            out,
            "{}: {} {}{total} in {:.1} s, {verdict}",
            paint(style::BOLD, clean::line(&run.robot)),
            run.records,
            clean::line(&run.stream),
            run.seconds,
        )?;
        match run.flagged {
            0 => {}
            1 => writeln!(out, "  1 value did not fit its column")?,
            flagged => writeln!(out, "  {flagged} values did not fit their column")?,
        }
        for path in [&run.path, &run.manifest].into_iter().flatten() {
            writeln!(out, "  {}", clean::line(&path.display().to_string()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{json::IngestRun, shown};

    #[test]
    fn a_line_a_stream() {
        let run = IngestRun {
            robot: "plant-a/lucidum".into(),
            stream: "assets".into(),
            api: Some("graphql".into()),
            records: 1000,
            total_reported: Some(1000),
            complete: true,
            flagged: 0,
            pages: 10,
            bytes: 1,
            seconds: 0.25,
            path: Some("/srv/assets.ndjson".into()),
            manifest: None,
            sha256: Some("ab".into()),
            fingerprint_sha256: None,
            error: None,
        };
        let short = IngestRun { complete: false, total_reported: None, path: None, flagged: 1, ..run.clone() };
        let odd = IngestRun { flagged: 17, ..run.clone() };
        assert_eq!(
            shown(|out| show(&Ingest { runs: vec![run, short, odd] }, out)),
            "plant-a/lucidum: 1000 assets of 1000 in 0.2 s, complete\n  /srv/assets.ndjson\n\
             plant-a/lucidum: 1000 assets in 0.2 s, not complete\n  1 value did not fit its column\n\
             plant-a/lucidum: 1000 assets of 1000 in 0.2 s, complete\n  17 values did not fit their column\n  \
             /srv/assets.ndjson\n"
        );
    }
}
