//! Doing one thing to many runs: those that fit a filter, in bounded steps, with a dry run.

use std::time::Duration;

use aos_core::runs::{Message, PurgeFilter, RunFilter, RunRecord, RunState, StoreError};
use aos_core::time::Timestamp;
use aos_core::{Failure, codes};
use axum::Json;
use axum::extract::State;
use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::body::Doc;
use crate::http::problem::{ApiError, ApiResult, Problem};
use crate::http::request_id::RequestId;
use crate::http::runs::act::short;
use crate::http::runs::filter;
use crate::http::runs::retry::{again, revive};
use crate::http::view::StateName;
use crate::state::{AppState, durable};

/// Runs that one request takes on, unless it says otherwise.
const STEP: usize = 1_000;
/// The same of a purge, which is cheaper.
const PURGE_STEP: usize = 10_000;
/// Runs that one request takes on at most.
const MAX_STEP: usize = 100_000;

/// Runs listed at a time.
const PAGE: usize = 100;
/// Runs worked on at a time; other requests need the store too.
const AT_ONCE: usize = 8;

/// Runs deleted at a time, and the pause after them: claims and appends go in between.
const BATCH: usize = 500;
const PAUSE: Duration = Duration::from_millis(50);

/// A dry run counts no further.
const COUNTED: u64 = 100_000;
/// Runs that a dry run shows, and errors that are told.
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
    request_id: RequestId,
    Doc(body): Doc<BulkBody>,
) -> ApiResult<Json<BulkView>> {
    let bulk = Bulk::new(&state, body, request_id.as_str())?;
    let view = durable(async move {
        match (bulk.dry_run, bulk.action) {
            (true, _) => bulk.preview(&state).await,
            (false, BulkAction::Purge) => bulk.purge(&state).await,
            (false, _) => bulk.each(&state).await,
        }
    });
    Ok(Json(view.await?))
}

/// A bulk operation, checked.
struct Bulk {
    action: BulkAction,
    filter: RunFilter,
    dry_run: bool,
    reason: String,
    max: usize,
    request_id: String,
}

impl BulkAction {
    /// The states of the runs that it is done to when none are named, and those that may be named besides.
    const fn states(self) -> (&'static [RunState], &'static [RunState]) {
        use RunState::{Cancelled, Dead, Failed, Parked, Paused, Queued, Running, Succeeded};
        match self {
            Self::Cancel => (&[Queued, Running, Parked, Paused], &[]),
            Self::Pause => (&[Queued, Running, Parked], &[]),
            Self::Resume => (&[Running, Paused], &[]),
            Self::Retry => (&[Failed, Dead], &[]),
            Self::Discard => (&[Dead], &[]),
            Self::Purge => (&[Succeeded, Failed, Cancelled], &[Dead]),
        }
    }

    /// Whether it means something for the run, apart from its state.
    fn concerns(self, record: &RunRecord) -> bool {
        self != Self::Resume || record.pausing || record.state == RunState::Paused
    }
}

impl Bulk {
    fn new(state: &AppState, body: BulkBody, request_id: &str) -> ApiResult<Self> {
        let BulkBody { action, filter, dry_run, reason, max, cursor } = body;
        short("reason", &reason)?;
        let max = max.unwrap_or(if action == BulkAction::Purge { PURGE_STEP } else { STEP });
        if !(1..=MAX_STEP).contains(&max) {
            return Err(ApiError::invalid(format!("\"max\" is {max}: expected 1 to {MAX_STEP}")));
        }
        let BulkFilter { all, states, workflow, parent, older_than, created_before } = filter;
        let narrows =
            !states.is_empty() || [&workflow, &parent, &older_than, &created_before].iter().any(|part| part.is_some());
        match (all, narrows) {
            (false, false) => {
                return Err(ApiError::invalid(
                    "the filter is empty: name states, a workflow, a parent or an age, or say \"all\": true",
                ));
            }
            (true, true) => {
                return Err(ApiError::invalid("\"all\" goes with no other part of a filter: leave one out"));
            }
            _ => {}
        }
        let (default, besides) = action.states();
        if let Some(odd) = states.iter().find(|state| !default.contains(state) && !besides.contains(state)) {
            let fit: Vec<_> = default.iter().chain(besides).map(|state| state.as_str()).collect();
            return Err(ApiError::invalid(format!(
                "\"states\" has {:?}, which doesn't go with this action: expected {}",
                odd.as_str(),
                fit.join(", ")
            )));
        }
        let before = filter::before(state.now(), created_before.as_deref(), older_than.as_deref())?;
        if action == BulkAction::Purge && (parent.is_some() || created_before.is_some()) {
            return Err(ApiError::invalid("a purge goes by states, workflow and older_than: leave the rest out"));
        }
        let (created_before, ended_before) = match action {
            BulkAction::Purge => (None, Some(before.unwrap_or(Timestamp::MAX))),
            _ => (before, None),
        };
        let filter = RunFilter {
            tenant: state.tenant.clone(),
            states: if states.is_empty() { default.to_vec() } else { states },
            workflow: filter::workflow(workflow)?,
            parent: filter::parent(parent)?,
            created_before,
            ended_before,
            cursor,
            limit: PAGE,
        };
        Ok(Self { action, filter, dry_run, reason, max, request_id: request_id.to_owned() })
    }

    /// Counts, and shows a few.
    async fn preview(self, state: &AppState) -> ApiResult<BulkView> {
        let runs = &state.host.stores.runs;
        let mut counting = self.filter.clone();
        let mut pausing = 0;
        if self.action == BulkAction::Resume {
            // No more runs are running than there are workers for.
            counting.states.retain(|state| *state != RunState::Running);
            pausing = self.pausing(state).await?;
        }
        let idle = counting.states.is_empty();
        let counted = if idle { 0 } else { runs.count(counting, COUNTED + 1).await? };
        let page = runs.list(self.filter.clone()).await?;
        let concerned = page.runs.into_iter().filter(|record| self.action.concerns(record));
        let mut view = self.view();
        view.sample = concerned.take(SHOWN).map(BulkRunView::from).collect();
        view.matched = counted.min(COUNTED) + pausing;
        view.more = counted > COUNTED;
        Ok(view)
    }

    /// How many running runs were asked to pause.
    async fn pausing(&self, state: &AppState) -> ApiResult<u64> {
        if !self.filter.states.contains(&RunState::Running) {
            return Ok(0);
        }
        let mut filter = RunFilter { states: vec![RunState::Running], ..self.filter.clone() };
        let mut pausing = 0;
        loop {
            let page = state.host.stores.runs.list(filter.clone()).await?;
            pausing += page.runs.iter().filter(|record| record.pausing).count() as u64;
            match page.next {
                Some(next) => filter.cursor = Some(next),
                None => return Ok(pausing),
            }
        }
    }

    /// Deletes in batches.
    async fn purge(self, state: &AppState) -> ApiResult<BulkView> {
        let filter = PurgeFilter {
            tenant: self.filter.tenant.clone(),
            states: self.filter.states.clone(),
            workflow: self.filter.workflow.clone(),
            ended_before: self.filter.ended_before.unwrap_or_default(),
        };
        let mut view = self.view();
        loop {
            let wanted = BATCH.min(self.max - usize::try_from(view.done).unwrap_or(self.max));
            match state.host.stores.runs.purge(&filter, wanted).await {
                Ok(deleted) => {
                    view.done += deleted;
                    view.more = deleted >= wanted as u64;
                }
                Err(error) if view.done == 0 => return Err(error.into()),
                Err(error) => {
                    view.tell(None, Outcome::Failed(error.into()));
                    view.more = true;
                    break;
                }
            }
            if !view.more || view.done >= self.max as u64 {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        view.matched = view.done;
        tracing::info!(deleted = view.done, "ended runs were deleted");
        Ok(view)
    }

    /// Does it to one run after the other, a few at a time.
    async fn each(self, state: &AppState) -> ApiResult<BulkView> {
        let mut view = self.view();
        let mut filter = self.filter.clone();
        let mut left = self.max;
        loop {
            filter.limit = PAGE.min(left);
            let page = match state.host.stores.runs.list(filter.clone()).await {
                Ok(page) => page,
                Err(error) if view.matched == 0 => return Err(error.into()),
                // What was done stays done: the caller can go on from here.
                Err(error) => {
                    view.tell(None, Outcome::Failed(error.into()));
                    (view.more, view.next) = (true, filter.cursor);
                    break;
                }
            };
            left = left.saturating_sub(page.runs.len());
            let concerned = page.runs.into_iter().filter(|record| self.action.concerns(record));
            let mut doing = stream::iter(concerned).map(|record| self.one(state, record)).buffered(AT_ONCE);
            while let Some((run, outcome)) = doing.next().await {
                view.matched += 1;
                view.tell(Some(run), outcome);
            }
            (view.more, view.next) = (page.next.is_some(), page.next.clone());
            if page.next.is_none() || left == 0 {
                break;
            }
            filter.cursor = page.next;
        }
        state.worker.arrived();
        let (done, skipped, failed) = (view.done, view.skipped, view.failed);
        tracing::info!(action = ?self.action, done, skipped, failed, "a bulk operation");
        Ok(view)
    }

    async fn one(&self, state: &AppState, record: RunRecord) -> (String, Outcome) {
        let (runs, tenant, run) = (&state.host.stores.runs, &state.tenant, &record.new.run);
        let reason = if self.reason.is_empty() { "cancelled with others" } else { &self.reason };
        let done = match self.action {
            BulkAction::Cancel => runs
                .send(tenant, run, Message::Cancel { reason: reason.to_owned() })
                .await
                .map(drop)
                .map_err(Failure::from),
            BulkAction::Pause => runs.pause(tenant, run).await.map(drop).map_err(Failure::from),
            BulkAction::Resume => runs.resume(tenant, run).await.map(drop).map_err(Failure::from),
            BulkAction::Discard => discard(state, &record, &self.reason).await.map(drop).map_err(Failure::from),
            BulkAction::Retry => return (run.to_string(), self.retry(state, &record).await),
            // Done in batches.
            BulkAction::Purge => Ok(()),
        };
        (run.to_string(), Outcome::of(done))
    }

    async fn retry(&self, state: &AppState, record: &RunRecord) -> Outcome {
        if record.state == RunState::Dead {
            return Outcome::of(revive(state, record).await.map(drop).map_err(|error| error.failure().clone()));
        }
        if record.failure.as_ref().is_some_and(|failure| failure.code == codes::OUTCOME_UNKNOWN) {
            let message = "nobody knows whether its last effect was done: find out, and retry it by itself";
            return Outcome::Skipped(Failure::new(codes::OUTCOME_UNKNOWN, message));
        }
        // One key for each run: doing it twice retries nothing twice.
        let key = format!("aos-retry-{}", record.new.run);
        match again(state, record, Some(key), self.request_id.clone()).await {
            Ok(begun) if begun.is_new => Outcome::Done,
            Ok(begun) => {
                let message = format!("it was retried before, as run {}", begun.record.new.run);
                Outcome::Skipped(Failure::new(codes::CONFLICT, message))
            }
            Err(error) => Outcome::of(Err(error.failure().clone())),
        }
    }

    fn view(&self) -> BulkView {
        BulkView {
            action: self.action,
            dry_run: self.dry_run,
            matched: 0,
            more: false,
            next: None,
            done: 0,
            skipped: 0,
            failed: 0,
            errors: Vec::new(),
            sample: Vec::new(),
        }
    }
}

/// Gives a dead run up for good.
pub(in crate::http) async fn discard(
    state: &AppState,
    record: &RunRecord,
    reason: &str,
) -> Result<RunRecord, StoreError> {
    let died = record.failure.as_ref().map(|failure| format!("; it was dead: {failure}")).unwrap_or_default();
    let reason = if reason.is_empty() { "discarded by an operator" } else { reason };
    let failure = Failure::new(codes::CANCELLED, format!("{reason}{died}"));
    state.host.stores.runs.discard(&state.tenant, &record.new.run, failure).await
}

enum Outcome {
    Done,
    Skipped(Failure),
    Failed(Failure),
}

impl Outcome {
    /// What contradicts the run's state now is no error: somebody, or the run itself, was faster.
    fn of(done: Result<(), Failure>) -> Self {
        match done {
            Ok(()) => Self::Done,
            Err(failure) if failure.code == codes::CONFLICT || failure.code == codes::NOT_FOUND => {
                Self::Skipped(failure)
            }
            Err(failure) => Self::Failed(failure),
        }
    }
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
