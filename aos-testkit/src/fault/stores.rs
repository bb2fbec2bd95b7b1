//! Faults around stores, caches and limiters.

// A method with a default body would pass the fault by if a wrapper forgot it.
#![deny(clippy::missing_trait_methods)]

use std::sync::Arc;
use std::time::Duration;

use aos_core::blob::BlobStore;
use aos_core::cache::Cache;
use aos_core::canonical::Hash;
use aos_core::id::{RunId, TenantId, WorkerId, WorkflowId};
use aos_core::journal::{Append, JournalStore, Line};
use aos_core::limiter::{Amount, LimitRequest, Limiter, Verdict};
use aos_core::queue::ConcurrencyLimit;
use aos_core::runs::{
    Claim, Created, FirstLease, InboxItem, Lease, Message, NewRun, PurgeFilter, QueueStats, RunFilter, RunPage,
    RunRecord, RunStore, StoreError,
};
use aos_core::{BoxFuture, Failure};

use super::{Faulty, InjectedError};

pub(super) fn unavailable(operation: &'static str) -> impl FnOnce(InjectedError) -> StoreError {
    move |source| StoreError::Unavailable { operation, source: Box::new(source) }
}

impl<T: RunStore + ?Sized> RunStore for Faulty<T> {
    fn create(&self, run: NewRun, lease: Option<FirstLease>) -> BoxFuture<'_, Result<Created, StoreError>> {
        Box::pin(self.faults.around("runs.create", move || self.inner.create(run, lease), unavailable("create a run")))
    }

    fn get<'a>(&'a self, tenant: &'a TenantId, run: &'a RunId) -> BoxFuture<'a, Result<Option<RunRecord>, StoreError>> {
        Box::pin(self.faults.around("runs.get", move || self.inner.get(tenant, run), unavailable("read a run")))
    }

    fn list(&self, filter: RunFilter) -> BoxFuture<'_, Result<RunPage, StoreError>> {
        Box::pin(self.faults.around("runs.list", move || self.inner.list(filter), unavailable("list runs")))
    }

    fn by_key<'a>(
        &'a self,
        tenant: &'a TenantId,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<RunRecord>, StoreError>> {
        Box::pin(self.faults.around("runs.by_key", move || self.inner.by_key(tenant, key), unavailable("read a run")))
    }

    fn count(&self, filter: RunFilter, at_most: u64) -> BoxFuture<'_, Result<u64, StoreError>> {
        let call = move || self.inner.count(filter, at_most);
        Box::pin(self.faults.around("runs.count", call, unavailable("count runs")))
    }

    fn claim<'a>(
        &'a self,
        worker: &'a WorkerId,
        max: usize,
        lease: Duration,
    ) -> BoxFuture<'a, Result<Vec<Claim>, StoreError>> {
        Box::pin(self.faults.around(
            "runs.claim",
            move || self.inner.claim(worker, max, lease),
            unavailable("claim runs"),
        ))
    }

    fn heartbeat<'a>(&'a self, leases: &'a [Lease], lease: Duration) -> BoxFuture<'a, Result<Vec<Lease>, StoreError>> {
        let call = move || self.inner.heartbeat(leases, lease);
        Box::pin(self.faults.around("runs.heartbeat", call, unavailable("prolong leases")))
    }

    fn release<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.faults.around("runs.release", move || self.inner.release(lease), unavailable("release a lease")))
    }

    fn send<'a>(
        &'a self,
        tenant: &'a TenantId,
        run: &'a RunId,
        message: Message,
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(self.faults.around(
            "runs.send",
            move || self.inner.send(tenant, run, message),
            unavailable("send a message"),
        ))
    }

    fn inbox<'a>(
        &'a self,
        tenant: &'a TenantId,
        run: &'a RunId,
        after: u64,
    ) -> BoxFuture<'a, Result<Vec<InboxItem>, StoreError>> {
        Box::pin(self.faults.around(
            "runs.inbox",
            move || self.inner.inbox(tenant, run, after),
            unavailable("read an inbox"),
        ))
    }

    fn pause<'a>(&'a self, tenant: &'a TenantId, run: &'a RunId) -> BoxFuture<'a, Result<RunRecord, StoreError>> {
        let call = move || self.inner.pause(tenant, run);
        Box::pin(self.faults.around("runs.pause", call, unavailable("pause a run")))
    }

    fn resume<'a>(&'a self, tenant: &'a TenantId, run: &'a RunId) -> BoxFuture<'a, Result<RunRecord, StoreError>> {
        let call = move || self.inner.resume(tenant, run);
        Box::pin(self.faults.around("runs.resume", call, unavailable("resume a run")))
    }

    fn revive<'a>(&'a self, tenant: &'a TenantId, run: &'a RunId) -> BoxFuture<'a, Result<RunRecord, StoreError>> {
        let call = move || self.inner.revive(tenant, run);
        Box::pin(self.faults.around("runs.revive", call, unavailable("revive a run")))
    }

    fn discard<'a>(
        &'a self,
        tenant: &'a TenantId,
        run: &'a RunId,
        failure: Failure,
    ) -> BoxFuture<'a, Result<RunRecord, StoreError>> {
        let call = move || self.inner.discard(tenant, run, failure);
        Box::pin(self.faults.around("runs.discard", call, unavailable("discard a run")))
    }

    fn purge<'a>(&'a self, filter: &'a PurgeFilter, max: usize) -> BoxFuture<'a, Result<u64, StoreError>> {
        let call = move || self.inner.purge(filter, max);
        Box::pin(self.faults.around("runs.purge", call, unavailable("delete runs")))
    }

    fn limit<'a>(
        &'a self,
        tenant: &'a TenantId,
        workflow: &'a WorkflowId,
        max: Option<u32>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let call = move || self.inner.limit(tenant, workflow, max);
        Box::pin(self.faults.around("runs.limit", call, unavailable("limit a workflow")))
    }

    fn limits<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Vec<ConcurrencyLimit>, StoreError>> {
        let call = move || self.inner.limits(tenant);
        Box::pin(self.faults.around("runs.limits", call, unavailable("read the limits")))
    }

    fn changed(&self, tenant: &TenantId, run: &RunId, after: u64) -> BoxFuture<'static, ()> {
        // Resolving without cause is allowed, and so it happens whenever the seed has a fault for the call.
        let (_, fault) = self.faults.next("runs.changed");
        let changed = self.inner.changed(tenant, run, after);
        if fault.is_some() { Box::pin(std::future::ready(())) } else { changed }
    }

    fn stats(&self) -> BoxFuture<'_, Result<QueueStats, StoreError>> {
        Box::pin(self.faults.around("runs.stats", move || self.inner.stats(), unavailable("count runs")))
    }
}

impl<T: JournalStore + ?Sized> JournalStore for Faulty<T> {
    fn append(&self, append: Append) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.faults.around(
            "journal.append",
            move || self.inner.append(append),
            unavailable("append to a journal"),
        ))
    }

    fn read<'a>(
        &'a self,
        tenant: &'a TenantId,
        run: &'a RunId,
        from: u64,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Line>, StoreError>> {
        let call = move || self.inner.read(tenant, run, from, limit);
        Box::pin(self.faults.around("journal.read", call, unavailable("read a journal")))
    }
}

impl<T: BlobStore + ?Sized> BlobStore for Faulty<T> {
    fn put<'a>(&'a self, bytes: &'a [u8]) -> BoxFuture<'a, Result<Hash, StoreError>> {
        Box::pin(self.faults.around("blobs.put", move || self.inner.put(bytes), unavailable("keep a payload")))
    }

    fn get<'a>(&'a self, hash: &'a Hash) -> BoxFuture<'a, Result<Option<Arc<[u8]>>, StoreError>> {
        Box::pin(self.faults.around("blobs.get", move || self.inner.get(hash), unavailable("read a payload")))
    }
}

/// A cache never fails: a fault is a miss, or a value that is forgotten at once.
impl<T: Cache + ?Sized> Cache for Faulty<T> {
    fn get<'a>(&'a self, tenant: &'a TenantId, key: &'a str) -> BoxFuture<'a, Option<Arc<[u8]>>> {
        Box::pin(async move { self.faults.sure("cache.get", move || self.inner.get(tenant, key)).await.flatten() })
    }

    fn put<'a>(&'a self, tenant: &'a TenantId, key: &'a str, value: Arc<[u8]>, ttl: Duration) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.faults.sure("cache.put", move || self.inner.put(tenant, key, value, ttl)).await;
        })
    }
}

/// A limiter never fails: a refused or lost grant is a wait of a second, and a lost settlement is just that.
impl<T: Limiter + ?Sized> Limiter for Faulty<T> {
    fn acquire<'a>(&'a self, request: &'a LimitRequest) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            let verdict = self.faults.sure("limiter.acquire", move || self.inner.acquire(request)).await;
            verdict.unwrap_or(Verdict::Wait(Duration::from_secs(1)))
        })
    }

    fn settle<'a>(&'a self, request: &'a LimitRequest, ticket: u64, used: Amount) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.faults.sure("limiter.settle", move || self.inner.settle(request, ticket, used)).await;
        })
    }
}
