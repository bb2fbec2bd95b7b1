//! Replaying runs, and taking them home as golden files.

use aos_core::replay::ReplayError;
use aos_core::replay::golden::GoldenFile;
use aos_core::{Failure, codes};
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::history::History;
use crate::http::params::{Params, PathOf, run_id};
use crate::http::problem::{ApiError, ApiResult, Problem};
use crate::http::runs::find;
use crate::http::view::FailureView;
use crate::state::AppState;
use crate::worker::verify::examine;

/// What a replay has found.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReplayView {
    /// The run.
    pub run: String,
    /// `match`, `drift`, or `failed` when the journal is damaged.
    #[schema(example = "match")]
    pub result: &'static str,
    /// The content hash that came out; `null` when the run has not ended or the replay broke off.
    pub content_hash: Option<String>,
    /// The content hash that the run was recorded with.
    pub expected_content_hash: Option<String>,
    /// SHA-256 of the last entry.
    pub chain_hash: Option<String>,
    /// Entries in the journal.
    pub entries: u64,
    /// The first place where program and journal disagree.
    pub drift: Option<DriftView>,
    /// What is wrong, when something is.
    pub error: Option<FailureView>,
}

/// The first place where program and journal disagree.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DriftView {
    /// In what they disagree.
    #[schema(example = "output")]
    pub class: String,
    /// About which effect; `null` for the run as a whole.
    pub effect: Option<String>,
    /// Index of the journal entry.
    pub index: u64,
    /// What the journal says.
    pub expected: Value,
    /// What the program did.
    pub actual: Value,
    /// The difference, for people.
    pub text: String,
}

/// Replays a run from its journal: no skill is called, nothing changes.
#[utoipa::path(
    post, path = "/v1/runs/{id}/replay", tag = "runs", operation_id = "replayRun",
    params(("id" = String, Path, description = "The run's id")),
    responses(
        (status = 200, body = ReplayView, description = "What came out, drift included"),
        (status = 404, body = Problem, description = "There is no such run"),
    )
)]
pub async fn replay_run(State(state): State<AppState>, PathOf(id): PathOf<String>) -> ApiResult<Json<ReplayView>> {
    let record = find(&state, &run_id(&id)?).await?;
    let report = examine(&state.host, &record).await?;
    let drift = match &report.error {
        Some(ReplayError::Drift(drift)) => Some(DriftView {
            class: drift.class.to_string(),
            effect: drift.effect.as_ref().map(ToString::to_string),
            index: drift.index,
            expected: drift.expected.clone(),
            actual: drift.actual.clone(),
            text: drift.to_string(),
        }),
        _ => None,
    };
    let result = report.result();
    let differs = report.problem.clone().map(|problem| Failure::new(codes::DRIFT, problem));
    Ok(Json(ReplayView {
        run: record.new.run.to_string(),
        result,
        content_hash: report.content_hash.map(|hash| hash.to_string()),
        expected_content_hash: record.content_hash.map(|hash| hash.to_string()),
        chain_hash: report.chain_hash.map(|hash| hash.to_string()),
        entries: report.entries,
        drift,
        error: report.error.map(Failure::from).or(differs).map(Into::into),
    }))
}

/// What to write into a golden file.
#[derive(Clone, Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct GoldenQuery {
    /// What this run is about, for people.
    #[serde(default)]
    pub note: String,
}

/// Gives an ended run as a golden file: plan, payloads and journal, to be replayed anywhere.
#[utoipa::path(
    get, path = "/v1/runs/{id}/golden", tag = "runs", operation_id = "getGolden",
    params(("id" = String, Path, description = "The run's id"), GoldenQuery),
    responses(
        (status = 200, body = String, content_type = "application/x-ndjson", description = "The golden file"),
        (status = 404, body = Problem, description = "There is no such run"),
        (status = 409, body = Problem, description = "The run has not ended, or its replay drifts"),
    )
)]
pub async fn get_golden(
    State(state): State<AppState>,
    PathOf(id): PathOf<String>,
    Params(query): Params<GoldenQuery>,
) -> ApiResult<Response> {
    let record = find(&state, &run_id(&id)?).await?;
    if record.content_hash.is_none() {
        return Err(ApiError::new(
            codes::CONFLICT,
            format!(
                "the run {} is {}: a golden file holds a run that has ended",
                record.new.run,
                record.state.as_str()
            ),
        ));
    }
    let (plan, lines, blobs) = History::read(&state.host, &record).await?.with_books(&state.host).await?.into_ordered();
    let flows = state.host.flows.clone();
    let recording = tokio::task::spawn_blocking(move || {
        GoldenFile::record(plan, &flows, lines, blobs, query.note).map(|golden| golden.to_string())
    });
    let golden = recording
        .await
        .map_err(|e| Failure::new(codes::INTERNAL, format!("the replay did not come to an end: {e}")))?
        .map_err(Failure::from)?;
    let name = format!("attachment; filename=\"{}.jsonl\"", record.new.run);
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson".into()), (header::CONTENT_DISPOSITION, name)], golden)
        .into_response())
}
