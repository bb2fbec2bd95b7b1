//! Runs, leases and inboxes in SQLite.

use std::io;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use aos_core::id::{RunId, TenantId, WorkerId, WorkflowId};
use aos_core::queue::ConcurrencyLimit;
use aos_core::runs::{
    Claim, Created, FirstLease, InboxItem, Lease, Message, NewRun, PurgeFilter, QueueStats, RunFilter, RunPage,
    RunRecord, RunState, RunStore, StoreError,
};
use aos_core::{BoxFuture, Failure};
use rusqlite::{Connection, OptionalExtension};

use super::create::Creation;
use super::error::Stop;
use super::journal::find;
use super::row::{NEVER, columns, millis, payload, record};
use super::writer::Tx;
use super::{Sqlite, list, purge, queue};
use crate::backend::watch::Topic;

/// How long to leave the database alone when asking it failed while waiting for a change.
const AFTER_FAILURE: Duration = Duration::from_millis(250);

impl RunStore for Sqlite {
    fn create(&self, run: NewRun, lease: Option<FirstLease>) -> BoxFuture<'_, Result<Created, StoreError>> {
        Box::pin(async move {
            let creation = Creation::new(run, lease)?;
            self.writer.write("create a run", move |tx| creation.write(tx)).await
        })
    }

    fn get<'a>(&'a self, tenant: &'a TenantId, run: &'a RunId) -> BoxFuture<'a, Result<Option<RunRecord>, StoreError>> {
        let (tenant, run) = (tenant.clone(), run.clone());
        Box::pin(self.readers.read("read a run", move |conn| get(conn, &tenant, &run)))
    }

    fn by_key<'a>(
        &'a self,
        tenant: &'a TenantId,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<RunRecord>, StoreError>> {
        let (tenant, key) = (tenant.clone(), key.to_owned());
        Box::pin(self.readers.read("read a run", move |conn| by_key(conn, &tenant, &key)))
    }

    fn list(&self, filter: RunFilter) -> BoxFuture<'_, Result<RunPage, StoreError>> {
        Box::pin(self.readers.read("list runs", move |conn| list::list(conn, &filter)))
    }

    fn count(&self, filter: RunFilter, at_most: u64) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(self.readers.read("count runs", move |conn| list::count(conn, &filter, at_most)))
    }

    fn claim<'a>(
        &'a self,
        worker: &'a WorkerId,
        max: usize,
        lease: Duration,
    ) -> BoxFuture<'a, Result<Vec<Claim>, StoreError>> {
        let worker = worker.clone();
        Box::pin(self.writer.write("claim runs", move |tx| queue::claim(tx, &worker, max, lease)))
    }

    fn heartbeat<'a>(&'a self, leases: &'a [Lease], lease: Duration) -> BoxFuture<'a, Result<Vec<Lease>, StoreError>> {
        let leases = leases.to_vec();
        Box::pin(self.writer.write("prolong leases", move |tx| {
            let deadline = millis(tx.now.saturating_add(lease));
            let mut lost = Vec::new();
            for lease in &leases {
                let sql = "UPDATE run SET ready_at = ?5 WHERE tenant = ?1 AND run = ?2 AND epoch = ?3 AND worker = ?4";
                if tx.sql(sql)?.execute(with_lease(lease, deadline))? == 0 {
                    lost.push(lease.clone());
                }
            }
            Ok(lost)
        }))
    }

    fn release<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<(), StoreError>> {
        let lease = lease.clone();
        Box::pin(self.writer.write("release a lease", move |tx| {
            let sql = "UPDATE run SET worker = NULL, pausing = 0,
                           ready_at = CASE WHEN pausing THEN ?6 ELSE ?5 END,
                           state = CASE WHEN pausing THEN 'paused' ELSE 'queued' END
                       WHERE tenant = ?1 AND run = ?2 AND epoch = ?3 AND worker = ?4";
            let (tenant, run, epoch, worker, now) = with_lease(&lease, millis(tx.now));
            tx.sql(sql)?.execute((tenant, run, epoch, worker, now, NEVER))?;
            Ok(())
        }))
    }

    fn send<'a>(
        &'a self,
        tenant: &'a TenantId,
        run: &'a RunId,
        message: Message,
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        let (tenant, run) = (tenant.clone(), run.clone());
        Box::pin(self.writer.write("send a message", move |tx| send(tx, &tenant, &run, &message)))
    }

    fn inbox<'a>(
        &'a self,
        tenant: &'a TenantId,
        run: &'a RunId,
        after: u64,
    ) -> BoxFuture<'a, Result<Vec<InboxItem>, StoreError>> {
        let (tenant, run) = (tenant.clone(), run.clone());
        Box::pin(self.readers.read("read an inbox", move |conn| {
            let row = find(conn, &tenant, &run)?.ok_or_else(|| no_run(&run))?;
            inbox(conn, row, &run, after)
        }))
    }

    fn pause<'a>(&'a self, tenant: &'a TenantId, run: &'a RunId) -> BoxFuture<'a, Result<RunRecord, StoreError>> {
        let (tenant, run) = (tenant.clone(), run.clone());
        Box::pin(self.writer.write("pause a run", move |tx| queue::pause(tx, &tenant, &run)))
    }

    fn resume<'a>(&'a self, tenant: &'a TenantId, run: &'a RunId) -> BoxFuture<'a, Result<RunRecord, StoreError>> {
        let (tenant, run) = (tenant.clone(), run.clone());
        Box::pin(self.writer.write("resume a run", move |tx| queue::resume(tx, &tenant, &run)))
    }

    fn revive<'a>(&'a self, tenant: &'a TenantId, run: &'a RunId) -> BoxFuture<'a, Result<RunRecord, StoreError>> {
        let (tenant, run) = (tenant.clone(), run.clone());
        Box::pin(self.writer.write("revive a run", move |tx| queue::revive(tx, &tenant, &run)))
    }

    fn discard<'a>(
        &'a self,
        tenant: &'a TenantId,
        run: &'a RunId,
        failure: Failure,
    ) -> BoxFuture<'a, Result<RunRecord, StoreError>> {
        let (tenant, run) = (tenant.clone(), run.clone());
        Box::pin(self.writer.write("discard a run", move |tx| queue::discard(tx, &tenant, &run, &failure)))
    }

    fn purge<'a>(&'a self, filter: &'a PurgeFilter, max: usize) -> BoxFuture<'a, Result<u64, StoreError>> {
        let filter = filter.clone();
        Box::pin(self.writer.write("delete runs", move |tx| purge::purge(tx, &filter, max)))
    }

    fn limit<'a>(
        &'a self,
        tenant: &'a TenantId,
        workflow: &'a WorkflowId,
        max: Option<u32>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let (tenant, workflow) = (tenant.clone(), workflow.clone());
        Box::pin(self.writer.write("limit a workflow", move |tx| queue::limit(tx, &tenant, &workflow, max)))
    }

    fn limits<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Vec<ConcurrencyLimit>, StoreError>> {
        let tenant = tenant.clone();
        Box::pin(self.readers.read("read the limits", move |conn| queue::limits(conn, &tenant)))
    }

    fn changed(&self, tenant: &TenantId, run: &RunId, after: u64) -> BoxFuture<'static, ()> {
        let (readers, waiters) = (Arc::clone(&self.readers), Arc::clone(&self.waiters));
        let (tenant, run) = (tenant.clone(), run.clone());
        Box::pin(async move {
            let watch = waiters.watch(Topic::Run(tenant.clone(), run.clone()));
            loop {
                let mut woken = pin!(watch.notify.notified());
                woken.as_mut().enable();
                let (tenant, run) = (tenant.clone(), run.clone());
                match readers.read("look for changes", move |conn| Ok(has_changed(conn, &tenant, &run, after)?)).await {
                    Ok(false) => woken.await,
                    Ok(true) => return,
                    Err(_) => return tokio::time::sleep(AFTER_FAILURE).await,
                }
            }
        })
    }

    fn stats(&self) -> BoxFuture<'_, Result<QueueStats, StoreError>> {
        let now = millis(self.clock.now());
        let path = self.path.clone();
        Box::pin(self.readers.read("count runs", move |conn| {
            is_still_there(&path)?;
            list::stats(conn, now)
        }))
    }
}

impl Sqlite {
    /// Ends every lease now; gives how many there were.
    pub(super) async fn end_leases(&self) -> Result<usize, StoreError> {
        let work = |tx: &Tx<'_>| {
            // Still `running`, so that the claim counts as a rescue.
            let sql = "UPDATE run SET ready_at = ?1 WHERE ready_at > ?1 AND state = 'running'";
            Ok(tx.sql(sql)?.execute([millis(tx.now)])?)
        };
        self.writer.write("end the leases of dead workers", work).await
    }
}

/// The error for a run that the tenant does not have.
pub(super) fn no_run(run: &RunId) -> StoreError {
    StoreError::NotFound { what: "run", id: run.to_string() }
}

fn with_lease(lease: &Lease, at: i64) -> (&str, &str, i64, &str, i64) {
    (lease.tenant.as_str(), lease.run.as_str(), lease.epoch as i64, lease.worker.as_str(), at)
}

pub(super) fn by_key(conn: &Connection, tenant: &TenantId, key: &str) -> Result<Option<RunRecord>, Stop> {
    let sql = concat!("SELECT ", columns!(), " FROM run WHERE tenant = ?1 AND idempotency_key = ?2");
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query((tenant.as_str(), key))?;
    rows.next()?.map(|row| record(conn, row)).transpose()
}

pub(super) fn get(conn: &Connection, tenant: &TenantId, run: &RunId) -> Result<Option<RunRecord>, Stop> {
    let sql = concat!("SELECT ", columns!(), " FROM run WHERE tenant = ?1 AND run = ?2");
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query((tenant.as_str(), run.as_str()))?;
    rows.next()?.map(|row| record(conn, row)).transpose()
}

fn send(tx: &Tx<'_>, tenant: &TenantId, run: &RunId, message: &Message) -> Result<u64, Stop> {
    let sql = "SELECT id, state, (SELECT coalesce(max(seq), 0) + 1 FROM inbox WHERE inbox.run = run.id)
               FROM run WHERE tenant = ?1 AND run = ?2";
    let found: Option<(i64, String, i64)> = tx
        .sql(sql)?
        .query_row((tenant.as_str(), run.as_str()), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let (row, state, seq) = found.ok_or_else(|| no_run(run))?;
    if let Some(state) = RunState::from_text(&state).filter(|state| state.is_terminal()) {
        return Err(StoreError::ended(run, state, "takes no more messages").into());
    }
    let (signal, content) = match message {
        Message::Signal { name, payload } => (Some(name.as_str()), payload.as_str()),
        Message::Cancel { reason } => (None, reason.as_str()),
    };
    tx.sql("INSERT INTO inbox (run, seq, signal, content) VALUES (?1, ?2, ?3, ?4)")?.execute((
        row,
        seq,
        signal,
        content.as_bytes(),
    ))?;
    // A paused run would never see a request to stop.
    let sql = if signal.is_some() {
        "UPDATE run SET ready_at = min(ready_at, ?2) WHERE id = ?1 AND state = 'parked'"
    } else {
        "UPDATE run SET pausing = 0,
             ready_at = CASE WHEN state = 'running' THEN ready_at ELSE min(ready_at, ?2) END,
             state = CASE WHEN state = 'paused' THEN 'queued' ELSE state END
         WHERE id = ?1"
    };
    tx.sql(sql)?.execute((row, millis(tx.now)))?;
    tx.changed(Topic::Run(tenant.clone(), run.clone()));
    Ok(seq as u64)
}

fn inbox(conn: &Connection, row: i64, run: &RunId, after: u64) -> Result<Vec<InboxItem>, Stop> {
    let damaged = |seq: i64, why: String| StoreError::Corrupt {
        what: "inbox of run",
        id: run.to_string(),
        why: format!("at item {seq}: {why}"),
    };
    let sql = "SELECT seq, signal, content FROM inbox WHERE run = ?1 AND seq > ?2 ORDER BY seq";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query((row, i64::try_from(after).unwrap_or(i64::MAX)))?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        let (seq, signal, content): (i64, Option<String>, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let message = match signal {
            Some(name) => Message::Signal { name, payload: payload(&content).map_err(|why| damaged(seq, why))? },
            None => {
                Message::Cancel { reason: String::from_utf8(content).map_err(|error| damaged(seq, error.to_string()))? }
            }
        };
        items.push(InboxItem { seq: seq as u64, message });
    }
    Ok(items)
}

/// Whether there is something after `after` in the inbox, or the run has ended or is to pause, or there is no such
/// run.
fn has_changed(conn: &Connection, tenant: &TenantId, run: &RunId, after: u64) -> rusqlite::Result<bool> {
    let sql = "SELECT state IN ('succeeded', 'failed', 'cancelled', 'dead') OR pausing
                   OR EXISTS (SELECT 1 FROM inbox WHERE inbox.run = run.id AND seq > ?3)
               FROM run WHERE tenant = ?1 AND run = ?2";
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let changed = conn.prepare_cached(sql)?.query_row((tenant.as_str(), run.as_str(), after), |row| row.get(0));
    Ok(changed.optional()?.unwrap_or(true))
}

/// Connections keep working on a file that was removed, and what they write vanishes with the process.
fn is_still_there(path: &Path) -> Result<(), StoreError> {
    let gone = |error: io::Error| {
        let why = format!("{} is gone ({error}): what is written now is lost when the server ends", path.display());
        StoreError::Unavailable {
            operation: "find the database file",
            source: Box::new(io::Error::new(error.kind(), why)),
        }
    };
    std::fs::metadata(path).map(drop).map_err(gone)
}
