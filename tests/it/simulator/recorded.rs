//! The simulator's bodies have the keys and the types of a real appliance's.
//!
//! The recorded bodies are other people's data and not in this tree:
//! `ROBOCRED_RECORDED_BODIES` names their folder.

use super::client::{Ask, simulator};
use robocred::simulator::Behaviours;
use serde_json::{Value as Json, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

/// The types seen at each path of a value; list items share one path.
type Shape = BTreeMap<String, BTreeSet<&'static str>>;

fn add(shape: &mut Shape, path: &str, value: &Json) {
    let kind = match value {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(_) => "number",
        Json::String(_) => "text",
        Json::Array(_) => "list",
        Json::Object(_) => "object",
    };
    shape.entry(path.to_owned()).or_default().insert(kind);
    match value {
        Json::Array(items) => items.iter().for_each(|item| add(shape, &format!("{path}[]"), item)),
        Json::Object(object) => object.iter().for_each(|(key, value)| add(shape, &format!("{path}.{key}"), value)),
        _ => {}
    }
}

/// Without nulls and empty lists, which say nothing of a shape, and without objects of nothing else.
fn pruned(value: Json) -> Json {
    let is_empty = |value: &Json| [json!([]), json!({}), Json::Null].contains(value);
    match value {
        Json::Array(items) => items.into_iter().map(pruned).filter(|item| !is_empty(item)).collect(),
        Json::Object(object) => {
            let kept =
                object.into_iter().map(|(key, value)| (key, pruned(value))).filter(|(_, value)| !is_empty(value));
            Json::Object(kept.collect())
        }
        plain => plain,
    }
}

/// The fields that any of the recorded items has.
#[derive(Default)]
struct Fields(BTreeMap<String, Fields>);

impl Fields {
    fn add(&mut self, value: &Json) {
        match value {
            Json::Array(items) => items.iter().for_each(|item| self.add(item)),
            Json::Object(object) => {
                for (key, value) in object {
                    let of = self.0.entry(key.clone()).or_default();
                    // A scalar, though it looks like an object.
                    if key != "details" {
                        of.add(value);
                    }
                }
            }
            _ => {}
        }
    }

    fn selection(&self) -> String {
        let one = |(key, of): (&String, &Self)| format!("{key}{}", of.selection());
        let all: Vec<String> = self.0.iter().map(one).collect();
        if all.is_empty() { String::new() } else { format!("{{{}}}", all.join(" ")) }
    }
}

#[tokio::test]
async fn bodies_have_the_recorded_keys_and_types() {
    let Some(folder) = std::env::var_os("ROBOCRED_RECORDED_BODIES").map(PathBuf::from) else {
        eprintln!("SKIPPED: ROBOCRED_RECORDED_BODIES does not name a folder of recorded bodies");
        return;
    };
    let simulator = simulator(Behaviours::default()).await;
    let ask = Ask::with_key(&simulator);
    // Facts of one product or of one device, which synthetic devices do not have.
    let not_simulated = [".nodes[].details.directMacs[]", ".nodes[].policy.actions.nodes[]"];
    for root in ["assets", "plugins", "events"] {
        let text = fs::read_to_string(folder.join(format!("pytenable_cassette_{root}.json"))).unwrap();
        let recorded = pruned(serde_json::from_str::<Json>(&text).unwrap()["data"][root].take());
        let mut fields = Fields::default();
        fields.add(&recorded);
        let query = format!("{{{root}(first:119) {}}}", fields.selection());
        let reply = ask.post("/graphql", &json!({"query": query})).await.json();
        assert_eq!(reply["errors"], Json::Null);
        let (mut theirs, mut ours) = (Shape::new(), Shape::new());
        add(&mut theirs, "", &recorded);
        add(&mut ours, "", &reply["data"][root]);
        for (path, kinds) in theirs {
            if not_simulated.contains(&path.as_str()) {
                continue;
            }
            let found = ours.get(&path).unwrap_or_else(|| panic!("{root}{path} is missing"));
            assert!(kinds.is_subset(found), "{root}{path}: recorded {kinds:?}, simulated {found:?}");
        }
    }
}
