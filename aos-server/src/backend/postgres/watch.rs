//! Changes made by other processes: looked for, while somebody waits for one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aos_core::id::{RunId, TenantId};
use sqlx::Row;

use super::Postgres;
use super::doubt::ANSWER;
use super::session::Pool;
use crate::backend::watch::{Topic, Waiters};

/// How often.
const EVERY: Duration = Duration::from_millis(250);

/// Runs asked for in one statement.
const PAGE: usize = 1_000;

/// Wakes those who wait for something that changed, until the stores are dropped.
pub(super) fn look_for_changes(stores: &Arc<Postgres>) {
    let (stores, pool) = (Arc::downgrade(stores), stores.pool.clone());
    tokio::spawn(async move {
        let (mut seen, mut tables) = (HashMap::new(), None);
        loop {
            tokio::time::sleep(EVERY).await;
            let Some(waiters) = stores.upgrade().map(|stores| Arc::clone(&stores.waiters)) else { return };
            if pool.is_closed() {
                return;
            }
            // Whoever waits sees an error by itself and tries again.
            let look = look(&pool, &waiters, &mut seen, &mut tables);
            if let Err(error) = pool.doubt().in_time(ANSWER, look).await {
                tracing::debug!(%error, "looking for changes by other processes failed");
            }
        }
    });
}

/// What a topic looked like: a run's inbox and whether it has ended or is to pause, or a registry's revision.
type Seen = HashMap<Topic, (i64, bool)>;

/// Tells whether the registry's tables, or their triggers, are others than before. `pg_dump --clean` drops a table and
/// makes and fills it anew before it makes the trigger; `TRUNCATE` fires none, and a trigger can be off.
const TABLES: &str = "
    SELECT coalesce(string_agg(concat_ws(' ', tables.oid, relfilenode, triggers.oid, triggers.xmin, tgenabled), ', '
                               ORDER BY relname), '')
    FROM pg_class AS tables LEFT JOIN pg_trigger AS triggers ON tgrelid = tables.oid AND tgname = relname || '_changed'
    WHERE tables.oid IN (to_regclass('skills'), to_regclass('workflows'))";

async fn look(pool: &Pool, waiters: &Waiters, seen: &mut Seen, tables: &mut Option<String>) -> sqlx::Result<()> {
    let topics = waiters.waited_for();
    let mut found = Seen::with_capacity(topics.len());
    let runs: Vec<_> = topics.iter().filter_map(Topic::run).collect();
    for page in runs.chunks(PAGE) {
        let sql =
            "SELECT w.tenant, w.run, inbox_last, pausing OR state NOT IN ('queued', 'running', 'parked', 'paused')
                   FROM unnest($1::text[], $2::text[]) AS w(tenant, run)
                   JOIN run ON run.tenant = w.tenant AND run.run = w.run";
        let rows = sqlx::query(sql)
            .bind(page.iter().map(|(tenant, _)| tenant.as_str()).collect::<Vec<_>>())
            .bind(page.iter().map(|(_, run)| run.as_str()).collect::<Vec<_>>())
            .fetch_all(pool)
            .await?;
        for row in rows {
            if let (Ok(tenant), Ok(run)) =
                (TenantId::new(row.try_get::<&str, _>(0)?), RunId::new(row.try_get::<&str, _>(1)?))
            {
                found.insert(Topic::Run(tenant, run), (row.try_get(2)?, row.try_get(3)?));
            }
        }
    }
    if topics.iter().any(|topic| matches!(topic, Topic::Registry(_))) {
        let now: String = sqlx::query_scalar(TABLES).fetch_one(pool).await?;
        if tables.as_ref().is_some_and(|before| *before != now) {
            // Every process that looks does it, and that is harmless: a revision says no more than "look again".
            sqlx::query("UPDATE registry_revision SET revision = revision + 1").execute(pool).await?;
        }
        *tables = Some(now);
        for row in sqlx::query("SELECT tenant, revision FROM registry_revision").fetch_all(pool).await? {
            if let Ok(tenant) = TenantId::new(row.try_get::<&str, _>(0)?) {
                found.insert(Topic::Registry(tenant), (row.try_get(1)?, false));
            }
        }
    }
    // A topic that was not looked at before may have changed since its waiter looked.
    let changed = found.iter().filter(|(topic, now)| seen.get(topic) != Some(now));
    waiters.wake(&changed.map(|(topic, _)| topic.clone()).collect::<Vec<_>>());
    *seen = found;
    Ok(())
}
