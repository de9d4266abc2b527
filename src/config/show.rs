//! The resolved configuration for people and programs.
//!
//! The text is a configuration file again: what is shown, written to a file,
//! means the same with no default left to guess.

use std::{fmt, path::Path};

use serde::{Serialize, Serializer};

use super::{Config, Paths, VERSION};
use crate::{
    renewal::format_duration,
    site::{ExportTarget, Hooks, IngestTarget, Keep, Proxy, Registrar, Robot, Site, TrustPolicy},
};

/// The resolved configuration with its origins, for `config show`: as TOML
/// through `Display`, as JSON through `Serialize`. Paths that are not UTF-8
/// are shown with replacement characters.
#[derive(Debug, Serialize)]
pub struct View {
    schema: u8,
    config: String,
    config_origin: String,
    exists: bool,
    state_dir: String,
    state_origin: String,
    system: bool,
    /// Where the sealing key is looked for, in this order.
    seal: Vec<String>,
    resolved: File,
}

#[derive(Debug, Serialize)]
struct File {
    version: i64,
    defaults: Defaults,
    sites: Named<SiteView>,
}

#[derive(Debug, Serialize)]
struct Defaults {
    key_type: &'static str,
    days: u16,
    profile: &'static str,
    renew_before: String,
    token_lead: String,
    overlap: String,
    store: &'static str,
    seal_key_file: Option<String>,
    seal_passphrase_file: Option<String>,
}

#[derive(Debug, Serialize)]
struct SiteView {
    url: String,
    trust: Option<Trust>,
    registrar: String,
    proxy: Option<String>,
    proxy_token: Option<bool>,
    em: Option<String>,
    robots: Named<RobotView>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Trust {
    Word(&'static str),
    CaFile { ca_file: String },
    Pins { pins: Vec<String> },
}

#[derive(Debug, Serialize)]
struct RobotView {
    role: &'static str,
    key_type: &'static str,
    days: u16,
    profile: &'static str,
    renew_before: String,
    token_lead: String,
    overlap: String,
    export: Option<Export>,
    ingest: Option<Ingest>,
    hooks: Option<HooksView>,
}

#[derive(Debug, Serialize)]
struct Export {
    dir: String,
    mode: String,
    group: Option<String>,
}

#[derive(Debug, Serialize)]
struct Ingest {
    streams: Vec<&'static str>,
    format: &'static str,
    compress: &'static str,
    api: &'static str,
    page_size: Option<u32>,
    since: Option<&'static str>,
    with_details: bool,
    include_hidden: bool,
    max_rate: Option<u32>,
    keep: Option<KeepView>,
    dir: Option<String>,
    every: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum KeepView {
    Count(u32),
    Age(String),
}

#[derive(Debug, Serialize)]
struct HooksView {
    deploy: Option<Vec<String>>,
    failure: Option<Vec<String>>,
    expiring: Option<Vec<String>>,
}

/// A table whose keys are names, in the order of the file.
#[derive(Debug)]
struct Named<T>(Vec<(String, T)>);

impl<T: Serialize> Serialize for Named<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl View {
    /// The view of a configuration that was loaded from these paths.
    #[must_use]
    pub fn of(config: &Config, paths: &Paths) -> Self {
        let credential = paths.seal.credential.as_deref();
        let places = [credential, config.seal_key_file.as_deref(), config.seal_passphrase_file.as_deref()];
        let seal = places.into_iter().flatten().chain([paths.seal.default_key_file.as_path()]);
        Self {
            schema: 1,
            config: text(&config.path),
            config_origin: paths.config_origin.to_string(),
            exists: config.exists,
            state_dir: text(&paths.state_dir),
            state_origin: paths.state_origin.to_string(),
            system: paths.system,
            seal: seal.map(text).collect(),
            resolved: File {
                version: VERSION,
                defaults: defaults(config),
                sites: Named(config.sites.iter().map(|of| (of.name.to_string(), site(of))).collect()),
            },
        }
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missing = if self.exists { "" } else { ", which does not exist" };
        writeln!(f, "# configuration: {} (from {}){missing}", self.config, self.config_origin)?;
        writeln!(f, "# state: {} (from {})", self.state_dir, self.state_origin)?;
        writeln!(f, "# sealing key, first found: {}", self.seal.join(", "))?;
        f.write_str(&toml::to_string(&self.resolved).map_err(|_| fmt::Error)?)
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn defaults(config: &Config) -> Defaults {
    let of = &config.defaults;
    Defaults {
        key_type: of.key_algorithm.as_str(),
        days: of.days,
        profile: of.profile.as_str(),
        renew_before: of.renew_before.to_string(),
        token_lead: format_duration(of.token_lead),
        overlap: format_duration(of.overlap),
        store: config.store.map_or("auto", |kind| kind.as_str()),
        seal_key_file: config.seal_key_file.as_deref().map(text),
        seal_passphrase_file: config.seal_passphrase_file.as_deref().map(text),
    }
}

fn site(of: &Site) -> SiteView {
    SiteView {
        url: of.endpoint.to_string(),
        trust: of.trust.as_ref().map(|trust| match trust {
            TrustPolicy::System => Trust::Word("system"),
            TrustPolicy::CaFile(file) => Trust::CaFile { ca_file: text(file) },
            TrustPolicy::Pins(pins) => Trust::Pins { pins: pins.iter().map(ToString::to_string).collect() },
        }),
        registrar: match &of.registrar {
            Registrar::Token => "token".to_owned(),
            Registrar::Robot(name) => name.to_string(),
        },
        proxy: of.proxy.as_ref().map(proxy),
        proxy_token: of.proxy.as_ref().map(|proxy| proxy.token),
        em: of.em.as_ref().map(ToString::to_string),
        robots: Named(of.robots.iter().map(|of| (of.name.to_string(), robot(of))).collect()),
    }
}

fn proxy(of: &Proxy) -> String {
    // An IPv6 address stands in brackets.
    let host = if of.host.contains(':') { format!("[{}]", of.host) } else { of.host.clone() };
    format!("http://{host}:{}", of.port)
}

fn robot(of: &Robot) -> RobotView {
    RobotView {
        role: of.role.as_str(),
        key_type: of.key_algorithm.as_str(),
        days: of.days,
        profile: of.profile.as_str(),
        renew_before: of.renewal.renew_before().to_string(),
        token_lead: format_duration(of.token_lead),
        overlap: format_duration(of.overlap),
        export: of.export.as_ref().map(export),
        ingest: of.ingest.as_ref().map(ingest),
        hooks: (of.hooks != Hooks::default()).then(|| HooksView {
            deploy: of.hooks.deploy.clone(),
            failure: of.hooks.failure.clone(),
            expiring: of.hooks.expiring.clone(),
        }),
    }
}

fn export(of: &ExportTarget) -> Export {
    Export { dir: text(&of.dir), mode: format!("{:04o}", of.mode), group: of.group.clone() }
}

fn ingest(of: &IngestTarget) -> Ingest {
    Ingest {
        streams: of.streams.iter().map(|stream| stream.as_str()).collect(),
        format: of.format.as_str(),
        compress: of.compress.as_str(),
        api: of.api.as_str(),
        page_size: of.page_size,
        since: of.since_last.then_some("last"),
        with_details: of.with_details,
        include_hidden: of.include_hidden,
        max_rate: of.max_rate,
        keep: of.keep.map(|keep| match keep {
            Keep::Count(count) => KeepView::Count(count),
            Keep::Age(age) => KeepView::Age(format_duration(age)),
        }),
        dir: of.dir.as_deref().map(text),
        every: of.every.map(format_duration),
    }
}
