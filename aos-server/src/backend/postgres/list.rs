//! Lists of runs, and how many there are, in Postgres.

use aos_core::id::RunId;
use aos_core::runs::{QueueStats, RunFilter, RunPage, RunState, StoreError};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Row};

use super::Stop;
use super::row::{NEVER, columns, millis, record, timestamp};
use super::session::Pool;

/// A parameter that a statement does not use needs a type too.
macro_rules! typed {
    () => {
        "($4::text, $5::text, $6::bigint, $7::bigint) IS NOT NULL OR true"
    };
}

pub(super) async fn list(pool: &Pool, filter: &RunFilter) -> Result<RunPage, Stop> {
    let before: i64 = match &filter.cursor {
        None => i64::MAX,
        Some(cursor) => cursor
            .parse()
            .map_err(|_| StoreError::NotFound { what: "list cursor", id: cursor.chars().take(80).collect() })?,
    };
    let size = filter.page_size();
    let sql = format!(
        concat!(
            "SELECT ",
            columns!(),
            ", run.id FROM run JOIN ({}) AS found USING (id) WHERE ",
            typed!(),
            " ORDER BY run.id DESC"
        ),
        found(filter)
    );
    let rows = with(filter, &sql, before, size as i64 + 1, pool).await?;
    let mut page = RunPage::default();
    let mut last = 0_i64;
    for row in &rows {
        if page.runs.len() == size {
            page.next = Some(last.to_string());
            break;
        }
        last = row.try_get("id")?;
        page.runs.push(record(row)?);
    }
    Ok(page)
}

pub(super) async fn count(pool: &Pool, filter: &RunFilter, at_most: u64) -> Result<u64, Stop> {
    let sql = format!(concat!("SELECT count(*) FROM ({}) AS found WHERE ", typed!()), found(filter));
    let rows = with(filter, &sql, i64::MAX, i64::try_from(at_most).unwrap_or(i64::MAX), pool).await?;
    let count: i64 = rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or(0);
    Ok(count as u64)
}

/// Selects the ids of the runs that fit, newest first: those below `$2`, `$3` at most. One text for each set of
/// filters, so that each has a plan of its own; no caller's value is ever in the text.
fn found(filter: &RunFilter) -> String {
    let mut found = String::from("SELECT id FROM run WHERE tenant = $1 AND id < $2");
    if filter.workflow.is_some() {
        found.push_str(" AND workflow = $4");
    }
    if filter.parent.is_some() {
        found.push_str(" AND parent = $5");
    }
    for (column, number, before) in [("created_at", 6, filter.created_before), ("finished_at", 7, filter.ended_before)]
    {
        if before.is_some() {
            // What ended before a time was created before it, and ids rise with the time, nearly: the newer rows are
            // not read. The sum keeps an index by time from being read for what another one gives in order.
            found.push_str(&format!(
                " AND {column} + 0 < ${number} AND id < 10000 + coalesce((
                      SELECT id FROM run WHERE tenant = $1 AND created_at < ${number}
                      ORDER BY created_at DESC, id DESC LIMIT 1), 0)"
            ));
        }
    }
    if !filter.states.is_empty() || filter.workflow.is_some() {
        // Of each state on its own, so that an index gives them in order; what is wanted of all of them is little.
        let states = if filter.states.is_empty() { &RunState::ALL[..] } else { &filter.states };
        let of_state =
            |state: &RunState| format!("({found} AND state = '{}' ORDER BY id DESC LIMIT $3)", state.as_str());
        found = states.iter().map(of_state).collect::<Vec<_>>().join(" UNION ");
    }
    format!("SELECT id FROM ({found}) AS each ORDER BY id DESC LIMIT $3")
}

async fn with(filter: &RunFilter, sql: &str, before: i64, limit: i64, pool: &Pool) -> sqlx::Result<Vec<PgRow>> {
    let query: Query<'_, sqlx::Postgres, PgArguments> = sqlx::query(AssertSqlSafe(sql.to_owned()));
    query
        .bind(filter.tenant.as_str())
        .bind(before)
        .bind(limit)
        .bind(filter.workflow.as_ref().map(|workflow| workflow.as_str()))
        .bind(filter.parent.as_ref().map(RunId::as_str))
        .bind(filter.created_before.map(millis))
        .bind(filter.ended_before.map(millis))
        .fetch_all(pool)
        .await
}

pub(super) async fn stats(pool: &Pool) -> Result<QueueStats, Stop> {
    let sql = "SELECT state, count(*), min(ready_at), aos_now() FROM run WHERE ready_at IS NOT NULL GROUP BY state";
    let mut counts: Vec<(String, i64)> = Vec::new();
    let mut oldest = None;
    for row in sqlx::query(sql).fetch_all(pool).await? {
        counts.push((row.try_get(0)?, row.try_get(1)?));
        let (ready_at, now): (i64, i64) = (row.try_get(2)?, row.try_get(3)?);
        if ready_at <= now && ready_at != NEVER {
            oldest = Some(oldest.map_or(ready_at, |oldest: i64| oldest.min(ready_at)));
        }
    }
    let shown = RunState::ALL.into_iter().filter(|state| !state.is_terminal() || *state == RunState::Dead);
    let count = |state: RunState| counts.iter().find(|(name, _)| name == state.as_str()).map_or(0, |(_, n)| *n as u64);
    Ok(QueueStats { by_state: shown.map(|state| (state, count(state))).collect(), oldest: oldest.map(timestamp) })
}
