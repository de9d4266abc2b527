//! One configured appliance and its robots: how to reach it, how to trust it,
//! what each robot is for. Always valid, because every name and address is a
//! type whose constructor parses.
//!
//! Owns the words of the configuration as values. Leaves out where they come
//! from (`config`) and what has happened to them (`inventory`). No I/O.

mod endpoint;
mod keep;
mod name;

use std::{fmt, path::PathBuf, str::FromStr};

use time::Duration;

use crate::{
    renewal::RenewalPolicy,
    x509::{KeyAlgorithm, Profile, SpkiPin},
};

pub use endpoint::{Endpoint, MachineId};
pub use keep::Keep;
pub use name::{LONGEST_NAME, RobotId, RobotName, SiteName};

/// Why a name, an address or a word of the configuration was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name with other characters, too long, or of a reserved form.
    #[error("{given:?} is not a {what} name: {reason}")]
    Name {
        /// `site` or `robot`.
        what: &'static str,
        /// What was given.
        given: String,
        /// The rule that was broken.
        reason: &'static str,
    },
    /// Something else than `SITE/ROBOT`.
    #[error("{given:?} does not name a robot as SITE/ROBOT")]
    RobotId {
        /// What was given.
        given: String,
    },
    /// An address that is not `https://HOST[:PORT]`.
    #[error("{given:?} is not an appliance address: {reason}")]
    Endpoint {
        /// What was given, without any credentials it held.
        given: String,
        /// The rule that was broken.
        reason: &'static str,
    },
    /// Something that an Enterprise Manager cannot call an appliance.
    #[error("{given:?} is not a machine id: 1 to 64 of A-Z a-z 0-9 - are allowed")]
    MachineId {
        /// What was given.
        given: String,
    },
    /// Neither a number of files nor an age.
    #[error("{given:?} is neither a number of files from 1 on nor an age like 90d")]
    Keep {
        /// What was given.
        given: String,
    },
    /// A word that is not among the known ones.
    #[error("{given:?} is not a {what} (known: {known})")]
    Word {
        /// What the word stands for.
        what: &'static str,
        /// What was given.
        given: String,
        /// The known words.
        known: &'static str,
    },
}

/// How the server of a site is judged (product.md, Trust).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustPolicy {
    /// The operating system's root certificates.
    System,
    /// The certificates of one PEM file, as roots.
    CaFile(PathBuf),
    /// SHA-256 of the server's public key, current and next. Never empty.
    Pins(Vec<SpkiPin>),
}

/// What a robot may do on the appliance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// `ReaderRole`.
    Reader,
    /// `AdminRole`.
    Admin,
}

impl Role {
    /// The word of our command line, files and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Admin => "admin",
        }
    }

    /// The word of the appliance's API.
    #[must_use]
    pub fn on_the_wire(self) -> &'static str {
        match self {
            Self::Reader => "ReaderRole",
            Self::Admin => "AdminRole",
        }
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self, Error> {
        match given {
            "reader" | "ReaderRole" => Ok(Self::Reader),
            "admin" | "AdminRole" => Ok(Self::Admin),
            _ => Err(Error::Word {
                what: "role",
                given: given.to_owned(),
                known: "reader, admin, ReaderRole, AdminRole",
            }),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which kind of secret store is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// The operating system's keyring.
    Keyring,
    /// Encrypted files in the state directory.
    Sealed,
}

impl StoreKind {
    /// The word of our command line, files and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keyring => "keyring",
            Self::Sealed => "sealed",
        }
    }
}

impl FromStr for StoreKind {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self, Error> {
        match given {
            "keyring" => Ok(Self::Keyring),
            "sealed" => Ok(Self::Sealed),
            _ => Err(Error::Word { what: "secret store", given: given.to_owned(), known: "keyring, sealed, auto" }),
        }
    }
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who registers this site's robots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registrar {
    /// A support token given by a person.
    Token,
    /// An admin robot of the same site.
    Robot(RobotName),
}

/// An HTTP proxy for one site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// The proxy's host.
    pub host: String,
    /// The proxy's port.
    pub port: u16,
    /// Whether the support token may pass through it (inside TLS) too.
    pub token: bool,
}

/// Where the files of a credential are delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportTarget {
    /// The directory, absolute.
    pub dir: PathBuf,
    /// The mode of the key files; 0600 unless configured.
    pub mode: u32,
    /// A group name the files are given to.
    pub group: Option<String>,
}

/// The page sizes that can be asked for.
pub const PAGE_SIZES: std::ops::RangeInclusive<u32> = 1..=1000;

/// What `ingest` reads by itself, and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngestTarget {
    /// The streams to read.
    pub streams: Vec<Stream>,
    /// The format of the files.
    pub format: Format,
    /// How the files are compressed.
    pub compress: Compression,
    /// Which interface is read.
    pub api: ApiChoice,
    /// Records asked for at a time; `None`: the default.
    pub page_size: Option<u32>,
    /// Only what changed since the last complete run, where there was one.
    pub since_last: bool,
    /// The free-form details of each record too.
    pub with_details: bool,
    /// What is hidden on the appliance too.
    pub include_hidden: bool,
    /// The most requests in a second; `None`: the default.
    pub max_rate: Option<u32>,
    /// Which older files of a stream stay; `None`: all.
    pub keep: Option<Keep>,
    /// The directory, absolute; `None` for `STATE/ingest/SITE/ROBOT`.
    pub dir: Option<PathBuf>,
    /// How often, when scheduled.
    pub every: Option<Duration>,
}

impl IngestTarget {
    /// These streams with every default.
    #[must_use]
    pub fn of(streams: Vec<Stream>) -> Self {
        Self {
            streams,
            format: Format::Ndjson,
            compress: Compression::None,
            api: ApiChoice::Auto,
            page_size: None,
            since_last: false,
            with_details: false,
            include_hidden: false,
            max_rate: None,
            keep: None,
            dir: None,
            every: None,
        }
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $type:ident, $what:literal, $known:literal, { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $type { $($(#[$vdoc])* $variant),+ }

        impl $type {
            /// The word of our command line, files and JSON.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl FromStr for $type {
            type Err = Error;

            fn from_str(given: &str) -> Result<Self, Error> {
                match given {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(Error::Word { what: $what, given: given.to_owned(), known: $known }),
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// One kind of data that `ingest` can read.
    Stream, "stream", "assets, plugins, findings, events", {
        /// The devices the appliance knows.
        Assets = "assets",
        /// The checks the appliance runs.
        Plugins = "plugins",
        /// What those checks found, per device.
        Findings = "findings",
        /// What happened on the network.
        Events = "events",
    }
}

impl ApiChoice {
    /// Whether it can be asked for what changed from a time on: REST cannot.
    #[must_use]
    pub fn has_since(self) -> bool {
        self != Self::Rest
    }
}

impl Stream {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Assets, Self::Plugins, Self::Findings, Self::Events];

    /// Whether its records have a time from which on they can be asked for.
    #[must_use]
    pub fn has_since(self) -> bool {
        matches!(self, Self::Assets | Self::Events)
    }
}

words! {
    /// The format of an ingested file.
    Format, "format", "ndjson, csv, parquet", {
        /// One JSON object a line.
        Ndjson = "ndjson",
        /// RFC 4180, with a header line.
        Csv = "csv",
        /// Apache Parquet.
        Parquet = "parquet",
    }
}

words! {
    /// How an ingested file is compressed.
    Compression, "compression", "none, gzip, zstd", {
        /// Not at all.
        None = "none",
        /// RFC 1952.
        Gzip = "gzip",
        /// RFC 8878.
        Zstd = "zstd",
    }
}

words! {
    /// Which of the appliance's interfaces is to be read.
    ApiChoice, "interface", "auto, graphql, rest", {
        /// The one that answers; remembered.
        Auto = "auto",
        /// `/graphql`.
        Graphql = "graphql",
        /// `/v1`.
        Rest = "rest",
    }
}

/// Programs run at moments of a credential's life; fixed arguments, no shell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// After a new pair was exported.
    pub deploy: Option<Vec<String>>,
    /// When something failed.
    pub failure: Option<Vec<String>>,
    /// When a credential is about to expire.
    pub expiring: Option<Vec<String>>,
}

/// One robot as it is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Robot {
    /// The robot's name within its site.
    pub name: RobotName,
    /// Its role on the appliance.
    pub role: Role,
    /// The key type of its next credential.
    pub key_algorithm: KeyAlgorithm,
    /// The lifetime of its next credential in days, 1 to 365.
    pub days: u16,
    /// The certificate profile of its next credential.
    pub profile: Profile,
    /// When its credentials are re-issued.
    pub renewal: RenewalPolicy,
    /// How long before that a needed support token is asked for.
    pub token_lead: Duration,
    /// How long the old credential stays registered after the new one is delivered.
    pub overlap: Duration,
    /// Where its files are delivered.
    pub export: Option<ExportTarget>,
    /// What is read with it by schedule and after each rotation.
    pub ingest: Option<IngestTarget>,
    /// Programs run around its life.
    pub hooks: Hooks,
}

/// One configured appliance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The site's name.
    pub name: SiteName,
    /// Where it listens.
    pub endpoint: Endpoint,
    /// How its server is judged; `None` until somebody decided (first contact).
    pub trust: Option<TrustPolicy>,
    /// Who registers its robots.
    pub registrar: Registrar,
    /// A proxy on the way to it.
    pub proxy: Option<Proxy>,
    /// The appliance is behind an Enterprise Manager at `endpoint`, which
    /// relays GraphQL to the paired appliance of this machine id.
    pub em: Option<MachineId>,
    /// Its robots, in the order of the file.
    pub robots: Vec<Robot>,
}

impl Site {
    /// The robot of that name, if configured.
    #[must_use]
    pub fn robot(&self, name: &RobotName) -> Option<&Robot> {
        self.robots.iter().find(|robot| &robot.name == name)
    }
}
