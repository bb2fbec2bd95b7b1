//! Keeping leases, and giving them back.

use aos_core::runs::Lease;

use crate::worker::{Worker, lock};

/// Prolongs every lease in hand, all in one call, until the worker has stopped.
pub(super) async fn keep(worker: Worker) {
    let inner = &worker.0;
    let mut beat = tokio::time::interval(inner.settings.lease / 3);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = inner.stopped.cancelled() => return,
            _ = beat.tick() => {}
        }
        let leases = in_hand(&worker);
        inner.metrics.workers(1, leases.len() as u64);
        if leases.is_empty() {
            continue;
        }
        match inner.runs.heartbeat(&leases, inner.settings.lease).await {
            Ok(lost) => lost.iter().for_each(|lease| let_go(&worker, lease)),
            // Writes are fenced, so a lease that runs out meanwhile does no harm.
            Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "prolonging leases failed"),
        }
    }
}

/// Abandons what is still in hand, so that another worker can go on at once.
pub(super) async fn release_all(worker: &Worker) {
    let leases = in_hand(worker);
    tracing::warn!(runs = leases.len(), "giving back runs that did not end in time");
    for lease in &leases {
        let_go(worker, lease);
    }
    worker.0.tasks.wait().await;
    for lease in &leases {
        if let Err(error) = worker.0.runs.release(lease).await {
            tracing::warn!(run = %lease.run, error = &error as &dyn std::error::Error, "giving the run back failed");
        }
    }
}

fn in_hand(worker: &Worker) -> Vec<Lease> {
    lock(&worker.0.held).values().map(|held| held.lease.clone()).collect()
}

/// A lease that this worker has claimed anew since is not let go of.
fn let_go(worker: &Worker, lost: &Lease) {
    if let Some(held) = lock(&worker.0.held).get(&(lost.tenant.clone(), lost.run.clone()))
        && held.lease.epoch == lost.epoch
    {
        held.let_go.cancel();
    }
}
