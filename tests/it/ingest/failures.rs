//! What goes wrong between pages: what is tried again, what is given up, and
//! what is then not there.

use robocred::{
    appliance,
    ingest::{Incomplete, PAGE_SIZES},
    session,
    simulator::Interfaces,
};

use super::*;

/// The run's data and manifest say what is not known to be whole; nothing is under a final name.
#[track_caller]
fn assert_kept_as_incomplete(plant: &Plant, run: &Run) {
    assert!(!run.complete());
    let stem = "assets-20261122T120000Z";
    assert_eq!(names(&plant.dir()), [format!("{stem}.manifest.json"), format!("{stem}.ndjson.incomplete")]);
    assert_eq!(run.path, Some(plant.dir().join(format!("{stem}.ndjson.incomplete"))));
    let manifest = manifest(run);
    assert_eq!(manifest["complete"], false);
    assert_eq!(manifest["reason"], run.incomplete.as_ref().unwrap().to_string());
    assert_eq!(manifest["file"], format!("{stem}.ndjson.incomplete"));
    assert_eq!(manifest["records"], run.records);
}

#[tokio::test]
async fn a_total_that_changes_is_not_whole() {
    let plant = Plant::with(450, Behaviours { total_changes: true, ..Behaviours::default() }).await;
    let run = plant.ingest(&plant.request(Api::Graphql)).await.unwrap();
    assert!(matches!(run.incomplete, Some(Incomplete::TotalChanged { first, last }) if last == first + 2), "{run:?}");
    assert_eq!(run.records, 450);
    assert_kept_as_incomplete(&plant, &run);
    let row = plant.inventory.runs().await.unwrap().remove(0);
    assert_eq!((row.complete, row.completed_at), (false, None));
}

#[tokio::test]
async fn a_server_that_goes_in_circles_is_left() {
    let plant = Plant::of(1).await;
    let page =
        |ids: &str, cursor: &str| graphql_page(ids, &format!(r#"{{"hasNextPage":true,"endCursor":"{cursor}"}}"#), 4);
    plant.answer(Api::Graphql, 1, "application/json", &page(r#"{"id":"a"},{"id":"b"}"#, "x"));
    plant.answer(Api::Graphql, 2, "application/json", &page(r#"{"id":"c"},{"id":"d"}"#, "x"));
    let run = plant.ingest(&plant.request(Api::Graphql)).await.unwrap();
    assert_eq!(run.incomplete, Some(Incomplete::CursorRepeats { page: 2 }));
    assert_kept_as_incomplete(&plant, &run);
    assert_eq!(plant.asked(Api::Graphql), 2);
}

#[tokio::test]
async fn rows_that_moved_under_a_rest_walk_are_noticed() {
    // Pages 1 to 3, one too far on, the empty one, each of the three again; then all of that once more.
    for (first_pass, second_pass, page) in [(6, 12, 1), (7, 14, 2), (8, 16, 3)] {
        let other = r#"[{"id":"somebody-else"}]"#;
        let plant = Plant::of(450).await;
        plant.answer(Api::Rest, first_pass, "application/json", other);
        let run = plant.ingest(&plant.request(Api::Rest)).await.unwrap();
        assert_eq!((run.records, run.passes, run.complete()), (450, 2, true), "{page}");

        let plant = Plant::of(450).await;
        for nth in [first_pass, second_pass] {
            plant.answer(Api::Rest, nth, "application/json", other);
        }
        let run = plant.ingest(&plant.request(Api::Rest)).await.unwrap();
        assert_eq!(run.incomplete, Some(Incomplete::Moved { page }));
        assert_eq!((run.records, run.passes), (450, 2), "{page}");
        assert_kept_as_incomplete(&plant, &run);
    }
}

/// A REST listing of these pages, in the order in which they are asked for.
async fn listing(pages: &[&[&str]]) -> (Plant, Run) {
    let plant = Plant::of(1).await;
    for (nth, ids) in (1..).zip(pages) {
        let records: Vec<String> = ids.iter().map(|id| format!(r#"{{"id":"{id}"}}"#)).collect();
        plant.answer(Api::Rest, nth, "application/json", &format!("[{}]", records.join(",")));
    }
    let run = plant.ingest(&Request { page_size: 2, ..plant.request(Api::Rest) }).await.unwrap();
    assert_eq!(plant.asked(Api::Rest), pages.len(), "{run:?}");
    (plant, run)
}

#[tokio::test]
async fn a_row_that_goes_from_a_middle_page_of_rest_costs_no_other() {
    // a c | e g | i k; e goes once it was read, and i is where nobody looks. One page is expected too far on.
    let walk: [&[&str]; 5] = [&["a", "c"], &["e", "g"], &["k"], &[], &[]];
    let look: [&[&str]; 2] = [&["a", "c"], &["i"]];
    let again: [&[&str]; 7] = [&["a", "c"], &["g", "i"], &["k"], &[], &["a", "c"], &["i"], &["k"]];
    // The guess learnt in the first pass is not known to the second.
    let again = [&again[..3], &[&[] as &[&str]], &again[3..]].concat();
    let (plant, run) = listing(&[&walk[..], &look, &again].concat()).await;
    assert_eq!((run.records, run.passes, run.incomplete.as_ref()), (6, 2, None));
    drop(plant);
}

#[tokio::test]
async fn a_row_that_comes_to_a_middle_page_of_rest_is_read_too() {
    // a c | e g | i k; d comes once e was read: g comes again, and d is where nobody looks.
    let walk: [&[&str]; 6] = [&["a", "c"], &["e", "g"], &["g", "i"], &["k"], &[], &[]];
    let again: [&[&str]; 9] = [&["a", "c"], &["d", "e"], &["g", "i"], &["k"], &[], &[], &["a", "c"], &["e"], &["i"]];
    let (_, run) = listing(&[&walk[..], &again, &[&["k"]]].concat()).await;
    assert_eq!((run.records, run.duplicates, run.passes, run.incomplete.as_ref()), (7, 1, 2, None));
}

#[tokio::test]
async fn what_says_nothing_about_its_end_is_not_known_to_be_whole() {
    let nodes: Vec<String> = (0..200).map(|id| format!(r#"{{"id":"{id:03}"}}"#)).collect();
    for ids in [String::new(), nodes.join(",")] {
        let plant = Plant::of(450).await;
        let page = format!(r#"{{"data":{{"assets":{{"pageInfo":null,"totalCount":null,"nodes":[{ids}]}}}}}}"#);
        plant.answer(Api::Graphql, 1, "application/json", &page);
        let run = plant.ingest(&plant.request(Api::Graphql)).await.unwrap();
        assert_eq!(run.incomplete, Some(Incomplete::Unsaid));
        assert_kept_as_incomplete(&plant, &run);
    }
}

#[tokio::test]
async fn what_the_first_pass_read_is_kept_where_the_second_fails() {
    use robocred::simulator::RowsMove;
    let refused = |api, nth| {
        let kind = FaultKind::Answer { status: 403, content_type: "application/json", body: b"{}".to_vec() };
        Fault { path: Some(path_of(api).to_owned()), nth, kind }
    };
    // Three pages of the first pass; then the first or the last of the second.
    for page in [1, 3] {
        let rows_move = Some(RowsMove { at_page: 2, removed: false, always: false, total_lies: false });
        let plant = Plant::with(450, Behaviours { rows_move, ..Behaviours::default() }).await;
        plant.simulator.inject(refused(Api::Graphql, 3 + page));
        let run = plant.ingest(&plant.request(Api::Graphql)).await.unwrap();
        let Some(Incomplete::Unrepaired { why, failure }) = &run.incomplete else { panic!("{run:?}") };
        assert!(matches!(**why, Incomplete::TotalChanged { .. }), "{why:?}");
        assert!(failure.contains(&format!("no page {page}: ")) && failure.contains("403"), "{failure}");
        assert_eq!(run.passes, 2);
        assert_kept_as_incomplete(&plant, &run);
    }
    // Pages 1 to 3, one too far on, the empty one; then the second look.
    for page in [1, 2, 3] {
        let plant = Plant::of(450).await;
        plant.simulator.inject(refused(Api::Rest, 5 + page));
        let run = plant.ingest(&plant.request(Api::Rest)).await.unwrap();
        let Some(Incomplete::Unlooked { page: at, failure }) = &run.incomplete else { panic!("{run:?}") };
        assert!(*at == page as u64 && failure.contains("403"), "{at} {failure}");
        assert_eq!((run.records, run.passes), (450, 1));
        assert_kept_as_incomplete(&plant, &run);
    }
}

#[tokio::test]
async fn a_page_whose_json_ends_early_is_asked_for_again() {
    let plant = Plant::of(500).await;
    plant.answer(Api::Graphql, 2, "application/json", r#"{"data":{"assets":{"nodes":[{"id":"a"#);
    let run = plant.ingest(&plant.request(Api::Graphql)).await.unwrap();
    assert_eq!((run.records, run.complete()), (500, true));
}

#[tokio::test]
async fn graphql_errors_with_200_and_other_strange_replies_fail_the_run() {
    let broken = [
        ("application/json", r#"{"errors":[{"message":"no","extensions":{"code":"NOT_FOUND"}}]}"#),
        ("application/json", r#"{"error":{"errors":[{"message":"no"}]}}"#),
        (
            "application/json",
            r#"{"errors":[{"message":"half"}],"data":{"assets":{"nodes":[{"id":"a"}],"pageInfo":{"hasNextPage":false}}}}"#,
        ),
        ("application/json", r#"{"data":null}"#),
        ("application/json", r#"{"data":{"assets":{"nodes":[{"name":"no id"}]}}}"#),
        ("text/html", "<!doctype html><title>log in</title>"),
    ];
    for page in [1, 3] {
        for (content_type, body) in broken {
            let plant = Plant::of(500).await;
            plant.answer(Api::Graphql, page, content_type, body);
            let result = plant.ingest(&plant.request(Api::Graphql)).await;
            let records = (page as u64 - 1) * 200;
            assert!(
                matches!(&result, Err(Error::Page { api: Api::Graphql, page: at, records: had, .. })
                    if (*at, *had) == (page as u64, records)),
                "page {page} was {body}: {result:?}"
            );
            plant.assert_nothing_left();
            assert_eq!(plant.asked(Api::Rest), 0, "{body}");
            assert!(plant.inventory.runs().await.unwrap().is_empty());
        }
    }
    // After the first record the interface is not changed any more.
    let plant = Plant::of(500).await;
    plant.answer(Api::Graphql, 3, broken[0].0, broken[0].1);
    assert!(matches!(plant.ingest(&plant.request(None)).await, Err(Error::Page { page: 3, .. })));
    assert_eq!(plant.asked(Api::Rest), 0);
    plant.assert_nothing_left();
}

#[tokio::test]
async fn a_page_that_is_cut_is_asked_for_again() {
    for api in BOTH {
        let plant = Plant::of(450).await;
        // The second time as well: one cut alone looks like a connection that the server had closed.
        for nth in [2, 3] {
            let path = Some(path_of(api).to_owned());
            plant.simulator.inject(Fault { path, nth, kind: FaultKind::CutInBody });
        }
        let run = plant.ingest(&plant.request(api)).await.unwrap();
        assert_eq!((run.records, run.duplicates, run.complete()), (450, 0, true), "{api}");
        // REST: the empty page, expected too far on at first, and three looked at again.
        let pages = if api == Api::Graphql { 3 } else { 8 };
        assert_eq!(plant.asked(api), pages + 2, "{api}");
    }
}

#[tokio::test]
async fn a_busy_appliance_is_asked_again_by_the_same_interface() {
    for status in [502, 503] {
        let plant = Plant::of(30).await;
        let kind = FaultKind::Answer { status, content_type: "text/html", body: b"<html>later</html>".to_vec() };
        plant.simulator.inject(Fault::next("/graphql", kind));
        let run = plant.ingest(&plant.request(None)).await.unwrap();
        assert_eq!((run.api, run.records, run.complete()), (Api::Graphql, 30, true), "{status}");
        assert_eq!((plant.asked(Api::Graphql), plant.asked(Api::Rest)), (2, 0), "{status}");
    }
}

#[tokio::test]
async fn a_robot_that_is_removed_meanwhile_reads_no_further() {
    let plant = Plant::of(500).await;
    let clock = FixedClock(NOW);
    let session = Session::open(&plant.site, &plant.inventory, &plant.secrets, &clock).unwrap();
    let removed = |_| plant.simulator.forget_robots();
    let error = ingest(&session, &plant.request(None), Box::new(Vec::new()), &removed).await.unwrap_err();
    assert!(
        matches!(
            &error,
            // The second page was on its way already when the first was told of.
            Error::Page { api: Api::Graphql, page: 3, records: 400, source: appliance::Error::Refused(_) }
        ),
        "{error:?}"
    );
    plant.assert_nothing_left();
}

#[tokio::test]
async fn a_record_that_comes_twice_is_written_once() {
    let plant = Plant::of(1).await;
    let page = |ids: &str, info: &str| graphql_page(ids, info, 3);
    let first = page(r#"{"id":"a"},{"id":"b"}"#, r#"{"hasNextPage":true,"endCursor":"x"}"#);
    plant.answer(Api::Graphql, 1, "application/json", &first);
    plant.answer(Api::Graphql, 2, "application/json", &page(r#"{"id":"b"},{"id":"c"}"#, r#"{"hasNextPage":false}"#));
    let run = plant.ingest(&plant.request(Api::Graphql)).await.unwrap();
    assert_eq!((run.records, run.duplicates, run.complete()), (3, 1, true));
    let text = fs::read_to_string(run.path.unwrap()).unwrap();
    assert_eq!(text, "{\"id\":\"a\"}\n{\"id\":\"b\"}\n{\"id\":\"c\"}\n");
}

#[tokio::test]
async fn where_graphql_is_not_to_be_had_rest_is_read() {
    let plant = Plant::with(30, Behaviours { interfaces: Interfaces::RestOnly, ..Behaviours::default() }).await;
    let run = plant.ingest(&plant.request(None)).await.unwrap();
    assert_eq!((run.api, run.records, run.complete()), (Api::Rest, 30, true));
    assert_eq!(manifest(&run)["api"], "rest");

    let refused = plant.ingest(&Request { to: Destination::Stdout, ..plant.request(Api::Graphql) }).await;
    assert!(matches!(refused, Err(Error::Page { source: appliance::Error::Refused(_), page: 1, .. })), "{refused:?}");

    let html = Plant::of(30).await;
    html.answer(Api::Graphql, 1, "text/html", "<!doctype html><div id=app></div>");
    assert_eq!(html.ingest(&html.request(None)).await.unwrap().api, Api::Rest);

    let newer = Plant::with(30, Behaviours { interfaces: Interfaces::GraphqlOnly, ..Behaviours::default() }).await;
    let missing = newer.ingest(&newer.request(Api::Rest)).await;
    assert!(matches!(missing, Err(Error::Page { source: appliance::Error::Unsupported { .. }, .. })), "{missing:?}");
    assert_eq!(newer.ingest(&newer.request(None)).await.unwrap().api, Api::Graphql);
}

#[tokio::test]
async fn a_refused_robot_reads_nothing() {
    let plant = Plant::of(30).await;
    plant.simulator.forget_robots();
    let error = plant.ingest(&plant.request(None)).await.unwrap_err();
    assert!(matches!(error, Error::NeitherApi { .. }), "{error:?}");
    assert!(error.hint().is_some());
    plant.assert_nothing_left();
}

#[tokio::test]
async fn another_server_key_is_never_asked() {
    let plant = Plant::of(30).await;
    plant.simulator.replace_server_key().unwrap();
    let before = plant.simulator.requests().len();
    let error = plant.ingest(&plant.request(None)).await.unwrap_err();
    assert!(matches!(error, Error::Session(session::Error::Untrusted { .. })), "{error:?}");
    assert_eq!(plant.simulator.requests().len(), before);
    plant.assert_nothing_left();
}

#[tokio::test]
async fn what_cannot_be_done_opens_no_connection() {
    let plant = Plant::of(1).await;
    let before = plant.simulator.connections();
    let base = plant.request(None);
    for stream in [Stream::Plugins, Stream::Events] {
        let error = plant.ingest(&Request { stream, ..plant.request(Api::Rest) }).await.unwrap_err();
        assert!(error.to_string().contains(stream.as_str()), "{error}");
        assert!(matches!(error, Error::GraphqlOnly { .. }), "{error:?}");
        assert!(error.hint().unwrap().contains("--api graphql"), "{error:?}");
    }
    let error = plant.ingest(&Request { record: None, ..base.clone() }).await.unwrap_err();
    assert!(matches!(error, Error::NoLogin { .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("robocred apikey set plant"), "{error:?}");
    for page_size in [0, PAGE_SIZES.end() + 1, u32::MAX] {
        let error = plant.ingest(&Request { page_size, ..base.clone() }).await.unwrap_err();
        assert!(matches!(error, Error::PageSize { given } if given == page_size), "{error}");
    }
    assert_eq!(plant.simulator.connections(), before);
    plant.assert_nothing_left();
}

#[tokio::test]
async fn an_error_or_a_null_where_the_list_belongs_is_never_whole() {
    let check = async |api: Api, nth: usize, body: &str| {
        let plant = Plant::of(450).await;
        // Whatever is asked again is answered so again.
        for nth in nth..nth + 10 {
            plant.answer(api, nth, "application/json", body);
        }
        let run = plant.ingest(&Request { page_size: 100, ..plant.request(api) }).await;
        assert!(run.is_err(), "{api} {nth} {body}: {run:?}");
        plant.assert_nothing_left();
    };
    for nth in [1, 2, 3] {
        check(Api::Rest, nth, r#"{"data":null,"error":"internal error"}"#).await;
        check(Api::Rest, nth, r#"{"data":[],"errors":["internal error"]}"#).await;
        check(Api::Rest, nth, r#"{"data":null}"#).await;
        check(Api::Graphql, nth, r#"{"data":{"assets":{"pageInfo":null,"totalCount":null,"nodes":null}}}"#).await;
        check(Api::Graphql, nth, r#"{"data":{"assets":null}}"#).await;
    }
}

#[tokio::test]
async fn what_broke_off_unpacks_to_no_end() {
    use robocred::site::Compression;
    use std::io::Read as _;
    for (fails, compress) in
        [true, false].into_iter().flat_map(|fails| [(fails, Compression::Gzip), (fails, Compression::Zstd)])
    {
        let plant = Plant::of(4000).await;
        if fails {
            let kind = FaultKind::Answer { status: 403, content_type: "application/json", body: b"{}".to_vec() };
            plant.simulator.inject(Fault { path: Some("/graphql".to_owned()), nth: 18, kind });
        }
        let out = Written::default();
        let request = Request { to: Destination::Stdout, compress, ..plant.request(Api::Graphql) };
        let run = plant.ingest_into(&request, out.clone()).await;
        assert_eq!(run.is_err(), fails);
        let (bytes, mut text) = (out.bytes(), Vec::new());
        assert!(!bytes.is_empty(), "{compress}: nothing was written and this shows nothing");
        let unpacked = match compress {
            Compression::Gzip => flate2::read::GzDecoder::new(bytes.as_slice()).read_to_end(&mut text),
            _ => zstd::Decoder::new(bytes.as_slice()).unwrap().read_to_end(&mut text),
        };
        assert_eq!(unpacked.is_err(), fails, "{compress}");
    }
}
