//! Documents that were found valid, and how to answer them.
//!
//! Owns a bounded memory of shapes: the document, which operation, and the
//! variables but for whole numbers and texts where only their type matters to
//! validity (`first`, `after`). Nothing here can fail.

use super::plan::Plan;
use crate::simulator::Release;
use async_graphql::parser::types::{BaseType, OperationDefinition};
use serde_json::{Value as Json, json};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How many documents, and how many shapes of variables of each, are remembered.
const MOST: usize = 64;

/// Which document is meant: its text, the operation, the schema it is valid in.
pub(super) type Key = (String, Option<String>, Release);

/// Plans by shape.
#[derive(Debug, Default)]
pub(super) struct Known {
    documents: Mutex<HashMap<Key, Document>>,
}

#[derive(Debug, Default)]
struct Document {
    /// Variables of which validity asks the type only.
    free: Vec<(String, &'static str)>,
    plans: HashMap<String, Arc<Plan>>,
}

impl Known {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Document>> {
        self.documents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The plan for this document with such variables, if one was kept.
    pub(super) fn find(&self, key: &Key, variables: &Json) -> Option<Arc<Plan>> {
        let documents = self.lock();
        let document = documents.get(key)?;
        document.plans.get(&shape(&document.free, variables)).cloned()
    }

    /// Keeps a plan for variables of the shape of these.
    pub(super) fn keep(&self, key: Key, operation: &OperationDefinition, variables: &Json, plan: Arc<Plan>) {
        let mut documents = self.lock();
        if documents.len() >= MOST && !documents.contains_key(&key) {
            documents.clear();
        }
        let document =
            documents.entry(key).or_insert_with(|| Document { free: free(operation), plans: HashMap::new() });
        if document.plans.len() >= MOST {
            document.plans.clear();
        }
        document.plans.insert(shape(&document.free, variables), plan);
    }
}

fn free(operation: &OperationDefinition) -> Vec<(String, &'static str)> {
    let kind = |base: &BaseType| match base {
        BaseType::Named(name) => ["Int", "String", "ID"].into_iter().find(|known| name.as_str() == *known),
        BaseType::List(_) => None,
    };
    let definitions = operation.variable_definitions.iter().map(|definition| &definition.node);
    definitions.filter_map(|it| Some((it.name.node.to_string(), kind(&it.var_type.node.base)?))).collect()
}

fn shape(free: &[(String, &'static str)], variables: &Json) -> String {
    let mut variables = variables.clone();
    for (name, kind) in free {
        let Some(value) = variables.get_mut(name) else { continue };
        let of_kind = match *kind {
            "Int" => value.as_u64().is_some_and(|number| i32::try_from(number).is_ok()),
            _ => value.is_string(),
        };
        if of_kind {
            // Not a value of any type that a variable can have on its own.
            *value = json!([[kind]]);
        }
    }
    variables.to_string()
}
