//! Faults strike the request they are for.

use super::client::{Ask, VERSION, simulator};
use robocred::simulator::{Behaviours, Fault, FaultKind};
use std::time::Duration;

#[tokio::test]
async fn faults_strike_the_request_they_are_for_and_only_once() {
    let simulator = simulator(Behaviours::default()).await;
    let ask = Ask::with_key(&simulator);
    let kinds = [
        FaultKind::ResetBefore,
        FaultKind::ResetAfter,
        FaultKind::CutAfter(0),
        FaultKind::CutAfter(40),
        FaultKind::CutInBody,
        FaultKind::WrongLength(5),
        FaultKind::Garbage,
        FaultKind::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort".to_vec()),
    ];
    for kind in kinds {
        simulator.inject(Fault::next(VERSION, kind.clone()));
        assert_eq!(ask.get("/v1/no-such").await.status, 404, "{kind:?}");
        assert!(ask.send("GET", VERSION, String::new()).await.is_err(), "{kind:?}");
        assert_eq!(ask.get(VERSION).await.status, 200, "{kind:?}");
    }
    simulator.inject(Fault { path: None, nth: 2, kind: FaultKind::ResetAfter });
    assert_eq!(ask.get(VERSION).await.status, 200);
    assert!(ask.send("GET", VERSION, String::new()).await.is_err());

    let whole = ask.get(VERSION).await.body;
    simulator.inject(Fault::next(VERSION, FaultKind::Drip(Duration::from_micros(1))));
    assert_eq!(ask.get(VERSION).await.body, whole);
    simulator.inject(Fault::next(VERSION, FaultKind::WrongLength(-5)));
    assert_eq!(ask.get(VERSION).await.body, whole[..whole.len() - 5]);
    let answer = FaultKind::Answer { status: 503, content_type: "text/html", body: b"<html>".to_vec() };
    simulator.inject(Fault::next(VERSION, answer));
    assert_eq!(ask.get(VERSION).await.status, 503);
    simulator.inject(Fault::next(VERSION, FaultKind::Hang));
    simulator.inject(Fault { path: Some(VERSION.to_owned()), nth: 2, kind: FaultKind::Endless });
    for _ in ["hang", "endless"] {
        let waited = tokio::time::timeout(Duration::from_millis(200), ask.send("GET", VERSION, String::new())).await;
        assert!(waited.is_err());
    }
    assert_eq!(ask.get(VERSION).await.status, 200);
}
