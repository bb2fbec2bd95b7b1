//! The OpenAPI document: made from the handlers themselves, with the table of error codes.

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use aos_core::codes;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa::OpenApi;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{Ref, RefOr, ResponseBuilder};
use utoipa_axum::router::OpenApiRouter;

use crate::http::access;
use crate::http::problem::Problem;
use crate::state::AppState;

/// What the document says besides routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "AOS",
        description = "Runs agent workflows, records everything that was not deterministic, and replays any run."
    ),
    components(schemas(Problem)),
    tags(
        (name = "runs", description = "Create runs, follow them, talk to them, replay and fork them"),
        (name = "queue", description = "What waits, who works, how much at a time, and what needs an operator"),
        (name = "workflows", description = "Register workflows and look at them"),
        (name = "schedules", description = "Begin runs by the calendar"),
        (name = "money", description = "What model calls cost, and how much they may"),
        (name = "skills", description = "Look at skills, switch them off and on"),
        (name = "registry", description = "Export, import, snapshots and rollback"),
        (name = "keys", description = "Who may use the API"),
        (name = "audit", description = "Who changed what"),
        (name = "simulate", description = "What a run would need and cost at most, without running it"),
        (name = "health", description = "For load balancers, operators and dashboards"),
    )
)]
struct Frame;

/// The document of all routes, once they are known.
#[derive(Clone, Default)]
pub struct Document(Arc<OnceLock<String>>);

/// An empty document with the frame.
pub(super) fn frame() -> utoipa::openapi::OpenApi {
    Frame::openapi()
}

impl Document {
    /// Takes the document of all routes, adds what is true of each, and keeps its text.
    pub(super) fn complete(&self, mut document: utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        components.schemas.insert("ErrorCode".into(), error_codes().into());
        components.security_schemes.insert(access::SCHEME.into(), access::scheme().into());
        document.paths.paths.values_mut().flat_map(access::operations).for_each(add_problem);
        // Plain data with string keys; a second router makes the same text.
        let _ = self.0.set(document.to_json().unwrap_or_default());
    }
}

/// Gives this document.
#[utoipa::path(get, path = "/openapi.json", tag = "health", operation_id = "openapi",
    responses((status = 200, body = serde_json::Value, description = "The OpenAPI document")))]
pub async fn openapi(State(document): State<Document>) -> Response {
    let text = document.0.get().cloned().unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// Every operation may answer with a problem.
fn add_problem(operation: &mut Operation) {
    let problem = Ref::from_schema_name("Problem");
    let content = || ContentBuilder::new().schema(Some(problem.clone())).build();
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response
            && let Some(body) = response.content.shift_remove("application/json")
        {
            let is_problem =
                serde_json::to_value(&body).is_ok_and(|b| b["schema"]["$ref"] == "#/components/schemas/Problem");
            let content_type = if is_problem { "application/problem+json" } else { "application/json" };
            response.content.insert(content_type.into(), body);
        }
    }
    let other = ResponseBuilder::new()
        .description("A problem: `code` is one of `ErrorCode`, or a skill's own")
        .content("application/problem+json", content())
        .build();
    operation.responses.responses.insert("default".into(), other.into());
}

/// The stable codes, with what each means and the status it comes with.
fn error_codes() -> utoipa::openapi::schema::Schema {
    let mut description = String::from("The stable codes of problems and of runs' errors.\n\n");
    description.push_str("| code | status | meaning | what to do |\n|---|---|---|---|\n");
    for info in codes::ALL {
        // Writing into a string has no way to fail.
        let _ =
            writeln!(description, "| `{}` | {} | {} | {} |", info.code, info.http_status, info.meaning, info.action);
    }
    ObjectBuilder::new()
        .schema_type(SchemaType::new(Type::String))
        .enum_values(Some(codes::ALL.iter().map(|info| info.code)))
        .description(Some(description))
        .build()
        .into()
}

/// A router that collects routes together with their documentation.
pub(super) type Routes = OpenApiRouter<AppState>;
