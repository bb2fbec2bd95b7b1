//! Talking to runs: cancel, signals, pause and resume.

use aos_core::id::RunId;
use aos_core::runs::Message;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::http::body::MaybeDoc;
use crate::http::params::{PathOf, clip, run_id};
use crate::http::problem::{ApiError, ApiResult, Problem};
use crate::http::runs::create::payload_at;
use crate::http::view::RunView;
use crate::state::{AppState, durable};

/// The longest signal name and the longest reason, in bytes.
const MAX_TEXT: usize = 1_000;

/// Why to cancel.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CancelBody {
    /// For people; stands in the journal.
    pub reason: String,
}

/// A message was put into a run's inbox, durably.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Sent {
    /// The run.
    pub run: String,
    /// The message's number in the run's inbox, rising from 1.
    pub seq: u64,
}

/// Asks a run to stop.
///
/// The run ends as `cancelled` once it has seen the request: at once when it waits, or when a worker has it.
#[utoipa::path(
    post, path = "/v1/runs/{id}/cancel", tag = "runs", operation_id = "cancelRun",
    params(("id" = String, Path, description = "The run's id")),
    request_body = Option<CancelBody>,
    responses(
        (status = 202, body = Sent, description = "The request is in the run's inbox"),
        (status = 404, body = Problem, description = "There is no such run"),
        (status = 409, body = Problem, description = "The run has ended"),
    )
)]
pub async fn cancel_run(
    State(state): State<AppState>,
    PathOf(id): PathOf<String>,
    MaybeDoc(body): MaybeDoc<CancelBody>,
) -> ApiResult<(StatusCode, Json<Sent>)> {
    let run = run_id(&id)?;
    short("reason", &body.reason)?;
    let reason = if body.reason.is_empty() { "cancelled over HTTP".into() } else { body.reason };
    send(state, run, Message::Cancel { reason }).await
}

/// Sends a signal to a run.
///
/// The body is what the signal carries, any JSON; without a body it carries `null`. A signal that the run does not
/// wait for yet is kept until it does.
#[utoipa::path(
    post, path = "/v1/runs/{id}/signals/{name}", tag = "runs", operation_id = "signalRun",
    params(("id" = String, Path, description = "The run's id"), ("name" = String, Path, description = "The signal's name")),
    request_body = Option<Value>,
    responses(
        (status = 202, body = Sent, description = "The signal is in the run's inbox"),
        (status = 404, body = Problem, description = "There is no such run"),
        (status = 409, body = Problem, description = "The run has ended"),
    )
)]
pub async fn signal_run(
    State(state): State<AppState>,
    PathOf((id, name)): PathOf<(String, String)>,
    MaybeDoc(body): MaybeDoc<Value>,
) -> ApiResult<(StatusCode, Json<Sent>)> {
    let run = run_id(&id)?;
    short("signal name", &name)?;
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(ApiError::invalid(format!("{:?} is not a signal name: expected printable text", clip(&name))));
    }
    let payload = payload_at(body, "")?;
    send(state, run, Message::Signal { name, payload }).await
}

/// Asks a run to pause.
///
/// What is under way comes to its end, and nothing new is begun. A run that no worker has is paused at once.
#[utoipa::path(
    post, path = "/v1/runs/{id}/pause", tag = "runs", operation_id = "pauseRun",
    params(("id" = String, Path, description = "The run's id")),
    responses(
        (status = 200, body = RunView, description = "The run is paused"),
        (status = 202, body = RunView, description = "The run pauses once what its worker has under way has ended"),
        (status = 404, body = Problem, description = "There is no such run"),
        (status = 409, body = Problem, description = "The run has ended"),
    )
)]
pub async fn pause_run(
    State(state): State<AppState>,
    PathOf(id): PathOf<String>,
) -> ApiResult<(StatusCode, Json<RunView>)> {
    let run = run_id(&id)?;
    durable(async move {
        let record = state.host.stores.runs.pause(&state.tenant, &run).await?;
        let status = if record.pausing { StatusCode::ACCEPTED } else { StatusCode::OK };
        Ok((status, Json(record.into())))
    })
    .await
}

/// Lets a paused run go on, or takes a request to pause back.
#[utoipa::path(
    post, path = "/v1/runs/{id}/resume", tag = "runs", operation_id = "resumeRun",
    params(("id" = String, Path, description = "The run's id")),
    responses(
        (status = 200, body = RunView, description = "The run goes on; one that was not paused is as it was"),
        (status = 404, body = Problem, description = "There is no such run"),
        (status = 409, body = Problem, description = "The run has ended"),
    )
)]
pub async fn resume_run(State(state): State<AppState>, PathOf(id): PathOf<String>) -> ApiResult<Json<RunView>> {
    let run = run_id(&id)?;
    durable(async move {
        let record = state.host.stores.runs.resume(&state.tenant, &run).await?;
        state.worker.arrived();
        Ok(Json(record.into()))
    })
    .await
}

async fn send(state: AppState, run: RunId, message: Message) -> ApiResult<(StatusCode, Json<Sent>)> {
    durable(async move {
        let seq = state.host.stores.runs.send(&state.tenant, &run, message).await?;
        // A parked run has become claimable.
        state.worker.arrived();
        Ok((StatusCode::ACCEPTED, Json(Sent { run: run.to_string(), seq })))
    })
    .await
}

pub(in crate::http) fn short(what: &str, text: &str) -> ApiResult<()> {
    if text.len() <= MAX_TEXT {
        return Ok(());
    }
    Err(ApiError::invalid(format!("the {what} has {} bytes: expected at most {MAX_TEXT}", text.len())))
}
