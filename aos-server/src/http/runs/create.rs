//! Creating runs.

use std::str::FromStr;

use aos_core::canonical::CanonicalError::{NumberOutOfRange, TooDeep};
use aos_core::canonical::MAX_SAFE_INTEGER;
use aos_core::id::RunId;
use aos_core::money::Money;
use aos_core::payload::Payload;
use aos_core::queue::Priority;
use aos_core::random::Seed;
use aos_core::runs::{NewRun, RunRecord};
use aos_core::time::Timestamp;
use aos_core::{Failure, codes};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::http::asked::Asked;
use crate::http::body::Doc;
use crate::http::params::{Params, clip, duration, idempotency_key, timestamp, wait};
use crate::http::problem::{ApiError, ApiResult, Problem};
use crate::http::runs::wait::for_end;
use crate::http::view::{RunView, WorkflowChoice};
use crate::http::workflows::ready;
use crate::plans::ReadyPlan;
use crate::state::{AppState, durable};

/// What a run is made of.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRunBody {
    /// A registered workflow (`id`, `id@1.2.3`, `id@^1`), or a whole definition to run as it is.
    pub workflow: WorkflowChoice,
    /// The input; `{}` when it is left out. Checked against the workflow's input schema.
    #[serde(default = "empty_object")]
    #[schema(value_type = Value)]
    pub input: Value,
    /// The seed of everything random in the run, below 2^53; 0 when it is left out.
    #[serde(default)]
    pub seed: u64,
    /// What the run may spend, in US dollars as a decimal string; the workflow's own budget when it is left out.
    #[serde(default)]
    #[schema(example = "0.50")]
    pub budget: Option<String>,
    /// From 0 to 9: of the runs that are ready, those with the higher number go first. 5 when it is left out.
    #[serde(default)]
    #[schema(value_type = u8, minimum = 0, maximum = 9)]
    pub priority: Priority,
    /// Start after this time: a whole number with `ms`, `s`, `m`, `h` or `d`.
    #[serde(default)]
    #[schema(example = "15m")]
    pub delay: Option<String>,
    /// Do not start before this time, RFC 3339. Not together with `delay`.
    #[serde(default)]
    #[schema(example = "2026-11-24T09:30:00Z")]
    pub start_at: Option<String>,
}

/// How to answer a creation.
#[derive(Clone, Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CreateQuery {
    /// Answer when the run has ended, or after this time: a number with `ms`, `s` or `m`, at most 300s. The header
    /// `Prefer: wait=30` means the same.
    #[param(example = "30s")]
    pub wait: Option<String>,
}

/// Creates a run.
///
/// The run is durable when the answer comes. With an `Idempotency-Key` header, a second request with the same key and
/// body gives the first run, and one with another body is refused.
#[utoipa::path(
    post, path = "/v1/runs", tag = "runs", operation_id = "createRun",
    params(CreateQuery,
        ("Idempotency-Key" = Option<String>, Header, description = "Names this creation, 1 to 255 characters"),
        ("Prefer" = Option<String>, Header, description = "`wait=30` waits up to 30 s for the end of the run")),
    request_body = NewRunBody,
    responses(
        (status = 201, body = RunView, description = "The run was created; with `wait`, it has ended"),
        (status = 202, body = RunView, description = "The run was created and has not ended within `wait`"),
        (status = 200, body = RunView, description = "The run that this idempotency key made before"),
        (status = 409, body = Problem, description = "The state of something does not allow this"),
        (status = 413, body = Problem, description = "The body is too large"),
        (status = 415, body = Problem, description = "The body is neither JSON nor YAML"),
        (status = 422, body = Problem, description = "Definition, input or idempotency key do not fit"),
        (status = 429, body = Problem, description = "Too many runs are queued: `Retry-After` says when to try again"),
    )
)]
pub async fn create_run(
    State(state): State<AppState>,
    Params(query): Params<CreateQuery>,
    headers: HeaderMap,
    asked: Asked,
    Doc(body): Doc<NewRunBody>,
) -> ApiResult<Response> {
    let wait = wait(query.wait.as_deref(), &headers)?;
    let key = idempotency_key(&headers)?;
    let ready = ready(&state, body.workflow).await?;
    let input = payload_at(body.input, "/input")?;
    ready.check(&input)?;
    let new = NewRun {
        run: new_id()?,
        tenant: state.tenant.clone(),
        workflow: ready.plan.workflow.clone(),
        plan: ready.hash,
        input,
        seed: seed(body.seed)?,
        budget: budget(body.budget.as_deref(), &ready)?,
        parent: None,
        forked_from: None,
        idempotency_key: key,
        request_id: Some(asked.request_id.as_str().into()),
        api_key: asked.caller.key(),
        trace: Some(asked.trace),
        priority: body.priority,
        start_at: start_at(&state, body.delay.as_deref(), body.start_at.as_deref())?,
    };
    // Watched before it is created, so that an end in between is heard.
    let watch = wait.map(|_| state.hub.watch(&new.run));
    let (record, is_new) = durable(state.clone().accept(new)).await?;
    let record = match (wait, watch) {
        (Some(wait), Some(watch)) if is_new => for_end(&state, watch, record, wait).await?,
        (Some(wait), _) => {
            let watch = state.hub.watch(&record.new.run);
            for_end(&state, watch, record, wait).await?
        }
        (None, _) => record,
    };
    Ok(answer(record, is_new, wait.is_some()))
}

pub(super) fn answer(record: RunRecord, is_new: bool, waited: bool) -> Response {
    let status = match (is_new, waited && !record.state.is_terminal()) {
        (_, true) => StatusCode::ACCEPTED,
        (true, false) => StatusCode::CREATED,
        (false, false) => StatusCode::OK,
    };
    let location = HeaderValue::from_str(&format!("/v1/runs/{}", record.new.run));
    let mut response = (status, Json(RunView::from(record))).into_response();
    if let Ok(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    if !is_new {
        const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

/// A new run's id, a UUIDv7.
pub(in crate::http) fn new_id() -> ApiResult<RunId> {
    RunId::new(uuid::Uuid::now_v7().to_string()).map_err(|e| ApiError::new(codes::INTERNAL, e.to_string()))
}

/// A value of the body as a payload; a mistake names its place within the body.
pub(in crate::http) fn payload_at(value: Value, place: &str) -> ApiResult<Payload> {
    Payload::new(value).map_err(|error| {
        let error = match error {
            NumberOutOfRange { path, number } => NumberOutOfRange { path: format!("{place}{path}"), number },
            TooDeep { path } => TooDeep { path: format!("{place}{path}") },
        };
        Failure::from(error).into()
    })
}

fn seed(seed: u64) -> ApiResult<Seed> {
    if seed > MAX_SAFE_INTEGER {
        let message = format!("the seed {seed} at \"/seed\" is beyond 2^53 - 1: choose a smaller one");
        return Err(ApiError::new(codes::NUMBER_OUT_OF_RANGE, message));
    }
    Ok(Seed::new(seed))
}

fn budget(text: Option<&str>, ready: &ReadyPlan) -> ApiResult<Option<Money>> {
    let Some(text) = text else { return Ok(ready.plan.budget) };
    Money::from_str(text)
        .map(Some)
        .map_err(|e| ApiError::invalid(format!("\"budget\" is {:?}: {e}; for example \"0.50\"", clip(text))))
}

fn start_at(state: &AppState, delay: Option<&str>, at: Option<&str>) -> ApiResult<Option<Timestamp>> {
    match (delay, at) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(ApiError::invalid("\"delay\" and \"start_at\" are both given: leave one out")),
        (Some(text), None) => match duration(text) {
            Some(delay) => Ok(Some(state.now().saturating_add(delay))),
            None => Err(ApiError::invalid(format!(
                "\"delay\" is {:?}: expected a whole number with a unit (ms, s, m, h or d), for example \"15m\"",
                clip(text)
            ))),
        },
        (None, Some(text)) => match timestamp(text) {
            Some(at) => Ok(Some(at)),
            None => Err(ApiError::invalid(format!(
                "\"start_at\" is {:?}: expected a time of RFC 3339, for example \"2026-11-24T09:30:00Z\"",
                clip(text)
            ))),
        },
    }
}

/// An input that was left out.
pub(in crate::http) fn empty_object() -> Value {
    Value::Object(serde_json::Map::new())
}
