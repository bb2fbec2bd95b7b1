//! The queue: how many runs wait, how many of a workflow may be held, and how many attempts of a skill be under way, at
//! the same time.

use aos_core::id::{SkillId, WorkflowId};
use aos_core::queue::ConcurrencyLimit;
use aos_core::runs::{RunFilter, RunState};
use aos_core::slots::SkillLimit;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
    /// Skills of which not more than so many attempts are under way at the same time.
    pub skill_limits: Vec<SkillLimitView>,
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

/// How many attempts of one skill are under way at the same time.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(title = "SkillLimit")]
pub struct SkillLimitView {
    /// The skill's id, whatever the version.
    pub skill: String,
    /// At most this many; 0 holds them all back.
    pub max: u32,
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
        oldest_claimable_s: stats.oldest.map_or(0.0, |at| state.now().since(at).as_secs_f64()),
        max_queued: state.backlog.max(),
        limits: views.try_collect().await?,
        skill_limits: state.control.slots.limits(&state.tenant).await?.into_iter().map(Into::into).collect(),
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

/// Shows how many attempts of a skill may be under way at the same time.
#[utoipa::path(
    get, path = "/v1/queue/skill-limits/{skill}", tag = "queue", operation_id = "getSkillLimit",
    params(("skill" = String, Path, description = "The skill's id")),
    responses(
        (status = 200, body = SkillLimitView, description = "The limit"),
        (status = 404, body = Problem, description = "The skill has no limit"),
    )
)]
pub async fn get_skill_limit(
    State(state): State<AppState>,
    PathOf(id): PathOf<String>,
) -> ApiResult<Json<SkillLimitView>> {
    let id = skill(&id)?;
    let limits = state.control.slots.limits(&state.tenant).await?;
    let limit = limits.into_iter().find(|limit| limit.skill == id);
    Ok(Json(limit.ok_or_else(|| ApiError::not_found("limit of skill", &id))?.into()))
}

/// Sets how many attempts of a skill may be under way at the same time, in all processes together.
///
/// Attempts that are under way already go on. Every process keeps the limit from a second later on.
#[utoipa::path(
    put, path = "/v1/queue/skill-limits/{skill}", tag = "queue", operation_id = "setSkillLimit",
    params(("skill" = String, Path, description = "The skill's id")),
    request_body = LimitBody,
    responses(
        (status = 200, body = SkillLimitView, description = "The limit"),
        (status = 400, body = Problem, description = "The id or the limit is malformed"),
    )
)]
pub async fn set_skill_limit(
    State(state): State<AppState>,
    PathOf(id): PathOf<String>,
    Doc(body): Doc<LimitBody>,
) -> ApiResult<Json<SkillLimitView>> {
    let skill = skill(&id)?;
    durable(async move {
        state.control.slots.limit(&state.tenant, &skill, Some(body.max)).await?;
        Ok(Json(SkillLimit { skill, max: body.max }.into()))
    })
    .await
}

/// Lifts the limit of a skill; one that has none stays without.
#[utoipa::path(
    delete, path = "/v1/queue/skill-limits/{skill}", tag = "queue", operation_id = "liftSkillLimit",
    params(("skill" = String, Path, description = "The skill's id")),
    responses(
        (status = 204, description = "The skill has no limit"),
        (status = 400, body = Problem, description = "The id is malformed"),
    )
)]
pub async fn lift_skill_limit(State(state): State<AppState>, PathOf(id): PathOf<String>) -> ApiResult<StatusCode> {
    let skill = skill(&id)?;
    durable(async move {
        state.control.slots.limit(&state.tenant, &skill, None).await?;
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

impl From<SkillLimit> for SkillLimitView {
    fn from(limit: SkillLimit) -> Self {
        Self { skill: limit.skill.to_string(), max: limit.max }
    }
}

fn skill(id: &str) -> ApiResult<SkillId> {
    SkillId::new(id).map_err(|e| ApiError::invalid(e.to_string()))
}

fn workflow(id: &str) -> ApiResult<WorkflowId> {
    WorkflowId::new(id).map_err(|e| ApiError::invalid(e.to_string()))
}
