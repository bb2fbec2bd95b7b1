//! Which workers there are, in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::lock;
use crate::BoxFuture;
use crate::id::WorkerId;
use crate::runs::StoreError;
use crate::time::{Clock, Timestamp};
use crate::workers::{WorkerRecord, WorkerReport, WorkerStore};

/// How long a worker that is not alive stays listed.
const REMEMBERED: Duration = Duration::from_secs(3_600);

/// Keeps what workers say as long as it lives.
pub struct MemoryWorkers {
    clock: Arc<dyn Clock>,
    workers: Mutex<BTreeMap<WorkerId, Worker>>,
}

struct Worker {
    report: WorkerReport,
    since: Timestamp,
    seen_at: Timestamp,
    alive_until: Timestamp,
}

impl MemoryWorkers {
    /// A store that has heard of nobody yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, workers: Mutex::default() }
    }
}

impl WorkerStore for MemoryWorkers {
    fn report<'a>(&'a self, report: &'a WorkerReport, ttl: Duration) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let now = self.clock.now();
            let mut workers = lock(&self.workers);
            workers.retain(|_, worker| worker.alive_until.saturating_add(REMEMBERED) > now);
            let since = workers.get(&report.worker).map_or(now, |worker| worker.since);
            let alive_until = now.saturating_add(ttl);
            let worker = Worker { report: report.clone(), since, seen_at: now, alive_until };
            workers.insert(report.worker.clone(), worker);
            Ok(())
        })
    }

    fn leave<'a>(&'a self, worker: &'a WorkerId) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            lock(&self.workers).remove(worker);
            Ok(())
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<WorkerRecord>, StoreError>> {
        Box::pin(async move {
            let now = self.clock.now();
            let record = |worker: &Worker| WorkerRecord {
                report: worker.report.clone(),
                since: worker.since,
                seen_at: worker.seen_at,
                alive: worker.alive_until > now,
            };
            Ok(lock(&self.workers).values().map(record).collect())
        })
    }
}
