//! What the flags want, against what is configured: refused where it
//! contradicts, confirmed by a person where it must be, and then written down.

use std::fmt::Display;

use robocred::{
    config::{self, Config, Editor, Overrides},
    session,
    site::{ExportTarget, Role, SiteName, TrustPolicy},
};

use super::ProvisionArgs;
use crate::{
    commands::{ingest, trust},
    error::{CommandError, Kind},
    invocation::Invocation,
    opened::{Opened, absolute},
    prompt,
};

impl ProvisionArgs {
    /// A flag that contradicts the configuration is refused with both sides shown.
    pub(super) fn refuse_contradictions(&self, config: &Config) -> Result<(), CommandError> {
        let name = &self.robot.site;
        let flags = self.trust()?;
        let Some(site) = config.site(name) else {
            self.url.as_ref().ok_or_else(|| no_url(name))?;
            return applicable(flags.as_ref());
        };
        let differs = |key: String, configured: &dyn Display, given: &dyn Display| {
            let (configured, given) = (configured.to_string(), given.to_string());
            CommandError::from(config::Error::Differs { key, configured, given })
        };
        if let Some(url) = self.url.as_ref().filter(|url| **url != site.endpoint) {
            return Err(differs(format!("sites.{name}.url"), &site.endpoint, url));
        }
        let configured = site.robot(&self.robot.robot).map(|robot| robot.role);
        if let (Some(configured), Some(role)) = (configured, self.role)
            && configured != role
        {
            return Err(differs(format!("sites.{name}.robots.{}.role", self.robot.robot), &configured, &role));
        }
        match (&site.trust, flags) {
            (Some(configured), Some(flags)) if *configured != flags => Err(CommandError::new(
                Kind::Config,
                format!("{name} is trusted by {}, not by {}", trust::words(configured), trust::words(&flags)),
            )
            .hint(format!("leave the flag away, or change it with `robocred trust {name} --pin …`"))),
            (_, flags) => applicable(flags.as_ref()),
        }
    }

    /// The policy that the flags name, if they name one.
    fn trust(&self) -> Result<Option<TrustPolicy>, CommandError> {
        let policy = match &self.ca_file {
            Some(file) => TrustPolicy::CaFile(absolute(file)?),
            None if self.pin.is_empty() => return Ok(None),
            None => TrustPolicy::Pins(self.pin.clone()),
        };
        Ok(Some(policy))
    }

    /// Where the flags want the files.
    pub(super) fn export_target(
        &self,
        configured: Option<&ExportTarget>,
    ) -> Result<Option<ExportTarget>, CommandError> {
        let Some(dir) = &self.export else { return Ok(None) };
        let dir = absolute(dir)?;
        Ok(Some(match configured {
            Some(target) if target.dir == dir => target.clone(),
            _ => ExportTarget { dir, mode: 0o600, group: None },
        }))
    }
}

/// How the server is to be judged: as configured, as the flags say, or as a
/// person confirms on the terminal. A token never leaves on first sight alone.
pub(super) async fn decide_trust(
    invocation: &Invocation,
    args: &ProvisionArgs,
    opened: &Opened,
) -> Result<Option<TrustPolicy>, CommandError> {
    let name = &args.robot.site;
    let site = opened.config.site(name);
    let flags = args.trust()?;
    let configured = site.and_then(|site| site.trust.as_ref());
    match (configured, flags) {
        (Some(_), _) => Ok(None),
        (None, Some(flags)) => Ok(Some(flags)),
        (None, None) => {
            let endpoint = args.url.as_ref().or(site.map(|site| &site.endpoint)).ok_or_else(|| no_url(name))?;
            let proxy = site.and_then(|site| site.proxy.as_ref());
            let presented = session::observe(name, endpoint, proxy).await?;
            if prompt::confirm_server(invocation, name, &presented.facts)? {
                Ok(Some(TrustPolicy::Pins(vec![presented.spki_pin])))
            } else {
                Err(CommandError::new(Kind::Untrusted, format!("the server of {name} was not confirmed"))
                    .hint("nothing was sent to it"))
            }
        }
    }
}

/// A policy that cannot be applied is not written down.
fn applicable(policy: Option<&TrustPolicy>) -> Result<(), CommandError> {
    if let Some(policy) = policy {
        robocred::trust::judge(policy, None)?;
    }
    Ok(())
}

fn no_url(site: &SiteName) -> CommandError {
    CommandError::usage(format!("the site {site} is not configured, and --url is not given"))
        .hint("give the appliance's address: --url https://10.20.0.5")
}

/// Adds what is new to the configuration; durable before anything else is done.
pub(super) fn write_down(
    args: &ProvisionArgs,
    opened: &Opened,
    trust: Option<TrustPolicy>,
) -> Result<Config, CommandError> {
    let id = &args.robot;
    let mut editor = Editor::open(&opened.paths.config)?;
    match &args.url {
        Some(url) => editor.add_site(&id.site, url)?,
        None if editor.config().site(&id.site).is_none() => return Err(no_url(&id.site)),
        None => {}
    }
    if let Some(trust) = trust {
        editor.set_trust(&id.site, &trust)?;
    }
    let configured = editor.config().robot(id).map(|(_, robot)| robot.role);
    editor.add_robot(id, args.role.or(configured).unwrap_or(Role::Reader))?;
    editor.set_overrides(id, Overrides { key_algorithm: args.key_type, days: args.days, profile: args.profile })?;
    let robot = editor.config().robot(id).map(|(_, robot)| robot.clone());
    if let Some(target) = args.export_target(robot.as_ref().and_then(|robot| robot.export.as_ref()))? {
        editor.set_export(id, &target)?;
    }
    if args.ingest && robot.is_some_and(|robot| robot.ingest.is_none()) {
        editor.set_ingest(id, &ingest::default_target())?;
    }
    Ok(editor.save()?)
}
