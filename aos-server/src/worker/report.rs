//! Telling the store, and through it operators, that this worker is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aos_core::runs::StoreError;
use aos_core::workers::{WorkerReport, WorkerStore};
use tokio_util::sync::CancellationToken;

use crate::server::Role;
use crate::worker::Worker;

/// How many workers are alive, this one included, as far as this process knows; never less than 1. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Live(Arc<AtomicUsize>);

impl Default for Live {
    fn default() -> Self {
        Self(Arc::new(AtomicUsize::new(1)))
    }
}

impl Live {
    /// The number.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed).max(1)
    }
}

/// Reports the worker as often as it prolongs its leases, until `done`; then the store forgets it.
pub async fn keep_reporting(
    worker: Worker,
    store: Arc<dyn WorkerStore>,
    role: Role,
    live: Live,
    done: CancellationToken,
) {
    let lease = worker.0.settings.lease;
    let mut beat = tokio::time::interval(lease / 3);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = done.cancelled() => break,
            // Operators see at once that it takes on no more.
            () = worker.0.stopping.cancelled(), if !worker.0.stopping.is_cancelled() => {}
            _ = beat.tick() => {}
        }
        match report(&worker, &*store, role).await {
            Ok(alive) => live.0.store(alive, Ordering::Relaxed),
            // Nothing depends on it, and whoever needs the store says what is wrong.
            Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "reporting the worker failed"),
        }
    }
    if let Err(error) = store.leave(worker.id()).await {
        tracing::debug!(error = &error as &dyn std::error::Error, "taking the worker off the list failed");
    }
}

async fn report(worker: &Worker, store: &dyn WorkerStore, role: Role) -> Result<usize, StoreError> {
    let settings = &worker.0.settings;
    let report = WorkerReport {
        worker: settings.id.clone(),
        role: role.as_str().to_owned(),
        host: host(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        concurrency: u32::try_from(settings.concurrency).unwrap_or(u32::MAX),
        in_hand: u32::try_from(worker.in_hand()).unwrap_or(u32::MAX),
        draining: !worker.accepts(),
    };
    store.report(&report, settings.lease).await?;
    Ok(store.list().await?.iter().filter(|worker| worker.alive).count())
}

/// The machine's name, as containers and Linux have it.
fn host() -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = kernel.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
    if name.trim().is_empty() { "unknown".to_owned() } else { name.trim().to_owned() }
}
