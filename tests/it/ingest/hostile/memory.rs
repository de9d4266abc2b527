//! The worst that can be sent takes no more memory than the largest page may. Linux only.

use std::{io::Write as _, process::Stdio, time::Instant};

use flate2::{Compression as Level, write::GzEncoder};

use super::*;
use crate::world::{TOKEN, World, run};

/// A page of 64 MiB, the one ahead of it, and as much again while one is cut.
const BOUND: u64 = 256 << 20;

/// The most memory that a process had, in bytes; `None`: it is gone.
fn peak(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib << 10)
}

/// A gzip of `size` bytes of one letter and some noise, so that it grows by less than a bomb does.
fn dense(size: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Level::fast());
    let mut noise = 1_u32;
    let block: Vec<u8> = (0..4096)
        .map(|at| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if at % 64 == 0 { noise.to_be_bytes()[0] } else { b' ' }
        })
        .collect();
    for _ in 0..size / block.len() {
        encoder.write_all(&block).unwrap();
    }
    encoder.finish().unwrap()
}

fn zipped(body: &[u8]) -> FaultKind {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", body.len());
    FaultKind::Raw([head.as_bytes(), body].concat())
}

#[test]
fn no_reply_takes_more_memory_than_the_largest_page() {
    let world = World::with(|options| options.devices = 60);
    let arguments = world.provision_arguments();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run(world.command(&arguments), TOKEN.as_bytes()).expect(0);

    // Not compressed: it would be a bomb.
    let page = |members: &str| {
        let body = format!(r#"{{"data":{{"assets":{{{members}}}}}}}"#);
        FaultKind::Raw(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes())
    };
    let long = "x".repeat(60 << 20);
    let last = r#""pageInfo":{"hasNextPage":false},"totalCount":1"#;
    let cases: [(&str, FaultKind, i32); 6] = [
        ("an endless body", FaultKind::Endless, 5),
        ("a bomb", zipped(&[dense(4 << 20), bomb()].concat()), 5),
        ("more than a page, compressed", zipped(&dense(68 << 20)), 5),
        ("many tiny values", page(&format!(r#""nodes":[{}0]"#, "0,".repeat(20 << 20))), 1),
        ("one long value", page(&format!(r#"{last},"nodes":[{{"id":"a","name":"{long}"}}]"#)), 0),
        ("one long value that is no text", page(&format!(r#"{last},"nodes":[{{"id":"a","name":"\ud800{long}"}}]"#)), 0),
    ];
    for (what, kind, code) in cases {
        // Behind two honest pages; a count that does not fit makes it read once more, and then all is well.
        world.simulator.inject(Fault { path: Some("/graphql".to_owned()), nth: 3, kind });
        let began = Instant::now();
        let mut command =
            world.command(&["ingest", "plant/reader", "--api", "graphql", "--page-size", "10", "-o", "-"]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut most = 0;
        let status = loop {
            most = peak(child.id()).unwrap_or(most);
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            std::thread::sleep(Span::from_millis(2));
        };
        world.simulator.clear_faults();
        println!("{what}: {} MiB, {:?}, {status}", most >> 20, began.elapsed());
        assert_eq!(status.code(), Some(code), "{what}");
        assert!(most > 0 && most < BOUND, "{what}: {} MiB", most >> 20);
        assert!(began.elapsed() < Span::from_mins(1), "{what}: {:?}", began.elapsed());
    }
}

fn bomb() -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Level::fast());
    for _ in 0..128 {
        encoder.write_all(&vec![b' '; 1 << 20]).unwrap();
    }
    encoder.finish().unwrap()
}
