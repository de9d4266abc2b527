//! I14: a run that failed says so by its exit code and in words, and `status` says it too.

use robocred::{
    credential::{Record, State},
    inventory::Leftover,
};

use super::text;
use crate::world::{Ran, World};

pub fn no_silence(world: &World, ran: &Ran, records: &[Record], leftovers: &[Leftover]) {
    let status = world.status();
    let is = |state: State| records.iter().any(|record| record.state == state);
    let Some(code) = ran.code() else { return };
    if code == 0 {
        assert_eq!(status["state"], "active", "I14: done, and {status:#}");
    } else {
        assert!((1..=12).contains(&code), "I14: exit code {code}");
        let results = ran.json()["results"].as_array().unwrap().clone();
        let failed = results.iter().find(|result| result["error"]["exit_code"] == code);
        let failed = failed.unwrap_or_else(|| panic!("I14: nothing failed with {code}: {ran:#?}"));
        assert!(!text(&failed["error"]["message"]).is_empty(), "I14: {failed:#?}");
        assert_eq!(status["state"] == "active", is(State::Active), "I14: failed, and {status:#}");
    }
    let silent = |record: &&Record| match record.state {
        State::Active => false,
        state if state.is_pending() || state.is_previous() => true,
        _ => false,
    };
    let beside: Vec<&Record> = records.iter().filter(silent).collect();
    if code == 0 && beside.is_empty() && leftovers.is_empty() {
        return;
    }
    let words = world.run(&["status"]).expect(0).stdout;
    assert!(words.contains("plant/reader") && words.contains(status["state"].as_str().unwrap()), "I14: {words}");
    for record in beside {
        let own_line = format!("generation {} ({}) is ", record.id.generation, record.registered_name);
        let shown = status["generation"] == record.id.generation.number();
        assert!(shown || words.contains(&own_line), "I14: nothing is said of {}: {words}", record.id);
    }
    for leftover in leftovers {
        let line = format!("for a person to remove: {} (generation", leftover.registered_name);
        assert!(words.contains(&line), "I14: nothing is said of {}: {words}", leftover.registered_name);
    }
}
