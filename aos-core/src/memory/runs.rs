//! Runs, leases and inboxes in memory.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::state::State;
use super::{Inner, MemoryStore, lock};
use crate::BoxFuture;
use crate::id::{RunId, TenantId, WorkerId};
use crate::runs::{
    Claim, Created, InboxItem, Lease, Message, NewRun, QueueStats, RunFilter, RunPage, RunRecord, RunState, RunStore,
    StoreError,
};

impl RunStore for MemoryStore {
    fn create(&self, run: NewRun, claim: Option<(WorkerId, Duration)>) -> BoxFuture<'_, Result<Created, StoreError>> {
        Box::pin(async move { self.inner.state().create(run, claim) })
    }

    fn get<'a>(&'a self, tenant: &'a TenantId, run: &'a RunId) -> BoxFuture<'a, Result<Option<RunRecord>, StoreError>> {
        Box::pin(async move { Ok(self.inner.state().find(tenant, run).map(|(_, row)| row.record.clone())) })
    }

    fn list(&self, filter: RunFilter) -> BoxFuture<'_, Result<RunPage, StoreError>> {
        Box::pin(async move { self.inner.state().list(&filter) })
    }

    fn claim<'a>(
        &'a self,
        worker: &'a WorkerId,
        max: usize,
        lease: Duration,
    ) -> BoxFuture<'a, Result<Vec<Claim>, StoreError>> {
        Box::pin(async move { Ok(self.inner.state().claim(worker, max, lease)) })
    }

    fn heartbeat<'a>(&'a self, leases: &'a [Lease], lease: Duration) -> BoxFuture<'a, Result<Vec<Lease>, StoreError>> {
        Box::pin(async move {
            let mut state = self.inner.state();
            let deadline = state.now.saturating_add(lease);
            let mut lost = Vec::new();
            for lease in leases {
                match state.held(lease).map(|(number, _)| number) {
                    Ok(number) => state.schedule(number, Some(deadline)),
                    Err(_) => lost.push(lease.clone()),
                }
            }
            Ok(lost)
        })
    }

    fn release<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let mut state = self.inner.state();
            if let Ok((number, row)) = state.held(lease) {
                row.holder = None;
                row.record.state = RunState::Queued;
                let now = state.now;
                state.schedule(number, Some(now));
            }
            Ok(())
        })
    }

    fn send<'a>(
        &'a self,
        tenant: &'a TenantId,
        run: &'a RunId,
        message: Message,
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(async move {
            let (seq, woken) = self.inner.state().send(tenant, run, message)?;
            woken.into_iter().for_each(Waker::wake);
            Ok(seq)
        })
    }

    fn inbox<'a>(
        &'a self,
        tenant: &'a TenantId,
        run: &'a RunId,
        after: u64,
    ) -> BoxFuture<'a, Result<Vec<InboxItem>, StoreError>> {
        Box::pin(async move {
            let state = self.inner.state();
            let (_, row) = state.find(tenant, run).ok_or_else(|| no_run(run))?;
            let items = row.unseen(after).iter().zip(after.saturating_add(1)..);
            Ok(items.map(|(message, seq)| InboxItem { seq, message: message.clone() }).collect())
        })
    }

    fn changed(&self, tenant: &TenantId, run: &RunId, after: u64) -> BoxFuture<'static, ()> {
        Box::pin(Changed {
            inner: Arc::clone(&self.inner),
            tenant: tenant.clone(),
            run: run.clone(),
            after,
            waiter: None,
        })
    }

    fn stats(&self) -> BoxFuture<'_, Result<QueueStats, StoreError>> {
        Box::pin(async move {
            let state = self.inner.state();
            let shown = RunState::ALL.into_iter().filter(|state| !state.is_terminal() || *state == RunState::Dead);
            let by_state = shown
                .map(|wanted| (wanted, state.rows.values().filter(|row| row.record.state == wanted).count() as u64))
                .collect();
            let oldest = state.queue.first().map(|(at, _)| *at).filter(|at| *at <= state.now);
            Ok(QueueStats { by_state, oldest })
        })
    }
}

impl State {
    fn create(&mut self, new: NewRun, claim: Option<(WorkerId, Duration)>) -> Result<Created, StoreError> {
        if let Some(existing) = self.existing(&new) {
            return existing;
        }
        let number = self.insert(new);
        let lease = claim.and_then(|(worker, duration)| self.lease(number, &worker, duration));
        let row = self.rows.get(&number).ok_or_else(|| StoreError::Conflict("the new run is gone".into()))?;
        Ok(Created::New(row.record.clone(), lease))
    }

    fn claim(&mut self, worker: &WorkerId, max: usize, lease: Duration) -> Vec<Claim> {
        let ready = self.queue.iter().take_while(|(at, _)| *at <= self.now).take(max);
        let ready: Vec<u64> = ready.map(|(_, number)| *number).collect();
        let mut claims = Vec::with_capacity(ready.len());
        for number in ready {
            let Some(lease) = self.lease(number, worker, lease) else { continue };
            let Some(row) = self.rows.get(&number) else { continue };
            claims.push(Claim { lease, record: row.record.clone() });
        }
        claims
    }

    fn lease(&mut self, number: u64, worker: &WorkerId, duration: Duration) -> Option<Lease> {
        let lease = self.rows.get_mut(&number)?.lease(worker);
        self.schedule(number, Some(self.now.saturating_add(duration)));
        Some(lease)
    }

    fn send(&mut self, tenant: &TenantId, run: &RunId, message: Message) -> Result<(u64, Vec<Waker>), StoreError> {
        let number = self.find(tenant, run).map(|(number, _)| number).ok_or_else(|| no_run(run))?;
        let row = self.rows.get_mut(&number).ok_or_else(|| no_run(run))?;
        if row.record.state.is_terminal() {
            return Err(StoreError::Conflict(format!(
                "run {run} has ended ({}): it takes no more messages",
                row.record.state.as_str()
            )));
        }
        row.inbox.push(message);
        let (seq, woken, parked) = (row.inbox.len() as u64, row.take_waiters(), row.record.state == RunState::Parked);
        if parked {
            let now = self.now;
            self.schedule(number, Some(now));
        }
        Ok((seq, woken))
    }

    fn list(&self, filter: &RunFilter) -> Result<RunPage, StoreError> {
        let before = match &filter.cursor {
            None => u64::MAX,
            Some(cursor) => cursor
                .parse()
                .map_err(|_| StoreError::NotFound { what: "list cursor", id: cursor.chars().take(80).collect() })?,
        };
        let size = filter.page_size();
        let rows = self.rows.range(..before).rev().filter(|(_, row)| filter.accepts(&row.record));
        let mut page: Vec<_> = rows.take(size + 1).collect();
        let more = page.len() > size;
        page.truncate(size);
        let next = page.last().filter(|_| more).map(|(number, _)| number.to_string());
        Ok(RunPage { runs: page.into_iter().map(|(_, row)| row.record.clone()).collect(), next })
    }
}

/// The error for a run that the tenant does not have.
pub(super) fn no_run(run: &RunId) -> StoreError {
    StoreError::NotFound { what: "run", id: run.to_string() }
}

/// Waits for an inbox item or the end of a run. It looks and registers under one lock, so no change falls between.
struct Changed {
    inner: Arc<Inner>,
    tenant: TenantId,
    run: RunId,
    after: u64,
    waiter: Option<u64>,
}

impl Future for Changed {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut state = lock(&this.inner.state);
        if let Some(waiter) = this.waiter.take() {
            state.stop_waiting(&this.tenant, &this.run, waiter);
        }
        // A run that isn't there will not change: the caller's next look tells it so.
        let waits = state
            .find(&this.tenant, &this.run)
            .is_some_and(|(_, row)| !row.record.state.is_terminal() && row.unseen(this.after).is_empty());
        if !waits {
            return Poll::Ready(());
        }
        this.waiter = state.wait(&this.tenant, &this.run, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Changed {
    fn drop(&mut self) {
        if let Some(waiter) = self.waiter {
            lock(&self.inner.state).stop_waiting(&self.tenant, &self.run, waiter);
        }
    }
}
