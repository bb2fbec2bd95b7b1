//! Which runs are claimed next: priorities, limits and pauses, in SQLite.

use std::cmp::Reverse;
use std::time::Duration;

use aos_core::Failure;
use aos_core::id::{RunId, TenantId, WorkerId, WorkflowId};
use aos_core::queue::{ConcurrencyLimit, Priority};
use aos_core::runs::{Claim, Lease, RunRecord, RunState, StoreError};
use rusqlite::{Connection, OptionalExtension};

use super::error::Stop;
use super::row::{NEVER, columns, failure_json, millis, record};
use super::runs::no_run;
use super::writer::Tx;
use crate::backend::watch::Topic;

/// A run that can be claimed: its place in the order of claims, and its row.
type Ready = (Reverse<u8>, i64, i64);

pub(super) fn claim(tx: &Tx<'_>, worker: &WorkerId, max: usize, lease: Duration) -> Result<Vec<Claim>, Stop> {
    let mut ready = unlimited(tx, max)?;
    ready.extend(limited(tx, max)?);
    ready.sort_unstable();
    let deadline = millis(tx.now.saturating_add(lease));
    let mut claims = Vec::with_capacity(ready.len().min(max));
    for (_, _, id) in ready.into_iter().take(max) {
        let sql = concat!(
            "UPDATE run SET rescues = rescues * (entries_at_claim = now.entries) + (state = 'running'),
                 entries_at_claim = now.entries, state = 'running', epoch = epoch + 1, worker = ?2, ready_at = ?3
             FROM (SELECT coalesce((SELECT first + lines FROM entry WHERE entry.run = ?1
                                    ORDER BY first DESC LIMIT 1), 0) AS entries) AS now
             WHERE id = ?1 RETURNING ",
            columns!(),
            ", epoch"
        );
        let mut statement = tx.sql(sql)?;
        let mut rows = statement.query((id, worker.as_str(), deadline))?;
        let Some(row) = rows.next()? else { continue };
        let record = record(tx.conn, row)?;
        let lease = Lease {
            tenant: record.new.tenant.clone(),
            run: record.new.run.clone(),
            worker: worker.clone(),
            epoch: row.get::<_, i64>("epoch")? as u64,
        };
        claims.push(Claim { lease, record });
    }
    Ok(claims)
}

/// The ready runs of the lanes without a limit. Lane by lane, or an index would be read past everything of an urgent
/// lane that is not due yet.
fn unlimited(tx: &Tx<'_>, max: usize) -> Result<Vec<Ready>, Stop> {
    let sql = "SELECT ready_at, id FROM run WHERE lane = ?1 AND ready_at <= ?2 ORDER BY ready_at, id LIMIT ?3";
    let mut statement = tx.sql(sql)?;
    let mut ready = Vec::new();
    for priority in Priority::all() {
        let wanted = i64::try_from(max - ready.len()).unwrap_or(i64::MAX);
        if wanted == 0 {
            break;
        }
        let rows = statement.query_map((priority.get(), millis(tx.now), wanted), |row| {
            Ok((Reverse(priority.get()), row.get(0)?, row.get(1)?))
        })?;
        ready.extend(rows.collect::<Result<Vec<_>, _>>()?);
    }
    Ok(ready)
}

/// The ready runs of workflows with a limit, of each as many as there is room for.
fn limited(tx: &Tx<'_>, max: usize) -> Result<Vec<Ready>, Stop> {
    let limits: Vec<(String, String, i64)> = tx
        .sql("SELECT tenant, workflow, max FROM workflow_limit")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    let mut ready = Vec::new();
    for (tenant, workflow, limit) in limits {
        let sql = "SELECT count(*) FROM run
                   WHERE tenant = ?1 AND workflow = ?2 AND lane >= 10 AND state = 'running' AND ready_at > ?3";
        let held: i64 = tx.sql(sql)?.query_row((&tenant, &workflow, millis(tx.now)), |row| row.get(0))?;
        let room = limit.saturating_sub(held).clamp(0, i64::try_from(max).unwrap_or(i64::MAX));
        let sql = "SELECT priority, ready_at, id FROM run
                   WHERE tenant = ?1 AND workflow = ?2 AND lane >= 10 AND ready_at <= ?3
                   ORDER BY lane DESC, ready_at, id LIMIT ?4";
        let mut statement = tx.sql(sql)?;
        let rows = statement.query_map((&tenant, &workflow, millis(tx.now), room), |row| {
            Ok((Reverse(row.get(0)?), row.get(1)?, row.get(2)?))
        })?;
        ready.extend(rows.collect::<Result<Vec<_>, _>>()?);
    }
    Ok(ready)
}

/// Whether runs of the workflow are for claims only.
pub(super) fn is_limited(tx: &Tx<'_>, tenant: &TenantId, workflow: &WorkflowId) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM workflow_limit WHERE tenant = ?1 AND workflow = ?2)";
    tx.sql(sql)?.query_row((tenant.as_str(), workflow.as_str()), |row| row.get(0))
}

/// The lane of a run.
pub(super) fn lane(priority: Priority, is_limited: bool) -> u8 {
    priority.get() + if is_limited { 10 } else { 0 }
}

pub(super) fn pause(tx: &Tx<'_>, tenant: &TenantId, run: &RunId) -> Result<RunRecord, Stop> {
    let sql = concat!(
        "UPDATE run SET
             pausing = state = 'running',
             ready_at = CASE WHEN state = 'running' THEN ready_at ELSE ?3 END,
             state = CASE WHEN state = 'running' THEN state ELSE 'paused' END
         WHERE tenant = ?1 AND run = ?2 AND state IN ('queued', 'running', 'parked', 'paused')
         RETURNING ",
        columns!()
    );
    let record = change(tx, sql, tenant, run, NEVER, "can't be paused")?;
    tx.changed(Topic::Run(tenant.clone(), run.clone()));
    Ok(record)
}

pub(super) fn resume(tx: &Tx<'_>, tenant: &TenantId, run: &RunId) -> Result<RunRecord, Stop> {
    let sql = concat!(
        "UPDATE run SET
             pausing = 0,
             ready_at = CASE WHEN state = 'paused' THEN max(coalesce(start_at, 0), ?3) ELSE ready_at END,
             state = CASE WHEN state = 'paused' THEN 'queued' ELSE state END
         WHERE tenant = ?1 AND run = ?2 AND state IN ('queued', 'running', 'parked', 'paused')
         RETURNING ",
        columns!()
    );
    change(tx, sql, tenant, run, millis(tx.now), "can't be resumed")
}

pub(super) fn revive(tx: &Tx<'_>, tenant: &TenantId, run: &RunId) -> Result<RunRecord, Stop> {
    let sql = concat!(
        "UPDATE run SET state = 'queued', ready_at = ?3, finished_at = NULL, failure = NULL, rescues = 0
         WHERE tenant = ?1 AND run = ?2 AND state = 'dead'
         RETURNING ",
        columns!()
    );
    let mut statement = tx.sql(sql)?;
    let mut rows = statement.query((tenant.as_str(), run.as_str(), millis(tx.now)))?;
    match rows.next()? {
        Some(row) => record(tx.conn, row),
        None => Err(not_dead(tx.conn, tenant, run, "revived")?.into()),
    }
}

pub(super) fn discard(tx: &Tx<'_>, tenant: &TenantId, run: &RunId, failure: &Failure) -> Result<RunRecord, Stop> {
    let sql = concat!(
        "UPDATE run SET state = 'cancelled', ready_at = NULL, finished_at = ?3, failure = ?4
         WHERE tenant = ?1 AND run = ?2 AND state = 'dead'
         RETURNING ",
        columns!()
    );
    let mut statement = tx.sql(sql)?;
    let mut rows = statement.query((tenant.as_str(), run.as_str(), millis(tx.now), failure_json(failure)?))?;
    match rows.next()? {
        Some(row) => record(tx.conn, row),
        None => Err(not_dead(tx.conn, tenant, run, "discarded")?.into()),
    }
}

fn change(
    tx: &Tx<'_>,
    sql: &'static str,
    tenant: &TenantId,
    run: &RunId,
    at: i64,
    cannot: &str,
) -> Result<RunRecord, Stop> {
    let mut statement = tx.sql(sql)?;
    let mut rows = statement.query((tenant.as_str(), run.as_str(), at))?;
    match rows.next()? {
        Some(row) => record(tx.conn, row),
        None => Err(ended(tx.conn, tenant, run, cannot)?.into()),
    }
}

/// Why a run that was not found among the open ones `cannot` do something.
fn ended(conn: &Connection, tenant: &TenantId, run: &RunId, cannot: &str) -> rusqlite::Result<StoreError> {
    let state = state(conn, tenant, run)?;
    Ok(state.map_or_else(|| no_run(run), |state| StoreError::ended(run, state, cannot)))
}

fn not_dead(conn: &Connection, tenant: &TenantId, run: &RunId, what: &str) -> rusqlite::Result<StoreError> {
    let state = state(conn, tenant, run)?;
    Ok(state.map_or_else(|| no_run(run), |state| StoreError::not_dead(run, state, what)))
}

fn state(conn: &Connection, tenant: &TenantId, run: &RunId) -> rusqlite::Result<Option<RunState>> {
    let mut statement = conn.prepare_cached("SELECT state FROM run WHERE tenant = ?1 AND run = ?2")?;
    let state: Option<String> = statement.query_row((tenant.as_str(), run.as_str()), |row| row.get(0)).optional()?;
    Ok(state.as_deref().and_then(RunState::from_text))
}

pub(super) fn limit(tx: &Tx<'_>, tenant: &TenantId, workflow: &WorkflowId, max: Option<u32>) -> Result<(), Stop> {
    match max {
        Some(max) => {
            let sql = "INSERT INTO workflow_limit (tenant, workflow, max) VALUES (?1, ?2, ?3)
                       ON CONFLICT (tenant, workflow) DO UPDATE SET max = ?3";
            tx.sql(sql)?.execute((tenant.as_str(), workflow.as_str(), max))?
        }
        None => {
            let sql = "DELETE FROM workflow_limit WHERE tenant = ?1 AND workflow = ?2";
            tx.sql(sql)?.execute((tenant.as_str(), workflow.as_str()))?
        }
    };
    let lanes = if max.is_some() { 10 } else { 0 };
    let sql = "UPDATE run SET lane = priority + ?3 WHERE tenant = ?1 AND workflow = ?2 AND ready_at IS NOT NULL";
    tx.sql(sql)?.execute((tenant.as_str(), workflow.as_str(), lanes))?;
    Ok(())
}

pub(super) fn limits(conn: &Connection, tenant: &TenantId) -> Result<Vec<ConcurrencyLimit>, Stop> {
    let sql = "SELECT workflow, max FROM workflow_limit WHERE tenant = ?1 ORDER BY workflow";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([tenant.as_str()])?;
    let mut limits = Vec::new();
    while let Some(row) = rows.next()? {
        let workflow: String = row.get(0)?;
        let damaged = |why: String| StoreError::Corrupt { what: "limit of workflow", id: workflow.clone(), why };
        let id = workflow.parse().map_err(|error: aos_core::id::IdError| damaged(error.to_string()))?;
        limits.push(ConcurrencyLimit { workflow: id, max: row.get(1)? });
    }
    Ok(limits)
}
