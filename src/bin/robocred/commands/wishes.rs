//! What the flags want of a robot, against what is configured: refused where it
//! contradicts, confirmed by a person where it must be, and then written down.

use std::{
    fmt::Display,
    path::{Path, PathBuf},
};

use clap::{Args, builder::PossibleValue};
use robocred::{
    config::{self, Config, Editor, Overrides},
    credential::RegisteredName,
    session,
    site::{Endpoint, ExportTarget, RobotId, Role, SiteName, TrustPolicy},
    x509::{KeyAlgorithm, Profile, SpkiPin},
};

use super::{ingest, trust};
use crate::{
    cli::one_of,
    error::{CommandError, Kind},
    invocation::Invocation,
    opened::{Opened, absolute},
    prompt,
};

/// How an unknown server is to be judged: the flags of every command that may meet one with a person's word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct TrustFlags {
    /// Trust the server with this public key, in the form of curl's --pinnedpubkey (repeatable)
    #[arg(long, value_name = "sha256//BASE64=", conflicts_with_all = ["ca_file", "accept_new"])]
    pub pin: Vec<SpkiPin>,

    /// Trust servers certified by this PEM file
    #[arg(long, value_name = "FILE", conflicts_with = "accept_new")]
    pub ca_file: Option<PathBuf>,
}

impl TrustFlags {
    /// The policy that the flags name, if they name one.
    fn policy(&self) -> Result<Option<TrustPolicy>, CommandError> {
        let policy = match &self.ca_file {
            Some(file) => TrustPolicy::CaFile(absolute(file)?),
            None if self.pin.is_empty() => return Ok(None),
            None => TrustPolicy::Pins(self.pin.clone()),
        };
        Ok(Some(policy))
    }
}

/// What a robot's next credential is to be, and where it goes: the flags that
/// `provision` and `rotate` share.
#[derive(Clone, Debug, Default, Args)]
pub struct Wanted {
    /// What the robot may do [default: reader]
    #[arg(long, value_name = "ROLE", value_parser = one_of::<Role>(
        [Role::Reader, Role::Admin].map(|role| PossibleValue::new(role.as_str()).alias(role.on_the_wire()))
    ))]
    pub role: Option<Role>,

    /// The type of the key [default: rsa-2048]
    #[arg(long, value_name = "TYPE", value_parser = one_of::<KeyAlgorithm>(KeyAlgorithm::ALL.map(KeyAlgorithm::as_str)))]
    pub key_type: Option<KeyAlgorithm>,

    /// The certificate's lifetime in days, 1 to 365 [default: 365]
    #[arg(long, value_name = "N", value_parser = days, allow_negative_numbers = true)]
    pub days: Option<u16>,

    /// The certificate's extensions: client authentication, or those of `openssl req -x509` [default: client]
    #[arg(long, value_name = "PROFILE", value_parser = one_of::<Profile>(
        Profile::ALL.map(Profile::as_str)
    ))]
    pub profile: Option<Profile>,

    /// The name on the appliance, if not the robot's own
    #[arg(long, value_name = "NAME")]
    pub registered_name: Option<RegisteredName>,

    #[command(flatten)]
    pub trust: TrustFlags,

    /// Pin what the server presents at first contact, once a person confirmed it
    #[arg(long)]
    pub accept_new: bool,

    /// Write key.pem, cert.pem and combined.pem there, now and after each rotation
    #[arg(long, value_name = "DIR")]
    pub export: Option<PathBuf>,

    /// Read the device metadata once the robot works, now and after each rotation
    #[arg(long)]
    pub ingest: bool,
}

fn days(given: &str) -> Result<u16, String> {
    let days = given.parse().ok().filter(|days| (1..=365).contains(days));
    days.ok_or_else(|| format!("{given:?} is not a number of days from 1 to 365"))
}

impl Wanted {
    /// Whether no flag was given.
    pub(super) fn is_empty(&self) -> bool {
        let Self { role, key_type, days, profile, registered_name, trust, accept_new, export, ingest } = self;
        let said = role.is_some() || key_type.is_some() || days.is_some() || profile.is_some();
        let sent = registered_name.is_some() || export.is_some() || *ingest;
        !(said || sent || *trust != TrustFlags::default() || *accept_new)
    }

    /// As wishes of one robot.
    pub(super) fn wishes<'a>(&'a self, robot: &'a RobotId) -> Wishes<'a> {
        Wishes {
            robot,
            url: None,
            role: self.role,
            trust: &self.trust,
            accept_new: self.accept_new,
            overrides: Overrides { key_algorithm: self.key_type, days: self.days, profile: self.profile },
            export: self.export.as_deref(),
            ingest: self.ingest,
        }
    }
}

/// What the flags of one command want of the configuration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wishes<'a> {
    pub(super) robot: &'a RobotId,
    pub(super) url: Option<&'a Endpoint>,
    pub(super) role: Option<Role>,
    pub(super) trust: &'a TrustFlags,
    /// Whether what an unknown server presents is pinned although nobody
    /// confirmed it. Never where a support token may follow.
    pub(super) accept_new: bool,
    pub(super) overrides: Overrides,
    pub(super) export: Option<&'a Path>,
    pub(super) ingest: bool,
}

impl Wishes<'_> {
    /// A flag that contradicts the configuration is refused with both sides shown.
    pub(super) fn refuse_contradictions(&self, config: &Config) -> Result<(), CommandError> {
        let name = &self.robot.site;
        let flags = self.trust.policy()?;
        let Some(site) = config.site(name) else {
            self.url.ok_or_else(|| no_url(name))?;
            return applicable(flags.as_ref());
        };
        let differs = |key: String, configured: &dyn Display, given: &dyn Display| {
            let (configured, given) = (configured.to_string(), given.to_string());
            CommandError::from(config::Error::Differs { key, configured, given })
        };
        if let Some(url) = self.url.filter(|url| **url != site.endpoint) {
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

    /// Where the flags want the files.
    pub(super) fn export_target(
        &self,
        configured: Option<&ExportTarget>,
    ) -> Result<Option<ExportTarget>, CommandError> {
        let Some(dir) = self.export else { return Ok(None) };
        let dir = absolute(dir)?;
        Ok(Some(match configured {
            Some(target) if target.dir == dir => target.clone(),
            _ => ExportTarget { dir, mode: 0o600, group: None },
        }))
    }

    /// How the server is to be judged: as configured, as the flags say, or as a
    /// person confirms on the terminal.
    pub(super) async fn decide_trust(
        &self,
        invocation: &Invocation,
        opened: &Opened,
    ) -> Result<Option<TrustPolicy>, CommandError> {
        let name = &self.robot.site;
        let site = opened.config.site(name);
        let flags = self.trust.policy()?;
        let configured = site.and_then(|site| site.trust.as_ref());
        match (configured, flags) {
            (Some(_), _) => Ok(None),
            (None, Some(flags)) => Ok(Some(flags)),
            (None, None) => {
                let endpoint = self.url.or(site.map(|site| &site.endpoint)).ok_or_else(|| no_url(name))?;
                let proxy = site.and_then(|site| site.proxy.as_ref());
                let presented = session::observe(name, endpoint, proxy).await?;
                if self.accept_new {
                    invocation
                        .output
                        .note(&format!("pinned what {name} presented at first contact: {}", presented.spki_pin));
                } else if !prompt::confirm_server(invocation, name, &presented.facts)? {
                    return Err(CommandError::new(Kind::Untrusted, format!("the server of {name} was not confirmed"))
                        .hint("nothing was sent to it"));
                }
                Ok(Some(TrustPolicy::Pins(vec![presented.spki_pin])))
            }
        }
    }

    /// Adds what is new to the configuration; durable before anything else is done.
    pub(super) fn write_down(&self, opened: &Opened, trust: Option<TrustPolicy>) -> Result<Config, CommandError> {
        let id = self.robot;
        let mut editor = Editor::open(&opened.paths.config)?;
        match self.url {
            Some(url) => editor.add_site(&id.site, url)?,
            None if editor.config().site(&id.site).is_none() => return Err(no_url(&id.site)),
            None => {}
        }
        if let Some(trust) = trust {
            editor.set_trust(&id.site, &trust)?;
        }
        let configured = editor.config().robot(id).map(|(_, robot)| robot.role);
        editor.add_robot(id, self.role.or(configured).unwrap_or(Role::Reader))?;
        editor.set_overrides(id, self.overrides)?;
        let robot = editor.config().robot(id).map(|(_, robot)| robot.clone());
        if let Some(target) = self.export_target(robot.as_ref().and_then(|robot| robot.export.as_ref()))? {
            editor.set_export(id, &target)?;
        }
        if self.ingest && robot.is_some_and(|robot| robot.ingest.is_none()) {
            editor.set_ingest(id, &ingest::default_target())?;
        }
        Ok(editor.save()?)
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
