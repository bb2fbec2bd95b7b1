//! Retrying: a failed run as a new one from what failed it, a dead run as it is.

use aos_core::replay::{Retry, retry};
use aos_core::runs::{NewRun, RunRecord, RunState};
use aos_core::{Failure, codes};
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};

use crate::history::History;
use crate::http::asked::Asked;
use crate::http::dead_letters::revive;
use crate::http::params::{Params, PathOf, idempotency_key, run_id, wait};
use crate::http::problem::{ApiError, ApiResult, Problem};
use crate::http::runs::create::{CreateQuery, new_id};
use crate::http::runs::find;
use crate::http::runs::fork::{Begun, answer, begin};
use crate::http::view::RunView;
use crate::state::{AppState, durable};

/// Retries a run that failed or died.
///
/// Of a failed run, a new one is made with the same history, in which what failed the run has not ended yet: it is done
/// anew, and everything that ended well stays. It is refused where something of a `once` skill would be done twice. A dead
/// run is queued again and goes on itself.
#[utoipa::path(
    post, path = "/v1/runs/{id}/retry", tag = "runs", operation_id = "retryRun",
    params(("id" = String, Path, description = "The run's id"), CreateQuery,
        ("Idempotency-Key" = Option<String>, Header, description = "Names this retry of a failed run, 1 to 255 characters")),
    responses(
        (status = 200, body = RunView, description = "The run was dead and is queued again; or this key has retried it before"),
        (status = 201, body = RunView, description = "The new run; with `wait`, it has ended"),
        (status = 202, body = RunView, description = "The new run, which has not ended within `wait`"),
        (status = 404, body = Problem, description = "There is no such run"),
        (status = 409, body = Problem, description = "The run is neither failed nor dead, or can't be retried: the detail says why"),
        (status = 422, body = Problem, description = "The run's journal is damaged"),
    )
)]
pub async fn retry_run(
    State(state): State<AppState>,
    PathOf(id): PathOf<String>,
    Params(query): Params<CreateQuery>,
    headers: HeaderMap,
    asked: Asked,
) -> ApiResult<Response> {
    let wait = wait(query.wait.as_deref(), &headers)?;
    let key = idempotency_key(&headers)?;
    let original = find(&state, &run_id(&id)?).await?;
    let owned = state.clone();
    match original.state {
        RunState::Dead => {
            let revived = durable(async move { revive(&owned, &original).await }).await?;
            Ok(Json(RunView::from(revived)).into_response())
        }
        RunState::Failed => {
            let begun = durable(async move { again(&owned, &original, key, &asked).await }).await?;
            answer(&state, begun, wait).await
        }
        other => Err(refused(&original, other)),
    }
}

/// Begins the retry of a failed run.
pub(super) async fn again(
    state: &AppState,
    original: &RunRecord,
    idempotency_key: Option<String>,
    asked: &Asked,
) -> ApiResult<Begun> {
    let history = History::read(&state.host, original).await?;
    let (flows, run, now) = (state.host.flows.clone(), new_id()?, state.now());
    let new = run.clone();
    // A long journal takes a while.
    let retrying =
        tokio::task::spawn_blocking(move || retry(&history.plan, &flows, &history.lines, &history.blob(), new, now));
    let Retry { fork, lines, blobs } = retrying
        .await
        .map_err(|e| Failure::new(codes::INTERNAL, format!("reading the history did not come to an end: {e}")))??;
    let new = NewRun {
        run,
        parent: None,
        forked_from: Some(fork),
        idempotency_key,
        request_id: Some(asked.request_id.as_str().to_owned()),
        trace: Some(asked.trace),
        start_at: None,
        ..original.new.clone()
    };
    begin(state, new, (lines, blobs)).await
}

fn refused(record: &RunRecord, state: RunState) -> ApiError {
    let advice = match state {
        RunState::Succeeded | RunState::Cancelled => "fork it at an effect, or start it anew",
        RunState::Paused => "resume it",
        _ => "wait for its end, or cancel it",
    };
    let message = format!("run {} is {}, and neither failed nor dead: {advice}", record.new.run, state.as_str());
    ApiError::new(codes::CONFLICT, message)
}
