//! Looking at runs.

use aos_core::runs::RunFilter;
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Deserialize;

use crate::http::params::{Params, PathOf, run_id, wait};
use crate::http::problem::{ApiError, ApiResult, Problem};
use crate::http::runs::wait::for_end;
use crate::http::runs::{filter, find};
use crate::http::view::{RunList, RunView};
use crate::state::AppState;
use crate::waits::Waits;

/// The longest page.
const MAX_LIMIT: usize = 200;

/// What a run waits for is read from its journal, up to this many entries.
const MAX_ENTRIES: u64 = 10_000;

/// Which runs to list.
#[derive(Clone, Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Only runs in these states, separated by commas.
    #[param(example = "queued,running,parked")]
    pub state: Option<String>,
    /// Only runs of the workflow with this id.
    pub workflow: Option<String>,
    /// Only children of this run.
    pub parent: Option<String>,
    /// Only runs created before this time, RFC 3339.
    #[param(example = "2026-11-24T09:30:00Z")]
    pub created_before: Option<String>,
    /// Only runs created longer ago than this: a whole number with `ms`, `s`, `m`, `h` or `d`. Not together with
    /// `created_before`.
    #[param(example = "7d")]
    pub older_than: Option<String>,
    /// `next` of the page before.
    pub cursor: Option<String>,
    /// At most this many, 1 to 200; 50 when it is left out.
    pub limit: Option<usize>,
}

/// How to look at a run.
#[derive(Clone, Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct GetQuery {
    /// Answer when the run has ended, or after this time: a number with `ms`, `s` or `m`, at most 300s.
    #[param(example = "30s")]
    pub wait: Option<String>,
}

/// Lists runs, newest first.
#[utoipa::path(
    get, path = "/v1/runs", tag = "runs", operation_id = "listRuns",
    params(ListQuery),
    responses((status = 200, body = RunList, description = "One page"))
)]
pub async fn list_runs(State(state): State<AppState>, Params(query): Params<ListQuery>) -> ApiResult<Json<RunList>> {
    let page = state.host.stores.runs.list(filter(&state, query)?).await?;
    Ok(Json(RunList { runs: page.runs.into_iter().map(RunView::from).collect(), next: page.next }))
}

/// Gives a run.
#[utoipa::path(
    get, path = "/v1/runs/{id}", tag = "runs", operation_id = "getRun",
    params(("id" = String, Path, description = "The run's id"), GetQuery,
        ("Prefer" = Option<String>, Header, description = "`wait=30` waits up to 30 s for the end of the run")),
    responses(
        (status = 200, body = RunView, description = "The run; with `wait`, as it stands when it has ended or the time is up"),
        (status = 404, body = Problem, description = "There is no such run"),
    )
)]
pub async fn get_run(
    State(state): State<AppState>,
    PathOf(id): PathOf<String>,
    Params(query): Params<GetQuery>,
    headers: HeaderMap,
) -> ApiResult<Json<RunView>> {
    let run = run_id(&id)?;
    let record = match wait(query.wait.as_deref(), &headers)? {
        None => find(&state, &run).await?,
        Some(wait) => {
            let watch = state.hub.watch(&run);
            let record = find(&state, &run).await?;
            for_end(&state, watch, record, wait).await?
        }
    };
    let waits = match record.state.is_terminal() {
        true => None,
        false => Waits::read(&state.host, &record, MAX_ENTRIES).await?,
    };
    let waiting_for = waits.map(|waits| waits.list().into_iter().map(Into::into).collect());
    Ok(Json(RunView { waiting_for, ..record.into() }))
}

fn filter(state: &AppState, query: ListQuery) -> ApiResult<RunFilter> {
    let limit = query.limit.unwrap_or(50);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(ApiError::invalid(format!("limit is {limit}: expected 1 to {MAX_LIMIT}")));
    }
    Ok(RunFilter {
        tenant: state.tenant.clone(),
        states: filter::states(query.state.as_deref().unwrap_or_default())?,
        workflow: filter::workflow(query.workflow)?,
        parent: filter::parent(query.parent)?,
        created_before: filter::before(state.now(), query.created_before.as_deref(), query.older_than.as_deref())?,
        ended_before: None,
        cursor: query.cursor,
        limit,
    })
}
