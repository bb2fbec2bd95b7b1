//! Prolonging leases.
//!
//! A process prolongs all its leases at once while it appends to the journals of the same runs, many in one statement,
//! too. Two statements that lock the rows of several runs, each in an order of its own, may wait for each other until
//! the database ends one of them, a whole second later. So this one waits for no row while it holds another.

use std::collections::HashSet;
use std::time::Duration;

use aos_core::runs::Lease;

use super::Stop;
use super::row::millis_of;
use super::session::Pool;

/// All at once, but for those whose rows somebody has.
const PROLONG_FREE: &str = "
    WITH wanted AS (
        SELECT * FROM unnest($1::integer[], $2::text[], $3::text[], $4::text[], $5::bigint[])
            AS w(n, tenant, run, worker, epoch)
    ), free AS MATERIALIZED (
        SELECT w.n, run.id FROM run JOIN wanted w USING (tenant, run, worker, epoch) FOR UPDATE OF run SKIP LOCKED
    )
    UPDATE run SET ready_at = aos_now() + $6 FROM free WHERE run.id = free.id RETURNING free.n";

/// One, when its row is free.
const PROLONG_ONE: &str = "
    UPDATE run SET ready_at = aos_now() + $5 WHERE tenant = $1 AND run = $2 AND worker = $3 AND epoch = $4";

/// Prolongs leases; gives those that are lost.
pub(super) async fn heartbeat(pool: &Pool, leases: Vec<Lease>, lease: Duration) -> Result<Vec<Lease>, Stop> {
    let free: Vec<i32> = sqlx::query_scalar(PROLONG_FREE)
        .bind((0..leases.len() as i32).collect::<Vec<_>>())
        .bind(leases.iter().map(|lease| lease.tenant.as_str()).collect::<Vec<_>>())
        .bind(leases.iter().map(|lease| lease.run.as_str()).collect::<Vec<_>>())
        .bind(leases.iter().map(|lease| lease.worker.as_str()).collect::<Vec<_>>())
        .bind(leases.iter().map(|lease| lease.epoch as i64).collect::<Vec<_>>())
        .bind(millis_of(lease))
        .fetch_all(pool)
        .await?;
    let free: HashSet<usize> = free.into_iter().map(|n| n as usize).collect();
    let mut lost = Vec::new();
    for (_, held) in leases.into_iter().enumerate().filter(|(n, _)| !free.contains(n)) {
        let query = sqlx::query(PROLONG_ONE).bind(held.tenant.as_str()).bind(held.run.as_str());
        let query = query.bind(held.worker.as_str()).bind(held.epoch as i64).bind(millis_of(lease));
        if query.execute(pool).await?.rows_affected() == 0 {
            lost.push(held);
        }
    }
    Ok(lost)
}

#[cfg(test)]
mod tests {
    use aos_core::canonical::Hash;
    use aos_core::id::TenantId;
    use aos_core::payload::Payload;
    use aos_core::queue::Priority;
    use aos_core::random::Seed;
    use aos_core::runs::{Created, FirstLease, NewRun, RunStore};
    use aos_testkit::service;

    use super::*;
    use crate::backend::postgres::PostgresStores;

    const MINUTE: Duration = Duration::from_secs(60);

    async fn leased(runs: &dyn RunStore, run: &str) -> Lease {
        let new = NewRun {
            run: run.parse().unwrap(),
            tenant: TenantId::default(),
            workflow: "flow@1.0.0".parse().unwrap(),
            plan: Hash::of("plan"),
            input: Payload::default(),
            seed: Seed::default(),
            budget: None,
            parent: None,
            forked_from: None,
            idempotency_key: None,
            request_id: None,
            api_key: None,
            trace: None,
            priority: Priority::default(),
            start_at: None,
        };
        match runs.create(new, Some(FirstLease::new("w".parse().unwrap(), MINUTE))).await.unwrap() {
            Created::New(_, Some(lease)) => lease,
            other => panic!("{other:?}"),
        }
    }

    /// Somebody has one run and wants another, as a batch of appends may.
    #[tokio::test]
    async fn leases_are_prolonged_without_holding_what_others_want() {
        let server = service::Postgres::shared();
        let stores = PostgresStores::open(&server.database().unwrap().url).await.unwrap();
        let (runs, pool) = (stores.runs(), &stores.0.pool);
        let leases = vec![leased(&*runs, "a").await, leased(&*runs, "b").await];
        for (has, wants) in [("a", "b"), ("b", "a")] {
            let mut other = pool.begin().await.unwrap();
            let lock = "SELECT 1 FROM run WHERE run = $1 FOR UPDATE NOWAIT";
            sqlx::query(lock).bind(has).execute(&mut other).await.unwrap();
            let beat = tokio::spawn({
                let (runs, leases) = (runs.clone(), leases.clone());
                async move { runs.heartbeat(&leases, 2 * MINUTE).await }
            });
            let waits =
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
            while sqlx::query_scalar::<_, i64>(waits).fetch_one(pool).await.unwrap() == 0 {
                tokio::task::yield_now().await;
            }
            sqlx::query(lock).bind(wants).execute(&mut other).await.unwrap_or_else(|e| panic!("{wants}: {e}"));
            other.commit().await.unwrap();
            assert_eq!(beat.await.unwrap().unwrap(), Vec::new());
        }
        // Both were prolonged, and a lease that somebody else has is told apart from one whose row was locked.
        let left: i64 = sqlx::query_scalar("SELECT min(ready_at) - aos_now() FROM run").fetch_one(pool).await.unwrap();
        assert!(left > 60_000, "{left}");
        let stale = Lease { epoch: 0, ..leases[0].clone() };
        assert_eq!(runs.heartbeat(&[stale.clone(), leases[1].clone()], MINUTE).await.unwrap(), vec![stale]);
    }
}
