//! Where HTTP is served: the flags of `watch`, and of what starts one.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use clap::Args;

use crate::error::CommandError;

/// Where HTTP is served, and to whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args)]
pub struct Listen {
    /// Serve HTTP here: IP:PORT, or :PORT on this machine alone; port 0 takes a free one
    #[arg(long = "listen", value_name = "ADDR", value_parser = address)]
    pub at: Option<SocketAddr>,

    /// Serve HTTP to other machines too: whoever reaches it reads every robot's state
    #[arg(long = "listen-public", requires = "at")]
    pub public: bool,
}

fn address(given: &str) -> Result<SocketAddr, String> {
    let port = given.strip_prefix(':').unwrap_or(given);
    let here = port.parse::<u16>().map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    here.or_else(|_| given.parse())
        .map_err(|_| format!("{given:?} is no address like 127.0.0.1:9733, [::1]:9733 or :9733"))
}

impl Listen {
    /// Refuses an address that other machines reach, unless that was said too.
    pub fn check(&self) -> Result<(), CommandError> {
        match self.at {
            Some(address) if !address.ip().to_canonical().is_loopback() && !self.public => {
                Err(CommandError::usage(format!("--listen {address} is reached from other machines")).hint(
                    "anybody who reaches it can read the names, addresses and dates of every robot, without a \
                     password: listen at 127.0.0.1, or add --listen-public where a firewall or a proxy guards it",
                ))
            }
            _ => Ok(()),
        }
    }

    /// The same flags again, as arguments.
    pub fn arguments(&self) -> Vec<String> {
        let at = self.at.iter().flat_map(|address| ["--listen".to_owned(), address.to_string()]);
        at.chain(self.public.then(|| "--listen-public".to_owned())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_machine_is_this_one() {
        let check = |given: &str, expected: Option<&str>| {
            assert_eq!(address(given).ok().map(|address| address.to_string()).as_deref(), expected, "{given}");
        };
        check("9733", Some("127.0.0.1:9733"));
        check(":9733", Some("127.0.0.1:9733"));
        check(":0", Some("127.0.0.1:0"));
        check("127.0.0.1:9733", Some("127.0.0.1:9733"));
        check("[::1]:9733", Some("[::1]:9733"));
        check("0.0.0.0:80", Some("0.0.0.0:80"));
        for wrong in ["", ":", "::", "localhost:9733", "127.0.0.1", "65536", ":-1", "http://127.0.0.1:80"] {
            check(wrong, None);
        }
    }

    #[test]
    fn only_this_machine_is_served_unless_it_is_said() {
        let check = |address: &str, public: bool, allowed: bool| {
            let listen = Listen { at: Some(address.parse().unwrap()), public };
            assert_eq!(listen.check().is_ok(), allowed, "{address} {public}");
        };
        check("127.0.0.1:1", false, true);
        check("127.8.0.1:1", false, true);
        check("[::1]:1", false, true);
        check("[::ffff:127.0.0.1]:1", false, true);
        check("0.0.0.0:1", false, false);
        check("[::]:1", false, false);
        check("10.0.0.1:1", false, false);
        check("[::]:1", true, true);
    }
}
