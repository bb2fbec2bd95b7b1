//! Many runs, made in the database: each as large as a run of five steps.

use aos_core::time::Timestamp;
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor};

use super::Result;

/// Runs made by one statement.
const CHUNK: u64 = 50_000;

/// When the first of the ended runs was created; one follows each second.
const FIRST: u64 = 1_700_000_000_000;

/// The time at which half a million runs had been created.
pub const fn middle() -> Timestamp {
    Timestamp::from_millis(FIRST + 500_000 * 1_000)
}

/// The rows of a run that has ended: one in a thousand failed, and one in ten thousand is of a rare workflow.
const ENDED: &str = "
    WITH made AS (
        INSERT INTO run (tenant, run, workflow, version, plan, input, seed, state, epoch, next_index, created_at,
                         finished_at, content_hash, output, idempotency_key)
        SELECT 'default', 'ended-' || n, CASE WHEN n % 10000 = 0 THEN 'rare' ELSE 'common' END, '1.0.0',
               sha256('plan'), '{\"n\":7}', 0, CASE WHEN n % 1000 = 1 THEN 'failed' ELSE 'succeeded' END, 1, 12,
               $3 + n * 1000, $3 + n * 1000 + 5, sha256(n::text::bytea),
               '{\"text\":\"' || repeat('x', 189) || '\"}', ('key-' || n)::bytea
        FROM generate_series($1::bigint, $2::bigint - 1) AS n RETURNING id
    )
    INSERT INTO entry (run, first, lines, text)
    SELECT made.id, part * 2, 2, repeat('x', 500)::bytea FROM made CROSS JOIN generate_series(0, 5) AS part";

const QUEUED: &str = "
    INSERT INTO run (tenant, run, workflow, version, plan, input, seed, state, epoch, ready_at, created_at)
    SELECT 'default', 'queued-' || n, 'common', '1.0.0', sha256('plan'), '{\"n\":7}', 0, 'queued', 0, aos_now(), aos_now()
    FROM generate_series($1::bigint, $2::bigint - 1) AS n";

/// Fills an empty database.
pub async fn fill(url: &str, ended: u64, queued: u64) -> Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    for (sql, count) in [(ENDED, ended), (QUEUED, queued)] {
        let mut next = 0;
        while next < count {
            let end = (next + CHUNK).min(count);
            let query = sqlx::query(sql).bind(next as i64).bind(end as i64);
            let query = if sql == ENDED { query.bind(FIRST as i64) } else { query };
            query.execute(&mut connection).await?;
            next = end;
        }
    }
    // What autovacuum does by itself, a while later.
    connection.execute("VACUUM ANALYZE run").await?;
    connection.execute("ANALYZE entry").await?;
    connection.close().await?;
    Ok(())
}
