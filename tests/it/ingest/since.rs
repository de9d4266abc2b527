//! Only what changed: nothing is lost to a clock, and little comes twice.

use super::*;
use robocred::ingest::Since;

const HOUR: Duration = Duration::HOUR;

/// A run, and the ids it brought.
struct Brought {
    run: Run,
    ids: HashSet<String>,
}

impl Brought {
    fn name(&self) -> String {
        self.run.path.as_ref().unwrap().file_name().unwrap().to_str().unwrap().to_owned()
    }
}

/// A run by the machine's own clock, which the simulator's is measured from.
async fn brought(plant: &Plant, request: &Request) -> Brought {
    let run = plant.ingest_at(SystemClock.now(), request, Written::default()).await.unwrap();
    let ids = ids(&lines(&fs::read_to_string(run.path.as_ref().unwrap()).unwrap()));
    assert_eq!(ids.len() as u64, run.records);
    Brought { run, ids }
}

/// The ids of these devices.
async fn ids_of(plant: &Plant, devices: &[usize]) -> HashSet<String> {
    let request = Request { to: Destination::Stdout, api: ApiChoice::Rest, ..plant.request(Api::Rest) };
    let out = Written::default();
    plant.ingest_into(&request, out.clone()).await.unwrap();
    let mut all: Vec<String> = ids(&lines(&String::from_utf8(out.bytes()).unwrap())).into_iter().collect();
    all.sort();
    devices.iter().map(|&device| all[device].clone()).collect()
}

/// A device changes, so many seconds from now by the appliance's clock.
fn touch_at(plant: &Plant, device: usize, seconds: i64) {
    plant.simulator.set_clock_ahead(seconds);
    plant.simulator.touch(device);
    plant.simulator.set_clock_ahead(0);
}

fn last(plant: &Plant) -> Request {
    Request { since: Some(Since::Last), ..plant.request(None) }
}

#[tokio::test]
async fn changes_come_once_and_what_is_known_is_left_out() {
    let plant = Plant::of(450).await;
    touch_at(&plant, 3, -60);
    touch_at(&plant, 400, -60);
    let first = brought(&plant, &last(&plant)).await;
    assert_eq!((first.run.records, first.run.since, first.run.unchanged), (450, None, 0), "there was none before");
    assert!(!first.name().contains("changes"), "{}", first.name());

    // Nothing happened.
    let nothing = brought(&plant, &last(&plant)).await;
    assert_eq!((nothing.run.records, nothing.run.unchanged, nothing.run.complete()), (0, 2, true));
    assert!(nothing.name().starts_with("assets-changes-"), "{}", nothing.name());
    assert!(nothing.run.since.is_some_and(|since| (SystemClock.now() - since - HOUR).abs() < 2 * HOUR / 10));
    assert_eq!(manifest(&nothing.run)["unchanged"], 2);

    // A device changed, another once more, and one is new.
    touch_at(&plant, 17, -30);
    touch_at(&plant, 400, -30);
    let added = plant.simulator.add_device();
    let some = brought(&plant, &last(&plant)).await;
    assert_eq!(some.ids, ids_of(&plant, &[17, 400, added]).await);
    assert_eq!((some.run.unchanged, some.run.total_reported), (1, Some(4)));

    // What was read is neither the latest nor in the way of a whole run.
    let latest = fs::read_link(plant.dir().join("latest/assets.ndjson")).unwrap();
    assert!(latest.ends_with(first.name()), "{}", latest.display());
    let whole = brought(&plant, &plant.request(None)).await;
    assert_eq!((whole.run.records, whole.run.unchanged, whole.run.since), (451, 0, None));
}

#[tokio::test]
async fn a_time_is_taken_at_its_word_and_leaves_no_gap_behind() {
    let plant = Plant::of(50).await;
    touch_at(&plant, 5, -3 * 3600);
    let at = |hours| Request { since: Some(Since::Time(SystemClock.now() - hours * HOUR)), ..plant.request(None) };
    let four = brought(&plant, &at(4)).await;
    assert_eq!((four.ids, four.run.unchanged), (ids_of(&plant, &[5]).await, 0));
    // It was asked for, however often it was read.
    assert_eq!(brought(&plant, &at(4)).await.run.records, 1);
    assert_eq!(brought(&plant, &at(2)).await.run.records, 0);
    // None of these was whole: what is read next is everything.
    assert_eq!(brought(&plant, &last(&plant)).await.run.records, 50);

    // From here on the mark is there: a time before it may move it, one after it may not.
    let marked = async || plant.inventory.last_complete(&plant.record.id.robot, Stream::Assets).await.unwrap().unwrap();
    let mark = marked().await;
    brought(&plant, &at(0)).await;
    assert_eq!(marked().await, mark);
    brought(&plant, &at(5)).await;
    assert!(marked().await.since >= mark.since);
}

#[tokio::test]
async fn another_scope_is_read_whole() {
    let plant = Plant::of(60).await;
    let hidden = plant.request(None);
    brought(&plant, &hidden).await;
    let others = [
        Request { include_hidden: false, ..last(&plant) },
        Request { with_details: true, ..last(&plant) },
        last(&plant),
    ];
    for other in others {
        let run = brought(&plant, &other).await;
        assert_eq!(run.run.since, None, "{other:?}");
        assert!(!run.name().contains("changes"));
        let again = brought(&plant, &other).await;
        assert!(again.run.since.is_some() && again.run.records == 0, "{other:?}");
    }
}

#[tokio::test]
async fn a_run_that_is_not_whole_moves_no_mark() {
    let plant = Plant::of(40).await;
    brought(&plant, &plant.request(None)).await;
    touch_at(&plant, 7, -10);
    // Two passes, each of which hears of more than comes; the one record before them tells the clock.
    for nth in [2, 3] {
        plant.answer(Api::Graphql, nth, "application/json", &graphql_page("", r#"{"hasNextPage":false}"#, 9));
    }
    let cut = brought(&plant, &last(&plant)).await;
    assert_eq!((cut.run.records, cut.run.complete()), (0, false));
    assert!(cut.name().starts_with("assets-changes-") && cut.name().ends_with(".ndjson.incomplete"));
    assert_eq!(brought(&plant, &last(&plant)).await.ids, ids_of(&plant, &[7]).await);
}

#[tokio::test]
async fn wrong_clocks_lose_nothing() {
    let plant = Plant::of(30).await;
    // Far ahead of ours while everything was read, and right again afterwards.
    plant.simulator.set_clock_ahead(20 * 3600);
    brought(&plant, &plant.request(None)).await;
    plant.simulator.set_clock_ahead(0);
    plant.simulator.touch(4);
    assert_eq!(brought(&plant, &last(&plant)).await.ids, ids_of(&plant, &[4]).await);

    // Set back behind the mark: its times can no longer be compared.
    plant.simulator.set_clock_ahead(-2 * 3600);
    plant.simulator.touch(5);
    let back = brought(&plant, &last(&plant)).await;
    assert_eq!((back.run.records, back.run.since), (30, None));
    plant.simulator.touch(6);
    assert!(brought(&plant, &last(&plant)).await.ids.is_superset(&ids_of(&plant, &[6]).await));

    // Always years behind, or years ahead: its own times are compared with its own clock.
    for years in [-20, 5] {
        let options = Options { devices: 30, ..Options::default() };
        let plant = Plant::years_away(options, Duration::days(365 * years)).await;
        brought(&plant, &plant.request(None)).await;
        plant.simulator.touch(8);
        let changed = brought(&plant, &last(&plant)).await;
        assert!(changed.ids.is_superset(&ids_of(&plant, &[8]).await), "{years}");
        assert!(changed.run.complete(), "{years}");
    }
}

#[tokio::test]
async fn what_has_no_changes_is_refused_with_a_next_step() {
    let plant = Plant::of(10).await;
    for stream in [Stream::Plugins, Stream::Findings] {
        let error = plant.ingest(&Request { stream, ..last(&plant) }).await.unwrap_err();
        assert!(matches!(&error, Error::NoChanges { .. }) && error.hint().is_some(), "{error:?}");
    }
    let error = plant.ingest(&Request { api: ApiChoice::Rest, ..last(&plant) }).await.unwrap_err();
    assert!(matches!(&error, Error::GraphqlOnly { .. }) && error.hint().is_some(), "{error:?}");
    assert_eq!((plant.asked(Api::Graphql), plant.asked(Api::Rest)), (0, 0));

    for (status, content_type, body) in [(404, "application/json", "{}"), (200, "text/html", "<html></html>")] {
        let kind = FaultKind::Answer { status, content_type, body: body.as_bytes().to_vec() };
        plant.simulator.inject(Fault::next("/graphql", kind));
        let error = plant.ingest(&last(&plant)).await.unwrap_err();
        assert!(matches!(&error, Error::NoGraphql { .. }) && error.hint().is_some(), "{error:?}");
        assert_eq!(plant.asked(Api::Rest), 0);
    }
    plant.assert_nothing_left();
}

#[tokio::test]
async fn a_look_elsewhere_takes_nothing_from_the_next_changes() {
    let plant = Plant::of(45).await;
    brought(&plant, &last(&plant)).await;
    let other = plant.folder.path().join("other");
    let elsewhere = [
        Request { to: Destination::Stdout, ..plant.request(None) },
        Request { to: Destination::Dir(other.clone()), ..plant.request(None) },
        // By the same name, and so the same place.
        Request { to: Destination::Dir(plant.dir().join("../data")), ..last(&plant) },
    ];
    for (device, look) in elsewhere.iter().enumerate() {
        touch_at(&plant, device, -30);
        let run = plant.ingest_at(SystemClock.now(), look, Written::default()).await.unwrap();
        assert!(run.complete());
        let changes = brought(&plant, &last(&plant)).await;
        assert!(changes.run.since.is_some(), "{look:?}");
        let expected = if look.since.is_some() { HashSet::new() } else { ids_of(&plant, &[device]).await };
        assert_eq!((run.records == 1, changes.ids), (look.since.is_some(), expected), "{look:?}");
    }

    // Asked for changes, another place begins with everything, and so does the first one afterwards.
    let there = Request { to: Destination::Dir(other), ..last(&plant) };
    for request in [&there, &last(&plant)] {
        let whole = brought(&plant, request).await;
        assert_eq!((whole.run.records, whole.run.since), (45, None), "{request:?}");
    }
}

#[tokio::test]
async fn a_time_beyond_the_calendar_is_no_panic() {
    let plant = Plant::of(10).await;
    for time in [datetime!(9999-12-31 23:59:59 -12), datetime!(0000-01-01 00:00 +12)] {
        let run = plant.ingest(&Request { since: Some(Since::Time(time)), ..plant.request(None) }).await.unwrap();
        assert!(run.complete() && run.since.is_some(), "{time}");
    }
}

#[tokio::test]
async fn a_mark_that_cannot_be_read_is_replaced_by_a_run_of_everything() {
    use robocred::inventory;
    use sqlx::Connection as _;
    let plant = Plant::of(20).await;
    brought(&plant, &last(&plant)).await;
    let file = fs::read_dir(plant.folder.path().join("state")).unwrap().map(|entry| entry.unwrap().path());
    let file =
        file.into_iter().find(|path| path.extension().is_some_and(|ending| ending == "db" || ending == "sqlite"));
    let url = format!("sqlite://{}", file.unwrap().display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::query("UPDATE run SET recent = x'01'").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let error = plant.ingest(&last(&plant)).await.unwrap_err();
    assert!(matches!(error, Error::Inventory(inventory::Error::Damaged { .. })), "{error:?}");
    brought(&plant, &plant.request(None)).await;
    assert!(brought(&plant, &last(&plant)).await.run.since.is_some());
}
