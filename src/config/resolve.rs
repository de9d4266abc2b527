//! From the text of the file to values: defaults applied, everything checked
//! against everything else.

use std::{
    collections::HashMap,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use time::Duration;

use super::{
    Config, Problem, VERSION,
    file::{Section, Sheet, absolute_path},
};
use crate::{
    renewal::{RenewBefore, RenewalPolicy, parse_duration},
    site::{
        self, Endpoint, ExportTarget, Hooks, IngestTarget, Keep, MachineId, PAGE_SIZES, Proxy, Registrar, Robot,
        RobotId, RobotName, Role, Site, SiteName, StoreKind, Stream, TrustPolicy,
    },
    x509::{KeyAlgorithm, Profile},
};

/// What a robot inherits where it says nothing itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// The key type.
    pub key_algorithm: KeyAlgorithm,
    /// The lifetime in days, 1 to 365.
    pub days: u16,
    /// The certificate profile.
    pub profile: Profile,
    /// How long before its end a credential is re-issued.
    pub renew_before: RenewBefore,
    /// How long before that a needed support token is asked for.
    pub token_lead: Duration,
    /// How long the old credential stays registered after the new one is delivered.
    pub overlap: Duration,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            key_algorithm: KeyAlgorithm::Rsa2048,
            days: 365,
            profile: Profile::Client,
            renew_before: RenewBefore::default(),
            token_lead: Duration::days(30),
            overlap: Duration::days(14),
        }
    }
}

/// The mode of exported key files unless configured.
pub(super) const EXPORT_MODE: u32 = 0o600;

/// The keys that `defaults` and a robot share.
const SHARED: [&str; 6] = ["key_type", "days", "profile", "renew_before", "token_lead", "overlap"];

/// Reads a whole file; `None` for a missing one.
pub(super) fn resolve(path: &Path, text: Option<&str>) -> Result<Config, Vec<Problem>> {
    let sheet = Sheet::new(text.unwrap_or_default());
    let mut config = Config {
        path: path.to_owned(),
        exists: text.is_some(),
        defaults: Defaults::default(),
        store: None,
        seal_key_file: None,
        seal_passphrase_file: None,
        sites: Vec::new(),
    };
    if let Some(document) = sheet.parse()
        && !document.is_empty()
    {
        read_file(&Section::root(&sheet, &document), &mut config);
    }
    let problems = sheet.into_problems();
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

fn read_file(file: &Section, config: &mut Config) {
    match file.integer("version") {
        None => drop(file.required("version", "1")),
        Some(version) if version > VERSION => {
            // Whatever else the file says is not for us to judge.
            let message = format!("the file is of version {version}, this robocred reads up to version {VERSION}");
            return file.wrong("version", message, "use a newer robocred");
        }
        Some(version) if version < VERSION => {
            file.wrong("version", format!("there is no version {version}"), "write version = 1");
        }
        Some(_) => {}
    }
    file.only(&["version", "defaults", "sites"]);
    if let Some(section) = file.section("defaults") {
        section.only(&[&SHARED[..], &["store", "seal_key_file", "seal_passphrase_file"]].concat());
        config.defaults = shared(&section, &config.defaults);
        renewal(&section, &config.defaults);
        config.store = section.parsed("store", "write auto, keyring or sealed", store).flatten();
        config.seal_key_file = section.absolute_path("seal_key_file");
        config.seal_passphrase_file = section.absolute_path("seal_passphrase_file");
    }
    let mut seen = Seen::default();
    for (sites, name, section) in file.section("sites").iter().flat_map(Section::sections) {
        let name = sites.name::<SiteName>(name);
        config.sites.extend(site(&section, name, &config.defaults, &mut seen));
    }
}

fn store(word: &str) -> Result<Option<StoreKind>, site::Error> {
    if word == "auto" { Ok(None) } else { word.parse().map(Some) }
}

/// The values that `defaults` and a robot share, over those inherited.
fn shared(section: &Section, inherited: &Defaults) -> Defaults {
    let duration = |name, hint| section.parsed(name, hint, parse_duration);
    Defaults {
        key_algorithm: section
            .parsed("key_type", "rsa-2048 is what the vendor documents", str::parse)
            .unwrap_or(inherited.key_algorithm),
        days: days(section).unwrap_or(inherited.days),
        profile: section.parsed("profile", "write client or openssl", str::parse).unwrap_or(inherited.profile),
        renew_before: section
            .parsed("renew_before", "write a part of the lifetime like 1/3, or a time like 90d", str::parse)
            .unwrap_or(inherited.renew_before),
        token_lead: duration("token_lead", "write a time like 30d").unwrap_or(inherited.token_lead),
        overlap: duration("overlap", "write a time like 14d").unwrap_or(inherited.overlap),
    }
}

fn days(section: &Section) -> Option<u16> {
    let given = section.integer("days")?;
    let days = u16::try_from(given).ok().filter(|days| (1..=365).contains(days));
    if days.is_none() {
        section.wrong("days", format!("{given} days is not a lifetime"), "write a number from 1 to 365");
    }
    days
}

/// The policy for `wanted`. A pair that was inherited whole has been noted
/// where it stands, and is not noted again.
fn renewal(section: &Section, wanted: &Defaults) -> Option<RenewalPolicy> {
    RenewalPolicy::new(wanted.renew_before, wanted.days)
        .map_err(|error| {
            let own = ["renew_before", "days"].into_iter().find(|name| section.has(name));
            if let Some(name) = own {
                section.wrong(name, error.to_string(), "renew later, or let the credential live longer");
            }
        })
        .ok()
}

fn site(section: &Section, name: Option<SiteName>, defaults: &Defaults, seen: &mut Seen) -> Option<Site> {
    section.only(&["url", "trust", "registrar", "proxy", "proxy_token", "em", "robots"]);
    let endpoint = section
        .required("url", "\"https://10.20.0.5\"")
        .and_then(|()| section.parsed("url", "write https://HOST or https://HOST:PORT", str::parse::<Endpoint>));
    let trust = trust(section);
    let proxy = proxy(section);
    let em = section.parsed("em", "write the machine id that the Enterprise Manager lists", str::parse::<MachineId>);
    let mut robots = Vec::new();
    let all_robots = section.section("robots");
    for (parent, robot_name, robot_section) in all_robots.iter().flat_map(Section::sections) {
        let robot_name = parent.name::<RobotName>(robot_name);
        if let Some(robot) = robot(&robot_section, robot_name, defaults) {
            if let (Some(name), Some(endpoint)) = (&name, &endpoint) {
                seen.note(&robot_section, name, endpoint, &robot);
            }
            robots.push(robot);
        }
    }
    let registrar = registrar(section, &robots, all_robots.as_ref());
    Some(Site { name: name?, endpoint: endpoint?, trust, registrar, proxy, em, robots })
}

fn trust(section: &Section) -> Option<TrustPolicy> {
    let hint = "write \"system\", { ca_file = \"/FILE\" } or { pins = [\"sha256//BASE64=\"] }";
    if section.is_text("trust") {
        return section.parsed("trust", hint, |word| match word {
            "system" => Ok(TrustPolicy::System),
            other => Err(format!("{other:?} is not a way to trust a server")),
        });
    }
    let table = section.section("trust")?;
    table.only(&["ca_file", "pins"]);
    match (table.has("ca_file"), table.has("pins")) {
        (true, false) => table.absolute_path("ca_file").map(TrustPolicy::CaFile),
        (false, true) => table.list("pins", "a pin looks like sha256//BASE64=", str::parse).map(TrustPolicy::Pins),
        (both, _) => {
            let message = if both { "it holds a CA file and pins" } else { "it holds neither a CA file nor pins" };
            section.wrong("trust", message, hint);
            None
        }
    }
}

fn proxy(section: &Section) -> Option<Proxy> {
    let token = section.boolean("proxy_token").unwrap_or(false);
    if section.has("proxy_token") && !section.has("proxy") {
        section.wrong("proxy_token", "there is no proxy to let the token through", "add a proxy, or remove this line");
    }
    let (host, port) = section.parsed("proxy", "write http://HOST:PORT", parse_proxy)?;
    Some(Proxy { host, port, token })
}

/// `http://HOST[:PORT]`. The text is never repeated, as it might hold a password.
fn parse_proxy(given: &str) -> Result<(String, u16), &'static str> {
    let url = url::Url::parse(given).map_err(|_| "it is not a URL")?;
    if url.scheme() != "http" {
        return Err("it must begin with http://");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it must not hold a user name or password");
    }
    if url.query().is_some() || url.fragment().is_some() || url.path() != "/" {
        return Err("it must end after the port");
    }
    let host = match url.host().ok_or("it names no host")? {
        url::Host::Ipv6(address) => address.to_string(),
        other => other.to_string(),
    };
    match url.port_or_known_default() {
        None | Some(0) => Err("port 0 cannot be connected to"),
        Some(port) => Ok((host, port)),
    }
}

fn registrar(section: &Section, robots: &[Robot], all_robots: Option<&Section>) -> Registrar {
    let hint = "write \"token\", or the name of an admin robot of this site";
    let parse = |word: &str| match word {
        "token" => Ok(Registrar::Token),
        name => name.parse().map(Registrar::Robot),
    };
    let registrar = section.parsed("registrar", hint, parse).unwrap_or(Registrar::Token);
    if let Registrar::Robot(name) = &registrar {
        match robots.iter().find(|robot| &robot.name == name) {
            Some(robot) if robot.role == Role::Admin => {}
            Some(_) => section.wrong("registrar", format!("the robot {name} is not an admin"), hint),
            // A robot that is there but wrong has been noted already.
            None if all_robots.is_some_and(|robots| robots.has(name.as_str())) => {}
            None => section.wrong("registrar", format!("this site has no robot {name}"), hint),
        }
    }
    registrar
}

fn robot(section: &Section, name: Option<RobotName>, defaults: &Defaults) -> Option<Robot> {
    section.only(&[&SHARED[..], &["role", "export", "ingest", "hooks"]].concat());
    let role = section
        .required("role", "\"reader\"")
        .and_then(|()| section.parsed("role", "write reader or admin", str::parse::<Role>));
    let own = shared(section, defaults);
    let renewal = renewal(section, &own);
    let export = section.section("export").and_then(|export| export_target(&export));
    let ingest = section.section("ingest").and_then(|ingest| ingest_target(&ingest));
    let hooks = section.section("hooks").map(|hooks| self::hooks(&hooks)).unwrap_or_default();
    Some(Robot {
        name: name?,
        role: role?,
        key_algorithm: own.key_algorithm,
        days: own.days,
        profile: own.profile,
        renewal: renewal?,
        token_lead: own.token_lead,
        overlap: own.overlap,
        export,
        ingest,
        hooks,
    })
}

fn export_target(section: &Section) -> Option<ExportTarget> {
    section.only(&["dir", "mode", "group"]);
    let mode = section.parsed("mode", "write \"0600\", or \"0640\" with a group", parse_mode).unwrap_or(EXPORT_MODE);
    let group = section.parsed("group", "write the name of a group", |name| match name {
        "" => Err("it is empty"),
        name if name.contains(['\0', ':', '/', '\n']) => Err("it is not the name of a group"),
        name => Ok(name.to_owned()),
    });
    section.required("dir", "\"/srv/robocred\"")?;
    Some(ExportTarget { dir: section.absolute_path("dir")?, mode, group })
}

/// The mode of a file that holds a private key.
fn parse_mode(given: &str) -> Result<u32, String> {
    let octal = !given.is_empty() && given.len() <= 4 && given.bytes().all(|b| (b'0'..=b'7').contains(&b));
    let mode = if octal { u32::from_str_radix(given, 8).ok() } else { None };
    match mode {
        None => Err(format!("{given:?} is not a mode in octal digits")),
        Some(mode) if mode & 0o007 != 0 => Err(format!("{given:?} gives every user access to the private key")),
        Some(mode) if mode & !0o660 != 0 => Err(format!("{given:?} has bits that make no sense on a key file")),
        Some(mode) if mode & 0o400 == 0 => Err(format!("{given:?} takes the owner's own access away")),
        Some(mode) => Ok(mode),
    }
}

fn ingest_target(section: &Section) -> Option<IngestTarget> {
    section.only(&[
        "streams",
        "format",
        "compress",
        "api",
        "page_size",
        "since",
        "with_details",
        "include_hidden",
        "max_rate",
        "keep",
        "dir",
        "every",
    ]);
    let plain = IngestTarget::of(Vec::new());
    let target = IngestTarget {
        format: section.parsed("format", "write ndjson, csv or parquet", str::parse).unwrap_or(plain.format),
        compress: section.parsed("compress", "write none, gzip or zstd", str::parse).unwrap_or(plain.compress),
        api: section.parsed("api", "write auto, graphql or rest", str::parse).unwrap_or(plain.api),
        page_size: number(section, "page_size", PAGE_SIZES),
        since_last: section.parsed("since", "write \"last\", or leave it out", since).is_some(),
        with_details: section.boolean("with_details").unwrap_or(plain.with_details),
        include_hidden: section.boolean("include_hidden").unwrap_or(plain.include_hidden),
        max_rate: number(section, "max_rate", 1..=u32::MAX),
        keep: keep(section),
        dir: section.absolute_path("dir"),
        every: section.parsed("every", "write a time like 1d", parse_duration),
        ..plain
    };
    if target.since_last && !target.api.has_since() {
        section.wrong("since", "REST cannot be asked for what changed", "leave out api, or since");
    }
    section.required("streams", "[\"assets\"]")?;
    let streams = section.list("streams", "name streams, like [\"assets\"]", str::parse::<Stream>)?;
    let twice = streams.iter().enumerate().find(|(at, stream)| streams[..*at].contains(stream));
    if let Some((_, stream)) = twice {
        section.wrong("streams", format!("{stream} is named twice"), "name each stream once");
    }
    Some(IngestTarget { streams, ..target })
}

/// A whole number within bounds.
fn number(section: &Section, name: &str, bounds: RangeInclusive<u32>) -> Option<u32> {
    let given = section.integer(name)?;
    let number = u32::try_from(given).ok().filter(|number| bounds.contains(number));
    if number.is_none() {
        let hint = format!("write a number from {} to {}", bounds.start(), bounds.end());
        section.wrong(name, format!("{given} is out of bounds"), &hint);
    }
    number
}

fn since(word: &str) -> Result<(), String> {
    if word == "last" { Ok(()) } else { Err(format!("{word:?} is not a moment that every run can begin from")) }
}

fn keep(section: &Section) -> Option<Keep> {
    if section.is_text("keep") {
        section.parsed("keep", "write a number of files like 30, or an age like \"90d\"", str::parse)
    } else {
        number(section, "keep", 1..=u32::MAX).map(Keep::Count)
    }
}

fn hooks(section: &Section) -> Hooks {
    section.only(&["deploy", "failure", "expiring"]);
    let command = |name| {
        let hint = "write [\"/absolute/program\", \"argument\"]";
        let command = section.list(name, hint, |word| match word {
            word if word.contains('\0') => Err("it holds a NUL character"),
            word => Ok(word.to_owned()),
        })?;
        // Looked for in PATH, another program of that name could be run.
        if let Err(message) = absolute_path(&command[0]) {
            section.wrong(name, message, hint);
        }
        Some(command)
    };
    Hooks { deploy: command("deploy"), failure: command("failure"), expiring: command("expiring") }
}

/// What only one robot may hold, and which one does.
#[derive(Default)]
struct Seen {
    accounts: HashMap<(Endpoint, RobotName), RobotId>,
    exports: HashMap<PathBuf, RobotId>,
    ingests: HashMap<PathBuf, RobotId>,
}

impl Seen {
    fn note(&mut self, section: &Section, site: &SiteName, endpoint: &Endpoint, robot: &Robot) {
        let id = RobotId { site: site.clone(), robot: robot.name.clone() };
        if let Some(other) = self.accounts.insert((endpoint.clone(), robot.name.clone()), id.clone()) {
            let message = format!("{other} is the same robot: both sites have the address {endpoint}");
            section.wrong_itself(message, "give one of them another name");
        }
        let export = robot.export.as_ref().map(|export| &export.dir);
        let ingest = robot.ingest.as_ref().and_then(|ingest| ingest.dir.as_ref());
        for (name, dir, seen) in [("export", export, &mut self.exports), ("ingest", ingest, &mut self.ingests)] {
            if let Some(dir) = dir
                && let Some(other) = seen.insert(dir.clone(), id.clone())
            {
                let message = format!("{other} writes to {} too", dir.display());
                section.wrong(name, message, "give each robot a directory of its own");
            }
        }
    }
}
