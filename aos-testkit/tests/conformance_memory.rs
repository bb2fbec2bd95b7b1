//! The memory stores keep the contracts.

use std::sync::Arc;

use aos_core::memory::{MemoryCache, MemoryLimiter, MemoryRegistry, MemoryStore, VirtualClock};
use aos_testkit::conformance::{Backend, BoxFuture, LIMITS, OpenAgain, Roles};
use aos_testkit::conformance_tests;

struct Memory;

impl Backend for Memory {
    fn block_on(&self, clause: BoxFuture<'_, ()>) {
        pollster::block_on(clause);
    }

    fn fresh(&self) -> BoxFuture<'_, Roles> {
        Box::pin(async {
            let clock = VirtualClock::default();
            let store = Arc::new(MemoryStore::new(Arc::new(clock.clone())));
            let registry = Arc::new(MemoryRegistry::new());
            let shared = (Arc::clone(&store), Arc::clone(&registry));
            // There is no other process; another handle on the same contents is the nearest thing.
            let open_again: OpenAgain = Box::new(move || {
                let (store, registry) = shared.clone();
                Box::pin(async move { roles(store, registry) })
            });
            Roles {
                cache: Some(Arc::new(MemoryCache::new(Arc::new(clock.clone()), 1_000_000))),
                limiter: Some(Arc::new(MemoryLimiter::new(Arc::new(clock.clone()), LIMITS))),
                open_again: Some(open_again),
                ..roles(store, registry)
            }
            .with_clock(clock)
        })
    }
}

fn roles(store: Arc<MemoryStore>, registry: Arc<MemoryRegistry>) -> Roles {
    Roles { blobs: Some(store.blobs()), registry: Some(registry), ..Roles::default() }.with_runs(store)
}

conformance_tests!(blob, Memory);
conformance_tests!(cache, Memory);
conformance_tests!(journal, Memory);
conformance_tests!(limiter, Memory);
conformance_tests!(registry, Memory);
conformance_tests!(runs, Memory);
