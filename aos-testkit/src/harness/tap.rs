//! A journal store that counts appends and stops workers dead at chosen ones.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aos_core::BoxFuture;
use aos_core::id::{RunId, TenantId, WorkerId};
use aos_core::journal::{Append, JournalStore, Line, Transition};
use aos_core::runs::StoreError;
use aos_core::time::Timestamp;

use super::bell::Bell;

/// Where to stop a worker, as `kill -9` does: what is in flight is lost, and another worker goes on with its runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kill {
    /// Before append `n` of the simulation (from 1) is durable: skills have run whose results nobody will know.
    Before(u64),
    /// After append `n` is durable and before its writer knows: intents stand whose skills were never called.
    After(u64),
}

pub(super) struct Tap {
    pub(super) inner: Arc<dyn JournalStore>,
    pub(super) kills: BTreeSet<Kill>,
    pub(super) bell: Bell,
    pub(super) state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) appends: u64,
    /// Workers to stop.
    pub(super) stopped: BTreeSet<WorkerId>,
    /// When parked runs wake up.
    pub(super) wakes: BTreeSet<Timestamp>,
}

impl Tap {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self, worker: &WorkerId) {
        self.lock().stopped.insert(worker.clone());
        self.bell.ring();
    }
}

impl JournalStore for Tap {
    fn append(&self, append: Append) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let number = {
                let mut state = self.lock();
                state.appends += 1;
                if let Transition::Park { wake_at: Some(at), .. } = append.transition {
                    state.wakes.insert(at);
                }
                state.appends
            };
            let worker = append.lease.worker.clone();
            if self.kills.contains(&Kill::Before(number)) {
                self.stop(&worker);
                return std::future::pending().await;
            }
            let result = self.inner.append(append).await;
            if self.kills.contains(&Kill::After(number)) {
                self.stop(&worker);
                return std::future::pending().await;
            }
            result
        })
    }

    fn read<'a>(
        &'a self,
        tenant: &'a TenantId,
        run: &'a RunId,
        from: u64,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Line>, StoreError>> {
        self.inner.read(tenant, run, from, limit)
    }
}
