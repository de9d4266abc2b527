//! The first contact with a server nobody has decided about: shown, confirmed
//! or accepted by flag, and written into the configuration before anything is
//! sent to it. A support token is never involved here.

use robocred::{
    config::Editor,
    session,
    site::{SiteName, TrustPolicy},
};

use crate::{
    error::{CommandError, Kind},
    invocation::Invocation,
    opened::Opened,
    prompt,
};

/// Makes sure that the site's trust is decided; where it was not, the
/// configuration of `opened` is the new one afterwards. A site that stays
/// undecided without anybody having said no is left as it is.
pub async fn settle(
    invocation: &Invocation,
    opened: &mut Opened,
    name: &SiteName,
    accept_new: bool,
) -> Result<(), CommandError> {
    let site = opened.site(name)?;
    if site.trust.is_some() || !(accept_new || invocation.interactive) {
        return Ok(());
    }
    let presented = session::observe(name, &site.endpoint, site.proxy.as_ref()).await?;
    if !accept_new && !prompt::confirm_server(invocation, name, &presented.facts)? {
        return Err(CommandError::new(Kind::Untrusted, format!("the server of {name} was not confirmed"))
            .hint("nothing was sent to it"));
    }
    if accept_new {
        invocation.output.note(&format!("pinned what {name} presented at first contact: {}", presented.spki_pin));
    }
    let mut editor = Editor::open(&opened.paths.config)?;
    editor.set_trust(name, &TrustPolicy::Pins(vec![presented.spki_pin]))?;
    opened.config = editor.save()?;
    Ok(())
}
