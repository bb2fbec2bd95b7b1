//! Lists of runs, and how many there are, in SQLite.

use aos_core::runs::{QueueStats, RunFilter, RunPage, RunState, StoreError};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::error::Stop;
use super::row::{NEVER, columns, millis, record, timestamp};

pub(super) fn list(conn: &Connection, filter: &RunFilter) -> Result<RunPage, Stop> {
    let (mut fits, mut values) = fits(filter);
    if let Some(cursor) = &filter.cursor {
        let before: i64 = cursor
            .parse()
            .map_err(|_| StoreError::NotFound { what: "list cursor", id: cursor.chars().take(80).collect() })?;
        fits.push_str(" AND id < ?");
        values.push(before.into());
    }
    let size = filter.page_size();
    values.push((size as i64 + 1).into());
    let sql = format!(concat!("SELECT ", columns!(), ", id FROM run WHERE {} ORDER BY id DESC LIMIT ?"), fits);

    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut page = RunPage::default();
    let mut last = 0_i64;
    while let Some(row) = rows.next()? {
        if page.runs.len() == size {
            page.next = Some(last.to_string());
            break;
        }
        last = row.get("id")?;
        page.runs.push(record(conn, row)?);
    }
    Ok(page)
}

pub(super) fn count(conn: &Connection, filter: &RunFilter, at_most: u64) -> Result<u64, Stop> {
    let (fits, mut values) = fits(filter);
    values.push(i64::try_from(at_most).unwrap_or(i64::MAX).into());
    let sql = format!("SELECT count(*) FROM (SELECT 1 FROM run WHERE {fits} LIMIT ?)");
    let count: i64 = conn.prepare_cached(&sql)?.query_row(params_from_iter(values), |row| row.get(0))?;
    Ok(count as u64)
}

/// The condition that a filter is, its cursor aside, and the values in it.
fn fits(filter: &RunFilter) -> (String, Vec<Value>) {
    let tenant = Value::from(filter.tenant.as_str().to_owned());
    let mut sql = String::from("tenant = ?");
    let mut values = vec![tenant.clone()];
    if !filter.states.is_empty() {
        sql.push_str(" AND state IN (?");
        sql.push_str(&", ?".repeat(filter.states.len() - 1));
        sql.push(')');
        values.extend(filter.states.iter().map(|state| Value::from(state.as_str().to_owned())));
    }
    if let Some(workflow) = &filter.workflow {
        sql.push_str(" AND workflow = ?");
        values.push(workflow.as_str().to_owned().into());
    }
    if let Some(parent) = &filter.parent {
        sql.push_str(" AND parent = ?");
        values.push(parent.as_str().to_owned().into());
    }
    for (column, before) in [("created_at", filter.created_before), ("finished_at", filter.ended_before)] {
        let Some(before) = before else { continue };
        // What ended before a time was created before it, and ids rise with the time: the newer rows are not read.
        sql.push_str(&format!(
            " AND {column} < ? AND id <= coalesce((SELECT id FROM run INDEXED BY run_by_age
                  WHERE tenant = ? AND created_at < ? ORDER BY created_at DESC, id DESC LIMIT 1), 0)"
        ));
        let at = Value::from(millis(before));
        values.extend([at.clone(), tenant.clone(), at]);
    }
    (sql, values)
}

pub(super) fn stats(conn: &Connection, now: i64) -> Result<QueueStats, Stop> {
    let sql = "SELECT state, count(*) FROM run INDEXED BY run_ready WHERE ready_at IS NOT NULL GROUP BY state";
    let mut statement = conn.prepare_cached(sql)?;
    let counts: Vec<(String, i64)> =
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    let shown = RunState::ALL.into_iter().filter(|state| !state.is_terminal() || *state == RunState::Dead);
    let count = |state: RunState| counts.iter().find(|(name, _)| name == state.as_str()).map_or(0, |(_, n)| *n as u64);
    let by_state = shown.map(|state| (state, count(state))).collect();
    let oldest: Option<i64> = conn
        .prepare_cached("SELECT min(ready_at) FROM run WHERE ready_at IS NOT NULL")?
        .query_row([], |row| row.get(0))?;
    Ok(QueueStats { by_state, oldest: oldest.filter(|at| *at <= now && *at != NEVER).map(timestamp) })
}
