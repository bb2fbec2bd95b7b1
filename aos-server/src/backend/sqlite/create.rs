//! Accepting runs.

use aos_core::id::{ApiKeyId, RunId};
use aos_core::money::Money;
use aos_core::runs::{Created, FirstLease, Lease, NewRun, RunRecord, RunState, StoreError};
use rusqlite::{Connection, params};

use super::error::Stop;
use super::journal::Entries;
use super::row::{INLINE_INPUT_BYTES, millis, picodollars};
use super::runs::{by_key, get, no_run};
use super::writer::Tx;
use super::{blob, queue};

/// A run to accept, who is to hold it from the start, and what its journal begins with then.
pub(super) struct Creation {
    new: NewRun,
    first: Option<(FirstLease, Entries)>,
}

impl Creation {
    pub(super) fn new(new: NewRun, lease: Option<FirstLease>) -> Result<Self, StoreError> {
        let first = lease.map(|lease| {
            let entries = Entries::new(&new.run, 0, &lease.lines, &lease.blobs)?;
            Ok((lease, entries))
        });
        Ok(Self { first: first.transpose()?, new })
    }

    pub(super) fn write(&self, tx: &Tx<'_>) -> Result<Created, Stop> {
        let new = &self.new;
        let inline = Some(new.input.as_str().as_bytes()).filter(|input| input.len() <= INLINE_INPUT_BYTES);
        let input_hash = if inline.is_none() { Some(new.input.hash()) } else { None };
        let is_limited = queue::is_limited(tx, &new.tenant, &new.workflow.id)?;
        let start = new.start_at.map_or(tx.now, |at| at.max(tx.now));
        // What has a limit or is not due is for claims; but the past of a fork has to be written.
        let first = self.first.as_ref().filter(|_| !is_limited && start == tx.now || new.forked_from.is_some());
        let (state, epoch) = if first.is_some() { (RunState::Running, 1_u64) } else { (RunState::Queued, 0) };
        let ready_at = first.map_or(start, |(lease, _)| tx.now.saturating_add(lease.duration));
        let inserted = tx
            .sql(
                "INSERT INTO run (state, epoch, worker, ready_at, tenant, run, workflow, version, plan, input,
                     input_hash, seed, budget, parent, fork_run, fork_effect, idempotency_key, request_id, created_at,
                     priority, start_at, lane, api_key, trace)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20,
                     ?21, ?22, ?23, ?24)
                 ON CONFLICT DO NOTHING",
            )?
            .execute(params![
                state.as_str(),
                epoch as i64,
                first.map(|(lease, _)| lease.worker.as_str()),
                millis(ready_at),
                new.tenant.as_str(),
                new.run.as_str(),
                new.workflow.id.as_str(),
                new.workflow.version.to_string(),
                new.plan.as_bytes(),
                inline,
                input_hash.as_ref().map(|hash| hash.as_bytes()),
                new.seed.get() as i64,
                new.budget.map(picodollars),
                new.parent.as_ref().map(RunId::as_str),
                new.forked_from.as_ref().map(|fork| fork.run.as_str()),
                new.forked_from.as_ref().map(|fork| fork.effect.as_str()),
                new.idempotency_key,
                new.request_id,
                millis(tx.now),
                new.priority.get(),
                new.start_at.map(millis),
                queue::lane(new.priority, is_limited),
                new.api_key.as_ref().map(ApiKeyId::as_str),
                new.trace.map(|trace| trace.to_string()),
            ])?;
        if inserted == 0 {
            return Ok(existing(tx.conn, new)?.same_request(new)?);
        }
        let row = tx.conn.last_insert_rowid();
        if let Some(hash) = input_hash {
            blob::insert(tx, &hash, new.input.as_str().as_bytes())?;
        }
        if let Some((_, entries)) = first {
            entries.write(tx, row)?;
        }
        let record = RunRecord {
            new: new.clone(),
            state,
            created_at: tx.now,
            finished_at: None,
            output: None,
            failure: None,
            cost: Money::ZERO,
            content_hash: None,
            rescues: 0,
            pausing: false,
            inbox_last: 0,
        };
        let lease = first.map(|(lease, _)| Lease {
            tenant: new.tenant.clone(),
            run: new.run.clone(),
            worker: lease.worker.clone(),
            epoch,
        });
        Ok(Created::New(record, lease))
    }
}

/// The run that a creation names already, by its key or its id.
fn existing(conn: &Connection, new: &NewRun) -> Result<RunRecord, Stop> {
    if let Some(key) = &new.idempotency_key
        && let Some(record) = by_key(conn, &new.tenant, key)?
    {
        return Ok(record);
    }
    get(conn, &new.tenant, &new.run)?.ok_or_else(|| no_run(&new.run).into())
}
