//! Schedules in Postgres.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use aos_core::BoxFuture;
use aos_core::id::{RunId, ScheduleId, TenantId};
use aos_core::payload::Payload;
use aos_core::queue::Priority;
use aos_core::runs::StoreError;
use aos_core::schedules::{Firing, Overlap, Schedule, ScheduleStore};
use aos_core::time::Timestamp;
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::row::{millis, millis_of, readable, timestamp};
use super::{Postgres, Stop};

/// The columns that [`schedule`] reads.
macro_rules! columns {
    () => {
        "tenant, id, workflow, input, priority, cron, time_zone, overlap, paused, next_at, last_due, last_run, \
         last_failure"
    };
}

impl ScheduleStore for Postgres {
    fn put<'a>(&'a self, schedule: &'a Schedule) -> BoxFuture<'a, Result<(), StoreError>> {
        let schedule = schedule.clone();
        Box::pin(self.run("keep a schedule", async move |pool| {
            // What became of the last time stays.
            let sql = concat!(
                "INSERT INTO schedule (",
                columns!(),
                ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
                 ON CONFLICT (tenant, id) DO UPDATE SET workflow = excluded.workflow, input = excluded.input,
                     priority = excluded.priority, cron = excluded.cron, time_zone = excluded.time_zone,
                     overlap = excluded.overlap, paused = excluded.paused, next_at = excluded.next_at,
                     held_until = 0"
            );
            let last = schedule.last.as_ref();
            sqlx::query(sql)
                .bind(schedule.tenant.as_str())
                .bind(schedule.id.as_str())
                .bind(readable(&schedule.workflow))
                .bind(schedule.input.as_str())
                .bind(i16::from(schedule.priority.get()))
                .bind(readable(&schedule.cron))
                .bind(readable(&schedule.time_zone))
                .bind(schedule.overlap.as_str())
                .bind(schedule.paused)
                .bind(schedule.next_at.map(millis))
                .bind(last.map(|firing| millis(firing.due)))
                .bind(last.and_then(|firing| firing.run.as_ref()).map(RunId::as_str))
                .bind(last.map(failure).transpose()?.flatten())
                .execute(&pool)
                .await?;
            Ok(())
        }))
    }

    fn get<'a>(
        &'a self,
        tenant: &'a TenantId,
        id: &'a ScheduleId,
    ) -> BoxFuture<'a, Result<Option<Schedule>, StoreError>> {
        let (tenant, id) = (tenant.clone(), id.clone());
        Box::pin(self.run("read a schedule", async move |pool| {
            let sql = concat!("SELECT ", columns!(), " FROM schedule WHERE tenant = $1 AND id = $2");
            let row = sqlx::query(sql).bind(tenant.as_str()).bind(id.as_str()).fetch_optional(&pool).await?;
            row.as_ref().map(schedule).transpose()
        }))
    }

    fn list<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Vec<Schedule>, StoreError>> {
        let tenant = tenant.clone();
        Box::pin(self.run("list schedules", async move |pool| {
            let sql = concat!("SELECT ", columns!(), " FROM schedule WHERE tenant = $1 ORDER BY id COLLATE \"C\"");
            let rows = sqlx::query(sql).bind(tenant.as_str()).fetch_all(&pool).await?;
            rows.iter().map(schedule).collect()
        }))
    }

    fn remove<'a>(&'a self, tenant: &'a TenantId, id: &'a ScheduleId) -> BoxFuture<'a, Result<bool, StoreError>> {
        let (tenant, id) = (tenant.clone(), id.clone());
        Box::pin(self.run("forget a schedule", async move |pool| {
            let query = sqlx::query("DELETE FROM schedule WHERE tenant = $1 AND id = $2");
            let removed = query.bind(tenant.as_str()).bind(id.as_str()).execute(&pool).await?;
            Ok(removed.rows_affected() > 0)
        }))
    }

    fn now(&self) -> BoxFuture<'_, Result<Timestamp, StoreError>> {
        Box::pin(self.run("read the database's clock", async move |pool| {
            Ok(timestamp(sqlx::query_scalar("SELECT aos_now()").fetch_one(&pool).await?))
        }))
    }

    fn due(&self, max: usize, hold: Duration) -> BoxFuture<'_, Result<Vec<Schedule>, StoreError>> {
        Box::pin(self.run("take due schedules in hand", async move |pool| {
            let sql = concat!(
                "WITH due AS MATERIALIZED (
                     SELECT tenant, id FROM schedule
                     WHERE NOT paused AND next_at <= aos_now() AND held_until <= aos_now()
                     ORDER BY next_at, tenant, id LIMIT $1 FOR UPDATE SKIP LOCKED
                 ), held AS (
                     UPDATE schedule SET held_until = aos_now() + $2
                     WHERE (tenant, id) IN (SELECT tenant, id FROM due) RETURNING *
                 )
                 SELECT ",
                columns!(),
                " FROM held ORDER BY next_at, tenant, id"
            );
            let query = sqlx::query(sql).bind(i64::try_from(max).unwrap_or(i64::MAX)).bind(millis_of(hold));
            query.fetch_all(&pool).await?.iter().map(schedule).collect()
        }))
    }

    fn advance<'a>(
        &'a self,
        schedule: &'a Schedule,
        firing: &'a Firing,
        next_at: Option<Timestamp>,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        let (schedule, firing) = (schedule.clone(), firing.clone());
        Box::pin(self.run("advance a schedule", async move |pool| {
            let sql =
                "UPDATE schedule SET next_at = $6, last_due = $7, last_run = $8, last_failure = $9, held_until = 0
                       WHERE tenant = $1 AND id = $2 AND cron = $3 AND time_zone = $4
                           AND next_at IS NOT DISTINCT FROM $5";
            let changed = sqlx::query(sql)
                .bind(schedule.tenant.as_str())
                .bind(schedule.id.as_str())
                .bind(readable(&schedule.cron))
                .bind(readable(&schedule.time_zone))
                .bind(schedule.next_at.map(millis))
                .bind(next_at.map(millis))
                .bind(millis(firing.due))
                .bind(firing.run.as_ref().map(RunId::as_str))
                .bind(failure(&firing)?)
                .execute(&pool)
                .await?;
            Ok(changed.rows_affected() > 0)
        }))
    }
}

/// A firing's failure as its column holds it.
fn failure(firing: &Firing) -> Result<Option<String>, StoreError> {
    let unwritable = |error| StoreError::Conflict(format!("the failure of a schedule can't be JSON: {error}"));
    firing.failure.as_ref().map(serde_json::to_string).transpose().map_err(unwritable)
}

fn schedule(row: &PgRow) -> Result<Schedule, Stop> {
    let id: &str = row.try_get("id")?;
    let damaged = |column: &str, why: &dyn fmt::Display| StoreError::Corrupt {
        what: "row of schedule",
        id: id.to_owned(),
        why: format!("column {column}: {why}"),
    };
    let last_run: Option<&str> = row.try_get("last_run")?;
    let last_failure: Option<&str> = row.try_get("last_failure")?;
    let last = match row.try_get::<Option<i64>, _>("last_due")? {
        None => None,
        Some(due) => Some(Firing {
            due: timestamp(due),
            run: last_run.map(str::parse).transpose().map_err(|error| damaged("last_run", &error))?,
            failure: last_failure
                .map(serde_json::from_str)
                .transpose()
                .map_err(|error| damaged("last_failure", &error))?,
        }),
    };
    let (tenant, overlap): (&str, &str) = (row.try_get("tenant")?, row.try_get("overlap")?);
    let priority: i16 = row.try_get("priority")?;
    Ok(Schedule {
        tenant: TenantId::from_str(tenant).map_err(|error| damaged("tenant", &error))?,
        id: ScheduleId::from_str(id).map_err(|error| damaged("id", &error))?,
        workflow: row.try_get("workflow")?,
        input: Payload::parse(row.try_get("input")?).map_err(|failure| damaged("input", &failure.message))?,
        priority: u8::try_from(priority)
            .ok()
            .and_then(|number| Priority::new(number).ok())
            .ok_or_else(|| damaged("priority", &format!("{priority} is not from 0 to 9")))?,
        cron: row.try_get("cron")?,
        time_zone: row.try_get("time_zone")?,
        overlap: Overlap::from_text(overlap).ok_or_else(|| damaged("overlap", &format!("{overlap:?} is not one")))?,
        paused: row.try_get("paused")?,
        next_at: row.try_get::<Option<i64>, _>("next_at")?.map(timestamp),
        last,
    })
}
