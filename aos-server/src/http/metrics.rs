//! The metrics page.

use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::http::problem::ApiResult;
use crate::http::registry::sizes;
use crate::state::AppState;

/// How long the store may take to count; the page is given without fresh numbers after that.
const PATIENCE: Duration = Duration::from_secs(1);

/// Gives all metrics in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "health", operation_id = "metrics",
    responses((status = 200, body = String, content_type = "text/plain", description = "The metrics page")))]
pub async fn metrics(State(state): State<AppState>) -> ApiResult<Response> {
    let (skills, workflows) = sizes(&state.registry);
    state.metrics.registry_size("skill", skills);
    state.metrics.registry_size("workflow", workflows);
    state.metrics.workers(u64::from(state.worker.has_slots()), state.worker.in_hand() as u64);
    if let Ok(Ok(stats)) = tokio::time::timeout(PATIENCE, state.host.stores.runs.stats()).await {
        for (run_state, runs) in stats.by_state {
            state.metrics.queue_depth(run_state, runs);
        }
        let waited = stats.oldest.map_or(Duration::ZERO, |oldest| state.now().since(oldest));
        state.metrics.queue_oldest(waited);
    }
    let page = state.metrics.page()?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page).into_response())
}
