//! `trust`: which server keys of a site are the right ones.

use std::io::{self, Write};

use clap::Args;
use robocred::{
    config::{Config, Editor},
    session,
    site::{SiteName, TrustPolicy},
    trust,
    x509::SpkiPin,
};

use crate::{
    Outcome,
    error::{CommandError, Kind},
    invocation::Invocation,
    opened::Opened,
    output::{
        clean,
        json::{Plan, Presented, RobotPlan, Time, Trust},
        results,
    },
    prompt,
};

/// Show, set or change which server a site's credentials may be used with
///
/// Without a flag, connects, shows the key that the server presents, and asks whether it is the
/// right one. Pins are written into the configuration file. Nothing turns verification off.
#[derive(Debug, Args)]
pub struct TrustArgs {
    /// The site
    #[arg(value_name = "SITE")]
    pub site: SiteName,

    /// Trust this public key, in the form of curl's --pinnedpubkey (repeatable: current and next)
    #[arg(long, value_name = "sha256//BASE64=")]
    pub pin: Vec<SpkiPin>,

    /// Only show what is trusted and what the server presents
    #[arg(long, conflicts_with = "pin")]
    pub show: bool,

    /// Print what would be done and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

pub fn run(invocation: &Invocation, args: &TrustArgs) -> Outcome {
    let opened = Opened::load(invocation)?;
    if args.dry_run && !args.pin.is_empty() {
        let before = opened.site(&args.site)?.trust.as_ref().map_or_else(|| "nothing".to_owned(), words);
        let after = words(&TrustPolicy::Pins(args.pin.clone()));
        let steps = vec![format!("trust {after} instead of {before}")];
        let body = Plan { plan: vec![RobotPlan { robot: args.site.to_string(), steps }] };
        invocation.output.result(&body, results::show_plan)?;
        return Ok(None);
    }
    if !args.pin.is_empty() {
        let config = set(&opened, &args.site, args.pin.clone())?;
        let site = config.site(&args.site).and_then(|site| site.trust.as_ref());
        invocation.output.result(&body(&args.site, site, None), show)?;
        return Ok(None);
    }
    super::block_on(look(invocation, args, &opened))?
}

/// Connects, shows what is presented, and asks a person about it where nothing
/// is trusted yet, or something else is.
async fn look(invocation: &Invocation, args: &TrustArgs, opened: &Opened) -> Outcome {
    let site = opened.site(&args.site)?;
    let presented = match session::observe(&site.name, &site.endpoint, site.proxy.as_ref()).await {
        Ok(presented) => presented,
        // What is trusted can be shown without the server.
        Err(error) if args.show && site.trust.is_some() => {
            invocation.output.note(&CommandError::from(error).for_programs().message);
            invocation.output.result(&body(&site.name, site.trust.as_ref(), None), show)?;
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    let pinned = matches!(&site.trust, Some(TrustPolicy::Pins(pins)) if pins.contains(&presented.spki_pin));
    let decided = pinned || matches!(&site.trust, Some(TrustPolicy::System | TrustPolicy::CaFile(_)));
    let mut policy = site.trust.clone();
    if !args.show && !decided && !args.dry_run {
        if let Some(trusted) = &site.trust {
            let name = &site.name;
            let told = format!(
                "the server of {name} CHANGED its key: trusted by {}, it presents {}",
                words(trusted),
                presented.spki_pin
            );
            if !invocation.interactive {
                return Err(CommandError::new(Kind::Untrusted, told).hint(format!(
                    "somebody may be in between; compare it there, then run `robocred trust {name} --pin '{}'`",
                    presented.spki_pin
                )));
            }
            invocation.output.note(&told);
        }
        if !prompt::confirm_server(invocation, &site.name, &presented.facts)? {
            return Err(CommandError::new(Kind::Untrusted, format!("the server of {} was not confirmed", site.name))
                .hint("nothing was changed, and nothing was sent to it"));
        }
        policy =
            set(opened, &site.name, vec![presented.spki_pin])?.site(&site.name).and_then(|site| site.trust.clone());
    }
    invocation.output.result(&body(&site.name, policy.as_ref(), Some(&presented)), show)?;
    Ok(None)
}

fn set(opened: &Opened, site: &SiteName, pins: Vec<SpkiPin>) -> Result<Config, CommandError> {
    let mut editor = Editor::open(&opened.paths.config)?;
    editor.set_trust(site, &TrustPolicy::Pins(pins))?;
    Ok(editor.save()?)
}

fn body(site: &SiteName, policy: Option<&TrustPolicy>, presented: Option<&trust::Presented>) -> Trust {
    Trust {
        site: site.to_string(),
        trust: policy.map(|policy| match policy {
            TrustPolicy::System => "system",
            TrustPolicy::CaFile(_) => "ca_file",
            TrustPolicy::Pins(_) => "pins",
        }),
        pins: match policy {
            Some(TrustPolicy::Pins(pins)) => pins.iter().map(SpkiPin::to_base64).collect(),
            _ => Vec::new(),
        },
        presented: presented.map(|presented| Presented {
            spki_sha256: presented.spki_pin.to_base64(),
            subject: presented.facts.subject.clone(),
            not_after: Time(presented.facts.validity.not_after),
        }),
    }
}

/// Shows what is trusted, then what was presented.
pub fn show(body: &Trust, out: &mut dyn Write) -> io::Result<()> {
    let trust = match body.trust {
        Some("system") => "the system's root certificates",
        Some("ca_file") => "the certificates of a file",
        Some("pins") => "pinned keys",
        _ => "nothing yet",
    };
    writeln!(out, "{}: trusts {trust}", clean::line(&body.site))?;
    for pin in &body.pins {
        writeln!(out, "  pin        sha256//{}", clean::line(pin))?;
    }
    if let Some(presented) = &body.presented {
        writeln!(out, "  presented  sha256//{}", clean::line(&presented.spki_sha256))?;
        writeln!(out, "             {}, valid until {}", clean::line(&presented.subject), presented.not_after)?;
    }
    Ok(())
}

/// A policy in a few words.
pub fn words(policy: &TrustPolicy) -> String {
    match policy {
        TrustPolicy::System => "the system's roots".to_owned(),
        TrustPolicy::CaFile(path) => format!("the CA file {}", path.display()),
        TrustPolicy::Pins(pins) => {
            format!("the pins {}", pins.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::output::{
        json::{Presented, Time},
        shown,
    };

    #[test]
    fn what_is_trusted_and_what_was_presented() {
        let trust = Trust {
            site: "plant-a".into(),
            trust: Some("pins"),
            pins: vec!["AA=".into()],
            presented: Some(Presented {
                spki_sha256: "BB=".into(),
                subject: "CN=evil\u{202e}".into(),
                not_after: Time(datetime!(2027-01-01 0:00 UTC)),
            }),
        };
        assert_eq!(
            shown(|out| show(&trust, out)),
            "\
plant-a: trusts pinned keys
  pin        sha256//AA=
  presented  sha256//BB=
             CN=evil\u{fffd}, valid until 2027-01-01T00:00:00Z
"
        );
    }
}
