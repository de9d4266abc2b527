//! Walks over lists that move, servers that clip, forget and slow down, and
//! what is asked next time.

use std::{cell::Cell, time::Instant};

use robocred::{
    appliance::Width,
    ingest::Incomplete,
    inventory::Reading,
    simulator::{Interfaces, Order, Release, RowsMove, SlowAnswer, SlowPages, Throttle},
};

use super::*;

const MOVED: RowsMove = RowsMove { at_page: 2, removed: false, always: false, total_lies: false };

/// The ids that a run wrote, none of them twice.
#[track_caller]
fn written(run: &Run) -> HashSet<String> {
    let records = lines(&fs::read_to_string(run.path.as_ref().unwrap()).unwrap());
    let ids = ids(&records);
    assert_eq!((records.len(), ids.len() as u64), (ids.len(), run.records), "a record stands there twice");
    ids
}

fn width_of(reading: Option<Reading>) -> Option<(&'static str, bool)> {
    reading.map(|reading| (reading.api.as_str(), reading.wide))
}

#[tokio::test]
async fn every_list_is_read_whole() {
    let plant = Plant::of(450).await;
    for (stream, expected) in [
        (Stream::Assets, 450),
        (Stream::Plugins, plant.simulator.plugins()),
        (Stream::Events, plant.simulator.events()),
    ] {
        for page_size in [7, 200] {
            let before = plant.simulator.connections();
            let run = plant.ingest(&Request { stream, page_size, ..plant.request(None) }).await.unwrap();
            assert_eq!((run.api, run.passes, run.incomplete.as_ref()), (Api::Graphql, 1, None), "{stream}");
            assert_eq!((run.records, run.total_reported), (expected as u64, Some(expected as u64)), "{stream}");
            assert_eq!(run.pages, expected.div_ceil(page_size as usize) as u64, "{stream}");
            assert_eq!(plant.simulator.connections() - before, 1, "{stream}");
            let text = fs::read_to_string(run.path.as_ref().unwrap()).unwrap();
            let ids: HashSet<String> = lines(&text).iter().map(|record| record["id"].to_string()).collect();
            assert_eq!(ids.len(), expected, "{stream}");
        }
    }
}

#[tokio::test]
async fn rows_that_move_meanwhile_are_read_in_a_second_pass() {
    for (api, removed) in BOTH.into_iter().flat_map(|api| [(api, false), (api, true)]) {
        let what = format!("{api}, removed {removed}");
        let rows_move = Some(RowsMove { removed, ..MOVED });
        let plant = Plant::with(450, Behaviours { rows_move, ..Behaviours::default() }).await;
        let before = plant.simulator.connections();
        let run = plant.ingest(&plant.request(api)).await.unwrap();
        assert_eq!((run.passes, run.incomplete.as_ref()), (2, None), "{what}");
        // The new row as well; the row that went was there when it was read.
        let (records, total) = if removed { (450, 449) } else { (451, 451) };
        assert_eq!(run.records, records, "{what}");
        assert_eq!(run.total_reported, (api == Api::Graphql).then_some(total), "{what}");
        assert_eq!(written(&run).len() as u64, records, "{what}");
        let manifest = manifest(&run);
        assert_eq!((&manifest["passes"], &manifest["complete"]), (&2.into(), &true.into()), "{what}");
        assert_eq!(plant.simulator.connections() - before, 1, "{what}");

        // The writer gets what was missed as well.
        plant.simulator.set_behaviours(Behaviours { rows_move, ..Behaviours::default() });
        let out = Written::default();
        let request = Request { to: Destination::Stdout, ..plant.request(api) };
        let run = plant.ingest_into(&request, out.clone()).await.unwrap();
        let records = lines(&String::from_utf8(out.bytes()).unwrap());
        assert_eq!((run.passes, run.complete(), run.records), (2, true, records.len() as u64), "{what}");
        assert_eq!(ids(&records).len(), records.len(), "{what}");
    }
}

#[tokio::test]
async fn rows_that_do_not_stop_moving_are_not_whole() {
    // New rows all the time have no end over REST: the last page comes again and again.
    for (api, removed) in [(Api::Graphql, false), (Api::Graphql, true), (Api::Rest, true)] {
        let rows_move = Some(RowsMove { removed, always: true, ..MOVED });
        let plant = Plant::with(450, Behaviours { rows_move, ..Behaviours::default() }).await;
        let run = plant.ingest(&plant.request(api)).await.unwrap();
        let named = match (&run.incomplete, api, removed) {
            (Some(Incomplete::TotalChanged { first, last }), Api::Graphql, false) => first < last,
            (Some(Incomplete::TotalShrank { first, last }), Api::Graphql, true) => first > last,
            (Some(Incomplete::Moved { .. }), Api::Rest, _) => true,
            _ => false,
        };
        assert!(named, "{api}, removed {removed}: {run:?}");
        assert_eq!(run.passes, 2);
        assert!(run.path.as_ref().unwrap().to_str().unwrap().ends_with(".incomplete"));
        written(&run);
    }
    let rows_move = Some(RowsMove { always: true, ..MOVED });
    let plant = Plant::with(450, Behaviours { rows_move, ..Behaviours::default() }).await;
    let run = plant.ingest(&plant.request(Api::Rest)).await.unwrap();
    assert!(matches!(run.incomplete, Some(Incomplete::PageRepeats { .. })), "{run:?}");
    written(&run);
    // A row goes, and the server counts it still: it can never be found.
    let rows_move = Some(RowsMove { removed: true, total_lies: true, ..MOVED });
    let plant = Plant::with(450, Behaviours { rows_move, ..Behaviours::default() }).await;
    let run = plant.ingest(&plant.request(Api::Graphql)).await.unwrap();
    assert_eq!(run.incomplete, Some(Incomplete::CountDiffers { total: 450, records: 449 }));
}

#[tokio::test]
async fn servers_that_look_at_nothing_are_left_or_read_all_the_same() {
    for api in BOTH {
        let plant = Plant::with(450, Behaviours { ignores_position: true, ..Behaviours::default() }).await;
        let run = plant.ingest(&plant.request(api)).await.unwrap();
        assert_eq!(run.incomplete, Some(Incomplete::PageRepeats { page: 2 }), "{api}");
        assert_eq!((run.records, run.passes), (200, 1), "{api}");

        // Whatever the order is, every record comes once.
        let plant = Plant::with(450, Behaviours { order: Order::Ignored, ..Behaviours::default() }).await;
        let run = plant.ingest(&plant.request(api)).await.unwrap();
        assert_eq!((run.complete(), run.duplicates, written(&run).len()), (true, 0, 450), "{api}");
    }
}

#[tokio::test]
async fn where_rest_clips_pages_the_wrong_guess_is_thrown_away_once() {
    let plant = Plant::with(300, Behaviours { page_limit: Some(50), ..Behaviours::default() }).await;
    let before = plant.simulator.connections();
    let run = plant.ingest(&plant.request(Api::Rest)).await.unwrap();
    assert_eq!((run.pages, written(&run).len(), run.complete()), (7, 300, true));
    // Six full pages and the empty one, one page too far on, and six looked at again.
    assert_eq!((plant.asked(Api::Rest), plant.simulator.connections() - before), (7 + 1 + 6, 1));
}

#[tokio::test]
async fn an_older_appliance_is_asked_for_fewer_fields_and_so_next_time_at_once() {
    let plant = Plant::with(300, Behaviours { release: Release::Older, ..Behaviours::default() }).await;
    let known = || async { width_of(plant.inventory.reading(&plant.site.name).await.unwrap()) };
    assert_eq!(known().await, None);
    // The first page is asked for twice, then never again.
    for asked in [3, 2, 2] {
        let before = plant.asked(Api::Graphql);
        let run = plant.ingest(&plant.request(None)).await.unwrap();
        assert_eq!((run.api, run.width, run.records), (Api::Graphql, Some(Width::Narrow), 300));
        assert_eq!(manifest(&run)["selection"], "narrow");
        assert_eq!(plant.asked(Api::Graphql) - before, asked);
        assert_eq!(known().await, Some(("graphql", false)));
    }
    assert_eq!(plant.asked(Api::Rest), 0);

    // What fails later than on the first page is no reason to ask in another way.
    let plant = Plant::of(500).await;
    let error = r#"{"errors":[{"message":"no","extensions":{"code":"GRAPHQL_VALIDATION_FAILED"}}]}"#;
    plant.answer(Api::Graphql, 2, "application/json", error);
    assert!(matches!(plant.ingest(&plant.request(None)).await, Err(Error::Page { page: 2, .. })));
    plant.assert_nothing_left();
}

#[tokio::test]
async fn fewer_fields_are_asked_for_again_a_week_later_whether_there_are_more() {
    let plant = Plant::with(30, Behaviours { release: Release::Older, ..Behaviours::default() }).await;
    let widths = async |days: i64| {
        let before = plant.asked(Api::Graphql);
        let at = NOW + Duration::days(days);
        let run = plant.ingest_at(at, &plant.request(None), Written::default()).await.unwrap();
        (run.width.unwrap(), plant.asked(Api::Graphql) - before)
    };
    assert_eq!(widths(0).await, (Width::Narrow, 2));
    assert_eq!(widths(6).await, (Width::Narrow, 1));
    // Tried in vain, and then not for another week.
    assert_eq!(widths(7).await, (Width::Narrow, 2));
    assert_eq!(widths(8).await, (Width::Narrow, 1));
    // It was upgraded.
    plant.simulator.set_behaviours(Behaviours::default());
    assert_eq!(widths(13).await, (Width::Narrow, 1));
    assert_eq!(widths(14).await, (Width::Wide, 1));
    assert_eq!(width_of(plant.inventory.reading(&plant.site.name).await.unwrap()), Some(("graphql", true)));
}

#[tokio::test]
async fn the_interface_that_answered_is_asked_first_until_it_answers_no_more() {
    let only = |interfaces| Behaviours { interfaces, ..Behaviours::default() };
    let plant = Plant::with(30, only(Interfaces::RestOnly)).await;
    let run = plant.ingest(&plant.request(None)).await.unwrap();
    assert_eq!((run.api, run.width, manifest(&run)["selection"].as_str()), (Api::Rest, None, None));
    let asked = plant.asked(Api::Rest);
    let refused = plant.simulator.requests().iter().filter(|request| request.path == "/graphql").count();

    assert_eq!(plant.ingest(&plant.request(None)).await.unwrap().api, Api::Rest);
    let again = plant.simulator.requests().iter().filter(|request| request.path == "/graphql").count();
    assert_eq!((plant.asked(Api::Rest) - asked, again), (asked, refused), "GraphQL was asked again");
    // What REST does not have is asked of GraphQL, whatever was remembered.
    let plugins = plant.ingest(&Request { stream: Stream::Plugins, ..plant.request(None) }).await;
    assert!(matches!(plugins, Err(Error::Page { api: Api::Graphql, .. })), "{plugins:?}");

    plant.simulator.set_behaviours(only(Interfaces::GraphqlOnly));
    assert_eq!(plant.ingest(&plant.request(None)).await.unwrap().api, Api::Graphql);
    let known = plant.inventory.reading(&plant.site.name).await.unwrap();
    assert_eq!(width_of(known), Some(("graphql", true)));

    // What a person asked for says nothing about what answers by itself.
    plant.simulator.set_behaviours(Behaviours::default());
    assert_eq!(plant.ingest(&plant.request(Api::Rest)).await.unwrap().api, Api::Rest);
    assert_eq!(plant.ingest(&plant.request(None)).await.unwrap().api, Api::Graphql);
}

#[tokio::test]
async fn behind_a_manager_rest_is_never_asked() {
    let mut plant = Plant::of(30).await;
    plant.site.em = Some("5d5d".parse().unwrap());
    let error = plant.ingest(&plant.request(Api::Rest)).await.unwrap_err();
    assert!(matches!(&error, Error::GraphqlOnly { what } if what.contains("Enterprise Manager")), "{error:?}");
    // This appliance is no manager: what it relays is a page of its own.
    assert!(plant.ingest(&plant.request(None)).await.is_err());
    assert_eq!(plant.asked(Api::Rest), 0);
    plant.assert_nothing_left();
}

#[tokio::test]
async fn pages_that_are_too_large_are_asked_for_smaller() {
    for api in BOTH {
        let slow_pages = Some(SlowPages { over: 100, answer: SlowAnswer::GatewayTimeout504 });
        let plant = Plant::with(250, Behaviours { slow_pages, ..Behaviours::default() }).await;
        let run = plant.ingest(&plant.request(api)).await.unwrap();
        assert_eq!((run.complete(), written(&run).len(), run.smallest_page), (true, 250, 100), "{api}");
        assert_eq!(manifest(&run)["page_size"], 200);
        assert_eq!(manifest(&run)["smallest_page_size"], 100);
    }
    // More values than a page may hold: nothing to wait for.
    let plant = Plant::of(250).await;
    let values = vec!["1"; 200_001].join(",");
    plant.answer(Api::Graphql, 1, "application/json", &format!("[{values}]"));
    let run = plant.ingest(&plant.request(None)).await.unwrap();
    assert_eq!((run.api, run.complete(), run.records, run.smallest_page), (Api::Graphql, true, 250, 100));
}

#[tokio::test]
async fn an_appliance_that_asks_to_come_back_later_is_asked_later() {
    let throttle = |every, retry_after| Some(Throttle { every, retry_after });
    let plant = Plant::with(250, Behaviours { throttle: throttle(3, 1), ..Behaviours::default() }).await;
    let before = plant.simulator.connections();
    let began = Instant::now();
    let request = Request { page_size: 50, ..plant.request(Api::Graphql) };
    let run = plant.ingest(&request).await.unwrap();
    assert_eq!((run.records, run.complete()), (250, true));
    assert_eq!(plant.simulator.connections() - before, 1);
    // Five pages, and every third request is refused: at least two were waited for.
    assert!(plant.asked(Api::Graphql) >= 7 && began.elapsed().as_secs() >= 2, "it waited {:?}", began.elapsed());

    // Later than all retries together may take: not waited for at all.
    plant.simulator.set_behaviours(Behaviours { throttle: throttle(1, 60), ..Behaviours::default() });
    let began = Instant::now();
    let error = plant.ingest(&Request { to: Destination::Stdout, ..plant.request(None) }).await.unwrap_err();
    assert!(matches!(error, Error::Page { page: 1, source: robocred::appliance::Error::Busy { .. }, .. }), "{error:?}");
    assert!(began.elapsed().as_secs() < 20, "it waited {:?}", began.elapsed());
}

#[tokio::test]
async fn runs_that_share_their_manners_keep_one_rate() {
    let plant = Plant::of(30).await;
    let took = async |request: &Request| {
        let began = Instant::now();
        assert!(plant.ingest(request).await.unwrap().complete());
        began.elapsed().as_secs_f64()
    };
    // One request each.
    let one = Request { max_rate: 1, ..plant.request(Api::Graphql) };
    took(&one).await;
    let other = Request { stream: Stream::Plugins, page_size: 1000, ..one.clone() };
    assert!(took(&other).await > 0.5, "the second one did not wait for its turn");
    assert!(took(&Request { manners: Arc::default(), ..other }).await < 0.5, "nobody went before it");
}

#[tokio::test]
async fn a_run_that_is_dropped_leaves_nothing() {
    for (api, pages) in BOTH.into_iter().flat_map(|api| [(api, 1), (api, 2)]) {
        let plant = Plant::of(800).await;
        // The page after the last one told of is never sent.
        plant.simulator.inject(Fault { path: Some(path_of(api).to_owned()), nth: pages + 2, kind: FaultKind::Hang });
        let interrupted = tokio::sync::Notify::new();
        let told = Cell::new(0);
        let progress = |now: Progress| {
            told.set(now.pages);
            if now.pages == pages as u64 {
                interrupted.notify_one();
            }
        };
        let clock = FixedClock(NOW);
        let session = Session::open(&plant.site, &plant.inventory, &plant.secrets, &clock).unwrap();
        let request = plant.request(api);
        tokio::select! {
            ended = ingest(&session, &request, Box::new(Vec::new()), &progress) => panic!("it ended: {ended:?}"),
            () = interrupted.notified() => {}
        }
        assert_eq!(told.get(), pages as u64, "{api}");
        plant.assert_nothing_left();
        assert!(plant.inventory.runs().await.unwrap().is_empty());
        // And the next one is not hindered.
        plant.simulator.clear_faults();
        assert_eq!(plant.ingest(&request).await.unwrap().records, 800, "{api}");
    }
}

#[tokio::test]
async fn an_api_key_reads_where_there_is_no_credential() {
    let plant = Plant::of(30).await;
    let request = Request { record: None, ..plant.request(None) };
    plant.keep_api_key().await;
    plant.simulator.forget_robots();
    let run = plant.ingest(&request).await.unwrap();
    assert_eq!((run.records, run.complete(), run.fingerprint), (30, true, None));
    let manifest = manifest(&run);
    assert_eq!((manifest["credential"].as_str(), manifest["fingerprint_sha256"].as_str()), (Some("api-key"), None));
    assert_eq!(manifest["generation"], Json::Null);
}

#[tokio::test]
async fn what_goes_wrong_late_goes_wrong_as_on_the_first_page() {
    let redirect = b"HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n".to_vec();
    let json =
        |body: String| FaultKind::Answer { status: 200, content_type: "application/json", body: body.into_bytes() };
    let broken = [
        ("not HTTP", FaultKind::Garbage),
        ("a redirect", FaultKind::Raw(redirect)),
        ("HTML", FaultKind::Answer { status: 200, content_type: "text/html", body: b"<html>".to_vec() }),
        ("too deep", json("[".repeat(100_000))),
        ("not JSON", json("{\"data\":NaN}".to_owned())),
        ("not found", FaultKind::Answer { status: 404, content_type: "application/json", body: b"{}".to_vec() }),
        ("forbidden", FaultKind::Answer { status: 403, content_type: "application/json", body: b"{}".to_vec() }),
    ];
    let plant = Plant::of(600).await;
    for (api, page) in BOTH.into_iter().flat_map(|api| [(api, 1), (api, 50)]) {
        for (what, kind) in broken.clone() {
            plant.simulator.inject(Fault { path: Some(path_of(api).to_owned()), nth: page, kind });
            let request = Request { page_size: 10, ..plant.request(api) };
            let result = plant.ingest(&request).await;
            assert!(
                matches!(&result, Err(Error::Page { page: at, records, .. })
                    if (*at, *records) == (page as u64, 10 * (page as u64 - 1))),
                "{what} as page {page} of {api}: {result:?}"
            );
            plant.assert_nothing_left();
        }
    }
    assert!(plant.inventory.runs().await.unwrap().is_empty());
}
