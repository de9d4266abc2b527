//! Lies about how much there is and where it goes on (A35): every walk ends,
//! and whatever cannot be shown to be whole is not called that.

use robocred::ingest::Incomplete;

use super::*;

/// How a lying appliance changes what an honest one says: the request, and how many came before it.
type Lie = fn(&Asked, u64) -> (String, String);

/// The members `pageInfo` and `totalCount` of an honest page.
fn truth(asked: &Asked) -> (String, String) {
    let end = (asked.at + asked.size).min(DEVICES);
    (format!(r#"{{"hasNextPage":{},"endCursor":"c{end}"}}"#, end < DEVICES), DEVICES.to_string())
}

fn page(asked: &Asked, (info, total): &(String, String)) -> Sent {
    let end = (asked.at + asked.size).min(DEVICES);
    let nodes: Vec<String> = (asked.at..end).map(|id| format!(r#"{{"id":"d{id:05}"}}"#)).collect();
    let body =
        format!(r#"{{"data":{{"assets":{{"pageInfo":{info},"totalCount":{total},"nodes":[{}]}}}}}}"#, nodes.join(","));
    json(200, &body).into()
}

fn total(asked: &Asked, total: impl std::fmt::Display + Copy) -> (String, String) {
    (truth(asked).0, format!("{total}"))
}

fn info(info: &str) -> (String, String) {
    (info.to_owned(), DEVICES.to_string())
}

/// Reads by GraphQL what this appliance says; the run, and how many requests it took.
async fn walked(lie: Lie) -> (Run, usize, Plant) {
    let plant = Plant::of(0).await;
    let asked_before = StdMutex::new(0);
    let server = appliance(move |asked| {
        let mut before = asked_before.lock().unwrap();
        *before += 1;
        page(&asked, &lie(&asked, *before - 1))
    })
    .await;
    let request = plant.wanted(Door::Graphql, "run");
    let run = plant.read_from(&server, &request, soon());
    let run = within(Span::from_secs(30), "a walk", run).await.unwrap();
    (run, server.seen.count(), plant)
}

#[tokio::test]
async fn every_lie_is_found_out_and_every_walk_ends() {
    let check = async |what: &str, lie: Lie, requests: usize, verdict: fn(&Incomplete) -> bool| {
        let (run, asked, plant) = walked(lie).await;
        assert!(run.incomplete.as_ref().is_some_and(verdict), "{what}: {run:?}");
        assert!(asked <= requests, "{what}: {asked} requests");
        let files = names(&plant.dir().join("run"));
        assert_eq!(files.len(), 2, "{what}: {files:?}");
        assert!(files[0].ends_with(".manifest.json") && files[1].ends_with(".incomplete"), "{what}: {files:?}");
        assert!(plant.inventory.runs().await.unwrap().iter().all(|row| !row.complete), "{what}");
    };
    // Rows may have moved: the whole list is read a second time, and never a third.
    let pages = usize::try_from(DEVICES.div_ceil(u64::from(SIZE))).unwrap();
    let differs: fn(&Incomplete) -> bool = |why| matches!(why, Incomplete::CountDiffers { .. });
    check("one too many", |asked, _| total(asked, DEVICES + 1), 2 * pages, differs).await;
    check("one too few", |asked, _| total(asked, DEVICES - 1), 2 * pages, differs).await;
    check("none at all", |asked, _| total(asked, 0), 2 * pages, differs).await;
    check("the most there can be", |asked, _| total(asked, i64::MAX), 2 * pages, differs).await;
    check("silent first", |asked, _| total(asked, if asked.at == 0 { "null" } else { "9" }), 2 * pages, differs).await;
    check(
        "ever more",
        |asked, before| total(asked, DEVICES + before),
        2 * pages,
        |why| matches!(why, Incomplete::TotalChanged { first, last } if first < last),
    )
    .await;
    check(
        "ever fewer",
        |asked, before| total(asked, DEVICES - before),
        2 * pages,
        |why| matches!(why, Incomplete::TotalShrank { first, last } if first > last),
    )
    .await;
    check(
        "another one on the fiftieth page",
        |asked, _| total(asked, DEVICES + asked.at / LATE),
        2 * pages,
        |why| matches!(why, Incomplete::TotalChanged { .. }),
    )
    .await;
    check(
        "the end on the fiftieth page",
        |asked, _| {
            if asked.at == LATE { info(r#"{"hasNextPage":false,"endCursor":null}"#) } else { truth(asked) }
        },
        2 * pages,
        differs,
    )
    .await;

    // Nothing that a second look could mend.
    let repeats: fn(&Incomplete) -> bool = |why| matches!(why, Incomplete::CursorRepeats { .. });
    let nowhere: fn(&Incomplete) -> bool = |why| matches!(why, Incomplete::NoCursor { page: 1 });
    check("one cursor for ever", |_, _| info(r#"{"hasNextPage":true,"endCursor":"c20"}"#), 4, repeats).await;
    check(
        "back to the start",
        |asked, _| {
            if asked.at == LATE { info(r#"{"hasNextPage":true,"endCursor":"c10"}"#) } else { truth(asked) }
        },
        pages + 1,
        repeats,
    )
    .await;
    check("more, and an empty cursor", |_, _| info(r#"{"hasNextPage":true,"endCursor":""}"#), 2, nowhere).await;
    check("more, and no cursor", |_, _| info(r#"{"hasNextPage":true,"endCursor":null}"#), 2, nowhere).await;
    check("more, and nothing about it", |_, _| info(r#"{"hasNextPage":true}"#), 2, nowhere).await;
    check(
        "nothing said at all",
        |_, _| ("null".to_owned(), "null".to_owned()),
        2,
        |why| matches!(why, Incomplete::Unsaid),
    )
    .await;
    check("more than one page, and only that said", |_, _| info("{}"), 2, differs).await;
}

#[tokio::test]
async fn a_total_that_is_not_given_is_not_missed() {
    let (run, _, _) = walked(|asked, _| total(asked, "null")).await;
    assert_eq!((run.incomplete, run.records, run.total_reported), (None, DEVICES, None));
    let (run, _, _) = walked(|asked, _| total(asked, if asked.at < LATE { "null" } else { "510" })).await;
    assert_eq!((run.incomplete, run.records, run.total_reported), (None, DEVICES, None));
}

/// Pages made of how many requests came before.
async fn endless(make: fn(Door, u64) -> String, door: Door) -> (Result<Run, Error>, usize) {
    let plant = Plant::of(0).await;
    let before = StdMutex::new(0);
    let server = Server::start(Tls::default(), {
        let before = Arc::new(before);
        move |mut peer, seen: Seen| {
            let before = Arc::clone(&before);
            async move {
                while seen.read(&mut peer).await.is_some() {
                    let number = {
                        let mut before = before.lock().unwrap();
                        *before += 1;
                        *before
                    };
                    say(&mut peer, json(200, &make(door, number)).as_bytes()).await;
                }
            }
        }
    })
    .await;
    let request = plant.wanted(door, "run");
    let run = plant.read_from(&server, &request, soon());
    (within(Span::from_secs(50), "an endless walk", run).await, server.seen.count())
}

#[tokio::test]
async fn the_same_page_for_ever_ends_at_the_second() {
    let same = |door: Door, number: u64| match door {
        Door::Graphql => {
            graphql_page(r#"{"id":"a"}"#, &format!(r#"{{"hasNextPage":true,"endCursor":"{number}"}}"#), 99)
        }
        _ => r#"[{"id":"a"}]"#.to_owned(),
    };
    for door in [Door::Graphql, Door::Rest] {
        let (run, asked) = endless(same, door).await;
        let run = run.unwrap();
        assert_eq!((run.incomplete, run.records), (Some(Incomplete::PageRepeats { page: 2 }), 1), "{door:?}");
        // Two pages, the wrong guess after the first, and the one that was on its way when the second was looked into.
        assert!(asked <= 4, "{door:?}: {asked} requests");
    }
}

#[tokio::test]
async fn a_list_without_end_is_given_up_by_rest() {
    let (run, asked) = endless(|_, number| format!(r#"[{{"id":{number}}}]"#), Door::Rest).await;
    let why = run.unwrap().incomplete;
    assert!(matches!(why, Some(Incomplete::TooLong { pages: 10_000, .. })), "{why:?}");
    assert!(asked <= 10_010, "{asked} requests");
}

#[tokio::test]
async fn a_list_without_end_is_given_up_by_graphql() {
    // Not even a record on any page.
    let empty = |_, number| graphql_page("", &format!(r#"{{"hasNextPage":true,"endCursor":"{number}"}}"#), 1);
    let (run, asked) = endless(empty, Door::Graphql).await;
    let run = run.unwrap();
    assert_eq!(run.incomplete, Some(Incomplete::TooLong { pages: 10_000, records: 0 }));
    assert!(asked <= 10_001, "{asked} requests");
}

#[tokio::test]
async fn whatever_a_cursor_is_made_of_it_goes_back_as_it_came() {
    for cursor in [r#"a\"b\\c\/\u00e9\ud83d\ude00"#, "{\\\"x\\\":[1]}", "\\n\\r\\t ", "../../etc/passwd", "', 1) --"] {
        let plant = Plant::of(0).await;
        let text: String = serde_json::from_str(&format!("\"{cursor}\"")).unwrap();
        let server = Server::start(Tls::default(), move |mut peer, seen: Seen| async move {
            while let Some(request) = seen.read(&mut peer).await {
                let body: Json = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
                let first =
                    graphql_page(r#"{"id":"a"}"#, &format!(r#"{{"hasNextPage":true,"endCursor":"{cursor}"}}"#), 2);
                let second = graphql_page(r#"{"id":"b"}"#, r#"{"hasNextPage":false}"#, 2);
                let reply = if body["variables"]["after"].is_null() { first } else { second };
                say(&mut peer, json(200, &reply).as_bytes()).await;
            }
        })
        .await;
        let run = plant.read_from(&server, &plant.wanted(Door::Graphql, "run"), soon()).await.unwrap();
        assert_eq!((run.complete(), run.records), (true, 2), "{cursor}");
        let last = server.seen.requests().pop().unwrap();
        let body: Json = serde_json::from_str(last.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!(body["variables"]["after"], text);
    }
}
