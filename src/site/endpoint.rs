//! The address of an appliance.

use std::{fmt, str::FromStr};

use super::Error;

/// Where an appliance listens: `https://HOST[:PORT]` and nothing more.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    host: url::Host<String>,
    port: u16,
}

impl Endpoint {
    /// The host as it goes into a `Host` header: IPv6 in brackets.
    #[must_use]
    pub fn host(&self) -> String {
        self.host.to_string()
    }

    /// The host as a name or address to resolve and to name in TLS: IPv6 without brackets.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.host {
            url::Host::Ipv6(address) => address.to_string(),
            other => other.to_string(),
        }
    }

    /// The TCP port; 443 unless given.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `HOST` or `HOST:PORT`, as a `Host` header wants it.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.port == 443 { self.host() } else { format!("{}:{}", self.host, self.port) }
    }
}

/// The id by which an Enterprise Manager knows a paired appliance: 1 to 64 of
/// `[A-Za-z0-9-]`, in practice a UUID. One path segment, so that nothing in
/// it can lead to another path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MachineId(String);

impl MachineId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MachineId {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self, Error> {
        let fits = (1..=64).contains(&given.len()) && given.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if fits { Ok(Self(given.to_owned())) } else { Err(Error::MachineId { given: given.to_owned() }) }
    }
}

impl fmt::Display for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Endpoint {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self, Error> {
        // The text is repeated in the error only up to an "@": credentials stay out of logs.
        let shown = given.rsplit_once('@').map_or_else(|| given.to_owned(), |(_, rest)| format!("…@{rest}"));
        let refuse = |reason| Err(Error::Endpoint { given: shown.clone(), reason });
        let Ok(url) = url::Url::parse(given) else {
            return refuse("it is not a URL like https://10.20.0.5");
        };
        if url.scheme() != "https" {
            return refuse("it must begin with https://");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("it must not hold a user name or password");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return refuse("it must not hold a query or fragment");
        }
        if !matches!(url.path(), "" | "/") {
            return refuse("it must not hold a path");
        }
        let Some(host) = url.host() else {
            return refuse("it names no host");
        };
        if url.port() == Some(0) {
            return refuse("port 0 cannot be connected to");
        }
        Ok(Self { host: host.to_owned(), port: url.port_or_known_default().unwrap_or(443) })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}", self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        let ok = |text: &str, shown: &str| assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), shown);
        ok("https://10.20.0.5", "https://10.20.0.5");
        ok("https://plant.example:8443/", "https://plant.example:8443");
        ok("https://[::1]:8443", "https://[::1]:8443");
        ok("https://HOST.example:443", "https://host.example");
        assert_eq!("https://[::1]:8443".parse::<Endpoint>().unwrap().name(), "::1");
        for text in [
            "http://10.20.0.5",
            "10.20.0.5",
            "https://u:p@h",
            "https://u@h",
            "https://h/v1",
            "https://h/#x",
            "https://h?x=1",
            "https://",
            "https://h:0",
            "https://h:99999",
            "ftp://h",
            "",
        ] {
            assert!(text.parse::<Endpoint>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn credentials_in_an_address_are_not_repeated() {
        let error = "https://user:hunter2@h".parse::<Endpoint>().unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
