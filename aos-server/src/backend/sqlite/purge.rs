//! Deleting ended runs, in SQLite.

use aos_core::runs::PurgeFilter;
use rusqlite::params_from_iter;
use rusqlite::types::Value;

use super::error::Stop;
use super::row::millis;
use super::writer::Tx;

pub(super) fn purge(tx: &Tx<'_>, filter: &PurgeFilter, max: usize) -> Result<u64, Stop> {
    let states: Vec<_> = filter.states.iter().filter(|state| state.is_terminal()).map(|state| state.as_str()).collect();
    if states.is_empty() {
        return Ok(0);
    }
    let mut sql = String::from(
        "SELECT id FROM run INDEXED BY run_by_end WHERE tenant = ? AND finished_at < ?
             AND NOT EXISTS (SELECT 1 FROM run AS parent WHERE parent.tenant = run.tenant AND parent.run = run.parent
                                 AND parent.ready_at IS NOT NULL)
             AND state IN (?",
    );
    sql.push_str(&", ?".repeat(states.len() - 1));
    sql.push(')');
    let mut values: Vec<Value> = vec![filter.tenant.as_str().to_owned().into(), millis(filter.ended_before).into()];
    values.extend(states.into_iter().map(|state| Value::from(state.to_owned())));
    if let Some(workflow) = &filter.workflow {
        sql.push_str(" AND workflow = ?");
        values.push(workflow.as_str().to_owned().into());
    }
    sql.push_str(" ORDER BY finished_at LIMIT ?");
    values.push(i64::try_from(max).unwrap_or(i64::MAX).into());
    let mut statement = tx.conn.prepare_cached(&sql)?;
    let ids: Vec<i64> = statement.query_map(params_from_iter(values), |row| row.get(0))?.collect::<Result<_, _>>()?;
    for id in &ids {
        tx.sql("DELETE FROM entry WHERE run = ?1")?.execute([id])?;
        tx.sql("DELETE FROM inbox WHERE run = ?1")?.execute([id])?;
        tx.sql("DELETE FROM run WHERE id = ?1")?.execute([id])?;
    }
    Ok(ids.len() as u64)
}
