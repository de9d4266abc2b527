//! Findings: device by device over REST, in one order whatever the connections, or the appliance's own list.

use robocred::{
    appliance,
    simulator::{Hits, Release},
};

use super::*;

fn request(plant: &Plant, api: impl Into<Option<Api>>) -> Request {
    Request { stream: Stream::Findings, ..plant.request(api) }
}

/// The devices that were asked for, in the order of the requests.
fn asked_for(plant: &Plant) -> Vec<String> {
    let requests = plant.simulator.requests();
    let device = |path: &str| path.strip_prefix("/v1/assets/")?.strip_suffix("/plugin_hits").map(str::to_owned);
    requests.iter().filter_map(|request| device(&request.path)).collect()
}

fn hit(device: &str, status: u16, content_type: &'static str, body: &str) -> Fault {
    let kind = FaultKind::Answer { status, content_type, body: body.as_bytes().to_vec() };
    Fault::next(&format!("/v1/assets/{device}/plugin_hits"), kind)
}

#[tokio::test]
async fn every_hit_of_every_device_is_read_in_one_order() {
    let plant = Plant::of(1100).await;
    let mut written = Vec::new();
    for connections in [1, 4] {
        for api in [None, Some(Api::Rest)] {
            let what = format!("{connections} connections, {api:?}");
            let (before, connected) = (asked_for(&plant).len(), plant.simulator.connections());
            let run = plant.ingest(&Request { connections, ..request(&plant, api) }).await.unwrap();
            assert_eq!((run.api, run.incomplete.as_ref(), run.gone), (Api::Rest, None, 0), "{what}");
            assert_eq!((run.records, run.total_reported), (plant.simulator.findings() as u64, None), "{what}");
            assert_eq!(asked_for(&plant).len() - before, 1100, "{what}");
            assert_eq!(plant.simulator.connections() - connected, connections as usize, "{what}");
            let text = fs::read_to_string(run.path.as_ref().unwrap()).unwrap();
            let records = lines(&text);
            assert_eq!(ids(&records).len(), records.len(), "{what}: two records of one id");
            for record in &records {
                let id = record["id"].as_str().unwrap();
                assert!(id.starts_with(record["assetId"].as_str().unwrap()), "{what}: {record}");
            }
            written.push((api, text));
        }
    }
    // By either listing the order is that of its ids, and the number of connections changes nothing.
    for (api, text) in &written {
        let same = written.iter().find(|(other, _)| other == api).unwrap();
        assert!(*text == same.1, "{api:?}");
    }
}

#[tokio::test]
async fn hidden_devices_are_left_out_unless_asked_for() {
    let plant = Plant::of(300).await;
    let request = Request { include_hidden: false, ..request(&plant, None) };
    let run = plant.ingest(&request).await.unwrap();
    assert!(run.complete());
    assert_eq!(asked_for(&plant).len(), plant.simulator.visible_devices());
    assert!(run.records < plant.simulator.findings() as u64);
}

const NO_SUCH: &str = r#"{"error":"no such asset"}"#;

/// A page of ids as the appliance sends them.
fn ids_page<'a>(devices: impl Iterator<Item = &'a String>) -> String {
    let nodes: Vec<String> = devices.map(|id| format!(r#"{{"id":"{id}"}}"#)).collect();
    graphql_page(&nodes.join(","), r#"{"hasNextPage":false}"#, nodes.len() as u64)
}

#[tokio::test]
async fn a_device_that_went_meanwhile_is_counted() {
    let plant = Plant::of(40).await;
    plant.ingest(&request(&plant, None)).await.unwrap();
    let devices = asked_for(&plant);
    let went = [&devices[0], &devices[1], &devices[20]];
    for connections in [1, 4] {
        for device in went {
            plant.simulator.inject(hit(device, 404, "application/json", NO_SUCH));
        }
        plant.answer(Api::Graphql, 2, "application/json", &ids_page(devices.iter().filter(|id| !went.contains(id))));
        let run = plant.ingest(&Request { connections, ..request(&plant, None) }).await.unwrap();
        assert_eq!((run.api, run.gone, run.incomplete.as_ref()), (Api::Rest, 3, None));
        assert_eq!((run.pages, &manifest(&run)["gone"]), (42, &3.into()), "the ids twice, and each device");
    }
}

#[tokio::test]
async fn a_device_that_is_still_listed_did_not_go() {
    use robocred::ingest::Incomplete;
    let plant = Plant::of(40).await;
    plant.ingest(&request(&plant, None)).await.unwrap();
    let devices = asked_for(&plant);
    for device in &devices[5..8] {
        plant.simulator.inject(hit(device, 404, "application/json", NO_SUCH));
    }
    // One of them did go.
    plant.answer(Api::Graphql, 2, "application/json", &ids_page(devices.iter().filter(|id| **id != devices[6])));
    let run = plant.ingest(&request(&plant, None)).await.unwrap();
    assert_eq!((run.gone, run.incomplete.clone()), (1, Some(Incomplete::StillListed { devices: 2 })));
    assert!(run.path.as_ref().unwrap().to_str().unwrap().ends_with(".ndjson.incomplete"));
    assert!(manifest(&run)["reason"].as_str().unwrap().contains("lists 2 devices"));
}

#[tokio::test]
async fn nearly_every_device_gone_is_looked_into_at_once() {
    use robocred::ingest::Incomplete;
    let plant = Plant::of(100).await;
    plant.ingest(&request(&plant, None)).await.unwrap();
    let devices = asked_for(&plant);
    let went = |from: &[String]| {
        for device in from {
            plant.simulator.inject(hit(device, 404, "application/json", NO_SUCH));
        }
    };
    // They did: all are asked for, and the ids once more after 20, after 40 behind them, and at the end.
    went(&devices[1..]);
    for nth in 2..=4 {
        plant.answer(Api::Graphql, nth, "application/json", &ids_page(devices[..1].iter()));
    }
    let run = plant.ingest(&request(&plant, None)).await.unwrap();
    assert_eq!((run.gone, run.incomplete, run.pages), (99, None, 1 + 100 + 3));

    // They did not: no more are asked for.
    let before = asked_for(&plant).len();
    went(&devices[1..]);
    let run = plant.ingest(&request(&plant, None)).await.unwrap();
    assert_eq!((run.gone, run.incomplete), (0, Some(Incomplete::StillListed { devices: 20 })));
    assert_eq!(asked_for(&plant).len() - before, 21);
}

#[tokio::test]
async fn the_ids_come_in_pages_of_the_size_that_was_asked_for() {
    let plant = Plant::of(120).await;
    for (api, walk) in [(None, 3), (Some(Api::Rest), 4)] {
        let run = plant.ingest(&Request { page_size: 50, ..request(&plant, api) }).await.unwrap();
        assert_eq!((run.smallest_page, run.pages), (50, 120 + walk), "{api:?}");
    }
}

#[tokio::test]
async fn an_appliance_without_hits_is_asked_for_its_own_list() {
    for hits in [Hits::NotFound404, Hits::MethodNotAllowed405, Hits::Html200] {
        let newer = Behaviours { hits, release: Release::Newer, ..Behaviours::default() };
        let plant = Plant::with(300, newer).await;
        for connections in [1, 4] {
            let run = plant.ingest(&Request { connections, ..request(&plant, None) }).await.unwrap();
            assert_eq!((run.api, run.complete()), (Api::Graphql, true), "{hits:?}");
            assert_eq!(run.total_reported, Some(plant.simulator.findings() as u64), "{hits:?}");
            assert_eq!(run.records, plant.simulator.findings() as u64, "{hits:?}");
        }
        assert!(asked_for(&plant).len() <= 2 * (3 + 4), "{hits:?}");

        // Asked for REST, it is not replaced; neither is there where the release has no such list.
        let error = plant.ingest(&request(&plant, Api::Rest)).await.unwrap_err();
        assert!(matches!(error, Error::Page { api: Api::Rest, .. }), "{error:?}");
        let plant = Plant::with(30, Behaviours { hits, ..Behaviours::default() }).await;
        let error = plant.ingest(&request(&plant, None)).await.unwrap_err();
        assert!(matches!(error, Error::NeitherApi { .. }), "{error:?}");
        plant.assert_nothing_left();
    }
}

#[tokio::test]
async fn graphql_asks_for_no_device() {
    let plant = Plant::with(200, Behaviours { release: Release::Newer, ..Behaviours::default() }).await;
    let run = plant.ingest(&request(&plant, Api::Graphql)).await.unwrap();
    assert_eq!((run.api, run.records, run.complete()), (Api::Graphql, plant.simulator.findings() as u64, true));
    assert_eq!(asked_for(&plant).len(), 0);
}

#[tokio::test]
async fn a_failure_among_the_devices_leaves_nothing() {
    for (status, content_type, body) in
        [(403, "application/json", "{}"), (404, "text/html", "<html></html>"), (200, "application/json", "{\"a\":1")]
    {
        let plant = Plant::of(30).await;
        plant.ingest(&Request { to: Destination::Stdout, ..request(&plant, None) }).await.unwrap();
        let device = asked_for(&plant)[10].clone();
        // Whatever is transient is asked for again, and comes.
        plant.simulator.inject(hit(&device, status, content_type, body));
        let ended = plant.ingest(&request(&plant, None)).await;
        if status == 200 {
            assert!(ended.unwrap().complete(), "a cut reply is asked for again");
            continue;
        }
        let error = ended.unwrap_err();
        let Error::Page { api: Api::Rest, page, source, .. } = &error else { panic!("{error:?}") };
        assert_eq!(*page, 12, "the page of ids and eleven devices");
        assert!(matches!(source, appliance::Error::Refused(_) | appliance::Error::Unsupported { .. }), "{error:?}");
        plant.assert_nothing_left();
    }
}

#[tokio::test]
async fn only_a_few_connections_can_be_asked_for() {
    let plant = Plant::of(3).await;
    for connections in [0, 5] {
        let error = plant.ingest(&Request { connections, ..request(&plant, None) }).await.unwrap_err();
        assert!(matches!(error, Error::Connections { given } if given == connections), "{error:?}");
    }
}
