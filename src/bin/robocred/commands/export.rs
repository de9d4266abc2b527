//! `export`: the files that a connector wants, and what to type into its form.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::Args;
use robocred::{
    clock::SystemClock,
    credential::Record,
    export::{self, Connector},
    inventory::{DeliveryKind, Inventory},
    lifecycle,
    session::Session,
    site::{ExportTarget, Robot, RobotId, Site},
    verify::{self, ControlUse},
    x509::Certificate,
};

use super::{first_contact, verify::active};
use crate::{
    Outcome,
    cli::{LockWait, Selector},
    error::{CommandError, Kind, library::Known as _},
    invocation::Invocation,
    opened::{Opened, absolute, now},
    output::{
        clean,
        json::{Action, Export, Plan, Results, RobotPlan},
        results::{self, about},
    },
};

/// Write a robot's key and certificate as files, and print the connector's form fields
///
/// Writes key.pem, cert.pem and combined.pem, readable by their owner only, of a credential that
/// was just proven. Lucidum's and Axonius' connectors ask for the fields that are printed.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The robot
    #[arg(value_name = "SITE/ROBOT")]
    pub robot: RobotId,

    /// The directory for the files
    #[arg(long, value_name = "DIR", required_unless_present = "confirm")]
    pub dir: Option<PathBuf>,

    /// Record that the connector has been given the current pair
    #[arg(long, conflicts_with = "dir")]
    pub confirm: bool,

    #[command(flatten)]
    pub lock_wait: LockWait,

    /// Print what would be done and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

pub fn run(invocation: &Invocation, args: &ExportArgs) -> Outcome {
    let opened = Opened::load(invocation)?;
    opened.select(&[Selector::Robot(args.robot.clone())])?;
    if args.dry_run {
        let steps =
            if args.confirm { vec!["confirm".to_owned()] } else { vec!["prove".to_owned(), "deliver".to_owned()] };
        let body = Plan { plan: vec![RobotPlan { robot: args.robot.to_string(), steps }] };
        invocation.output.result(&body, results::show_plan)?;
        return Ok(None);
    }
    let state_dir = opened.paths.state_dir.clone();
    let (results, failure) = match super::block_on(hand_out(invocation, args, opened))? {
        Ok(results) => (results, None),
        Err(error) => {
            invocation.output.robot_error(&args.robot.to_string(), &error);
            let there = super::block_on(known(&state_dir, &args.robot))?;
            let mut failed = about(&args.robot, Action::Failed, there.as_ref());
            failed.error = Some(error.for_programs());
            (Results { results: vec![failed], form: None, warnings: Vec::new() }, Some(error.kind()))
        }
    };
    invocation.output.result(&results, show)?;
    Ok(failure)
}

/// The generation in use, as far as it can still be found.
async fn known(state_dir: &Path, id: &RobotId) -> Option<Record> {
    let inventory = Inventory::open_read_only(state_dir).await.ok()??;
    active(&inventory, id).await.ok()?
}

async fn hand_out(invocation: &Invocation, args: &ExportArgs, mut opened: Opened) -> Result<Results, CommandError> {
    let id = &args.robot;
    let none = || {
        CommandError::new(Kind::Failed, format!("{id} has no active credential"))
            .hint(format!("run `robocred provision {id}` first"))
    };
    opened.inventory_if_any().await?.ok_or_else(none)?;
    let inventory = opened.inventory().await?;
    if args.confirm {
        let (_, robot) = configured(&opened, id)?;
        let lock = opened.lock(invocation, &inventory, &id.site, args.lock_wait).await?;
        let record = active(&inventory, id).await?.ok_or_else(none)?;
        let fingerprint = record.certificate.as_ref().map(Certificate::fingerprint);
        let deliveries = inventory.deliveries(id).await?;
        if !deliveries.iter().any(|delivered| Some(delivered.fingerprint) == fingerprint) {
            return Err(CommandError::new(Kind::Failed, format!("{} was not handed out yet", record.id))
                .hint(format!("run `robocred export {id} --dir DIR` first")));
        }
        let record = lifecycle::confirm(&inventory, &lock, robot, &record, now()).await?;
        invocation.output.note(&format!("recorded: the connector holds {}", record.id));
        return Ok(Results {
            results: vec![about(id, Action::Unchanged, Some(&record))],
            form: None,
            warnings: Vec::new(),
        });
    }
    first_contact::settle(invocation, &mut opened, &id.site, false).await?;
    let (site, robot) = configured(&opened, id)?;
    let target = target(args, robot)?;
    // Read under the lock: another run may have promoted the next generation meanwhile.
    let lock = opened.lock(invocation, &inventory, &id.site, args.lock_wait).await?;
    let record = active(&inventory, id).await?.ok_or_else(none)?;
    let secrets = opened.secrets(invocation, &inventory).await?;
    let session = Session::open(site, &inventory, &secrets, &SystemClock)?;
    let progress = invocation.output.progress("proving the credential");
    let (proof, _) = verify::prove(&session, &record, ControlUse::Daily).await.map_err(|failure| unproven(&failure))?;
    drop(progress);
    let delivered = lifecycle::hand_out(&session, &lock, robot, &record, &proof, &target, DeliveryKind::ByHand).await?;
    Ok(results(site, &record, delivered))
}

fn configured<'a>(opened: &'a Opened, id: &RobotId) -> Result<(&'a Site, &'a Robot), CommandError> {
    opened.config.robot(id).ok_or_else(|| CommandError::new(Kind::Config, format!("{id} is not configured")))
}

fn target(args: &ExportArgs, robot: &Robot) -> Result<ExportTarget, CommandError> {
    let dir = args.dir.as_deref().ok_or_else(|| CommandError::usage("--dir is needed to export"))?;
    let dir = absolute(dir)?;
    Ok(match &robot.export {
        Some(target) if target.dir == dir => target.clone(),
        _ => ExportTarget { dir, mode: 0o600, group: None },
    })
}

fn unproven(failure: &verify::Failure) -> CommandError {
    let error = CommandError::new(failure.kind(), "the credential could not be proven, so it is not handed out")
        .because(failure);
    match &failure.hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

fn results(site: &Site, record: &Record, delivered: export::Delivered) -> Results {
    let form = export::Form::new(&site.endpoint, site.trust.as_ref(), record, &delivered.dir);
    let mut result = about(&record.id.robot, Action::Unchanged, Some(record));
    result.exports.push(Export { dir: delivered.dir, files: delivered.files });
    Results { results: vec![result], form: Some(form), warnings: Vec::new() }
}

/// Shows what was written, then the form.
pub fn show(body: &Results, out: &mut dyn Write) -> io::Result<()> {
    results::show(body, out)?;
    match &body.form {
        Some(form) => Connector::ALL.into_iter().try_for_each(|connector| show_form(connector, form, out)),
        None => Ok(()),
    }
}

/// Shows the fields of a connector's form, as that connector calls them.
fn show_form(connector: Connector, form: &export::Form, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\nIn {}'s form:", connector.name())?;
    form.fields(connector)
        .into_iter()
        .try_for_each(|(label, value)| writeln!(out, "  {label:<17} {}", clean::line(&value)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::shown;

    #[test]
    fn the_form_is_what_a_person_types_in() {
        let form = export::Form {
            url: "https://10.20.0.5".into(),
            robot_name: "lucidum-g2".into(),
            private_key_file: "/srv/key.pem".into(),
            certificate_file: "/srv/cert.pem".into(),
            verify_ssl: false,
        };
        assert_eq!(
            shown(|out| show(&Results { results: vec![], form: Some(form), warnings: Vec::new() }, out)),
            "
In Lucidum's form:
  URL               https://10.20.0.5
  Robot Name        lucidum-g2
  Private Key File  /srv/key.pem
  Certificate File  /srv/cert.pem
  Verify SSL        off

In Axonius's form:
  Indegy Domain     https://10.20.0.5
  Robot Name        lucidum-g2
  Certificate file  /srv/cert.pem
  Private key file  /srv/key.pem
  Verify SSL        off
"
        );
    }
}
