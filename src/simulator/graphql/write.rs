//! Writes values as JSON text, field by field, without building a tree.
//!
//! Owns the order and the form of what the engine would write of the same
//! plan (a test compares them), and the use of the memo for rows. Fails only
//! where a root field has no value.

use super::{
    connection::{self, Asking, Trouble},
    node::Node,
    plan::{Plan, Selection},
};
use crate::simulator::strange;
use bytes::Bytes;
use serde_json::Value as Json;

/// A reply, and under which group its packed form is kept.
pub(super) struct Written {
    pub text: Vec<u8>,
    pub group: Option<u32>,
}

/// The whole reply of a plan.
pub(super) fn reply(plan: &Plan, asking: &Asking, variables: &Json) -> Result<Written, Trouble> {
    let writer = Writer { asking };
    let mut text = Vec::with_capacity(64 << 10);
    text.extend_from_slice(b"{\"data\":{");
    for (position, root) in plan.roots.iter().enumerate() {
        separate(&mut text, position);
        text.extend_from_slice(root.key.as_bytes());
        let node = connection::root(asking, &root.name, &|name| root.argument(name, variables))?;
        writer.value(&mut text, &node, Some(&root.selection));
    }
    text.extend_from_slice(b"}}\n");
    let mut lists = plan.roots.iter().flat_map(|root| &root.selection.fields);
    let group = lists.find_map(|field| field.selection.as_ref()?.memo);
    Ok(Written { text, group })
}

struct Writer<'a> {
    asking: &'a Asking,
}

impl Writer<'_> {
    fn value(&self, out: &mut Vec<u8>, node: &Node, selection: Option<&Selection>) {
        let Some(selection) = selection else {
            match node {
                Node::Json(json) => plain(out, json),
                _ => out.extend_from_slice(b"null"),
            }
            return;
        };
        match node {
            Node::Json(json) => self.json(out, json, selection),
            Node::List(items) => list(out, items, |out, item| self.value(out, item, Some(selection))),
            _ => match (selection.memo, node.row()) {
                (Some(group), Some(row)) => {
                    let made = || {
                        let mut text = Vec::with_capacity(2_048);
                        self.object(&mut text, node, selection);
                        Bytes::from(text)
                    };
                    out.extend_from_slice(&self.asking.shared.rows.get(group, row, made));
                }
                _ => self.object(out, node, selection),
            },
        }
    }

    fn object(&self, out: &mut Vec<u8>, node: &Node, selection: &Selection) {
        out.push(b'{');
        for (position, field) in selection.fields.iter().enumerate() {
            separate(out, position);
            out.extend_from_slice(field.key.as_bytes());
            let strange = match node {
                Node::Device(device) if self.asking.behaviours.strange_values => strange::value(*device, &field.name),
                _ => None,
            };
            match strange {
                Some(text) => out.extend_from_slice(&text),
                None => self.value(out, &node.field(&field.name), field.selection.as_ref()),
            }
        }
        out.push(b'}');
    }

    fn json(&self, out: &mut Vec<u8>, json: &Json, selection: &Selection) {
        match json {
            Json::Array(items) => list(out, items, |out, item| self.json(out, item, selection)),
            Json::Object(object) => {
                out.push(b'{');
                for (position, field) in selection.fields.iter().enumerate() {
                    separate(out, position);
                    out.extend_from_slice(field.key.as_bytes());
                    match (object.get(&field.name), &field.selection) {
                        (None, None) if field.name == "totalCount" => {
                            self.value(out, &Node::Json(json.clone()).field(&field.name), None);
                        }
                        (None, _) => out.extend_from_slice(b"null"),
                        (Some(value), None) => plain(out, value),
                        (Some(value), Some(selection)) => self.json(out, value, selection),
                    }
                }
                out.push(b'}');
            }
            _ => out.extend_from_slice(b"null"),
        }
    }
}

fn list<T>(out: &mut Vec<u8>, items: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (position, item) in items.iter().enumerate() {
        separate(out, position);
        write(out, item);
    }
    out.push(b']');
}

fn plain(out: &mut Vec<u8>, json: &Json) {
    // Writing to memory cannot fail.
    let _ = serde_json::to_writer(out, json);
}

fn separate(out: &mut Vec<u8>, position: usize) {
    if position > 0 {
        out.push(b',');
    }
}
