//! `/graphql`: a real GraphQL engine over synthetic rows.
//!
//! Owns the endpoint: reading a request, executing it, and wrapping errors as
//! the appliance does. The schema is `schema.graphql`; `schema` builds the
//! engine from it, `node` gives values, `connection` answers the root fields.
//!
//! The engine judges each shape of a document once (`known`). What it finds
//! valid and `plan` understands, `write` writes many times as fast, with the
//! same bytes; everything else the engine answers itself.

mod connection;
mod known;
mod node;
mod plan;
mod schema;
mod write;

use super::{
    Behaviours, ErrorEnvelope, gate, replies, rest,
    state::{Caller, Shared},
};
use async_graphql::{
    ServerError, Variables,
    dynamic::Schema,
    parser::{parse_query, types::ExecutableDocument},
};
use axum::{
    Extension, Router,
    body::Bytes,
    extract::{Path, State},
    response::Response,
    routing::post,
};
use connection::{Asking, Trouble};
use http::StatusCode;
use known::Known;
use plan::Plan;
use schema::Schemas;
use serde_json::{Value as Json, json};
use std::sync::Arc;

pub(super) fn routes() -> Router<Arc<Shared>> {
    let engine = Engine { schemas: Schemas::all(), known: Arc::default() };
    Router::new().route("/graphql", post(graphql)).route("/{machine}/graphql", post(relayed)).layer(Extension(engine))
}

#[derive(Clone)]
struct Engine {
    schemas: Schemas,
    known: Arc<Known>,
}

async fn graphql(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Extension(engine): Extension<Engine>,
    body: Bytes,
) -> Response {
    let behaviours = shared.behaviours();
    let of_manager = behaviours.manager.is_some();
    engine.answer(Asking { shared, behaviours, rehearsal: false, of_manager }, &caller, &body).await
}

/// An Enterprise Manager hands on what is for an appliance that it is paired with.
async fn relayed(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Extension(engine): Extension<Engine>,
    Path(machine): Path<String>,
    body: Bytes,
) -> Response {
    let behaviours = shared.behaviours();
    if !behaviours.manager.iter().flatten().any(|known| *known == machine) {
        return replies::web_application();
    }
    engine.answer(Asking { shared, behaviours, rehearsal: false, of_manager: false }, &caller, &body).await
}

impl Engine {
    async fn answer(&self, asking: Asking, caller: &Caller, body: &[u8]) -> Response {
        if let Err(refused) = rest::may_read(&asking.behaviours, caller, true) {
            return refused;
        }
        let Some(request) = Request::read(body) else {
            return replies::error(StatusCode::BAD_REQUEST, "POST body missing, invalid, or not an object");
        };
        if let Some(plan) = self.known.find(&request.key(&asking.behaviours), &request.variables)
            && let Some(reply) = quickly(&plan, &asking, &request)
        {
            return reply;
        }
        let envelope = asking.behaviours.error_envelope;
        let document = match request.check() {
            Ok(document) => document,
            Err(errors) => return wrapped(envelope, &json!([errors]), None),
        };
        if !asking.of_manager
            && let Some(plan) = self.learn(&asking, &request, &document).await
            && let Some(reply) = quickly(&plan, &asking, &request)
        {
            return reply;
        }
        let schema =
            if asking.of_manager { self.schemas.of_manager() } else { self.schemas.of(asking.behaviours.release) };
        let response = execute(schema, &request, document, asking).await;
        if response.errors.is_empty() {
            let data = serde_json::to_string(&response.data).unwrap_or_default();
            return replies::json_text(StatusCode::OK, format!("{{\"data\":{data}}}"));
        }
        let executed = response.errors.iter().any(|error| !error.path.is_empty());
        let errors: Vec<Json> = response.errors.iter().map(|error| error_json(error, executed)).collect();
        let data = executed.then(|| response.data.into_json().unwrap_or_default());
        wrapped(envelope, &Json::Array(errors), data)
    }

    /// The plan for a document in which the engine finds no fault.
    async fn learn(&self, asking: &Asking, request: &Request, document: &ExecutableDocument) -> Option<Arc<Plan>> {
        let operation = plan::operation(document, request.operation.as_deref())?;
        let plan = Arc::new(plan::compile(document, operation, &request.variables, &asking.shared.rows)?);
        let schema = self.schemas.of(asking.behaviours.release);
        let rehearsal = Asking {
            shared: asking.shared.clone(),
            behaviours: asking.behaviours.clone(),
            rehearsal: true,
            of_manager: false,
        };
        if !execute(schema, request, document.clone(), rehearsal).await.errors.is_empty() {
            return None;
        }
        self.known.keep(request.key(&asking.behaviours), operation, &request.variables, plan.clone());
        Some(plan)
    }
}

async fn execute(
    schema: &Schema,
    request: &Request,
    document: ExecutableDocument,
    asking: Asking,
) -> async_graphql::Response {
    let variables = Variables::from_json(request.variables.clone());
    let mut engine = async_graphql::Request::new(request.query.as_str()).variables(variables).data(asking);
    engine.set_parsed_query(document);
    engine.operation_name.clone_from(&request.operation);
    schema.execute(engine).await
}

/// The reply of a plan; errors are the engine's to word.
fn quickly(plan: &Plan, asking: &Asking, request: &Request) -> Option<Response> {
    match write::reply(plan, asking, &request.variables) {
        Ok(write::Written { text, group }) => Some(replies::json_written(text, group)),
        Err(Trouble::TooSlow) => asking.behaviours.slow_pages.map(gate::too_slow),
        Err(Trouble::BadInput(_) | Trouble::NotHere) => None,
    }
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

    fn key(&self, behaviours: &Behaviours) -> known::Key {
        // A manager's own schema is never asked quickly.
        (self.query.clone(), self.operation.clone(), behaviours.release)
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

#[cfg(test)]
mod tests;
