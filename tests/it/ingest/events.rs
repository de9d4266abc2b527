//! Events: bounded by the appliance's clock, so that what comes in meanwhile is the next run's.

use super::*;
use robocred::ingest::Since;

/// The first of the simulator's events; each of the others is a second later.
const FIRST: OffsetDateTime = datetime!(2026-02-12 00:00 UTC);

async fn at(plant: &Plant, now: OffsetDateTime, since: Option<Since>) -> (Run, Vec<Json>) {
    plant.simulator.set_clock_ahead((now - SystemClock.now()).whole_seconds());
    let request = Request { stream: Stream::Events, since, to: Destination::Stdout, ..plant.request(None) };
    let out = Written::default();
    let run = plant.ingest_at(now, &request, out.clone()).await.unwrap();
    assert!(run.complete(), "{:?}", run.incomplete);
    (run, lines(&String::from_utf8(out.bytes()).unwrap()))
}

#[tokio::test]
async fn every_event_comes_once_over_any_number_of_runs() {
    let options = Options { devices: 900, ..Options::default() };
    let plant = Plant::years_away(options, FIRST - SystemClock.now()).await;
    let events = plant.simulator.events();
    assert_eq!(events, 450);
    let mut seen = HashSet::new();
    let (mut before, mut unchanged) = (0, 0);
    for (number, seconds) in [100, 250, 250, 400, 5000].into_iter().enumerate() {
        let since = (number > 0).then_some(Since::Last);
        let (run, records) = at(&plant, FIRST + Duration::seconds(seconds), since).await;
        assert_eq!(run.unchanged, unchanged, "run {number}");
        // By which second the appliance's clock is at is up to its own.
        let expected = usize::try_from(seconds).unwrap().min(events);
        let all = seen.len() + records.len();
        assert!(all.abs_diff(expected) <= 3, "run {number}: {all} of {expected}");
        for id in ids(&records) {
            assert!(seen.insert(id), "run {number}: an event came twice");
        }
        before = if number == 4 { before } else { seen.len() };
        unchanged = before as u64;
    }
    assert_eq!(seen.len(), events);
}

#[tokio::test]
async fn a_clock_that_is_far_off_hides_no_event() {
    for years in [-20, 20] {
        let options = Options { devices: 60, ..Options::default() };
        let plant = Plant::years_away(options, Duration::days(365 * years)).await;
        let request = Request { stream: Stream::Events, to: Destination::Stdout, ..plant.request(None) };
        let run = plant.ingest_at(SystemClock.now(), &request, Written::default()).await.unwrap();
        assert_eq!((run.records, run.complete()), (30, true), "{years}");
    }
}

#[tokio::test]
async fn events_are_there_over_graphql_only() {
    let plant = Plant::of(10).await;
    for stream in [Stream::Events, Stream::Plugins] {
        let error = plant.ingest(&Request { stream, ..plant.request(Api::Rest) }).await.unwrap_err();
        assert!(matches!(&error, Error::GraphqlOnly { .. }) && error.hint().is_some(), "{error:?}");
    }
    assert_eq!(plant.simulator.requests().iter().filter(|it| it.path != "/v1/robots").count(), 0);
}
