//! How many runs wait to be begun: counted in the background, so that nobody who creates one has to.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aos_core::id::TenantId;
use aos_core::runs::{RunFilter, RunState, RunStore, StoreError};
use aos_core::{Failure, codes};
use tokio_util::sync::CancellationToken;

use crate::state::AppState;

/// How often it is counted.
const EVERY: Duration = Duration::from_secs(1);

/// When to try again what was refused.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The queue's depth as far as this process knows, and its bound.
#[derive(Debug, Default)]
pub struct Backlog {
    /// No run is accepted beyond this many; 0 for no bound.
    max: u64,
    counted: AtomicU64,
    /// What this process has put there since it was counted.
    since: AtomicU64,
}

impl Backlog {
    /// An empty one with a bound; 0 for none.
    pub fn new(max: u64) -> Self {
        Self { max, ..Self::default() }
    }

    /// The bound, if there is one.
    pub fn max(&self) -> Option<u64> {
        Some(self.max).filter(|max| *max > 0)
    }

    /// Makes sure that there is room for one more run.
    ///
    /// # Errors
    /// [`codes::QUEUE_FULL`], and when to try again.
    pub fn admit(&self) -> Result<(), Failure> {
        let depth = self.counted.load(Ordering::Relaxed).saturating_add(self.since.load(Ordering::Relaxed));
        if self.max().is_none_or(|max| depth < max) {
            return Ok(());
        }
        let message = format!("{depth} runs or more wait, and AOS_MAX_QUEUED is {}", self.max);
        Err(Failure::new(codes::QUEUE_FULL, message).retry_after(RETRY_AFTER))
    }

    /// One more run waits.
    pub fn queued(&self) {
        self.since.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts anew, no further than the bound.
    async fn count(&self, runs: &dyn RunStore, tenant: &TenantId) -> Result<(), StoreError> {
        let since = self.since.load(Ordering::Relaxed);
        let queued = RunFilter { tenant: tenant.clone(), states: vec![RunState::Queued], ..RunFilter::default() };
        self.counted.store(runs.count(queued, self.max).await?, Ordering::Relaxed);
        self.since.fetch_sub(since, Ordering::Relaxed);
        Ok(())
    }
}

/// Keeps the backlog up to date.
pub async fn keep_counting(state: AppState, done: CancellationToken) {
    if state.backlog.max().is_none() {
        return;
    }
    loop {
        // What was counted last stands until the store answers again.
        if let Err(error) = state.backlog.count(&*state.host.stores.runs, &state.tenant).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "counting the queued runs failed");
        }
        tokio::select! {
            () = done.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}
