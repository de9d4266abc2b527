//! What a service manager is told.

use std::{collections::BTreeSet, os::unix::net::UnixDatagram};

use rustix::process::Signal;

use super::{FOR_EVER, Watching};
use crate::world::World;

/// Everything that is told until `last`; one line each.
fn told(socket: &UnixDatagram, last: &str) -> Vec<String> {
    let mut told = Vec::new();
    let mut datagram = [0; 4096];
    loop {
        let length = socket.recv(&mut datagram).unwrap_or_else(|error| panic!("{error}: {last} not in {told:#?}"));
        let text = std::str::from_utf8(&datagram[..length]).unwrap();
        told.extend(text.lines().map(ToOwned::to_owned));
        if text.lines().any(|line| line.starts_with(last)) {
            return told;
        }
    }
}

#[test]
fn the_service_manager_hears_of_begin_life_and_end() {
    let world = World::new();
    world.provision(&[]).expect(0);
    let path = world.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(FOR_EVER)).unwrap();
    let mut command = world.command(&["watch"]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "400000");
    let watching = Watching::of(command);
    let begun = told(&socket, "STATUS=1 robot, ");
    assert!(begun.contains(&"READY=1".to_owned()), "{begun:#?}");
    // Without anything that happens: it is well.
    for _ in 0..5 {
        let well: BTreeSet<String> = told(&socket, "WATCHDOG=1").into_iter().collect();
        assert!(!well.contains("READY=1"), "{well:#?}");
    }
    watching.signal(Signal::HUP);
    let reloading = told(&socket, "MONOTONIC_USEC=");
    assert!(reloading.contains(&"RELOADING=1".to_owned()));
    told(&socket, "READY=1");
    watching.signal(Signal::TERM);
    let ending = told(&socket, "STOPPING=1");
    assert!(!ending.contains(&"READY=1".to_owned()), "{ending:#?}");
    assert_eq!(watching.ended().0, Some(0));
}

#[cfg(target_os = "linux")]
#[test]
fn a_socket_may_have_an_abstract_name() {
    use std::os::{linux::net::SocketAddrExt as _, unix::net::SocketAddr};
    let world = World::new();
    let name = format!("robocred-test-{}", std::process::id());
    let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    socket.set_read_timeout(Some(FOR_EVER)).unwrap();
    let mut command = world.command(&["watch"]);
    command.env("NOTIFY_SOCKET", format!("@{name}"));
    let watching = Watching::of(command);
    told(&socket, "READY=1");
    watching.stop();
}
