//! Journals in memory.

use std::task::Waker;

use super::MemoryStore;
use super::runs::no_run;
use super::state::State;
use crate::BoxFuture;
use crate::event::RunFinished;
use crate::id::{RunId, TenantId};
use crate::journal::{Append, JournalStore, Line, Transition};
use crate::runs::{RunState, StoreError};
use crate::time::Timestamp;

impl JournalStore for MemoryStore {
    fn append(&self, append: Append) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            // Blobs that a rejected append leaves behind harm nobody: they are found by their content only.
            for blob in &append.blobs {
                self.inner.blobs.insert(blob.hash(), blob.as_str().as_bytes());
            }
            let woken = self.inner.state().append(append)?;
            woken.into_iter().for_each(Waker::wake);
            Ok(())
        })
    }

    fn read<'a>(
        &'a self,
        tenant: &'a TenantId,
        run: &'a RunId,
        from: u64,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Line>, StoreError>> {
        Box::pin(async move {
            let state = self.inner.state();
            let (_, row) = state.find(tenant, run).ok_or_else(|| no_run(run))?;
            let from = usize::try_from(from).unwrap_or(usize::MAX);
            Ok(row.lines.iter().skip(from).take(limit).cloned().collect())
        })
    }
}

impl State {
    fn append(&mut self, append: Append) -> Result<Vec<Waker>, StoreError> {
        let now = self.now;
        let (number, row) = self.held(&append.lease)?;
        if append.first_index != row.lines.len() as u64 {
            return Err(StoreError::IndexConflict { run: append.lease.run, index: append.first_index });
        }
        row.lines.extend(append.lines);
        match append.transition {
            Transition::Continue => Ok(Vec::new()),
            Transition::Park { wake_at, inbox_seen } => {
                let claimable_at = match row.let_go(RunState::Parked) {
                    RunState::Paused => None,
                    _ if row.unseen(inbox_seen).is_empty() => wake_at,
                    _ => Some(now),
                };
                self.schedule(number, claimable_at);
                Ok(Vec::new())
            }
            Transition::Finish(finished) => {
                row.holder = None;
                finish(&mut row.record, finished, now);
                let woken = row.take_waiters();
                self.schedule(number, None);
                Ok(woken)
            }
            Transition::Bury(failure) => {
                row.holder = None;
                row.record.state = RunState::Dead;
                row.record.pausing = false;
                row.record.finished_at = Some(now);
                row.record.failure = Some(failure);
                let woken = row.take_waiters();
                self.schedule(number, None);
                Ok(woken)
            }
        }
    }
}

fn finish(record: &mut crate::runs::RunRecord, finished: RunFinished, now: Timestamp) {
    record.state = finished.status.into();
    record.pausing = false;
    record.finished_at = Some(now);
    record.output = finished.output;
    record.failure = finished.failure;
    record.cost = finished.cost;
    record.content_hash = Some(finished.content_hash);
}
