//! Dead letters: runs that killed their workers too often, or can't be advanced, and wait for an operator.

use aos_core::runs::{RunFilter, RunRecord, RunState, StoreError};
use aos_core::{Failure, codes};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::body::MaybeDoc;
use crate::http::params::{Params, PathOf, run_id};
use crate::http::problem::{ApiError, ApiResult, Problem};
use crate::http::runs::act::short;
use crate::http::runs::{filter, find};
use crate::http::view::{FailureView, RunView};
use crate::state::{AppState, durable};

/// The longest page.
const MAX_LIMIT: usize = 200;

/// A dead run.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(title = "DeadLetter")]
pub struct DeadLetterView {
    /// The run.
    pub run: String,
    /// `id@version` of its workflow.
    pub workflow: String,
    /// Why it is dead.
    pub reason: Option<FailureView>,
    /// How many workers in a row have died with it without getting any further.
    pub rescues: u32,
    /// Since when it is dead, RFC 3339.
    pub since: Option<String>,
    /// When it was accepted, RFC 3339.
    pub created_at: String,
    /// The run that started it as a child.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
}

/// A page of dead letters, those of the newest runs first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DeadLetterList {
    /// The dead runs.
    pub dead_letters: Vec<DeadLetterView>,
    /// Give this as `cursor` for the next page; `null` at the end.
    pub next: Option<String>,
}

/// Which dead letters to list.
#[derive(Clone, Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeadLetterQuery {
    /// Only runs of the workflow with this id.
    pub workflow: Option<String>,
    /// `next` of the page before.
    pub cursor: Option<String>,
    /// At most this many, 1 to 200; 50 when it is left out.
    pub limit: Option<usize>,
}

/// Why to give a dead run up.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DiscardBody {
    /// For people; stands in the run's error.
    pub reason: String,
}

/// Lists dead runs.
#[utoipa::path(
    get, path = "/v1/dead-letters", tag = "queue", operation_id = "listDeadLetters",
    params(DeadLetterQuery),
    responses((status = 200, body = DeadLetterList, description = "One page"))
)]
pub async fn list_dead_letters(
    State(state): State<AppState>,
    Params(query): Params<DeadLetterQuery>,
) -> ApiResult<Json<DeadLetterList>> {
    let limit = query.limit.unwrap_or(50);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(ApiError::invalid(format!("limit is {limit}: expected 1 to {MAX_LIMIT}")));
    }
    let filter = RunFilter {
        tenant: state.tenant.clone(),
        states: vec![RunState::Dead],
        workflow: filter::workflow(query.workflow)?,
        cursor: query.cursor,
        limit,
        ..RunFilter::default()
    };
    let page = state.host.stores.runs.list(filter).await?;
    Ok(Json(DeadLetterList { dead_letters: page.runs.into_iter().map(Into::into).collect(), next: page.next }))
}

/// Queues a dead run anew: it goes on from where it was.
#[utoipa::path(
    post, path = "/v1/dead-letters/{id}/retry", tag = "queue", operation_id = "retryDeadLetter",
    params(("id" = String, Path, description = "The run's id")),
    responses(
        (status = 200, body = RunView, description = "The run is queued"),
        (status = 404, body = Problem, description = "There is no such run"),
        (status = 409, body = Problem, description = "The run is not dead"),
    )
)]
pub async fn retry_dead_letter(State(state): State<AppState>, PathOf(id): PathOf<String>) -> ApiResult<Json<RunView>> {
    let record = find(&state, &run_id(&id)?).await?;
    durable(async move { Ok(Json(revive(&state, &record).await?.into())) }).await
}

/// Gives a dead run up: it is cancelled, and its journal stays until the run is deleted.
#[utoipa::path(
    post, path = "/v1/dead-letters/{id}/discard", tag = "queue", operation_id = "discardDeadLetter",
    params(("id" = String, Path, description = "The run's id")),
    request_body = Option<DiscardBody>,
    responses(
        (status = 200, body = RunView, description = "The run is cancelled"),
        (status = 404, body = Problem, description = "There is no such run"),
        (status = 409, body = Problem, description = "The run is not dead"),
    )
)]
pub async fn discard_dead_letter(
    State(state): State<AppState>,
    PathOf(id): PathOf<String>,
    MaybeDoc(body): MaybeDoc<DiscardBody>,
) -> ApiResult<Json<RunView>> {
    short("reason", &body.reason)?;
    let record = find(&state, &run_id(&id)?).await?;
    durable(async move { Ok(Json(discard(&state, &record, &body.reason).await?.into())) }).await
}

/// Queues a dead run anew.
pub(super) async fn revive(state: &AppState, dead: &RunRecord) -> Result<RunRecord, StoreError> {
    let record = state.host.stores.runs.revive(&state.tenant, &dead.new.run).await?;
    state.worker.arrived();
    Ok(record)
}

/// Gives a dead run up for good.
pub(super) async fn discard(state: &AppState, record: &RunRecord, reason: &str) -> Result<RunRecord, StoreError> {
    let died = record.failure.as_ref().map(|failure| format!("; it was dead: {failure}")).unwrap_or_default();
    let reason = if reason.is_empty() { "discarded by an operator" } else { reason };
    let failure = Failure::new(codes::CANCELLED, format!("{reason}{died}"));
    state.host.stores.runs.discard(&state.tenant, &record.new.run, failure).await
}

impl From<RunRecord> for DeadLetterView {
    fn from(record: RunRecord) -> Self {
        Self {
            run: record.new.run.to_string(),
            workflow: record.new.workflow.to_string(),
            reason: record.failure.map(Into::into),
            rescues: record.rescues,
            since: record.finished_at.map(|at| at.to_string()),
            created_at: record.created_at.to_string(),
            parent: record.new.parent.map(|parent| parent.to_string()),
        }
    }
}
