//! The root fields: connections with filter, search, sort and cursors.
//!
//! A cursor is base64 of `arrayconnection:N`, N the position of its row, as
//! recorded: an offset, which shifts when rows are inserted before it.

use super::node::Node;
use crate::simulator::{
    BadCursor, EndCursor,
    events::{self, Event},
    listing::{Filter, Selection, SortKey},
    plugins::{self, Plugin},
    state::Shared,
};
use async_graphql::{Error, ErrorExtensions as _, dynamic::ResolverContext};
use base64ct::{Base64, Encoding as _};
use serde_json::{Value as Json, json};
use std::sync::Arc;

/// Page size without `first`; the real one is not known.
const DEFAULT_FIRST: usize = 1_000;

/// A page of a connection.
#[derive(Debug)]
pub(super) struct Page {
    pub rows: Vec<Node>,
    pub total: usize,
    start: usize,
    has_next: bool,
    end_cursor: EndCursor,
}

impl Page {
    /// All rows of a connection inside another value.
    pub(super) fn whole(rows: impl Iterator<Item = Node>) -> Node {
        let rows: Vec<Node> = rows.collect();
        let total = rows.len();
        Node::Page(Arc::new(Self { rows, total, start: 0, has_next: false, end_cursor: EndCursor::LastRow }))
    }

    /// The cursor of a row of this page.
    pub(super) fn cursor(&self, row: usize) -> String {
        Base64::encode_string(format!("arrayconnection:{}", self.start + row).as_bytes())
    }

    /// `pageInfo`.
    pub(super) fn info(&self) -> Json {
        let last = self.rows.len().checked_sub(1).map(|row| self.cursor(row));
        let end = match self.end_cursor {
            EndCursor::Null if !self.has_next => None,
            EndCursor::Empty if !self.has_next => Some(String::new()),
            _ => last,
        };
        let start = (!self.rows.is_empty()).then(|| self.cursor(0));
        json!({"hasNextPage": self.has_next, "hasPreviousPage": self.start > 0, "startCursor": start, "endCursor": end})
    }
}

fn bad_input(message: impl Into<String>) -> Error {
    Error::new(message).extend_with(|_, extensions| extensions.set("code", "BAD_USER_INPUT"))
}

/// The value of a root field.
pub(super) fn root(name: &str, ctx: &ResolverContext<'_>) -> Result<Node, Error> {
    let shared = ctx.data::<Arc<Shared>>()?;
    let plant = shared.plant;
    match name {
        "asset" => {
            let id = argument(ctx, "id");
            Ok(plant.find(id.as_str().unwrap_or_default()).map_or(Node::Json(Json::Null), Node::Device))
        }
        "assets" => list(shared, ctx, name, plant.count, |row| Node::Device(plant.device(row))),
        "plugins" => list(shared, ctx, name, plugins::COUNT, |index| Node::Plugin(Plugin { plant, index })),
        _ => list(shared, ctx, name, events::count(plant), |index| Node::Event(Event { plant, index })),
    }
}

fn argument(ctx: &ResolverContext<'_>, name: &str) -> Json {
    ctx.args.get(name).and_then(|value| value.as_value().clone().into_json().ok()).unwrap_or_default()
}

fn list(
    shared: &Shared,
    ctx: &ResolverContext<'_>,
    name: &str,
    count: usize,
    node: impl Fn(usize) -> Node,
) -> Result<Node, Error> {
    let behaviours = shared.behaviours();
    let filter = match argument(ctx, "filter") {
        Json::Null => None,
        json => Some(Filter::of_graphql(&json).map_err(bad_input)?),
    };
    let sort = argument(ctx, "sort");
    let sort = sort.as_array().into_iter().flatten().map(|key| {
        let direction = key["direction"].as_str().unwrap_or_default();
        SortKey {
            field: key["field"].as_str().unwrap_or_default().to_owned(),
            descending: direction.starts_with("Desc"),
            nulls_first: direction.ends_with("First"),
        }
    });
    let selection =
        Selection { filter, search: argument(ctx, "search").as_str().map(str::to_owned), sort: sort.collect() };
    let rows = shared.listings.select(name, count, &selection, |row, field| match node(row).field(field) {
        Node::Json(json) => json,
        _ => Json::Null,
    });
    let first = match argument(ctx, "first") {
        Json::Null => DEFAULT_FIRST,
        json => json.as_u64().and_then(|n| usize::try_from(n).ok()).ok_or_else(|| bad_input("first is negative"))?,
    };
    let first = first.min(behaviours.page_limit.unwrap_or(usize::MAX));
    let start = match argument(ctx, "after") {
        Json::String(after) => match (position(&after), behaviours.bad_cursor) {
            (Some(position), _) => position.saturating_add(1).min(rows.len()),
            (None, BadCursor::Restart) => 0,
            (None, BadCursor::EmptyPage) => rows.len(),
            (None, BadCursor::Error) => return Err(bad_input("Invalid cursor")),
        },
        _ => 0,
    };
    let end = start.saturating_add(first).min(rows.len());
    let grown = if behaviours.total_changes { shared.count_page() } else { 0 };
    Ok(Node::Page(Arc::new(Page {
        rows: rows[start..end].iter().map(|row| node(*row as usize)).collect(),
        total: rows.len() + grown,
        start,
        has_next: end < rows.len(),
        end_cursor: behaviours.end_cursor,
    })))
}

fn position(cursor: &str) -> Option<usize> {
    let bytes = Base64::decode_vec(cursor).ok()?;
    std::str::from_utf8(&bytes).ok()?.strip_prefix("arrayconnection:")?.parse().ok()
}
