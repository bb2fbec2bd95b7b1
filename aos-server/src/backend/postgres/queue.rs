//! Which runs are claimed next: priorities, limits and pauses, in Postgres.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use aos_core::Failure;
use aos_core::id::{RunId, TenantId, WorkerId, WorkflowId};
use aos_core::queue::ConcurrencyLimit;
use aos_core::runs::{Claim, Lease, RunRecord, RunState, StoreError};
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::Stop;
use super::row::{NEVER, columns, failure_json, millis_of, record};
use super::runs::no_run;
use super::session::{Pool, Transaction};

/// How long a process goes on believing that no workflow has a limit. Limited runs lie in lanes of their own, so that
/// believing it wrongly delays them and does nothing worse.
const LIMITS_SEEN: Duration = Duration::from_secs(1);

/// Whether any workflow has a limit, as far as this process knows.
pub(super) struct Limits {
    any: AtomicBool,
    looked: Mutex<Option<Instant>>,
}

impl Limits {
    pub(super) const fn new() -> Self {
        Self { any: AtomicBool::new(false), looked: Mutex::new(None) }
    }

    async fn any(&self, pool: &Pool) -> sqlx::Result<bool> {
        let is_due = {
            let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
            let is_due = looked.is_none_or(|at| at.elapsed() > LIMITS_SEEN);
            if is_due {
                *looked = Some(Instant::now());
            }
            is_due
        };
        if is_due {
            let any = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM workflow_limit)").fetch_one(pool).await?;
            self.any.store(any, Ordering::Relaxed);
        }
        Ok(self.any.load(Ordering::Relaxed))
    }
}

/// The ready runs of every lane without a limit, the most urgent first. Lane by lane, or an index would be read past
/// everything of an urgent lane that is not due yet.
macro_rules! unlimited {
    () => {
        "SELECT ready.* FROM generate_series(9, 0, -1) AS lanes(lane) CROSS JOIN LATERAL (
             SELECT id, ready_at, priority FROM run WHERE lane = lanes.lane AND ready_at <= (SELECT at FROM now)
             ORDER BY ready_at, id LIMIT $2 FOR UPDATE SKIP LOCKED
         ) AS ready"
    };
}

/// Claims what is `ready`, which is materialised, or a plan that runs it more than once claims more than the limit.
macro_rules! claim {
    ($ready:expr) => {
        concat!(
            "WITH now AS MATERIALIZED (SELECT aos_now() AS at), ready AS MATERIALIZED (",
            $ready,
            ")
             UPDATE run SET
                 rescues = CASE WHEN run.index_at_claim = run.next_index THEN run.rescues ELSE 0 END
                     + (run.state = 'running')::integer,
                 index_at_claim = run.next_index, state = 'running', epoch = run.epoch + 1, worker = $1,
                 ready_at = (SELECT at FROM now) + $3
             FROM ready WHERE run.id = ready.id
             RETURNING ready.ready_at AS was_ready_at, run.id, run.epoch, ",
            columns!()
        )
    };
}

const CLAIM: &str = claim!(concat!(unlimited!(), " LIMIT $2"));

/// Claims of limited lanes too. Their limits are locked by an earlier statement of the same transaction, and this one
/// sees what was claimed until then.
const CLAIM_LIMITED: &str = claim!(concat!(
    "SELECT * FROM (SELECT * FROM (",
    unlimited!(),
    " LIMIT $2) AS unlimited UNION ALL
      SELECT ready.* FROM unnest($4::text[], $5::text[], $6::bigint[]) AS limits(tenant, workflow, max)
      CROSS JOIN LATERAL (
          SELECT id, ready_at, priority FROM run
          WHERE tenant = limits.tenant AND workflow = limits.workflow AND lane >= 10
              AND ready_at <= (SELECT at FROM now)
          ORDER BY priority DESC, ready_at, id
          LIMIT least($2, greatest(0, limits.max - (
              SELECT count(*) FROM run AS held
              WHERE held.tenant = limits.tenant AND held.workflow = limits.workflow AND held.lane >= 10
                  AND held.state = 'running' AND held.ready_at > (SELECT at FROM now))))
          FOR UPDATE SKIP LOCKED
      ) AS ready) AS ready
      ORDER BY priority DESC, ready_at, id LIMIT $2"
));

pub(super) async fn claim(
    pool: &Pool,
    limits: &Limits,
    worker: &WorkerId,
    max: usize,
    lease: Duration,
) -> Result<Vec<Claim>, Stop> {
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    let rows = if limits.any(pool).await? {
        claim_limited(pool, worker, max, lease).await?
    } else {
        let query = sqlx::query(CLAIM).bind(worker.as_str()).bind(max).bind(millis_of(lease));
        query.fetch_all(pool).await?
    };
    let mut claims = rows.iter().map(|row| claimed(row, worker)).collect::<Result<Vec<_>, Stop>>()?;
    claims.sort_by_key(|(place, claim)| (std::cmp::Reverse(claim.record.new.priority), *place));
    Ok(claims.into_iter().map(|(_, claim)| claim).collect())
}

async fn claim_limited(pool: &Pool, worker: &WorkerId, max: i64, lease: Duration) -> sqlx::Result<Vec<PgRow>> {
    let mut tx = pool.begin().await?;
    // Who finds a limit locked leaves its runs to whoever has it.
    let sql = "SELECT tenant, workflow, max FROM workflow_limit FOR UPDATE SKIP LOCKED";
    let limits: Vec<(String, String, i64)> = sqlx::query_as(sql).fetch_all(&mut tx).await?;
    let (mut tenants, mut workflows, mut maxima) = (Vec::new(), Vec::new(), Vec::new());
    for (tenant, workflow, max) in limits {
        tenants.push(tenant);
        workflows.push(workflow);
        maxima.push(max);
    }
    let query = sqlx::query(CLAIM_LIMITED).bind(worker.as_str()).bind(max).bind(millis_of(lease));
    let rows = query.bind(tenants).bind(workflows).bind(maxima).fetch_all(&mut tx).await?;
    tx.commit().await?;
    Ok(rows)
}

/// A claim, and its place among those of its priority.
fn claimed(row: &PgRow, worker: &WorkerId) -> Result<((i64, i64), Claim), Stop> {
    let record = record(row)?;
    let lease = Lease {
        tenant: record.new.tenant.clone(),
        run: record.new.run.clone(),
        worker: worker.clone(),
        epoch: row.try_get::<i64, _>("epoch")? as u64,
    };
    Ok(((row.try_get("was_ready_at")?, row.try_get("id")?), Claim { lease, record }))
}

pub(super) async fn pause(pool: &Pool, tenant: &TenantId, run: &RunId) -> Result<RunRecord, Stop> {
    let sql = concat!(
        "UPDATE run SET
             pausing = state = 'running',
             ready_at = CASE WHEN state = 'running' THEN ready_at ELSE $3 END,
             state = CASE WHEN state = 'running' THEN state ELSE 'paused' END
         WHERE tenant = $1 AND run = $2 AND state IN ('queued', 'running', 'parked', 'paused')
         RETURNING ",
        columns!()
    );
    change(pool, sql, tenant, run, "can't be paused").await
}

pub(super) async fn resume(pool: &Pool, tenant: &TenantId, run: &RunId) -> Result<RunRecord, Stop> {
    let sql = concat!(
        "UPDATE run SET
             pausing = false,
             ready_at = CASE WHEN state = 'paused' THEN greatest(start_at, least(aos_now(), $3)) ELSE ready_at END,
             state = CASE WHEN state = 'paused' THEN 'queued' ELSE state END
         WHERE tenant = $1 AND run = $2 AND state IN ('queued', 'running', 'parked', 'paused')
         RETURNING ",
        columns!()
    );
    change(pool, sql, tenant, run, "can't be resumed").await
}

pub(super) async fn revive(pool: &Pool, tenant: &TenantId, run: &RunId) -> Result<RunRecord, Stop> {
    let sql = concat!(
        "UPDATE run SET state = 'queued', ready_at = aos_now(), finished_at = NULL, failure = NULL, rescues = 0
         WHERE tenant = $1 AND run = $2 AND state = 'dead'
         RETURNING ",
        columns!()
    );
    let query = sqlx::query(sql).bind(tenant.as_str()).bind(run.as_str());
    match query.fetch_optional(pool).await? {
        Some(row) => record(&row),
        None => Err(not_dead(pool, tenant, run, "revived").await?.into()),
    }
}

pub(super) async fn discard(pool: &Pool, tenant: &TenantId, run: &RunId, failure: &Failure) -> Result<RunRecord, Stop> {
    let sql = concat!(
        "UPDATE run SET state = 'cancelled', ready_at = NULL, finished_at = aos_now(), failure = $3
         WHERE tenant = $1 AND run = $2 AND state = 'dead'
         RETURNING ",
        columns!()
    );
    let query = sqlx::query(sql).bind(tenant.as_str()).bind(run.as_str()).bind(failure_json(failure)?);
    match query.fetch_optional(pool).await? {
        Some(row) => record(&row),
        None => Err(not_dead(pool, tenant, run, "discarded").await?.into()),
    }
}

async fn change(
    pool: &Pool,
    sql: &'static str,
    tenant: &TenantId,
    run: &RunId,
    cannot: &str,
) -> Result<RunRecord, Stop> {
    let query = sqlx::query(sql).bind(tenant.as_str()).bind(run.as_str()).bind(NEVER);
    match query.fetch_optional(pool).await? {
        Some(row) => record(&row),
        None => Err(ended(pool, tenant, run, cannot).await?.into()),
    }
}

/// Why a run that was not found among the open ones `cannot` do something.
pub(super) async fn ended(pool: &Pool, tenant: &TenantId, run: &RunId, cannot: &str) -> sqlx::Result<StoreError> {
    let state = state(pool, tenant, run).await?;
    Ok(state.map_or_else(|| no_run(run), |state| StoreError::ended(run, state, cannot)))
}

async fn not_dead(pool: &Pool, tenant: &TenantId, run: &RunId, what: &str) -> sqlx::Result<StoreError> {
    let state = state(pool, tenant, run).await?;
    Ok(state.map_or_else(|| no_run(run), |state| StoreError::not_dead(run, state, what)))
}

async fn state(pool: &Pool, tenant: &TenantId, run: &RunId) -> sqlx::Result<Option<RunState>> {
    let query = sqlx::query_scalar("SELECT state FROM run WHERE tenant = $1 AND run = $2");
    let state: Option<String> = query.bind(tenant.as_str()).bind(run.as_str()).fetch_optional(pool).await?;
    Ok(state.as_deref().and_then(RunState::from_text))
}

pub(super) async fn limit(
    pool: &Pool,
    limits: &Limits,
    tenant: &TenantId,
    workflow: &WorkflowId,
    max: Option<u32>,
) -> Result<(), Stop> {
    let mut tx = pool.begin().await?;
    set_limit(&mut tx, tenant, workflow, max).await?;
    tx.commit().await?;
    *limits.looked.lock().unwrap_or_else(PoisonError::into_inner) = None;
    Ok(())
}

async fn set_limit(
    transaction: &mut Transaction,
    tenant: &TenantId,
    workflow: &WorkflowId,
    max: Option<u32>,
) -> sqlx::Result<()> {
    // No run is created between the two that has not seen the limit and is not seen by the second.
    sqlx::query("LOCK TABLE run IN SHARE ROW EXCLUSIVE MODE").execute(&mut *transaction).await?;
    let changed = match max {
        Some(max) => {
            let sql = "INSERT INTO workflow_limit (tenant, workflow, max) VALUES ($1, $2, $3)
                       ON CONFLICT (tenant, workflow) DO UPDATE SET max = $3";
            sqlx::query(sql).bind(tenant.as_str()).bind(workflow.as_str()).bind(i64::from(max))
        }
        None => {
            let sql = "DELETE FROM workflow_limit WHERE tenant = $1 AND workflow = $2";
            sqlx::query(sql).bind(tenant.as_str()).bind(workflow.as_str())
        }
    };
    changed.execute(&mut *transaction).await?;
    let sql = "UPDATE run SET lane = priority + $3 WHERE tenant = $1 AND workflow = $2 AND ready_at IS NOT NULL
                   AND lane <> priority + $3";
    let lanes: i16 = if max.is_some() { 10 } else { 0 };
    sqlx::query(sql).bind(tenant.as_str()).bind(workflow.as_str()).bind(lanes).execute(transaction).await?;
    Ok(())
}

pub(super) async fn limits(pool: &Pool, tenant: &TenantId) -> Result<Vec<ConcurrencyLimit>, Stop> {
    let sql = "SELECT workflow, max FROM workflow_limit WHERE tenant = $1 ORDER BY workflow COLLATE \"C\"";
    let rows: Vec<(String, i64)> = sqlx::query_as(sql).bind(tenant.as_str()).fetch_all(pool).await?;
    let limit = |(workflow, max): (String, i64)| {
        let damaged = |why: String| StoreError::Corrupt { what: "limit of workflow", id: workflow.clone(), why };
        Ok(ConcurrencyLimit {
            workflow: workflow.parse().map_err(|error: aos_core::id::IdError| damaged(error.to_string()))?,
            max: u32::try_from(max).map_err(|error| damaged(error.to_string()))?,
        })
    };
    rows.into_iter().map(limit).collect::<Result<_, StoreError>>().map_err(Stop::from)
}
