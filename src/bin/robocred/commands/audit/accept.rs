//! `audit verify --accept`: a person says which of two state directories lives.

use robocred::anchor;

use crate::{
    error::{CommandError, Kind},
    invocation::Invocation,
    opened::{Opened, now},
    prompt,
};

pub(super) async fn run(invocation: &Invocation) -> Result<(), CommandError> {
    let opened = Opened::load(invocation)?;
    let Some(inventory) = opened.inventory_if_any().await? else { return Ok(()) };
    let standing = opened.anchored(invocation, &inventory).await?;
    if !standing.needs_person() {
        invocation.output.note("there is nothing to accept");
        return Ok(());
    }
    let place = opened.paths.state_dir.display();
    let question =
        format!("{standing}. Is {place} on this machine the one that lives, and no other copy of it is used?");
    if !prompt::confirm(invocation, &question)? {
        return Err(CommandError::new(Kind::Person, "it was not accepted").hint("nothing was changed"));
    }
    drop(inventory);

    let inventory = opened.inventory().await?;
    let secrets = opened.secrets(invocation, &inventory).await?;
    let configured = |id: &robocred::site::RobotId| {
        let (site, robot) = opened.config.robot(id)?;
        Some((robot.role, site.endpoint.clone()))
    };
    let machine = opened.paths.machine.as_deref();
    let added = anchor::accept(&inventory, &secrets, machine, configured, now()).await?;
    for id in added {
        invocation.output.note(&format!("{id} may be on the appliance and is listed among the leftovers"));
    }
    Ok(())
}
