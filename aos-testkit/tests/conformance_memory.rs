//! The memory stores keep the contracts.

use std::sync::Arc;

use aos_core::memory::{
    MemoryAudit, MemoryCache, MemoryKeys, MemoryLedger, MemoryLimiter, MemoryRegistry, MemorySchedules, MemorySlots,
    MemoryStore, MemorySwitches, MemoryWorkers, VirtualClock,
};
use aos_core::time::Clock;
use aos_testkit::conformance::{Backend, BoxFuture, OpenAgain, Roles};
use aos_testkit::conformance_tests;

struct Memory;

impl Backend for Memory {
    fn block_on(&self, clause: BoxFuture<'_, ()>) {
        pollster::block_on(clause);
    }

    fn fresh(&self) -> BoxFuture<'_, Roles> {
        Box::pin(async {
            let clock = VirtualClock::default();
            let stores = Arc::new(Stores::new(Arc::new(clock.clone())));
            let shared = Arc::clone(&stores);
            // There is no other process; another handle on the same contents is the nearest thing.
            let open_again: OpenAgain = Box::new(move || Box::pin(std::future::ready(shared.roles())));
            Roles {
                cache: Some(Arc::new(MemoryCache::new(Arc::new(clock.clone()), 1_000_000))),
                limiter: Some(Arc::new(MemoryLimiter::new(Arc::new(clock.clone())))),
                open_again: Some(open_again),
                ..stores.roles()
            }
            .with_clock(clock)
        })
    }
}

struct Stores {
    runs: Arc<MemoryStore>,
    registry: Arc<MemoryRegistry>,
    workers: Arc<MemoryWorkers>,
    slots: Arc<MemorySlots>,
    schedules: Arc<MemorySchedules>,
    switches: Arc<MemorySwitches>,
    keys: Arc<MemoryKeys>,
    audit: Arc<MemoryAudit>,
    ledger: Arc<MemoryLedger>,
}

impl Stores {
    fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            runs: Arc::new(MemoryStore::new(Arc::clone(&clock))),
            registry: Arc::new(MemoryRegistry::new()),
            workers: Arc::new(MemoryWorkers::new(Arc::clone(&clock))),
            slots: Arc::new(MemorySlots::new(Arc::clone(&clock))),
            schedules: Arc::new(MemorySchedules::new(Arc::clone(&clock))),
            switches: Arc::new(MemorySwitches::new(Arc::clone(&clock))),
            keys: Arc::new(MemoryKeys::new(Arc::clone(&clock))),
            audit: Arc::new(MemoryAudit::new(Arc::clone(&clock))),
            ledger: Arc::new(MemoryLedger::new(clock)),
        }
    }

    fn roles(&self) -> Roles {
        Roles {
            blobs: Some(self.runs.blobs()),
            registry: Some(Arc::clone(&self.registry) as _),
            workers: Some(Arc::clone(&self.workers) as _),
            slots: Some(Arc::clone(&self.slots) as _),
            schedules: Some(Arc::clone(&self.schedules) as _),
            switches: Some(Arc::clone(&self.switches) as _),
            keys: Some(Arc::clone(&self.keys) as _),
            audit: Some(Arc::clone(&self.audit) as _),
            ledger: Some(Arc::clone(&self.ledger) as _),
            ..Roles::default()
        }
        .with_runs(Arc::clone(&self.runs))
    }
}

conformance_tests!(blob, Memory);
conformance_tests!(cache, Memory);
conformance_tests!(journal, Memory);
conformance_tests!(ledger, Memory);
conformance_tests!(limiter, Memory);
conformance_tests!(registry, Memory);
conformance_tests!(runs, Memory);
conformance_tests!(schedules, Memory);
conformance_tests!(slots, Memory);
conformance_tests!(switches, Memory);
conformance_tests!(audit, Memory);
conformance_tests!(keys, Memory);
conformance_tests!(workers, Memory);
