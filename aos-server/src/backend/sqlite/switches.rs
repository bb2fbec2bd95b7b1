//! Operators' switches in SQLite.

use std::time::Duration;

use aos_core::BoxFuture;
use aos_core::runs::StoreError;
use aos_core::switches::{Switch, SwitchChange, SwitchStore};
use rusqlite::{OptionalExtension, Row};

use super::Sqlite;
use super::row::{millis, timestamp};

impl SwitchStore for Sqlite {
    fn load(&self) -> BoxFuture<'_, Result<Vec<SwitchChange>, StoreError>> {
        Box::pin(self.readers.read("read the switches", move |conn| {
            let sql = "SELECT switch, is_on, turned_by, reason, at, until FROM switch_change
                       WHERE switch = ?1 ORDER BY seq DESC LIMIT 1";
            let mut statement = conn.prepare_cached(sql)?;
            let mut changes = Vec::new();
            for switch in Switch::ALL {
                changes.extend(statement.query_row([switch.as_str()], change).optional()?.flatten());
            }
            Ok(changes)
        }))
    }

    fn turn<'a>(
        &'a self,
        switch: Switch,
        on: bool,
        by: &'a str,
        reason: &'a str,
        lasts: Option<Duration>,
    ) -> BoxFuture<'a, Result<SwitchChange, StoreError>> {
        let (by, reason) = (by.to_owned(), reason.to_owned());
        Box::pin(self.writer.write("turn a switch", move |tx| {
            let sql = "INSERT INTO switch_change (switch, is_on, turned_by, reason, at, until)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let until = lasts.map(|lasts| tx.now.saturating_add(lasts));
            tx.sql(sql)?.execute((switch.as_str(), on, &by, &reason, millis(tx.now), until.map(millis)))?;
            Ok(SwitchChange { switch, on, by: by.clone(), reason: reason.clone(), at: tx.now, until })
        }))
    }

    fn history(&self, limit: usize) -> BoxFuture<'_, Result<Vec<SwitchChange>, StoreError>> {
        Box::pin(self.readers.read("read the history of switches", move |conn| {
            let sql = "SELECT switch, is_on, turned_by, reason, at, until FROM switch_change ORDER BY seq DESC";
            let mut statement = conn.prepare_cached(sql)?;
            let changes = statement.query_map([], change)?.filter_map(Result::transpose);
            Ok(changes.take(limit).collect::<Result<_, _>>()?)
        }))
    }
}

/// A row; `None` for a switch that only another release knows.
fn change(row: &Row<'_>) -> rusqlite::Result<Option<SwitchChange>> {
    let switch = Switch::from_text(row.get_ref(0)?.as_str()?);
    let Some(switch) = switch else { return Ok(None) };
    Ok(Some(SwitchChange {
        switch,
        on: row.get(1)?,
        by: row.get(2)?,
        reason: row.get(3)?,
        at: timestamp(row.get(4)?),
        until: row.get::<_, Option<i64>>(5)?.map(timestamp),
    }))
}
