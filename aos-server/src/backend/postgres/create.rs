//! Accepting runs, many at a time.

use std::sync::Arc;
use std::time::Duration;

use aos_core::id::{RunId, TenantId, WorkerId};
use aos_core::money::Money;
use aos_core::runs::{Created, Lease, NewRun, RunRecord, RunState, StoreError};
use sqlx::Row;

use super::Stop;
use super::batch::Batch;
use super::error::Fault;
use super::row::{columns, millis, picodollars, record, timestamp};
use super::runs::no_run;
use super::session::Connection;

/// A run to accept, and who is to hold it from the start.
pub(super) struct Creation {
    pub(super) new: NewRun,
    pub(super) claim: Option<(WorkerId, Duration)>,
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
                             $14::text[], $15::bigint[], $16::smallint[], $17::bigint[])
            AS w(tenant, run, workflow, version, plan, input, seed, budget, parent, fork_run, fork_effect,
                 idempotency_key, request_id, worker, lease, priority, start_at)
    ), now AS MATERIALIZED (SELECT aos_now() AS at), placed AS (
        SELECT wanted.*, limits.workflow IS NOT NULL AS is_limited,
               -- What has a limit or is not due is for claims; but the past of a fork has to be written.
               CASE WHEN limits.workflow IS NULL AND coalesce(start_at <= now.at, true) OR fork_run IS NOT NULL
                    THEN worker END AS holder
        FROM wanted CROSS JOIN now LEFT JOIN workflow_limit AS limits USING (tenant, workflow)
    )
    INSERT INTO run (tenant, run, workflow, version, plan, input, seed, budget, parent, fork_run, fork_effect,
                     idempotency_key, request_id, created_at, worker, state, epoch, ready_at, priority, start_at, lane)
    SELECT tenant, run, workflow, version, plan, input, seed, budget, parent, fork_run, fork_effect,
           idempotency_key, request_id, now.at, holder,
           CASE WHEN holder IS NULL THEN 'queued' ELSE 'running' END,
           CASE WHEN holder IS NULL THEN 0 ELSE 1 END,
           CASE WHEN holder IS NULL THEN greatest(now.at, start_at) ELSE now.at + lease END,
           priority, start_at, priority + CASE WHEN is_limited THEN 10 ELSE 0 END
    FROM placed, now
    ON CONFLICT DO NOTHING
    RETURNING tenant, run, created_at, worker IS NOT NULL";

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
        let column = |of: fn(&NewRun) -> String| items.iter().map(|item| of(&item.new)).collect::<Vec<_>>();
        let optional = |of: fn(&NewRun) -> Option<String>| items.iter().map(|item| of(&item.new)).collect::<Vec<_>>();
        let bytes = |of: fn(&NewRun) -> Option<&str>| {
            items.iter().map(|item| of(&item.new).map(|text| text.as_bytes().to_vec())).collect::<Vec<_>>()
        };
        let lease = |duration: &Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX >> 1);
        let rows = sqlx::query(CREATE)
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
            .bind(items.iter().map(|item| item.claim.as_ref().map(|(w, _)| w.to_string())).collect::<Vec<_>>())
            .bind(items.iter().map(|item| item.claim.as_ref().map(|(_, d)| lease(d))).collect::<Vec<_>>())
            .bind(items.iter().map(|item| i16::from(item.new.priority.get())).collect::<Vec<_>>())
            .bind(items.iter().map(|item| item.new.start_at.map(millis)).collect::<Vec<_>>())
            .fetch_all(&mut *connection)
            .await
            .map_err(fault)?;
        let mut inserted = std::collections::HashMap::with_capacity(rows.len());
        for row in rows {
            let key: (String, String) = (row.try_get(0).map_err(fault)?, row.try_get(1).map_err(fault)?);
            let (at, is_held): (i64, bool) = (row.try_get(2).map_err(fault)?, row.try_get(3).map_err(fault)?);
            inserted.insert(key, (timestamp(at), is_held));
        }
        let mut answers = Vec::with_capacity(items.len());
        for item in items {
            let key = (item.new.tenant.to_string(), item.new.run.to_string());
            answers.push(match inserted.get(&key) {
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

/// The run that a creation names already, by its key or its id.
async fn existing(connection: &mut Connection, item: &Creation, again: bool) -> Result<Created, Stop> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        ", run.epoch, run.worker FROM run
         WHERE tenant = $1 AND (run = $2 OR idempotency_key = $3) ORDER BY idempotency_key = $3 DESC NULLS LAST"
    );
    let key = item.new.idempotency_key.as_deref().map(str::as_bytes);
    let query = sqlx::query(sql).bind(item.new.tenant.as_str()).bind(item.new.run.as_str()).bind(key);
    let row = query.fetch_optional(connection).await?.ok_or_else(|| no_run(&item.new.run))?;
    let found = record(&row)?;
    // This process' own creation, of which the answer was lost.
    if again && found.new == item.new {
        let (epoch, holder): (i64, Option<&str>) = (row.try_get("epoch")?, row.try_get("worker")?);
        let wanted = item.claim.as_ref().map(|(worker, _)| worker.as_str());
        if epoch == i64::from(holder.is_some()) && (holder.is_none() || holder == wanted) {
            return Ok(item.created(found.created_at, holder.is_some()));
        }
    }
    Ok(found.same_request(&item.new)?)
}

impl Creation {
    fn created(&self, created_at: aos_core::time::Timestamp, is_held: bool) -> Created {
        let lease = self.claim.as_ref().filter(|_| is_held).map(|(worker, _)| Lease {
            tenant: self.new.tenant.clone(),
            run: self.new.run.clone(),
            worker: worker.clone(),
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
