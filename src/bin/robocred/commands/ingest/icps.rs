//! `ingest --list-icps`: what an Enterprise Manager is paired with, so that a
//! person can fill in `em` of a site.

use std::io::{self, Write};

use robocred::{
    appliance::{self, PairedIcp},
    clock::SystemClock,
    credential::Record,
    inventory::Inventory,
    session::Session,
    site::SiteName,
};

use super::{IngestArgs, meet};
use crate::{
    Outcome,
    cli::Selector,
    commands::verify::active,
    error::{CommandError, Kind},
    invocation::Invocation,
    opened::Opened,
    output::{
        clean,
        json::{Icp, Icps},
        style::{self, paint},
    },
};

/// Lists the paired appliances, read with a robot's credential or the site's API key.
pub async fn list(invocation: &Invocation, args: &IngestArgs) -> Outcome {
    let [selector] = args.robots.as_slice() else {
        return Err(CommandError::usage("--list-icps takes one SITE or SITE/ROBOT")
            .hint("name the site whose url is the Enterprise Manager's"));
    };
    let mut opened = Opened::load(invocation)?;
    let name = match selector {
        Selector::Robot(id) => &id.site,
        Selector::Site(name) => name,
    };
    opened.site(name)?;
    let inventory = match opened.inventory_if_any().await? {
        Some(_) => opened.inventory().await?,
        None => return Err(no_login(name)),
    };
    let record = credential(&opened, &inventory, selector, name).await?;
    meet(invocation, args, &mut opened, name, record.as_ref(), || no_login(name)).await?;
    let icps = paired(invocation, &opened, &inventory, record.as_ref(), name).await?;
    invocation.output.result(&body(name, icps), show)?;
    Ok(None)
}

/// The first credential in use among the selected robots.
async fn credential(
    opened: &Opened,
    inventory: &Inventory,
    selector: &Selector,
    name: &SiteName,
) -> Result<Option<Record>, CommandError> {
    let mut record = None;
    // A site without robots may still have an API key.
    if matches!(selector, Selector::Robot(_)) || !opened.site(name)?.robots.is_empty() {
        for id in opened.select(std::slice::from_ref(selector))? {
            record = record.or(active(inventory, &id).await?);
        }
    }
    Ok(record)
}

async fn paired(
    invocation: &Invocation,
    opened: &Opened,
    inventory: &Inventory,
    record: Option<&Record>,
    name: &SiteName,
) -> Result<Vec<PairedIcp>, CommandError> {
    let secrets = opened.secrets(invocation, inventory).await?;
    let session = Session::open(opened.site(name)?, inventory, &secrets, &SystemClock)?;
    let read = match record {
        Some(record) => session.read_api(&session.load(record).await?.identity(session.site())?)?,
        None => session.read_api_with_key(session.api_key().await?.ok_or_else(|| no_login(name))?)?,
    };
    let _progress = invocation.output.progress(&format!("{name}: asking what it is paired with"));
    read.paired_icps().await.map_err(|error| match error {
        appliance::Error::Connect(source) => session.explain(source).into(),
        error @ (appliance::Error::Refused(_) | appliance::Error::Exchange(_) | appliance::Error::Busy { .. }) => {
            CommandError::from(error)
        }
        error => CommandError::new(Kind::Failed, format!("{name} does not list what it is paired with"))
            .because(&error)
            .hint("only an Enterprise Manager does: is the url of the site its address?"),
    })
}

fn no_login(site: &SiteName) -> CommandError {
    CommandError::new(Kind::Failed, format!("{site} has neither a robot with an active credential nor an API key"))
        .hint(format!("run `robocred provision {site}/ROBOT`, or `robocred apikey set {site}`"))
}

fn body(site: &SiteName, icps: Vec<PairedIcp>) -> Icps {
    let icp = |icp: PairedIcp| Icp {
        machine_id: icp.machine_id.to_string(),
        name: icp.name,
        host: icp.host,
        status: icp.status,
        version: icp.version,
    };
    Icps { site: site.to_string(), icps: icps.into_iter().map(icp).collect() }
}

/// Shows one line for each appliance, and the line that makes it a site's.
fn show(body: &Icps, out: &mut dyn Write) -> io::Result<()> {
    let count = match body.icps.len() {
        0 => "no appliance".to_owned(),
        1 => "1 appliance".to_owned(),
        count => format!("{count} appliances"),
    };
    writeln!(out, "{} is paired with {count}", paint(style::BOLD, clean::line(&body.site)))?;
    for icp in &body.icps {
        let facts = [&icp.name, &icp.host, &icp.status].map(|fact| clean::line(fact.as_deref().unwrap_or("-")));
        let machine_id = clean::line(&icp.machine_id);
        writeln!(out, "{machine_id}  {}", facts.join("  "))?;
        writeln!(out, "  em = \"{machine_id}\"")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::shown;

    #[test]
    fn a_line_to_read_and_a_line_to_write() {
        let icp = PairedIcp {
            machine_id: "3f2e6a1c".parse().unwrap(),
            name: Some("Line\u{1b}[2J 1".into()),
            host: Some("10.20.0.5".into()),
            status: Some("Connected".into()),
            version: None,
        };
        let bare = PairedIcp { name: None, host: None, status: None, ..icp.clone() };
        let site: SiteName = "plant-a".parse().unwrap();
        assert_eq!(
            shown(|out| show(&body(&site, vec![icp, bare]), out)),
            "plant-a is paired with 2 appliances\n\
             3f2e6a1c  Line\u{fffd}[2J 1  10.20.0.5  Connected\n  em = \"3f2e6a1c\"\n\
             3f2e6a1c  -  -  -\n  em = \"3f2e6a1c\"\n"
        );
        assert_eq!(shown(|out| show(&body(&site, vec![]), out)), "plant-a is paired with no appliance\n");
    }
}
