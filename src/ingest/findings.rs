//! What the plugins found, device by device.
//!
//! Owns the order: first the ids of all devices, in one short walk that rows
//! seldom move under, then one request for each. The findings of a device
//! stand together, the devices in the order of the walk, however many
//! connections are used. Leaves out asking again and the rate (`pages`).
//!
//! A device that went meanwhile is counted and no mistake: the ids are walked
//! once more, and one that is still listed did not go. An appliance that
//! has no such request at all may have its own list of findings, as newer
//! releases have over GraphQL: that is for the caller to ask ([`Ended::NotThere`]).
//!
//! Memory: the replies under way, and 8 bytes for each device that went; the
//! ids go to a file without a name where they are many.

mod ids;
mod replies;

use std::{io, sync::Mutex};

use futures_util::FutureExt as _;

use super::{
    Api, Incomplete, Progress,
    desk::Desk,
    pages::Pages,
    reading::{self, Counts, Reading, Stopped},
    sinks::Sink,
    ways::Ways,
};
use crate::appliance::{Cut, Error, RemoteId};
use ids::{Gone, Ids, lock};
use replies::Replies;

/// After so many devices none of which is known, the request itself is not.
const ENOUGH: u64 = 3;
/// After so many devices in a row that are not known, the ids are walked anew at once.
const IN_A_ROW: u64 = 20;

/// How a reading of findings ended.
pub(super) enum Ended {
    /// Every device was asked.
    Read(Reading),
    /// The appliance does not offer this. Nothing was written to the sink.
    NotThere { error: Error, pages: Box<Pages>, sink: Box<dyn Sink> },
}

/// Reads the findings of every device, over as many connections as there are
/// `pages`, which are set to ids. `ways` is how to get at those.
pub(super) async fn read_all(
    mut pages: Vec<Pages>,
    ways: &mut Ways,
    sink: Box<dyn Sink>,
    progress: &dyn Fn(Progress),
) -> Result<Ended, Stopped> {
    let ids = Ids::new();
    let told = |now: Progress| progress(Progress { records: 0, total: None, ..now });
    let mut reading = reading::read_all(&mut pages[0], ways, Box::new(ids.clone()), None, &told).await?;
    reading.counts = Counts { pages: reading.counts.pages, ..Counts::default() };
    reading.way.api = Api::Rest;
    let mut ids = ids.read().map_err(Stopped::Memory)?;

    let mut desk = Desk::new(sink);
    let at_once = pages.len();
    let pool = Mutex::new(pages);
    let gone = Gone::default();
    let (mut answered, mut missing) = (0_u64, None);
    let mut most_in_a_row = IN_A_ROW;
    'devices: loop {
        let mut replies = Replies::new(at_once, ids.by_ref().map(|id| ask(&pool, id).boxed_local()));
        let (mut in_a_row, mut stopped) = (0, false);
        while let Some(reply) = replies.next().await {
            let counts = &mut reading.counts;
            counts.pages += 1;
            let (id, reply) = reply?;
            match reply {
                Ok(Some((cut, bytes))) => {
                    answered += 1;
                    in_a_row = 0;
                    reading.bytes += bytes;
                    counts.records += cut.len() as u64;
                    counts.replaced += cut.replaced;
                    if !cut.is_empty() {
                        let write = desk.run(move |sink| write(&mut **sink, &cut));
                        replies.during(write).await.map_err(Stopped::Output)?;
                    }
                }
                Ok(None) => {
                    counts.gone += 1;
                    in_a_row += 1;
                    gone.note(&id);
                }
                Err(error) if answered == 0 && error.is_not_there() => missing = Some(error),
                Err(source) => {
                    return Err(Stopped::Page { api: Api::Rest, page: counts.pages, records: counts.records, source });
                }
            }
            if missing.is_some() || (answered == 0 && counts.gone == ENOUGH) {
                break 'devices;
            }
            progress(Progress { pages: counts.pages, records: counts.records, total: None, bytes: reading.bytes });
            if in_a_row >= most_in_a_row {
                stopped = true;
                replies.stop();
            }
        }
        drop(replies);
        let mut listed = 0;
        if reading.counts.gone > 0 && answered > 0 {
            ways.settled();
            let mut pages = lock(&pool).pop().expect("nothing is under way any more");
            listed = look_again(&mut pages, ways, &gone, &mut reading).await?;
            lock(&pool).push(pages);
        }
        if !stopped || listed > 0 {
            break;
        }
        // They did go. Where very many do, the ids are not walked for every few of them.
        most_in_a_row *= 2;
    }
    if answered == 0 && (missing.is_some() || reading.counts.gone > 0) {
        let none = || Error::Unsupported { what: "status 404 for every device".to_owned() };
        let pages = lock(&pool).pop().expect("what is left has been asked over another connection");
        let sink = desk.end(|sink| sink).await;
        return Ok(Ended::NotThere { error: missing.unwrap_or_else(none), pages: Box::new(pages), sink });
    }
    let end = |sink: Box<dyn Sink>| {
        let flagged = sink.flagged();
        sink.finish().map(|()| flagged)
    };
    reading.counts.flagged = desk.end(end).await.map_err(Stopped::Output)?;
    Ok(Ended::Read(reading))
}

/// Walks the ids anew; a device that is still listed did not go, and its findings are missing. Returns how many.
async fn look_again(pages: &mut Pages, ways: &mut Ways, gone: &Gone, reading: &mut Reading) -> Result<u64, Stopped> {
    let before = pages.received();
    let again = reading::read_all(pages, ways, Box::new(gone.clone()), None, &|_| ()).await?;
    let devices = gone.listed();
    reading.counts.pages += again.counts.pages;
    reading.counts.gone = reading.counts.gone.saturating_sub(devices);
    reading.bytes += again.bytes - before;
    reading.smallest_page = reading.smallest_page.min(again.smallest_page);
    let listed = (devices > 0).then_some(Incomplete::StillListed { devices });
    reading.incomplete = reading.incomplete.take().or(listed).or(again.incomplete);
    Ok(devices)
}

/// What came for a device; `None`: there is no such device.
type Hits = Result<Option<(Cut, u64)>, Error>;

/// Asks for one device, over the connection that is free.
async fn ask(pool: &Mutex<Vec<Pages>>, id: io::Result<RemoteId>) -> Result<(RemoteId, Hits), Stopped> {
    let id = id.map_err(Stopped::Memory)?;
    let mut pages = lock(pool).pop().expect("no more is asked at once than there are connections");
    let hits = pages
        .tried(None, async |read, _| {
            let Some(body) = read.plugin_hits(&id).await? else { return Ok(None) };
            let bytes = body.received();
            Ok(Some((body.cut_hits(&id)?, bytes)))
        })
        .await;
    pages.good();
    lock(pool).push(pages);
    Ok((id, hits))
}

fn write(sink: &mut dyn Sink, cut: &Cut) -> io::Result<()> {
    cut.records().try_for_each(|record| sink.record(&record.json))
}
