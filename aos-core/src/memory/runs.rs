//! Runs, leases and inboxes in memory.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::state::{Row, State};
use super::{Inner, MemoryStore, lock};
use crate::BoxFuture;
use crate::error::Failure;
use crate::id::{RunId, TenantId, WorkerId, WorkflowId};
use crate::queue::ConcurrencyLimit;
use crate::runs::{
    Claim, Created, FirstLease, InboxItem, Lease, Message, NewRun, PurgeFilter, QueueStats, RunFilter, RunPage,
    RunRecord, RunState, RunStore, StoreError,
};

impl RunStore for MemoryStore {
    fn create(&self, run: NewRun, lease: Option<FirstLease>) -> BoxFuture<'_, Result<Created, StoreError>> {
        Box::pin(async move {
            // As for appends: what a refused creation leaves behind harms nobody.
            for blob in lease.iter().flat_map(|lease| &lease.blobs) {
                self.inner.blobs.insert(blob.hash(), blob.as_str().as_bytes());
            }
            self.inner.state().create(run, lease)
        })
    }

    fn get<'a>(&'a self, tenant: &'a TenantId, run: &'a RunId) -> BoxFuture<'a, Result<Option<RunRecord>, StoreError>> {
        Box::pin(async move { Ok(self.inner.state().find(tenant, run).map(|(_, row)| row.record.clone())) })
    }

    fn by_key<'a>(
        &'a self,
        tenant: &'a TenantId,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<RunRecord>, StoreError>> {
        Box::pin(async move { Ok(self.inner.state().find_key(tenant, key).map(|row| row.record.clone())) })
    }

    fn list(&self, filter: RunFilter) -> BoxFuture<'_, Result<RunPage, StoreError>> {
        Box::pin(async move { self.inner.state().list(&filter) })
    }

    fn count(&self, filter: RunFilter, at_most: u64) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move {
            let state = self.inner.state();
            let fitting = state.rows.values().filter(|row| filter.accepts(&row.record));
            Ok(fitting.take(usize::try_from(at_most).unwrap_or(usize::MAX)).count() as u64)
        })
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
                let paused = row.let_go(RunState::Queued) == RunState::Paused;
                let now = state.now;
                state.schedule(number, Some(now).filter(|_| !paused));
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

    fn pause<'a>(&'a self, tenant: &'a TenantId, run: &'a RunId) -> BoxFuture<'a, Result<RunRecord, StoreError>> {
        Box::pin(async move {
            let (record, woken) = self.inner.state().pause(tenant, run)?;
            woken.into_iter().for_each(Waker::wake);
            Ok(record)
        })
    }

    fn resume<'a>(&'a self, tenant: &'a TenantId, run: &'a RunId) -> BoxFuture<'a, Result<RunRecord, StoreError>> {
        Box::pin(async move { self.inner.state().resume(tenant, run) })
    }

    fn revive<'a>(&'a self, tenant: &'a TenantId, run: &'a RunId) -> BoxFuture<'a, Result<RunRecord, StoreError>> {
        Box::pin(async move { self.inner.state().revive(tenant, run) })
    }

    fn discard<'a>(
        &'a self,
        tenant: &'a TenantId,
        run: &'a RunId,
        failure: Failure,
    ) -> BoxFuture<'a, Result<RunRecord, StoreError>> {
        Box::pin(async move { self.inner.state().discard(tenant, run, failure) })
    }

    fn purge<'a>(&'a self, filter: &'a PurgeFilter, max: usize) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(async move { Ok(self.inner.state().purge(filter, max)) })
    }

    fn limit<'a>(
        &'a self,
        tenant: &'a TenantId,
        workflow: &'a WorkflowId,
        max: Option<u32>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let (mut state, key) = (self.inner.state(), (tenant.clone(), workflow.clone()));
            match max {
                Some(max) => state.limits.insert(key, max),
                None => state.limits.remove(&key),
            };
            Ok(())
        })
    }

    fn limits<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Vec<ConcurrencyLimit>, StoreError>> {
        Box::pin(async move {
            let state = self.inner.state();
            let mine = state.limits.iter().filter(|((owner, _), _)| owner == tenant);
            Ok(mine.map(|((_, workflow), max)| ConcurrencyLimit { workflow: workflow.clone(), max: *max }).collect())
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
            let firsts = state.queues.values().filter_map(|queue| queue.first().map(|(at, _)| *at));
            let oldest = firsts.min().filter(|at| *at <= state.now);
            Ok(QueueStats { by_state, oldest })
        })
    }
}

impl State {
    fn create(&mut self, new: NewRun, first: Option<FirstLease>) -> Result<Created, StoreError> {
        if let Some(existing) = self.existing(&new) {
            return existing;
        }
        let number = self.insert(new);
        let lease = first.and_then(|FirstLease { worker, duration, lines, .. }| {
            let new = &self.rows.get(&number)?.record.new;
            let may_start = new.start_at.is_none_or(|at| at <= self.now) && !self.is_limited(new);
            if !may_start && new.forked_from.is_none() {
                return None;
            }
            let lease = self.lease(number, &worker, duration)?;
            self.rows.get_mut(&number)?.lines = lines;
            Some(lease)
        });
        let row = self.rows.get(&number).ok_or_else(|| StoreError::Conflict("the new run is gone".into()))?;
        Ok(Created::New(row.record.clone(), lease))
    }

    fn claim(&mut self, worker: &WorkerId, max: usize, lease: Duration) -> Vec<Claim> {
        let now = self.now;
        let ready = self.queues.values().flat_map(|queue| queue.iter().take_while(|(at, _)| *at <= now));
        let limited = |number: &u64| self.rows.get(number).is_some_and(|row| self.room_for(&row.record.new) == 0);
        // Without limits no more is looked at than is wanted.
        let wanted = if self.limits.is_empty() { max } else { usize::MAX };
        let ready: Vec<u64> = ready.map(|(_, number)| *number).filter(|number| !limited(number)).take(wanted).collect();
        let mut claims = Vec::new();
        for number in ready {
            if claims.len() == max {
                break;
            }
            // The claims before this one may have used the room up.
            if self.rows.get(&number).is_some_and(|row| self.room_for(&row.record.new) == 0) {
                continue;
            }
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
        let (number, row) = self.open(tenant, run, "takes no more messages")?;
        let is_cancel = matches!(message, Message::Cancel { .. });
        row.inbox.push(message);
        let seq = row.inbox.len() as u64;
        row.record.inbox_last = seq;
        // A paused run would never see a request to stop.
        row.record.pausing &= !is_cancel;
        let wakes = match row.record.state {
            RunState::Parked => true,
            RunState::Queued | RunState::Paused => is_cancel,
            _ => false,
        };
        if row.record.state == RunState::Paused && is_cancel {
            row.record.state = RunState::Queued;
        }
        let woken = row.take_waiters();
        if wakes {
            self.hasten(number);
        }
        Ok((seq, woken))
    }

    fn pause(&mut self, tenant: &TenantId, run: &RunId) -> Result<(RunRecord, Vec<Waker>), StoreError> {
        let (number, row) = self.open(tenant, run, "can't be paused")?;
        if row.record.state == RunState::Running {
            row.record.pausing = true;
            return Ok((row.record.clone(), row.take_waiters()));
        }
        row.record.state = RunState::Paused;
        let record = row.record.clone();
        self.schedule(number, None);
        Ok((record, Vec::new()))
    }

    fn resume(&mut self, tenant: &TenantId, run: &RunId) -> Result<RunRecord, StoreError> {
        let (number, row) = self.open(tenant, run, "can't be resumed")?;
        row.record.pausing = false;
        if row.record.state != RunState::Paused {
            return Ok(row.record.clone());
        }
        row.record.state = RunState::Queued;
        let (record, now) = (row.record.clone(), self.now);
        self.schedule(number, Some(record.new.start_at.map_or(now, |at| at.max(now))));
        Ok(record)
    }

    fn revive(&mut self, tenant: &TenantId, run: &RunId) -> Result<RunRecord, StoreError> {
        let (number, row) = self.dead(tenant, run, "revived")?;
        row.revive();
        let (record, now) = (row.record.clone(), self.now);
        self.schedule(number, Some(now));
        Ok(record)
    }

    fn discard(&mut self, tenant: &TenantId, run: &RunId, failure: Failure) -> Result<RunRecord, StoreError> {
        let now = self.now;
        let (_, row) = self.dead(tenant, run, "discarded")?;
        row.record.state = RunState::Cancelled;
        row.record.finished_at = Some(now);
        row.record.failure = Some(failure);
        Ok(row.record.clone())
    }

    fn purge(&mut self, filter: &PurgeFilter, max: usize) -> u64 {
        let fits = |record: &RunRecord| {
            record.new.tenant == filter.tenant
                && record.state.is_terminal()
                && filter.states.contains(&record.state)
                && filter.workflow.as_ref().is_none_or(|workflow| *workflow == record.new.workflow.id)
                && record.finished_at.is_some_and(|at| at < filter.ended_before)
                && !self.is_waited_for(record)
        };
        let fitting = self.rows.iter().filter(|(_, row)| fits(&row.record));
        let mut ended: Vec<_> = fitting.map(|(number, row)| (row.record.finished_at, *number)).collect();
        ended.sort_unstable();
        ended.truncate(max);
        ended.iter().for_each(|(_, number)| self.remove(*number));
        ended.len() as u64
    }

    /// Whether the run that started this one has not ended.
    fn is_waited_for(&self, record: &RunRecord) -> bool {
        let parent = record.new.parent.as_ref().and_then(|parent| self.find(&record.new.tenant, parent));
        parent.is_some_and(|(_, parent)| !parent.record.state.is_terminal() || parent.record.state == RunState::Dead)
    }

    fn dead(&mut self, tenant: &TenantId, run: &RunId, what: &str) -> Result<(u64, &mut Row), StoreError> {
        let number = self.find(tenant, run).map(|(number, _)| number).ok_or_else(|| no_run(run))?;
        let row = self.rows.get_mut(&number).ok_or_else(|| no_run(run))?;
        match row.record.state {
            RunState::Dead => Ok((number, row)),
            state => Err(StoreError::not_dead(run, state, what)),
        }
    }

    /// A run that has not ended.
    fn open(&mut self, tenant: &TenantId, run: &RunId, cannot: &str) -> Result<(u64, &mut Row), StoreError> {
        let number = self.find(tenant, run).map(|(number, _)| number).ok_or_else(|| no_run(run))?;
        let row = self.rows.get_mut(&number).ok_or_else(|| no_run(run))?;
        if row.record.state.is_terminal() {
            return Err(StoreError::ended(run, row.record.state, cannot));
        }
        Ok((number, row))
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
        let waits = state.find(&this.tenant, &this.run).is_some_and(|(_, row)| {
            !row.record.state.is_terminal() && !row.record.pausing && row.unseen(this.after).is_empty()
        });
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
