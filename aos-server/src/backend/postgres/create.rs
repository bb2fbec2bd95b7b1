//! Accepting runs, many at a time.

use std::collections::HashMap;
use std::sync::Arc;

use aos_core::id::{ApiKeyId, RunId, TenantId};
use aos_core::money::Money;
use aos_core::runs::{Created, FirstLease, Lease, NewRun, RunRecord, RunState, StoreError};
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::Stop;
use super::batch::Batch;
use super::error::Fault;
use super::journal::join;
use super::row::{columns, millis, millis_of, picodollars, record, timestamp};
use super::runs::no_run;
use super::session::Connection;

/// A run to accept, and who is to hold it from the start.
pub(super) struct Creation {
    new: NewRun,
    lease: Option<FirstLease>,
    /// The lease's entries as their row holds them.
    text: Vec<u8>,
}

/// How runs are accepted.
pub(super) struct Creations {
    place: Arc<str>,
}

impl Creations {
    pub(super) fn new(place: &Arc<str>) -> Self {
        Self { place: Arc::clone(place) }
    }
}

const CREATE: &str = "
    WITH wanted AS (
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::text[], $7::bigint[],
                             $8::bigint[], $9::text[], $10::text[], $11::text[], $12::bytea[], $13::bytea[],
                             $14::text[], $15::bigint[], $16::smallint[], $17::bigint[], $18::integer[], $19::bytea[],
                             $23::text[], $24::text[])
            WITH ORDINALITY
            AS w(tenant, run, workflow, version, plan, input, seed, budget, parent, fork_run, fork_effect,
                 idempotency_key, request_id, worker, lease, priority, start_at, lines, text, api_key, trace, n)
    ), now AS MATERIALIZED (SELECT aos_now() AS at), placed AS (
        SELECT wanted.*, limits.workflow IS NOT NULL AS is_limited,
               -- What has a limit or is not due is for claims; but the past of a fork has to be written.
               CASE WHEN limits.workflow IS NULL AND coalesce(start_at <= now.at, true) OR fork_run IS NOT NULL
                    THEN worker END AS holder
        FROM wanted CROSS JOIN now LEFT JOIN workflow_limit AS limits USING (tenant, workflow)
    ), created AS (
        INSERT INTO run (tenant, run, workflow, version, plan, input, seed, budget, parent, fork_run, fork_effect,
                         idempotency_key, request_id, created_at, worker, state, epoch, ready_at, next_index, priority,
                         start_at, lane, api_key, trace)
        SELECT tenant, run, workflow, version, plan, input, seed, budget, parent, fork_run, fork_effect,
               idempotency_key, request_id, now.at, holder,
               CASE WHEN holder IS NULL THEN 'queued' ELSE 'running' END,
               CASE WHEN holder IS NULL THEN 0 ELSE 1 END,
               CASE WHEN holder IS NULL THEN greatest(now.at, start_at) ELSE now.at + lease END,
               CASE WHEN holder IS NULL THEN 0 ELSE lines END,
               priority, start_at, priority + CASE WHEN is_limited THEN 10 ELSE 0 END, api_key, trace
        FROM placed, now
        ON CONFLICT DO NOTHING
        RETURNING id, tenant, run, created_at, worker IS NOT NULL AS is_held
    ), numbered AS (
        SELECT n, id, created_at, is_held, lines, text FROM created JOIN wanted USING (tenant, run)
    ), entries AS (
        INSERT INTO entry (run, first, lines, text) SELECT id, 0, lines, text FROM numbered WHERE is_held AND lines > 0
    ), blobs AS (
        INSERT INTO blob (hash, bytes)
        SELECT b.hash, b.bytes FROM unnest($20::bigint[], $21::bytea[], $22::bytea[]) AS b(n, hash, bytes)
            JOIN numbered USING (n) WHERE is_held ORDER BY b.hash
        ON CONFLICT (hash) DO NOTHING
    )
    SELECT n, created_at, is_held FROM numbered";

/// The same for one run whose journal begins without blobs.
const CREATE_ONE: &str = "
    WITH now AS MATERIALIZED (SELECT aos_now() AS at), placed AS (
        SELECT at, is_limited, CASE WHEN NOT is_limited AND coalesce($17 <= at, true) OR $10 IS NOT NULL THEN $14 END AS holder
        FROM now, (SELECT EXISTS (SELECT 1 FROM workflow_limit WHERE tenant = $1 AND workflow = $3) AS is_limited) AS limits
    ), created AS (
        INSERT INTO run (tenant, run, workflow, version, plan, input, seed, budget, parent, fork_run, fork_effect,
                         idempotency_key, request_id, created_at, worker, state, epoch, ready_at, next_index, priority,
                         start_at, lane, api_key, trace)
        SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, at, holder,
               CASE WHEN holder IS NULL THEN 'queued' ELSE 'running' END,
               CASE WHEN holder IS NULL THEN 0 ELSE 1 END,
               CASE WHEN holder IS NULL THEN greatest(at, $17) ELSE at + $15 END,
               CASE WHEN holder IS NULL THEN 0 ELSE $18 END,
               $16, $17, $16 + CASE WHEN is_limited THEN 10 ELSE 0 END, $20, $21
        FROM placed
        ON CONFLICT DO NOTHING
        RETURNING id, created_at, worker IS NOT NULL AS is_held
    ), entries AS (
        INSERT INTO entry (run, first, lines, text) SELECT id, 0, $18, $19 FROM created WHERE is_held AND $18 > 0
    )
    SELECT 1::bigint, created_at, is_held FROM created";

impl Batch for Creations {
    type Item = Creation;
    type Answer = Created;
    type Key = (TenantId, RunId);

    const OPERATION: &'static str = "create a run";

    fn key(item: &Creation) -> Self::Key {
        (item.new.tenant.clone(), item.new.run.clone())
    }

    async fn write(
        &self,
        connection: &mut Connection,
        items: &[Creation],
        again: bool,
    ) -> Result<Vec<Result<Created, StoreError>>, Fault> {
        let fault = |error| Fault::new(&self.place, error);
        let rows = match items {
            [one] if one.is_plain() => insert_one(connection, one).await,
            items => insert(connection, items).await,
        };
        let rows = rows.map_err(fault)?;
        let mut created = HashMap::with_capacity(rows.len());
        for row in rows {
            let (n, at): (i64, i64) = (row.try_get(0).map_err(fault)?, row.try_get(1).map_err(fault)?);
            created.insert(n, (timestamp(at), row.try_get(2).map_err(fault)?));
        }
        let mut answers = Vec::with_capacity(items.len());
        for (n, item) in (1..).zip(items) {
            answers.push(match created.get(&n) {
                Some((created_at, is_held)) => Ok(item.created(*created_at, *is_held)),
                None => match existing(connection, item, again).await {
                    Ok(created) => Ok(created),
                    Err(Stop::Rejected(error)) => Err(error),
                    Err(Stop::Sql(error)) => return Err(fault(error)),
                },
            });
        }
        Ok(answers)
    }
}

/// Writes what no run is in the way of; gives the places of that, from 1, with the time and whether it is held.
async fn insert(connection: &mut Connection, items: &[Creation]) -> sqlx::Result<Vec<PgRow>> {
    let column = |of: fn(&NewRun) -> String| items.iter().map(|item| of(&item.new)).collect::<Vec<_>>();
    let optional = |of: fn(&NewRun) -> Option<String>| items.iter().map(|item| of(&item.new)).collect::<Vec<_>>();
    let bytes = |of: fn(&NewRun) -> Option<&str>| {
        items.iter().map(|item| of(&item.new).map(|text| text.as_bytes().to_vec())).collect::<Vec<_>>()
    };
    let (mut owners, mut hashes, mut blobs) = (Vec::new(), Vec::new(), Vec::new());
    for (n, item) in (1_i64..).zip(items) {
        for blob in item.lease.iter().flat_map(|lease| &lease.blobs) {
            owners.push(n);
            hashes.push(blob.hash().as_bytes().to_vec());
            blobs.push(blob.as_str().as_bytes());
        }
    }
    let lease = |item: &Creation| item.lease.as_ref().map(|lease| millis_of(lease.duration));
    sqlx::query(CREATE)
        .bind(column(|new| new.tenant.to_string()))
        .bind(column(|new| new.run.to_string()))
        .bind(column(|new| new.workflow.id.to_string()))
        .bind(column(|new| new.workflow.version.to_string()))
        .bind(items.iter().map(|item| item.new.plan.as_bytes().to_vec()).collect::<Vec<_>>())
        .bind(column(|new| new.input.as_str().to_owned()))
        .bind(items.iter().map(|item| item.new.seed.get() as i64).collect::<Vec<_>>())
        .bind(items.iter().map(|item| item.new.budget.map(picodollars)).collect::<Vec<_>>())
        .bind(optional(|new| new.parent.as_ref().map(RunId::to_string)))
        .bind(optional(|new| new.forked_from.as_ref().map(|fork| fork.run.to_string())))
        .bind(optional(|new| new.forked_from.as_ref().map(|fork| fork.effect.to_string())))
        .bind(bytes(|new| new.idempotency_key.as_deref()))
        .bind(bytes(|new| new.request_id.as_deref()))
        .bind(items.iter().map(|item| item.lease.as_ref().map(|lease| lease.worker.to_string())).collect::<Vec<_>>())
        .bind(items.iter().map(lease).collect::<Vec<_>>())
        .bind(items.iter().map(|item| i16::from(item.new.priority.get())).collect::<Vec<_>>())
        .bind(items.iter().map(|item| item.new.start_at.map(millis)).collect::<Vec<_>>())
        .bind(items.iter().map(Creation::lines).collect::<Vec<_>>())
        .bind(items.iter().map(|item| item.text.as_slice()).collect::<Vec<_>>())
        .bind(owners)
        .bind(hashes)
        .bind(blobs)
        .bind(optional(|new| new.api_key.as_ref().map(ToString::to_string)))
        .bind(optional(|new| new.trace.map(|trace| trace.to_string())))
        .fetch_all(connection)
        .await
}

/// As [`insert`], for one plain creation.
async fn insert_one(connection: &mut Connection, item: &Creation) -> sqlx::Result<Vec<PgRow>> {
    let Creation { new, lease, text } = item;
    let fork = new.forked_from.as_ref();
    sqlx::query(CREATE_ONE)
        .bind(new.tenant.as_str())
        .bind(new.run.as_str())
        .bind(new.workflow.id.as_str())
        .bind(new.workflow.version.to_string())
        .bind(new.plan.as_bytes().as_slice())
        .bind(new.input.as_str())
        .bind(new.seed.get() as i64)
        .bind(new.budget.map(picodollars))
        .bind(new.parent.as_ref().map(RunId::as_str))
        .bind(fork.map(|fork| fork.run.as_str()))
        .bind(fork.map(|fork| fork.effect.as_str()))
        .bind(new.idempotency_key.as_deref().map(str::as_bytes))
        .bind(new.request_id.as_deref().map(str::as_bytes))
        .bind(lease.as_ref().map(|lease| lease.worker.as_str()))
        .bind(lease.as_ref().map(|lease| millis_of(lease.duration)))
        .bind(i16::from(new.priority.get()))
        .bind(new.start_at.map(millis))
        .bind(item.lines())
        .bind(text.as_slice())
        .bind(new.api_key.as_ref().map(ApiKeyId::as_str))
        .bind(new.trace.map(|trace| trace.to_string()))
        .fetch_all(connection)
        .await
}

/// The run that a creation names already, by its key or its id.
async fn existing(connection: &mut Connection, item: &Creation, again: bool) -> Result<Created, Stop> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        ", run.epoch, run.worker,
             coalesce((SELECT text = $4 FROM entry WHERE entry.run = run.id AND first = 0), $4 = '') AS begins_so
         FROM run
         WHERE tenant = $1 AND (run = $2 OR idempotency_key = $3) ORDER BY idempotency_key = $3 DESC NULLS LAST"
    );
    let key = item.new.idempotency_key.as_deref().map(str::as_bytes);
    let query = sqlx::query(sql).bind(item.new.tenant.as_str()).bind(item.new.run.as_str()).bind(key);
    let row = query.bind(&item.text).fetch_optional(connection).await?.ok_or_else(|| no_run(&item.new.run))?;
    let found = record(&row)?;
    // This process' own creation, of which the answer was lost.
    if again && found.new == item.new {
        let (epoch, holder): (i64, Option<&str>) = (row.try_get("epoch")?, row.try_get("worker")?);
        let wanted = item.lease.as_ref().map(|lease| lease.worker.as_str());
        if epoch == i64::from(holder.is_some()) && (holder.is_none() || holder == wanted && row.try_get("begins_so")?) {
            return Ok(item.created(found.created_at, holder.is_some()));
        }
    }
    Ok(found.same_request(&item.new)?)
}

impl Creation {
    pub(super) fn new(new: NewRun, lease: Option<FirstLease>) -> Result<Self, StoreError> {
        let text = lease.as_ref().map(|lease| join(&new.run, 0, &lease.lines)).transpose()?;
        Ok(Self { new, lease, text: text.unwrap_or_default() })
    }

    /// Whether all that its journal begins with is lines.
    fn is_plain(&self) -> bool {
        self.lease.as_ref().is_none_or(|lease| lease.blobs.is_empty())
    }

    /// How many entries the run begins with.
    fn lines(&self) -> i32 {
        self.lease.as_ref().map_or(0, |lease| lease.lines.len() as i32)
    }

    fn created(&self, created_at: aos_core::time::Timestamp, is_held: bool) -> Created {
        let lease = self.lease.as_ref().filter(|_| is_held).map(|lease| Lease {
            tenant: self.new.tenant.clone(),
            run: self.new.run.clone(),
            worker: lease.worker.clone(),
            epoch: 1,
        });
        let record = RunRecord {
            new: self.new.clone(),
            state: if lease.is_some() { RunState::Running } else { RunState::Queued },
            created_at,
            finished_at: None,
            output: None,
            failure: None,
            cost: Money::ZERO,
            content_hash: None,
            rescues: 0,
            pausing: false,
            inbox_last: 0,
        };
        Created::New(record, lease)
    }
}
