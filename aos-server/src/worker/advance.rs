//! Advancing one run in a task of its own.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aos_core::driver::{Begun, Driven};
use aos_core::event::RunFinished;
use aos_core::journal::{Append, Transition};
use aos_core::runs::{Claim, Lease, RunRecord, StoreError};
use aos_core::{Failure, codes};
use futures::FutureExt;
use tokio::sync::OwnedSemaphorePermit;
use tracing::Instrument;

use crate::worker::Worker;

/// How long a run rests that could not be advanced for a reason that may pass.
const REST: Duration = Duration::from_secs(1);

/// A run that has killed this many workers in a row, without getting any further, is not given to another one.
const MAX_RESCUES: u32 = 5;

/// Lines read at a time when only their number is wanted.
const PAGE: usize = 1_000;

impl Worker {
    pub(super) fn start(&self, claim: Claim, begun: Begun, permit: OwnedSemaphorePermit) {
        let let_go = self.0.leases.take(&claim.lease);
        // Not a child of the request's span: the run outlives it, and its lines have the request id of their own.
        let span = tracing::info_span!(
            parent: None,
            "run",
            run = %claim.lease.run,
            trace_id = claim.record.new.trace().trace_text(),
            request_id = tracing::field::Empty,
        );
        if let Some(id) = &claim.record.new.request_id {
            span.record("request_id", tracing::field::display(id));
        }
        let worker = self.clone();
        let task = async move {
            let lease = claim.lease.clone();
            tokio::select! {
                () = let_go.cancelled() => tracing::warn!("let go of the run"),
                () = worker.advance(claim, begun) => {}
            }
            worker.0.leases.forget(&lease);
            drop(permit);
            if worker.0.behind.load(Ordering::Acquire) {
                worker.0.hub.work_arrived();
            }
        };
        self.0.tasks.spawn(task.instrument(span));
    }

    async fn advance(&self, claim: Claim, begun: Begun) {
        let lease = claim.lease.clone();
        let record = claim.record.clone();
        if record.rescues >= MAX_RESCUES {
            let why = format!(
                "{} workers in a row have died with the run at the same place, and it is not given to another one",
                record.rescues
            );
            return self.bury(&lease, Failure::new(codes::RUN_DEAD, why)).await;
        }
        match AssertUnwindSafe(self.0.driver.drive(claim, begun)).catch_unwind().await {
            Ok(Ok(Driven::Finished(finished))) => self.ended(&record, &finished),
            Ok(Ok(Driven::Parked)) => tracing::debug!("the run waits"),
            Ok(Ok(Driven::LeaseLost)) => {
                self.0.metrics.fenced();
                tracing::warn!("the run is another worker's now");
            }
            Ok(Err(failure)) if failure.retryable || failure.code == codes::FENCED => {
                self.give_back(&lease, failure).await
            }
            // Another worker may have the code that fits. The lease runs out, which counts as a rescue, so that a run
            // which nobody can advance ends as dead.
            Ok(Err(failure)) if is_about_code(&failure) => {
                tracing::error!(code = %failure.code, error = failure.message, "the run can't be advanced here");
            }
            Ok(Err(failure)) => self.bury(&lease, failure).await,
            // As above: a run that panics its workers ends as dead.
            Err(_) => tracing::error!("advancing the run panicked; its lease will run out"),
        }
    }

    fn ended(&self, record: &RunRecord, finished: &RunFinished) {
        let took = self.0.clock.now().since(record.created_at);
        let status = finished.status.as_str();
        self.0.metrics.run(record.new.workflow.id.as_str(), status, took, finished.cost);
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let cost_cents = finished.cost.cents_rounded();
        let workflow = record.new.workflow.to_string();
        let content_hash = finished.content_hash;
        match &finished.failure {
            None => tracing::info!(status, workflow, ms, cost_cents, %content_hash, "run ended"),
            Some(Failure { code, message, .. }) => {
                tracing::warn!(status, workflow, ms, cost_cents, %content_hash, %code, error = message, "run ended");
            }
        }
    }

    async fn give_back(&self, lease: &Lease, failure: Failure) {
        tracing::error!(code = %failure.code, error = failure.message, "the run could not be advanced: it is tried again");
        tokio::time::sleep(REST).await;
        if let Err(error) = self.0.stores.runs.release(lease).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "giving the run back failed");
        }
    }

    /// Takes a run out of circulation, for an operator to look at. If that fails, its lease runs out and it is tried
    /// again.
    async fn bury(&self, lease: &Lease, failure: Failure) {
        tracing::error!(code = %failure.code, error = failure.message, "the run can't be advanced: it is dead");
        let buried = async {
            let append = Append {
                lease: lease.clone(),
                first_index: self.entries(lease).await?,
                lines: Vec::new(),
                blobs: Vec::new(),
                transition: Transition::Bury(failure),
            };
            self.0.stores.journal.append(append).await
        };
        if let Err(error) = buried.await {
            if matches!(error, StoreError::Fenced { .. }) {
                self.0.metrics.fenced();
            }
            tracing::error!(error = &error as &dyn std::error::Error, "burying the run failed");
        }
    }

    async fn entries(&self, lease: &Lease) -> Result<u64, StoreError> {
        let mut entries = 0;
        loop {
            let page = self.0.stores.journal.read(&lease.tenant, &lease.run, entries, PAGE).await?.len();
            entries += page as u64;
            if page < PAGE {
                return Ok(entries);
            }
        }
    }
}

fn is_about_code(failure: &Failure) -> bool {
    [codes::WORKFLOW_NOT_FOUND, codes::SKILL_NOT_FOUND, codes::DRIFT].contains(&failure.code)
}
