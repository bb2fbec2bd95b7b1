//! The leases this process holds: kept, and given back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aos_core::id::{RunId, TenantId};
use aos_core::runs::Lease;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::worker::Worker;

/// How long a run that has just ended may take to give its lease out of the hand.
const A_MOMENT: Duration = Duration::from_millis(100);

/// The leases in hand: those of claimed runs, and those of child runs that their parents' tasks drive. Cheap to clone.
#[derive(Clone, Default)]
pub struct Leases(Arc<Mutex<HashMap<(TenantId, RunId), Held>>>);

struct Held {
    lease: Lease,
    let_go: CancellationToken,
}

impl Leases {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a lease into the hand; the token is cancelled when it has to be let go of.
    pub fn take(&self, lease: &Lease) -> CancellationToken {
        let let_go = CancellationToken::new();
        self.lock().insert(key(lease), Held { lease: lease.clone(), let_go: let_go.clone() });
        let_go
    }

    /// Forgets a lease. One that was taken anew since, under a later epoch, stays.
    pub fn forget(&self, lease: &Lease) {
        let mut held = self.lock();
        if held.get(&key(lease)).is_some_and(|held| held.lease.epoch == lease.epoch) {
            held.remove(&key(lease));
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    fn all(&self) -> Vec<Lease> {
        self.lock().values().map(|held| held.lease.clone()).collect()
    }

    /// Cancels the token of a lease; whether it was still in hand.
    fn let_go(&self, lost: &Lease) -> bool {
        let held = self.lock();
        let held = held.get(&key(lost)).filter(|held| held.lease.epoch == lost.epoch);
        held.inspect(|held| held.let_go.cancel()).is_some()
    }

    /// The map stays consistent whatever panicked while holding the lock: every change is one call.
    fn lock(&self) -> MutexGuard<'_, HashMap<(TenantId, RunId), Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(lease: &Lease) -> (TenantId, RunId) {
    (lease.tenant.clone(), lease.run.clone())
}

/// Prolongs every lease in hand, all in one call, until the worker has stopped.
pub(super) async fn keep(worker: Worker) {
    let inner = &worker.0;
    let every = inner.settings.lease / 3;
    let mut beat = tokio::time::interval(every);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = inner.stopped.cancelled() => return,
            _ = beat.tick() => {}
        }
        let leases = inner.leases.all();
        if leases.is_empty() {
            continue;
        }
        // What hangs is given up in time for another try before the leases run out.
        let prolonged = timeout(every, inner.stores.runs.heartbeat(&leases, inner.settings.lease)).await;
        match prolonged {
            Ok(Ok(lost)) => let_go(&worker, lost),
            // Writes are fenced, so a lease that runs out meanwhile does no harm.
            Ok(Err(error)) => tracing::error!(error = &error as &dyn std::error::Error, "prolonging leases failed"),
            Err(_) => tracing::error!("prolonging leases takes too long; trying again"),
        }
    }
}

/// Lets go of leases that could not be prolonged.
fn let_go(worker: &Worker, lost: Vec<Lease>) {
    if lost.is_empty() {
        return;
    }
    let worker = worker.clone();
    tokio::spawn(async move {
        // The lease of a run that has just ended here is refused as well.
        tokio::time::sleep(A_MOMENT).await;
        for lease in lost {
            if worker.0.leases.let_go(&lease) {
                worker.0.metrics.fenced();
            }
        }
    });
}

/// Abandons what is still in hand, so that another worker can go on at once.
pub(super) async fn release_all(worker: &Worker) {
    let leases = worker.0.leases.all();
    tracing::warn!(runs = leases.len(), "giving back runs that did not end in time");
    for lease in &leases {
        worker.0.leases.let_go(lease);
    }
    worker.0.tasks.wait().await;
    // All at once: with a store that does not answer, one after the other would take for ever.
    let releases = leases.iter().map(async |lease| {
        if let Err(error) = worker.0.stores.runs.release(lease).await {
            tracing::warn!(run = %lease.run, error = &error as &dyn std::error::Error, "giving the run back failed");
        }
    });
    futures::future::join_all(releases).await;
    if !leases.is_empty() {
        worker.0.hub.work_for_all();
    }
}
