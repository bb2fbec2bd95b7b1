//! The queue: how many runs wait, and how many of a workflow may be held at the same time.

use aos_core::id::WorkflowId;
use aos_core::queue::ConcurrencyLimit;
use aos_core::runs::{RunFilter, RunState};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock;
use crate::http::body::Doc;
use crate::http::params::PathOf;
use crate::http::problem::{ApiError, ApiResult, Problem};
use crate::state::{AppState, durable};

/// Runs of a limited workflow are counted up to this many.
const COUNTED: u64 = 100_000;
/// Workflows counted at a time.
const AT_ONCE: usize = 4;

/// The queue in numbers.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(title = "Queue")]
pub struct QueueView {
    /// Runs in each state that is not the end, and dead ones.
    pub depth: DepthView,
    /// Since when the oldest run that could be claimed has waited, RFC 3339.
    pub oldest_claimable_at: Option<String>,
    /// The same as an age in seconds; 0 when there is none.
    pub oldest_claimable_s: f64,
    /// No run is accepted when this many are queued (`AOS_MAX_QUEUED`); `null` for no bound.
    pub max_queued: Option<u64>,
    /// Workflows of which not more than so many runs are held at the same time.
    pub limits: Vec<LimitView>,
}

/// Runs by state.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[schema(title = "Depth")]
pub struct DepthView {
    /// Accepted, not begun.
    pub queued: u64,
    /// A worker has it.
    pub running: u64,
    /// It waits for a timer, a signal or a child.
    pub parked: u64,
    /// An operator paused it.
    pub paused: u64,
    /// It killed its workers too often; an operator decides.
    pub dead: u64,
}

/// How many runs of one workflow are held at the same time.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(title = "Limit")]
pub struct LimitView {
    /// The workflow's id, whatever the version.
    pub workflow: String,
    /// At most this many; 0 holds them all back.
    pub max: u32,
    /// How many are held now, counted to 100,000.
    pub held: u64,
    /// How many are queued, counted to 100,000.
    pub queued: u64,
}

/// A limit to set.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitBody {
    /// At most this many; 0 holds them all back.
    pub max: u32,
}

/// Shows the queue.
#[utoipa::path(
    get, path = "/v1/queue", tag = "queue", operation_id = "getQueue",
    responses((status = 200, body = QueueView, description = "The queue now"))
)]
pub async fn get_queue(State(state): State<AppState>) -> ApiResult<Json<QueueView>> {
    let runs = &state.host.stores.runs;
    let stats = runs.stats().await?;
    let limits = runs.limits(&state.tenant).await?;
    let views = stream::iter(limits).map(|limit| view(&state, limit)).buffered(AT_ONCE);
    let mut depth = DepthView::default();
    for (run_state, runs) in stats.by_state {
        match run_state {
            RunState::Queued => depth.queued = runs,
            RunState::Running => depth.running = runs,
            RunState::Parked => depth.parked = runs,
            RunState::Paused => depth.paused = runs,
            RunState::Dead => depth.dead = runs,
            RunState::Succeeded | RunState::Failed | RunState::Cancelled => {}
        }
    }
    Ok(Json(QueueView {
        depth,
        oldest_claimable_at: stats.oldest.map(|at| at.to_string()),
        oldest_claimable_s: stats.oldest.map_or(0.0, |at| clock::now().since(at).as_secs_f64()),
        max_queued: state.backlog.max(),
        limits: views.try_collect().await?,
    }))
}

/// Shows how many runs of a workflow may be held at the same time.
#[utoipa::path(
    get, path = "/v1/queue/limits/{workflow}", tag = "queue", operation_id = "getLimit",
    params(("workflow" = String, Path, description = "The workflow's id")),
    responses(
        (status = 200, body = LimitView, description = "The limit"),
        (status = 404, body = Problem, description = "The workflow has no limit"),
    )
)]
pub async fn get_limit(State(state): State<AppState>, PathOf(id): PathOf<String>) -> ApiResult<Json<LimitView>> {
    let id = workflow(&id)?;
    let limits = state.host.stores.runs.limits(&state.tenant).await?;
    let limit = limits.into_iter().find(|limit| limit.workflow == id);
    let limit = limit.ok_or_else(|| ApiError::not_found("limit of workflow", &id))?;
    Ok(Json(view(&state, limit).await?))
}

/// Sets how many runs of a workflow may be held at the same time, in all processes together.
///
/// Runs that are held already go on. The id may be that of a workflow that is not registered.
#[utoipa::path(
    put, path = "/v1/queue/limits/{workflow}", tag = "queue", operation_id = "setLimit",
    params(("workflow" = String, Path, description = "The workflow's id")),
    request_body = LimitBody,
    responses(
        (status = 200, body = LimitView, description = "The limit"),
        (status = 400, body = Problem, description = "The id or the limit is malformed"),
    )
)]
pub async fn set_limit(
    State(state): State<AppState>,
    PathOf(id): PathOf<String>,
    Doc(body): Doc<LimitBody>,
) -> ApiResult<Json<LimitView>> {
    let workflow = workflow(&id)?;
    durable(async move {
        state.host.stores.runs.limit(&state.tenant, &workflow, Some(body.max)).await?;
        state.worker.arrived();
        Ok(Json(view(&state, ConcurrencyLimit { workflow, max: body.max }).await?))
    })
    .await
}

/// Lifts the limit of a workflow; one that has none stays without.
#[utoipa::path(
    delete, path = "/v1/queue/limits/{workflow}", tag = "queue", operation_id = "liftLimit",
    params(("workflow" = String, Path, description = "The workflow's id")),
    responses(
        (status = 204, description = "The workflow has no limit"),
        (status = 400, body = Problem, description = "The id is malformed"),
    )
)]
pub async fn lift_limit(State(state): State<AppState>, PathOf(id): PathOf<String>) -> ApiResult<StatusCode> {
    let workflow = workflow(&id)?;
    durable(async move {
        state.host.stores.runs.limit(&state.tenant, &workflow, None).await?;
        state.worker.arrived();
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

async fn view(state: &AppState, limit: ConcurrencyLimit) -> ApiResult<LimitView> {
    let count = |run_state| {
        let filter = RunFilter {
            tenant: state.tenant.clone(),
            states: vec![run_state],
            workflow: Some(limit.workflow.clone()),
            ..RunFilter::default()
        };
        state.host.stores.runs.count(filter, COUNTED)
    };
    let (held, queued) = futures::future::try_join(count(RunState::Running), count(RunState::Queued)).await?;
    Ok(LimitView { workflow: limit.workflow.to_string(), max: limit.max, held, queued })
}

fn workflow(id: &str) -> ApiResult<WorkflowId> {
    WorkflowId::new(id).map_err(|e| ApiError::invalid(e.to_string()))
}
