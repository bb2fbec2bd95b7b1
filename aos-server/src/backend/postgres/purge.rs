//! Deleting ended runs, in Postgres.

use aos_core::runs::PurgeFilter;

use super::Stop;
use super::row::millis;
use super::session::Pool;

/// What others have locked is left for later: nobody waits for anybody.
const PURGE: &str = "
    WITH ended AS MATERIALIZED (
        SELECT id FROM run
        WHERE tenant = $1 AND finished_at < $2 AND state = ANY($3) AND ($4::text IS NULL OR workflow = $4)
            AND NOT EXISTS (SELECT 1 FROM run AS parent WHERE parent.tenant = run.tenant AND parent.run = run.parent
                                AND parent.ready_at IS NOT NULL)
        ORDER BY finished_at, id LIMIT $5 FOR UPDATE SKIP LOCKED
    ), entries AS (
        DELETE FROM entry USING ended WHERE entry.run = ended.id
    ), messages AS (
        DELETE FROM inbox USING ended WHERE inbox.run = ended.id
    )
    DELETE FROM run USING ended WHERE run.id = ended.id";

pub(super) async fn purge(pool: &Pool, filter: &PurgeFilter, max: usize) -> Result<u64, Stop> {
    let states: Vec<_> = filter.states.iter().filter(|state| state.is_terminal()).map(|state| state.as_str()).collect();
    let deleted = sqlx::query(PURGE)
        .bind(filter.tenant.as_str())
        .bind(millis(filter.ended_before))
        .bind(states)
        .bind(filter.workflow.as_ref().map(|workflow| workflow.as_str()))
        .bind(i64::try_from(max).unwrap_or(i64::MAX))
        .execute(pool)
        .await?;
    Ok(deleted.rows_affected())
}
