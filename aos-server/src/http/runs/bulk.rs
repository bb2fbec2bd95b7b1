//! Doing one thing to many runs: those that fit a filter, in bounded steps, with a dry run.

mod work;

use aos_core::codes;
use aos_core::keys::Scope;
use aos_core::runs::{RunRecord, RunState};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::asked::Asked;
use crate::http::body::Doc;
use crate::http::problem::{ApiError, ApiResult, Problem};
use crate::http::view::StateName;
use crate::state::{AppState, durable};
use work::{Bulk, Outcome};

/// Errors that are told, and runs that a dry run shows.
const SHOWN: usize = 10;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BulkAction {
    /// Ask open runs to stop.
    Cancel,
    /// Ask open runs to pause.
    Pause,
    /// Let paused runs go on, and take back what was asked of those that are about to pause.
    Resume,
    /// Retry failed runs as new ones, each once, and queue dead runs anew. A run that failed with `ERR_OUTCOME_UNKNOWN` is
    /// for a person to decide and skipped.
    Retry,
    /// Give dead runs up: they are cancelled.
    Discard,
    /// Delete ended runs with their journals.
    Purge,
}

/// Which runs. At least one part has to be there, or `all`.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BulkFilter {
    /// Every run that the action can be done to. Not together with another part.
    pub all: bool,
    /// Only in these states; all that the action can be done to when it is left out, but no dead runs for a purge.
    #[schema(value_type = Vec<StateName>)]
    pub states: Vec<RunState>,
    /// Only of the workflow with this id.
    pub workflow: Option<String>,
    /// Only children of this run. Not for a purge.
    pub parent: Option<String>,
    /// Only those created longer ago than this, for a purge ended longer ago: a whole number with `ms`, `s`, `m`, `h` or
    /// `d`.
    #[schema(example = "30d")]
    pub older_than: Option<String>,
    /// Only those created before this time, RFC 3339. Not together with `older_than`, and not for a purge.
    pub created_before: Option<String>,
}

/// What to do to which runs.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkBody {
    /// What to do.
    pub action: BulkAction,
    /// To which runs.
    pub filter: BulkFilter,
    /// Only say what would be done, and to how many.
    #[serde(default)]
    pub dry_run: bool,
    /// For people; stands in the journals of cancelled runs.
    #[serde(default)]
    pub reason: String,
    /// Take on at most this many, 1 to 100,000: 1,000 when it is left out, 10,000 for a purge.
    #[serde(default)]
    pub max: Option<usize>,
    /// `next` of the answer before, to go on from there.
    #[serde(default)]
    pub cursor: Option<String>,
}

/// What was done, or would be.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(title = "Bulk")]
pub struct BulkView {
    /// What was asked.
    pub action: BulkAction,
    /// Whether nothing was done because only a preview was wanted.
    pub dry_run: bool,
    /// Runs that were taken on; of a dry run, those that fit now.
    pub matched: u64,
    /// Whether there are more: ask again, with `next` as `cursor` if there is one. A dry run counts to 100,000.
    pub more: bool,
    /// Where to go on.
    pub next: Option<String>,
    /// Runs to which it was done.
    pub done: u64,
    /// Runs to which it can't be done, or that were faster.
    pub skipped: u64,
    /// Runs with which something went wrong.
    pub failed: u64,
    /// The first ten of those that were skipped or failed.
    pub errors: Vec<BulkErrorView>,
    /// Of a dry run, the ten newest.
    pub sample: Vec<BulkRunView>,
}

/// Why something was not done to a run.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(title = "BulkError")]
pub struct BulkErrorView {
    /// The run; `null` when it was not about one.
    pub run: Option<String>,
    /// `skipped` or `failed`.
    pub outcome: &'static str,
    /// The stable code.
    pub code: String,
    /// What was wrong.
    pub message: String,
}

/// A run, in short.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(title = "BulkRun")]
pub struct BulkRunView {
    /// Its id.
    pub id: String,
    /// `id@version` of its workflow.
    pub workflow: String,
    /// Where it stands.
    #[schema(value_type = StateName)]
    pub state: RunState,
    /// When it was accepted, RFC 3339.
    pub created_at: String,
    /// When it ended, RFC 3339.
    pub finished_at: Option<String>,
}

/// Cancels, pauses, resumes, retries, discards or deletes the runs that fit a filter.
///
/// A request takes on a bounded number; `more` and `next` say how to go on. With `dry_run` nothing is changed. Runs are
/// taken newest first; a purge deletes those first that ended first, in batches with pauses between them.
#[utoipa::path(
    post, path = "/v1/runs/bulk", tag = "runs", operation_id = "bulkRuns",
    request_body = BulkBody,
    responses(
        (status = 200, body = BulkView, description = "What was done, or would be"),
        (status = 400, body = Problem, description = "The filter is empty, or doesn't go with the action"),
    )
)]
pub async fn bulk_runs(
    State(state): State<AppState>,
    asked: Asked,
    Doc(body): Doc<BulkBody>,
) -> ApiResult<Json<BulkView>> {
    if body.action == BulkAction::Purge && !asked.caller.scope().allows(Scope::Admin) {
        let message = format!("the API key {} has the scope run, and deleting runs needs admin", asked.caller.as_str());
        return Err(ApiError::new(codes::FORBIDDEN, message));
    }
    let bulk = Bulk::new(&state, body, asked)?;
    Ok(Json(durable(async move { bulk.run(&state).await }).await?))
}

impl BulkView {
    fn tell(&mut self, run: Option<String>, outcome: Outcome) {
        let (outcome, failure) = match outcome {
            Outcome::Done => {
                self.done += 1;
                return;
            }
            Outcome::Skipped(failure) => {
                self.skipped += 1;
                ("skipped", failure)
            }
            Outcome::Failed(failure) => {
                self.failed += 1;
                ("failed", failure)
            }
        };
        if self.errors.len() < SHOWN {
            let (code, message) = (failure.code.to_string(), failure.message);
            self.errors.push(BulkErrorView { run, outcome, code, message });
        }
    }
}

impl From<RunRecord> for BulkRunView {
    fn from(record: RunRecord) -> Self {
        Self {
            id: record.new.run.to_string(),
            workflow: record.new.workflow.to_string(),
            state: record.state,
            created_at: record.created_at.to_string(),
            finished_at: record.finished_at.map(|at| at.to_string()),
        }
    }
}
