//! `/graphql`: a real GraphQL engine over synthetic rows.
//!
//! Owns the endpoint: reading a request, executing it, and wrapping errors as
//! the appliance does. The schema is `schema.graphql`; `schema` builds the
//! engine from it, `node` gives values, `connection` answers the root fields.

mod connection;
mod node;
mod schema;

use super::{
    ErrorEnvelope, replies, rest,
    state::{Caller, Shared},
};
use async_graphql::{
    ServerError, Variables,
    dynamic::Schema,
    parser::{parse_query, types::ExecutableDocument},
};
use axum::{Extension, Router, body::Bytes, extract::State, response::Response, routing::post};
use http::StatusCode;
use serde_json::{Value as Json, json};
use std::sync::Arc;

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/graphql", post(graphql)).layer(Extension(schema::build()))
}

async fn graphql(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Extension(schema): Extension<Schema>,
    body: Bytes,
) -> Response {
    let behaviours = shared.behaviours();
    if let Err(refused) = rest::may_read(&behaviours, &caller, true) {
        return refused;
    }
    let Some(request) = Request::read(&body) else {
        return replies::error(StatusCode::BAD_REQUEST, "POST body missing, invalid, or not an object");
    };
    let document = match request.check() {
        Ok(document) => document,
        Err(errors) => return wrapped(behaviours.error_envelope, &json!([errors]), None),
    };
    let mut engine = async_graphql::Request::new(request.query)
        .variables(Variables::from_json(request.variables))
        .data(shared.clone());
    engine.set_parsed_query(document);
    engine.operation_name = request.operation;
    let response = schema.execute(engine).await;
    if response.errors.is_empty() {
        let data = serde_json::to_string(&response.data).unwrap_or_default();
        return replies::json_text(StatusCode::OK, format!("{{\"data\":{data}}}"));
    }
    let executed = response.errors.iter().any(|error| !error.path.is_empty());
    let errors: Vec<Json> = response.errors.iter().map(|error| error_json(error, executed)).collect();
    let data = executed.then(|| response.data.into_json().unwrap_or_default());
    wrapped(behaviours.error_envelope, &Json::Array(errors), data)
}

struct Request {
    query: String,
    variables: Json,
    operation: Option<String>,
}

impl Request {
    fn read(body: &[u8]) -> Option<Self> {
        let mut json: Json = serde_json::from_slice(body).ok()?;
        // pyTenable's lists send the variables as a JSON text inside the JSON.
        let variables = match json["variables"].take() {
            Json::String(text) => serde_json::from_str(&text).ok()?,
            Json::Null => json!({}),
            object @ Json::Object(_) => object,
            _ => return None,
        };
        let operation = json["operationName"].as_str().map(str::to_owned);
        Some(Self { query: json["query"].as_str()?.to_owned(), variables, operation })
    }

    /// Parses, and refuses a missing required variable in the appliance's words.
    fn check(&self) -> Result<ExecutableDocument, Json> {
        let failed = |message: String, code: &str| json!({"message": message, "extensions": {"code": code}});
        let document = parse_query(&self.query)
            .map_err(|error| failed(format!("Syntax Error: {error}"), "GRAPHQL_PARSE_FAILED"))?;
        for (name, operation) in document.operations.iter() {
            if name.is_some_and(|name| self.operation.as_deref().is_some_and(|wanted| name.as_str() != wanted)) {
                continue;
            }
            for variable in &operation.node.variable_definitions {
                let (name, kind) = (&variable.node.name.node, &variable.node.var_type.node);
                let missing = self.variables[name.as_str()].is_null();
                if missing && !kind.nullable && variable.node.default_value.is_none() {
                    let message = format!("Variable \"${name}\" of required type \"{kind}\" was not provided.");
                    let mut error = failed(message, "BAD_USER_INPUT");
                    error["locations"] = json!([{"line": variable.pos.line, "column": variable.pos.column}]);
                    return Err(error);
                }
            }
        }
        Ok(document)
    }
}

fn error_json(error: &ServerError, executed: bool) -> Json {
    let mut json = serde_json::to_value(error).unwrap_or_default();
    if json["extensions"]["code"].is_null() {
        let code = if executed { "INTERNAL_SERVER_ERROR" } else { "GRAPHQL_VALIDATION_FAILED" };
        json["extensions"] = json!({"code": code});
    }
    json
}

fn wrapped(envelope: ErrorEnvelope, errors: &Json, data: Option<Json>) -> Response {
    let mut body = json!({"errors": errors});
    if let Some(data) = data {
        body["data"] = data;
    }
    match envelope {
        ErrorEnvelope::Errors200 => replies::json(StatusCode::OK, &body),
        ErrorEnvelope::Errors400 => replies::json(StatusCode::BAD_REQUEST, &body),
        ErrorEnvelope::Nested200 => replies::json(StatusCode::OK, &json!({"error": body})),
    }
}
