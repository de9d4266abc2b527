//! An appliance that means harm, or is broken in every way there is: each
//! reply it can give, on the first page and on the fiftieth, by each of the
//! three ways in which data is read; each way it can lie about how much there
//! is; each value it can send. The letters are those of the list of attacks
//! that `appliance_hostile` plays against single calls.

#[cfg(target_os = "linux")]
mod memory;
mod replies;
mod told;
mod values;
mod walks;

use std::{future::Future, sync::Mutex as StdMutex, time::Duration as Span};

use robocred::appliance::{self, Deadlines, PageLimits};
use tokio::io::AsyncWriteExt as _;

use super::*;
use crate::scripted::{Seen, Server, Tls, json, say};

/// A way in which data is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    /// Devices over GraphQL.
    Graphql,
    /// Devices over REST.
    Rest,
    /// The findings of each device over REST; the devices themselves are listed honestly.
    Hits,
}

const DOORS: [Door; 3] = [Door::Graphql, Door::Rest, Door::Hits];
/// Devices that the honest part of the appliance has.
const DEVICES: u64 = 510;
/// Records asked for at a time: the fiftieth page begins at [`LATE`].
const SIZE: u32 = 10;
const LATE: u64 = 490;

/// A request, as far as it matters.
#[derive(Clone, Debug)]
struct Asked {
    door: Door,
    /// How many records come before the page; of findings: the number of the device.
    at: u64,
    size: u64,
}

impl Asked {
    fn of(request: &str) -> Self {
        let path = request.split(' ').nth(1).unwrap();
        if let Some(device) = path.strip_prefix("/v1/assets/d").and_then(|rest| rest.strip_suffix("/plugin_hits")) {
            return Self { door: Door::Hits, at: device.parse().unwrap(), size: 0 };
        }
        let body: Json = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
        if path == "/v1/assets" {
            let number = |name: &str| body[name].as_u64().unwrap();
            return Self { door: Door::Rest, at: number("offset"), size: number("limit") };
        }
        let variables = &body["variables"];
        let at = variables["after"].as_str().map_or(0, |after| after.trim_start_matches('c').parse().unwrap());
        Self { door: Door::Graphql, at, size: variables["first"].as_u64().unwrap() }
    }

    /// The reply of an appliance that means no harm.
    fn honest(&self) -> String {
        let ids = |range: std::ops::Range<u64>| {
            range.map(|id| format!(r#"{{"id":"d{id:05}"}}"#)).collect::<Vec<_>>().join(",")
        };
        let end = (self.at + self.size).min(DEVICES);
        let body = match self.door {
            Door::Hits => r#"[{"pluginId":1,"port":443,"protocol":"TCP"}]"#.to_owned(),
            Door::Rest => format!("[{}]", ids(self.at.min(end)..end)),
            Door::Graphql => {
                let info = format!(r#"{{"hasNextPage":{},"endCursor":"c{end}"}}"#, end < DEVICES);
                graphql_page(&ids(self.at..end), &info, DEVICES)
            }
        };
        json(200, &body)
    }
}

/// What is sent in place of an honest reply.
#[derive(Clone)]
enum Sent {
    /// These bytes; the connection stays.
    Bytes(Vec<u8>),
    /// These bytes, and the end of the connection.
    Last(Vec<u8>),
    /// These bytes, and then others again and again until the client goes.
    Endless(Vec<u8>, Vec<u8>),
    /// These bytes, and then one space after the other, slowly.
    Drip(Vec<u8>),
    /// Nothing, and the connection stays.
    Silence,
}

impl From<String> for Sent {
    fn from(text: String) -> Self {
        Self::Bytes(text.into_bytes())
    }
}

/// An appliance that answers so.
async fn appliance(route: impl Fn(Asked) -> Sent + Send + Sync + 'static) -> Server {
    let route = Arc::new(route);
    Server::start(Tls::default(), move |mut peer, seen: Seen| {
        let route = Arc::clone(&route);
        async move {
            while let Some(request) = seen.read(&mut peer).await {
                match route(Asked::of(&request)) {
                    Sent::Bytes(bytes) => say(&mut peer, &bytes).await,
                    Sent::Last(bytes) => {
                        say(&mut peer, &bytes).await;
                        let _ = peer.shutdown().await;
                        return;
                    }
                    Sent::Endless(head, more) => {
                        say(&mut peer, &head).await;
                        while peer.write_all(&more).await.is_ok() {}
                        return;
                    }
                    Sent::Drip(head) => {
                        say(&mut peer, &head).await;
                        let mut tick = tokio::time::interval(Span::from_millis(50));
                        while peer.write_all(b" ").await.is_ok() && peer.flush().await.is_ok() {
                            tick.tick().await;
                        }
                        return;
                    }
                    Sent::Silence => drop(seen.read(&mut peer).await),
                }
            }
        }
    })
    .await
}

/// An appliance that answers so at one place, and honestly everywhere else.
async fn hostile_at(door: Door, at: u64, sent: Sent) -> Server {
    appliance(move |asked| if asked.door == door && asked.at == at { sent.clone() } else { asked.honest().into() })
        .await
}

/// Deadlines that a hostile appliance meets soon, and that an honest one keeps even on a busy machine.
fn soon() -> Deadlines {
    let limit = Span::from_secs(2);
    Deadlines {
        call: limit,
        page: PageLimits { total: limit, window: Span::from_secs(1), bytes_per_window: 100 },
        ..Deadlines::default()
    }
}

impl Plant {
    /// What is asked for at a door, into a directory of its own.
    fn wanted(&self, door: Door, dir: &str) -> Request {
        let api = if door == Door::Graphql { Api::Graphql } else { Api::Rest };
        let stream = if door == Door::Hits { Stream::Findings } else { Stream::Assets };
        let to = Destination::Dir(self.dir().join(dir));
        Request { stream, page_size: SIZE, max_rate: 0, to, ..self.request(api) }
    }

    /// Reads from another server, as if it were the plant's appliance.
    async fn read_from(&self, server: &Server, request: &Request, deadlines: Deadlines) -> Result<Run, Error> {
        let site = Site {
            endpoint: format!("https://127.0.0.1:{}", server.port).parse().unwrap(),
            trust: Some(TrustPolicy::Pins(vec![server.pin()])),
            ..self.site.clone()
        };
        let clock = FixedClock(NOW);
        let session = Session::open(&site, &self.inventory, &self.secrets, &clock).unwrap().within(deadlines);
        ingest(&session, request, Box::new(Vec::new()), &|_| ()).await
    }
}

/// The kind of an error, as `Exchange/Bomb` or `Unexpected`.
fn class(error: &Error) -> String {
    let Error::Page { source, .. } = error else { return format!("{error:?}") };
    let shown = format!("{source:?}");
    let mut words = shown.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let first = words.next().unwrap_or_default();
    match source {
        appliance::Error::Exchange(_) | appliance::Error::Refused(_) => {
            format!("{first}/{}", words.next().unwrap_or_default())
        }
        _ => first.to_owned(),
    }
}

/// Ends the test if `step` takes longer.
async fn within<T>(limit: Span, what: &str, step: impl Future<Output = T>) -> T {
    tokio::time::timeout(limit, step).await.unwrap_or_else(|_| panic!("{what}: no end after {limit:?}"))
}
