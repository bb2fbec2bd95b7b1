//! How bulk operations are done: in pages or batches, within bounds.

use std::time::Duration;

use aos_core::runs::{Message, PurgeFilter, RunFilter, RunRecord, RunState};
use aos_core::time::Timestamp;
use aos_core::{Failure, codes};
use futures::{StreamExt, stream};

use super::{BulkAction, BulkBody, BulkFilter, BulkRunView, BulkView, SHOWN};
use crate::http::asked::Asked;
use crate::http::dead_letters::{discard, revive};
use crate::http::problem::{ApiError, ApiResult};
use crate::http::runs::act::short;
use crate::http::runs::filter;
use crate::http::runs::retry::again;
use crate::state::AppState;

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

/// A bulk operation, checked.
pub(super) struct Bulk {
    action: BulkAction,
    filter: RunFilter,
    dry_run: bool,
    reason: String,
    max: usize,
    asked: Asked,
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
    /// Checks that filter and action go together.
    pub(super) fn new(state: &AppState, body: BulkBody, asked: Asked) -> ApiResult<Self> {
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
        Ok(Self { action, filter, dry_run, reason, max, asked })
    }

    /// Does it, or says what would be done.
    pub(super) async fn run(self, state: &AppState) -> ApiResult<BulkView> {
        match (self.dry_run, self.action) {
            (true, _) => self.preview(state).await,
            (false, BulkAction::Purge) => self.purge(state).await,
            (false, _) => self.each(state).await,
        }
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
            return Outcome::of(revive(state, record).await.map(drop).map_err(Failure::from));
        }
        if record.failure.as_ref().is_some_and(|failure| failure.code == codes::OUTCOME_UNKNOWN) {
            let message = "nobody knows whether its last effect was done: find out, and retry it by itself";
            return Outcome::Skipped(Failure::new(codes::OUTCOME_UNKNOWN, message));
        }
        // One key for each run: doing it twice retries nothing twice.
        let key = format!("aos-retry-{}", record.new.run);
        match again(state, record, Some(key), &self.asked).await {
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

/// What became of one run.
pub(super) enum Outcome {
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
