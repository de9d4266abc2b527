//! Filter, search, sort and page over synthetic rows.
//!
//! Owns the filter expressions of GraphQL and of REST v1, and a memo of the
//! last few selections, so that walking a million rows page by page selects
//! once. Leaves out what a row is. Fails only on an expression it cannot read.

use serde_json::Value as Json;
use std::{
    cmp::Ordering,
    collections::VecDeque,
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// A filter expression.
#[derive(Clone, Debug)]
pub(super) enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Field { field: String, op: Op, values: Vec<Json> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterEqual,
    LessEqual,
    Between,
    NotBetween,
    Contains,
    NotContains,
}

/// One sort key.
#[derive(Clone, Debug)]
pub(super) struct SortKey {
    pub field: String,
    pub descending: bool,
    pub nulls_first: bool,
}

/// What is asked of a list.
#[derive(Clone, Debug, Default)]
pub(super) struct Selection {
    pub filter: Option<Filter>,
    pub search: Option<String>,
    pub sort: Vec<SortKey>,
}

impl Filter {
    /// Reads `{"op","field","values"}` or `{"op":"And","expressions":[…]}`.
    pub(super) fn of_graphql(json: &Json) -> Result<Self, String> {
        let op = json["op"].as_str().unwrap_or_default();
        if let "And" | "Or" = op {
            let parts = json["expressions"].as_array().ok_or("expressions are missing")?;
            let parts = parts.iter().map(Self::of_graphql).collect::<Result<_, _>>()?;
            return Ok(if op == "And" { Self::All(parts) } else { Self::Any(parts) });
        }
        let field = json["field"].as_str().ok_or("field is missing")?;
        Self::leaf(field, op, &json["values"])
    }

    /// Reads `{"name":{"equals":"x"},…}`; all must hold.
    pub(super) fn of_rest(json: &Json) -> Result<Self, String> {
        let mut parts = Vec::new();
        for (field, conditions) in json.as_object().ok_or("filters must be an object")? {
            let field = match field.as_str() {
                "addresses" | "directAddresses" => "ips",
                "modelName" => "model",
                "firmware" => "firmwareVersion",
                known => known,
            };
            for (op, value) in conditions.as_object().ok_or("a filter must be an object")? {
                let op = match op.as_str() {
                    "equals" => "Equal",
                    "like" => "Like",
                    "contains" => "Contains",
                    "in" => "In",
                    "notIn" => "NotIn",
                    "less" => "Less",
                    "greater" => "Greater",
                    other => return Err(format!("unknown operator {other}")),
                };
                parts.push(Self::leaf(field, op, value)?);
            }
        }
        Ok(Self::All(parts))
    }

    fn leaf(field: &str, op: &str, values: &Json) -> Result<Self, String> {
        let values = match values {
            Json::Array(values) => values.clone(),
            value => vec![value.clone()],
        };
        let op = match op {
            "Equal" | "In" => Op::Equal,
            "NotEqual" | "NotIn" => Op::NotEqual,
            "Greater" => Op::Greater,
            "Less" => Op::Less,
            "GreaterEqual" => Op::GreaterEqual,
            "LessEqual" => Op::LessEqual,
            "Between" => Op::Between,
            "NotBetween" => Op::NotBetween,
            "Contains" | "Like" | "SubnetContainsEqual" => Op::Contains,
            "NotContains" | "NotLike" => Op::NotContains,
            other => return Err(format!("unknown operator {other:?}")),
        };
        if matches!(op, Op::Between | Op::NotBetween) && values.len() != 2 {
            return Err("Between takes two values".to_owned());
        }
        Ok(Self::Field { field: field.to_owned(), op, values })
    }

    fn holds(&self, fact: &impl Fn(&str) -> Json) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(fact)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(fact)),
            Self::Field { field, op, values } => {
                let found = plain(fact(field));
                let any = |test: &dyn Fn(&Json) -> bool| found.iter().any(test);
                let is = |order: &[Ordering]| any(&|it| order.contains(&compare(it, &values[0])));
                let equal = || any(&|it| values.iter().any(|value| compare(it, value).is_eq()));
                let between = || any(&|it| compare(it, &values[0]).is_ge() && compare(it, &values[1]).is_le());
                let contains =
                    || any(&|it| values.iter().any(|value| text(it).contains(text(value).trim_matches('%'))));
                match op {
                    Op::Equal => equal(),
                    Op::NotEqual => !equal(),
                    Op::Greater => is(&[Ordering::Greater]),
                    Op::Less => is(&[Ordering::Less]),
                    Op::GreaterEqual => is(&[Ordering::Greater, Ordering::Equal]),
                    Op::LessEqual => is(&[Ordering::Less, Ordering::Equal]),
                    Op::Between => between(),
                    Op::NotBetween => !between(),
                    Op::Contains => contains(),
                    Op::NotContains => !contains(),
                }
            }
        }
    }
}

/// The plain values of a fact: of a list or connection its items, of `risk` its number.
fn plain(fact: Json) -> Vec<Json> {
    match fact {
        Json::Array(items) => items,
        Json::Object(mut object) => match object.remove("nodes") {
            Some(Json::Array(items)) => items,
            _ => object.remove("totalRisk").or_else(|| object.remove("name")).into_iter().collect(),
        },
        value => vec![value],
    }
}

fn text(value: &Json) -> String {
    match value {
        Json::String(text) => text.to_lowercase(),
        other => other.to_string(),
    }
}

fn compare(a: &Json, b: &Json) -> Ordering {
    let number = |value: &Json| value.as_f64().or_else(|| value.as_str().and_then(|text| text.parse::<f64>().ok()));
    if let (Some(a), Some(b)) = (number(a), number(b)) {
        return a.total_cmp(&b);
    }
    let address = |value: &Json| value.as_str().and_then(|text| text.parse::<Ipv4Addr>().ok());
    if let (Some(a), Some(b)) = (address(a), address(b)) {
        return a.cmp(&b);
    }
    // "…:05.1Z" is later than "…:05Z", though not as text.
    let time = |value: &Json| {
        let text = value.as_str().filter(|text| text.as_bytes().get(10) == Some(&b'T'))?;
        OffsetDateTime::parse(text, &Rfc3339).ok()
    };
    if let (Some(a), Some(b)) = (time(a), time(b)) {
        return a.cmp(&b);
    }
    text(a).cmp(&text(b))
}

/// How many selections are remembered.
const REMEMBERED: usize = 8;

/// Selects rows and remembers the last few answers.
#[derive(Debug, Default)]
pub(super) struct Listings {
    memo: Mutex<VecDeque<(String, Arc<Vec<u32>>)>>,
}

impl Listings {
    /// What was selected before may be otherwise now.
    pub(super) fn forget(&self) {
        self.memo.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The numbers of the rows that match, in order; ties by row number.
    pub(super) fn select(
        &self,
        list: &str,
        count: usize,
        selection: &Selection,
        fact: impl Fn(usize, &str) -> Json,
    ) -> Arc<Vec<u32>> {
        let key = format!("{list} {count} {selection:?}");
        let mut memo = self.memo.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, rows)) = memo.iter().find(|(known, _)| *known == key) {
            return rows.clone();
        }
        let needle = selection.search.as_deref().unwrap_or_default().to_lowercase();
        let matches = |row: usize| {
            let fact = |field: &str| fact(row, field);
            selection.filter.as_ref().is_none_or(|filter| filter.holds(&fact))
                && (needle.is_empty()
                    || ["id", "name", "ips", "vendor", "type"]
                        .iter()
                        .any(|field| plain(fact(field)).iter().any(|value| text(value).contains(&needle))))
        };
        let mut rows: Vec<u32> =
            (0..count).filter(|row| matches(*row)).filter_map(|row| u32::try_from(row).ok()).collect();
        match &selection.sort[..] {
            // Rows are in the order of their ids already.
            [first, ..] if is_id(&first.field) => {
                if first.descending {
                    rows.reverse();
                }
            }
            [] => {}
            sort => rows.sort_by_cached_key(|row| SortValue {
                keys: sort
                    .iter()
                    .map(|key| {
                        let row = *row as usize;
                        // The number stands for the id, which ascends with it.
                        let value = if is_id(&key.field) { Json::from(row) } else { fact(row, &key.field) };
                        (key.descending, key.nulls_first, plain(value).into_iter().next().unwrap_or(Json::Null))
                    })
                    .collect(),
            }),
        }
        let rows = Arc::new(rows);
        memo.truncate(REMEMBERED - 1);
        memo.push_front((key, rows.clone()));
        rows
    }
}

fn is_id(field: &str) -> bool {
    matches!(field, "id" | "eventId")
}

struct SortValue {
    keys: Vec<(bool, bool, Json)>,
}

impl Ord for SortValue {
    fn cmp(&self, other: &Self) -> Ordering {
        self.keys.iter().zip(&other.keys).fold(Ordering::Equal, |so_far, ((descending, nulls_first, a), (_, _, b))| {
            so_far.then_with(|| match (a.is_null(), b.is_null()) {
                (true, true) => Ordering::Equal,
                (true, false) => {
                    if *nulls_first {
                        Ordering::Less
                    } else {
                        Ordering::Greater
                    }
                }
                (false, true) => {
                    if *nulls_first {
                        Ordering::Greater
                    } else {
                        Ordering::Less
                    }
                }
                (false, false) => {
                    if *descending {
                        compare(b, a)
                    } else {
                        compare(a, b)
                    }
                }
            })
        })
    }
}
impl PartialOrd for SortValue {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for SortValue {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for SortValue {}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn filters_read_both_notations() {
        let row = json!({"hidden": false, "slot": 5, "ips": {"nodes": ["10.0.0.9"]}, "name": "Pump 3", "risk": {"totalRisk": 20.5},
                         "lastUpdate": "2026-02-11T00:00:05.1Z"});
        let check = |filter: Json, expected: bool| {
            let read = if filter.get("op").is_some() { Filter::of_graphql(&filter) } else { Filter::of_rest(&filter) };
            assert_eq!(read.unwrap().holds(&|field: &str| row[field].clone()), expected, "{filter}");
        };
        check(json!({"field": "hidden", "op": "Equal", "values": "false"}), true);
        check(json!({"field": "hidden", "op": "Equal", "values": true}), false);
        check(json!({"field": "ips", "op": "Between", "values": ["10.0.0.5", "10.0.0.10"]}), true);
        check(json!({"field": "ips", "op": "NotBetween", "values": ["10.0.0.5", "10.0.0.10"]}), false);
        check(json!({"field": "slot", "op": "In", "values": [4, 5]}), true);
        check(json!({"field": "slot", "op": "NotIn", "values": [4, 5]}), false);
        check(json!({"field": "risk", "op": "GreaterEqual", "values": 20.5}), true);
        check(
            json!({"op": "Or", "expressions": [{"field": "slot", "op": "Less", "values": 2}, {"field": "name", "op": "Like", "values": "%pump%"}]}),
            true,
        );
        check(
            json!({"op": "And", "expressions": [{"field": "slot", "op": "Less", "values": 2}, {"field": "name", "op": "Like", "values": "pump"}]}),
            false,
        );
        check(json!({"name": {"like": "pump"}, "slot": {"greater": 4}}), true);
        check(json!({"addresses": {"contains": "10.9."}}), false);
        let since = |op: &str| json!({"field": "lastUpdate", "op": op, "values": "2026-02-11T00:00:05Z"});
        check(since("GreaterEqual"), true);
        check(since("Less"), false);
    }

    #[test]
    fn unreadable_filters_are_refused() {
        let check = |filter: Json| assert!(Filter::of_graphql(&filter).is_err(), "{filter}");
        check(json!({"op": "Equal", "values": 1}));
        check(json!({"op": "Sounds", "field": "name", "values": 1}));
        check(json!({"op": "And"}));
        check(json!({"op": "Between", "field": "slot", "values": [1]}));
    }

    #[test]
    fn sorts_by_several_keys_with_nulls_where_asked() {
        let slots = [json!(2), Json::Null, json!(1), json!(2)];
        let check = |keys: &[(&str, bool, bool)], expected: &[u32]| {
            let sort = keys.iter().map(|(field, descending, nulls_first)| SortKey {
                field: (*field).to_owned(),
                descending: *descending,
                nulls_first: *nulls_first,
            });
            let selection = Selection { sort: sort.collect(), ..Selection::default() };
            let rows = Listings::default().select("test", 4, &selection, |row, field| {
                if field == "slot" { slots[row].clone() } else { json!(row) }
            });
            assert_eq!(*rows, expected, "{keys:?}");
        };
        check(&[], &[0, 1, 2, 3]);
        check(&[("id", true, false)], &[3, 2, 1, 0]);
        check(&[("slot", false, false)], &[2, 0, 3, 1]);
        check(&[("slot", true, true)], &[1, 0, 3, 2]);
        check(&[("slot", true, false), ("id", true, false)], &[3, 0, 2, 1]);
    }
}
