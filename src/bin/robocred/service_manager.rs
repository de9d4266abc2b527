//! Talking to the service manager, where there is one: `sd_notify(3)` over its
//! datagram socket. What cannot be sent is told to nobody: the service manager
//! itself draws the conclusion.

use std::time::Duration;

use robocred::config::Environment;

/// What started this process and wants to hear of it.
#[derive(Debug, Default)]
pub struct ServiceManager {
    #[cfg(unix)]
    socket: Option<std::os::unix::net::UnixDatagram>,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// As `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` say.
    pub fn of(environment: &Environment) -> Self {
        let number = |name| environment.get(name)?.to_str()?.parse::<u64>().ok();
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|usec| ours && *usec > 0).map(Duration::from_micros);
        Self {
            #[cfg(unix)]
            socket: environment.get("NOTIFY_SOCKET").and_then(socket),
            watchdog,
        }
    }

    /// How often it wants to hear that this process is well: twice in the time after which it would end it.
    pub fn every(&self) -> Option<Duration> {
        self.watchdog.map(|limit| limit / 2)
    }

    /// Assignments, one a line, for example `READY=1`.
    #[cfg(unix)]
    pub fn tell(&self, assignments: &str) {
        if let Some(socket) = &self.socket {
            let _ = socket.send(assignments.as_bytes());
        }
    }

    #[cfg(not(unix))]
    pub fn tell(&self, _assignments: &str) {}

    /// A reload has begun; it ends with `READY=1`.
    #[cfg(unix)]
    pub fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.tv_sec * 1_000_000 + now.tv_nsec / 1_000));
    }
}

/// A path, or a name in the abstract name space after `@`.
#[cfg(unix)]
fn socket(address: &std::ffi::OsStr) -> Option<std::os::unix::net::UnixDatagram> {
    use std::os::unix::{
        ffi::OsStrExt as _,
        net::{SocketAddr, UnixDatagram},
    };
    let address = match address.as_bytes() {
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => {
            use std::os::linux::net::SocketAddrExt as _;
            SocketAddr::from_abstract_name(name).ok()?
        }
        [b'/', ..] => SocketAddr::from_pathname(address).ok()?,
        _ => return None,
    };
    let socket = UnixDatagram::unbound().ok()?;
    socket.connect_addr(&address).ok()?;
    // One that does not read must not hold us up.
    socket.set_nonblocking(true).ok()?;
    Some(socket)
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_arrives() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let listener = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        let manager = ServiceManager::of(&Environment::of([("NOTIFY_SOCKET", path.as_os_str())]));
        manager.tell("READY=1\nSTATUS=well");
        let mut heard = [0; 64];
        let length = listener.recv(&mut heard).unwrap();
        assert_eq!(&heard[..length], b"READY=1\nSTATUS=well");
        assert_eq!(manager.every(), None);
    }

    #[test]
    fn the_watchdog_is_for_one_process() {
        let us = std::process::id().to_string();
        let check = |usec: &str, pid: &str, every: Option<u64>| {
            let environment = Environment::of([("WATCHDOG_USEC", usec), ("WATCHDOG_PID", pid)]);
            assert_eq!(ServiceManager::of(&environment).every(), every.map(Duration::from_millis), "{usec} {pid}");
        };
        check("30000000", "", Some(15_000));
        check("30000000", &us, Some(15_000));
        check("30000000", "1", None);
        check("0", "", None);
        check("soon", "", None);
        check("", "", None);
    }

    #[test]
    fn an_address_that_is_none_is_nobody() {
        for address in ["notify", "", "/nowhere/at/all", "vsock:2:1"] {
            let manager = ServiceManager::of(&Environment::of([("NOTIFY_SOCKET", address)]));
            assert!(manager.socket.is_none(), "{address}");
            manager.tell("READY=1");
        }
    }
}
