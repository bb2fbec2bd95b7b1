//! What the memory store keeps: the runs, and the indexes by which they are found.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::task::Waker;

use crate::id::{RunId, TenantId, WorkerId, WorkflowId};
use crate::journal::Line;
use crate::money::Money;
use crate::queue::Priority;
use crate::runs::{Created, Lease, Message, NewRun, RunRecord, RunState, StoreError};
use crate::time::Timestamp;

/// All runs, in the order of their creation.
#[derive(Default)]
pub(super) struct State {
    /// The store's clock, which never goes back.
    pub(super) now: Timestamp,
    pub(super) rows: BTreeMap<u64, Row>,
    next_row: u64,
    by_id: BTreeMap<(TenantId, RunId), u64>,
    by_key: BTreeMap<(TenantId, String), u64>,
    /// Rows of each priority by the time at which they are claimable; the same as their `claimable_at`.
    pub(super) queues: BTreeMap<Reverse<Priority>, BTreeSet<(Timestamp, u64)>>,
    pub(super) limits: BTreeMap<(TenantId, WorkflowId), u32>,
    next_waiter: u64,
}

pub(super) struct Row {
    pub(super) record: RunRecord,
    pub(super) epoch: u64,
    pub(super) holder: Option<WorkerId>,
    /// When the row can be claimed: at once when queued, at the wake time when parked, at the deadline when leased.
    claimable_at: Option<Timestamp>,
    pub(super) inbox: Vec<Message>,
    pub(super) lines: Vec<Line>,
    /// How many lines there were at the last claim.
    lines_at_claim: usize,
    waiters: BTreeMap<u64, Waker>,
}

impl State {
    pub(super) fn pass_time(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
    }

    /// The row of a run, and its number.
    pub(super) fn find(&self, tenant: &TenantId, run: &RunId) -> Option<(u64, &Row)> {
        let number = *self.by_id.get(&(tenant.clone(), run.clone()))?;
        Some((number, self.rows.get(&number)?))
    }

    /// The row that an idempotency key names.
    pub(super) fn find_key(&self, tenant: &TenantId, key: &str) -> Option<&Row> {
        self.rows.get(self.by_key.get(&(tenant.clone(), key.to_owned()))?)
    }

    /// The row that a lease holds.
    pub(super) fn held(&mut self, lease: &Lease) -> Result<(u64, &mut Row), StoreError> {
        let number = self.by_id.get(&(lease.tenant.clone(), lease.run.clone())).copied();
        number
            .and_then(|number| Some((number, self.rows.get_mut(&number)?)))
            .filter(|(_, row)| row.epoch == lease.epoch && row.holder.as_ref() == Some(&lease.worker))
            .ok_or_else(|| StoreError::Fenced {
                run: lease.run.clone(),
                worker: lease.worker.clone(),
                epoch: lease.epoch,
            })
    }

    /// The run that a creation names already, by its key or its id.
    pub(super) fn existing(&self, new: &NewRun) -> Option<Result<Created, StoreError>> {
        let by_key = new.idempotency_key.as_ref().and_then(|key| self.by_key.get(&(new.tenant.clone(), key.clone())));
        let number = by_key.or_else(|| self.by_id.get(&(new.tenant.clone(), new.run.clone())))?;
        Some(self.rows.get(number)?.record.same_request(new))
    }

    pub(super) fn insert(&mut self, new: NewRun) -> u64 {
        let number = self.next_row;
        self.next_row += 1;
        self.by_id.insert((new.tenant.clone(), new.run.clone()), number);
        if let Some(key) = &new.idempotency_key {
            self.by_key.insert((new.tenant.clone(), key.clone()), number);
        }
        let start = new.start_at.map_or(self.now, |at| at.max(self.now));
        let record = RunRecord {
            new,
            state: RunState::Queued,
            created_at: self.now,
            finished_at: None,
            output: None,
            failure: None,
            cost: Money::ZERO,
            content_hash: None,
            rescues: 0,
            pausing: false,
            inbox_last: 0,
        };
        let row = Row {
            record,
            epoch: 0,
            holder: None,
            claimable_at: None,
            inbox: Vec::new(),
            lines: Vec::new(),
            lines_at_claim: 0,
            waiters: BTreeMap::new(),
        };
        self.rows.insert(number, row);
        self.schedule(number, Some(start));
        number
    }

    /// Forgets a row.
    pub(super) fn remove(&mut self, number: u64) {
        self.schedule(number, None);
        let Some(Row { record, .. }) = self.rows.remove(&number) else { return };
        self.by_id.remove(&(record.new.tenant.clone(), record.new.run));
        if let Some(key) = record.new.idempotency_key {
            self.by_key.remove(&(record.new.tenant, key));
        }
    }

    /// Says when a row can be claimed.
    pub(super) fn schedule(&mut self, number: u64, at: Option<Timestamp>) {
        let Some(row) = self.rows.get_mut(&number) else { return };
        let queue = self.queues.entry(Reverse(row.record.new.priority)).or_default();
        if let Some(before) = std::mem::replace(&mut row.claimable_at, at) {
            queue.remove(&(before, number));
        }
        queue.extend(at.map(|at| (at, number)));
    }

    /// Makes a row claimable now, if it is not by then anyway.
    pub(super) fn hasten(&mut self, number: u64) {
        let at = self.rows.get(&number).and_then(|row| row.claimable_at).map_or(self.now, |at| at.min(self.now));
        self.schedule(number, Some(at));
    }

    /// Whether runs of this one's workflow are for claims only.
    pub(super) fn is_limited(&self, new: &NewRun) -> bool {
        self.limits.contains_key(&workflow(new))
    }

    /// How many more runs of this one's workflow may be held.
    pub(super) fn room_for(&self, new: &NewRun) -> u32 {
        let Some(max) = self.limits.get(&workflow(new)) else { return u32::MAX };
        let is_held = |row: &&Row| {
            row.record.state == RunState::Running
                && row.claimable_at.is_some_and(|deadline| deadline > self.now)
                && workflow(&row.record.new) == workflow(new)
        };
        max.saturating_sub(u32::try_from(self.rows.values().filter(is_held).count()).unwrap_or(u32::MAX))
    }

    /// Calls `waker` at the row's next change; gives the number by which to take that back.
    pub(super) fn wait(&mut self, tenant: &TenantId, run: &RunId, waker: Waker) -> Option<u64> {
        let number = self.by_id.get(&(tenant.clone(), run.clone()))?;
        let row = self.rows.get_mut(number)?;
        self.next_waiter += 1;
        row.waiters.insert(self.next_waiter, waker);
        Some(self.next_waiter)
    }

    pub(super) fn stop_waiting(&mut self, tenant: &TenantId, run: &RunId, waiter: u64) {
        if let Some(number) = self.by_id.get(&(tenant.clone(), run.clone())) {
            self.rows.get_mut(number).map(|row| row.waiters.remove(&waiter));
        }
    }
}

fn workflow(new: &NewRun) -> (TenantId, WorkflowId) {
    (new.tenant.clone(), new.workflow.id.clone())
}

impl Row {
    /// Gives the row to a worker, under the next epoch.
    pub(super) fn lease(&mut self, worker: &WorkerId) -> Lease {
        if self.lines.len() > self.lines_at_claim {
            self.record.rescues = 0;
        }
        if self.record.state == RunState::Running {
            self.record.rescues += 1;
        }
        self.lines_at_claim = self.lines.len();
        self.record.state = RunState::Running;
        self.epoch += 1;
        self.holder = Some(worker.clone());
        Lease {
            tenant: self.record.new.tenant.clone(),
            run: self.record.new.run.clone(),
            worker: worker.clone(),
            epoch: self.epoch,
        }
    }

    /// Takes the row from its worker; paused when somebody asked for that, else as `state` says.
    pub(super) fn let_go(&mut self, state: RunState) -> RunState {
        self.holder = None;
        let paused = std::mem::take(&mut self.record.pausing);
        self.record.state = if paused { RunState::Paused } else { state };
        self.record.state
    }

    /// Makes a dead row one that was never claimed since it got this far.
    pub(super) fn revive(&mut self) {
        self.record.state = RunState::Queued;
        self.record.finished_at = None;
        self.record.failure = None;
        self.record.rescues = 0;
    }

    /// The inbox items after number `after`.
    pub(super) fn unseen(&self, after: u64) -> &[Message] {
        usize::try_from(after).ok().and_then(|after| self.inbox.get(after..)).unwrap_or_default()
    }

    /// Everybody who waits for a change; to be woken when the state is unlocked.
    #[must_use]
    pub(super) fn take_waiters(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.waiters).into_values().collect()
    }
}
