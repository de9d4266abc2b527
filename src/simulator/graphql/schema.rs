//! The engine's schema, built from `schema.graphql`.
//!
//! Every field but those of the root reads its parent's value by its own
//! name, so the types need no code of their own.

use super::{connection, node::Node};
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

/// The schema; built once.
pub(super) fn build() -> Schema {
    static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
        let document = parse_schema(TEXT).expect("the schema is a constant that the tests parse");
        let types: Vec<_> = document
            .definitions
            .into_iter()
            .filter_map(|definition| match definition {
                TypeSystemDefinition::Type(definition) => Some(definition.node),
                _ => None,
            })
            .collect();
        let objects: HashSet<String> = types
            .iter()
            .filter(|it| matches!(it.kind, TypeKind::Object(_)))
            .map(|it| it.name.node.to_string())
            .collect();
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
                        .fold(Object::new(name), |object, it| object.field(field(name, &it.node, &objects))),
                ),
                TypeKind::Interface(_) | TypeKind::Union(_) => schema,
            };
        }
        schema.finish().expect("the schema is a constant that the tests build")
    });
    SCHEMA.clone()
}

fn field(owner: &str, definition: &FieldDefinition, objects: &HashSet<String>) -> Field {
    let name = definition.name.node.to_string();
    let kind = type_ref(&definition.ty.node);
    let leaf = !objects.contains(kind.type_name());
    let field = if owner == ROOT {
        Field::new(name.clone(), kind, move |ctx| match connection::root(&name, &ctx) {
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
    #[test]
    fn the_schema_builds() {
        let sdl = super::build().sdl();
        assert!(sdl.contains("type Asset"), "{sdl}");
    }
}
