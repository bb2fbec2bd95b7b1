//! Workers: which processes advance runs, as they say of themselves.

use aos_core::time::Timestamp;
use aos_core::workers::WorkerRecord;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::clock;
use crate::http::problem::ApiResult;
use crate::state::AppState;

/// A worker.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(title = "Worker")]
pub struct WorkerView {
    /// Its name, under which it holds leases.
    pub worker: String,
    /// Whether it was heard of in time. One that was not is dead, or cut off from the database.
    pub alive: bool,
    /// What kind of process it is part of: `serve` or `worker`.
    #[schema(example = "worker")]
    pub role: String,
    /// The machine it runs on.
    pub host: String,
    /// Its process there.
    pub pid: u32,
    /// The release it is.
    pub version: String,
    /// How many runs it advances now.
    pub in_hand: u32,
    /// How many it advances at the same time, at most.
    pub concurrency: u32,
    /// Whether it takes on no more runs, because it is about to end.
    pub draining: bool,
    /// When it was first heard of, RFC 3339.
    pub since: String,
    /// When it was last heard of, RFC 3339.
    pub seen_at: String,
    /// How long ago that is, in seconds.
    pub seen_s: f64,
}

/// The workers.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct WorkerList {
    /// By name; those that are dead stay for an hour.
    pub workers: Vec<WorkerView>,
}

/// Lists the workers.
#[utoipa::path(
    get, path = "/v1/workers", tag = "queue", operation_id = "listWorkers",
    responses((status = 200, body = WorkerList, description = "By name"))
)]
pub async fn list_workers(State(state): State<AppState>) -> ApiResult<Json<WorkerList>> {
    let now = clock::now();
    let workers = state.control.workers.list().await?;
    Ok(Json(WorkerList { workers: workers.into_iter().map(|worker| view(worker, now)).collect() }))
}

fn view(record: WorkerRecord, now: Timestamp) -> WorkerView {
    let report = record.report;
    WorkerView {
        worker: report.worker.to_string(),
        alive: record.alive,
        role: report.role,
        host: report.host,
        pid: report.pid,
        version: report.version,
        in_hand: report.in_hand,
        concurrency: report.concurrency,
        draining: report.draining,
        since: record.since.to_string(),
        seen_at: record.seen_at.to_string(),
        seen_s: now.since(record.seen_at).as_secs_f64(),
    }
}
