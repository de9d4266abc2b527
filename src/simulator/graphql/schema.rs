//! The engine's schemas, built from `schema.graphql`.
//!
//! A field with a directive is not in every one: `@since2023` is missing in
//! the older release, `@findings` is there in the newer one only, `@manager`
//! at an Enterprise Manager only.
//!
//! Every field but those of the root reads its parent's value by its own
//! name, so the types need no code of their own.

use super::{connection, node::Node};
use crate::simulator::Release;
use async_graphql::{
    dynamic::{Enum, Field, FieldFuture, InputObject, InputValue, Object, Scalar, Schema, TypeRef},
    parser::{
        parse_schema,
        types::{BaseType, FieldDefinition, InputValueDefinition, Type, TypeKind, TypeSystemDefinition},
    },
};
use std::{collections::HashSet, sync::LazyLock};

const TEXT: &str = include_str!("schema.graphql");
const ROOT: &str = "Query";

/// The schemas that an appliance may have.
#[derive(Clone)]
pub(super) struct Schemas {
    older: Schema,
    usual: Schema,
    newer: Schema,
    manager: Schema,
}

impl Schemas {
    /// All of them; built once.
    pub(super) fn all() -> Self {
        static ALL: LazyLock<Schemas> = LazyLock::new(|| Schemas {
            older: build(&[]),
            usual: build(&["since2023"]),
            newer: build(&["since2023", "findings"]),
            manager: build(&["since2023", "findings", "manager"]),
        });
        ALL.clone()
    }

    /// That of an appliance of this release.
    pub(super) fn of(&self, release: Release) -> &Schema {
        match release {
            Release::Older => &self.older,
            Release::Usual => &self.usual,
            Release::Newer => &self.newer,
        }
    }

    /// That of an Enterprise Manager.
    pub(super) fn of_manager(&self) -> &Schema {
        &self.manager
    }
}

/// The schema with the fields that have no directive or one of these.
fn build(with: &[&str]) -> Schema {
    let document = parse_schema(TEXT).expect("the schema is a constant that the tests parse");
    let types: Vec<_> = document
        .definitions
        .into_iter()
        .filter_map(|definition| match definition {
            TypeSystemDefinition::Type(definition) => Some(definition.node),
            _ => None,
        })
        .collect();
    let objects: HashSet<String> =
        types.iter().filter(|it| matches!(it.kind, TypeKind::Object(_))).map(|it| it.name.node.to_string()).collect();
    let mut schema = Schema::build(ROOT, None, None);
    for definition in types {
        let name = definition.name.node.as_str();
        schema = match definition.kind {
            TypeKind::Scalar => schema.register(Scalar::new(name)),
            TypeKind::Enum(it) => {
                schema.register(Enum::new(name).items(it.values.iter().map(|value| value.node.value.node.as_str())))
            }
            TypeKind::InputObject(it) => schema.register(
                it.fields.iter().fold(InputObject::new(name), |object, field| object.field(input(&field.node))),
            ),
            TypeKind::Object(it) => schema.register(
                it.fields
                    .iter()
                    .filter(|it| it.node.directives.iter().all(|it| with.contains(&it.node.name.node.as_str())))
                    .fold(Object::new(name), |object, it| object.field(field(name, &it.node, &objects))),
            ),
            TypeKind::Interface(_) | TypeKind::Union(_) => schema,
        };
    }
    schema.finish().expect("the schema is a constant that the tests build")
}

fn field(owner: &str, definition: &FieldDefinition, objects: &HashSet<String>) -> Field {
    let name = definition.name.node.to_string();
    let kind = type_ref(&definition.ty.node);
    let leaf = !objects.contains(kind.type_name());
    let field = if owner == ROOT {
        Field::new(name.clone(), kind, move |ctx| match connection::of_engine(&name, &ctx) {
            Ok(node) => FieldFuture::Value(node.into_value(leaf)),
            Err(error) => FieldFuture::new(std::future::ready(Err::<Option<async_graphql::Value>, _>(error))),
        })
    } else {
        Field::new(name.clone(), kind, move |ctx| {
            let node = ctx.parent_value.downcast_ref::<Node>().map(|parent| parent.field(&name));
            FieldFuture::Value(node.and_then(|node| node.into_value(leaf)))
        })
    };
    definition.arguments.iter().fold(field, |field, argument| field.argument(input(&argument.node)))
}

fn input(definition: &InputValueDefinition) -> InputValue {
    InputValue::new(definition.name.node.as_str(), type_ref(&definition.ty.node))
}

fn type_ref(kind: &Type) -> TypeRef {
    let base = match &kind.base {
        BaseType::Named(name) => TypeRef::named(name.as_str()),
        BaseType::List(item) => TypeRef::List(Box::new(type_ref(item))),
    };
    if kind.nullable { base } else { TypeRef::NonNull(Box::new(base)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schemas_build_and_differ_as_they_say() {
        let schemas = Schemas::all();
        let check = |schema: &Schema, words: [bool; 3]| {
            let sdl = schema.sdl();
            let found = ["lifecycleStatus:", "findings(", "emPairedIcps("].map(|word| sdl.contains(word));
            assert_eq!(found, words, "{sdl}");
        };
        check(schemas.of(Release::Older), [false, false, false]);
        check(schemas.of(Release::Usual), [true, false, false]);
        check(schemas.of(Release::Newer), [true, true, false]);
        check(schemas.of_manager(), [true, true, true]);
    }
}
