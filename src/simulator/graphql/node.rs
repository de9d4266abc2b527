//! Values of the graph, computed field by field as they are asked for.

use super::connection::Page;
use crate::simulator::{
    devices::Device,
    events::Event,
    findings::Finding,
    plugins::{self, Plugin},
};
use async_graphql::{Value, dynamic::FieldValue};
use serde_json::{Value as Json, json};
use std::sync::Arc;

/// One value of the graph.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Json(Json),
    List(Vec<Node>),
    Device(Device),
    Plugin(Plugin),
    Event(Event),
    /// A finding and its row.
    Finding(Finding, usize),
    Page(Arc<Page>),
    /// The edge of row `.1` of a page.
    Edge(Arc<Page>, usize),
}

impl Node {
    /// The value of a field of this one.
    pub(super) fn field(&self, name: &str) -> Node {
        match (self, name) {
            (Self::Device(device), "plugins") => Page::whole(plugins::of_device(*device).map(Self::Plugin)),
            (Self::Device(device), _) => Self::Json(device.fact(name)),
            (Self::Plugin(plugin), "affectedAssets") => Page::whole(plugin.devices().map(Self::Device)),
            (Self::Plugin(plugin), _) => Self::Json(plugin.fact(name)),
            (Self::Finding(finding, _), "asset") => Self::Device(finding.device),
            (Self::Finding(finding, _), "plugin") => Self::Plugin(finding.plugin),
            (Self::Finding(finding, _), _) => Self::Json(finding.fact(name)),
            (Self::Event(event), _) => Self::Json(event.fact(name)),
            (Self::Page(page), "nodes") => Self::List(page.rows.clone()),
            (Self::Page(page), "edges") => {
                Self::List((0..page.rows.len()).map(|row| Self::Edge(page.clone(), row)).collect())
            }
            (Self::Page(page), "totalCount") => Self::Json(json!(page.total)),
            (Self::Page(page), _) => Self::Json(page.info()),
            (Self::Edge(page, row), "node") => page.rows[*row].clone(),
            (Self::Edge(page, row), _) => Self::Json(json!(page.cursor(*row))),
            (Self::Json(json), "totalCount") => Self::Json(json!(json["nodes"].as_array().map_or(0, Vec::len))),
            (Self::Json(json), _) => Self::Json(json[name].clone()),
            (Self::List(_), _) => Self::Json(Json::Null),
        }
    }

    /// Which row of its list it is.
    pub(super) fn row(&self) -> Option<u32> {
        let row = match self {
            Self::Device(device) => device.index,
            Self::Plugin(plugin) => plugin.index,
            Self::Event(event) => event.index,
            Self::Finding(_, row) => *row,
            Self::Json(_) | Self::List(_) | Self::Page(_) | Self::Edge(..) => return None,
        };
        u32::try_from(row).ok()
    }

    /// What the engine takes: a plain value for a `leaf`, else something with fields.
    pub(super) fn into_value<'a>(self, leaf: bool) -> Option<FieldValue<'a>> {
        match self {
            Self::Json(Json::Null) => None,
            Self::Json(json) if leaf => Value::from_json(json).ok().map(FieldValue::value),
            Self::Json(Json::Array(items)) => Some(list(items.into_iter().map(Self::Json))),
            Self::List(items) => Some(list(items.into_iter())),
            other => Some(FieldValue::owned_any(other)),
        }
    }
}

fn list<'a>(items: impl Iterator<Item = Node>) -> FieldValue<'a> {
    FieldValue::list(items.map(|item| item.into_value(false).unwrap_or(FieldValue::NULL)))
}
