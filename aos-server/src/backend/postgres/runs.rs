//! Runs, leases and inboxes in Postgres.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use aos_core::id::{RunId, TenantId, WorkerId, WorkflowId};
use aos_core::payload::Payload;
use aos_core::queue::ConcurrencyLimit;
use aos_core::runs::{
    Claim, Created, FirstLease, InboxItem, Lease, Message, NewRun, PurgeFilter, QueueStats, RunFilter, RunPage,
    RunRecord, RunStore, StoreError,
};
use aos_core::{BoxFuture, Failure};
use sqlx::Row;

use super::create::Creation;
use super::doubt::ANSWER;
use super::heartbeat::heartbeat;
use super::row::{NEVER, columns, record};
use super::session::Pool;
use super::{Postgres, Stop, list, purge, queue};
use crate::backend::watch::Topic;

/// How long to leave the database alone when asking it failed while waiting for a change.
const AFTER_FAILURE: Duration = Duration::from_millis(500);

impl RunStore for Postgres {
    fn create(&self, run: NewRun, lease: Option<FirstLease>) -> BoxFuture<'_, Result<Created, StoreError>> {
        Box::pin(async move { self.creations.write(Creation::new(run, lease)?).await })
    }

    fn get<'a>(&'a self, tenant: &'a TenantId, run: &'a RunId) -> BoxFuture<'a, Result<Option<RunRecord>, StoreError>> {
        let (tenant, run) = (tenant.clone(), run.clone());
        Box::pin(self.run("read a run", async move |pool| {
            let sql = concat!("SELECT ", columns!(), " FROM run WHERE tenant = $1 AND run = $2");
            let row = sqlx::query(sql).bind(tenant.as_str()).bind(run.as_str()).fetch_optional(&pool).await?;
            row.as_ref().map(record).transpose()
        }))
    }

    fn by_key<'a>(
        &'a self,
        tenant: &'a TenantId,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<RunRecord>, StoreError>> {
        let (tenant, key) = (tenant.clone(), key.as_bytes().to_vec());
        Box::pin(self.run("read a run", async move |pool| {
            let sql = concat!("SELECT ", columns!(), " FROM run WHERE tenant = $1 AND idempotency_key = $2");
            let row = sqlx::query(sql).bind(tenant.as_str()).bind(key).fetch_optional(&pool).await?;
            row.as_ref().map(record).transpose()
        }))
    }

    fn list(&self, filter: RunFilter) -> BoxFuture<'_, Result<RunPage, StoreError>> {
        Box::pin(self.run("list runs", async move |pool| list::list(&pool, &filter).await))
    }

    fn count(&self, filter: RunFilter, at_most: u64) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(self.run_long("count runs", async move |pool| list::count(&pool, &filter, at_most).await))
    }

    fn claim<'a>(
        &'a self,
        worker: &'a WorkerId,
        max: usize,
        lease: Duration,
    ) -> BoxFuture<'a, Result<Vec<Claim>, StoreError>> {
        let (limits, worker) = (Arc::clone(&self.limits), worker.clone());
        Box::pin(self.run("claim runs", async move |pool| queue::claim(&pool, &limits, &worker, max, lease).await))
    }

    fn heartbeat<'a>(&'a self, leases: &'a [Lease], lease: Duration) -> BoxFuture<'a, Result<Vec<Lease>, StoreError>> {
        let leases = leases.to_vec();
        Box::pin(self.run("prolong leases", async move |pool| heartbeat(&pool, leases, lease).await))
    }

    fn release<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<(), StoreError>> {
        let lease = lease.clone();
        Box::pin(self.run("release a lease", async move |pool| {
            let sql = "UPDATE run SET worker = NULL, pausing = false,
                           ready_at = CASE WHEN pausing THEN $5 ELSE aos_now() END,
                           state = CASE WHEN pausing THEN 'paused' ELSE 'queued' END
                       WHERE tenant = $1 AND run = $2 AND epoch = $3 AND worker = $4";
            let query = sqlx::query(sql).bind(lease.tenant.as_str()).bind(lease.run.as_str());
            query.bind(lease.epoch as i64).bind(lease.worker.as_str()).bind(NEVER).execute(&pool).await?;
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
        let waiters = Arc::clone(&self.waiters);
        Box::pin(self.run("send a message", async move |pool| {
            let seq = send(&pool, &tenant, &run, &message).await?;
            waiters.notify(&[Topic::Run(tenant, run)]);
            Ok(seq)
        }))
    }

    fn inbox<'a>(
        &'a self,
        tenant: &'a TenantId,
        run: &'a RunId,
        after: u64,
    ) -> BoxFuture<'a, Result<Vec<InboxItem>, StoreError>> {
        let (tenant, run) = (tenant.clone(), run.clone());
        Box::pin(self.run("read an inbox", async move |pool| inbox(&pool, &tenant, &run, after).await))
    }

    fn pause<'a>(&'a self, tenant: &'a TenantId, run: &'a RunId) -> BoxFuture<'a, Result<RunRecord, StoreError>> {
        let (tenant, run) = (tenant.clone(), run.clone());
        let waiters = Arc::clone(&self.waiters);
        Box::pin(self.run("pause a run", async move |pool| {
            let record = queue::pause(&pool, &tenant, &run).await?;
            waiters.notify(&[Topic::Run(tenant, run)]);
            Ok(record)
        }))
    }

    fn resume<'a>(&'a self, tenant: &'a TenantId, run: &'a RunId) -> BoxFuture<'a, Result<RunRecord, StoreError>> {
        let (tenant, run) = (tenant.clone(), run.clone());
        Box::pin(self.run("resume a run", async move |pool| queue::resume(&pool, &tenant, &run).await))
    }

    fn revive<'a>(&'a self, tenant: &'a TenantId, run: &'a RunId) -> BoxFuture<'a, Result<RunRecord, StoreError>> {
        let (tenant, run) = (tenant.clone(), run.clone());
        Box::pin(self.run("revive a run", async move |pool| queue::revive(&pool, &tenant, &run).await))
    }

    fn discard<'a>(
        &'a self,
        tenant: &'a TenantId,
        run: &'a RunId,
        failure: Failure,
    ) -> BoxFuture<'a, Result<RunRecord, StoreError>> {
        let (tenant, run) = (tenant.clone(), run.clone());
        Box::pin(self.run("discard a run", async move |pool| queue::discard(&pool, &tenant, &run, &failure).await))
    }

    fn purge<'a>(&'a self, filter: &'a PurgeFilter, max: usize) -> BoxFuture<'a, Result<u64, StoreError>> {
        let filter = filter.clone();
        Box::pin(self.run_long("delete runs", async move |pool| purge::purge(&pool, &filter, max).await))
    }

    fn limit<'a>(
        &'a self,
        tenant: &'a TenantId,
        workflow: &'a WorkflowId,
        max: Option<u32>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let (limits, tenant, workflow) = (Arc::clone(&self.limits), tenant.clone(), workflow.clone());
        Box::pin(self.run_long("limit a workflow", async move |pool| {
            queue::limit(&pool, &limits, &tenant, &workflow, max).await
        }))
    }

    fn limits<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Vec<ConcurrencyLimit>, StoreError>> {
        let tenant = tenant.clone();
        Box::pin(self.run("read the limits", async move |pool| queue::limits(&pool, &tenant).await))
    }

    fn changed(&self, tenant: &TenantId, run: &RunId, after: u64) -> BoxFuture<'static, ()> {
        let (pool, waiters) = (self.pool.clone(), Arc::clone(&self.waiters));
        let (tenant, run) = (tenant.clone(), run.clone());
        Box::pin(async move {
            let watch = waiters.watch(Topic::Run(tenant.clone(), run.clone()));
            loop {
                let mut woken = pin!(watch.notify.notified());
                woken.as_mut().enable();
                let (pool, tenant, run) = (pool.clone(), tenant.clone(), run.clone());
                let look = async move { pool.doubt().in_time(ANSWER, has_changed(&pool, &tenant, &run, after)).await };
                let look = tokio::spawn(look);
                match look.await {
                    Ok(Ok(false)) => woken.await,
                    Ok(Ok(true)) => return,
                    Ok(Err(_)) | Err(_) => return tokio::time::sleep(AFTER_FAILURE).await,
                }
            }
        })
    }

    fn stats(&self) -> BoxFuture<'_, Result<QueueStats, StoreError>> {
        Box::pin(self.run("count runs", async move |pool| list::stats(&pool).await))
    }
}

/// The error for a run that the tenant does not have.
pub(super) fn no_run(run: &RunId) -> StoreError {
    StoreError::NotFound { what: "run", id: run.to_string() }
}

async fn send(pool: &Pool, tenant: &TenantId, run: &RunId, message: &Message) -> Result<u64, Stop> {
    let (signal, content) = match message {
        Message::Signal { name, payload } => (Some(name.as_bytes()), payload.as_str()),
        Message::Cancel { reason } => (None, reason.as_str()),
    };
    // A paused run would never see a request to stop.
    let sql = "WITH sent AS (
                   UPDATE run SET inbox_last = inbox_last + 1, pausing = pausing AND NOT $5,
                       ready_at = CASE WHEN state IN ('queued', 'parked') OR state = 'paused' AND $5
                                       THEN least(ready_at, CASE WHEN state <> 'queued' OR $5 THEN aos_now() END)
                                       ELSE ready_at END,
                       state = CASE WHEN state = 'paused' AND $5 THEN 'queued' ELSE state END
                   WHERE tenant = $1 AND run = $2 AND state IN ('queued', 'running', 'parked', 'paused')
                   RETURNING id, inbox_last
               )
               INSERT INTO inbox (run, seq, signal, content) SELECT id, inbox_last, $3, $4 FROM sent RETURNING seq";
    let query = sqlx::query_scalar(sql).bind(tenant.as_str()).bind(run.as_str()).bind(signal).bind(content.as_bytes());
    let seq: Option<i64> = query.bind(signal.is_none()).fetch_optional(pool).await?;
    match seq {
        Some(seq) => Ok(seq as u64),
        None => Err(queue::ended(pool, tenant, run, "takes no more messages").await?.into()),
    }
}

async fn inbox(pool: &Pool, tenant: &TenantId, run: &RunId, after: u64) -> Result<Vec<InboxItem>, Stop> {
    let damaged = |seq: i64, why: String| StoreError::Corrupt {
        what: "inbox of run",
        id: run.to_string(),
        why: format!("at item {seq}: {why}"),
    };
    // A run without items gives one row of nulls.
    let sql = "SELECT inbox.seq, inbox.signal, inbox.content FROM run
               LEFT JOIN inbox ON inbox.run = run.id AND inbox.seq > $3
               WHERE run.tenant = $1 AND run.run = $2 ORDER BY inbox.seq";
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let rows = sqlx::query(sql).bind(tenant.as_str()).bind(run.as_str()).bind(after).fetch_all(pool).await?;
    if rows.is_empty() {
        return Err(no_run(run).into());
    }
    let mut items = Vec::new();
    for row in rows {
        let Some(seq) = row.try_get::<Option<i64>, _>(0)? else { break };
        let (signal, content): (Option<Vec<u8>>, Vec<u8>) = (row.try_get(1)?, row.try_get(2)?);
        let text = |bytes| String::from_utf8(bytes).map_err(|error| damaged(seq, error.to_string()));
        let content = text(content)?;
        let message = match signal {
            Some(name) => {
                let payload = Payload::parse(&content).map_err(|failure| damaged(seq, failure.message))?;
                Message::Signal { name: text(name)?, payload }
            }
            None => Message::Cancel { reason: content },
        };
        items.push(InboxItem { seq: seq as u64, message });
    }
    Ok(items)
}

/// Whether there is something after `after` in the inbox, or the run has ended or is to pause, or there is no such
/// run.
async fn has_changed(pool: &Pool, tenant: &TenantId, run: &RunId, after: u64) -> sqlx::Result<bool> {
    let sql = "SELECT state NOT IN ('queued', 'running', 'parked', 'paused') OR pausing OR inbox_last > $3
               FROM run WHERE tenant = $1 AND run = $2";
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let query = sqlx::query_scalar(sql).bind(tenant.as_str()).bind(run.as_str()).bind(after);
    let changed: Option<bool> = query.fetch_optional(pool).await?;
    Ok(changed.unwrap_or(true))
}
