//! Reference implementations of every contract, legal in production for embedders.
//!
//! They keep everything in the process: what they promise as durable lasts as long as they do. No threads, no
//! runtime and no clock of their own; whoever makes one lends it a [`Clock`].

mod audit;
mod blob;
mod cache;
mod clock;
mod journal;
mod keys;
mod ledger;
mod limiter;
mod registry;
mod runs;
mod schedules;
mod slots;
mod state;
mod switches;
mod workers;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use audit::MemoryAudit;
pub use blob::MemoryBlobs;
pub use cache::MemoryCache;
#[cfg(feature = "tokio")]
pub use clock::TokioClock;
pub use clock::VirtualClock;
pub use keys::MemoryKeys;
pub use ledger::MemoryLedger;
pub use limiter::MemoryLimiter;
pub use registry::MemoryRegistry;
pub use schedules::MemorySchedules;
pub use slots::MemorySlots;
pub use switches::MemorySwitches;
pub use workers::MemoryWorkers;

use crate::driver::Stores;
use crate::time::Clock;

/// Fresh stores in memory, whose lease deadlines come from `clock`: all that an embedder's
/// [driver](crate::driver) needs.
pub fn stores(clock: Arc<dyn Clock>) -> Stores {
    MemoryStore::new(clock).stores()
}

/// Runs and journals in memory, with the blobs that appends bring along.
///
/// Clones share their contents.
#[derive(Clone)]
pub struct MemoryStore {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Arc<dyn Clock>,
    blobs: Arc<MemoryBlobs>,
    state: Mutex<state::State>,
}

impl MemoryStore {
    /// An empty store whose lease deadlines come from `clock`, with blobs of its own.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::with_blobs(clock, Arc::default())
    }

    /// An empty store that puts the blobs of appends into `blobs`.
    pub fn with_blobs(clock: Arc<dyn Clock>, blobs: Arc<MemoryBlobs>) -> Self {
        Self { inner: Arc::new(Inner { clock, blobs, state: Mutex::default() }) }
    }

    /// This store in every role that the [driver](crate::driver) needs.
    pub fn stores(&self) -> Stores {
        Stores { runs: Arc::new(self.clone()), journal: Arc::new(self.clone()), blobs: self.blobs() }
    }

    /// Where the blobs of appends are kept.
    pub fn blobs(&self) -> Arc<MemoryBlobs> {
        Arc::clone(&self.inner.blobs)
    }
}

impl Inner {
    /// The state, with its idea of the time brought up to date.
    fn state(&self) -> MutexGuard<'_, state::State> {
        let now = self.clock.now();
        let mut state = lock(&self.state);
        state.pass_time(now);
        state
    }
}

/// Locks, also after a panic of somebody else: every change of the states guarded here is complete before anything
/// that could panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
