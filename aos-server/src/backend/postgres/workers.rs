//! Which workers there are, in Postgres.

use std::time::Duration;

use aos_core::BoxFuture;
use aos_core::id::{IdError, WorkerId};
use aos_core::runs::StoreError;
use aos_core::workers::{WorkerRecord, WorkerReport, WorkerStore};
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::row::{millis_of, readable, timestamp};
use super::{Postgres, Stop};

/// How long a worker that is not alive stays listed.
const REMEMBERED: Duration = Duration::from_secs(3_600);

const REPORT: &str = "
    WITH now AS MATERIALIZED (SELECT aos_now() AS at), forgotten AS (
        DELETE FROM worker WHERE id IN (
            SELECT id FROM worker WHERE alive_until <= (SELECT at FROM now) - $10 AND id <> $1
            FOR UPDATE SKIP LOCKED)
    )
    INSERT INTO worker (id, role, host, pid, version, concurrency, in_hand, draining, since, seen_at, alive_until)
    SELECT $1, $2, $3, $4, $5, $6, $7, $8, at, at, at + $9 FROM now
    ON CONFLICT (id) DO UPDATE SET role = excluded.role, host = excluded.host, pid = excluded.pid,
        version = excluded.version, concurrency = excluded.concurrency, in_hand = excluded.in_hand,
        draining = excluded.draining, seen_at = excluded.seen_at, alive_until = excluded.alive_until";

impl WorkerStore for Postgres {
    fn report<'a>(&'a self, report: &'a WorkerReport, ttl: Duration) -> BoxFuture<'a, Result<(), StoreError>> {
        let report = report.clone();
        Box::pin(self.run("keep a worker's report", async move |pool| {
            sqlx::query(REPORT)
                .bind(report.worker.as_str())
                .bind(readable(&report.role))
                .bind(readable(&report.host))
                .bind(i64::from(report.pid))
                .bind(readable(&report.version))
                .bind(i64::from(report.concurrency))
                .bind(i64::from(report.in_hand))
                .bind(report.draining)
                .bind(millis_of(ttl))
                .bind(millis_of(REMEMBERED))
                .execute(&pool)
                .await?;
            Ok(())
        }))
    }

    fn leave<'a>(&'a self, worker: &'a WorkerId) -> BoxFuture<'a, Result<(), StoreError>> {
        let worker = worker.clone();
        Box::pin(self.run("forget a worker", async move |pool| {
            sqlx::query("DELETE FROM worker WHERE id = $1").bind(worker.as_str()).execute(&pool).await?;
            Ok(())
        }))
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<WorkerRecord>, StoreError>> {
        Box::pin(self.run("list workers", async move |pool| {
            let sql = "SELECT id, role, host, pid, version, concurrency, in_hand, draining, since, seen_at,
                           alive_until > aos_now()
                       FROM worker ORDER BY id COLLATE \"C\"";
            sqlx::query(sql).fetch_all(&pool).await?.iter().map(record).collect()
        }))
    }
}

fn record(row: &PgRow) -> Result<WorkerRecord, Stop> {
    let id: &str = row.try_get(0)?;
    let damaged = |column: &str, why: String| StoreError::Corrupt {
        what: "row of worker",
        id: id.to_owned(),
        why: format!("column {column}: {why}"),
    };
    let count = |column| {
        let number: i64 = row.try_get(column)?;
        Ok::<_, Stop>(u32::try_from(number).map_err(|error| damaged(column, error.to_string()))?)
    };
    Ok(WorkerRecord {
        report: WorkerReport {
            worker: id.parse().map_err(|error: IdError| damaged("id", error.to_string()))?,
            role: row.try_get(1)?,
            host: row.try_get(2)?,
            pid: count("pid")?,
            version: row.try_get(4)?,
            concurrency: count("concurrency")?,
            in_hand: count("in_hand")?,
            draining: row.try_get(7)?,
        },
        since: timestamp(row.try_get(8)?),
        seen_at: timestamp(row.try_get(9)?),
        alive: row.try_get(10)?,
    })
}
