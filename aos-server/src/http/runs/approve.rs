//! Approvals: the answer that a run waits for, without knowing the signal by name.

use aos_core::codes;
use aos_core::runs::Message;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::http::body::MaybeDoc;
use crate::http::params::{PathOf, clip, run_id};
use crate::http::problem::{ApiError, ApiResult, Problem};
use crate::http::runs::act::short;
use crate::http::runs::create::payload_at;
use crate::http::runs::find;
use crate::state::{AppState, durable};
use crate::waits::Waits;

/// Who answers, and how.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ApprovalBody {
    /// Which signal, when the run waits for several.
    #[schema(example = "approval")]
    pub name: Option<String>,
    /// Who answers.
    #[schema(example = "Ada")]
    pub by: Option<String>,
    /// What there is to say about it.
    pub comment: Option<String>,
}

/// An answer was put into a run's inbox, durably.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Answered {
    /// The run.
    pub run: String,
    /// The signal that was sent.
    pub signal: String,
    /// What was answered.
    pub approved: bool,
    /// The message's number in the run's inbox, rising from 1.
    pub seq: u64,
}

/// Approves what a run waits for.
///
/// Sends the signal that the run waits for, with `{"approved": true, "by": …, "comment": …}`. A signal that is on its way
/// already counts as received, so that a second answer is not taken for the next question's.
#[utoipa::path(
    post, path = "/v1/runs/{id}/approve", tag = "runs", operation_id = "approveRun",
    params(("id" = String, Path, description = "The run's id")),
    request_body = Option<ApprovalBody>,
    responses(
        (status = 202, body = Answered, description = "The answer is in the run's inbox"),
        (status = 404, body = Problem, description = "There is no such run"),
        (status = 409, body = Problem, description = "The run waits for no signal, or for several and `name` says none of them"),
    )
)]
pub async fn approve_run(
    State(state): State<AppState>,
    PathOf(id): PathOf<String>,
    MaybeDoc(body): MaybeDoc<ApprovalBody>,
) -> ApiResult<(StatusCode, Json<Answered>)> {
    answer(state, &id, body, true).await
}

/// Rejects what a run waits for.
///
/// As an approval, with `{"approved": false, …}`: what that means is the workflow's to say.
#[utoipa::path(
    post, path = "/v1/runs/{id}/reject", tag = "runs", operation_id = "rejectRun",
    params(("id" = String, Path, description = "The run's id")),
    request_body = Option<ApprovalBody>,
    responses(
        (status = 202, body = Answered, description = "The answer is in the run's inbox"),
        (status = 404, body = Problem, description = "There is no such run"),
        (status = 409, body = Problem, description = "The run waits for no signal, or for several and `name` says none of them"),
    )
)]
pub async fn reject_run(
    State(state): State<AppState>,
    PathOf(id): PathOf<String>,
    MaybeDoc(body): MaybeDoc<ApprovalBody>,
) -> ApiResult<(StatusCode, Json<Answered>)> {
    answer(state, &id, body, false).await
}

async fn answer(
    state: AppState,
    id: &str,
    body: ApprovalBody,
    approved: bool,
) -> ApiResult<(StatusCode, Json<Answered>)> {
    let run = run_id(id)?;
    short("by", body.by.as_deref().unwrap_or_default())?;
    short("comment", body.comment.as_deref().unwrap_or_default())?;
    let payload = payload_at(json!({"approved": approved, "by": body.by, "comment": body.comment}), "")?;
    durable(async move {
        let record = find(&state, &run).await?;
        if record.state.is_terminal() {
            let message = format!("run {run} has ended ({}): it waits for nothing", record.state.as_str());
            return Err(ApiError::new(codes::CONFLICT, message));
        }
        let mut waits = Waits::read(&state.host, &record, u64::MAX).await?.unwrap_or_default();
        let unseen = state.host.stores.runs.inbox(&state.tenant, &run, waits.inbox_seen()).await?;
        unseen.into_iter().for_each(|item| waits.expect(item));
        let signal = choose(&run, &waits.signals(), body.name)?;
        let message = Message::Signal { name: signal.clone(), payload };
        let seq = state.host.stores.runs.send(&state.tenant, &run, message).await?;
        state.worker.arrived();
        Ok((StatusCode::ACCEPTED, Json(Answered { run: run.to_string(), signal, approved, seq })))
    })
    .await
}

/// The signal that is meant: the one that is named, or the only one.
fn choose(run: &aos_core::id::RunId, signals: &[String], name: Option<String>) -> ApiResult<String> {
    let conflict = |message: String| Err(ApiError::new(codes::CONFLICT, message));
    match (name, signals) {
        (Some(name), signals) if signals.contains(&name) => Ok(name),
        (None, [only]) => Ok(only.clone()),
        (_, []) => conflict(format!(
            "run {run} waits for no signal now; one that is to come early can be sent to /v1/runs/{run}/signals/{{name}}"
        )),
        (Some(name), signals) => {
            conflict(format!("run {run} doesn't wait for {:?}: it waits for {}", clip(&name), signals.join(", ")))
        }
        (None, signals) => {
            conflict(format!("run {run} waits for several signals: say in \"name\" which of {}", signals.join(", ")))
        }
    }
}
