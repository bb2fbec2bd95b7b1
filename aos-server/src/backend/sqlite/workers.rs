//! Which workers there are, in SQLite.

use std::time::Duration;

use aos_core::BoxFuture;
use aos_core::id::{IdError, WorkerId};
use aos_core::runs::StoreError;
use aos_core::time::Timestamp;
use aos_core::workers::{WorkerRecord, WorkerReport, WorkerStore};
use rusqlite::{Row, params};

use super::Sqlite;
use super::error::Stop;
use super::row::{millis, timestamp};
use super::writer::Tx;

/// How long a worker that is not alive stays listed, in milliseconds.
const REMEMBERED: i64 = 3_600_000;

impl WorkerStore for Sqlite {
    fn report<'a>(&'a self, report: &'a WorkerReport, ttl: Duration) -> BoxFuture<'a, Result<(), StoreError>> {
        let report = report.clone();
        Box::pin(self.writer.write("keep a worker's report", move |tx| keep(tx, &report, ttl)))
    }

    fn leave<'a>(&'a self, worker: &'a WorkerId) -> BoxFuture<'a, Result<(), StoreError>> {
        let worker = worker.clone();
        Box::pin(self.writer.write("forget a worker", move |tx| {
            tx.sql("DELETE FROM worker WHERE id = ?1")?.execute([worker.as_str()])?;
            Ok(())
        }))
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<WorkerRecord>, StoreError>> {
        let now = self.clock.now();
        Box::pin(self.readers.read("list workers", move |conn| {
            let sql = "SELECT id, role, host, pid, version, concurrency, in_hand, draining, since, seen_at, alive_until
                       FROM worker ORDER BY id";
            let mut statement = conn.prepare_cached(sql)?;
            let mut rows = statement.query([])?;
            let mut workers = Vec::new();
            while let Some(row) = rows.next()? {
                workers.push(record(row, now)?);
            }
            Ok(workers)
        }))
    }
}

fn keep(tx: &Tx<'_>, report: &WorkerReport, ttl: Duration) -> Result<(), Stop> {
    let (worker, now) = (report.worker.as_str(), millis(tx.now));
    let sql = "DELETE FROM worker WHERE alive_until <= ?1 AND id <> ?2";
    tx.sql(sql)?.execute((now.saturating_sub(REMEMBERED), worker))?;
    let sql = "INSERT INTO worker (id, role, host, pid, version, concurrency, in_hand, draining, since, seen_at,
                   alive_until)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?10)
               ON CONFLICT (id) DO UPDATE SET role = excluded.role, host = excluded.host, pid = excluded.pid,
                   version = excluded.version, concurrency = excluded.concurrency, in_hand = excluded.in_hand,
                   draining = excluded.draining, seen_at = excluded.seen_at, alive_until = excluded.alive_until";
    tx.sql(sql)?.execute(params![
        worker,
        report.role,
        report.host,
        report.pid,
        report.version,
        report.concurrency,
        report.in_hand,
        report.draining,
        now,
        millis(tx.now.saturating_add(ttl)),
    ])?;
    Ok(())
}

fn record(row: &Row<'_>, now: Timestamp) -> Result<WorkerRecord, Stop> {
    let id: String = row.get(0)?;
    let worker = id.parse().map_err(|error: IdError| StoreError::Corrupt {
        what: "row of worker",
        id: id.clone(),
        why: format!("column id: {error}"),
    })?;
    Ok(WorkerRecord {
        report: WorkerReport {
            worker,
            role: row.get(1)?,
            host: row.get(2)?,
            pid: row.get(3)?,
            version: row.get(4)?,
            concurrency: row.get(5)?,
            in_hand: row.get(6)?,
            draining: row.get(7)?,
        },
        since: timestamp(row.get(8)?),
        seen_at: timestamp(row.get(9)?),
        alive: timestamp(row.get(10)?) > now,
    })
}
