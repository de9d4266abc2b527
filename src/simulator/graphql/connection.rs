//! The root fields: connections with filter, search, sort and cursors.
//!
//! A cursor is base64 of `arrayconnection:N`, N the position of its row, as
//! recorded: an offset, which shifts when rows are inserted before it. The
//! engine and the quick way both come here, so that they list the same rows.

use super::node::Node;
use crate::simulator::{
    BadCursor, Behaviours, EndCursor,
    events::{self, Event},
    findings,
    listing::{Filter, Selection, SortKey},
    plugins::{self, Plugin},
    state::Shared,
    walk::{self, Asked, SHUFFLED},
};
use async_graphql::{Error, ErrorExtensions as _, dynamic::ResolverContext};
use base64ct::{Base64, Encoding as _};
use serde_json::{Value as Json, json};
use std::sync::Arc;

/// Page size without `first`; the real one is not known.
const DEFAULT_FIRST: usize = 1_000;

/// What a request brings along to the root fields.
pub(super) struct Asking {
    pub shared: Arc<Shared>,
    pub behaviours: Behaviours,
    /// Only whether it could be answered is of interest: no rows, and no page is counted.
    pub rehearsal: bool,
    /// It was sent to an Enterprise Manager itself.
    pub of_manager: bool,
}

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

/// Why a root field has no value.
#[derive(Debug)]
pub(super) enum Trouble {
    BadInput(String),
    TooSlow,
    /// The list is not here but behind this manager.
    NotHere,
}

impl From<Trouble> for Error {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::BadInput(message) => {
                Self::new(message).extend_with(|_, extensions| extensions.set("code", "BAD_USER_INPUT"))
            }
            Trouble::TooSlow => Self::new("deadline exceeded"),
            Trouble::NotHere => Self::new("404: Not Found"),
        }
    }
}

fn bad_input(message: impl Into<String>) -> Trouble {
    Trouble::BadInput(message.into())
}

/// The value of a root field, as the engine asks for it.
pub(super) fn of_engine(name: &str, ctx: &ResolverContext<'_>) -> Result<Node, Error> {
    let argument =
        |name: &str| ctx.args.get(name).and_then(|value| value.as_value().clone().into_json().ok()).unwrap_or_default();
    Ok(root(ctx.data::<Asking>()?, name, &argument)?)
}

/// The value of a root field.
pub(super) fn root(asking: &Asking, name: &str, argument: &dyn Fn(&str) -> Json) -> Result<Node, Trouble> {
    let shared = &*asking.shared;
    let plant = shared.plant();
    match name {
        "emPairedIcps" => Ok(Page::whole(asking.behaviours.manager.iter().flatten().enumerate().map(paired))),
        _ if asking.of_manager => Err(Trouble::NotHere),
        "asset" => {
            let found = plant.find(argument("id").as_str().unwrap_or_default());
            Ok(found.map_or(Node::Json(Json::Null), |device| Node::Device(shared.device(device.index))))
        }
        "assets" => list(asking, name, argument, plant.size(), |index| Node::Device(shared.device(index))),
        "plugins" => list(asking, name, argument, plugins::COUNT, |index| Node::Plugin(Plugin { plant, index })),
        "findings" => list(asking, name, argument, findings::count(plant), |index| {
            let finding = findings::finding(plant, index);
            Node::Finding(finding.with_device(|index| shared.device(index)), index)
        }),
        _ => list(asking, name, argument, events::count(plant), |index| Node::Event(Event { plant, index })),
    }
}

/// An appliance that a manager is paired with.
fn paired((number, machine_id): (usize, &String)) -> Node {
    Node::Json(json!({
        "status": "Connected", "dataSyncTs": "2026-02-01T00:00:00Z", "statusTs": "2026-02-01T00:00:00Z",
        "site": {
            "machineId": machine_id, "name": format!("Plant {}", number + 1), "host": format!("192.0.2.{}", number + 10),
            "totalSensorsCount": 0, "onlineSensorsCount": 0, "activeQueriesEnabled": false,
        },
        "version": {"version": "3.19.0"}, "license": {"status": "Valid"},
    }))
}

fn list(
    asking: &Asking,
    name: &str,
    argument: &dyn Fn(&str) -> Json,
    size: usize,
    node: impl Fn(usize) -> Node,
) -> Result<Node, Trouble> {
    let Asking { shared, behaviours, .. } = asking;
    let filter = match argument("filter") {
        Json::Null => None,
        json => Some(Filter::of_graphql(&json).map_err(bad_input)?),
    };
    let sort = argument("sort");
    let sort = sort.as_array().into_iter().flatten().map(|key| {
        let direction = key["direction"].as_str().unwrap_or_default();
        SortKey {
            field: key["field"].as_str().unwrap_or_default().to_owned(),
            descending: direction.starts_with("Desc"),
            nulls_first: direction.ends_with("First"),
        }
    });
    let first = match argument("first") {
        Json::Null => DEFAULT_FIRST,
        json => json.as_u64().and_then(|n| usize::try_from(n).ok()).ok_or_else(|| bad_input("first is negative"))?,
    };
    let after = match argument("after") {
        Json::String(after) => match (position(&after), behaviours.bad_cursor) {
            (Some(position), _) => position.saturating_add(1),
            (None, BadCursor::Restart) => 0,
            (None, BadCursor::EmptyPage) => usize::MAX,
            (None, BadCursor::Error) => return Err(bad_input("Invalid cursor")),
        },
        _ => 0,
    };
    if asking.rehearsal {
        return Ok(Page::whole(std::iter::empty()));
    }
    let search = argument("search").as_str().map(str::to_owned);
    let selection = Selection { filter, search, sort: walk::sort(behaviours, sort.collect()) };
    let rows = shared.listings.select(name, size, &selection, |row, field| match field {
        SHUFFLED => walk::shuffled(row),
        _ => match node(row).field(field) {
            Node::Json(json) => json,
            _ => Json::Null,
        },
    });
    let part = walk::page(shared, behaviours, &rows, size, Asked { start: after, rows: first })
        .map_err(|walk::TooSlow| Trouble::TooSlow)?;
    Ok(Node::Page(Arc::new(Page {
        rows: part.rows.into_iter().map(node).collect(),
        total: part.total,
        start: part.start,
        has_next: part.has_next,
        end_cursor: behaviours.end_cursor,
    })))
}

fn position(cursor: &str) -> Option<usize> {
    let bytes = Base64::decode_vec(cursor).ok()?;
    std::str::from_utf8(&bytes).ok()?.strip_prefix("arrayconnection:")?.parse().ok()
}
