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
    // Pages 1 to 3, the empty one, the first again, the last again.
    for (nth, page) in [(5, "first"), (6, "last")] {
        let plant = Plant::of(450).await;
        plant.answer(Api::Rest, nth, "application/json", r#"[{"id":"somebody-else"}]"#);
        let run = plant.ingest(&plant.request(Api::Rest)).await.unwrap();
        assert_eq!(run.incomplete, Some(Incomplete::Moved { page }));
        assert_eq!(run.records, 450);
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
        ("application/json", r#"{"errors":[{"message":"no","extensions":{"code":"BAD_USER_INPUT"}}]}"#),
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
        let pages = if api == Api::Graphql { 3 } else { 6 };
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
    let error = ingest(&session, &plant.request(None), &mut Vec::new(), &removed).await.unwrap_err();
    assert!(
        matches!(
            &error,
            Error::Page { api: Api::Graphql, page: 2, records: 200, source: appliance::Error::Refused(_) }
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
    for stream in [Stream::Plugins, Stream::Findings, Stream::Events] {
        let error = plant.ingest(&Request { stream, ..base.clone() }).await.unwrap_err();
        assert!(error.to_string().contains(stream.as_str()), "{error}");
        assert!(matches!(error, Error::UnsupportedStream { stream: named } if named == stream));
    }
    for format in [Format::Csv, Format::Parquet] {
        let error = plant.ingest(&Request { format, ..base.clone() }).await.unwrap_err();
        assert!(error.to_string().contains(format.as_str()), "{error}");
    }
    for page_size in [0, PAGE_SIZES.end() + 1, u32::MAX] {
        let error = plant.ingest(&Request { page_size, ..base.clone() }).await.unwrap_err();
        assert!(matches!(error, Error::PageSize { given } if given == page_size), "{error}");
    }
    assert_eq!(plant.simulator.connections(), before);
    plant.assert_nothing_left();
}
