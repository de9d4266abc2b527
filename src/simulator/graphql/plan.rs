//! The quick way of a document that the engine found valid.
//!
//! Owns what is understood of a document: root fields with their arguments,
//! and the fields selected of each value, fragments and `@include` resolved.
//! Whatever is not understood has no plan and is left to the engine. Leaves
//! out values and their text (`write`).

use crate::simulator::memo::Memo;
use async_graphql::{
    Name, Positioned, Value,
    parser::types::{
        Directive, ExecutableDocument, Field as Asked, FragmentDefinition, OperationDefinition, OperationType,
        Selection as AskedSelection, SelectionSet,
    },
};
use serde_json::Value as Json;
use std::{collections::HashMap, fmt::Write as _};

/// Lists whose rows are kept as they were written.
const LISTS: [&str; 4] = ["assets", "plugins", "events", "findings"];

/// How to answer one shape of a document.
#[derive(Debug)]
pub(super) struct Plan {
    pub roots: Vec<Root>,
}

/// A root field.
#[derive(Debug)]
pub(super) struct Root {
    pub name: String,
    /// As it stands in the document, for its arguments.
    asked: Asked,
    /// Values of variables that were left out.
    defaults: HashMap<Name, Json>,
    /// `"key":`
    pub key: String,
    pub selection: Selection,
}

/// The fields asked of a value.
#[derive(Debug, Default)]
pub(super) struct Selection {
    pub fields: Vec<Field>,
    /// Of rows of a root list: where their texts are kept.
    pub memo: Option<u32>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Field {
    /// `"key":`
    pub key: String,
    pub name: String,
    /// `None`: a plain value.
    pub selection: Option<Selection>,
}

impl Root {
    /// The value of an argument; `null` where it was left out.
    pub(super) fn argument(&self, name: &str, variables: &Json) -> Json {
        let given = self.asked.get_argument(name).map(|value| value.node.clone());
        let value = given.and_then(|value| value.into_const_with(variable(variables, &self.defaults)).ok());
        value.and_then(|value| value.into_json().ok()).unwrap_or_default()
    }
}

/// The operation that is meant.
pub(super) fn operation<'a>(document: &'a ExecutableDocument, name: Option<&str>) -> Option<&'a OperationDefinition> {
    let mut operations = document.operations.iter();
    match name {
        Some(_) => operations.find(|(known, _)| known.map(Name::as_str) == name),
        None if operations.len() == 1 => operations.next(),
        None => None,
    }
    .map(|(_, operation)| &operation.node)
}

/// The quick way of an operation with these variables, if it is understood as a whole.
pub(super) fn compile(
    document: &ExecutableDocument,
    operation: &OperationDefinition,
    variables: &Json,
    rows: &Memo<u32>,
) -> Option<Plan> {
    if operation.ty != OperationType::Query || !operation.directives.is_empty() {
        return None;
    }
    let defaults = operation.variable_definitions.iter().filter_map(|definition| {
        let value = definition.node.default_value.as_ref()?.node.clone().into_json().ok()?;
        Some((definition.node.name.node.clone(), value))
    });
    let reader = Reader { fragments: &document.fragments, variables, defaults: defaults.collect() };
    let mut asked = Vec::new();
    reader.flatten(&operation.selection_set.node, &mut asked, 0)?;
    let roots = asked.into_iter().map(|field| reader.root(field, rows)).collect::<Option<Vec<_>>>()?;
    unique(roots.iter().map(|root| &*root.key)).then_some(Plan { roots })
}

struct Reader<'a> {
    fragments: &'a HashMap<Name, Positioned<FragmentDefinition>>,
    variables: &'a Json,
    defaults: HashMap<Name, Json>,
}

impl<'a> Reader<'a> {
    /// The fields of a selection; types are single, so that a fragment that is valid is always meant.
    fn flatten(&self, set: &'a SelectionSet, into: &mut Vec<&'a Asked>, depth: usize) -> Option<()> {
        for item in &set.items {
            let (directives, inner) = match &item.node {
                AskedSelection::Field(field) => (&field.node.directives, Err(&field.node)),
                AskedSelection::FragmentSpread(spread) => {
                    let fragment = &self.fragments.get(&spread.node.fragment_name.node)?.node;
                    if !fragment.directives.is_empty() {
                        return None;
                    }
                    (&spread.node.directives, Ok(&fragment.selection_set.node))
                }
                AskedSelection::InlineFragment(fragment) => {
                    (&fragment.node.directives, Ok(&fragment.node.selection_set.node))
                }
            };
            match (self.included(directives)?, inner) {
                (false, _) => {}
                (true, Err(field)) => into.push(field),
                (true, Ok(set)) if depth < 32 => self.flatten(set, into, depth + 1)?,
                (true, Ok(_)) => return None,
            }
        }
        Some(())
    }

    fn included(&self, directives: &[Positioned<Directive>]) -> Option<bool> {
        let mut included = true;
        for directive in directives {
            let condition = directive.node.get_argument("if")?.node.clone();
            let condition = condition.into_const_with(variable(self.variables, &self.defaults)).ok()?;
            let Value::Boolean(condition) = condition else { return None };
            included &= match directive.node.name.node.as_str() {
                "include" => condition,
                "skip" => !condition,
                _ => return None,
            };
        }
        Some(included)
    }

    fn root(&self, asked: &'a Asked, rows: &Memo<u32>) -> Option<Root> {
        let name = asked.name.node.to_string();
        if !LISTS.contains(&&*name) && name != "asset" {
            return None;
        }
        let mut selection = self.selection(&asked.selection_set.node)?;
        if name != "asset" {
            for field in &mut selection.fields {
                let of_rows = match &*field.name {
                    "nodes" => field.selection.as_mut(),
                    "edges" => field.selection.as_mut().and_then(|edges| {
                        edges.fields.iter_mut().find(|field| field.name == "node").and_then(|it| it.selection.as_mut())
                    }),
                    _ => None,
                };
                if let Some(selection) = of_rows {
                    let mut text = name.clone();
                    selection.describe(&mut text);
                    selection.memo = Some(rows.group(&text));
                }
            }
        }
        Some(Root { key: key(asked), name, asked: asked.clone(), defaults: self.defaults.clone(), selection })
    }

    fn selection(&self, set: &'a SelectionSet) -> Option<Selection> {
        let mut asked = Vec::new();
        self.flatten(set, &mut asked, 0)?;
        let mut fields = Vec::with_capacity(asked.len());
        for field in asked {
            let name = field.name.node.to_string();
            if name.starts_with("__") {
                return None;
            }
            let inner = &field.selection_set.node;
            let selection = if inner.items.is_empty() { None } else { Some(self.selection(inner)?) };
            fields.push(Field { key: key(field), name, selection });
        }
        // Merging is the engine's affair.
        unique(fields.iter().map(|field| &*field.key)).then_some(Selection { fields, memo: None })
    }
}

impl Selection {
    fn describe(&self, text: &mut String) {
        for field in &self.fields {
            let _ = write!(text, " {}{}", field.key, field.name);
            if let Some(selection) = &field.selection {
                text.push('{');
                selection.describe(text);
                text.push('}');
            }
        }
    }
}

fn key(field: &Asked) -> String {
    format!("\"{}\":", field.response_key().node)
}

fn unique<'a>(keys: impl Iterator<Item = &'a str>) -> bool {
    let mut keys: Vec<&str> = keys.collect();
    let count = keys.len();
    keys.sort_unstable();
    keys.dedup();
    keys.len() == count
}

/// What a variable stands for; one that was left out for its default.
fn variable(variables: &Json, defaults: &HashMap<Name, Json>) -> impl Fn(Name) -> Result<Value, serde_json::Error> {
    move |name| {
        let given = variables.get(name.as_str()).or_else(|| defaults.get(&name));
        Value::from_json(given.cloned().unwrap_or_default())
    }
}
