//! Operators' switches in Postgres.

use std::time::Duration;

use aos_core::BoxFuture;
use aos_core::runs::StoreError;
use aos_core::switches::{Switch, SwitchChange, SwitchStore};
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::row::{millis_of, readable, timestamp};
use super::{Postgres, Stop};

impl SwitchStore for Postgres {
    fn load(&self) -> BoxFuture<'_, Result<Vec<SwitchChange>, StoreError>> {
        Box::pin(self.run("read the switches", async move |pool| {
            let sql = "SELECT change.* FROM unnest($1::text[]) WITH ORDINALITY AS known(switch, n)
                       CROSS JOIN LATERAL (
                           SELECT switch, is_on, turned_by, reason, at, until FROM switch_change
                           WHERE switch_change.switch = known.switch ORDER BY seq DESC LIMIT 1
                       ) AS change ORDER BY n";
            let rows = sqlx::query(sql).bind(&known()[..]).fetch_all(&pool).await?;
            rows.iter().filter_map(|row| change(row).transpose()).collect()
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
        let (by, reason) = (readable(by), readable(reason));
        Box::pin(self.run("turn a switch", async move |pool| {
            let sql = "INSERT INTO switch_change (switch, is_on, turned_by, reason, at, until)
                       SELECT $1, $2, $3, $4, now, now + $5 FROM aos_now() AS now RETURNING at, until";
            let query = sqlx::query_as(sql).bind(switch.as_str()).bind(on).bind(&by).bind(&reason);
            let (at, until): (i64, Option<i64>) = query.bind(lasts.map(millis_of)).fetch_one(&pool).await?;
            Ok(SwitchChange { switch, on, by, reason, at: timestamp(at), until: until.map(timestamp) })
        }))
    }

    fn history(&self, limit: usize) -> BoxFuture<'_, Result<Vec<SwitchChange>, StoreError>> {
        Box::pin(self.run("read the history of switches", async move |pool| {
            let sql = "SELECT switch, is_on, turned_by, reason, at, until FROM switch_change
                       WHERE switch = ANY($1) ORDER BY seq DESC LIMIT $2";
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let rows = sqlx::query(sql).bind(&known()[..]).bind(limit).fetch_all(&pool).await?;
            rows.iter().filter_map(|row| change(row).transpose()).collect()
        }))
    }
}

/// The switches of this release: another one may have turned others.
fn known() -> [&'static str; Switch::ALL.len()] {
    Switch::ALL.map(Switch::as_str)
}

fn change(row: &PgRow) -> Result<Option<SwitchChange>, Stop> {
    let Some(switch) = Switch::from_text(row.try_get(0)?) else { return Ok(None) };
    Ok(Some(SwitchChange {
        switch,
        on: row.try_get(1)?,
        by: row.try_get(2)?,
        reason: row.try_get(3)?,
        at: timestamp(row.try_get(4)?),
        until: row.try_get::<Option<i64>, _>(5)?.map(timestamp),
    }))
}
