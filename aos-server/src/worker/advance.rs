//! Advancing one run in a task of its own.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aos_core::Failure;
use aos_core::driver::Driven;
use aos_core::event::RunFinished;
use aos_core::id::{RunId, TenantId};
use aos_core::runs::{Claim, Lease, RunRecord};
use futures::FutureExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::clock;
use crate::worker::{Held, Worker, lock};

/// How long a run rests that could not be advanced for a reason that may pass.
const REST: Duration = Duration::from_secs(1);

impl Worker {
    pub(super) fn start(&self, claim: Claim, permit: OwnedSemaphorePermit) {
        let key = (claim.lease.tenant.clone(), claim.lease.run.clone());
        let epoch = claim.lease.epoch;
        let let_go = CancellationToken::new();
        let held = Held { lease: claim.lease.clone(), let_go: let_go.clone() };
        lock(&self.0.held).insert(key.clone(), held);
        let worker = self.clone();
        let request_id = claim.record.new.request_id.clone();
        // Not a child of the request's span: the run outlives it, and its lines have the request id of their own.
        let span = tracing::info_span!(parent: None, "run", run = %claim.lease.run, request_id = tracing::field::Empty);
        if let Some(id) = request_id {
            span.record("request_id", tracing::field::display(id));
        }
        let task = async move {
            tokio::select! {
                () = let_go.cancelled() => tracing::warn!("let go of the run"),
                () = worker.advance(claim) => {}
            }
            worker.forget(&key, epoch);
            drop(permit);
            if worker.0.behind.load(Ordering::Acquire) {
                worker.0.hub.work_arrived();
            }
        };
        self.0.tasks.spawn(task.instrument(span));
    }

    /// A parked run may have been claimed anew by this worker before its old task gets here.
    fn forget(&self, key: &(TenantId, RunId), epoch: u64) {
        let mut held = lock(&self.0.held);
        if held.get(key).is_some_and(|held| held.lease.epoch == epoch) {
            held.remove(key);
        }
    }

    async fn advance(&self, claim: Claim) {
        let record = claim.record.clone();
        let lease = claim.lease.clone();
        match AssertUnwindSafe(self.0.driver.drive(claim)).catch_unwind().await {
            Ok(Ok(Driven::Finished(finished))) => self.finished(&record, &finished),
            Ok(Ok(Driven::Parked)) => tracing::debug!("the run waits"),
            Ok(Ok(Driven::LeaseLost)) => tracing::warn!("the run is another worker's now"),
            Ok(Err(failure)) => self.stuck(&lease, failure).await,
            // The lease runs out and counts as a rescue: a run that panics its workers ends as dead.
            Err(_) => tracing::error!("advancing the run panicked; its lease will run out"),
        }
    }

    fn finished(&self, record: &RunRecord, finished: &RunFinished) {
        let took = clock::now().since(record.created_at);
        let status = finished.status.as_str();
        self.0.metrics.run(record.new.workflow.id.as_str(), status, took, finished.cost);
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let cost_cents = finished.cost.cents_rounded();
        let workflow = record.new.workflow.to_string();
        match &finished.failure {
            None => {
                tracing::info!(status, workflow, ms, cost_cents, content_hash = %finished.content_hash, "run ended")
            }
            Some(failure) => tracing::warn!(
                status, workflow, ms, cost_cents, code = %failure.code, error = failure.message, "run ended"
            ),
        }
    }

    /// A failure that may pass gives the run back after a rest. Any other would only repeat itself, so the lease is
    /// left to run out: each time counts as a rescue, and after enough of them the store declares the run dead.
    async fn stuck(&self, lease: &Lease, failure: Failure) {
        tracing::error!(code = %failure.code, error = failure.message, "the run could not be advanced");
        if failure.retryable {
            tokio::time::sleep(REST).await;
            if let Err(error) = self.0.runs.release(lease).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "giving the run back failed");
            }
        }
    }
}
